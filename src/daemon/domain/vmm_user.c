/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VMM that runs as another user than the daemon. Its sockets are in a folder that belongs to that user,
 * below the run folder, which does not: what a VMM can change, a later daemon must not believe.
 */
#include "daemon/domain/vmm_int.h"

#include "base/error.h"
#include "daemon/domain/user.h"

#include <errno.h>
#include <grp.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Of folders on the way to what is the user's: they cannot be listed. */
enum { WAY = 0711 };

static bool open_way(const char *path, GError **error)
{
	return chmod(path, WAY) == 0 ||
	       error_set_errno(error, errno, "cannot let VMMs through the folder '%s'", path);
}

static bool open_ways(const struct vmm *vmm, GError **error)
{
	static const char *const folders[] = {"", "run", "nvram"};
	for (unsigned i = 0; i < G_N_ELEMENTS(folders); i++) {
		g_autofree char *path = g_build_filename(vmm->dom->all->daemon->state_dir, folders[i], NULL);
		if (!open_way(path, error))
			return false;
	}
	return open_way(vmm->run_dir, error);
}

bool vmm_user_choose(struct vmm *vmm, GError **error)
{
	const char *owner = vmm->dom->live->owner;
	if (!owner) {
		vmm->user = user_copy(vmm->dom->all->daemon->vmm_user);
		return true;
	}
	g_auto(GStrv) names = g_strsplit(owner, ":", 2);
	vmm->user = user_find(names[0], names[1], error);
	if (!vmm->user)
		g_prefix_error(error, "the <seclabel> of domain '%s': ", vmm->dom->name);
	return vmm->user;
}

bool vmm_user_owns_images(const struct vmm *vmm)
{
	const struct conf_domain *conf = vmm->dom->live;
	return vmm->user && vmm->dom->all->daemon->dynamic_ownership && (!conf->owner || conf->gives_images);
}

char *vmm_user_folder(const char *run_dir)
{
	return g_build_filename(run_dir, "vmm", NULL);
}

bool vmm_user_make_folders(const struct vmm *vmm, GError **error)
{
	const struct vmm_user *user = vmm->user;
	g_autofree char *folder = vmm_user_folder(vmm->run_dir);
	if (g_mkdir_with_parents(folder, 0700) < 0)
		return error_set_errno(error, errno, "cannot create '%s'", folder);
	if (!user)
		return true;
	if (chown(folder, user->uid, user->gid) < 0)
		return error_set_errno(error, errno, "cannot give '%s' to the user of VMMs", folder);
	return open_ways(vmm, error);
}

void vmm_user_remove_folders(const char *run_dir)
{
	g_autofree char *folder = vmm_user_folder(run_dir);
	store_remove_folder(folder);
	store_remove_folder(run_dir);
}

void vmm_user_become(const struct vmm_user *user)
{
	static const char words[] = "the VMM cannot become its user\n";
	if (!user || (setgroups(user->group_count, user->groups) == 0 && setgid(user->gid) == 0 &&
		      setuid(user->uid) == 0))
		return;
	/* If even that fails, the daemon sees that there is no VMM. */
	(void)!write(STDERR_FILENO, words, sizeof(words) - 1);
	_exit(127);
}
