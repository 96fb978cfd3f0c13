/* SPDX-License-Identifier: MIT */
/* Between the parts that find out what a function is. */
#ifndef PCI_PROBE_H
#define PCI_PROBE_H

#include "device.h"

/* The first reason stays. */
static inline void pci_refuse(struct pci_device *d, const char *why)
{
    if (!d->refused)
        d->refused = why;
}

/* caps.c: capabilities and the kind of port; `refused` where they make no sense. Only reads. */
void pci_read_capabilities(struct pci_device *d);

/* bar.c: bars, rom; `refused` where they, or the MSI-X tables in them, make no sense. */
void pci_size_bars(struct pci_device *d);

/* window.c: do all bridges above it forward what goes to this BAR of it? */
bool pci_is_forwarded(const struct pci_device *d, const struct pci_bar *bar);

#endif
