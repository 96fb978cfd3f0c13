/* SPDX-License-Identifier: MIT */
/* The other spelling that clients use. */
#include "WinHvPlatform.h"
