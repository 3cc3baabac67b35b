/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/network/ovsdb.h"

#include "base/error.h"
#include "base/fd.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define DATABASE "Open_vSwitch"
enum { LIMIT_S = 5 };

/* --- The connection --------------------------------------------------------------------------- */

bool ovsdb_is_there(const char *path)
{
	return access(path, F_OK) == 0;
}

static int open_socket(const char *path, GError **error)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const struct timeval limit = {.tv_sec = LIMIT_S};
	if (strlen(path) >= sizeof(address.sun_path)) {
		error_set(error, BERTH_ERR_INVALID, "the path of Open vSwitch's database is too long: '%s'",
			  path);
		return -1;
	}
	strcpy(address.sun_path, path);
	auto_fd fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) == 0 &&
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) == 0 &&
	    connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
		return fd_steal(&fd);
	error_set_errno(error, errno, "cannot reach Open vSwitch's database at '%s' (does ovsdb-server run?)",
			path);
	return -1;
}

static bool send_all(int fd, const char *text, GError **error)
{
	for (size_t left = strlen(text); left;) {
		ssize_t sent = send(fd, text, left, MSG_NOSIGNAL);
		if (sent <= 0)
			return error_set_errno(error, errno, "cannot ask Open vSwitch's database");
		text += sent;
		left -= sent;
	}
	return true;
}

/* The reply; what the server says by itself meanwhile (echo) needs none in so short a session. */
static json_t *receive(int fd, struct json_stream *stream, GError **error)
{
	const gint64 end = g_get_monotonic_time() + LIMIT_S * G_TIME_SPAN_SECOND;
	char buffer[4096];
	do {
		ssize_t got = recv(fd, buffer, sizeof(buffer), 0);
		if (got < 0) {
			error_set_errno(error, errno, "Open vSwitch's database does not answer");
			return NULL;
		}
		if (got == 0)
			break;
		const char *data = buffer;
		size_t length = got;
		json_t *value = NULL;
		GError *cause = NULL;
		while (json_stream_next(stream, &data, &length, &value, &cause)) {
			if (cause) {
				g_propagate_prefixed_error(error, cause, "Open vSwitch's database: ");
				return NULL;
			}
			if (json_object_get(value, "result"))
				return value;
			json_decref(value);
		}
	} while (g_get_monotonic_time() < end);
	error_set(error, BERTH_ERR_IO, "Open vSwitch's database does not answer");
	return NULL;
}

static bool check_one(const json_t *result, GError **error)
{
	const char *name = json_string_value(json_object_get(result, "error"));
	const char *details = json_string_value(json_object_get(result, "details"));
	return !name || error_set(error, BERTH_ERR_IO, "Open vSwitch's database refuses the change: %s%s%s",
				  name, details ? ": " : "", details ? details : "");
}

/* A failed operation says so in its place, a failed commit behind the last one (RFC 7047, 4.1.3). */
static json_t *take_results(json_t *reply, GError **error)
{
	json_t *results = json_incref(json_object_get(reply, "result"));
	bool good = json_is_array(results) ||
		    error_set(error, BERTH_ERR_IO, "Open vSwitch's database refuses the request");
	for (size_t i = 0; good && i < json_array_size(results); i++)
		good = check_one(json_array_get(results, i), error);
	json_decref(reply);
	if (good)
		return results;
	json_decref(results);
	return NULL;
}

json_t *ovsdb_transact(const char *path, json_t *operations, GError **error)
{
	json_array_insert_new(operations, 0, json_string(DATABASE));
	json_t *request = json_pack("{s:s, s:o, s:i}", "method", "transact", "params", operations, "id", 1);
	char *text = json_dumps(request, JSON_COMPACT);
	json_t *reply = NULL;
	auto_fd fd = open_socket(path, error);
	if (fd >= 0 && send_all(fd, text, error)) {
		struct json_stream stream;
		json_stream_init(&stream);
		reply = receive(fd, &stream, error);
		json_stream_clear(&stream);
	}
	free(text);
	json_decref(request);
	return reply ? take_results(reply, error) : NULL;
}

/* --- Values ----------------------------------------------------------------------------------- */

json_t *ovsdb_map(const char *key, ...)
{
	json_t *pairs = json_array();
	va_list args;
	va_start(args, key);
	for (; key; key = va_arg(args, const char *)) {
		const char *value = va_arg(args, const char *);
		if (value)
			json_array_append_new(pairs, json_pack("[s, s]", key, value));
	}
	va_end(args);
	return json_pack("[s, o]", "map", pairs);
}

json_t *ovsdb_empty(void)
{
	return json_pack("[s, []]", "set");
}

json_t *ovsdb_named(const char *name)
{
	return json_pack("[s, s]", "named-uuid", name);
}

/* --- Operations ------------------------------------------------------------------------------- */

json_t *ovsdb_where(const char *column, const char *function, json_t *value)
{
	return json_pack("[[s, s, o]]", column, function, value);
}

json_t *ovsdb_select(const char *table, json_t *where, const char *column)
{
	return json_pack("{s:s, s:s, s:o, s:[s, s]}", "op", "select", "table", table, "where", where,
			 "columns", "_uuid", column);
}

json_t *ovsdb_insert(const char *table, const char *name, json_t *row)
{
	return json_pack("{s:s, s:s, s:s, s:o}", "op", "insert", "table", table, "uuid-name", name, "row", row);
}

json_t *ovsdb_update(const char *table, json_t *where, json_t *row)
{
	return json_pack("{s:s, s:s, s:o, s:o}", "op", "update", "table", table, "where", where, "row", row);
}

json_t *ovsdb_mutate(const char *table, json_t *where, const char *column, const char *mutator, json_t *value)
{
	return json_pack("{s:s, s:s, s:o, s:[[s, s, o]]}", "op", "mutate", "table", table, "where", where,
			 "mutations", column, mutator, value);
}

json_t *ovsdb_delete(const char *table, json_t *where)
{
	return json_pack("{s:s, s:s, s:o}", "op", "delete", "table", table, "where", where);
}
