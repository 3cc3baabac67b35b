/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Running cases in the software engine: one vCPU, no devices but a port that ends the run. A way is
 * to step, one instruction at a time; the others go through the whole run loop, where instructions
 * have special forms and blocks chain, and faults are delivered through the guest's IDT.
 */
#include "base/error.h"
#include "cpu/soft/engine.h"
#include "cpu/soft/system/system.h"
#include "cpu/x86/cpuid.h"
#include "diff.h"
#include "world.h"

#include <string.h>

const struct diff_way diff_ways[] = {
	{ .name = "step", .stepped = true },
	{ .name = "interp" },
	{ .name = "jit", .translated = true },
	{ .name = "lax", .translated = true, .lax = true },
	{ NULL },
};
G_STATIC_ASSERT(G_N_ELEMENTS(diff_ways) <= DIFF_WAYS_MAX + 1);

struct diff_engine {
	const struct diff_way *way;
	struct vm *vm;
	struct ram_block *ram;
	struct cpu_model *model;
	struct soft_vcpu *c;
	struct io_region port;
	bool patches; /* code is writable */
	uint8_t backup[2 * 4096]; /* the writable data pages, while a case is tried */
	uint8_t code_backup[DIFF_CODE_PAGES * 4096]; /* code pages too, if the case may write to them */
};

static void port_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct diff_engine *e = opaque;
	soft_post(e->c, SOFT_PENDING_KICK);
}

static const struct io_ops port_ops = { .write = port_write };

static bool create(struct diff_engine *e, GError **error)
{
	struct cpu_features features;
	soft_features(&features);
	e->model = cpu_model_parse("max", &features, error);
	if (!e->model)
		return false;
	struct vm_config config = { .engine = &soft_engine, .cpu_model = e->model, .vcpus = 1,
				    .sockets = 1, .dies = 1, .cores = 1, .threads = 1,
				    .translate = e->way->translated,
				    .translate_strictly = !e->way->lax, .translate_verified = true,
				    .translate_locked = !e->way->lax, .translate_after = 1 };
	e->vm = vm_new(&config, NULL, error);
	if (!e->vm)
		return false;
	e->ram = ram_block_new("ram", WORLD_RAM, NULL, error);
	if (!e->ram)
		return false;
	struct vm *vm = e->vm;
	space_add_ram(vm->memory, 0, e->ram, 0, WORLD_RAM, false, NULL, SPACE_PRIORITY_NORMAL);
	e->port = (struct io_region){ .name = "end", .ops = &port_ops, .opaque = e, .size = 1 };
	space_add_io(vm->ports, WORLD_PORT, &e->port, SPACE_PRIORITY_NORMAL);
	/* The vCPU without a thread: this one runs it. */
	vm->vcpus = g_new0(struct vcpu, 1);
	vm->vcpus[0].vm = vm;
	if (!vm->engine->vcpu_create(&vm->vcpus[0], error))
		return false;
	vm->vcpu_count = 1;
	vm->engine->vcpu_reset(&vm->vcpus[0]);
	e->c = soft_of(&vm->vcpus[0]);
	world_build(e->ram->host);
	world_enter(e->c);
	return true;
}

struct diff_engine *diff_engine_new(const struct diff_way *way, GError **error)
{
	struct diff_engine *e = g_new0(struct diff_engine, 1);
	e->way = way;
	if (!create(e, error)) {
		diff_engine_free(e);
		return NULL;
	}
	return e;
}

void diff_engine_free(struct diff_engine *e)
{
	if (!e)
		return;
	vm_free(e->vm);
	ram_block_free(e->ram);
	cpu_model_free(e->model);
	g_free(e);
}

/* As a device would: the engine must notice by itself. */
static void set_code(struct diff_engine *e, const struct diff_case *k)
{
	uint64_t phys = WORLD_CODE + (k->in.rip - DIFF_CODE);
	uint8_t *code = e->ram->host + phys;
	memcpy(code, k->code, k->length);
	memset(code + k->length, 0xcc, X86_INSN_MAX);
	code[k->length] = 0xe6;
	code[k->length + 1] = WORLD_PORT;
	space_note_write(e->vm->memory, phys, k->length + X86_INSN_MAX);
	if (k->patches != e->patches) {
		e->patches = k->patches;
		world_set_code_writable(e->ram->host, k->patches);
		soft_tlb_flush_all(e->c);
	}
}

