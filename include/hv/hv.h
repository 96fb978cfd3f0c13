/* SPDX-License-Identifier: MIT */
/*
 * The native API: what virt/whp is a shim over. Partitions hold a guest's memory map and its virtual processors
 * (VPs).
 *
 * Pointers given here are trusted to be live objects; virt/whp is where untrusted handles are checked. All other
 * arguments are checked here.
 * Property, capability, register and list element formats are those of WHP, bit for bit; this header names them by
 * size only.
 *
 * Context of all functions: thread (may sleep), unless the comment says otherwise. Functions on one VP exclude each
 * other: while one runs, the others answer HV_E_VP_BUSY.
 */
#ifndef HV_HV_H
#define HV_HV_H

#include <hv/audit.h>
#include <hv/exit.h>
#include <hv/regs.h>
#include <hv/status.h>
#include <hv/types.h>

struct hv_partition;
struct hv_vp;

/* ------------------------------------------------------------------------------- the machine */

enum hv_vendor {
    HV_VENDOR_AMD = 0, /* numbers of WHV_PROCESSOR_VENDOR */
    HV_VENDOR_INTEL = 1,
};

struct hv_platform {
    bool present;        /* virtual processors can run here */
    const char *backend; /* "VMX", "SVM", or "none" */
    char reason[160];    /* when not present: one line that says what is missing or in the way */
    char features[160];  /* when present: what the backend found and uses, one line */
};

/* Looks at the CPU once (the first caller does the work) and tells what was found. Never NULL. */
const struct hv_platform *hv_platform(void);

/*
 * What of this machine's CPUs the library is neither to use nor to give to guests: for CPUs, and emulators of them,
 * that have it but get it wrong. HV_AVOID_* bits; before the library's first use. HV_E_STATE: too late. HV_E_INVALID:
 * unknown bits.
 */
#define HV_AVOID_INTERRUPT_DELIVERY (1u << 0) /* interrupts that the CPU delivers by itself, without exits */
#define HV_AVOID_XSAVEC             (1u << 1) /* the compacted format of XSAVE, for guests */
#define HV_AVOID_POSTED_INTERRUPTS  (1u << 2) /* devices' interrupts that reach guests without the host */
enum hv_status hv_platform_avoid(uint32_t features);

/*
 * WHvGetCapability: copies the value of one capability. *written (may be NULL) gets the value's exact size.
 * HV_E_UNKNOWN_PROPERTY, HV_E_BUFFER_TOO_SMALL.
 */
enum hv_status hv_capability(uint32_t code, void *buffer, uint32_t size, uint32_t *written);

/* -------------------------------------------------------------------------------- partitions */

/* HV_E_NO_MEMORY, HV_E_NOT_PRESENT. */
enum hv_status hv_partition_create(struct hv_partition **out);

/*
 * Brings the partition to life with the properties set so far; turns the CPUs' virtualization on, on all of them, for
 * the first one. HV_E_STATE: done before. HV_E_CONFIG: no processor count. HV_E_NOT_PRESENT: somebody else uses it
 * (logged). HV_E_NO_MEMORY.
 */
enum hv_status hv_partition_setup(struct hv_partition *p);

/* All VPs back to their start state; memory and properties stay. HV_E_STATE: not set up. HV_E_VP_BUSY: a VP runs. */
enum hv_status hv_partition_reset(struct hv_partition *p);

/* Deletes the partition with its VPs and mappings. HV_E_VP_BUSY: a VP runs, and nothing was deleted. */
enum hv_status hv_partition_delete(struct hv_partition *p);

/*
 * WHvSetPartitionProperty: code, value and size as WHP has them; a scalar's buffer may be larger than the value.
 * HV_E_UNKNOWN_PROPERTY, HV_E_BUFFER_TOO_SMALL, HV_E_INVALID (bad value; or not modifiable after set-up),
 * HV_E_VP_BUSY, HV_E_NO_MEMORY.
 */
enum hv_status hv_partition_set_property(struct hv_partition *p, uint32_t code, const void *buffer, uint32_t size);

/* *written (may be NULL) gets the exact size. HV_E_UNSUPPORTED for the lists that WHP does not return. */
enum hv_status hv_partition_get_property(struct hv_partition *p, uint32_t code, void *buffer, uint32_t size,
                                         uint32_t *written);

