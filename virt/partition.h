/* SPDX-License-Identifier: MIT */
/* Partitions and virtual processors as virt/ sees them. */
#ifndef VIRT_PARTITION_H
#define VIRT_PARTITION_H

#include <arch/backend.h>
#include <hv/base/lock.h>
#include <hv/hv.h>
#include "property.h"

#define HV_MAX_VPS 64u /* processors of one partition */

/* IA32_MTRRCAP of every VP: 16 variable ranges (hv_mtrrs.base and mask), fixed ranges, write combining */
#define HV_MTRR_CAP 0x510ull

/*
 * Fields marked
 *   (c) are constant after set-up,
 *   (m) belong to partition.mutex,
 *   (o) belong to the VP's owner: the thread that claimed it (vp_claim),
 *   (a) are atomic, for any CPU.
 */
struct hv_partition {
    struct hv_mutex mutex;
    bool is_set_up;                  /* (m), set once */
    struct hv_properties properties; /* (c), but for those that may change later: written under (m) with no VP running, read by owners */
    struct npt npt;                  /* (m) for changes; walked inside npt_enter/npt_leave brackets */
    volatile uint64_t npt_generation; /* (a) */
    struct hv_vp *volatile vps[HV_MAX_VPS]; /* (m) to set, (a) to read; an object stays until the partition goes, see shared.references */
    uint64_t time_base_ns;           /* (c) hv_host_time_ns at set-up: reference time 0 */
};

/* What other CPUs may touch of a VP, in a cache line of its own. */
struct hv_vp_shared {
    volatile uint32_t owner;    /* (a) 1 while a thread has claimed the VP */
    volatile uint32_t requests; /* (a) VP_REQUEST_*; the one word tested before an entry */
    volatile uint32_t walking;  /* (a) nonzero while the VP's CPU uses the second-level tables: in the guest, or walking them */
    volatile uint32_t cpu;      /* (a) that CPU */
    volatile uint32_t wake;     /* (a) incremented to wake the VP's thread from hv_host_wait */
    volatile uint32_t references; /* (a) 0: no such VP now; VP_DYING: being deleted, no new ones; else 1 + users */
} __attribute__((aligned(64)));

#define VP_REQUEST_CANCEL (1u << 0)
#define VP_DYING          (1u << 31)

struct hv_vp {
    struct hv_vp_shared shared;
    struct hv_partition *partition; /* (c) */
    uint32_t index;                 /* (c) also the APIC id */
    struct vcpu *vcpu;              /* (o) */
    uint64_t activity;              /* (o) HV_ACTIVITY_* */
    uint64_t notifications;         /* (o) HV_NOTIFY_*: deliverability notifications asked for */
    uint64_t pending_event[2];      /* (o) HV_REG_PENDING_EVENT, not yet turned into vcpu->event */
    uint64_t apic_base;             /* (o) */
    uint64_t tsc_adjust;            /* (o) */
    struct hv_mtrrs {
        uint64_t def_type, fixed[11], base[16], mask[16];
    } mtrr;                         /* (o) */
    uint64_t misc_enable;           /* (o) */
    bool pdptes_stale;              /* (o) CR3 or a mode changed: load the PDPTEs before the next entry */
    bool properties_seen;           /* (o) controls are up to date with the partition's properties */
    bool triple_fault_valid, finding_valid; /* (o) the last run ended so */
    struct hv_triple_fault triple_fault; /* (o) */
    struct hv_vp_counters counters; /* (o) */
};

/* ----- claim.c */
bool vp_claim(struct hv_vp *vp); /* false: somebody else has it */
void vp_release(struct hv_vp *vp);
/* Claims all VPs, or none: no VP is inside a call from here until the release, and while p->mutex is held none is created. */
bool partition_claim_all(struct hv_partition *p);
void partition_release_all(struct hv_partition *p);

/* ----- partition.c, vp.c */
void vp_reset(struct hv_vp *vp); /* claimed */
void vp_free(struct hv_vp *vp);  /* claimed, as the partition goes */

/* After this no CPU uses translations from before. Takes effect on running VPs. Under partition.mutex; thread context. */
void partition_flush(struct hv_partition *p);

