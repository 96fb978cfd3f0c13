/* SPDX-License-Identifier: MIT */
/*
 * Privileged instructions as functions: only what C can not say, no policy. All of them are here, so that desk tests
 * can put a fake of this header before it in the include path.
 */
#ifndef ARCH_CPU_H
#define ARCH_CPU_H

#include <stdbool.h>
#include <stdint.h>

#define CPU_READ_REG(name, insn)                          \
    static inline uint64_t cpu_read_##name(void)          \
    {                                                     \
        uint64_t v;                                       \
        __asm__ volatile("mov %%" insn ", %0" : "=r"(v)); \
        return v;                                         \
    }
#define CPU_WRITE_REG(name, insn)                                  \
    static inline void cpu_write_##name(uint64_t v)                \
    {                                                              \
        __asm__ volatile("mov %0, %%" insn : : "r"(v) : "memory"); \
    }

CPU_READ_REG(cr0, "cr0")
CPU_READ_REG(cr3, "cr3")
CPU_READ_REG(cr4, "cr4")
CPU_READ_REG(dr0, "dr0")
CPU_READ_REG(dr1, "dr1")
CPU_READ_REG(dr2, "dr2")
CPU_READ_REG(dr3, "dr3")
CPU_READ_REG(dr6, "dr6")
CPU_READ_REG(dr7, "dr7")
CPU_WRITE_REG(cr0, "cr0")
CPU_WRITE_REG(cr4, "cr4")
CPU_WRITE_REG(dr0, "dr0")
CPU_WRITE_REG(dr1, "dr1")
CPU_WRITE_REG(dr2, "dr2")
CPU_WRITE_REG(dr3, "dr3")
CPU_WRITE_REG(dr6, "dr6")
CPU_WRITE_REG(dr7, "dr7")

#undef CPU_READ_REG
#undef CPU_WRITE_REG

/* RDMSR, XGETBV and RDTSC clear the upper halves of RAX and RDX (SDM 2B, 2D). */
static inline uint64_t cpu_read_msr(uint32_t index)
{
    uint64_t low, high;

    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(index));
    return high << 32 | low;
}

static inline void cpu_write_msr(uint32_t index, uint64_t value)
{
    __asm__ volatile("wrmsr" : : "c"(index), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)) : "memory");
}

static inline uint64_t cpu_read_xcr0(void)
{
    uint64_t low, high;

    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return high << 32 | low;
}

static inline void cpu_write_xcr0(uint64_t value)
{
    __asm__ volatile("xsetbv" : : "c"(0), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)));
}

static inline void cpu_xsave(void *image, uint64_t mask)
{
    __asm__ volatile("xsave64 (%0)" : : "r"(image), "a"((uint32_t)mask), "d"((uint32_t)(mask >> 32)) : "memory");
}

static inline void cpu_xrstor(const void *image, uint64_t mask)
{
    __asm__ volatile("xrstor64 (%0)" : : "r"(image), "a"((uint32_t)mask), "d"((uint32_t)(mask >> 32)) : "memory");
}

static inline void cpu_fxsave(void *image)
{
    __asm__ volatile("fxsave64 (%0)" : : "r"(image) : "memory");
}

static inline void cpu_fxrstor(const void *image)
{
    __asm__ volatile("fxrstor64 (%0)" : : "r"(image) : "memory");
}

/* XMM0 to XMM5, as they follow one another in memory. */
static inline void cpu_read_xmm(uint64_t to[12])
{
    __asm__ volatile("movups %%xmm0, (%0)\n\t"
                     "movups %%xmm1, 16(%0)\n\t"
                     "movups %%xmm2, 32(%0)\n\t"
                     "movups %%xmm3, 48(%0)\n\t"
                     "movups %%xmm4, 64(%0)\n\t"
                     "movups %%xmm5, 80(%0)"
                     :
                     : "r"(to)
                     : "memory");
}

struct cpu_table_register {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));

static inline struct cpu_table_register cpu_read_gdtr(void)
{
    struct cpu_table_register t;

    __asm__ volatile("sgdt %0" : "=m"(t));
    return t;
}

static inline struct cpu_table_register cpu_read_idtr(void)
{
    struct cpu_table_register t;

    __asm__ volatile("sidt %0" : "=m"(t));
    return t;
}

static inline void cpu_write_gdtr(struct cpu_table_register t)
{
    __asm__ volatile("lgdt %0" : : "m"(t));
}

static inline void cpu_write_idtr(struct cpu_table_register t)
{
    __asm__ volatile("lidt %0" : : "m"(t));
}

