/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP: networks, streams and objects of the host's side. */
#include "vmm.h"

#include "base/error.h"
#include "block/core/object.h"
#include "codec/json.h"
#include "dev/virtio/devices.h"

#include <string.h>
#include <unistd.h>

/* --- networks ----------------------------------------------------------------------------------------- */

static struct conf_item *item_from_json(enum conf_item_kind kind, const json_t *args, GError **error)
{
	struct keyval *kv = json_to_keyval(args, error);
	return kv ? conf_item_from_keyval(kind, kv, error) : NULL;
}

static json_t *run_netdev_add(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	struct conf_item *item = item_from_json(CONF_NETDEV, args, error);
	g_autoptr(GArray) taken = g_array_new(FALSE, FALSE, sizeof(int));
	/* A back end takes all descriptors that it is given, or none. */
	const char *address = item ? keyval_get(item->props, "addr.type") : NULL;
	bool good = item && fds_resolve(vmm, item->props, "fd", taken, error) &&
		    (g_strcmp0(address, "fd") != 0 ||
		     fds_resolve(vmm, item->props, "addr.str", taken, error)) &&
		    fds_resolve(vmm, item->props, "fds", taken, error) &&
		    fds_resolve(vmm, item->props, "vhostfd", taken, error) &&
		    fds_resolve(vmm, item->props, "vhostfds", taken, error) &&
		    backends_add_net(&vmm->backends, item, error);
	for (unsigned i = 0; !good && i < taken->len; i++)
		close(g_array_index(taken, int, i));
	conf_item_free(item);
	return NULL;
}

static json_t *run_netdev_del(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	const char *id = json_string_value(json_object_get(args, "id"));
	struct net_backend *net = backends_find_net(&vmm->backends, id);
	if (!net)
		return qmp_error(error, QMP_ERROR_DEVICE_NOT_FOUND, "Device '%s' not found", id);
	if (backends_user(vmm->machine->devices, net))
		return qmp_error(error, QMP_ERROR_GENERIC,
				 "the network '%s' has a device: remove that first", id);
	g_ptr_array_remove(vmm->backends.nets, net);
	return NULL;
}

static json_t *run_set_link(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	const char *name = json_string_value(json_object_get(args, "name"));
	const struct device *dev = machine_find_device(vmm->machine, name);
	for (unsigned i = 0; i < vmm->backends.nets->len; i++) {
		struct net_backend *net = vmm->backends.nets->pdata[i];
		if (strcmp(net->id, name) == 0 ||
		    (dev && backends_user(vmm->machine->devices, net) == dev)) {
			net_backend_set_link(net, json_is_true(json_object_get(args, "up")));
			return NULL;
		}
	}
	return qmp_error(error, QMP_ERROR_DEVICE_NOT_FOUND, "Device '%s' not found", name);
}

/* --- streams -------------------------------------------------------------------------------------------- */

/* What reads the stream: a guest opens and closes ports of virtio-serial, and nothing else. */
static bool frontend_is_open(const struct vmm *vmm, const struct chardev *chr)
{
	bool open = chardev_is_open(chr);
	for (unsigned i = 0; i < vmm->machine->devices->len; i++)
		virtio_serial_port_state(vmm->machine->devices->pdata[i], chr, &open);
	return open;
}

static json_t *run_query_chardev(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	json_t *list = json_array();
	for (unsigned i = 0; i < vmm->backends.chardevs->len; i++) {
		const struct chardev *chr = vmm->backends.chardevs->pdata[i];
		json_array_append_new(list, json_pack("{s:s, s:s, s:b}", "label", chardev_id(chr),
						      "filename", chardev_describe(chr),
						      "frontend-open", (int)frontend_is_open(vmm, chr)));
	}
	return list;
}

static json_t *run_query_chardev_backends(void *opaque, const json_t *args, GError **error)
{
	json_t *list = json_array();
	for (const struct chardev_type *type = chardev_types(); type->name; type++)
		json_array_append_new(list, json_pack("{s:s}", "name", type->name));
	return list;
}

/* {"type": T, "data": {...}} of QMP to the options of -chardev T. */
static bool chardev_props(const json_t *backend, struct keyval *props, GError **error)
{
	json_t *data = json_object_get(backend, "data");
	auto_keyval flat = data ? json_to_keyval(data, error) : keyval_new();
	if (!flat)
		return false;
	static const char *const renamed[][2] = {
		{"addr.data.path", "path"}, {"addr.data.host", "host"}, {"addr.data.port", "port"},
		{"out", "path"},	    {"device", "path"},
	};
	for (unsigned i = 0; i < keyval_count(flat); i++) {
		const char *key = flat->keys->pdata[i];
		if (strcmp(key, "addr.type") == 0)
			continue;
		for (unsigned r = 0; r < G_N_ELEMENTS(renamed); r++) {
			if (strcmp(key, renamed[r][0]) == 0)
				key = renamed[r][1];
		}
		keyval_add(props, key, flat->values->pdata[i]);
	}
	return true;
}

