/* SPDX-License-Identifier: MIT */
/* Choosing the backend, once, and turning it on and off on all CPUs. */
#include "resident.h"
#include "tsc.h"
#include <hv/base/lines.h>
#include <hv/base/lock.h>
#include <hv/base/log.h>

static const struct hv_backend *const backends[] = {&vmx_backend, &svm_backend};

static struct hv_mutex backend_mutex; /* guards all below but reads of the chosen backend */
static struct hv_platform platform = {.backend = "none", .reason = "not looked at yet"};
static const struct hv_backend *chosen;
static volatile bool probed;
static uint32_t avoided; /* HV_AVOID_* */

static uint32_t users;
static uint32_t cpu_count;
static struct backend_cpu *cpus;

const struct hv_backend *backend(void)
{
    return chosen;
}

struct backend_cpu *backend_cpu_of(uint32_t cpu)
{
    return &cpus[cpu];
}

struct backend_cpu *backend_cpu(void)
{
    return &cpus[hv_host_cpu_id()];
}

/* ------------------------------------------------------------------------------------- probing */

static const struct hv_backend *find_offered(void)
{
    for (size_t i = 0; i < sizeof(backends) / sizeof(backends[0]); i++)
        if (backends[i]->is_offered())
            return backends[i];
    hv_format(platform.reason, sizeof(platform.reason),
              "this CPU has neither VMX nor SVM, or a hypervisor around us hides it");
    return NULL;
}

/* A CPU has one of them at most: the reason told is that backend's. */
static void probe_locked(void)
{
    const struct hv_backend *offered;

    cpu_find_facts(avoided);
    offered = find_offered();
    if (!offered || !offered->probe(&platform)) {
        hv_log(HV_LOG_WARNING, "no virtual processors on this machine: %s", platform.reason);
        return;
    }
    chosen = offered;
    platform.present = true;
    platform.backend = chosen->name;
    platform.reason[0] = '\0';
}

const struct hv_platform *backend_probe(void)
{
    if (__atomic_load_n(&probed, __ATOMIC_ACQUIRE))
        return &platform;
    hv_mutex_lock(&backend_mutex);
    if (!probed) {
        probe_locked();
        __atomic_store_n(&probed, true, __ATOMIC_RELEASE);
    }
    hv_mutex_unlock(&backend_mutex);
    return &platform;
}

enum hv_status hv_platform_avoid(uint32_t features)
{
    enum hv_status st = HV_E_STATE;

    if (features & ~(HV_AVOID_INTERRUPT_DELIVERY | HV_AVOID_XSAVEC | HV_AVOID_POSTED_INTERRUPTS))
        return HV_E_INVALID;
    hv_mutex_lock(&backend_mutex);
    if (!probed) {
        avoided = features;
        st = HV_OK;
    }
    hv_mutex_unlock(&backend_mutex);
    return st;
}

/* ---------------------------------------------------------------------------------- on and off */

static void cpu_on_here(void *arg)
{
    struct backend_cpu *cpu = arg;

    cpu->status = chosen->cpu_on(cpu);
}

static void cpu_off_here(void *arg)
{
    chosen->cpu_off(arg);
}

static void free_page(void *page)
{
    if (page)
        hv_host_page_free(page);
}

static bool alloc_page(void **page, hv_hpa_t *pa)
{
    *page = hv_host_page_alloc();
    if (*page)
        *pa = hv_host_virt_to_phys(*page, NULL);
    return *page;
}

static void free_cpus(void)
{
    for (uint32_t i = 0; i < cpu_count; i++) {
        free_page(cpus[i].region);
        free_page(cpus[i].state);
    }
    hv_lines_free(cpus, cpu_count * sizeof(*cpus));
    cpus = NULL;
}

static enum hv_status alloc_cpus(void)
{
    cpu_count = hv_host_cpu_count();
    cpus = hv_lines_alloc(cpu_count * sizeof(*cpus));
    if (!cpus)
        return HV_E_NO_MEMORY;
    for (uint32_t i = 0; i < cpu_count; i++) {
        cpus[i].id = i;
        if (!alloc_page(&cpus[i].region, &cpus[i].region_pa) ||
            (chosen->wants_state && !alloc_page(&cpus[i].state, &cpus[i].state_pa))) {
            free_cpus();
            return HV_E_NO_MEMORY;
        }
    }
    return HV_OK;
}

static void turn_off(uint32_t first_cpus)
{
    resident_end();
    while (first_cpus--)
        hv_host_cpu_call(first_cpus, cpu_off_here, &cpus[first_cpus]);
    free_cpus();
}

static enum hv_status turn_on(void)
{
    enum hv_status st = alloc_cpus();

    if (st != HV_OK)
        return st;
    for (uint32_t i = 0; i < cpu_count; i++) {
        hv_host_cpu_call(i, cpu_on_here, &cpus[i]);
        if (cpus[i].status != HV_OK) {
            st = cpus[i].status;
            turn_off(i);
            return st;
        }
    }
    tsc_measure(cpu_count);
    resident_begin(cpus, cpu_count);
    return HV_OK;
}

enum hv_status backend_on(void)
{
    enum hv_status st = HV_OK;

    if (!backend_probe()->present)
        return HV_E_NOT_PRESENT;
    hv_mutex_lock(&backend_mutex);
    if (users == 0)
        st = turn_on();
    if (st == HV_OK)
        users++;
    hv_mutex_unlock(&backend_mutex);
    return st;
}

void backend_off(void)
{
    hv_mutex_lock(&backend_mutex);
    if (--users == 0)
        turn_off(cpu_count);
    hv_mutex_unlock(&backend_mutex);
}
