/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI and PCIe functions and buses: configuration space, BARs, INTx, MSI, MSI-X, capabilities.
 * A function's class embeds `struct pci_device` first and fills identity and BARs in its create
 * operation. Locking: configuration space is under the bus's lock.
 */
#pragma once

#include "dev/core/device.h"
#include "vm/irq.h"
#include "vm/space.h"

#define PCI_BAR_COUNT 6
#define PCI_CONFIG_SIZE 4096
#define PCI_MSIX_MAX 2048
#define PCI_ROM_MAX (16u << 20)

/* Offsets in configuration space that more than one file names (PCI 3.0, chapter 6). */
enum pci_config {
	PCI_VENDOR_ID = 0x00, PCI_DEVICE_ID = 0x02, PCI_COMMAND = 0x04, PCI_STATUS = 0x06,
	PCI_REVISION = 0x08, PCI_CLASS = 0x09, PCI_CACHE_LINE = 0x0c, PCI_LATENCY = 0x0d,
	PCI_HEADER_TYPE = 0x0e, PCI_BAR0 = 0x10, PCI_SUBSYSTEM = 0x2c, PCI_ROM_BAR = 0x30,
	PCI_CAPABILITIES = 0x34, PCI_INTERRUPT_LINE = 0x3c, PCI_INTERRUPT_PIN = 0x3d,
};

enum pci_command {
	PCI_COMMAND_IO = 1 << 0, PCI_COMMAND_MEMORY = 1 << 1, PCI_COMMAND_MASTER = 1 << 2,
	PCI_COMMAND_INTX_DISABLE = 1 << 10,
};

/* Rows that a PCI function's property table starts with. */
#define PCI_PROPERTIES(struct_, field_)                                                            \
	PROPERTY(struct_, field_.address, "addr", PROPERTY_PCI_ADDR, "-1",                         \
		 "device[.function] on the bus"),                                                  \
	PROPERTY(struct_, field_.multifunction, "multifunction", PROPERTY_BOOL, "off",             \
		 "set the multifunction bit of function 0"),                                       \
	PROPERTY(struct_, field_.rom_file, "romfile", PROPERTY_STRING, NULL,                       \
		 "expansion ROM; empty: none; not given: what the card usually has, if installed"), \
	PROPERTY(struct_, field_.rom_bar, "rombar", PROPERTY_BOOL, "on",                           \
		 "show the expansion ROM to the guest")

struct pci_bus;

/* A part of a BAR whose region has memory behind it that the guest may be given (io_region.direct). */
struct pci_window {
	struct io_region region;
	uint64_t offset; /* in the BAR */
};

struct pci_bar {
	struct io_region *region; /* or NULL: unused */
	struct ram_block *ram;    /* what the guest finds there if not NULL: no access calls the region */
	uint64_t size;            /* a power of two, >= 16 */
	bool io, wide, prefetch;  /* port space; 64 bits; prefetchable */
	uint64_t mapped_at;       /* UINT64_MAX: not mapped */
	struct pci_window *windows; /* before `region` in its parts, or NULL; borrowed */
	unsigned window_count, windows_mapped; /* windows_mapped: all of them, or 0 */
};

struct pci_msix {
	uint8_t cap;             /* offset, or 0 */
	unsigned vectors;
	uint8_t *table, *pba;    /* under irq_lock */
	struct io_region table_region; /* pci_add_msix()'s */
};

