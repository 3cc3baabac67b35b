/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The instruction decoder: prefixes, escape bytes or VEX, ModRM and SIB, displacement, immediate
 * (SDM vol. 2, chapter 2). Tables say what each opcode has (opcodes.c); this file knows the format
 * and the few ModRM-dependent exceptions. It reads strictly in order, so that X86_DECODE_MORE means
 * that the bytes so far are a proper beginning.
 */
#include "cpu/x86/insn.h"

#include "cpu/x86/opcodes.h"
#include "cpu/x86/state.h"

#include <string.h>

struct cursor {
	const uint8_t *bytes;
	size_t available; /* at most X86_INSN_MAX */
	size_t at;
	enum x86_decode_mode mode;
	uint8_t rex; /* REX's low nibble, or VEX's bits in the same places */
};

enum { REX_B = 1, REX_X = 2, REX_R = 4, REX_W = 8 };

static bool take(struct cursor *in, unsigned size, uint64_t *value)
{
	if (in->available - in->at < size)
		return false;
	*value = 0;
	memcpy(value, in->bytes + in->at, size);
	in->at += size;
	return true;
}

static bool take_byte(struct cursor *in, uint8_t *value)
{
	if (in->at >= in->available)
		return false;
	*value = in->bytes[in->at++];
	return true;
}

/* Sign-extended. */
static bool take_signed(struct cursor *in, unsigned size, uint64_t *value)
{
	if (!take(in, size, value))
		return false;
	unsigned shift = 64 - size * 8;
	*value = (uint64_t)((int64_t)(*value << shift) >> shift);
	return true;
}

static void set_segment(struct cursor *in, struct x86_insn *insn, uint8_t seg)
{
	/* In 64-bit mode the ES, CS, SS and DS overrides mean nothing (SDM vol. 1, 3.4.2.1). */
	if (in->mode == X86_DECODE_64 && seg < X86_FS)
		return;
	insn->seg = seg;
	insn->prefixes |= X86_PREFIX_SEGMENT;
}

/* Legacy and REX prefixes; leaves the first other byte in *opcode. */
static bool decode_prefixes(struct cursor *in, struct x86_insn *insn, uint8_t *opcode)
{
	for (;;) {
		uint8_t byte;
		if (!take_byte(in, &byte))
			return false;
		if (in->mode == X86_DECODE_64 && (byte & 0xf0) == 0x40) {
			in->rex = byte & 0xf;
			insn->prefixes |= X86_PREFIX_REX;
			continue;
		}
		uint16_t prefix = 0;
		switch (byte) {
		case 0x26: set_segment(in, insn, X86_ES); break;
		case 0x2e: set_segment(in, insn, X86_CS); break;
		case 0x36: set_segment(in, insn, X86_SS); break;
		case 0x3e: set_segment(in, insn, X86_DS); break;
		case 0x64: set_segment(in, insn, X86_FS); break;
		case 0x65: set_segment(in, insn, X86_GS); break;
		case 0x66: prefix = X86_PREFIX_OPSIZE; break;
		case 0x67: prefix = X86_PREFIX_ADDRSIZE; break;
		case 0xf0: prefix = X86_PREFIX_LOCK; break;
		case 0xf2: /* of F2 and F3 the last one counts */
			insn->prefixes &= ~X86_PREFIX_REP;
			prefix = X86_PREFIX_REPNE;
			break;
		case 0xf3:
			insn->prefixes &= ~X86_PREFIX_REPNE;
			prefix = X86_PREFIX_REP;
			break;
		default:
			*opcode = byte;
			return true;
		}
		insn->prefixes |= prefix;
		/* A REX that is not the last prefix is ignored. */
		in->rex = 0;
		insn->prefixes &= ~X86_PREFIX_REX;
	}
}

