/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libvirt's typed parameters, read and made. */
#include "shell.h"

#include <inttypes.h>

#include <string.h>

char *param_text(const struct xdr_param *param)
{
	switch (param->type) {
	case XDR_PARAM_INT:
		return g_strdup_printf("%d", param->i);
	case XDR_PARAM_UINT:
		return g_strdup_printf("%u", param->u);
	case XDR_PARAM_LLONG:
		return g_strdup_printf("%" PRId64, param->l);
	case XDR_PARAM_ULLONG:
		return g_strdup_printf("%" PRIu64, param->ul);
	case XDR_PARAM_DOUBLE:
		return g_strdup_printf("%f", param->d);
	case XDR_PARAM_BOOL:
		return g_strdup(param->i ? "yes" : "no");
	default:
		return g_strdup(param->s);
	}
}

const struct xdr_param *param_find(const struct xdr_param *params, uint32_t count, const char *name)
{
	for (uint32_t i = 0; i < count; i++) {
		if (strcmp(params[i].name, name) == 0)
			return &params[i];
	}
	return NULL;
}

bool param_u64(const struct xdr_param *params, uint32_t count, const char *name, uint64_t *value)
{
	const struct xdr_param *param = param_find(params, count, name);
	if (!param)
		return false;
	switch (param->type) {
	case XDR_PARAM_INT:
	case XDR_PARAM_BOOL:
		*value = param->i;
		return true;
	case XDR_PARAM_UINT:
		*value = param->u;
		return true;
	case XDR_PARAM_LLONG:
	case XDR_PARAM_ULLONG:
		*value = param->ul;
		return true;
	default:
		return false;
	}
}

const char *param_string(const struct xdr_param *params, uint32_t count, const char *name)
{
	const struct xdr_param *param = param_find(params, count, name);
	return param && param->type == XDR_PARAM_STRING ? param->s : NULL;
}

static void clear(void *data)
{
	struct xdr_param *param = data;
	g_free(param->name);
	if (param->type == XDR_PARAM_STRING)
		g_free(param->s);
}

struct params params_new(void)
{
	struct params params = {g_array_new(FALSE, TRUE, sizeof(struct xdr_param))};
	g_array_set_clear_func(params.array, clear);
	return params;
}

void params_clear(struct params *params)
{
	g_array_unref(params->array);
}

static struct xdr_param *add(struct params *params, const char *name, enum xdr_param_type type)
{
	struct xdr_param param = {.name = g_strdup(name), .type = type};
	g_array_append_val(params->array, param);
	return &g_array_index(params->array, struct xdr_param, params->array->len - 1);
}

void params_string(struct params *params, const char *name, const char *value)
{
	if (value)
		add(params, name, XDR_PARAM_STRING)->s = g_strdup(value);
}

void params_ulong(struct params *params, const char *name, uint64_t value)
{
	add(params, name, XDR_PARAM_ULLONG)->ul = value;
}

void params_long(struct params *params, const char *name, int64_t value)
{
	add(params, name, XDR_PARAM_LLONG)->l = value;
}

void params_int(struct params *params, const char *name, int32_t value)
{
	add(params, name, XDR_PARAM_INT)->i = value;
}

void params_uint(struct params *params, const char *name, uint32_t value)
{
	add(params, name, XDR_PARAM_UINT)->u = value;
}

double scaled_size(uint64_t bytes, const char **unit)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double value = bytes;
	unsigned i = 0;
	for (; value >= 1024 && i + 1 < G_N_ELEMENTS(units); i++)
		value /= 1024;
	*unit = units[i];
	return value;
}

uint32_t typed_flags(struct shell *sh, uint32_t flags)
{
	enum { FEATURE_PARAM_STRING = 9, PARAM_STRING_OKAY = 4 };
	return client_has(sh->client, FEATURE_PARAM_STRING) ? flags | PARAM_STRING_OKAY : flags;
}

void print_params(const struct param_list *list)
{
	for (uint32_t i = 0; i < list->count; i++) {
		g_autofree char *text = param_text(&list->items[i]);
		shell_print("%-15s: %s\n", list->items[i].name, text);
	}
}
