/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "codec/xml.h"

#include "base/error.h"

#include <libxml/parser.h>
#include <string.h>

/* --- Reading -------------------------------------------------------------------------------- */

/* libxml2 insists on a handler for its words; the last error is read from the parser instead. */
static void be_silent(void *opaque, const char *format, ...)
{
}

static xmlDoc *parse(const char *text, const char *what, int options, GError **error)
{
	size_t length = strlen(text);
	if (length > XML_MAX_DOCUMENT) {
		error_set(error, BERTH_ERR_INVALID, "(%s): more than 4 MiB of XML", what);
		return NULL;
	}
	xmlParserCtxt *parser = xmlNewParserCtxt();
	if (!parser) {
		error_set(error, BERTH_ERR_INTERNAL, "(%s): no memory for a parser", what);
		return NULL;
	}
	parser->sax->error = parser->sax->warning = be_silent;
	xmlDoc *doc = xmlCtxtReadMemory(parser, text, length, NULL, NULL,
					XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING | options);
	if (!doc || !xmlDocGetRootElement(doc)) {
		const xmlError *cause = xmlCtxtGetLastError(parser);
		g_autofree char *words = g_strchomp(
			g_strdup(cause && cause->message ? cause->message : "no element"));
		error_set(error, BERTH_ERR_INVALID, "(%s):%d: %s", what, cause ? cause->line : 1, words);
		if (doc)
			xmlFreeDoc(doc);
		doc = NULL;
	} else if (doc->intSubset) {
		error_set(error, BERTH_ERR_INVALID, "(%s):1: a DOCTYPE is not accepted", what);
		xmlFreeDoc(doc);
		doc = NULL;
	}
	xmlFreeParserCtxt(parser);
	return doc;
}

/* The space between elements is half of a document's nodes, and no reader wants it. */
xmlDoc *xml_parse(const char *text, const char *what, GError **error)
{
	return parse(text, what, XML_PARSE_NOBLANKS, error);
}

xmlDoc *xml_parse_as_written(const char *text, const char *what, GError **error)
{
	return parse(text, what, 0, error);
}

bool xml_is(const xmlNode *node, const char *name)
{
	return node->type == XML_ELEMENT_NODE && (!name || strcmp((const char *)node->name, name) == 0);
}

static xmlNode *first_from(xmlNode *node, const char *name)
{
	while (node && !xml_is(node, name))
		node = node->next;
	return node;
}

xmlNode *xml_child(const xmlNode *node, const char *name)
{
	return node ? first_from(node->children, name) : NULL;
}

xmlNode *xml_next(const xmlNode *node, const char *name)
{
	return first_from(node->next, name);
}

/* libxml2 has no memory for what is empty. */
static char *take(xmlChar *text)
{
	char *copy = g_strdup(text ? (const char *)text : "");
	xmlFree(text);
	return copy;
}

/* The text of an attribute or element if it is whole in one place, as nearly every one is; else NULL. */
static const char *plain_text(const xmlNode *children)
{
	if (!children)
		return "";
	return !children->next && children->type == XML_TEXT_NODE ? (const char *)children->content : NULL;
}

char *xml_attribute(const xmlNode *node, const char *name)
{
	const xmlAttr *attribute = node ? node->properties : NULL;
	while (attribute && (attribute->ns || strcmp((const char *)attribute->name, name) != 0))
		attribute = attribute->next;
	if (!attribute)
		return NULL;
	const char *plain = plain_text(attribute->children);
	return plain ? g_strdup(plain) : take(xmlNodeListGetString(node->doc, attribute->children, 1));
}

char *xml_text(const xmlNode *node)
{
	const char *plain = node ? plain_text(node->children) : "";
	return g_strstrip(plain ? g_strdup(plain) : take(xmlNodeGetContent(node)));
}

char *xml_child_text(const xmlNode *node, const char *name)
{
	const xmlNode *child = xml_child(node, name);
	return child ? xml_text(child) : NULL;
}

/* --- Writing -------------------------------------------------------------------------------- */

struct xml_writer xml_writer_new(void)
{
	return (struct xml_writer){g_string_new(NULL), 0};
}

char *xml_writer_take(struct xml_writer *writer)
{
	return g_string_free(g_steal_pointer(&writer->text), FALSE);
}

static void indent(struct xml_writer *writer)
{
	for (unsigned i = 0; i < writer->depth; i++)
		g_string_append(writer->text, "  ");
}

