/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The process of a running domain. It is our child but lives on without us: what a later daemon
 * needs is in STATE/run/UUID: the live XML, the domain's id, and the process id, which the child
 * itself writes before it becomes berth-vmm, so that no VM can run unknown.
 */
#include "daemon/domain/domain.h"

#include "base/fd.h"
#include "base/log.h"
#include "daemon/domain/agent.h"
#include "daemon/domain/backup.h"
#include "daemon/domain/cgroup.h"
#include "daemon/domain/confine.h"
#include "daemon/domain/device_args.h"
#include "daemon/domain/blockjob_delete.h"
#include "daemon/domain/disk_now.h"
#include "daemon/domain/disk_source.h"
#include "daemon/domain/dump.h"
#include "daemon/domain/hostdev.h"
#include "daemon/domain/images.h"
#include "daemon/domain/interface.h"
#include "daemon/domain/log.h"
#include "daemon/domain/memory.h"
#include "daemon/domain/moment.h"
#include "daemon/domain/notify.h"
#include "daemon/domain/passt.h"
#include "daemon/domain/perf.h"
#include "daemon/domain/user.h"
#include "daemon/domain/vcpus.h"
#include "daemon/domain/vmm_int.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum {
	CONNECT_RETRY_MS = 3,
	START_TIMEOUT_MS = 30000,
	RECONNECT_MS = 200,
	KILL_AFTER_MS = 300, /* between SIGTERM and SIGKILL */
	KILL_WITH_BITMAPS_MS = 5000, /* the same for a VMM that has bitmaps to write into its images */
};

/* --- Files ---------------------------------------------------------------------------------- */

static char *in_run_dir(const struct vmm *vmm, const char *name)
{
	return g_build_filename(vmm->run_dir, name, NULL);
}

/* What a later daemon reads. Not fsynced: after a crash of the host nothing of it runs. */
static bool write_live(const struct vmm *vmm, GError **error)
{
	g_autofree char *path = in_run_dir(vmm, "live.xml");
	g_autofree char *xml = conf_domain_format(vmm->dom->live, vmm->dom->id);
	return g_file_set_contents(path, xml, -1, error);
}

/* The last line that the VMM has said, which tells why it ended. */
static char *last_words(const struct vmm *vmm)
{
	g_autofree char *path = store_path(vmm->dom->all->daemon, "log", vmm->dom->uuid_text, ".log");
	g_autofree char *text = NULL;
	if (!g_file_get_contents(path, &text, NULL, NULL))
		return g_strdup("it said nothing");
	g_strchomp(text);
	const char *line = strrchr(text, '\n');
	return g_utf8_make_valid(line ? line + 1 : text, -1);
}

/* --- The end -------------------------------------------------------------------------------- */

static void vmm_free(struct vmm *vmm)
{
	aio_timer_cancel(&vmm->timer);
	if (vmm->watch)
		aio_watch_remove(vmm->watch);
	agent_free(g_steal_pointer(&vmm->dom->agent));
	confine_release(vmm->dom);
	qmp_free(vmm->qmp);
	perf_free(vmm->perf);
	fd_clear(&vmm->pidfd);
	g_ptr_array_unref(vmm->destroyers);
	g_clear_error(&vmm->cause);
	g_free(vmm->threads);
	g_free(vmm->plugged);
	user_free(vmm->user);
	g_free(vmm->run_dir);
	g_free(vmm);
}

/* `rival`: what images_other_user() has said, or NULL. */
static void fail_start(struct vmm *vmm, const char *rival)
{
	struct domain_job *job = g_steal_pointer(&vmm->job);
	GError *error = NULL;
	g_autofree char *words = vmm->cause ? g_strdup(vmm->cause->message) : last_words(vmm);
	virt_error(&error, VIRT_FROM_QEMU, VIRT_INTERNAL, "the VMM of domain '%s' did not start: %s%s%s",
		   vmm->dom->name, words, rival ? ": " : "", rival ? rival : "");
	job_fail(job, error);
}

