/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The checker of translated code must find every way round the TLB: pieces of code as the emitters make
 * them, and the same with something left out or changed.
 */
#include "cpu/soft/jit/emit.h"

#include <stddef.h>

struct piece {
	uint8_t code[256];
	struct jit_emit e;
	struct jit_unit unit;
	struct soft_insn insn;
};

static struct jit *table; /* for what an instruction does with its operands */

static void begin(struct piece *p)
{
	*p = (struct piece){ .e = { .wide = true } };
	p->e.jit = table;
	p->e.unit = &p->unit;
	p->e.insn = &p->e.insns[0];
	p->e.kept[0] = &p->insn;
	p->e.p = p->code;
	p->e.end = p->code + sizeof(p->code);
	p->unit.table = SOFT_TLB_USER;
}

static const char *wrong(struct piece *p)
{
	return jit_verify_find(&p->e, p->code, p->e.p);
}

/* MOV RAX, [RBX + 8], as jit_mem() has it. Where its jump to the slow piece begins. */
static uint8_t *look_up(struct piece *p, struct jit_mem *m)
{
	static const struct x86_insn x = { .has_modrm = true, .addr_size = 8, .seg = X86_DS,
					   .base = X86_RBX, .index = X86_REG_NONE, .disp = 8 };
	g_assert_true(jit_mem(&p->e, &x, 8, SOFT_READ, m));
	return p->e.slow[0].from[0] - 2;
}

static void accepts_lookups(void)
{
	struct piece p;
	struct jit_mem m;
	begin(&p);
	look_up(&p, &m);
	jit_load(&p.e, X86_RAX, m.at);
	jit_store(&p.e, X86_RAX, JIT_FIELD(flags));
	g_assert_null(wrong(&p));
}

static void refuses_plain_memory(void)
{
	struct piece p;
	begin(&p);
	jit_load(&p.e, X86_RAX, (struct jit_at){ X86_RBX, JIT_NONE, 0, 0 });
	g_assert_nonnull(wrong(&p));
}

static void refuses_unchecked(void)
{
	struct piece p;
	struct jit_mem m;
	begin(&p);
	uint8_t *jump = look_up(&p, &m);
	memset(jump, 0x90, 6); /* NOP */
	jit_load(&p.e, X86_RAX, m.at);
	g_assert_nonnull(wrong(&p));
}

static void refuses_other_condition(void)
{
	struct piece p;
	struct jit_mem m;
	begin(&p);
	uint8_t *jump = look_up(&p, &m);
	jump[1] = 0x82; /* JB */
	jit_load(&p.e, X86_RAX, m.at);
	g_assert_nonnull(wrong(&p));
}

static void refuses_other_address(void)
{
	struct piece p;
	struct jit_mem m;
	begin(&p);
	look_up(&p, &m);
	m.at.disp += 4096;
	jit_load(&p.e, X86_RAX, m.at);
	g_assert_nonnull(wrong(&p));
	begin(&p);
	look_up(&p, &m);
	m.at.base = X86_RCX;
	jit_load(&p.e, X86_RAX, m.at);
	g_assert_nonnull(wrong(&p));
}

static void refuses_other_access(void)
{
	struct piece p;
	struct jit_mem m;
	begin(&p);
	look_up(&p, &m);
	jit_store(&p.e, X86_RAX, m.at); /* it was looked up for reading */
	g_assert_nonnull(wrong(&p));
	begin(&p);
	uint8_t *jump = look_up(&p, &m);
	uint32_t most;
	memcpy(&most, jump - sizeof(most), sizeof(most));
	g_assert_cmpuint(most, ==, PAGE_SIZE - 8);
	most = PAGE_SIZE - 4; /* as four bytes, not eight */
	memcpy(jump - sizeof(most), &most, sizeof(most));
	jit_load(&p.e, X86_RAX, m.at);
	g_assert_nonnull(wrong(&p));
}

static void refuses_lost_addend(void)
{
	struct piece p;
	struct jit_mem m;
	begin(&p);
	look_up(&p, &m);
	jit_mov(&p.e, JIT_S1, X86_RDX);
	jit_load(&p.e, X86_RAX, m.at);
	g_assert_nonnull(wrong(&p));
}

static void refuses_jump_past_check(void)
{
	struct piece p;
	struct jit_mem m;
	begin(&p);
	uint8_t *past = jit_jump(&p.e, 4);
	look_up(&p, &m);
	jit_bind(past, p.e.p);
	jit_load(&p.e, X86_RAX, m.at);
	g_assert_nonnull(wrong(&p));
}

static void refuses_fields_outside(void)
{
	struct piece p;
	begin(&p);
	jit_load(&p.e, X86_RAX, jit_field(sizeof(struct soft_vcpu)));
	g_assert_nonnull(wrong(&p));
	begin(&p);
	jit_load(&p.e, X86_RAX, (struct jit_at){ JIT_STATE, X86_RAX, 0, 0 });
	g_assert_nonnull(wrong(&p));
}

