/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a first boot needs beside its disks. */
#include "install.h"

#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

/* --- The installer's kernel ------------------------------------------------------------------- */

/* Where distributions put them below the root of a medium. */
static const char *const trees[][2] = {
	{"install.amd/vmlinuz", "install.amd/initrd.gz"},
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

static bool take_pair(struct install *install, const char *folder, const char *kernel, const char *initrd)
{
	g_autofree char *first = g_build_filename(folder, kernel, NULL);
	g_autofree char *second = g_build_filename(folder, initrd, NULL);
	if (access(first, R_OK) != 0 || access(second, R_OK) != 0)
		return false;
	install->kernel = g_canonicalize_filename(first, NULL);
	install->initrd = g_canonicalize_filename(second, NULL);
	return true;
}

bool install_find_kernel(struct shell *sh, struct install *install)
{
	g_autoptr(GError) error = NULL;
	if (!install->location)
		return true;
	auto_keyval kv = keyval_parse(install->location, "location", &error);
	if (!kv)
		return shell_fail(sh, "--location: %s", error->message);
	const char *folder = keyval_get(kv, "location"), *kernel = keyval_get(kv, "kernel");
	const char *initrd = keyval_get(kv, "initrd");
	if (!folder)
		return shell_fail(sh, "--location needs a folder");
	if (client_host(sh->client))
		return shell_fail(sh, "--location is for daemons on this host: the kernel must be there");
	if (strstr(folder, "://") || !g_file_test(folder, G_FILE_TEST_IS_DIR))
		return shell_fail(sh, "--location '%s' is no folder: mount or unpack the medium, or use --cdrom",
				  folder);
	if (kernel && initrd)
		return take_pair(install, folder, kernel, initrd) ||
		       shell_fail(sh, "'%s' has no %s and %s", folder, kernel, initrd);
	for (unsigned i = 0; i < G_N_ELEMENTS(trees); i++) {
		if (take_pair(install, folder, trees[i][0], trees[i][1]))
			return true;
	}
	return shell_fail(sh, "no installer's kernel is found in '%s': name it with kernel=FILE,initrd=FILE",
			  folder);
}

/* --- cloud-init ------------------------------------------------------------------------------- */

static char *random_password(void)
{
	static const char letters[] = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
	uint8_t bytes[16];
	if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
		return NULL;
	GString *text = g_string_new(NULL);
	for (unsigned i = 0; i < sizeof(bytes); i++)
		g_string_append_c(text, letters[bytes[i] % (sizeof(letters) - 1)]);
	return g_string_free(text, FALSE);
}

static bool is_on(const struct keyval *kv, const char *key)
{
	const char *value = keyval_get(kv, key);
	return value && strcmp(value, "off") && strcmp(value, "no");
}

static bool add_password(struct shell *sh, const struct keyval *kv, GString *data)
{
	const char *path = keyval_get(kv, "root-password-file");
	g_autofree char *password = path ? shell_read_file(sh, path) : random_password();
	if (!password)
		return path ? false : shell_fail(sh, "the kernel gives no random numbers");
	g_strchomp(password);
	if (!path)
		shell_print("Password for first root login is: %s\n", password);
	/* A generated one is for one login. */
	g_string_append_printf(data, "chpasswd:\n  list: |\n    root:%s\n  expire: %s\nssh_pwauth: true\n",
			       password, path ? "false" : "true");
	return true;
}

/* The user-data that the options ask for. NULL after an error. */
static char *make_user_data(struct shell *sh, const struct keyval *kv)
{
	const char *given = keyval_get(kv, "user-data"), *key = keyval_get(kv, "ssh-key");
	if (given)
		return shell_read_file(sh, given);
	g_autoptr(GString) data = g_string_new("#cloud-config\n");
	bool any = keyval_count(kv) > 0;
	if ((!any || is_on(kv, "root-password-generate") || keyval_get(kv, "root-password-file")) &&
	    !add_password(sh, kv, data))
		return NULL;
	if (key) {
		g_autofree char *text = shell_read_file(sh, key);
		if (!text)
			return NULL;
		g_string_append_printf(data, "users:\n  - default\n  - name: root\n    ssh_authorized_keys:\n"
				       "      - %s\n", g_strchomp(text));
	}
	if (!any || is_on(kv, "disable"))
		g_string_append(data, "runcmd:\n  - [sh, -c, 'touch /etc/cloud/cloud-init.disabled']\n");
	return g_string_free(g_steal_pointer(&data), FALSE);
}

static bool check_keys(struct shell *sh, const struct keyval *kv)
{
	static const char *const allowed[] = {"root-password-generate", "root-password-file", "ssh-key",
					      "disable", "user-data", "meta-data", "network-config", NULL};
	for (unsigned k = 0; k < keyval_count(kv); k++) {
		if (!g_strv_contains(allowed, kv->keys->pdata[k]))
			return shell_fail(sh, "--cloud-init has no '%s'", (char *)kv->keys->pdata[k]);
	}
	return true;
}

bool install_make_seed(struct shell *sh, struct install *install)
{
	g_autoptr(GError) error = NULL;
	if (!install->cloud_init)
		return true;
	auto_keyval kv = keyval_parse(install->cloud_init, NULL, &error);
	if (!kv)
		return shell_fail(sh, "--cloud-init: %s", error->message);
	if (!check_keys(sh, kv))
		return false;
	if (client_host(sh->client))
		return shell_fail(sh, "--cloud-init is for daemons on this host: the image must be there");
	g_autofree char *file = g_strdup_printf("%s-seed.iso", install->name);
	install->seed = g_build_filename(g_get_user_cache_dir(), "berth", file, NULL);
	if (install->print_xml || install->dry_run)
		return true;
	const char *meta_path = keyval_get(kv, "meta-data"), *network_path = keyval_get(kv, "network-config");
	g_autofree char *user = make_user_data(sh, kv);
	g_autofree char *meta = meta_path ? shell_read_file(sh, meta_path) :
					    g_strdup_printf("instance-id: %s\nlocal-hostname: %s\n",
							    install->uuid, install->name);
	g_autofree char *network = network_path ? shell_read_file(sh, network_path) : NULL;
	if (!user || !meta || (network_path && !network))
		return false;
	const struct seed_file files[] = {
		{"META-DATA", meta}, {"USER-DATA", user}, {"NETWORK-CONFIG", network}};
	return seed_image_write(install->seed, files, network ? 3 : 2, &error) ||
	       shell_fail(sh, "%s", error->message);
}
