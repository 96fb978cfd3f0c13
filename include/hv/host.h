/* SPDX-License-Identifier: MIT */
/*
 * The porting layer: everything that libbarewhp.a asks of the kernel it is linked into.
 *
 * A host kernel supplies each function below, plus memcpy, memmove, memset and memcmp; the linked library has no
 * other undefined symbol (make check proves it). boot/kernel/host.c is a complete example with threads and SMP,
 * tests/port/ the smallest one: one CPU, no threads.
 *
 * Words used below:
 *   any context     interrupts on or off, preemptible or not, also from an interrupt handler
 *   thread context  interrupts on, preemption allowed; the function may sleep
 *   pinned          preemption disabled by hv_host_preempt_disable, interrupts on unless said otherwise
 *
 * The library runs in ring 0, 64-bit mode, with the host's own IDT, GDT and page tables. It keeps interrupts off for
 * one VM entry and the handling of its exit, and over further ones as long as no interrupt waits: one that does ends
 * the next entry.
 *
 * What it borrows: while a VP runs on a CPU, its x87, SSE and AVX registers, XCR0, debug registers and the MSRs of
 * SYSCALL and SWAPGS are the guest's, as long as preemption or interrupts are off, and after it with
 * hv_host_takes_back. Interrupt handlers that come in between must leave them alone, or save and restore them.
 * What it needs of each CPU: a task register (some CPUs' virtualization cannot do without a TSS), and an IDT that takes
 * NMIs. Where posted interrupts are in use, the CPU takes an interrupt of the host's that ends a guest's run from the
 * local APIC, and the library calls its handler, by INT n with interrupts off: it ends at the APIC as any other.
 */
#ifndef HV_HOST_H
#define HV_HOST_H

#include <hv/types.h>

/* ------------------------------------------------------------------ tier 0: what any use needs */

enum hv_log_level {
    HV_LOG_ERROR, /* something the person in front of the machine should act on */
    HV_LOG_WARNING,
    HV_LOG_INFO,
    HV_LOG_DEBUG, /* debug builds only */
};

/*
 * Prints one line. `text` is NUL-terminated, has no line end of its own and is only valid during the call.
 * Context: any. Never sleeps, never fails. Never called on the path of a plain exit.
 *   void hv_host_log(enum hv_log_level level, const char *text) { printk("barewhp: %s\n", text); }
 */
void hv_host_log(enum hv_log_level level, const char *text);

/*
 * A broken invariant of the library itself (never a guest's or a caller's doing): stop the machine or the thread,
 * whichever the host does for its own bugs. Must not return.
 * Context: any.
 */
_Noreturn void hv_host_panic(const char *text);

/*
 * Memory for the library's own objects, zeroed, aligned to 16 bytes; NULL when there is none. The library
 * owns it until it passes the same pointer and size to hv_host_free.
 * Context: thread; may sleep. Sizes range from 16 bytes to a few KiB.
 */
void *hv_host_alloc(size_t size);
void hv_host_free(void *p, size_t size); /* p is not NULL */

/*
 * One page (4 KiB, aligned) for structures that the CPU reads: control structures, second-level tables, bitmaps.
 * Zeroed. Returns its host-virtual address, NULL when there is none. Ordinary write-back RAM below the CPU's physical
 * address width. Context: thread; may sleep.
 */
void *hv_host_page_alloc(void);
void hv_host_page_free(void *page); /* not NULL */

/*
 * The same for `count` pages, 2 or more, whose physical addresses follow one another: 2 or 3 for permission maps of
 * MSRs and ports, on CPUs that have them in larger pieces than a page, and for tables of interrupts; 16 for an IOMMU's
 * table of interrupts, 512 for one of devices, on machines that have such a one. Freed as a whole. Context: thread; may
 * sleep.
 */
void *hv_host_pages_alloc(uint32_t count);
void hv_host_pages_free(void *pages, uint32_t count); /* not NULL */

/*
 * The physical address behind a host-virtual one: for pages of hv_host_page(s)_alloc and for memory that the caller
 * maps into a guest. HV_HPA_NONE when nothing is mapped there. The answer must stay true as long as the library uses
 * the page: for memory mapped into a guest, until it is unmapped. *size (NULL: not asked) is how many bytes from va on
 * are of interest, and becomes how many of these are known to be physically contiguous: at least up to the end of va's
 * page. A host with a direct map leaves it as it is, and large mappings are then made in a few steps. Context: thread
 * or pinned. Does not sleep.
 */
