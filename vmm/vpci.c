/* SPDX-License-Identifier: MIT */
/* Passed devices: see vmm/vpci.h. Their life, and the guest's accesses. */
#include <vmm/bytes.h>
#include <vmm/vpci_parts.h>

#define FIRST_DEVICE 1u /* at 0:0.0 is the host bridge */

static WHV_PARTITION_HANDLE partition_of(const struct vpci_device *d)
{
    return d->vpci->guest->partition;
}

bool vpci_check(const struct vpci_device *d, HRESULT hr, const char *call)
{
    if (FAILED(hr))
        system_print("vmm: guest %u: " VPCI_PLACE ": %s failed: 0x%08x\n", d->vpci->guest->number,
                     VPCI_PLACE_OF(&d->physical), call, (uint32_t)hr);
    return SUCCEEDED(hr);
}

/* ------------------------------------------------------------------------------------- registers */

/* What can not be read is ones. Pieces, where the access is not aligned. */
uint64_t vpci_read(const struct vpci_device *d, int space, uint64_t offset, uint32_t size)
{
    uint32_t step = offset % size ? 1 : size;
    uint64_t value = 0;

    for (uint32_t done = 0; done < size; done += step) {
        const WHV_VPCI_DEVICE_REGISTER r = {(WHV_VPCI_DEVICE_REGISTER_SPACE)space, step, offset + done};
        uint64_t part = 0;

        if (FAILED(WHvReadVpciDeviceRegister(partition_of(d), d->id, &r, &part)))
            part = step == 8 ? UINT64_MAX : (1ull << step * 8) - 1;
        value |= part << done * 8;
    }
    return value;
}

void vpci_write(const struct vpci_device *d, int space, uint64_t offset, uint32_t size, uint64_t value)
{
    uint32_t step = offset % size ? 1 : size;

    for (uint32_t done = 0; done < size; done += step) {
        const WHV_VPCI_DEVICE_REGISTER r = {(WHV_VPCI_DEVICE_REGISTER_SPACE)space, step, offset + done};
        uint64_t part = value >> done * 8;

        (void)WHvWriteVpciDeviceRegister(partition_of(d), d->id, &r, &part); /* the guest's own mistake */
    }
}

/* ------------------------------------------------------------------------------ the guest's accesses */

static uint32_t on_config_read(void *function, uint32_t offset, uint32_t size)
{
    return (uint32_t)vpci_read(function, WHvVpciConfigSpace, offset, size);
}

static void on_config_write(void *function, uint32_t offset, uint32_t size, uint32_t value)
{
    struct vpci_device *d = function;

    lock_take(&d->vpci->lock);
    vpci_write(d, WHvVpciConfigSpace, offset, size, value);
    (void)vpci_bar_listen(d);
    vpci_bar_place(d->vpci);
    lock_release(&d->vpci->lock);
}

/* Looked up with the lock, done without: a device answers when it pleases. */
static const struct vpci_device *find(struct vpci *vpci, bool is_io, uint64_t address, uint32_t size, uint32_t *index,
                                      uint64_t *offset)
{
    const struct vpci_device *d;

    lock_take(&vpci->lock);
    d = vpci_bar_find(vpci, is_io, address, size, index, offset);
    lock_release(&vpci->lock);
    return d;
}

static uint64_t bar_read(void *device, bool is_io, uint64_t address, uint32_t size)
{
    uint32_t index = 0;
    uint64_t offset = 0;
    const struct vpci_device *d = find(device, is_io, address, size, &index, &offset);

    return d ? vpci_read(d, (int)index, offset, size) : UINT64_MAX;
}

static void bar_write(void *device, bool is_io, uint64_t address, uint32_t size, uint64_t value)
{
    uint32_t index = 0;
    uint64_t offset = 0;
    const struct vpci_device *d = find(device, is_io, address, size, &index, &offset);

    if (d)
        vpci_write(d, (int)index, offset, size, value);
}

static uint64_t memory_window_read(void *device, uint64_t offset, uint32_t size)
{
    return bar_read(device, false, PCI_MMIO_BASE + offset, size);
}

static void memory_window_write(void *device, uint64_t offset, uint32_t size, uint64_t value)
{
    bar_write(device, false, PCI_MMIO_BASE + offset, size, value);
}

static uint64_t io_window_read(void *device, uint64_t offset, uint32_t size)
{
    return bar_read(device, true, PCI_IO_BASE + offset, size);
}

static void io_window_write(void *device, uint64_t offset, uint32_t size, uint64_t value)
{
    bar_write(device, true, PCI_IO_BASE + offset, size, value);
}

static const struct bus_handler memory_window = {.read = memory_window_read, .write = memory_window_write};
static const struct bus_handler io_window = {.read = io_window_read, .write = io_window_write, .width = 4};

/* ------------------------------------------------------------------------------------------- life */

/* The library has told the details. */
static const char *refusal(HRESULT hr)
{
    static const struct {
        HRESULT hr;
        const char *text;
    } texts[] = {
        {HRESULT_FROM_WIN32(ERROR_NOT_FOUND), "it is none that can be passed on"},
        {HRESULT_FROM_WIN32(ERROR_NOT_SUPPORTED), "it can not be reset, or is malformed"},
        {ERROR_HV_INVALID_PARAMETER, "it, or one that can not be told from it, is somebody's already"},
        {E_ACCESSDENIED, "it can not be told from a device that the host keeps"},
        {E_OUTOFMEMORY, "no memory"},
    };

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (texts[i].hr == hr)
            return texts[i].text;
    return "the hypervisor refuses";
}

