/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/network/ovs_queue.h"

#include "base/error.h"
#include "base/log.h"
#include "daemon/network/ovsdb.h"

#include <string.h>

struct ovs_queue {
	struct daemon *daemon;
	struct aio_pool *worker; /* one thread */
	GHashTable *owners;      /* UUID, as text, to struct owner, of which it has a reference */
	unsigned pending;        /* changes that are not done */
	int ending, failing;     /* atomic: the daemon ends; the last change failed */
};

/* Whose changes are waited for together. */
struct owner {
	unsigned references, pending;
	bool detached;
	char *uuid;
	GError *error; /* the first one */
	ovs_done_fn *done;
	void *opaque;
};

struct change {
	struct aio_job job;
	struct ovs_queue *queue;
	struct owner *owner;
	bool (*run)(const struct change *change, const char *socket, GError **error);
	char *bridge, *device, *interfaceid, *profileid, *mac;
	struct conf_vlan vlan;
	struct conf_bandwidth bandwidth;
	char **keep;
	bool if_missing;
	GError *error;
};

/* --- Owners ----------------------------------------------------------------------------------- */

static void owner_unref(void *opaque)
{
	struct owner *owner = opaque;
	if (--owner->references)
		return;
	g_clear_error(&owner->error);
	g_free(owner->uuid);
	g_free(owner);
}

static struct owner *owner_of(struct ovs_queue *queue, const char *uuid)
{
	struct owner *owner = g_hash_table_lookup(queue->owners, uuid);
	if (!owner) {
		owner = g_new0(struct owner, 1);
		owner->references = 1;
		owner->uuid = g_strdup(uuid);
		g_hash_table_insert(queue->owners, owner->uuid, owner);
	}
	owner->references++;
	return owner;
}

/* Tell who waits. What it does may put new changes here. */
static void tell(struct owner *owner, const GError *error)
{
	ovs_done_fn *done = owner->done;
	owner->done = NULL;
	if (done)
		done(owner->opaque, error);
}

/* --- Changes ---------------------------------------------------------------------------------- */

static void change_free(struct change *change)
{
	char *const texts[] = {change->bridge, change->device, change->interfaceid, change->profileid,
			       change->mac};
	for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++)
		g_free(texts[i]);
	g_strfreev(change->keep);
	g_clear_error(&change->error);
	owner_unref(change->owner);
	g_free(change);
}

/* On the thread. A daemon that ends does not wait for a database again that has not answered. */
static void work(void *opaque)
{
	struct change *change = opaque;
	struct ovs_queue *queue = change->queue;
	bool skip = g_atomic_int_get(&queue->ending) && g_atomic_int_get(&queue->failing);
	bool good = skip ? error_set(&change->error, BERTH_ERR_BUSY, "the daemon is ending")
			 : change->run(change, queue->daemon->ovs_socket, &change->error);
	g_atomic_int_set(&queue->failing, !good);
}

static void finished(void *opaque)
{
	struct change *change = opaque;
	struct owner *owner = change->owner;
	change->queue->pending--;
	owner->pending--;
	if (change->error && owner->detached)
		log_warning("a guest's %s%s in Open vSwitch: %s", change->device ? "port " : "ports",
			    change->device ? change->device : "", change->error->message);
	else if (change->error && !owner->error)
		owner->error = g_steal_pointer(&change->error);
	if (!owner->pending && owner->done) {
		g_autoptr(GError) error = g_steal_pointer(&owner->error);
		tell(owner, error);
	}
	change_free(change);
}

static struct change *change_new(struct ovs_queue *queue, const char *owner, const char *device,
				 bool (*run)(const struct change *, const char *, GError **))
{
	struct change *change = g_new0(struct change, 1);
	change->queue = queue;
	change->owner = owner_of(queue, owner);
	change->device = g_strdup(device);
	change->run = run;
	return change;
}

static void submit(struct change *change)
{
	change->queue->pending++;
	change->owner->pending++;
	change->job = (struct aio_job){.work = work, .done = finished, .opaque = change,
				       .loop = change->queue->daemon->loop};
	aio_pool_submit(change->queue->worker, &change->job);
}

static bool run_plug(const struct change *change, const char *socket, GError **error)
{
	const struct ovs_port port = {
		.bridge = change->bridge, .device = change->device, .owner = change->owner->uuid,
		.interfaceid = change->interfaceid, .profileid = change->profileid, .mac = change->mac,
		.vlan = &change->vlan};
	return (change->if_missing && ovs_is_plugged(socket, change->bridge, change->device)) ||
	       ovs_plug(socket, &port, error);
}

