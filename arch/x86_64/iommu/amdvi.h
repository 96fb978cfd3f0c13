/* SPDX-License-Identifier: MIT */
/*
 * AMD-Vi: what its files share.
 *
 * The units of a segment share one table of devices. It is made when something is attached or an interrupt is
 * prepared, also before the units are on; then only memory is written. A unit's lock is for its queue and its events;
 * calls that attach exclude each other.
 */
#ifndef IOMMU_AMDVI_H
#define IOMMU_AMDVI_H

#include "amdvi_regs.h"
#include "ivrs.h"
#include <arch/cpu.h>
#include <hv/base/lock.h>

#define AMDVI_TIMEOUT_NS 1000000000ull /* a unit that takes longer over anything does not work */

/* Faults are told by interrupts, unless there are more than these in such a time: then the unit is silent for as long.
 */
#define AMDVI_FAULTS_MAX  1000u
#define AMDVI_FAULTS_TIME 1000000000ull

#define AMDVI_SAVED        9 /* registers that are as before afterwards; see amdvi.c */
#define AMDVI_DEVICES      0x10000u
#define AMDVI_DTE_WORDS    4ull
#define AMDVI_DEVTAB_PAGES 512u
#define AMDVI_RING_LOG     8u /* commands and events: a page of each, the least that there is */
#define AMDVI_RING_SIZE    (1u << AMDVI_RING_LOG)
#define AMDVI_RING_WORDS   2ull

/* One of a unit's structures in memory of the host's. */
struct amdvi_table {
    uint64_t *words; /* NULL: there is none yet */
    hv_hpa_t pa;
};

struct amdvi_queue {
    struct amdvi_table ring;
    struct amdvi_table status; /* where the unit writes that it has come to the end of a request */
    uint32_t tail;
    uint64_t ticket;
};

/* The message that a PCI function sends, before it was changed. */
struct amdvi_msi {
    uint16_t at; /* of the capability in its configuration space; 0: none is in use */
    uint32_t control, address, upper, data;
};

struct amdvi_faults {
    struct amdvi_table ring;
    uint32_t vector; /* 0: none, only amdvi_poll */
    struct amdvi_msi saved;
    uint64_t saved_xt;
    uint64_t since; /* when the count began */
    uint32_t head, count;
    bool is_silent;
    uint64_t lost_at; /* when it was last said that faults were lost */
};

struct amdvi_unit {
    const struct ivrs_unit *acpi;
    uint64_t features;
    struct hv_spin lock;
    bool is_on;
    void *regs;       /* mapped while it is on */
    uint64_t control; /* what it is switched on with */
    uint64_t saved[AMDVI_SAVED], saved_control;
    struct amdvi_queue queue;
    struct amdvi_faults faults;
    struct amdvi_table devices; /* the segment's, with its first unit */
};

/* What all units have in common. */
struct amdvi {
    struct ivrs ivrs;
    struct amdvi_unit units[IVRS_UNITS];
    struct amdvi_table nothing; /* a table of pages without any */
    struct npt_format format;
    bool remaps;    /* interrupts */
    bool has_ga;    /* remapping entries have 128 bits */
    bool is_x2apic; /* destinations have 32 bits */
};
extern struct amdvi amdvi;

static inline uint64_t amdvi_read(const struct amdvi_unit *u, uint32_t offset)
{
    return cpu_mmio_read64((const char *)u->regs + offset);
}

static inline void amdvi_write(const struct amdvi_unit *u, uint32_t offset, uint64_t value)
{
    cpu_mmio_write64((char *)u->regs + offset, value);
}

/* amdvi.c */
/* NULL: none. *alias is another ID under which its requests may come, or its own. */
struct amdvi_unit *amdvi_unit_of(const struct hv_pci_address *requester, uint16_t *alias);
enum hv_status amdvi_table_make(struct amdvi_table *t, uint32_t pages); /* zeroed; HV_OK when it is there already */
void amdvi_table_free(struct amdvi_table *t, uint32_t pages);
bool amdvi_await(struct amdvi_unit *u, uint64_t status, bool set); /* AMDVI_STATUS_... False: in vain (logged) */

/* amdvi_queue.c */
struct amdvi_command {
    uint64_t low, high;
};
enum hv_status amdvi_queue_on(struct amdvi_unit *u); /* HV_E_NO_MEMORY */
void amdvi_queue_off(struct amdvi_unit *u);          /* the unit does not run it any more */
/*
 * Has these few commands done. A unit that does not do them can not be trusted to keep devices off memory any more:
 * amdvi_invalidate stops the machine. Context: any but NMI.
 */
void amdvi_invalidate(struct amdvi_unit *u, const struct amdvi_command *commands, uint32_t count);
bool amdvi_invalidate_all(struct amdvi_unit *u); /* whatever it may keep. False: it does not (logged) */

/* amdvi_dma.c */
struct amdvi_table *amdvi_devices(uint16_t segment);      /* of which there are units */
enum hv_status amdvi_devices_make(uint16_t segment);      /* its table is there, all blocked. HV_E_NO_MEMORY */
uint64_t *amdvi_dte(uint16_t segment, uint16_t device);   /* NULL: the segment has no table yet */
void amdvi_forget(struct amdvi_unit *u, uint16_t device); /* its entry in the table of devices */
void amdvi_dma_off(struct amdvi_unit *u);                 /* frees the segment's table, if it is the first unit's */
enum hv_status amdvi_attach(const struct hv_pci_address *requester, const struct iommu_domain *d);
void amdvi_flush(const struct iommu_domain *d, hv_gpa_t gpa, uint64_t size);
void amdvi_format_init(unsigned levels, unsigned phys_bits);

/* amdvi_irq.c */
uint64_t amdvi_irq_blocked(const struct hv_pci_address *requester); /* third word of its entry: no interrupts */
void amdvi_irq_off(uint16_t segment);                               /* frees the tables of remapping entries */
uint32_t amdvi_irq_entries(const struct hv_pci_address *requester);
uint32_t amdvi_irq_table(const struct hv_pci_address *requester);
enum hv_status amdvi_irq_prepare(const struct hv_pci_address *requester);
void amdvi_irq_set(const struct hv_pci_address *requester, uint32_t entry, const struct iommu_irq_target *target);
void amdvi_irq_message(const struct hv_pci_address *requester, uint32_t entry, uint32_t n, struct hv_msi_message *out);
enum hv_status amdvi_ioapic_requester(uint8_t ioapic_id, struct hv_pci_address *out);
uint64_t amdvi_ioapic_entry(uint32_t entry, uint8_t pin, const struct iommu_irq_target *target);

/* amdvi_fault.c */
enum hv_status amdvi_faults_on(struct amdvi_unit *u); /* HV_E_NO_MEMORY; adds to u->control */
void amdvi_faults_quiet(struct amdvi_unit *u);        /* no interrupt is dealt with any more, nor comes */
void amdvi_faults_off(struct amdvi_unit *u);          /* after that, and when the unit does not write any more */
void amdvi_faults_resume(struct amdvi_unit *u);       /* ends a silence whose time is over */
void amdvi_poll(void);

/* amdvi_msi.c: the unit's own interrupts, by its PCI function */
bool amdvi_msi_on(const struct hv_pci_address *function, uint32_t apic_id, uint32_t vector, struct amdvi_msi *saved);
void amdvi_msi_off(const struct hv_pci_address *function, const struct amdvi_msi *saved);

#endif
