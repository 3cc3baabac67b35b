/* SPDX-License-Identifier: GPL-2.0-or-later */
/* berth install: from virt-install's options to a domain, its disks and its first boot. */
#pragma once

#include "../shell/shell.h"

#include "elements.h"

#include "codec/keyval.h"

struct install {
	/* As given; NULL: not given. */
	char *connect, *name, *uuid, *title, *description, *memory, *vcpus, *cdrom, *location, *graphics;
	char *os, *cloud_init, *extra_args, *boot, *virt_type, *machine, *cpu, *autoconsole;
	char **disks, **networks, **serials, **xml;
	char **elements[ELEMENT_OPTIONS]; /* uses of each of element_options */
	char *wait;      /* minutes, or "" for as long as it takes */
	gboolean import, pxe, hvm, print_xml, dry_run, no_console, autostart, no_reboot, transient;

	/* What they mean. */
	uint64_t memory_mib;
	unsigned max_cpus, current_cpus, sockets, dies, cores, threads; /* 0: not said */
	struct keyval *boot_keys, *memory_keys, *vcpu_keys; /* the latter two without what is above */
	bool uefi, windows;
	GPtrArray *media; /* struct medium */
	char *kernel, *initrd;
	bool copied;      /* those two, to the scratch folder */
	char *seed;       /* the ISO image with cloud-init's data */
	char *domain_type;
};

struct medium {
	char *path, *format, *bus, *device;
	struct keyval *rest; /* keys that go into the XML as they are, or NULL */
	uint64_t size; /* bytes of a new image; 0: it exists */
	bool readonly, sparse, first_boot; /* only for the first boot */
};
void medium_free(struct medium *medium);

/* Does the first boot run an installer, which restarts when it is done? */
static inline bool install_has_installer(const struct install *install)
{
	return install->cdrom || install->kernel || install->pxe;
}

/* options.c. False after an error was printed. */
bool install_parse(struct shell *sh, struct install *install, int argc, char **argv);
void install_clear(struct install *install);
char *install_options_help(void);
/* disks.c: what --disk, --cdrom say; and making the images that do not exist. */
bool install_read_disks(struct shell *sh, struct install *install);
bool install_make_disks(struct shell *sh, const struct install *install);
/* The pool of a folder; made for as long as the daemon runs if there is none. */
bool install_folder_pool(struct shell *sh, char *folder, struct remote_storage_pool *pool);
/* location.c: the installer's kernel, from a folder, an ISO image or a URL. */
bool install_find_kernel(struct shell *sh, struct install *install);
/* Path of a file that only the first boot needs; not made yet. */
char *install_scratch(const struct install *install, const char *file, GError **error);
/* Remove those. A running VMM has them open. */
void install_remove_scratch(const struct install *install);
/* seed.c: cloud-init's data as an image. */
bool install_make_seed(struct shell *sh, struct install *install);
/* seed_image.c: an ISO 9660 image with these files at its root; the volume is called "cidata". */
struct seed_file {
	const char *name; /* upper case */
	const char *text;
};
bool seed_image_write(const char *path, const struct seed_file *files, unsigned count, GError **error);
/* model.c: the domain's XML, for the first boot or for those after it. NULL after an error. */
char *install_xml(struct shell *sh, const struct install *install, bool first);
