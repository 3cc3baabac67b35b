/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The device classes that -device knows, and how instances of them come into the machine. */
#include "base/error.h"
#include "base/log.h"
#include "base/units.h"
#include "dev/chips/dimm.h"
#include "dev/chips/i6300esb.h"
#include "dev/chips/isa.h"
#include "dev/display/displays.h"
#include "dev/net/cards.h"
#include "dev/pci/bridge.h"
#include "dev/storage/ahci.h"
#include "dev/vfio/vfio.h"
#include "dev/virtio/devices.h"
#include "machine/machine_int.h"

static const struct device_class *const classes[] = {
	&ahci_class,
	&bochs_display_class,
	&e1000_class,
	&e1000e_class,
	&i6300esb_class,
	&ide_cd_class,
	&ide_hd_class,
	&isa_debug_exit_class,
	&isa_debugcon_class,
	&isa_pvpanic_class,
	&isa_serial_class,
	&pc_dimm_class,
	&pcie_root_port_class,
	&rtl8139_class,
	&vfio_pci_class,
	&virtconsole,
	&virtio_9p_device,
	&virtio_9p_pci,
	&virtio_balloon_device,
	&virtio_balloon_pci,
	&virtio_blk_device,
	&virtio_blk_pci,
	&virtio_mem_pci,
	&virtio_net_device,
	&virtio_net_pci,
	&virtio_rng_device,
	&virtio_rng_pci,
	&virtio_serial_device,
	&virtio_serial_pci,
	&virtio_vsock_device,
	&virtio_vsock_pci,
	&virtserialport,
	NULL,
};

const struct device_class *const *machine_device_classes(void)
{
	return classes;
}

const struct device_class *machine_device_class(const char *name, GError **error)
{
	g_autoptr(GPtrArray) names = g_ptr_array_new();
	for (unsigned i = 0; classes[i]; i++) {
		const struct device_class *class = classes[i];
		if (g_str_equal(class->name, name) ||
		    (class->alias && g_str_equal(class->alias, name)))
			return class;
		g_ptr_array_add(names, (char *)class->name);
		if (class->alias)
			g_ptr_array_add(names, (char *)class->alias);
	}
	g_ptr_array_add(names, NULL);
	const char *near = nearest_name(name, (const char *const *)names->pdata);
	if (near)
		error_set(error, BERTH_ERR_NOT_FOUND,
			  "there is no device '%s'; did you mean '%s'? See -device help", name, near);
	else
		error_set(error, BERTH_ERR_NOT_FOUND, "there is no device '%s'; see -device help",
			  name);
	return NULL;
}

/* One class's line as QEMU prints it. */
static void append_class(GString *text, const struct device_class *class)
{
	g_string_append_printf(text, "name \"%s\", bus %s", class->name, class->bus);
	if (class->alias)
		g_string_append_printf(text, ", alias \"%s\"", class->alias);
	if (class->description)
		g_string_append_printf(text, ", desc \"%s\"", class->description);
	g_string_append_c(text, '\n');
}

static const char *const categories[][2] = {
	{"storage", "Storage"}, {"network", "Network"}, {"input", "Input"},
	{"display", "Display"}, {"bridge", "Controller/Bridge/Hub"}, {"misc", "Misc"},
};

char *machine_device_help(const struct device_class *class)
{
	if (class)
		return device_class_help(class);
	GString *text = g_string_new(NULL);
	for (unsigned c = 0; c < G_N_ELEMENTS(categories); c++) {
		bool first = true;
		for (unsigned i = 0; classes[i]; i++) {
			if (g_strcmp0(classes[i]->category, categories[c][0]))
				continue;
			if (first)
				g_string_append_printf(text, "%s%s devices:\n", text->len ? "\n" : "",
						       categories[c][1]);
			first = false;
			append_class(text, classes[i]);
		}
	}
	return g_string_free(text, FALSE);
}

/* --- buses ------------------------------------------------------------------------------------------ */

void machine_add_bus(struct machine *m, const char *type, const char *name, void *bus,
		     struct device *owner)
{
	struct machine_bus entry = {g_strdup(name), type, bus, owner};
	g_array_append_val(m->buses, entry);
}

