/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/blockjob.h"

#include "daemon/domain/backup.h"
#include "daemon/domain/blockjob_delete.h"
#include "daemon/domain/disk_args.h"
#include "daemon/domain/disk_now.h"
#include "daemon/domain/notify.h"
#include "daemon/domain/vmm.h"

#include <string.h>

static const char *const prefixes[BLOCK_JOB_TYPES] = {
	[BLOCK_JOB_PULL] = "pull-", [BLOCK_JOB_COPY] = "copy-", [BLOCK_JOB_COMMIT] = "commit-",
	[BLOCK_JOB_ACTIVE_COMMIT] = "active-", [BLOCK_JOB_BACKUP] = "backup-",
};

char *block_job_name(enum block_job_type type, const char *alias)
{
	return g_strconcat(prefixes[type], alias, NULL);
}

enum block_job_type block_job_parse(const char *name, const char **alias)
{
	for (enum block_job_type type = BLOCK_JOB_PULL; type < BLOCK_JOB_TYPES; type++) {
		if (!name || !g_str_has_prefix(name, prefixes[type]))
			continue;
		*alias = name + strlen(prefixes[type]);
		return type;
	}
	return 0;
}

const json_t *block_job_find(const json_t *list, const char *alias, enum block_job_type *type)
{
	size_t i;
	json_t *entry;
	json_array_foreach((json_t *)list, i, entry) {
		const char *its, *name = json_string_value(json_object_get(entry, "device"));
		*type = block_job_parse(name, &its);
		if (*type && strcmp(its, alias) == 0)
			return entry;
	}
	return NULL;
}

struct ended {
	struct domain *dom;
	char *alias, *target, *file;
	enum block_job_type type;
	enum notify_block_job status;
};

static void tell(void *opaque)
{
	struct ended *ended = opaque;
	if (ended->status != BLOCK_JOB_IS_READY)
		block_delete_finish(ended->dom, ended->alias);
	notify_block_job(ended->dom, ended->target, ended->file, ended->type, ended->status);
	ended->dom->ended_jobs = g_slist_remove(ended->dom->ended_jobs, ended);
	domain_unpin(ended->dom);
	g_free(ended->alias);
	g_free(ended->target);
	g_free(ended->file);
	g_free(ended);
}

bool block_job_is_untold(const struct domain *dom, const char *alias)
{
	for (const GSList *link = dom->ended_jobs; link; link = link->next) {
		if (strcmp(((const struct ended *)link->data)->alias, alias) == 0)
			return true;
	}
	return false;
}

/* The disk may have another image: the one that it was started with is let go, unless it is in use still. */
static void drop_replaced(struct domain *dom, const struct conf_domain_disk *disk)
{
	g_autofree char *node = disk_node_name(disk);
	vmm_execute(dom, "blockdev-del", json_pack("{s:s}", "node-name", node), NULL, NULL);
}

void block_job_event(struct domain *dom, const char *event, const json_t *data)
{
	const char *alias = NULL;
	enum block_job_type type =
		block_job_parse(json_string_value(json_object_get(data, "device")), &alias);
	const struct conf_domain_disk *disk = NULL;
	bool failed = json_object_get(data, "error") != NULL;
	enum notify_block_job status = strcmp(event, "BLOCK_JOB_READY") == 0 ? BLOCK_JOB_IS_READY
		: strcmp(event, "BLOCK_JOB_CANCELLED") == 0 ? BLOCK_JOB_IS_CANCELLED
		: failed ? BLOCK_JOB_HAS_FAILED : BLOCK_JOB_IS_COMPLETED;
	if (type == BLOCK_JOB_BACKUP)
		backup_job_ended(dom, alias, status, data);
	if (type && dom->live)
		disk = conf_domain_disk_of_alias(dom->live, alias);
	if (!disk)
		return;
	struct ended *ended = g_new(struct ended, 1);
	/* To old clients a server's disk has the name that it has there. */
	const char *path = disk->file ? disk->file : disk->source.name;
	*ended = (struct ended){domain_pin(dom), g_strdup(alias), g_strdup(disk->target),
				g_strdup(path ? path : ""), type, status};
	/* Who hears that it is over may look at the document, which must be right by then. */
	if (status == BLOCK_JOB_IS_READY) {
		tell(ended);
	} else {
		if (status == BLOCK_JOB_IS_COMPLETED && (type == BLOCK_JOB_COPY || type == BLOCK_JOB_ACTIVE_COMMIT))
			drop_replaced(dom, disk);
		dom->ended_jobs = g_slist_prepend(dom->ended_jobs, ended);
		disk_now_refresh(dom, alias, NULL, tell, ended);
	}
}