const struct diff_way *diff_engine_way(const struct diff_engine *e)
{
	return e->way;
}

static void set_up(struct diff_engine *e, const struct diff_case *k)
{
	struct soft_vcpu *c = e->c;
	world_return(c, k->bits32);
	/* The landing pad ends a case before the single-step trap that its last POPF asked for. */
	c->sys->step_armed = c->sys->rf_armed = false;
	c->sys->debug_hits = 0;
	memcpy(c->s.gpr, k->in.gpr, sizeof(c->s.gpr));
	c->s.rip = k->in.rip;
	soft_rflags_set(c, k->in.rflags);
	if (k->fpu)
		c->s.fpu = k->in.fpu;
	diff_set_data(e->ram->host + WORLD_DATA, &k->in);
}

static void take_down(struct diff_engine *e, struct diff_case *k)
{
	struct soft_vcpu *c = e->c;
	struct diff_state *out = &k->soft;
	memcpy(out->gpr, c->s.gpr, sizeof(out->gpr));
	out->rip = c->s.rip;
	out->rflags = soft_rflags_get(c);
	out->cr2 = c->s.cr2;
	if (k->fpu)
		out->fpu = c->s.fpu;
	memcpy(out->window, e->ram->host + WORLD_DATA + DIFF_WINDOW_AT, DIFF_WINDOW);
	memcpy(out->tail, e->ram->host + WORLD_DATA + DIFF_TAIL_AT, DIFF_TAIL);
}

static bool inside(const struct diff_case *k, uint64_t rip)
{
	return rip >= k->in.rip && rip < k->in.rip + k->length;
}

static void step(struct diff_engine *e, struct diff_case *k)
{
	struct soft_vcpu *c = e->c;
	/* A REP may stop between elements for events; a case is one instruction or a few. */
	for (unsigned steps = 0; steps < 4096 && inside(k, c->s.rip); steps++) {
		if (!soft_step(c)) {
			k->soft.fault = c->fault.vector;
			k->soft.error = c->fault.error;
			break;
		}
	}
	take_down(e, k);
}

static void run(struct diff_engine *e, struct diff_case *k)
{
	struct soft_vcpu *c = e->c;
	struct world_frame frame;
	enum vcpu_exit exit = soft_run(c);
	take_down(e, k);
	if (exit != VCPU_EXIT_KICKED) {
		k->soft.fault = X86_EXC_DF;
		world_enter(c);
	} else if (world_in_handler(c, e->ram->host, &frame)) {
		k->soft.rip = frame.rip;
		k->soft.rflags = frame.rflags;
		k->soft.gpr[X86_RSP] = frame.rsp;
		/* A jump to nowhere is complete; the fault is its target's. */
		if (inside(k, frame.rip) || frame.vector != X86_EXC_PF) {
			k->soft.fault = frame.vector;
			k->soft.error = frame.error;
		}
	} else {
		k->soft.rip -= 2; /* the OUT of the landing pad */
	}
}

static void execute(struct diff_engine *e, struct diff_case *k)
{
	atomic_fetch_and(&e->c->pending, SOFT_PENDING_CODE);
	if (k->patches)
		set_code(e, k);
	set_up(e, k);
	k->soft.fault = DIFF_NO_FAULT;
	k->soft.error = 0;
	if (e->way->stepped)
		step(e, k);
	else
		run(e, k);
}

/* Execute it, and have memory as before. */
static void try(struct diff_engine *e, struct diff_case *k)
{
	uint8_t *data = e->ram->host + WORLD_DATA, *code = e->ram->host + WORLD_CODE;
	memcpy(e->backup, data, sizeof(e->backup));
	memcpy(e->code_backup, code, sizeof(e->code_backup));
	execute(e, k);
	memcpy(data, e->backup, sizeof(e->backup));
	if (!k->patches)
		return;
	memcpy(code, e->code_backup, sizeof(e->code_backup));
	space_note_write(e->vm->memory, WORLD_CODE, sizeof(e->code_backup));
}

void diff_engine_run(struct diff_engine *e, struct diff_case *k)
{
	if (e->way->translated)
		diff_check_foreseen(e->c, k);
	if (!k->patches)
		set_code(e, k);
	/* The first execution is not like the later ones: half of the cases run twice. */
	if (k->number & 1 && !e->way->stepped)
		try(e, k);
	execute(e, k);
}
