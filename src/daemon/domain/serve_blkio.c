/* SPDX-License-Identifier: GPL-2.0-or-later */
/* blkiotune: a domain's share of the host's block devices. */
#include "daemon/domain/cgroup.h"
#include "daemon/domain/change.h"
#include "daemon/domain/params.h"

#include "base/units.h"
#include "daemon/rpc/serve.h"

#include <inttypes.h>
#include <string.h>

#define WEIGHT "weight"

/* In libvirt's order, after the weight. */
static const char *const device_params[CONF_BLKIO_LIMITS] = {
	[CONF_BLKIO_WEIGHT] = "device_weight",
	[CONF_BLKIO_READ_IOPS] = "device_read_iops_sec",
	[CONF_BLKIO_WRITE_IOPS] = "device_write_iops_sec",
	[CONF_BLKIO_READ_BYTES] = "device_read_bytes_sec",
	[CONF_BLKIO_WRITE_BYTES] = "device_write_bytes_sec",
};

/* --- Setting --------------------------------------------------------------------------------- */

struct setting {
	char *path;
	enum conf_blkio_limit limit;
	uint64_t value; /* 0: none any more */
};

struct blkio_change {
	bool weight_given;
	unsigned weight;
	GArray *settings; /* struct setting */
};

static void setting_clear(void *opaque)
{
	struct setting *setting = opaque;
	g_free(setting->path);
}

static void blkio_change_free(void *opaque)
{
	struct blkio_change *change = opaque;
	g_array_unref(change->settings);
	g_free(change);
}

static bool edit_blkio(xmlNode *root, void *opaque, GError **error)
{
	const struct blkio_change *change = opaque;
	struct conf_blkio blkio = {0};
	bool good = conf_blkio_read(&blkio, root, error);
	if (change->weight_given)
		blkio.weight = change->weight;
	for (unsigned i = 0; i < change->settings->len; i++) {
		const struct setting *setting = &g_array_index(change->settings, struct setting, i);
		conf_blkio_set(&blkio, setting->path, setting->limit, setting->value);
	}
	if (good)
		conf_blkio_write(&blkio, root);
	conf_blkio_clear(&blkio);
	return good;
}

/* "/dev/sda,100,/dev/sdb,200": each device once. */
static bool take_devices(struct blkio_change *change, enum conf_blkio_limit limit, const char *text, GError **error)
{
	g_auto(GStrv) words = g_strsplit(text, ",", -1);
	unsigned count = g_strv_length(words);
	bool good = count && count % 2 == 0;
	for (unsigned i = 0; good && i < count; i += 2) {
		struct setting setting = {.limit = limit};
		good = *words[i] && units_parse_number(words[i + 1], 0, UINT64_MAX, &setting.value, NULL);
		if (good && !conf_blkio_is_valid(limit, setting.value))
			return virt_error(error, VIRT_FROM_QEMU, VIRT_INVALID_ARG,
					  "value of '%s' is out of range: %s", device_params[limit], words[i + 1]);
		setting.path = g_strdup(words[i]);
		g_array_append_val(change->settings, setting);
	}
	return good || virt_error(error, VIRT_FROM_QEMU, VIRT_INVALID_ARG,
				  "unable to parse blkio device '%s' '%s': it is a list like "
				  "/dev/sda,100,/dev/sdb,200",
				  device_params[limit], text);
}

static bool take(struct blkio_change *change, const struct xdr_param *param, GError **error)
{
	if (strcmp(param->name, WEIGHT) == 0 && param->type == XDR_PARAM_UINT) {
		change->weight_given = true;
		change->weight = param->u;
		return conf_blkio_is_valid(CONF_BLKIO_WEIGHT, param->u) ||
		       virt_error(error, VIRT_FROM_QEMU, VIRT_INVALID_ARG,
				  "value of '" WEIGHT "' is out of range: %u", param->u);
	}
	for (unsigned i = 0; i < CONF_BLKIO_LIMITS; i++) {
		if (strcmp(param->name, device_params[i]) == 0 && param->type == XDR_PARAM_STRING)
			return take_devices(change, i, param->s, error);
	}
	return virt_error(error, VIRT_FROM_QEMU, VIRT_ARGUMENT_UNSUPPORTED,
			  "parameter '%s' not supported", param->name);
}

void serve_domain_set_blkio_parameters(struct rpc_call *call,
				       const struct remote_domain_set_blkio_parameters_args *args)
{
	struct domain *dom = domain_find(call, &args->dom);
	GError *error = NULL;
	if (!dom || !rpc_call_check_flags(call, args->flags, CHANGE_LIVE | CHANGE_CONFIG))
		return;
	struct blkio_change *wanted = g_new0(struct blkio_change, 1);
	wanted->settings = g_array_new(FALSE, FALSE, sizeof(struct setting));
	g_array_set_clear_func(wanted->settings, setting_clear);
	for (unsigned i = 0; !error && i < args->params.count; i++)
		take(wanted, &args->params.items[i], &error);
	if (error) {
		blkio_change_free(wanted);
		rpc_call_fail(call, error);
		return;
	}
	struct domain_change *change = change_new(args->flags, edit_blkio, wanted, blkio_change_free);
	change->plan = cgroup_plan;
	change_submit(dom, call, change);
}

/* --- Getting --------------------------------------------------------------------------------- */

static void add_devices(struct params *params, const struct conf_blkio *blkio, enum conf_blkio_limit limit)
{
	g_autoptr(GString) text = g_string_new(NULL);
	for (unsigned i = 0; blkio->devices && i < blkio->devices->len; i++) {
		const struct conf_blkio_device *device = blkio->devices->pdata[i];
		if (device->limits[limit])
			g_string_append_printf(text, "%s%s,%" PRIu64, text->len ? "," : "", device->path,
					       device->limits[limit]);
	}
	params_add_string(params, device_params[limit], text->str);
}

void serve_domain_get_blkio_parameters(struct rpc_call *call,
				       const struct remote_domain_get_blkio_parameters_args *args)
{
	const struct conf_domain *conf = change_choose(call, &args->dom, args->flags);
	if (!conf)
		return;
	if (!args->nparams) {
		rpc_call_reply(call, &(struct remote_domain_get_blkio_parameters_ret){
					     .nparams = 1 + CONF_BLKIO_LIMITS});
		return;
	}
	struct params params = {.arena = rpc_call_arena(call)};
	params_add_uint(&params, WEIGHT, conf->blkio.weight);
	for (unsigned i = 0; i < CONF_BLKIO_LIMITS; i++)
		add_devices(&params, &conf->blkio, i);
	rpc_call_reply(call, &(struct remote_domain_get_blkio_parameters_ret){
				     .params = {MIN(params.count, (unsigned)MAX(args->nparams, 0)), params.items}});
}