/* What a domain that does not run any more had of the host. */
static void release_all(const struct vmm *vmm)
{
	interface_release(vmm->dom);
	images_release(vmm->dom);
	hostdevs_settle(vmm->dom);
	logs_end(g_steal_pointer(&vmm->dom->logs));
	confine_end(vmm->dom);
	vmm_user_remove_folders(vmm->run_dir);
}

/* The process is gone. */
static void ended(struct vmm *vmm)
{
	struct domain *dom = vmm->dom;
	/* While its disks are still known: the VMM knows the lock that keeps it out, not whose it is. */
	g_autofree char *rival = vmm->job ? images_other_user(dom) : NULL;
	dom->reason = vmm->crashed ? SHUTOFF_CRASHED : vmm->destroyed ? SHUTOFF_DESTROYED
		: vmm->failed || vmm->job ? SHUTOFF_FAILED
		: vmm->was_shutdown ? SHUTOFF_SHUTDOWN : SHUTOFF_CRASHED;
	int detail = vmm->crashed ? STOPPED_CRASHED : vmm->destroyed ? STOPPED_DESTROYED
		: vmm->failed || vmm->job ? STOPPED_FAILED
		: vmm->was_shutdown ? STOPPED_SHUTDOWN : STOPPED_CRASHED;
	cgroup_remove(dom);
	dom->state = DOMAIN_SHUTOFF;
	dom->id = -1;
	dom->vmm = NULL;
	backup_domain_ended(dom);
	passt_give_up(dom);
	dom->balloon_kib = 0;
	dom->stop_reason = 0;
	dom->rebooting = false;
	g_clear_pointer(&dom->live, conf_domain_free);
	release_all(vmm);
	domain_emit(dom, EVENT_STOPPED, detail);
	for (unsigned i = 0; i < vmm->destroyers->len; i++)
		rpc_call_reply(vmm->destroyers->pdata[i], NULL);
	domain_pin(dom);
	if (!dom->definition)
		domain_remove(dom);
	/* The job under way fails here, and the next one may start the domain again. */
	if (vmm->job)
		fail_start(vmm, rival);
	vmm_free(vmm);
	domain_unpin(dom);
}

static void on_process_end(void *opaque, int fd, uint32_t events)
{
	struct vmm *vmm = opaque;
	siginfo_t info;
	/* Not our child if a former daemon started it; then init takes care of it. */
	waitid(P_PID, vmm->pid, &info, WEXITED | WNOHANG);
	ended(vmm);
}

static void send_signal(const struct vmm *vmm, int sign)
{
	syscall(SYS_pidfd_send_signal, vmm->pidfd, sign, NULL, 0);
}

static void on_kill(void *opaque)
{
	send_signal(opaque, SIGKILL);
}

static void kill_soon(struct vmm *vmm)
{
	send_signal(vmm, SIGTERM);
	aio_timer_cancel(&vmm->timer);
	vmm->timer.fn = on_kill;
	int64_t ms = vmm->dom->checkpoints->list->len ? KILL_WITH_BITMAPS_MS : KILL_AFTER_MS;
	aio_timer_arm(&vmm->timer, aio_now_ns() + ms * INT64_C(1000000));
}

void vmm_destroy(struct domain *dom, struct rpc_call *call)
{
	struct vmm *vmm = dom->vmm;
	vmm->destroyed = true;
	if (call)
		g_ptr_array_add(vmm->destroyers, call);
	kill_soon(vmm);
}

void vmm_crash(struct domain *dom, struct rpc_call *call)
{
	dom->vmm->crashed = true;
	vmm_destroy(dom, call);
}

/* --- Events --------------------------------------------------------------------------------- */

static void on_event(void *opaque, const char *name, const json_t *data)
{
	struct vmm *vmm = opaque;
	/* By our own signal: clients hear of the end only. */
	if (vmm->destroyed)
		return;
	if (strcmp(name, "SHUTDOWN") == 0)
		vmm->was_shutdown = !vmm->dom->rebooting;
	notify_event(vmm->dom, name, data);
}

