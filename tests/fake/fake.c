/* SPDX-License-Identifier: MIT */
/* Failure, log and counters of the fake host. */
#include "fake.h"
#include "fake_amdvi.h"
#include "fake_device.h"
#include "fake_vtd.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_CHARS 255

struct fake_counts fake_state;

static pthread_mutex_t log_mutex = PTHREAD_MUTEX_INITIALIZER;
static char log_lines[FAKE_LOG_LINES][LINE_MAX_CHARS + 1];
static unsigned log_next;
static uint64_t log_counts[HV_LOG_DEBUG + 1];

static void failure_abort(const char *text)
{
    fprintf(stderr, "fake host: %s\n", text);
    abort();
}

void (*fake_on_failure)(const char *text) = failure_abort;

void fake_fail(const char *format, ...)
{
    static _Thread_local char text[512];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    fake_on_failure(text);
    abort();
}

void fake_require(bool cond, const char *rule)
{
    if (!cond)
        fake_fail("%s", rule);
}

_Noreturn void hv_host_panic(const char *text)
{
    fake_fail("panic: %s", text);
}

/* -------------------------------------------------------------------------------- log */

void hv_host_log(enum hv_log_level level, const char *text)
{
    fake_require(level <= HV_LOG_DEBUG, "hv_host_log: no such level");
    fake_require(strlen(text) <= LINE_MAX_CHARS, "hv_host_log: line too long");
    fake_require(!strchr(text, '\n'), "hv_host_log: line end in the text");
    pthread_mutex_lock(&log_mutex);
    strcpy(log_lines[log_next++ % FAKE_LOG_LINES], text);
    log_counts[level]++;
    pthread_mutex_unlock(&log_mutex);
}

bool fake_log_contains(const char *text)
{
    for (unsigned i = 0; i < FAKE_LOG_LINES; i++)
        if (log_lines[i][0] && strstr(log_lines[i], text))
            return true;
    return false;
}

uint64_t fake_log_count(enum hv_log_level level)
{
    return log_counts[level];
}

/* ----------------------------------------------------------------------------- all of it */

struct fake_counts fake_counts(void)
{
    return fake_state;
}

void fake_reset(void)
{
    fake_event_reset();
    fake_device_reset();
    fake_memory_reset();
    fake_cpu_reset();
    fake_x86_reset();
    fake_vmx_reset();
    fake_svm_reset();
    fake_vtd_reset();
    fake_amdvi_reset();
    fake_state = (struct fake_counts){0};
    memset(log_lines, 0, sizeof(log_lines));
    memset(log_counts, 0, sizeof(log_counts));
    log_next = 0;
}

void fake_assert_clean(void)
{
    fake_vmx_assert_clean();
    fake_svm_assert_clean();
    fake_vtd_assert_clean();
    fake_amdvi_assert_clean();
    fake_event_assert_clean();
    fake_device_assert_clean();
    fake_memory_assert_clean();
    fake_cpu_assert_clean();
}
