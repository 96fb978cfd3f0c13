; SPDX-License-Identifier: MIT
; The guest's clocks: the reference counter, the reference TSC page, the TSC.
%include "guest.inc"

%define MSR_REFERENCE_COUNT 0x40000020
%define MSR_REFERENCE_TSC   0x40000021
%define PAGE                0x51000
%define ROUNDS              500

; The reference counter in RAX. Changes RCX and RDX.
%macro read_counter 0
    mov ecx, MSR_REFERENCE_COUNT
    rdmsr
    shl rdx, 32
    or rax, rdx
%endmacro

; The TSC in RAX. Changes RDX.
%macro read_tsc 0
    lfence
    rdtsc
    lfence
    shl rdx, 32
    or rax, rdx
%endmacro

; Places the page, and reads counter, page and counter in turn: none is behind what was read before. RAX: 0, or what was wrong; RBX, RSI:
; the reference time and the TSC at the beginning; RBP, RDI: at the end.
%macro time_clocks 0
    mov ecx, MSR_REFERENCE_TSC
    mov eax, PAGE | 1
    xor edx, edx
    wrmsr
    mov r9d, PAGE
    read_tsc
    mov rsi, rax
    read_counter
    mov rbx, rax
    mov rbp, rax
    mov r8d, ROUNDS
%%round:
    mov r11d, [r9]                  ; the sequence number
    mov eax, 1
    test r11d, r11d
    jz %%end
    read_tsc
    mov rdi, rax
    mul qword [r9 + 8]
    add rdx, [r9 + 16]
    cmp r11d, [r9]
    jne %%round
    mov eax, 2
    cmp rdx, rbp                    ; the page is behind the counter
    jb %%end
    mov r10, rdx
    read_counter
    mov rbp, rax
    mov eax, 3
    cmp rbp, r10                    ; the counter is behind the page
    jb %%end
    dec r8d
    jnz %%round
    xor eax, eax
%%end:
    hlt
%endmacro
GUEST time_clocks, 64

; R8: the reference counter, R9: the TSC after it; to the host, over and over.
%macro time_now 0
%%again:
    read_counter
    mov r8, rax
    read_tsc
    mov r9, rax
    out 0xf4, al
    jmp %%again
    hlt
%endmacro
GUEST time_now, 64
