/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "soft_guest.h"

#include "aio/loop.h"

#include <string.h>

enum {
	PAGE_TABLES = 0x100000,
	GDT = 0x110000,
	STACK_TOP = 0x200000,
	SELECTOR_CODE64 = 0x08, SELECTOR_DATA = 0x10, SELECTOR_CODE32 = 0x18,
	SELECTOR_USER_DATA = 0x20 | 3, SELECTOR_USER_CODE64 = 0x28 | 3,
};

static void exit_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct soft_guest *g = opaque;
	g->exit_code = (int)value;
	soft_post(g->c, SOFT_PENDING_KICK);
}

static void console_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct soft_guest *g = opaque;
	g_string_append_c(g->console, (char)value);
}

static const struct io_ops exit_ops = { .write = exit_write };
static const struct io_ops console_ops = { .write = console_write };

static void add_ports(struct soft_guest *g)
{
	g->exit_port = (struct io_region){ .name = "exit", .ops = &exit_ops, .opaque = g, .size = 4 };
	g->console_port = (struct io_region){
		.name = "console", .ops = &console_ops, .opaque = g, .size = 1
	};
	space_add_io(g->vm->ports, 0xf4, &g->exit_port, SPACE_PRIORITY_NORMAL);
	space_add_io(g->vm->ports, 0xe9, &g->console_port, SPACE_PRIORITY_NORMAL);
}

struct soft_guest *soft_guest_new(uint64_t size, unsigned vcpus)
{
	g_autoptr(GError) error = NULL;
	struct soft_guest *g = g_new0(struct soft_guest, 1);
	struct cpu_features features;
	soft_features(&features);
	g->console = g_string_new(NULL);
	g->exit_code = -1;
	g->model = cpu_model_parse("max", &features, &error);
	g_assert_no_error(error);
	g->loop = aio_loop_new(&error);
	g_assert_no_error(error);
	const struct vm_config config = {
		.engine = &soft_engine, .cpu_model = g->model, .vcpus = vcpus,
		.sockets = vcpus, .dies = 1, .cores = 1, .threads = 1,
		/* Everything from its first execution on, where the host can. */
		.translate = __builtin_cpu_supports("bmi2"), .translate_strictly = true,
		.translate_verified = true, .translate_after = 1,
	};
	g->vm = vm_new(&config, g->loop, &error);
	g_assert_no_error(error);
	g->ram = ram_block_new("ram", size, NULL, &error);
	g_assert_no_error(error);
	space_add_ram(g->vm->memory, 0, g->ram, 0, size, false, NULL, SPACE_PRIORITY_NORMAL);
	add_ports(g);
	g_assert_true(vm_create_vcpus(g->vm, &error));
	g->c = soft_of(&g->vm->vcpus[0]);
	return g;
}

void soft_guest_free(struct soft_guest *g)
{
	vm_stop_vcpus(g->vm);
	vm_free(g->vm);
	ram_block_free(g->ram);
	aio_loop_free(g->loop);
	cpu_model_free(g->model);
	g_string_free(g->console, TRUE);
	g_free(g);
}

void soft_guest_write(struct soft_guest *g, uint64_t addr, const void *bytes, size_t length)
{
	g_assert_cmpuint(addr + length, <=, g->ram->size);
	memcpy(g->ram->host + addr, bytes, length);
	ram_note_write(g->ram, addr, length);
}

static void write64(struct soft_guest *g, uint64_t addr, uint64_t v)
{
	soft_guest_write(g, addr, &v, 8);
}

static void write_tables(struct soft_guest *g)
{
	enum { P = 1, W = 2, U = 4, PS = 0x80 };
	static const uint64_t gdt[] = {
		0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00cf9b000000ffff,
		0x00cff3000000ffff, 0x00affb000000ffff,
	};
	soft_guest_write(g, GDT, gdt, sizeof(gdt));
	write64(g, PAGE_TABLES, (PAGE_TABLES + 0x1000) | P | W | U);
	write64(g, PAGE_TABLES + 0x1000, (PAGE_TABLES + 0x2000) | P | W | U);
	for (unsigned n = 0; n < 512; n++)
		write64(g, PAGE_TABLES + 0x2000 + n * 8, (uint64_t)n << 21 | P | W | U | PS);
}

