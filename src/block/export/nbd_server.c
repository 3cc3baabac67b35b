/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/export/nbd_int.h"

#include "base/error.h"
#include "base/fd.h"
#include "block/core/graph.h"
#include "block/nbd/tls.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define HANDSHAKE_TIMEOUT_NS (INT64_C(30) * 1000 * 1000 * 1000)

/* --- exports ----------------------------------------------------------------------------------------*/

static void export_free(void *opaque)
{
	struct nbd_export *export = opaque;
	for (unsigned i = 0; i < export->bitmaps->len; i++)
		((struct block_dirty *)export->bitmaps->pdata[i])->busy--;
	block_close(export->root);
	g_ptr_array_unref(export->bitmaps);
	g_free(export->id);
	g_free(export->name);
	g_free(export->description);
	g_free(export);
}

struct nbd_export *nbd_server_find(const struct nbd_server *server, const char *name)
{
	for (unsigned i = 0; i < server->exports->len; i++) {
		struct nbd_export *export = server->exports->pdata[i];
		if (strcmp(export->name, name) == 0)
			return export;
	}
	return NULL;
}

static struct nbd_export *find_by_id(const struct nbd_server *server, const char *id)
{
	for (unsigned i = 0; i < server->exports->len; i++) {
		struct nbd_export *export = server->exports->pdata[i];
		if (strcmp(export->id, id) == 0)
			return export;
	}
	return NULL;
}

static bool check_names(const struct nbd_server *server, const struct nbd_export_options *options,
			GError **error)
{
	if (find_by_id(server, options->id))
		return error_set(error, BERTH_ERR_INVALID, "Block export id '%s' is already in use",
				 options->id);
	if (nbd_server_find(server, options->name))
		return error_set(error, BERTH_ERR_INVALID,
				 "NBD server already has export named '%s'", options->name);
	if (strlen(options->name) > NBD_STRING_MAX ||
	    (options->description && strlen(options->description) > NBD_STRING_MAX))
		return error_set(error, BERTH_ERR_INVALID, "names of NBD are at most %d bytes long",
				 NBD_STRING_MAX);
	return true;
}

static bool take_bitmaps(struct nbd_export *export, struct block_node *node,
			 const char *const *names, GError **error)
{
	for (; names && *names; names++) {
		struct block_dirty *found = block_dirty_find_in_chain(node, *names);
		if (!found)
			return error_set(error, BERTH_ERR_NOT_FOUND, "Bitmap '%s' is not found", *names);
		if (found->busy || found->inconsistent)
			return error_set(error, BERTH_ERR_BUSY, "Bitmap '%s' is %s", *names,
					 found->busy ? "in use by another operation" : "inconsistent");
		if (export->bitmaps->len == NBD_CONTEXTS_MAX - NBD_CONTEXT_BITMAPS)
			return error_set(error, BERTH_ERR_INVALID, "an export has at most %d bitmaps",
					 NBD_CONTEXTS_MAX - NBD_CONTEXT_BITMAPS);
		found->busy++;
		g_ptr_array_add(export->bitmaps, found);
	}
	return true;
}

bool nbd_server_add(struct nbd_server *server, struct block_graph *graph, struct block_node *node,
		    const struct nbd_export_options *options, GError **error)
{
	if (!check_names(server, options, error))
		return false;
	if (options->writable && block_is_readonly(node))
		return error_set(error, BERTH_ERR_INVALID,
				 "'%s' is read-only: it cannot be exported as writable",
				 block_filename(node));
	struct nbd_export *export = g_new0(struct nbd_export, 1);
	export->id = g_strdup(options->id);
	export->name = g_strdup(options->name);
	export->description = g_strdup(options->description);
	export->writable = options->writable;
	export->allocation_depth = options->allocation_depth;
	export->bitmaps = g_ptr_array_new();
	export->root = block_root_new(graph, block_ref(node));
	export->root->readonly = !options->writable;
	export->root->writethrough |= options->writethrough;
	if (!take_bitmaps(export, node, options->bitmaps, error)) {
		export_free(export);
		return false;
	}
	g_ptr_array_add(server->exports, export);
	return true;
}

static void hang_up_on(struct nbd_server *server, const struct nbd_export *export)
{
	for (unsigned i = 0; i < server->sessions->len; i++) {
		struct nbd_session *session = server->sessions->pdata[i];
		if (!export || session->export == export || session->asked == export)
			nbd_stream_shutdown(session->stream);
	}
}

struct removal {
	struct nbd_server *server;
	struct nbd_export *export;
};

static void wait_for_sessions(void *opaque)
{
	struct removal *removal = opaque;
	struct nbd_server *server = removal->server;
	/* A session may begin to use the export until it is out of the list. */
	while (removal->export ? removal->export->sessions : server->sessions->len) {
		hang_up_on(server, removal->export);
		fiber_queue_wait(&server->session_ended);
	}
}

