/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How networks come to life, are kept alive, and end. */
#include "daemon/network/life.h"

#include "base/error.h"
#include "base/log.h"
#include "daemon/domain/interface.h"
#include "daemon/domain/store.h"
#include "daemon/network/pool.h"
#include "daemon/network/rate.h"
#include "daemon/network/rules.h"

#include <net/if.h>
#include <string.h>
#include <unistd.h>

/* --- Files ------------------------------------------------------------------------------------ */

char *network_file_definition(const struct network *network)
{
	return store_path(network->all->daemon, NETWORK_DEFINED_FOLDER, network->uuid_text, ".xml");
}

char *network_file_autostart(const struct network *network)
{
	return store_path(network->all->daemon, NETWORK_AUTOSTART, network->uuid_text, "");
}

char *network_file_active(const struct network *network)
{
	return store_path(network->all->daemon, NETWORK_ACTIVE, network->uuid_text, ".xml");
}

char *network_run_folder(const struct networks *networks)
{
	return g_build_filename(networks->daemon->state_dir, NETWORK_RUN, NULL);
}

/* --- Up --------------------------------------------------------------------------------------- */

/* What the network has had, or else what neither a network nor the host uses. */
static char *choose_bridge(struct network *network)
{
	const struct conf_network *old = network_conf(network);
	if (old && old->bridge && conf_network_owns_bridge(old))
		return g_strdup(old->bridge);
	for (unsigned i = 0;; i++) {
		g_autofree char *name = g_strdup_printf("virbr%u", i);
		if (!network_by_bridge(network->all, name, network) && !if_nametoindex(name))
			return g_steal_pointer(&name);
	}
}

static char *choose_mac(const struct network *network)
{
	const struct conf_network *old = network_conf(network);
	guint32 random = g_random_int();
	if (old && old->mac)
		return g_strdup(old->mac);
	return g_strdup_printf("52:54:00:%02x:%02x:%02x", random & 0xff, random >> 8 & 0xff,
			       random >> 16 & 0xff);
}

bool network_complete(struct network *network, struct conf_network *conf, GError **error)
{
	if (!conf_network_owns_bridge(conf))
		return network_pool_check(conf, error);
	const struct network *rival =
		conf->bridge ? network_by_bridge(network->all, conf->bridge, network) : NULL;
	if (rival)
		return virt_error(error, VIRT_FROM_NETWORK, VIRT_INTERNAL,
				  "bridge name '%s' already in use by network '%s'.", conf->bridge,
				  rival->name);
	if (!conf->bridge)
		conf->bridge = choose_bridge(network);
	if (!conf->mac)
		conf->mac = choose_mac(network);
	return true;
}

void network_is_up(struct network *network, struct network_host *host)
{
	g_free(network->listing);
	network->listing = g_steal_pointer(&host->listing);
	network_watch_dnsmasq(network, host->dnsmasq);
	g_autoptr(GError) error = NULL;
	if (!network_ports_share(network, &error))
		log_warning("network '%s': %s", network->name, error->message);
}

/* What the work needs to know of a network that is to be active with job->conf. */
static void take_places(struct network_job *job, const struct conf_network *conf)
{
	g_autofree char *mark = store_boot_mark(), *xml = conf_network_format(conf, 0);
	job->mark = network_file_active(job->network);
	job->mark_text = g_strconcat(mark, xml, NULL);
	job->folder = network_run_folder(job->network->all);
}

static bool begin_start(struct network_job *job, GError **error)
{
	struct network *network = job->network;
	if (network->live)
		return virt_error(error, VIRT_FROM_NETWORK, VIRT_OPERATION_INVALID,
				  "network is already active");
	if (!job->conf && !network->definition)
		return virt_error(error, VIRT_FROM_NETWORK, VIRT_OPERATION_INVALID,
				  "network '%s' is not defined", network->name);
	if (!job->conf)
		job->conf = conf_network_copy(network->definition);
	if (!network_complete(network, job->conf, error) || !network_pool_start(job->conf, error))
		return false;
	take_places(job, job->conf);
	return true;
}

static bool work_start(struct network_job *job, GError **error)
{
	/* The mark first: whatever happens now, the next daemon knows of the bridge. */
	if (!store_write_now(job->mark, job->mark_text, error))
		return false;
	if (network_up(job->conf, job->folder, &job->host, error))
		return true;
	unlink(job->mark);
	return false;
}

static void done_start(struct network_job *job)
{
	struct network *network = job->network;
	network->live = g_steal_pointer(&job->conf);
	network_is_up(network, &job->host);
	interface_network_is_up(network->all->daemon, network->name);
	network_emit(network, NETWORK_STARTED);
	struct remote_network_create_xml_ret ret = {network_wire(network)};
	if (job->call)
		rpc_call_reply(job->call, job->flag ? &ret : NULL);
}

/* A network that is only there to be active goes. */
static void undo_start(struct network_job *job)
{
	struct network *network = job->network;
	if (!network->removed && !network->definition && !network->live)
		network_remove(network);
}

void network_start(struct network *network, struct rpc_call *call, struct conf_network *conf)
{
	static const struct network_job_ops ops = {begin_start, work_start, done_start, undo_start};
	struct network_job *job = network_job_new(network, call, &ops);
	job->conf = conf;
	job->flag = conf != NULL;
	network_submit(job);
}

