/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A domain as berth-vmm's arguments. */
#include "daemon/domain/domain.h"

#include "base/error.h"

#include <string.h>

/* "a,b" becomes "a,,b": a comma ends a value in QEMU's lists. */
static char *quoted(const char *value)
{
	g_auto(GStrv) parts = g_strsplit(value, ",", -1);
	return g_strjoinv(",,", parts);
}

static void add(GPtrArray *args, const char *option, const char *format, ...)
	G_GNUC_PRINTF(3, 4);
static void add(GPtrArray *args, const char *option, const char *format, ...)
{
	g_ptr_array_add(args, g_strdup(option));
	if (!format)
		return;
	va_list values;
	va_start(values, format);
	g_ptr_array_add(args, g_strdup_vprintf(format, values));
	va_end(values);
}

static bool is_microvm(const struct conf_domain *conf)
{
	return strcmp(conf->machine, "microvm") == 0;
}

static const char *suffix(const struct conf_domain *conf)
{
	return is_microvm(conf) ? "device" : "pci";
}

static void add_machine(GPtrArray *args, const struct conf_domain *conf)
{
	add(args, "-machine", "%s,accel=%s%s%s", conf->machine, conf->kvm ? "kvm" : "soft",
	    conf->no_hpet && !is_microvm(conf) ? ",hpet=off" : "", conf->acpi ? "" : ",acpi=off");
	add(args, "-m", "%" G_GUINT64_FORMAT "k", conf->memory_kib);
	add(args, "-smp", "%u", conf->vcpus);
	if (conf->cpu)
		add(args, "-cpu", "%s", conf->cpu);
	add(args, "-rtc", "base=%s", conf->localtime ? "localtime" : "utc");
	add(args, "-action", "reboot=%s,panic=%s",
	    conf->on_reboot == CONF_DOMAIN_RESTART ? "reset" : "shutdown",
	    conf->on_crash == CONF_DOMAIN_PRESERVE ? "pause" : "shutdown");
	if (conf->kernel)
		add(args, "-kernel", "%s", conf->kernel);
	if (conf->initrd)
		add(args, "-initrd", "%s", conf->initrd);
	if (conf->cmdline)
		add(args, "-append", "%s", conf->cmdline);
	if (conf->loader)
		add(args, "-bios", "%s", conf->loader);
	if (*conf->boot)
		add(args, "-boot", "order=%s", conf->boot);
}

static void add_disk(GPtrArray *args, const struct conf_domain *conf,
		     const struct conf_domain_disk *disk)
{
	g_autoptr(GString) drive = g_string_new(NULL), device = g_string_new(NULL);
	g_string_printf(drive, "if=none,id=drive-%s,readonly=%s,media=%s", disk->target,
			disk->readonly ? "on" : "off", disk->cdrom ? "cdrom" : "disk");
	if (disk->file) {
		g_autofree char *file = quoted(disk->file);
		g_string_append_printf(drive, ",format=%s,file=%s", disk->format, file);
	}
	if (disk->cache && strcmp(disk->cache, "default") != 0)
		g_string_append_printf(drive, ",cache=%s", disk->cache);
	if (disk->io)
		g_string_append_printf(drive, ",aio=%s", disk->io);
	if (disk->discard)
		g_string_append_printf(drive, ",discard=%s", disk->discard);
	add(args, "-drive", "%s", drive->str);
	if (disk->virtio)
		g_string_printf(device, "virtio-blk-%s", suffix(conf));
	else
		g_string_assign(device, disk->cdrom ? "ide-cd" : "ide-hd");
	g_string_append_printf(device, ",drive=drive-%s,id=disk-%s", disk->target, disk->target);
	if (disk->serial) {
		g_autofree char *serial = quoted(disk->serial);
		g_string_append_printf(device, ",serial=%s", serial);
	}
	if (disk->boot_order)
		g_string_append_printf(device, ",bootindex=%u", disk->boot_order);
	add(args, "-device", "%s", device->str);
}

