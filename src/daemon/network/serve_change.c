/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The calls that change networks: each is a job. */
#include "daemon/network/life.h"

#include "base/error.h"
#include "daemon/domain/store.h"
#include "daemon/network/dnsmasq.h"
#include "daemon/network/rules.h"
#include "daemon/rpc/serve.h"

#include <string.h>

enum { VALIDATE = 1, UPDATE_LIVE = 1, UPDATE_CONFIG = 2 };

/* --- Which network ---------------------------------------------------------------------------- */

/* The network of this name and UUID, a new one, or NULL with the call failed. */
static struct network *find_or_add(struct rpc_call *call, const struct conf_network *conf)
{
	struct networks *networks = rpc_call_daemon(call)->networks;
	struct network *named = network_by_name(networks, conf->name);
	struct network *network = network_by_uuid(networks, conf->uuid);
	GError *error = NULL;
	if (!rpc_call_may(call, RPC_NETWORK, conf->name))
		return NULL;
	if (named && named != network)
		virt_error(&error, VIRT_FROM_NETWORK, VIRT_OPERATION_FAILED,
			   "network '%s' already exists with uuid %s", named->name, named->uuid_text);
	else if (network && strcmp(network->name, conf->name) != 0)
		virt_error(&error, VIRT_FROM_NETWORK, VIRT_OPERATION_FAILED,
			   "network '%s' is already defined with uuid %s", network->name,
			   network->uuid_text);
	else
		return network ? network : network_add(networks, conf);
	rpc_call_fail(call, error);
	return NULL;
}

static struct conf_network *parse(struct rpc_call *call, const char *xml)
{
	GError *error = NULL;
	struct conf_network *conf = conf_network_parse(xml, &error);
	if (!conf)
		network_fail(call, error);
	return conf;
}

/* --- Definitions ------------------------------------------------------------------------------ */

static bool work_files(struct network_job *job, GError **error)
{
	return store_write_now(job->path, job->text, error) &&
	       (!job->also || store_write_now(job->also, NULL, error));
}

static bool begin_define(struct network_job *job, GError **error)
{
	if (!network_complete(job->network, job->conf, error))
		return false;
	job->path = network_file_definition(job->network);
	job->text = conf_network_format(job->conf, 0);
	return true;
}

static void done_define(struct network_job *job)
{
	struct network *network = job->network;
	conf_network_free(network->definition);
	network->definition = g_steal_pointer(&job->conf);
	network_emit(network, NETWORK_DEFINED);
	struct remote_network_define_xml_ret ret = {network_wire(network)};
	rpc_call_reply(job->call, &ret);
}

static void undo_define(struct network_job *job)
{
	struct network *network = job->network;
	if (!network->removed && !network->definition && !network->live)
		network_remove(network);
}

static void define(struct rpc_call *call, const char *xml)
{
	static const struct network_job_ops ops = {begin_define, work_files, done_define, undo_define};
	auto_conf_network conf = parse(call, xml);
	struct network *network = conf ? find_or_add(call, conf) : NULL;
	if (!network)
		return;
	struct network_job *job = network_job_new(network, call, &ops);
	job->conf = g_steal_pointer(&conf);
	network_submit(job);
}

void serve_network_define_xml(struct rpc_call *call, const struct remote_network_define_xml_args *args)
{
	define(call, args->xml);
}

/* Names and values are always checked, so that validation asks for nothing more. */
void serve_network_define_xml_flags(struct rpc_call *call,
				    const struct remote_network_define_xml_flags_args *args)
{
	if (rpc_call_check_flags(call, args->flags, VALIDATE))
		define(call, args->xml);
}

static bool begin_undefine(struct network_job *job, GError **error)
{
	if (!job->network->definition)
		return virt_error(error, VIRT_FROM_NETWORK, VIRT_OPERATION_INVALID,
				  "can't undefine transient network");
	job->path = network_file_autostart(job->network);
	job->also = network_file_definition(job->network);
	return true;
}

/* One that is active goes on, and with its end. */
static void done_undefine(struct network_job *job)
{
	struct network *network = job->network;
	g_clear_pointer(&network->definition, conf_network_free);
	network->autostart = false;
	network_emit(network, NETWORK_UNDEFINED);
	if (!network->live)
		network_remove(network);
	rpc_call_reply(job->call, NULL);
}

void serve_network_undefine(struct rpc_call *call, const struct remote_network_undefine_args *args)
{
	static const struct network_job_ops ops = {begin_undefine, work_files, done_undefine, NULL};
	struct network *network = network_find(call, &args->net);
	if (network)
		network_submit(network_job_new(network, call, &ops));
}

static bool begin_autostart(struct network_job *job, GError **error)
{
	if (!job->network->definition)
		return virt_error(error, VIRT_FROM_NETWORK, VIRT_OPERATION_INVALID,
				  "cannot set autostart for transient network");
	job->path = network_file_autostart(job->network);
	job->text = job->flag ? g_strdup("") : NULL;
	return true;
}

static void done_autostart(struct network_job *job)
{
	job->network->autostart = job->flag;
	rpc_call_reply(job->call, NULL);
}

void serve_network_set_autostart(struct rpc_call *call,
				 const struct remote_network_set_autostart_args *args)
{
	static const struct network_job_ops ops = {begin_autostart, work_files, done_autostart, NULL};
	struct network *network = network_find(call, &args->net);
	if (!network)
		return;
	struct network_job *job = network_job_new(network, call, &ops);
	job->flag = args->autostart;
	network_submit(job);
}

/* --- Life ------------------------------------------------------------------------------------- */

