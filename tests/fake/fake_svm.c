/* SPDX-License-Identifier: MIT */
/* SVM on the fake CPUs. */
#include "fake_svm.h"
#include "arch/x86_64/svm/svm.h"
#include "arch/x86_64/svm/svm_audit.h"
#include <arch/bits/apic.h>
#include <arch/bits/cr.h>
#include <arch/bits/msr.h>
#include <arch/bits/seg.h>
#include <arch/svm_insn.h>
#include <string.h>

#define VMCB_MAX  256
#define STEPS_MAX 64
#define GARBAGE   0xa5a5a5a5a5a5a5a5ull /* what an exit leaves undefined */

/* A VMCB that has run, and what the CPU that ran it may have kept. */
struct fake_ran {
    hv_hpa_t pa; /* 0: free */
    uint32_t cpu;
    struct vmcb kept;
};

/* Whose translations a CPU's TLB may have under an ASID. */
struct fake_tag {
    hv_hpa_t vmcb; /* 0: nobody's */
    uint64_t generation, root;
    bool left;       /* the vcpu has run on another CPU since */
    hv_gpa_t avic;   /* what AVIC took over when they were made; 0: nothing */
    bool apic_shows; /* the page where APICs are is among them */
};

struct fake_svm_counts fake_svm_counts;

static bool is_amd;
static struct fake_ran ran[VMCB_MAX];
static struct fake_tag tags[FAKE_MAX_CPUS][FAKE_SVM_ASIDS];
static struct vmcb *current, entered;
static struct fake_svm_step steps[STEPS_MAX];
static unsigned step_next, step_count;
static bool refusal_expected;

/* ---------------------------------------------------------------------------- what the CPU is */

void fake_svm_make(uint32_t features)
{
    fake_require((features & ~(FAKE_SVM_FEATURES | CPUID_SVM_EDX_X2AVIC)) == 0,
                 "fake_svm_make: features that the model does not know");
    is_amd = true;
    fake_x86_make_amd();
    fake_set_cpuid(CPUID_LEAF_SVM, 0, 1, FAKE_SVM_ASIDS, 0, features | CPUID_SVM_EDX_NP);
}

static uint32_t svm_leaf(unsigned reg)
{
    uint32_t out[4];
    uint64_t count = fake_x86_counts.cpuids;

    cpu_insn_cpuid(CPUID_LEAF_SVM, 0, out);
    fake_x86_counts.cpuids = count;
    return out[reg];
}

bool fake_svm_has(uint32_t feature)
{
    return is_amd && svm_leaf(3) & feature;
}

bool fake_svm_is_on(uint32_t cpu)
{
    return is_amd && *fake_msr(cpu, MSR_IA32_EFER) & EFER_SVME;
}

static hv_hpa_t address_mask(void)
{
    uint32_t out[4];

    cpu_insn_cpuid(CPUID_LEAF_ADDRESS_WIDTHS, 0, out);
    return BITS64((out[0] & 0xff) - 1, 0);
}

/* ------------------------------------------------------------------------------------- MSRs */

#define EFER_WRITABLE (EFER_SCE | EFER_NXE | EFER_SVME | EFER_LMSLE | EFER_FFXSR | EFER_TCE)

static uint64_t write_efer(uint32_t cpu, uint64_t value)
{
    const uint64_t kept = EFER_LME | EFER_LMA; /* paging is on */

    fake_gp(value & ~(EFER_WRITABLE | kept) || (value & kept) != kept, "WRMSR of EFER");
    fake_gp(value & EFER_SVME && *fake_msr(cpu, MSR_AMD_VM_CR) & VM_CR_SVMDIS, "WRMSR of EFER.SVME, SVM is disabled");
    return value;
}

/* APM 2 15.30.1: the lock keeps itself and the switch as they are. */
static uint64_t write_vm_cr(uint32_t cpu, uint64_t value)
{
    uint64_t old = *fake_msr(cpu, MSR_AMD_VM_CR), locked = old & VM_CR_LOCK ? VM_CR_LOCK | VM_CR_SVMDIS : 0;

    fake_gp(value & ~BITS64(4, 0), "WRMSR of VM_CR");
    value = (value & ~locked) | (old & locked);
    fake_gp(value & VM_CR_SVMDIS && fake_svm_is_on(cpu), "WRMSR of VM_CR.SVMDIS with SVM on");
    return value;
}

uint64_t fake_svm_wrmsr(uint32_t index, uint64_t value)
{
    uint32_t cpu = fake_cpu();

    switch (index) {
    case MSR_IA32_EFER:
        return write_efer(cpu, value);
    case MSR_AMD_VM_CR:
        return write_vm_cr(cpu, value);
    case MSR_AMD_VM_HSAVE_PA:
        fake_gp(value % HV_PAGE_SIZE || value & ~address_mask(), "WRMSR of VM_HSAVE_PA");
        return value;
    case MSR_AMD_TSC_RATIO:
        fake_gp(value >> 40 || !value, "WRMSR of TSC_RATIO");
        return value;
    default:
        return value;
    }
}

/* ----------------------------------------------------------- VMLOAD and VMSAVE, APM 3 chapter 4 */

/* What of FS, GS, TR and LDTR fake_x86 does not have: limits and attributes. */
static struct hidden {
    struct vmcb_segment fs, gs, tr, ldtr;
} hidden[FAKE_MAX_CPUS];

