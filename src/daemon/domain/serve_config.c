/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is said about a domain, its name, and its memory. */
#include "daemon/domain/domain.h"
#include "daemon/domain/moment.h"

#include "daemon/domain/change.h"
#include "daemon/domain/notify.h"
#include "daemon/domain/vmm.h"
#include "daemon/rpc/serve.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* --- Title, description, metadata ------------------------------------------------------------- */

enum metadata_type { METADATA_DESCRIPTION, METADATA_TITLE, METADATA_ELEMENT };

struct metadata {
	enum metadata_type type;
	char *text, *key, *uri; /* text NULL: to be removed */
};

static void metadata_free(void *opaque)
{
	struct metadata *m = opaque;
	g_free(m->text);
	g_free(m->key);
	g_free(m->uri);
	g_free(m);
}

static void remove_node(xmlNode *node)
{
	if (!node)
		return;
	xmlUnlinkNode(node);
	xmlFreeNode(node);
}

/* <title> and <description> come behind name and uuid. */
static void set_text(xmlNode *root, const char *element, const char *text)
{
	remove_node(xml_child(root, element));
	if (!text || !*text)
		return;
	xmlNode *node = xmlNewDocNode(root->doc, NULL, (const xmlChar *)element, NULL);
	xmlNode *before = xml_child(root, "uuid");
	xmlNodeAddContent(node, (const xmlChar *)text);
	xmlAddNextSibling(before ? before : xml_child(root, "name"), node);
}

static xmlNode *find_element(const xmlNode *root, const char *uri)
{
	xml_for_each(node, xml_child(root, "metadata"), NULL) {
		if (node->ns && g_strcmp0((const char *)node->ns->href, uri) == 0)
			return node;
	}
	return NULL;
}

static bool set_element(xmlNode *root, const struct metadata *m, GError **error)
{
	remove_node(find_element(root, m->uri));
	if (!m->text)
		return true;
	g_autoptr(GError) cause = NULL;
	g_autoptr(xmlDoc) doc = xml_parse(m->text, "metadata_xml", &cause);
	if (!doc)
		return virt_error(error, VIRT_FROM_DOMAIN, VIRT_XML_DETAIL, "%s", cause->message);
	xmlNode *parent = xml_child(root, "metadata");
	if (!parent) {
		parent = xmlNewDocNode(root->doc, NULL, (const xmlChar *)"metadata", NULL);
		xmlAddPrevSibling(xml_child(root, "memory"), parent);
	}
	xmlNode *copy = xmlDocCopyNode(xmlDocGetRootElement(doc), root->doc, 1);
	xmlAddChild(parent, copy);
	xmlSetNs(copy, xmlNewNs(copy, (const xmlChar *)m->uri, (const xmlChar *)m->key));
	return true;
}

static bool edit_metadata(xmlNode *root, void *opaque, GError **error)
{
	const struct metadata *m = opaque;
	if (m->type == METADATA_ELEMENT)
		return set_element(root, m, error);
	set_text(root, m->type == METADATA_TITLE ? "title" : "description", m->text);
	return true;
}

static void metadata_changed(struct domain *dom, const struct domain_change *change)
{
	const struct metadata *m = change->opaque;
	notify_metadata(dom, m->type, m->uri);
}

void serve_domain_set_metadata(struct rpc_call *call,
			       const struct remote_domain_set_metadata_args *args)
{
	struct domain *dom = domain_find(call, &args->dom);
	GError *error = NULL;
	if (!dom || !rpc_call_check_flags(call, args->flags, CHANGE_LIVE | CHANGE_CONFIG))
		return;
	if (args->type < METADATA_DESCRIPTION || args->type > METADATA_ELEMENT)
		virt_error(&error, VIRT_FROM_DOMAIN, VIRT_INVALID_ARG, "unknown metadata type %d",
			   args->type);
	else if (args->type == METADATA_TITLE && args->metadata && strchr(args->metadata, '\n'))
		virt_error(&error, VIRT_FROM_DOMAIN, VIRT_INVALID_ARG,
			   "metadata title can't contain newlines");
	else if (args->type == METADATA_ELEMENT && (!args->uri || (args->metadata && !args->key)))
		virt_error(&error, VIRT_FROM_DOMAIN, VIRT_INVALID_ARG,
			   "an element needs a key and a URI");
	if (error) {
		rpc_call_fail(call, error);
		return;
	}
	struct metadata *m = g_new(struct metadata, 1);
	*m = (struct metadata){args->type, g_strdup(args->metadata), g_strdup(args->key),
			       g_strdup(args->uri)};
	struct domain_change *change = change_new(args->flags, edit_metadata, m, metadata_free);
	change->applied = metadata_changed;
	change_submit(dom, call, change);
}

