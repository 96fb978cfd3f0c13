/* SPDX-License-Identifier: MIT */
/* Registers, MSRs, CPUID and extended state of the fake CPUs. */
#include "fake_x86.h"
#include "fake_device.h"
#include "fake_svm.h"
#include "fake_vmx.h"
#include <arch/bits/cpuid.h>
#include <arch/bits/cr.h>
#include <arch/bits/msr.h>
#include <arch/bits/seg.h>
#include <stdio.h>
#include <string.h>

struct fake_x86_counts fake_x86_counts;

static struct fake_x86 cpus[FAKE_MAX_CPUS];
static uint64_t tsc;
static int64_t skew[FAKE_MAX_CPUS];
static bool is_amd;

struct fake_x86 *fake_x86(uint32_t cpu)
{
    return &cpus[cpu];
}

struct fake_x86 *fake_x86_here(void)
{
    return &cpus[fake_cpu()];
}

/* For what must not move to another CPU half-way. */
static struct fake_x86 *pinned(void)
{
    return &cpus[hv_host_cpu_id()];
}

void fake_gp(bool fault, const char *instruction)
{
    if (fault)
        fake_fail("%s: #GP", instruction);
}

/* --------------------------------------------------------------------------------- MSRs */

enum vendor { ANY, INTEL, AMD };

static const struct {
    uint32_t index;
    bool writable;
    uint64_t initial;
    enum vendor vendor;
} msrs[] = {
    {MSR_IA32_APIC_BASE, true, 0xfee00000 | APIC_BASE_EN, ANY},
    {MSR_IA32_FEATURE_CONTROL, true, FEATURE_CONTROL_LOCK | FEATURE_CONTROL_VMX, INTEL},
    {MSR_IA32_SYSENTER_CS, true, FAKE_SEL_CODE, ANY},
    {MSR_IA32_SYSENTER_ESP, true, 0xffff888000011000, ANY},
    {MSR_IA32_SYSENTER_EIP, true, 0xffffffff81000100, ANY},
    {MSR_IA32_DEBUGCTL, true, 0, ANY},
    {MSR_IA32_PAT, true, 0x0007010600070106, ANY},
    {MSR_IA32_EFER, true, EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE, ANY},
    {MSR_IA32_STAR, true, 0x0023001000000000, ANY},
    {MSR_IA32_LSTAR, true, 0xffffffff81000200, ANY},
    {MSR_IA32_CSTAR, true, 0, ANY},
    {MSR_IA32_FMASK, true, 0x47700, ANY},
    {MSR_IA32_FS_BASE, true, 0x00007f0000001000, ANY},
    {MSR_IA32_GS_BASE, true, 0xffff888000020000, ANY},
    {MSR_IA32_KERNEL_GS_BASE, true, 0x00007f0000002000, ANY},
    {MSR_IA32_TSC_AUX, true, 0, ANY},
    /* allowed-0 settings in bits 31:0, allowed-1 in 63:32 */
    {MSR_IA32_VMX_BASIC, false, 0x00d8100000000012, INTEL},
    {MSR_IA32_VMX_PINBASED_CTLS, false, 0x0000007f00000016, INTEL},
    {MSR_IA32_VMX_PROCBASED_CTLS, false, 0xfff9fffe0401e172, INTEL},
    {MSR_IA32_VMX_EXIT_CTLS, false, 0x007fffff00036dff, INTEL},
    {MSR_IA32_VMX_ENTRY_CTLS, false, 0x0000ffff000011ff, INTEL},
    {MSR_IA32_VMX_MISC, false, 0x00000000000401e5, INTEL},
    {MSR_IA32_VMX_CR0_FIXED0, false, 0x80000021, INTEL},
    {MSR_IA32_VMX_CR0_FIXED1, false, 0xffffffff, INTEL},
    {MSR_IA32_VMX_CR4_FIXED0, false, 0x2000, INTEL},
    {MSR_IA32_VMX_CR4_FIXED1, false, 0x00772fff, INTEL},
    {MSR_IA32_VMX_VMCS_ENUM, false, 0x2a, INTEL},
    {MSR_IA32_VMX_PROCBASED_CTLS2, false, 0x02977fff00000000, INTEL},
    {MSR_IA32_VMX_EPT_VPID_CAP, false, 0x00000f0106334141, INTEL},
    {MSR_IA32_VMX_TRUE_PINBASED_CTLS, false, 0x0000007f00000016, INTEL},
    {MSR_IA32_VMX_TRUE_PROCBASED_CTLS, false, 0xfff9fffe04006172, INTEL},
    {MSR_IA32_VMX_TRUE_EXIT_CTLS, false, 0x007fffff00036dfb, INTEL},
    {MSR_IA32_VMX_TRUE_ENTRY_CTLS, false, 0x0000ffff000011fb, INTEL},
    {MSR_IA32_VMX_VMFUNC, false, 1, INTEL},
    {MSR_AMD_VM_CR, true, 0, AMD},
    {MSR_AMD_VM_HSAVE_PA, true, 0, AMD},
    {MSR_AMD_TSC_RATIO, true, BIT64(32), AMD},
};

