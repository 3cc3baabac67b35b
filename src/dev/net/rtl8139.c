/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Realtek's 8139C+: registers, interrupts and the device's life. */
#include "dev/net/rtl8139_int.h"

#include "base/lock.h"
#include "dev/net/cards.h"
#include "vm/vm.h"

enum { REVISION = 0x20 /* C+: drivers look at it */, TICK_MHZ = 33 };
enum { TCR_VERSION = 0x74800000 /* of the C+, bits 30 to 26, 23 and 22 */, TCR_WRITABLE = 0x030e07f1 };
/* 9346CR: the mode, in which the EEPROM's pins or the configuration can be written; the pins. */
enum { EEM_MASK = 3 << 6, EEM_PROGRAM = 2 << 6, EEM_CONFIG = 3 << 6, EECS = 1 << 3, EESK = 1 << 2,
       EEDI = 1 << 1, EEDO = 1 << 0 };
enum { MSR_LINKB = 1 << 2 /* no link */ };
enum { BMCR_RESET = 1 << 15, BMCR_RESTART = 1 << 9, BMCR_DEFAULT = 0x1000 };
enum { BMSR_DEFAULT = 0x7809, BMSR_LINK = 1 << 2, BMSR_AN_DONE = 1 << 5 };
enum { DTCCR_DUMP = 1 << 3, TALLY_SIZE = 64 };
/* Words of the EEPROM. */
enum { EEPROM_ID = 0, EEPROM_VENDOR = 1, EEPROM_DEVICE = 2, EEPROM_SUBVENDOR = 3, EEPROM_SUBSYSTEM = 4,
       EEPROM_MAC = 7 };

/* --- interrupts and time: under the lock ------------------------------------------------------------ */

static void update_interrupt(struct rtl8139 *r)
{
	pci_intx_set(&r->card.pci, rtl_get16(r, ISR) & rtl_get16(r, IMR));
}

void rtl8139_raise(struct rtl8139 *r, unsigned causes)
{
	le16_store(r->regs + ISR, rtl_get16(r, ISR) | causes);
	update_interrupt(r);
}

static uint32_t ticks(const struct rtl8139 *r)
{
	return (uint32_t)((uint64_t)(aio_now_ns() - r->timer_from_ns) * TICK_MHZ / 1000);
}

/* TIMERINT: an interrupt when TCTR gets there; 0: never. */
static void arm_timer(struct rtl8139 *r)
{
	uint64_t at = rtl_get32(r, TIMERINT);
	if (at)
		aio_timer_arm(&r->timer, r->timer_from_ns + (int64_t)(at * 1000 / TICK_MHZ));
	else
		aio_timer_cancel(&r->timer);
}

static void timer_fired(void *opaque)
{
	struct rtl8139 *r = opaque;
	LOCK_SCOPE(&r->card.lock);
	rtl8139_raise(r, INT_TIMEOUT);
}

static void retry_fired(void *opaque)
{
	struct rtl8139 *r = opaque;
	net_card_kick(&r->card);
}

/* --- link and reset: under the lock ------------------------------------------------------------------- */

static void show_link(struct rtl8139 *r)
{
	bool up = r->card.link_up;
	r->regs[MSR] = up ? 0 : MSR_LINKB;
	le16_store(r->regs + BMSR, BMSR_DEFAULT | (up ? BMSR_LINK | BMSR_AN_DONE : 0));
	le16_store(r->regs + ANLPAR, up ? 0x45e1 : 0);
}

static void phy_reset(struct rtl8139 *r)
{
	le16_store(r->regs + BMCR, BMCR_DEFAULT);
	le16_store(r->regs + ANAR, 0x05e1);
	le16_store(r->regs + ANER, 1);
	show_link(r);
}

