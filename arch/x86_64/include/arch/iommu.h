/* SPDX-License-Identifier: MIT */
/*
 * DMA and interrupt remapping: the contract between drivers/pci and virt/ on one side and the kinds of IOMMU on the
 * other. iommu.c implements it over one of the twins, vtd.c and amdvi.c.
 *
 * A requester is in one of three places: blocked (reaches nothing, and its interrupts are dropped), the host's
 * (hv_host_dma_range), or a domain's. Requesters that nobody has spoken of are the host's.
 * Thread context unless said otherwise.
 */
#ifndef ARCH_IOMMU_H
#define ARCH_IOMMU_H

#include <arch/npt.h>
#include <hv/pci.h>

/* An address space of devices: what the partition's memory map says, in the IOMMU's own tables. */
struct iommu_domain {
    struct npt npt; /* changed by npt_map, npt_unmap; then iommu_flush */
    uint16_t id;    /* the hardware's tag; 0 is nobody's */
};

/*
 * Switches all units on, for one user more, and off again for the last one. `each` calls found for every requester that
 * there is: from the first moment on it is the host's, or blocked, unless it is in another place already. What `each`
 * does not name is blocked. Off forgets both; who is attached to a domain stays so. Status as hv_iommu_on.
 */
typedef enum hv_status iommu_found_fn(const struct hv_pci_address *requester, bool is_blocked);
enum hv_status iommu_on(enum hv_status (*each)(iommu_found_fn *found));
void iommu_off(void);

enum hv_status iommu_domain_create(struct iommu_domain **out); /* empty. HV_E_NO_MEMORY, HV_E_NOT_PRESENT */
void iommu_domain_destroy(struct iommu_domain *d);             /* nobody is attached */

/* When it returns, no DMA goes by what the tables said before in this range. Then npt_reap is allowed. */
void iommu_flush(struct iommu_domain *d, hv_gpa_t gpa, uint64_t size);

/*
 * Where a requester's DMA goes, also before iommu_on. When it returns, nothing goes where it went before. NULL:
 * blocked. In case of an error nothing has changed: HV_E_NO_MEMORY; HV_E_NOT_PRESENT: no unit is responsible for it;
 * HV_E_UNSUPPORTED: firmware wants it to reach memory for good (logged).
 */
enum hv_status iommu_attach(const struct hv_pci_address *requester, struct iommu_domain *d);
/* To the host. Should there be no memory for what that takes, it stays blocked (logged). */
void iommu_give_back(const struct hv_pci_address *requester);

/* -------------------------------------------------------------------------------- interrupts */

/* Remapping entries that follow one another, for one requester. */
struct iommu_irq {
    struct hv_pci_address requester;
    uint32_t first, count;
};

/* What an entry does; all zero: it blocks. */
struct iommu_irq_target {
    bool is_valid;
    uint8_t vector;   /* of the host's; of the guest's, if it is posted */
    uint32_t apic_id; /* physical */
    bool is_level, is_low;
    hv_hpa_t posted; /* with iommu_irq_posts: the descriptor (arch/posted.h) that it is put into; 0: it is not */
};

/* Can entries of this requester post interrupts to VPs? */
bool iommu_irq_posts(const struct hv_pci_address *requester);

/*
 * `count` is a power of 2. All block. HV_E_NO_MEMORY: no such run is free. HV_E_NOT_PRESENT: interrupts are not
 * remapped, or not now. All are freed before iommu_off.
 */
enum hv_status iommu_irq_alloc(const struct hv_pci_address *requester, uint32_t count, struct iommu_irq *out);
void iommu_irq_free(struct iommu_irq *irq); /* they block, and then belong to nobody; all zero afterwards */

/*
 * When it returns, interrupts go by this; those that went by what was before have arrived, posted ones in the
 * descriptor. None is lost in between, unless it blocks before or after. Context: any but NMI; does not sleep.
 */
void iommu_irq_set(const struct iommu_irq *irq, uint32_t n, const struct iommu_irq_target *target);

/*
 * What the device sends for the first entry; further ones by `n` in an MSI-X table, or by the low bits that the device
 * puts into the data, with MSI (for which they need count entries that are aligned).
 */
void iommu_irq_message(const struct iommu_irq *irq, uint32_t n, struct hv_msi_message *out);

/* The requester that an IOAPIC is for the remapping hardware; HV_E_NOT_FOUND: the tables do not say. */
enum hv_status iommu_ioapic_requester(uint8_t ioapic_id, struct hv_pci_address *out);
/* The redirection entry that leads to the irq's first entry. */
uint64_t iommu_ioapic_entry(const struct iommu_irq *irq, uint8_t pin, const struct iommu_irq_target *target);

/* hv_remap_msi, for a device whose interrupts arrive as this requester's. */
enum hv_status iommu_remap_msi(const struct hv_pci_address *device, const struct hv_pci_address *requester,
                               uint32_t index, uint32_t cpu, uint8_t vector, struct hv_msi_message *out);

/* ------------------------------------------------------------------------------------ faults */

