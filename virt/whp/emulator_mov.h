/* SPDX-License-Identifier: MIT */
/* The short way of WHvEmulatorTryMmioEmulation, for plain moves in 64-bit code. */
#ifndef VIRT_WHP_EMULATOR_MOV_H
#define VIRT_WHP_EMULATOR_MOV_H

#include <hv/types.h>
#include <whp/WinHvEmulation.h>

/*
 * True: it was one, and *status says how it went. False: it goes by the emulator; registers may have been read, nothing
 * else was done. The context is the exit's; nothing of it may be changing.
 */
bool emulator_mov(const WHV_EMULATOR_CALLBACKS *callbacks, VOID *context, const WHV_VP_EXIT_CONTEXT *vp,
                  const WHV_MEMORY_ACCESS_CONTEXT *memory, WHV_EMULATOR_STATUS *status);

#endif
