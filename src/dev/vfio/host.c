/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The kernel's side of one device: the ioctls of linux/vfio.h on its descriptor. */
#include "dev/vfio/vfio_int.h"

#include <errno.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

struct kernel_host {
	struct vfio_host host;
	int fd;
	char *name;
	uint32_t flags, irqs;
	uint64_t offsets[VFIO_PCI_NUM_REGIONS]; /* of regions, in the descriptor */
};

/* Of a region's capabilities: which parts can be mapped, if it is not all of it. */
static void read_sparse(const struct vfio_region_info *info, struct vfio_host_region *region)
{
	const uint8_t *bytes = (const uint8_t *)info;
	for (uint32_t at = info->cap_offset, seen = 0; at && seen < 16; seen++) {
		const struct vfio_info_cap_header *header = (const void *)(bytes + at);
		if (!range_fits(at, sizeof(*header), info->argsz))
			return;
		if (header->id == VFIO_REGION_INFO_CAP_SPARSE_MMAP) {
			const struct vfio_region_info_cap_sparse_mmap *sparse = (const void *)header;
			region->area_count = MIN(sparse->nr_areas, VFIO_AREAS_MAX);
			for (unsigned i = 0; i < region->area_count; i++)
				region->areas[i] = (struct vfio_area){sparse->areas[i].offset,
								      sparse->areas[i].size};
		}
		at = header->next;
	}
}

static bool host_region(struct vfio_host *host, unsigned index, struct vfio_host_region *region,
			GError **error)
{
	struct kernel_host *k = (struct kernel_host *)host;
	uint32_t size = sizeof(struct vfio_region_info);
	g_autofree struct vfio_region_info *info = g_malloc0(size);
	*region = (struct vfio_host_region){0};
	for (;;) {
		info->argsz = size;
		info->index = index;
		if (ioctl(k->fd, VFIO_DEVICE_GET_REGION_INFO, info) < 0) {
			/* Some devices have no VGA region, and kernels say so with an error. */
			return error_set_errno(error, errno, "%s: cannot ask for region %u", k->name,
					       index);
		}
		if (info->argsz <= size)
			break;
		/* It has capabilities, for which there was no room. */
		size = info->argsz;
		info = g_realloc(info, size);
		memset(info, 0, size);
	}
	region->size = info->size;
	k->offsets[index] = info->offset;
	if (!(info->flags & VFIO_REGION_INFO_FLAG_MMAP))
		return true;
	region->areas[0] = (struct vfio_area){0, info->size};
	region->area_count = 1;
	if (info->flags & VFIO_REGION_INFO_FLAG_CAPS)
		read_sparse(info, region);
	return true;
}

static bool host_read(struct vfio_host *host, unsigned region, uint64_t offset, void *bytes, unsigned size)
{
	struct kernel_host *k = (struct kernel_host *)host;
	return pread(k->fd, bytes, size, (off_t)(k->offsets[region] + offset)) == (ssize_t)size;
}

static bool host_write(struct vfio_host *host, unsigned region, uint64_t offset, const void *bytes,
		       unsigned size)
{
	struct kernel_host *k = (struct kernel_host *)host;
	return pwrite(k->fd, bytes, size, (off_t)(k->offsets[region] + offset)) == (ssize_t)size;
}

static unsigned host_irq_count(struct vfio_host *host, unsigned index)
{
	struct kernel_host *k = (struct kernel_host *)host;
	struct vfio_irq_info info = {.argsz = sizeof(info), .index = index};
	if (index >= k->irqs || ioctl(k->fd, VFIO_DEVICE_GET_IRQ_INFO, &info) < 0 ||
	    !(info.flags & VFIO_IRQ_INFO_EVENTFD))
		return 0;
	return info.count;
}

static int host_set_irqs(struct vfio_host *host, unsigned index, uint32_t flags, unsigned start,
			 unsigned count, const int32_t *fds)
{
	struct kernel_host *k = (struct kernel_host *)host;
	size_t bytes = fds ? count * sizeof(*fds) : 0;
	g_autofree struct vfio_irq_set *set = g_malloc0(sizeof(*set) + bytes);
	set->argsz = (uint32_t)(sizeof(*set) + bytes);
	set->flags = flags;
	set->index = index;
	set->start = start;
	set->count = count;
	if (bytes)
		memcpy(set->data, fds, bytes);
	int result = ioctl(k->fd, VFIO_DEVICE_SET_IRQS, set);
	return result < 0 ? -errno : result;
}

static int host_reset(struct vfio_host *host)
{
	struct kernel_host *k = (struct kernel_host *)host;
	if (!(k->flags & VFIO_DEVICE_FLAGS_RESET))
		return -ENOTTY;
	return ioctl(k->fd, VFIO_DEVICE_RESET) < 0 ? -errno : 0;
}

static uint8_t *host_map(struct vfio_host *host, unsigned region, const struct vfio_area *area)
{
	struct kernel_host *k = (struct kernel_host *)host;
	void *memory = mmap(NULL, area->size, PROT_READ | PROT_WRITE, MAP_SHARED, k->fd,
			    (off_t)(k->offsets[region] + area->offset));
	return memory == MAP_FAILED ? NULL : memory;
}

static void host_unmap(struct vfio_host *host, uint8_t *memory, uint64_t size)
{
	munmap(memory, size);
}

static void host_close(struct vfio_host *host)
{
	struct kernel_host *k = (struct kernel_host *)host;
	fd_clear(&k->fd);
	g_free(k->name);
	g_free(k);
}

static const struct vfio_host_ops kernel_ops = {
	.region = host_region, .read = host_read, .write = host_write, .irq_count = host_irq_count,
	.set_irqs = host_set_irqs, .reset = host_reset, .map = host_map, .unmap = host_unmap,
	.close = host_close,
};

struct vfio_host *vfio_host_new(int fd, const char *name, GError **error)
{
	struct vfio_device_info info = {.argsz = sizeof(info)};
	auto_fd device = fd;
	if (ioctl(device, VFIO_DEVICE_GET_INFO, &info) < 0) {
		error_set_errno(error, errno, "%s: the kernel does not describe it", name);
		return NULL;
	}
	if (!(info.flags & VFIO_DEVICE_FLAGS_PCI) || info.num_regions < VFIO_PCI_CONFIG_REGION_INDEX + 1) {
		error_set(error, BERTH_ERR_NOT_SUPPORTED, "%s is no PCI device to VFIO", name);
		return NULL;
	}
	struct kernel_host *k = g_new0(struct kernel_host, 1);
	k->host.ops = &kernel_ops;
	k->fd = fd_steal(&device);
	k->name = g_strdup(name);
	k->flags = info.flags;
	k->irqs = info.num_irqs;
	return &k->host;
}
