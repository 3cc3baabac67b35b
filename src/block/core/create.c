/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Making images, measuring them before, and the help on options. */
#include "block/core/drivers.h"
#include "block/core/options.h"

#include "base/error.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct create_call {
	struct block_create create;
	bool ok;
	GError **error;
};

/* The protocol that a name speaks of, and the path if that is a local file (g_free()). NULL: *error. */
static const struct block_driver *find_protocol(const char *filename, char **path, GError **error)
{
	*path = NULL;
	/* What is no UTF-8 cannot be opened by name, but made and removed. */
	json_t *dict = g_utf8_validate(filename, -1, NULL) ? block_parse_filename(filename, error)
							  : json_pack("{s:s}", "driver", "file");
	if (!dict)
		return NULL;
	const char *name = json_string_value(json_object_get(dict, "driver"));
	const struct block_driver *driver = name ? block_driver_find(name) : NULL;
	if (!driver || driver->kind != BLOCK_PROTOCOL) {
		driver = NULL;
		error_set(error, BERTH_ERR_INVALID, "'%s' names no file or volume to make", filename);
	} else if (driver == &block_file_driver) {
		const char *plain = json_string_value(json_object_get(dict, "filename"));
		*path = g_strdup(plain ? plain : filename);
	}
	json_decref(dict);
	return driver;
}

/*
 * A volume that cannot be made, as of iSCSI and NBD: it must be there and have the room. Its head is
 * emptied, so that nobody finds what was there before.
 */
static bool take_existing(const struct block_create *create, GError **error)
{
	const struct block_open_options open = {.filename = create->filename, .discard = true,
						.format = create->driver->name, .graph = create->graph};
	struct block_node *node = block_open(&open, create->loop, error);
	if (!node) {
		g_prefix_error(error, "Protocol driver '%s' does not support image creation, and opening "
				      "the image failed: ", create->driver->name);
		return false;
	}
	uint64_t have = node->size, head = MIN(have, 65536);
	g_autofree uint8_t *zeroes = g_malloc0(head);
	bool good = have >= create->size ||
		    error_set(error, BERTH_ERR_INVALID,
			      "'%s' has %" G_GUINT64_FORMAT " bytes, and %" G_GUINT64_FORMAT " are needed",
			      create->filename, have, create->size);
	good = good && block_write_sync(node, 0, zeroes, head, error);
	block_close(node);
	return good;
}

static void run_create(void *opaque)
{
	struct create_call *call = opaque;
	const struct block_driver *driver = call->create.driver;
	call->ok = (driver->create ? driver->create : take_existing)(&call->create, call->error) &&
		   block_refuse_rest(call->create.options, driver->name, call->error);
}

static const struct block_driver *find_creatable(const char *format, GError **error)
{
	const struct block_driver *driver = block_driver_find(format);
	if (!driver)
		error_set(error, BERTH_ERR_NOT_SUPPORTED, "unknown image format '%s'", format);
	else if (!driver->create)
		error_set(error, BERTH_ERR_NOT_SUPPORTED, "images of format '%s' cannot be made",
			  format);
	return driver && driver->create ? driver : NULL;
}

/* Host devices are there or not: a file of that name would be taken for one. */
static bool check_device(const struct block_driver *driver, const char *filename, GError **error)
{
	struct stat st;
	bool device = driver == &block_host_device_driver || driver == &block_host_cdrom_driver;
	int missing = device && stat(filename, &st) < 0 ? errno : 0;
	if (!device || (!missing && (S_ISBLK(st.st_mode) || S_ISCHR(st.st_mode))))
		return true;
	g_autofree char *why =
		missing ? g_strdup_printf("Could not open '%s': %s", filename, g_strerror(missing))
			: g_strdup_printf("'%s' driver requires '%s' to be either a character or block device",
					  driver->name, filename);
	return error_set(error, BERTH_ERR_INVALID,
			 "Protocol driver '%s' does not support image creation, and opening the image failed: %s",
			 driver->name, why);
}

struct block_node *block_create_file(const struct block_create *create, const char *filename,
				     GError **error)
{
	g_autofree char *path = NULL;
	const struct block_driver *protocol = find_protocol(filename, &path, error);
	if (!protocol)
		return NULL;
	json_t *options = json_object(), *nocow = json_object_get(create->options, "nocow");
	if (nocow)
		json_object_set(options, "nocow", nocow);
	bool made = block_create_in(create->graph, filename, "file", 0, options, create->loop, error);
	json_decref(options);
	const struct block_open_options open = {.filename = filename, .format = protocol->name,
						.discard = true, .graph = create->graph};
	struct block_node *file = made ? block_open(&open, create->loop, error) : NULL;
	if (file)
		file->growable = true;
	return file;
}

bool block_create(const char *filename, const char *format, uint64_t size, const json_t *options,
		  struct aio_loop *loop, GError **error)
{
	return block_create_in(NULL, filename, format, size, options, loop, error);
}

