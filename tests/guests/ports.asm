; SPDX-License-Identifier: MIT
; Guests that signal notification ports: by a hypercall, and by stores (tests/kernel/ports.c).
%include "guest.inc"

; words at VM_DATA, 8 bytes apart: hypercall input value, first parameter, result, rounds
; The host puts the instruction of this kind of CPU in the place of VMCALL.
%macro port_call 0
%%next:
    mov rcx, [VM_DATA]
    mov rdx, [VM_DATA + 8]
    MARK
    vmcall
    MARK
    mov [VM_DATA + 16], rax
    dec dword [VM_DATA + 24]
    jnz %%next
    hlt
%endmacro
GUEST port_call, 64

; RCX stores of EAX at RDI
%macro port_store 0
%%next:
    mov [rdi], eax
    loop %%next
    hlt
%endmacro
GUEST port_store, 64
