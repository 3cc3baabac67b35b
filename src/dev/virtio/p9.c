/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * 9P transport device: requests from the queue to a thread pool and answers back. The loop's thread
 * pops and pushes; a pool thread reads the request and writes the answer in the chain's memory, so
 * a slow disk holds up neither the loop nor other requests. Tflush waits for its request (9P rules
 * that its answer comes after), and nothing is ever cut short.
 */
#include "dev/virtio/p9_int.h"

#include "base/bytes.h"
#include "base/error.h"
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define QUEUE_SIZE  128
#define F_MOUNT_TAG 0
#define TAG_MAX     32

const char *const virtio_9p_security_names[] = {"passthrough", "mapped-xattr", "none", "mapped", NULL};

/* ---- One request, on a pool thread ---- */

static p9_op *operation(uint8_t type)
{
	static p9_op *const table[] = {
		[P9_TSTATFS] = p9_statfs, [P9_TLOPEN] = p9_lopen, [P9_TLCREATE] = p9_lcreate,
		[P9_TSYMLINK] = p9_symlink_op, [P9_TMKNOD] = p9_mknod_op, [P9_TRENAME] = p9_rename,
		[P9_TREADLINK] = p9_readlink_op, [P9_TGETATTR] = p9_getattr,
		[P9_TSETATTR] = p9_setattr, [P9_TXATTRWALK] = p9_xattrwalk,
		[P9_TXATTRCREATE] = p9_xattrcreate, [P9_TREADDIR] = p9_readdir,
		[P9_TFSYNC] = p9_fsync, [P9_TLOCK] = p9_lock, [P9_TGETLOCK] = p9_getlock,
		[P9_TLINK] = p9_link, [P9_TMKDIR] = p9_mkdir, [P9_TRENAMEAT] = p9_renameat,
		[P9_TUNLINKAT] = p9_unlinkat, [P9_TVERSION] = p9_version, [P9_TATTACH] = p9_attach,
		[P9_TWALK] = p9_walk, [P9_TREAD] = p9_read, [P9_TWRITE] = p9_write,
		[P9_TCLUNK] = p9_clunk, [P9_TREMOVE] = p9_remove,
	};
	return type < G_N_ELEMENTS(table) ? table[type] : NULL;
}

static void finish_header(struct p9_request *request, uint8_t type, uint64_t length)
{
	uint8_t header[P9_HEADER];
	le32_store(header, length);
	header[4] = type;
	le16_store(header + 5, request->tag);
	virtq_write(request->chain, 0, header, sizeof(header));
	request->length = length;
}

static void request_work(void *opaque)
{
	struct p9_request *request = opaque;
	struct p9_server *server = request->server;
	struct virtq_chain *chain = request->chain;
	uint8_t header[P9_HEADER];
	virtq_read(chain, 0, header, sizeof(header));
	uint32_t size = le32_load(header);
	uint32_t msize = atomic_load(&server->msize);
	struct p9_in in = {.chain = chain, .at = P9_HEADER, .end = size};
	struct p9_out out = {.chain = chain, .at = P9_HEADER, .end = MIN(chain->in_bytes, msize)};
	/* The guest may have changed it since the loop looked. */
	in.bad = size < P9_HEADER || size > chain->out_bytes;
	p9_op *op = operation(request->type);
	int error = in.bad ? EINVAL : op ? op(server, &in, &out) : EOPNOTSUPP;
	if (!error && out.bad)
		error = EMSGSIZE;
	if (!error) {
		finish_header(request, request->type + 1, out.at);
		return;
	}
	uint8_t code[4];
	le32_store(code, error);
	virtq_write(chain, P9_HEADER, code, sizeof(code));
	finish_header(request, P9_RLERROR, P9_HEADER + 4);
}

/* ---- Requests on the loop ---- */

static void request_release(struct p9_request *request)
{
	struct p9_server *server = request->server;
	struct virtqueue *vq = server->device->vq;
	virtq_push(vq, request->chain, request->length);
	request->active = false;
	request->next = server->free;
	server->free = request;
}

static void request_done(void *opaque)
{
	struct p9_request *request = opaque;
	struct p9_request *flush = request->flushes;
	struct virtqueue *vq = request->server->device->vq;
	request->flushes = NULL;
	request_release(request);
	while (flush) {
		struct p9_request *next = flush->next;
		finish_header(flush, P9_TFLUSH + 1, P9_HEADER);
		request_release(flush);
		flush = next;
	}
	virtq_notify(vq);
}

/* True: the answer has to wait for the request of that tag. */
static bool flush_waits(struct p9_server *server, struct p9_request *flush)
{
	uint8_t old[2];
	if (virtq_read(flush->chain, P9_HEADER, old, 2) != 2)
		return false;
	for (unsigned i = 0; i < server->request_count; i++) {
		struct p9_request *other = &server->requests[i];
		if (!other->active || other == flush || other->type == P9_TFLUSH ||
		    other->tag != le16_load(old))
			continue;
		flush->next = other->flushes;
		other->flushes = flush;
		return true;
	}
	return false;
}

