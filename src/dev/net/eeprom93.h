/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A 93C46: a serial EEPROM of 64 words of 16 bits on a Microwire bus, as network cards keep their
 * address in. The driver in the guest drives its pins. Spec: Microchip 93C46 data sheet, chapter 2.
 *
 * It can be read, but not written: what a guest writes would not outlive the machine, so its commands
 * for that are taken and have no effect, as on a part that is not enabled for writing.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define EEPROM93_WORDS 64

struct eeprom93 {
	uint16_t words[EEPROM93_WORDS];
	bool select, clock;
	unsigned bits;      /* taken of the command since its start bit; 0: none */
	uint16_t command;   /* two bits of opcode, six of address */
	uint32_t shift;     /* what goes out, from bit 16 on */
	bool out;           /* the DO pin */
};

/* The pins change to this. */
void eeprom93_drive(struct eeprom93 *e, bool select, bool clock, bool data);
