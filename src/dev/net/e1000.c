/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Intel's gigabit cards: registers and the device's life. */
#include "dev/net/e1000_int.h"

#include "base/lock.h"
#include "dev/net/cards.h"
#include "vm/vm.h"

enum { MMIO_SIZE = 0x20000, PORTS_SIZE = 0x40, IOADDR = 0, IODATA = 4, MSIX_BAR = 3 };
enum { RING_LEN_MASK = 0xfff80, RING_BAL_MASK = ~15u };

static const struct e1000_model e1000_82540em = {
	.device = 0x100e, .revision = 3, .subsystem_vendor = 0x1af4, .subsystem = 0x1100,
	.phy_id = 0x0c20, .rom = "efi-e1000.rom",
};
static const struct e1000_model e1000e_82574l = {
	.device = 0x10d3, .revision = 0, .subsystem_vendor = 0x8086, .subsystem = 0, .express = true,
	.phy_id = 0x0cb1, .rom = "efi-e1000e.rom",
};

/* --- rings ----------------------------------------------------------------------------------------- */

bool e1000_ring(const struct e1000 *e, unsigned block, unsigned queue, unsigned size,
		struct e1000_ring *ring)
{
	unsigned at = block + queue * RING_STRIDE;
	*ring = (struct e1000_ring){
		.base = e1000_get(e, at + RING_BAL) | (uint64_t)e1000_get(e, at + RING_BAH) << 32,
		.count = e1000_get(e, at + RING_LEN) / size, .head = e1000_get(e, at + RING_HEAD),
		.tail = e1000_get(e, at + RING_TAIL), .at = at,
	};
	return ring->head < ring->count && ring->tail < ring->count;
}

unsigned e1000_ring_ours(const struct e1000_ring *ring)
{
	return ring->tail >= ring->head ? ring->tail - ring->head :
					  ring->tail + ring->count - ring->head;
}

void e1000_ring_advance(struct e1000 *e, struct e1000_ring *ring)
{
	ring->head = ring->head + 1 == ring->count ? 0 : ring->head + 1;
	e1000_set(e, ring->at + RING_HEAD, ring->head);
}

/* --- time ------------------------------------------------------------------------------------------ */

/* 10.2.10: every so many ticks of 25 MHz the time goes on by so much. */
static uint64_t system_time(const struct e1000 *e)
{
	uint32_t timinca = e1000_get(e, TIMINCA);
	unsigned period = timinca >> 24;
	uint64_t ticks = (uint64_t)(aio_now_ns() - e->time_from_ns) / 40;
	return e->time_base + (period ? ticks / period * (timinca & 0xffffff) : 0);
}

static void set_time(struct e1000 *e, uint64_t base)
{
	e->time_base = base;
	e->time_from_ns = aio_now_ns();
}

/* --- reset ----------------------------------------------------------------------------------------- */

/* All but the PHY and PCI: what CTRL.RST does. */
static void software_reset(struct e1000 *e)
{
	memset(e->regs, 0, sizeof(e->regs));
	e1000_set(e, CTRL, CTRL_FD | CTRL_SLU);
	e1000_set(e, STATUS, STATUS_FD | STATUS_SPEED_1000 | (e->card.link_up ? STATUS_LU : 0));
	e1000_set(e, VET, 0x8100);
	e1000_set(e, PBA, e->model->express ? 0x00140014 : 0x00100030);
	e1000_set(e, LEDCTL, 0x07068302);
	e1000_set(e, RXCSUM, RXCSUM_IPOFL | RXCSUM_TUOFL);
	e1000_set(e, EEMNGCTL, UINT32_C(1) << 31); /* the NVM's configuration is done */
	e1000_set(e, RAL0, le32_load(e->card.mac));
	e1000_set(e, RAH0, le16_load(e->card.mac + 4) | RAH_AV);
	set_time(e, 0);
	e1000_tx_reset(e);
	e1000_irq_reset(e);
}

/* --- registers: under the lock ---------------------------------------------------------------------- */

static uint32_t read_register(struct e1000 *e, unsigned reg)
{
	uint32_t value;
	switch (reg) {
	case STATUS:
		return e1000_get(e, STATUS) | (e1000_get(e, CTRL) & CTRL_GIO_DISABLE ? 0 : STATUS_GIO);
	case ICR:
		return e1000_read_icr(e);
	case ICS:
	case IMC:
		return 0; /* write-only */
	case EECD:
		return e1000_read_eecd(e);
	case SYSTIML: {
		/* The upper half is what it is now, until the lower one is read again. */
		uint64_t now = system_time(e);
		e1000_set(e, SYSTIMH, now >> 32);
		return (uint32_t)now;
	}
	case STATS ... STATS_END - 4:
		value = e1000_get(e, reg);
		e1000_set(e, reg, 0);
		return value;
	default:
		return e1000_get(e, reg);
	}
}

