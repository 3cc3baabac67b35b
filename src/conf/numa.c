/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/numa.h"

#include "base/error.h"
#include "base/units.h"

#include <string.h>

/* -numa node,cpus=FIRST-LAST */
struct conf_numa_range {
	unsigned first, last, node;
};

#define FIELD(type_, member) offsetof(struct type_, member)

/* --- reading ------------------------------------------------------------------------------------- */

static void prepare(struct conf_numa *numa)
{
	if (numa->nodes)
		return;
	numa->nodes = g_new0(struct conf_numa_node, CONF_NUMA_NODES_MAX);
	numa->ranges = g_array_new(FALSE, FALSE, sizeof(struct conf_numa_range));
	numa->places = g_array_new(FALSE, FALSE, sizeof(struct conf_numa_place));
	numa->distances = g_array_new(FALSE, FALSE, sizeof(struct conf_numa_distance));
}

/* A number that may be 0, unlike keyval's; -1 where the key is not there. */
static bool take_number(struct keyval *kv, const char *key, uint64_t max, int *number, GError **error)
{
	g_autofree char *text = keyval_take(kv, key);
	uint64_t value;
	*number = -1;
	if (!text)
		return true;
	if (!units_parse_number(text, 0, max, &value, error)) {
		g_prefix_error(error, "-numa: %s: ", key);
		return false;
	}
	*number = (int)value;
	return true;
}

static bool parse_range(const char *text, unsigned node, struct conf_numa_range *range, GError **error)
{
	/* Of an empty text there are no parts. */
	g_auto(GStrv) parts = g_strsplit(text, "-", 2);
	const char *low = parts[0] ? parts[0] : text, *high = parts[0] && parts[1] ? parts[1] : low;
	uint64_t first = 0, last = 0;
	if (!units_parse_number(low, 0, 1023, &first, error) ||
	    !units_parse_number(high, first, 1023, &last, error)) {
		g_prefix_error(error, "-numa: cpus=%s: ", text);
		return false;
	}
	*range = (struct conf_numa_range){(unsigned)first, (unsigned)last, node};
	return true;
}

/* cpus= may be there several times. */
static bool take_ranges(struct conf_numa *numa, struct keyval *kv, unsigned node, GError **error)
{
	for (unsigned i = 0; i < keyval_count(kv); i++) {
		struct conf_numa_range range;
		if (strcmp(kv->keys->pdata[i], "cpus") != 0)
			continue;
		if (!parse_range(kv->values->pdata[i], node, &range, error))
			return false;
		g_array_append_val(numa->ranges, range);
	}
	g_free(keyval_take(kv, "cpus"));
	return true;
}

static bool add_node(struct conf_numa *numa, struct keyval *kv, GError **error)
{
	static const struct keyval_field fields[] = {
		{"mem", KEYVAL_SIZE, FIELD(conf_numa_node, size), MIB},
		{"memdev", KEYVAL_STRING, FIELD(conf_numa_node, memdev)},
		{"initiator", KEYVAL_REFUSED, .help = "there is no HMAT table"},
		{NULL},
	};
	int id;
	if (!take_number(kv, "nodeid", CONF_NUMA_NODES_MAX - 1, &id, error))
		return false;
	if (id < 0)
		id = (int)numa->node_count;
	if (id >= CONF_NUMA_NODES_MAX || numa->nodes[id].defined)
		return error_set(error, BERTH_ERR_INVALID,
				 "-numa: there is a node %d already: give each another nodeid", id);
	struct conf_numa_node *node = &numa->nodes[id];
	if (!take_ranges(numa, kv, (unsigned)id, error) ||
	    !keyval_bind(kv, fields, node, "-numa node", NULL, error))
		return false;
	if (node->size && node->memdev)
		return error_set(error, BERTH_ERR_INVALID,
				 "-numa: node %d has both mem= and memdev=: leave one of them out", id);
	node->defined = true;
	numa->node_count++;
	return true;
}