#define MSR_COUNT (sizeof(msrs) / sizeof(msrs[0]))
_Static_assert(MSR_COUNT <= FAKE_MSRS, "more MSRs than places for them");

static size_t msr_place(uint32_t index)
{
    for (size_t i = 0; i < MSR_COUNT; i++)
        if (msrs[i].index == index)
            return i;
    fake_fail("RDMSR or WRMSR of 0x%x: #GP, no such MSR", index);
}

uint64_t *fake_msr(uint32_t cpu, uint32_t index)
{
    return &cpus[cpu].msr[msr_place(index)];
}

void fake_set_msr(uint32_t index, uint64_t value)
{
    for (uint32_t cpu = 0; cpu < FAKE_MAX_CPUS; cpu++)
        *fake_msr(cpu, index) = value;
}

/* TSC_RATIO comes with the feature. */
static void require_msr(uint32_t index)
{
    enum vendor vendor = msrs[msr_place(index)].vendor;
    bool is_missing = index == MSR_AMD_TSC_RATIO && !fake_svm_has(CPUID_SVM_EDX_TSC_RATE);

    if (is_missing || (vendor != ANY && (vendor == AMD) != is_amd))
        fake_fail("RDMSR or WRMSR of 0x%x: #GP, this CPU does not have it", index);
}

uint64_t cpu_read_msr(uint32_t index)
{
    require_msr(index);
    fake_x86_counts.msr_reads++;
    return *fake_msr(fake_cpu(), index);
}

static bool is_canonical(uint64_t value)
{
    return (uint64_t)((int64_t)(value << 16) >> 16) == value;
}

void cpu_write_msr(uint32_t index, uint64_t value)
{
    struct fake_x86 *x = pinned();
    size_t place = msr_place(index);
    bool is_address = index == MSR_IA32_LSTAR || index == MSR_IA32_CSTAR || index == MSR_IA32_FS_BASE ||
                      index == MSR_IA32_GS_BASE || index == MSR_IA32_KERNEL_GS_BASE;

    require_msr(index);
    fake_gp(!msrs[place].writable, "WRMSR of a read-only MSR");
    fake_gp(is_address && !is_canonical(value), "WRMSR of an address that is not canonical");
    fake_gp(index == MSR_IA32_FEATURE_CONTROL && x->msr[place] & FEATURE_CONTROL_LOCK, "WRMSR of FEATURE_CONTROL");
    x->msr[place] = is_amd ? fake_svm_wrmsr(index, value) : value;
    fake_x86_counts.msr_writes++;
}

/* -------------------------------------------------------------------------------- CPUID */

struct leaf {
    uint32_t leaf, subleaf, regs[4]; /* EAX EBX ECX EDX */
};