static void try_connect(void *opaque);

/* Mostly the process's end follows; if it does not, the guest goes on and we try again. */
static void on_closed(void *opaque)
{
	struct vmm *vmm = opaque;
	vmm->qmp = NULL;
	if (!vmm->destroyed)
		aio_timer_arm(&vmm->timer, aio_now_ns() + RECONNECT_MS * INT64_C(1000000));
}

static const struct qmp_ops qmp_ops = {on_event, on_closed};

/* --- Start ---------------------------------------------------------------------------------- */

static void give_up(struct vmm *vmm)
{
	vmm->failed = true;
	kill_soon(vmm);
}

static void started(struct vmm *vmm)
{
	struct domain *dom = vmm->dom;
	struct domain_job *job = g_steal_pointer(&vmm->job);
	agent_update(dom);
	vmm_save_live(dom);
	/* In libvirt's order. */
	if (!vmm->start_paused)
		domain_emit(dom, EVENT_RESUMED, 0);
	domain_emit(dom, EVENT_STARTED, 0);
	if (!job)
		return;
	/* All of them return the domain or nothing. */
	struct remote_domain_create_with_flags_ret ret = {domain_wire(dom)};
	job_reply(job, job->returns_domain ? &ret : NULL);
}

static void on_cont(void *opaque, json_t *result, const GError *error)
{
	struct vmm *vmm = opaque;
	if (vmm->dom->vmm != vmm || vmm->failed)
		return;
	if (error)
		give_up(vmm);
	else
		started(vmm);
}

/* --- Settings ------------------------------------------------------------------------------- */

static void on_threads(void *opaque, json_t *result, const GError *error)
{
	struct vmm *vmm = opaque;
	if (!error && vmm->dom->vmm == vmm)
		vmm_take_threads(vmm->dom, result);
}

static void on_setting(void *opaque, json_t *result, const GError *error)
{
	struct vmm *vmm = opaque;
	if (!error || vmm->dom->vmm != vmm || vmm->failed)
		return;
	vmm->cause = g_error_copy(error);
	give_up(vmm);
}

static void set(struct vmm *vmm, const char *command, json_t *args)
{
	qmp_execute(vmm->qmp, command, args, COMMAND_TIMEOUT_MS, on_setting, vmm);
}

/* What the document says and no argument of the VMM's can: links that are down, the balloon. */
static void apply_settings(struct vmm *vmm)
{
	const struct conf_domain *conf = vmm->dom->live;
	for (unsigned i = 0; i < conf->nics->len; i++) {
		const struct conf_domain_nic *nic = conf->nics->pdata[i];
		if (nic->link_down)
			set(vmm, "set_link", json_pack("{s:s, s:b}", "name", nic->dev.alias, "up", 0));
	}
	for (unsigned i = 0; i < conf->disks->len; i++) {
		const struct conf_domain_disk *disk = conf->disks->pdata[i];
		if (conf_iotune_is_set(&disk->iotune))
			set(vmm, "block_set_io_throttle", disk_throttle(disk));
	}
	if (conf->balloon && conf->current_kib < conf_domain_ram_kib(conf))
		set(vmm, "balloon",
		    json_pack("{s:I}", "value", (json_int_t)(conf->current_kib * 1024)));
	if (!conf->balloon || !conf->balloon_period)
		return;
	g_autofree char *path = g_strdup_printf("/machine/peripheral/%s", conf->balloon->alias);
	set(vmm, "qom-set", json_pack("{s:s, s:s, s:i}", "path", path, "property",
				      "guest-stats-polling-interval", "value", (int)conf->balloon_period));
}

