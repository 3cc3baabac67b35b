/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Jobs on disks: commit, copy, pull, and waiting for them. */
#include "table.h"

#include "job.h"
#include "shell.h"

#include <inttypes.h>
#include <string.h>

enum { ABORT_ASYNC = 1, ABORT_PIVOT = 2, JOB_BANDWIDTH_BYTES = 1 };
enum { STATUS_COMPLETED, STATUS_FAILED, STATUS_CANCELED, STATUS_READY, STATUS_ERROR = -1 };
enum { EVENT_BLOCK_JOB = 8, EVENT_BLOCK_JOB_2 = 16, POLL_MS = 500 };

/* MiB/s, or bytes/s with --bytes; a number alone counts as it is, as ever. */
static bool opt_bandwidth(struct shell *sh, const struct cmd *cmd, bool bytes, uint64_t *bandwidth)
{
	const char *text = opt_text(cmd, "bandwidth");
	int64_t negative;
	*bandwidth = 0;
	if (!text || parse_uint64(text, bandwidth))
		return true;
	if (parse_int64(text, &negative)) {
		*bandwidth = negative;
		return true;
	}
	if (!scale_number(text, 1, UINT64_MAX, bandwidth))
		return shell_fail(sh, "Scaled numeric value '%s' for <--bandwidth> option is malformed or out of "
				  "range", text);
	if (!bytes)
		*bandwidth >>= 20;
	return true;
}

/* --- Waiting ---------------------------------------------------------------------------------- */

struct wait {
	struct shell *sh;
	struct remote_domain dom;
	const char *path, *label;
	bool verbose;
	int timeout_ms;
	uint32_t abort_flags;
	int callbacks[2];
	int status; /* that an event told; STATUS_ERROR: none yet */
};

/* Before the job starts, so that its end is not missed. */
static void wait_begin(struct wait *wait)
{
	static const int events[] = {EVENT_BLOCK_JOB, EVENT_BLOCK_JOB_2};
	struct remote_connect_domain_event_callback_register_any_ret ret;
	wait->status = STATUS_ERROR;
	for (unsigned i = 0; i < G_N_ELEMENTS(events); i++)
		wait->callbacks[i] = GET(wait->sh, connect_domain_event_callback_register_any, &ret, events[i],
					 &wait->dom) ? ret.callback : -1;
	shell_forget_error(wait->sh);
}

static void wait_end(struct wait *wait)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(wait->callbacks); i++) {
		/* The connection's end ends them too: an error here changes nothing. */
		if (wait->callbacks[i] >= 0) {
			const struct remote_connect_domain_event_callback_deregister_any_args args = {
				wait->callbacks[i]};
			call_connect_domain_event_callback_deregister_any(wait->sh->client, &args, NULL);
		}
	}
}

static void take_events(struct wait *wait, int timeout_ms)
{
	struct client_event event;
	while (wait->status == STATUS_ERROR &&
	       client_next_event(wait->sh->client, timeout_ms, &event, NULL) > 0) {
		const struct remote_domain_event_callback_block_job_args *e = event.args;
		bool job = event.procedure == REMOTE_DOMAIN_EVENT_CALLBACK_BLOCK_JOB ||
			   event.procedure == REMOTE_DOMAIN_EVENT_BLOCK_JOB_2;
		/* Both have the same form. */
		if (event.program == REMOTE_PROGRAM && job && strcmp(e->path, wait->path) == 0)
			wait->status = e->status;
	}
}

static int wait_job(struct wait *wait)
{
	struct shell *sh = wait->sh;
	struct remote_domain_get_block_job_info_ret info, last = {0};
	gint64 end = wait->timeout_ms ? g_get_monotonic_time() + (gint64)wait->timeout_ms * 1000 : 0;
	bool events = wait->callbacks[0] >= 0 || wait->callbacks[1] >= 0;
	for (;;) {
		if (!GET(sh, domain_get_block_job_info, &info, wait->dom, (char *)wait->path, 0)) {
			shell_fail(sh, "failed to query job for disk %s", wait->path);
			return STATUS_ERROR;
		}
		take_events(wait, 0);
		if (wait->status != STATUS_ERROR)
			return wait->status;
		if (!events && !info.found)
			return STATUS_COMPLETED;
		if (!events && info.end == info.cur)
			return STATUS_READY;
		if (wait->verbose && (info.cur != last.cur || info.end != last.end))
			job_progress(wait->label, info.end - info.cur, info.end);
		last = info;
		if (interrupted() || (end && g_get_monotonic_time() > end)) {
			if (CALL(sh, domain_block_job_abort, wait->dom, (char *)wait->path, wait->abort_flags))
				return STATUS_CANCELED;
			shell_fail(sh, "failed to abort job for disk '%s'", wait->path);
			return STATUS_ERROR;
		}
		take_events(wait, POLL_MS);
	}
}

