/* SPDX-License-Identifier: MIT */
/*
 * The local APIC's registers (SDM 3A chapter 10): who may read and write which bits in which mode, what writes lead to,
 * priorities, IRR to ISR and EOI, errors, and the modes of IA32_APIC_BASE.
 */
#include "lapic.h"
#include "lapic_parts.h"

/*
 * Version 14H: APICs whose LVT ends with the error's entry say that, those with one for corrected machine checks say
 * 15H. EOI broadcasts can be suppressed.
 */
#define VERSION \
    (FIELD_PUT(APIC_VERSION_VERSION, 0x14) | FIELD_PUT(APIC_VERSION_MAX_LVT, 5) | APIC_VERSION_EOI_BROADCAST)

/* x2APIC mode has ICR as one register: where the hardware reads and writes its upper half (SDM 3C 30.5). */
#define ICR_X2_HIGH (APIC_ICR_LOW + 4)

static const uint16_t lvts[] = {APIC_LVT_TIMER, APIC_LVT_THERMAL, APIC_LVT_PMI,
                                APIC_LVT_LINT0, APIC_LVT_LINT1,   APIC_LVT_ERROR};

/* SDM 3A 10.5.3: an error interrupts if none has since the last write of ESR. */
static void record_error(struct lapic *l, uint32_t error, struct lapic_effect *effect)
{
    uint32_t lvt = lapic_get(l, APIC_LVT_ERROR);

    if (!l->esr_pending && !(lvt & APIC_LVT_MASKED)) {
        effect->bits |= LAPIC_EFFECT_ERROR;
        effect->vector = (uint8_t)FIELD_GET(APIC_LVT_VECTOR, lvt);
    }
    l->esr_pending |= error;
}

/* ------------------------------------------------------------------------------- interrupts */

static uint8_t words_of(const struct lapic *l, uint32_t set)
{
    uint32_t words = 0;

    for (uint32_t i = 0; i < 8; i++)
        if (!l->is_private || lapic_get(l, set + i * 16))
            words |= BIT32(i);
    return (uint8_t)words;
}

void lapic_set_private(struct lapic *l, bool is_private)
{
    l->is_private = is_private;
    l->irr_words = words_of(l, APIC_IRR);
    l->isr_words = words_of(l, APIC_ISR);
}

int lapic_highest_irr(const struct lapic *l)
{
    return lapic_highest(l, APIC_IRR, l->irr_words);
}

int lapic_highest_isr(const struct lapic *l)
{
    return lapic_highest(l, APIC_ISR, l->isr_words);
}

bool lapic_is_level(const struct lapic *l, uint8_t vector)
{
    return lapic_test_vector(l, APIC_TMR, vector);
}

static uint32_t read_ppr(const struct lapic *l, uint64_t now_ns)
{
    (void)now_ns;
    return lapic_ppr(l);
}

void lapic_update_ppr(struct lapic *l)
{
    lapic_put(l, APIC_PPR, lapic_ppr(l));
}

bool lapic_request(struct lapic *l, uint8_t vector, bool is_level, struct lapic_effect *effect)
{
    if (!lapic_is_enabled(l) || !lapic_is_software_enabled(l))
        return false;
    if (vector < LAPIC_FIRST_VECTOR) {
        record_error(l, APIC_ESR_RECV_ILLEGAL, effect);
        return false;
    }
    if (is_level)
        lapic_set_vector(l, APIC_TMR, vector);
    else
        lapic_clear_vector(l, APIC_TMR, vector);
    lapic_set_vector(l, APIC_IRR, vector);
    effect->bits |= LAPIC_EFFECT_PRIORITY;
    return true;
}

void lapic_accept(struct lapic *l, uint8_t vector, bool is_level, struct lapic_effect *effect)
{
    lapic_request(l, vector, is_level, effect);
}

int lapic_next(struct lapic *l)
{
    int vector = lapic_highest_irr(l);

    lapic_update_ppr(l);
    if (vector < 0 || !lapic_is_software_enabled(l))
        return -1;
    return ((uint32_t)vector & LAPIC_PRIORITY_CLASS) > (lapic_get(l, APIC_PPR) & LAPIC_PRIORITY_CLASS) ? vector : -1;
}

