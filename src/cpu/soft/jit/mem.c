/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory operands: the TLB of soft.h, inline.
 *
 *	S0 = linear; S1 = its slot's offset
 *	S0 -= tag[S1]; if (S0 > 4096 - size) slow		(tag and page crossing at once)
 *
 * and then the operand is either [base + addend[S1] + disp], or S0 is put together again from the
 * page's address and what is left in it. A linear address that is not canonical matches no tag.
 */
#include "cpu/soft/jit/emit.h"

#include <stddef.h>

enum { ENTRY_SHIFT = 5, FETCH_SHIFT = 4, CC_ABOVE = 7 };
_Static_assert(sizeof(struct soft_tlb_entry) == 1 << ENTRY_SHIFT, "slots are found by shifting");
_Static_assert(sizeof(struct soft_fetch_entry) == 1 << FETCH_SHIFT, "slots are found by shifting");

struct jit_at jit_tlb_field(const struct jit_emit *e, size_t field)
{
	size_t table = offsetof(struct soft_vcpu, tlbs) +
		       e->unit->table * sizeof(((struct soft_vcpu *)0)->tlbs[0]);
	return (struct jit_at){ .base = JIT_STATE, .index = JIT_S1, .disp = (int32_t)(table + field) };
}

struct jit_at jit_fetch_field(enum soft_tlb_table table, size_t field)
{
	size_t at = offsetof(struct soft_vcpu, fetches) +
		    table * sizeof(((struct soft_vcpu *)0)->fetches[0]);
	return (struct jit_at){ .base = JIT_STATE, .index = JIT_S1, .disp = (int32_t)(at + field) };
}

static size_t tag_field(enum soft_access access)
{
	return access == SOFT_READ ? offsetof(struct soft_tlb_entry, read)
				   : offsetof(struct soft_tlb_entry, write);
}

void jit_slow_jump(struct jit_emit *e, unsigned cc)
{
	if (e->slow_count == e->insn_slow) {
		if (e->slow_count == JIT_SLOW_MAX) {
			e->failed = true;
			return;
		}
		e->slow[e->slow_count++] = (struct jit_slow){ .insn = jit_keep(e, e->insn) };
	}
	struct jit_slow *slow = &e->slow[e->insn_slow];
	g_assert(slow->from_count < G_N_ELEMENTS(slow->from));
	slow->from[slow->from_count++] = jit_jump(e, cc);
}

static void find_slot(struct jit_emit *e, unsigned linear, unsigned entry_shift)
{
	jit_rorx(e, JIT_S1, linear, PAGE_BITS - entry_shift);
	jit_op_rr(e, 0x81, 4, JIT_S1); /* and */
	jit_u32(e, (SOFT_TLB_SIZE - 1) << entry_shift);
}

void jit_tlb_slot(struct jit_emit *e, unsigned linear)
{
	find_slot(e, linear, ENTRY_SHIFT);
}

void jit_fetch_slot(struct jit_emit *e, unsigned linear)
{
	find_slot(e, linear, FETCH_SHIFT);
}

/* S0 is linear, S1 its slot: leave S0 as the offset in the page; above: it is not there. */
static void emit_compare(struct jit_emit *e, unsigned size, enum soft_access access)
{
	jit_op_rm(e, 0x2b | JIT_W64, JIT_S0, jit_tlb_field(e, tag_field(access)));
	jit_op_rr(e, 0x81 | JIT_W64, 7, JIT_S0); /* cmp */
	jit_u32(e, PAGE_SIZE - size);
}

static void emit_check(struct jit_emit *e, unsigned size, enum soft_access access)
{
	emit_compare(e, size, access);
	jit_slow_jump(e, CC_ABOVE);
}

void jit_tlb_check(struct jit_emit *e, unsigned linear, unsigned size, enum soft_access access)
{
	jit_tlb_slot(e, linear);
	if (linear != JIT_S0)
		jit_mov(e, JIT_S0, linear);
	emit_check(e, size, access);
}

static bool fits32(int64_t v)
{
	return v == (int32_t)v;
}

int64_t jit_rip_disp(const struct soft_insn *i)
{
	return i->x.disp + i->offset + i->x.length;
}

bool jit_mem_supported(const struct jit_emit *e, const struct x86_insn *x)
{
	if (x->mod == 3 || !x->has_modrm)
		return false;
	if (e->wide)
		return x->addr_size == 8 ? fits32(x->rip_relative ? jit_rip_disp(e->insn) : x->disp)
					 : x->addr_size == 4 && !x->rip_relative && fits32(x->disp);
	/* Of 32-bit code: 16-bit addresses, and what is read through CS, are rare. */
	return x->addr_size == 4 && x->seg != X86_CS;
}

