/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Spec: National Semiconductor PC16550D data sheet. */
#include "dev/chips/uart.h"

#include "aio/loop.h"
#include "base/lock.h"
#include "chardev/chardev.h"
#include "vm/vm.h"

#define FIFO_SIZE  16
#define TIMEOUT_NS 400000 /* about four characters at 115200 baud */

enum { IER_RX = 1, IER_THR = 2, IER_LINE = 4, IER_MODEM = 8 };
enum { IIR_NONE = 1, IIR_MODEM = 0, IIR_THR = 2, IIR_RX = 4, IIR_TIMEOUT = 12, IIR_LINE = 6,
       IIR_FIFO = 0xc0 };
enum { FCR_ENABLE = 1, FCR_CLEAR_RX = 2, FCR_CLEAR_TX = 4 };
enum { LCR_BREAK = 0x40, LCR_DLAB = 0x80 };
enum { MCR_DTR = 1, MCR_RTS = 2, MCR_OUT1 = 4, MCR_OUT2 = 8, MCR_LOOP = 16 };
enum { LSR_DR = 1, LSR_OE = 2, LSR_PE = 4, LSR_FE = 8, LSR_BI = 16, LSR_THRE = 32, LSR_TEMT = 64,
       LSR_ERRORS = LSR_OE | LSR_PE | LSR_FE | LSR_BI };
enum { MSR_CTS = 16, MSR_DSR = 32, MSR_RI = 64, MSR_DCD = 128 };

struct fifo {
	uint8_t data[FIFO_SIZE];
	unsigned head, count;
};

struct uart {
	struct vm *vm;
	pthread_mutex_t lock;
	struct io_region region;
	struct irq irq;
	struct chardev *chr;
	struct fifo rx, tx;
	uint8_t ier, fcr, lcr, mcr, lsr, msr, scratch;
	uint16_t divisor;
	bool thr_pending;  /* the "transmitter empty" interrupt has not been seen yet */
	bool timeout;      /* data has been waiting below the trigger level */
	bool input_held;   /* the character device was told that there is no room */
	struct aio_timer timeout_timer, accept_timer;
};

static void fifo_push(struct fifo *f, uint8_t byte)
{
	f->data[(f->head + f->count++) % FIFO_SIZE] = byte;
}

static uint8_t fifo_pop(struct fifo *f)
{
	uint8_t byte = f->data[f->head];
	f->head = (f->head + 1) % FIFO_SIZE;
	f->count--;
	return byte;
}

static unsigned depth(const struct uart *u)
{
	return u->fcr & FCR_ENABLE ? FIFO_SIZE : 1;
}

static unsigned rx_trigger(const struct uart *u)
{
	static const uint8_t levels[4] = {1, 4, 8, 14};
	return u->fcr & FCR_ENABLE ? levels[u->fcr >> 6] : 1;
}

/* PC16550D, table IV: the identification of the most urgent enabled interrupt. */
static uint8_t identify(const struct uart *u)
{
	if ((u->ier & IER_LINE) && (u->lsr & LSR_ERRORS))
		return IIR_LINE;
	if ((u->ier & IER_RX) && u->rx.count >= rx_trigger(u))
		return IIR_RX;
	if ((u->ier & IER_RX) && u->timeout && u->rx.count)
		return IIR_TIMEOUT;
	if ((u->ier & IER_THR) && u->thr_pending)
		return IIR_THR;
	if ((u->ier & IER_MODEM) && (u->msr & 0x0f))
		return IIR_MODEM;
	return IIR_NONE;
}

static void update_irq(struct uart *u)
{
	irq_set(&u->irq, identify(u) != IIR_NONE);
}

static void rx_changed(struct uart *u)
{
	if (u->rx.count)
		u->lsr |= LSR_DR;
	else
		u->lsr &= ~LSR_DR;
	u->timeout = false;
	if (u->rx.count && u->rx.count < rx_trigger(u))
		aio_timer_arm(&u->timeout_timer, aio_now_ns() + TIMEOUT_NS);
	else
		aio_timer_cancel(&u->timeout_timer);
}

static void receive(struct uart *u, uint8_t byte)
{
	if (u->rx.count >= depth(u)) {
		u->lsr |= LSR_OE;
		return;
	}
	fifo_push(&u->rx, byte);
	rx_changed(u);
}

