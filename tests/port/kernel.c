/* SPDX-License-Identifier: MIT */
/*
 * The smallest kernel that can use the library: one CPU, no threads, no interrupts, an allocator of its own, memory
 * mapped to itself. It shares no code with boot/. This file is the porting layer; guest.c runs a guest on it.
 */
#include "port.h"
#include <hv/base/memory.h>
#include <hv/hv.h>
#include <hv/pci.h>

/* ----------------------------------------------------------------------- console and the end */

static void out8(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" ::"a"(value), "Nd"(port));
}

static void print(const char *text)
{
    for (; *text; text++)
        out8(0xe9, (uint8_t)*text);
}

/* Bochs ends at "Shutdown" on port 0x8900, QEMU at a write to its isa-debug-exit. */
static _Noreturn void finish(bool well)
{
    print(well ? "barewhp: exit status 0\n" : "barewhp: exit status 1\n");
    for (const char *s = "Shutdown"; *s; s++)
        out8(0x8900, (uint8_t)*s);
    out8(0xf4, !well);
    for (;;)
        __asm__ volatile("cli; hlt");
}

bool port_check(bool held, const char *what)
{
    print(held ? "ok - port: " : "not ok - port: ");
    print(what);
    print("\n");
    return held;
}

/* ------------------------------------------------------------------------------------- memory */

void *memset(void *to, int byte, size_t size)
{
    void *start = to;

    __asm__ volatile("rep stosb" : "+D"(to), "+c"(size) : "a"(byte) : "memory");
    return start;
}

void *memcpy(void *to, const void *from, size_t size)
{
    void *start = to;

    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size)::"memory");
    return start;
}

void *memmove(void *to, const void *from, size_t size)
{
    char *t = to;
    const char *f = from;

    if (t <= f)
        return memcpy(to, from, size);
    while (size--)
        t[size] = f[size];
    return to;
}

int memcmp(const void *a, const void *b, size_t size)
{
    const uint8_t *x = a, *y = b;

    for (; size; size--, x++, y++)
        if (*x != *y)
            return *x - *y;
    return 0;
}

/* Free memory in order of address. Whoever frees says how much: no headers. Pages have an area of their own. */
struct hole {
    struct hole *next;
    size_t size;
};

#define PAGES 512

static uint8_t heap_area[1 << 20] __attribute__((aligned(16)));
static uint8_t page_area[PAGES][HV_PAGE_SIZE] __attribute__((aligned(4096)));
static struct hole *holes = (struct hole *)heap_area;
static bool is_page_used[PAGES];
static size_t pages_used;

void *hv_host_alloc(size_t size)
{
    size = (size + 15) & ~15ull;
    for (struct hole **at = &holes; *at; at = &(*at)->next) {
        struct hole *h = *at;

        if (h->size < size)
            continue;
        h->size -= size;
        if (!h->size)
            *at = h->next;
        return memset((uint8_t *)h + h->size, 0, size);
    }
    return NULL;
}

static void merge(struct hole *h)
{
    if (h->next && (uint8_t *)h + h->size == (uint8_t *)h->next)
        *h = (struct hole){h->next->next, h->size + h->next->size};
}

void hv_host_free(void *p, size_t size)
{
    struct hole **at = &holes, *h = p, *before = NULL;

    for (; *at && *at < h; at = &(*at)->next)
        before = *at;
    *h = (struct hole){*at, (size + 15) & ~15ull};
    *at = h;
    merge(h);
    if (before)
        merge(before);
}

static bool are_pages_free(size_t first, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (is_page_used[first + i])
            return false;
    return true;
}

static void mark_pages(size_t first, size_t count, bool used)
{
    for (size_t i = 0; i < count; i++)
        is_page_used[first + i] = used;
    pages_used += used ? count : -count;
}

