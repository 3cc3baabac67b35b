/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Core dumps of a guest: its memory and registers in a file, which the daemon makes and the VMM writes.
 * The job polls the VMM for how far it is, rather than to wait for an event that may be lost.
 */
#include "daemon/domain/dump.h"

#include "base/fd.h"
#include "base/log.h"
#include "daemon/domain/vmm.h"
#include "daemon/rpc/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define POLL_NS (INT64_C(50) * 1000000)
#define FD_NAME "dump"

enum dump_flags {
	DUMP_CRASH = 1, DUMP_LIVE = 2, DUMP_BYPASS_CACHE = 4, DUMP_RESET = 8, DUMP_MEMORY_ONLY = 16,
	DUMP_ALL = 31,
};

struct core_dump {
	struct domain_job *job;
	char *path;
	const char *format;
	uint32_t flags;
	int fd;
	bool made;        /* the file is there by us */
	bool was_running; /* and goes on afterwards */
	int64_t began_ns;
	uint64_t total, done;
	GError *error;    /* why it has failed */
	struct aio_job open;
	struct aio_timer timer;
};

static void dump_free(void *opaque)
{
	struct core_dump *d = opaque;
	aio_timer_cancel(&d->timer);
	fd_clear(&d->fd);
	g_clear_error(&d->error);
	g_free(d->path);
	g_free(d);
}

/* A guest that is stopped for a dump runs again after it, also by a later daemon: a file says so. */
static char *mark_file(const struct domain *dom)
{
	return g_build_filename(vmm_run_dir(dom), "stopped-for-dump", NULL);
}

static void forget_stop(const struct domain *dom)
{
	g_autofree char *path = mark_file(dom);
	if (unlink(path) < 0 && errno != ENOENT)
		log_warning("domain '%s': cannot remove '%s'", dom->name, path);
}

/* --- The end -------------------------------------------------------------------------------- */

static void end(struct core_dump *d)
{
	struct domain_job *job = d->job;
	struct domain *dom = job->dom;
	dom->dump = NULL;
	if (!d->error) {
		job_reply(job, NULL);
		return;
	}
	/* As libvirt: half a dump is none. */
	if (d->made && unlink(d->path) < 0)
		log_warning("domain '%s': cannot remove '%s': %s", dom->name, d->path, g_strerror(errno));
	job_fail(job, g_steal_pointer(&d->error));
}

static void fail(struct core_dump *d, const GError *cause)
{
	if (!d->error)
		virt_error(&d->error, VIRT_FROM_QEMU, VIRT_OPERATION_FAILED, "domain '%s': %s",
			   d->job->dom->name, cause->message);
}

static void on_running_again(void *opaque, json_t *result, const GError *error)
{
	struct core_dump *d = opaque;
	if (error)
		fail(d, error);
	else
		forget_stop(d->job->dom);
	end(d);
}

static void run_again(struct core_dump *d)
{
	if (d->was_running)
		vmm_execute(d->job->dom, "cont", NULL, on_running_again, d);
	else
		end(d);
}

static void on_reset(void *opaque, json_t *result, const GError *error)
{
	struct core_dump *d = opaque;
	if (error)
		fail(d, error);
	run_again(d);
}

/* It is written, or it has failed. */
static void finish(struct core_dump *d)
{
	struct domain *dom = d->job->dom;
	fd_clear(&d->fd);
	if (d->error || !(d->flags & (DUMP_CRASH | DUMP_RESET))) {
		run_again(d);
	} else if (d->flags & DUMP_RESET) {
		vmm_execute(dom, "system_reset", NULL, on_reset, d);
	} else {
		if (dom->vmm)
			vmm_crash(dom, g_steal_pointer(&d->job->call));
		end(d);
	}
}

/* --- Meanwhile ------------------------------------------------------------------------------ */

static void on_status(void *opaque, json_t *result, const GError *error)
{
	struct core_dump *d = opaque;
	const char *status = json_string_value(json_object_get(result, "status"));
	g_autoptr(GError) failure = NULL;
	json_int_t total = json_integer_value(json_object_get(result, "total"));
	json_int_t done = json_integer_value(json_object_get(result, "completed"));
	d->total = MAX(total, 0);
	d->done = CLAMP(done, 0, MAX(total, 0));
	if (g_strcmp0(status, "active") == 0) {
		aio_timer_arm(&d->timer, aio_now_ns() + POLL_NS);
		return;
	}
	if (!error && g_strcmp0(status, "completed") != 0)
		virt_error(&failure, VIRT_FROM_QEMU, VIRT_OPERATION_FAILED,
			   "the VMM could not write '%s': its log has more", d->path);
	if (error || failure)
		fail(d, error ? error : failure);
	finish(d);
}

