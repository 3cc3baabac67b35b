/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Moving data for a command: between a buffer of ours and the guest at once, or between the medium
 * and the guest in rounds of up to ATA_IOV_MAX pieces, so that no guest's scatter list costs more
 * than a fixed array. A block request may complete inside block_submit(): rounds loop, they do not
 * recurse.
 */
#include "dev/storage/ata_int.h"
#include "vm/vm.h"

#include <errno.h>

void ata_finish(struct ata_request *r, uint8_t status, uint8_t error)
{
	r->status = status;
	r->error = error;
	r->host->done(r);
}

void ata_succeed(struct ata_request *r)
{
	ata_finish(r, ATA_GOOD, 0);
}

void ata_abort(struct ata_request *r)
{
	ata_finish(r, ATA_GOOD | ATA_ERR, ATA_ERROR_ABORT);
}

void ata_medium_error(struct ata_request *r, int result)
{
	if (r->unit->cd)
		atapi_error(r, result);
	else
		ata_disk_error(r, result);
}

/* --- errors of the medium ------------------------------------------------------------------------- */

static enum ata_on_error policy(const struct ata_unit *unit, enum block_op op, int result)
{
	int p = op == BLOCK_READ ? unit->rerror : unit->werror;
	if (p == ATA_ON_ERROR_AUTO)
		p = op == BLOCK_READ ? ATA_ON_ERROR_REPORT : ATA_ON_ERROR_ENOSPC;
	if (p == ATA_ON_ERROR_ENOSPC)
		p = result == -ENOSPC ? ATA_ON_ERROR_STOP : ATA_ON_ERROR_REPORT;
	return p;
}

void ata_unit_show_status(struct ata_unit *unit)
{
	if (unit->node && (policy(unit, BLOCK_READ, -ENOSPC) == ATA_ON_ERROR_STOP ||
			   policy(unit, BLOCK_WRITE, -ENOSPC) == ATA_ON_ERROR_STOP))
		block_set_io_status(unit->node, BLOCK_IO_OK);
}

bool ata_hold_failed(struct ata_request *r, int result, bool *ignored)
{
	struct ata_unit *unit = r->unit;
	enum ata_on_error p = policy(unit, r->op, result);
	*ignored = p == ATA_ON_ERROR_IGNORE;
	struct vm_notice notice = {.kind = VM_NOTICE_IO_ERROR, .write = r->op != BLOCK_READ,
				   .error = -result,
				   .action = *ignored		  ? "ignore" :
					     p == ATA_ON_ERROR_STOP ? "stop" :
								      "report"};
	vm_notify(unit->dev.vm, &notice, block_node_name(unit->node));
	if (p != ATA_ON_ERROR_STOP)
		return *ignored;
	log_error("%s: %s: %s; the VM pauses and tries again when it goes on",
		  block_filename(unit->node), r->op == BLOCK_READ ? "read" : "write",
		  g_strerror(-result));
	block_set_io_failed(unit->node, result);
	struct ata_request **last = &unit->retry;
	while (*last)
		last = &(*last)->next_retry;
	r->next_retry = NULL;
	*last = r;
	/* Not from here: pausing waits for requests, and this is one's completion. */
	aio_timer_arm(&unit->pause, aio_now_ns());
	return true;
}

void ata_unit_retry(struct ata_unit *unit)
{
	struct ata_request *r = unit->retry;
	unit->retry = NULL;
	while (r) {
		struct ata_request *next = r->next_retry;
		r->again(r);
		r = next;
	}
}

void ata_unit_drop_retries(struct ata_unit *unit)
{
	struct ata_request *r = unit->retry;
	unit->retry = NULL;
	while (r) {
		struct ata_request *next = r->next_retry;
		ata_medium_error(r, -EIO);
		r = next;
	}
}

/* --- rounds ----------------------------------------------------------------------------------------- */

static void transfer_run(struct ata_request *r);

/* True if there is more to do. */
static bool round_ended(struct ata_request *r, int result)
{
	bool ignored = false;
	if (result < 0 && ata_hold_failed(r, result, &ignored) && !ignored)
		return false;
	if (result < 0 && !ignored) {
		ata_medium_error(r, result);
		return false;
	}
	if (r->op == BLOCK_READ)
		r->host->wrote(r, r->round);
	r->transferred += r->round;
	if (r->transferred < r->length)
		return true;
	ata_succeed(r);
	return false;
}

static void round_done(struct block_request *block, int result)
{
	struct ata_request *r = (struct ata_request *)block;
	if (r->in_submit) {
		r->completed = true;
		r->result = result;
	} else if (round_ended(r, result)) {
		transfer_run(r);
	}
}

/* Submit what iov holds. True if it ended at once and there is more to do. */
static bool submit_round(struct ata_request *r)
{
	/* The block layer may have changed op and flags in the last round. */
	r->block.op = r->op;
	r->block.flags = r->flags;
	r->block.iov = r->iov;
	r->block.iov_count = r->iov_count;
	r->block.offset = r->offset + r->transferred;
	r->block.length = r->round;
	r->block.done = round_done;
	r->completed = false;
	r->in_submit = true;
	block_submit(r->unit->node, &r->block);
	r->in_submit = false;
	return r->completed && round_ended(r, r->result);
}

static void transfer_run(struct ata_request *r)
{
	do {
		r->round = r->host->map(r, r->length - r->transferred, r->op == BLOCK_READ);
		/* A buffer that ends inside a sector, or before the data does. */
		if (r->round % ATA_SECTOR || r->round == 0) {
			log_guest_fault("%s: the buffer of command 0x%02x is too small or not in RAM",
					r->unit->dev.class->name, r->command);
			r->failed_map = true;
			ata_medium_error(r, -EFAULT);
			return;
		}
	} while (submit_round(r));
}

static void transfer_again(struct ata_request *r)
{
	if (submit_round(r))
		transfer_run(r);
}

void ata_transfer(struct ata_request *r, enum block_op op, unsigned flags, uint64_t offset,
		  uint64_t length)
{
	r->op = op;
	r->flags = flags;
	r->offset = offset;
	r->length = length;
	r->transferred = 0;
	r->again = transfer_again;
	transfer_run(r);
}

uint64_t ata_reply(struct ata_request *r, const void *data, uint64_t length)
{
	const uint8_t *p = data;
	uint64_t copied = 0;
	while (copied < length) {
		uint64_t n = r->host->map(r, length - copied, true);
		if (n == 0)
			break;
		for (unsigned i = 0; i < r->iov_count; i++) {
			memcpy(r->iov[i].iov_base, p, r->iov[i].iov_len);
			p += r->iov[i].iov_len;
		}
		r->host->wrote(r, n);
		copied += n;
	}
	r->transferred = copied;
	return copied;
}

bool ata_fetch(struct ata_request *r, void *data, uint64_t length)
{
	uint8_t *p = data;
	uint64_t copied = 0;
	while (copied < length) {
		uint64_t n = r->host->map(r, length - copied, false);
		if (n == 0)
			return false;
		for (unsigned i = 0; i < r->iov_count; i++) {
			memcpy(p, r->iov[i].iov_base, r->iov[i].iov_len);
			p += r->iov[i].iov_len;
		}
		copied += n;
	}
	r->transferred = copied;
	return true;
}
