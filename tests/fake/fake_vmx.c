/* SPDX-License-Identifier: MIT */
/* VMX on the fake CPUs. */
#include "fake_vmx.h"
#include "arch/x86_64/vmx/vmx.h"
#include "arch/x86_64/vmx/vmx_audit.h"
#include "fake_device.h"
#include <arch/bits/cr.h>
#include <arch/bits/msr.h>
#include <arch/bits/seg.h>
#include <arch/vmx_insn.h>
#include <string.h>

#define VMCS_MAX  256
#define FIELDS    1024
#define GARBAGE   0x5a5a5a5a5a5a5a5aull /* of fields that nobody wrote, or that an exit leaves undefined */
#define FAKE_RSP  0xffff888000012340ull
#define NO_REGION HV_HPA_NONE

struct fake_vmcs {
    hv_hpa_t pa;  /* 0: free */
    uint32_t cpu; /* where it is active */
    bool launched;
    uint64_t value[FIELDS];
    bool written[FIELDS];
};

struct fake_vmx_counts fake_vmx_counts;
const char vmx_exit_point[1];

static struct fake_vmcs vmcses[VMCS_MAX];
static struct {
    hv_hpa_t region; /* NO_REGION: VMX is off */
    struct fake_vmcs *current;
} cpus[FAKE_MAX_CPUS];
static unsigned field_reads[FIELDS], field_writes[FIELDS];
static struct fake_flush last_invept, last_invvpid;
static unsigned vmxon_countdown;

#define STEPS_MAX 4096
static struct fake_step steps[STEPS_MAX];
static unsigned step_next, step_count;
static bool refusal_expected;
static struct fake_event injected;
static void (*on_interrupt)(uint8_t vector);

/* -------------------------------------------------------------------------------- fields */

/* Width, type and index of an encoding, packed. */
static unsigned place_of(uint32_t field)
{
    return (unsigned)(FIELD_GET(VMCS_ENC_WIDTH, field) << 8 | FIELD_GET(VMCS_ENC_TYPE, field) << 6 |
                      (FIELD_GET(VMCS_ENC_INDEX, field) & 63));
}

/* Fields that are there only if the upper half of a capability MSR has these bits; MSR 0: not on this model. */
static const struct {
    uint32_t field, msr;
    uint64_t bits;
} optional_fields[] = {
    {VMCS_VPID, MSR_IA32_VMX_PROCBASED_CTLS2, CPU2_VPID},
    {VMCS_EPTP, MSR_IA32_VMX_PROCBASED_CTLS2, CPU2_EPT},
    {VMCS_GUEST_PDPTE0, MSR_IA32_VMX_PROCBASED_CTLS2, CPU2_EPT},
    {VMCS_GUEST_PDPTE1, MSR_IA32_VMX_PROCBASED_CTLS2, CPU2_EPT},
    {VMCS_GUEST_PDPTE2, MSR_IA32_VMX_PROCBASED_CTLS2, CPU2_EPT},
    {VMCS_GUEST_PDPTE3, MSR_IA32_VMX_PROCBASED_CTLS2, CPU2_EPT},
    {VMCS_GUEST_PHYSICAL_ADDR, MSR_IA32_VMX_PROCBASED_CTLS2, CPU2_EPT},
    {VMCS_TSC_MULTIPLIER, MSR_IA32_VMX_PROCBASED_CTLS2, CPU2_TSC_SCALING},
    {VMCS_APIC_ACCESS_ADDR, MSR_IA32_VMX_PROCBASED_CTLS2, CPU2_VIRT_APIC_ACCESSES},
    {VMCS_GUEST_INTR_STATUS, MSR_IA32_VMX_PROCBASED_CTLS2, CPU2_VIRT_INTR_DELIVERY},
    {VMCS_EOI_EXIT_BITMAP0, MSR_IA32_VMX_PROCBASED_CTLS2, CPU2_VIRT_INTR_DELIVERY},
    {VMCS_EOI_EXIT_BITMAP1, MSR_IA32_VMX_PROCBASED_CTLS2, CPU2_VIRT_INTR_DELIVERY},
    {VMCS_EOI_EXIT_BITMAP2, MSR_IA32_VMX_PROCBASED_CTLS2, CPU2_VIRT_INTR_DELIVERY},
    {VMCS_EOI_EXIT_BITMAP3, MSR_IA32_VMX_PROCBASED_CTLS2, CPU2_VIRT_INTR_DELIVERY},
    {VMCS_PLE_GAP, MSR_IA32_VMX_PROCBASED_CTLS2, CPU2_PAUSE_LOOP},
    {VMCS_PLE_WINDOW, MSR_IA32_VMX_PROCBASED_CTLS2, CPU2_PAUSE_LOOP},
    {VMCS_GUEST_PREEMPTION_TIMER, MSR_IA32_VMX_PINBASED_CTLS, PIN_PREEMPTION_TIMER},
    {VMCS_POSTED_INTR_VECTOR, MSR_IA32_VMX_PINBASED_CTLS, PIN_POSTED_INTR},
    {VMCS_POSTED_INTR_DESC_ADDR, MSR_IA32_VMX_PINBASED_CTLS, PIN_POSTED_INTR},
    {VMCS_HLAT_PREFIX_SIZE, 0, 0},
    {VMCS_LAST_PID_POINTER_INDEX, 0, 0},
    {VMCS_GUEST_UINV, 0, 0},
    {VMCS_CPU3_CONTROLS, 0, 0},
    {VMCS_ENCLS_EXIT_BITMAP, 0, 0},
    {VMCS_ENCLV_EXIT_BITMAP, 0, 0},
    {VMCS_LOW_PASID_DIR_ADDR, 0, 0},
    {VMCS_HIGH_PASID_DIR_ADDR, 0, 0},
    {VMCS_SHARED_EPTP, 0, 0},
    {VMCS_PCONFIG_EXIT_BITMAP, 0, 0},
    {VMCS_HLATP, 0, 0},
    {VMCS_PID_POINTER_TABLE_ADDR, 0, 0},
    {VMCS_EXIT2_CONTROLS, 0, 0},
    {VMCS_SPEC_CTRL_MASK, 0, 0},
    {VMCS_SPEC_CTRL_SHADOW, 0, 0},
    {VMCS_GUEST_PERF_GLOBAL_CTRL, 0, 0},
    {VMCS_GUEST_BNDCFGS, 0, 0},
    {VMCS_GUEST_RTIT_CTL, 0, 0},
    {VMCS_GUEST_LBR_CTL, 0, 0},
    {VMCS_GUEST_PKRS, 0, 0},
    {VMCS_HOST_PERF_GLOBAL_CTRL, 0, 0},
    {VMCS_HOST_PKRS, 0, 0},
    {VMCS_INSTR_TIMEOUT, 0, 0},
    {VMCS_GUEST_S_CET, 0, 0},
    {VMCS_GUEST_SSP, 0, 0},
    {VMCS_GUEST_SSP_TABLE, 0, 0},
    {VMCS_HOST_S_CET, 0, 0},
    {VMCS_HOST_SSP, 0, 0},
    {VMCS_HOST_SSP_TABLE, 0, 0},
};

