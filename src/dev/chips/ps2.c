/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Spec: IBM PS/2 Hardware Interface Technical Reference, keyboard and auxiliary device sections. */
#include "dev/chips/ps2.h"

#include <glib.h>
#include <string.h>

enum { ACK = 0xfa, RESEND = 0xfe, SELF_TEST_OK = 0xaa };

static unsigned room(const struct ps2_queue *q)
{
	return PS2_QUEUE - q->count;
}

static void push(struct ps2_queue *q, uint8_t byte)
{
	if (q->count < PS2_QUEUE)
		q->bytes[(q->head + q->count++) % PS2_QUEUE] = byte;
}

bool ps2_queue_pop(struct ps2_queue *q, uint8_t *byte)
{
	if (!q->count)
		return false;
	*byte = q->bytes[q->head];
	q->head = (q->head + 1) % PS2_QUEUE;
	q->count--;
	return true;
}

/* --- keyboard ------------------------------------------------------------------------------------ */

/* Set 1 code of each code of set 2 up to 0x84; 0 where there is no key. */
static const uint8_t set2_to_set1[0x85] = {
	[0x76] = 0x01, [0x16] = 0x02, [0x1e] = 0x03, [0x26] = 0x04, [0x25] = 0x05, [0x2e] = 0x06,
	[0x36] = 0x07, [0x3d] = 0x08, [0x3e] = 0x09, [0x46] = 0x0a, [0x45] = 0x0b, [0x4e] = 0x0c,
	[0x55] = 0x0d, [0x66] = 0x0e, [0x0d] = 0x0f, [0x15] = 0x10, [0x1d] = 0x11, [0x24] = 0x12,
	[0x2d] = 0x13, [0x2c] = 0x14, [0x35] = 0x15, [0x3c] = 0x16, [0x43] = 0x17, [0x44] = 0x18,
	[0x4d] = 0x19, [0x54] = 0x1a, [0x5b] = 0x1b, [0x5a] = 0x1c, [0x14] = 0x1d, [0x1c] = 0x1e,
	[0x1b] = 0x1f, [0x23] = 0x20, [0x2b] = 0x21, [0x34] = 0x22, [0x33] = 0x23, [0x3b] = 0x24,
	[0x42] = 0x25, [0x4b] = 0x26, [0x4c] = 0x27, [0x52] = 0x28, [0x0e] = 0x29, [0x12] = 0x2a,
	[0x5d] = 0x2b, [0x1a] = 0x2c, [0x22] = 0x2d, [0x21] = 0x2e, [0x2a] = 0x2f, [0x32] = 0x30,
	[0x31] = 0x31, [0x3a] = 0x32, [0x41] = 0x33, [0x49] = 0x34, [0x4a] = 0x35, [0x59] = 0x36,
	[0x7c] = 0x37, [0x11] = 0x38, [0x29] = 0x39, [0x58] = 0x3a, [0x05] = 0x3b, [0x06] = 0x3c,
	[0x04] = 0x3d, [0x0c] = 0x3e, [0x03] = 0x3f, [0x0b] = 0x40, [0x83] = 0x41, [0x0a] = 0x42,
	[0x01] = 0x43, [0x09] = 0x44, [0x77] = 0x45, [0x7e] = 0x46, [0x6c] = 0x47, [0x75] = 0x48,
	[0x7d] = 0x49, [0x7b] = 0x4a, [0x6b] = 0x4b, [0x73] = 0x4c, [0x74] = 0x4d, [0x79] = 0x4e,
	[0x69] = 0x4f, [0x72] = 0x50, [0x7a] = 0x51, [0x70] = 0x52, [0x71] = 0x53, [0x84] = 0x54,
	[0x61] = 0x56, [0x78] = 0x57, [0x07] = 0x58, [0x0f] = 0x59, [0x17] = 0x5a, [0x1f] = 0x5b,
	[0x27] = 0x5c, [0x2f] = 0x5d, [0x37] = 0x5e, [0x3f] = 0x5f, [0x47] = 0x60, [0x4f] = 0x61,
	[0x56] = 0x62, [0x5e] = 0x63, [0x08] = 0x64, [0x10] = 0x65, [0x18] = 0x66, [0x20] = 0x67,
	[0x28] = 0x68, [0x30] = 0x69, [0x38] = 0x6a, [0x40] = 0x6b, [0x48] = 0x6c, [0x50] = 0x6d,
	[0x57] = 0x6e, [0x6f] = 0x6f, [0x13] = 0x70, [0x19] = 0x71, [0x39] = 0x72, [0x51] = 0x73,
	[0x53] = 0x74, [0x5c] = 0x75, [0x5f] = 0x76, [0x62] = 0x77, [0x63] = 0x78, [0x64] = 0x79,
	[0x65] = 0x7a, [0x67] = 0x7b, [0x68] = 0x7c, [0x6a] = 0x7d, [0x6d] = 0x7e, [0x6e] = 0x7f,
};

