/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A filter's XML. */
#include "conf/nwfilter.h"

#include "base/error.h"
#include "conf/domain.h"
#include "conf/grammar.h"
#include "conf/storage.h"
#include "conf/vm.h"

#include <string.h>

enum { MAX_PRIORITY = 1000, DEFAULT_PRIORITY = 500, MAX_CHAIN_NAME = 12 };

/* What may stand in a rule's element is in the tables of nwfilter_protocol.c. */
static const char *const rows[] = {
	"filter name chain priority",
	"filter/uuid",
	"filter/filterref filter",
	"filter/filterref/parameter name value",
	"filter/rule action direction priority statematch",
	"filter/rule/* *",
};
static const char *const actions[] = {"drop", "accept", "reject", "return", "continue", NULL};
static const char *const directions[] = {"in", "out", "inout", NULL};

/* IEEE 802.1D-2004, 7.12.3: frames of spanning trees go to this group. */
#define BRIDGE_GROUP "01:80:c2:00:00:00"
static const struct conf_nwfilter_chain chains[] = {
	{"mac", -800, 0, NULL}, {"stp", -810, 0, BRIDGE_GROUP}, {"vlan", -750, 0x8100, NULL},
	{"ipv4", -700, 0x0800, NULL}, {"ipv6", -600, 0x86dd, NULL}, {"arp", -500, 0x0806, NULL},
	{"rarp", -400, 0x8035, NULL},
};

/* --- Reading -------------------------------------------------------------------------------- */

const struct conf_nwfilter_chain *conf_nwfilter_chain_find(const char *name)
{
	for (size_t i = 0; i < G_N_ELEMENTS(chains); i++) {
		if (g_str_has_prefix(name, chains[i].prefix))
			return &chains[i];
	}
	return NULL;
}

static bool read_priority(const xmlNode *node, int *priority, GError **error)
{
	g_autofree char *text = xml_attribute(node, "priority");
	int64_t number;
	if (!text)
		return true;
	if (!g_ascii_string_to_signed(text, 10, -MAX_PRIORITY, MAX_PRIORITY, &number, NULL))
		return error_set(error, BERTH_ERR_INVALID,
				 "Priority '%s' is outside valid range of [%d,%d]", text, -MAX_PRIORITY,
				 MAX_PRIORITY);
	*priority = number;
	return true;
}

static bool read_word(const xmlNode *node, const char *name, const char *const *words, int *number,
		      GError **error)
{
	g_autofree char *text = xml_attribute(node, name);
	if (!text)
		return error_set(error, BERTH_ERR_INVALID, "rule node requires %s attribute", name);
	for (*number = 0; words[*number]; ++*number) {
		if (!strcmp(words[*number], text))
			return true;
	}
	return error_set(error, BERTH_ERR_NOT_SUPPORTED, "unknown rule %s attribute value '%s'", name,
			 text);
}

static bool has_value(const struct conf_nwfilter_rule *rule,
		      const struct conf_nwfilter_attribute *attribute)
{
	for (unsigned i = 0; i < rule->values->len; i++) {
		if (((struct conf_nwfilter_value *)rule->values->pdata[i])->attribute == attribute)
			return true;
	}
	return false;
}

static bool read_attribute(struct conf_nwfilter_rule *rule, const xmlNode *node, const char *name,
			   bool negated, GError **error)
{
	const struct conf_nwfilter_attribute *attribute =
		conf_nwfilter_attribute_find(rule->protocol, name);
	if (!attribute)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "line %ld, element '%s': Berth does not support the attribute '%s'",
				 xmlGetLineNo(node), node->name, name);
	if (has_value(rule, attribute))
		return error_set(error, BERTH_ERR_INVALID, "line %ld: a rule has '%s' twice",
				 xmlGetLineNo(node), name);
	g_autofree char *text = xml_attribute(node, name);
	struct conf_nwfilter_value *value = conf_nwfilter_value_read(attribute, text, negated, error);
	if (!value)
		return false;
	g_ptr_array_add(rule->values, value);
	return true;
}

