/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * NBD client. Names: nbd:HOST:PORT[:exportname=E], nbd:unix:PATH[:exportname=E],
 * nbd://HOST[:PORT]/E, nbd+unix:///E?socket=PATH; options: server.*, export, x-dirty-bitmap,
 * reconnect-delay, open-timeout and, ours, multi-conn.
 *
 * With multi-conn=N and a server that allows it, requests are spread over N connections. One is the
 * default: a server that was told to take one client (qemu-nbd's default) leaves a second waiting
 * for ever. A lost connection is made anew by the next request; with reconnect-delay=SECONDS
 * requests wait and are sent again for that long (all are idempotent), else they fail with EIO.
 */
#include "block/proto/nbd/nbd.h"

#include "aio/pool.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "block/core/drivers.h"
#include "block/core/object.h"
#include "block/core/options.h"
#include "block/nbd/tls.h"

#include <errno.h>
#include <string.h>

#define SECOND_NS           INT64_C(1000000000)
#define HANDSHAKE_TIMEOUT_S 30

struct nbd_node {
	struct block_node node;
	struct nbd_address address;
	char *export, *context, *hostname;
	struct nbd_tls_creds *tls; /* a reference, or NULL */
	unsigned links_wanted;
	uint64_t reconnect_s, open_timeout_s;
	struct nbd_link *links[NBD_LINKS_MAX];
	struct nbd_export_info info;
	struct fiber_mutex connect_lock, widen_lock;
	int64_t failed_ns; /* when the last attempt to connect failed; 0: never */
	struct aio_pool *pool;
};

/* --- names ------------------------------------------------------------------------------------------*/

static void set_server(json_t *dict, const char *type, const char *a, const char *a_value,
		       const char *b, const char *b_value)
{
	json_t *server = json_pack("{s:s, s:s}", "type", type, a, a_value);
	if (b)
		json_object_set_new(server, b, json_string(b_value));
	json_object_set_new(dict, "server", server);
}

/* HOST:PORT, [V6]:PORT, or without the port. */
static bool set_inet(json_t *dict, const char *text, GError **error)
{
	g_autofree char *host = NULL;
	const char *port = NBD_DEFAULT_PORT, *colon;
	if (*text == '[') {
		const char *end = strchr(text, ']');
		if (!end)
			return error_set(error, BERTH_ERR_INVALID, "'%s' has no ']'", text);
		host = g_strndup(text + 1, end - text - 1);
		colon = end[1] == ':' ? end + 1 : NULL;
	} else {
		colon = strchr(text, ':');
		host = colon ? g_strndup(text, colon - text) : g_strdup(text);
	}
	if (colon && colon[1])
		port = colon + 1;
	set_server(dict, "inet", "host", *host ? host : "localhost", "port", port);
	return true;
}

static bool parse_uri(const char *name, json_t *dict, GError **error)
{
	g_autofree char *scheme = g_strndup(name, strstr(name, "://") - name);
	const char *rest = strstr(name, "://") + 3;
	const char *slash = strchr(rest, '/'), *query = strchr(rest, '?');
	size_t authority = MIN(slash ? slash - rest : (ptrdiff_t)strlen(rest),
			       query ? query - rest : (ptrdiff_t)strlen(rest));
	g_autofree char *place = g_strndup(rest, authority);
	if (slash && (!query || slash < query)) {
		g_autofree char *raw = query ? g_strndup(slash + 1, query - slash - 1)
					     : g_strdup(slash + 1);
		g_autofree char *export = g_uri_unescape_string(raw, NULL);
		if (export && *export)
			json_object_set_new(dict, "export", json_string(export));
	}
	if (strcmp(scheme, "nbd") == 0 || strcmp(scheme, "nbd+tcp") == 0)
		return query ? error_set(error, BERTH_ERR_INVALID, "'%s': nbd:// takes no '?'", name)
			     : set_inet(dict, place, error);
	g_autofree char *path = query && g_str_has_prefix(query, "?socket=")
					? g_uri_unescape_string(query + strlen("?socket="), NULL) : NULL;
	if (strcmp(scheme, "nbd+unix") != 0 || !path || *place)
		return error_set(error, BERTH_ERR_INVALID,
				 "'%s': write nbd://HOST[:PORT]/EXPORT or "
				 "nbd+unix:///EXPORT?socket=PATH", name);
	set_server(dict, "unix", "path", path, NULL, NULL);
	return true;
}

static bool nbd_parse_filename(const char *name, json_t *dict, GError **error)
{
	if (strstr(name, "://"))
		return parse_uri(name, dict, error);
	const char *rest = name + strlen("nbd:"), *mark = strstr(rest, ":exportname=");
	g_autofree char *place = mark ? g_strndup(rest, mark - rest) : g_strdup(rest);
	if (mark)
		json_object_set_new(dict, "export", json_string(mark + strlen(":exportname=")));
	if (g_str_has_prefix(place, "unix:"))
		return set_server(dict, "unix", "path", place + strlen("unix:"), NULL, NULL), true;
	return strchr(place, ':') ? set_inet(dict, place, error)
				  : error_set(error, BERTH_ERR_INVALID,
					      "'%s': write nbd:HOST:PORT or nbd:unix:PATH", name);
}

static char *display_name(const struct nbd_node *n)
{
	g_autofree char *export = g_uri_escape_string(n->export, "/", false);
	if (n->address.type == NBD_UNIX)
		return *export ? g_strdup_printf("nbd+unix:///%s?socket=%s", export, n->address.path)
			       : g_strdup_printf("nbd+unix://?socket=%s", n->address.path);
	if (n->address.type == NBD_FD)
		return g_strdup_printf("nbd:fd:%d", n->address.fd);
	bool v6 = strchr(n->address.host, ':');
	return g_strdup_printf("nbd://%s%s%s:%s%s%s", v6 ? "[" : "", n->address.host, v6 ? "]" : "",
			       n->address.port, *export ? "/" : "", export);
}

/* --- connecting ---------------------------------------------------------------------------------------*/

struct connect_call {
	const struct nbd_address *address;
	int fd;
	GError *error;
};

static void connect_work(void *opaque)
{
	struct connect_call *call = opaque;
	call->fd = nbd_address_connect(call->address, &call->error);
}

static void time_is_up(void *opaque)
{
	nbd_stream_shutdown(opaque);
}

/* One connection, ready for requests; NULL with *error set. */
static struct nbd_link *open_link(struct nbd_node *n, struct nbd_export_info *info, GError **error)
{
	struct connect_call call = {.address = &n->address};
	/* Looking a name up and connecting may take long: not on the loop's thread. */
	fiber_on_pool(n->pool, n->node.loop, connect_work, &call);
	if (call.fd < 0) {
		g_propagate_error(error, call.error);
		return NULL;
	}
	struct nbd_stream *stream = nbd_stream_new(call.fd, n->node.loop);
	struct aio_timer timer;
	aio_timer_init(&timer, n->node.loop, time_is_up, stream);
	aio_timer_arm(&timer, aio_now_ns() + HANDSHAKE_TIMEOUT_S * SECOND_NS);
	const struct nbd_wish wish = {n->export, n->context ? n->context : "base:allocation", true,
				      n->tls, n->hostname};
	bool good = nbd_handshake(stream, &wish, info, error);
	aio_timer_cancel(&timer);
	if (good && n->context && !info->has_context)
		good = error_set(error, BERTH_ERR_NOT_FOUND,
				 "the NBD export has no metadata context '%s'", n->context);
	if (good)
		return nbd_link_new(stream, info, n->node.loop);
	fiber_pause(n->node.loop); /* the stream's callback may be on the stack below */
	nbd_stream_free(stream);
	return NULL;
}

/* Replace a lost connection. 0, or -EIO: not now. */
static int reconnect(struct nbd_node *n, unsigned index)
{
	FIBER_LOCK_SCOPE(&n->connect_lock);
	struct nbd_link *old = n->links[index];
	if (old && !old->dead)
		return 0;
	if (n->failed_ns && aio_now_ns() - n->failed_ns < SECOND_NS)
		return -EIO;
	n->links[index] = NULL;
	nbd_link_free(old);
	struct nbd_export_info info;
	g_autoptr(GError) error = NULL;
	struct nbd_link *link = open_link(n, &info, &error);
	if (link && info.size != n->info.size) {
		nbd_link_free(link);
		link = NULL;
		error_set(&error, BERTH_ERR_IO, "the export has another size now");
	}
	n->failed_ns = link ? 0 : aio_now_ns();
	n->links[index] = link;
	if (!link)
		log_warning("'%s': the connection is lost: %s", n->node.filename, error->message);
	else
		log_info("'%s': connected again", n->node.filename);
	return link ? 0 : -EIO;
}

/* The connection with the least to do. */
static unsigned choose_link(const struct nbd_node *n)
{
	unsigned best = 0;
	for (unsigned i = 1; i < n->links_wanted; i++) {
		const struct nbd_link *link = n->links[i], *other = n->links[best];
		if (link && !link->dead && (!other || other->dead || link->busy < other->busy))
			best = i;
	}
	return best;
}

static int call_server(struct nbd_node *n, struct nbd_call *call)
{
	int64_t deadline = aio_now_ns() + n->reconnect_s * SECOND_NS;
	for (;;) {
		unsigned index = choose_link(n);
		struct nbd_link *link = n->links[index];
		int rc = link && !link->dead ? 0 : reconnect(n, index);
		if (rc == 0) {
			call->finished = call->has_status = false;
			call->received = 0;
			call->result = 0;
			rc = nbd_link_call(n->links[index], call);
			if (rc != -EPIPE)
				return rc;
		}
		if (aio_now_ns() >= deadline)
			return -EIO;
		fiber_sleep(n->node.loop, SECOND_NS / 4);
	}
}

/* --- requests -----------------------------------------------------------------------------------------*/

static bool can(const struct nbd_node *n, enum nbd_flags flag)
{
	return n->info.flags & flag;
}

/* One request in pieces that the server takes. */
static int transfer(struct nbd_node *n, uint16_t command, uint16_t flags, uint64_t offset,
		    uint64_t length, const struct iovec *iov, unsigned iov_count)
{
	bool payload = command == NBD_CMD_READ || command == NBD_CMD_WRITE;
	uint64_t max = payload ? n->node.limits.max_transfer : align_down(UINT32_MAX, 65536);
	int rc = 0;
	for (uint64_t done = 0; done < length && rc == 0;) {
		struct nbd_call call = {.command = command, .flags = flags, .offset = offset + done,
					.length = MIN(length - done, max), .iov = iov,
					.iov_count = iov_count, .skip = done};
		rc = call_server(n, &call);
		done += call.length;
	}
	return rc;
}

static int flush(struct nbd_node *n)
{
	struct nbd_call call = {.command = NBD_CMD_FLUSH};
	return can(n, NBD_FLAG_FLUSH) ? call_server(n, &call) : 0;
}

/* Servers with a smallest block get whole ones; what is around the bytes to write is kept. */
static int transfer_widened(struct nbd_node *n, struct block_request *r, uint16_t flags)
{
	uint64_t block = n->info.min_block, start = align_down(r->offset, block);
	uint64_t end = MIN(align_up(r->offset + r->length, block), n->node.size);
	g_autofree uint8_t *buffer = g_try_malloc(end - start);
	if (!buffer)
		return -ENOMEM;
	struct iovec iov = {buffer, end - start};
	FIBER_LOCK_SCOPE(&n->widen_lock);
	int rc = transfer(n, NBD_CMD_READ, 0, start, end - start, &iov, 1);
	if (rc == 0 && r->op == BLOCK_READ)
		block_iov_copy(r->iov, r->iov_count, 0, buffer + (r->offset - start), r->length, false);
	if (rc < 0 || r->op == BLOCK_READ)
		return rc;
	if (r->op == BLOCK_WRITE)
		block_iov_copy(r->iov, r->iov_count, 0, buffer + (r->offset - start), r->length, true);
	else
		memset(buffer + (r->offset - start), 0, r->length);
	return transfer(n, NBD_CMD_WRITE, flags, start, end - start, &iov, 1);
}

static int write_zero_bytes(struct nbd_node *n, struct block_request *r, uint16_t flags)
{
	uint64_t chunk = MIN(r->length, UINT64_C(1) << 20);
	g_autofree uint8_t *zeroes = g_malloc0(chunk);
	int rc = 0;
	for (uint64_t done = 0; done < r->length && rc == 0; done += chunk) {
		struct iovec iov = {zeroes, MIN(chunk, r->length - done)};
		rc = transfer(n, NBD_CMD_WRITE, flags, r->offset + done, iov.iov_len, &iov, 1);
	}
	return rc;
}

static int do_request(struct nbd_node *n, struct block_request *r, uint16_t fua)
{
	bool odd = n->info.min_block > 1 && (r->offset | r->length) & (n->info.min_block - 1);
	uint16_t no_hole = r->flags & BLOCK_REQ_MAY_UNMAP ? 0 : NBD_CMD_FLAG_NO_HOLE;
	switch (r->op) {
	case BLOCK_READ:
		return odd ? transfer_widened(n, r, 0)
			   : transfer(n, NBD_CMD_READ, 0, r->offset, r->length, r->iov, r->iov_count);
	case BLOCK_WRITE:
		return odd ? transfer_widened(n, r, fua)
			   : transfer(n, NBD_CMD_WRITE, fua, r->offset, r->length, r->iov,
				      r->iov_count);
	case BLOCK_FLUSH:
		return flush(n);
	case BLOCK_DISCARD:
		return odd || !can(n, NBD_FLAG_TRIM)
			       ? 0 : transfer(n, NBD_CMD_TRIM, fua, r->offset, r->length, NULL, 0);
	case BLOCK_WRITE_ZEROES:
		if (odd)
			return transfer_widened(n, r, fua);
		return can(n, NBD_FLAG_WRITE_ZEROES)
			       ? transfer(n, NBD_CMD_WRITE_ZEROES, fua | no_hole, r->offset, r->length,
					  NULL, 0)
			       : write_zero_bytes(n, r, fua);
	}
	return -ENOTSUP;
}

static int nbd_perform(struct block_node *node, struct block_request *request)
{
	struct nbd_node *n = (struct nbd_node *)node;
	bool want_fua = request->flags & BLOCK_REQ_FUA && request->op != BLOCK_READ;
	bool has_fua = can(n, NBD_FLAG_FUA);
	int rc = do_request(n, request, want_fua && has_fua ? NBD_CMD_FLAG_FUA : 0);
	return rc == 0 && want_fua && !has_fua ? flush(n) : rc;
}

static int nbd_status(struct block_node *node, uint64_t offset, uint64_t length,
		      struct block_extent *extent)
{
	struct nbd_node *n = (struct nbd_node *)node;
	extent->flags = BLOCK_STATUS_DATA | BLOCK_STATUS_OFFSET | BLOCK_STATUS_ALLOCATED;
	extent->host_offset = offset;
	extent->file = node;
	extent->length = length;
	if (!n->info.has_context)
		return 0;
	uint64_t block = MAX(n->info.min_block, 1), start = align_down(offset, block);
	struct nbd_call call = {.command = NBD_CMD_BLOCK_STATUS, .flags = NBD_CMD_FLAG_REQ_ONE,
				.offset = start,
				.length = MIN(align_up(offset - start + length, block),
					      align_down(UINT32_MAX, 65536))};
	int rc = call_server(n, &call);
	if (rc < 0)
		return rc;
	if (call.status_length <= offset - start)
		return -EIO;
	extent->length = MIN(length, call.status_length - (offset - start));
	if (n->context) {
		/* As QEMU shows a dirty bitmap: what is dirty has no data (qemu-img map tells). */
		extent->flags ^= call.status_flags & 1 ? BLOCK_STATUS_DATA : 0;
		return 0;
	}
	if (call.status_flags & NBD_STATE_HOLE)
		extent->flags &= ~(unsigned)BLOCK_STATUS_DATA;
	if (call.status_flags & NBD_STATE_ZERO)
		extent->flags |= BLOCK_STATUS_ZERO;
	return 0;
}

/* --- life -----------------------------------------------------------------------------------------------*/

static void nbd_close(struct block_node *node)
{
	struct nbd_node *n = (struct nbd_node *)node;
	for (unsigned i = 0; i < NBD_LINKS_MAX; i++)
		nbd_link_free(n->links[i]);
	if (n->pool)
		aio_pool_free(n->pool);
	nbd_address_clear(&n->address);
	g_free(n->export);
	g_free(n->context);
	g_free(n->hostname);
	nbd_tls_creds_unref(n->tls);
}

/* host, port and path beside each other are the old spelling of server.*. */
static json_t *take_server(json_t *dict)
{
	json_t *server = json_incref(json_object_get(dict, "server"));
	static const char *const flat[] = {"host", "port", "path"};
	if (!server)
		server = json_object();
	json_object_del(dict, "server");
	for (unsigned i = 0; i < G_N_ELEMENTS(flat); i++) {
		json_t *value = json_object_get(dict, flat[i]);
		if (value)
			json_object_set(server, flat[i], value);
		json_object_del(dict, flat[i]);
	}
	return server;
}

static bool take_tls(struct nbd_node *n, json_t *dict, GError **error)
{
	g_autofree char *id = block_take_string(dict, "tls-creds");
	n->hostname = block_take_string(dict, "tls-hostname");
	if (!id)
		return true;
	n->tls = block_object_take(n->node.graph, id, BLOCK_OBJECT_TLS, error);
	if (n->tls && nbd_tls_creds_is_server(n->tls))
		return error_set(error, BERTH_ERR_INVALID, "'%s' has TLS credentials for a server", id);
	if (!n->hostname)
		n->hostname = g_strdup(n->address.host);
	return n->tls != NULL;
}

static bool take_options(struct nbd_node *n, json_t *dict, GError **error)
{
	uint64_t links = 1;
	json_t *server = take_server(dict);
	bool good = nbd_address_from_json(&n->address, server, error);
	json_decref(server);
	n->export = block_take_string(dict, "export");
	g_autofree char *bitmap = block_take_string(dict, "x-dirty-bitmap");
	if (bitmap)
		n->context = g_strdup(bitmap);
	if (!good || !take_tls(n, dict, error) ||
	    !block_take_size(dict, "reconnect-delay", &n->reconnect_s, error) ||
	    !block_take_size(dict, "open-timeout", &n->open_timeout_s, error) ||
	    !block_take_size(dict, "multi-conn", &links, error))
		return false;
	if (!n->export)
		n->export = g_strdup("");
	if (strlen(n->export) > NBD_STRING_MAX || (n->context && strlen(n->context) > NBD_STRING_MAX))
		return error_set(error, BERTH_ERR_INVALID, "names of NBD are at most %d bytes long",
				 NBD_STRING_MAX);
	if (links < 1 || links > NBD_LINKS_MAX || n->reconnect_s > 86400 || n->open_timeout_s > 86400)
		return error_set(error, BERTH_ERR_INVALID,
				 "multi-conn is 1 to %d, the times at most a day", NBD_LINKS_MAX);
	n->links_wanted = links;
	return true;
}

/* The first connection, tried again until open-timeout is over. */
static bool first_connect(struct nbd_node *n, GError **error)
{
	int64_t deadline = aio_now_ns() + n->open_timeout_s * SECOND_NS;
	for (;;) {
		g_autoptr(GError) cause = NULL;
		n->links[0] = open_link(n, &n->info, &cause);
		if (n->links[0])
			return true;
		if (aio_now_ns() >= deadline) {
			g_propagate_error(error, g_steal_pointer(&cause));
			return false;
		}
		fiber_sleep(n->node.loop, SECOND_NS / 4);
	}
}

static bool further_connections(struct nbd_node *n, GError **error)
{
	if (!can(n, NBD_FLAG_MULTI_CONN))
		n->links_wanted = 1;
	for (unsigned i = 1; i < n->links_wanted; i++) {
		struct nbd_export_info info;
		n->links[i] = open_link(n, &info, error);
		if (!n->links[i])
			return false;
	}
	return true;
}

static bool nbd_open(struct block_node *node, json_t *dict, GError **error)
{
	struct nbd_node *n = (struct nbd_node *)node;
	bool good = take_options(n, dict, error);
	if (good) {
		g_free(node->filename);
		node->filename = display_name(n);
		n->pool = aio_pool_new(1);
		good = first_connect(n, error) && further_connections(n, error);
		if (!good)
			g_prefix_error(error, "cannot open '%s': ", node->filename);
	}
	if (good && !node->readonly && can(n, NBD_FLAG_READ_ONLY) &&
	    !(node->readonly = node->options.auto_readonly))
		good = error_set(error, BERTH_ERR_IO, "'%s': the export is read-only: use readonly=on",
				 node->filename);
	if (!good) {
		nbd_close(node);
		return false;
	}
	node->size = n->info.size;
	uint64_t max = n->info.max_block ? MIN(n->info.max_block, NBD_PAYLOAD_MAX) : NBD_PAYLOAD_MAX;
	node->limits = (struct block_limits){
		.request_alignment = MAX(n->info.min_block, 1), .logical_block = 512,
		.physical_block = 512, .max_transfer = align_down(max, MAX(n->info.min_block, 1)),
		.can_discard = node->discard, .can_write_zeroes = true};
	return true;
}

const struct block_driver block_nbd_driver = {
	.name = "nbd",
	.kind = BLOCK_PROTOCOL,
	.node_size = sizeof(struct nbd_node),
	.prefix = "nbd",
	.parse_filename = nbd_parse_filename,
	.open = nbd_open,
	.close = nbd_close,
	.perform = nbd_perform,
	.status = nbd_status,
};
