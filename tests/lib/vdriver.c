/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vdriver.h"

#include "base/bytes.h"
#include "fake_engine.h"

#include <string.h>

static void line_set(void *opaque, unsigned line, bool level)
{
	struct vd_machine *m = opaque;
	if (level && !m->line)
		m->interrupts++;
	m->line = level;
}

void vd_machine_init(struct vd_machine *m)
{
	static const struct vm_config config = {.engine = &fake_engine, .vcpus = 1};
	g_autoptr(GError) error = NULL;
	*m = (struct vd_machine){.next_page = 0x100000, .next_pci = 1};
	m->loop = aio_loop_new(&error);
	g_assert_no_error(error);
	m->vm = vm_new(&config, m->loop, &error);
	g_assert_no_error(error);
	m->ram = ram_block_new("ram", VD_RAM_SIZE, NULL, &error);
	g_assert_no_error(error);
	m->mem = m->ram->host;
	space_add_ram(m->vm->memory, 0, m->ram, 0, VD_RAM_SIZE, false, NULL, 0);
	struct irq irqs[VD_SLOTS], pins[4];
	for (unsigned i = 0; i < 4; i++)
		irqs[i] = pins[i] = (struct irq){line_set, m, i};
	m->mmio = virtio_mmio_bus_new(m->vm, VD_MMIO_BASE, irqs, VD_SLOTS);
	m->pci = pci_bus_new(m->vm, pins);
}

void vd_machine_free(struct vd_machine *m)
{
	pci_bus_free(m->pci);
	virtio_mmio_bus_free(m->mmio);
	vm_free(m->vm);
	ram_block_free(m->ram);
	aio_loop_free(m->loop);
}

void vd_pump(struct vd_machine *m, unsigned ms, const bool *done)
{
	int64_t until = aio_now_ns() + ms * INT64_C(1000000);
	do
		aio_loop_iterate(m->loop, 1000000);
	while (!(done && *done) && aio_now_ns() < until);
}

uint64_t vd_alloc(struct vd_machine *m, uint64_t size)
{
	uint64_t at = m->next_page;
	m->next_page += align_up(size, PAGE_SIZE);
	g_assert_cmpuint(m->next_page, <=, VD_RAM_SIZE);
	memset(m->mem + at, 0, size);
	return at;
}

/* ---- Registers ---- */

static uint32_t pci_get(struct vd *vd, unsigned offset, unsigned size)
{
	return pci_config_read(vd->m->pci, vd->devfn, offset, size);
}

static void pci_put(struct vd *vd, unsigned offset, uint32_t value, unsigned size)
{
	pci_config_write(vd->m->pci, vd->devfn, offset, value, size);
}

static void pci_probe(struct vd *vd)
{
	vd->devfn = ((struct pci_device *)vd->dev)->devfn;
	g_assert_cmphex(pci_get(vd, 0, 2), ==, 0x1af4);
	uint64_t at = VD_BAR4 + (uint64_t)vd->devfn * 0x100000;
	pci_put(vd, 0x10 + 4 * 4, at, 4);
	pci_put(vd, 0x10 + 4 * 5, 0, 4);
	pci_put(vd, 0x10 + 4, at + 0x10000, 4);
	pci_put(vd, 4, 6, 2);
	for (unsigned cap = pci_get(vd, 0x34, 1); cap; cap = pci_get(vd, cap + 1, 1)) {
		unsigned id = pci_get(vd, cap, 1), type = pci_get(vd, cap + 3, 1);
		uint64_t address = at + pci_get(vd, cap + 8, 4);
		if (id != 9)
			continue;
		if (type == 1)
			vd->common = address;
		if (type == 2) {
			vd->notify = address;
			vd->notify_stride = pci_get(vd, cap + 16, 4);
		}
		if (type == 3)
			vd->isr = address;
		if (type == 4)
			vd->config = address;
	}
	g_assert(vd->common && vd->notify && vd->isr);
}

static uint64_t reg(struct vd *vd, unsigned mmio, unsigned pci)
{
	return vd->pci ? vd->common + pci : VD_MMIO_BASE + vd->slot * VIRTIO_MMIO_SLOT_SIZE + mmio;
}

static uint32_t get(struct vd *vd, unsigned mmio, unsigned pci, unsigned pci_size)
{
	return space_read(vd->m->vm->memory, reg(vd, mmio, pci), vd->pci ? pci_size : 4);
}

static void put(struct vd *vd, unsigned mmio, unsigned pci, uint32_t value, unsigned pci_size)
{
	space_write(vd->m->vm->memory, reg(vd, mmio, pci), value, vd->pci ? pci_size : 4);
}

void vd_open_device(struct vd *vd, struct vd_machine *m, struct device *dev)
{
	g_autoptr(GError) error = NULL;
	*vd = (struct vd){.m = m, .dev = dev, .pci = g_str_equal(dev->class->bus, "PCI")};
	dev->bus = vd->pci ? (void *)m->pci : (void *)m->mmio;
	bool ok = device_realize(dev, &error);
	g_assert_no_error(error);
	g_assert_true(ok);
	if (vd->pci) {
		pci_probe(vd);
	} else {
		while (virtio_mmio_bus_device(m->mmio, vd->slot) != dev)
			vd->slot++;
		vd->config = reg(vd, 0x100, 0);
		g_assert_cmphex(get(vd, 0, 0, 0), ==, 0x74726976);
		g_assert_cmpuint(get(vd, 4, 0, 0), ==, 2);
	}
	device_start(dev);
}