/* ------------------------------------------------------------------------------------ memory */

/*
 * Backs [gpa, gpa + size) with the caller's memory at `source` (host-virtual); rights as NPT_* (1 read, 2 write, 4
 * execute), with 8 for hv_partition_query_dirty: the range is tracked, and starts clean. Replaces what was mapped.
 * Takes effect for running VPs before it returns. The memory must stay resident until it is unmapped.
 * HV_E_INVALID: unaligned, empty, wraps, beyond the guest's physical address width, unknown flags, source memory that
 * is not there, or 8 on a CPU without dirty bits. From the first tracked range on, the CPU takes every access of a
 * guest's page walks for a write: page tables need that right.
 * HV_E_STATE: before set-up. HV_E_NO_MEMORY.
 */
enum hv_status hv_partition_map(struct hv_partition *p, const void *source, hv_gpa_t gpa, uint64_t size,
                                uint32_t flags);

/*
 * When it returns, no VP can reach the memory any more. HV_E_GPA_NOT_FOUND: nothing mapped in the range.
 * HV_E_INVALID, HV_E_STATE, HV_E_NO_MEMORY.
 */
enum hv_status hv_partition_unmap(struct hv_partition *p, hv_gpa_t gpa, uint64_t size);

/*
 * Which pages of a tracked range were written, by guests or by hv_vp_write_gpa and page walks on their behalf, since
 * they were mapped or last asked for: bit n of `bitmap` is that of page n. They are clean again afterwards, and no
 * write is lost between two calls. Writes of a device of the machine's are not seen: from the partition's first one on
 * (hv_vpci_create) all pages count as written. The range has to be page-aligned, the bitmap 8-byte aligned, its size a
 * multiple of 8 that covers the range; NULL with size 0 only cleans. HV_E_GPA_NOT_FOUND: a page of the range is not
 * tracked, and nothing was cleaned. HV_E_INVALID, HV_E_STATE.
 */
enum hv_status hv_partition_query_dirty(struct hv_partition *p, hv_gpa_t gpa, uint64_t size, uint64_t *bitmap,
                                        uint32_t bitmap_bytes);

struct hv_memory_counters {
    uint64_t mapped_4k, mapped_2m, mapped_1g; /* number of leaves */
};
void hv_partition_memory_counters(struct hv_partition *p, struct hv_memory_counters *out);

/*
 * Up to 16 bytes of guest memory, as VP `index` sees it. HV_E_ACCESS_DENIED: not mapped, or no such right.
 * HV_E_INVALID: size.
 */
enum hv_status hv_vp_read_gpa(struct hv_vp *vp, hv_gpa_t gpa, void *data, uint32_t size);
enum hv_status hv_vp_write_gpa(struct hv_vp *vp, hv_gpa_t gpa, const void *data, uint32_t size);

/* flags and result codes of a translation, as in WHV_TRANSLATE_GVA_FLAGS and WHV_TRANSLATE_GVA_RESULT_CODE */
#define HV_TRANSLATE_READ             0x001u
#define HV_TRANSLATE_WRITE            0x002u
#define HV_TRANSLATE_EXECUTE          0x004u
#define HV_TRANSLATE_PRIVILEGE_EXEMPT 0x008u
#define HV_TRANSLATE_SET_BITS         0x010u
#define HV_TRANSLATE_ENFORCE_SMAP     0x100u
#define HV_TRANSLATE_OVERRIDE_SMAP    0x200u

enum hv_translate_result {
    HV_TRANSLATE_SUCCESS,
    HV_TRANSLATE_NOT_PRESENT,
    HV_TRANSLATE_PRIVILEGE_VIOLATION,
    HV_TRANSLATE_INVALID_FLAGS, /* reserved bits set in a page-table entry */
    HV_TRANSLATE_GPA_UNMAPPED,
    HV_TRANSLATE_GPA_NO_READ,
    HV_TRANSLATE_GPA_NO_WRITE,
    HV_TRANSLATE_GPA_ILLEGAL_OVERLAY,
    HV_TRANSLATE_INTERCEPT,
};

/*
 * Walks the VP's page tables. HV_OK says only that *result is valid; *gpa is set on HV_TRANSLATE_SUCCESS.
 * HV_E_INVALID: unknown flags.
 */
