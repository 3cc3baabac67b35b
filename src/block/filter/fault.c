/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * -blockdev driver=fault,file=NODE,faults.0.kind=error,...: a disk that fails on purpose, for tests.
 * Rules are tried in order; the first that matches a request acts on it:
 *
 *   kind      error (fail with errno), delay (wait `ms`), torn (write only the first half, then fail)
 *   iotype    read, write, discard, write-zeroes, flush; without it: any
 *   sector    only requests that touch this sector of 512 bytes
 *   errno     of error and torn, a number (5, EIO)
 *   skip      let so many requests that match pass first
 *   times     then act on so many (all)
 */
#include "base/bytes.h"
#include "base/error.h"
#include "block/core/drivers.h"
#include "block/core/options.h"

#include <errno.h>

#define RULES_MAX 64

struct rule {
	int kind, iotype; /* iotype -1: any */
	uint64_t sector, number, ms, skip, times; /* sector, times UINT64_MAX: any */
};

struct fault_node {
	struct block_node node;
	struct rule rules[RULES_MAX];
	unsigned count;
};

enum { KIND_ERROR, KIND_DELAY, KIND_TORN };
static const char *const kinds[] = {"error", "delay", "torn", NULL};
static const char *const iotypes[] = {
	[BLOCK_READ] = "read", [BLOCK_WRITE] = "write", [BLOCK_FLUSH] = "flush",
	[BLOCK_DISCARD] = "discard", [BLOCK_WRITE_ZEROES] = "write-zeroes", NULL};

static bool matches(const struct rule *rule, const struct block_request *r)
{
	uint64_t first = r->offset / 512, last = (r->offset + MAX(r->length, 1) - 1) / 512;
	return (rule->iotype < 0 || rule->iotype == (int)r->op) &&
	       (rule->sector == UINT64_MAX ||
		(r->op != BLOCK_FLUSH && first <= rule->sector && rule->sector <= last)) &&
	       rule->times > 0;
}

/* The rule for this request, counted; NULL: none. */
static struct rule *choose(struct fault_node *fault, const struct block_request *r)
{
	for (unsigned i = 0; i < fault->count; i++) {
		struct rule *rule = &fault->rules[i];
		if (!matches(rule, r))
			continue;
		if (rule->skip) {
			rule->skip--;
			continue;
		}
		if (rule->times != UINT64_MAX)
			rule->times--;
		return rule;
	}
	return NULL;
}

static int pass(struct block_node *node, const struct block_request *r)
{
	return block_io(node->file, r->op, r->flags, r->offset, r->length, r->iov, r->iov_count);
}

/* Half of the sectors reach the disk, as when the power fails. */
static void tear(struct block_node *node, const struct block_request *r)
{
	uint64_t length = align_down(r->length / 2, 512);
	if (r->op != BLOCK_WRITE || !length)
		return;
	g_autofree struct iovec *iov = g_new(struct iovec, r->iov_count);
	unsigned count = block_iov_slice(r->iov, r->iov_count, 0, length, iov);
	block_io(node->file, BLOCK_WRITE, r->flags, r->offset, length, iov, count);
}

static int perform(struct block_node *node, struct block_request *r)
{
	const struct rule *rule = choose((struct fault_node *)node, r);
	if (!rule)
		return pass(node, r);
	if (rule->kind == KIND_DELAY) {
		fiber_sleep(node->loop, rule->ms * 1000000);
		return pass(node, r);
	}
	int number = rule->number;
	if (rule->kind == KIND_TORN)
		tear(node, r);
	return -number;
}

static bool take_rule(struct rule *rule, json_t *dict, GError **error)
{
	*rule = (struct rule){.iotype = -1, .sector = UINT64_MAX, .number = EIO, .times = UINT64_MAX};
	if (!block_take_enum(dict, "kind", kinds, &rule->kind, error) ||
	    !block_take_enum(dict, "iotype", iotypes, &rule->iotype, error) ||
	    !block_take_size(dict, "sector", &rule->sector, error) ||
	    !block_take_size(dict, "errno", &rule->number, error) ||
	    !block_take_size(dict, "ms", &rule->ms, error) ||
	    !block_take_size(dict, "skip", &rule->skip, error) ||
	    !block_take_size(dict, "times", &rule->times, error) ||
	    !block_refuse_rest(dict, "a fault", error))
		return false;
	return (rule->number >= 1 && rule->number <= 4095 && rule->ms <= 3600000) ||
	       error_set(error, BERTH_ERR_INVALID, "a fault's errno is 1 to 4095, its ms at most an hour");
}

/* An array, or an object with the keys "0", "1"...: how dotted keys come. */
static bool take_rules(struct fault_node *fault, json_t *faults, GError **error)
{
	for (unsigned i = 0; i < RULES_MAX; i++) {
		g_autofree char *key = g_strdup_printf("%u", i);
		json_t *rule = json_is_array(faults) ? json_array_get(faults, i)
						     : json_object_get(faults, key);
		if (!rule)
			break;
		if (!take_rule(&fault->rules[i], rule, error))
			return false;
		fault->count++;
	}
	size_t given = json_is_array(faults) ? json_array_size(faults) : json_object_size(faults);
	return given == fault->count ||
	       error_set(error, BERTH_ERR_INVALID, "faults are numbered from 0 on, at most %d", RULES_MAX);
}

static bool fault_open(struct block_node *node, json_t *dict, GError **error)
{
	json_t *faults = json_object_get(dict, "faults");
	if (faults && !take_rules((struct fault_node *)node, faults, error))
		return false;
	json_object_del(dict, "faults");
	return block_filter_open(node, dict, error);
}

const struct block_driver block_fault_driver = {
	.name = "fault",
	.kind = BLOCK_FILTER,
	.transparent = true,
	.node_size = sizeof(struct fault_node),
	.open = fault_open,
	.perform = perform,
};
