/* SPDX-License-Identifier: GPL-2.0-or-later */
/* MSRs, CPUID's dynamic bits, kvmclock and the state's round trip. */
#include "soft_guest.h"

#include "base/bytes.h"
#include "cpu/soft/system/system.h"

#include <string.h>
#include <time.h>

static struct soft_guest *guest;

static bool msr_write(uint32_t msr, uint64_t value)
{
	struct soft_vcpu *c = guest->c;
	/* Some registers raise #GP by themselves. */
	if (sigsetjmp(c->unwind, 0)) {
		g_assert_cmpuint(c->fault.vector, ==, X86_EXC_GP);
		return false;
	}
	return soft_msr_write(c, msr, value);
}

static uint64_t msr_read(uint32_t msr)
{
	uint64_t value;
	g_assert_true(soft_msr_read(guest->c, msr, &value));
	return value;
}

static bool unreadable(uint32_t msr)
{
	uint64_t value;
	return !soft_msr_read(guest->c, msr, &value);
}

static void test_rules(void)
{
	static const struct {
		uint32_t msr;
		uint64_t good, bad; /* bad 0: none */
	} rules[] = {
		{ 0xc0000081, 0x0023001000000000, 0 },                  /* STAR */
		{ 0xc0000082, 0xffffffff81000000, 0x8000000000000000 }, /* LSTAR */
		{ 0xc0000083, 0x00007fffffffffff, 0x0000800000000000 }, /* CSTAR */
		{ 0xc0000084, 0x47700, 0x100000000 },                   /* FMASK */
		{ 0xc0000100, 0x7f0000000000, 0x4000000000000000 },     /* FS base */
		{ 0xc0000102, 0xffff888000000000, 0x1000000000000 },    /* kernel GS base */
		{ 0xc0000103, 0xffffffff, 0x100000000 },                /* TSC_AUX */
		{ 0x174, 0x10, 0 },
		{ 0x176, 0xffffffff81001000, 0x1234000000000000 },
		{ 0x277, 0x0007040600070406, 0x0207040600070406 },      /* PAT: type 2 */
		{ 0x2ff, 0xc06, 0x1006 },                               /* MTRR default */
		{ 0x250, 0x0606060606060606, 0x0606060606060602 },
		{ 0x200, 0x80000006, 0x80000002 },
		{ 0x201, 0xff80000800, 0x10000000000 },
		{ 0x48, 1, 0x1000 },                                    /* SPEC_CTRL */
		{ 0x1d9, 0, 0x4000 },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(rules); i++) {
		g_test_message("MSR %x", rules[i].msr);
		g_assert_true(msr_write(rules[i].msr, rules[i].good));
		g_assert_cmphex(msr_read(rules[i].msr), ==, rules[i].good);
		if (rules[i].bad) {
			g_assert_false(msr_write(rules[i].msr, rules[i].bad));
			g_assert_cmphex(msr_read(rules[i].msr), ==, rules[i].good);
		}
	}
	g_assert_true(unreadable(0x12345678) && !msr_write(0x12345678, 0));
	g_assert_true(unreadable(0x802)); /* x2APIC is off */
	g_assert_false(msr_write(0xfe, 0)); /* read-only */
	g_assert_false(msr_write(0x10a, 0));
	g_assert_true(msr_read(0x10a) & 1);
	g_assert_cmphex(msr_read(0xfe) & 0xff, ==, 8);
	g_assert_true(msr_write(0x49, 1)); /* IBPB: command only */
	g_assert_true(unreadable(0x49));
	/* EFER: LMA is not writable, LME not with paging. */
	g_assert_true(msr_read(0xc0000080) & X86_EFER_LMA);
	g_assert_false(msr_write(0xc0000080, X86_EFER_SCE));
	g_assert_true(msr_write(0xc0000080, X86_EFER_LME | X86_EFER_NX));
	g_assert_true(msr_read(0xc0000080) & X86_EFER_LMA);
	g_assert_false(msr_write(0xc0000080, X86_EFER_LME | 1 << 2));
}

