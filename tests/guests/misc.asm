; SPDX-License-Identifier: MIT
; HLT, hypercalls, time, task switches, and guests that go on for ever.
%include "guest.inc"

%macro misc_halts 0
    cli
    hlt
    MARK
    nop
    hlt
%endmacro
GUEST misc_halts

SNIPPET misc_vmcall, vmcall
SNIPPET misc_vmmcall, vmmcall
SNIPPET misc_rdtsc,  rdtsc
SNIPPET misc_rdtscp, rdtscp
SNIPPET misc_cpuid,  cpuid
SNIPPET misc_rdmsr,  rdmsr
SNIPPET misc_wrmsr,  wrmsr
SNIPPET misc_invd,   invd
SNIPPET misc_wbinvd, wbinvd
SNIPPET misc_rdpmc,  rdpmc
SNIPPET misc_monitor, monitor
SNIPPET misc_mwait,  mwait
SNIPPET misc_vmxoff, vmxoff
SNIPPET misc_getsec, getsec
SNIPPET misc_vmrun,  vmrun
SNIPPET misc_vmload, vmload
SNIPPET misc_vmsave, vmsave
SNIPPET misc_stgi,   stgi
SNIPPET misc_clgi,   clgi
SNIPPET misc_invlpga, invlpga
SNIPPET misc_sti_hlt, sti
SNIPPET64 misc_swapgs, swapgs

%macro misc_invlpg 0
    MARK
    invlpg [rSI]
    MARK
    hlt
%endmacro
GUEST misc_invlpg

; TSC at VM_DATA and VM_DATA + 8
%macro misc_tsc_twice 0
    mov rSI, VM_DATA
    rdtsc
    mov [rSI], eax
    mov [rSI + 4], edx
    rdtsc
    mov [rSI + 8], eax
    mov [rSI + 12], edx
    hlt
%endmacro
GUEST misc_tsc_twice

%macro misc_loop 0
    MARK
%%forever:
    inc dword [VM_DATA]
    jmp %%forever
    MARK
    hlt
%endmacro
GUEST misc_loop, 16, 32

%macro misc_loop64 0
    MARK
    mov rsi, VM_DATA
%%forever:
    inc dword [rsi]
    jmp %%forever
    MARK
    hlt
%endmacro
GUEST misc_loop64, 64

%macro misc_task_jump 0
    MARK
    jmp SEL_TSS2:0
    MARK
    hlt
%endmacro
GUEST misc_task_jump, 16, 32

%macro misc_task_call 0
    MARK
    call SEL_TSS2:0
    MARK
    hlt
%endmacro
GUEST misc_task_call, 16, 32

; the same through memory: the far pointer is at VM_DATA
%macro misc_task_jump_long 0
    mov rsi, VM_DATA
    MARK
    jmp far dword [rsi]
    MARK
    hlt
%endmacro
GUEST misc_task_jump_long, 64