bool nbd_server_remove(struct nbd_server *server, const char *id, bool hard, GError **error)
{
	struct nbd_export *export = find_by_id(server, id);
	if (!export)
		return error_set(error, BERTH_ERR_NOT_FOUND, "Export '%s' is not found", id);
	if (export->sessions && !hard)
		return error_set(error, BERTH_ERR_BUSY,
				 "export '%s' still in use: mode 'hard' disconnects its clients", id);
	g_ptr_array_set_free_func(server->exports, NULL);
	g_ptr_array_remove(server->exports, export);
	g_ptr_array_set_free_func(server->exports, export_free);
	struct removal removal = {server, export};
	fiber_run(server->loop, wait_for_sessions, &removal);
	export_free(export);
	return true;
}

json_t *nbd_server_describe(const struct nbd_server *server)
{
	json_t *list = json_array();
	for (unsigned i = 0; i < server->exports->len; i++) {
		const struct nbd_export *export = server->exports->pdata[i];
		const char *node = block_node_name(block_below_filters(export->root));
		json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:b}", "id", export->id, "type",
						      "nbd", "node-name", node ? node : "",
						      "shutting-down", 0));
	}
	return list;
}

/* --- clients ------------------------------------------------------------------------------------------*/

static void accept_client(void *opaque, int fd, uint32_t events);

static void update_listening(struct nbd_server *server)
{
	/* Beyond the limit clients wait in the kernel's queue, as with qemu-nbd. */
	bool room = !server->options.max_connections ||
		    server->sessions->len < server->options.max_connections;
	aio_watch_modify(server->watch, room ? POLLIN : 0);
}

static void time_is_up(void *opaque)
{
	nbd_stream_shutdown(opaque);
}

static bool shake_hands(struct nbd_session *session)
{
	struct aio_timer timer;
	aio_timer_init(&timer, session->loop, time_is_up, session->stream);
	aio_timer_arm(&timer, aio_now_ns() + HANDSHAKE_TIMEOUT_NS);
	bool good = nbd_options_run(session);
	aio_timer_cancel(&timer);
	return good;
}

static void session_run(void *opaque)
{
	struct nbd_session *session = opaque;
	struct nbd_server *server = session->server;
	if (shake_hands(session))
		nbd_requests_run(session);
	nbd_stream_shutdown(session->stream);
	if (session->export)
		session->export->sessions--;
	/* The stream's own callback may be on the stack below: it must not lose the stream. */
	fiber_pause(session->loop);
	nbd_stream_free(session->stream);
	g_ptr_array_remove_fast(server->sessions, session);
	g_free(session->contexts_of);
	g_free(session);
	unsigned left = server->sessions->len;
	if (server->watch)
		update_listening(server);
	if (server->options.client_gone)
		server->options.client_gone(server->options.opaque, left);
	fiber_queue_wake_all(&server->session_ended);
}

static void accept_client(void *opaque, int fd, uint32_t events)
{
	struct nbd_server *server = opaque;
	int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (client < 0)
		return;
	struct nbd_session *session = g_new0(struct nbd_session, 1);
	session->server = server;
	session->loop = server->loop;
	session->stream = nbd_stream_new(client, server->loop);
	g_ptr_array_add(server->sessions, session);
	update_listening(server);
	fiber_start(session_run, session);
}

/* --- life -----------------------------------------------------------------------------------------------*/

struct nbd_server *nbd_server_new(const struct nbd_address *address,
				  const struct nbd_server_options *options, struct aio_loop *loop,
				  GError **error)
{
	if (options->tls && !nbd_tls_creds_is_server(options->tls)) {
		error_set(error, BERTH_ERR_INVALID, "the TLS credentials are for a client");
		return NULL;
	}
	int fd = nbd_address_listen(address, error);
	if (fd < 0)
		return NULL;
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	struct nbd_server *server = g_new0(struct nbd_server, 1);
	server->loop = loop;
	server->options = *options;
	if (options->tls)
		nbd_tls_creds_ref(options->tls);
	server->address = *address;
	server->address.host = g_strdup(address->host);
	server->address.port = g_strdup(address->port);
	server->address.path = g_strdup(address->path);
	server->fd = fd;
	server->exports = g_ptr_array_new_with_free_func(export_free);
	server->sessions = g_ptr_array_new();
	server->watch = aio_watch_add(loop, fd, POLLIN, accept_client, server);
	return server;
}

void nbd_server_free(struct nbd_server *server)
{
	if (!server)
		return;
	aio_watch_remove(server->watch);
	server->watch = NULL;
	fd_clear(&server->fd);
	if (server->address.type == NBD_UNIX)
		unlink(server->address.path);
	server->options.client_gone = NULL;
	struct removal removal = {server, NULL};
	fiber_run(server->loop, wait_for_sessions, &removal);
	g_ptr_array_unref(server->exports);
	g_ptr_array_unref(server->sessions);
	nbd_address_clear(&server->address);
	nbd_tls_creds_unref(server->options.tls);
	g_free(server);
}
