/* SPDX-License-Identifier: MIT */
/* What the tests of the entry auditor share: raw fields, one rule broken and mended, random numbers. */
#include "audit.h"

#include <kernel/module.h>

const char *audit_mode_name(unsigned mode)
{
    return mode == V86 ? "virtual 8086" : vm_mode_name((enum vm_mode)mode);
}

bool audit_cpu_has_cet(void)
{
    uint32_t eax = 7, ebx, ecx = 0, edx;

    __asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
    return ecx >> 7 & 1;
}

uint64_t audit_get(struct vm *vm, uint32_t field)
{
    uint64_t value = 0;

    EXPECT_EQ(hv_vp_raw_get(vm->native_vp, field, &value), HV_OK);
    return value;
}

void audit_set(struct vm *vm, uint32_t field, uint64_t value)
{
    EXPECT_EQ(hv_vp_raw_set(vm->native_vp, field, value), HV_OK);
}

bool audit_ask(struct vm *vm, struct hv_audit_finding *finding)
{
    bool broken = false;

    EXPECT_EQ(hv_vp_audit(vm->native_vp, &broken, finding), HV_OK);
    return broken;
}

void audit_expect_rule(const struct hv_audit_finding *got, const char *wanted, unsigned mode)
{
    if (strcmp(got->rule, wanted) != 0)
        FAIL("%s: the auditor says %s, wanted %s", audit_mode_name(mode), got->rule, wanted);
}

bool audit_enter_halt(struct vm *vm, unsigned mode)
{
    static const uint8_t halt[] = {0xf4};

    if (!vm_enter(vm, mode == V86 ? VM_PAGED32 : (enum vm_mode)mode))
        return false;
    vm_load_bytes(vm, halt, sizeof(halt));
    vm_set(vm, WHvRegisterPendingInterruption, 0);
    return true;
}

/* ------------------------------------------------------------------------------- one rule */

struct undo {
    uint32_t field;
    uint64_t value;
};

static unsigned apply(struct vm *vm, const struct audit_breaking *b, struct undo *undo)
{
    unsigned n = 0;

    for (; n < AUDIT_CHANGES && b->changes[n].field; n++) {
        undo[n] = (struct undo){b->changes[n].field, audit_get(vm, b->changes[n].field)};
        audit_set(vm, b->changes[n].field, (undo[n].value & b->changes[n].keep) | b->changes[n].set);
    }
    if (b->event)
        vm_set(vm, WHvRegisterPendingInterruption, b->event);
    return n;
}

static void revert(struct vm *vm, const struct undo *undo, unsigned n)
{
    while (n--)
        audit_set(vm, undo[n].field, undo[n].value);
    vm_set(vm, WHvRegisterPendingInterruption, 0);
}

#define RUN_TICKS 3000

bool audit_is_refused(struct vm *vm)
{
    enum hv_status status = hv_vp_set_run_deadline(vm->native_vp, __builtin_ia32_rdtsc() + RUN_TICKS);

    EXPECT(status == HV_OK || status == HV_E_UNSUPPORTED);
    return vm_run(vm) == WHvRunVpExitReasonInvalidVpRegisterValue;
}

bool audit_break_rule(struct vm *vm, const struct audit_breaking *row, unsigned mode,
                      bool (*enter)(struct vm *vm, unsigned mode))
{
    struct hv_audit_finding finding = {.rule = "nothing"};
    struct undo undo[AUDIT_CHANGES];
    unsigned n;

    if (!enter(vm, mode))
        return false;
    n = apply(vm, row, undo);
    audit_ask(vm, &finding);
    audit_expect_rule(&finding, row->rule, mode);
    if (!audit_is_refused(vm)) {
        if (!(row->unenforced >> mode & 1))
            FAIL("%s: the engine accepts it, exit %s", audit_mode_name(mode), vm_reason_name(vm->exit.ExitReason));
        return false;
    }
    EXPECT_EQ(hv_vp_audit_finding(vm->native_vp, &finding), HV_OK);
    audit_expect_rule(&finding, row->rule, mode);
    revert(vm, undo, n);
    if (audit_is_refused(vm) || vm->exit.ExitReason != WHvRunVpExitReasonX64Halt)
        FAIL("%s: exit %s with the old values back", audit_mode_name(mode), vm_reason_name(vm->exit.ExitReason));
    return true;
}

/* ------------------------------------------------------------------------- random numbers */

static uint64_t seed = 1;

void audit_seed(unsigned n, unsigned mode)
{
    seed = (n + 1) * 0x9e3779b97f4a7c15ull ^ (mode + 1) * 0xbf58476d1ce4e5b9ull;
}

uint64_t audit_random(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed * 0x2545f4914f6cdd1dull;
}

unsigned audit_random_below(unsigned n)
{
    return (unsigned)(audit_random() >> 32) % n;
}

bool audit_chance(unsigned percent)
{
    return audit_random_below(100) < percent;
}

uint64_t audit_flip_bits(uint64_t value, unsigned below)
{
    do
        value ^= 1ull << audit_random_below(below);
    while (audit_chance(30));
    return value;
}

unsigned audit_option(const char *name, unsigned otherwise)
{
    char word[16];
    unsigned n = 0;

    if (!option_find(name, word, sizeof(word)))
        return otherwise;
    for (const char *c = word; *c >= '0' && *c <= '9'; c++)
        n = n * 10 + (unsigned)(*c - '0');
    return n;
}
