/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which domains there are, and their statistics. */
#include "table.h"

#include "shell.h"

#include <stdlib.h>
#include <string.h>

enum { LIST_ACTIVE = 1, LIST_INACTIVE = 2, STATE_SHUTOFF = 5, METADATA_DESCRIPTION = 0, METADATA_TITLE = 1 };

static const struct option_flag list_filters[] = {
	{"persistent", 1 << 2},		{"transient", 1 << 3},
	{"state-running", 1 << 4},	{"state-paused", 1 << 5},
	{"state-shutoff", 1 << 6},	{"state-other", 1 << 7},
	{"with-managed-save", 1 << 8},	{"without-managed-save", 1 << 9},
	{"autostart", 1 << 10},		{"no-autostart", 1 << 11},
	{"with-snapshot", 1 << 12},	{"without-snapshot", 1 << 13},
	{"with-checkpoint", 1 << 14},	{"without-checkpoint", 1 << 15},
	{NULL},
};

/* Running domains by id, then the others by name. */
static int compare_domains(const void *a, const void *b)
{
	const struct remote_domain *x = a, *y = b;
	if (x->id == -1 && y->id == -1)
		return g_ascii_strcasecmp(x->name, y->name);
	if (x->id == -1 || y->id == -1)
		return x->id == -1 ? 1 : -1;
	return (x->id > y->id) - (x->id < y->id);
}

/* The title or the description; "" if there is none, NULL after an error. g_free() it. */
static char *domain_text(struct shell *sh, struct remote_domain dom, bool title, uint32_t flags)
{
	struct remote_domain_get_metadata_ret ret;
	if (GET(sh, domain_get_metadata, &ret, dom, title ? METADATA_TITLE : METADATA_DESCRIPTION, NULL,
		flags))
		return g_strdup(ret.metadata);
	int code = shell_error_code(sh);
	if (code != CLIENT_NO_DOMAIN_METADATA && code != CLIENT_NO_SUPPORT)
		return NULL;
	shell_forget_error(sh);
	if (code == CLIENT_NO_DOMAIN_METADATA)
		return g_strdup("");
	xmlDoc *doc = shell_domain_doc(sh, dom, flags);
	char *text = doc ? xpath_text(doc, NULL, title ? "/domain/title[1]" : "/domain/description[1]") :
			   NULL;
	if (doc && !text)
		text = g_strdup("");
	xmlFreeDoc(doc);
	return text;
}

static bool is_saved(struct shell *sh, struct remote_domain dom)
{
	struct remote_domain_has_managed_save_image_ret ret;
	bool good = GET(sh, domain_has_managed_save_image, &ret, dom, 0);
	shell_forget_error(sh);
	return good && ret.result > 0;
}

static bool list_table(struct shell *sh, const struct cmd *cmd, const struct remote_domain *doms,
		       uint32_t count)
{
	bool titles = opt_bool(cmd, "title"), saved = opt_bool(cmd, "managed-save");
	struct table *table = titles ? table_new("Id", "Name", "State", "Title", NULL) :
				       table_new("Id", "Name", "State", NULL);
	for (uint32_t i = 0; i < count; i++) {
		int state = shell_domain_state(sh, doms[i], NULL);
		shell_forget_error(sh);
		/* It has gone meanwhile. */
		if (state < 0)
			continue;
		g_autofree char *id = doms[i].id == -1 ? g_strdup("-") : g_strdup_printf("%d", doms[i].id);
		const char *name = saved && state == STATE_SHUTOFF && is_saved(sh, doms[i]) ?
					   "saved" : domain_state_name(state);
		g_autofree char *title = titles ? domain_text(sh, doms[i], true, 0) : NULL;
		if (titles && !title) {
			table_free(table);
			return false;
		}
		table_row(table, id, doms[i].name, name, title, NULL);
	}
	table_print(sh, table);
	return true;
}

