/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "crash_disk.h"

#include "base/bytes.h"
#include "block/core/object.h"

#include <errno.h>
#include <string.h>

struct pending {
	uint64_t offset, length;
	uint8_t *bytes;
};

static void drop_pending(struct disk *d)
{
	for (unsigned i = 0; i < d->pending->len; i++)
		g_free(g_array_index(d->pending, struct pending, i).bytes);
	g_array_set_size(d->pending, 0);
}

static void make_stable(struct disk *d)
{
	for (unsigned i = 0; i < d->pending->len; i++) {
		const struct pending *p = &g_array_index(d->pending, struct pending, i);
		memcpy(d->stable + p->offset, p->bytes, p->length);
	}
	d->stable_end = d->end;
	drop_pending(d);
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
		make_stable(d);
	} else {
		rc = keep_write(d, r);
	}
	struct later *later = g_new(struct later, 1);
	*later = (struct later){r, rc};
	aio_loop_post(node->loop, finish_later, later);
}

/* What is behind the old end reads as zeroes. Images get shorter only when they are closed. */
static bool disk_resize(struct block_node *node, uint64_t size, GError **error)
{
	struct disk *d = (struct disk *)node;
	g_assert_cmpuint(size, <=, DISK_MAX);
	if (size < d->end)
		memset(d->now + size, 0, d->end - size);
	node->size = d->end = size;
	return true;
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
						.submit = disk_submit, .close = disk_close,
						.resize = disk_resize};

struct disk *disk_new(struct block_graph *graph, struct aio_loop *loop, const uint8_t *bytes,
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

/* --- the image on it ----------------------------------------------------------------------------------------*/

void disk_format(struct disk *disk, const char *format, uint64_t size, const char *const *pairs)
{
	json_t *options = json_object();
	for (unsigned i = 0; pairs[i]; i += 2)
		json_object_set_new(options, pairs[i], json_string(pairs[i + 1]));
	g_autoptr(GError) error = NULL;
	block_create_on(&disk->node, format, size, options, &error);
	g_assert_no_error(error);
	g_assert_cmpint(block_flush(&disk->node), ==, 0);
	json_decref(options);
}

struct block_node *disk_open_image(struct block_graph *graph, struct aio_loop *loop, const char *format,
				   bool encrypted, bool readonly)
{
	g_autoptr(GError) error = NULL;
	json_t *dict = json_pack("{s:s, s:s}", "driver", format, "file", "disk");
	if (g_str_equal(format, "qcow2"))
		json_object_set_new(dict, "cache-size", json_integer(65536));
	if (encrypted)
		json_object_set_new(dict, "encrypt", json_pack("{s:s}", "key-secret", "s"));
	struct block_open_options options = {.dict = dict, .graph = graph, .discard = true,
					     .readonly = readonly};
	struct block_node *node = block_open(&options, loop, &error);
	g_assert_no_error(error);
	json_decref(dict);
	return node;
}

static void report_line(void *opaque, const char *line)
{
	g_test_message("%s", line);
}

void disk_check_image(struct block_node *node)
{
	struct block_check check = {.report = report_line}, repair = {.fix = BLOCK_FIX_LEAKS};
	if (!node->driver->check)
		return;
	g_assert_true(block_check(node, &check, NULL));
	g_assert_cmpuint(check.corruptions, ==, 0);
	if (node->driver != &block_qcow2_driver)
		return;
	g_assert_true(block_check(node, &repair, NULL));
	g_assert_cmpuint(repair.leaks, ==, repair.leaks_fixed);
}
