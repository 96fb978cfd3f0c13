/* SPDX-License-Identifier: MIT */
/*
 * vmm/vpci*.c: which device a word means, where BARs are, what the guest is given of them, and which accesses come to
 * the library. The library here is a fake: configuration spaces whose BARs react, and a record of what is mapped.
 */
#include "vmm_machine.h"
#include <vmm/vpci.h>

#define PARTITION ((WHV_PARTITION_HANDLE)(uintptr_t)1)
#define NVME      0u /* of fakes */
#define NET       1u
#define FAKES     3u
#define MAPS_MAX  16u
#define COMMAND   0x04u
#define BAR(n)    (0x10u + 4 * (n))
#define PAGE      4096ull
#define ECAM(n)   (PCI_ECAM_BASE + ((uint64_t)(n) << 15)) /* of the n-th device */
#define PIECES    4u
#define NOT_FOUND HRESULT_FROM_WIN32(ERROR_NOT_FOUND)

struct fake {
    WHVX_PCI_DEVICE device;
    uint32_t probed[6];
    WHV_VPCI_MMIO_MAPPING pieces[PIECES];
    uint32_t piece_count;
    uint8_t config[256];
    uint64_t id; /* 0: not the guest's */
    bool is_mapped;
    bool is_closed; /* its resource was closed after it was made */
    WHV_VPCI_DEVICE_NOTIFICATION_TYPE notification;
};

static struct fake fakes[FAKES];
static struct guest guest;
static struct options options;
static struct {
    uint64_t gpa, size;
    const void *memory;
    uint32_t flags;
} maps[MAPS_MAX];
static uint32_t map_count;
static struct {
    uint64_t id, offset, value;
    int space;
    uint32_t size, count;
} last;                     /* access to a BAR */
static const char *failing; /* the call that fails */
static HRESULT failure;     /* and how */
static UINT32 resource_flags;
static WHVX_IOMMU iommu;

static bool fails(const char *call)
{
    return failing && strcmp(failing, call) == 0;
}

static struct fake *fake_of(UINT64 id)
{
    for (uint32_t i = 0; i < FAKES; i++)
        if (id && fakes[i].id == id)
            return &fakes[i];
    fail_msg("no device %llu", (unsigned long long)id);
    return NULL;
}

/* ----------------------------------------------------------------------------------- the library */

HRESULT WHvxGetPciDevice(UINT32 index, WHVX_PCI_DEVICE *device)
{
    if (fails("WHvxGetPciDevice"))
        return failure;
    if (index >= FAKES)
        return NOT_FOUND;
    *device = fakes[index].device;
    return S_OK;
}

HRESULT WHvxGetIommu(WHVX_IOMMU *out)
{
    *out = iommu;
    return S_OK;
}

HRESULT WHvAllocateVpciResource(const GUID *provider, WHV_ALLOCATE_VPCI_RESOURCE_FLAGS flags, const VOID *descriptor,
                                UINT32 size, HANDLE *resource)
{
    const WHVX_PCI_RESOURCE_DESCRIPTOR *d = descriptor;

    assert_null(provider);
    assert_int_equal(flags, 0);
    assert_int_equal(size, sizeof(*d));
    resource_flags = d->Flags;
    if (fails("WHvAllocateVpciResource"))
        return failure;
    for (uint32_t i = 0; i < FAKES; i++) {
        if (memcmp(&fakes[i].device, d, 8) == 0) { /* both begin with the place */
            *resource = &fakes[i];
            return S_OK;
        }
    }
    return NOT_FOUND;
}

HRESULT WHvCreateVpciDevice(WHV_PARTITION_HANDLE partition, UINT64 id, HANDLE resource,
                            WHV_CREATE_VPCI_DEVICE_FLAGS flags, HANDLE event)
{
    struct fake *f = resource;

    assert_ptr_equal(partition, PARTITION);
    assert_int_equal(flags, WHvCreateVpciDeviceFlagPhysicallyBacked);
    assert_null(event);
    assert_int_equal(f->id, 0);
    if (fails("WHvCreateVpciDevice"))
        return failure;
    f->id = id;
    return S_OK;
}

