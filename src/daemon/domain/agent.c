/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/agent.h"

#include "aio/net.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "daemon/domain/agent_reply.h"
#include "daemon/domain/notify.h"
#include "daemon/domain/vmm.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
	READ_STEP = 16384,
	SYNC_S = 5,     /* libvirt's limit for an agent to show that it is there */
	BLOCK_S = 600,  /* "for ever": a guest must not keep its caller for longer */
	MAX_OPEN = 100, /* commands that wait */
};

struct command {
	char *name;
	json_t *message;
	int timeout_s;
	bool ends_guest;
	agent_done_fn *done;
	void *opaque;
};

enum phase { IDLE, SYNC, ANSWER };

struct agent {
	struct domain *dom;
	char *alias, *path;
	bool open;       /* by the guest */
	int timeout_s;   /* of commands without one */
	int fd;          /* -1: not connected */
	struct aio_watch *watch;
	GString *out;
	struct agent_reply reply;
	GQueue commands; /* the first one is under way unless the phase is IDLE */
	enum phase phase;
	json_int_t sync_id;
	struct aio_timer timer;
	bool dead;       /* freed when the loop turns */
};

static struct aio_loop *loop_of(const struct agent *agent)
{
	return agent->dom->all->daemon->loop;
}

static void start_next(struct agent *agent);

/* --- Ends ----------------------------------------------------------------------------------- */

/* Ends the first command. */
static void finish(struct agent *agent, json_t *result, const GError *error)
{
	struct command *command = g_queue_pop_head(&agent->commands);
	agent->phase = IDLE;
	aio_timer_cancel(&agent->timer);
	command->done(command->opaque, result, error);
	json_decref(command->message);
	g_free(command->name);
	g_free(command);
}

static void fail_all(struct agent *agent, const char *why)
{
	g_autoptr(GError) error = NULL;
	virt_error(&error, VIRT_FROM_QEMU, VIRT_AGENT_UNRESPONSIVE, "%s", why);
	while (!g_queue_is_empty(&agent->commands))
		finish(agent, NULL, error);
}

static void disconnect(struct agent *agent)
{
	if (agent->fd < 0)
		return;
	aio_watch_remove(agent->watch);
	fd_clear(&agent->fd);
	g_string_truncate(agent->out, 0);
	agent_reply_clear(&agent->reply);
	agent_reply_init(&agent->reply);
}

static void release(void *opaque)
{
	struct agent *agent = opaque;
	g_string_free(agent->out, TRUE);
	agent_reply_clear(&agent->reply);
	g_free(agent->alias);
	g_free(agent->path);
	g_free(agent);
}

void agent_free(struct agent *agent)
{
	if (!agent)
		return;
	agent->dead = true;
	disconnect(agent);
	fail_all(agent, "the domain has ended, or its agent's channel is gone");
	aio_timer_cancel(&agent->timer);
	/* A caller further up the stack may be reading from it. */
	aio_loop_post(loop_of(agent), release, agent);
}

static void on_timeout(void *opaque)
{
	struct agent *agent = opaque;
	const struct command *command = g_queue_peek_head(&agent->commands);
	g_autoptr(GError) error = NULL;
	virt_error(&error, VIRT_FROM_QEMU, VIRT_AGENT_UNRESPONSIVE,
		   agent->phase == SYNC ? "guest agent didn't respond to synchronization for command '%s'"
					: "guest agent didn't respond to command '%s'", command->name);
	/* What the guest has not read is forgotten, so that nothing piles up. */
	disconnect(agent);
	finish(agent, NULL, error);
	start_next(agent);
}

/* --- Receiving ------------------------------------------------------------------------------ */

static void send_text(struct agent *agent, const json_t *message, const char *before);

static void arm(struct agent *agent, int seconds)
{
	aio_timer_cancel(&agent->timer);
	aio_timer_arm(&agent->timer, aio_now_ns() + seconds * INT64_C(1000000000));
}

static void send_command(struct agent *agent)
{
	const struct command *command = g_queue_peek_head(&agent->commands);
	agent->phase = ANSWER;
	send_text(agent, command->message, "");
	if (command->timeout_s == AGENT_NOWAIT)
		finish(agent, NULL, NULL);
	else
		arm(agent, command->timeout_s);
}

static void take_answer(struct agent *agent, json_t *object)
{
	const struct command *command = g_queue_peek_head(&agent->commands);
	json_t *failure = json_object_get(object, "error"), *result = json_object_get(object, "return");
	g_autoptr(GError) error = NULL;
	if (failure) {
		const char *text = json_string_value(json_object_get(failure, "desc"));
		virt_error(&error, VIRT_FROM_QEMU, VIRT_INTERNAL,
			   "unable to execute QEMU agent command '%s': %s", command->name,
			   text ? text : "no reason given");
		finish(agent, NULL, error);
	} else if (result && !command->ends_guest) {
		finish(agent, result, NULL);
	}
}

