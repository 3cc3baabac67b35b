/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/network/nft_watch.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "daemon/network/nft.h"

#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct nft_news {
	GHashTable *gone;  /* names of tables */
	GHashTable *there; /* all names of tables; NULL: `gone` says it all */
	bool any;
};

struct nft_watch {
	struct aio_watch *watch;
	int fd;
	const char *prefix;
	nft_news_fn *fn;
	void *opaque;
	struct nft_news news;
};

bool nft_news_gone(const struct nft_news *news, const char *table)
{
	return news->there ? !g_hash_table_contains(news->there, table)
			   : g_hash_table_contains(news->gone, table);
}

/* The table's name, which is the first attribute's number in messages of all kinds but of generations. */
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

/*
 * News comes in the order of what happened: a table that was replaced is not gone in the end. Tables are
 * always made as a whole, so that one which has lost a rule is as good as gone.
 */
static void read_news(struct nft_watch *watch, const struct nlmsghdr *header)
{
	enum { NEWS = NFNL_SUBSYS_NFTABLES << 8 };
	const uint16_t losses[] = {NFT_MSG_DELTABLE, NFT_MSG_DELCHAIN, NFT_MSG_DELRULE};
	const char *name = header->nlmsg_type == (NEWS | NFT_MSG_NEWGEN) ? NULL : table_name(header);
	if (!name || !g_str_has_prefix(name, watch->prefix))
		return;
	watch->news.any = true;
	if (header->nlmsg_type == (NEWS | NFT_MSG_NEWTABLE))
		g_hash_table_remove(watch->news.gone, name);
	for (unsigned i = 0; i < G_N_ELEMENTS(losses); i++) {
		if (header->nlmsg_type == (NEWS | losses[i]))
			g_hash_table_add(watch->news.gone, g_strdup(name));
	}
}

/*
 * The kernel has had more news than it could keep. What is there is asked for, and only what is missing
 * is gone: rules that are made again without need are news, too, and may be too many again.
 */
static void look_at_all(struct nft_watch *watch)
{
	g_autoptr(GError) error = NULL;
	watch->news.any = true;
	watch->news.there = nft_tables(&error);
	if (error)
		log_warning("who has changed the packet filter is not known: %s", error->message);
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
	if (overrun)
		look_at_all(watch);
	if (watch->news.any)
		watch->fn(watch->opaque, &watch->news);
	watch->news.any = false;
	g_hash_table_remove_all(watch->news.gone);
	g_clear_pointer(&watch->news.there, g_hash_table_unref);
}

struct nft_watch *nft_watch_new(struct aio_loop *loop, const char *prefix, nft_news_fn *news,
				void *opaque, GError **error)
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
	watch->fn = news;
	watch->opaque = opaque;
	watch->news.gone = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	watch->watch = aio_watch_add(loop, watch->fd, POLLIN, on_news, watch);
	return watch;
}

void nft_watch_free(struct nft_watch *watch)
{
	if (!watch)
		return;
	aio_watch_remove(watch->watch);
	close(watch->fd);
	g_hash_table_unref(watch->news.gone);
	g_free(watch);
}
