/* SPDX-License-Identifier: MIT */
/* What the entry auditor says: the first rule that made the CPU refuse a VM entry. Vendor-neutral. */
#ifndef HV_AUDIT_H
#define HV_AUDIT_H

#include <hv/base/log.h>
#include <stdint.h>

/* All strings are constants of the library: they never need to be freed and stay valid for ever. */
struct hv_audit_finding {
    const char *rule;        /* short and stable, for tests and scripts: "guest.cs.type" */
    const char *field;       /* the control structure's field: "GUEST_CS_ACCESS" */
    const char *text;        /* the rule in words; what must hold */
    const char *section;     /* where the manual says so: "SDM 3C 27.3.1.2" */
    uint32_t field_encoding; /* the field as the hardware numbers it, see hv_vp_raw_get */
    uint32_t entry;          /* rules about a list in memory: which entry, from 1, value being that entry's; else 0 */
    uint64_t value;          /* what the field holds */
    uint64_t wrong_bits;     /* the bits of value that break the rule; 0: the value as a whole does */
};

/* The lowest wrong bit's number, or -1 when the value is wrong as a whole. */
static inline int hv_audit_bit(const struct hv_audit_finding *f)
{
    return f->wrong_bits ? __builtin_ctzll(f->wrong_bits) : -1;
}

/*
 * One line for a log: "guest.cs.type: GUEST_CS_ACCESS (0x4816) = 0xa090: <text> (SDM 3C 27.3.1.2)". Returns what
 * hv_format does; 256 bytes hold every line. Context: any.
 */
static inline size_t hv_audit_format(char *buf, size_t size, const struct hv_audit_finding *f)
{
    if (!f->wrong_bits)
        return hv_format(buf, size, "%s: %s (0x%x) = 0x%llx: %s (%s)", f->rule, f->field, f->field_encoding,
                         (unsigned long long)f->value, f->text, f->section);
    return hv_format(buf, size, "%s: %s (0x%x) = 0x%llx, bit %d: %s (%s)", f->rule, f->field, f->field_encoding,
                     (unsigned long long)f->value, hv_audit_bit(f), f->text, f->section);
}

#endif
