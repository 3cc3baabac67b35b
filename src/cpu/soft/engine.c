/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The software engine's operations, and the map of pages that hold decoded code. */
#include "cpu/soft/engine.h"

#include "base/error.h"
#include "base/lock.h"
#include "cpu/soft/interp/blocks.h"
#include "cpu/soft/jit/jit.h"

#include <errno.h>
#include <sys/mman.h>

/* Linux 6.1's; C libraries learnt of it later. */
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

/*
 * Translated code has the stack pointer at the vCPU's first byte: below is room for its calls, and
 * for what a signal handler needs.
 */
enum { SIGNAL_ROOM = 256 << 10, HUGE_PAGE = 2 << 20 };
enum { CODE_SIZE = 256 << 20, CODE_SIZE_MIN = 512 << 10 };
enum { CODE_HITS_MAX = 32 };
#define VCPU_MAPPED \
	((SIGNAL_ROOM + sizeof(struct soft_vcpu) + PAGE_MASK) & ~(size_t)PAGE_MASK)

size_t soft_code_size(const struct vm_config *config)
{
	if (!config->translate_memory)
		return CODE_SIZE;
	return MAX(config->translate_memory / config->vcpus & ~(uint64_t)PAGE_MASK, CODE_SIZE_MIN);
}

static struct soft_engine *engine_of(struct vm *vm)
{
	return vm->engine_data;
}

/* --- code pages ------------------------------------------------------------------------------------ */
uint64_t soft_code_lines(uint64_t offset, uint64_t length)
{
	unsigned first = (offset & PAGE_MASK) >> 6, last = ((offset + length - 1) & PAGE_MASK) >> 6;
	return (~UINT64_C(0) >> (63 - last)) & (~UINT64_C(0) << first);
}

/* What was decoded of these lines is void: now on this thread's vCPU, soon on the others. */
static void lines_overwritten(struct soft_engine *engine, const uint8_t *host_page, uint64_t lines)
{
	for (unsigned n = 0; n < engine->vm->vcpu_count; n++) {
		struct soft_vcpu *c = soft_of(&engine->vm->vcpus[n]);
		if (!c || !c->blocks)
			continue;
		if (atomic_load(&c->blocks->in_run) &&
		    pthread_equal(atomic_load(&c->blocks->runner), pthread_self()))
			interp_blocks_drop_lines(c, host_page, lines);
		else
			interp_blocks_queue(c, host_page, lines);
	}
}

static void code_page_written(struct soft_code_map *map, uint64_t offset, uint64_t length)
{
	struct soft_engine *engine = map->engine;
	uint64_t page = offset >> PAGE_BITS;
	/* The write must be visible before the lines are read: see decode() in interp/blocks.c. */
	atomic_thread_fence(memory_order_seq_cst);
	uint64_t written = soft_code_lines(offset, length);
	/* Data beside code: nothing to do, and the common case. */
	if (!(__atomic_load_n(&map->lines[page], __ATOMIC_RELAXED) & written))
		return;
	LOCK_SCOPE(&engine->lock);
	/*
	 * A kernel that patches one function, which Linux does thousands of times, leaves the others in
	 * the page alone. But one that is written to again and again is no code page any more.
	 */
	if (++map->hits[page] == CODE_HITS_MAX)
		written = BLOCK_ALL_LINES;
	uint64_t left = map->lines[page] & ~written;
	__atomic_store_n(&map->lines[page], left, __ATOMIC_RELAXED);
	if (!left) {
		map->hits[page] = 0;
		atomic_fetch_and(&map->ram->page_state[page], (uint8_t)~RAM_PAGE_CODE);
	}
	lines_overwritten(engine, map->ram->host + (page << PAGE_BITS), written);
	engine->code_writes++;
}

/* ram_block's hook. Any thread. */
static void code_written(void *opaque, struct ram_block *ram, uint64_t offset, uint64_t length)
{
	struct soft_code_map *map = opaque;
	while (length) {
		uint64_t n = PAGE_SIZE - (offset & PAGE_MASK);
		if (n > length)
			n = length;
		code_page_written(map, offset, n);
		offset += n;
		length -= n;
	}
}

static void code_map_free(struct soft_code_map *map)
{
	g_free(map->lines);
	g_free(map->marked);
	g_free(map->hits);
	g_free(map);
}