static struct x86_segment segment(uint16_t selector, uint32_t attr)
{
	return (struct x86_segment){ .selector = selector, .limit = 0xffffffff, .attr = attr };
}

static struct x86_state *state_new(struct soft_guest *g, uint64_t rip)
{
	struct x86_state *s = g_aligned_alloc0(1, sizeof(*s), 64);
	soft_guest_write(g, PAGE_TABLES, (uint8_t[1]){ 0 }, 1);
	write_tables(g);
	soft_state_get(g->c, s);
	memset(s->gpr, 0, sizeof(s->gpr));
	s->gpr[X86_RSP] = STACK_TOP;
	s->rip = rip;
	s->rflags = 2;
	s->gdtr = (struct x86_table){ .base = GDT, .limit = 6 * 8 - 1 };
	s->idtr = (struct x86_table){ 0 };
	s->activity = X86_RUNNING;
	return s;
}

static void state_use(struct soft_guest *g, struct x86_state *s)
{
	soft_state_set(g->c, s);
	g_aligned_free(s);
	g->exit_code = -1;
}

enum { CODE_FLAGS = 0x9b | X86_SEG_G, DATA_FLAGS = 0x93 | X86_SEG_G | X86_SEG_DB, USER = 0x60 };

void soft_guest_enter64(struct soft_guest *g, uint64_t rip, bool user)
{
	struct x86_state *s = state_new(g, rip);
	unsigned dpl = user ? USER : 0;
	s->cr0 = X86_CR0_PE | X86_CR0_PG | X86_CR0_WP | X86_CR0_NE | X86_CR0_ET | X86_CR0_MP;
	s->cr3 = PAGE_TABLES;
	s->cr4 = X86_CR4_PAE | X86_CR4_PGE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT |
		 X86_CR4_FSGSBASE | X86_CR4_OSXSAVE;
	s->xcr0 = 7;
	s->efer = X86_EFER_LME | X86_EFER_LMA | X86_EFER_NX | X86_EFER_SCE;
	s->seg[X86_CS] = segment(user ? SELECTOR_USER_CODE64 : SELECTOR_CODE64,
				 CODE_FLAGS | X86_SEG_L | dpl);
	for (unsigned n = 0; n <= X86_GS; n++) {
		if (n != X86_CS)
			s->seg[n] = segment(user ? SELECTOR_USER_DATA : SELECTOR_DATA,
					    DATA_FLAGS | dpl);
	}
	state_use(g, s);
}

void soft_guest_enter32(struct soft_guest *g, uint32_t eip)
{
	struct x86_state *s = state_new(g, eip);
	s->cr0 = X86_CR0_PE | X86_CR0_NE | X86_CR0_ET | X86_CR0_MP;
	s->cr3 = 0;
	s->cr4 = X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT;
	s->efer = 0;
	s->seg[X86_CS] = segment(SELECTOR_CODE32, CODE_FLAGS | X86_SEG_DB);
	for (unsigned n = 0; n <= X86_GS; n++) {
		if (n != X86_CS)
			s->seg[n] = segment(SELECTOR_DATA, DATA_FLAGS);
	}
	state_use(g, s);
}

void soft_guest_enter16(struct soft_guest *g, uint16_t ip)
{
	struct x86_state *s = state_new(g, ip);
	s->cr0 = X86_CR0_ET;
	s->cr3 = s->cr4 = s->efer = 0;
	s->gpr[X86_RSP] = 0xfff0;
	s->idtr = (struct x86_table){ .limit = 0x3ff };
	for (unsigned n = 0; n <= X86_GS; n++)
		s->seg[n] = (struct x86_segment){ .limit = 0xffff,
						  .attr = n == X86_CS ? 0x9b : 0x93 };
	state_use(g, s);
}

int soft_guest_run(struct soft_guest *g)
{
	g->exit_code = -1;
	while (g->exit_code < 0) {
		if (soft_run(g->c) == VCPU_EXIT_SHUTDOWN)
			return -1;
	}
	return g->exit_code;
}
