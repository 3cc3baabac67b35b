/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/network/tap.h"

#include "base/error.h"
#include "base/fd.h"
#include "daemon/network/netlink.h"
#include "daemon/network/ovs_queue.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>

static bool check_name(const struct tap_request *request, GError **error)
{
	if (request->name && strlen(request->name) >= IFNAMSIZ)
		return error_set(error, BERTH_ERR_INVALID,
				 "the interface name '%s' is too long: at most %d characters", request->name,
				 IFNAMSIZ - 1);
	bool there = request->name && if_nametoindex(request->name);
	if (there && !request->existing)
		return error_set(error, BERTH_ERR_BUSY,
				 "there is an interface '%s' already: leave the name out, or say "
				 "managed='no' to use it", request->name);
	return there || !request->existing ||
	       error_set(error, BERTH_ERR_NOT_FOUND, "there is no interface '%s'", request->name);
}

static int make(const struct tap_request *request, char name[IFNAMSIZ], GError **error)
{
	struct ifreq device = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR |
					    (request->multi_queue ? IFF_MULTI_QUEUE : 0)};
	auto_fd fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0) {
		error_set_errno(error, errno, "cannot open /dev/net/tun (is the tun module loaded?)");
		return -1;
	}
	g_strlcpy(device.ifr_name, request->name ? request->name : "vnet%d", sizeof(device.ifr_name));
	if (ioctl(fd, TUNSETIFF, &device) < 0) {
		error_set_errno(error, errno, "cannot make the tap device '%s'%s", device.ifr_name,
				request->existing && errno == EINVAL
					? " (for several queues it must have been made with multi_queue)" : "");
		return -1;
	}
	g_strlcpy(name, device.ifr_name, IFNAMSIZ);
	return fd_steal(&fd);
}

int tap_open_queue(const char *name, GError **error)
{
	const struct tap_request request = {.name = name, .multi_queue = true};
	char same[IFNAMSIZ];
	return make(&request, same, error);
}

/*
 * The guest's address with another first byte: a bridge takes the lowest address of its ports as its
 * own, and must neither change it when guests come and go nor have a guest's.
 */
static bool set_mac(const struct tap_request *request, const char *name, GError **error)
{
	uint8_t mac[6];
	memcpy(mac, request->guest_mac, sizeof(mac));
	mac[0] = mac[0] == 0xfe ? 0xfa : 0xfe;
	return netlink_link_set_mac(name, mac, error);
}

/* The bridge's, if nothing else is said: a port with a smaller one would lower the bridge's. */
static bool set_mtu(const struct tap_request *request, const char *name, GError **error)
{
	struct netlink_link bridge = {0};
	unsigned mtu = request->mtu;
	if (!mtu && request->plug && !netlink_link_get(request->plug->link, &bridge, error))
		return false;
	if (!mtu)
		mtu = bridge.mtu;
	return !mtu || netlink_link_set_mtu(name, mtu, error);
}

static void plug_into_ovs(const struct tap_request *request, const char *name)
{
	const struct network_plug *plug = request->plug;
	char mac[MAC_TEXT_SIZE];
	const struct ovs_port port = {
		.bridge = plug->link, .device = name, .owner = request->owner,
		.interfaceid = plug->virtualport.interfaceid, .profileid = plug->virtualport.profileid,
		.mac = mac_format(request->guest_mac, mac), .vlan = &plug->vlan,
	};
	/* A new device is in no bridge; one that is found again may be. */
	ovs_queue_plug(request->ovs, &port, true);
}

bool tap_plug_in(const struct tap_request *request, const char *name, GError **error)
{
	const struct network_plug *plug = request->plug;
	struct netlink_link bridge;
	if (conf_virtualport_is_ovs(&plug->virtualport)) {
		plug_into_ovs(request, name);
		return true;
	}
	if (!netlink_link_get(plug->link, &bridge, error))
		return false;
	if (strcmp(bridge.kind, "bridge") != 0)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "'%s' is no bridge of the kernel: one is made by ip link add %s type bridge; "
				 "one of Open vSwitch needs <virtualport type='openvswitch'/>", plug->link,
				 plug->link);
	return netlink_link_set_master(name, plug->link, error) &&
	       (!plug->manages_macs || netlink_port_set_mac(name, request->guest_mac, error)) &&
	       (!plug->isolated || netlink_port_set_isolated(name, true, error));
}

int tap_open(const struct tap_request *request, char name[IFNAMSIZ], GError **error)
{
	if (!check_name(request, error))
		return -1;
	auto_fd fd = make(request, name, error);
	if (fd < 0 || (request->prepare && !request->prepare(request->opaque, name, error)))
		return -1;
	if (request->existing)
		return fd_steal(&fd);
	if (set_mac(request, name, error) && set_mtu(request, name, error) &&
	    (!request->plug || tap_plug_in(request, name, error)) && netlink_link_set_up(name, true, error))
		return fd_steal(&fd);
	return -1;
}
