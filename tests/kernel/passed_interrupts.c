/* SPDX-License-Identifier: MIT */
/*
 * Interrupts of a passed disk, several MSI-X vectors of it: each comes once, to the virtual processor and with the
 * vector that the guest has chosen last, also while that changes.
 *
 * A completion that is under way has one interrupt. One that is lost leaves its queue standing; one that comes twice
 * finds nothing completed, or another handler of its queue at work.
 */
#include "apic.h"
#include "nvme.h"
#include <kernel/clock.h>
#include <kernel/trap.h>

#define VPS         2u
#define STOP_VECTOR 0x41u
#define ADMIN       0x5fu /* of the administration's queue: no handler has to do with that */
#define STANDS_NS   (5 * NS_PER_S)
#define QUIET_NS    (20 * NS_PER_MS)

static struct nvme disk;
static struct runner runners[VPS];
static uint32_t running; /* of them */
static bool is_given;

#define SKIP_WITHOUT_DISK()                      \
    do {                                         \
        const char *missing_ = nvme_find(&disk); \
        if (missing_)                            \
            SKIP("no device: %s", missing_);     \
    } while (0)

/* Processors that take interrupts, in HLT most of the time or never, until STOP_VECTOR comes. */
static bool start(struct vm *vm, bool is_spinning)
{
    const struct apic_op sti = STI, halt = HALT(STOP_VECTOR, 1), spin = SPIN(STOP_VECTOR, 1);
    const struct apic_op ops[] = {sti, SET(WORD(0), 1), is_spinning ? spin : halt};

    if (!apic_create(vm, &nvme_mode, VPS) || !apic_set_handler(vm, "nvme_handler"))
        return false;
    for (uint32_t i = 0; i < VPS; i++) {
        *vm_u32(vm, WORD(0)) = 0;
        apic_set_script(vm, i, ops, COUNT(ops));
        if (!runner_start(&runners[i], vm, i, thread_cpu(i)))
            return false;
        running = i + 1;
        if (!apic_wait_word(vm, WORD(0), 1))
            return false;
    }
    is_given = nvme_give(&disk, vm);
    return is_given && nvme_start(&disk);
}

/* Also what did not start as a whole. */
static void stop(struct vm *vm)
{
    for (; running; running--) {
        EXPECT_OK(apic_request(vm, WHvX64InterruptTypeFixed, false, false, running - 1, STOP_VECTOR));
        EXPECT_RUNNER_END(&runners[running - 1]);
    }
    if (is_given)
        nvme_take(&disk);
    is_given = false;
}

static uint32_t count_of(struct vm *vm, uint32_t vp, uint32_t vector)
{
    return *(volatile uint32_t *)&apic_area(vm, vp)->counts[vector];
}

/* All that have come to a processor, but for those that stop it. */
static uint32_t count_all(struct vm *vm, uint32_t vp)
{
    uint32_t sum = 0;

    for (uint32_t vector = 0; vector < 256; vector++)
        sum += vector == STOP_VECTOR ? 0 : count_of(vm, vp, vector);
    return sum;
}

static bool wait_count(struct vm *vm, uint32_t vp, uint32_t vector, uint32_t wanted)
{
    for (uint64_t end = clock_ns() + STANDS_NS; count_of(vm, vp, vector) < wanted && clock_ns() < end;)
        thread_sleep_ns(NS_PER_MS);
    return EXPECT_EQ(count_of(vm, vp, vector), wanted);
}

static bool wait_untaken(uint32_t q, uint32_t wanted)
{
    for (uint64_t end = clock_ns() + STANDS_NS; nvme_untaken(&disk, q) < wanted && clock_ns() < end;)
        thread_sleep_ns(NS_PER_MS);
    return EXPECT_EQ(nvme_untaken(&disk, q), wanted);
}

static void open_entry(uint32_t entry, uint32_t vp, uint32_t vector)
{
    nvme_aim(&disk, entry, vp, vector);
    nvme_mask(&disk, entry, false);
}

static uint32_t vector_of(uint32_t q, uint32_t vp)
{
    return NVME_VECTOR + 16 * vp + q;
}

