/* SPDX-License-Identifier: MIT */
/* The VMCS: which controls to use, its creation, and on which CPU it is current. */
#include "../tsc.h"
#include "../vcpu_code.h"
#include "vmx.h"
#include <arch/bits/cr.h>
#include <arch/bits/msr.h>
#include <arch/cpu.h>
#include <arch/vmx_insn.h>
#include <hv/base/bitmap.h>
#include <hv/base/lock.h>
#include <hv/base/log.h>

/* ------------------------------------------------------------------------- choosing controls */

struct control_choice {
    const char *name;
    uint64_t bit;
    bool needed; /* refuse the CPU without it */
};

/* clang-format off */
static const struct control_choice pin_choices[] = {
    {"external-interrupt exiting",        PIN_EXTERNAL_INTR,        true},
    {"NMI exiting",                       PIN_NMI,                  true},
    {"virtual NMIs",                      PIN_VIRTUAL_NMIS,         true},
    {"activate preemption timer",         PIN_PREEMPTION_TIMER,     false},
};
static const struct control_choice cpu_choices[] = {
    {"use TSC offsetting",                CPU_TSC_OFFSETTING,       true},
    {"HLT exiting",                       CPU_HLT,                  true},
    {"MWAIT exiting",                     CPU_MWAIT,                true},
    {"MONITOR exiting",                   CPU_MONITOR,              true},
    {"RDPMC exiting",                     CPU_RDPMC,                true},
    {"use TPR shadow",                    CPU_TPR_SHADOW,           true},
    {"MOV-DR exiting",                    CPU_MOV_DR,               true},
    {"unconditional I/O exiting",         CPU_UNCOND_IO,            true},
    {"use MSR bitmaps",                   CPU_MSR_BITMAPS,          true},
    {"activate secondary controls",       CPU_ACTIVATE_CPU2,        true},
};
static const struct control_choice cpu2_choices[] = {
    {"enable EPT",                        CPU2_EPT,                 true},
    {"unrestricted guest",                CPU2_UNRESTRICTED_GUEST,  true},
    {"enable VPID",                       CPU2_VPID,                false},
    {"enable RDTSCP",                     CPU2_RDTSCP,              false},
    {"enable INVPCID",                    CPU2_INVPCID,             false},
};
static const struct control_choice exit_choices[] = {
    {"save debug controls",               EXIT_SAVE_DEBUG,          true},
    {"host address-space size",           EXIT_HOST_64BIT,          true},
    {"save IA32_PAT",                     EXIT_SAVE_PAT,            true},
    {"load IA32_PAT",                     EXIT_LOAD_PAT,            true},
    {"save IA32_EFER",                    EXIT_SAVE_EFER,           true},
    {"load IA32_EFER",                    EXIT_LOAD_EFER,           true},
};
static const struct control_choice entry_choices[] = {
    {"load debug controls",               ENTRY_LOAD_DEBUG,         true},
    {"load IA32_PAT",                     ENTRY_LOAD_PAT,           true},
    {"load IA32_EFER",                    ENTRY_LOAD_EFER,          true},
};
/* clang-format on */

struct choice_output {
    char *reason;
    size_t size;
};

static bool choose(uint64_t capability, const struct control_choice *choices, size_t count, uint64_t *word,
                   const struct choice_output *out)
{
    *word = capability & VMX_CTLS_MUST_BE_1;
    for (size_t i = 0; i < count; i++) {
        if (capability >> 32 & choices[i].bit) {
            *word |= choices[i].bit;
        } else if (choices[i].needed) {
            hv_format(out->reason, out->size, "VMX: this CPU does not offer the control \"%s\"", choices[i].name);
            return false;
        }
    }
    return true;
}

bool vmcs_choose_controls(const struct vmx_caps *caps, struct vmx_controls *c, char *reason, size_t reason_size)
{
    const struct choice_output out = {reason, reason_size};
    const uint64_t forced = CPU_CR3_LOAD | CPU_CR3_STORE | CPU_INVLPG;

    if (!choose(caps->pin, pin_choices, ARRAY_COUNT(pin_choices), &c->pin, &out) ||
        !choose(caps->cpu, cpu_choices, ARRAY_COUNT(cpu_choices), &c->cpu, &out) ||
        !choose(caps->cpu2, cpu2_choices, ARRAY_COUNT(cpu2_choices), &c->cpu2, &out) ||
        !choose(caps->exit, exit_choices, ARRAY_COUNT(exit_choices), &c->exit, &out) ||
        !choose(caps->entry, entry_choices, ARRAY_COUNT(entry_choices), &c->entry, &out))
        return false;
    if (c->cpu & forced) {
        hv_format(reason, reason_size,
                  "VMX: this CPU forces exits on CR3 accesses or INVLPG (no TRUE capability MSRs)");
        return false;
    }
    if (!(caps->ept_vpid & VPID_CAP_INVVPID) || !(caps->ept_vpid & VPID_CAP_SINGLE) || !(caps->ept_vpid & VPID_CAP_ALL))
        c->cpu2 &= ~CPU2_VPID;
    if (!(caps->misc & VMX_MISC_EXIT_SAVES_LMA)) {
        hv_format(reason, reason_size, "VMX: exits do not save EFER.LMA (IA32_VMX_MISC bit 5)");
        return false;
    }
    return true;
}

