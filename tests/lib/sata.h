/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A SATA driver in the test process: a VM without vCPUs, an AHCI controller on its PCI bus, a disk
 * or CD whose block node is memory that can fail and hold requests back, and the driver's side of
 * ports, slots and FISes.
 */
#pragma once

#include "aio/loop.h"
#include "block/core/driver.h"
#include "dev/storage/ahci.h"
#include "vdriver.h"

enum { SATA_ABAR = 0xd0000000, SATA_TABLE = 8192 };

/* A block node in memory. */
struct sata_disk {
	struct block_node node; /* first */
	uint8_t *bytes;
	int fail;           /* -errno for each request, or 0 */
	bool hold;          /* keep requests until sata_disk_release() */
	struct block_request *held[64];
	unsigned held_count;
	unsigned flushes, fuas, discards;
};

struct sata_disk *sata_disk_new(struct aio_loop *loop, uint64_t size, bool readonly);
void sata_disk_release(struct sata_disk *disk);

struct sata {
	struct vd_machine m;
	struct device *hba, *unit;
	struct sata_disk *disk;
	unsigned port;
	uint64_t list, fis, tables, data; /* guest addresses: 32 tables of SATA_TABLE bytes */
};

/* A controller with the unit on `port`, memory enabled, VM running. disk NULL: an empty CD drive. */
void sata_init(struct sata *s, bool cd, uint64_t size, unsigned port);
void sata_free(struct sata *s);
/* The port with its areas set up, FRE and ST on, interrupts enabled. */
void sata_start_port(struct sata *s);

uint32_t sata_get(struct sata *s, unsigned offset);
void sata_put(struct sata *s, unsigned offset, uint32_t value);
/* Registers of the port. */
uint32_t sata_port_get(struct sata *s, unsigned offset);
void sata_port_put(struct sata *s, unsigned offset, uint32_t value);

/* Fill a slot: registers in H2D order, and a PRD table of pieces of `piece` bytes at s->data. */
void sata_fill(struct sata *s, unsigned slot, uint8_t command, uint64_t lba, unsigned count,
	       unsigned feature, uint64_t length, unsigned piece);
void sata_fill_packet(struct sata *s, unsigned slot, const uint8_t *packet, unsigned length,
		      uint64_t buffer);
/* Run the loop until PxCI and PxSACT are clear of `slots`, or an error halts the port. */
void sata_issue(struct sata *s, uint32_t slots, bool queued);
