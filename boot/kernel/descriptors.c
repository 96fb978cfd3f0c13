/* SPDX-License-Identifier: MIT */
/* GDT, TSS and IDT. */
#include "descriptors.h"
#include <hv/base/bits.h>

#define MSR_FS_BASE        0xc0000100
#define MSR_GS_BASE        0xc0000101
#define MSR_KERNEL_GS_BASE 0xc0000102

#define GDT_CODE64      0x00af9b000000ffffull /* execute, read, accessed, long */
#define GDT_DATA        0x00cf93000000ffffull /* read, write, accessed */
#define GDT_TSS_PRESENT 0x0000890000000000ull /* 64-bit TSS, available */

#define IDT_INTERRUPT_GATE 0x8e00

struct idt_gate {
    uint16_t offset_low, selector, attributes, offset_middle;
    uint32_t offset_high, reserved;
};

_Static_assert(sizeof(struct idt_gate) == 16, "SDM volume 3, figure 6-8");

struct table_register {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));

extern const uint64_t trap_entries[256];

static struct idt_gate idt[256];

static enum ist vector_ist(unsigned vector)
{
    switch (vector) {
    case 2:
        return IST_NMI;
    case 8:
        return IST_DOUBLE_FAULT;
    case 18:
        return IST_MACHINE_CHECK;
    default:
        return IST_NONE;
    }
}

/* Every CPU writes the same: harmless, and no order to keep. */
static void idt_fill(void)
{
    for (unsigned v = 0; v < ARRAY_COUNT(idt); v++) {
        uint64_t entry = trap_entries[v];

        idt[v] = (struct idt_gate){
            .offset_low = (uint16_t)entry,
            .selector = SEL_CODE,
            .attributes = (uint16_t)(IDT_INTERRUPT_GATE | vector_ist(v)),
            .offset_middle = (uint16_t)(entry >> 16),
            .offset_high = (uint32_t)(entry >> 32),
        };
    }
}

static void gdt_fill(struct cpu *cpu)
{
    uint64_t tss = (uintptr_t)&cpu->tss;

    cpu->gdt[SEL_CODE / 8] = GDT_CODE64;
    cpu->gdt[SEL_DATA / 8] = GDT_DATA;
    cpu->gdt[SEL_TSS / 8] = GDT_TSS_PRESENT | (sizeof(cpu->tss) - 1) | FIELD_PUT(BITS64(39, 16), tss & 0xffffff) |
                            FIELD_PUT(BITS64(63, 56), tss >> 24 & 0xff);
    cpu->gdt[SEL_TSS / 8 + 1] = tss >> 32;
}

static void load_segments(void)
{
    __asm__ volatile("pushq %0\n\t"
                     "leaq 1f(%%rip), %%rax\n\t"
                     "pushq %%rax\n\t"
                     "lretq\n"
                     "1:\n\t"
                     "movl %1, %%eax\n\t"
                     "movl %%eax, %%ds\n\t"
                     "movl %%eax, %%es\n\t"
                     "movl %%eax, %%ss\n\t"
                     "xorl %%eax, %%eax\n\t"
                     "movl %%eax, %%fs\n\t"
                     "movl %%eax, %%gs" ::"i"(SEL_CODE),
                     "i"(SEL_DATA)
                     : "rax", "memory");
}

void descriptors_load(struct cpu *cpu, void *ist)
{
    struct table_register gdtr = {sizeof(cpu->gdt) - 1, (uintptr_t)cpu->gdt};
    struct table_register idtr = {sizeof(idt) - 1, (uintptr_t)idt};

    for (unsigned i = 1; i < IST_COUNT; i++)
        cpu->tss.ist[i] = (uintptr_t)ist + i * IST_STACK_SIZE;
    cpu->tss.iomap_base = sizeof(cpu->tss);
    gdt_fill(cpu);
    idt_fill();
    __asm__ volatile("lgdt %0" ::"m"(gdtr));
    load_segments();
    __asm__ volatile("ltr %w0" ::"r"(SEL_TSS));
    __asm__ volatile("lidt %0" ::"m"(idtr));
    cpu->self = cpu;
    wrmsr(MSR_FS_BASE, 0);
    wrmsr(MSR_GS_BASE, (uintptr_t)cpu);
    wrmsr(MSR_KERNEL_GS_BASE, 0);
}
