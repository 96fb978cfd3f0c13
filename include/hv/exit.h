/* SPDX-License-Identifier: MIT */
/*
 * Why a virtual processor stopped, in words that fit both vendors. A backend fills a struct hv_exit after each VM
 * entry; virt/exit.c either handles it and runs on, or it goes to the client, who gets a struct hv_exit_context.
 */
#ifndef HV_EXIT_H
#define HV_EXIT_H

#include <hv/regs.h>
#include <hv/types.h>

enum hv_exit_reason {
    /* what a client can see; names as in WHV_RUN_VP_EXIT_REASON. Of hv_exit and its context: */
    HV_EXIT_NONE,
    HV_EXIT_MEMORY,                  /* union member: memory */
    HV_EXIT_IO,                      /* io */
    HV_EXIT_UNRECOVERABLE_EXCEPTION, /* triple fault; see hv_vp_triple_fault */
    HV_EXIT_INVALID_REGISTER_VALUE,  /* the CPU refused the guest state; see hv_vp_audit_finding */
    HV_EXIT_UNSUPPORTED_FEATURE,     /* unsupported */
    HV_EXIT_WINDOW,                  /* window: an interrupt or NMI can be delivered now */
    HV_EXIT_HALT,
    HV_EXIT_MSR,       /* msr */
    HV_EXIT_CPUID,     /* cpuid */
    HV_EXIT_EXCEPTION, /* exception */
    HV_EXIT_RDTSC,     /* rdtsc */
    HV_EXIT_HYPERCALL, /* hypercall */
    HV_EXIT_CANCELED,
    HV_EXIT_APIC_EOI,            /* apic: a level-triggered interrupt has ended */
    HV_EXIT_SINT_DELIVERABLE,    /* sints: a message could be posted now */
    HV_EXIT_APIC_SMI_TRAP,       /* icr: the guest sent an SMI */
    HV_EXIT_APIC_INIT_SIPI_TRAP, /* icr: the guest sent INIT or SIPI, which nobody has got */
    HV_EXIT_APIC_WRITE_TRAP,     /* apic_write: the guest wrote a register that the client wants to hear of */

    /* what only the core sees */
    HV_EXIT_INTERNAL,
    /* interrupt, NMI or machine check of the host, already taken by its handlers */
    HV_EXIT_HOST_EVENT = HV_EXIT_INTERNAL,
    HV_EXIT_CR,             /* cr: MOV to CR, LMSW, CLTS */
    HV_EXIT_DR,             /* MOV DR while the debug registers hold the host's values */
    HV_EXIT_XSETBV,         /* RCX, RDX:RAX */
    HV_EXIT_NO_OP,          /* an instruction without effect on a guest (INVD, WBINVD): step over it */
    HV_EXIT_UNDEFINED,      /* an instruction that this virtual CPU does not have: #UD */
    HV_EXIT_RDPMC,          /* no performance counters for guests: #GP */
    HV_EXIT_TIMER,          /* the deadline given to the run has passed */
    HV_EXIT_TPR,            /* the task priority went below the threshold asked for */
    HV_EXIT_APIC_WRITE,     /* apic: the guest wrote a register, the value is in the APIC page, RIP is past */
    HV_EXIT_APIC_EOI_DONE,  /* apic: the hardware ended the service of a vector of vcpu.eoi_exit, RIP is past */
    HV_EXIT_PAUSE,          /* the guest spins: another thread may want the CPU */
    HV_EXIT_SOFTWARE_INT,   /* software: INT3, INTO or INT n, where the first two can not be told from the last */
    HV_EXIT_INTERNAL_ERROR, /* the hardware says something impossible; logged by the backend */
    HV_EXIT_REASON_COUNT
};

enum hv_access {
    HV_ACCESS_READ = 0, /* numbers of WHV_MEMORY_ACCESS_TYPE */
    HV_ACCESS_WRITE = 1,
    HV_ACCESS_EXECUTE = 2,
};

#define HV_INSTRUCTION_BYTES_MAX 16

/* The instruction at CS:RIP as far as it could be read through the guest's page tables; count 0: not read. */
struct hv_instruction {
    uint8_t count;
    uint8_t bytes[HV_INSTRUCTION_BYTES_MAX];
};

/* execution state bits, as in WHV_X64_VP_EXECUTION_STATE */
#define HV_EXEC_CPL                  0x0003u
#define HV_EXEC_CR0_PE               (1u << 2)
#define HV_EXEC_CR0_AM               (1u << 3)
#define HV_EXEC_EFER_LMA             (1u << 4)
#define HV_EXEC_DEBUG_ACTIVE         (1u << 5)
#define HV_EXEC_INTERRUPTION_PENDING (1u << 6)
#define HV_EXEC_INTERRUPT_SHADOW     (1u << 12)

struct hv_exit_cpuid {
    uint64_t rax, rcx, rdx, rbx;                                 /* input */
    uint64_t default_rax, default_rcx, default_rdx, default_rbx; /* what the core would have answered */
};

struct hv_exit_io_access {
    uint32_t is_write : 1;
    uint32_t size : 3; /* 1, 2 or 4 bytes */
    uint32_t is_string : 1;
    uint32_t has_rep : 1;
    uint32_t unused : 26;
};

struct hv_exit_vp {
    uint16_t execution_state;       /* HV_EXEC_* */
    uint8_t instruction_length : 4; /* of the instruction that exited, 0 when there is none */
    uint8_t cr8 : 4;
    uint8_t reserved[5];
    struct hv_segment cs;
    uint64_t rip, rflags;
};

/* The instruction that exited, as far as it could be read; bytes behind it are 0. count 0: not read. */
struct hv_exit_code {
    uint8_t count;
    uint8_t reserved[3];
    uint8_t bytes[HV_INSTRUCTION_BYTES_MAX];
};

