/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files, XML and the editor. */
#include "shell.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <libxml/xpath.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_FILE (10U << 20)

char *shell_read_file(struct shell *sh, const char *path)
{
	g_autoptr(GString) text = g_string_new(NULL);
	FILE *file = fopen(path, "re");
	char piece[65536];
	size_t count;
	int errnum = file ? 0 : errno;
	if (errnum) {
		shell_set_error(sh, CLIENT_SYSTEM, "Failed to open file '%s': %s", path,
				g_strerror(errnum));
		return NULL;
	}
	while (text->len <= MAX_FILE && (count = fread(piece, 1, sizeof(piece), file)) > 0)
		g_string_append_len(text, piece, count);
	errnum = ferror(file) ? errno : text->len > MAX_FILE ? EOVERFLOW : 0;
	fclose(file);
	if (errnum) {
		shell_set_error(sh, CLIENT_SYSTEM, "Failed to read file '%s': %s", path,
				g_strerror(errnum));
		return NULL;
	}
	return g_string_free(g_steal_pointer(&text), FALSE);
}

char *shell_option_file(struct shell *sh, const struct cmd *cmd, const char *option)
{
	const char *path;
	return opt_string(sh, cmd, option, &path) && path ? shell_read_file(sh, path) : NULL;
}

/* --- XML -------------------------------------------------------------------------------------- */

char *shell_domain_xml(struct shell *sh, struct remote_domain dom, uint32_t flags)
{
	struct remote_domain_get_xml_desc_ret ret;
	return GET(sh, domain_get_xml_desc, &ret, dom, flags) ? ret.xml : NULL;
}

xmlDoc *shell_domain_doc(struct shell *sh, struct remote_domain dom, uint32_t flags)
{
	char *xml = shell_domain_xml(sh, dom, flags);
	g_autoptr(GError) error = NULL;
	xmlDoc *doc = xml ? xml_parse_as_written(xml, "domain_definition", &error) : NULL;
	if (error)
		shell_set_error(sh, CLIENT_INTERNAL, "%s", error->message);
	return doc;
}

static xmlXPathObject *evaluate(xmlDoc *doc, xmlNode *at, const char *path)
{
	xmlXPathContext *context = xmlXPathNewContext(doc);
	if (at)
		context->node = at;
	xmlXPathObject *result = xmlXPathEval((const xmlChar *)path, context);
	xmlXPathFreeContext(context);
	return result;
}

char *xpath_text(xmlDoc *doc, xmlNode *at, const char *path)
{
	g_autofree char *string = g_strdup_printf("string(%s)", path);
	xmlXPathObject *result = evaluate(doc, at, string);
	char *text = NULL;
	if (result && result->type == XPATH_STRING && result->stringval && *result->stringval)
		text = g_strdup((const char *)result->stringval);
	xmlXPathFreeObject(result);
	return text;
}

GPtrArray *xpath_nodes(xmlDoc *doc, xmlNode *at, const char *path)
{
	xmlXPathObject *result = evaluate(doc, at, path);
	GPtrArray *nodes = result ? g_ptr_array_new() : NULL;
	for (int i = 0; result && result->nodesetval && i < result->nodesetval->nodeNr; i++)
		g_ptr_array_add(nodes, result->nodesetval->nodeTab[i]);
	xmlXPathFreeObject(result);
	return nodes;
}

char *xml_node_text(xmlDoc *doc, xmlNode *node)
{
	xmlBuffer *buffer = xmlBufferCreate();
	xmlNodeDump(buffer, doc, node, 0, 1);
	char *text = g_strdup((const char *)xmlBufferContent(buffer));
	xmlBufferFree(buffer);
	return text;
}

static void show_wrapped(xmlDoc *doc, const GPtrArray *nodes)
{
	xmlDoc *wrapped = xmlNewDoc((const xmlChar *)"1.0");
	xmlNode *root = xmlNewNode(NULL, (const xmlChar *)"nodes");
	xmlDocSetRootElement(wrapped, root);
	for (unsigned i = 0; i < nodes->len; i++)
		xmlAddChild(root, xmlDocCopyNode(nodes->pdata[i], wrapped, 1));
	g_autofree char *text = xml_node_text(wrapped, root);
	shell_print("%s\n", text);
	xmlFreeDoc(wrapped);
}

