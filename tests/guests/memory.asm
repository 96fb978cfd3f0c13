; SPDX-License-Identifier: MIT
; Accesses to the page at 0xb000, which the client maps as it likes. Mark 0 is the access, mark 1 what follows it.
%include "guest.inc"

%define HOLE 0xb000

%macro memory_read8 0
    mov rSI, HOLE + 0x123
    MARK
    mov al, [rSI]
    MARK
    hlt
%endmacro
GUEST memory_read8

%macro memory_read32 0
    mov rSI, HOLE + 0x124
    MARK
    mov eax, [rSI]
    MARK
    hlt
%endmacro
GUEST memory_read32

%macro memory_write8 0
    mov rSI, HOLE + 0x123
    mov al, 0x5a
    MARK
    mov [rSI], al
    MARK
    hlt
%endmacro
GUEST memory_write8

%macro memory_write32 0
    mov rSI, HOLE + 0x124
    MARK
    mov dword [rSI], 0x12345678
    MARK
    hlt
%endmacro
GUEST memory_write32

%macro memory_rmw 0
    mov rSI, HOLE + 0x123
    MARK
    inc byte [rSI]
    MARK
    hlt
%endmacro
GUEST memory_rmw

%macro memory_lock 0
    mov rSI, HOLE + 0x124
    mov eax, 3
    MARK
    lock xadd [rSI], eax
    MARK
    hlt
%endmacro
GUEST memory_lock

%macro memory_push 0
    mov rSP, HOLE + 0x200
    MARK
    push rA
    MARK
    hlt
%endmacro
GUEST memory_push

%macro memory_pop 0
    mov rSP, HOLE + 0x200
    MARK
    pop rA
    MARK
    hlt
%endmacro
GUEST memory_pop

%macro memory_movs_from 0
    cld
    mov rSI, HOLE + 0x123
    mov rDI, VM_DATA
    MARK
    movsb
    MARK
    hlt
%endmacro
GUEST memory_movs_from

%macro memory_movs_to 0
    cld
    mov rSI, VM_DATA
    mov rDI, HOLE + 0x123
    MARK
    movsb
    MARK
    hlt
%endmacro
GUEST memory_movs_to

; fills [0xaff8, 0xb008): stops in the middle, at the page's start
%macro memory_rep_stos 0
    cld
    mov rDI, HOLE - 8
    mov rC, 16
    mov al, 0x77
    MARK
    rep stosb
    MARK
    hlt
%endmacro
GUEST memory_rep_stos

; 4 bytes of which 2 are in the page before
%macro memory_read_cross 0
    mov rSI, HOLE - 2
    MARK
    mov eax, [rSI]
    MARK
    hlt
%endmacro
GUEST memory_read_cross

%macro memory_read_begin 0
    mov rSI, HOLE
    MARK
    mov eax, [rSI]
    MARK
    hlt
%endmacro
GUEST memory_read_begin

%macro memory_write_cross 0
    mov rSI, HOLE - 2
    MARK
    mov dword [rSI], 0x44332211
    MARK
    hlt
%endmacro
GUEST memory_write_cross

%macro memory_sse 0
    mov rSI, HOLE + 0x130
    MARK
    movups xmm0, [rSI]
    MARK
    hlt
%endmacro
GUEST memory_sse

%macro memory_jump 0
    mov rSI, HOLE + 0x10
    jmp rSI
%endmacro
GUEST memory_jump

; what the client puts at 0xb010, and elsewhere, to be run
SNIPPET memory_nop, nop
%macro memory_mov 0
    MARK
    mov eax, 0x12345678
    MARK
    hlt
%endmacro
GUEST memory_mov

; RSI holds the address
%macro memory_at_rsi 0
    MARK
    mov eax, [rsi]
    MARK
    hlt
%endmacro
GUEST memory_at_rsi, 64

%macro memory_esi 0
    MARK
    mov eax, [esi]
    MARK
    hlt
%endmacro
GUEST memory_esi, 32, 64

; A page table entry's accessed and dirty bits are set on the way
%macro memory_write_data 0
    mov rSI, 0xc000
    MARK
    mov [rSI], al
    MARK
    hlt
%endmacro
GUEST memory_write_data
