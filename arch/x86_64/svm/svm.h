/* SPDX-License-Identifier: MIT */
/* What the files of this folder share. */
#ifndef SVM_H
#define SVM_H

#include "svm_caps.h"
#include "vmcb.h"
#include <arch/backend.h>
#include <arch/bits/cr.h>
#include <arch/bits/msr.h>
#include <arch/bits/seg.h>
#include <hv/base/memory.h>

/* One instruction of the guest's that runs alone: see svm_step.c. */
struct svm_step {
    uint64_t rip;      /* of the IRET that unmasks NMIs: see svm_vcpu.is_iret_next */
    bool guest_has_tf; /* on its own */
    uint64_t dr6;      /* the guest's before the step */
};

/* What a refused VMRUN may have overwritten. */
#define SVM_SAVE_START offsetof(struct vmcb, es)
#define SVM_SAVE_SIZE  (offsetof(struct vmcb, last_excp_to) + sizeof(uint64_t) - SVM_SAVE_START)

struct svm_backup {
    uint32_t v_intr;
    uint64_t interrupt_state;
    uint8_t save[SVM_SAVE_SIZE];
};

struct svm_vcpu {
    struct vcpu v; /* first: the offsets of svm_entry.asm count from here */
    hv_hpa_t vmcb_pa;
    hv_hpa_t host_pa; /* backend_cpu.state_pa of the CPU that has the vcpu */

    struct vmcb *vmcb;
    void *msrpm, *apic;       /* MSRPM_PAGES pages; a page */
    uint32_t active_cpu;      /* CPU that ran it last and may have the VMCB cached, HV_CPU_NONE: none */
    uint64_t asid_generation; /* of that CPU, when the ASID was handed out; 0: never */

    uint64_t injected;            /* the event of the entry at hand, as in vcpu.event; 0: none */
    uint64_t soft_rip, soft_next; /* of one of INT n's kind: RIP was moved past the instruction for the entry */

    bool is_virtual; /* the event went in as a virtual interrupt: see svm_caps.injects_twice */

    /* What the next entry needs more than others do: see svm_enter. */
    union {
        struct {
            union {
                struct {
                    bool is_unproven;  /* what a VMRUN may be refused for has changed since the last one that was not */
                    bool is_stepping;  /* one instruction runs alone: the next exit ends the step */
                    bool is_iret_next; /* the next instruction is the IRET that unmasks NMIs */
                    bool wants_nmi_window;
                };
                uint32_t special; /* any of them */
            };
            bool uses_avic;  /* always, where it does */
            uint8_t zero[3]; /* no padding in the word below */
        };
        uint64_t unusual; /* any of all these */
    };
    struct svm_backup backup;

    struct svm_step step;
    uint64_t code_mode;                           /* VCPU_CODE_*, of all pages of code that are known */
    uint64_t hidden_cr0, hidden_cr4, hidden_efer; /* bits of the guest's registers that the CPU's have otherwise */
    uint32_t window;                              /* of V_INTR: the interrupt window, when it is asked for */
    uint32_t v_intr;                              /* as it was at the last entry */
#define SVM_TPR_UNKNOWN BIT64(32)
    uint64_t tpr; /* the APIC page's, that V_INTR was made for; SVM_TPR_UNKNOWN: it has to be made anew */

    uint64_t entry_dr6; /* the guest's at the last entry */

    /* host state that exits do not restore, and svm_put does */
    uint64_t host_debugctl, host_dr6;

    uint64_t *apic_ids;   /* AVIC's table of physical IDs, a page; NULL: AVIC is not used */
    void *apic_others;    /* a page: the APIC that stands for those of all other VPs */
    hv_gpa_t apic_at;     /* as of the last entry: the page whose accesses AVIC takes to the APIC; 0: none */
    bool holds_apic_page; /* npt_hold */
    /* MSRs of x2APIC mode, bit n is 0x800 + n: those that the client wants to exit, and those that do not */
    uint64_t x2apic_read_exits, x2apic_write_exits;
    uint64_t x2apic_reads, x2apic_writes;
};

static inline struct svm_vcpu *to_svm(struct vcpu *v)
{
    return (struct svm_vcpu *)v;
}

/* The VMCB's fields named by the clean bits have changed: the CPU has to read them again. */
static inline void vmcb_touch(struct vmcb *vmcb, uint32_t clean_bits)
{
    vmcb->clean &= ~clean_bits;
}

/* Of segments' attributes, which are without the four bits of the limit in their midst. */
#define VMCB_SEG_L (SEG_L >> 4)

static inline bool vmcb_is_64bit_code(const struct vmcb *vmcb)
{
    return vmcb->efer & EFER_LMA && vmcb->cs.attributes & VMCB_SEG_L;
}

static inline bool vmcb_intercepts(const struct vmcb *vmcb, unsigned which)
{
    return vmcb->intercepts[which / 32] >> which % 32 & 1;
}