void machine_add_buses_of(struct machine *m, struct device *dev, const char *name)
{
	if (dev->class == &ahci_class) {
		for (unsigned port = 0; port < AHCI_PORTS; port++) {
			g_autofree char *full = g_strdup_printf("%s.%u", name, port);
			machine_add_bus(m, "IDE", full, ahci_bus(dev, port), dev);
		}
	}
	if (pcie_root_port_bus(dev))
		machine_add_bus(m, "PCI", name, pcie_root_port_bus(dev), dev);
	void *ports = virtio_serial_bus(dev);
	if (ports) {
		g_autofree char *full = g_strdup_printf("%s.0", name);
		machine_add_bus(m, "virtio-serial-bus", full, ports, dev);
	}
}

static void remove_buses_of(struct machine *m, struct device *dev)
{
	for (unsigned i = m->buses->len; i-- > 0;)
		if (g_array_index(m->buses, struct machine_bus, i).owner == dev)
			g_array_remove_index(m->buses, i);
}

static bool is_pci(const struct device_class *class)
{
	return g_str_equal(class->bus, "PCI");
}

static bool has_room(const struct machine_bus *bus)
{
	return !g_str_equal(bus->type, "IDE") || ide_bus_is_free(bus->bus);
}

/* The bus called `name`, or without a name the first that fits. */
static struct machine_bus *find_bus(struct machine *m, const struct device_class *class,
				    const char *name, GError **error)
{
	const char *wrong_type = NULL;
	bool full = false;
	for (unsigned i = 0; i < m->buses->len; i++) {
		struct machine_bus *entry = &g_array_index(m->buses, struct machine_bus, i);
		if (name && g_strcmp0(entry->name, name))
			continue;
		if (!g_str_equal(entry->type, class->bus)) {
			wrong_type = entry->type;
		} else if (!name && !has_room(entry)) {
			full = true;
		} else {
			return entry;
		}
	}
	if (name && wrong_type)
		error_set(error, BERTH_ERR_INVALID,
			  "the bus '%s' is of type %s, but the device %s needs %s", name, wrong_type,
			  class->name, class->bus);
	else if (name)
		error_set(error, BERTH_ERR_NOT_FOUND, "there is no bus '%s' for the device %s", name,
			  class->name);
	else if (full)
		error_set(error, BERTH_ERR_BUSY,
			  "every %s bus is taken; add a controller, or use virtio-blk-pci", class->bus);
	else
		error_set(error, BERTH_ERR_NOT_FOUND,
			  "the device %s needs a bus of type %s, which the machine %s does not have",
			  class->name, class->bus, m->ops->name);
	return NULL;
}

static bool attach(struct device *dev, int devfn, GError **error)
{
	struct pci_device *pci = (struct pci_device *)dev;
	/* Some classes choose their place themselves. */
	if (!is_pci(dev->class) || pci->bus)
		return true;
	return devfn < 0 ? pci_bus_attach(dev->bus, pci, error) :
			   pci_bus_attach_at(dev->bus, pci, devfn, error);
}

/* Create, and put on its bus if that is PCI: at `devfn` if it is not negative. */
static bool realize(struct machine *m, struct device *dev, int devfn, GError **error)
{
	if (!device_realize(dev, error) || !machine_memory_place(m, dev, error))
		return false;
	if (attach(dev, devfn, error))
		return true;
	machine_memory_remove(m, dev);
	return false;
}

/* --- expansion ROMs ---------------------------------------------------------------------------------- */

static GBytes *read_rom(struct machine *m, const char *name, GError **error)
{
	g_autofree char *path = machine_rom_path(m->config, name);
	gsize size;
	char *text;
	if (!path) {
		error_set(error, BERTH_ERR_NOT_FOUND,
			  "romfile=%s: there is no such expansion ROM; apt install ipxe-qemu, or give a "
			  "path, or romfile= for none", name);
		return NULL;
	}
	/* A device or a pipe may have no end. */
	if (g_file_test(path, G_FILE_TEST_EXISTS) && !g_file_test(path, G_FILE_TEST_IS_REGULAR)) {
		error_set(error, BERTH_ERR_INVALID, "romfile=%s: %s is no regular file", name, path);
		return NULL;
	}
	if (!g_file_get_contents(path, &text, &size, error)) {
		g_prefix_error(error, "romfile=%s: ", name);
		return NULL;
	}
	GBytes *bytes = g_bytes_new_take(text, size);
	if (size && size <= PCI_ROM_MAX)
		return bytes;
	g_bytes_unref(bytes);
	error_set(error, BERTH_ERR_INVALID, "romfile=%s: %s has %zu bytes; an expansion ROM has 1 to %u",
		  name, path, size, PCI_ROM_MAX);
	return NULL;
}

