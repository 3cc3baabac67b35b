/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Spec: JEDEC JESD68 (common flash interface), Intel 28F320 data sheet (command set 1), as QEMU's
 * cfi.pflash01 is known to firmware: one chip of 8 bits, 4 KiB sectors.
 *
 * A command cycle is a byte write; `step` counts the writes that the current command has seen.
 */
#include "dev/chips/pflash.h"

#include "aio/loop.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/lock.h"
#include "base/log.h"
#include "block/core/block.h"
#include "vm/vm.h"

#define BUFFER_SIZE 2048 /* of the buffered write command */
#define CHUNK       (64 * 1024)

enum { CMD_ARRAY = 0xff, CMD_ARRAY_ALT = 0x00, CMD_ARRAY_AMD = 0xf0, CMD_PROGRAM = 0x40,
       CMD_PROGRAM_ALT = 0x10, CMD_ERASE = 0x20, CMD_CLEAR_STATUS = 0x50, CMD_LOCK = 0x60,
       CMD_STATUS = 0x70, CMD_ID = 0x90, CMD_CFI = 0x98, CMD_CONFIRM = 0xd0, CMD_BUFFER = 0xe8 };
enum { SR_READY = 0x80, SR_ERASE_ERROR = 0x20, SR_PROGRAM_ERROR = 0x10, SR_PROTECTED = 0x02 };

struct pflash {
	struct vm *vm;
	pthread_mutex_t lock;
	struct ram_block *ram;
	uint64_t base;
	bool readonly;
	struct io_region array_writes; /* under the ROM in array mode */
	struct io_region status;       /* in its place otherwise */
	bool in_array;
	uint8_t command, step, sr;
	uint64_t buffer_base;
	unsigned buffer_left;
	uint8_t buffer[BUFFER_SIZE];
	uint8_t buffer_used[BUFFER_SIZE];
	uint8_t cfi[0x40];

	/* Write-behind; [dirty_start, dirty_end) is what the node does not have yet. */
	struct block_node *node;
	uint64_t dirty_start, dirty_end;
	struct aio_timer kick;
	bool in_flight;
	struct block_request request;
	struct iovec iov;
	uint8_t bounce[CHUNK];
};

/* --- write-behind, on the loop's thread ----------------------------------------------------------- */

static void submit_next(struct pflash *f);

static void write_done(struct block_request *request, int result)
{
	struct pflash *f = (struct pflash *)((char *)request - offsetof(struct pflash, request));
	if (result < 0)
		log_error("%s: cannot write flash contents to %s: %s", f->ram->name,
			  block_filename(f->node), g_strerror(-result));
	f->in_flight = false;
	submit_next(f);
}

static void submit_next(struct pflash *f)
{
	pthread_mutex_lock(&f->lock);
	uint64_t start = f->dirty_start, length = MIN(f->dirty_end - start, CHUNK);
	bool go = !f->in_flight && f->dirty_end > start;
	if (go) {
		memcpy(f->bounce, f->ram->host + start, length);
		f->dirty_start += length;
		if (f->dirty_start == f->dirty_end)
			f->dirty_start = f->dirty_end = 0;
		f->in_flight = true;
	}
	pthread_mutex_unlock(&f->lock);
	if (!go)
		return;
	f->iov = (struct iovec){f->bounce, length};
	f->request = (struct block_request){.op = BLOCK_WRITE, .flags = BLOCK_REQ_FUA,
					    .offset = start, .length = length, .iov = &f->iov,
					    .iov_count = 1, .done = write_done};
	block_submit(f->node, &f->request);
}

static void kicked(void *opaque)
{
	submit_next(opaque);
}

/* lock held */
static void mark_dirty(struct pflash *f, uint64_t offset, uint64_t length)
{
	ram_note_write(f->ram, offset, length);
	if (!f->node)
		return;
	/* Whole sectors: the node may have a request alignment. */
	uint64_t start = align_down(offset, PFLASH_SECTOR);
	uint64_t end = align_up(offset + length, PFLASH_SECTOR);
	f->dirty_start = f->dirty_end ? MIN(f->dirty_start, start) : start;
	f->dirty_end = MAX(f->dirty_end, end);
	aio_timer_arm(&f->kick, 0);
}

/* --- the chip, lock held ---------------------------------------------------------------------------- */

static void map(struct pflash *f, bool array)
{
	if (array == f->in_array)
		return;
	f->in_array = array;
	struct space *space = f->vm->memory;
	space_begin(space);
	if (array) {
		space_remove_io(space, &f->status);
		space_add_ram(space, f->base, f->ram, 0, f->ram->size, true, &f->array_writes,
			      SPACE_PRIORITY_HIGH);
	} else {
		space_remove_ram(space, f->base);
		space_add_io(space, f->base, &f->status, SPACE_PRIORITY_HIGH);
	}
	space_commit(space);
}

