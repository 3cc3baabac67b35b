/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * diff [--class NAME]... [--way NAME]... [--count N] [--seed N] [--case N] [--max N]
 *      [--show] [--list]
 *
 * Runs N cases of each class natively and in each way of the software engine (or in those named), in
 * batches: while the child runs one batch natively, the engine runs the one before. Prints what differs, at most --max cases per
 * class, and for each class how many did and how fast it went. Output is TAP.
 */
#include "diff.h"

#include <stdlib.h>
#include <string.h>

struct options {
	char **classes, **ways;
	gint64 count, seed, only;
	gint max;
	gboolean list, show;
};

struct run {
	const struct diff_class *class;
	struct diff_native *native;
	struct diff_engine *engines[DIFF_WAYS_MAX];
	unsigned engine_count;
	const struct options *options;
	bool *held_up; /* by this host, for locking the bus: in any class so far */
	uint64_t failures, faults, left_out;
	struct x86_fpu first; /* as the case's first way left it */
};

static bool way_wanted(const struct options *o, const struct diff_way *way)
{
	return !o->ways || g_strv_contains((const char *const *)o->ways, way->name);
}

/* What differs of case c in way n. */
static char *compare(struct run *run, unsigned n, struct diff_case *c)
{
	char *text = diff_compare(c, diff_engine_way(run->engines[n]));
	if (n == 0)
		run->first = c->soft.fpu;
	else if (!text && c->fpu)
		text = diff_compare_pointers(&run->first, &c->soft.fpu);
	return text;
}

static void check_way(struct run *run, unsigned n, struct diff_case *c)
{
	diff_engine_run(run->engines[n], c);
	g_autofree char *text = compare(run, n, c);
	if (!text)
		return;
	if (run->failures++ < (uint64_t)run->options->max) {
		g_autofree char *what = diff_describe(c);
		g_print("# %s# %s differs:\n", g_strdelimit(what, "\r", ' '),
			diff_engine_way(run->engines[n])->name);
		g_print("%s", text);
	}
}

static void check(struct run *run, struct diff_case *c)
{
	if (run->options->show) {
		g_autofree char *what = diff_describe(c);
		g_print("# %s", what);
	}
	*run->held_up |= c->left_out;
	if (c->splits && *run->held_up) {
		run->left_out++;
		return;
	}
	if (c->native.fault != DIFF_NO_FAULT)
		run->faults++;
	for (unsigned n = 0; n < run->engine_count; n++) {
		int64_t start = diff_cpu_time();
		check_way(run, n, c);
		*run->held_up |= diff_held_up(c, start);
	}
}

static bool create_engines(struct run *run, GError **error)
{
	for (const struct diff_way *way = diff_ways; way->name; way++) {
		if (!way_wanted(run->options, way))
			continue;
		struct diff_engine *engine = diff_engine_new(way, error);
		if (!engine)
			return false;
		run->engines[run->engine_count++] = engine;
	}
	return true;
}

/* Make a batch of cases from number `from` on; returns how many. */
static unsigned make_batch(struct run *run, unsigned batch, uint64_t from, uint64_t left)
{
	struct diff_case *cases = diff_native_cases(run->native, batch);
	unsigned count = MIN(left, DIFF_BATCH);
	for (unsigned i = 0; i < count; i++) {
		diff_generate(run->class, run->options->seed, from + i, &cases[i]);
		cases[i].left_out = cases[i].splits && *run->held_up;
	}
	return count;
}

static bool run_class(struct run *run, GError **error)
{
	const struct options *o = run->options;
	uint64_t from = o->only >= 0 ? o->only : 0, left = o->only >= 0 ? 1 : o->count;
	unsigned batch = 0, running = 0;
	while (left || running) {
		unsigned count = make_batch(run, batch, from, left);
		if (running && !diff_native_wait(run->native, error))
			return false;
		if (count && !diff_native_start(run->native, batch, count, error))
			return false;
		/* Meanwhile the engine does what has just come back. */
		batch ^= 1;
		for (unsigned i = 0; i < running; i++)
			check(run, &diff_native_cases(run->native, batch)[i]);
		running = count;
		from += count;
		left -= count;
	}
	return true;
}

static bool run_named(const char *name, const struct options *o, unsigned number, bool *held_up,
		      GError **error)
{
	struct run run = { .class = diff_class_find(name), .options = o, .held_up = held_up };
	if (!run.class) {
		g_print("not ok %u - %s: no such class\n", number, name);
		return false;
	}
	run.native = diff_native_new(error);
	gint64 start = g_get_monotonic_time();
	bool ok = run.native && create_engines(&run, error) && run_class(&run, error);
	double seconds = (g_get_monotonic_time() - start) / 1e6;
	for (unsigned n = 0; n < run.engine_count; n++)
		diff_engine_free(run.engines[n]);
	diff_native_free(run.native);
	if (!ok)
		return false;
	g_print("%s %u - %s: %" G_GINT64_FORMAT " cases, %" G_GUINT64_FORMAT " faults, %"
		G_GUINT64_FORMAT " differ, %.0f k/s\n",
		run.failures ? "not ok" : "ok", number, name, o->count, run.faults, run.failures,
		o->count / seconds / 1000);
	if (run.left_out)
		g_print("# of these %" G_GUINT64_FORMAT " were left out: this host holds up who locks the bus\n",
			run.left_out);
	return !run.failures;
}

int main(int argc, char **argv)
{
	struct options o = { .count = 20000, .seed = -1, .only = -1, .max = 3 };
	const GOptionEntry entries[] = {
		{ "class", 'c', 0, G_OPTION_ARG_STRING_ARRAY, &o.classes, "class to run", "NAME" },
		{ "way", 'w', 0, G_OPTION_ARG_STRING_ARRAY, &o.ways, "way to run in", "NAME" },
		{ "count", 'n', 0, G_OPTION_ARG_INT64, &o.count, "cases per class", "N" },
		{ "seed", 's', 0, G_OPTION_ARG_INT64, &o.seed, "seed (random)", "N" },
		{ "case", 'k', 0, G_OPTION_ARG_INT64, &o.only, "run this case only", "N" },
		{ "max", 'm', 0, G_OPTION_ARG_INT, &o.max, "differences to print per class", "N" },
		{ "show", 0, 0, G_OPTION_ARG_NONE, &o.show, "print every case", NULL },
		{ "list", 'l', 0, G_OPTION_ARG_NONE, &o.list, "list the classes", NULL },
		{ NULL },
	};
	g_autoptr(GError) error = NULL;
	g_autoptr(GOptionContext) context = g_option_context_new(NULL);
	g_option_context_add_main_entries(context, entries, NULL);
	if (!g_option_context_parse(context, &argc, &argv, &error)) {
		g_printerr("diff: %s\n", error->message);
		return 2;
	}
	const char *const *names = diff_class_names();
	if (o.classes)
		names = (const char *const *)o.classes;
	if (o.seed < 0)
		o.seed = g_random_int();
	bool ok = true, held_up = false;
	g_print("1..%u\n# seed %" G_GINT64_FORMAT "\n", g_strv_length((char **)names), o.seed);
	for (unsigned i = 0; names[i]; i++) {
		if (o.list) {
			g_print("ok %u - %s # SKIP listed only\n", i + 1, names[i]);
			continue;
		}
		ok &= run_named(names[i], &o, i + 1, &held_up, &error);
		if (error) {
			g_print("not ok %u - %s: %s\n", i + 1, names[i], error->message);
			g_clear_error(&error);
		}
	}
	return ok ? 0 : 1;
}
