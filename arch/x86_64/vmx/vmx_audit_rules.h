/* SPDX-License-Identifier: MIT */
/* Inside the auditor: what a rule is, and the checks that many rules share. Only vmx_audit*.c include this. */
#ifndef VMX_AUDIT_RULES_H
#define VMX_AUDIT_RULES_H

#include <arch/vcpu.h>
#include <hv/base/bits.h>

#include "vmcs_fields.h"
#include "vmx_audit.h"
#include "vmx_bits.h"

/* The words that a rule's condition looks at. CPU2, CPU3 and EXIT2 are 0 unless activated, as the CPU takes them. */
enum audit_word { W_ALWAYS, W_PIN, W_CPU, W_CPU2, W_CPU3, W_EXIT, W_EXIT2, W_ENTRY, W_MODE, W_COUNT };

/* bits of W_MODE: what the fields say about the state to be entered and about the host's */
#define MODE_LONG           BIT64(0) /* the guest will be in IA-32e mode */
#define MODE_NOT_LONG       BIT64(1)
#define MODE_CODE64         BIT64(2) /* and its CS.L is 1 */
#define MODE_NOT_CODE64     BIT64(3)
#define MODE_REAL           BIT64(4) /* CR0.PE is 0 */
#define MODE_V86            BIT64(5)
#define MODE_NOT_V86        BIT64(6)
#define MODE_PAGING         BIT64(7)
#define MODE_PAE_EPT        BIT64(8) /* PAE paging, the PDPTEs come from the VMCS */
#define MODE_PAE_MEMORY     BIT64(9) /* PAE paging, they come from memory at CR3 */
#define MODE_UNRESTRICTED   BIT64(10)
#define MODE_RESTRICTED     BIT64(11)
#define MODE_HOST_64        BIT64(12) /* "host address-space size" */
#define MODE_HOST_32        BIT64(13)
#define MODE_NOW_LONG       BIT64(14) /* the CPU is in IA-32e mode at the time of the entry */
#define MODE_NOW_NOT_LONG   BIT64(15)
#define MODE_INJECT         BIT64(16) /* the entry delivers an event */
#define MODE_INJECT_EXTINT  BIT64(17)
#define MODE_INJECT_NMI     BIT64(18)
#define MODE_INJECT_HW      BIT64(19) /* a hardware exception */
#define MODE_INJECT_SOFT    BIT64(20) /* software interrupt or exception: has an instruction length */
#define MODE_INJECT_OTHER   BIT64(21)
#define MODE_INJECT_ERROR   BIT64(22) /* and an error code */
#define MODE_VIRTUAL_NMIS   BIT64(23)
#define MODE_LINKED         BIT64(24) /* the VMCS link pointer is not all ones */
#define MODE_NO_TIMER       BIT64(25) /* "activate VMX-preemption timer" is 0 */
#define MODE_TPR_PLAIN      BIT64(26) /* TPR shadow without virtual-interrupt delivery */
#define MODE_EPTP_SWITCHING BIT64(27)
#define MODE_CET            BIT64(28) /* the guest's CR4.CET is 1 */
#define MODE_HOST_CET       BIT64(29)
#define MODE_LOAD_CET       BIT64(30) /* "load CET state" of the VM entry */
#define MODE_HOST_LOAD_CET  BIT64(31) /* ... of the VM exit */
#define MODE_LOAD_DEBUG     BIT64(32)
#define MODE_LOAD_EFER      BIT64(33)

/* One audit under way: the fields that many rules look at, and the field of the rule at hand. */
struct audit {
    const struct vmx_audit_source *src;
    const struct vmx_caps *caps;
    uint64_t word[W_COUNT];
    uint64_t cr0, cr4, rflags;
    uint32_t event;    /* VM-entry interruption information */
    uint32_t blocking; /* interruptibility state */
    uint32_t access[SEG_COUNT], limit[SEG_COUNT];
    uint16_t selector[SEG_COUNT];
    uint64_t value; /* of the rule's field; a check of a list in memory replaces it by the list entry's */
    uint32_t entry; /* set by a check of a list in memory: which entry, from 1 */
};

#define WHOLE (~0ull) /* a check's answer: broken, and not by single bits */

struct audit_rule {
    const char *id;
    uint32_t field;
    const char *section;
    /* the checked field is a->value; returns its wrong bits, WHOLE, or 0: the rule holds */
    uint64_t (*broken)(struct audit *a, uint64_t arg);
    uint64_t arg; /* means what the check says */
    enum audit_word word;
    uint64_t bits; /* the rule counts only when all of them are set in the word */
    const char *text;
};

struct audit_group {
    const struct audit_rule *rules;
    size_t count;
    uint32_t part; /* VMX_AUDIT_* */
};

extern const struct audit_group vmx_audit_controls, vmx_audit_host, vmx_audit_guest_registers, vmx_audit_guest_segments,
    vmx_audit_guest_other, vmx_audit_msrs;

static inline uint64_t audit_read(const struct audit *a, uint32_t field)
{
    return a->src->read(a->src->arg, field);
}

/* all bits of the mask are set in a word of the audit */
static inline bool audit_has(const struct audit *a, enum audit_word word, uint64_t mask)
{
    return (a->word[word] & mask) == mask;
}

/* False also when there is no way to read memory, or the address cannot be one. */
bool audit_memory(const struct audit *a, uint64_t address, uint64_t *value);

/* Checks that many rules share. */
uint64_t audit_must_be_0(struct audit *a, uint64_t mask); /* the bits of the mask must be 0 */
uint64_t audit_must_be_1(struct audit *a, uint64_t mask); /* ... must be 1 */
uint64_t audit_null(struct audit *a, uint64_t unused);    /* the value must not be 0 */
uint64_t audit_canonical(struct audit *a, uint64_t unused);
uint64_t audit_width(struct audit *a, uint64_t unused); /* an address of VMX's own structures fits in its width */
uint64_t audit_cr3(struct audit *a, uint64_t unused);   /* bits from MAXPHYADDR up must be 0 */
uint64_t audit_cr0_must_be_1(struct audit *a, uint64_t exempt); /* IA32_VMX_CR0_FIXED0 and 1, but for some bits */
uint64_t audit_cr0_must_be_0(struct audit *a, uint64_t exempt);
uint64_t audit_cr4_must_be_1(struct audit *a, uint64_t exempt);
uint64_t audit_cr4_must_be_0(struct audit *a, uint64_t exempt);
uint64_t audit_pat(struct audit *a, uint64_t unused); /* eight memory types */
uint64_t audit_perf_global(struct audit *a, uint64_t unused);
uint64_t audit_cet(struct audit *a, uint64_t unused); /* IA32_S_CET: reserved bits, SUPPRESS and TRACKER */

/* bits hi:lo that the CPU cannot have in an address of this width */
static inline uint64_t audit_above(unsigned width)
{
    return width >= 64 ? 0 : ~0ull << width;
}

static inline unsigned audit_vmx_width(const struct audit *a)
{
    return a->caps->basic & BIT64(48) ? 32 : a->caps->phys_bits;
}

#endif
