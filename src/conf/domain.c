/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/domain.h"

#include "base/error.h"
#include "base/units.h"
#include "conf/vm.h"

#include <string.h>

enum { MAX_VCPUS = 255 };

void conf_uuid_format(const uint8_t uuid[16], char text[37])
{
	static const char digits[] = "0123456789abcdef";
	char *at = text;
	for (unsigned i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*at++ = '-';
		*at++ = digits[uuid[i] >> 4];
		*at++ = digits[uuid[i] & 15];
	}
	*at = '\0';
}

/* --- Parts ---------------------------------------------------------------------------------- */

/* Put <name>text</name> after `before`, or as the first child. */
static void add_text(xmlNode *parent, xmlNode *before, const char *name, const char *text)
{
	xmlNode *node = xmlNewDocNode(parent->doc, NULL, (const xmlChar *)name, NULL);
	xmlNodeAddContent(node, (const xmlChar *)text);
	if (before)
		xmlAddNextSibling(before, node);
	else
		xmlAddChild(parent, node);
}

static bool is_name(const char *text)
{
	for (const char *c = text; *c; c++) {
		if (*c == '/' || g_ascii_iscntrl(*c))
			return false;
	}
	return *text;
}

static bool read_identity(struct conf_domain *conf, xmlNode *root, GError **error)
{
	g_autofree char *type = xml_attribute(root, "type");
	if (!type)
		return conf_domain_error(error, BERTH_ERR_INTERNAL, root,
					 "missing domain type attribute");
	if (strcmp(type, "kvm") != 0 && strcmp(type, "qemu") != 0)
		return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, root,
					 "domain type '%s': there are kvm and qemu", type);
	conf->kvm = strcmp(type, "kvm") == 0;
	xmlNode *name = xml_child(root, "name");
	conf->name = name ? xml_text(name) : NULL;
	if (!name || !is_name(conf->name))
		return conf_domain_error(error, BERTH_ERR_INVALID, name ? name : root,
					 "a domain needs a name without '/' and control characters");
	conf->title = xml_child_text(root, "title");
	g_autofree char *uuid = xml_child_text(root, "uuid");
	if (!uuid) {
		uuid = g_uuid_string_random();
		add_text(root, name, "uuid", uuid);
	}
	return conf_uuid_parse(uuid, conf->uuid, error);
}

/* Powers of 1024, and of 1000 where the unit ends in B without i. */
static bool parse_kib(const xmlNode *node, const char *text, const char *unit, uint64_t *kib, GError **error)
{
	static const struct {
		const char *unit;
		uint64_t bytes;
	} units[] = {
		{"b", 1}, {"bytes", 1}, {"KB", 1000}, {"k", KIB}, {"KiB", KIB}, {"MB", 1000000},
		{"M", MIB}, {"MiB", MIB}, {"GB", 1000000000}, {"G", GIB}, {"GiB", GIB},
		{"TB", UINT64_C(1000000000000)}, {"T", GIB << 10}, {"TiB", GIB << 10},
	};
	uint64_t bytes = unit ? 0 : KIB, value;
	for (unsigned i = 0; unit && i < G_N_ELEMENTS(units); i++) {
		if (strcmp(units[i].unit, unit) == 0)
			bytes = units[i].bytes;
	}
	if (!bytes)
		return conf_domain_error(error, BERTH_ERR_INVALID, node, "unknown unit '%s'", unit);
	if (!units_parse_number(text, 1, INT64_MAX / bytes, &value, NULL))
		return conf_domain_error(error, BERTH_ERR_INVALID, node, "'%s' is no amount of memory",
					 text);
	*kib = (value * bytes + KIB - 1) / KIB;
	return true;
}

bool conf_domain_read_kib(const xmlNode *node, uint64_t *kib, GError **error)
{
	g_autofree char *unit = xml_attribute(node, "unit"), *text = xml_text(node);
	return parse_kib(node, text, unit, kib, error);
}

