/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/network/nft_watch.h"

#include "base/error.h"
#include "base/fd.h"

#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct nft_watch {
	struct aio_watch *watch;
	int fd;
	const char *prefix;
	nft_lost_fn *lost;
	void *opaque;
	GHashTable *gone; /* names of tables, while news is read */
};

static const char *table_name(const struct nlmsghdr *header)
{
	const size_t before = NLMSG_LENGTH(NLMSG_ALIGN(sizeof(struct nfgenmsg)));
	const uint8_t *at = (const uint8_t *)header + before;
	const uint8_t *end = (const uint8_t *)header + header->nlmsg_len;
	while (at + sizeof(struct nlattr) <= end) {
		const struct nlattr *attribute = (const struct nlattr *)at;
		if (attribute->nla_len <= sizeof(*attribute) || attribute->nla_len > end - at)
			return NULL;
		const char *name = (const char *)(attribute + 1);
		if ((attribute->nla_type & NLA_TYPE_MASK) == NFTA_TABLE_NAME &&
		    !name[attribute->nla_len - sizeof(*attribute) - 1])
			return name;
		at += NLA_ALIGN(attribute->nla_len);
	}
	return NULL;
}

/* News comes in the order of what happened: a table that was replaced is not gone in the end. */
static void read_news(struct nft_watch *watch, const struct nlmsghdr *header)
{
	const char *name = table_name(header);
	if (!name || !g_str_has_prefix(name, watch->prefix))
		return;
	if (header->nlmsg_type == (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_DELTABLE))
		g_hash_table_add(watch->gone, g_strdup(name));
	else if (header->nlmsg_type == (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWTABLE))
		g_hash_table_remove(watch->gone, name);
}

static void on_news(void *opaque, int fd, uint32_t events)
{
	struct nft_watch *watch = opaque;
	union {
		struct nlmsghdr header;
		uint8_t bytes[65536];
	} buffer;
	bool overrun = false;
	ssize_t got;
	while ((got = recv(fd, &buffer, sizeof(buffer), MSG_DONTWAIT)) > 0 ||
	       (got < 0 && (errno == ENOBUFS || errno == EINTR))) {
		overrun |= got < 0 && errno == ENOBUFS;
		size_t left = MAX(got, 0);
		for (const struct nlmsghdr *header = &buffer.header; NLMSG_OK(header, left);
		     header = NLMSG_NEXT(header, left))
			read_news(watch, header);
	}
	GHashTableIter iter;
	void *name;
	if (overrun)
		watch->lost(watch->opaque, NULL);
	g_hash_table_iter_init(&iter, watch->gone);
	while (!overrun && g_hash_table_iter_next(&iter, &name, NULL))
		watch->lost(watch->opaque, name);
	g_hash_table_remove_all(watch->gone);
}

struct nft_watch *nft_watch_new(struct aio_loop *loop, const char *prefix,
					  nft_lost_fn *lost, void *opaque, GError **error)
{
	auto_fd fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER);
	const struct sockaddr_nl address = {.nl_family = AF_NETLINK};
	const int group = NFNLGRP_NFTABLES;
	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0) {
		error_set_errno(error, errno, "cannot watch the kernel's packet filter");
		return NULL;
	}
	struct nft_watch *watch = g_new0(struct nft_watch, 1);
	watch->fd = fd_steal(&fd);
	watch->prefix = prefix;
	watch->lost = lost;
	watch->opaque = opaque;
	watch->gone = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	watch->watch = aio_watch_add(loop, watch->fd, POLLIN, on_news, watch);
	return watch;
}

void nft_watch_free(struct nft_watch *watch)
{
	if (!watch)
		return;
	aio_watch_remove(watch->watch);
	close(watch->fd);
	g_hash_table_unref(watch->gone);
	g_free(watch);
}
