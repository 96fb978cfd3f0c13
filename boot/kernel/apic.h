/* SPDX-License-Identifier: MIT */
/* The local APIC, by its registers in memory (xAPIC) or by MSRs (x2APIC, when firmware left it so or IDs need it). */
#ifndef BOOT_KERNEL_APIC_H
#define BOOT_KERNEL_APIC_H

#include <stdbool.h>
#include <stdint.h>

void apic_init(bool want_x2apic); /* once, on the first CPU: chooses the mode, silences the 8259 */
void apic_init_cpu(void);         /* on every CPU */
uint32_t apic_id(void);
void apic_eoi(void);
bool apic_is_requested(uint8_t vector); /* has arrived at this CPU, which has not taken it yet */

/* Each sends one interrupt; they return when the APIC has taken it. Nothing happens before apic_init. */
void apic_send(uint32_t apic_id, uint8_t vector);
void apic_send_init(uint32_t apic_id);
void apic_send_startup(uint32_t apic_id, uint8_t page);
void apic_send_nmi_to_others(void);

/* The timer, one shot: interrupts after so many ns, a second at most; at once before apic_timer_calibrate. */
void apic_timer_start(uint64_t ns);
void apic_timer_calibrate(void);

#endif
