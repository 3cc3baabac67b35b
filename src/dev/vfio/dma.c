/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The IOMMU's view of the guest: what is RAM for the guest is at the same addresses for its devices.
 * A mapping holds its pages (vfio.rst), and a mapping cannot be cut, so ranges end at 1 MiB: below,
 * firmware changes what is RAM, and the great rest must not be remapped for that while devices use it.
 */
#include "dev/vfio/vfio_int.h"

#include "base/units.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/resource.h>

struct mapping {
	uint64_t address, size;
	uint8_t *host;
	struct ram_block *ram;
	bool writable;
};

static bool same(const struct mapping *a, const struct mapping *b)
{
	return a->address == b->address && a->size == b->size && a->host == b->host && a->ram == b->ram &&
	       a->writable == b->writable;
}

static GArray *wanted_mappings(const struct space_range *ranges, unsigned count)
{
	GArray *wanted = g_array_new(FALSE, FALSE, sizeof(struct mapping));
	for (unsigned i = 0; i < count; i++) {
		const struct space_range *r = &ranges[i];
		uint64_t at = align_up(r->base, PAGE_SIZE), end = align_down(r->base + r->size, PAGE_SIZE);
		while (r->ram && at < end) {
			uint64_t stop = at < MIB && end > MIB ? MIB : end;
			struct mapping m = {at, stop - at, r->ram->host + r->ram_offset + (at - r->base), r->ram,
					    !r->readonly};
			if (!((uintptr_t)m.host & PAGE_MASK))
				g_array_append_val(wanted, m);
			at = stop;
		}
	}
	return wanted;
}

static bool contains(const GArray *list, const struct mapping *m)
{
	for (unsigned i = 0; i < list->len; i++) {
		if (same(&g_array_index(list, struct mapping, i), m))
			return true;
	}
	return false;
}

static void explain(GError **error, int why, const struct mapping *m)
{
	struct rlimit limit = {0};
	getrlimit(RLIMIT_MEMLOCK, &limit);
	if (why == ENOMEM && limit.rlim_cur != RLIM_INFINITY)
		error_set(error, BERTH_ERR_IO,
			  "vfio-pci: cannot lock %" PRIu64 " MiB of guest memory '%s' for the device: the limit on "
			  "locked memory (RLIMIT_MEMLOCK) is %" PRIu64 " KiB; raise it above the guest's memory: "
			  "ulimit -l, LimitMEMLOCK= of a systemd unit, or <hard_limit> in the domain's <memtune>",
			  m->size / MIB, m->ram->name, (uint64_t)limit.rlim_cur / KIB);
	else
		error_set_errno(error, why,
				"vfio-pci: the IOMMU does not take guest memory '%s' at 0x%" PRIx64 ", %" PRIu64
				" KiB", m->ram->name, m->address, m->size / KIB);
}

static void unmap_one(struct vfio_dma *dma, const struct mapping *m)
{
	int result = dma->unmap(dma->opaque, m->address, m->size);
	if (result < 0)
		log_error("vfio-pci: the IOMMU keeps guest memory at 0x%" PRIx64 ": %s", m->address,
			  g_strerror(-result));
	atomic_fetch_sub(&m->ram->pinned, 1);
}

static bool map_one(struct vfio_dma *dma, const struct mapping *m)
{
	/* First: what is given back to the host from now on is not what the device gets. */
	atomic_fetch_add(&m->ram->pinned, 1);
	int result = dma->map(dma->opaque, m->address, m->host, m->size, m->writable);
	if (result == 0)
		return true;
	atomic_fetch_sub(&m->ram->pinned, 1);
	if (!dma->failed)
		explain(&dma->failed, -result, m);
	return false;
}

/* The space's observer: what is gone first, since addresses may be used again. */
static void changed(void *opaque, const struct space_range *ranges, unsigned count)
{
	struct vfio_dma *dma = opaque;
	g_autoptr(GArray) wanted = wanted_mappings(ranges, count);
	GArray *kept = g_array_new(FALSE, FALSE, sizeof(struct mapping));
	for (unsigned i = 0; i < dma->mapped->len; i++) {
		const struct mapping *m = &g_array_index(dma->mapped, struct mapping, i);
		if (contains(wanted, m))
			g_array_append_val(kept, *m);
		else
			unmap_one(dma, m);
	}
	for (unsigned i = 0; i < wanted->len; i++) {
		const struct mapping *m = &g_array_index(wanted, struct mapping, i);
		if (!contains(dma->mapped, m) && map_one(dma, m))
			g_array_append_val(kept, *m);
	}
	g_array_unref(dma->mapped);
	dma->mapped = kept;
	if (!dma->failed || !dma->started)
		return;
	/* The guest would give its devices memory that they do not reach. */
	log_error("%s", dma->failed->message);
	g_clear_error(&dma->failed);
	vm_request(dma->vm, VM_REQUEST_INTERNAL_ERROR, 0);
}

bool vfio_dma_start(struct vfio_dma *dma, GError **error)
{
	dma->mapped = g_array_new(FALSE, FALSE, sizeof(struct mapping));
	space_add_observer(dma->space, &(struct space_listener){.changed = changed, .opaque = dma});
	dma->started = true;
	if (!dma->failed)
		return true;
	g_propagate_error(error, g_steal_pointer(&dma->failed));
	return false;
}

void vfio_dma_stop(struct vfio_dma *dma)
{
	if (!dma->mapped)
		return;
	space_remove_observer(dma->space, dma);
	for (unsigned i = 0; i < dma->mapped->len; i++)
		unmap_one(dma, &g_array_index(dma->mapped, struct mapping, i));
	g_clear_pointer(&dma->mapped, g_array_unref);
	dma->started = false;
}
