/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "install.h"

#include "../entries.h"

#include "base/error.h"
#include "base/units.h"

#include <string.h>

static void fill_entries(struct install *i, GOptionEntry *out)
{
	const GOptionEntry entries[] = {
		{"connect", 'c', 0, G_OPTION_ARG_STRING, &i->connect, "the daemon's URI", "URI"},
		{"name", 'n', 0, G_OPTION_ARG_STRING, &i->name, "the domain's name", "NAME"},
		{"uuid", 'u', 0, G_OPTION_ARG_STRING, &i->uuid, "its UUID", "UUID"},
		{"title", 0, 0, G_OPTION_ARG_STRING, &i->title, "its title", "TEXT"},
		{"description", 0, 0, G_OPTION_ARG_STRING, &i->description, "its description", "TEXT"},
		{"memory", 'r', 0, G_OPTION_ARG_STRING, &i->memory, "memory in MiB (default: 2048)", "MIB"},
		{"vcpus", 0, 0, G_OPTION_ARG_STRING, &i->vcpus,
		 "virtual CPUs: N[,maxvcpus=N][,sockets=N][,cores=N][,threads=N]", "N"},
		{"cpu", 0, 0, G_OPTION_ARG_STRING, &i->cpu,
		 "host-passthrough, maximum or a model (default: the host's under KVM)", "MODEL"},
		{"disk", 0, 0, G_OPTION_ARG_STRING_ARRAY, &i->disks,
		 "PATH[,size=GIB][,format=F][,bus=B][,cache=C][,device=disk|cdrom][,readonly=on][,serial=S], "
		 "or none; may be repeated", "DISK"},
		{"cdrom", 0, 0, G_OPTION_ARG_STRING, &i->cdrom, "install from this CD-ROM image", "ISO"},
		{"location", 'l', 0, G_OPTION_ARG_STRING, &i->location,
		 "install with the kernel of this folder, ISO image or URL: TREE[,kernel=FILE,initrd=FILE]", "TREE"},
		{"import", 0, 0, G_OPTION_ARG_NONE, &i->import, "the first disk has a system already", NULL},
		{"network", 'w', 0, G_OPTION_ARG_STRING_ARRAY, &i->networks,
		 "user, none, bridge=NAME or network=NAME [,model=M][,mac=ADDRESS]; may be repeated", "NET"},
		{"graphics", 0, 0, G_OPTION_ARG_STRING, &i->graphics,
		 "none (default), vnc or spice [,listen=ADDRESS][,port=N][,password=TEXT]", "KIND"},
		{"serial", 0, 0, G_OPTION_ARG_STRING, &i->serial,
		 "where the serial console is: pty (default) or file,path=FILE", "KIND"},
		{"os-variant", 0, 0, G_OPTION_ARG_STRING, &i->os,
		 "the system's name: win... gets devices that Windows knows, others virtio", "NAME"},
		{"osinfo", 0, 0, G_OPTION_ARG_STRING, &i->os, "the same", "NAME"},
		{"cloud-init", 0, 0, G_OPTION_ARG_STRING, &i->cloud_init,
		 "[root-password-generate=on][,root-password-file=F][,ssh-key=F][,disable=on] or "
		 "user-data=F[,meta-data=F][,network-config=F]", "OPTIONS"},
		{"extra-args", 'x', 0, G_OPTION_ARG_STRING, &i->extra_args, "for the installer's kernel",
		 "TEXT"},
		{"boot", 0, 0, G_OPTION_ARG_STRING, &i->boot,
		 "uefi, or hd,cdrom,network in their order, or kernel=F,initrd=F,kernel_args=TEXT", "HOW"},
		{"virt-type", 0, 0, G_OPTION_ARG_STRING, &i->virt_type,
		 "kvm or qemu (default: kvm if the host can)", "TYPE"},
		{"machine", 0, 0, G_OPTION_ARG_STRING, &i->machine, "machine type (default: q35)", "NAME"},
		{"autostart", 0, 0, G_OPTION_ARG_NONE, &i->autostart, "start the domain with the host", NULL},
		{"noautoconsole", 0, 0, G_OPTION_ARG_NONE, &i->no_console, "do not connect to the console",
		 NULL},
		{"noreboot", 0, 0, G_OPTION_ARG_NONE, &i->no_reboot,
		 "do not start the domain when the installation is over", NULL},
		{"transient", 0, 0, G_OPTION_ARG_NONE, &i->transient, "do not keep the definition", NULL},
		{"wait", 0, 0, G_OPTION_ARG_STRING, &i->wait,
		 "wait so many minutes for the end of the installation, -1 without limit", "MINUTES"},
		{"print-xml", 0, 0, G_OPTION_ARG_NONE, &i->print_xml, "print the XML, make nothing", NULL},
		{"dry-run", 0, 0, G_OPTION_ARG_NONE, &i->dry_run, "check, make nothing", NULL},
		{NULL},
	};
	memcpy(out, entries, sizeof(entries));
}

enum { MOST_ENTRIES = 40 };

char *install_options_help(void)
{
	struct install unused = {NULL};
	GOptionEntry entries[MOST_ENTRIES];
	fill_entries(&unused, entries);
	return entries_help(entries);
}

static bool number(const struct keyval *kv, const char *key, unsigned *value, GError **error)
{
	const char *text = keyval_get(kv, key);
	uint64_t parsed;
	if (!text)
		return true;
	if (!units_parse_number(text, 1, 4096, &parsed, error))
		return false;
	*value = parsed;
	return true;
}

