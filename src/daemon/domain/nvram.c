/* SPDX-License-Identifier: GPL-2.0-or-later */
/* UEFI variables: a file for each domain, in the state folder unless its document names one. */
#include "daemon/domain/domain.h"

#include "base/error.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

static char *choose_path(const struct daemon *daemon, const struct conf_domain *conf)
{
	char uuid[37];
	if (conf->nvram)
		return g_strdup(conf->nvram);
	conf_uuid_format(conf->uuid, uuid);
	return store_path(daemon, "nvram", uuid, ".fd");
}

static bool uses_nvram(const struct conf_domain *conf)
{
	return conf->flash && !conf->loader_writable;
}

char *nvram_file(const struct daemon *daemon, const struct conf_domain *conf)
{
	g_autofree char *path = uses_nvram(conf) ? choose_path(daemon, conf) : NULL;
	return path && access(path, F_OK) == 0 ? g_steal_pointer(&path) : NULL;
}

/* Whole or not at all, so that a crash leaves no half file for the next start. */
static bool copy_template(const char *from, const char *to, GError **error)
{
	g_autofree char *text = NULL;
	size_t length;
	return g_file_get_contents(from, &text, &length, error) &&
	       g_file_set_contents_full(to, text, length,
					G_FILE_SET_CONTENTS_CONSISTENT | G_FILE_SET_CONTENTS_DURABLE, 0600,
					error);
}

bool nvram_prepare(const struct daemon *daemon, struct conf_domain *conf, GError **error)
{
	if (!uses_nvram(conf))
		return true;
	g_autofree char *path = choose_path(daemon, conf), *folder = g_path_get_dirname(path);
	if (access(path, F_OK) < 0) {
		if (!conf->nvram_template)
			return error_set(error, BERTH_ERR_NOT_FOUND,
					 "there is no file of UEFI variables '%s' and no template for it: name "
					 "one in <nvram template='...'>", path);
		if (g_mkdir_with_parents(folder, 0700) < 0)
			return error_set_errno(error, errno, "cannot create '%s'", folder);
		if (!copy_template(conf->nvram_template, path, error))
			return false;
	}
	xmlNode *os = xml_child(xmlDocGetRootElement(conf->doc), "os");
	xmlNode *node = xml_child(os, "nvram");
	xmlNodeSetContent(node, NULL);
	xmlNodeAddContent(node, (const xmlChar *)path);
	if (!conf->nvram)
		conf->nvram = g_steal_pointer(&path);
	return true;
}
