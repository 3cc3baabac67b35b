/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The XML of a new domain: virtio for systems that know it, a serial console, what was asked for. */
#include "install.h"

#include <inttypes.h>
#include <string.h>

static void write_os(struct xml_writer *w, const struct install *i, bool first)
{
	const struct keyval *boot = i->boot_keys;
	const char *kernel = keyval_get(boot, "kernel"), *initrd = keyval_get(boot, "initrd");
	const char *args = keyval_get(boot, "kernel_args");
	if (first && i->kernel) {
		kernel = i->kernel;
		initrd = i->initrd;
		args = i->extra_args;
	}
	xml_open(w, "os", "firmware", i->uefi ? "efi" : NULL, NULL);
	xml_leaf(w, "type", "hvm", "arch", "x86_64", "machine", i->machine ? i->machine : "q35", NULL);
	if (kernel)
		xml_leaf(w, "kernel", kernel, NULL);
	if (initrd)
		xml_leaf(w, "initrd", initrd, NULL);
	if (args)
		xml_leaf(w, "cmdline", args, NULL);
	bool any = false;
	if (first && i->cdrom) {
		xml_empty(w, "boot", "dev", "cdrom", NULL);
		any = true;
	}
	for (unsigned k = 0; k < keyval_count(boot); k++) {
		const char *key = boot->keys->pdata[k];
		bool device = !strcmp(key, "hd") || !strcmp(key, "cdrom") || !strcmp(key, "network");
		if (device)
			xml_empty(w, "boot", "dev", key, NULL);
		any |= device;
	}
	if (!any || (first && i->cdrom))
		xml_empty(w, "boot", "dev", "hd", NULL);
	xml_close(w, "os");
}

static void write_cpu(struct xml_writer *w, const struct install *i)
{
	bool topology = i->sockets || i->cores || i->threads;
	const char *mode = i->cpu ? i->cpu : !strcmp(i->domain_type, "kvm") ? "host-passthrough" : NULL;
	bool named = mode && strcmp(mode, "host-passthrough") && strcmp(mode, "maximum") &&
		     strcmp(mode, "host-model");
	if (!mode && !topology)
		return;
	unsigned cores = MAX(i->cores, 1), threads = MAX(i->threads, 1);
	unsigned sockets = i->sockets ? i->sockets : MAX(i->max_cpus / (cores * threads), 1);
	g_autofree char *s = g_strdup_printf("%u", sockets);
	g_autofree char *c = g_strdup_printf("%u", cores);
	g_autofree char *t = g_strdup_printf("%u", threads);
	xml_open(w, "cpu", "mode", named ? "custom" : mode, "match", named ? "exact" : NULL, NULL);
	if (named)
		xml_leaf(w, "model", mode, NULL);
	if (topology)
		xml_empty(w, "topology", "sockets", s, "cores", c, "threads", t, NULL);
	xml_close(w, "cpu");
}

/* vda, vdb, ... sda, ... */
static char *target_name(const char *bus, unsigned *counts)
{
	bool virtio = strcmp(bus, "virtio") == 0;
	unsigned number = counts[virtio]++;
	return g_strdup_printf("%s%c", virtio ? "vd" : "sd", 'a' + number % 26);
}

static void write_disk(struct xml_writer *w, const struct install *i, const struct medium *m,
		       unsigned *counts)
{
	bool cdrom = strcmp(m->device, "cdrom") == 0;
	const char *bus = m->bus ? m->bus : cdrom || i->windows ? "sata" : "virtio";
	g_autofree char *target = target_name(bus, counts);
	bool block = g_str_has_prefix(m->path, "/dev/");
	xml_open(w, "disk", "type", block ? "block" : "file", "device", m->device, NULL);
	xml_empty(w, "driver", "name", "qemu", "type", m->format, "cache", m->cache, NULL);
	xml_empty(w, "source", block ? "dev" : "file", m->path, NULL);
	xml_empty(w, "target", "dev", target, "bus", bus, NULL);
	if (m->readonly)
		xml_empty(w, "readonly", NULL);
	if (m->serial)
		xml_leaf(w, "serial", m->serial, NULL);
	xml_close(w, "disk");
}

/* "bridge=br0,model=virtio" and its kin. */
static bool write_network(struct shell *sh, struct xml_writer *w, const struct install *i, const char *text)
{
	static const char *const allowed[] = {"type", "bridge", "network", "source", "model", "mac", NULL};
	g_autoptr(GError) error = NULL;
	auto_keyval kv = keyval_parse(text, "type", &error);
	if (!kv)
		return shell_fail(sh, "--network: %s", error->message);
	for (unsigned k = 0; k < keyval_count(kv); k++) {
		if (!g_strv_contains(allowed, kv->keys->pdata[k]))
			return shell_fail(sh, "--network has no '%s'", (char *)kv->keys->pdata[k]);
	}
	const char *bridge = keyval_get(kv, "bridge"), *network = keyval_get(kv, "network");
	const char *type = keyval_get(kv, "type"), *model = keyval_get(kv, "model");
	const char *source = keyval_get(kv, "source");
	if (type && !strcmp(type, "default")) {
		network = "default";
		type = NULL;
	}
	if (!type)
		type = bridge ? "bridge" : network ? "network" : "user";
	xml_open(w, "interface", "type", type, NULL);
	if (bridge || network)
		xml_empty(w, "source", type, bridge ? bridge : network, NULL);
	else if (source)
		xml_empty(w, "source", !strcmp(type, "direct") ? "dev" : type, source, NULL);
	if (keyval_get(kv, "mac"))
		xml_empty(w, "mac", "address", keyval_get(kv, "mac"), NULL);
	xml_empty(w, "model", "type", model ? model : i->windows ? "e1000e" : "virtio", NULL);
	xml_close(w, "interface");
	return true;
}

