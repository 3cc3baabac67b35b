/* SPDX-License-Identifier: GPL-2.0-or-later */
/* All domains, by name and UUID; and how they come back when the daemon starts. */

#include "base/log.h"
#include "daemon/domain/backup.h"
#include "daemon/domain/checkpoint.h"
#include "daemon/domain/disk_source.h"
#include "daemon/domain/domain.h"
#include "daemon/domain/interface.h"
#include "daemon/domain/log.h"
#include "daemon/domain/snapshot.h"
#include "daemon/domain/vmm.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void domain_free(struct domain *dom)
{
	domain_fail_waiting(dom);
	vmm_detach(dom);
	domain_drop_jobs(dom);
	conf_domain_free(dom->definition);
	conf_domain_free(dom->live);
	backup_forget(dom);
	interface_forget(dom);
	moments_free(dom->snapshots);
	moments_free(dom->checkpoints);
	g_free(dom->name);
	g_free(dom);
}

bool domain_may_have(const struct domain *dom, const char *folder)
{
	g_autofree char *name = g_strdup_printf("%s/%s", folder, dom->uuid_text);
	return !dom->all->stored || g_hash_table_contains(dom->all->stored, name);
}

struct domain *domain_add(struct domains *domains, const struct conf_domain *conf)
{
	struct domain *dom = g_new0(struct domain, 1);
	dom->all = domains;
	memcpy(dom->uuid, conf->uuid, sizeof(dom->uuid));
	conf_uuid_format(conf->uuid, dom->uuid_text);
	dom->name = g_strdup(conf->name);
	dom->state = DOMAIN_SHUTOFF;
	dom->id = -1;
	g_queue_init(&dom->jobs);
	dom->snapshots = moments_load(dom, &snapshot_kind);
	dom->checkpoints = moments_load(dom, &checkpoint_kind);
	g_hash_table_insert(domains->by_uuid, dom->uuid_text, dom);
	g_hash_table_insert(domains->by_name, dom->name, dom);
	return dom;
}

void domain_release(struct domain *dom)
{
	if (dom->removed && !dom->pins && g_queue_is_empty(&dom->jobs))
		domain_free(dom);
}

struct domain *domain_pin(struct domain *dom)
{
	dom->pins++;
	return dom;
}

void domain_unpin(struct domain *dom)
{
	dom->pins--;
	domain_release(dom);
}

void domain_remove(struct domain *dom)
{
	g_hash_table_remove(dom->all->by_uuid, dom->uuid_text);
	g_hash_table_remove(dom->all->by_name, dom->name);
	dom->removed = true;
	moments_forget(dom, dom->snapshots);
	moments_forget(dom, dom->checkpoints);
	domain_fail_waiting(dom);
}

bool domain_reserve_name(struct domain *dom, const char *name)
{
	if (domain_by_name(dom->all, name))
		return false;
	dom->next_name = g_strdup(name);
	return g_hash_table_insert(dom->all->by_name, dom->next_name, dom);
}

void domain_give_up_name(struct domain *dom)
{
	g_hash_table_remove(dom->all->by_name, dom->next_name);
	g_clear_pointer(&dom->next_name, g_free);
}

void domain_rename(struct domain *dom)
{
	g_hash_table_remove(dom->all->by_name, dom->name);
	g_free(dom->name);
	dom->name = g_steal_pointer(&dom->next_name);
}

struct domain *domain_by_name(struct domains *domains, const char *name)
{
	return g_hash_table_lookup(domains->by_name, name);
}

struct domain *domain_by_uuid(struct domains *domains, const uint8_t uuid[16])
{
	char text[37];
	conf_uuid_format(uuid, text);
	return g_hash_table_lookup(domains->by_uuid, text);
}

unsigned domains_running(const struct domains *domains)
{
	GHashTableIter iter;
	gpointer dom;
	unsigned count = 0;
	g_hash_table_iter_init(&iter, domains->by_uuid);
	while (g_hash_table_iter_next(&iter, NULL, &dom))
		count += ((const struct domain *)dom)->vmm != NULL;
	return count;
}

struct domain *domain_find(struct rpc_call *call, const struct remote_domain *wire)
{
	struct domain *dom = domain_by_uuid(rpc_call_daemon(call)->domains, wire->uuid);
	if (dom && domain_conf(dom))
		return rpc_call_may(call, RPC_DOMAIN, dom->name) ? dom : NULL;
	char text[37];
	conf_uuid_format(wire->uuid, text);
	GError *error = NULL;
	virt_error(&error, VIRT_FROM_QEMU, VIRT_NO_DOMAIN, "no domain with matching uuid '%s' (%s)",
		   text, wire->name);
	rpc_call_fail(call, error);
	return NULL;
}

