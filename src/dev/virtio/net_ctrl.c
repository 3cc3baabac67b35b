/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control queue, virtio 1.2 section 5.1.6.5: receive modes, address and VLAN filters, number of
 * queue pairs, offloads. Runs on the loop that receives packets, so the filters need no lock; only
 * the hardware address is also read as configuration, under vdev->lock.
 */
#include "dev/virtio/net_int.h"

#include "base/bytes.h"
#include "base/lock.h"

#include <string.h>

enum { CLASS_RX = 0, CLASS_MAC = 1, CLASS_VLAN = 2, CLASS_ANNOUNCE = 3, CLASS_MQ = 4, CLASS_OFFLOADS = 5 };
enum { RX_PROMISC, RX_ALLMULTI, RX_ALLUNI, RX_NOMULTI, RX_NOUNI, RX_NOBCAST };
enum { MAC_TABLE_SET = 0, MAC_ADDR_SET = 1 };
enum { VLAN_ADD = 0, VLAN_DEL = 1 };

void net_filter_reset(struct virtio_net *net)
{
	memset(&net->filter, 0, sizeof(net->filter));
	/* As before there were filters: everything, until the driver says otherwise. */
	net->filter.promiscuous = true;
	/* 5.1.6.5.3: without the feature all VLANs pass. */
	memset(net->filter.vlans, 0xff, sizeof(net->filter.vlans));
}

bool net_filter_accepts(const struct virtio_net *net, const uint8_t *frame, size_t length)
{
	static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	if (length < 14)
		return false;
	if (net->filter.promiscuous)
		return true;
	if (be16_load(frame + 12) == 0x8100) {
		unsigned vlan = length >= 16 ? be16_load(frame + 14) & 0xfff : 0;
		if (!(net->filter.vlans[vlan / 32] >> vlan % 32 & 1))
			return false;
	}
	unsigned first = 0, end = net->filter.unicast;
	if (frame[0] & 1) {
		if (!memcmp(frame, broadcast, 6))
			return !net->filter.no_broadcast;
		if (net->filter.no_multicast)
			return false;
		if (net->filter.all_multicast || net->filter.multicast_overflow)
			return true;
		first = end;
		end += net->filter.multicast;
	} else {
		if (net->filter.no_unicast)
			return false;
		if (net->filter.all_unicast || net->filter.unicast_overflow ||
		    !memcmp(frame, net->current_mac, 6))
			return true;
	}
	for (unsigned i = first; i < end; i++) {
		if (!memcmp(frame, net->filter.table[i], 6))
			return true;
	}
	return false;
}

static bool ctrl_rx(struct virtio_net *net, uint8_t command, const struct virtq_chain *chain)
{
	uint8_t on;
	if (virtq_read(chain, 2, &on, 1) != 1 || !virtio_has(&net->vdev, NET_F_CTRL_RX) ||
	    (command > RX_ALLMULTI && !virtio_has(&net->vdev, NET_F_CTRL_RX_EXTRA)))
		return false;
	switch (command) {
	case RX_PROMISC:
		net->filter.promiscuous = on;
		return true;
	case RX_ALLMULTI:
		net->filter.all_multicast = on;
		return true;
	case RX_ALLUNI:
		net->filter.all_unicast = on;
		return true;
	case RX_NOMULTI:
		net->filter.no_multicast = on;
		return true;
	case RX_NOUNI:
		net->filter.no_unicast = on;
		return true;
	case RX_NOBCAST:
		net->filter.no_broadcast = on;
		return true;
	default:
		return false;
	}
}

/* One list of the MAC table: a count and addresses. What does not fit is "all of that kind". */
static bool read_macs(struct virtio_net *net, const struct virtq_chain *chain, uint64_t *offset,
		      unsigned used, unsigned *count, bool *overflow)
{
	uint8_t raw[4];
	if (virtq_read(chain, *offset, raw, 4) != 4)
		return false;
	uint64_t entries = le32_load(raw);
	*offset += 4;
	if (entries * 6 > chain->out_bytes - *offset)
		return false;
	*overflow = entries > VIRTIO_NET_MAC_TABLE - used;
	*count = *overflow ? 0 : entries;
	virtq_read(chain, *offset, net->filter.table[used], *count * 6);
	*offset += entries * 6;
	return true;
}

