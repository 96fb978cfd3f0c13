; SPDX-License-Identifier: MIT
; Interrupts that come from elsewhere: of another processor, of the host while this one runs or halts, of a device (tests/bench/remote.c,
; device.c).
%include "apic.inc"

%define MSR_ICR  0x830
%define OTHER    1
%define DEVICE   0x180000           ; registers of QEMU's edu
%define RAISE    0x60
%define ACK      0x64
%define BEATS    (VM_DATA + 64)     ; that who runs counts

; From this processor to the other one, until its handler counts.
%macro before_ipi 0
    mov ecx, MSR_ICR
    mov eax, VECTOR
    mov edx, OTHER
    mov ebx, [COUNT]
%endmacro
%macro ipi 0
    wrmsr
%%wait:
    cmp [COUNT], ebx
    je %%wait
%endmacro
BENCH bench_ipi, {before_ipi}, {ipi}, {x2apic_on}

; Who is interrupted: runs, or halts.
%macro bench_run 0
    x2apic_on
%%again:
    inc dword [BEATS]
    jmp %%again
    hlt
%endmacro
GUEST bench_run, 64

%macro bench_halt 0
    x2apic_on
%%again:
    inc dword [BEATS]
    hlt
    jmp %%again
    hlt
%endmacro
GUEST bench_halt, 64

%macro bench_halt_synic 0
    synic_on
%%again:
    inc dword [BEATS]
    hlt
    jmp %%again
    hlt
%endmacro
GUEST bench_halt_synic, 64

%macro bench_run_synic 0
    synic_on
%%again:
    inc dword [BEATS]
    jmp %%again
    hlt
%endmacro
GUEST bench_run_synic, 64

%macro before_device 0
    mov edi, DEVICE
    mov ebx, [COUNT]
%endmacro
%macro device 0
    mov dword [rdi + RAISE], 1
%%wait:
    cmp [COUNT], ebx
    je %%wait
%endmacro
BENCH bench_device, {before_device}, {device}, {x2apic_on}

%macro bench_handler_device 0
    push rax
    push rcx
    push rdx
    mov eax, DEVICE + ACK
    mov dword [rax], 1
    inc dword [COUNT]
    WRITE_MSR MSR_EOI, 0
    pop rdx
    pop rcx
    pop rax
    add rsp, 8
    iretq
%endmacro
GUEST bench_handler_device, 64