static void add_nic(GPtrArray *args, const struct conf_domain *conf,
		    const struct conf_domain_nic *nic, unsigned index)
{
	g_autoptr(GString) netdev = g_string_new(NULL);
	if (strcmp(nic->type, "user") == 0) {
		g_string_printf(netdev, "user,id=hostnet%u", index);
	} else {
		bool bridge = strcmp(nic->type, "bridge") == 0;
		g_string_printf(netdev, "%s,id=hostnet%u", bridge ? "bridge" : "tap", index);
		if (bridge)
			g_string_append_printf(netdev, ",br=%s", nic->source);
		else
			g_string_append_printf(netdev, ",script=no,downscript=no%s%s",
					       nic->target ? ",ifname=" : "",
					       nic->target ? nic->target : "");
	}
	add(args, "-netdev", "%s", netdev->str);
	g_autofree char *boot =
		nic->boot_order ? g_strdup_printf(",bootindex=%u", nic->boot_order) : g_strdup("");
	add(args, "-device", "virtio-net-%s,netdev=hostnet%u,id=net%u,mac=%s%s", suffix(conf), index,
	    index, nic->mac, boot);
}

static void add_char(GPtrArray *args, const struct conf_domain_char *chr, const char *run_dir)
{
	g_autofree char *path = NULL;
	if (chr->path)
		path = quoted(chr->path);
	else if (strcmp(chr->type, "unix") == 0) {
		g_autofree char *ours = g_strdup_printf("%s/%s.sock", run_dir, chr->alias);
		path = quoted(ours);
	}
	if (strcmp(chr->type, "unix") == 0)
		add(args, "-chardev", "socket,id=char%s,path=%s%s", chr->alias, path,
		    chr->listens ? ",server=on,wait=off" : "");
	else if (strcmp(chr->type, "file") == 0)
		add(args, "-chardev", "file,id=char%s,path=%s", chr->alias, path);
	else
		add(args, "-chardev", "%s,id=char%s", chr->type, chr->alias);
	if (chr->kind == CONF_DOMAIN_SERIAL) {
		add(args, "-serial", "chardev:char%s", chr->alias);
	} else if (chr->kind == CONF_DOMAIN_VIRTIO_CONSOLE) {
		add(args, "-device", "virtconsole,chardev=char%s,id=%s", chr->alias, chr->alias);
	} else {
		g_autofree char *name = quoted(chr->name ? chr->name : chr->alias);
		add(args, "-device", "virtserialport,chardev=char%s,id=%s,name=%s", chr->alias,
		    chr->alias, name);
	}
}

static void add_chars(GPtrArray *args, const struct conf_domain *conf, const char *run_dir)
{
	bool bus = false;
	for (unsigned i = 0; i < conf->chars->len; i++) {
		const struct conf_domain_char *chr = conf->chars->pdata[i];
		if (chr->kind != CONF_DOMAIN_SERIAL && !bus) {
			add(args, "-device", "virtio-serial-%s,id=virtio-serial0", suffix(conf));
			bus = true;
		}
		add_char(args, chr, run_dir);
	}
}

GPtrArray *vmm_arguments(const struct daemon *daemon, const struct conf_domain *conf,
			 const char *run_dir, GError **error)
{
	/* Another emulator would not understand what we say to it. */
	if (conf->emulator && strcmp(conf->emulator, daemon->vmm) != 0) {
		error_set(error, BERTH_ERR_NOT_SUPPORTED,
			  "emulator '%s' is not Berth's: leave <emulator> out, or name '%s'",
			  conf->emulator, daemon->vmm);
		return NULL;
	}
	char uuid[37];
	conf_uuid_format(conf->uuid, uuid);
	g_autofree char *name = quoted(conf->name), *run = quoted(run_dir);
	GPtrArray *args = g_ptr_array_new_with_free_func(g_free);
	g_ptr_array_add(args, g_strdup(daemon->vmm));
	add(args, "-name", "guest=%s", name);
	add(args, "-uuid", "%s", uuid);
	add(args, "-S", NULL);
	add(args, "-nodefaults", NULL);
	add(args, "-no-user-config", NULL);
	add(args, "-display", "none");
	add(args, "-qmp", "unix:%s/qmp.sock,server=on,wait=off", run);
	add_machine(args, conf);
	for (unsigned i = 0; i < conf->disks->len; i++)
		add_disk(args, conf, conf->disks->pdata[i]);
	for (unsigned i = 0; i < conf->nics->len; i++)
		add_nic(args, conf, conf->nics->pdata[i], i);
	add_chars(args, conf, run_dir);
	if (conf->rng) {
		g_autofree char *file =
			quoted(conf->rng_file && *conf->rng_file ? conf->rng_file : "/dev/urandom");
		add(args, "-object", "rng-random,id=objrng0,filename=%s", file);
		add(args, "-device", "virtio-rng-%s,rng=objrng0,id=rng0", suffix(conf));
	}
	if (conf->balloon)
		add(args, "-device", "virtio-balloon-%s,id=balloon0", suffix(conf));
	g_ptr_array_add(args, NULL);
	return args;
}
