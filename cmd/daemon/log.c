/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "log.h"

#include "base/error.h"
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

enum log_level log_lowest(const struct options *options, const struct settings *settings)
{
	return options->debug ? LOG_LEVEL_DEBUG : (enum log_level)(settings->log_level - 1);
}

static bool open_file(const struct options *options, const struct settings *settings,
		      const char *path, GError **error)
{
	static FILE *current;
	g_autofree char *folder = g_path_get_dirname(path);
	if (g_mkdir_with_parents(folder, 0700) < 0)
		return error_set_errno(error, errno, "cannot create the folder '%s'", folder);
	/* Who may read it: names of machines, files and clients are in it. */
	auto_fd fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "a");
	if (!file)
		return error_set_errno(error, errno, "cannot open the log '%s'", path);
	fd_steal(&fd);
	setlinebuf(file);
	log_setup("berthd", log_lowest(options, settings), file);
	log_timestamps(true);
	if (current)
		fclose(current);
	current = file;
	return true;
}

bool log_open(const struct options *options, const struct settings *settings, GError **error)
{
	const char *output = settings->log_output;
	/* systemd.exec(5): set where standard error is the journal's. */
	if (!output && getenv("JOURNAL_STREAM"))
		output = "journal";
	if (output && strcmp(output, "journal") == 0)
		return log_to_journal(NULL, error);
	if (output && strcmp(output, "stderr") != 0)
		return open_file(options, settings, output, error);
	if (!options->daemon)
		return true;
	g_autofree char *path = g_build_filename(options->state_dir, "log", "berthd.log", NULL);
	return open_file(options, settings, path, error);
}
