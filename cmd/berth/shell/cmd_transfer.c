/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Volumes to and from files, and pictures of displays: what goes through streams. */
#include "table.h"

#include "shell.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE = 256 * 1024, STREAM_SPARSE = 1 };

/* --- Up --------------------------------------------------------------------------------------- */

static bool send_data(struct shell *sh, struct client_stream *stream, int fd, int64_t length)
{
	g_autofree uint8_t *piece = g_malloc(PIECE);
	while (length) {
		ssize_t got = read(fd, piece, length < 0 ? PIECE : MIN(length, PIECE));
		if (got < 0)
			return shell_set_error(sh, CLIENT_SYSTEM, "cannot read: %s", g_strerror(errno));
		if (got == 0)
			return true;
		if (!client_stream_send(stream, piece, got, shell_error(sh)))
			return false;
		if (length > 0)
			length -= got;
	}
	return true;
}

/* Data and holes in turn, as the file system knows them. */
static bool send_sparse(struct shell *sh, struct client_stream *stream, int fd)
{
	off_t at = 0, end = lseek(fd, 0, SEEK_END);
	while (at < end) {
		off_t data = lseek(fd, at, SEEK_DATA);
		if (data < 0)
			data = errno == ENXIO ? end : at;
		if (data > at && !client_stream_send_hole(stream, data - at, shell_error(sh)))
			return false;
		off_t hole = data < end ? lseek(fd, data, SEEK_HOLE) : end;
		if (hole < 0)
			hole = end;
		lseek(fd, data, SEEK_SET);
		if (!send_data(sh, stream, fd, hole - data))
			return false;
		at = hole;
	}
	return true;
}

static bool opt_range(struct shell *sh, const struct cmd *cmd, uint64_t *offset, uint64_t *length)
{
	return opt_ulong(sh, cmd, "offset", offset) >= 0 && opt_ulong(sh, cmd, "length", length) >= 0;
}

bool cmd_vol_upload(struct shell *sh, const struct cmd *cmd)
{
	struct remote_storage_vol vol;
	const char *path, *name;
	uint64_t offset = 0, length = 0;
	bool sparse = opt_bool(cmd, "sparse");
	if (!opt_range(sh, cmd, &offset, &length) ||
	    !shell_volume(sh, cmd, "vol", "pool", BY_ANY, &name, &vol) ||
	    !opt_string(sh, cmd, "file", &path))
		return false;
	auto_fd fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return shell_fail(sh, "cannot read %s", path);
	if (!CALL(sh, storage_vol_upload, vol, offset, length, sparse ? STREAM_SPARSE : 0))
		return shell_fail(sh, "cannot upload to volume %s", name);
	struct client_stream *stream = client_stream_new(sh->client, REMOTE_STORAGE_VOL_UPLOAD);
	bool sent = sparse ? send_sparse(sh, stream, fd) : send_data(sh, stream, fd, -1);
	bool good = sent && client_stream_finish(stream, shell_error(sh));
	client_stream_free(stream);
	return good || shell_fail(sh, sent ? "cannot close volume %s" : "cannot send data to volume %s", name);
}

/* --- Down ------------------------------------------------------------------------------------- */

static bool write_all(int fd, const uint8_t *bytes, size_t size)
{
	while (size) {
		ssize_t done = write(fd, bytes, size);
		if (done < 0 && errno != EINTR)
			return false;
		if (done > 0) {
			bytes += done;
			size -= done;
		}
	}
	return true;
}

static bool write_hole(int fd, int64_t length)
{
	off_t at = lseek(fd, length, SEEK_CUR);
	return at >= 0 && ftruncate(fd, at) == 0;
}

static bool receive(struct shell *sh, struct client_stream *stream, int fd)
{
	const uint8_t *bytes;
	int64_t size;
	int got;
	while ((got = client_stream_receive(stream, -1, &bytes, &size, shell_error(sh))) != 0) {
		if (got == -1)
			return false;
		if (got == 1 && !(bytes ? write_all(fd, bytes, size) : write_hole(fd, size)))
			return shell_set_error(sh, CLIENT_SYSTEM, "cannot write: %s", g_strerror(errno));
	}
	return true;
}

/* The file is made anew, and goes again if what should fill it fails. */
static int open_new(const char *path, bool *created)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	*created = fd >= 0;
	if (fd < 0 && errno == EEXIST)
		fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	return fd;
}

bool cmd_vol_download(struct shell *sh, const struct cmd *cmd)
{
	struct remote_storage_vol vol;
	const char *path, *name;
	uint64_t offset = 0, length = 0;
	bool created;
	if (!opt_range(sh, cmd, &offset, &length) ||
	    !shell_volume(sh, cmd, "vol", "pool", BY_ANY, &name, &vol) ||
	    !opt_string(sh, cmd, "file", &path))
		return false;
	auto_fd fd = open_new(path, &created);
	if (fd < 0)
		return shell_fail(sh, "cannot create %s", path);
	bool good = CALL(sh, storage_vol_download, vol, offset, length,
			 opt_bool(cmd, "sparse") ? STREAM_SPARSE : 0);
	if (!good) {
		shell_fail(sh, "cannot download from volume %s", name);
	} else {
		struct client_stream *stream = client_stream_new(sh->client, REMOTE_STORAGE_VOL_DOWNLOAD);
		good = receive(sh, stream, fd) || shell_fail(sh, "cannot receive data from volume %s", name);
		good = good && (client_stream_finish(stream, shell_error(sh)) ||
				shell_fail(sh, "cannot close volume %s", name));
		client_stream_free(stream);
	}
	if (!good && created)
		unlink(path);
	return good;
}

/* --- Pictures --------------------------------------------------------------------------------- */

static char *picture_name(const char *domain, const char *mime)
{
	static const char *const kinds[][2] = {
		{"image/x-portable-pixmap", ".ppm"}, {"image/png", ".png"}};
	const char *ending = "";
	for (unsigned i = 0; mime && i < G_N_ELEMENTS(kinds); i++) {
		if (strcmp(kinds[i][0], mime) == 0)
			ending = kinds[i][1];
	}
	g_autoptr(GDateTime) now = g_date_time_new_now_local();
	g_autofree char *when = g_date_time_format(now, "%Y-%m-%d-%H:%M:%S");
	return g_strdup_printf("%s-%s%s", domain, when, ending);
}

bool cmd_screenshot(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	struct remote_domain_screenshot_ret ret;
	const char *name, *path;
	uint32_t screen = 0;
	bool created;
	if (!opt_string(sh, cmd, "file", &path) || opt_uint(sh, cmd, "screen", &screen) < 0 ||
	    !shell_domain(sh, cmd, &name, &dom))
		return false;
	if (!GET(sh, domain_screenshot, &ret, dom, screen, 0))
		return shell_fail(sh, "could not take a screenshot of %s", name);
	struct client_stream *stream = client_stream_new(sh->client, REMOTE_DOMAIN_SCREENSHOT);
	g_autofree char *file = path ? g_strdup(path) : picture_name(dom.name, ret.mime);
	auto_fd fd = open_new(file, &created);
	bool good = fd >= 0 || shell_fail(sh, "cannot create file %s", file);
	good = good && (receive(sh, stream, fd) || shell_fail(sh, "could not receive data from domain '%s'", name));
	good = good && (client_stream_finish(stream, shell_error(sh)) ||
			shell_fail(sh, "cannot close stream on domain '%s'", name));
	client_stream_free(stream);
	if (good)
		shell_extra(sh, "Screenshot saved to %s, with type of %s", file, ret.mime);
	else if (created)
		unlink(file);
	return good;
}