struct pci_device {
	struct device dev;
	int address;       /* property "addr": device << 3 | function, -1: automatic */
	bool multifunction;
	struct pci_bus *bus;
	struct pci_bus *secondary; /* a bridge's other side (bridge.h), or NULL */
	uint8_t devfn;
	uint8_t config[PCI_CONFIG_SIZE];
	uint8_t writable[PCI_CONFIG_SIZE]; /* bits that the guest may change */
	uint8_t clear_on_one[PCI_CONFIG_SIZE];
	uint16_t next_cap_offset, last_cap;
	struct pci_bar bars[PCI_BAR_COUNT];
	char *rom_file;           /* property "romfile"; NULL: `rom_default` */
	bool rom_bar;
	const char *rom_default;  /* set by the class's create: may be NULL, and need not be installed */
	GBytes *rom_own;          /* set by the class's create, or NULL: what the card itself has as its ROM */
	uint8_t *rom_bytes;       /* pci_install_rom() */
	struct io_region rom_region;
	struct io_region *rom;    /* pci_set_rom() */
	uint64_t rom_mapped_at;
	uint8_t msi_cap, express_cap; /* offsets, or 0 */
	struct pci_msix msix;
	pthread_mutex_t irq_lock; /* INTx level, MSI and MSI-X pending bits and masks */
	bool intx_level, intx_driven; /* the pin, and what the bus sees of it */
	/* After a guest's write to configuration space, with the bus lock held. May be NULL. */
	void (*config_written)(struct pci_device *pci, unsigned offset, unsigned size);
	/* Reads that must be computed (virtio's PCI_CFG window). NULL: plain bytes. */
	bool (*config_read)(struct pci_device *pci, unsigned offset, unsigned size, uint32_t *value);
	/* Which parts of its BARs are windows now; NULL: all of them. Called with the bus lock held. */
	bool (*windows_open)(struct pci_device *pci);
	/* A vector was masked or unmasked (irqfd users). May be NULL. */
	void (*vector_changed)(struct pci_device *pci, unsigned vector);
};

/*
 * Bus number 0, with `irqs` for INTA to INTD after swizzling by (device + pin) % 4. Lines are
 * level-triggered and shared: a line is high while any function on it is.
 */
struct pci_bus *pci_bus_new(struct vm *vm, const struct irq irqs[4]);
/*
 * Replace that wiring by `count` (up to 8) lines; route() tells which one pin 0 to 3 of a function
 * drives. Before any function is attached.
 */
void pci_bus_set_routes(struct pci_bus *bus, const struct irq *irqs, unsigned count,
			unsigned (*route)(unsigned devfn, unsigned pin));
/* All functions are detached already. */
void pci_bus_free(struct pci_bus *bus);
/* The bus is the other side of `bridge`, with `slots` device numbers from 0 on; 1: a PCIe link. */
void pci_bus_set_secondary(struct pci_bus *bus, const struct pci_device *bridge, unsigned slots);
bool pci_bus_is_link(const struct pci_bus *bus);
/* Configuration access by CF8/CFC or ECAM: `address` is bus << 8 | devfn. Any thread. */
uint32_t pci_config_read(struct pci_bus *root, unsigned address, unsigned offset, unsigned size);
void pci_config_write(struct pci_bus *root, unsigned address, unsigned offset, uint32_t value,
		      unsigned size);
/*
 * Put a function on the bus at its `addr` property, or the first free device from 1. Guests can
 * see it from now on. Call after the function's create operation has described it.
 */
bool pci_bus_attach(struct pci_bus *bus, struct pci_device *pci, GError **error);
/* For the board's own functions, which have fixed places. */
bool pci_bus_attach_at(struct pci_bus *bus, struct pci_device *pci, unsigned devfn, GError **error);
/* Unmaps its BARs and lowers its pin. Free it only when no vCPU can be inside its callbacks. */
void pci_bus_detach(struct pci_bus *bus, struct pci_device *pci);
/* The bridge that the bus is behind, or NULL: it is the host bridge's. */
const struct pci_device *pci_bus_bridge(const struct pci_bus *bus);
struct pci_device *pci_bus_find(struct pci_bus *bus, unsigned devfn);
/* Lowest devfn first; fn may not attach or detach. */
void pci_bus_for_each(struct pci_bus *bus, void (*fn)(void *opaque, struct pci_device *pci),
		      void *opaque);

/* class_code is base << 16 | sub << 8 | interface. */
void pci_set_identity(struct pci_device *pci, uint16_t vendor, uint16_t device, uint32_t class_code,
		      uint8_t revision);
void pci_set_subsystem(struct pci_device *pci, uint16_t vendor, uint16_t device);
void pci_add_bar(struct pci_device *pci, unsigned bar, struct io_region *region, bool io, bool wide,
		 bool prefetch);