/* The identity map makes neighbours of physical neighbours. */
void *hv_host_pages_alloc(uint32_t count)
{
    for (size_t first = 0; first + count <= PAGES; first++)
        if (are_pages_free(first, count)) {
            mark_pages(first, count, true);
            return memset(page_area[first], 0, count * HV_PAGE_SIZE);
        }
    return NULL;
}

void hv_host_pages_free(void *pages, uint32_t count)
{
    mark_pages((size_t)((uint8_t *)pages - page_area[0]) / HV_PAGE_SIZE, count, false);
}

void *hv_host_page_alloc(void)
{
    return hv_host_pages_alloc(1);
}

void hv_host_page_free(void *page)
{
    hv_host_pages_free(page, 1);
}

hv_hpa_t hv_host_virt_to_phys(const volatile void *va, uint64_t *size)
{
    (void)size; /* an identity map: all of it is contiguous */
    return (uintptr_t)va < HV_SIZE_1G ? (uintptr_t)va : HV_HPA_NONE;
}

void *hv_host_phys_to_virt(hv_hpa_t pa)
{
    return pa < HV_SIZE_1G ? (void *)pa : NULL;
}

/* ------------------------------------------- the rest of the porting layer: one CPU, one thread */

void hv_host_log(enum hv_log_level level, const char *text)
{
    (void)level;
    print("# ");
    print(text);
    print("\n");
}

_Noreturn void hv_host_panic(const char *text)
{
    port_check(false, text);
    finish(false);
}

/* clang-format off */
uint32_t hv_host_cpu_count(void) { return 1; }
uint32_t hv_host_cpu_id(void) { return 0; }
void hv_host_cpu_call(uint32_t cpu, void (*fn)(void *arg), void *arg) { (void)cpu; fn(arg); }
void hv_host_preempt_disable(void) {}
void hv_host_preempt_enable(void) {}
uint64_t hv_host_irq_save(void) { return 0; }
void hv_host_irq_restore(uint64_t flags) { (void)flags; }
bool hv_host_takes_back(void) { return false; }
void hv_host_kick(uint32_t cpu) { (void)cpu; }
bool hv_host_should_yield(void) { return false; }
void hv_host_yield(void) {}
void hv_host_timer(uint64_t deadline_ns) { (void)deadline_ns; } /* and nobody to interrupt: guests here end by themselves */
void hv_host_wait(const volatile uint32_t *word, uint32_t expected, uint64_t deadline_ns) { (void)word; (void)expected; (void)deadline_ns; }
void hv_host_wake(const volatile uint32_t *word) { (void)word; }
uint64_t hv_host_time_ns(void) { return __builtin_ia32_rdtsc(); } /* as if the TSC ran at 1 GHz */
/* clang-format on */

/*
 * Nobody waits for events here, so there are only those that the library hears of: a HANDLE is the address of one, and
 * as good as closed when the library is done with it.
 */
static struct hv_host_event {
    void (*notify)(void *arg); /* NULL: not in use */
    void *arg;
} events[4];

struct hv_host_event *hv_host_event_get(void *handle)
{
    for (unsigned i = 0; i < sizeof(events) / sizeof(events[0]); i++)
        if (handle == &events[i] && events[i].notify)
            return &events[i];
    return NULL;
}

struct hv_host_event *hv_host_event_create(void (*notify)(void *arg), void *arg, void **handle)
{
    for (unsigned i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
        if (events[i].notify)
            continue;
        events[i] = (struct hv_host_event){notify, arg};
        *handle = &events[i];
        return &events[i];
    }
    return NULL;
}

void hv_host_event_signal(struct hv_host_event *event)
{
    if (event->notify)
        event->notify(event->arg);
}

/* clang-format off */
void hv_host_event_silence(struct hv_host_event *event) { event->notify = NULL; }
void hv_host_event_put(struct hv_host_event *event) { (void)event; }
/* clang-format on */

/* ----------------------------------------------------------- tier 2: devices of a PC, without interrupts */

