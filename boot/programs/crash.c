/* SPDX-License-Identifier: MIT */
/* program=crash crash=KIND: ends the run in one of the ways that a kernel can, to see what is printed then. */
#include <kernel/cpu.h>
#include <kernel/exit.h>
#include <kernel/memory.h>
#include <kernel/module.h>
#include <kernel/print.h>
#include <kernel/program.h>
#include <kernel/string.h>
#include <kernel/thread.h>

static void crash_panic(void)
{
    panic("asked for");
}

static void crash_ud(void)
{
    __asm__ volatile("ud2");
}

static void crash_read(void)
{
    (void)*(volatile uint8_t *)16;
}

static void crash_jump(void)
{
    ((void (*)(void))(uintptr_t)0x1234567)();
}

static __attribute__((noinline)) uint64_t deeper(volatile uint64_t *above)
{
    volatile uint64_t frame[64] = {*above};

    return *above == ~0ull ? 0 : frame[0] + deeper(frame) + above[0];
}

static void crash_stack(void)
{
    uint64_t zero = 0;

    deeper(&zero);
}

static void crash_double_free(void)
{
    void *page = page_alloc();

    page_free(page);
    page_free(page);
}

static void crash_sleep(void)
{
    preempt_disable();
    thread_sleep_ns(1000000000);
}

static const struct {
    const char *name;
    void (*fn)(void);
} kinds[] = {
    {"panic", crash_panic}, {"ud", crash_ud},       {"read", crash_read},
    {"jump", crash_jump},   {"stack", crash_stack}, {"free", crash_double_free},
    {"sleep", crash_sleep},
};

static int crash(const struct boot_info *info)
{
    char kind[16] = "panic";

    (void)info;
    option_find("crash", kind, sizeof(kind));
    for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (!strcmp(kinds[i].name, kind))
            kinds[i].fn();
    }
    kprintf("crash: still here\n");
    return 1;
}

KERNEL_PROGRAM(crash, "crash=panic|ud|read|jump|stack|free|sleep: shows the dump", crash);
