; SPDX-License-Identifier: MIT
; Guests that events come to.
%include "guest.inc"

; Four instructions to be interrupted at.
%macro events_nops 0
    MARK
    nop
    MARK
    nop
    MARK
    nop
    MARK
    hlt
%endmacro
GUEST events_nops

; IF goes on; the shadow of STI covers one instruction.
%macro events_sti 0
    cli
    nop
    MARK
    sti
    MARK
    nop
    MARK
    nop
    hlt
%endmacro
GUEST events_sti

; An exit in the shadow of MOV SS.
%macro events_mov_ss 0
    mov ax, ss
    MARK
    mov ss, ax
    MARK
    out 0x80, al
    MARK
    nop
    MARK
    nop
    hlt
%endmacro
GUEST events_mov_ss

; An exit in the shadow of STI.
%macro events_sti_out 0
    MARK
    sti
    MARK
    out 0x80, al
    MARK
    nop
    hlt
%endmacro
GUEST events_sti_out

; CR8 goes from 15 to 7 to 3.
%macro events_cr8 0
    mov eax, 7
    MARK
    mov cr8, rax
    MARK
    mov eax, 3
    MARK
    mov cr8, rax
    MARK
    nop
    hlt
%endmacro
GUEST events_cr8, 64

; DR0-3, DR6, DR7 from the table at VM_DATA, then read back to VM_DATA + 0x100.
%macro events_dr 0
    mov rSI, VM_DATA
    mov rDI, VM_DATA + 0x100
%assign %%n 0
%rep 4
    mov rA, [rSI + %%n * 8]
    mov dr %+ %%n, rA
    mov rA, dr %+ %%n
    mov [rDI + %%n * 8], rA
%assign %%n %%n + 1
%endrep
    mov rA, dr6
    mov [rDI + 32], rA
    mov rA, [rSI + 40]
    mov dr7, rA
    mov rA, dr7
    mov [rDI + 40], rA
    hlt
%endmacro
GUEST events_dr, 64

; Touches VM_DATA: for data breakpoints, which trap behind the instruction.
%macro events_data 0
    mov rSI, VM_DATA
    MARK
    mov [rSI], al
    MARK
    mov al, [rSI]
    MARK
    hlt
%endmacro
GUEST events_data

; Interrupt handler at VM_FREE: counts at VM_DATA, returns.
%macro events_handler32 0
    inc dword [VM_DATA]
    iretd
%endmacro
GUEST events_handler32, 32

%macro events_handler64 0
    push rsi
    mov rsi, VM_DATA
    inc dword [rsi]
    pop rsi
    iretq
%endmacro
GUEST events_handler64, 64
