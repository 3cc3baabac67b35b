/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * FISes from the device to the host, written to the area at PxFB (AHCI 4.2.1; Serial ATA 3.0, 10.5).
 * If that is not RAM the guest loses them, as with real hardware.
 */
#include "dev/storage/ahci_int.h"

enum { AREA_PIO = 0x20, AREA_D2H = 0x40, AREA_SET_BITS = 0x58 };
enum { FIS_D2H = 0x34, FIS_PIO_SETUP = 0x5f, FIS_SET_BITS = 0xa1, FIS_INTERRUPT = 1 << 6,
       FIS_TO_HOST = 1 << 5 };

static void post(struct ahci_port *port, unsigned at, const void *fis, unsigned length)
{
	uint64_t area = (uint64_t)port->fbu << 32 | port->fb;
	struct vm *vm = port->bus.hba->pci.dev.vm;
	if (!(port->cmd & CMD_FRE))
		return;
	if (!space_dma_write(vm->memory, area + at, fis, length))
		log_guest_fault("ahci: port %u: the FIS area at 0x%" G_GINT64_MODIFIER
				"x is not in RAM", port->bus.port, area);
}

/* The registers' part that D2H and PIO setup FISes share: bytes 2 to 13. */
static void put_registers(uint8_t *fis, const struct ata_request *r)
{
	fis[2] = r->status;
	fis[3] = r->error;
	fis[4] = (uint8_t)r->lba;
	fis[5] = (uint8_t)(r->lba >> 8);
	fis[6] = (uint8_t)(r->lba >> 16);
	fis[7] = r->device;
	fis[8] = (uint8_t)(r->lba >> 24);
	fis[9] = (uint8_t)(r->lba >> 32);
	fis[10] = (uint8_t)(r->lba >> 40);
	fis[12] = (uint8_t)r->count;
	fis[13] = (uint8_t)(r->count >> 8);
}

void ahci_post_d2h(struct ahci_port *port, const struct ata_request *r, bool interrupt)
{
	uint8_t fis[20] = {FIS_D2H, interrupt ? FIS_INTERRUPT : 0};
	put_registers(fis, r);
	post(port, AREA_D2H, fis, sizeof(fis));
	port->tfd = (uint32_t)r->error << 8 | r->status;
	if (interrupt)
		ahci_raise(port, IS_DHRS);
}

void ahci_post_pio_setup(struct ahci_port *port, const struct ata_request *r, uint64_t bytes)
{
	uint8_t fis[20] = {FIS_PIO_SETUP, FIS_TO_HOST | FIS_INTERRUPT};
	put_registers(fis, r);
	fis[2] = r->status | ATA_DRQ;
	fis[15] = r->status; /* the status after the data */
	le16_store(fis + 16, (uint16_t)MIN(bytes, 0xfffe));
	post(port, AREA_PIO, fis, sizeof(fis));
	port->tfd = (uint32_t)r->error << 8 | r->status;
	ahci_raise(port, IS_PSS);
}

void ahci_post_set_bits(struct ahci_port *port, const struct ata_request *r, uint32_t done)
{
	uint8_t fis[8] = {FIS_SET_BITS, FIS_INTERRUPT, r->status & 0x77, r->error};
	le32_store(fis + 4, done);
	post(port, AREA_SET_BITS, fis, sizeof(fis));
	/* Only these bits of the status travel; BSY and DRQ stay as they are. */
	port->tfd = (uint32_t)r->error << 8 | (port->tfd & 0x88) | (r->status & 0x77);
	port->sact &= ~done;
	ahci_raise(port, IS_SDBS);
}
