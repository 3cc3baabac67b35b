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

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/xml/errors", test_errors);
	g_test_add_func("/xml/read", test_read);
	g_test_add_func("/xml/write", test_write);
	return g_test_run();
}
