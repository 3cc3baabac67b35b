/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * MSI-X vectors by way of the engine's irqfds: an eventfd for each vector, which the kernel turns
 * into the vector's message while the guest lets it through. Whenever the guest changes the vector,
 * masks it, or takes away the right to master the bus, the eventfd is disconnected, and interrupts
 * go through pci_msi_notify(), which keeps the pending bits (PCI 3.0, 6.8.2.4).
 *
 * A vector's lock is held while its eventfd is written or connected, so no interrupt can end up in
 * an eventfd that nobody reads. Locks, in order: the PCI bus's, the vector's, the engine's.
 */
#include "dev/virtio/pci.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/lock.h"
#include "base/log.h"
#include "vm/vm.h"

#include <errno.h>
#include <sys/eventfd.h>

struct virtio_pci_irqfd {
	pthread_mutex_t lock;
	int fd;
	bool attached;
	uint64_t address; /* the message, while attached */
	uint32_t data;
};

/* Under the vector's lock. */
static void detach(struct virtio_pci *proxy, struct virtio_pci_irqfd *irqfd)
{
	if (irqfd->attached)
		proxy->vdev->vm->engine->irqfd_detach(proxy->vdev->vm, irqfd->fd);
	irqfd->attached = false;
}

static void attach(struct virtio_pci *proxy, struct virtio_pci_irqfd *irqfd, uint64_t address,
		   uint32_t data)
{
	struct vm *vm = proxy->vdev->vm;
	g_autoptr(GError) error = NULL;
	uint64_t count;
	/* Old kernels leave the count of what they have delivered, and would deliver it again. */
	if (read(irqfd->fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return;
	irqfd->address = address;
	irqfd->data = data;
	irqfd->attached = vm->engine->irqfd_attach(vm, irqfd->fd, address, data, &error);
	/* A guest may use more vectors than there are routes: the others take the long way. */
	if (!irqfd->attached)
		log_debug("%s: %s", proxy->vdev->type->name, error->message);
}

static void vector_changed(struct pci_device *pci, unsigned vector)
{
	struct virtio_pci *proxy = (struct virtio_pci *)pci;
	struct virtio_pci_irqfd *irqfd = &proxy->irqfds[vector];
	uint64_t address = 0;
	uint32_t data = 0;
	LOCK_SCOPE(&irqfd->lock);
	bool open = pci_msix_enabled(pci) && pci_dma_enabled(pci) &&
		    pci_msi_message(pci, vector, &address, &data);
	if (irqfd->attached && (!open || irqfd->address != address || irqfd->data != data))
		detach(proxy, irqfd);
	if (open && !irqfd->attached)
		attach(proxy, irqfd, address, data);
}

bool virtio_pci_irqfd_create(struct virtio_pci *proxy, GError **error)
{
	if (!proxy->vectors || !proxy->vdev->vm->engine->irqfd_attach)
		return true;
	proxy->irqfds = g_new0(struct virtio_pci_irqfd, proxy->vectors);
	for (unsigned i = 0; i < proxy->vectors; i++) {
		struct virtio_pci_irqfd *irqfd = &proxy->irqfds[i];
		irqfd->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		if (irqfd->fd < 0) {
			error_set_errno(error, errno, "cannot create an eventfd for a vector of %s",
					proxy->vdev->type->name);
			proxy->irqfd_count = i;
			return false;
		}
		pthread_mutex_init(&irqfd->lock, NULL);
	}
	proxy->irqfd_count = proxy->vectors;
	proxy->pci.vector_changed = vector_changed;
	return true;
}

void virtio_pci_irqfd_update(struct virtio_pci *proxy)
{
	for (unsigned i = 0; i < proxy->irqfd_count; i++)
		vector_changed(&proxy->pci, i);
}

bool virtio_pci_irqfd_notify(struct virtio_pci *proxy, unsigned vector)
{
	if (vector >= proxy->irqfd_count)
		return false;
	struct virtio_pci_irqfd *irqfd = &proxy->irqfds[vector];
	uint64_t one = 1;
	LOCK_SCOPE(&irqfd->lock);
	return irqfd->attached && write(irqfd->fd, &one, sizeof(one)) == sizeof(one);
}

void virtio_pci_irqfd_destroy(struct virtio_pci *proxy)
{
	proxy->pci.vector_changed = NULL;
	for (unsigned i = 0; i < proxy->irqfd_count; i++) {
		detach(proxy, &proxy->irqfds[i]);
		fd_clear(&proxy->irqfds[i].fd);
		pthread_mutex_destroy(&proxy->irqfds[i].lock);
	}
	proxy->irqfd_count = 0;
	g_clear_pointer(&proxy->irqfds, g_free);
}
