/* SPDX-License-Identifier: MIT */
/* HV_ASSERT is for broken invariants of the library itself. Guests and callers can never make one fail. */
#ifndef HV_BASE_ASSERT_H
#define HV_BASE_ASSERT_H

#include <hv/host.h>

#define HV_STRINGIFY_(x) #x
#define HV_STRINGIFY(x)  HV_STRINGIFY_(x)

#define HV_ASSERT(cond)                                                                      \
    do {                                                                                     \
        if (__builtin_expect(!(cond), 0))                                                    \
            hv_host_panic(__FILE__ ":" HV_STRINGIFY(__LINE__) ": assertion failed: " #cond); \
    } while (0)

#endif
