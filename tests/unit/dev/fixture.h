/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A VM on the fake engine with RAM at 0, and IRQ lines that count their edges. */
#pragma once

#include "aio/loop.h"
#include "fake_engine.h"
#include "vm/vm.h"

#define FIXTURE_RAM (UINT64_C(1) << 20)

struct fixture {
	struct aio_loop *loop;
	struct vm *vm;
	struct ram_block *ram;
	unsigned edges[32];
	bool level[32];
	unsigned requests[8];
	int code;
};

static inline void fixture_line(void *opaque, unsigned line, bool level)
{
	struct fixture *f = opaque;
	if (level && !f->level[line])
		f->edges[line]++;
	f->level[line] = level;
}

static inline struct irq fixture_irq(struct fixture *f, unsigned line)
{
	return (struct irq){fixture_line, f, line};
}

static inline void fixture_requested(void *opaque, enum vm_request request, int code)
{
	struct fixture *f = opaque;
	f->requests[request]++;
	f->code = code;
}

static inline void fixture_open(struct fixture *f)
{
	*f = (struct fixture){0};
	f->loop = aio_loop_new(NULL);
	const struct vm_config config = {.engine = &fake_engine, .vcpus = 1};
	f->vm = vm_new(&config, f->loop, NULL);
	f->vm->events = (struct vm_events){.requested = fixture_requested, .opaque = f};
	vm_resume(f->vm);
	f->ram = ram_block_new("ram", FIXTURE_RAM, NULL, NULL);
	space_add_ram(f->vm->memory, 0, f->ram, 0, FIXTURE_RAM, false, NULL, SPACE_PRIORITY_NORMAL);
}

static inline void fixture_close(struct fixture *f)
{
	space_remove_ram(f->vm->memory, 0);
	vm_free(f->vm);
	ram_block_free(f->ram);
	aio_loop_free(f->loop);
}

static inline void outb(struct fixture *f, uint16_t port, uint8_t value)
{
	space_write(f->vm->ports, port, value, 1);
}

static inline uint8_t inb(struct fixture *f, uint16_t port)
{
	return space_read(f->vm->ports, port, 1);
}

/* Run the loop until `*counter` reaches `want`; false after two seconds. */
static inline bool fixture_wait(struct fixture *f, const unsigned *counter, unsigned want)
{
	int64_t end = aio_now_ns() + 2 * INT64_C(1000000000);
	while (*counter < want && aio_now_ns() < end)
		aio_loop_iterate(f->loop, 10000000);
	return *counter >= want;
}

static inline void fixture_sleep(struct fixture *f, int64_t ns)
{
	int64_t end = aio_now_ns() + ns;
	while (aio_now_ns() < end)
		aio_loop_iterate(f->loop, end - aio_now_ns());
}