void lapic_deliver(struct lapic *l, uint8_t vector, bool is_end)
{
    lapic_clear_vector(l, APIC_IRR, vector);
    if (!is_end)
        lapic_set_vector(l, APIC_ISR, vector);
    lapic_update_ppr(l);
}

/* ----------------------------------------------------------------------------- the inputs */

static const uint16_t inputs[] = {APIC_LVT_LINT0, APIC_LVT_LINT1};

static void set_remote_irr(struct lapic *l, unsigned n, bool value)
{
    uint32_t lvt = lapic_get(l, inputs[n]) & ~(uint32_t)APIC_LVT_REMOTE_IRR;

    l->remote_irr = (uint8_t)(value ? l->remote_irr | BIT32(n) : l->remote_irr & ~BIT32(n));
    lapic_put(l, inputs[n], lvt | (value ? (uint32_t)APIC_LVT_REMOTE_IRR : 0));
}

bool lapic_accept_input(struct lapic *l, unsigned n, struct lapic_effect *effect)
{
    uint32_t lvt = lapic_get(l, inputs[n]);
    bool is_level = lvt & APIC_LVT_LEVEL;

    if (!lapic_request(l, (uint8_t)FIELD_GET(APIC_LVT_VECTOR, lvt), is_level, effect))
        return false;
    if (is_level)
        set_remote_irr(l, n, true);
    return true;
}

/* Status that software can not write is not lost when it writes the rest. */
static void keep_remote_irr(struct lapic *l)
{
    for (unsigned n = 0; n < ARRAY_COUNT(inputs); n++)
        if (l->remote_irr & BIT32(n))
            set_remote_irr(l, n, true);
}

void lapic_load_inputs(struct lapic *l, uint32_t lint0, uint32_t lint1)
{
    set_remote_irr(l, 0, lint0 & APIC_LVT_REMOTE_IRR);
    set_remote_irr(l, 1, lint1 & APIC_LVT_REMOTE_IRR);
}

/* ---------------------------------------------------------------------------------- EOI */

int lapic_eoi(struct lapic *l, struct lapic_effect *effect)
{
    int vector = lapic_highest_isr(l);

    if (vector < 0)
        return -1;
    lapic_clear_vector(l, APIC_ISR, (uint8_t)vector);
    lapic_update_ppr(l);
    effect->bits |= LAPIC_EFFECT_PRIORITY;
    lapic_ended(l, (uint8_t)vector, effect);
    return vector;
}

void lapic_ended(struct lapic *l, uint8_t vector, struct lapic_effect *effect)
{
    effect->bits |= LAPIC_EFFECT_ENDED;
    effect->vector = vector;
    if (lapic_is_level(l, vector) && !(lapic_get(l, APIC_SVR) & APIC_SVR_EOI_SUPPRESSED))
        effect->bits |= LAPIC_EFFECT_EOI;
    for (unsigned n = 0; n < 2; n++) {
        uint32_t lvt = lapic_get(l, inputs[n]);

        if (l->remote_irr & BIT32(n) && FIELD_GET(APIC_LVT_VECTOR, lvt) == vector &&
            !lapic_test_vector(l, APIC_IRR, vector))
            set_remote_irr(l, n, false);
    }
}

/* ------------------------------------------------------------------- what writes lead to */

static void tpr_written(struct lapic *l, uint32_t offset, uint64_t now_ns, struct lapic_effect *effect)
{
    (void)offset, (void)now_ns;
    lapic_update_ppr(l);
    effect->bits |= LAPIC_EFFECT_PRIORITY;
}

static void eoi_written(struct lapic *l, uint32_t offset, uint64_t now_ns, struct lapic_effect *effect)
{
    (void)now_ns;
    lapic_put(l, offset, 0);
    lapic_eoi(l, effect);
}

static void ldr_written(struct lapic *l, uint32_t offset, uint64_t now_ns, struct lapic_effect *effect)
{
    (void)l, (void)offset, (void)now_ns;
    effect->bits |= LAPIC_EFFECT_ADDRESS;
}