static const struct leaf default_leaves[] = {
    {0x0, 0, {0x16, 0x756e6547, 0x6c65746e, 0x49656e69}},       /* GenuineIntel */
    {0x1, 0, {0x000706e5, 0x00010800, 0x7ffafbbf, 0xbfebfbff}}, /* VMX is ECX bit 5 */
    {0x7, 0, {0x0, 0x219c07ab, 0x00000004, 0x00000000}},        /* no AVX-512, no 5-level paging */
    {0xd, 0, {0x7, 0x0, 0x340, 0x0}},                           /* x87, SSE, AVX */
    {0xd, 1, {0x7, 0x0, 0x0, 0x0}},                             /* XSAVEOPT, XSAVEC, XGETBV1 */
    {0xd, 2, {0x100, 0x240, 0x0, 0x0}},                         /* AVX: 256 bytes at 576 */
    {0x15, 0, {0x2, 0xa0, 25000000, 0x0}},                      /* 25 MHz * 160 / 2 */
    {0x16, 0, {0x7d0, 0x7d0, 0x64, 0x0}},                       /* 2000 MHz */
    {0x80000000, 0, {0x80000008, 0x0, 0x0, 0x0}},               /* up to the address widths */
    {0x80000001, 0, {0x0, 0x0, 0x00000121, 0x2c100800}},        /* RDTSCP, 1G pages, long mode */
    {0x80000006, 0, {0x0, 0x0, 0x01007040, 0x0}},               /* L2 */
    {0x80000007, 0, {0x0, 0x0, 0x0, 0x100}},                    /* invariant TSC */
    {0x80000008, 0, {0x3027, 0x0, 0x0, 0x0}},                   /* 39 physical, 48 linear address bits */
};

/* Those that differ; the rest is as above. */
static const struct leaf amd_leaves[] = {
    {0x0, 0, {0xd, 0x68747541, 0x444d4163, 0x69746e65}},        /* AuthenticAMD */
    {0x1, 0, {0x00a20f12, 0x00010800, 0x7edafb93, 0xbfebfbff}}, /* no VMX, SMX, x2APIC, TSC deadline */
    {0x80000000, 0, {0x8000000a, 0x68747541, 0x444d4163, 0x69746e65}},
    {0x80000001, 0, {0x00a20f12, 0x0, 0x00000125, 0x2c100800}}, /* SVM is ECX bit 2 */
    {0x80000008, 0, {0x3028, 0x0, 0x0, 0x0}},                   /* 40 physical, 48 linear address bits */
};

#define LEAVES_MAX 32

static struct leaf leaves[LEAVES_MAX];
static unsigned leaf_count;

static struct leaf *find_leaf(uint32_t leaf, uint32_t subleaf)
{
    for (unsigned i = 0; i < leaf_count; i++)
        if (leaves[i].leaf == leaf && leaves[i].subleaf == subleaf)
            return &leaves[i];
    return NULL;
}

void fake_set_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t eax, uint32_t ebx, uint32_t ecx, uint32_t edx)
{
    struct leaf *l = find_leaf(leaf, subleaf);

    fake_require(l || leaf_count < LEAVES_MAX, "fake_set_cpuid: too many leaves");
    if (!l)
        l = &leaves[leaf_count++];
    *l = (struct leaf){leaf, subleaf, {eax, ebx, ecx, edx}};
}

static bool has_subleaves(uint32_t leaf)
{
    return leaf == CPUID_LEAF_EXT_FEATURES || leaf == CPUID_LEAF_XSAVE;
}

void cpu_insn_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
    const struct leaf *l = find_leaf(leaf, has_subleaves(leaf) ? subleaf : 0);
    const struct fake_x86 *x = fake_x86_here();

    fake_x86_counts.cpuids++;
    memset(out, 0, 4 * sizeof(out[0]));
    if (!l)
        return;
    memcpy(out, l->regs, sizeof(l->regs));
    if (leaf == CPUID_LEAF_FEATURES && !(x->cr4 & CR4_OSXSAVE))
        out[2] &= ~CPUID_1_ECX_OSXSAVE;
    if (leaf == CPUID_LEAF_XSAVE && subleaf == 0)
        out[1] = x->xcr0 & XCR0_AVX ? 0x340 : 0x240;
}