/* What "romfile" names; *bytes stays NULL if it names nothing. */
static bool read_named_rom(struct machine *m, const struct device *dev, GBytes **bytes, GError **error)
{
	const struct pci_device *pci = (const struct pci_device *)dev;
	if (!is_pci(dev->class) || !pci->rom_file || !*pci->rom_file)
		return true;
	/* Its BAR is elsewhere there, where other functions have what a bridge passes on. */
	if (strcmp(dev->class->category, "bridge") == 0)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "device %s: romfile=%s: a bridge has no expansion ROM; leave it out",
				 dev->class->name, pci->rom_file);
	if (!pci->rom_bar)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "device %s: romfile=%s with rombar=off: firmware could not read it; leave "
				 "one of them out", dev->class->name, pci->rom_file);
	*bytes = read_rom(m, pci->rom_file, error);
	if (!*bytes)
		g_prefix_error(error, "device %s: ", dev->class->name);
	return *bytes;
}

/* The function is there: give it its ROM. The usual one is for firmware only, and need not be installed. */
static void install_rom(struct machine *m, struct device *dev, GBytes *named)
{
	struct pci_device *pci = (struct pci_device *)dev;
	if (named) {
		pci_install_rom(pci, named, false);
		return;
	}
	if (is_pci(dev->class) && pci->rom_own && !pci->rom_file && pci->rom_bar)
		pci_install_rom(pci, g_steal_pointer(&pci->rom_own), false);
	if (!is_pci(dev->class) || pci->rom_file || !pci->rom_bar || !pci->rom_default || !m->fw_cfg ||
	    machine_is_direct(m))
		return;
	g_autoptr(GError) error = NULL;
	GBytes *usual = read_rom(m, pci->rom_default, &error);
	if (usual)
		pci_install_rom(pci, usual, true);
	else if (!g_error_matches(error, BERTH_ERROR, BERTH_ERR_NOT_FOUND))
		log_warning("device %s: %s; it is left out", dev->class->name, error->message);
}

static bool set_globals(struct machine *m, struct device *dev, GError **error)
{
	const struct machine_config *c = m->config;
	for (unsigned i = 0; i < c->global_count; i++) {
		const struct machine_global *g = &c->globals[i];
		bool mine = g_str_equal(g->driver, dev->class->name) ||
			    g_strcmp0(g->driver, dev->class->alias) == 0;
		if (mine && !device_set(dev, g->property, g->value, &c->backends, error)) {
			g_prefix_error(error, "-global %s.%s: ", g->driver, g->property);
			return false;
		}
	}
	return true;
}

struct device *machine_add_own(struct machine *m, const struct device_class *class, void *bus,
			       int devfn, void (*prepare)(struct machine *m, struct device *dev),
			       GError **error)
{
	struct device *dev = device_new(class, NULL, m->vm);
	dev->bus = bus;
	if (prepare)
		prepare(m, dev);
	if (!set_globals(m, dev, error) || !realize(m, dev, devfn, error)) {
		device_free(dev);
		return NULL;
	}
	g_ptr_array_add(m->devices, dev);
	return dev;
}

/* --- boot order ------------------------------------------------------------------------------------ */

/*
 * IEEE 1275 path of what a PCI function boots, as SeaBIOS and OVMF compare it: the node's name comes
 * from the class code, the unit address from the slot.
 */
static char *pci_boot_path(const struct pci_device *pci)
{
	uint16_t class_code = pci->config[PCI_CLASS + 1] | pci->config[PCI_CLASS + 2] << 8;
	const char *name = "", *leaf = "";
	switch (class_code) {
	case 0x0100: name = "scsi"; leaf = "/disk@0,0"; break;
	case 0x0200: name = "ethernet"; leaf = "/ethernet-phy@0"; break;
	default: return NULL;
	}
	GString *path = g_string_new(leaf);
	for (const struct pci_device *at = pci; at; at = pci_bus_bridge(at->bus), name = "pci-bridge") {
		g_autoptr(GString) node = g_string_new(NULL);
		g_string_printf(node, "/%s@%x", name, at->devfn >> 3);
		if (at->devfn & 7)
			g_string_append_printf(node, ",%x", at->devfn & 7);
		g_string_prepend(path, node->str);
	}
	g_string_prepend(path, "/pci@i0cf8");
	return g_string_free(path, FALSE);
}

