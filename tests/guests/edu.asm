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

; Has the device interrupt so often (R8), each time when the one before has arrived: [rBX] counts them.
%macro edu_raise 0
    sti
%%next:
    mov eax, [rbx]
    mov dword [rdi + 0x60], 1
%%wait:
    pause
    cmp [rbx], eax
    je %%wait
    dec r8
    jnz %%next
    cli
    out 0x80, al
%endmacro
GUEST edu_raise, 64

; The handler: acknowledges it, and ends it at the local APIC in x2APIC mode.
%macro edu_handler 0
    push rax
    push rcx
    push rdx
    mov dword [rdi + 0x64], 1
    inc dword [rbx]
    mov ecx, 0x80b
    xor eax, eax
    xor edx, edx
    wrmsr
    pop rdx
    pop rcx
    pop rax
    iretq
%endmacro
GUEST edu_handler, 64
