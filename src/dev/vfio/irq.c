/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Interrupts. The kernel turns each of the device's into a write to an eventfd. Of a message, the engine
 * listens there itself if it can and the guest lets the vector through; else our loop does, by an epoll
 * descriptor that any thread may add to. The pin's eventfd is always the loop's: the kernel masks the
 * interrupt when it comes, until the guest has looked at the device and we unmask it.
 */
#include "dev/vfio/vfio_int.h"

#include "aio/loop.h"

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

enum { TAG_INTX = 1 << 16, TAG_ERROR, TAG_REQUEST };
enum { EVENTS_AT_ONCE = 16 };

static int set_irqs(struct vfio_pci *v, unsigned index, uint32_t flags, unsigned start, unsigned count,
		    const int32_t *fds)
{
	return v->host->ops->set_irqs(v->host, index, flags, start, count, fds);
}

static int set_trigger(struct vfio_pci *v, unsigned index, unsigned start, int fd)
{
	const int32_t fds[] = {fd};
	return set_irqs(v, index, VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER, start, 1, fds);
}

static int disable(struct vfio_pci *v, unsigned index)
{
	return set_irqs(v, index, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER, 0, 0, NULL);
}

static bool watch(struct vfio_pci *v, int fd, uint32_t tag)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u32 = tag};
	return epoll_ctl(v->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0 || errno == EEXIST;
}

/* --- messages -------------------------------------------------------------------------------------------- */

static unsigned message_index(const struct vfio_pci *v)
{
	return v->mode == VFIO_IRQ_MSIX ? VFIO_PCI_MSIX_IRQ_INDEX : VFIO_PCI_MSI_IRQ_INDEX;
}

/* Under the lock: the vector is ours to listen to. */
static void listen_ourselves(struct vfio_pci *v, unsigned n)
{
	struct vfio_vector *vector = &v->vectors[n];
	if (vector->irqfd)
		v->pci.dev.vm->engine->irqfd_detach(v->pci.dev.vm, vector->fd);
	vector->irqfd = false;
	if (!vector->watched)
		vector->watched = watch(v, vector->fd, n);
}

static void let_engine_listen(struct vfio_pci *v, unsigned n, uint64_t address, uint32_t data)
{
	struct vfio_vector *vector = &v->vectors[n];
	struct vm *vm = v->pci.dev.vm;
	g_autoptr(GError) error = NULL;
	if (!vm->engine->irqfd_attach)
		return;
	if (vector->watched)
		epoll_ctl(v->epoll_fd, EPOLL_CTL_DEL, vector->fd, NULL);
	vector->watched = false;
	vector->address = address;
	vector->data = data;
	vector->irqfd = vm->engine->irqfd_attach(vm, vector->fd, address, data, &error);
	if (vector->irqfd)
		return;
	/* A guest may use more vectors than there are routes: the others take the long way. */
	log_debug("vfio-pci: %s: %s", v->name, error->message);
	listen_ourselves(v, n);
}

static bool open_vector(struct vfio_pci *v, unsigned n)
{
	struct vfio_vector *vector = &v->vectors[n];
	if (vector->fd >= 0)
		return true;
	vector->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	int result = vector->fd < 0 ? -errno : set_trigger(v, message_index(v), n, vector->fd);
	if (result == 0)
		return true;
	log_guest_fault("vfio-pci: %s: the host has no interrupt for vector %u: %s", v->name, n,
			g_strerror(-result));
	fd_clear(&vector->fd);
	return false;
}

/* Under the lock. A vector is the host's from its first use until messages are switched off. */
static void refresh(struct vfio_pci *v, unsigned n)
{
	struct pci_device *pci = &v->pci;
	struct vfio_vector *vector = &v->vectors[n];
	uint64_t address = 0;
	uint32_t data = 0;
	bool open = pci_dma_enabled(pci) && pci_msi_message(pci, n, &address, &data);
	if (vector->fd < 0 && (!open || !open_vector(v, n)))
		return;
	if (!open || (vector->irqfd && (vector->address != address || vector->data != data)))
		listen_ourselves(v, n);
	if (open && !vector->irqfd) {
		if (!vector->watched && !v->pci.dev.vm->engine->irqfd_attach)
			listen_ourselves(v, n);
		let_engine_listen(v, n, address, data);
	}
}

static void vector_changed(struct pci_device *pci, unsigned n)
{
	struct vfio_pci *v = (struct vfio_pci *)pci;
	LOCK_SCOPE(&v->lock);
	if (v->mode >= VFIO_IRQ_MSI && n < v->vector_active)
		refresh(v, n);
}

static void messages_on(struct vfio_pci *v, enum vfio_irq_mode mode)
{
	unsigned count = mode == VFIO_IRQ_MSIX ? v->pci.msix.vectors :
		1u << (le16_load(v->pci.config + v->pci.msi_cap + 2) >> 1 & 7);
	v->mode = mode;
	int result = (int)count;
	g_autofree int32_t *fds = g_new(int32_t, count);
	memset(fds, 0xff, count * sizeof(*fds)); /* -1: not used yet */
	/* A host that has not so many says how many it has. */
	do {
		count = MIN(count, (unsigned)result);
		result = set_irqs(v, message_index(v), VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
				  0, count, fds);
	} while (result > 0 && (unsigned)result < count);
	v->vector_active = result == 0 ? count : 0;
	if (result)
		log_guest_fault("vfio-pci: %s: the host gives no message interrupts: %s", v->name,
				g_strerror(result < 0 ? -result : ENOSPC));
	for (unsigned n = 0; n < v->vector_active; n++)
		refresh(v, n);
}

static void messages_off(struct vfio_pci *v)
{
	for (unsigned n = 0; n < v->vector_active; n++) {
		struct vfio_vector *vector = &v->vectors[n];
		if (vector->irqfd)
			v->pci.dev.vm->engine->irqfd_detach(v->pci.dev.vm, vector->fd);
		if (vector->watched)
			epoll_ctl(v->epoll_fd, EPOLL_CTL_DEL, vector->fd, NULL);
		vector->irqfd = vector->watched = false;
	}
	disable(v, message_index(v));
	for (unsigned n = 0; n < v->vector_active; n++)
		fd_clear(&v->vectors[n].fd);
	v->vector_active = 0;
}

/* --- the pin ----------------------------------------------------------------------------------------------- */

static void pin_on(struct vfio_pci *v)
{
	v->mode = VFIO_IRQ_INTX;
	v->intx_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	int result = v->intx_fd < 0 || !watch(v, v->intx_fd, TAG_INTX) ?
			     -errno : set_trigger(v, VFIO_PCI_INTX_IRQ_INDEX, 0, v->intx_fd);
	if (result < 0)
		log_warning("vfio-pci: %s: its interrupt pin cannot be used: %s", v->name, g_strerror(-result));
}

static void pin_off(struct vfio_pci *v)
{
	disable(v, VFIO_PCI_INTX_IRQ_INDEX);
	fd_clear(&v->intx_fd);
	v->intx_raised = false;
	pci_intx_set(&v->pci, false);
}

void vfio_irq_acknowledge(struct vfio_pci *v)
{
	if (!__atomic_load_n(&v->intx_raised, __ATOMIC_RELAXED))
		return;
	LOCK_SCOPE(&v->lock);
	if (v->mode != VFIO_IRQ_INTX || !v->intx_raised)
		return;
	__atomic_store_n(&v->intx_raised, false, __ATOMIC_RELAXED);
	pci_intx_set(&v->pci, false);
	set_irqs(v, VFIO_PCI_INTX_IRQ_INDEX, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_UNMASK, 0, 1, NULL);
}

/* --- the mode ------------------------------------------------------------------------------------------------ */

static void off_locked(struct vfio_pci *v)
{
	if (v->mode == VFIO_IRQ_INTX)
		pin_off(v);
	else if (v->mode >= VFIO_IRQ_MSI)
		messages_off(v);
	v->mode = VFIO_IRQ_NONE;
}

void vfio_irq_off(struct vfio_pci *v)
{
	LOCK_SCOPE(&v->lock);
	off_locked(v);
}

static enum vfio_irq_mode wanted_mode(const struct vfio_pci *v)
{
	if (pci_msix_enabled(&v->pci))
		return VFIO_IRQ_MSIX;
	if (pci_msi_enabled(&v->pci))
		return VFIO_IRQ_MSI;
	return v->pci.config[PCI_INTERRUPT_PIN] ? VFIO_IRQ_INTX : VFIO_IRQ_NONE;
}

void vfio_irq_update(struct vfio_pci *v)
{
	enum vfio_irq_mode wanted = wanted_mode(v);
	pthread_mutex_lock(&v->lock);
	bool changed = wanted != v->mode;
	if (changed) {
		off_locked(v);
		if (wanted == VFIO_IRQ_INTX)
			pin_on(v);
		else if (wanted >= VFIO_IRQ_MSI)
			messages_on(v, wanted);
	}
	/* The right to master the bus may have come or gone. */
	for (unsigned n = 0; n < v->vector_active && !changed; n++)
		refresh(v, n);
	pthread_mutex_unlock(&v->lock);
	if (changed && v->pci.bus)
		pci_windows_changed(&v->pci);
}

/* --- events -------------------------------------------------------------------------------------------------- */

static bool take(int fd)
{
	uint64_t count;
	return fd >= 0 && read(fd, &count, sizeof(count)) == sizeof(count);
}

static void message_came(struct vfio_pci *v, unsigned n)
{
	pthread_mutex_lock(&v->lock);
	bool came = n < v->vector_active && v->vectors[n].watched && take(v->vectors[n].fd);
	pthread_mutex_unlock(&v->lock);
	if (came)
		pci_msi_notify(&v->pci, n);
}

static void pin_came(struct vfio_pci *v)
{
	LOCK_SCOPE(&v->lock);
	if (v->mode != VFIO_IRQ_INTX || !take(v->intx_fd))
		return;
	__atomic_store_n(&v->intx_raised, true, __ATOMIC_RELAXED);
	pci_intx_set(&v->pci, true);
}

static void came(void *opaque, int fd, uint32_t events)
{
	struct vfio_pci *v = opaque;
	struct epoll_event list[EVENTS_AT_ONCE];
	int count = epoll_wait(v->epoll_fd, list, EVENTS_AT_ONCE, 0);
	for (int i = 0; i < count; i++) {
		switch (list[i].data.u32) {
		case TAG_INTX:
			pin_came(v);
			break;
		case TAG_ERROR:
			if (!take(v->error_fd))
				break;
			log_error("vfio-pci: %s has an error that cannot be mended; the guest is stopped before "
				  "it loses data", v->name);
			vm_request(v->pci.dev.vm, VM_REQUEST_INTERNAL_ERROR, 0);
			break;
		case TAG_REQUEST:
			if (!take(v->request_fd))
				break;
			log_info("vfio-pci: the host wants %s back", v->name);
			vm_notify(v->pci.dev.vm, &(struct vm_notice){.kind = VM_NOTICE_DEVICE_WANTED},
				  v->pci.dev.id);
			break;
		default:
			message_came(v, list[i].data.u32);
		}
	}
}

/* ERR and REQ: some kernels and devices have not got them. */
static void watch_event(struct vfio_pci *v, unsigned index, int *fd, uint32_t tag)
{
	if (!v->host->ops->irq_count(v->host, index))
		return;
	*fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (*fd >= 0 && watch(v, *fd, tag) && set_trigger(v, index, 0, *fd) == 0)
		return;
	log_warning("vfio-pci: %s: the kernel does not tell of %s", v->name,
		    tag == TAG_ERROR ? "its errors" : "the host's wish to have it back");
	fd_clear(fd);
}

bool vfio_irq_create(struct vfio_pci *v, GError **error)
{
	pthread_mutex_init(&v->lock, NULL);
	v->lock_ready = true;
	v->intx_fd = v->error_fd = v->request_fd = -1;
	v->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (v->epoll_fd < 0)
		return error_set_errno(error, errno, "vfio-pci: %s: no epoll descriptor", v->name);
	v->vector_count = MAX(v->pci.msix.vectors, v->pci.msi_cap ? 32 : 0);
	v->vectors = g_new0(struct vfio_vector, v->vector_count);
	for (unsigned n = 0; n < v->vector_count; n++)
		v->vectors[n].fd = -1;
	v->pci.vector_changed = vector_changed;
	v->watch = aio_watch_add(v->pci.dev.vm->loop, v->epoll_fd, POLLIN, came, v);
	watch_event(v, VFIO_PCI_ERR_IRQ_INDEX, &v->error_fd, TAG_ERROR);
	watch_event(v, VFIO_PCI_REQ_IRQ_INDEX, &v->request_fd, TAG_REQUEST);
	return true;
}

void vfio_irq_destroy(struct vfio_pci *v)
{
	if (!v->lock_ready)
		return;
	vfio_irq_off(v);
	v->pci.vector_changed = NULL;
	if (v->watch)
		aio_watch_remove(v->watch);
	if (v->error_fd >= 0)
		disable(v, VFIO_PCI_ERR_IRQ_INDEX);
	if (v->request_fd >= 0)
		disable(v, VFIO_PCI_REQ_IRQ_INDEX);
	fd_clear(&v->error_fd);
	fd_clear(&v->request_fd);
	if (v->epoll_fd >= 0)
		fd_clear(&v->epoll_fd);
	g_clear_pointer(&v->vectors, g_free);
	pthread_mutex_destroy(&v->lock);
	v->lock_ready = false;
}
