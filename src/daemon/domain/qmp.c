/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/qmp.h"

#include "aio/net.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "codec/json.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define CLOSED "the connection to the VMM has ended"

enum { READ_STEP = 16384, MAX_QUEUED = 1 << 20 };

/*
 * How much of a VMM's talk that nobody has asked for is listened to: a guest's doings become events, and
 * each of them goes to every client. What is beyond waits in the VMM, and so do its answers.
 */
#define TALK_PER_SECOND 1000
#define SECOND_NS       INT64_C(1000000000)

struct command {
	struct qmp *qmp;
	json_int_t id;
	qmp_done_fn *done;
	void *opaque;
	struct aio_timer timer;
};

struct qmp {
	struct aio_loop *loop;
	int fd;
	struct aio_watch *watch;
	struct json_stream stream;
	GString *out;
	GPtrArray *commands; /* struct command, sent and not answered */
	json_int_t next_id;
	const struct qmp_ops *ops;
	void *opaque;
	unsigned talk;         /* messages that are no answers, in the second from since_ns on */
	int64_t since_ns;
	struct aio_timer hold; /* armed while nothing is read */
	bool held, told;       /* told: the log has a line about it */
	bool dead; /* freed when the loop turns */
};

static void finish(struct command *command, json_t *result, const GError *error)
{
	g_ptr_array_remove(command->qmp->commands, command);
	aio_timer_cancel(&command->timer);
	if (command->done)
		command->done(command->opaque, result, error);
	g_free(command);
}

static void fail_all(struct qmp *qmp, const char *why)
{
	g_autoptr(GError) error = g_error_new(BERTH_ERROR, BERTH_ERR_IO, "%s", why);
	while (qmp->commands->len)
		finish(qmp->commands->pdata[0], NULL, error);
}

static void release(void *opaque)
{
	struct qmp *qmp = opaque;
	json_stream_clear(&qmp->stream);
	g_string_free(qmp->out, TRUE);
	g_ptr_array_unref(qmp->commands);
	g_free(qmp);
}

void qmp_free(struct qmp *qmp)
{
	if (!qmp || qmp->dead)
		return;
	qmp->dead = true;
	aio_watch_remove(qmp->watch);
	aio_timer_cancel(&qmp->hold);
	fd_clear(&qmp->fd);
	fail_all(qmp, CLOSED);
	/* A caller further up the stack may be reading from it. */
	aio_loop_post(qmp->loop, release, qmp);
}

static void hang_up(struct qmp *qmp)
{
	const struct qmp_ops *ops = qmp->ops;
	void *opaque = qmp->opaque;
	qmp_free(qmp);
	ops->closed(opaque);
}

/* --- Receiving ------------------------------------------------------------------------------ */

static struct command *find(struct qmp *qmp, const json_t *id)
{
	for (unsigned i = 0; json_is_integer(id) && i < qmp->commands->len; i++) {
		struct command *command = qmp->commands->pdata[i];
		if (command->id == json_integer_value(id))
			return command;
	}
	return NULL;
}

static void take(struct qmp *qmp, json_t *message)
{
	const char *event = json_string_value(json_object_get(message, "event"));
	struct command *command = find(qmp, json_object_get(message, "id"));
	json_t *failure = json_object_get(message, "error");
	qmp->talk += !command;
	if (event) {
		qmp->ops->event(qmp->opaque, event, json_object_get(message, "data"));
	} else if (command && failure) {
		const char *text = json_string_value(json_object_get(failure, "desc"));
		g_autoptr(GError) error =
			g_error_new(BERTH_ERROR, BERTH_ERR_BUSY, "%s", text ? text : "no reason given");
		finish(command, NULL, error);
	} else if (command) {
		finish(command, json_object_get(message, "return"), NULL);
	}
}

static void take_bytes(struct qmp *qmp, const char *data, size_t length)
{
	json_t *message = NULL;
	g_autoptr(GError) error = NULL;
	while (!qmp->dead && json_stream_next(&qmp->stream, &data, &length, &message, &error)) {
		if (error && qmp->talk++ < 5)
			log_warning("a VMM sent no JSON: %s", error->message);
		g_clear_error(&error);
		if (message)
			take(qmp, message);
		json_decref(message);
		message = NULL;
	}
}

static void set_watch(struct qmp *qmp)
{
	aio_watch_modify(qmp->watch, (qmp->held ? 0 : POLLIN) | (qmp->out->len ? POLLOUT : 0));
}

