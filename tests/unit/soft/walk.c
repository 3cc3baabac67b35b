/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The engine's page walk and TLBs against a plain model: random tables in all formats, random
 * rights, random accesses; and after changes to the tables, the flush that the manual asks for.
 */
#include "soft_guest.h"

#include "base/bytes.h"
#include "cpu/soft/mem.h"
#include "cpu/soft/system/system.h"
#include "cpu/x86/walk.h"

enum {
	RAM = 8 << 20, TABLES = 0x10000, TABLE_COUNT = 64, /* pages that tables are taken from */
	ROUNDS = 200, ACCESSES = 300,
};

struct setup {
	struct soft_guest *g;
	GRand *rand;
	unsigned levels, entry_size, index_bits;
};

static bool chance(struct setup *t, unsigned one_in)
{
	return g_rand_int_range(t->rand, 0, one_in) == 0;
}

static uint64_t read_entry(struct setup *t, uint64_t addr)
{
	/* Nothing is there beyond RAM: all ones. */
	return addr >= RAM ? size_mask(t->entry_size) :
			     le_load(t->g->ram->host + addr, t->entry_size);
}

/* An entry for any level: mostly usable, sometimes with every kind of flaw. */
static uint64_t random_entry(struct setup *t, unsigned level)
{
	uint64_t e = g_rand_int_range(t->rand, 0, 32); /* P W U PWT PCD */
	if (!chance(t, 8))
		e |= 1;
	if (!chance(t, 4))
		e |= 6;
	if (chance(t, 2))
		e |= 0x20;
	if (chance(t, 2))
		e |= 0x40;
	if (level > 1 && chance(t, 3)) {
		/* A large page, sometimes with reserved address bits. */
		unsigned shift = 12 + (level - 1) * t->index_bits;
		e |= 0x80 | ((uint64_t)g_rand_int_range(t->rand, 0, RAM >> 12) << 12);
		if (!chance(t, 8))
			e &= ~(((UINT64_C(1) << shift) - 1) & ~UINT64_C(0xfff));
	} else if (level > 1) {
		e |= TABLES + g_rand_int_range(t->rand, 1, TABLE_COUNT) * 4096;
	} else {
		e |= (uint64_t)g_rand_int_range(t->rand, 0x80, RAM >> 12) << 12;
	}
	if (chance(t, 4))
		e |= 0x100;
	if (t->entry_size == 8) {
		if (chance(t, 4))
			e |= UINT64_C(1) << 63;
		if (chance(t, 32))
			e |= UINT64_C(1) << g_rand_int_range(t->rand, 30, 62);
	}
	return e;
}

static void fill_tables(struct setup *t)
{
	for (unsigned n = 0; n < TABLE_COUNT; n++) {
		/* Few distinct slots are used: linear addresses are made from them. */
		for (unsigned slot = 0; slot < 8; slot++) {
			unsigned level = n == 0 ? t->levels : 1 + n % (t->levels - 1);
			uint64_t e = random_entry(t, level);
			if (n == 0 && t->levels == 3) /* PAE's root: bad bits are #GP at CR3 */
				e = (e & 0xfffff000) | (e & 1);
			le_store(t->g->ram->host + TABLES + n * 4096 + slot * t->entry_size, e,
				 t->entry_size);
		}
	}
}

static uint64_t random_linear(struct setup *t)
{
	uint64_t linear = g_rand_int_range(t->rand, 0, 4096);
	for (unsigned level = 0; level < t->levels; level++) {
		unsigned slots = t->levels == 3 && level == 2 ? 4 : 8;
		linear |= (uint64_t)g_rand_int_range(t->rand, 0, slots)
			  << (12 + level * t->index_bits);
	}
	return linear;
}

enum { FAULT = 1 << 30 };

