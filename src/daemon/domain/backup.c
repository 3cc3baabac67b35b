/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/backup.h"

#include "base/log.h"
#include "daemon/domain/blockjob.h"
#include "daemon/domain/images.h"
#include "daemon/domain/steps.h"
#include "daemon/domain/vmm.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* libvirt's virDomainJobType. */
enum { JOB_UNBOUNDED = 2, JOB_COMPLETED = 3, JOB_FAILED = 4, JOB_CANCELLED = 5 };

struct backup {
	struct conf_backup *conf;
	unsigned refs;            /* the domain's, and one for each disk that is cleaned up */
	int64_t began_us;         /* real time */
	uint64_t total, done;     /* bytes, of disks whose job has ended */
	char *error;              /* the first, or NULL */
	bool given_up;            /* by a client, perhaps before its jobs were there */
	bool recalled;            /* of a former daemon, and the VMM has not told yet how far it is */
};

/* What the last one was, for domjobinfo --completed. */
struct backup_result {
	bool pull;
	int type;
	uint64_t elapsed_ms, total, done;
	char *error;
};

char *backup_node_name(const struct conf_backup_disk *disk)
{
	return g_strdup_printf("backup-%s", disk->name);
}

static void backup_unref(struct backup *backup)
{
	if (--backup->refs)
		return;
	conf_backup_free(backup->conf);
	g_free(backup->error);
	g_free(backup);
}

const struct conf_backup *backup_conf(const struct domain *dom)
{
	return dom->backup ? dom->backup->conf : NULL;
}

static void result_free(struct backup_result *result)
{
	if (result)
		g_free(result->error);
	g_free(result);
}

void backup_forget(struct domain *dom)
{
	g_clear_pointer(&dom->backup, backup_unref);
	g_clear_pointer(&dom->backup_result, result_free);
}

/* --- Its file ------------------------------------------------------------------------------- */

static char *file_of(const struct domain *dom)
{
	return g_build_filename(vmm_run_dir(dom), "backup.xml", NULL);
}

/* Not fsynced: the VMM does not outlive the host either. */
static void save(const struct domain *dom)
{
	g_autofree char *path = file_of(dom), *xml = conf_backup_format(dom->backup->conf, true);
	g_autoptr(GError) error = NULL;
	if (!g_file_set_contents_full(path, xml, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0600, &error))
		log_warning("domain '%s': a later daemon will not know of its backup: %s", dom->name,
			    error->message);
}

static struct backup *backup_new(struct domain *dom, struct conf_backup *conf)
{
	struct backup *backup = dom->backup = g_new0(struct backup, 1);
	backup->conf = conf;
	backup->refs = 1;
	backup->began_us = g_get_real_time();
	g_clear_pointer(&dom->backup_result, result_free);
	return backup;
}

void backup_begin(struct domain *dom, struct conf_backup *conf)
{
	backup_new(dom, conf);
	for (unsigned i = 0; i < conf->disks->len; i++) {
		struct conf_backup_disk *disk = conf->disks->pdata[i];
		if (!disk->excluded)
			disk->state = CONF_BACKUP_RUNNING;
	}
	save(dom);
}

/* --- Its end -------------------------------------------------------------------------------- */

static unsigned count(const struct conf_backup *conf, enum conf_backup_state state)
{
	unsigned number = 0;
	for (unsigned i = 0; i < conf->disks->len; i++)
		number += ((const struct conf_backup_disk *)conf->disks->pdata[i])->state == state;
	return number;
}

static void remove_file(const struct domain *dom)
{
	g_autofree char *path = dom->vmm ? file_of(dom) : NULL;
	if (path && unlink(path) < 0)
		log_warning("domain '%s': cannot remove '%s': %s", dom->name, path, g_strerror(errno));
}

/* Scratch images are good for nothing any more, nor is what a push has written in part. */
static void remove_images(const struct domain *dom, const struct conf_backup *conf, bool good)
{
	for (unsigned i = 0; i < conf->disks->len; i++) {
		const struct conf_backup_disk *disk = conf->disks->pdata[i];
		if (disk->excluded || disk->block || conf->reuse || (good && !conf->pull))
			continue;
		if (unlink(disk->file) < 0 && errno != ENOENT)
			log_warning("domain '%s': cannot remove '%s': %s", dom->name, disk->file,
				    g_strerror(errno));
	}
}

static struct backup_result result_of(const struct backup *backup, int type)
{
	return (struct backup_result){
		.pull = backup->conf->pull, .type = type, .total = backup->total, .done = backup->done,
		.elapsed_ms = MAX(g_get_real_time() - backup->began_us, 0) / 1000,
		.error = g_strdup(backup->error)};
}

