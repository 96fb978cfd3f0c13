/* SPDX-License-Identifier: MIT */
/* Which code the VMX backend knows again after an exit, on a fake CPU, and by how many VMREADs. */
#include "vmx_vcpu.h"

static uint8_t page[HV_PAGE_SIZE] __attribute__((aligned(HV_PAGE_SIZE)));
static uint64_t tables[VCPU_CODE_ENTRIES];

#define BASE   0x1800 /* of CS */
#define OFFSET 0x345

/* The host's address of the code that the guest exits at. NULL: it is not known. */
static const uint8_t *code_told(void)
{
    const uint8_t *code;

    run_cpuid();
    pin();
    code = backend()->code(v);
    unpin();
    return code;
}

static uint8_t size_of(enum mode mode)
{
    return mode == LONG ? 8 : v->seg[SEG_CS].attributes & SEG_DB ? 4 : 2;
}

static void learn(struct vcpu_code *code, unsigned offset)
{
    code->generation = generation;
    pin();
    backend()->learn_code(v, code, offset);
    unpin();
}

/* The guest is somewhere in a page that so many entries lead to; the backend is told so. */
static void learn_page(enum mode mode, unsigned entries)
{
    struct vcpu_code code = {.page = page, .count = entries, .groups = mode == PAE ? VCPU_PDPTE : 0};
    struct vcpu_code none = {.page = NULL};

    learn(&none, 0);
    set_mode(mode);
    v->seg[SEG_CS].base = mode == LONG ? 0 : BASE;
    v->seg[SEG_CS].selector = BASE >> 4; /* in virtual-8086 mode they belong together */
    v->rip = (mode == LONG ? 0x7fff12345000 : 0x12345000 - BASE) + OFFSET;
    assert_null(code_told());
    code.size = size_of(mode);
    for (unsigned i = 0; i < entries; i++) {
        tables[i] = 0x1007 * (i + 1);
        code.entry[i] = (struct vcpu_code_entry){&tables[i], tables[i]};
    }
    if (mode == PAE)
        code.entry[0] = (struct vcpu_code_entry){&v->pdpte[1], v->pdpte[1] = 0x5001};
    vcpu_changed(v, mode == PAE ? VCPU_PDPTE : 0);
    run_cpuid();
    learn(&code, OFFSET);
    assert_ptr_equal(code_told(), page + OFFSET);
}

static void code_is_known_again(void **state)
{
    (void)state;
    for (enum mode mode = REAL; mode < MODES; mode++)
        for (unsigned entries = mode == PAE; entries <= VCPU_CODE_ENTRIES; entries++) {
            learn_page(mode, entries);
            assert_int_equal(v->code.last->size, size_of(mode));
            pin();
            backend()->advance(v, 3);
            unpin();
            assert_ptr_equal(code_told(), page + OFFSET + 3);
        }
}

/* Before the entry the VMCS does not have what the core has changed. */
static void changed_registers_are_not_the_ones_of_the_exit(void **state)
{
    static const uint32_t groups[] = {VCPU_RIP, VCPU_CS, VCPU_CR0, VCPU_CR3, VCPU_CR4, VCPU_EFER};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(groups); i++) {
        learn_page(LONG, 4);
        pin();
        vcpu_need(v, groups[i]);
        vcpu_changed(v, groups[i]);
        assert_null(backend()->code(v));
        unpin();
        assert_ptr_equal(code_told(), page + OFFSET);
    }
}

enum change {
    CR3,
    ACCESS,
    LA57,
    LMA,
    RIP,
    RIP_TO_END,
    GENERATION,
    TABLES,
    BASE_CS = TABLES + 4,
    PSE,
    PAE_BIT,
    PG,
    CHANGES
};

#define CHANGES_IN_LONG BASE_CS /* the others do not count there */

static void flip(uint32_t field, uint64_t bits)
{
    fake_vmcs_set(field, fake_vmcs_get(field) ^ bits);
}