/* A rule may have its element twice: once for what must match, once for what must not. */
static bool read_element(struct conf_nwfilter_rule *rule, const xmlNode *node, GError **error)
{
	const struct conf_nwfilter_protocol *protocol =
		conf_nwfilter_protocol_find((const char *)node->name);
	if (!protocol)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "line %ld: Berth does not support <%s> in a rule", xmlGetLineNo(node),
				 node->name);
	if (rule->protocol && rule->protocol != protocol)
		return error_set(error, BERTH_ERR_INVALID,
				 "line %ld: a rule is of one protocol, not of <%s> and <%s>",
				 xmlGetLineNo(node), rule->protocol->name, protocol->name);
	rule->protocol = protocol;
	g_autofree char *match = xml_attribute(node, "match");
	if (match && strcmp(match, "yes") != 0 && strcmp(match, "no") != 0)
		return error_set(error, BERTH_ERR_INVALID, "line %ld: match is 'yes' or 'no', not '%s'",
				 xmlGetLineNo(node), match);
	for (const xmlAttr *row = node->properties; row; row = row->next) {
		const char *name = (const char *)row->name;
		if (strcmp(name, "match") != 0 &&
		    !read_attribute(rule, node, name, match && !strcmp(match, "no"), error))
			return false;
	}
	return true;
}

static int compare_values(const void *a, const void *b)
{
	const struct conf_nwfilter_value *const *one = a, *const *other = b;
	return (*one)->attribute < (*other)->attribute ? -1 : (*one)->attribute > (*other)->attribute;
}

static const struct conf_nwfilter_value *value_of(const struct conf_nwfilter_rule *rule,
						  enum conf_nwfilter_field field,
						  enum conf_nwfilter_part part)
{
	for (unsigned i = 0; i < rule->values->len; i++) {
		const struct conf_nwfilter_value *value = rule->values->pdata[i];
		if (value->attribute->field == field && value->attribute->part == part)
			return value;
	}
	return NULL;
}

/* Ports are of some protocols only; a mask or an end alone means nothing. */
static bool check_rule(const struct conf_nwfilter_rule *rule, GError **error)
{
	for (unsigned i = 0; i < rule->values->len; i++) {
		const struct conf_nwfilter_value *value = rule->values->pdata[i];
		if (value->attribute->part != CONF_NWFILTER_WHOLE &&
		    !value_of(rule, value->attribute->field, CONF_NWFILTER_WHOLE))
			return error_set(error, BERTH_ERR_INVALID,
					 "a rule for %s has '%s' without what it belongs to",
					 rule->protocol->name, value->attribute->name);
	}
	if (!rule->protocol || rule->protocol->layer != CONF_NWFILTER_L2 ||
	    (!value_of(rule, CONF_NWFILTER_SOURCE_PORT, CONF_NWFILTER_WHOLE) &&
	     !value_of(rule, CONF_NWFILTER_DESTINATION_PORT, CONF_NWFILTER_WHOLE)))
		return true;
	static const uint8_t with_ports[] = {6, 17, 33, 132};
	const struct conf_nwfilter_value *number =
		value_of(rule, CONF_NWFILTER_IP_PROTOCOL_NUMBER, CONF_NWFILTER_WHOLE);
	for (unsigned i = 0; number && number->text && i < sizeof(with_ports); i++) {
		if (conf_nwfilter_value_number(number->attribute, number->text) == with_ports[i])
			return true;
	}
	return error_set(error, BERTH_ERR_INVALID,
			 "%s rule with port specification requires protocol specification with protocol "
			 "to be either one of tcp(6), udp(17), dccp(33), or sctp(132)",
			 rule->protocol->ethertype == 0x0800 ? "IP" : "IPv6");
}

static void rule_free(struct conf_nwfilter_rule *rule)
{
	if (!rule)
		return;
	g_ptr_array_unref(rule->values);
	g_free(rule);
}

