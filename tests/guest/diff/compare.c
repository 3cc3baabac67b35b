/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What must agree after a case: registers, defined flags, memory, the fault with its error code and
 * address. What the SDM leaves undefined is masked, per instruction.
 */
#include "diff.h"

#include <string.h>

enum {
	OF = X86_FLAG_OF, SF = X86_FLAG_SF, ZF = X86_FLAG_ZF, AF = X86_FLAG_AF, PF = X86_FLAG_PF,
	CF = X86_FLAG_CF,
};

/* --- undefined flags ---------------------------------------------------------------------------*/

static uint32_t undefined_group(const struct x86_insn *x, const struct diff_case *c)
{
	unsigned digit = x->reg & 7;
	switch (x->opcode) {
	case 0xf6: case 0xf7:
		if (digit == 4 || digit == 5)
			return SF | ZF | AF | PF;
		return digit >= 6 ? OF | SF | ZF | AF | PF | CF : digit <= 1 ? AF : 0;
	case 0xc0: case 0xc1: case 0xd0: case 0xd1: case 0xd2: case 0xd3: {
		unsigned size = x->opcode & 1 ? x->op_size : 1;
		unsigned count = x->opcode < 0xd0 ? x->imm
				 : x->opcode < 0xd2 ? 1 : c->in.gpr[X86_RCX];
		count &= size == 8 ? 63 : 31;
		if (count == 0)
			return 0;
		uint32_t u = count == 1 ? 0 : OF;
		if (digit >= 4) {
			u |= AF;
			if (count >= size * 8)
				u |= CF;
		}
		return u;
	}
	}
	return 0;
}

static uint32_t undefined_0f(const struct x86_insn *x, const struct diff_case *c)
{
	switch (x->opcode) {
	case 0xaf:
		return SF | ZF | AF | PF;
	case 0xa3: case 0xab: case 0xb3: case 0xbb: case 0xba:
		return OF | SF | AF | PF;
	case 0xbc: case 0xbd:
		if (x->prefixes & X86_PREFIX_REP)
			return OF | SF | AF | PF;
		return OF | SF | AF | PF | CF;
	case 0xa4: case 0xa5: case 0xac: case 0xad: {
		unsigned count = (x->opcode & 1 ? c->in.gpr[X86_RCX] : x->imm);
		count &= x->op_size == 8 ? 63 : 31;
		if (count == 0)
			return 0;
		if (count > x->op_size * 8u)
			return OF | SF | ZF | AF | PF | CF;
		return AF | (count > 1 ? OF : 0);
	}
	}
	return 0;
}

uint32_t diff_undefined_flags(const struct x86_insn *x, const struct diff_case *c)
{
	uint16_t pp = X86_PREFIX_OPSIZE | X86_PREFIX_REP | X86_PREFIX_REPNE;
	if (x->map == X86_MAP_0F)
		return x->prefixes & X86_PREFIX_VEX ? 0 : undefined_0f(x, c);
	if (x->map == X86_MAP_0F38) {
		switch (x->opcode) {
		case 0xf2: case 0xf3: case 0xf5: return AF | PF;
		case 0xf7: return x->prefixes & pp ? 0 : AF | SF | PF;
		}
		return 0;
	}
	if (x->map != X86_MAP_1)
		return 0;
	switch (x->opcode) {
	case 0x27: case 0x2f: return OF;
	case 0x37: case 0x3f: return OF | SF | ZF | PF;
	case 0xd4: case 0xd5: return OF | AF | CF;
	}
	if (x->opcode == 0x69 || x->opcode == 0x6b)
		return SF | ZF | AF | PF;
	/* AND, OR, XOR, TEST leave AF. */
	if (x->opcode < 0x40 && (x->opcode & 7) < 6) {
		unsigned op = x->opcode >> 3;
		return op == 1 || op == 4 || op == 6 ? AF : 0;
	}
	if (x->opcode >= 0x80 && x->opcode <= 0x83) {
		unsigned op = x->reg & 7;
		return op == 1 || op == 4 || op == 6 ? AF : 0;
	}
	if (x->opcode == 0x84 || x->opcode == 0x85 || x->opcode == 0xa8 || x->opcode == 0xa9)
		return AF;
	return undefined_group(x, c);
}

