/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Define, undefine, bring up and down, and the way back. */
#include "daemon/interface/change.h"

#include "base/error.h"
#include "base/log.h"
#include "daemon/domain/store.h"
#include "daemon/network/network.h"
#include "daemon/rpc/serve.h"

#include <linux/if.h>
#include <string.h>

enum { DEFINE_VALIDATE = 1 };

struct interface_job;
struct job_ops {
	/* On the loop, in its turn. May be NULL. */
	bool (*begin)(struct interface_job *job, GError **error);
	/* On the thread: it reads what is defined, and has the restore point for itself. */
	bool (*work)(struct interface_job *job, GError **error);
	/* On the loop, after work that succeeded: end the call. NULL: an empty answer. */
	void (*done)(struct interface_job *job);
};

struct interface_job {
	const struct job_ops *ops;
	struct interfaces *all;
	struct rpc_call *call;
	struct conf_interface *conf; /* owned: what is to be defined; or NULL */
	char *name;                  /* of the interface; NULL: of all */
	uint8_t mac[6];
	GError *error;
	struct aio_job job;
};

/* --- The queue -------------------------------------------------------------------------------- */

static void advance(struct interfaces *interfaces);

static void finish(struct interface_job *job)
{
	if (job->error)
		network_fail_of(job->call, VIRT_FROM_INTERFACE, g_steal_pointer(&job->error));
	else if (job->ops->done)
		job->ops->done(job);
	else
		rpc_call_reply(job->call, NULL);
	g_queue_pop_head(&job->all->jobs);
	conf_interface_free(job->conf);
	g_free(job->name);
	g_free(job);
}

static void work(void *opaque)
{
	struct interface_job *job = opaque;
	job->ops->work(job, &job->error);
}

static void finished(void *opaque)
{
	struct interface_job *job = opaque;
	struct interfaces *interfaces = job->all;
	finish(job);
	advance(interfaces);
}

static void advance(struct interfaces *interfaces)
{
	struct interface_job *job;
	while ((job = g_queue_peek_head(&interfaces->jobs))) {
		if (!job->ops->begin || job->ops->begin(job, &job->error)) {
			job->job = (struct aio_job){.work = work, .done = finished, .opaque = job,
						    .loop = interfaces->daemon->loop};
			aio_pool_submit(interfaces->worker, &job->job);
			return;
		}
		finish(job);
	}
}

/* `conf` is taken; `name` is copied; either may be NULL. */
static void submit(struct rpc_call *call, const struct job_ops *ops, struct conf_interface *conf,
		   const char *name)
{
	struct interface_job *job = g_new0(struct interface_job, 1);
	job->ops = ops;
	job->all = rpc_call_daemon(call)->interfaces;
	job->call = call;
	job->conf = conf;
	job->name = g_strdup(name);
	g_queue_push_tail(&job->all->jobs, job);
	if (job->all->jobs.length == 1)
		advance(job->all);
}

/* --- Checks and marks ------------------------------------------------------------------------- */

/* The definition; NULL with *error set. */
static const struct conf_interface *definition(const struct interface_job *job, GError **error)
{
	const struct conf_interface *conf = g_hash_table_lookup(job->all->defined, job->name);
	const struct conf_interface *bridge = conf ? NULL : interface_bridge_of(job->all, job->name);
	if (bridge)
		virt_error(error, VIRT_FROM_INTERFACE, VIRT_OPERATION_INVALID,
			   "interface '%s' is a port of the %s '%s' and has no definition of its own",
			   job->name, conf_interface_type(bridge), bridge->name);
	else if (!conf)
		virt_error(error, VIRT_FROM_INTERFACE, VIRT_OPERATION_INVALID,
			   "interface '%s' is not defined here: define it first, for example with what "
			   "iface-dumpxml --inactive says", job->name);
	return conf;
}

/* Nobody else looks after it: not the host's tools, and no virtual network. */
static bool check_free(const struct interfaces *interfaces, const char *name, GError **error)
{
	const struct network *network = network_by_bridge(interfaces->daemon->networks, name, NULL);
	if (network)
		return error_set(error, BERTH_ERR_BUSY,
				 "interface '%s' belongs to the virtual network '%s': change that one", name,
				 network->name);
	return strcmp(name, "lo") != 0 ||
	       error_set(error, BERTH_ERR_BUSY, "interface 'lo' belongs to the kernel");
}

