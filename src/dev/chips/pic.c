/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Spec: Intel 8259A data sheet; Intel ICH9 13.5 (ELCR). */
#include "dev/chips/pic.h"

#include "base/lock.h"
#include "vm/vm.h"

#define CASCADE 2

/* Which word the next write to the odd port is. */
enum init_step { INIT_DONE, INIT_ICW2, INIT_ICW3, INIT_ICW4 };

struct pic_half {
	uint8_t irr, imr, isr;
	uint8_t lines;        /* current input levels */
	uint8_t elcr;         /* inputs that are level-triggered */
	uint8_t base;         /* vector of input 0 */
	uint8_t lowest;       /* rotation: the input after which priorities begin */
	enum init_step step;
	bool need_icw4, single, auto_eoi, rotate_on_aeoi, special_mask, special_nested;
	bool read_isr, poll;
	struct io_region region;
	struct pic *pic;
};

struct pic {
	struct vm *vm;
	pthread_mutex_t lock;
	struct pic_half half[2];
	struct io_region elcr_region;
	struct irq output;
	bool output_level;
};

/* The rank of the highest-priority bit of `bits`, 0 highest; 8 if there is none. */
static unsigned priority(const struct pic_half *h, uint8_t bits)
{
	for (unsigned rank = 0; rank < 8; rank++)
		if (bits >> ((h->lowest + 1 + rank) & 7) & 1)
			return rank;
	return 8;
}

/* The input that would be acknowledged now, or -1. */
static int pending_input(const struct pic_half *h)
{
	unsigned request = priority(h, h->irr & ~h->imr);
	uint8_t in_service = h->isr;
	if (h->special_mask)
		in_service &= ~h->imr;
	/* Fully nested master: the slave may interrupt again while one of its inputs is served. */
	if (h->special_nested && h == &h->pic->half[0])
		in_service &= ~(1 << CASCADE);
	if (request == 8 || request >= priority(h, in_service))
		return -1;
	return (h->lowest + 1 + request) & 7;
}

static void input_set(struct pic_half *h, unsigned input, bool level)
{
	uint8_t bit = 1 << input;
	if (h->elcr & bit) {
		h->irr = level ? h->irr | bit : h->irr & ~bit;
	} else if (level && !(h->lines & bit)) {
		h->irr |= bit;
	}
	h->lines = level ? h->lines | bit : h->lines & ~bit;
}

/* Recompute the cascade and INTR. */
static void update(struct pic *pic)
{
	input_set(&pic->half[0], CASCADE, pending_input(&pic->half[1]) >= 0);
	/* The cascade is a level, whatever ELCR says: a request that went away is withdrawn. */
	if (!(pic->half[0].lines & 1 << CASCADE))
		pic->half[0].irr &= ~(1 << CASCADE);
	bool level = pending_input(&pic->half[0]) >= 0;
	if (level != pic->output_level) {
		pic->output_level = level;
		irq_set(&pic->output, level);
	}
}

void pic_set_line(void *opaque, unsigned line, bool level)
{
	struct pic *pic = opaque;
	if (line >= 16 || line == CASCADE)
		return;
	LOCK_SCOPE(&pic->lock);
	input_set(&pic->half[line / 8], line % 8, level);
	update(pic);
}

static void enter_service(struct pic_half *h, unsigned input)
{
	uint8_t bit = 1 << input;
	if (!(h->elcr & bit))
		h->irr &= ~bit;
	if (!h->auto_eoi)
		h->isr |= bit;
	else if (h->rotate_on_aeoi)
		h->lowest = input;
}

int pic_acknowledge(struct pic *pic)
{
	LOCK_SCOPE(&pic->lock);
	struct pic_half *master = &pic->half[0], *slave = &pic->half[1];
	int vector = -1, input = pending_input(master);
	if (input == CASCADE) {
		int slave_input = pending_input(slave);
		enter_service(master, CASCADE);
		if (slave_input >= 0) {
			enter_service(slave, slave_input);
			vector = slave->base + slave_input;
		} else {
			vector = slave->base + 7; /* spurious: 8259A, "default IR7" */
		}
		master->lines &= ~(1 << CASCADE); /* a next slave request is a new edge */
	} else if (input >= 0) {
		enter_service(master, input);
		vector = master->base + input;
	}
	/* Make INTR pulse: whoever latches its edge must see the next request. */
	if (pic->output_level) {
		pic->output_level = false;
		irq_set(&pic->output, false);
	}
	update(pic);
	return vector;
}

static void end_of_interrupt(struct pic_half *h, bool specific, unsigned input, bool rotate)
{
	if (!specific) {
		unsigned rank = priority(h, h->special_mask ? h->isr & ~h->imr : h->isr);
		if (rank == 8)
			return;
		input = (h->lowest + 1 + rank) & 7;
	}
	h->isr &= ~(1 << input);
	if (rotate)
		h->lowest = input;
}

