/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/images.h"

#include <sys/stat.h>

/* One may be a link to the other. */
static bool same_file(const char *a, const char *b)
{
	struct stat first, second;
	return a && b && stat(a, &first) == 0 && stat(b, &second) == 0 && first.st_dev == second.st_dev &&
	       first.st_ino == second.st_ino;
}

/* The disk of `conf` that keeps `disk` from being used; two that only read do not hinder each other. */
static const struct conf_domain_disk *find_rival(const struct conf_domain *conf,
						 const struct conf_domain_disk *disk)
{
	for (unsigned i = 0; i < conf->disks->len; i++) {
		const struct conf_domain_disk *other = conf->disks->pdata[i];
		if (!(disk->readonly && other->readonly) && same_file(disk->file, other->file))
			return other;
	}
	return NULL;
}

char *images_other_user(const struct domain *dom)
{
	GHashTableIter iter;
	void *value;
	g_hash_table_iter_init(&iter, dom->all->by_uuid);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const struct domain *other = value;
		for (unsigned i = 0; other != dom && other->live && i < dom->live->disks->len; i++) {
			const struct conf_domain_disk *disk = dom->live->disks->pdata[i];
			if (find_rival(other->live, disk))
				return g_strdup_printf("image '%s' of disk '%s' is in use by domain '%s'",
						       disk->file, disk->target, other->name);
		}
	}
	return NULL;
}