static bool read_vcpus(struct install *i, GError **error)
{
	static const char *const allowed[] = {"vcpus", "maxvcpus", "sockets", "cores", "threads", NULL};
	auto_keyval kv = keyval_parse(i->vcpus ? i->vcpus : "1", "vcpus", error);
	if (!kv)
		return false;
	for (unsigned k = 0; k < keyval_count(kv); k++) {
		if (!g_strv_contains(allowed, kv->keys->pdata[k]))
			return error_set(error, BERTH_ERR_INVALID, "--vcpus has no '%s'",
					 (char *)kv->keys->pdata[k]);
	}
	i->cpus = 1;
	if (!number(kv, "vcpus", &i->cpus, error) || !number(kv, "maxvcpus", &i->max_cpus, error) ||
	    !number(kv, "sockets", &i->sockets, error) || !number(kv, "cores", &i->cores, error) ||
	    !number(kv, "threads", &i->threads, error))
		return false;
	unsigned topology = MAX(i->sockets, 1) * MAX(i->cores, 1) * MAX(i->threads, 1);
	i->max_cpus = MAX(MAX(i->max_cpus, i->cpus), topology);
	return true;
}

static const char *const boot_keys[] = {"uefi", "hd", "cdrom", "network", "kernel", "initrd", "kernel_args",
					NULL};

/*
 * Arguments of kernels have commas. As virt-install does, take what follows kernel_args= as more of it
 * until another key of --boot comes, with the comma that keyval_parse() reads as one.
 */
static char *escape_kernel_args(const char *boot)
{
	g_auto(GStrv) parts = g_strsplit(boot, ",", -1);
	GString *text = g_string_new(NULL);
	bool inside = false;
	for (unsigned i = 0; parts[i]; i++) {
		g_autofree char *key = g_strndup(parts[i], strcspn(parts[i], "="));
		bool more = inside && !g_strv_contains(boot_keys, key);
		g_string_append_printf(text, "%s%s", more ? ",," : i ? "," : "", parts[i]);
		inside = more || !strcmp(key, "kernel_args");
	}
	return g_string_free(text, FALSE);
}

static bool read_boot(struct install *i, GError **error)
{
	g_autofree char *boot = escape_kernel_args(i->boot ? i->boot : "");
	i->boot_keys = keyval_parse(boot, NULL, error);
	if (!i->boot_keys)
		return false;
	for (unsigned k = 0; k < keyval_count(i->boot_keys); k++) {
		const char *key = i->boot_keys->keys->pdata[k];
		const char *near = g_strv_contains(boot_keys, key) ? NULL : nearest_name(key, boot_keys);
		if (!g_strv_contains(boot_keys, key))
			return error_set(error, BERTH_ERR_INVALID, "--boot has no '%s'%s%s", key,
					 near ? ": did you mean " : "", near ? near : "");
	}
	i->uefi = keyval_get(i->boot_keys, "uefi") != NULL;
	return true;
}

static bool check_method(const struct install *i, GError **error)
{
	unsigned methods = (i->cdrom != NULL) + (i->location != NULL) + (i->import != 0) +
			   (i->boot != NULL && !i->cdrom && !i->location && !i->import);
	if (!i->name)
		return error_set(error, BERTH_ERR_INVALID, "--name is required");
	if (methods > 1)
		return error_set(error, BERTH_ERR_INVALID,
				 "--cdrom, --location and --import exclude each other");
	if (methods == 0 && !i->cloud_init)
		return error_set(error, BERTH_ERR_INVALID,
				 "An install method must be specified: --location TREE, --cdrom ISO, --import or "
				 "--boot ...");
	if (i->extra_args && !i->location)
		return error_set(error, BERTH_ERR_INVALID, "Kernel arguments are only supported with --location");
	if (!i->disks && !i->boot)
		return error_set(error, BERTH_ERR_INVALID, "--disk storage must be specified (override with "
				 "--disk none)");
	return true;
}

/* "debian12", "detect=off,name=win11", "generic". */
static bool read_os(struct install *i, GError **error)
{
	auto_keyval kv = keyval_parse(i->os ? i->os : "generic", "name", error);
	if (!kv)
		return false;
	const char *name = keyval_get(kv, "name");
	i->windows = name && g_str_has_prefix(name, "win");
	return true;
}

bool install_parse(struct shell *sh, struct install *install, int argc, char **argv)
{
	GOptionEntry entries[MOST_ENTRIES];
	g_autoptr(GError) error = NULL;
	fill_entries(install, entries);
	install->media = g_ptr_array_new_with_free_func((GDestroyNotify)medium_free);
	if (!entries_parse(sh, entries, argc, argv, "install"))
		return false;
	bool good = check_method(install, &error) && read_vcpus(install, &error) &&
	       read_boot(install, &error) && read_os(install, &error) &&
	       units_parse_number(install->memory ? install->memory : "2048", 1, 1 << 24,
				  &install->memory_mib, &error);
	if (!good)
		shell_fail(sh, "%s", error->message);
	return good;
}

void install_clear(struct install *i)
{
	char *const texts[] = {i->connect, i->name, i->uuid, i->title, i->description, i->memory, i->vcpus,
			       i->cdrom, i->location, i->graphics, i->os, i->cloud_init, i->extra_args,
			       i->boot, i->virt_type, i->machine, i->cpu, i->wait, i->kernel, i->initrd,
			       i->seed, i->domain_type, i->serial};
	for (unsigned t = 0; t < G_N_ELEMENTS(texts); t++)
		g_free(texts[t]);
	g_strfreev(i->disks);
	g_strfreev(i->networks);
	keyval_free(i->boot_keys);
	if (i->media)
		g_ptr_array_unref(i->media);
}