static const struct {
    uint32_t msr;
    size_t offset;
} moved_msrs[] = {
    {MSR_IA32_STAR, offsetof(struct vmcb, star)},
    {MSR_IA32_LSTAR, offsetof(struct vmcb, lstar)},
    {MSR_IA32_CSTAR, offsetof(struct vmcb, cstar)},
    {MSR_IA32_FMASK, offsetof(struct vmcb, sfmask)},
    {MSR_IA32_KERNEL_GS_BASE, offsetof(struct vmcb, kernel_gs_base)},
    {MSR_IA32_SYSENTER_CS, offsetof(struct vmcb, sysenter_cs)},
    {MSR_IA32_SYSENTER_ESP, offsetof(struct vmcb, sysenter_esp)},
    {MSR_IA32_SYSENTER_EIP, offsetof(struct vmcb, sysenter_eip)},
};

static struct vmcb *page_of(hv_hpa_t pa, const char *instruction)
{
    uint32_t cpu = hv_host_cpu_id();
    void *page = pa % HV_PAGE_SIZE ? NULL : hv_host_phys_to_virt(pa);

    if (!fake_svm_is_on(cpu))
        fake_fail("%s: #UD, CPU %u has EFER.SVME off", instruction, cpu);
    if (!page)
        fake_fail("%s of 0x%llx: not a page", instruction, (unsigned long long)pa);
    return page;
}

static uint64_t *word_at(struct vmcb *vmcb, size_t offset)
{
    return (uint64_t *)((char *)vmcb + offset);
}

static void vmsave(struct vmcb *to)
{
    const struct fake_x86 *x = fake_x86_here();
    uint32_t cpu = fake_cpu();
    struct hidden *h = &hidden[cpu];

    h->fs.selector = x->fs;
    h->fs.base = *fake_msr(cpu, MSR_IA32_FS_BASE);
    h->gs.selector = x->gs;
    h->gs.base = *fake_msr(cpu, MSR_IA32_GS_BASE);
    h->ldtr.selector = x->ldtr;
    h->tr.selector = x->tr;
    h->tr.base = x->tr_base;
    h->tr.limit = x->tr_limit;
    to->fs = h->fs;
    to->gs = h->gs;
    to->ldtr = h->ldtr;
    to->tr = h->tr;
    for (size_t i = 0; i < ARRAY_COUNT(moved_msrs); i++)
        *word_at(to, moved_msrs[i].offset) = *fake_msr(cpu, moved_msrs[i].msr);
}

static void vmload(struct vmcb *from)
{
    struct fake_x86 *x = fake_x86_here();
    uint32_t cpu = fake_cpu();

    hidden[cpu] = (struct hidden){from->fs, from->gs, from->tr, from->ldtr};
    x->fs = from->fs.selector;
    *fake_msr(cpu, MSR_IA32_FS_BASE) = from->fs.base;
    x->gs = from->gs.selector;
    *fake_msr(cpu, MSR_IA32_GS_BASE) = from->gs.base;
    x->ldtr = from->ldtr.selector;
    x->tr = from->tr.selector;
    x->tr_base = from->tr.base;
    x->tr_limit = from->tr.limit;
    for (size_t i = 0; i < ARRAY_COUNT(moved_msrs); i++)
        *fake_msr(cpu, moved_msrs[i].msr) = *word_at(from, moved_msrs[i].offset);
}

void svm_vmsave(hv_hpa_t page)
{
    vmsave(page_of(page, "VMSAVE"));
    fake_svm_counts.vmsaves++;
}

/* -------------------------------------------------------------------------- VMCBs and clean bits */

static struct fake_ran *find_ran(hv_hpa_t pa)
{
    for (size_t i = 0; i < VMCB_MAX; i++)
        if (ran[i].pa == pa)
            return &ran[i];
    return NULL;
}

uint32_t fake_svm_vmcb_cpu(hv_hpa_t vmcb_pa)
{
    const struct fake_ran *r = find_ran(vmcb_pa);

    return r ? r->cpu : HV_CPU_NONE;
}

#define PART(name, first, last)                                                                            \
    {                                                                                                      \
        name, offsetof(struct vmcb, first), offsetof(struct vmcb, last) + sizeof(((struct vmcb *)0)->last) \
    }
/* clang-format off */
/* APM 2 15.15.3: what a clean bit says of a VMCB: these fields are as they were when the last run ended. */
static const struct {
    uint32_t clean;
    struct { const char *name; size_t first, end; } parts[4];
} clean_fields[] = {
    {CLEAN_INTERCEPTS, {PART("intercepts", cr_reads, intercepts), PART("the PAUSE filter", pause_threshold, pause_count),
                        PART("the TSC offset", tsc_offset, tsc_offset)}},
    {CLEAN_MAPS,       {PART("permission maps", iopm_pa, msrpm_pa)}},
    {CLEAN_ASID,       {PART("the ASID", asid, asid)}},
    {CLEAN_V_INTR,     {PART("virtual interrupts", v_intr, v_intr_vector)}},
    {CLEAN_NESTED,     {PART("nested paging", nested_control, nested_control), PART("the nested CR3", nested_cr3, nested_cr3),
                        PART("G_PAT", g_pat, g_pat)}},
    {CLEAN_CR,         {PART("EFER", efer, efer), PART("CR0, CR3, CR4", cr4, cr0)}},
    {CLEAN_DR,         {PART("DR6, DR7", dr7, dr6)}},
    {CLEAN_TABLES,     {PART("GDTR", gdtr, gdtr), PART("IDTR", idtr, idtr)}},
    {CLEAN_SEGMENTS,   {PART("ES, CS, SS, DS", es, ds), PART("CPL", cpl, cpl)}},
    {CLEAN_CR2,        {PART("CR2", cr2, cr2)}},
    {CLEAN_LBR,        {PART("DBGCTL and LBRs", dbgctl, last_excp_to)}},
    {CLEAN_AVIC,       {PART("AVIC_BAR", avic_bar, avic_bar), PART("the AVIC backing page", avic_backing_page, avic_backing_page),
                        PART("AVIC tables", avic_logical_table, avic_physical_table)}},
};
/* clang-format on */