/* Parts of a BAR that an engine may map. They do not overlap, and live as long as the function. */
void pci_set_windows(struct pci_device *pci, unsigned bar, struct pci_window *windows, unsigned count);
/* What `windows_open` says has changed. With the bus lock held. */
void pci_windows_changed(struct pci_device *pci);
/* The BAR, added already, is that memory, of its size and at least a page; the caller's. */
void pci_set_bar_ram(struct pci_device *pci, unsigned bar, struct ram_block *ram);
/* An expansion ROM; region->size is rounded up to a power of two. */
void pci_set_rom(struct pci_device *pci, struct io_region *rom);
/*
 * Those bytes, of which there are 1 to PCI_ROM_MAX, are the expansion ROM of a function on a bus; takes
 * `bytes`. With `adapt` its images say that they are for this function, whatever they said: firmware
 * looks at that, and a card's driver may know several. Before the guest hears of the function.
 */
void pci_install_rom(struct pci_device *pci, GBytes *bytes, bool adapt);
/* Returns the capability's offset; its first two bytes are filled. */
uint8_t pci_add_capability(struct pci_device *pci, uint8_t id, uint8_t size);
void pci_add_msi(struct pci_device *pci, unsigned vectors);
/* Table at `offset` of an own BAR `bar` that this call registers. */
void pci_add_msix(struct pci_device *pci, unsigned vectors, unsigned bar);
/*
 * The same for a function that has its capability at `offset` already, with ID and link: `wide` with 64
 * bits of address, `maskable` with a mask bit for each vector. Returns the capability's size.
 */
unsigned pci_place_msi(struct pci_device *pci, uint8_t offset, unsigned vectors, bool wide, bool maskable);
/* `table` and `pba` are the registers with BAR and offset; the caller's BARs call pci_msix_*(). */
void pci_place_msix(struct pci_device *pci, uint8_t offset, unsigned vectors, uint32_t table, uint32_t pba);
/* Bytes of the table and of the pending bits. */
unsigned pci_msix_table_size(const struct pci_device *pci);
unsigned pci_msix_pba_size(const struct pci_device *pci);
/* Accesses that lie in them as a whole. Any thread. */
uint64_t pci_msix_table_read(struct pci_device *pci, uint64_t offset, unsigned size);
void pci_msix_table_write(struct pci_device *pci, uint64_t offset, uint64_t value, unsigned size);
uint64_t pci_msix_pba_read(struct pci_device *pci, uint64_t offset, unsigned size);
/* PCIe capability, so that extended configuration space is looked at. */
enum pci_express_type { PCI_EXPRESS_ENDPOINT = 0, PCI_EXPRESS_ROOT_PORT = 4,
			PCI_EXPRESS_INTEGRATED = 9 };
void pci_add_express(struct pci_device *pci, enum pci_express_type type);
/* Which pin the function drives: 0 (INTA) to 3. Sets the interrupt pin register. */
void pci_set_pin(struct pci_device *pci, unsigned pin);
/* Command, BARs, INTx, MSI and MSI-X to their power-on state; other writable bits to zero. */
void pci_device_reset(struct pci_device *pci);
/* Detaches if attached and frees what the calls above allocated. */
void pci_device_cleanup(struct pci_device *pci);

/* Level of the INTx pin; honours the command register's disable bit. Any thread. */
void pci_intx_set(struct pci_device *pci, bool level);
/* Deliver vector (MSI-X if enabled, else MSI). False if neither is enabled. Any thread. */
bool pci_msi_notify(struct pci_device *pci, unsigned vector);
bool pci_msix_enabled(const struct pci_device *pci);
bool pci_msi_enabled(const struct pci_device *pci);
/* Where vector's message goes, or false if it is masked or disabled now (irqfd). */
bool pci_msi_message(struct pci_device *pci, unsigned vector, uint64_t *address, uint32_t *data);
/* Bus mastering and the device's rights: devices check before DMA. */
bool pci_dma_enabled(const struct pci_device *pci);