bool shell_show_xml(struct shell *sh, const struct cmd *cmd, const char *xml)
{
	const char *path = opt_text(cmd, "xpath");
	if (!path) {
		shell_print("%s", xml);
		return true;
	}
	/* Without the blanks between elements, each match is indented anew. */
	xmlDoc *doc = xmlReadMemory(xml, strlen(xml), NULL, NULL,
				    XML_PARSE_NONET | XML_PARSE_NOBLANKS | XML_PARSE_NOERROR |
					    XML_PARSE_NOWARNING);
	g_autoptr(GPtrArray) nodes = doc ? xpath_nodes(doc, NULL, path) : NULL;
	if (!nodes)
		shell_set_error(sh, CLIENT_INTERNAL, "internal error: Incorrect xpath '%s'", path);
	else if (opt_bool(cmd, "wrap"))
		show_wrapped(doc, nodes);
	for (unsigned i = 0; nodes && !opt_bool(cmd, "wrap") && i < nodes->len; i++) {
		g_autofree char *text = xml_node_text(doc, nodes->pdata[i]);
		shell_print("%s\n", text);
	}
	xmlFreeDoc(doc);
	return nodes != NULL;
}

/* --- Editing ---------------------------------------------------------------------------------- */

static char *write_temporary(struct shell *sh, const char *text)
{
	const char *folder = getenv("TMPDIR");
	g_autofree char *path = g_strdup_printf("%s/berthXXXXXX.xml", folder ? folder : "/tmp");
	auto_fd fd = g_mkstemp_full(path, O_RDWR | O_CLOEXEC, 0600);
	size_t length = strlen(text);
	if (fd >= 0 && write(fd, text, length) == (ssize_t)length)
		return g_steal_pointer(&path);
	shell_fail(sh, "cannot write the temporary file '%s': %s", path, g_strerror(errno));
	if (fd >= 0)
		unlink(path);
	return NULL;
}

/* VISUAL and EDITOR may hold options: a shell takes them apart, as everywhere. */
static bool run_editor(struct shell *sh, const char *path)
{
	const char *editor = getenv("VISUAL");
	if (!editor)
		editor = getenv("EDITOR");
	g_autofree char *quoted = g_shell_quote(path);
	g_autofree char *line = g_strdup_printf("%s %s", editor ? editor : "sensible-editor", quoted);
	fflush(stdout);
	int status = system(line);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return true;
	return shell_fail(sh, "the editor failed: %s", line);
}

/* Returns y, n or f. */
static int ask_again(struct shell *sh, const char *why)
{
	if (!isatty(STDIN_FILENO)) {
		shell_fail(sh, "%s", why);
		return 'n';
	}
	shell_report(sh);
	char line[64];
	for (;;) {
		shell_print("%s Try again? [y,n,f,?]: ", why);
		if (!fgets(line, sizeof(line), stdin))
			return 'n';
		int answer = g_ascii_tolower(line[0]);
		if (answer == 'y' || answer == 'n' || answer == 'f')
			return answer;
		shell_print("y - yes, start editor again\nn - no, throw away my changes\n"
			    "f - force, try to redefine again\n? - print this help\n");
	}
}

/* One look at whether it is still the same, and the change. NULL: done; else what is wrong. */
static const char *try_define(struct shell *sh, const struct edit *edit, char **before,
			      const char *edited)
{
	const char *now = edit->fetch(sh, edit->object);
	if (!now)
		return "Failed.";
	if (strcmp(now, *before) != 0) {
		g_free(*before);
		*before = g_strdup(now);
		return "The XML configuration was changed by another user.";
	}
	return edit->define(sh, edit->object, edited) ? NULL : "Failed.";
}

static bool edit_loop(struct shell *sh, const struct edit *edit, const char *path, bool *changed)
{
	const char *first = edit->fetch(sh, edit->object);
	g_autofree char *before = g_strdup(first);
	int answer = 'y';
	g_autofree char *edited = NULL;
	for (;;) {
		if (answer == 'y') {
			g_free(edited);
			edited = run_editor(sh, path) ? shell_read_file(sh, path) : NULL;
		}
		if (!edited)
			return false;
		*changed = strcmp(before, edited) != 0;
		const char *why = *changed ? try_define(sh, edit, &before, edited) : NULL;
		if (!why)
			return true;
		answer = ask_again(sh, why);
		if (answer == 'n')
			return false;
	}
}

bool shell_edit(struct shell *sh, const struct edit *edit, bool *changed)
{
	const char *xml = edit->fetch(sh, edit->object);
	g_autofree char *path = xml ? write_temporary(sh, xml) : NULL;
	bool good = path && edit_loop(sh, edit, path, changed);
	if (path)
		unlink(path);
	return good;
}

char *shell_edit_text(struct shell *sh, const char *text)
{
	g_autofree char *path = write_temporary(sh, text);
	char *edited = path && run_editor(sh, path) ? shell_read_file(sh, path) : NULL;
	if (path)
		unlink(path);
	return edited;
}
