/* SPDX-License-Identifier: MIT */
/*
 * The differential test of the emulator. Cases of four modes run through hv_emulate() and libunicorn; registers, flags,
 * memory, ports and exceptions must be the same, or the difference must be an explained one.
 *
 *   oracle_emulate CASES SEED [MODE]     CASES of each mode; a mode: 0 real, 1 and 2 protected 16 and 32-bit, 3 long
 */
#include "memory.h"
#include "oracle.h"
#include "random.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHOWN_PER_MNEMONIC 2
#define SHOWN              20
#define CLEAN_EVERY        20000
/* of every promised mnemonic, in every mode that has it, so many cases have to end without an exception */
#define DONE_MIN           20

static const char *const mode_names[ORACLE_MODES] = {"real mode", "16-bit protected mode", "32-bit protected mode",
                                                     "64-bit mode"};

struct tally {
    unsigned long cases, compared, done, faults, refused, invalid, explained, undefined, wrong;
    unsigned shown;
    unsigned done_of[ZYDIS_MNEMONIC_MAX_VALUE + 1], seen_of[ZYDIS_MNEMONIC_MAX_VALUE + 1];
    unsigned shown_of[ZYDIS_MNEMONIC_MAX_VALUE + 1];
};

static struct tally tally;
static int test_number, tests_failed;

static void report(bool ok, const char *format, const char *mode, unsigned long n)
{
    printf("%sok %d - oracle: ", ok ? "" : "not ", ++test_number);
    printf(format, mode, n);
    printf("\n");
    fflush(stdout);
    tests_failed += !ok;
}

/* ---------------------------------------------------------------------------- comparing */

struct finding {
    char text[256];
};

static bool differs_in_registers(const struct oracle_case *c, const struct oracle_outcome *ours,
                                 const struct oracle_outcome *theirs, struct finding *finding)
{
    for (unsigned i = 0; i < 16; i++) {
        if (ours->gpr[i] != theirs->gpr[i]) {
            snprintf(finding->text, sizeof finding->text, "register %u: %#" PRIx64 ", libunicorn %#" PRIx64, i,
                     ours->gpr[i], theirs->gpr[i]);
            return true;
        }
        if (memcmp(ours->xmm[i], theirs->xmm[i], 16)) {
            snprintf(finding->text, sizeof finding->text,
                     "XMM%u: %016" PRIx64 "%016" PRIx64 ", libunicorn %016" PRIx64 "%016" PRIx64, i, ours->xmm[i][1],
                     ours->xmm[i][0], theirs->xmm[i][1], theirs->xmm[i][0]);
            return true;
        }
    }
    if (ours->end == ORACLE_DONE && ours->rip != c->state.rip + c->insn.length) {
        snprintf(finding->text, sizeof finding->text, "RIP: %#" PRIx64 ", libzydis %#" PRIx64, ours->rip,
                 c->state.rip + c->insn.length);
        return true;
    }
    return false;
}

/* libunicorn computes flags when it needs them: after an exception its are not the instruction's. */
static bool differs_in_flags(const struct oracle_case *c, const struct oracle_outcome *ours,
                             const struct oracle_outcome *theirs, struct finding *finding)
{
    uint64_t undefined = oracle_undefined_flags(c), different = (ours->rflags ^ theirs->rflags) & ~undefined;

    if (ours->end != ORACLE_DONE || !different)
        return false;
    snprintf(finding->text, sizeof finding->text,
             "flags: %#" PRIx64 ", libunicorn %#" PRIx64 ", different %#" PRIx64 " (undefined: %#" PRIx64 ")",
             ours->rflags, theirs->rflags, different, undefined);
    return true;
}

static bool differs_in_io(const struct oracle_outcome *ours, const struct oracle_outcome *theirs,
                          struct finding *finding)
{
    unsigned count = ours->io_count < ORACLE_IO_MAX ? ours->io_count : ORACLE_IO_MAX;

    if (ours->io_count != theirs->io_count) {
        snprintf(finding->text, sizeof finding->text, "%u accesses to ports, libunicorn %u", ours->io_count,
                 theirs->io_count);
        return true;
    }
    for (unsigned i = 0; i < count; i++) {
        const struct oracle_io *a = &ours->io[i], *b = &theirs->io[i];

        if (a->port == b->port && a->is_write == b->is_write && a->size == b->size && a->value == b->value)
            continue;
        snprintf(finding->text, sizeof finding->text, "port %#x %s %u bytes %#x, libunicorn port %#x %s %u bytes %#x",
                 a->port, a->is_write ? "write" : "read", a->size, a->value, b->port, b->is_write ? "write" : "read",
                 b->size, b->value);
        return true;
    }
    return false;
}

static const char *end_name(const struct oracle_outcome *outcome, char *text, size_t size)
{
    static const char *const names[] = {"done", "", "refused", ""};

    if (outcome->end == ORACLE_FAULT)
        snprintf(text, size, "exception %u%s(%#x) at %#" PRIx64 "%s", outcome->fault.vector,
                 outcome->fault.has_error_code ? " with code " : " ", outcome->fault.error_code, outcome->fault.address,
                 outcome->fault_is_write ? " write" : "");
    else
        snprintf(text, size, "%s", outcome->end == ORACLE_BROKEN ? outcome->broken : names[outcome->end]);
    return text;
}

