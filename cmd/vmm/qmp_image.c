/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QMP: making images and changing their options, as jobs: blockdev-create, x-blockdev-amend.
 *
 * QMP's options are those of berth-img's -o in another spelling: "-" for "_", objects for names with
 * dots, nodes for files.
 */
#include "qmp_jobs.h"

#include "block/core/driver.h"
#include "block/core/image.h"
#include "qmp_args.h"

#include <string.h>

/* The driver's own name of QMP's `key`. g_free() */
static char *option_name(const struct block_option *known, const char *key)
{
	char *name = g_strdup(key);
	for (const struct block_option *o = known; o && o->name; o++)
		if (strcmp(o->name, key) == 0)
			return name;
	return g_strdelimit(name, "-", '_');
}

/* A value that has another form in -o. Takes nothing; a new reference, or NULL: as it is. */
static json_t *translate(const char *driver, const char **key, const json_t *value)
{
	const char *text = json_string_value(value);
	if (strcmp(driver, "qcow2") == 0 && strcmp(*key, "version") == 0) {
		*key = "compat";
		return json_string(text && strcmp(text, "v2") == 0 ? "0.10" : "1.1");
	}
	if (strcmp(driver, "vdi") == 0 && strcmp(*key, "preallocation") == 0) {
		*key = "static";
		return json_boolean(text && strcmp(text, "metadata") == 0);
	}
	return NULL;
}

/* Put QMP's options into `out`; members of objects with the object's name before them. */
static void flatten(const char *driver, const struct block_option *known, const char *prefix,
		    const json_t *options, json_t *out)
{
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)options, key, value)
	{
		const char *name = key;
		json_t *other = translate(driver, &name, value);
		g_autofree char *full = g_strconcat(prefix, name, NULL);
		g_autofree char *own = option_name(known, full);
		if (json_is_object(value)) {
			g_autofree char *inner = g_strconcat(full, ".", NULL);
			flatten(driver, known, inner, value, out);
		} else {
			json_object_set(out, own, other ? other : value);
		}
		json_decref(other);
	}
}

static struct block_node *take_node(struct vmm *vmm, json_t *options, const char *key, GError **error)
{
	const char *name = arg_text(options, key);
	if (!name)
		return (void *)qmp_error(error, QMP_ERROR_GENERIC,
					 "Parameter '%s' is missing: it is the name of a node", key);
	struct block_node *node = disks_find_node(&vmm->backends, name, error);
	if (node)
		json_object_del(options, key);
	return node;
}

/* An external data file: the image notes its name. */
static bool take_data_file(struct vmm *vmm, json_t *options, GError **error)
{
	if (!json_object_get(options, "data-file"))
		return true;
	struct block_node *node = take_node(vmm, options, "data-file", error);
	if (node)
		json_object_set_new(options, "data-file", json_string(block_filename(node)));
	return node != NULL;
}

static bool fill_create(struct vmm *vmm, json_t *options, struct block_image_options *o, GError **error)
{
	const char *name = arg_text(options, "driver");
	const struct block_driver *driver = name ? block_driver_find(name) : NULL;
	if (!driver || !driver->create || strcmp(name, "raw") == 0)
		return qmp_error(error, QMP_ERROR_GENERIC, "Driver '%s' does not support blockdev-create",
				 name ? name : ""), false;
	if (!json_is_integer(json_object_get(options, "size")))
		return qmp_error(error, QMP_ERROR_GENERIC, "Parameter 'options.size' is missing"), false;
	o->driver = driver;
	o->size = arg_int(options, "size", 0);
	json_object_del(options, "driver");
	json_object_del(options, "size");
	if (driver->kind == BLOCK_FORMAT) {
		o->node = take_node(vmm, options, "file", error);
		return o->node && take_data_file(vmm, options, error);
	}
	return true;
}

/* Where a protocol makes its file: filename, or location with the options of such a node. g_free() */
static char *take_place(const struct block_driver *driver, json_t *options, GError **error)
{
	bool local = driver == block_driver_find("file");
	const char *key = local ? "filename" : "location";
	json_t *place = json_object_get(options, key);
	char *text = NULL;
	if (local && json_is_string(place))
		text = g_strdup(json_string_value(place));
	if (!local && json_is_object(place)) {
		json_object_set_new(place, "driver", json_string(driver->name));
		g_autofree char *dumped = json_dumps(place, JSON_COMPACT);
		text = g_strconcat("json:", dumped, NULL);
	}
	json_object_del(options, key);
	if (!text)
		qmp_error(error, QMP_ERROR_GENERIC, "Parameter 'options.%s' is missing", key);
	return text;
}

/* Such jobs stay until they are dismissed. */
static const char *take_job_id(const json_t *args, struct block_image_options *o)
{
	o->job.id = arg_text(args, "job-id");
	o->job.manual_dismiss = true;
	return o->job.id;
}

static json_t *run_create(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	struct block_image_options o = {0};
	json_t *options = json_deep_copy(json_object_get(args, "options"));
	g_autofree char *place = NULL;
	take_job_id(args, &o);
	if (fill_create(vmm, options, &o, error) &&
	    (o.node || (place = take_place(o.driver, options, error)))) {
		json_t *flat = json_object();
		o.filename = place;
		flatten(o.driver->name, o.driver->create_options, "", options, flat);
		o.options = flat;
		block_create_start(qmp_jobs(vmm), &o, error);
		json_decref(flat);
	}
	json_decref(options);
	return NULL;
}

static json_t *run_amend(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	struct block_image_options o = {0};
	const char *name = arg_text(args, "node-name");
	const json_t *given = json_object_get(args, "options");
	const char *driver = arg_text(given, "driver");
	take_job_id(args, &o);
	o.node = disks_find_node(&vmm->backends, name, error);
	if (!o.node)
		return NULL;
	if (!driver || strcmp(driver, o.node->driver->name) != 0)
		return qmp_error(error, QMP_ERROR_GENERIC, "x-blockdev-amend doesn't support changing the "
				 "block driver");
	if (!o.node->driver->amend)
		return qmp_error(error, QMP_ERROR_GENERIC, "Driver '%s' does not support x-blockdev-amend",
				 driver);
	o.force = arg_flag(args, "force", false);
	json_t *options = json_object(), *plain = json_deep_copy(given);
	json_object_del(plain, "driver");
	flatten(driver, o.node->driver->amend_options, "", plain, options);
	o.options = options;
	block_amend_start(qmp_jobs(vmm), &o, error);
	json_decref(options);
	json_decref(plain);
	return NULL;
}

static const struct qmp_command commands[] = {
	{"blockdev-create", "job-id:str options:any", NULL, run_create},
	{"x-blockdev-amend", "job-id:str node-name:str options:any force?:bool", NULL,
	 run_amend},
	{NULL},
};

const struct qmp_table qmp_image_table = {commands, NULL, NULL, NULL};