static enum x86_decode_result decode_vex(struct cursor *in, struct x86_insn *insn, bool three,
					 uint8_t *opcode)
{
	uint8_t p1, p2;
	if (insn->prefixes & (X86_PREFIX_LOCK | X86_PREFIX_REP | X86_PREFIX_REPNE |
			      X86_PREFIX_OPSIZE | X86_PREFIX_REX))
		return X86_DECODE_INVALID;
	if (!take_byte(in, &p1))
		return X86_DECODE_MORE;
	insn->map = X86_MAP_0F;
	if (three) {
		if (!take_byte(in, &p2))
			return X86_DECODE_MORE;
		unsigned map = p1 & 0x1f;
		if (map < 1 || map > 3)
			return X86_DECODE_INVALID;
		insn->map = map;
		in->rex = (~p1 >> 5) & 7;
		if (p2 & 0x80)
			in->rex |= REX_W;
	} else {
		p2 = p1;
		in->rex = p1 & 0x80 ? 0 : REX_R;
	}
	insn->vvvv = (~p2 >> 3) & 0xf;
	if (in->mode != X86_DECODE_64) {
		in->rex = 0;
		insn->vvvv &= 7;
	}
	insn->prefixes |= X86_PREFIX_VEX;
	if (p2 & 4)
		insn->prefixes |= X86_PREFIX_VEXL;
	static const uint16_t pp[4] = { 0, X86_PREFIX_OPSIZE, X86_PREFIX_REP, X86_PREFIX_REPNE };
	insn->prefixes |= pp[p2 & 3];
	/* VEX.W where REX would have been dropped still selects SIMD forms outside 64-bit mode. */
	if (three && (p2 & 0x80))
		insn->prefixes |= X86_PREFIX_REXW;
	return take_byte(in, opcode) ? X86_DECODE_OK : X86_DECODE_MORE;
}

static enum x86_decode_result decode_opcode(struct cursor *in, struct x86_insn *insn)
{
	uint8_t opcode;
	if (!decode_prefixes(in, insn, &opcode))
		return X86_DECODE_MORE;
	insn->map = X86_MAP_1;
	if (opcode == 0xc4 || opcode == 0xc5) {
		/* Outside 64-bit mode LES and LDS with a register, which do not exist, are VEX. */
		if (in->at >= in->available)
			return X86_DECODE_MORE;
		if (in->mode == X86_DECODE_64 || in->bytes[in->at] >= 0xc0) {
			enum x86_decode_result r = decode_vex(in, insn, opcode == 0xc4, &opcode);
			insn->opcode = opcode;
			return r;
		}
	} else if (opcode == 0x0f) {
		insn->map = X86_MAP_0F;
		if (!take_byte(in, &opcode))
			return X86_DECODE_MORE;
		if (opcode == 0x38 || opcode == 0x3a) {
			insn->map = opcode == 0x38 ? X86_MAP_0F38 : X86_MAP_0F3A;
			if (!take_byte(in, &opcode))
				return X86_DECODE_MORE;
		}
	}
	insn->opcode = opcode;
	return X86_DECODE_OK;
}

static void decode_sizes(const struct cursor *in, struct x86_insn *insn, uint16_t op)
{
	bool opsize = insn->prefixes & X86_PREFIX_OPSIZE;
	bool addrsize = insn->prefixes & X86_PREFIX_ADDRSIZE;
	switch (in->mode) {
	case X86_DECODE_16:
		insn->op_size = opsize ? 4 : 2;
		insn->addr_size = addrsize ? 4 : 2;
		break;
	case X86_DECODE_32:
		insn->op_size = opsize ? 2 : 4;
		insn->addr_size = addrsize ? 2 : 4;
		break;
	case X86_DECODE_64:
		insn->op_size = opsize ? 2 : 4;
		if ((in->rex & REX_W) || (op & OP_FORCE64))
			insn->op_size = 8;
		else if ((op & OP_64) && !opsize)
			insn->op_size = 8;
		insn->addr_size = addrsize ? 4 : 8;
		break;
	}
	/* VEX's pp is part of the opcode, not an operand size. */
	if (insn->prefixes & X86_PREFIX_VEX)
		insn->op_size = in->rex & REX_W ? 8 : 4;
}

