/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP and the human monitor: what the guest's display shows, as a file. */
#include "vmm.h"

#include "base/error.h"
#include "base/fd.h"
#include "dev/display/displays.h"
#include "machine/machine.h"
#include "qmp_args.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static const char *const formats[] = {"ppm", "png", NULL};

/* The display of the device `id`, or without one the first. */
static const struct display *find_display(struct vmm *vmm, const char *id, GError **error)
{
	const GPtrArray *devices = vmm->machine->devices;
	for (unsigned i = 0; i < devices->len; i++) {
		const struct device *dev = devices->pdata[i];
		const struct display *display = device_display(dev);
		if (display && (!id || g_strcmp0(dev->id, id) == 0))
			return display;
	}
	if (id)
		error_set(error, BERTH_ERR_NOT_FOUND, "there is no display with the id '%s'", id);
	else
		error_set(error, BERTH_ERR_NOT_FOUND,
			  "There is no console to take a screendump from: start with -device bochs-display");
	return NULL;
}

static bool write_file(const char *path, GBytes *bytes, GError **error)
{
	/* Not to wait for whoever is at the other end of a pipe. */
	auto_fd fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK | O_CLOEXEC, 0666);
	if (fd < 0)
		return error_set_errno(error, errno, "cannot create '%s'", path);
	gsize left;
	const char *at = g_bytes_get_data(bytes, &left);
	while (left > 0) {
		ssize_t n = write(fd, at, left);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_set_errno(error, errno, "cannot write '%s'", path);
		at += n;
		left -= (gsize)n;
	}
	return true;
}

static json_t *run_screendump(void *opaque, const json_t *args, GError **error)
{
	const char *id = arg_text(args, "device");
	if (arg_int(args, "head", 0) != 0)
		return qmp_error(error, QMP_ERROR_GENERIC, "a display has one head, which is number 0");
	if (arg_enum(args, "format", formats, 0) != 0)
		return qmp_error(error, QMP_ERROR_GENERIC, "format png is not supported yet: use ppm");
	const struct display *display = find_display(opaque, id, error);
	struct display_image *image = display ? display->ops->capture(display->opaque, error) : NULL;
	if (!image)
		return NULL;
	g_autoptr(GBytes) bytes = display_image_ppm(image);
	display_image_free(image);
	write_file(arg_text(args, "filename"), bytes, error);
	return NULL;
}

static const struct qmp_command commands[] = {
	{"screendump", "filename:str device?:str head?:int format?:ImageFormat", NULL, run_screendump},
	{NULL},
};

static const struct qmp_type types[] = {
	{"ImageFormat", "=ppm png"},
	{NULL},
};

const struct qmp_table qmp_screen_table = {commands, types, NULL, NULL};

static void hmp_screendump(void *opaque, struct hmp_call *call)
{
	json_t *args = json_pack("{s:s}", "filename", call->words[0]);
	if (call->count > 1)
		json_object_set_new(args, "device", json_string(call->words[1]));
	json_decref(hmp_qmp(call, "screendump", args));
}

const struct hmp_command hmp_screen_commands[] = {
	{"screendump", NULL, "file [device]", "write what the display shows to a PPM file", 1, 2,
	 hmp_screendump},
	{NULL},
};
