; SPDX-License-Identifier: MIT
; The smallest guests.
%include "guest.inc"

; Ends at once.
%macro smoke_halt 0
    hlt
%endmacro
GUEST smoke_halt

; Says so through a port, in each code size.
%macro smoke_out 0
    mov al, 'A'
    mov dx, 0x3f8
    MARK
    out dx, al
    MARK
    hlt
%endmacro
GUEST smoke_out
