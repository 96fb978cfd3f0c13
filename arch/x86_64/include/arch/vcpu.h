/* SPDX-License-Identifier: MIT */
/*
 * One virtual CPU as the core sees it: a cache of its registers in front of the hardware's control structure, and
 * what the core wants of the next entry.
 *
 * Register state moves by groups. A group's bit in `valid` says that the fields here are the guest's; else the
 * hardware holds them and vcpu_need fetches them. A bit in `dirty` says that the hardware has to be given them before
 * the next entry. So an exit that needs RIP only reads RIP, and an entry after which nothing was changed writes
 * nothing.
 *
 *     vcpu_need(v, VCPU_RIP | VCPU_CS);   ... v->rip ...          read
 *     v->rip += n; vcpu_changed(v, VCPU_RIP); write (whole groups: need first unless all fields of the group are set)
 */
#ifndef ARCH_VCPU_H
#define ARCH_VCPU_H

#include <arch/code.h>
#include <arch/npt.h>
#include <hv/audit.h>
#include <hv/exit.h>
#include <hv/regs.h>
#include <hv/types.h>

/* segments in the order of enum hv_reg */
enum vcpu_seg { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_LDTR, SEG_TR, SEG_COUNT };

/* clang-format off */
/* general registers by their number in instructions and in enum hv_reg */
enum vcpu_gpr {
    GPR_RAX, GPR_RCX, GPR_RDX, GPR_RBX, GPR_RSP, GPR_RBP, GPR_RSI, GPR_RDI,
    GPR_R8, GPR_R15 = 15, GPR_COUNT
};
/* clang-format on */

/* register groups */
#define VCPU_RIP      (1u << 0)
#define VCPU_RSP      (1u << 1)
#define VCPU_RFLAGS   (1u << 2)
#define VCPU_CR0      (1u << 3)
#define VCPU_CR3      (1u << 4)
#define VCPU_CR4      (1u << 5)
#define VCPU_EFER     (1u << 6)
#define VCPU_INTR     (1u << 7) /* interrupt shadow, NMI masking, pending debug exceptions */
#define VCPU_TABLES   (1u << 8) /* IDTR, GDTR */
#define VCPU_DR7      (1u << 9)
#define VCPU_SYSENTER (1u << 10)
#define VCPU_PAT      (1u << 11)
#define VCPU_PDPTE    (1u << 12) /* read back after exits; loaded by the core when the guest uses PAE paging */
#define VCPU_CR8      (1u << 13)
#define VCPU_TSC      (1u << 14) /* tsc_offset; never fetched */
#define VCPU_CONTROLS (1u << 15) /* struct vcpu_controls; never fetched */
#define VCPU_SEG(s)   (1u << (16 + (s)))
#define VCPU_CS       VCPU_SEG(SEG_CS)
#define VCPU_SS       VCPU_SEG(SEG_SS)
#define VCPU_SEGS     (0xffu << 16)
#define VCPU_APIC     (1u << 24) /* rvi, svi: only while the hardware delivers interrupts */
#define VCPU_EOI_EXIT (1u << 25) /* eoi_exit; never fetched */
#define VCPU_DR6      (1u << 26)
#define VCPU_MSRS     (1u << 27) /* of msr[]: with hv_backend.switches_msrs */
#define VCPU_ALL      (0x00ffffffu | VCPU_DR6 | VCPU_MSRS)
/* groups that a running guest can not change behind our back: never invalidated by an entry */
#define VCPU_STICKY   (VCPU_TSC | VCPU_CONTROLS | VCPU_EOI_EXIT)

/* How a guest reaches its local APIC; what the hardware then does of it is the backend's choice by its capabilities. */
enum vcpu_apic_mode { VCPU_APIC_NONE, VCPU_APIC_XAPIC, VCPU_APIC_X2APIC };

/* What the core wants of the next entries. Changing one: vcpu_changed(v, VCPU_CONTROLS). */
struct vcpu_controls {
    uint32_t exception_bitmap; /* vectors that exit */
    union {
        struct {
            bool interrupt_window; /* exit as soon as an interrupt could be delivered */
            bool nmi_window;
            uint8_t tpr_threshold; /* exit when CR8 falls below it; 0: never */
        };
        uint32_t windows; /* any of them */
    };
    bool rdtsc_exit;
    bool hlt_exit;
    uint8_t apic_mode;  /* enum vcpu_apic_mode */
    bool core_delivers; /* interrupts, also where the CPU could do that by itself */
    bool takes_posted;  /* the CPU, while it delivers: what devices have posted goes to the APIC without an exit */
    bool pause_exit;    /* exit when the guest spins in a loop with PAUSE, where the CPU can tell */
};

/*
 * MSRs that the guest uses directly and that the host has values of its own for. Switched with the vcpu's residence, or
 * by each entry: see hv_backend.switches_msrs.
 */
/* clang-format off */
enum vcpu_msr {
    VCPU_MSR_STAR, VCPU_MSR_LSTAR, VCPU_MSR_CSTAR, VCPU_MSR_SFMASK, VCPU_MSR_KERNEL_GS_BASE,
    VCPU_MSR_TSC_AUX, VCPU_MSR_COUNT
};
/* clang-format on */

