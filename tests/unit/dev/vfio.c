/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A host's device behind a fake kernel: what a hostile driver sees of it, and what reaches it. */
#include "dev/vfio/vfio.h"
#include "dev/vfio/vfio_int.h"
#include "fixture.h"

#include <errno.h>
#include <unistd.h>

enum { BAR_SIZE = 0x4000, TABLE = 0x2000, PBA = 0x3000, VECTORS = 5 };

struct fake {
	struct vfio_host host;
	uint8_t config[PCI_CONFIG_SIZE];
	uint8_t bar[BAR_SIZE];
	int fds[VFIO_PCI_NUM_IRQS][VECTORS];
	unsigned enabled[VFIO_PCI_NUM_IRQS];
	unsigned unmasked, resets;
};

static struct fake *fake_host(struct vfio_host *host)
{
	return (struct fake *)host;
}

static bool fake_region(struct vfio_host *host, unsigned index, struct vfio_host_region *region, GError **error)
{
	*region = (struct vfio_host_region){0};
	if (index == VFIO_PCI_CONFIG_REGION_INDEX)
		region->size = PCI_CONFIG_SIZE;
	if (index == 0)
		*region = (struct vfio_host_region){BAR_SIZE, {{0, BAR_SIZE}}, 1};
	return true;
}

static uint8_t *place(struct vfio_host *host, unsigned region, uint64_t offset, unsigned size)
{
	struct fake *f = fake_host(host);
	if (region == VFIO_PCI_CONFIG_REGION_INDEX && range_fits(offset, size, PCI_CONFIG_SIZE))
		return f->config + offset;
	return region == 0 && range_fits(offset, size, BAR_SIZE) ? f->bar + offset : NULL;
}

static bool fake_read(struct vfio_host *host, unsigned region, uint64_t offset, void *bytes, unsigned size)
{
	const uint8_t *at = place(host, region, offset, size);
	if (at)
		memcpy(bytes, at, size);
	return at;
}

static bool fake_write(struct vfio_host *host, unsigned region, uint64_t offset, const void *bytes,
		       unsigned size)
{
	uint8_t *at = place(host, region, offset, size);
	if (at)
		memcpy(at, bytes, size);
	return at;
}

static unsigned fake_irq_count(struct vfio_host *host, unsigned index)
{
	return index == VFIO_PCI_MSIX_IRQ_INDEX ? VECTORS : 1;
}

static int fake_set_irqs(struct vfio_host *host, unsigned index, uint32_t flags, unsigned start,
			 unsigned count, const int32_t *fds)
{
	struct fake *f = fake_host(host);
	g_assert_cmpuint(start + count, <=, VECTORS);
	if (flags & VFIO_IRQ_SET_ACTION_UNMASK) {
		g_assert_cmpuint(index, ==, VFIO_PCI_INTX_IRQ_INDEX);
		f->unmasked++;
		return 0;
	}
	/* The kernel has one kind of interrupts at a time. */
	for (unsigned i = 0; i <= VFIO_PCI_MSIX_IRQ_INDEX && index <= VFIO_PCI_MSIX_IRQ_INDEX; i++)
		g_assert_true(i == index || !f->enabled[i]);
	if (!count)
		f->enabled[index] = 0;
	for (unsigned i = 0; i < count; i++)
		f->fds[index][start + i] = fds[i];
	f->enabled[index] = MAX(f->enabled[index], start + count);
	return 0;
}

static int fake_reset(struct vfio_host *host)
{
	fake_host(host)->resets++;
	return 0;
}

static uint8_t *fake_map(struct vfio_host *host, unsigned region, const struct vfio_area *area)
{
	/* The table's page and that of the pending bits are never mapped. */
	g_assert_cmpuint(area->offset + area->size, <=, TABLE);
	return g_malloc0(area->size);
}

static void fake_unmap(struct vfio_host *host, uint8_t *memory, uint64_t size)
{
	g_free(memory);
}

static void fake_close(struct vfio_host *host)
{
}

static const struct vfio_host_ops fake_ops = {
	fake_region, fake_read, fake_write, fake_irq_count, fake_set_irqs, fake_reset, fake_map, fake_unmap,
	fake_close,
};

struct bench {
	struct fixture f;
	struct fake fake;
	struct pci_bus *bus;
	struct vfio_pci *v;
};

