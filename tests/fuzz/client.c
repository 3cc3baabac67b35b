/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The client of libvirt's protocol reads what a hostile daemon sends: replies, events, streams. */
#include "client/calls.h"
#include "client/internal.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MOST_INPUT = 64 << 10 };

static void read_stream(struct client *client)
{
	struct client_stream *stream = client_stream_new(client, REMOTE_STORAGE_VOL_DOWNLOAD);
	const uint8_t *bytes;
	int64_t length;
	int got;
	do {
		got = client_stream_receive(stream, 0, &bytes, &length, NULL);
	} while (got == 1);
	client_stream_free(stream);
}

static void talk(struct client *client)
{
	struct remote_connect_list_all_domains_ret domains;
	struct remote_connect_get_all_domain_stats_ret stats;
	const struct remote_connect_list_all_domains_args all = {1, 0};
	const struct remote_connect_get_all_domain_stats_args every = {.stats = 0};
	struct client_event event;
	call_connect_list_all_domains(client, &all, &domains, NULL);
	read_stream(client);
	call_connect_get_all_domain_stats(client, &every, &stats, NULL);
	for (int i = 0; i < 16 && client_next_event(client, 0, &event, NULL) == 1; i++)
		continue;
	client_release(client);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int pair[2];
	if (size > MOST_INPUT || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return 0;
	struct transport *transport = g_new0(struct transport, 1);
	transport->fd = pair[0];
	/* Nobody reads our answers to a flood of pings: a full socket ends the connection. */
	fcntl(pair[0], F_SETFL, O_NONBLOCK);
	struct client *client = client_new(client_uri_parse("test:///default", NULL), transport);
	if (write(pair[1], data, size) == (ssize_t)size && shutdown(pair[1], SHUT_WR) == 0)
		talk(client);
	client_close(client);
	close(pair[1]);
	return 0;
}
