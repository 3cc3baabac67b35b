/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Spec: QEMU docs/specs/fw_cfg.rst. */
#include "dev/chips/fw_cfg.h"

#include <inttypes.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/log.h"
#include "vm/vm.h"

enum { ID_TRADITIONAL = 1 << 0, ID_DMA = 1 << 1 };
enum { DMA_ERROR = 1 << 0, DMA_READ = 1 << 1, DMA_SKIP = 1 << 2, DMA_SELECT = 1 << 3,
       DMA_WRITE = 1 << 4 };
#define DMA_SIGNATURE  UINT64_C(0x51454d5520434647) /* "QEMU CFG" */
#define PORT_SELECTOR  0
#define PORT_DATA      1
#define PORT_DMA       4
#define DIR_ENTRY_SIZE 64
#define KEY_MASK       0x3fff /* bit 14 was "write"; bit 15 picks the architecture's items */

struct item {
	uint8_t *data;
	size_t size;
	char *name; /* of a file */
	struct fw_cfg_file_ops ops;
};

struct fw_cfg {
	struct vm *vm;
	pthread_mutex_t lock; /* recursive: `selected` may change items */
	GHashTable *items;    /* key -> struct item * */
	unsigned file_count;
	uint16_t key;         /* selected */
	size_t offset;
	uint64_t dma_address; /* high half of what is being written */
	struct io_region ports;
	bool mapped;
};

static void item_free(void *opaque)
{
	struct item *item = opaque;
	g_free(item->data);
	g_free(item->name);
	g_free(item);
}

static struct item *find(struct fw_cfg *fw, uint16_t key)
{
	return g_hash_table_lookup(fw->items, GUINT_TO_POINTER(key));
}

static struct item *find_file(struct fw_cfg *fw, const char *name, unsigned *index)
{
	for (unsigned i = 0; i < fw->file_count; i++) {
		struct item *item = find(fw, FW_CFG_FILE_FIRST + i);
		if (!strcmp(item->name, name)) {
			if (index)
				*index = i;
			return item;
		}
	}
	return NULL;
}

static struct item *set_item(struct fw_cfg *fw, uint16_t key, const void *data, size_t size)
{
	struct item *item = find(fw, key);
	if (!item) {
		item = g_new0(struct item, 1);
		g_hash_table_insert(fw->items, GUINT_TO_POINTER(key), item);
	}
	uint8_t *copy = g_malloc(size ? size : 1);
	memcpy(copy, data, size);
	g_free(item->data);
	item->data = copy;
	item->size = size;
	return item;
}

void fw_cfg_add_bytes(struct fw_cfg *fw, uint16_t key, const void *data, size_t size)
{
	pthread_mutex_lock(&fw->lock);
	set_item(fw, key, size ? data : "", size);
	pthread_mutex_unlock(&fw->lock);
}

void fw_cfg_add_string(struct fw_cfg *fw, uint16_t key, const char *text)
{
	fw_cfg_add_bytes(fw, key, text, strlen(text) + 1);
}

void fw_cfg_add_u16(struct fw_cfg *fw, uint16_t key, uint16_t value)
{
	value = htole16(value);
	fw_cfg_add_bytes(fw, key, &value, sizeof(value));
}

void fw_cfg_add_u32(struct fw_cfg *fw, uint16_t key, uint32_t value)
{
	value = htole32(value);
	fw_cfg_add_bytes(fw, key, &value, sizeof(value));
}

void fw_cfg_add_u64(struct fw_cfg *fw, uint16_t key, uint64_t value)
{
	value = htole64(value);
	fw_cfg_add_bytes(fw, key, &value, sizeof(value));
}

/* The directory item: a count, then size, key and name of each file, big-endian. */
static void rebuild_directory(struct fw_cfg *fw)
{
	size_t size = 4 + fw->file_count * DIR_ENTRY_SIZE;
	g_autofree uint8_t *dir = g_malloc0(size);
	be32_store(dir, fw->file_count);
	for (unsigned i = 0; i < fw->file_count; i++) {
		struct item *item = find(fw, FW_CFG_FILE_FIRST + i);
		uint8_t *entry = dir + 4 + i * DIR_ENTRY_SIZE;
		be32_store(entry, item->size);
		be16_store(entry + 4, FW_CFG_FILE_FIRST + i);
		memcpy(entry + 8, item->name, strlen(item->name));
	}
	set_item(fw, FW_CFG_FILE_DIR, dir, size);
}

