/* SPDX-License-Identifier: MIT */
/*
 * A device of the machine in the hands of an owner: the emulated configuration space, the virtual MSI-X table and MSI,
 * the BARs, and the physical interrupts behind them.
 *
 * An owner never reaches the physical MSI-X table, MSI registers, BARs or bus numbers: what it writes there is kept
 * here, and becomes remapping entries. Functions on one device exclude each other by its lock, unless said otherwise.
 */
#ifndef PCI_PASSTHROUGH_H
#define PCI_PASSTHROUGH_H

#include "device.h"
#include <arch/iommu.h>

enum passthrough_kind {
    PASSTHROUGH_GENERIC,
    PASSTHROUGH_VIRTIO_NET,
    PASSTHROUGH_VIRTIO_BLOCK,
    PASSTHROUGH_VIRTIO_GPU,
    PASSTHROUGH_VIRTIO_SOUND,
};

/* Where interrupts can be put without anybody's help: a descriptor (arch/posted.h), and the vector there. */
struct passthrough_posting {
    hv_hpa_t descriptor;
    uint8_t vector;
};

/* What an interrupt of the device does: the owner's. None of the functions calls back into the device. */
struct passthrough_ops {
    /*
     * A message of the guest's was raised: its address and data as the guest wrote them. Interrupt context, any CPU;
     * for pending bits that are delivered when a vector is unmasked also thread context.
     */
    void (*interrupt)(void *owner, const struct hv_msi_message *message);
    /* On which CPU would the message best arrive? Asked when a vector is set up or changed. Any context. */
    uint32_t (*cpu_of)(void *owner, const struct hv_msi_message *message);
    /*
     * Can it be posted, in place of calling `interrupt`? While the answer stands; passthrough_retarget asks anew. Asked
     * like cpu_of, under the device's lock, where the hardware posts. NULL: none can.
     */
    bool (*post_to)(void *owner, const struct hv_msi_message *message, struct passthrough_posting *out);
};

struct passthrough_device;

/* One vector of the device: MSI-X entry or MSI message, with a host vector and a remapping entry behind it. */
struct passthrough_vector {
    struct passthrough_device *device;
    struct iommu_irq irq;           /* MSI-X: of its own; count 0: none, or not remapped */
    struct iommu_irq_target target; /* what the entry says */
    uint32_t host_vector, cpu;
    volatile uint32_t sending; /* handlers that may be about to hand on what the models were before */
    uint16_t index;            /* entry or message */
    bool is_active;
};

/*
 * Takes the function for `owner`, who gets its interrupts; blocks its DMA, resets it. All of its group that are not
 * bridges are `client`'s (a partition's) from now on, until the last one that was assigned is given back: further ones
 * can be assigned to owners of that client only, and those that are not can do no DMA.
 * HV_E_CONFLICT: it is assigned, or one of its group is to another client. HV_E_ACCESS_DENIED: one of its group is the
 * host's and in use (its bus mastering is on). HV_E_NOT_PRESENT: no IOMMU or no interrupt
 * remapping, without HV_VPCI_UNSAFE in flags. HV_E_UNSUPPORTED: it can not be reset, is `refused`, or firmware needs
 * it. HV_E_IN_USE: it does not come to rest. HV_E_NO_MEMORY. All but the last are logged.
 */
enum hv_status passthrough_assign(const struct pci_device *pci, uint32_t flags, const struct passthrough_ops *ops,
                                  const void *client, void *owner, struct passthrough_device **out);
/*
 * Quiesces, resets, restores, frees vectors and entries, blocks DMA: assignable again. No page of its BARs is mapped
 * into a guest any more.
 */
void passthrough_unassign(struct passthrough_device *d);

/*
 * Its DMA goes to this domain from now on (NULL: nowhere). HV_E_CONFLICT: another one of its group that can not be told
 * from it has another domain; HV_E_ACCESS_DENIED, HV_E_NO_MEMORY: nothing has changed.
 */
enum hv_status passthrough_attach(struct passthrough_device *d, struct iommu_domain *domain);

const struct pci_device *passthrough_pci(const struct passthrough_device *d);
enum passthrough_kind passthrough_kind(const struct passthrough_device *d);

/*
 * The emulated configuration space: size 1, 2 or 4, aligned. Writes that change nothing change nothing. What would
 * change bits that no driver of a guest has a reason to write is logged, once for each register, up to some number.
 */
uint32_t passthrough_config_read(struct passthrough_device *d, uint32_t offset, uint32_t size);
void passthrough_config_write(struct passthrough_device *d, uint32_t offset, uint32_t size, uint32_t value);

/*
 * A BAR: the virtual MSI-X table and PBA where they are, else the device. HV_E_INVALID: outside of it. 1, 2, 4, 8
 * bytes, aligned.
 */
enum hv_status passthrough_bar_read(struct passthrough_device *d, uint32_t bar, uint64_t offset, uint32_t size,
                                    uint64_t *value);
enum hv_status passthrough_bar_write(struct passthrough_device *d, uint32_t bar, uint64_t offset, uint32_t size,
                                     uint64_t value);

/* Pages of the BARs that a guest may be given directly: all but those with the MSI-X table or PBA in them. */
enum hv_status passthrough_map(struct passthrough_device *d, struct hv_vpci_range **ranges, uint32_t *count);
void passthrough_unmap(struct passthrough_device *d);

/* What a BAR reads after ones were written to it. */
void passthrough_probed_bars(const struct passthrough_device *d, uint32_t bars[PCI_BARS]);

/* 0 (D0, as after assign) to 3. In others there is no DMA and no interrupt, and BARs do not answer; D3 to D0 resets. */
enum hv_status passthrough_set_power(struct passthrough_device *d, uint32_t state);

/*
 * The targets of messages have changed: asks ops->cpu_of and post_to again for each. When this returns, no call of
 * ops->interrupt of before is under way, and nothing is posted by what was before; so it is with writes to the table,
 * MSI-X control and MSI.
 */
void passthrough_retarget(struct passthrough_device *d);

/* Constant time; NULL: not a passed device's. Any context. */
struct passthrough_vector *passthrough_by_host_vector(uint32_t host_vector);

/* Of all devices: for tests of leaks. */
struct passthrough_counts {
    uint32_t devices, vectors, entries;
};
struct passthrough_counts passthrough_counts(void);

#endif
