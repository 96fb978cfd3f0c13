/* SPDX-License-Identifier: MIT */
/*
 * The entry auditor: checks a VMCB by the rules that VMRUN checks (AMD APM 2, 15.5.1 and the sections that add to it)
 * and names the first one that is broken. It runs after a refused entry, never on the path of a plain one; it allocates
 * nothing and writes nothing, so that it works on any VMCB, on the desk as well.
 *
 * VMRUN checks little: most of the guest's state, segments and RFLAGS among it, is taken as it is, and reserved bits
 * of most fields are ignored or make the result undefined. None of that is a finding. Left out as well are rules about
 * what is not in the VMCB and its capabilities: nested paging needs a host that pages (15.25.3: this library's does);
 * CR4.CET and RFLAGS.VM exclude U_CET.SH_STK_EN, which is in an MSR (15.5.1); x2AVIC's highest index depends on CPUID
 * 0x8000000A ECX (15.29.4.3); and PDPTEs, which nested paging does not load (15.25.10).
 */
#ifndef SVM_AUDIT_H
#define SVM_AUDIT_H

#include <hv/audit.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "svm_caps.h"
#include "vmcb.h"

/* What is audited. Nothing of it is kept. */
struct svm_audit_source {
    const struct vmcb *vmcb;
    const struct svm_caps *caps;
};

/*
 * True, and *out is the first broken rule in the order in which the manual lists them; false: no rule broken, *out
 * unchanged. A finding's field_encoding is the field's byte offset in the VMCB.
 */
bool svm_audit(const struct svm_audit_source *source, struct hv_audit_finding *out);

/* As svm_audit, but goes on: fills at most max findings and returns how many rules are broken in all. */
size_t svm_audit_all(const struct svm_audit_source *source, struct hv_audit_finding *out, size_t max);

/* Rule n's short id, in the order of checking; NULL from the number of rules on. */
const char *svm_audit_rule(size_t n);

#endif
