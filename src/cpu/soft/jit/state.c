/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where the guest's registers and flags are while translated code runs. */
#include "cpu/soft/jit/emit.h"

#include <stddef.h>

unsigned jit_home_of(unsigned n)
{
	if (n == X86_RSP)
		return JIT_GUEST_RSP;
	return n < 13 ? n : JIT_NONE;
}

unsigned jit_get(struct jit_emit *e, unsigned n, unsigned scratch)
{
	unsigned host = jit_host_of(e, n);
	if (host != JIT_NONE)
		return host;
	jit_load(e, scratch, JIT_GPR(n));
	return scratch;
}

/* The lower flags' byte; in front of it, OF's. */
#define LOWER_FLAGS JIT_FIELD(flags)
#define OVERFLOW_FLAG JIT_FIELD(jit_overflow)
_Static_assert(offsetof(struct soft_vcpu, flags) == offsetof(struct soft_vcpu, jit_overflow) + 1, "one word");
_Static_assert(offsetof(struct soft_vcpu, flags) % 64, "in one cache line");

enum { SETO = 0x0f90, SETC = 0x0f92, OF_SHIFT = 3 /* in C's upper byte */ };

static struct jit_at upper_flags(void)
{
	return jit_field(offsetof(struct soft_vcpu, flags) + 1);
}

void jit_flags_to_c(struct jit_emit *e, unsigned scratch)
{
	jit_op_rm(e, 0x0fb6, scratch, OVERFLOW_FLAG);
	jit_op_rr(e, 0xc1, 4, scratch); /* shl */
	jit_byte(e, OF_SHIFT);
	jit_op_rm(e, 0x88, scratch, upper_flags());
}

void jit_flags_from_c(struct jit_emit *e, unsigned scratch)
{
	jit_op_rm(e, 0x0fb6, scratch, upper_flags());
	jit_op_rr(e, 0xc1, 5, scratch); /* shr */
	jit_byte(e, OF_SHIFT);
	jit_op_rr(e, 0x83, 4, scratch); /* and */
	jit_byte(e, 1);
	jit_op_rm(e, 0x88, scratch, OVERFLOW_FLAG);
}

/*
 * LAHF and SETO: PUSHF is microcode. Of carries alone (chains of ADC, ADCX and ADOX) SETcc. Bit 1 becomes
 * 1 in c->flags, as it is in EFLAGS; whoever reads it takes the arithmetic flags only.
 */
void jit_flags_save(struct jit_emit *e, uint8_t live)
{
	enum { LAHF = 0x9f, AH = 4 };
	bool at_hand = e->frame.at_hand; /* S1 is left alone */
	e->flags_mem = true;
	if (!(live & ~(JIT_CF | JIT_OF))) {
		jit_op_rm(e, SETC, 0, LOWER_FLAGS);
		if (live & JIT_OF)
			jit_op_rm(e, SETO, 0, OVERFLOW_FLAG);
		return;
	}
	jit_mov(e, JIT_S0, X86_RAX);
	jit_byte(e, LAHF);
	if (live & JIT_OF) {
		jit_op_rr(e, SETO, 0, X86_RAX);
		jit_op_rm(e, 0x89 | JIT_OPSIZE, X86_RAX, OVERFLOW_FLAG);
	} else {
		jit_op_rm(e, 0x88, AH, LOWER_FLAGS);
	}
	jit_mov(e, X86_RAX, JIT_S0);
	e->frame.at_hand = at_hand;
}

void jit_flags_clobber(struct jit_emit *e)
{
	if (e->flags_host && !e->flags_mem && e->live_before)
		jit_flags_save(e, e->live_before);
	e->flags_host = false;
}

void jit_flags_restore_code(struct jit_emit *e, uint8_t needed, unsigned scratch)
{
	if (needed == JIT_CF) {
		jit_op_rm(e, 0x0fba, 4, LOWER_FLAGS); /* bt [flags], 0 */
		jit_byte(e, 0);
		return;
	}
	if (needed & JIT_OF) {
		jit_op_rm(e, 0x0fb6, scratch, OVERFLOW_FLAG);
		/* 1 + 7Fh overflows a byte, 0 + 7Fh does not. */
		jit_op_rr(e, 0x80 | JIT_BYTE_REGS, 0, scratch);
		jit_byte(e, 0x7f);
	}
	jit_mov(e, scratch, X86_RAX);
	jit_op_rm(e, 0x8a, 4 /* AH */, LOWER_FLAGS);
	jit_byte(e, 0x9e); /* sahf */
	jit_mov(e, X86_RAX, scratch);
}

void jit_flags_need(struct jit_emit *e, unsigned scratch)
{
	uint8_t needed = e->use | (e->live & ~e->kill);
	if (e->flags_host || !needed)
		return;
	jit_flags_restore_code(e, needed, scratch);
	e->flags_host = true;
}

void jit_flags_written(struct jit_emit *e)
{
	e->flags_host = true;
	e->flags_mem = false;
}
