/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/memory.h"

#include "daemon/domain/device_args.h"
#include "daemon/domain/notify.h"
#include "daemon/domain/vmm.h"

#include <string.h>

/* --- As arguments ----------------------------------------------------------------------------- */

json_t *memory_object(const struct conf_domain *conf, const struct conf_domain_memory *memory)
{
	g_autofree char *id = g_strdup_printf("mem%s", memory->dev.alias);
	uint64_t page_kib = memory->page_kib ? memory->page_kib : conf->backing.page_kib;
	bool huge = memory->page_kib ? page_kib > 4 : conf->backing.huge;
	bool file = memory->shared || huge;
	json_t *object = json_pack("{s:s, s:s, s:I}", "qom-type",
				   file ? "memory-backend-memfd" : "memory-backend-ram", "id", id, "size",
				   (json_int_t)memory->size_kib * 1024);
	if (memory->shared)
		json_object_set_new(object, "share", json_true());
	if (memory->discard)
		json_object_set_new(object, "discard-data", json_true());
	if (huge)
		memory_set_huge(object, page_kib);
	/* A virtio-mem takes its memory as the guest plugs it in. */
	if (!memory->virtio && (huge || conf->backing.immediate))
		memory_set_taken(object, &conf->backing);
	else if (huge)
		json_object_set_new(object, "reserve", json_false());
	if (memory->host_nodes)
		memory_bind(object, CONF_NUMA_STRICT, memory->host_nodes);
	else
		memory_bind_cell(object, conf, memory->guest_node);
	return object;
}

json_t *memory_device(const struct conf_domain *conf, const struct conf_domain_memory *memory)
{
	g_autofree char *id = g_strdup_printf("mem%s", memory->dev.alias);
	json_t *device = memory->virtio ? virtio_device(conf, "virtio-mem", &memory->dev) :
					  json_pack("{s:s, s:s, s:i}", "driver", "pc-dimm", "id",
						    memory->dev.alias, "slot", (int)memory->slot);
	json_object_set_new(device, "memdev", json_string(id));
	json_object_set_new(device, "node", json_integer(memory->guest_node));
	if (memory->base)
		json_object_set_new(device, memory->virtio ? "memaddr" : "addr",
				    json_integer((json_int_t)memory->base));
	if (!memory->virtio)
		return device;
	json_object_set_new(device, "block-size", json_integer((json_int_t)memory->block_kib * 1024));
	json_object_set_new(device, "requested-size", json_integer((json_int_t)memory->requested_kib * 1024));
	return device;
}

char *memory_size(const struct conf_domain *conf)
{
	if (conf->max_memory_kib <= conf->boot_kib)
		return g_strdup_printf("%" G_GUINT64_FORMAT "k", conf->boot_kib);
	return g_strdup_printf("%" G_GUINT64_FORMAT "k,slots=%u,maxmem=%" G_GUINT64_FORMAT "k", conf->boot_kib,
			       conf->memory_slots, conf->max_memory_kib);
}

/* --- In the document ---------------------------------------------------------------------------- */

static bool same_attribute(const xmlNode *a, const xmlNode *b, const char *child, const char *name)
{
	g_autofree char *of_a = conf_domain_child_attribute(a, child, name);
	g_autofree char *of_b = conf_domain_child_attribute(b, child, name);
	return g_strcmp0(of_a, of_b) == 0;
}

/* Without the child, nothing speaks against it. */
static bool fits(const xmlNode *node, const xmlNode *wanted, const char *child, const char *const *names)
{
	if (!xml_child(wanted, child))
		return true;
	for (; *names; names++) {
		if (!same_attribute(node, wanted, child, *names))
			return false;
	}
	return true;
}

static uint64_t amount(const xmlNode *parent, const char *name)
{
	uint64_t kib = 0;
	const xmlNode *node = xml_child(parent, name);
	return node && conf_domain_read_kib(node, &kib, NULL) ? kib : 0;
}

static bool is_alike(const xmlNode *node, const xmlNode *wanted)
{
	const xmlNode *its = xml_child(node, "target"), *target = xml_child(wanted, "target");
	g_autofree char *model = xml_attribute(node, "model"), *other = xml_attribute(wanted, "model");
	g_autofree char *its_cell = its ? xml_child_text(its, "node") : NULL;
	g_autofree char *cell = target ? xml_child_text(target, "node") : NULL;
	return g_strcmp0(model, other) == 0 &&
	       (!target || (amount(its, "size") == amount(target, "size") &&
			    g_strcmp0(its_cell ? its_cell : "0", cell ? cell : "0") == 0));
}

xmlNode *memory_find(const xmlNode *devices, const xmlNode *wanted)
{
	static const char *const alias[] = {"name", NULL}, *const place[] = {"type", "bus", "slot", "function",
									      NULL};
	xml_for_each(node, devices, "memory") {
		if (fits(node, wanted, "alias", alias) && fits(node, wanted, "address", place) &&
		    is_alike(node, wanted))
			return node;
	}
	return NULL;
}

static void add_to(xmlNode *node, uint64_t kib, bool added)
{
	uint64_t before = 0;
	if (node && conf_domain_read_kib(node, &before, NULL))
		conf_domain_set_kib(node, added ? before + kib : before - MIN(before, kib));
}

void memory_count(xmlNode *root, const xmlNode *device, bool added)
{
	g_autofree char *model = xml_attribute(device, "model");
	uint64_t size = amount(xml_child(device, "target"), "size");
	add_to(xml_child(root, "memory"), size, added);
	/* What a virtio-mem has is not the balloon's. */
	if (g_strcmp0(model, "dimm") == 0)
		add_to(xml_child(root, "currentMemory"), size, added);
}

/* --- Changes ------------------------------------------------------------------------------------ */

void memory_plan_attach(struct domain_change *change, const struct conf_domain *conf,
			const struct conf_domain_memory *memory)
{
	json_t *object = memory_object(conf, memory);
	json_t *id = json_pack("{s:O}", "id", json_object_get(object, "id"));
	change_add_step(change, "object-add", object, "object-del", id);
	change_add_step(change, "device_add", memory_device(conf, memory), NULL, NULL);
}

bool memory_plan_update(struct domain_change *change, const struct conf_domain_memory *old,
			const struct conf_domain_memory *next, GError **error)
{
	if (!old->virtio || !next->virtio || old->size_kib != next->size_kib ||
	    old->block_kib != next->block_kib || old->guest_node != next->guest_node ||
	    old->shared != next->shared || old->discard != next->discard || old->page_kib != next->page_kib ||
	    g_strcmp0(old->host_nodes, next->host_nodes) != 0)
		return virt_error(error, VIRT_FROM_QEMU, VIRT_OPERATION_UNSUPPORTED,
				  "of a running domain's memory devices only <requested> of a virtio-mem can be "
				  "changed");
	g_autofree char *path = g_strdup_printf("/machine/peripheral/%s", old->dev.alias);
	change_add_step(change, "qom-set",
			json_pack("{s:s, s:s, s:I}", "path", path, "property", "requested-size", "value",
				  (json_int_t)next->requested_kib * 1024), NULL, NULL);
	return true;
}

uint64_t memory_module_kib(const struct conf_domain_memory *memory)
{
	return memory->virtio ? 0 : memory->size_kib;
}

void memory_changed(struct domain *dom, uint64_t module_kib, bool added)
{
	/* 0: the balloon has not told anything yet. */
	if (dom->balloon_kib)
		dom->balloon_kib = added ? dom->balloon_kib + module_kib :
					   dom->balloon_kib - MIN(dom->balloon_kib, module_kib);
}

void memory_resized(struct domain *dom, const char *alias, uint64_t bytes)
{
	for (unsigned i = 0; dom->live && i < dom->live->memories->len; i++) {
		struct conf_domain_memory *memory = dom->live->memories->pdata[i];
		uint64_t kib = MIN(bytes / 1024, memory->size_kib);
		if (!memory->virtio || g_strcmp0(memory->dev.alias, alias) != 0 || memory->current_kib == kib)
			continue;
		conf_domain_set_plugged(memory, kib);
		vmm_save_live(dom);
		notify_memory_size(dom, alias, memory->current_kib);
	}
}

static void on_devices(void *opaque, json_t *result, const GError *error)
{
	struct domain *dom = opaque;
	size_t index;
	json_t *device;
	json_array_foreach(error ? NULL : result, index, device) {
		const json_t *data = json_object_get(device, "data");
		json_int_t size = json_integer_value(json_object_get(data, "size"));
		memory_resized(dom, json_string_value(json_object_get(data, "id")), MAX(size, 0));
	}
	domain_unpin(dom);
}

void memory_recall(struct domain *dom)
{
	bool resizes = false;
	for (unsigned i = 0; i < dom->live->memories->len; i++)
		resizes |= ((const struct conf_domain_memory *)dom->live->memories->pdata[i])->virtio;
	if (resizes)
		vmm_execute(dom, "query-memory-devices", NULL, on_devices, domain_pin(dom));
}
