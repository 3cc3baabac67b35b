/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a hostile VMM answers: a daemon finds a running domain, whose control socket is ours, and a client
 * asks about it. The first byte chooses the call; each line of the rest is the answer to the next QMP
 * command ("return", or with '-' in front "error"), or with '!' in front an event or anything else.
 */
#include "base/fd.h"
#include "codec/json.h"
#include "codec/procedure.h"
#include "aio/net.h"
#include "daemon/domain/domain.h"
#include "daemon/network/filter.h"
#include "daemon/network/network.h"
#include "daemon/network/ovs_queue.h"
#include "daemon/network/rate.h"
#include "daemon/rpc/rpc.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define UUID "4dea22b3-1d52-d8f3-2516-782e98ab3fa0"
#define DISK "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/dev/null'/>" \
	     "<target dev='vdb' bus='virtio'/></disk>"
#define NIC "<interface type='user'><mac address='52:54:00:00:00:02'/><model type='virtio'/></interface>"

static const uint8_t uuid[16] = {0x4d, 0xea, 0x22, 0xb3, 0x1d, 0x52, 0xd8, 0xf3,
				 0x25, 0x16, 0x78, 0x2e, 0x98, 0xab, 0x3f, 0xa0};
static const char definition[] =
	"<domain type='qemu'><name>vm</name><uuid>" UUID "</uuid><memory unit='MiB'>64</memory>"
	"<vcpu>2</vcpu><os><type arch='x86_64' machine='q35'>hvm</type></os><devices>"
	"<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/dev/zero'/>"
	"<target dev='vda' bus='virtio'/></disk>"
	"<disk type='file' device='cdrom'><target dev='sda' bus='sata'/><readonly/></disk>"
	NIC "<serial type='pty'/><console type='pty'/><memballoon model='virtio'/>"
	"</devices></domain>";

static struct {
	struct daemon daemon;
	struct networks networks; /* none is defined */
	char *folder, *socket, *xml;
	int vmm, rpc; /* listening sockets: the VMM's control socket, and the daemon's */
} world;

/* --- Once ------------------------------------------------------------------------------------- */

/* A process that has the control socket's path on its command line is what the daemon takes for a VMM. */
static pid_t start_process(void)
{
	pid_t pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		int null = open("/dev/null", O_RDWR);
		for (int fd = 0; fd < 3; fd++)
			dup2(null, fd);
		execl("/bin/sleep", world.socket, "1000000", NULL);
		_exit(127);
	}
	return pid;
}

static void remove_world(void)
{
	g_autofree char *command = g_strdup_printf("rm -rf '%s'", world.folder);
	assert(system(command) == 0);
}

static void write_file(const char *name, const char *text)
{
	g_autofree char *path = g_strdup_printf("%s/run/" UUID "/%s", world.folder, name);
	assert(g_file_set_contents(path, text, -1, NULL));
}

static void set_up(void)
{
	world.folder = g_dir_make_tmp("fuzz-vmm-XXXXXX", NULL);
	atexit(remove_world);
	g_autofree char *run = g_strdup_printf("%s/run/" UUID "/vmm", world.folder);
	g_autofree char *daemon_socket = g_build_filename(world.folder, "sock", NULL);
	assert(g_mkdir_with_parents(run, 0700) == 0);
	world.socket = g_build_filename(run, "qmp.sock", NULL);
	world.vmm = net_listen_unix(world.socket, NULL);
	world.rpc = net_listen_unix(daemon_socket, NULL);
	fcntl(world.vmm, F_SETFL, O_NONBLOCK);
	fcntl(world.rpc, F_SETFL, O_NONBLOCK);
	g_autofree char *pid = g_strdup_printf("%d\n", (int)start_process());
	write_file("pid", pid);
	world.networks = (struct networks){
		.daemon = &world.daemon, .by_uuid = g_hash_table_new(g_str_hash, g_str_equal),
		.by_name = g_hash_table_new(g_str_hash, g_str_equal),
	};
	static const struct confinement unconfined = {.why_not = (char *)"it is a test"};
	world.daemon = (struct daemon){
		.loop = aio_loop_new(NULL), .state_dir = world.folder,
		.networks = &world.networks, .vmm = "/bin/false", .uri = "qemu:///system",
		.ovs_socket = "/nonexistent", .confinement = &unconfined,
	};
	world.daemon.filters = filters_new(&world.daemon, NULL);
	world.daemon.ovs = ovs_queue_new(&world.daemon);
	world.daemon.rates = rates_new(&world.daemon);
	assert(world.daemon.filters);
	signal(SIGPIPE, SIG_IGN);
	/* Addresses and names of devices, as of one that was started. */
	struct conf_domain *defined = conf_domain_parse(definition, false, NULL);
	assert(defined);
	g_autofree char *complete = conf_domain_format(defined, -1);
	struct conf_domain *live = conf_domain_parse(complete, true, NULL);
	assert(live);
	world.xml = conf_domain_format(live, 1);
	conf_domain_free(defined);
	conf_domain_free(live);
	/* Until it has its command line. */
	g_usleep(200000);
}

