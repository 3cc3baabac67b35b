/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "install.h"

#include "../entries.h"

#include "base/error.h"
#include "base/units.h"

#include <string.h>

enum { MOST_ENTRIES = 40 + 2 * ELEMENT_OPTIONS };

static void fill_entries(struct install *i, GOptionEntry *out)
{
	const GOptionEntry entries[] = {
		{"connect", 'c', 0, G_OPTION_ARG_STRING, &i->connect, "the daemon's URI", "URI"},
		{"name", 'n', 0, G_OPTION_ARG_STRING, &i->name, "the domain's name", "NAME"},
		{"uuid", 'u', 0, G_OPTION_ARG_STRING, &i->uuid, "its UUID", "UUID"},
		{"title", 0, 0, G_OPTION_ARG_STRING, &i->title, "its title", "TEXT"},
		{"description", 0, 0, G_OPTION_ARG_STRING, &i->description, "its description", "TEXT"},
		{"memory", 'r', 0, G_OPTION_ARG_STRING, &i->memory,
		 "memory in MiB (default: 2048) [,currentMemory=N][,maxMemory=N,maxMemory.slots=N][,hugepages=on]",
		 "MIB"},
		{"vcpus", 0, 0, G_OPTION_ARG_STRING, &i->vcpus,
		 "virtual CPUs: N[,maxvcpus=N][,sockets=N][,dies=N][,cores=N][,threads=N][,cpuset=LIST]", "N"},
		{"cpu", 0, 0, G_OPTION_ARG_STRING, &i->cpu,
		 "host-passthrough, host-model, maximum or a model [,+FEATURE][,-FEATURE][,numa.cell0.cpus=...]"
		 " (default: the host's under KVM)", "MODEL"},
		{"disk", 0, 0, G_OPTION_ARG_STRING_ARRAY, &i->disks,
		 "[PATH|vol=POOL/NAME|pool=POOL][,size=GIB][,format=F][,bus=B][,cache=C][,device=disk|cdrom]"
		 "[,readonly=on][,serial=S]..., or none; may be repeated", "DISK"},
		{"cdrom", 0, 0, G_OPTION_ARG_STRING, &i->cdrom, "install from this CD-ROM image", "ISO"},
		{"location", 'l', 0, G_OPTION_ARG_STRING, &i->location,
		 "install with the kernel of this folder, ISO image or URL: TREE[,kernel=FILE,initrd=FILE]", "TREE"},
		{"pxe", 0, 0, G_OPTION_ARG_NONE, &i->pxe, "install from the network", NULL},
		{"import", 0, 0, G_OPTION_ARG_NONE, &i->import, "the first disk has a system already", NULL},
		{"network", 'w', 0, G_OPTION_ARG_STRING_ARRAY, &i->networks,
		 "user, none, bridge=NAME or network=NAME [,model=M][,mac=ADDRESS]...; may be repeated", "NET"},
		{"graphics", 0, 0, G_OPTION_ARG_STRING, &i->graphics,
		 "none (default), vnc or spice [,listen=ADDRESS][,port=N][,password=TEXT]", "KIND"},
		{"serial", 0, 0, G_OPTION_ARG_STRING_ARRAY, &i->serials,
		 "a serial port: pty, file,path=FILE, unix,path=FILE,mode=bind; may be repeated", "KIND"},
		{"os-variant", 0, 0, G_OPTION_ARG_STRING, &i->os,
		 "the system's name: win... gets devices that Windows knows, others virtio", "NAME"},
		{"osinfo", 0, 0, G_OPTION_ARG_STRING, &i->os, "the same", "NAME"},
		{"cloud-init", 0, 0, G_OPTION_ARG_STRING, &i->cloud_init,
		 "[root-password-generate=on][,root-password-file=F][,ssh-key=F][,disable=on] or "
		 "user-data=F[,meta-data=F][,network-config=F]", "OPTIONS"},
		{"extra-args", 'x', 0, G_OPTION_ARG_STRING, &i->extra_args, "for the installer's kernel",
		 "TEXT"},
		{"boot", 0, 0, G_OPTION_ARG_STRING, &i->boot,
		 "uefi, or hd,cdrom,network in their order, menu=on, loader=F, or "
		 "kernel=F,initrd=F,kernel_args=TEXT", "HOW"},
		{"virt-type", 0, 0, G_OPTION_ARG_STRING, &i->virt_type,
		 "kvm or qemu (default: kvm if the host can)", "TYPE"},
		{"machine", 0, 0, G_OPTION_ARG_STRING, &i->machine, "machine type (default: q35)", "NAME"},
		{"autostart", 0, 0, G_OPTION_ARG_NONE, &i->autostart, "start the domain with the host", NULL},
		{"xml", 0, 0, G_OPTION_ARG_STRING_ARRAY, &i->xml,
		 "change the XML: ./PATH=VALUE or xpath.delete=XPATH; may be repeated", "CHANGE"},
		{"autoconsole", 0, 0, G_OPTION_ARG_STRING, &i->autoconsole,
		 "text (default): connect to the console; none: do not", "KIND"},
		{"noautoconsole", 0, 0, G_OPTION_ARG_NONE, &i->no_console, "do not connect to the console",
		 NULL},
		{"noreboot", 0, 0, G_OPTION_ARG_NONE, &i->no_reboot,
		 "do not start the domain when the installation is over", NULL},
		{"transient", 0, 0, G_OPTION_ARG_NONE, &i->transient, "do not keep the definition", NULL},
		{"wait", 0, 0, G_OPTION_ARG_STRING, &i->wait,
		 "wait so many minutes for the end of the installation, -1 without limit", "MINUTES"},
		{"hvm", 0, 0, G_OPTION_ARG_NONE, &i->hvm, "a full virtual machine, as all are", NULL},
		{"print-xml", 0, 0, G_OPTION_ARG_NONE, &i->print_xml, "print the XML, make nothing", NULL},
		{"dry-run", 0, 0, G_OPTION_ARG_NONE, &i->dry_run, "check, make nothing", NULL},
	};
	memcpy(out, entries, sizeof(entries));
	out += G_N_ELEMENTS(entries);
	for (unsigned o = 0; element_options[o].name; o++) {
		const struct element_option *option = &element_options[o];
		const char *names[] = {option->name, option->alias};
		for (unsigned n = 0; n < G_N_ELEMENTS(names) && names[n]; n++)
			*out++ = (GOptionEntry){names[n], 0, 0, G_OPTION_ARG_STRING_ARRAY, &i->elements[o],
						option->help, option->argument};
	}
	*out = (GOptionEntry){NULL};
}