bool domain_runs(struct rpc_call *call, const struct domain *dom)
{
	GError *error = NULL;
	if (dom->vmm)
		return true;
	virt_error(&error, VIRT_FROM_DOMAIN, VIRT_OPERATION_INVALID, "domain is not running");
	rpc_call_fail(call, error);
	return false;
}

struct remote_domain domain_wire(const struct domain *dom)
{
	struct remote_domain wire = {.name = dom->name, .id = dom->id};
	memcpy(wire.uuid, dom->uuid, sizeof(wire.uuid));
	return wire;
}

const struct conf_domain *domain_conf(const struct domain *dom)
{
	return dom->live ? dom->live : dom->definition;
}

uint64_t domain_memory_kib(const struct domain *dom)
{
	const struct conf_domain *conf = domain_conf(dom);
	return dom->vmm && dom->balloon_kib ? dom->balloon_kib : conf ? conf->current_kib : 0;
}

void domain_emit(struct domain *dom, enum domain_event event, int detail)
{
	struct rpc_server *server = dom->all->daemon->server;
	if (!server)
		return;
	enum { LIFECYCLE = 0 };
	struct remote_domain_event_callback_lifecycle_args body = {
		.dom = domain_wire(dom), .event = event, .detail = detail};
	rpc_event_emit(server, RPC_EVENT_DOMAIN, LIFECYCLE, dom->uuid,
		       REMOTE_DOMAIN_EVENT_CALLBACK_LIFECYCLE, &body, &body.callback);
	struct remote_domain_event_lifecycle_args legacy = {
		.dom = body.dom, .event = event, .detail = detail};
	rpc_event_emit(server, RPC_EVENT_DOMAIN_LEGACY, LIFECYCLE, dom->uuid,
		       REMOTE_DOMAIN_EVENT_LIFECYCLE, &legacy, NULL);
}

/* --- Start of the daemon -------------------------------------------------------------------- */

static struct conf_domain *load(const char *path, bool live, GError **error)
{
	g_autofree char *text = NULL;
	return g_file_get_contents(path, &text, NULL, error) ? conf_domain_parse(text, live, error) : NULL;
}

static void leave_alone(const char *path, const GError *error)
{
	log_warning("'%s' is left alone: %s", path, error->message);
}

/* Files that threads read together; each takes the next one. */
struct reading {
	const GPtrArray *paths;
	struct definition {
		struct conf_domain *conf; /* or NULL and the error */
		GError *error;
	} *definitions;
	unsigned next; /* atomic */
};

static void read_next(struct reading *reading, unsigned i)
{
	struct definition *definition = &reading->definitions[i];
	definition->conf = load(reading->paths->pdata[i], false, &definition->error);
	if (definition->conf)
		conf_domain_compact(definition->conf);
}

static void *read_rest(void *opaque)
{
	struct reading *reading = opaque;
	unsigned i;
	while ((i = g_atomic_int_add(&reading->next, 1)) < reading->paths->len)
		read_next(reading, i);
	return NULL;
}

/* Reading takes nearly all of a start with many domains. Where threads cannot be had, one does it all. */
static void read_definitions(struct reading *reading)
{
	enum { MOST = 4, WORTH_ONE = 32 };
	GThread *helpers[MOST - 1];
	unsigned count = MIN(MIN(g_get_num_processors(), MOST) - 1, reading->paths->len / WORTH_ONE);
	/* The first one alone: it makes the tables that all look into. */
	if (reading->paths->len)
		read_next(reading, reading->next++);
	for (unsigned i = 0; i < count; i++)
		helpers[i] = g_thread_try_new("load-domains", read_rest, reading, NULL);
	read_rest(reading);
	for (unsigned i = 0; i < count; i++) {
		if (helpers[i])
			g_thread_join(helpers[i]);
	}
}

static void add_definition(struct domains *domains, const char *path, struct definition *definition)
{
	struct conf_domain *conf = definition->conf;
	if (!conf) {
		leave_alone(path, definition->error);
		g_clear_error(&definition->error);
		return;
	}
	if (domain_by_name(domains, conf->name) || domain_by_uuid(domains, conf->uuid)) {
		log_warning("'%s' is left alone: there is a domain '%s' already", path, conf->name);
		conf_domain_free(conf);
		return;
	}
	struct domain *dom = domain_add(domains, conf);
	dom->definition = conf;
	dom->autostart = domain_may_have(dom, "autostart");
}

