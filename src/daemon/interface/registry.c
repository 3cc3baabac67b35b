/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is defined, and how it comes back when the daemon starts. */
#include "daemon/interface/interface.h"

#include "base/error.h"
#include "base/log.h"
#include "daemon/domain/store.h"
#include "daemon/interface/change.h"

#include <string.h>

#define FOLDER "interfaces"
/* The start of the machine in which interfaces have been brought up. */
#define BOOT_FILE "interfaces-boot"

char *interface_file(const struct interfaces *interfaces, const char *name)
{
	return store_path(interfaces->daemon, FOLDER, name, ".xml");
}

const struct conf_interface *interface_bridge_of(const struct interfaces *interfaces, const char *name)
{
	GHashTableIter iter;
	void *conf;
	g_hash_table_iter_init(&iter, interfaces->defined);
	while (g_hash_table_iter_next(&iter, NULL, &conf)) {
		if (conf_interface_has_port(conf, name))
			return conf;
	}
	return NULL;
}

static void load(struct interfaces *interfaces, const char *path)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *text = NULL, *ours = NULL;
	struct conf_interface *conf = NULL;
	if (g_file_get_contents(path, &text, NULL, &error) && (conf = conf_interface_parse(text, &error))) {
		ours = interface_file(interfaces, conf->name);
		if (!strcmp(ours, path)) {
			g_hash_table_replace(interfaces->defined, conf->name, conf);
			return;
		}
		error_set(&error, BERTH_ERR_INVALID, "it is of the interface '%s'", conf->name);
		conf_interface_free(conf);
	}
	log_warning("'%s' is left alone: %s", path, error->message);
}

/* A crash between two files: the bridge has the port, and the port's own document should be gone. */
static void drop_ports(struct interfaces *interfaces)
{
	g_autoptr(GList) names = g_hash_table_get_keys(interfaces->defined);
	for (GList *link = names; link; link = link->next) {
		g_autoptr(GError) error = NULL;
		g_autofree char *path = interface_file(interfaces, link->data);
		if (!interface_bridge_of(interfaces, link->data))
			continue;
		if (!store_write_now(path, NULL, &error))
			log_warning("%s", error->message);
		g_hash_table_remove(interfaces->defined, link->data);
	}
}

/* A machine that has started anew without commit is at the restore point again (virsh(1), iface-begin). */
static void return_to_point(struct interfaces *interfaces)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *boot = store_boot_mark();
	interfaces->point = interface_point_load(interfaces);
	if (!interfaces->point || !strcmp(interfaces->point->boot, boot))
		return;
	if (interface_restore_definitions(interfaces, &error) && interface_point_save(interfaces, NULL, &error)) {
		log_info("definitions of interfaces are those of the last restore point again");
		interface_adopt_definitions(interfaces);
		g_clear_pointer(&interfaces->point, interface_point_free);
		return;
	}
	log_warning("definitions of interfaces are not as at the restore point: %s", error->message);
}

/* What it is on top of comes first; what is up already stays as it is. */
static void bring_up_one(struct interfaces *interfaces, const struct conf_interface *conf, unsigned depth)
{
	enum { DEEPEST = 8 };
	g_autoptr(GError) error = NULL;
	if (conf->start != CONF_START_ONBOOT)
		return;
	const struct conf_interface *lower =
		conf->lower ? g_hash_table_lookup(interfaces->defined, conf->lower) : NULL;
	if (lower && depth < DEEPEST)
		bring_up_one(interfaces, lower, depth + 1);
	if (!interface_start(interfaces, conf, &error))
		log_warning("interface '%s' is not brought up: %s", conf->name, error->message);
}

static void bring_up(struct interfaces *interfaces)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *path = g_build_filename(interfaces->daemon->state_dir, BOOT_FILE, NULL);
	g_autofree char *boot = store_boot_mark(), *last = NULL;
	GHashTableIter iter;
	void *conf;
	if (g_file_get_contents(path, &last, NULL, NULL) && !strcmp(last, boot))
		return;
	g_hash_table_iter_init(&iter, interfaces->defined);
	while (g_hash_table_iter_next(&iter, NULL, &conf))
		bring_up_one(interfaces, conf, 0);
	if (!store_write_now(path, boot, &error))
		log_warning("%s", error->message);
}

/* A client that has died while there was no daemon. */
static void bring_clients_back(struct interfaces *interfaces)
{
	GHashTableIter iter;
	void *value;
	g_hash_table_iter_init(&iter, interfaces->defined);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const struct conf_interface *conf = value;
		struct netlink_link link;
		g_autoptr(GError) error = NULL;
		if (conf->dhcp4 && netlink_link_get(conf->name, &link, NULL) && link.flags & IFF_UP &&
		    !interface_dhcp_start(interfaces, conf->name, &error))
			log_warning("interface '%s': %s", conf->name, error->message);
	}
}

struct interfaces *interfaces_new(struct daemon *daemon, GError **error)
{
	static const char *const folders[] = {FOLDER, NULL};
	if (!store_make_folders(daemon, folders, error))
		return NULL;
	struct interfaces *interfaces = g_new0(struct interfaces, 1);
	interfaces->daemon = daemon;
	interfaces->worker = aio_pool_new(1);
	interfaces->defined = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, conf_interface_free);
	g_queue_init(&interfaces->jobs);
	g_autoptr(GPtrArray) paths = store_list(daemon, FOLDER, ".xml");
	for (unsigned i = 0; i < paths->len; i++)
		load(interfaces, paths->pdata[i]);
	drop_ports(interfaces);
	return_to_point(interfaces);
	bring_up(interfaces);
	bring_clients_back(interfaces);
	return interfaces;
}

void interfaces_free(struct interfaces *interfaces)
{
	if (!interfaces)
		return;
	while (interfaces->jobs.length)
		aio_loop_iterate(interfaces->daemon->loop, -1);
	aio_pool_free(interfaces->worker);
	g_hash_table_unref(interfaces->defined);
	interface_point_free(interfaces->point);
	g_free(interfaces);
}