static void write_ctrl(struct e1000 *e, uint32_t value)
{
	if (value & CTRL_RST) {
		software_reset(e);
		return;
	}
	e1000_set(e, CTRL, value & ~(uint32_t)CTRL_PHY_RST);
	if (value & CTRL_PHY_RST)
		e1000_phy_reset(e);
}

/* A register of a ring. True: the loop has something to do. */
static bool write_ring(struct e1000 *e, unsigned reg, uint32_t value)
{
	switch (reg % RING_STRIDE) {
	case RING_BAL:
		e1000_set(e, reg, value & RING_BAL_MASK);
		return false;
	case RING_LEN:
		e1000_set(e, reg, value & RING_LEN_MASK);
		return false;
	case RING_HEAD:
		e1000_set(e, reg, value & 0xffff);
		return false;
	case RING_TAIL:
		e1000_set(e, reg, value & 0xffff);
		return true;
	default:
		e1000_set(e, reg, value);
		return false;
	}
}

/* True: the loop has something to do. */
static bool write_register(struct e1000 *e, unsigned reg, uint32_t value)
{
	switch (reg) {
	case STATUS:
	case FWSM:
	case STATS ... STATS_END - 4:
		break; /* read-only */
	case CTRL:
		write_ctrl(e, value);
		break;
	case EECD:
		e1000_write_eecd(e, value);
		break;
	case EERD:
		e1000_write_eerd(e, value);
		break;
	case MDIC:
		e1000_write_mdic(e, value);
		break;
	case ICR ... EITR0 + 4 * (E1000_VECTORS - 1):
		e1000_write_interrupt(e, reg, value);
		break;
	case CTRL_EXT:
		/* EE_RST reads the NVM again, and PBA_CLR what is done at once: both end by themselves. */
		e1000_set(e, CTRL_EXT, value & ~(uint32_t)(CTRL_EXT_EE_RST | CTRL_EXT_PBA_CLR |
							    CTRL_EXT_ASDCHK));
		break;
	case RCTL:
	case TCTL:
		e1000_set(e, reg, value);
		return true;
	case RX_RING ... RX_RING + 2 * RING_STRIDE - 4:
	case TX_RING ... TX_RING + 2 * RING_STRIDE - 4:
		return write_ring(e, reg, value);
	case TIMINCA: {
		uint64_t now = system_time(e);
		e1000_set(e, TIMINCA, value);
		set_time(e, now);
		break;
	}
	case SYSTIML:
		set_time(e, value | (system_time(e) & ~UINT64_C(0xffffffff)));
		break;
	case SYSTIMH:
		set_time(e, (uint64_t)value << 32 | (uint32_t)system_time(e));
		break;
	default:
		e1000_set(e, reg, value);
		break;
	}
	return false;
}

static uint64_t get(struct e1000 *e, uint64_t offset)
{
	if (offset >= E1000_REGS_END)
		return 0;
	LOCK_SCOPE(&e->card.lock);
	return read_register(e, offset & ~3u);
}

static void put(struct e1000 *e, uint64_t offset, uint32_t value)
{
	if (offset >= E1000_REGS_END)
		return;
	pthread_mutex_lock(&e->card.lock);
	bool kick = write_register(e, offset, value);
	pthread_mutex_unlock(&e->card.lock);
	if (kick)
		net_card_kick(&e->card);
}

/* --- windows ---------------------------------------------------------------------------------------- */

static uint64_t mmio_read(void *opaque, uint64_t offset, unsigned size)
{
	return get(opaque, offset);
}

/* Registers are written whole; what is not is undefined (10.2), here ignored. */
static void mmio_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	if (size == 4 && !(offset & 3))
		put(opaque, offset, (uint32_t)value);
}

static const struct io_ops mmio_ops = {mmio_read, mmio_write, .min_size = 4, .max_size = 4};

/* 82574 datasheet, 10.2.1.2: two ports, an address and what is there. */
static uint64_t ports_read(void *opaque, uint64_t offset, unsigned size)
{
	struct e1000 *e = opaque;
	uint32_t address;
	{
		LOCK_SCOPE(&e->card.lock);
		address = e->port_address;
	}
	return offset == IOADDR ? address : offset == IODATA ? get(e, address) : 0;
}

static void ports_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct e1000 *e = opaque;
	uint32_t address;
	if (size != 4)
		return;
	{
		LOCK_SCOPE(&e->card.lock);
		if (offset == IOADDR)
			e->port_address = (uint32_t)value & ~3u;
		address = e->port_address;
	}
	if (offset == IODATA)
		put(e, address, (uint32_t)value);
}

