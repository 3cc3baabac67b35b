/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dev/core/device.h"

#include "base/error.h"

struct sample {
	struct device dev;
	bool flag;
	uint8_t u8;
	uint32_t u32;
	uint64_t size;
	char *text;
	int mode;
	uint8_t mac[6];
	int addr;
	void *drive;
};

static const char *const modes[] = {"off", "fast", "safe", NULL};
static const struct property bus_properties[] = {
	PROPERTY(struct sample, addr, "addr", PROPERTY_PCI_ADDR, "-1", "where"),
	{0},
};
static const struct property properties[] = {
	PROPERTY(struct sample, flag, "flag", PROPERTY_BOOL, "on", "a flag"),
	PROPERTY(struct sample, u8, "queues", PROPERTY_U8, "3", NULL),
	PROPERTY(struct sample, u32, "u32", PROPERTY_U32, NULL, NULL),
	PROPERTY(struct sample, size, "size", PROPERTY_SIZE, "1M", NULL),
	PROPERTY(struct sample, text, "serial", PROPERTY_STRING, "abc", NULL),
	{.name = "mode", .type = PROPERTY_ENUM, .offset = offsetof(struct sample, mode),
	 .initial = "safe", .names = modes},
	PROPERTY(struct sample, mac, "mac", PROPERTY_MAC, NULL, NULL),
	PROPERTY(struct sample, drive, "drive", PROPERTY_DRIVE, NULL, NULL),
	{0},
};
static const struct device_class sample_class = {
	.name = "sample", .properties = properties, .bus_properties = bus_properties,
	.size = sizeof(struct sample),
};

static void *find(void *opaque, enum property_type type, const char *id, GError **error)
{
	if (g_str_equal(id, "d0"))
		return opaque;
	error_set(error, BERTH_ERR_NOT_FOUND, "there is no drive '%s'", id);
	return NULL;
}

static void test_properties(void)
{
	static const struct {
		const char *name, *value, *result; /* result NULL: refused */
	} cases[] = {
		{"flag", "off", "off"}, {"flag", "maybe", NULL}, {"queues", "0x10", "16"},
		{"queues", "256", NULL}, {"u32", "4294967295", "4294967295"}, {"u32", "-1", NULL},
		{"size", "2G", "2147483648"}, {"serial", "xyz", "xyz"}, {"mode", "fast", "fast"},
		{"mode", "slow", NULL}, {"mac", "52:54:0:12:34:5f", "52:54:00:12:34:5f"},
		{"mac", "52:54:00:12:34", NULL}, {"mac", "52:54:00:12:34:56:78", NULL},
		{"addr", "1f.2", "1f.2"}, {"addr", "0x5", "05.0"}, {"addr", "20", NULL},
		{"addr", "1.8", NULL}, {"addr", "5x", NULL}, {"addr", "", NULL},
	};
	struct device *dev = device_new(&sample_class, "s0", NULL);
	struct sample *s = (struct sample *)dev;
	g_assert_true(s->flag);
	g_assert_cmpint(s->addr, ==, -1);
	g_assert_cmpuint(s->size, ==, 1 << 20);
	g_assert_cmpint(s->mode, ==, 2);
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		bool ok = device_set(dev, cases[i].name, cases[i].value, NULL, &error);
		g_assert_cmpint(ok, ==, cases[i].result != NULL);
		if (!ok) {
			g_assert_error(error, BERTH_ERROR, BERTH_ERR_INVALID);
			continue;
		}
		g_autofree char *value = device_get(dev, cases[i].name);
		g_assert_cmpstr(value, ==, cases[i].result);
	}
	device_free(dev);
}

static void test_errors(void)
{
	struct device *dev = device_new(&sample_class, NULL, NULL);
	g_autoptr(GError) error = NULL;
	g_assert_false(device_set(dev, "queue", "1", NULL, &error));
	g_assert_nonnull(strstr(error->message, "did you mean 'queues'?"));
	g_clear_error(&error);
	g_assert_false(device_set(dev, "ader", "1", NULL, &error));
	g_assert_nonnull(strstr(error->message, "did you mean 'addr'?"));
	g_clear_error(&error);
	int node;
	struct device_resolver resolver = {find, &node};
	g_assert_true(device_set(dev, "drive", "d0", &resolver, &error));
	g_assert_true(((struct sample *)dev)->drive == &node);
	g_assert_false(device_set(dev, "drive", "d1", &resolver, &error));
	g_assert_cmpstr(error->message, ==,
			"property 'drive' of the device sample: there is no drive 'd1'");
	g_autofree char *help = device_class_help(&sample_class);
	g_assert_nonnull(strstr(help, "flag=<bool> - a flag (default: on)\n"));
	device_free(dev);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/device/properties", test_properties);
	g_test_add_func("/device/errors", test_errors);
	return g_test_run();
}