/* A destination that is not defined: 16-bit SHLD past its size, BSF and BSR of 0. */
static int undefined_register(const struct x86_insn *x, const struct diff_case *c)
{
	if (x->map != X86_MAP_0F)
		return -1;
	if (x->opcode == 0xa4 || x->opcode == 0xa5 || x->opcode == 0xac || x->opcode == 0xad) {
		unsigned count = (x->opcode & 1 ? c->in.gpr[X86_RCX] : x->imm);
		if (x->op_size == 2 && (count & 31) > 16)
			return x->mod == 3 ? x->rm : 16;
	}
	return -1;
}

/* --- comparison --------------------------------------------------------------------------------*/

static void differ64(GString *s, const char *name, uint64_t native, uint64_t soft)
{
	if (native != soft)
		g_string_append_printf(s, "  %-6s native %016" G_GINT64_MODIFIER
				       "x soft %016" G_GINT64_MODIFIER "x\n", name, native, soft);
}

static void differ_bytes(GString *s, const char *name, const uint8_t *native, const uint8_t *soft,
			 unsigned size)
{
	if (!memcmp(native, soft, size))
		return;
	g_string_append_printf(s, "  %-6s native ", name);
	for (unsigned i = size; i-- > 0;)
		g_string_append_printf(s, "%02x", native[i]);
	g_string_append(s, "\n         soft   ");
	for (unsigned i = size; i-- > 0;)
		g_string_append_printf(s, "%02x", soft[i]);
	g_string_append(s, "\n");
}

/*
 * MXCSR flags that may differ. With overflow or underflow unmasked, inexactness is that of a result
 * with unbounded exponent, which no masked execution shows; nor the step at which DPPS and DPPD
 * stopped. VCVTPS2PH raises its flags before its store faults.
 */
static uint32_t mxcsr_mask(const struct diff_case *c, const struct x86_insn *x)
{
	enum { PE = 0x20, OM_UM = 0xc00, FLAGS = 0x3f };
	uint32_t before;
	memcpy(&before, c->in.fpu.legacy + 24, 4);
	if (c->native.fault == X86_EXC_XM && x->map == X86_MAP_0F3A && (x->opcode & 0xfe) == 0x40)
		return ~(uint32_t)FLAGS;
	if (c->native.fault == X86_EXC_XM && (before & OM_UM) != OM_UM)
		return ~(uint32_t)PE;
	if (c->native.fault != DIFF_NO_FAULT && x->map == X86_MAP_0F3A && x->opcode == 0x1d)
		return ~(uint32_t)FLAGS;
	return ~0u;
}

static void compare_fpu(GString *s, const struct x86_fpu *n, const struct x86_fpu *f,
			uint32_t mxcsr)
{
	uint32_t native_mxcsr, soft_mxcsr;
	char name[16];
	differ_bytes(s, "fcw", n->legacy, f->legacy, 2);
	differ_bytes(s, "fsw", n->legacy + 2, f->legacy + 2, 2);
	differ_bytes(s, "ftw", n->legacy + 4, f->legacy + 4, 1);
	/* AMD's FXSAVE shows pointers only of pending exceptions. */
	if (!__builtin_cpu_is("amd"))
		differ_bytes(s, "fip", n->legacy + 8, f->legacy + 8, 6); /* canonical when loaded */
	memcpy(&native_mxcsr, n->legacy + 24, 4);
	memcpy(&soft_mxcsr, f->legacy + 24, 4);
	differ64(s, "mxcsr", native_mxcsr & mxcsr, soft_mxcsr & mxcsr);
	for (unsigned i = 0; i < 8; i++) {
		g_snprintf(name, sizeof(name), "st%u", i);
		differ_bytes(s, name, n->legacy + 32 + 16 * i, f->legacy + 32 + 16 * i, 10);
	}
	for (unsigned i = 0; i < 16; i++) {
		g_snprintf(name, sizeof(name), "xmm%u", i);
		differ_bytes(s, name, n->legacy + 160 + 16 * i, f->legacy + 160 + 16 * i, 16);
		g_snprintf(name, sizeof(name), "ymmh%u", i);
		differ_bytes(s, name, n->ymm_high + 16 * i, f->ymm_high + 16 * i, 16);
	}
}