HRESULT WHvxCloseVpciResource(HANDLE resource)
{
    ((struct fake *)resource)->is_closed = true;
    return S_OK;
}

HRESULT WHvDeleteVpciDevice(WHV_PARTITION_HANDLE partition, UINT64 id)
{
    struct fake *f = fake_of(id);

    assert_ptr_equal(partition, PARTITION);
    assert_false(f->is_mapped);
    f->id = 0;
    return S_OK;
}

HRESULT WHvGetVpciDeviceProperty(WHV_PARTITION_HANDLE partition, UINT64 id, WHV_VPCI_DEVICE_PROPERTY_CODE code,
                                 VOID *buffer, UINT32 size, UINT32 *written)
{
    (void)partition;
    (void)written;
    assert_int_equal(code, WHvVpciDevicePropertyCodeProbedBARs);
    assert_int_equal(size, sizeof(WHV_VPCI_PROBED_BARS));
    if (fails("WHvGetVpciDeviceProperty"))
        return failure;
    memcpy(buffer, fake_of(id)->probed, size);
    return S_OK;
}

HRESULT WHvMapVpciDeviceMmioRanges(WHV_PARTITION_HANDLE partition, UINT64 id, UINT32 *count,
                                   WHV_VPCI_MMIO_MAPPING **pieces)
{
    struct fake *f = fake_of(id);

    (void)partition;
    if (fails("WHvMapVpciDeviceMmioRanges"))
        return failure;
    assert_false(f->is_mapped);
    f->is_mapped = true;
    *count = f->piece_count;
    *pieces = f->pieces;
    return S_OK;
}

HRESULT WHvUnmapVpciDeviceMmioRanges(WHV_PARTITION_HANDLE partition, UINT64 id)
{
    struct fake *f = fake_of(id);

    (void)partition;
    assert_true(f->is_mapped);
    for (uint32_t i = 0; i < map_count; i++) /* nothing of it is the guest's any more */
        for (uint32_t n = 0; n < f->piece_count; n++)
            assert_ptr_not_equal(maps[i].memory, f->pieces[n].VirtualAddress);
    f->is_mapped = false;
    return S_OK;
}

HRESULT WHvGetVpciDeviceNotification(WHV_PARTITION_HANDLE partition, UINT64 id, WHV_VPCI_DEVICE_NOTIFICATION *n,
                                     UINT32 size)
{
    struct fake *f = fake_of(id);

    (void)partition;
    assert_int_equal(size, sizeof(*n));
    memset(n, 0, sizeof(*n));
    n->NotificationType = f->notification;
    f->notification = WHvVpciDeviceNotificationUndefined;
    return S_OK;
}

HRESULT WHvReadVpciDeviceRegister(WHV_PARTITION_HANDLE partition, UINT64 id, const WHV_VPCI_DEVICE_REGISTER *r,
                                  VOID *data)
{
    (void)partition;
    assert_int_equal(r->OffsetInBytes % r->SizeInBytes, 0);
    if (r->Location == WHvVpciConfigSpace) {
        if (r->OffsetInBytes + r->SizeInBytes > sizeof(fakes[0].config))
            return E_INVALIDARG;
        memcpy(data, fake_of(id)->config + r->OffsetInBytes, r->SizeInBytes);
        return S_OK;
    }
    last.id = id;
    last.space = r->Location;
    last.offset = r->OffsetInBytes;
    last.size = r->SizeInBytes;
    last.count++;
    last.value = 0x8877665544332211ull;
    memcpy(data, &last.value, r->SizeInBytes);
    return S_OK;
}

/* Bits that the BAR's size leaves out, and its flags, can not be written. */
static void write_bar(struct fake *f, uint32_t index)
{
    bool is_upper = index && (f->probed[index - 1] & 7) == 4;
    uint32_t flags = is_upper || !f->probed[index] ? 0 : f->probed[index] & 1 ? 3 : 15, value;

    memcpy(&value, f->config + BAR(index), 4);
    value = (value & f->probed[index] & ~flags) | (f->probed[index] & flags);
    memcpy(f->config + BAR(index), &value, 4);
}