static const struct io_ops ports_ops = {ports_read, ports_write, .min_size = 4, .max_size = 4};

/* There is no flash: its window reads as ones. */
static uint64_t flash_read(void *opaque, uint64_t offset, unsigned size)
{
	return size_mask(size);
}

static void flash_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
}

static const struct io_ops flash_ops = {flash_read, flash_write, .min_size = 1, .max_size = 8};

/* --- life -------------------------------------------------------------------------------------------- */

static void link_changed(struct net_card *card)
{
	struct e1000 *e = (struct e1000 *)card;
	e1000_phy_link(e);
	e1000_raise(e, INT_LSC);
}

static void cancel_timers(struct net_card *card)
{
	aio_timer_cancel(&((struct e1000 *)card)->timer);
}

static const struct net_card_ops card_ops = {
	.transmit = e1000_transmit, .can_receive = e1000_can_receive, .receive = e1000_receive,
	.link_changed = link_changed, .cancel_timers = cancel_timers,
};

static void describe(struct e1000 *e)
{
	struct pci_device *pci = &e->card.pci;
	const struct e1000_model *model = e->model;
	pci_set_identity(pci, 0x8086, model->device, 0x020000, model->revision);
	pci_set_subsystem(pci, model->subsystem_vendor, model->subsystem);
	pci_set_pin(pci, 0);
	pci->rom_default = model->rom;
	e->mmio = (struct io_region){.name = "e1000", .ops = &mmio_ops, .opaque = e, .size = MMIO_SIZE};
	e->flash = (struct io_region){.name = "e1000-flash", .ops = &flash_ops, .size = MMIO_SIZE};
	e->ports = (struct io_region){.name = "e1000-ports", .ops = &ports_ops, .opaque = e,
				      .size = model->express ? PORTS_SIZE / 2 : PORTS_SIZE};
	pci_add_bar(pci, 0, &e->mmio, false, false, false);
	if (!model->express) {
		pci_add_bar(pci, 1, &e->ports, true, false, false);
		return;
	}
	pci_add_bar(pci, 1, &e->flash, false, false, false);
	pci_add_bar(pci, 2, &e->ports, true, false, false);
	pci_add_msi(pci, 1);
	pci_add_express(pci, pci_bus_is_link(pci->dev.bus) ? PCI_EXPRESS_ENDPOINT :
							     PCI_EXPRESS_INTEGRATED);
	pci_add_msix(pci, E1000_VECTORS, MSIX_BAR);
}

static bool create(struct device *dev, GError **error)
{
	struct e1000 *e = (struct e1000 *)dev;
	e->model = dev->class == &e1000e_class ? &e1000e_82574l : &e1000_82540em;
	describe(e);
	if (!net_card_create(&e->card, &card_ops, error))
		return false;
	aio_timer_init(&e->timer, e->card.backend->loop, e1000_irq_timer, e);
	for (unsigned q = 0; q < E1000_QUEUES; q++)
		e->tx[q].packet = g_malloc(NET_CARD_PACKET_ROOM);
	e1000_nvm_init(e);
	return true;
}

static void reset(struct device *dev)
{
	struct e1000 *e = (struct e1000 *)dev;
	pci_device_reset(&e->card.pci);
	LOCK_SCOPE(&e->card.lock);
	e->port_address = 0;
	software_reset(e);
	e1000_phy_reset(e);
}

static void destroy(struct device *dev)
{
	struct e1000 *e = (struct e1000 *)dev;
	net_card_destroy(&e->card);
	for (unsigned q = 0; q < E1000_QUEUES; q++)
		g_free(e->tx[q].packet);
}

static const struct property properties[] = {
	NET_CARD_PROPERTIES(struct e1000, card),
	{.name = NULL},
};

const struct device_class e1000_class = {
	.name = "e1000", .alias = "e1000-82540em", .description = "Intel 82540EM gigabit network card",
	.bus = "PCI", .category = "network", .properties = properties, .size = sizeof(struct e1000),
	.open = net_card_open, .create = create, .reset = reset, .start = net_card_start,
	.stop = net_card_stop, .destroy = destroy,
};

const struct device_class e1000e_class = {
	.name = "e1000e", .description = "Intel 82574L gigabit network card (PCIe)",
	.bus = "PCI", .category = "network", .properties = properties, .size = sizeof(struct e1000),
	.open = net_card_open, .create = create, .reset = reset, .start = net_card_start,
	.stop = net_card_stop, .destroy = destroy,
};
