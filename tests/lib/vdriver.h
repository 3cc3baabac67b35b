/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A virtio driver in the test process: a machine of RAM, a PCI bus and MMIO slots without vCPUs,
 * and a driver that works the registers and rings by the same addresses as a guest's would. Also
 * the tool for breaking rules: rings lie in plain sight at `mem`.
 */
#pragma once

#include "aio/loop.h"
#include "dev/core/device.h"
#include "dev/pci/pci.h"
#include "dev/virtio/mmio.h"
#include "dev/virtio/virtio.h"
#include "vm/vm.h"

#define VD_RAM_SIZE  (UINT64_C(16) << 20)
#define VD_MMIO_BASE UINT64_C(0xfeb00000)
#define VD_BAR4      UINT64_C(0xe0000000)
#define VD_BAR1      UINT64_C(0xe0010000)
#define VD_SLOTS     4

struct vd_machine {
	struct aio_loop *loop;
	struct vm *vm;
	struct ram_block *ram;
	uint8_t *mem;                /* guest address 0 */
	struct virtio_mmio_bus *mmio;
	struct pci_bus *pci;
	unsigned next_pci;
	_Atomic unsigned interrupts; /* rising edges of MMIO slots and INTx */
	_Atomic bool line;
	uint64_t next_page;          /* vd_alloc() */
};

/* A device as its driver sees it. */
struct vd {
	struct vd_machine *m;
	struct device *dev;
	bool pci;
	unsigned slot, devfn;
	uint64_t common, isr, notify, config; /* PCI: addresses of the structures */
	uint32_t notify_stride;
	bool packed, event_idx, indirect;
	uint64_t features;
};

struct vd_buffer {
	uint64_t addr;
	uint32_t len;
	bool in;
};

/* A queue as its driver sees it; split or packed by vd->packed. */
struct vdq {
	struct vd *vd;
	unsigned index, size;
	uint64_t desc, driver, device; /* guest addresses */
	uint16_t avail_idx, used_idx;
	bool avail_wrap, used_wrap;
	uint16_t next_desc, next_id;
	uint16_t slots[1024];          /* packed: ring slots of each id */
};

void vd_machine_init(struct vd_machine *m);
void vd_machine_free(struct vd_machine *m);
/* Run what is ready on the loop, for at most `ms` milliseconds or until *done. */
void vd_pump(struct vd_machine *m, unsigned ms, const bool *done);
/* Zeroed guest memory, page-aligned. */
uint64_t vd_alloc(struct vd_machine *m, uint64_t size);

/* `properties`: name, value, ..., NULL. Drives, netdevs and chardevs come from `resolver`. */
void vd_open(struct vd *vd, struct vd_machine *m, const struct device_class *class,
	     const struct device_resolver *resolver, const char *const *properties);
/* The same for an instance that the test has made (device_new) and set up. */
void vd_open_device(struct vd *vd, struct vd_machine *m, struct device *dev);
void vd_close(struct vd *vd);

uint8_t vd_status(struct vd *vd);
void vd_set_status(struct vd *vd, uint8_t status);
uint64_t vd_offered(struct vd *vd);
void vd_accept(struct vd *vd, uint64_t features);
uint64_t vd_config(struct vd *vd, unsigned offset, unsigned size);
void vd_set_config(struct vd *vd, unsigned offset, uint64_t value, unsigned size);
/* Reset, ACKNOWLEDGE, DRIVER, features `wanted` (and VERSION_1), FEATURES_OK. */
bool vd_negotiate(struct vd *vd, uint64_t wanted);
void vd_driver_ok(struct vd *vd);
/* Allocates rings, sets the queue up and enables it. */
void vdq_open(struct vdq *vq, struct vd *vd, unsigned index, unsigned size);
/* Only tell the device of the addresses in *vq and enable. */
void vdq_enable(struct vdq *vq);
/* Ring reset: asks and returns what the register reads then. */
unsigned vdq_reset(struct vdq *vq);

/* Make a chain available; returns its id. `table`: through an indirect table at that address. */
uint16_t vdq_add(struct vdq *vq, const struct vd_buffer *buffers, unsigned count, uint64_t table);
void vdq_kick(struct vdq *vq);
/* Take a used chain: its id and length. False if there is none. */
bool vdq_used(struct vdq *vq, uint16_t *id, uint32_t *len);
/* Add, kick, pump until it is used; returns the length, or UINT32_MAX if it never was. */
uint32_t vdq_request(struct vdq *vq, const struct vd_buffer *buffers, unsigned count);