static void to_array(struct pflash *f)
{
	f->command = CMD_ARRAY;
	f->step = 0;
	map(f, true);
}

/* NOR cells go from 1 to 0 by programming, and back only by erasing. */
static void program(struct pflash *f, uint64_t offset, uint64_t value, unsigned size)
{
	if (f->readonly) {
		f->sr |= SR_PROGRAM_ERROR | SR_PROTECTED;
		return;
	}
	le_store(f->ram->host + offset, le_load(f->ram->host + offset, size) & value, size);
	mark_dirty(f, offset, size);
}

static void erase(struct pflash *f, uint64_t offset)
{
	if (f->readonly) {
		f->sr |= SR_ERASE_ERROR | SR_PROTECTED;
		return;
	}
	offset = align_down(offset, PFLASH_SECTOR);
	memset(f->ram->host + offset, 0xff, PFLASH_SECTOR);
	mark_dirty(f, offset, PFLASH_SECTOR);
}

/* First cycle: what the command is. */
static void begin_command(struct pflash *f, uint8_t command)
{
	switch (command) {
	case CMD_PROGRAM:
	case CMD_PROGRAM_ALT:
	case CMD_ERASE:
	case CMD_LOCK:
	case CMD_BUFFER:
		f->step = 1;
		f->sr |= SR_READY;
		break;
	case CMD_CLEAR_STATUS:
		f->sr = 0;
		to_array(f);
		return;
	case CMD_STATUS:
	case CMD_ID:
	case CMD_CFI:
		break;
	default: /* CMD_ARRAY and what does not exist */
		to_array(f);
		return;
	}
	f->command = command;
	map(f, false);
}

static void buffer_begin(struct pflash *f, uint64_t offset, uint64_t value)
{
	f->buffer_left = (value & 0xffff) + 1;
	f->buffer_base = align_down(offset, BUFFER_SIZE);
	memset(f->buffer_used, 0, sizeof(f->buffer_used));
	f->step = 2;
	if (f->buffer_left > BUFFER_SIZE) {
		f->sr |= SR_PROGRAM_ERROR;
		to_array(f);
	}
}

static void buffer_byte(struct pflash *f, uint64_t offset, uint64_t value, unsigned size)
{
	for (unsigned i = 0; i < size && f->buffer_left; i++, f->buffer_left--) {
		uint64_t at = offset + i - f->buffer_base;
		if (at >= BUFFER_SIZE) { /* the chip stops at the block's boundary */
			f->sr |= SR_PROGRAM_ERROR;
			continue;
		}
		f->buffer[at] = value >> (i * 8);
		f->buffer_used[at] = 1;
	}
	if (!f->buffer_left)
		f->step = 3;
}

static void buffer_end(struct pflash *f, uint8_t value)
{
	if (value != CMD_CONFIRM) {
		f->sr |= SR_PROGRAM_ERROR | SR_ERASE_ERROR; /* "command sequence error" */
		to_array(f);
		return;
	}
	for (unsigned i = 0; i < BUFFER_SIZE && !(f->sr & SR_PROGRAM_ERROR); i++)
		if (f->buffer_used[i] && f->buffer_base + i < f->ram->size)
			program(f, f->buffer_base + i, f->buffer[i], 1);
	f->sr |= SR_READY;
	f->step = 0;
}

static void continue_command(struct pflash *f, uint64_t offset, uint64_t value, unsigned size)
{
	switch (f->command) {
	case CMD_PROGRAM:
	case CMD_PROGRAM_ALT:
		program(f, offset, value, size);
		f->sr |= SR_READY;
		f->step = 0;
		break;
	case CMD_ERASE:
		if ((uint8_t)value == CMD_CONFIRM) {
			erase(f, offset);
			f->sr |= SR_READY;
			f->step = 0;
		} else {
			to_array(f);
		}
		break;
	case CMD_LOCK: /* sector locks do not exist: accepted and without effect */
		if ((uint8_t)value == CMD_CONFIRM || (uint8_t)value == 0x01) {
			f->sr |= SR_READY;
			f->step = 0;
		} else {
			to_array(f);
		}
		break;
	case CMD_BUFFER:
		if (f->step == 1)
			buffer_begin(f, offset, value);
		else if (f->step == 2)
			buffer_byte(f, offset, value, size);
		else
			buffer_end(f, value);
		break;
	default: to_array(f);
	}
}

static void flash_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct pflash *f = opaque;
	if (f->step == 0)
		begin_command(f, value);
	else
		continue_command(f, offset, value, size);
}