hv_hpa_t hv_host_virt_to_phys(const volatile void *va, uint64_t *size);

/*
 * The reverse, for RAM: an address at which the host can read and write this page, valid for as long as the page is.
 * Asked for pages of hv_host_page_alloc and for RAM mapped into a guest. NULL when the host has no such address (the
 * page is a device's): the library then treats the page as one that only the guest can access.
 * Context: any. Does not sleep. A host with a direct map returns base + pa.
 */
void *hv_host_phys_to_virt(hv_hpa_t pa);

/*
 * CPUs are numbered 0 .. count-1; all of them are started before the library is first used, and stay.
 * hv_host_cpu_id is asked only while pinned or with interrupts off.
 */
uint32_t hv_host_cpu_count(void);
uint32_t hv_host_cpu_id(void);

/*
 * Runs fn(arg) on that CPU, with interrupts off there, and returns when it has finished. If `cpu` is the calling CPU,
 * calls it directly with interrupts off.
 * Context: thread or pinned, interrupts on: the caller must itself keep answering such calls while it waits.
 */
void hv_host_cpu_call(uint32_t cpu, void (*fn)(void *arg), void *arg);

/* ------------------------------------------------------------ tier 1: to run virtual processors */

/*
 * Between these two the calling thread stays on its CPU and no other thread runs there. Nests. Interrupts are still
 * taken. A host without preemption leaves both empty.
 * Context: thread or pinned, the first of them also with interrupts off. The last one ends with interrupts on, as the
 * host may schedule there.
 */
void hv_host_preempt_disable(void);
void hv_host_preempt_enable(void);

/*
 * Turns interrupts off and returns what hv_host_irq_restore needs to put them back as they were. Nests.
 * Restoring with interrupts on lets those that arrived while a guest ran be taken by the host's own handlers.
 */
uint64_t hv_host_irq_save(void);
void hv_host_irq_restore(uint64_t flags);

/*
 * Does this host take back by itself what the library borrows of its CPUs? Then a guest's registers stay in the CPU
 * when a run ends: the next run of that VP, if it comes before somebody else needs the CPU, switches nothing. Asked
 * when virtualization goes on. Context: thread.
 * true is a promise. The host calls hv_cpu_give_back (<hv/hv.h>), on that CPU and with interrupts off, before
 *   - another thread runs there, an idle one included, or the thread returns to user mode;
 *   - it uses, saves or changes x87, SSE or AVX registers, XCR0, CR0.TS, debug registers, the MSRs of SYSCALL, SWAPGS
 *     and RDTSCP, IA32_DEBUGCTL, or changes CR0, CR3, CR4, TR, LDTR, the GDT, or the bases of FS and GS.
 * Until then these are the guest's; ES, DS, FS, GS and LDTR may hold null selectors, with the bases of FS and GS as
 * they were. The host's code that runs in between, above all its interrupt handlers, makes do with the general
 * registers. A host that does not want to know of all this returns false, which is always safe: everything is the
 * host's again at the end of each run.
 */
bool hv_host_takes_back(void);

/*
 * Makes the CPU leave its guest soon, by any interrupt. Does not wait. Context: any.
 * Example: send a reschedule IPI. For the calling CPU itself: nothing to do.
 */
void hv_host_kick(uint32_t cpu);

/*
 * Does another thread want this CPU? Asked before a guest is entered, whenever interrupts could have come since it was
 * asked last, and with interrupts off: those that come later end the entry. When true the library ends its pinned
 * section so that the host can schedule, and then runs the guest on: it has to be false again by then.
 * Asked at the end of a run, too, for what was noted with interrupts off.
 * Context: interrupts off. A host without threads returns false.
 */
bool hv_host_should_yield(void);

/*
 * Gives the CPU to another thread that wants it, if there is one. The library calls it for a guest that spins on a
 * lock, whose holder may be waiting for this very CPU. Context: thread. A host without threads does nothing.
 */
void hv_host_yield(void);

/*
 * Makes this CPU take an interrupt at deadline_ns (hv_host_time_ns time; 0: no need any more) or not much later, so
 * that a guest that runs here is interrupted then; interrupts before that are no substitute. One deadline a CPU: each
 * call replaces the last. Needed only where the CPU has no timer for guests. Context: pinned, or with interrupts
 * off. Does not sleep.
 */
void hv_host_timer(uint64_t deadline_ns);

