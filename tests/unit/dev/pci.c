/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PCI: configuration masks, BARs, INTx sharing, MSI, MSI-X, both ways to configuration space. */
#include "base/bytes.h"
#include "dev/pci/host.h"
#include "fixture.h"

static uint64_t bar_read(void *opaque, uint64_t offset, unsigned size)
{
	return 0xabcd0000 + offset;
}

static void bar_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
}

static const struct io_ops bar_ops = {bar_read, bar_write, .min_size = 1, .max_size = 4};

struct bench {
	struct fixture f;
	struct pci_bus *bus;
	struct pci_host host;
	struct pci_device pci;
	struct io_region small, wide, ports, rom;
};

static void bench_open(struct bench *b)
{
	memset(b, 0, sizeof(*b));
	fixture_open(&b->f);
	struct irq irqs[4];
	for (unsigned i = 0; i < 4; i++)
		irqs[i] = fixture_irq(&b->f, i);
	b->bus = pci_bus_new(b->f.vm, irqs);
	pci_host_init(&b->host, b->f.vm, b->bus);
	pci_host_map_ports(&b->host);
	b->small = (struct io_region){.name = "small", .ops = &bar_ops, .size = 0x1000};
	b->wide = (struct io_region){.name = "wide", .ops = &bar_ops, .size = 0x4000};
	b->ports = (struct io_region){.name = "ports", .ops = &bar_ops, .size = 0x20};
	b->rom = (struct io_region){.name = "rom", .ops = &bar_ops, .size = 0x800};
	struct pci_device *p = &b->pci;
	pci_set_identity(p, 0x1234, 0x5678, 0x010000, 3);
	pci_set_subsystem(p, 0x1af4, 0x1100);
	pci_set_pin(p, 0);
	pci_add_bar(p, 0, &b->small, false, false, false);
	pci_add_bar(p, 1, &b->ports, true, false, false);
	pci_add_bar(p, 2, &b->wide, false, true, true);
	pci_set_rom(p, &b->rom);
	pci_add_express(p, true);
	pci_add_msi(p, 4);
	pci_add_msix(p, 5, 4);
	g_assert_true(pci_bus_attach(b->bus, p, NULL));
	g_assert_cmpuint(p->devfn, ==, 8);
}

static void bench_close(struct bench *b)
{
	pci_device_cleanup(&b->pci);
	pci_host_cleanup(&b->host);
	pci_bus_free(b->bus);
	fixture_close(&b->f);
}

static uint32_t get(struct bench *b, unsigned offset, unsigned size)
{
	return pci_config_read(b->bus, b->pci.devfn, offset, size);
}

static void set(struct bench *b, unsigned offset, uint32_t value, unsigned size)
{
	pci_config_write(b->bus, b->pci.devfn, offset, value, size);
}

static void test_masks(void)
{
	struct bench b;
	bench_open(&b);
	set(&b, 0, 0xffffffff, 4);
	g_assert_cmphex(get(&b, 0, 4), ==, 0x56781234);
	set(&b, 4, 0xffff, 2);
	g_assert_cmphex(get(&b, 4, 2), ==, 0x0547);
	g_assert_cmphex(get(&b, 8, 4), ==, 0x01000003);
	/* Absent functions and buses answer with ones. */
	g_assert_cmphex(pci_config_read(b.bus, 0x10, 0, 2), ==, 0xffff);
	g_assert_cmphex(pci_config_read(b.bus, 0x108, 0, 4), ==, 0xffffffff);
	pci_config_write(b.bus, 0xffff, 0xfff, 1, 4);
	/* The list of capabilities ends. */
	unsigned cap = get(&b, 0x34, 1), count = 0;
	for (; cap && count < 48; count++)
		cap = get(&b, cap + 1, 1);
	g_assert_cmpuint(count, ==, 3);
	bench_close(&b);
}

