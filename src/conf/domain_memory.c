/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory of a domain: nodes (<cpu><numa>), what may be plugged in (<maxMemory>) and what is (<memory> in
 * <devices>). As libvirt has it, <memory> of the domain is the sum: what the nodes have, or what the
 * document says, and all that is plugged in.
 */
#include "conf/domain.h"

#include "base/error.h"
#include "base/units.h"

#include <stdio.h>
#include <string.h>

enum { SLOTS_MAX = 256, NODES_MAX = 128, MIB_KIB = 1024 };

/* --- Nodes ---------------------------------------------------------------------------------- */

static bool read_distances(struct conf_domain *conf, unsigned from, const xmlNode *cell, GError **error)
{
	xml_for_each(sibling, xml_child(cell, "distances"), "sibling") {
		g_autofree char *id = xml_attribute(sibling, "id"), *value = xml_attribute(sibling, "value");
		uint64_t to, distance;
		if (!id || !units_parse_number(id, 0, NODES_MAX - 1, &to, NULL) || !value ||
		    !units_parse_number(value, 10, 255, &distance, NULL))
			return conf_domain_error(error, BERTH_ERR_INVALID, sibling,
						 "its id must be a cell's and its value from 10 to 255");
		struct conf_domain_distance entry = {from, to, distance};
		g_array_append_val(conf->distances, entry);
	}
	return true;
}

static bool read_cell(struct conf_domain *conf, xmlNode *node, GError **error)
{
	struct conf_domain_cell cell = {0};
	g_autofree char *id = xml_attribute(node, "id"), *memory = xml_attribute(node, "memory");
	uint64_t number = conf->cells->len;
	if (id && (!units_parse_number(id, 0, NODES_MAX - 1, &number, NULL) || number != conf->cells->len))
		return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, node,
					 "its id is not %u: cells come in order, without gaps", conf->cells->len);
	if (!memory)
		return conf_domain_error(error, BERTH_ERR_INVALID, node, "its memory is missing");
	if (!conf_domain_parse_kib(node, "memory", "unit", &cell.memory_kib, error))
		return false;
	cell.memory_kib = (cell.memory_kib + MIB_KIB - 1) / MIB_KIB * MIB_KIB;
	cell.cpus = xml_attribute(node, "cpus");
	g_array_append_val(conf->cells, cell);
	uint8_t map[32];
	if (cell.cpus && !conf_cpuset_parse(cell.cpus, map, sizeof(map)))
		return conf_domain_error(error, BERTH_ERR_INVALID, node, "'%s' is no list of CPUs", cell.cpus);
	for (unsigned cpu = conf->max_vcpus; cell.cpus && cpu < sizeof(map) * 8; cpu++) {
		if (map[cpu / 8] >> cpu % 8 & 1)
			return conf_domain_error(error, BERTH_ERR_INVALID, node,
						 "CPU %u is beyond the maximum vCPU count", cpu);
	}
	char text[24];
	snprintf(text, sizeof(text), "%u", (unsigned)number);
	xmlSetProp(node, (const xmlChar *)"id", (const xmlChar *)text);
	snprintf(text, sizeof(text), "%" G_GUINT64_FORMAT, cell.memory_kib);
	xmlSetProp(node, (const xmlChar *)"memory", (const xmlChar *)text);
	xmlSetProp(node, (const xmlChar *)"unit", (const xmlChar *)"KiB");
	return read_distances(conf, number, node, error);
}

bool conf_domain_read_numa(struct conf_domain *conf, xmlNode *root, GError **error)
{
	xml_for_each(cell, xml_child(xml_child(root, "cpu"), "numa"), "cell") {
		if (!read_cell(conf, cell, error))
			return false;
	}
	return true;
}

/* --- Devices ---------------------------------------------------------------------------------- */

