/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The network device: packets both ways, offloads done in software, filters, full back ends. */
#include "dev/virtio/net_int.h"

#include "base/bytes.h"
#include "dev/virtio/devices.h"
#include "vd_fakes.h"
#include "vdriver.h"

#include <limits.h>
#include <string.h>

struct env {
	struct vd_machine m;
	struct vd vd;
	struct vdq rx, tx, ctrl;
	struct fake_net net;
	uint64_t out, in;
};

static void env_open(struct env *e, uint64_t features, uint32_t offloads)
{
	static const char *const properties[] = {"netdev", "net", "mac", "52:54:00:00:00:01",
						 "packed", "on", NULL};
	struct fakes fakes = {.net = &e->net};
	struct device_resolver resolver = fakes_resolver(&fakes);
	vd_machine_init(&e->m);
	fake_net_init(&e->net, e->m.loop, offloads);
	vd_open(&e->vd, &e->m, &virtio_net_device, &resolver, properties);
	g_assert_true(vd_negotiate(&e->vd, features));
	vdq_open(&e->rx, &e->vd, 0, 32);
	vdq_open(&e->tx, &e->vd, 1, 32);
	vdq_open(&e->ctrl, &e->vd, 2, 16);
	vd_driver_ok(&e->vd);
	vd_pump(&e->m, 2, NULL);
	e->out = vd_alloc(&e->m, 128 * 1024);
	e->in = vd_alloc(&e->m, 128 * 1024);
}

static void env_close(struct env *e)
{
	vd_close(&e->vd);
	g_assert_false(e->net.has_receiver);
	fake_net_free(&e->net);
	vd_machine_free(&e->m);
}

static unsigned fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static uint32_t sum16(const uint8_t *p, size_t n, uint32_t sum)
{
	for (size_t i = 0; i + 1 < n; i += 2)
		sum += be16_load(p + i);
	return n & 1 ? sum + (p[n - 1] << 8) : sum;
}

/* An Ethernet frame with IPv4 or IPv6 and TCP; returns its length. */
static size_t make_tcp(uint8_t *p, bool ipv6, size_t payload, uint8_t flags)
{
	size_t ip = ipv6 ? 40 : 20, length = 14 + ip + 20 + payload;
	memset(p, 0, 14 + ip + 20);
	be16_store(p + 12, ipv6 ? 0x86dd : 0x0800);
	uint8_t *h = p + 14;
	if (ipv6) {
		h[0] = 0x60;
		be16_store(h + 4, 20 + payload);
		h[6] = 6;
		memset(h + 8, 0x20, 32);
	} else {
		h[0] = 0x45;
		be16_store(h + 2, 40 + payload);
		be16_store(h + 4, 0xfffe);
		h[8] = 64;
		h[9] = 6;
		be32_store(h + 12, 0x0a00020f);
		be32_store(h + 16, 0x0a000202);
	}
	uint8_t *tcp = h + ip;
	be16_store(tcp, 1234);
	be16_store(tcp + 2, 80);
	be32_store(tcp + 4, 0xffffff00);
	tcp[12] = 0x50;
	tcp[13] = flags;
	for (size_t i = 0; i < payload; i++)
		tcp[20 + i] = i * 7;
	return length;
}

/* Sum over pseudo header and TCP: 0xffff if the checksum is right. */
static unsigned tcp_sum(const uint8_t *p, size_t length)
{
	bool ipv6 = be16_load(p + 12) == 0x86dd;
	const uint8_t *ip = p + 14, *tcp = ip + (ipv6 ? 40 : 20);
	size_t n = length - (tcp - p);
	uint32_t sum = 6 + n;
	sum = ipv6 ? sum16(ip + 8, 32, sum) : sum16(ip + 12, 8, sum);
	return fold(sum16(tcp, n, sum));
}

static void transmit(struct env *e, size_t length, size_t split)
{
	struct vd_buffer chain[] = {{e->out, split}, {e->out + split, 12 + length - split}};
	vdq_add(&e->tx, chain, 2, 0);
	vdq_kick(&e->tx);
	vd_pump(&e->m, 2, NULL);
	uint16_t id;
	uint32_t len;
	while (vdq_used(&e->tx, &id, &len))
		;
}

static void test_segments(gconstpointer data)
{
	bool ipv6 = GPOINTER_TO_INT(data);
	struct env e;
	env_open(&e, ~VIRTIO_BIT(VIRTIO_F_RING_PACKED), 0);
	uint8_t *header = e.m.mem + e.out, *frame = header + 12;
	size_t hdr = ipv6 ? 74 : 54, payload = 10000;
	size_t length = make_tcp(frame, ipv6, payload, 0x99); /* CWR, ACK, PSH, FIN */
	memset(header, 0, 12);
	header[VNET_FLAGS] = VNET_F_NEEDS_CSUM;
	header[VNET_GSO_TYPE] = ipv6 ? VNET_GSO_TCPV6 : VNET_GSO_TCPV4;
	le16_store(header + VNET_GSO_SIZE, 1400);
	le16_store(header + VNET_CSUM_START, hdr - 20);
	le16_store(header + VNET_CSUM_OFFSET, 16);
	/* The back end fills up half-way and goes on later. */
	e.net.room = 3;
	transmit(&e, length, 100);
	g_assert_cmpuint(e.net.sent, ==, 3);
	e.net.room = UINT_MAX;
	e.net.receiver.writable(e.net.receiver.opaque, 0);
	g_assert_cmpuint(e.net.sent, ==, 8);
	size_t at = 0;
	for (unsigned i = 0; i < 8; i++) {
		const uint8_t *p = e.net.packets[i], *ip = p + 14, *tcp = p + hdr - 20;
		size_t n = e.net.sizes[i] - hdr;
		g_assert_cmpuint(n, ==, i < 7 ? 1400 : 200);
		g_assert_cmpmem(p + hdr, n, frame + hdr + at, n);
		g_assert_cmphex(be32_load(tcp + 4), ==, (uint32_t)(0xffffff00 + at));
		g_assert_cmphex(tcp[13], ==, 0x10 | (i ? 0 : 0x80) | (i == 7 ? 9 : 0));
		g_assert_cmphex(tcp_sum(p, e.net.sizes[i]), ==, 0xffff);
		if (ipv6) {
			g_assert_cmpuint(be16_load(ip + 4), ==, 20 + n);
		} else {
			g_assert_cmpuint(be16_load(ip + 2), ==, 40 + n);
			g_assert_cmphex(be16_load(ip + 4), ==, (0xfffe + i) & 0xffff);
			g_assert_cmphex(fold(sum16(ip, 20, 0)), ==, 0xffff);
		}
		at += n;
	}
	g_assert_cmpuint(at, ==, payload);
	env_close(&e);
}

