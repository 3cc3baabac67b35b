/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A target that was begun is removed if the command does not finish: on an error, and on Ctrl-C,
 * SIGTERM and SIGHUP. For files, the handler unlinks and dies of the same signal, so that a shell sees
 * what happened. To remove something from a server takes more than a handler may do: it only says so,
 * and the command stops as after an error. A second signal kills as ever.
 */
#include "target.h"

#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const int signals[] = {SIGINT, SIGTERM, SIGHUP};

/* Read by the signal handler; written only with the signals blocked. */
static char **paths; /* NULL-terminated; or NULL */
static const char *on_server; /* a name that no path is; or NULL */

static volatile sig_atomic_t interrupted; /* the signal's number */

static void on_signal(int number)
{
	if (on_server) {
		interrupted = number;
		return;
	}
	for (char **path = paths; path && *path; path++)
		unlink(*path);
	raise(number); /* its action is the default one again: SA_RESETHAND */
}

static void set_watched(char **new_paths, const char *server)
{
	sigset_t ours, old;
	sigemptyset(&ours);
	for (unsigned i = 0; i < G_N_ELEMENTS(signals); i++)
		sigaddset(&ours, signals[i]);
	sigprocmask(SIG_BLOCK, &ours, &old);
	char **before = paths;
	paths = new_paths;
	on_server = server;
	sigprocmask(SIG_SETMASK, &old, NULL);
	g_strfreev(before);
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESETHAND};
	for (unsigned i = 0; i < G_N_ELEMENTS(signals); i++)
		sigaction(signals[i], &action, NULL);
}

static void watch_file(const char *path)
{
	g_autoptr(GStrvBuilder) builder = g_strv_builder_new();
	for (char **old = paths; old && *old; old++)
		g_strv_builder_add(builder, *old);
	g_strv_builder_add(builder, path);
	set_watched(g_strv_builder_end(builder), NULL);
}

bool target_create(const struct image_env *env, const char *name, const char *format, uint64_t size,
		   const json_t *options, GError **error)
{
	struct stat st;
	g_autofree char *path = block_local_path(name);
	bool there = path && lstat(path, &st) == 0;
	/* Preallocation may take long; but what is there already is nobody's to remove before it is ours. */
	if (path && !there)
		watch_file(path);
	if (!block_create_in(env->graph, name, format, size, options, env->loop, error)) {
		target_keep(); /* what was made is gone again */
		return false;
	}
	/* A device or a pipe is not ours to remove. */
	if (there && stat(path, &st) == 0 && S_ISREG(st.st_mode))
		watch_file(path);
	if (!path)
		set_watched(NULL, name);
	return true;
}

void target_opened(const struct block_node *node)
{
	g_autoptr(GPtrArray) extents = block_extent_files(node);
	for (unsigned i = 0; paths && i < extents->len; i++)
		watch_file(extents->pdata[i]);
}

bool target_interrupted(void)
{
	return interrupted;
}

void target_keep(void)
{
	set_watched(NULL, NULL);
}

static void remove_from_server(const struct image_env *env)
{
	g_autoptr(GError) error = NULL;
	if (!block_remove(env->graph, on_server, env->loop, &error))
		img_fail("'%s' holds a part of the copy and cannot be removed: %s", on_server, error->message);
}

void target_remove(const struct image_env *env)
{
	for (char **path = paths; path && *path; path++)
		unlink(*path);
	if (on_server)
		remove_from_server(env);
	set_watched(NULL, NULL);
	if (!interrupted)
		return;
	signal(interrupted, SIG_DFL);
	raise(interrupted);
}
