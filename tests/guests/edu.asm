; SPDX-License-Identifier: MIT
; Drives QEMU's edu device, whose registers are at RDI: a copy of RCX bytes from RSI to RDX, with command RBX. edu_copy
; waits for its end, edu_begin does not.
%include "guest.inc"

%macro edu_begin 0
    mov [rdi + 0x80], rsi
    mov [rdi + 0x88], rdx
    mov [rdi + 0x90], rcx
    mov [rdi + 0x98], rbx
    hlt
%endmacro
GUEST edu_begin, 64

%macro edu_copy 0
    mov [rdi + 0x80], rsi
    mov [rdi + 0x88], rdx
    mov [rdi + 0x90], rcx
    mov [rdi + 0x98], rbx
%%wait:
    pause
    mov rax, [rdi + 0x98]
    test al, 1
    jnz %%wait
    hlt
%endmacro
GUEST edu_copy, 64
