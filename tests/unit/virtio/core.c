/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Status, negotiation, rings, interrupts and resets, on both transports and both ring layouts. */
#include "base/bytes.h"
#include "fake_engine.h"
#include "vd_echo.h"
#include "vdriver.h"

#include <string.h>

#define ALL_CORE                                                                                   \
	(VIRTIO_BIT(VIRTIO_F_INDIRECT_DESC) | VIRTIO_BIT(VIRTIO_F_EVENT_IDX) |                     \
	 VIRTIO_BIT(VIRTIO_F_RING_RESET) | VIRTIO_BIT(VIRTIO_F_RING_PACKED))

struct variant {
	bool pci;
	uint64_t features;
};

static void open_echo_on(struct vd *vd, struct vd_machine *m, const struct variant *v)
{
	static const char *const packed[] = {"packed", "on", NULL};
	vd_open(vd, m, v->pci ? &echo_pci : &echo_mmio, NULL, packed);
	g_assert_true(vd_negotiate(vd, v->features));
}

static void open_echo(struct vd *vd, struct vd_machine *m, const struct variant *v)
{
	vd_machine_init(m);
	open_echo_on(vd, m, v);
}

static void close_echo(struct vd *vd)
{
	vd_close(vd);
	vd_machine_free(vd->m);
}

static void test_negotiation(gconstpointer data)
{
	const struct variant *v = data;
	struct vd_machine m;
	struct vd vd;
	open_echo(&vd, &m, v);
	uint64_t offered = vd_offered(&vd);
	g_assert_cmphex(offered & 3, ==, 3);
	g_assert_true(offered & VIRTIO_BIT(VIRTIO_F_VERSION_1));

	/* DRIVER_OK without FEATURES_OK. */
	vd_set_status(&vd, 0);
	vd_set_status(&vd, 7);
	g_assert_cmphex(vd_status(&vd), ==, 3);
	/* Features not offered; no VERSION_1; dependency. */
	const uint64_t version = VIRTIO_BIT(VIRTIO_F_VERSION_1);
	const uint64_t wrong[] = {version | 4, 1, version | 2};
	for (unsigned i = 0; i < G_N_ELEMENTS(wrong); i++) {
		vd_set_status(&vd, 0);
		vd_accept(&vd, wrong[i]);
		vd_set_status(&vd, 11);
		g_assert_cmphex(vd_status(&vd), ==, 3);
	}
	vd_accept(&vd, version | 3);
	vd_set_status(&vd, 11);
	g_assert_cmphex(vd_status(&vd), ==, 11);
	/* Final now; status bits do not go away. */
	vd_accept(&vd, version);
	vd_set_status(&vd, 1);
	g_assert_cmphex(vd_status(&vd), ==, 11);
	g_assert_cmphex(echo_of(vd.dev)->vdev.accepted, ==, version | 3);

	/* Configuration space: all sizes, its end, writes. */
	g_assert_cmphex(vd_config(&vd, 0, 4), ==, 0x13121110);
	g_assert_cmphex(vd_config(&vd, 2, 2), ==, 0x1312);
	g_assert_cmphex(vd_config(&vd, 4, 4), ==, 0x00001514);
	g_assert_cmphex(vd_config(&vd, 100, 4), ==, 0);
	vd_set_config(&vd, 6, 0x5a, 1);
	vd_set_config(&vd, 5, 0xffff, 4);
	g_assert_cmphex(vd_config(&vd, 6, 1), ==, 0x5a);
	close_echo(&vd);
}

static void test_echo(gconstpointer data)
{
	const struct variant *v = data;
	struct vd_machine m;
	struct vd vd;
	struct vdq vq;
	open_echo(&vd, &m, v);
	vdq_open(&vq, &vd, 1, 8);
	vd_driver_ok(&vd);
	uint64_t out = vd_alloc(&m, 4096), in = vd_alloc(&m, 4096), table = vd_alloc(&m, 4096);
	for (unsigned round = 0; round < 200; round++) {
		unsigned a = 1 + round % 7, b = 1 + round % 11;
		memset(m.mem + in, 0, 64);
		for (unsigned i = 0; i < a + b; i++)
			m.mem[out + i] = round + i;
		struct vd_buffer chain[] = {
			{out, a}, {out + a, b}, {in, 5, true}, {in + 5, 30, true},
		};
		if (!vd.indirect || round % 3) {
			g_assert_cmpuint(vdq_request(&vq, chain, 4), ==, a + b);
		} else {
			uint16_t id;
			uint32_t len;
			vdq_add(&vq, chain, 4, table);
			vdq_kick(&vq);
			vd_pump(&m, 2, NULL);
			g_assert_true(vdq_used(&vq, &id, &len));
			g_assert_cmpuint(len, ==, a + b);
		}
		g_assert_cmpmem(m.mem + in, a + b, m.mem + out, a + b);
	}
	g_assert_cmphex(vd_status(&vd), ==, 15);
	close_echo(&vd);
}

/* Several at once, answered out of order, and put back. */
static void test_order(gconstpointer data)
{
	const struct variant *v = data;
	struct vd_machine m;
	struct vd vd;
	struct vdq vq;
	open_echo(&vd, &m, v);
	struct echo *echo = echo_of(vd.dev);
	vdq_open(&vq, &vd, 0, 16);
	vd_driver_ok(&vd);
	vd_pump(&m, 2, NULL);
	uint64_t page = vd_alloc(&m, 4096);
	echo->hold = true;
	for (unsigned round = 0; round < 50; round++) {
		uint16_t ids[5], id;
		uint32_t len;
		for (unsigned i = 0; i < 5; i++) {
			struct vd_buffer chain[] = {{page, i + 1}, {page + 64, 64, true}};
			ids[i] = vdq_add(&vq, chain, 2, 0);
		}
		vdq_kick(&vq);
		vd_pump(&m, 2, NULL);
		g_assert_nonnull(echo->held);
		g_assert_false(vdq_used(&vq, &id, &len));
		if (round % 2) {
			/* Newest back into the ring, then taken again. */
			struct virtq_chain *chain = echo->held;
			echo->held = chain->next;
			virtq_unpop(echo->vqs[0], chain);
			chain = virtq_pop(echo->vqs[0]);
			g_assert_cmpuint(chain->head, ==, ids[4]);
			chain->next = echo->held;
			echo->held = chain;
		}
		echo_release(echo);
		for (unsigned i = 0; i < 5; i++) {
			g_assert_true(vdq_used(&vq, &id, &len));
			g_assert_cmpuint(id, ==, ids[4 - i]);
			g_assert_cmpuint(len, ==, 5 - i);
		}
		g_assert_false(vdq_used(&vq, &id, &len));
	}
	close_echo(&vd);
}

static void test_reset(gconstpointer data)
{
	const struct variant *v = data;
	struct vd_machine m;
	struct vd vd;
	struct vdq vq;
	open_echo(&vd, &m, v);
	struct echo *echo = echo_of(vd.dev);
	vdq_open(&vq, &vd, 0, 16);
	vd_driver_ok(&vd);
	uint64_t page = vd_alloc(&m, 4096);
	struct vd_buffer chain[] = {{page, 4}, {page + 64, 4, true}};
	vd_pump(&m, 2, NULL);

	/* Chains that the device can give up: the reset is done with the status write. */
	echo->hold = true;
	vdq_add(&vq, chain, 2, 0);
	vdq_kick(&vq);
	vd_pump(&m, 2, NULL);
	g_assert_nonnull(echo->held);
	unsigned resets = echo->resets;
	vd_set_status(&vd, 0);
	g_assert_null(echo->held);
	g_assert_cmpuint(echo->resets, ==, resets + 1);

	/* Chains that are with a disk: status stays until they are back. */
	g_assert_true(vd_negotiate(&vd, v->features));
	vdq_open(&vq, &vd, 0, 16);
	vd_driver_ok(&vd);
	echo->keep_on_drop = true;
	vdq_add(&vq, chain, 2, 0);
	vdq_kick(&vq);
	vd_pump(&m, 2, NULL);
	g_assert_nonnull(echo->held);
	uint8_t old = vd_status(&vd);
	virtio_set_status(&echo->vdev, 0);
	vd_pump(&m, 2, NULL);
	g_assert_cmphex(vd_status(&vd), ==, old);
	virtio_set_status(&echo->vdev, 1);
	g_assert_cmphex(vd_status(&vd), ==, old);
	echo_release(echo);
	g_assert_cmphex(vd_status(&vd), ==, 0);

	/* Machine reset with chains held. */
	g_assert_true(vd_negotiate(&vd, v->features));
	vdq_open(&vq, &vd, 0, 16);
	vd_driver_ok(&vd);
	echo->keep_on_drop = false;
	vdq_add(&vq, chain, 2, 0);
	vdq_kick(&vq);
	vd_pump(&m, 2, NULL);
	g_assert_nonnull(echo->held);
	device_reset(vd.dev);
	g_assert_null(echo->held);
	g_assert_cmphex(atomic_load(&echo->vdev.status), ==, 0);
	close_echo(&vd);
}

static void test_ring_reset(gconstpointer data)
{
	const struct variant *v = data;
	struct vd_machine m;
	struct vd vd;
	struct vdq a, b;
	open_echo(&vd, &m, v);
	struct echo *echo = echo_of(vd.dev);
	vdq_open(&a, &vd, 0, 16);
	vdq_open(&b, &vd, 1, 16);
	vd_driver_ok(&vd);
	uint64_t page = vd_alloc(&m, 4096);
	struct vd_buffer chain[] = {{page, 4}, {page + 64, 4, true}};
	g_assert_cmpuint(vdq_request(&a, chain, 2), ==, 4);
	if (!(vd.features & VIRTIO_BIT(VIRTIO_F_RING_RESET))) {
		vdq_reset(&a);
		g_assert_cmpuint(vdq_request(&a, chain, 2), ==, 4);
		close_echo(&vd);
		return;
	}
	echo->hold = echo->keep_on_drop = true;
	vdq_add(&a, chain, 2, 0);
	vdq_kick(&a);
	vd_pump(&m, 2, NULL);
	g_assert_cmpuint(vdq_reset(&a), ==, 1);
	echo_release(echo);
	echo->hold = echo->keep_on_drop = false;
	vd_pump(&m, 2, NULL);
	g_assert_false(virtio_queue_resetting(&echo->vdev, 0));
	g_assert_false(virtio_queue_enabled(&echo->vdev, 0));
	/* The other queue goes on; this one comes back with another size. */
	g_assert_cmpuint(vdq_request(&b, chain, 2), ==, 4);
	vdq_open(&a, &vd, 0, 4);
	for (unsigned i = 0; i < 20; i++)
		g_assert_cmpuint(vdq_request(&a, chain, 2), ==, 4);
	close_echo(&vd);
}

static unsigned interrupts(struct vd *vd)
{
	return vd->pci ? fake_of(vd->m->vm)->msis : vd->m->interrupts;
}

static void acknowledge(struct vd *vd)
{
	if (!vd->pci)
		space_write(vd->m->vm->memory, VD_MMIO_BASE + vd->slot * 0x200 + 0x64, 3, 4);
}

static void msix_enable(struct vd *vd)
{
	struct pci_device *pci = (struct pci_device *)vd->dev;
	uint64_t table = pci->bars[1].mapped_at;
	for (unsigned i = 0; i < 3; i++) {
		space_write(vd->m->vm->memory, table + 16 * i, 0xfee00000, 4);
		space_write(vd->m->vm->memory, table + 16 * i + 8, 0x40 + i, 4);
		space_write(vd->m->vm->memory, table + 16 * i + 12, 0, 4);
	}
	pci_config_write(vd->m->pci, vd->devfn, pci->msix.cap + 2, 0x8000, 2);
	space_write(vd->m->vm->memory, vd->common + 0x10, 0, 2);
	for (unsigned q = 0; q < 2; q++) {
		space_write(vd->m->vm->memory, vd->common + 0x16, q, 2);
		space_write(vd->m->vm->memory, vd->common + 0x1a, q + 1, 2);
	}
	space_write(vd->m->vm->memory, vd->common + 0x16, 0, 2);
	space_write(vd->m->vm->memory, vd->common + 0x1a, 3, 2);
	g_assert_cmphex(space_read(vd->m->vm->memory, vd->common + 0x1a, 2), ==, 0xffff);
	space_write(vd->m->vm->memory, vd->common + 0x1a, 1, 2);
}

static void set_event(struct vdq *vq, bool wanted, uint16_t ahead)
{
	uint8_t *mem = vq->vd->m->mem;
	if (vq->vd->packed) {
		uint16_t at = vq->used_idx + ahead;
		bool wrap = vq->used_wrap;
		if (at >= vq->size) {
			at -= vq->size;
			wrap = !wrap;
		}
		le16_store(mem + vq->driver, at | wrap << 15);
		le16_store(mem + vq->driver + 2, vq->vd->event_idx ? 2 : !wanted);
	} else if (vq->vd->event_idx) {
		le16_store(mem + vq->driver + 4 + 2 * vq->size, vq->used_idx + ahead);
	} else {
		le16_store(mem + vq->driver, !wanted);
	}
}

static void test_interrupts(gconstpointer data)
{
	const struct variant *v = data;
	struct vd_machine m;
	struct vd vd;
	struct vdq vq;
	open_echo(&vd, &m, v);
	vdq_open(&vq, &vd, 0, 16);
	if (v->pci)
		msix_enable(&vd);
	vd_driver_ok(&vd);
	uint64_t page = vd_alloc(&m, 4096);
	struct vd_buffer chain[] = {{page, 4}};
	for (unsigned round = 0; round < 40; round++) {
		bool wanted = round % 3 != 1;
		/* With the event index: the third from now, so two stay silent. */
		bool ahead = vd.event_idx && round % 3 == 2;
		unsigned before = interrupts(&vd);
		set_event(&vq, wanted, vd.event_idx ? (wanted ? (ahead ? 2 : 0) : 8) : 0);
		for (unsigned i = 0; i < 3; i++) {
			vdq_request(&vq, chain, 1);
			vd_pump(&m, 1, NULL);
			unsigned now = interrupts(&vd) - before;
			if (vd.event_idx)
				g_assert_cmpuint(now, ==, wanted && (!ahead || i == 2));
			else
				g_assert_cmpuint(now, ==, wanted ? i + 1 : 0);
			acknowledge(&vd);
		}
	}
	if (v->pci)
		g_assert_cmphex(fake_of(m.vm)->last_msi_data, ==, 0x41);

	/* Configuration change. */
	unsigned before = interrupts(&vd);
	virtio_config_changed(&echo_of(vd.dev)->vdev);
	g_assert_cmpuint(interrupts(&vd), ==, before + 1);
	if (v->pci)
		g_assert_cmphex(fake_of(m.vm)->last_msi_data, ==, 0x40);
	close_echo(&vd);
}

/* The MSI-X control register's Enable and Function Mask. */
static void msix_control(struct vd *vd, uint16_t bits)
{
	pci_config_write(vd->m->pci, vd->devfn, ((struct pci_device *)vd->dev)->msix.cap + 2, bits, 2);
}

static uint64_t msix_entry(struct vd *vd, unsigned vector)
{
	return ((struct pci_device *)vd->dev)->bars[1].mapped_at + 16 * vector;
}

/* Interrupts that came by irqfd (low byte) and by message (next byte) for one request. */
static unsigned irqfd_request(struct vdq *vq, uint64_t page)
{
	struct vm *vm = vq->vd->m->vm;
	struct vd_buffer chain[] = {{page, 4}};
	unsigned before = fake_of(vm)->msis;
	g_assert_cmpuint(vdq_request(vq, chain, 1), !=, UINT32_MAX);
	vd_pump(vq->vd->m, 1, NULL);
	unsigned messages = fake_of(vm)->msis - before;
	return messages << 8 | fake_irqfds_deliver(vm);
}