static void check_clean_fields(const struct vmcb *kept, const struct vmcb *vmcb, size_t i)
{
    for (size_t k = 0; k < ARRAY_COUNT(clean_fields[i].parts) && clean_fields[i].parts[k].name; k++) {
        size_t first = clean_fields[i].parts[k].first, size = clean_fields[i].parts[k].end - first;

        if (memcmp((const char *)kept + first, (const char *)vmcb + first, size))
            fake_fail("VMRUN: clean bit 0x%x is set, but %s changed since the last run", clean_fields[i].clean,
                      clean_fields[i].parts[k].name);
    }
}

static void check_clean_bits(const struct svm_vcpu *svm)
{
    const struct fake_ran *r = find_ran(svm->vmcb_pa);
    const struct vmcb *vmcb = svm->vmcb;

    if (!fake_svm_has(CPUID_SVM_EDX_VMCB_CLEAN) || !vmcb->clean)
        return;
    fake_require(!(vmcb->clean & ~CLEAN_ALL), "VMRUN: reserved clean bits are set");
    fake_require(r != NULL, "VMRUN: clean bits are set, but the VMCB never ran");
    fake_require(r->cpu == fake_cpu(), "VMRUN: clean bits are set, but the VMCB ran on another CPU last");
    for (size_t i = 0; i < ARRAY_COUNT(clean_fields); i++)
        if (vmcb->clean & clean_fields[i].clean)
            check_clean_fields(&r->kept, vmcb, i);
}

static void keep(const struct svm_vcpu *svm)
{
    struct fake_ran *r = find_ran(svm->vmcb_pa);

    if (!r)
        r = find_ran(0);
    fake_require(r != NULL, "too many VMCBs");
    *r = (struct fake_ran){svm->vmcb_pa, fake_cpu(), *svm->vmcb};
}

void fake_svm_page_freed(hv_hpa_t pa)
{
    struct fake_ran *r = find_ran(pa);

    if (!is_amd)
        return;
    for (uint32_t cpu = 0; cpu < FAKE_MAX_CPUS; cpu++)
        fake_require(!fake_svm_is_on(cpu) || *fake_msr(cpu, MSR_AMD_VM_HSAVE_PA) != pa,
                     "freed: the host save area of a CPU that has SVM on");
    if (r)
        r->pa = 0;
    for (uint32_t cpu = 0; cpu < FAKE_MAX_CPUS; cpu++)
        for (unsigned asid = 0; asid < FAKE_SVM_ASIDS; asid++)
            if (tags[cpu][asid].vmcb == pa)
                tags[cpu][asid].vmcb = GARBAGE; /* translations stay, the vcpu does not */
}

/* ---------------------------------------------------------------------------------- the TLB */

static void flush(struct fake_tag *of_cpu, const struct vmcb *vmcb)
{
    switch (vmcb->tlb_control) {
    case TLB_KEEP:
        return;
    case TLB_FLUSH_ALL:
        memset(of_cpu, 0, sizeof(tags[0]));
        fake_svm_counts.flushes_all++;
        return;
    case TLB_FLUSH_ASID:
        fake_require(fake_svm_has(CPUID_SVM_EDX_FLUSH_ASID), "VMRUN: this CPU can not flush by ASID");
        of_cpu[vmcb->asid] = (struct fake_tag){0};
        fake_svm_counts.flushes_asid++;
        return;
    default:
        fake_fail("VMRUN: TLB_CONTROL is %u", vmcb->tlb_control);
    }
}

/* Elsewhere, what the vcpu has left in the TLB grows stale from now on: changes here do not reach it. */
static void leave_other_cpus(hv_hpa_t vmcb)
{
    for (uint32_t cpu = 0; cpu < FAKE_MAX_CPUS; cpu++)
        for (unsigned asid = 0; asid < FAKE_SVM_ASIDS; asid++)
            if (cpu != fake_cpu() && tags[cpu][asid].vmcb == vmcb)
                tags[cpu][asid].left = true;
}

/* ---------------------------------------------------------------------- AVIC, APM 2 15.29 */

#define AVIC_ID_RUNS BIT64(62)

static bool is_xavic(const struct vmcb *v)
{
    return (v->v_intr & (V_AVIC | V_X2AVIC)) == V_AVIC;
}

/* Do the nested tables let guests read and write this page? Their walk is one of a user's. */
static bool is_reachable(const struct vmcb *v, hv_gpa_t gpa)
{
    const uint64_t needed = PTE_P | PTE_RW | PTE_US;
    hv_hpa_t table = v->nested_cr3;

    for (unsigned level = 4; level > 0; level--) {
        const uint64_t *entries = (const void *)page_of(table & ~0xfffull, "nested paging");
        uint64_t entry = entries[gpa >> (12 + 9 * (level - 1)) & 511];

        if ((entry & needed) != needed)
            return false;
        if (entry & PTE_PS && level > 1)
            return true;
        table = entry & BITS64(51, 12);
    }
    return true;
}

