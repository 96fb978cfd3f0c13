/* SPDX-License-Identifier: MIT */
/* Partitions and virtual processors as virt/ sees them. */
#ifndef VIRT_PARTITION_H
#define VIRT_PARTITION_H

#include "exit_length.h"
#include "exit_mov_types.h"
#include "lapic.h"
#include "overlay_types.h"
#include "property.h"
#include "tlfs.h"
#include "vpci_table.h"
#include <arch/backend.h>
#include <arch/bits/seg.h>
#include <hv/base/bits.h>
#include <hv/base/lock.h>
#include <hv/hv.h>

#define HV_MAX_VPS 64u /* processors of one partition */

/* IA32_MTRRCAP of every VP: 16 variable ranges (hv_mtrrs.base and mask), fixed ranges, write combining */
#define HV_MTRR_CAP 0x510ull

/* How the partition's time follows the host's: see time.h. */
struct clock {
    uint64_t is_suspended;
    uint64_t host_zero;                 /* hv_host_time_ns and tsc_now, when the time was 0 or would have been */
    uint64_t tsc_zero;                  /*   if it had never stood still */
    uint64_t stopped_ns, stopped_ticks; /* what it is while suspended */
    uint64_t is_apart;                  /* VPs' TSCs are not in step */
    uint64_t tsc_shift;                 /* of all VPs, when they last were */
    uint64_t reference_offset;          /* of the formula: reference time = (guest's TSC * scale >> 64) + offset */
    uint64_t reference_base;            /* what the client has added to it */
};

/*
 * Fields marked
 *   (c) are constant after set-up,
 *   (m) belong to partition.mutex,
 *   (o) belong to the VP's owner: the thread that claimed it (vp_claim),
 *   (a) are atomic, for any CPU.
 */
struct hv_partition {
    struct hv_mutex mutex;
    bool is_set_up; /* (m), set once */
    /* (c), but for those that may change later: written under (m) with no VP running, read by owners */
    struct hv_properties properties;
    struct npt npt;                   /* (m) for changes; walked inside npt_enter/npt_leave brackets */
    volatile uint64_t npt_generation; /* (a) */
    /* (m) to set, (a) to read; an object stays until the partition goes, see shared.references */
    struct hv_vp *volatile vps[HV_MAX_VPS];
    struct {                        /* see time.h */
        struct hv_spin lock;        /* of whoever changes `clock` */
        volatile uint32_t version;  /* (a) odd while that is going on */
        struct clock clock;         /* (a) */
        uint64_t scale;             /* (c) 100 ns for a tick of the TSC, 0.64 */
        uint32_t tsc_page_sequence; /* under `lock` */
    } time;
    struct { /* the guest's interface to the hypervisor: (a), as VPs share it */
        volatile uint64_t guest_os_id, hypercall, reference_tsc;
        void *hypercall_page, *tsc_page;               /* (c) NULL: not offered */
        struct overlay hypercall_overlay, tsc_overlay; /* (m) */
    } guest;
    struct overlay *overlays;     /* (m) those that show: a tree, see overlay.c */
    struct doorbells *doorbells;  /* (a) for readers in a walk bracket, (m) to change; NULL: none */
    volatile uint64_t bells_gone; /* (a) how many were taken away: before the flush that they wait for */
    struct ports *ports;          /* the same */
    struct hv_trigger *triggers;  /* (m) */
    /*
     * (c) With local APICs: a page that stands in the second-level tables where their registers are, for CPUs that ask
     * for one there. To a VP whose APIC is off, moved or in x2APIC mode it is memory, shared with the others like it;
     * on some CPUs not while a VP needs its accesses to exit. NULL, HV_HPA_NONE: not used.
     */
    void *apic_access;
    hv_hpa_t apic_access_pa;
    const struct gpa_follower *follower; /* (m) of the client's memory map; NULL: nothing follows it */
    struct gpa_withdrawal *withdrawn;    /* (m) pages of the host's that the client can not map */
    struct {                             /* see vpci_dma.h: (m) */
        struct npt_cover apic;           /* what is mapped where local APICs have their registers */
        struct iommu_domain *domain;     /* where the devices' DMA goes; NULL: there are none that could do any */
        uint32_t users;
        bool has_been; /* there was such a device: its writes are in no dirty bit */
    } dma;
    struct {                   /* see vpci.h */
        struct hv_mutex mutex; /* for devices that come and go; taken before the partition's */
        struct vpci_table devices;
    } vpci;
    volatile uint32_t lowest_turn; /* (a) who gets the next interrupt of lowest priority */
};

