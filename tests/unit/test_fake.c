/* SPDX-License-Identifier: MIT */
/* The fake host itself: a judge that lets everything pass proves nothing. */
#include "unit.h"
#include <arch/cpu.h>
#include <fake_device.h>
#include <string.h>

static void leaks_are_found(void **state)
{
    void *p = hv_host_alloc(64), *page = hv_host_page_alloc();
    void *ram = fake_ram_alloc(HV_SIZE_2M, HV_SIZE_1G);
    uint64_t flags;

    (void)state;
    expect_assert_failure(fake_assert_clean());
    hv_host_free(p, 64);
    expect_assert_failure(fake_assert_clean());
    hv_host_page_free(page);
    expect_assert_failure(fake_assert_clean());
    fake_ram_free(ram);
    fake_assert_clean();
    flags = hv_host_irq_save();
    expect_assert_failure(fake_assert_clean());
    hv_host_irq_restore(flags);
    hv_host_preempt_disable();
    expect_assert_failure(fake_assert_clean());
    hv_host_preempt_enable();
}

static void misuse_of_memory(void **state)
{
    char *p = hv_host_alloc(64), *page = hv_host_page_alloc();

    (void)state;
    expect_assert_failure(hv_host_free(p, 65));
    expect_assert_failure(hv_host_free(NULL, 64));
    expect_assert_failure(hv_host_alloc(0));
    expect_assert_failure(hv_host_alloc(HV_SIZE_2M));
    expect_assert_failure(hv_host_page_free(page + 16));
    expect_assert_failure(hv_host_page_free(NULL));
    hv_host_page_free(page);
    expect_assert_failure(hv_host_page_free(page));
    hv_host_free(p, 64);
}

static void misuse_of_context(void **state)
{
    void *p = hv_host_alloc(16), *page = hv_host_page_alloc();
    uint32_t word = 0;
    uint64_t flags;

    (void)state;
    expect_assert_failure(hv_host_cpu_id());
    expect_assert_failure(hv_host_should_yield());
    hv_host_preempt_disable();
    expect_assert_failure(hv_host_alloc(16));
    expect_assert_failure(hv_host_free(p, 16));
    expect_assert_failure(hv_host_page_alloc());
    expect_assert_failure(hv_host_page_free(page));
    expect_assert_failure(hv_host_wait(&word, 0, 0));
    assert_int_equal(hv_host_cpu_id(), 0);
    hv_host_preempt_enable();
    flags = hv_host_irq_save();
    expect_assert_failure(hv_host_alloc(16));
    expect_assert_failure(hv_host_wait(&word, 0, 0));
    expect_assert_failure(hv_host_virt_to_phys(page, NULL));
    expect_assert_failure(hv_host_cpu_call(0, NULL, NULL));
    hv_host_irq_restore(flags);
    hv_host_page_free(page);
    hv_host_free(p, 16);
}

static void misuse_of_nesting(void **state)
{
    uint64_t outer, inner;

    (void)state;
    expect_assert_failure(hv_host_preempt_enable());
    expect_assert_failure(hv_host_irq_restore(0));
    outer = hv_host_irq_save();
    inner = hv_host_irq_save();
    expect_assert_failure(hv_host_irq_restore(outer));
    hv_host_irq_restore(inner);
    expect_assert_failure(hv_host_irq_restore(inner));
    hv_host_irq_restore(outer);
}

static void memory_is_zeroed(void **state)
{
    static const char zeroes[HV_PAGE_SIZE];

    (void)state;
    for (int i = 0; i < 3; i++) {
        void *p = hv_host_alloc(100), *page = hv_host_page_alloc();

        assert_memory_equal(p, zeroes, 100);
        assert_memory_equal(page, zeroes, HV_PAGE_SIZE);
        assert_int_equal((uintptr_t)p % 16, 0);
        assert_int_equal((uintptr_t)page % HV_PAGE_SIZE, 0);
        memset(p, 1, 100);
        memset(page, 1, HV_PAGE_SIZE);
        hv_host_free(p, 100);
        hv_host_page_free(page);
    }
}

