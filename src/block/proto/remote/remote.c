/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/proto/remote/remote.h"

#include "aio/pool.h"
#include "base/error.h"
#include "block/core/object.h"

#include <errno.h>
#include <string.h>

#define ZEROES (1 << 20)

/* --- connections ------------------------------------------------------------------------------------*/

static void *take_connection(struct remote_node *remote, GError **error)
{
	g_mutex_lock(&remote->lock);
	void *connection = NULL;
	if (remote->ops->shared && remote->idle_count)
		connection = remote->idle[0];
	else if (remote->idle_count)
		connection = remote->idle[--remote->idle_count];
	g_mutex_unlock(&remote->lock);
	return connection ? connection : remote->ops->connect(remote, error);
}

static void give_back(struct remote_node *remote, void *connection)
{
	g_mutex_lock(&remote->lock);
	if (!remote->ops->shared || !remote->idle_count)
		remote->idle[remote->idle_count++] = connection;
	g_mutex_unlock(&remote->lock);
}

/* --- requests ---------------------------------------------------------------------------------------*/

static int write_zeroes(struct remote_node *remote, void *connection, uint64_t offset, uint64_t length)
{
	g_autofree uint8_t *zeroes = g_malloc0(MIN(length, ZEROES));
	int rc = 0;
	for (uint64_t at = 0; rc == 0 && at < length;) {
		uint64_t n = MIN(length - at, ZEROES);
		rc = remote->ops->write(connection, offset + at, zeroes, n);
		at += n;
	}
	return rc;
}

/* One buffer serves any number of pieces: a round trip costs more than a copy. */
static int transfer(struct remote_node *remote, void *connection, const struct block_request *request)
{
	bool write = request->op == BLOCK_WRITE;
	g_autofree uint8_t *bounce = request->iov_count == 1 ? NULL : g_malloc(request->length);
	void *bytes = bounce ? bounce : request->iov[0].iov_base;
	if (write && bounce)
		block_iov_copy(request->iov, request->iov_count, 0, bytes, request->length, true);
	int rc = write ? remote->ops->write(connection, request->offset, bytes, request->length)
		       : remote->ops->read(connection, request->offset, bytes, request->length);
	if (!write && bounce && rc == 0)
		block_iov_copy(request->iov, request->iov_count, 0, bytes, request->length, false);
	return rc;
}

static int zero(struct remote_node *remote, void *connection, const struct block_request *request)
{
	int rc = -ENOTSUP;
	if (remote->ops->zero)
		rc = remote->ops->zero(connection, request->offset, request->length,
				       request->flags & BLOCK_REQ_MAY_UNMAP);
	return rc == -ENOTSUP ? write_zeroes(remote, connection, request->offset, request->length) : rc;
}

static int do_op(struct remote_node *remote, void *connection, const struct block_request *request)
{
	const struct remote_ops *ops = remote->ops;
	switch (request->op) {
	case BLOCK_READ:
	case BLOCK_WRITE:
		return transfer(remote, connection, request);
	case BLOCK_WRITE_ZEROES:
		return zero(remote, connection, request);
	case BLOCK_DISCARD:
		return ops->discard ? ops->discard(connection, request->offset, request->length) : 0;
	case BLOCK_FLUSH:
		return ops->flush ? ops->flush(connection) : 0;
	}
	return -ENOTSUP;
}

struct call {
	struct remote_node *remote;
	const struct block_request *request;
	int result;
};

static void work(void *opaque)
{
	struct call *call = opaque;
	struct remote_node *remote = call->remote;
	const struct block_request *request = call->request;
	for (unsigned attempt = 0; attempt < 2; attempt++) {
		void *connection = take_connection(remote, NULL);
		if (!connection) {
			call->result = -EIO;
			return;
		}
		call->result = do_op(remote, connection, request);
		if (call->result == 0 && request->flags & BLOCK_REQ_FUA && request->op != BLOCK_READ &&
		    remote->ops->flush)
			call->result = remote->ops->flush(connection);
		if (call->result != -ENOTCONN) {
			give_back(remote, connection);
			return;
		}
		if (!remote->ops->shared)
			remote->ops->disconnect(connection);
	}
	call->result = -EIO;
}

int remote_perform(struct block_node *node, struct block_request *request)
{
	struct remote_node *remote = (struct remote_node *)node;
	struct call call = {.remote = remote, .request = request};
	bool writes = request->op == BLOCK_WRITE || request->op == BLOCK_WRITE_ZEROES;
	if (writes && !remote->ops->grows && request->offset + request->length > node->size)
		return -ENOSPC;
	fiber_on_pool(remote->pool, node->loop, work, &call);
	return call.result;
}

struct resize_call {
	struct remote_node *remote;
	uint64_t size;
	int result;
	GError **error;
};

static void resize_work(void *opaque)
{
	struct resize_call *call = opaque;
	void *connection = take_connection(call->remote, call->error);
	call->result = connection ? call->remote->ops->resize(connection, call->size) : -EIO;
	if (connection && call->result != -ENOTCONN)
		give_back(call->remote, connection);
	else if (connection && !call->remote->ops->shared)
		call->remote->ops->disconnect(connection);
}

bool remote_resize(struct block_node *node, uint64_t size, GError **error)
{
	struct remote_node *remote = (struct remote_node *)node;
	struct resize_call call = {.remote = remote, .size = size, .error = error};
	fiber_on_pool(remote->pool, node->loop, resize_work, &call);
	if (call.result == 0)
		node->size = size;
	return call.result == 0 || (error && *error ? false
						    : error_set_errno(error, -call.result,
								      "cannot resize '%s'",
								      node->filename));
}

