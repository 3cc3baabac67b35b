/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which elements and attributes a document may have: whatever is not in a table is refused by name. */
#pragma once

#include "codec/xml.h"

/* An attribute of which only one value can be kept. */
struct conf_only_value {
	const char *path, *attribute, *value;
};

/* What a person can do about an element, or "path/@attribute", that is refused. */
struct conf_advice {
	const char *path, *text;
};

struct conf_grammar {
	/*
	 * "path attribute..."; "*" as the attribute: whatever stands below is the client's own business;
	 * as a part of the path: any element.
	 */
	const char *const *rows;
	size_t row_count;
	const struct conf_only_value *only;
	size_t only_count;
	const struct conf_advice *advice; /* ends with a NULL path; or NULL */
	/* A static that is 0 at first: where an index of the rows is kept, which are many; or NULL. */
	gsize *index;
};

/* Fails with BERTH_ERR_NOT_SUPPORTED on the first element or attribute that is not in the table. */
bool conf_grammar_check(const struct conf_grammar *grammar, const xmlNode *root, GError **error);
/* The same for an element that would stand in `parent`, which is a path as in the rows. */
bool conf_grammar_check_part(const struct conf_grammar *grammar, const xmlNode *node, const char *parent,
			     GError **error);
/* Fails with the element's line and name before the text. Returns false always. */
bool conf_grammar_error(GError **error, int code, const xmlNode *node, const char *format,
			va_list args) G_GNUC_PRINTF(4, 0);
