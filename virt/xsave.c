/* SPDX-License-Identifier: MIT */
/*
 * The extended state of a VP (SDM 1 chapter 13): x87 and SSE registers one by one, and the whole as a client sees it. A
 * vcpu keeps it in the standard format of XSAVE; clients are given the compacted one and may give either.
 */
#include "xsave.h"
#include <arch/bits/cpuid.h>
#include <arch/bits/cr.h>
#include <hv/base/bits.h>
#include <hv/base/memory.h>

/* SDM 1 13.4.1, 13.4.2: legacy region in the form of FXSAVE64, and header */
struct xsave_image {
    uint16_t fcw, fsw;
    uint8_t ftw, reserved1;
    uint16_t fop;
    uint64_t fip, fdp;
    uint32_t mxcsr, mxcsr_mask;
    uint64_t st[8][2];
    uint64_t xmm[16][2];
    uint64_t unused[12];
    uint64_t xstate_bv, xcomp_bv, reserved2[6];
};
_Static_assert(offsetof(struct xsave_image, mxcsr) == 24, "FXSAVE area");
_Static_assert(offsetof(struct xsave_image, xmm) == 160, "FXSAVE area");
_Static_assert(offsetof(struct xsave_image, xstate_bv) == 512, "XSAVE header");
_Static_assert(sizeof(struct xsave_image) == 576, "XSAVE area up to the extended region");

#define XCOMP_BV_COMPACTED BIT64(63)
#define LEGACY_STATE       (XCR0_X87 | XCR0_SSE)

/* SDM 1 13.6: initial configurations */
#define FCW_INIT   0x037fu
#define MXCSR_INIT 0x1f80u

/* MXCSR bits that every 64-bit CPU has; some have more, and say so in mxcsr_mask when they save their state. */
#define MXCSR_ALWAYS 0xffffu

#define ST_HIGH BITS64(15, 0)

static struct xsave_image *image_of(const struct vcpu *v)
{
    return v->xsave;
}

/* ------------------------------------------------------------------------- components */

/* What the state of a VP consists of. */
static uint64_t state_mask(void)
{
    uint64_t allowed = cpu_facts()->xcr0_allowed;

    return allowed ? allowed : LEGACY_STATE;
}

/*
 * Does the image hold this component? If not, it is in its initial configuration. An image of FXSAVE always holds
 * both.
 */
static bool is_in_use(const struct xsave_image *image, uint64_t component)
{
    return !cpu_facts()->xcr0_allowed || (image->xstate_bv & component);
}

static void init_x87(struct xsave_image *image)
{
    image->fcw = FCW_INIT;
    image->fsw = image->fop = 0;
    image->ftw = image->reserved1 = 0;
    image->fip = image->fdp = 0;
    memset(image->st, 0, sizeof(image->st));
}

static void init_xmm(struct xsave_image *image)
{
    memset(image->xmm, 0, sizeof(image->xmm));
}

static void use_x87(struct xsave_image *image)
{
    if (!is_in_use(image, XCR0_X87))
        init_x87(image);
    image->xstate_bv |= XCR0_X87;
}

static void use_sse(struct xsave_image *image)
{
    if (!is_in_use(image, XCR0_SSE))
        init_xmm(image);
    image->xstate_bv |= XCR0_SSE;
}

static bool mxcsr_is_valid(const struct xsave_image *image, uint32_t mxcsr)
{
    return !(mxcsr & ~(image->mxcsr_mask | MXCSR_ALWAYS));
}

/* ------------------------------------------------------------------------ single registers */

void xsave_get_xmm(const struct vcpu *v, unsigned n, union hv_reg_value *value)
{
    const struct xsave_image *image = image_of(v);
    bool in_use = is_in_use(image, XCR0_SSE);

    value->u128.low = in_use ? image->xmm[n][0] : 0;
    value->u128.high = in_use ? image->xmm[n][1] : 0;
}

void xsave_set_xmm(struct vcpu *v, unsigned n, const union hv_reg_value *value)
{
    struct xsave_image *image = image_of(v);

    use_sse(image);
    image->xmm[n][0] = value->u128.low;
    image->xmm[n][1] = value->u128.high;
}

void xsave_get_st(const struct vcpu *v, unsigned n, union hv_reg_value *value)
{
    const struct xsave_image *image = image_of(v);
    bool in_use = is_in_use(image, XCR0_X87);

    value->u128.low = in_use ? image->st[n][0] : 0;
    value->u128.high = in_use ? image->st[n][1] & ST_HIGH : 0;
}

