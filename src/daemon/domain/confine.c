/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/confine.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "daemon/domain/apparmor.h"
#include "daemon/domain/images.h"
#include "daemon/domain/vmm.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LOAD_TIMEOUT_MS = 60000 };

/* --- Settings ----------------------------------------------------------------------------------- */

bool confine_settings(struct confinement *confinement, const char *driver, bool by_default, bool required,
		      GError **error)
{
	g_autoptr(GError) reason = NULL;
	*confinement = (struct confinement){.by_default = by_default, .required = required};
	if (driver && strcmp(driver, "none") != 0 && strcmp(driver, "dac") != 0 && strcmp(driver, "apparmor") != 0)
		return error_set(error, BERTH_ERR_INVALID,
				 "security_driver is '%s': there are \"apparmor\", \"dac\" and \"none\"", driver);
	bool wanted = g_strcmp0(driver, "apparmor") == 0 || required;
	if (driver && strcmp(driver, "apparmor") != 0)
		error_set(&reason, BERTH_ERR_NOT_SUPPORTED, "berthd.conf says security_driver = \"%s\"", driver);
	else
		confinement->parser = apparmor_find_parser(&reason);
	if (confinement->parser)
		return true;
	confinement->why_not = g_strdup(reason->message);
	return !wanted || error_set(error, BERTH_ERR_NOT_SUPPORTED,
				    "%s of the configuration demands AppArmor, which cannot be had: %s",
				    required ? "security_require_confined" : "security_driver", reason->message);
}

void confine_clear(struct confinement *confinement)
{
	g_clear_pointer(&confinement->parser, g_free);
	g_clear_pointer(&confinement->why_not, g_free);
}

/* --- Which one ---------------------------------------------------------------------------------- */

/* libvirt's name for it. */
static char *name_of(const struct domain *dom)
{
	return g_strdup_printf("libvirt-%s", dom->uuid_text);
}

bool confine_choose(struct domain *dom, GError **error)
{
	const struct confinement *confinement = dom->all->daemon->confinement;
	struct conf_domain *conf = dom->live;
	bool asked = conf->confinement == CONF_DOMAIN_CONFINED || conf->confinement == CONF_DOMAIN_CONFINED_BY;
	if (conf->confinement == CONF_DOMAIN_UNCONFINED && confinement->required)
		return virt_error(error, VIRT_FROM_SECURITY, VIRT_CONFIG_UNSUPPORTED,
				  "unconfined guests are not allowed on this host (security_require_confined)");
	if (asked && !confinement->parser)
		return virt_error(error, VIRT_FROM_SECURITY, VIRT_CONFIG_UNSUPPORTED,
				  "security driver model 'apparmor' is not available: %s", confinement->why_not);
	if (conf->confinement == CONF_DOMAIN_CONFINED_BY)
		return apparmor_is_loaded(conf->profile) ||
		       virt_error(error, VIRT_FROM_SECURITY, VIRT_CONFIG_UNSUPPORTED,
				  "the AppArmor profile '%s' of domain '%s' is not loaded: load it with "
				  "apparmor_parser(8)", conf->profile, dom->name);
	if (conf->confinement == CONF_DOMAIN_UNCONFINED || !confinement->parser ||
	    (!asked && !confinement->by_default && !confinement->required))
		return true;
	g_autofree char *name = name_of(dom);
	conf_domain_set_profile(conf, name);
	return true;
}

bool confine_makes_profile(const struct domain *dom)
{
	return dom->live && dom->live->confinement == CONF_DOMAIN_CONFINED && dom->live->profile;
}

/* --- Its file ----------------------------------------------------------------------------------- */

static char *file_path(const struct domain *dom)
{
	g_autofree char *folder = store_path(dom->all->daemon, "run", dom->uuid_text, "");
	return g_build_filename(folder, "apparmor", NULL);
}

char *confine_file(const struct domain *dom)
{
	return confine_makes_profile(dom) ? file_path(dom) : NULL;
}

