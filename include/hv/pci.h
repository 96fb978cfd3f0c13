/* SPDX-License-Identifier: MIT */
/*
 * The native API of device assignment: what virt/whp's virtual PCI functions are a shim over; and interrupts of the
 * host's own devices, when the library has switched interrupt remapping on.
 *
 * Context of all functions: thread (may sleep), unless the comment says otherwise.
 */
#ifndef HV_PCI_H
#define HV_PCI_H

#include <hv/hv.h>

/* ------------------------------------------------------------------------------- the machine */

/* Bus, device and function as in a requester ID. */
#define HV_PCI_BDF(bus, device, function) ((uint16_t)((bus) << 8 | (device) << 3 | (function)))

struct hv_pci_address {
    uint16_t segment, bdf;
};

struct hv_msi_message {
    uint64_t address;
    uint32_t data;
};

struct hv_vpci_ids { /* WHV_VPCI_HARDWARE_IDS */
    uint16_t vendor, device;
    uint8_t revision, prog_if, sub_class, base_class;
    uint16_t sub_vendor, sub_system;
};

/* The n-th function of the machine, in the order of segment, bus, device. HV_E_NOT_FOUND; HV_E_NO_MEMORY. */
struct hv_pci_function {
    struct hv_pci_address address;
    struct hv_vpci_ids ids;
};
enum hv_status hv_pci_function(uint32_t n, struct hv_pci_function *out);

struct hv_iommu_platform {
    bool present;           /* devices can be confined to a partition */
    bool remaps_interrupts; /* and so can their interrupts */
    const char *name;       /* as the manuals call it, or "none" */
    char reason[160];       /* when something is missing: one line that says what */
    bool posts_interrupts;  /* to VPs directly, where the CPUs take them (HV_AVOID_POSTED_INTERRUPTS) */
};

/* Looks at the machine once. Switches nothing on. */
const struct hv_iommu_platform *hv_iommu_platform(void);

/*
 * Switches DMA and interrupt remapping on, before the first device is assigned; the host may do it early, so that its
 * own devices are confined as well (hv_host_dma_range). One user more; hv_iommu_off takes one back, and the last one
 * switches it off. Assigned devices are users, and so is one that did not come to rest when it was given back, until it
 * has been assigned and given back once more, and does. HV_E_NOT_PRESENT: there is no IOMMU, or somebody else uses it
 * (logged). HV_E_NO_MEMORY.
 */
enum hv_status hv_iommu_on(void);
void hv_iommu_off(void);

/*
 * For a host that manages the IOMMU itself: it keeps it, and supplies these. Used in place of the library's own
 * drivers, which then look at no hardware. Context of all but irq_set: thread; calls exclude each other, but for
 * irq_set.
 *   static const struct hv_iommu_ops ops = {.name = "mine", .map = my_map, ...};
 *   hv_iommu_use(&ops);
 */
struct hv_iommu_ops {
    const char *name;
    bool remaps_interrupts; /* without: the functions on interrupts are NULL, and only HV_VPCI_UNSAFE passes devices */
    /* An address space of devices, empty; NULL: no memory. Nobody is attached to it when it is destroyed. */
    void *(*domain_create)(void);
    void (*domain_destroy)(void *domain);
    /*
     * Whole pages. Nothing is mapped there when map is called. False: no memory, or an address that the hardware can
     * not have; the range then stays as it is, and devices do not reach it (logged). When unmap returns, no DMA goes
     * to what was mapped there; there may be holes in the range.
     */
    bool (*map)(void *domain, hv_gpa_t gpa, hv_hpa_t pa, uint64_t size, bool is_writable);
    void (*unmap)(void *domain, hv_gpa_t gpa, uint64_t size);
    /*
     * From when attach returns, the requester's DMA goes to the domain, nowhere (NULL), or, after give_back, where the
     * host wants. HV_E_NO_MEMORY; HV_E_NOT_PRESENT: it is not behind an IOMMU; HV_E_UNSUPPORTED: it can not be passed.
     */
    enum hv_status (*attach)(const struct hv_pci_address *requester, void *domain);
    void (*give_back)(const struct hv_pci_address *requester);
    /*
     * Remapping entries: `count`, a power of 2, that follow one another from an aligned number on, for interrupts of
     * this requester only. They block, until irq_set says which vector they raise (of hv_host_irq_alloc's) at which
     * local APIC; vector 0: they block again. irq_set: any context but NMI; does not sleep.
     * irq_message: what the device sends for entry first + n; for n = 0 the device may put further numbers into the low
     * bits of the data (MSI). HV_E_NO_MEMORY.
     */
    enum hv_status (*irq_alloc)(const struct hv_pci_address *requester, uint32_t count, uint32_t *first);
    void (*irq_free)(const struct hv_pci_address *requester, uint32_t first, uint32_t count);
    void (*irq_set)(const struct hv_pci_address *requester, uint32_t entry, uint8_t vector, uint32_t apic_id);
    void (*irq_message)(const struct hv_pci_address *requester, uint32_t first, uint32_t n, struct hv_msi_message *out);
};
/* Before anything else of this header. HV_E_STATE: too late. HV_E_INVALID: a function is missing. */
enum hv_status hv_iommu_use(const struct hv_iommu_ops *ops);

