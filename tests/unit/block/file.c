/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The file driver on io_uring and on threads, and the throw-away overlay over it. */
#include "aio/loop.h"
#include "base/error.h"
#include "block/core/block.h"
#include "block/core/image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define IMAGE_SIZE (1 << 20)

struct fixture {
	char path[64];
	struct aio_loop *loop;
	uint8_t *model; /* what the disk must contain */
};

static void setup(struct fixture *f, gconstpointer data)
{
	strcpy(f->path, "/tmp/berth-block-XXXXXX");
	int fd = mkstemp(f->path);
	f->model = g_malloc(IMAGE_SIZE);
	for (unsigned i = 0; i < IMAGE_SIZE; i++)
		f->model[i] = g_random_int();
	g_assert_cmpint(write(fd, f->model, IMAGE_SIZE), ==, IMAGE_SIZE);
	close(fd);
	f->loop = aio_loop_new(NULL);
}

static void teardown(struct fixture *f, gconstpointer data)
{
	aio_loop_free(f->loop);
	unlink(f->path);
	g_free(f->model);
}

static struct block_node *open_image(struct fixture *f, struct block_open_options options)
{
	g_autoptr(GError) error = NULL;
	options.filename = f->path;
	struct block_node *node = block_open(&options, f->loop, &error);
	g_assert_no_error(error);
	return node;
}

struct pending {
	struct block_request request;
	struct iovec iov[3];
	uint8_t *bytes;
	bool done;
	int result;
};

static void pending_done(struct block_request *request, int result)
{
	struct pending *p = (struct pending *)request;
	p->done = true;
	p->result = result;
}

/* Random requests of all kinds, several in flight on disjoint parts, against a model in memory. */
static void random_requests(struct fixture *f, struct block_node *node, uint64_t align)
{
	enum { PARTS = 8, PART = IMAGE_SIZE / PARTS };
	for (unsigned round = 0; round < 60; round++) {
		struct pending p[PARTS] = {0};
		block_plug(node);
		for (unsigned i = 0; i < PARTS; i++) {
			uint64_t offset = g_random_int_range(0, PART / 2) / align * align;
			uint64_t length = (g_random_int_range(1, PART / 2) + align - 1) / align * align;
			uint64_t at = i * PART + offset;
			unsigned cut = g_random_int_range(0, length / align + 1) * align;
			p[i].bytes = aligned_alloc(4096, PART);
			for (unsigned k = 0; k < length; k++)
				p[i].bytes[k] = g_random_int();
			p[i].iov[0] = (struct iovec){p[i].bytes, cut};
			p[i].iov[1] = (struct iovec){p[i].bytes + cut, length - cut};
			p[i].request = (struct block_request){
				.op = (enum block_op[]){BLOCK_READ, BLOCK_WRITE, BLOCK_WRITE_ZEROES,
							BLOCK_READ}[g_random_int_range(0, 4)],
				.flags = g_random_int_range(0, 2) ? BLOCK_REQ_FUA : BLOCK_REQ_MAY_UNMAP,
				.offset = at, .length = length, .iov = p[i].iov, .iov_count = 2,
				.done = pending_done,
			};
			if (p[i].request.op == BLOCK_WRITE)
				memcpy(f->model + at, p[i].bytes, length);
			else if (p[i].request.op == BLOCK_WRITE_ZEROES)
				memset(f->model + at, 0, length);
			block_submit(node, &p[i].request);
		}
		block_unplug(node);
		block_drain(node);
		for (unsigned i = 0; i < PARTS; i++) {
			g_assert_true(p[i].done);
			g_assert_cmpint(p[i].result, ==, 0);
			if (p[i].request.op == BLOCK_READ)
				g_assert_cmpmem(p[i].bytes, p[i].request.length,
						f->model + p[i].request.offset, p[i].request.length);
			free(p[i].bytes);
		}
	}
}

static void check_whole(struct fixture *f, struct block_node *node)
{
	g_autofree uint8_t *bytes = g_malloc(IMAGE_SIZE);
	g_assert_true(block_read_sync(node, 0, bytes, IMAGE_SIZE, NULL));
	g_assert_cmpmem(bytes, IMAGE_SIZE, f->model, IMAGE_SIZE);
}

static void test_uring(struct fixture *f, gconstpointer data)
{
	struct block_node *node =
		open_image(f, (struct block_open_options){.format = "raw", .discard = true});
	random_requests(f, node, 512);
	check_whole(f, node);
	block_close(node);
}

static void test_threads(struct fixture *f, gconstpointer data)
{
	struct block_node *node = open_image(
		f, (struct block_open_options){.format = "raw", .aio = BLOCK_AIO_THREADS,
					       .writethrough = true, .detect_zeroes = true});
	random_requests(f, node, 512);
	check_whole(f, node);
	block_close(node);
}

