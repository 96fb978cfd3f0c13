/* SPDX-License-Identifier: MIT */
/* What the files of this folder share. */
#ifndef VMX_H
#define VMX_H

#include "vmcs_fields.h"
#include "vmx_bits.h"
#include "vmx_caps.h"
#include <arch/backend.h>
#include <hv/base/memory.h>

struct vmx_vcpu {
    struct vcpu v;     /* first: the offsets of vmx_entry.asm count from here */
    uint64_t host_rsp; /* as written to HOST_RSP: a run from the same stack depth need not write it again */

    void *vmcs, *msr_bitmap, *virtual_apic; /* a page each */
    hv_hpa_t vmcs_pa;
    uint32_t active_cpu; /* CPU that has the VMCS cached, HV_CPU_NONE when it is clear */
    uint16_t vpid;       /* 0: none was left; guest-virtual translations are then dropped at each transition */
    uint64_t eptp;
    uint32_t exits_left; /* until interrupts are let in: see vmx_enter */

    /* control words as they stand in the VMCS */
    uint64_t pin, cpu, cpu2;
    bool acknowledges;       /* exits take the interrupt that they are for from the host's local APIC */
    hv_hpa_t apic_access_pa; /* HV_HPA_NONE: APIC accesses are not virtualized */
    /* MSRs of x2APIC mode that the client wants to exit, whatever the CPU could do of them: bit n is 0x800 + n */
#define X2APIC_WORDS 4
    uint64_t x2apic_read_exits[X2APIC_WORDS], x2apic_write_exits[X2APIC_WORDS];

    /* host state as it stands in the VMCS */
    struct {
        uint64_t cr0, cr3, cr4, fs_base, gs_base;
    } host;
    /* host state that VM exits do not restore, and vmx_put does */
    struct {
        uint16_t es, ds, fs, gs, ldtr, gdt_limit, idt_limit;
        uint64_t debugctl;
        bool selectors; /* ES, DS, FS, GS or LDTR have to be loaded again */
        bool tr;        /* so has TR: its limit is not the one that VM exits set */
    } lost;
};

static inline struct vmx_vcpu *to_vmx(struct vcpu *v)
{
    return (struct vmx_vcpu *)v;
}

/* vmx.c: capabilities of this machine; filled by the probe */
extern struct vmx_caps vmx_caps;
extern struct vmx_timer {
    unsigned shift;     /* it counts the TSC's ticks by 1 << shift */
    uint32_t heartbeat; /* in its ticks: see find_timer */
} vmx_timer;
const struct vmx_caps *vmx_capabilities(void);
bool vmx_probe(struct hv_platform *platform);
enum hv_status vmx_cpu_on(struct backend_cpu *cpu);
void vmx_cpu_off(struct backend_cpu *cpu);

/* vmcs.c */
struct vmx_controls { /* the words to use on this CPU: what is needed, and what of the wanted is there */
    uint64_t pin, cpu, cpu2, exit, entry;
};
extern struct vmx_controls vmx_controls;
bool vmcs_choose_controls(const struct vmx_caps *caps, struct vmx_controls *out, char *reason, size_t reason_size);
struct vcpu *vmx_vcpu_create(struct npt *npt);
void vmx_vcpu_destroy(struct vcpu *v);
void vmx_acquire(struct vcpu *v);
void vmx_exit_on_msr(struct vcpu *v, uint32_t index, bool reads, bool writes);

void vmx_bitmap_allow(uint8_t *bitmap, uint32_t index, bool write, bool allow); /* in an MSR bitmap */

/* vmx_apic.c */
uint32_t vmx_apic_features(enum vcpu_apic_mode mode);
void vmx_apic_init(struct vmx_vcpu *vmx);          /* its VMCS is current */
void vmx_apic_sync_controls(struct vmx_vcpu *vmx); /* VCPU_CONTROLS */
void vmx_apic_fetch(struct vcpu *v);               /* VCPU_APIC */
void vmx_apic_sync(struct vcpu *v);
void vmx_apic_sync_eoi_exits(struct vcpu *v);                                             /* VCPU_EOI_EXIT */
bool vmx_apic_exit_on_msr(struct vmx_vcpu *vmx, uint32_t index, bool reads, bool writes); /* false: not its MSR */

/* ept.c */
const struct npt_format *ept_format(void);
uint64_t ept_pointer(const struct npt *npt);
void ept_flush(struct vmx_vcpu *vmx); /* before an entry, interrupts off */

/*
 * Translations are tagged with EPTP and VPID and live in a CPU's TLB: the vcpu drops them when the tables have
 * changed since it last did, and when it comes to a CPU where it may have left some behind (which sets flush_guest, as
 * well). The generation is read after vp.shared.walking was set (virt/walk.h), so a change is either seen here or its
 * author waits for us.
 */
static inline bool ept_has_changed(const struct vcpu *v)
{
    return __atomic_load_n(v->npt_generation, __ATOMIC_SEQ_CST) != v->npt_seen;
}

/* vmx_regs.c */
void vmx_fetch(struct vcpu *v, uint32_t groups);
void vmx_advance(struct vcpu *v, uint8_t length);
uint32_t vmx_mode(struct vcpu *v);
bool vmx_takes_interrupts(struct vcpu *v);
void vmx_context(struct vcpu *v, const struct hv_exit *exit, struct hv_exit_context *to);
void vmx_sync(struct vmx_vcpu *vmx); /* dirty groups -> VMCS */
enum hv_status vmx_raw_get(struct vcpu *v, uint32_t field, uint64_t *value);
enum hv_status vmx_raw_set(struct vcpu *v, uint32_t field, uint64_t value);

/* vmx_code.c */
void vmx_code_learn(struct vcpu *v, const struct vcpu_code *code, uint64_t offset);
const uint8_t *vmx_code(struct vcpu *v);

/* vmx_run.c */
void vmx_load(struct vcpu *v);
void vmx_put(struct vcpu *v);
unsigned vmx_enter(struct vcpu *v, struct hv_exit *exit, const struct vcpu_exits *exits, struct hv_vp *owner);
bool vmx_audit_next(struct vcpu *v, struct hv_audit_finding *out); /* of the entry that vmx_enter would make */

/* vmx_exit.c */
void vmx_exit_describe(struct vmx_vcpu *vmx, uint64_t reason, struct hv_exit *exit);
/* vm_fail: by VMfail, not by an exit */
void vmx_exit_entry_failed(struct vmx_vcpu *vmx, bool vm_fail, struct hv_exit *exit);
bool vmx_exit_audit(struct vmx_vcpu *vmx, unsigned parts, struct hv_audit_finding *out); /* parts: VMX_AUDIT_* */

/* vmx_entry.asm: see vmx_run_guest. What it says of an entry that ended with VMfail: no exit reason. */
#define VMX_VMFAIL 0x7fffffff
extern const char vmx_exit_point[];

#endif