/* The same for all that the definition is about; `check` is of one name. */
static bool check_each(const struct interfaces *interfaces, const struct conf_interface *conf,
		       bool (*check)(const struct interfaces *, const char *, GError **), GError **error)
{
	bool good = check(interfaces, conf->name, error);
	for (unsigned i = 0; good && i < conf->ports->len; i++)
		good = check(interfaces, ((const struct conf_interface_port *)conf->ports->pdata[i])->name,
			     error);
	return good;
}

static bool check_owner(const struct interfaces *interfaces, const char *name, GError **error)
{
	return interface_check_owner(name, error);
}

static void add_names(GHashTable *names, const struct conf_interface *conf)
{
	g_hash_table_add(names, g_strdup(conf->name));
	/* It is switched on. */
	if (conf->lower)
		g_hash_table_add(names, g_strdup(conf->lower));
	for (unsigned i = 0; i < conf->ports->len; i++) {
		const struct conf_interface_port *port = conf->ports->pdata[i];
		g_hash_table_add(names, g_strdup(port->name));
	}
}

/* Before it is changed: a way back leads over it. */
static bool touch(struct interfaces *interfaces, const struct conf_interface *conf, GError **error)
{
	if (!interfaces->point)
		return true;
	add_names(interfaces->point->touched, conf);
	return interface_point_save(interfaces, interfaces->point, error);
}

/* --- Definitions ------------------------------------------------------------------------------ */

static bool begin_define(struct interface_job *job, GError **error)
{
	const struct conf_interface *bridge = interface_bridge_of(job->all, job->conf->name);
	if (job->conf->dhcp6)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "interface '%s' wants DHCP for IPv6, for which Berth has no client: give its "
				 "addresses with <ip>, or write <autoconf/>", job->conf->name);
	if (bridge)
		return error_set(error, BERTH_ERR_BUSY, "interface '%s' is a port of the %s '%s'",
				 job->conf->name, conf_interface_type(bridge), bridge->name);
	for (unsigned i = 0; i < job->conf->ports->len; i++) {
		const struct conf_interface_port *port = job->conf->ports->pdata[i];
		bridge = interface_bridge_of(job->all, port->name);
		if (bridge && strcmp(bridge->name, job->conf->name) != 0)
			return error_set(error, BERTH_ERR_BUSY, "interface '%s' is a port of the %s '%s'",
					 port->name, conf_interface_type(bridge), bridge->name);
	}
	return check_each(job->all, job->conf, check_free, error);
}

/* What is there under this name is of the other kind. */
static bool check_kind(struct interface_job *job, GError **error)
{
	struct netlink_link link;
	bool made = job->conf->type != CONF_INTERFACE_ETHERNET;
	const char *kind = made ? conf_interface_type(job->conf) : "bridge";
	if (!netlink_link_get(job->conf->name, &link, NULL))
		return true;
	memcpy(job->mac, link.mac, sizeof(job->mac));
	return made == !strcmp(link.kind, kind) ||
	       error_set(error, BERTH_ERR_BUSY, "the interface '%s' is there, and is %s %s", job->conf->name,
			 made ? "no" : "a", kind);
}

/* The file of what is defined under the name, or none, as it was. */
static void put_back(const struct interface_job *job, const char *name)
{
	const struct conf_interface *old = g_hash_table_lookup(job->all->defined, name);
	g_autofree char *path = interface_file(job->all, name), *text = old ? conf_interface_format(old) : NULL;
	g_autoptr(GError) error = NULL;
	if (!store_write_now(path, text, &error))
		log_warning("after a definition that failed: %s", error->message);
}

/* The ports have no documents of their own any more. With an error all files are what they were. */
static bool drop_port_files(const struct interface_job *job, GError **error)
{
	for (unsigned i = 0; i < job->conf->ports->len; i++) {
		const struct conf_interface_port *port = job->conf->ports->pdata[i];
		g_autofree char *own = interface_file(job->all, port->name);
		if (!g_hash_table_contains(job->all->defined, port->name) || store_write_now(own, NULL, error))
			continue;
		for (unsigned p = 0; p < i; p++) {
			const struct conf_interface_port *gone = job->conf->ports->pdata[p];
			if (g_hash_table_contains(job->all->defined, gone->name))
				put_back(job, gone->name);
		}
		put_back(job, job->conf->name);
		return false;
	}
	return true;
}