static void strip_namespace(xmlNode *node, const char *uri)
{
	if (node->ns && g_strcmp0((const char *)node->ns->href, uri) == 0)
		node->ns = NULL;
	xml_for_each(child, node, NULL)
		strip_namespace(child, uri);
}

/* As the client gave it: without the namespace, which it names by `uri`. */
static char *element_text(const xmlNode *root, const char *uri)
{
	xmlNode *node = uri ? find_element(root, uri) : NULL;
	if (!node)
		return NULL;
	g_autoptr(xmlDoc) doc = xmlNewDoc((const xmlChar *)"1.0");
	xmlNode *copy = xmlDocCopyNode(node, doc, 1);
	xmlDocSetRootElement(doc, copy);
	strip_namespace(copy, uri);
	/* The first declaration is the one that was added when it was set. */
	xmlNs *declared = copy->nsDef;
	if (declared) {
		copy->nsDef = declared->next;
		declared->next = NULL;
		xmlFreeNs(declared);
	}
	xmlBuffer *buffer = xmlBufferCreate();
	xmlNodeDump(buffer, doc, copy, 0, 1);
	char *text = g_strdup((const char *)xmlBufferContent(buffer));
	xmlBufferFree(buffer);
	return text;
}

void serve_domain_get_metadata(struct rpc_call *call,
			       const struct remote_domain_get_metadata_args *args)
{
	struct domain *dom = domain_find(call, &args->dom);
	GError *error = NULL;
	bool live, config;
	if (!dom || !rpc_call_check_flags(call, args->flags, CHANGE_LIVE | CHANGE_CONFIG))
		return;
	if (!change_resolve(dom, args->flags, &live, &config, &error)) {
		rpc_call_fail(call, error);
		return;
	}
	g_autoptr(xmlDoc) doc = conf_domain_copy_doc(live ? dom->live : dom->definition);
	const xmlNode *root = xmlDocGetRootElement(doc);
	g_autofree char *text = args->type == METADATA_ELEMENT ? element_text(root, args->uri)
		: xml_child_text(root, args->type == METADATA_TITLE ? "title" : "description");
	if (text) {
		rpc_call_reply(call, &(struct remote_domain_get_metadata_ret){text});
		return;
	}
	virt_error(&error, VIRT_FROM_DOMAIN, VIRT_NO_METADATA,
		   "Requested metadata element is not present");
	rpc_call_fail(call, error);
}

/* --- Name ----------------------------------------------------------------------------------- */

struct renaming {
	struct domain *dom;
	char *name;
	bool reserved;
};

static void renaming_free(void *opaque)
{
	struct renaming *renaming = opaque;
	if (renaming->reserved)
		domain_give_up_name(renaming->dom);
	g_free(renaming->name);
	g_free(renaming);
}