void vd_open(struct vd *vd, struct vd_machine *m, const struct device_class *class,
	     const struct device_resolver *resolver, const char *const *properties)
{
	struct device *dev = device_new(class, "test", m->vm);
	for (; properties && *properties; properties += 2) {
		g_autoptr(GError) error = NULL;
		device_set(dev, properties[0], properties[1], resolver, &error);
		g_assert_no_error(error);
	}
	vd_open_device(vd, m, dev);
}

void vd_close(struct vd *vd)
{
	device_stop(vd->dev);
	device_free(vd->dev);
	vd->dev = NULL;
}

uint8_t vd_status(struct vd *vd)
{
	return get(vd, 0x70, 0x14, 1);
}

void vd_set_status(struct vd *vd, uint8_t status)
{
	put(vd, 0x70, 0x14, status, 1);
	if (status)
		return;
	for (unsigned i = 0; i < 1000 && vd_status(vd); i++)
		aio_loop_iterate(vd->m->loop, 1000000);
	g_assert_cmphex(vd_status(vd), ==, 0);
}

uint64_t vd_offered(struct vd *vd)
{
	uint64_t features = 0;
	for (unsigned word = 0; word < 2; word++) {
		put(vd, 0x14, 0x00, word, 4);
		features |= (uint64_t)get(vd, 0x10, 0x04, 4) << 32 * word;
	}
	return features;
}

void vd_accept(struct vd *vd, uint64_t features)
{
	for (unsigned word = 0; word < 2; word++) {
		put(vd, 0x24, 0x08, word, 4);
		put(vd, 0x20, 0x0c, features >> 32 * word, 4);
	}
}

uint64_t vd_config(struct vd *vd, unsigned offset, unsigned size)
{
	return space_read(vd->m->vm->memory, vd->config + offset, size);
}

void vd_set_config(struct vd *vd, unsigned offset, uint64_t value, unsigned size)
{
	space_write(vd->m->vm->memory, vd->config + offset, value, size);
}

bool vd_negotiate(struct vd *vd, uint64_t wanted)
{
	vd_set_status(vd, 0);
	vd_set_status(vd, VIRTIO_STATUS_ACKNOWLEDGE);
	vd_set_status(vd, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER);
	vd->features = vd_offered(vd) & (wanted | VIRTIO_BIT(VIRTIO_F_VERSION_1));
	vd->packed = vd->features >> VIRTIO_F_RING_PACKED & 1;
	vd->event_idx = vd->features >> VIRTIO_F_EVENT_IDX & 1;
	vd->indirect = vd->features >> VIRTIO_F_INDIRECT_DESC & 1;
	vd_accept(vd, vd->features);
	vd_set_status(vd, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER |
				  VIRTIO_STATUS_FEATURES_OK);
	return vd_status(vd) & VIRTIO_STATUS_FEATURES_OK;
}

void vd_driver_ok(struct vd *vd)
{
	vd_set_status(vd, vd_status(vd) | VIRTIO_STATUS_DRIVER_OK);
}

/* ---- Queues ---- */

void vdq_enable(struct vdq *vq)
{
	struct vd *vd = vq->vd;
	const uint64_t addresses[3] = {vq->desc, vq->driver, vq->device};
	put(vd, 0x30, 0x16, vq->index, 2);
	put(vd, 0x38, 0x18, vq->size, 2);
	for (unsigned i = 0; i < 3; i++) {
		put(vd, 0x80 + 16 * i, 0x20 + 8 * i, addresses[i], 4);
		put(vd, 0x84 + 16 * i, 0x24 + 8 * i, addresses[i] >> 32, 4);
	}
	put(vd, 0x44, 0x1c, 1, 2);
}

void vdq_open(struct vdq *vq, struct vd *vd, unsigned index, unsigned size)
{
	*vq = (struct vdq){.vd = vd, .index = index, .size = size, .avail_wrap = true,
			   .used_wrap = true};
	vq->desc = vd_alloc(vd->m, 16 * size);
	vq->driver = vd_alloc(vd->m, 6 + 2 * size);
	vq->device = vd_alloc(vd->m, 6 + 8 * size);
	vdq_enable(vq);
	put(vd, 0x30, 0x16, vq->index, 2);
	g_assert_cmpuint(get(vd, 0x44, 0x1c, 2), ==, 1);
}

unsigned vdq_reset(struct vdq *vq)
{
	put(vq->vd, 0x30, 0x16, vq->index, 2);
	put(vq->vd, 0xc0, 0x3a, 1, 2);
	return get(vq->vd, 0xc0, 0x3a, 2);
}