static void expect_handled(uint32_t q, uint32_t done)
{
    const struct nvme_queue *queue = nvme_queue(&disk, q);

    EXPECT_EQ(queue->done, done);
    EXPECT_EQ(queue->none, 0);
    EXPECT_EQ(queue->failed, 0);
}

/* ------------------------------------------------------------------------------------- several */

#define EACH 5u

/* The administration's queue has been used before its entry was open. */
static void expect_each(struct vm *vm)
{
    uint32_t want[VPS] = {0, 1};

    for (uint32_t q = 1; q <= NVME_QUEUES; q++)
        open_entry(q, q % VPS, vector_of(q, q / 2 % 2));
    EXPECT(nvme_pending(&disk, 0));
    open_entry(0, 1, ADMIN);
    wait_count(vm, 1, ADMIN, 1);
    EXPECT(!nvme_pending(&disk, 0));
    for (uint32_t n = 1; n <= EACH && !test_failed(); n++) {
        for (uint32_t q = 1; q <= NVME_QUEUES; q++) {
            nvme_submit(&disk, q, 0);
            wait_count(vm, q % VPS, vector_of(q, q / 2 % 2), n);
            want[q % VPS]++;
        }
        EXPECT(nvme_admin(&disk));
        wait_count(vm, 1, ADMIN, 1 + n);
        want[1]++;
    }
    thread_sleep_ns(QUIET_NS);
    for (uint32_t q = 1; q <= NVME_QUEUES; q++)
        expect_handled(q, EACH);
    for (uint32_t i = 0; i < VPS; i++)
        EXPECT_EQ(count_all(vm, i), want[i]);
}

TEST(passed_vectors,
     "nvme: each of a passed disk's vectors comes to the processor and as the vector that the guest chose")
{
    VM(vm);

    SKIP_WITHOUT_DISK();
    if (start(&vm, false))
        expect_each(&vm);
    stop(&vm);
}

/* ------------------------------------------------------------------------------------- masking */

static void begin_entry(bool is_masked)
{
    nvme_mask(&disk, 1, is_masked);
}

static void begin_all(bool is_masked)
{
    nvme_mask_all(&disk, is_masked);
}

static const struct masking {
    const char *name;
    void (*mask)(bool is_masked);
    bool was_open; /* before: what is pending is kept by us, not by the device */
} maskings[] = {
    {"its entry, never open before", begin_entry, false},
    {"its entry", begin_entry, true},
    {"the function, its entry never open before", begin_all, false},
    {"the function", begin_all, true},
};

/* Commands are completed, and nothing comes. */
static void complete_silently(struct vm *vm, uint32_t commands)
{
    uint32_t before = count_all(vm, 0) + count_all(vm, 1);

    for (uint32_t i = 0; i < commands; i++)
        nvme_submit(&disk, 1, 0);
    wait_untaken(1, commands);
    for (uint64_t end = clock_ns() + STANDS_NS; !nvme_pending(&disk, 1) && clock_ns() < end;)
        thread_sleep_ns(NS_PER_MS);
    EXPECT(nvme_pending(&disk, 1));
    EXPECT(!nvme_pending(&disk, 2));
    thread_sleep_ns(QUIET_NS);
    EXPECT_EQ(count_all(vm, 0) + count_all(vm, 1), before);
}

/* Once, and not again; with a vector that has never come before. */
static void expect_one(struct vm *vm, uint32_t vp, uint32_t vector, uint32_t done)
{
    uint32_t all = count_all(vm, 0) + count_all(vm, 1);

    wait_count(vm, vp, vector, 1);
    thread_sleep_ns(QUIET_NS);
    EXPECT_LE(count_all(vm, 0) + count_all(vm, 1), all + 1);
    EXPECT(!nvme_pending(&disk, 1));
    expect_handled(1, done);
}