static bool decode_modrm16(struct cursor *in, struct x86_insn *insn, uint8_t *seg)
{
	static const uint8_t base[8] = { X86_RBX, X86_RBX, X86_RBP, X86_RBP,
					 X86_RSI, X86_RDI, X86_RBP, X86_RBX };
	static const uint8_t index[8] = { X86_RSI, X86_RDI, X86_RSI, X86_RDI,
					  X86_REG_NONE, X86_REG_NONE, X86_REG_NONE, X86_REG_NONE };
	unsigned rm = insn->rm & 7, size = insn->mod;
	insn->base = base[rm];
	insn->index = index[rm];
	if (insn->mod == 0 && rm == 6) {
		insn->base = X86_REG_NONE;
		size = 2;
	} else if (insn->base == X86_RBP) {
		*seg = X86_SS;
	}
	uint64_t disp = 0;
	if (size && !take_signed(in, size, &disp))
		return false;
	insn->disp = (int64_t)disp;
	return true;
}

static bool decode_modrm32(struct cursor *in, struct x86_insn *insn, uint8_t *seg)
{
	unsigned size = insn->mod == 1 ? 1 : insn->mod == 2 ? 4 : 0;
	unsigned rm = insn->modrm & 7;
	if (rm == 4) {
		uint8_t sib;
		if (!take_byte(in, &sib))
			return false;
		unsigned index = ((sib >> 3) & 7) | (in->rex & REX_X ? 8 : 0);
		/* RSP cannot be an index; VSIB's register 4 can: its handler looks at the SIB. */
		if (index != X86_RSP)
			insn->index = index;
		insn->scale = sib >> 6;
		insn->base = (sib & 7) | (in->rex & REX_B ? 8 : 0);
		if ((sib & 7) == 5 && insn->mod == 0) {
			insn->base = X86_REG_NONE;
			size = 4;
		}
	} else if (rm == 5 && insn->mod == 0) {
		size = 4;
		insn->rip_relative = in->mode == X86_DECODE_64;
	} else {
		insn->base = rm | (in->rex & REX_B ? 8 : 0);
	}
	if (insn->base == X86_RSP || insn->base == X86_RBP)
		*seg = X86_SS;
	uint64_t disp = 0;
	if (size && !take_signed(in, size, &disp))
		return false;
	insn->disp = (int64_t)disp;
	return true;
}

static bool decode_modrm(struct cursor *in, struct x86_insn *insn, uint16_t op)
{
	insn->has_modrm = true;
	if (!take_byte(in, &insn->modrm))
		return false;
	insn->mod = op & OP_REG_ONLY ? 3 : insn->modrm >> 6;
	insn->reg = ((insn->modrm >> 3) & 7) | (in->rex & REX_R ? 8 : 0);
	insn->rm = (insn->modrm & 7) | (in->rex & REX_B ? 8 : 0);
	if (insn->mod == 3)
		return true;
	uint8_t seg = X86_DS;
	bool ok = insn->addr_size == 2 ? decode_modrm16(in, insn, &seg)
				       : decode_modrm32(in, insn, &seg);
	if (!(insn->prefixes & X86_PREFIX_SEGMENT))
		insn->seg = seg;
	return ok;
}

/* Group 5: near CALL and JMP are 64-bit always, PUSH by default (SDM vol. 2, A.4 note f64, d64). */
static void adjust_group5(const struct cursor *in, struct x86_insn *insn)
{
	unsigned digit = insn->reg & 7;
	if (in->mode != X86_DECODE_64)
		return;
	if (digit == 2 || digit == 4)
		insn->op_size = 8;
	else if (digit == 6 && !(insn->prefixes & X86_PREFIX_OPSIZE))
		insn->op_size = 8;
}

static bool decode_far(struct cursor *in, struct x86_insn *insn)
{
	return take(in, insn->op_size == 2 ? 2 : 4, &insn->imm) && take(in, 2, &insn->imm2);
}

