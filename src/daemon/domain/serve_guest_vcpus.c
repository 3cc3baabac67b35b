/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which of its CPUs a guest uses, by its agent: guestvcpus, vcpucount --guest, setvcpus --guest. */
#include "daemon/domain/agent_call.h"
#include "daemon/domain/params.h"
#include "daemon/domain/vcpus.h"

#include "daemon/rpc/serve.h"

/* --- Which they are --------------------------------------------------------------------------- */

enum { MAP_BYTES = 256, MAP_BITS = MAP_BYTES * 8 };

static void answer_vcpus(struct rpc_call *call, struct domain *dom, const json_t *result)
{
	uint8_t maps[3][MAP_BYTES] = {0};
	static const char *const names[] = {"vcpus", "online", "offlinable"};
	struct params params = {.arena = rpc_call_arena(call)};
	for (unsigned i = 0; i < json_array_size(result); i++) {
		const json_t *cpu = json_array_get(result, i);
		json_int_t id = json_integer_value(json_object_get(cpu, "logical-id"));
		if (id < 0 || id >= MAP_BITS)
			continue;
		const bool set[] = {true, json_is_true(json_object_get(cpu, "online")),
				    json_is_true(json_object_get(cpu, "can-offline"))};
		for (unsigned m = 0; m < G_N_ELEMENTS(set); m++)
			maps[m][id / 8] |= set[m] << id % 8;
	}
	for (unsigned m = 0; m < G_N_ELEMENTS(names); m++) {
		g_autofree char *text = conf_cpuset_format(maps[m], MAP_BYTES, MAP_BITS);
		params_add_string(&params, names[m], text);
	}
	rpc_call_reply(call, &(struct remote_domain_get_guest_vcpus_ret){{params.count, params.items}});
}

void serve_domain_get_guest_vcpus(struct rpc_call *call,
				  const struct remote_domain_get_guest_vcpus_args *args)
{
	struct domain *dom = domain_find(call, &args->dom);
	if (dom && rpc_call_check_flags(call, args->flags, 0))
		agent_call(call, dom, "guest-get-vcpus", NULL, answer_vcpus);
}

/* --- How many they are -------------------------------------------------------------------------- */

/* What the agent says of its CPUs; counts are of those with a number that can be. */
struct guest_cpus {
	unsigned count, online;
	bool there[MAP_BITS], is_online[MAP_BITS], can_offline[MAP_BITS];
};

static void read_cpus(const json_t *list, struct guest_cpus *cpus)
{
	*cpus = (struct guest_cpus){0};
	for (unsigned i = 0; i < json_array_size(list); i++) {
		const json_t *cpu = json_array_get(list, i);
		json_int_t id = json_integer_value(json_object_get(cpu, "logical-id"));
		if (id < 0 || id >= MAP_BITS || cpus->there[id])
			continue;
		cpus->there[id] = true;
		cpus->is_online[id] = json_is_true(json_object_get(cpu, "online"));
		cpus->can_offline[id] = json_is_true(json_object_get(cpu, "can-offline"));
		cpus->count++;
		cpus->online += cpus->is_online[id];
	}
}

static void answer_count(struct rpc_call *call, const json_t *result, bool maximum)
{
	struct guest_cpus cpus;
	read_cpus(result, &cpus);
	if (cpus.count)
		rpc_call_reply(call, &(struct remote_domain_get_vcpus_flags_ret){maximum ? cpus.count : cpus.online});
	else
		agent_call_malformed(call, "guest-get-vcpus");
}

static void answer_online(struct rpc_call *call, struct domain *dom, const json_t *result)
{
	answer_count(call, result, false);
}

static void answer_maximum(struct rpc_call *call, struct domain *dom, const json_t *result)
{
	answer_count(call, result, true);
}

void vcpus_ask_guest(struct rpc_call *call, struct domain *dom, bool maximum)
{
	if (domain_runs(call, dom))
		agent_call(call, dom, "guest-get-vcpus", NULL, maximum ? answer_maximum : answer_online);
}

/* A call that changes which are online, or how many. */
struct guest_count {
	struct rpc_call *call;
	struct domain *dom;
	unsigned wanted, changes;
};

/* The error is taken; NULL: success. */
static void end_count(struct guest_count *count, GError *error)
{
	if (error)
		rpc_call_fail(count->call, error);
	else
		rpc_call_reply(count->call, NULL);
	domain_unpin(count->dom);
	g_free(count);
}

/* From CPU 0 on for those that come, from the last one back for those that go. NULL with an error. */
static json_t *choose_changes(const struct guest_cpus *cpus, struct guest_count *count, GError **error)
{
	bool more = count->wanted > cpus->online;
	unsigned missing = more ? count->wanted - cpus->online : cpus->online - count->wanted;
	json_t *list = json_array();
	for (unsigned i = 0; i < MAP_BITS && count->changes < missing; i++) {
		unsigned id = more ? i : MAP_BITS - 1 - i;
		if (!cpus->there[id] || cpus->is_online[id] == more || (!more && !cpus->can_offline[id]))
			continue;
		json_array_append_new(list, json_pack("{s:i, s:b}", "logical-id", (int)id, "online", (int)more));
		count->changes++;
	}
	if (count->changes == missing)
		return list;
	json_decref(list);
	virt_error(error, VIRT_FROM_QEMU, VIRT_INVALID_ARG,
		   more ? "guest agent reports less cpu than requested" : "Cannot offline enough CPUs");
	return NULL;
}