static void flush(struct qmp *qmp)
{
	while (qmp->out->len) {
		ssize_t n = send(qmp->fd, qmp->out->str, qmp->out->len, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		/* If it is broken, reading will say so. */
		if (n < 0)
			break;
		g_string_erase(qmp->out, 0, n);
	}
	set_watch(qmp);
}

static void listen_again(void *opaque)
{
	struct qmp *qmp = opaque;
	qmp->held = false;
	set_watch(qmp);
}

static void hold_back(struct qmp *qmp)
{
	if (!qmp->told)
		log_warning("a VMM says more than %d things a second unasked: it is listened to more slowly",
			    TALK_PER_SECOND);
	qmp->told = true;
	qmp->held = true;
	aio_timer_arm(&qmp->hold, qmp->since_ns + SECOND_NS);
	set_watch(qmp);
}

static void on_ready(void *opaque, int fd, uint32_t events)
{
	struct qmp *qmp = opaque;
	char buffer[READ_STEP];
	if (events & POLLOUT)
		flush(qmp);
	if (!(events & (POLLIN | POLLHUP | POLLERR)))
		return;
	if (aio_now_ns() - qmp->since_ns >= SECOND_NS) {
		qmp->since_ns = aio_now_ns();
		qmp->talk = 0;
	}
	ssize_t n = recv(fd, buffer, sizeof(buffer), 0);
	if (n > 0)
		take_bytes(qmp, buffer, n);
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		hang_up(qmp);
	if (!qmp->dead && qmp->talk > TALK_PER_SECOND)
		hold_back(qmp);
}

/* --- Sending -------------------------------------------------------------------------------- */

static void on_timeout(void *opaque)
{
	struct command *command = opaque;
	g_autoptr(GError) error =
		g_error_new(BERTH_ERROR, BERTH_ERR_BUSY, "the VMM does not answer");
	finish(command, NULL, error);
}

/* The descriptor goes with the first byte. What of the text is not sent at once is queued. */
static bool send_with_fd(struct qmp *qmp, const char *line, int fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(fd))];
		struct cmsghdr align;
	} control = {0};
	struct iovec iov = {(void *)line, strlen(line)};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes,
				 .msg_controllen = sizeof(control.bytes)};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(header), &fd, sizeof(fd));
	ssize_t n = qmp->out->len ? -1 : sendmsg(qmp->fd, &message, MSG_NOSIGNAL);
	if (n > 0)
		g_string_append(qmp->out, line + n);
	return n > 0;
}

static struct command *command_new(struct qmp *qmp, qmp_done_fn *done, void *opaque)
{
	struct command *entry = g_new0(struct command, 1);
	entry->qmp = qmp;
	entry->id = qmp->next_id++;
	entry->done = done;
	entry->opaque = opaque;
	aio_timer_init(&entry->timer, qmp->loop, on_timeout, entry);
	g_ptr_array_add(qmp->commands, entry);
	return entry;
}

void qmp_execute_fd(struct qmp *qmp, const char *command, json_t *arguments, int fd, unsigned timeout_ms,
		    qmp_done_fn *done, void *opaque)
{
	/* Whoever hears that a command has failed with the connection may want to undo what it did. */
	if (qmp->dead) {
		g_autoptr(GError) error = g_error_new_literal(BERTH_ERROR, BERTH_ERR_IO, CLOSED);
		json_decref(arguments);
		if (done)
			done(opaque, NULL, error);
		return;
	}
	struct command *entry = command_new(qmp, done, opaque);
	json_t *message = json_pack("{s:s, s:I}", "execute", command, "id", entry->id);
	if (arguments)
		json_object_set_new(message, "arguments", arguments);
	char *text = json_dumps(message, JSON_COMPACT);
	g_autofree char *line = g_strconcat(text, "\n", NULL);
	json_decref(message);
	free(text);
	if (fd >= 0 && !send_with_fd(qmp, line, fd)) {
		g_autoptr(GError) error = g_error_new(BERTH_ERROR, BERTH_ERR_BUSY, "the VMM does not read");
		finish(entry, NULL, error);
		return;
	}
	/* To a VMM that does not read, the deadline is the answer; more would only fill memory. */
	if (fd < 0 && qmp->out->len < MAX_QUEUED)
		g_string_append(qmp->out, line);
	aio_timer_arm(&entry->timer, aio_now_ns() + timeout_ms * INT64_C(1000000));
	flush(qmp);
}

void qmp_execute(struct qmp *qmp, const char *command, json_t *arguments, unsigned timeout_ms,
		 qmp_done_fn *done, void *opaque)
{
	qmp_execute_fd(qmp, command, arguments, -1, timeout_ms, done, opaque);
}

struct qmp *qmp_connect(struct aio_loop *loop, const char *path, const struct qmp_ops *ops,
			void *opaque, GError **error)
{
	/* A VMM that accepts nobody must not hold up the daemon. */
	auto_fd fd = net_connect_unix_now(path, error);
	if (fd < 0)
		return NULL;
	struct qmp *qmp = g_new0(struct qmp, 1);
	qmp->loop = loop;
	qmp->fd = fd_steal(&fd);
	qmp->out = g_string_new(NULL);
	qmp->commands = g_ptr_array_new();
	qmp->ops = ops;
	qmp->opaque = opaque;
	json_stream_init(&qmp->stream);
	aio_timer_init(&qmp->hold, loop, listen_again, qmp);
	qmp->watch = aio_watch_add(loop, qmp->fd, POLLIN, on_ready, qmp);
	return qmp;
}