static struct conf_nwfilter_rule *read_rule(const xmlNode *node, GError **error)
{
	struct conf_nwfilter_rule *rule = g_new0(struct conf_nwfilter_rule, 1);
	rule->values = g_ptr_array_new_with_free_func((GDestroyNotify)conf_nwfilter_value_free);
	rule->priority = DEFAULT_PRIORITY;
	int action = 0, direction = 0;
	g_autofree char *statematch = xml_attribute(node, "statematch");
	rule->stateless = statematch && (!strcmp(statematch, "0") ||
					 !g_ascii_strcasecmp(statematch, "false"));
	bool good = read_word(node, "action", actions, &action, error) &&
		    read_word(node, "direction", directions, &direction, error) &&
		    read_priority(node, &rule->priority, error);
	rule->action = action;
	rule->direction = direction;
	if (good && statematch && !rule->stateless && strcmp(statematch, "1") != 0 &&
	    g_ascii_strcasecmp(statematch, "true") != 0)
		good = error_set(error, BERTH_ERR_INVALID,
				 "statematch is 'true' or 'false', not '%s'", statematch);
	for (const xmlNode *child = xml_child(node, NULL); good && child; child = xml_next(child, NULL))
		good = read_element(rule, child, error);
	g_ptr_array_sort(rule->values, compare_values);
	if (good && check_rule(rule, error))
		return rule;
	rule_free(rule);
	return NULL;
}

static void entry_free(void *opaque)
{
	struct conf_nwfilter_entry *entry = opaque;
	rule_free(entry->rule);
	conf_nwfilter_reference_free(entry->reference);
	g_free(entry);
}

static bool read_entries(struct conf_nwfilter *filter, const xmlNode *root, GError **error)
{
	xml_for_each(child, root, NULL) {
		struct conf_nwfilter_entry *entry = g_new0(struct conf_nwfilter_entry, 1);
		g_ptr_array_add(filter->entries, entry);
		if (xml_is(child, "rule"))
			entry->rule = read_rule(child, error);
		else if (xml_is(child, "filterref"))
			entry->reference = conf_nwfilter_reference_read(child, error);
		else
			g_ptr_array_set_size(filter->entries, filter->entries->len - 1);
		if ((xml_is(child, "rule") && !entry->rule) ||
		    (xml_is(child, "filterref") && !entry->reference))
			return false;
	}
	return true;
}

static bool read_chain(struct conf_nwfilter *filter, const xmlNode *root, GError **error)
{
	filter->chain = xml_attribute(root, "chain");
	const struct conf_nwfilter_chain *chain =
		filter->chain ? conf_nwfilter_chain_find(filter->chain) : NULL;
	if (!filter->chain)
		filter->chain = g_strdup("root");
	else if (chain)
		filter->priority = chain->priority;
	else if (strcmp(filter->chain, "root") != 0)
		return error_set(error, BERTH_ERR_INVALID,
				 "Invalid chain name '%s'. Please use a chain name called 'root' or any of "
				 "the following prefixes: mac, stp, vlan, arp, rarp, ipv4, ipv6",
				 filter->chain);
	if (strlen(filter->chain) > MAX_CHAIN_NAME)
		return error_set(error, BERTH_ERR_INVALID,
				 "Name of chain is longer than %d characters", MAX_CHAIN_NAME);
	for (const char *at = filter->chain; *at; at++) {
		if (!g_ascii_isalnum(*at) && !strchr("_.:-", *at))
			return error_set(error, BERTH_ERR_INVALID,
					 "Chain name contains invalid characters");
	}
	return read_priority(root, &filter->priority, error);
}

static bool read_filter(struct conf_nwfilter *filter, const xmlNode *root, GError **error)
{
	filter->name = xml_attribute(root, "name");
	if (!filter->name || !*filter->name)
		return error_set(error, BERTH_ERR_INVALID, "filter has no name");
	if (strchr(filter->name, '/') || !conf_text_is_plain(filter->name))
		return error_set(error, BERTH_ERR_INVALID,
				 "name %s cannot contain '/' or control characters", filter->name);
	g_autofree char *uuid = xml_child_text(root, "uuid");
	filter->has_uuid = uuid != NULL;
	if (!uuid)
		uuid = g_uuid_string_random();
	if (!conf_uuid_parse(uuid, filter->uuid, NULL))
		return error_set(error, BERTH_ERR_INVALID, "malformed uuid element");
	return read_chain(filter, root, error) && read_entries(filter, root, error);
}

