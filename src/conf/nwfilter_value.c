/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Values of a filter's attributes, variables, and the parameters that give them values. */
#include "conf/nwfilter.h"

#include "base/error.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

enum { MAX_ITERATOR = 1000, MAX_ELEMENT = 65535 };

struct name {
	const char *name;
	uint32_t number;
};
static const struct name ethertypes[] = {{"arp", 0x0806},  {"rarp", 0x8035}, {"ipv4", 0x0800},
					 {"ipv6", 0x86dd}, {"vlan", 0x8100}, {NULL, 0}};
static const struct name opcodes[] = {
	{"Request", 1}, {"Reply", 2}, {"Request_Reverse", 3}, {"Reply_Reverse", 4},
	{"DRARP_Request", 5}, {"DRARP_Reply", 6}, {"DRARP_Error", 7}, {"InARP_Request", 8},
	{"ARP_NAK", 9}, {NULL, 0}};
static const struct name ip_protocols[] = {
	{"tcp", IPPROTO_TCP}, {"udp", IPPROTO_UDP}, {"udplite", IPPROTO_UDPLITE},
	{"esp", IPPROTO_ESP}, {"ah", IPPROTO_AH}, {"icmp", IPPROTO_ICMP}, {"igmp", IPPROTO_IGMP},
	{"sctp", IPPROTO_SCTP}, {"icmpv6", IPPROTO_ICMPV6}, {NULL, 0}};
/* RELATED and INVALID are understood, and refused. */
enum { STATE_NEW = 1, STATE_ESTABLISHED = 2, STATE_NONE = 4, STATE_REFUSED = 8 };
static const struct name states[] = {
	{"NEW", STATE_NEW}, {"ESTABLISHED", STATE_ESTABLISHED}, {"NONE", STATE_NONE},
	{"RELATED", STATE_REFUSED}, {"INVALID", STATE_REFUSED}, {NULL, 0}};
static const struct name tcp_flags[] = {{"FIN", 0x01}, {"SYN", 0x02}, {"RST", 0x04}, {"PSH", 0x08},
					{"ACK", 0x10}, {"URG", 0x20}, {"ALL", 0x3f}, {"NONE", 0},
					{NULL, 0}};

static const struct name *names_of(enum conf_nwfilter_kind kind)
{
	switch (kind) {
	case CONF_NWFILTER_ETHERTYPE: return ethertypes;
	case CONF_NWFILTER_OPCODE: return opcodes;
	case CONF_NWFILTER_IP_PROTOCOL: return ip_protocols;
	default: return NULL;
	}
}

/* --- Values --------------------------------------------------------------------------------- */

static bool read_mac(const char *text, uint8_t mac[6])
{
	for (unsigned i = 0; i < 6; i++) {
		char *end;
		if (!g_ascii_isxdigit(*text))
			return false;
		unsigned long byte = strtoul(text, &end, 16);
		if (byte > 0xff || end - text > 2 || *end != (i < 5 ? ':' : 0))
			return false;
		mac[i] = byte;
		text = end + 1;
	}
	return true;
}

/* Ones, then zeros. Returns how many ones, or -1. */
static int count_ones(const uint8_t *bytes, unsigned length)
{
	unsigned ones = 0;
	while (ones < length * 8 && bytes[ones / 8] & 0x80 >> ones % 8)
		ones++;
	for (unsigned bit = ones; bit < length * 8; bit++) {
		if (bytes[bit / 8] & 0x80 >> bit % 8)
			return -1;
	}
	return ones;
}

static char *check_mac(const char *text, bool is_mask)
{
	uint8_t mac[6];
	if (!read_mac(text, mac) || (is_mask && count_ones(mac, sizeof(mac)) < 0))
		return NULL;
	return g_strdup_printf("%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4],
			       mac[5]);
}

static bool read_number(const char *text, uint64_t max, uint64_t *number)
{
	bool hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
	return hex ? g_ascii_string_to_unsigned(text + 2, 16, 0, max, number, NULL)
		   : g_ascii_string_to_unsigned(text, 10, 0, max, number, NULL);
}