static bool read_size(const xmlNode *parent, const char *name, bool needed, uint64_t *kib, GError **error)
{
	xmlNode *node = xml_child(parent, name);
	if (!node)
		return !needed || conf_domain_error(error, BERTH_ERR_INVALID, parent, "<%s> is missing", name);
	g_autofree char *text = xml_text(node);
	*kib = 0;
	/* Of a virtio-mem, nothing at all may be asked for. */
	if (strcmp(text, "0") != 0 && !conf_domain_read_kib(node, kib, error))
		return false;
	conf_domain_set_kib(node, *kib);
	return true;
}

/* <target><node>; cells and pages of the host are checked by who knows them. */
static bool read_node(const struct conf_domain *conf, struct conf_domain_memory *memory, const xmlNode *target,
		      GError **error)
{
	g_autofree char *text = xml_child_text(target, "node");
	uint64_t node = 0;
	if (!text && conf->cells->len)
		return conf_domain_error(error, BERTH_ERR_INVALID, target,
					 "<node> is missing: which cell it belongs to");
	if (text && (!units_parse_number(text, 0, NODES_MAX - 1, &node, NULL) ||
		     node >= MAX(conf->cells->len, 1)))
		return conf_domain_error(error, BERTH_ERR_INVALID, target, "there is no cell '%s'", text);
	memory->guest_node = node;
	return true;
}

static bool read_source(const struct conf_domain *conf, struct conf_domain_memory *memory, const xmlNode *node,
			GError **error)
{
	const xmlNode *source = xml_child(node, "source");
	g_autofree char *access = xml_attribute(node, "access"), *discard = xml_attribute(node, "discard");
	uint8_t map[8];
	/* What nobody says of the module is as <memoryBacking> has it. */
	memory->shared = access ? strcmp(access, "shared") == 0 : conf->backing.shared;
	memory->discard = g_strcmp0(discard, "yes") == 0;
	memory->host_nodes = source ? xml_child_text(source, "nodemask") : NULL;
	if (memory->host_nodes && !conf_cpuset_parse(memory->host_nodes, map, sizeof(map)))
		return conf_domain_error(error, BERTH_ERR_INVALID, source, "'%s' is no list of the host's nodes",
					 memory->host_nodes);
	return CONF_DOMAIN_ONE_OF(node, "access", access, error, "shared", "private") &&
	       CONF_DOMAIN_ONE_OF(node, "discard", discard, error, "yes", "no") &&
	       (!source || read_size(source, "pagesize", false, &memory->page_kib, error));
}

static bool check_blocks(const struct conf_domain_memory *memory, const xmlNode *target, GError **error)
{
	uint64_t block = memory->block_kib;
	if (block < MIB_KIB || block & (block - 1))
		return conf_domain_error(error, BERTH_ERR_INVALID, target,
					 "<block> must be a power of two from 1024 KiB up");
	if (memory->size_kib % block || memory->requested_kib % block)
		return conf_domain_error(error, BERTH_ERR_INVALID, target,
					 "<size> and <requested> must be multiples of <block>");
	return memory->requested_kib <= memory->size_kib ||
	       conf_domain_error(error, BERTH_ERR_INVALID, target, "<requested> is more than <size>");
}

static bool read_target(struct conf_domain *conf, struct conf_domain_memory *memory, const xmlNode *node,
			GError **error)
{
	const xmlNode *target = xml_child(node, "target");
	if (!target)
		return conf_domain_error(error, BERTH_ERR_INVALID, node, "<target> is missing");
	if (!read_size(target, "size", true, &memory->size_kib, error) ||
	    !read_node(conf, memory, target, error))
		return false;
	if (!memory->size_kib || memory->size_kib % MIB_KIB)
		return conf_domain_error(error, BERTH_ERR_INVALID, target,
					 "<size> must be a multiple of 1 MiB");
	if (memory->virtio)
		return read_size(target, "block", true, &memory->block_kib, error) &&
		       read_size(target, "requested", true, &memory->requested_kib, error) &&
		       read_size(target, "current", false, &memory->current_kib, error) &&
		       check_blocks(memory, target, error);
	return !xml_child(target, "block") && !xml_child(target, "requested") ? true :
	       conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, target,
				 "<block> and <requested> are for model='virtio-mem'");
}