static void request_start(struct p9_server *server, struct virtq_chain *chain,
			  const uint8_t header[P9_HEADER])
{
	struct p9_request *request = server->free;
	g_assert(request); /* as many as the queue has entries */
	server->free = request->next;
	request->chain = chain;
	request->type = header[4];
	request->tag = le16_load(header + 5);
	request->length = 0;
	request->active = true;
	request->flushes = NULL;
	request->next = NULL;
	if (request->type != P9_TFLUSH) {
		aio_pool_submit(server->pool, &request->job);
	} else if (!flush_waits(server, request)) {
		finish_header(request, P9_TFLUSH + 1, P9_HEADER);
		request_release(request);
	}
}

static void fs_kick(struct virtio_device *vdev, struct virtqueue *vq)
{
	struct p9_server *server = ((struct virtio_9p *)vdev)->server;
	unsigned budget = 2 * virtq_size(vq);
	do {
		struct virtq_chain *chain;
		virtq_disable_kicks(vq);
		while (budget && (chain = virtq_pop(vq))) {
			uint8_t header[P9_HEADER];
			/* Room for an error, at the least. */
			if (virtq_read(chain, 0, header, P9_HEADER) != P9_HEADER ||
			    chain->in_bytes < P9_HEADER + 4) {
				virtio_broken(vdev, "request or room for its answer is too small");
				virtq_drop(vq, chain);
				break;
			}
			request_start(server, chain, header);
			budget--;
		}
		if (!budget) {
			virtq_kick_later(vq);
			break;
		}
	} while (virtq_enable_kicks(vq));
	virtq_notify(vq);
}

/* ---- The device ---- */

static uint64_t fs_features(struct virtio_device *vdev)
{
	return VIRTIO_BIT(F_MOUNT_TAG);
}

static void fs_read_config(struct virtio_device *vdev, uint8_t *config)
{
	const struct virtio_9p *fs = (struct virtio_9p *)vdev;
	memset(config, 0, 2 + TAG_MAX);
	le16_store(config, strlen(fs->mount_tag));
	memcpy(config + 2, fs->mount_tag, strlen(fs->mount_tag));
}

static void fs_reset(struct virtio_device *vdev)
{
	struct virtio_9p *fs = (struct virtio_9p *)vdev;
	p9_fid_remove_all(fs->server);
	atomic_store(&fs->server->msize, P9_MSIZE_MIN);
}

static bool fs_open(struct virtio_device *vdev, GError **error)
{
	struct virtio_9p *fs = (struct virtio_9p *)vdev;
	if (!fs->mount_tag || !fs->mount_tag[0] || strlen(fs->mount_tag) > TAG_MAX)
		return error_set(error, BERTH_ERR_INVALID,
				 "%s needs mount_tag=NAME of 1 to %d characters",
				 vdev->owner->class->name, TAG_MAX);
	if (!fs->path)
		return error_set(error, BERTH_ERR_INVALID,
				 "%s needs fsdev=ID of a -fsdev, or path=FOLDER",
				 vdev->owner->class->name);
	auto_fd root = open(fs->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct stat st;
	if (root < 0 || fstat(root, &st) < 0)
		return error_set_errno(error, errno, "cannot share folder '%s'", fs->path);
	if (!fs->threads || fs->threads > 64)
		return error_set(error, BERTH_ERR_INVALID, "threads=%u is not from 1 to 64",
				 fs->threads);
	struct p9_server *server = fs->server = g_new0(struct p9_server, 1);
	server->device = fs;
	/* "mapped" is an old name of mapped-xattr. */
	server->security = fs->security == 3 ? P9_MAPPED_XATTR : fs->security;
	server->readonly = fs->readonly;
	server->root = fd_steal(&root);
	server->root_dev = st.st_dev;
	pthread_rwlock_init(&server->paths, NULL);
	pthread_mutex_init(&server->table, NULL);
	return true;
}

static bool fs_create(struct virtio_device *vdev, GError **error)
{
	struct virtio_9p *fs = (struct virtio_9p *)vdev;
	struct p9_server *server = fs->server;
	fs->vq = virtio_add_queue(vdev, QUEUE_SIZE, NULL, error);
	if (!fs->vq)
		return false;
	server->pool = aio_pool_new(fs->threads);
	server->requests = g_new0(struct p9_request, QUEUE_SIZE);
	server->request_count = QUEUE_SIZE;
	for (unsigned i = 0; i < QUEUE_SIZE; i++) {
		struct p9_request *request = &server->requests[i];
		request->server = server;
		request->job = (struct aio_job){.work = request_work, .done = request_done,
						.opaque = request, .loop = virtq_loop(fs->vq)};
		request->next = server->free;
		server->free = request;
	}
	return true;
}

static void fs_destroy(struct virtio_device *vdev)
{
	struct virtio_9p *fs = (struct virtio_9p *)vdev;
	struct p9_server *server = fs->server;
	if (!server)
		return;
	if (server->pool)
		aio_pool_free(server->pool);
	p9_fid_remove_all(server);
	close(server->root);
	pthread_rwlock_destroy(&server->paths);
	pthread_mutex_destroy(&server->table);
	g_free(server->requests);
	g_free(server);
	fs->server = NULL;
}

const struct virtio_type virtio_9p_type = {
	.id = 9,
	.name = "virtio-9p",
	.pci_class = 0x018000,
	.config_size = 2 + TAG_MAX,
	.open = fs_open,
	.create = fs_create,
	.destroy = fs_destroy,
	.features = fs_features,
	.read_config = fs_read_config,
	.reset = fs_reset,
	.kick = fs_kick,
};