/* In the order of the names, whichever thread was faster. */
static void load_definitions(struct domains *domains)
{
	g_autoptr(GPtrArray) paths = store_list(domains->daemon, "domains", ".xml");
	g_autofree struct definition *definitions = g_new0(struct definition, paths->len);
	struct reading reading = {.paths = paths, .definitions = definitions};
	read_definitions(&reading);
	for (unsigned i = 0; i < paths->len; i++)
		add_definition(domains, paths->pdata[i], &definitions[i]);
	/* What the documents took while they were trees. */
	malloc_trim(0);
}

/* The id is an attribute of the live document, which the parser drops. */
static int read_id(const char *path)
{
	g_autofree char *text = NULL;
	if (!g_file_get_contents(path, &text, NULL, NULL))
		return -1;
	const char *id = strstr(text, " id='");
	return id ? atoi(id + strlen(" id='")) : -1;
}

static void load_running(struct domains *domains, const char *folder)
{
	g_autofree char *path = g_build_filename(folder, "live.xml", NULL);
	/*
	 * It is written before a VMM starts and removed after one has ended: a daemon was killed while
	 * it made the folder or removed it.
	 */
	if (access(path, F_OK) < 0 && errno == ENOENT) {
		vmm_user_remove_folders(folder);
		return;
	}
	g_autoptr(GError) error = NULL;
	struct conf_domain *conf = load(path, true, &error);
	if (!conf) {
		leave_alone(path, error);
		return;
	}
	struct domain *dom = domain_by_uuid(domains, conf->uuid);
	if (!dom)
		dom = domain_add(domains, conf);
	disk_sources_restore(domains->daemon, conf);
	dom->live = conf;
	dom->id = MAX(read_id(path), 1);
	domains->next_id = MAX(domains->next_id, dom->id + 1);
	if (vmm_attach(dom)) {
		interface_restore(dom);
		return;
	}
	dom->id = -1;
	dom->reason = SHUTOFF_CRASHED;
	if (!dom->definition) {
		domain_remove(dom);
		domain_release(dom);
	}
}

static void run_autostart(struct domain_job *job)
{
	vmm_start(job, job->dom->definition, false);
}

static void autostart(struct domains *domains)
{
	g_autoptr(GList) all = g_hash_table_get_values(domains->by_uuid);
	for (GList *link = all; link; link = link->next) {
		struct domain *dom = link->data;
		if (!dom->autostart || dom->vmm)
			continue;
		domain_submit(dom, NULL, run_autostart);
		domain_run_jobs(dom);
	}
}

/* What is in the folders that have an entry for each domain that has such a thing. */
static GHashTable *list_stored(const struct daemon *daemon)
{
	static const char *const folders[] = {"autostart", "snapshots", "checkpoints"};
	GHashTable *stored = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	for (unsigned i = 0; i < G_N_ELEMENTS(folders); i++) {
		g_autoptr(GPtrArray) paths = store_list(daemon, folders[i], "");
		for (unsigned p = 0; p < paths->len; p++) {
			const char *name = strrchr(paths->pdata[p], '/') + 1;
			g_hash_table_add(stored, g_strdup_printf("%s/%s", folders[i], name));
		}
	}
	return stored;
}

struct domains *domains_new(struct daemon *daemon, GError **error)
{
	static const char *const folders[] = {"domains", "autostart", "run", "log", "snapshots", "checkpoints",
					     "nvram", NULL};
	if (!store_make_folders(daemon, folders, error))
		return NULL;
	struct domains *domains = g_new0(struct domains, 1);
	domains->daemon = daemon;
	domains->by_uuid = g_hash_table_new(g_str_hash, g_str_equal);
	domains->by_name = g_hash_table_new(g_str_hash, g_str_equal);
	domains->next_id = 1;
	domains->log_watcher = log_watcher_new(domains, error);
	if (!domains->log_watcher) {
		domains_free(domains);
		return NULL;
	}
	domains->stored = list_stored(daemon);
	load_definitions(domains);
	g_autoptr(GPtrArray) running = store_list(daemon, "run", "");
	for (unsigned i = 0; i < running->len; i++)
		load_running(domains, running->pdata[i]);
	g_clear_pointer(&domains->stored, g_hash_table_unref);
	autostart(domains);
	return domains;
}

void domains_free(struct domains *domains)
{
	if (!domains)
		return;
	GHashTableIter iter;
	void *dom;
	g_hash_table_iter_init(&iter, domains->by_uuid);
	while (g_hash_table_iter_next(&iter, NULL, &dom))
		domain_free(dom);
	g_hash_table_unref(domains->by_uuid);
	g_hash_table_unref(domains->by_name);
	log_watcher_free(domains->log_watcher);
	g_free(domains);
}
