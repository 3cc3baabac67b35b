/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fw_cfg, keyboard controller, flash, event device and the small ISA ports. */
#include "base/bytes.h"
#include "block/core/block.h"
#include "dev/chips/acpi_slots.h"
#include "dev/chips/fw_cfg.h"
#include "dev/chips/ged.h"
#include "dev/chips/i8042.h"
#include "dev/chips/isa.h"
#include "dev/chips/pflash.h"
#include "fixture.h"

#include <glib/gstdio.h>
#include <string.h>

/* --- fw_cfg ------------------------------------------------------------------------------------------ */

static uint32_t dma(struct fixture *f, uint32_t control, uint32_t length, uint64_t address)
{
	uint8_t d[16];
	be32_store(d, control);
	be32_store(d + 4, length);
	be64_store(d + 8, address);
	space_dma_write(f->vm->memory, 0x100, d, sizeof(d));
	space_write(f->vm->ports, 0x514, 0, 4);
	space_write(f->vm->ports, 0x518, htobe32(0x100), 4);
	space_dma_read(f->vm->memory, 0x100, d, 4);
	return be32_load(d);
}

static unsigned writes;

static void file_written(void *opaque, const uint8_t *data, size_t offset, size_t size)
{
	writes++;
	g_assert_cmpmem(data + offset, size, "new!", 4);
}

static void file_selected(void *opaque)
{
	g_assert_true(fw_cfg_add_file(opaque, "etc/late", "fresh", 6, NULL));
}

static void test_fw_cfg(void)
{
	struct fixture f;
	fixture_open(&f);
	struct fw_cfg *fw = fw_cfg_new(f.vm);
	fw_cfg_map_ports(fw, 0x510);
	space_write(f.vm->ports, 0x510, FW_CFG_SIGNATURE, 2);
	char text[5] = "";
	for (unsigned i = 0; i < 4; i++)
		text[i] = inb(&f, 0x511);
	g_assert_cmpstr(text, ==, "QEMU");
	g_assert_cmphex(inb(&f, 0x511), ==, 0); /* beyond the end */
	g_assert_cmphex(space_read(f.vm->ports, 0x514, 4), ==, 0x554d4551);

	const struct fw_cfg_file_ops writable = {.written = file_written};
	const struct fw_cfg_file_ops late = {.selected = file_selected, .opaque = fw};
	g_assert_true(fw_cfg_add_file(fw, "etc/one", "abcdef", 6, NULL));
	g_assert_true(fw_cfg_add_file_ops(fw, "etc/two", "12345678", 8, &writable, NULL));
	g_assert_true(fw_cfg_add_file_ops(fw, "etc/late", "before", 6, &late, NULL));
	g_autofree char *long_name = g_strnfill(FW_CFG_FILE_NAME_MAX + 1, 'x');
	g_assert_false(fw_cfg_add_file(fw, long_name, "", 0, NULL));
	/* The directory by DMA. */
	g_assert_cmphex(dma(&f, FW_CFG_FILE_DIR << 16 | 8 | 2, 4 + 3 * 64, 0x1000), ==, 0);
	const uint8_t *dir = f.ram->host + 0x1000;
	g_assert_cmpuint(be32_load(dir), ==, 3);
	g_assert_cmpuint(be32_load(dir + 4), ==, 6);
	g_assert_cmpuint(be16_load(dir + 8), ==, FW_CFG_FILE_FIRST);
	g_assert_cmpstr((const char *)dir + 12, ==, "etc/one");
	/* Skip, read past the end: zeroes. */
	g_assert_cmphex(dma(&f, FW_CFG_FILE_FIRST << 16 | 8 | 4, 4, 0), ==, 0);
	memset(f.ram->host + 0x2000, 0xff, 8);
	g_assert_cmphex(dma(&f, 2, 4, 0x2000), ==, 0);
	g_assert_cmpmem(f.ram->host + 0x2000, 5, "ef\0\0\xff", 5);
	/* Writes: only where they are allowed, only inside. */
	memcpy(f.ram->host + 0x3000, "new!", 4);
	g_assert_cmphex(dma(&f, FW_CFG_FILE_FIRST << 16 | 8 | 16, 4, 0x3000), ==, 1);
	g_assert_cmphex(dma(&f, (FW_CFG_FILE_FIRST + 1) << 16 | 8 | 16, 9, 0x3000), ==, 1);
	g_assert_cmphex(dma(&f, (FW_CFG_FILE_FIRST + 1) << 16 | 8 | 16, 4, 0x3000), ==, 0);
	g_assert_cmpuint(writes, ==, 1);
	/* Not RAM. */
	g_assert_cmphex(dma(&f, FW_CFG_FILE_FIRST << 16 | 8 | 2, 4, FIXTURE_RAM), ==, 1);
	/* Contents made at selection. */
	g_assert_cmphex(dma(&f, (FW_CFG_FILE_FIRST + 2) << 16 | 8 | 2, 6, 0x4000), ==, 0);
	g_assert_cmpstr((const char *)f.ram->host + 0x4000, ==, "fresh");
	fw_cfg_free(fw);
	fixture_close(&f);
}

