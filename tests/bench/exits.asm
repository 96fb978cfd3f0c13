; SPDX-License-Identifier: MIT
; Exits that the hypervisor answers itself.
%include "loop.inc"

BENCH bench_cpuid, {xor eax, eax}, {cpuid}
; RSI: which MSR
BENCH bench_rdmsr, {mov ecx, esi}, {rdmsr}

%macro before_wrmsr 0
    mov ecx, esi
    xor eax, eax
    xor edx, edx
%endmacro
BENCH bench_wrmsr, {before_wrmsr}, {wrmsr}

; A call that no hypervisor has: answered by its status. By the client the instruction is this kind of CPU's (tests/bench/guest.c).
%macro before_vmcall 0
    mov ecx, 0x7fff
    xor edx, edx
    xor r8d, r8d
%endmacro
BENCH bench_vmcall, {before_vmcall}, {vmcall}
BENCH bench_vmmcall, {before_vmcall}, {vmmcall}

%macro toggle_cr0_wp 0
    mov rax, cr0
    btc eax, 16
    mov cr0, rax
    btc eax, 16
    mov cr0, rax
%endmacro
BENCH bench_cr0_wp, {nothing}, {toggle_cr0_wp}

%macro toggle_cr4_pge 0
    mov rax, cr4
    btc eax, 7
    mov cr4, rax
    btc eax, 7
    mov cr4, rax
%endmacro
BENCH bench_cr4_pge, {nothing}, {toggle_cr4_pge}

; The loops' own cost
BENCH bench_nothing, {nothing}, {nothing}