static void physical_addresses(void **state)
{
    char *page = hv_host_page_alloc(), *ram = fake_ram_alloc(HV_SIZE_2M, HV_SIZE_1G);
    hv_hpa_t pa = hv_host_virt_to_phys(page + 5, NULL);

    (void)state;
    assert_int_equal(pa % HV_PAGE_SIZE, 5);
    assert_int_not_equal(pa, (uintptr_t)page + 5);
    assert_ptr_equal(hv_host_phys_to_virt(pa), page + 5);
    assert_int_equal(hv_host_virt_to_phys(ram + 4097, NULL), HV_SIZE_1G + 4097);
    assert_ptr_equal(hv_host_phys_to_virt(HV_SIZE_1G + HV_SIZE_2M - 1), ram + HV_SIZE_2M - 1);
    assert_null(hv_host_phys_to_virt(HV_SIZE_1G + HV_SIZE_2M));
    assert_int_equal(hv_host_virt_to_phys(&pa, NULL), HV_HPA_NONE);
    hv_host_page_free(page);
    expect_assert_failure(hv_host_phys_to_virt(pa));
    assert_int_equal(hv_host_virt_to_phys(page, NULL), HV_HPA_NONE);
    fake_ram_free(ram);
}

/* Of 2, 3 or 512 pages: consecutive, apart from other pages, with nothing behind them. */
static void runs_of_pages(void **state)
{
    static const uint32_t counts[] = {2, 3, 512, 3};

    (void)state;
    for (size_t n = 0; n < sizeof(counts) / sizeof(counts[0]); n++) {
        uint32_t count = counts[n];
        char *run = hv_host_pages_alloc(count), *next = hv_host_pages_alloc(count);
        hv_hpa_t pa = hv_host_virt_to_phys(run, NULL);
        uint64_t size = HV_SIZE_2M, bytes = count * HV_PAGE_SIZE;

        assert_int_equal(fake_counts().pages, 2 * count);
        assert_int_equal((uintptr_t)run % HV_PAGE_SIZE, 0);
        for (uint64_t i = 0; i < bytes; i += count == 512 ? 509 : 1) {
            assert_int_equal(run[i], 0);
            assert_int_equal(hv_host_virt_to_phys(run + i, NULL), pa + i);
            assert_ptr_equal(hv_host_phys_to_virt(pa + i), run + i);
        }
        hv_host_virt_to_phys(run + 16, &size);
        assert_int_equal(size, bytes - 16);
        assert_int_equal(hv_host_virt_to_phys(run + bytes, NULL), HV_HPA_NONE);
        expect_assert_failure(hv_host_phys_to_virt(pa + bytes));
        memset(run, 1, bytes); /* for the next one that gets it */
        hv_host_pages_free(run, count);
        expect_assert_failure(hv_host_phys_to_virt(pa));
        hv_host_pages_free(next, count);
        assert_int_equal(fake_counts().pages, 0);
    }
}

static void misuse_of_runs(void **state)
{
    char *run = hv_host_pages_alloc(3), *page = hv_host_page_alloc();

    (void)state;
    expect_assert_failure(hv_host_pages_alloc(1));
    expect_assert_failure(hv_host_pages_alloc(4));
    expect_assert_failure(hv_host_pages_free(run, 2));
    expect_assert_failure(hv_host_pages_free(run + HV_PAGE_SIZE, 2));
    expect_assert_failure(hv_host_page_free(run));
    expect_assert_failure(hv_host_pages_free(page, 2));
    expect_assert_failure(fake_assert_clean());
    fake_fail_after(1);
    assert_null(hv_host_pages_alloc(2));
    assert_true(fake_has_failed());
    hv_host_pages_free(run, 3);
    expect_assert_failure(hv_host_pages_free(run, 3));
    hv_host_page_free(page);
    hv_host_preempt_disable();
    expect_assert_failure(hv_host_pages_alloc(2));
    hv_host_preempt_enable();
}

