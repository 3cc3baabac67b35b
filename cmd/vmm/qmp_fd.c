/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP: descriptors that a client passes with getfd, and names when it uses them. */
#include "vmm.h"

#include "base/error.h"
#include "base/fd.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { MAX_FDS = 64 };

static void close_fd(void *opaque)
{
	close(GPOINTER_TO_INT(opaque) - 1);
}

int fds_take(struct vmm *vmm, const char *name)
{
	void *key, *value;
	if (!vmm->fds || !g_hash_table_steal_extended(vmm->fds, name, &key, &value))
		return -1;
	g_free(key);
	return GPOINTER_TO_INT(value) - 1;
}

static json_t *run_getfd(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	const char *name = json_string_value(json_object_get(args, "fdname"));
	int fd = monitor_take_fd(vmm->monitor);
	if (fd < 0)
		return qmp_error(error, QMP_ERROR_GENERIC, "No file descriptor supplied via SCM_RIGHTS");
	if (g_ascii_isdigit(*name) || !*name || strchr(name, ':')) {
		close(fd);
		return qmp_error(error, QMP_ERROR_GENERIC,
				 "Parameter 'fdname' expects a name not starting with a digit, without ':'");
	}
	if (!vmm->fds)
		vmm->fds = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, close_fd);
	if (g_hash_table_size(vmm->fds) >= MAX_FDS) {
		close(fd);
		return qmp_error(error, QMP_ERROR_GENERIC, "%d descriptors wait to be used: closefd some",
				 MAX_FDS);
	}
	g_hash_table_insert(vmm->fds, g_strdup(name), GINT_TO_POINTER(fd + 1));
	return NULL;
}

static json_t *run_closefd(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	const char *name = json_string_value(json_object_get(args, "fdname"));
	if (!vmm->fds || !g_hash_table_remove(vmm->fds, name))
		return qmp_error(error, QMP_ERROR_GENERIC, "File descriptor named '%s' not found", name);
	return NULL;
}

bool fds_resolve(struct vmm *vmm, struct keyval *props, const char *key, GArray *taken, GError **error)
{
	const char *value = keyval_get(props, key);
	if (!value)
		return true;
	g_auto(GStrv) names = g_strsplit(value, ":", -1);
	g_autoptr(GString) numbers = g_string_new(NULL);
	for (char **name = names; *name; name++) {
		bool number = g_ascii_isdigit(**name);
		int fd = number ? 0 : fds_take(vmm, *name);
		if (fd < 0)
			return error_set(error, BERTH_ERR_NOT_FOUND,
					 "File descriptor named '%s' not found: pass it with getfd", *name);
		if (numbers->len)
			g_string_append_c(numbers, ':');
		if (number)
			g_string_append(numbers, *name);
		else
			g_string_append_printf(numbers, "%d", fd);
		if (!number)
			g_array_append_val(taken, fd);
	}
	keyval_set(props, key, numbers->str);
	return true;
}

/* Standard error is the process's log, and standard output goes where it goes. */
static bool switch_process_log(int fd, GError **error)
{
	return (dup2(fd, STDERR_FILENO) >= 0 && dup2(fd, STDOUT_FILENO) >= 0) ||
	       error_set_errno(error, errno, "cannot switch the log");
}

/*
 * A log is rotated by whoever owns it: he renames the file, and passes a new one with this command. What is
 * written before the answer may be in the old one. QEMU has nothing like it, but is given a pipe's end whose
 * other end is another program's (virtlogd).
 */
static json_t *run_switch_log(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	const char *id = json_string_value(json_object_get(args, "chardev"));
	auto_fd fd = monitor_take_fd(vmm->monitor);
	if (fd < 0)
		return qmp_error(error, QMP_ERROR_GENERIC, "No file descriptor supplied via SCM_RIGHTS");
	struct chardev *chr = id ? backends_find_chardev(&vmm->backends, id) : NULL;
	if (id && !chr)
		return qmp_error(error, QMP_ERROR_GENERIC, "Chardev '%s' not found", id);
	if (chr)
		chardev_switch_log(chr, fd, error);
	else
		switch_process_log(fd, error);
	return NULL;
}

void fds_clear(struct vmm *vmm)
{
	if (vmm->fds)
		g_hash_table_unref(vmm->fds);
	vmm->fds = NULL;
}

static const struct qmp_command commands[] = {
	{"getfd", "fdname:str", NULL, run_getfd},
	{"closefd", "fdname:str", NULL, run_closefd},
	{"x-switch-log", "chardev?:str", NULL, run_switch_log},
	{NULL},
};

const struct qmp_table qmp_fd_table = {commands, NULL, NULL, NULL};
