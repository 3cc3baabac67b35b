/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Byte streams: each kind's two directions, flow control, the mux's escape keys, bad input. */
#include "aio/loop.h"
#include "aio/net.h"
#include "base/error.h"
#include "chardev/chardev.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A user that collects what it reads, up to `room` bytes. */
struct sink {
	char text[256];
	size_t length, room;
	unsigned opened, closed, breaks, focused, writable;
};

static size_t sink_can_read(void *opaque)
{
	struct sink *sink = opaque;
	return MIN(sink->room, sizeof(sink->text) - 1 - sink->length);
}

static void sink_read(void *opaque, const uint8_t *data, size_t length)
{
	struct sink *sink = opaque;
	g_assert_cmpuint(length, <=, sink->room);
	memcpy(sink->text + sink->length, data, length);
	sink->length += length;
	sink->room -= length;
	sink->text[sink->length] = '\0';
}

static void sink_event(void *opaque, enum chardev_event event)
{
	struct sink *sink = opaque;
	sink->opened += event == CHARDEV_OPENED;
	sink->closed += event == CHARDEV_CLOSED;
	sink->breaks += event == CHARDEV_BREAK;
	sink->focused += event == CHARDEV_FOCUS;
}

static void sink_writable(void *opaque)
{
	((struct sink *)opaque)->writable++;
}

static struct chardev_user user_of(struct sink *sink)
{
	return (struct chardev_user){sink_can_read, sink_read, sink_event, sink_writable, sink};
}

static struct chardev *open_spec(const char *spec, struct aio_loop *loop)
{
	g_autoptr(GError) error = NULL;
	struct chardev *chr = chardev_new_from_spec(spec, "c0", loop, &error);
	g_assert_no_error(error);
	return chr;
}

/* Run the loop until `condition` holds; the test's own time limit ends a hang. */
#define RUN_UNTIL(loop, condition)                                                                 \
	do {                                                                                       \
		aio_loop_iterate(loop, 10000000);                                                  \
	} while (!(condition))

static void test_socket(void)
{
	struct aio_loop *loop = aio_loop_new(NULL);
	g_autofree char *folder = g_dir_make_tmp("berth-chardev-XXXXXX", NULL);
	g_autofree char *path = g_build_filename(folder, "s", NULL);
	g_autofree char *spec = g_strdup_printf("unix:%s,server=on,wait=off", path);
	struct chardev *chr = open_spec(spec, loop);
	struct sink sink = {.room = 3};
	struct chardev_user user = user_of(&sink);
	g_assert_true(chardev_attach(chr, &user, NULL));
	g_assert_false(chardev_attach(chr, &user, NULL));
	/* Nobody is there: output vanishes, and does not block. */
	g_assert_cmpuint(chardev_write(chr, "lost", 4), ==, 4);

	for (unsigned visit = 1; visit <= 2; visit++) {
		int fd = net_connect_unix(path, NULL);
		g_assert_cmpint(fd, >=, 0);
		RUN_UNTIL(loop, sink.opened == visit);
		g_assert_cmpint(write(fd, "abcdef", 6), ==, 6);
		RUN_UNTIL(loop, sink.length == 3);
		g_assert_cmpstr(sink.text, ==, "abc");
		sink.room = 3;
		chardev_accept_input(chr);
		RUN_UNTIL(loop, sink.length == 6);
		g_assert_cmpstr(sink.text, ==, "abcdef");

		g_assert_cmpuint(chardev_write(chr, "hello", 5), ==, 5);
		char reply[8] = "";
		g_assert_cmpint(read(fd, reply, 5), ==, 5);
		g_assert_cmpstr(reply, ==, "hello");
		close(fd);
		sink.room = 3;
		sink.length = 0;
		chardev_accept_input(chr);
		RUN_UNTIL(loop, sink.closed == visit);
	}
	chardev_free(chr);
	g_assert_cmpint(access(path, F_OK), !=, 0);
	rmdir(folder);
	aio_loop_free(loop);
}

static void test_backpressure(void)
{
	struct aio_loop *loop = aio_loop_new(NULL);
	g_autofree char *folder = g_dir_make_tmp("berth-chardev-XXXXXX", NULL);
	g_autofree char *path = g_build_filename(folder, "s", NULL);
	g_autofree char *spec = g_strdup_printf("unix:%s,server,nowait", path);
	struct chardev *chr = open_spec(spec, loop);
	struct sink sink = {0};
	struct chardev_user user = user_of(&sink);
	chardev_attach(chr, &user, NULL);
	int fd = net_connect_unix(path, NULL);
	RUN_UNTIL(loop, sink.opened);

	static char block[65536];
	size_t sent = 0, taken;
	while ((taken = chardev_write(chr, block, sizeof(block))) == sizeof(block))
		sent += taken;
	sent += taken;
	size_t received = 0;
	fcntl(fd, F_SETFL, O_NONBLOCK);
	while (received < sent) {
		ssize_t n = read(fd, block, sizeof(block));
		received += n > 0 ? n : 0;
	}
	RUN_UNTIL(loop, sink.writable);
	g_assert_cmpuint(chardev_write(chr, block, 100), ==, 100);
	close(fd);
	chardev_free(chr);
	rmdir(folder);
	aio_loop_free(loop);
}

