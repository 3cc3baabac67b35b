/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest that pokes at every port and register of a q35 board: the input is a list of accesses,
 * each to an address near something that answers. Nothing may crash, hang or be reported by the
 * sanitizers. The machine lives for the whole run and is reset before each input.
 */
#include "aio/loop.h"
#include "base/bytes.h"
#include "base/error.h"
#include "fake_engine.h"
#include "machine/machine.h"

#include <glib/gstdio.h>
#include <unistd.h>

static struct {
	struct aio_loop *loop;
	struct vm *vm;
	struct machine *machine;
	struct machine_config config;
	char *firmware;
} board;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Anchors: the access goes to one of these plus a 16-bit offset from the input. */
static const uint64_t memory_anchors[] = {
	0, 0xa0000, 0xc0000, 0xe0000, 0xf0000, 0xb0000000, 0xb0008000, 0xb00f8000, 0xb00fa000,
	0xe0000000, 0xe0100000, 0xfec00000, 0xfed00000, 0xfed1c000, 0xfffe0000, 0xfee00000,
	UINT64_C(0x100000000), UINT64_C(0x800000000),
};
static const uint16_t port_anchors[] = {
	0x00, 0x20, 0x40, 0x60, 0x70, 0x80, 0x92, 0xa0, 0xb2, 0x3f8, 0x402, 0x4d0, 0x505, 0x510,
	0x600, 0x620, 0xc000, 0xcf8, 0xcfc,
};

static void start(void)
{
	board.loop = aio_loop_new(NULL);
	const struct vm_config config = {.engine = &fake_engine, .vcpus = 1};
	board.vm = vm_new(&config, board.loop, NULL);
	g_assert_nonnull(board.vm);
	int fd = g_file_open_tmp("firmware-XXXXXX", &board.firmware, NULL);
	g_assert_cmpint(ftruncate(fd, 256 * 1024), ==, 0);
	close(fd);
	machine_config_init(&board.config);
	board.config.memory = 32 << 20;
	board.config.firmware = board.firmware;
	static const struct machine_device devices[] = {
		{.driver = "pvpanic"}, {.driver = "isa-serial"}, {.driver = "isa-debugcon"},
		{.driver = "virtio-rng-pci"}, {.driver = "virtio-serial-pci"},
		{.driver = "virtio-balloon-pci"}, {.driver = "isa-debug-exit"},
	};
	board.config.devices = devices;
	board.config.device_count = G_N_ELEMENTS(devices);
	g_autoptr(GError) error = NULL;
	board.machine = machine_new(&board.config, board.vm, &error);
	if (!board.machine)
		g_error("%s", error->message);
	g_unlink(board.firmware);
}

/* An access takes 8 bytes: what, anchor, offset (2), value (4). */
static void access_once(const uint8_t *op)
{
	unsigned width = 1u << (op[0] & 3);
	bool write = op[0] & 4, port = op[0] & 8;
	uint16_t offset = le16_load(op + 2);
	uint64_t value = le32_load(op + 4);
	value |= value << 32;
	struct space *space = port ? board.vm->ports : board.vm->memory;
	uint64_t address = port ? (uint16_t)(port_anchors[op[1] % G_N_ELEMENTS(port_anchors)] +
					     offset % 0x40) :
				  memory_anchors[op[1] % G_N_ELEMENTS(memory_anchors)] + offset;
	if (port && width == 8)
		width = 4;
	/* Ports of the CF8 pair point at a function that exists more often than not. */
	if (port && write && address == 0xcf8 && width == 4)
		value = 0x80000000 | (value & 0xfffc);
	if (write)
		space_write(space, address, value, width);
	else
		(void)space_read(space, address, width);
	if (op[0] & 0x80)
		aio_loop_iterate(board.loop, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!board.machine)
		start();
	vm_reset(board.vm, false);
	for (size_t at = 0; at + 8 <= size && at < 8 * 4096; at += 8)
		access_once(data + at);
	aio_loop_iterate(board.loop, 0);
	return 0;
}
