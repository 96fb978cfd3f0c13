/* SPDX-License-Identifier: MIT */
/*
 * A host for tests: host.h in a Linux process. It polices the library's manners: what is not allowed by the contract
 * comments of host.h fails the test, and fake_assert_clean proves that everything was given back.
 *
 * Threads may use it at once: interrupt state, preemption and the CPU number are per thread. Devices: fake_device.h.
 */
#ifndef FAKE_H
#define FAKE_H

#include <hv/host.h>

#define FAKE_MAX_CPUS  64
#define FAKE_LOG_LINES 32

/* what is outstanding, and what has been asked for since fake_reset */
struct fake_counts {
    uint64_t allocations, bytes; /* of hv_host_alloc, not freed yet */
    uint64_t pages;              /* of hv_host_page(s)_alloc, not freed yet */
    uint64_t ram;                /* regions of fake_ram_alloc, not freed yet */
    uint64_t calls;              /* hv_host_cpu_call, all so far */
    uint64_t kicks;              /* hv_host_kick, all so far */
    uint64_t yields;             /* hv_host_yield, all so far */
    uint64_t waits, wakes;       /* hv_host_wait and hv_host_wake, all so far */
    uint64_t requests;           /* allocations, pages and events asked for, all so far */
    uint64_t events;             /* handles that are open, and events that are still used without */
    uint64_t event_uses;         /* of hv_host_event_get and _create, not put yet */
    uint64_t mmio_mappings;      /* of hv_host_mmio_map, not unmapped yet */
    uint64_t vectors;            /* of hv_host_irq_alloc, not freed yet */
};

/* Forgets everything: 1 CPU, clock at 1 s, no failures ordered, empty log. Memory that is still out is lost. */
void fake_reset(void);

/* Fails unless all memory, events, mappings and vectors are back, interrupts are on and preemption is enabled. */
void fake_assert_clean(void);

struct fake_counts fake_counts(void);

/*
 * What a broken rule, a failed HV_ASSERT and fake_fail do: by default the text goes to stderr and the process aborts.
 * The function may leave by longjmp. tests/unit/unit.h gives it to cmocka.
 */
extern void (*fake_on_failure)(const char *text);
_Noreturn void fake_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ------------------------------------------------------------------------------ memory */

/* The nth request for memory from now on (1: the next) fails, once. 0: none. */
void fake_fail_after(uint64_t n);

/* Has the ordered failure happened? */
bool fake_has_failed(void);

/*
 * RAM such as a client maps into a guest: zeroed, at consecutive physical addresses from pa on (page-aligned). Pages of
 * hv_host_page_alloc lie elsewhere, at physical addresses that fall as virtual ones rise.
 */
void *fake_ram_alloc(size_t size, hv_hpa_t pa);
void fake_ram_free(void *ram);

/* ------------------------------------------------------------------------------ events */

/*
 * An event and its HANDLE, which is the only way to it: of the test's own, or of hv_host_event_create. Signals call the
 * library's notify with interrupts off. The test closes both kinds.
 */
void *fake_event_create(void);
void fake_event_close(void *handle);
void fake_event_signal(void *handle);
bool fake_event_take(void *handle);        /* ends its being signalled, and says whether it was */
uint64_t fake_event_signals(void *handle); /* how many there were */

/* ------------------------------------------------------------------------- CPUs and time */

struct fake_call {
    uint32_t cpu;
    void (*fn)(void *arg);
    void *arg;
};

void fake_set_cpus(uint32_t count);    /* at most FAKE_MAX_CPUS */
void fake_set_cpu(uint32_t cpu);       /* moves the calling thread there */
void fake_migrate_to(uint32_t cpu);    /* does so when preemption is next enabled, once */
uint32_t fake_cpu(void);               /* where the calling thread is, pinned or not */
struct fake_call fake_last_call(void); /* of hv_host_cpu_call */
uint64_t fake_kicks(uint32_t cpu);
uint64_t fake_timer(uint32_t cpu); /* the last deadline of hv_host_timer */
bool fake_irqs_on(void);
void fake_irqs_were_off(void); /* the calling thread's interrupts are on again */
unsigned fake_preempt_depth(void);

/* Called before interrupts are turned off, and after they are turned on; not while it is called. NULL: nothing. */
void fake_on_irqs_on(void (*fn)(void));

void fake_set_yield(bool should);    /* what hv_host_should_yield answers, until the thread is not pinned any more */
void fake_set_takes_back(bool does); /* what hv_host_takes_back answers; false after fake_reset */
void fake_set_time(uint64_t ns);     /* never backwards */
void fake_advance_time(uint64_t ns);

/*
 * Called by hv_host_wait in place of sleeping, to do what another thread would. NULL: hv_host_wait really sleeps, or,
 * with a deadline, moves the clock there.
 */
void fake_on_wait(void (*fn)(const volatile uint32_t *word, uint32_t expected));

/* -------------------------------------------------------------------------------- log */

/* Is there a line that contains this text, among the last FAKE_LOG_LINES? */
bool fake_log_contains(const char *text);
uint64_t fake_log_count(enum hv_log_level level);

/* ------------------------------------------------------------- between the parts of the fake */

void fake_require(bool cond, const char *rule); /* fails with the rule's text */
void fake_require_thread_context(const char *function);
void fake_on_cpu(uint32_t cpu, void (*fn)(uint32_t argument), uint32_t argument); /* with interrupts off there */
bool fake_deny(void); /* counts a request for memory; true: it is the one that fake_fail_after wants to fail */
void fake_event_reset(void);
void fake_event_assert_clean(void);
void fake_memory_reset(void);
void fake_memory_assert_clean(void);
void fake_cpu_reset(void);
void fake_cpu_assert_clean(void);

/* fake_x86.h, fake_vmx.h and fake_svm.h: what the CPUs are */
void fake_x86_reset(void);
void fake_vmx_reset(void);
void fake_vmx_assert_clean(void);
void fake_vmx_page_freed(hv_hpa_t pa);
void fake_svm_reset(void);
void fake_svm_assert_clean(void);
void fake_svm_page_freed(hv_hpa_t pa);

extern struct fake_counts fake_state;
#define FAKE_ADD(counter, n) __atomic_fetch_add(&fake_state.counter, (uint64_t)(n), __ATOMIC_RELAXED)

#endif
