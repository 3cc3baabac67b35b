/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "aio/loop.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#define MS INT64_C(1000000)

static struct aio_loop *new_loop(void)
{
	g_autoptr(GError) error = NULL;
	struct aio_loop *loop = aio_loop_new(&error);
	g_assert_no_error(error);
	return loop;
}

static void append(void *opaque)
{
	g_string_append_c(opaque, 'p');
}

struct timer_case {
	GString *log;
	char letter;
	struct aio_timer timer;
};

static void timer_fired(void *opaque)
{
	struct timer_case *c = opaque;
	g_string_append_c(c->log, c->letter);
}

static void test_timers(void)
{
	struct aio_loop *loop = new_loop();
	g_autoptr(GString) log = g_string_new(NULL);
	struct timer_case cases[40];
	int64_t now = aio_now_ns();
	for (int i = 0; i < 40; i++) {
		cases[i].log = log;
		cases[i].letter = 'A' + (i * 7 % 40);
		aio_timer_init(&cases[i].timer, loop, timer_fired, &cases[i]);
		aio_timer_arm(&cases[i].timer, now + cases[i].letter * 10000);
	}
	for (int i = 0; i < 40; i++)
		if ((cases[i].letter - 'A') % 2)
			aio_timer_cancel(&cases[i].timer);
	/* Re-arming moves: A becomes the last. */
	aio_timer_arm(&cases[0].timer, now + 3 * MS);
	while (log->len < 20)
		aio_loop_iterate(loop, 100 * MS);
	g_assert_cmpstr(log->str, ==, "CEGIKMOQSUWY[]_aceg" "A");
	g_assert_cmpint(aio_now_ns() - now, >=, 3 * MS);
	aio_loop_free(loop);
}

static void read_byte(void *opaque, int fd, uint32_t events)
{
	char c;
	g_assert_cmpuint(events & POLLIN, !=, 0);
	g_assert_cmpint(read(fd, &c, 1), ==, 1);
	g_string_append_c(opaque, c);
}

static struct aio_watch *both[2];

static void remove_both(void *opaque, int fd, uint32_t events)
{
	aio_watch_remove(g_steal_pointer(&both[0]));
	aio_watch_remove(g_steal_pointer(&both[1]));
	g_string_append_c(opaque, 'x');
}

static void test_watches(void)
{
	struct aio_loop *loop = new_loop();
	g_autoptr(GString) log = g_string_new(NULL);
	int p[2];
	g_assert_cmpint(pipe(p), ==, 0);
	struct aio_watch *watch = aio_watch_add(loop, p[0], POLLIN, read_byte, log);
	g_assert_cmpint(write(p[1], "ab", 2), ==, 2);
	aio_loop_iterate(loop, 0);
	aio_watch_modify(watch, 0);
	aio_loop_iterate(loop, 0);
	g_assert_cmpstr(log->str, ==, "a");
	aio_watch_modify(watch, POLLIN);
	aio_loop_iterate(loop, 0);
	g_assert_cmpstr(log->str, ==, "ab");
	aio_watch_remove(watch);

	/* Two watches of one descriptor, each of which removes both. */
	both[0] = aio_watch_add(loop, p[1], POLLOUT, remove_both, log);
	both[1] = aio_watch_add(loop, p[1], POLLOUT, remove_both, log);
	aio_loop_iterate(loop, 0);
	aio_loop_iterate(loop, 0);
	g_assert_cmpstr(log->str, ==, "abx");

	/* A regular file is always ready. */
	int fd = open("/proc/self/exe", O_RDONLY);
	g_string_truncate(log, 0);
	watch = aio_watch_add(loop, fd, POLLIN, read_byte, log);
	aio_loop_iterate(loop, -1);
	aio_loop_iterate(loop, -1);
	g_assert_cmpuint(log->len, ==, 2);
	aio_watch_remove(watch);
	aio_loop_iterate(loop, 0);
	g_assert_cmpuint(log->len, ==, 2);
	close(fd);
	close(p[0]);
	close(p[1]);
	aio_loop_free(loop);
}

struct storm {
	struct aio_loop *loop;
	_Atomic unsigned ran;
	struct aio_timer timer;
};

static void storm_count(void *opaque)
{
	struct storm *s = opaque;
	s->ran++;
}

static void *storm_thread(void *opaque)
{
	struct storm *s = opaque;
	for (int i = 0; i < 1000; i++) {
		aio_loop_post(s->loop, storm_count, s);
		aio_timer_arm(&s->timer, aio_now_ns() + i);
		if (i % 100 == 0) {
			unsigned before = s->ran;
			aio_loop_call(s->loop, storm_count, s);
			g_assert_cmpuint(s->ran, >, before);
		}
	}
	return NULL;
}

static void *run_loop(void *opaque)
{
	aio_loop_run(opaque);
	return NULL;
}