bool fw_cfg_add_file_ops(struct fw_cfg *fw, const char *name, const void *data, size_t size,
			 const struct fw_cfg_file_ops *ops, GError **error)
{
	if (strlen(name) > FW_CFG_FILE_NAME_MAX)
		return error_set(error, BERTH_ERR_INVALID,
				 "fw_cfg file name '%s' is longer than %d bytes", name,
				 FW_CFG_FILE_NAME_MAX);
	bool ok = true;
	unsigned index;
	pthread_mutex_lock(&fw->lock);
	struct item *item = find_file(fw, name, &index);
	if (!item && fw->file_count == FW_CFG_FILES_MAX) {
		ok = error_set(error, BERTH_ERR_INVALID,
			       "fw_cfg directory is full (%d files): '%s' does not fit",
			       FW_CFG_FILES_MAX, name);
	} else {
		if (!item) {
			index = fw->file_count;
			item = set_item(fw, FW_CFG_FILE_FIRST + index, size ? data : "", size);
			item->name = g_strdup(name);
			fw->file_count++;
		} else {
			set_item(fw, FW_CFG_FILE_FIRST + index, size ? data : "", size);
		}
		if (ops)
			item->ops = *ops;
		rebuild_directory(fw);
	}
	pthread_mutex_unlock(&fw->lock);
	return ok;
}

bool fw_cfg_add_file(struct fw_cfg *fw, const char *name, const void *data, size_t size,
		     GError **error)
{
	return fw_cfg_add_file_ops(fw, name, data, size, NULL, error);
}

const void *fw_cfg_find_file(struct fw_cfg *fw, const char *name, size_t *size)
{
	pthread_mutex_lock(&fw->lock);
	struct item *item = find_file(fw, name, NULL);
	const void *data = item ? item->data : NULL;
	if (item && size)
		*size = item->size;
	pthread_mutex_unlock(&fw->lock);
	return data;
}

/* --- the guest's side ------------------------------------------------------------------------- */

static void select_item(struct fw_cfg *fw, uint16_t key)
{
	fw->key = key & (KEY_MASK | FW_CFG_ARCH_LOCAL);
	fw->offset = 0;
	struct item *item = find(fw, fw->key);
	if (item && item->ops.selected)
		item->ops.selected(item->ops.opaque);
}

/* Bytes beyond an item's end, and of items that do not exist, are zero. */
static uint8_t next_byte(struct fw_cfg *fw)
{
	struct item *item = find(fw, fw->key);
	if (!item || fw->offset >= item->size)
		return 0;
	return item->data[fw->offset++];
}

static bool dma_read(struct fw_cfg *fw, uint64_t address, uint32_t length)
{
	static const uint8_t zeroes[4096];
	struct item *item = find(fw, fw->key);
	size_t left = item && fw->offset < item->size ? item->size - fw->offset : 0;
	uint32_t bytes = MIN(left, length);
	if (bytes && !space_dma_write(fw->vm->memory, address, item->data + fw->offset, bytes))
		return false;
	fw->offset += bytes;
	/* The rest is zero-filled; it stops at the first byte that is not RAM. */
	for (uint64_t done = bytes; done < length;) {
		uint32_t chunk = MIN(length - done, sizeof(zeroes));
		if (!space_dma_write(fw->vm->memory, address + done, zeroes, chunk))
			return false;
		done += chunk;
	}
	return true;
}

static bool dma_write(struct fw_cfg *fw, uint64_t address, uint32_t length)
{
	struct item *item = find(fw, fw->key);
	if (!item || !item->ops.written || !range_fits(fw->offset, length, item->size))
		return false;
	size_t offset = fw->offset;
	if (!space_dma_read(fw->vm->memory, address, item->data + offset, length))
		return false;
	fw->offset += length;
	item->ops.written(item->ops.opaque, item->data, offset, length);
	return true;
}