static void on_networks(void *opaque, const GError *error)
{
	struct vmm *vmm = opaque;
	if (vmm->dom->vmm != vmm || vmm->failed)
		return;
	if (error && !vmm->cause)
		vmm->cause = g_error_copy(error);
	/* Without the connection, its end or the next one is near. */
	if (error || !vmm->qmp) {
		give_up(vmm);
		return;
	}
	/* Answers come in order: when this one is there, the settings hold. */
	qmp_execute(vmm->qmp, vmm->start_paused ? "query-status" : "cont", NULL, COMMAND_TIMEOUT_MS, on_cont,
		    vmm);
}

static void on_start_threads(void *opaque, json_t *result, const GError *error)
{
	struct vmm *vmm = opaque;
	g_autoptr(GError) failure = NULL;
	on_threads(opaque, result, error);
	if (vmm->dom->vmm != vmm)
		return;
	if (error || !vmm_pin_all(vmm->dom, &failure) ||
	    !cgroup_apply(vmm->dom, vmm->dom->live, &failure)) {
		log_warning("domain '%s': %s", vmm->dom->name, (error ? error : failure)->message);
		g_set_error_literal(&vmm->cause, VIRT_ERROR, VIRT_OPERATION_FAILED,
				    (error ? error : failure)->message);
		give_up(vmm);
		return;
	}
	vmm_count_events(vmm->dom);
	apply_settings(vmm);
	interface_await(vmm->dom, on_networks, vmm);
}

static void on_chardevs(void *opaque, json_t *result, const GError *error)
{
	struct vmm *vmm = opaque;
	if (vmm->dom->vmm != vmm)
		return;
	if (error) {
		give_up(vmm);
		return;
	}
	vmm_take_streams(vmm->dom, result);
	qmp_execute(vmm->qmp, "query-cpus-fast", NULL, COMMAND_TIMEOUT_MS, on_start_threads, vmm);
}

static bool connect_qmp(struct vmm *vmm)
{
	g_autofree char *folder = vmm_user_folder(vmm->run_dir);
	g_autofree char *path = g_build_filename(folder, "qmp.sock", NULL);
	vmm->qmp = qmp_connect(vmm->dom->all->daemon->loop, path, &qmp_ops, vmm, NULL);
	if (vmm->qmp)
		qmp_execute(vmm->qmp, "qmp_capabilities", NULL, START_TIMEOUT_MS, NULL, NULL);
	return vmm->qmp != NULL;
}

static void on_status(void *opaque, json_t *result, const GError *error)
{
	struct vmm *vmm = opaque;
	struct domain *dom = vmm->dom;
	if (error || dom->vmm != vmm)
		return;
	bool running = json_is_true(json_object_get(result, "running"));
	const char *status = json_string_value(json_object_get(result, "status"));
	bool asleep = g_strcmp0(status, "suspended") == 0;
	dom->state = running ? DOMAIN_RUNNING : asleep ? DOMAIN_PMSUSPENDED : DOMAIN_PAUSED;
	dom->reason = running ? (int)RUNNING_BOOTED : asleep ? 0 : (int)PAUSED_USER;
	/* While no daemon was there the guest has powered off. */
	if (dom->rebooting && g_strcmp0(status, "shutdown") == 0)
		reboot_after_shutdown(dom);
}

/* What the VMM has told by events while nobody listened. */
static void catch_up(struct vmm *vmm)
{
	struct domain *dom = vmm->dom;
	qmp_execute(vmm->qmp, "query-status", NULL, COMMAND_TIMEOUT_MS, on_status, vmm);
	disk_now_refresh_all(dom);
	block_delete_finish_all(dom);
	backup_settle(dom);
	memory_recall(dom);
	logs_retry(dom);
}

static void try_connect(void *opaque)
{
	struct vmm *vmm = opaque;
	bool connected = connect_qmp(vmm);
	if (connected && vmm->job)
		qmp_execute(vmm->qmp, "query-chardev", NULL, START_TIMEOUT_MS, on_chardevs, vmm);
	else if (connected)
		catch_up(vmm);
	else if (!vmm->job)
		aio_timer_arm(&vmm->timer, aio_now_ns() + RECONNECT_MS * INT64_C(1000000));
	else if (aio_now_ns() < vmm->deadline_ns)
		aio_timer_arm(&vmm->timer, aio_now_ns() + CONNECT_RETRY_MS * INT64_C(1000000));
	else
		give_up(vmm);
}