static bool is_offered(uint32_t msr, uint64_t bits)
{
    return msr && (*fake_msr(0, msr) >> 32 & bits) == bits;
}

static bool field_exists(uint32_t field)
{
    if (!vmcs_field_name(field))
        return false;
    for (size_t i = 0; i < ARRAY_COUNT(optional_fields); i++)
        if (optional_fields[i].field == field)
            return is_offered(optional_fields[i].msr, optional_fields[i].bits);
    return true;
}

static uint64_t field_mask(uint32_t field)
{
    static const uint64_t masks[] = {
        [VMCS_WIDTH_16] = 0xffff, [VMCS_WIDTH_64] = ~0ull, [VMCS_WIDTH_32] = 0xffffffff, [VMCS_WIDTH_NATURAL] = ~0ull};

    return masks[FIELD_GET(VMCS_ENC_WIDTH, field)];
}

static uint64_t get(const struct fake_vmcs *vmcs, uint32_t field)
{
    return vmcs->value[place_of(field)] & field_mask(field);
}

static void set(struct fake_vmcs *vmcs, uint32_t field, uint64_t value)
{
    vmcs->value[place_of(field)] = value & field_mask(field);
    vmcs->written[place_of(field)] = true;
}

static bool has(const struct fake_vmcs *vmcs, uint32_t field, uint64_t bits)
{
    return get(vmcs, field) & bits;
}

/* --------------------------------------------------------------------- VMX operation of a CPU */

bool fake_vmx_is_on(uint32_t cpu)
{
    return cpus[cpu].region != NO_REGION;
}

static uint32_t here(const char *instruction)
{
    uint32_t cpu = hv_host_cpu_id();

    if (!fake_vmx_is_on(cpu))
        fake_fail("%s: #UD, CPU %u is not in VMX operation", instruction, cpu);
    return cpu;
}

/* The page's first word, as VMXON and VMPTRLD want it. */
static bool has_revision(hv_hpa_t pa)
{
    const uint32_t *word = hv_host_phys_to_virt(pa);

    return word && *word == FIELD_GET(VMX_BASIC_REVISION, *fake_msr(0, MSR_IA32_VMX_BASIC));
}

static bool is_region(hv_hpa_t pa)
{
    for (uint32_t cpu = 0; cpu < FAKE_MAX_CPUS; cpu++)
        if (cpus[cpu].region == pa)
            return true;
    return false;
}

static bool are_bits_fixed(const struct fake_x86 *x)
{
    uint32_t cpu = fake_cpu();

    return !(*fake_msr(cpu, MSR_IA32_VMX_CR0_FIXED0) & ~x->cr0) &&
           !(x->cr0 & ~*fake_msr(cpu, MSR_IA32_VMX_CR0_FIXED1)) &&
           !(*fake_msr(cpu, MSR_IA32_VMX_CR4_FIXED0) & ~x->cr4) && !(x->cr4 & ~*fake_msr(cpu, MSR_IA32_VMX_CR4_FIXED1));
}

