/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The block cache: finding, decoding, dropping. See blocks.h. */
#include "cpu/soft/interp/blocks.h"

#include "base/error.h"
#include "cpu/soft/engine.h"
#include "cpu/soft/jit/jit.h"
#include "cpu/soft/trace.h"

#include <errno.h>
#include <sys/mman.h>

/* Decoded code and what belongs to translated code take as much as that again, or a bit more. */
enum { ARENA_PER_CODE = 2, ARENA_SIZE_MIN = 8 << 20 };

bool interp_blocks_create(struct soft_vcpu *c, GError **error)
{
	struct soft_blocks *blocks = g_new0(struct soft_blocks, 1);
	blocks->size = MAX(ARENA_PER_CODE * soft_code_size(&c->vm->config), ARENA_SIZE_MIN);
	blocks->arena = mmap(NULL, blocks->size, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (blocks->arena == MAP_FAILED) {
		int errnum = errno;
		g_free(blocks);
		return error_set_errno(error, errnum, "cannot map memory for decoded code");
	}
	pthread_mutex_init(&blocks->lock, NULL);
	blocks->fetching.x.length = 1;
	c->blocks = blocks;
	return true;
}

void interp_blocks_destroy(struct soft_vcpu *c)
{
	if (!c->blocks)
		return;
	munmap(c->blocks->arena, c->blocks->size);
	pthread_mutex_destroy(&c->blocks->lock);
	g_free(c->blocks);
	c->blocks = NULL;
}

void *interp_arena_take(struct soft_blocks *blocks, size_t bytes)
{
	bytes = (bytes + 15) & ~(size_t)15;
	if (bytes > blocks->size - blocks->used)
		return NULL;
	void *p = blocks->arena + blocks->used;
	blocks->used += bytes;
	return p;
}

static unsigned page_hash(const uint8_t *host_page)
{
	uintptr_t n = (uintptr_t)host_page >> PAGE_BITS;
	return (n ^ (n >> BLOCK_PAGES_BITS)) & ((1 << BLOCK_PAGES_BITS) - 1);
}

static struct block_page *page_find(struct soft_blocks *blocks, const uint8_t *host_page)
{
	struct block_page *page = blocks->pages[page_hash(host_page)];
	while (page && page->host != host_page)
		page = page->next;
	return page;
}

static const uint8_t *page_of(const uint8_t *host)
{
	return (const uint8_t *)((uintptr_t)host & ~(uintptr_t)PAGE_MASK);
}

static struct block_page *page_get(struct soft_blocks *blocks, const uint8_t *host_page)
{
	struct block_page *page = page_find(blocks, host_page);
	if (page)
		return page;
	page = interp_arena_take(blocks, sizeof(*page));
	if (!page)
		return NULL;
	struct block_page **head = &blocks->pages[page_hash(host_page)];
	*page = (struct block_page){ .host = host_page, .next = *head };
	*head = page;
	return page;
}

/* --- dropping ------------------------------------------------------------------------------------ */
static void block_drop(struct soft_vcpu *c, struct block *b)
{
	struct soft_blocks *blocks = c->blocks;
	if (b->dropped)
		return;
	b->dropped = true;
	jit_block_drop(c, b);
	unsigned hash = block_hash(b->host, b->mode);
	if (blocks->table[hash].block == b)
		blocks->table[hash] = (struct block_slot){ 0 };
	/* If it is running, what follows the present instruction must be decoded afresh. */
	if (c->insn >= b->insns && c->insn <= b->insns + b->count) {
		for (unsigned n = 0; n <= b->count; n++)
			b->insns[n].exec = interp_exec_dropped;
	}
	blocks->dropped++;
}

/* The block that is not kept, if it is the one that runs. */
static void scratch_drop(struct soft_vcpu *c)
{
	struct block *b = (struct block *)(c->blocks->arena + c->blocks->used);
	const uint8_t *end = c->blocks->arena + c->blocks->size;
	if (c->insn < b->insns || (const uint8_t *)c->insn >= end)
		return;
	for (unsigned n = 0; n <= b->count; n++)
		b->insns[n].exec = interp_exec_dropped;
}

/* Those that begin in the page. */
static void bucket_drop(struct soft_vcpu *c, struct block **at, uint64_t lines)
{
	while (*at) {
		struct block *b = *at;
		if (b->lines & lines) {
			*at = b->next;
			block_drop(c, b);
		} else {
			at = &b->next;
		}
	}
}

/* Those that end in the page: an instruction's last bytes, in its first line. */
static void crossers_drop(struct soft_vcpu *c, struct block_page *page)
{
	for (struct block *b = page->crossers; b; b = b->next2)
		block_drop(c, b);
	page->crossers = NULL;
}

void interp_blocks_drop_lines(struct soft_vcpu *c, const uint8_t *host_page, uint64_t lines)
{
	struct soft_blocks *blocks = c->blocks;
	struct block_page *page = page_find(blocks, host_page);
	scratch_drop(c);
	if (!page)
		return;
	for (unsigned n = 0; n < BLOCK_PAGE_BUCKETS; n++)
		bucket_drop(c, &page->bucket[n], lines);
	if (lines & 1)
		crossers_drop(c, page);
}

static void drop_all(struct soft_vcpu *c)
{
	struct soft_blocks *blocks = c->blocks;
	for (unsigned n = 0; n < 1 << BLOCK_PAGES_BITS; n++) {
		for (struct block_page *page = blocks->pages[n]; page; page = page->next)
			interp_blocks_drop_lines(c, page->host, BLOCK_ALL_LINES);
	}
	blocks->flushes++;
}

void soft_blocks_flush(struct soft_vcpu *c)
{
	if (c->blocks)
		drop_all(c);
}

/* Only between blocks: the memory of all of them is used again. */
void interp_blocks_reset(struct soft_vcpu *c)
{
	struct soft_blocks *blocks = c->blocks;
	drop_all(c);
	memset(blocks->table, 0, sizeof(blocks->table));
	memset(blocks->pages, 0, sizeof(blocks->pages));
	blocks->used = 0;
	jit_reset(c);
	c->insn = &blocks->fetching;
}

void interp_blocks_queue(struct soft_vcpu *c, const uint8_t *host_page, uint64_t lines)
{
	struct soft_blocks *blocks = c->blocks;
	pthread_mutex_lock(&blocks->lock);
	/* One page is often written to several times in a row. */
	unsigned n = blocks->stale_count;
	while (n > 0 && (blocks->stale[n - 1].host != host_page || !blocks->stale[n - 1].lines != !lines))
		n--;
	if (n)
		blocks->stale[n - 1].lines |= lines;
	else if (blocks->stale_count < BLOCK_STALE_MAX)
		blocks->stale[blocks->stale_count++] =
			(struct block_stale){ .host = host_page, .lines = lines };
	else if (lines)
		blocks->stale_all_code = true;
	else
		blocks->stale_all_rights = true;
	pthread_mutex_unlock(&blocks->lock);
	/* Not soft_post(): one that sleeps need not wake up for this, it looks before it runs. */
	atomic_fetch_or(&c->pending, SOFT_PENDING_CODE);
}

void interp_blocks_handle_stale(struct soft_vcpu *c)
{
	struct soft_blocks *blocks = c->blocks;
	struct block_stale stale[BLOCK_STALE_MAX];
	atomic_fetch_and(&c->pending, ~(uint32_t)SOFT_PENDING_CODE);
	uint32_t protections = atomic_load(&c->engine->protections);
	pthread_mutex_lock(&blocks->lock);
	unsigned count = blocks->stale_count;
	bool all_code = blocks->stale_all_code, all_rights = blocks->stale_all_rights;
	memcpy(stale, blocks->stale, count * sizeof(*stale));
	blocks->stale_count = 0;
	blocks->stale_all_code = blocks->stale_all_rights = false;
	pthread_mutex_unlock(&blocks->lock);
	if (all_rights)
		soft_tlb_flush_all(c);
	if (all_code)
		drop_all(c);
	for (unsigned n = 0; n < count; n++) {
		if (stale[n].lines)
			interp_blocks_drop_lines(c, stale[n].host, stale[n].lines);
		else if (!all_rights)
			soft_tlb_protect(c, stale[n].host);
	}
	atomic_store(&blocks->acknowledged, protections);
}

/* --- decoding ------------------------------------------------------------------------------------ */
struct fetch {
	uint64_t linear;
	const uint8_t *host;  /* of the byte at `linear`, or NULL: not memory */
	const uint8_t *host2; /* filled when the next page was needed */
	uint64_t phys, phys2;
	/* What was decoded: a copy, so that it can be compared with what is there afterwards. */
	uint8_t bytes[BLOCK_INSNS_MAX * X86_INSN_MAX];
};

static void undefined_insn(struct soft_vcpu *c, const struct soft_insn *i)
{
	soft_raise(c, X86_EXC_UD);
}

static void too_long_insn(struct soft_vcpu *c, const struct soft_insn *i)
{
	soft_raise_gp(c);
}

static const struct soft_opcode opcode_undefined = { .fn = undefined_insn, .ends = true };
static const struct soft_opcode opcode_too_long = { .fn = too_long_insn, .ends = true };

static const struct soft_opcode *choose(struct soft_vcpu *c, enum x86_decode_result result,
					uint32_t mode, const struct x86_insn *x)
{
	if (result == X86_DECODE_TOO_LONG)
		return &opcode_too_long;
	if (result != X86_DECODE_OK)
		return &opcode_undefined;
	if ((x->prefixes & X86_PREFIX_VEX) && !(mode & BLOCK_MODE_VEX))
		return &opcode_undefined;
	const struct soft_opcode *op =
		interp_lookup(c->engine->dispatch, x, mode & BLOCK_MODE_DECODE);
	return op ? op : &opcode_undefined;
}

static void insn_set(struct soft_insn *i, const struct soft_opcode *op, unsigned offset)
{
	i->fn = op->fn;
	/* What raises #UD has no special form, whatever its bytes. */
	i->exec = op == &opcode_undefined || op == &opcode_too_long ? interp_exec_ends : NULL;
	i->offset = offset;
	i->native = NULL;
	i->ends = op->ends;
}

bool interp_insn_choose(struct soft_vcpu *c, struct soft_insn *i, uint32_t mode)
{
	const struct soft_opcode *op = choose(c, X86_DECODE_OK, mode, &i->x);
	if (op == &opcode_undefined)
		return false;
	insn_set(i, op, 0);
	return true;
}

/* The bytes from f->linear on when the first page's are not enough; returns how many. */
static unsigned fetch_across(struct soft_vcpu *c, struct fetch *f)
{
	unsigned first = PAGE_SIZE - (f->linear & PAGE_MASK);
	if (first > X86_INSN_MAX)
		first = X86_INSN_MAX;
	for (unsigned n = 0; n < first; n++)
		f->bytes[n] = f->host ? f->host[n] : soft_mmio_read(c, f->phys + n, 1);
	if (first == X86_INSN_MAX)
		return first;
	struct x86_insn x;
	if (x86_decode(f->bytes, first, c->mode, &x) != X86_DECODE_MORE)
		return first;
	uint64_t next = f->linear + first;
	if (c->mode != X86_DECODE_64)
		next = (uint32_t)next;
	bool watched;
	f->host2 = soft_translate(c, next, SOFT_FETCH, &f->phys2, &watched);
	for (unsigned n = first; n < X86_INSN_MAX; n++)
		f->bytes[n] = f->host2 ? f->host2[n - first]
				       : soft_mmio_read(c, f->phys2 + n - first, 1);
	return X86_INSN_MAX;
}

/* Decode as many instructions as belong into the block; at least one. */
static void decode_block(struct soft_vcpu *c, struct block *b, struct fetch *f, uint32_t mode)
{
	unsigned room = PAGE_SIZE - (f->linear & PAGE_MASK), at = 0;
	unsigned max = mode & BLOCK_MODE_SINGLE ? 1 : BLOCK_INSNS_MAX;
	if (room > sizeof(f->bytes))
		room = sizeof(f->bytes);
	if (f->host)
		memcpy(f->bytes, f->host, room);
	b->count = 0;
	while (b->count < max && at < room) {
		struct soft_insn *i = &b->insns[b->count];
		enum x86_decode_result r = X86_DECODE_MORE;
		if (f->host)
			r = x86_decode(f->bytes + at, room - at, c->mode, &i->x);
		if (r == X86_DECODE_MORE) {
			if (b->count)
				break;
			r = x86_decode(f->bytes, fetch_across(c, f), c->mode, &i->x);
		}
		const struct soft_opcode *op = choose(c, r, mode, &i->x);
		insn_set(i, op, at);
		b->count++;
		at += i->x.length;
		if (op->ends)
			break;
	}
	b->size = at ? at : 1;
	struct soft_insn *end = &b->insns[b->count];
	*end = (struct soft_insn){ .exec = interp_exec_end, .offset = at };
	b->host = f->host;
	b->host2 = f->host2;
	b->mode = mode;
}

static size_t block_bytes(unsigned count)
{
	return sizeof(struct block) + (count + 1) * sizeof(struct soft_insn);
}

/*
 * May the block be kept? It must be wholly in memory, writes to it must be reported from now on, and
 * none may have come between the reading and the reports' beginning: writers store, then look at
 * the marks; here the marks come first and then a look at what is stored.
 */
static bool settle(struct soft_vcpu *c, struct block *b, const struct fetch *f)
{
	unsigned room = PAGE_SIZE - (f->linear & PAGE_MASK);
	if (!f->host)
		return false;
	b->lines = soft_code_lines(f->phys, MIN(b->size, room));
	if (b->size <= room) {
		b->host2 = NULL;
		return soft_engine_code_mark(c, f->phys, b->size) &&
		       !memcmp(f->bytes, f->host, b->size);
	}
	if (!f->host2)
		return false;
	bool safe = soft_engine_code_mark(c, f->phys, room);
	safe &= soft_engine_code_mark(c, f->phys2, b->size - room);
	return safe && !memcmp(f->bytes, f->host, room) &&
	       !memcmp(f->bytes + room, f->host2, b->size - room);
}

static struct block *decode(struct soft_vcpu *c, struct fetch *f, uint32_t mode)
{
	struct soft_blocks *blocks = c->blocks;
	size_t most = block_bytes(BLOCK_INSNS_MAX) + 2 * sizeof(struct block_page) + 256;
	if (blocks->size - blocks->used < most)
		interp_blocks_reset(c);
	struct block *b = (struct block *)(blocks->arena + blocks->used);
	memset(b, 0, sizeof(*b));
	decode_block(c, b, f, mode);
	if (soft_traces(c, VM_TRACE_IN_ASM))
		soft_trace_in(c, f->linear, f->bytes, b->size);
	interp_specialise(b);
	blocks->decoded++;
	/* What is not kept is run once: the arena's space is taken again next time. */
	if (!settle(c, b, f)) {
		b->dropped = true;
		return b;
	}
	interp_arena_take(blocks, block_bytes(b->count));
	struct block_page *page = page_get(blocks, page_of(f->host));
	struct block **bucket = &page->bucket[((uintptr_t)f->host & PAGE_MASK) >> 6];
	b->next = *bucket;
	*bucket = b;
	bool wide = mode == (X86_DECODE_64 | BLOCK_MODE_VEX);
	if (c->jit && (wide || mode == (X86_DECODE_32 | BLOCK_MODE_VEX))) {
		b->first_exec = b->insns[0].exec;
		b->insns[0].exec = jit_exec_head;
	}
	if (b->host2) {
		page = page_get(blocks, f->host2);
		b->next2 = page->crossers;
		page->crossers = b;
	}
	return b;
}

/* --- finding ------------------------------------------------------------------------------------- */
static bool second_page_same(struct soft_vcpu *c, const struct block *b, uint64_t linear)
{
	uint64_t next = (linear & ~PAGE_MASK) + PAGE_SIZE, phys;
	bool watched;
	if (c->mode != X86_DECODE_64)
		next = (uint32_t)next;
	return soft_translate(c, next, SOFT_FETCH, &phys, &watched) == b->host2;
}

static struct block *search(struct soft_vcpu *c, const struct fetch *f, uint32_t mode)
{
	/* It is often only that the page was not in the first-level TLB. */
	const struct block_slot *slot = &c->blocks->table[block_hash(f->host, mode)];
	if (slot->key == block_key(f->host, mode))
		return slot->block;
	struct block_page *page = page_find(c->blocks, page_of(f->host));
	if (!page)
		return NULL;
	struct block *b = page->bucket[((uintptr_t)f->host & PAGE_MASK) >> 6];
	for (; b; b = b->next) {
		if (b->host == f->host && b->mode == mode && !b->dropped &&
		    (!b->host2 || second_page_same(c, b, f->linear)))
			return b;
	}
	return NULL;
}

/* The code segment's limit (SDM vol. 3, 5.3): the offset, and later the whole block, is inside. */
static void check_fetch(struct soft_vcpu *c)
{
	if (c->long64) {
		if ((uint64_t)(((int64_t)c->s.rip >> 47) + 1) > 1)
			soft_raise_gp(c);
	} else if (c->s.rip > c->s.seg[X86_CS].limit) {
		soft_raise_gp(c);
	}
}

static bool fits_limit(const struct soft_vcpu *c, const struct block *b)
{
	return c->long64 || c->s.rip + b->size - 1 <= c->s.seg[X86_CS].limit;
}

struct block *interp_block_find(struct soft_vcpu *c, uint32_t mode)
{
	struct soft_blocks *blocks = c->blocks;
	struct fetch f;
	bool watched;
	c->block_rip = c->s.rip;
	c->insn = &blocks->fetching;
	check_fetch(c);
	f.host2 = NULL;
	f.linear = c->long64 ? c->s.rip : (uint32_t)(c->s.seg[X86_CS].base + c->s.rip);
	f.host = soft_translate(c, f.linear, SOFT_FETCH, &f.phys, &watched);
	struct block *b = f.host ? search(c, &f, mode) : NULL;
	if (!b)
		b = decode(c, &f, mode);
	if (!fits_limit(c, b)) {
		if (b->count == 1)
			soft_raise_gp(c);
		return interp_block_find(c, mode | BLOCK_MODE_SINGLE);
	}
	if (!b->dropped)
		blocks->table[block_hash(f.host, mode)] = (struct block_slot){
			.key = block_key(f.host, mode) | (b->host2 ? BLOCK_KEY_CROSSES : 0),
			.block = b,
		};
	return b;
}
