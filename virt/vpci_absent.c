/* SPDX-License-Identifier: MIT */
/* Stands in for drivers/pci/passthrough.c until it is there: no device of the machine can be passed on. */
#include <pci/passthrough.h>

#define ABSENT __attribute__((weak))

ABSENT enum hv_status passthrough_assign(const struct pci_device *pci, uint32_t flags,
                                         const struct passthrough_ops *ops, const void *client, void *owner,
                                         struct passthrough_device **out)
{
    (void)pci, (void)flags, (void)ops, (void)client, (void)owner, (void)out;
    return HV_E_NOT_PRESENT;
}
ABSENT void passthrough_unassign(struct passthrough_device *d)
{
    (void)d;
}
ABSENT enum hv_status passthrough_attach(struct passthrough_device *d, struct iommu_domain *domain)
{
    (void)d, (void)domain;
    return HV_E_NOT_PRESENT;
}
ABSENT const struct pci_device *passthrough_pci(const struct passthrough_device *d)
{
    (void)d;
    return NULL;
}
ABSENT uint32_t passthrough_config_read(struct passthrough_device *d, uint32_t offset, uint32_t size)
{
    (void)d, (void)offset, (void)size;
    return UINT32_MAX;
}
ABSENT void passthrough_config_write(struct passthrough_device *d, uint32_t offset, uint32_t size, uint32_t value)
{
    (void)d, (void)offset, (void)size, (void)value;
}
ABSENT enum hv_status passthrough_bar_read(struct passthrough_device *d, uint32_t bar, uint64_t offset, uint32_t size,
                                           uint64_t *value)
{
    (void)d, (void)bar, (void)offset, (void)size, (void)value;
    return HV_E_NOT_PRESENT;
}
ABSENT enum hv_status passthrough_bar_write(struct passthrough_device *d, uint32_t bar, uint64_t offset, uint32_t size,
                                            uint64_t value)
{
    (void)d, (void)bar, (void)offset, (void)size, (void)value;
    return HV_E_NOT_PRESENT;
}
ABSENT enum hv_status passthrough_map(struct passthrough_device *d, struct hv_vpci_range **ranges, uint32_t *count)
{
    (void)d, (void)ranges, (void)count;
    return HV_E_NOT_PRESENT;
}
ABSENT void passthrough_unmap(struct passthrough_device *d)
{
    (void)d;
}
ABSENT void passthrough_probed_bars(const struct passthrough_device *d, uint32_t bars[PCI_BARS])
{
    (void)d, (void)bars;
}
ABSENT enum hv_status passthrough_set_power(struct passthrough_device *d, uint32_t state)
{
    (void)d, (void)state;
    return HV_E_NOT_PRESENT;
}
ABSENT void passthrough_retarget(struct passthrough_device *d)
{
    (void)d;
}