bool vmx_vmxon(uint64_t pa)
{
    uint32_t cpu = hv_host_cpu_id();
    const struct fake_x86 *x = fake_x86(cpu);
    const uint64_t enabled = FEATURE_CONTROL_LOCK | FEATURE_CONTROL_VMX;

    fake_require(x->cr4 & CR4_VMXE, "VMXON: #UD, CR4.VMXE is 0");
    fake_gp((*fake_msr(cpu, MSR_IA32_FEATURE_CONTROL) & enabled) != enabled, "VMXON, FEATURE_CONTROL");
    fake_gp(!fake_vmx_is_on(cpu) && !are_bits_fixed(x), "VMXON, fixed bits of CR0 and CR4");
    fake_require(!is_region(pa), "VMXON: another CPU's region, or on already");
    if (pa % HV_PAGE_SIZE || !has_revision(pa) || (vmxon_countdown && !--vmxon_countdown))
        return false;
    cpus[cpu].region = pa;
    cpus[cpu].current = NULL;
    fake_vmx_counts.vmxon++;
    return true;
}

void vmx_vmxoff(void)
{
    uint32_t cpu = here("VMXOFF");

    for (size_t i = 0; i < VMCS_MAX; i++)
        if (vmcses[i].pa && vmcses[i].cpu == cpu)
            fake_fail("VMXOFF: a VMCS is still active on CPU %u", cpu);
    cpus[cpu].region = NO_REGION;
    cpus[cpu].current = NULL;
    fake_vmx_counts.vmxoff++;
}

/* --------------------------------------------------------------------------- VMCS regions */

static struct fake_vmcs *find_vmcs(hv_hpa_t pa)
{
    for (size_t i = 0; i < VMCS_MAX; i++)
        if (vmcses[i].pa == pa)
            return &vmcses[i];
    return NULL;
}

static struct fake_vmcs *new_vmcs(hv_hpa_t pa)
{
    struct fake_vmcs *vmcs = find_vmcs(0);

    fake_require(vmcs != NULL, "too many VMCSs");
    memset(vmcs, 0, sizeof(*vmcs));
    vmcs->pa = pa;
    vmcs->cpu = HV_CPU_NONE;
    for (size_t i = 0; i < FIELDS; i++)
        vmcs->value[i] = GARBAGE;
    return vmcs;
}

bool vmx_vmclear(uint64_t pa)
{
    uint32_t cpu = here("VMCLEAR");
    struct fake_vmcs *vmcs = find_vmcs(pa);

    if (pa % HV_PAGE_SIZE || is_region(pa) || !has_revision(pa))
        fake_fail("VMCLEAR of 0x%llx: not a VMCS region", (unsigned long long)pa);
    if (!vmcs)
        vmcs = new_vmcs(pa);
    fake_require(vmcs->cpu == HV_CPU_NONE || vmcs->cpu == cpu, "VMCLEAR: the VMCS is active on another CPU");
    if (cpus[cpu].current == vmcs)
        cpus[cpu].current = NULL;
    vmcs->cpu = HV_CPU_NONE;
    vmcs->launched = false;
    fake_vmx_counts.vmclear++;
    return true;
}

bool vmx_vmptrld(uint64_t pa)
{
    uint32_t cpu = here("VMPTRLD");
    struct fake_vmcs *vmcs = find_vmcs(pa);

    if (pa % HV_PAGE_SIZE || is_region(pa) || !has_revision(pa))
        fake_fail("VMPTRLD of 0x%llx: not a VMCS region", (unsigned long long)pa);
    fake_require(pa && vmcs, "VMPTRLD: the VMCS was never cleared");
    fake_require(vmcs->cpu == HV_CPU_NONE || vmcs->cpu == cpu, "VMPTRLD: the VMCS is active on another CPU");
    vmcs->cpu = cpu;
    cpus[cpu].current = vmcs;
    fake_vmx_counts.vmptrld++;
    return true;
}

uint32_t fake_vmcs_cpu(hv_hpa_t pa)
{
    const struct fake_vmcs *vmcs = find_vmcs(pa);

    return vmcs ? vmcs->cpu : HV_CPU_NONE;
}

void fake_vmx_page_freed(hv_hpa_t pa)
{
    struct fake_vmcs *vmcs = find_vmcs(pa);

    fake_require(!is_region(pa), "freed: the VMXON region of a CPU in VMX operation");
    if (!vmcs)
        return;
    fake_require(vmcs->cpu == HV_CPU_NONE, "freed: a VMCS that a CPU has active");
    vmcs->pa = 0;
}

/* ------------------------------------------------------------------------- VMREAD, VMWRITE */

static struct fake_vmcs *current(const char *instruction)
{
    uint32_t cpu = here(instruction);

