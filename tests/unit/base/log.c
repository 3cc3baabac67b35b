/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lines for systemd's journal, as a socket receives them. */
#include "base/log.h"

#include "base/bytes.h"
#include "base/fd.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

static int listen_at(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	g_assert_cmpint(bind(fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
	return fd;
}

static void test_journal(void)
{
	g_autofree char *folder = g_dir_make_tmp("log-XXXXXX", NULL);
	g_autofree char *path = g_build_filename(folder, "socket", NULL);
	g_autoptr(GError) error = NULL;
	char got[512];
	log_setup("test", LOG_LEVEL_INFO, stderr);
	g_assert_false(log_to_journal(path, &error));
	g_assert_nonnull(error);
	auto_fd fd = listen_at(path);
	g_assert_true(log_to_journal(path, NULL));

	const struct log_field fields[] = {{"BERTH_X", "5"}, {"BERTH_Y", "two\nlines"}};
	log_fields(LOG_LEVEL_WARNING, fields, 2, "hello %d", 1);
	ssize_t n = recv(fd, got, sizeof(got), 0);
	static const char first[] = "MESSAGE=hello 1\nPRIORITY=4\nSYSLOG_IDENTIFIER=test\nBERTH_X=5\nBERTH_Y\n";
	size_t at = sizeof(first) - 1;
	g_assert_cmpint(n, ==, at + 8 + strlen("two\nlines\n"));
	g_assert_cmpmem(got, at, first, at);
	g_assert_cmpint(le64_load((uint8_t *)got + at), ==, 9);
	g_assert_cmpmem(got + at + 8, 10, "two\nlines\n", 10);

	log_debug("not shown");
	log_error("last");
	n = recv(fd, got, sizeof(got), 0);
	g_assert_cmpmem(got, n, "MESSAGE=last\nPRIORITY=3\nSYSLOG_IDENTIFIER=test\n", n);
	unlink(path);
	rmdir(folder);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/log/journal", test_journal);
	return g_test_run();
}
