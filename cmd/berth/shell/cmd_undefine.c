/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Forgetting a domain, and the volumes of its disks with it. */
#include "table.h"

#include "shell.h"

#include <string.h>

enum { WITH_SAVED_STATE = 1, WITH_SNAPSHOTS = 2, WITH_NVRAM = 4, SNAPSHOTS_METADATA = 2 };

static const struct option_flag undefine_flags[] = {
	{"managed-save", WITH_SAVED_STATE}, {"snapshots-metadata", WITH_SNAPSHOTS},
	{"nvram", WITH_NVRAM},		    {"keep-nvram", 8},
	{"checkpoints-metadata", 16},	    {"tpm", 32},
	{"keep-tpm", 64},		    {NULL},
};

struct volume {
	struct remote_storage_vol vol;
	char *source, *target;
};

static void volume_free(void *data)
{
	struct volume *volume = data;
	g_free(volume->source);
	g_free(volume->target);
	g_free(volume);
}

/* Is the disk wanted? What is found is taken from the list, so that what stays is unknown. */
static bool is_wanted(GPtrArray *wanted, const char *target, const char *source)
{
	for (unsigned i = 0; i < wanted->len; i++) {
		if (!g_strcmp0(wanted->pdata[i], target) || !g_strcmp0(wanted->pdata[i], source)) {
			g_ptr_array_remove_index(wanted, i);
			return true;
		}
	}
	return false;
}

static bool find_volume(struct shell *sh, struct volume *volume, const char *pool)
{
	struct remote_storage_pool_lookup_by_name_ret in;
	struct remote_storage_vol_lookup_by_name_ret named;
	struct remote_storage_vol_lookup_by_path_ret path;
	bool found;
	if (pool && !GET(sh, storage_pool_lookup_by_name, &in, (char *)pool)) {
		shell_fail(sh, "Storage pool '%s' for volume '%s' not found.", pool, volume->target);
		shell_forget_error(sh);
		return false;
	}
	if (pool) {
		found = GET(sh, storage_vol_lookup_by_name, &named, in.pool, volume->source);
		volume->vol = named.vol;
	} else {
		found = GET(sh, storage_vol_lookup_by_path, &path, volume->source);
		volume->vol = path.vol;
	}
	if (!found)
		shell_fail(sh, "Storage volume '%s'(%s) is not managed by libvirt. Remove it manually.\n",
			   volume->target, volume->source);
	shell_forget_error(sh);
	return found;
}

/* The volumes of the disks named, or of all disks. NULL after an error. */
static GPtrArray *collect(struct shell *sh, struct remote_domain dom, const char *names)
{
	g_autoptr(xmlDoc) doc = shell_domain_doc(sh, dom, 0);
	if (!doc)
		return NULL;
	g_auto(GStrv) words = g_strsplit(names ? names : "", ",", 0);
	g_autoptr(GPtrArray) wanted = g_ptr_array_new();
	for (char **word = words; *word; word++)
		g_ptr_array_add(wanted, *word);
	GPtrArray *volumes = g_ptr_array_new_with_free_func(volume_free);
	g_autoptr(GPtrArray) disks = xpath_nodes(doc, NULL, "/domain/devices/disk");
	for (unsigned i = 0; i < disks->len; i++) {
		struct volume *volume = g_new0(struct volume, 1);
		volume->target = xpath_text(doc, disks->pdata[i], "./target/@dev");
		volume->source = xpath_text(doc, disks->pdata[i], "./source/@file|./source/@dir|"
					    "./source/@name|./source/@dev|./source/@volume");
		g_autofree char *pool = xpath_text(doc, disks->pdata[i], "./source/@pool");
		if (volume->target && volume->source &&
		    (!names || is_wanted(wanted, volume->target, volume->source)) &&
		    find_volume(sh, volume, pool))
			g_ptr_array_add(volumes, volume);
		else
			volume_free(volume);
	}
	for (unsigned i = 0; i < wanted->len; i++)
		shell_fail(sh, "Volume '%s' was not found in domain's definition.\n",
			   (char *)wanted->pdata[i]);
	if (wanted->len)
		g_clear_pointer(&volumes, g_ptr_array_unref);
	return volumes;
}

static bool remove_volumes(struct shell *sh, const struct cmd *cmd, const GPtrArray *volumes)
{
	enum { VOLUME_WITH_SNAPSHOTS = 2 };
	uint32_t flags = opt_bool(cmd, "delete-storage-volume-snapshots") ? VOLUME_WITH_SNAPSHOTS : 0;
	bool good = true;
	for (unsigned i = 0; i < volumes->len; i++) {
		const struct volume *volume = volumes->pdata[i];
		if (opt_bool(cmd, "wipe-storage")) {
			shell_extra(sh, "Wiping volume '%s'(%s) ... ", volume->target, volume->source);
			if (!CALL(sh, storage_vol_wipe, volume->vol, 0)) {
				good = shell_fail(sh, "Failed! Volume not removed.");
				continue;
			}
			shell_extra(sh, "Done.\n");
		}
		if (!CALL(sh, storage_vol_delete, volume->vol, flags))
			good = shell_fail(sh, "Failed to remove storage volume '%s'(%s)", volume->target,
					  volume->source);
		else
			shell_extra(sh, "Volume '%s'(%s) removed.\n", volume->target, volume->source);
	}
	return good;
}