    if (!cpus[cpu].current)
        fake_fail("%s: no current VMCS", instruction);
    return cpus[cpu].current;
}

uint64_t fake_vmcs_get(uint32_t field)
{
    return get(cpus[fake_cpu()].current, field);
}

void fake_vmcs_set(uint32_t field, uint64_t value)
{
    set(cpus[fake_cpu()].current, field, value);
}

bool vmx_try_read(uint32_t field, uint64_t *value)
{
    const struct fake_vmcs *vmcs = current("VMREAD");

    if (!field_exists(field))
        return false;
    *value = get(vmcs, field);
    fake_vmx_counts.reads++;
    field_reads[place_of(field)]++;
    return true;
}

bool vmx_try_write(uint32_t field, uint64_t value)
{
    struct fake_vmcs *vmcs = current("VMWRITE");

    if (!field_exists(field) || FIELD_GET(VMCS_ENC_TYPE, field) == VMCS_TYPE_READ_ONLY)
        return false;
    set(vmcs, field, value);
    fake_vmx_counts.writes++;
    field_writes[place_of(field)]++;
    return true;
}

uint64_t vmx_read(uint32_t field)
{
    uint64_t value;

    if (!vmx_try_read(field, &value))
        fake_fail("VMREAD of 0x%x, which this CPU does not have", field);
    return value;
}

void vmx_write(uint32_t field, uint64_t value)
{
    if (!vmx_try_write(field, value))
        fake_fail("VMWRITE of 0x%x, which this CPU does not have, or which is read-only", field);
}

unsigned fake_vmx_reads(uint32_t field)
{
    return field_reads[place_of(field)];
}

unsigned fake_vmx_writes(uint32_t field)
{
    return field_writes[place_of(field)];
}

void fake_vmx_forget(void)
{
    fake_vmx_counts = (struct fake_vmx_counts){0};
    memset(field_reads, 0, sizeof(field_reads));
    memset(field_writes, 0, sizeof(field_writes));
}

/* ------------------------------------------------------------------------ INVEPT, INVVPID */

/* The types are bits from 25 (INVEPT) or 40 (INVVPID) on of the capability MSR. */
static void require_type(uint64_t instruction_bit, unsigned first_type_bit, uint64_t type, const char *instruction)
{
    uint64_t caps = *fake_msr(fake_cpu(), MSR_IA32_VMX_EPT_VPID_CAP);

    if (!(caps & instruction_bit) || !(caps >> (first_type_bit + type) & 1))
        fake_fail("%s: this CPU does not have type %llu", instruction, (unsigned long long)type);
}

void vmx_invept(uint64_t type, uint64_t eptp)
{
    uint32_t cpu = here("INVEPT");

    require_type(EPT_CAP_INVEPT, 24, type, "INVEPT");
    if (type == INVEPT_ALL) {
        fake_vmx_counts.invept_all++;
    } else {
        fake_require(FIELD_GET(EPTP_MEM_TYPE, eptp) == MEM_TYPE_WB && FIELD_GET(EPTP_WALK, eptp) == 3,
                     "INVEPT: not an EPT pointer");
        fake_vmx_counts.invept_single++;
    }
    last_invept = (struct fake_flush){type, eptp, cpu};
}

void vmx_invvpid(uint64_t type, uint16_t vpid)
{
    uint32_t cpu = here("INVVPID");

    require_type(VPID_CAP_INVVPID, 40, type, "INVVPID");
    if (type == INVVPID_ALL) {
        fake_vmx_counts.invvpid_all++;
    } else {
        fake_require(vpid != 0, "INVVPID: VPID 0");
        fake_vmx_counts.invvpid_single++;
    }
    last_invvpid = (struct fake_flush){type, vpid, cpu};
}

struct fake_flush fake_last_invept(void)
{
    return last_invept;
}

struct fake_flush fake_last_invvpid(void)
{
    return last_invvpid;
}

void fake_fail_vmxon(unsigned n)
{
    vmxon_countdown = n;
}

/* ----------------------------------------------------------------------------- the entry */

void fake_guest(const struct fake_step *script, unsigned count)
{
    fake_require(count <= STEPS_MAX, "fake_guest: too many steps");
    if (count)
        memcpy(steps, script, count * sizeof(*script));
    step_next = 0;
    step_count = count;
}

unsigned fake_guest_left(void)
{
    return step_count - step_next;
}

void fake_vmx_expect_refusal(bool expected)
{
    refusal_expected = expected;
}

struct fake_event fake_vmx_injected(void)
{
    return injected;
}

static uint64_t capability(uint32_t plain, uint32_t true_variant)
{
    return *fake_msr(0, *fake_msr(0, MSR_IA32_VMX_BASIC) & VMX_BASIC_TRUE_CTLS ? true_variant : plain);
}

