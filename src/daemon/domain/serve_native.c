/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A domain as a VMM's command line, and a command line as a domain. */
#include "daemon/domain/domain.h"

#include "conf/domain_native.h"
#include "daemon/domain/disk_source.h"
#include "daemon/rpc/serve.h"

#include <string.h>

/* What means something to a shell in a word that is not quoted. */
static const char shell_words[] = " \t\n'\"\\$`*?{}[]#;&|<>()~!";

static bool is_argv(const char *format, GError **error)
{
	return strcmp(format, "qemu-argv") == 0 ||
	       virt_error(error, VIRT_FROM_QEMU, VIRT_INVALID_ARG, "unsupported config type %s", format);
}

/* As it would run: completed as by a definition, then as by a start. */
static struct conf_domain *parse_as_started(const char *xml, GError **error)
{
	struct conf_domain *defined = conf_domain_parse(xml, false, error);
	if (!defined)
		return NULL;
	g_autofree char *whole = conf_domain_format(defined, -1);
	conf_domain_free(defined);
	return conf_domain_parse(whole, true, error);
}

void serve_connect_domain_xml_to_native(
	struct rpc_call *call, const struct remote_connect_domain_xml_to_native_args *args)
{
	GError *error = NULL;
	g_autoptr(GError) cause = NULL;
	if (!rpc_call_check_flags(call, args->flags, 0))
		return;
	struct conf_domain *conf = NULL;
	g_autoptr(GPtrArray) list = NULL;
	if (is_argv(args->native_format, &error) &&
	    (conf = parse_as_started(args->domain_xml, &cause)) &&
	    disk_sources_resolve(rpc_call_daemon(call), conf, NULL, &cause))
		list = vmm_arguments(rpc_call_daemon(call), conf, "/run/berth", NULL, &cause);
	conf_domain_free(conf);
	if (!error && !list)
		virt_error(&error, VIRT_FROM_DOMAIN, VIRT_XML_ERROR, "%s", cause->message);
	if (error) {
		rpc_call_fail(call, error);
		return;
	}
	g_autoptr(GString) text = g_string_new(NULL);
	for (unsigned i = 0; i + 1 < list->len; i++) {
		g_autofree char *word = g_shell_quote(list->pdata[i]);
		const char *plain = strpbrk(list->pdata[i], shell_words) ? word : list->pdata[i];
		bool option = i && *plain == '-';
		g_string_append_printf(text, "%s%s", i == 0 ? "" : option ? " \\\n" : " ", plain);
	}
	rpc_call_reply(call, &(struct remote_connect_domain_xml_to_native_ret){text->str});
}

void serve_connect_domain_xml_from_native(
	struct rpc_call *call, const struct remote_connect_domain_xml_from_native_args *args)
{
	const struct daemon *daemon = rpc_call_daemon(call);
	g_autoptr(GError) cause = NULL;
	GError *error = NULL;
	g_auto(GStrv) words = NULL;
	if (!rpc_call_check_flags(call, args->flags, 0))
		return;
	struct conf_vm *vm = NULL;
	char *text = NULL;
	if (is_argv(args->native_format, &error) &&
	    g_shell_parse_argv(args->native_config, NULL, &words, &cause) &&
	    (vm = daemon->read_command((const char *const *)words, &cause)))
		text = conf_domain_from_vm(vm, &cause);
	conf_vm_free(vm);
	if (!error && !text)
		virt_error(&error, VIRT_FROM_QEMU, VIRT_CONFIG_UNSUPPORTED, "%s", cause->message);
	if (error)
		rpc_call_fail(call, error);
	else
		rpc_call_reply(call, &(struct remote_connect_domain_xml_from_native_ret){text});
	g_free(text);
}