char *install_options_help(void)
{
	struct install unused = {NULL};
	GOptionEntry entries[MOST_ENTRIES];
	fill_entries(&unused, entries);
	return entries_help(entries);
}

/* Take the number that is called `key` out of the list. */
static bool take_number(struct keyval *kv, const char *key, unsigned *value, GError **error)
{
	g_autofree char *text = keyval_take(kv, key);
	uint64_t parsed;
	if (!text)
		return true;
	if (!units_parse_number(text, 1, 4096, &parsed, error)) {
		g_prefix_error(error, "--vcpus %s: ", key);
		return false;
	}
	*value = parsed;
	return true;
}

/* Without a number of CPUs the topology says how many there are. */
static bool read_vcpus(struct install *i, GError **error)
{
	unsigned now = 0;
	struct keyval *kv = i->vcpu_keys = element_parse(i->vcpus ? i->vcpus : "", "vcpus", error);
	if (!kv || !take_number(kv, "vcpus", &now, error) || !take_number(kv, "vcpu", &now, error) ||
	    !take_number(kv, "maxvcpus", &i->max_cpus, error) ||
	    !take_number(kv, "vcpu.current", &i->current_cpus, error) ||
	    !take_number(kv, "sockets", &i->sockets, error) || !take_number(kv, "dies", &i->dies, error) ||
	    !take_number(kv, "cores", &i->cores, error) || !take_number(kv, "threads", &i->threads, error))
		return false;
	unsigned topology = MAX(i->sockets, 1) * MAX(i->dies, 1) * MAX(i->cores, 1) * MAX(i->threads, 1);
	if (now && i->max_cpus > now)
		i->current_cpus = now;
	i->max_cpus = MAX(MAX(i->max_cpus, now), topology);
	return true;
}

static bool read_memory(struct install *i, GError **error)
{
	struct keyval *kv = i->memory_keys = element_parse(i->memory ? i->memory : "2048", "memory", error);
	g_autofree char *memory = kv ? keyval_take(kv, "memory") : NULL;
	if (kv && !memory)
		return error_set(error, BERTH_ERR_INVALID, "--memory needs a number of MiB");
	if (kv && units_parse_number(memory, 1, 1 << 24, &i->memory_mib, error))
		return true;
	g_prefix_error(error, "--memory: ");
	return false;
}

/* Does a word of --boot begin another key, or go on with the arguments of a kernel? */
static bool is_boot_key(const char *key)
{
	static const char *const devices[] = {"uefi", "hd", "cdrom", "network", "fd", NULL};
	bool found = g_strv_contains(devices, key);
	for (const struct element_key *k = element_boot_keys; k->name && !found; k++)
		found = !strcmp(k->name, key);
	return found;
}

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
		bool more = inside && !is_boot_key(key);
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
	i->uefi = keyval_get(i->boot_keys, "uefi") != NULL;
	return true;
}

