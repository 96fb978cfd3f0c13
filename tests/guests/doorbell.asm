; SPDX-License-Identifier: MIT
; Guests that write where doorbells are. The client sets RDI (or DX, a port), RAX and RCX before.
%include "guest.inc"

%define DOORBELL 0x9008

SNIPPET   doorbell_mov8,  mov [edi], al
SNIPPET   doorbell_mov16, mov [edi], ax
SNIPPET   doorbell_mov32, mov [edi], eax
SNIPPET64 doorbell_mov64, mov [rdi], rax

SNIPPET   doorbell_ah,      mov [edi], ah
SNIPPET   doorbell_imm8,    mov byte [edi], 0x85
SNIPPET   doorbell_imm16,   mov word [edi], 0x8586
SNIPPET   doorbell_imm32,   mov dword [edi], 0x85868788
SNIPPET64 doorbell_imm64,   mov qword [rdi], -2
SNIPPET   doorbell_moffs,   mov [DOORBELL], al
SNIPPET   doorbell_far,     mov [edi + esi + 0x7f], al
SNIPPET64 doorbell_scaled,  mov [rdi + rcx * 8 - 24], eax
SNIPPET64 doorbell_r13,     mov [r13], r13d
SNIPPET64 doorbell_sil,     mov [rdi], sil
SNIPPET   doorbell_movnti,  movnti [edi], eax
SNIPPET   doorbell_sreg,    mov [edi], ds
SNIPPET   doorbell_setz,    setz [edi]
SNIPPET   doorbell_stos,    stosb
SNIPPET   doorbell_movs,    movsb
SNIPPET64 doorbell_rdi,     mov [rdi], eax
SNIPPET_LEGACY doorbell_di, mov [di], al
SNIPPET   doorbell_fs,      mov [fs:edi], al

SNIPPET   doorbell_read,    mov eax, [edi]
SNIPPET   doorbell_xchg,    xchg [edi], eax
SNIPPET   doorbell_add,     add [edi], eax
SNIPPET   doorbell_sgdt,    sgdt [edi]
SNIPPET   doorbell_rep,     rep stosb

SNIPPET   doorbell_out8,    out dx, al
SNIPPET   doorbell_out16,   out dx, ax
SNIPPET   doorbell_out32,   out dx, eax
SNIPPET   doorbell_outimm,  out 0xed, al
SNIPPET   doorbell_in,      in eax, dx
SNIPPET   doorbell_outs,    outsb

%macro doorbell_rip 0
    MARK
    mov [rel GUEST_LABEL + DOORBELL - VM_CODE], eax
    MARK
    hlt
%endmacro
GUEST doorbell_rip, 64

; Rings RCX times; R8 becomes how long it took.
%macro doorbell_ring 0
    rdtsc
    shl rdx, 32
    lea r8, [rax + rdx]
%%loop:
    mov [rdi], ecx
    dec ecx
    jnz %%loop
    rdtsc
    shl rdx, 32
    add rax, rdx
    sub rax, r8
    mov r8, rax
    hlt
%endmacro
GUEST doorbell_ring, 64

; The same on a port.
%macro doorbell_ring_port 0
    mov r9d, edx
    rdtsc
    shl rdx, 32
    lea r8, [rax + rdx]
    mov edx, r9d
%%loop:
    out dx, eax
    dec ecx
    jnz %%loop
    rdtsc
    shl rdx, 32
    add rax, rdx
    sub rax, r8
    mov r8, rax
    hlt
%endmacro
GUEST doorbell_ring_port, 64

; Rings RCX times, RBX doorbells from RDI on in turn, 8 bytes from one to the next; R8 becomes how long it took.
%macro doorbell_turns 0
    mov r10, rdi
    mov r11, rbx
    rdtsc
    shl rdx, 32
    lea r8, [rax + rdx]
%%loop:
    mov [r10], ecx
    add r10, 8
    dec r11
    jnz %%next
    mov r10, rdi
    mov r11, rbx
%%next:
    dec ecx
    jnz %%loop
    rdtsc
    shl rdx, 32
    add rax, rdx
    sub rax, r8
    mov r8, rax
    hlt
%endmacro
GUEST doorbell_turns, 64

; Rings for ever; counts before each at VM_DATA.
%macro doorbell_for_ever 0
%%loop:
    inc dword [VM_DATA]
    mov [rdi], eax
    jmp %%loop
%endmacro
GUEST doorbell_for_ever, 64
