/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fake_engine.h"

#include "aio/loop.h"

#include <unistd.h>

struct fixture {
	struct aio_loop *loop;
	struct vm *vm;
	unsigned requested[VM_REQUEST_COUNT], was_reset, devices_reset;
	int code;
	bool devices_running;
};

static void requested(void *opaque, enum vm_request request, int code)
{
	struct fixture *f = opaque;
	f->requested[request]++;
	f->code = code;
}

static void was_reset(void *opaque, bool by_guest)
{
	struct fixture *f = opaque;
	f->was_reset++;
}

static void reset_devices(void *opaque)
{
	struct fixture *f = opaque;
	g_assert_cmpuint(fake_of(f->vm)->in_guest, ==, 0);
	f->devices_reset++;
}

static void run_devices(void *opaque, bool running)
{
	struct fixture *f = opaque;
	g_assert_cmpuint(fake_of(f->vm)->in_guest, ==, 0);
	f->devices_running = running;
}

static void setup(struct fixture *f, unsigned vcpus, bool no_reboot)
{
	g_autoptr(GError) error = NULL;
	struct vm_config config = {.engine = &fake_engine, .vcpus = vcpus,
				   .pause_on_reset_request = no_reboot};
	*f = (struct fixture){.loop = aio_loop_new(&error)};
	g_assert_no_error(error);
	f->vm = vm_new(&config, f->loop, &error);
	g_assert_no_error(error);
	f->vm->events = (struct vm_events){.requested = requested, .was_reset = was_reset, .opaque = f};
	f->vm->reset_devices = reset_devices;
	f->vm->run_devices = run_devices;
	f->vm->reset_opaque = f;
	g_assert_true(vm_create_vcpus(f->vm, &error));
}

static void teardown(struct fixture *f)
{
	vm_stop_vcpus(f->vm);
	vm_free(f->vm);
	aio_loop_free(f->loop);
}

static enum vcpu_exit step_on(struct vcpu *vcpu, void *opaque)
{
	return FAKE_STEP_ON;
}

static void count_call(struct vcpu *vcpu, void *opaque)
{
	g_assert_true(!vcpu->thread_started || pthread_equal(pthread_self(), vcpu->thread));
	++*(unsigned *)opaque;
}

static void test_pause_storm(void)
{
	struct fixture f;
	setup(&f, 3, false);
	struct fake_vm *fake = fake_of(f.vm);
	fake->step = step_on;
	unsigned calls = 0;
	vcpu_call(&f.vm->vcpus[0], count_call, &calls);
	for (int i = 0; i < 100; i++) {
		vm_resume(f.vm);
		g_assert_true(f.devices_running && fake->running);
		if (i % 3 == 0)
			usleep(100);
		vcpu_call(&f.vm->vcpus[i % 3], count_call, &calls);
		if (i % 7 == 0)
			vm_reset(f.vm, false);
		vm_pause(f.vm, VM_STATE_PAUSED);
		g_assert_cmpuint(fake->in_guest, ==, 0);
		g_assert_false(f.devices_running || fake->running);
		vcpu_call(&f.vm->vcpus[i % 3], count_call, &calls);
	}
	g_assert_cmpuint(calls, ==, 201);
	g_assert_cmpuint(f.was_reset, ==, 15);
	g_assert_cmpuint(fake->resets, ==, 3 + 3 * 15);
	teardown(&f);
}

static void *quiescer(void *opaque)
{
	struct fixture *f = opaque;
	for (int i = 0; i < 200; i++) {
		vm_quiesce(f->vm);
		g_assert_cmpuint(fake_of(f->vm)->in_guest, ==, 0);
		vm_unquiesce(f->vm);
	}
	return NULL;
}

static void test_quiesce_threads(void)
{
	struct fixture f;
	pthread_t threads[2];
	setup(&f, 2, false);
	fake_of(f.vm)->step = step_on;
	vm_resume(f.vm);
	for (int i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, quiescer, &f);
	for (int i = 0; i < 50; i++) {
		vm_pause(f.vm, VM_STATE_PAUSED);
		vm_resume(f.vm);
	}
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	g_assert_true(vm_is_running(f.vm));
	teardown(&f);
}

static enum vcpu_exit shutdown_once(struct vcpu *vcpu, void *opaque)
{
	_Atomic int *left = opaque;
	return *left > 0 && --*left >= 0 ? VCPU_EXIT_SHUTDOWN : FAKE_STEP_ON;
}

