/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ACPI tables against the specification's structure, and iasl's disassembler where it is installed. */
#include "machine/acpi/acpi.h"
#include "machine/acpi/aml.h"
#include "dev/chips/acpi_memory.h"
#include "machine/layout.h"

#include "base/bytes.h"

#include <glib/gstdio.h>

enum { TABLES_AT = 0x7ffe0000, RSDP_AT = 0xf5000 };

static const uint32_t apic_ids[] = {0, 1, 2, 3, 300};
static const bool cpus_present[] = {true, true, false, false, false};

static struct acpi_config q35_config(void)
{
	return (struct acpi_config){
		.board = ACPI_BOARD_Q35, .apic_ids = apic_ids, .cpu_count = 5, .has_pic = true,
		.cpus_present = cpus_present,
		.pci = true, .ecam_base = Q35_ECAM_BASE, .ecam_size = Q35_ECAM_SIZE,
		.window32_base = 0x80000000, .window32_end = Q35_PCI_HOLE_END,
		.window64_base = 0x180000000, .window64_end = 0x8000000000,
		.hpet = true, .rtc = true, .keyboard = true, .serial_ports = 0xf, .fw_cfg = true,
		.pvpanic = true, .pm_base = Q35_PM_BASE, .s3 = true,
		.slots = {{0x10, 1}, {0xff, 8191}}, .slot_count = 2,
	};
}

static struct acpi_config microvm_config(void)
{
	return (struct acpi_config){
		.board = ACPI_BOARD_MICROVM, .apic_ids = apic_ids, .cpu_count = 2, .pci = true,
		.ecam_base = MICROVM_ECAM_BASE, .ecam_size = MICROVM_ECAM_SIZE,
		.window32_base = MICROVM_PCI_MMIO_BASE, .window32_end = MICROVM_PCI_MMIO_END,
		.serial_ports = 1, .rtc = true, .fw_cfg = true, .virtio_slots = 0x83,
	};
}

static uint8_t sum(const uint8_t *p, size_t n)
{
	uint8_t s = 0;
	while (n--)
		s += *p++;
	return s;
}

/* The table that XSDT's entry `i` names, or NULL. */
static const uint8_t *placed(const struct acpi_tables *t, uint64_t address)
{
	g_assert_cmpuint(address, >=, TABLES_AT);
	g_assert_cmpuint(address, <, TABLES_AT + t->tables->len);
	return t->tables->data + (address - TABLES_AT);
}

static const uint8_t *find(const struct acpi_tables *t, const char *signature)
{
	const uint8_t *xsdt = placed(t, le64_load(t->rsdp->data + 24));
	g_assert_cmpmem(xsdt, 4, "XSDT", 4);
	for (uint32_t i = 36; i < le32_load(xsdt + 4); i += 8) {
		const uint8_t *table = placed(t, le64_load(xsdt + i));
		g_assert_cmpuint(sum(table, le32_load(table + 4)), ==, 0);
		if (memcmp(table, signature, 4) == 0)
			return table;
	}
	return NULL;
}

/* Write the table to a file and let iasl take it apart. */
static void disassemble(const uint8_t *table)
{
	g_autofree char *iasl = g_find_program_in_path("iasl");
	if (!iasl)
		return;
	g_autofree char *dir = g_dir_make_tmp("berth-acpi-XXXXXX", NULL);
	g_autofree char *aml = g_strdup_printf("%s/%.4s.aml", dir, (const char *)table);
	g_autofree char *dsl = g_strdup_printf("%s/%.4s.dsl", dir, (const char *)table);
	g_autofree char *again = g_strdup_printf("%s/%.4s.aml2.aml", dir, (const char *)table);
	g_assert_true(g_file_set_contents(aml, (const char *)table, le32_load(table + 4), NULL));

	char *take_apart[] = {iasl, (char *)"-d", aml, NULL};
	g_autofree char *out = NULL, *err = NULL;
	int status = -1;
	g_assert_true(g_spawn_sync(dir, take_apart, NULL, 0, NULL, NULL, &out, &err, &status, NULL));
	if (status || strstr(err, "rror") || strstr(out, "rror"))
		g_error("iasl -d: %s%s", out, err);
	g_autofree char *text = NULL;
	g_assert_true(g_file_get_contents(dsl, &text, NULL, NULL));
	if (strstr(text, "Invalid") || strstr(text, "Unknown") || strstr(text, "**** "))
		g_error("iasl -d is not content:\n%s", text);

	/* What it printed must compile: this checks names, types and resource descriptors. */
	if (memcmp(table, "DSDT", 4) == 0) {
		g_autofree char *prefix = g_strdup_printf("%s/%.4s.aml2", dir, (const char *)table);
		char *compile[] = {iasl, (char *)"-ve", (char *)"-p", prefix, dsl, NULL};
		g_clear_pointer(&out, g_free);
		g_clear_pointer(&err, g_free);
		g_assert_true(
			g_spawn_sync(dir, compile, NULL, 0, NULL, NULL, &out, &err, &status, NULL));
		if (status)
			g_error("iasl: %s%s\n%s", out, err, text);
	}
	g_unlink(aml);
	g_unlink(dsl);
	g_unlink(again);
	g_rmdir(dir);
}