static bool add_distance(struct conf_numa *numa, struct keyval *kv, GError **error)
{
	static const struct keyval_field none[] = {{NULL}};
	int from, to, value;
	if (!take_number(kv, "src", CONF_NUMA_NODES_MAX - 1, &from, error) ||
	    !take_number(kv, "dst", CONF_NUMA_NODES_MAX - 1, &to, error) ||
	    !take_number(kv, "val", UINT8_MAX, &value, error) ||
	    !keyval_bind(kv, none, NULL, "-numa dist", NULL, error))
		return false;
	if (from < 0 || to < 0 || value < CONF_NUMA_LOCAL)
		return error_set(error, BERTH_ERR_INVALID,
				 "-numa dist needs src=NODE, dst=NODE and val=%d to 255 (255: unreachable)",
				 CONF_NUMA_LOCAL);
	if ((from == to) != (value == CONF_NUMA_LOCAL))
		return error_set(error, BERTH_ERR_INVALID,
				 "-numa dist: the distance of a node to itself is %d, and to another "
				 "one it is more",
				 CONF_NUMA_LOCAL);
	struct conf_numa_distance distance = {(unsigned)from, (unsigned)to, (uint8_t)value};
	g_array_append_val(numa->distances, distance);
	return true;
}

static bool add_place(struct conf_numa *numa, struct keyval *kv, GError **error)
{
	static const struct keyval_field none[] = {{NULL}};
	struct conf_numa_place place;
	int node;
	if (!take_number(kv, "node-id", CONF_NUMA_NODES_MAX - 1, &node, error) ||
	    !take_number(kv, "socket-id", 1023, &place.socket, error) ||
	    !take_number(kv, "die-id", 1023, &place.die, error) ||
	    !take_number(kv, "core-id", 1023, &place.core, error) ||
	    !take_number(kv, "thread-id", 1023, &place.thread, error) ||
	    !keyval_bind(kv, none, NULL, "-numa cpu", NULL, error))
		return false;
	if (node < 0 || (place.socket & place.die & place.core & place.thread) == -1)
		return error_set(error, BERTH_ERR_INVALID,
				 "-numa cpu needs node-id=NODE and which CPU it is: socket-id=, die-id=, "
				 "core-id=, thread-id=");
	place.node = (unsigned)node;
	g_array_append_val(numa->places, place);
	return true;
}

bool conf_numa_merge(struct conf_numa *numa, const char *text, GError **error)
{
	static const struct {
		const char *name;
		bool (*add)(struct conf_numa *numa, struct keyval *kv, GError **error);
	} kinds[] = {{"node", add_node}, {"dist", add_distance}, {"cpu", add_place}};
	auto_keyval kv = keyval_parse_any(text, "type", error);
	if (!kv)
		return false;
	g_autofree char *type = keyval_take(kv, "type");
	prepare(numa);
	for (unsigned i = 0; type && i < G_N_ELEMENTS(kinds); i++) {
		if (strcmp(type, kinds[i].name) == 0)
			return kinds[i].add(numa, kv, error);
	}
	if (type && g_str_has_prefix(type, "hmat-"))
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "-numa %s: there is no HMAT table; use -numa dist", type);
	return error_set(error, BERTH_ERR_INVALID, "-numa '%s': it begins with node, dist or cpu", text);
}

/* --- completing ----------------------------------------------------------------------------------- */

static bool check_nodes(const struct conf_numa *numa, GError **error)
{
	unsigned with_memory = 0;
	for (unsigned i = 0; i < numa->node_count; i++) {
		if (!numa->nodes[i].defined)
			return error_set(error, BERTH_ERR_INVALID,
					 "-numa: there is no node %u: number the nodes from 0 without gaps",
					 i);
		with_memory += numa->nodes[i].memdev != NULL;
	}
	for (unsigned i = 0; with_memory && i < numa->node_count; i++) {
		if (numa->nodes[i].size)
			return error_set(error, BERTH_ERR_INVALID,
					 "-numa: memdev= and mem= cannot be mixed: give every node a memdev");
	}
	return true;
}

