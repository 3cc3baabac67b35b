/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * berthd: serves libvirt's clients. Everything runs on one loop; this file reads the options, puts
 * the parts together, and ends them in order on SIGTERM or SIGINT. VMs go on without the daemon.
 */
#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "daemon/daemon.h"
#include "daemon/domain/confine.h"
#include "daemon/domain/domain.h"
#include "daemon/domain/user.h"
#include "daemon/host/host.h"
#include "daemon/network/filter.h"
#include "daemon/interface/interface.h"
#include "daemon/network/network.h"
#include "daemon/network/ovs_queue.h"
#include "daemon/network/rate.h"
#include "daemon/nodedev/nodedev.h"
#include "daemon/rpc/rpc.h"
#include "daemon/rpc/rules.h"
#include "daemon/secret/secret.h"
#include "daemon/storage/storage.h"
#include "doors.h"
#include "log.h"
#include "native.h"
#include "options.h"
#include "settings.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>

/* Of blocking work: fsync, images. */
enum { POOL_THREADS = 8 };

/* berth-vmm beside our own program, or from PATH. */
static char *find_vmm(GError **error)
{
	g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
	g_autofree char *folder = self ? g_path_get_dirname(self) : NULL;
	static const char *const places[] = {"berth-vmm", "../vmm/berth-vmm"};
	for (unsigned i = 0; folder && i < G_N_ELEMENTS(places); i++) {
		g_autofree char *path = g_build_filename(folder, places[i], NULL);
		if (g_file_test(path, G_FILE_TEST_IS_EXECUTABLE))
			return g_canonicalize_filename(path, NULL);
	}
	char *path = g_find_program_in_path("berth-vmm");
	if (!path)
		error_set(error, BERTH_ERR_NOT_FOUND,
			  "berth-vmm is neither beside berthd nor in PATH: name it with --vmm");
	return path;
}

static bool make_folder(const char *path, mode_t mode, GError **error)
{
	if (g_mkdir_with_parents(path, mode) < 0)
		return error_set_errno(error, errno, "cannot create the folder '%s'", path);
	return true;
}

/* A child of a berthd that was killed may have its files for a moment, until it has ended, too. */
static bool lock_soon(int fd)
{
	enum { TRIES = 20, PAUSE_US = 50000 };
	for (unsigned i = 0; i < TRIES; i++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			return true;
		g_usleep(PAUSE_US);
	}
	return false;
}

/* One daemon for a state folder: two would start VMs twice. The lock ends with the process. */
static int lock_state(const char *folder, GError **error)
{
	g_autofree char *path = g_build_filename(folder, "berthd.lock", NULL);
	auto_fd fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		error_set_errno(error, errno, "cannot open '%s'", path);
	else if (!lock_soon(fd))
		error_set(error, BERTH_ERR_BUSY,
			  "another berthd uses '%s': end it or choose another --state-dir", folder);
	else
		return fd_steal(&fd);
	return -1;
}

/* SIGTERM, SIGINT and SIGHUP become readable; threads made later inherit the mask. */
static int block_signals(void)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* --- Going to the background ----------------------------------------------------------------- */

/*
 * The first process waits until the second is ready or has failed, and ends as it says: what follows
 * `berthd --daemon` in a script finds the sockets. In the second, returns where to say it; -1 in the
 * foreground.
 */
static int go_to_background(void)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0) {
		perror("berthd: pipe");
		exit(EXIT_FAILURE);
	}
	pid_t child = fork();
	if (child < 0) {
		perror("berthd: fork");
		exit(EXIT_FAILURE);
	}
	if (child == 0) {
		close(ends[0]);
		setsid();
		return ends[1];
	}
	close(ends[1]);
	char ready;
	ssize_t n;
	do {
		n = read(ends[0], &ready, 1);
	} while (n < 0 && errno == EINTR);
	_exit(n == 1 ? EXIT_SUCCESS : EXIT_FAILURE);
}