/* --------------------------------------------------------------------- the host's interrupts */

/*
 * While interrupts are remapped, those of the host's own devices have to come through remapping entries too. These make
 * or change the entry and say what to write where; without remapping they say what goes there as ever.
 * `cpu` takes the interrupt, as `vector`. HV_E_NO_MEMORY: no entry is free. HV_E_INVALID: arguments, or an APIC ID that
 * needs remapping, which there is not. HV_E_NOT_PRESENT: no unit sees its interrupts. HV_E_NOT_FOUND: the ACPI tables
 * do not say what the IOAPIC is to the remapping hardware.
 * A device that sends several messages by MSI (not MSI-X) can only have its first one here: index 0.
 */
enum hv_status hv_remap_msi(const struct hv_pci_address *device, uint32_t index, uint32_t cpu, uint8_t vector,
                            struct hv_msi_message *out);
void hv_remap_msi_free(const struct hv_pci_address *device, uint32_t index);
/*
 * The redirection entry for an IOAPIC's pin, by the ID that ACPI has for the IOAPIC. Its low byte need not be the
 * vector: then a level-triggered pin hears of its EOI only by the IOAPIC's own EOI register, which takes that byte.
 */
enum hv_status hv_remap_ioapic(uint8_t ioapic_id, uint8_t pin, uint32_t cpu, uint8_t vector, bool is_level, bool is_low,
                               uint64_t *entry);

/*
 * fn(arg) is called whenever remapping has been switched on or off: what the functions above have said is void, and the
 * host asks and writes anew. Interrupts that came in between are lost: the host looks at its devices once. One
 * listener; NULL: none. It is called on the thread that switched; hv_iommu_on and off return after it.
 */
void hv_remap_on_change(void (*fn)(void *arg), void *arg);

/* --------------------------------------------------------------------------------- resources */

/* A device of the machine that can be given to a partition, or none, for a software device. */
struct hv_vpci_resource;

/*
 * The device may be passed on also where it can not be kept in its partition; the log then warns of what is not kept.
 * With an IOMMU that remaps no interrupts its DMA is confined as ever, but its guest can have it raise any interrupt of
 * the host's. Without an IOMMU its DMA is not translated either: the addresses that the guest gives it are the host's.
 * It reaches the guest's memory only if the guest is told where that is in the host, and a guest that is not overwrites
 * memory of others, without meaning harm. Where all is kept the flag makes no difference.
 */
#define HV_VPCI_UNSAFE (1u << 0)

/*
 * NULL address: an empty resource. HV_E_NOT_FOUND: no such function, or it is not one that can be passed on (logged
 * why). HV_E_NO_MEMORY.
 */
enum hv_status hv_vpci_resource_open(const struct hv_pci_address *address, uint32_t flags,
                                     struct hv_vpci_resource **out);
void hv_vpci_resource_close(struct hv_vpci_resource *resource); /* a device made of it lives on */

/* ----------------------------------------------------------------------------------- devices */

#define HV_VPCI_PHYSICAL           (1u << 0) /* WHvCreateVpciDeviceFlagPhysicallyBacked */
#define HV_VPCI_LOGICAL_INTERRUPTS (1u << 1) /* WHvCreateVpciDeviceFlagUseLogicalInterrupts */

/*
 * Adds a device with the caller's id; a physical one can from now on reach the partition's memory by DMA, and nothing
 * else. `event` is a HANDLE or NULL: notifications. HV_E_INVALID; HV_E_CONFLICT: the id is taken, or the device (or one
 * that can not be told from it) is somebody's already; HV_E_NOT_PRESENT: no IOMMU (logged what is missing);
 * HV_E_ACCESS_DENIED: the partition's properties do not allow it, or the device shares its group with one that stays;
 * HV_E_UNSUPPORTED: it can not be passed on, HV_E_IN_USE: it does not come to rest (both logged); HV_E_STATE: not set
 * up. HV_E_NO_MEMORY.
 */
enum hv_status hv_vpci_create(struct hv_partition *p, uint64_t id, struct hv_vpci_resource *resource, uint32_t flags,
                              void *event);
