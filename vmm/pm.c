/* SPDX-License-Identifier: MIT */
/*
 * ACPI's fixed hardware: PM1 event and control blocks, the PM timer, the reset register; and of the keyboard controller
 * the one line that resets a PC. The machine is in ACPI mode from the start.
 */
#include <vmm/devices.h>
#include <vmm/ticks.h>

#define PM_SIZE  12u
#define TIMER_HZ 3579545u

/* PM1 status and enable, ACPI 4.8.3.1: no event but the timer's ever comes */
#define EVENT_TIMER 0x0001u
#define ENABLE_BITS 0x0721u /* timer, global, power button, sleep button, RTC */

/* PM1 control, ACPI 4.8.3.2.1 */
#define CONTROL_SCI_EN    0x0001u
#define CONTROL_KEPT      0x1c02u /* BM_RLD, SLP_TYP */
#define CONTROL_SLEEP     0x2000u
#define CONTROL_TYPE(reg) ((reg) >> 10 & 7)

#define RESET_CPU  0x04u
#define RESET_KEPT 0x0au /* hard reset, with a power cycle */

/*
 * The status of a controller that is not there: its output is always full, which ends Linux' probe after a few reads;
 * its input is never so, for those who wait for that before they write the reset.
 */
#define I8042_STATUS 0xfdu
#define I8042_RESET  0xfeu

struct pm {
    struct lock lock;
    const struct machine_services *services;
    struct irq_line sci;
    struct timers *timers;
    uint16_t status, enable, control;
    uint8_t reset;
    uint64_t last_half; /* how often bit 31 of the timer had changed */
    bool is_raised;
};

/* ---------------------------------------------------------------------------------- PM registers */

static uint64_t timer_ticks(const struct pm *pm)
{
    return ticks_of_ns(pm->services->time_ns(pm->services->context), TIMER_HZ);
}

/* The timer's event: its highest bit has changed. */
static void pm_run(struct pm *pm, uint64_t ticks)
{
    bool is_raised;

    if (ticks >> 31 > pm->last_half) {
        pm->last_half = ticks >> 31;
        pm->status |= EVENT_TIMER;
    }
    is_raised = pm->status & pm->enable;
    if (is_raised == pm->is_raised)
        return;
    pm->is_raised = is_raised;
    ioapic_set_line(pm->sci.ioapic, pm->sci.pin, is_raised);
}

static uint64_t pm_read(void *device, uint64_t offset, uint32_t size)
{
    struct pm *pm = device;
    uint32_t dwords[PM_SIZE / 4];
    uint64_t value = 0, ticks;

    lock_take(&pm->lock);
    ticks = timer_ticks(pm);
    pm_run(pm, ticks);
    dwords[PM_EVENT / 4] = pm->status | (uint32_t)pm->enable << 16;
    dwords[PM_CONTROL / 4] = pm->control | CONTROL_SCI_EN;
    dwords[PM_TIMER / 4] = (uint32_t)ticks;
    lock_release(&pm->lock);

    for (uint32_t i = 0; i < size; i++)
        value |= (uint64_t)(uint8_t)(dwords[(offset + i) / 4] >> ((offset + i) % 4 * 8)) << (i * 8);
    return value;
}

/* One byte of a register. True: the machine shall switch itself off. */
static bool pm_write_byte(struct pm *pm, uint32_t offset, uint8_t value)
{
    uint32_t shift = offset % 2 * 8, bits = (uint32_t)value << shift, others = 0xff00u >> shift;

    if (offset < PM_EVENT + 2)
        pm->status &= (uint16_t)~bits; /* ones clear */
    else if (offset < PM_EVENT + 4)
        pm->enable = (uint16_t)((pm->enable & others) | (bits & ENABLE_BITS));
    else if (offset >= PM_CONTROL && offset < PM_CONTROL + 2)
        pm->control = (uint16_t)((pm->control & others) | (bits & CONTROL_KEPT));
    return offset == PM_CONTROL + 1 && (bits & CONTROL_SLEEP) && CONTROL_TYPE(pm->control) == PM_SLEEP_TYPE;
}

