/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Domains' states in files, and what is written of their memory. */
#include "table.h"

#include "job.h"
#include "shell.h"

#include <string.h>

enum { XML_SECURE = 1 };

static const struct option_flag save_flags[] = {
	{"bypass-cache", 1}, {"running", 2}, {"paused", 4}, {"reset-nvram", 8}, {NULL},
};

/* A path as the daemon needs it, whose folder is another. */
static char *absolute(const char *path)
{
	return g_canonicalize_filename(path, NULL);
}

static struct job job_of(struct shell *sh, const struct cmd *cmd, struct remote_domain dom,
			 const char *label)
{
	return (struct job){.sh = sh, .dom = dom, .label = label, .verbose = opt_bool(cmd, "verbose")};
}

/* The file that --xml names, if any. False after an error. */
static bool opt_xml(struct shell *sh, const struct cmd *cmd, char **xml)
{
	const char *path;
	*xml = NULL;
	if (!opt_string(sh, cmd, "xml", &path))
		return false;
	if (path)
		*xml = shell_read_file(sh, path);
	return !path || *xml;
}

bool cmd_save(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	const char *name, *path;
	uint32_t flags = opt_flags(cmd, save_flags);
	g_autofree char *xml = NULL;
	if (!shell_domain(sh, cmd, &name, &dom) || !opt_string(sh, cmd, "file", &path) ||
	    !opt_xml(sh, cmd, &xml))
		return false;
	g_autofree char *to = absolute(path);
	struct job job = job_of(sh, cmd, dom, "Save");
	const struct remote_domain_save_flags_args with_flags = {dom, to, xml, flags};
	const struct remote_domain_save_args args = {dom, to};
	bool good = flags || xml ? job_run(&job, REMOTE_DOMAIN_SAVE_FLAGS, &with_flags, NULL) :
				   job_run(&job, REMOTE_DOMAIN_SAVE, &args, NULL);
	if (!good)
		return shell_fail(sh, "Failed to save domain '%s' to %s", name, path);
	shell_extra(sh, "\nDomain '%s' saved to %s\n", name, path);
	return true;
}

bool cmd_restore(struct shell *sh, const struct cmd *cmd)
{
	const char *path;
	uint32_t flags = opt_flags(cmd, save_flags);
	g_autofree char *xml = NULL;
	if (!opt_string(sh, cmd, "file", &path) || !opt_xml(sh, cmd, &xml))
		return false;
	g_autofree char *from = absolute(path);
	if (!(flags || xml ? CALL(sh, domain_restore_flags, from, xml, flags) : CALL(sh, domain_restore, from)))
		return shell_fail(sh, "Failed to restore domain from %s", path);
	shell_extra(sh, "Domain restored from %s\n", path);
	return true;
}

/* What libvirt's library refuses before it asks a daemon. */
static bool dump_exclusive(struct shell *sh, uint32_t flags)
{
	static const struct {
		uint32_t bit;
		const char *name;
	} alone[] = {{1, "VIR_DUMP_CRASH"}, {2, "VIR_DUMP_LIVE"}, {8, "VIR_DUMP_RESET"}};
	const char *first = NULL;
	for (unsigned i = 0; i < G_N_ELEMENTS(alone); i++) {
		if (!(flags & alone[i].bit))
			continue;
		if (first)
			return shell_set_error(sh, CLIENT_INVALID_ARG,
					       "Flags '%s' and '%s' are mutually exclusive", first,
					       alone[i].name);
		first = alone[i].name;
	}
	return true;
}

bool cmd_dump(struct shell *sh, const struct cmd *cmd)
{
	enum { DUMP_MEMORY_ONLY = 16 };
	static const struct option_flag table[] = {
		{"crash", 1}, {"live", 2}, {"bypass-cache", 4}, {"reset", 8}, {"memory-only", 16}, {NULL}};
	static const char *const formats[] = {"elf", "kdump-zlib", "kdump-lzo", "kdump-snappy", "win-dmp"};
	struct remote_domain dom;
	const char *name, *path, *format = opt_text(cmd, "format");
	uint32_t flags = opt_flags(cmd, table);
	unsigned number = 0;
	if (!shell_domain(sh, cmd, &name, &dom) || !opt_string(sh, cmd, "file", &path))
		return false;
	if (format && !(flags & DUMP_MEMORY_ONLY))
		return shell_fail(sh, "--format only works with --memory-only");
	while (format && number < G_N_ELEMENTS(formats) && strcmp(formats[number], format))
		number++;
	if (number == G_N_ELEMENTS(formats))
		return shell_fail(sh, "format '%s' is not supported, expecting 'kdump-zlib', 'kdump-lzo', "
				  "'kdump-snappy', 'win-dmp' or 'elf'", format);
	g_autofree char *to = absolute(path);
	struct job job = job_of(sh, cmd, dom, "Dump");
	const struct remote_domain_core_dump_with_format_args formatted = {dom, to, number, flags};
	const struct remote_domain_core_dump_args args = {dom, to, flags};
	bool good = dump_exclusive(sh, flags) &&
		    (number ? job_run(&job, REMOTE_DOMAIN_CORE_DUMP_WITH_FORMAT, &formatted, NULL) :
			      job_run(&job, REMOTE_DOMAIN_CORE_DUMP, &args, NULL));
	if (!good)
		return shell_fail(sh, "Failed to core dump domain '%s' to %s", name, path);
	shell_extra(sh, "\nDomain '%s' dumped to %s\n", name, path);
	return true;
}

/* --- Managed saves ---------------------------------------------------------------------------- */

