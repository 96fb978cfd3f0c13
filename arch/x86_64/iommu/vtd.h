/* SPDX-License-Identifier: MIT */
/*
 * VT-d: what its files share.
 *
 * Tables are made when something is attached or an interrupt is prepared, also before the units are on; then only
 * memory is written. A unit's lock is for its queue and commands and for remapping entries; calls that attach exclude
 * each other.
 */
#ifndef IOMMU_VTD_H
#define IOMMU_VTD_H

#include "dmar.h"
#include "vtd_regs.h"
#include <arch/cpu.h>
#include <hv/base/lock.h>

#define VTD_TIMEOUT_NS 1000000000ull /* a unit that takes longer over anything does not work */

/* Faults are told by interrupts, unless there are more than these in such a time: then the unit is silent for as long.
 */
#define VTD_FAULTS_MAX  1000u
#define VTD_FAULTS_TIME 1000000000ull

/* One of a unit's structures in memory of the host's. */
struct vtd_table {
    uint64_t *words; /* NULL: there is none yet */
    hv_hpa_t pa;
};

struct vtd_queue {
    struct vtd_table ring;
    struct vtd_table status; /* where the unit writes that it has come to the end of a request */
    uint32_t tail, ticket;
};

struct vtd_faults {
    uint32_t vector;   /* 0: none, only vtd_poll */
    uint32_t saved[4]; /* FECTL, FEDATA, FEADDR, FEUADDR as they were */
    uint64_t since;    /* when the count began */
    uint32_t count;
    bool is_silent;
    uint64_t lost_at; /* when it was last said that faults were lost */
};

struct vtd_unit {
    const struct dmar_unit *acpi;
    uint64_t cap, ecap;
    struct hv_spin lock;
    bool is_on;
    void *regs; /* mapped while it is on */
    uint64_t regs_size;
    uint32_t saved_pmen;
    struct vtd_queue queue;
    struct vtd_faults faults;
    struct vtd_table root, irqs;
};

/* What all units have in common. */
struct vtd {
    struct dmar dmar;
    struct vtd_unit units[DMAR_UNITS];
    struct npt_format format;
    uint32_t domain_ids;
    bool is_snooping; /* all of them read tables by snooping the CPUs' caches */
    bool remaps;      /* interrupts */
    bool is_x2apic;   /* destinations have 32 bits */
};
extern struct vtd vtd;

static inline uint32_t vtd_read32(const struct vtd_unit *u, uint32_t offset)
{
    return cpu_mmio_read32((const char *)u->regs + offset);
}

static inline uint64_t vtd_read64(const struct vtd_unit *u, uint32_t offset)
{
    return cpu_mmio_read64((const char *)u->regs + offset);
}

static inline void vtd_write32(const struct vtd_unit *u, uint32_t offset, uint32_t value)
{
    cpu_mmio_write32((char *)u->regs + offset, value);
}

static inline void vtd_write64(const struct vtd_unit *u, uint32_t offset, uint64_t value)
{
    cpu_mmio_write64((char *)u->regs + offset, value);
}

/* vtd.c */
struct vtd_unit *vtd_unit_of(const struct hv_pci_address *requester); /* NULL: none */
void vtd_written(const volatile void *p, size_t size);                /* by the CPU: for units that do not snoop */
enum hv_status vtd_table_make(struct vtd_table *t, uint32_t pages);   /* zeroed; HV_OK when it is there already */
void vtd_table_free(struct vtd_table *t, uint32_t pages);
/* Does something once, or sets a state, and waits until it is so. False: the unit does not (logged). */
bool vtd_command(struct vtd_unit *u, uint32_t bit, bool set);

/* vtd_queue.c */
struct vtd_request {
    uint64_t low, high;
};
enum hv_status vtd_queue_on(struct vtd_unit *u); /* HV_E_NO_MEMORY, HV_E_NOT_PRESENT: it does not work (logged) */
void vtd_queue_off(struct vtd_unit *u);
/*
 * Has these few requests done. A unit that does not do them can not be trusted to keep devices off memory any more:
 * false, logged. Context: any but NMI; vtd_invalidate stops the machine in place of coming back with false.
 */
bool vtd_queue_run(struct vtd_unit *u, const struct vtd_request *requests, uint32_t count);
void vtd_invalidate(struct vtd_unit *u, const struct vtd_request *requests, uint32_t count);
bool vtd_invalidate_all(struct vtd_unit *u); /* contexts, translations, and interrupts if it remaps them */

/* vtd_dma.c */
enum hv_status vtd_dma_on(struct vtd_unit *u);
void vtd_dma_off(struct vtd_unit *u); /* frees the tables */
enum hv_status vtd_attach(const struct hv_pci_address *requester, const struct iommu_domain *d);
void vtd_flush(const struct iommu_domain *d, hv_gpa_t gpa, uint64_t size);
void vtd_format_init(unsigned levels, unsigned max_leaf_level);

/* vtd_irq.c */
enum hv_status vtd_irq_on(struct vtd_unit *u);
void vtd_irq_off(struct vtd_unit *u);
uint32_t vtd_irq_entries(const struct hv_pci_address *requester);
uint32_t vtd_irq_table(const struct hv_pci_address *requester); /* the unit's number */
bool vtd_irq_posts(const struct hv_pci_address *requester);
enum hv_status vtd_irq_prepare(const struct hv_pci_address *requester);
void vtd_irq_set(const struct hv_pci_address *requester, uint32_t entry, const struct iommu_irq_target *target);
void vtd_irq_message(const struct hv_pci_address *requester, uint32_t entry, uint32_t n, struct hv_msi_message *out);
enum hv_status vtd_ioapic_requester(uint8_t ioapic_id, struct hv_pci_address *out);
uint64_t vtd_ioapic_entry(uint32_t entry, uint8_t pin, const struct iommu_irq_target *target);

/* vtd_fault.c */
void vtd_faults_on(struct vtd_unit *u);
void vtd_faults_off(struct vtd_unit *u);
void vtd_faults_resume(struct vtd_unit *u); /* ends a silence whose time is over */
void vtd_poll(void);

#endif
