/* SPDX-License-Identifier: MIT */
/*
 * What a shell script in the guest cannot check by itself. Static, without a C library, and compiled without vector
 * instructions of the compiler's own: what is in those registers is this program's.
 *
 *   check getppid COUNT           calls getppid so often, each with the same answer
 *   check memory MIB SEED         writes so much memory with numbers made from the seed, reads it twice
 *   check registers ROUNDS SEED   fills x87 and vector registers, works and yields, and finds them as they were
 *   check spin COUNT              works
 *   check wakeups SECONDS CPUS    passes tokens round a thread on each CPU, by futexes, with TLB flushes between
 *
 * Exit status 0, or 1 with a line that says what was wrong.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SYS_WRITE             1
#define SYS_MMAP              9
#define SYS_CLONE             56
#define SYS_EXIT              60
#define SYS_GETPPID           110
#define SYS_FUTEX             202
#define SYS_SCHED_SETAFFINITY 203
#define SYS_CLOCK_GETTIME     228
#define SYS_EXIT_GROUP        231

#define PROT_READ_WRITE       3
#define MAP_PRIVATE_ANONYMOUS 0x22
#define MAP_FIXED             0x10

_Noreturn void check_main(uint64_t *stack);

static long syscall6(long number, long a, long b, long c, long d, long e, long f)
{
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    long result;

    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "0"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

/* ----------------------------------------------------------------------------- words and numbers */

static size_t length_of(const char *text)
{
    size_t n = 0;

    while (text[n])
        n++;
    return n;
}

static void print(const char *text)
{
    syscall6(SYS_WRITE, 1, (long)text, (long)length_of(text), 0, 0, 0);
}

static void print_hex(uint64_t value)
{
    char text[] = "0x0000000000000000";

    for (size_t i = sizeof(text) - 2; value; i--, value >>= 4)
        text[i] = "0123456789abcdef"[value & 15];
    print(text);
}

static bool wrong(const char *what, uint64_t place, uint64_t is, uint64_t should_be)
{
    print("# ");
    print(what);
    print(" ");
    print_hex(place);
    print(" is ");
    print_hex(is);
    print(", should be ");
    print_hex(should_be);
    print("\n");
    return false;
}

static uint64_t number(const char *text)
{
    uint64_t n = 0;

    for (; *text >= '0' && *text <= '9'; text++)
        n = n * 10 + (uint64_t)(*text - '0');
    return n;
}