char *diff_compare_pointers(const struct x86_fpu *first, const struct x86_fpu *other)
{
	GString *s = g_string_new(NULL);
	differ_bytes(s, "fip", first->legacy + 8, other->legacy + 8, 8);
	differ_bytes(s, "fdp", first->legacy + 16, other->legacy + 16, 8);
	return g_string_free(s, !s->len);
}

static void compare_memory(GString *s, const uint8_t *n, const uint8_t *f, unsigned size,
			   unsigned offset)
{
	for (unsigned at = 0; at < size; at += 8) {
		char text[32];
		if (!memcmp(n + at, f + at, 8))
			continue;
		g_snprintf(text, sizeof(text), "[%x]", (unsigned)DIFF_DATA + offset + at);
		differ_bytes(s, text, n + at, f + at, 8);
	}
}

/*
 * A jump to an unmapped place: natively the fetch faults, which is the next instruction's fault;
 * the engine has not come to it.
 */
static bool is_fetch_fault(const struct diff_case *c)
{
	if (c->soft.fault != DIFF_NO_FAULT || c->soft.rip == c->in.rip)
		return false;
	/* The code pages are full of INT3, which the engine stops before. */
	if (c->native.fault == X86_EXC_BP)
		return c->native.rip == c->soft.rip + 1;
	return c->native.fault == X86_EXC_PF && c->native.cr2 == c->native.rip &&
	       c->native.rip != c->in.rip && c->soft.fault == DIFF_NO_FAULT;
}

/*
 * What a faulting instruction may have stored already: the return address of a CALL to a
 * non-canonical address, the first part of an 80-bit number across pages.
 */
static bool memory_is_open(const struct diff_case *c, const struct x86_insn *x)
{
	unsigned digit = x->reg & 7;
	if (x->map == X86_MAP_1 && ((x->opcode == 0xdb && digit == 7) ||
				    (x->opcode == 0xdf && digit == 6)))
		return c->native.fault == X86_EXC_PF;
	return x->map == X86_MAP_1 && x->opcode == 0xff && (x->reg & 7) == 2 &&
	       c->native.fault == X86_EXC_GP;
}

/*
 * Long operands: which byte of which missing page is named is the CPU's choice; and which of its two
 * operands a CMPS names: Intel's CPUs the destination, AMD's the source.
 */
static bool address_is_vague(const struct x86_insn *x)
{
	unsigned digit = x->reg & 7;
	if (x->map == X86_MAP_1 && (x->opcode & 0xfe) == 0xa6)
		return __builtin_cpu_is("amd");
	if (x->map == X86_MAP_0F)
		return x->opcode == 0xae || x->opcode == 0xc7 || x->opcode == 0xf7;
	if (x->map == X86_MAP_0F38)
		return (x->opcode & 0xfc) == 0x2c || (x->opcode & 0xfd) == 0x8c;
	return x->map == X86_MAP_1 && (x->opcode == 0x60 || x->opcode == 0x61 ||
				       (x->opcode == 0xd9 && (digit == 4 || digit == 6)) ||
				       (x->opcode == 0xdd && (digit == 4 || digit == 6)));
}

/*
 * Where the SDM leaves a choice the engine does as Intel's CPUs. AMD's choose otherwise:
 * - strings: with 32-bit addresses upper halves are cleared only with the first element, and a fault
 *   on the way shows the flags of the last comparison;
 * - SHA's memory operands need no alignment;
 * - gathers that fault keep their mask, BOUND and VCVTPS2PH look at memory first;
 * - XSAVE and its kin may touch parts of the area that are not asked for;
 * - MOVSXD of 16 bits reads 32;
 * - x87 stores fault although an unmasked exception keeps them from storing;
 * - VPERMQ and VPERMPD ignore VEX.W, VPINSRD and VPEXTRD outside 64-bit mode do not.
 */
static bool is_amd_string(const struct x86_insn *x)
{
	return __builtin_cpu_is("amd") && x->map == X86_MAP_1 && x->opcode >= 0xa4 &&
	       x->opcode <= 0xaf;
}

/* CMPS, with two faults to choose from. */
static bool names_another(const struct diff_case *c, const struct x86_insn *x)
{
	return (x->opcode & 0xfe) == 0xa6 && c->native.fault != DIFF_NO_FAULT &&
	       c->soft.fault != DIFF_NO_FAULT && c->native.fault != c->soft.fault;
}

