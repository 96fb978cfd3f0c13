/* SPDX-License-Identifier: MIT */
/* In place of arch/x86_64/include/arch/cpu.h: the same functions, on the CPU of fake_x86.c. */
#ifndef ARCH_CPU_H
#define ARCH_CPU_H

#include <stdint.h>

struct cpu_table_register {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));

uint64_t cpu_read_cr0(void), cpu_read_cr3(void), cpu_read_cr4(void);
uint64_t cpu_read_dr0(void), cpu_read_dr1(void), cpu_read_dr2(void), cpu_read_dr3(void), cpu_read_dr6(void),
    cpu_read_dr7(void);
void cpu_write_cr0(uint64_t v), cpu_write_cr4(uint64_t v);
void cpu_write_dr0(uint64_t v), cpu_write_dr1(uint64_t v), cpu_write_dr2(uint64_t v), cpu_write_dr3(uint64_t v),
    cpu_write_dr6(uint64_t v), cpu_write_dr7(uint64_t v);

uint64_t cpu_read_msr(uint32_t index);
void cpu_write_msr(uint32_t index, uint64_t value);

uint64_t cpu_read_xcr0(void);
void cpu_write_xcr0(uint64_t value);
void cpu_xsave(void *image, uint64_t mask);
void cpu_xrstor(const void *image, uint64_t mask);
void cpu_fxsave(void *image);
void cpu_fxrstor(const void *image);
void cpu_read_xmm(uint64_t to[12]);

struct cpu_table_register cpu_read_gdtr(void), cpu_read_idtr(void);
void cpu_write_gdtr(struct cpu_table_register t), cpu_write_idtr(struct cpu_table_register t);

uint16_t cpu_read_es(void), cpu_read_cs(void), cpu_read_ss(void), cpu_read_ds(void), cpu_read_fs(void),
    cpu_read_gs(void), cpu_read_tr(void), cpu_read_ldtr(void);
void cpu_load_es(uint16_t selector), cpu_load_ds(uint16_t selector), cpu_load_fs(uint16_t selector),
    cpu_load_gs(uint16_t selector), cpu_load_ldtr(uint16_t selector), cpu_load_tr(uint16_t selector);
uint32_t cpu_segment_limit(uint16_t selector);

void cpu_flush_line(const volatile void *p);
void cpu_write_pair(uint64_t p[2], uint64_t low, uint64_t high);
void cpu_clear_ts(void);
void cpu_call_nmi_handler(void), cpu_call_machine_check_handler(void), cpu_call_interrupt_handler(uint8_t vector);

void cpu_insn_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t out[4]);
uint64_t cpu_insn_rdtsc(void);
void cpu_load_fence(void);

/* devices: fake_device.c */
uint8_t cpu_in8(uint16_t port);
uint16_t cpu_in16(uint16_t port);
uint32_t cpu_in32(uint16_t port);
void cpu_out8(uint16_t port, uint8_t v), cpu_out16(uint16_t port, uint16_t v), cpu_out32(uint16_t port, uint32_t v);
uint8_t cpu_mmio_read8(const volatile void *at);
uint16_t cpu_mmio_read16(const volatile void *at);
uint32_t cpu_mmio_read32(const volatile void *at);
uint64_t cpu_mmio_read64(const volatile void *at);
void cpu_mmio_write8(volatile void *at, uint8_t v), cpu_mmio_write16(volatile void *at, uint16_t v),
    cpu_mmio_write32(volatile void *at, uint32_t v), cpu_mmio_write64(volatile void *at, uint64_t v);

#endif