/* In its turn: what the domain is by then counts, and others may want the name as well. */
static bool edit_name(xmlNode *root, void *opaque, GError **error)
{
	struct renaming *renaming = opaque;
	const struct domain *dom = renaming->dom;
	if (dom->vmm)
		return virt_error(error, VIRT_FROM_DOMAIN, VIRT_OPERATION_INVALID,
				  "cannot rename active domain");
	if (dom->snapshots->list->len)
		return virt_error(error, VIRT_FROM_DOMAIN, VIRT_OPERATION_INVALID,
				  "cannot rename domain with snapshots");
	if (dom->checkpoints->list->len)
		return virt_error(error, VIRT_FROM_DOMAIN, VIRT_OPERATION_INVALID,
				  "cannot rename domain with checkpoints");
	renaming->reserved = domain_reserve_name(renaming->dom, renaming->name);
	if (!renaming->reserved)
		return virt_error(error, VIRT_FROM_DOMAIN, VIRT_OPERATION_INVALID,
				  "domain with name '%s' already exists", renaming->name);
	xmlNode *name = xml_child(root, "name");
	xmlNodeSetContent(name, NULL);
	xmlNodeAddContent(name, (const xmlChar *)renaming->name);
	return true;
}

static void renamed(struct domain *dom, const struct domain_change *change)
{
	enum { UNDEFINED_RENAMED = 1, DEFINED_RENAMED = 2 };
	struct renaming *renaming = change->opaque;
	domain_emit(dom, EVENT_UNDEFINED, UNDEFINED_RENAMED);
	domain_rename(dom);
	renaming->reserved = false;
	domain_emit(dom, EVENT_DEFINED, DEFINED_RENAMED);
}

void serve_domain_rename(struct rpc_call *call, const struct remote_domain_rename_args *args)
{
	struct domain *dom = domain_find(call, &args->dom);
	GError *error = NULL;
	if (!dom || !rpc_call_check_flags(call, args->flags, 0))
		return;
	if (!args->new_name || !*args->new_name) {
		virt_error(&error, VIRT_FROM_DOMAIN, VIRT_INVALID_ARG, "a domain needs a name");
		rpc_call_fail(call, error);
		return;
	}
	if (!rpc_call_may(call, RPC_DOMAIN, args->new_name))
		return;
	struct renaming *renaming = g_new(struct renaming, 1);
	*renaming = (struct renaming){dom, g_strdup(args->new_name), false};
	struct domain_change *change = change_new(CHANGE_CONFIG, edit_name, renaming, renaming_free);
	static const struct remote_domain_rename_ret done = {0};
	change->applied = renamed;
	change->ret = &done;
	change_submit(dom, call, change);
}

/* --- Memory --------------------------------------------------------------------------------- */

struct memory {
	uint64_t kib;
	bool maximum;
};

static bool edit_memory(xmlNode *root, void *opaque, GError **error)
{
	const struct memory *memory = opaque;
	char text[32];
	snprintf(text, sizeof(text), "%" PRIu64, memory->kib);
	xmlNode *current = xml_child(root, "currentMemory");
	if (!memory->maximum) {
		xmlNodeSetContent(current, (const xmlChar *)text);
		return true;
	}
	xmlNodeSetContent(xml_child(root, "memory"), (const xmlChar *)text);
	g_autofree char *now = xml_text(current);
	if (g_ascii_strtoull(now, NULL, 10) > memory->kib)
		xmlNodeSetContent(current, (const xmlChar *)text);
	return true;
}

/* The guest gives pages back when it can: the event tells how far it has come. */
static bool plan_memory(struct domain_change *change, const struct conf_domain *old,
			const struct conf_domain *next, GError **error)
{
	const struct memory *memory = change->opaque;
	if (!old->balloon)
		return virt_error(error, VIRT_FROM_QEMU, VIRT_OPERATION_INVALID,
				  "Unable to change memory of active domain without the balloon device and "
				  "guest OS balloon driver");
	change_add_step(change, "balloon", json_pack("{s:I}", "value", (json_int_t)(memory->kib * 1024)),
			NULL, NULL);
	return true;
}

