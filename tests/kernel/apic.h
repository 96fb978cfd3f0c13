/* SPDX-License-Identifier: MIT */
/*
 * Guests with local APICs (apic_vm.c): machines whose virtual processors each follow a script of operations, with
 * handlers that count and log what comes. Scripts mean the same in xAPIC and x2APIC mode; the guest is
 * tests/guests/apic.asm.
 *
 *     APIC_GUEST(vm, mode, 1, ICR(SELF | 0x41), STI, SPIN(0x41, 1), COUNT_IS(0x41, 1));
 *     EXPECT_SCRIPT_END(&vm);
 */
#ifndef APIC_H
#define APIC_H

#include "runner.h"
#include "test.h"
#include "vm.h"

/* What an APIC is used as. */
struct apic_mode {
    const char *name;
    void (*configure)(struct vm *vm);
    bool is_x2apic;
};
extern const struct apic_mode apic_modes[2];

/* --------------------------------------------------------------------------------- scripts */

struct apic_op {
    uint64_t op, a, b;
};

enum {
    OP_EXIT,
    OP_WRITE,
    OP_READ,
    OP_EXPECT,
    OP_STI,
    OP_CLI,
    OP_HALT,
    OP_SPIN,
    OP_WRMSR,
    OP_RDMSR,
    OP_CR8,
    OP_RDCR8,
    OP_COUNT,
    OP_DELAY,
    OP_DEADLINE,
    OP_WRMSR_GP,
    OP_RDMSR_GP,
    OP_WAIT,
    OP_SET,
    OP_CPUID,
    OP_TSC,
    OP_ELAPSED,
    OP_STORE,
    OP_AT_LEAST,
    OP_PASS,
    OP_REST,
    OP_LOAD,
    OP_WRMSR_LAST,
    OP_REMOTE,
    OP_FILL,
};

/* clang-format off */
#define EXIT                   {OP_EXIT, 0, 0}               /* to the host, and on when it runs the VP again */
#define WRITE(offset, value)   {OP_WRITE, offset, value}     /* a register; ICR in x2APIC's layout */
#define ICR(value)             {OP_WRITE, APIC_ICR, value}
#define READ(offset)           {OP_READ, offset, 0}
#define EXPECT_LAST(mask, value) {OP_EXPECT, mask, value}    /* of what was read last */
#define AT_LEAST(mask, value)  {OP_AT_LEAST, mask, value}
#define STI                    {OP_STI, 0, 0}
#define CLI                    {OP_CLI, 0, 0}
#define HALT(vector, count)    {OP_HALT, vector, count}      /* HLT until the vector has come so often */
#define SPIN(vector, count)    {OP_SPIN, vector, count}      /* the same, in a loop with PAUSE */
#define COUNT_IS(vector, count) {OP_COUNT, vector, count}
#define WRMSR(index, value)    {OP_WRMSR, index, value}
#define RDMSR(index)           {OP_RDMSR, index, 0}
#define WRMSR_GP(index, value) {OP_WRMSR_GP, index, value}   /* has to fault */
#define RDMSR_GP(index)        {OP_RDMSR_GP, index, 0}
#define CR8(value)             {OP_CR8, value, 0}
#define RDCR8                  {OP_RDCR8, 0, 0}
#define DELAY(rounds)          {OP_DELAY, rounds, 0}
#define DEADLINE(ticks)        {OP_DEADLINE, ticks, 0}       /* TSC deadline, from now */
#define WAIT(word, value)      {OP_WAIT, word, value}        /* until that word of memory has that value */
#define SET(word, value)       {OP_SET, word, value}
#define LOAD(word)             {OP_LOAD, word, 0}
#define WRMSR_LAST(index, add) {OP_WRMSR_LAST, index, add}   /* what was read last, and `add` */
#define CPUID(leaf)            {OP_CPUID, leaf, 0}           /* ECX:EDX is what was read */
#define TSC                    {OP_TSC, 0, 0}
#define ELAPSED(low, high)     {OP_ELAPSED, low, high}       /* ticks since TSC */
#define PASS(word, rounds)     {OP_PASS, word, rounds}       /* in turn with another VP, whose TSC may not be ahead */
#define REST                   {OP_REST, 0, 0}               /* one HLT */
#define REMOTE(icr)            {OP_REMOTE, 0, icr}           /* writes ICR, reads it until no remote read is pending */
#define FILL(offset, end, value) {OP_FILL, offset, (uint64_t)(((end) - (offset)) / 4 + 1) << 32 | (value)} /* REP STOSD */
/* clang-format on */

/* registers, by their offset in the page, and bits of ICR */
enum {
    APIC_ID = 0x20,
    APIC_VERSION = 0x30,
    APIC_TPR = 0x80,
    APIC_PPR = 0xa0,
    APIC_EOI = 0xb0,
    APIC_RRD = 0xc0,
    APIC_LDR = 0xd0,
    APIC_DFR = 0xe0,
    APIC_SVR = 0xf0,
    APIC_ISR = 0x100,
    APIC_TMR = 0x180,
    APIC_IRR = 0x200,
    APIC_ESR = 0x280,
    APIC_ICR = 0x300,
    APIC_LVT_TIMER = 0x320,
    APIC_LVT_LINT0 = 0x350,
    APIC_LVT_LINT1 = 0x360,
    APIC_LVT_ERROR = 0x370,
    APIC_TIMER_INIT = 0x380,
    APIC_TIMER_CUR = 0x390,
    APIC_TIMER_DIV = 0x3e0,
    APIC_SELF_IPI = 0x3f0,
};
#define BANK(array, vector) ((array) + (vector) / 32 * 16) /* of ISR, TMR and IRR */
#define BIT_OF(vector)      (1ull << (vector) % 32)