static struct vmx_caps capabilities(void)
{
    return (struct vmx_caps){
        .basic = *fake_msr(0, MSR_IA32_VMX_BASIC),
        .pin = capability(MSR_IA32_VMX_PINBASED_CTLS, MSR_IA32_VMX_TRUE_PINBASED_CTLS),
        .cpu = capability(MSR_IA32_VMX_PROCBASED_CTLS, MSR_IA32_VMX_TRUE_PROCBASED_CTLS),
        .cpu2 = *fake_msr(0, MSR_IA32_VMX_PROCBASED_CTLS2),
        .exit = capability(MSR_IA32_VMX_EXIT_CTLS, MSR_IA32_VMX_TRUE_EXIT_CTLS),
        .entry = capability(MSR_IA32_VMX_ENTRY_CTLS, MSR_IA32_VMX_TRUE_ENTRY_CTLS),
        .misc = *fake_msr(0, MSR_IA32_VMX_MISC),
        .cr0_fixed0 = *fake_msr(0, MSR_IA32_VMX_CR0_FIXED0),
        .cr0_fixed1 = *fake_msr(0, MSR_IA32_VMX_CR0_FIXED1),
        .cr4_fixed0 = *fake_msr(0, MSR_IA32_VMX_CR4_FIXED0),
        .cr4_fixed1 = *fake_msr(0, MSR_IA32_VMX_CR4_FIXED1),
        .ept_vpid = *fake_msr(0, MSR_IA32_VMX_EPT_VPID_CAP),
        .vmfunc = *fake_msr(0, MSR_IA32_VMX_VMFUNC),
        .phys_bits = 39,
        .linear_bits = 48,
        .long_mode = true,
    };
}

static uint64_t audit_read_field(void *arg, uint32_t field)
{
    return get(arg, field);
}

static bool audit_read_memory(void *arg, uint64_t address, uint64_t *value)
{
    const uint64_t *word = hv_host_phys_to_virt(address);

    (void)arg;
    if (word)
        *value = *word;
    return word;
}

/* Is there a broken rule of these parts? Fails the test unless it may be. */
static bool is_refused(struct fake_vmcs *vmcs, uint32_t parts)
{
    const struct vmx_caps caps = capabilities();
    const struct vmx_audit_source source = {
        .read = audit_read_field,
        .read_memory = audit_read_memory,
        .arg = vmcs,
        .caps = &caps,
        .current_vmcs = vmcs->pa,
        .parts = parts,
    };
    struct hv_audit_finding finding;
    char line[256];

    if (!vmx_audit(&source, &finding))
        return false;
    hv_audit_format(line, sizeof(line), &finding);
    if (!refusal_expected)
        fake_fail("VM entry refused: %s", line);
    return true;
}

/* Fields that hold what nobody wrote are as good as random. */
static void require_written(const struct fake_vmcs *vmcs)
{
    static const uint32_t exempt[] = {
        VMCS_GUEST_INTR_STATUS,
        VMCS_PML_INDEX,
        VMCS_GUEST_SMBASE,
        VMCS_GUEST_PREEMPTION_TIMER,
    };
#define FIELD_ENCODING(name, encoding) encoding,
    static const uint32_t fields[] = {VMCS_FIELDS(FIELD_ENCODING)};

    for (size_t i = 0; i < ARRAY_COUNT(fields); i++) {
        uint64_t type = FIELD_GET(VMCS_ENC_TYPE, fields[i]);
        bool is_exempt = false;

        for (size_t k = 0; k < ARRAY_COUNT(exempt); k++)
            is_exempt |= exempt[k] == fields[i];
        if ((type == VMCS_TYPE_GUEST || type == VMCS_TYPE_HOST) && field_exists(fields[i]) && !is_exempt &&
            !vmcs->written[place_of(fields[i])])
            fake_fail("VM entry: %s was never written", vmcs_field_name(fields[i]));
    }
}

/* SDM 3C 28.5: the host's state comes from the VMCS or has fixed values. */
static void load_host_state(const struct fake_vmcs *vmcs)
{
    struct fake_x86 *x = fake_x86_here();
    uint32_t cpu = fake_cpu();

    x->cr0 = get(vmcs, VMCS_HOST_CR0);
    x->cr3 = get(vmcs, VMCS_HOST_CR3);
    x->cr4 = get(vmcs, VMCS_HOST_CR4);
    x->dr7 = DR7_RESET;
    x->cs = (uint16_t)get(vmcs, VMCS_HOST_CS_SELECTOR);
    x->ss = (uint16_t)get(vmcs, VMCS_HOST_SS_SELECTOR);
    x->ds = (uint16_t)get(vmcs, VMCS_HOST_DS_SELECTOR);
    x->es = (uint16_t)get(vmcs, VMCS_HOST_ES_SELECTOR);
    x->fs = (uint16_t)get(vmcs, VMCS_HOST_FS_SELECTOR);
    x->gs = (uint16_t)get(vmcs, VMCS_HOST_GS_SELECTOR);
    x->tr = (uint16_t)get(vmcs, VMCS_HOST_TR_SELECTOR);
    x->tr_base = get(vmcs, VMCS_HOST_TR_BASE);
    x->tr_limit = 0x67;
    x->ldtr = 0;
    x->gdtr = (struct cpu_table_register){.limit = 0xffff, .base = get(vmcs, VMCS_HOST_GDTR_BASE)};
    x->idtr = (struct cpu_table_register){.limit = 0xffff, .base = get(vmcs, VMCS_HOST_IDTR_BASE)};
    *fake_msr(cpu, MSR_IA32_DEBUGCTL) = 0;
    *fake_msr(cpu, MSR_IA32_SYSENTER_CS) = get(vmcs, VMCS_HOST_SYSENTER_CS);
    *fake_msr(cpu, MSR_IA32_SYSENTER_ESP) = get(vmcs, VMCS_HOST_SYSENTER_ESP);
    *fake_msr(cpu, MSR_IA32_SYSENTER_EIP) = get(vmcs, VMCS_HOST_SYSENTER_EIP);
    *fake_msr(cpu, MSR_IA32_FS_BASE) = get(vmcs, VMCS_HOST_FS_BASE);
    *fake_msr(cpu, MSR_IA32_GS_BASE) = get(vmcs, VMCS_HOST_GS_BASE);
    *fake_msr(cpu, MSR_IA32_PAT) = get(vmcs, VMCS_HOST_PAT);
    *fake_msr(cpu, MSR_IA32_EFER) = get(vmcs, VMCS_HOST_EFER);
}