/* CR.RST: all but the addresses, the PHY and the configuration. */
static void software_reset(struct rtl8139 *r)
{
	uint8_t kept[RTL8139_REGS];
	memcpy(kept, r->regs, sizeof(kept));
	memset(r->regs, 0, sizeof(r->regs));
	memcpy(r->regs + IDR0, kept + IDR0, 6);
	memcpy(r->regs + MAR0, kept + MAR0, 8);
	memcpy(r->regs + CONFIG0, kept + CONFIG0, 3);
	memcpy(r->regs + MSR, kept + MSR, 3);
	memcpy(r->regs + BMCR, kept + BMCR, ANER + 2 - BMCR);
	le16_store(r->regs + CAPR, 0xfff0);
	le32_store(r->regs + TCR, TCR_VERSION);
	r->regs[RERID] = REVISION;
	for (unsigned n = 0; n < TSD_COUNT; n++)
		le32_store(r->regs + TSD0 + 4 * n, TSD_OWN);
	for (unsigned n = 0; n < 2; n++) {
		r->tx[n].next = 0;
		r->tx[n].length = 0;
		r->tx[n].bad = false;
	}
	r->tx_next = r->tx_wanted = r->rx_next = 0;
	r->rx_waits = false;
	aio_timer_cancel(&r->timer);
	update_interrupt(r);
}

/* --- registers: under the lock ------------------------------------------------------------------------ */

/* Those that are not just what was last stored. */
static void refresh(struct rtl8139 *r)
{
	unsigned owned = 0, sent = 0;
	for (unsigned n = 0; n < TSD_COUNT; n++) {
		owned |= (rtl_get32(r, TSD0 + 4 * n) & TSD_OWN ? 1 : 0) << n;
		sent |= (rtl_get32(r, TSD0 + 4 * n) & TSD_TOK ? 1 : 0) << n;
	}
	le16_store(r->regs + TSAD, owned | sent << 12);
	le32_store(r->regs + TCTR, ticks(r));
	uint16_t read = rtl_get16(r, CAPR) + 16;
	bool empty = (read ^ rtl_get16(r, CBR)) % (8192u << (rtl_get32(r, RCR) >> RCR_RBLEN_SHIFT & 3)) == 0;
	r->regs[CR] = (r->regs[CR] & ~CR_BUFE) | (empty ? CR_BUFE : 0);
	r->regs[CR9346] = (r->regs[CR9346] & ~EEDO) | (r->eeprom.out ? EEDO : 0);
}

/*
 * The bits of a byte that the driver may change now. What is not there must not keep what is stored: drivers
 * tell the chips of the family by that.
 */
static uint8_t writable(const struct rtl8139 *r, unsigned at)
{
	switch (at) {
	case CR:
		return CR_TE | CR_RE;
	case TCR ... TCR + 3:
		return (uint32_t)TCR_WRITABLE >> 8 * (at - TCR);
	case CONFIG0 ... CONFIG0 + 2:
	case MSR + 1 ... CONFIG4:
	case CONFIG5:
		return (r->regs[CR9346] & EEM_MASK) == EEM_CONFIG ? 0xff : 0;
	case IDR0 ... IDR0 + 5:
	case MAR0 ... RBSTART + 3:
	case CAPR ... CAPR + 1:
	case IMR ... IMR + 1:
	case RCR ... CR9346:
	case TIMERINT ... TIMERINT + 3:
	case BMCR ... BMCR + 1:
	case ANAR ... ANAR + 1:
	case TPPOLL:
	case CPCR ... CPCR + 1:
	case RDSAR ... RDSAR + 7:
		return 0xff;
	default:
		return 0;
	}
}

/* "Dump Tally Counter": the counters into memory; bit 3 is on until that is done. */
static void dump_tally(struct rtl8139 *r)
{
	uint8_t tally[TALLY_SIZE] = {0};
	uint64_t to = le64_load(r->regs + DTCCR) & ~UINT64_C(63);
	le64_store(tally, r->tally.sent);
	le64_store(tally + 8, r->tally.received);
	le64_store(tally + 40, r->tally.physical);
	le64_store(tally + 48, r->tally.broadcast);
	le32_store(tally + 56, r->tally.multicast);
	net_card_write(&r->card, to, tally, sizeof(tally));
	r->regs[DTCCR] &= ~DTCCR_DUMP;
}

/* Does the access of `size` bytes at `at` touch the register? */
static bool touches(unsigned at, unsigned size, unsigned reg, unsigned width)
{
	return at < reg + width && reg < at + size;
}

