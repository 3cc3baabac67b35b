/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Instructions that the host executes itself: x87, MMX, SSE, AVX, AES, SHA...
 *
 * Guest and host are the same ISA, so the best definition of ADDSD is the host's ADDSD. For each
 * distinct instruction a stub is generated that brings the registers it uses from the vCPU's state
 * to the host's, runs the instruction and takes the results back:
 *
 *   form.c, form_*.c  what each opcode does with which operands: the only knowledge needed
 *   emit.c            one instruction, normalised: memory at [rsi], general registers renamed
 *   stub.c            the stub round it; arena (write and execute views apart) and cache
 *   exec.c            checks (#UD, #NM, #GP), memory operands, #XM; runs stubs
 *   x87.c             the x87 stack lives in the host's unit between instructions (see there)
 *   move.c, mask.c, state.c  what is better in C: hot moves, masked moves, gathers, FXSAVE, XSAVE
 *
 * The vector registers live in c->s.fpu (XSAVE's standard format). The image's x87 part is stale
 * while native->x87_live, its MXCSR while native->mxcsr_live: native_mxcsr_save() first.
 */
#pragma once

#include "cpu/soft/mem.h"
#include "cpu/soft/soft.h"
#include "cpu/x86/cpuid.h"

#include <glib.h>

/* Offsets in the legacy area of struct x86_fpu (SDM vol. 1, table 10-2). */
enum {
	FX_FCW = 0, FX_FSW = 2, FX_FTW = 4, FX_FOP = 6, FX_FIP = 8, FX_FDP = 16, FX_MXCSR = 24,
	FX_MXCSR_MASK = 28, FX_ST = 32, FX_XMM = 160,
};

enum { MXCSR_FLAGS = 0x3f, MXCSR_MASKS = 0x1f80, MXCSR_FTZ = 0x8000, MXCSR_DEFAULT = 0x1f80 };

/* --- forms -------------------------------------------------------------------------------------*/

/* Operand kinds. Vector width follows VEX.L unless the kind says otherwise. */
enum native_operand {
	O_NONE,
	O_X,    /* xmm, or ymm with VEX.L */
	O_X128, /* xmm whatever VEX.L: halves, shift counts */
	O_M,    /* mm */
	O_G,    /* general register: 64 bits with REX.W, else 32 */
};

/* Size of the memory form of the r/m operand. */
enum native_size {
	S_NONE, S_1, S_2, S_4, S_8, S_16, S_32,
	S_V,  /* the vector: 16 or 32 */
	S_V2, /* half of it */
	S_V4, S_V8,
	S_W,  /* 4, or 8 with REX.W */
};

enum native_prefix { PP_NONE, PP_66, PP_F3, PP_F2 };

enum native_feature {
	FT_NONE, FT_FPU, FT_MMX, FT_SSE, FT_SSE2, FT_SSE3, FT_SSSE3, FT_SSE41, FT_SSE42, FT_AES,
	FT_PCLMUL, FT_SHA, FT_AVX, FT_AVX2, FT_FMA, FT_F16C, FT_VAES, FT_VPCLMUL, FT_AVXVNNI,
	FT_GFNI,
	FT_FXSR, FT_XSAVE, FT_XSAVEOPT, FT_XSAVEC, FT_XSAVES, FT_COUNT,
};

enum {
	NF_LEGACY = 1 << 0, NF_VEX = 1 << 1,
	NF_NDS = 1 << 2,       /* the VEX form takes VEX.vvvv as first source */
	NF_STORE = 1 << 3,     /* r/m is the destination */
	NF_TEST = 1 << 4,      /* no destination but flags */
	NF_MEM = 1 << 5,       /* r/m must be memory */
	NF_REG = 1 << 6,       /* r/m must be a register */
	NF_UNALIGNED = 1 << 7, /* a 16-byte legacy operand may be misaligned */
	NF_ALIGNED = 1 << 8,   /* the VEX form too must be aligned */
	NF_FP = 1 << 9,        /* uses MXCSR, may raise #XM */
	NF_FLAGS = 1 << 10,    /* writes EFLAGS */
	NF_L0 = 1 << 11, NF_L1 = 1 << 12, NF_LIG = 1 << 13, /* VEX.L must be 0, 1, is ignored */
	NF_W0 = 1 << 14, NF_W1 = 1 << 15, /* VEX.W must be 0, 1 */
	NF_INT = 1 << 16,      /* 256 bits need AVX2 */
	NF_RMW = 1 << 17,      /* the VEX form reads its destination: FMA */
	NF_IMM = 1 << 18,      /* immediate byte */
	NF_IS4 = 1 << 19,      /* ... whose high half is a vector register */
	NF_XMM0 = 1 << 20,     /* reads xmm0 (legacy blends, SHA256RNDS2) */
	NF_ESTR = 1 << 21,     /* reads rax and rdx: PCMPESTRx */
	F_TO_RCX = 1 << 22, F_TO_XMM0 = 1 << 23, /* PCMPxSTRI, PCMPxSTRM */
	NF_SHIFT = 1 << 24,    /* group 12-14: destination is r/m, with VEX vvvv */
};

struct native_form {
	uint8_t map, opcode, pp;
	int8_t digit; /* ModRM /digit, or -1 */
	uint8_t reg, rm, size;
	uint8_t legacy_feature, vex_feature;
	uint32_t flags;
};

/* The form of a decoded instruction, with all its static constraints checked; NULL: #UD. */
const struct native_form *native_form_find(const struct x86_insn *x);
extern const struct native_form native_forms_0f[], native_forms_0f38[], native_forms_0f3a[];
extern const unsigned native_forms_0f_count, native_forms_0f38_count, native_forms_0f3a_count;

/* --- emission ----------------------------------------------------------------------------------*/

struct native_code {
	uint8_t *p, *end; /* p may pass end: then nothing was written and the code is unusable */
};

/* Host registers that stand for guest ones inside a stub. */
enum { HOST_REG = 0 /* rax for ModRM.reg */, HOST_RM = 1 /* rcx for ModRM.rm */ };

/* Where an instruction's general registers and its memory operand are in host code. */
enum { NATIVE_NO_INDEX = 0xff };
struct native_names {
	uint8_t reg, rm;            /* host registers for ModRM.reg and ModRM.rm, if they are general */
	uint8_t base, index, scale; /* of the memory operand; NATIVE_NO_INDEX, scale 0-3 */
	int32_t disp;
};

/*
 * Emit the instruction with general registers and memory operand as `names` has them; vector, MMX
 * and x87 registers stay as they are. `form` is NULL for x87.
 */
void native_emit_named(struct native_code *out, const struct native_form *form,
		       const struct x86_insn *x, const struct native_names *names);
/* The same with the memory operand at [rsi], general registers HOST_REG and HOST_RM. */
void native_emit_insn(struct native_code *out, const struct native_form *form,
		      const struct x86_insn *x);
void native_emit(struct native_code *out, const void *bytes, unsigned length);

/* --- stubs -------------------------------------------------------------------------------------*/

/* `mem` is the host address of the memory operand. */
typedef void native_stub_fn(struct soft_vcpu *c, void *mem);

enum native_unit { UNIT_NONE, UNIT_X87, UNIT_MMX, UNIT_SSE, UNIT_AVX };

struct native_entry {
	native_stub_fn *code;
	soft_exec_fn *run;
	uint8_t size;      /* of the memory operand, bytes */
	uint8_t align;     /* mask: 15, 31 or 0 */
	uint8_t unit;
	bool fp;           /* MXCSR matters */
	bool store;
	bool half;         /* VCVTPS2PH: its underflow ignores FTZ */
	uint8_t key[20];   /* see stub.c */
	uint16_t next;     /* in the hash chain, 0 ends */
};

enum {
	NATIVE_ENTRIES = 1 << 15, NATIVE_HASH = 1 << 14,
	NATIVE_ARENA = 4 << 20, NATIVE_STUB_MAX = 512,
};

struct soft_native {
	uint8_t bounce[128] __attribute__((aligned(64)));
	uint8_t fx[512] __attribute__((aligned(64))); /* FXSAVE buffer for the x87 unit */

	bool x87_live;    /* the guest's x87 and MMX state is in the host's unit */
	bool x87_unmasked; /* the control word enables exceptions: ES must be looked at */
	/*
	 * The guest's MXCSR is in the host's. Only with all exceptions masked. C code sees its
	 * rounding mode meanwhile: the engine has no floating point, devices run after
	 * soft_native_settle().
	 */
	bool mxcsr_live;
	uint32_t mxcsr_mask;

	int fd;
	uint8_t *write, *exec; /* the arena's two views */
	size_t used;
	unsigned entry_count;
	uint16_t hash[NATIVE_HASH];
	struct native_entry *entries; /* [0] is for stubs that found no room */
};

bool native_has(const struct soft_vcpu *c, enum native_feature feature);

/*
 * The entry for `x`, found or made. Never fails: with the arena full, entry 0 is overwritten, and
 * *cached is false: the caller must not keep it. `form` is NULL for x87.
 */
struct native_entry *native_stub_get(struct soft_vcpu *c, const struct native_form *form,
				     const struct x86_insn *x, bool *cached);

/* What the entry says about the instruction itself: size, align, unit, fp, store, half. */
void native_describe(struct native_entry *e, const struct native_form *form,
		     const struct x86_insn *x);

/* --- exec.c ------------------------------------------------------------------------------------*/

/* CR0, CR4 and XCR0 checks before an instruction of `unit`: #UD, #NM. */
_Noreturn void native_sse_refused(struct soft_vcpu *c);
_Noreturn void native_avx_refused(struct soft_vcpu *c);

static inline void native_check_sse(struct soft_vcpu *c)
{
	if (soft_unlikely((c->s.cr0 & (X86_CR0_EM | X86_CR0_TS)) ||
			  !(c->s.cr4 & X86_CR4_OSFXSR)))
		native_sse_refused(c);
}

/* VEX outside protected mode never comes here: the decoder's block mode sees to that. */
static inline void native_check_avx(struct soft_vcpu *c)
{
	if (soft_unlikely(!(c->s.cr4 & X86_CR4_OSXSAVE) || (c->s.xcr0 & 6) != 6 ||
			  c->s.cr0 & X86_CR0_TS))
		native_avx_refused(c);
}

/* Load the guest's MXCSR if all its exceptions are masked. */
bool native_mxcsr_load(struct soft_vcpu *c);

void native_check_unit(struct soft_vcpu *c, enum native_unit unit);
/* Does the guest's CPU have the instruction in this form? */
bool native_supported(const struct soft_vcpu *c, const struct native_form *form,
		      const struct x86_insn *x);
/* Executes anything that has a form. */
void native_exec(struct soft_vcpu *c, const struct soft_insn *i);

/*
 * Remember how to run `i` from now on; `exec` may be NULL. Blocks belong to the vCPU, so only it
 * looks. Before `i` runs: what it does may drop its block, which changes exec too.
 */
static inline void native_bind(const struct soft_insn *i, soft_exec_fn *run, soft_exec_fn *exec,
			       void *entry)
{
	struct soft_insn *w = (struct soft_insn *)i;
	w->native = entry;
	w->fn = run;
	/* A block's first keeps counting how hot it is. */
	if (exec && w->exec != jit_exec_head)
		w->exec = exec;
}

static inline uint8_t *native_xmm(struct soft_vcpu *c, unsigned n)
{
	return c->s.fpu.legacy + FX_XMM + 16 * n;
}

static inline uint8_t *native_ymm_high(struct soft_vcpu *c, unsigned n)
{
	return c->s.fpu.ymm_high + 16 * n;
}

/* Changing MXCSR costs hundreds of cycles on some CPUs: it stays loaded as long as possible. */
static inline void native_mxcsr_save(struct soft_vcpu *c)
{
	if (c->native->mxcsr_live)
		__asm__ volatile("stmxcsr %0" : "=m"(*(uint32_t *)(c->s.fpu.legacy + FX_MXCSR)));
}

/* Bring the image up to date, and give the host's MXCSR back to C. */
static inline void native_mxcsr_drop(struct soft_vcpu *c)
{
	if (c->native->mxcsr_live) {
		uint32_t v = MXCSR_DEFAULT;
		native_mxcsr_save(c);
		__asm__ volatile("ldmxcsr %0" : : "m"(v));
		c->native->mxcsr_live = false;
		c->vectors_allowed = 0;
	}
}

/* The guest's, from the image. */
static inline uint32_t native_mxcsr(struct soft_vcpu *c)
{
	uint32_t v;
	native_mxcsr_save(c);
	memcpy(&v, c->s.fpu.legacy + FX_MXCSR, 4);
	return v;
}

static inline bool native_mxcsr_ready(struct soft_vcpu *c)
{
	return __builtin_expect(c->native->mxcsr_live, true) || native_mxcsr_load(c);
}

/* --- x87.c -------------------------------------------------------------------------------------*/

/* Bring the guest's x87 state into the host's unit. */
void native_x87_load(struct soft_vcpu *c);
/* #MF if an unmasked x87 exception is pending; the state is live. */
void native_x87_check_pending(struct soft_vcpu *c);
/* Copy the x87 state to c->s.fpu; it stays live. */
void native_x87_save(struct soft_vcpu *c);
/* The same after the transition to MMX: TOP is 0 and all tags valid, also live. */
void native_mmx_save(struct soft_vcpu *c);
/* c->s.fpu is (about to be) right: forget the live state. */
void native_x87_drop(struct soft_vcpu *c);
/*
 * What the host's unit executes as it is, with *size bytes of memory or none: no control instruction,
 * and one that exists.
 */
bool native_x87_plain(const struct x86_insn *x, unsigned *size, bool *store);
/* CPUID.7.EBX bit 6: the data pointer is updated only by unmasked exceptions. */
#define NATIVE_FDP_EXCPTN_ONLY (1u << 6)

/* --- fast.c ------------------------------------------------------------------------------------*/

enum native_move {
	NATIVE_LOAD_ALIGNED, NATIVE_LOAD_UNALIGNED, NATIVE_LOAD_Q, NATIVE_LOAD_D,
	NATIVE_STORE_ALIGNED, NATIVE_STORE_UNALIGNED, NATIVE_STORE_Q, NATIVE_STORE_D,
	NATIVE_AVX_LOAD_ALIGNED, NATIVE_AVX_LOAD_UNALIGNED, NATIVE_AVX_STORE_ALIGNED,
	NATIVE_AVX_STORE_UNALIGNED,
	NATIVE_MOVE_COUNT, NATIVE_COPY, NATIVE_XOR, NATIVE_NO_MOVE,
};

/* The exec function (not fn: it goes on to the next instruction) for a move or stub, or NULL. */
soft_exec_fn *native_fast_move(const struct soft_vcpu *c, const struct x86_insn *x,
			       enum native_move move);
soft_exec_fn *native_fast_stub(const struct soft_vcpu *c, const struct x86_insn *x,
			       const struct native_entry *e);
/* What native_move_find() has found, for native_fast_move(). */
enum native_move native_move_kind(soft_exec_fn *fn);

/* --- the direct handlers; NULL if there is none for x ------------------------------------------*/
soft_exec_fn *native_move_find(const struct x86_insn *x);
soft_exec_fn *native_mask_find(const struct x86_insn *x);

soft_exec_fn native_x87_exec, native_fwait, native_emms, native_group15, native_group9,
	native_movnti;
