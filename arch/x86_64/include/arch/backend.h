/* SPDX-License-Identifier: MIT */
/*
 * What virt/ calls: the vendor-neutral functions of arch/x86_64/, and the table of operations that VMX and SVM each
 * implement.
 * A backend enters and describes what happened in the words of struct hv_exit. Whether it then enters again is not for
 * it to decide: it asks the vcpu's owner, who is nothing but a name here.
 */
#ifndef ARCH_BACKEND_H
#define ARCH_BACKEND_H

#include <arch/posted.h>
#include <arch/vcpu.h>
#include <hv/hv.h>

/* What a backend keeps of each CPU while virtualization is on. */
struct backend_cpu {
    uint32_t id;
    void *region; /* a page for the CPU: VMXON region, host save area */
    hv_hpa_t region_pa;
    void *state; /* a page for the host's state that VMSAVE saves; NULL: the backend wants none */
    hv_hpa_t state_pa;
    struct vcpu *current;  /* who has acquired it last; whose control structure is current here */
    struct vcpu *resident; /* whose registers are in the CPU: see vcpu_load; NULL: the host's */
    bool keeps_resident;   /* (hv_host_takes_back) they stay there after a run */
    uint64_t saved_cr0, saved_cr4, saved_efer, saved_vm_cr, saved_tsc_ratio;
    struct {
        uint64_t generation; /* counts the times that all ASIDs were handed out */
        uint32_t next;
    } asid;
    uint64_t tsc_difference; /* how much its TSC is ahead of the machine's: see tsc.c */
    enum hv_status status;   /* of the last cpu_on */
    struct posted_cpu posted;
} __attribute__((aligned(64)));

#define VCPU_MODE_CPL       0x3u
#define VCPU_MODE_64BIT     (1u << 2)
#define VCPU_MODE_PROTECTED (1u << 3) /* and not virtual-8086 mode */

/*
 * What is to follow an exit: the next entry, that with the instruction stepped over (as by `advance`), or the end of
 * the entries; numbers from VCPU_END on are the owner's, who decides.
 */
enum { VCPU_ENTER, VCPU_SKIP, VCPU_LEAVE, VCPU_END };
typedef unsigned vcpu_exited(struct hv_vp *owner, struct hv_exit *exit);

/* What a vcpu's owner has done about exits. */
struct vcpu_exits {
    vcpu_exited *by_reason[HV_EXIT_REASON_COUNT];
    vcpu_exited *of_unknown_length; /* instead, by an instruction of which the CPU does not say how long it is */
    vcpu_exited *stopped;           /* before the next entry, while vcpu.requests or vcpu.due is not 0 */
};

struct hv_backend {
    const char *name;
    enum hv_vendor vendor;
    bool wants_state;     /* backend_cpu.state */
    bool has_pdptes;      /* VCPU_PDPTE: PAE paging goes by registers; else the CPU reads the PDPTEs in memory */
    bool loads_dr6;       /* entries load DR6 and exits save it (VCPU_DR6), as they do with DR7 on all CPUs */
    bool switches_msrs;   /* entries load all of vcpu.msr[] but TSC_AUX, and exits load the host's (VCPU_MSRS) */
    uint8_t hypercall[3]; /* the instruction that guests call the hypervisor by */
    const struct npt_format *(*npt_format)(void); /* for this CPU's capabilities */

    bool (*is_offered)(void); /* does CPUID have it at all? */

    /* Does the CPU offer what is needed? On refusal writes one line that names what is missing. Any CPU. */
    bool (*probe)(struct hv_platform *platform);

    /* Turns virtualization on and off on the current CPU, with interrupts off. */
    enum hv_status (*cpu_on)(struct backend_cpu *cpu);
    void (*cpu_off)(struct backend_cpu *cpu);

    struct vcpu *(*vcpu_create)(struct npt *npt); /* all registers zero; thread context; NULL: no memory */
    void (*vcpu_destroy)(struct vcpu *v);         /* thread context */