static void test_transmit(void)
{
	struct env e;
	env_open(&e, ~VIRTIO_BIT(VIRTIO_F_RING_PACKED), 0);
	uint8_t *header = e.m.mem + e.out, *frame = header + 12;
	size_t length = make_tcp(frame, false, 301, 0x10);
	memset(header, 0, 12);
	/* As it is, with the header cut in every way. */
	for (unsigned split = 1; split < 30; split += 3) {
		e.net.sent = 0;
		transmit(&e, length, split);
		g_assert_cmpuint(e.net.sent, ==, 1);
		g_assert_cmpmem(e.net.packets[0], e.net.sizes[0], frame, length);
	}
	/* A checksum to complete: the field has the pseudo header's sum. */
	uint32_t pseudo = sum16(frame + 26, 8, 6 + 20 + 301);
	be16_store(frame + 34 + 16, fold(pseudo));
	header[VNET_FLAGS] = VNET_F_NEEDS_CSUM;
	le16_store(header + VNET_CSUM_START, 34);
	le16_store(header + VNET_CSUM_OFFSET, 16);
	e.net.sent = 0;
	transmit(&e, length, 12);
	g_assert_cmpuint(e.net.sent, ==, 1);
	g_assert_cmphex(tcp_sum(e.net.packets[0], length), ==, 0xffff);
	/* A large packet goes whole to a back end that takes it. */
	const struct net_backend_ops *plain = e.net.net.ops;
	struct net_backend_ops large = *plain;
	large.large_tcp4 = true;
	e.net.net.ops = &large;
	size_t long_length = make_tcp(frame, false, 4000, 0x10);
	be16_store(frame + 34 + 16, fold(sum16(frame + 26, 8, 6 + 20 + 4000)));
	header[VNET_GSO_TYPE] = VNET_GSO_TCPV4;
	le16_store(header + VNET_GSO_SIZE, 1448);
	e.net.sent = 0;
	transmit(&e, long_length, 12);
	g_assert_cmpuint(e.net.sent, ==, 1);
	g_assert_cmpuint(e.net.sizes[0], ==, long_length);
	g_assert_cmphex(tcp_sum(e.net.packets[0], long_length), ==, 0xffff);
	e.net.net.ops = plain;
	make_tcp(frame, false, 301, 0x10);
	/* What cannot be is dropped, and the queue goes on. */
	static const struct {
		uint8_t gso;
		uint16_t size, start, offset;
	} bad[] = {
		{0, 0, 60000, 16}, {0, 0, 34, 60000}, {0, 0, 354, 0}, {1, 0, 34, 16},
		{4, 100, 34, 16}, {3, 100, 34, 16}, {0x7f, 100, 34, 16},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
		header[VNET_GSO_TYPE] = bad[i].gso;
		le16_store(header + VNET_GSO_SIZE, bad[i].size);
		le16_store(header + VNET_CSUM_START, bad[i].start);
		le16_store(header + VNET_CSUM_OFFSET, bad[i].offset);
		e.net.sent = 0;
		transmit(&e, length, 12);
		g_assert_cmpuint(e.net.sent, ==, 0);
	}
	struct vd_buffer tiny[] = {{e.out, 5}};
	g_assert_cmpuint(vdq_request(&e.tx, tiny, 1), ==, 0);
	g_assert_cmphex(vd_status(&e.vd), ==, 15);
	env_close(&e);
}

static bool receive(struct env *e, size_t length, unsigned first)
{
	uint8_t *packet = e->m.mem + e->out;
	for (size_t i = 0; i < length; i++)
		packet[i] = first + i;
	struct iovec iov[2] = {{packet, 10}, {packet + 10, length - 10}};
	return e->net.receiver.receive(e->net.receiver.opaque, 0, iov, 2);
}

static void test_receive(gconstpointer data)
{
	bool packed = GPOINTER_TO_INT(data);
	struct env e;
	uint16_t id;
	uint32_t len;
	env_open(&e, packed ? ~UINT64_C(0) : ~VIRTIO_BIT(VIRTIO_F_RING_PACKED), 0);
	uint8_t *in = e.m.mem + e.in;
	/* No buffers: told so, twice over; a kick tells the back end to go on. */
	g_assert_false(e.net.receiver.can_receive(e.net.receiver.opaque, 0));
	g_assert_false(receive(&e, 64, 0));
	unsigned ready = e.net.ready;
	for (unsigned i = 0; i < 4; i++) {
		struct vd_buffer room[] = {{e.in + i * 4096, 1000, true}};
		vdq_add(&e.rx, room, 1, 0);
	}
	vdq_kick(&e.rx);
	vd_pump(&e.m, 2, NULL);
	g_assert_cmpuint(e.net.ready, ==, ready + 1);
	g_assert_true(e.net.receiver.can_receive(e.net.receiver.opaque, 0));
	/* One that needs more than there is goes nowhere and takes nothing. */
	g_assert_false(receive(&e, 5000, 2));
	/* One over three buffers. */
	g_assert_true(receive(&e, 2500, 2));
	size_t at = 0;
	for (unsigned i = 0; i < 3; i++) {
		g_assert_true(vdq_used(&e.rx, &id, &len));
		g_assert_cmpuint(len, ==, i < 2 ? 1000 : 512);
		const uint8_t *p = in + id * 4096;
		if (!i) {
			g_assert_cmpuint(le16_load(p + VNET_NUM_BUFFERS), ==, 3);
			g_assert_cmpuint(p[VNET_FLAGS], ==, VNET_F_DATA_VALID);
		}
		unsigned skip = i ? 0 : 12;
		g_assert_cmpmem(p + skip, len - skip, e.m.mem + e.out + at, len - skip);
		at += len - skip;
	}
	g_assert_cmpuint(at, ==, 2500);
	g_assert_false(vdq_used(&e.rx, &id, &len));
	/* The link down: swallowed, and the guest can see it. */
	g_assert_cmpuint(vd_config(&e.vd, 6, 2), ==, 1);
	e.net.receiver.link_changed(e.net.receiver.opaque, false);
	g_assert_cmpuint(vd_config(&e.vd, 6, 2), ==, 0);
	g_assert_true(receive(&e, 64, 0));
	g_assert_false(vdq_used(&e.rx, &id, &len));
	e.net.receiver.link_changed(e.net.receiver.opaque, true);
	g_assert_cmpuint(vd_config(&e.vd, 6, 2), ==, 3);
	env_close(&e);
}

static unsigned command(struct env *e, uint8_t class, uint8_t cmd, const void *data, size_t length)
{
	uint8_t *p = e->m.mem + e->out;
	p[0] = class;
	p[1] = cmd;
	memcpy(p + 2, data, length);
	p[1000] = 0xff;
	struct vd_buffer chain[] = {{e->out, 2}, {e->out + 2, length}, {e->out + 1000, 1, true}};
	g_assert_cmpuint(vdq_request(&e->ctrl, chain, 3), ==, 1);
	return p[1000];
}

static bool passes(struct env *e, const uint8_t mac[6], unsigned vlan)
{
	uint8_t packet[64] = {0};
	uint16_t id;
	uint32_t len;
	struct vd_buffer room[] = {{e->in, 2000, true}};
	memcpy(packet, mac, 6);
	if (vlan) {
		be16_store(packet + 12, 0x8100);
		be16_store(packet + 14, vlan);
	}
	vdq_add(&e->rx, room, 1, 0);
	struct iovec iov = {packet, sizeof(packet)};
	g_assert_true(e->net.receiver.receive(e->net.receiver.opaque, 0, &iov, 1));
	if (vdq_used(&e->rx, &id, &len))
		return true;
	/* Take the buffer back by filling it with one that passes. */
	memset(packet, 0xff, 6);
	be16_store(packet + 12, 0x0800);
	e->net.receiver.receive(e->net.receiver.opaque, 0, &iov, 1);
	g_assert_true(vdq_used(&e->rx, &id, &len));
	return false;
}

