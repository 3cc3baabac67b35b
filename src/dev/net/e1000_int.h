/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Between the files of Intel's gigabit cards: e1000.c (registers, life), e1000_irq.c, e1000_phy.c (and
 * the NVM), e1000_rx.c, e1000_filter.c, e1000_tx.c. Spec: 82574 GbE Controller Family Datasheet 3.4,
 * and PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual for the 82540EM.
 */
#pragma once

#include "aio/loop.h"
#include "base/bytes.h"
#include "dev/net/card.h"
#include "dev/net/e1000_regs.h"
#include "dev/net/eeprom93.h"
#include "dev/net/headers.h"

enum { E1000_QUEUES = 2, E1000_VECTORS = 5, E1000_PHY_REGS = 32 };

/* What differs between the cards. */
struct e1000_model {
	uint16_t device, revision, subsystem_vendor, subsystem;
	bool express;       /* the 82574L: PCIe, MSI and MSI-X, two queues, extended descriptors, RSS */
	uint16_t phy_id;    /* the PHY's second identifier */
	const char *rom;
};

/* A queue of packets to send; the fields that a descriptor has set for those that follow. */
struct e1000_tx {
	/* 7.2.6: the context, and whether the packet under way is to be cut by it. Under the lock. */
	uint8_t ipcss, ipcso, tucss, tucso, tucmd;
	uint16_t ipcse, tucse, mss;
	/* The packet under way. Under the lock. */
	bool first_seen, tse, too_long, vlan;
	uint8_t options;    /* IXSM, TXSM; a legacy descriptor's checksum is in these: */
	bool legacy_sum;
	uint8_t cso, css;
	uint16_t tag;
	size_t length;
	uint8_t *packet;    /* NET_CARD_PACKET_ROOM bytes */
};

struct e1000 {
	struct net_card card; /* first */
	const struct e1000_model *model;
	struct io_region mmio, flash, ports;

	/* All under card->lock. */
	uint32_t regs[E1000_REGS_END / 4];
	uint32_t port_address;   /* IOADDR */
	uint16_t phy[E1000_PHY_REGS];
	struct eeprom93 eeprom;
	uint64_t time_base;      /* SYSTIM when TIMINCA was last written */
	int64_t time_from_ns;
	struct e1000_tx tx[E1000_QUEUES];

	/* Interrupts: vector v, or the only one. Under the lock. */
	struct {
		int64_t next_ns; /* not before */
		bool waiting;
	} throttle[E1000_VECTORS];
	struct aio_timer timer;
};

static inline uint32_t e1000_get(const struct e1000 *e, unsigned reg)
{
	return e->regs[reg / 4];
}

static inline void e1000_set(struct e1000 *e, unsigned reg, uint32_t value)
{
	e->regs[reg / 4] = value;
}

static inline void e1000_add(struct e1000 *e, unsigned reg, uint32_t value)
{
	uint32_t old = e->regs[reg / 4];
	e->regs[reg / 4] = old + value < old ? UINT32_MAX : old + value; /* counters stop at the end */
}

/* A counter of two registers. */
static inline void e1000_add64(struct e1000 *e, unsigned low, uint64_t value)
{
	uint64_t sum = (e->regs[low / 4] | (uint64_t)e->regs[low / 4 + 1] << 32) + value;
	e->regs[low / 4] = (uint32_t)sum;
	e->regs[low / 4 + 1] = sum >> 32;
}

/* A ring as the driver has described it. */
struct e1000_ring {
	uint64_t base;
	unsigned count, head, tail;
	unsigned at; /* register offset of its block */
};
/* Of descriptors of `size` bytes. False: it is not usable. Under the lock, as all that follows. */
bool e1000_ring(const struct e1000 *e, unsigned block, unsigned queue, unsigned size,
		struct e1000_ring *ring);
/* How many of its descriptors are the card's. */
unsigned e1000_ring_ours(const struct e1000_ring *ring);
/* The card is done with its first descriptor. */
void e1000_ring_advance(struct e1000 *e, struct e1000_ring *ring);

/* e1000_irq.c */
void e1000_raise(struct e1000 *e, uint32_t causes);
uint32_t e1000_read_icr(struct e1000 *e);
/* ICS, IMS, IMC, IAM, EIAC, IVAR, ITR, EITR or CTRL_EXT was written. */
void e1000_write_interrupt(struct e1000 *e, unsigned reg, uint32_t value);
void e1000_irq_reset(struct e1000 *e);
void e1000_irq_timer(void *opaque);

/* e1000_phy.c */
void e1000_phy_reset(struct e1000 *e);
void e1000_phy_link(struct e1000 *e);
void e1000_write_mdic(struct e1000 *e, uint32_t value);
void e1000_nvm_init(struct e1000 *e);
void e1000_write_eerd(struct e1000 *e, uint32_t value);
uint32_t e1000_read_eecd(const struct e1000 *e);
void e1000_write_eecd(struct e1000 *e, uint32_t value);

/* e1000_filter.c */
bool e1000_accepts(const struct e1000 *e, const uint8_t *frame, size_t length);
/* 7.1.2.8: the hash over what MRQC asks for; *type is what it is over, 0: nothing. */
uint32_t e1000_rss_hash(const struct e1000 *e, const uint8_t *frame, const struct net_headers *h,
			unsigned *type);

/* e1000_rx.c */
bool e1000_can_receive(struct net_card *card);
bool e1000_receive(struct net_card *card, const uint8_t *frame, size_t length);

/* e1000_tx.c. The loop's, without the lock. */
void e1000_transmit(struct net_card *card);
/* Under the lock: forget the packets under way. */
void e1000_tx_reset(struct e1000 *e);