uint8_t ps2_translate(uint8_t set2)
{
	if (set2 < sizeof(set2_to_set1) && set2_to_set1[set2])
		return set2_to_set1[set2];
	return set2; /* answers and prefixes pass */
}

static uint8_t set1_to_set2(uint8_t set1)
{
	for (unsigned i = 0; i < sizeof(set2_to_set1); i++)
		if (set2_to_set1[i] == set1)
			return i;
	return 0;
}

static void keyboard_defaults(struct ps2_keyboard *k)
{
	k->scanning = true;
	k->leds = 0;
	k->rate = 0x2b; /* 10.9 characters a second after half a second */
	k->code_set = 2;
	k->command = 0;
}

void ps2_keyboard_reset(struct ps2_keyboard *k)
{
	memset(k, 0, sizeof(*k));
	keyboard_defaults(k);
}

/* The parameter of a two-byte command. */
static void keyboard_parameter(struct ps2_keyboard *k, uint8_t byte)
{
	uint8_t command = k->command;
	k->command = 0;
	push(&k->out, ACK);
	switch (command) {
	case 0xed: k->leds = byte; break;
	case 0xf3: k->rate = byte; break;
	case 0xf0:
		if (byte == 0)
			push(&k->out, k->code_set);
		else if (byte <= 3)
			k->code_set = byte;
		break;
	}
}

void ps2_keyboard_command(struct ps2_keyboard *k, uint8_t byte)
{
	if (k->command) {
		keyboard_parameter(k, byte);
		return;
	}
	switch (byte) {
	case 0x00: push(&k->out, ACK); break;
	case 0xee: push(&k->out, 0xee); break; /* echo */
	case 0xf2:
		push(&k->out, ACK);
		push(&k->out, 0xab);
		push(&k->out, 0x83);
		break;
	case 0xed:
	case 0xf0:
	case 0xf3:
		push(&k->out, ACK);
		k->command = byte;
		break;
	case 0xf4:
		k->out.count = 0;
		k->scanning = true;
		push(&k->out, ACK);
		break;
	case 0xf5:
		keyboard_defaults(k);
		k->scanning = false;
		push(&k->out, ACK);
		break;
	case 0xf6:
		keyboard_defaults(k);
		push(&k->out, ACK);
		break;
	case 0xff:
		ps2_keyboard_reset(k);
		push(&k->out, ACK);
		push(&k->out, SELF_TEST_OK);
		break;
	default: push(&k->out, RESEND);
	}
}

void ps2_keyboard_key(struct ps2_keyboard *k, uint8_t code, bool down)
{
	/* A sequence is queued whole or not at all; the rest of the queue is for answers. */
	if (!k->scanning || room(&k->out) < PS2_QUEUE / 4)
		return;
	bool extended = code & 0x80;
	uint8_t set1 = code & 0x7f, set2 = set1_to_set2(set1);
	if (!set2)
		return;
	if (extended)
		push(&k->out, 0xe0);
	if (k->code_set == 1) {
		push(&k->out, set1 | (down ? 0 : 0x80));
		return;
	}
	if (!down)
		push(&k->out, 0xf0);
	push(&k->out, set2);
}

/* --- mouse --------------------------------------------------------------------------------------- */

static void mouse_defaults(struct ps2_mouse *m)
{
	m->reporting = m->remote = m->wrap = m->scaling = false;
	m->resolution = 2; /* 4 counts per mm */
	m->rate = 100;
	m->command = 0;
	m->dx = m->dy = m->dz = 0;
}

void ps2_mouse_reset(struct ps2_mouse *m)
{
	memset(m, 0, sizeof(*m));
	mouse_defaults(m);
}