static struct params stats_of(const struct backup_result *result, struct arena *arena)
{
	enum { OPERATION_BACKUP = 9 };
	struct params params = {.arena = arena};
	params_add_int(&params, "operation", OPERATION_BACKUP);
	params_add_ullong(&params, "time_elapsed", result->elapsed_ms);
	if (result->pull) {
		params_add_ullong(&params, "disk_temp_used", result->done);
		params_add_ullong(&params, "disk_temp_total", result->total);
	} else {
		params_add_ullong(&params, "disk_total", result->total);
		params_add_ullong(&params, "disk_processed", result->done);
		params_add_ullong(&params, "disk_remaining",
				  result->total - MIN(result->done, result->total));
	}
	if (result->type != JOB_UNBOUNDED)
		params_add_bool(&params, "success", result->type == JOB_COMPLETED);
	if (result->error)
		params_add_string(&params, "errmsg", result->error);
	return params;
}

static void end(struct domain *dom, int type)
{
	struct backup *backup = dom->backup;
	struct arena arena = {0};
	remove_file(dom);
	remove_images(dom, backup->conf, type == JOB_COMPLETED);
	dom->backup_result = g_new(struct backup_result, 1);
	*dom->backup_result = result_of(backup, type);
	struct params params = stats_of(dom->backup_result, &arena);
	notify_job_completed(dom, params.items, params.count);
	arena_clear(&arena);
	g_clear_pointer(&dom->backup, backup_unref);
}

void backup_take_back(struct domain *dom)
{
	if (!dom->backup)
		return;
	remove_file(dom);
	remove_images(dom, dom->backup->conf, false);
	g_clear_pointer(&dom->backup, backup_unref);
}

void backup_domain_ended(struct domain *dom)
{
	if (!dom->backup)
		return;
	if (!dom->backup->error)
		dom->backup->error = g_strdup("the domain has ended");
	end(dom, JOB_CANCELLED);
}

/* --- One disk's end --------------------------------------------------------------------------- */

void backup_cancel(struct domain *dom)
{
	for (unsigned i = 0; i < dom->backup->conf->disks->len; i++) {
		const struct conf_backup_disk *disk = dom->backup->conf->disks->pdata[i];
		if (disk->state != CONF_BACKUP_RUNNING)
			continue;
		g_autofree char *job = block_job_name(BLOCK_JOB_BACKUP, disk->alias);
		vmm_execute(dom, "block-job-cancel", json_pack("{s:s, s:b}", "device", job, "force", 1), NULL,
			    NULL);
	}
}

void backup_give_back_images(struct domain *dom, const struct conf_backup *conf, bool all)
{
	for (unsigned i = 0; dom->vmm && i < conf->disks->len; i++) {
		const struct conf_backup_disk *disk = conf->disks->pdata[i];
		if (!disk->excluded && (all || disk->state != CONF_BACKUP_RUNNING))
			images_done(dom, disk->file);
	}
	if (dom->vmm)
		images_release(dom);
}

bool backup_given_up(const struct domain *dom)
{
	return dom->backup && dom->backup->given_up;
}

struct ending {
	struct domain *dom;
	struct backup *backup;
	struct steps *steps;
};

static void on_cleaned(void *opaque, const GError *error)
{
	struct ending *ending = opaque;
	struct domain *dom = ending->dom;
	const struct conf_backup *conf = ending->backup->conf;
	/* The reference that this one has is not the last one's, unless no other disk is being cleaned up. */
	bool last = ending->backup->refs == 2 && !count(conf, CONF_BACKUP_RUNNING);
	backup_give_back_images(dom, conf, false);
	if (dom->backup == ending->backup && last)
		end(dom, count(conf, CONF_BACKUP_FAILED) ? JOB_FAILED
			 : count(conf, CONF_BACKUP_CANCELLED) && !conf->pull ? JOB_CANCELLED : JOB_COMPLETED);
	backup_unref(ending->backup);
	steps_free(ending->steps);
	domain_unpin(dom);
	g_free(ending);
}

/* The exports go before what they show. */
static void add_server_end(struct steps *steps, const struct conf_backup *conf)
{
	steps_add(steps, "nbd-server-stop", NULL, NULL, NULL);
	if (conf->tls)
		steps_add(steps, "object-del", json_pack("{s:s}", "id", BACKUP_TLS_ID), NULL, NULL);
}

