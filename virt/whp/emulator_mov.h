/* SPDX-License-Identifier: MIT */
/* The short way of WHvEmulatorTryMmioEmulation, for plain moves in 64-bit code. */
#ifndef VIRT_WHP_EMULATOR_MOV_H
#define VIRT_WHP_EMULATOR_MOV_H

#include <hv/types.h>
#include <whp/WinHvEmulation.h>

/*
 * What came of it, or nothing (0): it goes by the emulator, and nothing was done. The context is the exit's: of each
 * part that is looked at it is read once.
 */
WHV_EMULATOR_STATUS emulator_mov(const WHV_EMULATOR_CALLBACKS *callbacks, VOID *context, const WHV_VP_EXIT_CONTEXT *vp,
                                 const WHV_MEMORY_ACCESS_CONTEXT *memory);

#endif
