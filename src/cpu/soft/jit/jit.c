/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The translator at run time: entering units, linking them, finding them, dropping them. */
#include "base/error.h"
#include "cpu/soft/engine.h"
#include "cpu/soft/jit/emit.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

enum { HEAT_NEVER = 0x8000 };

/* --- life -----------------------------------------------------------------------------------------*/

static void jumps_clear(struct soft_vcpu *c)
{
	for (unsigned side = 0; side < SOFT_JUMP_SIDES; side++) {
		for (unsigned n = 0; n < SOFT_JUMPS; n++)
			c->jit_jumps[side][n].rip = soft_jump_empty(n);
	}
}

static bool map_code(struct jit *jit, GError **error)
{
	jit->fd = memfd_create("berth-jit", MFD_CLOEXEC);
	if (jit->fd < 0 || ftruncate(jit->fd, JIT_CODE_SIZE) < 0)
		return error_set_errno(error, errno, "memory for translated code");
	jit->write = mmap(NULL, JIT_CODE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, jit->fd, 0);
	jit->exec = mmap(NULL, JIT_CODE_SIZE, PROT_READ | PROT_EXEC, MAP_SHARED, jit->fd, 0);
	if (jit->write == MAP_FAILED || jit->exec == MAP_FAILED)
		return error_set_errno(error, errno, "mapping memory for translated code");
	return true;
}

bool jit_create(struct soft_vcpu *c, GError **error)
{
	const struct vm_config *config = &c->vm->config;
	if (!config->translate)
		return true;
	/* The TLB lookup is written with RORX. */
	if (!__builtin_cpu_supports("bmi2"))
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "jit=on needs a host CPU with BMI2; use -accel soft,jit=off");
	struct jit *jit = c->jit = g_new0(struct jit, 1);
	jit->write = jit->exec = MAP_FAILED;
	if (!map_code(jit, error)) {
		jit_destroy(c);
		return false;
	}
	jit_table_fill(jit);
	jit->strict = config->translate_strictly;
	jit->threshold = config->translate_after;
	struct jit_emit *e = &jit->emit;
	e->jit = jit;
	e->p = jit->write;
	e->end = jit->write + JIT_UNIT_MAX;
	jit_thunks_make(e);
	g_assert(!e->failed);
	jit->first = jit->used = (size_t)(e->p - jit->write + 63) & ~(size_t)63;
	jumps_clear(c);
	return true;
}

void jit_destroy(struct soft_vcpu *c)
{
	struct jit *jit = c->jit;
	if (!jit)
		return;
	if (jit->write != MAP_FAILED)
		munmap(jit->write, JIT_CODE_SIZE);
	if (jit->exec != MAP_FAILED)
		munmap(jit->exec, JIT_CODE_SIZE);
	if (jit->fd >= 0)
		close(jit->fd);
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
	jit_jumps_forget(c, true);
	jit->used = jit->first;
	jit->full = false;
	jit->resets++;
}

/* --- indirect jumps -------------------------------------------------------------------------------*/

static unsigned page_bit(uint64_t linear)
{
	uint64_t page = linear >> PAGE_BITS;
	return (page ^ page >> 6 ^ page >> 12) & 63;
}

static void jump_note(struct soft_vcpu *c, uint64_t rip, const uint8_t *code)
{
	struct jit_notes *notes = &c->jit->notes[c->tlb_table];
	unsigned slot = rip & (SOFT_JUMPS - 1);
	struct soft_jump *j = &c->jit_jumps[c->tlb_table][slot];
	if (j->rip == soft_jump_empty(slot))
		notes->slot[notes->count++] = slot;
	*j = (struct soft_jump){ rip, code };
	if (!soft_tlb_slot_global(c, rip))
		notes->local = true;
	c->jit->noted_pages |= UINT64_C(1) << page_bit(rip);
}