enum hv_status hv_vp_translate(struct hv_vp *vp, hv_gva_t gva, uint32_t flags, enum hv_translate_result *result,
                               hv_gpa_t *gpa);

/* ------------------------------------------------------------------------- virtual processors */

/* HV_E_STATE: before set-up. HV_E_INVALID: index not below the processor count. HV_E_VP_EXISTS. HV_E_NO_MEMORY. */
enum hv_status hv_vp_create(struct hv_partition *p, uint32_t index);

/* HV_E_VP_NOT_FOUND, HV_E_VP_BUSY. */
enum hv_status hv_vp_delete(struct hv_partition *p, uint32_t index);

/*
 * The VP, kept from being deleted until hv_vp_unref; NULL when there is none. Context: any.
 */
struct hv_vp *hv_vp_ref(struct hv_partition *p, uint32_t index);
void hv_vp_unref(struct hv_vp *vp);

/*
 * The same for those functions only that say so, without keeping it: they answer HV_E_VP_NOT_FOUND once it is deleted.
 * The pointer is good for as long as the partition. NULL: there has never been such a VP. Context: any.
 */
struct hv_vp *hv_vp_find(struct hv_partition *p, uint32_t index);

/*
 * Runs the VP on the calling thread until something happens that the client has to know. *exit is written, by HV_OK
 * alone, and with interrupts off: it is memory that is there. HV_E_VP_BUSY: it runs already. HV_E_VP_NOT_FOUND: a VP of
 * hv_vp_find's was deleted.
 */
enum hv_status hv_vp_run(struct hv_vp *vp, struct hv_exit_context *exit);

/*
 * For hosts of which hv_host_takes_back is true, on whose conditions it is called: the registers of the calling CPU are
 * the host's again. Cheap when they are anyway, as before the first VP is made. Context: interrupts off, not inside a
 * call of the library's, and not from an interrupt handler that has come between hv_host_preempt_disable and _enable.
 */
void hv_cpu_give_back(void);

/* Makes the run under way, or else the next one, return HV_EXIT_CANCELED. Context: any. */
void hv_vp_cancel(struct hv_vp *vp);

/*
 * The following runs end with HV_EXIT_CANCELED when the TSC of the host reaches this value, even if no interrupt
 * arrives; where CPUs' TSCs differ, that of the CPU which the VP then runs on.
 * 0: no deadline. HV_E_UNSUPPORTED: this CPU has no such timer.
 */
enum hv_status hv_vp_set_run_deadline(struct hv_vp *vp, uint64_t tsc);

/*
 * HV_E_REGISTER_NAME: a name that this VP does not have; nothing was written. HV_E_REGISTER_VALUE: a value that the
 * register can never hold; earlier registers of the list stay written.
 */
enum hv_status hv_vp_get_registers(struct hv_vp *vp, const uint32_t *names, uint32_t count, union hv_reg_value *values);
enum hv_status hv_vp_set_registers(struct hv_vp *vp, const uint32_t *names, uint32_t count,
                                   const union hv_reg_value *values);

/*
 * The same, quickly, of less than sixteen general registers, RIP and RFLAGS that need nothing of the hardware. False:
 * it is not that, or the VP is not free; what it is the functions above say. Nothing was written to the VP then;
 * what is in `values` of a get says nothing.
 */
bool hv_vp_get_few(struct hv_vp *vp, const uint32_t *names, uint32_t count, union hv_reg_value *values);
bool hv_vp_set_few(struct hv_vp *vp, const uint32_t *names, uint32_t count, const union hv_reg_value *values);

/* The XSAVE area in compacted form. *written (may be NULL) gets the size needed, also with HV_E_BUFFER_TOO_SMALL. */
enum hv_status hv_vp_get_xsave(struct hv_vp *vp, void *buffer, uint32_t size, uint32_t *written);
/* HV_E_INVALID: size, header, reserved bits */
enum hv_status hv_vp_set_xsave(struct hv_vp *vp, const void *buffer, uint32_t size);

struct hv_cpuid_output {
    uint32_t eax, ebx, ecx, edx;
};
/* What this VP sees, result lists applied. */
enum hv_status hv_vp_cpuid(struct hv_vp *vp, uint32_t leaf, uint32_t subleaf, struct hv_cpuid_output *out);

/* --------------------------------------------------------------------------- interrupts */