/* Split: flags, then the next one's number. Packed: the id, then flags. */
static void write_desc(uint8_t *at, const struct vd_buffer *b, bool packed, uint16_t id,
		       uint16_t flags)
{
	le64_store(at, b->addr);
	le32_store(at + 8, b->len);
	le16_store(at + 12, packed ? id : flags);
	le16_store(at + 14, packed ? flags : id);
}

static uint16_t add_split(struct vdq *vq, const struct vd_buffer *buffers, unsigned count)
{
	uint8_t *mem = vq->vd->m->mem;
	uint16_t head = vq->next_desc;
	for (unsigned i = 0; i < count; i++) {
		uint16_t next = (vq->next_desc + 1) % vq->size;
		uint16_t flags = (buffers[i].in ? 2 : 0) | (i + 1 < count ? 1 : 0);
		write_desc(mem + vq->desc + 16 * vq->next_desc, &buffers[i], false, next, flags);
		vq->next_desc = next;
	}
	le16_store(mem + vq->driver + 4 + 2 * (vq->avail_idx % vq->size), head);
	vq->avail_idx++;
	le16_store(mem + vq->driver + 2, vq->avail_idx);
	return head;
}

static uint16_t add_packed(struct vdq *vq, const struct vd_buffer *buffers, unsigned count)
{
	uint8_t *mem = vq->vd->m->mem;
	uint16_t id = vq->next_id++ % vq->size, first_flags = 0;
	uint8_t *first = mem + vq->desc + 16 * vq->avail_idx;
	for (unsigned i = 0; i < count; i++) {
		uint16_t flags = (buffers[i].in ? 2 : 0) | (i + 1 < count ? 1 : 0) |
				 (vq->avail_wrap ? 0x80 : 0x8000);
		uint8_t *at = mem + vq->desc + 16 * vq->avail_idx;
		if (i)
			write_desc(at, &buffers[i], true, id, flags);
		else
			write_desc(at, &buffers[i], true, id, first_flags = flags ^ 0x8080);
		if (++vq->avail_idx == vq->size) {
			vq->avail_idx = 0;
			vq->avail_wrap = !vq->avail_wrap;
		}
	}
	le16_store(first + 14, first_flags ^ 0x8080);
	vq->slots[id] = count;
	return id;
}

uint16_t vdq_add(struct vdq *vq, const struct vd_buffer *buffers, unsigned count, uint64_t table)
{
	uint8_t *mem = vq->vd->m->mem;
	if (!table)
		return vq->vd->packed ? add_packed(vq, buffers, count)
				      : add_split(vq, buffers, count);
	for (unsigned i = 0; i < count; i++) {
		uint16_t flags = (buffers[i].in ? 2 : 0) |
				 (!vq->vd->packed && i + 1 < count ? 1 : 0);
		write_desc(mem + table + 16 * i, &buffers[i], vq->vd->packed, i + 1, flags);
	}
	struct vd_buffer direct = {.addr = table, .len = 16 * count};
	unsigned at = vq->vd->packed ? vq->avail_idx : vq->next_desc;
	uint16_t id = vq->vd->packed ? add_packed(vq, &direct, 1) : add_split(vq, &direct, 1);
	uint8_t *flags = mem + vq->desc + 16 * at + (vq->vd->packed ? 14 : 12);
	le16_store(flags, le16_load(flags) | 4);
	return id;
}

void vdq_kick(struct vdq *vq)
{
	struct vd *vd = vq->vd;
	if (vd->pci)
		space_write(vd->m->vm->memory, vd->notify + vq->index * vd->notify_stride, vq->index, 2);
	else
		put(vd, 0x50, 0, vq->index, 0);
}

bool vdq_used(struct vdq *vq, uint16_t *id, uint32_t *len)
{
	uint8_t *mem = vq->vd->m->mem;
	if (!vq->vd->packed) {
		if (le16_load(mem + vq->device + 2) == vq->used_idx)
			return false;
		uint8_t *element = mem + vq->device + 4 + 8 * (vq->used_idx++ % vq->size);
		*id = le32_load(element);
		*len = le32_load(element + 4);
		return true;
	}
	uint8_t *at = mem + vq->desc + 16 * vq->used_idx;
	uint16_t flags = le16_load(at + 14);
	if (!!(flags & 0x80) != vq->used_wrap || !!(flags & 0x8000) != vq->used_wrap)
		return false;
	*id = le16_load(at + 12);
	*len = le32_load(at + 8);
	vq->used_idx += vq->slots[*id % vq->size];
	if (vq->used_idx >= vq->size) {
		vq->used_idx -= vq->size;
		vq->used_wrap = !vq->used_wrap;
	}
	return true;
}

uint32_t vdq_request(struct vdq *vq, const struct vd_buffer *buffers, unsigned count)
{
	uint16_t id = vdq_add(vq, buffers, count, 0), used;
	uint32_t len;
	vdq_kick(vq);
	for (unsigned i = 0; i < 2000; i++) {
		if (vdq_used(vq, &used, &len)) {
			g_assert_cmpuint(used, ==, id);
			return len;
		}
		aio_loop_iterate(vq->vd->m->loop, 1000000);
	}
	return UINT32_MAX;
}