static void test_direct(struct fixture *f, gconstpointer data)
{
	g_autoptr(GError) error = NULL;
	struct block_open_options options = {.filename = f->path, .format = "raw", .direct = true};
	struct block_node *node = block_open(&options, f->loop, &error);
	if (!node && strstr(error->message, "O_DIRECT")) {
		g_test_skip("the file system of /tmp has no O_DIRECT");
		return;
	}
	g_assert_no_error(error);
	random_requests(f, node, block_limits(node)->request_alignment);
	/* A buffer that no kernel would take for O_DIRECT. */
	g_autofree uint8_t *bytes = g_malloc(4096 + 1);
	g_assert_true(block_read_sync(node, 0, bytes + 1, 4096, &error));
	g_assert_cmpmem(bytes + 1, 4096, f->model, 4096);
	block_close(node);
}

static uint64_t length_of(const char *path)
{
	struct stat st;
	g_assert_cmpint(stat(path, &st), ==, 0);
	return st.st_size;
}

/* A new qcow2 image in the fixture's place, opened with O_DIRECT; NULL: skipped. */
static struct block_node *open_direct_qcow2(struct fixture *f)
{
	g_autoptr(GError) error = NULL;
	g_assert_true(block_create(f->path, "qcow2", 8 << 20, NULL, f->loop, &error));
	struct block_open_options options = {.filename = f->path, .format = "qcow2", .direct = true};
	struct block_node *node = block_open(&options, f->loop, &error);
	if (!node && strstr(error->message, "O_DIRECT"))
		g_test_skip("the file system of /tmp has no O_DIRECT");
	else
		g_assert_no_error(error);
	return node;
}

/* While it is written, an image's file is longer than need be; closing it, or becoming read-only,
 * gives it the length that it has without O_DIRECT. A copy made meanwhile, as a crash leaves it, is
 * whole, too. */
static void test_ahead(struct fixture *f, gconstpointer data)
{
	g_autofree char *crashed = g_strconcat(f->path, ".crashed", NULL);
	g_autofree char *copy = g_strdup_printf("cp %s %s", f->path, crashed);
	struct block_node *node = open_direct_qcow2(f);
	if (!node)
		return;
	uint64_t before = length_of(f->path);
	for (unsigned at = 0; at < 4; at++)
		g_assert_true(block_write_sync(node, at * 100000, f->model, 100000, NULL));
	g_assert_true(block_flush_sync(node, NULL));
	g_assert_cmpuint(length_of(f->path), >=, before + (1 << 20));
	g_assert_cmpint(system(copy), ==, 0);
	g_assert_true(block_set_readonly(node, true, NULL));
	uint64_t after = length_of(f->path);
	g_assert_cmpuint(after, <, before + (1 << 20));
	block_close(node);
	g_assert_cmpuint(length_of(f->path), ==, after);

	struct block_open_options options = {.filename = crashed, .format = "qcow2", .direct = true};
	g_autoptr(GError) error = NULL;
	node = block_open(&options, f->loop, &error);
	g_assert_no_error(error);
	g_autofree uint8_t *bytes = g_malloc(100000);
	g_assert_true(block_write_sync(node, 1 << 20, f->model, 100000, NULL));
	for (unsigned at = 0; at < 4; at++) {
		g_assert_true(block_read_sync(node, at * 100000, bytes, 100000, NULL));
		g_assert_cmpmem(bytes, 100000, f->model, 100000);
	}
	struct block_check check = {0};
	g_assert_true(block_check(node, &check, &error));
	g_assert_cmpuint(check.corruptions, ==, 0);
	block_close(node);
	unlink(crashed);
}

static void test_snapshot(struct fixture *f, gconstpointer data)
{
	g_autofree uint8_t *before = g_memdup2(f->model, IMAGE_SIZE);
	struct block_node *node =
		open_image(f, (struct block_open_options){.format = "raw", .snapshot = true});
	random_requests(f, node, 512);
	check_whole(f, node);
	block_close(node);

	memcpy(f->model, before, IMAGE_SIZE);
	node = open_image(f, (struct block_open_options){.format = "raw", .readonly = true});
	check_whole(f, node);
	block_close(node);
}

/* Reads that submit the next one from their completion, as a disk device does. */
struct chained {
	struct pending pending;
	struct block_node *node;
	unsigned left;
};

