/* SPDX-License-Identifier: MIT */
/* x87 and SSE registers inside a VP's extended state (vcpu.xsave). The VP is claimed and not running. */
#ifndef VIRT_XSAVE_H
#define VIRT_XSAVE_H

#include "partition.h"

void xsave_get_xmm(const struct vcpu *v, unsigned n, union hv_reg_value *value);
void xsave_set_xmm(struct vcpu *v, unsigned n, const union hv_reg_value *value);

/* The 80-bit registers ST0 to ST7; the upper 48 bits of a value are ignored. */
void xsave_get_st(const struct vcpu *v, unsigned n, union hv_reg_value *value);
void xsave_set_st(struct vcpu *v, unsigned n, const union hv_reg_value *value);

void xsave_get_fp_control(const struct vcpu *v, union hv_reg_value *value);
void xsave_set_fp_control(struct vcpu *v, const union hv_reg_value *value);

void xsave_get_xmm_control(const struct vcpu *v, union hv_reg_value *value);
bool xsave_set_xmm_control(struct vcpu *v, const union hv_reg_value *value); /* false: reserved bits in MXCSR */

#endif