static void take(struct agent *agent, json_t *object)
{
	const json_t *result = json_object_get(object, "return");
	if (agent->phase == ANSWER)
		take_answer(agent, object);
	else if (agent->phase == SYNC && json_is_integer(result) &&
		 json_integer_value(result) == agent->sync_id)
		send_command(agent);
	if (agent->phase == IDLE)
		start_next(agent);
}

static void take_bytes(struct agent *agent, const uint8_t *data, size_t length)
{
	json_t *object = NULL;
	GError *error = NULL;
	while (!agent->dead && agent->fd >= 0 &&
	       agent_reply_next(&agent->reply, &data, &length, &object, &error)) {
		if (error)
			log_debug("domain '%s': its agent sent no JSON: %s", agent->dom->name,
				  error->message);
		g_clear_error(&error);
		if (object)
			take(agent, object);
		json_decref(object);
		object = NULL;
	}
}

/* --- The socket ----------------------------------------------------------------------------- */

static void flush(struct agent *agent)
{
	while (agent->out->len) {
		ssize_t n = send(agent->fd, agent->out->str, agent->out->len, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		/* If it is broken, reading will say so. */
		if (n < 0)
			break;
		g_string_erase(agent->out, 0, n);
	}
	aio_watch_modify(agent->watch, POLLIN | (agent->out->len ? POLLOUT : 0));
}

static void send_text(struct agent *agent, const json_t *message, const char *before)
{
	char *text = json_dumps(message, JSON_COMPACT);
	g_string_append_printf(agent->out, "%s%s\n", before, text);
	free(text);
	flush(agent);
}

static void on_ready(void *opaque, int fd, uint32_t events)
{
	struct agent *agent = opaque;
	uint8_t buffer[READ_STEP];
	if (events & POLLOUT)
		flush(agent);
	if (!(events & (POLLIN | POLLHUP | POLLERR)))
		return;
	ssize_t n = recv(fd, buffer, sizeof(buffer), 0);
	if (n > 0) {
		take_bytes(agent, buffer, n);
	} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		disconnect(agent);
		fail_all(agent, "the VMM has closed the agent's channel");
	}
}

static bool connect_agent(struct agent *agent, GError **error)
{
	if (agent->fd >= 0)
		return true;
	auto_fd fd = net_connect_unix_now(agent->path, error);
	if (fd < 0)
		return false;
	agent->fd = fd_steal(&fd);
	agent->watch = aio_watch_add(loop_of(agent), agent->fd, POLLIN, on_ready, agent);
	return true;
}

/* --- Sending -------------------------------------------------------------------------------- */

/* The first command that waits, unless one is under way. */
static void start_next(struct agent *agent)
{
	g_autoptr(GError) error = NULL;
	if (agent->dead || agent->phase != IDLE || g_queue_is_empty(&agent->commands))
		return;
	if (!connect_agent(agent, &error)) {
		fail_all(agent, error->message);
		return;
	}
	const struct command *command = g_queue_peek_head(&agent->commands);
	agent->phase = SYNC;
	agent->sync_id = g_random_int_range(1, G_MAXINT32);
	json_t *message = json_pack("{s:s, s:{s:I}}", "execute", "guest-sync-delimited", "arguments", "id",
				    agent->sync_id);
	/* The byte makes the agent forget what it has half read of an earlier client. */
	send_text(agent, message, "\xff");
	json_decref(message);
	arm(agent, command->timeout_s > 0 ? MIN(command->timeout_s, SYNC_S) : SYNC_S);
}

bool agent_check(const struct domain *dom, GError **error)
{
	if (!dom->vmm)
		return virt_error(error, VIRT_FROM_DOMAIN, VIRT_OPERATION_INVALID,
				  "domain is not running");
	if (!dom->agent)
		return virt_error(error, VIRT_FROM_QEMU, VIRT_ARGUMENT_UNSUPPORTED,
				  "QEMU guest agent is not configured");
	return dom->agent->open || virt_error(error, VIRT_FROM_QEMU, VIRT_AGENT_UNRESPONSIVE,
					      "QEMU guest agent is not connected");
}

static int effective_timeout(const struct agent *agent, const struct agent_command *command)
{
	int seconds = command->has_timeout ? command->timeout_s : agent->timeout_s;
	return seconds == AGENT_BLOCK ? BLOCK_S : seconds == AGENT_DEFAULT ? SYNC_S : seconds;
}

