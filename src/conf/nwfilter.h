/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Network filters and their bindings to ports as libvirt's XML describes them. A filter is a list of
 * rules and of references to other filters; a rule compares fields of a packet with constants or
 * with variables, which get their values where the filter is used. Constants are kept as text that
 * has been checked and brought to one spelling. What is not understood is refused by name.
 */
#pragma once

#include "codec/xml.h"

#include <stdint.h>

/* What a value looks like. */
enum conf_nwfilter_kind {
	CONF_NWFILTER_MAC, CONF_NWFILTER_MAC_MASK,
	CONF_NWFILTER_IPV4, CONF_NWFILTER_IPV4_MASK, CONF_NWFILTER_IPV6, CONF_NWFILTER_IPV6_MASK,
	CONF_NWFILTER_NUMBER,
	CONF_NWFILTER_ETHERTYPE, CONF_NWFILTER_OPCODE, CONF_NWFILTER_IP_PROTOCOL, /* or a name */
	CONF_NWFILTER_STATE, CONF_NWFILTER_TCP_FLAGS, CONF_NWFILTER_TEXT,
};

/* What of a packet is meant. A mask or an upper end follows its address or lower end. */
enum conf_nwfilter_field {
	CONF_NWFILTER_SOURCE_MAC, CONF_NWFILTER_DESTINATION_MAC, CONF_NWFILTER_PROTOCOL_ID,
	CONF_NWFILTER_VLAN_ID, CONF_NWFILTER_VLAN_PROTOCOL,
	CONF_NWFILTER_STP_TYPE, CONF_NWFILTER_STP_FLAGS, CONF_NWFILTER_STP_ROOT_PRIORITY,
	CONF_NWFILTER_STP_ROOT_ADDRESS, CONF_NWFILTER_STP_ROOT_COST,
	CONF_NWFILTER_STP_SENDER_PRIORITY, CONF_NWFILTER_STP_SENDER_ADDRESS,
	CONF_NWFILTER_STP_PORT, CONF_NWFILTER_STP_AGE, CONF_NWFILTER_STP_MAX_AGE,
	CONF_NWFILTER_STP_HELLO_TIME, CONF_NWFILTER_STP_FORWARD_DELAY,
	CONF_NWFILTER_ARP_HARDWARE, CONF_NWFILTER_ARP_PROTOCOL, CONF_NWFILTER_ARP_OPCODE,
	CONF_NWFILTER_ARP_SOURCE_MAC, CONF_NWFILTER_ARP_DESTINATION_MAC,
	CONF_NWFILTER_ARP_SOURCE_IP, CONF_NWFILTER_ARP_DESTINATION_IP,
	CONF_NWFILTER_SOURCE_IP, CONF_NWFILTER_DESTINATION_IP, CONF_NWFILTER_SOURCE_RANGE,
	CONF_NWFILTER_DESTINATION_RANGE, CONF_NWFILTER_IP_PROTOCOL_NUMBER,
	CONF_NWFILTER_SOURCE_PORT, CONF_NWFILTER_DESTINATION_PORT, CONF_NWFILTER_DSCP,
	CONF_NWFILTER_ICMP_TYPE, CONF_NWFILTER_ICMP_CODE, CONF_NWFILTER_TCP_OPTION,
	CONF_NWFILTER_FLAGS_OF_TCP, CONF_NWFILTER_FLOW_STATE, CONF_NWFILTER_COMMENT,
	CONF_NWFILTER_FIELD_COUNT,
};
enum conf_nwfilter_part { CONF_NWFILTER_WHOLE, CONF_NWFILTER_MASK, CONF_NWFILTER_END };

struct conf_nwfilter_attribute {
	const char *name;
	enum conf_nwfilter_kind kind;
	enum conf_nwfilter_field field;
	enum conf_nwfilter_part part;
	uint32_t max; /* of a number */
};

/* Of the IP version that a rule's element speaks of; L2: it may be any packet. */
enum conf_nwfilter_layer { CONF_NWFILTER_L2, CONF_NWFILTER_L3_IPV4, CONF_NWFILTER_L3_IPV6 };

/* An element of a rule: <tcp>, <arp>... */
struct conf_nwfilter_protocol {
	const char *name;
	enum conf_nwfilter_layer layer;
	uint16_t ethertype;   /* L2: of its packets; 0: any */
	int16_t ip_protocol;  /* L3; -1: any */
	bool has_ports;
	const struct conf_nwfilter_attribute *attributes; /* ends without a name */
};

enum conf_nwfilter_action {
	CONF_NWFILTER_DROP, CONF_NWFILTER_ACCEPT, CONF_NWFILTER_REJECT, CONF_NWFILTER_RETURN,
	CONF_NWFILTER_CONTINUE,
};
/* As the guest sees it. */
enum conf_nwfilter_direction { CONF_NWFILTER_IN, CONF_NWFILTER_OUT, CONF_NWFILTER_INOUT };

/*
 * $NAME, $NAME[@iterator] or $NAME[element]. All variables of an iterator take their next values
 * together; different iterators give every combination.
 */
struct conf_nwfilter_variable {
	char *name;
	bool element;
	unsigned number;
};

struct conf_nwfilter_value {
	const struct conf_nwfilter_attribute *attribute;
	char *text;                             /* NULL: it is a variable */
	struct conf_nwfilter_variable variable;
	bool negated;                           /* match='no' */
};

