/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sata.h"

#include "base/bytes.h"

#include <string.h>

enum { CLB = 0x00, FB = 0x08, IS = 0x10, IE = 0x14, CMD = 0x18, SACT = 0x34, CI = 0x38 };

/* ---- The disk ---- */

static void complete(struct sata_disk *disk, struct block_request *r)
{
	uint8_t *at = disk->bytes + r->offset;
	if (disk->fail) {
		block_complete(r, disk->fail);
		return;
	}
	for (unsigned i = 0; i < r->iov_count; i++) {
		if (r->op == BLOCK_READ)
			memcpy(r->iov[i].iov_base, at, r->iov[i].iov_len);
		else if (r->op == BLOCK_WRITE)
			memcpy(at, r->iov[i].iov_base, r->iov[i].iov_len);
		at += r->iov[i].iov_len;
	}
	disk->fuas += r->flags & BLOCK_REQ_FUA ? 1 : 0;
	disk->flushes += r->op == BLOCK_FLUSH;
	if (r->op == BLOCK_DISCARD) {
		disk->discards++;
		memset(disk->bytes + r->offset, 0, r->length);
	}
	block_complete(r, 0);
}

static void disk_submit(struct block_node *node, struct block_request *r)
{
	struct sata_disk *disk = (struct sata_disk *)node;
	if (!disk->hold) {
		complete(disk, r);
		return;
	}
	g_assert_cmpuint(disk->held_count, <, G_N_ELEMENTS(disk->held));
	disk->held[disk->held_count++] = r;
}

void sata_disk_release(struct sata_disk *disk)
{
	unsigned count = disk->held_count;
	struct block_request *held[G_N_ELEMENTS(disk->held)];
	memcpy(held, disk->held, sizeof(held));
	disk->held_count = 0;
	disk->hold = false;
	for (unsigned i = 0; i < count; i++)
		complete(disk, held[i]);
}

static void disk_close(struct block_node *node)
{
	struct sata_disk *disk = (struct sata_disk *)node;
	g_free(disk->bytes);
}

static const struct block_driver disk_driver = {.name = "memory", .submit = disk_submit,
						.close = disk_close};

struct sata_disk *sata_disk_new(struct aio_loop *loop, uint64_t size, bool readonly)
{
	struct block_open_options options = {.discard = true, .readonly = readonly};
	struct sata_disk *disk = g_new0(struct sata_disk, 1);
	block_node_init(&disk->node, &disk_driver, &options, loop);
	disk->node.filename = g_strdup("memory");
	disk->node.size = size;
	disk->node.limits = (struct block_limits){.request_alignment = 512, .logical_block = 512,
						  .physical_block = 512, .max_transfer = 1 << 30,
						  .discard_alignment = 512, .can_discard = true};
	disk->bytes = g_malloc0(size);
	return disk;
}

/* ---- The machine ---- */

uint32_t sata_get(struct sata *s, unsigned offset)
{
	return (uint32_t)space_read(s->m.vm->memory, SATA_ABAR + offset, 4);
}

void sata_put(struct sata *s, unsigned offset, uint32_t value)
{
	space_write(s->m.vm->memory, SATA_ABAR + offset, value, 4);
}

uint32_t sata_port_get(struct sata *s, unsigned offset)
{
	return sata_get(s, 0x100 + s->port * 0x80 + offset);
}

void sata_port_put(struct sata *s, unsigned offset, uint32_t value)
{
	sata_put(s, 0x100 + s->port * 0x80 + offset, value);
}