static char *check_address(int family, const char *text)
{
	uint8_t bytes[16];
	char written[INET6_ADDRSTRLEN];
	if (inet_pton(family, text, bytes) != 1)
		return NULL;
	return g_strdup(inet_ntop(family, bytes, written, sizeof(written)));
}

/* A prefix length, or a mask written as an address. */
static char *check_address_mask(int family, const char *text)
{
	uint8_t bytes[16];
	unsigned length = family == AF_INET ? 4 : 16;
	uint64_t bits;
	if (g_ascii_string_to_unsigned(text, 10, 0, length * 8, &bits, NULL))
		return g_strdup_printf("%u", (unsigned)bits);
	int ones = inet_pton(family, text, bytes) == 1 ? count_ones(bytes, length) : -1;
	return ones < 0 ? NULL : g_strdup_printf("%d", ones);
}

static char *check_number(const char *text, uint64_t max)
{
	uint64_t number;
	if (!read_number(text, max, &number))
		return NULL;
	return g_strdup_printf(text[1] == 'x' || text[1] == 'X' ? "0x%x" : "%u", (unsigned)number);
}

static char *check_named(enum conf_nwfilter_kind kind, const char *text)
{
	uint64_t number = UINT64_MAX;
	for (const struct name *row = names_of(kind); row->name; row++) {
		if (!g_ascii_strcasecmp(row->name, text))
			return g_strdup(row->name);
	}
	if (!read_number(text, kind == CONF_NWFILTER_IP_PROTOCOL ? UINT8_MAX : UINT16_MAX, &number) ||
	    (kind == CONF_NWFILTER_ETHERTYPE && number < 0x600))
		return NULL;
	for (const struct name *row = names_of(kind); row->name; row++) {
		if (row->number == number)
			return g_strdup(row->name);
	}
	return kind == CONF_NWFILTER_OPCODE ? g_strdup_printf("%u", (unsigned)number)
					    : check_number(text, UINT16_MAX);
}

/* Words with commas between them to bits. */
static bool read_words(const struct name *names, const char *text, uint32_t *bits)
{
	g_auto(GStrv) words = g_strsplit(text, ",", 32);
	*bits = 0;
	for (char **word = words; *word; word++) {
		const struct name *row = names;
		g_strstrip(*word);
		while (row->name && g_ascii_strcasecmp(row->name, *word) != 0)
			row++;
		if (!row->name)
			return false;
		*bits |= row->number;
	}
	return *words != NULL;
}

/* A name that is a single bit for each that is set. */
static char *write_words(const struct name *names, uint32_t bits)
{
	GString *text = g_string_new(NULL);
	for (const struct name *row = names; row->name; row++) {
		if (row->number && (row->number & (row->number - 1)) == 0 && bits & row->number)
			g_string_append_printf(text, "%s%s", text->len ? "," : "", row->name);
	}
	return g_string_free(text, FALSE);
}

static char *check_state(const char *text, GError **error)
{
	uint32_t bits;
	if (!read_words(states, text, &bits))
		return NULL;
	if (bits & STATE_REFUSED) {
		error_set(error, BERTH_ERR_NOT_SUPPORTED,
			  "Berth does not support the states RELATED and INVALID, only NEW, "
			  "ESTABLISHED and NONE: it keeps flows of a port, not connections");
		return NULL;
	}
	return bits & STATE_NONE ? g_strdup("NONE") : write_words(states, bits);
}

static char *write_tcp_flags(uint32_t bits)
{
	return bits == 0 ? g_strdup("NONE") : bits == 0x3f ? g_strdup("ALL")
							    : write_words(tcp_flags, bits);
}

/* "mask/flags" */
static char *check_tcp_flags(const char *text)
{
	g_auto(GStrv) halves = g_strsplit(text, "/", 2);
	uint32_t mask, flags;
	if (g_strv_length(halves) != 2 || !read_words(tcp_flags, halves[0], &mask) ||
	    !read_words(tcp_flags, halves[1], &flags))
		return NULL;
	g_autofree char *first = write_tcp_flags(mask), *second = write_tcp_flags(flags);
	return g_strconcat(first, "/", second, NULL);
}