bool conf_domain_parse_kib(const xmlNode *node, const char *amount, const char *unit, uint64_t *kib,
			   GError **error)
{
	g_autofree char *its_unit = xml_attribute(node, unit), *text = xml_attribute(node, amount);
	return parse_kib(node, text ? text : "", its_unit, kib, error);
}

void conf_domain_set_kib(xmlNode *node, uint64_t kib)
{
	g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, kib);
	xmlNodeSetContent(node, (const xmlChar *)text);
	xmlSetProp(node, (const xmlChar *)"unit", (const xmlChar *)"KiB");
}

static bool read_memory(struct conf_domain *conf, xmlNode *root, GError **error)
{
	xmlNode *memory = xml_child(root, "memory"), *current = xml_child(root, "currentMemory");
	if (!memory)
		return conf_domain_error(error, BERTH_ERR_INVALID, root, "<memory> is missing");
	if (!conf_domain_read_kib(memory, &conf->memory_kib, error))
		return false;
	g_autofree char *core = xml_attribute(memory, "dumpCore");
	if (!CONF_DOMAIN_ONE_OF(memory, "dumpCore", core, error, "on", "off"))
		return false;
	conf->no_core = g_strcmp0(core, "off") == 0;
	conf->current_kib = conf->memory_kib;
	if (current && !conf_domain_read_kib(current, &conf->current_kib, error))
		return false;
	if (conf->current_kib > conf->memory_kib)
		return conf_domain_error(error, BERTH_ERR_INVALID, current,
					 "more than <memory> gives");
	conf_domain_set_kib(memory, conf->memory_kib);
	if (!current) {
		current = xmlNewDocNode(root->doc, NULL, (const xmlChar *)"currentMemory", NULL);
		xmlAddNextSibling(memory, current);
	}
	conf_domain_set_kib(current, conf->current_kib);
	return true;
}

static bool read_vcpus(struct conf_domain *conf, xmlNode *root, GError **error)
{
	xmlNode *vcpu = xml_child(root, "vcpu");
	uint64_t count = 1, current;
	if (vcpu) {
		g_autofree char *text = xml_text(vcpu), *now = xml_attribute(vcpu, "current");
		if (!units_parse_number(text, 1, MAX_VCPUS, &count, NULL))
			return conf_domain_error(error, BERTH_ERR_INVALID, vcpu,
						 "'%s' must be a number from 1 to %d", text, MAX_VCPUS);
		current = count;
		if (now && !units_parse_number(now, 1, count, &current, NULL))
			return conf_domain_error(error, BERTH_ERR_INVALID, vcpu,
						 "current='%s' must be from 1 to %s", now, text);
	}
	if (!vcpu) {
		add_text(root, xml_child(root, "currentMemory"), "vcpu", "1");
		current = count;
	}
	conf->vcpus = current;
	conf->max_vcpus = count;
	return true;
}

static bool read_all(struct conf_domain *conf, xmlNode *root, bool live, GError **error)
{
	if (!xml_is(root, "domain"))
		return error_set(error, BERTH_ERR_INVALID,
				 "expecting root element of 'domain', not '%s'", root->name);
	xmlNode *devices = xml_child(root, "devices");
	if (!devices)
		devices = xmlNewChild(root, NULL, (const xmlChar *)"devices", NULL);
	if (!read_identity(conf, root, error) || !conf_domain_read_os(conf, root, error) ||
	    !conf_domain_check_names(root, error) || !read_memory(conf, root, error) ||
	    !conf_domain_read_backing(conf, root, error) || !read_vcpus(conf, root, error))
		return false;
	conf_domain_add_defaults(conf, root);
	if (!conf_domain_read_platform(conf, root, error) || !conf_domain_read_seclabels(conf, root, live, error) ||
	    !conf_domain_read_sysinfo(conf, root, error) || !conf_domain_read_iothreads(conf, root, error) ||
	    !conf_domain_read_numa(conf, root, error) || !conf_domain_read_tune(conf, root, error) ||
	    !conf_blkio_read(&conf->blkio, root, error) || !conf_perf_read(&conf->perf, root, error) ||
	    !conf_numatune_read(&conf->numatune, root, conf->cells->len, error) ||
	    !conf_domain_read_devices(conf, devices, error) ||
	    !conf_domain_complete_memory(conf, root, live, error) ||
	    !conf_domain_place_devices(conf, root, live, error))
		return false;
	conf_domain_sort(root);
	return true;
}

