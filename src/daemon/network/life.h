/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Jobs of networks, and where networks are kept below the daemon's state folder. */
#pragma once

#include "daemon/network/bridge.h"
#include "daemon/network/network.h"

#define NETWORK_DEFINED_FOLDER "networks"
#define NETWORK_AUTOSTART      "networks-autostart"
#define NETWORK_ACTIVE         "networks-active"
#define NETWORK_RUN            "networks-run"
#define NETWORK_PORTS          "networks-ports"

/* --- Jobs (job.c) ----------------------------------------------------------------------------- */

struct network_job;
struct network_job_ops {
	/* On the loop, in its turn: check, and take what the work needs. False without *error: do nothing. */
	bool (*begin)(struct network_job *job, GError **error);
	/* On the thread; it uses nothing of the network but what begin() has taken. */
	bool (*work)(struct network_job *job, GError **error);
	/* On the loop after work that succeeded: end job->call, if there is one. */
	void (*done)(struct network_job *job);
	/* On the loop after any failure: what the caller and begin() did is undone. May be NULL. */
	void (*undo)(struct network_job *job);
};

struct network_job {
	const struct network_job_ops *ops;
	struct network *network;    /* a reference */
	struct rpc_call *call;      /* NULL: the daemon's own */
	const void *request;        /* the call's arguments, or NULL */
	struct conf_network *conf;  /* owned, as all below: the definition, or what is to be active */
	struct conf_network *live;  /* update: what is to be active */
	char *path, *text;          /* a file, and what is to be in it; NULL text: to be removed */
	char *also;                 /* another file to be removed */
	char *mark, *mark_text;     /* the file that says that the network is active */
	char *folder;               /* of dnsmasq's files */
	char *port;                 /* UUID of one */
	char *listing;              /* of the rules, as they should be */
	bool flag;                  /* autostart; restart: as the job means it */
	struct network_host host;
	GError *error;
	struct aio_job job;
};

/* A new job, zeroed but for these; it must be submitted. */
struct network_job *network_job_new(struct network *network, struct rpc_call *call,
				    const struct network_job_ops *ops);
/* The job, the call and the network may be gone when this returns. */
void network_submit(struct network_job *job);

/* --- Life (life.c) ---------------------------------------------------------------------------- */

/* Paths; g_free(). */
char *network_file_definition(const struct network *network);
char *network_file_autostart(const struct network *network);
char *network_file_active(const struct network *network);
char *network_run_folder(const struct networks *networks);

/* Give `conf`, which is to be the network's, a bridge of its own and a MAC address if it has none. */
bool network_complete(struct network *network, struct conf_network *conf, GError **error);
/* Start with the definition, or with `conf`, which is taken; the answer is then the network. */
void network_start(struct network *network, struct rpc_call *call, struct conf_network *conf);
/* Find an active network of a former daemon again; `conf` is taken. */
void network_resume(struct network *network, struct conf_network *conf);
/* Put right what is lost of an active network: its dnsmasq above all. */
void network_heal(struct network *network);
/* After a change that failed half-way: its bridge, rules, dnsmasq and files are again as it is known. */
void network_restore(struct network *network);
/* Look whether the rules are as they should be, and load them again if not. */
void network_check_rules(struct network *network);
void network_stop(struct network *network, struct rpc_call *call);
/* The state is known of: `host` is taken. */
void network_is_up(struct network *network, struct network_host *host);

/* --- Ports that clients have made (port_store.c) ---------------------------------------------- */

char *network_file_ports(const struct network *network);
/* What is to be in that file; NULL: there are none. g_free(). */
char *network_ports_text(const struct network *network);
/* What the file says of an active network. */
void network_ports_load(struct network *network);
/* The UUID of a new port, or NULL with *error set. */
const char *network_port_make(struct network *network, const struct conf_network_port *conf, GError **error);
void network_port_write(struct xml_writer *w, const struct network_port *port);

/* --- Watching (watch.c) ----------------------------------------------------------------------- */

/* What becomes of the host's firewall; where that cannot be watched, the log says so. */
struct network_watch *network_watch_new(struct networks *networks);
void network_watch_free(struct network_watch *watch);
/* The watcher of a network's dnsmasq, which lives as long as the network. */
struct dnsmasq *network_dnsmasq_new(struct network *network);
void network_dnsmasq_free(struct dnsmasq *dnsmasq);
/* This is the process now; 0: there is none, and none is wanted. */
void network_watch_dnsmasq(struct network *network, pid_t pid);
/* There is none, and it could not be started: try again, later each time. */
void network_retry_dnsmasq(struct network *network);
