/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Groups and the container. A group is what the host's IOMMU can tell apart; all of it belongs to one
 * VM or to none. All groups of a VM share one container, which has the guest's memory mapped once.
 */
#include "dev/vfio/vfio_int.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

struct vfio {
	struct vm *vm;
	int fd; /* of /dev/vfio/vfio */
	struct vfio_dma dma;
	GPtrArray *groups;
};

struct vfio_group {
	struct vfio *vfio;
	unsigned number, users;
	int fd;
};

/* --- the container -------------------------------------------------------------------------------------- */

static int container_map(void *opaque, uint64_t address, uint8_t *host, uint64_t size, bool writable)
{
	struct vfio *vfio = opaque;
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ | (writable ? VFIO_DMA_MAP_FLAG_WRITE : 0),
		.vaddr = (uintptr_t)host, .iova = address, .size = size,
	};
	return ioctl(vfio->fd, VFIO_IOMMU_MAP_DMA, &map) < 0 ? -errno : 0;
}

static int container_unmap(void *opaque, uint64_t address, uint64_t size)
{
	struct vfio *vfio = opaque;
	struct vfio_iommu_type1_dma_unmap unmap = {.argsz = sizeof(unmap), .iova = address, .size = size};
	return ioctl(vfio->fd, VFIO_IOMMU_UNMAP_DMA, &unmap) < 0 ? -errno : 0;
}

static int open_file(const char *path, const char *name, GError **error)
{
	int fd = open(path, O_RDWR | O_CLOEXEC), why = errno;
	struct stat st;
	if (fd >= 0)
		return fd;
	if ((why == EACCES || why == EPERM) && stat(path, &st) == 0)
		error_set(error, BERTH_ERR_IO,
			  "%s: no right to open %s: it belongs to user %u, group %u, mode %03o; give it "
			  "to this process's user, %u (chown)", name, path, st.st_uid, st.st_gid,
			  st.st_mode & 0777, geteuid());
	else if (why == EBUSY)
		error_set(error, BERTH_ERR_BUSY,
			  "%s: %s is in use: another VM or program has a device of this group", name,
			  path);
	else if (why == ENOENT && strcmp(path, "/dev/vfio/vfio") == 0)
		error_set(error, BERTH_ERR_NOT_FOUND, "%s: the host has no VFIO: modprobe vfio-pci",
			  name);
	else
		error_set_errno(error, why, "%s: cannot open %s", name, path);
	return -1;
}

static struct vfio *container_get(struct vm *vm, const char *name, GError **error)
{
	if (vm->vfio)
		return vm->vfio;
	auto_fd fd = open_file("/dev/vfio/vfio", name, error);
	if (fd < 0)
		return NULL;
	if (ioctl(fd, VFIO_GET_API_VERSION) != VFIO_API_VERSION ||
	    ioctl(fd, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU) <= 0) {
		error_set(error, BERTH_ERR_NOT_SUPPORTED,
			  "%s: the host's VFIO has no type 1 IOMMU: modprobe vfio_iommu_type1", name);
		return NULL;
	}
	struct vfio *vfio = g_new0(struct vfio, 1);
	vfio->vm = vm;
	vfio->fd = fd_steal(&fd);
	vfio->groups = g_ptr_array_new();
	vfio->dma = (struct vfio_dma){.space = vm->memory, .vm = vm, .map = container_map,
				      .unmap = container_unmap, .opaque = vfio};
	vm->vfio = vfio;
	return vfio;
}

static void container_put(struct vfio *vfio)
{
	if (vfio->groups->len)
		return;
	fd_clear(&vfio->fd);
	g_ptr_array_unref(vfio->groups);
	vfio->vm->vfio = NULL;
	g_free(vfio);
}

/* --- groups ---------------------------------------------------------------------------------------------- */

static char *driver_of(const char *path)
{
	g_autofree char *link = g_strdup_printf("%s/driver", path);
	g_autofree char *target = g_file_read_link(link, NULL);
	return target ? g_path_get_basename(target) : g_strdup("no driver");
}

static bool find_number(const char *path, const char *name, unsigned *number, GError **error)
{
	g_autofree char *link = g_strdup_printf("%s/iommu_group", path);
	g_autofree char *target = g_file_read_link(link, NULL);
	if (!g_file_test(path, G_FILE_TEST_EXISTS))
		return error_set(error, BERTH_ERR_NOT_FOUND,
				 "host=%s: the host has no such PCI device (lspci -D lists them)", name);
	if (!target)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "%s is in no IOMMU group: the host has no IOMMU that is switched on; "
				 "enable VT-d or AMD-Vi in its firmware, and on Intel boot it with intel_iommu=on",
				 name);
	g_autofree char *base = g_path_get_basename(target);
	*number = (unsigned)g_ascii_strtoull(base, NULL, 10);
	return true;
}

static bool not_bound(const char *path, const char *name, GError **error)
{
	g_autofree char *driver = driver_of(path);
	g_autofree char *node = g_strdelimit(g_strdup(name), ":.", '_');
	return error_set(error, BERTH_ERR_BUSY,
			 "%s is bound to %s, not to vfio-pci: virsh nodedev-detach pci_%s, or write "
			 "vfio-pci to /sys/bus/pci/devices/%s/driver_override, %s to its driver/unbind and to "
			 "/sys/bus/pci/drivers_probe", name, driver, node, name, name);
}

/* Which devices of the group the host still uses. */
static bool not_viable(unsigned number, const char *name, GError **error)
{
	g_autofree char *folder = g_strdup_printf("/sys/kernel/iommu_groups/%u/devices", number);
	g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
	g_autoptr(GString) others = g_string_new(NULL);
	for (const char *entry; dir && (entry = g_dir_read_name(dir));) {
		g_autofree char *path = g_build_filename(folder, entry, NULL);
		g_autofree char *driver = driver_of(path);
		if (strstr(driver, "vfio") || strcmp(driver, "no driver") == 0)
			continue;
		g_string_append_printf(others, "%s%s (%s)", others->len ? ", " : "", entry, driver);
	}
	return error_set(error, BERTH_ERR_BUSY,
			 "%s: its IOMMU group %u is not viable: the host still uses %s; bind all devices "
			 "of the group to vfio-pci", name, number, others->len ? others->str : "a device of it");
}

/* The kernel takes the group into the container, whose kind of IOMMU its first group decides. */
static bool join(struct vfio_group *group, const char *name, GError **error)
{
	struct vfio *vfio = group->vfio;
	struct vfio_group_status status = {.argsz = sizeof(status)};
	if (ioctl(group->fd, VFIO_GROUP_GET_STATUS, &status) < 0)
		return error_set_errno(error, errno, "%s: cannot ask for its group", name);
	if (!(status.flags & VFIO_GROUP_FLAGS_VIABLE))
		return not_viable(group->number, name, error);
	if (ioctl(group->fd, VFIO_GROUP_SET_CONTAINER, &vfio->fd) < 0)
		return error_set_errno(error, errno,
				       "%s: IOMMU group %u cannot share the guest's memory with the "
				       "VM's other devices", name, group->number);
	if (vfio->groups->len)
		return true;
	if (ioctl(vfio->fd, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) < 0)
		return errno == EPERM ?
			       error_set(error, BERTH_ERR_NOT_SUPPORTED,
					 "%s: the host's IOMMU does not remap interrupts, so the guest "
					 "could raise any of the host's: see allow_unsafe_interrupts of the module "
					 "vfio_iommu_type1", name) :
			       error_set_errno(error, errno, "%s: the host's IOMMU", name);
	vm_quiesce(vfio->vm);
	bool good = vfio_dma_start(&vfio->dma, error);
	vm_unquiesce(vfio->vm);
	return good;
}

static void leave(struct vfio_group *group)
{
	struct vfio *vfio = group->vfio;
	g_ptr_array_remove(vfio->groups, group);
	if (!vfio->groups->len)
		vfio_dma_stop(&vfio->dma);
	/* Closing the descriptor takes the group out of the container. */
	fd_clear(&group->fd);
	g_free(group);
	container_put(vfio);
}

struct vfio_group *vfio_group_get(struct vm *vm, const char *path, const char *name, GError **error)
{
	unsigned number = 0;
	if (!find_number(path, name, &number, error))
		return NULL;
	for (unsigned i = 0; vm->vfio && i < vm->vfio->groups->len; i++) {
		struct vfio_group *group = vm->vfio->groups->pdata[i];
		if (group->number == number) {
			group->users++;
			return group;
		}
	}
	g_autofree char *file = g_strdup_printf("/dev/vfio/%u", number);
	if (!g_file_test(file, G_FILE_TEST_EXISTS)) {
		not_bound(path, name, error);
		return NULL;
	}
	struct vfio *vfio = container_get(vm, name, error);
	if (!vfio)
		return NULL;
	struct vfio_group *group = g_new0(struct vfio_group, 1);
	group->vfio = vfio;
	group->number = number;
	group->users = 1;
	group->fd = open_file(file, name, error);
	if (group->fd < 0 || !join(group, name, error)) {
		leave(group);
		return NULL;
	}
	g_ptr_array_add(vfio->groups, group);
	return group;
}

void vfio_group_put(struct vfio_group *group)
{
	if (--group->users == 0)
		leave(group);
}

struct vfio_host *vfio_group_open_device(struct vfio_group *group, const char *path, const char *name,
					 GError **error)
{
	int fd = ioctl(group->fd, VFIO_GROUP_GET_DEVICE_FD, name);
	if (fd >= 0)
		return vfio_host_new(fd, name, error);
	if (errno == ENODEV)
		not_bound(path, name, error);
	else if (errno == EBUSY)
		error_set(error, BERTH_ERR_BUSY, "%s is in use: a device can be given once", name);
	else
		error_set_errno(error, errno, "%s: the kernel does not give it", name);
	return NULL;
}
