/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Power cuts. qcow2 runs on a disk in memory that keeps apart what was flushed and what was only
 * written. At a random write the power fails: of the unflushed writes some arrive, in part or not
 * at all. What is left is opened: there may be leaks, but no corruption, and every sector holds
 * what was last flushed or something written after that. Cuts are seeded: a failure can be repeated.
 *
 *   test-block-qcow2-crash            what make test runs
 *   BERTH_CRASHES=500 test-...        a longer run
 */
#include "block/core/drivers.h"
#include "block/core/object.h"

#include "base/bytes.h"

#include <errno.h>
#include <string.h>

#define DISK_MAX (12 << 20) /* of the host's file */
#define SIZE     (4 << 20)  /* of the guest's disk */
#define BLOCK    4096
#define BLOCKS   (SIZE / BLOCK)
#define DEPTH    8

/* --- a disk that loses what was not flushed ---------------------------------------------------------------*/

struct pending {
	uint64_t offset, length;
	uint8_t *bytes;
};

struct disk {
	struct block_node node;
	uint8_t *now, *stable;
	GArray *pending; /* struct pending: written since the last flush */
	uint64_t written, cut_at;
	uint64_t end, stable_end, cut_end; /* of the file; what is certain of that */
	uint8_t *cut; /* what the power cut left, or NULL */
	GRand *rand;
};

static void drop_pending(struct disk *d)
{
	for (unsigned i = 0; i < d->pending->len; i++)
		g_free(g_array_index(d->pending, struct pending, i).bytes);
	g_array_set_size(d->pending, 0);
}

static void power_cut(struct disk *d)
{
	d->cut = g_memdup2(d->stable, DISK_MAX);
	d->cut_end = d->stable_end;
	for (unsigned i = 0; i < d->pending->len; i++) {
		const struct pending *p = &g_array_index(d->pending, struct pending, i);
		unsigned fate = g_rand_int_range(d->rand, 0, 3); /* lost, whole, torn at a sector */
		uint64_t n = fate == 0 ? 0 : p->length;
		if (fate == 2)
			n = g_rand_int_range(d->rand, 0, (p->length + 511) / 512 + 1) * 512;
		memcpy(d->cut + p->offset, p->bytes, MIN(n, p->length));
	}
}

static int keep_write(struct disk *d, const struct block_request *r)
{
	if (r->offset + r->length > DISK_MAX)
		return -ENOSPC;
	struct pending p = {r->offset, r->length, g_malloc0(r->length + 1)};
	if (r->op == BLOCK_WRITE)
		block_iov_copy(r->iov, r->iov_count, 0, p.bytes, r->length, true);
	memcpy(d->now + p.offset, p.bytes, p.length);
	d->end = MAX(d->end, p.offset + p.length);
	g_array_append_val(d->pending, p);
	if (++d->written == d->cut_at)
		power_cut(d);
	return 0;
}

struct later {
	struct block_request *request;
	int result;
};

static void finish_later(void *opaque)
{
	g_autofree struct later *later = opaque;
	block_complete(later->request, later->result);
}

static void disk_submit(struct block_node *node, struct block_request *r)
{
	struct disk *d = (struct disk *)node;
	int rc = 0;
	if (r->op == BLOCK_READ && r->offset + r->length <= DISK_MAX) {
		block_iov_copy(r->iov, r->iov_count, 0, d->now + r->offset, r->length, false);
	} else if (r->op == BLOCK_READ) {
		block_iov_zero(r->iov, r->iov_count, 0, r->length);
	} else if (r->op == BLOCK_FLUSH) {
		memcpy(d->stable, d->now, DISK_MAX);
		d->stable_end = d->end;
		drop_pending(d);
	} else {
		rc = keep_write(d, r);
	}
	struct later *later = g_new(struct later, 1);
	*later = (struct later){r, rc};
	aio_loop_post(node->loop, finish_later, later);
}

static void disk_close(struct block_node *node)
{
	struct disk *d = (struct disk *)node;
	drop_pending(d);
	g_array_free(d->pending, true);
	g_free(d->now);
	g_free(d->stable);
	g_free(d->cut);
	g_rand_free(d->rand);
}

static const struct block_driver disk_driver = {.name = "file", .kind = BLOCK_PROTOCOL,
						.submit = disk_submit, .close = disk_close};

/* A new one, or one of a file that had `least` bytes at least. */
static struct disk *disk_new(struct block_graph *graph, struct aio_loop *loop, const uint8_t *bytes,
			     uint64_t least, uint32_t seed)
{
	struct disk *d = g_new0(struct disk, 1);
	struct block_open_options options = {.node_name = "disk", .graph = graph, .discard = true};
	block_node_init(&d->node, &disk_driver, &options, loop);
	d->node.filename = g_strdup("disk");
	d->node.growable = true;
	d->now = bytes ? g_memdup2(bytes, DISK_MAX) : g_malloc0(DISK_MAX);
	d->stable = g_memdup2(d->now, DISK_MAX);
	d->pending = g_array_new(false, false, sizeof(struct pending));
	d->rand = g_rand_new_with_seed(seed);
	/* The file ends where its last byte is. */
	uint64_t end = DISK_MAX;
	while (bytes && end > least && !d->now[end - 1])
		end--;
	d->node.size = d->end = d->stable_end = bytes ? align_up(end, 512) : 0;
	g_assert_true(block_graph_add(&d->node, NULL));
	return d;
}

