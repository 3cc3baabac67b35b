/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/vm.h"

#include "base/error.h"
#include "base/units.h"

static void test_smp(void)
{
	static const struct {
		const char *text;
		unsigned cpus, sockets, dies, cores, threads;
	} good[] = {
		{"4", 4, 1, 1, 4, 1},
		{"8,sockets=2", 8, 2, 1, 4, 1},
		{"8,cores=2,threads=2", 8, 2, 1, 2, 2},
		{"sockets=2,cores=3,threads=2", 12, 2, 1, 3, 2},
		{"2,maxcpus=4", 2, 1, 1, 4, 1},
		{"8,dies=2,cores=2", 8, 2, 2, 2, 1},
		{"6,sockets=1,cores=3", 6, 1, 1, 3, 2},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(good); i++) {
		g_autoptr(GError) error = NULL;
		struct conf_smp smp = {0};
		g_assert_true(conf_smp_merge(&smp, good[i].text, &error));
		g_assert_true(conf_smp_complete(&smp, &error));
		g_assert_cmpuint(smp.cpus, ==, good[i].cpus);
		g_assert_cmpuint(smp.sockets, ==, good[i].sockets);
		g_assert_cmpuint(smp.dies, ==, good[i].dies);
		g_assert_cmpuint(smp.cores, ==, good[i].cores);
		g_assert_cmpuint(smp.threads, ==, good[i].threads);
	}
	static const char *const bad[] = {"3,sockets=2", "0", "4,maxcpus=2", "1025",
					  "4,sockets=1,cores=1,threads=1"};
	for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
		struct conf_smp smp = {0};
		g_autoptr(GError) error = NULL;
		g_assert_false(conf_smp_merge(&smp, bad[i], &error) &&
			       conf_smp_complete(&smp, &error));
		g_assert_error(error, BERTH_ERROR, BERTH_ERR_INVALID);
	}
}

static void test_rtc(void)
{
	struct conf_rtc rtc = {0};
	bool local;
	int64_t offset;
	g_assert_true(conf_rtc_merge(&rtc, "base=2026-01-31T12:00:00", NULL));
	g_assert_true(conf_rtc_offset(&rtc, 1769860800 - 60, &local, &offset, NULL));
	g_assert_false(local);
	g_assert_cmpint(offset, ==, 60);
	g_assert_true(conf_rtc_merge(&rtc, "localtime,clock=host", NULL));
	g_assert_true(conf_rtc_offset(&rtc, 1, &local, &offset, NULL));
	g_assert_true(local);
	g_assert_false(conf_rtc_merge(&rtc, "base=yesterday", NULL));
	keyval_clear(conf_rtc_fields, &rtc);
}

static void test_uuid(void)
{
	uint8_t uuid[16];
	g_assert_true(conf_uuid_parse("00112233-4455-6677-8899-aabbccddEEFF", uuid, NULL));
	for (unsigned i = 0; i < 16; i++)
		g_assert_cmphex(uuid[i], ==, i * 0x11);
	g_assert_false(conf_uuid_parse("00112233445566778899aabbccddeeff", uuid, NULL));
	g_assert_false(conf_uuid_parse("g0112233-4455-6677-8899-aabbccddeeff", uuid, NULL));
	g_assert_false(conf_uuid_parse("", NULL, NULL));
}

static void test_item(void)
{
	g_autoptr(GError) error = NULL;
	struct conf_item *item = conf_item_parse(
		CONF_DEVICE, "virtio-net-pci,netdev=n0,id=net0,bus=pcie.0,mac=52:54:00:00:00:01",
		&error);
	g_assert_no_error(error);
	g_assert_cmpstr(item->type, ==, "virtio-net-pci");
	g_assert_cmpstr(item->id, ==, "net0");
	g_assert_cmpstr(item->bus, ==, "pcie.0");
	g_autofree char *text = conf_item_format(CONF_DEVICE, item);
	g_assert_cmpstr(text, ==,
			"virtio-net-pci,id=net0,bus=pcie.0,netdev=n0,mac=52:54:00:00:00:01");
	conf_item_free(item);
	g_assert_null(conf_item_parse(CONF_NETDEV, "user", &error));
	g_assert_cmpstr(error->message, ==, "-netdev user: it needs a name: add id=NAME");
	g_clear_error(&error);
	g_assert_null(conf_item_parse(CONF_NETDEV, "user,id=0x", &error));
	g_clear_error(&error);
	g_assert_null(conf_item_parse(CONF_DEVICE, "", &error));
}

static void test_drive(void)
{
	g_autoptr(GError) error = NULL;
	struct conf_drive *drive = conf_drive_parse(
		"file=a,,b.img,if=virtio,format=raw,cache=none,discard=on,readonly", &error);
	g_assert_no_error(error);
	g_assert_cmpstr(drive->file, ==, "a,b.img");
	g_assert_cmpint(drive->cache, ==, CONF_CACHE_NONE);
	g_assert_cmpint(drive->discard, ==, CONF_DISCARD_UNMAP);
	g_assert_cmpint(drive->readonly, ==, CONF_SWITCH_ON);
	g_autofree char *text = conf_drive_format(drive);
	g_assert_cmpstr(
		text, ==,
		"file=a,,b.img,if=virtio,format=raw,cache=none,readonly=on,discard=unmap");
	conf_drive_free(drive);

	drive = conf_blockdev_parse(
		"{\"driver\":\"raw\",\"node-name\":\"n\",\"file\":{\"driver\":\"file\","
		"\"filename\":\"x\"},\"cache\":{\"direct\":true}}",
		&error);
	g_assert_no_error(error);
	g_assert_cmpstr(keyval_get(drive->node_options, "file.filename"), ==, "x");
	g_assert_cmpstr(keyval_get(drive->node_options, "cache.direct"), ==, "on");
	conf_drive_free(drive);

	static const char *const bad[] = {"if=floppy,file=x", "file=x,cache=often", "file=x,index=99",
					  "file=x,serial=1", "file=x,id=1"};
	for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++)
		g_assert_null(conf_drive_parse(bad[i], NULL));
	g_assert_null(conf_blockdev_parse("driver=qcow2", NULL));
	g_assert_null(conf_blockdev_parse("node-name=x,file=a", NULL));
	drive = conf_blockdev_parse("driver=qcow2,node-name=x,file.driver=file,file.filename=a,"
				    "backing.driver=qcow2,backing.file.filename=b", &error);
	g_assert_no_error(error);
	g_assert_cmpstr(keyval_get(drive->node_options, "backing.file.filename"), ==, "b");
	conf_drive_free(drive);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/conf/smp", test_smp);
	g_test_add_func("/conf/rtc", test_rtc);
	g_test_add_func("/conf/uuid", test_uuid);
	g_test_add_func("/conf/item", test_item);
	g_test_add_func("/conf/drive", test_drive);
	return g_test_run();
}
