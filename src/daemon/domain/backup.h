/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The backup of a running domain's disks that is under way: a block job for each disk, which writes to an
 * image (push), or keeps what the guest overwrites in a scratch image that is shown to NBD clients with the
 * rest (pull). It is in a file of the domain's run folder, so that a later daemon goes on with it; the VMM
 * keeps block jobs that have ended until they are asked for.
 */
#pragma once

#include "conf/backup.h"
#include "daemon/domain/notify.h"
#include "daemon/domain/params.h"

/* What the VMM calls the image that a disk's backup writes. Free with g_free(). */
char *backup_node_name(const struct conf_backup_disk *disk);
/* The id of the NBD server's certificates in the VMM. */
#define BACKUP_TLS_ID "backup-tls"

/* Its jobs are about to run in the VMM: it is the domain's from now on. Takes `conf`. */
void backup_begin(struct domain *dom, struct conf_backup *conf);
/* They do not run: what backup_begin() has done is taken back, and images that were made are removed. */
void backup_take_back(struct domain *dom);
/* The VMM needs the images no more whose jobs have ended; `all`: none of them. */
void backup_give_back_images(struct domain *dom, const struct conf_backup *conf, bool all);
/* NULL: there is none. */
const struct conf_backup *backup_conf(const struct domain *dom);
/* Tell its jobs to end; what they leave is cleaned up when they have. */
void backup_cancel(struct domain *dom);
/* Has a client given up the one that there is? Jobs that begin only now were not there to be told. */
bool backup_given_up(const struct domain *dom);
/* The block job of the disk with that alias has ended; `data` is its event's. */
void backup_job_ended(struct domain *dom, const char *alias, enum notify_block_job status,
		      const json_t *data);
/* What a former daemon had begun. */
void backup_recall(struct domain *dom);
/* Jobs may have ended while nobody listened to the VMM. */
void backup_settle(struct domain *dom);
/* The VMM has ended, and the backup with it. */
void backup_domain_ended(struct domain *dom);
/* At the domain's end in the daemon. */
void backup_forget(struct domain *dom);

/* --- What clients ask ------------------------------------------------------------------------- */

/* The answers of domjobinfo; false: the call is not answered, as no backup runs. */
bool backup_reply_info(struct rpc_call *call, struct domain *dom);
/* `completed`: of the last one; `keep`: it may be asked for again. */
bool backup_reply_stats(struct rpc_call *call, struct domain *dom, bool completed, bool keep);
/* Its jobs are told to end, and the call is answered. */
bool backup_abort(struct rpc_call *call, struct domain *dom);
