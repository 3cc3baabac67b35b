/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/disk_source.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "daemon/domain/user.h"
#include "daemon/secret/secret.h"
#include "daemon/storage/storage.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* --- Volumes -------------------------------------------------------------------------------- */

char *disk_volume_path(const struct daemon *daemon, const struct conf_domain_disk *disk, GError **error)
{
	const struct conf_disk_source *source = &disk->source;
	struct storage_pool *pool = storage_pool_by_name(daemon->storage, source->pool);
	if (!pool) {
		virt_error(error, VIRT_FROM_STORAGE, VIRT_NO_STORAGE_POOL,
			   "no storage pool with matching name '%s'", source->pool);
		return NULL;
	}
	/* It is being started, as pools are when the daemon begins: where its volumes are is known already. */
	if (!pool->live && pool->queue.length && !strchr(source->volume, '/'))
		return g_build_filename(storage_pool_conf(pool)->path, source->volume, NULL);
	const struct storage_volume *volume = storage_volume_find(pool, source->volume, error);
	if (!volume || !storage_volume_check_made(volume, error))
		return NULL;
	return g_strdup(volume->conf->path);
}

/* Of a volume that runs already. */
static const char *known_path(const struct conf_domain *known, const struct conf_domain_disk *disk)
{
	for (unsigned i = 0; known && i < known->disks->len; i++) {
		const struct conf_domain_disk *old = known->disks->pdata[i];
		if (strcmp(old->target, disk->target) == 0 &&
		    g_strcmp0(old->source.pool, disk->source.pool) == 0 &&
		    g_strcmp0(old->source.volume, disk->source.volume) == 0)
			return old->file;
	}
	return NULL;
}

bool disk_sources_resolve(const struct daemon *daemon, struct conf_domain *conf,
			  const struct conf_domain *known, GError **error)
{
	for (unsigned i = 0; i < conf->disks->len; i++) {
		struct conf_domain_disk *disk = conf->disks->pdata[i];
		if (disk->source.kind != CONF_SOURCE_VOLUME)
			continue;
		g_autofree char *path = g_strdup(known_path(known, disk));
		if (!path && !(path = disk_volume_path(daemon, disk, error)))
			return false;
		conf_domain_disk_resolve(disk, path);
	}
	return true;
}

void disk_sources_restore(const struct daemon *daemon, struct conf_domain *conf)
{
	g_autoptr(GError) error = NULL;
	if (!disk_sources_resolve(daemon, conf, NULL, &error))
		log_warning("domain '%s': %s", conf->name, error->message);
}

/* --- Objects -------------------------------------------------------------------------------- */

bool disk_needs_object(const struct conf_domain_disk *disk, enum disk_object kind)
{
	const struct conf_disk_source *source = &disk->source;
	return kind == DISK_TLS ? source->tls
	       : kind == DISK_PASSPHRASE ? source->encryption.given : source->auth.given;
}

char *disk_object_id(const struct conf_domain_disk *disk, enum disk_object kind)
{
	static const char *const suffixes[DISK_OBJECTS] = {"-encryption-secret0", "-auth-secret0", "-tls0"};
	return g_strconcat(disk->dev.alias, suffixes[kind], NULL);
}

/* In base64, as a value may have any bytes. Its memory is to be overwritten. NULL with *error set. */
static char *secret_text(const struct daemon *daemon, const struct conf_domain_disk *disk,
			 enum disk_object kind, GError **error)
{
	const struct conf_secret_reference *wanted =
		kind == DISK_PASSPHRASE ? &disk->source.encryption : &disk->source.auth;
	const struct secret *secret =
		wanted->usage_id ? secret_by_usage(daemon->secrets, wanted->usage, wanted->usage_id, error)
				 : secret_by_uuid(daemon->secrets, wanted->uuid, error);
	GBytes *value = secret ? secret_value(secret, error) : NULL;
	if (!value) {
		g_prefix_error(error, "disk '%s': ", disk->target);
		return NULL;
	}
	gsize length;
	const uint8_t *bytes = g_bytes_get_data(value, &length);
	return g_base64_encode(bytes, length);
}

static void wipe(char *text)
{
	explicit_bzero(text, strlen(text));
	g_free(text);
}

json_t *disk_object(const struct daemon *daemon, const struct conf_domain_disk *disk, enum disk_object kind,
		    const char *file, GError **error)
{
	g_autofree char *id = disk_object_id(disk, kind);
	if (kind == DISK_TLS)
		return json_pack("{s:s, s:s, s:s, s:s, s:b}", "qom-type", "tls-creds-x509", "id", id, "dir",
				 daemon->nbd_tls_dir, "endpoint", "client", "verify-peer", 1);
	json_t *object = json_pack("{s:s, s:s, s:s}", "qom-type", "secret", "id", id, "format", "base64");
	if (file) {
		json_object_set_new(object, "file", json_string(file));
		return object;
	}
	char *text = secret_text(daemon, disk, kind, error);
	if (!text) {
		json_decref(object);
		return NULL;
	}
	json_object_set_new(object, "data", json_string(text));
	wipe(text);
	return object;
}

/* --- At the start --------------------------------------------------------------------------- */

/* The end to read of a pipe that has the whole text in it; < 0 with *error set. */
static int fill_pipe(const char *text, GError **error)
{
	int ends[2];
	size_t length = strlen(text);
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) {
		error_set_errno(error, errno, "cannot make a pipe for a secret");
		return -1;
	}
	auto_fd from = ends[0], to = ends[1];
	/* Nobody reads yet: it must fit, and the system tells how much does. */
	if (fcntl(to, F_GETPIPE_SZ) < (int)length)
		fcntl(to, F_SETPIPE_SZ, (int)length);
	if (write(to, text, length) != (ssize_t)length) {
		error_set(error, BERTH_ERR_IO, "a secret of %zu bytes does not fit into a pipe: use a shorter one",
			  length);
		return -1;
	}
	/* The VMM is to wait for nothing, and to find a usual file. */
	fcntl(from, F_SETFL, 0);
	int fd = from;
	from = -1;
	return fd;
}

bool disk_secrets_open_all(const struct daemon *daemon, const struct conf_domain *conf,
			   const struct vmm_user *user, GArray *fds, GError **error)
{
	for (unsigned i = 0; i < conf->disks->len; i++) {
		for (enum disk_object kind = 0; kind < DISK_TLS; kind++) {
			if (!disk_needs_object(conf->disks->pdata[i], kind))
				continue;
			char *text = secret_text(daemon, conf->disks->pdata[i], kind, error);
			int fd = text ? fill_pipe(text, error) : -1;
			if (text)
				wipe(text);
			if (fd < 0)
				return false;
			g_array_append_val(fds, fd);
			/* It is opened once more, by its name in /dev/fd. */
			if (user && fchown(fd, user->uid, user->gid) < 0)
				return error_set_errno(error, errno, "cannot give the VMM's user a secret");
		}
	}
	return true;
}