static void test_pty(void)
{
	struct aio_loop *loop = aio_loop_new(NULL);
	struct chardev *chr = open_spec("pty", loop);
	struct sink sink = {.room = 100};
	struct chardev_user user = user_of(&sink);
	chardev_attach(chr, &user, NULL);
	const char *name = chardev_describe(chr);
	g_assert_true(g_str_has_prefix(name, "pty:/dev/pts/"));
	/* Without a reader nothing piles up in the kernel, however much is written. */
	for (unsigned i = 0; i < 10000; i++)
		g_assert_cmpuint(chardev_write(chr, "0123456789", 10), ==, 10);
	int fd = open(name + 4, O_RDWR | O_NOCTTY);
	g_assert_cmpint(fd, >=, 0);
	RUN_UNTIL(loop, sink.opened == 1);
	g_assert_cmpint(write(fd, "typed", 5), ==, 5);
	RUN_UNTIL(loop, sink.length == 5);
	g_assert_cmpuint(chardev_write(chr, "shown", 5), ==, 5);
	char shown[6] = "";
	g_assert_cmpint(read(fd, shown, 5), ==, 5);
	g_assert_cmpstr(shown, ==, "shown");
	close(fd);
	RUN_UNTIL(loop, sink.closed == 1);
	chardev_free(chr);
	aio_loop_free(loop);
}

static void quit_called(void *opaque)
{
	++*(unsigned *)opaque;
}

static void test_mux(void)
{
	struct aio_loop *loop = aio_loop_new(NULL);
	g_autofree char *folder = g_dir_make_tmp("berth-chardev-XXXXXX", NULL);
	g_autofree char *path = g_build_filename(folder, "s", NULL);
	g_autofree char *spec = g_strdup_printf("mon:unix:%s,server=on,wait=off", path);
	struct chardev *chr = open_spec(spec, loop);
	g_assert_true(chardev_is_mux(chr));
	struct sink a = {.room = 100}, b = {.room = 100};
	struct chardev_user user_a = user_of(&a), user_b = user_of(&b);
	unsigned quits = 0;
	g_assert_true(chardev_attach(chr, &user_a, NULL));
	g_assert_true(chardev_attach(chr, &user_b, NULL));
	chardev_mux_set_quit(chr, quit_called, &quits);
	int fd = net_connect_unix(path, NULL);
	RUN_UNTIL(loop, a.opened && b.opened);

	static const char keys[] = "one\001ctwo\001\001\001b\001cthree\001x";
	g_assert_cmpint(write(fd, keys, sizeof(keys) - 1), ==, sizeof(keys) - 1);
	RUN_UNTIL(loop, quits);
	g_assert_cmpstr(a.text, ==, "onethree");
	g_assert_cmpstr(b.text, ==, "two\001");
	g_assert_cmpuint(b.breaks, ==, 1);
	g_assert_cmpuint(a.focused, ==, 1);

	/* A user that reads nothing must not keep Ctrl-a x from getting through. */
	a.room = 0;
	g_assert_cmpint(write(fd, "lost\001x", 6), ==, 6);
	RUN_UNTIL(loop, quits == 2);
	chardev_detach(chr, &a);
	g_assert_cmpint(write(fd, "late", 4), ==, 4);
	RUN_UNTIL(loop, b.length == 8);
	close(fd);
	chardev_free(chr);
	rmdir(folder);
	aio_loop_free(loop);
}

static void test_file_and_ringbuf(void)
{
	struct aio_loop *loop = aio_loop_new(NULL);
	g_autofree char *folder = g_dir_make_tmp("berth-chardev-XXXXXX", NULL);
	g_autofree char *path = g_build_filename(folder, "log", NULL);
	g_autofree char *spec = g_strdup_printf("file:%s", path), *content = NULL;
	struct chardev *chr = open_spec(spec, loop);
	g_assert_cmpuint(chardev_write(chr, "line\n", 5), ==, 5);
	chardev_free(chr);
	g_assert_true(g_file_get_contents(path, &content, NULL, NULL));
	g_assert_cmpstr(content, ==, "line\n");
	unlink(path);
	rmdir(folder);

	const char *keys[] = {"size", NULL}, *values[] = {"8", NULL};
	chr = chardev_new("ringbuf", "r", keys, values, loop, NULL);
	chardev_write(chr, "0123456789", 10);
	g_autoptr(GBytes) bytes = chardev_ringbuf_read(chr, 100);
	g_assert_cmpmem(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), "23456789", 8);
	chardev_free(chr);
	aio_loop_free(loop);
}

static void test_bad_input(void)
{
	static const char *const specs[] = {
		"nonsense", "unix:", "tcp:localhost", "tcp:localhost:99999999", "udp:1",
		"unix:/nonexistent/folder/s,server=on,wait=off", "unix:/nonexistent/s",
		"file:/nonexistent/folder/f", "pipe:/nonexistent", "unix:/tmp/x,serve=on",
		"unix:/tmp/x,server=maybe", "unix:/tmp/x,telnet=on",
	};
	struct aio_loop *loop = aio_loop_new(NULL);
	for (unsigned i = 0; i < G_N_ELEMENTS(specs); i++) {
		g_autoptr(GError) error = NULL;
		g_assert_null(chardev_new_from_spec(specs[i], "x", loop, &error));
		g_assert_nonnull(error);
		g_assert_null(strchr(error->message, '\n'));
	}
	aio_loop_free(loop);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/chardev/socket", test_socket);
	g_test_add_func("/chardev/backpressure", test_backpressure);
	g_test_add_func("/chardev/pty", test_pty);
	g_test_add_func("/chardev/mux", test_mux);
	g_test_add_func("/chardev/file-and-ringbuf", test_file_and_ringbuf);
	g_test_add_func("/chardev/bad-input", test_bad_input);
	return g_test_run();
}
