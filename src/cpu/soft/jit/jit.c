/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The translator at run time: entering units, linking them, finding them, dropping them. */
#include "base/error.h"
#include "cpu/soft/engine.h"
#include "cpu/soft/jit/emit.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { HEAT_NEVER = 0x8000 };

/* --- life -----------------------------------------------------------------------------------------*/

/*
 * One memory, mapped twice. Anonymous, so that perf(1) asks the perf map for names; mremap() of no
 * bytes makes the second mapping.
 */
static bool map_code(struct jit *jit, GError **error)
{
	jit->write = mmap(NULL, jit->size, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (jit->write == MAP_FAILED)
		return error_set_errno(error, errno, "memory for translated code");
	jit->exec = mremap(jit->write, 0, jit->size, MREMAP_MAYMOVE);
	if (jit->exec == MAP_FAILED || mprotect(jit->exec, jit->size, PROT_READ | PROT_EXEC) < 0)
		return error_set_errno(error, errno, "mapping memory for translated code");
	return true;
}

static void side_forget(struct soft_vcpu *c, unsigned side)
{
	uint8_t *used = c->jit_jumps_used[side], *end = used + SOFT_JUMP_LINES;
	for (uint8_t *at = used; (at = memchr(at, 1, end - at)); *at++ = 0)
		memset(c->jit_jumps[side] + (at - used) * SOFT_JUMPS_IN_LINE, 0,
		       SOFT_JUMPS_IN_LINE * sizeof(struct soft_jump));
	c->jit_jumps[side][0].rip = 1; /* 0 is an address in slot 0 */
}

void jit_jumps_forget(struct soft_vcpu *c, enum soft_tlb_table table)
{
	if ((unsigned)table >= SOFT_JIT_TABLES)
		return;
	side_forget(c, table);
	side_forget(c, table + SOFT_JIT_TABLES);
}

static void jumps_forget(struct soft_vcpu *c)
{
	for (unsigned side = 0; side < SOFT_JUMP_SIDES; side++)
		side_forget(c, side);
}

/*
 * perf(1) looks for the names of code without a file there. All vCPUs add to it, a line at a time.
 */
static bool perf_map_open(struct soft_vcpu *c, GError **error)
{
	g_autofree char *path = g_strdup_printf("/tmp/perf-%d.map", (int)getpid());
	int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW;
	c->jit->perf_map = open(path, c->vcpu->index ? flags : flags | O_TRUNC, 0600);
	if (c->jit->perf_map < 0)
		return error_set_errno(error, errno, "perfmap=on: %s", path);
	return true;
}

/* The TLB lookup is written with RORX. */
bool soft_can_translate(void)
{
	return __builtin_cpu_supports("bmi2");
}

bool jit_create(struct soft_vcpu *c, GError **error)
{
	const struct vm_config *config = &c->vm->config;
	if (!config->translate)
		return true;
	if (!soft_can_translate())
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "jit=on needs a host CPU with BMI2; use -accel soft,jit=off");
	struct jit *jit = c->jit = g_new0(struct jit, 1);
	jit->write = jit->exec = MAP_FAILED;
	jit->perf_map = -1;
	jit->size = soft_code_size(&c->vm->config);
	if (!map_code(jit, error) || (config->perf_map && !perf_map_open(c, error))) {
		jit_destroy(c);
		return false;
	}
	jit_table_fill(jit);
	struct cpu_features host;
	cpu_features_host(&host);
	jit->host_adx = host.word[CPU_WORD_7_0_EBX] & 1u << 19;
	jit->strict = config->translate_strictly;
	jit->verify = config->translate_verified;
	jit->unlocked = c->engine->unlocked;
	jit->threshold = config->translate_after;
	struct jit_emit *e = &jit->emit;
	e->jit = jit;
	e->p = jit->write;
	e->end = jit->write + JIT_UNIT_MAX;
	jit_thunks_make(e);
	g_assert(!e->failed);
	jit->first = jit->used = (size_t)(e->p - jit->write + 63) & ~(size_t)63;
	jumps_forget(c); /* empty slots */
	return true;
}

void jit_destroy(struct soft_vcpu *c)
{
	struct jit *jit = c->jit;
	if (!jit)
		return;
	if (jit->write != MAP_FAILED)
		munmap(jit->write, jit->size);
	if (jit->exec != MAP_FAILED)
		munmap(jit->exec, jit->size);
	if (jit->perf_map >= 0)
		close(jit->perf_map);
	g_free(jit);
	c->jit = NULL;
}

bool jit_wants_reset(const struct soft_vcpu *c)
{
	return c->jit && c->jit->full;
}

void jit_reset(struct soft_vcpu *c)
{
	struct jit *jit = c->jit;
	if (!jit)
		return;
	jumps_forget(c);
	memset(c->jit_entries, 0, sizeof(c->jit_entries));
	jit->used = jit->first;
	jit->full = false;
	jit->resets++;
}

