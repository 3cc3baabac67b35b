/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "codec/procedure.h"

#include "base/bytes.h"
#include "base/error.h"

#include <string.h>

/* The name and id of a domain, byte by byte as RFC 4506 says. */
static const uint8_t domain_bytes[] = {
	0, 0, 0, 3, 'w', 'e', 'b', 0,
	0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
	0xff, 0xff, 0xff, 0xff,
};

static void test_layout(void)
{
	struct arena arena = {NULL};
	g_autoptr(GError) error = NULL;
	struct remote_domain dom;
	g_assert_true(xdr_decode(&remote_domain_type, domain_bytes, sizeof(domain_bytes), &dom, &arena,
				 &error));
	g_assert_no_error(error);
	g_assert_cmpstr(dom.name, ==, "web");
	g_assert_cmpint(dom.id, ==, -1);
	g_assert_cmpint(dom.uuid[15], ==, 15);
	g_autoptr(GByteArray) out = g_byte_array_new();
	g_assert_true(xdr_encode(&remote_domain_type, &dom, out, &error));
	g_assert_cmpmem(out->data, out->len, domain_bytes, sizeof(domain_bytes));
	arena_clear(&arena);
}

static void test_truncated(void)
{
	for (size_t size = 0; size < sizeof(domain_bytes); size++) {
		struct arena arena = {NULL};
		g_autoptr(GError) error = NULL;
		struct remote_domain dom;
		g_assert_false(xdr_decode(&remote_domain_type, domain_bytes, size, &dom, &arena,
					  &error));
		g_assert_error(error, BERTH_ERROR, BERTH_ERR_INVALID);
		arena_clear(&arena);
	}
}

/* Encode and decode; the caller looks at what comes back. */
static void round_trip(const struct xdr_type *type, const void *value, void *back,
		       struct arena *arena)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GByteArray) out = g_byte_array_new();
	g_assert_true(xdr_encode(type, value, out, &error));
	g_assert_cmpint(out->len % 4, ==, 0);
	g_assert_true(xdr_decode(type, out->data, out->len, back, arena, &error));
	g_assert_no_error(error);
}

static void test_optional(void)
{
	struct arena arena = {NULL};
	struct remote_domain dom = {.name = "x", .id = 7};
	struct remote_error in = {.code = 42, .domain = 10, .message = "why", .level = 2, .dom = &dom},
			    out;
	round_trip(&remote_error_type, &in, &out, &arena);
	g_assert_cmpstr(out.message, ==, "why");
	g_assert_null(out.str1);
	g_assert_null(out.net);
	g_assert_cmpstr(out.dom->name, ==, "x");
	g_assert_cmpint(out.dom->id, ==, 7);
	arena_clear(&arena);
}

/* go-libvirt writes the discriminant in little endian. */
static void test_foreign_discriminant(void)
{
	static const uint8_t bytes[] = {1, 0, 0, 0, 0, 0, 0, 1, 'q', 0, 0, 0, 0, 0, 0, 0};
	struct arena arena = {NULL};
	struct remote_connect_open_args args;
	g_assert_true(xdr_decode(&remote_connect_open_args_type, bytes, sizeof(bytes), &args, &arena,
				 NULL));
	g_assert_cmpstr(args.name, ==, "q");
	arena_clear(&arena);
}

static void test_params(void)
{
	struct arena arena = {NULL};
	struct xdr_param params[] = {
		{"state.state", XDR_PARAM_INT, {.i = -1}},
		{"balloon.current", XDR_PARAM_ULLONG, {.ul = UINT64_MAX}},
		{"ratio", XDR_PARAM_DOUBLE, {.d = 0.5}},
		{"net.0.name", XDR_PARAM_STRING, {.s = "tap0"}},
	};
	struct remote_domain_stats record = {.dom = {.name = "a"}, .params = {4, params}};
	struct remote_connect_get_all_domain_stats_ret in = {.records = {1, &record}}, out;
	round_trip(&remote_connect_get_all_domain_stats_ret_type, &in, &out, &arena);
	g_assert_cmpint(out.records.count, ==, 1);
	struct xdr_param *back = out.records.items[0].params.items;
	g_assert_cmpint(back[0].i, ==, -1);
	g_assert_cmpuint(back[1].ul, ==, UINT64_MAX);
	g_assert_cmpfloat(back[2].d, ==, 0.5);
	g_assert_cmpstr(back[3].s, ==, "tap0");
	arena_clear(&arena);
}

/* Counts that a message cannot hold, or that the schema does not allow, take no memory. */
static void test_hostile(void)
{
	static const struct {
		uint32_t count;
		const char *why;
	} cases[] = {
		{1, "ends too early"},
		{16384, "ends too early"},
		{16385, "longer than"},
		{UINT32_MAX, "longer than"},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		uint8_t bytes[4];
		be32_store(bytes, cases[i].count);
		struct arena arena = {NULL};
		g_autoptr(GError) error = NULL;
		struct remote_connect_get_all_domain_stats_args args;
		g_assert_false(xdr_decode(&remote_connect_get_all_domain_stats_args_type, bytes,
					  sizeof(bytes), &args, &arena, &error));
		g_assert_nonnull(strstr(error->message, cases[i].why));
		g_assert_null(arena.blocks);
	}
}

static void test_zero_in_string(void)
{
	static const uint8_t bytes[] = {0, 0, 0, 3, 'a', 0, 'b', 0};
	struct arena arena = {NULL};
	struct remote_domain_lookup_by_name_args args;
	g_assert_false(xdr_decode(&remote_domain_lookup_by_name_args_type, bytes, sizeof(bytes), &args,
				  &arena, NULL));
	arena_clear(&arena);
}

static void test_table(void)
{
	g_assert_cmpuint(remote_procedure_count, ==, 444);
	for (unsigned i = 1; i < remote_procedure_count; i++)
		g_assert_nonnull(remote_procedures[i].name);
	g_assert_cmpint(remote_procedures[REMOTE_DOMAIN_DESTROY].right, ==, RIGHT_WRITE);
	g_assert_cmpint(remote_procedures[REMOTE_DOMAIN_GET_INFO].right, ==, RIGHT_READ);
	g_assert_cmpint(remote_procedures[REMOTE_AUTH_LIST].right, ==, RIGHT_NONE);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/xdr/layout", test_layout);
	g_test_add_func("/xdr/truncated", test_truncated);
	g_test_add_func("/xdr/optional", test_optional);
	g_test_add_func("/xdr/foreign-discriminant", test_foreign_discriminant);
	g_test_add_func("/xdr/params", test_params);
	g_test_add_func("/xdr/hostile", test_hostile);
	g_test_add_func("/xdr/zero-in-string", test_zero_in_string);
	g_test_add_func("/xdr/table", test_table);
	return g_test_run();
}
