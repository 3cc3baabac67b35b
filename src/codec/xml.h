/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * XML on top of libxml2: parsing with limits, no network, no entities beyond the built-in ones, and
 * our errors; and a writer that indents as libvirt does.
 */
#pragma once

#include <glib.h>
#include <libxml/tree.h>
#include <stdbool.h>

#define XML_MAX_DOCUMENT (4U << 20)

/* --- Reading -------------------------------------------------------------------------------- */

/*
 * The error's text has the line and libxml2's words, as libvirt prints them: "(what):2: ...".
 * Free with xmlFreeDoc().
 */
xmlDoc *xml_parse(const char *text, const char *what, GError **error);
/* The same with the space between elements, for who shows a part of it as it stands there. */
xmlDoc *xml_parse_as_written(const char *text, const char *what, GError **error);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(xmlDoc, xmlFreeDoc)

bool xml_is(const xmlNode *node, const char *name);
/* The first child element, or the first one of that name; NULL: none. */
xmlNode *xml_child(const xmlNode *node, const char *name);
xmlNode *xml_next(const xmlNode *node, const char *name);
#define xml_for_each(child, parent, name)                                                          \
	for (xmlNode *child = xml_child(parent, name); child; child = xml_next(child, name))
/* Free with g_free(); NULL if there is no such attribute. */
char *xml_attribute(const xmlNode *node, const char *name);
/* The text of the element without white space around it, never NULL; "" of none. Free with g_free(). */
char *xml_text(const xmlNode *node);
/* The text of the child element, or NULL if there is none. */
char *xml_child_text(const xmlNode *node, const char *name);

/* --- Writing -------------------------------------------------------------------------------- */

struct xml_writer {
	GString *text;
	unsigned depth;
};
struct xml_writer xml_writer_new(void);
/* The text; the writer is empty afterwards. Free with g_free(). */
char *xml_writer_take(struct xml_writer *writer);
/*
 * A start tag, an empty element, an element with text. `...` are attribute names and values (char *)
 * in pairs, ended by NULL; a pair whose value is NULL is left out.
 */
void xml_open(struct xml_writer *writer, const char *name, ...) G_GNUC_NULL_TERMINATED;
void xml_close(struct xml_writer *writer, const char *name);
void xml_empty(struct xml_writer *writer, const char *name, ...) G_GNUC_NULL_TERMINATED;
void xml_leaf(struct xml_writer *writer, const char *name, const char *text, ...)
	G_GNUC_NULL_TERMINATED;
/* A whole element with its attributes, namespaces, text and children. */
void xml_tree(struct xml_writer *writer, const xmlNode *node);
