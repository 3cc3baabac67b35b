/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/units.h"

#include "base/error.h"

static void test_size(void)
{
	static const struct {
		const char *text;
		uint64_t unit, bytes;
	} good[] = {
		{"512M", 1, 512 * MIB}, {"20G", 1, 20 * GIB},   {"1.5k", 1, 1536}, {"7", MIB, 7 * MIB},
		{"2GiB", 1, 2 * GIB},   {"2gb", 1, 2 * GIB},    {"100b", MIB, 100}, {"0", 1, 0},
	};
	static const char *const bad[] = {"", "x", "-1", "1Q", "1Mx", "9E", "99999999999999999999", ".", "1 M"};
	for (unsigned i = 0; i < G_N_ELEMENTS(good); i++) {
		g_autoptr(GError) error = NULL;
		uint64_t bytes = 1;
		g_assert_true(units_parse_size(good[i].text, good[i].unit, &bytes, &error));
		g_assert_no_error(error);
		g_assert_cmpuint(bytes, ==, good[i].bytes);
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autoptr(GError) error = NULL;
		uint64_t bytes;
		g_assert_false(units_parse_size(bad[i], 1, &bytes, &error));
		g_assert_error(error, BERTH_ERROR, BERTH_ERR_INVALID);
	}
}

static void test_number(void)
{
	uint64_t v = 0;
	g_assert_true(units_parse_number("0x10", 0, 100, &v, NULL));
	g_assert_cmpuint(v, ==, 16);
	g_assert_false(units_parse_number("101", 0, 100, &v, NULL));
	g_assert_false(units_parse_number("-1", 0, UINT64_MAX, &v, NULL));
	g_assert_false(units_parse_number("12z", 0, 100, &v, NULL));
}

static void test_bool(void)
{
	bool v = false;
	g_assert_true(units_parse_bool("on", &v, NULL) && v);
	g_assert_true(units_parse_bool("no", &v, NULL) && !v);
	g_assert_false(units_parse_bool("maybe", &v, NULL));
}

static void test_format(void)
{
	g_autofree char *a = units_format_size(1536), *b = units_format_size(512 * MIB);
	g_assert_cmpstr(a, ==, "1.5 KiB");
	g_assert_cmpstr(b, ==, "512 MiB");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/units/size", test_size);
	g_test_add_func("/units/number", test_number);
	g_test_add_func("/units/bool", test_bool);
	g_test_add_func("/units/format", test_format);
	return g_test_run();
}