/* --- life -------------------------------------------------------------------------------------------*/

struct life_call {
	struct remote_node *remote;
	const struct block_create *create;
	bool good;
	GError **error;
};

/* Not on the fiber: constructors of libraries want a large stack. */
static void open_work(void *opaque)
{
	struct life_call *call = opaque;
	struct remote_node *remote = call->remote;
	void *connection = library_load(remote->ops->library, call->error)
				   ? remote->ops->connect(remote, call->error)
				   : NULL;
	call->good = connection && remote->ops->describe(remote, connection, call->error);
	if (connection)
		give_back(remote, connection);
}

static void create_work(void *opaque)
{
	struct life_call *call = opaque;
	const struct remote_ops *ops = call->remote->ops;
	call->good = library_load(ops->library, call->error) &&
		     ops->create(call->remote, call->create, call->error);
}

static void remove_work(void *opaque)
{
	struct life_call *call = opaque;
	const struct remote_ops *ops = call->remote->ops;
	call->good = library_load(ops->library, call->error) && ops->remove(call->remote, call->error);
}

/* Free all but the node. */
static void leave(struct remote_node *remote)
{
	aio_pool_free(remote->pool);
	while (remote->idle_count)
		remote->ops->disconnect(remote->idle[--remote->idle_count]);
	g_mutex_clear(&remote->lock);
	remote->ops->clear(remote);
}

/* Options and threads, but no connection yet. On failure nothing is left. */
static bool enter(struct remote_node *remote, json_t *dict, GError **error)
{
	struct block_node *node = &remote->node;
	remote->ops = node->driver->family;
	if (!remote->ops->take_options(remote, dict, error)) {
		remote->ops->clear(remote);
		return false;
	}
	remote->pool = aio_pool_new(REMOTE_CONNECTIONS);
	g_mutex_init(&remote->lock);
	g_free(node->filename);
	node->filename = remote->ops->name(remote);
	node->limits = (struct block_limits){.request_alignment = 1, .logical_block = 512,
					     .physical_block = 512, .max_transfer = 16 << 20,
					     .can_discard = node->discard, .can_write_zeroes = true};
	return true;
}

bool remote_open(struct block_node *node, json_t *dict, GError **error)
{
	struct remote_node *remote = (struct remote_node *)node;
	struct life_call call = {.remote = remote, .error = error};
	if (!enter(remote, dict, error))
		return false;
	call.good = remote->ops->write || node->readonly ||
		    (node->readonly = node->options.auto_readonly) ||
		    error_set(error, BERTH_ERR_NOT_SUPPORTED,
			      "it can only be read: use readonly=on (read-only=on of -blockdev)");
	if (call.good)
		fiber_on_pool(remote->pool, node->loop, open_work, &call);
	if (!call.good) {
		g_prefix_error(error, "cannot open '%s': ", node->filename);
		leave(remote);
	}
	return call.good;
}

void remote_close(struct block_node *node)
{
	leave((struct remote_node *)node);
}

/* Work for a name and not for an open node: a node that nobody sees has the options that it says. */
static bool work_by_name(const struct block_create *what, void (*fn)(void *opaque), const char *verb,
			 GError **error)
{
	const struct block_open_options options = {.graph = what->graph};
	json_t *dict = block_parse_filename(what->filename, error);
	if (!dict)
		return false;
	struct block_node *node = g_malloc0(what->driver->node_size);
	block_node_init(node, what->driver, &options, what->loop);
	struct remote_node *remote = (struct remote_node *)node;
	struct life_call call = {.remote = remote, .create = what, .error = error};
	json_object_del(dict, "driver");
	if (enter(remote, dict, error)) {
		call.good = block_refuse_rest(dict, what->driver->name, error);
		if (call.good)
			fiber_on_pool(remote->pool, what->loop, fn, &call);
		if (!call.good)
			g_prefix_error(error, "cannot %s '%s': ", verb, node->filename);
		leave(remote);
	}
	block_node_free(node);
	json_decref(dict);
	return call.good;
}

bool remote_create(const struct block_create *create, GError **error)
{
	if (!create->driver->create_options &&
	    !block_refuse_rest(create->options, create->driver->name, error)) {
		g_prefix_error(error, "cannot create '%s': ", create->filename);
		return false;
	}
	return work_by_name(create, create_work, "create", error);
}

bool remote_remove(const struct block_create *what, GError **error)
{
	return work_by_name(what, remove_work, "remove", error);
}

bool remote_take_secret_bytes(struct block_node *node, json_t *dict, const char *key, GBytes **secret,
			      GError **error)
{
	g_autofree char *id = block_take_string(dict, key);
	if (!id)
		return true;
	*secret = block_object_take(node->graph, id, BLOCK_OBJECT_SECRET, error);
	if (!*secret)
		g_prefix_error(error, "%s: ", key);
	return *secret != NULL;
}

bool remote_take_secret(struct block_node *node, json_t *dict, const char *key, char **secret,
			GError **error)
{
	g_autoptr(GBytes) bytes = NULL;
	if (!remote_take_secret_bytes(node, dict, key, &bytes, error))
		return false;
	if (!bytes)
		return true;
	g_free(*secret);
	*secret = g_strndup(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes));
	return true;
}
