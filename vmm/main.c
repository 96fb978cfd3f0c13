/* SPDX-License-Identifier: MIT */
/*
 * The reference VMM: Linux or a multiboot kernel in one virtual machine, or in several at the same time, by the WHP API
 * alone. See vmm/main.h.
 */
#include <vmm/guest.h>
#include <vmm/input.h>
#include <vmm/main.h>
#include <vmm/report.h>

#define POLL_US 100000 /* how often guests are looked at, beside their ends */

/* All of a run; too large for a stack. */
struct run {
    struct options options;
    struct input input;
    volatile uint32_t ends;
    struct guest guests[OPTIONS_GUESTS_MAX];
};

static bool has_hypervisor(void)
{
    WHV_CAPABILITY capability = {0};
    HRESULT hr = WHvGetCapability(WHvCapabilityCodeHypervisorPresent, &capability, sizeof(capability), NULL);

    if (SUCCEEDED(hr) && capability.HypervisorPresent)
        return true;
    system_print("vmm: no hypervisor on this machine: %s\n", system_hypervisor());
    return false;
}

static bool create_all(struct run *run)
{
    for (uint32_t i = 0; i < run->options.guests; i++)
        if (!guest_create(&run->guests[i], &run->options, i + 1, &run->ends))
            return false;
    return true;
}

static void wait_for_all(struct run *run)
{
    uint32_t seen;

    while ((seen = __atomic_load_n(&run->ends, __ATOMIC_ACQUIRE)) < run->options.guests) {
        system_wait(&run->ends, seen, POLL_US);
        for (uint32_t i = 0; i < run->options.guests; i++)
            guest_poll(&run->guests[i]);
    }
}

static int finish(struct run *run)
{
    int status = 0;

    for (uint32_t i = 0; i < run->options.guests; i++)
        guest_join(&run->guests[i]);
    for (uint32_t i = 0; i < run->options.guests; i++) {
        report_end(&run->guests[i]);
        status = status ? status : report_status(&run->guests[i]);
    }
    return status;
}

static int run_all(struct run *run)
{
    report_begin(&run->options, &run->guests[0]);
    if (!input_start(&run->input, run->guests, run->options.guests))
        return 1;
    for (uint32_t i = 0; i < run->options.guests; i++)
        guest_start(&run->guests[i]);
    wait_for_all(run);
    input_stop(&run->input);
    return finish(run);
}

int vmm_main(void)
{
    struct run *run;
    int status = 1;

    if (!has_hypervisor())
        return 1;
    run = system_memory_alloc(sizeof(*run));
    if (!run) {
        system_print("vmm: no memory to begin with\n");
        return 1;
    }
    if (options_read(&run->options)) {
        if (create_all(run))
            status = run_all(run);
        for (uint32_t i = run->options.guests; i-- > 0;)
            guest_destroy(&run->guests[i]);
    }
    system_memory_free(run, sizeof(*run));
    return status;
}