static int wait_for(struct wait *wait)
{
	interrupts_catch();
	int status = wait_job(wait);
	interrupts_restore();
	if (wait->verbose && (status == STATUS_COMPLETED || status == STATUS_READY))
		job_progress(wait->label, 0, 1);
	return status;
}

/* What the three commands have in common. */
struct blocking {
	struct wait wait;
	bool on; /* wait at all */
};

static bool opt_blocking(struct shell *sh, const struct cmd *cmd, const char *label, bool on,
			 const char *list, struct blocking *blocking)
{
	int timeout = opt_timeout(sh, cmd);
	bool verbose = opt_bool(cmd, "verbose"), async = opt_bool(cmd, "async");
	if (timeout < 0)
		return false;
	*blocking = (struct blocking){
		.wait = {.sh = sh, .label = label, .verbose = verbose, .timeout_ms = timeout,
			 .abort_flags = async ? ABORT_ASYNC : 0, .callbacks = {-1, -1}},
		.on = on || timeout,
	};
	if (!blocking->on && verbose)
		return shell_fail(sh, "--verbose requires at least one of %s", list);
	if (!blocking->on && async)
		return shell_fail(sh, "--async requires at least one of %s", list);
	return true;
}

static bool find_disk(struct shell *sh, const struct cmd *cmd, struct blocking *blocking)
{
	return opt_string(sh, cmd, "path", &blocking->wait.path) &&
	       shell_domain(sh, cmd, NULL, &blocking->wait.dom);
}

/* The job has been asked for. True: it is complete or ready; false: *good tells. */
static bool wait_result(struct blocking *blocking, const char *what, bool *good)
{
	int status = wait_for(&blocking->wait);
	*good = false;
	if (status == STATUS_CANCELED)
		shell_extra(blocking->wait.sh, "\n%s aborted", what);
	else if (status == STATUS_FAILED)
		shell_extra(blocking->wait.sh, "\n%s failed", what);
	return status == STATUS_COMPLETED || status == STATUS_READY;
}

static bool end_job(struct blocking *blocking, bool pivot, const char *done)
{
	struct wait *wait = &blocking->wait;
	struct shell *sh = wait->sh;
	uint32_t flags = wait->abort_flags | (pivot ? ABORT_PIVOT : 0);
	if (!CALL(sh, domain_block_job_abort, wait->dom, (char *)wait->path, flags))
		return shell_fail(sh, pivot ? "failed to pivot job for disk %s" :
					      "failed to finish job for disk %s", wait->path);
	shell_extra(sh, "\n%s", pivot ? "Successfully pivoted" : done);
	return true;
}

/* --- commit ----------------------------------------------------------------------------------- */

static bool run_commit(struct shell *sh, const struct cmd *cmd, struct blocking *blocking, char *base,
		       char *top, uint64_t bandwidth, uint32_t flags)
{
	bool pivot = opt_bool(cmd, "pivot"), keep = opt_bool(cmd, "keep-overlay"), good;
	bool active = opt_bool(cmd, "active") || pivot || keep;
	if (!CALL(sh, domain_block_commit, blocking->wait.dom, (char *)blocking->wait.path, base, top,
		  bandwidth, flags))
		return false;
	if (!blocking->on) {
		shell_extra(sh, active ? "Active Block Commit started" : "Block Commit started");
		return true;
	}
	if (!wait_result(blocking, "Commit", &good))
		return good;
	if (pivot || keep)
		return end_job(blocking, pivot, "Commit complete, overlay image kept");
	shell_extra(sh, active ? "\nNow in synchronized phase" : "\nCommit complete");
	return true;
}

