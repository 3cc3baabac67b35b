/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Power cuts. An image is on a disk in memory that keeps apart what was flushed and what was only
 * written. At a random write the power fails: of the unflushed writes some arrive, in part or not
 * at all. What is left is opened: there may be leaks, but no corruption, and every sector holds
 * what was last flushed or something written after that. Cuts are seeded: a failure can be repeated.
 *
 *   test-block-crash                  what make test runs
 *   BERTH_CRASHES=500 test-...        a longer run
 */
#include "crash_disk.h"

#include "base/bytes.h"
#include "block/core/object.h"

#include <string.h>

#define SIZE     (4 << 20)  /* of the guest's disk */
#define BLOCK    4096
#define BLOCKS   (SIZE / BLOCK)
#define DEPTH    8

/* --- the guest --------------------------------------------------------------------------------------------*/

struct layout {
	const char *name, *format;
	uint64_t cluster; /* what may be written compressed; 0: nothing */
	const char *const *pairs;
};

struct guest {
	struct aio_loop *loop;
	struct block_graph *graph;
	struct disk *disk;
	struct block_node *node;
	GRand *rand;
	const struct layout *layout;
	uint32_t version;
	uint32_t written[BLOCKS], durable[BLOCKS]; /* versions; 0 and odd ones are zeroes */
	uint32_t zero_since[BLOCKS];               /* the last version that was zeroes */
	bool encrypted;
	bool busy[BLOCKS];
};

struct op {
	struct guest *guest;
	struct block_request request;
	struct iovec iov;
	uint32_t first, count, version;
	uint8_t *bytes;
	bool done;
};

static void op_done(struct block_request *request, int result)
{
	struct op *op = (struct op *)((char *)request - offsetof(struct op, request));
	struct guest *g = op->guest;
	g_assert_cmpint(result, ==, 0);
	for (uint32_t i = 0; i < op->count; i++)
		g->busy[op->first + i] = false;
	op->done = true;
	g_free(op->bytes);
	op->bytes = NULL;
}

static void stamp(uint8_t *bytes, uint32_t first, uint32_t count, uint32_t version)
{
	for (uint32_t sector = 0; sector < count * BLOCK / 512; sector++) {
		le32_store(bytes + sector * 512, first + sector / (BLOCK / 512));
		le32_store(bytes + sector * 512 + 4, version);
	}
}

/* Start a random request on blocks that no other is using; false: there were none. */
static bool start(struct guest *g, struct op *op)
{
	unsigned kind = g_rand_int_range(g->rand, 0, 10);
	uint32_t per_cluster = g->layout->cluster / BLOCK;
	bool packed = kind == 0 && per_cluster && !g->encrypted, zero = kind == 1 || kind == 2;
	uint32_t first = g_rand_int_range(g->rand, 0, BLOCKS), count = g_rand_int_range(g->rand, 1, 40);
	if (packed) {
		first = first / per_cluster * per_cluster;
		count = per_cluster;
	}
	count = MIN(count, BLOCKS - first);
	for (uint32_t i = 0; i < count; i++)
		if (g->busy[first + i])
			return false;
	/* Even versions are data, odd ones zeroes. */
	g->version += 2;
	*op = (struct op){.guest = g, .first = first, .count = count,
			  .version = g->version | (zero ? 1 : 0)};
	if (!zero) {
		op->bytes = g_malloc0(count * BLOCK);
		stamp(op->bytes, first, count, op->version);
	}
	for (uint32_t i = 0; i < count; i++) {
		g->busy[first + i] = true;
		g->written[first + i] = op->version;
		if (zero)
			g->zero_since[first + i] = op->version;
	}
	op->iov = (struct iovec){op->bytes, count * BLOCK};
	op->request = (struct block_request){
		.op = zero ? BLOCK_WRITE_ZEROES : BLOCK_WRITE,
		.flags = packed ? BLOCK_REQ_COMPRESSED : kind == 1 ? BLOCK_REQ_MAY_UNMAP : 0,
		.offset = (uint64_t)first * BLOCK, .length = (uint64_t)count * BLOCK,
		.iov = &op->iov, .iov_count = zero ? 0 : 1, .done = op_done};
	block_submit(g->node, &op->request);
	return true;
}

static void flush(struct guest *g)
{
	uint32_t before[BLOCKS];
	bool busy[BLOCKS];
	memcpy(before, g->written, sizeof(before));
	memcpy(busy, g->busy, sizeof(busy));
	g_assert_cmpint(block_flush(g->node), ==, 0);
	if (g->disk->cut)
		return; /* the power failed during this flush: it promised nothing */
	for (unsigned i = 0; i < BLOCKS; i++)
		if (!busy[i])
			g->durable[i] = before[i];
}

static void check_sector(const struct guest *g, uint32_t block, const uint8_t *sector)
{
	uint32_t version = le32_load(sector + 4), durable = g->durable[block];
	if (version == 0) {
		bool zero = durable == 0 || durable & 1 || g->zero_since[block] > durable;
		if (!zero)
			g_error("block %u is zero, but version %u was flushed", block, durable);
		return;
	}
	g_assert_cmpuint(le32_load(sector), ==, block);
	if (version < durable)
		g_error("block %u has version %u, but %u was flushed", block, version, durable);
	g_assert_cmpuint(version, <=, MAX(g->written[block], g->version));
}

