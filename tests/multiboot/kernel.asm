; SPDX-License-Identifier: MIT
;
; A kernel as hobbyists write them, to be booted by a multiboot (version 1) loader: looks at what the loader left, goes
; to long mode, starts the other processors, exchanges interrupts with them, and ends through port F4h.
;
; Command line: cpus=N (one digit) how many processors there must be; x2apic: use that mode. A module must be there, and
; begin with "module of the test".
; It ends with the value 20h + number of processors, or with the number of the check that failed (below 20h).

MULTIBOOT_HEADER equ 0x1badb002
MULTIBOOT_MAGIC  equ 0x2badb002
HEADER_FLAGS     equ 3                  ; modules on pages, memory information

INFO_FLAGS       equ 0
INFO_MEM_UPPER   equ 8
INFO_CMDLINE     equ 16
INFO_MODS_COUNT  equ 20
INFO_MODS        equ 24
INFO_MMAP_LENGTH equ 44
INFO_MMAP        equ 48
INFO_WANTED      equ 1 << 0 | 1 << 2 | 1 << 3 | 1 << 6

COM1             equ 0x3f8
COM1_STATUS      equ 0x3fd
DEBUG_EXIT       equ 0xf4

MSR_APIC_BASE    equ 0x1b
MSR_EFER         equ 0xc0000080
MSR_X2APIC       equ 0x800
APIC_PAGE        equ 0xfee00000
APIC_ID          equ 0x02               ; offset / 16, as x2APIC's MSRs are numbered
APIC_EOI         equ 0x0b
APIC_SPURIOUS    equ 0x0f
APIC_ICR         equ 0x30
APIC_LVT_TIMER   equ 0x32
APIC_INITIAL     equ 0x38
APIC_DIVIDE      equ 0x3e

ICR_INIT_OTHERS  equ 0xc4500            ; all but self, assert
ICR_START_OTHERS equ 0xc4600
TRAMPOLINE       equ 0x8000
VECTOR_TIMER     equ 0x40
VECTOR_HELLO     equ 0x41               ; from another processor
VECTOR_SPURIOUS  equ 0xff

CODE32           equ 0x08
DATA             equ 0x10
CODE64           equ 0x18

WAIT_ROUNDS      equ 20000000
STACK_SIZE       equ 4096
MAX_CPUS         equ 9

%macro say 1
    mov esi, %%text
    call puts
    section .rodata
%%text: db "multiboot: ", %1, 10, 0
    section .text
%endmacro

; fail NUMBER: ends the run with it
%macro fail 1
    mov eax, %1
    jmp finish
%endmacro

section .multiboot
align 4
    dd MULTIBOOT_HEADER, HEADER_FLAGS, -(MULTIBOOT_HEADER + HEADER_FLAGS)

section .text
bits 32
global _start
extern kernel_start, kernel_end
_start:
    mov esp, stacks + STACK_SIZE
    mov [info], ebx
    cmp eax, MULTIBOOT_MAGIC
    je .magic
    fail 1
.magic:
    say "a 32-bit kernel is running"
    mov ebx, [info]
    mov eax, [ebx + INFO_FLAGS]
    and eax, INFO_WANTED
    cmp eax, INFO_WANTED
    je .flags
    fail 2
.flags:
    cmp dword [must_be_zero], 0
    je .bss
    fail 3
.bss:
    call check_command_line
    call check_memory_map
    call check_module
    call build_tables
    mov edi, long_mode
    jmp enter_long_mode

; -------------------------------------------------------------------------- what the loader left

; The word cpus=N, and x2apic anywhere.
check_command_line:
    mov esi, [info]
    mov esi, [esi + INFO_CMDLINE]
.next:
    mov al, [esi]
    test al, al
    jz .end
    cmp dword [esi], "cpus"
    jne .mode
    cmp byte [esi + 4], "="
    jne .mode
    movzx eax, byte [esi + 5]
    sub eax, "0"
    mov [cpus_wanted], eax
.mode:
    cmp dword [esi], "x2ap"
    jne .advance
    mov byte [use_x2apic], 1
.advance:
    inc esi
    jmp .next
.end:
    mov eax, [cpus_wanted]
    dec eax
    cmp eax, MAX_CPUS - 1
    jbe .found
    fail 4
.found:
    say "the command line is there"
    ret

; Usable memory holds this kernel, entries are sane, and their sum is what mem_upper says, or more.
check_memory_map:
    mov edi, [info]
    mov esi, [edi + INFO_MMAP]
    mov ebp, [edi + INFO_MMAP_LENGTH]
    add ebp, esi
    xor ebx, ebx                        ; KiB that are usable
    xor edx, edx                        ; bit 0: this kernel lies in usable memory
.entry:
    cmp esi, ebp
    jae .end
    cmp dword [esi], 20
    jae .size
    fail 5
