/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fw_cfg's ports and DMA descriptors, which the input writes into RAM. */
#include "aio/loop.h"
#include "base/bytes.h"
#include "dev/chips/fw_cfg.h"
#include "fake_engine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RAM_SIZE 0x10000

static struct {
	struct aio_loop *loop;
	struct vm *vm;
	struct ram_block *ram;
	struct fw_cfg *fw;
} bench;

static void written(void *opaque, const uint8_t *data, size_t offset, size_t size)
{
	g_assert_cmpuint(offset, <=, 64);
	g_assert_cmpuint(size, <=, 64 - offset);
}

static void selected(void *opaque)
{
	static unsigned turn;
	static const uint8_t bytes[32];
	fw_cfg_add_file(bench.fw, "turns", bytes, turn++ % sizeof(bytes), NULL);
}

static void start(void)
{
	static const uint8_t zeroes[64];
	bench.loop = aio_loop_new(NULL);
	const struct vm_config config = {.engine = &fake_engine, .vcpus = 1};
	bench.vm = vm_new(&config, bench.loop, NULL);
	bench.ram = ram_block_new("ram", RAM_SIZE, NULL, NULL);
	space_add_ram(bench.vm->memory, 0, bench.ram, 0, RAM_SIZE, false, NULL,
		      SPACE_PRIORITY_NORMAL);
	bench.fw = fw_cfg_new(bench.vm);
	fw_cfg_map_ports(bench.fw, 0x510);
	const struct fw_cfg_file_ops writable = {.written = written}, turns = {.selected = selected};
	fw_cfg_add_file(bench.fw, "plain", "hello", 5, NULL);
	fw_cfg_add_file_ops(bench.fw, "writable", zeroes, sizeof(zeroes), &writable, NULL);
	fw_cfg_add_file_ops(bench.fw, "turns", zeroes, 1, &turns, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!bench.fw)
		start();
	fw_cfg_reset(bench.fw);
	struct space *io = bench.vm->ports;
	for (size_t at = 0; at + 20 <= size && at < 20 * 512; at += 20) {
		const uint8_t *op = data + at;
		uint32_t value = le32_load(op + 16);
		switch (op[0] % 4) {
		case 0: /* a descriptor anywhere near RAM; lengths stay small enough to be quick */
			memcpy(bench.ram->host + (value & 0xfff0), op, 16);
			bench.ram->host[(value & 0xfff0) + 4] = 0;
			space_write(io, 0x514, htobe32(op[1] == 7), 4);
			space_write(io, 0x518, htobe32(value & 0x1fff0), 4);
			break;
		case 1: space_write(io, 0x510, value, 2); break;
		case 2: (void)space_read(io, 0x510 + op[1] % 12, 1u << op[2] % 3); break;
		case 3: space_write(io, 0x510 + op[1] % 12, value, 1u << op[2] % 3); break;
		}
	}
	return 0;
}