static void refuses_strings(void)
{
	static const uint8_t movsb[] = { 0xf3, 0xa4 };
	struct piece p;
	begin(&p);
	jit_bytes(&p.e, movsb, sizeof(movsb));
	g_assert_nonnull(wrong(&p));
	begin(&p);
	jit_op_rm(&p.e, 0x0fab | JIT_W64, X86_RAX, JIT_GPR(13)); /* BTS [gpr], RAX */
	g_assert_nonnull(wrong(&p));
}

/* MOV RAX, [RSP + disp], where the unit's entry has looked up 16 bytes. */
static const char *wrong_local(int32_t disp)
{
	struct piece p;
	begin(&p);
	p.e.frame = (struct jit_frame){ .used = true, .known = 1, .lo = -16, .hi = 0 };
	jit_load(&p.e, JIT_S1, JIT_FIELD(jit_frame));
	jit_load(&p.e, X86_RAX, (struct jit_at){ JIT_GUEST_RSP, JIT_S1, 0, disp });
	return wrong(&p);
}

static void accepts_frames(void)
{
	g_assert_null(wrong_local(-16));
	g_assert_null(wrong_local(-8));
}

static void refuses_outside_frames(void)
{
	g_assert_nonnull(wrong_local(0));
	g_assert_nonnull(wrong_local(-4)); /* four of its bytes */
	g_assert_nonnull(wrong_local(-24));
}

/* MOV RAX, [guest rsp + disp] in a frame from 16 bytes below rsp to 16 above, S1 as it is. */
static const char *wrong_at_hand(struct piece *p, int32_t disp)
{
	p->e.frame.used = true;
	p->e.frame.known = 1;
	p->e.frame.lo = -16;
	p->e.frame.hi = 16;
	jit_load(&p->e, X86_RAX, (struct jit_at){ JIT_GUEST_RSP, JIT_S1, 0, disp });
	return wrong(p);
}

static void follows_frame_at_hand(void)
{
	struct piece p;
	begin(&p);
	g_assert_nonnull(wrong_at_hand(&p, 8)); /* S1 is anything */
	begin(&p);
	p.e.frame.was_at_hand = true;
	g_assert_null(wrong_at_hand(&p, 8));
	begin(&p);
	p.e.frame.at_hand = true; /* as is said, but S1 is anything */
	g_assert_nonnull(wrong(&p));
}

/* The register is 8 above rsp, and stays so or catches up. */
static void follows_lag(void)
{
	struct piece p;
	begin(&p);
	p.e.frame.was_at_hand = true;
	p.e.frame.was_behind = -8;
	g_assert_null(wrong_at_hand(&p, 0));
	g_assert_nonnull(wrong_at_hand(&p, 8));
	begin(&p);
	p.e.frame.was_at_hand = true;
	p.e.frame.was_behind = -8;
	jit_move_stack(&p.e, -8);
	g_assert_null(wrong_at_hand(&p, 8));
}

/* It catches up, and then a jump leads to the access. */
static void follows_lag_through_jumps(void)
{
	struct piece p;
	begin(&p);
	p.e.frame.was_behind = -8;
	jit_move_stack(&p.e, -8);
	uint8_t *past = jit_jump(&p.e, 4);
	jit_mov(&p.e, X86_RCX, X86_RDX);
	jit_bind(past, p.e.p);
	jit_load(&p.e, JIT_S1, JIT_FIELD(jit_frame));
	g_assert_null(wrong_at_hand(&p, 8));
	g_assert_nonnull(wrong_at_hand(&p, 16));
}

/* What is kept as the frame was looked up for reading only. */
static void refuses_other_frame(void)
{
	struct piece p;
	struct jit_mem m;
	begin(&p);
	look_up(&p, &m);
	jit_store(&p.e, JIT_S1, JIT_FIELD(jit_frame));
	g_assert_nonnull(wrong(&p));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	table = g_new0(struct jit, 1);
	jit_table_fill(table);
	g_test_add_func("/jit-verify/lookups", accepts_lookups);
	g_test_add_func("/jit-verify/plain-memory", refuses_plain_memory);
	g_test_add_func("/jit-verify/unchecked", refuses_unchecked);
	g_test_add_func("/jit-verify/condition", refuses_other_condition);
	g_test_add_func("/jit-verify/address", refuses_other_address);
	g_test_add_func("/jit-verify/access", refuses_other_access);
	g_test_add_func("/jit-verify/addend", refuses_lost_addend);
	g_test_add_func("/jit-verify/jump", refuses_jump_past_check);
	g_test_add_func("/jit-verify/fields", refuses_fields_outside);
	g_test_add_func("/jit-verify/strings", refuses_strings);
	g_test_add_func("/jit-verify/frames", accepts_frames);
	g_test_add_func("/jit-verify/outside-frames", refuses_outside_frames);
	g_test_add_func("/jit-verify/frame-at-hand", follows_frame_at_hand);
	g_test_add_func("/jit-verify/frame-lag", follows_lag);
	g_test_add_func("/jit-verify/frame-lag-jumps", follows_lag_through_jumps);
	g_test_add_func("/jit-verify/other-frame", refuses_other_frame);
	int result = g_test_run();
	g_free(table);
	return result;
}