static void list_words(struct shell *sh, const struct cmd *cmd, const struct remote_domain *doms,
		       uint32_t count)
{
	bool uuids = opt_bool(cmd, "uuid"), names = opt_bool(cmd, "name"), ids = opt_bool(cmd, "id");
	const char *titles[4] = {NULL}, **title = titles;
	if (uuids)
		*title++ = "UUID";
	if (ids)
		*title++ = "Id";
	if (names)
		*title++ = "Name";
	struct table *table = table_new(titles[0], titles[1], titles[2], NULL);
	for (uint32_t i = 0; i < count; i++) {
		char uuid[UUID_TEXT], id[16];
		const char *cells[4] = {NULL}, **cell = cells;
		if (ids && doms[i].id == -1 && !uuids && !names)
			continue;
		g_snprintf(id, sizeof(id), doms[i].id == -1 ? "-" : "%d", doms[i].id);
		if (uuids)
			*cell++ = format_uuid(doms[i].uuid, uuid);
		if (ids)
			*cell++ = id;
		if (names)
			*cell++ = doms[i].name;
		table_row(table, cells[0], cells[1], cells[2], NULL);
	}
	table_print_words(sh, table);
}

bool cmd_list(struct shell *sh, const struct cmd *cmd)
{
	struct remote_connect_list_all_domains_ret ret;
	uint32_t flags = LIST_ACTIVE;
	bool words = opt_bool(cmd, "uuid") || opt_bool(cmd, "name") || opt_bool(cmd, "id");
	if (opt_bool(cmd, "inactive") || opt_bool(cmd, "state-shutoff"))
		flags = LIST_INACTIVE;
	if (opt_bool(cmd, "all"))
		flags = LIST_ACTIVE | LIST_INACTIVE;
	if (!opt_exclusive(sh, cmd, "table", "name") || !opt_exclusive(sh, cmd, "table", "uuid") ||
	    !opt_exclusive(sh, cmd, "table", "id"))
		return false;
	if (!GET(sh, connect_list_all_domains, &ret, 1, flags | opt_flags(cmd, list_filters)))
		return shell_fail(sh, "Failed to list domains");
	qsort(ret.domains.items, ret.domains.count, sizeof(*ret.domains.items), compare_domains);
	if (!words)
		return list_table(sh, cmd, ret.domains.items, ret.domains.count);
	list_words(sh, cmd, ret.domains.items, ret.domains.count);
	return true;
}

/* --- Statistics ------------------------------------------------------------------------------- */

static const struct option_flag stats_groups[] = {
	{"state", 1 << 0}, {"cpu-total", 1 << 1}, {"balloon", 1 << 2},	 {"vcpu", 1 << 3},
	{"interface", 1 << 4}, {"block", 1 << 5}, {"perf", 1 << 6},	 {"iothread", 1 << 7},
	{"memory", 1 << 8}, {"dirtyrate", 1 << 9}, {"vm", 1 << 10},	 {NULL},
};
static const struct option_flag stats_flags[] = {
	{"list-active", 1 << 0},  {"list-inactive", 1 << 1}, {"list-persistent", 1 << 2},
	{"list-transient", 1 << 3}, {"list-running", 1 << 4}, {"list-paused", 1 << 5},
	{"list-shutoff", 1 << 6}, {"list-other", 1 << 7}, {"nowait", 1 << 29},
	{"backing", 1 << 30}, {"enforce", 1U << 31}, {NULL},
};

static json_t *param_json(const struct xdr_param *param)
{
	switch (param->type) {
	case XDR_PARAM_STRING:
		return json_string(param->s);
	case XDR_PARAM_DOUBLE:
		return json_real(param->d);
	case XDR_PARAM_BOOL:
		return json_boolean(param->i);
	case XDR_PARAM_INT:
		return json_integer(param->i);
	case XDR_PARAM_UINT:
		return json_integer(param->u);
	default:
		return json_integer(param->l);
	}
}

static void stats_json(const struct remote_domain_stats *records, uint32_t count)
{
	json_t *list = json_array();
	for (uint32_t i = 0; i < count; i++) {
		json_t *object = json_object();
		json_object_set_new(object, "domain", json_string(records[i].dom.name));
		for (uint32_t p = 0; p < records[i].params.count; p++) {
			const struct xdr_param *param = &records[i].params.items[p];
			json_object_set_new(object, param->name, param_json(param));
		}
		json_array_append_new(list, object);
	}
	json_dumpf(list, stdout, JSON_INDENT(2));
	shell_print("\n");
	json_decref(list);
}

