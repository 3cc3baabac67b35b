/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The installer's kernel and initrd: in a folder, in an ISO 9660 image, or below a URL. What is not in
 * a folder is copied to a scratch folder, and removed when the first boot has begun.
 */
#include "location.h"

#include "base/error.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

/* Where distributions put kernel and initrd below the root of a medium, or below a URL. */
static const char *const trees[][2] = {
	{"install.amd/vmlinuz", "install.amd/initrd.gz"},
	{"current/images/netboot/debian-installer/amd64/linux",
	 "current/images/netboot/debian-installer/amd64/initrd.gz"},
	{"current/legacy-images/netboot/ubuntu-installer/amd64/linux",
	 "current/legacy-images/netboot/ubuntu-installer/amd64/initrd.gz"},
	{"install/netboot/debian-installer/amd64/linux", "install/netboot/debian-installer/amd64/initrd.gz"},
	{"install/vmlinuz", "install/initrd.gz"},
	{"debian-installer/amd64/linux", "debian-installer/amd64/initrd.gz"},
	{"casper/vmlinuz", "casper/initrd"},
	{"images/pxeboot/vmlinuz", "images/pxeboot/initrd.img"},
	{"isolinux/vmlinuz", "isolinux/initrd.img"},
	{"boot/x86_64/loader/linux", "boot/x86_64/loader/initrd"},
	{"boot/vmlinuz-lts", "boot/initramfs-lts"},
	{"arch/boot/x86_64/vmlinuz-linux", "arch/boot/x86_64/initramfs-linux.img"},
	{"linux", "initrd.gz"},
	{"vmlinuz", "initrd.img"},
};

/* A place with files. Each is given by its path below `where`. */
struct place {
	struct shell *sh;
	const char *where;
	bool (*fetch)(const struct place *place, const char *file, char **path, GError **error);
	struct iso_image *image;
	const struct install *install;
};

/* A file that is not there is no failure of the search: the next names may be. */
static bool is_absent(const GError *error)
{
	return g_error_matches(error, BERTH_ERROR, BERTH_ERR_NOT_FOUND);
}

/* --- A folder ---------------------------------------------------------------------------------- */

static bool fetch_from_folder(const struct place *place, const char *file, char **path, GError **error)
{
	g_autofree char *found = g_build_filename(place->where, file, NULL);
	if (access(found, F_OK) != 0)
		return error_set(error, BERTH_ERR_NOT_FOUND, "there is no '%s'", found);
	if (access(found, R_OK) != 0)
		return error_set_errno(error, errno, "cannot read '%s'", found);
	*path = g_canonicalize_filename(found, NULL);
	return true;
}

/* --- Copies ------------------------------------------------------------------------------------ */

/* What a signal that ends us would leave behind: the seed may have passwords. */
enum { SCRATCH_MAX = 32 };
static char *scratch[SCRATCH_MAX];
static volatile sig_atomic_t scratch_count;
static const int ending_signals[] = {SIGINT, SIGTERM, SIGHUP};

static void remove_and_end(int number)
{
	for (int i = 0; i < scratch_count; i++)
		unlink(scratch[i]);
	signal(number, SIG_DFL);
	raise(number);
}

static void note_scratch(const char *path)
{
	g_assert(scratch_count < SCRATCH_MAX);
	scratch[scratch_count] = g_strdup(path);
	scratch_count++;
	for (unsigned i = 0; i < G_N_ELEMENTS(ending_signals); i++)
		signal(ending_signals[i], remove_and_end);
}

static void forget_scratch(void)
{
	for (unsigned i = 0; scratch_count && i < G_N_ELEMENTS(ending_signals); i++)
		signal(ending_signals[i], SIG_DFL);
	while (scratch_count)
		g_free(scratch[--scratch_count]);
}

char *install_scratch(const struct install *install, const char *file, GError **error)
{
	/* The VMM of a system's daemon may not look into root's home. */
	bool system = geteuid() == 0 && !g_getenv("XDG_CACHE_HOME");
	g_autofree char *folder = system ? g_strdup("/var/lib/berth/boot")
					 : g_build_filename(g_get_user_cache_dir(), "berth", NULL);
	if (g_mkdir_with_parents(folder, 0711) < 0) {
		error_set_errno(error, errno, "cannot create the folder '%s'", folder);
		return NULL;
	}
	g_autofree char *base = g_path_get_basename(file);
	char *path = g_strdup_printf("%s/%s-%s", folder, install->name, base);
	note_scratch(path);
	return path;
}

/* A new file for what `file` has; NULL after an error. Half a file does not stay: copy_end(). */
static FILE *copy_begin(const struct place *place, const char *file, char **path, GError **error)
{
	*path = install_scratch(place->install, file, error);
	FILE *out = *path ? fopen(*path, "we") : NULL;
	if (*path && !out)
		error_set_errno(error, errno, "cannot create '%s'", *path);
	if (!out)
		g_clear_pointer(path, g_free);
	return out;
}