static void check_avic_tables(const struct vmcb *v)
{
    const volatile uint32_t *page = (void *)page_of(v->avic_backing_page, "AVIC's backing page");
    const uint64_t *ids = (void *)page_of(v->avic_physical_table & BITS64(51, 12), "AVIC's table of physical IDs");
    uint32_t id = page[APIC_ID / 4] >> (v->v_intr & V_X2AVIC ? 0 : 24), max = v->avic_physical_table & 0xfff;

    page_of(v->avic_logical_table, "AVIC's table of logical IDs");
    fake_require(!(v->v_intr & V_IRQ), "VMRUN: AVIC ignores the virtual interrupt that is to exit");
    fake_require(id <= max && max < 512 && ids[id] == (AVIC_ID_VALID | v->avic_backing_page),
                 "VMRUN: the VP is not in AVIC's table");
    for (uint32_t i = 0; i <= max; i++)
        fake_require(!(ids[i] & AVIC_ID_RUNS), "VMRUN: AVIC would send a doorbell to a CPU");
}

static void check_apic_page(const struct svm_vcpu *svm, struct fake_tag *tag)
{
    const struct vcpu_controls *c = &svm->v.controls;
    const struct vmcb *vmcb = svm->vmcb;
    hv_gpa_t avic = is_xavic(vmcb) ? vmcb->avic_bar : 0;

    fake_require(tag->avic == avic, "VMRUN: translations from before AVIC took over a page, or left it");
    if (svm->v.apic_access_pa == HV_HPA_NONE)
        return;
    tag->apic_shows |= is_reachable(vmcb, APIC_DEFAULT_BASE);
    if (c->apic_mode == VCPU_APIC_XAPIC && (!avic || c->tpr_threshold))
        fake_require(!tag->apic_shows, "VMRUN: the guest may reach memory where its APIC is, or write TPR unseen");
}

static void check_avic(const struct svm_vcpu *svm)
{
    const struct vmcb *v = svm->vmcb;

    fake_require(!(v->v_intr & V_AVIC) || fake_svm_has(CPUID_SVM_EDX_AVIC), "VMRUN: this CPU has no AVIC");
    fake_require(!(v->v_intr & V_X2AVIC) || fake_svm_has(CPUID_SVM_EDX_X2AVIC), "VMRUN: this CPU has no x2AVIC");
    if (v->v_intr & V_AVIC)
        check_avic_tables(v);
}

/* ---------------------------------------------------------------------- the guest and its APIC */

static struct {
    uint64_t code, info1, info2; /* code 0: none */
    bool is_trap;
} apic_exit;

static volatile uint32_t *backing_page(void)
{
    return (void *)page_of(current->avic_backing_page, "AVIC's backing page");
}

/* Table 15-22, by offset / 16: what is read without an exit, and which writes exit after the instruction. */
static const struct {
    uint16_t first, last;
    bool read, trap;
} avic_registers[] = {
    {APIC_ID, APIC_ID, true, true},
    {APIC_VERSION, APIC_VERSION, true, false},
    {APIC_TPR, APIC_PPR, true, false},
    {APIC_EOI, APIC_SVR, true, true},
    {APIC_ISR, APIC_IRR + 0x70, true, false},
    {APIC_ESR, APIC_ESR, true, true},
    {APIC_ICR_LOW, APIC_TIMER_INIT, true, true},
    {APIC_TIMER_DIV, APIC_TIMER_DIV, true, true},
};

static bool is_in(uint32_t offset, bool trap)
{
    for (size_t i = 0; i < ARRAY_COUNT(avic_registers); i++)
        if (offset >= avic_registers[i].first && offset <= avic_registers[i].last)
            return trap ? avic_registers[i].trap : avic_registers[i].read;
    return false;
}

static void exit_avic(uint32_t offset, bool write, bool trap)
{
    apic_exit.code = EXIT_AVIC_NOACCEL;
    apic_exit.info1 = offset | (write ? AVIC_INFO_WRITE : 0);
    apic_exit.info2 = 0;
    apic_exit.is_trap = trap;
}

/* False: it is AVIC's. */
static bool faults(uint32_t offset, bool write)
{
    fake_require(offset % 16 == 0 && offset < HV_PAGE_SIZE, "fake_svm_apic: not a register");
    fake_require(!apic_exit.code, "fake_svm_apic: the guest has exited already");
    if (is_reachable(current, current->avic_bar)) {
        fake_require(is_xavic(current), "the guest reaches memory where its APIC is");
        return false;
    }
    apic_exit.code = EXIT_NPF;
    apic_exit.info1 = NPF_FINAL | NPF_USER | (write ? NPF_WRITE : 0);
    apic_exit.info2 = current->avic_bar + offset;
    apic_exit.is_trap = false;
    return true;
}

static void end_of_interrupt(volatile uint32_t *page)
{
    for (int v = 255; v >= 0; v--) {
        uint32_t i = (uint32_t)v / 32 * 4, bit = BIT32((uint32_t)v % 32);

        if (!(page[APIC_ISR / 4 + i] & bit))
            continue;
        if (page[APIC_TMR / 4 + i] & bit) {
            exit_avic(APIC_EOI, true, true);
            apic_exit.info2 = (uint64_t)v;
        } else {
            page[APIC_ISR / 4 + i] &= ~bit;
        }
        return;
    }
}

