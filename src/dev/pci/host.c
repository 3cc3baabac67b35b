/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Spec: PCI 3.0, 3.2.2.3.2 (mechanism #1); PCIe 4.0, 7.2.2 (ECAM); ICH9 13.7.5 (RST_CNT). */
#include "dev/pci/host.h"

#include "dev/pci/pci_int.h"

enum { CF8_ENABLE = 1u << 31 };
enum { RESET_SYSTEM = 1 << 1, RESET_CPU = 1 << 2, RESET_FULL = 1 << 3 };

static uint64_t ports_read(void *opaque, uint64_t offset, unsigned size)
{
	struct pci_host *host = opaque;
	pthread_mutex_lock(&host->lock);
	uint32_t address = host->address;
	uint8_t reset = host->reset_control;
	pthread_mutex_unlock(&host->lock);
	if (offset == 0 && size == 4)
		return address;
	if (offset < 4)
		return offset == 1 && size == 1 ? reset : size_mask(size);
	if (!(address & CF8_ENABLE) || offset + size > 8)
		return size_mask(size);
	return pci_config_read(host->bus, address >> 8 & 0xffff, (address & 0xfc) | (offset & 3),
			       size);
}

static void reset_control_write(struct pci_host *host, uint8_t value)
{
	pthread_mutex_lock(&host->lock);
	bool rising = (value & RESET_CPU) && !(host->reset_control & RESET_CPU);
	host->reset_control = value & (RESET_SYSTEM | RESET_CPU | RESET_FULL);
	pthread_mutex_unlock(&host->lock);
	if (rising)
		vm_request(host->vm, VM_REQUEST_RESET, 0);
}

static void ports_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct pci_host *host = opaque;
	/* Only a 32-bit write reaches the address register; narrower ones pass through it. */
	if (offset == 0 && size == 4) {
		LOCK_SCOPE(&host->lock);
		host->address = value & 0x80fffffc;
		return;
	}
	if (offset < 4) {
		if (offset == 1 && size == 1)
			reset_control_write(host, value);
		return;
	}
	pthread_mutex_lock(&host->lock);
	uint32_t address = host->address;
	pthread_mutex_unlock(&host->lock);
	if (!(address & CF8_ENABLE) || offset + size > 8)
		return;
	pci_config_write(host->bus, address >> 8 & 0xffff, (address & 0xfc) | (offset & 3), value,
			 size);
}

static uint64_t ecam_read(void *opaque, uint64_t offset, unsigned size)
{
	struct pci_host *host = opaque;
	return pci_config_read(host->bus, offset >> 12, offset & 0xfff, size);
}

static void ecam_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct pci_host *host = opaque;
	pci_config_write(host->bus, offset >> 12, offset & 0xfff, value, size);
}

static const struct io_ops ports_ops = {ports_read, ports_write, .min_size = 1, .max_size = 4};
static const struct io_ops ecam_ops = {ecam_read, ecam_write, .min_size = 1, .max_size = 4};

void pci_host_init(struct pci_host *host, struct vm *vm, struct pci_bus *bus)
{
	host->vm = vm;
	host->bus = bus;
	pthread_mutex_init(&host->lock, NULL);
	host->ports = (struct io_region){.name = "pci-config", .ops = &ports_ops, .opaque = host,
					 .size = 8};
	host->ecam = (struct io_region){.name = "pci-ecam", .ops = &ecam_ops, .opaque = host};
}

void pci_host_map_ports(struct pci_host *host)
{
	space_add_io(host->vm->ports, 0xcf8, &host->ports, SPACE_PRIORITY_HIGH);
}

void pci_host_map_ecam(struct pci_host *host, uint64_t base, uint64_t size)
{
	if (size == host->ecam_size && base == host->ecam_base)
		return;
	space_begin(host->vm->memory);
	if (host->ecam_size)
		space_remove_io(host->vm->memory, &host->ecam);
	host->ecam.size = size;
	if (size)
		space_add_io(host->vm->memory, base, &host->ecam, SPACE_PRIORITY_HIGH);
	space_commit(host->vm->memory);
	host->ecam_base = base;
	host->ecam_size = size;
}

void pci_host_reset(struct pci_host *host)
{
	LOCK_SCOPE(&host->lock);
	host->address = 0;
	host->reset_control = 0;
}

void pci_host_cleanup(struct pci_host *host)
{
	pci_host_map_ecam(host, 0, 0);
	space_remove_io(host->vm->ports, &host->ports);
	pthread_mutex_destroy(&host->lock);
}
