/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Images on web and FTP servers, read-only, by libcurl. Options: url, readahead, timeout, sslverify,
 * username, password-secret, proxy-username, proxy-password-secret, cookie, cookie-secret.
 *
 * A read fetches at least `readahead` bytes, in one range request; the last few fetches are kept, and
 * a reader waits for bytes that another is fetching. A web server must know ranges (RFC 9110,
 * section 14): without, each read would transfer the image from its start, so it is refused.
 */
#include "block/proto/remote/remote.h"

#include "base/error.h"
#include "base/log.h"
#include "block/core/drivers.h"

#include <curl/curl.h>
#include <errno.h>
#include <string.h>

#define CHUNKS            8
#define READAHEAD_DEFAULT (256 << 10)
#define READAHEAD_MAX     (64 << 20)
#define TIMEOUT_DEFAULT_S 5
#define TIMEOUT_MAX_S     10000
#define STATUS_PARTIAL    206

#undef curl_easy_setopt /* macros that check types, and know nothing of pointers to functions */
#undef curl_easy_getinfo
#define CURL_FUNCTIONS(F)                                                                          \
	F(curl_global_init) F(curl_easy_init) F(curl_easy_cleanup) F(curl_easy_setopt)             \
	F(curl_easy_perform) F(curl_easy_getinfo) F(curl_easy_strerror)

static void init_curl(void);
LIBRARY(curl, CURL_FUNCTIONS, .package = "libcurl3-gnutls",
	.files = {"libcurl-gnutls.so.4", "libcurl.so.4"}, .init = init_curl)

static void init_curl(void)
{
	curl.curl_global_init(CURL_GLOBAL_ALL);
}

/* Bytes that were fetched, or are being fetched. */
struct chunk {
	uint64_t offset, length; /* length 0: nothing */
	uint8_t *bytes;
	bool loading;
	unsigned readers; /* that copy out of it, or wait for it */
	uint64_t used;    /* the clock's time of the last use */
};

struct http_node {
	struct remote_node remote;
	char *url, *cookie, *user, *password, *proxy_user, *proxy_password;
	uint64_t readahead, timeout_s;
	bool verify;
	GMutex lock; /* guards the chunks */
	GCond loaded;
	struct chunk chunks[CHUNKS];
	uint64_t clock;
};

/* One connection, used by one thread at a time. */
struct http_link {
	struct http_node *http;
	CURL *easy;
	char message[CURL_ERROR_SIZE];
	uint8_t *into; /* where a reply goes */
	size_t room, filled;
	bool ranges; /* the server said that it knows them */
};

/* --- one request ------------------------------------------------------------------------------------*/

/* More than was asked for ends the transfer with an error: it is the answer of a server that ignores
 * ranges. */
static size_t on_body(char *bytes, size_t size, size_t count, void *opaque)
{
	struct http_link *link = opaque;
	size_t n = size * count;
	if (!link->into)
		return n; /* describe: libcurl makes headers of what an FTP server says of the file */
	if (n > link->room - link->filled)
		return 0;
	memcpy(link->into + link->filled, bytes, n);
	link->filled += n;
	return n;
}

static size_t on_header(char *line, size_t size, size_t count, void *opaque)
{
	static const char name[] = "accept-ranges:";
	struct http_link *link = opaque;
	size_t n = size * count;
	g_autofree char *text = g_ascii_strdown(line, n);
	if (g_str_has_prefix(text, "http/"))
		link->ranges = false; /* another answer, after a redirection */
	if (g_str_has_prefix(text, name))
		link->ranges = strcmp(g_strstrip(text + strlen(name)), "bytes") == 0;
	return n;
}

static bool is_web(const struct http_node *http)
{
	return g_ascii_strncasecmp(http->url, "http", 4) == 0;
}

static void http_disconnect(void *connection)
{
	struct http_link *link = connection;
	if (link->easy)
		curl.curl_easy_cleanup(link->easy);
	g_free(link);
}

static void set_text(struct http_link *link, CURLoption option, const char *text)
{
	if (text)
		curl.curl_easy_setopt(link->easy, option, text);
}