void serve_network_create(struct rpc_call *call, const struct remote_network_create_args *args)
{
	struct network *network = network_find(call, &args->net);
	if (network)
		network_start(network, call, NULL);
}

static void create(struct rpc_call *call, const char *xml)
{
	auto_conf_network conf = parse(call, xml);
	struct network *network = conf ? find_or_add(call, conf) : NULL;
	if (network)
		network_start(network, call, g_steal_pointer(&conf));
}

void serve_network_create_xml(struct rpc_call *call, const struct remote_network_create_xml_args *args)
{
	create(call, args->xml);
}

void serve_network_create_xml_flags(struct rpc_call *call,
				    const struct remote_network_create_xml_flags_args *args)
{
	if (rpc_call_check_flags(call, args->flags, VALIDATE))
		create(call, args->xml);
}

void serve_network_destroy(struct rpc_call *call, const struct remote_network_destroy_args *args)
{
	struct network *network = network_find(call, &args->net);
	if (network)
		network_stop(network, call);
}

/* --- Updates of a part ------------------------------------------------------------------------ */

/* What a running network can be given without being made anew. */
static bool check_live(const struct network *network, enum conf_section section, GError **error)
{
	if (section == CONF_SECTION_BRIDGE || section == CONF_SECTION_DOMAIN || section == CONF_SECTION_IP ||
	    section == CONF_SECTION_FORWARD || section == CONF_SECTION_FORWARD_PF)
		return virt_error(error, VIRT_FROM_NETWORK, VIRT_OPERATION_UNSUPPORTED,
				  "this part of the active network '%s' cannot be changed: change its "
				  "definition and start it anew", network->name);
	return true;
}

static struct conf_network *updated(const struct conf_network *conf,
				    const struct remote_network_update_args *args, GError **error)
{
	auto_conf_network next = conf_network_copy(conf);
	if (!conf_network_update(next, args->command, args->section, args->parent_index, args->xml, error))
		return NULL;
	return g_steal_pointer(&next);
}

/* On the host: what changes there may be refused, by nft or dnsmasq. */
static bool change_live(struct network_job *job, GError **error)
{
	if (!network_rules_load(job->live, &job->host.listing, error))
		return false;
	if (!conf_network_owns_bridge(job->live))
		return true;
	/* It may have ended just now. */
	if (!job->flag && (job->host.dnsmasq = dnsmasq_find(job->live, job->folder)))
		return true;
	return dnsmasq_start(job->live, job->folder, &job->host.dnsmasq, error);
}

static bool work_update(struct network_job *job, GError **error)
{
	return (!job->live || change_live(job, error)) &&
	       (!job->path || store_write_now(job->path, job->text, error)) &&
	       (!job->live || store_write_now(job->mark, job->mark_text, error));
}

static void done_update(struct network_job *job)
{
	struct network *network = job->network;
	if (job->conf) {
		conf_network_free(network->definition);
		network->definition = g_steal_pointer(&job->conf);
	}
	if (job->live) {
		conf_network_free(network->live);
		network->live = g_steal_pointer(&job->live);
		network_is_up(network, &job->host);
	}
	rpc_call_reply(job->call, NULL);
}

/* Only after begin_update() has done its part: a request that is refused has changed nothing. */
static void undo_update(struct network_job *job)
{
	if (job->mark && job->network->live)
		network_restore(job->network);
}

/* Both documents are made before either is taken. */
static bool make_documents(struct network_job *job, GError **error)
{
	const struct remote_network_update_args *args = job->request;
	struct network *network = job->network;
	uint32_t flags = args->flags;
	if (!(flags & (UPDATE_LIVE | UPDATE_CONFIG)))
		flags |= network->live ? UPDATE_LIVE : UPDATE_CONFIG;
	if (flags & UPDATE_LIVE && (!network_check_active(network, error) ||
				    !check_live(network, args->section, error)))
		return false;
	if (flags & UPDATE_CONFIG && !network->definition)
		return virt_error(error, VIRT_FROM_NETWORK, VIRT_OPERATION_INVALID,
				  "can't change persistent config for a transient network");
	if (flags & UPDATE_LIVE && !(job->live = updated(network->live, args, error)))
		return false;
	return !(flags & UPDATE_CONFIG) || (job->conf = updated(network->definition, args, error));
}

static bool begin_update(struct network_job *job, GError **error)
{
	struct network *network = job->network;
	if (!make_documents(job, error))
		return false;
	if (job->conf) {
		job->path = network_file_definition(network);
		job->text = conf_network_format(job->conf, 0);
	}
	if (!job->live)
		return true;
	job->folder = network_run_folder(network->all);
	g_autofree char *old = dnsmasq_config(network->live, job->folder);
	g_autofree char *next = dnsmasq_config(job->live, job->folder);
	g_autofree char *mark = store_boot_mark(), *xml = conf_network_format(job->live, 0);
	job->flag = g_strcmp0(old, next) != 0;
	job->mark = network_file_active(network);
	job->mark_text = g_strconcat(mark, xml, NULL);
	if (job->flag)
		network_watch_dnsmasq(network, 0);
	return true;
}

void serve_network_update(struct rpc_call *call, const struct remote_network_update_args *args)
{
	static const struct network_job_ops ops = {begin_update, work_update, done_update, undo_update};
	if (!rpc_call_check_flags(call, args->flags, UPDATE_LIVE | UPDATE_CONFIG))
		return;
	struct network *network = network_find(call, &args->net);
	if (!network)
		return;
	struct network_job *job = network_job_new(network, call, &ops);
	job->request = args;
	network_submit(job);
}
