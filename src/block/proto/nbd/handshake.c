/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The client's side of "Newstyle negotiation", with what older servers lack left out step by step. */
#include "block/proto/nbd/nbd.h"

#include "base/bytes.h"
#include "base/error.h"

#include <string.h>

/* Of replies to one option: a server must not keep us here. */
#define REPLIES_MAX 1000

struct reply {
	uint32_t type, length;
	uint8_t body[NBD_STRING_MAX + 16];
};

static bool lost(GError **error)
{
	return error_set(error, BERTH_ERR_IO, "the NBD server ended the connection during the handshake");
}

static bool wrong(const char *what, GError **error)
{
	return error_set(error, BERTH_ERR_IO, "the NBD server does not keep to the protocol: %s", what);
}

static bool send_option(struct nbd_stream *stream, uint32_t option, const void *data,
			uint32_t length, GError **error)
{
	uint8_t head[16];
	be64_store(head, NBD_OPTION_MAGIC);
	be32_store(head + 8, option);
	be32_store(head + 12, length);
	struct iovec iov[] = {{head, sizeof(head)}, {(void *)data, length}};
	return nbd_stream_writev(stream, iov, 2) || lost(error);
}

static bool read_option_reply(struct nbd_stream *stream, uint32_t option, struct reply *reply,
			      GError **error)
{
	uint8_t head[20];
	if (!nbd_stream_read(stream, head, sizeof(head)))
		return lost(error);
	reply->type = be32_load(head + 12);
	reply->length = be32_load(head + 16);
	if (be64_load(head) != NBD_OPTION_REPLY_MAGIC || be32_load(head + 8) != option)
		return wrong("a reply to another option", error);
	if (reply->length > sizeof(reply->body))
		return wrong("a reply that is too long", error);
	return nbd_stream_read(stream, reply->body, reply->length) || lost(error);
}

static bool is_error(const struct reply *reply)
{
	return reply->type & NBD_REP_ERROR;
}

/* The server's refusal as an error; its own words if it sent any. */
static bool refused(const struct reply *reply, const char *export, GError **error)
{
	g_autofree char *raw = g_strndup((const char *)reply->body, reply->length);
	g_autofree char *words = g_utf8_make_valid(raw, -1);
	const char *cause = reply->type == NBD_REP_ERR_UNKNOWN	      ? "it has no such export"
			    : reply->type == NBD_REP_ERR_TLS_REQUIRED ? "it requires TLS: give tls-creds"
			    : reply->type == NBD_REP_ERR_POLICY	      ? "its policy forbids it"
								      : "it refused";
	return error_set(error, BERTH_ERR_IO, "NBD export '%s': %s%s%s", export, cause,
			 *words ? ": " : "", words);
}

/* An option without data that is answered with ACK or an error. */
static bool simple_option(struct nbd_stream *stream, uint32_t option, bool *agreed, GError **error)
{
	struct reply reply;
	if (!send_option(stream, option, NULL, 0, error) ||
	    !read_option_reply(stream, option, &reply, error))
		return false;
	if (!is_error(&reply) && (reply.type != NBD_REP_ACK || reply.length))
		return wrong("an answer that does not fit the option", error);
	*agreed = reply.type == NBD_REP_ACK;
	return true;
}

static bool set_context(struct nbd_stream *stream, const struct nbd_wish *wish,
			struct nbd_export_info *info, GError **error)
{
	size_t name = strlen(wish->export), query = strlen(wish->context);
	uint32_t length = 4 + name + 4 + 4 + query;
	g_autofree uint8_t *data = g_malloc(length);
	be32_store(data, name);
	memcpy(data + 4, wish->export, name);
	be32_store(data + 4 + name, 1);
	be32_store(data + 8 + name, query);
	memcpy(data + 12 + name, wish->context, query);
	if (!send_option(stream, NBD_OPT_SET_META_CONTEXT, data, length, error))
		return false;
	struct reply reply;
	for (unsigned i = 0; i < REPLIES_MAX; i++) {
		if (!read_option_reply(stream, NBD_OPT_SET_META_CONTEXT, &reply, error))
			return false;
		if (is_error(&reply) || reply.type == NBD_REP_ACK)
			return true;
		if (reply.type != NBD_REP_META_CONTEXT || reply.length != 4 + query ||
		    memcmp(reply.body + 4, wish->context, query) != 0)
			return wrong("a metadata context that was not asked for", error);
		info->has_context = true;
		info->context_id = be32_load(reply.body);
	}
	return wrong("no end of metadata contexts", error);
}

static bool take_info(const struct reply *reply, struct nbd_export_info *info, bool *have,
		      GError **error)
{
	if (reply->type != NBD_REP_INFO || reply->length < 2)
		return wrong("an unknown answer to GO", error);
	const uint8_t *body = reply->body;
	if (be16_load(body) == NBD_INFO_EXPORT && reply->length == 12) {
		info->size = be64_load(body + 2);
		info->flags = be16_load(body + 10);
		*have = true;
	} else if (be16_load(body) == NBD_INFO_BLOCK_SIZE && reply->length == 14) {
		info->min_block = be32_load(body + 2);
		info->max_block = be32_load(body + 10);
		if (!info->min_block || info->min_block & (info->min_block - 1) ||
		    info->min_block > 65536 || info->max_block < info->min_block)
			return wrong("block sizes that make no sense", error);
	}
	return true;
}

