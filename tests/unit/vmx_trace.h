/* SPDX-License-Identifier: MIT */
/* Which VMCS fields the library has read and written, compared with a list. */
#ifndef VMX_TRACE_H
#define VMX_TRACE_H

#include "arch/x86_64/vmx/vmx.h"
#include "arch/x86_64/vmx/vmx_audit.h"
#include "unit.h"
#include <fake_vmx.h>
#include <stdio.h>
#include <string.h>

struct trace_fields {
    uint32_t fields[12];
    unsigned count;
};
#define FIELDS(...)                                                         \
    (struct trace_fields)                                                   \
    {                                                                       \
        {__VA_ARGS__}, sizeof((uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t) \
    }
#define NO_FIELDS         \
    (struct trace_fields) \
    {                     \
        {0}, 0            \
    }

static inline void trace_print(const char *what, unsigned (*count)(uint32_t field))
{
#define TRACE_ENCODING(name, encoding) encoding,
    static const uint32_t all[] = {VMCS_FIELDS(TRACE_ENCODING)};
#undef TRACE_ENCODING

    printf("# %s:", what);
    for (size_t i = 0; i < ARRAY_COUNT(all); i++)
        if (count(all[i]))
            printf(" %s%s", vmcs_field_name(all[i]), count(all[i]) > 1 ? "(more than once)" : "");
    printf("\n");
}

/* Each of the fields once, and no other. */
static inline void trace_expect(const char *what, uint64_t total, unsigned (*count)(uint32_t field),
                                struct trace_fields expected)
{
    unsigned once = 0;

    for (unsigned i = 0; i < expected.count; i++)
        once += count(expected.fields[i]) == 1;
    if (once == expected.count && total == expected.count)
        return;
    trace_print(what, count);
    fail_msg("%s: %u accesses instead of %u, or of other fields", what, (unsigned)total, expected.count);
}

#define EXPECT_READS(...)  trace_expect("VMREAD", fake_vmx_counts.reads, fake_vmx_reads, FIELDS(__VA_ARGS__))
#define EXPECT_WRITES(...) trace_expect("VMWRITE", fake_vmx_counts.writes, fake_vmx_writes, FIELDS(__VA_ARGS__))
#define EXPECT_NO_READS()  trace_expect("VMREAD", fake_vmx_counts.reads, fake_vmx_reads, NO_FIELDS)
#define EXPECT_NO_WRITES() trace_expect("VMWRITE", fake_vmx_counts.writes, fake_vmx_writes, NO_FIELDS)

#endif