static void *http_connect(struct remote_node *remote, GError **error)
{
	struct http_node *http = (struct http_node *)remote;
	struct http_link *link = g_new0(struct http_link, 1);
	link->http = http;
	link->easy = curl.curl_easy_init();
	if (!link->easy) {
		g_free(link);
		error_set(error, BERTH_ERR_INTERNAL, "libcurl gives no handle");
		return NULL;
	}
	set_text(link, CURLOPT_URL, http->url);
	set_text(link, CURLOPT_PROTOCOLS_STR, "http,https,ftp,ftps");
	set_text(link, CURLOPT_REDIR_PROTOCOLS_STR, is_web(http) ? "http,https" : "ftp,ftps");
	set_text(link, CURLOPT_COOKIE, http->cookie);
	set_text(link, CURLOPT_USERNAME, http->user);
	set_text(link, CURLOPT_PASSWORD, http->password);
	set_text(link, CURLOPT_PROXYUSERNAME, http->proxy_user);
	set_text(link, CURLOPT_PROXYPASSWORD, http->proxy_password);
	curl.curl_easy_setopt(link->easy, CURLOPT_ERRORBUFFER, link->message);
	curl.curl_easy_setopt(link->easy, CURLOPT_WRITEFUNCTION, on_body);
	curl.curl_easy_setopt(link->easy, CURLOPT_WRITEDATA, link);
	curl.curl_easy_setopt(link->easy, CURLOPT_HEADERFUNCTION, on_header);
	curl.curl_easy_setopt(link->easy, CURLOPT_HEADERDATA, link);
	curl.curl_easy_setopt(link->easy, CURLOPT_FOLLOWLOCATION, 1L);
	curl.curl_easy_setopt(link->easy, CURLOPT_MAXREDIRS, 10L);
	curl.curl_easy_setopt(link->easy, CURLOPT_FAILONERROR, 1L);
	curl.curl_easy_setopt(link->easy, CURLOPT_NOSIGNAL, 1L);
	curl.curl_easy_setopt(link->easy, CURLOPT_SSL_VERIFYPEER, (long)http->verify);
	curl.curl_easy_setopt(link->easy, CURLOPT_SSL_VERIFYHOST, http->verify ? 2L : 0L);
	/* The time without a byte, not that of a transfer: a large read over a slow line is no fault. */
	curl.curl_easy_setopt(link->easy, CURLOPT_CONNECTTIMEOUT, (long)http->timeout_s);
	curl.curl_easy_setopt(link->easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
	curl.curl_easy_setopt(link->easy, CURLOPT_LOW_SPEED_TIME, (long)http->timeout_s);
	return link;
}

static bool http_describe(struct remote_node *remote, void *connection, GError **error)
{
	struct http_node *http = (struct http_node *)remote;
	struct http_link *link = connection;
	curl.curl_easy_setopt(link->easy, CURLOPT_NOBODY, 1L);
	CURLcode code = curl.curl_easy_perform(link->easy);
	curl_off_t length = -1;
	if (code != CURLE_OK)
		return error_set(error, BERTH_ERR_IO, "%s",
				 *link->message ? link->message : curl.curl_easy_strerror(code));
	curl.curl_easy_getinfo(link->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
	if (length < 0)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED, "the server does not tell its size");
	if (is_web(http) && !link->ranges)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "the server does not support 'range' (byte ranges): download the "
				 "image first");
	curl.curl_easy_setopt(link->easy, CURLOPT_HTTPGET, 1L);
	remote->node.size = length;
	return true;
}

/* All of [offset, offset + length). 0 or -errno. */
static int fetch(struct http_link *link, uint64_t offset, void *bytes, size_t length)
{
	char range[64];
	snprintf(range, sizeof(range), "%" G_GUINT64_FORMAT "-%" G_GUINT64_FORMAT, offset,
		 offset + length - 1);
	link->into = bytes;
	link->room = length;
	link->filled = 0;
	*link->message = '\0';
	curl.curl_easy_setopt(link->easy, CURLOPT_HTTPGET, 1L);
	curl.curl_easy_setopt(link->easy, CURLOPT_RANGE, range);
	CURLcode code = curl.curl_easy_perform(link->easy);
	long status = 0;
	curl.curl_easy_getinfo(link->easy, CURLINFO_RESPONSE_CODE, &status);
	if (code == CURLE_OK && link->filled == length && (!is_web(link->http) || status == STATUS_PARTIAL))
		return 0;
	log_warning("%s: bytes %s: %s", link->http->url, range,
		    code == CURLE_OK ? "the server sent something else"
		    : *link->message ? link->message
				     : curl.curl_easy_strerror(code));
	return code == CURLE_OPERATION_TIMEDOUT ? -ETIMEDOUT : -EIO;
}

/* --- what was fetched -------------------------------------------------------------------------------*/

static struct chunk *find_chunk(struct http_node *http, uint64_t offset)
{
	for (unsigned i = 0; i < CHUNKS; i++)
		if (offset - http->chunks[i].offset < http->chunks[i].length)
			return &http->chunks[i];
	return NULL;
}

/* There is always one that nobody uses: there are more chunks than threads. */
static struct chunk *oldest_chunk(struct http_node *http)
{
	struct chunk *oldest = NULL;
	for (unsigned i = 0; i < CHUNKS; i++)
		if (!http->chunks[i].readers && (!oldest || http->chunks[i].used < oldest->used))
			oldest = &http->chunks[i];
	return oldest;
}
G_STATIC_ASSERT(CHUNKS > REMOTE_CONNECTIONS);

