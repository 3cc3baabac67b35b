/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Model-specific registers. KVM takes a list and stops at the first that this vCPU has not (its
 * CPUID or the host's CPU decide): such a one is left out and the rest goes on.
 */
#include "base/error.h"
#include "cpu/kvm/kvm_int.h"
#include "cpu/x86/state.h"

#include <errno.h>
#include <string.h>

#define FIELD(f) offsetof(struct x86_msrs, f)

struct msr {
	uint32_t index;
	size_t offset;
};

/* SDM vol. 4; AMD APM vol. 2, appendix A; Documentation/virt/kvm/x86/msr.rst. */
static const struct msr plain[] = {
	{0xc0000081, FIELD(star)},           {0xc0000082, FIELD(lstar)},
	{0xc0000083, FIELD(cstar)},          {0xc0000084, FIELD(fmask)},
	{0xc0000102, FIELD(kernel_gs_base)}, {0x174, FIELD(sysenter_cs)},
	{0x175, FIELD(sysenter_esp)},        {0x176, FIELD(sysenter_eip)},
	{0xc0000103, FIELD(tsc_aux)},        {0x277, FIELD(pat)},
	{0x1a0, FIELD(misc_enable)},         {0x48, FIELD(spec_ctrl)},
	{0xda0, FIELD(xss)},                 {0x1d9, FIELD(debugctl)},
	{0x3a, FIELD(feature_control)},      {0x17a, FIELD(mcg_status)},
	{0x17b, FIELD(mcg_ctl)},             {0x4b564d00, FIELD(kvm_wall_clock)},
	{0x4b564d01, FIELD(kvm_system_time)}, {0x4b564d02, FIELD(kvm_async_pf)},
	{0x4b564d03, FIELD(kvm_steal_time)}, {0x4b564d04, FIELD(kvm_pv_eoi)},
	{0x4b564d05, FIELD(kvm_poll)},       {0x2ff, FIELD(mtrr_def_type)},
};
static const uint32_t fixed_mtrrs[X86_MTRR_FIXED] = {
	0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f,
};
enum {
	MSR_TSC = 0x10, MSR_TSC_ADJUST = 0x3b, MSR_TSC_DEADLINE = 0x6e0,
	LIST_MAX = G_N_ELEMENTS(plain) + X86_MTRR_FIXED + 2 * X86_MTRR_VARIABLE + 3,
};

struct list {
	struct kvm_msrs header;
	struct kvm_msr_entry room[LIST_MAX];
	size_t offsets[LIST_MAX];
};

static void add(struct list *l, uint32_t index, size_t offset)
{
	l->room[l->header.nmsrs].index = index;
	l->offsets[l->header.nmsrs++] = offset;
}

static void fill(struct list *l)
{
	*l = (struct list){0};
	for (unsigned i = 0; i < G_N_ELEMENTS(plain); i++)
		add(l, plain[i].index, plain[i].offset);
	for (unsigned i = 0; i < X86_MTRR_FIXED; i++)
		add(l, fixed_mtrrs[i], FIELD(mtrr_fixed) + 8 * i);
	for (unsigned i = 0; i < X86_MTRR_VARIABLE; i++) {
		add(l, 0x200 + 2 * i, FIELD(mtrr_base) + 8 * i);
		add(l, 0x201 + 2 * i, FIELD(mtrr_mask) + 8 * i);
	}
	add(l, MSR_TSC_ADJUST, FIELD(tsc_adjust));
	/* Last: it starts the timer, which needs the TSC and the local APIC in place. */
	add(l, MSR_TSC_DEADLINE, FIELD(tsc_deadline));
}

static uint64_t *field(struct x86_state *state, size_t offset)
{
	return (uint64_t *)((char *)&state->msr + offset);
}

/*
 * `request` for all of the list; the ones refused keep their data. False only if the ioctl itself
 * fails. KVM copies a GET's results only up to where it stopped, so each rest is a call of its own.
 */
static bool each_msr(struct kvm_vcpu *v, struct list *l, unsigned long request, GError **error)
{
	g_autofree struct list *rest = g_new0(struct list, 1);
	for (unsigned done = 0; done < l->header.nmsrs;) {
		rest->header.nmsrs = l->header.nmsrs - done;
		memcpy(rest->room, l->room + done, rest->header.nmsrs * sizeof(rest->room[0]));
		int n = kvm_ioctl(v->fd, request, rest);
		if (n < 0)
			return error_set_errno(error, errno, "KVM refuses access to vCPU %u's MSRs",
					       v->vcpu->index);
		memcpy(l->room + done, rest->room, (unsigned)n * sizeof(rest->room[0]));
		done += n + 1;
	}
	return true;
}

static bool tsc_get(struct kvm_vcpu *v, uint64_t *tsc, GError **error)
{
	struct {
		struct kvm_msrs header;
		struct kvm_msr_entry entry;
	} one = {{.nmsrs = 1}, {.index = MSR_TSC}};
	if (kvm_ioctl(v->fd, KVM_GET_MSRS, &one) != 1)
		return error_set_errno(error, errno, "KVM does not tell vCPU %u's TSC",
				       v->vcpu->index);
	*tsc = one.entry.data;
	return true;
}

/*
 * A get, a change of something else and a set must not move the clock: a TSC within 10 ms of the
 * vCPU's own is left alone.
 */
static bool tsc_set(struct kvm_vcpu *v, uint64_t tsc, GError **error)
{
	struct {
		struct kvm_msrs header;
		struct kvm_msr_entry entry;
	} one = {{.nmsrs = 1}, {.index = MSR_TSC, .data = tsc}};
	uint64_t now, near = (uint64_t)MAX(v->kvm->tsc_khz, 1000u) * 10;
	if (!tsc_get(v, &now, error))
		return false;
	if (now - tsc <= near || tsc - now <= near)
		return true;
	if (kvm_ioctl(v->fd, KVM_SET_MSRS, &one) != 1)
		return error_set_errno(error, errno, "KVM does not take vCPU %u's TSC",
				       v->vcpu->index);
	return true;
}

bool kvm_msrs_get(struct kvm_vcpu *v, struct x86_state *state, GError **error)
{
	g_autofree struct list *l = g_new(struct list, 1);
	fill(l);
	if (!each_msr(v, l, KVM_GET_MSRS, error) || !tsc_get(v, &state->tsc, error))
		return false;
	for (unsigned i = 0; i < l->header.nmsrs; i++)
		*field(state, l->offsets[i]) = l->room[i].data;
	return true;
}

/*
 * Only what differs is written: KVM logs a line on the host for some writes of registers that it
 * does not emulate, even of the value that reads give.
 */
bool kvm_msrs_set(struct kvm_vcpu *v, const struct x86_state *state, GError **error)
{
	g_autofree struct list *now = g_new(struct list, 1);
	g_autofree struct list *l = g_new0(struct list, 1);
	if (!tsc_set(v, state->tsc, error))
		return false;
	fill(now);
	if (!each_msr(v, now, KVM_GET_MSRS, error))
		return false;
	for (unsigned i = 0; i < now->header.nmsrs; i++) {
		uint32_t index = now->room[i].index;
		uint64_t data = *field((struct x86_state *)state, now->offsets[i]);
		if (data == now->room[i].data && index != MSR_TSC_DEADLINE)
			continue;
		add(l, index, now->offsets[i]);
		l->room[l->header.nmsrs - 1].data = data;
	}
	return each_msr(v, l, KVM_SET_MSRS, error);
}
