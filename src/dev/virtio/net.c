/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Network device, virtio 1.2 section 5.1: features, configuration and life. All queues live on the
 * back end's loop, as sending and receiving must happen there.
 *
 * Offloads of packets from the guest are always on offer: if the back end cannot do them, net_tx.c
 * does. Offloads of packets to the guest are on offer as far as the back end can give them.
 */
#include "dev/virtio/net_int.h"

#include "base/bytes.h"
#include "base/error.h"

#include <string.h>

enum {
	CONFIG_MAC = 0, CONFIG_STATUS = 6, CONFIG_PAIRS = 8, CONFIG_MTU = 10, CONFIG_SPEED = 12,
	CONFIG_DUPLEX = 16, CONFIG_SIZE = 20,
};
enum { STATUS_LINK_UP = 1, STATUS_ANNOUNCE = 2 };

const char *const virtio_net_duplex_names[] = {"half", "full", "unknown", NULL};

/* ---- Agreement with the back end ---- */

void net_agree(struct virtio_net *net)
{
	static const struct {
		unsigned feature;
		enum net_offload offload;
	} map[] = {
		{NET_F_GUEST_CSUM, NET_OFFLOAD_CSUM}, {NET_F_GUEST_TSO4, NET_OFFLOAD_TSO4},
		{NET_F_GUEST_TSO6, NET_OFFLOAD_TSO6}, {NET_F_GUEST_ECN, NET_OFFLOAD_ECN},
	};
	net->vnet_stale = false;
	if (net->backend->ops->set_queues)
		net->backend->ops->set_queues(net->backend, net->current_pairs);
	if (!net->vnet)
		return;
	uint32_t offloads = 0;
	for (unsigned i = 0; i < G_N_ELEMENTS(map); i++) {
		if (net->guest_offloads >> map[i].feature & 1)
			offloads |= map[i].offload;
	}
	net->backend->ops->set_vnet(net->backend, true, offloads);
}

static void net_link_changed(void *opaque, bool up)
{
	struct virtio_net *net = opaque;
	if (net->vhost_rings) {
		net_vhost_update(net);
		up = up && net->backend->vhost->ready(net->backend);
	}
	if (atomic_exchange(&net->link_up, up) == up)
		return;
	/* 5.1.6.5.4: after the link came back the guest should make itself known. */
	if (up && virtio_has(&net->vdev, NET_F_GUEST_ANNOUNCE))
		atomic_store(&net->announce, true);
	virtio_config_changed(&net->vdev);
}

static void net_writable(void *opaque, unsigned pair)
{
	struct virtio_net *net = opaque;
	if (pair < net->pairs)
		net_tx_kick(net, pair);
}

/* ---- Queues ---- */

static bool is_control(const struct virtio_net *net, unsigned n)
{
	/* 5.1.2: behind all pairs, or behind the first if the driver knows of only one. */
	return n == (virtio_has(&net->vdev, NET_F_MQ) ? 2 * net->pairs : 2) &&
	       virtio_has(&net->vdev, NET_F_CTRL_VQ);
}

static void net_kick(struct virtio_device *vdev, struct virtqueue *vq)
{
	struct virtio_net *net = (struct virtio_net *)vdev;
	unsigned n = virtq_index(vq);
	if (net->vnet_stale)
		net_agree(net);
	if (net->vhost_rings && n < 2 * net->pairs) {
		net_vhost_update(net);
	} else if (is_control(net, n)) {
		net_ctrl_kick(net, vq);
	} else if (n >= 2 * net->pairs) {
		return; /* the control queue of a driver that does not know it */
	} else if (n & 1) {
		net_tx_kick(net, n / 2);
	} else {
		virtq_disable_kicks(vq);
		net->backend->ops->receive_ready(net->backend, n / 2);
	}
}

