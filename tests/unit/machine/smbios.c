/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SMBIOS structures and -smbios arguments. */
#include "machine/smbios/smbios.h"

#include "base/bytes.h"
#include "base/error.h"
#include "base/units.h"

static const struct smbios_range ram[] = {{0, 2 * GIB}, {4 * GIB, 38 * GIB}};

static struct smbios_machine machine(void)
{
	return (struct smbios_machine){.product = "Test PC", .cpu_name = "Test CPU", .sockets = 2,
				       .cores = 3, .threads = 2, .ram = ram, .ram_count = 2};
}

static uint8_t sum(const uint8_t *p, unsigned n)
{
	uint8_t s = 0;
	while (n--)
		s += *p++;
	return s;
}

/* The n-th structure of `type`, checked to be whole, or NULL. */
static const uint8_t *find(const struct smbios_tables *t, uint8_t type, unsigned n)
{
	const uint8_t *p = t->tables->data, *end = p + t->tables->len;
	unsigned count = 0;
	const uint8_t *found = NULL;
	while (p < end) {
		const uint8_t *start = p;
		g_assert_cmpuint(p[1], >=, 4);
		p += p[1];
		while (p[0] || p[1])
			p++;
		p += 2;
		g_assert_true(p <= end);
		if (start[0] == type && n-- == 0)
			found = start;
		count++;
		g_assert_cmpint(start[0] == 127, ==, p == end);
	}
	g_assert_cmpuint(count, ==, t->count);
	return found;
}

static const char *text(const uint8_t *structure, unsigned offset)
{
	unsigned n = structure[offset];
	const char *p = (const char *)structure + structure[1];
	if (!n)
		return NULL;
	while (--n)
		p += strlen(p) + 1;
	return p;
}

static void test_default(void)
{
	struct smbios_machine m = machine();
	struct smbios_tables *t = smbios_build(NULL, &m);
	g_assert_cmpuint(find(t, 0, 0)[1], ==, 24);
	g_assert_cmpuint(find(t, 1, 0)[1], ==, 27);
	g_assert_cmpstr(text(find(t, 1, 0), 5), ==, "Test PC");
	g_assert_null(text(find(t, 1, 0), 7));
	g_assert_null(find(t, 2, 0));
	g_assert_cmpuint(find(t, 3, 0)[1], ==, 22);
	g_assert_cmpuint(find(t, 4, 1)[1], ==, 48);
	g_assert_cmpstr(text(find(t, 4, 1), 4), ==, "CPU 1");
	g_assert_cmpuint(find(t, 4, 0)[35], ==, 3);
	g_assert_cmpuint(find(t, 4, 0)[37], ==, 6);
	g_assert_null(find(t, 4, 2));
	g_assert_cmpuint(find(t, 16, 0)[1], ==, 23);
	g_assert_cmpuint(le32_load(find(t, 16, 0) + 7), ==, 40 * MIB);
	/* 40 GiB are two modules of 16 GiB and one of 8. */
	g_assert_cmpuint(find(t, 17, 0)[1], ==, 40);
	g_assert_cmpuint(le16_load(find(t, 17, 1) + 12), ==, 16384);
	g_assert_cmpuint(le16_load(find(t, 17, 2) + 12), ==, 8192);
	g_assert_null(find(t, 17, 3));
	g_assert_cmpuint(find(t, 19, 0)[1], ==, 31);
	g_assert_cmpuint(le32_load(find(t, 19, 1) + 4), ==, 4 * MIB);
	g_assert_cmpuint(find(t, 32, 0)[1], ==, 11);
	smbios_tables_free(t);

	m.firmware = true;
	t = smbios_build(NULL, &m);
	g_assert_null(find(t, 0, 0));
	smbios_tables_free(t);
}

static void test_anchors(void)
{
	struct smbios_machine m = machine();
	struct smbios_tables *t = smbios_build(NULL, &m);
	uint8_t a28[SMBIOS_ANCHOR_28_SIZE], a30[SMBIOS_ANCHOR_30_SIZE];
	smbios_anchor_28(t, 0xf0040, a28);
	smbios_anchor_30(t, 0xf0040, a30);
	g_assert_cmpuint(sum(a28, sizeof(a28)), ==, 0);
	g_assert_cmpuint(sum(a28 + 16, 15), ==, 0);
	g_assert_cmpuint(sum(a30, sizeof(a30)), ==, 0);
	g_assert_cmpuint(le16_load(a28 + 22), ==, t->tables->len);
	g_assert_cmpuint(le32_load(a28 + 24), ==, 0xf0040);
	g_assert_cmpuint(le16_load(a28 + 28), ==, t->count);
	g_assert_cmpuint(le64_load(a30 + 16), ==, 0xf0040);
	smbios_tables_free(t);
}

static void test_options(void)
{
	static const char *const arguments[] = {
		"type=0,vendor=Acme,release=4.2", "type=1,manufacturer=A,,B,serial=77,family=f",
		"type=1,uuid=00112233-4455-6677-8899-aabbccddeeff,sku=k", "type=2,product=board",
		"type=3,asset=tag", "type=4,sock_pfx=S,max-speed=3000", "type=11,value=one,value=two",
		"type=17,manufacturer=M,speed=3200",
	};
	struct smbios_options *o = smbios_options_new();
	for (unsigned i = 0; i < G_N_ELEMENTS(arguments); i++) {
		g_autoptr(GError) error = NULL;
		smbios_options_add(o, arguments[i], &error);
		g_assert_no_error(error);
	}
	struct smbios_machine m = machine();
	m.firmware = true;
	struct smbios_tables *t = smbios_build(o, &m);
	g_assert_cmpstr(text(find(t, 0, 0), 4), ==, "Acme");
	g_assert_cmpuint(find(t, 0, 0)[20], ==, 4);
	const uint8_t *system = find(t, 1, 0);
	g_assert_cmpstr(text(system, 4), ==, "A,B");
	g_assert_cmpstr(text(system, 7), ==, "77");
	g_assert_cmpmem(system + 8, 16,
			"\x33\x22\x11\x00\x55\x44\x77\x66\x88\x99\xaa\xbb\xcc\xdd\xee\xff", 16);
	g_assert_cmpstr(text(find(t, 2, 0), 5), ==, "board");
	g_assert_cmpstr(text(find(t, 3, 0), 8), ==, "tag");
	g_assert_cmpstr(text(find(t, 4, 0), 4), ==, "S 0");
	g_assert_cmpuint(find(t, 11, 0)[4], ==, 2);
	g_assert_cmpuint(le16_load(find(t, 17, 0) + 21), ==, 3200);
	uint8_t uuid[16];
	g_assert_true(smbios_options_uuid(o, uuid));
	g_assert_cmpuint(uuid[3], ==, 0x33);
	smbios_tables_free(t);
	smbios_options_free(o);
}

static void test_bad_options(void)
{
	static const char *const bad[] = {
		"manufacturer=x", "type=9", "type=x", "type=1,uuid=12", "type=0,release=1",
		"type=0,release=1.300", "type=1,colour=red", "type=11,text=x", "type=4,max-speed=99999",
	};
	struct smbios_options *o = smbios_options_new();
	for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autoptr(GError) error = NULL;
		g_assert_false(smbios_options_add(o, bad[i], &error));
		g_assert_nonnull(error);
		g_assert_null(strchr(error->message, '\n'));
	}
	smbios_options_free(o);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/smbios/default", test_default);
	g_test_add_func("/smbios/anchors", test_anchors);
	g_test_add_func("/smbios/options", test_options);
	g_test_add_func("/smbios/bad-options", test_bad_options);
	return g_test_run();
}
