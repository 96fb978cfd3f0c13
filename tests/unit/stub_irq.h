/* SPDX-License-Identifier: MIT */
/*
 * A VP without a local APIC, for tests of parts that would call it. Defines functions: to be included by one file of a
 * test program. What must not happen without a local APIC fails.
 */
#ifndef STUB_IRQ_H
#define STUB_IRQ_H

#include "unit.h"
#include "virt/exit_apic.h"
#include "virt/irq.h"

bool exit_apic_read_msr(struct hv_vp *vp, uint32_t index, uint64_t *value)
{
    (void)index, (void)value;
    return vp->has_apic;
}

bool exit_apic_write_msr(struct hv_vp *vp, uint32_t index, uint64_t value)
{
    (void)index, (void)value;
    return vp->has_apic;
}

bool exit_apic_write_plain(struct hv_vp *vp, uint32_t index, uint64_t value)
{
    (void)vp, (void)index, (void)value;
    return false;
}

bool exit_apic_read_deadline(struct hv_vp *vp, uint64_t *value)
{
    (void)value;
    return vp->has_apic;
}

bool exit_apic_write_deadline(struct hv_vp *vp, uint64_t value)
{
    (void)value;
    return vp->has_apic;
}

bool exit_apic_write_base(struct hv_vp *vp, uint64_t value, uint64_t physical_mask)
{
    (void)vp, (void)value, (void)physical_mask;
    fake_require(false, "exit_apic_write_base: no local APIC");
    return false;
}

void irq_apply(struct hv_vp *vp, const struct lapic_effect *effect)
{
    (void)vp, (void)effect;
    fake_require(false, "irq_apply: no local APIC");
}

void irq_mode_changed(struct hv_vp *vp)
{
    (void)vp;
    fake_require(false, "irq_mode_changed: no local APIC");
}

int irq_next_ext_int(const struct hv_vp *vp)
{
    (void)vp;
    return -1;
}

void irq_drop_ext_ints(struct hv_vp *vp, int vector)
{
    (void)vp, (void)vector;
}

void irq_registers_changed(struct hv_vp *vp)
{
    (void)vp;
    fake_require(false, "irq_registers_changed: no local APIC");
}

#endif
