/* SPDX-License-Identifier: GPL-2.0-or-later */
/* AHCI registers (AHCI 1.3.1, chapter 3), interrupts and the device's life. */
#include "dev/storage/ahci_int.h"

#include "aio/loop.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>

/* Generic host control registers. */
enum { HBA_CAP = 0x00, HBA_GHC = 0x04, HBA_IS = 0x08, HBA_PI = 0x0c, HBA_VS = 0x10,
       HBA_PORTS = 0x100, HBA_PORT_SIZE = 0x80 };
enum { GHC_HR = 1u << 0, GHC_IE = 1u << 1, GHC_AE = 1u << 31 };
/* 64-bit addresses, NCQ, command list override, AHCI only, Gen 3, 32 slots, 6 ports. */
enum { CAP_BITS = 1u << 31 | 1u << 30 | 1u << 24 | 1u << 18 | 3u << 20 | (AHCI_SLOTS - 1) << 8 |
		  (AHCI_PORTS - 1) };
enum { IE_WRITABLE = 0xfdc000ff, SCTL_DET = 15, SCTL_DET_RESET = 1, SCTL_DET_OFF = 4 };
enum { TFD_NONE = 0x7f, SIGNATURE_NONE = UINT32_MAX };

/* --- interrupts: under the lock -------------------------------------------------------------------- */

/* 10.7.2: a port's bit in IS is sticky; INTx is the level of IS and GHC.IE. */
static void update_interrupt(struct ahci *hba, bool fresh)
{
	bool level = hba->is && hba->ghc & GHC_IE;
	if (pci_msi_enabled(&hba->pci)) {
		if (level && fresh)
			pci_msi_notify(&hba->pci, 0);
		return;
	}
	pci_intx_set(&hba->pci, level);
}

void ahci_raise(struct ahci_port *port, uint32_t bits)
{
	struct ahci *hba = port->bus.hba;
	port->is |= bits;
	if (!(port->is & port->ie))
		return;
	bool fresh = bits & port->ie;
	hba->is |= 1u << port->bus.port;
	update_interrupt(hba, fresh);
}

void ahci_kick(struct ahci *hba)
{
	uint64_t one = 1;
	/* The counter cannot overflow: the loop takes it to zero long before. */
	ssize_t n = write(hba->kick, &one, sizeof(one));
	g_assert(n == sizeof(one) || errno == EAGAIN);
}

/* --- reset: under the lock -------------------------------------------------------------------------- */

void ahci_send_signature(struct ahci_port *port)
{
	if (!port->bus.unit)
		return;
	uint32_t signature = ata_signature(port->bus.unit);
	struct ata_request r = {.status = ATA_GOOD, .error = 1, .lba = signature >> 8,
				.count = signature & 0xff};
	if (!(port->cmd & CMD_FRE)) {
		port->signature_due = true; /* 10.3.1: posted when the area is enabled */
		return;
	}
	port->signature_due = false;
	port->sig = signature;
	ahci_post_d2h(port, &r, false);
}

void ahci_settle(struct ahci_port *port)
{
	if (port->running)
		return;
	unsigned pending = port->pending;
	port->pending = 0;
	if (pending & PENDING_STOP && !(port->cmd & CMD_ST))
		port->cmd &= ~(uint32_t)CMD_CR;
	if (pending & PENDING_RESET && port->bus.unit) {
		ata_unit_reset(port->bus.unit, false);
		port->ssts = SSTS_UP;
		port->serr |= SERR_DIAG_X;
		ahci_send_signature(port);
		ahci_raise(port, IS_PCS);
	}
}

/* Take the link down; it comes up in ahci_settle(). */
static void port_link_reset(struct ahci_port *port, bool up_again)
{
	port->generation++;
	port->ssts = 0;
	port->tfd = TFD_NONE;
	port->sig = SIGNATURE_NONE;
	port->soft_reset = port->signature_due = false;
	if (up_again)
		port->pending |= PENDING_RESET;
	ahci_settle(port);
	ahci_kick(port->bus.hba);
}

/* 10.4.3: everything but the addresses of list and FIS area. */
static void port_reset(struct ahci_port *port)
{
	port->is = port->ie = port->serr = port->sact = port->ci = port->sctl = 0;
	port->cmd = CMD_SUD | CMD_POD;
	port->halted = false;
	port->next_slot = 0;
	port->pending = 0;
	port_link_reset(port, true);
	/* The link has been up since power-on: nobody has to hear of it. */
	if (!port->running) {
		port->serr = 0;
		port->is = 0;
	}
}

