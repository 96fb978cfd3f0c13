; SPDX-License-Identifier: MIT
; Changing threads.

        global  switch_stack, thread_entry
        extern  thread_begin

        section .text
; void switch_stack(uint64_t *save_rsp, uint64_t load_rsp)
; Leaves the calling thread with its stack pointer in *save_rsp and returns in the one that load_rsp was saved for.
; Callee-saved registers travel on the stack; interrupts are off on both sides.
switch_stack:
        push    rbp
        push    rbx
        push    r12
        push    r13
        push    r14
        push    r15
        mov     [rdi], rsp
        mov     rsp, rsi
        pop     r15
        pop     r14
        pop     r13
        pop     r12
        pop     rbx
        pop     rbp
        ret

; Where switch_stack returns to in a new thread. RBP is 0: the end of backtraces.
thread_entry:
        call    thread_begin
        ud2
