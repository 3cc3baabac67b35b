/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/device_args.h"

#include <string.h>

/* --- Places --------------------------------------------------------------------------------- */

static void set(json_t *object, const char *key, const char *value)
{
	if (value)
		json_object_set_new(object, key, json_string(value));
}

static void set_format(json_t *object, const char *key, const char *format, ...) G_GNUC_PRINTF(3, 4);
static void set_format(json_t *object, const char *key, const char *format, ...)
{
	va_list values;
	va_start(values, format);
	g_autofree char *text = g_strdup_vprintf(format, values);
	va_end(values);
	set(object, key, text);
}

static json_t *placed_device(const char *driver, const struct conf_domain_device *dev)
{
	json_t *device = json_object();
	set(device, "driver", driver);
	set(device, "id", dev->alias);
	if (!dev->placed)
		return device;
	set_format(device, "bus", dev->bus ? "pci.%u" : "pcie.%u", dev->bus);
	set_format(device, "addr", "0x%x.0x%x", dev->slot, dev->function);
	return device;
}

json_t *virtio_device(const struct conf_domain *conf, const char *name, const struct conf_domain_device *dev)
{
	g_autofree char *driver = g_strdup_printf("%s-%s", name,
						  conf_domain_is_microvm(conf) ? "device" : "pci");
	return placed_device(driver, dev);
}

json_t *controller_device(const struct conf_domain *conf,
			  const struct conf_domain_controller *controller)
{
	if (!controller->root_port)
		return virtio_device(conf, "virtio-serial", &controller->dev);
	json_t *device = json_object();
	set(device, "driver", "pcie-root-port");
	/* Devices name their bus by its number, whatever a client calls the port. */
	set_format(device, "id", "pci.%u", controller->index);
	set(device, "bus", "pcie.0");
	set_format(device, "addr", "0x%x.0x%x", controller->dev.slot, controller->dev.function);
	json_object_set_new(device, "port", json_integer(controller->port));
	json_object_set_new(device, "chassis", json_integer(controller->chassis));
	if (!controller->dev.function)
		json_object_set_new(device, "multifunction", json_true());
	return device;
}

/* --- Disks ---------------------------------------------------------------------------------- */

static bool writes_through(const struct conf_domain_disk *disk)
{
	return g_strcmp0(disk->cache, "writethrough") == 0 || g_strcmp0(disk->cache, "directsync") == 0;
}

json_t *disk_throttle(const struct conf_domain_disk *disk)
{
	static const char *const names[CONF_IOTUNE_NUMBERS] = {
		"bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr",
		"bps_max", "bps_rd_max", "bps_wr_max", "iops_max", "iops_rd_max", "iops_wr_max",
		"bps_max_length", "bps_rd_max_length", "bps_wr_max_length",
		"iops_max_length", "iops_rd_max_length", "iops_wr_max_length", "iops_size",
	};
	json_t *args = json_pack("{s:s}", "id", disk->dev.alias);
	/* The plain limits must be there, the rest may not be 0. */
	for (unsigned i = 0; i < CONF_IOTUNE_NUMBERS; i++) {
		if (i < CONF_IOTUNE_BYTES_MAX || disk->iotune.numbers[i])
			json_object_set_new(args, names[i], json_integer(disk->iotune.numbers[i]));
	}
	set(args, "group", disk->iotune.group);
	return args;
}

json_t *disk_device(const struct conf_domain *conf, const struct conf_domain_disk *disk)
{
	json_t *device;
	if (disk->virtio) {
		device = virtio_device(conf, "virtio-blk", &disk->dev);
	} else {
		device = json_pack("{s:s, s:s}", "driver", disk->cdrom ? "ide-cd" : "ide-hd", "id",
				   disk->dev.alias);
		set_format(device, "bus", "ide.%u", disk->unit);
	}
	set_format(device, "drive", "drive-%s", disk->dev.alias);
	if (disk->iothread)
		set_format(device, "iothread", "iothread%u", disk->iothread);
	if (disk->virtio && writes_through(disk))
		set(device, "write-cache", "off");
	if (disk->virtio && disk->shareable)
		json_object_set_new(device, "share-rw", json_true());
	set(device, "serial", disk->serial);
	if (disk->boot_order)
		json_object_set_new(device, "bootindex", json_integer(disk->boot_order));
	return device;
}

/* --- Networks ------------------------------------------------------------------------------- */

json_t *nic_socket(const struct conf_domain_nic *nic)
{
	json_t *data = json_pack("{s:{s:s, s:{s:s}}, s:b}", "addr", "type", "unix", "data", "path",
				 nic->socket, "server", (int)nic->socket_listens);
	json_t *whole = json_pack("{s:{s:s, s:o}}", "backend", "type", "socket", "data", data);
	if (nic->socket_listens)
		json_object_set_new(data, "wait", json_false());
	else if (nic->reconnect)
		json_object_set_new(data, "reconnect", json_integer(nic->reconnect));
	set_format(whole, "id", "char%s", nic->dev.alias);
	return whole;
}

/* A tap's queues, and the kernel's threads for them. */
static void set_tap(json_t *netdev, const struct conf_domain_nic *nic, const char *fds, const char *vhost_fds)
{
	set(netdev, "type", "tap");
	set(netdev, nic->queues > 1 ? "fds" : "fd", fds);
	if (!vhost_fds)
		return;
	json_object_set_new(netdev, "vhost", json_true());
	set(netdev, nic->queues > 1 ? "vhostfds" : "vhostfd", vhost_fds);
}