static bool copy_end(FILE *out, bool good, char **path, GError **error)
{
	if (fclose(out) != 0 && good)
		good = error_set_errno(error, errno, "cannot write '%s'", *path);
	if (!good) {
		unlink(*path);
		g_clear_pointer(path, g_free);
	}
	return good;
}

static bool fetch_from_image(const struct place *place, const char *file, char **path, GError **error)
{
	FILE *out = copy_begin(place, file, path, error);
	return out && copy_end(out, iso_image_copy(place->image, file, out, error), path, error);
}

static bool fetch_from_url(const struct place *place, const char *file, char **path, GError **error)
{
	bool progress = isatty(STDERR_FILENO) && !place->sh->quiet;
	const char *slash = g_str_has_suffix(place->where, "/") ? "" : "/";
	g_autofree char *url = g_strconcat(place->where, slash, file, NULL);
	FILE *out = copy_begin(place, file, path, error);
	return out && copy_end(out, url_fetch(url, out, progress, error), path, error);
}

/* --- Looking ----------------------------------------------------------------------------------- */

static bool take_pair(const struct place *place, struct install *install, const char *kernel,
		      const char *initrd, GError **error)
{
	if (!place->fetch(place, kernel, &install->kernel, error))
		return false;
	install->copied = place->fetch != fetch_from_folder;
	if (place->fetch(place, initrd, &install->initrd, error))
		return true;
	install_remove_scratch(install);
	g_clear_pointer(&install->kernel, g_free);
	return false;
}

static bool look(const struct place *place, struct install *install, const struct keyval *kv,
		 GError **error)
{
	const char *kernel = keyval_get(kv, "kernel"), *initrd = keyval_get(kv, "initrd");
	if (!kernel != !initrd)
		return error_set(error, BERTH_ERR_INVALID, "kernel= and initrd= come together");
	if (kernel)
		return take_pair(place, install, kernel, initrd, error);
	for (unsigned i = 0; i < G_N_ELEMENTS(trees); i++) {
		g_autoptr(GError) cause = NULL;
		if (take_pair(place, install, trees[i][0], trees[i][1], &cause))
			return true;
		if (!is_absent(cause)) {
			g_propagate_error(error, g_steal_pointer(&cause));
			return false;
		}
	}
	return error_set(error, BERTH_ERR_NOT_FOUND,
			 "no installer's kernel is found in '%s': name it with kernel=FILE,initrd=FILE",
			 place->where);
}

static bool find(struct shell *sh, struct install *install, const struct keyval *kv, GError **error)
{
	struct place place = {.sh = sh, .where = keyval_get(kv, "location"), .install = install};
	if (!place.where)
		return error_set(error, BERTH_ERR_INVALID, "a folder, an ISO image or a URL is needed");
	if (strstr(place.where, "://"))
		place.fetch = fetch_from_url;
	else if (g_file_test(place.where, G_FILE_TEST_IS_DIR))
		place.fetch = fetch_from_folder;
	else if ((place.image = iso_image_open(place.where, error)) != NULL)
		place.fetch = fetch_from_image;
	bool good = place.fetch && look(&place, install, kv, error);
	/* The installer looks for its packages on the CD that its kernel comes from. */
	if (good && place.image)
		install->cdrom = g_strdup(place.where);
	iso_image_close(place.image);
	return good;
}

static bool check_keys(const struct keyval *kv, GError **error)
{
	static const char *const allowed[] = {"location", "kernel", "initrd", NULL};
	for (unsigned k = 0; k < keyval_count(kv); k++) {
		if (!g_strv_contains(allowed, kv->keys->pdata[k]))
			return error_set(error, BERTH_ERR_INVALID, "there is no '%s' here",
					 (char *)kv->keys->pdata[k]);
	}
	return true;
}

bool install_find_kernel(struct shell *sh, struct install *install)
{
	g_autoptr(GError) error = NULL;
	if (!install->location)
		return true;
	if (client_host(sh->client))
		return shell_fail(sh, "--location is for daemons on this host: the kernel must be there");
	auto_keyval kv = keyval_parse(install->location, "location", &error);
	return (kv && check_keys(kv, &error) && find(sh, install, kv, &error)) ||
	       shell_fail(sh, "--location: %s", error->message);
}

void install_remove_scratch(const struct install *install)
{
	const char *const files[] = {install->seed, install->copied ? install->kernel : NULL,
				     install->copied ? install->initrd : NULL};
	for (unsigned i = 0; i < G_N_ELEMENTS(files); i++) {
		if (files[i])
			unlink(files[i]);
	}
	forget_scratch();
}
