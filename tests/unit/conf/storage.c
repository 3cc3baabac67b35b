/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/storage.h"

#include "base/error.h"

#include <string.h>

static void test_pool(void)
{
	auto_conf_pool pool = conf_pool_parse("<pool type='dir'><name>p</name><source/><target>"
					      "<path>//srv///a b/</path><permissions><mode>711</mode>"
					      "<owner>-1</owner><group>7</group>"
					      "</permissions></target></pool>", NULL);
	g_assert_nonnull(pool);
	g_assert_cmpstr(pool->path, ==, "/srv/a b");
	g_assert_cmpuint(pool->permissions.mode, ==, 0711);
	g_assert_cmpuint(pool->permissions.owner, ==, CONF_UNSET);
	g_autofree char *xml = conf_pool_format(pool, NULL, NULL);
	g_assert_nonnull(strstr(xml, "<capacity unit='bytes'>0</capacity>"));
	g_assert_nonnull(strstr(xml, "    <permissions>\n      <mode>0711</mode>\n      <group>7</group>\n"));
	auto_conf_pool again = conf_pool_parse(xml, NULL);
	g_assert_cmpmem(again->uuid, 16, pool->uuid, 16);
	const struct conf_pool_usage usage = {3, 2, 1};
	const struct conf_permissions real = {0755, 1, 2};
	g_autofree char *live = conf_pool_format(pool, &usage, &real);
	g_assert_nonnull(strstr(live, "<available unit='bytes'>1</available>"));
	g_assert_nonnull(strstr(live, "<mode>0755</mode>\n      <owner>1</owner>"));
}

static void test_pool_refusals(void)
{
	static const struct {
		const char *xml, *said;
		enum berth_error code;
	} cases[] = {
		{"<pool type='dir'><name>p</name><target><path>x</path></target></pool>",
		 "must be absolute", BERTH_ERR_INVALID},
		{"<pool type='dir'><name>p</name><uuid>1</uuid><target><path>/</path></target></pool>",
		 "malformed uuid", BERTH_ERR_INVALID},
		{"<pool type='netfs'><name>p</name></pool>", "pool type 2 (netfs)", BERTH_ERR_INTERNAL},
		{"<pool type='dir'><source><dir path='/'/></source></pool>", "<dir> in <source>",
		 BERTH_ERR_NOT_SUPPORTED},
		{"<pool type='dir'><target><permissions><label>l</label></permissions></target></pool>",
		 "<label> in <permissions>", BERTH_ERR_NOT_SUPPORTED},
		{"<pool type='dir' x='1'/>", "the attribute 'x'", BERTH_ERR_NOT_SUPPORTED},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		g_assert_null(conf_pool_parse(cases[i].xml, &error));
		g_assert_error(error, BERTH_ERROR, (int)cases[i].code);
		g_assert_nonnull(strstr(error->message, cases[i].said));
	}
}

static struct conf_volume *parse_size(const char *attributes, const char *number, GError **error)
{
	g_autofree char *xml = g_strdup_printf("<volume><name>v</name><capacity%s>%s</capacity></volume>",
					       attributes, number);
	return conf_volume_parse(xml, error);
}

static void test_sizes(void)
{
	static const struct {
		const char *unit, *number;
		uint64_t bytes;
	} good[] = {
		{"", "5", 5}, {" unit=''", "5", 5}, {" unit='B'", "5", 5}, {" unit='bytes'", "5", 5},
		{" unit='k'", "2", 2048}, {" unit='KB'", "2", 2000}, {" unit='KiB'", "2", 2048},
		{" unit='m'", "3", 3 << 20}, {" unit='GB'", "1", 1000000000}, {" unit='E'", "7", 7ULL << 60},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(good); i++) {
		auto_conf_volume volume = parse_size(good[i].unit, good[i].number, NULL);
		g_assert_nonnull(volume);
		g_assert_cmpuint(volume->capacity, ==, good[i].bytes);
	}
	static const char *const bad[][2] = {
		{" unit='x'", "1"}, {" unit='kiloB'", "1"}, {"", "-1"}, {"", ""}, {"", "0x10"},
		{" unit='E'", "8"}, {"", "18446744073709551616"}, {" unit='BB'", "1"},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autoptr(GError) error = NULL;
		g_assert_null(parse_size(bad[i][0], bad[i][1], &error));
		g_assert_error(error, BERTH_ERROR, BERTH_ERR_INVALID);
	}
}

static void test_volume(void)
{
	auto_conf_volume volume = conf_volume_parse(
		"<volume type='file'><name>v</name><key>/k</key><capacity unit='M'>2</capacity>"
		"<allocation>0</allocation><target><path>/elsewhere</path><format type='qcow2'/>"
		"<permissions><mode>0640</mode></permissions>"
		"<compat>1.1</compat><features><lazy_refcounts/></features></target>"
		"<backingStore><path>base</path></backingStore></volume>", NULL);
	g_assert_nonnull(volume);
	g_assert_true(volume->has_capacity && volume->has_allocation && volume->lazy_refcounts);
	g_assert_null(volume->path); /* its place is the pool's to say */
	g_assert_cmpuint(volume->allocation, ==, 0);
	g_assert_cmpstr(volume->backing.path, ==, "base");
	g_assert_null(volume->backing.format);
	volume->path = g_strdup("/p/v");
	volume->times = (struct conf_times){true, {1, 5}, {2, 0}, {3, 0}};
	g_autofree char *xml = conf_volume_format(volume);
	g_assert_nonnull(strstr(xml, "<key>/p/v</key>"));
	g_assert_nonnull(strstr(xml, "<atime>1.000000005</atime>\n      <mtime>2</mtime>"));
	g_assert_nonnull(strstr(xml, "<features>\n      <lazy_refcounts/>\n    </features>"));
	auto_conf_volume overlay = conf_volume_parse(
		"<volume><name>v</name><backingStore><path>b</path></backingStore></volume>", NULL);
	g_assert_nonnull(overlay);
	g_assert_false(overlay->has_capacity);
	g_assert_null(conf_volume_parse("<volume><name>v</name></volume>", NULL));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/storage/pool", test_pool);
	g_test_add_func("/storage/pool-refusals", test_pool_refusals);
	g_test_add_func("/storage/sizes", test_sizes);
	g_test_add_func("/storage/volume", test_volume);
	return g_test_run();
}
