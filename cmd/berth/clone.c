/* SPDX-License-Identifier: GPL-2.0-or-later */
/* berth clone: another domain like one that is shut off, with copies of its disks. */
#include "berth.h"

#include "entries.h"
#include "install/install.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { XML_SECURE = 1, XML_INACTIVE = 2, STATE_SHUTOFF = 5 };

struct clone {
	char *connect, *original, *name;
	char **files;
	gboolean automatic, print_xml, keep_macs;
};

static void fill_entries(struct clone *c, GOptionEntry *out)
{
	const GOptionEntry entries[] = {
		{"connect", 'c', 0, G_OPTION_ARG_STRING, &c->connect, "the daemon's URI", "URI"},
		{"original", 'o', 0, G_OPTION_ARG_STRING, &c->original, "the domain to clone", "NAME"},
		{"name", 'n', 0, G_OPTION_ARG_STRING, &c->name, "the new domain's name (default: NAME-clone)",
		 "NAME"},
		{"file", 'f', 0, G_OPTION_ARG_STRING_ARRAY, &c->files,
		 "where the copy of a disk goes, in the order of the disks; may be repeated", "PATH"},
		{"auto-clone", 0, 0, G_OPTION_ARG_NONE, &c->automatic, "choose the name and the files", NULL},
		{"preserve-macs", 0, 0, G_OPTION_ARG_NONE, &c->keep_macs,
		 "keep the hardware addresses (the two must not meet on one network)", NULL},
		{"print-xml", 0, 0, G_OPTION_ARG_NONE, &c->print_xml, "print the XML, make nothing", NULL},
		{NULL},
	};
	memcpy(out, entries, sizeof(entries));
}

enum { MOST_ENTRIES = 10 };

static char *options_help(void)
{
	struct clone unused = {NULL};
	GOptionEntry entries[MOST_ENTRIES];
	fill_entries(&unused, entries);
	return entries_help(entries);
}

/* --- Disks ------------------------------------------------------------------------------------ */

/* As virt-clone: for web2 "/x/web.qcow2" of the domain web is "/x/web2.qcow2", others "/x/data-clone.raw". */
static char *new_path(const char *path, const char *original, const char *name)
{
	g_autofree char *folder = g_path_get_dirname(path);
	g_autofree char *file = g_path_get_basename(path);
	const char *dot = strrchr(file, '.');
	g_autofree char *stem = dot ? g_strndup(file, dot - file) : g_strdup(file);
	g_autofree char *made = !strcmp(stem, original) ? g_strdup_printf("%s%s", name, dot ? dot : "") :
							  g_strdup_printf("%s-clone%s", stem, dot ? dot : "");
	return g_build_filename(folder, made, NULL);
}

static bool find_volume(struct shell *sh, char *path, struct remote_storage_vol *vol)
{
	struct remote_storage_vol_lookup_by_path_ret ret;
	struct remote_storage_pool pool;
	g_autofree char *folder = g_path_get_dirname(path);
	bool found = GET(sh, storage_vol_lookup_by_path, &ret, path);
	/* No pool has its folder yet. */
	if (!found && install_folder_pool(sh, folder, &pool))
		found = CALL(sh, storage_pool_refresh, pool, 0) &&
			GET(sh, storage_vol_lookup_by_path, &ret, path);
	if (found)
		*vol = ret.vol;
	return found || shell_fail(sh, "the disk '%s' is in no storage pool", path);
}

static bool copy_volume(struct shell *sh, char *from, const char *to)
{
	struct remote_storage_vol vol;
	struct remote_storage_vol_get_xml_desc_ret xml;
	struct remote_storage_vol_create_xml_from_ret ret;
	struct remote_storage_pool pool;
	g_autofree char *folder = g_path_get_dirname(to);
	g_autofree char *name = g_path_get_basename(to);
	if (!find_volume(sh, from, &vol) || !install_folder_pool(sh, folder, &pool) ||
	    !GET(sh, storage_vol_get_xml_desc, &xml, vol, 0))
		return false;
	g_autoptr(xmlDoc) doc = xml_parse(xml.xml, "volume", NULL);
	g_autofree char *format = doc ? xpath_text(doc, NULL, "/volume/target/format/@type") : NULL;
	g_autofree char *capacity = doc ? xpath_text(doc, NULL, "/volume/capacity") : NULL;
	struct xml_writer w = xml_writer_new();
	xml_open(&w, "volume", NULL);
	xml_leaf(&w, "name", name, NULL);
	xml_leaf(&w, "capacity", capacity ? capacity : "0", NULL);
	xml_open(&w, "target", NULL);
	xml_empty(&w, "format", "type", format ? format : "raw", NULL);
	xml_close(&w, "target");
	xml_close(&w, "volume");
	g_autofree char *text = xml_writer_take(&w);
	if (!GET(sh, storage_vol_create_xml_from, &ret, pool, text, vol, 0))
		return shell_fail(sh, "cannot copy '%s' to '%s'", from, to);
	shell_extra(sh, "Copied '%s' to '%s'\n", from, to);
	return true;
}