/* Pinned access to the registers of a claimed VP outside of a run: pin, vcpu_need, unpin. */
struct vcpu *vp_pin(struct hv_vp *vp);
void vp_unpin(struct hv_vp *vp);

/* ----- gpa.c: guest-physical memory as seen by the owner of a VP, also in the middle of a run */

/*
 * Copies up to a page's end and further; returns HV_E_ACCESS_DENIED (nothing or a part copied) when a page is not mapped with the right, or is not RAM.
 * Works with interrupts on or off; keeps them off for at most one page at a time.
 */
enum hv_status gpa_read(struct hv_vp *vp, hv_gpa_t gpa, void *data, size_t size);
enum hv_status gpa_write(struct hv_vp *vp, hv_gpa_t gpa, const void *data, size_t size);
/* Rights (NPT_*) of the page, 0 when mapped without any, -1 when unmapped. */
int gpa_rights(struct hv_vp *vp, hv_gpa_t gpa);
/* Atomically sets bits in a 64- or 32-bit entry if it still is `expected`; false: it changed, or is not writable RAM. size 4 or 8. */
bool gpa_set_bits(struct hv_vp *vp, hv_gpa_t gpa, unsigned size, uint64_t expected, uint64_t bits);

/* ----- gva.c: guest page walks; VCPU_CR0|CR3|CR4|EFER|RFLAGS|SS are fetched by these functions (pinned: call inside vp_pin or in a run) */
enum hv_translate_result gva_translate(struct hv_vp *vp, hv_gva_t gva, uint32_t flags, hv_gpa_t *gpa);
/* Reads bytes at CS:RIP for exit contexts; fewer, or none, where pages are missing. */
void gva_fetch_instruction(struct hv_vp *vp, struct hv_instruction *out);
/* Loads PDPTE0-3 from memory if the VP uses PAE paging; false: not readable. */
bool gva_load_pdptes(struct hv_vp *vp);

/* ----- run.c */
void run_prepare(struct hv_vp *vp); /* makes up for what a client changed since the last run; pinned */
void run_apply_notifications(struct hv_vp *vp); /* which windows exit, by vp->notifications */
bool run_enter_once(struct hv_vp *vp, struct hv_exit *exit); /* one entry, loaded; false: cancelled before it (and the request is still there) */

/* ----- exit handlers (virt/exit*.c) */
enum exit_outcome {
    EXIT_HANDLED,   /* run on */
    EXIT_TO_CLIENT, /* exit describes it */
};
typedef enum exit_outcome exit_handler(struct hv_vp *vp, struct hv_exit *exit);

exit_handler exit_cpuid, exit_msr, exit_cr, exit_xsetbv, exit_memory, exit_io, exit_exception, exit_window, exit_tpr, exit_triple_fault;

/* Tools for handlers. */
void exit_skip_instruction(struct hv_vp *vp, const struct hv_exit *exit); /* RIP += length, shadow ends, single-step trap pending if TF */
void exit_inject(struct hv_vp *vp, uint8_t vector);                      /* exception without error code */
void exit_inject_error(struct hv_vp *vp, uint8_t vector, uint32_t error_code);

/* ----- exit_cpuid.c */
void cpuid_result(struct hv_vp *vp, uint32_t leaf, uint32_t subleaf, struct hv_cpuid_output *out); /* pinned: looks at CR4 and XCR0 */

/* ----- exit_cr.c: also used when a client sets the registers */
bool cr4_is_valid(uint64_t cr4);
bool xcr0_is_valid(uint64_t xcr0);

/* ----- exit_msr.c */
bool pat_is_valid(uint64_t pat);
bool mtrr_type_is_valid(uint64_t type);
uint64_t vp_reference_time(struct hv_partition *p); /* 100 ns units */

/* ----- exit.c */
exit_handler *exit_handler_of(enum hv_exit_reason reason);
void exit_fill_context(struct hv_vp *vp, struct hv_exit *exit); /* pinned, before vcpu_put */
void exit_complete(struct hv_vp *vp, struct hv_exit *exit);     /* what is only known after vcpu_put: extended state */

#endif
