/* SPDX-License-Identifier: MIT */
/* Dispatch of exceptions and interrupts; what is printed when nobody handles one. */
#include "apic.h"
#include "panic.h"
#include "percpu.h"
#include "sched.h"
#include "stack.h"
#include "trap_internal.h"
#include <hv/base/bits.h>
#include <kernel/exit.h>
#include <kernel/lock.h>
#include <kernel/memory.h>
#include <kernel/print.h>
#include <kernel/thread.h>

#define EXCEPTIONS     32
#define VECTOR_NMI     2
#define BACKTRACE_MAX  24
#define BACKTRACE_STEP 65536 /* a frame further away than this is no frame */
#define STACK_WORDS    512   /* that are looked at for return addresses */
#define CALL_DIRECT    5     /* bytes of CALL rel32 */
#define CALL_MAX       7     /* of CALL by a register or memory */

struct extable_entry {
    uint64_t fault, fixup;
};

#define FREE_LOOKS 1000 /* a device that does not stop sending does not keep its vector for ever */

struct device_irq {
    volatile bool used;    /* device_lock; still set while the last calls of fn may be under way */
    void (*fn)(void *arg); /* atomic */
    void *arg;
};

extern const struct extable_entry extable_start[], extable_end[];
extern char kernel_text_start[], kernel_text_end[];

void trap_dispatch(struct trap_frame *frame);

static const char *const exception_names[EXCEPTIONS] = {
    [0] = "#DE divide error",
    [1] = "#DB debug",
    [2] = "NMI",
    [3] = "#BP breakpoint",
    [4] = "#OF overflow",
    [5] = "#BR bound range",
    [6] = "#UD invalid opcode",
    [7] = "#NM no FPU",
    [8] = "#DF double fault",
    [10] = "#TS invalid TSS",
    [11] = "#NP segment not present",
    [12] = "#SS stack fault",
    [13] = "#GP general protection",
    [14] = "#PF page fault",
    [16] = "#MF x87 error",
    [17] = "#AC alignment check",
    [18] = "#MC machine check",
    [19] = "#XM SIMD error",
    [20] = "#VE virtualization",
    [21] = "#CP control protection",
    [28] = "#HV hypervisor injection",
    [29] = "#VC VMM communication",
    [30] = "#SX security",
};

static bool (*hooks[EXCEPTIONS])(struct trap_frame *frame);
static void (*kernel_handlers[256])(void);
static struct device_irq devices[VECTOR_DEVICE_LAST + 1];
static struct spinlock device_lock;
static unsigned strays; /* atomic */

void trap_hook(uint8_t vector, bool (*fn)(struct trap_frame *frame))
{
    if (vector < EXCEPTIONS)
        __atomic_store_n(&hooks[vector], fn, __ATOMIC_RELEASE);
}

void trap_kernel_vector(enum kernel_vector vector, void (*fn)(void))
{
    kernel_handlers[vector] = fn;
}

uint8_t irq_vector_alloc(void (*fn)(void *arg), void *arg)
{
    uint64_t flags = spin_lock(&device_lock);
    uint8_t vector = 0;

    for (unsigned v = VECTOR_DEVICE_LAST; v >= VECTOR_DEVICE_FIRST && !vector; v--) {
        if (devices[v].used)
            continue;
        devices[v].used = true;
        devices[v].arg = arg;
        __atomic_store_n(&devices[v].fn, fn, __ATOMIC_RELEASE);
        vector = (uint8_t)v;
    }
    spin_unlock(&device_lock, flags);
    return vector;
}

struct request {
    uint8_t vector;
    bool is_requested;
};

static void look_requested(void *arg)
{
    struct request *r = arg;

    r->is_requested |= apic_is_requested(r->vector);
}

/* A CPU that answers a call has left all handlers that it was in. */
static bool is_on_its_way(uint8_t vector)
{
    struct request r = {.vector = vector};

    cpu_call_all(look_requested, &r);
    return r.is_requested;
}