static void bench_open(struct bench *b)
{
	memset(b, 0, sizeof(*b));
	fixture_open(&b->f);
	const struct irq irqs[4] = {fixture_irq(&b->f, 0), fixture_irq(&b->f, 1), fixture_irq(&b->f, 2),
				    fixture_irq(&b->f, 3)};
	b->bus = pci_bus_new(b->f.vm, irqs);
	uint8_t *c = b->fake.config;
	b->fake.host.ops = &fake_ops;
	le32_store(c, 0x56781234);
	c[PCI_STATUS] = 0x10;
	c[PCI_INTERRUPT_PIN] = 1;
	c[PCI_CAPABILITIES] = 0x40;
	/* Power, MSI-X, vendor's, and a last one that leads back to the first. */
	memcpy(c + 0x40, (uint8_t[]){0x01, 0x50, 0x02, 0xff, 0x00, 0x00}, 6);
	memcpy(c + 0x50, (uint8_t[]){0x11, 0x60, VECTORS - 1, 0}, 4);
	le32_store(c + 0x54, TABLE);
	le32_store(c + 0x58, PBA);
	memcpy(c + 0x60, (uint8_t[]){0x09, 0x40, 0x10, 0x5a}, 4);
	b->v = (struct vfio_pci *)device_new(&vfio_pci_class, "card", b->f.vm);
	b->v->pci.dev.bus = b->bus;
	b->v->name = g_strdup("0000:05:00.0");
	b->v->host = &b->fake.host;
	g_assert_true(vfio_pci_class.create(&b->v->pci.dev, NULL));
	vfio_pci_class.reset(&b->v->pci.dev);
	g_assert_true(pci_bus_attach_at(b->bus, &b->v->pci, 8, NULL));
}

static void bench_close(struct bench *b)
{
	device_free(&b->v->pci.dev);
	for (unsigned i = 0; i < VFIO_PCI_NUM_IRQS; i++)
		g_assert_cmpuint(b->fake.enabled[i], ==, 0);
	pci_bus_free(b->bus);
	fixture_close(&b->f);
}

static uint32_t get(struct bench *b, unsigned offset, unsigned size)
{
	return pci_config_read(b->bus, 8, offset, size);
}

static void set(struct bench *b, unsigned offset, uint32_t value, unsigned size)
{
	pci_config_write(b->bus, 8, offset, value, size);
}

static void test_config(void)
{
	struct bench b;
	bench_open(&b);
	g_assert_cmpuint(b.fake.resets, ==, 1);
	unsigned cap = get(&b, PCI_CAPABILITIES, 1), count = 0;
	for (; cap && count < 48; count++)
		cap = get(&b, cap + 1, 1);
	g_assert_cmpuint(count, ==, 3);
	/* Identity, BARs, links, MSI-X and power are ours: no write of them reaches the device. */
	uint8_t before[PCI_CONFIG_SIZE];
	memcpy(before, b.fake.config, sizeof(before));
	for (unsigned at = 0; at < 0x60; at += 4) {
		if (at != PCI_COMMAND && at != PCI_CACHE_LINE && at != 0x28 && at != 0x38 && at != 0x3c &&
		    (at < 0x48 || (at >= 0x50 && at < 0x5c)))
			set(&b, at, 0xffffffff, 4);
	}
	g_assert_cmpmem(before, 0x60, b.fake.config, 0x60);
	g_assert_cmphex(get(&b, 0, 4), ==, 0x56781234);
	g_assert_cmphex(get(&b, 0x42, 2) & 0xf800, ==, 0);
	/* The vendor's own is the device's. */
	g_assert_cmphex(get(&b, 0x62, 2), ==, 0x5a10);
	set(&b, 0x63, 0x77, 1);
	g_assert_cmphex(b.fake.config[0x63], ==, 0x77);
	b.fake.config[0x63] = 0x78;
	g_assert_cmphex(get(&b, 0x62, 2), ==, 0x7810);
	bench_close(&b);
}

