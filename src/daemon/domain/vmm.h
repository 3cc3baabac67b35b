/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a job may ask of a domain's VMM beyond its life. */
#pragma once

#include "daemon/domain/domain.h"
#include "daemon/domain/qmp.h"

/*
 * Run a QMP command; `args` are taken. `done` is always called, perhaps at once: with an error if the
 * VMM is gone or does not answer in time.
 */
void vmm_execute(struct domain *dom, const char *command, json_t *args, qmp_done_fn *done,
		 void *opaque);
/* The same, and a copy of the descriptor `fd` goes with it; -1: none does. */
void vmm_execute_fd(struct domain *dom, const char *command, json_t *args, int fd, qmp_done_fn *done,
		    void *opaque);
/* The same with a limit of its own, for what is only looked at. */
void vmm_query(struct domain *dom, const char *command, json_t *args, unsigned timeout_ms,
	       qmp_done_fn *done, void *opaque);
/* Write the live document, which has changed, for a later daemon. */
void vmm_save_live(struct domain *dom);
/* The guest has opened, or closed, a port of a channel. */
void vmm_port_changed(struct domain *dom, const char *alias, bool open);
/* The folder of what belongs to it; the domain must run. */
const char *vmm_run_dir(const struct domain *dom);
/* The one in it for the sockets that the VMM makes, which belongs to the VMM's user. Free with g_free(). */
char *vmm_user_folder(const char *run_dir);
/* Both, with all that is in them. */
void vmm_user_remove_folders(const char *run_dir);
/* The unix socket at the other end of a running domain's channel. Free with g_free(). */
char *vmm_channel_path(const struct domain *dom, const struct conf_domain_char *chr);

/* Its counters of the kernel; the domain must run. */
struct perf *vmm_perf(const struct domain *dom);
/*
 * Count what the live document says (serve_perf.c). What the host cannot count is not, as with libvirt: the log
 * says so, and the document that it is not enabled.
 */
void vmm_count_events(struct domain *dom);

/* The thread of a vCPU; 0: not known (yet). */
pid_t vmm_vcpu_thread(const struct domain *dom, unsigned vcpu);
/* Was it plugged in while the domain ran? */
bool vmm_vcpu_is_plugged(const struct domain *dom, unsigned vcpu);
/* What query-cpus-fast says of the running domain; returns how many vCPUs there are. */
unsigned vmm_take_threads(struct domain *dom, const json_t *list);
/* The pins of the live document. */
bool vmm_pin_all(struct domain *dom, GError **error);
/* Pin a vCPU's thread, or with -1 all other threads: 0 or errno. */
int vmm_pin(struct domain *dom, int vcpu, const uint8_t *map, unsigned length);