static uint64_t flash_read(void *opaque, uint64_t offset, unsigned size)
{
	struct pflash *f = opaque;
	switch (f->command) {
	case CMD_ARRAY:
		return le_load(f->ram->host + offset, size);
	case CMD_ID: /* manufacturer and device, repeated in each sector */
		return (offset & 0xff) == 0 ? 0x89 : (offset & 0xff) == 1 ? 0x18 : 0;
	case CMD_CFI:
		return offset < sizeof(f->cfi) ? f->cfi[offset] : 0;
	default:
		return f->sr;
	}
}

static const struct io_ops flash_ops = {flash_read, flash_write, .min_size = 1, .max_size = 8};

/* JESD68, 3: the query structure. */
static void fill_cfi(struct pflash *f)
{
	static const uint8_t fixed[] = {
		[0x10] = 'Q', 'R', 'Y', 0x01, 0x00, 0x31, 0x00, 0x00, 0x00, 0x00, 0x00,
		[0x1b] = 0x45, 0x55, 0x00, 0x00, 0x07, 0x07, 0x0a, 0x00, 0x04, 0x04, 0x04, 0x00,
		[0x28] = 0x02, 0x00, 11 /* 2 KiB buffer */, 0x00, 1 /* erase region */,
		[0x31] = 'P', 'R', 'I', '1', '0',
	};
	memcpy(f->cfi, fixed, sizeof(fixed));
	uint32_t sectors = f->ram->size / PFLASH_SECTOR - 1;
	f->cfi[0x27] = 63 - __builtin_clzll(f->ram->size);
	le16_store(f->cfi + 0x2d, sectors);
	le16_store(f->cfi + 0x2f, PFLASH_SECTOR / 256);
}

static struct pflash *flash_create(struct vm *vm, const char *name, uint64_t size, bool readonly,
				   uint64_t end, GError **error)
{
	if (!size || size % PFLASH_SECTOR || size > 16 * 1024 * 1024) {
		error_set(error, BERTH_ERR_INVALID,
			  "%s: the flash image has %llu bytes; it must be a multiple of 4 KiB and at "
			  "most 16 MiB", name, (unsigned long long)size);
		return NULL;
	}
	struct ram_block *ram = ram_block_new(name, size, NULL, error);
	if (!ram)
		return NULL;
	struct pflash *f = g_new0(struct pflash, 1);
	f->vm = vm;
	f->ram = ram;
	f->base = end - size;
	f->readonly = readonly;
	pthread_mutex_init(&f->lock, NULL);
	aio_timer_init(&f->kick, vm->loop, kicked, f);
	f->array_writes = (struct io_region){.name = name, .ops = &flash_ops, .opaque = f,
					     .size = size, .lock = &f->lock};
	f->status = f->array_writes;
	f->array_writes.name = f->status.name = f->ram->name;
	fill_cfi(f);
	return f;
}

struct pflash *pflash_new_memory(struct vm *vm, const char *name, const void *data, uint64_t size,
				 bool readonly, uint64_t end, GError **error)
{
	struct pflash *f = flash_create(vm, name, size, readonly, end, error);
	if (!f)
		return NULL;
	memcpy(f->ram->host, data, size);
	to_array(f);
	return f;
}

struct pflash *pflash_new(struct vm *vm, const char *name, struct block_node *node, bool readonly,
			  uint64_t end, GError **error)
{
	struct pflash *f = flash_create(vm, name, block_size(node),
					readonly || block_is_readonly(node), end, error);
	if (!f)
		return NULL;
	if (!block_read_sync(node, 0, f->ram->host, f->ram->size, error)) {
		pflash_free(f);
		return NULL;
	}
	f->node = node;
	to_array(f);
	return f;
}

uint64_t pflash_base(const struct pflash *f)
{
	return f->base;
}

uint64_t pflash_size(const struct pflash *f)
{
	return f->ram->size;
}

struct ram_block *pflash_ram(struct pflash *f)
{
	return f->ram;
}

void pflash_reset(struct pflash *f)
{
	LOCK_SCOPE(&f->lock);
	f->sr = 0;
	to_array(f);
}

bool pflash_flush(struct pflash *f, GError **error)
{
	if (!f->node)
		return true;
	aio_timer_cancel(&f->kick);
	submit_next(f);
	/* Each completion submits the next piece. */
	while (f->in_flight)
		block_drain(f->node);
	return block_flush_sync(f->node, error);
}

void pflash_free(struct pflash *f)
{
	if (!f)
		return;
	g_autoptr(GError) error = NULL;
	if (f->node && !f->readonly && !pflash_flush(f, &error))
		log_error("%s: %s", f->ram->name, error->message);
	aio_timer_cancel(&f->kick);
	if (f->in_array)
		space_remove_ram(f->vm->memory, f->base);
	else if (f->command) /* never mapped if creation failed */
		space_remove_io(f->vm->memory, &f->status);
	ram_block_free(f->ram);
	pthread_mutex_destroy(&f->lock);
	g_free(f);
}
