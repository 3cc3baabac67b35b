/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Limits of disks' throughput: blkdeviotune. */
#include "daemon/domain/change.h"
#include "daemon/domain/device_args.h"
#include "daemon/domain/notify.h"
#include "daemon/domain/params.h"

#include "daemon/rpc/serve.h"

#include <stdio.h>
#include <string.h>

#define GROUP "group_name"
/* QEMU's, and so libvirt's. */
#define LIMIT_MAX G_GUINT64_CONSTANT(1000000000000000)

struct iotune_change {
	char *target;
	struct conf_iotune wanted;
	bool given[CONF_IOTUNE_NUMBERS];
};

static void iotune_change_free(void *opaque)
{
	struct iotune_change *change = opaque;
	g_free(change->target);
	g_free(change->wanted.group);
	g_free(change);
}

/* --- Setting --------------------------------------------------------------------------------- */

/* Of three of a kind either all stay or all are new: a limit of the whole takes the place of parts. */
static void merge(struct conf_iotune *now, const struct iotune_change *change)
{
	for (unsigned kind = 0; kind < CONF_IOTUNE_NUMBERS; kind += 3) {
		unsigned end = MIN(kind + 3, (unsigned)CONF_IOTUNE_NUMBERS);
		bool any = false;
		for (unsigned i = kind; i < end; i++)
			any |= change->given[i];
		for (unsigned i = kind; any && i < end; i++)
			now->numbers[i] = change->wanted.numbers[i];
	}
	if (!change->wanted.group)
		return;
	g_free(now->group);
	now->group = g_strdup(change->wanted.group);
}

static xmlNode *find_target(const xmlNode *root, const char *wanted)
{
	xml_for_each(disk, xml_child(root, "devices"), "disk") {
		g_autofree char *target = conf_domain_child_attribute(disk, "target", "dev");
		if (g_strcmp0(target, wanted) == 0)
			return disk;
	}
	return NULL;
}

static bool is_in_group(const xmlNode *disk, const char *group)
{
	const xmlNode *tune = xml_child(disk, "iotune");
	g_autofree char *its = tune ? xml_child_text(tune, GROUP) : NULL;
	return its && strcmp(its, group) == 0;
}

/* What the limits are before the change: those of its group, which the disk may be about to join. */
static bool read_before(struct conf_iotune *now, const xmlNode *root, const xmlNode *target,
			const char *joined, GError **error)
{
	const xmlNode *from = target;
	if (joined && !is_in_group(target, joined)) {
		xml_for_each(disk, xml_child(root, "devices"), "disk") {
			if (!is_in_group(disk, joined))
				continue;
			from = disk;
			break;
		}
	}
	return conf_domain_read_iotune(now, from, error);
}

/* In libvirt's words: a burst is more than what it is a burst of. */
static bool check_bursts(const struct conf_iotune *iotune, GError **error)
{
	for (unsigned i = CONF_IOTUNE_BYTES; i < CONF_IOTUNE_BYTES_MAX; i++) {
		unsigned max = i + CONF_IOTUNE_BYTES_MAX;
		if (!iotune->numbers[max])
			continue;
		if (!iotune->numbers[i])
			return virt_error(error, VIRT_FROM_QEMU, VIRT_CONFIG_UNSUPPORTED,
					  "cannot reset '%s' when '%s' is set", conf_iotune_names[i],
					  conf_iotune_names[max]);
		if (iotune->numbers[max] < iotune->numbers[i])
			return virt_error(error, VIRT_FROM_QEMU, VIRT_CONFIG_UNSUPPORTED,
					  "value '%s' cannot be smaller than '%s'", conf_iotune_names[max],
					  conf_iotune_names[i]);
	}
	return true;
}

/* As libvirt: disks of a group have the same limits. */
static bool edit_iotune(xmlNode *root, void *opaque, GError **error)
{
	const struct iotune_change *change = opaque;
	xmlNode *target = find_target(root, change->target);
	struct conf_iotune now = {0};
	if (!target)
		return virt_error(error, VIRT_FROM_QEMU, VIRT_INVALID_ARG, "missing persistent configuration for disk "
				  "'%s'", change->target);
	bool good = read_before(&now, root, target, change->wanted.group, error);
	if (good)
		merge(&now, change);
	good = good && check_bursts(&now, error);
	if (good) {
		conf_domain_write_iotune(&now, target);
		xml_for_each(disk, xml_child(root, "devices"), "disk") {
			if (now.group && is_in_group(disk, now.group))
				conf_domain_write_iotune(&now, disk);
		}
	}
	g_free(now.group);
	return good;
}

static bool plan_iotune(struct domain_change *change, const struct conf_domain *old,
			const struct conf_domain *next, GError **error)
{
	const struct iotune_change *wanted = change->opaque;
	const struct conf_domain_disk *disk = conf_domain_find_disk(next, wanted->target);
	const struct conf_domain_disk *before = conf_domain_find_disk(old, wanted->target);
	change_add_step(change, "block_set_io_throttle", disk_throttle(disk), "block_set_io_throttle",
			disk_throttle(before));
	return true;
}

