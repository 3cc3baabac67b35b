/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest that does what it likes with a network card (FUZZ_CARD, its class), and a network that does,
 * too. The input is a program: operations of one byte with operands. Registers that drivers use are
 * likelier than others, and memory begins with descriptors that make sense.
 */
#include "cards.h"

#include "base/log.h"
#include "dev/net/e1000_regs.h"
#include "input.h"

#include <limits.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum op { USUAL, REGISTER, READ, PORT, POKE, DESCRIPTOR, FEED, ROOM, LINK, RUN, COMMAND, RESET, OPS };
enum { RINGS = 0x100000, RINGS_SIZE = 0x4000, BUFFERS = 0x110000 };

static const uint16_t usual[] = {
	CTRL, EECD, EERD, CTRL_EXT, MDIC, ICS, IMS, IMC, IVAR, ITR, RCTL, TCTL, RFCTL, PSRCTL, MRQC,
	RX_RING, RX_RING + RING_LEN, RX_RING + RING_HEAD, RX_RING + RING_TAIL, TX_RING,
	TX_RING + RING_LEN, TX_RING + RING_HEAD, TX_RING + RING_TAIL, TX_RING + RING_STRIDE + RING_TAIL,
	TX_RING + RING_STRIDE + RING_LEN, RXCSUM, VFTA, RETA, RETA + 4,
	/* Of the 8139C+. */
	0x10, 0x20, 0x28, 0x30, 0x37, 0x38, 0x3c, 0x3e, 0x44, 0x50, 0x54, 0xd9, 0xe0, 0xe4,
};

static void feed(struct card *c, struct input *in)
{
	uint8_t frame[9000];
	size_t size = take(in, 2) % sizeof(frame);
	if (size > 64 && take(in, 1) & 1) {
		card_udp_frame(frame, size);
	} else {
		for (size_t i = 0; i < size; i++)
			frame[i] = i < 64 ? (uint8_t)take(in, 1) : i;
	}
	if (c->net.has_receiver && size)
		card_feed(c, frame, size);
}

/* A descriptor in one of the rings: an address among the buffers and words as they come. */
static void descriptor(struct card *c, struct input *in)
{
	uint8_t *d = c->m.mem + RINGS + (take(in, 2) * 16) % RINGS_SIZE;
	le64_store(d, BUFFERS + take(in, 2) * 16);
	le32_store(d + 8, (uint32_t)take(in, 4));
	le32_store(d + 12, (uint32_t)take(in, 4));
}

static void step(struct card *c, struct input *in)
{
	struct net_receiver *r = &c->net.receiver;
	unsigned at;
	switch (take(in, 1) % OPS) {
	case USUAL:
		at = usual[take(in, 1) % G_N_ELEMENTS(usual)];
		card_put(c, at, (uint32_t)take(in, 4));
		break;
	case REGISTER:
		at = (unsigned)take(in, 2);
		space_write(c->m.vm->memory, c->mmio + at, take(in, 4), 1u << (take(in, 1) & 3));
		break;
	case READ:
		at = (unsigned)take(in, 2);
		space_read(c->m.vm->memory, c->mmio + at, 1u << (take(in, 1) & 3));
		break;
	case PORT:
		at = CARD_PORTS + (take(in, 1) & 0xff);
		if (at & 1)
			space_read(c->m.vm->ports, at, 4);
		else
			space_write(c->m.vm->ports, at, take(in, 4), 1u << (take(in, 1) & 3) & 7);
		break;
	case POKE:
		at = RINGS + (unsigned)take(in, 2);
		c->m.mem[at] = (uint8_t)take(in, 1);
		break;
	case DESCRIPTOR:
		descriptor(c, in);
		break;
	case FEED:
		feed(c, in);
		break;
	case ROOM:
		c->net.room = take(in, 1) & 1 ? UINT_MAX : (unsigned)take(in, 1) % 8;
		r->writable(r->opaque, 0);
		break;
	case LINK:
		r->link_changed(r->opaque, take(in, 1) & 1);
		break;
	case RUN:
		card_run(c);
		break;
	case COMMAND:
		pci_config_write(c->m.pci, c->devfn, PCI_COMMAND, (uint32_t)take(in, 2) | 3, 2);
		break;
	case RESET:
		device_reset(c->dev);
		for (unsigned i = 0; i < PCI_BAR_COUNT; i++)
			pci_config_write(c->m.pci, c->devfn, PCI_BAR0 + 4 * i, CARD_MMIO + (i << 22), 4);
		pci_config_write(c->m.pci, c->devfn, PCI_COMMAND, 7, 2);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, data + size};
	struct card c;
	log_setup("fuzz", LOG_LEVEL_ERROR, stderr);
	card_open(&c, &FUZZ_CARD, 0);
	for (unsigned i = 0; i < RINGS_SIZE; i += 16) {
		le64_store(c.m.mem + RINGS + i, BUFFERS + 256 * i);
		le32_store(c.m.mem + RINGS + i + 8, 0x39000100);
	}
	for (unsigned steps = 0; in.at < in.end && steps < 256; steps++)
		step(&c, &in);
	c.net.room = UINT_MAX;
	card_run(&c);
	card_close(&c);
	return 0;
}
