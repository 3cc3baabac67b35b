/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Directed instruction tests: a few bytes at a time, stepped one instruction after another. */
#include "soft_guest.h"

#include <string.h>

#define CODE 0x10000

static struct soft_guest *g;

static struct soft_vcpu *start(const uint8_t *code, size_t length)
{
	soft_guest_write(g, CODE, code, length);
	soft_guest_enter64(g, CODE, false);
	return g->c;
}

#define START(...)                                                                                 \
	static const uint8_t code[] = { __VA_ARGS__ };                                             \
	struct soft_vcpu *c = start(code, sizeof(code))

static void steps(struct soft_vcpu *c, unsigned n)
{
	while (n--)
		g_assert_true(soft_step(c));
}

static void test_arithmetic(void)
{
	/* mov eax,-1; add eax,1; adc rbx,0; sub al,1; inc eax */
	START(0xb8, 0xff, 0xff, 0xff, 0xff, 0x83, 0xc0, 0x01, 0x48, 0x83, 0xd3, 0x00, 0x2c, 0x01,
	      0xff, 0xc0);
	steps(c, 1);
	g_assert_cmphex(c->s.gpr[X86_RAX], ==, 0xffffffff);
	steps(c, 1);
	g_assert_cmphex(c->s.gpr[X86_RAX], ==, 0);
	g_assert_cmphex(c->flags, ==, X86_FLAG_CF | X86_FLAG_ZF | X86_FLAG_PF | X86_FLAG_AF);
	steps(c, 1);
	g_assert_cmphex(c->s.gpr[X86_RBX], ==, 1);
	g_assert_cmphex(c->flags, ==, 0);
	steps(c, 1);
	g_assert_cmphex(c->s.gpr[X86_RAX], ==, 0xff);
	g_assert_cmphex(c->flags & X86_FLAG_CF, ==, X86_FLAG_CF);
	steps(c, 1);
	g_assert_cmphex(c->s.gpr[X86_RAX], ==, 0x100);
	g_assert_cmphex(c->flags & X86_FLAG_CF, ==, X86_FLAG_CF); /* INC keeps it */
	g_assert_cmphex(c->s.rip, ==, CODE + sizeof(code));
}

static void test_memory(void)
{
	/* mov [rbx],rax; lock add [rbx],rax; xchg [rbx+8],rax; push rax; pop rcx */
	START(0x48, 0x89, 0x03, 0xf0, 0x48, 0x01, 0x03, 0x48, 0x87, 0x43, 0x08, 0x50, 0x59);
	c->s.gpr[X86_RAX] = 0x1234;
	c->s.gpr[X86_RBX] = 0x30ffd; /* all of it crosses a page */
	steps(c, 2);
	uint64_t v;
	memcpy(&v, g->ram->host + 0x30ffd, 8);
	g_assert_cmphex(v, ==, 0x2468);
	steps(c, 3);
	memcpy(&v, g->ram->host + 0x31005, 8);
	g_assert_cmphex(v, ==, 0x1234);
	g_assert_cmphex(c->s.gpr[X86_RCX], ==, 0);
	g_assert_cmphex(c->s.gpr[X86_RSP], ==, 0x200000);
}

static void test_divide_error(void)
{
	START(0x48, 0xf7, 0xf1); /* div rcx */
	g_assert_false(soft_step(c));
	g_assert_cmpuint(c->fault.vector, ==, X86_EXC_DE);
	g_assert_cmphex(c->s.rip, ==, CODE);
	c->s.gpr[X86_RAX] = 100;
	c->s.gpr[X86_RCX] = 7;
	steps(c, 1);
	g_assert_cmpuint(c->s.gpr[X86_RAX], ==, 14);
	g_assert_cmpuint(c->s.gpr[X86_RDX], ==, 2);
}

static void test_page_fault(void)
{
	START(0x48, 0x01, 0x03); /* add [rbx],rax, in an address space of 1 GiB */
	c->s.gpr[X86_RBX] = 0x7fffffff0000;
	g_assert_false(soft_step(c));
	g_assert_cmpuint(c->fault.vector, ==, X86_EXC_PF);
	g_assert_cmphex(c->fault.error, ==, X86_PF_W);
	g_assert_cmphex(c->s.cr2, ==, 0x7fffffff0000);
	c->s.gpr[X86_RBX] = 0x800000000000; /* not canonical */
	g_assert_false(soft_step(c));
	g_assert_cmpuint(c->fault.vector, ==, X86_EXC_GP);
}