/* ram_block's hook: boards free their RAM before the VM, when no vCPU runs any more. */
static void code_freed(void *opaque)
{
	struct soft_code_map *map = opaque;
	LOCK_SCOPE(&map->engine->lock);
	struct soft_code_map **at = &map->engine->maps;
	while (*at != map)
		at = &(*at)->next;
	*at = map->next;
	code_map_free(map);
}

static struct soft_code_map *code_map_get(struct soft_engine *engine, struct ram_block *ram)
{
	if (ram->code_opaque)
		return ram->code_opaque;
	struct soft_code_map *map = g_new0(struct soft_code_map, 1);
	map->lines = g_new0(uint64_t, ram->size >> PAGE_BITS);
	map->marked = g_new0(uint32_t, ram->size >> PAGE_BITS);
	map->hits = g_new0(uint8_t, ram->size >> PAGE_BITS);
	map->engine = engine;
	map->ram = ram;
	map->next = engine->maps;
	engine->maps = map;
	ram->code_written = code_written;
	ram->code_freed = code_freed;
	ram->code_opaque = map;
	return map;
}

/* Take direct write access to a new code page away from all vCPUs: now, or by their queues. */
static void protect_page(struct soft_vcpu *c, const uint8_t *host_page)
{
	struct vm *vm = c->vm;
	soft_tlb_protect(c, host_page);
	for (unsigned n = 0; n < vm->vcpu_count; n++) {
		struct soft_vcpu *other = soft_of(&vm->vcpus[n]);
		if (other && other != c && other->blocks)
			interp_blocks_queue(other, host_page, 0);
	}
}

/* Those that do not run handle their queues before they do. */
static bool all_acknowledged(struct soft_vcpu *c, uint32_t number)
{
	struct vm *vm = c->vm;
	for (unsigned n = 0; n < vm->vcpu_count; n++) {
		struct soft_vcpu *other = soft_of(&vm->vcpus[n]);
		if (!other || other == c || !other->blocks)
			continue;
		if (atomic_load(&other->blocks->in_run) && !atomic_load(&other->sleeping) &&
		    (int32_t)(atomic_load(&other->blocks->acknowledged) - number) < 0)
			return false;
	}
	return true;
}

bool soft_engine_code_mark(struct soft_vcpu *c, uint64_t phys, unsigned length)
{
	return soft_engine_code_mark_lines(c, phys, soft_code_lines(phys, length));
}

bool soft_engine_code_mark_lines(struct soft_vcpu *c, uint64_t phys, uint64_t lines)
{
	struct soft_engine *engine = c->engine;
	struct space_range range;
	if (!space_find(c->vm->memory, phys, &range) || !range.ram)
		return false;
	uint64_t offset = range.ram_offset + (phys - range.base), page = offset >> PAGE_BITS;
	LOCK_SCOPE(&engine->lock);
	struct soft_code_map *map = code_map_get(engine, range.ram);
	__atomic_store_n(&map->lines[page], map->lines[page] | lines, __ATOMIC_SEQ_CST);
	if (!(atomic_fetch_or(&range.ram->page_state[page], RAM_PAGE_CODE) & RAM_PAGE_CODE)) {
		map->marked[page] = atomic_fetch_add(&engine->protections, 1) + 1;
		protect_page(c, range.ram->host + (page << PAGE_BITS));
	}
	return all_acknowledged(c, map->marked[page]);
}

/* --- operations ------------------------------------------------------------------------------------ */
static bool engine_probe(GError **error)
{
	return true;
}

static bool engine_features(struct cpu_features *allowed, GError **error)
{
	soft_features(allowed);
	return true;
}

static bool has_shared_ram(const struct space_range *ranges, unsigned count)
{
	for (unsigned n = 0; n < count; n++) {
		if (ranges[n].ram && ranges[n].ram->shared)
			return true;
	}
	return false;
}

/* That memory is not what it was. */
static void tell_vcpus(struct vm *vm)
{
	for (unsigned n = 0; n < vm->vcpu_count; n++) {
		struct soft_vcpu *c = soft_of(&vm->vcpus[n]);
		if (!c)
			continue;
		soft_post(c, SOFT_PENDING_TLB_FLUSH);
		/* Its own access changed the map (a flash command): the very next load must see it. */
		if (atomic_load(&c->blocks->in_run) &&
		    pthread_equal(atomic_load(&c->blocks->runner), pthread_self()))
			soft_memory_changed(c);
	}
}

