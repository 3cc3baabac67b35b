/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Samples are kept by their addresses: memory may be unplugged meanwhile, and then they do not count. */
#include "vm/dirty_rate.h"

#include "aio/loop.h"
#include "base/units.h"
#include "vm/vm.h"

#include <string.h>

#define NS_PER_S INT64_C(1000000000)
/* Samples between two looks at what else the main loop has to do: some 2 ms. */
enum { SLICE = 256, DIGEST = 16 };

struct sample {
	uint64_t addr;
	uint8_t digest[DIGEST];
};

struct dirty_rate {
	struct vm *vm;
	enum dirty_rate_mode mode;
	unsigned seconds;
	void (*done)(void *opaque, uint64_t mib_per_second);
	void *opaque;
	int64_t started_ns;
	struct aio_timer timer;
	GArray *samples;       /* struct sample */
	guint at;              /* the next one to be read, or to be compared */
	guint compared, dirty; /* of the samples */
	uint64_t memory;       /* bytes of RAM at the start */
	GHashTable *blocks;    /* ram_block: those whose writes are logged; compared, not followed */
	bool logging;
};

/* --- Samples -------------------------------------------------------------------------------------- */

static bool digest(struct dirty_rate *r, uint64_t addr, uint8_t out[DIGEST])
{
	uint8_t page[PAGE_SIZE];
	gsize length = DIGEST;
	if (!space_dma_read(r->vm->memory, addr, page, sizeof(page)))
		return false;
	g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_MD5);
	g_checksum_update(sum, page, sizeof(page));
	g_checksum_get_digest(sum, out, &length);
	return true;
}

struct choice {
	struct dirty_rate *rate;
	unsigned per_gib;
};

static void choose(void *opaque, const struct space_range *range)
{
	struct choice *choice = opaque;
	struct dirty_rate *r = choice->rate;
	if (!range->ram || range->readonly)
		return;
	uint64_t pages = range->size >> PAGE_BITS;
	/* Small pieces (below 1 MiB) have their share, too: chance decides on the last one. */
	double share = (double)range->size * choice->per_gib / GIB;
	uint64_t count = (uint64_t)share + (g_random_double() < share - (uint64_t)share);
	r->memory += range->size;
	for (uint64_t i = 0; i < MIN(count, pages); i++) {
		struct sample sample = {.addr = range->base +
						(uint64_t)(g_random_double() * pages) * PAGE_SIZE};
		g_array_append_val(r->samples, sample);
	}
}

static void finish(struct dirty_rate *r, double dirty_bytes)
{
	double seconds = (double)(aio_now_ns() - r->started_ns) / NS_PER_S;
	r->done(r->opaque, dirty_bytes / MIB / MAX(seconds, 0.001));
}

static void compare_some(void *opaque)
{
	struct dirty_rate *r = opaque;
	guint end = MIN(r->at + SLICE, r->samples->len);
	for (; r->at < end; r->at++) {
		const struct sample *sample = &g_array_index(r->samples, struct sample, r->at);
		uint8_t now[DIGEST];
		if (!digest(r, sample->addr, now))
			continue;
		r->compared++;
		r->dirty += memcmp(sample->digest, now, DIGEST) != 0;
	}
	if (r->at < r->samples->len)
		aio_timer_arm(&r->timer, aio_now_ns());
	else
		finish(r, r->compared ? (double)r->memory * r->dirty / r->compared : 0);
}

static void read_some(void *opaque)
{
	struct dirty_rate *r = opaque;
	guint end = MIN(r->at + SLICE, r->samples->len);
	for (; r->at < end; r->at++) {
		struct sample *sample = &g_array_index(r->samples, struct sample, r->at);
		digest(r, sample->addr, sample->digest);
	}
	if (r->at < r->samples->len) {
		aio_timer_arm(&r->timer, aio_now_ns());
		return;
	}
	/* Each sample is compared as long after its reading as the others, if both go equally fast. */
	r->at = 0;
	aio_timer_init(&r->timer, r->vm->loop, compare_some, r);
	aio_timer_arm(&r->timer, r->started_ns + r->seconds * NS_PER_S);
}

/* --- The engine's log ----------------------------------------------------------------------------- */

static void remember(void *opaque, const struct space_range *range)
{
	struct dirty_rate *r = opaque;
	if (range->ram && !range->readonly)
		g_hash_table_add(r->blocks, range->ram);
}

struct count {
	const struct dirty_rate *rate;
	uint64_t pages;
};

static void count_range(void *opaque, const struct space_range *range)
{
	struct count *count = opaque;
	if (!range->ram || range->readonly || !g_hash_table_contains(count->rate->blocks, range->ram))
		return;
	uint64_t first = range->ram_offset >> PAGE_BITS;
	for (uint64_t page = 0; page < range->size >> PAGE_BITS; page++)
		count->pages += ram_dirty_take(range->ram, first + page);
}

static void stop_log(struct dirty_rate *r)
{
	if (r->logging)
		r->vm->engine->dirty_log_stop(r->vm);
	r->logging = false;
}

static void read_log(void *opaque)
{
	struct dirty_rate *r = opaque;
	struct count count = {.rate = r};
	if (r->vm->engine->dirty_log_sync(r->vm, NULL))
		space_for_each(r->vm->memory, count_range, &count);
	stop_log(r);
	finish(r, (double)count.pages * PAGE_SIZE);
}

/* -------------------------------------------------------------------------------------------------- */

struct dirty_rate *dirty_rate_start(struct vm *vm, enum dirty_rate_mode mode, unsigned seconds,
				    unsigned samples, void (*done)(void *opaque, uint64_t mib_per_second),
				    void *opaque, GError **error)
{
	struct dirty_rate *r = g_new0(struct dirty_rate, 1);
	*r = (struct dirty_rate){.vm = vm, .mode = mode, .seconds = seconds, .done = done, .opaque = opaque,
				 .samples = g_array_new(FALSE, TRUE, sizeof(struct sample)),
				 .blocks = g_hash_table_new(NULL, NULL)};
	aio_timer_init(&r->timer, vm->loop, mode == DIRTY_RATE_BITMAP ? read_log : read_some, r);
	if (mode == DIRTY_RATE_BITMAP) {
		r->logging = true; /* what a start that failed has begun is to be stopped, too */
		if (!vm->engine->dirty_log_start(vm, error)) {
			dirty_rate_free(r);
			return NULL;
		}
		space_for_each(vm->memory, remember, r);
		r->started_ns = aio_now_ns();
		aio_timer_arm(&r->timer, r->started_ns + seconds * NS_PER_S);
		return r;
	}
	space_for_each(vm->memory, choose, &(struct choice){r, samples});
	r->started_ns = aio_now_ns();
	aio_timer_arm(&r->timer, r->started_ns);
	return r;
}

void dirty_rate_free(struct dirty_rate *r)
{
	if (!r)
		return;
	aio_timer_cancel(&r->timer);
	stop_log(r);
	g_array_unref(r->samples);
	g_hash_table_unref(r->blocks);
	g_free(r);
}