/* Ready: nothing of the terminal is kept. */
static bool leave_terminal(int waiting, GError **error)
{
	auto_fd null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0 || chdir("/") < 0)
		return error_set_errno(error, errno, "cannot go to the background");
	/* The log is in a file or the journal. */
	if (dup2(null, STDERR_FILENO) < 0 || write(waiting, "1", 1) != 1)
		return error_set_errno(error, errno, "cannot go to the background");
	return true;
}

static bool write_pidfile(const char *path, GError **error)
{
	g_autofree char *text = g_strdup_printf("%d\n", (int)getpid());
	return !path || g_file_set_contents_full(path, text, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0644,
						 error);
}

/* --- Serving --------------------------------------------------------------------------------- */

/* Everything that ends with the daemon. */
struct service {
	const struct options *options;
	const struct settings *settings;
	struct daemon daemon;
	struct doors *doors;
	struct aio_timer idle;
	int waiting; /* the process in the foreground waits for a byte here; -1: none */
};

/* No rules are no error: then who may connect may do everything. */
static bool read_rules(const struct settings *settings, struct rules **rules, GError **error)
{
	*rules = settings->access_rules ? rules_read(settings->access_rules, error) : NULL;
	return *rules || !settings->access_rules;
}

/* NULL without an error: VMMs run as the daemon. */
static bool find_vmm_user(const struct settings *settings, struct vmm_user **user, GError **error)
{
	bool wanted = settings->user || settings->group;
	*user = wanted ? user_find(settings->user, settings->group, error) : NULL;
	if (wanted && !*user)
		g_prefix_error(error, "the keys user and group: ");
	return *user || !wanted;
}

static bool find_confinement(const struct settings *settings, struct confinement *confinement, GError **error)
{
	return confine_settings(confinement, settings->security_driver, settings->security_default_confined,
				settings->security_require_confined, error);
}

/* With an error in them the rules stay what they are. */
static void read_rules_again(struct service *service)
{
	g_autoptr(GError) error = NULL;
	struct rules *rules = NULL;
	if (!read_rules(service->settings, &rules, &error)) {
		log_error("the access rules are not changed: %s", error->message);
		return;
	}
	rpc_server_set_rules(service->daemon.server, rules);
	log_info("the access rules are read again");
}

/* After the file was moved away: a new one. */
static void open_log_again(const struct service *service)
{
	g_autoptr(GError) error = NULL;
	if (!log_open(service->options, service->settings, &error))
		log_error("the log stays where it is: %s", error->message);
}