void ovs_queue_plug(struct ovs_queue *queue, const struct ovs_port *port, bool if_missing)
{
	struct change *change = change_new(queue, port->owner, port->device, run_plug);
	change->bridge = g_strdup(port->bridge);
	change->interfaceid = g_strdup(port->interfaceid);
	change->profileid = g_strdup(port->profileid);
	change->mac = g_strdup(port->mac);
	change->vlan = *port->vlan;
	change->if_missing = if_missing;
	submit(change);
}

static bool run_vlan(const struct change *change, const char *socket, GError **error)
{
	return ovs_set_vlan(socket, change->device, &change->vlan, error);
}

void ovs_queue_vlan(struct ovs_queue *queue, const char *owner, const char *device,
		    const struct conf_vlan *vlan)
{
	struct change *change = change_new(queue, owner, device, run_vlan);
	change->vlan = *vlan;
	submit(change);
}

static bool run_bandwidth(const struct change *change, const char *socket, GError **error)
{
	return ovs_set_bandwidth(socket, change->device, change->owner->uuid, &change->bandwidth, error);
}

void ovs_queue_bandwidth(struct ovs_queue *queue, const char *owner, const char *device,
			 const struct conf_bandwidth *bandwidth)
{
	struct change *change = change_new(queue, owner, device, run_bandwidth);
	change->bandwidth = *bandwidth;
	submit(change);
}

static bool run_sweep(const struct change *change, const char *socket, GError **error)
{
	ovs_sweep(socket, change->owner->uuid, (const char *const *)change->keep);
	return true;
}

void ovs_queue_sweep(struct ovs_queue *queue, const char *owner, const char *const *keep)
{
	if (!ovsdb_is_there(queue->daemon->ovs_socket))
		return;
	struct change *change = change_new(queue, owner, NULL, run_sweep);
	change->keep = g_strdupv((char **)keep);
	submit(change);
}

/* --- Waiting ---------------------------------------------------------------------------------- */

void ovs_queue_await(struct ovs_queue *queue, const char *uuid, ovs_done_fn *done, void *opaque)
{
	struct owner *owner = owner_of(queue, uuid);
	owner->done = done;
	owner->opaque = opaque;
	if (!owner->pending) {
		g_autoptr(GError) error = g_steal_pointer(&owner->error);
		tell(owner, error);
	}
	owner_unref(owner);
}

/* The next changes are another's, of the same name. */
static struct owner *part_with(struct ovs_queue *queue, const char *uuid)
{
	struct owner *owner = g_hash_table_lookup(queue->owners, uuid);
	if (!owner)
		return NULL;
	owner->references++;
	owner->detached = true;
	g_hash_table_remove(queue->owners, uuid);
	return owner;
}

void ovs_queue_detach(struct ovs_queue *queue, const char *uuid)
{
	struct owner *owner = part_with(queue, uuid);
	g_autoptr(GError) over = NULL;
	if (!owner)
		return;
	error_set(&over, BERTH_ERR_BUSY, "the domain has ended");
	tell(owner, over);
	owner_unref(owner);
}

void ovs_queue_leave(struct ovs_queue *queue, const char *uuid)
{
	const struct owner *owner = g_hash_table_lookup(queue->owners, uuid);
	if (owner && !owner->done)
		ovs_queue_detach(queue, uuid);
}

void ovs_queue_forget(struct ovs_queue *queue, const char *uuid)
{
	struct owner *owner = part_with(queue, uuid);
	if (!owner)
		return;
	owner->done = NULL;
	owner_unref(owner);
}

/* --- Life ------------------------------------------------------------------------------------- */

struct ovs_queue *ovs_queue_new(struct daemon *daemon)
{
	struct ovs_queue *queue = g_new0(struct ovs_queue, 1);
	queue->daemon = daemon;
	queue->worker = aio_pool_new(1);
	queue->owners = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, owner_unref);
	return queue;
}

void ovs_queue_free(struct ovs_queue *queue)
{
	if (!queue)
		return;
	g_atomic_int_set(&queue->ending, 1);
	while (queue->pending)
		aio_loop_iterate(queue->daemon->loop, -1);
	aio_pool_free(queue->worker);
	g_hash_table_unref(queue->owners);
	g_free(queue);
}
