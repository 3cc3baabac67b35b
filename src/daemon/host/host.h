/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What this machine is and what VMs it can run: versions, capabilities, CPUs, memory. What the VMM
 * can do is asked of the VMM itself, once, when the daemon starts.
 */
#pragma once

#include "daemon/daemon.h"

#include <glib.h>
#include <stdbool.h>

/* We answer as this libvirt, with a hypervisor of this QEMU's level: clients decide by it. */
#define HOST_LIB_VERSION        9000000U /* major * 1000000 + minor * 1000 + release */
#define HOST_HYPERVISOR_VERSION 7002022U

/* How the processors are put together: sysfs counts, at least 1 each. */
struct host_topology {
	unsigned cpus, online, sockets, cores, threads, nodes, mhz;
};

struct host {
	char *uuid;           /* of the machine, stable over reboots */
	char *cpu_model;      /* "AMD EPYC ..." */
	char *cpu_vendor;     /* "Intel", "AMD" or as CPUID says */
	bool has_kvm;         /* works: guests with type='kvm' can run */
	GPtrArray *models;    /* char *: CPU models that the VMM knows, without host and max */
	struct host_topology topology;
	uint64_t memory;      /* bytes */
};

/* Starts berth-vmm once, for some 20 ms, to ask what it can do. */
struct host *host_new(struct daemon *daemon, GError **error);
void host_free(struct host *host);

/* Read the processors anew. */
void host_read_topology(struct host *host);
/* A field of /proc/meminfo in bytes; 0 if there is none. */
uint64_t host_meminfo(const char *field);
char *host_capabilities_xml(struct daemon *daemon);

/* What GET_DOMAIN_CAPABILITIES asks for. */
struct host_wanted {
	const char *emulator, *arch, *machine, *virttype; /* NULL: the default */
};
/* NULL with an error if there is no such machine. Free with g_free(). */
char *host_domain_capabilities_xml(struct daemon *daemon, const struct host_wanted *wanted,
				   GError **error);