static struct vmm *vmm_new(struct domain *dom)
{
	struct vmm *vmm = g_new0(struct vmm, 1);
	vmm->dom = dom;
	vmm->run_dir = store_path(dom->all->daemon, "run", dom->uuid_text, "");
	vmm->pidfd = -1;
	vmm->destroyers = g_ptr_array_new();
	aio_timer_init(&vmm->timer, dom->all->daemon->loop, try_connect, vmm);
	return vmm;
}

static void watch_process(struct vmm *vmm)
{
	vmm->perf = perf_new(vmm->pid);
	vmm->watch =
		aio_watch_add(vmm->dom->all->daemon->loop, vmm->pidfd, POLLIN, on_process_end, vmm);
}

static void fail_before_start(struct vmm *vmm, struct domain_job *job, GError *error)
{
	struct domain *dom = vmm->dom;
	passt_give_up(dom);
	g_clear_pointer(&dom->live, conf_domain_free);
	release_all(vmm);
	dom->id = -1;
	vmm_free(vmm);
	if (!dom->definition)
		domain_remove(dom);
	job_fail(job, error);
}

static bool prepare(struct vmm *vmm, GError **error)
{
	struct domain *dom = vmm->dom;
	dom->id = dom->all->next_id;
	if (!disk_sources_resolve(dom->all->daemon, dom->live, NULL, error) ||
	    !nvram_prepare(dom->all->daemon, dom->live, error) || !memory_check_host_nodes(dom->live, error))
		return false;
	if (!vmm_user_choose(vmm, error) || !confine_choose(dom, error) || !vmm_user_make_folders(vmm, error))
		return false;
	g_autofree char *folder = vmm_user_folder(vmm->run_dir);
	g_autoptr(GArray) fds = interface_open_all(dom, error);
	if (!fds || !disk_secrets_open_all(dom->all->daemon, dom->live, vmm->user, fds, error) ||
	    !logs_open(dom, fds, error))
		return false;
	g_autoptr(GPtrArray) args = vmm_arguments(dom->all->daemon, dom->live, folder,
						  (const int *)(void *)fds->data, error);
	return args && write_live(vmm, error) &&
	       images_begin(dom, vmm_user_owns_images(vmm) ? vmm->user : NULL, error) &&
	       images_give(dom, dom->live, error) &&
	       (!confine_makes_profile(dom) || confine_write(dom, error)) && vmm_spawn(vmm, args, fds, error);
}

struct starting {
	struct domain_job *job;
	struct conf_domain *live; /* the document to be */
	bool paused;
};

static void start(struct domain_job *job, bool paused, const GError *cause)
{
	struct domain *dom = job->dom;
	struct vmm *vmm = vmm_new(dom);
	GError *error = cause ? g_error_copy(cause) : NULL;
	if (error || !prepare(vmm, &error)) {
		fail_before_start(vmm, job, error);
		return;
	}
	dom->all->next_id++;
	dom->vmm = vmm;
	dom->state = paused ? DOMAIN_PAUSED : DOMAIN_RUNNING;
	dom->reason = paused ? (int)PAUSED_USER : (int)RUNNING_BOOTED;
	vmm->job = job;
	vmm->start_paused = paused;
	vmm->deadline_ns = aio_now_ns() + START_TIMEOUT_MS * INT64_C(1000000);
	logs_begin(dom);
	watch_process(vmm);
	try_connect(vmm);
}

static void on_hostdevs(void *opaque, const GError *error)
{
	struct starting *starting = opaque;
	struct domain_job *job = starting->job;
	bool paused = starting->paused;
	job->dom->live = starting->live;
	g_free(starting);
	start(job, paused, error);
}

