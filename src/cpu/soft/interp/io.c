/* SPDX-License-Identifier: GPL-2.0-or-later */
/* IN, OUT, INS, OUTS: through the VM's port space after the permission check. */
#include "cpu/soft/interp/string.h"

/* There are no 8-byte ports: REX.W does nothing here. */
static unsigned port_size(const struct soft_insn *i)
{
	unsigned size = size_w(i);
	return size == 8 ? 4 : size;
}

static void in_port(struct soft_vcpu *c, const struct soft_insn *i, uint16_t port)
{
	unsigned size = port_size(i);
	soft_check_io(c, port, size);
	soft_native_settle(c);
	gpr_write(c, X86_RAX, size, space_read(c->vm->ports, port, size));
	go_on(c, i);
}

static void out_port(struct soft_vcpu *c, const struct soft_insn *i, uint16_t port)
{
	unsigned size = port_size(i);
	soft_check_io(c, port, size);
	soft_native_settle(c);
	go_on(c, i);
	space_write(c->vm->ports, port, c->s.gpr[X86_RAX] & size_mask(size), size);
}

static void in_imm(struct soft_vcpu *c, const struct soft_insn *i)
{
	in_port(c, i, i->x.imm);
}

static void in_dx(struct soft_vcpu *c, const struct soft_insn *i)
{
	in_port(c, i, c->s.gpr[X86_RDX]);
}

static void out_imm(struct soft_vcpu *c, const struct soft_insn *i)
{
	out_port(c, i, i->x.imm);
}

static void out_dx(struct soft_vcpu *c, const struct soft_insn *i)
{
	out_port(c, i, c->s.gpr[X86_RDX]);
}

static bool ins_piece(struct soft_vcpu *c, const struct soft_insn *i, struct string_state *st)
{
	uint16_t port = c->s.gpr[X86_RDX];
	st->size = port_size(i);
	soft_check_io(c, port, st->size);
	soft_native_settle(c);
	uint64_t linear = soft_linear(c, X86_ES, c->s.gpr[X86_RDI] & st->addr_mask, st->size,
				      SOFT_WRITE);
	/* Reading a port has effects: the store must not fault after it. */
	rmw_begin(c, linear, st->size);
	soft_store(c, linear, space_read(c->vm->ports, port, st->size), st->size);
	st->done = 1;
	interp_string_advance(c, i, st, X86_RDI);
	return false;
}

static bool outs_piece(struct soft_vcpu *c, const struct soft_insn *i, struct string_state *st)
{
	uint16_t port = c->s.gpr[X86_RDX];
	st->size = port_size(i);
	soft_check_io(c, port, st->size);
	soft_native_settle(c);
	uint64_t linear = soft_linear(c, i->x.seg, c->s.gpr[X86_RSI] & st->addr_mask, st->size,
				      SOFT_READ);
	uint64_t v = soft_load(c, linear, st->size);
	space_write(c->vm->ports, port, v, st->size);
	st->done = 1;
	interp_string_advance(c, i, st, X86_RSI);
	return false;
}

static void ins(struct soft_vcpu *c, const struct soft_insn *i)
{
	interp_string_run(c, i, ins_piece);
}

static void outs(struct soft_vcpu *c, const struct soft_insn *i)
{
	interp_string_run(c, i, outs_piece);
}

const struct soft_opcode interp_io_ops[] = {
	OP_END(0xe4, -1, in_imm), OP_END(0xe5, -1, in_imm), OP_END(0xe6, -1, out_imm),
	OP_END(0xe7, -1, out_imm), OP_END(0xec, -1, in_dx), OP_END(0xed, -1, in_dx),
	OP_END(0xee, -1, out_dx), OP_END(0xef, -1, out_dx), OP_END(0x6c, -1, ins),
	OP_END(0x6d, -1, ins), OP_END(0x6e, -1, outs), OP_END(0x6f, -1, outs),
	{ 0 },
};