/* Give the character device what it takes; THRE comes when nothing is left. */
static void transmit(struct uart *u)
{
	while (u->tx.count) {
		unsigned run = MIN(u->tx.count, FIFO_SIZE - u->tx.head);
		size_t taken = u->chr ? chardev_write(u->chr, u->tx.data + u->tx.head, run) : run;
		if (!taken)
			return; /* writable() comes back here */
		u->tx.head = (u->tx.head + taken) % FIFO_SIZE;
		u->tx.count -= taken;
	}
	u->lsr |= LSR_THRE | LSR_TEMT;
	u->thr_pending = true;
}

static void write_thr(struct uart *u, uint8_t byte)
{
	u->thr_pending = false;
	if (u->mcr & MCR_LOOP) {
		receive(u, byte);
		u->thr_pending = true;
		return;
	}
	if (u->tx.count < depth(u)) /* a full transmitter loses the byte, as the chip does */
		fifo_push(&u->tx, byte);
	u->lsr &= ~(LSR_THRE | LSR_TEMT);
	transmit(u);
}

/* There is room again: the character device was told that there is none. */
static void ask_for_input(struct uart *u)
{
	if (!u->input_held)
		return;
	u->input_held = false;
	aio_timer_arm(&u->accept_timer, 0); /* on the loop's thread */
}

static uint8_t read_rbr(struct uart *u)
{
	uint8_t byte = u->rx.count ? fifo_pop(&u->rx) : 0;
	rx_changed(u);
	ask_for_input(u);
	return byte;
}

static void write_fcr(struct uart *u, uint8_t value)
{
	bool toggled = (value ^ u->fcr) & FCR_ENABLE;
	u->fcr = value & FCR_ENABLE ? value & 0xc9 : 0;
	if (toggled || (value & FCR_CLEAR_RX)) {
		u->rx.count = 0;
		rx_changed(u);
		ask_for_input(u);
	}
	if ((toggled || (value & FCR_CLEAR_TX)) && !u->tx.count) {
		u->lsr |= LSR_THRE | LSR_TEMT;
		u->thr_pending = true;
	}
}

/* Modem inputs: a null modem that is always ready, or our own outputs in loop-back. */
static void update_modem(struct uart *u)
{
	uint8_t old = u->msr, now = MSR_CTS | MSR_DSR | MSR_DCD;
	if (u->mcr & MCR_LOOP)
		now = (u->mcr & MCR_RTS ? MSR_CTS : 0) | (u->mcr & MCR_DTR ? MSR_DSR : 0) |
		      (u->mcr & MCR_OUT1 ? MSR_RI : 0) | (u->mcr & MCR_OUT2 ? MSR_DCD : 0);
	uint8_t changed = (old ^ now) & 0xf0;
	/* RI's delta bit is for its falling edge only. */
	if (now & MSR_RI)
		changed &= ~MSR_RI;
	u->msr = now | (old & 0x0f) | changed >> 4;
}

static uint64_t uart_read(void *opaque, uint64_t offset, unsigned size)
{
	struct uart *u = opaque;
	uint8_t value = 0;
	switch (offset) {
	case 0:
		value = u->lcr & LCR_DLAB ? u->divisor & 0xff : read_rbr(u);
		break;
	case 1:
		value = u->lcr & LCR_DLAB ? u->divisor >> 8 : u->ier;
		break;
	case 2:
		value = identify(u);
		if (value == IIR_THR)
			u->thr_pending = false;
		value |= u->fcr & FCR_ENABLE ? IIR_FIFO : 0;
		break;
	case 3: value = u->lcr; break;
	case 4: value = u->mcr; break;
	case 5:
		value = u->lsr;
		u->lsr &= ~LSR_ERRORS;
		break;
	case 6:
		value = u->msr;
		u->msr &= 0xf0;
		break;
	case 7: value = u->scratch; break;
	}
	update_irq(u);
	return value;
}

static void uart_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct uart *u = opaque;
	uint8_t byte = value;
	switch (offset) {
	case 0:
		if (u->lcr & LCR_DLAB)
			u->divisor = (u->divisor & 0xff00) | byte;
		else
			write_thr(u, byte);
		break;
	case 1:
		if (u->lcr & LCR_DLAB) {
			u->divisor = (u->divisor & 0x00ff) | byte << 8;
			break;
		}
		/* Enabling the transmitter's interrupt while it is empty raises it. */
		if ((byte & ~u->ier & IER_THR) && (u->lsr & LSR_THRE))
			u->thr_pending = true;
		u->ier = byte & 0x0f;
		break;
	case 2: write_fcr(u, byte); break;
	case 3: u->lcr = byte; break;
	case 4:
		u->mcr = byte & 0x1f;
		update_modem(u);
		ask_for_input(u); /* loop-back takes none */
		break;
	case 7: u->scratch = byte; break;
	}
	update_irq(u);
}

static const struct io_ops uart_ops = {uart_read, uart_write, .min_size = 1, .max_size = 1};

/* --- the character device's side, on the loop's thread ------------------------------------------ */

static size_t chr_can_read(void *opaque)
{
	struct uart *u = opaque;
	LOCK_SCOPE(&u->lock);
	size_t room = u->mcr & MCR_LOOP ? 0 : depth(u) - MIN(u->rx.count, depth(u));
	u->input_held = room == 0;
	return room;
}

static void chr_read(void *opaque, const uint8_t *data, size_t length)
{
	struct uart *u = opaque;
	LOCK_SCOPE(&u->lock);
	for (size_t i = 0; i < length; i++)
		receive(u, data[i]);
	update_irq(u);
}

static void chr_event(void *opaque, enum chardev_event event)
{
	struct uart *u = opaque;
	if (event != CHARDEV_BREAK)
		return;
	LOCK_SCOPE(&u->lock);
	receive(u, 0);
	u->lsr |= LSR_BI;
	update_irq(u);
}

static void chr_writable(void *opaque)
{
	struct uart *u = opaque;
	LOCK_SCOPE(&u->lock);
	if (u->tx.count)
		transmit(u);
	update_irq(u);
}

static void timeout_fired(void *opaque)
{
	struct uart *u = opaque;
	LOCK_SCOPE(&u->lock);
	u->timeout = u->rx.count > 0;
	update_irq(u);
}

static void accept_fired(void *opaque)
{
	struct uart *u = opaque;
	if (u->chr)
		chardev_accept_input(u->chr);
}

struct uart *uart_new(struct vm *vm, uint16_t base, const struct irq *irq, struct chardev *chr,
		      GError **error)
{
	struct uart *u = g_new0(struct uart, 1);
	u->vm = vm;
	u->irq = *irq;
	pthread_mutex_init(&u->lock, NULL);
	aio_timer_init(&u->timeout_timer, vm->loop, timeout_fired, u);
	aio_timer_init(&u->accept_timer, vm->loop, accept_fired, u);
	uart_reset(u);
	const struct chardev_user user = {chr_can_read, chr_read, chr_event, chr_writable, u};
	if (chr && !chardev_attach(chr, &user, error)) {
		pthread_mutex_destroy(&u->lock);
		g_free(u);
		return NULL;
	}
	u->chr = chr;
	u->region = (struct io_region){.name = "uart", .ops = &uart_ops, .opaque = u, .size = 8,
				       .lock = &u->lock};
	space_add_io(vm->ports, base, &u->region, SPACE_PRIORITY_HIGH);
	return u;
}

/* Bytes that the guest has sent stay queued; what it has not read is gone. */
void uart_reset(struct uart *u)
{
	LOCK_SCOPE(&u->lock);
	u->ier = u->fcr = u->lcr = u->scratch = 0;
	u->mcr = MCR_OUT2;
	u->msr = MSR_CTS | MSR_DSR | MSR_DCD;
	u->lsr = u->tx.count ? 0 : LSR_THRE | LSR_TEMT;
	u->divisor = 12;
	u->thr_pending = u->timeout = false;
	u->rx.count = 0;
	rx_changed(u);
	ask_for_input(u);
	update_irq(u);
}

void uart_free(struct uart *u)
{
	if (!u)
		return;
	if (u->chr)
		chardev_detach(u->chr, u);
	aio_timer_cancel(&u->timeout_timer);
	aio_timer_cancel(&u->accept_timer);
	space_remove_io(u->vm->ports, &u->region);
	pthread_mutex_destroy(&u->lock);
	g_free(u);
}