/* Of the synthetic interrupt controller: see synic.h. */
struct synic {
    volatile uint64_t control, simp, siefp, sint[HV_SYNIC_SINTS]; /* (a) written by the owner */
    struct hv_message *messages; /* (c) a page; slots are filled under `lock`, and freed by the guest */
    volatile uint64_t *flags;    /* (c) a page: 2048 bits for each SINT */
    struct hv_spin lock;
    struct overlay message_page, flag_page; /* (m) */
    uint32_t waiting;                       /* under `lock`: SINTs whose slot somebody has found taken */
};

/* Synthetic timers: see stimer.h. (o) */
struct stimers {
    struct stimer {
        uint64_t config, count;
        uint64_t due;        /* periodic: when the period ends, in time_elapsed */
        uint64_t not_before; /* the same: not to be late for periods that were missed all at once */
        uint64_t expiration; /* of the message that is not delivered yet, in reference time */
        bool is_counting;    /* enabled, and `count` or `due` is to come */
        bool is_undelivered; /* there is that message */
        bool is_blocked;     /* its slot was taken: stimer_retry */
    } timer[HV_STIMERS];
    uint32_t active;  /* bit n: there is something to do for timer n, at its time */
    uint32_t blocked; /* bit n: its message waits for stimer_retry */
};

/* What other CPUs may touch of a VP, in a cache line of its own. */
struct hv_vp_shared {
    volatile uint32_t owner;    /* (a) VP_OWNER_* */
    volatile uint32_t requests; /* (a) VP_REQUEST_*; the one word tested before an entry */
    /* (a) nonzero while the VP's CPU uses the second-level tables: in the guest, or walking them */
    volatile uint32_t walking;
    volatile uint32_t cpu; /* (a) that CPU */
    /*
     * (a) 1 while the owner runs the guest or does an instruction of its, with translations of addresses as they were
     * when it began. It takes requests only between two instructions.
     */
    volatile uint32_t working;
    volatile uint32_t wake;       /* (a) incremented to wake the VP's thread from hv_host_wait */
    volatile uint32_t waiting;    /* (a) that thread sleeps there, or is about to */
    volatile uint32_t references; /* (a) 0: no such VP now; VP_DYING: being deleted, no new ones; else 1 + users */
} __attribute__((aligned(64)));

#define VP_OWNER_NONE  0u
#define VP_OWNER_ONE   1u /* a thread has claimed the VP */
#define VP_OWNER_NO_VP 2u /* the VP was deleted, or is not there yet: nobody can claim it */

#define VP_REQUEST_CANCEL    (1u << 0)
#define VP_REQUEST_INTERRUPT (1u << 1) /* there is something in the inbox's vectors */
#define VP_REQUEST_NMI       (1u << 2)
#define VP_REQUEST_INIT      (1u << 3)
#define VP_REQUEST_SIPI      (1u << 4)
#define VP_REQUEST_FLUSH     (1u << 5) /* drop the guest's translations before the next entry */
#define VP_REQUEST_POSTED    (1u << 6) /* devices may have posted interrupts */
#define VP_REQUEST_SIGNAL    (1u << 7) /* inbox.signals */
#define VP_REQUEST_ROUTES    (1u << 8) /* devices' interrupts may have to go elsewhere: vpci_follow */
#define VP_REQUEST_RESTART   (VP_REQUEST_INIT | VP_REQUEST_SIPI)
#define VP_DYING             (1u << 31)

/* Interrupts from other CPUs, until the owner takes them in; and what others have to know to send them. */
struct hv_vp_inbox {
    volatile uint64_t vectors[4];     /* (a) bit n of word n / 64: vector n */
    volatile uint64_t level[4];       /* (a) their trigger mode, written before the vector's bit */
    volatile uint32_t nmis;           /* (a) how many have come, with VP_REQUEST_NMI */
    volatile uint32_t sipi;           /* (a) the startup vector */
    volatile uint32_t signals;        /* (a) VP_SIGNAL_* */
    volatile uint64_t ext_ints[2][4]; /* (a) vectors of the ExtInts that came through LINT0 and LINT1 */
    volatile uint64_t readers;        /* (a) bit n: VP n wants to read a register, see irq_signal.c */
    volatile uint64_t read, answer;   /* (a) of this one's remote read */
    /* (a) of the local APIC's registers, written by the owner: see struct lapic_address */
    volatile uint32_t ldr, dfr, mode; /* mode: VP_APIC_* */
} __attribute__((aligned(64)));