static void poll_status(void *opaque)
{
	struct core_dump *d = opaque;
	vmm_execute(d->job->dom, "query-dump", NULL, on_status, d);
}

static void on_begun(void *opaque, json_t *result, const GError *error)
{
	struct core_dump *d = opaque;
	if (!error) {
		poll_status(d);
		return;
	}
	fail(d, error);
	vmm_execute(d->job->dom, "closefd", json_pack("{s:s}", "fdname", FD_NAME), NULL, NULL);
	finish(d);
}

static void on_passed(void *opaque, json_t *result, const GError *error)
{
	struct core_dump *d = opaque;
	struct domain *dom = d->job->dom;
	if (error) {
		fail(d, error);
		finish(d);
		return;
	}
	/* The VMM stops a guest that runs, and says so. */
	if (dom->state == DOMAIN_RUNNING)
		dom->stop_reason = PAUSED_DUMP;
	vmm_execute(dom, "dump-guest-memory",
		    json_pack("{s:b, s:s, s:b, s:s}", "paging", 0, "protocol", "fd:" FD_NAME, "detach", 1,
			      "format", d->format), on_begun, d);
}

static void pass(struct core_dump *d)
{
	vmm_execute_fd(d->job->dom, "getfd", json_pack("{s:s}", "fdname", FD_NAME), d->fd, on_passed, d);
}

static void on_stopped(void *opaque, json_t *result, const GError *error)
{
	struct core_dump *d = opaque;
	if (!error) {
		pass(d);
		return;
	}
	d->was_running = false;
	if (d->job->dom->vmm)
		forget_stop(d->job->dom);
	fail(d, error);
	finish(d);
}

/* --- The beginning -------------------------------------------------------------------------- */

/* On a thread: the file may be on a server. */
static void open_file(void *opaque)
{
	struct core_dump *d = opaque;
	int direct = d->flags & DUMP_BYPASS_CACHE ? O_DIRECT : 0;
	struct stat st;
	bool there = stat(d->path, &st) == 0;
	/* A pipe that nobody reads must not hold up the thread. */
	d->fd = open(d->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NONBLOCK | direct, 0600);
	if (d->fd < 0 || fcntl(d->fd, F_SETFL, direct) < 0)
		virt_error(&d->error, VIRT_FROM_QEMU, VIRT_SYSTEM_ERROR, "Failed to create file '%s': %s%s",
			   d->path, g_strerror(errno),
			   direct && errno == EINVAL ? " (its file system does not bypass the cache)" : "");
	/* A device or a pipe is not to be removed. */
	d->made = d->fd >= 0 && (!there || S_ISREG(st.st_mode));
}

static void on_opened(void *opaque)
{
	struct core_dump *d = opaque;
	struct domain *dom = d->job->dom;
	bool stop = dom->vmm && dom->state == DOMAIN_RUNNING && !(d->flags & DUMP_LIVE);
	g_autofree char *mark = stop ? mark_file(dom) : NULL;
	if (d->error || (mark && !g_file_set_contents(mark, "", 0, &d->error))) {
		end(d);
		return;
	}
	if (!stop) {
		pass(d);
		return;
	}
	d->was_running = true;
	dom->stop_reason = PAUSED_DUMP;
	vmm_execute(dom, "stop", NULL, on_stopped, d);
}

static void begin(struct domain_job *job)
{
	struct core_dump *d = job->data;
	job->dom->dump = d;
	d->began_ns = aio_now_ns();
}

static void run_dump(struct domain_job *job)
{
	struct core_dump *d = job->data;
	if (!job_needs_running(job))
		return;
	begin(job);
	d->open = (struct aio_job){.work = open_file, .done = on_opened, .opaque = d,
				   .loop = job->dom->all->daemon->loop};
	aio_pool_submit(job->dom->all->daemon->pool, &d->open);
}

