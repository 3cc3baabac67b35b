/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/network/htb.h"

#include "base/error.h"
#include "daemon/network/netlink.h"

#include <errno.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>

#define QDISC_HANDLE TC_H_MAKE(1 << 16, 0)
enum { KIB = 1024, HTB_VERSION = 3, TICK_NS = 64, LEAST_BURST = 65536 };

static uint32_t handle_of(unsigned class)
{
	return TC_H_MAKE(1 << 16, class);
}

/* How long `burst` bytes take, in the kernel's ticks. */
static uint32_t ticks(uint64_t burst, uint64_t rate)
{
	double value = (double)burst * 1e9 / rate / TICK_NS;
	return value > UINT32_MAX ? UINT32_MAX : value;
}

/* Added, or changed if it is there. `parent` is a handle. */
static int put_class(unsigned index, unsigned class, uint32_t parent, const struct conf_rate *limit)
{
	struct netlink_message m;
	uint64_t rate = limit->average * KIB, peak = MAX(limit->peak * KIB, rate);
	/* A packet of the host may have 64 KiB: a smaller burst would hold up every one. */
	uint64_t burst = limit->burst ? limit->burst * KIB : MAX(rate / 100, LEAST_BURST);
	const struct tcmsg body = {.tcm_family = AF_UNSPEC, .tcm_ifindex = index,
				   .tcm_handle = handle_of(class), .tcm_parent = parent};
	const struct tc_htb_opt options = {
		.rate = {.rate = MIN(rate, UINT32_MAX), .linklayer = TC_LINKLAYER_ETHERNET},
		.ceil = {.rate = MIN(peak, UINT32_MAX), .linklayer = TC_LINKLAYER_ETHERNET},
		.buffer = ticks(burst, rate), .cbuffer = ticks(LEAST_BURST, peak),
		.quantum = LEAST_BURST,
	};
	netlink_begin(&m, RTM_NEWTCLASS, NLM_F_CREATE, &body, sizeof(body));
	netlink_put_text(&m, TCA_KIND, "htb");
	size_t nest = netlink_nest(&m, TCA_OPTIONS);
	netlink_put(&m, TCA_HTB_PARMS, &options, sizeof(options));
	netlink_put(&m, TCA_HTB_RATE64, &rate, sizeof(rate));
	netlink_put(&m, TCA_HTB_CEIL64, &peak, sizeof(peak));
	netlink_end(&m, nest);
	return netlink_send(&m);
}

static int add_qdisc(unsigned index, unsigned default_class)
{
	struct netlink_message m;
	const struct tcmsg body = {.tcm_family = AF_UNSPEC, .tcm_ifindex = index,
				   .tcm_handle = QDISC_HANDLE, .tcm_parent = TC_H_ROOT};
	const struct tc_htb_glob options = {.version = HTB_VERSION, .rate2quantum = 10,
					    .defcls = default_class};
	netlink_begin(&m, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, &body, sizeof(body));
	netlink_put_text(&m, TCA_KIND, "htb");
	size_t nest = netlink_nest(&m, TCA_OPTIONS);
	netlink_put(&m, TCA_HTB_INIT, &options, sizeof(options));
	netlink_end(&m, nest);
	int result = netlink_send(&m);
	return result == EEXIST ? 0 : result;
}

static bool finish(const char *device, int result, GError **error)
{
	return !result || error_set_errno(error, result, "cannot limit what '%s' is sent", device);
}

bool htb_limit(const char *device, const struct conf_rate *limit, GError **error)
{
	unsigned index = if_nametoindex(device);
	int result = add_qdisc(index, HTB_ROOT_CLASS);
	if (!result)
		result = put_class(index, HTB_ROOT_CLASS, QDISC_HANDLE, limit);
	return finish(device, result, error);
}

bool htb_share(const char *device, const struct conf_rate *limit, uint64_t rest, GError **error)
{
	unsigned index = if_nametoindex(device);
	struct conf_rate own = *limit;
	own.peak = MAX(limit->peak, limit->average);
	own.average = rest;
	int result = add_qdisc(index, HTB_DEFAULT_CLASS);
	if (!result)
		result = put_class(index, HTB_ROOT_CLASS, QDISC_HANDLE, limit);
	if (!result)
		result = put_class(index, HTB_DEFAULT_CLASS, handle_of(HTB_ROOT_CLASS), &own);
	return finish(device, result, error);
}

bool htb_add_share(const char *device, unsigned class, uint64_t floor, const struct conf_rate *limit,
		   GError **error)
{
	const struct conf_rate own = {.average = floor, .peak = MAX(limit->peak, limit->average)};
	return finish(device, put_class(if_nametoindex(device), class, handle_of(HTB_ROOT_CLASS), &own), error);
}

static void delete(uint16_t type, const char *device, uint32_t handle, uint32_t parent)
{
	struct netlink_message m;
	const struct tcmsg body = {.tcm_family = AF_UNSPEC, .tcm_ifindex = if_nametoindex(device),
				   .tcm_handle = handle, .tcm_parent = parent};
	netlink_begin(&m, type, 0, &body, sizeof(body));
	netlink_send(&m);
}

void htb_remove_share(const char *device, unsigned class)
{
	delete(RTM_DELTCLASS, device, handle_of(class), handle_of(HTB_ROOT_CLASS));
}

void htb_remove(const char *device)
{
	delete(RTM_DELQDISC, device, QDISC_HANDLE, TC_H_ROOT);
}