/* SDM 3A 10.6.2.2: all bits but the model's are 1. */
static void dfr_written(struct lapic *l, uint32_t offset, uint64_t now_ns, struct lapic_effect *effect)
{
    (void)now_ns;
    lapic_put(l, offset, lapic_get(l, offset) | BITS32(27, 0));
    effect->bits |= LAPIC_EFFECT_ADDRESS;
}

/* SDM 3A 10.4.7.2: all of the LVT is masked while the APIC is disabled by software, and not unmasked when it ends. */
static void svr_written(struct lapic *l, uint32_t offset, uint64_t now_ns, struct lapic_effect *effect)
{
    (void)offset;
    effect->bits |= LAPIC_EFFECT_PRIORITY;
    if (lapic_is_software_enabled(l))
        return;
    for (size_t i = 0; i < ARRAY_COUNT(lvts); i++)
        lapic_put(l, lvts[i], lapic_get(l, lvts[i]) | (uint32_t)APIC_LVT_MASKED);
    lapic_timer_lvt_written(l, now_ns, effect);
}

/* SDM 3A 10.5.3: shows the errors since the last write, and rearms the error interrupt. */
static void esr_written(struct lapic *l, uint32_t offset, uint64_t now_ns, struct lapic_effect *effect)
{
    (void)now_ns, (void)effect;
    lapic_put(l, offset, l->esr_pending);
    l->esr_pending = 0;
}

static void lvt_written(struct lapic *l, uint32_t offset, uint64_t now_ns, struct lapic_effect *effect)
{
    if (!lapic_is_software_enabled(l))
        lapic_put(l, offset, lapic_get(l, offset) | (uint32_t)APIC_LVT_MASKED);
    keep_remote_irr(l);
    if (offset == APIC_LVT_TIMER)
        lapic_timer_lvt_written(l, now_ns, effect);
}

/* Modes that no message has (SDM 3A 10.6.1), and INIT's de-assertion, which no APIC of this version sends. */
static bool is_sent(const struct lapic *l, uint32_t icr)
{
    uint64_t mode = FIELD_GET(APIC_ICR_MODE, icr);

    if (mode == APIC_MODE_INIT)
        return !(icr & APIC_ICR_LEVEL) || icr & APIC_ICR_ASSERT;
    if (mode == APIC_MODE_REMOTE)
        return l->remote_read && !lapic_is_x2apic(l);
    return mode <= APIC_MODE_SMI || mode == APIC_MODE_NMI || mode == APIC_MODE_STARTUP;
}

static void send(struct lapic *l, uint32_t icr, uint32_t destination, struct lapic_effect *effect)
{
    if (FIELD_GET(APIC_ICR_MODE, icr) <= APIC_MODE_LOWEST && FIELD_GET(APIC_ICR_VECTOR, icr) < LAPIC_FIRST_VECTOR) {
        record_error(l, APIC_ESR_SEND_ILLEGAL, effect);
        return;
    }
    if (!is_sent(l, icr))
        return;
    effect->bits |= LAPIC_EFFECT_IPI;
    effect->icr = icr | FIELD_PUT(APIC_ICR_DEST_X2APIC, destination);
}

/* Hardware that keeps ICR in two halves, and a saved page, have the upper one in ICR_HIGH in x2APIC mode too. */
static void icr_written(struct lapic *l, uint32_t offset, uint64_t now_ns, struct lapic_effect *effect)
{
    uint32_t destination = lapic_get(l, ICR_X2_HIGH);

    (void)now_ns;
    if (lapic_is_x2apic(l))
        lapic_put(l, APIC_ICR_HIGH, destination);
    else
        destination = lapic_get(l, APIC_ICR_HIGH) >> 24;
    send(l, lapic_get(l, offset), destination, effect);
}

static void self_ipi_written(struct lapic *l, uint32_t offset, uint64_t now_ns, struct lapic_effect *effect)
{
    uint32_t vector = lapic_get(l, offset);

    (void)now_ns;
    lapic_put(l, offset, 0);
    send(l, (uint32_t)(vector | APIC_ICR_ASSERT | FIELD_PUT(APIC_ICR_SHORTHAND, APIC_SHORTHAND_SELF)), 0, effect);
}

