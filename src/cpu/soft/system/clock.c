/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Time: the guest's TSC (the host's plus an offset, which is the same in all vCPUs), the kvmclock
 * pages that tie it to nanoseconds, and the timer that interrupts a running vCPU for its local APIC.
 *
 * kvmclock: Documentation/virt/kvm/x86/msr.rst and include/asm/pvclock-abi.h of Linux.
 */
#include "cpu/soft/engine.h"
#include "cpu/soft/system/system.h"

#include "base/bytes.h"
#include "base/log.h"

#include <cpuid.h>
#include <time.h>
#include <x86intrin.h>

static int64_t clock_ns(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static int64_t now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

static uint64_t multiply_divide(uint64_t a, uint64_t b, uint64_t divisor)
{
	return (unsigned __int128)a * b / divisor;
}

/* --- the TSC ---------------------------------------------------------------------------------- */

/* The host's TSC and the monotonic clock at the same moment: the tightest of a few tries. */
static void sample(uint64_t *tsc, int64_t *ns)
{
	uint64_t best = UINT64_MAX;

	for (unsigned i = 0; i < 8; i++) {
		uint64_t before = __rdtsc();
		int64_t t = now_ns();
		uint64_t after = __rdtsc();
		if (after - before < best) {
			best = after - before;
			*tsc = before + (after - before) / 2;
			*ns = t;
		}
	}
}

/*
 * How long to measure at least. A sample is good to some 20 ns, so the result is good to 15 parts in
 * a million, a twentieth of what NTP corrects.
 */
#define MEASURE_NS 3000000

/* The host says it exactly in leaf 0x15, or its hypervisor does; 0: it must be measured. */
static uint32_t host_says_tsc_khz(void)
{
	uint32_t eax, ebx, ecx, edx;

	if (__get_cpuid_count(0x15, 0, &eax, &ebx, &ecx, &edx) && eax && ebx && ecx)
		return multiply_divide(ecx, ebx, (uint64_t)eax * 1000);
	__cpuid(1, eax, ebx, ecx, edx);
	if (ecx & 1u << 31) {
		__cpuid(0x40000000, eax, ebx, ecx, edx);
		if (eax >= 0x40000010 && eax < 0x40010000) {
			__cpuid(0x40000010, eax, ebx, ecx, edx);
			if (eax)
				return eax;
		}
	}
	return 0;
}

/* The VM's epoch is one end of the measurement; when it is first asked for, now is the other. */
static uint32_t measure_tsc_khz(const struct soft_engine *engine)
{
	uint64_t tsc;
	int64_t ns;

	do {
		sample(&tsc, &ns);
	} while (ns - engine->vm->epoch_ns < MEASURE_NS);
	return multiply_divide(tsc - engine->tsc_epoch, 1000000, ns - engine->vm->epoch_ns);
}

void soft_clocks_begin(struct soft_engine *engine)
{
	sample(&engine->tsc_epoch, &engine->vm->epoch_ns);
	atomic_store(&engine->tsc_khz, host_says_tsc_khz());
}

uint32_t soft_tsc_khz(const struct soft_vcpu *c)
{
	uint32_t khz = atomic_load(&c->engine->tsc_khz);

	if (khz)
		return khz;
	uint32_t measured = measure_tsc_khz(c->engine);
	/* Another vCPU may have measured meanwhile: there is one answer. */
	return atomic_compare_exchange_strong(&c->engine->tsc_khz, &khz, measured) ? measured : khz;
}

uint64_t soft_tsc(const struct soft_vcpu *c)
{
	return __rdtsc() + c->tsc_offset;
}

/* What state saving sees: in a pause the counter stands still. */
uint64_t soft_tsc_settled(const struct soft_vcpu *c)
{
	const struct soft_system *first = soft_of(&c->vm->vcpus[0])->sys;

	return (first->stopped_ns ? first->stopped_tsc : __rdtsc()) + c->tsc_offset;
}

void soft_tsc_write(struct soft_vcpu *c, uint64_t tsc)
{
	int64_t change = tsc - soft_tsc(c);

	c->s.msr.tsc_adjust += change;
	c->tsc_offset += change;
	soft_pvclock_update(c);
}

int64_t soft_tsc_moment(struct soft_vcpu *c, uint64_t tsc)
{
	uint64_t guest_now = soft_tsc(c);
	int64_t now = now_ns();

	if (tsc <= guest_now)
		return now;
	uint64_t delta = tsc - guest_now;
	/* Further than 50 years is never. */
	if (delta >> 62)
		return LAPIC_NEVER;
	uint64_t ns = multiply_divide(delta, 1000000, soft_tsc_khz(c));
	return ns > INT64_MAX / 4 ? LAPIC_NEVER : now + (int64_t)ns;
}

/* --- kvmclock --------------------------------------------------------------------------------- */

/* ns = ((tsc << shift) * multiplier) >> 32, with a negative shift to the right. */
static void scale(uint32_t khz, uint32_t *multiplier, int8_t *shift)
{
	uint64_t hz = (uint64_t)khz * 1000, scaled = UINT64_C(1000000000);

	*shift = 0;
	while (hz > scaled * 2) {
		hz >>= 1;
		(*shift)--;
	}
	while (hz <= scaled) {
		hz <<= 1;
		(*shift)++;
	}
	*multiplier = multiply_divide(scaled, UINT64_C(1) << 32, hz);
}

static bool clock_write(struct soft_vcpu *c, uint64_t phys, const void *data, unsigned length)
{
	uint64_t mapped = length;
	void *host = space_dma_map(c->vm->memory, phys, &mapped, true);

	if (!host || mapped < length)
		return false;
	/* Bytes go in order; readers go by the version word, written apart. */
	memcpy(host, data, length);
	space_note_write(c->vm->memory, phys, length);
	return true;
}

enum { PVCLOCK_STABLE = 1 };

/*
 * The page needs no refresh later: the TSC is invariant and the same for all vCPUs, and the guest
 * extrapolates. An odd version tells readers that the rest is changing.
 */
void soft_pvclock_update(struct soft_vcpu *c)
{
	uint64_t phys = c->s.msr.kvm_system_time & ~UINT64_C(1);
	uint8_t page[32] = { 0 }, version[4];
	uint64_t length = sizeof(page);
	uint32_t multiplier, old;
	int8_t shift;

	if (!(c->s.msr.kvm_system_time & 1))
		return;
	void *host = space_dma_map(c->vm->memory, phys, &length, true);
	if (!host || length < sizeof(page)) {
		log_guest_fault("kvmclock page at 0x%" G_GINT64_MODIFIER "x is not in RAM",
				(guint64)phys);
		return;
	}
	old = le32_load(host);
	le32_store(version, (old | 1) + 2);
	clock_write(c, phys, version, 4);
	atomic_thread_fence(memory_order_seq_cst);
	scale(soft_tsc_khz(c), &multiplier, &shift);
	le64_store(page + 8, c->sys->host_tsc_epoch + c->tsc_offset);
	le64_store(page + 16, 0);
	le32_store(page + 24, multiplier);
	page[28] = shift;
	page[29] = soft_has_feature(c, CPU_WORD_KVM, 1 << 24) ? PVCLOCK_STABLE : 0;
	clock_write(c, phys + 4, page + 4, sizeof(page) - 4);
	atomic_thread_fence(memory_order_seq_cst);
	le32_store(version, (old | 1) + 3);
	clock_write(c, phys, version, 4);
}

/* Real time when system time was zero. */
void soft_wall_clock_write(struct soft_vcpu *c)
{
	int64_t then = clock_ns(CLOCK_REALTIME) - (now_ns() - c->vm->epoch_ns);
	uint8_t page[12];

	le32_store(page, 2);
	le32_store(page + 4, then / 1000000000);
	le32_store(page + 8, then % 1000000000);
	if (!clock_write(c, c->s.msr.kvm_wall_clock, page, sizeof(page)))
		log_guest_fault("kvmclock wall clock at 0x%" G_GINT64_MODIFIER "x is not in RAM",
				(guint64)c->s.msr.kvm_wall_clock);
}

/* --- the timer of a running vCPU -------------------------------------------------------------- */

/* On the main loop. The vCPU looks at the clock itself; an early call costs it one look. */
static void timer_fired(void *opaque)
{
	struct soft_vcpu *c = opaque;

	atomic_store(&c->sys->timer_armed, LAPIC_NEVER);
	soft_post(c, SOFT_PENDING_INTERRUPT);
}

/*
 * Only ever moved nearer: a deadline put off is met early by timer_fired(), which costs less than
 * telling the loop each time. On the vCPU's thread.
 */
void soft_timer_arm(struct soft_vcpu *c)
{
	lapic_timer_poll(c->lapic);
	int64_t deadline = lapic_timer_deadline(c->lapic);
	if (deadline == LAPIC_NEVER || !c->sys->timer.loop)
		return;
	if (deadline < atomic_load(&c->sys->timer_armed)) {
		atomic_store(&c->sys->timer_armed, deadline);
		aio_timer_arm(&c->sys->timer, deadline);
	}
}

/*
 * A pause takes its time out of the TSC and out of kvmclock (host_tsc_epoch moves along, so that the
 * pages stay right), and puts count-down timers off.
 */
void soft_clocks_run(struct vm *vm, bool running)
{
	struct soft_vcpu *first = vm->vcpu_count ? soft_of(&vm->vcpus[0]) : NULL;
	uint64_t tsc;
	int64_t ns;

	if (!first)
		return;
	sample(&tsc, &ns);
	if (!running) {
		first->sys->stopped_tsc = tsc;
		first->sys->stopped_ns = ns;
		return;
	}
	if (!first->sys->stopped_ns)
		return;
	uint64_t tsc_lost = tsc - first->sys->stopped_tsc;
	int64_t ns_lost = ns - first->sys->stopped_ns;
	first->sys->stopped_ns = 0;
	for (unsigned i = 0; i < vm->vcpu_count; i++) {
		struct soft_vcpu *c = soft_of(&vm->vcpus[i]);
		c->tsc_offset -= (int64_t)tsc_lost;
		c->sys->host_tsc_epoch += tsc_lost;
		lapic_timer_put_off(c->lapic, ns_lost);
	}
}

void soft_clock_init(struct soft_vcpu *c)
{
	struct soft_system *sys = c->sys;
	struct soft_vcpu *first = c->vcpu->index ? soft_of(&c->vm->vcpus[0]) : NULL;

	sys->host_tsc_epoch = first && first->sys ? first->sys->host_tsc_epoch : c->engine->tsc_epoch;
	c->tsc_offset = -(int64_t)sys->host_tsc_epoch;
	atomic_store(&sys->timer_armed, LAPIC_NEVER);
	if (c->vm->loop)
		aio_timer_init(&sys->timer, c->vm->loop, timer_fired, c);
}

void soft_clock_destroy(struct soft_vcpu *c)
{
	if (c->sys->timer.loop)
		aio_timer_cancel(&c->sys->timer);
}
