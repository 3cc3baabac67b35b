/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The options of `berth run`. */
#include "berth.h"

#include "base/error.h"

#include <string.h>

struct wish {
	const char *name, *argument, *help;
	size_t offset;
	bool repeats; /* the field is a GPtrArray */
};

#define ONE(field)  offsetof(struct wishes, field), false
#define MANY(field) offsetof(struct wishes, field), true

static const struct wish table[] = {
	{"name", "NAME", "the machine's name", ONE(name)},
	{"memory", "SIZE", "RAM, as in 512M or 2G (default: 2G, or half of the host's)", ONE(memory)},
	{"cpus", "N", "number of vCPUs (default: 2, or 1 on a host with one)", ONE(cpus)},
	{"cpu", "MODEL", "CPU model; berth-vmm -cpu help lists them (default: max)", ONE(cpu)},
	{"disk", "FILE", "one more disk: an image (raw, qcow2, vmdk...) or a block device; may be repeated", MANY(disks)},
	{"cdrom", "FILE", "a CD-ROM image; may be repeated", MANY(cdroms)},
	{"kernel", "FILE", "start this Linux kernel instead of what the disk has", ONE(kernel)},
	{"initrd", "FILE", "initial RAM disk for the kernel", ONE(initrd)},
	{"append", "TEXT", "kernel command line (default: console=ttyS0)", ONE(append)},
	{"net", "user|none|tap:NAME|bridge:BR",
	 "network: user (default) needs no rights; tap and bridge exist on the host already",
	 ONE(network)},
	{"forward", "[tcp:|udp:][ADDRESS:]HOST:GUEST",
	 "forward a port of the host (of 127.0.0.1, unless ADDRESS is given); may be repeated",
	 MANY(forwards)},
	{"share", "FOLDER",
	 "share a folder; in the guest: mount -t 9p -o trans=virtio share /mnt. A second one has "
	 "the tag share1",
	 MANY(shares)},
	{"accel", "auto|kvm|soft", "what executes the guest (default: auto)", ONE(accel)},
	{"firmware", "bios|uefi|none",
	 "bios is SeaBIOS (default), uefi is OVMF; none is for --kernel only", ONE(firmware)},
	{"machine", "q35|microvm", "board; microvm starts kernels at once (default: q35)", ONE(machine)},
	{"display", "none", "screens come later: the console is the serial port", ONE(display)},
	{"snapshot", NULL, "throw away what the guest writes to disks", ONE(snapshot)},
	{"dry-run", NULL, "print the berth-vmm command, and do not run it", ONE(dry_run)},
};

void wishes_init(struct wishes *wishes)
{
	*wishes = (struct wishes){0};
	for (unsigned i = 0; i < G_N_ELEMENTS(table); i++) {
		if (table[i].repeats)
			*(GPtrArray **)((char *)wishes + table[i].offset) =
				g_ptr_array_new_with_free_func(g_free);
	}
}

void wishes_clear(struct wishes *wishes)
{
	g_free(wishes->image);
	for (unsigned i = 0; i < G_N_ELEMENTS(table); i++) {
		void *at = (char *)wishes + table[i].offset;
		if (table[i].repeats)
			g_ptr_array_unref(*(GPtrArray **)at);
		else if (table[i].argument)
			g_free(*(char **)at);
	}
}

static const struct wish *find(const char *name, size_t length, GError **error)
{
	const char *names[G_N_ELEMENTS(table) + 1] = {NULL};
	for (unsigned i = 0; i < G_N_ELEMENTS(table); i++) {
		names[i] = table[i].name;
		if (strlen(table[i].name) == length && strncmp(table[i].name, name, length) == 0)
			return &table[i];
	}
	g_autofree char *wrong = g_strndup(name, length);
	const char *near = nearest_name(wrong, names);
	error_set(error, BERTH_ERR_INVALID, "run: there is no option --%s%s%s%s", wrong,
		  near ? ": did you mean --" : ": see berth help run", near ? near : "",
		  near ? "?" : "");
	return NULL;
}

static void store(struct wishes *wishes, const struct wish *wish, const char *value)
{
	void *at = (char *)wishes + wish->offset;
	if (!wish->argument) {
		*(bool *)at = true;
	} else if (wish->repeats) {
		g_ptr_array_add(*(GPtrArray **)at, g_strdup(value));
	} else {
		g_free(*(char **)at);
		*(char **)at = g_strdup(value);
	}
}

/* "--name VALUE" or "--name=VALUE" at argv[*i], which is moved to the last word used. */
static bool take_option(struct wishes *wishes, int argc, char **argv, int *i, GError **error)
{
	const char *word = argv[*i] + 2;
	size_t length = strcspn(word, "=");
	const struct wish *wish = find(word, length, error);
	if (!wish)
		return false;
	const char *value = word[length] ? word + length + 1 : NULL;
	if (value && !wish->argument)
		return error_set(error, BERTH_ERR_INVALID, "run: --%s takes no value", wish->name);
	if (!value && wish->argument) {
		if (*i + 1 >= argc)
			return error_set(error, BERTH_ERR_INVALID, "run: --%s needs a value: --%s %s",
					 wish->name, wish->name, wish->argument);
		value = argv[++*i];
	}
	store(wishes, wish, value);
	return true;
}

bool wishes_parse(struct wishes *wishes, int argc, char **argv, GError **error)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--") == 0) {
			wishes->rest = argv + i + 1;
			return true;
		}
		if (g_str_has_prefix(argv[i], "--")) {
			if (!take_option(wishes, argc, argv, &i, error))
				return false;
		} else if (argv[i][0] == '-' && argv[i][1]) {
			return error_set(error, BERTH_ERR_INVALID,
					 "run: options begin with two dashes; berth-vmm's own go after "
					 "--, as in berth run disk.img -- %s",
					 argv[i]);
		} else if (wishes->image) {
			return error_set(error, BERTH_ERR_INVALID,
					 "run: there are two images, '%s' and '%s': write --disk before "
					 "the second",
					 wishes->image, argv[i]);
		} else {
			wishes->image = g_strdup(argv[i]);
		}
	}
	return true;
}

char *wishes_help(void)
{
	GString *out = g_string_new("Options:\n");
	for (unsigned i = 0; i < G_N_ELEMENTS(table); i++)
		g_string_append_printf(out, "  --%s%s%s\n        %s\n", table[i].name,
				       table[i].argument ? " " : "",
				       table[i].argument ? table[i].argument : "", table[i].help);
	g_string_append_c(out, '\n');
	return g_string_free(out, FALSE);
}
