/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP and HMP sessions over a stream that the test plays, with a VM of two commands. */
#include "aio/loop.h"
#include "base/error.h"
#include "chardev/chardev.h"
#include "monitor/monitor.h"

#include <string.h>

/* --- a stream ------------------------------------------------------------------------------------ */

struct chardev {
	struct chardev_user user;
	GString *sent;
	bool open, mux;
	size_t room; /* how much it takes before the reader is slow */
};

bool chardev_attach(struct chardev *chr, const struct chardev_user *user, GError **error)
{
	chr->user = *user;
	return true;
}

void chardev_detach(struct chardev *chr, void *opaque)
{
	chr->user = (struct chardev_user){0};
}

void chardev_accept_input(struct chardev *chr)
{
}

size_t chardev_write(struct chardev *chr, const void *data, size_t length)
{
	length = MIN(length, chr->room);
	chr->room -= length;
	g_string_append_len(chr->sent, data, length);
	return length;
}

int chardev_take_fd(struct chardev *chr)
{
	return -1;
}

bool chardev_is_open(const struct chardev *chr)
{
	return chr->open;
}

bool chardev_is_mux(const struct chardev *chr)
{
	return chr->mux;
}

/* --- a VM ---------------------------------------------------------------------------------------- */

static json_t *run_status(void *opaque, const json_t *args, GError **error)
{
	return json_pack("{s:s, s:b}", "status", "running", "running", 1);
}

static json_t *run_eject(void *opaque, const json_t *args, GError **error)
{
	return qmp_error(error, QMP_ERROR_DEVICE_NOT_FOUND, "Device '%s' not found",
			 json_string_value(json_object_get(args, "device")));
}

static const struct qmp_command commands[] = {
	{"qmp_capabilities", "enable?:[str]", NULL, run_status},
	{"query-status", NULL, "StatusInfo", run_status},
	{"eject", "device:str force?:bool mode?:Mode sizes?:[size]", NULL, run_eject},
	{NULL},
};
static const struct qmp_type types[] = {
	{"StatusInfo", "status:str running:bool"},
	{"Mode", "=soft hard"},
	{NULL},
};
static const struct qmp_event events[] = {
	{"STOP"},
	{"BALLOON_CHANGE", "actual:size", true},
	{NULL},
};
static const struct qmp_table table = {commands, types, events, NULL};

static void hmp_status(void *opaque, struct hmp_call *call)
{
	json_t *status = hmp_qmp(call, "query-status", NULL);
	hmp_printf(call, "VM status: %s\n", json_string_value(json_object_get(status, "status")));
	json_decref(status);
}

static void hmp_eject(void *opaque, struct hmp_call *call)
{
	hmp_printf(call, "<%s>", call->rest);
	json_decref(hmp_qmp(call, "eject", json_pack("{s:s}", "device", call->words[0])));
}

static const struct hmp_command human[] = {
	{"info status", NULL, NULL, "show status", 0, 0, hmp_status},
	{"eject", "e", "device", "open a tray", 1, 1, hmp_eject},
	{NULL},
};

struct fixture {
	struct aio_loop *loop;
	struct monitor_server *server;
	struct chardev chr;
};

static void set_up(struct fixture *f, bool control)
{
	*f = (struct fixture){.loop = aio_loop_new(NULL), .chr = {.open = true, .room = SIZE_MAX}};
	f->chr.sent = g_string_new(NULL);
	f->server = monitor_server_new(f->loop, "Berth 9");
	monitor_add_qmp(f->server, &table);
	monitor_add_hmp(f->server, human, NULL);
	g_assert_true(monitor_attach(f->server, &f->chr, control, false, NULL));
}

static void tear_down(struct fixture *f)
{
	monitor_server_free(f->server);
	aio_loop_free(f->loop);
	g_string_free(f->chr.sent, TRUE);
}

static void type(struct fixture *f, const char *text)
{
	g_string_truncate(f->chr.sent, 0);
	f->chr.user.read(f->chr.user.opaque, (const uint8_t *)text, strlen(text));
}

#define assert_sent(f, text) g_assert_cmpstr((f)->chr.sent->str, ==, text)

