/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where the guest's registers and flags are while translated code runs. */
#include "cpu/soft/jit/emit.h"

#include <stddef.h>

unsigned jit_host_of(unsigned n)
{
	if (n == X86_RSP)
		return JIT_GUEST_RSP;
	return n < 13 ? n : JIT_NONE;
}

unsigned jit_get(struct jit_emit *e, unsigned n, unsigned scratch)
{
	unsigned host = jit_host_of(n);
	if (host != JIT_NONE)
		return host;
	jit_load(e, scratch, JIT_GPR(n));
	return scratch;
}

void jit_flags_save(struct jit_emit *e)
{
	/* pushfq; pop S0; and S0d, arithmetic; mov [flags], S0 */
	static const uint8_t code[] = { 0x9c, 0x41, 0x5e, 0x41, 0x81, 0xe6, 0xd5, 0x08, 0, 0 };
	jit_bytes(e, code, sizeof(code));
	jit_store(e, JIT_S0, JIT_FIELD(flags));
	e->flags_mem = true;
}

void jit_flags_clobber(struct jit_emit *e)
{
	if (e->flags_host && !e->flags_mem && e->live_before)
		jit_flags_save(e);
	e->flags_host = false;
}

void jit_flags_restore_code(struct jit_emit *e, unsigned scratch)
{
	jit_op_rm(e, 0x0fb6, scratch, jit_field(offsetof(struct soft_vcpu, flags) + 1));
	/* OF is bit 3 here: 8 + 78h overflows a byte, 0 + 78h does not. */
	jit_op_rr(e, 0x80 | JIT_BYTE_REGS, 0, scratch);
	jit_byte(e, 0x78);
	jit_mov(e, scratch, X86_RAX);
	jit_op_rm(e, 0x8a, 4 /* AH */, JIT_FIELD(flags));
	jit_byte(e, 0x9e); /* sahf */
	jit_mov(e, X86_RAX, scratch);
}

void jit_flags_need(struct jit_emit *e, unsigned scratch)
{
	uint8_t kept = e->live & ~e->kill;
	if (e->flags_host || !(e->use | kept))
		return;
	jit_flags_restore_code(e, scratch);
	e->flags_host = true;
}

void jit_flags_written(struct jit_emit *e)
{
	e->flags_host = true;
	e->flags_mem = false;
}