/* --- i8042 ------------------------------------------------------------------------------------------- */

static void test_keyboard(void)
{
	struct fixture f;
	fixture_open(&f);
	const struct irq irq1 = fixture_irq(&f, 1), irq12 = fixture_irq(&f, 12);
	struct i8042 *kbc = i8042_new(f.vm, &irq1, &irq12);
	outb(&f, 0x64, 0xaa);
	g_assert_cmphex(inb(&f, 0x64) & 0x01, ==, 1);
	g_assert_cmphex(inb(&f, 0x60), ==, 0x55);
	outb(&f, 0x64, 0x60); /* translation, both interrupts */
	outb(&f, 0x60, 0x47);
	outb(&f, 0x60, 0xff);
	g_assert_true(f.level[1]);
	g_assert_cmphex(inb(&f, 0x60), ==, 0xfa);
	g_assert_cmphex(inb(&f, 0x60), ==, 0xaa);
	g_assert_false(f.level[1]);
	/* The A key, and the right Ctrl key with its prefix. */
	i8042_key(kbc, 0x1e, true);
	i8042_key(kbc, 0x1e, false);
	i8042_key(kbc, 0x9d, true);
	static const uint8_t codes[] = {0x1e, 0x9e, 0xe0, 0x1d};
	for (unsigned i = 0; i < sizeof(codes); i++)
		g_assert_cmphex(inb(&f, 0x60), ==, codes[i]);
	/* The mouse: wheel knock, identity, a packet. */
	static const uint8_t knock[] = {0xf3, 200, 0xf3, 100, 0xf3, 80, 0xf2, 0xf4};
	for (unsigned i = 0; i < sizeof(knock); i++) {
		outb(&f, 0x64, 0xd4);
		outb(&f, 0x60, knock[i]);
		g_assert_cmphex(inb(&f, 0x64) & 0x21, ==, 0x21);
		g_assert_cmphex(inb(&f, 0x60), ==, 0xfa);
		if (knock[i] == 0xf2)
			g_assert_cmphex(inb(&f, 0x60), ==, 3);
	}
	i8042_mouse(kbc, 5, 3, 1, 1);
	static const uint8_t packet[] = {0x29, 5, 0xfd, 1};
	g_assert_true(f.level[12]);
	for (unsigned i = 0; i < sizeof(packet); i++)
		g_assert_cmphex(inb(&f, 0x60), ==, packet[i]);
	/* A flood of keys is bounded and does not split sequences. */
	for (unsigned i = 0; i < 1000; i++)
		i8042_key(kbc, 0x1e, i % 2 == 0);
	outb(&f, 0x64, 0xfe);
	g_assert_true(fixture_wait(&f, &f.requests[VM_REQUEST_RESET], 1));
	i8042_free(kbc);
	fixture_close(&f);
}

/* --- flash ------------------------------------------------------------------------------------------- */

#define FLASH_END  UINT64_C(0x100000000)
#define FLASH_SIZE (2 * PFLASH_SECTOR)

static void flash_command(struct fixture *f, uint64_t at, uint8_t first, uint8_t second)
{
	space_write(f->vm->memory, at, first, 1);
	space_write(f->vm->memory, at, second, 1);
}