static void test_threads(void)
{
	struct storm s = {.loop = new_loop()};
	pthread_t runner, posters[3];
	aio_timer_init(&s.timer, s.loop, storm_count, &s);
	pthread_create(&runner, NULL, run_loop, s.loop);
	for (int i = 0; i < 3; i++)
		pthread_create(&posters[i], NULL, storm_thread, &s);
	for (int i = 0; i < 3; i++)
		pthread_join(posters[i], NULL);
	aio_loop_call(s.loop, storm_count, &s);
	aio_timer_cancel(&s.timer);
	g_assert_cmpuint(s.ran, >=, 3031);
	aio_loop_quit(s.loop);
	pthread_join(runner, NULL);
	aio_loop_free(s.loop);
}

static void iterate_inside(void *opaque)
{
	struct storm *s = opaque;
	aio_loop_post(s->loop, storm_count, s);
	aio_loop_iterate(s->loop, -1);
	g_assert_cmpuint(s->ran, ==, 1);
}

static void test_nesting(void)
{
	struct storm s = {.loop = new_loop()};
	aio_loop_post(s.loop, iterate_inside, &s);
	aio_loop_iterate(s.loop, -1);
	g_assert_cmpuint(s.ran, ==, 1);
	g_autoptr(GString) log = g_string_new(NULL);
	for (int i = 0; i < 100; i++)
		aio_loop_post(s.loop, append, log);
	aio_loop_iterate(s.loop, -1);
	g_assert_cmpuint(log->len, ==, 100);
	aio_loop_free(s.loop);
}

/* Everything in here but `borrowed` is changed by whoever holds the loop, without a lock. */
struct lending {
	struct aio_loop *loop;
	unsigned turns, deferred_runs, events;
	int pipe[2];
	struct aio_watch *watch;
	struct aio_timer timer;
	struct aio_deferred deferred;
	_Atomic unsigned borrowed;
};

static void lending_turn(void *opaque)
{
	((struct lending *)opaque)->turns++;
}

static void lending_deferred(void *opaque)
{
	((struct lending *)opaque)->deferred_runs++;
}

static void lending_event(void *opaque, int fd, uint32_t events)
{
	struct lending *l = opaque;
	char c;
	l->turns++;
	l->events += read(fd, &c, 1) == 1;
}

/* A borrower removes a watch whose event may be on its way, and arms a timer before anything due. */
static void *borrower(void *opaque)
{
	struct lending *l = opaque;
	while (l->borrowed < 500) {
		if (!aio_loop_borrow(l->loop)) {
			g_thread_yield();
			continue;
		}
		g_assert_true(aio_loop_is_current(l->loop));
		l->turns++;
		l->borrowed++;
		aio_watch_remove(l->watch);
		l->watch = aio_watch_add(l->loop, l->pipe[0], POLLIN, lending_event, l);
		g_assert_cmpint(write(l->pipe[1], "x", 1), ==, 1);
		aio_timer_arm(&l->timer, aio_now_ns() + 20000);
		aio_defer(l->loop, &l->deferred);
		aio_defer(l->loop, &l->deferred);
		aio_loop_return(l->loop);
		aio_loop_post(l->loop, lending_turn, l);
	}
	return NULL;
}

static void test_borrowing(void)
{
	struct lending l = {.loop = new_loop()};
	pthread_t runner, borrowers[2];
	l.deferred = (struct aio_deferred){.fn = lending_deferred, .opaque = &l};
	g_assert_cmpint(pipe2(l.pipe, O_NONBLOCK), ==, 0);
	l.watch = aio_watch_add(l.loop, l.pipe[0], POLLIN, lending_event, &l);
	aio_timer_init(&l.timer, l.loop, lending_turn, &l);
	/* Nobody gets a loop whose thread is at work, or that does not run. */
	g_assert_false(aio_loop_borrow(l.loop));
	pthread_create(&runner, NULL, run_loop, l.loop);
	for (int i = 0; i < 2; i++)
		pthread_create(&borrowers[i], NULL, borrower, &l);
	for (int i = 0; i < 2; i++)
		pthread_join(borrowers[i], NULL);
	/* A timer that a borrower armed wakes the loop's own thread. */
	while (!aio_loop_borrow(l.loop))
		g_thread_yield();
	unsigned before = l.turns;
	aio_timer_arm(&l.timer, aio_now_ns() + MS);
	aio_loop_return(l.loop);
	for (bool fired = false; !fired; g_thread_yield()) {
		if (!aio_loop_borrow(l.loop))
			continue;
		fired = l.turns > before;
		aio_loop_return(l.loop);
	}
	aio_loop_quit(l.loop);
	pthread_join(runner, NULL);
	g_assert_cmpuint(l.deferred_runs, ==, l.borrowed);
	aio_loop_iterate(l.loop, 0);
	while (read(l.pipe[0], &(char){0}, 1) == 1)
		l.events++;
	g_assert_cmpuint(l.events, ==, l.borrowed);
	aio_watch_remove(l.watch);
	close(l.pipe[0]);
	close(l.pipe[1]);
	aio_loop_free(l.loop);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/aio/timers", test_timers);
	g_test_add_func("/aio/watches", test_watches);
	g_test_add_func("/aio/threads", test_threads);
	g_test_add_func("/aio/nesting", test_nesting);
	g_test_add_func("/aio/borrowing", test_borrowing);
	return g_test_run();
}
