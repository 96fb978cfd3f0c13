; SPDX-License-Identifier: MIT
; The last instructions of the loader, copied to a page that both the firmware's and our page tables map; the kernel's
; file.

        global  handoff_start, handoff_end, kernel_file, kernel_file_end

        section .rdata rdata align=16
; In (Microsoft's convention): RCX = PML4, RDX = entry point, R8 = struct boot_info. Position-independent, no stack.
handoff_start:
        cli
        cld
        mov     cr3, rcx
        mov     rdi, r8
        jmp     rdx
handoff_end:

        align   16
kernel_file:
        incbin  KERNEL_FILE
kernel_file_end:
