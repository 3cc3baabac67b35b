/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio over PCI, virtio 1.2 section 4.1, modern interface. One 16 KiB memory BAR holds the four
 * structures a page each, and each queue has a doorbell address of its own, so that KVM can turn
 * the write into an eventfd signal without leaving the kernel. Interrupts are MSI-X vectors that
 * the driver assigns, or INTx with the ISR byte.
 *
 * Locks, in order: the bus's (configuration space), vdev->lock, the address space's.
 */
#include "dev/virtio/pci.h"

#include "base/bytes.h"
#include "base/error.h"
#include "base/lock.h"
#include "vm/vm.h"

#define VIRTIO_VENDOR       0x1af4
#define VIRTIO_DEVICE_BASE  0x1040
#define VIRTIO_SUBSYSTEM    0x1100

#define MSIX_BAR 1
#define BAR      4
#define AREA     0x1000 /* bytes of each structure in the BAR */
#define BAR_SIZE (4 * AREA)
#define NOTIFY_STRIDE 4

enum { AREA_COMMON, AREA_ISR, AREA_DEVICE, AREA_NOTIFY };

/* 4.1.4: capability types. */
enum { CAP_COMMON = 1, CAP_NOTIFY = 2, CAP_ISR = 3, CAP_DEVICE = 4, CAP_PCI = 5 };

/* 4.1.4.5: bits of the ISR byte. */
enum { ISR_QUEUE = 1, ISR_CONFIG = 2 };

/* 4.1.4.3: struct virtio_pci_common_cfg. */
enum {
	COMMON_DEVICE_FEATURE_SELECT = 0x00, COMMON_DEVICE_FEATURE = 0x04,
	COMMON_DRIVER_FEATURE_SELECT = 0x08, COMMON_DRIVER_FEATURE = 0x0c,
	COMMON_CONFIG_VECTOR = 0x10, COMMON_NUM_QUEUES = 0x12, COMMON_STATUS = 0x14,
	COMMON_GENERATION = 0x15, COMMON_QUEUE_SELECT = 0x16, COMMON_QUEUE_SIZE = 0x18,
	COMMON_QUEUE_VECTOR = 0x1a, COMMON_QUEUE_ENABLE = 0x1c, COMMON_QUEUE_NOTIFY_OFF = 0x1e,
	COMMON_QUEUE_DESC = 0x20, COMMON_QUEUE_DRIVER = 0x28, COMMON_QUEUE_DEVICE = 0x30,
	COMMON_QUEUE_NOTIFY_DATA = 0x38, COMMON_QUEUE_RESET = 0x3a,
};

const char *const virtio_pci_on_off_auto_names[] = {"auto", "on", "off", NULL};

/* ---- Interrupts ---- */

static void proxy_interrupt(struct virtio_pci *proxy, uint16_t vector, uint8_t isr)
{
	if (pci_msix_enabled(&proxy->pci)) {
		if (vector != VIRTIO_NO_VECTOR && !virtio_pci_irqfd_notify(proxy, vector))
			pci_msi_notify(&proxy->pci, vector);
		return;
	}
	atomic_fetch_or(&proxy->isr, isr);
	pci_intx_set(&proxy->pci, true);
}

static void proxy_notify(struct virtio_device *vdev, unsigned queue)
{
	struct virtio_pci *proxy = vdev->transport_opaque;
	proxy_interrupt(proxy, atomic_load(&proxy->queue_vectors[queue]), ISR_QUEUE);
}

static void proxy_notify_config(struct virtio_device *vdev)
{
	struct virtio_pci *proxy = vdev->transport_opaque;
	proxy_interrupt(proxy, atomic_load(&proxy->config_vector), ISR_CONFIG);
}

static void proxy_reset_registers(struct virtio_device *vdev)
{
	struct virtio_pci *proxy = vdev->transport_opaque;
	proxy->feature_select = proxy->driver_feature_select = 0;
	proxy->queue_select = 0;
	atomic_store(&proxy->config_vector, VIRTIO_NO_VECTOR);
	for (unsigned i = 0; i < vdev->queue_count; i++)
		atomic_store(&proxy->queue_vectors[i], VIRTIO_NO_VECTOR);
	atomic_store(&proxy->isr, 0);
	if (proxy->pci.bus)
		pci_intx_set(&proxy->pci, false);
}

static const struct virtio_transport_ops proxy_ops = {
	.notify = proxy_notify,
	.notify_config = proxy_notify_config,
	.reset = proxy_reset_registers,
};

/* ---- Common configuration ---- */

static uint64_t queue_read(struct virtio_pci *proxy, unsigned offset)
{
	struct virtio_device *vdev = proxy->vdev;
	unsigned n = proxy->queue_select;
	if (n >= vdev->queue_count)
		return 0; /* 4.1.4.3.1: size 0 says that there is no such queue */
	switch (offset) {
	case COMMON_QUEUE_SIZE:
		return virtio_queue_size(vdev, n);
	case COMMON_QUEUE_VECTOR:
		return atomic_load(&proxy->queue_vectors[n]);
	case COMMON_QUEUE_ENABLE:
		return virtio_queue_enabled(vdev, n);
	case COMMON_QUEUE_NOTIFY_OFF:
	case COMMON_QUEUE_NOTIFY_DATA:
		return n;
	case COMMON_QUEUE_RESET:
		return virtio_queue_resetting(vdev, n);
	case COMMON_QUEUE_DESC ... COMMON_QUEUE_DEVICE + 4:
		if (offset % 4)
			return 0;
		return virtio_queue_get_address(vdev, n, (offset - COMMON_QUEUE_DESC) / 8,
						offset & 4);
	default:
		return 0;
	}
}

static uint64_t common_read(struct virtio_pci *proxy, unsigned offset)
{
	struct virtio_device *vdev = proxy->vdev;
	switch (offset) {
	case COMMON_DEVICE_FEATURE_SELECT:
		return proxy->feature_select;
	case COMMON_DEVICE_FEATURE:
		return virtio_get_features(vdev, proxy->feature_select, false);
	case COMMON_DRIVER_FEATURE_SELECT:
		return proxy->driver_feature_select;
	case COMMON_DRIVER_FEATURE:
		return virtio_get_features(vdev, proxy->driver_feature_select, true);
	case COMMON_CONFIG_VECTOR:
		return atomic_load(&proxy->config_vector);
	case COMMON_NUM_QUEUES:
		return vdev->queue_count;
	case COMMON_STATUS:
		return virtio_get_status(vdev);
	case COMMON_GENERATION:
		return atomic_load(&vdev->generation) & 0xff;
	case COMMON_QUEUE_SELECT:
		return proxy->queue_select;
	default:
		return queue_read(proxy, offset);
	}
}

/* 4.1.4.3.1: a vector that cannot be reads back as NO_VECTOR. */
static uint16_t usable_vector(struct virtio_pci *proxy, uint16_t vector)
{
	return vector < proxy->vectors ? vector : VIRTIO_NO_VECTOR;
}

static void queue_write(struct virtio_pci *proxy, unsigned offset, uint32_t value)
{
	struct virtio_device *vdev = proxy->vdev;
	unsigned n = proxy->queue_select;
	if (n >= vdev->queue_count)
		return;
	switch (offset) {
	case COMMON_QUEUE_SIZE:
		virtio_queue_set_size(vdev, n, value & 0xffff);
		break;
	case COMMON_QUEUE_VECTOR:
		atomic_store(&proxy->queue_vectors[n], usable_vector(proxy, value));
		break;
	case COMMON_QUEUE_ENABLE:
		/* 4.1.4.3.2: a driver must not write 0; there is nothing that it could mean. */
		if (value == 1)
			virtio_queue_enable(vdev, n);
		break;
	case COMMON_QUEUE_RESET:
		if (value == 1)
			virtio_queue_reset(vdev, n);
		break;
	case COMMON_QUEUE_DESC ... COMMON_QUEUE_DEVICE + 4:
		if (offset % 4 == 0)
			virtio_queue_set_address(vdev, n, (offset - COMMON_QUEUE_DESC) / 8,
						 offset & 4, value);
		break;
	default:
		break;
	}
}

static void common_write(struct virtio_pci *proxy, unsigned offset, uint32_t value)
{
	struct virtio_device *vdev = proxy->vdev;
	switch (offset) {
	case COMMON_DEVICE_FEATURE_SELECT:
		proxy->feature_select = value;
		break;
	case COMMON_DRIVER_FEATURE_SELECT:
		proxy->driver_feature_select = value;
		break;
	case COMMON_DRIVER_FEATURE:
		virtio_set_features(vdev, proxy->driver_feature_select, value);
		break;
	case COMMON_CONFIG_VECTOR:
		atomic_store(&proxy->config_vector, usable_vector(proxy, value));
		break;
	case COMMON_STATUS:
		virtio_set_status(vdev, value);
		break;
	case COMMON_QUEUE_SELECT:
		proxy->queue_select = value;
		break;
	default:
		queue_write(proxy, offset, value);
		break;
	}
}

/* ---- The BAR ---- */

static uint64_t isr_read(struct virtio_pci *proxy)
{
	/* 4.1.4.5: reading acknowledges. Lower the line first: a new cause raises it again. */
	pci_intx_set(&proxy->pci, false);
	return atomic_exchange(&proxy->isr, 0);
}

static uint64_t bar_read(void *opaque, uint64_t offset, unsigned size)
{
	struct virtio_pci *proxy = opaque;
	switch (offset / AREA) {
	case AREA_COMMON:
		return common_read(proxy, offset) & size_mask(size);
	case AREA_ISR:
		return offset == AREA_ISR * AREA ? isr_read(proxy) : 0;
	case AREA_DEVICE:
		return virtio_config_read(proxy->vdev, offset - AREA_DEVICE * AREA, size);
	default:
		return 0;
	}
}

static void bar_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct virtio_pci *proxy = opaque;
	switch (offset / AREA) {
	case AREA_COMMON:
		common_write(proxy, offset, value & size_mask(size));
		break;
	case AREA_DEVICE:
		virtio_config_write(proxy->vdev, offset - AREA_DEVICE * AREA, value, size);
		break;
	case AREA_NOTIFY:
		/* Only by way of the configuration window, or with ioeventfd=off. */
		virtio_queue_ring(proxy->vdev, (offset - AREA_NOTIFY * AREA) / NOTIFY_STRIDE);
		break;
	default:
		break;
	}
}

static const struct io_ops bar_ops = {.read = bar_read, .write = bar_write, .min_size = 1, .max_size = 4};

/* ---- Configuration space ---- */

/* Doorbells follow the BAR; called with the bus locked, or with no vCPU running. */
static void doorbells_move(struct virtio_pci *proxy, uint64_t bar_at)
{
	struct space *memory = proxy->vdev->vm->memory;
	uint64_t at = bar_at == UINT64_MAX ? UINT64_MAX : bar_at + AREA_NOTIFY * AREA;
	if (!proxy->ioeventfd || at == proxy->doorbells_at)
		return;
	space_begin(memory);
	for (unsigned i = 0; i < proxy->vdev->queue_count; i++) {
		/* Size 0: any; 4.1.5.2 has 16 bits, but nothing hangs on what is written. */
		struct space_doorbell doorbell = {
			.addr = proxy->doorbells_at + i * NOTIFY_STRIDE,
		};
		virtio_queue_doorbell(proxy->vdev, i, &doorbell);
		if (proxy->doorbells_at != UINT64_MAX)
			space_remove_doorbell(memory, &doorbell);
		doorbell.addr = at + i * NOTIFY_STRIDE;
		if (at != UINT64_MAX)
			space_add_doorbell(memory, &doorbell);
	}
	space_commit(memory);
	proxy->doorbells_at = at;
}

/* 4.1.4.9: the window into the BAR through configuration space, for firmware that cannot map it. */
static bool window_target(struct virtio_pci *proxy, uint64_t *offset, unsigned *size)
{
	const uint8_t *cap = proxy->pci.config + proxy->cfg_cap;
	*offset = le32_load(cap + 8);
	*size = le32_load(cap + 12);
	return cap[4] == BAR && (*size == 1 || *size == 2 || *size == 4) && *offset % *size == 0 &&
	       range_fits(*offset, *size, BAR_SIZE);
}

static bool window_covers(const struct virtio_pci *proxy, unsigned offset, unsigned size)
{
	unsigned data = proxy->cfg_cap + 16;
	return proxy->cfg_cap && offset >= data && offset + size <= data + 4u;
}

static bool proxy_config_read(struct pci_device *pci, unsigned offset, unsigned size,
			      uint32_t *value)
{
	struct virtio_pci *proxy = (struct virtio_pci *)pci;
	uint64_t target;
	unsigned target_size;
	if (!window_covers(proxy, offset, size) || !window_target(proxy, &target, &target_size))
		return false;
	uint64_t data = bar_read(proxy, target, target_size);
	*value = (data >> (8 * (offset - proxy->cfg_cap - 16))) & size_mask(size);
	return true;
}

static void proxy_config_written(struct pci_device *pci, unsigned offset, unsigned size)
{
	struct virtio_pci *proxy = (struct virtio_pci *)pci;
	uint64_t target;
	unsigned target_size;
	if (window_covers(proxy, offset, size) && window_target(proxy, &target, &target_size))
		bar_write(proxy, target, le_load(pci->config + proxy->cfg_cap + 16, target_size),
			  target_size);
	doorbells_move(proxy, pci->bars[BAR].mapped_at);
	virtio_set_dma(proxy->vdev, pci_dma_enabled(pci));
	if (offset <= PCI_COMMAND && offset + size > PCI_COMMAND)
		virtio_pci_irqfd_update(proxy);
}

static uint8_t add_cap(struct virtio_pci *proxy, uint8_t type, uint8_t size, unsigned area,
		       uint32_t length)
{
	uint8_t at = pci_add_capability(&proxy->pci, 0x09, size); /* vendor-specific */
	uint8_t *cap = proxy->pci.config + at;
	cap[2] = size;
	cap[3] = type;
	cap[4] = BAR;
	le32_store(cap + 8, area * AREA);
	le32_store(cap + 12, length);
	return at;
}

static void add_caps(struct virtio_pci *proxy)
{
	struct pci_device *pci = &proxy->pci;
	add_cap(proxy, CAP_COMMON, 16, AREA_COMMON, AREA);
	add_cap(proxy, CAP_ISR, 16, AREA_ISR, AREA);
	if (proxy->vdev->type->config_size)
		add_cap(proxy, CAP_DEVICE, 16, AREA_DEVICE, AREA);
	uint8_t notify = add_cap(proxy, CAP_NOTIFY, 20, AREA_NOTIFY, AREA);
	le32_store(pci->config + notify + 16, NOTIFY_STRIDE);
	proxy->cfg_cap = add_cap(proxy, CAP_PCI, 20, 0, 0);
	uint8_t *writable = pci->writable + proxy->cfg_cap;
	pci->config[proxy->cfg_cap + 4] = 0;
	writable[4] = 0xff;
	memset(writable + 8, 0xff, 12);
}

/* ---- Life ---- */

bool virtio_pci_open(struct virtio_pci *proxy, struct virtio_device *vdev,
		     const struct virtio_type *type, GError **error)
{
	proxy->doorbells_at = UINT64_MAX;
	if (proxy->disable_legacy == VIRTIO_PCI_OFF || proxy->disable_modern)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "%s has the modern (virtio 1.x) interface only: leave out %s",
				 proxy->pci.dev.class->name,
				 proxy->disable_modern ? "disable-modern=on"
						       : "disable-legacy=off");
	virtio_init(vdev, &proxy->pci.dev, type);
	proxy->vdev = vdev;
	return !type->open || type->open(vdev, error);
}

bool virtio_pci_create(struct device *dev, GError **error)
{
	struct virtio_pci *proxy = (struct virtio_pci *)dev;
	struct virtio_device *vdev = proxy->vdev;
	const struct virtio_type *type = vdev->type;
	if (!type->create(vdev, error))
		return false;
	if (proxy->vectors == UINT32_MAX)
		proxy->vectors = type->pci_vectors ? type->pci_vectors : vdev->queue_count + 1;
	if (proxy->vectors > PCI_MSIX_MAX)
		return error_set(error, BERTH_ERR_INVALID, "%s: vectors=%u is more than %u",
				 dev->class->name, proxy->vectors, PCI_MSIX_MAX);
	proxy->queue_vectors = g_new(_Atomic uint16_t, vdev->queue_count);
	for (unsigned i = 0; i < vdev->queue_count; i++)
		atomic_init(&proxy->queue_vectors[i], VIRTIO_NO_VECTOR);

	struct pci_device *pci = &proxy->pci;
	pci_set_identity(pci, VIRTIO_VENDOR, VIRTIO_DEVICE_BASE + type->id, type->pci_class, 1);
	pci_set_subsystem(pci, VIRTIO_VENDOR, VIRTIO_SUBSYSTEM);
	pci_set_pin(pci, 0);
	pci->rom_default = type->pci_rom;
	if (proxy->vectors)
		pci_add_msix(pci, proxy->vectors, MSIX_BAR);
	if (!virtio_pci_irqfd_create(proxy, error))
		return false;
	proxy->bar = (struct io_region){
		.name = type->name, .ops = &bar_ops, .opaque = proxy, .size = BAR_SIZE};
	pci_add_bar(pci, BAR, &proxy->bar, false, true, true);
	add_caps(proxy);
	pci->config_read = proxy_config_read;
	pci->config_written = proxy_config_written;
	if (!virtio_attach_transport(vdev, &proxy_ops, proxy, error))
		return false;
	vdev->dma = false; /* until the driver sets bus mastering */
	return pci_bus_attach(dev->bus, pci, error);
}

void virtio_pci_reset(struct device *dev)
{
	struct virtio_pci *proxy = (struct virtio_pci *)dev;
	virtio_reset(proxy->vdev);
	pci_device_reset(&proxy->pci);
	doorbells_move(proxy, proxy->pci.bars[BAR].mapped_at);
	virtio_set_dma(proxy->vdev, pci_dma_enabled(&proxy->pci));
}

void virtio_pci_start(struct device *dev)
{
	virtio_start(((struct virtio_pci *)dev)->vdev);
}

void virtio_pci_stop(struct device *dev)
{
	virtio_stop(((struct virtio_pci *)dev)->vdev);
}

void virtio_pci_destroy(struct device *dev)
{
	struct virtio_pci *proxy = (struct virtio_pci *)dev;
	if (!proxy->vdev)
		return;
	doorbells_move(proxy, UINT64_MAX);
	virtio_cleanup(proxy->vdev);
	if (proxy->pci.bus)
		pci_bus_detach(proxy->pci.bus, &proxy->pci);
	virtio_pci_irqfd_destroy(proxy);
	pci_device_cleanup(&proxy->pci);
	g_clear_pointer(&proxy->queue_vectors, g_free);
	proxy->vdev = NULL;
}