/* Those of vcpu.pending_debug that a #DB comes of, at the next entry: bus lock, enabled breakpoint, BS, RTM. */
#define VCPU_DEBUG_TRAPS (BIT64(11) | BIT64(12) | BIT64(14) | BIT64(16))

struct vcpu {
    /* read and written by *_entry.asm: keep the offsets in offsets.c */
    union {
        uint64_t plain[GPR_COUNT + 2]; /* in the order of enum hv_reg */
        struct {
            uint64_t gpr[GPR_COUNT]; /* [GPR_RSP] belongs to VCPU_RSP, the others are always valid */
            uint64_t rip, rflags;
        };
    };
    uint64_t cr2; /* always valid */

    /* what has to be done before the next entry */
    union {
        struct {
            uint32_t dirty;   /* groups that the hardware has to be given */
            bool flush_guest; /* guest-virtual translations have to be dropped */
            bool sets_timer;  /* the backend's: what ends the guest's run has to be set anew */
            uint16_t zero;    /* no padding in the word below */
        };
        uint64_t unsettled; /* any of it */
    };
    uint32_t valid;

    struct hv_segment seg[SEG_COUNT];
    struct hv_table idtr, gdtr;
    uint64_t cr0, cr3, cr4, cr8;
    uint64_t efer;
    uint64_t pdpte[4];
    uint64_t dr[4], dr6, dr7; /* dr[], and all from xcr0 to msr[]: valid while not loaded */
    uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
    uint64_t pat;
    uint64_t tsc_offset;    /* from the machine's TSC: see tsc_now */
    uint64_t tsc_left;      /* the machine's TSC when the last CPU gave the vcpu up */
    uint64_t pending_debug; /* VMX layout: bits 0-3 BP, 12 enabled breakpoint, 14 BS; see VCPU_DEBUG_TRAPS */
    bool interrupt_shadow;  /* by STI or MOV SS; see shadow_by_mov_ss */
    bool shadow_by_mov_ss;
    bool nmi_masked;

    /* extended state; the image is in standard (not compacted) XSAVE format, valid while not loaded */
    uint64_t xcr0, xss;
    void *xsave;                            /* the guest's, xsave_size bytes, 64-byte aligned */
    void *host_xsave;                       /* the host's, while the guest's is loaded */
    void *xsave_memory, *host_xsave_memory; /* as allocated */
    uint64_t host_xcr0;
    uint64_t host_cr0_ts;
    bool dr_loaded; /* the debug registers hold the guest's values */
    bool dr_wanted; /* the guest uses debug registers: load them with the rest */
    uint64_t host_dr[4], host_dr6, host_dr7;

    /* with hv_backend.switches_msrs: VCPU_MSRS; else, as TSC_AUX always, valid while not loaded */
    uint64_t msr[VCPU_MSR_COUNT];
    uint64_t host_msr[VCPU_MSR_COUNT];

    /*
     * The event to inject at the next entry, in the layout of HV_REG_PENDING_INTERRUPTION. After an exit: the event
     * whose delivery the exit interrupted, or what was not injected for a failed entry; 0 for none.
     */
    uint64_t event;

    struct vcpu_controls controls;
    uint64_t cr0_guest_owned, cr4_guest_owned; /* bits that the guest may change without an exit */
    uint64_t deadline_tsc;                     /* of the CPU that has the vcpu; 0: none */
    bool has_deadline;                         /* an exit comes of it; else the host has to see to that */

    /*
     * The local APIC's register page (SDM 3A 10.4.1), allocated by the backend: the hardware's virtual-APIC page. Its
     * TPR is the guest's, in all modes, and always valid; the group VCPU_CR8 is its upper half.
     */
    volatile uint32_t *apic_page;
    hv_hpa_t apic_access_pa; /* what second-level tables map where xAPIC mode's registers are; HV_HPA_NONE: nothing */
    hv_gpa_t apic_gpa;       /* the page of xAPIC mode's registers */
    uint8_t rvi, svi;        /* highest requested and in-service vector, as the hardware keeps them */
    uint64_t eoi_exit[4];    /* vectors whose EOI exits, bit n of word n / 64 */
    struct posted *posted;   /* with VCPU_APIC_POSTED, set before the first entry; NULL: none */

    struct vcpu_code_pages code; /* the backend's */

    /* What keeps the vcpu from going on after an exit, if it is not 0: see vcpu_exits.stopped. The owner's words. */
    const volatile uint32_t *requests; /* other CPUs write it */
    const uint64_t *due;
    uint64_t exits[HV_EXIT_REASON_COUNT]; /* how many there were */

    struct npt *npt;
    const volatile uint64_t *npt_generation; /* counts changes of npt that need a flush */
    uint64_t npt_seen;                       /* generation at the last flush */
    struct backend_cpu *cpu;                 /* that has acquired it last */
    uint32_t last_cpu;                       /* CPU of the last entry, HV_CPU_NONE before the first */
    bool loaded; /* the CPU has its registers: from vcpu_load until it is taken off; changes there */
    uint64_t migrations;
    struct hv_audit_finding finding; /* of the last refused entry */
};

#endif
