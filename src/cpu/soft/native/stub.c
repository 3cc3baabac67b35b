/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Stubs: machine code that runs one guest instruction on the guest's registers, and their cache.
 *
 * A stub is a function of the C ABI, (rdi = the vCPU, rsi = the memory operand's host address). It
 * loads the vector registers that the instruction names into the host's registers of the same
 * number, general ones into HOST_REG and HOST_RM; runs the instruction; stores the results. MMX and
 * x87 registers are live, and so is MXCSR if the instruction is an arithmetic one: see exec.c.
 *
 * The arena is one memfd seen twice, writable and executable, so that no page is ever both. Entries
 * are found by the normalised encoding and the guest's general registers. Nothing is evicted: with
 * the arena full (tens of thousands of distinct instructions: only a program that wants it gets
 * there) the last slot is rewritten for every further instruction, which is slow but bounded.
 */
#include "base/error.h"
#include "cpu/soft/native/native.h"

#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

enum { KEY_BYTES = 16 };

#define FPU_OFFSET offsetof(struct soft_vcpu, s.fpu)
#define XMM_OFFSET(n) (FPU_OFFSET + offsetof(struct x86_fpu, legacy) + FX_XMM + 16 * (n))
#define YMM_OFFSET(n) (FPU_OFFSET + offsetof(struct x86_fpu, ymm_high) + 16 * (n))
#define GPR_OFFSET(n) (offsetof(struct soft_vcpu, s.gpr) + 8 * (n))
#define FLAGS_OFFSET offsetof(struct soft_vcpu, flags)

/* --- pieces of code ----------------------------------------------------------------------------*/

#define EMIT(out, ...)                                                                             \
	native_emit(out, (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

static void emit_disp(struct native_code *out, size_t disp)
{
	uint32_t d = disp;
	native_emit(out, &d, 4);
}

/* ModRM for [rdi + disp32] with `reg`. */
static uint8_t modrm_rdi(unsigned reg)
{
	return 0x80 | (reg & 7) << 3 | X86_RDI;
}

enum { LOAD = 0x10, STORE = 0x11 }; /* MOVUPS opcodes */

static void emit_vector(struct native_code *out, unsigned op, unsigned n, bool vex, bool wide)
{
	uint8_t r = n & 8 ? 0 : 0x80;
	if (!vex && n & 8)
		EMIT(out, 0x44);
	if (vex)
		EMIT(out, 0xc5, r | 0x78);
	else
		EMIT(out, 0x0f);
	EMIT(out, op, modrm_rdi(n));
	emit_disp(out, XMM_OFFSET(n));
	if (!wide)
		return;
	/* VINSERTF128 ymm, ymm, m, 1 or VEXTRACTF128 m, ymm, 1. */
	uint8_t vvvv = op == LOAD ? (~n & 0xf) << 3 : 0x78;
	EMIT(out, 0xc4, r | 0x63, vvvv | 5, op == LOAD ? 0x18 : 0x19, modrm_rdi(n));
	emit_disp(out, YMM_OFFSET(n));
	EMIT(out, 1);
}

/* A VEX instruction with a 128-bit destination clears the upper half. */
static void emit_clear_high(struct native_code *out, unsigned n)
{
	for (unsigned i = 0; i < 2; i++) { /* mov qword [rdi + disp32], 0 */
		EMIT(out, 0x48, 0xc7, modrm_rdi(0));
		emit_disp(out, YMM_OFFSET(n) + 8 * i);
		EMIT(out, 0, 0, 0, 0);
	}
}

static void emit_gpr(struct native_code *out, bool store, unsigned host, unsigned guest)
{
	EMIT(out, 0x48, store ? 0x89 : 0x8b, modrm_rdi(host));
	emit_disp(out, GPR_OFFSET(guest));
}

static void emit_flags_load(struct native_code *out)
{
	EMIT(out, 0xff, modrm_rdi(6)); /* push [rdi + flags]; popfq */
	emit_disp(out, FLAGS_OFFSET);
	EMIT(out, 0x9d);
}

static void emit_flags_store(struct native_code *out)
{
	EMIT(out, 0x9c, 0x41, 0x58, 0x41, 0x81, 0xe0); /* pushfq; pop r8; and r8d, arithmetic */
	emit_disp(out, X86_FLAGS_ARITH);
	EMIT(out, 0x4c, 0x89, modrm_rdi(0)); /* mov [rdi + flags], r8 */
	emit_disp(out, FLAGS_OFFSET);
}

/* --- a whole stub ------------------------------------------------------------------------------*/

/* What a form does with the vector registers of one instruction. */
struct traffic {
	uint32_t load, wide; /* by register; wide: all 256 bits */
	int store;           /* the destination, or -1 */
	bool store_wide;
};

static void traffic_load(struct traffic *t, unsigned n, bool wide)
{
	t->load |= 1u << n;
	if (wide)
		t->wide |= 1u << n;
}

static struct traffic plan(const struct native_form *f, const struct x86_insn *x)
{
	struct traffic t = { .store = -1 };
	bool vex = x->prefixes & X86_PREFIX_VEX;
	bool l = vex && x->prefixes & X86_PREFIX_VEXL && !(f->flags & NF_LIG);
	bool reg_wide = l && f->reg == O_X, rm_wide = l && f->rm == O_X;
	bool reg_vector = f->reg == O_X || f->reg == O_X128;
	bool rm_vector = x->mod == 3 && (f->rm == O_X || f->rm == O_X128);
	bool to_reg = !(f->flags & (NF_STORE | NF_TEST | NF_SHIFT));
	if (reg_vector && (!vex || !to_reg || f->flags & NF_RMW))
		traffic_load(&t, x->reg, reg_wide);
	if (rm_vector && (!vex || !(f->flags & NF_STORE)))
		traffic_load(&t, x->rm, rm_wide);
	if (vex && f->flags & NF_NDS)
		traffic_load(&t, x->vvvv, l);
	if (f->flags & NF_IS4)
		traffic_load(&t, (x->imm >> 4) & 0xf, l);
	if (f->flags & NF_XMM0)
		traffic_load(&t, 0, false);
	if (to_reg && reg_vector) {
		t.store = x->reg;
		t.store_wide = reg_wide;
	} else if (f->flags & NF_STORE && rm_vector) {
		t.store = x->rm;
		t.store_wide = rm_wide;
	} else if (f->flags & NF_SHIFT && rm_vector) {
		t.store = vex ? x->vvvv : x->rm;
		t.store_wide = rm_wide;
	} else if (f->flags & F_TO_XMM0) {
		t.store = 0;
	}
	return t;
}

static void emit_loads(struct native_code *out, const struct native_form *f,
		       const struct x86_insn *x, const struct traffic *t)
{
	bool vex = x->prefixes & X86_PREFIX_VEX;
	for (unsigned n = 0; n < 16; n++) {
		if (t->load & 1u << n)
			emit_vector(out, LOAD, n, vex, t->wide & 1u << n);
	}
	if (f->rm == O_G && x->mod == 3 && !(f->flags & NF_STORE))
		emit_gpr(out, false, HOST_RM, x->rm);
	if (f->flags & NF_ESTR) {
		emit_gpr(out, false, X86_RAX, X86_RAX);
		emit_gpr(out, false, X86_RDX, X86_RDX);
	}
}

static void emit_stores(struct native_code *out, const struct native_form *f,
			const struct x86_insn *x, const struct traffic *t)
{
	bool vex = x->prefixes & X86_PREFIX_VEX;
	if (f->flags & NF_FLAGS)
		emit_flags_store(out);
	if (t->store >= 0) {
		emit_vector(out, STORE, t->store, vex, t->store_wide);
		if (vex && !t->store_wide)
			emit_clear_high(out, t->store);
	}
	if (f->reg == O_G)
		emit_gpr(out, true, HOST_REG, x->reg);
	if (f->rm == O_G && x->mod == 3 && f->flags & NF_STORE)
		emit_gpr(out, true, HOST_RM, x->rm);
	if (f->flags & F_TO_RCX)
		emit_gpr(out, true, X86_RCX, X86_RCX);
	if (vex && x->prefixes & X86_PREFIX_VEXL)
		EMIT(out, 0xc5, 0xf8, 0x77); /* vzeroupper */
}

/* FCMOVcc reads EFLAGS, FCOMI and its kin write them. */
static bool x87_uses_flags(const struct x86_insn *x)
{
	if (x->mod != 3)
		return false;
	unsigned digit = x->reg & 7;
	switch (x->opcode) {
	case 0xda: return digit <= 3;
	case 0xdb: return digit <= 3 || digit == 5 || digit == 6;
	case 0xdf: return digit == 5 || digit == 6;
	}
	return false;
}

static void emit_stub(struct native_code *out, const struct native_form *f,
		      const struct x86_insn *x)
{
	if (!f) {
		bool flags = x87_uses_flags(x);
		if (flags)
			emit_flags_load(out);
		native_emit_insn(out, f, x);
		if (flags)
			emit_flags_store(out);
	} else {
		struct traffic t = plan(f, x);
		emit_loads(out, f, x, &t);
		native_emit_insn(out, f, x);
		emit_stores(out, f, x, &t);
	}
	EMIT(out, 0xc3);
}

/* --- the cache ---------------------------------------------------------------------------------*/

static void make_key(uint8_t key[static 20], const struct native_form *f, const struct x86_insn *x)
{
	memset(key, 0, 20);
	struct native_code out = { key, key + KEY_BYTES };
	native_emit_insn(&out, f, x);
	key[16] = out.p - key;
	if (f && f->reg == O_G)
		key[17] = x->reg;
	if (f && f->rm == O_G && x->mod == 3)
		key[18] = x->rm;
}

static unsigned hash_key(const uint8_t key[static 20])
{
	uint64_t a, b;
	uint32_t d;
	memcpy(&a, key, 8);
	memcpy(&b, key + 8, 8);
	memcpy(&d, key + 16, 4);
	a = (a ^ (b << 23 | b >> 41) ^ ((uint64_t)d << 32)) * UINT64_C(0x9e3779b97f4a7c15);
	return a >> 50; /* NATIVE_HASH is 1 << 14 */
}

static unsigned insn_size(const struct native_form *f, const struct x86_insn *x)
{
	bool l = x->prefixes & X86_PREFIX_VEXL;
	unsigned vector = l ? 32 : 16;
	/* MOVDDUP: half of 128 bits, but all of 256. */
	if (f->map == X86_MAP_0F && f->opcode == 0x12 && f->pp == PP_F2)
		return l ? 32 : 8;
	switch (f->size) {
	case S_1: return 1;
	case S_2: return 2;
	case S_4: return 4;
	case S_8: return 8;
	case S_16: return 16;
	case S_32: return 32;
	case S_V: return vector;
	case S_V2: return vector / 2;
	case S_V4: return vector / 4;
	case S_V8: return vector / 8;
	case S_W:
		if (f->rm == O_G)
			return x->op_size == 8 ? 8 : 4;
		return x->prefixes & X86_PREFIX_REXW ? 8 : 4;
	}
	return 0;
}

void native_describe(struct native_entry *e, const struct native_form *f, const struct x86_insn *x)
{
	if (!f) {
		e->unit = UNIT_X87;
		return;
	}
	bool vex = x->prefixes & X86_PREFIX_VEX;
	e->size = insn_size(f, x);
	e->store = f->flags & NF_STORE;
	e->fp = f->flags & NF_FP;
	e->half = e->fp && e->store;
	/* CVTPI2PS and CVTPI2PD from memory leave the x87 unit alone. */
	bool mmx = f->reg == O_M || (f->rm == O_M && (x->mod == 3 || f->opcode != 0x2a));
	if (vex)
		e->unit = UNIT_AVX;
	else if (mmx)
		e->unit = UNIT_MMX;
	else
		e->unit = UNIT_SSE;
	if (vex)
		e->align = f->flags & NF_ALIGNED ? e->size - 1 : 0;
	else
		e->align = e->size == 16 && !(f->flags & NF_UNALIGNED) ? 15 : 0;
}

static struct native_entry *find(struct soft_native *n, const uint8_t key[static 20], unsigned h)
{
	for (unsigned at = n->hash[h]; at; at = n->entries[at].next) {
		if (!memcmp(n->entries[at].key, key, 20))
			return &n->entries[at];
	}
	return NULL;
}

struct native_entry *native_stub_get(struct soft_vcpu *c, const struct native_form *form,
				     const struct x86_insn *x, bool *cached)
{
	struct soft_native *n = c->native;
	uint8_t key[20];
	make_key(key, form, x);
	unsigned h = hash_key(key);
	struct native_entry *e = find(n, key, h);
	*cached = true;
	if (e)
		return e;
	bool full = n->entry_count == NATIVE_ENTRIES ||
		    n->used + NATIVE_STUB_MAX > NATIVE_ARENA - NATIVE_STUB_MAX;
	size_t at = full ? NATIVE_ARENA - NATIVE_STUB_MAX : n->used;
	struct native_code out = { n->write + at, n->write + at + NATIVE_STUB_MAX };
	emit_stub(&out, form, x);
	g_assert(out.p <= out.end);
	if (full) {
		e = &n->entries[0];
		*cached = false;
	} else {
		e = &n->entries[n->entry_count];
		e->next = n->hash[h];
		n->hash[h] = n->entry_count++;
		n->used = (out.p - n->write + 15) & ~(size_t)15;
	}
	memcpy(e->key, key, 20);
	e->code = (native_stub_fn *)(uintptr_t)(n->exec + at);
	native_describe(e, form, x);
	return e;
}

/* --- life --------------------------------------------------------------------------------------*/

static bool map_arena(struct soft_native *n, GError **error)
{
	n->fd = memfd_create("berth-native", MFD_CLOEXEC);
	if (n->fd < 0 || ftruncate(n->fd, NATIVE_ARENA) < 0)
		return error_set_errno(error, errno, "memory for native code");
	n->write = mmap(NULL, NATIVE_ARENA, PROT_READ | PROT_WRITE, MAP_SHARED, n->fd, 0);
	n->exec = mmap(NULL, NATIVE_ARENA, PROT_READ | PROT_EXEC, MAP_SHARED, n->fd, 0);
	if (n->write == MAP_FAILED || n->exec == MAP_FAILED)
		return error_set_errno(error, errno, "mapping memory for native code");
	size_t size = NATIVE_ENTRIES * sizeof(struct native_entry);
	void *entries = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			     -1, 0);
	if (entries == MAP_FAILED)
		return error_set_errno(error, errno, "memory for the table of native code");
	n->entries = entries;
	n->entry_count = 1;
	return true;
}

bool soft_native_create(struct soft_vcpu *c, GError **error)
{
	struct soft_native *n = NULL;
	if (posix_memalign((void **)&n, 64, sizeof(*n)))
		return error_set_errno(error, ENOMEM, "state of the native unit");
	memset(n, 0, sizeof(*n));
	n->fd = -1;
	n->write = n->exec = MAP_FAILED;
	c->native = n;
	if (!map_arena(n, error)) {
		soft_native_destroy(c);
		return false;
	}
	/* Which MXCSR bits exist (SDM vol. 1, 11.6.6). */
	__asm__ volatile("fxsave64 %0" : "=m"(n->fx));
	memcpy(&n->mxcsr_mask, n->fx + FX_MXCSR_MASK, 4);
	if (!n->mxcsr_mask)
		n->mxcsr_mask = 0xffbf;
	return true;
}

void soft_native_destroy(struct soft_vcpu *c)
{
	struct soft_native *n = c->native;
	if (!n)
		return;
	if (n->write != MAP_FAILED)
		munmap(n->write, NATIVE_ARENA);
	if (n->exec != MAP_FAILED)
		munmap(n->exec, NATIVE_ARENA);
	if (n->entries)
		munmap(n->entries, NATIVE_ENTRIES * sizeof(struct native_entry));
	if (n->fd >= 0)
		close(n->fd);
	free(n);
	c->native = NULL;
}