enum iommu_fault_kind { IOMMU_FAULT_READ, IOMMU_FAULT_WRITE, IOMMU_FAULT_INTERRUPT };

struct iommu_fault {
    struct hv_pci_address requester;
    enum iommu_fault_kind kind;
    uint64_t address; /* or the index of the interrupt */
    uint8_t code;     /* the hardware's */
    const char *text; /* what it means */
};
/*
 * Faults are logged, one readable line each, and no more than a few a second for each requester and some hundred for
 * all; and told to this one. Interrupt context.
 */
void iommu_on_fault(void (*fn)(const struct iommu_fault *fault, void *arg), void *arg);

/* -------------------------------------------------------------------------------- topology */

/*
 * Which buses are behind a bridge: false when it is none, or nobody knows. Told by drivers/pci, once it does; tables
 * that name bridges go by it. Does not sleep. Context: any but NMI.
 */
typedef bool iommu_bridge_fn(const struct hv_pci_address *bridge, uint8_t *first, uint8_t *last);
void iommu_set_bridges(iommu_bridge_fn *fn);
bool iommu_bridge_buses(const struct hv_pci_address *bridge, uint8_t *first, uint8_t *last);

/* Are there registers of a unit in this range of memory? No device is to be believed that it has its own there. */
bool iommu_registers_at(hv_hpa_t pa, uint64_t size);

/* -------------------------------------------------------------------------------- the twins */

/* A fault that a twin has found. Any context but NMI. */
void iommu_report(const struct iommu_fault *fault);

/*
 * All that changes what is attached excludes each other, and so do setting entries. attach and irq_prepare come before
 * `on` too; format and domain_ids once probe has said yes.
 */
struct iommu_backend {
    const char *name;
    /* by the ACPI tables; false: not this kind (no reason), or unusable (reason). Keeps no memory. */
    bool (*probe)(struct hv_iommu_platform *platform);
    /*
     * All units, with what is attached and set by then. HV_E_NOT_PRESENT: somebody else uses one of them, or it does
     * not work (logged). HV_E_NO_MEMORY. After a failure it is off.
     */
    enum hv_status (*on)(void);
    /* As it was before. Nothing is attached and no entry set any more, and all memory is given back. Also without on.
     */
    void (*off)(void);
    const struct npt_format *(*format)(void); /* of domains, that all units can walk */
    uint32_t (*domain_ids)(void);             /* how many there are, with 0, which is not for domains */
    /* NULL: blocked. HV_E_NO_MEMORY, HV_E_NOT_PRESENT: no unit is responsible for it. */
    enum hv_status (*attach)(const struct hv_pci_address *requester, const struct iommu_domain *d);
    void (*flush)(const struct iommu_domain *d, hv_gpa_t gpa, uint64_t size);
    /*
     * Memory that firmware wants the requester to reach for good, at the same addresses: the n-th range. A requester
     * that has some is not for domains other than the host's, whose tables have it.
     */
    bool (*reserved)(const struct hv_pci_address *requester, uint32_t n, hv_hpa_t *start, uint64_t *size);
    /* the table of remapping entries for a requester: how many it has, and setting one (any context) */
    uint32_t (*irq_entries)(const struct hv_pci_address *requester);
    /* requesters for which this is the same number share one table. NULL: all do */
    uint32_t (*irq_table)(const struct hv_pci_address *requester);
    enum hv_status (*irq_prepare)(const struct hv_pci_address *requester); /* its table is there. HV_E_NO_MEMORY */
    bool (*irq_posts)(const struct hv_pci_address *requester);             /* NULL: no unit does */
    void (*irq_set)(const struct hv_pci_address *requester, uint32_t entry, const struct iommu_irq_target *target);
    void (*irq_message)(const struct hv_pci_address *requester, uint32_t entry, uint32_t n, struct hv_msi_message *out);
    enum hv_status (*ioapic_requester)(uint8_t ioapic_id, struct hv_pci_address *out);
    uint64_t (*ioapic_entry)(uint32_t entry, uint8_t pin, const struct iommu_irq_target *target);
    /* one unit's registers after the other; false: no further one. NULL: the host's. Once probe has said yes */
    bool (*registers)(uint32_t n, hv_hpa_t *start, uint64_t *size);
    void (*poll)(void); /* reports faults that no interrupt has told of yet. Any context but NMI */
    /*
     * For units that are the host's; NULL elsewhere. A domain comes and goes; a requester is the host's again; entries
     * are the host's to give.
     */
    enum hv_status (*domain_create)(const struct iommu_domain *d);
    void (*domain_destroy)(const struct iommu_domain *d);
    void (*give_back)(const struct hv_pci_address *requester);
    enum hv_status (*irq_alloc)(const struct hv_pci_address *requester, uint32_t count, uint32_t *first);
    void (*irq_free)(const struct hv_pci_address *requester, uint32_t first, uint32_t count);
};
extern const struct iommu_backend vtd_backend, amdvi_backend;
extern const struct iommu_backend *const iommu_backends[]; /* up to NULL; the first whose probe says yes is used */

#endif
