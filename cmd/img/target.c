/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A target that was begun is removed if the command does not finish: on an error, and on Ctrl-C,
 * SIGTERM and SIGHUP. The handler only unlinks and dies of the same signal, so that a shell sees
 * what happened.
 */
#include "img.h"

#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Read by the signal handler; written only with the signals blocked. */
static char watched[4096];

static void on_signal(int number)
{
	if (watched[0])
		unlink(watched);
	signal(number, SIG_DFL);
	raise(number);
}

static void set_watched(const char *path)
{
	sigset_t ours, old;
	sigemptyset(&ours);
	sigaddset(&ours, SIGINT);
	sigaddset(&ours, SIGTERM);
	sigaddset(&ours, SIGHUP);
	sigprocmask(SIG_BLOCK, &ours, &old);
	g_strlcpy(watched, path, sizeof(watched));
	sigprocmask(SIG_SETMASK, &old, NULL);
}

void img_target_watch(const char *path)
{
	struct stat st;
	if (g_str_has_prefix(path, "file:"))
		path += strlen("file:");
	/* A device or a pipe is not ours to remove, nor can a name be cut short. */
	if (strlen(path) >= sizeof(watched) || (stat(path, &st) == 0 && !S_ISREG(st.st_mode)))
		return;
	set_watched(path);
	struct sigaction action = {.sa_handler = on_signal};
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
}

void img_target_keep(void)
{
	set_watched("");
}

void img_target_remove(void)
{
	if (watched[0])
		unlink(watched);
	set_watched("");
}