/* The page fault's error code is known from the fake memory alone: SDM 3A, 5.7. Real mode has none. */
static bool page_fault_is_right(const struct oracle_case *c, const struct oracle_outcome *ours,
                                const struct oracle_outcome *theirs)
{
    enum oracle_page kind = oracle_memory_kind(ours->fault.address);
    uint32_t present = kind == ORACLE_READ_ONLY, write = ours->fault_is_write ? 2 : 0;

    if (c->mode == ORACLE_REAL16 && ours->fault.has_error_code)
        return false;
    if (c->mode != ORACLE_REAL16 && (kind == ORACLE_WRITABLE || (present && !write) || !ours->fault.has_error_code ||
                                     ours->fault.error_code != (present | write)))
        return false;
    return ours->fault.address / ORACLE_PAGE == theirs->fault.address / ORACLE_PAGE;
}

static bool differs_in_end(const struct oracle_case *c, const struct oracle_outcome *ours,
                           const struct oracle_outcome *theirs, struct finding *finding)
{
    char a[100], b[100];

    if (ours->end == theirs->end && ours->end == ORACLE_DONE)
        return false;
    if (ours->end == theirs->end && ours->end == ORACLE_FAULT && ours->fault.vector == theirs->fault.vector &&
        (ours->fault.vector != 14 || page_fault_is_right(c, ours, theirs)))
        return false;
    snprintf(finding->text, sizeof finding->text, "ours: %s; libunicorn: %s", end_name(ours, a, sizeof a),
             end_name(theirs, b, sizeof b));
    return true;
}

static bool differs_in_memory(struct finding *finding)
{
    uint64_t address;

    if (!oracle_memory_differs(&address))
        return false;
    snprintf(finding->text, sizeof finding->text, "memory at %#" PRIx64 ": %#x, libunicorn %#x", address,
             *oracle_memory_at(ORACLE_OURS, address), *oracle_memory_at(ORACLE_THEIRS, address));
    return true;
}

static bool differs(const struct oracle_case *c, const struct oracle_outcome *ours, const struct oracle_outcome *theirs,
                    struct finding *finding)
{
    return differs_in_end(c, ours, theirs, finding) || differs_in_io(ours, theirs, finding) ||
           differs_in_registers(c, ours, theirs, finding) || differs_in_flags(c, ours, theirs, finding) ||
           differs_in_memory(finding);
}

/* ---------------------------------------------------------------------------- showing */

static void show_state(const struct oracle_case *c)
{
    static const char *const segs[] = {"ES", "CS", "SS", "DS", "FS", "GS"};
    struct oracle_access access;

    printf("#   gpr");
    for (unsigned i = 0; i < (c->mode == ORACLE_LONG64 ? 16 : 8); i++)
        printf(" %" PRIx64, c->state.gpr[i]);
    printf(" rip %" PRIx64 " rflags %" PRIx64 "\n#  ", c->state.rip, c->state.rflags);
    for (unsigned i = 0; i < HV_EMULATE_SEGS; i++)
        printf(" %s %#" PRIx64 ":%#x:%#x", segs[i], c->state.seg[i].base, c->state.seg[i].limit,
               c->state.seg[i].attributes);
    printf("\n");
    for (unsigned i = 0; c->decoded && i < c->insn.operand_count; i++) {
        if (!oracle_access(c, &c->operand[i], &access))
            continue;
        printf("#   memory %s:%#" PRIx64 " linear %#" PRIx64 " size %#" PRIx64 "%s:", segs[access.seg], access.offset,
               access.linear, access.size, access.is_write ? " write" : "");
        for (unsigned at = 0; at < 16 && at < access.size; at++) {
            const uint8_t *byte = oracle_memory_at(ORACLE_BEFORE, access.linear + at);

            printf(byte ? " %02x" : " --", byte ? *byte : 0);
        }
        printf("\n");
    }
}

static void show(const struct oracle_case *c, unsigned long number, const struct finding *finding)
{
    ZydisMnemonic mnemonic = c->decoded ? c->insn.mnemonic : ZYDIS_MNEMONIC_INVALID;
    ZydisFormatter formatter;
    char text[128] = "not an instruction";

    if (tally.shown >= SHOWN || tally.shown_of[mnemonic] >= SHOWN_PER_MNEMONIC)
        return;
    tally.shown++;
    tally.shown_of[mnemonic]++;
    ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
    if (c->decoded)
        ZydisFormatterFormatInstruction(&formatter, &c->insn, c->operand, c->insn.operand_count_visible, text,
                                        sizeof text, c->state.rip, NULL);
    printf("# %s, case %lu:", mode_names[c->mode], number);
    for (unsigned i = 0; i < (c->decoded ? c->insn.length : sizeof c->bytes); i++)
        printf(" %02x", c->bytes[i]);
    printf("  %s\n#   %s\n", text, finding->text);
    show_state(c);
}