static void on_signal(void *opaque, int fd, uint32_t events)
{
	struct service *service = opaque;
	struct signalfd_siginfo info;
	if (read(fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo != SIGHUP) {
		aio_loop_quit(service->daemon.loop);
		return;
	}
	open_log_again(service);
	read_rules_again(service);
}

/*
 * Without a client and without a VM whose events somebody must follow, a user's daemon is not needed:
 * whoever wants it starts it again.
 */
static void on_idle(void *opaque)
{
	enum { LOOKS = 4 };
	struct service *service = opaque;
	struct daemon *daemon = &service->daemon;
	int64_t limit_ns = service->options->timeout_s * INT64_C(1000000000);
	if (rpc_server_idle_ns(daemon->server) >= limit_ns && !domains_running(daemon->domains) &&
	    !networks_active(daemon->networks)) {
		log_info("no client for %d s: good-bye", service->options->timeout_s);
		aio_loop_quit(daemon->loop);
	} else {
		aio_timer_arm(&service->idle, aio_now_ns() + limit_ns / LOOKS);
	}
}

static bool serve(struct service *service, GError **error)
{
	const struct options *options = service->options;
	struct daemon *daemon = &service->daemon;
	if (!doors_open(service->doors, daemon->server, options->socket_dir, error) ||
	    !write_pidfile(options->pidfile, error) ||
	    (service->waiting >= 0 && !leave_terminal(service->waiting, error)))
		return false;
	aio_timer_init(&service->idle, daemon->loop, on_idle, service);
	if (options->timeout_s)
		on_idle(service);
	aio_loop_run(daemon->loop);
	aio_timer_cancel(&service->idle);
	if (options->pidfile)
		unlink(options->pidfile);
	return true;
}

/* As many descriptors as we may have; returns the number. */
static uint64_t raise_file_limit(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return FOPEN_MAX;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0 && getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return FOPEN_MAX;
	return limit.rlim_cur;
}

/* Clients must not take the descriptors that VMs and files need: half of them. */
static struct rpc_limits limits_of(const struct settings *settings)
{
	struct rpc_limits limits = rpc_default_limits;
	uint64_t most = MAX(raise_file_limit() / 2, 1);
	limits.clients = MIN((uint64_t)settings->max_clients, most);
	if (limits.clients < settings->max_clients)
		log_info("at most %u clients, not max_clients (%lld): raise the limit of open files",
			 limits.clients, (long long)settings->max_clients);
	limits.anonymous = settings->max_anonymous_clients;
	limits.calls = settings->max_client_requests;
	limits.rate = settings->max_client_rate;
	limits.keepalive_s = settings->keepalive_interval;
	limits.keepalive_misses = settings->keepalive_count;
	return limits;
}

/* The parts in order, and back. Takes the rules. */
static bool run_parts(struct service *service, struct rules *rules, int signals, GError **error)
{
	struct daemon *daemon = &service->daemon;
	const struct rpc_limits limits = limits_of(service->settings);
	daemon->host = host_new(daemon);
	daemon->loop = aio_loop_new(error);
	if (!daemon->loop) {
		host_free(daemon->host);
		rules_free(rules);
		return false;
	}
	daemon->pool = aio_pool_new(POOL_THREADS);
	daemon->server = rpc_server_new(daemon, &limits);
	rpc_server_set_rules(daemon->server, rules);
	aio_watch_add(daemon->loop, signals, POLLIN, on_signal, service);
	daemon->nodedevs = nodedevs_new(daemon, "/sys");
	/* Before the domains: those with autostart may have their disks in pools, and need networks. */
	daemon->storage = storage_new(daemon, error);
	daemon->secrets = daemon->storage ? secrets_new(daemon, error) : NULL;
	daemon->rates = rates_new(daemon);
	/* Networks and guests may need bridges of the host. */
	daemon->interfaces = daemon->secrets ? interfaces_new(daemon, error) : NULL;
	daemon->ovs = ovs_queue_new(daemon);
	daemon->networks = daemon->interfaces ? networks_new(daemon, error) : NULL;
	daemon->filters = daemon->networks ? filters_new(daemon, error) : NULL;
	daemon->domains = daemon->filters ? domains_new(daemon, error) : NULL;
	bool good = daemon->domains && host_ready(daemon->host, error) && serve(service, error);
	rpc_server_free(g_steal_pointer(&daemon->server));
	filters_finish(daemon->filters);
	storage_free(daemon->storage);
	aio_pool_free(daemon->pool);
	/* What was posted to the loop meanwhile frees its memory. */
	aio_loop_iterate(daemon->loop, 0);
	domains_free(daemon->domains);
	ovs_queue_free(daemon->ovs);
	filters_free(daemon->filters);
	networks_free(daemon->networks);
	interfaces_free(daemon->interfaces);
	rates_free(daemon->rates);
	secrets_free(daemon->secrets);
	nodedevs_free(daemon->nodedevs);
	aio_loop_iterate(daemon->loop, 0);
	aio_loop_free(daemon->loop);
	host_free(daemon->host);
	return good;
}

static bool run(const struct options *options, const struct settings *settings, GError **error)
{
	auto_fd waiting = options->daemon ? go_to_background() : -1;
	auto_fd signals = block_signals();
	if (!make_folder(options->socket_dir, 0755, error) ||
	    !make_folder(options->state_dir, 0700, error))
		return false;
	auto_fd lock = lock_state(options->state_dir, error);
	if (lock < 0 || !log_open(options, settings, error))
		return false;
	struct service service = {
		.options = options, .settings = settings, .waiting = waiting,
		.daemon = {.state_dir = options->state_dir, .vmm = options->vmm,
			   .dynamic_ownership = settings->dynamic_ownership,
			   .remember_owner = settings->remember_owner,
			   .first_networks = options->system ? DATA_DIR "/networks" : NULL,
			   .nbd_tls_dir = settings->nbd_tls_x509_cert_dir,
			   .ovs_socket = settings->ovs_socket,
			   .max_files = settings->max_files,
			   .console_log = settings->console_log, .log_size = settings->vm_log_size,
			   .log_backups = settings->vm_log_backups,
			   .uri = options->session ? "qemu:///session" : "qemu:///system",
			   .read_command = native_read},
	};
	struct rules *rules = NULL;
	struct vmm_user *user = NULL;
	struct confinement confinement = {NULL};
	service.doors = doors_new(settings, error);
	bool good = service.doors && find_vmm_user(settings, &user, error) &&
		    find_confinement(settings, &confinement, error);
	service.daemon.vmm_user = user;
	service.daemon.confinement = &confinement;
	if (good && confinement.why_not)
		log_info("virtual machines are not confined by AppArmor: %s", confinement.why_not);
	good = good && read_rules(settings, &rules, error) && run_parts(&service, rules, signals, error);
	confine_clear(&confinement);
	user_free(user);
	doors_free(service.doors);
	return good;
}

/* --- Beginning -------------------------------------------------------------------------------- */

static bool read_settings(struct options *options, struct settings *settings, GError **error)
{
	settings_init(settings);
	if (options->config && !settings_read(settings, options->config, error))
		return false;
	daemon_options_choose_sockets(options, settings->unix_sock_dir);
	if (!options->check_config && (!options->socket_dir || !options->state_dir))
		return error_set(error, BERTH_ERR_INVALID,
				 "say where to live: --system, --session, or --socket-dir DIR "
				 "--state-dir DIR");
	return true;
}

/* Nothing is served: are the settings good, with the files that they name? */
static bool check_settings(const struct options *options, const struct settings *settings,
			   GError **error)
{
	struct doors *doors = doors_new(settings, error);
	struct rules *rules = NULL;
	struct vmm_user *user = NULL;
	struct confinement confinement = {NULL};
	bool good = doors && read_rules(settings, &rules, error) && find_vmm_user(settings, &user, error) &&
		    find_confinement(settings, &confinement, error);
	confine_clear(&confinement);
	doors_free(doors);
	rules_free(rules);
	user_free(user);
	if (good)
		printf("berthd: the settings%s%s are good\n", options->config ? " in " : "",
		       options->config ? options->config : "");
	return good;
}

int main(int argc, char **argv)
{
	struct options options = {NULL};
	struct settings settings = {NULL};
	g_autoptr(GError) error = NULL;
	bool good = daemon_options_parse(argc, argv, &options, &error);
	if (good && options.version) {
		printf("berthd " BERTH_VERSION "\n");
		daemon_options_clear(&options);
		return EXIT_SUCCESS;
	}
	good = good && read_settings(&options, &settings, &error);
	log_setup("berthd", log_lowest(&options, &settings), stderr);
	if (good && !options.vmm && !options.check_config)
		good = (options.vmm = find_vmm(&error)) != NULL;
	if (good)
		good = options.check_config ? check_settings(&options, &settings, &error)
					    : run(&options, &settings, &error);
	if (!good)
		fprintf(stderr, "berthd: %s\n", error->message);
	settings_clear(&settings);
	daemon_options_clear(&options);
	return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
