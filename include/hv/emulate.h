/* SPDX-License-Identifier: MIT */
/*
 * The instruction emulator: completes instructions whose memory or port is a device's. It knows nothing of virtual
 * processors: the registers are in a struct, everything outside of them is behind callbacks. So the same code serves
 * the core's own local APIC, the WinHvEmulation API and the tests on the desk.
 *
 * What it knows: every instruction form with a memory operand that compilers and operating systems use on devices:
 * MOV (moffs, from segment registers), MOVZX, MOVSX(D), MOVBE, MOVNTI, the arithmetic and logic group, TEST, XCHG,
 * CMPXCHG, CMPXCHG8B/16B, XADD, INC, DEC, NOT, NEG, shifts and rotates, SHLD, SHRD, BT/BTS/BTR/BTC, BSF, BSR, SMSW,
 * PUSH, POP, SETcc, CMOVcc, MUL, IMUL, DIV, IDIV, the string instructions with REP, IN, OUT, INS, OUTS, and the moves
 * of XMM registers (MOVUPS, MOVAPS, MOVSS, MOVLPS, MOVHPS, MOVDQU, MOVDQA, MOVQ, MOVD, MOVNTDQ, LDDQU and their kin).
 * In 16, 32 and 64-bit code. Everything else is HV_EMULATE_UNSUPPORTED, and nothing has changed.
 *
 * Left to the caller: the single-step trap when RFLAGS.TF was set (a REP then does one iteration at a time), the end of
 * an interrupt shadow, the permission to use ports (the CPU has checked it before the exit). LOCK is atomic as far as
 * the memory callback makes it so: a read is followed by a write.
 */
#ifndef HV_EMULATE_H
#define HV_EMULATE_H

#include <hv/exit.h>
#include <hv/hv.h>

/* Segments by their number in instructions. */
enum hv_emulate_seg { HV_EMULATE_ES, HV_EMULATE_CS, HV_EMULATE_SS, HV_EMULATE_DS, HV_EMULATE_FS, HV_EMULATE_GS };
#define HV_EMULATE_SEGS 6

/* The registers before and after the instruction; RFLAGS.RF is clear after it. */
struct hv_emulate_state {
    uint64_t gpr[16]; /* by their number in instructions: RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 .. R15 */
    uint64_t rip, rflags;
    struct hv_segment seg[HV_EMULATE_SEGS];
    uint64_t cr0, cr4, efer;
    uint8_t cpl;
    bool gpr_changed; /* out: more than RIP and RFLAGS was written */
};

/* An exception that the guest has to take instead: HV_EMULATE_FAULT. */
struct hv_emulate_fault {
    uint8_t vector;
    bool has_error_code;
    uint32_t error_code;
    uint64_t address; /* for CR2, with #PF */
};

enum hv_emulate_result {
    HV_EMULATE_OK,            /* the instruction is done; the state has moved on */
    HV_EMULATE_AGAIN,         /* part of a REP is done and in the state; RIP stands on the instruction still */
    HV_EMULATE_FAULT,         /* the guest has to take *fault; the state is as it was before this iteration */
    HV_EMULATE_UNSUPPORTED,   /* not an instruction that this emulator knows */
    HV_EMULATE_MEMORY_FAILED, /* a callback returned false, or: the state is as with a fault */
    HV_EMULATE_TRANSLATE_FAILED,
    HV_EMULATE_IO_FAILED,
    HV_EMULATE_XMM_FAILED,
    HV_EMULATE_UNALIGNED_GPA, /* translate gave an address that is not the begin of a page */
};

/* A callback returns false when it can not do what is asked; the emulation ends there. */
struct hv_emulate_ops {
    /* 1 to 8 bytes that do not cross a page, RAM or device. */
    bool (*memory)(void *context, hv_gpa_t gpa, bool is_write, uint32_t size, void *data);
    /*
     * The guest page of a linear page. flags: HV_TRANSLATE_SET_BITS with HV_TRANSLATE_READ, _WRITE, both, or _EXECUTE;
     * without any of them it is asked for the address alone, after the same page's result for reading or writing was
     * one of HV_TRANSLATE_GPA_UNMAPPED, _NO_READ, _NO_WRITE: a device's. *gpa is only looked at with
     * HV_TRANSLATE_SUCCESS.
     */
    bool (*translate)(void *context, hv_gva_t page, uint32_t flags, enum hv_translate_result *result, hv_gpa_t *gpa);
    /* IN and OUT of 1, 2 or 4 bytes. NULL: no port instructions here. */
    bool (*io)(void *context, uint16_t port, bool is_write, uint32_t size, uint32_t *data);
    /* XMM register n. NULL: no XMM registers here. */
    bool (*xmm)(void *context, unsigned n, bool is_write, uint64_t value[2]);
    /*
     * Control register n, by MOV, LMSW and CLTS; what a write asks for is not checked. NULL: these are not known here
     * (SMSW is).
     */
    bool (*cr)(void *context, unsigned n, bool is_write, uint64_t *value);
};

/*
 * The access that is known already from the exit: saves the translation of that page, for writing only if the access
 * was a write. valid false: nothing is known.
 */
struct hv_emulate_hint {
    bool valid;
    bool is_write;
    hv_gva_t gva;
    hv_gpa_t gpa;
};

/*
 * Emulates the instruction at CS:RIP. `instruction` holds as many of its bytes as are known (count 0: none); the rest
 * is fetched by translate and memory. A REP does at most 4096 iterations, then HV_EMULATE_AGAIN; RFLAGS.RF is set then,
 * as by an interrupt between two iterations.
 * Context: any that the callbacks can be called in. Uses about 1 KiB of stack.
 */
enum hv_emulate_result hv_emulate(struct hv_emulate_state *state, const struct hv_instruction *instruction,
                                  const struct hv_emulate_hint *hint, const struct hv_emulate_ops *ops, void *context,
                                  struct hv_emulate_fault *fault);

#endif
