/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Commands of an AHCI port (AHCI 5.5, 5.6): from a slot's header and table to the unit, and the
 * outcome back. All of it on vm->loop; the lock is taken for registers only, never round a call of
 * the unit.
 *
 * When the guest stops the port, resets it or makes it fail while commands are in flight, these
 * become nobody's (their generation is old) and PxCMD.CR or the link's state tells the guest that it
 * must wait for them.
 */
#include "dev/storage/ahci_int.h"

#include "aio/loop.h"

enum { HEADER_SIZE = 32, TABLE_PACKET = 0x40, TABLE_PRDT = 0x80, PRD_SIZE = 16 };
enum { FIS_H2D = 0x27, FIS_COMMAND = 1 << 7, CONTROL_SRST = 1 << 2 };
enum { COMMAND_PACKET = 0xa0, COMMAND_READ_FPDMA = 0x60, COMMAND_WRITE_FPDMA = 0x61,
       COMMAND_DEVICE_RESET = 0x08 };
/* A guest that refills slots as fast as they finish must leave the loop to others. */
enum { BUDGET = 64 };

static struct space *memory_of(const struct ahci_port *port)
{
	return port->bus.hba->pci.dev.vm->memory;
}

/* --- data: the PRD table ---------------------------------------------------------------------------- */

static bool add_piece(struct ahci_slot *slot, uint64_t addr, uint64_t *length, bool to_guest)
{
	struct ata_request *r = &slot->request;
	void *host = space_dma_map(memory_of(slot->port), addr, length, to_guest);
	if (!host || *length == 0) {
		slot->bad_memory = true;
		return false;
	}
	r->addresses[r->iov_count] = addr;
	r->iov[r->iov_count++] = (struct iovec){host, *length};
	return true;
}

/* Take bytes off the end until whole sectors are left, and step back in the table. */
static uint64_t trim_to_sectors(struct ahci_slot *slot, uint64_t total, uint64_t excess)
{
	struct ata_request *r = &slot->request;
	total -= excess;
	while (excess) {
		struct iovec *last = &r->iov[r->iov_count - 1];
		uint64_t n = MIN(excess, last->iov_len);
		/* A piece never spans table entries; its entry's start was left behind at most. */
		last->iov_len -= n;
		excess -= n;
		if (last->iov_len == 0)
			r->iov_count--;
	}
	return total;
}

/*
 * An entry (4.2.3.3) has an even length up to 4 MiB: the register holds it less one. If a round ends
 * inside the table, the place is recomputed from the bytes taken; entries are read again, and a
 * guest that changes them meanwhile only harms itself, because every piece is mapped anew.
 */
static void seek(struct ahci_slot *slot, unsigned prd, uint64_t offset)
{
	slot->prd = prd;
	slot->prd_offset = offset;
}

static uint64_t slot_map(struct ata_request *r, uint64_t wanted, bool to_guest)
{
	struct ahci_slot *slot = (struct ahci_slot *)r;
	struct {
		unsigned prd;
		uint64_t offset;
	} starts[ATA_IOV_MAX];
	uint64_t total = 0;
	r->iov_count = 0;
	while (total < wanted && r->iov_count < ATA_IOV_MAX && slot->prd < slot->prd_count) {
		uint8_t entry[PRD_SIZE];
		if (!space_dma_read(memory_of(slot->port),
				    slot->table + TABLE_PRDT + (uint64_t)slot->prd * PRD_SIZE, entry,
				    sizeof(entry))) {
			slot->bad_memory = true;
			break;
		}
		uint32_t flags = le32_load(entry + 12);
		uint64_t size = ((flags & 0x3fffff) | 1) + 1;
		if (slot->prd_offset >= size) {
			seek(slot, slot->prd + 1, 0);
			continue;
		}
		uint64_t n = MIN(size - slot->prd_offset, wanted - total);
		if (slot->prd_offset + n == size)
			slot->prd_flags |= flags;
		starts[r->iov_count].prd = slot->prd;
		starts[r->iov_count].offset = slot->prd_offset;
		if (!add_piece(slot, (le64_load(entry) & ~UINT64_C(1)) + slot->prd_offset, &n,
			       to_guest))
			break;
		slot->prd_offset += n;
		total += n;
	}
	if (total < wanted) {
		if (r->iov_count < ATA_IOV_MAX)
			slot->short_buffer = true;
		uint64_t excess = total % ATA_SECTOR;
		if (excess && !slot->short_buffer) {
			unsigned before = r->iov_count;
			total = trim_to_sectors(slot, total, excess);
			/* The next round starts where the last kept piece ends. */
			unsigned last = r->iov_count - 1;
			g_assert(r->iov_count > 0 && r->iov_count <= before);
			seek(slot, starts[last].prd, starts[last].offset + r->iov[last].iov_len);
		}
	}
	slot->moved += total;
	return total;
}

