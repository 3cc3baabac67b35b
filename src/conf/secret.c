/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/secret.h"

#include "base/error.h"
#include "conf/domain.h"
#include "conf/grammar.h"
#include "conf/storage.h"
#include "conf/vm.h"

#include <string.h>

static const char *const rows[] = {
	"secret ephemeral private",
	"secret/uuid",
	"secret/description",
	"secret/usage type",
	"secret/usage/volume",
	"secret/usage/name",
	"secret/usage/target",
};

/* Each kind of use, the element that says of what, and libvirt's words if it is missing. */
static const struct {
	const char *type, *element, *missing;
} usages[CONF_SECRET_USAGES] = {
	[CONF_SECRET_NONE] = {"none", NULL, NULL},
	[CONF_SECRET_VOLUME] = {"volume", "volume",
				"volume usage specified, but volume path is missing"},
	[CONF_SECRET_CEPH] = {"ceph", "name", "Ceph usage specified, but name is missing"},
	[CONF_SECRET_ISCSI] = {"iscsi", "target", "iSCSI usage specified, but target is missing"},
	[CONF_SECRET_TLS] = {"tls", "name", "TLS usage specified, but name is missing"},
	[CONF_SECRET_VTPM] = {"vtpm", "name", "vTPM usage specified, but name is missing"},
};

static bool read_usage(struct conf_secret *secret, const xmlNode *node, GError **error)
{
	if (!node) {
		secret->usage_id = g_strdup("");
		return true;
	}
	g_autofree char *type = xml_attribute(node, "type");
	if (!type)
		return error_set(error, BERTH_ERR_INVALID, "unknown secret usage type");
	unsigned usage = 0;
	while (usage < CONF_SECRET_USAGES && strcmp(usages[usage].type, type) != 0)
		usage++;
	if (usage == CONF_SECRET_USAGES)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED, "unknown secret usage type %s", type);
	secret->usage = usage;
	const char *element = usages[usage].element;
	secret->usage_id = element ? xml_child_text(node, element) : g_strdup("");
	if (!secret->usage_id || (element && !conf_text_is_plain(secret->usage_id)))
		return error_set(error, BERTH_ERR_INTERNAL, "%s", usages[usage].missing);
	return true;
}

static bool read_flag(const xmlNode *root, const char *name, bool *flag, GError **error)
{
	g_autofree char *text = xml_attribute(root, name);
	*flag = g_strcmp0(text, "yes") == 0;
	if (!text || *flag || strcmp(text, "no") == 0)
		return true;
	return error_set(error, BERTH_ERR_INVALID, "invalid value of '%s'", name);
}

static bool read_uuid(struct conf_secret *secret, const xmlNode *root, GError **error)
{
	g_autofree char *uuid = xml_child_text(root, "uuid");
	if (!uuid)
		uuid = g_uuid_string_random();
	return conf_uuid_parse(uuid, secret->uuid, NULL) ||
	       error_set(error, BERTH_ERR_INTERNAL, "malformed uuid element");
}

struct conf_secret *conf_secret_parse(const char *text, GError **error)
{
	static const struct conf_grammar grammar = {rows, G_N_ELEMENTS(rows), NULL, 0};
	g_autoptr(xmlDoc) doc = xml_parse(text, "definition_of_secret", error);
	if (!doc)
		return NULL;
	const xmlNode *root = xmlDocGetRootElement(doc);
	struct conf_secret *secret = g_new0(struct conf_secret, 1);
	secret->description = xml_child_text(root, "description");
	if (!xml_is(root, "secret"))
		error_set(error, BERTH_ERR_INVALID, "expecting root element of 'secret', not '%s'",
			  root->name);
	else if (conf_grammar_check(&grammar, root, error) &&
		 read_flag(root, "ephemeral", &secret->ephemeral, error) &&
		 read_flag(root, "private", &secret->is_private, error) &&
		 read_uuid(secret, root, error) && read_usage(secret, xml_child(root, "usage"), error))
		return secret;
	conf_secret_free(secret);
	return NULL;
}

void conf_secret_free(struct conf_secret *secret)
{
	if (!secret)
		return;
	g_free(secret->usage_id);
	g_free(secret->description);
	g_free(secret);
}

char *conf_secret_format(const struct conf_secret *secret)
{
	struct xml_writer w = xml_writer_new();
	char uuid[37];
	conf_uuid_format(secret->uuid, uuid);
	xml_open(&w, "secret", "ephemeral", secret->ephemeral ? "yes" : "no", "private",
		 secret->is_private ? "yes" : "no", NULL);
	xml_leaf(&w, "uuid", uuid, NULL);
	if (secret->description && *secret->description)
		xml_leaf(&w, "description", secret->description, NULL);
	if (usages[secret->usage].element) {
		xml_open(&w, "usage", "type", usages[secret->usage].type, NULL);
		xml_leaf(&w, usages[secret->usage].element, secret->usage_id, NULL);
		xml_close(&w, "usage");
	}
	xml_close(&w, "secret");
	return xml_writer_take(&w);
}