HRESULT WHvWriteVpciDeviceRegister(WHV_PARTITION_HANDLE partition, UINT64 id, const WHV_VPCI_DEVICE_REGISTER *r,
                                   const VOID *data)
{
    struct fake *f = fake_of(id);

    (void)partition;
    assert_int_equal(r->OffsetInBytes % r->SizeInBytes, 0);
    if (r->Location == WHvVpciConfigSpace) {
        if (r->OffsetInBytes < 4 || r->OffsetInBytes + r->SizeInBytes > sizeof(f->config))
            return E_INVALIDARG;
        memcpy(f->config + r->OffsetInBytes, data, r->SizeInBytes);
        for (uint32_t i = 0; i < 6; i++)
            write_bar(f, i);
        return S_OK;
    }
    last.id = id;
    last.space = r->Location;
    last.offset = r->OffsetInBytes;
    last.size = r->SizeInBytes;
    last.count++;
    last.value = 0;
    memcpy(&last.value, data, r->SizeInBytes);
    return S_OK;
}

static bool is_over(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
    return a < b + b_size && b < a + a_size;
}

HRESULT WHvMapGpaRange(WHV_PARTITION_HANDLE partition, VOID *memory, WHV_GUEST_PHYSICAL_ADDRESS gpa, UINT64 size,
                       WHV_MAP_GPA_RANGE_FLAGS flags)
{
    assert_ptr_equal(partition, PARTITION);
    assert_int_equal((gpa | size | (uintptr_t)memory) % PAGE, 0);
    assert_true(gpa >= PCI_MMIO_BASE && gpa + size <= PCI_MMIO_END);
    for (uint32_t i = 0; i < map_count; i++)
        assert_false(is_over(gpa, size, maps[i].gpa, maps[i].size));
    assert_true(map_count < MAPS_MAX);
    if (fails("WHvMapGpaRange"))
        return failure;
    maps[map_count].gpa = gpa;
    maps[map_count].size = size;
    maps[map_count].memory = memory;
    maps[map_count++].flags = flags;
    return S_OK;
}

HRESULT WHvUnmapGpaRange(WHV_PARTITION_HANDLE partition, WHV_GUEST_PHYSICAL_ADDRESS gpa, UINT64 size)
{
    assert_ptr_equal(partition, PARTITION);
    for (uint32_t i = 0; i < map_count; i++) {
        if (maps[i].gpa == gpa && maps[i].size == size) {
            maps[i] = maps[--map_count];
            return S_OK;
        }
    }
    return fails("WHvMapGpaRange") ? S_OK : WHV_E_GPA_RANGE_NOT_FOUND;
}

/* ------------------------------------------------------------------------------------ the machine */

/* Its BAR 0 has 64 bits and 16 KiB, of which the third page holds the MSI-X table. */
static const struct fake nvme = {
    .device = {.Bus = 1, .Ids = {.VendorID = 0x1b36, .DeviceID = 0x10, .BaseClass = 1, .SubClass = 8}},
    .probed = {0xffffc004, 0xffffffff},
    .pieces = {{WHvVpciBar0, 3, 2 * PAGE, 0, (PVOID)0x100000},
               {WHvVpciBar0, 0, PAGE, 2 * PAGE, (PVOID)0x102000},
               {WHvVpciBar0, 1, PAGE, 3 * PAGE, (PVOID)0x103000}},
    .piece_count = 3,
};

/* A BAR of 128 KiB, one of less than a page, and ports. */
static const struct fake net = {
    .device = {.Bus = 2, .Device = 3, .Function = 1, .Ids = {.VendorID = 0x8086, .BaseClass = 2}},
    .probed = {0xfffe0000, 0xffffff00, 0xffe1},
    .pieces = {{WHvVpciBar0, 3, 0x20000, 0, (PVOID)0x200000},
               {WHvVpciBar1, 3, 0x100, 0, (PVOID)0x300000},
               {WHvVpciBar2, 0, 0x20, 0, NULL}},
    .piece_count = 3,
};

