/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The text of a VM's AppArmor profile, which names files that somebody else has named: apparmor.d(5). */
#include "daemon/domain/apparmor.h"

#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

static void quoted(void)
{
	static const struct {
		const char *path, *text;
	} cases[] = {
		{"/a/b.img", "\"/a/b.img\""},
		{"/a b/#c", "\"/a b/\\043c\""},
		{"/*?[]{},^", "\"/\\052\\077\\133\\135\\173\\175\\054\\136\""},
		{"/\"\\@\n", "\"/\\042\\134\\100\\012\""},
		{"/\xc3\xa4\x7f", "\"/\xc3\xa4\\177\""},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *text = apparmor_quote(cases[i].path);
		g_assert_cmpstr(text, ==, cases[i].text);
	}
}

static char *text_of(const char *top, json_t *files)
{
	g_autofree char *folder = g_build_filename(top, "run", NULL), *log = g_build_filename(top, "log", NULL);
	const struct apparmor_profile profile = {.name = "libvirt-a", .program = "/bin/sh", .folder = folder,
						 .logs = log, .files = files};
	char *text = apparmor_profile_text(&profile);
	json_decref(files);
	return text;
}

static json_t *file(const char *path, const char *allow, bool tree)
{
	return json_pack("{s:s, s:s, s:b}", "path", path, "allow", allow, "tree", (int)tree);
}

/* AppArmor asks for where a path leads to, also if the file is not there yet. */
static void links(void)
{
	g_autofree char *made = g_dir_make_tmp("apparmor-XXXXXX", NULL), *top = realpath(made, NULL);
	g_autofree char *real = g_build_filename(top, "real", NULL), *link = g_build_filename(top, "link", NULL);
	g_assert_cmpint(g_mkdir(real, 0700), ==, 0);
	g_assert_cmpint(symlink(real, link), ==, 0);
	g_autofree char *image = g_build_filename(link, "new.img", NULL);
	g_autofree char *text = text_of(top, json_pack("[o, o]", file(image, "rwk", false), file(link, "r", true)));
	const char *const rules[] = {"real/new.img\" rwk,", "real/\" r,", "real/**\" r,", "run/\" r,",
				     "run/**\" rwk,", "log.*\" w,"};
	for (unsigned i = 0; i < G_N_ELEMENTS(rules); i++) {
		g_autofree char *rule = g_strdup_printf("\t\"%s/%s\n", top, rules[i]);
		if (!strstr(text, rule))
			g_error("%s is missing in\n%s", rule, text);
	}
	g_assert_null(strstr(text, "/link"));
	g_unlink(link);
	g_rmdir(real);
	g_rmdir(made);
}

/* What apparmor_parser makes of it, which needs no kernel for that. */
static void compiled(void)
{
	static const char *const names[] = {"/x/ordinary", "/x/with space", "/x/a\"/** rwk,\n/y/** rwk,",
					    "/x/[a-z]*{b,c}", "/x/\\", "/x/@{HOME}", "/x/\xff\xfe"};
	g_autofree char *parser = g_find_program_in_path("apparmor_parser");
	if (!parser && access("/usr/sbin/apparmor_parser", X_OK) == 0)
		parser = g_strdup("/usr/sbin/apparmor_parser");
	if (!parser) {
		g_test_skip("apparmor_parser is not installed");
		return;
	}
	json_t *files = json_array();
	for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
		/* Like the daemon's record, which holds valid UTF-8 only. */
		if (g_utf8_validate(names[i], -1, NULL))
			json_array_append_new(files, file(names[i], "rwk", false));
	}
	g_autofree char *text = text_of("/x", files), *path = NULL, *said = NULL, *problems = NULL;
	g_autoptr(GError) error = NULL;
	int fd = g_file_open_tmp("apparmor-XXXXXX", &path, &error), status;
	g_assert_no_error(error);
	close(fd);
	g_assert_true(g_file_set_contents(path, text, -1, NULL));
	const char *const args[] = {parser, "--skip-kernel-load", "--skip-cache", "--debug", path, NULL};
	g_assert_true(g_spawn_sync(NULL, (char **)args, NULL, G_SPAWN_DEFAULT, NULL, NULL, &said, &problems, &status,
				   &error));
	g_unlink(path);
	if (status)
		g_error("%s\n%s\n%s", problems, said, text);
	/* It lists each rule with the pattern that it has understood; one more would be another line. */
	const char *const patterns[] = {"(/x/ordinary)", "(/x/with space)", "(/x/\\[a-z\\]\\*\\{b\\,c\\})", "(/x/\\\\)",
					"(/x/@\\{HOME\\})", "(/x/a\"/\\*\\* rwk\\,\n/y/\\*\\* rwk\\,)"};
	for (unsigned i = 0; i < G_N_ELEMENTS(patterns); i++) {
		if (!strstr(said, patterns[i]))
			g_error("%s is missing in\n%s", patterns[i], said);
	}
	g_assert_null(strstr(said, "(/y/"));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/apparmor/quoted", quoted);
	g_test_add_func("/apparmor/links", links);
	g_test_add_func("/apparmor/compiled", compiled);
	return g_test_run();
}
