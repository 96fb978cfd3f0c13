/* SPDX-License-Identifier: MIT */
/* Rules of SDM 3C 27.3.1.2 and 27.3.1.3: guest segment and descriptor-table registers. Each family of rules stands
 * once, for all registers. */
#include "vmx_audit_rules.h"

#include <arch/bits/cr.h>
#include <arch/bits/seg.h>

/* the whole access-rights word of a segment of virtual-8086 mode */
#define ACCESS_V86 SEG_ATTR_V8086

/* In every check below arg is the segment. */

/* CS and TR count always, the others unless their unusable bit is 1 */
static bool counts(const struct audit *a, uint64_t seg)
{
    return seg == SEG_CS || seg == SEG_TR || !(a->access[seg] & ACCESS_UNUSABLE);
}

static uint64_t rpl(const struct audit *a, uint64_t seg)
{
    return FIELD_GET(SEL_RPL, a->selector[seg]);
}

static uint64_t dpl(const struct audit *a, uint64_t seg)
{
    return FIELD_GET(SEG_DPL, a->access[seg]);
}

static uint64_t type(const struct audit *a, uint64_t seg)
{
    return FIELD_GET(SEG_TYPE, a->access[seg]);
}

static uint64_t selector_ti(struct audit *a, uint64_t seg)
{
    return counts(a, seg) ? a->value & SEL_TI : 0;
}

static uint64_t ss_rpl(struct audit *a, uint64_t seg)
{
    return rpl(a, seg) == rpl(a, SEG_CS) ? 0 : SEL_RPL;
}

static uint64_t base_v86(struct audit *a, uint64_t seg)
{
    return a->value == (uint64_t)a->selector[seg] << 4 ? 0 : WHOLE;
}

static uint64_t base_canonical(struct audit *a, uint64_t seg)
{
    /* of FS and GS usable or not */
    return seg == SEG_LDTR && !counts(a, seg) ? 0 : audit_canonical(a, 0);
}

static uint64_t base_high(struct audit *a, uint64_t seg)
{
    return counts(a, seg) ? a->value & BITS64(63, 32) : 0;
}

static uint64_t limit_v86(struct audit *a, uint64_t seg)
{
    (void)seg;
    return a->value == 0xffff ? 0 : WHOLE;
}

static uint64_t access_v86(struct audit *a, uint64_t seg)
{
    (void)seg;
    return a->value ^ ACCESS_V86;
}

static uint64_t cs_type(struct audit *a, uint64_t seg)
{
    uint32_t allowed = BIT32(9) | BIT32(11) | BIT32(13) | BIT32(15);

    if (audit_has(a, W_MODE, MODE_UNRESTRICTED))
        allowed |= BIT32(3);
    return allowed & BIT32(type(a, seg)) ? 0 : SEG_TYPE;
}

static uint64_t ss_type(struct audit *a, uint64_t seg)
{
    const uint32_t allowed = BIT32(3) | BIT32(7);

    return !counts(a, seg) || (allowed & BIT32(type(a, seg))) ? 0 : SEG_TYPE;
}

static uint64_t data_type(struct audit *a, uint64_t seg)
{
    uint64_t needs = SEG_TYPE_ACCESSED | (a->value & SEG_TYPE_CODE ? SEG_TYPE_READ : 0);

    return counts(a, seg) ? ~a->value & needs : 0;
}

static uint64_t is_code_or_data(struct audit *a, uint64_t seg)
{
    return counts(a, seg) ? ~a->value & SEG_S : 0;
}

static uint64_t is_system(struct audit *a, uint64_t seg)
{
    return counts(a, seg) ? a->value & SEG_S : 0;
}

static uint64_t cs_dpl(struct audit *a, uint64_t seg)
{
    bool ok;

    switch (type(a, seg)) {
    case 3:
        ok = dpl(a, seg) == 0;
        break;
    case 9:
    case 11:
        ok = dpl(a, seg) == dpl(a, SEG_SS);
        break;
    default:
        ok = dpl(a, seg) <= dpl(a, SEG_SS);
    }
    return ok ? 0 : SEG_DPL;
}

static uint64_t ss_dpl_rpl(struct audit *a, uint64_t seg)
{
    return dpl(a, seg) == rpl(a, seg) ? 0 : SEG_DPL;
}

static uint64_t ss_dpl_0(struct audit *a, uint64_t seg)
{
    bool must_be_0 = type(a, SEG_CS) == 3 || audit_has(a, W_MODE, MODE_REAL);

    return must_be_0 && dpl(a, seg) ? SEG_DPL : 0;
}

static uint64_t data_dpl(struct audit *a, uint64_t seg)
{
    return counts(a, seg) && type(a, seg) <= 11 && dpl(a, seg) < rpl(a, seg) ? SEG_DPL : 0;
}

static uint64_t present(struct audit *a, uint64_t seg)
{
    return counts(a, seg) ? ~a->value & SEG_P : 0;
}

static uint64_t reserved_low(struct audit *a, uint64_t seg)
{
    return counts(a, seg) ? a->value & SEG_RESERVED : 0;
}

