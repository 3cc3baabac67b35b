/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The network benchmark's program, one static binary for both ends of a cable:
 *
 *	bench-net serve PORT                      TCP and UDP, until it is killed
 *	bench-net MODE ADDRESS PORT SECONDS       the other end's measurement
 *
 * MODE is send or receive (one TCP stream), tcp or udp (one byte there and back, one at a time). Prints
 *
 *	net MODE COUNT NANOSECONDS
 *
 * COUNT being bytes or round trips. What `send` sent must all have arrived: the server says how much did,
 * and the time ends with its answer.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 128 << 10, RESEND_MS = 200 };

static char block[BLOCK];

static int64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static struct sockaddr_in address_of(const char *host, const char *port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
	if (inet_pton(AF_INET, host, &address.sin_addr) != 1)
		errx(1, "%s is not an IPv4 address", host);
	return address;
}

static int open_socket(int type)
{
	int fd = socket(AF_INET, type, 0), one = 1;
	if (fd < 0)
		err(1, "socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	return fd;
}

static void at_once(int fd)
{
	int one = 1;
	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0)
		err(1, "TCP_NODELAY");
}

/* ---- Server ---- */

static void serve_connection(int fd)
{
	char mode = 0;
	ssize_t n;
	if (read(fd, &mode, 1) != 1)
		return;
	if (mode == 's') {
		uint64_t total = 0;
		while ((n = read(fd, block, BLOCK)) > 0)
			total += n;
		if (write(fd, &total, sizeof(total)) != sizeof(total))
			warn("the answer to a sender");
	} else if (mode == 'r') {
		while (write(fd, block, BLOCK) > 0)
			;
	} else if (mode == 't') {
		at_once(fd);
		while ((n = read(fd, block, 1)) == 1 && write(fd, block, 1) == 1)
			;
	}
}

static void serve_udp(int fd)
{
	struct sockaddr_in peer;
	for (;;) {
		socklen_t size = sizeof(peer);
		ssize_t n = recvfrom(fd, block, BLOCK, 0, (struct sockaddr *)&peer, &size);
		if (n >= 0)
			sendto(fd, block, n, 0, (struct sockaddr *)&peer, size);
	}
}

static int serve(const char *port)
{
	struct sockaddr_in any = address_of("0.0.0.0", port);
	int tcp = open_socket(SOCK_STREAM), udp = open_socket(SOCK_DGRAM);
	signal(SIGPIPE, SIG_IGN);
	if (bind(tcp, (struct sockaddr *)&any, sizeof(any)) < 0 || listen(tcp, 8) < 0 ||
	    bind(udp, (struct sockaddr *)&any, sizeof(any)) < 0)
		err(1, "port %s", port);
	pid_t child = fork();
	if (child < 0)
		err(1, "fork");
	if (!child)
		serve_udp(udp);
	for (;;) {
		int fd = accept(tcp, NULL, NULL);
		if (fd < 0)
			continue;
		serve_connection(fd);
		close(fd);
	}
}

/* ---- Client ---- */

static uint64_t run_send(int fd, int64_t end)
{
	uint64_t sent = 0, arrived = 0;
	while (now() < end) {
		ssize_t n = write(fd, block, BLOCK);
		if (n < 0)
			err(1, "send");
		sent += n;
	}
	shutdown(fd, SHUT_WR);
	if (recv(fd, &arrived, sizeof(arrived), MSG_WAITALL) != sizeof(arrived) || arrived != sent)
		errx(1, "%" PRIu64 " of %" PRIu64 " bytes arrived", arrived, sent);
	return sent;
}

static uint64_t run_receive(int fd, int64_t end)
{
	uint64_t received = 0;
	while (now() < end) {
		ssize_t n = read(fd, block, BLOCK);
		if (n <= 0)
			err(1, "receive");
		received += n;
	}
	return received;
}

static uint64_t run_tcp(int fd, int64_t end)
{
	uint64_t trips = 0;
	at_once(fd);
	for (; now() < end; trips++) {
		if (write(fd, block, 1) != 1 || read(fd, block, 1) != 1)
			err(1, "round trip %" PRIu64, trips);
	}
	return trips;
}

/* A datagram may be lost: it is sent again, and what comes of it late is known by its number. */
static uint64_t run_udp(int fd, int64_t end)
{
	uint64_t trips = 0;
	struct pollfd ready = {.fd = fd, .events = POLLIN};
	while (now() < end) {
		uint8_t number = trips, answer;
		if (send(fd, &number, 1, 0) != 1)
			err(1, "send");
		do {
			answer = number - 1;
			if (poll(&ready, 1, RESEND_MS) <= 0)
				break;
		} while (recv(fd, &answer, 1, 0) != 1 || answer != number);
		trips += answer == number;
	}
	return trips;
}

static const struct mode {
	const char *name;
	int type;
	uint64_t (*run)(int fd, int64_t end);
} modes[] = {
	{"send", SOCK_STREAM, run_send},
	{"receive", SOCK_STREAM, run_receive},
	{"tcp", SOCK_STREAM, run_tcp},
	{"udp", SOCK_DGRAM, run_udp},
};

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "serve"))
		return serve(argv[2]);
	for (unsigned i = 0; argc == 5 && i < sizeof(modes) / sizeof(modes[0]); i++) {
		const struct mode *mode = &modes[i];
		if (strcmp(argv[1], mode->name))
			continue;
		struct sockaddr_in address = address_of(argv[2], argv[3]);
		int fd = open_socket(mode->type);
		if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
			err(1, "connect to %s:%s", argv[2], argv[3]);
		if (mode->type == SOCK_STREAM && write(fd, mode->name, 1) != 1)
			err(1, "mode");
		int64_t start = now();
		uint64_t count = mode->run(fd, start + atof(argv[4]) * 1e9);
		printf("net %s %" PRIu64 " %" PRId64 "\n", mode->name, count, now() - start);
		return 0;
	}
	errx(2, "usage: bench-net serve PORT | bench-net send|receive|tcp|udp ADDRESS PORT SECONDS");
}