/* What came in time for a CPU to take it only now is nobody's: it must not be the next owner's. */
void irq_vector_free(uint8_t vector)
{
    uint64_t flags;

    if (vector < VECTOR_DEVICE_FIRST || vector > VECTOR_DEVICE_LAST)
        return;
    __atomic_store_n(&devices[vector].fn, (void (*)(void *))0, __ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < FREE_LOOKS && is_on_its_way(vector); i++)
        thread_yield();
    flags = spin_lock(&device_lock);
    devices[vector].used = false;
    spin_unlock(&device_lock, flags);
}

unsigned irq_vectors_used(void)
{
    uint64_t flags = spin_lock(&device_lock);
    unsigned used = 0;

    for (unsigned v = VECTOR_DEVICE_FIRST; v <= VECTOR_DEVICE_LAST; v++)
        used += devices[v].used;
    spin_unlock(&device_lock, flags);
    return used;
}

static bool in_text(uint64_t address)
{
    return address >= (uintptr_t)kernel_text_start && address < (uintptr_t)kernel_text_end;
}

/* The chain of frame pointers, as far as it is plausible: it may be broken, and reading it must not fault. */
static void chain_print(uint64_t rip, uint64_t rbp)
{
    for (unsigned i = 0; i < BACKTRACE_MAX; i++) {
        const uint64_t *frame = (const uint64_t *)rbp;

        kprintf("  #%u 0x%lx\n", i, rip);
        if (rbp % 8 || virt_to_phys(frame) == PHYS_NONE || virt_to_phys(frame + 1) == PHYS_NONE)
            return;
        if (!in_text(frame[1]) || frame[0] - rbp > BACKTRACE_STEP) {
            if (in_text(frame[1]))
                kprintf("  #%u 0x%lx\n", i + 1, frame[1]);
            return;
        }
        rip = frame[1];
        rbp = frame[0];
    }
}

/* Is it behind a CALL: E8, or FF /2? */
static bool is_return_address(uint64_t address)
{
    const uint8_t *end = (const uint8_t *)address;

    if (!in_text(address) || !in_text(address - CALL_MAX))
        return false;
    if (end[-CALL_DIRECT] == 0xe8)
        return true;
    for (int n = 2; n <= CALL_MAX; n++)
        if (end[-n] == 0xff && (end[1 - n] >> 3 & 7) == 2)
            return true;
    return false;
}

/* The chain ends at functions that keep no frame pointers, as the library's do not. This finds them, and more. */
static void stack_print(uint64_t rsp)
{
    const uint64_t *at = (const uint64_t *)ALIGN_UP(rsp, sizeof(*at));
    unsigned found = 0;

    kprintf("return addresses on the stack, also of calls that are over:\n");
    for (unsigned i = 0; i < STACK_WORDS && found < BACKTRACE_MAX && virt_to_phys(&at[i]) != PHYS_NONE; i++) {
        if (!is_return_address(at[i]))
            continue;
        kprintf("  0x%lx\n", at[i]);
        found++;
    }
}

void backtrace_print(uint64_t rip, uint64_t rbp, uint64_t rsp)
{
    kprintf("backtrace:\n");
    chain_print(rip, rbp);
    stack_print(rsp);
}

static void print_registers(const struct trap_frame *f)
{
    const struct {
        const char *name;
        uint64_t value;
    } regs[] = {
        {"rax", f->rax},     {"rbx", f->rbx},     {"rcx", f->rcx},     {"rdx", f->rdx},
        {"rsi", f->rsi},     {"rdi", f->rdi},     {"rbp", f->rbp},     {"rsp", f->rsp},
        {"r8 ", f->r8},      {"r9 ", f->r9},      {"r10", f->r10},     {"r11", f->r11},
        {"r12", f->r12},     {"r13", f->r13},     {"r14", f->r14},     {"r15", f->r15},
        {"cr0", READ_CR(0)}, {"cr2", READ_CR(2)}, {"cr3", READ_CR(3)}, {"cr4", READ_CR(4)},
        {"cs ", f->cs},      {"ss ", f->ss},      {"flg", f->rflags},  {"gs ", (uintptr_t)this_cpu()},
    };

    for (unsigned i = 0; i < ARRAY_COUNT(regs); i += 4)
        kprintf("  %s %016lx  %s %016lx  %s %016lx  %s %016lx\n", regs[i].name, regs[i].value, regs[i + 1].name,
                regs[i + 1].value, regs[i + 2].name, regs[i + 2].value, regs[i + 3].name, regs[i + 3].value);
}

