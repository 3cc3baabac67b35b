/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From what a person wants to a machine: virtio for everything, the console on the terminal. */
#include "berth.h"

#include "base/bytes.h"
#include "base/error.h"
#include "base/units.h"

#include <string.h>
#include <unistd.h>

static void add_item(struct conf_vm *conf, enum conf_item_kind kind, struct conf_item *item)
{
	g_ptr_array_add(conf->items[kind], item);
}

static struct conf_item *new_device(const struct wishes *wishes, const char *virtio, const char *id)
{
	bool mmio = wishes->machine && strcmp(wishes->machine, "microvm") == 0;
	g_autofree char *type = g_strdup_printf("%s-%s", virtio, mmio ? "device" : "pci");
	return conf_item_new(type, id);
}

/* --- disks ------------------------------------------------------------------------------------------ */

/* Formats that berth-vmm reads and writes. */
static bool is_disk_format(const char *format)
{
	static const char *const formats[] = {"qcow2", "vmdk", "vdi", "vhdx", "vpc", "qed", NULL};
	return g_strv_contains(formats, format);
}

static bool refuse_format(const char *path, const char *format, GError **error)
{
	bool packed = strcmp(format, "gzip") == 0 || strcmp(format, "xz") == 0 ||
		      strcmp(format, "zstd") == 0;
	if (packed)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "run: '%s' is compressed with %s: unpack it first", path, format);
	return error_set(error, BERTH_ERR_NOT_SUPPORTED,
			 "run: '%s' is a %s image, which is not supported yet: convert it with "
			 "qemu-img convert -O raw '%s' disk.raw",
			 path, format, path);
}

static bool add_disk(struct conf_vm *conf, const struct wishes *wishes, const char *path, bool cdrom,
		     GError **error)
{
	enum image_kind kind;
	const char *format;
	if (!image_detect(path, &kind, &format, error))
		return false;
	bool image = kind == IMAGE_OTHER && is_disk_format(format);
	if (kind == IMAGE_OTHER && !image)
		return refuse_format(path, format, error);
	if (kind == IMAGE_KERNEL)
		return error_set(error, BERTH_ERR_INVALID,
				 "run: '%s' is a kernel, not a disk: write --kernel before it", path);
	unsigned number = conf->drives->len;
	struct conf_drive *drive = conf_drive_new();
	drive->interface = CONF_IF_NONE;
	drive->id = g_strdup_printf("disk%u", number);
	drive->file = g_strdup(path);
	drive->format = g_strdup(image ? format : "raw");
	drive->media = cdrom ? CONF_MEDIA_CDROM : CONF_MEDIA_DISK;
	drive->readonly = cdrom ? CONF_SWITCH_ON : CONF_SWITCH_AUTO;
	drive->discard = cdrom ? CONF_DISCARD_DEFAULT : CONF_DISCARD_UNMAP;
	g_ptr_array_add(conf->drives, drive);
	struct conf_item *device = cdrom ? conf_item_new("ide-cd", NULL) :
					   new_device(wishes, "virtio-blk", NULL);
	keyval_add(device->props, "drive", drive->id);
	g_autofree char *index = g_strdup_printf("%u", number);
	keyval_add(device->props, "bootindex", index);
	add_item(conf, CONF_DEVICE, device);
	return true;
}

static bool add_disks(struct conf_vm *conf, const struct wishes *wishes, GError **error)
{
	if (wishes->image) {
		enum image_kind kind;
		const char *format;
		if (!image_detect(wishes->image, &kind, &format, error))
			return false;
		if (kind == IMAGE_KERNEL && !wishes->kernel)
			conf->kernel = g_strdup(wishes->image);
		else if (!add_disk(conf, wishes, wishes->image, kind == IMAGE_ISO, error))
			return false;
	}
	for (unsigned i = 0; i < wishes->disks->len; i++) {
		if (!add_disk(conf, wishes, wishes->disks->pdata[i], false, error))
			return false;
	}
	for (unsigned i = 0; i < wishes->cdroms->len; i++) {
		if (!add_disk(conf, wishes, wishes->cdroms->pdata[i], true, error))
			return false;
	}
	conf->snapshot = wishes->snapshot;
	return true;
}

/* --- network ------------------------------------------------------------------------------------------ */

static bool set_bad_forward(const char *text, GError **error)
{
	return error_set(error, BERTH_ERR_INVALID,
			 "run: --forward '%s' is not [tcp:|udp:][ADDRESS:]HOST:GUEST, as in "
			 "tcp:2222:22",
			 text);
}

