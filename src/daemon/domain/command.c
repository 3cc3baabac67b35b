/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A domain as berth-vmm's arguments. */
#include "daemon/domain/domain.h"

#include "base/error.h"
#include "daemon/domain/device_args.h"
#include "daemon/domain/disk_args.h"
#include "daemon/domain/disk_source.h"
#include "daemon/domain/memory.h"
#include "daemon/domain/vcpus.h"

#include <stdlib.h>
#include <string.h>

char *vmm_quote(const char *value)
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

void vmm_add_json(GPtrArray *args, const char *option, json_t *value)
{
	if (!value)
		return;
	char *text = json_dumps(value, JSON_COMPACT);
	add(args, option, "%s", text);
	free(text);
	json_decref(value);
}

static void add_smp(GPtrArray *args, const struct conf_domain *conf)
{
	const struct conf_domain_topology t = vcpus_topology(conf);
	add(args, "-smp", "%u,maxcpus=%u,sockets=%u,dies=%u,cores=%u,threads=%u", conf->vcpus,
	    conf->max_vcpus, t.sockets, t.dies, t.cores, t.threads);
}

static void add_firmware(GPtrArray *args, const struct conf_domain *conf)
{
	if (!conf->loader)
		return;
	g_autofree char *code = vmm_quote(conf->loader), *vars = conf->nvram ? vmm_quote(conf->nvram) : NULL;
	if (!conf->flash) {
		add(args, "-bios", "%s", conf->loader);
		return;
	}
	add(args, "-drive", "if=pflash,unit=0,format=raw,readonly=%s,file=%s",
	    conf->loader_writable ? "off" : "on", code);
	if (vars)
		add(args, "-drive", "if=pflash,unit=1,format=raw,file=%s", vars);
}

static void add_machine(GPtrArray *args, const struct conf_domain *conf, const char *run_dir)
{
	json_t *backing = memory_boot_object(conf, run_dir);
	add(args, "-machine", "%s,accel=%s%s%s%s%s%s", conf->machine, conf->kvm ? "kvm" : "soft",
	    conf->no_core ? ",dump-guest-core=off" : "",
	    conf->no_hpet && !conf_domain_is_microvm(conf) ? ",hpet=off" : "", conf->acpi ? "" : ",acpi=off",
	    conf->backing.unmerged ? ",mem-merge=off" : "",
	    backing ? ",memory-backend=" MEMORY_BOOT_ID : "");
	vmm_add_json(args, "-object", backing);
	g_autofree char *memory = memory_size(conf);
	add(args, "-m", "%s", memory);
	if (conf->backing.locked)
		add(args, "-overcommit", "mem-lock=on");
	add_smp(args, conf);
	memory_add_nodes(args, conf, run_dir);
	for (unsigned i = 0; i < conf->iothreads->len; i++)
		add(args, "-object", "iothread,id=iothread%u", g_array_index(conf->iothreads, unsigned, i));
	if (conf->cpu)
		add(args, "-cpu", "%s", conf->cpu);
	add(args, "-rtc", "base=%s%s", conf->localtime ? "localtime" : "utc",
	    conf->rtc_catchup ? ",driftfix=slew" : "");
	if (conf->no_sleep)
		add(args, "-global", "ICH9-LPC.disable_s3=1");
	if (conf->no_sleep_on_disk)
		add(args, "-global", "ICH9-LPC.disable_s4=1");
	add(args, "-action", "reboot=%s,panic=%s%s%s",
	    conf->on_reboot == CONF_DOMAIN_RESTART ? "reset" : "shutdown",
	    conf->on_crash == CONF_DOMAIN_PRESERVE ? "pause" : "shutdown", conf->watchdog ? ",watchdog=" : "",
	    conf->watchdog ? conf->watchdog_action : "");
	if (conf->kernel)
		add(args, "-kernel", "%s", conf->kernel);
	if (conf->initrd)
		add(args, "-initrd", "%s", conf->initrd);
	if (conf->cmdline)
		add(args, "-append", "%s", conf->cmdline);
	for (unsigned i = 0; i < conf->smbios->len; i++)
		add(args, "-smbios", "%s", (const char *)conf->smbios->pdata[i]);
	add_firmware(args, conf);
	if (*conf->boot)
		add(args, "-boot", "order=%s", conf->boot);
}

