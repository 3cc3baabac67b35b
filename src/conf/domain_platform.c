/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a domain's XML says of the machine itself: boot, CPU, clock, features, and its end. */
#include "conf/domain.h"

#include "base/error.h"
#include "base/units.h"

#include <string.h>

/* --- Machine and boot ----------------------------------------------------------------------- */

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

/* Debian's OVMF, which firmware='efi' asks for by its kind. */
#define OVMF_CODE "/usr/share/OVMF/OVMF_CODE_4M.fd"
#define OVMF_VARS "/usr/share/OVMF/OVMF_VARS_4M.fd"

static xmlNode *child_after(xmlNode *parent, const char *before, const char *name)
{
	xmlNode *node = xml_child(parent, name);
	if (node)
		return node;
	node = xmlNewDocNode(parent->doc, NULL, (const xmlChar *)name, NULL);
	xmlAddNextSibling(xml_child(parent, before), node);
	return node;
}

/* The document names the files from then on, as libvirt's does. */
static bool expand_firmware(xmlNode *os, GError **error)
{
	g_autofree char *kind = xml_attribute(os, "firmware");
	if (!CONF_DOMAIN_ONE_OF(os, "firmware", kind, error, "bios", "efi"))
		return false;
	xml_for_each(feature, xml_child(os, "firmware"), "feature") {
		g_autofree char *enabled = xml_attribute(feature, "enabled");
		g_autofree char *name = xml_attribute(feature, "name");
		if (!CONF_DOMAIN_ONE_OF(feature, "feature", name, error, "secure-boot", "enrolled-keys") ||
		    !CONF_DOMAIN_ONE_OF(feature, "enabled", enabled, error, "no"))
			return false;
	}
	if (g_strcmp0(kind, "efi") != 0 || xml_child(os, "loader"))
		return true;
	xmlNode *loader = child_after(os, "type", "loader");
	xmlNodeSetContent(loader, (const xmlChar *)OVMF_CODE);
	xmlSetProp(loader, (const xmlChar *)"readonly", (const xmlChar *)"yes");
	xmlSetProp(loader, (const xmlChar *)"type", (const xmlChar *)"pflash");
	return true;
}

static bool read_loader(struct conf_domain *conf, xmlNode *os, GError **error)
{
	if (!expand_firmware(os, error))
		return false;
	xmlNode *loader = xml_child(os, "loader");
	g_autofree char *type = xml_attribute(loader, "type");
	g_autofree char *readonly = xml_attribute(loader, "readonly");
	if (!loader)
		return true;
	if (!CONF_DOMAIN_ONE_OF(loader, "type", type, error, "rom", "pflash"))
		return false;
	conf->loader = xml_text(loader);
	conf->flash = g_strcmp0(type, "pflash") == 0;
	conf->loader_writable = g_strcmp0(readonly, "yes") != 0;
	if (!conf->flash || conf->loader_writable)
		return true;
	xmlNode *nvram = child_after(os, "loader", "nvram");
	conf->nvram_template = xml_attribute(nvram, "template");
	if (!conf->nvram_template && strcmp(conf->loader, OVMF_CODE) == 0) {
		xmlSetProp(nvram, (const xmlChar *)"template", (const xmlChar *)OVMF_VARS);
		conf->nvram_template = g_strdup(OVMF_VARS);
	}
	g_autofree char *path = xml_text(nvram);
	if (*path)
		conf->nvram = g_steal_pointer(&path);
	return true;
}

/* As in libvirt, a domain that does not say from what it boots does so from its disks. */
static void add_boot(const struct conf_domain *conf, xmlNode *root, xmlNode *os)
{
	xml_for_each(device, xml_child(root, "devices"), NULL) {
		if (xml_child(device, "boot"))
			return;
	}
	if (!xml_child(os, "boot") && !conf_domain_is_microvm(conf))
		xmlSetProp(xmlNewChild(os, NULL, (const xmlChar *)"boot", NULL), (const xmlChar *)"dev",
			   (const xmlChar *)"hd");
}

bool conf_domain_read_os(struct conf_domain *conf, xmlNode *root, GError **error)
{
	xmlNode *os = xml_child(root, "os"), *type = xml_child(os, "type");
	if (!type)
		return error_set(error, BERTH_ERR_INVALID, "an os <type> must be specified");
	if (!read_machine(conf, type, error))
		return false;
	conf->kernel = xml_child_text(os, "kernel");
	conf->initrd = xml_child_text(os, "initrd");
	conf->cmdline = xml_child_text(os, "cmdline");
	add_boot(conf, root, os);
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
	return read_loader(conf, os, error);
}