static void net_drop(struct virtio_device *vdev, struct virtqueue *vq)
{
	struct virtio_net *net = (struct virtio_net *)vdev;
	unsigned n = virtq_index(vq);
	if (n >= 2 * net->pairs)
		return;
	if (net->vhost_rings)
		net_vhost_drop(net, n);
	else if (n & 1)
		net_tx_drop(net, n / 2);
}

/* ---- Features and configuration ---- */

/* 5.1.3.1: those of `features` that need another which is not there. */
static uint64_t features_unmet(uint64_t features)
{
	static const struct {
		unsigned feature, a, b; /* needs a or b */
	} needs[] = {
		{NET_F_GUEST_TSO4, NET_F_GUEST_CSUM, NET_F_GUEST_CSUM},
		{NET_F_GUEST_TSO6, NET_F_GUEST_CSUM, NET_F_GUEST_CSUM},
		{NET_F_GUEST_ECN, NET_F_GUEST_TSO4, NET_F_GUEST_TSO6},
		{NET_F_HOST_TSO4, NET_F_CSUM, NET_F_CSUM},
		{NET_F_HOST_TSO6, NET_F_CSUM, NET_F_CSUM},
		{NET_F_HOST_ECN, NET_F_HOST_TSO4, NET_F_HOST_TSO6},
		{NET_F_CTRL_RX, NET_F_CTRL_VQ, NET_F_CTRL_VQ},
		{NET_F_CTRL_VLAN, NET_F_CTRL_VQ, NET_F_CTRL_VQ},
		{NET_F_GUEST_ANNOUNCE, NET_F_CTRL_VQ, NET_F_CTRL_VQ},
		{NET_F_MQ, NET_F_CTRL_VQ, NET_F_CTRL_VQ},
		{NET_F_CTRL_MAC_ADDR, NET_F_CTRL_VQ, NET_F_CTRL_VQ},
	};
	uint64_t unmet = 0;
	for (unsigned i = 0; i < G_N_ELEMENTS(needs); i++) {
		uint64_t either = VIRTIO_BIT(needs[i].a) | VIRTIO_BIT(needs[i].b);
		if (features >> needs[i].feature & 1 && !(features & either))
			unmet |= VIRTIO_BIT(needs[i].feature);
	}
	return unmet;
}

static uint64_t net_features(struct virtio_device *vdev)
{
	const struct virtio_net *net = (struct virtio_net *)vdev;
	uint32_t gives = net->backend_offloads;
	/* Who does the work that the back end does not: net_tx.c. */
	bool here = !net->vnet && !net->vhost_rings;
	bool take_csum = net->csum && (here || gives & NET_OFFLOAD_CSUM);
	bool cut = take_csum && net->gso;
	bool give_csum = net->guest_csum && (here || gives & NET_OFFLOAD_CSUM);
	bool give4 = give_csum && net->guest_tso4 && gives & NET_OFFLOAD_TSO4;
	bool give6 = give_csum && net->guest_tso6 && gives & NET_OFFLOAD_TSO6;
	const struct {
		unsigned feature;
		bool on;
	} list[] = {
		{NET_F_MAC, true},
		{NET_F_CSUM, take_csum},
		{NET_F_HOST_TSO4, cut && net->host_tso4 && (here || gives & NET_OFFLOAD_TSO4)},
		{NET_F_HOST_TSO6, cut && net->host_tso6 && (here || gives & NET_OFFLOAD_TSO6)},
		{NET_F_HOST_ECN, cut && net->host_ecn && (here || gives & NET_OFFLOAD_ECN)},
		{NET_F_GUEST_CSUM, give_csum},
		{NET_F_GUEST_TSO4, give4},
		{NET_F_GUEST_TSO6, give6},
		{NET_F_GUEST_ECN, (give4 || give6) && net->guest_ecn && gives & NET_OFFLOAD_ECN},
		{NET_F_MTU, net->mtu},
		{NET_F_MRG_RXBUF, net->mrg_rxbuf},
		{NET_F_STATUS, net->status_},
		{NET_F_SPEED_DUPLEX, net->speed != UINT32_MAX || net->duplex != 2},
		{NET_F_CTRL_VQ, net->ctrl_vq},
		{NET_F_CTRL_RX, net->ctrl_vq && net->ctrl_rx},
		{NET_F_CTRL_RX_EXTRA, net->ctrl_vq && net->ctrl_rx && net->ctrl_rx_extra},
		{NET_F_CTRL_VLAN, net->ctrl_vq && net->ctrl_vlan},
		{NET_F_CTRL_MAC_ADDR, net->ctrl_vq && net->ctrl_mac_addr},
		{NET_F_CTRL_GUEST_OFFLOADS, net->ctrl_vq && give_csum && net->ctrl_guest_offloads},
		{NET_F_GUEST_ANNOUNCE, net->ctrl_vq && net->status_ && net->guest_announce},
		{NET_F_MQ, net->ctrl_vq && net->pairs > 1},
	};
	uint64_t features = 0;
	for (unsigned i = 0; i < G_N_ELEMENTS(list); i++) {
		if (list[i].on)
			features |= VIRTIO_BIT(list[i].feature);
	}
	/* Who serves the rings may have some of them only in part. */
	features &= ~vdev->withheld;
	for (uint64_t unmet; (unmet = features_unmet(features));)
		features &= ~unmet;
	return features;
}

