/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From a binding to rules: references are followed, variables replaced. A reference's own parameters
 * are defaults: what comes from outside wins, as in libvirt.
 */
#include "daemon/network/filter_int.h"

#include "base/error.h"

#include <string.h>

struct resolver {
	const struct filters *filters;
	GPtrArray *rules;
	char *missing;
	GError *error;
	unsigned steps; /* rules and references looked at: bounds what references can multiply */
};

static void rule_free(void *opaque)
{
	struct filter_rule *rule = opaque;
	g_ptr_array_unref(rule->texts);
	g_free(rule);
}

/* A number that counts up from 0 to `count`, for all variables of an iterator. */
struct iterator {
	unsigned number, count, at;
};

static struct iterator *iterator_of(GArray *iterators, unsigned number)
{
	for (unsigned i = 0; i < iterators->len; i++) {
		struct iterator *iterator = &g_array_index(iterators, struct iterator, i);
		if (iterator->number == number)
			return iterator;
	}
	return NULL;
}

/* Which iterators the rule has, and how far they go; false: stop. */
static bool find_iterators(struct resolver *r, const struct conf_nwfilter_rule *rule,
			   conf_nwfilter_parameters *parameters, GArray *iterators)
{
	for (unsigned i = 0; i < rule->values->len; i++) {
		const struct conf_nwfilter_value *value = rule->values->pdata[i];
		if (value->text)
			continue;
		const GPtrArray *list = g_hash_table_lookup(parameters, value->variable.name);
		if (!list || (value->variable.element && value->variable.number >= list->len)) {
			r->missing = conf_nwfilter_variable_write(&value->variable);
			return false;
		}
		const struct iterator *known = iterator_of(iterators, value->variable.number);
		const struct iterator new = {value->variable.number, list->len, 0};
		if (value->variable.element)
			continue;
		if (!known)
			g_array_append_val(iterators, new);
		else if (known->count != list->len)
			return error_set(&r->error, BERTH_ERR_INVALID,
					 "the variables of iterator @%u have lists of different lengths: "
					 "'%s' has %u values, another %u", new.number,
					 value->variable.name, list->len, known->count);
	}
	return true;
}

static const char *variable_text(const struct conf_nwfilter_variable *variable,
				 conf_nwfilter_parameters *parameters, GArray *iterators)
{
	const GPtrArray *list = g_hash_table_lookup(parameters, variable->name);
	return list->pdata[variable->element ? variable->number
					     : iterator_of(iterators, variable->number)->at];
}

static bool add_rule(struct resolver *r, const struct conf_nwfilter *filter,
		     const struct conf_nwfilter_rule *rule, conf_nwfilter_parameters *parameters,
		     GArray *iterators)
{
	struct filter_rule *made = g_new0(struct filter_rule, 1);
	made->filter = filter;
	made->rule = rule;
	made->sequence = r->rules->len;
	made->texts = g_ptr_array_new_with_free_func(g_free);
	g_ptr_array_add(r->rules, made);
	if (r->rules->len > FILTER_MAX_RULES)
		return error_set(&r->error, BERTH_ERR_NOT_SUPPORTED,
				 "a port with more than %d rules: shorten the variables' lists",
				 FILTER_MAX_RULES);
	for (unsigned i = 0; i < rule->values->len; i++) {
		const struct conf_nwfilter_value *value = rule->values->pdata[i];
		char *text = g_strdup(value->text);
		if (!text)
			text = conf_nwfilter_value_check(
				value->attribute,
				variable_text(&value->variable, parameters, iterators), &r->error);
		if (!text) {
			g_prefix_error(&r->error, "variable '%s' in filter '%s': ",
				       value->variable.name, filter->name);
			return false;
		}
		g_ptr_array_add(made->texts, text);
	}
	return true;
}

/* The next combination; false: that was the last. */
static bool advance(GArray *iterators)
{
	for (unsigned i = 0; i < iterators->len; i++) {
		struct iterator *iterator = &g_array_index(iterators, struct iterator, i);
		if (++iterator->at < iterator->count)
			return true;
		iterator->at = 0;
	}
	return false;
}

static bool resolve_rule(struct resolver *r, const struct conf_nwfilter *filter,
			 const struct conf_nwfilter_rule *rule, conf_nwfilter_parameters *parameters)
{
	g_autoptr(GArray) iterators = g_array_new(FALSE, FALSE, sizeof(struct iterator));
	if (!find_iterators(r, rule, parameters, iterators))
		return false;
	do {
		if (!add_rule(r, filter, rule, parameters, iterators))
			return false;
	} while (advance(iterators));
	return true;
}

static bool resolve(struct resolver *r, const char *name, conf_nwfilter_parameters *parameters,
		    unsigned depth)
{
	const struct conf_nwfilter *filter = filter_by_name(r->filters, name);
	if (!filter)
		return error_set(&r->error, BERTH_ERR_NOT_FOUND,
				 "referenced filter '%s' is missing", name);
	if (depth > FILTER_MAX_DEPTH)
		return error_set(&r->error, BERTH_ERR_NOT_SUPPORTED,
				 "filter '%s' is more than %d references away", name, FILTER_MAX_DEPTH);
	for (unsigned i = 0; i < filter->entries->len; i++) {
		const struct conf_nwfilter_entry *entry = filter->entries->pdata[i];
		if (++r->steps > FILTER_MAX_RULES * 4)
			return error_set(&r->error, BERTH_ERR_NOT_SUPPORTED,
					 "filter '%s': too many references", name);
		if (entry->rule) {
			if (!resolve_rule(r, filter, entry->rule, parameters))
				return false;
			continue;
		}
		g_autoptr(GHashTable) inner = conf_nwfilter_parameters_new();
		conf_nwfilter_parameters_merge(inner, entry->reference->parameters);
		conf_nwfilter_parameters_merge(inner, parameters);
		if (!resolve(r, entry->reference->filter, inner, depth + 1))
			return false;
	}
	return true;
}

GPtrArray *filter_resolve(const struct filters *filters, const struct conf_nwfilter_binding *binding,
			  const char *address, char **missing, GError **error)
{
	struct resolver r = {.filters = filters, .rules = g_ptr_array_new_with_free_func(rule_free)};
	g_autoptr(GHashTable) parameters = conf_nwfilter_parameters_new();
	conf_nwfilter_parameters_add(parameters, "MAC", binding->mac);
	if (address)
		conf_nwfilter_parameters_add(parameters, "IP", address);
	conf_nwfilter_parameters_merge(parameters, binding->reference->parameters);
	if (resolve(&r, binding->reference->filter, parameters, 0))
		return r.rules;
	g_ptr_array_unref(r.rules);
	*missing = r.missing;
	if (r.error)
		g_propagate_error(error, r.error);
	return NULL;
}
