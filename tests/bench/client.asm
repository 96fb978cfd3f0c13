; SPDX-License-Identifier: MIT
; Exits that go to the client, and doorbells that do not (tests/bench/client.c, doorbell.c).
%include "loop.inc"

BENCH bench_out, {mov edx, TEST_PORT}, {out dx, eax}
BENCH bench_in, {mov edx, TEST_PORT}, {in eax, dx}

%macro before_outs 0
    mov edx, TEST_PORT
    mov esi, VM_DATA
    mov ecx, 16
%endmacro
BENCH bench_outs, {before_outs}, {rep outsb}

BENCH bench_mmio_read, {mov edi, TEST_MMIO}, {mov eax, [rdi]}
BENCH bench_mmio_write, {mov edi, TEST_MMIO}, {mov [rdi], eax}
BENCH bench_vmcall_exit, {xor eax, eax}, {vmcall}
BENCH bench_vmmcall_exit, {xor eax, eax}, {vmmcall}
BENCH bench_rdmsr_exit, {mov ecx, esi}, {rdmsr}
BENCH bench_breakpoint, {nothing}, {int3}

BENCH bench_bell_port, {mov edx, BELL_PORT}, {out dx, eax}
BENCH bench_bell_mmio, {mov edi, BELL_MMIO}, {mov [rdi], eax}
