/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI devices between the host and its guests: taken from their driver and given to vfio-pci, given back,
 * reset. The kernel's rules are in its Documentation/ABI/testing/sysfs-bus-pci (driver_override, reset) and
 * Documentation/driver-api/vfio.rst. A driver may take long to let go, so all of it is done on a thread, one
 * device after the other; what it reads of a device is a copy.
 */
#include "daemon/nodedev/nodedev.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "daemon/rpc/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VFIO_DRIVER "vfio-pci"

struct assignment {
	nodedev_done_fn *done;
	void *opaque;
	bool (*run)(const struct assignment *a, GError **error);
	char *sysfs, *path, *address; /* of the device; the address is "0000:01:00.0" */
	GError *error;
	struct aio_job job;
};

/* --- sysfs ------------------------------------------------------------------------------------ */

static bool put(const char *folder, const char *name, const char *text, GError **error)
{
	g_autofree char *file = g_build_filename(folder, name, NULL);
	auto_fd fd = open(file, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		return error_set_errno(error, errno, "cannot write '%s' to '%s'", text, file);
	return true;
}

static bool has(const struct assignment *a, const char *name)
{
	g_autofree char *file = g_build_filename(a->path, name, NULL);
	return g_file_test(file, G_FILE_TEST_EXISTS);
}

static bool driver_is(const struct assignment *a, const char *wanted)
{
	g_autofree char *driver = sysfs_link_name(a->path, "driver");
	return g_strcmp0(driver, wanted) == 0;
}

/* Let the device's driver go, and have the kernel look for another, which `override` names; "": any. */
static bool rebind(const struct assignment *a, const char *override, GError **error)
{
	g_autofree char *bus = g_build_filename(a->sysfs, "bus/pci", NULL);
	g_autofree char *line = g_strconcat(override, "\n", NULL);
	return put(a->path, "driver_override", line, error) &&
	       (!has(a, "driver") || put(a->path, "driver/unbind", a->address, error)) &&
	       put(bus, "drivers_probe", a->address, error);
}

/* --- The work, on the thread ------------------------------------------------------------------- */

/* Whether it helped is seen from what is there afterwards. */
static void load_module(const char *name)
{
	const char *const modprobe[] = {"modprobe", name, NULL};
	g_spawn_sync(NULL, (char **)modprobe, NULL,
		     G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL | G_SPAWN_STDERR_TO_DEV_NULL, NULL, NULL, NULL,
		     NULL, NULL, NULL);
}

static void load_vfio(const struct assignment *a)
{
	g_autofree char *driver = g_build_filename(a->sysfs, "bus/pci/drivers", VFIO_DRIVER, NULL);
	g_autofree char *iommu = g_build_filename(a->sysfs, "module/vfio_iommu_type1", NULL);
	if (!g_file_test(driver, G_FILE_TEST_EXISTS))
		load_module(VFIO_DRIVER);
	/* Not every modprobe loads it with the other. */
	if (!g_file_test(iommu, G_FILE_TEST_EXISTS))
		load_module("vfio_iommu_type1");
}

static bool detach(const struct assignment *a, GError **error)
{
	g_autofree char *driver = g_build_filename(a->sysfs, "bus/pci/drivers", VFIO_DRIVER, NULL);
	g_autoptr(GError) cause = NULL;
	if (driver_is(a, VFIO_DRIVER))
		return true;
	if (!has(a, "iommu_group"))
		return virt_error(error, VIRT_FROM_QEMU, VIRT_ARGUMENT_UNSUPPORTED,
				  "VFIO device assignment is currently not supported on this system: device %s is in "
				  "no IOMMU group: enable the IOMMU in the firmware and for the kernel", a->address);
	load_vfio(a);
	if (!g_file_test(driver, G_FILE_TEST_EXISTS))
		return virt_error(error, VIRT_FROM_QEMU, VIRT_ARGUMENT_UNSUPPORTED,
				  "VFIO device assignment is currently not supported on this system: the "
				  "kernel has no driver '" VFIO_DRIVER "'");
	bool bound = rebind(a, VFIO_DRIVER, &cause);
	if (bound && driver_is(a, VFIO_DRIVER))
		return true;
	/* It goes back to whom it had. */
	rebind(a, "", NULL);
	return virt_error(error, VIRT_FROM_NODEDEV, VIRT_INTERNAL, "Failed to bind PCI device '%s' to " VFIO_DRIVER
			  ": %s", a->address, cause ? cause->message : "the driver does not take it");
}

static bool attach(const struct assignment *a, GError **error)
{
	g_autoptr(GError) cause = NULL;
	/* A device that is no guest's is where it belongs. */
	if (!driver_is(a, VFIO_DRIVER) || rebind(a, "", &cause))
		return true;
	return virt_error(error, VIRT_FROM_NODEDEV, VIRT_INTERNAL, "Failed to rebind PCI device '%s': %s",
			  a->address, cause->message);
}

static bool reset(const struct assignment *a, GError **error)
{
	g_autoptr(GError) cause = NULL;
	/* vfio resets it whenever a guest gets it or gives it back, and knows when it may. */
	if (driver_is(a, VFIO_DRIVER))
		return true;
	if (!has(a, "reset"))
		return virt_error(error, VIRT_FROM_NODEDEV, VIRT_INTERNAL,
				  "Unable to reset PCI device %s: no FLR, PM reset or bus reset available",
				  a->address);
	return put(a->path, "reset", "1", &cause) ||
	       virt_error(error, VIRT_FROM_NODEDEV, VIRT_INTERNAL, "Unable to reset PCI device %s: %s", a->address,
			  cause->message);
}

/* --- Who does it ------------------------------------------------------------------------------------ */

static void work(void *opaque)
{
	struct assignment *a = opaque;
	a->run(a, &a->error);
}

static void done(void *opaque)
{
	struct assignment *a = opaque;
	a->done(a->opaque, a->error);
	g_clear_error(&a->error);
	g_free(a->sysfs);
	g_free(a->path);
	g_free(a->address);
	g_free(a);
}

static void submit(struct nodedevs *devs, const char *path, bool (*run)(const struct assignment *, GError **),
		   nodedev_done_fn *then, void *opaque)
{
	struct assignment *a = g_new0(struct assignment, 1);
	*a = (struct assignment){
		.done = then, .opaque = opaque, .run = run, .sysfs = g_strdup(devs->sysfs), .path = g_strdup(path),
		.address = g_path_get_basename(path),
		.job = {.work = work, .done = done, .opaque = a, .loop = devs->daemon->loop},
	};
	aio_pool_submit(devs->worker, &a->job);
}

/* --- Domains' devices ------------------------------------------------------------------------------- */

/* Whose it is. */
struct claim {
	char *owner;
	bool managed;
};

static void claim_free(void *opaque)
{
	struct claim *claim = opaque;
	g_free(claim->owner);
	g_free(claim);
}

static bool is_free(struct nodedevs *devs, const char *address, GError **error)
{
	const struct claim *claim = devs->claims ? g_hash_table_lookup(devs->claims, address) : NULL;
	return !claim || virt_error(error, VIRT_FROM_NODEDEV, VIRT_OPERATION_INVALID,
				    "PCI device %s is in use by driver QEMU, domain %s", address, claim->owner);
}

void nodedev_remember(struct nodedevs *devs, const char *address, const char *owner, bool managed)
{
	struct claim *claim = g_new(struct claim, 1);
	*claim = (struct claim){g_strdup(owner), managed};
	if (!devs->claims)
		devs->claims = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, claim_free);
	g_hash_table_replace(devs->claims, g_strdup(address), claim);
}

/* One that is not managed was to be given to vfio before. */
static bool check_detached(const struct assignment *a, GError **error)
{
	return driver_is(a, VFIO_DRIVER) ||
	       virt_error(error, VIRT_FROM_NODEDEV, VIRT_OPERATION_INVALID,
			  "Unmanaged PCI device %s must be manually detached from the host: virsh nodedev-detach, or "
			  "managed='yes'", a->address);
}

static char *path_of(const struct nodedevs *devs, const char *address, GError **error)
{
	g_autofree char *link = g_build_filename(devs->sysfs, "bus/pci/devices", address, NULL);
	char *path = realpath(link, NULL);
	if (!path)
		virt_error(error, VIRT_FROM_NODEDEV, VIRT_CONFIG_UNSUPPORTED,
			   "host doesn't support passthrough of host PCI devices: there is no PCI device %s", address);
	return path;
}

void nodedev_claim(struct nodedevs *devs, const char *address, const char *owner, bool managed,
		   nodedev_done_fn *then, void *opaque)
{
	g_autoptr(GError) error = NULL;
	char *path = is_free(devs, address, &error) ? path_of(devs, address, &error) : NULL;
	if (!path) {
		then(opaque, error);
		return;
	}
	nodedev_remember(devs, address, owner, managed);
	submit(devs, path, managed ? detach : check_detached, then, opaque);
	free(path);
}

static void on_returned(void *opaque, const GError *error)
{
	if (error)
		log_warning("%s", error->message);
}

void nodedev_release(struct nodedevs *devs, const char *owner, const char *const *kept)
{
	GHashTableIter iter;
	void *address, *value;
	if (!devs || !devs->claims)
		return;
	g_hash_table_iter_init(&iter, devs->claims);
	while (g_hash_table_iter_next(&iter, &address, &value)) {
		const struct claim *claim = value;
		if (strcmp(claim->owner, owner) != 0 || g_strv_contains(kept, address))
			continue;
		char *path = claim->managed ? path_of(devs, address, NULL) : NULL;
		if (path)
			submit(devs, path, attach, on_returned, NULL);
		free(path);
		g_hash_table_iter_remove(&iter);
	}
}

/* --- The calls ---------------------------------------------------------------------------------- */

static void answer(void *opaque, const GError *error)
{
	struct rpc_call *call = opaque;
	if (error)
		rpc_call_fail(call, g_error_copy(error));
	else
		rpc_call_reply(call, NULL);
}

static void serve(struct rpc_call *call, const char *name, bool (*run)(const struct assignment *, GError **))
{
	struct nodedevs *devs = rpc_call_daemon(call)->nodedevs;
	GError *error = NULL;
	const struct nodedev *dev = nodedev_find(devs, name, &error);
	g_autofree char *address = dev && dev->path ? g_path_get_basename(dev->path) : NULL;
	if (dev && dev->kind->cap != NODEDEV_PCI)
		virt_error(&error, VIRT_FROM_NODEDEV, VIRT_INVALID_ARG, "device %s is not a PCI device", name);
	if (!error && is_free(devs, address, &error))
		submit(devs, dev->path, run, answer, call);
	else
		rpc_call_fail(call, error);
}

/* Xen's and old KVM's ways of doing this are gone. */
static bool driver_is_known(struct rpc_call *call, const char *driver)
{
	GError *error = NULL;
	if (!driver || strcmp(driver, "vfio") == 0)
		return true;
	if (strcmp(driver, "kvm") == 0)
		virt_error(&error, VIRT_FROM_QEMU, VIRT_ARGUMENT_UNSUPPORTED,
			   "KVM device assignment is no longer supported on this system");
	else
		virt_error(&error, VIRT_FROM_QEMU, VIRT_ARGUMENT_UNSUPPORTED, "unknown driver name '%s'", driver);
	rpc_call_fail(call, error);
	return false;
}

void serve_node_device_dettach(struct rpc_call *call, const struct remote_node_device_dettach_args *args)
{
	serve(call, args->name, detach);
}

void serve_node_device_detach_flags(struct rpc_call *call,
				    const struct remote_node_device_detach_flags_args *args)
{
	if (rpc_call_check_flags(call, args->flags, 0) && driver_is_known(call, args->driver_name))
		serve(call, args->name, detach);
}

void serve_node_device_re_attach(struct rpc_call *call, const struct remote_node_device_re_attach_args *args)
{
	serve(call, args->name, attach);
}

void serve_node_device_reset(struct rpc_call *call, const struct remote_node_device_reset_args *args)
{
	serve(call, args->name, reset);
}
