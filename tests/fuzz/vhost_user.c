/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a vhost-user server answers, all of it beforehand: while the back end meets it, and to rings that
 * begin and end.
 */
#include "aio/loop.h"
#include "aio/net.h"
#include "base/fd.h"
#include "chardev/chardev.h"
#include "net/net.h"
#include "net/vhost.h"

#include <assert.h>
#include <glib/gstdio.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct chardev *find_chardev(void *opaque, const char *id, GError **error)
{
	return opaque;
}

static void use(struct net_backend *net)
{
	auto_fd bell = eventfd(0, EFD_CLOEXEC);
	const struct vhost_region region = {.size = 4096, .host = &bell, .fd = bell};
	struct vhost_ring ring = {.index = 0, .size = 64, .kick = bell, .call = bell};
	for (unsigned i = 0; i < 4 && net->vhost->ready(net); i++) {
		uint16_t base;
		ring.index = i;
		(void)net->vhost->lacks(net);
		if (net->vhost->prepare(net, UINT64_MAX, &region, 1, NULL) &&
		    net->vhost->start_ring(net, &ring, NULL))
			(void)net->vhost->stop_ring(net, i, &base);
		aio_loop_iterate(net->loop, 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autofree char *path = g_strdup_printf("%s/berth-fuzz-%d", g_get_tmp_dir(), (int)getpid());
	const char *const chr_keys[] = {"path", NULL}, *const chr_values[] = {path, NULL};
	const char *const keys[] = {"chardev", NULL}, *const values[] = {"c", NULL};
	struct aio_loop *loop = aio_loop_new(NULL);
	auto_fd listener = net_listen_unix(path, NULL);
	struct chardev *chr = chardev_new("socket", "c", chr_keys, chr_values, loop, NULL);
	assert(chr);
	auto_fd server = accept(listener, NULL, NULL);
	/* Few enough to fit into the socket. */
	if (size && write(server, data, MIN(size, 4096)) < 0)
		abort();
	shutdown(server, SHUT_WR);
	const struct net_host host = {loop, find_chardev, chr};
	struct net_backend *net = net_backend_new("vhost-user", "n", keys, values, &host, NULL);
	if (net)
		use(net);
	net_backend_free(net);
	chardev_free(chr);
	aio_loop_free(loop);
	g_unlink(path);
	return 0;
}
