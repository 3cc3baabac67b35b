/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/domain.h"

#include "base/error.h"
#include "base/units.h"
#include "conf/vm.h"

#include <string.h>

enum { MAX_VCPUS = 255 };

void conf_uuid_format(const uint8_t uuid[16], char text[37])
{
	char *at = text;
	for (unsigned i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*at++ = '-';
		at += g_snprintf(at, 3, "%02x", uuid[i]);
	}
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

/* <memory unit='KiB'>: powers of 1024, and of 1000 where the unit ends in B without i. */
static bool read_kib(const xmlNode *node, uint64_t *kib, GError **error)
{
	static const struct {
		const char *unit;
		uint64_t bytes;
	} units[] = {
		{"b", 1}, {"bytes", 1}, {"KB", 1000}, {"k", KIB}, {"KiB", KIB}, {"MB", 1000000},
		{"M", MIB}, {"MiB", MIB}, {"GB", 1000000000}, {"G", GIB}, {"GiB", GIB},
		{"TB", UINT64_C(1000000000000)}, {"T", GIB << 10}, {"TiB", GIB << 10},
	};
	g_autofree char *unit = xml_attribute(node, "unit"), *text = xml_text(node);
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

/* As libvirt writes it, whatever unit the client used. */
static void set_kib(xmlNode *node, uint64_t kib)
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
	if (!read_kib(memory, &conf->memory_kib, error))
		return false;
	conf->current_kib = conf->memory_kib;
	if (current && !read_kib(current, &conf->current_kib, error))
		return false;
	if (conf->current_kib > conf->memory_kib)
		return conf_domain_error(error, BERTH_ERR_INVALID, current,
					 "more than <memory> gives");
	set_kib(memory, conf->memory_kib);
	if (!current) {
		current = xmlNewDocNode(root->doc, NULL, (const xmlChar *)"currentMemory", NULL);
		xmlAddNextSibling(memory, current);
	}
	set_kib(current, conf->current_kib);
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
		if (current != count)
			return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, vcpu,
						 "vCPUs cannot be plugged in yet: leave out current");
	}
	conf->vcpus = conf->max_vcpus = count;
	return true;
}

static bool read_machine(struct conf_domain *conf, xmlNode *type, GError **error)
{
	g_autofree char *machine = xml_attribute(type, "machine"), *arch = xml_attribute(type, "arch");
	g_autofree char *text = xml_text(type);
	if (strcmp(text, "hvm") != 0)
		return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, type,
					 "os type '%s': there is hvm", text);
	if (arch && strcmp(arch, "x86_64") != 0)
		return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, type,
					 "Unknown architecture %s: there is x86_64", arch);
	static const char *const q35[] = {"q35", "pc", "pc-q35-7.2", NULL};
	if (!machine || g_strv_contains(q35, machine))
		conf->machine = g_strdup("pc-q35-7.2");
	else if (strcmp(machine, "microvm") == 0)
		conf->machine = g_strdup("microvm");
	else
		return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, type,
					 "machine '%s': there are q35 and microvm", machine);
	xmlSetProp(type, (const xmlChar *)"arch", (const xmlChar *)"x86_64");
	xmlSetProp(type, (const xmlChar *)"machine", (const xmlChar *)conf->machine);
	return true;
}

static bool read_os(struct conf_domain *conf, xmlNode *root, GError **error)
{
	xmlNode *os = xml_child(root, "os"), *type = xml_child(os, "type");
	if (!type)
		return error_set(error, BERTH_ERR_INVALID, "an os <type> must be specified");
	if (!read_machine(conf, type, error))
		return false;
	conf->kernel = xml_child_text(os, "kernel");
	conf->initrd = xml_child_text(os, "initrd");
	conf->cmdline = xml_child_text(os, "cmdline");
	conf->loader = xml_child_text(os, "loader");
	g_autoptr(GString) letters = g_string_new(NULL);
	xml_for_each(boot, os, "boot") {
		g_autofree char *dev = xml_attribute(boot, "dev");
		char letter = g_strcmp0(dev, "hd") == 0 ? 'c' : g_strcmp0(dev, "cdrom") == 0 ? 'd'
			: g_strcmp0(dev, "network") == 0 ? 'n' : 0;
		if (!letter)
			return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, boot,
						 "dev must be hd, cdrom or network");
		g_string_append_c(letters, letter);
	}
	conf->boot = g_strdup(letters->str);
	return true;
}

static bool read_cpu(struct conf_domain *conf, xmlNode *root, GError **error)
{
	xmlNode *cpu = xml_child(root, "cpu"), *model = xml_child(cpu, "model");
	g_autofree char *mode = xml_attribute(cpu, "mode");
	if (!cpu)
		return true;
	if (g_strcmp0(mode, "host-passthrough") == 0)
		conf->cpu = g_strdup("host");
	else if (g_strcmp0(mode, "maximum") == 0)
		conf->cpu = g_strdup("max");
	else if (model && (!mode || strcmp(mode, "custom") == 0))
		conf->cpu = xml_text(model);
	else if (mode)
		return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, cpu,
					 "mode '%s': there are host-passthrough, maximum, and custom "
					 "with a <model>", mode);
	return true;
}

