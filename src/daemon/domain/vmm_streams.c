/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The streams of a running domain: terminals, and channels that the guest opens and closes. */
#include "daemon/domain/agent.h"
#include "daemon/domain/vmm_int.h"

#include <string.h>

char *vmm_channel_path(const struct domain *dom, const struct conf_domain_char *chr)
{
	g_autofree char *folder = vmm_user_folder(vmm_run_dir(dom));
	return chr->path ? g_strdup(chr->path) : g_strdup_printf("%s/%s.sock", folder, chr->dev.alias);
}

void vmm_port_changed(struct domain *dom, const char *alias, bool open)
{
	const struct conf_domain_char *chr = conf_domain_char_of_alias(dom->live, alias);
	if (!chr || chr->kind != CONF_DOMAIN_CHANNEL)
		return;
	conf_domain_set_channel_state(chr, open);
	vmm_save_live(dom);
	agent_port_changed(dom, alias, open);
}

/* [{"label": "charserial0", "filename": "pty:/dev/pts/3", "frontend-open": true}] */
void vmm_take_streams(struct domain *dom, const json_t *list)
{
	size_t i;
	json_t *entry;
	json_array_foreach((json_t *)list, i, entry) {
		const char *label = json_string_value(json_object_get(entry, "label"));
		const char *file = json_string_value(json_object_get(entry, "filename"));
		bool ours = label && file && g_str_has_prefix(label, "char");
		struct conf_domain_char *chr =
			ours ? conf_domain_char_of_alias(dom->live, label + strlen("char")) : NULL;
		if (!chr)
			continue;
		if (chr->kind == CONF_DOMAIN_CHANNEL)
			vmm_port_changed(dom, chr->dev.alias,
					 json_is_true(json_object_get(entry, "frontend-open")));
		if (!g_str_has_prefix(file, "pty:/dev/pts/"))
			continue;
		g_free(chr->path);
		chr->path = g_strdup(file + strlen("pty:"));
		conf_domain_set_tty(dom->live, chr, chr->path);
	}
}
