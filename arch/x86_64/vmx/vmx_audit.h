/* SPDX-License-Identifier: MIT */
/*
 * The entry auditor: checks a VMCS by the rules of the SDM's chapter "VM entries" (vol. 3C, 27.2 to 27.4) and names the
 * first one that is broken. It runs after a refused entry, never on the path of a plain one; it allocates nothing and
 * writes nothing, so that it works on an array of fields on the desk as on the current VMCS.
 */
#ifndef VMX_AUDIT_H
#define VMX_AUDIT_H

#include <hv/audit.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmx_caps.h"

/* Groups of rules, to be or-ed: what the CPU's answer leaves possible. */
#define VMX_AUDIT_CONTROLS BIT32(0) /* 27.2.1: VM-instruction error 7 */
#define VMX_AUDIT_HOST     BIT32(1) /* 27.2.2 to 27.2.4: VM-instruction error 8 */
#define VMX_AUDIT_GUEST    BIT32(2) /* 27.3.1: exit reason 33 */
#define VMX_AUDIT_MSRS     BIT32(3) /* 27.4: exit reason 34 */
#define VMX_AUDIT_ALL      0u

/* What is audited. Nothing of it is kept. */
struct vmx_audit_source {
    /* One field by its encoding. Asked only for fields that exist given the controls set so far. */
    uint64_t (*read)(void *arg, uint32_t field);

    /*
     * The 8 bytes at an aligned host-physical address; false: cannot tell. Needed for rules about what VMCS fields
     * point at; NULL leaves those rules out.
     */
    bool (*read_memory)(void *arg, uint64_t address, uint64_t *value);
    void *arg;
    const struct vmx_caps *caps;
    uint64_t current_vmcs;  /* physical address, or 0: unknown */
    bool outside_long_mode; /* IA32_EFER.LMA is 0 at the time of the entry; never so for this library's own entries */
    uint32_t parts;         /* VMX_AUDIT_*, or VMX_AUDIT_ALL */
};

/* True, and *out is the first broken rule in the order in which the manual lists them; false: no rule broken, *out
 * unchanged. */
bool vmx_audit(const struct vmx_audit_source *src, struct hv_audit_finding *out);

/* As vmx_audit, but goes on: fills at most max findings and returns how many rules are broken in all. */
size_t vmx_audit_all(const struct vmx_audit_source *src, struct hv_audit_finding *out, size_t max);

/* Rule n's short id, in the order of checking; NULL from the number of rules on. */
const char *vmx_audit_rule(size_t n);

/* "GUEST_CS_SELECTOR" for 0x0802; NULL for what is no field. The encodings of upper halves (odd) have no name of their
 * own. */
const char *vmcs_field_name(uint32_t encoding);

#endif
