/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The address of a guest whose binding does not say it. Two ways, as in libvirt: "any" believes the
 * first address that the guest uses in ARP or IPv4; "dhcp" believes leases that a DHCP server
 * confirms to the guest, as long as they last. What is read here are packets that a guest or a peer
 * has made: nothing in them is trusted but what the rules in effect meanwhile let through.
 */
#include "daemon/network/filter_int.h"

#include "base/error.h"
#include "base/fd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	ETHERNET_SIZE = 14, ARP_SIZE = 28, IPV4_SIZE = 20, UDP_SIZE = 8,
	/* RFC 951 and 2131, 2: offsets in a DHCP message */
	DHCP_YOUR_ADDRESS = 16, DHCP_CLIENT = 28, DHCP_COOKIE = 236, DHCP_OPTIONS = 240,
	DHCP_REPLY = 2, OPTION_PAD = 0, OPTION_LEASE = 51, OPTION_TYPE = 53, OPTION_END = 255,
	DHCP_ACK = 5, PACKETS_PER_TURN = 64,
};

struct filter_learner {
	struct filter_port *port;
	enum filter_learning learning;
	struct aio_watch *watch;
	int fd;
	uint8_t mac[6];
	struct aio_timer lease;
};

bool filter_learning_of(const struct conf_nwfilter_binding *binding, enum filter_learning *learning,
			GError **error)
{
	static const char *const names[] = {"any", "dhcp", "none"};
	const GPtrArray *list = g_hash_table_lookup(binding->reference->parameters, "CTRL_IP_LEARNING");
	*learning = FILTER_LEARN_ANY;
	if (!list)
		return true;
	for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
		if (!strcmp(names[i], list->pdata[0])) {
			*learning = i;
			return true;
		}
	}
	return error_set(error, BERTH_ERR_INVALID, "CTRL_IP_LEARNING is any, dhcp or none, not '%s'",
			 (const char *)list->pdata[0]);
}

/* --- Packets ---------------------------------------------------------------------------------- */

static uint16_t read_be16(const uint8_t *at)
{
	return at[0] << 8 | at[1];
}

/* One that a host can have: not 0.0.0.0/8, not loopback, not a group. */
static bool is_host_address(const uint8_t *address)
{
	return address[0] != 0 && address[0] != 127 && address[0] < 224;
}

/* The sender's address of an Ethernet frame of the guest, or NULL. RFC 826, RFC 791. */
static const uint8_t *sender(const struct filter_learner *learner, const uint8_t *frame, size_t size)
{
	const uint8_t *body = frame + ETHERNET_SIZE;
	static const uint8_t ethernet_ipv4[] = {0, 1, 8, 0, 6, 4};
	const uint8_t *address = NULL;
	if (memcmp(frame + 6, learner->mac, 6) != 0)
		return NULL;
	if (read_be16(frame + 12) == ETH_P_ARP && size >= ETHERNET_SIZE + ARP_SIZE &&
	    !memcmp(body, ethernet_ipv4, sizeof(ethernet_ipv4)) && !memcmp(body + 8, learner->mac, 6))
		address = body + 14;
	else if (read_be16(frame + 12) == ETH_P_IP && size >= ETHERNET_SIZE + IPV4_SIZE)
		address = body + 12;
	return address && is_host_address(address) ? address : NULL;
}

/* RFC 2132: the value of an option of at least `length` bytes, or NULL. */
static const uint8_t *option(const uint8_t *options, size_t size, uint8_t wanted, size_t length)
{
	for (size_t at = 0; at < size && options[at] != OPTION_END;) {
		if (options[at] == OPTION_PAD) {
			at++;
			continue;
		}
		if (at + 2 > size || options[at + 1] > size - at - 2)
			return NULL;
		if (options[at] == wanted)
			return options[at + 1] >= length ? options + at + 2 : NULL;
		at += 2 + options[at + 1];
	}
	return NULL;
}

