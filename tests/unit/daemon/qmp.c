/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The conversation with a VMM that talks too much. */
#include "daemon/domain/qmp.h"

#include "aio/loop.h"
#include "base/log.h"

#include <glib/gstdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct talk {
	struct aio_loop *loop;
	char *folder, *path;
	int listener, vmm;
	struct qmp *qmp;
	unsigned events;
	bool answered, closed;
};

static void on_event(void *opaque, const char *name, const json_t *data)
{
	g_assert_cmpstr(name, ==, "RESET");
	((struct talk *)opaque)->events++;
}

static void on_closed(void *opaque)
{
	((struct talk *)opaque)->closed = true;
}

static void on_answer(void *opaque, json_t *result, const GError *error)
{
	g_assert_no_error(error);
	((struct talk *)opaque)->answered = true;
}

static void begin(struct talk *talk)
{
	static const struct qmp_ops ops = {.event = on_event, .closed = on_closed};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	talk->loop = aio_loop_new(NULL);
	talk->folder = g_dir_make_tmp("berth-qmp-XXXXXX", NULL);
	talk->path = g_build_filename(talk->folder, "qmp", NULL);
	g_strlcpy(address.sun_path, talk->path, sizeof(address.sun_path));
	talk->listener = socket(AF_UNIX, SOCK_STREAM, 0);
	g_assert_cmpint(bind(talk->listener, (struct sockaddr *)&address, sizeof(address)), ==, 0);
	g_assert_cmpint(listen(talk->listener, 1), ==, 0);
	talk->qmp = qmp_connect(talk->loop, talk->path, &ops, talk, NULL);
	g_assert_nonnull(talk->qmp);
	talk->vmm = accept(talk->listener, NULL, NULL);
}

static void end(struct talk *talk)
{
	if (talk->vmm >= 0)
		close(talk->vmm);
	close(talk->listener);
	if (!talk->closed)
		qmp_free(talk->qmp);
	for (unsigned i = 0; i < 3; i++)
		aio_loop_iterate(talk->loop, 0);
	aio_loop_free(talk->loop);
	g_unlink(talk->path);
	g_rmdir(talk->folder);
	g_free(talk->path);
	g_free(talk->folder);
}

/* In one piece, which fits into the socket: this thread is who reads. */
static void say(struct talk *talk, const char *text, unsigned times)
{
	g_autoptr(GString) all = g_string_new(NULL);
	for (unsigned i = 0; i < times; i++)
		g_string_append(all, text);
	g_assert_cmpint(send(talk->vmm, all->str, all->len, MSG_DONTWAIT), ==, (gssize)all->len);
}

/* Nothing is lost, but it takes its time; and so does an answer that stands behind it. */
static void test_flood(void)
{
	struct talk talk = {.vmm = -1};
	begin(&talk);
	int64_t from = aio_now_ns();
	say(&talk, "{\"event\":\"RESET\"}\r\n", 3000);
	qmp_execute(talk.qmp, "query-status", NULL, 60000, on_answer, &talk);
	say(&talk, "{\"return\":{},\"id\":0}\r\n", 1);
	while (!talk.answered)
		aio_loop_iterate(talk.loop, 100);
	g_assert_cmpuint(talk.events, ==, 3000);
	g_assert_cmpint(aio_now_ns() - from, >=, INT64_C(900000000));
	end(&talk);
}

/* One that hangs up while it is not listened to is heard to the end, at once. */
static void test_flood_and_end(void)
{
	struct talk talk = {.vmm = -1};
	begin(&talk);
	say(&talk, "{\"event\":\"RESET\"}\r\n", 3000);
	close(talk.vmm);
	talk.vmm = -1;
	while (!talk.closed)
		aio_loop_iterate(talk.loop, 100);
	g_assert_cmpuint(talk.events, ==, 3000);
	end(&talk);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	log_setup("test", LOG_LEVEL_ERROR, stderr);
	g_test_add_func("/qmp/flood", test_flood);
	g_test_add_func("/qmp/flood-and-end", test_flood_and_end);
	return g_test_run();
}
