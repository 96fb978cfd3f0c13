/* SPDX-License-Identifier: MIT */
/* What a kernel's loader is given, and what it hands back: vmm/linux.c, vmm/multiboot.c. */
#ifndef VMM_LOADER_H
#define VMM_LOADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <vmm/memory.h>
#include <vmm/system.h>

#define LOADER_MODULES_MAX 32u

struct loader_input {
    struct system_file kernel;
    struct system_file modules[LOADER_MODULES_MAX]; /* the files "initrd" */
    uint32_t module_count;
    const char *cmdline;
    uint64_t rsdp;    /* of the ACPI tables, which are in memory already */
    uint32_t tsc_khz; /* the rate of the guest's TSC; 0: not known */
};

/* How the first processor starts. All segments are flat; selectors are those of the protocol. */
struct loader_entry {
    bool is_long; /* 64-bit code with paging by cr3; false: 32-bit code without paging */
    uint64_t rip, rax, rbx, rsi;
    uint64_t cr3;
    uint64_t gdt; /* guest address */
    uint16_t gdt_limit;
    uint16_t code, data; /* selectors */
    char version[96];    /* what the kernel says of itself; "" for nothing */
};

/*
 * By the file's own marks. The loaders check everything that the file says before they believe it. False: a line that
 * names what is wrong was printed.
 */
bool loader_load(const struct memory *memory, const struct loader_input *input, struct loader_entry *entry);

bool linux_is_kernel(const struct system_file *file);
bool linux_load(const struct memory *memory, const struct loader_input *input, struct loader_entry *entry);

bool multiboot_is_kernel(const struct system_file *file);
bool multiboot_load(const struct memory *memory, const struct loader_input *input, struct loader_entry *entry);

/* A flat GDT, the same for both protocols: code (of the mode) at selector 10h, data at 18h. */
#define LOADER_GDT_CODE 0x10u
#define LOADER_GDT_DATA 0x18u
bool loader_write_gdt(const struct memory *memory, uint64_t gpa, struct loader_entry *entry);

#endif