/* One of the four, or DTCCR in their place, was written. */
static bool wrote_tsd(struct rtl8139 *r, unsigned at)
{
	unsigned n = (at - TSD0) / 4;
	if (rtl_cplus_tx(r)) {
		if (r->regs[DTCCR] & DTCCR_DUMP)
			dump_tally(r);
		return false;
	}
	uint32_t value = rtl_get32(r, TSD0 + 4 * n);
	if (value & TSD_OWN)
		return false;
	le32_store(r->regs + TSD0 + 4 * n, value & 0x3fffff & ~(uint32_t)(TSD_OWN | TSD_TOK));
	r->tx_wanted |= 1u << n;
	return true;
}

static bool wrote_command(struct rtl8139 *r, uint8_t before, uint8_t asked)
{
	if (asked & CR_RST) {
		software_reset(r);
		return false;
	}
	uint8_t risen = r->regs[CR] & ~before;
	if (risen & CR_TE) {
		r->tx_next = r->tx[0].next = r->tx[1].next = 0;
		r->tx[0].length = r->tx[1].length = 0;
	}
	if (risen & CR_RE) {
		r->rx_next = 0;
		le16_store(r->regs + CBR, 0);
		le16_store(r->regs + CAPR, 0xfff0);
	}
	return risen;
}

static void wrote_bmcr(struct rtl8139 *r)
{
	uint16_t value = rtl_get16(r, BMCR);
	if (value & BMCR_RESET)
		phy_reset(r);
	else
		le16_store(r->regs + BMCR, value & ~BMCR_RESTART);
}

/* What follows from a write. True: the loop has something to do. */
static bool react(struct rtl8139 *r, unsigned at, unsigned size, uint64_t value, uint8_t command)
{
	bool kick = false;
	if (touches(at, size, ISR, 2) || touches(at, size, IMR, 2)) {
		update_interrupt(r);
		/* A driver that comes back from its queue has made room in it. */
		kick = r->rx_waits;
	}
	for (unsigned n = 0; n < TSD_COUNT; n++)
		kick |= touches(at, size, TSD0 + 4 * n, 4) && wrote_tsd(r, TSD0 + 4 * n);
	if (touches(at, size, CR, 1))
		kick |= wrote_command(r, command, value >> 8 * (CR - at));
	if (touches(at, size, CAPR, 2) || touches(at, size, RCR, 4) || touches(at, size, CPCR, 2))
		kick = true;
	if (touches(at, size, TCTR, 4))
		r->timer_from_ns = aio_now_ns();
	if (touches(at, size, TCTR, 4) || touches(at, size, TIMERINT, 4))
		arm_timer(r);
	if (touches(at, size, CR9346, 1)) {
		uint8_t pins = r->regs[CR9346];
		bool on = (pins & EEM_MASK) == EEM_PROGRAM;
		eeprom93_drive(&r->eeprom, on && pins & EECS, on && pins & EESK, pins & EEDI);
	}
	if (touches(at, size, BMCR, 2))
		wrote_bmcr(r);
	if (touches(at, size, TNPDS, 4))
		r->tx[0].next = 0;
	if (touches(at, size, THPDS, 4))
		r->tx[1].next = 0;
	if (touches(at, size, RDSAR, 4))
		r->rx_next = 0;
	if (touches(at, size, TPPOLL, 1) && rtl_cplus_tx(r)) {
		r->tx_wanted |= (r->regs[TPPOLL] & TPPOLL_NORMAL ? 1 : 0) |
				(r->regs[TPPOLL] & TPPOLL_HIGH ? 2 : 0);
		r->regs[TPPOLL] = 0;
		kick = true;
	}
	return kick;
}

static uint64_t window_read(void *opaque, uint64_t offset, unsigned size)
{
	struct rtl8139 *r = opaque;
	LOCK_SCOPE(&r->card.lock);
	refresh(r);
	return le_load(r->regs + offset, size);
}

