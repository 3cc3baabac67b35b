/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * x87 (opcodes D8-DF, FWAIT) and what it shares with MMX.
 *
 * The guest's x87 state stays in the host's unit between instructions: compiled C does not touch it
 * (no long double in the engine), and the host's kernel switches it with the thread. It is copied
 * to c->s.fpu when another instruction needs the image and when the vCPU leaves the guest
 * (soft_native_sync()). All arithmetic, tags, stack faults and NaN rules are so the host's.
 *
 * Exceptions are deferred by x87's own rule: an unmasked one sets FSW.ES, and the next waiting
 * instruction traps. We look at ES before that and raise #MF, so the host itself never traps. The
 * last instruction's pointers are kept in C, since the host's would show our stubs' addresses.
 */
#include "cpu/soft/native/native.h"

enum { FSW_ES = 1 << 7, FCW_MASKS = 0x3f, ENV_SIZE = 28, SAVE_SIZE = 108 };

static uint16_t read_fsw(void)
{
	uint16_t fsw;
	__asm__ volatile("fnstsw %0" : "=a"(fsw));
	return fsw;
}

static void note_control_word(struct soft_vcpu *c)
{
	uint16_t fcw;
	__asm__ volatile("fnstcw %0" : "=m"(fcw));
	c->native->x87_unmasked = (fcw & FCW_MASKS) != FCW_MASKS;
	c->x87_ready = !c->native->x87_unmasked;
}

