/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Configuration space. Where it says what the machine does with the function - command, BARs, interrupts,
 * power, links between capabilities - it is ours; the rest is read from and written to the device, where
 * the kernel guards what would harm the host (vfio_pci_config.c of Linux).
 */
#include "dev/vfio/vfio_int.h"

enum { CAP_PM = 0x01, CAP_MSI = 0x05, CAP_EXPRESS = 0x10, CAP_MSIX = 0x11, CAP_EA = 0x14 };
/* PCI Express Base 4.0, 7.8 and 9: of the extended ones, those that the guest is not to use. */
enum { EXT_ARI = 0x0e, EXT_ATS = 0x0f, EXT_SRIOV = 0x10, EXT_PRI = 0x13, EXT_REBAR = 0x15,
       EXT_PASID = 0x1b, EXT_VF_REBAR = 0x24 };
enum { CAPS_MAX = 48, EXT_CAPS_MAX = 480, EXT_BASE = 0x100 };

static void emulate(struct vfio_pci *v, unsigned offset, unsigned size)
{
	memset(v->emulated + offset, 0xff, size);
	memset(v->pci.writable + offset, 0, size);
}

/* All of it as the device has it; from there on pci.config is ours where `emulated` says so. */
static bool snapshot(struct vfio_pci *v, GError **error)
{
	struct pci_device *pci = &v->pci;
	for (unsigned at = 0; at < v->config_size; at += 4) {
		if (!v->host->ops->read(v->host, VFIO_PCI_CONFIG_REGION_INDEX, at, pci->config + at, 4))
			return error_set(error, BERTH_ERR_IO,
					 "vfio-pci: %s: its configuration space cannot be read", v->name);
	}
	return (pci->config[PCI_HEADER_TYPE] & 0x7f) == 0 ||
	       error_set(error, BERTH_ERR_NOT_SUPPORTED, "vfio-pci: %s is a bridge: only its devices can be given",
			 v->name);
}

static void set_header(struct vfio_pci *v)
{
	struct pci_device *pci = &v->pci;
	uint8_t *c = pci->config;
	uint8_t pin = c[PCI_INTERRUPT_PIN];
	uint32_t class_code = c[PCI_CLASS] | (uint32_t)le16_load(c + PCI_CLASS + 1) << 8;
	memset(pci->writable, 0xff, sizeof(pci->writable));
	emulate(v, PCI_VENDOR_ID, 6);
	emulate(v, PCI_REVISION, 4);
	emulate(v, PCI_HEADER_TYPE, 2);
	emulate(v, PCI_BAR0, 24);
	emulate(v, PCI_SUBSYSTEM, 8); /* and the ROM's BAR */
	emulate(v, PCI_CAPABILITIES, 8); /* and what is reserved */
	emulate(v, PCI_INTERRUPT_LINE, 2);
	pci_set_identity(pci, le16_load(c), le16_load(c + PCI_DEVICE_ID), class_code, c[PCI_REVISION]);
	memset(pci->clear_on_one, 0, sizeof(pci->clear_on_one));
	/* That there are capabilities is ours to say, whether an interrupt is pending the device's. */
	v->emulated[PCI_STATUS] = 0x10;
	pci->writable[PCI_STATUS] = 0xef;
	le16_store(c + PCI_COMMAND, 0);
	c[PCI_HEADER_TYPE] = c[PCI_HEADER_TYPE + 1] = 0;
	memset(c + PCI_BAR0, 0, 24);
	memset(c + PCI_ROM_BAR, 0, 4);
	c[PCI_INTERRUPT_LINE] = 0;
	c[PCI_INTERRUPT_PIN] = v->host->ops->irq_count(v->host, VFIO_PCI_INTX_IRQ_INDEX) && pin <= 4 ? pin : 0;
	c[PCI_STATUS] &= ~0x10;
}

/* --- capabilities --------------------------------------------------------------------------------------- */

/* The device stays on: in D3hot it would answer nothing, and the kernel takes its registers away. */
static void place_pm(struct vfio_pci *v, unsigned at)
{
	uint8_t *c = v->pci.config + at;
	emulate(v, at, 8);
	le16_store(c + 2, le16_load(c + 2) & 0x07ff); /* no PME */
	le32_store(c + 4, 1 << 3);                    /* D3hot to D0 is no reset */
	v->pci.writable[at + 4] = 3;
}