static void test_negotiation(void)
{
	struct fixture f;
	set_up(&f, true);
	assert_sent(&f, "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 22, \"minor\": 2, \"major\": 7}, "
			"\"package\": \"Berth 9\"}, \"capabilities\": []}}\r\n");
	type(&f, "{'execute':'query-status','id':[1,{'a':2}]}");
	assert_sent(&f, "{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"Expecting capabilities "
			"negotiation with 'qmp_capabilities'\"}, \"id\": [1, {\"a\": 2}]}\r\n");
	g_string_truncate(f.chr.sent, 0);
	monitor_emit(f.server, "STOP", NULL);
	assert_sent(&f, "");
	type(&f, "{'execute':'qmp_capabilities','arguments':{'enable':['oob']}}");
	g_assert_nonnull(strstr(f.chr.sent->str, "Capability 'oob' is not available"));
	type(&f, "{'execute':'qmp_capabilities'}");
	g_assert_nonnull(strstr(f.chr.sent->str, "return"));
	type(&f, "{'execute':'qmp_capabilities'}");
	g_assert_nonnull(strstr(f.chr.sent->str, "already complete"));
	type(&f, "{'execute':'query-status','id':7}");
	assert_sent(&f, "{\"return\": {\"status\": \"running\", \"running\": true}, \"id\": 7}\r\n");

	/* A new connection negotiates anew. */
	f.chr.user.event(f.chr.user.opaque, CHARDEV_CLOSED);
	f.chr.user.event(f.chr.user.opaque, CHARDEV_OPENED);
	type(&f, "{'execute':'query-status'}");
	g_assert_nonnull(strstr(f.chr.sent->str, "Expecting capabilities"));
	tear_down(&f);
}

static void test_bad_requests(void)
{
	static const struct {
		const char *request, *class, *desc;
	} cases[] = {
		{"{'execute':'sotp'}", "CommandNotFound", "The command sotp has not been found"},
		{"{'execute':'eject'}", "GenericError", "Parameter 'device' is missing"},
		{"{'execute':'eject','arguments':{'device':1}}", "GenericError",
		 "Invalid parameter type for 'device', expected: string"},
		{"{'execute':'eject','arguments':{'device':'a','x':1}}", "GenericError",
		 "Parameter 'x' is unexpected"},
		{"{'execute':'eject','arguments':{'device':'a','mode':'odd'}}", "GenericError",
		 "Invalid parameter 'odd': 'mode' is one of soft hard"},
		{"{'execute':'eject','arguments':{'device':'a','sizes':[1,-1]}}", "GenericError",
		 "Invalid parameter type for 'sizes', expected: integer"},
		{"{'execute':'eject','arguments':{'device':'a'}}", "DeviceNotFound",
		 "Device 'a' not found"},
		{"{'execute':'eject','arguments':[]}", "GenericError",
		 "QMP input member 'arguments' must be an object"},
		{"{'execute':1}", "GenericError", "QMP input member 'execute' must be a string"},
		{"{'exec':'stop'}", "GenericError", "QMP input member 'exec' is unexpected"},
		{"{}", "GenericError", "QMP input lacks member 'execute'"},
		{"[1]", "GenericError", "QMP input must be a JSON object"},
	};
	struct fixture f;
	set_up(&f, true);
	type(&f, "{'execute':'qmp_capabilities'}");
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		type(&f, cases[i].request);
		g_autofree char *expected =
			g_strdup_printf("{\"error\": {\"class\": \"%s\", \"desc\": \"%s\"}}\r\n",
					cases[i].class, cases[i].desc);
		assert_sent(&f, expected);
	}
	type(&f, "{'execute': nonsense}\n");
	g_assert_nonnull(strstr(f.chr.sent->str, "JSON parse error"));
	type(&f, "{'execute':'query-status'}");
	g_assert_nonnull(strstr(f.chr.sent->str, "running"));
	tear_down(&f);
}

static void test_events(void)
{
	struct fixture f;
	set_up(&f, true);
	type(&f, "{'execute':'qmp_capabilities'}");
	g_string_truncate(f.chr.sent, 0);
	monitor_emit(f.server, "STOP", NULL);
	g_assert_nonnull(strstr(f.chr.sent->str, "\"event\": \"STOP\"}\r\n"));
	g_assert_nonnull(strstr(f.chr.sent->str, "{\"timestamp\": {\"seconds\": "));
	/* The first at once, then the last one of the second. */
	g_string_truncate(f.chr.sent, 0);
	for (int i = 1; i <= 5; i++)
		monitor_emit(f.server, "BALLOON_CHANGE", json_pack("{s:i}", "actual", i));
	g_assert_nonnull(strstr(f.chr.sent->str, "{\"actual\": 1}"));
	g_assert_null(strstr(f.chr.sent->str, "{\"actual\": 5}"));
	int64_t deadline = aio_now_ns() + 3000000000;
	while (aio_now_ns() < deadline && !strstr(f.chr.sent->str, "{\"actual\": 5}"))
		aio_loop_iterate(f.loop, 100000000);
	g_assert_nonnull(strstr(f.chr.sent->str, "{\"actual\": 5}"));
	g_assert_null(strstr(f.chr.sent->str, "{\"actual\": 4}"));
	tear_down(&f);
}