static void test_tsc(void)
{
	uint64_t before = msr_read(0x10);
	g_assert_true(msr_write(0x3b, UINT64_C(1) << 40));
	uint64_t after = msr_read(0x10);
	g_assert_cmpuint(after - before, >=, UINT64_C(1) << 40);
	g_assert_cmpuint(after - before, <, (UINT64_C(1) << 40) + UINT64_C(10000000000));
	g_assert_true(msr_write(0x10, 1000));
	g_assert_cmpuint(msr_read(0x10), <, UINT64_C(10000000000));
	/* What writing the TSC did shows in TSC_ADJUST. */
	g_assert_cmphex(msr_read(0x3b), !=, UINT64_C(1) << 40);
	g_assert_true(msr_write(0x3b, 0));
}

static uint64_t pvclock_ns(const uint8_t *page, uint64_t tsc)
{
	uint64_t delta = tsc - le64_load(page + 8);
	int8_t shift = page[28];
	delta = shift < 0 ? delta >> -shift : delta << shift;
	return le64_load(page + 16) + (uint64_t)((unsigned __int128)delta * le32_load(page + 24) >> 32);
}

static void test_kvmclock(void)
{
	const uint8_t *page = guest->ram->host + 0x3000, *wall = guest->ram->host + 0x3100;
	g_assert_true(msr_write(0x4b564d01, 0x3001));
	g_assert_cmpuint(le32_load(page) & 1, ==, 0);
	g_assert_cmpuint(page[29], ==, 1);
	int64_t real = aio_now_ns() - guest->vm->epoch_ns;
	int64_t guest_ns = pvclock_ns(page, msr_read(0x10));
	g_assert_cmpint(ABS(guest_ns - real), <, 20000000);
	/* A guest that shifts its TSC still reads the same time. */
	g_assert_true(msr_write(0x3b, 123456789));
	guest_ns = pvclock_ns(page, msr_read(0x10));
	real = aio_now_ns() - guest->vm->epoch_ns;
	g_assert_cmpint(ABS(guest_ns - real), <, 20000000);
	g_assert_true(msr_write(0x3b, 0));
	g_assert_true(msr_write(0x4b564d00, 0x3100));
	int64_t boot = le32_load(wall + 4) * INT64_C(1000000000) + le32_load(wall + 8);
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	int64_t now = t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
	real = aio_now_ns() - guest->vm->epoch_ns;
	g_assert_cmpint(ABS(boot + real - now), <, 20000000);
	/* Nonsense addresses hurt nobody. */
	g_assert_true(msr_write(0x4b564d01, UINT64_C(0xfffffffff001)));
	g_assert_true(msr_write(0x4b564d01, 0));
}

static void test_pause(void)
{
	uint64_t before = msr_read(0x10);
	soft_clocks_run(guest->vm, false);
	struct x86_state *s = g_aligned_alloc0(1, sizeof(*s), 64);
	g_usleep(30000);
	soft_state_get(guest->c, s);
	uint64_t stopped = s->tsc;
	soft_clocks_run(guest->vm, true);
	uint64_t after = msr_read(0x10), ms = soft_tsc_khz(guest->c);
	g_assert_cmpuint(stopped - before, <, 20 * ms);
	g_assert_cmpuint(after - before, <, 20 * ms);
	g_assert_cmpuint(after, >=, before);
	g_aligned_free(s);
}