/* First the new one: what has two documents after a crash is a port (registry.c). */
static bool work_define(struct interface_job *job, GError **error)
{
	g_autofree char *path = interface_file(job->all, job->conf->name);
	g_autofree char *text = conf_interface_format(job->conf);
	return check_each(job->all, job->conf, check_owner, error) && check_kind(job, error) &&
	       touch(job->all, job->conf, error) && store_write_now(path, text, error) &&
	       drop_port_files(job, error);
}

static void done_define(struct interface_job *job)
{
	struct conf_interface *conf = g_steal_pointer(&job->conf);
	char mac[MAC_TEXT_SIZE];
	for (unsigned i = 0; i < conf->ports->len; i++) {
		const struct conf_interface_port *port = conf->ports->pdata[i];
		g_hash_table_remove(job->all->defined, port->name);
	}
	g_hash_table_replace(job->all->defined, conf->name, conf);
	if (conf->mac)
		mac_parse(conf->mac, job->mac);
	rpc_call_reply(job->call,
		       &(struct remote_interface_define_xml_ret){{conf->name, mac_format(job->mac, mac)}});
}

void serve_interface_define_xml(struct rpc_call *call, const struct remote_interface_define_xml_args *args)
{
	static const struct job_ops ops = {begin_define, work_define, done_define};
	GError *error = NULL;
	/* What is not understood is refused in any case. */
	if (!rpc_call_check_flags(call, args->flags, DEFINE_VALIDATE))
		return;
	struct conf_interface *conf = conf_interface_parse(args->xml, &error);
	if (conf)
		submit(call, &ops, conf, conf->name);
	else
		network_fail_of(call, VIRT_FROM_INTERFACE, error);
}

static bool begin_known(struct interface_job *job, GError **error)
{
	return definition(job, error) != NULL;
}

static bool work_undefine(struct interface_job *job, GError **error)
{
	g_autofree char *path = interface_file(job->all, job->name);
	return touch(job->all, definition(job, NULL), error) && store_write_now(path, NULL, error);
}

static void done_undefine(struct interface_job *job)
{
	g_hash_table_remove(job->all->defined, job->name);
	rpc_call_reply(job->call, NULL);
}

void serve_interface_undefine(struct rpc_call *call, const struct remote_interface_undefine_args *args)
{
	static const struct job_ops ops = {begin_known, work_undefine, done_undefine};
	submit(call, &ops, NULL, args->iface.name);
}

/* --- Up and down ------------------------------------------------------------------------------ */

/* Ports that are free, or the bridge's already. */
static bool check_ports(const struct conf_interface *conf, const struct interface_view *view, GError **error)
{
	const struct netlink_link *own = interface_link(view, conf->name);
	if (own && own->master)
		return error_set(error, BERTH_ERR_BUSY, "interface '%s' is a part of another one", conf->name);
	for (unsigned i = 0; i < conf->ports->len; i++) {
		const struct conf_interface_port *port = conf->ports->pdata[i];
		const struct netlink_link *link = interface_link(view, port->name);
		if (link && link->master && (!own || link->master != own->index))
			return error_set(error, BERTH_ERR_BUSY,
					 "interface '%s' is a part of another one than '%s'", port->name,
					 conf->name);
	}
	return true;
}

/* On a way back, on which one goes on. */
static void start_client(const struct interfaces *interfaces, const char *name)
{
	g_autoptr(GError) error = NULL;
	if (!interface_dhcp_start(interfaces, name, &error))
		log_warning("interface '%s' has no DHCP client again: %s", name, error->message);
}