static void test_integers(void)
{
	static const struct {
		uint64_t value;
		uint8_t bytes[9];
		unsigned length;
	} cases[] = {
		{0, {0}, 1},
		{1, {1}, 1},
		{2, {0x0a, 2}, 2},
		{0x100, {0x0b, 0, 1}, 3},
		{0x10000, {0x0c, 0, 0, 1, 0}, 5},
		{UINT64_C(1) << 32, {0x0e, 0, 0, 0, 0, 1, 0, 0, 0}, 9},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GByteArray) bytes = g_byte_array_new();
		struct aml a = {.bytes = bytes};
		aml_int(&a, cases[i].value);
		g_assert_cmpmem(bytes->data, bytes->len, cases[i].bytes, cases[i].length);
	}
}

/* A package's length covers its own encoding: 62 bytes of content are the most for the short form. */
static void test_package_length(void)
{
	static const struct {
		unsigned content, encoding;
	} cases[] = {{62, 1}, {63, 2}, {4093, 2}, {4094, 3}, {70000, 3}, {1048572, 3}, {1048573, 4}};
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GByteArray) bytes = g_byte_array_new();
		struct aml a = {.bytes = bytes};
		aml_begin_if(&a);
		for (unsigned k = 0; k < cases[i].content; k++)
			aml_int(&a, 0);
		aml_end(&a);
		g_assert_cmpuint(bytes->len, ==, 1 + cases[i].encoding + cases[i].content);
		uint8_t lead = bytes->data[1];
		g_assert_cmpuint(lead >> 6, ==, cases[i].encoding - 1);
		uint32_t length = lead & (cases[i].encoding > 1 ? 15 : 63);
		for (unsigned k = 1; k < cases[i].encoding; k++)
			length |= (uint32_t)bytes->data[1 + k] << (8 * k - 4);
		g_assert_cmpuint(length, ==, cases[i].content + cases[i].encoding);
	}
}

static void test_names(void)
{
	g_autoptr(GByteArray) bytes = g_byte_array_new();
	struct aml a = {.bytes = bytes};
	aml_path(&a, "\\_SB.PCI0.ISA");
	g_assert_cmpmem(bytes->data, bytes->len, "\\\x2f\x03_SB_PCI0ISA_", 15);
	g_byte_array_set_size(bytes, 0);
	aml_path(&a, "^A.B");
	g_assert_cmpmem(bytes->data, bytes->len, "^\x2e" "A___B___", 10);
	g_byte_array_set_size(bytes, 0);
	aml_eisa_id(&a, "PNP0A08");
	g_assert_cmpmem(bytes->data, bytes->len, "\x0c\x41\xd0\x0a\x08", 5);
}

