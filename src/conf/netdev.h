/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What networks, their port groups and ports, and interfaces of domains have in common in libvirt's
 * XML: VLAN tags, the type of a virtual switch's port, and limits of bandwidth.
 */
#pragma once

#include "codec/xml.h"

#include <stdint.h>

enum { CONF_MAX_VLAN_TAGS = 64 };

/* <vlan>: no tags, one, or a trunk of several. */
struct conf_vlan {
	bool trunk;
	unsigned count;
	struct conf_vlan_tag {
		uint16_t id;
		enum { CONF_VLAN_PLAIN, CONF_VLAN_NATIVE_TAGGED, CONF_VLAN_NATIVE_UNTAGGED } native;
	} tags[CONF_MAX_VLAN_TAGS];
};

/* `parent` may have a <vlan>. */
bool conf_vlan_read(const xmlNode *parent, struct conf_vlan *vlan, GError **error);
void conf_vlan_write(struct xml_writer *w, const struct conf_vlan *vlan);
bool conf_vlan_equal(const struct conf_vlan *a, const struct conf_vlan *b);

/* Kilobytes (of 1,024 bytes) a second; burst is an amount. 0: not said. */
struct conf_rate {
	uint64_t average, peak, burst, floor;
};
struct conf_bandwidth {
	bool has_inbound, has_outbound;
	struct conf_rate inbound, outbound; /* as the guests see it: inbound is what they receive */
};

/* libvirt's names for typed parameters of limits, and which attribute of which element each is. */
struct conf_bandwidth_field {
	const char *name, *element, *attribute;
	size_t offset; /* in struct conf_bandwidth: a uint64_t */
};
enum { CONF_BANDWIDTH_FIELDS = 7 };
extern const struct conf_bandwidth_field conf_bandwidth_fields[CONF_BANDWIDTH_FIELDS];
bool conf_bandwidth_read(const xmlNode *parent, struct conf_bandwidth *bandwidth, GError **error);
/* `class` 0: not shown; of a port's queue otherwise. */
void conf_bandwidth_write(struct xml_writer *w, const struct conf_bandwidth *bandwidth, unsigned class);

/* <virtualport>: what a switch other than the kernel's bridge wants to know of a port. */
struct conf_virtualport {
	char *type;      /* openvswitch; NULL: any, or there is none */
	bool present;
	char *profileid, *interfaceid;
};

bool conf_virtualport_read(const xmlNode *parent, struct conf_virtualport *port, GError **error);
void conf_virtualport_write(struct xml_writer *w, const struct conf_virtualport *port);
bool conf_virtualport_is_ovs(const struct conf_virtualport *port);
/* Add to *to what it does not say; false with *error set: they say different things. */
bool conf_virtualport_merge(struct conf_virtualport *to, const struct conf_virtualport *from,
			    GError **error);
void conf_virtualport_clear(struct conf_virtualport *port);

/* --- PCI addresses ---------------------------------------------------------------------------- */

/* <address domain='0x0000' bus='0x03' slot='0x10' function='0x1'/> as "0000:03:10.1". g_free(). */
char *conf_pci_address_read(const xmlNode *node, GError **error);
/* `type`: written, too; or NULL. */
void conf_pci_address_write(struct xml_writer *w, const char *address, const char *type);

/* --- Small parts ------------------------------------------------------------------------------ */

/* "yes" or "no", or what it is if it is absent (*value stays); fails on others. */
bool conf_yes_no(const xmlNode *node, const char *attribute, bool *value, GError **error);
/* To write it again: NULL if nothing was said. */
const char *conf_said_yes_no(bool said, bool value);
/*
 * The name of a network device: what the kernel takes, and nothing that could mean more in nft's language
 * or in a file's name: 1 to 15 letters, digits and "-._", of which none is the first.
 */
bool conf_is_device_name(const char *name);
#define CONF_DEVICE_NAME_RULE "1 to 15 letters, digits and '-._'"
/* A decimal number in [min, max]; *value stays if the attribute is absent. */
bool conf_number(const xmlNode *node, const char *attribute, uint64_t min, uint64_t max,
		 uint64_t *value, GError **error);
/* Fails with the element's line and name before the text. Returns false always. */
bool conf_element_error(GError **error, int code, const xmlNode *node, const char *format, ...)
	G_GNUC_PRINTF(4, 5);