/* --- The client ------------------------------------------------------------------------------- */

static void add_call(GByteArray *out, uint32_t procedure, const void *args)
{
	const struct xdr_type *type = remote_procedures[procedure].args;
	unsigned start = out->len;
	struct remote_header header = {REMOTE_PROGRAM, REMOTE_VERSION, procedure, REMOTE_CALL, start,
				       REMOTE_OK};
	g_byte_array_set_size(out, start + REMOTE_HEADER_SIZE);
	assert(!type || xdr_encode(type, args, out, NULL));
	remote_header_write(out->data + start, out->len - start, &header);
}

static void add_chosen(GByteArray *out, uint8_t choice)
{
	struct remote_domain dom = {.name = (char *)"vm", .id = 1};
	memcpy(dom.uuid, uuid, sizeof(uuid));
	enum { LIVE = 1 };
#define CALL(procedure, name, ...)                                                                 \
	add_call(out, procedure, &(struct remote_##name##_args){__VA_ARGS__})
	switch (choice % 14) {
	case 0: CALL(REMOTE_CONNECT_GET_ALL_DOMAIN_STATS, connect_get_all_domain_stats, {0, NULL}, 0, 0); break;
	case 1: CALL(REMOTE_DOMAIN_MEMORY_STATS, domain_memory_stats, dom, 16, 0); break;
	case 2: CALL(REMOTE_DOMAIN_BLOCK_STATS, domain_block_stats, dom, (char *)"vda"); break;
	case 3: CALL(REMOTE_DOMAIN_BLOCK_STATS_FLAGS, domain_block_stats_flags, dom, (char *)"vda", 16, 0); break;
	case 4: CALL(REMOTE_DOMAIN_GET_BLOCK_INFO, domain_get_block_info, dom, (char *)"vda", 0); break;
	case 5: CALL(REMOTE_DOMAIN_SUSPEND, domain_suspend, dom); break;
	case 6: CALL(REMOTE_DOMAIN_SET_MEMORY_FLAGS, domain_set_memory_flags, dom, 32768, LIVE); break;
	case 7: CALL(REMOTE_DOMAIN_SET_VCPUS_FLAGS, domain_set_vcpus_flags, dom, 2, LIVE); break;
	case 8: CALL(REMOTE_DOMAIN_ATTACH_DEVICE_FLAGS, domain_attach_device_flags, dom, (char *)DISK, LIVE); break;
	case 9: CALL(REMOTE_DOMAIN_DETACH_DEVICE_FLAGS, domain_detach_device_flags, dom, (char *)NIC, LIVE); break;
	case 10: CALL(REMOTE_DOMAIN_ATTACH_DEVICE_FLAGS, domain_attach_device_flags, dom, (char *)NIC, LIVE); break;
	case 11: CALL(REMOTE_DOMAIN_REBOOT, domain_reboot, dom, 1); break;
	case 12: CALL(REMOTE_DOMAIN_BLOCK_RESIZE, domain_block_resize, dom, (char *)"vda", 4096, 0); break;
	case 13: CALL(REMOTE_DOMAIN_GET_XML_DESC, domain_get_xml_desc, dom, 0); break;
	}
#undef CALL
}

/* --- The VMM ---------------------------------------------------------------------------------- */

/* The commands that have come, of which each line answers one. */
static void take_commands(int fd, GArray *ids)
{
	char buffer[65536];
	ssize_t n = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT);
	const char *at = buffer;
	while (n > 0 && (at = g_strstr_len(at, buffer + n - at, "\"id\":"))) {
		at += strlen("\"id\":");
		int64_t id = strtoll(at, NULL, 10);
		g_array_append_val(ids, id);
	}
}

static void answer(int fd, GArray *ids, const char *line, size_t length)
{
	g_autoptr(GString) text = g_string_new(NULL);
	if (length && *line == '!') {
		g_string_append_len(text, line + 1, length - 1);
	} else if (ids->len) {
		bool failed = length && *line == '-';
		g_string_append_printf(text, "{\"id\":%" G_GINT64_FORMAT ",\"%s\":",
				       g_array_index(ids, int64_t, 0), failed ? "error" : "return");
		g_string_append_len(text, line + failed, length - failed);
		g_string_append_c(text, '}');
		g_array_remove_index(ids, 0);
	}
	g_string_append_c(text, '\n');
	if (send(fd, text->str, text->len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		assert(errno == EPIPE || errno == ECONNRESET || errno == EAGAIN);
}

static void turn(void)
{
	for (unsigned i = 0; i < 4; i++)
		aio_loop_iterate(world.daemon.loop, 0);
}

static void play(int vmm, int client, const char *data, size_t size)
{
	g_autoptr(GArray) ids = g_array_new(FALSE, FALSE, sizeof(int64_t));
	char drain[65536];
	while (size) {
		const char *end = memchr(data, '\n', size);
		size_t length = end ? (size_t)(end - data) : size;
		take_commands(vmm, ids);
		answer(vmm, ids, data, length);
		turn();
		while (recv(client, drain, sizeof(drain), MSG_DONTWAIT) > 0)
			;
		data += MIN(length + 1, size);
		size -= MIN(length + 1, size);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct rpc_door door = {.name = "unix"};
	if (!world.folder)
		set_up();
	if (!size)
		return 0;
	struct daemon *daemon = &world.daemon;
	write_file("live.xml", world.xml);
	daemon->pool = aio_pool_new(1);
	daemon->server = rpc_server_new(daemon, &rpc_default_limits);
	rpc_server_listen(daemon->server, dup(world.rpc), &door);
	daemon->domains = domains_new(daemon, NULL);
	assert(daemon->domains && domains_running(daemon->domains) == 1);
	auto_fd vmm = accept4(world.vmm, NULL, NULL, SOCK_CLOEXEC);
	g_autofree char *path = g_build_filename(world.folder, "sock", NULL);
	auto_fd client = net_connect_unix(path, NULL);
	assert(vmm >= 0 && client >= 0);
	g_autoptr(GByteArray) calls = g_byte_array_new();
	add_call(calls, REMOTE_CONNECT_OPEN, &(struct remote_connect_open_args){NULL, 0});
	add_chosen(calls, data[0]);
	assert(send(client, calls->data, calls->len, 0) == (ssize_t)calls->len);
	turn();
	play(vmm, client, (const char *)data + 1, size - 1);
	fd_clear(&vmm);
	turn();
	rpc_server_free(g_steal_pointer(&daemon->server));
	aio_pool_free(g_steal_pointer(&daemon->pool));
	turn();
	domains_free(g_steal_pointer(&daemon->domains));
	turn();
	/* The daemon tries to reach the VMM again, and nobody waits for it. */
	int again;
	while ((again = accept4(world.vmm, NULL, NULL, SOCK_CLOEXEC)) >= 0)
		close(again);
	return 0;
}
