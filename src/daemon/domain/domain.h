/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Domains: what is defined, what runs, and the jobs that change it.
 *
 * A domain is an actor: calls that change it are jobs in its queue and run one after the other, each
 * waiting for the VMM's answers without holding up anything else. Queries read what is known and
 * never wait. Destroying does not queue: it kills the VMM, upon which the job under way fails.
 */
#pragma once

#include "conf/domain.h"
#include "daemon/domain/store.h"
#include "daemon/rpc/rpc.h"

#include <jansson.h>
#include <sys/types.h>

enum domain_state { DOMAIN_RUNNING = 1, DOMAIN_PAUSED = 3, DOMAIN_SHUTDOWN = 4, DOMAIN_SHUTOFF = 5,
		    DOMAIN_PMSUSPENDED = 7 };
enum domain_reason {
	RUNNING_BOOTED = 1, RUNNING_UNPAUSED = 5, RUNNING_WAKEUP = 8,
	PAUSED_USER = 1, PAUSED_DUMP = 4, PAUSED_IOERROR = 5, PAUSED_WATCHDOG = 6, PAUSED_CRASHED = 10,
	PAUSED_STARTING = 11,
	SHUTOFF_UNKNOWN = 0, SHUTOFF_SHUTDOWN = 1, SHUTOFF_DESTROYED = 2, SHUTOFF_CRASHED = 3,
	SHUTOFF_FAILED = 6,
};
enum domain_event {
	EVENT_DEFINED = 0, EVENT_UNDEFINED = 1, EVENT_STARTED = 2, EVENT_SUSPENDED = 3,
	EVENT_RESUMED = 4, EVENT_STOPPED = 5, EVENT_SHUTDOWN = 6,
	EVENT_PMSUSPENDED = 7,
};
enum { STARTED_WAKEUP = 4 };
enum { SUSPENDED_IOERROR = 2, SUSPENDED_WATCHDOG = 3 };
enum { STOPPED_SHUTDOWN = 0, STOPPED_DESTROYED = 1, STOPPED_CRASHED = 2, STOPPED_FAILED = 5 };

struct domains {
	struct daemon *daemon;
	GHashTable *by_uuid; /* text of 36 characters to struct domain, which it owns */
	GHashTable *by_name;
	struct log_watcher *log_watcher;
	int next_id;
	/* While definitions are loaded, "snapshots/UUID" and so on of what is in the state's folders: a look
	 * at each place for each of a thousand domains would take longer than reading them. Else NULL. */
	GHashTable *stored;
};

struct domain {
	struct domains *all;
	uint8_t uuid[16];
	char uuid_text[37];
	char *name;
	char *next_name;                /* reserved while it is being renamed, or NULL */
	struct conf_domain *definition; /* NULL: transient */
	struct conf_domain *live;       /* while it runs */
	struct vmm *vmm;                /* while it runs */
	struct agent *agent;            /* while it runs and has a channel for one */
	enum domain_state state;
	int reason;
	int stop_reason;                /* why the VMM will say that it has stopped; 0: on demand */
	bool rebooting;                 /* the next power-off is the first half of a reboot */
	uint64_t balloon_kib;           /* what the guest has kept; 0: all */
	int id;                         /* -1: not running */
	bool autostart;
	struct moments *snapshots, *checkpoints; /* moment.h */
	struct core_dump *dump;         /* under way: serve_dump.c */
	struct backup *backup;          /* under way, or NULL: backup.h */
	struct backup_result *backup_result; /* of the last one, or NULL */
	unsigned claiming;              /* host devices on their way to it: hostdev.c */
	GSList *ended_jobs;             /* block jobs whose end clients have not heard of: blockjob.c */
	GSList *consoles;               /* struct console: console.c */
	struct confine_load *confining; /* its profile is on the way into the kernel; or NULL: confine.c */
	struct domain_logs *logs;       /* while it runs: log.h */
	struct passts *passts;          /* that are not ready yet, or NULL: passt.c */
	void (*links_done)(void *opaque, const GError *error); /* who waits: interface_await() */
	void *links_opaque;
	unsigned pins;                  /* in use: not to be freed */
	bool removed;                   /* gone from the registry; freed with its last job */
	GQueue jobs;                    /* struct domain_job; the first one runs */
};

/* --- Registry (registry.c) ------------------------------------------------------------------ */

