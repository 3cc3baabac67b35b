/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What this machine is and what VMs it can run: versions, capabilities, CPUs, memory. What the VMM
 * can do is asked of the VMM itself, once, when the daemon starts.
 */
#pragma once

#include "codec/xml.h"
#include "conf/cpu.h"
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

/* A set of CPU features, by their numbers in `feature_names`. */
enum { HOST_MAX_FEATURES = 512 };
struct host_features {
	uint64_t word[HOST_MAX_FEATURES / 64];
};

/* A CPU model that the VMM knows. */
struct host_model {
	char *name;
	struct host_features features;
};

struct host {
	char *uuid;           /* of the machine, stable over reboots */
	char *cpu_model;      /* "AMD EPYC ..." */
	char *cpu_vendor;     /* "Intel", "AMD" or as CPUID says */
	char *microcode, *family, *model_number, *stepping; /* decimal; NULL: not known */
	bool has_kvm;         /* works: guests with type='kvm' can run */
	GPtrArray *models;    /* struct host_model, without host and max */
	GPtrArray *feature_names; /* char *: in libvirt's spelling */
	/* What guests of either engine can have at most; the first is empty without KVM. */
	struct host_features kvm_features, soft_features;
	struct host_topology topology;
	uint64_t memory;      /* bytes */
	GThread *asking;     /* until host_ready() */
	const char *vmm;     /* borrowed */
	GError *ask_error;
};

/* Starts berth-vmm once, for some 20 ms, to ask what it can do. */
/*
 * The VMM is asked on a thread of its own, for that takes longer than much else at the start; what it says
 * is there after host_ready(), which comes once, before anybody asks for it.
 */
struct host *host_new(struct daemon *daemon);
bool host_ready(struct host *host, GError **error);
/* NULL is allowed. */
void host_free(struct host *host);

/* ask.c: fill in what the VMM can do. */
bool host_ask_vmm(struct host *host, const char *vmm, GError **error);

/* --- CPUs (features.c) ---------------------------------------------------------------------- */

/* That there is a feature (in the VMM's spelling), and whether the set has it. */
void host_feature_learn(struct host *host, struct host_features *features, const char *name,
			bool is_set);
const struct host_features *host_features_of(const struct host *host, bool kvm);
bool host_model_usable(const struct host *host, const struct host_model *model, bool kvm);
/* The model that has most of the features and no others; `preferred` (or NULL) breaks a tie. */
const struct host_model *host_best_model(const struct host *host, const struct host_features *features,
					 const char *preferred);
/* <feature policy= name=> for each that is not in `without`; both it and the policy may be NULL. */
void host_features_write(struct xml_writer *w, const struct host *host,
			 const struct host_features *features, const struct host_model *without,
			 const char *policy);
/* libvirt's numbers. */
enum host_comparison { HOST_CPU_INCOMPATIBLE = 0, HOST_CPU_IDENTICAL = 1, HOST_CPU_SUPERSET = 2 };
/* Whether a guest can have that CPU; if not, `*why` is set, for g_free(). False: it is not known. */
bool host_cpu_compare(const struct host *host, const struct conf_cpu *cpu, bool kvm,
		      enum host_comparison *result, char **why, GError **error);
/*
 * The CPU (XML, for g_free()) that all of `cpus` (struct conf_cpu, at least one) can run, within
 * `limit` if that is not NULL; `expand`: name the model's own features too. NULL with an error.
 */
char *host_cpu_baseline(const struct host *host, const GPtrArray *cpus,
			const struct host_features *limit, bool expand, GError **error);

/* --- The machine (probe.c) ------------------------------------------------------------------- */

/* Read the processors anew. */
void host_read_topology(struct host *host);

/* --- Memory (memory.c) ----------------------------------------------------------------------- */

/* A field of /proc/meminfo, of the machine or of a NUMA node (-1: the machine), in bytes, or 0. */
uint64_t host_meminfo(const char *field);
uint64_t host_node_meminfo(int node, const char *field);
/* Sizes of pages (uint32_t KiB), the smallest first. Free with g_array_unref(). */
GArray *host_page_sizes(void);
struct host_pages {
	uint64_t total, free;
};
/* Pages of that size in a node (-1: the machine); fails if there are none of it. Any thread. */
bool host_pages(int node, uint32_t kib, struct host_pages *pages, GError **error);
/* Let a node's pool of huge pages have so many, or so many more. Blocks. Any thread. */
bool host_alloc_pages(int node, uint32_t kib, uint64_t count, bool add, GError **error);

/* --- XML (capabilities.c, domain_capabilities.c) ---------------------------------------------- */

/* berth-vmm's boards under the names that clients look for; ends with a NULL name. */
struct host_machine {
	const char *name, *canonical; /* NULL: it is canonical itself */
};
extern const struct host_machine host_machines[];
#define HOST_MAX_VCPUS "255"
/* From a folder as /sys/class/dmi/id; NULL: there is nothing. Free with g_free(). */
char *host_sysinfo_xml(const char *folder);
char *host_capabilities_xml(struct daemon *daemon);

/* What GET_DOMAIN_CAPABILITIES asks for. */
struct host_wanted {
	const char *emulator, *arch, *machine, *virttype; /* NULL: the default */
};
/* Fails if there is no such machine; otherwise says which engine is meant. */
bool host_check_wanted(const struct daemon *daemon, const struct host_wanted *wanted, bool *kvm,
		       GError **error);
/* NULL with an error if there is no such machine. Free with g_free(). */
char *host_domain_capabilities_xml(struct daemon *daemon, const struct host_wanted *wanted,
				   GError **error);
