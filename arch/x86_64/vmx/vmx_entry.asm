; SPDX-License-Identifier: MIT
; The transition into the guest and back. Everything else is C.

%include "gprs.inc"

bits 64
default rel
section .text

; vmx_entry: called by vmx_run_guest, not from C
;
; In:   rdi = struct vmx_vcpu *, whose VMCS is current here; interrupts off
; Out:  rax = the exit reason, of a failed entry too (33, 34 or 41); VMX_VMFAIL when VMLAUNCH itself failed (VMfail)
; The general registers and CR2 of the guest are loaded from and saved to it; RIP, RSP and RFLAGS are in the VMCS.
; Keeps RSP, RBP and RDI. No general register holds a value of the guest's after an exit.
global vmx_entry
global vmx_exit_point
vmx_entry:
        PUSH_HOST
        cmp     rsp, [rdi + VMX_HOST_RSP]
        jne     .new_stack
.stack_known:
        mov     rax, cr2
        cmp     rax, [rdi + VCPU_CR2]
        jne     .new_cr2
.cr2_equal:
        mov     rax, [rdi + VCPU_RAX]
        LOAD_GUEST
        mov     rdi, [rdi + VCPU_RDI]
        vmresume                        ; fails when this VMCS was not launched since its VMCLEAR
        vmlaunch
        mov     eax, VMX_VMFAIL         ; both failed: no guest instruction ran, no register changed
        jmp     vmx_exit_point.leave

vmx_exit_point:
        push    rdi
        mov     rdi, [rsp + 8]
        mov     [rdi + VCPU_RAX], rax
        SAVE_GUEST
        mov     rax, cr2
        mov     [rdi + VCPU_CR2], rax
        mov     eax, VMCS_EXIT_REASON
        vmread  rax, rax
.leave:
        CLEAR_GUEST
        POP_HOST
        ret

vmx_entry.new_stack:
        mov     eax, VMCS_HOST_RSP
        mov     [rdi + VMX_HOST_RSP], rsp
        vmwrite rax, rsp
        jmp     vmx_entry.stack_known

vmx_entry.new_cr2:
        mov     rax, [rdi + VCPU_CR2]
        mov     cr2, rax
        jmp     vmx_entry.cr2_equal
