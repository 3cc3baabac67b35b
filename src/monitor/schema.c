/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * query-qmp-schema: the tables in the form that QEMU's clients expect (docs/devel/qapi-code-gen:
 * SchemaInfo). Types keep their names; clients must not rely on them in any case.
 */
#include "internal.h"

#include <string.h>

struct schema {
	const struct monitor_server *server;
	json_t *entities;
	GHashTable *seen; /* type names that are in `entities` */
};

static void add_type(struct schema *schema, const char *type);

/* The name under which a type of the tables appears: "size" is an int to JSON. */
static const char *type_name(const char *type)
{
	if (strcmp(type, "[size]") == 0)
		return "[int]";
	return strcmp(type, "size") == 0 ? "int" : type;
}

static void add_object(struct schema *schema, const char *name, const char *members)
{
	json_t *list = json_array();
	struct qmp_member member;
	json_array_append_new(schema->entities, json_pack("{s:s, s:s, s:o}", "name", name,
							  "meta-type", "object", "members", list));
	for (const char *at = members; qmp_member_next(&at, &member);) {
		json_t *entry = json_pack("{s:s, s:s}", "name", member.name, "type",
					  type_name(member.type));
		if (member.optional)
			json_object_set_new(entry, "default", json_null());
		json_array_append_new(list, entry);
		add_type(schema, member.type);
	}
}

static void add_enum(struct schema *schema, const struct qmp_type *type)
{
	json_t *values = json_array(), *members = json_array();
	g_auto(GStrv) names = g_strsplit(type->members + 1, " ", -1);
	for (char **name = names; *name; name++) {
		json_array_append_new(values, json_string(*name));
		json_array_append_new(members, json_pack("{s:s}", "name", *name));
	}
	json_array_append_new(schema->entities,
			      json_pack("{s:s, s:s, s:o, s:o}", "name", type->name, "meta-type",
					"enum", "members", members, "values", values));
}

static const char *builtin_json_type(const char *type)
{
	static const char *const builtins[][2] = {
		{"str", "string"}, {"int", "int"},   {"number", "number"},
		{"bool", "boolean"}, {"any", "value"},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(builtins); i++) {
		if (strcmp(builtins[i][0], type) == 0)
			return builtins[i][1];
	}
	return NULL;
}

static void add_type(struct schema *schema, const char *type)
{
	type = type_name(type);
	if (!g_hash_table_add(schema->seen, g_strdup(type)))
		return;
	if (builtin_json_type(type)) {
		json_array_append_new(schema->entities,
				      json_pack("{s:s, s:s, s:s}", "name", type, "meta-type",
						"builtin", "json-type", builtin_json_type(type)));
		return;
	}
	if (type[0] == '[') {
		g_autofree char *inner = g_strndup(type + 1, strlen(type) - 2);
		json_array_append_new(schema->entities,
				      json_pack("{s:s, s:s, s:s}", "name", type, "meta-type",
						"array", "element-type", type_name(inner)));
		add_type(schema, inner);
		return;
	}
	const struct qmp_type *named = qmp_find_type(schema->server, type);
	g_assert(named);
	if (named->members[0] == '=')
		add_enum(schema, named);
	else
		add_object(schema, type, named->members);
}

/* The argument object of a command or event; all without arguments share one. */
static char *add_args(struct schema *schema, const char *owner, const char *members)
{
	char *name = members ? g_strdup_printf("%s-arg", owner) : g_strdup("q_empty");
	if (g_hash_table_add(schema->seen, g_strdup(name)))
		add_object(schema, name, members);
	return name;
}

static void add_command(struct schema *schema, const struct qmp_command *command)
{
	g_autofree char *args = add_args(schema, command->name, command->args);
	const char *returns = command->returns;
	if (returns)
		add_type(schema, returns);
	else
		g_free(add_args(schema, NULL, NULL));
	json_array_append_new(schema->entities,
			      json_pack("{s:s, s:s, s:s, s:s}", "name", command->name, "meta-type",
					"command", "arg-type", args, "ret-type",
					returns ? type_name(returns) : "q_empty"));
}

json_t *monitor_schema(const struct monitor_server *server)
{
	struct schema schema = {
		.server = server,
		.entities = json_array(),
		.seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL),
	};
	for (unsigned i = 0; i < server->tables->len; i++) {
		const struct qmp_table *table = &g_array_index(server->tables, struct qmp_table, i);
		for (const struct qmp_command *c = table->commands; c && c->name; c++)
			add_command(&schema, c);
		for (const struct qmp_event *e = table->events; e && e->name; e++) {
			g_autofree char *args = add_args(&schema, e->name, e->data);
			json_array_append_new(schema.entities,
					      json_pack("{s:s, s:s, s:s}", "name", e->name,
							"meta-type", "event", "arg-type", args));
		}
	}
	g_hash_table_unref(schema.seen);
	return schema.entities;
}