static void mask_and_open(struct vm *vm, const struct masking *row)
{
    uint32_t done = 0;

    row->mask(true);
    nvme_aim(&disk, 1, 0, 0x51);
    if (row->mask == begin_all)
        nvme_mask(&disk, 1, false);
    if (row->was_open) {
        row->mask(false);
        nvme_submit(&disk, 1, 0);
        wait_count(vm, 0, 0x51, 1);
        expect_handled(1, ++done);
        row->mask(true);
    }
    complete_silently(vm, 1);
    nvme_aim(&disk, 1, 1, 0x61); /* where it goes is decided when it is sent */
    EXPECT_EQ(count_of(vm, 1, 0x61), 0);
    row->mask(false);
    expect_one(vm, 1, 0x61, ++done);
    row->mask(true);
    nvme_aim(&disk, 1, 1, 0x71);
    complete_silently(vm, 2); /* two that are one */
    row->mask(false);
    expect_one(vm, 1, 0x71, done += 2);
    EXPECT_EQ(count_of(vm, 0, 0x51), row->was_open);
    EXPECT_EQ(count_of(vm, 1, 0x61), 1);
    EXPECT_EQ(count_of(vm, 1, 0x71), 1);
}

TEST_ROWS(passed_masked, "nvme: masked, a passed disk's interrupt is pending; unmasked, it comes once", maskings)
{
    VM(vm);

    SKIP_WITHOUT_DISK();
    if (start(&vm, false))
        mask_and_open(&vm, row);
    stop(&vm);
}

/* --------------------------------------------------------------------------- moved while it runs */

struct moving {
    const char *name;
    uint32_t modes;
    bool is_spinning;                      /* the processors: interrupts come while the guest runs */
    bool keeps_vector;                     /* else each processor has vectors of its own */
    bool (*begin)(uint32_t q);             /* to VP 0 */
    void (*move)(uint32_t q, uint32_t vp); /* at any time */
};

static bool begin_plain(uint32_t q)
{
    open_entry(q, 0, vector_of(q, 0));
    return true;
}

static void move_address(uint32_t q, uint32_t vp)
{
    nvme_move(&disk, q, vp);
}

static void move_masked(uint32_t q, uint32_t vp)
{
    nvme_mask(&disk, q, true);
    nvme_aim(&disk, q, vp, vector_of(q, vp));
    nvme_mask(&disk, q, false);
}

static struct {
    UINT64 address;
    UINT32 data;
} mapped[NVME_QUEUES + 1];

static bool begin_mapped(uint32_t q)
{
    const WHV_VPCI_INTERRUPT_TARGET target = {.Vector = vector_of(q, 0), .ProcessorCount = 1};

    if (!EXPECT_OK(WHvMapVpciDeviceInterrupt(disk.device.partition, disk.device.id, q, 1, &target, &mapped[q].address,
                                             &mapped[q].data)))
        return false;
    nvme_set_message(&disk, q, mapped[q].address, mapped[q].data);
    nvme_mask(&disk, q, false);
    return true;
}

static void move_mapped(uint32_t q, uint32_t vp)
{
    WHV_VPCI_INTERRUPT_TARGET target = {.Vector = vector_of(q, vp), .ProcessorCount = 1};

    target.Processors[0] = vp;
    EXPECT_OK(WHvRetargetVpciDeviceInterrupt(disk.device.partition, disk.device.id, mapped[q].address, mapped[q].data,
                                             &target));
}

static const struct moving movings[] = {
    {"by a new address", 0, false, true, begin_plain, move_address},
    {"masked meanwhile", 0, false, false, begin_plain, move_masked},
    {"by WHvRetargetVpciDeviceInterrupt", 0, false, false, begin_mapped, move_mapped},
    {"by a new address, of busy processors", 0, true, true, begin_plain, move_address},
    {"masked meanwhile, of busy processors", 0, true, false, begin_plain, move_masked},
};

static uint32_t done_all(void)
{
    uint32_t sum = 0;

    for (uint32_t q = 1; q <= NVME_QUEUES; q++)
        sum += nvme_queue(&disk, q)->done;
    return sum;
}

static uint32_t random_below(uint32_t limit)
{
    static uint32_t seed = 1;

    seed = seed * 1664525 + 1013904223;
    return (uint32_t)((uint64_t)seed * limit >> 32);
}