/* <address type='dimm' slot= base=>; a virtio-mem's is PCI's. */
static bool read_slot(struct conf_domain_memory *memory, const xmlNode *node, GError **error)
{
	const xmlNode *address = xml_child(node, "address");
	g_autofree char *type = xml_attribute(address, "type"), *slot = xml_attribute(address, "slot");
	g_autofree char *base = xml_attribute(address, "base");
	uint64_t number = CONF_DOMAIN_NO_SLOT;
	if (!CONF_DOMAIN_ONE_OF(address, "address type", type, error, "dimm"))
		return false;
	if ((slot && !units_parse_number(slot, 0, SLOTS_MAX - 1, &number, NULL)) ||
	    (base && !units_parse_number(base, 0, INT64_MAX, &memory->base, NULL)))
		return conf_domain_error(error, BERTH_ERR_INVALID, address,
					 "slot must be from 0 to %u, and base an address", SLOTS_MAX - 1);
	memory->slot = number;
	return true;
}

bool conf_domain_read_memory(struct conf_domain *conf, xmlNode *node, GError **error)
{
	struct conf_domain_memory *memory = g_new0(struct conf_domain_memory, 1);
	g_ptr_array_add(conf->memories, memory);
	g_autofree char *model = xml_attribute(node, "model");
	memory->dev.node = node;
	memory->slot = CONF_DOMAIN_NO_SLOT;
	memory->virtio = g_strcmp0(model, "virtio-mem") == 0;
	memory->dev.on_pci = memory->virtio;
	if (!model)
		return conf_domain_error(error, BERTH_ERR_INVALID, node, "its model is missing");
	if (conf_domain_is_microvm(conf))
		return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, node, "microvm takes no memory devices");
	return CONF_DOMAIN_ONE_OF(node, "model", model, error, "dimm", "virtio-mem") &&
	       read_source(conf, memory, node, error) && read_target(conf, memory, node, error) &&
	       (memory->virtio || read_slot(memory, node, error));
}

/* --- The whole -------------------------------------------------------------------------------- */

static bool slot_is_taken(const struct conf_domain *conf, const struct conf_domain_memory *self, unsigned slot)
{
	for (unsigned i = 0; i < conf->memories->len; i++) {
		const struct conf_domain_memory *other = conf->memories->pdata[i];
		if (other != self && other->slot == slot)
			return true;
	}
	return false;
}

static bool place_module(const struct conf_domain *conf, struct conf_domain_memory *memory, GError **error)
{
	unsigned slot = memory->slot;
	if (slot == CONF_DOMAIN_NO_SLOT) {
		for (slot = 0; slot < conf->memory_slots && slot_is_taken(conf, memory, slot);)
			slot++;
	}
	if (slot >= conf->memory_slots || slot_is_taken(conf, memory, slot))
		return conf_domain_error(error, BERTH_ERR_INVALID, memory->dev.node,
					 "memory device slot %u is taken, or exceeds slots count %u of <maxMemory>",
					 slot, conf->memory_slots);
	memory->slot = slot;
	xmlNode *address = xml_child(memory->dev.node, "address");
	if (!address)
		address = xmlNewChild(memory->dev.node, NULL, (const xmlChar *)"address", NULL);
	char text[16];
	snprintf(text, sizeof(text), "%u", slot);
	xmlSetProp(address, (const xmlChar *)"type", (const xmlChar *)"dimm");
	xmlSetProp(address, (const xmlChar *)"slot", (const xmlChar *)text);
	return true;
}