/* The file itself where no VMM is started, but a command line shown. */
static char *log_option(const struct conf_domain_char *chr)
{
	if (chr->log_fd)
		return g_strdup_printf(",logfile=/dev/fd/%d,logappend=on", chr->log_fd);
	if (!chr->log)
		return g_strdup("");
	g_autofree char *path = vmm_quote(chr->log);
	return g_strdup_printf(",logfile=%s,logappend=%s", path, chr->log_append ? "on" : "off");
}

static void add_char(GPtrArray *args, const struct conf_domain *conf,
		     const struct conf_domain_char *chr, const char *run_dir)
{
	g_autofree char *path = NULL;
	if (chr->path)
		path = vmm_quote(chr->path);
	else if (strcmp(chr->type, "unix") == 0) {
		g_autofree char *ours = g_strdup_printf("%s/%s.sock", run_dir, chr->dev.alias);
		path = vmm_quote(ours);
	}
	g_autofree char *log = log_option(chr);
	if (strcmp(chr->type, "unix") == 0)
		add(args, "-chardev", "socket,id=char%s,path=%s%s%s", chr->dev.alias, path,
		    chr->listens ? ",server=on,wait=off" : "", log);
	else if (strcmp(chr->type, "file") == 0)
		add(args, "-chardev", "file,id=char%s,path=%s%s", chr->dev.alias, path, log);
	else
		add(args, "-chardev", "%s,id=char%s%s", chr->type, chr->dev.alias, log);
	vmm_add_json(args, "-device", char_device(conf, chr));
}

/* Ports first, whatever the document's order: they are the buses of what comes after them. */
static void add_controllers(GPtrArray *args, const struct conf_domain *conf, bool root_ports)
{
	for (unsigned i = 0; i < conf->controllers->len; i++) {
		const struct conf_domain_controller *controller = conf->controllers->pdata[i];
		if (controller->root_port == root_ports)
			vmm_add_json(args, "-device", controller_device(conf, controller));
	}
}

/* "3:4:5", of *fds, which goes on; NULL: there are none. */
static char *take_numbers(const int **fds, unsigned count)
{
	GString *text = g_string_new(NULL);
	for (unsigned i = 0; i < count; i++)
		g_string_append_printf(text, "%s%d", i ? ":" : "", *(*fds)++);
	return g_string_free(text, count == 0);
}

static void add_nic(GPtrArray *args, const struct conf_domain *conf, const struct conf_domain_nic *nic,
		    const int **fds)
{
	g_autofree char *taps = *fds ? take_numbers(fds, nic->fds) : NULL;
	g_autofree char *vhosts = *fds ? take_numbers(fds, nic->vhost_fds) : NULL;
	if (nic->socket) {
		g_autofree char *path = vmm_quote(nic->socket);
		g_autofree char *again = g_strdup_printf(",reconnect=%u", nic->reconnect);
		add(args, "-chardev", "socket,id=char%s,path=%s%s", nic->dev.alias, path,
		    nic->socket_listens ? ",server=on,wait=off" : nic->reconnect ? again : "");
	}
	vmm_add_json(args, "-netdev", nic_netdev(nic, taps, vhosts));
	vmm_add_json(args, "-device", nic_device(conf, nic));
}

/* What the image needs before it is opened; *secret_fds goes on to the next disk's. */
static bool add_disk_objects(GPtrArray *args, const struct daemon *daemon, const struct conf_domain_disk *disk,
			     const int **secret_fds, GError **error)
{
	for (enum disk_object kind = 0; kind < DISK_OBJECTS; kind++) {
		g_autofree char *file = NULL;
		if (!disk_needs_object(disk, kind))
			continue;
		if (kind != DISK_TLS && !*secret_fds)
			return error_set(error, BERTH_ERR_NOT_SUPPORTED,
					 "disk '%s' needs a secret, which stands on no command line", disk->target);
		if (kind != DISK_TLS)
			file = g_strdup_printf("/dev/fd/%d", *(*secret_fds)++);
		json_t *object = disk_object(daemon, disk, kind, file, error);
		if (!object)
			return false;
		vmm_add_json(args, "-object", object);
	}
	return true;
}

