/* SPDX-License-Identifier: MIT */
#include <hv/base/bits.h>
#include <hv/base/lines.h>
#include <hv/host.h>

/* What the host gave stands in the word before the object; aligned to 16 bytes, it leaves room for that. */
void *hv_lines_alloc(size_t size)
{
    char *memory = hv_host_alloc(size + HV_LINE_SIZE);
    void **p;

    if (!memory)
        return NULL;
    p = (void **)ALIGN_UP((uintptr_t)memory + sizeof(void *), (uintptr_t)HV_LINE_SIZE);
    p[-1] = memory;
    return p;
}

void hv_lines_free(void *p, size_t size)
{
    hv_host_free(((void **)p)[-1], size + HV_LINE_SIZE);
}