/* --- finding and linking --------------------------------------------------------------------------*/

/* The unit at the host address, in the present mode. */
static struct jit_unit *unit_at(struct soft_vcpu *c, const uint8_t *host)
{
	uint32_t mode = (c->long64 ? X86_DECODE_64 : X86_DECODE_32) | BLOCK_MODE_VEX;
	const struct block_slot *slot = &c->blocks->table[block_hash(host, mode)];
	/* One that crosses looks at the second page itself. */
	if ((slot->key & ~BLOCK_KEY_CROSSES) != block_key(host, mode) ||
	    !slot->block->unit[c->tlb_table])
		return NULL;
	struct jit_unit *u = slot->block->unit[c->tlb_table];
	c->jit_entries[jit_side(c)][jit_entry_slot(host)] = (struct soft_entry){ host, u->code };
	return u;
}

/* The unit for c->s.rip, if it is there and nothing is pending. */
static struct jit_unit *find(struct soft_vcpu *c)
{
	c->jit->stop = false;
	/* The instruction before may have been HLT. */
	if (!jit_may_run(c) || c->s.activity != X86_RUNNING ||
	    atomic_load_explicit(&c->pending, memory_order_relaxed))
		return NULL;
	const uint8_t *host = soft_fetch_host(c, c->s.rip);
	struct jit_unit *u = host ? unit_at(c, host) : NULL;
	if (u)
		c->block_rip = c->s.rip & ~(uint64_t)PAGE_MASK;
	return u;
}

void jit_stop(struct soft_vcpu *c)
{
	if (!c->jit)
		return;
	c->jit->stop = true;
	/* Others have come to reach the guest's memory: all is translated again, with LOCK. */
	if (c->jit->unlocked && atomic_load(&c->engine->exposed)) {
		c->jit->unlocked = false;
		c->jit->full = true;
	}
}

static uint8_t *writable(const struct soft_vcpu *c, const uint8_t *code)
{
	return c->jit->write + (code - c->jit->exec);
}

static const uint8_t *host_page_of(const struct jit_unit *u)
{
	return (const uint8_t *)((uintptr_t)u->block->host & ~(uintptr_t)PAGE_MASK);
}

static void link_to(struct soft_vcpu *c, struct jit_link *link, struct jit_unit *u)
{
	const uint8_t *page = host_page_of(u), *code = writable(c, u->code);
	if (!link->far && page != host_page_of(link->from))
		return;
	if (link->to)
		return;
	link->to = u;
	link->next = u->incoming;
	u->incoming = link;
	if (link->far)
		memcpy(link->host_page, &page, sizeof(page));
	jit_bind(link->final, code);
	if (u->live_in)
		return;
	/* Nobody looks at the flags: past their saving, and if there is nothing to check, right there. */
	bool plain = link->final == link->direct + 1;
	jit_bind(link->source, plain ? code : link->direct);
	c->jit->links++;
}

static void unlink_all(struct jit_unit *u)
{
	struct jit_link *next;
	for (struct jit_link *link = u->incoming; link; link = next) {
		next = link->next;
		jit_bind(link->source, link->save);
		jit_bind(link->final, link->resolve);
		/* The check in a far link must fail before it changes block_rip. */
		if (link->far)
			memset(link->host_page, 0, sizeof(const uint8_t *));
		link->to = NULL;
	}
	u->incoming = NULL;
}

void jit_block_drop(struct soft_vcpu *c, struct block *b)
{
	if (!c->jit)
		return;
	for (unsigned t = 0; t < SOFT_JIT_TABLES; t++) {
		if (!b->unit[t])
			continue;
		unlink_all(b->unit[t]);
		unsigned side = b->unit[t]->side;
		struct soft_entry *entry = &c->jit_entries[side][jit_entry_slot(b->host)];
		if (entry->code == b->unit[t]->code)
			*entry = (struct soft_entry){ 0 };
		b->unit[t] = NULL;
		side_forget(c, side);
		c->jit->stop = true;
	}
}

/* --- what translated code calls -------------------------------------------------------------------*/

const uint8_t *jit_help_link(struct soft_vcpu *c, struct jit_link *link)
{
	c->jit->link_calls++;
	c->s.rip = c->block_rip + (uint64_t)(int64_t)link->target;
	if (!c->long64)
		c->s.rip = (uint32_t)c->s.rip;
	struct jit_unit *u = find(c);
	if (!u)
		return NULL;
	link_to(c, link, u);
	return u->code;
}

static void interpret(struct soft_vcpu *c, const struct soft_insn *i)
{
	c->jit->calls++;
	c->jit->called_of[i->x.map][i->x.opcode]++;
	c->insn = i;
	i->fn(c, i);
}

const uint8_t *jit_help_end(struct soft_vcpu *c, const struct soft_insn *i)
{
	interpret(c, i);
	struct jit_unit *u = find(c);
	return u ? u->code : NULL;
}