static int setup(void **state)
{
    tm_setup(state);
    memset(&guest, 0, sizeof(guest));
    memset(&options, 0, sizeof(options));
    memset(&last, 0, sizeof(last));
    iommu = (WHVX_IOMMU){.Reason = ""};
    map_count = 0;
    failing = NULL;
    failure = E_UNEXPECTED;
    fakes[NVME] = nvme;
    fakes[NET] = net;
    fakes[2] = nvme;
    fakes[2].device.Bus = 3;
    fakes[2].device.Segment = 1;
    guest.number = 1;
    guest.partition = PARTITION;
    guest.options = &options;
    guest.pci = pci_create(&(const struct device_buses){&guest.ports, &guest.mmio});
    assert_non_null(guest.pci);
    return 0;
}

static int teardown(void **state)
{
    vpci_destroy(&guest);
    assert_null(guest.vpci);
    for (uint32_t i = 0; i < FAKES; i++)
        assert_false(fakes[i].id || fakes[i].is_mapped);
    assert_int_equal(map_count, 0);
    pci_destroy(guest.pci);
    return tm_teardown(state);
}

static bool create(const char *first, const char *second)
{
    options.pci_count = second ? 2 : 1;
    strcpy(options.pci[0], first);
    if (second)
        strcpy(options.pci[1], second);
    return vpci_create(&guest);
}

static uint32_t config(uint32_t device, uint32_t offset, uint32_t size)
{
    return (uint32_t)bus_get(&guest.mmio, ECAM(device) + offset, size);
}

static void config_set(uint32_t device, uint32_t offset, uint32_t size, uint32_t value)
{
    bus_write(&guest.mmio, ECAM(device) + offset, size, value);
}

static uint64_t base_of(uint32_t device, uint32_t bar)
{
    return config(device, BAR(bar), 4) & ~15u;
}

static bool is_mapped(uint64_t gpa, uint64_t memory, uint64_t size, uint32_t flags)
{
    for (uint32_t i = 0; i < map_count; i++)
        if (maps[i].gpa == gpa)
            return maps[i].size == size && (uintptr_t)maps[i].memory == memory && maps[i].flags == flags;
    return false;
}

static void assert_nvme_at(uint64_t base)
{
    assert_true(is_mapped(base, 0x100000, 2 * PAGE, WHvMapGpaRangeFlagRead | WHvMapGpaRangeFlagWrite));
    assert_true(is_mapped(base + 3 * PAGE, 0x103000, PAGE, WHvMapGpaRangeFlagRead));
}

static void assert_line(const char *words)
{
    if (!strstr(fake_system.printed, words))
        fail_msg("\"%s\" was wanted, but: %s", words, fake_system.printed);
}

/* ------------------------------------------------------------------------------------------ words */

static void words(void **state)
{
    static const struct {
        const char *word;
        uint32_t index;
    } good[] = {{"nvme", 0}, {"net", 1}, {"01:00.0", 0}, {"02:03.1", 1}, {"0000:02:03.1", 1}, {"0001:03:00.0", 2}};
    static const char *const bad[] = {"",         "disk",      "nvme0",   "0:1.0",         "01:20.0", "01:00.8",
                                      "01:00.0x", "1:01:00.0", "01:00:0", "0000:01:00.0:", "gg:00.0", "-1:00.0"};
    WHVX_PCI_DEVICE found;

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(vpci_find(good[i].word, NULL, 0, &found));
        assert_memory_equal(&found, &fakes[good[i].index].device, sizeof(found));
    }
    assert_string_equal(fake_system.printed, "");
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        fake_system.printed[0] = '\0';
        assert_false(vpci_find(bad[i], NULL, 0, &found));
        assert_line("an address like 0000:01:00.0 is wanted");
    }
}

