/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SATA devices: a disk (ACS-3) and a CD drive (ACS-3 packet commands, MMC-6). They know command sets
 * and media; the host adapter knows where registers and data are, and carries both for them.
 *
 * Threads: everything of a unit belongs to the thread of vm->loop. No command is started on a unit
 * while one that is not queued (NCQ) is in flight; the adapter sees to that.
 */
#pragma once

#include "aio/loop.h"
#include "block/core/block.h"
#include "dev/core/device.h"

#include <sys/uio.h>

enum { ATA_SECTOR = 512, ATA_IOV_MAX = 256, ATA_TAGS = 32 };

/* Status and error register. */
enum {
	ATA_ERR = 0x01, ATA_DRQ = 0x08, ATA_SEEK_COMPLETE = 0x10, ATA_DEVICE_FAULT = 0x20,
	ATA_DRDY = 0x40, ATA_BSY = 0x80, ATA_GOOD = ATA_DRDY | ATA_SEEK_COMPLETE,
	ATA_ERROR_ABORT = 0x04, ATA_ERROR_NOT_FOUND = 0x10, ATA_ERROR_UNCORRECTABLE = 0x40,
};

struct ata_request;
struct ata_unit;

/* What a host adapter does for a request. */
struct ata_host_ops {
	/*
	 * Fill request->iov and ->addresses with the next piece of the guest's buffer, at most
	 * `wanted` bytes. Returns how many; fewer than wanted if the array is full (then a multiple
	 * of 512), 0 if the buffer has ended or is not RAM.
	 */
	uint64_t (*map)(struct ata_request *request, uint64_t wanted, bool to_guest);
	/* The first `length` bytes of what map() gave were written. */
	void (*wrote)(struct ata_request *request, uint64_t length);
	/* The end: status and error are set. The adapter may not start a command from inside this. */
	void (*done)(struct ata_request *request);
};

/* One command. The adapter fills it up to `packet`; the unit answers in status, error and registers. */
struct ata_request {
	struct block_request block; /* first: block_request.done gets at the rest */
	struct ata_unit *unit;
	const struct ata_host_ops *host;
	unsigned tag;               /* of the adapter's slot */
	uint8_t command, device;
	uint16_t feature, count;
	uint64_t lba;               /* 48 bits as the registers hold them */
	uint8_t packet[16];

	uint8_t status, error;
	bool pio_in;   /* data came by PIO: the adapter sends that kind of FIS */
	bool queued;   /* NCQ */
	bool failed_map;

	/* A transfer in rounds of what `iov` holds. */
	enum block_op op;
	unsigned flags;
	uint64_t offset, length, transferred, round;
	bool in_submit, completed;
	int result;
	void (*again)(struct ata_request *request); /* submit what failed once more */
	struct ata_request *next_retry;
	unsigned range, ranges; /* DATA SET MANAGEMENT */
	unsigned iov_count;
	struct iovec iov[ATA_IOV_MAX];
	uint64_t addresses[ATA_IOV_MAX];
};

/* What a failed request does: QEMU's rerror and werror. AUTO: report, but stop on a full host disk. */
enum ata_on_error { ATA_ON_ERROR_AUTO, ATA_ON_ERROR_REPORT, ATA_ON_ERROR_IGNORE,
		    ATA_ON_ERROR_ENOSPC, ATA_ON_ERROR_STOP };

/* Sense data of a packet device (SPC-4, 4.5). */
struct ata_sense {
	uint8_t key, asc, ascq;
};

struct ide_bus;

/* -device ide-hd, ide-cd. */
struct ata_unit {
	struct device dev;
	struct block_node *node; /* NULL: a CD drive without medium */
	char *serial, *version, *model;
	uint64_t wwn;
	uint32_t physical_block;
	uint16_t rotation_rate;  /* 1: solid state */
	bool write_cache_property;
	uint32_t bootindex;
	int rerror, werror;      /* enum ata_on_error */
	bool cd;

	bool write_cache, read_ahead;
	uint8_t multiple;        /* sectors of READ MULTIPLE, 0: not set */
	uint8_t transfer_mode;   /* as SET FEATURES chose it */
	bool smart;
	struct {                 /* the queued command that failed, for log 10h */
		bool valid;
		uint8_t tag, status, error, device;
		uint64_t lba;
		uint16_t count;
	} ncq_error;
	int64_t created_ns;

	struct ata_sense sense;
	bool tray_open, locked, medium_changed, eject_requested;

	struct ata_request *retry; /* failed while the policy says "stop"; oldest first */
	struct aio_timer pause;

	uint8_t buffer[4096];    /* of the one command in flight that needs it */
};

extern const struct device_class ide_hd_class, ide_cd_class;

/* Start a command; host->done() follows, maybe before this returns. */
void ata_execute(struct ata_request *request);
/* After COMRESET, SRST or power-on. No command is in flight. */
void ata_unit_reset(struct ata_unit *unit, bool power_on);
/* The VM goes on: submit again what made it pause. */
/* The tray has moved: let the monitor know. */
void ata_unit_tell_tray(const struct ata_unit *unit);
void ata_unit_retry(struct ata_unit *unit);
/* The machine is reset: report it as failed instead. */
void ata_unit_drop_retries(struct ata_unit *unit);
/* What the signature registers hold after a reset: LBA bits 23-0 and count. */
uint32_t ata_signature(const struct ata_unit *unit);

/*
 * Change what is in a CD drive: `node` or nothing. The caller owns nodes and has taken the old one
 * out of use when this returns. With `force`, also if the guest has locked the tray; otherwise the
 * guest is asked to eject and BERTH_ERR_BUSY comes back. Main thread.
 */
bool ide_cd_change_medium(struct device *dev, struct block_node *node, bool force, GError **error);
/* The node of an ide-hd or ide-cd, or NULL. */
struct block_node *ata_unit_node(struct device *dev);
