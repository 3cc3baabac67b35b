/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guest RAM: -m, -mem-path, -object memory-backend-* and -numa. */
#include "vmm.h"

#include "base/bytes.h"
#include "base/error.h"
#include "base/units.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

struct memory_backend {
	uint64_t size, hugetlb_size;
	unsigned prealloc_threads;
	bool prealloc, share, hugetlb, discard;
	enum conf_switch merge, dump, reserve;
	char *path;
	int policy; /* enum ram_policy */
};

static const char *const policies[] = {"default", "preferred", "bind", "interleave", NULL};

#define FIELD(member) offsetof(struct memory_backend, member)
static const struct keyval_field memory_backend_fields[] = {
	{"size", KEYVAL_SIZE, FIELD(size), 1},
	{"prealloc", KEYVAL_BOOL, FIELD(prealloc)},
	{"prealloc-threads", KEYVAL_UINT, FIELD(prealloc_threads), 1, 64},
	{"share", KEYVAL_BOOL, FIELD(share)},
	{"hugetlb", KEYVAL_BOOL, FIELD(hugetlb)},
	{"hugetlbsize", KEYVAL_SIZE, FIELD(hugetlb_size), 1},
	{"mem-path", KEYVAL_STRING, FIELD(path)},
	{"merge", KEYVAL_SWITCH, FIELD(merge)},
	{"dump", KEYVAL_SWITCH, FIELD(dump)},
	{"reserve", KEYVAL_SWITCH, FIELD(reserve)},
	{"discard-data", KEYVAL_BOOL, FIELD(discard)},
	{"policy", KEYVAL_ENUM, FIELD(policy), .names = policies},
	{"pmem", KEYVAL_OFF, .help = "there is no persistent memory device"},
	{NULL},
};

/* host-nodes=N or N-M, any number of times; as JSON a list: host-nodes.0=N. */
static bool take_host_nodes(struct keyval *kv, uint64_t *mask, GError **error)
{
	g_autoptr(GPtrArray) found = g_ptr_array_new_with_free_func(g_free);
	for (unsigned i = 0; i < keyval_count(kv); i++) {
		const char *key = kv->keys->pdata[i], *text = kv->values->pdata[i];
		if (strcmp(key, "host-nodes") != 0 && !g_str_has_prefix(key, "host-nodes."))
			continue;
		g_auto(GStrv) parts = g_strsplit(text, "-", 2);
		uint64_t first = 0, last = 0;
		if (!parts[0] || !units_parse_number(parts[0], 0, 63, &first, error) ||
		    !units_parse_number(parts[1] ? parts[1] : parts[0], first, 63, &last, error)) {
			g_prefix_error(error, "host-nodes: ");
			return false;
		}
		*mask |= (UINT64_MAX >> (63 - last)) & (UINT64_MAX << first);
		g_ptr_array_add(found, g_strdup(key));
	}
	for (unsigned i = 0; i < found->len; i++)
		g_free(keyval_take(kv, found->pdata[i]));
	return true;
}

static bool read_backend(const struct conf_item *item, struct memory_backend *backend,
			 uint64_t *host_nodes, GError **error)
{
	auto_keyval kv = keyval_copy(item->props);
	g_autofree char *what = g_strdup_printf("-object %s", item->id);
	if (!take_host_nodes(kv, host_nodes, error)) {
		g_prefix_error(error, "%s: ", what);
		return false;
	}
	if (!keyval_bind(kv, memory_backend_fields, backend, what, NULL, error))
		return false;
	if (backend->reserve == CONF_SWITCH_ON && !backend->hugetlb && !backend->path)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "%s: reserve=on: only huge pages can be set aside; leave it out, or use "
				 "prealloc=on", what);
	if (backend->prealloc_threads && !backend->prealloc)
		return error_set(error, BERTH_ERR_INVALID,
				 "%s: prealloc-threads=%u has nothing to do: add prealloc=on", what,
				 backend->prealloc_threads);
	if ((backend->policy == RAM_POLICY_DEFAULT) != (*host_nodes == 0))
		return error_set(error, BERTH_ERR_INVALID,
				 "%s: policy=%s and host-nodes go together: %s", what,
				 policies[backend->policy],
				 *host_nodes ? "set policy to preferred, bind or interleave" :
					       "say which nodes of the host, as in host-nodes=0");
	return true;
}