/* --- Life ----------------------------------------------------------------------------------- */

static void disk_free(void *opaque)
{
	struct conf_domain_disk *disk = opaque;
	char *const texts[] = {disk->dev.alias, disk->file, disk->format, disk->target, disk->cache,
			       disk->discard, disk->io, disk->serial, disk->iotune.group};
	for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++)
		g_free(texts[i]);
	conf_disk_source_clear(&disk->source);
	g_free(disk);
}

static void nic_free(void *opaque)
{
	struct conf_domain_nic *nic = opaque;
	char *const texts[] = {nic->dev.alias, nic->type, nic->mac, nic->model, nic->source,
			       nic->target, nic->network, nic->portgroup, nic->port, nic->mode,
			       nic->socket, nic->cable_to, nic->cable_from, nic->rom_file};
	for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++)
		g_free(texts[i]);
	conf_nwfilter_reference_free(nic->filter);
	conf_virtualport_clear(&nic->virtualport);
	if (nic->passt)
		g_ptr_array_unref(nic->passt);
	g_free(nic);
}

static void char_free(void *opaque)
{
	struct conf_domain_char *chr = opaque;
	g_free(chr->dev.alias);
	g_free(chr->type);
	g_free(chr->path);
	g_free(chr->name);
	g_free(chr->log);
	g_free(chr);
}

static void filesystem_free(void *opaque)
{
	struct conf_domain_filesystem *fs = opaque;
	g_free(fs->dev.alias);
	g_free(fs->path);
	g_free(fs->tag);
	g_free(fs);
}

static void hostdev_free(void *opaque)
{
	struct conf_domain_hostdev *hostdev = opaque;
	g_free(hostdev->dev.alias);
	g_free(hostdev->host);
	g_free(hostdev->rom_file);
	g_free(hostdev);
}

static void memory_free(void *opaque)
{
	struct conf_domain_memory *memory = opaque;
	g_free(memory->dev.alias);
	g_free(memory->host_nodes);
	g_free(memory);
}

static void cell_clear(void *opaque)
{
	g_free(((struct conf_domain_cell *)opaque)->cpus);
}

/* A controller, the balloon or the rng: the device comes first and owns nothing but its alias. */
static void device_free(void *opaque)
{
	struct conf_domain_device *dev = opaque;
	if (dev)
		g_free(dev->alias);
	g_free(dev);
}

struct conf_domain *conf_domain_parse(const char *text, bool live, GError **error)
{
	xmlDoc *doc = xml_parse(text, "domain_definition", error);
	if (!doc)
		return NULL;
	struct conf_domain *conf = g_new0(struct conf_domain, 1);
	conf->doc = doc;
	conf->disks = g_ptr_array_new_with_free_func(disk_free);
	conf->nics = g_ptr_array_new_with_free_func(nic_free);
	conf->chars = g_ptr_array_new_with_free_func(char_free);
	conf->controllers = g_ptr_array_new_with_free_func(device_free);
	conf->filesystems = g_ptr_array_new_with_free_func(filesystem_free);
	conf->hostdevs = g_ptr_array_new_with_free_func(hostdev_free);
	conf->memories = g_ptr_array_new_with_free_func(memory_free);
	conf->smbios = g_ptr_array_new_with_free_func(g_free);
	conf->iothreads = g_array_new(FALSE, FALSE, sizeof(unsigned));
	conf->cells = g_array_new(FALSE, FALSE, sizeof(struct conf_domain_cell));
	g_array_set_clear_func(conf->cells, cell_clear);
	conf->distances = g_array_new(FALSE, FALSE, sizeof(struct conf_domain_distance));
	xmlNode *root = xmlDocGetRootElement(doc);
	if (!read_all(conf, root, live, error)) {
		conf_domain_free(conf);
		return NULL;
	}
	if (!live)
		conf_domain_nics_unplugged(conf);
	/* The id is a running domain's; what a client sends of an old one means nothing. */
	xmlUnsetProp(root, (const xmlChar *)"id");
	return conf;
}