static bool add_disks(GPtrArray *args, const struct daemon *daemon, const struct conf_domain *conf,
		      const int *secret_fds, GError **error)
{
	for (unsigned i = 0; i < conf->disks->len; i++) {
		const struct conf_domain_disk *disk = conf->disks->pdata[i];
		if (!add_disk_objects(args, daemon, disk, &secret_fds, error))
			return false;
		if (disk->virtio) {
			vmm_add_json(args, "-blockdev", disk_blockdev(disk));
		} else {
			g_autofree char *drive = disk_drive(disk);
			add(args, "-drive", "%s", drive);
		}
		vmm_add_json(args, "-device", disk_device(conf, disk));
	}
	return true;
}

/* How many descriptors are of network cards. */
static unsigned nic_fds(const struct conf_domain *conf)
{
	unsigned count = 0;
	for (unsigned i = 0; i < conf->nics->len; i++) {
		const struct conf_domain_nic *nic = conf->nics->pdata[i];
		count += nic->fds + nic->vhost_fds;
	}
	return count;
}

static bool add_devices(GPtrArray *args, const struct daemon *daemon, const struct conf_domain *conf,
			const char *run_dir, const int *fds, GError **error)
{
	add_controllers(args, conf, true);
	add_controllers(args, conf, false);
	if (!add_disks(args, daemon, conf, fds ? fds + nic_fds(conf) : NULL, error))
		return false;
	for (unsigned i = 0; i < conf->nics->len; i++)
		add_nic(args, conf, conf->nics->pdata[i], &fds);
	for (unsigned i = 0; i < conf->chars->len; i++)
		add_char(args, conf, conf->chars->pdata[i], run_dir);
	for (unsigned i = 0; i < conf->filesystems->len; i++)
		vmm_add_json(args, "-device", filesystem_device(conf, conf->filesystems->pdata[i]));
	for (unsigned i = 0; i < conf->hostdevs->len; i++)
		vmm_add_json(args, "-device", hostdev_device(conf->hostdevs->pdata[i]));
	for (unsigned i = 0; i < conf->memories->len; i++) {
		vmm_add_json(args, "-object", memory_object(conf, conf->memories->pdata[i]));
		vmm_add_json(args, "-device", memory_device(conf, conf->memories->pdata[i]));
	}
	if (conf->panic)
		add(args, "-device", "pvpanic");
	if (conf->watchdog)
		vmm_add_json(args, "-device", watchdog_device(conf));
	if (conf->rng) {
		vmm_add_json(args, "-object", rng_object(conf));
		vmm_add_json(args, "-device", rng_device(conf));
	}
	if (conf->balloon)
		vmm_add_json(args, "-device", balloon_device(conf));
	return true;
}

GPtrArray *vmm_arguments(const struct daemon *daemon, const struct conf_domain *conf,
			 const char *run_dir, const int *fds, GError **error)
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
	g_autofree char *name = vmm_quote(conf->name), *run = vmm_quote(run_dir);
	g_autoptr(GPtrArray) args = g_ptr_array_new_with_free_func(g_free);
	g_ptr_array_add(args, g_strdup(daemon->vmm));
	add(args, "-name", "guest=%s", name);
	add(args, "-uuid", "%s", uuid);
	add(args, "-S", NULL);
	add(args, "-nodefaults", NULL);
	add(args, "-no-user-config", NULL);
	add(args, "-display", "none");
	add(args, "-qmp", "unix:%s/qmp.sock,server=on,wait=off", run);
	add_machine(args, conf, run_dir);
	if (!add_devices(args, daemon, conf, run_dir, fds, error))
		return NULL;
	g_ptr_array_add(args, NULL);
	return g_steal_pointer(&args);
}