static char *check(const struct conf_nwfilter_attribute *attribute, const char *text, GError **error)
{
	switch (attribute->kind) {
	case CONF_NWFILTER_MAC: return check_mac(text, false);
	case CONF_NWFILTER_MAC_MASK: return check_mac(text, true);
	case CONF_NWFILTER_IPV4: return check_address(AF_INET, text);
	case CONF_NWFILTER_IPV6: return check_address(AF_INET6, text);
	case CONF_NWFILTER_IPV4_MASK: return check_address_mask(AF_INET, text);
	case CONF_NWFILTER_IPV6_MASK: return check_address_mask(AF_INET6, text);
	case CONF_NWFILTER_NUMBER: return check_number(text, attribute->max);
	case CONF_NWFILTER_ETHERTYPE:
	case CONF_NWFILTER_OPCODE:
	case CONF_NWFILTER_IP_PROTOCOL: return check_named(attribute->kind, text);
	case CONF_NWFILTER_STATE: return check_state(text, error);
	case CONF_NWFILTER_TCP_FLAGS: return check_tcp_flags(text);
	case CONF_NWFILTER_TEXT: return g_strdup(text);
	}
	return NULL;
}

char *conf_nwfilter_value_check(const struct conf_nwfilter_attribute *attribute, const char *text,
				GError **error)
{
	GError *cause = NULL;
	char *checked = check(attribute, text, &cause);
	if (!checked && !cause)
		error_set(&cause, BERTH_ERR_INVALID, "%s has illegal value %s", attribute->name, text);
	if (cause)
		g_propagate_error(error, cause);
	return checked;
}

uint32_t conf_nwfilter_value_number(const struct conf_nwfilter_attribute *attribute, const char *text)
{
	uint64_t number = 0;
	for (const struct name *row = names_of(attribute->kind); row && row->name; row++) {
		if (!strcmp(row->name, text))
			return row->number;
	}
	read_number(text, UINT32_MAX, &number);
	return number;
}

/* --- Variables ------------------------------------------------------------------------------ */

#define NAME_LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"

bool conf_nwfilter_variable_read(const char *text, struct conf_nwfilter_variable *variable,
				 GError **error)
{
	size_t length = strspn(text, NAME_LETTERS);
	const char *rest = text + length;
	g_autofree char *inside = NULL;
	uint64_t number = 0;
	bool element = false;
	if (!length)
		return error_set(error, BERTH_ERR_INVALID, "Malformatted variable '%s'", text);
	if (*rest == '[' && g_str_has_suffix(rest, "]")) {
		inside = g_strstrip(g_strndup(rest + 1, strlen(rest) - 2));
		element = *inside != '@';
		if (!g_ascii_string_to_unsigned(inside + !element, 10, 0,
						element ? MAX_ELEMENT : MAX_ITERATOR, &number, NULL))
			return error_set(error, BERTH_ERR_INVALID, "Malformatted %s '%s' of variable '%s'",
					 element ? "array index" : "iterator id", inside, text);
	} else if (*rest) {
		return error_set(error, BERTH_ERR_INVALID, "Malformatted variable '%s'", text);
	}
	variable->name = g_strndup(text, length);
	variable->element = element;
	variable->number = number;
	return true;
}

char *conf_nwfilter_variable_write(const struct conf_nwfilter_variable *variable)
{
	if (variable->element)
		return g_strdup_printf("%s[%u]", variable->name, variable->number);
	return variable->number ? g_strdup_printf("%s[@%u]", variable->name, variable->number)
				: g_strdup(variable->name);
}

struct conf_nwfilter_value *conf_nwfilter_value_read(const struct conf_nwfilter_attribute *attribute,
						     const char *text, bool negated, GError **error)
{
	struct conf_nwfilter_value *value = g_new0(struct conf_nwfilter_value, 1);
	value->attribute = attribute;
	value->negated = negated;
	bool good;
	if (*text == '$' && attribute->kind != CONF_NWFILTER_TEXT) {
		g_autofree char *name = g_strstrip(g_strdup(text + 1));
		good = conf_nwfilter_variable_read(name, &value->variable, error);
	} else {
		good = (value->text = conf_nwfilter_value_check(attribute, text, error)) != NULL;
	}
	if (good)
		return value;
	conf_nwfilter_value_free(value);
	return NULL;
}