static void memory_changed(void *opaque, const struct space_range *ranges, unsigned count)
{
	struct soft_engine *engine = opaque;
	if (has_shared_ram(ranges, count))
		atomic_store(&engine->exposed, true);
	tell_vcpus(engine->vm);
}

static void engine_memory_exposed(struct vm *vm)
{
	atomic_store(&engine_of(vm)->exposed, true);
	tell_vcpus(vm);
}

static bool engine_vm_create(struct vm *vm, GError **error)
{
	struct soft_engine *engine = g_new0(struct soft_engine, 1);
	engine->vm = vm;
	engine->dispatch = interp_dispatch_new();
	pthread_mutex_init(&engine->lock, NULL);
	pthread_mutex_init(&engine->split_lock, NULL);
	vm->engine_data = engine;
	soft_clocks_begin(engine);
	const struct space_listener listener = { .changed = memory_changed, .opaque = engine };
	space_set_listener(vm->memory, &listener);
	return true;
}

static void engine_vm_destroy(struct vm *vm)
{
	struct soft_engine *engine = engine_of(vm);
	if (!engine)
		return;
	space_set_listener(vm->memory, NULL);
	while (engine->maps) {
		struct soft_code_map *map = engine->maps;
		engine->maps = map->next;
		map->ram->code_written = NULL;
		map->ram->code_freed = NULL;
		map->ram->code_opaque = NULL;
		code_map_free(map);
	}
	interp_dispatch_free(engine->dispatch);
	pthread_mutex_destroy(&engine->lock);
	pthread_mutex_destroy(&engine->split_lock);
	g_free(engine);
	vm->engine_data = NULL;
}

static enum engine_irqchip engine_irqchip(struct vm *vm)
{
	return ENGINE_IRQCHIP_SPLIT;
}

static void engine_vcpu_destroy(struct vcpu *vcpu)
{
	struct soft_vcpu *c = soft_of(vcpu);
	if (!c)
		return;
	vcpu->engine_data = NULL;
	soft_system_destroy(c);
	soft_native_destroy(c);
	interp_blocks_destroy(c);
	jit_destroy(c);
	munmap((uint8_t *)c - SIGNAL_ROOM, VCPU_MAPPED);
}

/* On a huge page's boundary, for soft_vcpu_use_huge_pages(). NULL with errno. */
static struct soft_vcpu *vcpu_map(void)
{
	size_t room = VCPU_MAPPED + HUGE_PAGE;
	uint8_t *p = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	size_t before = -(uintptr_t)(p + SIGNAL_ROOM) & (HUGE_PAGE - 1);
	if (before)
		munmap(p, before);
	munmap(p + before + VCPU_MAPPED, room - before - VCPU_MAPPED);
	return (struct soft_vcpu *)(p + before + SIGNAL_ROOM);
}

void soft_vcpu_use_huge_pages(struct soft_vcpu *c)
{
	/* Where the host has none, or is older than Linux 6.1, small ones do as well. */
	madvise(c, VCPU_MAPPED - SIGNAL_ROOM, MADV_HUGEPAGE);
	madvise(c, HUGE_PAGE, MADV_COLLAPSE);
	madvise(c->blocks->arena, c->blocks->size, MADV_HUGEPAGE);
}

/* The first vCPU is created when the board has mapped its RAM. */
static void choose_locks(struct soft_engine *engine)
{
	const struct vm_config *config = &engine->vm->config;
	engine->unlocked = config->vcpus == 1 && config->translate && !config->translate_locked &&
			   !atomic_load(&engine->exposed) && vm_take_fences(engine->vm);
}

static bool engine_vcpu_create(struct vcpu *vcpu, GError **error)
{
	struct soft_vcpu *c = vcpu_map();
	if (!c)
		return error_set_errno(error, errno, "cannot map memory for vCPU %u", vcpu->index);
	c->vcpu = vcpu;
	c->vm = vcpu->vm;
	c->engine = engine_of(vcpu->vm);
	vcpu->engine_data = c;
	if (vcpu->index == 0)
		choose_locks(c->engine);
	if (!interp_blocks_create(c, error) || !jit_create(c, error) || !soft_native_create(c, error) ||
	    !soft_system_create(c, error)) {
		engine_vcpu_destroy(vcpu);
		return false;
	}
	soft_tlb_flush_all(c);
	return true;
}

static void engine_vcpu_reset(struct vcpu *vcpu)
{
	/* Memory is about to be filled anew, in part below what tracks writes to code. */
	soft_blocks_flush(soft_of(vcpu));
	soft_system_reset(soft_of(vcpu));
}

