/* SPDX-License-Identifier: MIT */
/* What went wrong with a virtual processor, by handle. */
#include "call.h"
#include <whp/WinHvDiagnostics.h>

static void put_finding(WHVX_AUDIT_FINDING *to, const struct hv_audit_finding *from)
{
    const WHVX_AUDIT_FINDING finding = {
        .Rule = from->rule,
        .Field = from->field,
        .Text = from->text,
        .Section = from->section,
        .FieldEncoding = from->field_encoding,
        .Entry = from->entry,
        .Value = from->value,
        .WrongBits = from->wrong_bits,
    };

    PUT(to, finding);
}

_Static_assert(WHVX_TRIPLE_FAULT_VECTORS == HV_TRIPLE_FAULT_VECTORS, "as many as the core tells");

static void put_triple_fault(WHVX_TRIPLE_FAULT *to, const struct hv_triple_fault *from)
{
    WHVX_TRIPLE_FAULT fault = {
        .Rip = from->rip,
        .Cr3 = from->cr3,
        .Cr2 = from->cr2,
        .Idtr = {.Limit = from->idtr.limit, .Base = from->idtr.base},
        .IdtReadable = from->idt_readable,
        .VectorCount = from->vector_count,
    };

    for (unsigned i = 0; i < WHVX_TRIPLE_FAULT_VECTORS; i++) {
        fault.Vectors[i].Vector = from->vectors[i];
        fault.Vectors[i].ErrorCode = from->error_codes[i];
    }
    PUT(to, fault);
}

/* "Nothing to tell" is about the virtual processor, not about the partition. */
static HRESULT result(enum hv_status st)
{
    return st == HV_E_STATE ? WHV_E_INVALID_VP_STATE : whp_result(st);
}

HRESULT WHVAPI WHvxGetAuditFinding(WHV_PARTITION_HANDLE Partition, UINT32 VpIndex, WHVX_AUDIT_FINDING *Finding)
{
    struct hv_audit_finding finding;
    struct vp_use in;
    HRESULT hr;

    if (!Finding)
        return E_INVALIDARG;
    hr = vp_enter(&in, Partition, VpIndex, WHP_USE_CALL);
    if (FAILED(hr))
        return hr;
    hr = result(hv_vp_audit_finding(in.vp, &finding));
    vp_leave(&in, WHP_USE_CALL);
    if (SUCCEEDED(hr))
        put_finding(Finding, &finding);
    return hr;
}

HRESULT WHVAPI WHvxAuditVirtualProcessor(WHV_PARTITION_HANDLE Partition, UINT32 VpIndex, BOOL *Broken,
                                         WHVX_AUDIT_FINDING *Finding)
{
    struct hv_audit_finding finding;
    struct vp_use in;
    bool is_broken;
    BOOL broken;
    HRESULT hr;

    if (!Broken || !Finding)
        return E_INVALIDARG;
    hr = vp_enter(&in, Partition, VpIndex, WHP_USE_CALL);
    if (FAILED(hr))
        return hr;
    hr = result(hv_vp_audit(in.vp, &is_broken, &finding));
    vp_leave(&in, WHP_USE_CALL);
    if (FAILED(hr))
        return hr;
    broken = is_broken;
    PUT(Broken, broken);
    if (is_broken)
        put_finding(Finding, &finding);
    return S_OK;
}

HRESULT WHVAPI WHvxGetTripleFault(WHV_PARTITION_HANDLE Partition, UINT32 VpIndex, WHVX_TRIPLE_FAULT *TripleFault)
{
    struct hv_triple_fault triple_fault;
    struct vp_use in;
    HRESULT hr;

    if (!TripleFault)
        return E_INVALIDARG;
    hr = vp_enter(&in, Partition, VpIndex, WHP_USE_CALL);
    if (FAILED(hr))
        return hr;
    hr = result(hv_vp_triple_fault(in.vp, &triple_fault));
    vp_leave(&in, WHP_USE_CALL);
    if (SUCCEEDED(hr))
        put_triple_fault(TripleFault, &triple_fault);
    return hr;
}
