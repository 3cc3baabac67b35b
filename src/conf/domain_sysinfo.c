/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * <sysinfo type='smbios'>: what the guest's firmware tables say, if <os> has <smbios mode='sysinfo'/>.
 * cloud-init, for one, finds its data source in the system's serial number.
 */
#include "conf/domain.h"

#include "base/error.h"
#include "base/units.h"
#include "codec/keyval.h"

#include <string.h>

/* Which table of SMBIOS a block is, and its entries, which are named as the VMM names them. */
static const struct sysinfo_block {
	const char *element;
	unsigned type;
	const char *const *entries;
} blocks[] = {
	{"bios", 0, (const char *const[]){"vendor", "version", "date", "release", NULL}},
	{"system", 1, (const char *const[]){"manufacturer", "product", "version", "serial", "uuid", "sku",
					    "family", NULL}},
	{"baseBoard", 2, (const char *const[]){"manufacturer", "product", "version", "serial", "asset",
					       "location", NULL}},
	{"chassis", 3, (const char *const[]){"manufacturer", "version", "serial", "asset", "sku", NULL}},
	{"oemStrings", 11, NULL},
};

/* "KEY=VALUE", whose commas are doubled: one of them ends a value in the VMM's lists. */
static void append(GString *option, const char *key, const char *value)
{
	g_string_append_printf(option, ",%s=", key);
	for (; *value; value++) {
		if (*value == ',')
			g_string_append_c(option, ',');
		g_string_append_c(option, *value);
	}
}

static bool read_entry(const struct conf_domain *conf, const xmlNode *node,
		       const struct sysinfo_block *block, GString *option, GError **error)
{
	g_autofree char *name = xml_attribute(node, "name"), *text = xml_text(node);
	if (!block->entries) {
		append(option, "value", text);
		return true;
	}
	if (!name || !g_strv_contains(block->entries, name))
		return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, node,
					 "<%s> has no entry '%s'", block->element, name ? name : "");
	char uuid[37];
	conf_uuid_format(conf->uuid, uuid);
	if (strcmp(name, "uuid") == 0 && g_ascii_strcasecmp(text, uuid) != 0)
		return conf_domain_error(error, BERTH_ERR_INVALID, node,
					 "UUID mismatch between <uuid> and <sysinfo>");
	append(option, name, text);
	return true;
}

static bool read_block(struct conf_domain *conf, const xmlNode *node, GError **error)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(blocks); i++) {
		if (!xml_is(node, blocks[i].element))
			continue;
		g_autoptr(GString) option = g_string_new(NULL);
		g_string_printf(option, "type=%u", blocks[i].type);
		xml_for_each(entry, node, "entry") {
			if (!read_entry(conf, entry, &blocks[i], option, error))
				return false;
		}
		g_ptr_array_add(conf->smbios, g_strdup(option->str));
	}
	return true;
}

bool conf_domain_read_sysinfo(struct conf_domain *conf, xmlNode *root, GError **error)
{
	const xmlNode *sysinfo = xml_child(root, "sysinfo");
	const xmlNode *smbios = xml_child(xml_child(root, "os"), "smbios");
	g_autofree char *type = xml_attribute(sysinfo, "type"), *mode = xml_attribute(smbios, "mode");
	if (!CONF_DOMAIN_ONE_OF(sysinfo, "sysinfo type", type, error, "smbios") ||
	    !CONF_DOMAIN_ONE_OF(smbios, "smbios mode", mode, error, "emulate", "sysinfo"))
		return false;
	bool wanted = g_strcmp0(mode, "sysinfo") == 0;
	if (wanted && !sysinfo)
		return conf_domain_error(error, BERTH_ERR_INVALID, smbios,
					 "Domain requested mode='sysinfo' but has no <sysinfo>");
	if (sysinfo) {
		xml_for_each(block, sysinfo, NULL) {
			if (!read_block(conf, block, error))
				return false;
		}
	}
	if (!wanted)
		g_ptr_array_set_size(conf->smbios, 0);
	return true;
}

/* --- The way back --------------------------------------------------------------------------- */

static const struct sysinfo_block *find_block(uint64_t type)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(blocks); i++) {
		if (blocks[i].type == type)
			return &blocks[i];
	}
	return NULL;
}

static bool write_entry(xmlNode *parent, const struct sysinfo_block *block, const char *key, const char *value,
			GError **error)
{
	bool known = block->entries ? g_strv_contains(block->entries, key) : strcmp(key, "value") == 0;
	if (!known)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "-smbios type=%u: '%s' has no place in a domain's XML: leave it out",
				 block->type, key);
	xmlNode *entry = xmlNewTextChild(parent, NULL, (const xmlChar *)"entry", (const xmlChar *)value);
	if (block->entries)
		xmlSetProp(entry, (const xmlChar *)"name", (const xmlChar *)key);
	return true;
}

static bool write_block(xmlNode *sysinfo, const char *option, GError **error)
{
	auto_keyval kv = keyval_parse(option, NULL, error);
	if (!kv)
		return false;
	g_autofree char *type = keyval_take(kv, "type");
	uint64_t number;
	const struct sysinfo_block *block =
		type && units_parse_number(type, 0, UINT8_MAX, &number, NULL) ? find_block(number) : NULL;
	if (!block)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "-smbios %s has no place in a domain's XML, which has types 0 to 3 and 11", option);
	xmlNode *node = xmlNewChild(sysinfo, NULL, (const xmlChar *)block->element, NULL);
	for (unsigned i = 0; i < keyval_count(kv); i++) {
		if (!write_entry(node, block, kv->keys->pdata[i], kv->values->pdata[i], error))
			return false;
	}
	return true;
}

bool conf_domain_write_sysinfo(xmlNode *root, xmlNode *os, const GPtrArray *smbios, GError **error)
{
	xmlNode *sysinfo = xmlNewChild(root, NULL, (const xmlChar *)"sysinfo", NULL);
	xmlNode *mode = xmlNewChild(os, NULL, (const xmlChar *)"smbios", NULL);
	xmlSetProp(sysinfo, (const xmlChar *)"type", (const xmlChar *)"smbios");
	xmlSetProp(mode, (const xmlChar *)"mode", (const xmlChar *)"sysinfo");
	for (unsigned i = 0; i < smbios->len; i++) {
		if (!write_block(sysinfo, smbios->pdata[i], error))
			return false;
	}
	return true;
}
