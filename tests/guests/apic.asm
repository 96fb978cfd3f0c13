; SPDX-License-Identifier: MIT
; A guest that does to its local APIC what a script says (tests/kernel/apic.h), in xAPIC or x2APIC mode, and handlers that count and log
; the interrupts that come. Each processor has an area, which its GS base points to, with its stack at the end.
%include "guest.inc"

; the area: struct apic_area
%define A_SELF     0
%define A_SCRIPT   8
%define A_X2APIC   16
%define A_EXPECTED 20               ; the vector whose handler lets others in
%define A_SEND     24               ; and what it sends before: an ICR value
%define A_KEEP     32               ; the vector that is not ended
%define A_LOGGED   36
%define A_LAST     40               ; what was read last
%define A_TSC      48
%define A_RESUME   56               ; where a #GP goes on; 0: none is expected
%define A_FAILED   64               ; the operation that found something wrong, and what
%define A_GOT      72
%define A_PAGE     80               ; where the registers are in xAPIC mode
%define A_TURN     88               ; this one's first turn of those that are passed on
%define A_COUNTS   0x400
%define A_LOG      0x800
%define LOG_MASK   0x3ff
%define AREA_SIZE  0x4000

%define AREAS      0x30000
%define DESCRIPTOR 0x2b000          ; of GDT and IDT, 16 bytes apart
%define APIC_PAGE  0xfee00000
%define REG_EOI    0x0b0
%define REG_ICR    0x300
%define MSR_GS     0xc0000101
%define MSR_DEADLINE 0x6e0

; RCX: offset, RAX: value. Changes RDX. ICR is in x2APIC's layout always.
%macro write_apic 0
    cmp dword [gs:A_X2APIC], 0
    jne %%msr
    mov edx, ecx
    add rdx, [gs:A_PAGE]
    cmp ecx, REG_ICR
    jne %%store
    push rax
    shr rax, 32
    shl eax, 24
    mov [rdx + 0x10], eax
    pop rax
%%store:
    mov [rdx], eax
    jmp %%done
%%msr:
    mov rdx, rax
    shr rdx, 32
    shr ecx, 4
    add ecx, 0x800
    wrmsr
%%done:
%endmacro

; The vector is on the stack, below what the processor pushes.
%macro append_log 0                 ; EAX: the word. Changes RDX
    mov edx, [gs:A_LOGGED]
    inc dword [gs:A_LOGGED]
    and edx, LOG_MASK
    mov [gs:A_LOG + rdx * 2], ax
%endmacro

%macro apic_handler 0
    push rax
    push rcx
    push rdx
    movzx eax, byte [rsp + 24]
    inc dword [gs:A_COUNTS + rax * 4]
    append_log
    cmp al, 2                       ; an NMI has no end but IRET
    je %%return
    cmp eax, [gs:A_EXPECTED]
    jne %%end
    mov rax, [gs:A_SEND]
    mov ecx, REG_ICR
    write_apic
    sti
    mov ecx, 50
%%others:
    pause
    dec ecx
    jnz %%others
    cli
%%end:
    movzx eax, byte [rsp + 24]
    cmp eax, [gs:A_KEEP]
    je %%return
    xor eax, eax
    mov ecx, REG_EOI
    write_apic
%%return:
    movzx eax, byte [rsp + 24]
    or eax, 0x100
    append_log
    pop rdx
    pop rcx
    pop rax
    add rsp, 8
    iretq
%endmacro
GUEST apic_handler, 64

; Vectors below 32: the #GP that the script waits for, or the end.
%macro apic_fault 0
    cmp byte [rsp], 13
    jne %%bad
    cmp qword [gs:A_RESUME], 0
    je %%bad
    inc dword [gs:A_COUNTS + 4 * 13]
    mov rax, [gs:A_RESUME]
    mov qword [gs:A_RESUME], 0
    add rsp, 16                     ; vector, error code
    mov [rsp], rax
    iretq
%%bad:
    mov rax, [rsp]
    mov [gs:A_GOT], rax
    mov [gs:A_FAILED], r15
    out 0xf6, al
    hlt
%endmacro
GUEST apic_fault, 64

