/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The engine benchmark's program: bench [ROW...]
 *
 * One static binary that runs natively, in Berth and in QEMU, as a guest's process. Each row is
 * repeated until a batch takes BATCH_NS, then batches go on for ROW_NS in all; the best one counts,
 * since whatever else the machine does can only add. Prints for each row
 *
 *	row NAME GROUP NANOSECONDS CHECK
 *
 * where CHECK is what one run computed: it must be the same everywhere. A row that this CPU cannot
 * run is not printed.
 *
 *	bench --time COMMAND [ARGUMENT]...    run it, silently; prints `time NANOSECONDS STATUS`
 *	bench --list                          the rows' names
 *	bench --exit                          end at once: the row "forkexec" executes that
 */
#include "bench.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BATCH_NS = 30000000, ROW_NS = 200000000 };

/* The system's first: a fork costs what the process has touched. */
static const struct bench_row *const lists[] = {
	bench_system, bench_integer, bench_calls, bench_float, bench_string,
};

static int64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static int64_t time_batch(const struct bench_row *row, uint64_t times)
{
	int64_t start = now();
	row->run(times);
	return now() - start;
}

static void measure(const struct bench_row *row)
{
	uint64_t check = row->run(1), times = 1;
	int64_t taken, spent = 0;
	double best = 1e18;
	while ((taken = time_batch(row, times)) < BATCH_NS)
		times = taken > BATCH_NS / 16 ? times * (BATCH_NS * 1.1 / taken) + 1 : times * 8;
	while (spent < ROW_NS) {
		double each = (double)taken / times;
		if (each < best)
			best = each;
		spent += taken;
		taken = time_batch(row, times);
	}
	printf("row %s %s %.3f %016" PRIx64 "\n", row->name, row->group, best / row->ops, check);
	fflush(stdout);
}

static int time_command(char **command)
{
	int status = 0;
	int64_t start = now();
	pid_t child = fork();
	if (!child) {
		int null = open("/dev/null", O_WRONLY);
		dup2(null, STDOUT_FILENO);
		execvp(command[0], command);
		_exit(127);
	}
	waitpid(child, &status, 0);
	printf("time %" PRId64 " %d\n", now() - start, status);
	return 0;
}

static int list_rows(void)
{
	for (unsigned i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		for (const struct bench_row *row = lists[i]; row->name; row++)
			puts(row->name);
	}
	return 0;
}

static bool wanted(const struct bench_row *row, char **names, int count)
{
	for (int i = 0; i < count; i++) {
		if (!strcmp(names[i], row->name))
			return true;
	}
	return !count;
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "--exit"))
		return 0;
	if (argc == 2 && !strcmp(argv[1], "--list"))
		return list_rows();
	if (argc > 2 && !strcmp(argv[1], "--time"))
		return time_command(argv + 2);
	for (unsigned i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		for (const struct bench_row *row = lists[i]; row->name; row++) {
			if (wanted(row, argv + 1, argc - 1) && (!row->usable || row->usable()))
				measure(row);
		}
	}
	return 0;
}