static void slot_wrote(struct ata_request *r, uint64_t length)
{
	struct space *memory = memory_of(((struct ahci_slot *)r)->port);
	for (unsigned i = 0; i < r->iov_count && length; i++) {
		uint64_t n = MIN(length, r->iov[i].iov_len);
		space_note_write(memory, r->addresses[i], n);
		length -= n;
	}
}

/* --- completion -------------------------------------------------------------------------------------- */

/* Under the lock. The command is still the guest's. */
static void report(struct ahci_port *port, struct ahci_slot *slot)
{
	struct ata_request *r = &slot->request;
	uint32_t bit = 1u << r->tag;
	bool failed = r->status & (ATA_ERR | ATA_DEVICE_FAULT);
	if (slot->bad_memory)
		ahci_raise(port, IS_HBDS);
	if (slot->short_buffer && failed)
		ahci_raise(port, IS_OFS);
	if (r->queued) {
		ahci_post_set_bits(port, r, failed ? 0 : bit);
	} else {
		/* A failed command's bit stays set (6.2.2.1). */
		if (!failed)
			port->ci &= ~bit;
		if (r->pio_in && !failed)
			ahci_post_pio_setup(port, r, slot->moved);
		else
			ahci_post_d2h(port, r, true);
	}
	if (slot->prd_flags >> 31)
		ahci_raise(port, IS_DPS);
	if (failed) {
		port->halted = true;
		ahci_raise(port, IS_TFES);
	}
}

static void slot_done(struct ata_request *r)
{
	struct ahci_slot *slot = (struct ahci_slot *)r;
	struct ahci_port *port = slot->port;
	struct ahci *hba = port->bus.hba;
	uint8_t moved[4];
	bool queued = r->queued;
	LOCK_SCOPE(&hba->lock);
	port->running &= ~(1u << r->tag);
	if (!queued)
		port->exclusive = false;
	if (port->running_generation[r->tag] == port->generation) {
		/* PRDBC is not maintained for queued commands (5.4.2). */
		le32_store(moved, (uint32_t)MIN(slot->moved, UINT32_MAX));
		if (!queued)
			space_dma_write(memory_of(port), slot->header + 4, moved, sizeof(moved));
		report(port, slot);
	}
	ahci_kick(hba);
}

static const struct ata_host_ops slot_host = {slot_map, slot_wrote, slot_done};

/* --- start -------------------------------------------------------------------------------------------- */

static uint64_t lba_of(const uint8_t *fis)
{
	return (uint64_t)fis[4] | (uint64_t)fis[5] << 8 | (uint64_t)fis[6] << 16 |
	       (uint64_t)fis[8] << 24 | (uint64_t)fis[9] << 32 | (uint64_t)fis[10] << 40;
}

/* Under the lock: the slot is free again. Its bit in PxCI goes if it is still the guest's command. */
static void end_slot(struct ahci_port *port, unsigned tag, bool done)
{
	port->running &= ~(1u << tag);
	port->exclusive = false;
	if (done && port->running_generation[tag] == port->generation)
		port->ci &= ~(1u << tag);
	ahci_kick(port->bus.hba);
}

/* A control FIS: soft reset begins with SRST and ends without it (Serial ATA 3.0, 11.4). */
static void control(struct ahci_port *port, const uint8_t *fis, unsigned tag)
{
	bool srst = fis[15] & CONTROL_SRST;
	LOCK_SCOPE(&port->bus.hba->lock);
	bool ended = port->soft_reset && !srst;
	port->soft_reset = srst;
	end_slot(port, tag, true);
	if (srst)
		port->tfd = (port->tfd & ~0xffu) | ATA_BSY;
	if (ended) {
		ata_unit_reset(port->bus.unit, false);
		ahci_send_signature(port);
	}
}

/* Reading the slot failed: nothing was done (6.1.2, a fatal host bus error). */
static void bus_error(struct ahci_port *port, unsigned tag)
{
	LOCK_SCOPE(&port->bus.hba->lock);
	log_guest_fault("ahci: port %u, slot %u: the command is not in RAM", port->bus.port, tag);
	end_slot(port, tag, false);
	port->halted = true;
	ahci_raise(port, IS_HBFS);
}

static void packet_device_reset(struct ahci_port *port, unsigned tag)
{
	LOCK_SCOPE(&port->bus.hba->lock);
	ata_unit_reset(port->bus.unit, false);
	end_slot(port, tag, true);
	ahci_send_signature(port);
}