static void test_flash(void)
{
	struct fixture f;
	fixture_open(&f);
	g_autofree char *path = NULL;
	int fd = g_file_open_tmp("flash-XXXXXX", &path, NULL);
	g_autofree char *image = g_strnfill(FLASH_SIZE, 0x7f);
	g_assert_cmpint(write(fd, image, FLASH_SIZE), ==, FLASH_SIZE);
	const struct block_open_options options = {.filename = path, .format = "raw"};
	struct block_node *node = block_open(&options, f.loop, NULL);
	g_assert_nonnull(node);
	struct pflash *flash = pflash_new(f.vm, "vars", node, false, FLASH_END, NULL);
	struct space *mem = f.vm->memory;
	uint64_t base = FLASH_END - FLASH_SIZE;
	g_assert_cmphex(pflash_base(flash), ==, base);
	g_assert_cmphex(space_read(mem, base + 5, 1), ==, 0x7f);
	/* OVMF's probe: cleared status reads as zero. */
	space_write(mem, base, 0x50, 1);
	g_assert_cmphex(space_read(mem, base, 1), ==, 0x7f);
	space_write(mem, base, 0x70, 1);
	g_assert_cmphex(space_read(mem, base, 1), ==, 0x00);
	space_write(mem, base, 0x98, 1);
	g_assert_cmphex(space_read(mem, base + 0x10, 1), ==, 'Q');
	/* Programming only clears bits; erasing sets a sector. */
	flash_command(&f, base + 1, 0x40, 0xf0);
	g_assert_cmphex(space_read(mem, base, 1), ==, 0x80);
	space_write(mem, base, 0xff, 1);
	g_assert_cmphex(space_read(mem, base + 1, 1), ==, 0x70);
	flash_command(&f, base + PFLASH_SECTOR + 17, 0x20, 0xd0);
	space_write(mem, base, 0xff, 1);
	g_assert_cmphex(space_read(mem, base + PFLASH_SECTOR, 4), ==, 0xffffffff);
	g_assert_cmphex(space_read(mem, base + PFLASH_SECTOR - 1, 1), ==, 0x7f);
	/* A buffered write of three bytes. */
	flash_command(&f, base + PFLASH_SECTOR, 0xe8, 2);
	for (unsigned i = 0; i < 3; i++)
		space_write(mem, base + PFLASH_SECTOR + i, 0x10 + i, 1);
	space_write(mem, base, 0xd0, 1);
	space_write(mem, base, 0xff, 1);
	g_assert_cmphex(space_read(mem, base + PFLASH_SECTOR, 4), ==, 0xff121110);
	pflash_reset(flash);
	pflash_free(flash);
	block_close(node);
	/* All of it is in the file. */
	g_autofree char *after = NULL;
	g_assert_true(g_file_get_contents(path, &after, NULL, NULL));
	g_assert_cmphex((uint8_t)after[1], ==, 0x70);
	g_assert_cmpmem(after + PFLASH_SECTOR, 4, "\x10\x11\x12\xff", 4);
	close(fd);
	g_unlink(path);
	fixture_close(&f);
}

static void test_flash_readonly(void)
{
	struct fixture f;
	fixture_open(&f);
	g_autofree char *image = g_strnfill(FLASH_SIZE, 0x7f);
	struct pflash *flash = pflash_new_memory(f.vm, "code", image, FLASH_SIZE, true, FLASH_END,
						 NULL);
	struct space *mem = f.vm->memory;
	uint64_t base = FLASH_END - FLASH_SIZE;
	flash_command(&f, base, 0x10, 0);
	g_assert_cmphex(space_read(mem, base, 1), ==, 0x92);
	flash_command(&f, base, 0x20, 0xd0);
	g_assert_cmphex(space_read(mem, base, 1) & 0x20, ==, 0x20);
	/* A buffer that is too long, and one that is never confirmed. */
	flash_command(&f, base, 0xe8, 0xff);
	pflash_reset(flash);
	g_assert_cmphex(space_read(mem, base, 1), ==, 0x7f);
	pflash_free(flash);
	g_autoptr(GError) error = NULL;
	g_assert_null(pflash_new_memory(f.vm, "odd", image, 5, true, FLASH_END, &error));
	g_assert_nonnull(strstr(error->message, "4 KiB"));
	fixture_close(&f);
}

/* --- the rest ---------------------------------------------------------------------------------------- */

static void test_isa(void)
{
	struct fixture f;
	fixture_open(&f);
	struct isa_bus bus = {0};
	struct device *exit_port = device_new(&isa_debug_exit_class, NULL, f.vm);
	struct device *panic_port = device_new(&isa_pvpanic_class, NULL, f.vm);
	struct device *console = device_new(&isa_debugcon_class, NULL, f.vm);
	exit_port->bus = panic_port->bus = console->bus = &bus;
	g_assert_true(device_set(exit_port, "iobase", "0xf4", NULL, NULL));
	g_assert_true(device_set(exit_port, "iosize", "4", NULL, NULL));
	g_assert_true(device_realize(exit_port, NULL));
	g_assert_true(device_realize(panic_port, NULL));
	g_assert_true(device_realize(console, NULL));
	g_assert_cmphex(inb(&f, 0xe9), ==, 0xe9);
	outb(&f, 0xe9, 'x');
	g_assert_cmphex(inb(&f, 0x505), ==, 3);
	outb(&f, 0x505, 2);
	outb(&f, 0x505, 1);
	g_assert_true(fixture_wait(&f, &f.requests[VM_REQUEST_PANIC], 1));
	space_write(f.vm->ports, 0xf4, 0x10, 4);
	g_assert_true(fixture_wait(&f, &f.requests[VM_REQUEST_SHUTDOWN], 1));
	g_assert_cmpint(f.code, ==, 0x21);
	device_free(exit_port);
	device_free(panic_port);
	device_free(console);
	struct device *wrong = device_new(&isa_debug_exit_class, NULL, f.vm);
	g_autoptr(GError) error = NULL;
	g_assert_true(device_set(wrong, "iobase", "0xffff", NULL, NULL));
	g_assert_false(device_realize(wrong, &error));
	device_free(wrong);
	fixture_close(&f);
}