/* --- the guest --------------------------------------------------------------------------------------------*/

struct guest {
	struct aio_loop *loop;
	struct block_graph *graph;
	struct disk *disk;
	struct block_node *node;
	GRand *rand;
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
static bool start(struct guest *g, struct op *op, uint64_t cluster)
{
	unsigned kind = g_rand_int_range(g->rand, 0, 10);
	bool packed = kind == 0 && !g->encrypted, zero = kind == 1 || kind == 2;
	uint32_t per_cluster = cluster / BLOCK;
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

static void report_line(void *opaque, const char *line)
{
	g_test_message("%s", line);
}

static struct block_node *open_image(struct guest *g, bool readonly)
{
	g_autoptr(GError) error = NULL;
	json_t *dict = json_pack("{s:s, s:s, s:i}", "driver", "qcow2", "file", "disk",
				 "cache-size", 65536);
	if (g->encrypted)
		json_object_set_new(dict, "encrypt", json_pack("{s:s}", "key-secret", "s"));
	struct block_open_options options = {.dict = dict, .graph = g->graph, .discard = true,
					     .readonly = readonly};
	struct block_node *node = block_open(&options, g->loop, &error);
	g_assert_no_error(error);
	json_decref(dict);
	return node;
}

/* What the power cut left must be an image with all that was promised. */
static void inspect(struct guest *g)
{
	g_autofree uint8_t *left = g_memdup2(g->disk->cut, DISK_MAX);
	uint64_t end = g->disk->cut_end;
	block_close(g->node);
	block_close(&g->disk->node);
	g->disk = disk_new(g->graph, g->loop, left, end, 1);
	struct block_node *node = open_image(g, false);
	struct block_check check = {.report = report_line};
	g_assert_true(block_check(node, &check, NULL));
	g_assert_cmpuint(check.corruptions, ==, 0);
	g_autofree uint8_t *bytes = g_malloc(SIZE);
	g_assert_cmpint(block_pread(node, 0, bytes, SIZE), ==, 0);
	for (unsigned i = 0; i < SIZE / 512; i++)
		check_sector(g, i / (BLOCK / 512), bytes + i * 512);
	struct block_check repair = {.fix = BLOCK_FIX_LEAKS};
	g_assert_true(block_check(node, &repair, NULL));
	g_assert_cmpuint(repair.leaks, ==, repair.leaks_fixed);
	block_close(node);
}

static void make_image(struct guest *g, const char *const *pairs)
{
	/* The creator only needs a growable file, which the disk is. */
	json_t *options = json_object(), *secret = json_pack("{s:s}", "data", "swordfish");
	for (unsigned i = 0; pairs[i]; i += 2)
		json_object_set_new(options, pairs[i], json_string(pairs[i + 1]));
	g->encrypted = json_object_get(options, "encrypt.key-secret");
	g_assert_true(block_object_add(g->graph, "secret", "s", secret, NULL));
	json_decref(secret);
	struct block_create create = {.filename = "disk", .file = &g->disk->node, .size = SIZE,
				      .options = options, .loop = g->loop, .graph = g->graph};
	g_assert_true(block_qcow2_driver.create(&create, NULL));
	json_decref(options);
}

static void one_crash(uint32_t seed, const char *const *pairs, uint64_t cluster)
{
	g_autofree struct guest *g = g_new0(struct guest, 1);
	struct op ops[DEPTH] = {0};
	g->loop = aio_loop_new(NULL);
	g->graph = block_graph_new(g->loop);
	g->rand = g_rand_new_with_seed(seed);
	g->disk = disk_new(g->graph, g->loop, NULL, 0, seed + 1);
	make_image(g, pairs);
	g->node = open_image(g, false);
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
			start(g, op, cluster);
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
static const struct {
	const char *name;
	const char *const *pairs;
	uint64_t cluster;
} layouts[] = {
	{"/qcow2/crash/default", plain, 65536},
	{"/qcow2/crash/small-clusters", small, 4096},
	{"/qcow2/crash/wide-refcounts", narrow, 4096},
	{"/qcow2/crash/extended-l2", extended, 16384},
	{"/qcow2/crash/encrypted", encrypted, 4096},
};

static void test_crashes(gconstpointer data)
{
	const char *wish = g_getenv("BERTH_CRASHES");
	unsigned count = wish ? atoi(wish) : 25, i = GPOINTER_TO_UINT(data);
	for (unsigned seed = 1; seed <= count; seed++) {
		g_test_message("seed %u", seed);
		one_crash(seed, layouts[i].pairs, layouts[i].cluster);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	for (unsigned i = 0; i < G_N_ELEMENTS(layouts); i++)
		g_test_add_data_func(layouts[i].name, GUINT_TO_POINTER(i), test_crashes);
	return g_test_run();
}
