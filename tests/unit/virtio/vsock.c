/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The socket device: connections from both sides, credit, closing, and what a guest gets wrong. */
#include "dev/virtio/devices.h"

#include "base/bytes.h"
#include "vdriver.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { REQUEST = 1, RESPONSE = 2, RST = 3, SHUTDOWN = 4, RW = 5, CREDIT_UPDATE = 6 };

struct env {
	struct vd_machine m;
	struct vd vd;
	struct vdq rx, tx;
	char *path;
	uint64_t out, in;
};

struct packet {
	uint32_t src_port, dst_port, len, flags, buf_alloc, fwd_cnt;
	unsigned op;
	const uint8_t *data;
};

static void give_buffer(struct env *e, unsigned i)
{
	struct vd_buffer room[] = {{e->in + i * 4096, 4096, true}};
	g_assert_cmpuint(vdq_add(&e->rx, room, 1, 0), ==, i);
}

static void env_open(struct env *e)
{
	vd_machine_init(&e->m);
	e->path = g_strdup_printf("%s/berth-vsock-%d", g_get_tmp_dir(), getpid());
	unlink(e->path);
	const char *const properties[] = {"uds-path", e->path, "guest-cid", "5", NULL};
	vd_open(&e->vd, &e->m, &virtio_vsock_device, NULL, properties);
	g_assert_cmpuint(vd_config(&e->vd, 0, 8), ==, 5);
	g_assert_true(vd_negotiate(&e->vd, 0));
	vdq_open(&e->rx, &e->vd, 0, 16);
	vdq_open(&e->tx, &e->vd, 1, 16);
	vd_driver_ok(&e->vd);
	e->out = vd_alloc(&e->m, 65536);
	e->in = vd_alloc(&e->m, 16 * 4096);
	for (unsigned i = 0; i < 16; i++)
		give_buffer(e, i);
	vdq_kick(&e->rx);
}

static void env_close(struct env *e)
{
	vd_close(&e->vd);
	g_assert_cmpint(access(e->path, F_OK), !=, 0);
	g_free(e->path);
	vd_machine_free(&e->m);
}

static void say(struct env *e, uint32_t guest_port, uint32_t host_port, unsigned op, uint32_t flags,
		const char *data, uint32_t buf_alloc)
{
	uint8_t *p = e->m.mem + e->out;
	size_t length = data ? strlen(data) : 0;
	le64_store(p, 5);
	le64_store(p + 8, 2);
	le32_store(p + 16, guest_port);
	le32_store(p + 20, host_port);
	le32_store(p + 24, length);
	le16_store(p + 28, 1);
	le16_store(p + 30, op);
	le32_store(p + 32, flags);
	le32_store(p + 36, buf_alloc);
	le32_store(p + 40, 0);
	if (length)
		memcpy(p + 44, data, length);
	struct vd_buffer chain[] = {{e->out, 44 + length}};
	g_assert_cmpuint(vdq_request(&e->tx, chain, 1), ==, 0);
}

static bool hear(struct env *e, struct packet *packet)
{
	uint16_t id;
	uint32_t len;
	vd_pump(&e->m, 3, NULL);
	if (!vdq_used(&e->rx, &id, &len))
		return false;
	uint8_t *p = e->m.mem + e->in + id * 4096;
	g_assert_cmpuint(le64_load(p), ==, 2);
	g_assert_cmpuint(le64_load(p + 8), ==, 5);
	*packet = (struct packet){le32_load(p + 16), le32_load(p + 20), le32_load(p + 24),
				  le32_load(p + 32), le32_load(p + 36), le32_load(p + 40),
				  le16_load(p + 30), p + 44};
	g_assert_cmpuint(len, ==, 44 + packet->len);
	return true;
}

/* The next packet must be this. */
static struct packet expect(struct env *e, unsigned op)
{
	struct packet packet;
	g_assert_true(hear(e, &packet));
	g_assert_cmpuint(packet.op, ==, op);
	return packet;
}

