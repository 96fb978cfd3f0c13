/* SPDX-License-Identifier: MIT */
/*
 * Configuration space (PCIe 5.0 7.2): by ECAM where ACPI's MCFG tells of it, else by ports CF8h and CFCh, which reach
 * the first 256 bytes of segment 0. Context: any but NMI.
 */
#ifndef PCI_CONFIG_H
#define PCI_CONFIG_H

#include <hv/pci.h>

/* Once, by pci_scan; thread. HV_E_NO_MEMORY. Before it, and after pci_config_exit, there is no function. */
enum hv_status pci_config_init(void);
void pci_config_exit(void);

/* size 1, 2 or 4, naturally aligned; a function that is not there reads as ones. offset below 4096. */
uint32_t pci_config_read(const struct hv_pci_address *a, uint32_t offset, uint32_t size);
void pci_config_write(const struct hv_pci_address *a, uint32_t offset, uint32_t size, uint32_t value);

/* Bytes of a function's configuration space that can be reached here: 4096 or 256. */
uint32_t pci_config_size(const struct hv_pci_address *a);

/* The n-th segment, in ascending order; false: there are no more. */
bool pci_config_segment(uint32_t n, uint16_t *segment);

/* Buses of a segment that can be reached: false when there is no such segment. */
bool pci_config_buses(uint16_t segment, uint8_t *first, uint8_t *last);

/* Is there configuration space in this range of memory? */
bool pci_config_is_at(hv_hpa_t pa, uint64_t size);

/* Where physical addresses end, for the CPU. */
hv_hpa_t pci_address_limit(void);

#endif