static json_t *run_chardev_add(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	const json_t *backend = json_object_get(args, "backend");
	const char *type = json_string_value(json_object_get(backend, "type"));
	struct conf_item *item = conf_item_new(type, json_string_value(json_object_get(args, "id")));
	if (!conf_id_is_valid(item->id))
		error_set(error, BERTH_ERR_INVALID, "'%s' cannot be an id", item->id);
	else if (strcmp(type, "stdio") == 0)
		error_set(error, BERTH_ERR_NOT_SUPPORTED, "stdio is for the command line only");
	else if (chardev_props(backend, item->props, error))
		backends_add_chardev(&vmm->backends, item, error);
	conf_item_free(item);
	return NULL;
}

static json_t *run_chardev_remove(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	const char *id = json_string_value(json_object_get(args, "id"));
	struct chardev *chr = backends_find_chardev(&vmm->backends, id);
	if (!chr)
		return qmp_error(error, QMP_ERROR_GENERIC, "Chardev '%s' not found", id);
	/* A stream has one user; if a place is free, there is none. */
	const struct chardev_user nobody = {.opaque = vmm};
	if (chardev_is_mux(chr) || !chardev_attach(chr, &nobody, NULL))
		return qmp_error(error, QMP_ERROR_GENERIC, "Chardev '%s' is busy", id);
	chardev_detach(chr, vmm);
	g_ptr_array_remove(vmm->backends.chardevs, chr);
	return NULL;
}

static json_t *run_ringbuf_read(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	const char *id = json_string_value(json_object_get(args, "device"));
	json_int_t size = json_integer_value(json_object_get(args, "size"));
	struct chardev *chr = backends_find_chardev(&vmm->backends, id);
	g_autoptr(GBytes) bytes = chr ? chardev_ringbuf_read(chr, size) : NULL;
	if (!bytes)
		return qmp_error(error, QMP_ERROR_GENERIC, "'%s' is not a ring buffer", id);
	gsize length;
	const void *data = g_bytes_get_data(bytes, &length);
	const json_t *format = json_object_get(args, "format");
	if (format && strcmp(json_string_value(format), "base64") == 0) {
		g_autofree char *text = g_base64_encode(data, length);
		return json_string(text);
	}
	g_autofree char *text = g_utf8_make_valid(data ? data : "", length);
	return json_string(text);
}

/* --- objects --------------------------------------------------------------------------------------------- */

static json_t *run_object_add(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	struct conf_item *item = item_from_json(CONF_OBJECT, args, error);
	if (item)
		backends_add_object(&vmm->backends, item, error);
	conf_item_free(item);
	return NULL;
}

static bool has_random_user(struct vmm *vmm, const char *id)
{
	for (unsigned i = 0; i < vmm->machine->devices->len; i++) {
		g_autofree char *rng = device_get(vmm->machine->devices->pdata[i], "rng");
		if (rng && strcmp(rng, id) == 0)
			return true;
	}
	return false;
}

static json_t *run_object_del(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	const char *id = json_string_value(json_object_get(args, "id"));
	struct conf_item *object = backends_find_object(&vmm->backends, id);
	if (!object)
		return qmp_error(error, QMP_ERROR_GENERIC, "object '%s' not found", id);
	if (has_random_user(vmm, id) || memory_in_use(vmm, id) || iothreads_in_use(vmm, id) ||
	    !disks_remove_throttle(&vmm->backends, id))
		return qmp_error(error, QMP_ERROR_GENERIC, "object '%s' is in use", id);
	memory_close(vmm, id);
	iothreads_remove(&vmm->backends, id);
	block_object_remove(vmm->backends.graph, id); /* if it is of that kind */
	g_ptr_array_remove(vmm->backends.objects, object);
	return NULL;
}

static const struct qmp_command commands[] = {
	{"netdev_add", "type:str id:str", NULL, run_netdev_add, true},
	{"netdev_del", "id:str", NULL, run_netdev_del},
	{"set_link", "name:str up:bool", NULL, run_set_link},
	{"query-chardev", NULL, "[ChardevInfo]", run_query_chardev},
	{"query-chardev-backends", NULL, "[ChardevBackendInfo]", run_query_chardev_backends},
	{"chardev-add", "id:str backend:ChardevBackend", NULL, run_chardev_add},
	{"chardev-remove", "id:str", NULL, run_chardev_remove},
	{"ringbuf-read", "device:str size:size format?:DataFormat", "str", run_ringbuf_read},
	{"object-add", "qom-type:str id:str", NULL, run_object_add, true},
	{"object-del", "id:str", NULL, run_object_del},
	{NULL},
};

static const struct qmp_type types[] = {
	{"ChardevInfo", "label:str filename:str frontend-open:bool"},
	{"ChardevBackendInfo", "name:str"},
	{"ChardevBackend", "type:str data?:any"},
	{"DataFormat", "=utf8 base64"},
	{NULL},
};

const struct qmp_table qmp_backend_table = {commands, types, NULL, NULL};
