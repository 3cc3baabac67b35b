/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The server's side of "Newstyle negotiation": options until one of them begins the transmission. */
#include "block/export/nbd_int.h"

#include "base/bytes.h"
#include "base/log.h"

#include <string.h>

/* A client that wants more of us than this before it chooses an export is not a client. */
#define OPTIONS_MAX 1000
#define OPTION_DATA_MAX (4 + NBD_STRING_MAX + 4 + 65536)

struct option {
	struct nbd_session *session;
	uint32_t number, length;
	uint8_t *data;
};

/* What is left of an option's data. */
struct cursor {
	const uint8_t *at;
	uint32_t left;
};

static bool take_u32(struct cursor *cursor, uint32_t *value)
{
	if (cursor->left < 4)
		return false;
	*value = be32_load(cursor->at);
	cursor->at += 4;
	cursor->left -= 4;
	return true;
}

/* A length and so many bytes of text. g_free(); NULL: malformed. */
static char *take_string(struct cursor *cursor)
{
	uint32_t length;
	if (!take_u32(cursor, &length) || length > NBD_STRING_MAX || length > cursor->left ||
	    memchr(cursor->at, 0, length))
		return NULL;
	char *text = g_strndup((const char *)cursor->at, length);
	cursor->at += length;
	cursor->left -= length;
	return text;
}

static bool reply(const struct option *option, uint32_t type, const void *data, uint32_t length)
{
	uint8_t head[20];
	be64_store(head, NBD_OPTION_REPLY_MAGIC);
	be32_store(head + 8, option->number);
	be32_store(head + 12, type);
	be32_store(head + 16, length);
	struct iovec iov[] = {{head, sizeof(head)}, {(void *)data, length}};
	return nbd_stream_writev(option->session->stream, iov, 2);
}

static bool refuse(const struct option *option, uint32_t type, const char *why)
{
	return reply(option, type, why, strlen(why));
}

uint16_t nbd_export_flags(const struct nbd_session *session, const struct nbd_export *export)
{
	uint16_t flags = NBD_FLAG_HAS_FLAGS | NBD_FLAG_FLUSH | NBD_FLAG_FUA | NBD_FLAG_CACHE;
	flags |= export->writable ? NBD_FLAG_TRIM | NBD_FLAG_WRITE_ZEROES : NBD_FLAG_READ_ONLY;
	if (session->structured)
		flags |= NBD_FLAG_DF;
	/* All connections share one image, so a flush on one is a flush of all. */
	if (session->server->options.max_connections != 1)
		flags |= NBD_FLAG_MULTI_CONN;
	return flags;
}

static void enter(struct nbd_session *session, struct nbd_export *export)
{
	session->export = export;
	export->sessions++;
	/* What was agreed on for another export does not count. */
	if (!session->contexts_of || strcmp(session->contexts_of, export->name) != 0)
		session->contexts = 0;
}

/* Keeps the export while an answer about it is sent, which may wait for the client. */
static void ask_begin(struct nbd_session *session, struct nbd_export *export)
{
	session->asked = export;
	export->sessions++;
}

static void ask_end(struct nbd_session *session)
{
	g_steal_pointer(&session->asked)->sessions--;
}

/* --- the options ----------------------------------------------------------------------------------------*/

static bool run_list(const struct option *option)
{
	const GPtrArray *exports = option->session->server->exports;
	if (option->length)
		return refuse(option, NBD_REP_ERR_INVALID, "LIST takes no data");
	for (unsigned i = 0; i < exports->len; i++) {
		const struct nbd_export *export = exports->pdata[i];
		const char *text = export->description ? export->description : "";
		g_autofree uint8_t *data = g_malloc(4 + strlen(export->name) + strlen(text));
		be32_store(data, strlen(export->name));
		memcpy(data + 4, export->name, strlen(export->name));
		memcpy(data + 4 + strlen(export->name), text, strlen(text));
		if (!reply(option, NBD_REP_SERVER, data, 4 + strlen(export->name) + strlen(text)))
			return false;
	}
	return reply(option, NBD_REP_ACK, NULL, 0);
}

static bool send_text(const struct option *option, uint16_t kind, const char *text)
{
	g_autofree uint8_t *data = g_malloc(2 + strlen(text));
	be16_store(data, kind);
	memcpy(data + 2, text, strlen(text));
	return reply(option, NBD_REP_INFO, data, 2 + strlen(text));
}

