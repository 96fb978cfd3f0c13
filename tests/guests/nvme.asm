; SPDX-License-Identifier: MIT
; What a guest with an NVMe disk does at an interrupt of it (tests/kernel/nvme.h), in the frame of apic.asm: the vector is on the stack,
; below what the processor pushes, and GS base points to the processor's area, with its counters.
%include "guest.inc"

%define A_COUNTS  0x400
%define MSR_EOI   0x80b             ; x2APIC mode

%define VECTORS   0x50              ; the first that is a queue's
%define QUEUES    0x50000           ; struct nvme_queue
%define Q_SHIFT   6
%define Q_CQ      8
%define Q_SQ_BELL 16
%define Q_CQ_BELL 24
%define Q_TAIL    32
%define Q_HEAD    36
%define Q_PHASE   40
%define Q_LEFT    44
%define Q_DONE    48
%define Q_NONE    52
%define Q_FAILED  56
%define Q_BUSY    60
%define DEPTH     16

; Takes all that is completed, and submits as many commands again; which commands, the queue has in it. From when the bell of these is
; rung, another processor may be in here for the same queue.
%macro nvme_handler 0
    push rax
    push rbx
    push rcx
    push rdx
    push rsi
    push rdi
    movzx eax, byte [rsp + 48]
    inc dword [gs:A_COUNTS + rax * 4]
    cmp eax, VECTORS
    jb %%end
    and eax, 15
    shl eax, Q_SHIFT
    lea rbx, [rax + QUEUES]
    mov eax, 1
    xchg [rbx + Q_BUSY], eax
    test eax, eax
    jz %%mine
    lock inc dword [rbx + Q_NONE]
    jmp %%end
%%mine:
    xor esi, esi                    ; how many there were
    mov ecx, [rbx + Q_HEAD]
%%look:
    mov edx, ecx
    shl edx, 4
    add rdx, [rbx + Q_CQ]
    mov eax, [rdx + 12]
    mov edx, eax
    shr edx, 16
    and edx, 1
    cmp edx, [rbx + Q_PHASE]
    jne %%looked
    shr eax, 17
    jz %%good
    inc dword [rbx + Q_FAILED]
%%good:
    inc esi
    inc ecx
    cmp ecx, DEPTH
    jb %%look
    xor ecx, ecx
    xor dword [rbx + Q_PHASE], 1
    jmp %%look
%%looked:
    test esi, esi
    jnz %%some
    lock inc dword [rbx + Q_NONE]
    mov dword [rbx + Q_BUSY], 0
    jmp %%end
%%some:
    mov [rbx + Q_HEAD], ecx
    mov rdi, [rbx + Q_CQ_BELL]
    mov [rdi], ecx
    add [rbx + Q_DONE], esi
    cmp esi, [rbx + Q_LEFT]
    jbe %%enough
    mov esi, [rbx + Q_LEFT]
%%enough:
    sub [rbx + Q_LEFT], esi
    mov eax, [rbx + Q_TAIL]
    add eax, esi
    and eax, DEPTH - 1
    mov [rbx + Q_TAIL], eax
    mov rdi, [rbx + Q_SQ_BELL]
    mov dword [rbx + Q_BUSY], 0
    test esi, esi
    jz %%end
    mov [rdi], eax
%%end:
    mov ecx, MSR_EOI
    xor eax, eax
    xor edx, edx
    wrmsr
    pop rdi
    pop rsi
    pop rdx
    pop rcx
    pop rbx
    pop rax
    add rsp, 8
    iretq
%endmacro
GUEST nvme_handler, 64
