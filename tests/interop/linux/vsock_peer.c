/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A program for the guest, linked statically: vsock_peer listen PORT sends back what one connection
 * says until it ends; vsock_peer connect PORT says standard input to the host (CID 2) and writes what
 * comes back to standard output.
 */
#include <linux/vm_sockets.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void need(int result, const char *what)
{
	if (result >= 0)
		return;
	perror(what);
	exit(EXIT_FAILURE);
}

static void send_all(int fd, const char *data, size_t length)
{
	while (length > 0) {
		ssize_t sent = write(fd, data, length);
		need(sent, "write");
		data += sent;
		length -= sent;
	}
}

/* From `in` to `out` to the end of `in`. */
static void copy(int in, int out)
{
	char buffer[65536];
	ssize_t got;
	while ((got = read(in, buffer, sizeof(buffer))) > 0)
		send_all(out, buffer, got);
	need(got, "read");
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return EXIT_FAILURE;
	struct sockaddr_vm address = {.svm_family = AF_VSOCK, .svm_port = atoi(argv[2]),
				      .svm_cid = VMADDR_CID_ANY};
	int fd = socket(AF_VSOCK, SOCK_STREAM, 0);
	need(fd, "socket");
	if (strcmp(argv[1], "listen") == 0) {
		need(bind(fd, (struct sockaddr *)&address, sizeof(address)), "bind");
		need(listen(fd, 1), "listen");
		int peer = accept(fd, NULL, NULL);
		need(peer, "accept");
		copy(peer, peer);
		return EXIT_SUCCESS;
	}
	address.svm_cid = VMADDR_CID_HOST;
	need(connect(fd, (struct sockaddr *)&address, sizeof(address)), "connect");
	copy(STDIN_FILENO, fd);
	need(shutdown(fd, SHUT_WR), "shutdown");
	copy(fd, STDOUT_FILENO);
	return EXIT_SUCCESS;
}