static bool amd_faults_otherwise(const struct diff_case *c, const struct x86_insn *x)
{
	if (!__builtin_cpu_is("amd") ||
	    (c->native.fault == DIFF_NO_FAULT && c->soft.fault == DIFF_NO_FAULT))
		return false;
	switch (x->map) {
	case X86_MAP_1: return x->opcode == 0x62 || names_another(c, x) ||
			       (x->opcode == 0x63 && x->op_size == 2 && !c->bits32) ||
			       (x->mod != 3 && x->opcode > 0xd8 && x->opcode <= 0xdf && x->opcode & 1);
	case X86_MAP_0F: return x->mod != 3 && (x->opcode == 0xae || x->opcode == 0xc7) &&
				(x->reg & 7) >= 3;
	case X86_MAP_0F38: return (x->opcode & 0xfc) == 0x90 ||
				  (x->opcode >= 0xc8 && x->opcode <= 0xcd);
	case X86_MAP_0F3A: return x->opcode <= 1 || x->opcode == 0x16 || x->opcode == 0x1d ||
				  x->opcode == 0x22 || x->opcode == 0xcc;
	}
	return false;
}

/* MMX instructions that fault: the transition from x87 may be done already. */
static bool fpu_is_open(const struct diff_case *c, const struct x86_insn *x)
{
	return c->native.fault != DIFF_NO_FAULT && !(x->prefixes & X86_PREFIX_VEX) &&
	       x->map != X86_MAP_1 && !(x->prefixes & X86_PREFIX_OPSIZE);
}

/*
 * The instruction whose undefined results are masked: the only one, or that of a sequence in which
 * either side has stopped. False if there is none, or if its bytes are not known.
 */
static bool decode_subject(const struct diff_case *c, struct x86_insn *x)
{
	enum x86_decode_mode mode = c->bits32 ? X86_DECODE_32 : X86_DECODE_64;
	uint64_t at = 0;
	if (c->sequence) {
		const struct diff_state *stopped = &c->native;
		if (stopped->fault == DIFF_NO_FAULT || c->soft.rip - c->in.rip < stopped->rip - c->in.rip)
			stopped = &c->soft;
		at = stopped->rip - c->in.rip;
		if (stopped->fault == DIFF_NO_FAULT || c->patches || at >= c->length)
			return false;
	}
	return x86_decode(c->code + at, c->length - at, mode, x) == X86_DECODE_OK;
}

/* Has the engine refused an instruction that AMD's CPUs execute? The sequence went on natively. */
static bool amd_went_on(const struct diff_case *c)
{
	enum x86_decode_mode mode = c->bits32 ? X86_DECODE_32 : X86_DECODE_64;
	uint64_t at = c->soft.rip - c->in.rip;
	struct x86_insn x;
	return c->sequence && c->soft.fault == X86_EXC_UD && at < c->length &&
	       x86_decode(c->code + at, c->length - at, mode, &x) == X86_DECODE_OK &&
	       amd_faults_otherwise(c, &x);
}

