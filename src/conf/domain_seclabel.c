/* SPDX-License-Identifier: GPL-2.0-or-later */
/* <seclabel>: whom the VMM runs as ("dac"), and what the kernel lets it open ("apparmor"). */
#include "conf/domain.h"

#include "base/error.h"
#include "conf/device.h"

#include <string.h>

/* Owners are labels only if they are named: who else would choose one? */
static bool read_owner(struct conf_domain *conf, xmlNode *node, GError **error)
{
	g_autofree char *type = xml_attribute(node, "type"), *relabel = xml_attribute(node, "relabel");
	g_autofree char *label = xml_child_text(node, "label");
	if (!CONF_DOMAIN_ONE_OF(node, "type", type ? type : "dynamic", error, "static"))
		return false;
	const char *colon = label ? strchr(label, ':') : NULL;
	if (!colon || colon == label || !colon[1] || strchr(colon + 1, ':'))
		return conf_domain_error(error, BERTH_ERR_INVALID, node, "its <label> must be USER:GROUP");
	if (!relabel)
		xmlSetProp(node, (const xmlChar *)"relabel", (const xmlChar *)"no");
	conf->gives_images = g_strcmp0(relabel, "yes") == 0;
	conf->owner = g_steal_pointer(&label);
	return true;
}

static void drop_child(const xmlNode *node, const char *name)
{
	xmlNode *child = xml_child(node, name);
	if (child) {
		xmlUnlinkNode(child);
		xmlFreeNode(child);
	}
}

/* A profile's name is a word of AppArmor's files, and of the line that is written to the kernel. */
static bool is_profile_name(const char *text)
{
	bool good = text && *text && strlen(text) < 256 && *text != '-';
	for (; good && *text; text++)
		good = g_ascii_isgraph(*text) && !strchr("\"\\", *text);
	return good;
}

static bool read_profile(struct conf_domain *conf, xmlNode *node, bool live, GError **error)
{
	g_autofree char *type = xml_attribute(node, "type"), *relabel = xml_attribute(node, "relabel");
	g_autofree char *label = xml_child_text(node, "label");
	if (!CONF_DOMAIN_ONE_OF(node, "type", type ? type : "dynamic", error, "dynamic", "static", "none"))
		return false;
	if (g_strcmp0(type, "none") == 0) {
		conf->confinement = CONF_DOMAIN_UNCONFINED;
		return true;
	}
	if (g_strcmp0(type, "static") == 0) {
		if (!is_profile_name(label))
			return conf_domain_error(error, BERTH_ERR_INVALID, node,
						 "its <label> must be the name of an AppArmor profile");
		conf->confinement = CONF_DOMAIN_CONFINED_BY;
		conf->profile = g_steal_pointer(&label);
		return true;
	}
	if (g_strcmp0(relabel, "no") == 0)
		return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, node,
					 "relabel='no': a profile that is made for the domain follows its files");
	conf->confinement = CONF_DOMAIN_CONFINED;
	/* What a running domain has; a definition gets another when it runs. */
	if (live && label)
		conf->profile = g_steal_pointer(&label);
	if (!live) {
		drop_child(node, "label");
		drop_child(node, "imagelabel");
	}
	return true;
}

bool conf_domain_read_seclabels(struct conf_domain *conf, xmlNode *root, bool live, GError **error)
{
	const xmlNode *owner = NULL, *profile = NULL;
	xml_for_each(node, root, "seclabel") {
		g_autofree char *type = xml_attribute(node, "type"), *model = xml_attribute(node, "model");
		g_autofree char *relabel = xml_attribute(node, "relabel");
		/* As libvirt: without a model it is the first one's that has more than owners. */
		bool any = !model && g_strcmp0(type, "none") == 0;
		if (!CONF_DOMAIN_ONE_OF(node, "model", any ? "apparmor" : model ? model : "", error, "dac",
					"apparmor") ||
		    !CONF_DOMAIN_ONE_OF(node, "relabel", relabel, error, "yes", "no"))
			return false;
		bool owners = g_strcmp0(model, "dac") == 0;
		const xmlNode **seen = owners ? &owner : &profile;
		if (*seen)
			return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, node,
						 "there can be one only of a model");
		*seen = node;
		if (owners ? !read_owner(conf, node, error) : !read_profile(conf, node, live, error))
			return false;
	}
	return true;
}

void conf_domain_set_profile(struct conf_domain *conf, const char *name)
{
	xmlNode *root = xmlDocGetRootElement(conf->doc), *node = NULL;
	xml_for_each(one, root, "seclabel") {
		g_autofree char *model = xml_attribute(one, "model");
		if (g_strcmp0(model, "apparmor") == 0)
			node = one;
	}
	if (!node)
		node = xmlNewChild(root, NULL, (const xmlChar *)"seclabel", NULL);
	xmlSetProp(node, (const xmlChar *)"type", (const xmlChar *)"dynamic");
	xmlSetProp(node, (const xmlChar *)"model", (const xmlChar *)"apparmor");
	xmlSetProp(node, (const xmlChar *)"relabel", (const xmlChar *)"yes");
	drop_child(node, "label");
	drop_child(node, "imagelabel");
	xmlNewTextChild(node, NULL, (const xmlChar *)"label", (const xmlChar *)name);
	xmlNewTextChild(node, NULL, (const xmlChar *)"imagelabel", (const xmlChar *)name);
	g_free(conf->profile);
	conf->profile = g_strdup(name);
	conf->confinement = CONF_DOMAIN_CONFINED;
}