/* ----------------------------------------------------------------- SDM 3A tables 10-1, 10-6 */

#define READ_ALL     (REG_READ | REG_X2_READ)
#define WRITE_ALL    (REG_WRITE | REG_X2_WRITE)
#define ALL          (READ_ALL | WRITE_ALL)
#define XAPIC_ONLY   (REG_READ | REG_WRITE)
#define X2_READ_ONLY (READ_ALL | REG_WRITE)
#define LVT_COMMON   ((uint32_t)(APIC_LVT_VECTOR | APIC_LVT_MASKED))
#define LVT_TIMED    (LVT_COMMON | (uint32_t)APIC_LVT_TIMER_MODE)
#define LVT_MESSAGE  (LVT_COMMON | (uint32_t)APIC_LVT_MODE)
#define LVT_INPUT    (LVT_MESSAGE | (uint32_t)(APIC_LVT_LOW | APIC_LVT_LEVEL))
#define LVT_STATUS   ((uint32_t)APIC_LVT_PENDING)
#define INPUT_STATUS ((uint32_t)(APIC_LVT_PENDING | APIC_LVT_REMOTE_IRR))
#define SVR_BITS     ((uint32_t)(APIC_SVR_VECTOR | APIC_SVR_ENABLE | APIC_SVR_EOI_SUPPRESSED))
#define ICR_STATUS   ((uint32_t)APIC_ICR_PENDING)
#define ICR_BITS                                                                                        \
    ((uint32_t)(APIC_ICR_VECTOR | APIC_ICR_MODE | APIC_ICR_LOGICAL | APIC_ICR_ASSERT | APIC_ICR_LEVEL | \
                APIC_ICR_SHORTHAND))

#define REG(offset) [(offset) / 16]
/* clang-format off */
#define VECTORS(set) \
    REG((set) + 0x00) = {.access = READ_ALL}, REG((set) + 0x10) = {.access = READ_ALL}, \
    REG((set) + 0x20) = {.access = READ_ALL}, REG((set) + 0x30) = {.access = READ_ALL}, \
    REG((set) + 0x40) = {.access = READ_ALL}, REG((set) + 0x50) = {.access = READ_ALL}, \
    REG((set) + 0x60) = {.access = READ_ALL}, REG((set) + 0x70) = {.access = READ_ALL}

static const struct lapic_reg registers[LAPIC_REGS] = {
    /*                       access        bits            ignored        read               written */
    REG(APIC_ID)          = {.access = READ_ALL},
    REG(APIC_VERSION)     = {.access = READ_ALL},
    REG(APIC_TPR)         = {ALL,          0xff,           0,             NULL,              tpr_written},
    REG(APIC_APR)         = {.access = REG_READ},
    REG(APIC_PPR)         = {READ_ALL,     0,              0,             read_ppr,          NULL},
    REG(APIC_EOI)         = {WRITE_ALL,    0,              0,             NULL,              eoi_written},
    REG(APIC_RRD)         = {.access = REG_READ},
    REG(APIC_LDR)         = {X2_READ_ONLY, BITS32(31, 24), 0,             NULL,              ldr_written},
    REG(APIC_DFR)         = {XAPIC_ONLY,   BITS32(31, 28), BITS32(27, 0), NULL,              dfr_written},
    REG(APIC_SVR)         = {ALL,          SVR_BITS,       0,             NULL,              svr_written},
    VECTORS(APIC_ISR),
    VECTORS(APIC_TMR),
    VECTORS(APIC_IRR),
    REG(APIC_ESR)         = {ALL,          0,              0,             NULL,              esr_written},
    REG(APIC_ICR_LOW)     = {ALL,          ICR_BITS,       ICR_STATUS,    NULL,              icr_written},
    REG(APIC_ICR_HIGH)    = {XAPIC_ONLY,   BITS32(31, 24), 0,             NULL,              NULL},
    REG(APIC_LVT_TIMER)   = {ALL,          LVT_TIMED,      LVT_STATUS,    NULL,              lvt_written},
    REG(APIC_LVT_THERMAL) = {ALL,          LVT_MESSAGE,    LVT_STATUS,    NULL,              lvt_written},
    REG(APIC_LVT_PMI)     = {ALL,          LVT_MESSAGE,    LVT_STATUS,    NULL,              lvt_written},
    REG(APIC_LVT_LINT0)   = {ALL,          LVT_INPUT,      INPUT_STATUS,  NULL,              lvt_written},
    REG(APIC_LVT_LINT1)   = {ALL,          LVT_INPUT,      INPUT_STATUS,  NULL,              lvt_written},
    REG(APIC_LVT_ERROR)   = {ALL,          LVT_COMMON,     LVT_STATUS,    NULL,              lvt_written},
    REG(APIC_TIMER_INIT)  = {ALL,          UINT32_MAX,     0,             NULL,              lapic_timer_init_written},
    REG(APIC_TIMER_CUR)   = {READ_ALL,     0,              0,             lapic_timer_count, NULL},
    REG(APIC_TIMER_DIV)   = {ALL,          0xb,            0,             NULL,              lapic_timer_div_written},
    REG(APIC_SELF_IPI)    = {REG_X2_WRITE, 0xff,           0,             NULL,              self_ipi_written},
};
/* clang-format on */