static void set_memory(struct rpc_call *call, const struct remote_domain *wire, uint64_t kib,
		       uint32_t flags)
{
	enum { MAXIMUM = 4 };
	struct domain *dom = domain_find(call, wire);
	GError *error = NULL;
	bool live, config, maximum = flags & MAXIMUM;
	if (!dom || !rpc_call_check_flags(call, flags, CHANGE_LIVE | CHANGE_CONFIG | MAXIMUM))
		return;
	if (!change_resolve(dom, flags, &live, &config, &error))
		;
	else if (maximum && live)
		virt_error(&error, VIRT_FROM_QEMU, VIRT_OPERATION_INVALID,
			   "cannot resize the maximum memory on an active domain");
	else if (kib == 0 || kib > INT64_MAX / 1024)
		virt_error(&error, VIRT_FROM_QEMU, VIRT_INVALID_ARG, "memory of %" PRIu64 " KiB", kib);
	else if (!maximum && kib > (live ? dom->live : dom->definition)->memory_kib)
		virt_error(&error, VIRT_FROM_QEMU, VIRT_INVALID_ARG,
			   "cannot set memory higher than max memory");
	if (error) {
		rpc_call_fail(call, error);
		return;
	}
	struct memory *memory = g_new(struct memory, 1);
	*memory = (struct memory){kib, maximum};
	struct domain_change *change =
		change_new(flags & (CHANGE_LIVE | CHANGE_CONFIG), edit_memory, memory, g_free);
	change->plan = plan_memory;
	change_submit(dom, call, change);
}

void serve_domain_set_memory(struct rpc_call *call, const struct remote_domain_set_memory_args *args)
{
	set_memory(call, &args->dom, args->memory, CHANGE_LIVE);
}

void serve_domain_set_max_memory(struct rpc_call *call,
				 const struct remote_domain_set_max_memory_args *args)
{
	enum { MAXIMUM = 4 };
	set_memory(call, &args->dom, args->memory, MAXIMUM);
}

void serve_domain_set_memory_flags(struct rpc_call *call,
				   const struct remote_domain_set_memory_flags_args *args)
{
	set_memory(call, &args->dom, args->memory, args->flags);
}

struct period {
	unsigned seconds;
};

static bool edit_period(xmlNode *root, void *opaque, GError **error)
{
	const struct period *period = opaque;
	xmlNode *balloon = xml_child(xml_child(root, "devices"), "memballoon");
	char text[16];
	snprintf(text, sizeof(text), "%u", period->seconds);
	if (!balloon)
		return virt_error(error, VIRT_FROM_QEMU, VIRT_OPERATION_INVALID,
				  "the domain has no memory balloon");
	remove_node(xml_child(balloon, "stats"));
	if (period->seconds)
		xmlSetProp(xmlNewChild(balloon, NULL, (const xmlChar *)"stats", NULL),
			   (const xmlChar *)"period", (const xmlChar *)text);
	return true;
}

static bool plan_period(struct domain_change *change, const struct conf_domain *old,
			const struct conf_domain *next, GError **error)
{
	const struct period *period = change->opaque;
	if (!old->balloon)
		return virt_error(error, VIRT_FROM_QEMU, VIRT_OPERATION_INVALID,
				  "the domain has no memory balloon");
	g_autofree char *path = g_strdup_printf("/machine/peripheral/%s", old->balloon->alias);
	change_add_step(change, "qom-set",
			json_pack("{s:s, s:s, s:i}", "path", path, "property",
				  "guest-stats-polling-interval", "value", (int)period->seconds), NULL, NULL);
	return true;
}

void serve_domain_set_memory_stats_period(
	struct rpc_call *call, const struct remote_domain_set_memory_stats_period_args *args)
{
	enum { LONGEST = 86400 };
	struct domain *dom = domain_find(call, &args->dom);
	GError *error = NULL;
	if (!dom || !rpc_call_check_flags(call, args->flags, CHANGE_LIVE | CHANGE_CONFIG))
		return;
	if (args->period < 0 || args->period > LONGEST) {
		virt_error(&error, VIRT_FROM_DOMAIN, VIRT_INVALID_ARG,
			   "a period of %d s: it is 0 (off) to %d s", args->period, LONGEST);
		rpc_call_fail(call, error);
		return;
	}
	struct period *period = g_new(struct period, 1);
	period->seconds = args->period;
	struct domain_change *change = change_new(args->flags, edit_period, period, g_free);
	change->plan = plan_period;
	change_submit(dom, call, change);
}
