/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bit test and scan, POPCNT, LZCNT, TZCNT, MOVBE, CRC32, ADCX, ADOX. */
#include "cpu/soft/interp/interp.h"

enum bit_action { BIT_TEST, BIT_SET, BIT_RESET, BIT_COMPLEMENT };

/* BTx with a 0 <= s < size * 8: CF becomes the bit, the other flags stay (as Intel CPUs do). */
ALWAYS_INLINE uint64_t bit_apply(uint64_t *flags, uint64_t d, uint64_t s, enum bit_action action)
{
	uint64_t bit = UINT64_C(1) << s;
	*flags = (*flags & ~(uint64_t)X86_FLAG_CF) | (d & bit ? X86_FLAG_CF : 0);
	switch (action) {
	case BIT_SET: return d | bit;
	case BIT_RESET: return d & ~bit;
	case BIT_COMPLEMENT: return d ^ bit;
	default: return d;
	}
}

static uint64_t alu_bts(uint64_t *flags, uint64_t d, uint64_t s, unsigned size)
{
	return bit_apply(flags, d, s, BIT_SET);
}

static uint64_t alu_btr(uint64_t *flags, uint64_t d, uint64_t s, unsigned size)
{
	return bit_apply(flags, d, s, BIT_RESET);
}

static uint64_t alu_btc(uint64_t *flags, uint64_t d, uint64_t s, unsigned size)
{
	return bit_apply(flags, d, s, BIT_COMPLEMENT);
}

static void bt_do(struct soft_vcpu *c, const struct soft_insn *i, enum bit_action action, uint64_t s)
{
	unsigned size = i->x.op_size;
	if (action == BIT_TEST)
		bit_apply(&c->flags, rm_read(c, i, size), s, BIT_TEST);
	else
		rmw(c, i, size,
		    action == BIT_SET ? alu_bts : action == BIT_RESET ? alu_btr : alu_btc, s);
}

static void bt_imm(struct soft_vcpu *c, const struct soft_insn *i)
{
	bt_do(c, i, (enum bit_action)(i->x.reg & 3), i->x.imm & (i->x.op_size * 8 - 1));
}

/*
 * With a register offset and a memory operand the bit string extends past the operand: the address
 * moves by whole operands first.
 */
static void bt_reg(struct soft_vcpu *c, const struct soft_insn *i)
{
	unsigned size = i->x.op_size, bits = size * 8;
	enum bit_action action = (enum bit_action)((i->x.opcode >> 3) & 3);
	uint64_t s = reg_read(c, i, i->x.reg, size);
	if (i->x.mod == 3) {
		bt_do(c, i, action, s & (bits - 1));
		return;
	}
	struct soft_insn moved = *i;
	int64_t offset = sign_extend(s, size);
	moved.x.disp += (offset & -(int64_t)bits) / 8;
	bt_do(c, &moved, action, s & (bits - 1));
}

#define SCAN_CASE(T, text)                                                                         \
	{                                                                                          \
		T r_ = (T)d;                                                                       \
		__asm__(text " %[s], %[r]" FLAGS_TAKE                                              \
			: [r] "+r"(r_), "=a"(ax)                                                   \
			: [s] "r"((T)s)                                                            \
			: "cc");                                                                   \
		d = r_;                                                                            \
		break;                                                                             \
	}

#define SCAN(name, text)                                                                           \
	static uint64_t name(uint64_t *flags, uint64_t d, uint64_t s, unsigned size)               \
	{                                                                                          \
		uint32_t ax = 0;                                                                   \
		switch (size) {                                                                    \
		case 2: SCAN_CASE(uint16_t, text "w")                                              \
		case 4: SCAN_CASE(uint32_t, text "l")                                              \
		default: SCAN_CASE(uint64_t, text "q")                                             \
		}                                                                                  \
		*flags = flags_pack(ax);                                                           \
		return d;                                                                          \
	}

SCAN(host_bsf, "bsf")
SCAN(host_bsr, "bsr")
SCAN(host_tzcnt, "tzcnt")
SCAN(host_lzcnt, "lzcnt")
SCAN(host_popcnt, "popcnt")

/* BSF, BSR of zero leave the destination, all 64 bits of it. */
static void scan(struct soft_vcpu *c, const struct soft_insn *i, bool reverse)
{
	unsigned size = i->x.op_size;
	uint64_t s = rm_read(c, i, size), d = c->s.gpr[i->x.reg];
	d = reverse ? host_bsr(&c->flags, d, s, size) : host_bsf(&c->flags, d, s, size);
	if (!(c->flags & X86_FLAG_ZF))
		gpr_write(c, i->x.reg, size, d);
}

