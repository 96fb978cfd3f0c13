; SPDX-License-Identifier: MIT
; Interrupts of the guest's own (tests/bench/apic.c). A handler counts at COUNT, and ends the interrupt.
%include "apic.inc"

%define APIC       0xfee00000
%define REG_EOI    0x0b0
%define REG_SVR    0x0f0
%define REG_ICR    0x300
%define REG_LVT    0x320
%define SELF       0x40000

%define MSR_SELF     0x83f
%define MSR_DEADLINE 0x6e0

; Stubs have pushed the vector (tests/kernel/apic_vm.c).
%macro bench_handler_xapic 0
    push rax
    mov eax, APIC + REG_EOI
    mov dword [rax], 0
    inc dword [COUNT]
    pop rax
    add rsp, 8
    iretq
%endmacro
GUEST bench_handler_xapic, 64

%macro bench_handler_x2apic 0
    push rax
    push rcx
    push rdx
    mov ecx, MSR_EOI
    xor eax, eax
    xor edx, edx
    wrmsr
    inc dword [COUNT]
    pop rdx
    pop rcx
    pop rax
    add rsp, 8
    iretq
%endmacro
GUEST bench_handler_x2apic, 64

%macro xapic_on 0
    mov edi, APIC
    mov dword [rdi + REG_SVR], 0x1ff
    mov dword [rdi + REG_LVT], DEADLINE | VECTOR
    sti
%endmacro

; An interrupt that comes at once, and one that ends a HLT.
%macro xapic_self 0
    mov dword [rdi + REG_ICR], eax
    nop
%endmacro
%macro xapic_self_halt 0
    cli
    mov dword [rdi + REG_ICR], eax
    sti
    hlt
%endmacro
BENCH bench_self_xapic, {mov eax, SELF | VECTOR}, {xapic_self}, {xapic_on}
BENCH bench_self_halt_xapic, {mov eax, SELF | VECTOR}, {xapic_self_halt}, {xapic_on}
BENCH bench_eoi_xapic, {nothing}, {mov dword [rdi + REG_EOI], 0}, {xapic_on}

%macro before_x2apic 0
    mov ecx, MSR_SELF
    mov eax, VECTOR
    xor edx, edx
%endmacro
%macro x2apic_self 0
    wrmsr
    nop
%endmacro
%macro x2apic_self_halt 0
    cli
    wrmsr
    sti
    hlt
%endmacro
%macro before_eoi_x2apic 0
    mov ecx, MSR_EOI
    xor eax, eax
    xor edx, edx
%endmacro
BENCH bench_self_x2apic, {before_x2apic}, {x2apic_self}, {x2apic_on}
BENCH bench_self_halt_x2apic, {before_x2apic}, {x2apic_self_halt}, {x2apic_on}
BENCH bench_eoi_x2apic, {before_eoi_x2apic}, {wrmsr}, {x2apic_on}

; A deadline that has passed, and one that many instructions are executed until: these are not counted.
%macro before_deadline 0
    mov ebx, [COUNT]
    mov ecx, MSR_DEADLINE
    rdtsc
%endmacro
%macro deadline_passed 0
    wrmsr
%%wait:
    cmp [COUNT], ebx
    je %%wait
%endmacro
%macro deadline_ahead 0
    xor r8d, r8d
    add eax, 20000
    adc edx, 0
    wrmsr
%%wait:
    inc r8
    cmp [COUNT], ebx
    je %%wait
    lea r8, [r8 + r8 * 2]
    add r15, r8                     ; as if the loop had begun later
%endmacro
BENCH bench_deadline_passed, {before_deadline}, {deadline_passed}, {x2apic_on}
BENCH bench_deadline_ahead, {before_deadline}, {deadline_ahead}, {x2apic_on}

; The client requests an interrupt or posts a message when it is at the other port.
%macro bench_request 0
    x2apic_on
    ROUNDS_BEGIN r10d, r14
    mov edx, TEST_PORT
    out dx, eax
    ROUNDS_END r14
    ROUNDS_BEGIN r12d, r15
    mov edx, TEST_PORT + 1
    out dx, eax
    ROUNDS_END r15
    BENCH_DONE
%endmacro
GUEST bench_request, 64
