/* SPDX-License-Identifier: MIT */
/* The entry auditor held against the engine: what audit_vmx.c and audit_svm.c share. */
#ifndef AUDIT_H
#define AUDIT_H

#include "test.h"
#include "vm.h"

/* A mode of its own: virtual-8086 on 32-bit paging. */
#define V86        VM_MODE_COUNT
#define MODE_COUNT (VM_MODE_COUNT + 1)
#define V86_BIT    (1u << V86)
#define ANY        (VM_ALL | V86_BIT)
#define PLAIN      VM_ALL /* not virtual-8086 */
#define NOT_LONG   (ANY & ~VM_LONG_MODES)
#define NOT_CODE64 (ANY & ~VM_CODE64)

#define FLAG_VM 0x20000ull
#define CR4_CET 0x800000ull

struct audit_change {
    uint32_t field;
    uint64_t keep, set; /* the new value is (old & keep) | set */
};

#define AUDIT_CHANGES 20

struct audit_breaking {
    const char *rule;
    uint32_t modes;
    struct audit_change changes[AUDIT_CHANGES]; /* up to the first without a field */
    uint64_t event;
    uint32_t unenforced; /* modes in which the engine is known not to look */
};

const char *audit_mode_name(unsigned mode);
bool audit_cpu_has_cet(void);

/* Raw fields, and what the auditor says of the next entry. */
uint64_t audit_get(struct vm *vm, uint32_t field);
void audit_set(struct vm *vm, uint32_t field, uint64_t value);
bool audit_ask(struct vm *vm, struct hv_audit_finding *finding);
void audit_expect_rule(const struct hv_audit_finding *got, const char *wanted, unsigned mode);

#define AUDIT_EXPECT(vm, wanted)                              \
    do {                                                      \
        struct hv_audit_finding finding_ = {.rule = NULL};    \
        if (EXPECT(audit_ask(vm, &finding_)))                 \
            audit_expect_rule(&finding_, wanted, (vm)->mode); \
    } while (0)

/* HLT at RIP in the mode (32-bit paging for V86), no event pending. */
bool audit_enter_halt(struct vm *vm, unsigned mode);

/* Runs; whether the entry was refused. A deadline, where there are some, ends whatever a guest in an odd state is
 * about. */
bool audit_is_refused(struct vm *vm);

/*
 * One row in one mode, which enter sets up: the auditor names the rule, the engine refuses the entry, the rule is named
 * again, and with the old values back the VP runs on. Returns whether the engine refused it.
 */
bool audit_break_rule(struct vm *vm, const struct audit_breaking *row, unsigned mode,
                      bool (*enter)(struct vm *vm, unsigned mode));

/* Random numbers; seed=N and rounds=N of the command line. */
void audit_seed(unsigned n, unsigned mode);
uint64_t audit_random(void);
unsigned audit_random_below(unsigned n);
bool audit_chance(unsigned percent);
uint64_t audit_flip_bits(uint64_t value, unsigned below);
unsigned audit_option(const char *name, unsigned otherwise);

#define PICK(array) ((array)[audit_random_below(COUNT(array))])

#endif