/* `fis` is a command. Queued ones leave PxCI at once: SACT holds them (5.6.2.2). */
static void command(struct ahci_port *port, unsigned tag, const uint8_t *fis, const uint8_t *packet)
{
	struct ahci_slot *slot = &port->slots[tag];
	struct ata_request *r = &slot->request;
	r->unit = port->bus.unit;
	r->host = &slot_host;
	r->tag = tag;
	r->command = fis[2];
	r->feature = (uint16_t)(fis[3] | fis[11] << 8);
	r->lba = lba_of(fis);
	r->device = fis[7];
	r->count = (uint16_t)(fis[12] | fis[13] << 8);
	memcpy(r->packet, packet, sizeof(r->packet));
	bool queued = !r->unit->cd &&
		      (r->command == COMMAND_READ_FPDMA || r->command == COMMAND_WRITE_FPDMA);
	{
		LOCK_SCOPE(&port->bus.hba->lock);
		port->cmd = (port->cmd & ~(31u << CMD_CCS_SHIFT)) | tag << CMD_CCS_SHIFT;
		if (queued)
			port->exclusive = false;
		if (queued && port->running_generation[tag] == port->generation)
			port->ci &= ~(1u << tag);
	}
	if (r->command == COMMAND_DEVICE_RESET && r->unit->cd)
		packet_device_reset(port, tag);
	else
		ata_execute(r);
}

static void start_slot(struct ahci_port *port, unsigned tag, uint64_t list)
{
	struct space *memory = memory_of(port);
	struct ahci_slot *slot = &port->slots[tag];
	uint8_t header[HEADER_SIZE], fis[20], packet[16];
	slot->port = port;
	slot->header = list + (uint64_t)tag * HEADER_SIZE;
	if (!space_dma_read(memory, slot->header, header, sizeof(header))) {
		bus_error(port, tag);
		return;
	}
	slot->table = le64_load(header + 8) & ~UINT64_C(0x7f);
	slot->prd_count = le16_load(header + 2);
	slot->prd_flags = 0;
	slot->moved = 0;
	slot->short_buffer = slot->bad_memory = false;
	seek(slot, 0, 0);
	if (!space_dma_read(memory, slot->table, fis, sizeof(fis)) ||
	    !space_dma_read(memory, slot->table + TABLE_PACKET, packet, sizeof(packet))) {
		bus_error(port, tag);
		return;
	}
	if (fis[0] == FIS_H2D && fis[1] & FIS_COMMAND) {
		command(port, tag, fis, packet);
		return;
	}
	if (fis[0] == FIS_H2D) {
		control(port, fis, tag);
		return;
	}
	log_guest_fault("ahci: port %u, slot %u: unknown FIS type 0x%02x", port->bus.port, tag, fis[0]);
	LOCK_SCOPE(&port->bus.hba->lock);
	end_slot(port, tag, true);
}

/* Is the command in this slot a queued one? A look before it is started. */
static bool is_queued(struct ahci_port *port, unsigned tag, uint64_t list)
{
	uint8_t header[HEADER_SIZE], fis[3];
	struct space *memory = memory_of(port);
	if (!space_dma_read(memory, list + (uint64_t)tag * HEADER_SIZE, header, sizeof(header)) ||
	    !space_dma_read(memory, le64_load(header + 8) & ~UINT64_C(0x7f), fis, sizeof(fis)))
		return false;
	return !port->bus.unit->cd &&
	       (fis[2] == COMMAND_READ_FPDMA || fis[2] == COMMAND_WRITE_FPDMA);
}

/* Take the next slot that may start now; -1: none. */
static int choose(struct ahci_port *port, uint64_t *list)
{
	struct ahci *hba = port->bus.hba;
	LOCK_SCOPE(&hba->lock);
	ahci_settle(port);
	uint32_t ready = port->ci & ~port->running;
	if (!hba->started || !(port->cmd & CMD_ST) || port->halted || port->pending ||
	    !port->bus.unit || !pci_dma_enabled(&hba->pci) || !ready || port->exclusive)
		return -1;
	*list = (uint64_t)port->clbu << 32 | port->clb;
	unsigned tag = port->next_slot;
	while (!(ready & 1u << tag))
		tag = (tag + 1) % AHCI_SLOTS;
	/* What is not queued waits until the queue is empty. */
	if (port->running && !is_queued(port, tag, *list))
		return -1;
	port->next_slot = (tag + 1) % AHCI_SLOTS;
	port->running |= 1u << tag;
	port->exclusive = true; /* unless it turns out to be queued */
	port->running_generation[tag] = port->generation;
	return (int)tag;
}

static void port_run(struct ahci_port *port)
{
	uint64_t list;
	for (unsigned budget = BUDGET; budget; budget--) {
		int tag = choose(port, &list);
		if (tag < 0)
			return;
		start_slot(port, (unsigned)tag, list);
	}
	ahci_kick(port->bus.hba);
}

void ahci_run(struct ahci *hba)
{
	for (unsigned i = 0; i < AHCI_PORTS; i++)
		port_run(&hba->ports[i]);
}
