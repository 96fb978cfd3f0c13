; SPDX-License-Identifier: MIT
; The hypervisor's own interface, as guests use it most: clocks, a flush of all translations, messages (tests/bench/synthetic.c).
%include "apic.inc"

%define MSR_COUNT    0x40000020
%define MSR_TSC_PAGE 0x40000021
%define PAGE         0x51000
%define SLOT2        (MESSAGES + 256 * 2)

BENCH bench_clock_msr, {mov ecx, MSR_COUNT}, {rdmsr}

%macro place_page 0
    mov ecx, MSR_TSC_PAGE
    mov eax, PAGE | 1
    xor edx, edx
    wrmsr
    mov edi, PAGE
%endmacro

; As Linux does it.
%macro clock_page 0
%%again:
    mov r8d, [rdi]
    test r8d, r8d
    jz %%end
    rdtsc
    shl rdx, 32
    or rax, rdx
    mul qword [rdi + 8]
    add rdx, [rdi + 16]
    cmp r8d, [rdi]
    jne %%again
%%end:
%endmacro
BENCH bench_clock_page, {nothing}, {clock_page}, {place_page}

; FlushVirtualAddressSpace: the header at VM_DATA
%macro before_flush 0
    mov ecx, 2
    mov edx, VM_DATA
    xor r8d, r8d
%endmacro
BENCH bench_flush_vmcall, {before_flush}, {vmcall}
BENCH bench_flush_vmmcall, {before_flush}, {vmmcall}

; Frees the slot, counts, ends the interrupt.
%macro bench_handler_message 0
    push rax
    push rcx
    push rdx
    mov dword [SLOT2], 0
    inc dword [COUNT]
    WRITE_MSR MSR_EOI, 0
    pop rdx
    pop rcx
    pop rax
    add rsp, 8
    iretq
%endmacro
GUEST bench_handler_message, 64

; The client posts a message when it is at the other port.
%macro bench_message 0
    synic_on
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
GUEST bench_message, 64