bool cmd_blockcommit(struct shell *sh, const struct cmd *cmd)
{
	static const struct option_flag table[] = {
		{"shallow", 1}, {"delete", 2}, {"active", 4}, {"pivot", 4}, {"keep-overlay", 4},
		{"keep-relative", 8}, {"bytes", 16}, {NULL}};
	struct blocking blocking;
	const char *base, *top;
	uint64_t bandwidth;
	bool on = opt_bool(cmd, "wait") || opt_bool(cmd, "pivot") || opt_bool(cmd, "keep-overlay");
	if (!opt_exclusive(sh, cmd, "pivot", "keep-overlay") || !opt_string(sh, cmd, "base", &base) ||
	    !opt_string(sh, cmd, "top", &top) ||
	    !opt_bandwidth(sh, cmd, opt_bool(cmd, "bytes"), &bandwidth) ||
	    !opt_blocking(sh, cmd, "Block commit", on, "--timeout, --wait, --pivot, or --keep-overlay",
			  &blocking) ||
	    !find_disk(sh, cmd, &blocking))
		return false;
	if (blocking.on)
		wait_begin(&blocking.wait);
	bool good = run_commit(sh, cmd, &blocking, (char *)base, (char *)top, bandwidth, opt_flags(cmd, table));
	wait_end(&blocking.wait);
	return good;
}

/* --- copy ------------------------------------------------------------------------------------- */

struct copy {
	uint64_t bandwidth, buffer;
	uint32_t granularity, flags;
	const char *dest, *format;
	char *xml;
};

static char *copy_xml(const struct cmd *cmd, const struct copy *copy)
{
	bool block = opt_bool(cmd, "blockdev");
	struct xml_writer w = xml_writer_new();
	xml_open(&w, "disk", "type", block ? "block" : "file", NULL);
	xml_empty(&w, "source", block ? "dev" : "file", copy->dest, NULL);
	if (copy->format)
		xml_empty(&w, "driver", "type", copy->format, NULL);
	xml_close(&w, "disk");
	return xml_writer_take(&w);
}

static bool start_copy_xml(struct shell *sh, const struct cmd *cmd, struct blocking *blocking,
			   struct copy *copy)
{
	struct params params = params_new();
	uint64_t bandwidth = copy->bandwidth;
	if (!opt_bool(cmd, "bytes") && bandwidth > UINT64_MAX >> 20) {
		params_clear(&params);
		return shell_fail(sh, "bandwidth must be less than %" PRIu64, UINT64_MAX >> 20);
	}
	if (bandwidth)
		params_ulong(&params, "bandwidth", opt_bool(cmd, "bytes") ? bandwidth : bandwidth << 20);
	if (copy->granularity)
		params_uint(&params, "granularity", copy->granularity);
	if (copy->buffer)
		params_ulong(&params, "buf-size", copy->buffer);
	bool good = CALL(sh, domain_block_copy, blocking->wait.dom, (char *)blocking->wait.path, copy->xml,
			 PARAMS(params), copy->flags);
	params_clear(&params);
	return good;
}

/* The older call does for what has no parameters. */
static bool start_copy_old(struct shell *sh, const struct cmd *cmd, struct blocking *blocking,
			   struct copy *copy)
{
	enum { REBASE_COPY_RAW = 4, REBASE_COPY = 8, REBASE_COPY_DEV = 32, REBASE_BYTES = 64 };
	uint32_t flags = copy->flags | REBASE_COPY | (opt_bool(cmd, "blockdev") ? REBASE_COPY_DEV : 0) |
			 (!g_strcmp0(copy->format, "raw") ? REBASE_COPY_RAW : 0) |
			 (opt_bool(cmd, "bytes") ? REBASE_BYTES : 0);
	return CALL(sh, domain_block_rebase, blocking->wait.dom, (char *)blocking->wait.path,
		    (char *)copy->dest, copy->bandwidth, flags);
}

static bool run_copy(struct shell *sh, const struct cmd *cmd, struct blocking *blocking, struct copy *copy)
{
	bool pivot = opt_bool(cmd, "pivot"), finish = opt_bool(cmd, "finish"), good;
	bool by_xml = copy->xml || copy->granularity || copy->buffer || opt_bool(cmd, "transient-job") ||
		      (copy->format && strcmp(copy->format, "raw")) || opt_bool(cmd, "print-xml") ||
		      opt_bool(cmd, "synchronous-writes");
	if (by_xml && !copy->xml)
		copy->xml = copy_xml(cmd, copy);
	if (opt_bool(cmd, "print-xml")) {
		shell_print("%s", copy->xml);
		return true;
	}
	if (!(by_xml ? start_copy_xml(sh, cmd, blocking, copy) : start_copy_old(sh, cmd, blocking, copy)))
		return false;
	if (!blocking->on) {
		shell_extra(sh, "Block Copy started");
		return true;
	}
	if (!wait_result(blocking, "Copy", &good))
		return good;
	if (pivot || finish)
		return end_job(blocking, pivot, "Successfully copied");
	shell_extra(sh, "\nNow in mirroring phase");
	return true;
}

