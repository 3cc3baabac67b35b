/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Spec: Intel I/O Controller Hub 9 data sheet, chapters 10 (RCBA) and 13 (LPC bridge). */
#include "dev/chips/ich9.h"

#include "base/bytes.h"
#include "base/lock.h"
#include "dev/chips/acpi_pm.h"
#include "vm/vm.h"

enum { LPC_PMBASE = 0x40, LPC_ACPI_CNTL = 0x44, LPC_PIRQA = 0x60, LPC_PIRQE = 0x68,
       LPC_IO_DECODE = 0x80, LPC_LPC_EN = 0x82, LPC_GEN_PMCON = 0xa0, LPC_BIOS_CNTL = 0xdc,
       LPC_RCBA = 0xf0 };
enum { ACPI_CNTL_EN = 0x80, PIRQ_OFF = 0x80, RCBA_EN = 1 };
#define PM_BASE_MASK 0xff80
#define RCBA_MASK    UINT32_C(0xffffc000)
#define RCBA_SIZE    0x4000
/* ISA IRQs that ICH9 13.1.10 lets a PIRQ be steered to. */
#define PIRQ_ISA_IRQS 0xdef8

/* RCBA registers: fixed ones that drivers look at. */
enum { RCBA_D31IR = 0x3140, RCBA_D25IR = 0x3150, RCBA_GCS = 0x3410 };
#define GCS_NO_REBOOT (1u << 5)

unsigned ich9_pirq_route(unsigned devfn, unsigned pin)
{
	unsigned slot = devfn >> 3;
	/* ICH9's own functions have fixed routes to A to D; the others rotate through E to H. */
	return slot > 24 ? pin : 4 + (slot + pin) % 4;
}

static unsigned pirq_register(unsigned pirq)
{
	return pirq < 4 ? LPC_PIRQA + pirq : LPC_PIRQE + pirq - 4;
}

/* The ISA IRQ that a PIRQ is steered to, or -1. */
static int pirq_isa(const struct ich9_lpc *lpc, unsigned pirq)
{
	uint8_t route = lpc->pci.config[pirq_register(pirq)];
	unsigned irq = route & 0x0f;
	return !(route & PIRQ_OFF) && (PIRQ_ISA_IRQS >> irq & 1) ? (int)irq : -1;
}

/* pirq_lock held: recompute which ISA IRQs are driven, and tell those that changed. */
static void update_isa(struct ich9_lpc *lpc)
{
	uint8_t raised[16] = {0};
	for (unsigned pirq = 0; pirq < 8; pirq++) {
		int irq = pirq_isa(lpc, pirq);
		if (irq >= 0 && (lpc->pirq_level >> pirq & 1))
			raised[irq] |= 1u << pirq;
	}
	for (unsigned irq = 0; irq < 16; irq++) {
		bool was = lpc->isa_raised[irq], is = raised[irq];
		lpc->isa_raised[irq] = raised[irq];
		if (was != is)
			irq_set(&lpc->pic[irq], is);
	}
}

void ich9_pirq_set(void *opaque, unsigned pirq, bool level)
{
	struct ich9_lpc *lpc = opaque;
	LOCK_SCOPE(&lpc->pirq_lock);
	if (level)
		lpc->pirq_level |= 1u << pirq;
	else
		lpc->pirq_level &= ~(1u << pirq);
	update_isa(lpc);
	irq_set(&lpc->ioapic[pirq], level);
}

static uint64_t rcba_read(void *opaque, uint64_t offset, unsigned size)
{
	uint8_t image[16] = {0};
	uint32_t reg = offset & ~UINT64_C(3), value = 0;
	/* The interrupt routes of devices 25 to 31: pin A to PIRQ A and so on. */
	if (reg >= RCBA_D31IR && reg <= RCBA_D25IR)
		value = 0x32103210;
	else if (reg == RCBA_GCS)
		value = GCS_NO_REBOOT; /* the TCO watchdog cannot reset: drivers leave it alone */
	le32_store(image, value);
	return le_load(image + (offset & 3), size);
}

static void rcba_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	/* Straps and routes are fixed on this board. */
}

static const struct io_ops rcba_ops = {rcba_read, rcba_write, .min_size = 1, .max_size = 4};

static void map_rcba(struct ich9_lpc *lpc)
{
	uint32_t reg = le32_load(lpc->pci.config + LPC_RCBA);
	uint32_t base = reg & RCBA_EN ? reg & RCBA_MASK : 0;
	if (base == lpc->rcba_base)
		return;
	struct space *space = lpc->pci.dev.vm->memory;
	space_begin(space);
	if (lpc->rcba_base)
		space_remove_io(space, &lpc->rcba);
	if (base)
		space_add_io(space, base, &lpc->rcba, SPACE_PRIORITY_NORMAL);
	space_commit(space);
	lpc->rcba_base = base;
}

uint16_t ich9_pm_base(struct ich9_lpc *lpc)
{
	const uint8_t *c = lpc->pci.config;
	return c[LPC_ACPI_CNTL] & ACPI_CNTL_EN ? le16_load(c + LPC_PMBASE) & PM_BASE_MASK : 0;
}

static void apply(struct ich9_lpc *lpc)
{
	acpi_pm_map(lpc->pm, ich9_pm_base(lpc));
	map_rcba(lpc);
	LOCK_SCOPE(&lpc->pirq_lock);
	update_isa(lpc);
}

static void config_written(struct pci_device *pci, unsigned offset, unsigned size)
{
	apply((struct ich9_lpc *)pci);
}

static bool lpc_create(struct device *dev, GError **error)
{
	struct ich9_lpc *lpc = (struct ich9_lpc *)dev;
	struct pci_device *pci = &lpc->pci;
	pthread_mutex_init(&lpc->pirq_lock, NULL);
	pci_set_identity(pci, 0x8086, 0x2918, 0x060100, 2);
	pci->multifunction = true;
	le16_store(pci->writable + PCI_COMMAND, 1 << 6 | 1 << 8);
	le16_store(pci->writable + LPC_PMBASE, PM_BASE_MASK);
	pci->writable[LPC_ACPI_CNTL] = ACPI_CNTL_EN | 7;
	for (unsigned pirq = 0; pirq < 8; pirq++)
		pci->writable[pirq_register(pirq)] = 0x8f;
	le16_store(pci->writable + LPC_IO_DECODE, 0xffff);
	le16_store(pci->writable + LPC_LPC_EN, 0xffff);
	le16_store(pci->writable + LPC_GEN_PMCON, 0xffff);
	pci->writable[LPC_BIOS_CNTL] = 0x1f;
	le32_store(pci->writable + LPC_RCBA, RCBA_MASK | RCBA_EN);
	pci->config_written = config_written;
	lpc->rcba = (struct io_region){.name = "rcba", .ops = &rcba_ops, .opaque = lpc,
				       .size = RCBA_SIZE};
	return true;
}

/* SeaBIOS, which finds it so in QEMU, does not set up this bridge when it resumes a guest. */
static void keep_setup(uint8_t *config, const uint8_t *before)
{
	memcpy(config + LPC_PMBASE, before + LPC_PMBASE, 4);
	config[LPC_ACPI_CNTL] = before[LPC_ACPI_CNTL];
	memcpy(config + LPC_RCBA, before + LPC_RCBA, 4);
	for (unsigned pirq = 0; pirq < 8; pirq++)
		config[pirq_register(pirq)] = before[pirq_register(pirq)];
}

static void lpc_reset(struct device *dev)
{
	struct ich9_lpc *lpc = (struct ich9_lpc *)dev;
	uint8_t *c = lpc->pci.config, before[256];
	memcpy(before, c, sizeof(before));
	pci_device_reset(&lpc->pci);
	/* Bus mastering and both decoders are always on in this function. */
	le16_store(c + PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	le16_store(c + LPC_PMBASE, 1); /* an I/O base */
	for (unsigned pirq = 0; pirq < 8; pirq++)
		c[pirq_register(pirq)] = PIRQ_OFF;
	if (dev->vm->waking)
		keep_setup(c, before);
	apply(lpc);
}

void ich9_firmware_setup(struct ich9_lpc *lpc, uint16_t pm_base, uint32_t rcba)
{
	uint8_t *c = lpc->pci.config;
	le16_store(c + LPC_PMBASE, pm_base | 1);
	c[LPC_ACPI_CNTL] = ACPI_CNTL_EN;
	le32_store(c + LPC_RCBA, rcba | RCBA_EN);
	for (unsigned pirq = 0; pirq < 8; pirq++)
		c[pirq_register(pirq)] = pirq % 4 < 2 ? 10 : 11;
	apply(lpc);
}

static void lpc_destroy(struct device *dev)
{
	struct ich9_lpc *lpc = (struct ich9_lpc *)dev;
	if (lpc->rcba_base)
		space_remove_io(dev->vm->memory, &lpc->rcba);
	pci_device_cleanup(&lpc->pci);
	pthread_mutex_destroy(&lpc->pirq_lock);
}

static const struct property lpc_properties[] = {
	PROPERTY(struct ich9_lpc, no_s3, "disable_s3", PROPERTY_BOOL, "off", "ACPI S3 is not offered"),
	PROPERTY(struct ich9_lpc, no_s4, "disable_s4", PROPERTY_BOOL, "off", "ACPI S4 is not offered"),
	{0},
};

const struct device_class ich9_lpc_class = {
	.name = "ICH9-LPC",
	.description = "ICH9 LPC bridge",
	.bus = "PCI",
	.category = "bridge",
	.properties = lpc_properties,
	.size = sizeof(struct ich9_lpc),
	.create = lpc_create,
	.reset = lpc_reset,
	.destroy = lpc_destroy,
};
