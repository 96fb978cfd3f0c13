; SPDX-License-Identifier: MIT
; Does what a script at RSI says, of struct script_op (tests/kernel/forward.h): accesses to memory and ports. Its end is an OUT to port 80h.
%include "guest.inc"

; RBX is the address, RCX the value, RDX the port, RAX what was read.
%macro script 0
%%next:
    mov rax, [rsi]
    mov rbx, [rsi + 8]
    mov rcx, [rsi + 16]
    mov rdx, rbx
    add rsi, 32
    test rax, rax
    jz %%end
    dec rax
    jz %%write8
    dec rax
    jz %%write16
    dec rax
    jz %%write32
    dec rax
    jz %%write64
    dec rax
    jz %%out8
    dec rax
    jz %%out16
    dec rax
    jz %%out32
    dec rax
    jz %%read32
    dec rax
    jz %%in32
    dec rax
    jz %%await
    ud2
%%write8:
    mov [rbx], cl
    jmp %%next
%%write16:
    mov [rbx], cx
    jmp %%next
%%write32:
    mov [rbx], ecx
    jmp %%next
%%write64:
    mov [rbx], rcx
    jmp %%next
%%out8:
    mov al, cl
    out dx, al
    jmp %%next
%%out16:
    mov ax, cx
    out dx, ax
    jmp %%next
%%out32:
    mov eax, ecx
    out dx, eax
    jmp %%next
%%read32:
    mov eax, [rbx]
    mov [rsi - 16], rax
    jmp %%next
%%in32:
    in eax, dx
    mov [rsi - 16], rax
    jmp %%next
%%await:
    pause
    mov eax, [rbx]
    and eax, [rsi - 8]
    cmp eax, ecx
    jne %%await
    jmp %%next
%%end:
    out 0x80, al
%endmacro
GUEST script, 64

; Reads from an NVMe disk for ever: RDI its registers, RSI the completion queue of queue 1, of 64 entries; the commands of its submission
; queue are there. 32 of them are always on their way. Counts at VM_DATA.
%macro disk_storm 0
    mov r8d, 32
    xor r9d, r9d
    mov r10d, 1
    mov [rdi + 0x1008], r8d
%%next:
    mov ecx, r9d
    shl ecx, 4
%%wait:
    pause
    mov eax, [rsi + rcx + 12]
    shr eax, 16
    xor eax, r10d
    test al, 1
    jnz %%wait
    inc dword [VM_DATA]
    inc r9d
    and r9d, 63
    jnz %%same
    xor r10d, 1
%%same:
    mov [rdi + 0x100c], r9d
    inc r8d
    and r8d, 63
    mov [rdi + 0x1008], r8d
    jmp %%next
%endmacro
GUEST disk_storm, 64

; The same, but its last deed, after so many (RBX) commands in addition, is a triple fault: the interrupt table is empty.
%macro disk_fault 0
    mov [rdi + 0x1008], ebx
    lidt [AT(%%none)]
    ud2
%%none:
    dw 0
    dq 0
%endmacro
GUEST disk_fault, 64

; A handler that counts at VM_DATA + 8, and ends the interrupt at the local APIC in x2APIC mode.
%macro script_handler 0
    push rax
    push rcx
    push rdx
    inc dword [VM_DATA + 8]
    mov ecx, 0x80b
    xor eax, eax
    xor edx, edx
    wrmsr
    pop rdx
    pop rcx
    pop rax
    iretq
%endmacro
GUEST script_handler, 64
