/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/moment.h"

#include "base/error.h"
#include "base/units.h"
#include "conf/domain.h"
#include "conf/storage.h"

#include <string.h>

enum { NAME_MAX_BYTES = 200 }; /* it is part of a file's name */

void conf_moment_clear(struct conf_moment *moment)
{
	char *const texts[] = {moment->name, moment->description, moment->parent, moment->domain};
	for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++)
		g_free(texts[i]);
}

static bool read_name(struct conf_moment *moment, const xmlNode *root, const char *noun, GError **error)
{
	moment->name = xml_child_text(root, "name");
	if (!moment->name)
		moment->name = g_strdup_printf("%" G_GINT64_FORMAT, g_get_real_time() / G_USEC_PER_SEC);
	const char *name = moment->name;
	if (*name && *name != '.' && !strchr(name, '/') && conf_text_is_plain(name) &&
	    strlen(name) <= NAME_MAX_BYTES)
		return true;
	return conf_domain_error(error, BERTH_ERR_INVALID, root,
				 "a %s's name has no '/' and no control characters, does not begin with "
				 "'.' and has at most %d bytes", noun, NAME_MAX_BYTES);
}

bool conf_moment_read(struct conf_moment *moment, const xmlNode *root, const char *noun, GError **error)
{
	g_autofree char *created = xml_child_text(root, "creationTime");
	uint64_t seconds = 0;
	if (!read_name(moment, root, noun, error))
		return false;
	if (created && !units_parse_number(created, 0, INT64_MAX, &seconds, NULL))
		return conf_domain_error(error, BERTH_ERR_INVALID, root, "creationTime is no number");
	moment->created = seconds;
	moment->description = xml_child_text(root, "description");
	const xmlNode *parent = xml_child(root, "parent"), *domain = xml_child(root, "domain");
	moment->parent = parent ? xml_child_text(parent, "name") : NULL;
	if (domain) {
		struct xml_writer w = xml_writer_new();
		xml_tree(&w, domain);
		moment->domain = xml_writer_take(&w);
	}
	return true;
}

void conf_moment_format(const struct conf_moment *moment, const char *state, struct xml_writer *w)
{
	g_autofree char *created = g_strdup_printf("%" G_GINT64_FORMAT, moment->created);
	xml_leaf(w, "name", moment->name, NULL);
	if (moment->description)
		xml_leaf(w, "description", moment->description, NULL);
	if (state)
		xml_leaf(w, "state", state, NULL);
	if (moment->parent) {
		xml_open(w, "parent", NULL);
		xml_leaf(w, "name", moment->parent, NULL);
		xml_close(w, "parent");
	}
	xml_leaf(w, "creationTime", created, NULL);
}

void conf_moment_format_domain(const struct conf_moment *moment, struct xml_writer *w)
{
	g_autoptr(xmlDoc) domain = moment->domain ? xml_parse(moment->domain, "domain_definition",
							      NULL) : NULL;
	if (domain)
		xml_tree(w, xmlDocGetRootElement(domain));
}