static char *text_of(const struct domain *dom)
{
	const struct daemon *daemon = dom->all->daemon;
	g_autofree char *run_dir = store_path(daemon, "run", dom->uuid_text, ""), *name = name_of(dom);
	g_autofree char *folder = vmm_user_folder(run_dir);
	g_autofree char *logs = store_path(daemon, "log", dom->uuid_text, "");
	json_t *files = images_allowed(dom);
	const struct apparmor_profile profile = {.name = name, .program = daemon->vmm, .folder = folder,
						 .logs = logs, .certificates = daemon->nbd_tls_dir, .files = files};
	char *text = apparmor_profile_text(&profile);
	json_decref(files);
	return text;
}

bool confine_write(const struct domain *dom, GError **error)
{
	g_autofree char *path = file_path(dom), *text = text_of(dom);
	return g_file_set_contents_full(path, text, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0600, error);
}

/* --- On its way --------------------------------------------------------------------------------- */

struct waiting {
	confine_ready_fn *ready;
	void *opaque;
};

/* A change of the profile of a running VMM. */
struct confine_load {
	struct domain *dom;
	GPid pid;
	int pidfd, output;
	struct aio_watch *watch;
	struct aio_timer timer;
	bool late, again; /* it was killed; the profile has changed since it began */
	GQueue waiting;   /* struct waiting */
};

static bool spawn(struct confine_load *load, GError **error)
{
	struct domain *dom = load->dom;
	g_autofree char *path = file_path(dom);
	const char *const args[] = {dom->all->daemon->confinement->parser, "--replace", "--skip-cache", path, NULL};
	load->output = memfd_create("apparmor", MFD_CLOEXEC);
	if (!g_spawn_async_with_pipes_and_fds(NULL, args, NULL, G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL, -1,
					      load->output, load->output, NULL, NULL, 0, &load->pid, NULL, NULL, NULL,
					      error)) {
		fd_clear(&load->output);
		return false;
	}
	load->pidfd = syscall(SYS_pidfd_open, load->pid, 0);
	if (load->pidfd >= 0)
		return true;
	error_set_errno(error, errno, "cannot watch apparmor_parser");
	kill(load->pid, SIGKILL);
	waitpid(load->pid, NULL, 0);
	fd_clear(&load->output);
	return false;
}

static void load_free(struct confine_load *load)
{
	aio_timer_cancel(&load->timer);
	if (load->watch)
		aio_watch_remove(load->watch);
	fd_clear(&load->pidfd);
	fd_clear(&load->output);
	g_queue_clear_full(&load->waiting, g_free);
	g_free(load);
}

/* What waits may end the domain, or begin another change. */
static void settle(struct domain *dom, const GError *error)
{
	struct confine_load *load = g_steal_pointer(&dom->confining);
	struct waiting *one;
	domain_pin(dom);
	while ((one = g_queue_pop_head(&load->waiting))) {
		one->ready(one->opaque, error);
		g_free(one);
	}
	load_free(load);
	domain_unpin(dom);
}

static void begin(struct confine_load *load);