void xsave_set_st(struct vcpu *v, unsigned n, const union hv_reg_value *value)
{
    struct xsave_image *image = image_of(v);

    use_x87(image);
    image->st[n][0] = value->u128.low;
    image->st[n][1] = value->u128.high & ST_HIGH;
}

void xsave_get_fp_control(const struct vcpu *v, union hv_reg_value *value)
{
    const struct xsave_image *image = image_of(v);

    value->fp = (struct hv_fp_control_status){.control = FCW_INIT};
    if (!is_in_use(image, XCR0_X87))
        return;
    value->fp = (struct hv_fp_control_status){
        .control = image->fcw,
        .status = image->fsw,
        .tag = image->ftw,
        .last_op = image->fop,
        .last_rip = image->fip,
    };
}

void xsave_set_fp_control(struct vcpu *v, const union hv_reg_value *value)
{
    struct xsave_image *image = image_of(v);

    use_x87(image);
    image->fcw = value->fp.control;
    image->fsw = value->fp.status;
    image->ftw = value->fp.tag;
    image->fop = value->fp.last_op;
    image->fip = value->fp.last_rip;
}

/*
 * MXCSR is always in the image: in the standard format XSAVE writes and XRSTOR reads it whatever XSTATE_BV says (SDM 1
 * 13.7, 13.8).
 */
void xsave_get_xmm_control(const struct vcpu *v, union hv_reg_value *value)
{
    const struct xsave_image *image = image_of(v);

    value->xmm = (struct hv_xmm_control_status){
        .last_fp_rdp = is_in_use(image, XCR0_X87) ? image->fdp : 0,
        .mxcsr = image->mxcsr,
        .mxcsr_mask = image->mxcsr_mask ? image->mxcsr_mask : MXCSR_ALWAYS,
    };
}

bool xsave_set_xmm_control(struct vcpu *v, const union hv_reg_value *value)
{
    struct xsave_image *image = image_of(v);

    if (!mxcsr_is_valid(image, value->xmm.mxcsr))
        return false;
    image->mxcsr = value->xmm.mxcsr;
    if (value->xmm.last_fp_rdp || is_in_use(image, XCR0_X87)) {
        use_x87(image);
        image->fdp = value->xmm.last_fp_rdp;
    }
    return true;
}

/* ------------------------------------------------------------------------------ layout */

#define COMPONENTS     63u
#define FIRST_EXTENDED 2u /* the components before it are in the legacy region */

struct component {
    uint32_t size, offset; /* offset: in the standard format */
    bool align64;          /* in the compacted format */
};

/* Asked of the CPU once. Who comes at the same time writes the same. */
static struct component components[COMPONENTS];
static bool components_known;

static void learn_component(unsigned i)
{
    struct hv_cpuid_output out;

    cpu_cpuid(CPUID_LEAF_XSAVE, i, &out);
    components[i].size = out.eax;
    components[i].offset = out.ebx;
    components[i].align64 = (out.ecx & CPUID_D_N_ECX_ALIGN64) != 0;
}

static void learn_components(void)
{
    if (__atomic_load_n(&components_known, __ATOMIC_ACQUIRE))
        return;
    for (unsigned i = FIRST_EXTENDED; i < COMPONENTS; i++)
        if (state_mask() & BIT64(i))
            learn_component(i);
    __atomic_store_n(&components_known, true, __ATOMIC_RELEASE);
}

/* A client's area in one of the formats. */
struct area {
    bool compacted;
    uint64_t mask; /* components that have a place in it */
    uint32_t size;
    uint32_t offset[COMPONENTS]; /* of the extended components in `mask` */
};

static void lay_out(struct area *a)
{
    learn_components();
    a->size = sizeof(struct xsave_image);
    for (unsigned i = FIRST_EXTENDED; i < COMPONENTS; i++) {
        const struct component *c = &components[i];

        if (!(a->mask & BIT64(i)))
            continue;
        if (!a->compacted)
            a->offset[i] = c->offset;
        else
            a->offset[i] = c->align64 ? ALIGN_UP(a->size, 64u) : a->size;
        a->size = HV_MAX(a->size, a->offset[i] + c->size);
    }
}

/* ---------------------------------------------------------------------------- as a whole */

/*
 * The legacy region and header of the compacted form. SSE counts as in use when MXCSR is not the initial one, as for
 * XSAVEC (SDM 1 13.10).
 */
