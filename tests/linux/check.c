/* SPDX-License-Identifier: MIT */
/*
 * What a shell script in the guest cannot check by itself. Static, without a C library, and compiled without vector
 * instructions of the compiler's own: what is in those registers is this program's.
 *
 *   check getppid COUNT           calls getppid so often, each with the same answer
 *   check memory MIB SEED         writes so much memory with numbers made from the seed, reads it twice
 *   check registers ROUNDS SEED   fills x87 and vector registers, works and yields, and finds them as they were
 *   check spin COUNT              works
 *
 * Exit status 0, or 1 with a line that says what was wrong.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SYS_WRITE       1
#define SYS_MMAP        9
#define SYS_SCHED_YIELD 24
#define SYS_EXIT        60
#define SYS_GETPPID     110

#define PROT_READ_WRITE       3
#define MAP_PRIVATE_ANONYMOUS 0x22

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
    {"registers", check_registers}, {"features", check_features},
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
    syscall6(SYS_EXIT, !well, 0, 0, 0, 0, 0);
    __builtin_unreachable();
}

__asm__(".globl _start\n_start: movq %rsp, %rdi\nandq $-16, %rsp\ncall check_main\n");
