; SPDX-License-Identifier: MIT
; The transition into the guest and back. Everything else is C.

%include "gprs.inc"

bits 64
default rel
section .text

; svm_entry: called by svm_run_guest, not from C
;
; In:   rdi = struct svm_vcpu *, whose host_pa is this CPU's page for the host's state; interrupts off
; The general registers of the guest are loaded from and saved to it; RAX, RSP, RIP, RFLAGS and CR2 are in the VMCB.
; From CLGI to STGI nothing reaches the host, NMIs included: its FS, GS, TR and LDTR are the guest's in between. What
; ends the guest's run stays pending until then. The guest is interrupted for the host by the host's RFLAGS.IF, which is
; therefore on during VMRUN (APM 2 15.21.1).
; VMLOAD, VMRUN and VMSAVE take the physical address of a VMCB in RAX.
; Keeps RSP, RBP and RDI. Afterwards no general register holds a value of the guest's.
global svm_entry
svm_entry:
        PUSH_HOST
        clgi
        sti
        mov     rax, [rdi + SVM_VMCB_PA]
        vmload
        LOAD_GUEST
        mov     rdi, [rdi + VCPU_RDI]
        vmrun
        push    rdi                     ; RSP and RAX are the host's again
        mov     rdi, [rsp + 8]
        SAVE_GUEST
        vmsave
        mov     rax, [rdi + SVM_HOST_PA]
        vmload
        cli
        stgi
        xor     eax, eax
        CLEAR_GUEST
        POP_HOST
        ret