static bool net_features_ok(struct virtio_device *vdev, uint64_t accepted)
{
	const struct virtio_net *net = (struct virtio_net *)vdev;
	if (features_unmet(accepted))
		return false;
	/* The control queue would be in the place of a ring whose doorbells go to the server. */
	return !net->vhost_rings || net->pairs == 1 || accepted & VIRTIO_BIT(NET_F_MQ) ||
	       !(accepted & VIRTIO_BIT(NET_F_CTRL_VQ));
}

static void net_read_config(struct virtio_device *vdev, uint8_t *config)
{
	const struct virtio_net *net = (struct virtio_net *)vdev;
	uint16_t status = 0;
	if (atomic_load(&net->link_up))
		status |= STATUS_LINK_UP;
	if (atomic_load(&net->announce))
		status |= STATUS_ANNOUNCE;
	memcpy(config + CONFIG_MAC, net->current_mac, 6);
	le16_store(config + CONFIG_STATUS, status);
	le16_store(config + CONFIG_PAIRS, net->pairs);
	le16_store(config + CONFIG_MTU, net->mtu);
	le32_store(config + CONFIG_SPEED, net->speed);
	config[CONFIG_DUPLEX] = net->duplex == 2 ? 0xff : net->duplex;
}

static void net_driver_ok(struct virtio_device *vdev)
{
	struct virtio_net *net = (struct virtio_net *)vdev;
	/* The loop sees these when it sees the queues live. */
	net->guest_offloads = vdev->accepted & NET_GUEST_OFFLOADS;
	net->vnet_stale = true;
	/* 5.1.6.5.3: with the feature a driver adds the VLANs that it wants. */
	memset(net->filter.vlans, virtio_has(vdev, NET_F_CTRL_VLAN) ? 0 : 0xff,
	       sizeof(net->filter.vlans));
}

static void net_reset(struct virtio_device *vdev)
{
	struct virtio_net *net = (struct virtio_net *)vdev;
	memcpy(net->current_mac, net->mac, 6);
	net->current_pairs = 1;
	net->guest_offloads = 0;
	net->vnet_stale = true;
	atomic_store(&net->announce, false);
	net_filter_reset(net);
}

/* ---- Life ---- */