/* --- Found again ------------------------------------------------------------------------------ */

static bool begin_resume(struct network_job *job, GError **error)
{
	take_places(job, job->conf);
	return true;
}

static bool work_repair(struct network_job *job, GError **error)
{
	return network_repair(job->conf, job->folder, &job->host, error);
}

static void done_resume(struct network_job *job)
{
	job->network->live = g_steal_pointer(&job->conf);
	network_ports_load(job->network);
	network_is_up(job->network, &job->host);
}

/*
 * With its bridge the guests' network is still there: what is missing is tried again. Without one it is
 * not active any more.
 */
static void undo_resume(struct network_job *job)
{
	if (job->conf->bridge && if_nametoindex(job->conf->bridge)) {
		job->network->live = g_steal_pointer(&job->conf);
		network_ports_load(job->network);
		network_retry_dnsmasq(job->network);
		return;
	}
	unlink(job->mark);
	undo_start(job);
}

void network_resume(struct network *network, struct conf_network *conf)
{
	static const struct network_job_ops ops = {begin_resume, work_repair, done_resume, undo_resume};
	struct network_job *job = network_job_new(network, NULL, &ops);
	job->conf = conf;
	network_submit(job);
}

/* --- Put right -------------------------------------------------------------------------------- */

static bool begin_heal(struct network_job *job, GError **error)
{
	if (!job->network->live)
		return false;
	job->conf = conf_network_copy(job->network->live);
	job->listing = g_strdup(job->network->listing);
	job->folder = network_run_folder(job->network->all);
	return true;
}

static void done_heal(struct network_job *job)
{
	if (!job->network->live)
		return;
	network_is_up(job->network, &job->host);
	interface_network_is_up(job->network->all->daemon, job->network->name);
}

/* dnsmasq does not come up: again, and later each time. */
static void undo_heal(struct network_job *job)
{
	if (job->error && job->network->live)
		network_retry_dnsmasq(job->network);
}

void network_heal(struct network *network)
{
	static const struct network_job_ops ops = {begin_heal, work_repair, done_heal, undo_heal};
	network_submit(network_job_new(network, NULL, &ops));
}

static bool begin_restore(struct network_job *job, GError **error)
{
	struct network *network = job->network;
	if (!begin_heal(job, error))
		return false;
	g_clear_pointer(&job->folder, g_free);
	take_places(job, job->conf);
	if (network->definition) {
		job->path = network_file_definition(network);
		job->text = conf_network_format(network->definition, 0);
	}
	return true;
}

/* First what guests see. */
static bool work_restore(struct network_job *job, GError **error)
{
	return network_repair(job->conf, job->folder, &job->host, error) &&
	       (!job->path || store_write_now(job->path, job->text, error)) &&
	       store_write_now(job->mark, job->mark_text, error);
}

void network_restore(struct network *network)
{
	static const struct network_job_ops ops = {begin_restore, work_restore, done_heal, undo_heal};
	network_submit(network_job_new(network, NULL, &ops));
}

static bool begin_check(struct network_job *job, GError **error)
{
	return begin_heal(job, error) && job->listing;
}

static bool work_check(struct network_job *job, GError **error)
{
	g_autofree char *now = network_rules_listing(job->conf);
	if (g_strcmp0(now, job->listing) == 0)
		return true;
	job->flag = true;
	return network_rules_load(job->conf, &job->host.listing, error);
}

static void done_check(struct network_job *job)
{
	if (!job->flag)
		return;
	log_info("network '%s': its rules were gone or changed, and are there again", job->network->name);
	g_free(job->network->listing);
	job->network->listing = g_steal_pointer(&job->host.listing);
}

void network_check_rules(struct network *network)
{
	static const struct network_job_ops ops = {begin_check, work_check, done_check, NULL};
	network_submit(network_job_new(network, NULL, &ops));
}

/* --- Down ------------------------------------------------------------------------------------- */

static bool begin_stop(struct network_job *job, GError **error)
{
	struct network *network = job->network;
	if (!network_check_active(network, error))
		return false;
	job->conf = conf_network_copy(network->live);
	job->mark = network_file_active(network);
	job->also = network_file_ports(network);
	job->folder = network_run_folder(network->all);
	/* Its end is no accident. */
	network_watch_dnsmasq(network, 0);
	return true;
}

static bool work_stop(struct network_job *job, GError **error)
{
	return network_down(job->conf, job->folder, error) && store_write_now(job->also, NULL, error) &&
	       store_write_now(job->mark, NULL, error);
}

static void done_stop(struct network_job *job)
{
	struct network *network = job->network;
	g_clear_pointer(&network->live, conf_network_free);
	g_clear_pointer(&network->listing, g_free);
	g_hash_table_remove_all(network->ports);
	rates_sweep(network->all->daemon);
	network_emit(network, NETWORK_STOPPED);
	if (!network->definition)
		network_remove(network);
	if (job->call)
		rpc_call_reply(job->call, NULL);
}

/* It goes on: also its dnsmasq, which is gone by now. */
static void undo_stop(struct network_job *job)
{
	if (job->network->live)
		network_restore(job->network);
}

void network_stop(struct network *network, struct rpc_call *call)
{
	static const struct network_job_ops ops = {begin_stop, work_stop, done_stop, undo_stop};
	network_submit(network_job_new(network, call, &ops));
}