static void test_cpuid(void)
{
	struct soft_vcpu *c = guest->c;
	uint32_t r[4];
	soft_cpuid(c, 1, 0, r);
	g_assert_true(r[2] & 1 << 27); /* OSXSAVE follows CR4 */
	uint64_t cr4 = c->s.cr4;
	c->s.cr4 &= ~(uint64_t)X86_CR4_OSXSAVE;
	soft_cpuid(c, 1, 0, r);
	g_assert_false(r[2] & 1 << 27);
	c->s.cr4 = cr4;
	if (soft_has_feature(c, CPU_WORD_1_ECX, 1 << 28)) {
		c->s.xcr0 = 3;
		soft_cpuid(c, 0xd, 0, r);
		g_assert_cmpuint(r[1], ==, 576);
		c->s.xcr0 = 7;
		soft_cpuid(c, 0xd, 0, r);
		g_assert_cmpuint(r[1], ==, 832);
	}
	g_assert_true(msr_write(0x1b, 0xfee00000)); /* APIC off */
	soft_cpuid(c, 1, 0, r);
	g_assert_false(r[3] & 1 << 9);
	g_assert_true(msr_write(0x1b, 0xfee00900));
	g_assert_false(soft_has_feature(c, CPU_WORD_7_0_EBX, 1 << 16)); /* no AVX-512 */
	g_assert_false(soft_has_feature(c, CPU_WORD_1_ECX, 1 << 3));    /* no MONITOR */
}

static void test_state(void)
{
	struct soft_vcpu *c = guest->c;
	struct x86_state *a = g_aligned_alloc0(1, sizeof(*a), 64);
	struct x86_state *b = g_aligned_alloc0(1, sizeof(*b), 64);

	g_assert_true(msr_write(0x1b, 0xfee00d00)); /* x2APIC */
	g_assert_true(msr_write(0x80f, 0x1ff));
	g_assert_true(msr_write(0x83f, 0x77)); /* an interrupt waits */
	lapic_cr8_set(c->lapic, 3);
	c->s.rflags = 2 | X86_FLAG_ID;
	c->flags = X86_FLAG_CF | X86_FLAG_ZF;
	c->nmi_blocked = true;
	soft_post(c, SOFT_PENDING_NMI);
	soft_state_get(c, a);
	g_assert_cmphex(a->rflags, ==, 2 | X86_FLAG_ID | X86_FLAG_CF | X86_FLAG_ZF);
	g_assert_cmphex(a->cr8, ==, 3);
	g_assert_true(a->events.nmi_pending && a->events.nmi_blocked);
	soft_system_reset(c);
	soft_state_set(c, a);
	soft_state_get(c, b);
	g_assert_cmpint(ABS((int64_t)(b->tsc - a->tsc)), <, (int64_t)soft_tsc_khz(c) * 50);
	b->tsc = a->tsc;
	g_assert_cmpmem(a, sizeof(*a), b, sizeof(*b));
	lapic_cr8_set(c->lapic, 0);
	g_assert_cmpint(lapic_acknowledge(c->lapic), ==, 0x77);
	g_aligned_free(a);
	g_aligned_free(b);
}

/* A kernel's first registers are set some time after they were read: all TSCs must still agree. */
static void test_tsc_of_all(void)
{
	struct soft_guest *g = soft_guest_new(4 << 20, 2);
	struct x86_state *s = g_aligned_alloc0(1, sizeof(*s), 64);
	soft_state_get(g->c, s);
	g_usleep(3000);
	soft_state_set(g->c, s);
	g_assert_cmpint(g->c->tsc_offset, ==, soft_of(&g->vm->vcpus[1])->tsc_offset);
	g_aligned_free(s);
	soft_guest_free(g);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	guest = soft_guest_new(4 << 20, 1);
	soft_guest_enter64(guest, 0x1000, false);
	g_test_add_func("/soft/msr/rules", test_rules);
	g_test_add_func("/soft/msr/tsc", test_tsc);
	g_test_add_func("/soft/msr/tsc-of-all", test_tsc_of_all);
	g_test_add_func("/soft/msr/kvmclock", test_kvmclock);
	g_test_add_func("/soft/msr/pause", test_pause);
	g_test_add_func("/soft/msr/cpuid", test_cpuid);
	g_test_add_func("/soft/msr/state", test_state);
	int result = g_test_run();
	soft_guest_free(guest);
	return result;
}
