/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The microvm board: nothing but an IOAPIC, a row of virtio-mmio slots, an optional serial port, RTC
 * and PCIe root, and ACPI in its hardware-reduced form. Kernels are entered directly.
 */
#include "machine/microvm.h"

#include "base/error.h"
#include "chardev/chardev.h"
#include "dev/chips/ged.h"
#include "dev/chips/ioapic.h"
#include "dev/chips/isa.h"
#include "dev/chips/rtc.h"
#include "dev/chips/uart.h"
#include "dev/pci/host.h"
#include "dev/virtio/mmio.h"
#include "machine/layout.h"
#include "machine/tables.h"

struct microvm {
	struct machine *m;
	bool full_irqchip;
	struct irq gsi[LAYOUT_IOAPIC_PINS];
	struct isa_bus isa;
	struct ioapic *ioapic;
	struct rtc *rtc;
	struct uart *serial;
	struct ged *ged;
	struct virtio_mmio_bus *virtio;
	struct pci_host host;
};

static struct microvm *microvm_of(struct machine *m)
{
	return m->board;
}

static void gsi_set(void *opaque, unsigned gsi, bool level)
{
	struct microvm *v = opaque;
	if (v->full_irqchip)
		v->m->vm->engine->gsi_set(v->m->vm, gsi, level);
	else
		ioapic_set_line(v->ioapic, gsi, level);
}

static void hook_eoi(void *opaque, uint8_t vector)
{
	ioapic_eoi(((struct microvm *)opaque)->ioapic, vector);
}

static void create_interrupts(struct microvm *v)
{
	struct vm *vm = v->m->vm;
	v->full_irqchip = vm->engine->irqchip(vm) == ENGINE_IRQCHIP_FULL;
	for (unsigned i = 0; i < LAYOUT_IOAPIC_PINS; i++)
		v->gsi[i] = (struct irq){gsi_set, v, i};
	memcpy(v->isa.irqs, v->gsi, sizeof(v->isa.irqs));
	if (v->full_irqchip)
		return;
	v->ioapic = ioapic_new(vm, LAYOUT_IOAPIC_BASE);
	vm->irq_hooks = (struct vm_irq_hooks){.ioapic_eoi = hook_eoi, .opaque = v};
}

static bool create_pci(struct microvm *v, GError **error)
{
	struct machine *m = v->m;
	m->pci = pci_bus_new(m->vm, &v->gsi[MICROVM_PCI_GSI]);
	pci_host_init(&v->host, m->vm, m->pci);
	pci_host_map_ecam(&v->host, MICROVM_ECAM_BASE, MICROVM_ECAM_SIZE);
	machine_add_bus(m, "PCI", "pcie.0", m->pci, NULL);
	return true;
}

static bool microvm_create(struct machine *m, GError **error)
{
	const struct machine_config *c = m->config;
	struct microvm *v = g_new0(struct microvm, 1);
	v->m = m;
	m->board = v;
	if (!machine_switch_check(m, "pit", c->pit, MACHINE_ON, error) ||
	    !machine_switch_check(m, "pic", c->pic, MACHINE_ON, error) ||
	    !machine_switch_check(m, "hpet", c->hpet, MACHINE_ON, error) ||
	    !machine_switch_check(m, "sata", c->sata, MACHINE_ON, error) ||
	    !machine_switch_check(m, "smbus", c->smbus, MACHINE_ON, error))
		return false;
	if (!c->kernel)
		return error_set(error, BERTH_ERR_INVALID,
				 "the machine microvm has no firmware: give it a kernel (-kernel), "
				 "or use -machine q35");
	if (c->firmware || c->pflash[0])
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "the machine microvm runs no firmware; use -machine q35");
	if (!machine_ram_create(m, MICROVM_LOW_RAM_MAX, MICROVM_LOW_RAM_MAX, false, error))
		return false;
	create_interrupts(v);
	v->ged = ged_new(m->vm, MICROVM_GED_BASE, MICROVM_GED_REGS_BASE, &v->gsi[MICROVM_GED_GSI],
			 MICROVM_S5_TYPE, MICROVM_GED_RESET_VALUE);
	if (machine_switch_on(c->rtc, true))
		v->rtc = rtc_new(m->vm, &v->gsi[8], &c->clock);
	if (c->serials[0] && machine_switch_on(c->isa_serial, true)) {
		v->serial = uart_new(m->vm, 0x3f8, &v->gsi[4], c->serials[0], error);
		if (!v->serial)
			return false;
	}
	v->virtio = virtio_mmio_bus_new(m->vm, MICROVM_VIRTIO_BASE, &v->gsi[MICROVM_VIRTIO_GSI],
					MICROVM_VIRTIO_SLOTS);
	machine_add_bus(m, "virtio-bus", "virtio-mmio-bus.0", v->virtio, NULL);
	machine_add_bus(m, "ISA", "isa.0", &v->isa, NULL);
	return !machine_switch_on(c->pcie, false) || create_pci(v, error);
}

uint32_t microvm_virtio_slots(struct machine *m)
{
	uint32_t slots = 0;
	for (unsigned i = 0; i < MICROVM_VIRTIO_SLOTS; i++)
		slots |= (virtio_mmio_bus_device(microvm_of(m)->virtio, i) ? 1u : 0) << i;
	return slots;
}

char *microvm_virtio_cmdline(struct machine *m)
{
	GString *text = g_string_new(NULL);
	uint32_t slots = microvm_virtio_slots(m);
	for (unsigned i = 0; i < MICROVM_VIRTIO_SLOTS; i++)
		if (slots >> i & 1)
			g_string_append_printf(text, " virtio_mmio.device=%d@0x%llx:%u",
					       MICROVM_VIRTIO_STRIDE,
					       (unsigned long long)(MICROVM_VIRTIO_BASE +
								    i * MICROVM_VIRTIO_STRIDE),
					       MICROVM_VIRTIO_GSI + i);
	return g_string_free(text, FALSE);
}

static void describe_acpi(struct machine *m, struct acpi_config *c)
{
	struct microvm *v = microvm_of(m);
	c->board = ACPI_BOARD_MICROVM;
	c->virtio_slots = microvm_virtio_slots(m);
	c->rtc = v->rtc != NULL;
	c->serial_ports = v->serial ? 1 : 0;
	if (!m->pci)
		return;
	c->pci = true;
	c->ecam_base = MICROVM_ECAM_BASE;
	c->ecam_size = MICROVM_ECAM_SIZE;
	c->window32_base = MICROVM_PCI_MMIO_BASE;
	c->window32_end = MICROVM_PCI_MMIO_END;
}

static bool microvm_finish(struct machine *m, GError **error)
{
	const struct machine_config *c = m->config;
	bool acpi = machine_switch_on(c->acpi, true);
	bool add = machine_switch_on(c->auto_kernel_cmdline, true);
	/* With ACPI the DSDT lists the slots; naming them twice would probe them twice. */
	g_autofree char *slots = add && !acpi ? microvm_virtio_cmdline(m) : NULL;
	/*
	 * Hardware-reduced ACPI makes Linux reboot by EFI, which is not there. With ACPI there is a
	 * reset register; without, a triple fault. A reboot= of the person's own comes later and wins.
	 */
	g_autofree char *append = NULL;
	if (add)
		append = g_strdup_printf("reboot=%c%s", acpi ? 'a' : 't', slots ? slots : "");
	const struct machine_direct_options options = {
		.acpi = acpi ? describe_acpi : NULL,
		.append = append,
		.reserved_base = MICROVM_ECAM_BASE,
		.reserved_size = m->pci ? MICROVM_ECAM_SIZE : 0,
	};
	return machine_direct_open(m, &options, error);
}

static void microvm_reset(struct machine *m)
{
	struct microvm *v = microvm_of(m);
	if (v->ioapic)
		ioapic_reset(v->ioapic);
	if (v->rtc)
		rtc_reset(v->rtc);
	if (v->serial)
		uart_reset(v->serial);
	ged_reset(v->ged);
}

static void microvm_power_button(struct machine *m)
{
	ged_raise(microvm_of(m)->ged, GED_EVENT_POWER_BUTTON);
}

static void microvm_destroy(struct machine *m)
{
	struct microvm *v = microvm_of(m);
	if (!v)
		return;
	if (v->virtio)
		virtio_mmio_bus_free(v->virtio);
	if (m->pci)
		pci_host_cleanup(&v->host);
	pci_bus_free(m->pci);
	uart_free(v->serial);
	rtc_free(v->rtc);
	ged_free(v->ged);
	ioapic_free(v->ioapic);
	g_free(v);
	m->board = NULL;
}

const struct machine_ops machine_microvm_ops = {
	.name = "microvm",
	.description = "Minimal board: virtio over MMIO, direct kernel entry",
	.default_nic = "virtio-net-device",
	.default_disk = "virtio-blk-device",
	.max_cpus = 255,
	.create = microvm_create,
	.finish = microvm_finish,
	.reset = microvm_reset,
	.power_button = microvm_power_button,
	.destroy = microvm_destroy,
};
