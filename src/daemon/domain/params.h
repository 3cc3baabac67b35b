/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lists of typed parameters, as they are filled for an answer. */
#pragma once

#include "codec/remote.h"

struct params {
	struct arena *arena;
	struct xdr_param *items;
	uint32_t count, room;
};

/* `name` is copied. */
void params_add_int(struct params *list, const char *name, int32_t value);
void params_add_uint(struct params *list, const char *name, uint32_t value);
void params_add_llong(struct params *list, const char *name, int64_t value);
void params_add_ullong(struct params *list, const char *name, uint64_t value);
void params_add_bool(struct params *list, const char *name, bool value);
void params_add_string(struct params *list, const char *name, const char *value);