static void test_control(void)
{
	static const uint8_t own[6] = {0x52, 0x54, 0, 0, 0, 1}, other[6] = {2, 2, 2, 2, 2, 2};
	static const uint8_t multi[6] = {1, 0, 0x5e, 0, 0, 9}, all[6] = {255, 255, 255, 255, 255, 255};
	const uint8_t on = 1, off = 0;
	struct env e;
	env_open(&e, ~VIRTIO_BIT(VIRTIO_F_RING_PACKED), 0);
	g_assert_true(passes(&e, other, 0));
	g_assert_cmpuint(command(&e, 0, 0, &off, 1), ==, 0);
	g_assert_true(passes(&e, own, 0));
	g_assert_true(passes(&e, all, 0));
	g_assert_false(passes(&e, other, 0));
	g_assert_false(passes(&e, multi, 0));
	g_assert_cmpuint(command(&e, 0, 1, &on, 1), ==, 0);
	g_assert_true(passes(&e, multi, 0));
	g_assert_cmpuint(command(&e, 0, 1, &off, 1), ==, 0);
	uint8_t table[] = {1, 0, 0, 0, 2, 2, 2, 2, 2, 2, 1, 0, 0, 0, 1, 0, 0x5e, 0, 0, 9};
	g_assert_cmpuint(command(&e, 1, 0, table, sizeof(table)), ==, 0);
	g_assert_true(passes(&e, other, 0));
	g_assert_true(passes(&e, multi, 0));
	table[0] = 200;
	g_assert_cmpuint(command(&e, 1, 0, table, sizeof(table)), ==, 1);
	/* VLANs pass when they have been added. */
	const uint8_t vlan[] = {7, 0}, beyond[] = {0, 16};
	g_assert_false(passes(&e, own, 7));
	g_assert_cmpuint(command(&e, 2, 0, vlan, 2), ==, 0);
	g_assert_true(passes(&e, own, 7));
	g_assert_cmpuint(command(&e, 2, 1, vlan, 2), ==, 0);
	g_assert_false(passes(&e, own, 7));
	g_assert_cmpuint(command(&e, 2, 0, beyond, 2), ==, 1);
	/* Another address. */
	g_assert_cmpuint(command(&e, 1, 1, other, 6), ==, 0);
	g_assert_cmpuint(vd_config(&e.vd, 0, 1), ==, 2);
	g_assert_cmpuint(command(&e, 1, 1, other, 5), ==, 1);
	/* What was not negotiated or does not exist. */
	const uint8_t pairs[] = {2, 0};
	g_assert_cmpuint(command(&e, 4, 0, pairs, 2), ==, 1);
	g_assert_cmpuint(command(&e, 9, 0, pairs, 2), ==, 1);
	env_close(&e);
}

/* A back end with the virtio header: packets go through untouched, offloads are agreed on. */
static void test_passthrough(void)
{
	struct env e;
	env_open(&e, ~VIRTIO_BIT(VIRTIO_F_RING_PACKED),
		 NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6);
	g_assert_cmphex(e.net.agreed, ==, NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6);
	uint8_t *header = e.m.mem + e.out;
	memset(header, 0x5a, 12 + 64);
	transmit(&e, 64, 20);
	g_assert_cmpuint(e.net.sent, ==, 1);
	g_assert_cmpmem(e.net.packets[0], e.net.sizes[0], header, 76);
	const uint8_t none[8] = {0}, csum[8] = {2}, wrong[8] = {0, 0, 0, 1};
	g_assert_cmpuint(command(&e, 5, 0, none, 8), ==, 0);
	g_assert_cmphex(e.net.agreed, ==, 0);
	g_assert_cmpuint(command(&e, 5, 0, csum, 8), ==, 0);
	g_assert_cmphex(e.net.agreed, ==, NET_OFFLOAD_CSUM);
	g_assert_cmpuint(command(&e, 5, 0, wrong, 8), ==, 1);
	env_close(&e);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/virtio/net/transmit", test_transmit);
	g_test_add_data_func("/virtio/net/segments/ipv4", GINT_TO_POINTER(0), test_segments);
	g_test_add_data_func("/virtio/net/segments/ipv6", GINT_TO_POINTER(1), test_segments);
	g_test_add_data_func("/virtio/net/receive/split", GINT_TO_POINTER(0), test_receive);
	g_test_add_data_func("/virtio/net/receive/packed", GINT_TO_POINTER(1), test_receive);
	g_test_add_func("/virtio/net/control", test_control);
	g_test_add_func("/virtio/net/passthrough", test_passthrough);
	return g_test_run();
}