.size:
    cmp dword [esi + 20], 1             ; type
    jne .skip
    mov eax, [esi + 12]                 ; length / 1024, of 64 bits
    mov ecx, [esi + 16]
    shrd eax, ecx, 10
    add ebx, eax
    cmp dword [esi + 8], 0              ; above 4 GiB
    jne .skip
    mov eax, [esi + 4]
    cmp eax, kernel_start
    ja .skip
    add eax, [esi + 12]
    cmp eax, kernel_end
    jb .skip
    or edx, 1
.skip:
    add esi, [esi]
    add esi, 4
    jmp .entry
.end:
    test edx, edx
    jnz .holds
    fail 6
.holds:
    cmp ebx, [edi + INFO_MEM_UPPER]
    jae .enough
    fail 7
.enough:
    say "the memory map is there"
    ret

check_module:
    mov ebx, [info]
    cmp dword [ebx + INFO_MODS_COUNT], 1
    jae .some
    fail 8
.some:
    mov ebx, [ebx + INFO_MODS]
    mov esi, [ebx]                      ; its begin
    mov eax, [ebx + 4]
    sub eax, esi
    cmp eax, module_text.end - module_text
    jae .long_enough
    fail 9
.long_enough:
    test esi, 0xfff
    jz .aligned
    fail 10
.aligned:
    mov edi, module_text
    mov ecx, module_text.end - module_text
    repe cmpsb
    je .same
    fail 11
.same:
    say "the module is there"
    ret

; ------------------------------------------------------------------------------------- long mode

; The first 4 GiB to themselves by large pages, the last of them not cached.
build_tables:
    mov dword [pml4], pdpt + 3
    mov eax, pds + 3
    mov edi, pdpt
    mov ecx, 4
.pdpt:
    mov [edi], eax
    add eax, 4096
    add edi, 8
    loop .pdpt
    mov eax, 0x83
    mov edi, pds
    mov ecx, 2048
.pd:
    mov [edi], eax
    cmp eax, 0xc0000000
    jb .cached
    or dword [edi], 0x18
.cached:
    add eax, 0x200000
    add edi, 8
    loop .pd
    ret

; edi: where to go on, in 64-bit code
enter_long_mode:
    lgdt [gdtr]
    mov eax, cr4
    or eax, 1 << 5                      ; PAE
    mov cr4, eax
    mov eax, pml4
    mov cr3, eax
    mov ecx, MSR_EFER
    rdmsr
    or eax, 1 << 8                      ; LME
    wrmsr
    mov eax, cr0
    or eax, 1 << 31 | 1
    mov cr0, eax
    jmp CODE64:.reload
bits 64
.reload:
    mov eax, DATA
    mov ds, eax
    mov es, eax
    mov ss, eax
    lidt [idtr]
    jmp rdi

; ------------------------------------------------------------------------- the first processor

long_mode:
    say "long mode"
    mov al, 0xff                        ; the 8259s: all lines masked
    out 0x21, al
    out 0xa1, al
    call build_idt
    call apic_enable
    call check_timer
    call start_others
    call check_interrupts
    mov eax, [cpus_up]
    add eax, 0x20
    jmp finish

build_idt:
    mov edi, idt + VECTOR_TIMER * 16
    mov eax, timer_interrupt
    call .gate
    mov edi, idt + VECTOR_HELLO * 16
    mov eax, hello_interrupt
    call .gate
    mov edi, idt + VECTOR_SPURIOUS * 16
    mov eax, spurious_interrupt
.gate:
    mov word [rdi], ax
    mov word [rdi + 2], CODE64
    mov word [rdi + 4], 0x8e00          ; interrupt gate, present
    shr eax, 16
    mov word [rdi + 6], ax
    ret

; A halted processor is woken by its own timer.
check_timer:
    mov ecx, APIC_DIVIDE
    mov eax, 0xb
    call apic_write
    mov ecx, APIC_LVT_TIMER
    mov eax, VECTOR_TIMER
    call apic_write
    mov ecx, APIC_INITIAL
    mov eax, 1000000
    call apic_write
    cli
.wait:
    cmp dword [timer_count], 0
    jne .came
    sti
    hlt
    cli
    jmp .wait
.came:
    say "the timer woke a halted processor"
    ret

start_others:
    mov esi, trampoline
    mov edi, TRAMPOLINE
    mov ecx, trampoline.end - trampoline
    rep movsb
    cmp dword [cpus_wanted], 1
    je .done
    mov eax, ICR_INIT_OTHERS
    call apic_icr
    mov ecx, 1000000                    ; 10 ms at 100 MHz
.delay:
    pause
    loop .delay
    mov eax, ICR_START_OTHERS | TRAMPOLINE >> 12
    call apic_icr
    mov ecx, WAIT_ROUNDS
.wait:
    mov eax, [cpus_up]
    cmp eax, [cpus_wanted]
    je .done
    pause
    loop .wait
    fail 12
.done:
    ret

