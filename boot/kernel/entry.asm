; SPDX-License-Identifier: MIT
; The kernel's entry from either loader. In: RDI = struct boot_info, interrupts off. See boot/include/boot/info.h.

        global  kernel_entry
        extern  kernel_main

STACK_SIZE      equ 32768

        section .text
kernel_entry:
        cli
        cld
        lea     rsp, [rel stack_top]
        xor     ebp, ebp
        call    kernel_main
        ud2

        section .bss
        alignb  4096
        resb    STACK_SIZE
stack_top:
