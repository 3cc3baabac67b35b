/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Spec: IBM PS/2 Hardware Interface Technical Reference, keyboard/auxiliary device controller. */
#include "dev/chips/i8042.h"

#include "base/lock.h"
#include "dev/chips/ps2.h"
#include "vm/vm.h"

enum { ST_OBF = 0x01, ST_SYSTEM = 0x04, ST_COMMAND = 0x08, ST_UNLOCKED = 0x10, ST_AUX = 0x20 };
enum { MODE_KBD_IRQ = 0x01, MODE_AUX_IRQ = 0x02, MODE_SYSTEM = 0x04, MODE_KBD_OFF = 0x10,
       MODE_AUX_OFF = 0x20, MODE_TRANSLATE = 0x40 };
enum { OUT_RESET = 0x01, OUT_A20 = 0x02, OUT_OBF = 0x10, OUT_AUX_OBF = 0x20 };

struct i8042 {
	struct vm *vm;
	pthread_mutex_t lock;
	struct io_region data, command, port92;
	struct irq irq1, irq12;
	struct ps2_keyboard keyboard;
	struct ps2_mouse mouse;
	uint8_t mode, outport;
	uint8_t pending;  /* a command that waits for a byte at port 60h, or 0 */
	bool break_next;  /* translation has swallowed f0 */
	bool full, from_aux; /* output buffer */
	bool last_was_command;
	uint8_t output;
	uint8_t ram[32];  /* internal memory, byte 0 is `mode` */
};

static void update_irqs(struct i8042 *k)
{
	irq_set(&k->irq1, k->full && !k->from_aux && (k->mode & MODE_KBD_IRQ));
	irq_set(&k->irq12, k->full && k->from_aux && (k->mode & MODE_AUX_IRQ));
}

static void put_output(struct i8042 *k, uint8_t byte, bool aux)
{
	k->output = byte;
	k->from_aux = aux;
	k->full = true;
}

/* Set 2 to set 1; f0 turns into bit 7 of the byte that follows. False: nothing comes of it. */
static bool translate(struct i8042 *k, uint8_t *byte)
{
	if (!(k->mode & MODE_TRANSLATE))
		return true;
	if (*byte == 0xf0) {
		k->break_next = true;
		return false;
	}
	*byte = ps2_translate(*byte) | (k->break_next ? 0x80 : 0);
	k->break_next = false;
	return true;
}

/* Move a byte from a device into the empty output buffer. */
static void refill(struct i8042 *k)
{
	uint8_t byte;
	while (!k->full && !(k->mode & MODE_KBD_OFF) && ps2_queue_pop(&k->keyboard.out, &byte))
		if (translate(k, &byte))
			put_output(k, byte, false);
	if (!k->full && !(k->mode & MODE_AUX_OFF) && ps2_queue_pop(&k->mouse.out, &byte))
		put_output(k, byte, true);
	update_irqs(k);
}

static void request_reset(struct i8042 *k)
{
	vm_request(k->vm, VM_REQUEST_RESET, 0);
}

static void write_outport(struct i8042 *k, uint8_t value)
{
	k->outport = value;
	if (!(value & OUT_RESET))
		request_reset(k);
}

static uint8_t read_outport(const struct i8042 *k)
{
	return (k->outport & ~(OUT_OBF | OUT_AUX_OBF)) |
	       (k->full ? (k->from_aux ? OUT_AUX_OBF : OUT_OBF) : 0);
}

static void controller_command(struct i8042 *k, uint8_t command)
{
	k->pending = 0;
	switch (command) {
	case 0x20: put_output(k, k->mode, false); break;
	case 0xa7: k->mode |= MODE_AUX_OFF; break;
	case 0xa8: k->mode &= ~MODE_AUX_OFF; break;
	case 0xa9: put_output(k, 0x00, false); break; /* mouse interface is fine */
	case 0xaa:
		k->mode |= MODE_SYSTEM;
		put_output(k, 0x55, false);
		break;
	case 0xab: put_output(k, 0x00, false); break; /* keyboard interface is fine */
	case 0xad: k->mode |= MODE_KBD_OFF; break;
	case 0xae: k->mode &= ~MODE_KBD_OFF; break;
	case 0xc0: put_output(k, 0x80, false); break; /* input port: keyboard not locked */
	case 0xd0: put_output(k, read_outport(k), false); break;
	case 0x60:
	case 0xd1:
	case 0xd2:
	case 0xd3:
	case 0xd4: k->pending = command; break;
	case 0xdd: k->outport &= ~OUT_A20; break;
	case 0xdf: k->outport |= OUT_A20; break;
	default:
		if (command > 0x20 && command < 0x40)
			put_output(k, k->ram[command & 0x1f], false);
		else if (command > 0x60 && command < 0x80)
			k->pending = command;
		else if (command >= 0xf0 && !(command & 1))
			request_reset(k); /* pulse the output port's bit 0 */
	}
}

static void data_byte(struct i8042 *k, uint8_t byte)
{
	uint8_t command = k->pending;
	k->pending = 0;
	switch (command) {
	case 0:
		k->mode &= ~MODE_KBD_OFF; /* sending to the keyboard enables it */
		ps2_keyboard_command(&k->keyboard, byte);
		break;
	case 0x60: k->mode = byte; break;
	case 0xd1: write_outport(k, byte); break;
	case 0xd2: put_output(k, byte, false); break;
	case 0xd3: put_output(k, byte, true); break;
	case 0xd4:
		k->mode &= ~MODE_AUX_OFF;
		ps2_mouse_command(&k->mouse, byte);
		break;
	default: k->ram[command & 0x1f] = byte;
	}
}

static uint64_t data_read(void *opaque, uint64_t offset, unsigned size)
{
	struct i8042 *k = opaque;
	uint8_t byte = k->output;
	if (k->full) {
		k->full = false;
		update_irqs(k); /* low, so that the next byte makes an edge */
		refill(k);
	}
	return byte;
}

static void data_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct i8042 *k = opaque;
	k->last_was_command = false;
	data_byte(k, value);
	refill(k);
}

static uint64_t command_read(void *opaque, uint64_t offset, unsigned size)
{
	struct i8042 *k = opaque;
	return ST_UNLOCKED | (k->mode & MODE_SYSTEM ? ST_SYSTEM : 0) |
	       (k->last_was_command ? ST_COMMAND : 0) | (k->full ? ST_OBF : 0) |
	       (k->full && k->from_aux ? ST_AUX : 0);
}

static void command_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct i8042 *k = opaque;
	k->last_was_command = true;
	controller_command(k, value);
	refill(k);
}

static uint64_t port92_read(void *opaque, uint64_t offset, unsigned size)
{
	struct i8042 *k = opaque;
	return k->outport & OUT_A20 ? 2 : 0;
}

static void port92_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct i8042 *k = opaque;
	k->outport = (k->outport & ~OUT_A20) | (value & 2 ? OUT_A20 : 0);
	if (value & 1)
		request_reset(k);
}

static const struct io_ops data_ops = {data_read, data_write, .min_size = 1, .max_size = 1};
static const struct io_ops command_ops = {command_read, command_write, .min_size = 1,
					  .max_size = 1};
static const struct io_ops port92_ops = {port92_read, port92_write, .min_size = 1, .max_size = 1};

static void add_port(struct i8042 *k, struct io_region *region, const char *name,
		     const struct io_ops *ops, uint16_t port)
{
	*region = (struct io_region){.name = name, .ops = ops, .opaque = k, .size = 1,
				     .lock = &k->lock};
	space_add_io(k->vm->ports, port, region, SPACE_PRIORITY_HIGH);
}

struct i8042 *i8042_new(struct vm *vm, const struct irq *irq1, const struct irq *irq12)
{
	struct i8042 *k = g_new0(struct i8042, 1);
	k->vm = vm;
	k->irq1 = *irq1;
	k->irq12 = *irq12;
	pthread_mutex_init(&k->lock, NULL);
	i8042_reset(k);
	add_port(k, &k->data, "i8042-data", &data_ops, 0x60);
	add_port(k, &k->command, "i8042-command", &command_ops, 0x64);
	add_port(k, &k->port92, "port92", &port92_ops, 0x92);
	return k;
}

void i8042_reset(struct i8042 *k)
{
	LOCK_SCOPE(&k->lock);
	ps2_keyboard_reset(&k->keyboard);
	ps2_mouse_reset(&k->mouse);
	k->mode = MODE_KBD_IRQ | MODE_AUX_IRQ;
	k->outport = OUT_RESET | OUT_A20;
	k->pending = 0;
	k->full = k->from_aux = k->break_next = k->last_was_command = false;
	memset(k->ram, 0, sizeof(k->ram));
	update_irqs(k);
}

void i8042_key(struct i8042 *k, uint8_t code, bool down)
{
	LOCK_SCOPE(&k->lock);
	ps2_keyboard_key(&k->keyboard, code, down);
	refill(k);
}

void i8042_mouse(struct i8042 *k, int dx, int dy, int dz, uint8_t buttons)
{
	LOCK_SCOPE(&k->lock);
	ps2_mouse_event(&k->mouse, dx, dy, dz, buttons);
	refill(k);
}

void i8042_free(struct i8042 *k)
{
	if (!k)
		return;
	space_remove_io(k->vm->ports, &k->data);
	space_remove_io(k->vm->ports, &k->command);
	space_remove_io(k->vm->ports, &k->port92);
	pthread_mutex_destroy(&k->lock);
	g_free(k);
}
