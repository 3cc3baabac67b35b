/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * -snapshot: writes go to a temporary file that vanishes with the process, reads come from there
 * where something was written and else from the base, which never changes.
 *
 * The unit is a 4 KiB cluster with a bit in `written`. A request is done cluster run by cluster run,
 * one step after the other; a write to a part of a cluster first copies the rest of it up. Writes
 * to one cluster are kept apart by letting only one request run at a time: this is for throw-away
 * sessions, not for throughput.
 */
#include "block/core/driver.h"

#include "base/bytes.h"
#include "base/error.h"
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CLUSTER 4096

struct overlay_node {
	struct block_node node;
	int fd;
	uint8_t *written; /* a bit for each cluster */
	struct block_request *queue, **queue_end, *current;
	uint64_t done;              /* bytes of `current` */
	struct block_request part;  /* the read from the base that `current` waits for */
	uint8_t edge[CLUSTER];      /* a cluster on its way up */
	struct iovec part_iov[64];
	bool stepping; /* step() is on the stack */
	bool waiting;  /* `part` is in flight: only base_done() may go on */
};

static bool is_written(const struct overlay_node *overlay, uint64_t cluster)
{
	return overlay->written[cluster / 8] >> (cluster % 8) & 1;
}

static void step(struct overlay_node *overlay);

/* Copy between `bytes` and the request's memory from `skip` on. */
static void copy_iov(const struct block_request *request, uint64_t skip, uint8_t *bytes,
		     uint64_t length, bool from_guest)
{
	for (unsigned i = 0; i < request->iov_count && length; i++) {
		size_t have = request->iov[i].iov_len;
		if (skip >= have) {
			skip -= have;
			continue;
		}
		size_t n = MIN(have - skip, length);
		uint8_t *memory = (uint8_t *)request->iov[i].iov_base + skip;
		memcpy(from_guest ? bytes : memory, from_guest ? memory : bytes, n);
		bytes += n;
		length -= n;
		skip = 0;
	}
}

static void finish_current(struct overlay_node *overlay, int result)
{
	struct block_request *request = overlay->current;
	overlay->current = NULL;
	block_complete(request, result);
}

