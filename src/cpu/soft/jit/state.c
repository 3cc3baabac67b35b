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

static struct jit_at flags_byte(unsigned n)
{
	return jit_field(offsetof(struct soft_vcpu, flags) + n);
}

enum { SETO = 0x0f90, SETC = 0x0f92, OF_SHIFT = 3 /* in the upper byte */ };

/* OF into the upper byte, from `scratch`, whose number is below 4 or above 7. Changes EFLAGS. */
static void save_overflow(struct jit_emit *e, unsigned scratch)
{
	jit_op_rr(e, SETO, 0, scratch);
	jit_op_rr(e, 0xc0, 4, scratch); /* shl */
	jit_byte(e, OF_SHIFT);
	jit_op_rm(e, 0x88, scratch, flags_byte(1));
}

/* CF, and perhaps OF, into their bits, others 0: chains of ADC, ADCX and ADOX. */
static void save_carries(struct jit_emit *e, bool of)
{
	jit_op_rm(e, SETC, 0, flags_byte(0));
	if (of)
		save_overflow(e, JIT_S0);
}

/*
 * LAHF and SETO: PUSHF is microcode. Bit 1 becomes 1 in c->flags, as it is in EFLAGS; whoever reads it
 * takes the arithmetic flags only.
 */
void jit_flags_save(struct jit_emit *e, uint8_t live)
{
	enum { LAHF = 0x9f, AH = 4 };
	bool at_hand = e->frame.at_hand; /* S1 is left alone */
	e->flags_mem = true;
	if (!(live & ~(JIT_CF | JIT_OF))) {
		save_carries(e, live & JIT_OF);
		e->frame.at_hand = at_hand;
		return;
	}
	jit_mov(e, JIT_S0, X86_RAX);
	jit_byte(e, LAHF);
	jit_op_rm(e, 0x88, AH, flags_byte(0));
	if (live & JIT_OF)
		save_overflow(e, X86_RAX);
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
		jit_op_rm(e, 0x0fba, 4, flags_byte(0)); /* bt [flags], 0 */
		jit_byte(e, 0);
		return;
	}
	if (needed & JIT_OF) {
		jit_op_rm(e, 0x0fb6, scratch, flags_byte(1));
		/* OF is bit 3 here: 8 + 78h overflows a byte, 0 + 78h does not. */
		jit_op_rr(e, 0x80 | JIT_BYTE_REGS, 0, scratch);
		jit_byte(e, 0x78);
	}
	jit_mov(e, scratch, X86_RAX);
	jit_op_rm(e, 0x8a, 4 /* AH */, flags_byte(0));
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
