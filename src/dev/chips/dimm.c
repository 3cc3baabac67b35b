/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dev/chips/dimm.h"

#include "base/error.h"

static const struct property dimm_properties[] = {
	PROPERTY(struct pc_dimm, ram, "memdev", PROPERTY_MEMDEV, NULL, "the memory"),
	PROPERTY(struct pc_dimm, node, "node", PROPERTY_U32, "0", "NUMA node"),
	PROPERTY(struct pc_dimm, slot, "slot", PROPERTY_U32, "4294967295", "slot; the default is any"),
	PROPERTY(struct pc_dimm, address, "addr", PROPERTY_U64, "0", "guest-physical address; 0: any"),
	{0},
};

static bool dimm_create(struct device *dev, GError **error)
{
	return ((struct pc_dimm *)dev)->ram ||
	       error_set(error, BERTH_ERR_INVALID,
			 "pc-dimm needs memory: memdev=ID of a -object memory-backend-*");
}

const struct device_class pc_dimm_class = {
	.name = "pc-dimm",
	.description = "memory module",
	.bus = "memory",
	.category = "misc",
	.properties = dimm_properties,
	.size = sizeof(struct pc_dimm),
	.create = dimm_create,
};

struct pc_dimm *pc_dimm_of(struct device *dev)
{
	return dev->class == &pc_dimm_class ? (struct pc_dimm *)dev : NULL;
}