static void get_head(const struct xsave_image *image, struct xsave_image *head)
{
    uint64_t mask = state_mask();
    uint64_t in_use = cpu_facts()->xcr0_allowed ? image->xstate_bv & mask : mask;

    *head = *image;
    if (!(in_use & XCR0_X87))
        init_x87(head);
    if (!(in_use & XCR0_SSE))
        init_xmm(head);
    if (head->mxcsr != MXCSR_INIT)
        in_use |= XCR0_SSE;
    memset(head->unused, 0, sizeof(head->unused));
    memset(head->reserved2, 0, sizeof(head->reserved2));
    head->xstate_bv = in_use;
    head->xcomp_bv = XCOMP_BV_COMPACTED | mask;
}

static void get_area(const struct vcpu *v, const struct area *a, uint8_t *to)
{
    struct xsave_image head;

    get_head(image_of(v), &head);
    memset(to, 0, a->size);
    memcpy(to, &head, sizeof(head));
    for (unsigned i = FIRST_EXTENDED; i < COMPONENTS; i++)
        if (head.xstate_bv & BIT64(i))
            memcpy(to + a->offset[i], (const uint8_t *)v->xsave + components[i].offset, components[i].size);
}

enum hv_status hv_vp_get_xsave(struct hv_vp *vp, void *buffer, uint32_t size, uint32_t *written)
{
    struct area a = {.compacted = true, .mask = state_mask()};

    lay_out(&a);
    if (written)
        *written = a.size;
    if (size < a.size)
        return HV_E_BUFFER_TOO_SMALL;
    if (!vp_claim(vp))
        return HV_E_VP_BUSY;
    vcpu_take_off(vp->vcpu);
    get_area(vp->vcpu, &a, buffer);
    vp_release(vp);
    return HV_OK;
}

/* Checks a client's head, and says how the area behind it is laid out. */
static bool check_head(const struct xsave_image *head, struct area *a)
{
    uint64_t reserved = 0;

    for (unsigned i = 0; i < ARRAY_COUNT(head->reserved2); i++)
        reserved |= head->reserved2[i];
    a->compacted = (head->xcomp_bv & XCOMP_BV_COMPACTED) != 0;
    a->mask = a->compacted ? head->xcomp_bv & ~XCOMP_BV_COMPACTED : head->xstate_bv;
    if (reserved || (!a->compacted && head->xcomp_bv) || (a->mask & ~state_mask()) || (head->xstate_bv & ~a->mask))
        return false;
    lay_out(a);
    return true;
}

/*
 * In the compacted form an unused SSE component means the initial MXCSR, in the standard form MXCSR counts in any
 * case.
 */
static uint32_t mxcsr_of(const struct xsave_image *head, const struct area *a)
{
    return a->compacted && !(head->xstate_bv & XCR0_SSE) ? MXCSR_INIT : head->mxcsr;
}

/* `head` was checked; what the client's buffer says there now does not matter any more. */
static void set_area(struct vcpu *v, const struct xsave_image *head, const struct area *a, const uint8_t *from)
{
    struct xsave_image *image = image_of(v);
    uint32_t mxcsr_mask = image->mxcsr_mask;

    *image = *head;
    if (!(head->xstate_bv & XCR0_X87))
        init_x87(image);
    if (!(head->xstate_bv & XCR0_SSE))
        init_xmm(image);
    image->mxcsr = mxcsr_of(head, a);
    image->mxcsr_mask = mxcsr_mask;
    image->xcomp_bv = 0;
    memset(image->unused, 0, sizeof(image->unused));
    for (unsigned i = FIRST_EXTENDED; i < COMPONENTS; i++)
        if (head->xstate_bv & BIT64(i))
            memcpy((uint8_t *)v->xsave + components[i].offset, from + a->offset[i], components[i].size);
}

enum hv_status hv_vp_set_xsave(struct hv_vp *vp, const void *buffer, uint32_t size)
{
    struct xsave_image head;
    struct area a = {0};
    bool valid;

    if (size < sizeof(head))
        return HV_E_INVALID;
    memcpy(&head, buffer, sizeof(head));
    if (!check_head(&head, &a) || size < a.size)
        return HV_E_INVALID;
    if (!vp_claim(vp))
        return HV_E_VP_BUSY;
    vcpu_take_off(vp->vcpu);
    valid = mxcsr_is_valid(image_of(vp->vcpu), mxcsr_of(&head, &a));
    if (valid)
        set_area(vp->vcpu, &head, &a, buffer);
    vp_release(vp);
    return valid ? HV_OK : HV_E_INVALID;
}
