/* SPDX-License-Identifier: GPL-2.0-or-later */
/* berth-img serve: an image for NBD clients, with qemu-nbd's options. */
#include "image.h"

#include "aio/loop.h"
#include "base/error.h"
#include "base/fd.h"
#include "block/core/object.h"
#include "block/export/nbd_server.h"
#include "block/nbd/tls.h"
#include "block/nbd/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

struct serve {
	const char *format, *cache, *discard, *zeroes, *aio, *port, *bind, *socket, *export;
	const char *description, *shared, *offset, *pid_file, *tls;
	GPtrArray *bitmaps;
	bool readonly, persistent, fork, verbose, allocation_depth, no_cache;
	uint64_t clients, skip;
	struct image_env env;
	bool served; /* a client has been there */
	bool quit;
	int ready_fd; /* with --fork: tells the parent that we listen; else -1 */
};

/* --- in the background ------------------------------------------------------------------------------*/

/* The parent waits until the child listens or fails. Returns in the child only. */
static bool go_background(struct serve *serve)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return !img_fail("cannot make a pipe: %s", g_strerror(errno));
	pid_t child = fork();
	if (child < 0)
		return !img_fail("cannot fork: %s", g_strerror(errno));
	if (child == 0) {
		close(ends[0]);
		serve->ready_fd = ends[1];
		setsid();
		return true;
	}
	char ready;
	close(ends[1]);
	ssize_t n;
	do
		n = read(ends[0], &ready, 1);
	while (n < 0 && errno == EINTR);
	_exit(n == 1 ? EXIT_SUCCESS : EXIT_FAILURE);
}

/* Tell the parent, and let go of the terminal. */
static bool report_ready(struct serve *serve)
{
	if (serve->ready_fd < 0)
		return true;
	auto_fd null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int fd = 0; fd < 3; fd++)
		if (null >= 0 && dup2(null, fd) < 0)
			return false;
	bool told = write(serve->ready_fd, "", 1) == 1;
	fd_clear(&serve->ready_fd);
	return told;
}

static bool write_pid_file(const struct serve *serve)
{
	g_autofree char *text = g_strdup_printf("%d\n", (int)getpid());
	g_autoptr(GError) error = NULL;
	return !serve->pid_file || g_file_set_contents(serve->pid_file, text, -1, &error) ||
	       !img_fail("cannot write the pid file: %s", error->message);
}

/* --- serving ------------------------------------------------------------------------------------------*/

static void client_gone(void *opaque, unsigned clients)
{
	struct serve *serve = opaque;
	if (clients == 0 && !serve->persistent)
		serve->quit = true;
}

static void signal_came(void *opaque, int fd, uint32_t events)
{
	((struct serve *)opaque)->quit = true;
}

static bool make_address(const struct serve *serve, struct nbd_address *address)
{
	*address = (struct nbd_address){.type = serve->socket ? NBD_UNIX : NBD_INET};
	if (serve->socket && (serve->bind || serve->port))
		return !img_fail("-k is a unix socket: -b and -p do not go with it");
	if (serve->socket && serve->socket[0] != '/')
		return !img_fail("socket path must be absolute");
	address->path = g_strdup(serve->socket);
	address->host = g_strdup(serve->bind ? serve->bind : "0.0.0.0");
	address->port = g_strdup(serve->port ? serve->port : NBD_DEFAULT_PORT);
	return true;
}

/* The image, or with --offset the part of it behind that. */
static struct block_node *open_served(struct serve *serve, const char *name)
{
	g_autoptr(GError) error = NULL;
	struct block_node *image = image_open(&serve->env, name, serve->format, serve->cache,
					      (serve->readonly ? 0 : IMAGE_WRITE) |
					      (serve->discard ? IMAGE_UNMAP : 0));
	if (!image || !serve->skip)
		return image;
	struct block_node *part = block_raw_window(image, serve->skip, &error);
	block_close(image); /* the part has a reference of its own */
	if (!part)
		img_fail("%s", error->message);
	return part;
}

static int run_server(struct serve *serve, struct block_node *node)
{
	g_autoptr(GError) error = NULL;
	struct nbd_address address;
	struct nbd_server_options options = {.max_connections = serve->clients,
						   .client_gone = client_gone, .opaque = serve};
	struct nbd_tls_creds *tls =
		serve->tls ? block_object_take(serve->env.graph, serve->tls, BLOCK_OBJECT_TLS, &error) : NULL;
	if (serve->tls && !tls)
		return img_fail("%s", error->message);
	options.tls = tls;
	if (!make_address(serve, &address))
		return EXIT_FAILURE;
	struct nbd_server *server = nbd_server_new(&address, &options, serve->env.loop, &error);
	nbd_address_clear(&address);
	nbd_tls_creds_unref(tls);
	if (!server)
		return img_fail("%s", error->message);
	g_ptr_array_add(serve->bitmaps, NULL);
	const struct nbd_export_options export = {
		.id = "export", .name = serve->export ? serve->export : "",
		.description = serve->description, .writable = !serve->readonly,
		.writethrough = g_strcmp0(serve->cache, "writethrough") == 0,
		.allocation_depth = serve->allocation_depth,
		.bitmaps = (const char *const *)serve->bitmaps->pdata};
	int status = EXIT_SUCCESS;
	if (!nbd_server_add(server, serve->env.graph, node, &export, &error))
		status = img_fail("%s", error->message);
	else if (!write_pid_file(serve) || !report_ready(serve))
		status = EXIT_FAILURE;
	while (status == EXIT_SUCCESS && !serve->quit)
		aio_loop_iterate(serve->env.loop, -1);
	nbd_server_free(server);
	if (serve->pid_file)
		unlink(serve->pid_file);
	return status;
}