/* Ports have no addresses, nor has their own client. Names (char *) of those that had one. */
static GPtrArray *stop_clients(const struct interfaces *interfaces, const struct conf_interface *conf)
{
	GPtrArray *stopped = g_ptr_array_new_with_free_func(g_free);
	for (unsigned i = 0; i <= conf->ports->len; i++) {
		const struct conf_interface_port *port = i < conf->ports->len ? conf->ports->pdata[i] : NULL;
		const char *name = port ? port->name : conf->name;
		if ((!port && conf->dhcp4) || !interface_dhcp_runs(interfaces, name))
			continue;
		interface_dhcp_stop(interfaces, name);
		g_ptr_array_add(stopped, g_strdup(name));
	}
	return stopped;
}

bool interface_start(struct interfaces *interfaces, const struct conf_interface *conf, GError **error)
{
	auto_interface_view view;
	if (!interface_look(&view, error) || !check_each(interfaces, conf, check_owner, error) ||
	    !check_ports(conf, &view, error) || !touch(interfaces, conf, error))
		return false;
	g_autoptr(GPtrArray) clients = stop_clients(interfaces, conf);
	if (interface_apply(conf, false, error) &&
	    (!conf->dhcp4 || interface_dhcp_start(interfaces, conf->name, error)))
		return true;
	g_autoptr(GPtrArray) before = interface_describe_all(&view);
	g_autoptr(GHashTable) names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	add_names(names, conf);
	interface_put_back(before, names);
	for (unsigned i = 0; i < clients->len; i++)
		start_client(interfaces, clients->pdata[i]);
	return false;
}

static bool work_create(struct interface_job *job, GError **error)
{
	const struct conf_interface *conf = definition(job, NULL);
	struct netlink_link link;
	if (netlink_link_get(conf->name, &link, NULL) && link.flags & IFF_UP)
		return virt_error(error, VIRT_FROM_INTERFACE, VIRT_OPERATION_INVALID,
				  "interface is already running");
	return interface_start(job->all, conf, error);
}

void serve_interface_create(struct rpc_call *call, const struct remote_interface_create_args *args)
{
	static const struct job_ops ops = {begin_known, work_create, NULL};
	if (rpc_call_check_flags(call, args->flags, 0))
		submit(call, &ops, NULL, args->iface.name);
}

static bool check_no_guests(const struct interface_view *view, const struct netlink_link *bridge, GError **error)
{
	for (unsigned i = 0; i < view->links->len; i++) {
		const struct netlink_link *link = &g_array_index(view->links, struct netlink_link, i);
		if (link->master == bridge->index && interface_is_tap(link))
			return error_set(error, BERTH_ERR_BUSY,
					 "a guest is plugged into '%s' by '%s': unplug it first", bridge->name,
					 link->name);
	}
	return true;
}

static bool work_destroy(struct interface_job *job, GError **error)
{
	const struct conf_interface *conf = definition(job, NULL);
	auto_interface_view view;
	if (!interface_look(&view, error))
		return false;
	const struct netlink_link *link = interface_link(&view, conf->name);
	if (!link || !(link->flags & IFF_UP))
		return virt_error(error, VIRT_FROM_INTERFACE, VIRT_OPERATION_INVALID,
				  "interface is not running");
	if (!check_no_guests(&view, link, error) || !check_each(job->all, conf, check_owner, error) ||
	    !touch(job->all, conf, error))
		return false;
	interface_dhcp_stop(job->all, conf->name);
	return interface_take_down(conf, error);
}

void serve_interface_destroy(struct rpc_call *call, const struct remote_interface_destroy_args *args)
{
	static const struct job_ops ops = {begin_known, work_destroy, NULL};
	if (rpc_call_check_flags(call, args->flags, 0))
		submit(call, &ops, NULL, args->iface.name);
}

/* --- There and back --------------------------------------------------------------------------- */

static bool work_begin(struct interface_job *job, GError **error)
{
	if (job->all->point)
		return virt_error(error, VIRT_FROM_INTERFACE, VIRT_OPERATION_INVALID,
				  "there is another transaction running.");
	struct interface_point *point = interface_point_new(job->all, error);
	if (point && interface_point_save(job->all, point, error))
		job->all->point = g_steal_pointer(&point);
	interface_point_free(point);
	return job->all->point != NULL;
}

void serve_interface_change_begin(struct rpc_call *call, const struct remote_interface_change_begin_args *args)
{
	static const struct job_ops ops = {NULL, work_begin, NULL};
	if (rpc_call_check_flags(call, args->flags, 0))
		submit(call, &ops, NULL, NULL);
}

