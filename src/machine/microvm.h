/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the ACPI tables and the loader ask of a microvm board. */
#pragma once

#include "machine/machine.h"

extern const struct machine_ops machine_microvm_ops;

/* Which virtio-mmio slots hold a device: bit n for slot n (layout.h says where slot n is). */
uint32_t microvm_virtio_slots(struct machine *m);
/* " virtio_mmio.device=512@0xfeb00000:16 ..." for the kernel command line; free with g_free(). */
char *microvm_virtio_cmdline(struct machine *m);