static bool copy_options(struct shell *sh, const struct cmd *cmd, struct copy *copy, const char **xml)
{
	static const struct option_flag table[] = {
		{"shallow", 1}, {"reuse-external", 2}, {"transient-job", 4}, {"synchronous-writes", 8}, {NULL}};
	*copy = (struct copy){.flags = opt_flags(cmd, table)};
	if (!opt_string(sh, cmd, "dest", &copy->dest) || !opt_string(sh, cmd, "xml", xml) ||
	    !opt_string(sh, cmd, "format", &copy->format) ||
	    !opt_bandwidth(sh, cmd, opt_bool(cmd, "bytes"), &copy->bandwidth) ||
	    opt_uint(sh, cmd, "granularity", &copy->granularity) < 0 ||
	    opt_ulong(sh, cmd, "buf-size", &copy->buffer) < 0 ||
	    !opt_exclusive(sh, cmd, "dest", "xml") || !opt_exclusive(sh, cmd, "format", "xml") ||
	    !opt_exclusive(sh, cmd, "blockdev", "xml") || !opt_exclusive(sh, cmd, "pivot", "finish"))
		return false;
	return copy->dest || *xml || shell_fail(sh, "need either --dest or --xml");
}

bool cmd_blockcopy(struct shell *sh, const struct cmd *cmd)
{
	struct blocking blocking;
	struct copy copy;
	const char *path;
	bool on = opt_bool(cmd, "wait") || opt_bool(cmd, "finish") || opt_bool(cmd, "pivot");
	if (!copy_options(sh, cmd, &copy, &path) ||
	    !opt_blocking(sh, cmd, "Block Copy", on, "--timeout, --wait, --pivot, or --finish", &blocking) ||
	    !find_disk(sh, cmd, &blocking))
		return false;
	copy.xml = path ? shell_read_file(sh, path) : NULL;
	if (path && !copy.xml)
		return false;
	if (blocking.on)
		wait_begin(&blocking.wait);
	bool good = run_copy(sh, cmd, &blocking, &copy);
	wait_end(&blocking.wait);
	g_free(copy.xml);
	return good;
}

/* --- pull ------------------------------------------------------------------------------------- */

static bool run_pull(struct shell *sh, const struct cmd *cmd, struct blocking *blocking, char *base,
		     uint64_t bandwidth)
{
	enum { RELATIVE = 16, BYTES = 64 };
	uint32_t flags = opt_bool(cmd, "keep-relative") ? RELATIVE : 0, bytes = opt_bool(cmd, "bytes") ? BYTES : 0;
	struct wait *wait = &blocking->wait;
	bool started = base || flags ? CALL(sh, domain_block_rebase, wait->dom, (char *)wait->path, base,
					    bandwidth, flags | bytes) :
				       CALL(sh, domain_block_pull, wait->dom, (char *)wait->path, bandwidth,
					    bytes);
	bool good;
	if (!started)
		return false;
	if (!blocking->on) {
		shell_extra(sh, "Block Pull started");
		return true;
	}
	if (!wait_result(blocking, "Pull", &good))
		return good;
	shell_extra(sh, "\nPull complete");
	return true;
}

bool cmd_blockpull(struct shell *sh, const struct cmd *cmd)
{
	struct blocking blocking;
	const char *base;
	uint64_t bandwidth;
	bool on = opt_bool(cmd, "wait");
	if (!opt_require(sh, cmd, "verbose", "wait") || !opt_require(sh, cmd, "async", "wait") ||
	    !opt_string(sh, cmd, "base", &base) ||
	    !opt_bandwidth(sh, cmd, opt_bool(cmd, "bytes"), &bandwidth) ||
	    !opt_blocking(sh, cmd, "Block Pull", on, "--wait", &blocking) || !find_disk(sh, cmd, &blocking))
		return false;
	/* Unlike the others, --timeout alone does not wait. */
	blocking.on = on;
	if (on)
		wait_begin(&blocking.wait);
	bool good = run_pull(sh, cmd, &blocking, (char *)base, bandwidth);
	wait_end(&blocking.wait);
	return good;
}

/* --- blockjob and the rest -------------------------------------------------------------------- */

static const char *job_name(int type)
{
	static const char *const names[] = {"Unknown job", "Block Pull", "Block Copy", "Block Commit",
					    "Active Block Commit", "Backup"};
	return type >= 0 && (size_t)type < G_N_ELEMENTS(names) ? names[type] : "Unknown job";
}

static void print_job(const struct remote_domain_get_block_job_info_ret *info, uint64_t speed)
{
	const char *unit;
	job_progress(job_name(info->type), info->end - info->cur, info->end);
	if (speed) {
		double value = scaled_size(speed, &unit);
		shell_print("    Bandwidth limit: %" PRIu64 " bytes/s (%-.3lf %s/s)", speed, value, unit);
	}
	shell_print("\n");
}

static bool show_job(struct shell *sh, struct remote_domain dom, const char *path, bool raw, bool bytes)
{
	struct remote_domain_get_block_job_info_ret info;
	bool in_bytes = bytes || !raw;
	if (!GET(sh, domain_get_block_job_info, &info, dom, (char *)path, in_bytes ? JOB_BANDWIDTH_BYTES : 0)) {
		if (bytes || raw || shell_error_code(sh) != CLIENT_INVALID_ARG)
			return false;
		in_bytes = false;
		if (!GET(sh, domain_get_block_job_info, &info, dom, (char *)path, 0))
			return false;
	}
	if (!info.found) {
		if (!raw)
			shell_extra(sh, "No current block job for %s", path);
		return true;
	}
	if (raw)
		shell_print(" type=%s\n bandwidth=%" PRIu64 "\n cur=%" PRIu64 "\n end=%" PRIu64 "\n",
			    job_name(info.type), info.bandwidth, info.cur, info.end);
	else
		print_job(&info, in_bytes ? info.bandwidth : info.bandwidth << 20);
	return true;
}

bool cmd_blockjob(struct shell *sh, const struct cmd *cmd)
{
	static const char *const exclusive[][2] = {
		{"raw", "abort"}, {"raw", "pivot"}, {"raw", "async"}, {"raw", "bandwidth"}, {"info", "abort"},
		{"info", "pivot"}, {"info", "async"}, {"info", "bandwidth"}, {"bytes", "abort"},
		{"bytes", "pivot"}, {"bytes", "async"}};
	struct remote_domain dom;
	const char *path;
	uint64_t bandwidth;
	bool bytes = opt_bool(cmd, "bytes"), async = opt_bool(cmd, "async"), pivot = opt_bool(cmd, "pivot");
	for (unsigned i = 0; i < G_N_ELEMENTS(exclusive); i++) {
		if (!opt_exclusive(sh, cmd, exclusive[i][0], exclusive[i][1]))
			return false;
	}
	if (!shell_domain(sh, cmd, NULL, &dom) || !opt_string(sh, cmd, "path", &path))
		return false;
	if (opt_bool(cmd, "bandwidth"))
		return opt_bandwidth(sh, cmd, bytes, &bandwidth) &&
		       CALL(sh, domain_block_job_set_speed, dom, (char *)path, bandwidth,
			    bytes ? JOB_BANDWIDTH_BYTES : 0);
	if (opt_bool(cmd, "abort") || pivot || async)
		return CALL(sh, domain_block_job_abort, dom, (char *)path,
			    (async ? ABORT_ASYNC : 0) | (pivot ? ABORT_PIVOT : 0));
	return show_job(sh, dom, path, opt_bool(cmd, "raw"), bytes);
}

bool cmd_blockresize(struct shell *sh, const struct cmd *cmd)
{
	enum { RESIZE_BYTES = 1 };
	struct remote_domain dom;
	const char *path;
	uint64_t size;
	if (!opt_string(sh, cmd, "path", &path) || opt_scaled(sh, cmd, "size", 1024, UINT64_MAX, &size) < 0 ||
	    !shell_domain(sh, cmd, NULL, &dom))
		return false;
	bool kib = size % 1024 == 0;
	if (!CALL(sh, domain_block_resize, dom, (char *)path, kib ? size / 1024 : size, kib ? 0 : RESIZE_BYTES))
		return shell_fail(sh, "Failed to resize block device '%s'", path);
	shell_extra(sh, "Block device '%s' is resized", path);
	return true;
}

bool cmd_domblkthreshold(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	const char *dev;
	uint64_t threshold;
	return opt_string(sh, cmd, "dev", &dev) &&
	       opt_scaled(sh, cmd, "threshold", 1, UINT64_MAX, &threshold) >= 0 &&
	       shell_domain(sh, cmd, NULL, &dom) &&
	       CALL(sh, domain_set_block_threshold, dom, (char *)dev, threshold, 0);
}
