/* SPDX-License-Identifier: MIT */
/*
 * Setup and teardown of tests on the whole library. A test that fails half-way leaves locks held and VMX on, which
 * fake_reset does not undo: the tests after it fail at once, in place of hanging.
 */
#ifndef MACHINE_H
#define MACHINE_H

#include "unit.h"
#include <stdio.h>

/* Every test until now has come to the end of its teardown, or this one's setup was refused as that is not so. */
static struct {
    bool is_unsound, is_refused;
} machine;

static inline int machine_setup(void **state)
{
    machine.is_refused = machine.is_unsound;
    if (machine.is_refused) {
        printf("# not run: an earlier test has failed\n");
        return -1;
    }
    machine.is_unsound = true;
    return unit_setup(state);
}

/* For a teardown to ask first: then there is nothing to take down. */
static inline bool machine_is_refused(void)
{
    return machine.is_refused;
}

static inline int machine_teardown(void **state)
{
    if (machine_is_refused())
        return 0;
    unit_teardown(state);
    machine.is_unsound = false;
    return 0;
}

#define MACHINE_TEST(fn) cmocka_unit_test_setup_teardown(fn, machine_setup, machine_teardown)

#endif