enum { IPI_BAD_TYPE, IPI_NOT_RUNNING, IPI_BAD_TARGET, IPI_BAD_PAGE, IPI_BAD_VECTOR };

static void exit_ipi(const volatile uint32_t *page, uint64_t why)
{
    apic_exit.code = EXIT_AVIC_INCOMPLETE_IPI;
    apic_exit.info1 = (uint64_t)page[APIC_ICR_HIGH / 4] << 32 | page[APIC_ICR_LOW / 4];
    apic_exit.info2 = why << 32;
    apic_exit.is_trap = true;
}

static void request_at(uint64_t entry, uint8_t vector)
{
    volatile uint32_t *page = (void *)page_of(entry & BITS64(51, 12), "an APIC in AVIC's table");

    page[(APIC_IRR + vector / 32u * 16) / 4] |= BIT32(vector % 32);
}

/* Invalid entries are an error for a single destination only. */
static void send_physical(const volatile uint32_t *page, uint32_t first, uint32_t last, const volatile uint32_t *but)
{
    const uint64_t *ids = (void *)page_of(current->avic_physical_table & BITS64(51, 12), "AVIC's table");
    uint8_t vector = (uint8_t)page[APIC_ICR_LOW / 4];
    bool sleeps = false;

    for (uint32_t i = first; i <= last; i++) {
        if (!(ids[i] & AVIC_ID_VALID) && first == last) {
            exit_ipi(page, IPI_BAD_TARGET);
            return;
        }
        if (!(ids[i] & AVIC_ID_VALID) || hv_host_phys_to_virt(ids[i] & BITS64(51, 12)) == but)
            continue;
        request_at(ids[i], vector);
        sleeps = true;
    }
    if (sleeps)
        exit_ipi(page, IPI_NOT_RUNNING);
}

static void send_logical(const volatile uint32_t *page, uint32_t destination)
{
    const uint32_t *ids = (void *)page_of(current->avic_logical_table, "AVIC's table of logical IDs");

    for (unsigned i = 0; i < 8; i++) { /* flat */
        if (!(destination >> i & 1))
            continue;
        fake_require(!(ids[i] & BIT32(31)), "this fake does not know of logical IDs that are there");
        exit_ipi(page, IPI_BAD_TARGET);
    }
}

static void send_ipi(volatile uint32_t *page)
{
    uint32_t icr = page[APIC_ICR_LOW / 4], destination = page[APIC_ICR_HIGH / 4] >> 24;
    uint32_t max = current->avic_physical_table & 0xfff;

    if (FIELD_GET(APIC_ICR_MODE, icr) != APIC_MODE_FIXED || icr & APIC_ICR_LEVEL)
        exit_ipi(page, IPI_BAD_TYPE);
    else if (FIELD_GET(APIC_ICR_VECTOR, icr) < 16)
        exit_ipi(page, IPI_BAD_VECTOR);
    else if (FIELD_GET(APIC_ICR_SHORTHAND, icr) == APIC_SHORTHAND_SELF)
        request_at(current->avic_backing_page, (uint8_t)icr);
    else if (FIELD_GET(APIC_ICR_SHORTHAND, icr) == APIC_SHORTHAND_OTHERS)
        send_physical(page, 0, max, page);
    else if (FIELD_GET(APIC_ICR_SHORTHAND, icr) == APIC_SHORTHAND_ALL || destination == 255)
        send_physical(page, 0, max, NULL);
    else if (icr & APIC_ICR_LOGICAL)
        send_logical(page, destination);
    else if (destination > max)
        exit_ipi(page, IPI_BAD_TARGET);
    else
        send_physical(page, destination, destination, NULL);
}

void fake_svm_apic_write(uint32_t offset, uint32_t value)
{
    volatile uint32_t *page = backing_page();

    if (faults(offset, true))
        return;
    if (offset != APIC_TPR && !is_in(offset, true)) {
        exit_avic(offset, true, false);
        return;
    }
    page[offset / 4] = value;
    if (offset == APIC_TPR)
        current->v_intr = (current->v_intr & ~V_TPR) | (value >> 4 & 0xf);
    else if (offset == APIC_EOI)
        end_of_interrupt(page);
    else if (offset == APIC_ICR_LOW)
        send_ipi(page);
    else if (offset != APIC_ICR_HIGH)
        exit_avic(offset, true, true);
}

uint32_t fake_svm_apic_read(uint32_t offset)
{
    if (faults(offset, false))
        return 0;
    if (is_in(offset, false))
        return backing_page()[offset / 4];
    exit_avic(offset, false, false);
    return 0;
}

static struct fake_svm_step with_apic_exit(struct fake_svm_step step)
{
    if (!apic_exit.code)
        return step;
    step.code = apic_exit.code;
    step.info1 = apic_exit.info1;
    step.info2 = apic_exit.info2;
    if (apic_exit.is_trap)
        current->rip += step.length;
    return step;
}

/* ---------------------------------------------------------------------------------- the TLB */