static void dma_run(struct fw_cfg *fw, uint64_t descriptor)
{
	uint8_t bytes[16];
	if (!space_dma_read(fw->vm->memory, descriptor, bytes, sizeof(bytes))) {
		log_guest_fault("fw_cfg DMA descriptor at 0x%" PRIx64 " is not in RAM", descriptor);
		return;
	}
	uint32_t control = be32_load(bytes), length = be32_load(bytes + 4);
	uint64_t address = be64_load(bytes + 8);
	bool ok = true;
	if (control & DMA_SELECT)
		select_item(fw, control >> 16);
	if (control & DMA_READ) {
		ok = dma_read(fw, address, length);
	} else if (control & DMA_WRITE) {
		ok = dma_write(fw, address, length);
	} else if (control & DMA_SKIP) {
		struct item *item = find(fw, fw->key);
		size_t left = item && fw->offset < item->size ? item->size - fw->offset : 0;
		fw->offset += MIN(left, length);
	}
	be32_store(bytes, ok ? 0 : DMA_ERROR);
	space_dma_write(fw->vm->memory, descriptor, bytes, 4);
}

static uint64_t ports_read(void *opaque, uint64_t offset, unsigned size)
{
	struct fw_cfg *fw = opaque;
	if (offset == PORT_DATA && size == 1)
		return next_byte(fw);
	if (offset >= PORT_DMA && offset + size <= PORT_DMA + 8) {
		uint8_t bytes[8];
		be64_store(bytes, DMA_SIGNATURE);
		return le_load(bytes + (offset - PORT_DMA), size);
	}
	return size_mask(size);
}

static void ports_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct fw_cfg *fw = opaque;
	if (offset == PORT_SELECTOR && size == 2) {
		select_item(fw, value);
	} else if (offset == PORT_DMA && size == 4) {
		fw->dma_address = (uint64_t)be32toh(value) << 32;
	} else if (offset == PORT_DMA + 4 && size == 4) {
		uint64_t descriptor = fw->dma_address | be32toh(value);
		fw->dma_address = 0;
		dma_run(fw, descriptor);
	}
}

static const struct io_ops ports_ops = {ports_read, ports_write, .min_size = 1, .max_size = 4};

struct fw_cfg *fw_cfg_new(struct vm *vm)
{
	struct fw_cfg *fw = g_new0(struct fw_cfg, 1);
	pthread_mutexattr_t attr;
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&fw->lock, &attr);
	pthread_mutexattr_destroy(&attr);
	fw->vm = vm;
	fw->items = g_hash_table_new_full(NULL, NULL, NULL, item_free);
	fw_cfg_add_bytes(fw, FW_CFG_SIGNATURE, "QEMU", 4);
	fw_cfg_add_u32(fw, FW_CFG_ID, ID_TRADITIONAL | ID_DMA);
	rebuild_directory(fw);
	return fw;
}

void fw_cfg_map_ports(struct fw_cfg *fw, uint16_t base)
{
	fw->ports = (struct io_region){.name = "fw_cfg", .ops = &ports_ops, .opaque = fw,
				       .size = PORT_DMA + 8, .lock = &fw->lock};
	space_add_io(fw->vm->ports, base, &fw->ports, SPACE_PRIORITY_HIGH);
	fw->mapped = true;
}

void fw_cfg_reset(struct fw_cfg *fw)
{
	pthread_mutex_lock(&fw->lock);
	fw->key = FW_CFG_SIGNATURE;
	fw->offset = 0;
	fw->dma_address = 0;
	pthread_mutex_unlock(&fw->lock);
}

void fw_cfg_free(struct fw_cfg *fw)
{
	if (!fw)
		return;
	if (fw->mapped)
		space_remove_io(fw->vm->ports, &fw->ports);
	g_hash_table_destroy(fw->items);
	pthread_mutex_destroy(&fw->lock);
	g_free(fw);
}