static int file_io(int fd, bool write, uint8_t *bytes, uint64_t length, uint64_t offset)
{
	while (length) {
		ssize_t n = write ? pwrite(fd, bytes, length, offset) : pread(fd, bytes, length, offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		bytes += n;
		offset += n;
		length -= n;
	}
	return 0;
}

/* overlay->edge holds the cluster as it was: change what the request says and keep it. */
static int write_cluster(struct overlay_node *overlay, uint64_t cluster)
{
	struct block_request *request = overlay->current;
	uint64_t offset = request->offset + overlay->done, inside = offset % CLUSTER;
	uint64_t n = MIN(CLUSTER - inside, request->length - overlay->done);
	if (request->op == BLOCK_WRITE)
		copy_iov(request, overlay->done, overlay->edge + inside, n, true);
	else
		memset(overlay->edge + inside, 0, n);
	int rc = file_io(overlay->fd, true, overlay->edge, CLUSTER, cluster * CLUSTER);
	if (rc == 0) {
		overlay->written[cluster / 8] |= 1 << (cluster % 8);
		overlay->done += n;
	}
	return rc;
}

static void base_done(struct block_request *part, int result)
{
	struct overlay_node *overlay =
		(struct overlay_node *)((char *)part - offsetof(struct overlay_node, part));
	struct block_request *request = overlay->current;
	overlay->waiting = false;
	if (result == 0 && request->op == BLOCK_READ)
		overlay->done += part->length;
	else if (result == 0)
		result = write_cluster(overlay, (request->offset + overlay->done) / CLUSTER);
	if (result)
		finish_current(overlay, result);
	step(overlay);
}

static void submit_part(struct overlay_node *overlay, uint64_t offset, uint64_t length,
			unsigned iov_count)
{
	overlay->part = (struct block_request){
		.op = BLOCK_READ, .offset = offset, .length = length,
		.iov = overlay->part_iov, .iov_count = iov_count, .done = base_done,
	};
	overlay->waiting = true;
	block_submit(overlay->node.file, &overlay->part);
}

/* Fetch a cluster that a write changes a part of into `edge`. */
static void read_edge(struct overlay_node *overlay, uint64_t cluster)
{
	uint64_t offset = cluster * CLUSTER;
	uint64_t length = MIN(CLUSTER, overlay->node.size - offset);
	memset(overlay->edge, 0, CLUSTER);
	overlay->part_iov[0] = (struct iovec){overlay->edge, length};
	submit_part(overlay, offset, length, 1);
}

/* Read the run of unwritten clusters at the current position straight into the guest's memory. */
static void read_run(struct overlay_node *overlay)
{
	struct block_request *request = overlay->current;
	uint64_t offset = request->offset + overlay->done, end = request->offset + request->length;
	uint64_t run = offset;
	while (run < end && !is_written(overlay, run / CLUSTER))
		run = MIN(end, (run / CLUSTER + 1) * CLUSTER);

	uint64_t skip = overlay->done, length = 0;
	unsigned count = 0;
	for (unsigned i = 0; i < request->iov_count && length < run - offset; i++) {
		size_t have = request->iov[i].iov_len;
		if (skip >= have) {
			skip -= have;
			continue;
		}
		size_t n = MIN(have - skip, run - offset - length);
		overlay->part_iov[count++] =
			(struct iovec){(uint8_t *)request->iov[i].iov_base + skip, n};
		length += n;
		skip = 0;
		if (count == G_N_ELEMENTS(overlay->part_iov))
			break;
	}
	submit_part(overlay, offset, length, count);
}

/* One cluster of the current request, or a run of them that the base has. */
static void step_cluster(struct overlay_node *overlay)
{
	struct block_request *request = overlay->current;
	uint64_t offset = request->offset + overlay->done, cluster = offset / CLUSTER;
	uint64_t n = MIN(CLUSTER - offset % CLUSTER, request->length - overlay->done);
	int rc = 0;

	if (request->op == BLOCK_READ && is_written(overlay, cluster)) {
		rc = file_io(overlay->fd, false, overlay->edge, CLUSTER, cluster * CLUSTER);
		if (rc == 0)
			copy_iov(request, overlay->done, overlay->edge + offset % CLUSTER, n, false);
		overlay->done += n;
	} else if (request->op == BLOCK_READ) {
		read_run(overlay);
	} else if (n < CLUSTER && !is_written(overlay, cluster)) {
		read_edge(overlay, cluster);
	} else {
		if (n < CLUSTER)
			rc = file_io(overlay->fd, false, overlay->edge, CLUSTER, cluster * CLUSTER);
		if (rc == 0)
			rc = write_cluster(overlay, cluster);
	}
	if (rc)
		finish_current(overlay, rc);
}

static void step(struct overlay_node *overlay)
{
	/* A finished request's owner may submit the next one, and so come here, from anywhere. */
	if (overlay->stepping || overlay->waiting)
		return;
	overlay->stepping = true;
	while (!overlay->waiting) {
		if (!overlay->current) {
			overlay->current = overlay->queue;
			if (!overlay->current)
				break;
			overlay->queue = overlay->current->next;
			if (!overlay->queue)
				overlay->queue_end = &overlay->queue;
			overlay->done = 0;
		}
		if (overlay->done == overlay->current->length) {
			finish_current(overlay, 0);
			continue;
		}
		step_cluster(overlay);
	}
	overlay->stepping = false;
}

static void overlay_submit(struct block_node *node, struct block_request *request)
{
	struct overlay_node *overlay = (struct overlay_node *)node;
	/* Nothing here outlives the process, so there is nothing to flush or to give back. */
	if (request->op == BLOCK_FLUSH || request->op == BLOCK_DISCARD) {
		block_complete(request, 0);
		return;
	}
	request->next = NULL;
	*overlay->queue_end = request;
	overlay->queue_end = &request->next;
	if (!overlay->current)
		step(overlay);
}

static void overlay_close(struct block_node *node)
{
	struct overlay_node *overlay = (struct overlay_node *)node;
	fd_clear(&overlay->fd);
	g_free(overlay->written);
}

static const struct block_driver overlay_driver = {
	.name = "overlay",
	.kind = BLOCK_FILTER,
	.submit = overlay_submit,
	.close = overlay_close,
};

/* An unnamed file in $TMPDIR, /var/tmp or /tmp. */
static int open_temporary(GError **error)
{
	const char *folders[] = {g_getenv("TMPDIR"), "/var/tmp", "/tmp"};
	int why = ENOENT;
	for (unsigned i = 0; i < G_N_ELEMENTS(folders); i++) {
		int fd = folders[i] ? open(folders[i], O_TMPFILE | O_RDWR | O_CLOEXEC, 0600) : -1;
		if (fd >= 0)
			return fd;
		why = folders[i] ? errno : why;
	}
	error_set_errno(error, why, "cannot make a temporary file for -snapshot: set TMPDIR to a folder "
			"that can be written");
	return -1;
}

struct block_node *block_overlay_open(struct block_node *base,
				      const struct block_open_options *options, GError **error)
{
	int fd = open_temporary(error);
	if (fd < 0)
		return NULL;
	struct overlay_node *overlay = g_new0(struct overlay_node, 1);
	block_node_init(&overlay->node, &overlay_driver, options, base->loop);
	overlay->node.filename = g_strdup(base->filename);
	overlay->node.format_name = base->format_name;
	overlay->node.readonly = options->readonly;
	overlay->node.size = base->size;
	overlay->node.limits = base->limits;
	overlay->node.limits.request_alignment = 1;
	overlay->node.file = base;
	overlay->fd = fd;
	overlay->written = g_malloc0(base->size / CLUSTER / 8 + 1);
	overlay->queue_end = &overlay->queue;
	return &overlay->node;
}