/*
 * Quiesces, resets and frees it, with its mappings and interrupts; pages of its BARs are unmapped from the guest.
 * HV_E_DEVICE: no such device; so below. HV_E_NO_MEMORY: to split a large page with a BAR in it; it is still there.
 */
enum hv_status hv_vpci_delete(struct hv_partition *p, uint64_t id);

/* What follows, up to interrupts, is answered for devices of the machine; HV_E_INVALID for a software device. */
enum hv_status hv_vpci_ids(struct hv_partition *p, uint64_t id, struct hv_vpci_ids *out);
enum hv_status hv_vpci_probed_bars(struct hv_partition *p, uint64_t id, uint32_t bars[6]);

enum hv_vpci_notification { HV_VPCI_NOTIFY_NONE, HV_VPCI_NOTIFY_MMIO, HV_VPCI_NOTIFY_REMOVAL };
/*
 * The next one of the queue, also for software devices, that have none. REMOVAL: the device does not answer any more;
 * found out when it is used.
 */
enum hv_status hv_vpci_notification(struct hv_partition *p, uint64_t id, enum hv_vpci_notification *out);

/* Pieces of the BARs, sorted by BAR and offset, without gaps. An array of the library's, valid until unmapped. */
struct hv_vpci_range { /* WHV_VPCI_MMIO_MAPPING */
    uint32_t bar;
    uint32_t flags; /* NPT_READ | NPT_WRITE: may be mapped into the guest so; without: by hv_vpci_read and write only */
    uint64_t size, offset;
    void *memory;
};
/* HV_E_STATE: not in D0. HV_E_NO_MEMORY. */
enum hv_status hv_vpci_map(struct hv_partition *p, uint64_t id, struct hv_vpci_range **ranges, uint32_t *count);
enum hv_status hv_vpci_unmap(struct hv_partition *p, uint64_t id);

enum hv_status hv_vpci_set_power(struct hv_partition *p, uint64_t id, uint32_t state); /* 0 (D0) to 3 */

/*
 * Configuration space (HV_VPCI_CONFIG) and BARs, as the guest is to see them: the MSI-X table is a virtual one, whose
 * entries hold messages of the guest's (or what hv_vpci_map_interrupt gave); MSI likewise. 1, 2, 4 or 8 bytes, aligned;
 * configuration up to 4. HV_E_INVALID: out of range; HV_E_STATE: a BAR, and not in D0.
 */
#define HV_VPCI_CONFIG 0xffffffffu
enum hv_status hv_vpci_read(struct hv_partition *p, uint64_t id, uint32_t space, uint64_t offset, uint32_t size,
                            void *data);
enum hv_status hv_vpci_write(struct hv_partition *p, uint64_t id, uint32_t space, uint64_t offset, uint32_t size,
                             const void *data);

/* -------------------------------------------------------------------------------- interrupts */

struct hv_vpci_target {
    uint8_t vector;
    bool is_multicast;
    uint64_t vps; /* bit n: VP n; not empty; more than one only with is_multicast, else the lowest of them */
};

/*
 * Makes interrupt `index` with `count` messages (a power of 2 up to 32); the message is what the guest, or the client
 * for it, puts into the device: address and data of the first one; the number of a further one is added to the data.
 * No plain message looks like these. HV_E_INVALID: the index is above 65535, or the target has no VP of the partition's
 * or a vector below 16; HV_E_CONFLICT: the index is taken; HV_E_STATE: no local APICs. HV_E_NO_MEMORY.
 */
enum hv_status hv_vpci_map_interrupt(struct hv_partition *p, uint64_t id, uint32_t index, uint32_t count,
                                     const struct hv_vpci_target *target, struct hv_msi_message *out);
/* When it returns, it is not raised any more. HV_E_INVALID: there is none; so below. */
enum hv_status hv_vpci_unmap_interrupt(struct hv_partition *p, uint64_t id, uint32_t index);
/*
 * At any time: each interrupt goes to the one target as a whole, or to the other; when it returns, a device of the
 * machine raises no more for the old one.
 */
enum hv_status hv_vpci_retarget(struct hv_partition *p, uint64_t id, const struct hv_msi_message *message,
                                const struct hv_vpci_target *target);
enum hv_status hv_vpci_interrupt_target(struct hv_partition *p, uint64_t id, uint32_t index, uint32_t message,
                                        struct hv_vpci_target *out);
/*
 * As the device would raise it: a message that was mapped, or a plain one (fixed, lowest priority, NMI), which is an
 * edge. Context: any but NMI. HV_E_INVALID: it is neither; HV_E_STATE: a device without HV_VPCI_LOGICAL_INTERRUPTS, or
 * no local APICs.
 */
enum hv_status hv_vpci_request(struct hv_partition *p, uint64_t id, const struct hv_msi_message *message);

#endif
