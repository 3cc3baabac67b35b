/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cpu/x86/cpuid.h"

#include <string.h>

static const struct cpu_topology small = {
	.sockets = 1, .dies = 1, .cores = 1, .threads = 1, .phys_bits = 40, .tsc_khz = 2800000,
};

static struct cpu_features everything(void)
{
	struct cpu_features f;
	memset(&f, 0xff, sizeof(f));
	return f;
}

static struct cpu_model *parse(const char *text)
{
	g_autoptr(GError) error = NULL;
	struct cpu_features all = everything();
	struct cpu_model *m = cpu_model_parse(text, &all, &error);
	g_assert_no_error(error);
	return m;
}

static bool has(const struct cpu_model *m, const char *name)
{
	enum cpu_feature_word word;
	uint32_t mask;
	g_assert_true(cpu_feature_find(name, &word, &mask));
	return (m->features.word[word] & mask) == mask;
}

static void test_names(void)
{
	const char *const *names = cpu_feature_names();
	unsigned count = 0;
	for (; names[count]; count++) {
		enum cpu_feature_word word;
		uint32_t mask;
		g_assert_true(cpu_feature_find(names[count], &word, &mask));
		/* No name twice: each is found where it stands. */
		for (unsigned i = 0; i < count; i++)
			g_assert_cmpstr(names[i], !=, names[count]);
	}
	g_assert_cmpuint(count, >, 190);
	g_assert_cmpstr(names[0], ==, "fpu");
	enum cpu_feature_word a, b;
	uint32_t ma, mb;
	g_assert_true(cpu_feature_find("sse4_2", &a, &ma) && cpu_feature_find("sse4.2", &b, &mb));
	g_assert_true(a == b && ma == mb);
	g_assert_true(cpu_feature_find("tsc_adjust", &a, &ma));
}

static void test_models(void)
{
	for (const struct cpu_model_entry *e = cpu_model_list(); e->name; e++) {
		struct cpu_model *m = parse(e->name);
		g_assert_cmpuint(strlen(m->vendor), ==, 12);
		g_assert_true(has(m, "lm") && has(m, "sse2") && has(m, "x2apic"));
		if (!m->host)
			g_assert_false(has(m, "avx512f") || has(m, "rtm") || has(m, "mpx"));
		cpu_model_free(m);
	}
	struct cpu_model *m = parse("Haswell,-avx2,+rdseed,smap=on,movbe=off,model-id=Mine");
	g_assert_true(has(m, "fma") && has(m, "rdseed") && has(m, "smap"));
	g_assert_false(has(m, "avx2") || has(m, "movbe"));
	g_assert_cmpstr(m->model_id, ==, "Mine");
	cpu_model_free(m);
	/* AVX cannot be without XSAVE, nor AVX2 without AVX. */
	m = parse("x86-64-v3,-xsave");
	g_assert_false(has(m, "avx") || has(m, "avx2") || has(m, "fma"));
	cpu_model_free(m);
	m = parse("Haswell-v4");
	g_assert_cmpstr(m->name, ==, "Haswell");
	cpu_model_free(m);
	m = parse("x86-64-v2");
	g_assert_cmpstr(m->name, ==, "x86-64-v2");
	cpu_model_free(m);
	m = parse("qemu64,kvm=off");
	g_assert_false(has(m, "kvmclock"));
	cpu_model_free(m);
}

static void expect_error(const char *text, const struct cpu_features *allowed, const char *part)
{
	g_autoptr(GError) error = NULL;
	g_assert_null(cpu_model_parse(text, allowed, &error));
	g_assert_nonnull(strstr(error->message, part));
}

static void test_errors(void)
{
	struct cpu_features all = everything(), none = { 0 };
	expect_error("Hasswell", &all, "Haswell");
	expect_error("qemu64,+avxx", &all, "avx");
	expect_error("qemu64,avx=maybe", &all, "on or off");
	expect_error("qemu64,vendor=short", &all, "12");
	expect_error("qemu64,enforce", &none, "sse2");
	g_autoptr(GError) error = NULL;
	struct cpu_model *m = cpu_model_parse("host", &none, &error);
	g_assert_no_error(error);
	g_assert_false(has(m, "sse2"));
	cpu_model_free(m);
}

