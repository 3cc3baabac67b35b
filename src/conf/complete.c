/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From what a person wrote to what the machine needs: QEMU's default devices, a device for each
 * drive and network, names for the nameless. Order matters little to the machine, but ids, slots and
 * MAC addresses must come out the same for the same command line every time.
 */
#include "conf/vm.h"

#include "base/error.h"
#include "base/units.h"

#include <stdlib.h>
#include <string.h>

#define FOR_EACH(type, var, list)                                                                  \
	for (unsigned var##_i = 0; var##_i < (list)->len; var##_i++)                               \
		for (struct type *var = (list)->pdata[var##_i]; var; var = NULL)

static bool has_device_of(const struct conf_vm *conf, const char *const *types)
{
	FOR_EACH(conf_item, item, conf->items[CONF_DEVICE]) {
		if (g_strv_contains(types, item->type))
			return true;
	}
	return false;
}

static struct conf_item *find_item(const struct conf_vm *conf, enum conf_item_kind kind,
				   const char *id)
{
	FOR_EACH(conf_item, item, conf->items[kind]) {
		if (item->id && strcmp(item->id, id) == 0)
			return item;
	}
	return NULL;
}

/* --- streams ----------------------------------------------------------------------------------- */

static bool wants_default_monitor(const struct conf_vm *conf)
{
	if (conf->nodefaults || conf->monitors->len > 0)
		return false;
	for (unsigned i = 0; i < conf->serials->len; i++) {
		if (g_str_has_prefix(conf->serials->pdata[i], "mon:"))
			return false;
	}
	return true;
}

static void complete_streams(struct conf_vm *conf)
{
	static const char *const serial_devices[] = {"isa-serial", NULL};
	bool serial = !conf->nodefaults && conf->serials->len == 0 &&
		      !has_device_of(conf, serial_devices);
	bool monitor = wants_default_monitor(conf);
	if (serial && !conf->nographic)
		g_ptr_array_add(conf->serials, g_strdup("null"));
	else if (serial)
		g_ptr_array_add(conf->serials, g_strdup(monitor ? "mon:stdio" : "stdio"));
	if (monitor && conf->nographic && !serial)
		g_ptr_array_add(conf->monitors, conf_monitor_new("stdio", false, false));
}

/* --- disks ------------------------------------------------------------------------------------- */

static bool is_ide(const struct conf_drive *drive, const struct conf_board *board)
{
	if (drive->is_blockdev || drive->interface == CONF_IF_NONE)
		return false;
	return drive->interface == CONF_IF_IDE ||
	       (drive->interface == CONF_IF_DEFAULT && g_str_has_prefix(board->default_disk, "ide"));
}

/* A port of the board's disk controller; every port takes one disk. */
static int drive_port(const struct conf_drive *drive)
{
	if (drive->index)
		return atoi(drive->index);
	return drive->bus ? atoi(drive->bus) : -1;
}

static bool place_ide_drives(struct conf_vm *conf, const struct conf_board *board, GError **error)
{
	enum { PORTS = 6 };
	bool used[PORTS] = {0};
	for (unsigned pass = 0; pass < 2; pass++) {
		FOR_EACH(conf_drive, drive, conf->drives) {
			if (!is_ide(drive, board))
				continue;
			drive->interface = CONF_IF_IDE;
			int port = drive_port(drive);
			if ((pass == 0) != (port >= 0))
				continue;
			for (int free = 0; port < 0 && free < PORTS; free++)
				port = used[free] ? -1 : free;
			if (port < 0 || port >= PORTS)
				return error_set(error, BERTH_ERR_INVALID,
						 "-drive: the board has %d ports for disks: use "
						 "if=virtio for more",
						 PORTS);
			if (used[port])
				return error_set(error, BERTH_ERR_INVALID,
						 "-drive: there are two drives at index %d: give "
						 "one of them another index",
						 port);
			used[port] = true;
			g_free(drive->index);
			drive->index = g_strdup_printf("%d", port);
		}
	}
	return true;
}

static void add_default_cdrom(struct conf_vm *conf, const struct conf_board *board)
{
	static const char *const drives[] = {"ide-cd", "ide-hd", "scsi-cd", "scsi-hd", NULL};
	if (conf->nodefaults || !board->has_cdrom || has_device_of(conf, drives))
		return;
	FOR_EACH(conf_drive, drive, conf->drives) {
		if (is_ide(drive, board) && drive_port(drive) == 2)
			return;
	}
	struct conf_drive *cdrom = conf_drive_new();
	cdrom->interface = CONF_IF_IDE;
	cdrom->media = CONF_MEDIA_CDROM;
	cdrom->index = g_strdup("2");
	g_ptr_array_add(conf->drives, cdrom);
}

static void name_drive(struct conf_drive *drive, unsigned *counter)
{
	if (drive->id)
		return;
	const char *media = drive->media == CONF_MEDIA_CDROM ? "cd" : "hd";
	if (drive->interface == CONF_IF_IDE)
		drive->id = g_strdup_printf("ide%s-%s0", drive->index, media);
	else
		drive->id = g_strdup_printf("%s%u",
					    drive->interface == CONF_IF_PFLASH ? "pflash" :
					    drive->interface == CONF_IF_NONE   ? "none" :
										 "virtio",
					    (*counter)++);
}

static const char *on_error_name(int policy)
{
	static const char *const names[] = {NULL, "report", "ignore", "stop", "enospc"};
	return names[policy];
}

/* werror and rerror are said of the drive, but it is the device that acts on them. */
static void move_error_policy(struct conf_drive *drive, struct conf_item *device)
{
	if (on_error_name(drive->werror))
		keyval_set(device->props, "werror", on_error_name(drive->werror));
	if (on_error_name(drive->rerror))
		keyval_set(device->props, "rerror", on_error_name(drive->rerror));
	drive->werror = drive->rerror = CONF_ON_ERROR_DEFAULT;
}

static void add_drive_device(struct conf_vm *conf, struct conf_drive *drive,
			     const struct conf_board *board)
{
	struct conf_item *device;
	if (drive->interface == CONF_IF_IDE) {
		/* A CD drive is named after its first medium: that is how eject finds it. */
		bool cdrom = drive->media == CONF_MEDIA_CDROM;
		device = conf_item_new(cdrom ? "ide-cd" : "ide-hd", cdrom ? drive->id : NULL);
		device->bus = g_strdup_printf("ide.%s", drive->index);
	} else {
		g_autofree char *type = g_strdup_printf("virtio-blk-%s", board->virtio_suffix);
		device = conf_item_new(type, NULL);
	}
	keyval_add(device->props, "drive", drive->id);
	move_error_policy(drive, device);
	drive->interface = CONF_IF_NONE;
	g_clear_pointer(&drive->index, g_free);
	g_clear_pointer(&drive->bus, g_free);
	g_clear_pointer(&drive->unit, g_free);
	g_ptr_array_add(conf->items[CONF_DEVICE], device);
}

static struct conf_item *find_user(const struct conf_vm *conf, const char *drive)
{
	FOR_EACH(conf_item, item, conf->items[CONF_DEVICE]) {
		const char *used = keyval_get(item->props, "drive");
		if (used && strcmp(used, drive) == 0)
			return item;
	}
	return NULL;
}

static bool complete_drives(struct conf_vm *conf, const struct conf_board *board, GError **error)
{
	unsigned counters[CONF_IF_PFLASH + 1] = {0};
	add_default_cdrom(conf, board);
	if (!place_ide_drives(conf, board, error))
		return false;
	FOR_EACH(conf_drive, drive, conf->drives) {
		if (!drive->is_blockdev && drive->interface == CONF_IF_DEFAULT)
			drive->interface = CONF_IF_VIRTIO;
		name_drive(drive, &counters[drive->interface]);
		if (conf->snapshot && drive->snapshot == CONF_SWITCH_AUTO)
			drive->snapshot = CONF_SWITCH_ON;
	}
	for (unsigned i = 0; i < conf->drives->len; i++) {
		struct conf_drive *a = conf->drives->pdata[i];
		for (unsigned j = 0; j < i; j++) {
			struct conf_drive *b = conf->drives->pdata[j];
			if (strcmp(a->id, b->id) == 0)
				return error_set(error, BERTH_ERR_INVALID,
						 "there are two drives with id '%s': rename one",
						 a->id);
		}
	}
	FOR_EACH(conf_drive, drive, conf->drives) {
		if (drive->interface == CONF_IF_IDE || drive->interface == CONF_IF_VIRTIO) {
			add_drive_device(conf, drive, board);
			continue;
		}
		struct conf_item *user = find_user(conf, drive->id);
		if (user)
			move_error_policy(drive, user);
	}
	FOR_EACH(conf_drive, drive, conf->drives) {
		const struct conf_item *user = find_user(conf, drive->id);
		bool cdrom = drive->media == CONF_MEDIA_CDROM ||
			     (user && g_str_has_suffix(user->type, "-cd"));
		if (cdrom && drive->readonly == CONF_SWITCH_AUTO)
			drive->readonly = CONF_SWITCH_ON;
	}
	return true;
}

/* --- networks ---------------------------------------------------------------------------------- */

static char *device_of_model(const char *model, const struct conf_board *board)
{
	if (!model)
		return g_strdup(board->default_nic);
	if (strcmp(model, "virtio") == 0 || strcmp(model, "virtio-net") == 0)
		return g_strdup_printf("virtio-net-%s", board->virtio_suffix);
	return g_strdup(model);
}

static struct conf_item *add_netdev(struct conf_vm *conf, struct conf_nic *nic, const char *id)
{
	struct conf_item *netdev = conf_item_new(nic->type, id);
	keyval_free(netdev->props);
	netdev->props = keyval_copy(nic->netdev_props);
	g_ptr_array_add(conf->items[CONF_NETDEV], netdev);
	return netdev;
}

static void add_nic(struct conf_vm *conf, const struct conf_nic *nic, const char *netdev,
		    const struct conf_board *board)
{
	g_autofree char *type = device_of_model(nic->model, board);
	struct conf_item *device = conf_item_new(type, NULL);
	keyval_add(device->props, "netdev", netdev);
	if (nic->mac)
		keyval_add(device->props, "mac", nic->mac);
	g_ptr_array_add(conf->items[CONF_DEVICE], device);
}

static bool is_none(const struct conf_nic *nic)
{
	return nic->type && strcmp(nic->type, "none") == 0;
}

/* -net nic and -net BACKEND meet at a hub; one of each is a plain pair, and all there is here. */
static bool join_legacy_pair(struct conf_vm *conf, GError **error)
{
	struct conf_nic *device = NULL, *backend = NULL;
	FOR_EACH(conf_nic, nic, conf->nics) {
		if (!nic->legacy || is_none(nic) || nic->netdev)
			continue;
		struct conf_nic **half = nic->type ? &backend : &device;
		if (*half)
			return error_set(error, BERTH_ERR_NOT_SUPPORTED,
					 "-net: hubs are not supported: write a -netdev and a "
					 "-device, or a -nic, for each network");
		*half = nic;
	}
	if (!device || !backend) {
		if (device || backend)
			return error_set(error, BERTH_ERR_INVALID,
					 "-net %s is connected to nothing: write -nic %s instead",
					 backend ? backend->type : "nic",
					 backend ? backend->type : "user");
		return true;
	}
	backend->model = g_steal_pointer(&device->model);
	backend->mac = g_steal_pointer(&device->mac);
	g_ptr_array_remove(conf->nics, device);
	return true;
}

static bool complete_nics(struct conf_vm *conf, const struct conf_board *board, GError **error)
{
	if (conf->nics->len == 0 && conf->items[CONF_NETDEV]->len == 0 && !conf->nodefaults &&
	    board->default_nic)
		g_ptr_array_add(conf->nics, conf_nic_parse("user", NULL));
	if (!join_legacy_pair(conf, error))
		return false;
	unsigned number = 0;
	FOR_EACH(conf_nic, nic, conf->nics) {
		if (is_none(nic)) {
			if (conf->nics->len > 1 && !nic->legacy)
				return error_set(error, BERTH_ERR_INVALID,
						 "-nic none contradicts the other -nic options");
			continue;
		}
		g_autofree char *id = nic->netdev ? g_strdup(nic->netdev) :
				      nic->id     ? g_strdup(nic->id) :
						    g_strdup_printf("nic-net%u", number);
		if (nic->netdev && !find_item(conf, CONF_NETDEV, nic->netdev))
			return error_set(error, BERTH_ERR_NOT_FOUND,
					 "-net nic: there is no -netdev with id '%s'", nic->netdev);
		if (!nic->netdev && find_item(conf, CONF_NETDEV, id))
			return error_set(error, BERTH_ERR_INVALID,
					 "there are two networks with id '%s': rename one", id);
		if (!nic->netdev)
			add_netdev(conf, nic, id);
		add_nic(conf, nic, id, board);
		number++;
	}
	g_ptr_array_set_size(conf->nics, 0);
	return true;
}

static bool is_network_device(const struct conf_item *device)
{
	return keyval_get(device->props, "netdev") || g_str_has_prefix(device->type, "virtio-net-");
}

/*
 * QEMU's addresses for those who asked for none: 52:54:00:12:34:56 and up, the cards of -nic before
 * those of -device. `nics` is where the former begin.
 */
static void assign_macs(struct conf_vm *conf, unsigned nics)
{
	static const char prefix[] = "52:54:00:12:34:";
	const GPtrArray *devices = conf->items[CONF_DEVICE];
	bool used[256] = {0};
	FOR_EACH(conf_item, device, devices) {
		const char *mac = keyval_get(device->props, "mac");
		if (mac && g_ascii_strncasecmp(mac, prefix, strlen(prefix)) == 0)
			used[strtoul(mac + strlen(prefix), NULL, 16) & 0xff] = true;
	}
	unsigned last = 0x56;
	for (unsigned i = 0; i < devices->len; i++) {
		struct conf_item *device = devices->pdata[(nics + i) % devices->len];
		if (!is_network_device(device) || keyval_get(device->props, "mac"))
			continue;
		while (last < G_N_ELEMENTS(used) && used[last])
			last++;
		if (last == G_N_ELEMENTS(used))
			return; /* the device makes one from its place */
		g_autofree char *mac = g_strdup_printf("%s%02x", prefix, last++);
		keyval_add(device->props, "mac", mac);
	}
}

static bool check_ids(const struct conf_vm *conf, GError **error)
{
	for (unsigned kind = 0; kind < CONF_ITEM_KINDS; kind++) {
		FOR_EACH(conf_item, item, conf->items[kind]) {
			if (item->id && find_item(conf, kind, item->id) != item)
				return error_set(error, BERTH_ERR_INVALID,
						 "%s: there are two with id '%s': rename one",
						 conf_item_option(kind), item->id);
		}
	}
	return true;
}

static void take_over(char **target, char **source)
{
	if (*source) {
		g_free(*target);
		*target = g_steal_pointer(source);
	}
}

bool conf_vm_complete(struct conf_vm *conf, const struct conf_board *board, GError **error)
{
	take_over(&conf->kernel, &conf->machine.kernel);
	take_over(&conf->initrd, &conf->machine.initrd);
	take_over(&conf->append, &conf->machine.append);
	if (!conf->kernel && (conf->initrd || conf->append))
		return error_set(error, BERTH_ERR_INVALID,
				 "%s is for a kernel: add -kernel FILE or leave it out",
				 conf->initrd ? "-initrd" : "-append");
	conf->memory_given = conf->memory.size != 0;
	if (!conf->memory_given)
		conf->memory.size = 128 * MIB;
	if (!conf_smp_complete(&conf->smp, error) ||
	    !conf_numa_complete(&conf->numa, &conf->smp, error))
		return false;
	complete_streams(conf);
	if (!complete_drives(conf, board, error))
		return false;
	unsigned nics = conf->items[CONF_DEVICE]->len;
	if (!complete_nics(conf, board, error) || !check_ids(conf, error))
		return false;
	assign_macs(conf, nics);
	return true;
}