/* The backend's options in `ram`; strings are kept with the machine's configuration. */
static bool describe_backend(struct vmm *vmm, const char *user, const char *id, uint64_t *size,
			     struct ram_options *ram, GError **error)
{
	const struct conf_machine *machine = &vmm->conf->machine;
	struct memory_backend backend = {0};
	uint64_t host_nodes = 0;
	const struct conf_item *item = backends_find_object(&vmm->backends, id);
	if (!item || !g_str_has_prefix(item->type, "memory-backend-"))
		return error_set(error, BERTH_ERR_NOT_FOUND,
				 "%s%s: there is no -object memory-backend-* with that id", user, id);
	bool good = read_backend(item, &backend, &host_nodes, error);
	if (backend.path)
		g_ptr_array_add(vmm->config_owned, backend.path);
	if (!good)
		return false;
	if (!backend.size)
		return error_set(error, BERTH_ERR_INVALID, "-object %s needs a size, as in size=1G", id);
	*size = backend.size;
	*ram = (struct ram_options){
		.share = backend.share,
		.prealloc = backend.prealloc,
		.prealloc_threads = backend.prealloc_threads,
		.path = backend.path,
		.discard = backend.discard,
		.dump = (backend.dump ? backend.dump : machine->dump_guest_core) != CONF_SWITCH_OFF,
		.merge = (backend.merge ? backend.merge : machine->mem_merge) != CONF_SWITCH_OFF,
		.unreserved = backend.reserve == CONF_SWITCH_OFF,
		.policy = backend.policy,
		.host_nodes = host_nodes,
	};
	if (backend.hugetlb)
		ram->page_size = backend.hugetlb_size ? backend.hugetlb_size : 2 * MIB;
	return true;
}

static bool use_machine_backend(struct vmm *vmm, const char *id, GError **error)
{
	struct machine_config *config = &vmm->config;
	uint64_t size;
	if (!describe_backend(vmm, "-machine memory-backend=", id, &size, &config->ram, error))
		return false;
	if (!vmm->conf->memory_given)
		config->memory = size;
	if (size != config->memory)
		return error_set(error, BERTH_ERR_INVALID,
				 "-object %s: its size differs from -m: make them equal", id);
	return true;
}

/* --- what devices plug in --------------------------------------------------------------------------- */

static bool is_boot_memory(const struct vmm *vmm, const char *id)
{
	const struct conf_numa *numa = &vmm->conf->numa;
	bool found = g_strcmp0(vmm->conf->machine.memory_backend, id) == 0;
	for (unsigned i = 0; i < numa->node_count; i++)
		found |= g_strcmp0(numa->nodes[i].memdev, id) == 0;
	return found;
}

bool memory_in_use(const struct vmm *vmm, const char *id)
{
	const struct ram_block *ram = backends_find_memory((struct backends *)&vmm->backends, id);
	return is_boot_memory(vmm, id) || (ram && backends_user(vmm->machine->devices, ram));
}

bool memory_open(struct vmm *vmm, const char *id, GError **error)
{
	struct ram_options options;
	uint64_t size;
	if (is_boot_memory(vmm, id))
		return error_set(error, BERTH_ERR_BUSY, "can't use already busy memdev: %s", id);
	if (backends_find_memory(&vmm->backends, id))
		return true;
	if (!describe_backend(vmm, "memdev=", id, &size, &options, error))
		return false;
	struct ram_block *ram = ram_block_new(id, size, &options, error);
	if (ram)
		g_ptr_array_add(vmm->backends.memories, ram);
	return ram != NULL;
}

void memory_close(struct vmm *vmm, const char *id)
{
	GPtrArray *memories = vmm->backends.memories;
	guint index;
	struct ram_block *ram = backends_find_memory(&vmm->backends, id);
	if (!ram || !g_ptr_array_find(memories, ram, &index))
		return;
	ram_block_retire(ram);
	g_ptr_array_add(vmm->backends.retired_memories, g_ptr_array_steal_index(memories, index));
}

/* --- NUMA ------------------------------------------------------------------------------------------- */

static bool use_node_backends(struct vmm *vmm, struct machine_node *nodes, GError **error)
{
	const struct conf_numa *numa = &vmm->conf->numa;
	struct ram_options *rams = g_new0(struct ram_options, numa->node_count);
	g_ptr_array_add(vmm->config_owned, rams);
	if (vmm->conf->machine.memory_backend)
		return error_set(error, BERTH_ERR_INVALID,
				 "-machine memory-backend= and -numa memdev= both say what the memory is: "
				 "leave one of them out");
	for (unsigned i = 0; i < numa->node_count; i++) {
		const char *id = numa->nodes[i].memdev;
		nodes[i].name = id;
		nodes[i].ram = &rams[i];
		if (id && !describe_backend(vmm, "-numa memdev=", id, &nodes[i].memory, &rams[i], error))
			return false;
	}
	return true;
}