bool cmd_managedsave(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	const char *name;
	if (!shell_domain(sh, cmd, &name, &dom))
		return false;
	struct job job = job_of(sh, cmd, dom, "Managedsave");
	const struct remote_domain_managed_save_args args = {dom, opt_flags(cmd, save_flags)};
	if (!job_run(&job, REMOTE_DOMAIN_MANAGED_SAVE, &args, NULL))
		return shell_fail(sh, "Failed to save domain '%s' state", name);
	shell_extra(sh, "\nDomain '%s' state saved by libvirt\n", name);
	return true;
}

bool cmd_managedsave_remove(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	struct remote_domain_has_managed_save_image_ret saved;
	const char *name;
	if (!shell_domain(sh, cmd, &name, &dom))
		return false;
	if (!GET(sh, domain_has_managed_save_image, &saved, dom, 0))
		return shell_fail(sh, "Failed to check for domain managed save image");
	if (!saved.result) {
		shell_extra(sh, "Domain '%s' has no manage save image; removal skipped", name);
		return true;
	}
	if (!CALL(sh, domain_managed_save_remove, dom, 0))
		return shell_fail(sh, "Failed to remove managed save image for domain '%s'", name);
	shell_extra(sh, "Removed managedsave image for domain '%s'", name);
	return true;
}

bool cmd_managedsave_dumpxml(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	struct remote_domain_managed_save_get_xml_desc_ret ret;
	return shell_domain(sh, cmd, NULL, &dom) &&
	       GET(sh, domain_managed_save_get_xml_desc, &ret, dom,
		   opt_bool(cmd, "security-info") ? XML_SECURE : 0) &&
	       shell_show_xml(sh, cmd, ret.xml);
}

bool cmd_managedsave_define(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	g_autofree char *xml = NULL;
	if (!opt_exclusive(sh, cmd, "running", "paused") || !opt_xml(sh, cmd, &xml) ||
	    !shell_domain(sh, cmd, NULL, &dom))
		return false;
	if (!CALL(sh, domain_managed_save_define_xml, dom, xml, opt_flags(cmd, save_flags)))
		return shell_fail(sh, "Failed to update %s XML configuration", dom.name);
	shell_extra(sh, "Managed save state file of domain '%s' updated.\n", dom.name);
	return true;
}

struct saved {
	struct remote_domain dom;
	char *path;
	uint32_t flags;
};

static const char *fetch_managed(struct shell *sh, void *object)
{
	const struct saved *saved = object;
	struct remote_domain_managed_save_get_xml_desc_ret ret;
	return GET(sh, domain_managed_save_get_xml_desc, &ret, saved->dom, XML_SECURE) ? ret.xml : NULL;
}

static bool define_managed(struct shell *sh, void *object, const char *xml)
{
	const struct saved *saved = object;
	return CALL(sh, domain_managed_save_define_xml, saved->dom, (char *)xml, saved->flags);
}

bool cmd_managedsave_edit(struct shell *sh, const struct cmd *cmd)
{
	struct saved saved = {.flags = opt_flags(cmd, save_flags)};
	const struct edit edit = {fetch_managed, define_managed, &saved};
	bool changed;
	if (!opt_exclusive(sh, cmd, "running", "paused") || !shell_domain(sh, cmd, NULL, &saved.dom) ||
	    !shell_edit(sh, &edit, &changed))
		return false;
	shell_extra(sh, changed ? "Managed save image of Domain '%s' XML configuration edited.\n" :
				  "Managed save image of domain '%s' XML configuration not changed.\n",
		    saved.dom.name);
	return true;
}

/* --- Saved files ------------------------------------------------------------------------------ */

static const char *fetch_image(struct shell *sh, void *object)
{
	const struct saved *saved = object;
	struct remote_domain_save_image_get_xml_desc_ret ret;
	return GET(sh, domain_save_image_get_xml_desc, &ret, saved->path, XML_SECURE) ? ret.xml : NULL;
}

static bool define_image(struct shell *sh, void *object, const char *xml)
{
	const struct saved *saved = object;
	return CALL(sh, domain_save_image_define_xml, saved->path, (char *)xml, saved->flags);
}

bool cmd_save_image_dumpxml(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain_save_image_get_xml_desc_ret ret;
	const char *path;
	if (!opt_string(sh, cmd, "file", &path))
		return false;
	g_autofree char *file = absolute(path);
	return GET(sh, domain_save_image_get_xml_desc, &ret, file,
		   opt_bool(cmd, "security-info") ? XML_SECURE : 0) &&
	       shell_show_xml(sh, cmd, ret.xml);
}

bool cmd_save_image_define(struct shell *sh, const struct cmd *cmd)
{
	const char *path;
	g_autofree char *xml = NULL;
	if (!opt_string(sh, cmd, "file", &path) || !opt_xml(sh, cmd, &xml))
		return false;
	g_autofree char *file = absolute(path);
	if (!CALL(sh, domain_save_image_define_xml, file, xml, opt_flags(cmd, save_flags)))
		return shell_fail(sh, "Failed to update %s", path);
	shell_extra(sh, "State file %s updated.\n", path);
	return true;
}

bool cmd_save_image_edit(struct shell *sh, const struct cmd *cmd)
{
	struct saved saved = {.flags = opt_flags(cmd, save_flags)};
	const struct edit edit = {fetch_image, define_image, &saved};
	const char *path;
	bool changed;
	if (!opt_exclusive(sh, cmd, "running", "paused") || !opt_string(sh, cmd, "file", &path))
		return false;
	g_autofree char *file = absolute(path);
	saved.path = file;
	if (!shell_edit(sh, &edit, &changed))
		return false;
	shell_extra(sh, changed ? "State file %s edited.\n" :
				  "Saved image %s XML configuration not changed.\n", path);
	return true;
}
