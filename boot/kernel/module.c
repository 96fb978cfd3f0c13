/* SPDX-License-Identifier: MIT */
/* Modules, the command line, and the program it chooses. */
#include "program.h"
#include <kernel/memory.h>
#include <kernel/module.h>
#include <kernel/print.h>
#include <kernel/program.h>
#include <kernel/string.h>

#define DEFAULT_PROGRAM   "demo"
#define STATUS_NO_PROGRAM 2

extern const struct kernel_program programs_start[], programs_end[];

bool module_get(uint32_t index, struct module *m)
{
    const struct boot_module *b = &boot_info()->modules[index];

    if (index >= boot_info()->module_count)
        return false;
    *m = (struct module){.data = phys_to_virt(b->base), .length = b->length, .string = b->string};
    return true;
}

bool module_find(const char *name, struct module *m)
{
    size_t length = strlen(name);

    for (uint32_t i = 0; module_get(i, m); i++) {
        if (!strncmp(m->string, name, length) && (m->string[length] == ' ' || m->string[length] == '\0'))
            return true;
    }
    return false;
}

bool option_find(const char *name, char *value, size_t size)
{
    return word_find(boot_info()->command_line, name, value, size);
}

bool option_at(uint32_t n, char *word, size_t size)
{
    return word_at(boot_info()->command_line, n, word, size);
}

int program_main(const struct boot_info *info)
{
    char name[32] = DEFAULT_PROGRAM;

    option_find("program", name, sizeof(name));
    for (const struct kernel_program *p = programs_start; p < programs_end; p++) {
        if (!strcmp(p->name, name))
            return p->main(info);
    }
    kprintf("barewhp: no program \"%s\" in this image; the command line's program=NAME takes:\n", name);
    for (const struct kernel_program *p = programs_start; p < programs_end; p++)
        kprintf("  %-16s %s\n", p->name, p->help);
    return STATUS_NO_PROGRAM;
}
