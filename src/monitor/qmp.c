/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A QMP connection (QEMU's docs/interop/qmp-spec): greeting, negotiation, then commands one after
 * the other; answers in the order of commands, events in between. Out-of-band execution is not
 * offered.
 */
#include "internal.h"

#include "base/error.h"

#include <string.h>

struct qmp_session {
	struct session base;
	struct json_stream stream;
	bool negotiated, pretty;
};

static void send_json(struct qmp_session *qmp, const json_t *message)
{
	char *text = json_dumps(message, qmp->pretty ? JSON_INDENT(4) : 0);
	g_autofree char *line = g_strconcat(text, "\r\n", NULL);
	free(text);
	session_write(&qmp->base, line, strlen(line));
}

static const char *class_name(const GError *error)
{
	static const char *const names[] = {
		[QMP_ERROR_GENERIC] = "GenericError",
		[QMP_ERROR_COMMAND_NOT_FOUND] = "CommandNotFound",
		[QMP_ERROR_DEVICE_NOT_ACTIVE] = "DeviceNotActive",
		[QMP_ERROR_DEVICE_NOT_FOUND] = "DeviceNotFound",
	};
	return error->domain == QMP_ERROR ? names[error->code] : names[QMP_ERROR_GENERIC];
}

static void send_error(struct qmp_session *qmp, const json_t *id, const GError *error)
{
	/* Texts may quote bytes that a client or a file sent; JSON needs valid UTF-8. */
	g_autofree char *text = g_utf8_make_valid(error->message, -1);
	json_t *message = json_pack("{s:{s:s, s:s}}", "error", "class", class_name(error), "desc",
				    text);
	if (id)
		json_object_set(message, "id", (json_t *)id);
	send_json(qmp, message);
	json_decref(message);
}

/* The shape of a request, without looking at what is asked. */
static bool check_request(const json_t *request, GError **error)
{
	static const char *const members[] = {"execute", "arguments", "id", NULL};
	const char *key;
	json_t *value;
	if (!json_is_object(request))
		return error_set(error, BERTH_ERR_INVALID, "QMP input must be a JSON object");
	json_object_foreach((json_t *)request, key, value) {
		if (!g_strv_contains(members, key))
			return error_set(error, BERTH_ERR_INVALID,
					 "QMP input member '%s' is unexpected", key);
	}
	const json_t *execute = json_object_get(request, "execute");
	const json_t *arguments = json_object_get(request, "arguments");
	if (!execute)
		return error_set(error, BERTH_ERR_INVALID, "QMP input lacks member 'execute'");
	if (!json_is_string(execute))
		return error_set(error, BERTH_ERR_INVALID,
				 "QMP input member 'execute' must be a string");
	if (arguments && !json_is_object(arguments))
		return error_set(error, BERTH_ERR_INVALID,
				 "QMP input member 'arguments' must be an object");
	return true;
}

static bool enables_known(const json_t *arguments, GError **error)
{
	const json_t *enable = json_object_get(arguments, "enable");
	if (enable && !json_is_array(enable))
		return error_set(error, BERTH_ERR_INVALID,
				 "Invalid parameter type for 'enable', expected: array");
	if (json_array_size(enable) > 0)
		return error_set(error, BERTH_ERR_INVALID,
				 "Capability '%s' is not available: the greeting offers none",
				 json_is_string(json_array_get(enable, 0)) ?
					 json_string_value(json_array_get(enable, 0)) :
					 "?");
	return true;
}

static json_t *execute(struct qmp_session *qmp, const json_t *request, GError **error)
{
	if (!check_request(request, error))
		return NULL;
	const char *name = json_string_value(json_object_get(request, "execute"));
	const json_t *arguments = json_object_get(request, "arguments");
	bool capabilities = strcmp(name, "qmp_capabilities") == 0;
	if (capabilities && qmp->negotiated)
		return qmp_error(error, QMP_ERROR_COMMAND_NOT_FOUND,
				 "Capabilities negotiation is already complete, command ignored");
	if (!capabilities && !qmp->negotiated)
		return qmp_error(error, QMP_ERROR_COMMAND_NOT_FOUND,
				 "Expecting capabilities negotiation with 'qmp_capabilities'");
	if (capabilities && !enables_known(arguments, error))
		return NULL;
	struct monitor_server *server = qmp->base.server;
	struct session *outer = server->executing;
	server->executing = &qmp->base;
	json_t *result = monitor_execute(server, name, arguments, error);
	server->executing = outer;
	if (result && capabilities)
		qmp->negotiated = true;
	return result;
}

static void handle_request(struct qmp_session *qmp, const json_t *request)
{
	g_autoptr(GError) error = NULL;
	json_t *id = json_object_get(request, "id"); /* NULL if it is no object */
	json_t *result = execute(qmp, request, &error);
	if (!result) {
		send_error(qmp, id, error);
		return;
	}
	json_t *message = json_pack("{s:o}", "return", result);
	if (id)
		json_object_set(message, "id", id);
	send_json(qmp, message);
	json_decref(message);
}

static void qmp_input(struct session *session, const char *data, size_t length)
{
	struct qmp_session *qmp = (struct qmp_session *)session;
	json_t *request = NULL;
	g_autoptr(GError) error = NULL;
	while (json_stream_next(&qmp->stream, &data, &length, &request, &error)) {
		if (request)
			handle_request(qmp, request);
		else
			send_error(qmp, NULL, error);
		json_decref(request);
		request = NULL;
		g_clear_error(&error);
	}
}

static void qmp_opened(struct session *session)
{
	struct qmp_session *qmp = (struct qmp_session *)session;
	qmp->negotiated = false;
	json_t *greeting = json_pack("{s:{s:o, s:[]}}", "QMP", "version",
				     monitor_version(session->server), "capabilities");
	send_json(qmp, greeting);
	json_decref(greeting);
}

static void qmp_closed(struct session *session)
{
	struct qmp_session *qmp = (struct qmp_session *)session;
	json_stream_clear(&qmp->stream);
	json_stream_init(&qmp->stream);
}

static void qmp_event(struct session *session, const json_t *message)
{
	struct qmp_session *qmp = (struct qmp_session *)session;
	if (!qmp->negotiated)
		return;
	/* A client that never reads must not make the VM's memory grow without end. */
	if (session->out->len <= SESSION_OUT_MAX)
		send_json(qmp, message);
}

static void qmp_free(struct session *session)
{
	struct qmp_session *qmp = (struct qmp_session *)session;
	json_stream_clear(&qmp->stream);
	g_free(qmp);
}

struct session *qmp_session_new(bool pretty)
{
	struct qmp_session *qmp = g_new0(struct qmp_session, 1);
	qmp->base = (struct session){
		.opened = qmp_opened,
		.closed = qmp_closed,
		.input = qmp_input,
		.event = qmp_event,
		.free = qmp_free,
	};
	qmp->pretty = pretty;
	json_stream_init(&qmp->stream);
	return &qmp->base;
}