static void on_changed(void *opaque, json_t *result, const GError *failure)
{
	struct guest_count *count = opaque;
	GError *error = failure ? g_error_copy(failure) : NULL;
	json_int_t changed = json_integer_value(result);
	if (!error && changed != count->changes)
		virt_error(&error, VIRT_FROM_QEMU, VIRT_OPERATION_FAILED,
			   "the guest has changed %d of its vCPUs, not the %u that it was asked to",
			   (int)CLAMP(changed, 0, MAP_BITS), count->changes);
	end_count(count, error);
}

static void on_listed(void *opaque, json_t *result, const GError *failure)
{
	struct guest_count *count = opaque;
	GError *error = failure ? g_error_copy(failure) : NULL;
	struct guest_cpus cpus;
	read_cpus(result, &cpus);
	json_t *list = error ? NULL : choose_changes(&cpus, count, &error);
	if (!list || !count->changes) {
		json_decref(list);
		end_count(count, error);
		return;
	}
	agent_execute(count->dom, &(struct agent_command){
		.name = "guest-set-vcpus", .args = json_pack("{s:o}", "vcpus", list), .done = on_changed,
		.opaque = count});
}

void vcpus_set_guest(struct rpc_call *call, struct domain *dom, unsigned wanted)
{
	GError *error = NULL;
	if (!domain_runs(call, dom))
		return;
	if (!wanted || wanted > dom->live->vcpus) {
		virt_error(&error, VIRT_FROM_QEMU, VIRT_INVALID_ARG,
			   "requested vcpus is greater than max allowable vcpus for the live domain: %u > %u, or "
			   "none", wanted, dom->live->vcpus);
		rpc_call_fail(call, error);
		return;
	}
	struct guest_count *count = g_new(struct guest_count, 1);
	*count = (struct guest_count){call, domain_pin(dom), wanted, 0};
	agent_execute(dom, &(struct agent_command){.name = "guest-get-vcpus", .done = on_listed, .opaque = count});
}

/* --- Which are online --------------------------------------------------------------------------- */

/* The answer to the call comes with the agent's. */
static void set_vcpus(struct rpc_call *call, struct domain *dom, const uint8_t *map, bool online)
{
	struct guest_count *count = g_new(struct guest_count, 1);
	*count = (struct guest_count){.call = call, .dom = domain_pin(dom)};
	json_t *list = json_array();
	for (unsigned id = 0; id < MAP_BITS; id++) {
		if (!(map[id / 8] >> id % 8 & 1))
			continue;
		json_array_append_new(list, json_pack("{s:i, s:b}", "logical-id", id, "online", (int)online));
		count->changes++;
	}
	agent_execute(dom, &(struct agent_command){
		.name = "guest-set-vcpus", .args = json_pack("{s:o}", "vcpus", list), .done = on_changed,
		.opaque = count});
}

/* All that such a list can name, to refuse what is above our own numbers. */
static bool parse_guest_cpus(const char *text, uint8_t *map, GError **error)
{
	enum { LIST_BYTES = 65536 / 8 };
	uint8_t all[LIST_BYTES];
	if (!conf_cpuset_parse(text, all, LIST_BYTES))
		return virt_error(error, VIRT_FROM_QEMU, VIRT_INVALID_ARG, "'%s' is no list of CPUs like 0-3,^2",
				  text);
	for (unsigned i = MAP_BYTES; i < LIST_BYTES; i++) {
		if (all[i])
			return virt_error(error, VIRT_FROM_QEMU, VIRT_INVALID_ARG,
					  "'%s': a guest's CPUs are 0 to %d", text, MAP_BITS - 1);
	}
	memcpy(map, all, MAP_BYTES);
	return true;
}

void serve_domain_set_guest_vcpus(struct rpc_call *call,
				  const struct remote_domain_set_guest_vcpus_args *args)
{
	struct domain *dom = domain_find(call, &args->dom);
	uint8_t map[MAP_BYTES];
	GError *error = NULL;
	if (!dom || !rpc_call_check_flags(call, args->flags, 0))
		return;
	bool good = parse_guest_cpus(args->cpumap, map, &error);
	if (good && (args->state < 0 || args->state > 1))
		good = virt_error(&error, VIRT_FROM_QEMU, VIRT_INVALID_ARG, "the state %d is not 0 or 1",
				  args->state);
	if (good)
		set_vcpus(call, dom, map, args->state);
	else
		rpc_call_fail(call, error);
}
