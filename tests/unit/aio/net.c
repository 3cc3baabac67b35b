/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "aio/net.h"

#include "base/fd.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* A server that accepts nobody fills its queue; who is not to wait for it is told so. */
static void test_full_queue(void)
{
	enum { MOST = 64 };
	g_autofree char *folder = g_dir_make_tmp("berth-net-XXXXXX", NULL);
	g_autofree char *path = g_build_filename(folder, "sock", NULL);
	g_autoptr(GError) error = NULL;
	int clients[MOST], count = 0;
	auto_fd server = net_listen_unix(path, NULL);
	g_assert_cmpint(server, >=, 0);
	g_assert_cmpint(listen(server, 1), ==, 0);
	while (count < MOST && (clients[count] = net_connect_unix_now(path, &error)) >= 0) {
		g_assert_true(fcntl(clients[count], F_GETFL) & O_NONBLOCK);
		count++;
	}
	g_assert_cmpint(count, >, 0);
	g_assert_cmpint(count, <, MOST);
	g_assert_nonnull(strstr(error->message, path));
	while (count)
		close(clients[--count]);
	g_unlink(path);
	g_rmdir(folder);
}

/* Who may connect is said after the socket is there, and until then nobody may. */
static void test_closed(void)
{
	g_autofree char *folder = g_dir_make_tmp("berth-net-XXXXXX", NULL);
	g_autofree char *path = g_build_filename(folder, "sock", NULL);
	struct stat st;
	auto_fd server = net_listen_unix_closed(path, NULL);
	g_assert_cmpint(server, >=, 0);
	g_assert_cmpint(stat(path, &st), ==, 0);
	g_assert_cmpint(st.st_mode & 07777, ==, 0);
	g_unlink(path);
	g_rmdir(folder);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/aio/net/full-queue", test_full_queue);
	g_test_add_func("/aio/net/closed", test_closed);
	return g_test_run();
}
