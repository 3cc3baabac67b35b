/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Spec: Intel 82093AA data sheet; ICH9 13.5 (EOI register). */
#include "dev/chips/ioapic.h"

#include "aio/loop.h"
#include "base/bytes.h"
#include "base/lock.h"
#include "vm/vm.h"

#define REDIR_STATUS     (UINT64_C(1) << 12)
#define REDIR_REMOTE_IRR (UINT64_C(1) << 14)
#define REDIR_LEVEL      (UINT64_C(1) << 15)
#define REDIR_MASKED     (UINT64_C(1) << 16)
#define REDIR_WRITABLE   (UINT64_C(0xff) << 56 | UINT64_C(0x1afff))
#define DELIVERY_EXTINT  7

/*
 * On a board some time passes from an EOI to the next interrupt of a line that is still up, in which the
 * processor gets on. Linux's 8139cp relies on it: with several CPUs it can leave interrupts on that its
 * poller is to silence, and without that time the poller never runs. So a line that is up at this many EOIs
 * in a row waits for a while.
 */
enum { STORM_COUNT = 1000, STORM_PAUSE_NS = 1000000 };

struct ioapic {
	struct vm *vm;
	pthread_mutex_t lock;
	struct io_region region;
	uint32_t lines;  /* input levels */
	uint32_t id;
	uint8_t select;
	uint64_t redir[IOAPIC_PINS];
	uint16_t storm[IOAPIC_PINS]; /* EOIs in a row at which the line was up */
	uint32_t paused;             /* pins that wait for `pause` */
	struct aio_timer pause;
};

/* What a pin has to tell the processors, taken under the lock and sent outside it. */
struct message {
	bool valid, extint;
	uint64_t address;
	uint32_t data;
};

/* Intel SDM 3A, 10.11: the message is the redirection entry in another layout. */
static struct message compose(uint64_t entry)
{
	uint32_t delivery = entry >> 8 & 7;
	return (struct message){
		.valid = true,
		.extint = delivery == DELIVERY_EXTINT,
		.address = UINT64_C(0xfee00000) | (entry >> 56) << 12 | (entry >> 11 & 1) << 2,
		.data = (entry & 0xff) | delivery << 8 | 1 << 14 |
			(entry & REDIR_LEVEL ? 1 << 15 : 0),
	};
}

static void send(struct ioapic *io, struct message message)
{
	if (!message.valid)
		return;
	if (message.extint) {
		/* The vector comes from the 8259 that hangs on this pin. */
		struct vm_irq_hooks *hooks = &io->vm->irq_hooks;
		int vector = hooks->pic_acknowledge ? hooks->pic_acknowledge(hooks->opaque) : -1;
		if (vector < 0)
			return;
		message.data = (uint32_t)vector | 1 << 14;
	}
	vm_msi_send(io->vm, message.address, message.data);
}

/* Level-triggered and asserted: deliver once until the EOI. */
static struct message level_message(struct ioapic *io, unsigned pin)
{
	uint64_t *entry = &io->redir[pin];
	if (!(*entry & REDIR_LEVEL) || (*entry & (REDIR_MASKED | REDIR_REMOTE_IRR)) ||
	    !(io->lines & ~io->paused & UINT32_C(1) << pin))
		return (struct message){0};
	*entry |= REDIR_REMOTE_IRR;
	return compose(*entry);
}

void ioapic_set_line(void *opaque, unsigned pin, bool level)
{
	struct ioapic *io = opaque;
	if (pin >= IOAPIC_PINS)
		return;
	struct message message = {0};
	uint32_t bit = UINT32_C(1) << pin;
	pthread_mutex_lock(&io->lock);
	bool rising = level && !(io->lines & bit);
	io->lines = level ? io->lines | bit : io->lines & ~bit;
	uint64_t entry = io->redir[pin];
	if (entry & REDIR_LEVEL)
		message = level_message(io, pin);
	else if (rising && !(entry & REDIR_MASKED)) /* 82093AA: an edge on a masked pin is lost */
		message = compose(entry);
	pthread_mutex_unlock(&io->lock);
	send(io, message);
}

/* Is the pin, whose interrupt has ended, to wait? */
static void watch_for_storm(struct ioapic *io, unsigned pin)
{
	if (!(io->lines >> pin & 1)) {
		io->storm[pin] = 0;
	} else if (++io->storm[pin] == STORM_COUNT) {
		io->storm[pin] = 0;
		io->paused |= UINT32_C(1) << pin;
		aio_timer_arm(&io->pause, aio_now_ns() + STORM_PAUSE_NS);
	}
}