/* "tcp:2222:22" to libslirp's "tcp:127.0.0.1:2222-:22". */
static char *forward_rule(const char *text, GError **error)
{
	const char *protocol = "tcp", *rest = text;
	if (g_str_has_prefix(text, "tcp:") || g_str_has_prefix(text, "udp:")) {
		protocol = text[0] == 't' ? "tcp" : "udp";
		rest = text + 4;
	}
	g_auto(GStrv) parts = g_strsplit(rest, ":", 0);
	unsigned count = g_strv_length(parts);
	const char *address = count == 3 ? parts[0] : "127.0.0.1";
	uint64_t ports[2];
	bool good = count == 2 || count == 3;
	for (unsigned i = 0; good && i < 2; i++)
		good = units_parse_number(parts[count - 2 + i], 1, 65535, &ports[i], NULL);
	if (!good) {
		set_bad_forward(text, error);
		return NULL;
	}
	return g_strdup_printf("%s:%s:%u-:%u", protocol, address, (unsigned)ports[0],
			       (unsigned)ports[1]);
}

/* Machines on one bridge must differ, and the same command should get the same address again. */
static char *hardware_address(const struct wishes *wishes)
{
	g_autofree char *seed = g_strdup_printf("%s/%s/%s", wishes->name ? wishes->name : "",
						wishes->image ? wishes->image : "",
						wishes->network ? wishes->network : "");
	unsigned hash = g_str_hash(seed);
	return g_strdup_printf("52:54:00:%02x:%02x:%02x", hash >> 16 & 0xff, hash >> 8 & 0xff,
			       hash & 0xff);
}

static struct conf_item *new_netdev(const char *network, GError **error)
{
	struct conf_item *netdev = NULL;
	if (!network || strcmp(network, "user") == 0) {
		netdev = conf_item_new("user", "net0");
	} else if (g_str_has_prefix(network, "tap:") && network[4]) {
		netdev = conf_item_new("tap", "net0");
		keyval_add(netdev->props, "ifname", network + 4);
		keyval_add(netdev->props, "script", "no");
		keyval_add(netdev->props, "downscript", "no");
	} else if (g_str_has_prefix(network, "bridge:") && network[7]) {
		netdev = conf_item_new("bridge", "net0");
		keyval_add(netdev->props, "br", network + 7);
	} else {
		error_set(error, BERTH_ERR_INVALID,
			  "run: --net '%s' is not one of user, none, tap:NAME, bridge:NAME", network);
	}
	return netdev;
}

static bool add_network(struct conf_vm *conf, const struct wishes *wishes, GError **error)
{
	bool none = wishes->network && strcmp(wishes->network, "none") == 0;
	bool user = !wishes->network || strcmp(wishes->network, "user") == 0;
	if (wishes->forwards->len && !user)
		return error_set(error, BERTH_ERR_INVALID,
				 "run: --forward is for --net user: the guest has an address of its "
				 "own otherwise");
	if (none)
		return true;
	struct conf_item *netdev = new_netdev(wishes->network, error);
	if (!netdev)
		return false;
	add_item(conf, CONF_NETDEV, netdev);
	for (unsigned i = 0; i < wishes->forwards->len; i++) {
		g_autofree char *rule = forward_rule(wishes->forwards->pdata[i], error);
		if (!rule)
			return false;
		keyval_add(netdev->props, "hostfwd", rule);
	}
	struct conf_item *device = new_device(wishes, "virtio-net", NULL);
	keyval_add(device->props, "netdev", "net0");
	g_autofree char *mac = hardware_address(wishes);
	keyval_add(device->props, "mac", mac);
	add_item(conf, CONF_DEVICE, device);
	return true;
}

/* --- the rest -------------------------------------------------------------------------------------------- */

static bool add_shares(struct conf_vm *conf, const struct wishes *wishes, GError **error)
{
	for (unsigned i = 0; i < wishes->shares->len; i++) {
		const char *folder = wishes->shares->pdata[i];
		if (!g_file_test(folder, G_FILE_TEST_IS_DIR))
			return error_set(error, BERTH_ERR_NOT_FOUND,
					 "run: --share '%s' is not a folder", folder);
		g_autofree char *tag = i ? g_strdup_printf("share%u", i) : g_strdup("share");
		g_autofree char *path = g_canonicalize_filename(folder, NULL);
		struct conf_item *fsdev = conf_item_new("local", tag);
		keyval_add(fsdev->props, "path", path);
		keyval_add(fsdev->props, "security_model", "none");
		add_item(conf, CONF_FSDEV, fsdev);
		struct conf_item *device = new_device(wishes, "virtio-9p", NULL);
		keyval_add(device->props, "fsdev", tag);
		keyval_add(device->props, "mount_tag", tag);
		add_item(conf, CONF_DEVICE, device);
	}
	return true;
}

static void add_flash(struct conf_vm *conf, const char *path, bool code)
{
	struct conf_drive *drive = conf_drive_new();
	drive->interface = CONF_IF_PFLASH;
	drive->file = g_strdup(path);
	drive->format = g_strdup("raw");
	drive->unit = g_strdup(code ? "0" : "1");
	drive->readonly = code ? CONF_SWITCH_ON : CONF_SWITCH_AUTO;
	/* The package's variables are a template that every machine starts from. */
	drive->snapshot = code ? CONF_SWITCH_AUTO : CONF_SWITCH_ON;
	g_ptr_array_add(conf->drives, drive);
}

