/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of devices, and what clients are told when it changes. */
#include "daemon/nodedev/nodedev.h"

#include "base/log.h"

#include <poll.h>
#include <string.h>
#include <unistd.h>

/* libvirt's numbers. */
enum { EVENT_LIFECYCLE = 0, EVENT_UPDATE = 1, DEVICE_CREATED = 0, DEVICE_DELETED = 1 };

/* --- Events --------------------------------------------------------------------------------- */

/* Registrations for one device go by its name, as devices have no UUID. */
void nodedev_key(const char *name, uint8_t key[16])
{
	g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
	uint8_t digest[32];
	gsize length = sizeof(digest);
	g_checksum_update(sum, (const uint8_t *)name, strlen(name));
	g_checksum_get_digest(sum, digest, &length);
	memcpy(key, digest, 16);
}

static void emit_lifecycle(struct nodedevs *devs, const struct nodedev *dev, int event)
{
	struct remote_node_device_event_lifecycle_args body = {.dev = {dev->name}, .event = event};
	uint8_t key[16];
	nodedev_key(dev->name, key);
	if (devs->daemon->server)
		rpc_event_emit(devs->daemon->server, RPC_EVENT_NODE_DEVICE, EVENT_LIFECYCLE, key,
			       REMOTE_NODE_DEVICE_EVENT_LIFECYCLE, &body, &body.callback);
}

static void emit_update(struct nodedevs *devs, const struct nodedev *dev)
{
	struct remote_node_device_event_update_args body = {.dev = {dev->name}};
	uint8_t key[16];
	nodedev_key(dev->name, key);
	if (devs->daemon->server)
		rpc_event_emit(devs->daemon->server, RPC_EVENT_NODE_DEVICE, EVENT_UPDATE, key,
			       REMOTE_NODE_DEVICE_EVENT_UPDATE, &body, &body.callback);
}

static void emit_missing(struct nodedevs *devs, GHashTable *from, GHashTable *in, int event)
{
	GHashTableIter iter;
	void *name, *dev;
	g_hash_table_iter_init(&iter, from);
	while (g_hash_table_iter_next(&iter, &name, &dev)) {
		if (!g_hash_table_contains(in, name))
			emit_lifecycle(devs, dev, event);
	}
}

void nodedevs_refresh(struct nodedevs *devs)
{
	g_autoptr(GHashTable) before = devs->by_name;
	devs->by_name = nodedev_scan(devs->sysfs);
	emit_missing(devs, before, devs->by_name, DEVICE_DELETED);
	emit_missing(devs, devs->by_name, before, DEVICE_CREATED);
}

static struct nodedev *find_path(const struct nodedevs *devs, const char *below)
{
	g_autofree char *path = g_strconcat(devs->sysfs, below, NULL);
	GHashTableIter iter;
	void *dev;
	g_hash_table_iter_init(&iter, devs->by_name);
	while (g_hash_table_iter_next(&iter, NULL, &dev)) {
		if (g_strcmp0(((struct nodedev *)dev)->path, path) == 0)
			return dev;
	}
	return NULL;
}

/* All that has come is read first: a burst of messages costs one look. */
static void on_uevents(void *opaque, int fd, uint32_t events)
{
	struct nodedevs *devs = opaque;
	g_autoptr(GPtrArray) changed = g_ptr_array_new_with_free_func(g_free);
	struct uevent event;
	while (uevent_next(fd, &event)) {
		if (event.changed && *event.path)
			g_ptr_array_add(changed, g_strdup(event.path));
	}
	nodedevs_refresh(devs);
	for (unsigned i = 0; i < changed->len; i++) {
		const struct nodedev *dev = find_path(devs, changed->pdata[i]);
		if (dev)
			emit_update(devs, dev);
	}
}

/* --- The table ------------------------------------------------------------------------------ */

static int compare_devices(const void *a, const void *b)
{
	return strcmp((*(struct nodedev *const *)a)->name, (*(struct nodedev *const *)b)->name);
}

GPtrArray *nodedevs_list(struct nodedevs *devs, uint32_t caps)
{
	GPtrArray *found = g_ptr_array_new();
	GHashTableIter iter;
	void *dev;
	if (devs->uevents < 0)
		nodedevs_refresh(devs);
	g_hash_table_iter_init(&iter, devs->by_name);
	while (g_hash_table_iter_next(&iter, NULL, &dev)) {
		if (caps >> ((struct nodedev *)dev)->kind->cap & 1)
			g_ptr_array_add(found, dev);
	}
	g_ptr_array_sort(found, compare_devices);
	return found;
}