static void chained_done(struct block_request *request, int result)
{
	struct chained *chain = (struct chained *)request;
	g_assert_cmpint(result, ==, 0);
	if (--chain->left == 0)
		return;
	request->offset = g_random_int_range(0, (IMAGE_SIZE - 65536) / 512) * 512;
	block_submit(chain->node, request);
}

static void test_snapshot_chained(struct fixture *f, gconstpointer data)
{
	struct block_node *node =
		open_image(f, (struct block_open_options){.format = "raw", .snapshot = true});
	struct chained chains[8] = {0};
	for (unsigned i = 0; i < G_N_ELEMENTS(chains); i++) {
		struct chained *c = &chains[i];
		c->node = node;
		c->left = 200;
		c->pending.bytes = g_malloc(65536);
		c->pending.iov[0] = (struct iovec){c->pending.bytes, 65536};
		c->pending.request = (struct block_request){
			.op = BLOCK_READ, .offset = i * 65536, .length = 65536,
			.iov = c->pending.iov, .iov_count = 1, .done = chained_done,
		};
	}
	/* Some clusters in between are the overlay's own. */
	for (uint64_t at = 0; at < IMAGE_SIZE; at += 5 * 4096) {
		memset(f->model + at, at >> 12, 4096);
		g_assert_true(block_write_sync(node, at, f->model + at, 4096, NULL));
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(chains); i++)
		block_submit(node, &chains[i].pending.request);
	block_drain(node);
	for (unsigned i = 0; i < G_N_ELEMENTS(chains); i++) {
		g_assert_cmpuint(chains[i].left, ==, 0);
		g_assert_cmpmem(chains[i].pending.bytes, 65536,
				f->model + chains[i].pending.request.offset, 65536);
		g_free(chains[i].pending.bytes);
	}
	block_close(node);
}

static void test_refusals(struct fixture *f, gconstpointer data)
{
	uint8_t bytes[512];
	struct block_node *node =
		open_image(f, (struct block_open_options){.format = "raw", .readonly = true});
	g_autoptr(GError) error = NULL;
	g_assert_false(block_write_sync(node, 0, bytes, 512, &error));
	g_assert_nonnull(strstr(error->message, "Read-only"));
	g_clear_error(&error);
	g_assert_false(block_read_sync(node, IMAGE_SIZE - 256, bytes, 512, &error));
	g_clear_error(&error);
	g_assert_false(block_read_sync(node, UINT64_MAX - 100, bytes, 512, NULL));
	block_close(node);

	struct block_open_options missing = {.filename = "/nonexistent.img"};
	g_assert_null(block_open(&missing, f->loop, &error));
	g_assert_nonnull(strstr(error->message, "'/nonexistent.img'"));
}

static void test_locks(struct fixture *f, gconstpointer data)
{
	struct block_node *first = open_image(f, (struct block_open_options){.format = "raw"});
	g_autoptr(GError) error = NULL;
	struct block_open_options options = {.filename = f->path, .format = "raw"};
	g_assert_null(block_open(&options, f->loop, &error));
	g_assert_error(error, BERTH_ERROR, BERTH_ERR_BUSY);
	block_close(first);

	struct block_open_options readonly = {.filename = f->path, .format = "raw", .readonly = true};
	struct block_node *a = block_open(&readonly, f->loop, NULL);
	struct block_node *b = block_open(&readonly, f->loop, NULL);
	g_assert_nonnull(a);
	g_assert_nonnull(b);
	g_assert_null(block_open(&options, f->loop, NULL));
	block_close(a);
	block_close(b);
}

static void test_probe(struct fixture *f, gconstpointer data)
{
	int fd = open(f->path, O_WRONLY);
	g_assert_cmpint(pwrite(fd, "LUKS\xba\xbe\0\3", 8, 0), ==, 8);
	close(fd);
	g_autoptr(GError) error = NULL;
	struct block_open_options options = {.filename = f->path};
	g_assert_null(block_open(&options, f->loop, &error));
	g_assert_error(error, BERTH_ERROR, BERTH_ERR_NOT_SUPPORTED);
	g_assert_nonnull(strstr(error->message, "LUKS volume of version 3"));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	static const struct {
		const char *name;
		void (*fn)(struct fixture *f, gconstpointer data);
	} tests[] = {
		{"/block/uring", test_uring},       {"/block/threads", test_threads},
		{"/block/direct", test_direct},     {"/block/ahead", test_ahead},
		{"/block/snapshot", test_snapshot},
		{"/block/snapshot-chained", test_snapshot_chained},
		{"/block/refusals", test_refusals}, {"/block/locks", test_locks},
		{"/block/probe", test_probe},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(tests); i++)
		g_test_add(tests[i].name, struct fixture, NULL, setup, tests[i].fn, teardown);
	return g_test_run();
}