struct conf_nwfilter_rule {
	enum conf_nwfilter_action action;
	enum conf_nwfilter_direction direction;
	int priority;
	bool stateless;                                /* statematch='false' */
	const struct conf_nwfilter_protocol *protocol; /* NULL: all packets */
	GPtrArray *values;                             /* conf_nwfilter_value, as the table orders them */
};

/* Names of variables (char *) to lists of values (GPtrArray of char *). */
typedef GHashTable conf_nwfilter_parameters;

struct conf_nwfilter_reference {
	char *filter;
	conf_nwfilter_parameters *parameters;
};

/* One of the two. */
struct conf_nwfilter_entry {
	struct conf_nwfilter_rule *rule;
	struct conf_nwfilter_reference *reference;
};

struct conf_nwfilter {
	char *name;
	uint8_t uuid[16];
	bool has_uuid; /* written in the document; otherwise it is made up */
	char *chain;   /* "root", or a name that begins with one of conf_nwfilter_chains */
	int priority;  /* of the chain */
	GPtrArray *entries; /* conf_nwfilter_entry */
};

/* --- Filters (nwfilter.c) ------------------------------------------------------------------- */

/* NULL with BERTH_ERR_INVALID or BERTH_ERR_NOT_SUPPORTED. */
struct conf_nwfilter *conf_nwfilter_parse(const char *text, GError **error);
/* As libvirt writes it. g_free(). */
char *conf_nwfilter_format(const struct conf_nwfilter *filter);
void conf_nwfilter_free(struct conf_nwfilter *filter);
static inline void conf_nwfilter_cleanup(struct conf_nwfilter **filter)
{
	conf_nwfilter_free(*filter);
}
/* `auto_conf_nwfilter filter = ...`: freed at the end of the scope, unless stolen. */
#define auto_conf_nwfilter __attribute__((cleanup(conf_nwfilter_cleanup))) struct conf_nwfilter *

/* A protocol of which chains may be: what their names begin with, which packets go there. */
struct conf_nwfilter_chain {
	const char *prefix;
	int priority;
	uint16_t ethertype; /* 0: see `group` */
	const char *group;  /* destination MAC, or NULL: any packet */
};
/* The row that fits to the chain's name; NULL: "root", or no chain can have that name. */
const struct conf_nwfilter_chain *conf_nwfilter_chain_find(const char *name);

/* --- Protocols and their fields (nwfilter_protocol.c) --------------------------------------- */

const struct conf_nwfilter_protocol *conf_nwfilter_protocol_find(const char *name);
/* Of a rule's element, by name; NULL: there is none. */
const struct conf_nwfilter_attribute *
conf_nwfilter_attribute_find(const struct conf_nwfilter_protocol *protocol, const char *name);

/* --- Values (nwfilter_value.c) -------------------------------------------------------------- */

/* The one spelling of `text` as a value of the attribute (g_free()), or NULL with an error. */
char *conf_nwfilter_value_check(const struct conf_nwfilter_attribute *attribute, const char *text,
				GError **error);
/* The number that a checked text of a NUMBER, ETHERTYPE, OPCODE or IP_PROTOCOL means. */
uint32_t conf_nwfilter_value_number(const struct conf_nwfilter_attribute *attribute,
				    const char *text);
/* "NAME", "NAME[@1]", "NAME[2]". */
bool conf_nwfilter_variable_read(const char *text, struct conf_nwfilter_variable *variable,
				 GError **error);
char *conf_nwfilter_variable_write(const struct conf_nwfilter_variable *variable);
struct conf_nwfilter_value *conf_nwfilter_value_read(const struct conf_nwfilter_attribute *attribute,
						     const char *text, bool negated, GError **error);
void conf_nwfilter_value_free(struct conf_nwfilter_value *value);

conf_nwfilter_parameters *conf_nwfilter_parameters_new(void);
/* One more value of that name. */
void conf_nwfilter_parameters_add(conf_nwfilter_parameters *parameters, const char *name,
				  const char *value);
/* What `more` has replaces what `parameters` has under the same name. */
void conf_nwfilter_parameters_merge(conf_nwfilter_parameters *parameters,
				    const conf_nwfilter_parameters *more);
/* <filterref filter='...'> with its <parameter>s, as it stands in filters, bindings and interfaces. */
struct conf_nwfilter_reference *conf_nwfilter_reference_read(const xmlNode *node, GError **error);
void conf_nwfilter_reference_write(struct xml_writer *w,
				   const struct conf_nwfilter_reference *reference);
struct conf_nwfilter_reference *
conf_nwfilter_reference_copy(const struct conf_nwfilter_reference *reference);
void conf_nwfilter_reference_free(struct conf_nwfilter_reference *reference);

/* --- Bindings (nwfilter_binding.c) ---------------------------------------------------------- */

/* A filter on a port: a network device of the host that is a guest's link. */
struct conf_nwfilter_binding {
	char *owner_name, *owner_uuid; /* the domain */
	char *port;                    /* the device */
	char *link;                    /* the device that carries the port (macvtap), or NULL */
	char *mac;                     /* the guest's */
	struct conf_nwfilter_reference *reference;
};

struct conf_nwfilter_binding *conf_nwfilter_binding_parse(const char *text, GError **error);
char *conf_nwfilter_binding_format(const struct conf_nwfilter_binding *binding);
void conf_nwfilter_binding_free(struct conf_nwfilter_binding *binding);
static inline void conf_nwfilter_binding_cleanup(struct conf_nwfilter_binding **binding)
{
	conf_nwfilter_binding_free(*binding);
}
#define auto_conf_nwfilter_binding                                                                 \
	__attribute__((cleanup(conf_nwfilter_binding_cleanup))) struct conf_nwfilter_binding *
