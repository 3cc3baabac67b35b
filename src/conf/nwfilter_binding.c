/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The XML of a filter's binding to a port. */
#include "conf/nwfilter.h"

#include "base/error.h"
#include "conf/grammar.h"
#include "conf/netdev.h"
#include "conf/vm.h"

#include <string.h>

static const char *const rows[] = {
	"filterbinding",
	"filterbinding/owner",
	"filterbinding/owner/name",
	"filterbinding/owner/uuid",
	"filterbinding/portdev name",
	"filterbinding/linkdev name",
	"filterbinding/mac address",
	"filterbinding/filterref filter",
	"filterbinding/filterref/parameter name value",
};

static bool read_device(const xmlNode *root, const char *element, bool needed, char **name,
			GError **error)
{
	const xmlNode *node = xml_child(root, element);
	*name = node ? xml_attribute(node, "name") : NULL;
	if (*name && !conf_is_device_name(*name))
		return error_set(error, BERTH_ERR_INVALID,
				 "'%s' of <%s> is no name of a network device: " CONF_DEVICE_NAME_RULE,
				 *name, element);
	if (!*name && (node || needed))
		return error_set(error, BERTH_ERR_INVALID, "filter binding has no %s name", element);
	return true;
}

static bool read_mac(struct conf_nwfilter_binding *binding, const xmlNode *root, GError **error)
{
	static const struct conf_nwfilter_attribute mac = {"mac address", CONF_NWFILTER_MAC, 0, 0, 0};
	const xmlNode *node = xml_child(root, "mac");
	g_autofree char *text = node ? xml_attribute(node, "address") : NULL;
	if (!text)
		return error_set(error, BERTH_ERR_INVALID, "filter binding has no MAC address");
	return (binding->mac = conf_nwfilter_value_check(&mac, text, error)) != NULL;
}

static bool read_owner(struct conf_nwfilter_binding *binding, const xmlNode *root, GError **error)
{
	const xmlNode *owner = xml_child(root, "owner");
	uint8_t uuid[16];
	binding->owner_name = owner ? xml_child_text(owner, "name") : NULL;
	binding->owner_uuid = owner ? xml_child_text(owner, "uuid") : NULL;
	if (!binding->owner_name || !*binding->owner_name)
		return error_set(error, BERTH_ERR_INVALID, "filter binding has no owner name");
	if (!binding->owner_uuid || !conf_uuid_parse(binding->owner_uuid, uuid, NULL))
		return error_set(error, BERTH_ERR_INVALID, "filter binding has no or a malformed owner UUID");
	return true;
}

struct conf_nwfilter_binding *conf_nwfilter_binding_parse(const char *text, GError **error)
{
	static const struct conf_grammar grammar = {rows, G_N_ELEMENTS(rows), NULL, 0};
	g_autoptr(xmlDoc) doc = xml_parse(text, "nwfilterbinding_definition", error);
	if (!doc)
		return NULL;
	const xmlNode *root = xmlDocGetRootElement(doc);
	if (!xml_is(root, "filterbinding")) {
		error_set(error, BERTH_ERR_INVALID, "unknown root element '%s' for nw filter binding",
			  root->name);
		return NULL;
	}
	auto_conf_nwfilter_binding binding = g_new0(struct conf_nwfilter_binding, 1);
	if (!conf_grammar_check(&grammar, root, error) ||
	    !read_device(root, "portdev", true, &binding->port, error) ||
	    !read_device(root, "linkdev", false, &binding->link, error) ||
	    !read_mac(binding, root, error) || !read_owner(binding, root, error))
		return NULL;
	const xmlNode *reference = xml_child(root, "filterref");
	if (!reference)
		error_set(error, BERTH_ERR_INVALID, "filter binding has no filter reference");
	else if ((binding->reference = conf_nwfilter_reference_read(reference, error)))
		return g_steal_pointer(&binding);
	return NULL;
}

char *conf_nwfilter_binding_format(const struct conf_nwfilter_binding *binding)
{
	struct xml_writer w = xml_writer_new();
	xml_open(&w, "filterbinding", NULL);
	xml_open(&w, "owner", NULL);
	xml_leaf(&w, "name", binding->owner_name, NULL);
	xml_leaf(&w, "uuid", binding->owner_uuid, NULL);
	xml_close(&w, "owner");
	xml_empty(&w, "portdev", "name", binding->port, NULL);
	if (binding->link)
		xml_empty(&w, "linkdev", "name", binding->link, NULL);
	xml_empty(&w, "mac", "address", binding->mac, NULL);
	conf_nwfilter_reference_write(&w, binding->reference);
	xml_close(&w, "filterbinding");
	return xml_writer_take(&w);
}

void conf_nwfilter_binding_free(struct conf_nwfilter_binding *binding)
{
	if (!binding)
		return;
	g_free(binding->owner_name);
	g_free(binding->owner_uuid);
	g_free(binding->port);
	g_free(binding->link);
	g_free(binding->mac);
	conf_nwfilter_reference_free(binding->reference);
	g_free(binding);
}
