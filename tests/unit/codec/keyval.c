/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "codec/keyval.h"

#include "base/error.h"
#include "base/units.h"

#include <string.h>

static void test_parse(void)
{
	static const struct {
		const char *text, *implied, *formatted;
	} good[] = {
		{"virtio-blk-pci,drive=d0", "driver", "virtio-blk-pci,drive=d0"},
		{"file=a,,b,id=x", NULL, "file=a,,b,id=x"},
		{"path=,,", NULL, "path=,,"},
		{"x=a,,,y=b", NULL, "x=a,,,y=b"},
		{"server,nowait", NULL, "server=on,nowait=on"},
		{"disk,,1.img", "file", "disk,,1.img"},
		{"a==b", NULL, "a==b"},
		{"", "file", ""},
		{"driver=a=b", "driver", "driver=a=b"},
		{"a=", NULL, "a="},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(good); i++) {
		g_autoptr(GError) error = NULL;
		auto_keyval kv = keyval_parse(good[i].text, good[i].implied, &error);
		g_assert_no_error(error);
		g_autofree char *text = keyval_format(kv, good[i].implied);
		g_assert_cmpstr(text, ==, good[i].formatted);
	}
	g_autoptr(GError) error = NULL;
	g_assert_null(keyval_parse("a=1,=2", NULL, &error));
	g_assert_error(error, BERTH_ERROR, BERTH_ERR_INVALID);
}

static void test_escape(void)
{
	auto_keyval kv = keyval_parse("file=a,,b,,,id=x", NULL, NULL);
	g_assert_cmpstr(keyval_get(kv, "file"), ==, "a,b,");
	g_assert_cmpstr(keyval_get(kv, "id"), ==, "x");
	g_assert_null(keyval_get(kv, "nothing"));
	keyval_add(kv, "id", "y");
	g_assert_cmpstr(keyval_get(kv, "id"), ==, "y");
	g_autofree char *taken = keyval_take(kv, "id");
	g_assert_cmpstr(taken, ==, "y");
	g_assert_cmpuint(keyval_count(kv), ==, 1);
}

struct thing {
	char *name;
	bool quiet;
	enum conf_switch share;
	unsigned count;
	uint64_t size;
	int mode;
};

static const char *const modes[] = {"", "slow", "fast", NULL};
static const struct keyval_field fields[] = {
	{"name", KEYVAL_STRING, offsetof(struct thing, name)},
	{"quiet", KEYVAL_BOOL, offsetof(struct thing, quiet)},
	{"share", KEYVAL_SWITCH, offsetof(struct thing, share)},
	{"count", KEYVAL_UINT, offsetof(struct thing, count), 1, 8},
	{"size", KEYVAL_SIZE, offsetof(struct thing, size), MIB},
	{"mode", KEYVAL_ENUM, offsetof(struct thing, mode), .names = modes},
	{"colour", KEYVAL_REFUSED, .help = "Berth is monochrome"},
	{"magic", KEYVAL_OFF, .help = "there is none"},
	{NULL},
};

static void test_bind(void)
{
	g_autoptr(GError) error = NULL;
	auto_keyval kv =
		keyval_parse("x,quiet,noshare,count=3,size=5,mode=fast", "name", &error);
	keyval_add(kv, "magic", "off");
	struct thing thing = {0};
	g_assert_true(keyval_bind(kv, fields, &thing, "-thing", NULL, &error));
	g_assert_no_error(error);
	g_assert_cmpstr(thing.name, ==, "x");
	g_assert_true(thing.quiet);
	g_assert_cmpint(thing.share, ==, CONF_SWITCH_OFF);
	g_assert_cmpuint(thing.count, ==, 3);
	g_assert_cmpuint(thing.size, ==, 5 * MIB);
	g_assert_cmpint(thing.mode, ==, 2);

	auto_keyval back = keyval_new();
	keyval_unbind(back, fields, &thing);
	g_autofree char *text = keyval_format(back, "name");
	g_assert_cmpstr(text, ==, "x,quiet=on,share=off,count=3,size=5M,mode=fast");
	keyval_clear(fields, &thing);
	g_assert_null(thing.name);
}

static void test_bind_errors(void)
{
	static const struct {
		const char *text, *message;
	} bad[] = {
		{"cuont=3", "-thing has no property 'cuont': did you mean 'count'?"},
		{"zzzzzz=3",
		 "-thing has no property 'zzzzzz': it has name, quiet, share, count, size, mode, magic"},
		{"count=9", "-thing: count: 9 is out of range: it can be from 1 to 8"},
		{"mode=off", "-thing: mode: 'off' is not one of slow, fast"},
		{"mode=", "-thing: mode: '' is not one of slow, fast"},
		{"colour=red", "-thing: colour: it is not supported: Berth is monochrome"},
		{"magic=on", "-thing: magic: it is not supported: there is none"},
		{"quiet=perhaps", "-thing: quiet: 'perhaps' is neither on nor off"},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autoptr(GError) error = NULL;
		struct thing thing = {0};
		auto_keyval kv = keyval_parse(bad[i].text, NULL, NULL);
		g_assert_false(keyval_bind(kv, fields, &thing, "-thing", NULL, &error));
		g_assert_cmpstr(error->message, ==, bad[i].message);
		keyval_clear(fields, &thing);
	}
	struct thing thing = {0};
	auto_keyval kv = keyval_parse("other=1,count=2", NULL, NULL);
	auto_keyval rest = keyval_new();
	g_assert_true(keyval_bind(kv, fields, &thing, "-thing", rest, NULL));
	g_assert_cmpstr(keyval_get(rest, "other"), ==, "1");
	g_assert_cmpuint(keyval_count(rest), ==, 1);
}

static void test_json_form(void)
{
	g_autoptr(GError) error = NULL;
	auto_keyval kv = keyval_parse_any(
		"{\"driver\":\"raw\",\"file\":{\"driver\":\"file\",\"filename\":\"a,b\"},"
		"\"read-only\":true,\"n\":7,\"l\":[\"x\",\"y\"]}",
		"driver", &error);
	g_assert_no_error(error);
	g_autofree char *text = keyval_format(kv, "driver");
	g_assert_cmpstr(text, ==,
			"raw,file.driver=file,file.filename=a,,b,read-only=on,n=7,l.0=x,l.1=y");
	g_assert_null(keyval_parse_any("{\"a\":null}", NULL, NULL));
	g_assert_null(keyval_parse_any("{\"a\":1", NULL, NULL));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/keyval/parse", test_parse);
	g_test_add_func("/keyval/escape", test_escape);
	g_test_add_func("/keyval/bind", test_bind);
	g_test_add_func("/keyval/bind-errors", test_bind_errors);
	g_test_add_func("/keyval/json", test_json_form);
	return g_test_run();
}
