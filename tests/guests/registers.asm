; SPDX-License-Identifier: MIT
; Guests that read what the client has set, and write what it reads.
%include "guest.inc"

; 16 general registers and RFLAGS to VM_FREE.. (RSP as it is)
%macro registers_store 0
    push rax
    mov rax, VM_FREE
    mov [rax + 8], rcx
    mov [rax + 16], rdx
    mov [rax + 24], rbx
    mov [rax + 40], rbp
    mov [rax + 48], rsi
    mov [rax + 56], rdi
%assign %%n 8
%rep 8
    mov [rax + %%n * 8], r %+ %%n
%assign %%n %%n + 1
%endrep
    pop rbx
    mov [rax], rbx
    mov [rax + 32], rsp
    hlt
%endmacro
GUEST registers_store, 64

; the reverse
%macro registers_load 0
    mov rax, VM_FREE
    mov rcx, [rax + 8]
    mov rdx, [rax + 16]
    mov rbx, [rax + 24]
    mov rsp, [rax + 32]
    mov rbp, [rax + 40]
    mov rsi, [rax + 48]
    mov rdi, [rax + 56]
%assign %%n 8
%rep 8
    mov r %+ %%n, [rax + %%n * 8]
%assign %%n %%n + 1
%endrep
    mov rax, [rax]
    hlt
%endmacro
GUEST registers_load, 64

; CR2, CR3, CR8, DR0-3, DR6, DR7 and the tables
%macro registers_store_system 0
    mov rbx, VM_FREE
    mov rax, cr2
    mov [rbx], rax
    mov rax, cr3
    mov [rbx + 8], rax
    mov rax, cr8
    mov [rbx + 16], rax
%assign %%n 0
%rep 4
    mov rax, dr %+ %%n
    mov [rbx + 24 + %%n * 8], rax
%assign %%n %%n + 1
%endrep
    mov rax, dr6
    mov [rbx + 56], rax
    mov rax, dr7
    mov [rbx + 64], rax
    sgdt [rbx + 72]
    sidt [rbx + 88]
    str [rbx + 104]
    sldt [rbx + 106]
    mov [rbx + 108], fs
    mov [rbx + 110], gs
    mov rax, [fs:8]
    mov [rbx + 112], rax
    mov rax, [gs:8]
    mov [rbx + 120], rax
    hlt
%endmacro
GUEST registers_store_system, 64

%macro registers_load_system 0
    mov rbx, VM_FREE
    mov rax, [rbx]
    mov cr2, rax
    mov rax, [rbx + 16]
    mov cr8, rax
    lgdt [rbx + 72]
    lidt [rbx + 88]
    mov ax, 0x60
    lldt ax
    xor eax, eax
    mov fs, ax
    mov ax, 0x3b
    mov gs, ax
    hlt
%endmacro
GUEST registers_load_system, 64

; XMM0-15 to VM_FREE and MXCSR, then XMM0-15 = ~old
%macro registers_xmm 0
    mov rbx, VM_FREE
    stmxcsr [rbx + 256]
%assign %%n 0
%rep 16
    movups [rbx + %%n * 16], xmm %+ %%n
%assign %%n %%n + 1
%endrep
%assign %%n 0
%rep 16
    pcmpeqd xmm %+ %%n, xmm %+ %%n
%assign %%n %%n + 1
%endrep
    mov dword [rbx + 260], 0x1fc0
    ldmxcsr [rbx + 260]
    hlt
%endmacro
GUEST registers_xmm, 64

; x87: stores the control and status words and ST0, then pushes pi and changes the rounding
%macro registers_x87 0
    mov rbx, VM_FREE
    fnstcw [rbx]
    fnstsw [rbx + 2]
    fld st0
    fstp tword [rbx + 16]
    fldpi
    mov word [rbx + 4], 0x0f7f
    fldcw [rbx + 4]
    hlt
%endmacro
GUEST registers_x87, 64

; YMM0 to VM_FREE, then YMM1 = YMM0 + itself
%macro registers_ymm 0
    mov rbx, VM_FREE
    vmovups [rbx], ymm0
    vpaddq ymm1, ymm0, ymm0
    hlt
%endmacro
GUEST registers_ymm, 64

; MSRs: ECX numbers at VM_FREE, values behind at VM_FREE + 0x100. Counts in EDI.
%macro registers_rdmsr 0
    mov rsi, VM_FREE
%%next:
    mov ecx, [rsi]
    MARK
    rdmsr
    mov [rsi + 0x100], eax
    mov [rsi + 0x104], edx
    add rsi, 8
    dec edi
    jnz %%next
    hlt
%endmacro
GUEST registers_rdmsr, 64

%macro registers_wrmsr 0
    mov rsi, VM_FREE
%%next:
    mov ecx, [rsi]
    mov eax, [rsi + 0x100]
    mov edx, [rsi + 0x104]
    MARK
    wrmsr
    add rsi, 8
    dec edi
    jnz %%next
    hlt
%endmacro
GUEST registers_wrmsr, 64

; EFER.NXE off and on again with what RDMSR gave, LMA included
%macro registers_efer 0
    mov ecx, 0xc0000080
    rdmsr
    and eax, ~0x800
    wrmsr
    rdmsr
    MARK
    or eax, 0x800
    wrmsr
    hlt
%endmacro
GUEST registers_efer, 64

; Everything that a guest may leave behind in a CPU: the host must not find any of it.
%macro registers_dirty_all 0
    mov rbx, VM_FREE
%assign %%n 0
%rep 16
    pcmpeqd xmm %+ %%n, xmm %+ %%n
%assign %%n %%n + 1
%endrep
    mov dword [rbx], 0x1fc0
    ldmxcsr [rbx]
    fninit
    fldpi
    mov word [rbx + 4], 0x0f7f
    fldcw [rbx + 4]
    mov rax, 0x1234
    mov dr0, rax
    mov dr1, rax
    mov dr2, rax
    mov dr3, rax
    mov ecx, 0xc0000081
    mov eax, 0x11111111
    mov edx, 0x00100020
    wrmsr
    xor edx, edx
    mov ecx, 0xc0000082
    wrmsr
    mov ecx, 0xc0000083
    wrmsr
    mov ecx, 0xc0000084
    wrmsr
    mov ecx, 0xc0000102
    wrmsr
    mov ecx, 0xc0000100
    wrmsr
    mov ecx, 0xc0000101
    wrmsr
    mov ecx, 0x174
    wrmsr
    mov ecx, 0x175
    wrmsr
    mov ecx, 0x176
    wrmsr
    mov rax, 0x7777
    mov cr2, rax
    hlt
%endmacro
GUEST registers_dirty_all, 64