static void test_irqfds(void)
{
	static const struct variant v = {.pci = true};
	struct vd_machine m;
	struct vd vd;
	struct vdq vq;
	vd_machine_init(&m);
	m.vm->engine = &fake_irqfd_engine;
	struct fake_vm *fake = fake_of(m.vm);
	open_echo_on(&vd, &m, &v);
	vdq_open(&vq, &vd, 0, 16);
	g_assert_cmpuint(fake->irqfd_count, ==, 0);
	msix_enable(&vd);
	g_assert_cmpuint(fake->irqfd_count, ==, 3);
	vd_driver_ok(&vd);
	uint64_t page = vd_alloc(&m, 4096);
	g_assert_cmphex(irqfd_request(&vq, page), ==, 0x001);
	g_assert_cmphex(fake->last_msi_data, ==, 0x41);

	/* Masked: it becomes pending, and is sent when the mask goes. */
	space_write(m.vm->memory, msix_entry(&vd, 1) + 12, 1, 4);
	g_assert_cmpuint(fake->irqfd_count, ==, 2);
	g_assert_cmphex(irqfd_request(&vq, page), ==, 0);
	unsigned before = fake->msis;
	space_write(m.vm->memory, msix_entry(&vd, 1) + 12, 0, 4);
	g_assert_cmpuint(fake->msis, ==, before + 1);
	g_assert_cmphex(irqfd_request(&vq, page), ==, 0x001);

	/* Another message, with the vector open. */
	space_write(m.vm->memory, msix_entry(&vd, 1) + 8, 0x55, 4);
	g_assert_cmphex(irqfd_request(&vq, page), ==, 0x001);
	g_assert_cmphex(fake->last_msi_data, ==, 0x55);

	/* All of them: by the function's mask, the bus mastering bit, the enable bit. */
	msix_control(&vd, 0xc000);
	g_assert_cmpuint(fake->irqfd_count, ==, 0);
	msix_control(&vd, 0x8000);
	g_assert_cmpuint(fake->irqfd_count, ==, 3);
	pci_config_write(m.pci, vd.devfn, PCI_COMMAND, 2, 2);
	g_assert_cmpuint(fake->irqfd_count, ==, 0);
	pci_config_write(m.pci, vd.devfn, PCI_COMMAND, 6, 2);
	g_assert_cmpuint(fake->irqfd_count, ==, 3);
	g_assert_cmphex(irqfd_request(&vq, page), ==, 0x001);
	msix_control(&vd, 0);
	g_assert_cmpuint(fake->irqfd_count, ==, 0);

	/* No route left: the long way. */
	fake->irqfd_refuse = true;
	msix_control(&vd, 0x8000);
	g_assert_cmpuint(fake->irqfd_count, ==, 0);
	g_assert_cmphex(irqfd_request(&vq, page), ==, 0x100);
	fake->irqfd_refuse = false;
	device_reset(vd.dev);
	g_assert_cmpuint(fake->irqfd_count, ==, 0);
	close_echo(&vd);
}

static void test_intx_and_window(void)
{
	static const struct variant v = {.pci = true};
	struct vd_machine m;
	struct vd vd;
	struct vdq vq;
	open_echo(&vd, &m, &v);
	vdq_open(&vq, &vd, 0, 16);
	vd_driver_ok(&vd);
	uint64_t page = vd_alloc(&m, 4096);
	struct vd_buffer chain[] = {{page, 4}};
	vdq_request(&vq, chain, 1);
	g_assert_true(m.line);
	g_assert_cmphex(space_read(m.vm->memory, vd.isr, 1), ==, 1);
	g_assert_false(m.line);
	virtio_config_changed(&echo_of(vd.dev)->vdev);
	g_assert_true(m.line);

	/* The window in configuration space reaches status, ISR and the doorbell. */
	unsigned cap = ((struct virtio_pci *)vd.dev)->cfg_cap;
	struct { uint32_t offset, size; } at = {0x14, 1};
	pci_config_write(m.pci, vd.devfn, cap + 4, 4, 1);
	pci_config_write(m.pci, vd.devfn, cap + 8, at.offset, 4);
	pci_config_write(m.pci, vd.devfn, cap + 12, at.size, 4);
	g_assert_cmphex(pci_config_read(m.pci, vd.devfn, cap + 16, 1), ==, 15);
	pci_config_write(m.pci, vd.devfn, cap + 8, 0x1000, 4);
	g_assert_cmphex(pci_config_read(m.pci, vd.devfn, cap + 16, 1), ==, 2);
	g_assert_false(m.line);
	pci_config_write(m.pci, vd.devfn, cap + 8, 0x3000, 4);
	pci_config_write(m.pci, vd.devfn, cap + 12, 2, 4);
	unsigned popped = echo_of(vd.dev)->popped;
	vdq_add(&vq, chain, 1, 0);
	pci_config_write(m.pci, vd.devfn, cap + 16, 0, 2);
	vd_pump(&m, 5, NULL);
	g_assert_cmpuint(echo_of(vd.dev)->popped, ==, popped + 1);
	/* Nonsense does nothing. */
	pci_config_write(m.pci, vd.devfn, cap + 8, 0xffffffff, 4);
	pci_config_write(m.pci, vd.devfn, cap + 12, 3, 4);
	pci_config_write(m.pci, vd.devfn, cap + 16, 0x55, 1);
	pci_config_read(m.pci, vd.devfn, cap + 16, 4);

	/* Without bus mastering the rings are left alone; with it they go on. */
	pci_config_write(m.pci, vd.devfn, 4, 2, 2);
	vdq_add(&vq, chain, 1, 0);
	vdq_kick(&vq);
	vd_pump(&m, 5, NULL);
	g_assert_cmpuint(echo_of(vd.dev)->popped, ==, popped + 1);
	pci_config_write(m.pci, vd.devfn, 4, 6, 2);
	vd_pump(&m, 5, NULL);
	g_assert_cmpuint(echo_of(vd.dev)->popped, ==, popped + 2);
	close_echo(&vd);
}

