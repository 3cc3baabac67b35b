/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Types of QMP commands: reading the tables' notation and checking values against it. */
#include "internal.h"

#include "base/error.h"

#include <string.h>

bool qmp_member_next(const char **at, struct qmp_member *member)
{
	const char *p = *at;
	if (!p)
		return false;
	p += strspn(p, " ");
	if (!*p)
		return false;
	size_t name = strcspn(p, "?:");
	g_assert(name > 0 && name < sizeof(member->name));
	memcpy(member->name, p, name);
	member->name[name] = 0;
	p += name;
	member->optional = *p == '?';
	p += member->optional;
	g_assert(*p == ':');
	p++;
	size_t type = strcspn(p, " ");
	g_assert(type > 0 && type < sizeof(member->type));
	memcpy(member->type, p, type);
	member->type[type] = 0;
	*at = p + type;
	return true;
}

const struct qmp_type *qmp_find_type(const struct monitor_server *server, const char *name)
{
	for (unsigned i = 0; i < server->tables->len; i++) {
		const struct qmp_type *type = g_array_index(server->tables, struct qmp_table, i).types;
		for (; type && type->name; type++) {
			if (strcmp(type->name, name) == 0)
				return type;
		}
	}
	return NULL;
}

static bool set_wrong_type(GError **error, const char *name, const char *expected)
{
	return error_set(error, BERTH_ERR_INVALID, "Invalid parameter type for '%s', expected: %s",
			 name, expected);
}

/* 1: matches, 0: does not, -1: `type` is no builtin. */
static int check_builtin(const char *type, const json_t *value, const char **expected)
{
	if (strcmp(type, "any") == 0)
		return true;
	if (strcmp(type, "str") == 0) {
		*expected = "string";
		return json_is_string(value);
	}
	if (strcmp(type, "bool") == 0) {
		*expected = "boolean";
		return json_is_boolean(value);
	}
	if (strcmp(type, "int") == 0 || strcmp(type, "size") == 0) {
		*expected = "integer";
		return json_is_integer(value) &&
		       (type[0] == 'i' || json_integer_value(value) >= 0);
	}
	if (strcmp(type, "number") == 0) {
		*expected = "number";
		return json_is_number(value);
	}
	return -1;
}

static bool check_enum(const struct qmp_type *type, const char *name, const json_t *value,
		       GError **error)
{
	if (!json_is_string(value))
		return set_wrong_type(error, name, "string");
	g_auto(GStrv) values = g_strsplit(type->members + 1, " ", -1);
	if (g_strv_contains((const char *const *)values, json_string_value(value)))
		return true;
	return error_set(error, BERTH_ERR_INVALID, "Invalid parameter '%s': '%s' is one of %s",
			 json_string_value(value), name, type->members + 1);
}

bool qmp_check_value(const struct monitor_server *server, const char *type, const char *name,
		     const json_t *value, GError **error)
{
	const char *expected = NULL;
	int builtin = check_builtin(type, value, &expected);
	if (builtin >= 0)
		return builtin || set_wrong_type(error, name, expected);
	if (type[0] == '[') {
		size_t i;
		json_t *element;
		if (!json_is_array(value))
			return set_wrong_type(error, name, "array");
		g_autofree char *inner = g_strndup(type + 1, strlen(type) - 2);
		json_array_foreach(value, i, element) {
			if (!qmp_check_value(server, inner, name, element, error))
				return false;
		}
		return true;
	}
	const struct qmp_type *named = qmp_find_type(server, type);
	g_assert(named);
	if (named->members[0] == '=')
		return check_enum(named, name, value, error);
	if (!json_is_object(value))
		return set_wrong_type(error, name, "object");
	return qmp_check_members(server, named->members, value, false, error);
}

bool qmp_check_members(const struct monitor_server *server, const char *members,
		       const json_t *value, bool open, GError **error)
{
	struct qmp_member member;
	size_t known = 0;
	for (const char *at = members; qmp_member_next(&at, &member);) {
		const json_t *given = json_object_get(value, member.name);
		if (!given && member.optional)
			continue;
		if (!given)
			return error_set(error, BERTH_ERR_INVALID, "Parameter '%s' is missing",
					 member.name);
		known++;
		if (!qmp_check_value(server, member.type, member.name, given, error))
			return false;
	}
	if (open || known == json_object_size(value))
		return true;
	const char *key;
	json_t *unused;
	json_object_foreach((json_t *)value, key, unused) {
		bool found = false;
		for (const char *at = members; !found && qmp_member_next(&at, &member);)
			found = strcmp(member.name, key) == 0;
		if (!found)
			return error_set(error, BERTH_ERR_INVALID, "Parameter '%s' is unexpected",
					 key);
	}
	return true;
}

bool monitor_check(const struct monitor_server *server, const char *members, const json_t *value,
		   GError **error)
{
	return qmp_check_members(server, members, value, false, error);
}