static void note_injection(struct fake_vmcs *vmcs)
{
    uint32_t info = (uint32_t)get(vmcs, VMCS_ENTRY_INTR_INFO);
    uint64_t blocking = get(vmcs, VMCS_GUEST_INTERRUPTIBILITY);

    injected = (struct fake_event){0};
    if (!(info & INTR_INFO_VALID))
        return;
    injected.info = info;
    injected.error_code = info & INTR_INFO_ERROR_VALID ? (uint32_t)get(vmcs, VMCS_ENTRY_ERROR_CODE) : 0;
    if (FIELD_GET(INTR_INFO_TYPE, info) >= INTR_TYPE_SW_INTR)
        injected.length = (uint32_t)get(vmcs, VMCS_ENTRY_INSTR_LENGTH);
    blocking &= ~(INTERRUPTIBILITY_STI | INTERRUPTIBILITY_MOV_SS);
    if (FIELD_GET(INTR_INFO_TYPE, info) == INTR_TYPE_NMI)
        blocking |= INTERRUPTIBILITY_NMI;
    set(vmcs, VMCS_GUEST_INTERRUPTIBILITY, blocking);
}

static uint64_t or_garbage(uint64_t value, bool is_defined)
{
    return is_defined ? value : GARBAGE;
}

/* SDM 3C 28.2, 28.3: what an exit records. */
static void record_exit(struct fake_vmcs *vmcs, const struct fake_step *s)
{
    bool is_ept = s->reason == EXIT_REASON_EPT_VIOLATION || s->reason == EXIT_REASON_EPT_MISCONFIG;
    uint64_t entry = get(vmcs, VMCS_ENTRY_CONTROLS) & ~ENTRY_GUEST_64BIT;

    set(vmcs, VMCS_EXIT_REASON, s->reason);
    set(vmcs, VMCS_EXIT_QUALIFICATION, s->qualification);
    set(vmcs, VMCS_EXIT_INSTR_LENGTH, or_garbage(s->length, s->length));
    set(vmcs, VMCS_EXIT_INTR_INFO, s->intr_info);
    set(vmcs, VMCS_EXIT_INTR_ERROR_CODE, or_garbage(s->intr_error, s->intr_info & INTR_INFO_ERROR_VALID));
    set(vmcs, VMCS_IDT_VECTORING_INFO, s->vectoring_info);
    set(vmcs, VMCS_IDT_VECTORING_ERROR_CODE, or_garbage(s->vectoring_error, s->vectoring_info & INTR_INFO_ERROR_VALID));
    set(vmcs, VMCS_GUEST_PHYSICAL_ADDR, or_garbage(s->gpa, is_ept));
    set(vmcs, VMCS_GUEST_LINEAR_ADDR, or_garbage(s->gva, is_ept && s->qualification & QUAL_EPT_LINEAR_VALID));
    if (s->reason & EXIT_REASON_ENTRY_FAILED)
        return;
    set(vmcs, VMCS_ENTRY_INTR_INFO, get(vmcs, VMCS_ENTRY_INTR_INFO) & ~INTR_INFO_VALID);
    set(vmcs, VMCS_ENTRY_CONTROLS, has(vmcs, VMCS_GUEST_EFER, EFER_LMA) ? entry | ENTRY_GUEST_64BIT : entry);
}

static uint32_t vm_fail(struct fake_vmcs *vmcs, uint32_t error)
{
    set(vmcs, VMCS_INSTR_ERROR, error);
    return VMX_VMFAIL;
}

