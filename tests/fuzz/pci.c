/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Configuration space of one function with every kind of BAR and capability: any sequence of
 * configuration and BAR accesses, and interrupts raised in between. Checked invariants: identity
 * never changes, the capability list ends, mapped BARs lie where the registers say.
 */
#include "aio/loop.h"
#include "base/bytes.h"
#include "dev/pci/host.h"
#include "fake_engine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t bar_read(void *opaque, uint64_t offset, unsigned width)
{
	return offset;
}

static void bar_write(void *opaque, uint64_t offset, uint64_t value, unsigned width)
{
}

static const struct io_ops bar_ops = {bar_read, bar_write, .min_size = 1, .max_size = 8};

static struct {
	struct aio_loop *loop;
	struct vm *vm;
	struct pci_bus *bus;
	struct pci_host host;
	struct pci_device pci;
	struct io_region small, wide, ports, rom;
} bench;

static void start(void)
{
	bench.loop = aio_loop_new(NULL);
	const struct vm_config config = {.engine = &fake_engine, .vcpus = 1};
	bench.vm = vm_new(&config, bench.loop, NULL);
	const struct irq irqs[4] = {{0}};
	bench.bus = pci_bus_new(bench.vm, irqs);
	pci_host_init(&bench.host, bench.vm, bench.bus);
	pci_host_map_ports(&bench.host);
	bench.small = (struct io_region){.name = "small", .ops = &bar_ops, .size = 0x1000};
	bench.wide = (struct io_region){.name = "wide", .ops = &bar_ops, .size = 1 << 30};
	bench.ports = (struct io_region){.name = "ports", .ops = &bar_ops, .size = 0x10};
	bench.rom = (struct io_region){.name = "rom", .ops = &bar_ops, .size = 0x10000};
	struct pci_device *p = &bench.pci;
	pci_set_identity(p, 0x1234, 0x5678, 0x010000, 0);
	pci_set_pin(p, 3);
	pci_add_bar(p, 0, &bench.small, false, false, false);
	pci_add_bar(p, 1, &bench.ports, true, false, false);
	pci_add_bar(p, 2, &bench.wide, false, true, true);
	pci_set_rom(p, &bench.rom);
	pci_add_express(p, false);
	pci_add_msi(p, 32);
	pci_add_msix(p, 33, 4);
	g_assert_true(pci_bus_attach_at(bench.bus, p, 0, NULL));
}

static void check(void)
{
	g_assert_cmphex(pci_config_read(bench.bus, 0, 0, 4), ==, 0x56781234);
	unsigned cap = pci_config_read(bench.bus, 0, PCI_CAPABILITIES, 1), count = 0;
	while (cap && count++ < 48)
		cap = pci_config_read(bench.bus, 0, cap + 1, 1);
	g_assert_cmpuint(cap, ==, 0);
	for (unsigned i = 0; i < PCI_BAR_COUNT; i++) {
		const struct pci_bar *bar = &bench.pci.bars[i];
		if (!bar->region || bar->mapped_at == UINT64_MAX)
			continue;
		uint64_t reg = le32_load(bench.pci.config + PCI_BAR0 + i * 4);
		if (bar->wide)
			reg = le64_load(bench.pci.config + PCI_BAR0 + i * 4);
		g_assert_cmphex(bar->mapped_at, ==, reg & ~(bar->size - 1));
		g_assert_cmphex(bar->mapped_at & (bar->size - 1), ==, 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!bench.bus)
		start();
	pci_device_reset(&bench.pci);
	for (size_t at = 0; at + 8 <= size && at < 8 * 2048; at += 8) {
		const uint8_t *op = data + at;
		unsigned offset = le16_load(op + 2) & 0x3ff;
		uint32_t value = le32_load(op + 4);
		switch (op[0] % 6) {
		case 0:
		case 1: pci_config_write(bench.bus, 0, offset & 0xff, value, 1u << op[1] % 3); break;
		case 2: pci_config_write(bench.bus, op[1], offset, value, op[1] % 5); break;
		case 3: (void)pci_config_read(bench.bus, op[1] & 1, offset, 1u << op[1] % 3); break;
		case 4:
			pci_msi_notify(&bench.pci, op[1]);
			pci_intx_set(&bench.pci, op[1] & 1);
			break;
		case 5: /* wherever the MSI-X table is now */
			if (bench.pci.bars[4].mapped_at != UINT64_MAX)
				space_write(bench.vm->memory, bench.pci.bars[4].mapped_at + offset,
					    value, 1u << op[1] % 4);
			break;
		}
		check();
	}
	return 0;
}