static bool set_cpu(struct conf_numa *numa, unsigned cpu, unsigned node, GError **error)
{
	if (node >= numa->node_count)
		return error_set(error, BERTH_ERR_INVALID,
				 "-numa: CPU %u is given to node %u, which there is not", cpu, node);
	if (numa->cpu_nodes[cpu] != UINT32_MAX && numa->cpu_nodes[cpu] != node)
		return error_set(error, BERTH_ERR_INVALID,
				 "-numa: CPU %u is given to nodes %u and %u: it can be in one", cpu,
				 numa->cpu_nodes[cpu], node);
	numa->cpu_nodes[cpu] = node;
	return true;
}

static bool place_fits(const struct conf_numa_place *p, const struct conf_smp *smp, unsigned cpu)
{
	unsigned thread = cpu % smp->threads, core = cpu / smp->threads;
	unsigned die = core / smp->cores, socket = die / smp->dies;
	return (p->thread < 0 || p->thread == (int)thread) &&
	       (p->core < 0 || p->core == (int)(core % smp->cores)) &&
	       (p->die < 0 || p->die == (int)(die % smp->dies)) &&
	       (p->socket < 0 || p->socket == (int)socket);
}

static bool set_places(struct conf_numa *numa, const struct conf_smp *smp, GError **error)
{
	for (unsigned i = 0; i < numa->places->len; i++) {
		const struct conf_numa_place *p =
			&g_array_index(numa->places, struct conf_numa_place, i);
		bool found = false;
		for (unsigned cpu = 0; cpu < smp->maxcpus; cpu++) {
			if (!place_fits(p, smp, cpu))
				continue;
			found = true;
			if (!set_cpu(numa, cpu, p->node, error))
				return false;
		}
		if (!found)
			return error_set(error, BERTH_ERR_INVALID,
					 "-numa cpu: -smp has no CPU with socket-id, die-id, core-id and "
					 "thread-id %d, %d, %d, %d (-1: any)",
					 p->socket, p->die, p->core, p->thread);
	}
	return true;
}

static bool set_cpus(struct conf_numa *numa, const struct conf_smp *smp, GError **error)
{
	numa->cpu_nodes = g_new(uint32_t, smp->maxcpus);
	memset(numa->cpu_nodes, 0xff, smp->maxcpus * sizeof(uint32_t));
	for (unsigned i = 0; i < numa->ranges->len; i++) {
		const struct conf_numa_range *r =
			&g_array_index(numa->ranges, struct conf_numa_range, i);
		if (r->last >= smp->maxcpus)
			return error_set(error, BERTH_ERR_INVALID,
					 "-numa: cpus=%u-%u: -smp has %u CPUs, numbered from 0", r->first,
					 r->last, smp->maxcpus);
		for (unsigned cpu = r->first; cpu <= r->last; cpu++) {
			if (!set_cpu(numa, cpu, r->node, error))
				return false;
		}
	}
	if (!set_places(numa, smp, error))
		return false;
	/* Nobody said anything: whole sockets go round the nodes. Of some only: the rest is in node 0. */
	bool silent = numa->ranges->len + numa->places->len == 0;
	unsigned socket = smp->dies * smp->cores * smp->threads;
	for (unsigned cpu = 0; cpu < smp->maxcpus; cpu++) {
		if (numa->cpu_nodes[cpu] == UINT32_MAX)
			numa->cpu_nodes[cpu] = silent ? cpu / socket % numa->node_count : 0;
	}
	return true;
}

/* Distances that were not given are as the way back; without any they are the usual ones. */
static bool set_matrix(struct conf_numa *numa, GError **error)
{
	unsigned n = numa->node_count;
	if (!numa->distances->len)
		return true;
	numa->matrix = g_malloc0((size_t)n * n);
	for (unsigned i = 0; i < numa->distances->len; i++) {
		const struct conf_numa_distance *d =
			&g_array_index(numa->distances, struct conf_numa_distance, i);
		if (d->from >= n || d->to >= n)
			return error_set(error, BERTH_ERR_INVALID,
					 "-numa dist: src=%u,dst=%u: the nodes are 0 to %u", d->from, d->to,
					 n - 1);
		numa->matrix[d->from * n + d->to] = d->value;
	}
	for (unsigned i = 0; i < n * n; i++) {
		unsigned from = i / n, to = i % n;
		if (numa->matrix[i])
			continue;
		uint8_t back = numa->matrix[to * n + from];
		if (from == to)
			numa->matrix[i] = CONF_NUMA_LOCAL;
		else if (back)
			numa->matrix[i] = back;
		else
			return error_set(error, BERTH_ERR_INVALID,
					 "-numa dist: the distance between nodes %u and %u is missing: give "
					 "all of them or none",
					 from, to);
	}
	return true;
}

bool conf_numa_complete(struct conf_numa *numa, const struct conf_smp *smp, GError **error)
{
	if (!numa->nodes)
		return true;
	if (!numa->node_count)
		return error_set(error, BERTH_ERR_INVALID, "-numa dist and -numa cpu need -numa node");
	return check_nodes(numa, error) && set_cpus(numa, smp, error) && set_matrix(numa, error);
}

/* --- writing --------------------------------------------------------------------------------------- */

static void format_node(const struct conf_numa *numa, unsigned id, GPtrArray *args)
{
	const struct conf_numa_node *node = &numa->nodes[id];
	auto_keyval kv = keyval_new();
	g_autofree char *number = g_strdup_printf("%u", id);
	keyval_add(kv, "type", "node");
	keyval_add(kv, "nodeid", number);
	for (unsigned i = 0; i < numa->ranges->len; i++) {
		const struct conf_numa_range *r =
			&g_array_index(numa->ranges, struct conf_numa_range, i);
		g_autofree char *cpus = g_strdup_printf("%u-%u", r->first, r->last);
		if (r->node == id)
			keyval_add(kv, "cpus", cpus);
	}
	if (node->memdev)
		keyval_add(kv, "memdev", node->memdev);
	g_autofree char *size = g_strdup_printf("%" G_GUINT64_FORMAT "M", node->size / MIB);
	if (node->size)
		keyval_add(kv, "mem", size);
	g_ptr_array_add(args, keyval_format(kv, "type"));
}

static void append_id(GString *text, const char *name, int id)
{
	if (id >= 0)
		g_string_append_printf(text, ",%s=%d", name, id);
}

void conf_numa_format(const struct conf_numa *numa, GPtrArray *args)
{
	for (unsigned i = 0; i < numa->node_count; i++)
		format_node(numa, i, args);
	for (unsigned i = 0; numa->nodes && i < numa->places->len; i++) {
		const struct conf_numa_place *p =
			&g_array_index(numa->places, struct conf_numa_place, i);
		GString *text = g_string_new(NULL);
		g_string_append_printf(text, "cpu,node-id=%u", p->node);
		append_id(text, "socket-id", p->socket);
		append_id(text, "die-id", p->die);
		append_id(text, "core-id", p->core);
		append_id(text, "thread-id", p->thread);
		g_ptr_array_add(args, g_string_free(text, FALSE));
	}
	for (unsigned i = 0; numa->nodes && i < numa->distances->len; i++) {
		const struct conf_numa_distance *d =
			&g_array_index(numa->distances, struct conf_numa_distance, i);
		g_ptr_array_add(args, g_strdup_printf("dist,src=%u,dst=%u,val=%u", d->from, d->to,
						      d->value));
	}
}

void conf_numa_clear(struct conf_numa *numa)
{
	if (!numa->nodes)
		return;
	for (unsigned i = 0; i < CONF_NUMA_NODES_MAX; i++)
		g_free(numa->nodes[i].memdev);
	g_free(numa->nodes);
	g_array_unref(numa->ranges);
	g_array_unref(numa->places);
	g_array_unref(numa->distances);
	g_free(numa->cpu_nodes);
	g_free(numa->matrix);
	*numa = (struct conf_numa){0};
}
