/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * O_DIRECT writes that make a file longer run one at a time: the file system holds the file's lock
 * until the data is on the disk (ext4 and XFS do, since a crash must not show the new size without
 * it), and a ring hands each to a thread of the kernel that waits there. So a file whose end does not
 * matter is made longer before, in steps and without taking space, and gets its own length back when
 * it is closed. After a crash it stays longer: a hole at its end, which the formats that ask for this
 * (node->loose_end) never look at.
 */
#include "block/proto/file.h"

#include "base/bytes.h"
#include "base/log.h"

#include <errno.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* As much as there is already, so that small images need few steps too and stay small. */
enum { STEP_MIN = 1 << 20, STEP_MAX = 64 << 20 };

/* Beyond a limit of the process the attempt itself would be deadly (SIGXFSZ). */
static bool is_limited(void)
{
	struct rlimit limit;
	return getrlimit(RLIMIT_FSIZE, &limit) < 0 || limit.rlim_cur != RLIM_INFINITY;
}

/*
 * Zeroes count as well, though they would not wait: all that makes the file longer comes through
 * file_ahead_go(), so that its size is never smaller there than what somebody else has made it.
 */
bool file_ahead_due(const struct file_node *file, const struct block_request *request)
{
	const struct block_node *node = &file->node;
	bool writes = request->op == BLOCK_WRITE || request->op == BLOCK_WRITE_ZEROES;
	return writes && node->loose_end && node->growable && file->direct && !file->is_device &&
	       !file->stays_behind && request->offset + request->length > MAX(file->ahead, node->size);
}

void file_ahead_go(struct file_node *file, const struct block_request *request)
{
	g_mutex_lock(&file->ahead_lock);
	if (file_ahead_due(file, request)) {
		uint64_t end = request->offset + request->length;
		uint64_t ahead = align_up(end + CLAMP(end, STEP_MIN, STEP_MAX), STEP_MIN);
		/* If it fails, the write itself finds out what is wrong. */
		if (is_limited() || ftruncate(file->fd, ahead) < 0)
			file->stays_behind = true;
		else
			file->ahead = ahead;
	}
	g_mutex_unlock(&file->ahead_lock);
}

void file_ahead_end(struct file_node *file)
{
	struct stat st;
	/* Only what we made, and not if somebody else has gone on from there. */
	bool ours = file->ahead > file->node.size && fstat(file->fd, &st) == 0 &&
		    (uint64_t)st.st_size == file->ahead;
	if (ours && ftruncate(file->fd, file->node.size) < 0)
		log_warning("'%s' keeps a hole at its end: %s", file->node.filename, g_strerror(errno));
	file->ahead = 0;
}