static void check_all(const struct acpi_config *c, const char *const *present)
{
	struct acpi_tables *t = acpi_build(c);
	acpi_place(t, TABLES_AT, RSDP_AT);
	g_assert_cmpmem(t->rsdp->data, 8, "RSD PTR ", 8);
	g_assert_cmpuint(sum(t->rsdp->data, 20), ==, 0);
	g_assert_cmpuint(sum(t->rsdp->data, 36), ==, 0);
	for (; *present; present++) {
		const uint8_t *table = find(t, *present);
		if (!table)
			g_error("no table %s", *present);
		disassemble(table);
	}
	const uint8_t *fadt = find(t, "FACP");
	g_assert_cmpuint(le32_load(fadt + 4), ==, 276);
	g_assert_cmpuint(le32_load(fadt + 40), ==, le64_load(fadt + 140));
	const uint8_t *dsdt = placed(t, le64_load(fadt + 140));
	g_assert_cmpmem(dsdt, 4, "DSDT", 4);
	g_assert_cmpuint(sum(dsdt, le32_load(dsdt + 4)), ==, 0);
	disassemble(dsdt);
	if (c->board == ACPI_BOARD_Q35) {
		g_assert_cmpmem(placed(t, le32_load(fadt + 36)), 4, "FACS", 4);
		g_assert_cmpuint(le32_load(fadt + 36) % 64, ==, 0);
		g_assert_cmpuint(le16_load(fadt + 46), ==, Q35_SCI);
	} else {
		g_assert_cmpuint(le32_load(fadt + 36), ==, 0);
		g_assert_cmpuint(le32_load(fadt + 112) & 1 << 20, !=, 0);
	}
	acpi_tables_free(t);
}

static void test_q35(void)
{
	static const char *const present[] = {"FACP", "APIC", "HPET", "MCFG", "WAET", NULL};
	struct acpi_config c = q35_config();
	check_all(&c, present);
}

static void test_microvm(void)
{
	static const char *const present[] = {"FACP", "APIC", "MCFG", NULL};
	struct acpi_config c = microvm_config();
	check_all(&c, present);
	c.pci = false;
	static const char *const bare[] = {"FACP", "APIC", NULL};
	check_all(&c, bare);
}

static void test_numa(void)
{
	static const char *const present[] = {"SRAT", "SLIT", NULL};
	static const struct acpi_numa_memory memory[] = {{0, 0xa0000, 0}, {0x100000, 0x7ff00000, 0},
							 {UINT64_C(1) << 32, GIB, 1}};
	static const uint32_t nodes[] = {0, 0, 1, 1, 1};
	struct acpi_config c = q35_config();
	c.numa_nodes = 2;
	c.numa_memory = memory;
	c.numa_memory_count = G_N_ELEMENTS(memory);
	c.cpu_nodes = nodes;
	check_all(&c, present);
}

/* Memory modules: iasl compiles their methods, and SRAT has the range where they may come. */
static void test_modules(void)
{
	static const char *const present[] = {"SRAT", "SLIT", NULL};
	static const struct acpi_numa_memory memory[] = {{0, GIB, 0}};
	struct acpi_config c = q35_config();
	c.numa_nodes = 1;
	c.numa_memory = memory;
	c.numa_memory_count = G_N_ELEMENTS(memory);
	c.module_base = UINT64_C(1) << 32;
	c.module_size = 4 * GIB;
	c.module_slots = ACPI_MEMORY_SLOTS_MAX;
	check_all(&c, present);

	struct acpi_tables *t = acpi_build(&c);
	acpi_place(t, TABLES_AT, RSDP_AT);
	const uint8_t *srat = find(t, "SRAT"), *last = srat + le32_load(srat + 4) - 40;
	g_assert_cmpuint(last[0], ==, 1);
	g_assert_cmphex(le64_load(last + 8), ==, c.module_base);
	g_assert_cmphex(le64_load(last + 16), ==, c.module_size);
	g_assert_cmpuint(le32_load(last + 28), ==, 3); /* enabled, hot-pluggable */
	acpi_tables_free(t);
}

/* A CPU that is not plugged in can be brought online (ACPI 6.4, table 5.22). */
static void test_absent_cpus(void)
{
	struct acpi_config c = q35_config();
	struct acpi_tables *t = acpi_build(&c);
	acpi_place(t, TABLES_AT, RSDP_AT);
	const uint8_t *madt = find(t, "APIC");
	for (unsigned i = 0; i < 4; i++) {
		const uint8_t *entry = madt + 44 + 8 * i;
		g_assert_cmpuint(entry[0], ==, 0);
		g_assert_cmpuint(entry[3], ==, apic_ids[i]);
		g_assert_cmpuint(le32_load(entry + 4), ==, cpus_present[i] ? 1 : 2);
	}
	acpi_tables_free(t);
}