static void test_leaves(void)
{
	uint32_t r[4];
	struct cpu_model *m = parse("Skylake-Client-noTSX-IBRS");
	GArray *t = cpuid_build(m, &small, 0);
	const struct cpuid_leaf *l = &g_array_index(t, struct cpuid_leaf, 0);
	for (unsigned i = 1; i < t->len; i++)
		g_assert_true(l[i - 1].leaf < l[i].leaf ||
			      (l[i - 1].leaf == l[i].leaf && l[i - 1].subleaf < l[i].subleaf));
	cpuid_lookup(t, 0, 0, r);
	g_assert_cmpuint(r[0], ==, 0x16);
	g_assert_cmpmem(&r[1], 4, "Genu", 4);
	g_assert_cmpmem(&r[3], 4, "ineI", 4);
	g_assert_cmpmem(&r[2], 4, "ntel", 4);
	cpuid_lookup(t, 1, 77, r); /* no sub-leaves: ECX does not count */
	g_assert_cmphex(r[0], ==, 0x506e3);
	cpuid_lookup(t, 7, 5, r);
	g_assert_cmphex(r[0] | r[1] | r[2] | r[3], ==, 0);
	cpuid_lookup(t, 0xd, 2, r);
	g_assert_cmpuint(r[0], ==, 256);
	g_assert_cmpuint(r[1], ==, 576);
	cpuid_lookup(t, 0x15, 0, r);
	g_assert_cmpuint((uint64_t)r[2] * r[1] / r[0], ==, UINT64_C(2800000000));
	cpuid_lookup(t, 0x40000000, 0, r);
	g_assert_cmpmem(&r[1], 12, "KVMKVMKVM\0\0\0", 12);
	/* Beyond the last basic leaf Intel answers with the last one. */
	cpuid_lookup(t, 0x7777, 0, r);
	uint32_t last[4];
	cpuid_lookup(t, 0x16, 0, last);
	g_assert_cmpmem(r, 16, last, 16);
	cpuid_lookup(t, 0x80000008, 0, r);
	g_assert_cmphex(r[0], ==, 0x3028);
	g_array_unref(t);
	cpu_model_free(m);
}

static void test_topology(void)
{
	const struct cpu_topology t = {
		.sockets = 2, .dies = 2, .cores = 3, .threads = 2, .phys_bits = 40,
	};
	uint32_t r[4];
	struct cpu_model *m = parse("Haswell");
	GArray *a = cpuid_build(m, &t, 0x17);
	cpuid_lookup(a, 1, 0, r);
	g_assert_cmphex(r[1] >> 24, ==, 0x17);
	g_assert_cmphex(r[1] >> 16 & 0xff, ==, 16);
	g_assert_true(r[3] & 1 << 28);
	cpuid_lookup(a, 0xb, 0, r);
	g_assert_true(r[0] == 1 && r[1] == 2 && r[2] == 0x100 && r[3] == 0x17);
	cpuid_lookup(a, 0xb, 1, r);
	g_assert_true(r[0] == 4 && r[1] == 12 && r[2] == 0x201);
	cpuid_lookup(a, 0xb, 9, r);
	g_assert_true(r[0] == 0 && r[1] == 0 && r[2] == 9 && r[3] == 0x17);
	cpuid_lookup(a, 0x1f, 1, r);
	g_assert_true(r[0] == 3 && r[1] == 6 && r[2] == 0x201);
	cpuid_lookup(a, 0x1f, 2, r);
	g_assert_true(r[0] == 4 && r[1] == 12 && r[2] == 0x502);
	g_array_unref(a);
	cpu_model_free(m);
	m = parse("EPYC");
	a = cpuid_build(m, &t, 1);
	cpuid_lookup(a, 0x80000000, 0, r);
	g_assert_cmpmem(&r[1], 4, "Auth", 4);
	cpuid_lookup(a, 0x80000001, 0, r);
	g_assert_true(r[3] & 1 && r[2] & 2);
	cpuid_lookup(a, 0x80000008, 0, r);
	g_assert_cmpuint(r[2] & 0xff, ==, 11);
	g_array_unref(a);
	cpu_model_free(m);
}

static void test_host(void)
{
	struct cpu_features f;
	cpu_features_host(&f);
	g_assert_true(f.word[CPU_WORD_80000001_EDX] & 1 << 29);
	struct cpu_model *m = parse("host");
	g_assert_cmpuint(strlen(m->vendor), ==, 12);
	g_assert_cmpuint(m->family, >=, 6);
	cpu_model_free(m);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/cpuid/names", test_names);
	g_test_add_func("/cpuid/models", test_models);
	g_test_add_func("/cpuid/errors", test_errors);
	g_test_add_func("/cpuid/leaves", test_leaves);
	g_test_add_func("/cpuid/topology", test_topology);
	g_test_add_func("/cpuid/host", test_host);
	return g_test_run();
}
