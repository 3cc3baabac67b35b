/* SPDX-License-Identifier: GPL-2.0-or-later */
/* <bond> of a host's interface: how its ports are used, and how it notices that one is dead. */
#include "conf/interface.h"

#include "base/error.h"
#include "conf/grammar.h"
#include "conf/network.h"

#include <string.h>
#include <sys/socket.h>

/* In the order of linux/if_bonding.h; it is libvirt's order, too. */
static const char *const modes[] = {"balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad",
				    "balance-tlb", "balance-alb"};
static const char *const validations[] = {"none", "active", "backup", "all"};

static bool find_word(const xmlNode *node, const char *name, const char *const *words, unsigned count,
		      unsigned *value, GError **error)
{
	g_autofree char *text = xml_attribute(node, name);
	for (unsigned i = 0; text && i < count; i++) {
		if (!strcmp(words[i], text)) {
			*value = i;
			return true;
		}
	}
	return !text || conf_element_error(error, BERTH_ERR_INVALID, node, "unknown %s '%s'", name, text);
}

static bool read_time(const xmlNode *node, const char *name, unsigned least, unsigned *value, GError **error)
{
	uint64_t number = 0;
	if (!conf_number(node, name, least, G_MAXINT32, &number, error))
		return false;
	*value = number;
	return true;
}

static bool read_miimon(struct conf_bond *bond, const xmlNode *node, GError **error)
{
	g_autofree char *carrier = xml_attribute(node, "carrier");
	bond->by_ioctl = !g_strcmp0(carrier, "ioctl");
	if (carrier && !bond->by_ioctl && strcmp(carrier, "netif") != 0)
		return conf_element_error(error, BERTH_ERR_INVALID, node,
					  "carrier='%s' must be 'ioctl' or 'netif'", carrier);
	if (!read_time(node, "freq", 1, &bond->miimon, error) ||
	    !read_time(node, "updelay", 0, &bond->up_delay, error) ||
	    !read_time(node, "downdelay", 0, &bond->down_delay, error))
		return false;
	return bond->miimon || conf_element_error(error, BERTH_ERR_INVALID, node, "its freq is missing");
}

static bool read_arpmon(struct conf_bond *bond, const xmlNode *node, GError **error)
{
	if (!read_time(node, "interval", 1, &bond->arp_interval, error) ||
	    !conf_ip_read(node, "target", AF_INET, &bond->arp_target, error) ||
	    !find_word(node, "validate", validations, G_N_ELEMENTS(validations), &bond->arp_validate, error))
		return false;
	/* Linux, Documentation/networking/bonding.rst: these modes know nothing of ARP. */
	if (bond->mode >= 4)
		return conf_element_error(error, BERTH_ERR_INVALID, node,
					  "a bond of mode '%s' needs <miimon>", modes[bond->mode]);
	return (bond->arp_interval && ip_is_set(&bond->arp_target)) ||
	       conf_element_error(error, BERTH_ERR_INVALID, node, "its interval or target is missing");
}

bool conf_bond_read(struct conf_bond *bond, const xmlNode *node, GError **error)
{
	const xmlNode *miimon = xml_child(node, "miimon"), *arpmon = xml_child(node, "arpmon");
	if (!find_word(node, "mode", modes, G_N_ELEMENTS(modes), &bond->mode, error))
		return false;
	if (miimon && arpmon)
		return conf_element_error(error, BERTH_ERR_INVALID, arpmon, "<miimon> is there as well");
	return miimon ? read_miimon(bond, miimon, error) : !arpmon || read_arpmon(bond, arpmon, error);
}

bool conf_bond_is(const struct conf_bond *now, const struct conf_bond *wanted)
{
	if (now->mode != wanted->mode)
		return false;
	if (wanted->miimon)
		return now->miimon == wanted->miimon && now->up_delay == wanted->up_delay &&
		       now->down_delay == wanted->down_delay && now->by_ioctl == wanted->by_ioctl;
	/* Where nothing is said the kernel may watch all the same: 802.3ad does. */
	return !wanted->arp_interval ||
	       (now->arp_interval == wanted->arp_interval && now->arp_validate == wanted->arp_validate &&
		ip_equal(&now->arp_target, &wanted->arp_target));
}

void conf_bond_write(struct xml_writer *w, const struct conf_bond *bond)
{
	char target[IP_TEXT_SIZE];
	g_autofree char *freq = g_strdup_printf("%u", bond->miimon), *up = g_strdup_printf("%u", bond->up_delay);
	g_autofree char *down = g_strdup_printf("%u", bond->down_delay);
	g_autofree char *interval = g_strdup_printf("%u", bond->arp_interval);
	xml_open(w, "bond", "mode", modes[MIN(bond->mode, G_N_ELEMENTS(modes) - 1)], NULL);
	if (bond->miimon)
		xml_empty(w, "miimon", "freq", freq, "updelay", bond->up_delay ? up : NULL, "downdelay",
			  bond->down_delay ? down : NULL, "carrier", bond->by_ioctl ? "ioctl" : "netif", NULL);
	if (bond->arp_interval && ip_is_set(&bond->arp_target))
		xml_empty(w, "arpmon", "interval", interval, "target", ip_format(&bond->arp_target, target),
			  "validate", bond->arp_validate ? validations[bond->arp_validate & 3] : NULL, NULL);
}