static void ordered_failures(void **state)
{
    void *p, *page;

    (void)state;
    fake_fail_after(2);
    p = hv_host_alloc(16);
    assert_non_null(p);
    assert_false(fake_has_failed());
    assert_null(hv_host_page_alloc());
    assert_true(fake_has_failed());
    page = hv_host_page_alloc();
    assert_non_null(page);
    assert_int_equal(fake_counts().requests, 3);
    hv_host_page_free(page);
    hv_host_free(p, 16);
}

static void note_cpu(void *arg)
{
    assert_false(fake_irqs_on());
    *(uint32_t *)arg = hv_host_cpu_id();
}

static void leave_pinned(void *arg)
{
    (void)arg;
    hv_host_preempt_disable();
}

static void cpu_calls(void **state)
{
    uint32_t cpu = HV_CPU_NONE;

    (void)state;
    fake_set_cpus(4);
    fake_set_cpu(1);
    assert_int_equal(hv_host_cpu_count(), 4);
    hv_host_cpu_call(3, note_cpu, &cpu);
    assert_int_equal(cpu, 3);
    assert_int_equal(fake_last_call().cpu, 3);
    assert_ptr_equal(fake_last_call().arg, &cpu);
    assert_true(fake_irqs_on());
    expect_assert_failure(hv_host_cpu_call(4, note_cpu, &cpu));
    hv_host_kick(2);
    assert_int_equal(fake_kicks(2), 1);
    assert_int_equal(fake_counts().kicks, 1);
    expect_assert_failure(hv_host_kick(4));
    expect_assert_failure(hv_host_cpu_call(0, leave_pinned, NULL));
    fake_reset(); /* the call above was left half-way */
}

static void clock_and_sleep(void **state)
{
    uint64_t start = hv_host_time_ns();
    uint32_t word = 1;

    (void)state;
    fake_advance_time(100);
    assert_int_equal(hv_host_time_ns(), start + 100);
    hv_host_wait(&word, 1, start + 500);
    assert_int_equal(hv_host_time_ns(), start + 500);
    hv_host_wait(&word, 0, start + 900); /* the word differs: no sleep */
    assert_int_equal(hv_host_time_ns(), start + 500);
    expect_assert_failure(fake_set_time(start));
}

static void log_rules(void **state)
{
    char text[257];

    (void)state;
    memset(text, 'x', 256);
    text[256] = '\0';
    expect_assert_failure(hv_host_log(HV_LOG_INFO, text));
    expect_assert_failure(hv_host_log(HV_LOG_INFO, "line end\n"));
    expect_assert_failure(hv_host_panic("as wanted"));
    assert_int_equal(fake_log_count(HV_LOG_INFO), 0);
}

static void count(void *arg)
{
    assert_false(fake_irqs_on());
    ++*(unsigned *)arg;
}

static void events(void **state)
{
    void *mine = fake_event_create(), *handle, *closed = fake_event_create();
    struct hv_host_event *event = hv_host_event_get(mine), *own;
    unsigned calls = 0;

    (void)state;
    fake_event_close(closed);
    assert_null(hv_host_event_get(closed));
    assert_null(hv_host_event_get(NULL));
    assert_null(hv_host_event_get(&calls));
    hv_host_event_signal(event);
    fake_event_signal(mine);
    assert_int_equal(fake_event_signals(mine), 2);
    fake_event_close(mine);
    hv_host_event_signal(event); /* the library has it still */
    expect_assert_failure(fake_assert_clean());
    hv_host_event_put(event);
    fake_fail_after(1);
    assert_null(hv_host_event_create(count, &calls, &handle));
    own = hv_host_event_create(count, &calls, &handle);
    fake_event_signal(handle);
    hv_host_event_signal(own);
    assert_int_equal(calls, 2);
    expect_assert_failure(hv_host_event_put(own));
    hv_host_event_silence(own);
    fake_event_signal(handle);
    assert_int_equal(calls, 2);
    hv_host_event_put(own);
    fake_event_signal(handle); /* the caller has it still */
    expect_assert_failure(fake_assert_clean());
    fake_event_close(handle);
    expect_assert_failure(fake_event_close(handle));
}