/* The address that a server confirms to the guest, or NULL; *lease_s: for how long. */
static const uint8_t *confirmed(const struct filter_learner *learner, const uint8_t *frame, size_t size,
				uint32_t *lease_s)
{
	static const uint8_t cookie[] = {99, 130, 83, 99};
	const uint8_t *ip = frame + ETHERNET_SIZE;
	if (size < ETHERNET_SIZE + IPV4_SIZE || read_be16(frame + 12) != ETH_P_IP || ip[0] >> 4 != 4)
		return NULL;
	size_t header = (ip[0] & 15) * 4, before = ETHERNET_SIZE + header + UDP_SIZE;
	bool fragment = read_be16(ip + 6) & 0x3fff;
	if (header < IPV4_SIZE || fragment || ip[9] != IPPROTO_UDP || size < before + DHCP_OPTIONS ||
	    read_be16(ip + header) != 67 || read_be16(ip + header + 2) != 68)
		return NULL;
	const uint8_t *message = frame + before;
	size_t left = size - before - DHCP_OPTIONS;
	const uint8_t *type = option(message + DHCP_OPTIONS, left, OPTION_TYPE, 1);
	const uint8_t *lease = option(message + DHCP_OPTIONS, left, OPTION_LEASE, 4);
	if (message[0] != DHCP_REPLY || memcmp(message + DHCP_CLIENT, learner->mac, 6) != 0 ||
	    memcmp(message + DHCP_COOKIE, cookie, sizeof(cookie)) != 0 || !type || *type != DHCP_ACK ||
	    !lease || !is_host_address(message + DHCP_YOUR_ADDRESS))
		return NULL;
	*lease_s = (uint32_t)read_be16(lease) << 16 | read_be16(lease + 2);
	return message + DHCP_YOUR_ADDRESS;
}

/* --- The socket ------------------------------------------------------------------------------- */

/* True: the learner may be gone. */
static bool look_at(struct filter_learner *learner, const uint8_t *frame, size_t size, bool to_guest)
{
	uint32_t lease_s = UINT32_MAX;
	const uint8_t *address = NULL;
	char text[INET_ADDRSTRLEN];
	if (size < ETHERNET_SIZE)
		return false;
	if (learner->learning == FILTER_LEARN_ANY && !to_guest)
		address = sender(learner, frame, size);
	else if (learner->learning == FILTER_LEARN_DHCP && to_guest)
		address = confirmed(learner, frame, size, &lease_s);
	if (!address)
		return false;
	inet_ntop(AF_INET, address, text, sizeof(text));
	/* All ones: for ever (RFC 2131, 3.3). */
	bool ends = lease_s != UINT32_MAX;
	if (ends)
		aio_timer_arm(&learner->lease, aio_now_ns() + lease_s * INT64_C(1000000000));
	else
		aio_timer_cancel(&learner->lease);
	filter_port_learnt(learner->port, text, ends ? time(NULL) + lease_s : 0);
	return true;
}

static void on_packet(void *opaque, int fd, uint32_t events)
{
	struct filter_learner *learner = opaque;
	uint8_t frame[2048];
	for (unsigned i = 0; i < PACKETS_PER_TURN; i++) {
		struct sockaddr_ll from;
		socklen_t length = sizeof(from);
		ssize_t got = recvfrom(fd, frame, sizeof(frame), MSG_DONTWAIT, (struct sockaddr *)&from,
				       &length);
		if (got < 0 || look_at(learner, frame, got, from.sll_pkttype == PACKET_OUTGOING))
			return;
	}
}

static void on_lease_over(void *opaque)
{
	struct filter_learner *learner = opaque;
	filter_port_learnt(learner->port, NULL, 0);
}