static void pm_write(void *device, uint64_t offset, uint32_t size, uint64_t value)
{
    struct pm *pm = device;
    bool is_off = false;

    lock_take(&pm->lock);
    pm_run(pm, timer_ticks(pm));
    for (uint32_t i = 0; i < size; i++)
        is_off |= pm_write_byte(pm, (uint32_t)offset + i, (uint8_t)(value >> (i * 8)));
    pm_run(pm, timer_ticks(pm));
    lock_release(&pm->lock);
    if (is_off)
        pm->services->end(pm->services->context, MACHINE_POWER_OFF, 0);
    if (pm->timers && offset < PM_CONTROL)
        timers_kick(pm->timers);
}

static const struct bus_handler pm_handler = {.read = pm_read, .write = pm_write};

/* The timer's next event matters only when it interrupts. */
uint64_t pm_poll(void *device, uint64_t now_ns)
{
    struct pm *pm = device;
    uint64_t next = UINT64_MAX;

    lock_take(&pm->lock);
    pm_run(pm, ticks_of_ns(now_ns, TIMER_HZ));
    if ((pm->enable & EVENT_TIMER) && !(pm->status & EVENT_TIMER))
        next = ns_of_ticks((pm->last_half + 1) << 31, TIMER_HZ);
    lock_release(&pm->lock);
    return next;
}

/* --------------------------------------------------------------------------------------- resets */

static uint64_t reset_read(void *device, uint64_t offset, uint32_t size)
{
    struct pm *pm = device;

    (void)offset;
    (void)size;
    return __atomic_load_n(&pm->reset, __ATOMIC_RELAXED);
}

static void reset_write(void *device, uint64_t offset, uint32_t size, uint64_t value)
{
    struct pm *pm = device;

    (void)offset;
    (void)size;
    __atomic_store_n(&pm->reset, value & RESET_KEPT, __ATOMIC_RELAXED);
    if (value & RESET_CPU)
        pm->services->end(pm->services->context, MACHINE_RESET, 0);
}

static const struct bus_handler reset_handler = {.read = reset_read, .write = reset_write, .width = 1};

static uint64_t i8042_data_read(void *device, uint64_t offset, uint32_t size)
{
    (void)device;
    (void)offset;
    (void)size;
    return 0xff;
}

static void i8042_data_write(void *device, uint64_t offset, uint32_t size, uint64_t value)
{
    (void)device;
    (void)offset;
    (void)size;
    (void)value;
}

static uint64_t i8042_status_read(void *device, uint64_t offset, uint32_t size)
{
    (void)device;
    (void)offset;
    (void)size;
    return I8042_STATUS;
}

static void i8042_command_write(void *device, uint64_t offset, uint32_t size, uint64_t value)
{
    struct pm *pm = device;

    (void)offset;
    (void)size;
    if (value == I8042_RESET)
        pm->services->end(pm->services->context, MACHINE_RESET, 0);
}

static const struct bus_handler i8042_data = {.read = i8042_data_read, .write = i8042_data_write, .width = 1};
static const struct bus_handler i8042_command = {.read = i8042_status_read, .write = i8042_command_write, .width = 1};

/* -------------------------------------------------------------------------------------- machine */

void pm_set_timers(struct pm *pm, struct timers *timers)
{
    pm->timers = timers;
}

struct pm *pm_create(const struct device_buses *buses, const struct machine_services *services, struct irq_line sci)
{
    struct pm *pm = device_alloc(sizeof(*pm), "pm");

    if (!pm)
        return NULL;
    pm->services = services;
    pm->sci = sci;
    if (bus_add(buses->ports, PM_BASE, PM_SIZE, &pm_handler, pm, "pm") &&
        bus_add(buses->ports, RESET_PORT, 1, &reset_handler, pm, "reset") &&
        bus_add(buses->ports, I8042_PORT, 1, &i8042_data, pm, "i8042 data") &&
        bus_add(buses->ports, I8042_PORT + 4, 1, &i8042_command, pm, "i8042 command"))
        return pm;
    pm_destroy(pm);
    return NULL;
}

void pm_destroy(struct pm *pm)
{
    device_free(pm, sizeof(*pm));
}
