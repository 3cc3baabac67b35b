/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "codec/json.h"

#include "base/error.h"

#include <string.h>

/* Feed `text` in pieces of `step` bytes; what comes out, one value per line, errors as "!". */
static char *cut(const char *text, size_t step)
{
	struct json_stream stream;
	GString *out = g_string_new(NULL);
	json_stream_init(&stream);
	for (size_t at = 0, total = strlen(text); at < total; at += step) {
		const char *data = text + at;
		size_t length = MIN(step, total - at);
		json_t *value = NULL;
		g_autoptr(GError) error = NULL;
		while (json_stream_next(&stream, &data, &length, &value, &error)) {
			char *dump = value ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
			g_string_append_printf(out, "%s\n", dump ? dump : "!");
			free(dump);
			json_decref(value);
			value = NULL;
			g_clear_error(&error);
		}
	}
	json_stream_clear(&stream);
	return g_string_free(out, FALSE);
}

static void test_stream(void)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{"{\"a\":1}{\"b\":[1,2]}", "{\"a\":1}\n{\"b\":[1,2]}\n"},
		{" {'execute':'stop'}\r\n", "{\"execute\":\"stop\"}\n"},
		{"{'a':'say \"hi\"'}", "{\"a\":\"say \\\"hi\\\"\"}\n"},
		{"{'a':'it\\'s'}", "{\"a\":\"it's\"}\n"},
		{"{\"a\":\"}{\"}", "{\"a\":\"}{\"}\n"},
		{"{\"a\":1\xff{\"b\":2}", "{\"b\":2}\n"},
		{"nonsense {}", "!\n{}\n"},
		{"}{\"a\":1}", "!\n{\"a\":1}\n"},
		{"{\"a\" 1}{\"b\":1}", "!\n{\"b\":1}\n"},
		{"42 ", "42\n"},
		{"{\"a\":", ""},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		for (size_t step = 1; step < 40; step += 6) {
			g_autofree char *out = cut(cases[i].in, step);
			g_assert_cmpstr(out, ==, cases[i].out);
		}
	}
}

static void test_depth(void)
{
	GString *deep = g_string_new(NULL);
	for (unsigned i = 0; i < 100000; i++)
		g_string_append(deep, i % 2 ? "{\"a\":" : "[");
	g_string_append(deep, "\n{\"ok\":1}");
	g_autofree char *out = cut(deep->str, 4096);
	g_assert_cmpstr(out, ==, "!\n{\"ok\":1}\n");
	g_assert_null(json_parse_text(deep->str, deep->len, NULL));
	g_string_free(deep, TRUE);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/json/stream", test_stream);
	g_test_add_func("/json/depth", test_depth);
	return g_test_run();
}