/*
 * As WHV_INTERRUPT_CONTROL: type by the numbers of WHV_INTERRUPT_TYPE, which are the architecture's delivery modes, and
 * for the inputs LINT0 and LINT1 the two below. What they do, and which else can be sent: see WHvRequestInterrupt.
 */
#define HV_INTERRUPT_LOCAL_INT0 8u
#define HV_INTERRUPT_LOCAL_INT1 9u
struct hv_interrupt {
    uint8_t type;
    bool is_logical, is_level;
    uint32_t destination, vector;
};

/*
 * Sends an interrupt to the local APICs of a partition; running VPs are interrupted, halted ones wake. HV_E_INVALID: a
 * type or vector that can not be sent. HV_E_STATE: not set up, or without local APICs. Context: any but NMI.
 */
enum hv_status hv_partition_interrupt(struct hv_partition *p, const struct hv_interrupt *interrupt);

/*
 * The VPs whose local APICs a destination addresses now, lowest index first; `vps` has room for `room` of them.
 * *count gets their number. HV_E_BUFFER_TOO_SMALL: room is less than the partition's processor count. HV_E_INVALID: a
 * destination above 32 bits. HV_E_STATE: not set up, or without local APICs. Context: any.
 */
enum hv_status hv_partition_interrupt_targets(struct hv_partition *p, uint64_t destination, bool is_logical,
                                              uint32_t *vps, uint32_t room, uint32_t *count);

/*
 * The local APIC's registers as WHvGetVirtualProcessorInterruptControllerState2 has them. *written gets the size
 * needed. HV_E_BUFFER_TOO_SMALL, HV_E_STATE: no local APIC. HV_E_INVALID: reserved bits; nothing was changed.
 */
#define HV_APIC_STATE_SIZE 4096u
enum hv_status hv_vp_get_apic(struct hv_vp *vp, void *buffer, uint32_t size, uint32_t *written);
enum hv_status hv_vp_set_apic(struct hv_vp *vp, const void *buffer, uint32_t size);

/* ------------------------------------------------------------- synthetic interrupt controller */

/*
 * Puts a message of 1 to HV_SYNIC_MESSAGE_SIZE bytes, whose form is the guest's interface's, into the slot of a SINT
 * and asserts the SINT. HV_E_IN_USE: the slot is taken; the guest is told to say when it is free
 * (HV_NOTIFY_SINT makes an exit of that). HV_E_SYNIC_STATE: the guest has not enabled the SynIC, its message page or
 * the SINT (masked, and not polling). HV_E_INVALID: size, a message of type 0, or no such SINT. Context: any but NMI.
 */
#define HV_SYNIC_MESSAGE_SIZE 256u
#define HV_SYNIC_SINTS        16u
#define HV_SYNIC_FLAGS        2048u
enum hv_status hv_vp_post_message(struct hv_vp *vp, uint32_t sint, const void *message, uint32_t size);

/*
 * Sets event flag 0 .. HV_SYNIC_FLAGS - 1 of a SINT and, if it was clear, asserts the SINT; *newly says whether it was.
 * HV_E_SYNIC_STATE: SynIC, event flag page or SINT not enabled. HV_E_INVALID. Context: any but NMI.
 */
enum hv_status hv_vp_signal_event(struct hv_vp *vp, uint32_t sint, uint32_t flag, bool *newly);

/*
 * The SynIC's pages and timers as WHvGet/SetVirtualProcessorState have them. *written gets the size.
 * HV_E_BUFFER_TOO_SMALL; HV_E_STATE: this partition has none. HV_E_INVALID: size, or what no guest could have set;
 * nothing was changed.
 */
#define HV_SYNIC_PAGE_SIZE        4096u
#define HV_SYNIC_TIMER_STATE_SIZE 200u
enum hv_status hv_vp_get_synic_messages(struct hv_vp *vp, void *buffer, uint32_t size, uint32_t *written);
enum hv_status hv_vp_set_synic_messages(struct hv_vp *vp, const void *buffer, uint32_t size);
enum hv_status hv_vp_get_synic_flags(struct hv_vp *vp, void *buffer, uint32_t size, uint32_t *written);
enum hv_status hv_vp_set_synic_flags(struct hv_vp *vp, const void *buffer, uint32_t size);
enum hv_status hv_vp_get_synic_timers(struct hv_vp *vp, void *buffer, uint32_t size, uint32_t *written);
enum hv_status hv_vp_set_synic_timers(struct hv_vp *vp, const void *buffer, uint32_t size);

