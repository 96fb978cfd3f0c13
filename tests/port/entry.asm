; SPDX-License-Identifier: MIT
; From GRUB's 32-bit protected mode to port_main in 64-bit mode: the first GiB and, uncached, the third and fourth mapped to themselves, a GDT, a TSS (VMX wants the host to have one).

        global  port_entry, port_guest, port_guest_end
        extern  port_main

        section .multiboot2 progbits alloc noexec nowrite align=8
header: dd      0xe85250d6, 0, header_end - header
        dd      0x100000000 - (0xe85250d6 + (header_end - header))
        dw      0, 0
        dd      8
header_end:

        section .text
        bits    32
port_entry:
        cli
        cld
        mov     esp, stack_top
        mov     dword [pml4], pdpt + 3
        mov     dword [pdpt], pd + 3
        mov     dword [pdpt + 2 * 8], pd_devices + 3
        mov     dword [pdpt + 3 * 8], pd_devices + 4096 + 3
        mov     eax, 0x83               ; present, writable, 2 MiB
        mov     edx, 0x8000009b         ; and uncached
        mov     ebx, 0xc000009b
        xor     ecx, ecx
.fill:  mov     [pd + ecx * 8], eax
        mov     [pd_devices + ecx * 8], edx
        mov     [pd_devices + 4096 + ecx * 8], ebx
        add     eax, 0x200000
        add     edx, 0x200000
        add     ebx, 0x200000
        inc     ecx
        cmp     ecx, 512
        jb      .fill

        mov     eax, pml4
        mov     cr3, eax
        mov     eax, cr4
        or      eax, 1 << 5             ; PAE
        mov     cr4, eax
        mov     ecx, 0xc0000080         ; EFER
        rdmsr
        or      eax, 1 << 8             ; LME
        wrmsr
        mov     eax, cr0
        or      eax, 1 << 31            ; PG
        mov     cr0, eax

        mov     eax, tss                ; the base, in four parts
        mov     [gdt_tss + 2], ax
        shr     eax, 16
        mov     [gdt_tss + 4], al
        mov     [gdt_tss + 7], ah
        lgdt    [gdtr]
        jmp     8:.long

        bits    64
.long:  mov     eax, 16
        mov     ds, eax
        mov     es, eax
        mov     ss, eax
        xor     eax, eax
        mov     fs, eax
        mov     gs, eax
        mov     eax, gdt_tss - gdt
        ltr     ax
        call    port_main
        ud2

; The guest: one page that ends where a processor starts, at CS F000 (base F0000), IP FFF0.
        section .rodata
        align   4096
        bits    16
port_guest:
        mov     ax, cs
        mov     ds, ax
        mov     si, 0xf000 + guest_text - port_guest
        mov     dx, 0x3f8
.next:  lodsb
        test    al, al
        jz      .end
        out     dx, al
        jmp     .next
.end:   hlt
guest_text: db  "hello from a guest", 0
        times   0xff0 - ($ - port_guest) db 0
        jmp     port_guest
        times   0x1000 - ($ - port_guest) db 0
port_guest_end:

        section .data
        align   8
gdt:    dq      0
        dq      0x00af9b000000ffff      ; 64-bit code
        dq      0x00cf93000000ffff      ; data
gdt_tss: dq     0x0000890000000067, 0
gdtr:   dw      gdtr - gdt - 1
        dq      gdt

        section .bss
        alignb  4096
pml4:   resb    4096
pdpt:   resb    4096
pd:     resb    4096
pd_devices: resb 8192
tss:    resb    104
        alignb  16
        resb    16384
stack_top:
