; SPDX-License-Identifier: MIT
; The transition into the guest and back. Everything else is C.

%include "gprs.inc"

bits 64
default rel
section .text

; unsigned vmx_entry(struct vmx_vcpu *vmx)
;
; In:   rdi = vmx, whose VMCS is current here; interrupts off
; Out:  eax = 0 after a VM exit (which may be a failed entry that exits with reason 33, 34 or 41), 1 when VMLAUNCH itself failed (VMfail)
; The general registers and CR2 of the guest are loaded from and saved to vmx->v; RIP, RSP and RFLAGS are in the VMCS.
; Clobbers what a C function may. After an exit no general register holds a value of the guest's.
global vmx_entry
global vmx_exit_point
vmx_entry:
        PUSH_HOST
        cmp     rsp, [rdi + VMX_HOST_RSP]
        je      .stack_known
        mov     eax, VMCS_HOST_RSP
        mov     [rdi + VMX_HOST_RSP], rsp
        vmwrite rax, rsp
.stack_known:
        mov     rcx, [rdi + VCPU_CR2]
        mov     rax, cr2
        cmp     rax, rcx
        je      .cr2_equal
        mov     cr2, rcx
.cr2_equal:
        mov     rax, [rdi + VCPU_RAX]
        LOAD_GUEST
        mov     rdi, [rdi + VCPU_RDI]
        vmresume                        ; fails when this VMCS was not launched since its VMCLEAR
        vmlaunch
        mov     eax, 1                  ; both failed: no guest instruction ran, no register changed
        jmp     vmx_exit_point.leave

vmx_exit_point:
        push    rdi
        mov     rdi, [rsp + 8]
        mov     [rdi + VCPU_RAX], rax
        SAVE_GUEST
        mov     rax, cr2
        mov     [rdi + VCPU_CR2], rax
        xor     eax, eax
.leave:
        CLEAR_GUEST
        POP_HOST
        ret