/* S0 = the effective address: x is i's operand, or one made up. */
static void emit_effective(struct jit_emit *e, const struct soft_insn *i, const struct x86_insn *x)
{
	uint32_t lea = 0x8d | (x->addr_size == 8 ? JIT_W64 : 0);
	if (x->rip_relative) {
		jit_load(e, JIT_S0, JIT_FIELD(block_rip));
		jit_op_rm(e, lea, JIT_S0,
			  (struct jit_at){ JIT_S0, JIT_NONE, 0, (int32_t)jit_rip_disp(i) });
	} else if (x->base == X86_REG_NONE && x->index == X86_REG_NONE) {
		jit_const(e, JIT_S0, x->addr_size == 8 ? (uint64_t)x->disp : (uint32_t)x->disp);
	} else if (x->base == X86_REG_NONE) {
		unsigned index = jit_get(e, x->index, JIT_S1);
		jit_const(e, JIT_S0, 0);
		jit_op_rm(e, lea, JIT_S0,
			  (struct jit_at){ JIT_S0, index, x->scale, (int32_t)x->disp });
	} else {
		unsigned base = jit_get(e, x->base, JIT_S0);
		unsigned index = x->index == X86_REG_NONE ? JIT_NONE : jit_get(e, x->index, JIT_S1);
		jit_op_rm(e, lea, JIT_S0,
			  (struct jit_at){ base, index, x->scale, (int32_t)x->disp });
	}
}

void jit_mem_address(struct jit_emit *e, const struct soft_insn *i)
{
	emit_effective(e, i, &i->x);
}

static struct jit_at segment_field(enum x86_seg_index seg, size_t field)
{
	return jit_field(offsetof(struct soft_vcpu, s.seg) + seg * sizeof(struct x86_segment) + field);
}

/* FS or GS in 32-bit code: writable and 4 GiB long, or the interpreter looks at it. Clobbers S1. */
static void check_segment(struct jit_emit *e, enum x86_seg_index seg)
{
	enum { CC_NE = 5 };
	uint32_t bits = X86_SEG_UNUSABLE | X86_SEG_CODE | X86_SEG_EXPAND_DOWN | X86_SEG_WRITE |
			X86_SEG_P;
	jit_op_rm(e, 0x8b, JIT_S1, segment_field(seg, offsetof(struct x86_segment, attr)));
	jit_op_rr(e, 0x81, 4, JIT_S1); /* and */
	jit_u32(e, bits);
	jit_op_rr(e, 0x81, 7, JIT_S1); /* cmp */
	jit_u32(e, X86_SEG_WRITE | X86_SEG_P);
	jit_slow_jump(e, CC_NE);
	jit_op_rm(e, 0x83, 7, segment_field(seg, offsetof(struct x86_segment, limit)));
	jit_byte(e, 0xff);
	jit_slow_jump(e, CC_NE);
}

void jit_segment_base(struct jit_emit *e, enum x86_seg_index seg)
{
	if (seg < X86_FS)
		return;
	if (!e->wide)
		check_segment(e, seg);
	jit_op_rm(e, 0x03 | jit_word_bits(e), JIT_S0,
		  segment_field(seg, offsetof(struct x86_segment, base)));
}

void jit_mem_linear(struct jit_emit *e, const struct soft_insn *i)
{
	emit_effective(e, i, &i->x);
	jit_segment_base(e, i->x.seg);
}

/* S0 is the offset in the page: make it the host address. */
void jit_mem_host_address(struct jit_emit *e, enum soft_access access)
{
	jit_op_rm(e, 0x03 | JIT_W64, JIT_S0, jit_tlb_field(e, tag_field(access)));
	jit_op_rm(e, 0x03 | JIT_W64, JIT_S0,
		  jit_tlb_field(e, offsetof(struct soft_tlb_entry, addend)));
}

static void look_up(struct jit_emit *e, unsigned base, int32_t disp, unsigned size,
		    enum soft_access access, struct jit_mem *m)
{
	if (disp) {
		jit_lea(e, JIT_S0, (struct jit_at){ base, JIT_NONE, 0, disp });
		jit_tlb_slot(e, JIT_S0);
		emit_check(e, size, access);
	} else {
		jit_tlb_check(e, base, size, access);
	}
	jit_load(e, JIT_S1, jit_tlb_field(e, offsetof(struct soft_tlb_entry, addend)));
	*m = (struct jit_mem){ { base, JIT_S1, 0, disp }, JIT_S0 };
}