static void clean_up(struct domain *dom, const struct conf_backup_disk *disk, bool with_server)
{
	struct ending *ending = g_new(struct ending, 1);
	*ending = (struct ending){domain_pin(dom), dom->backup, steps_new_lenient()};
	dom->backup->refs++;
	g_autofree char *job = block_job_name(BLOCK_JOB_BACKUP, disk->alias);
	g_autofree char *node = backup_node_name(disk);
	if (with_server)
		add_server_end(ending->steps, dom->backup->conf);
	steps_add(ending->steps, "job-dismiss", json_pack("{s:s}", "id", job), NULL, NULL);
	steps_add(ending->steps, "blockdev-del", json_pack("{s:s}", "node-name", node), NULL, NULL);
	steps_run(ending->steps, dom, on_cleaned, ending);
}

static uint64_t number(const json_t *data, const char *key)
{
	json_int_t value = json_integer_value(json_object_get(data, key));
	return MAX(value, 0);
}

static struct conf_backup_disk *find_running(const struct domain *dom, const char *alias)
{
	const struct conf_backup *conf = backup_conf(dom);
	for (unsigned i = 0; conf && i < conf->disks->len; i++) {
		struct conf_backup_disk *disk = conf->disks->pdata[i];
		if (disk->state == CONF_BACKUP_RUNNING && strcmp(disk->alias, alias) == 0)
			return disk;
	}
	return NULL;
}

void backup_job_ended(struct domain *dom, const char *alias, enum notify_block_job status,
		      const json_t *data)
{
	struct conf_backup_disk *disk = find_running(dom, alias);
	if (!disk)
		return;
	struct backup *backup = dom->backup;
	const char *error = json_string_value(json_object_get(data, "error"));
	bool first = !count(backup->conf, CONF_BACKUP_COMPLETE) && !count(backup->conf, CONF_BACKUP_FAILED) &&
		     !count(backup->conf, CONF_BACKUP_CANCELLED);
	disk->state = status == BLOCK_JOB_IS_COMPLETED ? CONF_BACKUP_COMPLETE
		: status == BLOCK_JOB_IS_CANCELLED ? CONF_BACKUP_CANCELLED : CONF_BACKUP_FAILED;
	backup->total += number(data, "len");
	backup->done += number(data, "offset");
	/* As libvirt: the end of pull mode, too, is that its jobs are cancelled. */
	if (!backup->error)
		backup->error = g_strdup(!error && status == BLOCK_JOB_IS_CANCELLED
					 ? "Operation canceled" : error);
	save(dom);
	/* One that is not whole is none. */
	if (disk->state != CONF_BACKUP_COMPLETE)
		backup_cancel(dom);
	clean_up(dom, disk, backup->conf->pull && first);
}

/* --- A later daemon ------------------------------------------------------------------------- */

static const json_t *find_job(const json_t *jobs, const char *id)
{
	size_t i;
	json_t *job;
	json_array_foreach((json_t *)jobs, i, job) {
		if (g_strcmp0(json_string_value(json_object_get(job, "id")), id) == 0)
			return job;
	}
	return NULL;
}

/* As the event would have told. A job that the VMM does not know has been dismissed by the former daemon. */
static void settle(struct domain *dom, const char *alias, const json_t *job)
{
	const char *status = json_string_value(json_object_get(job, "status"));
	const char *error = json_string_value(json_object_get(job, "error"));
	if (job && g_strcmp0(status, "concluded") != 0)
		return;
	json_t *data = json_pack("{s:I, s:I}", "len", (json_int_t)number(job, "total-progress"), "offset",
				 (json_int_t)number(job, "current-progress"));
	if (error)
		json_object_set_new(data, "error", json_string(error));
	backup_job_ended(dom, alias, !job ? BLOCK_JOB_IS_CANCELLED : error ? BLOCK_JOB_HAS_FAILED
								: BLOCK_JOB_IS_COMPLETED, data);
	json_decref(data);
}

static void on_jobs(void *opaque, json_t *result, const GError *error)
{
	struct domain *dom = opaque;
	bool recalled = !error && dom->backup && dom->backup->recalled;
	if (error)
		log_warning("domain '%s': what its backup does is not known: %s", dom->name, error->message);
	if (recalled)
		dom->backup->recalled = false;
	for (unsigned i = 0; !error && dom->backup && i < dom->backup->conf->disks->len; i++) {
		const struct conf_backup_disk *disk = dom->backup->conf->disks->pdata[i];
		if (disk->excluded)
			continue;
		g_autofree char *id = block_job_name(BLOCK_JOB_BACKUP, disk->alias);
		/* The former daemon may not have come to the end of cleaning up. */
		if (disk->state == CONF_BACKUP_RUNNING)
			settle(dom, disk->alias, find_job(result, id));
		else if (recalled)
			clean_up(dom, disk, dom->backup->conf->pull);
	}
	domain_unpin(dom);
}