#define CPU_READ_SELECTOR(name)                             \
    static inline uint16_t cpu_read_##name(void)            \
    {                                                       \
        uint16_t v;                                         \
        __asm__ volatile("mov %%" #name ", %0" : "=rm"(v)); \
        return v;                                           \
    }
CPU_READ_SELECTOR(es)
CPU_READ_SELECTOR(cs)
CPU_READ_SELECTOR(ss)
CPU_READ_SELECTOR(ds)
CPU_READ_SELECTOR(fs)
CPU_READ_SELECTOR(gs)
#undef CPU_READ_SELECTOR

#define CPU_LOAD_SELECTOR(name)                                 \
    static inline void cpu_load_##name(uint16_t selector)       \
    {                                                           \
        __asm__ volatile("mov %0, %%" #name : : "r"(selector)); \
    }
CPU_LOAD_SELECTOR(es)
CPU_LOAD_SELECTOR(ds)
CPU_LOAD_SELECTOR(fs)
CPU_LOAD_SELECTOR(gs)
#undef CPU_LOAD_SELECTOR

static inline void cpu_load_ldtr(uint16_t selector)
{
    __asm__ volatile("lldt %0" : : "r"(selector));
}

static inline void cpu_load_tr(uint16_t selector)
{
    __asm__ volatile("ltr %0" : : "r"(selector) : "memory");
}

/* The limit of a descriptor, 0 when there is none. */
static inline uint32_t cpu_segment_limit(uint16_t selector)
{
    uint32_t limit = 0;

    __asm__ volatile("lsl %1, %0" : "+r"(limit) : "r"((uint32_t)selector) : "cc");
    return limit;
}

/* out: EAX, EBX, ECX, EDX */
static inline void cpu_insn_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
    __asm__ volatile("cpuid" : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3]) : "a"(leaf), "c"(subleaf));
}

static inline uint64_t cpu_insn_rdtsc(void)
{
    uint64_t low, high;

    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return high << 32 | low;
}

/* Instructions before it are over, and none after it has begun (SDM 2A, LFENCE). */
static inline void cpu_load_fence(void)
{
    __asm__ volatile("lfence" : : : "memory");
}

/* Writes the cache line back and drops it; in order with writes before and after it (SDM 2A, CLFLUSH). */
static inline void cpu_flush_line(const volatile void *p)
{
    __asm__ volatile("clflush (%0)" : : "r"(p) : "memory");
}

/* Writes 16 bytes, aligned, as one (APM 3, CMPXCHG16B). */
static inline void cpu_write_pair(uint64_t p[2], uint64_t low, uint64_t high)
{
    uint64_t old_low = p[0], old_high = p[1];
    bool done;

    do
        __asm__ volatile("lock cmpxchg16b %0"
                         : "+m"(*(unsigned __int128 *)p), "=@ccz"(done), "+a"(old_low), "+d"(old_high)
                         : "b"(low), "c"(high)
                         : "memory");
    while (!done);
}

static inline void cpu_clear_ts(void)
{
    __asm__ volatile("clts");
}

/* The host's own handlers of NMI and machine check, through its IDT. */
static inline void cpu_call_nmi_handler(void)
{
    __asm__ volatile("int $2");
}

static inline void cpu_call_machine_check_handler(void)
{
    __asm__ volatile("int $18");
}

/* The same of an interrupt that is in service at the local APIC, where the handler ends it; interrupts off. */
void cpu_call_interrupt_handler(uint8_t vector); /* cpu_interrupt.asm */

static inline uint16_t cpu_read_tr(void)
{
    uint16_t v;

    __asm__ volatile("str %0" : "=rm"(v));
    return v;
}

static inline uint16_t cpu_read_ldtr(void)
{
    uint16_t v;

    __asm__ volatile("sldt %0" : "=rm"(v));
    return v;
}

/* ----------------------------------------------------------------------------------- devices */

#define CPU_PORT(bits, suffix)                                                      \
    static inline uint##bits##_t cpu_in##bits(uint16_t port)                        \
    {                                                                               \
        uint##bits##_t v;                                                           \
        __asm__ volatile("in" suffix " %1, %0" : "=a"(v) : "Nd"(port) : "memory");  \
        return v;                                                                   \
    }                                                                               \
    static inline void cpu_out##bits(uint16_t port, uint##bits##_t v)               \
    {                                                                               \
        __asm__ volatile("out" suffix " %0, %1" : : "a"(v), "Nd"(port) : "memory"); \
    }
CPU_PORT(8, "b")
CPU_PORT(16, "w")
CPU_PORT(32, "l")
#undef CPU_PORT

/*
 * Device memory, mapped by hv_host_mmio_map: one access of that size. Through rAX, as some CPUs demand for
 * configuration space (AMD BKDG, MMIO configuration).
 */
#define CPU_MMIO(bits, suffix)                                                     \
    static inline uint##bits##_t cpu_mmio_read##bits(const volatile void *at)      \
    {                                                                              \
        uint##bits##_t v;                                                          \
        __asm__ volatile("mov" suffix " (%1), %0" : "=a"(v) : "r"(at) : "memory"); \
        return v;                                                                  \
    }                                                                              \
    static inline void cpu_mmio_write##bits(volatile void *at, uint##bits##_t v)   \
    {                                                                              \
        __asm__ volatile("mov" suffix " %0, (%1)" : : "a"(v), "r"(at) : "memory"); \
    }
CPU_MMIO(8, "b")
CPU_MMIO(16, "w")
CPU_MMIO(32, "l")
CPU_MMIO(64, "q")
#undef CPU_MMIO

#endif