; RDI: the area. Operations are three words: number, and two arguments, which come in RCX and RAX.
%macro apic_script 0
    mov rax, rdi
    mov rdx, rdi
    shr rdx, 32
    mov ecx, MSR_GS
    wrmsr
    mov r15, [gs:A_SCRIPT]
    sub r15, 24
%%next:
    add r15, 24
    mov rbx, [r15]
    mov rcx, [r15 + 8]
    mov rax, [r15 + 16]
    lea rdx, [rel %%table]
    movsxd rbx, dword [rdx + rbx * 4]
    add rdx, rbx
    jmp rdx
%%table:
    dd %%exit - %%table, %%write - %%table, %%read - %%table, %%expect - %%table
    dd %%sti - %%table, %%cli - %%table, %%halt - %%table, %%spin - %%table
    dd %%wrmsr - %%table, %%rdmsr - %%table, %%cr8 - %%table, %%rdcr8 - %%table
    dd %%count - %%table, %%delay - %%table, %%deadline - %%table, %%wrmsr_gp - %%table
    dd %%rdmsr_gp - %%table, %%wait - %%table, %%set - %%table, %%cpuid - %%table
    dd %%tsc - %%table, %%elapsed - %%table, %%store - %%table, %%at_least - %%table
    dd %%pass - %%table, %%rest - %%table, %%load - %%table, %%wrmsr_last - %%table
    dd %%remote - %%table, %%fill - %%table
%%exit:                             ; to the host
    out 0xf4, al
    jmp %%next
%%write:
    write_apic
    jmp %%next
%%read:
    cmp dword [gs:A_X2APIC], 0
    jne %%read_msr
    add rcx, [gs:A_PAGE]
    mov eax, [rcx]
    jmp %%keep
%%read_msr:
    shr ecx, 4
    add ecx, 0x800
%%rdmsr:
    rdmsr
    shl rdx, 32
    or rax, rdx
%%keep:
    mov [gs:A_LAST], rax
    jmp %%next
%%expect:                           ; last & RCX == RAX
    and rcx, [gs:A_LAST]
    cmp rcx, rax
    je %%next
    mov rax, [gs:A_LAST]
%%fail:
    mov [gs:A_GOT], rax
    mov [gs:A_FAILED], r15
    out 0xf5, al
    hlt
%%sti:
    sti
    jmp %%next
%%cli:
    cli
    jmp %%next
%%halt:                             ; halts until vector RCX has come RAX times
    cli
    cmp [gs:A_COUNTS + rcx * 4], eax
    jge %%halted
    sti
    hlt
    jmp %%halt
%%halted:
    sti
    jmp %%next
; STI again and again: Bochs 2.7 forgets a virtual interrupt that is pending at a VMRUN with IF = 1
%%spin:
    cli
    cmp [gs:A_COUNTS + rcx * 4], eax
    jge %%halted
    sti
    pause
    pause
    jmp %%spin
%%wrmsr:
    mov rdx, rax
    shr rdx, 32
    wrmsr
    jmp %%next
%%wrmsr_last:                       ; what was read last, and RAX
    add rax, [gs:A_LAST]
    jmp %%wrmsr
%%cr8:
    mov cr8, rcx
    jmp %%next
%%rdcr8:
    mov rax, cr8
    jmp %%keep
%%count:                            ; vector RCX has come RAX times
    mov ecx, [gs:A_COUNTS + rcx * 4]
    cmp ecx, eax
    mov rax, rcx
    jne %%fail
    jmp %%next
%%delay:
    pause
    dec rcx
    jnz %%delay
    jmp %%next
%%deadline:                         ; RCX ticks from now
    rdtsc
    shl rdx, 32
    or rax, rdx
    add rax, rcx
    mov rdx, rax
    shr rdx, 32
    mov ecx, MSR_DEADLINE
    wrmsr
    jmp %%next
%%wrmsr_gp:
    lea rdx, [rel %%next]
    mov [gs:A_RESUME], rdx
    mov rdx, rax
    shr rdx, 32
    wrmsr
    jmp %%no_gp
