/* SPDX-License-Identifier: MIT */
/*
 * The machine's PCI functions: what the library finds, by ECAM where there is an MCFG, is what ports CF8h and CFCh show
 * to this test.
 */
#include "test.h"
#include <hv/host.h>
#include <hv/pci.h>
#include <kernel/acpi.h>
#include <kernel/cpu.h>

#define ADDRESS 0xcf8
#define DATA    0xcfc

static uint32_t config_read(uint16_t bdf, uint32_t offset)
{
    uint64_t flags = hv_host_pci_lock();
    uint32_t value;

    outl(ADDRESS, 1u << 31 | (uint32_t)bdf << 8 | offset);
    value = inl(DATA);
    hv_host_pci_unlock(flags);
    return value;
}

/* Function 0 first; the others only where it says that there are some. */
static bool is_there(uint16_t bdf)
{
    uint32_t id = config_read(bdf & 0xfff8, 0), header = config_read(bdf & 0xfff8, 0x0c);

    if ((id & 0xffff) == 0xffff || ((bdf & 7) && !(header >> 23 & 1)))
        return false;
    return (config_read(bdf, 0) & 0xffff) != 0xffff;
}

static void compare(const struct hv_pci_function *f)
{
    uint16_t bdf = f->address.bdf;
    uint32_t class = config_read(bdf, 8), header = config_read(bdf, 0x0c) >> 16 & 0x7f;

    EXPECT_EQ(f->ids.vendor | (uint32_t)f->ids.device << 16, config_read(bdf, 0));
    EXPECT_EQ(f->ids.revision | f->ids.prog_if << 8 | f->ids.sub_class << 16 | (uint32_t)f->ids.base_class << 24,
              class);
    if (header == 0)
        EXPECT_EQ(f->ids.sub_vendor | (uint32_t)f->ids.sub_system << 16, config_read(bdf, 0x2c));
}

TEST(pci_functions, "pci: the functions of segment 0 are those that the ports show")
{
    struct hv_pci_function f;
    uint32_t n = 0;

    for (uint32_t bdf = 0; bdf < 0x10000; bdf++) {
        if (!is_there((uint16_t)bdf)) {
            bdf |= bdf & 7 ? 0 : 7; /* no function 0: none */
            continue;
        }
        REQUIRE(EXPECT_EQ(hv_pci_function(n++, &f), HV_OK));
        REQUIRE(EXPECT_EQ(f.address.segment, 0) && EXPECT_EQ(f.address.bdf, bdf));
        compare(&f);
    }
    EXPECT_GE(n, 3u); /* a host bridge, one to ISA, a disk */
    test_note("%u functions, %s", n, acpi_find("MCFG", 0) ? "ECAM" : "ports");
    if (hv_pci_function(n, &f) == HV_OK)
        EXPECT_GE(f.address.segment, 1);
}

TEST(pci_host_bridge, "pci: the host bridge is found, once")
{
    struct hv_pci_function f;
    unsigned bridges = 0;

    for (uint32_t n = 0; hv_pci_function(n, &f) == HV_OK; n++)
        bridges += f.ids.base_class == 6 && f.ids.sub_class == 0;
    EXPECT_EQ(bridges, 1);
    EXPECT_EQ(hv_pci_function(~0u, &f), HV_E_NOT_FOUND);
}