static void stats_text(const struct remote_domain_stats *records, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		shell_print("%sDomain: '%s'\n", i ? "\n" : "", records[i].dom.name);
		for (uint32_t p = 0; p < records[i].params.count; p++) {
			g_autofree char *text = param_text(&records[i].params.items[p]);
			shell_print("  %s=%s\n", records[i].params.items[p].name, text);
		}
	}
}

bool cmd_domstats(struct shell *sh, const struct cmd *cmd)
{
	struct remote_connect_get_all_domain_stats_args args = {
		.stats = opt_flags(cmd, stats_groups), .flags = opt_flags(cmd, stats_flags)};
	struct remote_connect_get_all_domain_stats_ret ret;
	g_autoptr(GPtrArray) names = opt_rest(cmd);
	g_autofree struct remote_domain *doms = g_new0(struct remote_domain, names->len + 1);
	for (unsigned i = 0; i < names->len; i++) {
		if (!shell_domain_by(sh, names->pdata[i], BY_ANY, &doms[i]))
			return false;
	}
	args.doms.count = names->len;
	args.doms.items = doms;
	if (!call_connect_get_all_domain_stats(sh->client, &args, &ret, shell_error(sh)))
		return false;
	if (sh->json)
		stats_json(ret.records.items, ret.records.count);
	else
		stats_text(ret.records.items, ret.records.count);
	return true;
}

/* --- Title and description -------------------------------------------------------------------- */

/* The words joined, or what the editor made of the present text. NULL: *failed, or unchanged. */
static char *new_text(struct shell *sh, const struct cmd *cmd, struct remote_domain dom, bool title,
		      uint32_t flags, bool *failed)
{
	g_autoptr(GPtrArray) words = opt_rest(cmd);
	g_autofree char *joined = NULL;
	if (words->len) {
		g_ptr_array_add(words, NULL);
		joined = g_strjoinv(" ", (char **)words->pdata);
	}
	if (!opt_bool(cmd, "edit"))
		return g_steal_pointer(&joined);
	g_autofree char *present = joined ? g_strdup(joined) : domain_text(sh, dom, title, flags);
	g_autofree char *edited = present ? shell_edit_text(sh, present) : NULL;
	*failed = !edited;
	if (!edited)
		return NULL;
	for (char *end = edited + strlen(edited); end > edited && end[-1] == '\n';)
		*--end = '\0';
	if (!joined && strcmp(edited, present) == 0) {
		shell_extra(sh, title ? "Domain title not changed\n" : "Domain description not changed\n");
		return NULL;
	}
	return g_steal_pointer(&edited);
}

bool cmd_desc(struct shell *sh, const struct cmd *cmd)
{
	bool title = opt_bool(cmd, "title"), failed = false, edit = opt_bool(cmd, "edit");
	struct remote_domain dom;
	uint32_t flags = 0;
	g_autoptr(GPtrArray) words = opt_rest(cmd);
	if (!opt_affect(sh, cmd, &flags, NULL) || !shell_domain(sh, cmd, NULL, &dom))
		return false;
	if (!edit && !words->len) {
		/* Reading: the definition is the other XML, not another metadata. */
		g_autofree char *text = domain_text(sh, dom, title, opt_bool(cmd, "config") ? 2 : 0);
		if (text && *text)
			shell_print("%s", text);
		else if (text)
			shell_extra(sh, title ? "No title for domain: %s" : "No description for domain: %s",
				    dom.name);
		return text != NULL;
	}
	g_autofree char *text = new_text(sh, cmd, dom, title, opt_bool(cmd, "config") ? 2 : 0, &failed);
	if (!text)
		return !failed;
	if (!CALL(sh, domain_set_metadata, dom, title ? METADATA_TITLE : METADATA_DESCRIPTION, text, NULL,
		  NULL, flags))
		return shell_fail(sh, "%s", title ? "Failed to set new domain title" :
						    "Failed to set new domain description");
	shell_extra(sh, "%s", title ? "Domain title updated successfully" :
				      "Domain description updated successfully");
	return true;
}
