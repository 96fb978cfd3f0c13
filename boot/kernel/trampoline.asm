; SPDX-License-Identifier: MIT
; The first instructions of the other CPUs: smp.c copies them to a page below 1 MiB and sends its number as the start-up
; vector.
; From real mode straight to 64-bit mode (SDM volume 3, 9.8.5 allows PE and PG to be set together).

        global  trampoline_start, trampoline_end, trampoline_data

CR0_START       equ 0x80000011          ; PG, ET, PE
CR4_PAE         equ 1 << 5
MSR_EFER        equ 0xc0000080
EFER_START      equ 0x900               ; LME, NXE
CODE64          equ 0x08

%define OFFSET(label) ((label) - trampoline_start)

        section .rodata
        align   16
        bits    16
trampoline_start:
        cli
        cld
        mov     ax, cs
        mov     ds, ax
        mov     ss, ax
        mov     sp, 0x1000              ; the page's end: nothing of ours is there
        movzx   ebx, ax
        shl     ebx, 4

        lea     eax, [ebx + OFFSET(gdt)]
        mov     [OFFSET(gdtr) + 2], eax
        o32 lgdt [OFFSET(gdtr)]
        mov     eax, CR4_PAE
        mov     cr4, eax
        mov     eax, [OFFSET(trampoline_data)]
        mov     cr3, eax
        mov     ecx, MSR_EFER
        mov     eax, EFER_START
        xor     edx, edx
        wrmsr
        lea     eax, [ebx + OFFSET(long_mode)]
        push    dword CODE64
        push    eax
        mov     eax, CR0_START
        mov     cr0, eax
        o32 retf

        bits    64
long_mode:
        xor     eax, eax
        mov     ds, eax
        mov     es, eax
        mov     ss, eax
        mov     fs, eax
        mov     gs, eax
        mov     rsp, [rel trampoline_data + 8]
        mov     rdi, [rel trampoline_data + 16]
        xor     ebp, ebp
        push    rbp                     ; the return address that a called function expects
        jmp     [rel trampoline_data + 24]

        align   8
gdt:
        dq      0
        dq      0x00209a0000000000      ; 64-bit code
gdtr:
        dw      gdtr - gdt - 1
        dd      0                       ; filled in above
        align   8
trampoline_data:                        ; struct trampoline_data of smp.c
        dq      0, 0, 0, 0              ; CR3, stack, argument, entry
trampoline_end:
