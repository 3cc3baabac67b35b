/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files about filters share. */
#pragma once

#include "daemon/network/filter.h"
#include "daemon/network/nft_watch.h"

#define FILTER_TABLE_PREFIX "berth-port-"
/* Rules that a binding may have after variables and references are resolved. */
enum { FILTER_MAX_RULES = 8192, FILTER_MAX_DEPTH = 32 };

struct filters {
	struct daemon *daemon;
	GHashTable *by_name;  /* to struct conf_nwfilter, which it owns */
	GHashTable *ports;    /* device name to struct filter_port, which it owns */
	GQueue changes;       /* of definitions: serve_filter.c; the first has its turn */
	struct nft_watch *watch; /* NULL: no binding has been made yet */
};

/* filter_registry.c */
const struct conf_nwfilter *filter_by_uuid(const struct filters *filters, const uint8_t uuid[16]);
const struct conf_nwfilter *filter_by_name(const struct filters *filters, const char *name);
char *filter_path(const struct filters *filters, const struct conf_nwfilter *filter);
/* Whether `name` is, or refers to, `wanted`; `instead` (or NULL) stands for the filter of its name. */
bool filter_refers_to(const struct filters *filters, const char *name, const char *wanted,
		      const struct conf_nwfilter *instead);

/* --- Bindings (filter_binding.c) -------------------------------------------------------------- */

struct filter_port {
	struct filters *all;
	struct conf_nwfilter_binding *binding;
	/* filter_learn.c */
	struct filter_learner *learner; /* NULL: the address is given */
	char *address;                  /* that the guest has shown to have, or NULL */
	int64_t expires_s;              /* of the address: Unix time; 0: never */
};

#define FILTER_PORTS_FOLDER "nwfilter-ports"
void filter_ports_load(struct filters *filters);
void filter_port_free(void *port);
/* Compile and apply; what was in effect before stays if that fails. */
bool filter_port_apply(struct filter_port *port, GError **error);
/* Of all ports that use the filter; on failure all are as they were. */
bool filter_reapply(struct filters *filters, const char *name, GError **error);
bool filter_in_use(const struct filters *filters, const char *name);

/* --- Rules (filter_resolve.c) ----------------------------------------------------------------- */

/* A rule with its variables replaced. */
struct filter_rule {
	const struct conf_nwfilter *filter; /* where it stands, which says its chain */
	const struct conf_nwfilter_rule *rule;
	GPtrArray *texts;                   /* of rule->values, checked */
	unsigned sequence;                  /* of rules with the same priority */
};

/*
 * All rules of a binding, in no order. NULL with *missing set (g_free()) if a variable has no value,
 * with *error otherwise.
 */
GPtrArray *filter_resolve(const struct filters *filters,
			  const struct conf_nwfilter_binding *binding, const char *address,
			  char **missing, GError **error);

/* --- nft's language (filter_match.c, filter_compile.c) ---------------------------------------- */

/*
 * Append to `out` what a packet must be for the rule, as nft's matches. `swap`: the packet goes the
 * other way than the rule speaks of. False: no packet can be that.
 */
bool filter_match(GString *out, const struct filter_rule *rule, bool swap);
/* The text of a rule's value, or NULL if it has none. */
const char *filter_text_of(const struct filter_rule *rule, enum conf_nwfilter_field field,
			   enum conf_nwfilter_part part);

/* Commands that make the port's table anew. */
char *filter_compile(const char *port, GPtrArray *rules);
/* The same while the guest's address is not known: it may ask for one, or, unless `dhcp_only`, use one. */
char *filter_compile_learning(const struct conf_nwfilter_binding *binding, bool dhcp_only);
/* Commands after which there is no table, whether there was one or not. */
char *filter_compile_removal(const char *port);

/* --- Stock filters (filter_stock.c) ----------------------------------------------------------- */

/* XML without UUIDs; ends with NULL. */
extern const char *const filter_stock[];

/* --- The guest's address (filter_learn.c) ----------------------------------------------------- */

/* What the binding's CTRL_IP_LEARNING says: any (the default), dhcp, none. */
enum filter_learning { FILTER_LEARN_ANY, FILTER_LEARN_DHCP, FILTER_LEARN_NONE };
bool filter_learning_of(const struct conf_nwfilter_binding *binding, enum filter_learning *learning,
			GError **error);
/*
 * Watch the port's packets: filter_port_learnt() is called when the guest has shown its address, and
 * for leases also when they are renewed or over.
 */
struct filter_learner *filter_learn_begin(struct filter_port *port, enum filter_learning learning,
					  GError **error);
/* NULL is fine. */
void filter_learn_end(struct filter_learner *learner);
/* filter_binding.c; `address` NULL: its lease is over. `expires_s` is as in struct filter_port. */
void filter_port_learnt(struct filter_port *port, const char *address, int64_t expires_s);
