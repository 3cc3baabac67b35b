/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest that does what it likes with an AHCI controller and a disk or a CD drive. The input is a
 * program: the first byte chooses the unit, then operations of one byte with operands. Memory for
 * lists, tables and data is seeded with well-formed commands, so that mutations get far.
 */
#include "sata.h"

#include "base/log.h"
#include "input.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum op { REGISTER, PORT_REGISTER, READ, POKE, COMMAND, PACKET, ISSUE, ISSUE_QUEUED, RUN, HOLD, FAIL,
	  OPS };

static void step(struct sata *s, struct input *in)
{
	unsigned slot;
	uint8_t packet[12];
	switch (take(in, 1) % OPS) {
	case REGISTER:
		slot = (unsigned)take(in, 1);
		sata_put(s, slot * 4, (uint32_t)take(in, 4));
		break;
	case PORT_REGISTER:
		slot = (unsigned)take(in, 1) % 32;
		sata_port_put(s, slot * 4, (uint32_t)take(in, 4));
		break;
	case READ:
		sata_get(s, (unsigned)take(in, 2) % 0x1000);
		break;
	case POKE: {
		/* Lists and tables lie one after the other from s->list on. */
		uint64_t at = s->list + take(in, 3) % (s->data - s->list);
		s->m.mem[at] = (uint8_t)take(in, 1);
		break;
	}
	case COMMAND: {
		slot = (unsigned)take(in, 1) % 32;
		uint8_t command = (uint8_t)take(in, 1);
		uint64_t lba = take(in, 2);
		unsigned count = (unsigned)take(in, 1), feature = (unsigned)take(in, 2);
		unsigned length = (unsigned)take(in, 2), piece = (unsigned)take(in, 2) | 256;
		sata_fill(s, slot, command, lba, count, feature, length, piece);
		break;
	}
	case PACKET:
		slot = (unsigned)take(in, 1) % 32;
		for (unsigned i = 0; i < sizeof(packet); i++)
			packet[i] = (uint8_t)take(in, 1);
		sata_fill_packet(s, slot, packet, sizeof(packet), take(in, 2));
		break;
	case ISSUE_QUEUED:
		slot = (unsigned)take(in, 4);
		sata_port_put(s, 0x34, slot);
		sata_port_put(s, 0x38, slot);
		break;
	case ISSUE:
		sata_port_put(s, 0x38, (uint32_t)take(in, 4));
		break;
	case RUN:
		for (unsigned i = 0; i < 4; i++)
			aio_loop_iterate(s->m.loop, 0);
		break;
	case HOLD:
		if (s->disk->hold)
			sata_disk_release(s->disk);
		else
			s->disk->hold = true;
		break;
	case FAIL:
		s->disk->fail = take(in, 1) & 1 ? -5 : 0;
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, data + size};
	struct sata s;
	log_setup("fuzz", LOG_LEVEL_ERROR, stderr);
	sata_init(&s, take(&in, 1) & 1, 1 << 18, 0);
	sata_start_port(&s);
	for (unsigned steps = 0; in.at < in.end && steps < 256; steps++)
		step(&s, &in);
	sata_disk_release(s.disk);
	for (unsigned i = 0; i < 4; i++)
		aio_loop_iterate(s.m.loop, 0);
	sata_free(&s);
	return 0;
}
