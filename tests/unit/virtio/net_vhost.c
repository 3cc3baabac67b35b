/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rings that the back end serves: when they run, what the server is told, and who hears whom. */
#include "dev/virtio/net_int.h"

#include "dev/virtio/devices.h"
#include "vd_fakes.h"
#include "vdriver.h"

#include <string.h>

struct server {
	bool there, lost, refuses;
	bool runs[4];
	struct vhost_ring rings[4];
	unsigned prepared;
	uint64_t features;
	struct vhost_region first;
	uint16_t base; /* what the next ring that is stopped had come to */
};

static struct server *server_of(struct net_backend *net)
{
	return net->vhost_opaque;
}

static uint64_t server_lacks(struct net_backend *net)
{
	return VIRTIO_BIT(NET_F_MRG_RXBUF);
}

static bool server_ready(struct net_backend *net)
{
	return server_of(net)->there;
}

static bool server_prepare(struct net_backend *net, uint64_t features, const struct vhost_region *regions,
			   unsigned count, GError **error)
{
	struct server *server = server_of(net);
	for (unsigned i = 0; i < 4; i++)
		g_assert_false(server->runs[i]);
	g_assert_cmpuint(count, >, 0);
	server->features = features;
	server->first = regions[0];
	server->prepared++;
	if (server->refuses)
		g_set_error_literal(error, g_quark_from_static_string("test"), 1, "it refuses");
	return !server->refuses;
}

static bool server_start(struct net_backend *net, const struct vhost_ring *ring, GError **error)
{
	struct server *server = server_of(net);
	g_assert_cmpuint(ring->index, <, 4);
	g_assert_false(server->runs[ring->index]);
	g_assert_cmpuint(server->prepared, >, 0);
	server->runs[ring->index] = true;
	server->rings[ring->index] = *ring;
	return true;
}

static bool server_stop(struct net_backend *net, unsigned index, uint16_t *base)
{
	struct server *server = server_of(net);
	g_assert_true(server->runs[index]);
	server->runs[index] = false;
	*base = server->base;
	return !server->lost;
}

static const struct vhost_ops server_ops = {
	.regions_max = 2,
	.lacks = server_lacks, .ready = server_ready, .prepare = server_prepare,
	.start_ring = server_start, .stop_ring = server_stop,
};

struct env {
	struct vd_machine m;
	struct vd vd;
	struct vdq rx, tx;
	struct fake_net net;
	struct server server;
};

static void open_driver(struct env *e)
{
	g_assert_true(vd_negotiate(&e->vd, ~UINT64_C(0)));
	vdq_open(&e->rx, &e->vd, 0, 32);
	vdq_open(&e->tx, &e->vd, 1, 16);
	vd_driver_ok(&e->vd);
	vd_pump(&e->m, 2, NULL);
}

static void env_open(struct env *e, const struct device_class *class)
{
	static const char *const properties[] = {"netdev", "net", "packed", "on", NULL};
	struct fakes fakes = {.net = &e->net};
	struct device_resolver resolver = fakes_resolver(&fakes);
	memset(e, 0, sizeof(*e));
	vd_machine_init(&e->m);
	fake_net_init(&e->net, e->m.loop, NET_OFFLOAD_CSUM);
	e->server.there = true;
	e->net.net.vhost = &server_ops;
	e->net.net.vhost_opaque = &e->server;
	vd_open(&e->vd, &e->m, class, &resolver, properties);
	open_driver(e);
}

static void env_close(struct env *e)
{
	vd_close(&e->vd);
	for (unsigned i = 0; i < 4; i++)
		g_assert_false(e->server.runs[i]);
	fake_net_free(&e->net);
	vd_machine_free(&e->m);
}

static void assert_runs(const struct env *e, bool runs)
{
	g_assert_cmpuint(e->server.runs[0], ==, runs);
	g_assert_cmpuint(e->server.runs[1], ==, runs);
	g_assert_false(e->server.runs[2]);
}