static void hba_reset(struct ahci *hba)
{
	hba->ghc = GHC_AE;
	hba->is = 0;
	for (unsigned i = 0; i < AHCI_PORTS; i++)
		port_reset(&hba->ports[i]);
	update_interrupt(hba, false);
}

/* --- port registers --------------------------------------------------------------------------------- */

static uint32_t port_read(const struct ahci_port *port, unsigned offset)
{
	switch (offset) {
	case PORT_CLB: return port->clb;
	case PORT_CLBU: return port->clbu;
	case PORT_FB: return port->fb;
	case PORT_FBU: return port->fbu;
	case PORT_IS: return port->is;
	case PORT_IE: return port->ie;
	case PORT_CMD: return port->cmd;
	case PORT_TFD: return port->tfd;
	case PORT_SIG: return port->sig;
	case PORT_SSTS: return port->ssts;
	case PORT_SCTL: return port->sctl;
	case PORT_SERR: return port->serr;
	case PORT_SACT: return port->sact;
	case PORT_CI: return port->ci;
	default: return 0;
	}
}

/* Clearing ST takes all commands back; CR stays until the last one in flight has ended (10.3.2). */
static void port_stop(struct ahci_port *port)
{
	port->generation++;
	port->ci = port->sact = 0;
	port->cmd &= ~(31u << CMD_CCS_SHIFT);
	port->halted = false;
	port->next_slot = 0;
	port->pending |= PENDING_STOP;
	ahci_settle(port);
	ahci_kick(port->bus.hba);
}

static void write_cmd(struct ahci_port *port, uint32_t value)
{
	uint32_t old = port->cmd;
	port->cmd = (old & ~(uint32_t)CMD_WRITABLE) | (value & CMD_WRITABLE);
	if (value & CMD_CLO && !(port->cmd & CMD_ST))
		port->tfd &= ~(uint32_t)(ATA_BSY | ATA_DRQ);
	if (port->cmd & CMD_FRE) {
		port->cmd |= CMD_FR;
		if (port->signature_due)
			ahci_send_signature(port);
	} else {
		port->cmd &= ~(uint32_t)CMD_FR;
	}
	if (port->cmd & CMD_ST) {
		port->cmd |= CMD_CR;
		if (!(old & CMD_ST))
			ahci_kick(port->bus.hba);
	} else if (old & CMD_ST) {
		port_stop(port);
	}
}

/* 3.3.11: COMRESET goes out while DET is 1; the device answers when it is 0 again. */
static void write_sctl(struct ahci_port *port, uint32_t value)
{
	unsigned old = port->sctl & SCTL_DET, det = value & SCTL_DET;
	port->sctl = value & 0xfff;
	if (det == SCTL_DET_RESET || det == SCTL_DET_OFF) {
		port->pending &= ~(unsigned)PENDING_RESET;
		port_link_reset(port, false);
		if (det == SCTL_DET_OFF)
			port->ssts = 4;
	} else if (det == 0 && (old == SCTL_DET_RESET || old == SCTL_DET_OFF)) {
		port_link_reset(port, true);
	}
}

static void port_write(struct ahci_port *port, unsigned offset, uint32_t value)
{
	struct ahci *hba = port->bus.hba;
	switch (offset) {
	case PORT_CLB:
		port->clb = value & ~0x3ffu;
		break;
	case PORT_CLBU:
		port->clbu = value;
		break;
	case PORT_FB:
		port->fb = value & ~0xffu;
		break;
	case PORT_FBU:
		port->fbu = value;
		break;
	case PORT_IS:
		/* PCS mirrors SERR.DIAG.X and is cleared there. */
		port->is &= ~(value & ~(uint32_t)IS_PCS);
		break;
	case PORT_IE:
		port->ie = value & IE_WRITABLE;
		if (port->is & port->ie) {
			hba->is |= 1u << port->bus.port;
			update_interrupt(hba, true);
		}
		break;
	case PORT_CMD:
		write_cmd(port, value);
		break;
	case PORT_SCTL:
		write_sctl(port, value);
		break;
	case PORT_SERR:
		port->serr &= ~value;
		if (!(port->serr & SERR_DIAG_X))
			port->is &= ~(uint32_t)IS_PCS;
		break;
	case PORT_SACT:
		if (port->cmd & CMD_ST)
			port->sact |= value;
		break;
	case PORT_CI:
		if (port->cmd & CMD_ST) {
			port->ci |= value;
			ahci_kick(hba);
		}
		break;
	default: /* read-only or not there */
		break;
	}
}

