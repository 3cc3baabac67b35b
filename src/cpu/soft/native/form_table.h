/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Shorthand of the form tables. A row: map and opcode, mandatory prefix, ModRM.reg and r/m operand
 * kinds, memory size, features of the legacy and VEX forms, flags.
 */
#pragma once

#include "cpu/soft/native/native.h"

#define FORM(map_, op_, pp_, reg_, rm_, size_, lf_, vf_, flags_)                                   \
	{ .map = map_, .opcode = op_, .pp = pp_, .digit = -1, .reg = reg_, .rm = rm_,              \
	  .size = size_, .legacy_feature = FT_##lf_, .vex_feature = FT_##vf_, .flags = (flags_) }

enum {
	L_ = NF_LEGACY, V_ = NF_VEX, LV = L_ | V_, LVN = LV | NF_NDS, VN = V_ | NF_NDS,
};