static int serve_image(struct serve *serve, const char *name)
{
	sigset_t signals;
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	auto_fd fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return img_fail("signalfd: %s", g_strerror(errno));
	struct block_node *node = open_served(serve, name);
	int status = EXIT_FAILURE;
	if (node) {
		struct aio_watch *watch =
			aio_watch_add(serve->env.loop, fd, POLLIN, signal_came, serve);
		status = run_server(serve, node);
		aio_watch_remove(watch);
	}
	block_close(node);
	return status;
}

static bool check_words(struct serve *serve)
{
	if (serve->no_cache && serve->cache)
		return !img_fail("-n and --cache can only be specified once");
	if (serve->no_cache)
		serve->cache = "none";
	if (!image_cache_valid(serve->cache))
		return !img_fail("Invalid cache mode '%s'", serve->cache);
	if (serve->discard && !g_str_equal(serve->discard, "unmap") && !g_str_equal(serve->discard, "on")) {
		if (!g_str_equal(serve->discard, "ignore") && !g_str_equal(serve->discard, "off"))
			return !img_fail("Invalid discard mode '%s'", serve->discard);
		serve->discard = NULL;
	}
	if (serve->format && !image_format_known(serve->format))
		return !img_fail("Unknown driver '%s'", serve->format);
	if (serve->export && strlen(serve->export) > NBD_STRING_MAX)
		return !img_fail("export name '%s' too long", serve->export);
	return (!serve->offset || img_size(serve->offset, "offset", &serve->skip)) &&
	       (!serve->shared || img_size_in(serve->shared, "shared device number", 0, INT32_MAX,
					      &serve->clients));
}

static int run(int argc, char **argv)
{
	struct serve serve = {.clients = 1, .ready_fd = -1};
	g_autoptr(GPtrArray) bitmaps = g_ptr_array_new();
	serve.bitmaps = bitmaps;
	image_env_init(&serve.env);
	const struct option_row rows[] = {
		{'p', "port", OPTION_TEXT, &serve.port, "PORT", "listen on this TCP port (10809)"},
		{'b', "bind", OPTION_TEXT, &serve.bind, "ADDRESS", "listen on this address (all)"},
		{'k', "socket", OPTION_TEXT, &serve.socket, "PATH", "listen on a unix socket instead"},
		{'e', "shared", OPTION_TEXT, &serve.shared, "N", "clients at the same time (1; 0: any number)"},
		{'t', "persistent", OPTION_FLAG, &serve.persistent, NULL, "do not end with the last client"},
		{0, "fork", OPTION_FLAG, &serve.fork, NULL, "go to the background once clients can come"},
		{0, "pid-file", OPTION_TEXT, &serve.pid_file, "PATH", "write the process id there"},
		{'x', "export-name", OPTION_TEXT, &serve.export, "NAME", "what clients ask for (the empty name)"},
		{'D', "description", OPTION_TEXT, &serve.description, "TEXT", "shown to clients"},
		{'A', "allocation-depth", OPTION_FLAG, &serve.allocation_depth, NULL,
		 "tell in which image of the chain data is"},
		{'B', "bitmap", OPTION_LIST, &serve.bitmaps, "NAME", "tell clients what this bitmap says"},
		{'o', "offset", OPTION_TEXT, &serve.offset, "SIZE", "leave out the first bytes"},
		{'f', "format", OPTION_TEXT, &serve.format, "FORMAT", "do not guess the image's format"},
		{'r', "read-only", OPTION_FLAG, &serve.readonly, NULL, "clients cannot write"},
		{'n', "nocache", OPTION_FLAG, &serve.no_cache, NULL, "as --cache=none"},
		{0, "tls-creds", OPTION_TEXT, &serve.tls, "ID", "clients must use TLS, with these credentials"},
		{0, "cache", OPTION_TEXT, &serve.cache, "CACHE", "cache mode"},
		{0, "discard", OPTION_TEXT, &serve.discard, "ignore|unmap", "what to do when clients trim"},
		IMAGE_OBJECT_ROW(serve.env), IMAGE_OPTS_ROW(serve.env), IMAGE_END_ROW,
	};
	int first = args_read(argc, argv, rows);
	int status = EXIT_FAILURE;
	if (first < 0)
		status = img_args_status(argv[0], rows, first);
	else if (first != argc - 1)
		status = img_usage("Expecting one image file name");
	else if (check_words(&serve) && image_env_objects(&serve.env) &&
		 (!serve.fork || go_background(&serve)))
		status = serve_image(&serve, argv[first]);
	image_env_clear(&serve.env);
	return status;
}

const struct img_command serve_command = {
	"serve", "[-k path | [-b address] [-p port]] [-x name] [-D description] [-e shared] [-t] [--fork] "
		 "[--pid-file=path] [-r] [--tls-creds=id] [-A] [-B bitmap] [-o offset] [--cache=mode] [--discard=mode] "
		 "[--object objectdef] [--image-opts] [-f fmt] filename",
	"Show an image to NBD clients until the last one goes, as qemu-nbd does", run,
};
