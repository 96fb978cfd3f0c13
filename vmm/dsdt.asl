/* SPDX-License-Identifier: MIT */
/* The machine's devices, for the guest's operating system. The numbers are those of vmm/devices.h. */
DefinitionBlock ("", "DSDT", 2, "BareWH", "BareWHP ", 1)
{
    /* S5: the value for SLP_TYP in the PM1 control register */
    Name (\_S5, Package () { 5, 5, 0, 0 })

    Scope (\_SB)
    {
        /* One PCI bus by CF8h/CFCh and ECAM; what lies on it is found by enumeration. */
        Device (PCI0)
        {
            Name (_HID, EisaId ("PNP0A08"))
            Name (_CID, EisaId ("PNP0A03"))
            Name (_UID, 0)
            Name (_SEG, 0)
            Name (_BBN, 0)
            Name (_CRS, ResourceTemplate ()
            {
                WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode, 0, 0x0000, 0x0000, 0, 0x0001)
                IO (Decode16, 0x0cf8, 0x0cf8, 1, 8)
                WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange, 0, 0x4000, 0xffff, 0, 0xc000)
                DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite,
                             0, 0xc0000000, 0xfebfffff, 0, 0x3ec00000)
            })
        }

        /* What is nobody else's: ECAM, the ports of power management, reset, panic and exit. */
        Device (MISC)
        {
            Name (_HID, EisaId ("PNP0C02"))
            Name (_UID, 1)
            Name (_CRS, ResourceTemplate ()
            {
                Memory32Fixed (ReadWrite, 0xb0000000, 0x00100000)
                IO (Decode16, 0x0600, 0x0600, 1, 0x10)
                IO (Decode16, 0x00f4, 0x00f4, 1, 4)
            })
        }

        Device (COM1)
        {
            Name (_HID, EisaId ("PNP0501"))
            Name (_UID, 1)
            Name (_STA, 0x0f)
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x03f8, 0x03f8, 0, 8)
                IRQNoFlags () { 4 }
            })
        }

        Device (RTC)
        {
            Name (_HID, EisaId ("PNP0B00"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x0070, 0x0070, 1, 2)
                IRQNoFlags () { 8 }
            })
        }

        /*
         * Where drivers of Hyper-V's VMBus begin. There is none: the VMM tells them so, when they ask by the
         * hypervisor's interface.
         */
        Device (VMBS)
        {
            /* the name that drivers know is not as long as ACPI wants names, which only constants are checked for */
            Method (_HID, 0, NotSerialized)
            {
                Return ("VMBus")
            }
            Name (_UID, 0)
            Name (_STA, 0x0f)
            Name (_CRS, ResourceTemplate ()
            {
                IRQNoFlags () { 5 } /* as on Hyper-V; nobody raises it */
            })
        }

        Device (PEVT)
        {
            Name (_HID, "QEMU0001")
            Name (_STA, 0x0f)
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x0505, 0x0505, 1, 1)
            })
        }
    }
}
