/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Power cuts inside operations on whole images: snapshots, other sizes, amendments. Each operation
 * runs once to its end; then it is cut off at its first write, at its second and so on, each time in
 * some ways. What is left opens with the old password, has no corruption, and holds what was there
 * before the operation or what is there after it: bytes, size, and every snapshot.
 *
 *   BERTH_CRASHES=50 test-...   as many ways of losing unflushed writes at each cut
 */
#include "crash_disk.h"

#include "base/bytes.h"
#include "block/core/object.h"

#include <string.h>

#define SIZE  (4 << 20)
#define BLOCK 4096
#define SNAPSHOTS_MAX 8

/* --- what an image holds ------------------------------------------------------------------------------------*/

struct picture {
	uint64_t size;
	uint8_t *bytes;
	unsigned count;
	char *names[SNAPSHOTS_MAX];
	uint8_t *snapshots[SNAPSHOTS_MAX]; /* SIZE bytes each */
};

struct bench {
	struct aio_loop *loop;
	struct block_graph *graph;
	struct disk *disk;
	uint8_t *base; /* DISK_MAX bytes: the image that operations begin with */
	uint64_t base_end;
	bool encrypted;
	const char *compat; /* NULL: version 3 */
};

static struct block_node *open_image(struct bench *b, bool readonly)
{
	return disk_open_image(b->graph, b->loop, "qcow2", b->encrypted, readonly);
}

static uint8_t *read_all(struct block_node *node, uint64_t length)
{
	uint8_t *bytes = g_malloc(length);
	g_assert_cmpint(block_pread(node, 0, bytes, length), ==, 0);
	return bytes;
}

static void take_picture(struct bench *b, struct picture *p)
{
	struct block_node *node = open_image(b, true);
	g_autoptr(GPtrArray) list = block_snapshot_list(node, NULL);
	*p = (struct picture){.size = block_size(node), .count = list->len};
	p->bytes = read_all(node, p->size);
	g_assert_cmpuint(list->len, <=, SNAPSHOTS_MAX);
	for (unsigned i = 0; i < list->len; i++) {
		const struct block_snapshot *s = list->pdata[i];
		struct block_node *view = open_image(b, true);
		p->names[i] = g_strdup(s->name);
		g_assert_true(block_snapshot_view(view, s->id, NULL, NULL));
		p->snapshots[i] = read_all(view, SIZE);
		block_close(view);
	}
	block_close(node);
}

static void clear_picture(struct picture *p)
{
	g_free(p->bytes);
	for (unsigned i = 0; i < p->count; i++) {
		g_free(p->names[i]);
		g_free(p->snapshots[i]);
	}
}

static bool same_disk(const struct picture *a, const struct picture *b)
{
	return a->size == b->size && memcmp(a->bytes, b->bytes, a->size) == 0;
}

static bool same_snapshots(const struct picture *a, const struct picture *b)
{
	bool same = a->count == b->count;
	for (unsigned i = 0; same && i < a->count; i++)
		same = strcmp(a->names[i], b->names[i]) == 0 &&
		       memcmp(a->snapshots[i], b->snapshots[i], SIZE) == 0;
	return same;
}

/* --- the operations -----------------------------------------------------------------------------------------*/

static bool amend(struct block_node *node, const char *const *pairs)
{
	json_t *options = json_object();
	for (unsigned i = 0; pairs[i]; i += 2)
		json_object_set_new(options, pairs[i], json_string(pairs[i + 1]));
	bool good = block_amend(node, options, false, NULL, NULL);
	json_decref(options);
	return good;
}

static bool create_snapshot(struct block_node *node)
{
	const struct block_snapshot wish = {.name = (char *)"new"};
	return block_snapshot_create(node, &wish, NULL);
}

static bool apply_snapshot(struct block_node *node)
{
	return block_snapshot_apply(node, "one", NULL);
}

static bool delete_snapshot(struct block_node *node)
{
	return block_snapshot_delete(node, "one", NULL);
}

static bool grow(struct block_node *node)
{
	return block_resize(node, 11 << 20, NULL);
}

static bool shrink(struct block_node *node)
{
	return block_resize(node, SIZE / 2, NULL);
}

static bool widen_refcounts(struct block_node *node)
{
	return amend(node, (const char *const[]){"refcount_bits", "64", NULL});
}

static bool downgrade(struct block_node *node)
{
	return amend(node, (const char *const[]){"compat", "0.10", NULL});
}

static bool add_key(struct block_node *node)
{
	return amend(node, (const char *const[]){"encrypt.state", "active", "encrypt.new-secret", "n",
						 "encrypt.iter-time", "1", NULL});
}

static bool replace_key(struct block_node *node)
{
	return add_key(node) &&
	       amend(node, (const char *const[]){"encrypt.state", "inactive", "encrypt.keyslot", "1", NULL});
}

static const struct {
	const char *name;
	bool (*run)(struct block_node *node);
	bool encrypted;
	const char *compat;
} operations[] = {
	{"create-snapshot", create_snapshot}, {"apply-snapshot", apply_snapshot},
	{"delete-snapshot", delete_snapshot}, {"grow", grow}, {"shrink", shrink},
	{"refcount-width", widen_refcounts}, {"downgrade", downgrade},
	{"create-snapshot-encrypted", create_snapshot, true}, {"add-key", add_key, true},
	{"erase-key", replace_key, true}, {"create-snapshot-v2", create_snapshot, false, "0.10"},
	{"apply-snapshot-v2", apply_snapshot, false, "0.10"},
	{"delete-snapshot-v2", delete_snapshot, false, "0.10"},
};

/* --- cuts ---------------------------------------------------------------------------------------------------*/

