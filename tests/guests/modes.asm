; SPDX-License-Identifier: MIT
; Guests that change modes by themselves. Each stage says its number at port 0x80, and the client looks at the CPU then.
%include "guest.inc"

%define CR0_PE 1
%define CR0_PG 0x80000000
%define CR4_PSE 0x10
%define CR4_PAE 0x20
%define MSR_EFER 0xc0000080
%define EFER_LME 0x100
%define VM_PML4 0x10000
%define VM_PD32 0x14000
%define VM_PAE_PDPT 0x17000

%macro STAGE 1
    mov al, %1
    out 0x80, al
%endmacro

; Clears and sets bits of a control register.
%macro CHANGE 3 ; register, clear, set
    mov eax, %1
    and eax, ~(%2)
    or eax, %3
    mov %1, eax
%endmacro

%macro CHANGE_EFER 2 ; clear, set
    mov ecx, MSR_EFER
    rdmsr
    and eax, ~(%1)
    or eax, %2
    wrmsr
%endmacro

%macro LOAD_CR3 1
    mov eax, %1
    mov cr3, eax
%endmacro

%macro LOAD_SEGMENTS 1
    mov ax, %1
    mov ds, ax
    mov es, ax
    mov ss, ax
%endmacro

; Real, protected, PAE, no paging, 32-bit paging, compatibility, 64-bit, compatibility, protected, 16-bit, real. Begins in real mode.
%macro modes_tour 0
    STAGE 0
    CHANGE cr0, 0, CR0_PE
    STAGE 1
    jmp dword SEL_CODE32:AT(%%protected)
bits 32
%%protected:
    LOAD_SEGMENTS SEL_DATA
    STAGE 2
    CHANGE cr4, CR4_PSE, CR4_PAE
    LOAD_CR3 VM_PAE_PDPT
    CHANGE cr0, 0, CR0_PG
    STAGE 3
    CHANGE cr0, CR0_PG, 0
    STAGE 4
    CHANGE cr4, CR4_PAE, CR4_PSE
    LOAD_CR3 VM_PD32
    CHANGE cr0, 0, CR0_PG
    STAGE 5
    CHANGE cr0, CR0_PG, 0
    CHANGE cr4, CR4_PSE, CR4_PAE
    LOAD_CR3 VM_PML4
    CHANGE_EFER 0, EFER_LME
    STAGE 6
    CHANGE cr0, 0, CR0_PG
    STAGE 7
    jmp SEL_CODE64:AT(%%long)
bits 64
%%long:
    STAGE 8
    mov rax, 0x123456789abcdef0
    push rax
    pop rbx
    mov r15, rbx
    push SEL_CODE32
    push AT(%%compatibility)
    o64 retf
bits 32
%%compatibility:
    STAGE 9
    CHANGE cr0, CR0_PG, 0
    STAGE 10
    CHANGE_EFER EFER_LME, 0
    CHANGE cr4, CR4_PAE, 0
    jmp SEL_CODE16:AT(%%small)
bits 16
%%small:
    LOAD_SEGMENTS SEL_DATA16
    STAGE 11
    CHANGE cr0, CR0_PE, 0
    jmp 0:AT(%%real)
%%real:
    LOAD_SEGMENTS 0
    STAGE 12
    hlt
%endmacro
GUEST modes_tour, 16

; "Unreal": real mode keeps the limits of protected mode. Writes to 0x2fff0, beyond 64 KiB.
%macro modes_unreal 0
    CHANGE cr0, 0, CR0_PE
    mov ax, SEL_DATA
    mov fs, ax
    CHANGE cr0, CR0_PE, 0
    mov edi, 0x2fff0
    a32 mov dword [fs:edi], 0x600df00d
    hlt
%endmacro
GUEST modes_unreal, 16

; CPL 0 to 3 by IRET, back by INT 0x80, whose stub halts.
%macro modes_user 0
%if GUEST_BITS == 64
    push 0x3b
    push 0x7000
    pushf
    push 0x43
    push AT(%%user)
    iretq
%else
    push dword 0x3b
    push dword 0x7000
    pushf
    push dword 0x33
    push dword AT(%%user)
    iret
%endif
%%user:
    MARK
    int 0x80
    MARK
    hlt
%endmacro
GUEST modes_user, 32, 64

; SYSCALL to LSTAR and SYSRET back, by the MSRs that the client has set. Begins at CPL 3.
%macro modes_syscall 0
    MARK
    syscall
    MARK
    hlt
%%kernel:
    MARK
    o64 sysret
%endmacro
GUEST modes_syscall, 64

; virtual-8086 mode by IRET from CPL 0, back by #GP of HLT
%macro modes_v86 0
    push dword 0      ; GS FS DS ES
    push dword 0
    push dword 0
    push dword 0x0500
    push dword 0      ; SS
    push dword 0x7000 ; ESP
    push dword 0x20002 | 0x3000
    push dword 0
    push dword AT(%%v86)
    iret
bits 16
%%v86:
    MARK
    mov ax, es
    out 0x80, al
    MARK
    hlt
%endmacro
GUEST modes_v86, 32

; MOV to CR0, CR3 or CR4 from EAX, or from RAX in 64-bit code, where it has the same bytes
SNIPPET modes_write_cr0, db 0x0f, 0x22, 0xc0
SNIPPET modes_write_cr3, db 0x0f, 0x22, 0xd8
SNIPPET modes_write_cr4, db 0x0f, 0x22, 0xe0
SNIPPET64 modes_write_cr8, mov cr8, rax
SNIPPET64 modes_read_cr8, mov rax, cr8
SNIPPET modes_clts, clts
SNIPPET modes_lmsw, lmsw ax
SNIPPET modes_smsw, smsw eax
SNIPPET modes_xsetbv, xsetbv
SNIPPET modes_xgetbv, xgetbv

; CR0 and CR4 as the guest sees them, into RBX and RDX
%macro modes_read_crs 0
    mov rbx, cr0
    mov rdx, cr4
    hlt
%endmacro
GUEST modes_read_crs, 64
%macro modes_read_crs_32 0
    mov ebx, cr0
    mov edx, cr4
    hlt
%endmacro
GUEST modes_read_crs_32, 16, 32

; a write to a read-only page at CPL 0, with CR0.WP clear and then set
%macro modes_wp 0
    mov rsi, 0xb000
    mov byte [rsi], 1
    mov rax, cr0
    or eax, 0x10000
    mov cr0, rax
    MARK
    mov byte [rsi], 2
    MARK
    hlt
%endmacro
GUEST modes_wp, 64