static enum vcpu_exit engine_vcpu_run(struct vcpu *vcpu, GError **error)
{
	return soft_run(soft_of(vcpu));
}

static void engine_vcpu_kick(struct vcpu *vcpu)
{
	soft_post(soft_of(vcpu), SOFT_PENDING_KICK);
}

static bool engine_get_state(struct vcpu *vcpu, struct x86_state *state, GError **error)
{
	soft_state_get(soft_of(vcpu), state);
	return true;
}

static bool engine_set_state(struct vcpu *vcpu, const struct x86_state *state, GError **error)
{
	soft_state_set(soft_of(vcpu), state);
	return true;
}

static void engine_nmi(struct vcpu *vcpu)
{
	soft_post(soft_of(vcpu), SOFT_PENDING_NMI);
}

static char *engine_describe(struct vm *vm)
{
	struct soft_engine *engine = engine_of(vm);
	GString *text = g_string_new("software engine\n");
	for (unsigned n = 0; n < vm->vcpu_count; n++) {
		struct soft_vcpu *c = soft_of(&vm->vcpus[n]);
		if (!c || !c->blocks)
			continue;
		g_string_append_printf(text,
				       "vCPU %u: %" G_GUINT64_FORMAT " blocks decoded, "
				       "%" G_GUINT64_FORMAT " dropped, %" G_GUINT64_FORMAT
				       " flushes, %zu KiB in use\n",
				       n, c->blocks->decoded, c->blocks->dropped,
				       c->blocks->flushes, c->blocks->used >> 10);
		jit_describe(c, text);
	}
	g_string_append_printf(text, "writes to code: %" G_GUINT64_FORMAT "\nLOCK prefixes: %s\n",
			       engine->code_writes,
			       engine->unlocked && !engine->exposed ? "left out" : "kept");
	return g_string_free(text, FALSE);
}

/* --- dirty log --------------------------------------------------------------------------------------
 *
 * No TLB has write access to a page that is RAM_PAGE_CLEAN: the first store looks at the page's state and
 * clears the bit, the second one gets the access, and those after it cost nothing. Who sets the bit -
 * ram_dirty_start(), ram_dirty_take() - has the TLBs flushed afterwards; nothing is ever to be fetched.
 */
static void flush_vcpu(struct vcpu *vcpu, void *opaque)
{
	soft_tlb_flush_all(soft_of(vcpu));
}

static void start_range(void *opaque, const struct space_range *range)
{
	if (range->ram && !range->readonly)
		ram_dirty_start(range->ram);
}

static void stop_range(void *opaque, const struct space_range *range)
{
	if (range->ram && !range->readonly)
		ram_dirty_stop(range->ram);
}

static bool engine_dirty_log_sync(struct vm *vm, GError **error)
{
	for (unsigned n = 0; n < vm->vcpu_count; n++)
		vcpu_call(&vm->vcpus[n], flush_vcpu, NULL);
	return true;
}

static bool engine_dirty_log_start(struct vm *vm, GError **error)
{
	space_for_each(vm->memory, start_range, NULL);
	return engine_dirty_log_sync(vm, error);
}

static void engine_dirty_log_stop(struct vm *vm)
{
	space_for_each(vm->memory, stop_range, NULL);
}

const struct engine_ops soft_engine = {
	.name = "soft",
	.description = "Berth's own x86 engine: needs nothing of the host but its CPU",
	.emulates = true,
	.probe = engine_probe,
	.features = engine_features,
	.vm_create = engine_vm_create,
	.vm_destroy = engine_vm_destroy,
	.irqchip = engine_irqchip,
	.vcpu_create = engine_vcpu_create,
	.vcpu_destroy = engine_vcpu_destroy,
	.vcpu_reset = engine_vcpu_reset,
	.vcpu_run = engine_vcpu_run,
	.vcpu_kick = engine_vcpu_kick,
	.run_changed = soft_clocks_run,
	.vcpu_get_state = engine_get_state,
	.vcpu_set_state = engine_set_state,
	.msi_send = soft_msi_send,
	.extint_set = soft_extint_set,
	.nmi = engine_nmi,
	.dirty_log_start = engine_dirty_log_start,
	.dirty_log_sync = engine_dirty_log_sync,
	.dirty_log_stop = engine_dirty_log_stop,
	.memory_exposed = engine_memory_exposed,
	.describe = engine_describe,
};