/* Disks that are only read, or shared, are the same in both. */
static bool is_copied(xmlNode *disk)
{
	return !xml_child(disk, "readonly") && !xml_child(disk, "shareable") && xml_child(disk, "source");
}

static bool clone_disks(struct shell *sh, const struct clone *clone, xmlDoc *doc)
{
	g_autoptr(GPtrArray) disks = xpath_nodes(doc, NULL, "/domain/devices/disk");
	char **file = clone->files;
	for (unsigned i = 0; i < disks->len; i++) {
		xmlNode *source = is_copied(disks->pdata[i]) ? xml_child(disks->pdata[i], "source") : NULL;
		g_autofree char *path = source ? xml_attribute(source, "file") : NULL;
		if (source && !path)
			return shell_fail(sh, "the disk %u is no file: it cannot be cloned", i + 1);
		if (!path)
			continue;
		if (!clone->automatic && (!file || !*file))
			return shell_fail(sh, "the copy of '%s' needs a --file (or --auto-clone)", path);
		g_autofree char *to = file && *file ? g_canonicalize_filename(*file++, NULL) :
						      new_path(path, clone->original, clone->name);
		if (!clone->print_xml && !copy_volume(sh, path, to))
			return false;
		xmlSetProp(source, (const xmlChar *)"file", (const xmlChar *)to);
	}
	return true;
}

/* --- The definition --------------------------------------------------------------------------- */

static void drop(xmlDoc *doc, const char *path)
{
	g_autoptr(GPtrArray) nodes = xpath_nodes(doc, NULL, path);
	for (unsigned i = 0; i < nodes->len; i++) {
		xmlUnlinkNode(nodes->pdata[i]);
		xmlFreeNode(nodes->pdata[i]);
	}
}

/* What must differ is left out, so that the daemon chooses it anew. */
static void make_different(const struct clone *clone, xmlDoc *doc)
{
	drop(doc, "/domain/uuid");
	drop(doc, "/domain/os/nvram");
	drop(doc, "/domain/devices/interface/target");
	if (!clone->keep_macs)
		drop(doc, "/domain/devices/interface/mac");
	xmlNode *name = xml_child(xmlDocGetRootElement(doc), "name");
	xmlNodeSetContent(name, NULL);
	xmlNodeAddContent(name, (const xmlChar *)clone->name);
}

static bool run_with(struct shell *sh, struct clone *clone)
{
	struct remote_domain dom;
	struct remote_domain_lookup_by_name_ret existing;
	struct remote_domain_define_xml_ret ret;
	if (!shell_connect(sh, clone->connect, false, true) ||
	    !shell_domain_by(sh, clone->original, BY_ANY, &dom))
		return false;
	if (shell_domain_state(sh, dom, NULL) != STATE_SHUTOFF)
		return shell_fail(sh, "Domain with devices to clone must be paused or shutoff.");
	if (!clone->name)
		clone->name = g_strdup_printf("%s-clone", dom.name);
	if (GET(sh, domain_lookup_by_name, &existing, clone->name))
		return shell_fail(sh, "Guest name '%s' is already in use.", clone->name);
	shell_forget_error(sh);
	g_autoptr(xmlDoc) doc = shell_domain_doc(sh, dom, XML_INACTIVE | XML_SECURE);
	if (!doc || !clone_disks(sh, clone, doc))
		return false;
	make_different(clone, doc);
	struct xml_writer w = xml_writer_new();
	xml_tree(&w, xmlDocGetRootElement(doc));
	g_autofree char *xml = xml_writer_take(&w);
	if (clone->print_xml) {
		shell_print("%s", xml);
		return true;
	}
	if (!GET(sh, domain_define_xml, &ret, xml))
		return shell_fail(sh, "Failed to define domain '%s'", clone->name);
	shell_extra(sh, "Clone '%s' created successfully.\n", clone->name);
	return true;
}

static int run(int argc, char **argv)
{
	struct shell sh = {.escape = "^]"};
	struct clone clone = {NULL};
	GOptionEntry entries[MOST_ENTRIES];
	fill_entries(&clone, entries);
	bool good = entries_parse(&sh, entries, argc, argv, "clone");
	if (good && !clone.original)
		good = shell_fail(&sh, "--original is required");
	else if (good && !clone.name && !clone.automatic)
		good = shell_fail(&sh, "--name is required (or --auto-clone)");
	good = good && run_with(&sh, &clone);
	shell_report(&sh);
	client_close(sh.client);
	g_free(sh.uri);
	g_free(clone.connect);
	g_free(clone.original);
	g_free(clone.name);
	g_strfreev(clone.files);
	return good ? EXIT_SUCCESS : EXIT_FAILURE;
}

const struct subcommand clone_command = {
	.name = "clone",
	.usage = "--original NAME (--name NAME --file PATH... | --auto-clone) [options]",
	.summary = "Make another domain like one that is shut off, with copies of its disks",
	.text = "\nDisks that are only read or shared are not copied. The copy gets a UUID and hardware\n"
		"addresses of its own.\n",
	.options = options_help,
	.run = run,
};