void fake_set_tsc(uint64_t value)
{
    tsc = value;
}

void fake_skew_tsc(uint32_t cpu, int64_t ahead)
{
    skew[cpu] = ahead;
}

void cpu_load_fence(void)
{
}

void (*fake_on_flush_line)(const volatile void *p);

void cpu_flush_line(const volatile void *p)
{
    if (fake_on_flush_line)
        fake_on_flush_line(p);
}

/* A unit that looks in between would see neither the old nor the new pair. */
void cpu_write_pair(uint64_t p[2], uint64_t low, uint64_t high)
{
    fake_gp((uintptr_t)p % 16, "cmpxchg16b");
    p[0] = low;
    p[1] = high;
}

uint64_t cpu_insn_rdtsc(void)
{
    fake_x86_counts.tscs++;
    return __atomic_fetch_add(&tsc, 100, __ATOMIC_RELAXED) + (uint64_t)skew[fake_cpu()];
}

/* ------------------------------------------------------------- control and debug registers */

uint64_t cpu_read_cr0(void)
{
    return pinned()->cr0;
}

uint64_t cpu_read_cr3(void)
{
    return pinned()->cr3;
}

uint64_t cpu_read_cr4(void)
{
    return fake_x86_here()->cr4;
}

/* In VMX operation the fixed bits hold for the host too (SDM 3C 24.8). */
static bool is_allowed(uint64_t value, uint32_t fixed0, uint32_t fixed1)
{
    uint32_t cpu = fake_cpu();

    return !fake_vmx_is_on(cpu) || (!(*fake_msr(cpu, fixed0) & ~value) && !(value & ~*fake_msr(cpu, fixed1)));
}

void cpu_write_cr0(uint64_t v)
{
    fake_gp(v & ~CR0_DEFINED || !(v & CR0_PE) || !(v & CR0_PG), "MOV to CR0");
    fake_gp(!is_allowed(v, MSR_IA32_VMX_CR0_FIXED0, MSR_IA32_VMX_CR0_FIXED1), "MOV to CR0 in VMX operation");
    pinned()->cr0 = v;
}

void cpu_write_cr4(uint64_t v)
{
    uint64_t lacks = is_amd ? CR4_VMXE | CR4_SMXE : 0;

    fake_gp(v & (~*fake_msr(fake_cpu(), MSR_IA32_VMX_CR4_FIXED1) | lacks) || !(v & CR4_PAE), "MOV to CR4");
    fake_gp(!is_allowed(v, MSR_IA32_VMX_CR4_FIXED0, MSR_IA32_VMX_CR4_FIXED1), "MOV to CR4 in VMX operation");
    pinned()->cr4 = v;
}

void cpu_clear_ts(void)
{
    pinned()->cr0 &= ~CR0_TS;
}