void jit_jumps_forget(struct soft_vcpu *c, bool global)
{
	struct jit *jit = c->jit;
	if (!jit)
		return;
	bool all = true;
	for (unsigned side = 0; side < SOFT_JUMP_SIDES; side++) {
		struct jit_notes *notes = &jit->notes[side];
		if (!global && !notes->local) {
			all &= notes->count == 0;
			continue;
		}
		for (unsigned n = 0; n < notes->count; n++)
			c->jit_jumps[side][notes->slot[n]].rip = soft_jump_empty(notes->slot[n]);
		notes->count = 0;
		notes->local = false;
	}
	if (all)
		jit->noted_pages = 0;
}

void jit_jumps_forget_page(struct soft_vcpu *c, uint64_t linear)
{
	if (c->jit && c->jit->noted_pages >> page_bit(linear) & 1)
		jit_jumps_forget(c, true);
}

/* --- finding and linking --------------------------------------------------------------------------*/

/* The unit for c->s.rip, if it is there and nothing is pending. */
static struct jit_unit *find(struct soft_vcpu *c)
{
	c->jit->stop = false;
	/* The instruction before may have been HLT. */
	if (c->tlb_table >= SOFT_JUMP_SIDES || c->s.activity != X86_RUNNING)
		return NULL;
	struct block *b = block_quick(c, c->s.rip);
	if (!b || !b->unit[c->tlb_table])
		return NULL;
	c->block_rip = c->s.rip & ~(uint64_t)PAGE_MASK;
	return b->unit[c->tlb_table];
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
	for (unsigned t = 0; t < SOFT_JUMP_SIDES; t++) {
		if (!b->unit[t])
			continue;
		unlink_all(b->unit[t]);
		b->unit[t] = NULL;
		jit_jumps_forget(c, true);
		c->jit->stop = true;
	}
}

/* --- what translated code calls -------------------------------------------------------------------*/

const uint8_t *jit_help_link(struct soft_vcpu *c, struct jit_link *link)
{
	c->s.rip = c->block_rip + (uint64_t)(int64_t)link->target;
	struct jit_unit *u = find(c);
	if (!u)
		return NULL;
	link_to(c, link, u);
	return u->code;
}

static bool is_indirect(const struct x86_insn *x)
{
	return x->map == X86_MAP_1 && (x->opcode == 0xc3 || x->opcode == 0xc2 || x->opcode == 0xff);
}

const uint8_t *jit_help_end(struct soft_vcpu *c, const struct soft_insn *i)
{
	c->insn = i;
	i->fn(c, i);
	struct jit_unit *u = find(c);
	if (!u)
		return NULL;
	if (is_indirect(&i->x))
		jump_note(c, c->s.rip, u->code);
	return u->code;
}

const uint8_t *jit_help_after(struct soft_vcpu *c, const struct soft_insn *i)
{
	c->s.rip = insn_next_rip(c, i);
	return NULL;
}

const uint8_t *jit_help_insn(struct soft_vcpu *c, const struct soft_insn *i)
{
	unsigned table = c->tlb_table;
	c->insn = i;
	i->fn(c, i);
	if (!soft_unlikely(c->jit->stop || c->tlb_table != table))
		return NULL;
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

void jit_exec_head(struct soft_vcpu *c, const struct soft_insn *i)
{
	struct block *b = (struct block *)((uintptr_t)i - offsetof(struct block, insns));
	unsigned table = c->tlb_table;
	if (table < SOFT_JUMP_SIDES) {
		struct jit_unit *u = b->unit[table];
		if (!u && b->heat != HEAT_NEVER && ++b->heat >= c->jit->threshold) {
			b->heat = 0;
			bool refused;
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
	g_string_append_printf(text, "  left to the interpreter: %" G_GUINT64_FORMAT "\n",
			       jit->fallbacks);
	static const char *const map[4] = { "", "0F ", "0F 38 ", "0F 3A " };
	for (unsigned m = 0; m < 4; m++) {
		for (unsigned op = 0; op < 256; op++) {
			if (jit->fallback_of[m][op] > jit->fallbacks / 50)
				g_string_append_printf(text, "    %s%02X: %" G_GUINT64_FORMAT "\n",
						       map[m], op, jit->fallback_of[m][op]);
		}
	}
}