static void test_pause(void)
{
	static const struct variant v = {.pci = false};
	struct vd_machine m;
	struct vd vd;
	struct vdq vq;
	open_echo(&vd, &m, &v);
	vdq_open(&vq, &vd, 0, 16);
	vd_driver_ok(&vd);
	uint64_t page = vd_alloc(&m, 4096);
	struct vd_buffer chain[] = {{page, 4}};
	device_stop(vd.dev);
	vdq_add(&vq, chain, 1, 0);
	vdq_kick(&vq);
	vd_pump(&m, 5, NULL);
	g_assert_cmpuint(echo_of(vd.dev)->popped, ==, 0);
	device_start(vd.dev);
	vd_pump(&m, 5, NULL);
	g_assert_cmpuint(echo_of(vd.dev)->popped, ==, 1);
	close_echo(&vd);
}

static void test_mmio_empty(void)
{
	struct vd_machine m;
	vd_machine_init(&m);
	for (unsigned slot = 0; slot < VD_SLOTS; slot++) {
		uint64_t at = VD_MMIO_BASE + slot * 0x200;
		g_assert_cmphex(space_read(m.vm->memory, at, 4), ==, 0x74726976);
		g_assert_cmphex(space_read(m.vm->memory, at + 8, 4), ==, 0);
		for (unsigned reg = 0x10; reg < 0x200; reg += 4) {
			space_write(m.vm->memory, at + reg, 0xffffffff, 4);
			space_read(m.vm->memory, at + reg, 4);
		}
	}
	vd_machine_free(&m);
}

int main(int argc, char **argv)
{
	static const uint64_t sets[] = {
		0, VIRTIO_BIT(VIRTIO_F_RING_PACKED), ALL_CORE & ~VIRTIO_BIT(VIRTIO_F_RING_PACKED),
		ALL_CORE,
	};
	static const char *const names[] = {"split", "packed", "split-all", "packed-all"};
	static const struct {
		const char *name;
		void (*fn)(gconstpointer data);
	} tests[] = {
		{"negotiation", test_negotiation}, {"echo", test_echo}, {"order", test_order},
		{"reset", test_reset}, {"ring-reset", test_ring_reset},
		{"interrupts", test_interrupts},
	};
	static struct variant variants[8];
	g_test_init(&argc, &argv, NULL);
	for (unsigned i = 0; i < 8; i++) {
		variants[i] = (struct variant){.pci = i & 1, .features = sets[i / 2]};
		for (unsigned t = 0; t < G_N_ELEMENTS(tests); t++) {
			g_autofree char *path = g_strdup_printf("/virtio/%s/%s/%s", i & 1 ? "pci" : "mmio",
								names[i / 2], tests[t].name);
			g_test_add_data_func(path, &variants[i], tests[t].fn);
		}
	}
	g_test_add_func("/virtio/intx-and-window", test_intx_and_window);
	g_test_add_func("/virtio/irqfds", test_irqfds);
	g_test_add_func("/virtio/pause", test_pause);
	g_test_add_func("/virtio/mmio-empty", test_mmio_empty);
	return g_test_run();
}
