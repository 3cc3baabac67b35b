/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vd_echo.h"

static void answer(struct echo *echo, struct virtq_chain *chain)
{
	struct virtqueue *vq = chain->vq;
	uint8_t buffer[4096];
	size_t n = virtq_read(chain, 0, buffer, sizeof(buffer));
	n = virtq_write(chain, 0, buffer, n);
	virtq_push(vq, chain, n);
	virtq_notify(vq);
}

void echo_release(struct echo *echo)
{
	while (echo->held) {
		struct virtq_chain *chain = echo->held;
		echo->held = chain->next;
		answer(echo, chain);
	}
}

static void echo_kick(struct virtio_device *vdev, struct virtqueue *vq)
{
	struct echo *echo = (struct echo *)vdev;
	do {
		struct virtq_chain *chain;
		virtq_disable_kicks(vq);
		while ((chain = virtq_pop(vq))) {
			echo->popped++;
			if (echo->hold) {
				chain->next = echo->held;
				echo->held = chain;
			} else {
				answer(echo, chain);
			}
		}
	} while (virtq_enable_kicks(vq));
}

static void echo_drop(struct virtio_device *vdev, struct virtqueue *vq)
{
	struct echo *echo = (struct echo *)vdev;
	if (echo->keep_on_drop)
		return;
	struct virtq_chain **at = &echo->held;
	while (*at) {
		struct virtq_chain *chain = *at;
		if (chain->vq != vq) {
			at = &chain->next;
			continue;
		}
		*at = chain->next;
		virtq_drop(vq, chain);
	}
}

static uint64_t echo_features(struct virtio_device *vdev)
{
	return 1 | 2;
}

static bool echo_features_ok(struct virtio_device *vdev, uint64_t accepted)
{
	return !(accepted & 2) || accepted & 1;
}

static void echo_read_config(struct virtio_device *vdev, uint8_t *config)
{
	for (unsigned i = 0; i < 6; i++)
		config[i] = 0x10 + i;
	config[6] = ((struct echo *)vdev)->byte;
}

static void echo_write_config(struct virtio_device *vdev, unsigned offset, unsigned size)
{
	if (offset == 6 && size == 1)
		((struct echo *)vdev)->byte = vdev->config[6];
}

static bool echo_create(struct virtio_device *vdev, GError **error)
{
	struct echo *echo = (struct echo *)vdev;
	for (unsigned i = 0; i < ECHO_QUEUES; i++)
		echo->vqs[i] = virtio_add_queue(vdev, ECHO_SIZE, NULL, error);
	return true;
}

static void echo_reset(struct virtio_device *vdev)
{
	((struct echo *)vdev)->resets++;
}

static const struct virtio_type echo_type = {
	.id = 42, .name = "echo", .pci_class = 0x00ff00, .config_size = 7,
	.create = echo_create, .features = echo_features, .features_ok = echo_features_ok,
	.read_config = echo_read_config, .write_config = echo_write_config,
	.reset = echo_reset, .kick = echo_kick, .drop = echo_drop,
};

struct echo_pci_instance {
	struct virtio_pci proxy;
	struct echo echo;
};

struct echo_mmio_instance {
	struct virtio_mmio proxy;
	struct echo echo;
};

struct echo *echo_of(struct device *dev)
{
	return dev->class == &echo_pci ? &((struct echo_pci_instance *)dev)->echo
				       : &((struct echo_mmio_instance *)dev)->echo;
}

static bool open_pci(struct device *dev, GError **error)
{
	struct echo_pci_instance *self = (struct echo_pci_instance *)dev;
	return virtio_pci_open(&self->proxy, &self->echo.vdev, &echo_type, error);
}

static bool open_mmio(struct device *dev, GError **error)
{
	struct echo_mmio_instance *self = (struct echo_mmio_instance *)dev;
	return virtio_mmio_open(&self->proxy, &self->echo.vdev, &echo_type, error);
}

static const struct property pci_properties[] = {
	VIRTIO_PCI_PROPERTIES(struct echo_pci_instance, proxy),
	VIRTIO_PROPERTIES(struct echo_pci_instance, echo.vdev),
	{.name = NULL},
};

static const struct property mmio_properties[] = {
	VIRTIO_MMIO_PROPERTIES(struct echo_mmio_instance, proxy),
	VIRTIO_PROPERTIES(struct echo_mmio_instance, echo.vdev),
	{.name = NULL},
};

const struct device_class echo_pci = {
	.name = "echo-pci", .bus = "PCI", .properties = pci_properties,
	.size = sizeof(struct echo_pci_instance), .open = open_pci, .create = virtio_pci_create,
	.reset = virtio_pci_reset, .start = virtio_pci_start, .stop = virtio_pci_stop,
	.destroy = virtio_pci_destroy,
};

const struct device_class echo_mmio = {
	.name = "echo-device", .bus = "virtio-bus", .properties = mmio_properties,
	.size = sizeof(struct echo_mmio_instance), .open = open_mmio, .create = virtio_mmio_create,
	.reset = virtio_mmio_reset, .start = virtio_mmio_start, .stop = virtio_mmio_stop,
	.destroy = virtio_mmio_destroy,
};