static void words_of_nothing(void **state)
{
    const WHVX_PCI_DEVICE taken[] = {nvme.device, fakes[2].device};
    WHVX_PCI_DEVICE found;

    (void)state;
    assert_true(vpci_find("nvme", taken, 1, &found));
    assert_int_equal(found.Segment, 1);
    assert_false(vpci_find("nvme", taken, 2, &found));
    assert_line("no such device that is not taken");
    fake_system.printed[0] = '\0';
    assert_false(vpci_find("03:00.0", NULL, 0, &found));
    assert_line("this machine has no such device\n");
    failing = "WHvxGetPciDevice";
    failure = E_OUTOFMEMORY;
    assert_false(vpci_find("nvme", NULL, 0, &found));
    assert_line("WHvxGetPciDevice failed: 0x8007000e");
}

/* ------------------------------------------------------------------------------------------- life */

static void nothing_changes_without(void **state)
{
    uint32_t ranges = guest.mmio.count;

    (void)state;
    assert_true(vpci_create(&guest));
    assert_null(guest.vpci);
    assert_int_equal(guest.mmio.count, ranges);
    vpci_poll(&guest);
    guest.number = 2; /* devices are the first guest's */
    assert_true(create("nvme", NULL));
    assert_null(guest.vpci);
}

static void firmware_gives_addresses(void **state)
{
    (void)state;
    assert_true(create("nvme", "net"));
    assert_true(fakes[NVME].is_closed && fakes[NET].is_closed);
    assert_int_equal(resource_flags, 0);
    assert_line("0000:02:03.1 (8086:0000) is its 00:02.0");
    assert_int_equal(config(2, COMMAND, 2), 3);
    assert_int_equal(base_of(2, 0), PCI_MMIO_BASE); /* the largest */
    assert_int_equal(base_of(1, 0), PCI_MMIO_BASE + 0x20000);
    assert_int_equal(config(1, BAR(0), 4) & 15, 4);
    assert_int_equal(config(1, BAR(1), 4), 0);
    assert_int_equal(base_of(2, 1), PCI_MMIO_BASE + 0x24000);
    assert_int_equal(config(2, BAR(2), 4), PCI_IO_BASE | 1);
    assert_nvme_at(base_of(1, 0));
    assert_true(is_mapped(base_of(2, 0), 0x200000, 0x20000, 3));
    assert_int_equal(map_count, 3); /* not the MSI-X table, nor what is less than a page */
    assert_int_equal(config(3, 0, 4), UINT32_MAX);
}

static void refused(void **state)
{
    static const struct {
        const char *call;
        HRESULT hr;
        const char *words;
    } cases[] = {
        {"WHvAllocateVpciResource", NOT_FOUND, "none that can be passed on"},
        {"WHvCreateVpciDevice", ERROR_HV_OPERATION_DENIED,
         "can not be passed on: no IOMMU keeps it to the guest: ACPI says so (0x"},
        {"WHvCreateVpciDevice", ERROR_HV_INVALID_PARAMETER, "somebody's already"},
        {"WHvCreateVpciDevice", E_ACCESSDENIED, "that the host keeps"},
        {"WHvCreateVpciDevice", E_UNEXPECTED, "the hypervisor refuses (0x8000ffff)"},
        {"WHvGetVpciDeviceProperty", E_UNEXPECTED, "0000:01:00.0: WHvGetVpciDeviceProperty failed"},
        {"WHvMapVpciDeviceMmioRanges", E_OUTOFMEMORY, "0000:01:00.0: WHvMapVpciDeviceMmioRanges failed: 0x8007000e"},
    };

    (void)state;
    iommu.Reason = "ACPI says so";
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        failing = cases[i].call;
        failure = cases[i].hr;
        assert_false(create("nvme", NULL));
        assert_line(cases[i].words);
        vpci_destroy(&guest);
        assert_int_equal(fakes[NVME].id, 0);
        assert_false(fakes[NVME].is_mapped);
        fake_system.printed[0] = '\0';
    }
}

static void unsafe_is_said(void **state)
{
    (void)state;
    options.is_pci_unsafe = true;
    assert_true(create("nvme", NULL));
    assert_int_equal(resource_flags, WHVX_PCI_RESOURCE_UNSAFE);
}