struct nodedev *nodedev_find(struct nodedevs *devs, const char *name, GError **error)
{
	struct nodedev *dev = g_hash_table_lookup(devs->by_name, name);
	if (!dev)
		virt_error(error, VIRT_FROM_NODEDEV, VIRT_NO_NODE_DEVICE,
			   "no node device with matching name '%s'", name);
	return dev;
}

/* The kernel writes "0x20000024ff3be5c8". */
static bool has_wwn(const char *folder, const char *file, const char *wanted)
{
	g_autofree char *digits = g_strdup_printf("0x%s", g_str_has_prefix(wanted, "0x") ? wanted + 2 : wanted);
	g_autofree char *text = sysfs_text(folder, file);
	return text && g_ascii_strcasecmp(text, digits) == 0;
}

struct nodedev *nodedev_find_wwn(struct nodedevs *devs, const char *wwnn, const char *wwpn)
{
	g_autoptr(GPtrArray) hosts = nodedevs_list(devs, 1U << NODEDEV_SCSI_HOST);
	for (unsigned i = 0; i < hosts->len; i++) {
		struct nodedev *dev = hosts->pdata[i];
		g_autofree char *name = g_path_get_basename(dev->path);
		g_autofree char *port = g_build_filename(dev->path, "fc_host", name, NULL);
		if (has_wwn(port, "node_name", wwnn) && has_wwn(port, "port_name", wwpn))
			return dev;
	}
	return NULL;
}

/* --- XML ------------------------------------------------------------------------------------ */

/* The device file, and udev's other names for it. */
static void write_nodes(struct xml_writer *w, const struct nodedev *dev)
{
	g_autofree char *name = sysfs_uevent(dev->path, "DEVNAME");
	g_autofree char *path = name ? g_strconcat("/dev/", name, NULL) : NULL;
	if (path)
		xml_leaf(w, "devnode", path, "type", "dev", NULL);
}

char *nodedev_format(const struct nodedev *dev, const struct host *host)
{
	struct xml_writer w = xml_writer_new();
	xml_open(&w, "device", NULL);
	xml_leaf(&w, "name", dev->name, NULL);
	if (dev->path) {
		g_autofree char *driver = sysfs_link_name(dev->path, "driver");
		xml_leaf(&w, "path", dev->path, NULL);
		write_nodes(&w, dev);
		xml_leaf(&w, "parent", dev->parent, NULL);
		if (driver) {
			xml_open(&w, "driver", NULL);
			xml_leaf(&w, "name", driver, NULL);
			xml_close(&w, "driver");
		}
	}
	xml_open(&w, "capability", "type", nodedev_cap_names[dev->kind->cap], NULL);
	dev->kind->write(&w, dev, host);
	xml_close(&w, "capability");
	xml_close(&w, "device");
	return xml_writer_take(&w);
}

/* --- Life ----------------------------------------------------------------------------------- */

struct nodedevs *nodedevs_new(struct daemon *daemon, const char *sysfs)
{
	g_autoptr(GError) error = NULL;
	struct nodedevs *devs = g_new0(struct nodedevs, 1);
	devs->daemon = daemon;
	devs->sysfs = g_strdup(sysfs);
	devs->worker = aio_pool_new(1);
	/* Before the first look, so that nothing is missed in between. */
	devs->uevents = uevent_open(&error);
	if (devs->uevents >= 0)
		devs->watch = aio_watch_add(daemon->loop, devs->uevents, POLLIN, on_uevents, devs);
	else
		log_warning("%s: clients hear of new devices only when they list them", error->message);
	devs->by_name = nodedev_scan(sysfs);
	return devs;
}

void nodedevs_free(struct nodedevs *devs)
{
	if (!devs)
		return;
	aio_pool_free(devs->worker);
	if (devs->watch)
		aio_watch_remove(devs->watch);
	if (devs->uevents >= 0)
		close(devs->uevents);
	g_clear_pointer(&devs->claims, g_hash_table_unref);
	g_hash_table_unref(devs->by_name);
	g_free(devs->sysfs);
	g_free(devs);
}
