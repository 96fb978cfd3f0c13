/* SPDX-License-Identifier: MIT */
/* An AMD-Vi unit's registers, its commands and its events (AMD I/O Virtualization Technology 2.4, 2.5, 3.4). */
#include "fake_amdvi.h"
#include "fake_device.h"
#include <string.h>

#define UNITS               4
#define REGS_SIZE           0x4000u
#define BITS(value, hi, lo) ((uint64_t)(value) >> (lo) & (~0ull >> (63 - (hi) + (lo))))
#define ADDRESS(base)       ((base)&0xffffffffff000ull)

#define CONTROL_ON       (1ull << 0)
#define CONTROL_EVENTS   (1ull << 2)
#define CONTROL_INTS     (1ull << 3)
#define CONTROL_COMMANDS (1ull << 12)
#define CONTROL_INT_XT   (1ull << 51)

#define STATUS_OVERFLOW (1ull << 0)
#define STATUS_EVENT    (1ull << 1)
#define STATUS_EVENTS   (1ull << 3)
#define STATUS_COMMANDS (1ull << 4)

static struct fake_amdvi units[UNITS];
static uint32_t config_address;

uint64_t fake_amdvi_read(hv_hpa_t pa)
{
    const uint64_t *word = hv_host_phys_to_virt(pa);

    fake_require(word != NULL, "AMD-Vi: the unit reads what is no memory");
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static void write_memory(hv_hpa_t pa, uint64_t value)
{
    uint64_t *word = hv_host_phys_to_virt(pa);

    fake_require(word != NULL, "AMD-Vi: the unit writes what is no memory");
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
}

/* Bytes of a ring: a power of 2 of 16-byte entries, 256 at least. */
static uint64_t ring_size(uint64_t base)
{
    fake_require(BITS(base, 59, 56) >= 8, "AMD-Vi: a ring has less than 256 entries");
    return 16ull << BITS(base, 59, 56);
}

/* ---------------------------------------------------------------------------------- events */

static void interrupt(struct fake_amdvi *v)
{
    const uint32_t *msi = &v->config[FAKE_AMDVI_MSI / 4];

    v->irq_pending = false;
    if (!fake_irqs_on()) {
        v->irq_pending = true;
        return;
    }
    v->interrupts++;
    if (v->control & CONTROL_INT_XT) {
        fake_require(BITS(v->xt_evt, 31, 8) == FAKE_APIC_ID(0), "AMD-Vi: the event interrupt goes to no CPU");
        fake_require(fake_irq_raise(BITS(v->xt_evt, 39, 32)), "AMD-Vi: the event interrupt's vector is nobody's");
        return;
    }
    if (!(msi[0] >> 16 & 1))
        return;
    fake_require(msi[1] == (0xfee00000u | FAKE_APIC_ID(0) << 12) && msi[2] == 0,
                 "AMD-Vi: the event interrupt goes to no CPU");
    fake_require(fake_irq_raise(msi[3]), "AMD-Vi: the event interrupt's vector is nobody's");
}

void fake_amdvi_settle(struct fake_amdvi *v)
{
    if (v->irq_pending)
        interrupt(v);
}

void fake_amdvi_event(struct fake_amdvi *v, unsigned code, uint16_t device, uint64_t flags, uint64_t address)
{
    uint64_t next = (v->evt_tail + 16) % (v->status & STATUS_EVENTS ? ring_size(v->evt_base) : 16);

    v->events++;
    if (!(v->status & STATUS_EVENTS))
        return;
    if (next == v->evt_head) {
        v->status = (v->status | STATUS_OVERFLOW) & ~STATUS_EVENTS;
    } else {
        write_memory(ADDRESS(v->evt_base) + v->evt_tail + 8, address);
        write_memory(ADDRESS(v->evt_base) + v->evt_tail, (uint64_t)code << 60 | flags | device);
        v->evt_tail = next;
        v->status |= STATUS_EVENT;
    }
    if (v->control & CONTROL_INTS)
        interrupt(v);
}

/* -------------------------------------------------------------------------------- commands */

/* True: well-formed; it is done. */
static bool forget_device(struct fake_amdvi *v, uint64_t low, uint64_t high)
{
    if (BITS(low, 59, 16) || high)
        return false;
    for (unsigned i = 0; i < FAKE_AMDVI_CACHED; i++)
        if (v->devices[i].device == (uint16_t)low)
            v->devices[i].is_valid = false;
    return true;
}

static bool forget_pages(struct fake_amdvi *v, uint64_t low, uint64_t high)
{
    uint64_t size = 0x1000, start = high & ~0xfffull;

    if (BITS(low, 31, 20) || BITS(low, 59, 48) || BITS(high, 11, 3))
        return false;
    fake_require(high & 2, "AMD-Vi: what is kept of tables is not forgotten with the pages");
    if (high & 1) {
        unsigned bit = 12;

        while (bit < 63 && start >> bit & 1)
            bit++;
        size = bit >= 63 ? 0 : 2ull << bit; /* 0: all there is */
        start &= ~(size - 1);
    }
    for (struct fake_amdvi_page *p = v->pages; p < v->pages + FAKE_AMDVI_CACHED; p++)
        if (p->domain == BITS(low, 47, 32) && (!size || (p->address < start + size && start < p->address + p->size)))
            p->is_valid = false;
    return true;
}

static bool forget_interrupts(struct fake_amdvi *v, uint64_t low, uint64_t high)
{
    if (BITS(low, 59, 16) || high)
        return false;
    for (unsigned i = 0; i < FAKE_AMDVI_CACHED; i++)
        if (v->irtes[i].device == (uint16_t)low)
            v->irtes[i].is_valid = false;
    return true;
}

static bool forget_all(struct fake_amdvi *v, uint64_t low, uint64_t high)
{
    if (!(v->efr & FAKE_AMDVI_EFR_IA) || BITS(low, 59, 0) || high)
        return false;
    memset(v->devices, 0, sizeof(v->devices));
    memset(v->pages, 0, sizeof(v->pages));
    memset(v->irtes, 0, sizeof(v->irtes));
    return true;
}

static bool complete(struct fake_amdvi *v, uint64_t low, uint64_t high)
{
    (void)v;
    if (BITS(low, 59, 52) || BITS(low, 2, 1))
        return false;
    if (low & 1)
        write_memory(low & 0xffffffffffff8ull, high);
    return true;
}

static bool execute(struct fake_amdvi *v, uint64_t low, uint64_t high)
{
    static bool (*const commands[16])(struct fake_amdvi * v, uint64_t low, uint64_t high) = {
        [1] = complete, [2] = forget_device, [3] = forget_pages, [5] = forget_interrupts, [8] = forget_all,
    };
    unsigned code = (unsigned)(low >> 60);

    v->commands[code]++;
    return !(v->dislikes >> code & 1) && commands[code] && commands[code](v, low, high);
}

static void run_commands(struct fake_amdvi *v)
{
    while (v->status & STATUS_COMMANDS && !v->hangs && v->cmd_head != v->cmd_tail) {
        hv_hpa_t at = ADDRESS(v->cmd_base) + v->cmd_head;

        if (!execute(v, fake_amdvi_read(at), fake_amdvi_read(at + 8))) {
            v->status &= ~STATUS_COMMANDS;
            fake_amdvi_event(v, 5, 0, 0, at);
            return;
        }
        v->cmd_head = (v->cmd_head + 16) % ring_size(v->cmd_base);
    }
}

/* ------------------------------------------------------------------------------- registers */

static void write_control(struct fake_amdvi *v, uint64_t value)
{
    uint64_t fixed = FAKE_AMDVI_GA | FAKE_AMDVI_XT, old = v->control;

    fake_require(!(old & value & CONTROL_ON) || !((old ^ value) & fixed), "AMD-Vi: entries change while it is on");
    fake_require(!(value & CONTROL_ON) || !(v->excl_base & 1), "AMD-Vi: there are addresses without translation");
    fake_require(!(value & FAKE_AMDVI_XT) || v->efr & FAKE_AMDVI_EFR_XT, "AMD-Vi: there are no x2APIC IDs");
    fake_require(!(value & FAKE_AMDVI_GA) || v->efr & FAKE_AMDVI_EFR_GA, "AMD-Vi: entries have 32 bits");
    v->control = value;
    if (!(value & CONTROL_ON) || !(value & CONTROL_COMMANDS))
        v->status &= v->ignores_command_stop ? ~0ull : ~STATUS_COMMANDS;
    else if (!(old & CONTROL_ON) || !(old & CONTROL_COMMANDS))
        v->status |= STATUS_COMMANDS;
    if (!(value & CONTROL_ON) || !(value & CONTROL_EVENTS))
        v->status &= ~STATUS_EVENTS;
    else if ((!(old & CONTROL_ON) || !(old & CONTROL_EVENTS)) && !(v->status & STATUS_OVERFLOW))
        v->status |= STATUS_EVENTS;
    run_commands(v);
}

static uint64_t *plain_register(struct fake_amdvi *v, uint64_t offset)
{
    switch (offset) {
    case 0x0000:
        return &v->devtab;
    case 0x0008:
        return &v->cmd_base;
    case 0x0010:
        return &v->evt_base;
    case 0x0018:
        return &v->control;
    case 0x0020:
        return &v->excl_base;
    case 0x0028:
        return &v->excl_limit;
    case 0x0030:
        return &v->efr;
    case 0x0170:
        return &v->xt_evt;
    case 0x2000:
        return &v->cmd_head;
    case 0x2008:
        return &v->cmd_tail;
    case 0x2010:
        return &v->evt_head;
    case 0x2018:
        return &v->evt_tail;
    case 0x2020:
        return &v->status;
    default:
        fake_fail("AMD-Vi: there is no register at 0x%llx", (unsigned long long)offset);
    }
}

/* Looking takes time: whoever waits for a unit that does nothing comes to an end. */
static uint64_t read_register(void *arg, uint64_t offset, uint32_t size)
{
    fake_require(size == 8, "AMD-Vi: a register is read in part");
    fake_advance_time(10000);
    return *plain_register(arg, offset);
}

static void write_register(void *arg, uint64_t offset, uint32_t size, uint64_t value)
{
    struct fake_amdvi *v = arg;
    uint64_t *reg = plain_register(v, offset);

    fake_require(size == 8, "AMD-Vi: a register is written in part");
    if (reg == &v->control) {
        write_control(v, value);
        return;
    }
    if (reg == &v->status) {
        *reg &= ~(value & 0x67);
        return;
    }
    fake_require(reg != &v->efr, "AMD-Vi: features are written");
    fake_require(!(reg == &v->cmd_base || reg == &v->cmd_head) || !(v->status & STATUS_COMMANDS) ||
                     v->ignores_command_stop,
                 "AMD-Vi: the buffer of commands is changed while it runs");
    fake_require(!(reg == &v->evt_base || reg == &v->evt_tail) || !(v->status & STATUS_EVENTS),
                 "AMD-Vi: the event log is changed while it runs");
    *reg = value;
    if (reg == &v->cmd_base)
        v->cmd_head = v->cmd_tail = 0;
    if (reg == &v->evt_base)
        v->evt_head = v->evt_tail = 0;
    if (reg == &v->cmd_tail)
        run_commands(v);
}

static const struct fake_device_ops registers = {read_register, write_register};

/* --------------------------------------------------------- configuration space of the function */

static uint32_t *config_word(void)
{
    static uint32_t nothing;

    fake_require(fake_pci_locked(), "AMD-Vi: configuration space without hv_host_pci_lock");
    for (struct fake_amdvi *v = units; v < units + UNITS; v++)
        if (v->base && v->function == BITS(config_address, 23, 8))
            return &v->config[BITS(config_address, 7, 2)];
    nothing = ~0u;
    return &nothing;
}

static uint64_t read_port(void *arg, uint64_t offset, uint32_t size)
{
    (void)arg;
    fake_require(size == 4 && offset == 4, "AMD-Vi: not a whole word of configuration space");
    return *config_word();
}

static void write_port(void *arg, uint64_t offset, uint32_t size, uint64_t value)
{
    (void)arg;
    fake_require(size == 4, "AMD-Vi: not a whole word of configuration space");
    if (offset)
        *config_word() = (uint32_t)value;
    else
        config_address = (uint32_t)value;
}

static const struct fake_device_ops ports = {read_port, write_port};

/* ----------------------------------------------------------------------------- all of it */

/* Its function has a capability of its own before the MSI's, whose message is 64 bits wide. */
static void make_function(struct fake_amdvi *v)
{
    v->config[0] = 0x14811022;
    v->config[1] = 1u << 20;
    v->config[0x34 / 4] = 0x40;
    v->config[0x40 / 4] = 0x190b000f | FAKE_AMDVI_MSI << 8;
    v->config[FAKE_AMDVI_MSI / 4] = 0x00800005;
    v->config[FAKE_AMDVI_MSI / 4 + 1] = 0x12340000;
    v->config[FAKE_AMDVI_MSI / 4 + 3] = 0x56;
}

struct fake_amdvi *fake_amdvi_add(hv_hpa_t base, uint16_t function, uint64_t efr)
{
    struct fake_amdvi *v = units;

    while (v < units + UNITS && v->base)
        v++;
    fake_require(v < units + UNITS, "AMD-Vi: too many units");
    if (v == units)
        fake_ports_add(0xcf8, 8, &ports, NULL);
    memset(v, 0, sizeof(*v));
    v->base = base;
    v->function = function;
    v->efr = efr;
    v->width = 48;
    make_function(v);
    fake_mmio_add(base, REGS_SIZE, &registers, v);
    return v;
}

void fake_amdvi_reset(void)
{
    memset(units, 0, sizeof(units));
}

void fake_amdvi_assert_clean(void)
{
    for (const struct fake_amdvi *v = units; v < units + UNITS; v++)
        fake_require(!v->irq_pending, "AMD-Vi: an interrupt of a unit's is still pending");
}