/* ---------------------------------------------------------------------------------- VPIDs */

#define VPID_COUNT 65536u

static uint64_t vpids_used[HV_BITMAP_WORDS(VPID_COUNT)] = {1}; /* VPID 0 is the host's */
static struct hv_spin vpid_lock;
static uint32_t vpid_next = 1; /* round robin: a VPID just freed is reused late */

static uint16_t vpid_alloc(void)
{
    uint64_t flags = hv_spin_lock(&vpid_lock);
    uint32_t vpid = hv_bitmap_find_clear(vpids_used, VPID_COUNT, vpid_next);

    if (vpid == VPID_COUNT)
        vpid = hv_bitmap_find_clear(vpids_used, VPID_COUNT, 1);
    if (vpid == VPID_COUNT) {
        vpid = 0;
    } else {
        hv_bitmap_set(vpids_used, vpid);
        vpid_next = vpid + 1 < VPID_COUNT ? vpid + 1 : 1;
    }
    hv_spin_unlock(&vpid_lock, flags);
    return (uint16_t)vpid;
}

static void vpid_free(uint16_t vpid)
{
    uint64_t flags;

    if (!vpid)
        return;
    flags = hv_spin_lock(&vpid_lock);
    hv_bitmap_clear(vpids_used, vpid);
    hv_spin_unlock(&vpid_lock, flags);
}

/* --------------------------------------------------------------------------- MSR bitmap */

/* MSRs that the guest reads, or reads and writes, without an exit. All others exit and are virt/exit_msr.c's. */
static const struct {
    uint32_t index;
    bool write;
} direct_msrs[] = {
    {MSR_IA32_SYSENTER_CS, true}, {MSR_IA32_SYSENTER_ESP, true}, {MSR_IA32_SYSENTER_EIP, true},
    {MSR_IA32_FS_BASE, true},     {MSR_IA32_GS_BASE, true},      {MSR_IA32_KERNEL_GS_BASE, true},
    {MSR_IA32_EFER, false},       {MSR_IA32_STAR, false},        {MSR_IA32_LSTAR, false},
    {MSR_IA32_CSTAR, false},      {MSR_IA32_FMASK, false},       {MSR_IA32_PAT, false},
    {MSR_IA32_TSC, false},
};

/* The four kilobytes of the bitmap: reads low, reads high, writes low, writes high (SDM 3C 25.6.9). */
void vmx_bitmap_allow(uint8_t *bitmap, uint32_t index, bool write, bool allow)
{
    uint32_t at = (write ? 2048 * 8 : 0) + (index >= 0xc0000000u ? 1024 * 8 : 0) + (index & 0x1fff);

    if (allow)
        bitmap[at / 8] &= (uint8_t) ~(1u << at % 8);
    else
        bitmap[at / 8] |= (uint8_t)(1u << at % 8);
}

static void bitmap_init(uint8_t *bitmap)
{
    memset(bitmap, 0xff, HV_PAGE_SIZE);
    for (size_t i = 0; i < ARRAY_COUNT(direct_msrs); i++) {
        vmx_bitmap_allow(bitmap, direct_msrs[i].index, false, true);
        vmx_bitmap_allow(bitmap, direct_msrs[i].index, true, direct_msrs[i].write);
    }
}

void vmx_exit_on_msr(struct vcpu *v, uint32_t index, bool reads, bool writes)
{
    if (vmx_apic_exit_on_msr(to_vmx(v), index, reads, writes))
        return;
    for (size_t i = 0; i < ARRAY_COUNT(direct_msrs); i++) {
        if (direct_msrs[i].index != index)
            continue;
        vmx_bitmap_allow(to_vmx(v)->msr_bitmap, index, false, !reads);
        vmx_bitmap_allow(to_vmx(v)->msr_bitmap, index, true, direct_msrs[i].write && !writes);
    }
}

/* ------------------------------------------------------------------- contents of a new VMCS */