/* What the assembly does besides entering. */
static void check_host(struct vmx_vcpu *vmx, const struct fake_vmcs *vmcs)
{
    fake_require(!fake_irqs_on(), "VM entry: interrupts are on");
    fake_require(vmcs->pa == vmx->vmcs_pa, "VM entry: another VMCS is current");
    if (vmx->host_rsp != FAKE_RSP)
        vmx_write(VMCS_HOST_RSP, vmx->host_rsp = FAKE_RSP);
    fake_require(get(vmcs, VMCS_HOST_RSP) == FAKE_RSP, "VM entry: HOST_RSP");
    fake_require(get(vmcs, VMCS_HOST_RIP) == (uintptr_t)vmx_exit_point, "VM entry: HOST_RIP");
}

static void run_guest(struct vmx_vcpu *vmx, const struct fake_step *step)
{
    uint64_t gpr[GPR_COUNT];

    memcpy(gpr, vmx->v.gpr, sizeof(gpr));
    fake_x86_here()->cr2 = vmx->v.cr2;
    gpr[GPR_RSP] = GARBAGE;
    if (step->run)
        step->run(gpr);
    for (unsigned i = 0; i < GPR_COUNT; i++)
        if (i != GPR_RSP)
            vmx->v.gpr[i] = gpr[i];
    vmx->v.cr2 = fake_x86_here()->cr2;
}

/* ------------------------------------------------------------------------- interrupts of the guest */

void fake_vmx_on_interrupt(void (*fn)(uint8_t vector))
{
    on_interrupt = fn;
}

static volatile uint32_t *apic_register(const struct fake_vmcs *vmcs, uint32_t offset)
{
    return (volatile uint32_t *)hv_host_phys_to_virt(get(vmcs, VMCS_VIRTUAL_APIC_ADDR)) + offset / 4;
}

/* The highest bit of 256 that begin at this register; 0: none. */
static uint8_t highest(const struct fake_vmcs *vmcs, uint32_t offset)
{
    for (uint32_t i = 8; i--;) {
        uint32_t word = *apic_register(vmcs, offset + 16 * i);

        if (word)
            return (uint8_t)(32 * i + 31 - (uint32_t)__builtin_clz(word));
    }
    return 0;
}

static void put_bit(const struct fake_vmcs *vmcs, uint32_t offset, uint8_t vector, bool value)
{
    volatile uint32_t *word = apic_register(vmcs, offset + vector / 32 * 16u);

    *word = value ? *word | 1u << vector % 32 : *word & ~(1u << vector % 32);
}

static bool is_open(const struct fake_vmcs *vmcs)
{
    return get(vmcs, VMCS_GUEST_RFLAGS) & RFLAGS_IF &&
           !has(vmcs, VMCS_GUEST_INTERRUPTIBILITY, INTERRUPTIBILITY_STI | INTERRUPTIBILITY_MOV_SS);
}

/* SDM 3C 30.2.2; and the EOI at once: 30.1.4. */
static void deliver(struct fake_vmcs *vmcs)
{
    while (has(vmcs, VMCS_CPU2_CONTROLS, CPU2_VIRT_INTR_DELIVERY) && !has(vmcs, VMCS_CPU_CONTROLS, CPU_INTR_WINDOW)) {
        uint64_t status = get(vmcs, VMCS_GUEST_INTR_STATUS);
        uint8_t rvi = status & 0xff, svi = status >> 8 & 0xff, vtpr = (uint8_t)*apic_register(vmcs, 0x80);
        uint8_t priority = vtpr >> 4 > svi >> 4 ? vtpr >> 4 : svi >> 4;

        if (rvi >> 4 <= priority || !is_open(vmcs))
            return;
        put_bit(vmcs, 0x200, rvi, false);
        set(vmcs, VMCS_GUEST_INTR_STATUS, (uint64_t)svi << 8 | highest(vmcs, 0x200));
        fake_require(!(get(vmcs, VMCS_EOI_EXIT_BITMAP0 + rvi / 64 * 2u) >> rvi % 64 & 1), "an EOI that exits");
        on_interrupt(rvi);
    }
}

/* SDM 3C 30.6. */
static void process_posted(struct fake_vmcs *vmcs)
{
    uint64_t *d = hv_host_phys_to_virt(get(vmcs, VMCS_POSTED_INTR_DESC_ADDR));
    uint8_t rvi;

    __atomic_fetch_and(&d[4], ~1ull, __ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < 4; i++) {
        uint64_t requests = __atomic_exchange_n(&d[i], 0, __ATOMIC_SEQ_CST);

        for (; requests; requests &= requests - 1)
            put_bit(vmcs, 0x200, (uint8_t)(64 * i + (unsigned)__builtin_ctzll(requests)), true);
    }
    rvi = highest(vmcs, 0x200);
    if (rvi > (get(vmcs, VMCS_GUEST_INTR_STATUS) & 0xff))
        set(vmcs, VMCS_GUEST_INTR_STATUS, (get(vmcs, VMCS_GUEST_INTR_STATUS) & 0xff00) | rvi);
}