static bool refuse(const struct vpci_device *d, const char *word, HRESULT hr)
{
    bool is_confinement = hr == ERROR_HV_OPERATION_DENIED || hr == WHV_E_UNSUPPORTED_HYPERVISOR_CONFIG;
    WHVX_IOMMU iommu = {.Reason = ""};

    if (is_confinement)
        (void)WHvxGetIommu(&iommu);
    system_print("vmm: guest_pci=%s: " VPCI_PLACE " can not be passed on: %s%s%s (0x%08x)\n", word,
                 VPCI_PLACE_OF(&d->physical), is_confinement ? "no IOMMU keeps it to the guest" : refusal(hr),
                 iommu.Reason[0] ? ": " : "", iommu.Reason, (uint32_t)hr);
    return false;
}

static HRESULT make(struct vpci_device *d, UINT64 id, bool is_unsafe)
{
    const WHVX_PCI_RESOURCE_DESCRIPTOR descriptor = {
        .Segment = d->physical.Segment,
        .Bus = d->physical.Bus,
        .Device = d->physical.Device,
        .Function = d->physical.Function,
        .Flags = is_unsafe ? WHVX_PCI_RESOURCE_UNSAFE : 0,
    };
    HANDLE resource = NULL;
    HRESULT hr =
        WHvAllocateVpciResource(NULL, WHvAllocateVpciResourceFlagNone, &descriptor, sizeof(descriptor), &resource);

    if (FAILED(hr))
        return hr;
    hr = WHvCreateVpciDevice(partition_of(d), id, resource, WHvCreateVpciDeviceFlagPhysicallyBacked, NULL);
    if (SUCCEEDED(hr))
        d->id = id;
    (void)WHvxCloseVpciResource(resource); /* the device lives on */
    return hr;
}

static bool add_device(struct vpci *vpci, const char *word)
{
    const struct options *options = vpci->guest->options;
    struct vpci_device *d = &vpci->devices[vpci->count];
    uint8_t place = (uint8_t)(FIRST_DEVICE + vpci->count);
    const struct pci_function function = {on_config_read, on_config_write, d};
    WHVX_PCI_DEVICE taken[OPTIONS_PCI_MAX];
    HRESULT hr;

    for (uint32_t i = 0; i < vpci->count; i++)
        taken[i] = vpci->devices[i].physical;
    d->vpci = vpci;
    if (!vpci_find(word, taken, vpci->count, &d->physical))
        return false;
    hr = make(d, place, options->is_pci_unsafe);
    if (FAILED(hr))
        return refuse(d, word, hr);
    vpci->count++;
    if (!vpci_bar_begin(d) || !pci_add(vpci->guest->pci, place, 0, &function))
        return false;
    system_print("vmm: guest %u: " VPCI_PLACE " (%04x:%04x) is its 00:%02x.0\n", vpci->guest->number,
                 VPCI_PLACE_OF(&d->physical), d->physical.Ids.VendorID, d->physical.Ids.DeviceID, place);
    return true;
}

static bool add_windows(struct vpci *vpci)
{
    struct guest *guest = vpci->guest;

    return bus_add(&guest->mmio, PCI_MMIO_BASE, PCI_MMIO_END - PCI_MMIO_BASE, &memory_window, vpci, "pci memory") &&
           bus_add(&guest->ports, PCI_IO_BASE, PCI_IO_END - PCI_IO_BASE, &io_window, vpci, "pci ports");
}

bool vpci_create(struct guest *guest)
{
    const struct options *options = guest->options;
    struct vpci *vpci;

    if (!options->pci_count || guest->number != 1)
        return true;
    vpci = device_alloc(sizeof(*vpci), "vpci");
    if (!vpci)
        return false;
    guest->vpci = vpci;
    vpci->guest = guest;
    for (uint32_t i = 0; i < options->pci_count; i++)
        if (!add_device(vpci, options->pci[i]))
            return false;
    if (!add_windows(vpci) || !vpci_bar_give_addresses(vpci))
        return false;
    vpci_bar_place(vpci);
    return true;
}

void vpci_poll(struct guest *guest)
{
    struct vpci *vpci = guest->vpci;
    bool heard = false;

    if (!vpci)
        return;
    lock_take(&vpci->lock);
    for (uint32_t i = 0; i < vpci->count; i++)
        heard |= vpci_bar_listen(&vpci->devices[i]);
    if (heard)
        vpci_bar_place(vpci);
    lock_release(&vpci->lock);
}

/* No processor runs any more. */
void vpci_destroy(struct guest *guest)
{
    struct vpci *vpci = guest->vpci;

    if (!vpci)
        return;
    while (vpci->count) {
        struct vpci_device *d = &vpci->devices[--vpci->count];

        vpci_bar_end(d);
        vpci_check(d, WHvDeleteVpciDevice(partition_of(d), d->id), "WHvDeleteVpciDevice");
    }
    guest->vpci = NULL;
    device_free(vpci, sizeof(*vpci));
}