/* *fallback: the server does not know GO. */
static bool go(struct nbd_stream *stream, const struct nbd_wish *wish, struct nbd_export_info *info,
	       bool *fallback, GError **error)
{
	size_t name = strlen(wish->export);
	g_autofree uint8_t *data = g_malloc(name + 8);
	be32_store(data, name);
	memcpy(data + 4, wish->export, name);
	be16_store(data + 4 + name, 1);
	be16_store(data + 6 + name, NBD_INFO_BLOCK_SIZE);
	if (!send_option(stream, NBD_OPT_GO, data, name + 8, error))
		return false;
	struct reply reply;
	bool have = false;
	for (unsigned i = 0; i < REPLIES_MAX; i++) {
		if (!read_option_reply(stream, NBD_OPT_GO, &reply, error))
			return false;
		if (reply.type == NBD_REP_ERR_UNSUPPORTED)
			return *fallback = true;
		if (is_error(&reply))
			return refused(&reply, wish->export, error);
		if (reply.type == NBD_REP_ACK)
			return have || wrong("no size of the export", error);
		if (!take_info(&reply, info, &have, error))
			return false;
	}
	return wrong("no end of information", error);
}

/* The old way in: no error message, the server just hangs up. */
static bool export_name(struct nbd_stream *stream, const struct nbd_wish *wish, bool no_zeroes,
			struct nbd_export_info *info, GError **error)
{
	uint8_t body[10];
	if (!send_option(stream, NBD_OPT_EXPORT_NAME, wish->export, strlen(wish->export), error))
		return false;
	if (!nbd_stream_read(stream, body, sizeof(body)) ||
	    (!no_zeroes && !nbd_stream_skip(stream, 124)))
		return error_set(error, BERTH_ERR_IO, "the NBD server hung up: it has no export '%s'?",
				 wish->export);
	info->size = be64_load(body);
	info->flags = be16_load(body + 8);
	return true;
}

static bool start_tls(struct nbd_stream *stream, const struct nbd_wish *wish, GError **error)
{
	bool agreed;
	if (!simple_option(stream, NBD_OPT_STARTTLS, &agreed, error))
		return false;
	return agreed ? nbd_stream_start_tls(stream, wish->tls, wish->hostname, error)
		      : error_set(error, BERTH_ERR_IO, "the NBD server has no TLS");
}

static bool negotiate(struct nbd_stream *stream, const struct nbd_wish *wish,
		      struct nbd_export_info *info, GError **error)
{
	uint8_t flags[2], answer[4];
	if (!nbd_stream_read(stream, flags, sizeof(flags)))
		return lost(error);
	unsigned common = be16_load(flags) & (NBD_HANDSHAKE_FIXED | NBD_HANDSHAKE_NO_ZEROES);
	be32_store(answer, common);
	if (!nbd_stream_write(stream, answer, sizeof(answer)))
		return lost(error);
	bool fallback = !(common & NBD_HANDSHAKE_FIXED);
	if (wish->tls && fallback)
		return error_set(error, BERTH_ERR_IO, "the NBD server is too old for TLS");
	if (wish->tls && !start_tls(stream, wish, error))
		return false;
	if (!fallback && wish->want_structured &&
	    !simple_option(stream, NBD_OPT_STRUCTURED_REPLY, &info->structured, error))
		return false;
	if (info->structured && !set_context(stream, wish, info, error))
		return false;
	if (!fallback && !go(stream, wish, info, &fallback, error)) {
		send_option(stream, NBD_OPT_ABORT, NULL, 0, NULL);
		return false;
	}
	return !fallback ||
	       export_name(stream, wish, common & NBD_HANDSHAKE_NO_ZEROES, info, error);
}

static bool oldstyle(struct nbd_stream *stream, const struct nbd_wish *wish,
		     struct nbd_export_info *info, GError **error)
{
	uint8_t body[12];
	if (!nbd_stream_read(stream, body, sizeof(body)) || !nbd_stream_skip(stream, 124))
		return lost(error);
	if (*wish->export)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "the NBD server is of the old style, which has one export without name");
	info->size = be64_load(body);
	info->flags = be32_load(body + 8);
	return true;
}

bool nbd_handshake(struct nbd_stream *stream, const struct nbd_wish *wish,
		   struct nbd_export_info *info, GError **error)
{
	uint8_t hello[16];
	*info = (struct nbd_export_info){0};
	if (!nbd_stream_read(stream, hello, sizeof(hello)))
		return lost(error);
	if (be64_load(hello) != NBD_MAGIC)
		return error_set(error, BERTH_ERR_IO, "what answers there is no NBD server");
	bool old = be64_load(hello + 8) == NBD_OLDSTYLE_MAGIC;
	if (!old && be64_load(hello + 8) != NBD_OPTION_MAGIC)
		return wrong("an unknown kind of handshake", error);
	if (old && wish->tls)
		return error_set(error, BERTH_ERR_IO, "the NBD server is too old for TLS");
	if (!(old ? oldstyle : negotiate)(stream, wish, info, error))
		return false;
	if (info->size > INT64_MAX)
		return wrong("an export of more than 2^63 bytes", error);
	return true;
}
