/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/nwfilter.h"

#include "base/error.h"

#include <string.h>

static void test_filter(void)
{
	auto_conf_nwfilter filter = conf_nwfilter_parse(
		"<filter name='f' chain='arp-x' priority='0'><rule action='drop' direction='inout'>"
		"<arp opcode='reply' arpdstipmask='255.255.0.0' arpdstipaddr='10.0.0.0'/></rule>"
		"<filterref filter='g'><parameter name='A' value='1'/><parameter name='A' value='2'/>"
		"</filterref></filter>", NULL);
	g_assert_nonnull(filter);
	g_assert_false(filter->has_uuid);
	g_assert_cmpint(filter->priority, ==, 0);
	const struct conf_nwfilter_entry *first = filter->entries->pdata[0];
	g_assert_cmpint(first->rule->priority, ==, 500);
	g_assert_cmpuint(first->rule->values->len, ==, 3);
	g_autofree char *xml = conf_nwfilter_format(filter);
	g_assert_nonnull(strstr(xml, "<arp opcode='Reply' arpdstipaddr='10.0.0.0' arpdstipmask='16'/>"));
	g_assert_nonnull(strstr(xml, "<parameter name='A' value='2'/>"));
	auto_conf_nwfilter again = conf_nwfilter_parse(xml, NULL);
	g_assert_cmpint(again->priority, ==, 0);
}

static void test_refusals(void)
{
	static const struct {
		const char *rule, *said;
	} cases[] = {
		{"<rule action='eat' direction='in'/>", "unknown rule action"},
		{"<rule action='drop'/>", "requires direction"},
		{"<rule action='drop' direction='in' priority='1001'/>", "valid range of [-1000,1000]"},
		{"<rule action='drop' direction='in'><gre/></rule>", "<gre>"},
		{"<rule action='drop' direction='in'><tcp/><udp/></rule>", "of one protocol"},
		{"<rule action='drop' direction='in'><tcp ipset='x'/></rule>", "'ipset'"},
		{"<rule action='drop' direction='in'><tcp connlimit-above='1'/></rule>", "'connlimit-above'"},
		{"<rule action='drop' direction='in'><tcp dstportstart='65536'/></rule>", "illegal value 65536"},
		{"<rule action='drop' direction='in'><tcp dstportend='5'/></rule>", "without what it belongs"},
		{"<rule action='drop' direction='in'><ip dstportstart='5'/></rule>", "port specification"},
		{"<rule action='drop' direction='in'><mac srcmacaddr='1:2:3:4:5'/></rule>", "illegal value"},
		{"<rule action='drop' direction='in'><mac srcmacaddr='1:2:3:4:5:6' "
		 "srcmacmask='ff:0:ff:0:0:0'/></rule>", "srcmacmask has illegal value"},
		{"<rule action='drop' direction='in'><mac protocolid='0x5ff'/></rule>", "illegal value"},
		{"<rule action='drop' direction='in'><ip srcipaddr='10.1'/></rule>", "illegal value"},
		{"<rule action='drop' direction='in'><ip srcipaddr='$IP[@x]'/></rule>", "iterator id"},
		{"<rule action='drop' direction='in'><ip srcipaddr='$IP;drop'/></rule>", "Malformatted variable"},
		{"<rule action='drop' direction='in'><all state='RELATED'/></rule>", "RELATED"},
		{"<rule action='drop' direction='in'><tcp flags='SYN'/></rule>", "illegal value"},
		{"<filterref filter='g'><parameter name='A' value='1; drop'/></filterref>", "no value"},
		{"<filterref/>", "'filter'"},
		{"<uuid>x</uuid>", "malformed uuid"},
		{"<other/>", "<other>"},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		g_autofree char *xml = g_strdup_printf("<filter name='f'>%s</filter>", cases[i].rule);
		g_assert_null(conf_nwfilter_parse(xml, &error));
		g_assert_nonnull(error);
		if (!strstr(error->message, cases[i].said))
			g_error("%s: %s", cases[i].rule, error->message);
	}
	g_assert_null(conf_nwfilter_parse("<filter name='f' chain='ipx'/>", NULL));
	g_assert_null(conf_nwfilter_parse("<filter name='f' chain='arp-abcdefghi'/>", NULL));
	g_assert_null(conf_nwfilter_parse("<filter name='a/b'/>", NULL));
	g_assert_null(conf_nwfilter_parse("<filter/>", NULL));
}

static void test_binding(void)
{
#define OWNER "<owner><name>vm</name><uuid>12ac8b8c-4f23-4248-ae42-fdcd50c400fd</uuid></owner>"
#define REST "<mac address='52:54:0:0:0:2'/><filterref filter='f'/></filterbinding>"
	auto_conf_nwfilter_binding binding = conf_nwfilter_binding_parse(
		"<filterbinding>" OWNER "<portdev name='vnet0'/>" REST, NULL);
	g_assert_cmpstr(binding->mac, ==, "52:54:00:00:00:02");
	g_autofree char *xml = conf_nwfilter_binding_format(binding);
	g_assert_nonnull(strstr(xml, "  <portdev name='vnet0'/>\n  <mac address='52:54:00:00:00:02'/>\n"));
	static const char *const ports[] = {"a b", "a\"b", "a;b", "", "0123456789abcdef", "../x", "{"};
	for (unsigned i = 0; i < G_N_ELEMENTS(ports); i++) {
		g_autofree char *bad = g_markup_printf_escaped(
			"<filterbinding>" OWNER "<portdev name='%s'/>" REST, ports[i]);
		g_assert_null(conf_nwfilter_binding_parse(bad, NULL));
	}
	g_assert_null(conf_nwfilter_binding_parse("<filterbinding><portdev name='a'/>" REST, NULL));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/nwfilter/filter", test_filter);
	g_test_add_func("/nwfilter/refusals", test_refusals);
	g_test_add_func("/nwfilter/binding", test_binding);
	return g_test_run();
}
