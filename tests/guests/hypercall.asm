; SPDX-License-Identifier: MIT
; Guests that call the hypervisor. The host puts the instruction of this kind of CPU in the place of VMCALL.
%include "guest.inc"

; a call in memory: struct call of tests/kernel/hypercall.c
%define C_CONTROL 0
%define C_INPUT   8
%define C_OUTPUT  16
%define C_RESULT  24
%define C_AFTER   32                ; RCX and RDX after a call of 64 bits
%define C_IS_LAST 48
%define C_ROUNDS  56                ; of the last one: how often all of them are done once more
%define C_XMM     64                ; XMM0 to XMM5
%define C_SIZE    160

; rBP: the first call. Ends with OUT.
%macro hypercall_calls 0
    push rBP
%%next:
IF64    movups xmm0, [rbp + C_XMM]
IF64    movups xmm1, [rbp + C_XMM + 16]
IF64    movups xmm2, [rbp + C_XMM + 32]
IF64    movups xmm3, [rbp + C_XMM + 48]
IF64    movups xmm4, [rbp + C_XMM + 64]
IF64    movups xmm5, [rbp + C_XMM + 80]
IF64    mov rcx, [rbp + C_CONTROL]
IF64    mov rdx, [rbp + C_INPUT]
IF64    mov r8, [rbp + C_OUTPUT]
ELSE_   mov eax, [rBP + C_CONTROL]
ELSE_   mov edx, [rBP + C_CONTROL + 4]
ELSE_   mov ecx, [rBP + C_INPUT]
ELSE_   mov ebx, [rBP + C_INPUT + 4]
ELSE_   mov esi, [rBP + C_OUTPUT]
ELSE_   mov edi, [rBP + C_OUTPUT + 4]
    MARK
    vmcall
    MARK
IF64    mov [rbp + C_RESULT], rax
IF64    mov [rbp + C_AFTER], rcx
IF64    mov [rbp + C_AFTER + 8], rdx
ELSE_   mov [rBP + C_RESULT], eax
ELSE_   mov [rBP + C_RESULT + 4], edx
    cmp dword [rBP + C_IS_LAST], 0
    jne %%last
    add rBP, C_SIZE
    jmp %%next
%%last:
    cmp dword [rBP + C_ROUNDS], 0
    je %%end
    dec dword [rBP + C_ROUNDS]
    mov rBP, [rSP]
    jmp %%next
%%end:
    out 0xf4, al
%endmacro
GUEST hypercall_calls, 32, 64

; By the page: says who it is, enables the page at 0x80000, calls it with the words at VM_DATA, and keeps the result behind them.
%macro hypercall_page 0
    mov ecx, 0x40000000             ; GUEST_OS_ID
    mov eax, 1
    mov edx, 0x81000000
    wrmsr
    inc ecx                         ; HYPERCALL
    mov eax, 0x80001
    xor edx, edx
    wrmsr
    mov rBP, 0x80000
IF64    mov rcx, [VM_DATA]
IF64    mov rdx, [VM_DATA + 8]
IF64    mov r8, [VM_DATA + 16]
ELSE_   mov eax, [VM_DATA]
ELSE_   mov edx, [VM_DATA + 4]
ELSE_   mov ecx, [VM_DATA + 8]
ELSE_   mov ebx, [VM_DATA + 12]
ELSE_   mov esi, [VM_DATA + 16]
ELSE_   mov edi, [VM_DATA + 20]
    call rBP
    mov [VM_DATA + 24], rA
ELSE_   mov [VM_DATA + 28], edx
    out 0xf4, al
%endmacro
GUEST hypercall_page, 32, 64

; Words at VM_DATA that those below share.
%define ROUND    VM_DATA
%define SEEN     VM_DATA + 64
%define WRONG    VM_DATA + 128      ; what was read, and of which round
%define LAST     VM_DATA + 192      ; the number of rounds
%define CONTROL  VM_DATA + 200
%define INPUT    VM_DATA + 208
%define STATUS   VM_DATA + 216
%define MOVED    0x40000            ; a page that changes its place
%define PLACES   0x50000            ; two of them
%define ENTRY    VM_DATA + 224      ; where the page-table entry of MOVED is
%define BITS     VM_DATA + 232      ; of that entry

; In each round after ROUND: the round's number is written to the other place, MOVED goes there, everybody flushes, and only then is told of the round.
%macro hypercall_move 0
    mov r12d, [ROUND]
    inc r12d
%%next:
    mov r13d, r12d
    and r13d, 1
    shl r13d, 12
    add r13d, PLACES
    mov [r13], r12d
    or r13, [BITS]
    mov r14, [ENTRY]
    mov [r14], r13
    mov rcx, [CONTROL]
    mov rdx, [INPUT]
    xor r8d, r8d
    MARK
    vmcall
    MARK
    mov [STATUS], eax
    test ax, ax
    jnz %%end
    mov eax, [MOVED]                ; its own translations, too
    cmp eax, r12d
    jne %%wrong
    mov [ROUND], r12d
%%wait:
    pause
    cmp [SEEN], r12d
    jne %%wait
    inc r12d
    cmp r12d, [LAST]
    jbe %%next
%%end:
    out 0xf4, al
%%wrong:
    mov [WRONG], eax
    mov [WRONG + 4], r12d
    out 0xf4, al
%endmacro
GUEST hypercall_move, 64

; Reads MOVED all the time, so that its CPU has the translation. What it reads is never older than the round that it knows of.
%macro hypercall_watch 0
%%next:
    mov eax, [ROUND]
    mov ebx, [MOVED]
    cmp ebx, eax
    jb %%wrong
    mov [SEEN], eax
    cmp eax, [LAST]
    jb %%next
    out 0xf4, al
%%wrong:
    mov [WRONG], ebx
    mov [WRONG + 4], eax
    mov eax, [LAST]
    mov [SEEN], eax
    out 0xf4, al
%endmacro
GUEST hypercall_watch, 64