static void check_tlb(const struct svm_vcpu *svm)
{
    const struct vmcb *vmcb = svm->vmcb;
    const volatile uint64_t *counter = svm->v.npt_generation;
    struct fake_tag *of_cpu = tags[fake_cpu()], *tag;

    if (vmcb->asid == 0 || vmcb->asid >= FAKE_SVM_ASIDS)
        fake_fail("VMRUN: ASID %u", vmcb->asid);
    flush(of_cpu, vmcb);
    tag = &of_cpu[vmcb->asid];
    if (!tag->vmcb)
        *tag = (struct fake_tag){
            svm->vmcb_pa, counter ? *counter : 0, vmcb->nested_cr3, false, is_xavic(vmcb) ? vmcb->avic_bar : 0, false};
    fake_require(tag->vmcb == svm->vmcb_pa, "VMRUN: another vcpu's translations may be under this ASID");
    fake_require(!tag->left, "VMRUN: translations from before the vcpu ran on another CPU may be under this ASID");
    fake_require(tag->root == vmcb->nested_cr3 && (!counter || tag->generation == *counter),
                 "VMRUN: translations from before a change of the memory map may be under this ASID");
    check_apic_page(svm, tag);
    leave_other_cpus(svm->vmcb_pa);
}

/* ------------------------------------------------------------------- who is in charge of what */

/* Without one of these a guest keeps the CPU, or reaches the host's state. */
static const struct {
    uint8_t which;
    const char *name;
} needed_intercepts[] = {
    {INTERCEPT_INTR, "INTR"},         {INTERCEPT_NMI, "NMI"},           {INTERCEPT_INIT, "INIT"},
    {INTERCEPT_SHUTDOWN, "SHUTDOWN"}, {INTERCEPT_IOIO, "IOIO"},         {INTERCEPT_MSR, "MSR"},
    {INTERCEPT_VMLOAD, "VMLOAD"},     {INTERCEPT_VMSAVE, "VMSAVE"},     {INTERCEPT_STGI, "STGI"},
    {INTERCEPT_CLGI, "CLGI"},         {INTERCEPT_SKINIT, "SKINIT"},     {INTERCEPT_INVLPGA, "INVLPGA"},
    {INTERCEPT_INVD, "INVD"},         {INTERCEPT_MONITOR, "MONITOR"},   {INTERCEPT_MWAIT, "MWAIT"},
    {INTERCEPT_XSETBV, "XSETBV"},     {INTERCEPT_CPUID, "CPUID"},       {INTERCEPT_RDPMC, "RDPMC"},
    {INTERCEPT_RSM, "RSM"},           {INTERCEPT_TASK_SWITCH, "tasks"},
};

/* Programs that have their own backend are linked without this one. */
#pragma weak svm_caps

static bool backend_injects_twice(void)
{
    return &svm_caps && svm_caps.injects_twice;
}

static void check_intercepts(const struct vmcb *vmcb)
{
    for (size_t i = 0; i < ARRAY_COUNT(needed_intercepts); i++)
        if (!vmcb_intercepts(vmcb, needed_intercepts[i].which))
            fake_fail("VMRUN: %s is not intercepted", needed_intercepts[i].name);
    fake_require(vmcb->exceptions & BIT32(VEC_MC), "VMRUN: machine checks are not intercepted");
    fake_require(vmcb->v_intr & V_INTR_MASKING, "VMRUN: the guest's IF masks the host's interrupts");
    fake_require(!(vmcb->v_intr & V_IRQ) || vmcb_intercepts(vmcb, INTERCEPT_VINTR) || backend_injects_twice(),
                 "VMRUN: a virtual interrupt without its intercept");
    fake_require(vmcb->nested_control & NESTED_PAGING, "VMRUN: nested paging is off");
}

static void check_map(hv_hpa_t pa, unsigned pages, const char *name)
{
    const char *first = pa % HV_PAGE_SIZE ? NULL : hv_host_phys_to_virt(pa);

    for (unsigned i = 0; i < pages; i++)
        if (!first || hv_host_phys_to_virt(pa + i * HV_PAGE_SIZE) != first + i * HV_PAGE_SIZE)
            fake_fail("VMRUN: %s is not %u pages of memory", name, pages);
}

static void check_host(const struct svm_vcpu *svm)
{
    uint32_t cpu = hv_host_cpu_id();
    hv_hpa_t save_area = *fake_msr(cpu, MSR_AMD_VM_HSAVE_PA);

    fake_require(!fake_irqs_on(), "VMRUN: interrupts are on");
    fake_require(page_of(svm->vmcb_pa, "VMRUN") == svm->vmcb, "VMRUN: vmcb_pa is not the VMCB's");
    fake_require(save_area && hv_host_phys_to_virt(save_area), "VMRUN: the CPU has no host save area");
    fake_require(save_area != svm->vmcb_pa && save_area != svm->host_pa, "VMRUN: the host save area is used twice");
    for (uint32_t other = 0; other < FAKE_MAX_CPUS; other++)
        fake_require(other == cpu || *fake_msr(other, MSR_AMD_VM_HSAVE_PA) != save_area,
                     "VMRUN: two CPUs have the same host save area");
    fake_require(!*fake_msr(cpu, MSR_IA32_DEBUGCTL), "VMRUN: the host's DEBUGCTL is the guest's now");
    check_map(svm->vmcb->msrpm_pa, MSRPM_PAGES, "the MSR permission map");
    check_map(svm->vmcb->iopm_pa, IOPM_PAGES, "the I/O permission map");
}

/* ------------------------------------------------------------------------------- legal states */

