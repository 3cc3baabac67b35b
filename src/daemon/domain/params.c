/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/params.h"

#include <string.h>

static struct xdr_param *add(struct params *list, const char *name, enum xdr_param_type type)
{
	if (list->count == list->room) {
		uint32_t room = list->room ? 2 * list->room : 16;
		struct xdr_param *items = arena_alloc(list->arena, room * sizeof(*items));
		if (list->count)
			memcpy(items, list->items, list->count * sizeof(*items));
		list->items = items;
		list->room = room;
	}
	struct xdr_param *param = &list->items[list->count++];
	*param = (struct xdr_param){.name = arena_strdup(list->arena, name), .type = type};
	return param;
}

void params_add_int(struct params *list, const char *name, int32_t value)
{
	add(list, name, XDR_PARAM_INT)->i = value;
}

void params_add_uint(struct params *list, const char *name, uint32_t value)
{
	add(list, name, XDR_PARAM_UINT)->u = value;
}

void params_add_llong(struct params *list, const char *name, int64_t value)
{
	add(list, name, XDR_PARAM_LLONG)->l = value;
}

void params_add_ullong(struct params *list, const char *name, uint64_t value)
{
	add(list, name, XDR_PARAM_ULLONG)->ul = value;
}

void params_add_bool(struct params *list, const char *name, bool value)
{
	add(list, name, XDR_PARAM_BOOL)->i = value;
}

void params_add_string(struct params *list, const char *name, const char *value)
{
	add(list, name, XDR_PARAM_STRING)->s = arena_strdup(list->arena, value);
}