static void bsf_tzcnt(struct soft_vcpu *c, const struct soft_insn *i)
{
	unsigned size = i->x.op_size;
	if (!(i->x.prefixes & X86_PREFIX_REP) ||
	    !soft_has_feature(c, CPU_WORD_7_0_EBX, 1u << 3 /* BMI1 */)) {
		scan(c, i, false);
		return;
	}
	uint64_t s = rm_read(c, i, size);
	gpr_write(c, i->x.reg, size, host_tzcnt(&c->flags, 0, s, size));
}

static void bsr_lzcnt(struct soft_vcpu *c, const struct soft_insn *i)
{
	unsigned size = i->x.op_size;
	if (!(i->x.prefixes & X86_PREFIX_REP) ||
	    !soft_has_feature(c, CPU_WORD_80000001_ECX, 1u << 5 /* LZCNT */)) {
		scan(c, i, true);
		return;
	}
	uint64_t s = rm_read(c, i, size);
	gpr_write(c, i->x.reg, size, host_lzcnt(&c->flags, 0, s, size));
}

static void popcnt(struct soft_vcpu *c, const struct soft_insn *i)
{
	unsigned size = i->x.op_size;
	uint64_t s = rm_read(c, i, size);
	gpr_write(c, i->x.reg, size, host_popcnt(&c->flags, 0, s, size));
}

static uint64_t swap_bytes(uint64_t v, unsigned size)
{
	return size == 8 ? __builtin_bswap64(v)
	       : size == 4 ? __builtin_bswap32((uint32_t)v) : __builtin_bswap16((uint16_t)v);
}

static uint32_t crc32c(uint32_t crc, uint64_t s, unsigned size)
{
	uint64_t crc64 = crc;
	switch (size) {
	case 1: __asm__("crc32b %1, %0" : "+r"(crc) : "r"((uint8_t)s)); break;
	case 2: __asm__("crc32w %1, %0" : "+r"(crc) : "r"((uint16_t)s)); break;
	case 4: __asm__("crc32l %1, %0" : "+r"(crc) : "r"((uint32_t)s)); break;
	default: __asm__("crc32q %1, %0" : "+r"(crc64) : "r"(s)); return (uint32_t)crc64;
	}
	return crc;
}

/* 0F 38 F0 and F1: CRC32 with F2, else MOVBE. */
static void crc32_movbe(struct soft_vcpu *c, const struct soft_insn *i)
{
	unsigned size = i->x.op_size;
	if (i->x.prefixes & X86_PREFIX_REPNE) {
		unsigned from = size_w(i);
		uint64_t s = rm_read(c, i, from);
		c->s.gpr[i->x.reg] = crc32c((uint32_t)c->s.gpr[i->x.reg], s, from);
		return;
	}
	if (i->x.mod == 3)
		soft_raise(c, X86_EXC_UD);
	if (i->x.opcode & 1)
		rm_write(c, i, size, swap_bytes(c->s.gpr[i->x.reg], size));
	else
		gpr_write(c, i->x.reg, size, swap_bytes(rm_read(c, i, size), size));
}

/* ADCX carries through CF, ADOX through OF, each leaving all other flags. */
static void add_carry(struct soft_vcpu *c, const struct soft_insn *i, uint64_t flag)
{
	unsigned size = i->x.op_size == 8 ? 8 : 4;
	unsigned __int128 sum = (unsigned __int128)rm_read(c, i, size) +
				reg_read(c, i, i->x.reg, size) + (c->flags & flag ? 1 : 0);
	c->flags = (c->flags & ~flag) | (sum >> (size * 8) ? flag : 0);
	gpr_write(c, i->x.reg, size, (uint64_t)sum);
}

static void adcx_adox(struct soft_vcpu *c, const struct soft_insn *i)
{
	if (i->x.prefixes & X86_PREFIX_REP)
		add_carry(c, i, X86_FLAG_OF);
	else if (i->x.prefixes & X86_PREFIX_OPSIZE)
		add_carry(c, i, X86_FLAG_CF);
	else
		soft_raise(c, X86_EXC_UD);
}


const struct soft_opcode interp_bit_ops[] = {
	OP0F(0xa3, -1, bt_reg), OP0F(0xab, -1, bt_reg), OP0F(0xb3, -1, bt_reg),
	OP0F(0xbb, -1, bt_reg), OP0F(0xba, 4, bt_imm), OP0F(0xba, 5, bt_imm),
	OP0F(0xba, 6, bt_imm), OP0F(0xba, 7, bt_imm),
	OP0F(0xbc, -1, bsf_tzcnt), OP0F(0xbd, -1, bsr_lzcnt),
	{ .map = X86_MAP_0F, .opcode = 0xb8, .reg = -1, .fn = popcnt, .prefix = X86_PREFIX_REP },
	{ .map = X86_MAP_0F38, .opcode = 0xf0, .reg = -1, .fn = crc32_movbe },
	{ .map = X86_MAP_0F38, .opcode = 0xf1, .reg = -1, .fn = crc32_movbe },
	{ .map = X86_MAP_0F38, .opcode = 0xf6, .reg = -1, .fn = adcx_adox },
	{ 0 },
};