/* Jump out of a program of `length` to its last line from the line `at`. */
#define DROP(length, at) ((length) - 2 - (at))
#define LOAD_KIND BPF_STMT(BPF_LD | BPF_W | BPF_ABS, SKF_AD_OFF + SKF_AD_PKTTYPE)
#define LOAD_TAG  BPF_STMT(BPF_LD | BPF_W | BPF_ABS, SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT)

/* Only what look_at() may want, for what comes up to it costs the daemon time: ARP and IPv4 of the guest. */
static const struct sock_filter guest_sends[] = {
	LOAD_KIND, BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_OUTGOING, DROP(9, 1), 0),
	LOAD_TAG, BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, DROP(9, 3)),
	BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 12),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_IP, 1, 0),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_ARP, 0, DROP(9, 6)),
	BPF_STMT(BPF_RET | BPF_K, 2048),
	BPF_STMT(BPF_RET | BPF_K, 0),
};
/* Of what the guest is sent, whole UDP packets from a DHCP server's port to a client's. */
static const struct sock_filter server_answers[] = {
	LOAD_KIND, BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_OUTGOING, 0, DROP(15, 1)),
	LOAD_TAG, BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, DROP(15, 3)),
	BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 12),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_IP, 0, DROP(15, 5)),
	BPF_STMT(BPF_LD | BPF_B | BPF_ABS, ETHERNET_SIZE + 9),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_UDP, 0, DROP(15, 7)),
	BPF_STMT(BPF_LD | BPF_H | BPF_ABS, ETHERNET_SIZE + 6),
	BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 0x3fff, DROP(15, 9), 0),
	BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, ETHERNET_SIZE),
	BPF_STMT(BPF_LD | BPF_W | BPF_IND, ETHERNET_SIZE),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 67 << 16 | 68, 0, DROP(15, 12)),
	BPF_STMT(BPF_RET | BPF_K, 2048),
	BPF_STMT(BPF_RET | BPF_K, 0),
};

static bool attach_program(int fd, enum filter_learning learning)
{
	bool dhcp = learning == FILTER_LEARN_DHCP;
	const struct sock_fprog filter = {
		dhcp ? G_N_ELEMENTS(server_answers) : G_N_ELEMENTS(guest_sends),
		(struct sock_filter *)(dhcp ? server_answers : guest_sends)};
	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)) == 0;
}

static int open_socket(const char *port, enum filter_learning learning, GError **error)
{
	/* Protocol 0: nothing comes before it is bound and has its program. */
	auto_fd fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	const struct sockaddr_ll address = {
		.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = if_nametoindex(port)};
	if (fd < 0 || !address.sll_ifindex || !attach_program(fd, learning) ||
	    bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
		error_set_errno(error, errno, "cannot watch the packets of '%s'", port);
		return -1;
	}
	return fd_steal(&fd);
}

struct filter_learner *filter_learn_begin(struct filter_port *port, enum filter_learning learning,
					  GError **error)
{
	int fd = open_socket(port->binding->port, learning, error);
	if (fd < 0)
		return NULL;
	struct aio_loop *loop = port->all->daemon->loop;
	struct filter_learner *learner = g_new0(struct filter_learner, 1);
	learner->port = port;
	learner->learning = learning;
	learner->fd = fd;
	for (unsigned i = 0; i < sizeof(learner->mac); i++)
		learner->mac[i] = strtoul(port->binding->mac + i * 3, NULL, 16);
	aio_timer_init(&learner->lease, loop, on_lease_over, learner);
	if (port->address && port->expires_s)
		aio_timer_arm(&learner->lease, aio_now_ns() + MAX(port->expires_s - time(NULL), 0) *
								      INT64_C(1000000000));
	learner->watch = aio_watch_add(loop, fd, POLLIN, on_packet, learner);
	return learner;
}

void filter_learn_end(struct filter_learner *learner)
{
	if (!learner)
		return;
	aio_timer_cancel(&learner->lease);
	aio_watch_remove(learner->watch);
	close(learner->fd);
	g_free(learner);
}
