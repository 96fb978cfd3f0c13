; SPDX-License-Identifier: MIT
; Entry points of the 256 vectors, all leading to trap_dispatch(struct trap_frame *).

        global  trap_entries
        extern  trap_dispatch

; the exceptions for which the CPU pushes an error code (SDM volume 3, table 6-1; AMD APM volume 2, table 8-1 adds #VC
; and #SX)
%define HAS_ERROR(v) ((v) == 8 || ((v) >= 10 && (v) <= 14) || (v) == 17 || (v) == 21 || (v) == 29 || (v) == 30)

        section .text
%assign v 0
%rep 256
        align   16
entry_%+v:
%if !HAS_ERROR(v)
        push    0
%endif
        push    v
        jmp     trap_common
%assign v v + 1
%endrep

; In: the CPU's frame, error code and vector on the stack. It is a multiple of 16 before the call: 5 + 2 + 15 words.
; RBP stays the interrupted function's, so that backtraces run through.
trap_common:
        push    rax
        push    rbx
        push    rcx
        push    rdx
        push    rsi
        push    rdi
        push    rbp
        push    r8
        push    r9
        push    r10
        push    r11
        push    r12
        push    r13
        push    r14
        push    r15
        cld
        mov     rdi, rsp
        call    trap_dispatch
        pop     r15
        pop     r14
        pop     r13
        pop     r12
        pop     r11
        pop     r10
        pop     r9
        pop     r8
        pop     rbp
        pop     rdi
        pop     rsi
        pop     rdx
        pop     rcx
        pop     rbx
        pop     rax
        add     rsp, 16
        iretq

        section .rodata
        align   8
trap_entries:
%assign v 0
%rep 256
        dq      entry_%+v
%assign v v + 1
%endrep
