/* SPDX-License-Identifier: MIT */
/*
 * A PCI function as it was found: what configuration space says, read once and checked. Everything that passes devices
 * on goes by this, never by what the device says later.
 */
#ifndef PCI_DEVICE_H
#define PCI_DEVICE_H

#include <hv/pci.h>

#define PCI_BARS 6

struct pci_bar {
    uint64_t address, size; /* size 0: none */
    bool is_io, is_64bit, is_prefetchable;
};

struct pci_msix {
    uint16_t cap;   /* offset of the capability; 0: none */
    uint16_t count; /* entries of the table, 1 to 2048 */
    uint8_t table_bar, pba_bar;
    uint32_t table_offset, pba_offset;
};

struct pci_msi {
    uint16_t cap;  /* 0: none */
    uint8_t count; /* messages that it can send: 1 to 32 */
    bool is_64bit, has_mask;
};

enum pci_port {
    PCI_PORT_ENDPOINT,
    PCI_PORT_ROOT,
    PCI_PORT_UP,
    PCI_PORT_DOWN,
    PCI_PORT_TO_PCI,
    PCI_PORT_FROM_PCI,
    PCI_PORT_ROOT_INTEGRATED,
    PCI_PORT_CONVENTIONAL
};

struct pci_device {
    struct hv_pci_address address;
    struct pci_device *bridge; /* above it; NULL on a root bus */
    struct pci_device *next;   /* in the order of the scan */
    struct hv_vpci_ids ids;
    uint8_t header; /* layout */
    enum pci_port port;
    uint8_t secondary, last; /* of a bridge: buses behind it */
    bool is_multifunction;
    struct pci_bar bars[PCI_BARS], rom; /* pci_refusal finds them */
    struct pci_msix msix;
    struct pci_msi msi;
    uint16_t pm, express, af, acs, sriov; /* offsets of capabilities; 0: none */
    const char *refused;                  /* pci_refusal's answer, as far as it is known */
    bool is_examined;                     /* pci_refusal was here */
    volatile bool is_distrusted;          /* a guest had it: it is not the host's again, and reaches nothing */
    bool keeps_iommu;                     /* (passthrough.c) nor did it come to rest: it is a user of the IOMMU */
};

/*
 * Scans all segments and buses, once: the first caller does the work. Writes to no device's registers: each may be in
 * use. Thread. HV_E_NO_MEMORY.
 */
enum hv_status pci_scan(void);
const struct pci_device *pci_first(void);
struct pci_device *pci_find(const struct hv_pci_address *a); /* constant time, any context */

/*
 * Why a function can not be passed on; NULL: it can. Asked by whoever wants to pass it on, before anything else: the
 * first time finds the sizes of its BARs, for which it does not answer for some microseconds (so never for a function
 * that the host uses). Thread.
 */
const char *pci_refusal(const struct pci_device *d);

/* Gives back all memory and mappings: nobody uses devices any more. pci_scan may follow. Thread. */
void pci_forget(void);

/* Walks that end, whatever the chain looks like. 0: not there. */
uint16_t pci_find_capability(const struct hv_pci_address *a, uint8_t id);
uint16_t pci_find_extended(const struct hv_pci_address *a, uint16_t id);

/*
 * group.c: functions that can not be isolated from one another, by ACS and topology (PCIe 5.0 6.12). True: both are in
 * one group. And the requester IDs by which a function's DMA may arrive: itself, and bridges that speak for it.
 */
bool pci_same_group(const struct pci_device *a, const struct pci_device *b);
#define PCI_REQUESTERS 4
uint32_t pci_requesters(const struct pci_device *d, struct hv_pci_address out[PCI_REQUESTERS]); /* topmost last */
/* Switches isolation on in it and in the ports above it, where they have it: groups become smaller. Thread. */
void pci_isolate(const struct pci_device *d);

/*
 * reset.c: the best reset that there is: FLR, AF's, D3hot, the secondary bus; thread. HV_E_UNSUPPORTED: none.
 * HV_E_IN_USE: it does not come to rest. Configuration is saved before and restored after it; bus mastering is off
 * afterwards.
 */
struct pci_saved {
    uint32_t words[64];
    uint16_t acs;             /* ACS control */
    uint16_t resizable;       /* offset of the capability of resizable BARs; 0: none */
    uint32_t sizes[PCI_BARS]; /* their control registers */
};
void pci_save(const struct pci_device *d, struct pci_saved *to);
void pci_restore(const struct pci_device *d, const struct pci_saved *from);
void pci_quiesce(const struct pci_device *d); /* no DMA and no interrupts any more: waits for what is under way */
enum hv_status pci_reset(const struct pci_device *d);
void pci_set_power(const struct pci_device *d, uint32_t state); /* 0 (D0) to 3, and waits until it is there */

#endif
