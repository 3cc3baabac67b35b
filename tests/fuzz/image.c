/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An image of one format (FUZZ_FORMAT) with bytes changed: opening, looking, reading, checking and
 * writing must end in a result or an error. The input is a list of changes to a good image, because
 * nobody finds a checksummed 5 MiB image by chance: offset (u32, modulo the file's length), length (u8), bytes.
 */
#include "aio/loop.h"
#include "base/bytes.h"
#include "block/core/image.h"

#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#define DISK_SIZE (UINT64_C(4) << 20)

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Made once; a fuzzer is one process with one job. */
static struct {
	struct aio_loop *loop;
	char path[64];
	uint8_t *good;
	size_t good_size;
	int fd;
} fuzz;

static struct block_node *open_image(bool readonly)
{
	struct block_open_options options = {.filename = fuzz.path, .format = FUZZ_FORMAT,
					     .readonly = readonly, .no_flush = true, .no_lock = true,
					     .no_backing = true, .aio = BLOCK_AIO_THREADS};
	g_autoptr(GError) error = NULL;
	struct block_node *node = block_open(&options, fuzz.loop, &error);
	assert(!node == !!error);
	return node;
}

/* Four chunks (zlib, zero, raw, zlib again), a resource fork that lists them, the trailer. */
static size_t write_dmg(uint8_t *bytes)
{
	static const uint8_t zeroes[65536];
	static const uint32_t types[] = {0x80000005, 0, 1, 0x80000005, 0xffffffff};
	uLongf packed = 4096;
	size_t raw_at = 4096, fork_at = raw_at + 65536, block_at = fork_at + 20;
	assert(compress(bytes, &packed, zeroes, sizeof(zeroes)) == Z_OK);
	for (unsigned i = 0; i < G_N_ELEMENTS(types); i++) {
		uint8_t *chunk = bytes + block_at + 204 + i * 40;
		be32_store(chunk, types[i]);
		be64_store(chunk + 8, i * 128);
		be64_store(chunk + 16, i < 4 ? 128 : 0);
		be64_store(chunk + 24, types[i] == 1 ? raw_at : 0);
		be64_store(chunk + 32, types[i] == 1 ? 65536 : types[i] ? packed : 0);
	}
	memcpy(bytes + block_at, "mish", 4);
	size_t block = 204 + G_N_ELEMENTS(types) * 40, end = block_at + block;
	be32_store(bytes + fork_at, 16);
	be32_store(bytes + fork_at + 8, 4 + block);
	be32_store(bytes + fork_at + 16, block);
	memcpy(bytes + end, "koly", 4);
	be64_store(bytes + end + 40, fork_at);
	be64_store(bytes + end + 48, end - fork_at);
	be64_store(bytes + end + 492, 512);
	return end + 512;
}

/* Images of the formats that are only read: 4 MiB of disk, some of it there. */
static size_t write_seed(uint8_t *bytes)
{
	if (g_str_equal(FUZZ_FORMAT, "parallels")) {
		memcpy(bytes, "WithouFreSpacExt", 16);
		le32_store(bytes + 16, 2);
		le32_store(bytes + 28, 128);
		le32_store(bytes + 32, 64);
		le64_store(bytes + 36, DISK_SIZE / 512);
		for (unsigned i = 0; i < 3; i++)
			le32_store(bytes + 64 + 80 * i, i + 1);
		return 4 * 65536;
	}
	if (g_str_equal(FUZZ_FORMAT, "bochs")) {
		memcpy(bytes, "Bochs Virtual HD Image", 22);
		memcpy(bytes + 32, "Redolog", 7);
		memcpy(bytes + 48, "Growing", 7);
		const uint32_t fields[] = {0x20000, 512, 64, 16, 65536, 0};
		for (unsigned i = 0; i < G_N_ELEMENTS(fields); i++)
			le32_store(bytes + 64 + 4 * i, fields[i]);
		le64_store(bytes + 88, DISK_SIZE);
		memset(bytes + 512, 0xff, 256);
		le32_store(bytes + 512 + 4, 0);
		memset(bytes + 1024, 0x5a, 16);
		return 1024 + 512 + 65536;
	}
	uLongf packed = 4096;
	static const uint8_t zeroes[65536];
	if (g_str_equal(FUZZ_FORMAT, "dmg"))
		return write_dmg(bytes);
	be32_store(bytes + 128, 65536);
	be32_store(bytes + 132, 2);
	assert(compress(bytes + 160, &packed, zeroes, sizeof(zeroes)) == Z_OK);
	be64_store(bytes + 136, 160);
	be64_store(bytes + 144, 160 + packed);
	be64_store(bytes + 152, 160 + packed);
	return 160 + packed;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	g_autoptr(GError) error = NULL;
	fuzz.loop = aio_loop_new(NULL);
	g_snprintf(fuzz.path, sizeof(fuzz.path), "/dev/shm/berth-fuzz-%d." FUZZ_FORMAT, getpid());
	static uint8_t bytes[70000] = {1, 2, 3};
	g_autofree char *help = block_create_help(FUZZ_FORMAT, NULL);
	if (help) {
		bool made = block_create(fuzz.path, FUZZ_FORMAT, DISK_SIZE, NULL, fuzz.loop, &error);
		struct block_node *node = made ? open_image(false) : NULL;
		gsize length;
		assert(node);
		assert(block_write_sync(node, 512, bytes, sizeof(bytes), NULL));
		assert(block_write_sync(node, 3 << 20, bytes, sizeof(bytes), NULL));
		block_close(node);
		assert(g_file_get_contents(fuzz.path, (char **)&fuzz.good, &length, NULL));
		fuzz.good_size = length;
	} else {
		fuzz.good = g_malloc0(DISK_SIZE);
		fuzz.good_size = write_seed(fuzz.good);
	}
	unlink(fuzz.path);
	fuzz.fd = open(fuzz.path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	unlink(fuzz.path);
	g_snprintf(fuzz.path, sizeof(fuzz.path), "/proc/self/fd/%d", fuzz.fd);
	return 0;
}

/* The good image with the input's changes. */
static void write_image(const uint8_t *data, size_t size)
{
	g_autofree uint8_t *image = g_memdup2(fuzz.good, fuzz.good_size);
	size_t length = fuzz.good_size;
	while (size >= 5) {
		uint64_t offset = le32_load(data);
		size_t n = MIN(data[4] & 0x7f, size - 5);
		/* The top bit of the length cuts the file there instead. */
		offset = offset % length;
		if (data[4] & 0x80)
			length = MAX(offset, 1);
		else
			memcpy(image + offset, data + 5, MIN(n, length - offset));
		data += 5 + n;
		size -= 5 + n;
	}
	assert(ftruncate(fuzz.fd, 0) == 0 && pwrite(fuzz.fd, image, length, 0) == (ssize_t)length);
}

static void look_and_read(struct block_node *node)
{
	static uint8_t bytes[200000];
	uint64_t size = block_size(node);
	uint64_t places[] = {0, 512, 65000, 1 << 20, 3 << 20, size / 2, size > 4096 ? size - 4096 : 0};
	for (unsigned i = 0; i < G_N_ELEMENTS(places); i++) {
		struct block_extent extent;
		uint64_t at = places[i];
		if (at >= size)
			continue;
		uint64_t n = MIN(sizeof(bytes), size - at);
		if (block_status(node, at, n, &extent) == 0)
			assert(extent.length && extent.length <= n);
		block_read_sync(node, at, bytes, n, NULL);
	}
	json_decref(block_info(node, NULL));
	struct block_check check = {0};
	if (size <= 64 * DISK_SIZE)
		block_check(node, &check, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t bytes[4096] = {9};
	write_image(data, size);
	struct block_node *node = open_image(true);
	if (node)
		look_and_read(node);
	block_close(node);
	node = open_image(false);
	for (unsigned i = 0; node && i < 4; i++) {
		if (range_fits(i * 700000, sizeof(bytes), block_size(node)))
			block_write_sync(node, i * 700000, bytes, sizeof(bytes), NULL);
	}
	block_close(node);
	return 0;
}