/* Fill the chunk; the lock is held on entry and return, but not meanwhile. */
static int load_chunk(struct http_link *link, struct chunk *chunk, uint64_t offset, size_t length)
{
	struct http_node *http = link->http;
	uint64_t rest = http->remote.node.size - offset;
	chunk->offset = offset;
	chunk->length = MIN(rest, MAX(length, http->readahead));
	chunk->loading = true;
	g_mutex_unlock(&http->lock);
	g_free(chunk->bytes);
	chunk->bytes = g_malloc(chunk->length);
	int rc = fetch(link, offset, chunk->bytes, chunk->length);
	g_mutex_lock(&http->lock);
	chunk->loading = false;
	if (rc < 0)
		chunk->length = 0;
	g_cond_broadcast(&http->loaded);
	return rc;
}

static int http_read(void *connection, uint64_t offset, void *bytes, size_t length)
{
	struct http_link *link = connection;
	struct http_node *http = link->http;
	int rc = 0;
	g_mutex_lock(&http->lock);
	while (rc == 0 && length) {
		struct chunk *chunk = find_chunk(http, offset);
		bool fresh = !chunk;
		if (fresh)
			chunk = oldest_chunk(http);
		chunk->readers++;
		chunk->used = ++http->clock;
		if (fresh)
			rc = load_chunk(link, chunk, offset, length);
		while (chunk->loading)
			g_cond_wait(&http->loaded, &http->lock);
		/* Nothing is left of it if somebody else's fetch has failed: then the turn is ours. */
		uint64_t skip = offset - chunk->offset;
		size_t n = skip < chunk->length ? MIN(length, chunk->length - skip) : 0;
		if (n)
			memcpy(bytes, chunk->bytes + skip, n);
		chunk->readers--;
		bytes = (uint8_t *)bytes + n;
		offset += n;
		length -= n;
	}
	g_mutex_unlock(&http->lock);
	return rc;
}

/* --- life -------------------------------------------------------------------------------------------*/

static bool http_parse_filename(const char *filename, json_t *dict, GError **error)
{
	json_object_set_new(dict, "url", json_string(filename));
	return true;
}

static bool http_take_options(struct remote_node *remote, json_t *dict, GError **error)
{
	struct http_node *http = (struct http_node *)remote;
	struct block_node *node = &remote->node;
	g_mutex_init(&http->lock);
	g_cond_init(&http->loaded);
	http->url = block_take_string(dict, "url");
	http->cookie = block_take_string(dict, "cookie");
	http->user = block_take_string(dict, "username");
	http->proxy_user = block_take_string(dict, "proxy-username");
	http->readahead = READAHEAD_DEFAULT;
	http->timeout_s = TIMEOUT_DEFAULT_S;
	http->verify = true;
	if (!block_take_size(dict, "readahead", &http->readahead, error) ||
	    !block_take_size(dict, "timeout", &http->timeout_s, error) ||
	    !block_take_bool(dict, "sslverify", &http->verify, error) ||
	    !remote_take_secret(node, dict, "password-secret", &http->password, error) ||
	    !remote_take_secret(node, dict, "proxy-password-secret", &http->proxy_password, error) ||
	    !remote_take_secret(node, dict, "cookie-secret", &http->cookie, error))
		return false;
	if (!http->url)
		return error_set(error, BERTH_ERR_INVALID, "%s needs url=", node->driver->name);
	g_autofree char *scheme = g_strconcat(node->driver->name, "://", NULL);
	if (g_ascii_strncasecmp(http->url, scheme, strlen(scheme)) != 0)
		return error_set(error, BERTH_ERR_INVALID, "'%s' does not begin with %s", http->url,
				 scheme);
	if (http->readahead % 512 || http->readahead > READAHEAD_MAX)
		return error_set(error, BERTH_ERR_INVALID,
				 "readahead is a multiple of 512 and at most 64 MiB");
	return (http->timeout_s && http->timeout_s <= TIMEOUT_MAX_S) ||
	       error_set(error, BERTH_ERR_INVALID, "timeout is 1 to %d seconds", TIMEOUT_MAX_S);
}

static char *http_name(const struct remote_node *remote)
{
	return g_strdup(((const struct http_node *)remote)->url);
}

static void http_clear(struct remote_node *remote)
{
	struct http_node *http = (struct http_node *)remote;
	for (unsigned i = 0; i < CHUNKS; i++)
		g_free(http->chunks[i].bytes);
	g_mutex_clear(&http->lock);
	g_cond_clear(&http->loaded);
	char *texts[] = {http->url,      http->cookie,     http->user,
			 http->password, http->proxy_user, http->proxy_password};
	for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++)
		g_free(texts[i]);
}

static const struct remote_ops http_ops = {
	.library = &library,
	.take_options = http_take_options,
	.name = http_name,
	.clear = http_clear,
	.connect = http_connect,
	.disconnect = http_disconnect,
	.describe = http_describe,
	.read = http_read,
};

#define HTTP_DRIVER(scheme)                                                                        \
	const struct block_driver block_##scheme##_driver = {                                      \
		REMOTE_DRIVER(#scheme, http_node, &http_ops), .parse_filename = http_parse_filename}

HTTP_DRIVER(http);
HTTP_DRIVER(https);
HTTP_DRIVER(ftp);
HTTP_DRIVER(ftps);