void agent_execute(struct domain *dom, const struct agent_command *command)
{
	struct agent *agent = dom->agent;
	g_autoptr(GError) error = NULL;
	if (!agent_check(dom, &error) ||
	    (g_queue_get_length(&agent->commands) >= MAX_OPEN &&
	     !virt_error(&error, VIRT_FROM_QEMU, VIRT_AGENT_UNRESPONSIVE,
			 "%d commands wait for the guest agent already", MAX_OPEN))) {
		json_decref(command->args);
		command->done(command->opaque, NULL, error);
		return;
	}
	struct command *entry = g_new0(struct command, 1);
	entry->name = g_strdup(command->name);
	entry->message = json_pack("{s:s}", "execute", command->name);
	if (command->args)
		json_object_set_new(entry->message, "arguments", command->args);
	entry->timeout_s = effective_timeout(agent, command);
	entry->ends_guest = command->ends_guest;
	entry->done = command->done;
	entry->opaque = command->opaque;
	g_queue_push_tail(&agent->commands, entry);
	start_next(agent);
}

/* --- What the VMM says ----------------------------------------------------------------------- */

void agent_port_changed(struct domain *dom, const char *alias, bool open)
{
	struct agent *agent = dom->agent;
	if (!agent || strcmp(agent->alias, alias) != 0 || agent->open == open)
		return;
	agent->open = open;
	/* With nobody at the other end the agent would look for somebody all the time. */
	g_autoptr(GError) error = NULL;
	if (open && !connect_agent(agent, &error))
		log_warning("domain '%s': %s", dom->name, error->message);
	if (!open) {
		/* A guest that shuts down ends its agent first. */
		agent_guest_ended(dom);
		disconnect(agent);
		fail_all(agent, "QEMU guest agent is not connected");
	}
	notify_agent(dom, open);
}

void agent_guest_ended(struct domain *dom)
{
	struct agent *agent = dom->agent;
	const struct command *command = agent ? g_queue_peek_head(&agent->commands) : NULL;
	if (!command || agent->phase != ANSWER || !command->ends_guest)
		return;
	finish(agent, NULL, NULL);
	start_next(agent);
}

/* --- Life ----------------------------------------------------------------------------------- */

static const struct conf_domain_char *find_channel(const struct conf_domain *conf)
{
	for (unsigned i = 0; conf && i < conf->chars->len; i++) {
		const struct conf_domain_char *chr = conf->chars->pdata[i];
		if (chr->kind == CONF_DOMAIN_CHANNEL && g_strcmp0(chr->name, AGENT_CHANNEL) == 0 &&
		    strcmp(chr->type, "unix") == 0 && chr->listens)
			return chr;
	}
	return NULL;
}

/* A later daemon must know it, too. */
static char *timeout_file(const struct domain *dom)
{
	return g_build_filename(vmm_run_dir(dom), "agent-timeout", NULL);
}

static int read_timeout(const struct domain *dom)
{
	g_autofree char *path = timeout_file(dom), *text = NULL;
	return g_file_get_contents(path, &text, NULL, NULL) ? MAX(atoi(text), AGENT_BLOCK) : AGENT_BLOCK;
}

bool agent_set_timeout(struct domain *dom, int timeout_s, GError **error)
{
	if (!agent_check(dom, error))
		return false;
	g_autofree char *path = timeout_file(dom), *text = g_strdup_printf("%d\n", timeout_s);
	if (!g_file_set_contents(path, text, -1, error))
		return false;
	dom->agent->timeout_s = timeout_s;
	return true;
}

void agent_update(struct domain *dom)
{
	const struct conf_domain_char *chr = dom->vmm ? find_channel(dom->live) : NULL;
	if (dom->agent && (!chr || strcmp(dom->agent->alias, chr->dev.alias) != 0))
		agent_free(g_steal_pointer(&dom->agent));
	if (!chr || dom->agent)
		return;
	struct agent *agent = dom->agent = g_new0(struct agent, 1);
	agent->dom = dom;
	agent->fd = -1;
	agent->alias = g_strdup(chr->dev.alias);
	agent->path = vmm_channel_path(dom, chr);
	agent->timeout_s = read_timeout(dom);
	agent->out = g_string_new(NULL);
	agent_reply_init(&agent->reply);
	g_queue_init(&agent->commands);
	aio_timer_init(&agent->timer, loop_of(agent), on_timeout, agent);
}

bool agent_has_channel(const struct domain *dom, const char *alias)
{
	return dom->agent && strcmp(dom->agent->alias, alias) == 0;
}