void conf_nwfilter_value_free(struct conf_nwfilter_value *value)
{
	g_free(value->text);
	g_free(value->variable.name);
	g_free(value);
}

/* --- Parameters ----------------------------------------------------------------------------- */

conf_nwfilter_parameters *conf_nwfilter_parameters_new(void)
{
	return g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_ptr_array_unref);
}

void conf_nwfilter_parameters_add(conf_nwfilter_parameters *parameters, const char *name,
				  const char *value)
{
	GPtrArray *values = g_hash_table_lookup(parameters, name);
	if (!values) {
		values = g_ptr_array_new_with_free_func(g_free);
		g_hash_table_insert(parameters, g_strdup(name), values);
	}
	g_ptr_array_add(values, g_strdup(value));
}

void conf_nwfilter_parameters_merge(conf_nwfilter_parameters *parameters,
				    const conf_nwfilter_parameters *more)
{
	GHashTableIter iter;
	void *name, *values;
	g_hash_table_iter_init(&iter, (GHashTable *)more);
	while (g_hash_table_iter_next(&iter, &name, &values))
		g_hash_table_replace(parameters, g_strdup(name), g_ptr_array_ref(values));
}

static bool read_parameter(conf_nwfilter_parameters *parameters, const xmlNode *node, GError **error)
{
	g_autofree char *name = xml_attribute(node, "name"), *value = xml_attribute(node, "value");
	if (!name || !*name || name[strspn(name, NAME_LETTERS)])
		return error_set(error, BERTH_ERR_INVALID, "'%s' is no name of a filter's parameter",
				 name ? name : "");
	if (!value || !*value || value[strspn(value, NAME_LETTERS ".:")])
		return error_set(error, BERTH_ERR_INVALID,
				 "'%s' is no value of the filter's parameter '%s'", value ? value : "",
				 name);
	conf_nwfilter_parameters_add(parameters, name, value);
	return true;
}

struct conf_nwfilter_reference *conf_nwfilter_reference_read(const xmlNode *node, GError **error)
{
	g_autofree char *filter = xml_attribute(node, "filter");
	if (!filter || !*filter) {
		error_set(error, BERTH_ERR_INVALID, "filterref requires the attribute 'filter'");
		return NULL;
	}
	g_autoptr(GHashTable) parameters = conf_nwfilter_parameters_new();
	xml_for_each(child, node, "parameter") {
		if (!read_parameter(parameters, child, error))
			return NULL;
	}
	struct conf_nwfilter_reference *reference = g_new0(struct conf_nwfilter_reference, 1);
	reference->filter = g_steal_pointer(&filter);
	reference->parameters = g_steal_pointer(&parameters);
	return reference;
}

void conf_nwfilter_reference_write(struct xml_writer *w,
				   const struct conf_nwfilter_reference *reference)
{
	if (!g_hash_table_size(reference->parameters)) {
		xml_empty(w, "filterref", "filter", reference->filter, NULL);
		return;
	}
	g_autoptr(GList) names = g_list_sort(g_hash_table_get_keys(reference->parameters),
					     (GCompareFunc)strcmp);
	xml_open(w, "filterref", "filter", reference->filter, NULL);
	for (const GList *link = names; link; link = link->next) {
		const GPtrArray *values = g_hash_table_lookup(reference->parameters, link->data);
		for (unsigned i = 0; i < values->len; i++)
			xml_empty(w, "parameter", "name", link->data, "value", values->pdata[i], NULL);
	}
	xml_close(w, "filterref");
}

struct conf_nwfilter_reference *
conf_nwfilter_reference_copy(const struct conf_nwfilter_reference *reference)
{
	struct conf_nwfilter_reference *copy = g_new0(struct conf_nwfilter_reference, 1);
	copy->filter = g_strdup(reference->filter);
	copy->parameters = conf_nwfilter_parameters_new();
	conf_nwfilter_parameters_merge(copy->parameters, reference->parameters);
	return copy;
}

void conf_nwfilter_reference_free(struct conf_nwfilter_reference *reference)
{
	if (!reference)
		return;
	g_free(reference->filter);
	g_hash_table_unref(reference->parameters);
	g_free(reference);
}