static void test_bars(void)
{
	struct bench b;
	bench_open(&b);
	struct space *mem = b.f.vm->memory;
	set(&b, 0x10, 0xffffffff, 4);
	g_assert_cmphex(get(&b, 0x10, 4), ==, 0xfffff000);
	set(&b, 0x14, 0xffffffff, 4);
	g_assert_cmphex(get(&b, 0x14, 4), ==, 0xffffffe1);
	set(&b, 0x18, 0xffffffff, 4);
	set(&b, 0x1c, 0xffffffff, 4);
	g_assert_cmphex(get(&b, 0x18, 4), ==, 0xffffc00c);
	g_assert_cmphex(get(&b, 0x1c, 4), ==, 0xffffffff);
	set(&b, 4, 3, 2); /* decoding on while all are sized: nothing is mapped */
	g_assert_cmphex(space_read(mem, 0xfffff000, 4), ==, 0xffffffff);
	set(&b, 0x10, 0xe0000000, 4);
	g_assert_cmphex(space_read(mem, 0xe0000010, 4), ==, 0xabcd0010);
	set(&b, 0x10, 0xe1000000, 4);
	g_assert_cmphex(space_read(mem, 0xe0000010, 4), ==, 0xffffffff);
	g_assert_cmphex(space_read(mem, 0xe1000010, 4), ==, 0xabcd0010);
	set(&b, 0x18, 0, 4);
	set(&b, 0x1c, 8, 4);
	g_assert_cmphex(space_read(mem, UINT64_C(0x800000004), 4), ==, 0xabcd0004);
	set(&b, 0x14, 0xc000, 4);
	g_assert_cmphex(space_read(b.f.vm->ports, 0xc004, 4), ==, 0xabcd0004);
	set(&b, 0x30, 0xe2000001, 4);
	g_assert_cmphex(space_read(mem, 0xe2000000, 4), ==, 0xabcd0000);
	/* On top of RAM: RAM stays. */
	space_write(mem, 0x5000, 0x11223344, 4);
	set(&b, 0x10, 0x5000, 4);
	g_assert_cmphex(space_read(mem, 0x5000, 4), ==, 0x11223344);
	set(&b, 4, 0, 2);
	g_assert_cmphex(space_read(b.f.vm->ports, 0xc004, 4), ==, 0xffffffff);
	g_assert_cmphex(space_read(mem, UINT64_C(0x800000004), 4), ==, 0xffffffff);
	bench_close(&b);
}

/* Two images, a PC's and an EFI one, that are adapted to the function; the BAR shows them. */
static void test_rom(void)
{
	struct bench b;
	bench_open(&b);
	struct pci_device card = {0};
	pci_set_identity(&card, 0x1af4, 0x1041, 0x020000, 1);
	g_assert_true(pci_bus_attach_at(b.bus, &card, 6 << 3, NULL));
	uint8_t rom[1536] = {0};
	for (unsigned at = 0; at < sizeof(rom); at += 1024) {
		le16_store(rom + at, 0xaa55);
		le16_store(rom + at + 0x18, 0x40);
		memcpy(rom + at + 0x40, "PCIR\xf4\x1a\x00\x10", 8);
		le16_store(rom + at + 0x50, at ? 1 : 2);
		rom[at + 0x54] = at ? 3 : 0;
		rom[at + 0x55] = at ? 0x80 : 0;
	}
	memcpy(rom + 1024 + 4, "\xf1\x0e\x00\x00", 4);
	rom[6] = 7;
	uint8_t sum = 0, after = 0;
	for (unsigned i = 0; i < 1024; i++)
		sum += rom[i];
	pci_install_rom(&card, g_bytes_new(rom, sizeof(rom)), true);
	pci_config_write(b.bus, 6 << 3, 0x30, 0xffffffff, 4);
	g_assert_cmphex(pci_config_read(b.bus, 6 << 3, 0x30, 4), ==, 0xfffff801);
	pci_config_write(b.bus, 6 << 3, 4, 2, 2);
	pci_config_write(b.bus, 6 << 3, 0x30, 0xe4000001, 4);
	struct space *mem = b.f.vm->memory;
	g_assert_cmphex(space_read(mem, 0xe4000044, 4), ==, 0x10411af4);
	g_assert_cmphex(space_read(mem, 0xe4000444, 4), ==, 0x10411af4);
	g_assert_cmphex(space_read(mem, 0xe4000404, 4), ==, 0x0ef1);
	for (unsigned i = 0; i < 1024; i++)
		after += (uint8_t)space_read(mem, 0xe4000000 + i, 1);
	g_assert_cmphex(after, ==, sum);
	space_write(mem, 0xe4000000, 0, 4);
	g_assert_cmphex(space_read(mem, 0xe4000000, 2), ==, 0xaa55);
	g_assert_cmphex(space_read(mem, 0xe4000600, 4), ==, 0xffffffff); /* behind the file's end */
	pci_config_write(b.bus, 6 << 3, 0x30, 0xe4000000, 4);
	g_assert_cmphex(space_read(mem, 0xe4000044, 4), ==, 0xffffffff);
	pci_device_cleanup(&card);
	bench_close(&b);
}