static bool has_wheel(const struct ps2_mouse *m)
{
	return m->id >= 3;
}

/* One packet of three bytes, or four with a wheel. */
static void send_packet(struct ps2_mouse *m)
{
	if (room(&m->out) < 8)
		return;
	int dx = CLAMP(m->dx, -255, 255), dy = CLAMP(-m->dy, -255, 255);
	int dz = CLAMP(m->dz, -7, 7);
	m->dx -= dx;
	m->dy += dy;
	m->dz -= dz;
	push(&m->out, 0x08 | (m->buttons & 7) | (dx < 0 ? 0x10 : 0) | (dy < 0 ? 0x20 : 0));
	push(&m->out, dx);
	push(&m->out, dy);
	if (m->id == 3)
		push(&m->out, dz);
	else if (m->id == 4)
		push(&m->out, (dz & 0x0f) | (m->buttons & 0x18) << 1);
}

/* Rates 200, 100, 80 in a row make a wheel mouse; 200, 200, 80 one with five buttons. */
static void set_rate(struct ps2_mouse *m, uint8_t rate)
{
	m->rate = rate;
	m->rates[0] = m->rates[1];
	m->rates[1] = m->rates[2];
	m->rates[2] = rate;
	if (m->rates[0] == 200 && m->rates[1] == 100 && rate == 80)
		m->id = 3;
	else if (m->rates[0] == 200 && m->rates[1] == 200 && rate == 80)
		m->id = 4;
}

static void mouse_status(struct ps2_mouse *m)
{
	uint8_t buttons = (m->buttons & 1) << 2 | (m->buttons & 4) >> 1 | (m->buttons & 2) >> 1;
	push(&m->out, m->remote << 6 | m->reporting << 5 | m->scaling << 4 | buttons);
	push(&m->out, m->resolution);
	push(&m->out, m->rate);
}

static void mouse_parameter(struct ps2_mouse *m, uint8_t byte)
{
	if (m->command == 0xe8)
		m->resolution = byte & 3;
	else
		set_rate(m, byte);
	m->command = 0;
	push(&m->out, ACK);
}

void ps2_mouse_command(struct ps2_mouse *m, uint8_t byte)
{
	if (m->wrap && byte != 0xec && byte != 0xff) {
		push(&m->out, byte); /* echo mode */
		return;
	}
	if (m->command) {
		mouse_parameter(m, byte);
		return;
	}
	if (byte < 0xe6) {
		push(&m->out, RESEND);
		return;
	}
	push(&m->out, ACK);
	switch (byte) {
	case 0xe6: m->scaling = false; break;
	case 0xe7: m->scaling = true; break;
	case 0xe8:
	case 0xf3: m->command = byte; break;
	case 0xe9: mouse_status(m); break;
	case 0xea: m->remote = false; break;
	case 0xeb: send_packet(m); break;
	case 0xec: m->wrap = false; break;
	case 0xee: m->wrap = true; break;
	case 0xf0: m->remote = true; break;
	case 0xf2: push(&m->out, m->id); break;
	case 0xf4: m->reporting = true; break;
	case 0xf5: m->reporting = false; break;
	case 0xf6: mouse_defaults(m); break;
	case 0xff:
		ps2_mouse_reset(m);
		push(&m->out, ACK);
		push(&m->out, SELF_TEST_OK);
		push(&m->out, 0x00);
		break;
	}
}

void ps2_mouse_event(struct ps2_mouse *m, int dx, int dy, int dz, uint8_t buttons)
{
	m->dx = CLAMP(m->dx + CLAMP(dx, -4096, 4096), -4096, 4096);
	m->dy = CLAMP(m->dy + CLAMP(dy, -4096, 4096), -4096, 4096);
	m->dz = has_wheel(m) ? CLAMP(m->dz + CLAMP(dz, -64, 64), -64, 64) : 0;
	bool pressed = buttons != m->buttons;
	m->buttons = buttons;
	if (!m->reporting || m->remote)
		return;
	if (pressed || m->dx || m->dy || m->dz)
		send_packet(m);
	/* What one packet cannot hold follows at once, while there is room. */
	while ((m->dx || m->dy || m->dz) && room(&m->out) >= 32)
		send_packet(m);
}
