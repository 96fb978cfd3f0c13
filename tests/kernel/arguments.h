/* SPDX-License-Identifier: MIT */
/* What the tests of arguments share: a picture of a machine's state. */
#ifndef ARGUMENTS_H
#define ARGUMENTS_H

#include "test.h"
#include "vm.h"

extern uint8_t arguments_page[4096];

/* Takes the picture; compares with it, and fails the test when something changed. with_vp: VP 0 exists. */
void arguments_begin(struct vm *vm, bool with_vp);
bool arguments_unchanged(struct vm *vm, bool with_vp);

#endif
