/* SPDX-License-Identifier: MIT */
/* What the loader brought: modules and the command line. */
#ifndef KERNEL_MODULE_H
#define KERNEL_MODULE_H

#include <boot/info.h>
#include <stdbool.h>
#include <stddef.h>

const struct boot_info *boot_info(void);

struct module {
    const void *data; /* page-aligned, stays for the whole run */
    uint64_t length;
    const char *string; /* name and arguments */
};

bool module_get(uint32_t index, struct module *m);            /* 0 .. count-1 in the loader's order */
bool module_find(const char *name, struct module *m);         /* the first whose string begins with this word */
bool option_find(const char *name, char *value, size_t size); /* the word name or name=value of the command line */
bool option_at(uint32_t n, char *word, size_t size);          /* the n-th word, whole (cut to size - 1 characters) */

#endif