static void test_messages(void)
{
	struct bench b;
	bench_open(&b);
	struct space *mem = b.f.vm->memory;
	struct fake_vm *engine = fake_of(b.f.vm);
	set(&b, PCI_BAR0, 0xe0000000, 4);
	set(&b, PCI_COMMAND, 6, 2);
	g_assert_cmphex(le16_load(b.fake.config + PCI_COMMAND), ==, 6);
	space_write(mem, 0xe0000010, 0xabcd, 2);
	g_assert_cmphex(le16_load(b.fake.bar + 0x10), ==, 0xabcd);
	/* The table is ours, also for accesses that lie across its end. */
	space_write(mem, 0xe0000000 + TABLE, 0xfee00000, 8);
	space_write(mem, 0xe0000000 + TABLE + 8, 0x41, 4);
	space_write(mem, 0xe0000000 + TABLE + VECTORS * 16 - 4, UINT64_MAX, 8);
	space_write(mem, 0xe0000000 + PBA, UINT64_MAX, 8);
	for (unsigned i = TABLE; i < BAR_SIZE; i++)
		g_assert_cmpuint(b.fake.bar[i], ==, 0);
	set(&b, 0x52, 0x8000, 2);
	g_assert_cmpuint(b.fake.enabled[VFIO_PCI_MSIX_IRQ_INDEX], ==, VECTORS);
	g_assert_cmpint(b.fake.fds[VFIO_PCI_MSIX_IRQ_INDEX][0], ==, -1);
	space_write(mem, 0xe0000000 + TABLE + 12, 0, 4);
	int fd = b.fake.fds[VFIO_PCI_MSIX_IRQ_INDEX][0];
	g_assert_cmpint(fd, >=, 0);
	uint64_t one = 1;
	g_assert_cmpint(write(fd, &one, 8), ==, 8);
	if (b.v->vectors[0].irqfd)
		fake_irqfds_deliver(b.f.vm);
	g_assert_true(fixture_wait(&b.f, (unsigned *)&engine->msis, 1));
	g_assert_cmphex(engine->last_msi_data, ==, 0x41);
	/* Masked, it is pending; then it comes. */
	space_write(mem, 0xe0000000 + TABLE + 12, 1, 4);
	g_assert_cmpint(write(fd, &one, 8), ==, 8);
	fixture_sleep(&b.f, 1000000);
	g_assert_cmpuint(space_read(mem, 0xe0000000 + PBA, 8), ==, 1);
	space_write(mem, 0xe0000000 + TABLE + 12, 0, 4);
	g_assert_true(fixture_wait(&b.f, (unsigned *)&engine->msis, 2));
	vfio_pci_class.reset(&b.v->pci.dev);
	g_assert_cmpuint(b.fake.enabled[VFIO_PCI_MSIX_IRQ_INDEX], ==, 0);
	g_assert_cmphex(le16_load(b.fake.config + PCI_COMMAND), ==, 0);
	bench_close(&b);
}

static void test_pin(void)
{
	struct bench b;
	bench_open(&b);
	set(&b, PCI_BAR0, 0xe0000000, 4);
	set(&b, PCI_COMMAND, 6, 2);
	uint64_t one = 1;
	g_assert_cmpint(write(b.fake.fds[VFIO_PCI_INTX_IRQ_INDEX][0], &one, 8), ==, 8);
	g_assert_true(fixture_wait(&b.f, &b.f.edges[1], 1));
	g_assert_true(b.f.level[1]);
	g_assert_cmpuint(b.fake.unmasked, ==, 0);
	space_read(b.f.vm->memory, 0xe0000000, 4);
	g_assert_false(b.f.level[1]);
	g_assert_cmpuint(b.fake.unmasked, ==, 1);
	space_read(b.f.vm->memory, 0xe0000000, 4);
	g_assert_cmpuint(b.fake.unmasked, ==, 1);
	bench_close(&b);
}