static bool write_networks(struct shell *sh, struct xml_writer *w, const struct install *i)
{
	if (!i->networks)
		return write_network(sh, w, i, "user");
	for (char **text = i->networks; *text; text++) {
		if (strcmp(*text, "none") != 0 && !write_network(sh, w, i, *text))
			return false;
	}
	return true;
}

static bool write_graphics(struct shell *sh, struct xml_writer *w, const struct install *i)
{
	static const char *const allowed[] = {"type", "listen", "port", "password", NULL};
	g_autoptr(GError) error = NULL;
	auto_keyval kv = keyval_parse(i->graphics ? i->graphics : "none", "type", &error);
	if (!kv)
		return shell_fail(sh, "--graphics: %s", error->message);
	for (unsigned k = 0; k < keyval_count(kv); k++) {
		if (!g_strv_contains(allowed, kv->keys->pdata[k]))
			return shell_fail(sh, "--graphics has no '%s'", (char *)kv->keys->pdata[k]);
	}
	const char *type = keyval_get(kv, "type"), *port = keyval_get(kv, "port");
	if (!type || !strcmp(type, "none"))
		return true;
	xml_empty(w, "graphics", "type", type, "port", port ? port : "-1", "autoport", port ? "no" : "yes",
		  "listen", keyval_get(kv, "listen"), "passwd", keyval_get(kv, "password"), NULL);
	xml_open(w, "video", NULL);
	xml_empty(w, "model", "type", i->windows ? "vga" : "virtio", NULL);
	xml_close(w, "video");
	return true;
}

/* The console is the serial port, whatever that is. */
static bool write_serial(struct shell *sh, struct xml_writer *w, const struct install *i)
{
	g_autoptr(GError) error = NULL;
	auto_keyval kv = keyval_parse(i->serial ? i->serial : "pty", "type", &error);
	if (!kv)
		return shell_fail(sh, "--serial: %s", error->message);
	const char *type = keyval_get(kv, "type"), *path = keyval_get(kv, "path");
	bool file = type && !strcmp(type, "file");
	if ((!file && (!type || strcmp(type, "pty") != 0)) || file != (path != NULL) ||
	    keyval_count(kv) != (file ? 2U : 1U))
		return shell_fail(sh, "--serial '%s': it is pty or file,path=FILE", i->serial);
	g_autofree char *whole = file ? g_canonicalize_filename(path, NULL) : NULL;
	static const char *const names[] = {"serial", "console"};
	for (unsigned n = 0; n < G_N_ELEMENTS(names); n++) {
		xml_open(w, names[n], "type", type, NULL);
		if (file)
			xml_empty(w, "source", "path", whole, NULL);
		xml_close(w, names[n]);
	}
	return true;
}

static bool write_devices(struct shell *sh, struct xml_writer *w, const struct install *i, bool first)
{
	unsigned counts[2] = {0};
	xml_open(w, "devices", NULL);
	for (unsigned m = 0; m < i->media->len; m++) {
		const struct medium *medium = i->media->pdata[m];
		if (first || !medium->first_boot)
			write_disk(w, i, medium, counts);
	}
	bool good = write_networks(sh, w, i) && write_graphics(sh, w, i) && write_serial(sh, w, i);
	if (!i->windows) {
		xml_open(w, "rng", "model", "virtio", NULL);
		xml_leaf(w, "backend", "/dev/urandom", "model", "random", NULL);
		xml_close(w, "rng");
	}
	xml_close(w, "devices");
	return good;
}

char *install_xml(struct shell *sh, const struct install *i, bool first)
{
	g_autofree char *memory = g_strdup_printf("%" PRIu64, i->memory_mib);
	g_autofree char *most = g_strdup_printf("%u", i->max_cpus);
	g_autofree char *current = i->cpus < i->max_cpus ? g_strdup_printf("%u", i->cpus) : NULL;
	struct xml_writer w = xml_writer_new();
	xml_open(&w, "domain", "type", i->domain_type, NULL);
	xml_leaf(&w, "name", i->name, NULL);
	xml_leaf(&w, "uuid", i->uuid, NULL);
	if (i->title)
		xml_leaf(&w, "title", i->title, NULL);
	if (i->description)
		xml_leaf(&w, "description", i->description, NULL);
	xml_leaf(&w, "memory", memory, "unit", "MiB", NULL);
	xml_leaf(&w, "vcpu", most, "current", current, NULL);
	write_os(&w, i, first);
	xml_open(&w, "features", NULL);
	xml_empty(&w, "acpi", NULL);
	xml_empty(&w, "apic", NULL);
	xml_close(&w, "features");
	write_cpu(&w, i);
	xml_empty(&w, "clock", "offset", i->windows ? "localtime" : "utc", NULL);
	/* An installer's reboot ends the first boot; what starts then has the other definition. */
	xml_leaf(&w, "on_reboot", first && (i->cdrom || i->kernel) ? "destroy" : "restart", NULL);
	bool good = write_devices(sh, &w, i, first);
	xml_close(&w, "domain");
	g_autofree char *xml = xml_writer_take(&w);
	return good ? g_steal_pointer(&xml) : NULL;
}