%%rdmsr_gp:
    lea rdx, [rel %%next]
    mov [gs:A_RESUME], rdx
    rdmsr
%%no_gp:
    xor eax, eax
    jmp %%fail
%%wait:                             ; until the word at RCX is EAX
    cmp [rcx], eax
    je %%next
    pause
    jmp %%wait
%%set:
    mov [rcx], eax
    jmp %%next
%%cpuid:                            ; ECX:EDX
    mov eax, ecx
    xor ecx, ecx
    cpuid
    shl rcx, 32
    mov eax, edx
    or rax, rcx
    jmp %%keep
%%tsc:
    rdtsc
    shl rdx, 32
    or rax, rdx
    mov [gs:A_TSC], rax
    jmp %%next
%%elapsed:                          ; since then: at least RCX, less than RAX ticks
    mov rbx, rax
    rdtsc
    shl rdx, 32
    or rax, rdx
    sub rax, [gs:A_TSC]
    cmp rax, rcx
    jb %%fail
    cmp rax, rbx
    jae %%fail
    jmp %%next
%%store:                            ; what was read last, to RCX
    mov rax, [gs:A_LAST]
    mov [rcx], rax
    jmp %%next
%%at_least:                         ; last & RCX >= RAX
    and rcx, [gs:A_LAST]
    cmp rcx, rax
    jae %%next
    mov rax, [gs:A_LAST]
    jmp %%fail
; RAX rounds with another processor: the word at RCX says whose turn it is, with the TSC of who gave it beside it
%%pass:
    mov r8, rax
    mov r9d, [gs:A_TURN]
%%pass_on:
    cmp [rcx], r9d
    je %%my_turn
    pause
    jmp %%pass_on
%%my_turn:
    lfence
    rdtsc
    lfence
    shl rdx, 32
    or rax, rdx
    cmp rax, [rcx + 8]
    jb %%fail
    mov [rcx + 8], rax
    add r9d, 2
    inc dword [rcx]
    dec r8
    jnz %%pass_on
    jmp %%next
%%rest:                             ; HLT, once, interrupts as they are
    hlt
    jmp %%next
%%load:                             ; the word at RCX
    mov eax, [rcx]
    jmp %%keep
%%remote:                           ; RAX to ICR, and on when it is answered
    mov ecx, REG_ICR
    write_apic
%%remote_on:
    pause
    mov edx, REG_ICR
    add rdx, [gs:A_PAGE]
    mov eax, [rdx]
    mov ecx, eax
    and ecx, 0x30000
    cmp ecx, 0x10000
    je %%remote_on
    jmp %%keep
%%fill:                             ; RAX's upper half says how many words from RCX on
    mov rdi, rcx
    add rdi, [gs:A_PAGE]
    mov rcx, rax
    shr rcx, 32
    rep stosd
    jmp %%next
    hlt
%endmacro
GUEST apic_script, 64

; Where SIPI leads: real mode, CS:IP = vector page:0. Goes on at the page after the descriptors.
%macro apic_start 0
    cli
    mov ax, DESCRIPTOR >> 4
    mov ds, ax
    o32 lgdt [0]
    mov eax, cr4
    or eax, 0x20                    ; PAE
    mov cr4, eax
    mov eax, 0x10000                ; VM_PML4
    mov cr3, eax
    mov ecx, 0xc0000080             ; EFER.LME
    rdmsr
    or eax, 0x100
    wrmsr
    mov eax, cr0
    or eax, 0x80000001
    mov cr0, eax
    jmp dword SEL_CODE64:DESCRIPTOR + 0x1000
    hlt
%endmacro
GUEST apic_start, 16

; The area by the initial APIC id; what was in EDX and how often it came here is for the host to see.
%macro apic_start64 0
    mov ax, SEL_DATA
    mov ds, eax
    mov es, eax
    mov ss, eax
    lidt [DESCRIPTOR + 16]
    mov eax, 1
    cpuid
    shr ebx, 24
    imul edi, ebx, AREA_SIZE
    add edi, AREAS
    lea rsp, [rdi + AREA_SIZE]
    mov rax, VM_CODE
    jmp rax
    hlt
%endmacro
GUEST apic_start64, 64
