/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/rpc/rules.h"

#include "base/error.h"

#include <grp.h>
#include <pwd.h>
#include <string.h>

enum who { WHO_ALL, WHO_USER, WHO_GROUP, WHO_SASL, WHO_X509 };

static const char *const kind_names[] = {
	[RPC_HOST] = "host", [RPC_DOMAIN] = "domain", [RPC_POOL] = "pool", [RPC_NETWORK] = "network",
	[RPC_NWFILTER] = "nwfilter", [RPC_NODEDEV] = "nodedev", [RPC_SECRET] = "secret",
	[RPC_INTERFACE] = "interface", NULL,
};
enum { ANY_KIND = -1 };

struct rule {
	bool allow, write;
	enum who who;
	uint32_t id;         /* of a user or group */
	GPatternSpec *whom;  /* of SASL and X.509 */
	int kind;            /* enum rpc_kind, or ANY_KIND */
	char *name;
	GPatternSpec *names;
};

struct rules {
	GPtrArray *list; /* struct rule */
};

const char *rules_kind_name(enum rpc_kind kind)
{
	return kind_names[kind];
}

static void rule_free(void *opaque)
{
	struct rule *rule = opaque;
	g_clear_pointer(&rule->whom, g_pattern_spec_free);
	g_clear_pointer(&rule->names, g_pattern_spec_free);
	g_free(rule->name);
	g_free(rule);
}

void rules_free(struct rules *rules)
{
	if (!rules)
		return;
	g_ptr_array_unref(rules->list);
	g_free(rules);
}

/* --- Reading -------------------------------------------------------------------------------- */

static bool choose(const char *word, const char *no, const char *yes, bool *value, GError **error)
{
	*value = strcmp(word, yes) == 0;
	return *value || strcmp(word, no) == 0 ||
	       error_set(error, BERTH_ERR_INVALID, "'%s' should be '%s' or '%s'", word, yes, no);
}

static bool find_user(const char *name, uint32_t *id, GError **error)
{
	const struct passwd *user = getpwnam(name);
	if (!user)
		return error_set(error, BERTH_ERR_NOT_FOUND, "there is no user '%s' here", name);
	*id = user->pw_uid;
	return true;
}

static bool find_group(const char *name, uint32_t *id, GError **error)
{
	const struct group *group = getgrnam(name);
	if (!group)
		return error_set(error, BERTH_ERR_NOT_FOUND, "there is no group '%s' here", name);
	*id = group->gr_gid;
	return true;
}

static bool take_who(struct rule *rule, const char *word, GError **error)
{
	const char *name = strchr(word, ':');
	if (strcmp(word, "*") == 0)
		return true;
	if (name && g_str_has_prefix(word, "user:")) {
		rule->who = WHO_USER;
		return find_user(name + 1, &rule->id, error);
	}
	if (name && g_str_has_prefix(word, "group:")) {
		rule->who = WHO_GROUP;
		return find_group(name + 1, &rule->id, error);
	}
	if (!name || (!g_str_has_prefix(word, "sasl:") && !g_str_has_prefix(word, "x509:")))
		return error_set(error, BERTH_ERR_INVALID,
				 "'%s' should be user:NAME, group:NAME, sasl:NAME, x509:NAME or *", word);
	rule->who = *word == 's' ? WHO_SASL : WHO_X509;
	rule->whom = g_pattern_spec_new(name + 1);
	return true;
}

static bool take_kind(struct rule *rule, const char *word, GError **error)
{
	rule->kind = ANY_KIND;
	if (strcmp(word, "*") == 0)
		return true;
	for (unsigned i = 0; kind_names[i]; i++) {
		if (strcmp(kind_names[i], word) == 0)
			rule->kind = i;
	}
	if (rule->kind != ANY_KIND)
		return true;
	const char *nearest = nearest_name(word, kind_names);
	return error_set(error, BERTH_ERR_INVALID, "there is no kind of object '%s'%s%s", word,
			 nearest ? "; did you mean " : "", nearest ? nearest : "");
}

/* NULL: *error. */
static struct rule *parse_rule(char **words, GError **error)
{
	struct rule *rule = g_new0(struct rule, 1);
	if (g_strv_length(words) != 5)
		error_set(error, BERTH_ERR_INVALID, "a rule is allow|deny WHO read|write KIND NAME");
	else if (choose(words[0], "deny", "allow", &rule->allow, error) &&
		 take_who(rule, words[1], error) &&
		 choose(words[2], "read", "write", &rule->write, error) &&
		 take_kind(rule, words[3], error)) {
		rule->name = g_strdup(words[4]);
		rule->names = g_pattern_spec_new(words[4]);
		return rule;
	}
	rule_free(rule);
	return NULL;
}

static bool take_line(struct rules *rules, const char *line, GError **error)
{
	g_auto(GStrv) words = NULL;
	g_autoptr(GError) cause = NULL;
	if (!g_shell_parse_argv(line, NULL, &words, &cause))
		return g_error_matches(cause, G_SHELL_ERROR, G_SHELL_ERROR_EMPTY_STRING) ||
		       error_set(error, BERTH_ERR_INVALID, "%s", cause->message);
	struct rule *rule = parse_rule(words, error);
	if (rule)
		g_ptr_array_add(rules->list, rule);
	return rule != NULL;
}

struct rules *rules_parse(const char *text, GError **error)
{
	struct rules *rules = g_new0(struct rules, 1);
	rules->list = g_ptr_array_new_with_free_func(rule_free);
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
	for (unsigned i = 0; lines[i]; i++) {
		if (take_line(rules, lines[i], error))
			continue;
		g_prefix_error(error, "line %u: ", i + 1);
		rules_free(rules);
		return NULL;
	}
	return rules;
}

struct rules *rules_read(const char *path, GError **error)
{
	g_autofree char *text = NULL;
	if (!g_file_get_contents(path, &text, NULL, error))
		return NULL;
	struct rules *rules = rules_parse(text, error);
	if (!rules)
		g_prefix_error(error, "%s: ", path);
	return rules;
}

/* --- Deciding ------------------------------------------------------------------------------- */

static bool is_in_group(const struct caller *caller, gid_t group)
{
	for (int i = 0; i < caller->group_count; i++) {
		if (caller->groups[i] == group)
			return true;
	}
	return false;
}

static bool is_about(const struct rule *rule, const struct caller *caller)
{
	switch (rule->who) {
	case WHO_ALL:
		return true;
	case WHO_USER:
		return caller->local && caller->uid == rule->id;
	case WHO_GROUP:
		return caller->local && is_in_group(caller, rule->id);
	case WHO_SASL:
		return caller->sasl && g_pattern_spec_match_string(rule->whom, caller->sasl);
	case WHO_X509:
		return caller->x509 && g_pattern_spec_match_string(rule->whom, caller->x509);
	}
	return false;
}

static bool fits(const struct rule *rule, bool write, enum rpc_kind kind, const char *name)
{
	/* A right to write is one to read; without a right to read there is none to write. */
	bool right = rule->allow ? rule->write || !write : !rule->write || write;
	bool names = name ? g_pattern_spec_match_string(rule->names, name)
			  : !rule->allow || strcmp(rule->name, "*") == 0;
	return right && names && (rule->kind == ANY_KIND || rule->kind == (int)kind);
}

bool rules_allow(const struct rules *rules, const struct caller *caller, bool write,
		 enum rpc_kind kind, const char *name)
{
	for (unsigned i = 0; i < rules->list->len; i++) {
		const struct rule *rule = rules->list->pdata[i];
		if (is_about(rule, caller) && fits(rule, write, kind, name))
			return rule->allow;
	}
	return false;
}