const uint8_t *jit_help_plain(struct soft_vcpu *c, struct jit_unit *u)
{
	c->s.rip = c->block_rip | ((uintptr_t)u->block->host & PAGE_MASK);
	if (!u->plain)
		u->plain = jit_translate_plain(c, u);
	if (!u->plain) {
		/* Once in the interpreter, from here on: everything starts again after it. */
		c->jit->full = true;
		return NULL;
	}
	jit_bind(u->to_plain, writable(c, u->plain->code));
	return u->plain->code;
}

const uint8_t *jit_help_goto(struct soft_vcpu *c, uint64_t rip)
{
	c->s.rip = rip;
	struct jit_unit *u = find(c);
	return u ? u->code : NULL;
}

const uint8_t *jit_help_before(struct soft_vcpu *c, const struct soft_insn *i)
{
	c->s.rip = insn_rip(c, i);
	return NULL;
}

const uint8_t *jit_help_after(struct soft_vcpu *c, const struct soft_insn *i)
{
	c->s.rip = insn_next_rip(c, i);
	return NULL;
}

const uint8_t *jit_help_insn(struct soft_vcpu *c, const struct soft_insn *i)
{
	unsigned table = c->tlb_table;
	interpret(c, i);
	/* A string instruction writes rip: it may have stopped for an event. */
	bool stopped = i->ends && c->s.rip != insn_next_rip(c, i);
	if (!soft_unlikely(c->jit->stop || c->tlb_table != table || stopped))
		return NULL;
	if (!i->ends)
		c->s.rip = insn_next_rip(c, i);
	struct jit_unit *u = find(c);
	return u ? u->code : c->jit->exec + (c->jit->leave - c->jit->write);
}

/* --- from the interpreter -------------------------------------------------------------------------*/

static void enter(struct soft_vcpu *c, const struct jit_unit *u)
{
	typedef void enter_fn(struct soft_vcpu *c, const uint8_t *code);
	const uint8_t *at = c->jit->exec + (c->jit->enter - c->jit->write);
	c->block_rip &= ~(uint64_t)PAGE_MASK;
	c->jit->stop = false;
	((enter_fn *)(uintptr_t)at)(c, u->code);
}

/* A unit whose instruction lies across two pages looks at the second one: would it like it? */
static bool second_page_ready(struct soft_vcpu *c, const struct block *b)
{
	if (!b->host2)
		return true;
	uint64_t next = (c->block_rip & ~(uint64_t)PAGE_MASK) + PAGE_SIZE;
	return soft_fetch_host(c, next) == b->host2;
}

void jit_exec_head(struct soft_vcpu *c, const struct soft_insn *i)
{
	struct block *b = (struct block *)((uintptr_t)i - offsetof(struct block, insns));
	unsigned table = c->tlb_table;
	if (jit_may_run(c) && second_page_ready(c, b)) {
		struct jit_unit *u = b->unit[table];
		if (!u && b->heat != HEAT_NEVER && ++b->heat >= c->jit->threshold) {
			b->heat = 0;
			bool refused;
			if (!c->jit->units)
				soft_vcpu_use_huge_pages(c);
			u = b->unit[table] = jit_translate(c, b, &refused);
			if (!u && refused)
				b->heat = HEAT_NEVER;
		}
		if (u) {
			enter(c, u);
			return;
		}
	}
	b->first_exec(c, i);
}

/* --- for people -----------------------------------------------------------------------------------*/

void jit_describe(const struct soft_vcpu *c, GString *text)
{
	const struct jit *jit = c->jit;
	if (!jit)
		return;
	g_string_append_printf(text,
			       "  translated: %" G_GUINT64_FORMAT " units, %" G_GUINT64_FORMAT
			       " instructions, %" G_GUINT64_FORMAT " KiB of code, %" G_GUINT64_FORMAT
			       " jumps linked, %" G_GUINT64_FORMAT " resets\n",
			       jit->units, jit->insns, jit->bytes >> 10, jit->links, jit->resets);
	g_string_append_printf(text, "  code memory: %zu of %zu KiB in use\n", jit->used >> 10,
			       jit->size >> 10);
	g_string_append_printf(text,
			       "  calls from translated code: %" G_GUINT64_FORMAT " for links, %"
			       G_GUINT64_FORMAT " for vector registers, %" G_GUINT64_FORMAT
			       " for instructions:\n",
			       jit->link_calls, jit->vector_calls, jit->calls);
	static const char *const map[4] = { "", "0F ", "0F 38 ", "0F 3A " };
	for (unsigned m = 0; m < 4; m++) {
		for (unsigned op = 0; op < 256; op++) {
			if (jit->called_of[m][op] > jit->calls / 100)
				g_string_append_printf(text, "    %s%02X: %" G_GUINT64_FORMAT "\n",
						       map[m], op, jit->called_of[m][op]);
		}
	}
}