static bool read_maximum(struct conf_domain *conf, xmlNode *root, GError **error)
{
	xmlNode *node = xml_child(root, "maxMemory");
	g_autofree char *slots = xml_attribute(node, "slots");
	uint64_t count = 0;
	const struct conf_domain_memory *first = conf->memories->len ? conf->memories->pdata[0] : NULL;
	if (!node)
		return !first ||
		       conf_domain_error(error, BERTH_ERR_INVALID, first->dev.node,
					 "cannot use a memory device when domain <maxMemory> is not defined");
	if (!slots || !units_parse_number(slots, 1, SLOTS_MAX, &count, NULL))
		return conf_domain_error(error, BERTH_ERR_INVALID, node, "slots must be from 1 to %u", SLOTS_MAX);
	conf->memory_slots = count;
	if (!conf_domain_read_kib(node, &conf->max_memory_kib, error))
		return false;
	if (conf_domain_is_microvm(conf) || !conf->acpi)
		return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, node,
					 "memory is plugged into machine q35 with <acpi/> only");
	conf_domain_set_kib(node, conf->max_memory_kib);
	return true;
}

/* What is in the guest at power-on, and what is all. */
static bool add_up(struct conf_domain *conf, xmlNode *root, GError **error)
{
	uint64_t cells = 0, devices = 0;
	for (unsigned i = 0; i < conf->cells->len; i++)
		cells += g_array_index(conf->cells, struct conf_domain_cell, i).memory_kib;
	for (unsigned i = 0; i < conf->memories->len; i++)
		devices += ((const struct conf_domain_memory *)conf->memories->pdata[i])->size_kib;
	xmlNode *memory = xml_child(root, "memory");
	if (!cells && devices >= conf->memory_kib)
		return conf_domain_error(error, BERTH_ERR_INVALID, memory,
					 "the memory devices have all of it: it counts them in");
	conf->boot_kib = cells ? cells : conf->memory_kib - devices;
	conf->memory_kib = conf->boot_kib + devices;
	conf->current_kib = MIN(conf->current_kib, conf->memory_kib);
	conf_domain_set_kib(memory, conf->memory_kib);
	conf_domain_set_kib(xml_child(root, "currentMemory"), conf->current_kib);
	return !conf->max_memory_kib || conf->memory_kib <= conf->max_memory_kib ||
	       conf_domain_error(error, BERTH_ERR_INVALID, xml_child(root, "maxMemory"),
				 "the domain's memory is more: %" G_GUINT64_FORMAT " KiB", conf->memory_kib);
}

bool conf_domain_complete_memory(struct conf_domain *conf, xmlNode *root, bool live, GError **error)
{
	if (!read_maximum(conf, root, error) || !add_up(conf, root, error))
		return false;
	for (unsigned i = 0; i < conf->memories->len; i++) {
		struct conf_domain_memory *memory = conf->memories->pdata[i];
		xmlNode *target = xml_child(memory->dev.node, "target"), *current = xml_child(target, "current");
		if (!memory->virtio && !place_module(conf, memory, error))
			return false;
		/* How much the guest has is a running one's only. */
		if (current && !live) {
			xmlUnlinkNode(current);
			xmlFreeNode(current);
		}
	}
	return true;
}

uint64_t conf_domain_ram_kib(const struct conf_domain *conf)
{
	uint64_t sum = conf->boot_kib;
	for (unsigned i = 0; i < conf->memories->len; i++) {
		const struct conf_domain_memory *memory = conf->memories->pdata[i];
		sum += memory->virtio ? 0 : memory->size_kib;
	}
	return sum;
}

void conf_domain_set_plugged(struct conf_domain_memory *memory, uint64_t kib)
{
	xmlNode *target = xml_child(memory->dev.node, "target"), *current = xml_child(target, "current");
	if (!current)
		current = xmlNewChild(target, NULL, (const xmlChar *)"current", NULL);
	memory->current_kib = kib;
	conf_domain_set_kib(current, kib);
}