void native_x87_load(struct soft_vcpu *c)
{
	struct soft_native *n = c->native;
	const uint8_t *image = c->s.fpu.legacy;
	uint32_t mxcsr; /* FXRSTOR would load it: keep what is there */
	__asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
	memcpy(&c->x87_op, image + FX_FOP, 2);
	memcpy(&c->x87_ip, image + FX_FIP, 8);
	memcpy(&c->x87_dp, image + FX_FDP, 8);
	memset(n->fx, 0, sizeof(n->fx));
	memcpy(n->fx, image, FX_FOP);
	memcpy(n->fx + FX_MXCSR, &mxcsr, 4);
	memcpy(n->fx + FX_ST, image + FX_ST, 128);
	__asm__ volatile("fxrstor64 %0"
			 :
			 : "m"(n->fx)
			 : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
			   "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
	note_control_word(c);
	n->x87_live = true;
}

void native_x87_save(struct soft_vcpu *c)
{
	struct soft_native *n = c->native;
	uint8_t *image = c->s.fpu.legacy;
	if (!n->x87_live)
		return;
	__asm__ volatile("fxsave64 %0" : "=m"(n->fx));
	memcpy(image, n->fx, FX_FOP);
	memcpy(image + FX_FOP, &c->x87_op, 2);
	memcpy(image + FX_FIP, &c->x87_ip, 8);
	memcpy(image + FX_FDP, &c->x87_dp, 8);
	memcpy(image + FX_ST, n->fx + FX_ST, 128);
}

void native_mmx_save(struct soft_vcpu *c)
{
	uint64_t scratch;
	/* Any MMX instruction but EMMS makes the transition. */
	__asm__ volatile("movq %%mm0, %0" : "=m"(scratch));
	native_x87_save(c);
}

void native_x87_drop(struct soft_vcpu *c)
{
	struct soft_native *n = c->native;
	if (!n->x87_live)
		return;
	/* Leave the host's unit as C expects it: empty, all exceptions masked. */
	__asm__ volatile("fninit");
	n->x87_live = false;
	c->x87_ready = false;
}

void soft_native_settle(struct soft_vcpu *c)
{
	native_mxcsr_drop(c);
}

void soft_native_sync(struct soft_vcpu *c)
{
	if (!c->native)
		return;
	native_mxcsr_drop(c);
	c->s.fpu.header[0] = 7; /* XSTATE_BV: all of it is in the image */
	if (c->native->x87_live) {
		native_x87_save(c);
		native_x87_drop(c);
	}
}

void native_x87_check_pending(struct soft_vcpu *c)
{
	if (!(read_fsw() & FSW_ES))
		return;
	if (c->s.cr0 & X86_CR0_NE)
		soft_raise(c, X86_EXC_MF);
	/*
	 * CR0.NE = 0 is the PC/AT's way: FERR# to IRQ 13, whose handler clears the error through
	 * port F0h. No such wire here: as if IGNNE# were active, the error is dropped.
	 */
	__asm__ volatile("fnclex");
}

/* --- common preconditions ----------------------------------------------------------------------*/

static inline void begin_no_wait(struct soft_vcpu *c)
{
	if (soft_unlikely(c->s.cr0 & (X86_CR0_EM | X86_CR0_TS)))
		soft_raise(c, X86_EXC_NM);
	if (soft_unlikely(!c->native->x87_live))
		native_x87_load(c);
	c->x87_ready = !c->native->x87_unmasked;
}

static inline void begin(struct soft_vcpu *c)
{
	begin_no_wait(c);
	if (soft_unlikely(c->native->x87_unmasked))
		native_x87_check_pending(c);
}

static uint64_t pointer_width(struct soft_vcpu *c, uint64_t rip)
{
	return c->mode == X86_DECODE_64 ? rip : (uint32_t)rip;
}

/* The instruction has run: remember it as FIP, FOP and FDP do (SDM vol. 1, 8.1.8). */
static inline void finish(struct soft_vcpu *c, const struct soft_insn *i, uint64_t data)
{
	c->x87_ip = pointer_width(c, insn_rip(c, i));
	bool mem = i->x.mod != 3;
	if (mem && !soft_has_feature(c, CPU_WORD_7_0_EBX, NATIVE_FDP_EXCPTN_ONLY))
		c->x87_dp = data;
	if (soft_unlikely(c->native->x87_unmasked) && read_fsw() & FSW_ES) {
		c->x87_op = (i->x.opcode & 7) << 8 | i->x.modrm;
		if (mem)
			c->x87_dp = data;
	}
}

/* --- what has a stub ---------------------------------------------------------------------------*/

static void run_reg(struct soft_vcpu *c, const struct soft_insn *i, const struct native_entry *e)
{
	begin(c);
	e->code(c, NULL);
	finish(c, i, 0);
}

static void run_load(struct soft_vcpu *c, const struct soft_insn *i, const struct native_entry *e)
{
	begin(c);
	uint64_t ea = soft_ea(c, i);
	uint64_t linear = soft_linear(c, i->x.seg, ea, e->size, SOFT_READ);
	struct soft_tlb_entry *t = soft_tlb_at(c, linear);
	void *mem = (void *)(linear + t->addend);
	if (soft_unlikely(linear - t->read > PAGE_SIZE - e->size)) {
		mem = c->native->bounce;
		soft_load_bytes(c, linear, mem, e->size);
	}
	e->code(c, mem);
	finish(c, i, ea);
}

/*
 * Does this store happen? An unmasked exception can keep it from memory, and then it does not fault
 * either. Tried out on two patterns, with the state put back.
 */
static bool stores(struct soft_vcpu *c, const struct native_entry *e)
{
	uint8_t *bounce = c->native->bounce, pattern[16];
	bool written = false;
	native_x87_save(c);
	for (unsigned fill = 0x55; fill <= 0xaa && !written; fill += 0x55) {
		memset(bounce, fill, sizeof(pattern));
		memset(pattern, fill, sizeof(pattern));
		e->code(c, bounce);
		written = memcmp(bounce, pattern, sizeof(pattern)) != 0;
		native_x87_load(c);
	}
	return written;
}

static void run_store(struct soft_vcpu *c, const struct soft_insn *i, const struct native_entry *e)
{
	begin(c);
	uint64_t ea = soft_ea(c, i);
	uint8_t *bounce = c->native->bounce;
	if (soft_unlikely(c->native->x87_unmasked) && !stores(c, e)) {
		e->code(c, bounce);
		finish(c, i, ea);
		return;
	}
	uint64_t linear = soft_linear(c, i->x.seg, ea, e->size, SOFT_WRITE);
	struct soft_tlb_entry *t = soft_tlb_at(c, linear);
	if (soft_unlikely(linear - t->write > PAGE_SIZE - e->size)) {
		soft_check_write(c, linear, e->size);
		e->code(c, bounce);
		soft_store_bytes(c, linear, bounce, e->size);
	} else {
		e->code(c, (void *)(linear + t->addend));
	}
	finish(c, i, ea);
}

static void exec_reg(struct soft_vcpu *c, const struct soft_insn *i)
{
	run_reg(c, i, i->native);
}

static void exec_load(struct soft_vcpu *c, const struct soft_insn *i)
{
	run_load(c, i, i->native);
}

static void exec_store(struct soft_vcpu *c, const struct soft_insn *i)
{
	run_store(c, i, i->native);
}

/* --- control words -----------------------------------------------------------------------------*/

static void fldcw(struct soft_vcpu *c, const struct soft_insn *i)
{
	begin(c);
	uint16_t fcw = soft_load(c, soft_operand(c, i, 2, SOFT_READ), 2);
	__asm__ volatile("fldcw %0" : : "m"(fcw));
	note_control_word(c);
}

static void fnstcw(struct soft_vcpu *c, const struct soft_insn *i)
{
	uint16_t fcw;
	begin_no_wait(c);
	__asm__ volatile("fnstcw %0" : "=m"(fcw));
	soft_store(c, soft_operand(c, i, 2, SOFT_WRITE), fcw, 2);
}

static void fnstsw(struct soft_vcpu *c, const struct soft_insn *i)
{
	begin_no_wait(c);
	soft_store(c, soft_operand(c, i, 2, SOFT_WRITE), read_fsw(), 2);
}

static void fnstsw_ax(struct soft_vcpu *c, const struct soft_insn *i)
{
	begin_no_wait(c);
	c->s.gpr[X86_RAX] = (c->s.gpr[X86_RAX] & ~UINT64_C(0xffff)) | read_fsw();
}

static void fnclex(struct soft_vcpu *c, const struct soft_insn *i)
{
	begin_no_wait(c);
	__asm__ volatile("fnclex");
}

static void forget_pointers(struct soft_vcpu *c)
{
	c->x87_ip = c->x87_dp = 0;
	c->x87_op = 0;
	note_control_word(c);
}

static void fninit(struct soft_vcpu *c, const struct soft_insn *i)
{
	begin_no_wait(c);
	__asm__ volatile("fninit");
	forget_pointers(c);
}

/* FENI, FDISI, FSETPM: of the 8087 and 80287, now nothing. */
static void no_operation(struct soft_vcpu *c, const struct soft_insn *i)
{
	begin_no_wait(c);
}

/* --- environment and whole state ---------------------------------------------------------------*/

static bool real_format(const struct soft_vcpu *c)
{
	return !(c->s.cr0 & X86_CR0_PE) || c->s.rflags & X86_FLAG_VM;
}

static void put(uint8_t *p, uint32_t value, unsigned size)
{
	memcpy(p, &value, size);
}

static uint32_t get(const uint8_t *p, unsigned size)
{
	uint32_t v = 0;
	memcpy(&v, p, size);
	return v;
}

/*
 * From the host's 28-byte protected-mode image to the guest's format, with the guest's pointers
 * (SDM vol. 1, figures 8-9 to 8-12). The code and data segments read as 0 (CPUID.7.EBX bit 13).
 * Returns the size.
 */
static unsigned env_to_guest(struct soft_vcpu *c, uint8_t out[ENV_SIZE], const uint8_t h[ENV_SIZE],
			     unsigned op_size)
{
	bool real = real_format(c);
	if (op_size == 2) {
		for (unsigned k = 0; k < 3; k++)
			put(out + 2 * k, get(h + 4 * k, 2), 2);
		put(out + 6, c->x87_ip, 2);
		put(out + 8, real ? ((c->x87_ip >> 16) & 0xf) << 12 | c->x87_op : 0, 2);
		put(out + 10, c->x87_dp, 2);
		put(out + 12, real ? ((c->x87_dp >> 16) & 0xf) << 12 : 0, 2);
		return 14;
	}
	memcpy(out, h, ENV_SIZE);
	if (real) {
		put(out + 12, c->x87_ip & 0xffff, 4);
		put(out + 16, ((c->x87_ip >> 16) & 0xffff) << 12 | c->x87_op, 4);
		put(out + 20, c->x87_dp & 0xffff, 4);
		put(out + 24, ((c->x87_dp >> 16) & 0xffff) << 12, 4);
	} else {
		put(out + 12, c->x87_ip, 4);
		put(out + 16, (uint32_t)c->x87_op << 16, 4);
		put(out + 20, c->x87_dp, 4);
	}
	return ENV_SIZE;
}

static void env_from_guest(struct soft_vcpu *c, uint8_t h[ENV_SIZE], const uint8_t *in,
			   unsigned op_size)
{
	unsigned w = op_size == 2 ? 2 : 4;
	bool real = real_format(c);
	memset(h, 0, ENV_SIZE);
	for (unsigned k = 0; k < 3; k++)
		put(h + 4 * k, get(in + w * k, 2), 2);
	uint32_t ip = get(in + 3 * w, w), sel = get(in + 4 * w, w);
	uint32_t dp = get(in + 5 * w, w), data_sel = get(in + 6 * w, w);
	if (real) {
		c->x87_op = sel & 0x7ff;
		c->x87_ip = (ip & 0xffff) | ((sel >> 12) & 0xffff) << 16;
		c->x87_dp = (dp & 0xffff) | ((data_sel >> 12) & 0xffff) << 16;
	} else {
		c->x87_op = w == 4 ? (sel >> 16) & 0x7ff : 0;
		c->x87_ip = ip;
		c->x87_dp = dp;
	}
}

static void fnstenv(struct soft_vcpu *c, const struct soft_insn *i)
{
	uint8_t h[ENV_SIZE], out[ENV_SIZE];
	unsigned size = i->x.op_size == 2 ? 14 : ENV_SIZE;
	begin_no_wait(c);
	uint64_t linear = soft_operand(c, i, size, SOFT_WRITE);
	soft_check_write(c, linear, size);
	__asm__ volatile("fnstenv %0" : "=m"(h));
	soft_store_bytes(c, linear, out, env_to_guest(c, out, h, i->x.op_size));
	note_control_word(c);
}

static void fldenv(struct soft_vcpu *c, const struct soft_insn *i)
{
	uint8_t h[ENV_SIZE], in[ENV_SIZE];
	unsigned size = i->x.op_size == 2 ? 14 : ENV_SIZE;
	begin(c);
	soft_load_bytes(c, soft_operand(c, i, size, SOFT_READ), in, size);
	env_from_guest(c, h, in, i->x.op_size);
	__asm__ volatile("fldenv %0" : : "m"(h));
	note_control_word(c);
}

static void fnsave(struct soft_vcpu *c, const struct soft_insn *i)
{
	uint8_t h[SAVE_SIZE], out[SAVE_SIZE];
	unsigned env = i->x.op_size == 2 ? 14 : ENV_SIZE;
	begin_no_wait(c);
	uint64_t linear = soft_operand(c, i, env + 80, SOFT_WRITE);
	soft_check_write(c, linear, env + 80);
	__asm__ volatile("fnsave %0" : "=m"(h));
	env_to_guest(c, out, h, i->x.op_size);
	memcpy(out + env, h + ENV_SIZE, 80);
	soft_store_bytes(c, linear, out, env + 80);
	forget_pointers(c);
}

static void frstor(struct soft_vcpu *c, const struct soft_insn *i)
{
	uint8_t h[SAVE_SIZE], in[SAVE_SIZE];
	unsigned env = i->x.op_size == 2 ? 14 : ENV_SIZE;
	begin(c);
	soft_load_bytes(c, soft_operand(c, i, env + 80, SOFT_READ), in, env + 80);
	env_from_guest(c, h, in, i->x.op_size);
	memcpy(h + ENV_SIZE, in + env, 80);
	__asm__ volatile("frstor %0" : : "m"(h));
	note_control_word(c);
}

/* --- which is which ----------------------------------------------------------------------------*/

/* Memory operand sizes by opcode - D8 and digit; 0: no such instruction or not by a stub. */
static const uint8_t memory_size[8][8] = {
	{ 4, 4, 4, 4, 4, 4, 4, 4 },
	{ 4, 0, 4, 4, 0, 0, 0, 0 },
	{ 4, 4, 4, 4, 4, 4, 4, 4 },
	{ 4, 4, 4, 4, 0, 10, 0, 10 },
	{ 8, 8, 8, 8, 8, 8, 8, 8 },
	{ 8, 8, 8, 8, 0, 0, 0, 0 },
	{ 2, 2, 2, 2, 2, 2, 2, 2 },
	{ 2, 2, 2, 2, 10, 8, 10, 8 },
};

/* Bit per digit: the memory operand is written. */
static const uint8_t memory_store[8] = { 0, 0x0c, 0, 0x8e, 0, 0x0e, 0, 0xce };

static soft_exec_fn *find_special(const struct x86_insn *x)
{
	unsigned digit = x->reg & 7;
	if (x->mod == 3) {
		switch (x->opcode << 8 | x->modrm) {
		case 0xdbe0: case 0xdbe1: case 0xdbe4: return no_operation;
		case 0xdbe2: return fnclex;
		case 0xdbe3: return fninit;
		case 0xdfe0: return fnstsw_ax;
		}
		return NULL;
	}
	switch (x->opcode << 4 | digit) {
	case 0xd94: return fldenv;
	case 0xd95: return fldcw;
	case 0xd96: return fnstenv;
	case 0xd97: return fnstcw;
	case 0xdd4: return frstor;
	case 0xdd6: return fnsave;
	case 0xdd7: return fnstsw;
	}
	return NULL;
}

/* Register forms that exist, the undocumented aliases included; the rest is #UD. */
static bool register_form_exists(uint8_t opcode, uint8_t modrm)
{
	switch (opcode) {
	case 0xd8: case 0xdc:
		return true;
	case 0xd9: /* D1-D7, E2, E3, E6, E7, EF do not */
		return modrm <= 0xd0 || (modrm >= 0xd8 && modrm <= 0xe1) || modrm == 0xe4 ||
		       modrm == 0xe5 || (modrm >= 0xe8 && modrm != 0xef);
	case 0xda:
		return modrm < 0xe0 || modrm == 0xe9;
	case 0xdb:
		return modrm < 0xe0 || (modrm >= 0xe8 && modrm < 0xf8);
	case 0xdd:
		return modrm < 0xf0;
	case 0xde:
		return modrm < 0xd8 || modrm == 0xd9 || modrm >= 0xe0;
	case 0xdf:
		return modrm < 0xe0 || (modrm >= 0xe8 && modrm < 0xf8);
	}
	return false;
}

bool native_x87_plain(const struct x86_insn *x, unsigned *size, bool *store)
{
	unsigned row = x->opcode & 7, digit = x->reg & 7;
	bool mem = x->mod != 3;
	if (find_special(x))
		return false;
	*size = mem ? memory_size[row][digit] : 0;
	*store = mem && memory_store[row] & 1u << digit;
	return mem ? *size : register_form_exists(x->opcode, x->modrm);
}

void native_x87_exec(struct soft_vcpu *c, const struct soft_insn *i)
{
	const struct x86_insn *x = &i->x;
	soft_exec_fn *fn = find_special(x);
	if (fn) {
		native_bind(i, fn, NULL, NULL);
		fn(c, i);
		return;
	}
	unsigned size;
	bool mem = x->mod != 3, store;
	if (!native_x87_plain(x, &size, &store)) {
		/* Also of the undefined ones, #NM comes first. */
		begin_no_wait(c);
		soft_raise(c, X86_EXC_UD);
	}
	bool cached;
	struct native_entry *e = native_stub_get(c, NULL, x, &cached);
	e->size = size;
	e->store = store;
	if (cached)
		native_bind(i, !mem ? exec_reg : store ? exec_store : exec_load, NULL, e);
	if (!mem)
		run_reg(c, i, e);
	else if (store)
		run_store(c, i, e);
	else
		run_load(c, i, e);
}

/* FWAIT: only CR0.MP with TS makes it #NM. */
void native_fwait(struct soft_vcpu *c, const struct soft_insn *i)
{
	if ((c->s.cr0 & (X86_CR0_MP | X86_CR0_TS)) == (X86_CR0_MP | X86_CR0_TS))
		soft_raise(c, X86_EXC_NM);
	if (!c->native->x87_live)
		native_x87_load(c);
	if (c->native->x87_unmasked)
		native_x87_check_pending(c);
}