static bool is_same(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

/* xorshift64*: the same numbers from the same seed */
static uint64_t next(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1dull;
}

/* -------------------------------------------------------------------------------------- the checks */

static bool check_getppid(uint64_t count, uint64_t unused)
{
    long parent = syscall6(SYS_GETPPID, 0, 0, 0, 0, 0, 0);

    (void)unused;
    for (uint64_t i = 1; i < count; i++) {
        long again = syscall6(SYS_GETPPID, 0, 0, 0, 0, 0, 0);

        if (again != parent)
            return wrong("getppid, call", i, (uint64_t)again, (uint64_t)parent);
    }
    return true;
}

static bool check_memory(uint64_t mib, uint64_t seed)
{
    size_t count = (mib << 20) / sizeof(uint64_t);
    uint64_t state = seed * 2 + 1;
    uint64_t *memory =
        (uint64_t *)syscall6(SYS_MMAP, 0, (long)(mib << 20), PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0);

    if ((long)memory < 0)
        return wrong("mmap", mib, (uint64_t)memory, 0);
    for (size_t i = 0; i < count; i++)
        memory[i] = next(&state);
    for (int pass = 0; pass < 2; pass++) {
        state = seed * 2 + 1;
        for (size_t i = 0; i < count; i++) {
            uint64_t wanted = next(&state), is = *(volatile uint64_t *)&memory[i];

            if (is != wanted)
                return wrong("memory at word", i, is, wanted);
        }
    }
    return true;
}

static bool check_spin(uint64_t count, uint64_t unused)
{
    (void)unused;
    for (volatile uint64_t i = 0; i < count; i++)
        ;
    return true;
}

/* ------------------------------------------------------------------------------------- wakeups */

/*
 * A ring of threads, one on each CPU. Who gets a token puts another page in place of the one that all share, with a new
 * number in it, which the kernel has to make all CPUs forget the old page for; and passes the token on to the next one,
 * who sleeps in a futex, and must find that number. With fewer tokens than threads most of them sleep at any time.
 */
#define RING_MAX     64
#define RING_STACK   65536
#define CLONE_THREAD 0x10f00 /* VM, FS, FILES, SIGHAND, THREAD */
#define FUTEX_WAIT   128     /* private */
#define FUTEX_WAKE   129
#define WAIT_SECONDS 10
#define PAGE         4096

struct ring_thread {
    volatile uint32_t token; /* a futex: how many passes have come here */
    volatile uint32_t wakeups;
    uint32_t cpu;
} __attribute__((aligned(64)));

static struct ring_thread ring[RING_MAX];
static uint32_t ring_count;
static volatile uint32_t ring_stop, ring_failed, ring_ended;
static volatile uint64_t *ring_page;
static volatile uint64_t ring_number;
static char ring_stacks[RING_MAX][RING_STACK] __attribute__((aligned(16)));

static uint64_t seconds_now(void)
{
    uint64_t time[2] = {0, 0};

    syscall6(SYS_CLOCK_GETTIME, 1, (long)time, 0, 0, 0, 0);
    return time[0];
}

static long futex(volatile uint32_t *word, int what, uint32_t value, const uint64_t *timeout)
{
    return syscall6(SYS_FUTEX, (long)word, what, (long)value, (long)timeout, 0, 0);
}

static void ring_fail(const char *what, uint32_t cpu, uint64_t is, uint64_t should_be)
{
    if (!__atomic_exchange_n(&ring_failed, 1, __ATOMIC_SEQ_CST))
        wrong(what, cpu, is, should_be);
    ring_stop = 1;
}

/* Until the word is another than `seen`. A sleep that only its timeout ends is a wakeup that was lost. */
static bool ring_wait(struct ring_thread *t, uint32_t seen)
{
    static const uint64_t timeout[2] = {WAIT_SECONDS, 0};

    while (t->token == seen && !ring_stop) {
        if (futex(&t->token, FUTEX_WAIT, seen, timeout) == -110 && !ring_stop) {
            if (t->token == seen)
                ring_fail("no token came to CPU", t->cpu, seen, seen + 1);
            else
                ring_fail("a wakeup was lost on CPU", t->cpu, seen, t->token);
            return false;
        }
    }
    return !ring_stop;
}

static void ring_pass(struct ring_thread *to)
{
    __atomic_fetch_add(&to->token, 1, __ATOMIC_SEQ_CST);
    futex(&to->token, FUTEX_WAKE, 1, NULL);
}

/* Only whoever has the token touches the page. */
static bool ring_change_page(const struct ring_thread *t)
{
    uint64_t number = ring_number;
    long page;

    if (*ring_page != number) {
        ring_fail("the shared page, seen from CPU", t->cpu, *ring_page, number);
        return false;
    }
    page = syscall6(SYS_MMAP, (long)ring_page, PAGE, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS | MAP_FIXED, -1, 0);
    if (page != (long)ring_page) {
        ring_fail("mmap on CPU", t->cpu, (uint64_t)page, (uint64_t)ring_page);
        return false;
    }
    if (*ring_page) {
        ring_fail("a new page, seen from CPU", t->cpu, *ring_page, 0);
        return false;
    }
    *ring_page = ring_number = number + 1;
    return true;
}

static void ring_bind(uint32_t cpu)
{
    uint64_t mask = 1ull << cpu;

    if (syscall6(SYS_SCHED_SETAFFINITY, 0, sizeof(mask), (long)&mask, 0, 0, 0) < 0)
        ring_fail("no affinity for CPU", cpu, 0, 0);
}

static void ring_run(struct ring_thread *t)
{
    uint32_t seen = 0;

    ring_bind(t->cpu);
    while (ring_wait(t, seen)) {
        seen++;
        t->wakeups++;
        if (!ring_change_page(t))
            break;
        ring_pass(&ring[(t->cpu + 1) % ring_count]);
    }
    __atomic_fetch_add(&ring_ended, 1, __ATOMIC_SEQ_CST);
}

_Noreturn void ring_main(struct ring_thread *t);
_Noreturn void ring_main(struct ring_thread *t)
{
    ring_run(t);
    syscall6(SYS_EXIT, 0, 0, 0, 0, 0, 0);
    __builtin_unreachable();
}

/* The child comes back from the system call on its own stack, on which its argument lies. */
static bool ring_start(uint32_t cpu)
{
    uint64_t *stack = (uint64_t *)(void *)(ring_stacks[cpu] + RING_STACK) - 2;
    long result;

    ring[cpu].cpu = cpu;
    stack[0] = (uint64_t)&ring[cpu];
    __asm__ volatile("movl %[number], %%eax\nsyscall\ntestq %%rax, %%rax\njnz 1f\n"
                     "popq %%rdi\nandq $-16, %%rsp\ncall ring_main\n1:\n"
                     : "=&a"(result)
                     : [number] "i"(SYS_CLONE), "D"((long)CLONE_THREAD), "S"(stack), "d"(0L)
                     : "rcx", "r8", "r10", "r11", "memory");
    return result > 0;
}

static void ring_report(void)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < ring_count; i++)
        sum += ring[i].wakeups;
    print("# wakeups: ");
    print_hex(sum);
    print(", pages: ");
    print_hex(ring_number);
    print("\n");
}