/*
 * Sleeps while *word == expected, until hv_host_wake on the same word or the deadline (in hv_host_time_ns time; 0
 * means none). The comparison and the falling asleep are one step as seen by hv_host_wake. May return early for no
 * reason: the library looks again. Context: thread. A host without threads may just halt until the next interrupt, or
 * return.
 */
void hv_host_wait(const volatile uint32_t *word, uint32_t expected, uint64_t deadline_ns);

/* Wakes every thread that sleeps on that word. Context: any, also interrupt handlers. */
void hv_host_wake(const volatile uint32_t *word);

/*
 * Events: what the API's HANDLEs stand for, objects of the host's that threads can wait for. What else they can do, and
 * how one is closed, is between the host and its programs.
 */
struct hv_host_event;

/*
 * The event behind a HANDLE that the library was given, kept alive until hv_host_event_put; NULL when the HANDLE is
 * none. Context: thread.
 */
struct hv_host_event *hv_host_event_get(void *handle);
void hv_host_event_put(struct hv_host_event *event); /* not NULL */

/* Signals the event, as its owner could have done. Does not sleep. Context: any, also interrupt handlers. */
void hv_host_event_signal(struct hv_host_event *event);

/*
 * Makes an event whose signals the library hears of. *handle is the HANDLE for the library's caller, who signals and
 * closes it; what is returned is the library's, until hv_host_event_put. NULL: no memory.
 * After each signal, whoever it came from, the host calls notify(arg), on the thread or in the interrupt handler that
 * signalled; several signals may share one call if it begins after the last of them. The event need not stay
 * signalled. Context: thread; notify does not sleep.
 */
struct hv_host_event *hv_host_event_create(void (*notify)(void *arg), void *arg, void **handle);

/*
 * No call of notify begins any more; returns when none is under way. Before hv_host_event_put of an event that
 * hv_host_event_create made. Context: thread, not from notify.
 */
void hv_host_event_silence(struct hv_host_event *event);

/*
 * Nanoseconds since some moment before the library's first use; never runs backwards, same on all CPUs. Context: any.
 */
uint64_t hv_host_time_ns(void);

/* ----------------------------------------------------------------- tier 2: to pass devices */

/*
 * Device memory at a host-physical address, page-aligned, mapped for the host, uncached; NULL when there is no room or
 * it is not the library's to touch. Context: thread.
 */
void *hv_host_mmio_map(hv_hpa_t pa, uint64_t size);
void hv_host_mmio_unmap(void *va, uint64_t size);

/*
 * The n-th ACPI table with this signature, whole and with a valid checksum, readable as long as the library is used;
 * *size gets its length. NULL: there is none. What it says is checked by the library. Context: thread.
 */
const void *hv_host_acpi_table(const char signature[4], uint32_t n, size_t *size);

/*
 * Configuration accesses by ports CF8h and CFCh, where there is no ECAM, are two steps: in between nobody else may use
 * these ports. With interrupts off. Context: any.
 */
uint64_t hv_host_pci_lock(void);
void hv_host_pci_unlock(uint64_t flags);

/*
 * An interrupt vector of the host's that is the same on all CPUs, for a device that the library passes on, or for what
 * remapping hardware sends to CPUs whose VPs have posted interrupts (two for all of them): fn(arg) is called for each
 * interrupt, with interrupts off, on the CPU that takes it; the host does the EOI. 0: there is none left. After
 * hv_host_irq_free has returned, fn is not called any more; an interrupt of before that a CPU's local APIC still holds
 * is the host's to drop: it is not for the vector's next owner, who may be another guest. Context: thread.
 */
uint32_t hv_host_irq_alloc(void (*fn)(void *arg), void *arg);
void hv_host_irq_free(uint32_t vector);

/* The local APIC's ID of a CPU, for interrupt messages. Context: any. */
uint32_t hv_host_apic_id(uint32_t cpu);

/*
 * What a device that the host keeps may reach by DMA once the library has switched an IOMMU on: the n-th range, page
 * by page at the same addresses. False: no further one. A host that trusts its devices answers all of memory for each,
 * one that drives none answers false. Asked once for each device, when it is found. DMA of what is behind a bridge to
 * conventional PCI has the bridge's address, which is asked about like any other. Context: thread.
 */
bool hv_host_dma_range(uint16_t segment, uint16_t bdf, uint32_t n, hv_hpa_t *start, uint64_t *size);

#endif
