/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The memory device: its map never differs from what it says is plugged in, and never exceeds the region. */
#include "base/units.h"
#include "dev/virtio/mem.h"
#include "virtio_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void *find_memory(void *opaque, enum property_type type, const char *id, GError **error)
{
	return opaque;
}

static void event(void *opaque, struct vd *vd, struct fuzz_in *in)
{
	struct virtio_mem *mem = virtio_mem_of(vd->dev);
	uint64_t plugged = 0;
	virtio_mem_request(mem, fuzz_u8(in) % 17 * MIB, NULL);
	for (unsigned i = 0; i < mem->block_count; i++)
		plugged += mem->map[i] * mem->block_size;
	g_assert_cmpuint(plugged, ==, atomic_load(&mem->plugged));
	g_assert_cmpuint(atomic_load(&mem->usable), <=, mem->ram->size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const properties[] = {"memdev", "m", "block-size", "1M", "requested-size", "8M",
						 "packed", "on", NULL};
	struct ram_block *ram = ram_block_new("m", 16 * MIB, NULL, NULL);
	struct device_resolver resolver = {find_memory, ram};
	const struct fuzz_target target = {
		.class = &virtio_mem_pci, .resolver = &resolver, .properties = properties,
		.queues = 1, .features = ~UINT64_C(0), .event = event,
	};
	struct vd_machine m;
	vd_machine_init(&m);
	fuzz_virtio(&target, &m, data, size);
	ram_block_free(ram);
	return 0;
}