#define VP_SIGNAL_LINT(n) (1u << (n)) /* LINT0, LINT1 are asserted, with a vector in ext_ints */
#define VP_SIGNAL_EXT_INT (1u << 2)   /* the PIC, which is connected to LINT0, has one; ext_ints[0] */
#define VP_SIGNAL_SMI     (1u << 3)
#define VP_SIGNAL_READ    (1u << 4) /* readers */
#define VP_SIGNAL_ANSWER  (1u << 5) /* answer */

#define VP_APIC_ENABLED (1u << 0)
#define VP_APIC_X2APIC  (1u << 1)

/* What has to be looked at before the next entry. */
#define VP_TODO_INTERRUPTS (1u << 0) /* which interrupt is next */
#define VP_TODO_TIMER      (1u << 1) /* when the timer is due */
#define VP_TODO_EOI        (1u << 2) /* the client has to hear of an EOI: apic_eoi */
#define VP_TODO_SINTS      (1u << 3) /* which of the SINTs that the client waits for are free */
#define VP_TODO_TRAP       (1u << 4) /* the client has to hear of a write to its APIC, or of an SMI: trap, smi_pending */
#define VP_TODO_EVENT      (1u << 5) /* there is a pending_event: see vp_set_pending_event */

/* hv_vp.due, if there is nothing but that. */
#define VP_DUE(todo) ((uint64_t)(todo) << 32)

struct hv_vp {
    struct hv_vp_shared shared;
    struct hv_vp_inbox inbox;
    struct hv_partition *partition; /* (c) */
    uint32_t index;                 /* (c) also the APIC id */
    struct vcpu *vcpu;              /* (o) */
    uint64_t notifications;         /* (o) HV_NOTIFY_*: deliverability notifications asked for */
    uint64_t pending_event[2];      /* (o) HV_REG_PENDING_EVENT, not yet turned into vcpu->event */
    union {                         /* (o) what keeps the VP from its next entry */
        struct {
            union { /* ... and has to be made up for before a run */
                struct {
                    bool overlays_stale;   /* see overlay_apply */
                    bool pdptes_stale;     /* CR3 or a mode changed: load the PDPTEs before the next entry */
                    bool properties_stale; /* controls are not up to date with the partition's properties */
                    bool time_stale;       /* the partition's time was suspended: see time_enter */
                };
                uint32_t stale; /* any of them */
            };
            uint16_t todo;    /* VP_TODO_* */
            uint8_t activity; /* HV_ACTIVITY_* */
            uint8_t zero;     /* no padding in the word below */
        };
        uint64_t due; /* any of it: vcpu->due */
    };
    bool has_apic;    /* (c) the core emulates a local APIC for it */
    uint8_t apic_eoi; /* (o) vector of VP_TODO_EOI */
    union {           /* (o) why the next interrupt may be another than what the local APIC has next */
        struct {
            uint8_t nmi_pending; /* how many wait: see limit_of_nmis */
            bool has_ext_ints;   /* there are some in ext_ints */
            bool assist_enabled; /* by assist_msr */
            bool assist_offered; /* see assist.h: the guest may end what is in service by the page */
        };
        uint32_t unusual; /* any of them */
    };
    uint64_t auto_eoi[4];           /* (o) see irq_auto_eoi_changed */
    uint64_t eoi_wanted[4];         /* (o) vectors whose EOIs the core has to hear of, whatever their trigger mode */
    uint64_t ext_ints[4];           /* (o) ExtInts that wait for RFLAGS.IF: bit n of word n / 64 is vector n */
    uint32_t read_tag;              /* (o) of the last remote read */
    bool smi_pending;               /* (o) */
    struct {                        /* (o) */
        enum hv_exit_reason reason; /* HV_EXIT_NONE: no trap */
        uint16_t offset;
        uint64_t value; /* written, or the ICR */
    } trap;
    struct { /* (o) what the local APIC needs to hear of: see run_apply_windows */
        bool interrupt_window, nmi_window;
        uint8_t tpr_threshold;
    } wanted;
    const struct msr *msr_hint[16]; /* (o) of exit_msr.c's table, by the index's lower bits: see exit_msr_forget */
    struct {           /* (o) a page that is not mapped as long as npt_generation is this: see gpa_is_hole */
        hv_gpa_t page; /* as GPA_HOLE has it */
        uint64_t generation;
    } hole;
    struct { /* (o) the bell there, in such a page, as long as both counts are these: see doorbell_in_hole */
        const struct bell *bell;
        hv_gpa_t gpa;
        uint64_t generation, gone;
    } bell;
    struct exit_mov movs[EXIT_MOVS]; /* (o) */
    struct exit_length length;       /* (o) */
    struct lapic lapic;              /* (o) without has_apic only its base counts */
    struct synic synic;
    struct stimers stimers;
    uint64_t tsc_zero_seen; /* (o) of the partition's clock: what the TSC offset is made for */
    uint64_t tsc_shift;     /* (a) how far the TSC is ahead of the partition's time, in ticks */
    struct overlay assist;  /* (m) the VP assist page */
    uint64_t assist_msr;    /* (o) */
    void *assist_page;      /* (c) NULL: not offered */
    uint64_t run_deadline;  /* (o) host TSC, by hv_vp_set_run_deadline; 0: none */
    uint64_t host_timer;    /* (o) host TSC: when hv_host_timer interrupts this CPU for the VP; 0: not at all */
    uint64_t tsc_adjust;    /* (o) */
    struct hv_mtrrs {
        uint64_t def_type, fixed[11], base[16], mask[16];
    } mtrr;                                 /* (o) */
    uint64_t misc_enable;                   /* (o) */
    bool triple_fault_valid, finding_valid; /* (o) the last run ended so */
    struct hv_triple_fault triple_fault;    /* (o) */
    struct hv_vp_counters counters;         /* (o) but for exits, migrations and run_100ns */
    uint64_t run_ticks;                     /* (o) of the host TSC: counters.run_100ns */
    uint64_t run_begin;                     /* (o) when the bracket began that is to be added to them; 0: none */
    uint64_t runtime_base;                  /* (o) what the guest's register has more than run_ticks, in 100 ns */
};