json_t *nic_netdev(const struct conf_domain_nic *nic, const char *fds, const char *vhost_fds)
{
	json_t *netdev = json_object();
	set_format(netdev, "id", "host%s", nic->dev.alias);
	if (nic->socket) {
		set(netdev, "type", "vhost-user");
		set_format(netdev, "chardev", "char%s", nic->dev.alias);
		json_object_set_new(netdev, "queues", json_integer(nic->queues));
	} else if (nic->passt) {
		json_t *address = json_pack("{s:s}", "type", "fd");
		set(netdev, "type", "stream");
		set(address, "str", fds);
		json_object_set_new(netdev, "addr", address);
	} else if (nic->cable) {
		set(netdev, "type", "socket");
		set(netdev, nic->cable, nic->cable_to);
		if (nic->cable_from)
			set(netdev, "localaddr", nic->cable_from);
	} else if (strcmp(nic->type, "user") == 0) {
		set(netdev, "type", "user");
	} else if (!fds && strcmp(nic->type, "bridge") == 0) {
		set(netdev, "type", "bridge");
		set(netdev, "br", nic->source);
	} else {
		set_tap(netdev, nic, fds, vhost_fds);
	}
	return netdev;
}

json_t *nic_device(const struct conf_domain *conf, const struct conf_domain_nic *nic)
{
	bool virtio = conf_domain_nic_is_virtio(nic);
	json_t *device = virtio ? virtio_device(conf, "virtio-net", &nic->dev) :
				  placed_device(nic->model, &nic->dev);
	set_format(device, "netdev", "host%s", nic->dev.alias);
	set(device, "mac", nic->mac);
	if (nic->queues > 1)
		json_object_set_new(device, "mq", json_true());
	if (nic->mtu && virtio)
		json_object_set_new(device, "host_mtu", json_integer(nic->mtu));
	if (nic->boot_order)
		json_object_set_new(device, "bootindex", json_integer(nic->boot_order));
	if (nic->rom_bar != CONF_NIC_ROM_DEFAULT)
		json_object_set_new(device, "rombar", json_boolean(nic->rom_bar == CONF_NIC_ROM_ON));
	set(device, "romfile", nic->rom_file);
	return device;
}

/* --- Serial ports, consoles, channels -------------------------------------------------------- */

json_t *char_backend(const struct conf_domain_char *chr, const char *run_dir)
{
	json_t *data = json_object(), *backend = json_object(), *whole = json_object();
	set_format(whole, "id", "char%s", chr->dev.alias);
	if (strcmp(chr->type, "unix") == 0) {
		g_autofree char *ours = g_strdup_printf("%s/%s.sock", run_dir, chr->dev.alias);
		json_object_set_new(data, "addr", json_pack("{s:s, s:{s:s}}", "type", "unix", "data", "path",
							    chr->path ? chr->path : ours));
		json_object_set_new(data, "server", json_boolean(chr->listens));
		if (chr->listens)
			json_object_set_new(data, "wait", json_false());
	} else if (strcmp(chr->type, "file") == 0) {
		set(data, "out", chr->path);
	}
	set(backend, "type", strcmp(chr->type, "unix") == 0 ? "socket" : chr->type);
	json_object_set_new(backend, "data", data);
	json_object_set_new(whole, "backend", backend);
	return whole;
}

json_t *char_device(const struct conf_domain *conf, const struct conf_domain_char *chr)
{
	json_t *device = json_object();
	set_format(device, "chardev", "char%s", chr->dev.alias);
	set(device, "id", chr->dev.alias);
	if (chr->kind == CONF_DOMAIN_SERIAL) {
		set(device, "driver", "isa-serial");
		return device;
	}
	bool console = chr->kind == CONF_DOMAIN_VIRTIO_CONSOLE;
	set(device, "driver", console ? "virtconsole" : "virtserialport");
	set(device, "bus", "virtio-serial0.0");
	json_object_set_new(device, "nr", json_integer(chr->port));
	if (!console)
		set(device, "name", chr->name ? chr->name : chr->dev.alias);
	return device;
}

/* --- Folders -------------------------------------------------------------------------------- */

json_t *filesystem_device(const struct conf_domain *conf, const struct conf_domain_filesystem *fs)
{
	json_t *device = virtio_device(conf, "virtio-9p", &fs->dev);
	set(device, "path", fs->path);
	set(device, "mount_tag", fs->tag);
	set(device, "security_model", fs->security_model);
	json_object_set_new(device, "readonly", json_boolean(fs->readonly));
	return device;
}

/* --- The rest ------------------------------------------------------------------------------- */

json_t *rng_object(const struct conf_domain *conf)
{
	bool given = conf->rng_file && *conf->rng_file;
	json_t *object = json_pack("{s:s, s:s}", "qom-type", "rng-random", "filename",
				   given ? conf->rng_file : "/dev/urandom");
	set_format(object, "id", "obj%s", conf->rng->alias);
	return object;
}

json_t *rng_device(const struct conf_domain *conf)
{
	json_t *device = virtio_device(conf, "virtio-rng", conf->rng);
	set_format(device, "rng", "obj%s", conf->rng->alias);
	return device;
}

json_t *balloon_device(const struct conf_domain *conf)
{
	return virtio_device(conf, "virtio-balloon", conf->balloon);
}

json_t *hostdev_device(const struct conf_domain_hostdev *hostdev)
{
	json_t *device = placed_device("vfio-pci", &hostdev->dev);
	set(device, "host", hostdev->host);
	if (hostdev->boot_order)
		json_object_set_new(device, "bootindex", json_integer(hostdev->boot_order));
	if (hostdev->rom_bar != CONF_NIC_ROM_DEFAULT)
		json_object_set_new(device, "rombar", json_integer(hostdev->rom_bar == CONF_NIC_ROM_ON));
	set(device, "romfile", hostdev->rom_file);
	return device;
}

json_t *watchdog_device(const struct conf_domain *conf)
{
	return placed_device("i6300esb", conf->watchdog);
}
