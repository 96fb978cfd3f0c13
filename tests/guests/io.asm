; SPDX-License-Identifier: MIT
; Port I/O in all forms. The client sets AL/AX/EAX, DX, CX, SI and DI before.
%include "guest.inc"

SNIPPET io_out8_dx,  out dx, al
SNIPPET io_out16_dx, out dx, ax
SNIPPET io_out32_dx, out dx, eax
SNIPPET io_in8_dx,   in al, dx
SNIPPET io_in16_dx,  in ax, dx
SNIPPET io_in32_dx,  in eax, dx

SNIPPET io_out8_imm,  out 0xfe, al
SNIPPET io_out16_imm, out 0x70, ax
SNIPPET io_out32_imm, out 0x00, eax
SNIPPET io_in8_imm,   in al, 0x71
SNIPPET io_in16_imm,  in ax, 0x20
SNIPPET io_in32_imm,  in eax, 0xff

SNIPPET io_outsb, outsb
SNIPPET io_outsw, outsw
SNIPPET io_outsd, outsd
SNIPPET io_insb,  insb
SNIPPET io_insw,  insw
SNIPPET io_insd,  insd

SNIPPET io_rep_outsb, rep outsb
SNIPPET io_rep_outsw, rep outsw
SNIPPET io_rep_outsd, rep outsd
SNIPPET io_rep_insb,  rep insb
SNIPPET io_rep_insw,  rep insw
SNIPPET io_rep_insd,  rep insd

SNIPPET io_fs_outsb,   fs outsb
SNIPPET io_a32_outsb,  a32 outsb
SNIPPET_LEGACY io_a16_insb, a16 insb