    /*
     * Pinned. Between the two the vcpu belongs to this CPU and all its state may be accessed. No FPU, MSR or debug
     * state is switched here.
     */
    void (*acquire)(struct vcpu *v);                /* make its control structure current here: see vcpu_acquire */
    void (*fetch)(struct vcpu *v, uint32_t groups); /* hardware -> vcpu, only after acquire, while still pinned */

    /*
     * Over an instruction that the core has done for the guest: RIP moves on, and what ends with an instruction does.
     * See vcpu_step_over.
     */
    void (*advance)(struct vcpu *v, uint8_t length);
    /* VCPU_MODE_* of the code that has exited. Right after an exit, before anything was changed; fetches no groups. */
    uint32_t (*mode)(struct vcpu *v);
    /*
     * After acquire: is RFLAGS.IF set, and neither a shadow nor a debug trap in the way of an interrupt? Fetches no
     * groups, unless one of those that say so is valid already.
     */
    bool (*takes_interrupts)(struct vcpu *v);
    /*
     * In a walk bracket.
     * learn_code: where the code at CS:RIP is, which is at that offset in its page, or that it is to be forgotten; from
     * then on the backend knows the page again, right after an exit.
     * code: the host's address of the byte at CS:RIP, which is in the page vcpu.code.last. NULL: it is not known.
     */
    void (*learn_code)(struct vcpu *v, const struct vcpu_code *code, uint64_t offset);
    const uint8_t *(*code)(struct vcpu *v);
    /*
     * For the client, whose memory `to` is, which is written and not read: to->vp, and of HV_EXIT_IO the segments.
     * After acquire, while still pinned.
     */
    void (*context)(struct vcpu *v, const struct hv_exit *exit, struct hv_exit_context *to);

    /*
     * The entry bracket around any number of entries: host state that the hardware restores at each exit, and that
     * only leave restores. Pinned.
     */
    void (*load)(struct vcpu *v);
    void (*put)(struct vcpu *v);

    /*
     * Entries, between load and put, with interrupts off, until the owner says that it is the end: its last word is
     * returned. VCPU_LEAVE may be the backend's own: interrupts have to be let in.
     */
    unsigned (*enter)(struct vcpu *v, struct hv_exit *exit, const struct vcpu_exits *exits, struct hv_vp *owner);

    /*
     * Makes a guest's accesses exit (or not, again) to an MSR that it may use directly; all others always exit. While
     * the VP is not entered.
     */
    void (*exit_on_msr)(struct vcpu *v, uint32_t index, bool reads, bool writes);

    /* What the CPU does of local APICs, for VPs whose controls.apic_mode is this one: VCPU_APIC_* below. */
    uint32_t (*apic_features)(enum vcpu_apic_mode mode);

    /*
     * Would the CPU refuse the next entry, and by which rule? Enters nothing; after acquire. NULL: no auditor for
     * this CPU.
     */
    bool (*audit)(struct vcpu *v, struct hv_audit_finding *out);

    enum hv_status (*raw_get)(struct vcpu *v, uint32_t field, uint64_t *value); /* after acquire */
    enum hv_status (*raw_set)(struct vcpu *v, uint32_t field, uint64_t value);
};

/* Accesses to the registers that need no more than the page are done by the CPU; others exit (HV_EXIT_APIC_WRITE). */
#define VCPU_APIC_REGISTERS (1u << 0)
/* The CPU delivers the interrupts that rvi and the page's IRR say, and does EOIs; those of eoi_exit exit. */
#define VCPU_APIC_DELIVERY  (1u << 1)
/*
 * In xAPIC mode the page at apic_access_pa has to be mapped where the registers are: accesses to it reach the APIC, or
 * exit as HV_EXIT_MEMORY.
 */
#define VCPU_APIC_ACCESS    (1u << 2)
/* A CPU that delivers takes interrupts of vcpu.posted by itself, too, where controls.takes_posted says so. */
#define VCPU_APIC_POSTED    (1u << 3)

