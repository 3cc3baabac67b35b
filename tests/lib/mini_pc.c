/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The smallest PC that a stock Linux kernel boots on: RAM, a serial port, interrupt controllers and
 * timers, no firmware, no ACPI, no PCI. It tells faults of the engine and of these chips from
 * faults of the boards.
 *
 *   mini-pc kvm-full|kvm-split|soft KERNEL INITRD APPEND [CPU]
 */
#include "aio/loop.h"
#include "base/error.h"
#include "base/log.h"
#include "base/units.h"
#include "chardev/chardev.h"
#include "cpu/kvm/engine.h"
#include "cpu/soft/engine.h"
#include "cpu/x86/cpuid.h"
#include "cpu/x86/state.h"
#include "dev/chips/ioapic.h"
#include "dev/chips/pic.h"
#include "dev/chips/pit.h"
#include "dev/chips/rtc.h"
#include "dev/chips/uart.h"
#include "machine/loader/loader.h"
#include "vm/vm.h"

#include <stdlib.h>

#define RAM (256 * MIB)

struct mini {
	struct vm *vm;
	struct loader *loader;
	struct pic *pic;
	struct ioapic *ioapic;
	bool split;
	int status;
};

static void die(GError *error)
{
	log_error("%s", error ? error->message : "failed");
	exit(1);
}

static void set_gsi(void *opaque, unsigned line, bool level)
{
	struct mini *m = opaque;
	if (!m->split) {
		m->vm->engine->gsi_set(m->vm, line, level);
		return;
	}
	pic_set_line(m->pic, line, level);
	ioapic_set_line(m->ioapic, line ? line : 2, level);
}

static void set_intr(void *opaque, unsigned line, bool level)
{
	struct mini *m = opaque;
	m->vm->engine->extint_set(m->vm, level);
}

static int acknowledge(void *opaque)
{
	struct mini *m = opaque;
	return pic_acknowledge(m->pic);
}

static void end_of_interrupt(void *opaque, uint8_t vector)
{
	struct mini *m = opaque;
	ioapic_eoi(m->ioapic, vector);
}

static void requested(void *opaque, enum vm_request request, int code)
{
	struct mini *m = opaque;
	m->status = request == VM_REQUEST_SHUTDOWN ? 0 : 1;
	aio_loop_quit(m->vm->loop);
}

/* A PC's way to reset: port 64h, command feh. Here it ends the run. */
static void keyboard_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct mini *m = opaque;
	if (offset == 4 && value == 0xfe)
		vm_request(m->vm, VM_REQUEST_SHUTDOWN, 0);
}

static uint64_t keyboard_read(void *opaque, uint64_t offset, unsigned size)
{
	return 0;
}

static const struct io_ops keyboard_ops = {keyboard_read, keyboard_write, 1, 1};

static void load(struct mini *m)
{
	static const struct loader_range map[] = {
		{0, 640 * KIB, LOADER_RAM}, {MIB, RAM - MIB, LOADER_RAM}};
	struct loader_target target = {.memory = m->vm->memory, .map = map, .map_count = 2,
				       .low_ram = RAM};
	GError *error = NULL;
	struct x86_state state;
	struct vcpu *boot = &m->vm->vcpus[0];
	if (!m->vm->engine->vcpu_get_state(boot, &state, &error) ||
	    !loader_load(m->loader, &target, &state, &error) ||
	    !m->vm->engine->vcpu_set_state(boot, &state, &error))
		die(error);
}

static void create_chips(struct mini *m, struct chardev *console)
{
	static struct io_region keyboard = {.name = "keyboard", .ops = &keyboard_ops, .size = 5};
	GError *error = NULL;
	struct irq intr = {set_intr, m, 0}, irq0 = {set_gsi, m, 0}, irq4 = {set_gsi, m, 4},
		   irq8 = {set_gsi, m, 8};
	if (m->split) {
		m->pic = pic_new(m->vm, &intr);
		m->ioapic = ioapic_new(m->vm, 0xfec00000);
		m->vm->irq_hooks = (struct vm_irq_hooks){acknowledge, end_of_interrupt, m};
		pit_new(m->vm, &irq0);
	}
	rtc_new(m->vm, &irq8, &(struct rtc_config){0});
	if (!uart_new(m->vm, 0x3f8, &irq4, console, &error))
		die(error);
	keyboard.opaque = m;
	space_add_io(m->vm->ports, 0x60, &keyboard, SPACE_PRIORITY_LOW);
}

int main(int argc, char **argv)
{
	GError *error = NULL;
	if (argc < 5)
		return 2;
	log_setup("mini-pc", LOG_LEVEL_DEBUG, NULL);
	bool soft = g_str_equal(argv[1], "soft");
	const struct engine_ops *engine = soft ? &soft_engine : &kvm_engine;
	struct mini m = {.split = !g_str_equal(argv[1], "kvm-full")};
	struct cpu_features allowed;
	if (!engine->features(&allowed, &error))
		die(error);
	struct cpu_model *model = cpu_model_parse(argc > 5 ? argv[5] : "max", &allowed, &error);
	struct aio_loop *loop = model ? aio_loop_new(&error) : NULL;
	struct vm_config config = {.engine = engine, .cpu_model = model, .vcpus = 1,
				   .kernel_irqchip_split = m.split};
	m.vm = loop ? vm_new(&config, loop, &error) : NULL;
	struct ram_block *ram = m.vm ? ram_block_new("ram", RAM, NULL, &error) : NULL;
	m.loader = ram ? loader_open(&(struct loader_options){.kernel = argv[2], .initrd = argv[3],
							      .append = argv[4],
							      .unpack = soft},
				     &error)
		       : NULL;
	struct chardev *console =
		m.loader ? chardev_new_from_spec("stdio", "console", loop, &error) : NULL;
	if (!console)
		die(error);
	space_add_ram(m.vm->memory, 0, ram, 0, RAM, false, NULL, 0);
	m.vm->events = (struct vm_events){.requested = requested, .opaque = &m};
	create_chips(&m, console);
	if (!vm_create_vcpus(m.vm, &error))
		die(error);
	load(&m);
	vm_resume(m.vm);
	aio_loop_run(loop);
	vm_stop_vcpus(m.vm);
	chardev_free(console);
	return m.status;
}