/* What the power cut left must be an image with all that was promised. */
static void inspect(struct guest *g)
{
	g_autofree uint8_t *left = g_memdup2(g->disk->cut, DISK_MAX);
	uint64_t end = g->disk->cut_end;
	block_close(g->node);
	block_close(&g->disk->node);
	g->disk = disk_new(g->graph, g->loop, left, end, 1);
	struct block_node *node = disk_open_image(g->graph, g->loop, g->layout->format, g->encrypted, false);
	g_autofree uint8_t *bytes = g_malloc(SIZE);
	g_assert_cmpint(block_pread(node, 0, bytes, SIZE), ==, 0);
	for (unsigned i = 0; i < SIZE / 512; i++)
		check_sector(g, i / (BLOCK / 512), bytes + i * 512);
	disk_check_image(node);
	block_close(node);
}

static void make_image(struct guest *g)
{
	const char *const *pairs = g->layout->pairs;
	json_t *secret = json_pack("{s:s}", "data", "swordfish");
	for (unsigned i = 0; pairs[i]; i += 2)
		g->encrypted |= g_str_equal(pairs[i], "encrypt.key-secret");
	g_assert_true(block_object_add(g->graph, "secret", "s", secret, NULL));
	json_decref(secret);
	disk_format(g->disk, g->layout->format, SIZE, pairs);
}

static void one_crash(uint32_t seed, const struct layout *layout)
{
	g_autofree struct guest *g = g_new0(struct guest, 1);
	struct op ops[DEPTH] = {0};
	g->layout = layout;
	g->loop = aio_loop_new(NULL);
	g->graph = block_graph_new(g->loop);
	g->rand = g_rand_new_with_seed(seed);
	g->disk = disk_new(g->graph, g->loop, NULL, 0, seed + 1);
	make_image(g);
	g->node = disk_open_image(g->graph, g->loop, layout->format, g->encrypted, false);
	g->disk->cut_at = g->disk->written + g_rand_int_range(g->rand, 1, 250);
	for (unsigned i = 0; i < DEPTH; i++)
		ops[i].done = true;
	for (unsigned step = 0; !g->disk->cut; step++) {
		struct op *op = &ops[step % DEPTH];
		while (!op->done)
			aio_loop_iterate(g->loop, -1);
		if (g_rand_int_range(g->rand, 0, 12) == 0)
			flush(g);
		else if (!g->disk->cut)
			start(g, op);
	}
	for (unsigned i = 0; i < DEPTH; i++)
		while (!ops[i].done)
			aio_loop_iterate(g->loop, -1);
	inspect(g);
	block_close(&g->disk->node);
	block_graph_free(g->graph);
	aio_loop_free(g->loop);
	g_rand_free(g->rand);
}

static const char *const plain[] = {NULL};
static const char *const small[] = {"cluster_size", "4k", NULL};
static const char *const narrow[] = {"cluster_size", "4k", "refcount_bits", "64", NULL};
static const char *const extended[] = {"cluster_size", "16k", "extended_l2", "on", NULL};
static const char *const encrypted[] = {"cluster_size", "4k", "encrypt.format", "luks",
					"encrypt.key-secret", "s", "encrypt.iter-time", "1", NULL};
static const char *const exact[] = {"force_size", "on", NULL};
static const char *const blocks[] = {"block_size", "1M", NULL};
static const struct layout layouts[] = {
	{"/crash/qcow2/default", "qcow2", 65536, plain},
	{"/crash/qcow2/small-clusters", "qcow2", 4096, small},
	{"/crash/qcow2/wide-refcounts", "qcow2", 4096, narrow},
	{"/crash/qcow2/extended-l2", "qcow2", 16384, extended},
	{"/crash/qcow2/encrypted", "qcow2", 4096, encrypted},
	{"/crash/qed", "qed", 0, plain},
	{"/crash/vdi", "vdi", 0, plain},
	{"/crash/vhdx", "vhdx", 0, blocks},
	{"/crash/vmdk", "vmdk", 0, plain},
	{"/crash/vpc", "vpc", 0, exact},
};

static void test_crashes(gconstpointer data)
{
	const char *wish = g_getenv("BERTH_CRASHES");
	const struct layout *layout = &layouts[GPOINTER_TO_UINT(data)];
	/* Fifty for each format, and qcow2 has five layouts. */
	unsigned count = wish ? atoi(wish) : g_str_equal(layout->format, "qcow2") ? 25 : 50;
	for (unsigned seed = 1; seed <= count; seed++) {
		g_test_message("seed %u", seed);
		one_crash(seed, layout);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	for (unsigned i = 0; i < G_N_ELEMENTS(layouts); i++)
		g_test_add_data_func(layouts[i].name, GUINT_TO_POINTER(i), test_crashes);
	return g_test_run();
}
