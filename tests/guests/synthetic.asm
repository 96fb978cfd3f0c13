; SPDX-License-Identifier: MIT
; Guests of the hypervisor's own interface, which end by OUT: CPUID, a call of the hypercall page. And a handler that ends interrupts by the VP assist page where it
; may. The latter takes the place of apic_handler (apic.asm) in machines of tests/kernel/apic.h.
%include "guest.inc"

%macro synthetic_cpuid 0
    cpuid
    out 0xf4, al
    hlt
%endmacro
GUEST synthetic_cpuid, 64

; RBX: the page. The other registers are the call's; what it returns is in RAX.
%macro synthetic_call 0
    call rbx
    out 0xf4, al
    hlt
%endmacro
GUEST synthetic_call, 64

%define A_COUNTS 0x400
%define ASSIST   0x50000            ; tests/kernel/synthetic.c
%define SAVED    0x51000            ; how many needed no EOI
%define DONE     0x51008            ; how many did
%define MSR_EOI  0x40000070

; The vector is on the stack, below what the processor pushes. As guests do it: the end first, then the work.
%macro synthetic_handler 0
    push rax
    push rcx
    push rdx
    xor eax, eax
    xchg eax, [abs ASSIST]
    test al, 1
    jz %%eoi
    lock inc qword [abs SAVED]
    jmp %%work
%%eoi:
    lock inc qword [abs DONE]
    mov ecx, MSR_EOI
    xor eax, eax
    xor edx, edx
    wrmsr
%%work:
    movzx eax, byte [rsp + 24]
    inc dword [gs:A_COUNTS + rax * 4]
    pop rdx
    pop rcx
    pop rax
    add rsp, 8
    iretq
%endmacro
GUEST synthetic_handler, 64
