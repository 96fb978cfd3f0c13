/* SPDX-License-Identifier: MIT */
/* What the files of the local APIC's register model share: the table of registers, the timer's part of writes. */
#ifndef VIRT_LAPIC_PARTS_H
#define VIRT_LAPIC_PARTS_H

#include "lapic.h"
#include <hv/base/bits.h>

/* Access by mode: REG_* as memory (xAPIC), REG_X2_* as MSR (x2APIC). A register without a bit of a mode is reserved. */
#define REG_READ     BIT32(0)
#define REG_WRITE    BIT32(1)
#define REG_X2_READ  BIT32(2)
#define REG_X2_WRITE BIT32(3)

struct lapic_reg {
    uint32_t access;
    uint32_t bits;                                            /* that software sets */
    uint32_t ignored;                                         /* when written: read-only. All others are reserved */
    uint32_t (*read)(const struct lapic *l, uint64_t now_ns); /* when the page does not have it */
    /* The value is in the page, without other bits than `bits`. */
    void (*written)(struct lapic *l, uint32_t offset, uint64_t now_ns, struct lapic_effect *effect);
};

#define LAPIC_REGS 64u /* of 16 bytes; what is above them is reserved */

/* One without access for an offset that is not a register's. */
const struct lapic_reg *lapic_reg(uint32_t offset);

/* False: it was not put into IRR. */
bool lapic_request(struct lapic *l, uint8_t vector, bool is_level, struct lapic_effect *effect);

void lapic_update_ppr(struct lapic *l);

/* The remote IRRs of a saved state's LVT entries. */
void lapic_load_inputs(struct lapic *l, uint32_t lint0, uint32_t lint1);

/* Stopped, as after power-up, by the registers in the page. */
void lapic_timer_reset(struct lapic *l);

/* The registers were written: INITIAL COUNT, DIVIDE CONFIGURATION, LVT timer. */
void lapic_timer_init_written(struct lapic *l, uint32_t offset, uint64_t now_ns, struct lapic_effect *effect);
void lapic_timer_div_written(struct lapic *l, uint32_t offset, uint64_t now_ns, struct lapic_effect *effect);
void lapic_timer_lvt_written(struct lapic *l, uint64_t now_ns, struct lapic_effect *effect);

uint32_t lapic_timer_count(const struct lapic *l, uint64_t now_ns);

/* The registers in the page are a saved state's: the timer goes on. */
void lapic_timer_resume(struct lapic *l, uint32_t count, uint64_t now_ns);

#endif