static void test_intx(void)
{
	struct bench b;
	bench_open(&b);
	struct pci_device other = {0};
	pci_set_identity(&other, 0x1234, 1, 0xff0000, 0);
	pci_set_pin(&other, 0);
	g_assert_true(pci_bus_attach_at(b.bus, &other, 5 << 3, NULL)); /* the same line: 5 % 4 == 1 */
	pci_intx_set(&b.pci, true);
	g_assert_true(b.f.level[1]);
	g_assert_cmphex(get(&b, 6, 2) & 8, ==, 8);
	pci_intx_set(&other, true);
	pci_intx_set(&b.pci, false);
	g_assert_true(b.f.level[1]);
	pci_config_write(b.bus, 5 << 3, 4, 0x400, 2); /* INTx disable */
	g_assert_false(b.f.level[1]);
	pci_config_write(b.bus, 5 << 3, 4, 0, 2);
	g_assert_true(b.f.level[1]);
	pci_device_cleanup(&other); /* detaching lowers the line */
	g_assert_false(b.f.level[1]);
	bench_close(&b);
}

static void test_msi(void)
{
	struct bench b;
	bench_open(&b);
	struct fake_vm *engine = fake_of(b.f.vm);
	unsigned cap = b.pci.msi_cap;
	g_assert_false(pci_msi_notify(&b.pci, 0));
	set(&b, 4, PCI_COMMAND_MASTER, 2);
	set(&b, cap + 4, 0xfee01003, 4);
	set(&b, cap + 0xc, 0x4040, 2);
	set(&b, cap + 2, 1 | 7 << 4, 2); /* more vectors than offered */
	g_assert_true(pci_msi_notify(&b.pci, 6));
	g_assert_cmphex(engine->last_msi_address, ==, 0xfee01000);
	g_assert_cmphex(engine->last_msi_data, ==, 0x4042);
	set(&b, cap + 0x10, 0xffffffff, 4);
	g_assert_cmphex(get(&b, cap + 0x10, 4), ==, 0xf);
	pci_msi_notify(&b.pci, 1);
	g_assert_cmpuint(engine->msis, ==, 1);
	g_assert_cmphex(get(&b, cap + 0x14, 4), ==, 2);
	set(&b, cap + 0x10, 0, 4);
	g_assert_cmpuint(engine->msis, ==, 2);
	g_assert_cmphex(get(&b, cap + 0x14, 4), ==, 0);
	bench_close(&b);
}

static unsigned changes;

static void count_changes(struct pci_device *pci, unsigned vector)
{
	changes++;
}

static void test_msix(void)
{
	struct bench b;
	bench_open(&b);
	struct fake_vm *engine = fake_of(b.f.vm);
	struct space *mem = b.f.vm->memory;
	unsigned cap = b.pci.msix.cap;
	changes = 0;
	b.pci.vector_changed = count_changes;
	set(&b, 0x20, 0xe0000000, 4); /* BAR 4 */
	set(&b, 4, PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY, 2);
	set(&b, cap + 2, 0x8000, 2);
	g_assert_cmpuint(changes, ==, 5);
	g_assert_cmphex(get(&b, cap + 2, 2), ==, 0x8004);
	uint64_t entry = 0xe0000000 + 16 * 3, pba = 0xe0000000 + (get(&b, cap + 8, 4) & ~7u);
	g_assert_cmphex(space_read(mem, entry + 12, 4), ==, 1);
	space_write(mem, entry, 0xfee02000, 4);
	space_write(mem, entry + 8, 0x31, 4);
	pci_msi_notify(&b.pci, 3); /* masked: pending */
	g_assert_cmpuint(engine->msis, ==, 0);
	g_assert_cmphex(space_read(mem, pba, 8), ==, 8);
	space_write(mem, entry + 12, 0xfffffffe, 4);
	g_assert_cmpuint(engine->msis, ==, 1);
	g_assert_cmphex(engine->last_msi_data, ==, 0x31);
	g_assert_cmphex(space_read(mem, pba, 8), ==, 0);
	g_assert_cmphex(space_read(mem, entry + 12, 4), ==, 0);
	/* The function mask holds everything back. */
	set(&b, cap + 2, 0xc000, 2);
	pci_msi_notify(&b.pci, 3);
	uint64_t address;
	uint32_t data;
	g_assert_false(pci_msi_message(&b.pci, 3, &address, &data));
	set(&b, cap + 2, 0x8000, 2);
	g_assert_cmpuint(engine->msis, ==, 2);
	pci_msi_notify(&b.pci, 77); /* no such vector */
	g_assert_cmpuint(engine->msis, ==, 2);
	/* Without bus mastering a message goes nowhere. */
	set(&b, 4, PCI_COMMAND_MEMORY, 2);
	pci_msi_notify(&b.pci, 3);
	g_assert_cmpuint(engine->msis, ==, 2);
	pci_device_reset(&b.pci);
	g_assert_false(pci_msix_enabled(&b.pci));
	g_assert_cmphex(space_read(mem, entry, 4), ==, 0xffffffff);
	bench_close(&b);
}