static void share_out(struct vmm *vmm, struct machine_node *nodes)
{
	const struct conf_numa *numa = &vmm->conf->numa;
	uint64_t given = 0, mib = vmm->config.memory / MIB;
	for (unsigned i = 0; i < numa->node_count; i++)
		given += nodes[i].memory = numa->nodes[i].size;
	if (given)
		return;
	/* Nobody said how: evenly, and what is left to the first ones. */
	for (unsigned i = 0; i < numa->node_count; i++)
		nodes[i].memory = (mib / numa->node_count + (i < mib % numa->node_count)) * MIB;
}

static bool configure_nodes(struct vmm *vmm, GError **error)
{
	const struct conf_numa *numa = &vmm->conf->numa;
	struct machine_config *config = &vmm->config;
	struct machine_node *nodes = g_new0(struct machine_node, numa->node_count);
	g_ptr_array_add(vmm->config_owned, nodes);
	bool own = false;
	for (unsigned i = 0; i < numa->node_count; i++)
		own |= numa->nodes[i].memdev != NULL;
	if (own && !use_node_backends(vmm, nodes, error))
		return false;
	if (!own)
		share_out(vmm, nodes);
	uint64_t sum = 0;
	for (unsigned i = 0; i < numa->node_count; i++) {
		if (nodes[i].memory % MIB)
			return error_set(error, BERTH_ERR_INVALID,
					 "-numa: the memory of node %u is not a multiple of 1 MiB", i);
		sum += nodes[i].memory;
	}
	if (own && !vmm->conf->memory_given)
		config->memory = sum;
	if (sum != config->memory)
		return error_set(error, BERTH_ERR_INVALID,
				 "-numa: the nodes have %" G_GUINT64_FORMAT " MiB together, -m says %"
				 G_GUINT64_FORMAT ": make them equal",
				 sum / MIB, config->memory / MIB);
	config->nodes = nodes;
	config->node_count = numa->node_count;
	config->cpu_nodes = numa->cpu_nodes;
	config->node_distances = numa->matrix;
	return true;
}

/* --- the whole --------------------------------------------------------------------------------------- */

bool memory_configure(struct vmm *vmm, GError **error)
{
	const struct conf_vm *conf = vmm->conf;
	struct machine_config *config = &vmm->config;
	config->memory = conf->memory.size;
	config->ram = (struct ram_options){
		.path = conf->memory.path,
		.prealloc = conf->memory.prealloc,
		.share = conf->memory.share,
		.dump = conf->machine.dump_guest_core != CONF_SWITCH_OFF,
		.merge = conf->machine.mem_merge != CONF_SWITCH_OFF,
	};
	if (conf->machine.memory_backend &&
	    !use_machine_backend(vmm, conf->machine.memory_backend, error))
		return false;
	if (config->memory % MIB)
		config->memory = (config->memory + MIB - 1) / MIB * MIB;
	if (conf->numa.node_count && !configure_nodes(vmm, error))
		return false;
	config->max_memory = align_up(MAX(conf->memory.maxmem, config->memory), MIB);
	config->memory_slots = conf->memory.slots;
	return !conf->memory.maxmem || config->memory <= conf->memory.maxmem ||
	       error_set(error, BERTH_ERR_INVALID,
			 "-m: maxmem= is less than the %" G_GUINT64_FORMAT " MiB that the guest has",
			 config->memory / MIB);
}

/* What is only reserved (the software engine's caches) is locked page by page as it comes into use. */
bool memory_lock(const struct vmm *vmm, GError **error)
{
	if (!vmm->conf->mem_lock)
		return true;
	bool good = mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0;
	const GPtrArray *rams = vmm->machine->rams;
	for (unsigned i = 0; good && i < rams->len; i++) {
		const struct ram_block *ram = rams->pdata[i];
		good = madvise(ram->host, ram->size, MADV_POPULATE_WRITE) == 0;
	}
	return good || error_set_errno(error, errno,
				       "-overcommit mem-lock=on: cannot lock memory (raise ulimit -l)");
}