/* SDM vol. 3, 4.3 to 4.7, as plainly as it can be said. A fault code | FAULT, or 0 and *phys. */
static uint32_t model(struct setup *t, uint64_t linear, enum soft_access access, bool user, bool ac,
		      uint64_t *phys)
{
	const struct x86_state *s = &t->g->c->s;
	bool nx_on = s->efer & X86_EFER_NX && t->entry_size == 8;
	uint32_t code = FAULT | (access == SOFT_WRITE ? X86_PF_W : 0) | (user ? X86_PF_U : 0) |
			(access == SOFT_FETCH && (nx_on || s->cr4 & X86_CR4_SMEP) ? X86_PF_I : 0);
	bool w = true, u = true, x = true;
	uint64_t table = TABLES;

	for (unsigned level = t->levels;; level--) {
		unsigned shift = 12 + (level - 1) * t->index_bits;
		uint64_t e = read_entry(t, table + (linear >> shift & ((1u << t->index_bits) - 1)) *
						   t->entry_size);
		bool pae_root = t->levels == 3 && level == 3;
		if (!(e & 1))
			return code;
		bool large = e & 0x80 && level > 1 && !pae_root &&
			     (t->entry_size == 8 || s->cr4 & X86_CR4_PSE);
		if (t->entry_size == 8 && !pae_root) {
			uint64_t reserved = UINT64_C(0x000fff0000000000); /* 40 bits */
			if (t->levels == 3)
				reserved |= UINT64_C(0x7ff0000000000000);
			if (!nx_on)
				reserved |= UINT64_C(1) << 63;
			if (level == 4)
				reserved |= 0x80;
			if (large && level < 4)
				reserved |= (UINT64_C(1) << shift) - 0x2000;
			if (e & reserved)
				return code | X86_PF_P | X86_PF_RSVD;
		} else if (large && e & 1 << 21) {
			return code | X86_PF_P | X86_PF_RSVD;
		}
		if (!pae_root) {
			w &= e >> 1 & 1;
			u &= e >> 2 & 1;
			x &= t->entry_size == 4 || !(e >> 63);
		}
		uint64_t address = e & (t->entry_size == 8 ? UINT64_C(0xfffffff000) :
							     UINT64_C(0xfffff000));
		if (!large && level > 1) {
			table = address;
			continue;
		}
		if (large && t->entry_size == 4)
			address = (e & 0xffc00000) | (e >> 13 & 0xff) << 32;
		*phys = (address & ~((UINT64_C(1) << shift) - 1)) |
			(linear & ((UINT64_C(1) << shift) - 1));
		break;
	}
	bool ok;
	if (user)
		ok = u && (access == SOFT_WRITE ? w : access == SOFT_FETCH ? x : true);
	else if (access == SOFT_FETCH)
		ok = x && !(u && s->cr4 & X86_CR4_SMEP);
	else
		ok = !(u && s->cr4 & X86_CR4_SMAP && !ac) &&
		     (access == SOFT_READ || w || !(s->cr0 & X86_CR0_WP));
	return ok ? 0 : code | X86_PF_P;
}

/* The engine's answer in the same form. */
static uint32_t engine(struct setup *t, uint64_t linear, enum soft_access access, uint64_t *phys)
{
	struct soft_vcpu *c = t->g->c;
	bool watched;

	if (sigsetjmp(c->unwind, 0)) {
		g_assert_cmpuint(c->fault.vector, ==, X86_EXC_PF);
		g_assert_cmphex(c->s.cr2, ==, linear);
		return c->fault.error | FAULT;
	}
	soft_translate(c, linear, access, phys, &watched);
	return 0;
}

static void set_mode(struct setup *t, bool user, bool ac)
{
	struct soft_vcpu *c = t->g->c;
	c->s.seg[X86_SS].attr = (c->s.seg[X86_SS].attr & ~0x60u) | (user ? 0x60 : 0);
	c->s.rflags = 2 | (ac ? X86_FLAG_AC : 0);
	soft_mode_changed(c);
}

/* What the first-level TLB promises must be what a walk says now. */
static void check_tags(struct setup *t, uint64_t linear, bool user, bool ac)
{
	struct soft_vcpu *c = t->g->c;
	const struct soft_tlb_entry *e = soft_tlb_at(c, linear);
	const struct soft_fetch_entry *f = soft_fetch_at(c, linear);
	uint64_t base = linear & ~PAGE_MASK, phys = 0;

	for (enum soft_access a = SOFT_READ; a <= SOFT_FETCH; a++) {
		uint64_t tag = a == SOFT_READ ? e->read : a == SOFT_WRITE ? e->write : f->tag;
		uintptr_t addend = a == SOFT_FETCH ? f->addend : e->addend;
		if (tag != base)
			continue;
		g_assert_cmphex(model(t, linear, a, user, ac, &phys), ==, 0);
		g_assert_true((uint8_t *)(linear + addend) == t->g->ram->host + phys);
	}
}