/* A client that does not read: bounded memory, and everything in order when it reads again. */
static void test_slow_reader(void)
{
	struct fixture f;
	set_up(&f, true);
	type(&f, "{'execute':'qmp_capabilities'}");
	f.chr.room = 10;
	for (unsigned i = 0; i < 400000; i++)
		monitor_emit(f.server, "STOP", NULL);
	g_assert_cmpuint(f.chr.user.can_read(f.chr.user.opaque), ==, 0);
	f.chr.room = SIZE_MAX;
	g_string_truncate(f.chr.sent, 0);
	f.chr.user.writable(f.chr.user.opaque);
	g_assert_cmpuint(f.chr.sent->len, <, 17 << 20);
	g_assert_cmpuint(f.chr.user.can_read(f.chr.user.opaque), >, 0);
	tear_down(&f);
}

static void test_schema(void)
{
	struct fixture f;
	set_up(&f, true);
	json_t *schema = monitor_schema(f.server);
	char *text = json_dumps(schema, 0);
	static const char *const parts[] = {
		"{\"name\": \"query-status\", \"meta-type\": \"command\", \"arg-type\": \"q_empty\", "
		"\"ret-type\": \"StatusInfo\"}",
		"{\"name\": \"STOP\", \"meta-type\": \"event\", \"arg-type\": \"q_empty\"}",
		"{\"name\": \"force\", \"type\": \"bool\", \"default\": null}",
		"{\"name\": \"[int]\", \"meta-type\": \"array\", \"element-type\": \"int\"}",
		"\"values\": [\"soft\", \"hard\"]",
		"{\"name\": \"str\", \"meta-type\": \"builtin\", \"json-type\": \"string\"}",
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(parts); i++)
		g_assert_nonnull(strstr(text, parts[i]));
	free(text);
	json_decref(schema);
	tear_down(&f);
}

static void test_human(void)
{
	static const struct {
		const char *line, *output;
	} cases[] = {
		{"info status", "VM status: running\n"},
		{"  info   status ", "VM status: running\n"},
		{"", ""},
		{"eject \"a b\"", "<\"a b\">Error: Device 'a b' not found\n"},
		{"e cd0", "<cd0>Error: Device 'cd0' not found\n"},
		{"eject", "eject: wrong number of arguments\nusage: eject device\n"},
		{"ejekt", "unknown command: 'ejekt': did you mean 'eject'?\n"},
		{"info sattus", "unknown command: 'info sattus': did you mean 'info status'?\n"},
		{"help eject", "eject|e device -- open a tray\n"},
		{"info", "info status -- show status\n"},
	};
	struct fixture f;
	set_up(&f, true);
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *output = monitor_execute_human(f.server, cases[i].line);
		g_assert_cmpstr(output, ==, cases[i].output);
	}
	tear_down(&f);
}

static void test_line_editor(void)
{
	struct fixture f;
	set_up(&f, false);
	g_assert_nonnull(strstr(f.chr.sent->str, "Berth 9 monitor"));
	g_assert_true(g_str_has_suffix(f.chr.sent->str, "(qemu) "));
	type(&f, "info statusX\x7f\r\n");
	g_assert_nonnull(strstr(f.chr.sent->str, "VM status: running\r\n(qemu) "));
	type(&f, "\033[A\r"); /* again, from history */
	g_assert_nonnull(strstr(f.chr.sent->str, "VM status: running\r\n(qemu) "));
	type(&f, "info st\t\r"); /* completed */
	g_assert_nonnull(strstr(f.chr.sent->str, "VM status: running\r\n(qemu) "));
	type(&f, "status\001info \r"); /* to the start of the line, and insert */
	g_assert_nonnull(strstr(f.chr.sent->str, "VM status: running\r\n(qemu) "));
	type(&f, "garbage\025info status\r"); /* Ctrl-u */
	g_assert_nonnull(strstr(f.chr.sent->str, "VM status: running\r\n(qemu) "));
	type(&f, "\033[99999999999999D\033[3~\033\033[B\r");
	tear_down(&f);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/monitor/negotiation", test_negotiation);
	g_test_add_func("/monitor/bad-requests", test_bad_requests);
	g_test_add_func("/monitor/events", test_events);
	g_test_add_func("/monitor/slow-reader", test_slow_reader);
	g_test_add_func("/monitor/schema", test_schema);
	g_test_add_func("/monitor/human", test_human);
	g_test_add_func("/monitor/line-editor", test_line_editor);
	return g_test_run();
}