static bool read_clock(struct conf_domain *conf, xmlNode *root, GError **error)
{
	xmlNode *clock = xml_child(root, "clock");
	g_autofree char *offset = xml_attribute(clock, "offset");
	conf->localtime = g_strcmp0(offset, "localtime") == 0;
	if (offset && !conf->localtime && strcmp(offset, "utc") != 0)
		return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, clock,
					 "offset '%s': there are utc and localtime", offset);
	xml_for_each(timer, clock, "timer") {
		g_autofree char *name = xml_attribute(timer, "name");
		g_autofree char *present = xml_attribute(timer, "present");
		if (g_strcmp0(name, "hpet") == 0)
			conf->no_hpet = g_strcmp0(present, "no") == 0;
		else if (g_strcmp0(name, "rtc") != 0 && g_strcmp0(name, "pit") != 0)
			return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, timer,
						 "timer '%s': there are rtc, pit and hpet", name);
	}
	return true;
}

static bool read_action(const xmlNode *root, const char *name, enum conf_domain_action fallback,
			enum conf_domain_action *action, GError **error)
{
	static const char *const names[] = {"destroy", "restart", "preserve"};
	const xmlNode *node = xml_child(root, name);
	*action = fallback;
	if (!node)
		return true;
	g_autofree char *text = xml_text(node);
	for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
		if (strcmp(names[i], text) == 0) {
			*action = i;
			return true;
		}
	}
	return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, node,
				 "'%s': there are destroy, restart and preserve", text);
}

/* What berth-vmm can do at the end of a run. */
static bool check_actions(const struct conf_domain *conf, const xmlNode *root, GError **error)
{
	if (conf->on_poweroff != CONF_DOMAIN_DESTROY)
		return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, xml_child(root, "on_poweroff"),
					 "only destroy is supported");
	if (conf->on_reboot == CONF_DOMAIN_PRESERVE)
		return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, xml_child(root, "on_reboot"),
					 "there are destroy and restart");
	if (conf->on_crash == CONF_DOMAIN_RESTART)
		return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, xml_child(root, "on_crash"),
					 "there are destroy and preserve");
	return true;
}

static bool read_all(struct conf_domain *conf, xmlNode *root, GError **error)
{
	if (!xml_is(root, "domain"))
		return error_set(error, BERTH_ERR_INVALID,
				 "expecting root element of 'domain', not '%s'", root->name);
	conf->acpi = xml_child(xml_child(root, "features"), "acpi") != NULL;
	return read_identity(conf, root, error) && read_os(conf, root, error) &&
	       conf_domain_check_names(root, error) && read_memory(conf, root, error) &&
	       read_vcpus(conf, root, error) && read_cpu(conf, root, error) &&
	       read_clock(conf, root, error) &&
	       read_action(root, "on_poweroff", CONF_DOMAIN_DESTROY, &conf->on_poweroff, error) &&
	       read_action(root, "on_reboot", CONF_DOMAIN_RESTART, &conf->on_reboot, error) &&
	       read_action(root, "on_crash", CONF_DOMAIN_DESTROY, &conf->on_crash, error) &&
	       check_actions(conf, root, error) &&
	       conf_domain_read_devices(conf, xml_child(root, "devices"), error);
}

/* --- Life ----------------------------------------------------------------------------------- */

static void disk_free(void *opaque)
{
	struct conf_domain_disk *disk = opaque;
	char *const texts[] = {disk->file, disk->format, disk->target, disk->cache, disk->discard,
			       disk->io, disk->serial};
	for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++)
		g_free(texts[i]);
	g_free(disk);
}

static void nic_free(void *opaque)
{
	struct conf_domain_nic *nic = opaque;
	g_free(nic->type);
	g_free(nic->mac);
	g_free(nic->model);
	g_free(nic->source);
	g_free(nic->target);
	g_free(nic);
}

static void char_free(void *opaque)
{
	struct conf_domain_char *chr = opaque;
	g_free(chr->alias);
	g_free(chr->type);
	g_free(chr->path);
	g_free(chr->name);
	g_free(chr);
}

struct conf_domain *conf_domain_parse(const char *text, GError **error)
{
	xmlDoc *doc = xml_parse(text, "domain_definition", error);
	if (!doc)
		return NULL;
	struct conf_domain *conf = g_new0(struct conf_domain, 1);
	conf->doc = doc;
	conf->disks = g_ptr_array_new_with_free_func(disk_free);
	conf->nics = g_ptr_array_new_with_free_func(nic_free);
	conf->chars = g_ptr_array_new_with_free_func(char_free);
	xmlNode *root = xmlDocGetRootElement(doc);
	if (!read_all(conf, root, error)) {
		conf_domain_free(conf);
		return NULL;
	}
	/* The id is a running domain's; what a client sends of an old one means nothing. */
	xmlUnsetProp(root, (const xmlChar *)"id");
	return conf;
}

void conf_domain_free(struct conf_domain *conf)
{
	if (!conf)
		return;
	xmlFreeDoc(conf->doc);
	g_ptr_array_unref(conf->disks);
	g_ptr_array_unref(conf->nics);
	g_ptr_array_unref(conf->chars);
	char *const texts[] = {conf->name, conf->title, conf->machine, conf->emulator, conf->kernel,
			       conf->initrd, conf->cmdline, conf->loader, conf->boot, conf->cpu,
			       conf->rng_file};
	for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++)
		g_free(texts[i]);
	g_free(conf);
}

char *conf_domain_format(const struct conf_domain *conf, int id)
{
	xmlNode *root = xmlDocGetRootElement(conf->doc);
	if (id >= 0) {
		g_autofree char *text = g_strdup_printf("%d", id);
		xmlSetProp(root, (const xmlChar *)"id", (const xmlChar *)text);
	}
	struct xml_writer w = xml_writer_new();
	xml_tree(&w, root);
	xmlUnsetProp(root, (const xmlChar *)"id");
	return xml_writer_take(&w);
}