static uint64_t reserved_high(struct audit *a, uint64_t seg)
{
    return counts(a, seg) ? a->value & BITS64(31, 17) : 0;
}

static uint64_t cs_size(struct audit *a, uint64_t seg)
{
    (void)seg;
    return a->value & SEG_L ? a->value & SEG_DB : 0;
}

/* G can only be 1 for a limit whose low 12 bits are ones, and must be 1 for one of more than 20 bits */
static uint64_t granularity(struct audit *a, uint64_t seg)
{
    uint32_t limit = a->limit[seg];

    if (!counts(a, seg))
        return 0;
    if ((limit & BITS32(11, 0)) != BITS32(11, 0) && (a->value & SEG_G))
        return SEG_G;
    return (limit & BITS32(31, 20)) && !(a->value & SEG_G) ? SEG_G : 0;
}

static uint64_t tr_type(struct audit *a, uint64_t seg)
{
    if (type(a, seg) == SEG_TYPE_TSS_BUSY)
        return 0;
    return type(a, seg) == SEG_TYPE_TSS16_BUSY && audit_has(a, W_MODE, MODE_NOT_LONG) ? 0 : SEG_TYPE;
}

static uint64_t tr_usable(struct audit *a, uint64_t seg)
{
    (void)seg;
    return a->value & ACCESS_UNUSABLE;
}

static uint64_t ldtr_type(struct audit *a, uint64_t seg)
{
    return !counts(a, seg) || type(a, seg) == SEG_TYPE_LDT ? 0 : SEG_TYPE;
}

#define SEGMENTS "SDM 3C 27.3.1.2"
#define TABLES   "SDM 3C 27.3.1.3"

/* clang-format off */
#define ALWAYS W_ALWAYS, 0
#define V86    W_MODE, MODE_V86
#define PLAIN  W_MODE, MODE_NOT_V86

