/* SPDX-License-Identifier: MIT */
/*
 * The instruction emulator against two judges: libunicorn executes the same instruction on the same state, libzydis
 * decodes the same bytes. A case is a state and some bytes; an outcome is what came of it, on either side.
 */
#ifndef ORACLE_H
#define ORACLE_H

#include <Zydis/Zydis.h>
#include <hv/emulate.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum oracle_mode { ORACLE_REAL16, ORACLE_PROTECTED16, ORACLE_PROTECTED32, ORACLE_LONG64, ORACLE_MODES };

/* A REP that is not done after so many runs of the emulator never will be. */
#define ORACLE_RUNS_MAX 64
#define ORACLE_IO_MAX   64

struct oracle_case {
    enum oracle_mode mode;
    bool random_bytes; /* not made from the table of forms */
    uint8_t bytes[ZYDIS_MAX_INSTRUCTION_LENGTH];
    uint8_t known; /* as many of them are given to the emulator, it fetches the others */
    bool hint;
    struct hv_emulate_state state;
    uint64_t xmm[16][2];

    uint8_t skipped; /* bytes at the begin that rewriting has dropped */

    /* as libzydis sees the bytes */
    bool decoded;
    ZydisDecodedInstruction insn;
    ZydisDecodedOperand operand[ZYDIS_MAX_OPERAND_COUNT];
};

enum oracle_end { ORACLE_DONE, ORACLE_FAULT, ORACLE_REFUSED, ORACLE_BROKEN };

struct oracle_io {
    uint16_t port;
    bool is_write;
    uint8_t size;
    uint32_t value;
};

struct oracle_outcome {
    enum oracle_end end;
    const char *broken; /* ORACLE_BROKEN: in which way */
    struct hv_emulate_fault fault;
    bool fault_is_write;
    uint64_t gpr[16], rip, rflags;
    uint64_t xmm[16][2];
    unsigned io_count; /* the first ORACLE_IO_MAX are in io */
    struct oracle_io io[ORACLE_IO_MAX];
};

static inline void oracle_log_io(struct oracle_outcome *outcome, uint16_t port, bool is_write, uint8_t size,
                                 uint32_t value)
{
    if (outcome->io_count < ORACLE_IO_MAX)
        outcome->io[outcome->io_count] = (struct oracle_io){port, is_write, size, value};
    outcome->io_count++;
}

/* What an IN finds at a port: nothing that two different reads would share. */
static inline uint32_t oracle_port_value(uint16_t port, uint8_t size, unsigned number)
{
    uint32_t value = (port * 2654435761u) ^ (number * 40503u) ^ size;

    return size == 4 ? value : value & ((1u << (8 * size)) - 1);
}

/* decoding by libzydis: fills the lower part of the case */
void oracle_zydis_open(void);
void oracle_zydis_decode(struct oracle_case *c);
/*
 * libzydis 4.0.0 takes SIB.base 5 with REX.B and 32-bit addresses for R13 without a displacement, with 64-bit addresses
 * and in its length for a displacement without a base. The latter is the manual's: SDM 2A, table 2-5, "SIB.base = 5".
 */
bool oracle_zydis_lost_displacement(const struct oracle_case *c);
void oracle_zydis_correct(struct oracle_case *c);

/* generate.c: the bytes of the next case; all of it, its bytes in the code at that slot */
void oracle_generate_bytes(struct oracle_case *c, enum oracle_mode mode);
void oracle_generate(struct oracle_case *c, enum oracle_mode mode, unsigned slot);

/* rewrite.c: for libunicorn, after the emulator has run; what was rewritten, and why */
void oracle_rewrite(struct oracle_case *c);
void oracle_print_rewritings(void);

/* unicorn.c, emulator.c: the two sides */
void oracle_unicorn_open(enum oracle_mode mode);
void oracle_unicorn_close(void);
/* The code has changed; it must be called before a slot is used again. */
void oracle_unicorn_new_code(void);
void oracle_unicorn_run(const struct oracle_case *c, struct oracle_outcome *outcome);
void oracle_emulator_run(const struct oracle_case *c, struct oracle_outcome *outcome);

/*
 * explain.c: the rules for comparing. oracle_undefined(): flags that the manual leaves undefined after this case.
 * oracle_explained(): the entry of the table of explained differences that covers this pair, or NULL.
 */
struct oracle_difference {
    const char *name, *unicorn, *manual;
    bool (*covers)(const struct oracle_case *c, const struct oracle_outcome *ours, const struct oracle_outcome *theirs);
    unsigned long hits;
};

uint32_t oracle_undefined_flags(const struct oracle_case *c);
bool oracle_undefined_result(const struct oracle_case *c);
/* whether an operand is one of those that libunicorn lets pass, and the manual does not */
bool oracle_missed_exception(const struct oracle_case *c);
bool oracle_is_promised(const struct oracle_case *c);
struct oracle_difference *oracle_explained(const struct oracle_case *c, const struct oracle_outcome *ours,
                                           const struct oracle_outcome *theirs);
void oracle_print_explanations(void);

/* effective.c: what the operands of a case mean */
struct oracle_access {
    unsigned seg;    /* HV_EMULATE_* */
    uint64_t offset; /* in the segment, of its lowest byte */
    uint64_t linear; /* of its lowest byte */
    uint64_t size;   /* in bytes; of all elements of a REP */
    bool is_write;
};

uint64_t oracle_register(const struct oracle_case *c, ZydisRegister reg);
unsigned oracle_register_number(ZydisRegister reg);
bool oracle_access(const struct oracle_case *c, const ZydisDecodedOperand *operand, struct oracle_access *access);
/* a string instruction; one with F2 or F3, which repeats it whatever libzydis says of F2 */
bool oracle_is_string(const struct oracle_case *c);
bool oracle_has_rep(const struct oracle_case *c);
bool oracle_has_memory(const struct oracle_case *c);

#endif
