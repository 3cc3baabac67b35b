/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A monitor's connection: the first byte chooses QMP or the human monitor and how the rest is cut
 * into reads. The commands behind it check nothing themselves: the room must have done so.
 */
#include "aio/loop.h"
#include "chardev/chardev.h"
#include "monitor/monitor.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct chardev {
	struct chardev_user user;
	size_t sent;
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
	/* Now and then the reader is slow. */
	chr->sent += length;
	return chr->sent % 7 ? length : length / 2;
}

bool chardev_is_open(const struct chardev *chr)
{
	return true;
}

/* No descriptors come with the fuzzer's bytes. */
int chardev_take_fd(struct chardev *chr)
{
	return -1;
}

bool chardev_is_mux(const struct chardev *chr)
{
	return false;
}

static json_t *run_echo(void *opaque, const json_t *args, GError **error)
{
	assert(json_is_string(json_object_get(args, "text")));
	const json_t *mode = json_object_get(args, "mode");
	assert(!mode || strcmp(json_string_value(mode), "soft") == 0 ||
	       strcmp(json_string_value(mode), "hard") == 0);
	const json_t *sizes = json_object_get(args, "sizes");
	size_t i;
	json_t *element;
	json_array_foreach(sizes, i, element)
		assert(json_integer_value(element) >= 0);
	return json_copy((json_t *)args);
}

static json_t *run_fail(void *opaque, const json_t *args, GError **error)
{
	return qmp_error(error, QMP_ERROR_DEVICE_NOT_FOUND, "no '%s'",
			 json_string_value(json_object_get(args, "id")));
}

static json_t *run_human(void *opaque, const json_t *args, GError **error)
{
	struct monitor_server *const *server = opaque;
	g_autofree char *text = monitor_execute_human(
		*server, json_string_value(json_object_get(args, "command-line")));
	g_autofree char *valid = g_utf8_make_valid(text, -1);
	return json_string(valid);
}

static const struct qmp_command commands[] = {
	{"qmp_capabilities", "enable?:[str]", NULL, run_fail},
	{"echo", "text:str mode?:Mode sizes?:[size] inner?:Inner flag?:bool", "any", run_echo},
	{"fail", "id:str", NULL, run_fail, true},
	{"human-monitor-command", "command-line:str cpu-index?:int", "str", run_human},
	{NULL},
};
static const struct qmp_type types[] = {
	{"Mode", "=soft hard"},
	{"Inner", "mode:Mode next?:Inner"},
	{NULL},
};

static void hmp_echo(void *opaque, struct hmp_call *call)
{
	assert(call->count >= 1);
	hmp_printf(call, "%s\n", call->rest);
	json_decref(hmp_qmp(call, "echo", json_pack("{s:s}", "text", "x")));
}

static const struct hmp_command human[] = {
	{"echo", "e", "text", "say it", 1, 0, hmp_echo},
	{"info echo", NULL, "[-a]", "say it", 1, 2, hmp_echo},
	{NULL},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	static struct aio_loop *loop;
	if (!loop)
		loop = aio_loop_new(NULL);
	struct chardev chr = {0};
	struct monitor_server *server = monitor_server_new(loop, "fuzz");
	const struct qmp_table table = {commands, types, NULL, &server};
	monitor_add_qmp(server, &table);
	monitor_add_hmp(server, human, NULL);
	bool control = data[0] & 1;
	size_t step = 1 + (data[0] >> 1) * 8;
	monitor_attach(server, &chr, control, data[0] & 2, NULL);
	static const char negotiate[] = "{\"execute\":\"qmp_capabilities\"}";
	if (control)
		chr.user.read(chr.user.opaque, (const uint8_t *)negotiate, sizeof(negotiate) - 1);
	for (size_t at = 1; at < size; at += step)
		chr.user.read(chr.user.opaque, data + at, MIN(step, size - at));
	chr.user.writable(chr.user.opaque);
	monitor_server_free(server);
	return 0;
}
