/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Run a flat payload on the software engine: runner 16|32|64 FILE [-v]. The file is loaded at
 * 0x10000 (16-bit: 0x7c00) and entered there. It ends by writing to port 0xf4; that is the exit
 * status, 0 for success. Text written to port 0xe9 is printed. -v tells the time and the engine's
 * counts.
 */
#include "soft_guest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static void enter(struct soft_guest *g, int mode)
{
	if (mode == 64)
		soft_guest_enter64(g, 0x10000, false);
	else if (mode == 32)
		soft_guest_enter32(g, 0x10000);
	else
		soft_guest_enter16(g, 0x7c00);
}

int main(int argc, char **argv)
{
	g_autofree char *bytes = NULL;
	g_autoptr(GError) error = NULL;
	gsize length;
	if (argc < 3) {
		fprintf(stderr, "usage: %s 16|32|64 FILE [-v]\n", argv[0]);
		return 2;
	}
	if (!g_file_get_contents(argv[2], &bytes, &length, &error)) {
		fprintf(stderr, "%s\n", error->message);
		return 2;
	}
	int mode = atoi(argv[1]);
	struct soft_guest *g = soft_guest_new(64 << 20, 1);
	enter(g, mode);
	soft_guest_write(g, mode == 16 ? 0x7c00 : 0x10000, bytes, length);
	double start = now();
	int code = soft_guest_run(g);
	double seconds = now() - start;
	if (g->console->len)
		printf("%s", g->console->str);
	if (code < 0)
		fprintf(stderr, "the guest died near rip 0x%" G_GINT64_MODIFIER "x\n", g->c->s.rip);
	if (argc > 3 && !strcmp(argv[3], "-v")) {
		g_autofree char *text = soft_engine.describe(g->vm);
		printf("%.3f s\n%s", seconds, text);
	}
	soft_guest_free(g);
	return code < 0 ? 255 : code;
}