void conf_domain_free(struct conf_domain *conf)
{
	if (!conf)
		return;
	if (conf->doc)
		xmlFreeDoc(conf->doc);
	GPtrArray *const lists[] = {conf->disks, conf->nics, conf->chars, conf->controllers,
				    conf->filesystems, conf->hostdevs, conf->memories, conf->smbios};
	for (unsigned i = 0; i < G_N_ELEMENTS(lists); i++)
		g_ptr_array_unref(lists[i]);
	g_array_unref(conf->iothreads);
	g_array_unref(conf->cells);
	g_array_unref(conf->distances);
	conf_blkio_clear(&conf->blkio);
	conf_numatune_clear(&conf->numatune);
	device_free(conf->balloon);
	device_free(conf->rng);
	device_free(conf->watchdog);
	char *const texts[] = {conf->name, conf->title, conf->machine, conf->emulator, conf->kernel,
			       conf->initrd, conf->cmdline, conf->loader, conf->nvram, conf->text,
			       conf->nvram_template, conf->boot, conf->cpu, conf->owner, conf->profile,
			       conf->rng_file, conf->watchdog_action};
	for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++)
		g_free(texts[i]);
	g_free(conf);
}

bool conf_domain_is_microvm(const struct conf_domain *conf)
{
	return strcmp(conf->machine, "microvm") == 0;
}

char *conf_domain_format(const struct conf_domain *conf, int id)
{
	if (conf->text)
		return g_strdup(conf->text);
	xmlNode *root = xmlDocGetRootElement(conf->doc);
	/* What a run has added is at the end of its parent. */
	conf_domain_sort(root);
	if (id >= 0) {
		g_autofree char *text = g_strdup_printf("%d", id);
		xmlSetProp(root, (const xmlChar *)"id", (const xmlChar *)text);
	}
	struct xml_writer w = xml_writer_new();
	xml_tree(&w, root);
	xmlUnsetProp(root, (const xmlChar *)"id");
	return xml_writer_take(&w);
}

xmlDoc *conf_domain_copy_doc(const struct conf_domain *conf)
{
	/* The text is what we have written ourselves. */
	return conf->doc ? xmlCopyDoc(conf->doc, 1) : xml_parse(conf->text, "domain_definition", NULL);
}

static bool forget_node(struct conf_domain_device *dev, void *opaque)
{
	dev->node = NULL;
	return true;
}

void conf_domain_compact(struct conf_domain *conf)
{
	if (!conf->doc)
		return;
	/* A copy has the length of the text; the writer's buffer grew in powers of two. */
	g_autofree char *text = conf_domain_format(conf, -1);
	conf->text = g_strdup(text);
	conf_domain_for_each_device(conf, forget_node, NULL);
	xmlFreeDoc(g_steal_pointer(&conf->doc));
}

char *conf_domain_edit(const struct conf_domain *conf, conf_domain_edit_fn *edit, void *opaque,
		       GError **error)
{
	g_autoptr(xmlDoc) copy = conf_domain_copy_doc(conf);
	xmlNode *root = xmlDocGetRootElement(copy);
	if (!edit(root, opaque, error))
		return NULL;
	struct xml_writer w = xml_writer_new();
	xml_tree(&w, root);
	return xml_writer_take(&w);
}