/*
 * What the client gets to see of an exit: but for the reason's number, to the bit what WHV_RUN_VP_EXIT_CONTEXT is.
 * Written once, and whole: what a reason has nothing to say about is 0.
 */
struct hv_exit_context {
    uint32_t reason; /* enum hv_exit_reason, below HV_EXIT_INTERNAL */
    uint32_t reserved;
    struct hv_exit_vp vp;
    union {
        struct hv_exit_code instruction; /* of memory, io (string forms) and exception exits */
        struct {
            struct hv_exit_code instruction;
            uint32_t access : 2;    /* enum hv_access */
            uint32_t unmapped : 1;  /* no mapping at all, as opposed to one without the right */
            uint32_t gva_valid : 1; /* the guest accessed gva; clear for accesses of a page walk */
            uint32_t unused : 28;
            hv_gpa_t gpa;
            hv_gva_t gva;
        } memory;
        struct {
            struct hv_exit_code instruction;
            struct hv_exit_io_access access;
            uint16_t port;
            uint16_t reserved[3];
            uint64_t rax, rcx, rsi, rdi;
            struct hv_segment ds, es;
        } io;
        struct {
            uint32_t code; /* 1 intercept, 2 task switch */
            uint32_t reserved;
            uint64_t parameter;
        } unsupported;
        struct {
            uint32_t type; /* HV_INT_TYPE_EXTERNAL or HV_INT_TYPE_NMI */
        } window;
        struct {
            uint32_t is_write : 1;
            uint32_t unused : 31;
            uint32_t index;
            uint64_t rax, rdx;
        } msr;
        struct hv_exit_cpuid cpuid;
        struct {
            struct hv_exit_code instruction;
            uint32_t has_error_code : 1;
            uint32_t is_software : 1;
            uint32_t unused : 30;
            uint8_t vector;
            uint8_t reserved[3];
            uint32_t error_code;
            uint64_t parameter; /* #PF: the address; #DB: the bits for DR6 */
        } exception;
        struct {
            uint64_t tsc_aux, virtual_offset, tsc, reference_time; /* reference time in 100 ns */
            uint64_t is_rdtscp : 1;
            uint64_t unused : 63;
        } rdtsc;
        struct {
            uint64_t rax, rbx, rcx, rdx, r8, rsi, rdi, reserved;
            uint64_t xmm[6][2];
        } hypercall;
        struct {
            uint32_t vector;
        } apic;
        uint16_t sints; /* those that were asked for: bit n is SINTn */
        uint64_t icr;   /* as written, in the layout of the APIC's mode */
        struct {
            uint32_t offset; /* of the register in the page */
            uint32_t reserved;
            uint64_t value;
        } apic_write;
        uint64_t words[22];
    };
} __attribute__((may_alias));

/*
 * The CPU does not say how long the instruction is that exited: virt/exit_length.c finds out before any handler runs.
 * Only in what a backend says.
 */
#define HV_LENGTH_UNKNOWN 0xffu

struct hv_exit {
    enum hv_exit_reason reason;
    uint8_t instruction_length; /* of the instruction that exited, 0 when there is none */

    /* memory, string I/O and exception exits; of memory and exceptions a backend says what its CPU has fetched */
    struct hv_instruction instruction;

    union {
        struct {
            enum hv_access access;
            bool unmapped;  /* no mapping at all, as opposed to one without the right */
            bool gva_valid; /* the guest accessed gva; false for accesses of a page walk */
            bool page_walk;
            hv_gpa_t gpa;
            hv_gva_t gva;
        } memory;
        struct {
            struct hv_exit_io_access access;
            uint16_t port;
            uint64_t rax;
        } io;
        struct {
            uint32_t code; /* 1 intercept, 2 task switch */
            uint64_t parameter;
        } unsupported;
        struct {
            bool nmi; /* else interrupt */
        } window;
        struct {
            bool is_write;
            uint32_t index;
            uint64_t rax, rdx;
        } msr;
        struct hv_exit_cpuid cpuid; /* filled in for the client */
        struct {
            uint8_t vector;
            bool has_error_code, is_software;
            uint32_t error_code;
            uint64_t parameter; /* #PF: the address; #DB: the bits for DR6 */
        } exception;
        struct {
            bool is_rdtscp;
            uint64_t tsc_aux, virtual_offset, tsc, reference_time; /* reference time in 100 ns */
        } rdtsc;
        struct {
            uint8_t vector;  /* HV_EXIT_APIC_EOI, HV_EXIT_APIC_EOI_DONE */
            uint16_t offset; /* HV_EXIT_APIC_WRITE: in the page, a multiple of 16 */
        } apic;
        uint16_t sints; /* those that were asked for: bit n is SINTn */
        uint64_t icr;   /* as written, in the layout of the APIC's mode */
        struct {
            uint16_t offset; /* of the register in the page */
            uint64_t value;
        } apic_write;
        struct {
            bool is_int_n;
            uint8_t vector; /* what a backend says stands for INT3; virt/exit_length.c looks at the instruction */
        } software;
        struct {
            uint8_t number; /* 0, 3, 4, 8 */
            bool is_read;   /* MOV from CR0 or CR4, or SMSW, while the CPU's is not the guest's */
            /*
             * Of a write `value` is there, of a read `gpr`. Else the instruction has to be decoded, and its length is
             * HV_LENGTH_UNKNOWN.
             */
            bool is_known;
            uint8_t gpr;    /* general register that a MOV reads into */
            uint64_t value; /* what the guest wants the register to be (LMSW and CLTS included) */
        } cr;
    };
};

#endif