static void print_page_fault(uint64_t error)
{
    kprintf("  %s of 0x%lx: %s%s\n",
            error & 16  ? "execution"
            : error & 2 ? "write"
                        : "read",
            READ_CR(2), error & 1 ? "not permitted" : "not mapped", error & 8 ? ", reserved bit set" : "");
}

static _Noreturn void fatal(const struct trap_frame *f)
{
    const char *name = f->vector < EXCEPTIONS ? exception_names[f->vector] : NULL;

    panic_begin();
    kprintf("\nbarewhp: EXCEPTION %lu (%s), error code 0x%lx at 0x%lx, CPU %u, thread %s\n", f->vector,
            name ? name : "unexpected interrupt", f->error, f->rip, this_cpu()->id, thread_name(thread_current()));
    if (f->vector == 14)
        print_page_fault(f->error);
    if (f->vector == 8 && stack_is_guard(READ_CR(2)))
        kprintf("  the stack has run over its end\n");
    print_registers(f);
    backtrace_print(f->rip, f->rbp, f->rsp);
    kernel_exit(KERNEL_EXIT_PANIC);
}

static bool extable_fix(struct trap_frame *frame)
{
    for (const struct extable_entry *e = extable_start; e < extable_end; e++) {
        if (e->fault == frame->rip) {
            frame->rip = e->fixup;
            return true;
        }
    }
    return false;
}

static void exception(struct trap_frame *frame)
{
    bool (*hook)(struct trap_frame * frame) = __atomic_load_n(&hooks[frame->vector], __ATOMIC_ACQUIRE);

    if (frame->vector == VECTOR_NMI && panic_is_stopping())
        panic_stop_self();
    if (extable_fix(frame) || (hook && hook(frame)))
        return;
    fatal(frame);
}

static void tell_stray(uint64_t vector)
{
    __atomic_fetch_add(&strays, 1, __ATOMIC_RELAXED);
    kprintf("barewhp: stray interrupt on vector %lu\n", vector);
}

unsigned irq_strays(void)
{
    return __atomic_load_n(&strays, __ATOMIC_RELAXED);
}

static void device_interrupt(uint64_t vector)
{
    void (*fn)(void *arg) = __atomic_load_n(&devices[vector].fn, __ATOMIC_ACQUIRE);

    if (fn)
        fn(devices[vector].arg);
    else if (!devices[vector].used)
        tell_stray(vector);
}

void trap_dispatch(struct trap_frame *frame)
{
    if (frame->vector < EXCEPTIONS) {
        exception(frame);
        return;
    }
    if (frame->vector == VECTOR_SPURIOUS)
        return; /* has no EOI: SDM volume 3, 11.9 */
    if (frame->vector <= VECTOR_DEVICE_LAST)
        device_interrupt(frame->vector);
    else if (kernel_handlers[frame->vector])
        kernel_handlers[frame->vector]();
    else
        fatal(frame);
    apic_eoi();
    if ((frame->rflags & RFLAGS_IF) && this_cpu()->need_resched && !preempt_count())
        sched_give_way();
}

/* An instruction that may fault: on the fault the result stays false. */
#define TRY(instruction, ok, outputs, ...)              \
    __asm__ volatile("1: " instruction "\n\t"           \
                     "movb $1, %b0\n"                   \
                     "2:\n\t"                           \
                     ".pushsection .extable, \"a\"\n\t" \
                     ".quad 1b, 2b\n\t"                 \
                     ".popsection"                      \
                     : "+r"(ok)outputs:__VA_ARGS__      \
                     : "memory")

#define AND_OUTPUTS(...) , __VA_ARGS__

bool rdmsr_safe(uint32_t msr, uint64_t *value)
{
    uint32_t lo = 0, hi = 0;
    uint32_t ok = 0;

    TRY("rdmsr", ok, AND_OUTPUTS("+a"(lo), "+d"(hi)), "c"(msr));
    *value = (uint64_t)hi << 32 | lo;
    return ok;
}

bool wrmsr_safe(uint32_t msr, uint64_t value)
{
    uint32_t ok = 0;

    TRY("wrmsr", ok, , "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)));
    return ok;
}
