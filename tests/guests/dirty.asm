; SPDX-License-Identifier: MIT
; Guests that write pages, or only read them. The client sets RSI (the first address), RDX (the distance to the next) and RCX (how many).
%include "guest.inc"

%macro dirty_write 0
%%loop:
    inc dword [rSI]
    add rSI, rD
    dec ecx
    jnz %%loop
    hlt
%endmacro
GUEST dirty_write, 32, 64

%macro dirty_read 0
%%loop:
    mov eax, [rSI]
    add rSI, rD
    dec ecx
    jnz %%loop
    hlt
%endmacro
GUEST dirty_read, 32, 64

; Writes words of 16 pages from RSI on for ever, each with another value, and counts at VM_DATA. RBX: where it stands.
%macro dirty_spin 0
%%loop:
    add ebx, 0x1004
    mov edi, ebx
    and edi, 0xfffc
    mov [rSI + rDI], ebx
    lock inc dword [VM_DATA]
    jmp %%loop
%endmacro
GUEST dirty_spin, 32, 64