extern const struct hv_backend vmx_backend, svm_backend;

/* The backend of this machine; never called before backend_probe said yes. */
const struct hv_backend *backend(void);
const struct hv_platform *backend_probe(void); /* see hv_platform */

/* The current CPU's; pinned or with interrupts off, while virtualization is on. */
struct backend_cpu *backend_cpu(void);
struct backend_cpu *backend_cpu_of(uint32_t cpu);

/*
 * One user more or less of virtualization on this machine; the first turns it on on all CPUs, the last off. Thread
 * context.
 */
enum hv_status backend_on(void);
void backend_off(void);

void vcpu_acquire_anew(struct vcpu *v);

/* Pinned, or with interrupts off: is the vcpu this CPU's, so that it need not be acquired? Mostly it is. */
static inline bool vcpu_is_here(const struct vcpu *v)
{
    const struct backend_cpu *cpu = backend_cpu();

    return v->cpu == cpu && cpu->current == v;
}

/* Pinned, interrupts on: makes the vcpu this CPU's. */
static inline void vcpu_acquire(struct vcpu *v)
{
    if (!vcpu_is_here(v))
        vcpu_acquire_anew(v);
}

/* Registers of a vcpu: pinned, after vcpu_acquire. */
static inline void vcpu_need(struct vcpu *v, uint32_t groups)
{
    if (groups & ~v->valid)
        backend()->fetch(v, groups & ~v->valid);
}

/* Marks whole groups as set by the core. Any time the vcpu is not being entered. */
static inline void vcpu_changed(struct vcpu *v, uint32_t groups)
{
    v->valid |= groups;
    v->dirty |= groups;
}

struct vcpu *vcpu_create(struct npt *npt, const volatile uint64_t *npt_generation); /* nothing stops it */
void vcpu_destroy(struct vcpu *v);

/* vcpu_step.c: all of advance, by way of the cache; and what is left of it when RIP has moved already. */
void vcpu_step_over(struct vcpu *v, uint8_t length);
void vcpu_retire_instruction(struct vcpu *v);

/* vcpu_step.c: takes_interrupts by way of the cache. */
#define VCPU_INTERRUPT_GROUPS (VCPU_RFLAGS | VCPU_INTR)
bool vcpu_takes_interrupts(struct vcpu *v);

/*
 * vcpu_mov_cr.c: right after an exit for an access to a control register. Is the instruction, whose first bytes these
 * are, a MOV to or from it with no prefix but REX? Then all that there is to know of it is in *exit; else nothing is.
 */
bool vcpu_find_mov_cr(struct vcpu *v, struct hv_exit *exit, uint32_t bytes, bool is_64bit);

/* Not inside a run. Thread context or pinned, interrupts on. */
void vcpu_init(struct vcpu *v);  /* the INIT signal: SDM 3A table 10-1 */
void vcpu_reset(struct vcpu *v); /* start state of a VP: see whp-facts, "Start state"; tsc_offset stays */

/*
 * resident.c: the outer bracket of a run. From load to put the CPU has the guest's registers: FPU, MSRs, debug
 * registers and what else of the host's an exit does not restore. Pinned in between; each with interrupts off, after
 * acquire. After put they may stay in the CPU, that is v->loaded, until somebody else needs it.
 */
void vcpu_make_resident(struct vcpu *v);
void vcpu_end_residence(struct vcpu *v);

static inline void vcpu_load(struct vcpu *v)
{
    if (v->cpu->resident != v)
        vcpu_make_resident(v);
}

static inline void vcpu_put(struct vcpu *v)
{
    if (!v->cpu->keeps_resident)
        vcpu_end_residence(v);
}

/*
 * Outside of a run: fetches all registers that a CPU still has, which are here from then on. By the owner; thread
 * context or pinned, interrupts on.
 */
void vcpu_take_off(struct vcpu *v);

