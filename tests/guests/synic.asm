; SPDX-License-Identifier: MIT
; Guests of the synthetic interrupt controller's storms (tests/kernel/synic.c): messages come to SINT 2 of VP 0, events to SINT 3, both
; with an interrupt. Words at VM_DATA:
;   +0 events    +8 messages    +16 what was out of order    +24 how many of both together the host wants
;   +32 EOMs that a slot asked for   +40 next number of each sender, 8 bytes each
%include "guest.inc"

%define EVENTS   VM_DATA
%define MESSAGES VM_DATA + 8
%define WRONG    VM_DATA + 16
%define WANTED   VM_DATA + 24
%define EOMS     VM_DATA + 32
%define NEXT     VM_DATA + 40
%define SLOT     0x60000 + 256 * 2
%define FLAGS    0x61000 + 256 * 3
%define MSR_EOM  0x40000084
%define MSR_EOI  0x80b

; Takes all that is there. A message's payload: its sender, and its number of that sender's.
%macro synic_take_messages 0
%%next:
    cmp dword [SLOT], 0
    je %%none
    mov rcx, [SLOT + 16]
    mov rax, [SLOT + 24]
    cmp rax, [NEXT + rcx * 8]
    je %%right
    inc qword [WRONG]
%%right:
    inc rax
    mov [NEXT + rcx * 8], rax
    inc qword [MESSAGES]
    mov dword [SLOT], 0
    mfence
    test byte [SLOT + 5], 1
    jz %%next
    inc qword [EOMS]
    mov ecx, MSR_EOM
    xor eax, eax
    xor edx, edx
    wrmsr
    jmp %%next
%%none:
%endmacro

%macro synic_end 0
    mov ecx, MSR_EOI
    xor eax, eax
    xor edx, edx
    wrmsr
%endmacro

; The vector is on the stack. One that is ended by its delivery needs no EOI.
%macro synic_message_handler 1      ; EOI: 1 or 0
    push rax
    push rcx
    push rdx
    synic_take_messages
%if %1
    synic_end
%endif
    pop rdx
    pop rcx
    pop rax
    iretq
%endmacro

%macro synic_handler 0
    synic_message_handler 1
%endmacro
GUEST synic_handler, 64

%macro synic_handler_auto 0
    synic_message_handler 0
%endmacro
GUEST synic_handler_auto, 64

%macro synic_event_handler 0
    push rax
    push rcx
    push rdx
    xor eax, eax
    xchg rax, [FLAGS]               ; 64 of them
    popcnt rax, rax
    add [EVENTS], rax
    synic_end
    pop rdx
    pop rcx
    pop rax
    iretq
%endmacro
GUEST synic_event_handler, 64

; Halts until all have come.
%macro synic_storm 0
%%more:
    cli
    mov rax, [MESSAGES]
    add rax, [EVENTS]
    cmp rax, [WANTED]
    jae %%all
    sti
    hlt
    jmp %%more
%%all:
    out 0xf4, al
    hlt
%endmacro
GUEST synic_storm, 64

; The same without interrupts: the slot is looked at again and again.
%macro synic_poll 0
%%more:
    synic_take_messages
    pause
    mov rax, [MESSAGES]
    cmp rax, [WANTED]
    jb %%more
    out 0xf4, al
    hlt
%endmacro
GUEST synic_poll, 64

; Another processor that has its host post one message after the other.
%macro synic_sender 0
    xor eax, eax
%%more:
    out 0xf7, eax
    inc eax
    jmp %%more
%endmacro
GUEST synic_sender, 64