static bool ctrl_mac(struct virtio_net *net, uint8_t command, const struct virtq_chain *chain)
{
	if (command == MAC_ADDR_SET && virtio_has(&net->vdev, NET_F_CTRL_MAC_ADDR)) {
		uint8_t mac[6];
		if (chain->out_bytes != 8 || virtq_read(chain, 2, mac, 6) != 6)
			return false;
		LOCK_SCOPE(&net->vdev.lock);
		memcpy(net->current_mac, mac, 6);
		return true;
	}
	if (command == MAC_TABLE_SET && virtio_has(&net->vdev, NET_F_CTRL_RX)) {
		uint64_t offset = 2;
		net->filter.unicast = net->filter.multicast = 0;
		net->filter.unicast_overflow = net->filter.multicast_overflow = false;
		return read_macs(net, chain, &offset, 0, &net->filter.unicast,
				 &net->filter.unicast_overflow) &&
		       read_macs(net, chain, &offset, net->filter.unicast, &net->filter.multicast,
				 &net->filter.multicast_overflow);
	}
	return false;
}

static bool ctrl_vlan(struct virtio_net *net, uint8_t command, const struct virtq_chain *chain)
{
	uint8_t raw[2];
	if (virtq_read(chain, 2, raw, 2) != 2 || !virtio_has(&net->vdev, NET_F_CTRL_VLAN))
		return false;
	unsigned vlan = le16_load(raw);
	if (vlan >= 4096 || command > VLAN_DEL)
		return false;
	uint32_t bit = UINT32_C(1) << vlan % 32;
	if (command == VLAN_ADD)
		net->filter.vlans[vlan / 32] |= bit;
	else
		net->filter.vlans[vlan / 32] &= ~bit;
	return true;
}

static bool ctrl_mq(struct virtio_net *net, uint8_t command, const struct virtq_chain *chain)
{
	uint8_t raw[2];
	if (command != 0 || !virtio_has(&net->vdev, NET_F_MQ) || virtq_read(chain, 2, raw, 2) != 2)
		return false;
	unsigned pairs = le16_load(raw);
	if (!pairs || pairs > net->pairs)
		return false;
	net->current_pairs = pairs;
	net_agree(net);
	if (net->vhost_rings)
		net_vhost_update(net);
	for (unsigned i = 0; i < pairs; i++)
		virtq_kick_later(net_rx_queue(net, i));
	return true;
}

static bool ctrl_offloads(struct virtio_net *net, uint8_t command, const struct virtq_chain *chain)
{
	uint8_t raw[8];
	if (command != 0 || !virtio_has(&net->vdev, NET_F_CTRL_GUEST_OFFLOADS) ||
	    virtq_read(chain, 2, raw, 8) != 8)
		return false;
	uint64_t wanted = le64_load(raw);
	if (wanted & ~(net->vdev.accepted & NET_GUEST_OFFLOADS))
		return false;
	net->guest_offloads = wanted;
	net_agree(net);
	return true;
}

static bool ctrl_command(struct virtio_net *net, const struct virtq_chain *chain)
{
	uint8_t header[2];
	if (virtq_read(chain, 0, header, 2) != 2)
		return false;
	switch (header[0]) {
	case CLASS_RX:
		return ctrl_rx(net, header[1], chain);
	case CLASS_MAC:
		return ctrl_mac(net, header[1], chain);
	case CLASS_VLAN:
		return ctrl_vlan(net, header[1], chain);
	case CLASS_ANNOUNCE:
		if (header[1] != 0 || !virtio_has(&net->vdev, NET_F_GUEST_ANNOUNCE))
			return false;
		atomic_store(&net->announce, false);
		return true;
	case CLASS_MQ:
		return ctrl_mq(net, header[1], chain);
	case CLASS_OFFLOADS:
		return ctrl_offloads(net, header[1], chain);
	default:
		return false;
	}
}

void net_ctrl_kick(struct virtio_net *net, struct virtqueue *vq)
{
	unsigned budget = 2 * virtq_size(vq);
	do {
		struct virtq_chain *chain;
		while (budget && (chain = virtq_pop(vq))) {
			if (!chain->in_bytes || chain->out_bytes < 2) {
				virtio_broken(&net->vdev, "control command without room for an answer");
				virtq_drop(vq, chain);
				return;
			}
			uint8_t ack = ctrl_command(net, chain) ? 0 : 1;
			virtq_write(chain, 0, &ack, 1);
			virtq_push(vq, chain, 1);
			budget--;
		}
		if (!budget) {
			virtq_kick_later(vq);
			break;
		}
	} while (virtq_enable_kicks(vq));
	virtq_notify(vq);
}