static void write_some(struct block_node *node, uint32_t seed)
{
	g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
	for (unsigned i = 0; i < 24; i++) {
		uint32_t first = g_rand_int_range(rand, 0, block_size(node) / BLOCK - 16);
		uint32_t length = g_rand_int_range(rand, 1, 16) * BLOCK;
		g_autofree uint8_t *bytes = g_malloc(length);
		for (uint32_t at = 0; at < length; at += 4)
			le32_store(bytes + at, seed * 1000003 + at);
		uint64_t offset = (uint64_t)first * BLOCK;
		int rc = i % 4 ? block_pwrite(node, offset, bytes, length)
			       : block_io(node, BLOCK_WRITE_ZEROES, i % 8 ? BLOCK_REQ_MAY_UNMAP : 0, offset, length,
					  NULL, 0);
		g_assert_cmpint(rc, ==, 0);
	}
}

static void add_secret(struct bench *b, const char *id, const char *word)
{
	json_t *dict = json_pack("{s:s}", "data", word);
	g_assert_true(block_object_add(b->graph, "secret", id, dict, NULL));
	json_decref(dict);
}

/* An image with two snapshots that share clusters with each other and with the disk. */
static void make_base(struct bench *b)
{
	const char *plain[] = {"cluster_size", "4k", b->compat ? "compat" : NULL, b->compat, NULL};
	static const char *const encrypted[] = {"cluster_size", "4k", "encrypt.format", "luks",
						"encrypt.key-secret", "s", "encrypt.iter-time", "1", NULL};
	b->disk = disk_new(b->graph, b->loop, NULL, 0, 1);
	disk_format(b->disk, "qcow2", SIZE, b->encrypted ? encrypted : plain);
	struct block_node *node = open_image(b, false);
	for (unsigned i = 0; i < 3; i++) {
		const struct block_snapshot wish = {.name = (char *)(i ? "one" : "zero")};
		write_some(node, i + 1);
		if (i < 2)
			g_assert_true(block_snapshot_create(node, &wish, NULL));
	}
	block_close(node);
	b->base = g_memdup2(b->disk->now, DISK_MAX);
	b->base_end = b->disk->end;
	block_close(&b->disk->node);
}

static void use_disk(struct bench *b, const uint8_t *bytes, uint64_t end, uint32_t seed)
{
	b->disk = disk_new(b->graph, b->loop, bytes, end, seed);
}

/* Runs the operation with a cut at its `cut`th write (0: none). False: it has fewer writes. */
static bool run_cut(struct bench *b, bool (*run)(struct block_node *node), uint64_t cut, uint32_t seed)
{
	use_disk(b, b->base, b->base_end, seed);
	struct block_node *node = open_image(b, false);
	b->disk->cut_at = cut ? b->disk->written + cut : 0;
	g_assert_true(run(node));
	bool was_cut = b->disk->cut;
	block_close(node);
	return was_cut;
}

static void inspect(struct bench *b, const struct picture *before, const struct picture *after)
{
	struct picture now;
	g_autofree uint8_t *left = g_memdup2(b->disk->cut, DISK_MAX);
	uint64_t end = b->disk->cut_end;
	block_close(&b->disk->node);
	use_disk(b, left, end, 1);
	take_picture(b, &now);
	g_assert_true(same_disk(&now, before) || same_disk(&now, after));
	g_assert_true(same_snapshots(&now, before) || same_snapshots(&now, after));
	struct block_node *node = open_image(b, false);
	disk_check_image(node);
	/* What is shared is still known to be shared: writes change nothing else. */
	write_some(node, 99);
	disk_check_image(node);
	block_close(node);
	/* Whatever it was meanwhile, repaired and closed it is of its version. */
	if (b->compat)
		g_assert_cmpuint(be32_load(b->disk->now + 4), ==, 2);
	struct picture later;
	take_picture(b, &later);
	g_assert_true(same_snapshots(&now, &later));
	clear_picture(&later);
	clear_picture(&now);
	block_close(&b->disk->node);
}

static void test_operation(gconstpointer data)
{
	unsigned index = GPOINTER_TO_UINT(data);
	const char *wish = g_getenv("BERTH_CRASHES");
	uint32_t ways = wish ? atoi(wish) : 1;
	struct bench b = {.encrypted = operations[index].encrypted, .compat = operations[index].compat};
	struct picture before, after;
	b.loop = aio_loop_new(NULL);
	b.graph = block_graph_new(b.loop);
	add_secret(&b, "s", "swordfish");
	add_secret(&b, "n", "sturgeon");
	make_base(&b);
	use_disk(&b, b.base, b.base_end, 1);
	take_picture(&b, &before);
	block_close(&b.disk->node);
	run_cut(&b, operations[index].run, 0, 1);
	take_picture(&b, &after);
	block_close(&b.disk->node);
	uint64_t cut = 1;
	for (bool more = true; more; cut++) {
		for (uint32_t seed = 1; seed <= ways && more; seed++) {
			g_test_message("cut %u, seed %u", (unsigned)cut, seed);
			more = run_cut(&b, operations[index].run, cut, cut * ways + seed);
			if (more)
				inspect(&b, &before, &after);
			else
				block_close(&b.disk->node);
		}
	}
	g_assert_cmpuint(cut, >, 3);
	clear_picture(&before);
	clear_picture(&after);
	g_free(b.base);
	block_graph_free(b.graph);
	aio_loop_free(b.loop);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	for (unsigned i = 0; i < G_N_ELEMENTS(operations); i++) {
		g_autofree char *name = g_strdup_printf("/qcow2/crash/%s", operations[i].name);
		g_test_add_data_func(name, GUINT_TO_POINTER(i), test_operation);
	}
	return g_test_run();
}