/* Operation command word 2. */
static void write_ocw2(struct pic_half *h, uint8_t value)
{
	unsigned input = value & 7;
	switch (value >> 5) {
	case 0: h->rotate_on_aeoi = false; break;
	case 4: h->rotate_on_aeoi = true; break;
	case 1: end_of_interrupt(h, false, 0, false); break;
	case 5: end_of_interrupt(h, false, 0, true); break;
	case 3: end_of_interrupt(h, true, input, false); break;
	case 7: end_of_interrupt(h, true, input, true); break;
	case 6: h->lowest = input; break;
	}
}

static void write_ocw3(struct pic_half *h, uint8_t value)
{
	if (value & 0x40)
		h->special_mask = value & 0x20;
	if (value & 0x04)
		h->poll = true;
	else if (value & 0x02)
		h->read_isr = value & 0x01;
}

/* Initialization command word 1: everything but the trigger modes starts anew. */
static void write_icw1(struct pic_half *h, uint8_t value)
{
	h->irr = h->irr & h->elcr & h->lines;
	h->imr = h->isr = 0;
	h->lowest = 7;
	h->auto_eoi = h->rotate_on_aeoi = h->special_mask = h->special_nested = false;
	h->read_isr = h->poll = false;
	h->need_icw4 = value & 0x01;
	h->single = value & 0x02;
	h->step = INIT_ICW2;
}

static void write_data(struct pic_half *h, uint8_t value)
{
	switch (h->step) {
	case INIT_DONE:
		h->imr = value;
		break;
	case INIT_ICW2:
		h->base = value & 0xf8;
		h->step = !h->single ? INIT_ICW3 : h->need_icw4 ? INIT_ICW4 : INIT_DONE;
		break;
	case INIT_ICW3:
		h->step = h->need_icw4 ? INIT_ICW4 : INIT_DONE;
		break;
	case INIT_ICW4:
		h->special_nested = value & 0x10;
		h->auto_eoi = value & 0x02;
		h->step = INIT_DONE;
		break;
	}
}

static void half_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct pic_half *h = opaque;
	if (offset == 1)
		write_data(h, value);
	else if (value & 0x10)
		write_icw1(h, value);
	else if (value & 0x08)
		write_ocw3(h, value);
	else
		write_ocw2(h, value);
	update(h->pic);
}

/* 8259A, "poll command": the next read acknowledges as INTA would. */
static uint8_t poll_read(struct pic_half *h)
{
	int input = pending_input(h);
	h->poll = false;
	if (input < 0)
		return 0;
	enter_service(h, input);
	update(h->pic);
	return 0x80 | input;
}

static uint64_t half_read(void *opaque, uint64_t offset, unsigned size)
{
	struct pic_half *h = opaque;
	if (h->poll)
		return poll_read(h);
	if (offset == 1)
		return h->imr;
	return h->read_isr ? h->isr : h->irr;
}

/* Inputs whose trigger mode is fixed: 0, 1, 2, 8 and 13 are edges. */
static const uint8_t elcr_mask[2] = {0xf8, 0xde};

static uint64_t elcr_read(void *opaque, uint64_t offset, unsigned size)
{
	struct pic *pic = opaque;
	return pic->half[offset].elcr;
}

static void elcr_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct pic *pic = opaque;
	pic->half[offset].elcr = value & elcr_mask[offset];
	update(pic);
}

static const struct io_ops half_ops = {half_read, half_write, .min_size = 1, .max_size = 1};
static const struct io_ops elcr_ops = {elcr_read, elcr_write, .min_size = 1, .max_size = 1};

struct pic *pic_new(struct vm *vm, const struct irq *output)
{
	struct pic *pic = g_new0(struct pic, 1);
	pic->vm = vm;
	pic->output = *output;
	pthread_mutex_init(&pic->lock, NULL);
	for (unsigned i = 0; i < 2; i++) {
		pic->half[i].pic = pic;
		pic->half[i].region = (struct io_region){.name = "pic", .ops = &half_ops, .size = 2,
							 .opaque = &pic->half[i], .lock = &pic->lock};
	}
	pic->elcr_region = (struct io_region){.name = "elcr", .ops = &elcr_ops, .opaque = pic,
					      .size = 2, .lock = &pic->lock};
	space_add_io(vm->ports, 0x20, &pic->half[0].region, SPACE_PRIORITY_HIGH);
	space_add_io(vm->ports, 0xa0, &pic->half[1].region, SPACE_PRIORITY_HIGH);
	space_add_io(vm->ports, 0x4d0, &pic->elcr_region, SPACE_PRIORITY_HIGH);
	pic_reset(pic);
	return pic;
}

void pic_reset(struct pic *pic)
{
	LOCK_SCOPE(&pic->lock);
	for (unsigned i = 0; i < 2; i++) {
		struct pic_half *h = &pic->half[i];
		h->elcr = 0;
		h->irr = 0;
		write_icw1(h, 0);
		h->base = 0;
		h->step = INIT_DONE;
	}
	update(pic);
}

void pic_free(struct pic *pic)
{
	if (!pic)
		return;
	space_remove_io(pic->vm->ports, &pic->half[0].region);
	space_remove_io(pic->vm->ports, &pic->half[1].region);
	space_remove_io(pic->vm->ports, &pic->elcr_region);
	pthread_mutex_destroy(&pic->lock);
	g_free(pic);
}