static bool check_wakeups(uint64_t seconds, uint64_t cpus)
{
    static volatile uint32_t never;
    static const uint64_t second[2] = {1, 0};
    uint64_t end = seconds_now() + seconds;
    long page = syscall6(SYS_MMAP, 0, PAGE, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0);

    ring_count = cpus < RING_MAX ? (uint32_t)cpus : RING_MAX;
    if (page < 0 || !ring_count)
        return wrong("mmap", cpus, (uint64_t)page, 0);
    ring_page = (volatile uint64_t *)page;
    *ring_page = 0;
    for (uint32_t i = 0; i < ring_count; i++)
        if (!ring_start(i))
            return wrong("clone for CPU", i, 0, 1);
    ring_pass(&ring[0]);
    while (seconds_now() < end && !ring_stop)
        futex(&never, FUTEX_WAIT, 0, second);
    ring_stop = 1;
    for (uint32_t i = 0; i < ring_count; i++)
        ring_pass(&ring[i]);
    for (uint32_t tries = 0; ring_ended < ring_count && tries < WAIT_SECONDS; tries++)
        futex(&never, FUTEX_WAIT, 0, second);
    ring_report();
    if (ring_ended != ring_count)
        return wrong("threads that ended", 0, ring_ended, ring_count);
    return !ring_failed && ring_number > seconds;
}

/* ----------------------------------------------------------------------------------- registers */

#define X87_COUNT    8
#define VECTOR_WORDS 256 /* 32 registers of 64 bytes */
#define SPINS        200000

struct registers {
    double x87[X87_COUNT];
    uint64_t vector[VECTOR_WORDS] __attribute__((aligned(64)));
    uint64_t mask[8]; /* k0 to k7 */
};

static struct registers wanted, found;

/* Long enough to be preempted in, then a yield, then long enough again. */
#define WORK                                        \
    "movl %[spins], %%ecx\n1: decl %%ecx\njnz 1b\n" \
    "movl $24, %%eax\nsyscall\n" /* sched_yield */  \
    "movl %[spins], %%ecx\n2: decl %%ecx\njnz 2b\n"
#define OPERANDS                                                                                             \
    ::"r"(wanted.x87), "r"(found.x87), [in] "r"(wanted.vector), [out] "r"(found.vector), [spins] "i"(SPINS), \
        [kin] "r"(wanted.mask), [kout] "r"(found.mask) : "rax", "rcx", "r11", "memory", "cc"

#define X87_LOAD \
    "fninit\nfldl 56(%0)\nfldl 48(%0)\nfldl 40(%0)\nfldl 32(%0)\nfldl 24(%0)\nfldl 16(%0)\nfldl 8(%0)\nfldl (%0)\n"
#define X87_STORE \
    "fstpl (%1)\nfstpl 8(%1)\nfstpl 16(%1)\nfstpl 24(%1)\nfstpl 32(%1)\nfstpl 40(%1)\nfstpl 48(%1)\nfstpl 56(%1)\n"

/* Each register by its number: .irp goes through them, \() ends the name of the number. */
#define LOW_16  "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15"
#define HIGH_16 ",16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31"

static void through_xmm(void)
{
    __asm__ volatile(X87_LOAD ".irp n," LOW_16 "\nmovups 16*\\n(%[in]), %%xmm\\n\n.endr\n" WORK ".irp n," LOW_16
                              "\nmovups %%xmm\\n, 16*\\n(%[out])\n.endr\n" X87_STORE OPERANDS);
}

static void through_ymm(void)
{
    __asm__ volatile(X87_LOAD ".irp n," LOW_16 "\nvmovups 32*\\n(%[in]), %%ymm\\n\n.endr\n" WORK ".irp n," LOW_16
                              "\nvmovups %%ymm\\n, 32*\\n(%[out])\n.endr\nvzeroupper\n" X87_STORE OPERANDS);
}

