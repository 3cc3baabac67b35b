/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio over MMIO, virtio 1.2 section 4.2, register layout version 2. A slot without a device
 * answers with device id 0, which drivers take for "nothing here" (4.2.2.1).
 */
#include "dev/virtio/mmio.h"

#include "base/bytes.h"
#include "base/error.h"
#include "base/lock.h"
#include "vm/vm.h"

/* 4.2.2, table 4.1. */
enum {
	REG_MAGIC = 0x000, REG_VERSION = 0x004, REG_DEVICE_ID = 0x008, REG_VENDOR_ID = 0x00c,
	REG_DEVICE_FEATURES = 0x010, REG_DEVICE_FEATURES_SEL = 0x014, REG_DRIVER_FEATURES = 0x020,
	REG_DRIVER_FEATURES_SEL = 0x024, REG_QUEUE_SEL = 0x030, REG_QUEUE_NUM_MAX = 0x034,
	REG_QUEUE_NUM = 0x038, REG_QUEUE_READY = 0x044, REG_QUEUE_NOTIFY = 0x050,
	REG_INTERRUPT_STATUS = 0x060, REG_INTERRUPT_ACK = 0x064, REG_STATUS = 0x070,
	REG_QUEUE_DESC = 0x080, REG_QUEUE_DRIVER = 0x090, REG_QUEUE_DEVICE = 0x0a0,
	REG_SHM_SEL = 0x0ac, REG_SHM_LEN = 0x0b0, REG_SHM_BASE_HIGH = 0x0bc,
	REG_QUEUE_RESET = 0x0c0, REG_GENERATION = 0x0fc, REG_CONFIG = 0x100,
};

#define MAGIC  0x74726976 /* "virt" */
#define VENDOR 0x48545242 /* "BRTH" */

enum { INTERRUPT_QUEUE = 1, INTERRUPT_CONFIG = 2 };

struct virtio_mmio_slot {
	struct virtio_mmio_bus *bus;
	struct virtio_mmio *proxy; /* NULL: free. Changes only with no vCPU running */
	struct irq irq;
	uint64_t base;
	struct io_region region;
};

struct virtio_mmio_bus {
	struct vm *vm;
	unsigned count;
	struct virtio_mmio_slot slots[];
};

/* ---- Interrupts ---- */

static void interrupt_change(struct virtio_mmio *proxy, uint32_t set, uint32_t clear)
{
	LOCK_SCOPE(&proxy->irq_lock);
	uint32_t status = (atomic_load(&proxy->interrupt_status) | set) & ~clear;
	atomic_store(&proxy->interrupt_status, status);
	irq_set(&proxy->slot->irq, status != 0);
}

static void proxy_notify(struct virtio_device *vdev, unsigned queue)
{
	interrupt_change(vdev->transport_opaque, INTERRUPT_QUEUE, 0);
}

static void proxy_notify_config(struct virtio_device *vdev)
{
	interrupt_change(vdev->transport_opaque, INTERRUPT_CONFIG, 0);
}

static void proxy_reset_registers(struct virtio_device *vdev)
{
	struct virtio_mmio *proxy = vdev->transport_opaque;
	proxy->feature_select = proxy->driver_feature_select = proxy->queue_select = 0;
	interrupt_change(proxy, 0, UINT32_MAX);
}

static const struct virtio_transport_ops proxy_ops = {
	.notify = proxy_notify,
	.notify_config = proxy_notify_config,
	.reset = proxy_reset_registers,
};

/* ---- Registers ---- */

static uint32_t register_read(struct virtio_mmio *proxy, unsigned offset)
{
	struct virtio_device *vdev = proxy->vdev;
	switch (offset) {
	case REG_DEVICE_ID:
		return vdev->type->id;
	case REG_DEVICE_FEATURES:
		return virtio_get_features(vdev, proxy->feature_select, false);
	case REG_QUEUE_NUM_MAX:
		return virtio_queue_max_size(vdev, proxy->queue_select);
	case REG_QUEUE_READY:
		return virtio_queue_enabled(vdev, proxy->queue_select);
	case REG_INTERRUPT_STATUS:
		return atomic_load(&proxy->interrupt_status);
	case REG_STATUS:
		return virtio_get_status(vdev);
	case REG_SHM_LEN ... REG_SHM_BASE_HIGH:
		return UINT32_MAX; /* 4.2.2.1: no such shared memory region */
	case REG_QUEUE_RESET:
		return virtio_queue_resetting(vdev, proxy->queue_select);
	case REG_GENERATION:
		return atomic_load(&vdev->generation);
	default:
		return 0;
	}
}

static void register_write(struct virtio_mmio *proxy, unsigned offset, uint32_t value)
{
	struct virtio_device *vdev = proxy->vdev;
	switch (offset) {
	case REG_DEVICE_FEATURES_SEL:
		proxy->feature_select = value;
		break;
	case REG_DRIVER_FEATURES:
		virtio_set_features(vdev, proxy->driver_feature_select, value);
		break;
	case REG_DRIVER_FEATURES_SEL:
		proxy->driver_feature_select = value;
		break;
	case REG_QUEUE_SEL:
		proxy->queue_select = value;
		break;
	case REG_QUEUE_NUM:
		virtio_queue_set_size(vdev, proxy->queue_select, value);
		break;
	case REG_QUEUE_READY:
		if (value == 1)
			virtio_queue_enable(vdev, proxy->queue_select);
		break;
	case REG_QUEUE_NOTIFY:
		virtio_queue_ring(vdev, value);
		break;
	case REG_INTERRUPT_ACK:
		interrupt_change(proxy, 0, value);
		break;
	case REG_STATUS:
		virtio_set_status(vdev, value);
		break;
	case REG_QUEUE_DESC:
	case REG_QUEUE_DESC + 4:
	case REG_QUEUE_DRIVER:
	case REG_QUEUE_DRIVER + 4:
	case REG_QUEUE_DEVICE:
	case REG_QUEUE_DEVICE + 4:
		virtio_queue_set_address(vdev, proxy->queue_select, (offset - REG_QUEUE_DESC) / 16,
					 offset & 4, value);
		break;
	case REG_QUEUE_RESET:
		if (value == 1)
			virtio_queue_reset(vdev, proxy->queue_select);
		break;
	default:
		break;
	}
}

static uint64_t slot_read(void *opaque, uint64_t offset, unsigned size)
{
	struct virtio_mmio_slot *slot = opaque;
	if (offset >= REG_CONFIG)
		return slot->proxy ? virtio_config_read(slot->proxy->vdev, offset - REG_CONFIG, size)
				   : 0;
	/* 4.2.2.2: registers are 32 bits wide and so accessed. */
	if (size != 4)
		return 0;
	switch (offset) {
	case REG_MAGIC:
		return MAGIC;
	case REG_VERSION:
		return 2;
	case REG_VENDOR_ID:
		return VENDOR;
	default:
		return slot->proxy ? register_read(slot->proxy, offset) : 0;
	}
}

static void slot_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct virtio_mmio_slot *slot = opaque;
	if (!slot->proxy)
		return;
	if (offset >= REG_CONFIG)
		virtio_config_write(slot->proxy->vdev, offset - REG_CONFIG, value, size);
	else if (size == 4)
		register_write(slot->proxy, offset, value);
}

static const struct io_ops slot_ops = {
	.read = slot_read, .write = slot_write, .min_size = 1, .max_size = 4};

/* ---- The bus ---- */

struct virtio_mmio_bus *virtio_mmio_bus_new(struct vm *vm, uint64_t base, const struct irq *irqs,
					    unsigned count)
{
	struct virtio_mmio_bus *bus =
		g_malloc0(sizeof(*bus) + count * sizeof(struct virtio_mmio_slot));
	bus->vm = vm;
	bus->count = count;
	space_begin(vm->memory);
	for (unsigned i = 0; i < count; i++) {
		struct virtio_mmio_slot *slot = &bus->slots[i];
		slot->bus = bus;
		slot->irq = irqs[i];
		slot->base = base + i * VIRTIO_MMIO_SLOT_SIZE;
		slot->region = (struct io_region){.name = "virtio-mmio", .ops = &slot_ops,
						  .opaque = slot, .size = VIRTIO_MMIO_SLOT_SIZE};
		space_add_io(vm->memory, slot->base, &slot->region, SPACE_PRIORITY_NORMAL);
	}
	space_commit(vm->memory);
	return bus;
}

void virtio_mmio_bus_free(struct virtio_mmio_bus *bus)
{
	if (!bus)
		return;
	for (unsigned i = 0; i < bus->count; i++) {
		g_assert(!bus->slots[i].proxy);
		space_remove_io(bus->vm->memory, &bus->slots[i].region);
	}
	g_free(bus);
}

struct device *virtio_mmio_bus_device(const struct virtio_mmio_bus *bus, unsigned i)
{
	return i < bus->count && bus->slots[i].proxy ? &bus->slots[i].proxy->dev : NULL;
}

/* ---- Life ---- */

static void doorbells_set(struct virtio_mmio *proxy, bool on)
{
	struct space *memory = proxy->dev.vm->memory;
	if (!proxy->ioeventfd)
		return;
	for (unsigned i = 0; i < proxy->vdev->queue_count; i++) {
		struct space_doorbell doorbell = {
			.addr = proxy->slot->base + REG_QUEUE_NOTIFY, .size = 4, .match = true,
			.value = i,
		};
		virtio_queue_doorbell(proxy->vdev, i, &doorbell);
		if (on)
			space_add_doorbell(memory, &doorbell);
		else
			space_remove_doorbell(memory, &doorbell);
	}
}

bool virtio_mmio_open(struct virtio_mmio *proxy, struct virtio_device *vdev,
		      const struct virtio_type *type, GError **error)
{
	virtio_init(vdev, &proxy->dev, type);
	pthread_mutex_init(&proxy->irq_lock, NULL);
	proxy->vdev = vdev;
	return !type->open || type->open(vdev, error);
}

bool virtio_mmio_create(struct device *dev, GError **error)
{
	struct virtio_mmio *proxy = (struct virtio_mmio *)dev;
	struct virtio_mmio_bus *bus = dev->bus;
	struct virtio_mmio_slot *slot = NULL;
	for (unsigned i = 0; i < bus->count && !slot; i++) {
		if (!bus->slots[i].proxy)
			slot = &bus->slots[i];
	}
	if (!slot)
		return error_set(error, BERTH_ERR_INVALID,
				 "no room for %s: all %u virtio-mmio slots are taken",
				 dev->class->name, bus->count);
	proxy->slot = slot;
	if (!proxy->vdev->type->create(proxy->vdev, error) ||
	    !virtio_attach_transport(proxy->vdev, &proxy_ops, proxy, error))
		return false;
	slot->proxy = proxy;
	doorbells_set(proxy, true);
	return true;
}

void virtio_mmio_reset(struct device *dev)
{
	virtio_reset(((struct virtio_mmio *)dev)->vdev);
}

void virtio_mmio_start(struct device *dev)
{
	virtio_start(((struct virtio_mmio *)dev)->vdev);
}

void virtio_mmio_stop(struct device *dev)
{
	virtio_stop(((struct virtio_mmio *)dev)->vdev);
}

void virtio_mmio_destroy(struct device *dev)
{
	struct virtio_mmio *proxy = (struct virtio_mmio *)dev;
	if (!proxy->vdev)
		return;
	if (proxy->slot && proxy->slot->proxy == proxy)
		doorbells_set(proxy, false);
	virtio_cleanup(proxy->vdev);
	if (proxy->slot && proxy->slot->proxy == proxy)
		proxy->slot->proxy = NULL;
	pthread_mutex_destroy(&proxy->irq_lock);
	proxy->vdev = NULL;
}