/* Until all is done, or stands still. */
static uint32_t move_on(const struct moving *row, uint32_t wanted)
{
    uint64_t end = clock_ns() + STANDS_NS;
    uint32_t moves = 0, before = 0, done;

    while ((done = done_all()) < wanted && clock_ns() < end) {
        row->move(1 + random_below(NVME_QUEUES), random_below(VPS));
        moves++;
        if (done != before)
            end = clock_ns() + STANDS_NS;
        before = done;
        if (moves % 4 == 0)
            thread_sleep_ns(NS_PER_MS / 10);
    }
    return moves;
}

/* Nothing came where it never was to go; some to each that there was. */
static void expect_places(struct vm *vm, const struct moving *row, uint32_t wanted)
{
    uint32_t sum = 0, at_home;

    for (uint32_t i = 0; i < VPS; i++) {
        at_home = 0;
        for (uint32_t q = 1; q <= NVME_QUEUES; q++)
            at_home += count_of(vm, i, vector_of(q, row->keeps_vector ? 0 : i));
        EXPECT_EQ(count_all(vm, i), at_home);
        EXPECT_GE(at_home, wanted / 20);
        sum += at_home;
    }
    EXPECT_EQ(sum, wanted);
}

TEST_ROWS(passed_storm,
          "nvme: storm: 10,000 interrupts of a passed disk in all, or storm=N, moved under way, come once each",
          movings)
{
    const uint32_t each = test_storm(10000) / COUNT(movings) / NVME_QUEUES;
    uint64_t begin;
    uint32_t moves;
    VM(vm);

    SKIP_WITHOUT_DISK();
    if (start(&vm, row->is_spinning)) {
        for (uint32_t q = 1; q <= NVME_QUEUES; q++)
            EXPECT(row->begin(q));
        begin = clock_ns();
        for (uint32_t q = 1; q <= NVME_QUEUES; q++)
            nvme_submit(&disk, q, each - 1);
        moves = move_on(row, each * NVME_QUEUES);
        test_note("%u interrupts, moved %u times, in %llu ms", done_all(), moves,
                  (unsigned long long)((clock_ns() - begin) / NS_PER_MS));
        thread_sleep_ns(QUIET_NS);
        for (uint32_t q = 1; q <= NVME_QUEUES; q++)
            expect_handled(q, each);
        expect_places(&vm, row, each * NVME_QUEUES);
    }
    stop(&vm);
}

/* -------------------------------------------------------------------------------------- resets */

/* Each time with commands under way, whose interrupts may come before, or never. */
static void reset_and_start(struct vm *vm)
{
    const unsigned vectors = irq_vectors_used(), strays = irq_strays();

    for (uint32_t n = 1; n <= 10 && !test_failed(); n++) {
        for (uint32_t q = 1; q <= NVME_QUEUES; q++) {
            uint32_t before;

            open_entry(q, 1, vector_of(q, 1));
            before = count_of(vm, 1, vector_of(q, 1));
            nvme_submit(&disk, q, 0);
            wait_count(vm, 1, vector_of(q, 1), before + 1);
            expect_handled(q, 1);
        }
        EXPECT_EQ(irq_vectors_used(), vectors + NVME_QUEUES);
        for (uint32_t i = 0; i < NVME_QUEUES * NVME_DEPTH / 2; i++)
            nvme_submit(&disk, 1 + i % NVME_QUEUES, 1000000);
        thread_sleep_ns(NS_PER_MS);
        nvme_reset(&disk);
        EXPECT_EQ(irq_vectors_used(), vectors);
        thread_sleep_ns(QUIET_NS);
        EXPECT_EQ(irq_strays(), strays); /* what was under way is not there for a vector's next owner */
        EXPECT(nvme_start(&disk));
    }
}

TEST(passed_reset, "nvme: a guest resets its disk in the midst of its work, and starts it again")
{
    VM(vm);

    SKIP_WITHOUT_DISK();
    if (start(&vm, false))
        reset_and_start(&vm);
    stop(&vm);
}