static void test_rings(gconstpointer class)
{
	struct env e;
	uint64_t count = 0;
	env_open(&e, class);
	assert_runs(&e, true);
	/* What the server lacks, and packed rings, were not on offer; what nobody does is neither. */
	g_assert_cmphex(e.server.features & (VIRTIO_BIT(NET_F_MRG_RXBUF) | VIRTIO_BIT(VIRTIO_F_RING_PACKED) |
					     VIRTIO_BIT(NET_F_HOST_TSO4)), ==, 0);
	g_assert_true(e.server.features & VIRTIO_BIT(VIRTIO_F_VERSION_1));
	g_assert_true(e.server.features & VIRTIO_BIT(NET_F_CSUM));
	g_assert_cmpuint(e.server.prepared, ==, 1);
	g_assert_true(e.server.first.host == e.m.mem);
	const struct vhost_ring *tx = &e.server.rings[1];
	g_assert_cmpuint(tx->size, ==, 16);
	g_assert_cmpuint(tx->base, ==, 0);
	g_assert_true(tx->desc == e.m.mem + e.tx.desc && tx->avail == e.m.mem + e.tx.driver &&
		      tx->used == e.m.mem + e.tx.device);
	/* The driver's doorbell is the server's, and the server's call interrupts the driver. */
	vdq_kick(&e.tx);
	vd_pump(&e.m, 2, NULL);
	g_assert_cmpint(read(tx->kick, &count, sizeof(count)), ==, sizeof(count));
	g_assert_cmpuint(e.net.sent, ==, 0);
	unsigned before = e.m.interrupts;
	g_assert_cmpint(write(tx->call, &(uint64_t){1}, sizeof(uint64_t)), ==, sizeof(uint64_t));
	vd_pump(&e.m, 2, NULL);
	g_assert_cmpuint(e.m.interrupts, ==, before + 1);
	env_close(&e);
}

static void set_link(struct env *e, bool up)
{
	e->net.net.link_up = up;
	e->net.receiver.link_changed(e->net.receiver.opaque, up);
}

/* What stops the rings, and where they go on. */
static void test_stops(void)
{
	struct env e;
	env_open(&e, &virtio_net_pci);
	e.server.base = 7;
	set_link(&e, false);
	assert_runs(&e, false);
	g_assert_cmpuint(vd_config(&e.vd, 6, 2) & 1, ==, 0);
	set_link(&e, true);
	assert_runs(&e, true);
	g_assert_cmpuint(e.server.rings[0].base, ==, 7);
	g_assert_cmpuint(e.server.prepared, ==, 2);

	e.server.base = 9;
	e.vd.dev->class->stop(e.vd.dev);
	assert_runs(&e, false);
	e.vd.dev->class->start(e.vd.dev);
	vd_pump(&e.m, 2, NULL);
	assert_runs(&e, true);
	g_assert_cmpuint(e.server.rings[1].base, ==, 9);

	/* It goes away without a word: the ring itself tells. */
	e.server.lost = true;
	e.server.there = false;
	memcpy(e.m.mem + e.rx.device + 2, &(uint16_t){5}, 2);
	e.net.receiver.link_changed(e.net.receiver.opaque, true);
	assert_runs(&e, false);
	g_assert_cmpuint(vd_config(&e.vd, 6, 2) & 1, ==, 0);
	e.server.lost = false;
	e.server.there = true;
	e.net.receiver.link_changed(e.net.receiver.opaque, true);
	assert_runs(&e, true);
	g_assert_cmpuint(e.server.rings[0].base, ==, 5);
	g_assert_cmpuint(vd_config(&e.vd, 6, 2) & 1, ==, 1);

	/* A reset; then the driver begins anew. */
	vd_set_status(&e.vd, 0);
	vd_pump(&e.m, 2, NULL);
	g_assert_cmpuint(vd_status(&e.vd), ==, 0);
	assert_runs(&e, false);
	open_driver(&e);
	assert_runs(&e, true);
	g_assert_cmpuint(e.server.rings[0].base, ==, 0);
	/* One ring of two. */
	vdq_reset(&e.rx);
	vd_pump(&e.m, 2, NULL);
	g_assert_false(e.server.runs[0]);
	g_assert_true(e.server.runs[1]);
	env_close(&e);
}

static void test_refusal(void)
{
	struct env e;
	env_open(&e, &virtio_net_pci);
	vd_set_status(&e.vd, 0);
	vd_pump(&e.m, 2, NULL);
	e.server.refuses = true;
	open_driver(&e);
	assert_runs(&e, false);
	g_assert_true(vd_status(&e.vd) & VIRTIO_STATUS_NEEDS_RESET);
	env_close(&e);
}

static void test_memory(void)
{
	struct env e;
	g_autoptr(GError) error = NULL;
	struct ram_block *ram = ram_block_new("more", 1 << 20, NULL, NULL);
	env_open(&e, &virtio_net_pci);
	g_assert_true(virtio_net_takes_memory(e.vd.dev, ram, 1, &error));
	g_assert_no_error(error);
	g_assert_false(virtio_net_takes_memory(e.vd.dev, ram, 2, &error));
	g_assert_nonnull(strstr(error->message, "2 parts, and these are 3"));
	env_close(&e);
	ram_block_free(ram);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_data_func("/virtio/net/vhost/rings/pci", &virtio_net_pci, test_rings);
	g_test_add_data_func("/virtio/net/vhost/rings/mmio", &virtio_net_device, test_rings);
	g_test_add_func("/virtio/net/vhost/stops", test_stops);
	g_test_add_func("/virtio/net/vhost/refusal", test_refusal);
	g_test_add_func("/virtio/net/vhost/memory", test_memory);
	return g_test_run();
}