static bool stands_for_itself(char c)
{
	switch (c) {
	case '<':
	case '>':
	case '&':
	case '\'':
	case '"':
		return false;
	case '\n':
	case '\t':
		return true;
	default:
		return (unsigned char)c >= ' ';
	}
}

/* As libvirt: attributes stand in single quotes. Control characters are no XML at all. */
static void escaped(GString *out, const char *text)
{
	while (*text) {
		const char *end = text;
		while (stands_for_itself(*end))
			end++;
		g_string_append_len(out, text, end - text);
		switch (*end) {
		case '<':
			g_string_append(out, "&lt;");
			break;
		case '>':
			g_string_append(out, "&gt;");
			break;
		case '&':
			g_string_append(out, "&amp;");
			break;
		case '\'':
			g_string_append(out, "&apos;");
			break;
		case '"':
			g_string_append(out, "&quot;");
			break;
		}
		text = *end ? end + 1 : end;
	}
}

static void start(struct xml_writer *writer, const char *name, va_list attributes)
{
	indent(writer);
	g_string_append_printf(writer->text, "<%s", name);
	const char *key;
	while ((key = va_arg(attributes, const char *))) {
		const char *value = va_arg(attributes, const char *);
		if (!value)
			continue;
		g_string_append_printf(writer->text, " %s='", key);
		escaped(writer->text, value);
		g_string_append_c(writer->text, '\'');
	}
}

void xml_open(struct xml_writer *writer, const char *name, ...)
{
	va_list attributes;
	va_start(attributes, name);
	start(writer, name, attributes);
	va_end(attributes);
	g_string_append(writer->text, ">\n");
	writer->depth++;
}

void xml_close(struct xml_writer *writer, const char *name)
{
	writer->depth--;
	indent(writer);
	g_string_append_printf(writer->text, "</%s>\n", name);
}

void xml_empty(struct xml_writer *writer, const char *name, ...)
{
	va_list attributes;
	va_start(attributes, name);
	start(writer, name, attributes);
	va_end(attributes);
	g_string_append(writer->text, "/>\n");
}

void xml_leaf(struct xml_writer *writer, const char *name, const char *text, ...)
{
	va_list attributes;
	va_start(attributes, text);
	start(writer, name, attributes);
	va_end(attributes);
	g_string_append_c(writer->text, '>');
	escaped(writer->text, text ? text : "");
	g_string_append_printf(writer->text, "</%s>\n", name);
}

static void append_name(GString *out, const xmlNs *ns, const xmlChar *name)
{
	if (ns && ns->prefix)
		g_string_append_printf(out, "%s:", ns->prefix);
	g_string_append(out, (const char *)name);
}

static void append_attributes(GString *out, const xmlNode *node)
{
	for (const xmlNs *ns = node->nsDef; ns; ns = ns->next) {
		g_string_append_printf(out, ns->prefix ? " xmlns:%s='" : " xmlns%s='",
				       ns->prefix ? (const char *)ns->prefix : "");
		escaped(out, (const char *)ns->href);
		g_string_append_c(out, '\'');
	}
	for (const xmlAttr *attribute = node->properties; attribute; attribute = attribute->next) {
		const char *plain = plain_text(attribute->children);
		g_autofree char *value =
			plain ? NULL : take(xmlNodeListGetString(node->doc, attribute->children, 1));
		g_string_append_c(out, ' ');
		append_name(out, attribute->ns, attribute->name);
		g_string_append(out, "='");
		escaped(out, plain ? plain : value);
		g_string_append_c(out, '\'');
	}
}

void xml_tree(struct xml_writer *writer, const xmlNode *node)
{
	indent(writer);
	g_string_append_c(writer->text, '<');
	append_name(writer->text, node->ns, node->name);
	append_attributes(writer->text, node);
	if (xml_child(node, NULL)) {
		g_string_append(writer->text, ">\n");
		writer->depth++;
		xml_for_each(child, node, NULL)
			xml_tree(writer, child);
		writer->depth--;
		indent(writer);
	} else {
		g_autofree char *text = xml_text(node);
		if (!*text) {
			g_string_append(writer->text, "/>\n");
			return;
		}
		g_string_append_c(writer->text, '>');
		escaped(writer->text, text);
	}
	g_string_append(writer->text, "</");
	append_name(writer->text, node->ns, node->name);
	g_string_append(writer->text, ">\n");
}