; Each of the others sends one, to a processor that is halted or not.
check_interrupts:
    cli
    mov eax, [cpus_wanted]
    dec eax
    cmp [hello_count], eax
    je .all
    sti
    hlt
    jmp check_interrupts
.all:
    say "every other processor sent an interrupt"
    ret

; The one that ends: eax is the value. 32 and 64-bit code.
finish:
    mov edx, DEBUG_EXIT
    out dx, al
.stop:
    hlt
    jmp .stop

; --------------------------------------------------------------------------- the other processors

bits 16
trampoline:
    cli
    xor ax, ax
    mov ds, ax
    o32 lgdt [TRAMPOLINE + .gdtr - trampoline]
    mov eax, cr0
    or al, 1
    mov cr0, eax
    jmp dword CODE32:start32
.gdtr:
    dw gdt.end - gdt - 1
    dd gdt
.end:

bits 32
start32:
    mov eax, DATA
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov eax, 1
    lock xadd [stacks_used], eax
    cmp eax, MAX_CPUS
    jae finish.stop
    mov ebp, eax                        ; its turn
    add eax, 2                          ; its stack's end; the first one is the first processor's
    imul eax, STACK_SIZE
    lea esp, [stacks + eax]
    mov edi, other_long_mode
    jmp enter_long_mode

bits 64
other_long_mode:
    call apic_enable
    say "another processor is in long mode"
    lock inc dword [cpus_up]
.turn:                                  ; interrupts of one vector that meet become one
    pause
    cmp [hello_count], ebp
    jne .turn
    xor r8d, r8d                        ; to the first one, whose ID is 0
    mov eax, VECTOR_HELLO
    call apic_icr_to
.stop:
    cli
    hlt
    jmp .stop

; -------------------------------------------------------------------------------------- local APIC

apic_enable:
    cmp byte [use_x2apic], 0
    je .on
    mov ecx, MSR_APIC_BASE
    rdmsr
    or eax, 1 << 10
    wrmsr
.on:
    mov ecx, APIC_SPURIOUS
    mov eax, 1 << 8 | VECTOR_SPURIOUS
    ; fall through

; ecx: register, eax: value. Changes edx and rdi.
apic_write:
    cmp byte [use_x2apic], 0
    jne .msr
    mov edi, ecx
    shl edi, 4
    add edi, APIC_PAGE
    mov [rdi], eax
    ret
.msr:
    xor edx, edx
    add ecx, MSR_X2APIC
    wrmsr
    ret

; eax: the command; apic_icr_to: r8d, the destination's ID.
apic_icr:
    xor r8d, r8d
apic_icr_to:
    mov ecx, APIC_ICR
    cmp byte [use_x2apic], 0
    jne .msr
    mov edi, APIC_PAGE + (APIC_ICR + 1) * 16
    shl r8d, 24
    mov [rdi], r8d
    jmp apic_write
.msr:
    mov edx, r8d
    add ecx, MSR_X2APIC
    wrmsr
    ret

%macro counting_interrupt 1
    push rax
    push rcx
    push rdx
    push rdi
    lock inc dword [%1]
    mov ecx, APIC_EOI
    xor eax, eax
    call apic_write
    pop rdi
    pop rdx
    pop rcx
    pop rax
    iretq
%endmacro

timer_interrupt:
    counting_interrupt timer_count

hello_interrupt:
    counting_interrupt hello_count

spurious_interrupt:
    iretq

; ---------------------------------------------------------------------------------------- console

; esi: text, ends with 0. One line at a time. Changes eax, ebx, edx, esi. Only instructions that are the same in 32 and
; 64-bit mode.
bits 32
puts:
    mov ebx, console_lock
.take:
    lock bts dword [ebx], 0
    jnc .next
    pause
    jmp .take
.next:
    lodsb
    test al, al
    jz .end
    mov ah, al
    mov edx, COM1_STATUS
.wait:
    in al, dx
    test al, 0x20
    jz .wait
    mov al, ah
    mov edx, COM1
    out dx, al
    jmp .next
.end:
    mov dword [ebx], 0
    ret

; ------------------------------------------------------------------------------------------- data

section .rodata
module_text: db "module of the test"
.end:

align 8
gdt:
    dq 0
    dq 0x00cf9b000000ffff               ; code, 32 bits
    dq 0x00cf93000000ffff               ; data
    dq 0x00af9b000000ffff               ; code, 64 bits
.end:

section .data
cpus_up:     dd 1
gdtr:
    dw gdt.end - gdt - 1
    dd gdt, 0
idtr:
    dw 4095
    dd idt, 0

section .bss
alignb 4096
pml4:         resb 4096
pdpt:         resb 4096
pds:          resb 4 * 4096
idt:          resb 4096
stacks:       resb (MAX_CPUS + 1) * STACK_SIZE
info:         resd 1
must_be_zero: resd 1
cpus_wanted:  resd 1
stacks_used:  resd 1
timer_count:  resd 1
hello_count:  resd 1
console_lock: resd 1
use_x2apic:   resb 1