/* ------------------------------------------------------------------------------------- events */

/*
 * A write by the guest that signals an event instead of leaving the run; what was written is lost. In memory: of an
 * instruction that only stores (MOV and its kin, SETcc, STOS, MOVS), in one page; to ports: of OUT, not OUTS.
 */
struct hv_doorbell {
    uint64_t address; /* guest-physical, or a port */
    uint64_t value;   /* with match_value, where more than `length` can hold never matches; else 0 */
    uint32_t length;  /* with match_length: 1, 2, 4 or (memory only) 8 bytes; else 0 */
    bool match_value; /* only with match_length */
    bool match_length;
    bool is_port;
};

/*
 * `event` is a HANDLE of the host's. While there are doorbells on a page, what is mapped there is out of the guest's
 * reach: its accesses exit, but for writes that match; nor do hv_vp_read_gpa and hv_vp_write_gpa reach it. How many
 * there are makes no difference to a write. HV_E_INVALID: see the fields; it crosses a page, or is where local APICs
 * have their registers; no such event. HV_E_CONFLICT: one is at this address already, unless both match values,
 * different ones of the same length. HV_E_STATE: not set up. HV_E_NO_MEMORY.
 */
enum hv_status hv_partition_register_doorbell(struct hv_partition *p, const struct hv_doorbell *doorbell, void *event);
/* The one registered with just these fields, not as a port; when it returns, its event is not signalled any more.
 * HV_E_NOT_FOUND, HV_E_STATE. */
enum hv_status hv_partition_unregister_doorbell(struct hv_partition *p, const struct hv_doorbell *doorbell);

/* What a trigger does; numbers of WHV_TRIGGER_TYPE. */
enum hv_trigger_type { HV_TRIGGER_INTERRUPT, HV_TRIGGER_SYNIC_EVENT, HV_TRIGGER_DEVICE_INTERRUPT };

struct hv_trigger_parameters {
    enum hv_trigger_type type;
    union {
        struct hv_interrupt interrupt;
        struct {
            uint32_t vp, sint, flag;
        } event;
        struct {
            uint64_t device; /* logical device id */
            uint64_t msi_address;
            uint32_t msi_data;
        } device_interrupt;
    };
};

struct hv_trigger;

/*
 * An event, whose HANDLE *handle becomes the caller's, that does this at each signal; signals that come close together
 * may do it once. HV_E_INVALID: what could not be sent. HV_E_DEVICE: no such device. HV_E_STATE: not set up, or, for
 * interrupts, without local APICs; a device that is not made for hv_vpci_request. HV_E_NO_MEMORY. A partition takes its
 * triggers with it.
 */
enum hv_status hv_trigger_create(struct hv_partition *p, const struct hv_trigger_parameters *parameters,
                                 struct hv_trigger **out, void **handle);
/* All of them at once; HV_E_INVALID: another type. */
enum hv_status hv_trigger_update(struct hv_trigger *trigger, const struct hv_trigger_parameters *parameters);
void hv_trigger_delete(struct hv_trigger *trigger); /* when it returns, nothing is sent any more */

/* A guest's action that signals an event of the caller's; numbers of WHV_NOTIFICATION_PORT_TYPE. */
enum hv_port_type { HV_PORT_EVENT = 2, HV_PORT_DOORBELL = 4 };

struct hv_port_parameters {
    enum hv_port_type type;
    union {
        uint32_t connection_id; /* 24 bits; the guest signals it by hypercall */
        struct hv_doorbell doorbell;
    };
};

struct hv_port;

/*
 * HV_E_INVALID: connection id, or as hv_partition_register_doorbell. HV_E_CONFLICT: that connection, or doorbell, is
 * taken. HV_E_STATE: not set up. HV_E_NO_MEMORY. A partition takes its ports with it.
 */
enum hv_status hv_port_create(struct hv_partition *p, const struct hv_port_parameters *parameters, void *event,
                              struct hv_port **out);
void hv_port_delete(struct hv_port *port); /* when it returns, the event is not signalled any more */

/* --------------------------------------------------------------------------------------- time */