static int reap(const struct confine_load *load)
{
	int status = 0;
	while (waitpid(load->pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

/* One line of what it has said. */
static char *words_of(const struct confine_load *load)
{
	char buffer[1024];
	ssize_t n = pread(load->output, buffer, sizeof(buffer) - 1, 0);
	buffer[MAX(n, 0)] = '\0';
	return g_utf8_make_valid(g_strstrip(g_strdelimit(buffer, "\n", ' ')), -1);
}

/* It is not what the kernel has: the next change loads it, whatever it is. */
static void forget_text(const struct domain *dom)
{
	g_autofree char *path = file_path(dom);
	g_autoptr(GError) error = NULL;
	if (!g_file_set_contents_full(path, "", 0, G_FILE_SET_CONTENTS_CONSISTENT, 0600, &error))
		log_warning("domain '%s': %s", dom->name, error->message);
}

static void on_loaded(void *opaque, int fd, uint32_t events)
{
	struct confine_load *load = opaque;
	struct domain *dom = load->dom;
	g_autoptr(GError) error = NULL;
	int status = reap(load);
	if (load->late || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		g_autofree char *words = words_of(load);
		virt_error(&error, VIRT_FROM_SECURITY, VIRT_OPERATION_FAILED,
			   "cannot update AppArmor profile 'libvirt-%s': apparmor_parser %s: %s", dom->uuid_text,
			   load->late ? "does not end" : "has failed", words);
		log_warning("domain '%s': %s", dom->name, error->message);
		forget_text(dom);
	}
	aio_timer_cancel(&load->timer);
	aio_watch_remove(g_steal_pointer(&load->watch));
	fd_clear(&load->pidfd);
	fd_clear(&load->output);
	if (!error && load->again)
		begin(load);
	else
		settle(dom, error);
}

static void on_late(void *opaque)
{
	struct confine_load *load = opaque;
	load->late = true;
	kill(load->pid, SIGKILL);
}

static void begin(struct confine_load *load)
{
	struct domain *dom = load->dom;
	struct aio_loop *loop = dom->all->daemon->loop;
	g_autoptr(GError) error = NULL;
	load->again = false;
	if (!confine_write(dom, &error) || !spawn(load, &error)) {
		log_warning("domain '%s': %s", dom->name, error->message);
		forget_text(dom);
		settle(dom, error);
		return;
	}
	load->watch = aio_watch_add(loop, load->pidfd, POLLIN, on_loaded, load);
	aio_timer_arm(&load->timer, aio_now_ns() + LOAD_TIMEOUT_MS * INT64_C(1000000));
}

void confine_update(struct domain *dom)
{
	g_autofree char *path = file_path(dom), *then = NULL, *now = NULL;
	if (!dom->vmm || !confine_makes_profile(dom))
		return;
	if (dom->confining) {
		dom->confining->again = true;
		return;
	}
	if (!dom->all->daemon->confinement->parser) {
		log_warning("domain '%s': its AppArmor profile stays what it is: %s", dom->name,
			    dom->all->daemon->confinement->why_not);
		return;
	}
	now = text_of(dom);
	if (g_file_get_contents(path, &then, NULL, NULL) && !strcmp(then, now))
		return;
	struct confine_load *load = g_new0(struct confine_load, 1);
	*load = (struct confine_load){.dom = dom, .pidfd = -1, .output = -1};
	g_queue_init(&load->waiting);
	aio_timer_init(&load->timer, dom->all->daemon->loop, on_late, load);
	dom->confining = load;
	begin(load);
}

bool confine_await(struct domain *dom, confine_ready_fn *ready, void *opaque)
{
	if (!dom->confining)
		return false;
	struct waiting *one = g_new(struct waiting, 1);
	*one = (struct waiting){ready, opaque};
	g_queue_push_tail(&dom->confining->waiting, one);
	return true;
}

/* --- The end ------------------------------------------------------------------------------------ */

void confine_end(struct domain *dom)
{
	struct confine_load *load = dom->confining;
	g_autofree char *path = file_path(dom), *name = name_of(dom);
	g_autoptr(GError) error = NULL;
	if (load && load->watch) {
		kill(load->pid, SIGKILL);
		reap(load);
		aio_watch_remove(g_steal_pointer(&load->watch));
	}
	if (access(path, F_OK) == 0 && apparmor_is_loaded(name) && !apparmor_unload(name, &error))
		log_warning("domain '%s': %s", dom->name, error->message);
}

void confine_release(struct domain *dom)
{
	g_autoptr(GError) error = NULL;
	if (!dom->confining)
		return;
	virt_error(&error, VIRT_FROM_QEMU, VIRT_OPERATION_FAILED, "the domain has ended");
	settle(dom, error);
}