/* --- CPU ------------------------------------------------------------------------------------ */

static bool read_topology(struct conf_domain *conf, const xmlNode *node, GError **error)
{
	static const char *const names[] = {"sockets", "dies", "cores", "threads"};
	unsigned *const fields[] = {&conf->topology.sockets, &conf->topology.dies,
				    &conf->topology.cores, &conf->topology.threads};
	uint64_t product = 1, value;
	for (unsigned i = 0; node && i < G_N_ELEMENTS(names); i++) {
		g_autofree char *text = xml_attribute(node, names[i]);
		if (!text && strcmp(names[i], "dies") != 0)
			return conf_domain_error(error, BERTH_ERR_INVALID, node, "%s is missing", names[i]);
		if (!units_parse_number(text ? text : "1", 1, UINT16_MAX, &value, NULL))
			return conf_domain_error(error, BERTH_ERR_INVALID, node,
						 "%s='%s' must be a number from 1", names[i], text);
		*fields[i] = value;
		product *= value;
	}
	if (node && product != conf->max_vcpus)
		return conf_domain_error(error, BERTH_ERR_INVALID, node,
					 "CPU topology doesn't match maximum vcpu count");
	return true;
}

/* "-cpu MODEL,+this,-that": what may be taken away or added; the VMM refuses what it cannot give. */
static bool read_cpu_features(const xmlNode *cpu, GString *text, GError **error)
{
	xml_for_each(feature, cpu, "feature") {
		g_autofree char *name = xml_attribute(feature, "name");
		g_autofree char *policy = xml_attribute(feature, "policy");
		if (!name || strpbrk(name, ",=+ "))
			return conf_domain_error(error, BERTH_ERR_INVALID, feature, "its name is missing");
		if (!CONF_DOMAIN_ONE_OF(feature, "policy", policy, error, "require", "disable"))
			return false;
		g_string_append_printf(text, ",%s=%s", name,
				       g_strcmp0(policy, "disable") == 0 ? "off" : "on");
	}
	return true;
}

/*
 * Must the guest get every feature, or does it start without what there is not? As libvirt does it, "partial"
 * looks at models that KVM is to show only; elsewhere it means what "none" does.
 */
static bool needs_all_features(const struct conf_domain *conf, const char *mode, const char *check)
{
	return g_strcmp0(check, "full") == 0 ||
	       (g_strcmp0(check, "partial") == 0 && conf->kvm && (!mode || strcmp(mode, "custom") == 0));
}

/* host-model is the host's CPU without what could not be moved to another host of its kind. */
static bool read_cpu(struct conf_domain *conf, xmlNode *root, GError **error)
{
	xmlNode *cpu = xml_child(root, "cpu");
	g_autofree char *mode = xml_attribute(cpu, "mode"), *match = xml_attribute(cpu, "match");
	g_autofree char *model = cpu ? xml_child_text(cpu, "model") : NULL;
	g_autofree char *check = xml_attribute(cpu, "check");
	g_autofree char *migratable = xml_attribute(cpu, "migratable");
	g_autoptr(GString) text = g_string_new(NULL);
	if (!cpu)
		return true;
	if (!CONF_DOMAIN_ONE_OF(cpu, "match", match, error, "exact") ||
	    !CONF_DOMAIN_ONE_OF(cpu, "migratable", migratable, error, "on", "off") ||
	    !CONF_DOMAIN_ONE_OF(cpu, "check", check, error, "none", "partial", "full") ||
	    !CONF_DOMAIN_ONE_OF(cpu, "mode", mode, error, "custom", "host-model", "host-passthrough",
				"maximum") ||
	    !read_topology(conf, xml_child(cpu, "topology"), error))
		return false;
	if (g_strcmp0(mode, "host-passthrough") == 0)
		g_string_printf(text, "host%s",
				g_strcmp0(migratable, "on") == 0 ? ",migratable=on" : "");
	else if (g_strcmp0(mode, "host-model") == 0)
		g_string_assign(text, conf->kvm ? "host,migratable=on" : "max");
	else if (g_strcmp0(mode, "maximum") == 0)
		g_string_assign(text, "max");
	else if (model && strpbrk(model, ",=+ "))
		return conf_domain_error(error, BERTH_ERR_INVALID, cpu, "'%s' is no <model>", model);
	else if (model)
		g_string_assign(text, model);
	else if (xml_child(cpu, "feature"))
		return conf_domain_error(error, BERTH_ERR_INVALID, cpu, "features need a <model>");
	if (!read_cpu_features(cpu, text, error))
		return false;
	if (text->len && needs_all_features(conf, mode, check))
		g_string_append(text, ",enforce");
	conf->cpu = text->len ? g_strdup(text->str) : NULL;
	return true;
}