static void test_host(void)
{
	struct bench b;
	bench_open(&b);
	struct space *io = b.f.vm->ports, *mem = b.f.vm->memory;
	space_write(io, 0xcf8, 0x80000800, 4);
	g_assert_cmphex(space_read(io, 0xcfc, 4), ==, 0x56781234);
	g_assert_cmphex(space_read(io, 0xcfe, 2), ==, 0x5678);
	g_assert_cmphex(space_read(io, 0xcff, 1), ==, 0x56);
	g_assert_cmphex(space_read(io, 0xcf8, 4), ==, 0x80000800);
	space_write(io, 0xcf8, 0x00000800, 4);
	g_assert_cmphex(space_read(io, 0xcfc, 4), ==, 0xffffffff);
	pci_host_map_ecam(&b.host, 0xb0000000, 256 << 20);
	g_assert_cmphex(space_read(mem, 0xb0008000, 4), ==, 0x56781234);
	g_assert_cmphex(space_read(mem, 0xb0008ffc, 4), ==, 0);
	g_assert_cmphex(space_read(mem, 0xb0108000, 4), ==, 0xffffffff);
	pci_host_map_ecam(&b.host, 0xe0000000, 64 << 20);
	g_assert_cmphex(space_read(mem, 0xb0008000, 4), ==, 0xffffffff);
	g_assert_cmphex(space_read(mem, 0xe0008002, 2), ==, 0x5678);
	/* CF9: a reset on the rising edge of bit 2. */
	outb(&b.f, 0xcf9, 0x02);
	outb(&b.f, 0xcf9, 0x06);
	g_assert_cmphex(inb(&b.f, 0xcf9), ==, 0x06);
	g_assert_true(fixture_wait(&b.f, &b.f.requests[VM_REQUEST_RESET], 1));
	bench_close(&b);
}

static void test_attach(void)
{
	struct bench b;
	bench_open(&b);
	struct pci_device other = {0};
	g_autoptr(GError) error = NULL;
	pci_set_identity(&other, 1, 1, 0, 0);
	other.address = b.pci.devfn;
	g_assert_false(pci_bus_attach(b.bus, &other, &error));
	g_assert_nonnull(strstr(error->message, "01.0"));
	g_clear_error(&error);
	other.address = b.pci.devfn + 1; /* function 0 is there, not multifunction */
	g_assert_false(pci_bus_attach(b.bus, &other, &error));
	other.address = -1;
	g_assert_true(pci_bus_attach(b.bus, &other, NULL));
	g_assert_cmpuint(other.devfn, ==, 2 << 3);
	pci_bus_detach(b.bus, &other);
	g_assert_null(pci_bus_find(b.bus, 2 << 3));
	bench_close(&b);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/pci/masks", test_masks);
	g_test_add_func("/pci/bars", test_bars);
	g_test_add_func("/pci/rom", test_rom);
	g_test_add_func("/pci/intx", test_intx);
	g_test_add_func("/pci/msi", test_msi);
	g_test_add_func("/pci/msix", test_msix);
	g_test_add_func("/pci/host", test_host);
	g_test_add_func("/pci/attach", test_attach);
	return g_test_run();
}
