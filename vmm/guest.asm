; SPDX-License-Identifier: MIT
; The guest of the demo: 4 KiB of ROM at the top of the first MiB, where a new virtual processor starts. It prints through a port in real,
; protected and long mode, asks a question by CPUID, touches memory that is not there, reports by an MSR how much it printed, and halts.
;
;   EBP   bytes printed so far
;   EBX   in 64-bit code: 1 once something went wrong

        global  demo_rom, demo_rom_end

ROM        equ 0xff000
SEGMENT_   equ 0xf0000                  ; base of CS when the processor starts
%define AT(label)     (ROM + (label) - demo_rom)
%define NEAR16(label) (AT(label) - SEGMENT_)

PORT       equ 0x3f8
STACK      equ 0x8000
PML4       equ 0x1000
PDPT       equ 0x2000
PD         equ 0x3000
FAR_MEMORY equ 0x200000                 ; no memory there at first
LEAF       equ 0x40000000               ; answered by the VMM
MSR_REPORT equ 0x4d0                    ; no such MSR in any CPU
CODE32     equ 0x08
DATA       equ 0x10
CODE64     equ 0x18

        section .rodata
        align   4096
demo_rom:

; ---------------------------------------------------------------------- real mode
        bits    16
start16:
        cli
        cld
        xor     ebp, ebp
        mov     ax, cs
        mov     ds, ax
        xor     ax, ax
        mov     ss, ax
        mov     sp, STACK
        mov     dx, PORT
        mov     si, NEAR16(text16)
.print:
        lodsb
        test    al, al
        jz      .printed
        out     dx, al
        inc     ebp
        jmp     .print
.printed:
        o32 lgdt [NEAR16(gdtr)]
        mov     eax, cr0
        or      al, 1
        mov     cr0, eax
        jmp     dword CODE32:AT(start32)

; ----------------------------------------------------------------- protected mode
        bits    32
start32:
        mov     eax, DATA
        mov     ds, eax
        mov     es, eax
        mov     ss, eax
        mov     esi, AT(text32)
        mov     ecx, text32_end - text32
        add     ebp, ecx
        rep outsb                       ; one exit for the whole string

        ; [0, 4 MiB) mapped to itself by two large pages
        mov     dword [PML4], PDPT + 3
        mov     dword [PDPT], PD + 3
        mov     dword [PD], 0x83
        mov     dword [PD + 8], 0x200083
        mov     eax, PML4
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
        jmp     CODE64:AT(start64)

; ---------------------------------------------------------------------- long mode
        bits    64
start64:
        xor     ebx, ebx
        mov     esi, AT(text64)
        call    print

        push    rbx
        mov     eax, LEAF
        cpuid
        push    rdx
        push    rcx
        push    rbx
        mov     esi, AT(text_leaf)
        call    print
        mov     ecx, 3
.answer:
        pop     rax
        mov     r8d, 4
.byte:
        call    print_byte
        shr     eax, 8
        dec     r8d
        jnz     .byte
        dec     ecx
        jnz     .answer
        pop     rbx
        mov     al, 10
        call    print_byte

        mov     rdi, FAR_MEMORY + 0x123
        mov     rax, 0x0123456789abcdef
        mov     [rdi], rax
        cmp     [rdi], rax
        mov     esi, AT(text_memory)
        je      .there
        mov     esi, AT(text_no_memory)
        mov     ebx, 1
.there:
        call    print

        mov     ecx, MSR_REPORT
        mov     eax, ebp
        mov     edx, ebx
        wrmsr
.halt:
        hlt
        jmp     .halt

; In: RSI = text with a final 0. Clobbers RAX, RDX, RSI.
print:
        lodsb
        test    al, al
        jz      .end
        call    print_byte
        jmp     print
.end:
        ret

; In: AL. Clobbers RDX.
print_byte:
        mov     edx, PORT
        out     dx, al
        inc     ebp
        ret

; --------------------------------------------------------------------------- data
text16:         db "real mode: one OUT a character", 10, 0
text32:         db "protected mode: a whole line by REP OUTSB", 10
text32_end:
text64:         db "long mode: OUT again, with 4-level paging", 10, 0
text_leaf:      db "CPUID 0x40000000 says ", 0
text_memory:    db "memory at 2 MiB came when it was touched", 10, 0
text_no_memory: db "memory at 2 MiB does not hold what was written", 10, 0

        align   8, db 0
gdt:                                    ; in ROM, so with the accessed bits set
        dq      0
        dq      0x00cf9b000000ffff      ; CODE32
        dq      0x00cf93000000ffff      ; DATA
        dq      0x00af9b000000ffff      ; CODE64
gdtr:
        dw      gdtr - gdt - 1
        dd      AT(gdt)

; where a processor starts: CS F000, IP FFF0
        times   0xff0 - ($ - demo_rom) db 0xf4
        bits    16
        jmp     start16
        times   0x1000 - ($ - demo_rom) db 0
demo_rom_end:
