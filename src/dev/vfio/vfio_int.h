/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Shared between the files of dev/vfio.
 *
 * host.c is the kernel's side of one device, behind operations that a test can replace; group.c opens
 * it, with its group and the container that dma.c gives the guest's memory to; config.c, bar.c and irq.c
 * are what the guest sees. Locks, in order: the PCI bus's, vfio_pci.lock, the function's irq_lock.
 */
#pragma once

#include "base/bytes.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/lock.h"
#include "base/log.h"
#include "dev/pci/pci.h"
#include "vm/vm.h"

#include <linux/vfio.h>
#include <sys/types.h>

/* --- host.c: one device as the kernel has it ------------------------------------------------------- */

enum { VFIO_AREAS_MAX = 16 };

/* A part of a region that can be mapped; page-aligned. */
struct vfio_area {
	uint64_t offset, size;
};

struct vfio_host_region {
	uint64_t size; /* 0: there is none */
	struct vfio_area areas[VFIO_AREAS_MAX];
	unsigned area_count;
};

struct vfio_host;

/* Any thread, but for `region`, `map`, `unmap` and `close`. */
struct vfio_host_ops {
	bool (*region)(struct vfio_host *host, unsigned index, struct vfio_host_region *region, GError **error);
	/* All of `size` bytes, or false. */
	bool (*read)(struct vfio_host *host, unsigned region, uint64_t offset, void *bytes, unsigned size);
	bool (*write)(struct vfio_host *host, unsigned region, uint64_t offset, const void *bytes,
		      unsigned size);
	/* How many interrupts of VFIO_PCI_*_IRQ_INDEX there are. */
	unsigned (*irq_count)(struct vfio_host *host, unsigned index);
	/*
	 * VFIO_DEVICE_SET_IRQS; `fds` only with DATA_EVENTFD. 0, -errno, or how many vectors the host could
	 * have given.
	 */
	int (*set_irqs)(struct vfio_host *host, unsigned index, uint32_t flags, unsigned start,
			unsigned count, const int32_t *fds);
	/* 0 or -errno; -ENOTTY: it cannot be reset by itself. */
	int (*reset)(struct vfio_host *host);
	/* NULL on failure. */
	uint8_t *(*map)(struct vfio_host *host, unsigned region, const struct vfio_area *area);
	void (*unmap)(struct vfio_host *host, uint8_t *memory, uint64_t size);
	void (*close)(struct vfio_host *host);
};

struct vfio_host {
	const struct vfio_host_ops *ops;
};

/* Takes `fd`, of VFIO_GROUP_GET_DEVICE_FD, and closes it in any case. */
struct vfio_host *vfio_host_new(int fd, const char *name, GError **error);

/* --- dma.c: the guest's memory for the device -------------------------------------------------------- */

struct vfio_dma {
	struct space *space;
	struct vm *vm;
	/* VFIO_IOMMU_MAP_DMA and UNMAP: 0 or -errno. */
	int (*map)(void *opaque, uint64_t address, uint8_t *host, uint64_t size, bool writable);
	int (*unmap)(void *opaque, uint64_t address, uint64_t size);
	void *opaque;
	GArray *mapped; /* struct mapping of dma.c */
	GError *failed; /* of the update that is under way */
	bool started;
};

/* Maps all RAM, and from now on follows what comes and goes. Main thread, with the vCPUs parked. */
bool vfio_dma_start(struct vfio_dma *dma, GError **error);
/* Unmaps all. */
void vfio_dma_stop(struct vfio_dma *dma);

/* --- group.c -------------------------------------------------------------------------------------------- */

struct vfio_group;

/* The group of the device whose folder in sysfs is `path`, in a container of this VM. Main thread. */
struct vfio_group *vfio_group_get(struct vm *vm, const char *path, const char *name, GError **error);
void vfio_group_put(struct vfio_group *group);
struct vfio_host *vfio_group_open_device(struct vfio_group *group, const char *path, const char *name,
					 GError **error);

/* --- the device ------------------------------------------------------------------------------------------ */

struct vfio_window {
	struct vfio_bar *bar;
	uint64_t offset;
};

struct vfio_bar {
	struct vfio_pci *owner;
	unsigned index;
	struct io_region region;
	struct pci_window windows[VFIO_AREAS_MAX + 2];
	struct vfio_window owners[VFIO_AREAS_MAX + 2]; /* the opaques of their regions */
	unsigned window_count;
};

enum vfio_irq_mode { VFIO_IRQ_NONE, VFIO_IRQ_INTX, VFIO_IRQ_MSI, VFIO_IRQ_MSIX };

struct vfio_vector {
	int fd;        /* -1: not used yet */
	bool irqfd;    /* the engine listens to it, not our loop */
	bool watched;  /* our loop does */
	uint64_t address; /* the message, while irqfd */
	uint32_t data;
};

struct vfio_pci {
	struct pci_device pci;
	char *host_address, *sysfsdev; /* properties */
	uint32_t boot_index;
	char *name, *path;             /* "0000:05:00.0"; its folder in sysfs */
	struct vfio_group *group;
	struct vfio_host *host;
	uint64_t config_size;
	uint8_t emulated[PCI_CONFIG_SIZE]; /* bits that come from pci.config; the others are the device's */
	struct vfio_bar bars[PCI_BAR_COUNT];
	uint32_t msix_table, msix_pba;     /* offset and BAR */
	bool decodes;                      /* the device's own command register has memory on. Bus lock */

	/* irq.c: under `lock`, but for the watch, which is the main thread's */
	pthread_mutex_t lock;
	bool lock_ready;
	enum vfio_irq_mode mode;
	bool intx_raised;
	struct vfio_vector *vectors;
	unsigned vector_count;  /* as many as the device has, of MSI or MSI-X */
	unsigned vector_active; /* as many as the host gave */
	int intx_fd, error_fd, request_fd, epoll_fd;
	struct aio_watch *watch;
};

/* config.c: what pci.config shows, and the hooks. */
bool vfio_config_create(struct vfio_pci *v, GError **error);
/* After a reset: the device's command register is what the guest's is. */
void vfio_config_sync(struct vfio_pci *v);
/* bar.c */
bool vfio_bars_create(struct vfio_pci *v, GError **error);
void vfio_bars_destroy(struct vfio_pci *v);
/* irq.c */
bool vfio_irq_create(struct vfio_pci *v, GError **error);
void vfio_irq_destroy(struct vfio_pci *v);
/* The mode is what configuration space says. With the bus lock held, or with no vCPU running. */
void vfio_irq_update(struct vfio_pci *v);
void vfio_irq_off(struct vfio_pci *v);
/* The guest has looked at the device: its interrupt pin is asked again. Any thread. */
void vfio_irq_acknowledge(struct vfio_pci *v);
