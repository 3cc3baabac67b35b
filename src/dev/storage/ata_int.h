/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the files of storage/ that make a unit. */
#pragma once

#include "base/bytes.h"
#include "base/error.h"
#include "base/log.h"
#include "dev/storage/ata.h"

/* --- ata_transfer.c ---------------------------------------------------------------------------- */

void ata_finish(struct ata_request *r, uint8_t status, uint8_t error);
/* ATA_GOOD. */
void ata_succeed(struct ata_request *r);
void ata_abort(struct ata_request *r);
/* Move between the medium and the guest, then finish or call `failed`. */
void ata_transfer(struct ata_request *r, enum block_op op, unsigned flags, uint64_t offset,
		  uint64_t length);
/* Copy to the guest; less if its buffer is smaller. Returns the bytes copied. */
uint64_t ata_reply(struct ata_request *r, const void *data, uint64_t length);
/* Copy from the guest; false if its buffer is smaller. */
bool ata_fetch(struct ata_request *r, void *data, uint64_t length);
/*
 * A block request failed with -errno: apply the unit's policy. True if the request lives on, kept for
 * another try or (`ignored`) to be taken as done; else the caller reports the error.
 */
bool ata_hold_failed(struct ata_request *r, int result, bool *ignored);
/* The medium's node tells of failures from here on, if the unit's policy stops the VM over some. */
void ata_unit_show_status(struct ata_unit *unit);
/* Report a failure, by kind of unit. */
void ata_medium_error(struct ata_request *r, int result);

/* --- ata_identify.c ---------------------------------------------------------------------------- */
void ata_identify_disk(const struct ata_unit *unit, uint8_t data[ATA_SECTOR]);
void ata_identify_cd(const struct ata_unit *unit, uint8_t data[ATA_SECTOR]);

/* --- ata_disk.c, ata_log.c, atapi.c ------------------------------------------------------------ */
void ata_disk_execute(struct ata_request *r);
void ata_disk_error(struct ata_request *r, int result);
void ata_set_features(struct ata_request *r);
void ata_read_log(struct ata_request *r);
void ata_smart(struct ata_request *r);
void atapi_execute(struct ata_request *r);
void atapi_error(struct ata_request *r, int result);
uint64_t ata_disk_sectors(const struct ata_unit *unit);
/* IDENTIFY's pretended geometry. */
void ata_disk_geometry(const struct ata_unit *unit, unsigned *cylinders, unsigned *heads,
		       unsigned *sectors);
