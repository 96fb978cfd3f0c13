/* SPDX-License-Identifier: MIT */
/* What each CPU has for itself, found through GS. */
#ifndef BOOT_KERNEL_PERCPU_H
#define BOOT_KERNEL_PERCPU_H

#include <kernel/cpu.h>
#include <stddef.h>

/* segment selectors; the TSS descriptor takes two entries */
#define SEL_CODE    0x08
#define SEL_DATA    0x10
#define SEL_TSS     0x18
#define GDT_ENTRIES 5

enum ist {
    IST_NONE = 0,
    IST_DOUBLE_FAULT,
    IST_NMI,
    IST_MACHINE_CHECK,
    IST_COUNT,
};

#define IST_STACK_SIZE 8192

/* SDM volume 3, figure 7-11 */
struct tss {
    uint32_t reserved0;
    uint64_t rsp[3];
    uint64_t ist[8]; /* [0] is reserved: IST numbers count from 1 */
    uint64_t reserved1;
    uint16_t reserved2, iomap_base;
} __attribute__((packed));

_Static_assert(sizeof(struct tss) == 104, "SDM volume 3, figure 7-11");
_Static_assert(offsetof(struct tss, ist) == 28, "SDM volume 3, figure 7-11");

struct cpu_request;

struct cpu {
    struct cpu *self;
    volatile uint32_t preempt_count; /* own CPU only */
    volatile uint32_t need_resched;  /* set by any CPU, cleared by the own one */

    uint32_t id, apic_id;
    volatile uint32_t online; /* the CPU itself sets it when it is ready for threads and interrupts */

    struct thread *current, *idle; /* own CPU, interrupts off */
    uint64_t slice_end;            /* own CPU, interrupts off: clock_ns time */
    uint64_t timer_at;             /* own CPU, interrupts off: what the timer is set to */
    uint64_t reminded;             /* the scheduler's lock: when another CPU found the timer late, see sched.c */
    uint64_t reminds_at;           /* own CPU, interrupts off: when it looks for late timers again, see sched.c */
    uint64_t alarm;                /* own CPU, interrupts off: sched_set_alarm's, 0 for none */

    struct cpu_request *requests; /* cpu_call: pushed by any CPU, taken by the own one */

    uint64_t gdt[GDT_ENTRIES];
    struct tss tss;
};

_Static_assert(offsetof(struct cpu, preempt_count) == 8 && offsetof(struct cpu, need_resched) == 12,
               "the inline assembly below");

/* Only with interrupts or preemption off: afterwards the thread may be elsewhere. */
static inline struct cpu *this_cpu(void)
{
    struct cpu *cpu;

    __asm__ volatile("movq %%gs:0, %0" : "=r"(cpu));
    return cpu;
}

/* One instruction, so that no interrupt can move the thread between finding its CPU and changing the count. */
static inline void preempt_count_add(int n)
{
    __asm__ volatile("addl %0, %%gs:8" ::"er"(n) : "memory", "cc");
}

static inline uint32_t preempt_count(void)
{
    uint32_t n;

    __asm__ volatile("movl %%gs:8, %0" : "=r"(n)::"memory");
    return n;
}

/* The CPU of that number, online or about to be; NULL when there is none. */
struct cpu *cpu_get(uint32_t id);

#endif
