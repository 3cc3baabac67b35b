/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between ahci.c (registers) and ahci_port.c (commands). */
#pragma once

#include "base/bytes.h"
#include "base/error.h"
#include "base/lock.h"
#include "base/log.h"
#include "dev/pci/pci.h"
#include "dev/storage/ahci.h"
#include "vm/vm.h"

enum { AHCI_SLOTS = 32, AHCI_REGS_SIZE = 0x1000 };

/* Port registers (3.3), by offset. */
enum ahci_port_reg {
	PORT_CLB = 0x00, PORT_CLBU = 0x04, PORT_FB = 0x08, PORT_FBU = 0x0c, PORT_IS = 0x10,
	PORT_IE = 0x14, PORT_CMD = 0x18, PORT_TFD = 0x20, PORT_SIG = 0x24, PORT_SSTS = 0x28,
	PORT_SCTL = 0x2c, PORT_SERR = 0x30, PORT_SACT = 0x34, PORT_CI = 0x38, PORT_SNTF = 0x3c,
};

/* PxIS and PxIE (3.3.5). */
enum ahci_interrupt {
	IS_DHRS = 1u << 0, IS_PSS = 1u << 1, IS_SDBS = 1u << 3, IS_DPS = 1u << 5, IS_PCS = 1u << 6,
	IS_OFS = 1u << 24, IS_HBDS = 1u << 28, IS_HBFS = 1u << 29, IS_TFES = 1u << 30,
};

enum ahci_cmd {
	CMD_ST = 1 << 0, CMD_SUD = 1 << 1, CMD_POD = 1 << 2, CMD_CLO = 1 << 3, CMD_FRE = 1 << 4,
	CMD_CCS_SHIFT = 8, CMD_FR = 1 << 14, CMD_CR = 1 << 15, CMD_ATAPI = 1 << 24,
	CMD_WRITABLE = CMD_ST | CMD_FRE | CMD_ATAPI | 1 << 25 /* DLAE */,
};

enum { SERR_DIAG_X = 1 << 26, SSTS_UP = 0x133 /* present, Gen 3, active */ };

struct ahci;
struct ahci_port;

/* A slot's command while it runs; the loop's thread owns it. */
struct ahci_slot {
	struct ata_request request; /* first */
	struct ahci_port *port;
	uint64_t table;             /* of the command: PRDT at + 0x80 */
	unsigned prd_count, prd, prd_flags;
	uint64_t prd_offset;        /* within entry `prd` */
	uint64_t header;            /* address of the command header */
	uint64_t moved;             /* bytes of data: PRDBC */
	bool short_buffer, bad_memory;
};

struct ide_bus {
	struct ahci *hba;
	unsigned port;
	struct ata_unit *unit;
};

/* What waits for the last command in flight; no command starts meanwhile. Bits. */
enum ahci_pending {
	PENDING_STOP = 1 << 0,  /* ST went to 0: CR follows when nothing is in flight */
	PENDING_RESET = 1 << 1, /* COMRESET: the link comes up when nothing is in flight */
};

struct ahci_port {
	struct ide_bus bus;
	/* Registers, under the controller's lock. */
	uint32_t clb, clbu, fb, fbu, is, ie, cmd, tfd, sig, ssts, sctl, serr, sact, ci;
	bool signature_due;  /* the D2H FIS with the signature waits for FRE */
	bool halted;         /* an error stopped command processing until ST is cleared */
	bool soft_reset;     /* SRST is set */
	unsigned pending;
	uint32_t generation; /* bumped by what makes commands in flight nobody's */
	uint32_t running;    /* slots in flight: the loop's thread is in the unit, or the block layer */
	uint32_t running_generation[AHCI_SLOTS];
	bool exclusive;      /* a command that is not queued is in flight */
	unsigned next_slot;
	struct ahci_slot *slots; /* AHCI_SLOTS, allocated with the unit; the loop thread's */
};

struct ahci {
	struct pci_device pci; /* first */
	pthread_mutex_t lock;
	struct io_region region;
	uint32_t ghc, is;
	struct ahci_port ports[AHCI_PORTS];
	int kick;              /* eventfd */
	struct aio_watch *watch;
	bool started;          /* the VM runs: commands may start. Under the lock */
};

/* --- ahci.c: under the lock -------------------------------------------------------------------- */
void ahci_raise(struct ahci_port *port, uint32_t bits);
/* The signature into SIG and TFD and, with FRE, into memory. */
void ahci_send_signature(struct ahci_port *port);
/* If nothing is in flight, end what waited for that: a stop or a reset. */
void ahci_settle(struct ahci_port *port);
/* Wake the loop. Any thread, with or without the lock. */
void ahci_kick(struct ahci *hba);

/* --- ahci_fis.c: the received-FIS area; under the lock ------------------------------------------- */
void ahci_post_d2h(struct ahci_port *port, const struct ata_request *r, bool interrupt);
void ahci_post_pio_setup(struct ahci_port *port, const struct ata_request *r, uint64_t bytes);
void ahci_post_set_bits(struct ahci_port *port, const struct ata_request *r, uint32_t done);

/* --- ahci_port.c: loop thread, without the lock --------------------------------------------------- */
/* Do what is due on all ports. */
void ahci_run(struct ahci *hba);