/* The live document, whose devices have names, is a copy of what the domain is started from. */
void vmm_start(struct domain_job *job, const struct conf_domain *conf, bool paused)
{
	GError *error = NULL;
	g_autofree char *xml = conf_domain_format(conf, -1);
	struct conf_domain *live = conf_domain_parse(xml, true, &error);
	if (!live || !live->hostdevs->len) {
		job->dom->live = live;
		start(job, paused, error);
		g_clear_error(&error);
		return;
	}
	/* Nobody must take the domain for one that runs while its devices come. */
	struct starting *starting = g_new(struct starting, 1);
	*starting = (struct starting){job, live, paused};
	hostdevs_claim(job->dom, live, on_hostdevs, starting);
}

/* --- For others ---------------------------------------------------------------------------- */

void vmm_save_live(struct domain *dom)
{
	g_autoptr(GError) error = NULL;
	if (!write_live(dom->vmm, &error))
		log_warning("domain '%s': %s", dom->name, error->message);
}

const char *vmm_run_dir(const struct domain *dom)
{
	return dom->vmm->run_dir;
}

struct perf *vmm_perf(const struct domain *dom)
{
	return dom->vmm->perf;
}

pid_t vmm_pid(const struct domain *dom)
{
	return dom->vmm ? dom->vmm->pid : 0;
}

/* --- A later daemon ------------------------------------------------------------------------- */

/* Process ids are used again: it is ours if its command line names our socket. */
static bool is_ours(const struct vmm *vmm)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/cmdline", (int)vmm->pid);
	g_autofree char *text = NULL;
	size_t length;
	if (!g_file_get_contents(path, &text, &length, NULL))
		return false;
	for (size_t i = 0; i + 1 < length; i++) {
		if (!text[i])
			text[i] = ' ';
	}
	g_autofree char *folder = vmm_user_folder(vmm->run_dir), *quoted = vmm_quote(folder);
	g_autofree char *socket = g_build_filename(quoted, "qmp.sock", NULL);
	return strstr(text, socket) != NULL;
}

static void on_streams(void *opaque, json_t *result, const GError *error)
{
	struct vmm *vmm = opaque;
	if (!error && vmm->dom->vmm == vmm)
		vmm_take_streams(vmm->dom, result);
}

bool vmm_attach(struct domain *dom)
{
	struct vmm *vmm = vmm_new(dom);
	g_autofree char *path = in_run_dir(vmm, "pid"), *text = NULL;
	if (g_file_get_contents(path, &text, NULL, NULL))
		vmm->pid = atoi(text);
	if (vmm->pid > 1)
		vmm->pidfd = syscall(SYS_pidfd_open, vmm->pid, 0);
	if (vmm->pidfd < 0 || !is_ours(vmm)) {
		hostdevs_recall(dom);
		g_clear_pointer(&dom->live, conf_domain_free);
		release_all(vmm);
		vmm_free(vmm);
		return false;
	}
	dom->vmm = vmm;
	dom->state = DOMAIN_RUNNING;
	dom->reason = RUNNING_BOOTED;
	reboot_recall(dom);
	agent_update(dom);
	watch_process(vmm);
	confine_update(dom);
	hostdevs_recall(dom);
	if (connect_qmp(vmm)) {
		qmp_execute(vmm->qmp, "query-chardev", NULL, COMMAND_TIMEOUT_MS, on_streams, vmm);
		dump_recall(dom);
		vcpus_settle(dom);
		vmm_count_events(dom);
		backup_recall(dom);
		logs_recall(dom);
		catch_up(vmm);
	} else {
		/* Killed between fork and the VMM's first steps: it has not begun to run. */
		give_up(vmm);
	}
	return true;
}

void vmm_detach(struct domain *dom)
{
	struct vmm *vmm = g_steal_pointer(&dom->vmm);
	if (!vmm)
		return;
	logs_end(g_steal_pointer(&dom->logs));
	vmm_free(vmm);
}