#define RULE(id, REG, part, check, when, text) \
    {"guest." id, VMCS_GUEST_##REG##_##part, SEGMENTS, check, SEG_##REG, when, "guest " #REG text}

#define DATA(FAMILY)          FAMILY("ds", DS), FAMILY("es", ES), FAMILY("fs", FS), FAMILY("gs", GS)
#define CODE_AND_DATA(FAMILY) FAMILY("cs", CS), FAMILY("ss", SS), DATA(FAMILY)
#define SYSTEM(FAMILY)        FAMILY("tr", TR), FAMILY("ldtr", LDTR)

#define G_TEXT " access rights: G must be 0 if a bit of limit 11:0 is 0, and 1 if a bit of limit 31:20 is 1"

#define BASE_V86(id, REG) \
    RULE(id ".base_v86", REG, BASE, base_v86, V86, " base must be the selector times 16 in virtual-8086 mode")
#define BASE_CANONICAL(id, REG) RULE(id ".base", REG, BASE, base_canonical, ALWAYS, " base must be a canonical address")
#define BASE_HIGH(id, REG) \
    RULE(id ".base", REG, BASE, base_high, ALWAYS, " base: bits 63:32 must be 0 if the segment is usable (CS: always)")
#define LIMIT_V86(id, REG) \
    RULE(id ".limit_v86", REG, LIMIT, limit_v86, V86, " limit must be 0xffff in virtual-8086 mode")
#define ACCESS_V86_RULE(id, REG) \
    RULE(id ".access_v86", REG, ACCESS, access_v86, V86, " access rights must be 0xf3 in virtual-8086 mode")
#define DATA_TYPE(id, REG) \
    RULE(id ".type", REG, ACCESS, data_type, PLAIN, \
         " type: bit 0 (accessed) must be 1, and in a code segment bit 1 (readable) too")
#define IS_CODE_DATA(id, REG) \
    RULE(id ".s", REG, ACCESS, is_code_or_data, PLAIN, " access rights: S must be 1 (code or data)")
#define DATA_DPL(id, REG) \
    {"guest." id ".dpl", VMCS_GUEST_##REG##_ACCESS, SEGMENTS, data_dpl, SEG_##REG, W_MODE, \
     MODE_NOT_V86 | MODE_RESTRICTED, \
     "guest " #REG " access rights: DPL must not be less than the selector's RPL for types 0 to 11 " \
     "(unless unrestricted guest)"}
#define PRESENT(id, REG)       RULE(id ".p", REG, ACCESS, present, PLAIN, " access rights: P must be 1")
#define RESERVED_LOW(id, REG) \
    RULE(id ".reserved_low", REG, ACCESS, reserved_low, PLAIN, " access rights: bits 11:8 must be 0")
#define RESERVED_HIGH(id, REG) \
    RULE(id ".reserved_high", REG, ACCESS, reserved_high, PLAIN, " access rights: bits 31:17 must be 0")
#define GRANULARITY(id, REG)   RULE(id ".g", REG, ACCESS, granularity, PLAIN, G_TEXT)

#define SYS_S(id, REG)         RULE(id ".s", REG, ACCESS, is_system, ALWAYS, " access rights: S must be 0 (system)")
#define SYS_P(id, REG)         RULE(id ".p", REG, ACCESS, present, ALWAYS, " access rights: P must be 1")
#define SYS_LOW(id, REG) \
    RULE(id ".reserved_low", REG, ACCESS, reserved_low, ALWAYS, " access rights: bits 11:8 must be 0")
#define SYS_HIGH(id, REG) \
    RULE(id ".reserved_high", REG, ACCESS, reserved_high, ALWAYS, " access rights: bits 31:17 must be 0")
#define SYS_G(id, REG)         RULE(id ".g", REG, ACCESS, granularity, ALWAYS, G_TEXT)

static const struct audit_rule rules[] = {
    RULE("tr.ti", TR, SELECTOR, selector_ti, ALWAYS, " selector: TI must be 0"),
    RULE("ldtr.ti", LDTR, SELECTOR, selector_ti, ALWAYS, " selector: TI must be 0 if LDTR is usable"),
    {"guest.ss.rpl", VMCS_GUEST_SS_SELECTOR, SEGMENTS, ss_rpl, SEG_SS, W_MODE, MODE_NOT_V86 | MODE_RESTRICTED,
     "guest SS selector: RPL must equal that of CS (unless unrestricted guest or virtual-8086 mode)"},

    CODE_AND_DATA(BASE_V86),
    BASE_CANONICAL("tr", TR), BASE_CANONICAL("fs", FS), BASE_CANONICAL("gs", GS), BASE_CANONICAL("ldtr", LDTR),
    BASE_HIGH("cs", CS), BASE_HIGH("ss", SS), BASE_HIGH("ds", DS), BASE_HIGH("es", ES),
    CODE_AND_DATA(LIMIT_V86),

    CODE_AND_DATA(ACCESS_V86_RULE),
    RULE("cs.type", CS, ACCESS, cs_type, PLAIN, " type must be 9, 11, 13 or 15 (3 too in an unrestricted guest)"),
    RULE("ss.type", SS, ACCESS, ss_type, PLAIN, " type must be 3 or 7 if SS is usable"),
    DATA(DATA_TYPE),
    CODE_AND_DATA(IS_CODE_DATA),
    RULE("cs.dpl", CS, ACCESS, cs_dpl, PLAIN,
         " access rights: DPL must be 0 for type 3, SS.DPL for types 9 and 11, at most SS.DPL for 13 and 15"),
    {"guest.ss.dpl_rpl", VMCS_GUEST_SS_ACCESS, SEGMENTS, ss_dpl_rpl, SEG_SS, W_MODE, MODE_NOT_V86 | MODE_RESTRICTED,
     "guest SS access rights: DPL must equal the selector's RPL (unless unrestricted guest)"},
    RULE("ss.dpl_0", SS, ACCESS, ss_dpl_0, PLAIN,
         " access rights: DPL must be 0 if the type of CS is 3 or CR0.PE is 0"),
    DATA(DATA_DPL),
    CODE_AND_DATA(PRESENT),
    CODE_AND_DATA(RESERVED_LOW),
    {"guest.cs.db", VMCS_GUEST_CS_ACCESS, SEGMENTS, cs_size, SEG_CS, W_MODE, MODE_NOT_V86 | MODE_LONG,
     "guest CS access rights: D/B must be 0 if \"IA-32e mode guest\" and L are 1"},
    CODE_AND_DATA(GRANULARITY),
    CODE_AND_DATA(RESERVED_HIGH),

    RULE("tr.type", TR, ACCESS, tr_type, ALWAYS, " type must be 11 (busy TSS), or 3 outside IA-32e mode"),
    RULE("ldtr.type", LDTR, ACCESS, ldtr_type, ALWAYS, " type must be 2 (LDT) if LDTR is usable"),
    SYSTEM(SYS_S), SYSTEM(SYS_P), SYSTEM(SYS_LOW), SYSTEM(SYS_G), SYSTEM(SYS_HIGH),
    RULE("tr.usable", TR, ACCESS, tr_usable, ALWAYS, " access rights: bit 16 (unusable) must be 0"),

    {"guest.gdtr.base", VMCS_GUEST_GDTR_BASE, TABLES, audit_canonical, 0, ALWAYS,
     "guest GDTR base must be a canonical address"},
    {"guest.idtr.base", VMCS_GUEST_IDTR_BASE, TABLES, audit_canonical, 0, ALWAYS,
     "guest IDTR base must be a canonical address"},
    {"guest.gdtr.limit", VMCS_GUEST_GDTR_LIMIT, TABLES, audit_must_be_0, BITS64(31, 16), ALWAYS,
     "guest GDTR limit: bits 31:16 must be 0"},
    {"guest.idtr.limit", VMCS_GUEST_IDTR_LIMIT, TABLES, audit_must_be_0, BITS64(31, 16), ALWAYS,
     "guest IDTR limit: bits 31:16 must be 0"},
};
/* clang-format on */

const struct audit_group vmx_audit_guest_segments = {rules, ARRAY_COUNT(rules), VMX_AUDIT_GUEST};