char *diff_compare(const struct diff_case *c, const struct diff_way *way)
{
	static const char *const names[16] = {
		"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
		"r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
	};
	const struct diff_state *n = &c->native, *f = &c->soft;
	struct x86_insn x;
	if (n->fault == X86_EXC_DB) /* POPF of random bits with TF */
		return NULL;
	/* Across 4 GiB the SDM lets the CPU choose between #GP and wrapping. */
	if (c->bits32 && n->fault == X86_EXC_PF && n->cr2 >= 0xfffffff0)
		return NULL;
	/* Wrapping shows as a page fault behind 0; XSAVE's area is the longest operand. */
	if (c->bits32 && n->fault == X86_EXC_PF && f->fault == X86_EXC_GP &&
	    n->cr2 < DIFF_AREA_MAX)
		return NULL;
	bool decoded = decode_subject(c, &x);
	int skip = decoded && !c->sequence ? undefined_register(&x, c) : -1;
	uint32_t mask = X86_FLAGS_ARITH | X86_FLAG_DF;
	if (decoded)
		mask &= ~diff_undefined_flags(&x, c);
	/* Of a bad operand, whether misalignment or the limit (on AMD's: being canonical) comes first. */
	if ((c->bits32 || __builtin_cpu_is("amd")) && n->fault == X86_EXC_GP && f->fault == X86_EXC_SS)
		return NULL;
	/* POPA may have loaded some registers when it faults. */
	if (decoded && x.map == X86_MAP_1 && x.opcode == 0x61 && n->fault == X86_EXC_PF)
		return NULL;
	if ((decoded && amd_faults_otherwise(c, &x)) || amd_went_on(c))
		return NULL;
	GString *s = g_string_new(NULL);
	if (!is_fetch_fault(c))
		differ64(s, "fault", n->fault, f->fault);
	if (n->fault != DIFF_NO_FAULT && n->fault == f->fault) {
		if (n->fault == X86_EXC_PF) {
			/* The kernel's half is mapped natively: protection instead of absence. */
			bool kernel = n->cr2 >= UINT64_C(0x7ffffffff000);
			uint32_t bits = kernel ? ~(uint32_t)X86_PF_P : ~0u;
			if (!c->patches && (!decoded || !address_is_vague(&x))) {
				differ64(s, "error", n->error & bits, f->error & bits);
				differ64(s, "cr2", n->cr2, f->cr2);
			}
		}
		/* A fault that undid the instruction has all flags of before it. */
		mask = X86_FLAGS_ARITH | X86_FLAG_DF;
	}
	if (way->lax && n->fault != DIFF_NO_FAULT)
		mask = X86_FLAG_DF;
	bool amd_string = decoded && is_amd_string(&x);
	if (amd_string && n->fault != DIFF_NO_FAULT)
		mask = X86_FLAG_DF;
	if (n->fault != X86_EXC_BP || !is_fetch_fault(c))
		differ64(s, "rip", n->rip, f->rip);
	/* The upper halves mean nothing to 32-bit code. */
	bool half = c->bits32 || (amd_string && x.addr_size == 4);
	uint64_t width = half ? UINT32_MAX : UINT64_MAX;
	for (unsigned i = 0; i < (c->bits32 ? 8 : 16); i++) {
		if ((int)i != skip)
			differ64(s, names[i], n->gpr[i] & width, f->gpr[i] & width);
	}
	differ64(s, "flags", n->rflags & mask, f->rflags & mask);
	/* What may be open is not known then. */
	if (c->sequence && n->fault != DIFF_NO_FAULT && !decoded)
		return g_string_free(s, !s->len);
	if (c->fpu && !(decoded && fpu_is_open(c, &x)))
		compare_fpu(s, &n->fpu, &f->fpu, decoded ? mxcsr_mask(c, &x) : ~0u);
	if (skip != 16 && !(decoded && memory_is_open(c, &x))) {
		compare_memory(s, n->window, f->window, DIFF_WINDOW, DIFF_WINDOW_AT);
		compare_memory(s, n->tail, f->tail, DIFF_TAIL, DIFF_TAIL_AT);
	}
	if (!s->len)
		return g_string_free(s, TRUE);
	return g_string_free(s, FALSE);
}

char *diff_describe(const struct diff_case *c)
{
	GString *s = g_string_new(NULL);
	g_string_append_printf(s, "case %" G_GUINT64_FORMAT ": ", c->number);
	for (unsigned i = 0; i < c->length; i++)
		g_string_append_printf(s, "%02x ", c->code[i]);
	g_string_append_printf(s, "\n  flags %" G_GINT64_MODIFIER "x", c->in.rflags);
	for (unsigned i = 0; i < 16; i++)
		g_string_append_printf(s, "%s%016" G_GINT64_MODIFIER "x", i % 4 ? " " : "\n  ",
				       c->in.gpr[i]);
	if (c->fpu) {
		uint16_t fcw, fsw;
		uint32_t mxcsr;
		memcpy(&fcw, c->in.fpu.legacy, 2);
		memcpy(&fsw, c->in.fpu.legacy + 2, 2);
		memcpy(&mxcsr, c->in.fpu.legacy + 24, 4);
		g_string_append_printf(s, "\n  fcw %x fsw %x ftw %x mxcsr %x", fcw, fsw,
				       c->in.fpu.legacy[4], mxcsr);
	}
	g_string_append(s, "\n");
	return g_string_free(s, FALSE);
}