static bool send_infos(const struct option *option, const struct nbd_export *export,
		       unsigned wanted)
{
	uint8_t data[14];
	if (wanted & 1 << NBD_INFO_NAME && !send_text(option, NBD_INFO_NAME, export->name))
		return false;
	if (wanted & 1 << NBD_INFO_DESCRIPTION && export->description &&
	    !send_text(option, NBD_INFO_DESCRIPTION, export->description))
		return false;
	/* Any size and place will do; 4 KiB is good, and this is the most we take. */
	be16_store(data, NBD_INFO_BLOCK_SIZE);
	be32_store(data + 2, 1);
	be32_store(data + 6, 4096);
	be32_store(data + 10, NBD_PAYLOAD_MAX);
	if (!reply(option, NBD_REP_INFO, data, 14))
		return false;
	be16_store(data, NBD_INFO_EXPORT);
	be64_store(data + 2, block_size(export->root));
	be16_store(data + 10, nbd_export_flags(option->session, export));
	return reply(option, NBD_REP_INFO, data, 12) && reply(option, NBD_REP_ACK, NULL, 0);
}

static bool run_info(const struct option *option)
{
	struct cursor cursor = {option->data, option->length};
	g_autofree char *name = take_string(&cursor);
	if (!name || cursor.left < 2 || cursor.left != 2 + 2 * (uint32_t)be16_load(cursor.at))
		return refuse(option, NBD_REP_ERR_INVALID, "malformed");
	unsigned wanted = 0;
	for (uint32_t at = 2; at < cursor.left; at += 2) {
		unsigned kind = be16_load(cursor.at + at);
		wanted |= kind < 16 ? 1u << kind : 0;
	}
	struct nbd_export *export = nbd_server_find(option->session->server, name);
	if (!export)
		return refuse(option, NBD_REP_ERR_UNKNOWN, "there is no such export");
	ask_begin(option->session, export);
	if (option->number == NBD_OPT_GO)
		enter(option->session, export);
	bool good = send_infos(option, export, wanted);
	ask_end(option->session);
	return good;
}

static bool run_export_name(const struct option *option)
{
	struct nbd_session *session = option->session;
	g_autofree char *name = g_strndup((const char *)option->data, option->length);
	struct nbd_export *export = nbd_server_find(session->server, name);
	uint8_t data[10 + 124] = {0};
	if (!export)
		return false; /* this option has no error reply */
	enter(session, export);
	be64_store(data, block_size(export->root));
	be16_store(data + 8, nbd_export_flags(session, export));
	return nbd_stream_write(session->stream, data, session->no_zeroes ? 10 : sizeof(data));
}

char *nbd_context_name(const struct nbd_export *export, unsigned context)
{
	if (context == NBD_CONTEXT_ALLOCATION)
		return g_strdup("base:allocation");
	if (context == NBD_CONTEXT_DEPTH)
		return g_strdup(export->allocation_depth ? "qemu:allocation-depth" : "");
	context -= NBD_CONTEXT_BITMAPS;
	if (context >= export->bitmaps->len)
		return NULL;
	const struct block_dirty *bitmap = export->bitmaps->pdata[context];
	return g_strconcat("qemu:dirty-bitmap:", bitmap->name, NULL);
}

/* "base:", "qemu:" and "qemu:dirty-bitmap:" ask a list for all that begin so. */
static bool matches(const char *query, const char *name, bool listing)
{
	bool prefix = listing && g_str_has_suffix(query, ":") && g_str_has_prefix(name, query);
	return *name && (prefix || strcmp(query, name) == 0);
}

/* One answer for each context that any query means; *chosen are their bits. */
static bool send_contexts(const struct option *option, const struct nbd_export *export,
			  const GPtrArray *queries, uint64_t *chosen)
{
	bool listing = option->number == NBD_OPT_LIST_META_CONTEXT;
	for (unsigned context = 0; context < NBD_CONTEXTS_MAX; context++) {
		g_autofree char *name = nbd_context_name(export, context);
		if (!name)
			break;
		bool wanted = listing && queries->len == 0 && *name;
		for (unsigned i = 0; i < queries->len && !wanted; i++)
			wanted = matches(queries->pdata[i], name, listing);
		if (!wanted)
			continue;
		g_autofree uint8_t *data = g_malloc(4 + strlen(name));
		be32_store(data, listing ? 0 : context);
		memcpy(data + 4, name, strlen(name));
		if (!reply(option, NBD_REP_META_CONTEXT, data, 4 + strlen(name)))
			return false;
		*chosen |= UINT64_C(1) << context;
	}
	return reply(option, NBD_REP_ACK, NULL, 0);
}

static bool run_contexts(const struct option *option)
{
	struct nbd_session *session = option->session;
	struct cursor cursor = {option->data, option->length};
	g_autoptr(GPtrArray) queries = g_ptr_array_new_with_free_func(g_free);
	g_autofree char *name = take_string(&cursor);
	uint32_t count;
	if (!session->structured)
		return refuse(option, NBD_REP_ERR_INVALID, "structured replies come first");
	if (!name || !take_u32(&cursor, &count))
		return refuse(option, NBD_REP_ERR_INVALID, "malformed");
	for (uint32_t i = 0; i < count; i++) {
		char *query = take_string(&cursor);
		if (!query)
			return refuse(option, NBD_REP_ERR_INVALID, "malformed query");
		g_ptr_array_add(queries, query);
	}
	struct nbd_export *export = nbd_server_find(session->server, name);
	if (!export)
		return refuse(option, NBD_REP_ERR_UNKNOWN, "there is no such export");
	uint64_t chosen = 0;
	ask_begin(session, export);
	bool good = send_contexts(option, export, queries, &chosen);
	ask_end(session);
	if (option->number == NBD_OPT_SET_META_CONTEXT) {
		session->contexts = chosen;
		g_free(session->contexts_of);
		session->contexts_of = g_steal_pointer(&name);
	}
	return good;
}