static void note_boot_index(struct machine *m, struct device *dev)
{
	g_autofree char *text = device_get(dev, "bootindex");
	int64_t index = text ? g_ascii_strtoll(text, NULL, 0) : -1;
	if (index < 0 || index >= INT32_MAX)
		return;
	g_autofree char *path = NULL;
	if (is_pci(dev->class))
		path = pci_boot_path((struct pci_device *)dev);
	else if (g_str_equal(dev->class->bus, "IDE"))
		path = ata_unit_boot_path(dev);
	if (!path)
		return;
	struct machine_boot_entry *entry = g_new0(struct machine_boot_entry, 1);
	entry->index = index;
	entry->path = g_steal_pointer(&path);
	g_ptr_array_add(m->boot_order, entry);
}

/* --- -device ---------------------------------------------------------------------------------------- */

static bool set_properties(struct machine *m, struct device *dev, const struct machine_device *spec,
			   GError **error)
{
	if (!set_globals(m, dev, error))
		return false;
	for (unsigned i = 0; i < spec->property_count; i++)
		if (!device_set(dev, spec->properties[i].name, spec->properties[i].value,
				&m->config->backends, error))
			return false;
	return true;
}

struct device *machine_find_device(struct machine *m, const char *id)
{
	for (unsigned i = 0; i < m->devices->len; i++) {
		struct device *dev = m->devices->pdata[i];
		if (g_strcmp0(dev->id, id) == 0)
			return dev;
	}
	return NULL;
}

struct device *machine_add_device(struct machine *m, const struct machine_device *spec,
				  GError **error)
{
	const struct device_class *class = machine_device_class(spec->driver, error);
	struct machine_bus *bus = class ? find_bus(m, class, spec->bus, error) : NULL;
	if (!bus || (m->complete && is_pci(class) &&
		     !machine_hotplug_check(m, bus->bus, bus->name, error)))
		return NULL;
	if (spec->id && machine_find_device(m, spec->id)) {
		error_set(error, BERTH_ERR_INVALID, "there is already a device with the id '%s'",
			  spec->id);
		return NULL;
	}
	struct device *dev = device_new(class, spec->id, m->vm);
	dev->bus = bus->bus;
	GBytes *rom = NULL;
	if (!set_properties(m, dev, spec, error) || !read_named_rom(m, dev, &rom, error) ||
	    !realize(m, dev, -1, error)) {
		g_clear_pointer(&rom, g_bytes_unref);
		device_free(dev);
		return NULL;
	}
	install_rom(m, dev, rom);
	g_ptr_array_add(m->devices, dev);
	g_autofree char *name = dev->id ? g_strdup(dev->id) :
					  g_strdup_printf("%s-bus", class->name);
	machine_add_buses_of(m, dev, name);
	note_boot_index(m, dev);
	if (m->running)
		device_start(dev);
	machine_hotplug_added(m, dev);
	return dev;
}

void machine_take_device(struct machine *m, struct device *dev)
{
	/* No vCPU may be inside the device's callbacks when its memory goes. */
	vm_quiesce(m->vm);
	machine_memory_remove(m, dev);
	if (m->running)
		device_stop(dev);
	if (is_pci(dev->class))
		pci_bus_detach(dev->bus, (struct pci_device *)dev);
	remove_buses_of(m, dev);
	g_ptr_array_remove(m->devices, dev);
	if (m->removed)
		m->removed(m->removed_opaque, dev);
	device_free(dev);
	vm_unquiesce(m->vm);
}

static const char *bus_name(const struct machine *m, const void *bus)
{
	for (unsigned i = 0; i < m->buses->len; i++) {
		const struct machine_bus *entry = &g_array_index(m->buses, struct machine_bus, i);
		if (entry->bus == bus)
			return entry->name;
	}
	return "?";
}

bool machine_remove_device(struct machine *m, const char *id, GError **error)
{
	struct device *dev = machine_find_device(m, id);
	if (!dev)
		return error_set(error, BERTH_ERR_NOT_FOUND, "there is no device with the id '%s'",
				 id);
	if (!machine_memory_check_remove(dev, error))
		return false;
	if (is_pci(dev->class))
		return machine_hotplug_request(m, dev, bus_name(m, dev->bus), error);
	if (pc_dimm_of(dev))
		return machine_memory_request(m, dev, error);
	machine_take_device(m, dev);
	return true;
}