static void pause_over(void *opaque)
{
	struct ioapic *io = opaque;
	struct message messages[IOAPIC_PINS];
	pthread_mutex_lock(&io->lock);
	uint32_t paused = io->paused;
	io->paused = 0;
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
		messages[pin] = paused >> pin & 1 ? level_message(io, pin) : (struct message){0};
	pthread_mutex_unlock(&io->lock);
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
		send(io, messages[pin]);
}

void ioapic_eoi(void *opaque, uint8_t vector)
{
	struct ioapic *io = opaque;
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
		struct message message = {0};
		pthread_mutex_lock(&io->lock);
		uint64_t *entry = &io->redir[pin];
		if ((*entry & REDIR_REMOTE_IRR) && (uint8_t)*entry == vector) {
			*entry &= ~REDIR_REMOTE_IRR;
			watch_for_storm(io, pin);
			message = level_message(io, pin);
		}
		pthread_mutex_unlock(&io->lock);
		send(io, message);
	}
}

static uint32_t window_read(struct ioapic *io)
{
	unsigned reg = io->select;
	if (reg == 0 || reg == 2)
		return io->id << 24;
	if (reg == 1)
		return 0x20 | (IOAPIC_PINS - 1) << 16;
	if (reg >= 0x10 && reg < 0x10 + 2 * IOAPIC_PINS)
		return io->redir[(reg - 0x10) / 2] >> (reg & 1 ? 32 : 0);
	return 0;
}

static struct message window_write(struct ioapic *io, uint32_t value)
{
	unsigned reg = io->select;
	if (reg == 0)
		io->id = value >> 24 & 0xf;
	if (reg < 0x10 || reg >= 0x10 + 2 * IOAPIC_PINS)
		return (struct message){0};
	unsigned pin = (reg - 0x10) / 2, shift = reg & 1 ? 32 : 0;
	uint64_t mask = REDIR_WRITABLE & UINT64_C(0xffffffff) << shift;
	uint64_t *entry = &io->redir[pin];
	*entry = (*entry & ~mask) | ((uint64_t)value << shift & mask);
	/* There is no remote IRR for edges; drivers switch to edge to clear a stuck one. */
	if (!(*entry & REDIR_LEVEL))
		*entry &= ~REDIR_REMOTE_IRR;
	return level_message(io, pin);
}

static uint64_t mmio_read(void *opaque, uint64_t offset, unsigned size)
{
	struct ioapic *io = opaque;
	LOCK_SCOPE(&io->lock);
	switch (offset) {
	case 0x00: return io->select;
	case 0x10: return window_read(io);
	default: return 0;
	}
}

static void mmio_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct ioapic *io = opaque;
	struct message message = {0};
	if (offset == 0x40) {
		ioapic_eoi(io, value);
		return;
	}
	pthread_mutex_lock(&io->lock);
	if (offset == 0x00)
		io->select = value;
	else if (offset == 0x10)
		message = window_write(io, value);
	pthread_mutex_unlock(&io->lock);
	send(io, message);
}

static const struct io_ops mmio_ops = {mmio_read, mmio_write, .min_size = 1, .max_size = 4};

struct ioapic *ioapic_new(struct vm *vm, uint64_t base)
{
	struct ioapic *io = g_new0(struct ioapic, 1);
	io->vm = vm;
	pthread_mutex_init(&io->lock, NULL);
	aio_timer_init(&io->pause, vm->loop, pause_over, io);
	io->region = (struct io_region){.name = "ioapic", .ops = &mmio_ops, .opaque = io,
					.size = 0x1000};
	ioapic_reset(io);
	space_add_io(vm->memory, base, &io->region, SPACE_PRIORITY_HIGH);
	return io;
}

void ioapic_reset(struct ioapic *io)
{
	LOCK_SCOPE(&io->lock);
	io->id = 0;
	io->select = 0;
	io->paused = 0;
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
		io->redir[pin] = REDIR_MASKED;
		io->storm[pin] = 0;
	}
}

void ioapic_free(struct ioapic *io)
{
	if (!io)
		return;
	space_remove_io(io->vm->memory, &io->region);
	aio_timer_cancel(&io->pause);
	pthread_mutex_destroy(&io->lock);
	g_free(io);
}
