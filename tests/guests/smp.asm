; SPDX-License-Identifier: MIT
; Guests for the tests with several CPUs, virtual processors and threads. Their words at VM_DATA:
;   +0 counter   +4 what was read   +8 what went wrong   +16 what the host wants   +24 seed
%include "guest.inc"

%define COUNTER VM_DATA
%define SEEN    VM_DATA + 4
%define WRONG   VM_DATA + 8
%define WANTED  VM_DATA + 16
%define SEED    VM_DATA + 24
%define SAVED   VM_DATA + 0x100
%define PAGE_   0x30000

; Counts for ever.
%macro smp_spin 0
    MARK
%%loop:
    inc dword [COUNTER]
    jmp %%loop
    MARK
%endmacro
GUEST smp_spin

; Counts to 2000 together with others, then ends.
%macro smp_add 0
    mov ecx, 2000
%%loop:
    lock inc dword [COUNTER]
    dec ecx
    jnz %%loop
    hlt
%endmacro
GUEST smp_add, 32, 64

; Reads a page for ever, saying what it saw.
%macro smp_read 0
%%loop:
    mov eax, [PAGE_]
    mov [SEEN], eax
    inc dword [COUNTER]
    jmp %%loop
%endmacro
GUEST smp_read, 32, 64

; Writes a page for ever.
%macro smp_write 0
%%loop:
    inc eax
    MARK
    mov [PAGE_], eax
    inc dword [COUNTER]
    jmp %%loop
%endmacro
GUEST smp_write, 32, 64

; Fills its registers from the seed, then checks them for ever. The host wants: 0 go on, 1 an exit each round (OUT), 2 the end.
%macro smp_state 0
    mov rax, [SEED]
    lea rcx, [rax + 1]
    lea rdx, [rax + 2]
    lea rbx, [rax + 3]
    lea rsi, [rax + 6]
    lea rdi, [rax + 7]
    lea rbp, [rax + 5]
%assign %%i 8
%rep 8
    lea r%[%%i], [rax + %[%%i]]
%assign %%i %%i + 1
%endrep
%assign %%i 0
%rep 16
    movq xmm%[%%i], rax
    mov [SAVED + 8 * %[%%i]], rax
    inc rax
%assign %%i %%i + 1
%endrep
    fninit
    fild qword [SEED]
    mov rax, [SEED]
    mov cr2, rax
    mov dr0, rax
    push rcx
    push rdx
    xor edx, edx
    mov ecx, 0xc0000082         ; LSTAR
    wrmsr
    mov ecx, 0xc0000102         ; KERNEL_GS_BASE
    wrmsr
    pop rdx
    pop rcx
%%loop:
%assign %%i 0
%rep 16
    movq rax, xmm%[%%i]
    cmp rax, [SAVED + 8 * %[%%i]]
    jne %%wrong_xmm
%assign %%i %%i + 1
%endrep
    cmp rcx, [SAVED + 8 * 1]
    jne %%wrong_general
    cmp rdx, [SAVED + 8 * 2]
    jne %%wrong_general
    cmp rbx, [SAVED + 8 * 3]
    jne %%wrong_general
    cmp rbp, [SAVED + 8 * 5]
    jne %%wrong_general
    cmp rsi, [SAVED + 8 * 6]
    jne %%wrong_general
    cmp rdi, [SAVED + 8 * 7]
    jne %%wrong_general
%assign %%i 8
%rep 8
    cmp r%[%%i], [SAVED + 8 * %[%%i]]
    jne %%wrong_general
%assign %%i %%i + 1
%endrep
    fist dword [SEEN]
    mov eax, [SEED]
    cmp [SEEN], eax
    jne %%wrong_x87
    mov rax, cr2
    cmp rax, [SEED]
    jne %%wrong_cr2
    mov rax, dr0
    cmp rax, [SEED]
    jne %%wrong_dr0
    push rcx
    push rdx
    mov ecx, 0xc0000082
    rdmsr
    mov rbx, rax
    mov ecx, 0xc0000102
    rdmsr
    pop rdx
    pop rcx
    cmp rax, [SEED]
    jne %%wrong_msr
    cmp rbx, [SEED]
    jne %%wrong_msr
    mov rbx, [SAVED + 8 * 3]
    inc dword [COUNTER]
    mov eax, [WANTED]
    test eax, eax
    jz %%loop
    cmp eax, 2
    je %%end
    out 0x80, al
    jmp %%loop
%%wrong_general:
    mov dword [WRONG], 1
    hlt
%%wrong_xmm:
    mov dword [WRONG], 2
    hlt
%%wrong_x87:
    mov dword [WRONG], 3
    hlt
%%wrong_cr2:
    mov dword [WRONG], 4
    hlt
%%wrong_dr0:
    mov dword [WRONG], 5
    hlt
%%wrong_msr:
    mov dword [WRONG], 6
    hlt
%%end:
    hlt
%endmacro
GUEST smp_state, 64