#define VCPU_XMM_WORDS 12 /* of those XMM registers that hypercalls use */

/* Of the guest, also while the vcpu is loaded: they look at, or write through to, what the CPU holds. */
uint64_t vcpu_read_msr(struct vcpu *v, enum vcpu_msr which);
void vcpu_write_msr(struct vcpu *v, enum vcpu_msr which, uint64_t value);
uint64_t vcpu_read_xcr0(struct vcpu *v);
void vcpu_read_xmm(const struct vcpu *v, uint64_t xmm[VCPU_XMM_WORDS]); /* XMM0 to XMM5; only while loaded */
void vcpu_write_xcr0(struct vcpu *v, uint64_t value);

/* CR4 bits that fpu.c needs while virtualization is on: OSFXSR, and OSXSAVE where the CPU has XSAVE. */
uint64_t fpu_cr4_bits(void);

/*
 * Puts the guest's debug registers into the CPU's, so that the guest may use them without exits. Between load and
 * put.
 */
void vcpu_use_debug_registers(struct vcpu *v);

/* What CPUs of one make have in common, without a bit of CPUID that says so: cpu_facts.make */
#define CPU_MAKE_CRYSTAL   BIT32(0) /* CPUID 15H is where guests look for the rates of the TSC and the APIC timer */
#define CPU_MAKE_CORES     BIT32(1) /* CPUID 8000_0001H and 8000_0008H tell how many cores there are */
#define CPU_MAKE_LOW_MSRS  BIT32(2) /* FEATURE_CONTROL, MISC_ENABLE, ARCH_CAPABILITIES and their like */
#define CPU_MAKE_HIGH_MSRS BIT32(3) /* SYSCFG, HWCR and their like, from C001_0000H on */

/* Facts of this CPU that policy needs. */
struct cpu_facts {
    uint32_t make;               /* CPU_MAKE_* */
    uint64_t microcode_revision; /* of the latest microcode there could be, where guests read it */
    uint32_t max_leaf, max_ext_leaf;
    uint8_t physical_bits, linear_bits; /* linear_bits: 48, or 57 with LA57 */
    uint64_t xcr0_allowed;              /* what a guest may set in XCR0; 0: no XSAVE for guests */
    uint32_t xsave_size;                /* of the standard-format area for xcr0_allowed; at least 512 + 64 */
    uint64_t tsc_hz;                    /* measured or from CPUID; never 0 after probe */
    bool tsc_leaf_is_true;              /* CPUID 15H says the same */
    uint64_t cr4_allowed;               /* CR4 bits that a guest may set */
    uint64_t efer_allowed;
    uint64_t guest_physical_limit; /* one past the last guest-physical address */
    bool has_rdtscp;               /* RDTSCP and IA32_TSC_AUX */
    uint32_t avoid;                /* HV_AVOID_*: what the host said is broken */
};
const struct cpu_facts *cpu_facts(void);
void cpu_find_facts(uint32_t avoid); /* backend.c, once; HV_AVOID_* */

/* For the widest linear address that this CPU knows, whatever CR4.LA57 says: as the CPU checks values of MSRs. */
static inline bool cpu_is_canonical(uint64_t address)
{
    unsigned unused = 64u - cpu_facts()->linear_bits;

    return (uint64_t)((int64_t)(address << unused) >> unused) == address;
}

void cpu_cpuid(uint32_t leaf, uint32_t subleaf, struct hv_cpuid_output *out);
uint64_t cpu_tsc(void); /* of this CPU: others may differ */

/*
 * tsc.c: the machine's TSC, the same on all CPUs, that vcpu.tsc_offset is added to; what the hardware has to add to
 * this CPU's; and the guest's TSC now. Pinned, while virtualization is on; vcpus after acquire.
 */
uint64_t tsc_now(void);
uint64_t vcpu_tsc_offset(const struct vcpu *v);
uint64_t vcpu_guest_tsc(const struct vcpu *v);

#endif