static void test_ged(void)
{
	struct fixture f;
	fixture_open(&f);
	const struct irq irq = fixture_irq(&f, 9);
	struct ged *ged = ged_new(f.vm, 0xfea00000, 0xfea00200, &irq, 5, 0x42);
	ged_raise(ged, GED_EVENT_POWER_BUTTON);
	g_assert_cmpuint(f.edges[9], ==, 1);
	g_assert_cmphex(space_read(f.vm->memory, 0xfea00000, 4), ==, 2);
	g_assert_cmphex(space_read(f.vm->memory, 0xfea00000, 4), ==, 0);
	space_write(f.vm->memory, 0xfea00200, 1 << 5 | 4 << 2, 1); /* not S5 */
	space_write(f.vm->memory, 0xfea00202, 0x42, 1);
	g_assert_true(fixture_wait(&f, &f.requests[VM_REQUEST_RESET], 1));
	g_assert_cmpuint(f.requests[VM_REQUEST_SHUTDOWN], ==, 0);
	space_write(f.vm->memory, 0xfea00200, 1 << 5 | 5 << 2, 1);
	g_assert_true(fixture_wait(&f, &f.requests[VM_REQUEST_SHUTDOWN], 1));
	ged_free(ged);
	fixture_close(&f);
}

static void count_call(void *opaque)
{
	++*(unsigned *)opaque;
}

static void count_ejected(void *opaque, unsigned slot)
{
	++((unsigned *)opaque)[slot];
}

static void test_slots(void)
{
	struct fixture f;
	unsigned events = 0, ejected[2] = {0};
	const struct acpi_slots_ops ops = {count_call, &events, count_ejected, ejected};
	fixture_open(&f);
	struct acpi_slots *slots = acpi_slots_new(f.vm, 0xae00, 2, &ops);
	acpi_slots_set_present(slots, 1, true);
	acpi_slots_inserted(slots, 1);
	acpi_slots_request(slots, 1);
	g_assert_cmpuint(events, ==, 2);
	space_write(f.vm->ports, 0xae04, 1, 4);
	g_assert_cmphex(space_read(f.vm->ports, 0xae04, 4), ==, 1);
	g_assert_cmphex(space_read(f.vm->ports, 0xae00, 4), ==, 1 << 16 | 1);
	g_assert_cmphex(space_read(f.vm->ports, 0xae00, 4), ==, 3 << 16 | 1);
	g_assert_cmphex(space_read(f.vm->ports, 0xae00, 4), ==, 0);
	space_write(f.vm->ports, 0xae08, 1, 4);
	space_write(f.vm->ports, 0xae08, 2, 4); /* there is none */
	g_assert_true(fixture_wait(&f, &ejected[1], 1));
	/* What was asked of the old device, twice, and what the guest says of it are not for the new one. */
	acpi_slots_request(slots, 1);
	space_write(f.vm->ports, 0xae08, 1, 4);
	acpi_slots_set_present(slots, 1, false);
	acpi_slots_set_present(slots, 1, true);
	acpi_slots_inserted(slots, 1);
	aio_loop_iterate(f.loop, 0);
	g_assert_cmphex(space_read(f.vm->ports, 0xae00, 4), ==, 1 << 16 | 1);
	g_assert_cmphex(space_read(f.vm->ports, 0xae00, 4), ==, 0);
	g_assert_cmpuint(ejected[1], ==, 1);
	g_assert_cmpuint(ejected[0], ==, 0);
	acpi_slots_free(slots);
	fixture_close(&f);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/fw-cfg", test_fw_cfg);
	g_test_add_func("/i8042", test_keyboard);
	g_test_add_func("/pflash/variables", test_flash);
	g_test_add_func("/pflash/readonly", test_flash_readonly);
	g_test_add_func("/isa", test_isa);
	g_test_add_func("/ged", test_ged);
	g_test_add_func("/acpi-slots", test_slots);
	return g_test_run();
}