static int host_socket(const char *path, bool server)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	strcpy(address.sun_path, path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	g_assert_cmpint(fd, >=, 0);
	if (server) {
		unlink(path);
		g_assert_cmpint(bind(fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
		g_assert_cmpint(listen(fd, 1), ==, 0);
	} else {
		g_assert_cmpint(connect(fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
	}
	return fd;
}

static void test_from_guest(void)
{
	struct env e;
	char text[64];
	env_open(&e);
	/* Nobody listens there. */
	say(&e, 1000, 70, REQUEST, 0, NULL, 4096);
	struct packet packet = expect(&e, RST);
	g_assert_cmpuint(packet.src_port, ==, 70);
	g_assert_cmpuint(packet.dst_port, ==, 1000);

	g_autofree char *name = g_strdup_printf("%s_80", e.path);
	int server = host_socket(name, true);
	say(&e, 1000, 80, REQUEST, 0, NULL, 10);
	int fd = accept(server, NULL, NULL);
	g_assert_cmpint(fd, >=, 0);
	packet = expect(&e, RESPONSE);
	g_assert_cmpuint(packet.buf_alloc, >, 0);

	say(&e, 1000, 80, RW, 0, "to the host", 10);
	g_assert_cmpint(read(fd, text, sizeof(text)), ==, 11);
	g_assert_cmpmem(text, 11, "to the host", 11);
	/* The guest has said that it has room for 10 bytes. */
	g_assert_cmpint(write(fd, "0123456789abcdef", 16), ==, 16);
	packet = expect(&e, RW);
	g_assert_cmpmem(packet.data, packet.len, "0123456789", 10);
	g_assert_cmpuint(packet.fwd_cnt, ==, 11);
	g_assert_false(hear(&e, &packet));
	say(&e, 1000, 80, CREDIT_UPDATE, 0, NULL, 100);
	packet = expect(&e, RW);
	g_assert_cmpmem(packet.data, packet.len, "abcdef", 6);

	/* The host's end of sending; the guest answers, then closes both ways. */
	g_assert_cmpint(shutdown(fd, SHUT_WR), ==, 0);
	packet = expect(&e, SHUTDOWN);
	g_assert_cmpuint(packet.flags, ==, 2);
	say(&e, 1000, 80, RW, 0, "bye", 100);
	g_assert_cmpint(read(fd, text, sizeof(text)), ==, 3);
	say(&e, 1000, 80, SHUTDOWN, 3, NULL, 100);
	expect(&e, RST);
	g_assert_cmpint(read(fd, text, sizeof(text)), ==, 0);
	say(&e, 1000, 80, RW, 0, "late", 100);
	expect(&e, RST);
	close(fd);
	close(server);
	unlink(name);
	env_close(&e);
}

static void test_from_host(void)
{
	struct env e;
	char text[64];
	env_open(&e);
	int fd = host_socket(e.path, false);
	g_assert_cmpint(write(fd, "CONN", 4), ==, 4);
	vd_pump(&e.m, 2, NULL);
	g_assert_cmpint(write(fd, "ECT 22\nearly", 12), ==, 12);
	struct packet packet = expect(&e, REQUEST);
	g_assert_cmpuint(packet.dst_port, ==, 22);
	uint32_t host_port = packet.src_port;
	g_assert_false(hear(&e, &packet));
	say(&e, 22, host_port, RESPONSE, 0, NULL, 4096);
	g_autofree char *answer = g_strdup_printf("OK %u\n", host_port);
	ssize_t n = read(fd, text, sizeof(text));
	g_assert_cmpmem(text, n, answer, strlen(answer));
	packet = expect(&e, RW);
	g_assert_cmpmem(packet.data, packet.len, "early", 5);
	say(&e, 22, host_port, RW, 0, "hello", 4096);
	g_assert_cmpint(read(fd, text, sizeof(text)), ==, 5);
	/* The host goes away altogether: the guest hears of the end, then of the reset. */
	close(fd);
	packet = expect(&e, SHUTDOWN);
	say(&e, 22, host_port, RW, 0, "anyone?", 4096);
	expect(&e, RST);

	/* Bad greetings; a refusal. */
	static const char *const greetings[] = {"GET /\n", "CONNECT \n", "CONNECT 99999999999\n",
						"CONNECT 1234567890123456789012345678901234567890"};
	for (unsigned i = 0; i < G_N_ELEMENTS(greetings); i++) {
		fd = host_socket(e.path, false);
		g_assert_cmpint(write(fd, greetings[i], strlen(greetings[i])), >, 0);
		vd_pump(&e.m, 3, NULL);
		g_assert_cmpint(read(fd, text, sizeof(text)), <=, 0);
		close(fd);
	}
	fd = host_socket(e.path, false);
	g_assert_cmpint(write(fd, "CONNECT 23\n", 11), ==, 11);
	packet = expect(&e, REQUEST);
	say(&e, 23, packet.src_port, RST, 0, NULL, 0);
	g_assert_cmpint(read(fd, text, sizeof(text)), ==, 0);
	close(fd);
	env_close(&e);
}

static void test_wrong(void)
{
	struct env e;
	env_open(&e);
	struct packet packet;
	/* Packets for nobody, of no kind, from somebody else. */
	say(&e, 1, 2, RW, 0, "x", 0);
	expect(&e, RST);
	say(&e, 1, 2, 77, 0, NULL, 0);
	expect(&e, RST);
	say(&e, 1, 2, RST, 0, NULL, 0);
	g_assert_false(hear(&e, &packet));

	/* More resets than are remembered: the device stops listening until they are taken. */
	for (unsigned i = 0; i < 14; i++) {
		say(&e, 1, 2, RW, 0, "x", 0);
		expect(&e, RST);
	}
	struct vd_buffer chain[] = {{e.out, 45}};
	for (unsigned round = 0; round < 6; round++) {
		for (unsigned i = 0; i < 15; i++)
			vdq_add(&e.tx, chain, 1, 0);
		vdq_kick(&e.tx);
		vd_pump(&e.m, 2, NULL);
		uint16_t id;
		uint32_t len;
		while (vdq_used(&e.tx, &id, &len))
			;
	}
	g_assert_cmphex(vd_status(&e.vd), ==, 15);

	/* A length that is not there. */
	vd_set_status(&e.vd, 0);
	g_assert_true(vd_negotiate(&e.vd, 0));
	vdq_open(&e.tx, &e.vd, 1, 16);
	vd_driver_ok(&e.vd);
	le32_store(e.m.mem + e.out + 24, 1000);
	vdq_add(&e.tx, chain, 1, 0);
	vdq_kick(&e.tx);
	vd_pump(&e.m, 2, NULL);
	g_assert_true(vd_status(&e.vd) & VIRTIO_STATUS_NEEDS_RESET);
	env_close(&e);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/virtio/vsock/from-guest", test_from_guest);
	g_test_add_func("/virtio/vsock/from-host", test_from_host);
	g_test_add_func("/virtio/vsock/wrong", test_wrong);
	return g_test_run();
}
