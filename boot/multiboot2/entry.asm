; SPDX-License-Identifier: MIT
; The multiboot2 header, and the way from GRUB's 32-bit protected mode to mb2_start in 64-bit mode.
; Multiboot2 specification 2.0, chapters 3.1 (header) and 3.3 (machine state).

        global  mb2_entry32, mb2_stack_top, mb2_tables, mb2_gdtr, mb2_gdt, mb2_long
        extern  mb2_entry32_phys, mb2_stack_phys, mb2_tables_phys, mb2_gdtr_phys, mb2_gdt_phys, mb2_long_phys
        extern  mb2_start

MB2_MAGIC       equ 0xe85250d6
MB2_ARCH_I386   equ 0
TAG_INFO        equ 1           ; "information request"
TAG_ENTRY       equ 3           ; "entry address"
TAG_END         equ 0

PTE_PRESENT     equ 1 << 0
PTE_WRITE       equ 1 << 1
PTE_LARGE       equ 1 << 7
CR0_PG          equ 1 << 31
CR4_PAE         equ 1 << 5
MSR_EFER        equ 0xc0000080
EFER_LME        equ 1 << 8
CPUID_LM        equ 1 << 29     ; 0x80000001 EDX
CODE64          equ 0x08

        section .multiboot2 progbits alloc noexec nowrite align=8
header:
        dd      MB2_MAGIC, MB2_ARCH_I386, header_end - header
        dd      0x100000000 - (MB2_MAGIC + MB2_ARCH_I386 + (header_end - header))
        align   8, db 0
info_request:
        dw      TAG_INFO, 0
        dd      info_request_end - info_request
        dd      6               ; memory map
info_request_end:
        align   8, db 0
        dw      TAG_ENTRY, 0
        dd      12, mb2_entry32_phys
        align   8, db 0
        dw      TAG_END, 0
        dd      8
header_end:

        section .text
        bits    32
; In: EAX = multiboot2's magic, EBX = physical address of its information. Paging off, no stack.
mb2_entry32:
        cli
        cld
        mov     esp, mb2_stack_phys
        mov     ebp, eax
        mov     esi, ebx

        mov     eax, 0x80000000
        cpuid
        cmp     eax, 0x80000001
        jb      .no_long_mode
        mov     eax, 0x80000001
        cpuid
        test    edx, CPUID_LM
        jz      .no_long_mode

        ; Six pages: PML4, the PDPT of the first 4 GiB, four directories of 2 MiB pages. The same PDPT serves address 0
        ; (PML4 slot 0), the direct map (256) and, its last two entries pointing back to the first directories, the
        ; kernel at -2 GiB (511).
        mov     edi, mb2_tables_phys
        lea     eax, [edi + 0x1000 + PTE_PRESENT + PTE_WRITE]
        mov     [edi + 0 * 8], eax
        mov     [edi + 256 * 8], eax
        mov     [edi + 511 * 8], eax
        lea     eax, [edi + 0x2000 + PTE_PRESENT + PTE_WRITE]
        mov     [edi + 0x1000 + 0 * 8], eax
        mov     [edi + 0x1000 + 510 * 8], eax
        add     eax, 0x1000
        mov     [edi + 0x1000 + 1 * 8], eax
        mov     [edi + 0x1000 + 511 * 8], eax
        add     eax, 0x1000
        mov     [edi + 0x1000 + 2 * 8], eax
        add     eax, 0x1000
        mov     [edi + 0x1000 + 3 * 8], eax
        mov     eax, PTE_PRESENT + PTE_WRITE + PTE_LARGE
        xor     ecx, ecx
.fill:
        mov     [edi + 0x2000 + ecx * 8], eax
        add     eax, 0x200000
        inc     ecx
        cmp     ecx, 4 * 512
        jb      .fill

        mov     cr3, edi
        mov     eax, cr4
        or      eax, CR4_PAE
        mov     cr4, eax
        mov     ecx, MSR_EFER
        rdmsr
        or      eax, EFER_LME
        wrmsr
        mov     eax, cr0
        or      eax, CR0_PG
        mov     cr0, eax

        mov     dword [mb2_gdtr_phys + 2], mb2_gdt_phys
        lgdt    [mb2_gdtr_phys]
        push    dword CODE64
        push    dword mb2_long_phys
        retf

; No console is known to work this early: say it on port 0xE9 and, for people, on the text screen.
.no_long_mode:
        mov     al, '6'
        out     0xe9, al
        mov     dword [0xb8000], 0x4f344f36     ; "64", white on red
.halt:
        hlt
        jmp     .halt

        bits    64
mb2_long:
        mov     rax, .high
        jmp     rax
.high:
        xor     eax, eax
        mov     ds, eax
        mov     es, eax
        mov     ss, eax
        mov     fs, eax
        mov     gs, eax
        lea     rsp, [rel mb2_stack_top]
        mov     edi, ebp
        mov     esi, esi
        xor     ebp, ebp                ; the end of every backtrace
        call    mb2_start               ; does not return
        ud2

        section .data
        align   8
mb2_gdt:
        dq      0
        dq      0x00209a0000000000      ; 64-bit code
mb2_gdtr:
        dw      mb2_gdtr - mb2_gdt - 1
        dq      0                       ; filled in above

        section .bss
        alignb  4096
mb2_tables:
        resb    6 * 4096
        resb    16384
mb2_stack_top:
