/* SPDX-License-Identifier: MIT */
/* The virtual machine control block (AMD APM 2, appendix B) and its bits: facts, no code. */
#ifndef VMCB_H
#define VMCB_H

#include <hv/base/bits.h>
#include <stddef.h>
#include <stdint.h>

/* As in descriptors' caches; attributes are packed into 12 bits: 7:0 type to P, 11:8 AVL, L, D/B and G. */
struct vmcb_segment {
    union {
        struct {
            uint16_t selector, attributes;
            uint32_t limit;
        };
        uint64_t word; /* all but the base */
    };
    uint64_t base;
};

struct vmcb {
    /* control area */
    uint16_t cr_reads, cr_writes, dr_reads, dr_writes; /* 0x000: bit n: register n */
    uint32_t exceptions;                               /* 0x008: bit n: vector n */
    uint32_t intercepts[3];                            /* 0x00c: enum vmcb_intercept */
    uint8_t reserved_018[0x03c - 0x018];
    uint16_t pause_threshold, pause_count;                     /* 0x03c */
    uint64_t iopm_pa, msrpm_pa;                                /* 0x040 */
    uint64_t tsc_offset;                                       /* 0x050 */
    uint32_t asid;                                             /* 0x058 */
    uint32_t tlb_control;                                      /* 0x05c: TLB_* */
    uint32_t v_intr;                                           /* 0x060: V_* */
    uint32_t v_intr_vector;                                    /* 0x064 */
    uint64_t interrupt_state;                                  /* 0x068: INTERRUPT_* */
    uint64_t exit_code, exit_info1, exit_info2, exit_int_info; /* 0x070 */
    uint64_t nested_control;                                   /* 0x090: NESTED_* */
    uint64_t avic_bar;                                         /* 0x098 */
    uint64_t ghcb;                                             /* 0x0a0 */
    uint64_t event_inj;                                        /* 0x0a8: EVENT_* */
    uint64_t nested_cr3;                                       /* 0x0b0 */
    uint64_t lbr_control;                                      /* 0x0b8 */
    uint32_t clean;                                            /* 0x0c0: CLEAN_* */
    uint32_t reserved_0c4;
    uint64_t next_rip;                   /* 0x0c8 */
    uint8_t fetched;                     /* 0x0d0: how many of the bytes below */
    uint8_t bytes[15];                   /* 0x0d1 */
    uint64_t avic_backing_page;          /* 0x0e0 */
    uint64_t reserved_0e8;               /* 0x0e8 */
    uint64_t avic_logical_table;         /* 0x0f0 */
    uint64_t avic_physical_table;        /* 0x0f8: and the highest APIC id in bits 8:0 */
    uint8_t reserved_100[0x400 - 0x100]; /* 0x100 */

    /* state save area */
    struct vmcb_segment es, cs, ss, ds, fs, gs, gdtr, ldtr, idtr, tr; /* 0x400 */
    uint8_t reserved_4a0[0x4cb - 0x4a0];
    uint8_t cpl; /* 0x4cb */
    uint32_t reserved_4cc;
    uint64_t efer; /* 0x4d0 */
    uint8_t reserved_4d8[0x548 - 0x4d8];
    uint64_t cr4, cr3, cr0, dr7, dr6, rflags, rip; /* 0x548 */
    uint8_t reserved_580[0x5d8 - 0x580];
    uint64_t rsp, s_cet, ssp, isst_addr;                   /* 0x5d8 */
    uint64_t rax, star, lstar, cstar, sfmask;              /* 0x5f8 */
    uint64_t kernel_gs_base;                               /* 0x620 */
    uint64_t sysenter_cs, sysenter_esp, sysenter_eip, cr2; /* 0x628 */
    uint8_t reserved_648[0x668 - 0x648];
    uint64_t g_pat;                                                /* 0x668 */
    uint64_t dbgctl, br_from, br_to, last_excp_from, last_excp_to; /* 0x670 */
    uint8_t reserved_698[0x1000 - 0x698];
};

