; SPDX-License-Identifier: MIT
; One guest for each exception that software can raise. Mark 0 is the instruction at fault, mark 1 what follows it. The client has prepared what
; the comment says.
%include "guest.inc"

%macro exception_de 0
    xor edx, edx
    xor ecx, ecx
    MARK
    div ecx
    MARK
    hlt
%endmacro
GUEST exception_de

SNIPPET exception_icebp, db 0xf1
SNIPPET exception_bp,    int3
SNIPPET exception_int_3, db 0xcd, 3
SNIPPET exception_int_80, int 0x80
SNIPPET exception_nop,   nop
SNIPPET exception_ud,    ud2
SNIPPET exception_nm,    fnop

%macro exception_of 0
    mov al, 0x7f
    add al, al
    MARK
    into
    MARK
    hlt
%endmacro
GUEST exception_of, 16, 32

; the bounds at VM_DATA are 0, 0
%macro exception_br 0
    mov rSI, VM_DATA
    mov eax, 5
    MARK
    bound rA, [rSI]
    MARK
    hlt
%endmacro
GUEST exception_br, 16, 32

; NT set: IRET wants to switch to the task of the back link, which is 0
%macro exception_ts 0
    pushf
    pop rA
    or ah, 0x40
    push rA
    popf
    MARK
    iret
    MARK
    hlt
%endmacro
GUEST exception_ts, 16, 32

%macro exception_np 0
    mov ax, SEL_ABSENT
    MARK
    mov ds, ax
    MARK
    hlt
%endmacro
GUEST exception_np

%macro exception_ss 0
    mov ax, SEL_ABSENT
    MARK
    mov ss, ax
    MARK
    hlt
%endmacro
GUEST exception_ss

; a push across the top of a 64 KiB stack segment
%macro exception_ss_real 0
    mov sp, 1
    MARK
    push ax
    MARK
    hlt
%endmacro
GUEST exception_ss_real, 16

%macro exception_ss_long 0
    mov rsp, 0x8000000000000000
    MARK
    push rax
    MARK
    hlt
%endmacro
GUEST exception_ss_long, 64

%macro exception_gp 0
    mov ax, 0xfff8
    MARK
    mov ds, ax
    MARK
    hlt
%endmacro
GUEST exception_gp

; beyond the limit of a 64 KiB segment
%macro exception_gp_limit 0
    mov si, 0xffff
    MARK
    mov ax, [si]
    MARK
    hlt
%endmacro
GUEST exception_gp_limit, 16

%macro exception_gp_long 0
    mov rsi, 0x8000000000000000
    MARK
    mov rax, [rsi]
    MARK
    hlt
%endmacro
GUEST exception_gp_long, 64

; the page at 0xb000 is absent, read-only or the supervisor's
%macro exception_pf_read 0
    mov rSI, 0xb123
    MARK
    mov al, [rSI]
    MARK
    hlt
%endmacro
GUEST exception_pf_read, 32, 64

%macro exception_pf_write 0
    mov rSI, 0xb123
    MARK
    mov [rSI], al
    MARK
    hlt
%endmacro
GUEST exception_pf_write, 32, 64

%macro exception_pf_fetch 0
    mov rSI, 0xb123
    jmp rSI
%endmacro
GUEST exception_pf_fetch, 32, 64

; the control word at VM_DATA unmasks division by zero
%macro exception_mf 0
    mov rSI, VM_DATA
    fninit
    fldcw [rSI]
    fld1
    fldz
    fdivp st1, st0
    MARK
    fwait
    MARK
    hlt
%endmacro
GUEST exception_mf

; CR0.AM and RFLAGS.AC are set, at CPL 3
%macro exception_ac 0
    mov rSI, VM_DATA + 1
    MARK
    mov eax, [rSI]
    MARK
    hlt
%endmacro
GUEST exception_ac, 32, 64

; MXCSR at VM_DATA unmasks division by zero; 1.0f at VM_DATA + 16
%macro exception_xm 0
    mov rSI, VM_DATA
    ldmxcsr [rSI]
    movups xmm0, [rSI + 16]
    xorps xmm1, xmm1
    MARK
    divps xmm0, xmm1
    MARK
    hlt
%endmacro
GUEST exception_xm