static void raised(void *arg)
{
    assert_false(fake_irqs_on());
    ++*(unsigned *)arg;
}

static void device_memory(void **state)
{
    static uint32_t registers[1024];
    uint64_t size = HV_SIZE_2M;
    char *va;

    (void)state;
    fake_mmio_add(0xfe000000, HV_PAGE_SIZE, &fake_device_bytes, registers);
    expect_assert_failure(fake_mmio_add(0xfe000000, 2 * HV_PAGE_SIZE, &fake_device_bytes, registers));
    assert_null(hv_host_mmio_map(0xfe001000, HV_PAGE_SIZE));
    assert_null(hv_host_mmio_map(0xfe000000, 2 * HV_PAGE_SIZE));
    va = hv_host_mmio_map(0xfe000000, HV_PAGE_SIZE);
    cpu_mmio_write32(va + 8, 0x12345678);
    assert_int_equal(registers[2], 0x12345678);
    assert_int_equal(cpu_mmio_read16(va + 10), 0x1234);
    assert_int_equal(hv_host_virt_to_phys(va + 16, &size), 0xfe000010);
    assert_int_equal(size, HV_PAGE_SIZE - 16);
    assert_null(hv_host_phys_to_virt(0xfe000000));
    expect_assert_failure(cpu_mmio_read32(va + 2));
    expect_assert_failure(cpu_mmio_read32(va + HV_PAGE_SIZE));
    expect_assert_failure(fake_assert_clean());
    expect_assert_failure(hv_host_mmio_unmap(va, 2 * HV_PAGE_SIZE));
    hv_host_mmio_unmap(va, HV_PAGE_SIZE);
    expect_assert_failure(hv_host_mmio_unmap(va, HV_PAGE_SIZE));
    expect_assert_failure(cpu_mmio_read32(va));
    expect_assert_failure(cpu_in8(0x80));
}

static void vectors_and_the_lock(void **state)
{
    unsigned calls = 0;
    uint32_t vector = hv_host_irq_alloc(raised, &calls);
    uint64_t flags;

    (void)state;
    fake_irq_limit(1);
    assert_int_equal(hv_host_irq_alloc(raised, &calls), 0);
    assert_true(fake_irq_raise(vector));
    assert_int_equal(calls, 1);
    expect_assert_failure(fake_assert_clean());
    hv_host_irq_free(vector);
    expect_assert_failure(hv_host_irq_free(vector));
    assert_false(fake_irq_raise(vector));
    flags = hv_host_pci_lock();
    expect_assert_failure(hv_host_pci_lock());
    expect_assert_failure(hv_host_mmio_map(0, HV_PAGE_SIZE));
    hv_host_pci_unlock(flags);
    expect_assert_failure(hv_host_pci_unlock(flags));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT_TEST(leaks_are_found),
        UNIT_TEST(misuse_of_memory),
        UNIT_TEST(misuse_of_context),
        UNIT_TEST(misuse_of_nesting),
        UNIT_TEST(memory_is_zeroed),
        UNIT_TEST(physical_addresses),
        UNIT_TEST(ordered_failures),
        UNIT_TEST(cpu_calls),
        UNIT_TEST(clock_and_sleep),
        UNIT_TEST(log_rules),
        UNIT_TEST(runs_of_pages),
        UNIT_TEST(misuse_of_runs),
        UNIT_TEST(events),
        UNIT_TEST(device_memory),
        UNIT_TEST(vectors_and_the_lock),
    };

    return cmocka_run_group_tests_name("fake host", tests, NULL, NULL);
}