static bool check_properties(struct virtio_net *net, GError **error)
{
	const uint16_t sizes[] = {net->rx_queue_size, net->tx_queue_size};
	for (unsigned i = 0; i < 2; i++) {
		if (sizes[i] < 2 || sizes[i] > VIRTQUEUE_MAX_SIZE || sizes[i] & (sizes[i] - 1))
			return error_set(error, BERTH_ERR_INVALID,
					 "%cx_queue_size=%u is not a power of two from 2 to %u",
					 i ? 't' : 'r', sizes[i], VIRTQUEUE_MAX_SIZE);
	}
	if (net->mtu && net->mtu < 68)
		return error_set(error, BERTH_ERR_INVALID, "host_mtu=%u is less than 68", net->mtu);
	if (net->mac[0] & 1)
		return error_set(error, BERTH_ERR_INVALID, "mac is a multicast address");
	return true;
}

static bool net_create(struct virtio_device *vdev, GError **error)
{
	struct virtio_net *net = (struct virtio_net *)vdev;
	struct net_backend *backend = net->backend;
	if (!backend)
		return error_set(error, BERTH_ERR_INVALID,
				 "%s needs a network: give it netdev=ID of a -netdev",
				 vdev->owner->class->name);
	if (!check_properties(net, error))
		return false;
	net_mac_complete(net->mac, backend);
	net->pairs = net->mq ? CLAMP(backend->ops->queues(backend), 1, VIRTIO_NET_PAIRS_MAX) : 1;
	net->backend_offloads = backend->ops->offloads ? backend->ops->offloads(backend) : 0;
	net->vnet = net->backend_offloads && backend->ops->set_vnet(backend, true, 0);
	if (!net->vnet)
		net->backend_offloads = 0;

	net->tx = g_new0(struct net_tx, net->pairs);
	net->rx_chains = g_new0(struct virtq_chain *, net->rx_queue_size);
	net->rx_written = g_new0(uint32_t, net->rx_queue_size);
	for (unsigned i = 0; i < net->pairs; i++) {
		net->tx[i].flat = g_malloc(NET_PACKET_MAX);
		if (!virtio_add_queue(vdev, net->rx_queue_size, backend->loop, error) ||
		    !virtio_add_queue(vdev, net->tx_queue_size, backend->loop, error))
			return false;
	}
	if (net->ctrl_vq && !virtio_add_queue(vdev, 64, backend->loop, error))
		return false;
	if (backend->vhost && !net_vhost_open(net, error))
		return false;
	atomic_store(&net->link_up,
		     backend->link_up && (!backend->vhost || backend->vhost->ready(backend)));
	net_reset(vdev);
	struct net_receiver receiver = {
		.can_receive = net_rx_can_receive, .receive = net_rx_receive,
		.writable = net_writable, .link_changed = net_link_changed, .opaque = net,
	};
	backend->ops->set_receiver(backend, &receiver);
	return true;
}

/* The VM pauses: a server elsewhere must pause with it. */
static void net_stop(struct virtio_device *vdev)
{
	struct virtio_net *net = (struct virtio_net *)vdev;
	if (net->vhost_rings)
		net_vhost_update(net);
}

static void net_destroy(struct virtio_device *vdev)
{
	struct virtio_net *net = (struct virtio_net *)vdev;
	if (net->backend)
		net->backend->ops->set_receiver(net->backend, NULL);
	for (unsigned i = 0; net->tx && i < net->pairs; i++)
		g_free(net->tx[i].flat);
	g_clear_pointer(&net->tx, g_free);
	g_clear_pointer(&net->vhost_rings, g_free);
	g_clear_pointer(&net->rx_chains, g_free);
	g_clear_pointer(&net->rx_written, g_free);
}

const struct virtio_type virtio_net_type = {
	.id = 1,
	.name = "virtio-net",
	.pci_class = 0x020000,
	.pci_rom = "efi-virtio.rom",
	.config_size = CONFIG_SIZE,
	.create = net_create,
	.stop = net_stop,
	.destroy = net_destroy,
	.features = net_features,
	.features_ok = net_features_ok,
	.read_config = net_read_config,
	.driver_ok = net_driver_ok,
	.reset = net_reset,
	.kick = net_kick,
	.drop = net_drop,
};
