/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Between the files of Realtek's 8139C+: rtl8139.c (registers, life), rtl8139_rx.c, rtl8139_tx.c. Two
 * interfaces are in the chip: that of the 8139, with four packets to send and one ring of bytes for what
 * comes, and that of "C+ mode", with descriptors. Spec: RTL8139C(L)+ Datasheet 1.6; for the old
 * interface RTL8139D(L) Datasheet 1.2.
 */
#pragma once

#include "aio/loop.h"
#include "base/bytes.h"
#include "dev/net/card.h"
#include "dev/net/eeprom93.h"
#include "dev/net/headers.h"

enum rtl8139_reg {
	IDR0 = 0x00, MAR0 = 0x08, TSD0 = 0x10, DTCCR = 0x10, TSAD0 = 0x20, TNPDS = 0x20, THPDS = 0x28,
	RBSTART = 0x30, CR = 0x37, CAPR = 0x38, CBR = 0x3a, IMR = 0x3c, ISR = 0x3e, TCR = 0x40, RCR = 0x44,
	TCTR = 0x48, MPC = 0x4c, CR9346 = 0x50, CONFIG0 = 0x51, CONFIG4 = 0x5a, TIMERINT = 0x54, MSR = 0x58,
	RERID = 0x5e, TSAD = 0x60, BMCR = 0x62, BMSR = 0x64, ANAR = 0x66, ANLPAR = 0x68, ANER = 0x6a,
	CONFIG5 = 0xd8, TPPOLL = 0xd9, CPCR = 0xe0, RDSAR = 0xe4,
	RTL8139_REGS = 0x100,
};

enum { CR_BUFE = 1 << 0, CR_TE = 1 << 2, CR_RE = 1 << 3, CR_RST = 1 << 4 };
enum { INT_ROK = 1 << 0, INT_TOK = 1 << 2, INT_RXOVW = 1 << 4, INT_LINK = 1 << 5, INT_TDU = 1 << 7,
       INT_TIMEOUT = 1 << 14 };
enum { RCR_AAP = 1 << 0, RCR_APM = 1 << 1, RCR_AM = 1 << 2, RCR_AB = 1 << 3, RCR_WRAP = 1 << 7,
       RCR_RBLEN_SHIFT = 11 };
enum { CPCR_TXON = 1 << 0, CPCR_RXON = 1 << 1, CPCR_RXCHKSUM = 1 << 5, CPCR_RXVLAN = 1 << 6 };
enum { TSD_OWN = 1 << 13, TSD_TOK = 1 << 15, TSD_SIZE = 0x1fff, TSD_COUNT = 4 };
enum { TPPOLL_NORMAL = 1 << 6, TPPOLL_HIGH = 1 << 7 };

/* Descriptors of C+ mode: the first word. */
enum { DESC_OWN = 1u << 31, DESC_EOR = 1u << 30, DESC_FS = 1u << 29, DESC_LS = 1u << 28,
       DESC_SIZE = 16, DESC_RING = 64 };

/* A ring of packets to send in C+ mode: the one of normal and the one of high priority. */
struct rtl8139_tx {
	unsigned next;
	bool bad;
	uint32_t first;     /* the first descriptor's word: what is to be done with the packet */
	uint32_t vlan;
	uint8_t *packet;    /* NET_CARD_PACKET_ROOM bytes */
	size_t length;
};

struct rtl8139 {
	struct net_card card; /* first */
	struct io_region ports, mmio;

	/* All under card->lock. */
	uint8_t regs[RTL8139_REGS];
	struct eeprom93 eeprom;
	struct rtl8139_tx tx[2];
	unsigned tx_next;    /* of the four */
	unsigned tx_wanted;  /* bits: those of the four, or of the two rings, that are to be sent */
	unsigned rx_next;    /* descriptor */
	bool rx_waits;       /* the back end has a packet for which there was no room */
	struct { uint64_t sent, received; uint32_t multicast, broadcast, physical; } tally;
	int64_t timer_from_ns;
	struct aio_timer timer; /* TIMERINT */
	struct aio_timer retry; /* looks for room: descriptors become the card's without a register */
};

static inline uint16_t rtl_get16(const struct rtl8139 *r, unsigned reg)
{
	return le16_load(r->regs + reg);
}

static inline uint32_t rtl_get32(const struct rtl8139 *r, unsigned reg)
{
	return le32_load(r->regs + reg);
}

static inline bool rtl_cplus_tx(const struct rtl8139 *r)
{
	return rtl_get16(r, CPCR) & CPCR_TXON;
}

static inline bool rtl_cplus_rx(const struct rtl8139 *r)
{
	return rtl_get16(r, CPCR) & CPCR_RXON;
}

/* Under the lock. */
void rtl8139_raise(struct rtl8139 *r, unsigned causes);

/* rtl8139_rx.c */
bool rtl8139_can_receive(struct net_card *card);
bool rtl8139_receive(struct net_card *card, const uint8_t *frame, size_t length);

/* rtl8139_tx.c: the loop's, without the lock. */
void rtl8139_transmit(struct net_card *card);