/* clang-format off */
static const struct {
    uint32_t field;
    uint64_t value;
} vmcs_constants[] = {
    {VMCS_PF_ERROR_MASK,          0},
    {VMCS_PF_ERROR_MATCH,         0},
    {VMCS_CR3_TARGET_COUNT,       0},
    {VMCS_EXIT_MSR_STORE_COUNT,   0},
    {VMCS_EXIT_MSR_LOAD_COUNT,    0},
    {VMCS_ENTRY_MSR_LOAD_COUNT,   0},
    {VMCS_ENTRY_INTR_INFO,        0},
    {VMCS_LINK_POINTER,           VMCS_NO_LINK},
    {VMCS_GUEST_DEBUGCTL,         0},
    {VMCS_GUEST_ACTIVITY,         ACTIVITY_ACTIVE},
};
/* clang-format on */

static void write_constants(struct vmx_vcpu *vmx)
{
    for (size_t i = 0; i < ARRAY_COUNT(vmcs_constants); i++)
        vmx_write(vmcs_constants[i].field, vmcs_constants[i].value);
    vmx_write(VMCS_MSR_BITMAP, hv_host_virt_to_phys(vmx->msr_bitmap, NULL));
    vmx_write(VMCS_VIRTUAL_APIC_ADDR, hv_host_virt_to_phys(vmx->virtual_apic, NULL));
    vmx_write(VMCS_EPTP, vmx->eptp);
    if (vmx->cpu2 & CPU2_VPID)
        vmx_write(VMCS_VPID, vmx->vpid);
    vmx_write(VMCS_PIN_CONTROLS, vmx->pin);
    vmx_write(VMCS_CPU_CONTROLS, vmx->cpu);
    vmx_write(VMCS_CPU2_CONTROLS, vmx->cpu2);
    vmx_write(VMCS_EXIT_CONTROLS, vmx_controls.exit);
    vmx_write(VMCS_ENTRY_CONTROLS, vmx_controls.entry);
    vmx_write(VMCS_CR0_MASK, ~vmx->v.cr0_guest_owned);
    vmx_write(VMCS_CR4_MASK, ~vmx->v.cr4_guest_owned);
    vmx_write(VMCS_HOST_RIP, (uintptr_t)vmx_exit_point);
}

/* ------------------------------------------------------------ host state of the current CPU */

static uint64_t descriptor_base(struct cpu_table_register gdt, uint16_t selector)
{
    const uint64_t *d = (const uint64_t *)(gdt.base + (selector & ~7u));

    /* a system descriptor of 16 bytes: base 23:0 in bits 39:16, 31:24 in 63:56, 63:32 in the second word */
    return FIELD_GET(BITS64(39, 16), d[0]) | FIELD_GET(BITS64(63, 56), d[0]) << 24 | d[1] << 32;
}

/*
 * Host state that is the same for all of a CPU's threads. The rest is vmx_load's. VM exits set TR's limit to 0x67 and
 * the tables' to 0xffff.
 */
static void write_host_cpu_state(struct vmx_vcpu *vmx)
{
    struct cpu_table_register gdt = cpu_read_gdtr(), idt = cpu_read_idtr();
    uint16_t tr = cpu_read_tr();

    vmx_write(VMCS_HOST_CS_SELECTOR, cpu_read_cs() & ~7u);
    vmx_write(VMCS_HOST_SS_SELECTOR, cpu_read_ss() & ~7u);
    vmx_write(VMCS_HOST_DS_SELECTOR, 0);
    vmx_write(VMCS_HOST_ES_SELECTOR, 0);
    vmx_write(VMCS_HOST_FS_SELECTOR, 0);
    vmx_write(VMCS_HOST_GS_SELECTOR, 0);
    vmx_write(VMCS_HOST_TR_SELECTOR, tr & ~7u);
    vmx_write(VMCS_HOST_TR_BASE, descriptor_base(gdt, tr));
    vmx_write(VMCS_HOST_GDTR_BASE, gdt.base);
    vmx_write(VMCS_HOST_IDTR_BASE, idt.base);
    vmx_write(VMCS_HOST_SYSENTER_CS, cpu_read_msr(MSR_IA32_SYSENTER_CS));
    vmx_write(VMCS_HOST_SYSENTER_ESP, cpu_read_msr(MSR_IA32_SYSENTER_ESP));
    vmx_write(VMCS_HOST_SYSENTER_EIP, cpu_read_msr(MSR_IA32_SYSENTER_EIP));
    vmx_write(VMCS_HOST_PAT, cpu_read_msr(MSR_IA32_PAT));
    vmx_write(VMCS_HOST_EFER, cpu_read_msr(MSR_IA32_EFER));
    vmx->lost.gdt_limit = gdt.limit;
    vmx->lost.idt_limit = idt.limit;
    vmx->lost.tr = cpu_segment_limit(tr) != 0x67;
    vmx->host.cr0 = vmx->host.cr3 = vmx->host.cr4 = vmx->host.fs_base = vmx->host.gs_base = ~0ull; /* unknown */
    vmx->host_rsp = 0;
}

/* ---------------------------------------------------------------- which CPU has the VMCS */