static bool decode_immediate(struct cursor *in, struct x86_insn *insn, uint16_t op)
{
	unsigned z = insn->op_size == 2 ? 2 : 4;
	uint64_t disp;
	switch (op & OP_IMM_MASK) {
	case OP_IMM_B:
		return take_signed(in, 1, &insn->imm);
	case OP_IMM_UB:
		return take(in, 1, &insn->imm);
	case OP_IMM_W:
		return take(in, 2, &insn->imm);
	case OP_IMM_Z:
		return take_signed(in, z, &insn->imm);
	case OP_IMM_V:
		return take_signed(in, insn->op_size, &insn->imm);
	case OP_IMM_FAR:
		return decode_far(in, insn);
	case OP_IMM_ENTER:
		return take(in, 2, &insn->imm) && take(in, 1, &insn->imm2);
	case OP_IMM_MOFFS:
		if (!take(in, insn->addr_size, &disp))
			return false;
		insn->disp = (int64_t)disp;
		return true;
	case OP_IMM_GROUP3:
		if (insn->reg & 6)
			return true;
		return take_signed(in, op & OP_BYTE ? 1 : z, &insn->imm);
	}
	return true;
}

/* The locked read-modify-write instructions (SDM vol. 2, LOCK) among those whose group is lockable. */
static bool lock_allowed(const struct x86_insn *insn, uint16_t op)
{
	if (!(op & OP_LOCK) || insn->mod == 3)
		return false;
	unsigned digit = insn->reg & 7;
	if (insn->map == X86_MAP_1) {
		switch (insn->opcode) {
		case 0x80: case 0x81: case 0x82: case 0x83:
			return digit != 7;
		case 0xf6: case 0xf7:
			return digit == 2 || digit == 3;
		case 0xfe: case 0xff:
			return digit <= 1;
		}
		return true;
	}
	if (insn->opcode == 0xba)
		return digit >= 5;
	if (insn->opcode == 0xc7)
		return digit == 1;
	return true;
}

static bool is_valid(const struct x86_insn *insn, uint16_t op)
{
	if ((insn->prefixes & X86_PREFIX_LOCK) && !lock_allowed(insn, op))
		return false;
	if ((op & OP_MEM_ONLY) && insn->mod == 3)
		return false;
	/* Group 1A has only POP; AMD's XOP used the rest. */
	return insn->map != X86_MAP_1 || insn->opcode != 0x8f || !(insn->modrm & 0x38);
}

static enum x86_decode_result decode_all(struct cursor *in, struct x86_insn *insn)
{
	enum x86_decode_result r = decode_opcode(in, insn);
	if (r != X86_DECODE_OK)
		return r;
	uint16_t op = x86_opcodes[insn->map][insn->opcode];
	if (!(op & OP_VALID) || ((op & OP_NO64) && in->mode == X86_DECODE_64))
		return X86_DECODE_INVALID;
	if (insn->prefixes & X86_PREFIX_VEX ? !(op & OP_VEX) : (op & OP_VEX_ONLY) != 0)
		return X86_DECODE_INVALID;
	if (in->rex & REX_W)
		insn->prefixes |= X86_PREFIX_REXW;
	decode_sizes(in, insn, op);
	if (op & OP_MODRM) {
		if (!decode_modrm(in, insn, op))
			return X86_DECODE_MORE;
		if (insn->map == X86_MAP_1 && insn->opcode == 0xff)
			adjust_group5(in, insn);
	} else if (insn->opcode >= 0x40) {
		/* The register in the opcode: INC, DEC, PUSH, POP, XCHG, MOV imm, BSWAP. */
		insn->rm = (insn->opcode & 7) | (in->rex & REX_B ? 8 : 0);
	}
	if (!decode_immediate(in, insn, op))
		return X86_DECODE_MORE;
	return is_valid(insn, op) ? X86_DECODE_OK : X86_DECODE_INVALID;
}

enum x86_decode_result x86_decode(const uint8_t *bytes, size_t available, enum x86_decode_mode mode,
				  struct x86_insn *insn)
{
	struct cursor in = {
		.bytes = bytes,
		.available = available < X86_INSN_MAX ? available : X86_INSN_MAX,
		.mode = mode,
	};
	*insn = (struct x86_insn){ .seg = X86_DS, .base = X86_REG_NONE, .index = X86_REG_NONE };
	enum x86_decode_result r = decode_all(&in, insn);
	if (r == X86_DECODE_MORE && available >= X86_INSN_MAX)
		return X86_DECODE_TOO_LONG;
	insn->length = in.at;
	return r;
}
