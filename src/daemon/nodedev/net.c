/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Network interfaces: their link, and what they can do in hardware. */
#include "daemon/nodedev/nodedev.h"

#include "base/fd.h"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* Of which the kernel has a name; it has some 60. */
enum { MAX_FEATURES = 1024 };

struct port {
	int fd;
	struct ifreq request;
};

static bool ask(struct port *port, void *command)
{
	port->request.ifr_data = command;
	return ioctl(port->fd, SIOCETHTOOL, &port->request) == 0;
}

static bool value(struct port *port, uint32_t command, uint32_t *data)
{
	struct ethtool_value question = {.cmd = command};
	bool good = ask(port, &question);
	*data = question.data;
	return good;
}

/* Features that the kernel has only a name for: the number of `name` among them, or -1. */
static int feature_number(struct port *port, const char *name, unsigned *count)
{
	/* The kernel writes a size behind the question. */
	uint64_t room[sizeof(struct ethtool_sset_info) / sizeof(uint64_t) + 1] = {0};
	struct ethtool_sset_info *sizes = (struct ethtool_sset_info *)room;
	sizes->cmd = ETHTOOL_GSSET_INFO;
	sizes->sset_mask = 1ULL << ETH_SS_FEATURES;
	if (!ask(port, sizes) || !sizes->sset_mask || sizes->data[0] > MAX_FEATURES)
		return -1;
	*count = sizes->data[0];
	g_autofree struct ethtool_gstrings *names = g_malloc0(sizeof(*names) + *count * ETH_GSTRING_LEN);
	*names = (struct ethtool_gstrings){.cmd = ETHTOOL_GSTRINGS, .string_set = ETH_SS_FEATURES,
					   .len = *count};
	if (!ask(port, names))
		return -1;
	for (unsigned i = 0; i < MIN(names->len, *count); i++) {
		if (strncmp((const char *)names->data + i * ETH_GSTRING_LEN, name, ETH_GSTRING_LEN) == 0)
			return i;
	}
	return -1;
}

static bool has_feature(struct port *port, const char *name)
{
	unsigned count;
	int number = feature_number(port, name, &count);
	if (number < 0)
		return false;
	unsigned words = (count + 31) / 32;
	g_autofree struct ethtool_gfeatures *features =
		g_malloc0(sizeof(*features) + words * sizeof(features->features[0]));
	*features = (struct ethtool_gfeatures){.cmd = ETHTOOL_GFEATURES, .size = words};
	return ask(port, features) && features->features[number / 32].active >> number % 32 & 1;
}

/* In libvirt's order. */
static void write_features(struct xml_writer *w, const char *interface)
{
	static const struct {
		const char *name;
		uint32_t command, mask;
	} simple[] = {
		{"rx", ETHTOOL_GRXCSUM, UINT32_MAX},
		{"tx", ETHTOOL_GTXCSUM, UINT32_MAX},
		{"sg", ETHTOOL_GSG, UINT32_MAX},
		{"tso", ETHTOOL_GTSO, UINT32_MAX},
		{"gso", ETHTOOL_GGSO, UINT32_MAX},
		{"gro", ETHTOOL_GGRO, UINT32_MAX},
		{"lro", ETHTOOL_GFLAGS, ETH_FLAG_LRO},
		{"rxvlan", ETHTOOL_GFLAGS, ETH_FLAG_RXVLAN},
		{"txvlan", ETHTOOL_GFLAGS, ETH_FLAG_TXVLAN},
		{"ntuple", ETHTOOL_GFLAGS, ETH_FLAG_NTUPLE},
		{"rxhash", ETHTOOL_GFLAGS, ETH_FLAG_RXHASH},
	};
	auto_fd fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct port port = {.fd = fd};
	g_strlcpy(port.request.ifr_name, interface, sizeof(port.request.ifr_name));
	for (unsigned i = 0; i < G_N_ELEMENTS(simple); i++) {
		uint32_t data;
		if (value(&port, simple[i].command, &data) && data & simple[i].mask)
			xml_empty(w, "feature", "name", simple[i].name, NULL);
	}
	if (has_feature(&port, "tx-udp_tnl-segmentation"))
		xml_empty(w, "feature", "name", "txudptnl", NULL);
}

/* The kernel knows no speed of a link that is down or virtual: it says -1, or nothing. */
static void write_state(struct xml_writer *w, const struct nodedev *dev)
{
	g_autofree char *state = sysfs_text(dev->path, "operstate");
	g_autofree char *speed = sysfs_text(dev->path, "speed");
	bool known = state && strcmp(state, "up") == 0 && speed && g_ascii_isdigit(*speed);
	xml_empty(w, "link", "speed", known ? speed : NULL, "state", state, NULL);
}

void nodedev_write_net(struct xml_writer *w, const struct nodedev *dev, const struct host *host)
{
	g_autofree char *name = g_path_get_basename(dev->path);
	g_autofree char *mac = sysfs_text(dev->path, "address");
	g_autofree char *wireless = g_build_filename(dev->path, "phy80211", NULL);
	xml_leaf(w, "interface", name, NULL);
	nodedev_leaf(w, "address", mac && *mac ? mac : NULL);
	write_state(w, dev);
	write_features(w, name);
	xml_empty(w, "capability", "type",
		  g_file_test(wireless, G_FILE_TEST_EXISTS) ? "80211" : "80203", NULL);
}