static void window_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct rtl8139 *r = opaque;
	unsigned at = (unsigned)offset;
	pthread_mutex_lock(&r->card.lock);
	uint8_t command = r->regs[CR];
	for (unsigned i = 0; i < size; i++) {
		uint8_t byte = value >> 8 * i, mask = writable(r, at + i), *reg = &r->regs[at + i];
		bool clears = at + i == ISR || at + i == ISR + 1;
		*reg = clears ? *reg & ~byte : (*reg & ~mask) | (byte & mask);
	}
	bool kick = react(r, at, size, value, command);
	pthread_mutex_unlock(&r->card.lock);
	if (kick)
		net_card_kick(&r->card);
}

static const struct io_ops window_ops = {window_read, window_write, .min_size = 1, .max_size = 4};

/* --- life ----------------------------------------------------------------------------------------------- */

static void link_changed(struct net_card *card)
{
	struct rtl8139 *r = (struct rtl8139 *)card;
	show_link(r);
	rtl8139_raise(r, INT_LINK);
}

static void cancel_timers(struct net_card *card)
{
	struct rtl8139 *r = (struct rtl8139 *)card;
	aio_timer_cancel(&r->timer);
	aio_timer_cancel(&r->retry);
}

static const struct net_card_ops card_ops = {
	.transmit = rtl8139_transmit, .can_receive = rtl8139_can_receive, .receive = rtl8139_receive,
	.link_changed = link_changed, .cancel_timers = cancel_timers,
};

static bool create(struct device *dev, GError **error)
{
	struct rtl8139 *r = (struct rtl8139 *)dev;
	struct pci_device *pci = &r->card.pci;
	pci_set_identity(pci, 0x10ec, 0x8139, 0x020000, REVISION);
	pci_set_subsystem(pci, 0x1af4, 0x1100);
	pci_set_pin(pci, 0);
	pci->rom_default = "efi-rtl8139.rom";
	r->ports = r->mmio = (struct io_region){.name = "rtl8139", .ops = &window_ops, .opaque = r,
						.size = RTL8139_REGS};
	pci_add_bar(pci, 0, &r->ports, true, false, false);
	pci_add_bar(pci, 1, &r->mmio, false, false, false);
	if (!net_card_create(&r->card, &card_ops, error))
		return false;
	aio_timer_init(&r->timer, r->card.backend->loop, timer_fired, r);
	aio_timer_init(&r->retry, r->card.backend->loop, retry_fired, r);
	for (unsigned n = 0; n < 2; n++)
		r->tx[n].packet = g_malloc(NET_CARD_PACKET_ROOM);
	uint16_t *words = r->eeprom.words;
	words[EEPROM_ID] = 0x8129;
	words[EEPROM_VENDOR] = 0x10ec;
	words[EEPROM_DEVICE] = 0x8139;
	words[EEPROM_SUBVENDOR] = 0x1af4;
	words[EEPROM_SUBSYSTEM] = 0x1100;
	for (unsigned i = 0; i < 3; i++)
		words[EEPROM_MAC + i] = le16_load(r->card.mac + 2 * i);
	return true;
}

static void reset(struct device *dev)
{
	struct rtl8139 *r = (struct rtl8139 *)dev;
	pci_device_reset(&r->card.pci);
	LOCK_SCOPE(&r->card.lock);
	memset(r->regs, 0, sizeof(r->regs));
	memset(&r->tally, 0, sizeof(r->tally));
	memcpy(r->regs + IDR0, r->card.mac, 6);
	phy_reset(r);
	software_reset(r);
	r->timer_from_ns = aio_now_ns();
}

static void destroy(struct device *dev)
{
	struct rtl8139 *r = (struct rtl8139 *)dev;
	net_card_destroy(&r->card);
	for (unsigned n = 0; n < 2; n++)
		g_free(r->tx[n].packet);
}

static const struct property properties[] = {
	NET_CARD_PROPERTIES(struct rtl8139, card),
	{.name = NULL},
};

const struct device_class rtl8139_class = {
	.name = "rtl8139", .description = "Realtek 8139C+ network card", .bus = "PCI",
	.category = "network", .properties = properties, .size = sizeof(struct rtl8139),
	.open = net_card_open, .create = create, .reset = reset, .start = net_card_start,
	.stop = net_card_stop, .destroy = destroy,
};