uint8_t *jit_tlb_range(struct jit_emit *e, unsigned size, enum soft_access access)
{
	jit_tlb_slot(e, JIT_S0);
	emit_compare(e, size, access);
	return jit_jump(e, CC_ABOVE);
}

/* What the unit has looked up. */
static void use_frame(struct jit_emit *e, int32_t disp, struct jit_mem *m)
{
	if (!e->frame.at_hand)
		jit_load(e, JIT_S1, JIT_FIELD(jit_frame));
	e->frame.at_hand = true;
	*m = (struct jit_mem){ { JIT_GUEST_RSP, JIT_S1, 0, disp + e->frame.behind }, JIT_S0 };
}

void jit_mem_stack(struct jit_emit *e, int32_t disp, unsigned size, enum soft_access access,
		   struct jit_mem *m)
{
	if (e->wide && jit_frame_has(e, disp, size)) {
		use_frame(e, disp, m);
		return;
	}
	jit_flags_clobber(e);
	if (e->wide) {
		look_up(e, JIT_GUEST_RSP, disp, size, access, m);
		return;
	}
	jit_lea_word(e, JIT_S0, (struct jit_at){ JIT_GUEST_RSP, JIT_NONE, 0, disp });
	jit_mem_found(e, size, access, m);
}

void jit_mem_found(struct jit_emit *e, unsigned size, enum soft_access access, struct jit_mem *m)
{
	jit_tlb_slot(e, JIT_S0);
	emit_check(e, size, access);
	jit_mem_host_address(e, access);
	*m = (struct jit_mem){ { JIT_S0, JIT_NONE, 0, 0 }, JIT_S1 };
}

/*
 * S0 is linear. If the operand's parts are in registers, but for one that can be added to S1, its
 * address need not be put together again behind the comparison. 64-bit code and addresses.
 */
static bool found_by_parts(struct jit_emit *e, const struct x86_insn *x, unsigned size,
			   enum soft_access access, struct jit_mem *m)
{
	unsigned base = x->base == X86_REG_NONE ? JIT_NONE : jit_host_of(e, x->base);
	unsigned index = x->index == X86_REG_NONE ? JIT_NONE : jit_host_of(e, x->index);
	bool base_lost = base == JIT_NONE && x->base != X86_REG_NONE;
	bool index_lost = index == JIT_NONE && x->index != X86_REG_NONE, segment = x->seg >= X86_FS;
	if (index_lost || (segment && index != JIT_NONE && x->base != X86_REG_NONE))
		return false;
	jit_tlb_slot(e, JIT_S0);
	emit_check(e, size, access);
	jit_load(e, JIT_S1, jit_tlb_field(e, offsetof(struct soft_tlb_entry, addend)));
	uint32_t add = 0x03 | JIT_W64;
	*m = (struct jit_mem){ { JIT_S1, index, x->scale, (int32_t)x->disp }, JIT_S0 };
	if (x->rip_relative) {
		jit_op_rm(e, add, JIT_S1, JIT_FIELD(block_rip));
		m->at.disp = (int32_t)jit_rip_disp(e->insn);
	}
	if (segment)
		jit_op_rm(e, add, JIT_S1, segment_field(x->seg, offsetof(struct x86_segment, base)));
	if (base_lost) {
		jit_op_rm(e, add, JIT_S1, JIT_GPR(x->base));
	} else if (base != JIT_NONE && index == JIT_NONE) {
		m->at.index = base;
		m->at.scale = 0;
	} else if (base != JIT_NONE) {
		jit_op_rr(e, add, JIT_S1, base);
	}
	return true;
}

bool jit_mem(struct jit_emit *e, const struct x86_insn *x, unsigned size, enum soft_access access,
	     struct jit_mem *m)
{
	if (!jit_mem_supported(e, x))
		return false;
	if (jit_is_local(x) && e->wide && jit_frame_has(e, x->disp, size)) {
		if (!e->quiet)
			jit_flags_clobber(e);
		use_frame(e, (int32_t)x->disp, m);
		return true;
	}
	if (jit_group_access(e, size, access, m))
		return true;
	jit_flags_clobber(e);
	if (x->addr_size == 8 && x->seg < X86_FS && !x->rip_relative && x->base != X86_REG_NONE &&
	    x->index == X86_REG_NONE && jit_host_of(e, x->base) != JIT_NONE) {
		look_up(e, jit_host_of(e, x->base), (int32_t)x->disp, size, access, m);
		return true;
	}
	emit_effective(e, e->insn, x);
	jit_segment_base(e, x->seg);
	if (x->addr_size == 8 && e->wide && found_by_parts(e, x, size, access, m))
		return true;
	jit_mem_found(e, size, access, m);
	return true;
}