/* --- the register window ------------------------------------------------------------------------------ */

static uint32_t hba_read(const struct ahci *hba, unsigned offset)
{
	switch (offset) {
	case HBA_CAP: return CAP_BITS;
	case HBA_GHC: return hba->ghc;
	case HBA_IS: return hba->is;
	case HBA_PI: return (1u << AHCI_PORTS) - 1;
	case HBA_VS: return 0x00010301;
	default: return 0;
	}
}

static void hba_write(struct ahci *hba, unsigned offset, uint32_t value)
{
	switch (offset) {
	case HBA_GHC:
		if (value & GHC_HR) {
			hba_reset(hba);
			return;
		}
		hba->ghc = GHC_AE | (value & GHC_IE);
		update_interrupt(hba, true);
		break;
	case HBA_IS:
		hba->is &= ~value;
		/* A port that still has a cause sets its bit again (10.7.2.1). */
		for (unsigned i = 0; i < AHCI_PORTS; i++)
			if (hba->ports[i].is & hba->ports[i].ie)
				hba->is |= 1u << i;
		update_interrupt(hba, true);
		break;
	default:
		break;
	}
}

static uint64_t region_read(void *opaque, uint64_t offset, unsigned size)
{
	struct ahci *hba = opaque;
	unsigned at = (unsigned)offset & ~3u;
	if (at < HBA_PORTS)
		return hba_read(hba, at);
	unsigned port = (at - HBA_PORTS) / HBA_PORT_SIZE;
	return port < AHCI_PORTS ? port_read(&hba->ports[port], at % HBA_PORT_SIZE) : 0;
}

static void region_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct ahci *hba = opaque;
	/* 3: registers are written whole; what is not is undefined, here ignored. */
	if (size != 4 || offset % 4)
		return;
	if (offset < HBA_PORTS) {
		hba_write(hba, (unsigned)offset, (uint32_t)value);
		return;
	}
	unsigned port = ((unsigned)offset - HBA_PORTS) / HBA_PORT_SIZE;
	if (port < AHCI_PORTS)
		port_write(&hba->ports[port], offset % HBA_PORT_SIZE, (uint32_t)value);
}

static const struct io_ops region_ops = {region_read, region_write, .min_size = 4, .max_size = 4};

/* --- ports as buses -------------------------------------------------------------------------------------- */

struct ide_bus *ahci_bus(struct device *dev, unsigned port)
{
	struct ahci *hba = (struct ahci *)dev;
	g_assert(port < AHCI_PORTS);
	hba->ports[port].bus.hba = hba;
	hba->ports[port].bus.port = port;
	return &hba->ports[port].bus;
}

bool ide_bus_is_free(const struct ide_bus *bus)
{
	return !bus->unit;
}

bool ide_bus_attach(struct ide_bus *bus, struct ata_unit *unit, GError **error)
{
	struct ahci_port *port = &bus->hba->ports[bus->port];
	if (bus->unit)
		return error_set(error, BERTH_ERR_BUSY,
				 "SATA port %u already has a device: a port takes one", bus->port);
	port->slots = g_new0(struct ahci_slot, AHCI_SLOTS);
	LOCK_SCOPE(&bus->hba->lock);
	bus->unit = unit;
	port_link_reset(port, true);
	return true;
}

void ide_bus_detach(struct ide_bus *bus, struct ata_unit *unit)
{
	struct ahci_port *port = &bus->hba->ports[bus->port];
	if (bus->unit != unit)
		return;
	LOCK_SCOPE(&bus->hba->lock);
	g_assert(!port->running);
	bus->unit = NULL;
	port_link_reset(port, false);
	port->serr |= SERR_DIAG_X;
	ahci_raise(port, IS_PCS);
	g_clear_pointer(&port->slots, g_free);
}

char *ata_unit_boot_path(struct device *dev)
{
	const struct ide_bus *bus = dev->bus;
	if (!bus || !bus->hba->pci.bus)
		return NULL;
	unsigned devfn = bus->hba->pci.devfn;
	g_autofree char *function = devfn & 7 ? g_strdup_printf(",%x", devfn & 7) : g_strdup("");
	return g_strdup_printf("/pci@i0cf8/pci8086,2922@%x%s/drive@%x/disk@0", devfn >> 3, function,
			       bus->port);
}

/* --- life ------------------------------------------------------------------------------------------------- */