_Static_assert(offsetof(struct vmcb, pause_threshold) == 0x03c, "APM 2, table B-1");
_Static_assert(offsetof(struct vmcb, v_intr) == 0x060, "APM 2, table B-1");
_Static_assert(offsetof(struct vmcb, nested_control) == 0x090, "APM 2, table B-1");
_Static_assert(offsetof(struct vmcb, clean) == 0x0c0, "APM 2, table B-1");
_Static_assert(offsetof(struct vmcb, avic_physical_table) == 0x0f8, "APM 2, table B-1");
_Static_assert(offsetof(struct vmcb, es) == 0x400, "APM 2, table B-2");
_Static_assert(offsetof(struct vmcb, cpl) == 0x4cb, "APM 2, table B-2");
_Static_assert(offsetof(struct vmcb, efer) == 0x4d0, "APM 2, table B-2");
_Static_assert(offsetof(struct vmcb, rip) == 0x578, "APM 2, table B-2");
_Static_assert(offsetof(struct vmcb, rax) == 0x5f8, "APM 2, table B-2");
_Static_assert(offsetof(struct vmcb, cr2) == 0x640, "APM 2, table B-2");
_Static_assert(offsetof(struct vmcb, g_pat) == 0x668, "APM 2, table B-2");
_Static_assert(sizeof(struct vmcb) == 0x1000, "a page");

/* bits of intercepts[], counted through; also exit codes: EXIT_INTERCEPT_BASE and their number */
enum vmcb_intercept {
    INTERCEPT_INTR,
    INTERCEPT_NMI,
    INTERCEPT_SMI,
    INTERCEPT_INIT,
    INTERCEPT_VINTR,
    INTERCEPT_CR0_SEL_WRITE, /* of bits other than TS and MP */
    INTERCEPT_IDTR_READ,
    INTERCEPT_GDTR_READ,
    INTERCEPT_LDTR_READ,
    INTERCEPT_TR_READ,
    INTERCEPT_IDTR_WRITE,
    INTERCEPT_GDTR_WRITE,
    INTERCEPT_LDTR_WRITE,
    INTERCEPT_TR_WRITE,
    INTERCEPT_RDTSC,
    INTERCEPT_RDPMC,
    INTERCEPT_PUSHF,
    INTERCEPT_POPF,
    INTERCEPT_CPUID,
    INTERCEPT_RSM,
    INTERCEPT_IRET,
    INTERCEPT_SWINT, /* INT n */
    INTERCEPT_INVD,
    INTERCEPT_PAUSE,
    INTERCEPT_HLT,
    INTERCEPT_INVLPG,
    INTERCEPT_INVLPGA,
    INTERCEPT_IOIO, /* by the I/O permission map */
    INTERCEPT_MSR,  /* by the MSR permission map */
    INTERCEPT_TASK_SWITCH,
    INTERCEPT_FERR_FREEZE,
    INTERCEPT_SHUTDOWN,

    INTERCEPT_VMRUN = 32,
    INTERCEPT_VMMCALL,
    INTERCEPT_VMLOAD,
    INTERCEPT_VMSAVE,
    INTERCEPT_STGI,
    INTERCEPT_CLGI,
    INTERCEPT_SKINIT,
    INTERCEPT_RDTSCP,
    INTERCEPT_ICEBP,
    INTERCEPT_WBINVD,
    INTERCEPT_MONITOR,
    INTERCEPT_MWAIT,
    INTERCEPT_MWAIT_ARMED,
    INTERCEPT_XSETBV,
    INTERCEPT_RDPRU,
    INTERCEPT_EFER_WRITE, /* after it, as for the CR0 to CR15 writes that follow */

    INTERCEPT_INVLPGB = 64,
    INTERCEPT_INVLPGB_ILLEGAL,
    INTERCEPT_INVPCID,
    INTERCEPT_MCOMMIT,
    INTERCEPT_TLBSYNC,
    INTERCEPT_COUNT = 96
};

/* exit codes: APM 2, appendix C */
#define EXIT_CR_READ              0x000u /* + register */
#define EXIT_CR_WRITE             0x010u
#define EXIT_DR_READ              0x020u
#define EXIT_DR_WRITE             0x030u
#define EXIT_EXCEPTION            0x040u /* + vector */
#define EXIT_INTERCEPT            0x060u /* + number, for the first 48 */
#define EXIT_INTERCEPT_OF(number) (EXIT_INTERCEPT + (number))
#define EXIT_INVLPGB              0x0a0u
#define EXIT_INVLPGB_ILLEGAL      0x0a1u
#define EXIT_INVPCID              0x0a2u
#define EXIT_MCOMMIT              0x0a3u
#define EXIT_TLBSYNC              0x0a4u
#define EXIT_CODES                0x0a5u /* one past the last of those above */
#define EXIT_NPF                  0x400u
#define EXIT_AVIC_INCOMPLETE_IPI  0x401u
#define EXIT_AVIC_NOACCEL         0x402u
#define EXIT_INVALID              (~0ull) /* some CPUs give 32 bits of it */

