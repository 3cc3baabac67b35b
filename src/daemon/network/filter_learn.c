/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The address of a guest whose binding does not say it. Two ways, as in libvirt: "any" believes the
 * first address that the guest uses in ARP or IPv4; "dhcp" believes leases that a DHCP server
 * confirms to the guest, as long as they last. filter_packet.c reads the packets.
 */
#include "daemon/network/filter_int.h"

#include "base/error.h"
#include "base/fd.h"
#include "daemon/network/filter_packet.h"

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

enum { ETHERNET_SIZE = 14, PACKETS_PER_TURN = 64 };

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

/* --- The socket ------------------------------------------------------------------------------- */

/* True: the learner may be gone. */
static bool look_at(struct filter_learner *learner, const uint8_t *frame, size_t size, bool to_guest)
{
	uint32_t lease_s = UINT32_MAX;
	const uint8_t *address = NULL;
	char text[INET_ADDRSTRLEN];
	if (learner->learning == FILTER_LEARN_ANY && !to_guest)
		address = filter_packet_sender(learner->mac, frame, size);
	else if (learner->learning == FILTER_LEARN_DHCP && to_guest)
		address = filter_packet_confirmed(learner->mac, frame, size, &lease_s);
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
