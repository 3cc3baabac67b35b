/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dev/net/eeprom93.h"

enum { COMMAND_BITS = 9 /* the start bit, too */, OPCODE_READ = 2 };

/* A bit comes in with the clock's rising edge, and one goes out. */
static void clock_bit(struct eeprom93 *e, bool data)
{
	if (!e->bits) {
		e->bits = data; /* what comes before the start bit does not count */
		return;
	}
	if (e->bits < COMMAND_BITS) {
		e->command = (uint16_t)(e->command << 1 | data);
		if (++e->bits < COMMAND_BITS)
			return;
		/* A dummy zero, then the word; the next one follows if the clock goes on. */
		bool read = (e->command >> 6 & 3) == OPCODE_READ;
		e->shift = read ? e->words[e->command & (EEPROM93_WORDS - 1)] : 0xffff;
		e->out = !read;
		return;
	}
	e->out = e->shift >> 15 & 1;
	e->shift = e->shift << 1 & 0xffff;
	if (++e->bits < COMMAND_BITS + 16)
		return;
	e->bits = COMMAND_BITS;
	e->command = (e->command & ~(EEPROM93_WORDS - 1)) | ((e->command + 1) & (EEPROM93_WORDS - 1));
	e->shift = e->words[e->command & (EEPROM93_WORDS - 1)];
}

void eeprom93_drive(struct eeprom93 *e, bool select, bool clock, bool data)
{
	if (!select || !e->select) {
		e->bits = 0;
		e->command = 0;
		e->out = true; /* pulled up: "ready" */
	}
	if (select && e->select && clock && !e->clock)
		clock_bit(e, data);
	e->select = select;
	e->clock = clock;
}
