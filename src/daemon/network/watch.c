/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What happens to networks from outside: their dnsmasq ends, or somebody changes or flushes their rules,
 * which are looked at when there is news of them, as news comes in floods.
 */
#include "base/fd.h"
#include "base/log.h"
#include "daemon/network/life.h"
#include "daemon/network/nft_watch.h"
#include "daemon/network/rules.h"

#include <poll.h>
#include <sys/syscall.h>

enum {
	SETTLE_MS = 100,        /* a reload of rules is many messages */
	FIRST_DELAY_MS = 200,   /* before a dnsmasq that has ended is started again */
	LONGEST_DELAY_MS = 30000,
	LONG_LIFE_S = 10,       /* of a dnsmasq: what ended it is not what ended the one before */
};

/* --- dnsmasq ---------------------------------------------------------------------------------- */

struct dnsmasq {
	struct network *network;
	pid_t pid;
	int pidfd;
	struct aio_watch *watch;
	struct aio_timer timer;
	int64_t started_ns;
	unsigned delay_ms;
};

static void on_again(void *opaque)
{
	struct dnsmasq *dnsmasq = opaque;
	network_heal(dnsmasq->network);
}

static void forget_process(struct dnsmasq *dnsmasq)
{
	if (dnsmasq->watch)
		aio_watch_remove(g_steal_pointer(&dnsmasq->watch));
	fd_clear(&dnsmasq->pidfd);
	dnsmasq->pid = 0;
}

static void start_later(struct dnsmasq *dnsmasq)
{
	bool lived = aio_now_ns() - dnsmasq->started_ns > LONG_LIFE_S * INT64_C(1000000000);
	dnsmasq->delay_ms = lived || !dnsmasq->delay_ms ? FIRST_DELAY_MS
							: MIN(dnsmasq->delay_ms * 2, LONGEST_DELAY_MS);
	aio_timer_arm(&dnsmasq->timer, aio_now_ns() + dnsmasq->delay_ms * INT64_C(1000000));
}

static void on_end(void *opaque, int fd, uint32_t events)
{
	struct dnsmasq *dnsmasq = opaque;
	log_warning("network '%s': its dnsmasq has ended; it is started again", dnsmasq->network->name);
	forget_process(dnsmasq);
	start_later(dnsmasq);
}

struct dnsmasq *network_dnsmasq_new(struct network *network)
{
	struct dnsmasq *dnsmasq = g_new0(struct dnsmasq, 1);
	dnsmasq->network = network;
	dnsmasq->pidfd = -1;
	aio_timer_init(&dnsmasq->timer, network->all->daemon->loop, on_again, dnsmasq);
	return dnsmasq;
}

void network_dnsmasq_free(struct dnsmasq *dnsmasq)
{
	aio_timer_cancel(&dnsmasq->timer);
	forget_process(dnsmasq);
	g_free(dnsmasq);
}

void network_watch_dnsmasq(struct network *network, pid_t pid)
{
	struct dnsmasq *dnsmasq = network->dnsmasq;
	if (pid && pid == dnsmasq->pid)
		return;
	forget_process(dnsmasq);
	aio_timer_cancel(&dnsmasq->timer);
	if (!pid)
		return;
	dnsmasq->pid = pid;
	dnsmasq->started_ns = aio_now_ns();
	dnsmasq->pidfd = syscall(SYS_pidfd_open, pid, 0);
	if (dnsmasq->pidfd >= 0)
		dnsmasq->watch = aio_watch_add(network->all->daemon->loop, dnsmasq->pidfd, POLLIN, on_end,
					       dnsmasq);
	else
		start_later(dnsmasq);
}

void network_retry_dnsmasq(struct network *network)
{
	forget_process(network->dnsmasq);
	start_later(network->dnsmasq);
}

/* --- The firewall ----------------------------------------------------------------------------- */

struct network_watch {
	struct networks *networks;
	struct nft_watch *nft;
	struct aio_timer timer;
};

static void on_settled(void *opaque)
{
	struct network_watch *watch = opaque;
	g_autoptr(GList) all = g_hash_table_get_values(watch->networks->by_uuid);
	for (GList *link = all; link; link = link->next) {
		struct network *network = link->data;
		if (network->live && network->listing)
			network_check_rules(network);
	}
}

/* News that goes on and on does not put the look at the rules off. */
static void on_news(void *opaque, const struct nft_news *news)
{
	struct network_watch *watch = opaque;
	if (!aio_timer_is_armed(&watch->timer))
		aio_timer_arm(&watch->timer, aio_now_ns() + SETTLE_MS * INT64_C(1000000));
}

struct network_watch *network_watch_new(struct networks *networks)
{
	g_autoptr(GError) error = NULL;
	struct network_watch *watch = g_new0(struct network_watch, 1);
	watch->networks = networks;
	aio_timer_init(&watch->timer, networks->daemon->loop, on_settled, watch);
	watch->nft = nft_watch_new(networks->daemon->loop, NETWORK_TABLE_PREFIX, on_news, watch, &error);
	if (watch->nft)
		return watch;
	log_info("%s", error->message);
	g_free(watch);
	return NULL;
}

void network_watch_free(struct network_watch *watch)
{
	if (!watch)
		return;
	aio_timer_cancel(&watch->timer);
	nft_watch_free(watch->nft);
	g_free(watch);
}