_Static_assert(offsetof(struct hv_vp, todo) - offsetof(struct hv_vp, due) == 32 / 8, "VP_DUE");
/* The functions of the API, when they are linked with the library as one, spare themselves a call. */
#define INLINE_IN_API __attribute__((always_inline))

/* ----- claim.c */
bool vp_claim(struct hv_vp *vp); /* false: see vp_unclaimed */
void vp_release(struct hv_vp *vp);
enum hv_status vp_unclaimed(const struct hv_vp *vp); /* why not: HV_E_VP_BUSY, HV_E_VP_NOT_FOUND */
/*
 * Claims all VPs, or none: no VP is inside a call from here until the release, and while p->mutex is held none is
 * created.
 */
bool partition_claim_all(struct hv_partition *p);
void partition_release_all(struct hv_partition *p);

/* ----- partition.c, vp.c */
uint64_t vp_ticks_to_100ns(uint64_t ticks);          /* of the host TSC */
void vp_reset(struct hv_vp *vp);                     /* claimed, under partition.mutex */
void vp_request(struct hv_vp *vp, uint32_t request); /* VP_REQUEST_*; seen before the next entry. Any context */
void vp_free(struct hv_vp *vp);                      /* claimed, as the partition goes */

/*
 * After this no CPU uses translations from before. Takes effect on running VPs. Under partition.mutex; thread
 * context.
 */
void partition_flush(struct hv_partition *p);

/*
 * Owner: vcpu.event has become one that is new to the guest, as opposed to one whose delivery was interrupted. INT n is
 * the guest's own doing.
 */
static inline void vp_count_event(struct hv_vp *vp)
{
    uint64_t event = vp->vcpu->event, type = FIELD_GET(HV_PENDING_INT_TYPE, event);

    if (type == HV_INT_TYPE_EXTERNAL || type == HV_INT_TYPE_NMI) {
        vp->counters.events.interrupts++;
    } else if (type != HV_INT_TYPE_SOFTWARE) {
        vp->counters.events.exceptions++;
        vp->counters.events.page_faults += FIELD_GET(HV_PENDING_INT_VECTOR, event) == VEC_PF;
    }
}

/* Owner: HV_REG_PENDING_EVENT. Without HV_PENDING_EVENT_VALID there is none. */
static inline void vp_set_pending_event(struct hv_vp *vp, uint64_t low, uint64_t high)
{
    bool valid = low & HV_PENDING_EVENT_VALID;

    vp->pending_event[0] = valid ? low : 0;
    vp->pending_event[1] = valid ? high : 0;
    vp->todo = (vp->todo & ~VP_TODO_EVENT) | (valid ? VP_TODO_EVENT : 0);
}

/* Pinned access to the registers of a claimed VP outside of a run: pin, vcpu_need, unpin. */
struct vcpu *vp_pin(struct hv_vp *vp);
void vp_unpin(struct hv_vp *vp);

#endif