static void tell_iotune(struct domain *dom, const struct domain_change *change)
{
	const struct iotune_change *wanted = change->opaque;
	struct arena arena = {0};
	struct params params = {.arena = &arena};
	params_add_string(&params, "blkdeviotune.disk", wanted->target);
	for (unsigned i = 0; i < CONF_IOTUNE_NUMBERS; i++) {
		char name[64];
		snprintf(name, sizeof(name), "blkdeviotune.%s", conf_iotune_names[i]);
		if (wanted->given[i])
			params_add_ullong(&params, name, wanted->wanted.numbers[i]);
	}
	if (wanted->wanted.group)
		params_add_string(&params, "blkdeviotune." GROUP, wanted->wanted.group);
	if (change->live)
		notify_tunable(dom, params.items, params.count);
	arena_clear(&arena);
}

static bool read_param(struct iotune_change *change, const struct xdr_param *param, GError **error)
{
	if (strcmp(param->name, GROUP) == 0 && param->type == XDR_PARAM_STRING) {
		g_free(change->wanted.group);
		change->wanted.group = g_strdup(param->s);
		return true;
	}
	for (unsigned i = 0; i < CONF_IOTUNE_NUMBERS; i++) {
		if (strcmp(param->name, conf_iotune_names[i]) != 0 || param->type != XDR_PARAM_ULLONG)
			continue;
		change->wanted.numbers[i] = param->ul;
		change->given[i] = true;
		return param->ul <= LIMIT_MAX ||
		       virt_error(error, VIRT_FROM_QEMU, VIRT_ARGUMENT_UNSUPPORTED,
				  "block I/O throttle limit value must be no more than %" G_GUINT64_FORMAT,
				  LIMIT_MAX);
	}
	return virt_error(error, VIRT_FROM_QEMU, VIRT_ARGUMENT_UNSUPPORTED,
			  "parameter '%s' not supported", param->name);
}

void serve_domain_set_block_io_tune(struct rpc_call *call,
				    const struct remote_domain_set_block_io_tune_args *args)
{
	struct domain *dom = domain_find(call, &args->dom);
	GError *error = NULL;
	if (!dom || !rpc_call_check_flags(call, args->flags, CHANGE_LIVE | CHANGE_CONFIG))
		return;
	const struct conf_domain_disk *disk = conf_domain_find_disk(domain_conf(dom), args->disk);
	struct iotune_change *wanted = g_new0(struct iotune_change, 1);
	if (!disk)
		virt_error(&error, VIRT_FROM_QEMU, VIRT_INVALID_ARG,
			   "disk '%s' not found in domain", args->disk);
	else
		wanted->target = g_strdup(disk->target);
	for (unsigned i = 0; !error && i < args->params.count; i++)
		read_param(wanted, &args->params.items[i], &error);
	if (error) {
		iotune_change_free(wanted);
		rpc_call_fail(call, error);
		return;
	}
	struct domain_change *change = change_new(args->flags, edit_iotune, wanted, iotune_change_free);
	change->plan = plan_iotune;
	change->applied = tell_iotune;
	change_submit(dom, call, change);
}

/* --- Getting --------------------------------------------------------------------------------- */

/*
 * In libvirt's order: the group stands between the limits and the lengths of bursts. The VMM of a domain that runs
 * has a length for each burst: a second, unless told.
 */
static void fill(struct params *params, const struct conf_iotune *iotune, bool live)
{
	for (unsigned i = 0; i < CONF_IOTUNE_BYTES_LENGTH; i++)
		params_add_ullong(params, conf_iotune_names[i], iotune->numbers[i]);
	params_add_ullong(params, conf_iotune_names[CONF_IOTUNE_SIZE], iotune->numbers[CONF_IOTUNE_SIZE]);
	params_add_string(params, GROUP, iotune->group ? iotune->group : "");
	for (unsigned i = CONF_IOTUNE_BYTES_LENGTH; i < CONF_IOTUNE_SIZE; i++) {
		unsigned burst = i - CONF_IOTUNE_BYTES_LENGTH + CONF_IOTUNE_BYTES_MAX;
		bool usual = live && iotune->numbers[burst] && !iotune->numbers[i];
		params_add_ullong(params, conf_iotune_names[i], usual ? 1 : iotune->numbers[i]);
	}
}

void serve_domain_get_block_io_tune(struct rpc_call *call,
				    const struct remote_domain_get_block_io_tune_args *args)
{
	enum { STRING_OKAY = 4, COUNT = CONF_IOTUNE_NUMBERS + 1 };
	struct domain *dom = domain_find(call, &args->dom);
	GError *error = NULL;
	bool live, config;
	if (!dom || !rpc_call_check_flags(call, args->flags, CHANGE_LIVE | CHANGE_CONFIG | STRING_OKAY))
		return;
	if (!args->nparams) {
		rpc_call_reply(call, &(struct remote_domain_get_block_io_tune_ret){.nparams = COUNT});
		return;
	}
	const struct conf_domain_disk *disk = NULL;
	if (change_resolve(dom, args->flags & ~STRING_OKAY, &live, &config, &error) && args->disk)
		disk = conf_domain_find_disk(live ? dom->live : dom->definition, args->disk);
	if (!error && !disk)
		virt_error(&error, VIRT_FROM_QEMU, VIRT_INVALID_ARG,
			   "disk '%s' not found in domain", args->disk ? args->disk : "");
	if (error) {
		rpc_call_fail(call, error);
		return;
	}
	struct params params = {.arena = rpc_call_arena(call)};
	fill(&params, &disk->iotune, live);
	rpc_call_reply(call, &(struct remote_domain_get_block_io_tune_ret){
				     .params = {MIN(params.count, (unsigned)args->nparams), params.items}});
}