const struct lapic_reg *lapic_reg(uint32_t offset)
{
    static const struct lapic_reg none;

    return offset % 16 || offset / 16 >= LAPIC_REGS ? &none : &registers[offset / 16];
}

/* -------------------------------------------------------------------------------- accesses */

/* SDM 3A 10.5.3: only xAPIC mode records it; in the other one it is a fault. */
static bool refuse(struct lapic *l, struct lapic_effect *effect)
{
    if (lapic_is_enabled(l) && !lapic_is_x2apic(l))
        record_error(l, APIC_ESR_ILLEGAL_ACCESS, effect);
    return false;
}

bool lapic_read(struct lapic *l, uint32_t offset, uint64_t now_ns, uint64_t *value, struct lapic_effect *effect)
{
    const struct lapic_reg *reg = lapic_reg(offset);
    bool x2apic = lapic_is_x2apic(l);

    *value = 0;
    if (!lapic_is_enabled(l) || !(reg->access & (x2apic ? REG_X2_READ : REG_READ | REG_WRITE)))
        return refuse(l, effect);
    if (!x2apic && !(reg->access & REG_READ))
        return true;
    *value = reg->read ? reg->read(l, now_ns) : lapic_get(l, offset);
    if (x2apic && offset == APIC_ICR_LOW)
        *value |= (uint64_t)lapic_get(l, ICR_X2_HIGH) << 32;
    return true;
}

bool lapic_peek(const struct lapic *l, uint32_t offset, uint64_t now_ns, uint32_t *value)
{
    const struct lapic_reg *reg = lapic_reg(offset);

    if (!lapic_is_enabled(l) || !(reg->access & (lapic_is_x2apic(l) ? REG_X2_READ : REG_READ)))
        return false;
    *value = reg->read ? reg->read(l, now_ns) : lapic_get(l, offset);
    return true;
}

static bool is_write_of_x2apic_allowed(const struct lapic_reg *reg, uint32_t offset, uint64_t value)
{
    uint64_t allowed = reg->bits | reg->ignored | (offset == APIC_ICR_LOW ? APIC_ICR_DEST_X2APIC : 0);

    return reg->access & REG_X2_WRITE && !(value & ~allowed);
}

bool lapic_write(struct lapic *l, uint32_t offset, uint64_t value, uint64_t now_ns, struct lapic_effect *effect)
{
    const struct lapic_reg *reg = lapic_reg(offset);
    bool x2apic = lapic_is_x2apic(l);

    if (!lapic_is_enabled(l) ||
        !(x2apic ? is_write_of_x2apic_allowed(reg, offset, value) : reg->access & (REG_READ | REG_WRITE)))
        return refuse(l, effect);
    if (!x2apic && !(reg->access & REG_WRITE))
        return true;
    lapic_put(l, offset, (uint32_t)value & reg->bits);
    if (x2apic && offset == APIC_ICR_LOW)
        lapic_put(l, ICR_X2_HIGH, (uint32_t)(value >> 32));
    if (reg->written)
        reg->written(l, offset, now_ns, effect);
    return true;
}