static void test_undefined(void)
{
	START(0x0f, 0x0b, 0xf0, 0x48, 0x01, 0xc0); /* ud2; lock add rax,rax */
	g_assert_false(soft_step(c));
	g_assert_cmpuint(c->fault.vector, ==, X86_EXC_UD);
	c->s.rip = CODE + 2;
	g_assert_false(soft_step(c));
	g_assert_cmpuint(c->fault.vector, ==, X86_EXC_UD);
}

static void test_string(void)
{
	START(0xf3, 0xa4, 0xf3, 0x48, 0xab); /* rep movsb; rep stosq */
	for (unsigned n = 0; n < 9000; n++)
		g->ram->host[0x40000 + n] = (uint8_t)(n * 7);
	c->s.gpr[X86_RSI] = 0x40000;
	c->s.gpr[X86_RDI] = 0x50123;
	c->s.gpr[X86_RCX] = 9000;
	while (c->s.rip == CODE)
		g_assert_true(soft_step(c));
	g_assert_cmpmem(g->ram->host + 0x50123, 9000, g->ram->host + 0x40000, 9000);
	g_assert_cmpuint(c->s.gpr[X86_RCX], ==, 0);
	g_assert_cmphex(c->s.gpr[X86_RDI], ==, 0x50123 + 9000);
	c->s.gpr[X86_RDI] = 0x40008;
	c->s.gpr[X86_RCX] = 600;
	c->s.gpr[X86_RAX] = 0x1122334455667788;
	while (c->s.rip == CODE + 2)
		steps(c, 1);
	uint64_t v;
	memcpy(&v, g->ram->host + 0x40008 + 599 * 8, 8);
	g_assert_cmphex(v, ==, 0x1122334455667788);
}

/* A forward copy over its own source repeats the pattern. */
static void test_string_overlap(void)
{
	START(0xf3, 0xa4);
	memcpy(g->ram->host + 0x40000, "abc", 3);
	c->s.gpr[X86_RSI] = 0x40000;
	c->s.gpr[X86_RDI] = 0x40003;
	c->s.gpr[X86_RCX] = 12;
	steps(c, 1);
	g_assert_cmpmem(g->ram->host + 0x40000, 15, "abcabcabcabcabc", 15);
}

/* The store changes the instruction right behind it. */
static void test_self_modifying(void)
{
	/* mov word [rip],0x9090, over the ud2 that follows; mov dx,0xf4; mov al,0x21; out dx,al */
	START(0x66, 0xc7, 0x05, 0x00, 0x00, 0x00, 0x00, 0x90, 0x90, 0x0f, 0x0b, 0x66, 0xba, 0xf4,
	      0x00, 0xb0, 0x21, 0xee);
	g_assert_cmpint(soft_guest_run(g), ==, 0x21);
	g_assert_cmphex(c->s.gpr[X86_RAX], ==, 0x21);
}

/*
 * With the dirty log on, stores and device writes clear RAM_PAGE_CLEAN; taking a page sets it again. Of several
 * stores to a page the later ones go by the TLB, until a sync.
 */
static void test_dirty_log(void)
{
	/* mov [rbx],rax four times; lock inc [rbx] */
	START(0x48, 0x89, 0x03, 0x48, 0x89, 0x03, 0x48, 0x89, 0x03, 0x48, 0x89, 0x03, 0xf0, 0x48, 0xff, 0x03);
	c->s.gpr[X86_RBX] = 0x60000;
	steps(c, 1);
	g_assert_true(soft_engine.dirty_log_start(g->vm, NULL));
	g_assert_false(ram_dirty_take(g->ram, 0x60));
	steps(c, 3);
	g_assert_true(ram_dirty_take(g->ram, 0x60));
	g_assert_true(soft_engine.dirty_log_sync(g->vm, NULL));
	g_assert_false(ram_dirty_take(g->ram, 0x60));
	steps(c, 1);
	g_assert_true(ram_dirty_take(g->ram, 0x60));
	g_assert_false(ram_dirty_take(g->ram, 0x61));
	soft_engine.dirty_log_stop(g->vm);
	g_assert_cmpuint(g->ram->page_state[0x60], ==, 0);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g = soft_guest_new(8 << 20, 1);
	g_test_add_func("/soft/step/arithmetic", test_arithmetic);
	g_test_add_func("/soft/step/memory", test_memory);
	g_test_add_func("/soft/step/divide-error", test_divide_error);
	g_test_add_func("/soft/step/page-fault", test_page_fault);
	g_test_add_func("/soft/step/undefined", test_undefined);
	g_test_add_func("/soft/step/string", test_string);
	g_test_add_func("/soft/step/string-overlap", test_string_overlap);
	g_test_add_func("/soft/step/self-modifying", test_self_modifying);
	g_test_add_func("/soft/step/dirty-log", test_dirty_log);
	int r = g_test_run();
	soft_guest_free(g);
	return r;
}