static bool work_commit(struct interface_job *job, GError **error)
{
	if (!job->all->point)
		return virt_error(error, VIRT_FROM_INTERFACE, VIRT_OPERATION_INVALID,
				  "no transaction running, nothing to be committed.");
	if (!interface_point_save(job->all, NULL, error))
		return false;
	g_clear_pointer(&job->all->point, interface_point_free);
	return true;
}

void serve_interface_change_commit(struct rpc_call *call,
				   const struct remote_interface_change_commit_args *args)
{
	static const struct job_ops ops = {NULL, work_commit, NULL};
	if (rpc_call_check_flags(call, args->flags, 0))
		submit(call, &ops, NULL, NULL);
}

static const struct conf_interface *find(const GPtrArray *list, const char *name)
{
	for (unsigned i = 0; i < list->len; i++) {
		const struct conf_interface *conf = list->pdata[i];
		if (!strcmp(conf->name, name))
			return conf;
	}
	return NULL;
}

/* Was it up, with a client of ours? */
static bool had_client(const struct interface_point *point, const char *name)
{
	const struct conf_interface *conf = find(point->defined, name), *state = find(point->state, name);
	return conf && conf->dhcp4 && state && state->start == CONF_START_ONBOOT;
}

/* `start`: those that had one have it again; else those that had none lose it. */
static void put_clients_back(const struct interfaces *interfaces, bool start)
{
	const struct interface_point *point = interfaces->point;
	GHashTableIter iter;
	void *name;
	g_hash_table_iter_init(&iter, point->touched);
	while (g_hash_table_iter_next(&iter, &name, NULL)) {
		bool had = had_client(point, name);
		if (had && start)
			start_client(interfaces, name);
		else if (!had && !start)
			interface_dhcp_stop(interfaces, name);
	}
}

bool interface_restore_definitions(struct interfaces *interfaces, GError **error)
{
	const GPtrArray *wanted = interfaces->point->defined;
	GHashTableIter iter;
	void *name;
	for (unsigned i = 0; i < wanted->len; i++) {
		g_autofree char *path =
			interface_file(interfaces, ((const struct conf_interface *)wanted->pdata[i])->name);
		g_autofree char *text = conf_interface_format(wanted->pdata[i]);
		if (!store_write_now(path, text, error))
			return false;
	}
	g_hash_table_iter_init(&iter, interfaces->defined);
	while (g_hash_table_iter_next(&iter, &name, NULL)) {
		g_autofree char *path = interface_file(interfaces, name);
		if (!find(wanted, name) && !store_write_now(path, NULL, error))
			return false;
	}
	return true;
}

void interface_adopt_definitions(struct interfaces *interfaces)
{
	const GPtrArray *wanted = interfaces->point->defined;
	g_hash_table_remove_all(interfaces->defined);
	for (unsigned i = 0; i < wanted->len; i++) {
		struct conf_interface *conf = conf_interface_copy(wanted->pdata[i]);
		g_hash_table_replace(interfaces->defined, conf->name, conf);
	}
}

/* The file of the restore point goes last: a daemon that is killed meanwhile can be asked again. */
static bool work_rollback(struct interface_job *job, GError **error)
{
	if (!job->all->point)
		return virt_error(error, VIRT_FROM_INTERFACE, VIRT_OPERATION_INVALID,
				  "no transaction running, nothing to rollback.");
	if (!interface_restore_definitions(job->all, error))
		return false;
	put_clients_back(job->all, false);
	interface_put_back(job->all->point->state, job->all->point->touched);
	put_clients_back(job->all, true);
	return interface_point_save(job->all, NULL, error);
}

static void done_rollback(struct interface_job *job)
{
	interface_adopt_definitions(job->all);
	g_clear_pointer(&job->all->point, interface_point_free);
	rpc_call_reply(job->call, NULL);
}

void serve_interface_change_rollback(struct rpc_call *call,
				     const struct remote_interface_change_rollback_args *args)
{
	static const struct job_ops ops = {NULL, work_rollback, done_rollback};
	if (rpc_call_check_flags(call, args->flags, 0))
		submit(call, &ops, NULL, NULL);
}
