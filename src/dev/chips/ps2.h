/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PS/2 keyboard and mouse as the keyboard controller sees them: each takes command bytes and fills a
 * queue of answers, scan codes or movement packets. The owner (i8042.c) locks.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define PS2_QUEUE 64

struct ps2_queue {
	uint8_t bytes[PS2_QUEUE];
	unsigned head, count;
};

struct ps2_keyboard {
	struct ps2_queue out;
	uint8_t command;     /* waiting for its parameter, or 0 */
	bool scanning;
	uint8_t leds, rate, code_set;
};

struct ps2_mouse {
	struct ps2_queue out;
	uint8_t command;
	bool reporting, remote, wrap, scaling;
	uint8_t resolution, rate, id, buttons;
	uint8_t rates[3];    /* the last three set: the knock for wheel and five buttons */
	int dx, dy, dz;      /* not yet reported */
};

bool ps2_queue_pop(struct ps2_queue *q, uint8_t *byte);

void ps2_keyboard_reset(struct ps2_keyboard *k);
void ps2_keyboard_command(struct ps2_keyboard *k, uint8_t byte);
/* `code` is a scan code of set 1, plus 0x80 for those with prefix e0 (QEMU's "qnum"). */
void ps2_keyboard_key(struct ps2_keyboard *k, uint8_t code, bool down);
/* What the keyboard controller's translation makes of a byte of set 2; 0xf0 is not translated. */
uint8_t ps2_translate(uint8_t set2);

void ps2_mouse_reset(struct ps2_mouse *m);
void ps2_mouse_command(struct ps2_mouse *m, uint8_t byte);
/* y grows downwards; `buttons`: 1 left, 2 right, 4 middle, 8 side, 16 extra. */
void ps2_mouse_event(struct ps2_mouse *m, int dx, int dy, int dz, uint8_t buttons);
