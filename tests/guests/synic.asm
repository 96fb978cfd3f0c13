; SPDX-License-Identifier: MIT
; Guests of the synthetic interrupt controller's storms (tests/kernel/synic_storm.c): events come to SINT 3 of VP 0, messages to all others,
; both with interrupts. Words at VM_DATA, of 8 bytes:
;   +0 events    +8 messages    +16 what was out of order    +24 how many of both together the host wants
;   +32 EOMs that a slot asked for   +40 next number of each lane
%include "guest.inc"

%define EVENTS   VM_DATA
%define MESSAGES VM_DATA + 8
%define WRONG    VM_DATA + 16
%define WANTED   VM_DATA + 24
%define EOMS     VM_DATA + 32
%define NEXT     VM_DATA + 40
%define SLOTS    0x60000
%define SLOTS_END 0x61000
%define FLAGS    0x61000 + 256 * 3
%define MSR_EOM  0x40000084
%define MSR_EOI  0x80b

; Takes all that is there. A message's payload: its lane, and its number in that.
%macro synic_take_messages 0
%%again:
    mov edx, SLOTS
    xor r8d, r8d                    ; were there some?
%%slot:
    cmp dword [rdx], 0
    je %%next
    inc r8d
    mov ecx, [rdx + 16]
    mov rax, [rdx + 24]
    cmp rax, [NEXT + rcx * 8]
    je %%right
    inc qword [WRONG]
%%right:
    inc rax
    mov [NEXT + rcx * 8], rax
    inc qword [MESSAGES]
    mov dword [rdx], 0
    mfence
    test byte [rdx + 5], 1
    jz %%next
    inc qword [EOMS]
    push rdx
    mov ecx, MSR_EOM
    xor eax, eax
    xor edx, edx
    wrmsr
    pop rdx
%%next:
    add edx, 256
    cmp edx, SLOTS_END
    jb %%slot
    test r8d, r8d
    jnz %%again
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
    push r8
    synic_take_messages
%if %1
    synic_end
%endif
    pop r8
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

; Asks the host for more when it has taken all that was there.
%macro synic_ask 0
%%more:
    sti
    nop
    out 0xf7, al
    mov rax, [MESSAGES]
    cmp rax, [WANTED]
    jb %%more
    out 0xf4, al
    hlt
%endmacro
GUEST synic_ask, 64
