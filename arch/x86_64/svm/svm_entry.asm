; SPDX-License-Identifier: MIT
; The transition into the guest and back. Everything else is C.

%include "offsets.inc"

bits 64
default rel
section .text

; void svm_entry(struct svm_vcpu *svm)
;
; In:   rdi = svm, whose host_pa is this CPU's page for the host's state; interrupts off
; The general registers of the guest are loaded from and saved to svm->v; RAX, RSP, RIP, RFLAGS and CR2 are in the VMCB.
; From CLGI to STGI nothing reaches the host, NMIs included: its FS, GS, TR and LDTR are the guest's in between. What
; ends the guest's run stays pending until then. The guest is interrupted for the host by the host's RFLAGS.IF, which is
; therefore on during VMRUN (APM 2 15.21.1).
; VMLOAD, VMRUN and VMSAVE take the physical address of a VMCB in RAX.
; Clobbers what a C function may. Afterwards no general register holds a value of the guest's.
global svm_entry
svm_entry:
        push    rbp
        mov     rbp, rsp
        push    rbx
        push    r12
        push    r13
        push    r14
        push    r15
        push    rdi
        clgi
        sti
        mov     rax, [rdi + SVM_VMCB_PA]
        vmload
        mov     rcx, [rdi + VCPU_RCX]
        mov     rdx, [rdi + VCPU_RDX]
        mov     rbx, [rdi + VCPU_RBX]
        mov     rbp, [rdi + VCPU_RBP]
        mov     rsi, [rdi + VCPU_RSI]
        mov     r8, [rdi + VCPU_R8]
        mov     r9, [rdi + VCPU_R9]
        mov     r10, [rdi + VCPU_R10]
        mov     r11, [rdi + VCPU_R11]
        mov     r12, [rdi + VCPU_R12]
        mov     r13, [rdi + VCPU_R13]
        mov     r14, [rdi + VCPU_R14]
        mov     r15, [rdi + VCPU_R15]
        mov     rdi, [rdi + VCPU_RDI]
        vmrun
        push    rdi                     ; RSP and RAX are the host's again
        mov     rdi, [rsp + 8]
        mov     [rdi + VCPU_RCX], rcx
        mov     [rdi + VCPU_RDX], rdx
        mov     [rdi + VCPU_RBX], rbx
        mov     [rdi + VCPU_RBP], rbp
        mov     [rdi + VCPU_RSI], rsi
        mov     [rdi + VCPU_R8], r8
        mov     [rdi + VCPU_R9], r9
        mov     [rdi + VCPU_R10], r10
        mov     [rdi + VCPU_R11], r11
        mov     [rdi + VCPU_R12], r12
        mov     [rdi + VCPU_R13], r13
        mov     [rdi + VCPU_R14], r14
        mov     [rdi + VCPU_R15], r15
        pop     qword [rdi + VCPU_RDI]
        vmsave
        mov     rax, [rdi + SVM_HOST_PA]
        vmload
        cli
        stgi
        xor     eax, eax
        xor     ecx, ecx
        xor     edx, edx
        xor     esi, esi
        xor     r8d, r8d
        xor     r9d, r9d
        xor     r10d, r10d
        xor     r11d, r11d
        pop     rdi
        pop     r15
        pop     r14
        pop     r13
        pop     r12
        pop     rbx
        pop     rbp
        ret