/* 0x05c; APM 2 15.16 */
#define TLB_KEEP       0u
#define TLB_FLUSH_ALL  1u
#define TLB_FLUSH_ASID 3u /* with CPUID_SVM_EDX_FLUSH_ASID */

/* 0x060; APM 2 15.21 */
#define V_TPR          BITS32(7, 0) /* CR8 in its low 4 bits */
#define V_IRQ          BIT32(8)
#define V_GIF          BIT32(9)
#define V_INTR_PRIO    BITS32(19, 16)
#define V_IGN_TPR      BIT32(20)
#define V_INTR_MASKING BIT32(24)
#define V_GIF_ENABLE   BIT32(25)
#define V_X2AVIC       BIT32(30)
#define V_AVIC         BIT32(31)

/* 0x068 */
#define INTERRUPT_SHADOW BIT64(0)

/* EXITINTINFO and EVENTINJ; APM 2 15.7.2, 15.20 */
#define EVENT_VECTOR         BITS64(7, 0)
#define EVENT_TYPE           BITS64(10, 8)
#define EVENT_TYPE_INTR      0u
#define EVENT_TYPE_NMI       2u
#define EVENT_TYPE_EXCEPTION 3u
#define EVENT_TYPE_SOFTWARE  4u /* INT n */
#define EVENT_ERROR_VALID    BIT64(11)
#define EVENT_VALID          BIT64(31)
#define EVENT_ERROR_CODE     BITS64(63, 32)

/* 0x090 */
#define NESTED_PAGING BIT64(0)

/* 0x0c0: what the CPU may keep of the last run; APM 2 15.15 */
#define CLEAN_INTERCEPTS BIT32(0) /* the TSC offset and the pause filter too */
#define CLEAN_MAPS       BIT32(1) /* the permission maps: where they are, and what they say */
#define CLEAN_ASID       BIT32(2)
#define CLEAN_V_INTR     BIT32(3)
#define CLEAN_NESTED     BIT32(4) /* nested CR3, PAT */
#define CLEAN_CR         BIT32(5) /* CR0, CR3, CR4, EFER */
#define CLEAN_DR         BIT32(6) /* DR6, DR7 */
#define CLEAN_TABLES     BIT32(7) /* GDTR, IDTR */
#define CLEAN_SEGMENTS   BIT32(8) /* CS, DS, SS, ES, CPL */
#define CLEAN_CR2        BIT32(9)
#define CLEAN_LBR        BIT32(10)
#define CLEAN_AVIC       BIT32(11)
#define CLEAN_ALL        BITS32(11, 0)

/* exit information */
#define CR_INFO_MOV          BIT64(63) /* of CR accesses, with decode assists: a MOV, not CLTS, LMSW or SMSW */
#define CR_INFO_GPR          BITS64(3, 0)
#define IO_INFO_IN           BIT64(0)
#define IO_INFO_STR          BIT64(2)
#define IO_INFO_REP          BIT64(3)
#define IO_INFO_SIZE         BITS64(6, 4) /* in bytes: 1, 2 or 4 */
#define IO_INFO_PORT         BITS64(31, 16)
#define MSR_INFO_WRITE       BIT64(0)
#define NPF_PRESENT          BIT64(0)
#define NPF_WRITE            BIT64(1)
#define NPF_USER             BIT64(2)
#define NPF_RESERVED         BIT64(3)
#define NPF_FETCH            BIT64(4)
#define NPF_FINAL            BIT64(32) /* the guest's own access */
#define NPF_WALK             BIT64(33) /* an access of the walk of its page tables */
#define TASK_INFO_IRET       BIT64(36)
#define TASK_INFO_JUMP       BIT64(38)
#define TASK_INFO_ERROR_CODE BIT64(44)
#define AVIC_INFO_OFFSET     BITS64(11, 4) /* of EXIT_AVIC_NOACCEL: the register's, in place */
#define AVIC_INFO_WRITE      BIT64(32)

/* AVIC's table of physical APIC IDs, and VMCB.avic_physical_table's low bits; APM 2 15.29.4, 15.29.5 */
#define AVIC_ID_VALID  BIT64(63) /* the page of the APIC with this ID is at bits 51:12 */
#define AVIC_MAX_INDEX 254u      /* highest index of a table that does for both modes: 255 is everybody in xAPIC mode */

/* MSR and I/O permission maps; APM 2 15.10, 15.11 */
#define MSRPM_PAGES 2u
#define IOPM_PAGES  3u

#endif
