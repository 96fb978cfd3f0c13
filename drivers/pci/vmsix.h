/* SPDX-License-Identifier: MIT */
/*
 * MSI and MSI-X as a function's owner sees them (PCIe 5.0 7.7.1, 7.7.2): models of the registers, of masks and pending
 * bits, without any hardware behind them. They take no locks: the caller's excludes all.
 */
#ifndef PCI_VMSIX_H
#define PCI_VMSIX_H

#include <hv/pci.h>

#define VMSIX_MAX         2048u
#define VMSIX_ENTRY_SIZE  16u /* in the table */
#define VMSIX_PAGE_HOLDS  256u
#define VMSIX_PAGES       (VMSIX_MAX / VMSIX_PAGE_HOLDS)
#define VMSIX_PBA_SIZE(n) (((n) + 63) / 64 * 8)

struct vmsix_entry {
    uint64_t address;
    uint32_t data;
    bool is_masked, is_pending;
};

struct vmsix {
    struct vmsix_entry *pages[VMSIX_PAGES];
    uint32_t count;
    bool is_enabled, is_masked; /* all of them */
};

enum hv_status vmsix_init(struct vmsix *m, uint32_t count); /* as after a reset; thread. HV_E_NO_MEMORY */
void vmsix_free(struct vmsix *m);                           /* also of one that is all zero; thread */
void vmsix_reset(struct vmsix *m);

/* The capability's control word. Disabling forgets what is pending. */
uint16_t vmsix_control(const struct vmsix *m);
void vmsix_set_control(struct vmsix *m, uint16_t value);

/* size 1, 2, 4 or 8, aligned; inside the table, or the pending bits, which can not be written. */
uint64_t vmsix_table_read(const struct vmsix *m, uint32_t offset, uint32_t size);
void vmsix_table_write(struct vmsix *m, uint32_t offset, uint32_t size, uint64_t value);
uint64_t vmsix_pba_read(const struct vmsix *m, uint32_t offset, uint32_t size);

struct hv_msi_message vmsix_message(const struct vmsix *m, uint32_t n);
bool vmsix_is_open(const struct vmsix *m, uint32_t n); /* enabled, and masked in neither way */
/* The device raises it. True: it is to be sent; else it is pending now, or lost as nothing is enabled. */
bool vmsix_raise(struct vmsix *m, uint32_t n);
bool vmsix_take(struct vmsix *m, uint32_t n); /* it was pending and can be sent: it is pending no more */

struct vmsi {
    uint64_t address;
    uint32_t mask, pending;
    uint16_t data;
    uint8_t order, max_order; /* 1 << order messages */
    bool is_enabled, is_64bit, has_mask;
};

/* count: 1, 2, 4, ... 32 messages */
void vmsi_init(struct vmsi *m, uint32_t count, bool is_64bit, bool has_mask);
void vmsi_reset(struct vmsi *m);
uint32_t vmsi_size(const struct vmsi *m); /* of the capability */

/* offset is the capability's, from 2 on; inside it. */
uint32_t vmsi_read(const struct vmsi *m, uint32_t offset, uint32_t size);
void vmsi_write(struct vmsi *m, uint32_t offset, uint32_t size, uint32_t value);

struct hv_msi_message vmsi_message(const struct vmsi *m, uint32_t n);
uint32_t vmsi_count(const struct vmsi *m); /* messages in use; 0: not enabled */
bool vmsi_is_open(const struct vmsi *m, uint32_t n);
bool vmsi_raise(struct vmsi *m, uint32_t n);
bool vmsi_take(struct vmsi *m, uint32_t n);

#endif