struct belongings {
	bool saved;
	int metadata; /* snapshots that only the daemon knows of */
	bool refuses; /* the daemon is new enough to refuse by itself what would lose something */
};

/* What would be lost with a domain that does not run. */
static bool look_for_belongings(struct shell *sh, struct remote_domain dom, struct belongings *found)
{
	struct remote_domain_has_managed_save_image_ret saved = {0};
	struct remote_domain_snapshot_num_ret all = {0}, metadata = {0};
	if (!GET(sh, domain_has_managed_save_image, &saved, dom, 0) &&
	    shell_error_code(sh) != CLIENT_NO_SUPPORT)
		return false;
	found->saved = saved.result > 0;
	if (!GET(sh, domain_snapshot_num, &all, dom, 0) && shell_error_code(sh) != CLIENT_NO_SUPPORT)
		return false;
	found->metadata = all.count;
	if (all.count && GET(sh, domain_snapshot_num, &metadata, dom, SNAPSHOTS_METADATA)) {
		found->metadata = metadata.count;
		found->refuses = true;
	}
	shell_forget_error(sh);
	return true;
}

static bool undefine(struct shell *sh, const struct cmd *cmd, struct remote_domain dom,
		     const struct belongings *found, uint32_t flags)
{
	bool saved_safe = !found->saved || flags & WITH_SAVED_STATE || found->refuses;
	bool snapshots_safe = !found->metadata || flags & WITH_SNAPSHOTS || found->refuses;
	if (!found->saved)
		flags &= ~WITH_SAVED_STATE;
	if (!found->metadata)
		flags &= ~WITH_SNAPSHOTS;
	if ((saved_safe && snapshots_safe) || flags & WITH_NVRAM) {
		if (CALL(sh, domain_undefine_flags, dom, flags))
			return true;
		int code = shell_error_code(sh);
		if (flags & WITH_NVRAM || (code != CLIENT_NO_SUPPORT && code != CLIENT_INVALID_ARG))
			return false;
		shell_forget_error(sh);
	}
	if (found->saved && !opt_bool(cmd, "managed-save")) {
		shell_fail(sh, "Refusing to undefine while domain managed save image exists");
		return false;
	}
	if (found->saved && !CALL(sh, domain_managed_save_remove, dom, 0))
		return false;
	if (found->metadata)
		return shell_fail(sh, opt_bool(cmd, "snapshots-metadata") ?
					      "Unable to remove metadata of %d snapshots" :
					      "Refusing to undefine while %d snapshots exist",
				  found->metadata);
	return CALL(sh, domain_undefine, dom);
}

bool cmd_undefine(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	struct remote_domain_is_active_ret active;
	struct belongings found = {false, 0, false};
	const char *name, *storage = opt_text(cmd, "storage");
	bool all = opt_bool(cmd, "remove-all-storage");
	g_autoptr(GPtrArray) volumes = NULL;
	if (!opt_require(sh, cmd, "delete-storage-volume-snapshots", "remove-all-storage") ||
	    !opt_exclusive(sh, cmd, "nvram", "keep-nvram") || !opt_exclusive(sh, cmd, "tpm", "keep-tpm"))
		return false;
	if (!storage && !all && opt_bool(cmd, "wipe-storage"))
		return shell_fail(sh, "'--wipe-storage' requires '--storage <string>' or "
				  "'--remove-all-storage'");
	if (!shell_domain(sh, cmd, &name, &dom) || !GET(sh, domain_is_active, &active, dom))
		return false;
	if (!active.active && !look_for_belongings(sh, dom, &found))
		return false;
	if (storage || all) {
		if (active.active)
			return shell_fail(sh, "Storage volume deletion is supported only on stopped domains");
		if (storage && all)
			return shell_fail(sh, "Specified both --storage and --remove-all-storage");
		volumes = collect(sh, dom, storage);
		if (!volumes)
			return false;
	}
	if (!undefine(sh, cmd, dom, &found, opt_flags(cmd, undefine_flags)))
		return shell_fail(sh, "Failed to undefine domain '%s'", name);
	shell_extra(sh, "Domain '%s' has been undefined\n", name);
	return !volumes || remove_volumes(sh, cmd, volumes);
}
