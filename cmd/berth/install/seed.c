/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What cloud-init reads at the first boot: a seed of the kind NoCloud. */
#include "install.h"

#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

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
	install->seed = install_scratch(install, "seed.iso", &error);
	if (!install->seed)
		return shell_fail(sh, "%s", error->message);
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