static void too_large(void **state)
{
    (void)state;
    fakes[NVME].probed[0] = 0x0000000c; /* 64 GiB */
    fakes[NVME].probed[1] = 0xfffffff0;
    assert_false(create("nvme", NULL));
    assert_line("no room for BAR 0, 0x1000000000 bytes");
}

/* A little more than the window has. */
static void too_large_for_32_bits(void **state)
{
    (void)state;
    fakes[NVME].probed[0] = 0xc0000000;
    fakes[NVME].probed[1] = 0;
    assert_false(create("nvme", NULL));
    assert_line("no room for BAR 0, 0x40000000 bytes");
}

/* -------------------------------------------------------------------------------- the guest moves */

static void moves(void **state)
{
    const uint32_t there = 0xd0000000;

    (void)state;
    assert_true(create("nvme", NULL));
    config_set(1, BAR(0), 4, there);
    assert_nvme_at(there);
    assert_int_equal(map_count, 2);
    config_set(1, BAR(1), 4, 1); /* above 4 GiB nothing is forwarded */
    assert_int_equal(map_count, 0);
    assert_int_equal(config(1, BAR(0), 4), there | 4);
    config_set(1, BAR(1), 4, 0);
    assert_nvme_at(there);
    config_set(1, BAR(0), 4, UINT32_MAX); /* its size is asked for, while it is decoded */
    assert_int_equal(config(1, BAR(0), 4), 0xffffc004);
    assert_int_equal(map_count, 0);
    config_set(1, BAR(0), 4, there);
    assert_nvme_at(there);
    for (uint32_t i = 0; i < 2; i++) {
        config_set(1, COMMAND, 2, 6); /* bus master, no ports */
        assert_nvme_at(there);
    }
    config_set(1, COMMAND, 2, 4);
    assert_int_equal(map_count, 0);
    assert_int_equal(bus_get(&guest.mmio, there, 4), UINT32_MAX);
    assert_int_equal(last.count, 0);
    config_set(1, COMMAND, 1, 2);
    assert_nvme_at(there);
}

static void outside_of_the_window(void **state)
{
    static const uint32_t places[] = {
        0, 0x100000, (uint32_t)PCI_ECAM_BASE, PCI_MMIO_BASE - 0x4000, PCI_MMIO_END, 0xfee00000};

    (void)state;
    assert_true(create("nvme", NULL));
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        config_set(1, BAR(0), 4, places[i]);
        assert_int_equal(map_count, 0);
    }
    config_set(1, BAR(0), 4, PCI_MMIO_END - 0x4000);
    assert_nvme_at(PCI_MMIO_END - 0x4000);
}

/* One has the place, the other gets it when that one leaves. */
static void two_in_one_place(void **state)
{
    const uint32_t there = 0xd0000000;

    (void)state;
    assert_true(create("nvme", "net"));
    config_set(2, BAR(0), 4, there);
    config_set(1, BAR(0), 4, there + 0x4000);
    assert_int_equal(map_count, 1);
    assert_true(is_mapped(there, 0x200000, 0x20000, 3));
    bus_get(&guest.mmio, there + 0x4000 + 2 * PAGE, 4);
    assert_int_equal(last.id, 2);
    config_set(2, COMMAND, 2, 0);
    assert_nvme_at(there + 0x4000);
    assert_int_equal(map_count, 2);
    config_set(2, COMMAND, 2, 2);
    assert_nvme_at(there + 0x4000);
    assert_int_equal(map_count, 2);
    config_set(1, BAR(0), 4, there + 0x20000);
    assert_nvme_at(there + 0x20000);
    assert_int_equal(map_count, 3);
}

/* -------------------------------------------------------------------------------------- accesses */