/* ---------------------------------------------------------------------------- a case */

static bool judge(const struct oracle_case *c, struct finding *finding)
{
    static struct oracle_outcome ours, theirs;
    static struct oracle_case plain;
    bool promised = oracle_is_promised(c);

    oracle_emulator_run(c, &ours);
    if (ours.end == ORACLE_REFUSED) {
        tally.refused++;
        snprintf(finding->text, sizeof finding->text, "refused, though include/hv/emulate.h promises it");
        return !promised;
    }
    if (!c->decoded) {
        tally.invalid++;
        snprintf(finding->text, sizeof finding->text,
                 "neither refused nor undefined, though libzydis does not know it");
        return ours.end == ORACLE_FAULT && (ours.fault.vector == 6 || ours.fault.vector == 13);
    }
    plain = *c;
    oracle_rewrite(&plain);
    oracle_unicorn_run(&plain, &theirs);
    tally.compared++;
    if (oracle_undefined_result(c)) {
        tally.undefined++;
        return ours.end != ORACLE_BROKEN;
    }
    if (ours.end == ORACLE_DONE && oracle_missed_exception(c)) {
        snprintf(finding->text, sizeof finding->text, "done, though the operand's address has to be refused");
        return false;
    }
    if (differs(c, &ours, &theirs, finding)) {
        const struct oracle_difference *explained = oracle_explained(c, &ours, &theirs);

        tally.explained += explained != NULL;
        if (explained && promised && ours.end == ORACLE_DONE)
            tally.done_of[c->insn.mnemonic]++;
        return explained;
    }
    tally.done += ours.end == ORACLE_DONE;
    tally.faults += ours.end == ORACLE_FAULT;
    tally.done_of[c->insn.mnemonic] += promised && ours.end == ORACLE_DONE;
    return true;
}

static void run_case(enum oracle_mode mode, unsigned long number)
{
    static struct oracle_case c;
    struct finding finding = {""};
    unsigned slot = (unsigned)(number % ORACLE_SLOTS);

    if (slot == 0)
        oracle_unicorn_new_code();
    oracle_generate(&c, mode, slot);
    tally.cases++;
    if (oracle_is_promised(&c))
        tally.seen_of[c.insn.mnemonic]++;
    if (!judge(&c, &finding)) {
        tally.wrong++;
        show(&c, number, &finding);
    }
    oracle_memory_restore();
}

/* The promised mnemonics that came, but hardly ever got to their end. */
static unsigned long count_missed(void)
{
    unsigned long missed = 0;

    for (unsigned i = 0; i <= ZYDIS_MNEMONIC_MAX_VALUE; i++) {
        if (tally.seen_of[i] < 10 * DONE_MIN || tally.done_of[i] >= DONE_MIN)
            continue;
        printf("# %s: of %u cases %u without an exception\n", ZydisMnemonicGetString((ZydisMnemonic)i),
               tally.seen_of[i], tally.done_of[i]);
        missed++;
    }
    return missed;
}

static void run_mode(enum oracle_mode mode, unsigned long cases)
{
    unsigned long unclean = 0;

    tally = (struct tally){0};
    oracle_unicorn_open(mode);
    for (unsigned long number = 0; number < cases; number++) {
        run_case(mode, number);
        if (number % CLEAN_EVERY == CLEAN_EVERY - 1)
            unclean += !oracle_memory_is_clean();
    }
    oracle_unicorn_close();
    printf("# %s: %lu cases, %lu compared: %lu equal without and %lu with an exception, %lu explained, %lu of an "
           "undefined result; %lu refused, %lu no instructions\n",
           mode_names[mode], tally.cases, tally.compared, tally.done, tally.faults, tally.explained, tally.undefined,
           tally.refused, tally.invalid);
    oracle_print_explanations();
    oracle_print_rewritings();
    report(!tally.wrong, "%s: the emulator agrees with libunicorn (%lu disagreements)", mode_names[mode], tally.wrong);
    report(!unclean, "%s: every write was seen (%lu times not)", mode_names[mode], unclean);
    report(!count_missed(), "%s: all promised instructions have run (%lu cases)", mode_names[mode], tally.cases);
}

int main(int argc, char **argv)
{
    unsigned long cases = argc > 1 ? strtoul(argv[1], NULL, 0) : 1000;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 0;
    int only = argc > 3 ? atoi(argv[3]) : -1;

    seed = seed ? seed : 1;
    printf("# SEED=%" PRIu64 "\n1..%d\n", seed, only < 0 ? 3 * ORACLE_MODES : 3);
    oracle_zydis_open();
    for (int mode = 0; mode < ORACLE_MODES; mode++) {
        if (only >= 0 && mode != only)
            continue;
        oracle_random_state = seed + (uint64_t)mode * 0x9E3779B97F4A7C15ull;
        oracle_memory_fill();
        run_mode((enum oracle_mode)mode, cases);
    }
    return tests_failed ? 1 : 0;
}