static void place_msi(struct vfio_pci *v, unsigned at)
{
	uint16_t control = le16_load(v->pci.config + at + 2);
	unsigned log2 = MIN(control >> 1 & 7, 5);
	bool wide = control & 1 << 7, maskable = control & 1 << 8;
	unsigned size = (wide ? 14 : 10) + (maskable ? 10 : 0);
	emulate(v, at, size);
	memset(v->pci.config + at + 2, 0, size - 2);
	pci_place_msi(&v->pci, at, 1u << log2, wide, maskable);
}

static bool fits(struct vfio_pci *v, uint32_t place, unsigned size)
{
	struct vfio_host_region region;
	return (place & 7) < PCI_BAR_COUNT && v->host->ops->region(v->host, place & 7, &region, NULL) &&
	       range_fits(place & ~7u, size, region.size);
}

static bool place_msix(struct vfio_pci *v, unsigned at)
{
	uint8_t *c = v->pci.config + at;
	unsigned vectors = (le16_load(c + 2) & 0x7ff) + 1u;
	uint32_t table = le32_load(c + 4), pba = le32_load(c + 8);
	if (!fits(v, table, vectors * 16) || !fits(v, pba, (vectors + 63) / 64 * 8)) {
		log_warning("vfio-pci: %s: its MSI-X table is in no BAR of it; MSI-X is left out", v->name);
		return false;
	}
	emulate(v, at, 12);
	v->msix_table = table;
	v->msix_pba = pba;
	pci_place_msix(&v->pci, at, vectors, table, pba);
	return true;
}

/* On the root bus it is a part of the root complex, and has no link; behind a root port it has one. */
static void place_express(struct vfio_pci *v, unsigned at)
{
	uint8_t *c = v->pci.config + at;
	unsigned type = le16_load(c + 2) >> 4 & 0xf;
	bool root = !pci_bus_bridge(v->pci.dev.bus);
	v->pci.express_cap = at;
	emulate(v, at, 4);
	if (root == (type == PCI_EXPRESS_INTEGRATED))
		return;
	type = root ? PCI_EXPRESS_INTEGRATED : PCI_EXPRESS_ENDPOINT;
	le16_store(c + 2, (le16_load(c + 2) & ~0xf0) | type << 4);
	emulate(v, at + 0x0c, 8);
	memset(c + 0x0c, 0, 8);
	if (!root) {
		le32_store(c + 0x0c, 1 | 1 << 4); /* 2.5 GT/s, x1 */
		le16_store(c + 0x12, 1 | 1 << 4);
	}
}

/* False: the guest does not see it. */
static bool place_capability(struct vfio_pci *v, unsigned at)
{
	switch (v->pci.config[at]) {
	case CAP_PM:
		place_pm(v, at);
		return true;
	case CAP_MSI:
		if (!v->host->ops->irq_count(v->host, VFIO_PCI_MSI_IRQ_INDEX))
			return false;
		place_msi(v, at);
		return true;
	case CAP_MSIX:
		return v->host->ops->irq_count(v->host, VFIO_PCI_MSIX_IRQ_INDEX) && place_msix(v, at);
	case CAP_EXPRESS:
		place_express(v, at);
		return true;
	case CAP_EA:
		return false;
	default:
		return true;
	}
}

static void place_capabilities(struct vfio_pci *v)
{
	uint8_t *c = v->pci.config;
	unsigned link = PCI_CAPABILITIES, at = c[PCI_CAPABILITIES], last;
	bool any = false;
	/* The list is the device's own: it may not end. */
	uint8_t list[CAPS_MAX], count = 0;
	last = v->config_size < 256 ? 0 : 0xe0;
	for (; at >= 0x40 && at <= last + 0x1cu && !(at & 3) && count < CAPS_MAX; at = c[at + 1])
		list[count++] = at;
	c[link] = 0;
	for (unsigned i = 0; i < count; i++) {
		if (memchr(list, list[i], i) || list[i] > 0xe8)
			continue;
		if (!place_capability(v, list[i]))
			continue;
		emulate(v, list[i], 2);
		c[link] = list[i];
		link = list[i] + 1u;
		c[link] = 0;
		any = true;
	}
	if (any)
		c[PCI_STATUS] |= 0x10;
}

static bool is_hidden(uint16_t id)
{
	static const uint16_t hidden[] = {EXT_ARI, EXT_ATS, EXT_SRIOV, EXT_PRI, EXT_REBAR, EXT_PASID,
					  EXT_VF_REBAR};
	for (unsigned i = 0; i < G_N_ELEMENTS(hidden); i++) {
		if (hidden[i] == id)
			return true;
	}
	return false;
}

/* The first one has a fixed place: hidden, it is a null capability (7.9.28) that links to the rest. */
static void place_extended(struct vfio_pci *v)
{
	uint8_t *c = v->pci.config;
	unsigned link = EXT_BASE, count = 0;
	if (v->config_size < PCI_CONFIG_SIZE || !v->pci.express_cap)
		return;
	uint32_t header = le32_load(c + EXT_BASE);
	emulate(v, EXT_BASE, 4);
	if (is_hidden(header & 0xffff))
		le32_store(c + EXT_BASE, 0);
	else
		le32_store(c + EXT_BASE, header & 0xfffff);
	for (unsigned at = header >> 20 & ~3u; at > EXT_BASE && count < EXT_CAPS_MAX; count++) {
		header = le32_load(c + at);
		unsigned here = at;
		at = header >> 20 & ~3u;
		/* One that was there already: a circle. */
		if (v->emulated[here] == 0xff)
			break;
		if (is_hidden(header & 0xffff) || !header)
			continue;
		emulate(v, here, 4);
		le32_store(c + here, header & 0xfffff);
		le32_store(c + link, le32_load(c + link) | (uint32_t)here << 20);
		link = here;
	}
}

/* --- accesses -------------------------------------------------------------------------------------------- */

static struct vfio_pci *vfio_of(struct pci_device *pci)
{
	return (struct vfio_pci *)pci;
}

static bool config_read(struct pci_device *pci, unsigned offset, unsigned size, uint32_t *value)
{
	struct vfio_pci *v = vfio_of(pci);
	uint8_t bytes[4] = {0xff, 0xff, 0xff, 0xff};
	if (le_load(v->emulated + offset, size) != size_mask(size) && range_fits(offset, size, v->config_size))
		v->host->ops->read(v->host, VFIO_PCI_CONFIG_REGION_INDEX, offset, bytes, size);
	LOCK_SCOPE(&pci->irq_lock); /* MSI pending bits change on any thread */
	for (unsigned i = 0; i < size; i++) {
		uint8_t ours = v->emulated[offset + i];
		bytes[i] = (pci->config[offset + i] & ours) | (bytes[i] & ~ours);
	}
	*value = (uint32_t)le_load(bytes, size);
	return true;
}

/* Off before the device stops to answer, on after it has begun to: the windows are never there without it. */
static void write_command(struct vfio_pci *v)
{
	uint16_t command = le16_load(v->pci.config + PCI_COMMAND);
	uint8_t bytes[2];
	le16_store(bytes, command);
	bool done = v->host->ops->write(v->host, VFIO_PCI_CONFIG_REGION_INDEX, PCI_COMMAND, bytes, 2);
	v->decodes = done && command & PCI_COMMAND_MEMORY;
	if (v->pci.bus)
		pci_windows_changed(&v->pci);
}

static void config_written(struct pci_device *pci, unsigned offset, unsigned size)
{
	struct vfio_pci *v = vfio_of(pci);
	unsigned end = MIN(offset + size, (unsigned)v->config_size);
	for (unsigned at = offset; at < end;) {
		unsigned run = 0;
		while (at + run < end && v->emulated[at + run] != 0xff)
			run++;
		if (run)
			v->host->ops->write(v->host, VFIO_PCI_CONFIG_REGION_INDEX, at, pci->config + at, run);
		at += run ? run : 1;
	}
	if (offset < PCI_COMMAND + 2 && offset + size > PCI_COMMAND)
		write_command(v);
	vfio_irq_update(v);
}

void vfio_config_sync(struct vfio_pci *v)
{
	write_command(v);
}

bool vfio_config_create(struct vfio_pci *v, GError **error)
{
	struct vfio_host_region region;
	if (!v->host->ops->region(v->host, VFIO_PCI_CONFIG_REGION_INDEX, &region, error))
		return false;
	v->config_size = MIN(region.size, PCI_CONFIG_SIZE) & ~UINT64_C(3);
	if (v->config_size < 256)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "vfio-pci: %s has no configuration space of 256 bytes", v->name);
	if (!snapshot(v, error))
		return false;
	set_header(v);
	place_capabilities(v);
	place_extended(v);
	v->pci.config_read = config_read;
	v->pci.config_written = config_written;
	return true;
}
