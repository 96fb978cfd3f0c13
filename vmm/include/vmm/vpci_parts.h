/* SPDX-License-Identifier: MIT */
/* What the files vmm/vpci*.c share. */
#ifndef VMM_VPCI_PARTS_H
#define VMM_VPCI_PARTS_H

#include <vmm/vpci.h>

#define VPCI_BARS    WHV_VPCI_TYPE0_BAR_COUNT
#define VPCI_NOWHERE UINT64_MAX

/*
 * Fields marked
 *   (c) are constant once the devices are there,
 *   (l) belong to the lock.
 */
struct vpci_bar {
    uint64_t size;  /* (c) 0: there is none */
    bool is_io;     /* (c) */
    bool is_64;     /* (c) the next register has its upper half */
    uint64_t base;  /* (l) where it is decoded, or VPCI_NOWHERE */
    bool is_mapped; /* (l) it has that place for itself; the guest has those of its pages that it may have */
};

struct vpci_device {
    struct vpci *vpci;             /* (c) */
    UINT64 id;                     /* (c) to the library: its place on the guest's bus */
    WHVX_PCI_DEVICE physical;      /* (c) */
    WHV_VPCI_MMIO_MAPPING *pieces; /* (l) of the BARs; the library's */
    UINT32 piece_count;            /* (l) 0: there are none, and all accesses come here */
    struct vpci_bar bars[VPCI_BARS];
};

struct vpci {
    struct guest *guest; /* (c) */
    struct lock lock;    /* of where BARs are */
    uint32_t count;      /* (c) */
    struct vpci_device devices[OPTIONS_PCI_MAX];
};

/* For print. */
#define VPCI_PLACE       "%04x:%02x:%02x.%u"
#define VPCI_PLACE_OF(p) (p)->Segment, (p)->Bus, (p)->Device, (p)->Function

/* hr is a success, or a line says that call failed and how. */
bool vpci_check(const struct vpci_device *d, HRESULT hr, const char *call);

/* Registers of configuration space (WHvVpciConfigSpace) or of a BAR. What can not be read is ones. */
uint64_t vpci_read(const struct vpci_device *d, int space, uint64_t offset, uint32_t size);
void vpci_write(const struct vpci_device *d, int space, uint64_t offset, uint32_t size, uint64_t value);

/* ----- vpci_bar.c; the caller holds the lock, or is alone */
bool vpci_bar_begin(struct vpci_device *d);      /* learns what BARs there are; false: a line was printed */
void vpci_bar_end(struct vpci_device *d);        /* takes them from the guest */
bool vpci_bar_give_addresses(struct vpci *vpci); /* as firmware would, and lets devices decode them */
void vpci_bar_place(struct vpci *vpci);          /* after something was written that may have moved them */
/* Hears what the library has to say of the device. True: BARs have lost their places. */
bool vpci_bar_listen(struct vpci_device *d);
/* The BAR that answers the access. NULL: none does. */
struct vpci_device *vpci_bar_find(struct vpci *vpci, bool is_io, uint64_t address, uint32_t size, uint32_t *index,
                                  uint64_t *offset);

#endif