void sata_init(struct sata *s, bool cd, uint64_t size, unsigned port)
{
	g_autoptr(GError) error = NULL;
	*s = (struct sata){.port = port};
	vd_machine_init(&s->m);
	s->hba = device_new(&ahci_class, "sata", s->m.vm);
	s->hba->bus = s->m.pci;
	device_realize(s->hba, &error);
	g_assert_no_error(error);
	pci_bus_attach(s->m.pci, (struct pci_device *)s->hba, &error);
	g_assert_no_error(error);
	s->unit = device_new(cd ? &ide_cd_class : &ide_hd_class, "unit", s->m.vm);
	s->unit->bus = ahci_bus(s->hba, port);
	if (size) {
		s->disk = sata_disk_new(s->m.loop, size, cd);
		((struct ata_unit *)s->unit)->node = &s->disk->node;
	}
	device_realize(s->unit, &error);
	g_assert_no_error(error);
	device_reset(s->hba);
	/* What firmware does, after the reset. */
	unsigned devfn = ((struct pci_device *)s->hba)->devfn;
	g_assert_cmphex(pci_config_read(s->m.pci, devfn, 0, 4), ==, 0x29228086);
	pci_config_write(s->m.pci, devfn, 0x24, SATA_ABAR, 4);
	pci_config_write(s->m.pci, devfn, 4, 6, 2);
	device_start(s->hba);
	s->list = vd_alloc(&s->m, 1024);
	s->fis = vd_alloc(&s->m, 256);
	s->tables = vd_alloc(&s->m, 32 * SATA_TABLE);
	s->data = vd_alloc(&s->m, 4 << 20);
}

void sata_free(struct sata *s)
{
	device_stop(s->hba);
	device_free(s->unit);
	pci_bus_detach(s->m.pci, (struct pci_device *)s->hba);
	device_free(s->hba);
	if (s->disk)
		block_close(&s->disk->node);
	vd_machine_free(&s->m);
}

void sata_start_port(struct sata *s)
{
	sata_put(s, 4, 0x80000002);
	sata_port_put(s, CLB, (uint32_t)s->list);
	sata_port_put(s, FB, (uint32_t)s->fis);
	sata_port_put(s, CMD, 0x10);
	sata_port_put(s, IS, UINT32_MAX);
	sata_port_put(s, IE, 0x7dc0007f);
	sata_port_put(s, CMD, 0x11);
}

static uint8_t *put_header(struct sata *s, unsigned slot, unsigned prds, bool packet)
{
	uint8_t *header = s->m.mem + s->list + slot * 32;
	uint64_t table = s->tables + slot * SATA_TABLE;
	memset(header, 0, 32);
	le32_store(header, prds << 16 | (packet ? 1 << 5 : 0) | 5);
	le64_store(header + 8, table);
	memset(s->m.mem + table, 0, SATA_TABLE);
	return s->m.mem + table;
}

void sata_fill(struct sata *s, unsigned slot, uint8_t command, uint64_t lba, unsigned count,
	       unsigned feature, uint64_t length, unsigned piece)
{
	unsigned prds = 0;
	uint8_t *table = put_header(s, slot, 0, false);
	for (uint64_t at = 0; at < length; at += piece, prds++) {
		uint8_t *prd = table + 0x80 + 16 * prds;
		g_assert_cmpuint(prds, <, (SATA_TABLE - 0x80) / 16);
		le64_store(prd, s->data + at);
		le32_store(prd + 12, (uint32_t)MIN(piece, length - at) - 1);
	}
	le16_store(s->m.mem + s->list + slot * 32 + 2, (uint16_t)prds);
	uint8_t fis[20] = {0x27, 0x80, command, (uint8_t)feature, (uint8_t)lba, (uint8_t)(lba >> 8),
			   (uint8_t)(lba >> 16), 0x40, (uint8_t)(lba >> 24), (uint8_t)(lba >> 32),
			   (uint8_t)(lba >> 40), (uint8_t)(feature >> 8), (uint8_t)count,
			   (uint8_t)(count >> 8)};
	memcpy(table, fis, sizeof(fis));
}

void sata_fill_packet(struct sata *s, unsigned slot, const uint8_t *packet, unsigned length,
		      uint64_t buffer)
{
	sata_fill(s, slot, 0xa0, 0, 0, 1, buffer, 65536);
	memcpy(s->m.mem + s->tables + slot * SATA_TABLE + 0x40, packet, length);
}

void sata_issue(struct sata *s, uint32_t slots, bool queued)
{
	if (queued)
		sata_port_put(s, SACT, slots);
	sata_port_put(s, CI, slots);
	for (unsigned i = 0; i < 1000; i++) {
		aio_loop_iterate(s->m.loop, 1000000);
		if (!((sata_port_get(s, CI) | sata_port_get(s, SACT)) & slots) ||
		    sata_port_get(s, IS) & 0x70000000)
			return;
	}
	g_error("command 0x%02x does not end", s->m.mem[s->tables + 2]);
}