void backup_recall(struct domain *dom)
{
	g_autofree char *path = file_of(dom), *text = NULL;
	g_autoptr(GError) error = NULL;
	struct stat st;
	if (!g_file_get_contents(path, &text, NULL, NULL))
		return;
	struct conf_backup *conf = conf_backup_parse(text, true, &error);
	if (!conf) {
		log_warning("'%s' is left alone: %s", path, error->message);
		return;
	}
	backup_new(dom, conf);
	if (stat(path, &st) == 0)
		dom->backup->began_us = st.st_mtim.tv_sec * G_USEC_PER_SEC;
	dom->backup->recalled = true;
}

void backup_settle(struct domain *dom)
{
	if (dom->backup)
		vmm_execute(dom, "query-jobs", NULL, on_jobs, domain_pin(dom));
}

/* --- What clients ask ------------------------------------------------------------------------- */

struct asking {
	struct rpc_call *call;
	struct domain *dom;
	bool stats;
};

static void add_running(const struct domain *dom, const json_t *jobs, struct backup_result *now)
{
	for (unsigned i = 0; i < dom->backup->conf->disks->len; i++) {
		const struct conf_backup_disk *disk = dom->backup->conf->disks->pdata[i];
		if (disk->state != CONF_BACKUP_RUNNING)
			continue;
		g_autofree char *id = block_job_name(BLOCK_JOB_BACKUP, disk->alias);
		const json_t *job = find_job(jobs, id);
		now->total += number(job, "total-progress");
		now->done += number(job, "current-progress");
	}
}

static void reply_stats(struct rpc_call *call, const struct backup_result *result)
{
	struct params params = stats_of(result, rpc_call_arena(call));
	rpc_call_reply(call, &(struct remote_domain_get_job_stats_ret){
				     .type = result->type, .params = {params.count, params.items}});
}

static void reply_info(struct rpc_call *call, const struct backup_result *now)
{
	uint64_t left = now->total - MIN(now->done, now->total);
	rpc_call_reply(call, &(struct remote_domain_get_job_info_ret){
				     .type = now->type, .time_elapsed = now->elapsed_ms, .data_total = now->total,
				     .data_processed = now->done, .data_remaining = left, .file_total = now->total,
				     .file_processed = now->done, .file_remaining = left});
}

static void on_asked(void *opaque, json_t *result, const GError *error)
{
	struct asking *asking = opaque;
	struct domain *dom = asking->dom;
	if (error) {
		rpc_call_fail(asking->call, g_error_copy(error));
	} else if (!dom->backup || !dom->live) {
		struct backup_result none = {0};
		if (asking->stats)
			rpc_call_reply(asking->call, &(struct remote_domain_get_job_stats_ret){0});
		else
			reply_info(asking->call, &none);
	} else {
		struct backup_result now = result_of(dom->backup, JOB_UNBOUNDED);
		add_running(dom, result, &now);
		if (asking->stats)
			reply_stats(asking->call, &now);
		else
			reply_info(asking->call, &now);
		g_free(now.error);
	}
	domain_unpin(dom);
	g_free(asking);
}

static bool ask(struct rpc_call *call, struct domain *dom, bool stats)
{
	if (!dom->backup)
		return false;
	struct asking *asking = g_new(struct asking, 1);
	*asking = (struct asking){call, domain_pin(dom), stats};
	vmm_execute(dom, "query-jobs", NULL, on_asked, asking);
	return true;
}

bool backup_reply_info(struct rpc_call *call, struct domain *dom)
{
	return ask(call, dom, false);
}

bool backup_reply_stats(struct rpc_call *call, struct domain *dom, bool completed, bool keep)
{
	if (!completed)
		return ask(call, dom, true);
	if (!dom->backup_result)
		return false;
	reply_stats(call, dom->backup_result);
	if (!keep)
		g_clear_pointer(&dom->backup_result, result_free);
	return true;
}

bool backup_abort(struct rpc_call *call, struct domain *dom)
{
	if (!dom->backup)
		return false;
	dom->backup->given_up = true;
	backup_cancel(dom);
	rpc_call_reply(call, NULL);
	return true;
}
