/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's console on this terminal: raw bytes both ways until the escape character. */
#include "table.h"

#include "shell.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

enum { STATE_SHUTOFF = 5, PIECE = 1024 };
/* The last one is berthd's own: any number of clients may watch, and have no part in it. */
enum { CONSOLE_FORCE = 1, CONSOLE_SAFE = 2, CONSOLE_WATCH = 1 << 16 };

static char escape_byte(const char *text)
{
	return text[0] == '^' ? g_ascii_toupper(text[1]) ^ 0x40 : text[0];
}

/* Write what came from the guest. False at the end of the stream or after an error. */
static bool show_output(struct shell *sh, struct client_stream *stream, bool *failed)
{
	const uint8_t *bytes;
	int64_t size;
	int got;
	while ((got = client_stream_receive(stream, 0, &bytes, &size, shell_error(sh))) == 1) {
		for (ssize_t done = 0, n; bytes && done < size; done += n) {
			n = write(STDOUT_FILENO, bytes + done, size - done);
			if (n < 0 && errno != EINTR && errno != EAGAIN)
				return false;
			n = MAX(n, 0);
		}
	}
	*failed = got == -1;
	return got == -2;
}

/* Send what was typed, up to the escape character. False: leave. */
static bool send_input(struct shell *sh, struct client_stream *stream, bool *failed)
{
	char piece[PIECE];
	ssize_t size = read(STDIN_FILENO, piece, sizeof(piece));
	if (size <= 0)
		return size < 0 && (errno == EINTR || errno == EAGAIN);
	const char *escape = memchr(piece, escape_byte(sh->escape), size);
	*failed = !client_stream_send(stream, piece, escape ? escape - piece : size, shell_error(sh));
	return !*failed && !escape;
}

/* `input` is -1 if nothing is to be sent. */
static bool exchange(struct shell *sh, struct client_stream *stream, int input)
{
	bool failed = false;
	struct pollfd fds[] = {{input, POLLIN, 0}, {client_fd(sh->client), POLLIN, 0}};
	for (;;) {
		if (!show_output(sh, stream, &failed))
			return !failed;
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return shell_set_error(sh, CLIENT_SYSTEM, "unable to wait on console condition: %s",
					       g_strerror(errno));
		if (fds[0].revents && !send_input(sh, stream, &failed))
			return !failed;
	}
}

/* Needs no terminal: what comes may go to a file, and an interrupt ends it. */
static bool watch(struct shell *sh, struct remote_domain dom, const char *device)
{
	if (!CALL(sh, domain_open_console, dom, (char *)device, CONSOLE_WATCH))
		return false;
	struct client_stream *stream = client_stream_new(sh->client, REMOTE_DOMAIN_OPEN_CONSOLE);
	bool good = exchange(sh, stream, -1);
	client_stream_free(stream);
	return good;
}

bool run_console(struct shell *sh, struct remote_domain dom, const char *device, uint32_t flags)
{
	struct termios before, raw;
	int state = shell_domain_state(sh, dom, NULL);
	if (state < 0)
		return shell_fail(sh, "Unable to get domain status");
	if (state == STATE_SHUTOFF)
		return shell_fail(sh, "The domain is not running");
	if (flags & CONSOLE_WATCH)
		return watch(sh, dom, device);
	if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &before) < 0)
		return shell_fail(sh, "Cannot run interactive console without a controlling TTY");
	shell_extra(sh, "Connected to domain '%s'\nEscape character is %s", dom.name, sh->escape);
	if (sh->escape[0] == '^')
		shell_extra(sh, " (Ctrl + %c)", sh->escape[1]);
	shell_extra(sh, "\n");
	if (!CALL(sh, domain_open_console, dom, (char *)device, flags))
		return false;
	struct client_stream *stream = client_stream_new(sh->client, REMOTE_DOMAIN_OPEN_CONSOLE);
	raw = before;
	cfmakeraw(&raw);
	tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	bool good = exchange(sh, stream, STDIN_FILENO);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
	client_stream_free(stream);
	return good;
}

bool cmd_console(struct shell *sh, const struct cmd *cmd)
{
	static const struct option_flag table[] = {
		{"force", CONSOLE_FORCE}, {"safe", CONSOLE_SAFE}, {"watch", CONSOLE_WATCH}, {NULL},
	};
	struct remote_domain dom;
	const char *device;
	if (opt_bool(cmd, "watch") && (opt_bool(cmd, "force") || opt_bool(cmd, "safe")))
		return shell_fail(sh, "Options --watch and %s are mutually exclusive",
				  opt_bool(cmd, "force") ? "--force" : "--safe");
	return shell_domain(sh, cmd, NULL, &dom) && opt_string(sh, cmd, "devname", &device) &&
	       run_console(sh, dom, device, opt_flags(cmd, table));
}
