/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The q35 board: 82Q35 MCH and ICH9, as QEMU wires them, so that stock SeaBIOS and OVMF find what
 * they expect. Interrupt lines fan out to the PIC pair and the IOAPIC, or to the engine's own when it
 * has them (KVM); several sources may share an ISA IRQ.
 */
#include "machine/q35.h"

#include "base/bytes.h"
#include "base/error.h"
#include "base/lock.h"
#include "dev/chips/acpi_pm.h"
#include "dev/chips/fw_cfg.h"
#include "dev/chips/hpet.h"
#include "dev/chips/i8042.h"
#include "dev/chips/ich9.h"
#include "dev/chips/ioapic.h"
#include "dev/chips/isa.h"
#include "dev/chips/mch.h"
#include "dev/chips/pflash.h"
#include "dev/chips/pic.h"
#include "dev/chips/pit.h"
#include "dev/chips/rtc.h"
#include "dev/chips/uart.h"
#include "dev/pci/host.h"
#include "dev/storage/ahci.h"
#include "machine/layout.h"
#include "machine/tables.h"

enum { SOURCE_ISA, SOURCE_PIRQ, SOURCE_COUNT };

struct q35 {
	struct machine *m;
	bool booted_once;  /* the boot order is no longer that of -boot once= */
	bool full_irqchip; /* PIC, IOAPIC and PIT are in the engine */
	pthread_mutex_t irq_lock;
	bool isa_level[16][SOURCE_COUNT];
	struct irq gsi[LAYOUT_IOAPIC_PINS]; /* 0 to 15: ISA IRQs */
	struct irq irq8;   /* of the clock, perhaps through the HPET */
	struct isa_bus isa;
	struct pic *pic;
	struct ioapic *ioapic;
	struct pit *pit;
	struct hpet *hpet;
	struct rtc *rtc;
	struct i8042 *kbc;
	struct acpi_pm *pm;
	struct uart *serials[MACHINE_SERIALS];
	struct pci_host host;
	struct mch *mch;
	struct ich9_lpc *lpc;
	struct pflash *flash[MACHINE_PFLASHES];
	struct io_region post; /* port 80h */
};

static struct q35 *q35_of(struct machine *m)
{
	return m->board;
}

/* --- interrupts ------------------------------------------------------------------------------------- */

static void gsi_set(struct q35 *q, unsigned gsi, bool level)
{
	if (q->full_irqchip) {
		q->m->vm->engine->gsi_set(q->m->vm, gsi, level);
		return;
	}
	if (gsi < 16)
		pic_set_line(q->pic, gsi, level);
	/* The PIT's IRQ 0 is on IOAPIC pin 2; pin 0 is the PIC's own output, which is not wired. */
	ioapic_set_line(q->ioapic, gsi == 0 ? 2 : gsi, level);
}

static void isa_source_set(struct q35 *q, unsigned irq, unsigned source, bool level)
{
	LOCK_SCOPE(&q->irq_lock);
	bool *levels = q->isa_level[irq];
	if (levels[source] == level)
		return;
	levels[source] = level;
	if (!levels[!source]) /* the other one holds it high anyhow */
		gsi_set(q, irq, level);
}

static void isa_set(void *opaque, unsigned irq, bool level)
{
	isa_source_set(opaque, irq, SOURCE_ISA, level);
}

static void pirq_isa_set(void *opaque, unsigned irq, bool level)
{
	isa_source_set(opaque, irq, SOURCE_PIRQ, level);
}

static void high_gsi_set(void *opaque, unsigned gsi, bool level)
{
	gsi_set(opaque, gsi, level);
}

static void pic_output(void *opaque, unsigned line, bool level)
{
	struct vm *vm = opaque;
	vm->engine->extint_set(vm, level);
}

static int hook_acknowledge(void *opaque)
{
	return pic_acknowledge(((struct q35 *)opaque)->pic);
}

static void hook_eoi(void *opaque, uint8_t vector)
{
	ioapic_eoi(((struct q35 *)opaque)->ioapic, vector);
}

static void create_interrupts(struct q35 *q)
{
	struct vm *vm = q->m->vm;
	q->full_irqchip = vm->engine->irqchip(vm) == ENGINE_IRQCHIP_FULL;
	for (unsigned i = 0; i < LAYOUT_IOAPIC_PINS; i++)
		q->gsi[i] = (struct irq){i < 16 ? isa_set : high_gsi_set, q, i};
	memcpy(q->isa.irqs, q->gsi, sizeof(q->isa.irqs));
	if (q->full_irqchip)
		return;
	const struct irq output = {pic_output, vm, 0};
	q->pic = pic_new(vm, &output);
	q->ioapic = ioapic_new(vm, LAYOUT_IOAPIC_BASE);
	vm->irq_hooks = (struct vm_irq_hooks){hook_acknowledge, hook_eoi, q};
}

/* --- timers and CMOS -------------------------------------------------------------------------------- */

static void cmos_set16(struct rtc *rtc, unsigned offset, unsigned value)
{
	rtc_cmos_set(rtc, offset, value);
	rtc_cmos_set(rtc, offset + 1, value >> 8);
}

/* A boot device letter as the nibble that SeaBIOS reads. */
static unsigned boot_nibble(const char *order, unsigned i)
{
	if (strlen(order) <= i)
		return 0;
	switch (order[i]) {
	case 'a':
	case 'b': return 1;
	case 'c': return 2;
	case 'd': return 3;
	case 'n': return 4;
	default: return 0;
	}
}

/* The layout that SeaBIOS reads (QEMU's; offsets from the PC/AT's CMOS map). */
static void fill_cmos(struct q35 *q)
{
	const struct machine *m = q->m;
	struct rtc *rtc = q->rtc;
	unsigned extended = MIN((m->low_ram - MIB) / KIB, 0xffff);
	unsigned above_16m = m->low_ram > 16 * MIB ? MIN((m->low_ram - 16 * MIB) / (64 * KIB),
							 0xffff) : 0;
	uint64_t above_4g = m->high_ram / (64 * KIB);
	cmos_set16(rtc, 0x15, 640);
	cmos_set16(rtc, 0x17, extended);
	cmos_set16(rtc, 0x30, extended);
	cmos_set16(rtc, 0x34, above_16m);
	cmos_set16(rtc, 0x5b, above_4g);
	rtc_cmos_set(rtc, 0x5d, above_4g >> 16);
	rtc_cmos_set(rtc, 0x14, 0x06); /* equipment: FPU, PS/2 mouse */
}

/* What SeaBIOS tries if no device has a bootindex: -boot once=, and order= after the first reset. */
static void set_boot_order(struct q35 *q)
{
	const struct machine_config *c = q->m->config;
	const char *order = c->boot_once && !q->booted_once ? c->boot_once :
			    c->boot_order		    ? c->boot_order :
							      "cad";
	rtc_cmos_set(q->rtc, 0x3d, boot_nibble(order, 1) << 4 | boot_nibble(order, 0));
	/* Bit 0: do not check a floppy's signature. */
	rtc_cmos_set(q->rtc, 0x38, boot_nibble(order, 2) << 4 | 1);
	q->booted_once = true;
}

/*
 * The clock's interrupt also is an ACPI event. Linux takes the event alone on machines with an HPET,
 * which takes IRQ 8 for itself.
 */
static void rtc_irq_set(void *opaque, unsigned line, bool level)
{
	struct q35 *q = opaque;
	irq_set(&q->irq8, level);
	if (level && q->pm)
		acpi_pm_rtc(q->pm);
}

static bool create_timers(struct q35 *q)
{
	const struct machine_config *c = q->m->config;
	struct vm *vm = q->m->vm;
	struct irq irq0 = q->gsi[0], irq8 = q->gsi[8];
	const struct irq rtc_irq = {rtc_irq_set, q, 8};
	/* An in-kernel PIT cannot be told to leave IRQ 0 to the HPET: then there is no HPET. */
	if (!q->full_irqchip && machine_switch_on(c->hpet, true)) {
		q->hpet = hpet_new(vm, Q35_HPET_BASE, q->gsi, &irq0, &irq8);
		irq0 = (struct irq){hpet_legacy_input, q->hpet, 0};
		irq8 = (struct irq){hpet_legacy_input, q->hpet, 8};
	}
	if (!q->full_irqchip)
		q->pit = pit_new(vm, &irq0);
	q->irq8 = irq8;
	q->rtc = rtc_new(vm, &rtc_irq, &c->clock);
	fill_cmos(q);
	return true;
}

/* --- PCI -------------------------------------------------------------------------------------------- */

static void prepare_mch(struct machine *m, struct device *dev)
{
	struct q35 *q = q35_of(m);
	q->mch = (struct mch *)dev;
	q->mch->host = &q->host;
	q->mch->ram = m->rams->pdata[0];
	q->mch->rom = q->flash[0] ? pflash_ram(q->flash[0]) : m->firmware;
}

static void prepare_lpc(struct machine *m, struct device *dev)
{
	struct q35 *q = q35_of(m);
	q->lpc = (struct ich9_lpc *)dev;
	q->lpc->pm = q->pm;
	for (unsigned i = 0; i < 16; i++)
		q->lpc->pic[i] = (struct irq){pirq_isa_set, q, i};
	for (unsigned i = 0; i < 8; i++)
		q->lpc->ioapic[i] = q->gsi[Q35_GSI_PIRQ + i];
}

static void pirq_set(void *opaque, unsigned pirq, bool level)
{
	struct q35 *q = opaque;
	if (q->lpc)
		ich9_pirq_set(q->lpc, pirq, level);
}

static bool create_sata(struct machine *m, GError **error)
{
	struct device *ahci = machine_add_own(m, &ahci_class, m->pci, Q35_DEVFN_AHCI, NULL, error);
	if (ahci)
		machine_add_buses_of(m, ahci, "ide");
	return ahci != NULL;
}

static void offer_sleep(struct q35 *q)
{
	struct machine *m = q->m;
	bool acpi = machine_switch_on(m->config->acpi, true);
	m->sleeps = acpi && !q->lpc->no_s3;
	m->sleeps_on_disk = acpi && !q->lpc->no_s4;
	acpi_pm_offer(q->pm, (struct acpi_pm_states){.memory = m->sleeps, .disk = m->sleeps_on_disk});
}

static void slots_event(void *opaque)
{
	acpi_pm_gpe(((struct q35 *)opaque)->pm, Q35_SLOTS_GPE);
}

static void cpus_event(void *opaque)
{
	acpi_pm_gpe(((struct q35 *)opaque)->pm, Q35_CPUS_GPE);
}

static void memory_event(void *opaque)
{
	acpi_pm_gpe(((struct q35 *)opaque)->pm, Q35_MEMORY_GPE);
}

static bool create_pci(struct q35 *q, GError **error)
{
	struct machine *m = q->m;
	struct irq pirqs[8];
	for (unsigned i = 0; i < 8; i++)
		pirqs[i] = (struct irq){pirq_set, q, i};
	m->pci = pci_bus_new(m->vm, pirqs);
	pci_bus_set_routes(m->pci, pirqs, 8, ich9_pirq_route);
	pci_host_init(&q->host, m->vm, m->pci);
	pci_host_map_ports(&q->host);
	machine_add_bus(m, "PCI", "pcie.0", m->pci, NULL);
	machine_add_bus(m, "ISA", "isa.0", &q->isa, NULL);
	if (machine_switch_on(m->config->acpi, true))
		machine_hotplug_create(m, slots_event, q);
	if (!machine_add_own(m, &mch_class, m->pci, Q35_DEVFN_MCH, prepare_mch, error) ||
	    !machine_add_own(m, &ich9_lpc_class, m->pci, Q35_DEVFN_LPC, prepare_lpc, error))
		return false;
	offer_sleep(q);
	return (!machine_switch_on(m->config->sata, true) || create_sata(m, error)) &&
	       (!machine_switch_on(m->config->smbus, true) ||
		machine_add_own(m, &ich9_smbus_class, m->pci, Q35_DEVFN_SMBUS, NULL, error));
}

/* --- ISA -------------------------------------------------------------------------------------------- */

static uint64_t post_read(void *opaque, uint64_t offset, unsigned size)
{
	return 0xff;
}

/* Firmware's progress codes, and everyone's delay: nobody looks. */
static void post_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
}

static const struct io_ops post_ops = {post_read, post_write, .min_size = 1, .max_size = 4};

static bool create_serials(struct q35 *q, GError **error)
{
	static const uint16_t ports[MACHINE_SERIALS] = {0x3f8, 0x2f8, 0x3e8, 0x2e8};
	static const uint8_t irqs[MACHINE_SERIALS] = {4, 3, 4, 3};
	const struct machine_config *c = q->m->config;
	if (!machine_switch_on(c->isa_serial, true))
		return true;
	for (unsigned i = 0; i < MACHINE_SERIALS; i++) {
		if (!c->serials[i])
			continue;
		q->serials[i] = uart_new(q->m->vm, ports[i], &q->isa.irqs[irqs[i]], c->serials[i],
					 error);
		if (!q->serials[i])
			return false;
	}
	return true;
}

static void prepare_debugcon(struct machine *m, struct device *dev)
{
	isa_debugcon_set_chardev(dev, m->config->debugcon);
}

static bool create_isa(struct q35 *q, GError **error)
{
	struct machine *m = q->m;
	q->kbc = i8042_new(m->vm, &q->isa.irqs[1], &q->isa.irqs[12]);
	q->pm = acpi_pm_new(m->vm, &q->isa.irqs[Q35_SCI]);
	q->post = (struct io_region){.name = "post", .ops = &post_ops, .opaque = q, .size = 1};
	space_add_io(m->vm->ports, 0x80, &q->post, SPACE_PRIORITY_HIGH);
	m->fw_cfg = fw_cfg_new(m->vm);
	fw_cfg_map_ports(m->fw_cfg, Q35_FW_CFG_PORT);
	return create_serials(q, error) &&
	       (!m->config->debugcon ||
		machine_add_own(m, &isa_debugcon_class, &q->isa, -1, prepare_debugcon, error));
}

/* --- firmware --------------------------------------------------------------------------------------- */

static bool create_flash(struct q35 *q, GError **error)
{
	static const char *const names[MACHINE_PFLASHES] = {"system.flash0", "system.flash1"};
	const struct machine_config *c = q->m->config;
	uint64_t end = Q35_FLASH_END;
	if (machine_is_direct(q->m))
		return true;
	if (c->pflash[1] && !c->pflash[0])
		return error_set(error, BERTH_ERR_INVALID,
				 "a second flash (pflash1) needs a first one with firmware code");
	if (c->pflash[0] && c->firmware)
		return error_set(error, BERTH_ERR_INVALID,
				 "-bios and a flash with firmware code exclude each other");
	for (unsigned i = 0; i < MACHINE_PFLASHES && c->pflash[i]; i++) {
		q->flash[i] = pflash_new(q->m->vm, names[i], c->pflash[i], c->pflash_readonly[i],
					 end, error);
		if (!q->flash[i])
			return false;
		end = pflash_base(q->flash[i]);
	}
	return true;
}

static void describe_acpi(struct machine *m, struct acpi_config *c)
{
	struct q35 *q = q35_of(m);
	c->board = ACPI_BOARD_Q35;
	c->has_pic = true;
	c->pci = true;
	c->ecam_base = q35_ecam(m, &c->ecam_size);
	c->window32_base = m->low_ram;
	if (c->window32_base < c->ecam_base && c->ecam_base < Q35_PCI_HOLE_END)
		c->window32_base = MAX(c->window32_base, MIN(Q35_LOW_RAM_MAX, c->ecam_base));
	c->window32_end = Q35_PCI_HOLE_END;
	q35_pci_window64(m, &c->window64_base, &c->window64_end);
	c->hpet = q->hpet != NULL;
	c->rtc = true;
	c->keyboard = true;
	for (unsigned i = 0; i < MACHINE_SERIALS; i++)
		c->serial_ports |= (q->serials[i] ? 1 : 0) << i;
	c->fw_cfg = true;
	for (unsigned i = 0; i < m->devices->len; i++)
		c->pvpanic |= ((struct device *)m->devices->pdata[i])->class == &isa_pvpanic_class;
	c->slot_count = machine_hotplug_describe(m, c->slots);
	machine_memory_window(m, &c->module_base, &c->module_size);
	c->module_slots = c->module_size ? m->config->memory_slots : 0;
	c->s3 = m->sleeps;
	c->s4 = m->sleeps_on_disk;
	c->pm_base = q35_pm_base(m);
	/* Before firmware has run, the tables are only measured. */
	if (!c->pm_base)
		c->pm_base = Q35_PM_BASE;
	if (!c->ecam_size) {
		c->ecam_base = Q35_ECAM_BASE;
		c->ecam_size = Q35_ECAM_SIZE;
	}
}

static void q35_cpus_changed(struct machine *m)
{
	unsigned count = machine_cpus_present(m);
	rtc_cmos_set(q35_of(m)->rtc, 0x5f, count - 1);
	fw_cfg_add_u16(m->fw_cfg, FW_CFG_NB_CPUS, (uint16_t)count);
}

static bool q35_finish(struct machine *m, GError **error)
{
	const struct machine_config *c = m->config;
	machine_acpi_fn *acpi = machine_switch_on(c->acpi, true) ? describe_acpi : NULL;
	q35_cpus_changed(m);
	if (acpi)
		machine_cpus_create(m, cpus_event, q35_of(m));
	if (machine_is_direct(m)) {
		const struct machine_direct_options options = {
			.acpi = acpi, .board_setup = q35_firmware_setup, .smbios = true,
			.reserved_base = Q35_ECAM_BASE, .reserved_size = Q35_ECAM_SIZE,
		};
		return machine_fw_cfg_fill(m, error) && machine_direct_open(m, &options, error);
	}
	return machine_fw_cfg_fill(m, error) && machine_tables_fw_cfg(m, acpi, error) &&
	       (!c->kernel || machine_fw_cfg_kernel(m, error));
}

/* --- the board -------------------------------------------------------------------------------------- */

static bool q35_create(struct machine *m, GError **error)
{
	struct q35 *q = g_new0(struct q35, 1);
	q->m = m;
	m->board = q;
	pthread_mutex_init(&q->irq_lock, NULL);
	const struct machine_config *c = m->config;
	if (!machine_switch_check(m, "pic", c->pic, MACHINE_OFF, error) ||
	    !machine_switch_check(m, "pit", c->pit, MACHINE_OFF, error) ||
	    !machine_switch_check(m, "rtc", c->rtc, MACHINE_OFF, error) ||
	    !machine_switch_check(m, "pcie", c->pcie, MACHINE_OFF, error) ||
	    !machine_switch_check(m, "auto-kernel-cmdline", c->auto_kernel_cmdline, MACHINE_ON, error))
		return false;
	if (!machine_ram_create(m, Q35_LOW_RAM_THRESHOLD, Q35_LOW_RAM_MAX, true, error))
		return false;
	create_interrupts(q);
	if (q->full_irqchip && c->hpet == MACHINE_ON)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "-machine hpet=on is not supported with the interrupt controllers in "
				 "the kernel: add kernel-irqchip=split or leave it out");
	return create_timers(q) && create_isa(q, error) && create_flash(q, error) &&
	       machine_firmware_load(m, "bios-256k.bin", error) && create_pci(q, error) &&
	       (!machine_switch_on(c->acpi, true) || machine_memory_create(m, memory_event, q, error));
}

static void q35_reset(struct machine *m)
{
	struct q35 *q = q35_of(m);
	pci_host_reset(&q->host);
	if (!q->full_irqchip) {
		pic_reset(q->pic);
		ioapic_reset(q->ioapic);
		pit_reset(q->pit);
	}
	if (q->hpet)
		hpet_reset(q->hpet);
	rtc_reset(q->rtc);
	set_boot_order(q);
	i8042_reset(q->kbc);
	acpi_pm_reset(q->pm);
	for (unsigned i = 0; i < MACHINE_SERIALS; i++)
		if (q->serials[i])
			uart_reset(q->serials[i]);
	for (unsigned i = 0; i < MACHINE_PFLASHES; i++)
		if (q->flash[i])
			pflash_reset(q->flash[i]);
}

static void q35_wake(struct machine *m)
{
	enum { SHUTDOWN_STATUS = 0x0f, RESUME = 0xfe }; /* CMOS, as SeaBIOS and OVMF read it */
	struct q35 *q = q35_of(m);
	acpi_pm_woken(q->pm);
	if (m->loader)
		machine_direct_wake(m);
	else
		rtc_cmos_set(q->rtc, SHUTDOWN_STATUS, RESUME);
}

static void q35_power_button(struct machine *m)
{
	acpi_pm_power_button(q35_of(m)->pm);
}

static void q35_key(struct machine *m, uint8_t code, bool down)
{
	i8042_key(q35_of(m)->kbc, code, down);
	acpi_pm_wake(q35_of(m)->pm);
}

static void q35_destroy(struct machine *m)
{
	struct q35 *q = q35_of(m);
	struct vm *vm = m->vm;
	if (!q)
		return;
	for (unsigned i = 0; i < MACHINE_SERIALS; i++)
		uart_free(q->serials[i]);
	for (unsigned i = 0; i < MACHINE_PFLASHES; i++)
		pflash_free(q->flash[i]);
	if (m->pci)
		pci_host_cleanup(&q->host);
	pci_bus_free(m->pci);
	acpi_pm_free(q->pm);
	i8042_free(q->kbc);
	rtc_free(q->rtc);
	pit_free(q->pit);
	hpet_free(q->hpet);
	ioapic_free(q->ioapic);
	pic_free(q->pic);
	if (q->post.ops)
		space_remove_io(vm->ports, &q->post);
	pthread_mutex_destroy(&q->irq_lock);
	g_free(q);
	m->board = NULL;
}

uint64_t q35_ecam(struct machine *m, uint64_t *size)
{
	return mch_ecam(q35_of(m)->mch, size);
}

uint16_t q35_pm_base(struct machine *m)
{
	return ich9_pm_base(q35_of(m)->lpc);
}

void q35_firmware_setup(struct machine *m)
{
	struct q35 *q = q35_of(m);
	mch_firmware_setup(q->mch, Q35_ECAM_BASE);
	ich9_firmware_setup(q->lpc, Q35_PM_BASE, Q35_RCBA_BASE);
	acpi_pm_enable(q->pm);
	/* PIRQs and the SCI are levels at the PIC too. */
	if (q->pic)
		space_write(m->vm->ports, 0x4d1, 1 << (9 - 8) | 1 << (10 - 8) | 1 << (11 - 8), 1);
}

void q35_pci_window64(struct machine *m, uint64_t *base, uint64_t *end)
{
	unsigned bits = m->vm->config.phys_bits ? m->vm->config.phys_bits : 40;
	uint64_t modules, module_size;
	machine_memory_window(m, &modules, &module_size);
	uint64_t start = module_size ? modules + module_size : align_up(LAYOUT_HIGH_RAM + m->high_ram, GIB);
	uint64_t limit = UINT64_C(1) << MIN(bits, 46);
	/* All the rest: SeaBIOS places 64-bit BARs right above RAM, OVMF near the top. */
	*base = start < limit ? start : 0;
	*end = start < limit ? limit : 0;
}

static const char *const q35_aliases[] = {"pc", "pc-q35-7.2", NULL};

const struct machine_ops machine_q35_ops = {
	.name = "q35",
	.aliases = q35_aliases,
	.description = "Standard PC (Q35 + ICH9, 2009)",
	.default_nic = "virtio-net-pci",
	.default_disk = "ide-hd",
	.default_cdrom = "ide-cd",
	.max_cpus = 255,
	.hotplug_cpus = true,
	.cpus_changed = q35_cpus_changed,
	.create = q35_create,
	.finish = q35_finish,
	.reset = q35_reset,
	.wake = q35_wake,
	.power_button = q35_power_button,
	.key = q35_key,
	.destroy = q35_destroy,
};