static struct domain_job *submit(struct domain *dom, struct rpc_call *call,
				 void (*run)(struct domain_job *job), const char *path)
{
	struct core_dump *d = g_new0(struct core_dump, 1);
	struct domain_job *job = domain_submit(dom, call, run);
	*d = (struct core_dump){.job = job, .path = g_strdup(path), .fd = -1};
	aio_timer_init(&d->timer, dom->all->daemon->loop, poll_status, d);
	job->data = d;
	job->free_data = dump_free;
	return job;
}

static bool check(uint32_t flags, uint32_t format, GError **error)
{
	static const struct {
		const char *a, *b;
		uint32_t flags;
	} exclusive[] = {
		{"crash", "live", DUMP_CRASH | DUMP_LIVE}, {"crash", "reset", DUMP_CRASH | DUMP_RESET},
		{"live", "reset", DUMP_LIVE | DUMP_RESET},
	};
	static const char *const refused[] = {[2] = "kdump-lzo", [3] = "kdump-snappy", [4] = "win-dmp"};
	for (unsigned i = 0; i < G_N_ELEMENTS(exclusive); i++) {
		if ((flags & exclusive[i].flags) == exclusive[i].flags)
			return virt_error(error, VIRT_FROM_DOMAIN, VIRT_INVALID_ARG,
					  "flags '%s' and '%s' are mutually exclusive", exclusive[i].a,
					  exclusive[i].b);
	}
	if (format >= G_N_ELEMENTS(refused))
		return virt_error(error, VIRT_FROM_DOMAIN, VIRT_INVALID_ARG,
				  "invalid core dump format '%u'", format);
	if (format && !(flags & DUMP_MEMORY_ONLY))
		return virt_error(error, VIRT_FROM_QEMU, VIRT_INVALID_ARG,
				  "kdump-compressed format is only supported with memory-only dump");
	if (refused[format])
		return virt_error(error, VIRT_FROM_QEMU, VIRT_OPERATION_UNSUPPORTED,
				  "unsupported dumpformat '%s': use elf or kdump-zlib", refused[format]);
	return flags & DUMP_MEMORY_ONLY ||
	       virt_error(error, VIRT_FROM_QEMU, VIRT_OPERATION_UNSUPPORTED,
			  "a dump of the whole machine's state is not supported: dump its memory and "
			  "registers with the flag memory-only");
}

static void dump(struct rpc_call *call, const struct remote_domain *wire, const char *path, uint32_t format,
		 uint32_t flags)
{
	static const char *const formats[] = {"elf", "kdump-zlib"};
	struct domain *dom = domain_find(call, wire);
	GError *error = NULL;
	if (!dom || !rpc_call_check_flags(call, flags, DUMP_ALL))
		return;
	if (!check(flags, format, &error)) {
		rpc_call_fail(call, error);
		return;
	}
	struct core_dump *d = submit(dom, call, run_dump, path)->data;
	d->format = formats[format];
	d->flags = flags;
	domain_run_jobs(dom);
}

void serve_domain_core_dump(struct rpc_call *call, const struct remote_domain_core_dump_args *args)
{
	dump(call, &args->dom, args->to, 0, args->flags);
}

void serve_domain_core_dump_with_format(struct rpc_call *call,
					const struct remote_domain_core_dump_with_format_args *args)
{
	dump(call, &args->dom, args->to, args->dumpformat, args->flags);
}

/* --- A later daemon ------------------------------------------------------------------------- */

static void run_recalled(struct domain_job *job)
{
	struct core_dump *d = job->data;
	if (!job_needs_running(job))
		return;
	begin(job);
	d->was_running = true;
	poll_status(d);
}

void dump_recall(struct domain *dom)
{
	g_autofree char *mark = mark_file(dom);
	if (!g_file_test(mark, G_FILE_TEST_EXISTS))
		return;
	submit(dom, NULL, run_recalled, "its dump");
	domain_run_jobs(dom);
}

/* --- For those who look on ------------------------------------------------------------------ */

void dump_progress(const struct domain *dom, struct dump_progress *progress)
{
	const struct core_dump *d = dom->dump;
	*progress = (struct dump_progress){(aio_now_ns() - d->began_ns) / 1000000, d->total, d->done};
}