/* A driver that does what it likes: identity stays, the list of capabilities ends, one kind of interrupts. */
static void test_hostile(void)
{
	struct bench b;
	bench_open(&b);
	static const uint16_t likely[] = {PCI_COMMAND, PCI_BAR0, PCI_ROM_BAR, 0x44, 0x50, 0x52, 0x53, 0x60, 0x100};
	const unsigned sizes[] = {1, 2, 4};
	for (unsigned i = 0; i < 50000; i++) {
		uint32_t what = g_test_rand_int(), value = g_test_rand_int();
		unsigned size = sizes[what % 3], at = what >> 4 & 1 ? likely[what >> 8 & 7] : what >> 8 & 0xfff;
		switch (what >> 28) {
		case 0: case 1: case 2: case 3:
			set(&b, at, value, size);
			break;
		case 4:
			get(&b, at, size);
			break;
		case 5:
			set(&b, PCI_BAR0, 0xe0000000 | (value & 0xffff), 4);
			set(&b, PCI_COMMAND, value >> 16 & 7, 2);
			break;
		case 6:
			set(&b, 0x52, value & 0xc000, 2);
			break;
		case 7:
			vfio_pci_class.reset(&b.v->pci.dev);
			break;
		case 8: case 9:
			for (unsigned n = 0; n < VECTORS; n++) {
				uint64_t one = 1;
				if (n < b.v->vector_active && b.v->vectors[n].fd >= 0)
					g_assert_cmpint(write(b.v->vectors[n].fd, &one, 8), ==, 8);
			}
			aio_loop_iterate(b.f.loop, 0);
			break;
		case 10: case 11:
			space_read(b.f.vm->memory, 0xe0000000 + (value & 0x3fff), 1u << (what & 3));
			break;
		default:
			space_write(b.f.vm->memory, 0xe0000000 + TABLE - 8 + (value & 0x7f), value, 1u << (what & 3));
		}
		g_assert_cmphex(get(&b, 0, 4), ==, 0x56781234);
		unsigned kinds = 0;
		for (unsigned k = 0; k <= VFIO_PCI_MSIX_IRQ_INDEX; k++)
			kinds += b.fake.enabled[k] != 0;
		g_assert_cmpuint(kinds, <=, 1);
		for (unsigned k = TABLE; k < TABLE + VECTORS * 16; k++)
			g_assert_cmpuint(b.fake.bar[k], ==, 0);
	}
	unsigned cap = get(&b, PCI_CAPABILITIES, 1), count = 0;
	for (; cap && count < 48; count++)
		cap = get(&b, cap + 1, 1);
	g_assert_cmpuint(count, ==, 3);
	bench_close(&b);
}

/* --- memory ------------------------------------------------------------------------------------------------ */

static GString *calls;
static int refuse;

static int record_map(void *opaque, uint64_t address, uint8_t *host, uint64_t size, bool writable)
{
	g_string_append_printf(calls, "+%x,%x%s ", (unsigned)address, (unsigned)size, writable ? "" : "r");
	return refuse;
}

static int record_unmap(void *opaque, uint64_t address, uint64_t size)
{
	g_string_append_printf(calls, "-%x ", (unsigned)address);
	return 0;
}

static void expect(const char *text)
{
	g_assert_cmpstr(calls->str, ==, text);
	g_string_truncate(calls, 0);
}

static void test_dma(void)
{
	struct fixture f;
	fixture_open(&f);
	struct space *mem = f.vm->memory;
	struct vfio_dma dma = {.space = mem, .vm = f.vm, .map = record_map, .unmap = record_unmap};
	struct ram_block *more = ram_block_new("more", 1 << 20, NULL, NULL);
	calls = g_string_new(NULL);
	space_add_ram(mem, FIXTURE_RAM, more, 0, 1 << 20, false, NULL, SPACE_PRIORITY_NORMAL);
	g_assert_true(vfio_dma_start(&dma, NULL));
	expect("+0,100000 +100000,100000 ");
	g_assert_cmpint(ram_discard(more, 0, PAGE_SIZE), ==, -EBUSY);
	/* Firmware makes a page a ROM: what is above 1 MiB stays. */
	struct ram_block *rom = ram_block_new("rom", PAGE_SIZE, NULL, NULL);
	space_add_ram(mem, 0xff000, rom, 0, PAGE_SIZE, true, NULL, SPACE_PRIORITY_HIGH);
	expect("-0 +0,ff000 +ff000,1000r ");
	space_remove_ram(mem, FIXTURE_RAM);
	expect("-100000 ");
	g_assert_cmpint(ram_discard(more, 0, PAGE_SIZE), ==, 0);
	/* A guest cannot go on with memory that its devices do not reach. */
	refuse = -EINVAL;
	space_add_ram(mem, FIXTURE_RAM, more, 0, 1 << 20, false, NULL, SPACE_PRIORITY_NORMAL);
	expect("+100000,100000 ");
	g_assert_true(fixture_wait(&f, &f.requests[VM_REQUEST_INTERNAL_ERROR], 1));
	vfio_dma_stop(&dma);
	expect("-0 -ff000 ");
	space_remove_ram(mem, FIXTURE_RAM);
	space_remove_ram(mem, 0xff000);
	ram_block_free(more);
	ram_block_free(rom);
	g_string_free(calls, TRUE);
	fixture_close(&f);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/vfio/config", test_config);
	g_test_add_func("/vfio/messages", test_messages);
	g_test_add_func("/vfio/pin", test_pin);
	g_test_add_func("/vfio/hostile", test_hostile);
	g_test_add_func("/vfio/dma", test_dma);
	return g_test_run();
}