static void change_register(unsigned which)
{
    switch (which) {
    case CR3:
        flip(VMCS_GUEST_CR3, 0x1000);
        return;
    case ACCESS:
        flip(VMCS_SEG_ACCESS(SEG_CS), SEG_L | SEG_DB);
        return;
    case LA57:
        flip(VMCS_GUEST_CR4, CR4_LA57);
        return;
    case LMA:
        flip(VMCS_GUEST_EFER, EFER_LMA);
        return;
    case RIP:
        flip(VMCS_GUEST_RIP, HV_PAGE_SIZE);
        return;
    case RIP_TO_END: /* less than four bytes in front of it */
        fake_vmcs_set(VMCS_GUEST_RIP, fake_vmcs_get(VMCS_GUEST_RIP) + 0xffd - OFFSET);
        return;
    case GENERATION:
        generation++;
        return;
    case BASE_CS:
        flip(VMCS_SEG_BASE(SEG_CS), 0x10);
        return;
    case PSE:
        flip(VMCS_GUEST_CR4, CR4_PSE);
        return;
    case PAE_BIT:
        flip(VMCS_GUEST_CR4, CR4_PAE);
        return;
    case PG:
        flip(VMCS_GUEST_CR0, CR0_PG);
        return;
    default:
        tables[1 + which - TABLES] ^= BIT64(12);
    }
}

/* One thing after the other that decides about the translation, changed by the guest without an exit. */
static void a_change_on_the_way_to_the_code_is_seen(void **state)
{
    (void)state;
    vmx_caps.cr4_fixed1 |= CR4_LA57;
    for (enum mode mode = REAL; mode < MODES; mode++)
        for (unsigned which = 0; which < (mode == LONG ? CHANGES_IN_LONG : CHANGES); which++) {
            learn_page(mode, VCPU_CODE_ENTRIES);
            run_cpuid();
            pin();
            assert_non_null(backend()->code(v));
            v->valid = VCPU_STICKY;
            change_register(which);
            assert_null(backend()->code(v));
            unpin();
            vcpu_reset(v);
        }
    vmx_caps.cr4_fixed1 &= ~CR4_LA57; /* the fake has none */
}

/* PAE paging goes by registers, which the guest loads by a MOV to CR3. */
static void a_new_pdpte_is_seen(void **state)
{
    (void)state;
    learn_page(PAE, 3);
    run_cpuid();
    pin();
    fake_vmcs_set(VMCS_GUEST_PDPTE0, 0x8001); /* of other pages */
    assert_ptr_equal(backend()->code(v), page + OFFSET);
    v->valid &= VCPU_STICKY;
    fake_vmcs_set(VMCS_GUEST_PDPTE1, 0x6001);
    assert_null(backend()->code(v));
    unpin();
    vcpu_reset(v);
}

#define PAGES (VCPU_CODE_PAGES + 1)

static uint8_t pages[PAGES][HV_PAGE_SIZE] __attribute__((aligned(HV_PAGE_SIZE)));

static const uint8_t *code_in_page(unsigned n)
{
    v->rip = 0x7fff12345000 + n * HV_PAGE_SIZE + OFFSET;
    vcpu_changed(v, VCPU_RIP);
    return code_told();
}

static void learn_nth(unsigned n)
{
    struct vcpu_code code = {.page = pages[n], .size = 8};

    assert_null(code_in_page(n));
    learn(&code, OFFSET);
}

static void several_pages_of_code_are_known(void **state)
{
    (void)state;
    set_mode(LONG);
    for (unsigned n = 0; n < VCPU_CODE_PAGES; n++)
        learn_nth(n);
    for (unsigned i = 0; i < 4 * VCPU_CODE_PAGES; i++)
        assert_ptr_equal(code_in_page(i * 3 % VCPU_CODE_PAGES), pages[i * 3 % VCPU_CODE_PAGES] + OFFSET);
    learn_nth(VCPU_CODE_PAGES); /* takes the place of the first one */
    assert_null(code_in_page(0));
    assert_ptr_equal(code_in_page(VCPU_CODE_PAGES), pages[VCPU_CODE_PAGES] + OFFSET);
    assert_ptr_equal(code_in_page(1), pages[1] + OFFSET);
}

static void known_code_takes_four_vmreads(void **state)
{
    (void)state;
    learn_page(LONG, 4);
    run_cpuid();
    pin();
    fake_vmx_forget();
    assert_non_null(backend()->code(v));
    assert_int_equal(fake_vmx_counts.reads, 4); /* RIP, CR3, EFER, CS */
    unpin();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VMX_TEST(code_is_known_again),
        VMX_TEST(changed_registers_are_not_the_ones_of_the_exit),
        VMX_TEST(a_change_on_the_way_to_the_code_is_seen),
        VMX_TEST(a_new_pdpte_is_seen),
        VMX_TEST(several_pages_of_code_are_known),
        VMX_TEST(known_code_takes_four_vmreads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