/* The registers that follow from ID and mode. LDR: SDM 3A 10.12.10.2. */
static void put_identity(struct lapic *l)
{
    bool x2apic = lapic_is_x2apic(l);

    lapic_put(l, APIC_VERSION, VERSION);
    lapic_put(l, APIC_ID, x2apic ? l->id : l->id << 24);
    if (x2apic)
        lapic_put(l, APIC_LDR, l->id >> 4 << 16 | BIT32(l->id % 16));
}

/* The hardware lets writes of read-only registers through, and of any bits. */
void lapic_written(struct lapic *l, uint32_t offset, uint64_t now_ns, struct lapic_effect *effect)
{
    const struct lapic_reg *reg = lapic_reg(offset);

    if (!(reg->access & (lapic_is_x2apic(l) ? REG_X2_WRITE : REG_WRITE))) {
        put_identity(l);
        return;
    }
    lapic_put(l, offset, lapic_get(l, offset) & reg->bits);
    if (reg->written)
        reg->written(l, offset, now_ns, effect);
}

/* -------------------------------------------------------------------------------------- modes */

/* SDM 3A 10.4.7.1: the state of power-up, in the mode that base says */
static void reset_registers(struct lapic *l)
{
    for (uint32_t offset = 0; offset < LAPIC_REGS * 16; offset += 4)
        lapic_put(l, offset, 0);
    put_identity(l);
    if (!lapic_is_x2apic(l))
        lapic_put(l, APIC_DFR, UINT32_MAX);
    lapic_put(l, APIC_SVR, APIC_SVR_VECTOR);
    for (size_t i = 0; i < ARRAY_COUNT(lvts); i++)
        lapic_put(l, lvts[i], APIC_LVT_MASKED);
    lapic_set_private(l, l->is_private);
    l->esr_pending = 0;
    l->remote_irr = 0;
    lapic_timer_reset(l);
}

void lapic_reset(struct lapic *l, bool is_init)
{
    if (!is_init)
        l->base = APIC_DEFAULT_BASE | APIC_BASE_EN | (l->id ? 0 : APIC_BASE_BSP);
    reset_registers(l);
}

/* SDM 3A 10.12.5: all else is kept. */
static void enter_x2apic(struct lapic *l)
{
    put_identity(l);
    lapic_put(l, APIC_ICR_HIGH, 0);
}

/* The modes, as the two bits of base number them */
enum { DISABLED, INVALID, XAPIC, X2APIC };

static unsigned mode_of(uint64_t base)
{
    return (unsigned)FIELD_GET(APIC_BASE_EN | APIC_BASE_EXTD, base);
}

bool lapic_set_base(struct lapic *l, uint64_t value, uint64_t physical_mask)
{
    uint64_t allowed = APIC_BASE_BSP | APIC_BASE_EN | (l->x2apic_allowed ? APIC_BASE_EXTD : 0);
    unsigned old = mode_of(l->base), new = mode_of(value);

    if (value & ~(allowed | (APIC_BASE_ADDR & physical_mask)) || new == INVALID)
        return false;
    l->base = value;
    if (old == new)
        return true;
    if (old == XAPIC && new == X2APIC)
        enter_x2apic(l);
    else
        reset_registers(l);
    return true;
}

bool lapic_write_base(struct lapic *l, uint64_t value, uint64_t physical_mask)
{
    static const uint8_t reachable[] = {
        [DISABLED] = BIT32(DISABLED) | BIT32(XAPIC),
        [XAPIC] = BIT32(DISABLED) | BIT32(XAPIC) | BIT32(X2APIC),
        [X2APIC] = BIT32(DISABLED) | BIT32(X2APIC),
    };

    return reachable[mode_of(l->base)] & BIT32(mode_of(value)) && lapic_set_base(l, value, physical_mask);
}