static bool add_firmware(struct conf_vm *conf, const struct wishes *wishes, GError **error)
{
	static const char *const pairs[][2] = {
		{"/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"},
		{"/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"},
	};
	const char *firmware = wishes->firmware ? wishes->firmware : "bios";
	if (strcmp(firmware, "bios") == 0)
		return true;
	if (strcmp(firmware, "none") == 0)
		return conf->kernel ? true :
				      error_set(error, BERTH_ERR_INVALID,
						"run: without firmware nothing starts from a disk: add "
						"--kernel FILE, or leave out --firmware none");
	if (strcmp(firmware, "uefi") != 0)
		return error_set(error, BERTH_ERR_INVALID,
				 "run: --firmware '%s' is not one of bios, uefi, none", firmware);
	for (unsigned i = 0; i < G_N_ELEMENTS(pairs); i++) {
		if (access(pairs[i][0], R_OK) == 0 && access(pairs[i][1], R_OK) == 0) {
			add_flash(conf, pairs[i][0], true);
			add_flash(conf, pairs[i][1], false);
			return true;
		}
	}
	return error_set(error, BERTH_ERR_NOT_FOUND,
			 "run: --firmware uefi: OVMF is not installed: apt install ovmf");
}

static bool set_size(struct conf_vm *conf, const struct wishes *wishes, uint64_t host_memory,
		     unsigned host_cpus, GError **error)
{
	uint64_t cpus = MIN(2, MAX(host_cpus, 1));
	conf->memory.size = MIN(2 * GIB, align_down(host_memory / 2, MIB));
	if (wishes->memory && !units_parse_size(wishes->memory, MIB, &conf->memory.size, error)) {
		g_prefix_error(error, "run: --memory: ");
		return false;
	}
	if (conf->memory.size < MIB)
		return error_set(error, BERTH_ERR_INVALID,
				 "run: --memory '%s' is too little: write a unit, as in 512M",
				 wishes->memory ? wishes->memory : "0");
	if (wishes->memory && conf->memory.size > host_memory)
		return error_set(error, BERTH_ERR_INVALID,
				 "run: --memory %s is more than the host has (%u MiB)",
				 wishes->memory, (unsigned)(host_memory / MIB));
	if (wishes->cpus && !units_parse_number(wishes->cpus, 1, 255, &cpus, error)) {
		g_prefix_error(error, "run: --cpus: ");
		return false;
	}
	conf->smp.cpus = cpus;
	return true;
}

static bool set_kernel(struct conf_vm *conf, const struct wishes *wishes, GError **error)
{
	if (wishes->kernel) {
		g_free(conf->kernel);
		conf->kernel = g_strdup(wishes->kernel);
	}
	if (!conf->kernel && (wishes->initrd || wishes->append))
		return error_set(error, BERTH_ERR_INVALID, "run: --%s needs --kernel FILE",
				 wishes->initrd ? "initrd" : "append");
	conf->initrd = g_strdup(wishes->initrd);
	if (conf->kernel)
		conf->append = g_strdup(wishes->append ? wishes->append : "console=ttyS0");
	return true;
}

static bool set_machine(struct conf_vm *conf, const struct wishes *wishes, GError **error)
{
	if (wishes->display && strcmp(wishes->display, "none") != 0)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "run: --display %s is not supported yet: the console is on this "
				 "terminal; leave it out",
				 wishes->display);
	if (wishes->accel) {
		struct conf_accel *accel = conf_accel_parse(wishes->accel, error);
		if (!accel)
			return false;
		g_ptr_array_add(conf->accels, accel);
	}
	conf->machine.type = g_strdup(wishes->machine ? wishes->machine : "q35");
	conf->cpu = g_strdup(wishes->cpu);
	conf->name.guest = g_strdup(wishes->name);
	conf->nodefaults = conf->display_none = true;
	g_ptr_array_add(conf->serials, g_strdup("mon:stdio"));
	add_item(conf, CONF_DEVICE, new_device(wishes, "virtio-rng", NULL));
	return true;
}

struct conf_vm *wishes_to_conf(const struct wishes *wishes, uint64_t host_memory,
			       unsigned host_cpus, GError **error)
{
	struct conf_vm *conf = conf_vm_new();
	bool good = set_machine(conf, wishes, error) &&
		    set_size(conf, wishes, host_memory, host_cpus, error) &&
		    add_disks(conf, wishes, error) && set_kernel(conf, wishes, error) &&
		    add_firmware(conf, wishes, error) && add_network(conf, wishes, error) &&
		    add_shares(conf, wishes, error);
	if (good && !conf->kernel && conf->drives->len == 0)
		good = error_set(error, BERTH_ERR_INVALID,
				 "run: there is nothing to start: name a disk image, or --cdrom FILE, "
				 "or --kernel FILE (see berth help run)");
	if (good)
		return conf;
	conf_vm_free(conf);
	return NULL;
}