static void kicked(void *opaque, int fd, uint32_t events)
{
	uint64_t count;
	if (read(fd, &count, sizeof(count)) == sizeof(count))
		ahci_run(opaque);
}

static bool hba_open(struct device *dev, GError **error)
{
	struct ahci *hba = (struct ahci *)dev;
	hba->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (hba->kick < 0)
		return error_set_errno(error, errno, "ahci: cannot make an eventfd");
	return true;
}

static bool hba_create(struct device *dev, GError **error)
{
	struct ahci *hba = (struct ahci *)dev;
	pthread_mutex_init(&hba->lock, NULL);
	for (unsigned i = 0; i < AHCI_PORTS; i++)
		ahci_bus(dev, i);
	pci_set_identity(&hba->pci, 0x8086, 0x2922, 0x010601, 0x02);
	pci_set_subsystem(&hba->pci, 0x1af4, 0x1100);
	pci_set_pin(&hba->pci, 0);
	hba->region = (struct io_region){.name = "ahci", .ops = &region_ops, .opaque = hba,
					 .size = AHCI_REGS_SIZE, .lock = &hba->lock};
	pci_add_bar(&hba->pci, 5, &hba->region, false, false, false);
	pci_add_msi(&hba->pci, 1);
	hba->watch = aio_watch_add(dev->vm->loop, hba->kick, POLLIN, kicked, hba);
	return true;
}

/* Returns with nothing in flight. Draining runs the loop, so commands must not start meanwhile. */
static void drain(struct ahci *hba)
{
	pthread_mutex_lock(&hba->lock);
	bool started = hba->started;
	hba->started = false;
	pthread_mutex_unlock(&hba->lock);
	for (unsigned i = 0; i < AHCI_PORTS; i++) {
		struct ata_unit *unit = hba->ports[i].bus.unit;
		if (unit && unit->node)
			block_drain(unit->node);
	}
	LOCK_SCOPE(&hba->lock);
	hba->started = started;
}

static void hba_device_reset(struct device *dev)
{
	struct ahci *hba = (struct ahci *)dev;
	drain(hba);
	for (unsigned i = 0; i < AHCI_PORTS; i++)
		if (hba->ports[i].bus.unit)
			ata_unit_drop_retries(hba->ports[i].bus.unit);
	pci_device_reset(&hba->pci);
	LOCK_SCOPE(&hba->lock);
	for (unsigned i = 0; i < AHCI_PORTS; i++) {
		struct ahci_port *port = &hba->ports[i];
		port->clb = port->clbu = port->fb = port->fbu = 0;
		if (port->bus.unit)
			ata_unit_reset(port->bus.unit, true);
	}
	hba_reset(hba);
}

static void hba_start(struct device *dev)
{
	struct ahci *hba = (struct ahci *)dev;
	for (unsigned i = 0; i < AHCI_PORTS; i++)
		if (hba->ports[i].bus.unit)
			ata_unit_retry(hba->ports[i].bus.unit);
	LOCK_SCOPE(&hba->lock);
	hba->started = true;
	ahci_kick(hba);
}

static void hba_stop(struct device *dev)
{
	struct ahci *hba = (struct ahci *)dev;
	{
		LOCK_SCOPE(&hba->lock);
		hba->started = false;
	}
	drain(hba);
}

static void hba_destroy(struct device *dev)
{
	struct ahci *hba = (struct ahci *)dev;
	if (!hba->watch) {
		if (hba->kick > 0)
			close(hba->kick);
		return;
	}
	hba_stop(dev);
	for (unsigned i = 0; i < AHCI_PORTS; i++) {
		struct ahci_port *port = &hba->ports[i];
		if (port->bus.unit)
			port->bus.unit->dev.bus = NULL;
		g_free(port->slots);
	}
	aio_watch_remove(hba->watch);
	close(hba->kick);
	pci_device_cleanup(&hba->pci);
	pthread_mutex_destroy(&hba->lock);
}

static const struct property ahci_properties[] = {
	PCI_PROPERTIES(struct ahci, pci),
	{.name = NULL},
};

const struct device_class ahci_class = {
	.name = "ich9-ahci", .alias = "ahci", .description = "SATA controller (AHCI, 6 ports)",
	.bus = "PCI", .category = "storage", .properties = ahci_properties,
	.size = sizeof(struct ahci), .open = hba_open, .create = hba_create,
	.reset = hba_device_reset, .start = hba_start, .stop = hba_stop, .destroy = hba_destroy,
};