static void accesses(void **state)
{
    uint64_t base;

    (void)state;
    assert_true(create("net", "nvme"));
    base = base_of(2, 0);
    assert_int_equal(bus_get(&guest.mmio, base + 2 * PAGE + 12, 4), 0x44332211);
    assert_true(last.id == 2 && last.space == 0 && last.offset == 2 * PAGE + 12 && last.size == 4);
    bus_write(&guest.mmio, base + 2 * PAGE + 16, 8, 0x123456789abcdef0ull);
    assert_true(last.offset == 2 * PAGE + 16 && last.size == 8 && last.value == 0x123456789abcdef0ull);
    last.count = 0;
    bus_write(&guest.mmio, base + 2 * PAGE + 1, 2, 0xbbaa); /* not aligned: in pieces */
    assert_true(last.count == 2 && last.offset == 2 * PAGE + 2 && last.size == 1 && last.value == 0xbb);
    assert_int_equal(bus_get(&guest.mmio, base + 4 * PAGE - 4, 8), UINT64_MAX); /* beyond its end */
    assert_int_equal(bus_get(&guest.mmio, base - 4, 8), UINT64_MAX);
    assert_int_equal(bus_get(&guest.mmio, base_of(1, 1) + 0xfc, 4), 0x44332211); /* less than a page */
    assert_true(last.id == 1 && last.space == 1 && last.offset == 0xfc);
    bus_write(&guest.ports, PCI_IO_BASE + 0x1c, 4, 0x1234);
    assert_true(last.id == 1 && last.space == 2 && last.offset == 0x1c && last.value == 0x1234);
    last.count = 0;
    assert_int_equal(bus_get(&guest.ports, PCI_IO_BASE + 0x20, 4), UINT32_MAX);
    assert_int_equal(bus_get(&guest.mmio, PCI_MMIO_END - 4, 4), UINT32_MAX);
    assert_int_equal(last.count, 0);
}

static void configuration_space(void **state)
{
    (void)state;
    assert_true(create("nvme", NULL));
    memcpy(fakes[NVME].config, "\x36\x1b\x10\x00", 4);
    assert_int_equal(config(1, 0, 4), 0x00101b36);
    bus_write(&guest.ports, PCI_CONFIG_PORT, 4, 0x80000800);
    assert_int_equal(bus_get(&guest.ports, PCI_CONFIG_PORT + 6, 2), 0x10);
    config_set(1, 0, 4, 0); /* refused */
    assert_int_equal(config(1, 0, 4), 0x00101b36);
    assert_int_equal(config(1, 0x100, 4), UINT32_MAX);
}

/* ---------------------------------------------------------------------------- the library speaks */

static void other_memory(void **state)
{
    (void)state;
    assert_true(create("nvme", NULL));
    fakes[NVME].notification = WHvVpciDeviceNotificationMmioRemapping;
    vpci_poll(&guest);
    assert_nvme_at(base_of(1, 0));
    assert_true(fakes[NVME].is_mapped);
    fakes[NVME].notification = WHvVpciDeviceNotificationMmioRemapping;
    config_set(1, 0x40, 4, 0);
    assert_nvme_at(base_of(1, 0));
}

static void removal(void **state)
{
    (void)state;
    assert_true(create("nvme", "net"));
    fakes[NVME].notification = WHvVpciDeviceNotificationSurpriseRemoval;
    vpci_poll(&guest);
    assert_line("0000:01:00.0 has been removed");
    assert_int_equal(map_count, 1);
    assert_false(fakes[NVME].is_mapped);
}

/* What can not be mapped is still reached. */
static void maps_fail(void **state)
{
    (void)state;
    failing = "WHvMapGpaRange";
    failure = E_OUTOFMEMORY;
    assert_true(create("nvme", NULL));
    assert_line("0000:01:00.0: WHvMapGpaRange failed: 0x8007000e");
    assert_int_equal(bus_get(&guest.mmio, base_of(1, 0), 4), 0x44332211);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(words),
        TEST(words_of_nothing),
        TEST(nothing_changes_without),
        TEST(firmware_gives_addresses),
        TEST(refused),
        TEST(unsafe_is_said),
        TEST(too_large),
        TEST(too_large_for_32_bits),
        TEST(moves),
        TEST(accesses),
        TEST(two_in_one_place),
        TEST(outside_of_the_window),
        TEST(configuration_space),
        TEST(other_memory),
        TEST(removal),
        TEST(maps_fail),
    };

    return cmocka_run_group_tests_name("vmm vpci", tests, NULL, NULL);
}