static void through_zmm(void)
{
    __asm__ volatile(X87_LOAD ".irp n," LOW_16 HIGH_16 "\nvmovups 64*\\n(%[in]), %%zmm\\n\n.endr\n"
                              ".irp n,0,1,2,3,4,5,6,7\nkmovw 8*\\n(%[kin]), %%k\\n\n.endr\n" WORK
                              ".irp n,0,1,2,3,4,5,6,7\nkmovw %%k\\n, 8*\\n(%[kout])\n.endr\n"
                              ".irp n," LOW_16 HIGH_16
                              "\nvmovups %%zmm\\n, 64*\\n(%[out])\n.endr\nvzeroupper\n" X87_STORE OPERANDS);
}

static const struct variant {
    const char *name;
    void (*through)(void);
    size_t words, masks;
    uint64_t xcr0; /* what the kernel must have enabled */
    uint32_t leaf7_ebx;
} variants[] = {
    {"SSE", through_xmm, 32, 0, 0, 0},
    {"AVX", through_ymm, 64, 0, 0x6, 0},
    {"AVX-512", through_zmm, 256, 8, 0xe6, 1u << 16},
};

static void cpuid(uint32_t leaf, uint32_t r[4])
{
    __asm__ volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(leaf), "c"(0));
}

static uint64_t enabled_features(void)
{
    uint32_t r[4], lo, hi;

    cpuid(1, r);
    if (!(r[2] >> 27 & 1)) /* OSXSAVE */
        return 0;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return (uint64_t)hi << 32 | lo;
}

static bool has(const struct variant *v)
{
    uint32_t r[4] = {0};

    cpuid(0, r);
    if (r[0] >= 7)
        cpuid(7, r);
    return (enabled_features() & v->xcr0) == v->xcr0 && (r[1] & v->leaf7_ebx) == v->leaf7_ebx;
}

/* Numbers that a double holds exactly, built from their bits: 1.0 to 2.0. */
static void fill(uint64_t *state)
{
    uint64_t *x87 = (uint64_t *)(void *)wanted.x87;

    for (unsigned i = 0; i < X87_COUNT; i++)
        x87[i] = 0x3ff0000000000000ull | next(state) >> 12;
    for (unsigned i = 0; i < VECTOR_WORDS; i++)
        wanted.vector[i] = next(state);
    for (unsigned i = 0; i < 8; i++)
        wanted.mask[i] = next(state) & 0xffff;
}

static bool compare(const char *what, const void *a, const void *b, size_t words)
{
    const volatile uint64_t *is = a, *should_be = b;

    for (size_t i = 0; i < words; i++)
        if (is[i] != should_be[i])
            return wrong(what, i, is[i], should_be[i]);
    return true;
}

static bool check_registers(uint64_t rounds, uint64_t seed)
{
    uint64_t state = seed * 2 + 1;

    for (uint64_t round = 0; round < rounds; round++) {
        const struct variant *v = &variants[round % 3];

        if (!has(v))
            v = &variants[0];
        fill(&state);
        v->through();
        if (!compare("x87 register", found.x87, wanted.x87, X87_COUNT) ||
            !compare(v->name, found.vector, wanted.vector, v->words) ||
            !compare("mask register", found.mask, wanted.mask, v->masks))
            return false;
    }
    return true;
}

static bool check_features(uint64_t unused, uint64_t unused_too)
{
    (void)unused;
    (void)unused_too;
    print("# vector registers:");
    for (unsigned i = 0; i < 3; i++) {
        if (has(&variants[i])) {
            print(" ");
            print(variants[i].name);
        }
    }
    print("\n");
    return true;
}

/* ----------------------------------------------------------------------------------------- main */

static const struct {
    const char *name;
    bool (*check)(uint64_t a, uint64_t b);
} checks[] = {
    {"getppid", check_getppid},     {"memory", check_memory},     {"spin", check_spin},
    {"registers", check_registers}, {"features", check_features}, {"wakeups", check_wakeups},
};

/* argc, argv[0], argv[1], ... NULL */
_Noreturn void check_main(uint64_t *stack)
{
    char **argv = (char **)(stack + 1);
    bool well = false, known = false;

    for (unsigned i = 0; stack[0] >= 2 && i < sizeof(checks) / sizeof(checks[0]); i++) {
        if (!is_same(argv[1], checks[i].name))
            continue;
        known = true;
        well = checks[i].check(stack[0] > 2 ? number(argv[2]) : 0, stack[0] > 3 ? number(argv[3]) : 0);
    }
    if (!known)
        print("# check: no such check\n");
    syscall6(SYS_EXIT_GROUP, !well, 0, 0, 0, 0, 0);
    __builtin_unreachable();
}

__asm__(".globl _start\n_start: movq %rsp, %rdi\nandq $-16, %rsp\ncall check_main\n");