/* --- Clock ---------------------------------------------------------------------------------- */

/* What each timer may be told: the PIT and HPET do not catch up, and there is no paravirtual clock
 * that could be left out but kvmclock. */
static bool read_timer(struct conf_domain *conf, const xmlNode *timer, GString *cpu, GError **error)
{
	g_autofree char *name = xml_attribute(timer, "name");
	g_autofree char *present = xml_attribute(timer, "present");
	g_autofree char *policy = xml_attribute(timer, "tickpolicy");
	bool absent = g_strcmp0(present, "no") == 0;
	if (!CONF_DOMAIN_ONE_OF(timer, "present", present, error, "yes", "no") ||
	    !CONF_DOMAIN_ONE_OF(timer, "timer", name, error, "rtc", "pit", "hpet", "kvmclock"))
		return false;
	if (g_strcmp0(name, "rtc") == 0) {
		conf->rtc_catchup = g_strcmp0(policy, "catchup") == 0;
		return CONF_DOMAIN_ONE_OF(timer, "present", present, error, "yes") &&
		       CONF_DOMAIN_ONE_OF(timer, "tickpolicy", policy, error, "delay", "catchup");
	}
	if (!CONF_DOMAIN_ONE_OF(timer, "tickpolicy", policy, error, "delay"))
		return false;
	if (g_strcmp0(name, "hpet") == 0)
		conf->no_hpet = absent;
	else if (g_strcmp0(name, "kvmclock") == 0 && absent)
		g_string_append(cpu, ",kvmclock=off");
	else if (absent)
		return CONF_DOMAIN_ONE_OF(timer, "present", present, error, "yes");
	return true;
}

static bool read_clock(struct conf_domain *conf, xmlNode *root, GError **error)
{
	xmlNode *clock = xml_child(root, "clock");
	g_autofree char *offset = xml_attribute(clock, "offset");
	g_autoptr(GString) cpu = g_string_new(NULL);
	conf->localtime = g_strcmp0(offset, "localtime") == 0;
	if (!CONF_DOMAIN_ONE_OF(clock, "offset", offset, error, "utc", "localtime"))
		return false;
	xml_for_each(timer, clock, "timer") {
		if (!read_timer(conf, timer, cpu, error))
			return false;
	}
	if (!cpu->len)
		return true;
	char *text = g_strconcat(conf->cpu ? conf->cpu : "qemu64", cpu->str, NULL);
	g_free(conf->cpu);
	conf->cpu = text;
	return true;
}

/* --- The end -------------------------------------------------------------------------------- */

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

/* Both are offered unless the document says no; a microvm has neither. */
static bool read_sleep(struct conf_domain *conf, const xmlNode *root, GError **error)
{
	const xmlNode *pm = xml_child(root, "pm");
	const xmlNode *memory = xml_child(pm, "suspend-to-mem"), *disk = xml_child(pm, "suspend-to-disk");
	bool s3 = !conf_domain_is_microvm(conf), s4 = s3, can = s3;
	if ((memory && !conf_yes_no(memory, "enabled", &s3, error)) ||
	    (disk && !conf_yes_no(disk, "enabled", &s4, error)))
		return false;
	if (!can && (s3 || s4))
		return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, s3 ? memory : disk,
					 "a microvm does not sleep: leave it out");
	conf->no_sleep = can && !s3;
	conf->no_sleep_on_disk = can && !s4;
	return true;
}

bool conf_domain_read_platform(struct conf_domain *conf, xmlNode *root, GError **error)
{
	conf->acpi = xml_child(xml_child(root, "features"), "acpi") != NULL;
	return read_cpu(conf, root, error) && read_clock(conf, root, error) &&
	       read_sleep(conf, root, error) &&
	       read_action(root, "on_poweroff", CONF_DOMAIN_DESTROY, &conf->on_poweroff, error) &&
	       read_action(root, "on_reboot", CONF_DOMAIN_RESTART, &conf->on_reboot, error) &&
	       read_action(root, "on_crash", CONF_DOMAIN_DESTROY, &conf->on_crash, error) &&
	       check_actions(conf, root, error);
}
