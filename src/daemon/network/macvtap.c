/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/network/macvtap.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "daemon/network/netlink.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define ALIAS_PREFIX "berth:"
enum { NAMES = 8192 }; /* that are tried */

static const struct {
	const char *name;
	uint32_t value;
} modes[] = {
	{"vepa", MACVLAN_MODE_VEPA}, {"bridge", MACVLAN_MODE_BRIDGE},
	{"private", MACVLAN_MODE_PRIVATE}, {"passthrough", MACVLAN_MODE_PASSTHRU},
};

static bool mode_of(const char *name, uint32_t *value, GError **error)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(modes); i++) {
		if (!strcmp(modes[i].name, name)) {
			*value = modes[i].value;
			return true;
		}
	}
	return error_set(error, BERTH_ERR_INVALID,
			 "'%s' is no mode of a direct interface: vepa, bridge, private or passthrough", name);
}

/* The kernel's error number. */
static int add(const struct macvtap_request *request, const char *name, unsigned lower, uint32_t mode)
{
	struct netlink_message m;
	const struct ifinfomsg body = {.ifi_family = AF_UNSPEC};
	g_autofree char *alias = g_strconcat(ALIAS_PREFIX, request->owner_uuid, NULL);
	netlink_begin(&m, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &body, sizeof(body));
	netlink_put_text(&m, IFLA_IFNAME, name);
	netlink_put_u32(&m, IFLA_LINK, lower);
	netlink_put(&m, IFLA_ADDRESS, request->mac, sizeof(request->mac));
	if (request->mtu)
		netlink_put_u32(&m, IFLA_MTU, request->mtu);
	size_t info = netlink_nest(&m, IFLA_LINKINFO);
	netlink_put_text(&m, IFLA_INFO_KIND, "macvtap");
	size_t data = netlink_nest(&m, IFLA_INFO_DATA);
	netlink_put_u32(&m, IFLA_MACVLAN_MODE, mode);
	netlink_end(&m, data);
	netlink_end(&m, info);
	int result = netlink_send(&m);
	if (result)
		return result;
	/* The kernel takes no alias for a device that is being made. */
	netlink_begin(&m, RTM_NEWLINK, 0, &body, sizeof(body));
	netlink_put_text(&m, IFLA_IFNAME, name);
	netlink_put(&m, IFLA_IFALIAS, alias, strlen(alias));
	result = netlink_send(&m);
	/* Without it nobody would know whose it is. */
	if (result)
		netlink_link_delete(name, NULL);
	return result;
}

static bool make(const struct macvtap_request *request, char name[IFNAMSIZ], GError **error)
{
	unsigned lower = if_nametoindex(request->lower);
	uint32_t mode = 0;
	int result = EEXIST;
	if (!mode_of(request->mode, &mode, error))
		return false;
	if (!lower)
		return error_set(error, BERTH_ERR_NOT_FOUND, "there is no interface '%s'", request->lower);
	for (unsigned i = 0; result == EEXIST && i < NAMES; i++) {
		if (request->name && i > 0)
			break;
		if (request->name)
			g_strlcpy(name, request->name, IFNAMSIZ);
		else
			snprintf(name, IFNAMSIZ, "macvtap%u", i);
		result = add(request, name, lower, mode);
	}
	return !result || error_set_errno(error, result, "cannot make the device '%s' on '%s'%s", name,
					  request->lower,
					  result == EBUSY ? " (is another guest on it, or is it in a bridge?)"
							  : "");
}

/*
 * The number of the device's node, as sysfs tells of this network namespace; 0 with *error set. The node's
 * name /dev/tapINDEX is not enough: in each namespace there may be an interface of that index.
 */
static dev_t node_number(const char *name, unsigned index, GError **error)
{
	g_autofree char *path = g_strdup_printf("/sys/class/net/%s/tap%u/dev", name, index);
	g_autofree char *text = NULL;
	unsigned major, minor;
	if (g_file_get_contents(path, &text, NULL, NULL) && sscanf(text, "%u:%u", &major, &minor) == 2)
		return makedev(major, minor);
	error_set(error, BERTH_ERR_NOT_FOUND,
		  "'%s' is not there: /sys must show the network namespace that berthd is in", path);
	return 0;
}

/* Open it by a name of our own, which nobody else sees. */
static int open_own_node(dev_t number)
{
	g_autofree char *folder = g_dir_make_tmp("berthd-tap-XXXXXX", NULL);
	if (!folder)
		return -1;
	g_autofree char *path = g_build_filename(folder, "tap", NULL);
	int fd = mknod(path, S_IFCHR | 0600, number) ? -1 : open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	int failed = errno;
	unlink(path);
	rmdir(folder);
	errno = failed;
	return fd;
}

static int open_node(unsigned index, dev_t number)
{
	struct stat found;
	g_autofree char *path = g_strdup_printf("/dev/tap%u", index);
	auto_fd fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (fd >= 0 && fstat(fd, &found) == 0 && S_ISCHR(found.st_mode) && found.st_rdev == number)
		return fd_steal(&fd);
	return open_own_node(number);
}

/* Packets with the header that says of checksums and segments, as with a tap device. */
static int open_device(const char *name, GError **error)
{
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	unsigned index = if_nametoindex(name);
	dev_t number = node_number(name, index, error);
	if (!number)
		return -1;
	auto_fd fd = open_node(index, number);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0) {
		error_set_errno(error, errno, "cannot open the node of the device '%s'", name);
		return -1;
	}
	return fd_steal(&fd);
}

int macvtap_open(const struct macvtap_request *request, char name[IFNAMSIZ], GError **error)
{
	if (request->name && strlen(request->name) >= IFNAMSIZ) {
		error_set(error, BERTH_ERR_INVALID, "the interface name '%s' is too long", request->name);
		return -1;
	}
	if (!make(request, name, error))
		return -1;
	auto_fd fd = open_device(name, error);
	/*
	 * In passthrough mode the kernel has begun with the address of the host's interface; that gets the
	 * guest's, too, and its own back when the device goes.
	 */
	if (fd >= 0 && netlink_link_set_mac(name, request->mac, error) && netlink_link_set_up(name, true, error))
		return fd_steal(&fd);
	netlink_link_delete(name, NULL);
	return -1;
}

void macvtap_sweep(const char *owner_uuid, const char *const *keep)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GArray) links = netlink_links(&error);
	g_autofree char *alias = g_strconcat(ALIAS_PREFIX, owner_uuid, NULL);
	for (unsigned i = 0; links && !error && i < links->len; i++) {
		const struct netlink_link *link = &g_array_index(links, struct netlink_link, i);
		if (!strcmp(link->kind, "macvtap") && !strcmp(link->alias, alias) &&
		    !g_strv_contains(keep, link->name))
			netlink_link_delete(link->name, &error);
	}
	if (error)
		log_warning("%s", error->message);
}

bool macvtap_lower(const char *name, char lower[IFNAMSIZ])
{
	struct netlink_link link;
	return netlink_link_get(name, &link, NULL) && !strcmp(link.kind, "macvtap") &&
	       if_indextoname(link.lower, lower);
}