static bool check_method(const struct install *i, GError **error)
{
	unsigned methods = (i->cdrom != NULL) + (i->location != NULL) + (i->import != 0) + (i->pxe != 0) +
			   (i->boot && !i->cdrom && !i->location && !i->import && !i->pxe);
	if (!i->name)
		return error_set(error, BERTH_ERR_INVALID, "--name is required");
	if (methods > 1)
		return error_set(error, BERTH_ERR_INVALID,
				 "--cdrom, --location, --pxe and --import exclude each other");
	if (methods == 0 && !i->cloud_init)
		return error_set(error, BERTH_ERR_INVALID,
				 "An install method must be specified: --location TREE, --cdrom ISO, --pxe, "
				 "--import or --boot ...");
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

static bool read_console(struct install *i, GError **error)
{
	if (i->autoconsole && strcmp(i->autoconsole, "none") && strcmp(i->autoconsole, "text"))
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "--autoconsole '%s': berth shows text consoles only: text or none", i->autoconsole);
	i->no_console |= i->autoconsole && !strcmp(i->autoconsole, "none");
	return true;
}

/* Options of virt-install that are not understood: why, and what to do. */
static const struct {
	const char *name, *why;
} refused[] = {
	{"idmap", "it is for containers, which Berth does not run"},
	{"init", "it is for containers, which Berth does not run"},
	{"container", "Berth runs virtual machines only"},
	{"paravirt", "Berth runs full virtual machines only, as with --hvm"},
	{"keywrap", "it is for s390x, and Berth's machines are x86-64"},
	{"launchSecurity", "Berth's machines have no encrypted memory"},
	{"qemu-commandline", "its arguments would be for QEMU; see --xml"},
	{"hostdev", "start without it, then 'berth attach-device' an XML file with a hostdev"},
	{"host-device", "start without it, then 'berth attach-device' an XML file with a hostdev"},
	{"unattended", "give the answers by --extra-args, or by --cloud-init to an image"},
	{"reinstall", "undefine the domain and install it again"},
	{"initrd-inject", "put the file on a disk or a server and name it in --extra-args"},
	{"install", "use --location, --cdrom, --pxe, --import or --boot"},
	{"osinfo-list", "there is no database of systems"},
	{"check", "berthd checks names, paths and images itself"},
	{"destroy-on-exit", "use --transient and 'berth destroy'"},
	{"arch", "Berth's machines are x86-64"},
};

/* False after an error if the command line has an option that we know not to understand. */
static bool check_refused(struct shell *sh, int argc, char **argv)
{
	for (int a = 1; a < argc; a++) {
		for (unsigned r = 0; r < G_N_ELEMENTS(refused); r++) {
			const char *name = refused[r].name;
			size_t length = strlen(name);
			if (g_str_has_prefix(argv[a], "--") && !strncmp(argv[a] + 2, name, length) &&
			    (!argv[a][2 + length] || argv[a][2 + length] == '='))
				return shell_fail(sh, "berth install has no virt-install's --%s: %s", name,
						  refused[r].why);
		}
	}
	return true;
}

bool install_parse(struct shell *sh, struct install *install, int argc, char **argv)
{
	GOptionEntry entries[MOST_ENTRIES];
	g_autoptr(GError) error = NULL;
	fill_entries(install, entries);
	install->media = g_ptr_array_new_with_free_func((GDestroyNotify)medium_free);
	if (!check_refused(sh, argc, argv) || !entries_parse(sh, entries, argc, argv, "install"))
		return false;
	bool good = check_method(install, &error) && read_vcpus(install, &error) &&
	       read_boot(install, &error) && read_os(install, &error) &&
	       read_memory(install, &error) && read_console(install, &error);
	if (!good)
		shell_fail(sh, "%s", error->message);
	return good;
}

void install_clear(struct install *i)
{
	char *const texts[] = {i->connect, i->name, i->uuid, i->title, i->description, i->memory, i->vcpus,
			       i->cdrom, i->location, i->graphics, i->os, i->cloud_init, i->extra_args,
			       i->boot, i->virt_type, i->machine, i->cpu, i->wait, i->kernel, i->initrd,
			       i->seed, i->domain_type, i->autoconsole};
	for (unsigned t = 0; t < G_N_ELEMENTS(texts); t++)
		g_free(texts[t]);
	char **const lists[] = {i->disks, i->networks, i->serials, i->xml};
	for (unsigned l = 0; l < G_N_ELEMENTS(lists); l++)
		g_strfreev(lists[l]);
	for (unsigned o = 0; o < G_N_ELEMENTS(i->elements); o++)
		g_strfreev(i->elements[o]);
	keyval_free(i->boot_keys);
	keyval_free(i->memory_keys);
	keyval_free(i->vcpu_keys);
	if (i->media)
		g_ptr_array_unref(i->media);
}