static struct svm_caps capabilities(void)
{
    return (struct svm_caps){
        .features = svm_leaf(3),
        .asids = FAKE_SVM_ASIDS,
        .cr4 = *fake_msr(0, MSR_IA32_VMX_CR4_FIXED1) & ~CR4_VMXE,
        .efer = EFER_WRITABLE | EFER_LME | EFER_LMA,
        .phys_bits = (uint8_t)__builtin_popcountll(address_mask()),
        .long_mode = true,
    };
}

/* Is there a broken rule? Fails the test unless it may be. */
static bool is_refused(const struct vmcb *vmcb)
{
    const struct svm_caps caps = capabilities();
    const struct svm_audit_source source = {.vmcb = vmcb, .caps = &caps};
    struct hv_audit_finding finding;
    char line[256];

    if (!svm_audit(&source, &finding))
        return false;
    hv_audit_format(line, sizeof(line), &finding);
    if (!refusal_expected)
        fake_fail("VMRUN refused: %s", line);
    return true;
}

/* States that the manual leaves open, or that no CPU has by itself. */
static void check_sense(const struct vmcb *v)
{
    bool is_long = v->efer & EFER_LME && v->cr0 & CR0_PG;

    fake_require(is_long == !!(v->efer & EFER_LMA), "VMRUN: EFER.LMA is not EFER.LME and CR0.PG");
    fake_require(v->rflags & RFLAGS_FIXED, "VMRUN: RFLAGS bit 1");
    fake_require(v->cpl <= 3, "VMRUN: CPL");
    fake_require(!(v->rflags & RFLAGS_VM) || v->cpl == 3, "VMRUN: virtual-8086 mode with a CPL that is not 3");
    fake_require(!(v->cr0 & (CR0_CD | CR0_NW)), "VMRUN: the guest turns the caches off");
}

/* ---------------------------------------------------------------------------- VMRUN and #VMEXIT */

void fake_svm_guest(const struct fake_svm_step *script, unsigned count)
{
    fake_require(count <= STEPS_MAX, "fake_svm_guest: too many steps");
    if (count)
        memcpy(steps, script, count * sizeof(*script));
    step_next = 0;
    step_count = count;
}

unsigned fake_svm_guest_left(void)
{
    return step_count - step_next;
}

void fake_svm_expect_refusal(bool expected)
{
    refusal_expected = expected;
}

struct vmcb *fake_vmcb(void)
{
    return current;
}

const struct vmcb *fake_svm_entered(void)
{
    return &entered;
}

/* Does the VMCB ask for this exit? */
static bool is_asked_for(const struct vmcb *v, uint64_t code)
{
    const uint16_t *words[] = {&v->cr_reads, &v->cr_writes, &v->dr_reads, &v->dr_writes};

    if (code < EXIT_EXCEPTION)
        return *words[code / 16] >> code % 16 & 1;
    if (code < EXIT_INTERCEPT)
        return v->exceptions >> (code - EXIT_EXCEPTION) & 1;
    if (code < EXIT_INTERCEPT + 48)
        return vmcb_intercepts(v, (unsigned)(code - EXIT_INTERCEPT));
    if (code >= EXIT_INVLPGB && code < EXIT_CODES)
        return vmcb_intercepts(v, (unsigned)(INTERCEPT_INVLPGB + code - EXIT_INVLPGB));
    return code == EXIT_NPF || (code == EXIT_AVIC_NOACCEL && v->v_intr & V_AVIC) ||
           (code == EXIT_AVIC_INCOMPLETE_IPI && is_xavic(v));
}

/* The guest's registers that are the CPU's own while it runs. */
static void load_guest(const struct vmcb *v)
{
    struct fake_x86 *x = fake_x86_here();

    x->cr0 = v->cr0;
    x->cr2 = v->cr2;
    x->cr3 = v->cr3;
    x->cr4 = v->cr4;
    x->dr6 = v->dr6;
    x->dr7 = v->dr7;
    x->es = v->es.selector;
    x->cs = v->cs.selector;
    x->ss = v->ss.selector;
    x->ds = v->ds.selector;
    x->gdtr = (struct cpu_table_register){(uint16_t)v->gdtr.limit, v->gdtr.base};
    x->idtr = (struct cpu_table_register){(uint16_t)v->idtr.limit, v->idtr.base};
}

/* What the guest can change of these without an exit. CR0 and CR4 are changed in the VMCB: they have intercepts. */
static void save_guest(struct vmcb *v)
{
    const struct fake_x86 *x = fake_x86_here();

    v->cr0 |= CR0_ET;
    v->cr2 = x->cr2;
    v->dr6 = (x->dr6 & ~BITS64(63, 32)) | DR6_RESET;
    v->dr7 = x->dr7 | DR7_FIXED;
}

/* RSP and RAX are in the VMCB. */
static void run_guest(struct svm_vcpu *svm, const struct fake_svm_step *step)
{
    uint64_t gpr[GPR_COUNT];

    memcpy(gpr, svm->v.gpr, sizeof(gpr));
    gpr[GPR_RAX] = svm->vmcb->rax;
    gpr[GPR_RSP] = svm->vmcb->rsp;
    if (step->run)
        step->run(gpr);
    svm->vmcb->rax = gpr[GPR_RAX];
    svm->vmcb->rsp = gpr[GPR_RSP];
    for (unsigned i = 0; i < GPR_COUNT; i++)
        if (i != GPR_RSP && i != GPR_RAX)
            svm->v.gpr[i] = gpr[i];
}