/* The host's interrupts, that the CPU sees inside the guest. The vector of one that ends its run; -1: none. */
static int take_physical(struct fake_vmcs *vmcs)
{
    bool is_posted = has(vmcs, VMCS_PIN_CONTROLS, PIN_POSTED_INTR);
    int vector;

    while ((vector = fake_apic_take(fake_cpu())) >= 0) {
        if (!is_posted || vector != (int)get(vmcs, VMCS_POSTED_INTR_VECTOR))
            return vector;
        process_posted(vmcs);
    }
    return -1;
}

static void record_exit(struct fake_vmcs *vmcs, const struct fake_step *s);

/* What comes before the guest's first instruction. False: it ends there. */
static bool begin_guest(struct fake_vmcs *vmcs)
{
    struct fake_step exit = {.reason = EXIT_REASON_EXTERNAL_INTR};
    int vector;

    if (injected.info & INTR_INFO_VALID && FIELD_GET(INTR_INFO_TYPE, injected.info) == INTR_TYPE_EXTERNAL)
        on_interrupt((uint8_t)injected.info);
    vector = take_physical(vmcs);
    if (vector < 0) {
        deliver(vmcs);
        exit.reason = EXIT_REASON_INTR_WINDOW;
        if (!has(vmcs, VMCS_CPU_CONTROLS, CPU_INTR_WINDOW) || !is_open(vmcs))
            return true;
    } else if (has(vmcs, VMCS_EXIT_CONTROLS, EXIT_ACK_INTR)) {
        exit.intr_info = (uint32_t)(INTR_INFO_VALID | FIELD_PUT(INTR_INFO_TYPE, INTR_TYPE_EXTERNAL)) | (uint32_t)vector;
    } else {
        fake_apic_send(FAKE_APIC_ID(fake_cpu()), (uint8_t)vector);
    }
    record_exit(vmcs, &exit);
    return false;
}

/* What has come while it ran: what the CPU does not take by itself waits for the next entry. */
static void end_guest(struct fake_vmcs *vmcs)
{
    int vector = take_physical(vmcs);

    deliver(vmcs);
    if (vector >= 0)
        fake_apic_send(FAKE_APIC_ID(fake_cpu()), (uint8_t)vector);
}

static const struct fake_step refused = {.reason =
                                             (uint32_t)(EXIT_REASON_ENTRY_FAILED | EXIT_REASON_ENTRY_GUEST_STATE)};

uint64_t vmx_run_guest(void *vcpu)
{
    struct vmx_vcpu *vmx = vcpu;
    struct fake_vmcs *vmcs = current("VMLAUNCH");
    const struct fake_step *step;

    check_host(vmx, vmcs);
    require_written(vmcs);
    fake_vmx_counts.entries++;
    if (is_refused(vmcs, VMX_AUDIT_CONTROLS))
        return vm_fail(vmcs, VMX_ERROR_ENTRY_CONTROLS);
    if (is_refused(vmcs, VMX_AUDIT_HOST))
        return vm_fail(vmcs, VMX_ERROR_ENTRY_HOST_STATE);
    if (is_refused(vmcs, VMX_AUDIT_GUEST)) {
        step = &refused;
    } else if (on_interrupt) {
        vmcs->launched = true;
        note_injection(vmcs);
        if (!begin_guest(vmcs)) {
            load_host_state(vmcs);
            return (uint32_t)vmx_read(VMCS_EXIT_REASON);
        }
        fake_require(step_next < step_count, "VM entry: the test expects no further one");
        step = &steps[step_next++];
    } else {
        fake_require(step_next < step_count, "VM entry: the test expects no further one");
        step = &steps[step_next++];
    }
    if (step->vm_fail)
        return vm_fail(vmcs, step->vm_fail);
    if (!(step->reason & EXIT_REASON_ENTRY_FAILED)) {
        vmcs->launched = true;
        if (!on_interrupt)
            note_injection(vmcs);
        run_guest(vmx, step);
        if (on_interrupt)
            end_guest(vmcs);
    }
    record_exit(vmcs, step);
    load_host_state(vmcs);
    return (uint32_t)vmx_read(VMCS_EXIT_REASON);
}

/* --------------------------------------------------------------------------- all of it */

void fake_vmx_reset(void)
{
    memset(vmcses, 0, sizeof(vmcses));
    for (uint32_t cpu = 0; cpu < FAKE_MAX_CPUS; cpu++) {
        cpus[cpu].region = NO_REGION;
        cpus[cpu].current = NULL;
    }
    fake_vmx_forget();
    last_invept = last_invvpid = (struct fake_flush){.cpu = HV_CPU_NONE};
    fake_fail_vmxon(0);
    fake_guest(NULL, 0);
    refusal_expected = false;
    injected = (struct fake_event){0};
    on_interrupt = NULL;
}

void fake_vmx_assert_clean(void)
{
    for (uint32_t cpu = 0; cpu < FAKE_MAX_CPUS; cpu++)
        if (fake_vmx_is_on(cpu))
            fake_fail("CPU %u is still in VMX operation", cpu);
}