/* svm.c: capabilities of this machine; filled by the probe */
extern struct svm_caps svm_caps;
bool svm_probe(struct hv_platform *platform);
enum hv_status svm_cpu_on(struct backend_cpu *cpu);
void svm_cpu_off(struct backend_cpu *cpu);

static inline bool svm_has(uint32_t feature) /* CPUID_SVM_EDX_* */
{
    return svm_caps.features & feature;
}

/* vmcb.c */
struct vcpu *svm_vcpu_create(struct npt *npt);
void svm_vcpu_destroy(struct vcpu *v);
void svm_acquire(struct vcpu *v);
void svm_exit_on_msr(struct vcpu *v, uint32_t index, bool reads, bool writes);
void vmcb_intercept(struct vmcb *vmcb, unsigned which, bool on); /* enum vmcb_intercept */
void vmcb_check_asid(struct svm_vcpu *svm, bool flush);          /* the same, with TLB_KEEP there */
void svm_msrpm_allow(uint8_t *msrpm, uint32_t index, bool write, bool allow);

/* svm_apic.c */
uint32_t svm_apic_features(enum vcpu_apic_mode mode);
bool svm_apic_init(struct svm_vcpu *svm);          /* when all else of it is there; false: no memory */
void svm_apic_free(struct svm_vcpu *svm);          /* also of one that was not initialized */
void svm_apic_sync_controls(struct svm_vcpu *svm); /* VCPU_CONTROLS */
void svm_apic_fetch(struct vcpu *v);               /* VCPU_APIC */
void svm_apic_sync(struct vcpu *v);
void svm_apic_sync_eoi_exits(struct vcpu *v);                                             /* VCPU_EOI_EXIT */
bool svm_apic_exit_on_msr(struct svm_vcpu *svm, uint32_t index, bool reads, bool writes); /* false: not its MSR */
void svm_apic_before_entry(struct svm_vcpu *svm);                               /* before the check for flushes */
void svm_apic_exit_no_acceleration(struct svm_vcpu *svm, struct hv_exit *exit); /* EXIT_AVIC_NOACCEL */
void svm_apic_exit_incomplete_ipi(struct svm_vcpu *svm, struct hv_exit *exit);  /* EXIT_AVIC_INCOMPLETE_IPI */

/* npt_svm.c */
const struct npt_format *npt_svm_format(void);
void npt_svm_flush(struct svm_vcpu *svm); /* before an entry, interrupts off */

/*
 * Translations, the guest's and the nested ones together, are tagged with the ASID and live in a CPU's TLB: the vcpu
 * drops them when the tables have changed since it last did, and when it comes to another CPU, or has lost its ASID
 * there (which set flush_guest, as well). The generation is read after the bracket around the use of the tables was
 * entered, so a change is either seen here or its author waits for us.
 */
static inline bool npt_svm_has_changed(const struct vcpu *v)
{
    return __atomic_load_n(v->npt_generation, __ATOMIC_SEQ_CST) != v->npt_seen;
}

/* svm_regs.c */
#define SVM_CR0_HIDDEN (CR0_CD | CR0_NW) /* the CPU's are 0 */

static inline void svm_fetch_cr0(struct svm_vcpu *svm)
{
    svm->v.cr0 = (svm->vmcb->cr0 & ~SVM_CR0_HIDDEN) | svm->hidden_cr0 | CR0_ET;
    svm->v.valid |= VCPU_CR0;
}

void svm_fetch(struct vcpu *v, uint32_t groups);
void svm_advance(struct vcpu *v, uint8_t length);
uint32_t svm_mode(struct vcpu *v);
bool svm_takes_interrupts(struct vcpu *v);
void svm_context(struct vcpu *v, const struct hv_exit *exit, struct hv_exit_context *to);
void svm_sync(struct svm_vcpu *svm); /* dirty groups -> VMCB */
/* All of it, if that is only RIP and bits of control registers for which VMRUN is never refused. False: there is more.
 */
bool svm_sync_free(struct svm_vcpu *svm);
bool svm_wants_software_ints(const struct svm_vcpu *svm);
enum hv_status svm_raw_get(struct vcpu *v, uint32_t field, uint64_t *value);
enum hv_status svm_raw_set(struct vcpu *v, uint32_t field, uint64_t value);

/* svm_run.c */
void svm_load(struct vcpu *v);
void svm_put(struct vcpu *v);
unsigned svm_enter(struct vcpu *v, struct hv_exit *exit, const struct vcpu_exits *exits, struct hv_vp *owner);
bool svm_audit_next(struct vcpu *v, struct hv_audit_finding *out); /* of the entry that svm_enter would make */

/* svm_step.c */
void svm_step_before_entry(struct svm_vcpu *svm);
void svm_step_after_exit(struct svm_vcpu *svm, struct hv_exit *exit); /* of a step, or for IRET */
void svm_step_cancel(struct svm_vcpu *svm);                           /* the CPU has refused the entry */

/* svm_exit.c */
void svm_exit_describe(struct svm_vcpu *svm, struct hv_exit *exit);
void svm_exit_entry_failed(struct svm_vcpu *svm, struct hv_exit *exit);

#endif
