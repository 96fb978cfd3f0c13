/* SPDX-License-Identifier: MIT */
/* The table of synthetic MSRs: see synthetic.h. */
#include "synthetic.h"
#include "stimer.h"
#include "synic.h"
#include "synthetic_vp.h"
#include "time.h"

struct synthetic_msr {
    uint64_t feature;        /* HV_SYNTH_*; 0: there is no such MSR */
    synthetic_read_fn *read; /* NULL: always #GP */
    synthetic_write_fn *write;
};

/* By number, so that EOI, ICR and TPR are found at once. MSR_HV_RESET is not here: no partition's feature offers it. */
#define N(index) ((index)-MSR_HV_FIRST)
/* clang-format off */
static const struct synthetic_msr msrs[] = {
    [N(MSR_HV_GUEST_OS_ID)]    = {HV_SYNTH_HYPERCALL_REGS,    synthetic_read_os_id,     synthetic_write_os_id},
    [N(MSR_HV_HYPERCALL)]      = {HV_SYNTH_HYPERCALL_REGS,    synthetic_read_hypercall, synthetic_write_hypercall},
    [N(MSR_HV_VP_INDEX)]       = {HV_SYNTH_VP_INDEX,          synthetic_read_index,     NULL},
    [N(MSR_HV_VP_RUNTIME)]     = {HV_SYNTH_VP_RUNTIME,        synthetic_read_runtime,   synthetic_write_runtime},
    [N(MSR_HV_TIME_REF_COUNT)] = {HV_SYNTH_REFERENCE_COUNTER, time_read_count,          NULL},
    [N(MSR_HV_REFERENCE_TSC)]  = {HV_SYNTH_REFERENCE_TSC,     time_read_tsc_page,       time_write_tsc_page},
    [N(MSR_HV_TSC_FREQUENCY) ... N(MSR_HV_APIC_FREQUENCY)]
                               = {HV_SYNTH_FREQUENCY_REGS,    synthetic_read_frequency, NULL},
    [N(MSR_HV_EOI)]            = {HV_SYNTH_APIC_REGS,         NULL,                     synthetic_write_apic},
    [N(MSR_HV_ICR) ... N(MSR_HV_TPR)]
                               = {HV_SYNTH_APIC_REGS,         synthetic_read_apic,      synthetic_write_apic},
    [N(MSR_HV_VP_ASSIST_PAGE)] = {HV_SYNTH_APIC_REGS,         synthetic_read_assist,    synthetic_write_assist},
    [N(MSR_HV_SCONTROL) ... N(MSR_HV_EOM)]
                               = {HV_SYNTH_SYNIC,             synic_read,               synic_write},
    [N(MSR_HV_SINT0) ... N(MSR_HV_SINT15)]
                               = {HV_SYNTH_SYNIC,             synic_read,               synic_write},
    [N(MSR_HV_STIMER0_CONFIG) ... N(MSR_HV_STIMER3_COUNT)]
                               = {HV_SYNTH_TIMERS,            stimer_read,              stimer_write},
    [N(MSR_HV_GUEST_IDLE)]     = {HV_SYNTH_GUEST_IDLE,        synthetic_read_idle,      NULL},
};
/* clang-format on */

/* The one with a number of its own, that clients know by its name only. */
static const struct synthetic_msr tsc_sequence = {HV_SYNTH_REFERENCE_TSC, time_read_tsc_sequence,
                                                  time_write_tsc_sequence};

/* NULL: not there, or not for this partition's guests. */
static const struct synthetic_msr *find(const struct hv_partition *p, uint32_t index)
{
    const struct synthetic_msr *msr = index == SYNTHETIC_REFERENCE_TSC_SEQUENCE ? &tsc_sequence
                                      : N(index) < ARRAY_COUNT(msrs)            ? &msrs[N(index)]
                                                                                : NULL;

    return msr && p->properties.synthetic_features & msr->feature ? msr : NULL;
}

bool synthetic_has_msr(const struct hv_partition *p, uint32_t index)
{
    return p->properties.synthetic_features & HV_SYNTH_HV1 && find(p, index);
}

bool synthetic_read(struct hv_vp *vp, uint32_t index, enum synthetic_access by, uint64_t *value)
{
    const struct synthetic_msr *msr = find(vp->partition, index);

    return msr && msr->read && msr->read(vp, index, by, value);
}

bool synthetic_write(struct hv_vp *vp, uint32_t index, enum synthetic_access by, uint64_t value)
{
    const struct synthetic_msr *msr = find(vp->partition, index);

    return msr && msr->write && msr->write(vp, index, by, value);
}