/* Loads definitions, re-attaches to VMMs that run, starts what has autostart. */
struct domains *domains_new(struct daemon *daemon, GError **error);
/* VMMs go on. */
void domains_free(struct domains *domains);
/* How many of them run. */
unsigned domains_running(const struct domains *domains);
/* By the UUID in the wire form; fails the call if there is none. */
struct domain *domain_find(struct rpc_call *call, const struct remote_domain *wire);
/* Fails the call and returns false if the domain does not run. */
bool domain_runs(struct rpc_call *call, const struct domain *dom);
struct domain *domain_by_name(struct domains *domains, const char *name);
struct domain *domain_by_uuid(struct domains *domains, const uint8_t uuid[16]);
/* Can the domain have something in that folder of the state? Then it is worth a look. */
bool domain_may_have(const struct domain *dom, const char *folder);
/* A new domain with `conf`'s name and UUID; it takes nothing of it. */
struct domain *domain_add(struct domains *domains, const struct conf_domain *conf);
/* Jobs that wait fail; the one under way may still use the domain. */
void domain_remove(struct domain *dom);
/* Nobody else may take the name from now on; false: somebody has it. */
bool domain_reserve_name(struct domain *dom, const char *name);
void domain_give_up_name(struct domain *dom);
/* To the name that was reserved; in the registry only, as the definition has it already. */
void domain_rename(struct domain *dom);
/* Keep the domain's memory, if not the domain, while an answer is waited for. */
struct domain *domain_pin(struct domain *dom);
void domain_unpin(struct domain *dom);
/* For a removed domain: free it if nobody uses it. */
void domain_release(struct domain *dom);
/* The wire form; its strings are the domain's. */
struct remote_domain domain_wire(const struct domain *dom);
/* NULL: it is being defined for the first time, and to clients not there yet. */
const struct conf_domain *domain_conf(const struct domain *dom);
/* What the guest has now: less than it was given while its balloon is blown up. */
uint64_t domain_memory_kib(const struct domain *dom);
void domain_emit(struct domain *dom, enum domain_event event, int detail);

/*
 * The file of a domain's UEFI variables (nvram.c), which a first start makes of the firmware's template;
 * its path goes into `conf`. Fails if there is neither.
 */
bool nvram_prepare(const struct daemon *daemon, struct conf_domain *conf, GError **error);
/* The file if it is there, or NULL. Free with g_free(). */
char *nvram_file(const struct daemon *daemon, const struct conf_domain *conf);

/* --- Jobs (job.c) --------------------------------------------------------------------------- */

struct domain_job {
	struct domain *dom;
	struct rpc_call *call; /* NULL: the daemon's own */
	void (*run)(struct domain_job *job);
	struct conf_domain *conf; /* taken by the job, freed with it */
	bool flag;                /* paused, autostart: as the job means it */
	bool returns_domain;      /* the answer of a start is the domain */
	bool is_change;           /* `data` is a struct domain_change: change.h */
	void *data;               /* freed with `free_data` at the job's end */
	GDestroyNotify free_data;
	struct aio_timer timer;
	bool started;
};
/*
 * Queue a job; the caller may fill in `conf` and `flags` and must then call domain_run_jobs(), after
 * which the job and the domain may be gone. `run` must end it once, with job_reply() or job_fail().
 */
struct domain_job *domain_submit(struct domain *dom, struct rpc_call *call,
				 void (*run)(struct domain_job *job));
void domain_run_jobs(struct domain *dom);
/* All but the job under way. */
void domain_fail_waiting(struct domain *dom);
/* At the daemon's end: what is left waits for a time that will not come. */
void domain_drop_jobs(struct domain *dom);
void job_reply(struct domain_job *job, const void *ret);
/* Takes the error. */
void job_fail(struct domain_job *job, GError *error);
/* Fails with libvirt's words and returns false if the domain is not, or is, running. */
bool job_needs_running(struct domain_job *job);
bool job_needs_stopped(struct domain_job *job);

/* --- The VMM (vmm.c) ------------------------------------------------------------------------ */

/*
 * Start `job`'s domain with a copy of `conf`, and end the job when the guest runs (or is paused, if
 * `paused`).
 */
void vmm_start(struct domain_job *job, const struct conf_domain *conf, bool paused);
/* Kill: it ends within a second, even if it hangs. `call` is answered then; it may be NULL. */
void vmm_destroy(struct domain *dom, struct rpc_call *call);
/* Kill it as if it had crashed; the call, or NULL, is answered likewise. */
void vmm_crash(struct domain *dom, struct rpc_call *call);
/* Run a QMP command and end the job with its answer: nothing, or the error. */
void vmm_command(struct domain_job *job, const char *command);
/* With arguments, which are taken. */
void vmm_command_with(struct domain_job *job, const char *command, json_t *args);
/* Find the VMM of a former daemon by its files; false if there is none. */
bool vmm_attach(struct domain *dom);
/* Forget it without ending it. */
void vmm_detach(struct domain *dom);
pid_t vmm_pid(const struct domain *dom);

/*
 * serve_job.c: a reboot's first half is that the guest powers off. Until then a file in the run folder
 * marks it, for a later daemon.
 */
bool reboot_begin(struct domain *dom, GError **error);
void reboot_forget(struct domain *dom);
/* What a former daemon had begun. */
void reboot_recall(struct domain *dom);
/* The guest has powered off: the second half. */
void reboot_after_shutdown(struct domain *dom);
/* command.c: "a,b" as "a,,b", for a list whose values end with a comma. Free with g_free(). */
char *vmm_quote(const char *value);
/* An option of the VMM with a JSON value, which is taken; none for NULL. */
void vmm_add_json(GPtrArray *args, const char *option, json_t *value);
/*
 * Arguments of berth-vmm, NULL-terminated; `run_dir` is for its sockets, `fds` has the
 * descriptor of each network card's tap, or -1, and of each secret of the disks; NULL: they are not made,
 * and a disk that needs a secret is refused.
 */
GPtrArray *vmm_arguments(const struct daemon *daemon, const struct conf_domain *conf,
			 const char *run_dir, const int *fds, GError **error);