bool block_create_in(struct block_graph *graph, const char *filename, const char *format,
		     uint64_t size, const json_t *options, struct aio_loop *loop, GError **error)
{
	g_autofree char *path = NULL;
	const struct block_driver *driver = find_creatable(format, error);
	const struct block_driver *protocol = driver ? find_protocol(filename, &path, error) : NULL;
	if (!protocol || !check_device(driver, filename, error))
		return false;
	if (driver == &block_file_driver)
		driver = protocol;
	struct create_call call = {.error = error,
				   .create = {.driver = driver, .loop = loop, .size = size, .graph = graph,
					      .filename = driver == protocol && path ? path : filename}};
	call.create.options = options ? json_deep_copy(options) : json_object();
	bool fresh = path && access(path, F_OK) < 0;
	bool good = block_take_size(call.create.options, "size", &call.create.size, error);
	if (good && call.create.size == UINT64_MAX)
		good = error_set(error, BERTH_ERR_INVALID, "'%s': the image needs a size", filename);
	if (good && !driver->create_bare && driver->kind == BLOCK_FORMAT) {
		call.create.file = block_create_file(&call.create, filename, error);
		json_object_del(call.create.options, "nocow");
		good = call.create.file != NULL;
	}
	if (good) {
		fiber_run(loop, run_create, &call);
		good = call.ok;
	}
	block_close(call.create.file);
	json_decref(call.create.options);
	if (!good && fresh)
		unlink(path); /* may not have been made at all */
	return good;
}

char *block_local_path(const char *filename)
{
	char *path = NULL;
	find_protocol(filename, &path, NULL);
	return path;
}

static void run_remove(void *opaque)
{
	struct create_call *call = opaque;
	call->ok = call->create.driver->remove(&call->create, call->error);
}

bool block_remove(struct block_graph *graph, const char *filename, struct aio_loop *loop, GError **error)
{
	g_autofree char *path = NULL;
	const struct block_driver *driver = find_protocol(filename, &path, error);
	struct create_call call = {.error = error, .create = {.driver = driver, .filename = filename,
							      .loop = loop, .graph = graph}};
	if (!driver)
		return false;
	if (path)
		return unlink(path) == 0 || error_set_errno(error, errno, "cannot remove '%s'", path);
	if (!driver->remove)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED, "a volume of '%s' was there before",
				 driver->name);
	fiber_run(loop, run_remove, &call);
	return call.ok;
}

static bool empty_file(struct block_node *file, const struct block_driver *driver, GError **error)
{
	if (file->readonly)
		return error_set(error, BERTH_ERR_INVALID, "'%s' is read-only", file->filename);
	if (file->driver->kind != BLOCK_PROTOCOL)
		return error_set(error, BERTH_ERR_INVALID,
				 "'%s' is no file but an image: the new one needs a node of a protocol",
				 file->filename);
	return !file->driver->resize || block_resize(file, 0, error);
}

bool block_create_on(struct block_node *file, const char *format, uint64_t size, const json_t *options,
		     GError **error)
{
	const struct block_driver *driver = find_creatable(format, error);
	if (!driver || !empty_file(file, driver, error))
		return false;
	struct create_call call = {.error = error,
				   .create = {.driver = driver, .filename = file->filename, .file = file,
					      .size = size, .loop = file->loop, .graph = file->graph,
					      .options = json_deep_copy(options)}};
	bool growable = file->growable;
	file->growable = true;
	fiber_run(file->loop, run_create, &call);
	file->growable = growable;
	json_decref(call.create.options);
	return call.ok;
}

bool block_fresh_is_zero(const struct block_node *node)
{
	return !node->driver->fresh_is_noise;
}

struct measure_call {
	const struct block_driver *driver;
	struct block_node *source;
	uint64_t size;
	json_t *options;
	struct block_measure *measure;
	bool ok;
	GError **error;
};

static void run_measure(void *opaque)
{
	struct measure_call *call = opaque;
	call->ok = call->driver->measure(call->source, call->size, call->options, call->measure,
					 call->error) &&
		   block_refuse_rest(call->options, call->driver->name, call->error);
}

bool block_measure(const char *format, struct block_node *source, uint64_t size,
		   const json_t *options, struct aio_loop *loop, struct block_measure *measure,
		   GError **error)
{
	const struct block_driver *driver = block_driver_find(format);
	if (!driver || !driver->measure)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "Block driver '%s' does not support size measurement", format);
	struct measure_call call = {driver, source, source ? source->size : size,
				    options ? json_deep_copy(options) : json_object(), measure, false,
				    error};
	if (block_take_size(call.options, "size", &call.size, error))
		fiber_run(loop, run_measure, &call);
	json_decref(call.options);
	return call.ok;
}

static char *help_text(const struct block_option *options, const char *title)
{
	GString *text = g_string_new(title);
	for (; options && options->name; options++) {
		const char *type = strcmp(options->type, "bool") == 0 ? "bool (on/off)" : options->type;
		g_autofree char *head = g_strdup_printf("  %s=<%s>", options->name, type);
		g_string_append_printf(text, "%-24s - %s\n", head, options->help);
	}
	return g_string_free(text, false);
}

char *block_create_help(const char *format, GError **error)
{
	const struct block_driver *driver = find_creatable(format, error);
	return driver ? help_text(driver->create_options, "Supported options:\n") : NULL;
}

char *block_amend_help(const char *format, GError **error)
{
	const struct block_driver *driver = block_driver_find(format);
	if (!driver || !driver->amend) {
		error_set(error, BERTH_ERR_NOT_SUPPORTED,
			  "format '%s' has no options that can be amended", format);
		return NULL;
	}
	g_autofree char *title =
		g_strdup_printf("Amend options for '%s':\n", format);
	return help_text(driver->amend_options, title);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

const char **block_format_names(void)
{
	GPtrArray *names = g_ptr_array_new();
	for (unsigned i = 0; block_drivers[i]; i++)
		g_ptr_array_add(names, (void *)block_drivers[i]->name);
	qsort(names->pdata, names->len, sizeof(void *), by_name);
	g_ptr_array_add(names, NULL);
	return (const char **)g_ptr_array_free(names, false);
}