struct conf_nwfilter *conf_nwfilter_parse(const char *text, GError **error)
{
	static const struct conf_grammar grammar = {rows, G_N_ELEMENTS(rows), NULL, 0};
	g_autoptr(xmlDoc) doc = xml_parse(text, "nwfilter_definition", error);
	if (!doc)
		return NULL;
	const xmlNode *root = xmlDocGetRootElement(doc);
	if (!xml_is(root, "filter")) {
		error_set(error, BERTH_ERR_INVALID, "unknown root element '%s' for nw filter",
			  root->name);
		return NULL;
	}
	auto_conf_nwfilter filter = g_new0(struct conf_nwfilter, 1);
	filter->entries = g_ptr_array_new_with_free_func(entry_free);
	if (!conf_grammar_check(&grammar, root, error) || !read_filter(filter, root, error))
		return NULL;
	return g_steal_pointer(&filter);
}

void conf_nwfilter_free(struct conf_nwfilter *filter)
{
	if (!filter)
		return;
	g_free(filter->name);
	g_free(filter->chain);
	g_ptr_array_unref(filter->entries);
	g_free(filter);
}

/* --- Writing -------------------------------------------------------------------------------- */

/* An element for each run of values that are all negated, or all not. */
static void write_element(struct xml_writer *w, const struct conf_nwfilter_rule *rule)
{
	unsigned i = 0;
	do {
		xmlNode *node = xmlNewNode(NULL, (const xmlChar *)rule->protocol->name);
		bool negated = i < rule->values->len &&
			       ((struct conf_nwfilter_value *)rule->values->pdata[i])->negated;
		if (negated)
			xmlNewProp(node, (const xmlChar *)"match", (const xmlChar *)"no");
		for (; i < rule->values->len; i++) {
			const struct conf_nwfilter_value *value = rule->values->pdata[i];
			if (value->negated != negated)
				break;
			g_autofree char *name =
				value->text ? NULL : conf_nwfilter_variable_write(&value->variable);
			g_autofree char *text = name ? g_strconcat("$", name, NULL)
						     : g_strdup(value->text);
			xmlNewProp(node, (const xmlChar *)value->attribute->name,
				   (const xmlChar *)text);
		}
		xml_tree(w, node);
		xmlFreeNode(node);
	} while (i < rule->values->len);
}

static void write_rule(struct xml_writer *w, const struct conf_nwfilter_rule *rule)
{
	g_autofree char *priority = g_strdup_printf("%d", rule->priority);
	const char *statematch = rule->stateless ? "false" : NULL;
	const char *action = actions[rule->action], *direction = directions[rule->direction];
	if (!rule->protocol) {
		xml_empty(w, "rule", "action", action, "direction", direction, "priority", priority,
			  "statematch", statematch, NULL);
		return;
	}
	xml_open(w, "rule", "action", action, "direction", direction, "priority", priority, "statematch",
		 statematch, NULL);
	write_element(w, rule);
	xml_close(w, "rule");
}

char *conf_nwfilter_format(const struct conf_nwfilter *filter)
{
	struct xml_writer w = xml_writer_new();
	char uuid[37];
	conf_uuid_format(filter->uuid, uuid);
	/* libvirt leaves 0 out, and would read it back as the chain's default, where there is one. */
	g_autofree char *priority = filter->priority || conf_nwfilter_chain_find(filter->chain)
					    ? g_strdup_printf("%d", filter->priority) : NULL;
	xml_open(&w, "filter", "name", filter->name, "chain", filter->chain, "priority", priority, NULL);
	xml_leaf(&w, "uuid", uuid, NULL);
	for (unsigned i = 0; i < filter->entries->len; i++) {
		const struct conf_nwfilter_entry *entry = filter->entries->pdata[i];
		if (entry->rule)
			write_rule(&w, entry->rule);
		else
			conf_nwfilter_reference_write(&w, entry->reference);
	}
	xml_close(&w, "filter");
	return xml_writer_take(&w);
}
