/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the rooms of the daemon share. Everything runs on one thread, that of `loop`: nothing here
 * needs a lock, and nothing may block it. Work that blocks (fsync, images) goes to `pool`; VMMs are
 * talked to by messages.
 */
#pragma once

#include "aio/loop.h"
#include "aio/pool.h"

#include <glib.h>
#include <sys/types.h>

/* Whom VMMs run as. */
struct vmm_user {
	uid_t uid;
	gid_t gid, *groups; /* the others that the user is in */
	size_t group_count;
};

/* What AppArmor does for VMMs. */
struct confinement {
	char *parser;    /* of profiles; NULL: AppArmor is not used, for this reason: */
	char *why_not;
	bool by_default; /* also VMMs whose document does not ask for it */
	bool required;   /* no VMM runs without it */
};

struct daemon {
	struct aio_loop *loop;
	struct aio_pool *pool;
	struct rpc_server *server;
	struct host *host;
	struct domains *domains;
	struct storage *storage;
	struct secrets *secrets;
	struct nodedevs *nodedevs;
	struct interfaces *interfaces;
	struct ovs_queue *ovs;
	struct networks *networks;
	struct filters *filters;
	struct rates *rates;
	const char *state_dir; /* XML of domains and pools, what running VMMs need, logs */
	const char *vmm;       /* path of berth-vmm */
	const struct vmm_user *vmm_user; /* NULL: whom the daemon runs as */
	bool dynamic_ownership; /* images are the VMM's user's while a VM runs */
	bool remember_owner;    /* then they are again whose they were; if not, root's */
	const struct confinement *confinement;
	const char *first_networks; /* a folder with what a new state folder begins with; or NULL */
	unsigned max_files;    /* that a VMM may have open; 0: as many as the daemon */
	bool console_log;      /* what consoles say is kept, if the document does not say where */
	uint64_t log_size;     /* of VMMs and consoles, before it is rotated; 0: any */
	unsigned log_backups;  /* so many older ones are kept */
	const char *nbd_tls_dir; /* a folder with the certificates that NBD disks with tls='yes' show */
	const char *ovs_socket; /* of Open vSwitch's database, which need not be there */
	const char *uri;       /* what clients are told: qemu:///system */
	/* Reads a VMM's command line (its words, NULL-terminated), whose options only cmd/ knows. */
	struct conf_vm *(*read_command)(const char *const *words, GError **error);
};