#define LOWEST  0x100ull
#define SMI_    0x200ull
#define REMOTE_ 0x300ull
#define NMI_    0x400ull
#define INIT_   0xc500ull /* level, assert */
#define SIPI_   0x600ull
#define LOGICAL 0x800ull
#define SELF    0x40000ull
#define ALL     0x80000ull
#define OTHERS  0xc0000ull
#define TO(id)  ((uint64_t)(id) << 32)

#define MSR_APIC_BASE    0x1bull
#define MSR_TSC_DEADLINE 0x6e0ull
#define BASE_DEFAULT     0xfee00000ull
#define BASE_BSP         0x100ull
#define BASE_X2APIC      0x400ull
#define BASE_ENABLE      0x800ull

/* words for WAIT and SET, and for the host to see */
#define WORD(n) (VM_DATA + 16ull * (n))

/* -------------------------------------------------------------------------------- machines */

struct apic_area { /* see apic.asm */
    uint64_t self, script;
    uint32_t is_x2apic, expected;
    uint64_t send;
    uint32_t keep, logged;
    uint64_t last, tsc, resume, failed, got, page;
    uint32_t turn, reserved[233];
    uint32_t counts[256];
    uint16_t log[1024];
    struct apic_op ops[64];
};
#define APIC_VPS   4
#define APIC_AREAS 0x30000u

static inline struct apic_area *apic_area(struct vm *vm, uint32_t vp)
{
    return vm_at(vm, APIC_AREAS + 0x4000u * vp);
}

/* VPs that are ready to run their scripts, but for those that wait for SIPI (SIPI_VECTOR leads them there). */
bool apic_create(struct vm *vm, const struct apic_mode *mode, uint32_t vps);
/* Another handler of all interrupts than the one that logs. */
bool apic_set_handler(struct vm *vm, const char *name);
bool apic_create_waiting(struct vm *vm, const struct apic_mode *mode, uint32_t vps);
#define SIPI_VECTOR       0x2a
#define SIPI_VECTOR_OTHER 0x2d

/* The script of a VP: puts the APIC into the mode, enables it, does these, and exits. _bare: these and the exit. */
void apic_set_script(struct vm *vm, uint32_t vp, const struct apic_op *ops, size_t count);
void apic_set_bare_script(struct vm *vm, uint32_t vp, const struct apic_op *ops, size_t count);

#define SCRIPT(vm, vp, ...)                          \
    do {                                             \
        const struct apic_op ops_[] = {__VA_ARGS__}; \
        apic_set_script(vm, vp, ops_, COUNT(ops_));  \
    } while (0)
#define BARE_SCRIPT(vm, vp, ...)                         \
    do {                                                 \
        const struct apic_op ops_[] = {__VA_ARGS__};     \
        apic_set_bare_script(vm, vp, ops_, COUNT(ops_)); \
    } while (0)

#define APIC_GUEST(name, mode_, vps_, ...)    \
    VM(name);                                 \
    REQUIRE(apic_create(&name, mode_, vps_)); \
    SCRIPT(&name, 0, __VA_ARGS__)

/* The script has come to EXIT, and all that it expected held. */
bool apic_check_end(struct vm *vm, uint32_t vp, const WHV_RUN_VP_EXIT_CONTEXT *exit, const char *file, int line);
#define EXPECT_SCRIPT_END(vm) (vm_run(vm), apic_check_end(vm, 0, &(vm)->exit, __FILE__, __LINE__))
#define EXPECT_RUNNER_END(r) \
    (runner_wait(r) && EXPECT_OK((r)->result) && apic_check_end((r)->vm, (r)->index, &(r)->exit, __FILE__, __LINE__))

/* Waits until the guest has set the word. */
bool apic_wait_word(struct vm *vm, uint64_t word, uint32_t value);

/* What handlers logged, as vectors, 0x100 more when they return. */
bool apic_check_log(struct vm *vm, uint32_t vp, const uint16_t *wanted, uint32_t count, const char *file, int line);
#define EXPECT_LOG(vm, vp, ...)                                        \
    ({                                                                 \
        const uint16_t log_[] = {__VA_ARGS__};                         \
        apic_check_log(vm, vp, log_, COUNT(log_), __FILE__, __LINE__); \
    })

static inline uint64_t apic_everybody(const struct apic_mode *mode)
{
    return mode->is_x2apic ? TO(0xffffffffu) : TO(0xff);
}

uint64_t apic_ticks(uint64_t ns); /* of the TSC */

HRESULT apic_request(struct vm *vm, WHV_INTERRUPT_TYPE type, bool is_logical, bool is_level, uint32_t destination,
                     uint32_t vector);

#endif