static void one_access(struct setup *t)
{
	uint64_t linear = random_linear(t), want = 0, got = 0;
	enum soft_access access = g_rand_int_range(t->rand, 0, 3);
	bool user = chance(t, 2), ac = chance(t, 2);

	set_mode(t, user, ac);
	uint32_t expected = model(t, linear, access, user, ac, &want);
	uint32_t result = engine(t, linear, access, &got);
	if (result != expected || (!result && got != want))
		g_error("%u levels, linear %" G_GINT64_MODIFIER "x access %u user %d ac %d cr0 %"
			G_GINT64_MODIFIER "x cr4 %" G_GINT64_MODIFIER "x: got %x at %"
			G_GINT64_MODIFIER "x, want %x at %" G_GINT64_MODIFIER "x", t->levels,
			(guint64)linear, access, user, ac, (guint64)t->g->c->s.cr0,
			(guint64)t->g->c->s.cr4, result, (guint64)got, expected, (guint64)want);
	check_tags(t, linear, user, ac);
	if (!result) {
		uint64_t probed;
		/*
		 * PAE's four root entries are in registers since CR3 was loaded (SDM 3A, 4.4.1); a probe
		 * reads them from memory, where they may have changed.
		 */
		bool found = soft_probe(t->g->c, linear, &probed);
		g_assert_true(found || t->levels == 3);
		if (found && t->levels != 3)
			g_assert_cmphex(probed, ==, want);
	}
}

/* Tables are shared between paths, so a changed leaf may be mapped at any address that we use. */
static void invalidate_everywhere(struct setup *t, uint64_t linear)
{
	unsigned combinations = 1u << 3 * t->levels;

	if (t->levels == 4 && !chance(t, 16)) {
		soft_tlb_flush_all(t->g->c);
		return;
	}
	for (unsigned n = 0; n < combinations; n++) {
		uint64_t alias = linear & PAGE_MASK;
		for (unsigned level = 0; level < t->levels; level++)
			alias |= (uint64_t)(n >> 3 * level & 7) << (12 + level * t->index_bits);
		soft_tlb_flush_page(t->g->c, alias);
	}
}

/* Change a leaf on the way to some address; then INVLPG it, as an operating system would. */
static void change_entry(struct setup *t)
{
	uint64_t table = TABLES, linear = random_linear(t);

	for (unsigned level = t->levels; level > 0; level--) {
		unsigned shift = 12 + (level - 1) * t->index_bits;
		uint64_t addr = table + (linear >> shift & ((1u << t->index_bits) - 1)) *
						t->entry_size;
		uint64_t e = read_entry(t, addr);
		bool leaf = level == 1 || (e & 0x80 && !(t->levels == 3 && level == 3) &&
					   level < 4);
		if (!(e & 1))
			return;
		if (!leaf) {
			table = e & UINT64_C(0xfffffff000);
			if (table >= RAM)
				return;
			continue;
		}
		le_store(t->g->ram->host + addr, e ^ (1 + g_rand_int_range(t->rand, 0, 4) * 2),
			 t->entry_size);
		invalidate_everywhere(t, linear);
		return;
	}
}

static void run(struct setup *t, unsigned levels)
{
	struct soft_vcpu *c = t->g->c;

	t->levels = levels;
	t->entry_size = levels == 2 ? 4 : 8;
	t->index_bits = levels == 2 ? 10 : 9;
	for (unsigned round = 0; round < ROUNDS; round++) {
		fill_tables(t);
		c->s.cr3 = TABLES;
		c->s.cr0 = X86_CR0_PE | X86_CR0_PG | (chance(t, 2) ? X86_CR0_WP : 0);
		c->s.cr4 = (levels > 2 ? X86_CR4_PAE : chance(t, 4) ? 0 : X86_CR4_PSE) |
			   (chance(t, 2) ? X86_CR4_SMEP : 0) | (chance(t, 2) ? X86_CR4_SMAP : 0) |
			   (chance(t, 2) ? X86_CR4_PGE : 0);
		c->s.efer = (levels == 4 ? X86_EFER_LME | X86_EFER_LMA : 0) |
			    (chance(t, 4) ? 0 : X86_EFER_NX);
		soft_pdptes_forget(c);
		soft_tlb_flush_all(c);
		for (unsigned i = 0; i < ACCESSES; i++) {
			one_access(t);
			if (chance(t, 20))
				change_entry(t);
		}
	}
}

static void test_levels(const void *levels)
{
	struct setup t = { .g = soft_guest_new(RAM, 1) };
	uint32_t seed = g_test_rand_int();

	g_test_message("seed %u", seed);
	t.rand = g_rand_new_with_seed(seed);
	soft_guest_enter64(t.g, 0x1000, false);
	run(&t, GPOINTER_TO_UINT(levels));
	g_rand_free(t.rand);
	soft_guest_free(t.g);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_data_func("/soft/walk/32-bit", GUINT_TO_POINTER(2), test_levels);
	g_test_add_data_func("/soft/walk/pae", GUINT_TO_POINTER(3), test_levels);
	g_test_add_data_func("/soft/walk/4-level", GUINT_TO_POINTER(4), test_levels);
	return g_test_run();
}