/* On the CPU that has it: write the VMCS back to memory, so that another CPU may load it. */
static void clear_here(void *arg)
{
    struct vmx_vcpu *vmx = arg;
    struct backend_cpu *cpu = backend_cpu();

    vmx_vmclear(vmx->vmcs_pa);
    tsc_leave(&vmx->v);
    if (cpu->current == &vmx->v)
        cpu->current = NULL;
    vmx->active_cpu = HV_CPU_NONE;
}

static void clear_anywhere(struct vmx_vcpu *vmx)
{
    if (vmx->active_cpu != HV_CPU_NONE)
        hv_host_cpu_call(vmx->active_cpu, clear_here, vmx);
}

void vmx_acquire(struct vcpu *v)
{
    struct vmx_vcpu *vmx = to_vmx(v);
    struct backend_cpu *cpu = backend_cpu();
    uint64_t flags;
    bool moves;

    if (cpu->current == v)
        return;
    v->cpu = cpu;
    if (vmx->active_cpu == cpu->id) {
        flags = hv_host_irq_save(); /* clear_here may arrive for another vcpu */
        vmx_vmptrld(vmx->vmcs_pa);
        cpu->current = v;
        hv_host_irq_restore(flags);
        return;
    }
    moves = vmx->active_cpu != HV_CPU_NONE;
    clear_anywhere(vmx);
    flags = hv_host_irq_save();
    vmx_vmptrld(vmx->vmcs_pa);
    cpu->current = v;
    vmx->active_cpu = cpu->id;
    hv_host_irq_restore(flags);
    v->flush_guest = true; /* see ept_flush */
    write_host_cpu_state(vmx);
    if (moves)
        tsc_arrive(v);
}

/* ------------------------------------------------------------------------- life of a vcpu */

static void free_page(void *page)
{
    if (page)
        hv_host_page_free(page);
}

static void free_vcpu(struct vmx_vcpu *vmx)
{
    free_page(vmx->vmcs);
    free_page(vmx->msr_bitmap);
    free_page(vmx->virtual_apic);
    hv_host_free(vmx, sizeof(*vmx));
}

static bool alloc_pages(struct vmx_vcpu *vmx)
{
    return (vmx->vmcs = hv_host_page_alloc()) && (vmx->msr_bitmap = hv_host_page_alloc()) &&
           (vmx->virtual_apic = hv_host_page_alloc());
}

static void first_load(struct vmx_vcpu *vmx)
{
    hv_host_preempt_disable();
    *(uint32_t *)vmx->vmcs = (uint32_t)FIELD_GET(VMX_BASIC_REVISION, vmx_caps.basic);
    vmx_vmclear(vmx->vmcs_pa);
    vmx_acquire(&vmx->v);
    write_constants(vmx);
    vmx_apic_init(vmx);
    hv_host_preempt_enable();
}

struct vcpu *vmx_vcpu_create(struct npt *npt)
{
    struct vmx_vcpu *vmx = hv_host_alloc(sizeof(*vmx));

    if (!vmx)
        return NULL;
    if (!alloc_pages(vmx)) {
        free_vcpu(vmx);
        return NULL;
    }
    bitmap_init(vmx->msr_bitmap);
    vmx->vmcs_pa = hv_host_virt_to_phys(vmx->vmcs, NULL);
    vmx->active_cpu = HV_CPU_NONE;
    vmx->eptp = ept_pointer(npt);
    vmx->vpid = vmx_controls.cpu2 & CPU2_VPID ? vpid_alloc() : 0;
    vmx->pin = vmx_controls.pin;
    vmx->cpu = vmx_controls.cpu;
    vmx->cpu2 = vmx->vpid ? vmx_controls.cpu2 : vmx_controls.cpu2 & ~CPU2_VPID;
    vmx->v.npt = npt;
    vmx->v.has_deadline = vmx->pin & PIN_PREEMPTION_TIMER;
    vmx->v.sets_timer = true;
    /*
     * NE, CD and NW stay the host's: NE must be 1 in VMX operation, and a guest's cache control must not reach the
     * CPU. So does MCE: with it off, a machine check would be the end of the machine. All else needs no exit: with
     * unrestricted guest and EPT the CPU itself keeps paging modes, EFER.LMA and PDPTEs right.
     */
    vmx->v.cr0_guest_owned = CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_WP | CR0_AM | CR0_PG;
    vmx->v.cr4_guest_owned = cpu_facts()->cr4_allowed & ~vmx_caps.cr4_fixed0 & ~CR4_MCE;
    vcpu_code_forget(&vmx->v);
    first_load(vmx);
    return &vmx->v;
}

void vmx_vcpu_destroy(struct vcpu *v)
{
    struct vmx_vcpu *vmx = to_vmx(v);

    clear_anywhere(vmx);
    vpid_free(vmx->vpid);
    free_vcpu(vmx);
}
