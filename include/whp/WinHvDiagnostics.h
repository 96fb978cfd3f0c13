/* SPDX-License-Identifier: MIT */
/*
 * BareWHP's own addition to the API, for which the Windows Hypervisor Platform has no counterpart: why a virtual
 * processor could not be entered, or could not go on; how often it came back, and why. The same things as in <hv/hv.h>,
 * by handle.
 *
 * Words of the comments as in WinHvPlatform.h. All: E_INVALIDARG for NULL or a handle that is not a live one,
 * WHV_E_VP_DOES_NOT_EXIST. All but WHvxGetExitCounters: WHV_E_INVALID_VP_STATE while the virtual processor runs. After a
 * failure the memory behind the pointers is as before. Context: thread.
 */
#ifndef WHP_WINHVDIAGNOSTICS_H
#define WHP_WINHVDIAGNOSTICS_H

#include "WinHvPlatform.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The rule that a refused state breaks. All strings are constants and stay valid. */
typedef struct WHVX_AUDIT_FINDING {
    const char *Rule;     /* short and stable: "guest.cs.type" */
    const char *Field;    /* of the hardware's control structure: "GUEST_CS_ACCESS" */
    const char *Text;     /* the rule in words */
    const char *Section;  /* of the manual: "SDM 3C 27.3.1.2" */
    UINT32 FieldEncoding; /* the CPU's number of the field */
    UINT32 Entry;         /* for a rule about a list in memory: which entry, from 1; else 0 */
    UINT64 Value;         /* what the field holds */
    UINT64 WrongBits;     /* the bits of Value that break the rule; 0: the value as a whole does */
} WHVX_AUDIT_FINDING;

#define WHVX_TRIPLE_FAULT_VECTORS 3

typedef struct WHVX_TRIPLE_FAULT {
    UINT64 Rip, Cr3, Cr2;
    WHV_X64_TABLE_REGISTER Idtr;
    BOOL IdtReadable;   /* its first byte could be read through the guest's page tables */
    UINT32 VectorCount; /* how many of the following are known */
    struct {
        UINT32 Vector;
        UINT32 ErrorCode;
    } Vectors[WHVX_TRIPLE_FAULT_VECTORS]; /* the exceptions that led to it, the first one first */
} WHVX_TRIPLE_FAULT;

/*
 * After a run that ended with WHvRunVpExitReasonInvalidVpRegisterValue: the first rule of the manual that the state
 * breaks.
 * Errors: WHV_E_INVALID_VP_STATE when the last run did not end so.
 */
HRESULT WHVAPI WHvxGetAuditFinding(WHV_PARTITION_HANDLE Partition, UINT32 VpIndex, WHVX_AUDIT_FINDING *Finding);

/*
 * The same before a run. *Broken says whether the next run would be refused for the state of the virtual processor; if so
 * *Finding is the first rule that is broken, else it is left as it was. Nothing runs.
 * Errors: HRESULT_FROM_WIN32(ERROR_NOT_SUPPORTED) where the CPU's vendor has no such rules.
 */
HRESULT WHVAPI WHvxAuditVirtualProcessor(WHV_PARTITION_HANDLE Partition, UINT32 VpIndex, BOOL *Broken,
                                         WHVX_AUDIT_FINDING *Finding);

/*
 * After a run that ended with WHvRunVpExitReasonUnrecoverableException: where, and which exceptions led to it.
 * Errors: WHV_E_INVALID_VP_STATE when the last run did not end so.
 */
HRESULT WHVAPI WHvxGetTripleFault(WHV_PARTITION_HANDLE Partition, UINT32 VpIndex, WHVX_TRIPLE_FAULT *TripleFault);

/*
 * Why the guest was left. The hypervisor answers most exits itself, and then runs the guest on: those are not Returns.
 * A run may also end without an exit of its own: it was canceled, or has to tell of an EOI. Then there are Returns and
 * no Exits.
 */
typedef struct WHVX_EXIT_COUNTER {
    const char *Name; /* as in WHV_RUN_VP_EXIT_REASON; "(in brackets)": a reason that clients never see. A constant */
    UINT64 Exits;     /* VM exits of the CPU */
    UINT64 Returns;   /* runs that ended with this reason */
} WHVX_EXIT_COUNTER;

#define WHVX_EXIT_COUNTERS_MAX 64 /* there are never more reasons than this */

/*
 * The exits of a virtual processor by reason since its creation; it may run. Counters has place for Count elements; all
 * reasons are there, also those that did not occur, in the same order for every virtual processor. *Written (which may
 * be NULL) becomes their number, also when there is no place for them; Counters may then be NULL with Count 0.
 * Errors: WHV_E_INSUFFICIENT_BUFFER.
 */
HRESULT WHVAPI WHvxGetExitCounters(WHV_PARTITION_HANDLE Partition, UINT32 VpIndex, WHVX_EXIT_COUNTER *Counters,
                                   UINT32 Count, UINT32 *Written);

#ifdef __cplusplus
}
#endif

#endif