/* entry.asm maps the upper 2 GiB of 4 to themselves, uncached: a PC with little RAM has its devices there. */
void *hv_host_mmio_map(hv_hpa_t pa, uint64_t size)
{
    bool fits = pa >= 2 * HV_SIZE_1G && size <= 4 * HV_SIZE_1G - pa && pa < 4 * HV_SIZE_1G;

    return fits ? (void *)pa : NULL;
}

struct acpi_table {
    char signature[4];
    uint32_t length;
};

static bool is_sum_zero(const void *p, uint32_t size)
{
    const uint8_t *bytes = p;
    uint8_t sum = 0;

    while (size--)
        sum = (uint8_t)(sum + *bytes++);
    return !sum;
}

/* Where a BIOS leaves the root pointer (ACPI 6.4, 5.2.5.1). */
static const struct acpi_table *acpi_root(void)
{
    for (const uint8_t *p = (const uint8_t *)0xe0000; p < (const uint8_t *)0x100000; p += 16)
        if (memcmp(p, "RSD PTR ", 8) == 0 && is_sum_zero(p, 20))
            return (const struct acpi_table *)(uintptr_t)(*(const uint32_t *)(p + 16));
    return NULL;
}

static bool is_table(const struct acpi_table *t)
{
    return t && (uintptr_t)t < HV_SIZE_1G - sizeof(*t) && t->length >= 36 && t->length < HV_SIZE_1G - (uintptr_t)t &&
           is_sum_zero(t, t->length);
}

const void *hv_host_acpi_table(const char signature[4], uint32_t n, size_t *size)
{
    const struct acpi_table *root = acpi_root();

    for (uint32_t at = 36; is_table(root) && at + 4 <= root->length; at += 4) {
        uint32_t pa;

        memcpy(&pa, (const char *)root + at, 4);
        if (!is_table((const void *)(uintptr_t)pa) || memcmp((const void *)(uintptr_t)pa, signature, 4) || n--)
            continue;
        *size = ((const struct acpi_table *)(uintptr_t)pa)->length;
        return (const void *)(uintptr_t)pa;
    }
    return NULL;
}

/* clang-format off */
void hv_host_mmio_unmap(void *va, uint64_t size) { (void)va; (void)size; }
uint64_t hv_host_pci_lock(void) { return 0; } /* one CPU, and no interrupts */
void hv_host_pci_unlock(uint64_t flags) { (void)flags; }
uint32_t hv_host_irq_alloc(void (*fn)(void *arg), void *arg) { (void)fn; (void)arg; return 0; } /* there is no IDT */
void hv_host_irq_free(uint32_t vector) { (void)vector; }
uint32_t hv_host_apic_id(uint32_t cpu) { return cpu; }
bool hv_host_dma_range(uint16_t segment, uint16_t bdf, uint32_t n, hv_hpa_t *start, uint64_t *size) { (void)segment; (void)bdf; (void)n; (void)start; (void)size; return false; }
/* clang-format on */

/* ------------------------------------------------------------------------------------------ main */

static bool has_host_bridge(void)
{
    struct hv_pci_function f;

    for (uint32_t n = 0; hv_pci_function(n, &f) == HV_OK; n++)
        if (f.ids.base_class == 6 && f.ids.sub_class == 0)
            return true;
    return false;
}

void port_main(void)
{
    bool well;

    print("barewhp: BareWHP in a foreign kernel\n1..5\n");
    out8(0x21, 0xff); /* all interrupts masked: there is nobody to take them */
    out8(0xa1, 0xff);
    holes->size = sizeof(heap_area);
    if (!hv_platform()->present) {
        for (int i = 0; i < 5; i++)
            print("ok - port # SKIP no hypervisor on this machine\n");
        finish(true);
    }
    well = port_guest_run();
    well &=
        port_check(!pages_used && holes == (void *)heap_area && holes->size == sizeof(heap_area), "all memory is back");
    well &= port_check(has_host_bridge(), "the machine's PCI functions"); /* what it knows of them stays */
    finish(well);
}