/* What the CPU says of the instruction depends on its features. */
static void record_instruction(struct vmcb *v, const struct fake_svm_step *s)
{
    bool is_assisted = s->code < EXIT_EXCEPTION || s->code == EXIT_INTERCEPT_OF(INTERCEPT_SWINT) ||
                       s->code == EXIT_INTERCEPT_OF(INTERCEPT_INVLPG);

    v->next_rip = GARBAGE;
    memset(&v->fetched, (int)GARBAGE & 0xff, 1 + sizeof(v->bytes));
    if (fake_svm_has(CPUID_SVM_EDX_NRIPS))
        v->next_rip = s->length ? v->rip + s->length : 0;
    if (s->code == EXIT_INTERCEPT_OF(INTERCEPT_IOIO) && !s->info2)
        v->exit_info2 = v->rip + s->length;
    if (!fake_svm_has(CPUID_SVM_EDX_DECODE)) {
        if (is_assisted)
            v->exit_info1 = GARBAGE;
        return;
    }
    if (s->code == EXIT_AVIC_NOACCEL || s->code == EXIT_AVIC_INCOMPLETE_IPI)
        return; /* only page faults have fetched something */
    v->fetched = s->fetched;
    memcpy(v->bytes, s->bytes, sizeof(v->bytes));
}

/* APM 2 15.6: EVENTINJ has been consumed; the mask bit says what the guest's IF is. */
static void record_exit(struct vmcb *v, const struct fake_svm_step *s)
{
    v->exit_code = s->code;
    v->exit_info1 = s->info1;
    v->exit_info2 = s->info2;
    v->exit_int_info = s->int_info;
    v->event_inj = 0;
    v->interrupt_state = (s->shadow ? INTERRUPT_SHADOW : 0) | (v->rflags & RFLAGS_IF ? BIT64(1) : 0);
    record_instruction(v, s);
}

/* APM 2 15.6: what comes from the host save area. DR6 and what VMLOAD loads does not. */
static void load_host(const struct fake_x86 *saved, uint64_t efer)
{
    struct fake_x86 *x = fake_x86_here();

    x->cr0 = saved->cr0;
    x->cr3 = saved->cr3;
    x->cr4 = saved->cr4;
    x->dr7 = DR7_RESET;
    x->es = saved->es;
    x->cs = saved->cs;
    x->ss = saved->ss;
    x->ds = saved->ds;
    x->gdtr = saved->gdtr;
    x->idtr = saved->idtr;
    *fake_msr(fake_cpu(), MSR_IA32_EFER) = efer;
}

static void guest_runs(struct svm_vcpu *svm)
{
    struct fake_x86 host = *fake_x86_here();
    uint64_t efer = *fake_msr(fake_cpu(), MSR_IA32_EFER);
    struct fake_svm_step step;

    fake_require(step_next < step_count, "VMRUN: the test expects no further entry");
    step = steps[step_next++];
    if (step.code == EXIT_INVALID) { /* for reasons of the CPU's own */
        svm->vmcb->exit_code = EXIT_INVALID;
        return;
    }
    load_guest(svm->vmcb);
    *fake_msr(fake_cpu(), MSR_IA32_EFER) = svm->vmcb->efer;
    apic_exit.code = 0;
    run_guest(svm, &step);
    step = with_apic_exit(step);
    if (!step.unasked && !is_asked_for(svm->vmcb, step.code))
        fake_fail("exit 0x%llx is not intercepted", (unsigned long long)step.code);
    save_guest(svm->vmcb);
    record_exit(svm->vmcb, &step);
    load_host(&host, efer);
}

/* A refused VMRUN may have read any part of the VMCB: nothing of it is clean. */
static void keep_nothing(const struct svm_vcpu *svm)
{
    struct fake_ran *r = find_ran(svm->vmcb_pa);

    if (r)
        r->pa = 0;
}

/* What the assembly does, with VMRUN in its midst. */
void svm_run_guest(void *vcpu)
{
    struct svm_vcpu *svm = vcpu;
    struct vmcb *vmcb = svm->vmcb;

    check_host(svm);
    check_intercepts(vmcb);
    fake_svm_counts.vmruns++;
    current = vmcb;
    entered = *vmcb;
    vmload(vmcb);
    check_clean_bits(svm);
    check_avic(svm);
    if (is_refused(vmcb)) {
        vmcb->exit_code = EXIT_INVALID; /* and nothing else happened: EVENTINJ is as it was */
    } else {
        check_sense(vmcb);
        check_tlb(svm);
        guest_runs(svm);
    }
    vmsave(vmcb);
    if (vmcb->exit_code == EXIT_INVALID)
        keep_nothing(svm);
    else
        keep(svm);
    vmload(page_of(svm->host_pa, "VMLOAD"));
}

/* ----------------------------------------------------------------------------- all of it */

void fake_svm_reset(void)
{
    is_amd = false;
    memset(ran, 0, sizeof(ran));
    memset(tags, 0, sizeof(tags));
    memset(hidden, 0, sizeof(hidden));
    current = NULL;
    memset(&entered, 0, sizeof(entered));
    fake_svm_counts = (struct fake_svm_counts){0};
    fake_svm_guest(NULL, 0);
    refusal_expected = false;
}

void fake_svm_assert_clean(void)
{
    for (uint32_t cpu = 0; cpu < FAKE_MAX_CPUS; cpu++)
        if (fake_svm_is_on(cpu))
            fake_fail("CPU %u still has SVM on", cpu);
}