/*
 * Stops the partition's time: the reference time, synthetic timers, the local APICs' timers and the TSCs. It goes on
 * from there at hv_partition_resume_time, or when a VP is next run. Suspending it twice is
 * once. HV_E_STATE: not set up; resumed without being suspended. HV_E_VP_BUSY: a VP runs.
 */
enum hv_status hv_partition_suspend_time(struct hv_partition *p);
enum hv_status hv_partition_resume_time(struct hv_partition *p);

/* --------------------------------------------------------------------- saying what went wrong */

/*
 * After HV_EXIT_INVALID_REGISTER_VALUE: the first rule of the manual that the VP's state breaks.
 * HV_E_STATE: the last run did not end so.
 */
enum hv_status hv_vp_audit_finding(struct hv_vp *vp, struct hv_audit_finding *out);

/*
 * The same before running: *broken says whether the VP's state, with the interruption that is pending, breaks a rule
 * that the next entry has to obey; if so *out is the first one, else it is left alone. Nothing is entered and no
 * register changes. What the rules ask of the host is not the VP's and is left out.
 * HV_E_UNSUPPORTED: no auditor for this kind of CPU. HV_E_VP_BUSY.
 */
enum hv_status hv_vp_audit(struct hv_vp *vp, bool *broken, struct hv_audit_finding *out);

#define HV_TRIPLE_FAULT_VECTORS 3

/* After HV_EXIT_UNRECOVERABLE_EXCEPTION. */
struct hv_triple_fault {
    uint64_t rip, cr3, cr2;
    struct hv_table idtr;
    bool idt_readable;                        /* the IDT's first byte could be read through the guest's page tables */
    uint8_t vector_count;                     /* how many of vectors[] are known */
    uint8_t vectors[HV_TRIPLE_FAULT_VECTORS]; /* the exceptions that led to it, first one first */
    uint32_t error_codes[HV_TRIPLE_FAULT_VECTORS];
};
enum hv_status hv_vp_triple_fault(struct hv_vp *vp, struct hv_triple_fault *out); /* HV_E_STATE */

/*
 * Debugging aid: reads or writes one field of the hardware's control structure by the CPU's own number: VMCS
 * encoding, or offset in the VMCB. What is written is not checked and may make the next run fail (and then be audited);
 * it can not harm the host: only guest-state fields can be written, without those that control structures are linked by
 * and the activity states that interrupts do not end (shutdown, wait for SIPI). HV_E_INVALID: no such field, or not
 * writable.
 */
enum hv_status hv_vp_raw_get(struct hv_vp *vp, uint32_t field, uint64_t *value);
enum hv_status hv_vp_raw_set(struct hv_vp *vp, uint32_t field, uint64_t value);

/*
 * What the core counts of a VP, since it was created. What the hardware does without an exit is not seen: accesses to a
 * virtualized local APIC, and interrupts that the guest sends to itself there.
 */
struct hv_vp_counters {
    uint64_t exits[HV_EXIT_REASON_COUNT]; /* VM exits by reason, the internal ones included */
    uint64_t to_client[HV_EXIT_INTERNAL]; /* runs by the reason they ended with; some have no exit of their own */
    uint64_t page_fault_exits;            /* of HV_EXIT_EXCEPTION */
    uint64_t emulated;                    /* instructions of the guest's that the core has emulated */
    uint64_t migrations;                  /* times the VP was found on another CPU than before */
    uint64_t
        run_100ns; /* time on a CPU inside hv_vp_run: the guest's and the core's, up to where it last left the CPU */
    struct {
        uint64_t exceptions;  /* injected by the core or the client */
        uint64_t page_faults; /* of these */
        uint64_t interrupts;  /* injected, or given to hardware that delivers by itself; NMIs too */
    } events;
    struct {
        uint64_t mmio, eoi, tpr; /* accesses */
        uint64_t ipis;           /* sent to others, or to several */
        uint64_t self_ipis;
    } apic;
    struct {
        uint64_t interrupts; /* sent by the synthetic interrupt controller */
        /* hypercalls of the guest's interface, whoever answered them: by their kind */
        uint64_t spin_waits, others, synic, ipis, flushes;
    } synthetic;
};
void hv_vp_counters(struct hv_vp *vp, struct hv_vp_counters *out);
const char *hv_exit_reason_name(enum hv_exit_reason reason);

#endif
