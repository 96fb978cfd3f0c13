; SPDX-License-Identifier: MIT
; Calling a handler of the host's through its IDT.

bits 64
default rel
section .text

; void cpu_call_interrupt_handler(uint8_t vector)
;
; In:   dil = vector, of an interrupt that is in service at the local APIC; interrupts off
; Out:  when the handler has done its IRET
; The gate decides about stack and interrupt flag, as it does when the CPU takes the interrupt by itself.
; Clobbers what a C function may.
global cpu_call_interrupt_handler
cpu_call_interrupt_handler:
        movzx   eax, dil
        lea     rdx, [table]
        lea     rax, [rdx + rax * 4]
        jmp     rax

; INT n has its vector in the instruction: there is one for each, four bytes long.
align 16
table:
%assign vector 0
%rep 256
        db      0xcd, vector            ; int vector
        ret
        nop
%assign vector vector + 1
%endrep