static void test_triple_fault(void)
{
	struct fixture f;
	_Atomic int left = 5;
	setup(&f, 1, false);
	fake_of(f.vm)->step = shutdown_once;
	fake_of(f.vm)->opaque = (void *)&left;
	vm_resume(f.vm);
	while (f.requested[VM_REQUEST_RESET] < 5)
		aio_loop_iterate(f.loop, -1);
	g_assert_cmpuint(f.was_reset, ==, 5);
	g_assert_true(vm_is_running(f.vm));
	teardown(&f);

	left = 1;
	setup(&f, 1, true);
	fake_of(f.vm)->step = shutdown_once;
	fake_of(f.vm)->opaque = (void *)&left;
	vm_resume(f.vm);
	while (!f.requested[VM_REQUEST_RESET])
		aio_loop_iterate(f.loop, -1);
	g_assert_cmpuint(f.was_reset, ==, 0);
	g_assert_cmpint(f.vm->state, ==, VM_STATE_SHUTDOWN);
	teardown(&f);
}

/* A guest that powers off does not execute another step, whatever the main thread does meanwhile. */
static enum vcpu_exit power_off(struct vcpu *vcpu, void *opaque)
{
	_Atomic int *steps = opaque;
	vm_request(vcpu->vm, VM_REQUEST_SHUTDOWN, 40 + ++*steps);
	return FAKE_STEP_ON;
}

static void test_power_off(void)
{
	struct fixture f;
	_Atomic int steps = 0;
	setup(&f, 1, false);
	fake_of(f.vm)->step = power_off;
	fake_of(f.vm)->opaque = (void *)&steps;
	vm_resume(f.vm);
	usleep(2000);
	while (!f.requested[VM_REQUEST_SHUTDOWN])
		aio_loop_iterate(f.loop, -1);
	g_assert_cmpint(f.code, ==, 41);
	g_assert_cmpint(steps, ==, 1);
	g_assert_cmpstr(vm_state_name(f.vm->state), ==, "shutdown");
	teardown(&f);
}

static void test_topology(void)
{
	struct vm_config config = {.engine = &fake_engine, .vcpus = 8, .sockets = 2, .dies = 1,
				   .cores = 3, .threads = 2};
	struct aio_loop *loop = aio_loop_new(NULL);
	struct vm *vm = vm_new(&config, loop, NULL);
	g_assert_true(vm_create_vcpus(vm, NULL));
	static const uint32_t ids[] = {0, 1, 2, 3, 4, 5, 8, 9};
	for (unsigned i = 0; i < 8; i++)
		g_assert_cmpuint(vm->vcpus[i].apic_id, ==, ids[i]);
	vm_free(vm);
	aio_loop_free(loop);
}

struct clock_test {
	struct vm_timer timer;
	unsigned fired;
};

static void clock_fired(void *opaque)
{
	struct clock_test *t = opaque;
	t->fired++;
}

static void spend(struct fixture *f, int64_t ns)
{
	int64_t end = aio_now_ns() + ns;
	while (aio_now_ns() < end)
		aio_loop_iterate(f->loop, end - aio_now_ns());
}

/* The clock and its timers stand still in a pause, and a timer then still needs all its time. */
static void test_clock(void)
{
	const int64_t ms = 1000000;
	struct fixture f;
	struct clock_test t = {0};
	setup(&f, 1, false);
	vm_timer_init(&t.timer, f.vm, clock_fired, &t);
	g_assert_cmpint(vm_clock_ns(f.vm), ==, 0);
	vm_timer_arm(&t.timer, 2 * ms);
	spend(&f, 4 * ms);
	g_assert_cmpuint(t.fired, ==, 0);
	vm_resume(f.vm);
	while (!t.fired)
		aio_loop_iterate(f.loop, 100 * ms);
	g_assert_cmpint(vm_clock_ns(f.vm), >=, 2 * ms);
	vm_timer_arm(&t.timer, vm_clock_ns(f.vm) + 1000 * ms);
	vm_pause(f.vm, VM_STATE_PAUSED);
	int64_t stopped = vm_clock_ns(f.vm);
	spend(&f, 3 * ms);
	g_assert_cmpint(vm_clock_ns(f.vm), ==, stopped);
	int64_t resumed = aio_now_ns();
	vm_resume(f.vm);
	int64_t passed = vm_clock_ns(f.vm) - stopped;
	g_assert_cmpint(passed, <=, aio_now_ns() - resumed);
	g_assert_cmpint(t.timer.host.deadline_ns, >=, resumed);
	vm_timer_cancel(&t.timer);
	g_assert_cmpuint(t.fired, ==, 1);
	vm_timer_destroy(&t.timer);
	teardown(&f);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/vm/pause-storm", test_pause_storm);
	g_test_add_func("/vm/quiesce-threads", test_quiesce_threads);
	g_test_add_func("/vm/triple-fault", test_triple_fault);
	g_test_add_func("/vm/power-off", test_power_off);
	g_test_add_func("/vm/topology", test_topology);
	g_test_add_func("/vm/clock", test_clock);
	return g_test_run();
}
