/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "codec/xml.h"

#include "base/error.h"

#include <string.h>

static void test_errors(void)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
		{"<domain>\n<name", "(definition):2: "},
		{"", "(definition):1: "},
		{"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "DOCTYPE"},
		{"<a><b></a>", "(definition):1: "},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		g_assert_null(xml_parse(cases[i].text, "definition", &error));
		g_assert_nonnull(strstr(error->message, cases[i].why));
	}
}

static void test_read(void)
{
	g_autoptr(xmlDoc) doc = xml_parse("<a x='1&amp;2'><b> one </b><c/><b>two</b></a>", "t", NULL);
	const xmlNode *root = xmlDocGetRootElement(doc);
	g_autofree char *x = xml_attribute(root, "x"), *none = xml_attribute(root, "y");
	g_assert_cmpstr(x, ==, "1&2");
	g_assert_null(none);
	GString *texts = g_string_new(NULL);
	xml_for_each(b, root, "b") {
		g_autofree char *text = xml_text(b);
		g_string_append_printf(texts, "[%s]", text);
	}
	g_assert_cmpstr(texts->str, ==, "[one][two]");
	g_string_free(texts, TRUE);
}

/* What is written can be read, whatever the text. */
static void test_write(void)
{
	struct xml_writer w = xml_writer_new();
	xml_open(&w, "a", "k", "<'\"&>", "left-out", NULL, NULL);
	xml_leaf(&w, "b", "x < y & z\x01", NULL);
	xml_empty(&w, "c", NULL);
	xml_close(&w, "a");
	g_autofree char *text = xml_writer_take(&w);
	g_assert_cmpstr(text, ==, "<a k='&lt;&apos;&quot;&amp;&gt;'>\n  <b>x &lt; y &amp; z</b>\n  <c/>\n"
				  "</a>\n");
	g_autoptr(xmlDoc) doc = xml_parse(text, "t", NULL);
	g_autofree char *k = xml_attribute(xmlDocGetRootElement(doc), "k");
	g_assert_cmpstr(k, ==, "<'\"&>");
}

/* Text in several nodes (references, CDATA), white space and namespaces come out as what they say. */
static void test_tree(void)
{
	static const char written[] = "<a xmlns:m='urn:m' x='1&amp;2' y='' z='&apos;&#x9;'>\n  <b>  </b> <c>\n\t</c>"
				      "<d>p<![CDATA[<q>]]>&amp;r</d>\n<m:e m:f='&lt;'> s\xc3\xa4t </m:e></a>";
	static const char expected[] = "<a xmlns:m='urn:m' x='1&amp;2' y='' z='&apos;\t'>\n  <b/>\n  <c/>\n"
				       "  <d>p&lt;q&gt;&amp;r</d>\n  <m:e m:f='&lt;'>s\xc3\xa4t</m:e>\n</a>\n";
	g_autoptr(xmlDoc) doc = xml_parse(written, "t", NULL);
	const xmlNode *root = xmlDocGetRootElement(doc);
	struct xml_writer w = xml_writer_new();
	xml_tree(&w, root);
	g_autofree char *text = xml_writer_take(&w), *empty = xml_attribute(root, "y");
	g_assert_cmpstr(text, ==, expected);
	g_assert_cmpstr(empty, ==, "");
	/* An attribute of a namespace is not the plain one of that name. */
	g_autofree char *foreign = xml_attribute(xml_child(root, "e"), "f"), *none = xml_text(NULL);
	g_assert_null(foreign);
	g_assert_cmpstr(none, ==, "");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/xml/errors", test_errors);
	g_test_add_func("/xml/read", test_read);
	g_test_add_func("/xml/write", test_write);
	g_test_add_func("/xml/tree", test_tree);
	return g_test_run();
}