static bool run_structured(const struct option *option)
{
	if (option->length)
		return refuse(option, NBD_REP_ERR_INVALID, "STRUCTURED_REPLY takes no data");
	option->session->structured = true;
	return reply(option, NBD_REP_ACK, NULL, 0);
}

static bool run_start_tls(const struct option *option)
{
	struct nbd_session *session = option->session;
	struct nbd_tls_creds *creds = session->server->options.tls;
	if (option->length || session->secure)
		return refuse(option, NBD_REP_ERR_INVALID, session->secure ? "it is on already"
									   : "STARTTLS takes no data");
	if (!creds)
		return refuse(option, NBD_REP_ERR_POLICY, "this server has no TLS");
	g_autoptr(GError) error = NULL;
	/* What was said in the clear does not count. */
	session->structured = false;
	session->contexts = 0;
	session->secure = reply(option, NBD_REP_ACK, NULL, 0) &&
			  nbd_stream_start_tls(session->stream, creds, NULL, &error);
	if (error)
		log_warning("NBD client refused: %s", error->message);
	return session->secure;
}

static bool run_option(const struct option *option)
{
	if (option->session->server->options.tls && !option->session->secure &&
	    option->number != NBD_OPT_STARTTLS)
		return option->number != NBD_OPT_EXPORT_NAME &&
		       refuse(option, NBD_REP_ERR_TLS_REQUIRED, "this server requires TLS");
	switch (option->number) {
	case NBD_OPT_STARTTLS:
		return run_start_tls(option);
	case NBD_OPT_EXPORT_NAME:
		return run_export_name(option);
	case NBD_OPT_LIST:
		return run_list(option);
	case NBD_OPT_INFO:
	case NBD_OPT_GO:
		return run_info(option);
	case NBD_OPT_STRUCTURED_REPLY:
		return run_structured(option);
	case NBD_OPT_LIST_META_CONTEXT:
	case NBD_OPT_SET_META_CONTEXT:
		return run_contexts(option);
	default:
		return refuse(option, NBD_REP_ERR_UNSUPPORTED, "unknown option");
	}
}

/* --- the handshake ------------------------------------------------------------------------------------*/

static bool read_option(struct nbd_session *session, struct option *option)
{
	uint8_t head[16];
	if (!nbd_stream_read(session->stream, head, sizeof(head)) ||
	    be64_load(head) != NBD_OPTION_MAGIC)
		return false;
	option->session = session;
	option->number = be32_load(head + 8);
	option->length = be32_load(head + 12);
	if (option->length > OPTION_DATA_MAX)
		return false;
	option->data = g_malloc(option->length + 1);
	return nbd_stream_read(session->stream, option->data, option->length);
}

static bool greet(struct nbd_session *session, bool *fixed)
{
	uint8_t hello[18], answer[4];
	be64_store(hello, NBD_MAGIC);
	be64_store(hello + 8, NBD_OPTION_MAGIC);
	be16_store(hello + 16, NBD_HANDSHAKE_FIXED | NBD_HANDSHAKE_NO_ZEROES);
	if (!nbd_stream_write(session->stream, hello, sizeof(hello)) ||
	    !nbd_stream_read(session->stream, answer, sizeof(answer)))
		return false;
	uint32_t flags = be32_load(answer);
	*fixed = flags & NBD_HANDSHAKE_FIXED;
	session->no_zeroes = flags & NBD_HANDSHAKE_NO_ZEROES;
	return !(flags & ~(NBD_HANDSHAKE_FIXED | NBD_HANDSHAKE_NO_ZEROES));
}

bool nbd_options_run(struct nbd_session *session)
{
	bool fixed, good = greet(session, &fixed);
	for (unsigned i = 0; good && !session->export && i < OPTIONS_MAX; i++) {
		struct option option = {0};
		good = read_option(session, &option);
		if (good && option.number == NBD_OPT_ABORT) {
			reply(&option, NBD_REP_ACK, NULL, 0);
			good = false;
		} else if (good) {
			/* A client of the unfixed kind understands no replies. */
			good = (fixed || option.number == NBD_OPT_EXPORT_NAME) && run_option(&option);
		}
		g_free(option.data);
	}
	return good && session->export;
}