/* Many CPUs: 255 and up take the x2APIC forms. */
static void test_many_cpus(void)
{
	static const char *const present[] = {"APIC", NULL};
	uint32_t ids[1024];
	for (unsigned i = 0; i < G_N_ELEMENTS(ids); i++)
		ids[i] = i;
	struct acpi_config c = q35_config();
	c.apic_ids = ids;
	c.cpus_present = NULL;
	c.cpu_count = G_N_ELEMENTS(ids);
	check_all(&c, present);
}

/* Run the script as firmware does and compare with acpi_place(). */
static void test_script(void)
{
	struct acpi_config c = q35_config();
	struct acpi_tables *a = acpi_build(&c), *b = acpi_build(&c);
	g_autoptr(GByteArray) script = acpi_loader_script(a);
	g_assert_cmpuint(script->len % 128, ==, 0);
	unsigned allocated = 0;
	for (guint at = 0; at < script->len; at += 128) {
		const uint8_t *e = script->data + at;
		const char *name = (const char *)e + 4;
		GByteArray *blob = strcmp(name, "etc/acpi/rsdp") == 0 ? a->rsdp : a->tables;
		const uint8_t *p = e + 60;
		switch (le32_load(e)) {
		case 1:
			allocated++;
			break;
		case 2: {
			g_assert_cmpuint(allocated, ==, 2);
			g_assert_cmpstr((const char *)p, ==, "etc/acpi/tables");
			uint32_t offset = le32_load(p + 56);
			unsigned size = p[60];
			g_assert_true(range_fits(offset, size, blob->len));
			uint64_t v = le_load(blob->data + offset, size);
			g_assert_cmpuint(v, <, a->tables->len);
			le_store(blob->data + offset, v + TABLES_AT, size);
			break;
		}
		case 3: {
			uint32_t offset = le32_load(p), start = le32_load(p + 4);
			uint32_t length = le32_load(p + 8);
			g_assert_true(range_fits(start, length, blob->len));
			blob->data[offset] -= sum(blob->data + start, length);
			break;
		}
		default:
			g_assert_not_reached();
		}
	}
	acpi_place(b, TABLES_AT, RSDP_AT);
	g_assert_cmpmem(a->tables->data, a->tables->len, b->tables->data, b->tables->len);
	g_assert_cmpmem(a->rsdp->data, a->rsdp->len, b->rsdp->data, b->rsdp->len);
	acpi_tables_free(a);
	acpi_tables_free(b);
}

static void test_extra(void)
{
	uint8_t table[40] = "TEST\x28\0\0\0\1\xee";
	g_assert_true(acpi_check_extra(table, sizeof(table), NULL));
	g_assert_false(acpi_check_extra(table, sizeof(table) - 1, NULL));
	g_assert_false(acpi_check_extra(table, 20, NULL));
	g_autoptr(GBytes) bytes = g_bytes_new(table, sizeof(table));
	const GBytes *list[] = {bytes};
	struct acpi_config c = q35_config();
	c.extra = list;
	c.extra_count = 1;
	struct acpi_tables *t = acpi_build(&c);
	acpi_place(t, TABLES_AT, RSDP_AT);
	g_assert_nonnull(find(t, "TEST"));
	acpi_tables_free(t);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/aml/integers", test_integers);
	g_test_add_func("/aml/package-length", test_package_length);
	g_test_add_func("/aml/names", test_names);
	g_test_add_func("/acpi/q35", test_q35);
	g_test_add_func("/acpi/microvm", test_microvm);
	g_test_add_func("/acpi/numa", test_numa);
	g_test_add_func("/acpi/modules", test_modules);
	g_test_add_func("/acpi/absent-cpus", test_absent_cpus);
	g_test_add_func("/acpi/many-cpus", test_many_cpus);
	g_test_add_func("/acpi/script", test_script);
	g_test_add_func("/acpi/extra", test_extra);
	return g_test_run();
}
