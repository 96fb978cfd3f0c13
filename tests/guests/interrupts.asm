; SPDX-License-Identifier: MIT
; Interrupts by the hundred thousand, each counted where it is sent and where it arrives (tests/kernel/interrupts.c). The processors are those
; of apic.asm, with its areas and its handlers' frame.
%include "guest.inc"

%define A_X2APIC 16                 ; see apic.asm
%define A_PAGE   80
%define A_COUNTS 0x400
%define REG_EOI  0x0b0
%define REG_ICR  0x300

%define STORM_FIRST 0x40            ; vectors, of which each has at most one interrupt under way
%define STORM_LAST  0x7f

; Counts, and nothing else.
%macro storm_handler 0
    push rax
    push rcx
    push rdx
    movzx eax, byte [rsp + 24]
    inc dword [gs:A_COUNTS + rax * 4]
    cmp dword [gs:A_X2APIC], 0
    jne %%msr
    mov rdx, [gs:A_PAGE]
    mov dword [rdx + REG_EOI], 0
    jmp %%done
%%msr:
    xor eax, eax
    xor edx, edx
    mov ecx, 0x800 + REG_EOI / 16
    wrmsr
%%done:
    pop rdx
    pop rcx
    pop rax
    add rsp, 8
    iretq
%endmacro
GUEST storm_handler, 64

; RSI: the other processor's counts. R8D: how many of each vector to send. What was sent is in this one's counts. A vector is sent again when
; the last one of it was counted.
%macro storm_sender 0
%%round:
    xor r9d, r9d
    mov ebx, STORM_FIRST
%%vector:
    mov eax, [gs:A_COUNTS + rbx * 4]
    cmp [rsi + rbx * 4], eax
    jb %%wait
    cmp eax, r8d
    jae %%next
    inc dword [gs:A_COUNTS + rbx * 4]
    cmp dword [gs:A_X2APIC], 0
    jne %%msr
    mov rdx, [gs:A_PAGE]
    mov dword [rdx + REG_ICR + 0x10], 1 << 24
    mov [rdx + REG_ICR], ebx
    jmp %%wait
%%msr:
    mov eax, ebx
    mov edx, 1
    mov ecx, 0x800 + REG_ICR / 16
    wrmsr
%%wait:
    inc r9d
%%next:
    inc ebx
    cmp ebx, STORM_LAST
    jbe %%vector
    pause
    test r9d, r9d
    jnz %%round
    out 0xf4, al
    hlt
%endmacro
GUEST storm_sender, 64
