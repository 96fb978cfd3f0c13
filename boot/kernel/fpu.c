/* SPDX-License-Identifier: MIT */
/* XSAVE (SDM volume 1, chapter 13), or FXSAVE where there is none. */
#include "fpu.h"
#include <hv/base/bits.h>
#include <kernel/cpu.h>
#include <kernel/exit.h>
#include <kernel/string.h>
#include <stdbool.h>

#define CPUID_XSAVE BIT32(26) /* leaf 1 ECX */

#define CR0_MP         BIT64(1)
#define CR0_EM         BIT64(2)
#define CR0_TS         BIT64(3)
#define CR0_NE         BIT64(5)
#define CR4_OSFXSR     BIT64(9)
#define CR4_OSXMMEXCPT BIT64(10)
#define CR4_OSXSAVE    BIT64(18)

#define XCR0_X87_SSE 0x03ull
#define XCR0_AVX     0x04ull
#define XCR0_AVX512  0xe0ull

/* the legacy area: SDM volume 1, table 10-2 */
#define FXSAVE_SIZE   512
#define FCW_OFFSET    0
#define FCW_DEFAULT   0x037f
#define MXCSR_OFFSET  24
#define MXCSR_DEFAULT 0x1f80

static bool has_xsave;
static uint64_t xcr0 = XCR0_X87_SSE;
static uint32_t area_size = FXSAVE_SIZE;

static void xsetbv(uint64_t value)
{
    __asm__ volatile("xsetbv" ::"c"(0), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)));
}

static void enable(void)
{
    WRITE_CR(0, (READ_CR(0) & ~(CR0_EM | CR0_TS)) | CR0_MP | CR0_NE);
    WRITE_CR(4, READ_CR(4) | CR4_OSFXSR | CR4_OSXMMEXCPT | (has_xsave ? CR4_OSXSAVE : 0));
    if (has_xsave)
        xsetbv(xcr0);
}

static uint64_t supported(void)
{
    uint64_t wanted = cpuid(0xd, 0).eax & (XCR0_X87_SSE | XCR0_AVX | XCR0_AVX512);

    if ((wanted & XCR0_AVX512) != XCR0_AVX512 || !(wanted & XCR0_AVX)) /* all or none, and never without AVX */
        wanted &= ~XCR0_AVX512;
    return wanted | XCR0_X87_SSE;
}

void fpu_init(size_t room)
{
    has_xsave = cpuid(1, 0).ecx & CPUID_XSAVE;
    if (has_xsave)
        xcr0 = supported();
    enable();
    if (has_xsave)
        area_size = cpuid(0xd, 0).ebx;
    if (area_size > room)
        panic("the FPU state takes %u bytes, more than %zu", area_size, room);
}

void fpu_init_cpu(void)
{
    enable();
    __asm__ volatile("fninit");
}

/* All zeroes but the control words: an XSAVE header of zeroes means initial state, except for MXCSR, which is always
 * loaded. */
void fpu_reset(void *area)
{
    const uint16_t fcw = FCW_DEFAULT;
    const uint32_t mxcsr = MXCSR_DEFAULT;

    memset(area, 0, area_size);
    memcpy((char *)area + FCW_OFFSET, &fcw, sizeof(fcw));
    memcpy((char *)area + MXCSR_OFFSET, &mxcsr, sizeof(mxcsr));
}

void fpu_save(void *area)
{
    if (has_xsave)
        __asm__ volatile("xsave64 (%0)" ::"r"(area), "a"(~0u), "d"(~0u) : "memory");
    else
        __asm__ volatile("fxsave64 (%0)" ::"r"(area) : "memory");
}

void fpu_restore(const void *area)
{
    if (has_xsave)
        __asm__ volatile("xrstor64 (%0)" ::"r"(area), "a"(~0u), "d"(~0u) : "memory");
    else
        __asm__ volatile("fxrstor64 (%0)" ::"r"(area) : "memory");
}