#define DEBUG_REGISTER(name, field, reserved)    \
    uint64_t cpu_read_##name(void)               \
    {                                            \
        return pinned()->field;                  \
    }                                            \
    void cpu_write_##name(uint64_t v)            \
    {                                            \
        fake_gp(v &(reserved), "MOV to " #name); \
        fake_x86_counts.dr_writes++;             \
        pinned()->field = v;                     \
    }
DEBUG_REGISTER(dr0, dr[0], 0)
DEBUG_REGISTER(dr1, dr[1], 0)
DEBUG_REGISTER(dr2, dr[2], 0)
DEBUG_REGISTER(dr3, dr[3], 0)
DEBUG_REGISTER(dr6, dr6, DR6_RESERVED)
DEBUG_REGISTER(dr7, dr7, DR7_RESERVED)

/* ----------------------------------------------------------------- segments and their tables */

struct cpu_table_register cpu_read_gdtr(void)
{
    return pinned()->gdtr;
}

struct cpu_table_register cpu_read_idtr(void)
{
    return pinned()->idtr;
}

void cpu_write_gdtr(struct cpu_table_register t)
{
    pinned()->gdtr = t;
}

void cpu_write_idtr(struct cpu_table_register t)
{
    pinned()->idtr = t;
}

#define READ_SELECTOR(name)        \
    uint16_t cpu_read_##name(void) \
    {                              \
        return pinned()->name;     \
    }
READ_SELECTOR(es)
READ_SELECTOR(cs)
READ_SELECTOR(ss)
READ_SELECTOR(ds)
READ_SELECTOR(fs)
READ_SELECTOR(gs)
READ_SELECTOR(tr)
READ_SELECTOR(ldtr)

/* Bits 47:40 of a descriptor: type, S, DPL, P. NULL selector: 0. */
static uint64_t descriptor(const struct fake_x86 *x, uint16_t selector, unsigned size, const char *instruction)
{
    const uint64_t *gdt = (const uint64_t *)x->gdtr.base;

    if (selector < 4)
        return 0;
    fake_gp(selector & SEL_TI || (selector & ~7u) + size - 1 > x->gdtr.limit, instruction);
    return gdt[selector / 8];
}

#define DESCRIPTOR_TYPE BITS64(43, 40)
#define DESCRIPTOR_S    BIT64(44)
#define DESCRIPTOR_P    BIT64(47)
#define DESCRIPTOR_BUSY BIT64(41)

static uint16_t load_data(uint16_t selector, const char *instruction)
{
    uint64_t d = descriptor(pinned(), selector, 8, instruction);

    fake_gp(d && (!(d & DESCRIPTOR_S) || !(d & DESCRIPTOR_P)), instruction);
    return selector;
}

void cpu_load_es(uint16_t selector)
{
    pinned()->es = load_data(selector, "MOV to ES");
}

void cpu_load_ds(uint16_t selector)
{
    pinned()->ds = load_data(selector, "MOV to DS");
}

/* The base in the GDT's data descriptor is 0. */
void cpu_load_fs(uint16_t selector)
{
    pinned()->fs = load_data(selector, "MOV to FS");
    *fake_msr(fake_cpu(), MSR_IA32_FS_BASE) = 0;
}

void cpu_load_gs(uint16_t selector)
{
    fake_require(!fake_irqs_on(), "MOV to GS: interrupts are on while the host's GS base is lost");
    pinned()->gs = load_data(selector, "MOV to GS");
    *fake_msr(fake_cpu(), MSR_IA32_GS_BASE) = 0;
}

void cpu_load_ldtr(uint16_t selector)
{
    uint64_t d = descriptor(pinned(), selector, 16, "LLDT");

    fake_gp(d && FIELD_GET(DESCRIPTOR_TYPE, d) != SEG_TYPE_LDT, "LLDT: not an LDT");
    pinned()->ldtr = selector;
}

static uint32_t descriptor_limit(uint64_t d)
{
    return (uint32_t)(FIELD_GET(BITS64(15, 0), d) | FIELD_GET(BITS64(51, 48), d) << 16);
}

void cpu_load_tr(uint16_t selector)
{
    struct fake_x86 *x = pinned();
    uint64_t d = descriptor(x, selector, 16, "LTR");
    const uint64_t *gdt = (const uint64_t *)x->gdtr.base;

    fake_gp(FIELD_GET(DESCRIPTOR_TYPE, d) != SEG_TYPE_TSS_AVAIL || !(d & DESCRIPTOR_P), "LTR: not an available TSS");
    ((uint64_t *)x->gdtr.base)[selector / 8] |= DESCRIPTOR_BUSY;
    x->tr = selector;
    x->tr_limit = descriptor_limit(d);
    x->tr_base = FIELD_GET(BITS64(39, 16), d) | FIELD_GET(BITS64(63, 56), d) << 24 | gdt[selector / 8 + 1] << 32;
}

uint32_t cpu_segment_limit(uint16_t selector)
{
    return descriptor_limit(descriptor(pinned(), selector, 8, "LSL"));
}

void cpu_call_nmi_handler(void)
{
    pinned()->nmis++;
}

void cpu_call_machine_check_handler(void)
{
    pinned()->machine_checks++;
}

void cpu_call_interrupt_handler(uint8_t vector)
{
    (void)pinned();
    fake_require(!fake_irqs_on(), "INT n for the host's interrupt: interrupts are on");
    fake_require(fake_irq_raise(vector), "INT n for the host's interrupt: the vector is nobody's");
}

/* ------------------------------------------------------------------------- extended state */

#define MXCSR_AT      24
#define SSE_AT        160
#define SSE_END       416
#define HEADER_AT     512
#define AVX_AT        576
#define MXCSR_INITIAL 0x1f80u
#define FCW_INITIAL   0x037fu

static void check_fpu(const struct fake_x86 *x, const void *image, unsigned alignment, bool is_xsave)
{
    fake_require(!is_xsave || x->cr4 & CR4_OSXSAVE, "XSAVE without CR4.OSXSAVE: #UD");
    fake_require(!(x->cr0 & CR0_TS), "FPU state used with CR0.TS: #NM");
    fake_gp((uintptr_t)image % alignment, "XSAVE, XRSTOR, FXSAVE or FXRSTOR of an unaligned image");
}

/* XGETBV and XSETBV go by CR4 alone (SDM 2D). */
uint64_t cpu_read_xcr0(void)
{
    fake_require(pinned()->cr4 & CR4_OSXSAVE, "XCR0 without CR4.OSXSAVE: #UD");
    return pinned()->xcr0;
}

void cpu_write_xcr0(uint64_t value)
{
    fake_require(pinned()->cr4 & CR4_OSXSAVE, "XCR0 without CR4.OSXSAVE: #UD");
    fake_gp(!(value & XCR0_X87) || (value & XCR0_AVX && !(value & XCR0_SSE)), "XSETBV");
    fake_gp(value & ~(XCR0_X87 | XCR0_SSE | XCR0_AVX | XCR0_PKRU), "XSETBV of a component that the CPU lacks");
    pinned()->xcr0 = value;
    fake_x86_counts.xcr0_writes++;
}

/* Copies what `components` name between two FXSAVE images. */
static void copy_legacy(uint8_t *to, const uint8_t *from, uint64_t components)
{
    if (components & XCR0_X87) {
        memcpy(to, from, MXCSR_AT);
        memcpy(to + 32, from + 32, SSE_AT - 32);
    }
    if (components & XCR0_SSE)
        memcpy(to + SSE_AT, from + SSE_AT, SSE_END - SSE_AT);
    if (components & (XCR0_SSE | XCR0_AVX))
        memcpy(to + MXCSR_AT, from + MXCSR_AT, 8);
}

void cpu_xsave(void *image, uint64_t mask)
{
    const struct fake_x86 *x = pinned();
    uint64_t saved = mask & x->xcr0, header;
    uint8_t *bytes = image;

    check_fpu(x, image, 64, true);
    copy_legacy(bytes, x->fxsave, saved);
    if (saved & XCR0_AVX)
        memcpy(bytes + AVX_AT, x->avx, sizeof(x->avx));
    memcpy(&header, bytes + HEADER_AT, 8);
    header = (header & ~saved) | (x->xinuse & saved);
    memcpy(bytes + HEADER_AT, &header, 8);
    fake_x86_counts.xsaves++;
}

static void init_components(struct fake_x86 *x, uint64_t components)
{
    static const uint16_t fcw = FCW_INITIAL;
    uint8_t zeros[512] = {0};

    memcpy(zeros + MXCSR_AT, x->fxsave + MXCSR_AT, 8); /* not a part of the initial state */
    memcpy(zeros, &fcw, sizeof(fcw));
    copy_legacy(x->fxsave, zeros, components);
    if (components & XCR0_AVX)
        memset(x->avx, 0, sizeof(x->avx));
}

void cpu_xrstor(const void *image, uint64_t mask)
{
    struct fake_x86 *x = pinned();
    const uint8_t *bytes = image;
    uint64_t loaded = mask & x->xcr0, header[8];
    uint32_t mxcsr;

    check_fpu(x, image, 64, true);
    memcpy(header, bytes + HEADER_AT, sizeof(header));
    fake_gp(header[0] & ~x->xcr0, "XRSTOR: XSTATE_BV has components that are not in XCR0");
    for (unsigned i = 1; i < 8; i++)
        fake_gp(header[i], "XRSTOR: XCOMP_BV or reserved bytes of the header are not 0");
    memcpy(&mxcsr, bytes + MXCSR_AT, 4);
    fake_gp(loaded & (XCR0_SSE | XCR0_AVX) && mxcsr >> 16, "XRSTOR: reserved bits of MXCSR");
    init_components(x, loaded & ~header[0]);
    copy_legacy(x->fxsave, bytes, loaded & header[0]);
    if (loaded & (XCR0_SSE | XCR0_AVX))
        memcpy(x->fxsave + MXCSR_AT, bytes + MXCSR_AT, 8);
    if (loaded & header[0] & XCR0_AVX)
        memcpy(x->avx, bytes + AVX_AT, sizeof(x->avx));
    x->xinuse = (x->xinuse & ~loaded) | (header[0] & loaded);
    fake_x86_counts.xrstors++;
}

void cpu_fxsave(void *image)
{
    check_fpu(pinned(), image, 16, false);
    memcpy(image, pinned()->fxsave, SSE_END);
    fake_x86_counts.xsaves++;
}

void cpu_fxrstor(const void *image)
{
    check_fpu(pinned(), image, 16, false);
    memcpy(pinned()->fxsave, image, SSE_END);
    fake_x86_counts.xrstors++;
}

void cpu_read_xmm(uint64_t to[12])
{
    memcpy(to, pinned()->fxsave + 160, 6 * 16);
}

/* --------------------------------------------------------------------------- all of it */

/* clang-format off */
#define FIELD(name) {#name, offsetof(struct fake_x86, name), sizeof(cpus[0].name)}
static const struct {
    const char *name;
    size_t offset, size;
} fields[] = {
    FIELD(cr0), FIELD(cr3), FIELD(cr4), FIELD(dr), FIELD(dr6), FIELD(dr7), FIELD(xcr0), FIELD(xinuse), FIELD(gdtr),
    FIELD(idtr), FIELD(es), FIELD(cs), FIELD(ss), FIELD(ds), FIELD(fs), FIELD(gs), FIELD(tr), FIELD(ldtr),
    FIELD(tr_limit), FIELD(tr_base), FIELD(gdt), FIELD(fxsave), FIELD(avx), FIELD(pkru), FIELD(nmis),
    FIELD(machine_checks),
};
/* clang-format on */

/* What XCR0 leaves out can not be used, and so is nobody's. */
static struct fake_x86 usable(const struct fake_x86 *x)
{
    struct fake_x86 copy = *x;

    copy.xinuse &= x->xcr0;
    if (!(x->xcr0 & XCR0_AVX))
        memset(copy.avx, 0, sizeof(copy.avx));
    return copy;
}

const char *fake_x86_difference(const struct fake_x86 *before, const struct fake_x86 *after)
{
    const struct fake_x86 first = usable(before), second = usable(after), *a = &first, *b = &second;
    static char name[24];

    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        if (memcmp((const char *)a + fields[i].offset, (const char *)b + fields[i].offset, fields[i].size))
            return fields[i].name;
    for (size_t i = 0; i < MSR_COUNT; i++)
        if (a->msr[i] != b->msr[i]) {
            snprintf(name, sizeof(name), "MSR 0x%x", msrs[i].index);
            return name;
        }
    return NULL;
}

/* A system descriptor of 16 bytes. */
static void put_system_descriptor(uint64_t *at, uint64_t base, uint32_t limit, uint64_t type)
{
    at[0] = (limit & 0xffff) | FIELD_PUT(BITS64(39, 16), base) | FIELD_PUT(DESCRIPTOR_TYPE, type) | DESCRIPTOR_P |
            FIELD_PUT(BITS64(51, 48), limit >> 16) | FIELD_PUT(BITS64(63, 56), base >> 24);
    at[1] = base >> 32;
}

static void set_tss(struct fake_x86 *x, uint32_t limit)
{
    put_system_descriptor(&x->gdt[FAKE_SEL_TSS / 8], x->tr_base, limit, SEG_TYPE_TSS_BUSY);
    x->tr_limit = limit;
}

static void reset_segments(struct fake_x86 *x, uint32_t cpu)
{
    x->gdt[FAKE_SEL_CODE / 8] = 0x00af9b000000ffff;
    x->gdt[FAKE_SEL_DATA / 8] = 0x00cf93000000ffff;
    x->tr_base = 0xffff888012345000 + cpu * 0x1000u;
    set_tss(x, 0x67);
    put_system_descriptor(&x->gdt[FAKE_SEL_LDT / 8], 0xffff888000030000, 0xfff, SEG_TYPE_LDT);
    x->gdtr = (struct cpu_table_register){.limit = sizeof(x->gdt) - 1, .base = (uintptr_t)x->gdt};
    x->idtr = (struct cpu_table_register){.limit = 0xfff, .base = 0xfffffe0000000000};
    x->cs = FAKE_SEL_CODE;
    x->ss = FAKE_SEL_DATA;
    x->tr = FAKE_SEL_TSS;
}

static void reset_one(struct fake_x86 *x, uint32_t cpu)
{
    memset(x, 0, sizeof(*x));
    x->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG;
    x->cr3 = 0x1000;
    x->cr4 = CR4_PAE | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE;
    x->dr6 = DR6_RESET;
    x->dr7 = DR7_RESET;
    x->xcr0 = x->xinuse = XCR0_X87 | XCR0_SSE | XCR0_AVX;
    for (size_t i = 0; i < MSR_COUNT; i++)
        x->msr[i] = msrs[i].initial;
    *fake_msr(cpu, MSR_IA32_GS_BASE) += cpu * 0x1000u;
    *fake_msr(cpu, MSR_IA32_TSC_AUX) = cpu;
    reset_segments(x, cpu);
    memset(x->fxsave, 0x11, SSE_END);
    memset(x->avx, 0x22, sizeof(x->avx));
    memset(x->pkru, 0x33, sizeof(x->pkru));
    memcpy(x->fxsave + MXCSR_AT, (uint32_t[]){MXCSR_INITIAL, 0xffff}, 8);
}

void fake_x86_make_unusual(uint32_t cpu)
{
    struct fake_x86 *x = &cpus[cpu];

    x->cr0 |= CR0_TS;
    x->cr4 |= CR4_DE;
    x->xcr0 = XCR0_X87 | XCR0_SSE | XCR0_PKRU;
    x->es = x->ds = x->fs = x->gs = FAKE_SEL_DATA;
    x->ldtr = FAKE_SEL_LDT;
    set_tss(x, 0x2067);
    for (unsigned i = 0; i < 4; i++)
        x->dr[i] = 0x1000 * (i + 1);
    x->dr6 = DR6_RESET | DR6_B1;
    x->dr7 = DR7_RESET | DR7_G1;
    *fake_msr(cpu, MSR_IA32_DEBUGCTL) = 1;
}

void fake_x86_make_amd(void)
{
    for (size_t i = 0; i < ARRAY_COUNT(amd_leaves); i++) {
        const struct leaf *l = &amd_leaves[i];

        fake_set_cpuid(l->leaf, l->subleaf, l->regs[0], l->regs[1], l->regs[2], l->regs[3]);
    }
    is_amd = true;
}

void fake_x86_reset(void)
{
    is_amd = false;
    fake_on_flush_line = NULL;
    for (uint32_t cpu = 0; cpu < FAKE_MAX_CPUS; cpu++)
        reset_one(&cpus[cpu], cpu);
    memcpy(leaves, default_leaves, sizeof(default_leaves));
    leaf_count = sizeof(default_leaves) / sizeof(default_leaves[0]);
    tsc = 1000000;
    memset(skew, 0, sizeof(skew));
    fake_x86_counts = (struct fake_x86_counts){0};
}
