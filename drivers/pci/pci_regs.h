/* SPDX-License-Identifier: MIT */
/* Registers of configuration space (PCI 3.0 6, PCIe 5.0 7). Facts only. */
#ifndef PCI_REGS_H
#define PCI_REGS_H

#include <hv/base/bits.h>

#define PCI_VENDOR                0x00
#define PCI_DEVICE                0x02
#define PCI_COMMAND               0x04
#define PCI_STATUS                0x06
#define PCI_REVISION              0x08
#define PCI_CLASS                 0x09 /* programming interface, subclass, base class */
#define PCI_CACHE_LINE            0x0c
#define PCI_HEADER_TYPE           0x0e
#define PCI_BAR0                  0x10
#define PCI_SUB_VENDOR            0x2c
#define PCI_SUB_SYSTEM            0x2e
#define PCI_ROM                   0x30
#define PCI_CAPABILITIES          0x34
#define PCI_INTERRUPT_LINE        0x3c
#define PCI_INTERRUPT_PIN         0x3d
#define PCI_BRIDGE_PRIMARY        0x18
#define PCI_BRIDGE_SECONDARY      0x19
#define PCI_BRIDGE_LAST           0x1a
#define PCI_BRIDGE_IO             0x1c
#define PCI_BRIDGE_MEMORY         0x20
#define PCI_BRIDGE_PREFETCH       0x24
#define PCI_BRIDGE_PREFETCH_FIRST 0x28 /* their upper halves */
#define PCI_BRIDGE_PREFETCH_LAST  0x2c
#define PCI_BRIDGE_IO_HIGH        0x30
#define PCI_BRIDGE_CONTROL        0x3e
#define PCI_EXTENDED              0x100 /* extended capabilities begin here */

#define PCI_COMMAND_IO           BIT32(0)
#define PCI_COMMAND_MEMORY       BIT32(1)
#define PCI_COMMAND_MASTER       BIT32(2)
#define PCI_COMMAND_INTX_OFF     BIT32(10)
#define PCI_STATUS_CAPABILITIES  BIT32(4)
#define PCI_HEADER_MULTI         BIT32(7)
#define PCI_HEADER_LAYOUT        BITS32(6, 0) /* 0 endpoint, 1 bridge */
#define PCI_BRIDGE_CONTROL_ISA   BIT32(2)
#define PCI_BRIDGE_CONTROL_RESET BIT32(6)

#define PCI_BAR_IO       BIT32(0)
#define PCI_BAR_TYPE     BITS32(2, 1)
#define PCI_BAR_TYPE_64  2
#define PCI_BAR_PREFETCH BIT32(3)

#define PCI_CAP_PM        0x01
#define PCI_CAP_MSI       0x05
#define PCI_CAP_VENDOR    0x09
#define PCI_CAP_EXPRESS   0x10
#define PCI_CAP_MSIX      0x11
#define PCI_CAP_AF        0x13
#define PCI_EXT_CAP_ACS   0x000d
#define PCI_EXT_CAP_ARI   0x000e
#define PCI_EXT_CAP_SRIOV 0x0010

#endif
