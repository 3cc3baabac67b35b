/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/error.h"

#include <errno.h>

static void test_errno(void)
{
	g_autoptr(GError) error = NULL;
	g_assert_false(error_set_errno(&error, ENOENT, "cannot open '%s'", "disk.img"));
	g_assert_error(error, BERTH_ERROR, BERTH_ERR_IO);
	g_assert_cmpstr(error->message, ==, "cannot open 'disk.img': No such file or directory");
	g_assert_false(error_set_errno(NULL, ENOENT, "nobody listens"));
}

static void test_nearest(void)
{
	static const char *const names[] = {"virtio-blk-pci", "virtio-net-pci", "ahci", NULL};
	g_assert_cmpstr(nearest_name("virtio-blk-pc", names), ==, "virtio-blk-pci");
	g_assert_cmpstr(nearest_name("achi", names), ==, "ahci");
	g_assert_null(nearest_name("zebra", names));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/error/errno", test_errno);
	g_test_add_func("/error/nearest", test_nearest);
	return g_test_run();
}
