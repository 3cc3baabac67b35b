/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What system/ hangs on a vCPU: its making and end, reset, getting and setting the whole state, the
 * local APIC's connection, and which CPUID features the software engine has.
 */
#include "cpu/soft/system/system.h"

#include "base/bytes.h"
#include "base/error.h"

#include <string.h>

/* --- features --------------------------------------------------------------------------------- */

/* Ours on any host: they are system features, or plain integer instructions. */
static const char own_features[] =
	"fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx "
	"fxsr sse sse2 ht pni cx16 pcid x2apic popcnt tsc-deadline hypervisor fsgsbase "
	"tsc-adjust smep erms invpcid smap umip rdpid fsrm md-clear spec-ctrl stibp ssbd "
	"bhi-ctrl mcdt-no arch-capabilities ibpb wbnoinvd lahf-lm 3dnowprefetch syscall nx "
	"pdpe1gb rdtscp lm invtsc arat kvmclock kvm-nopiodelay kvm-pv-unhalt "
	"kvmclock-stable-bit movbe abm bmi1 bmi2 adx clflushopt clwb";
/*
 * And what the guest need not defend itself against: its returns never run as returns of the host's,
 * and a VERW of its own would do nothing to the host's buffers.
 */
static const char immunities[] = "srso-no tsa-sq-no tsa-l1-no";
/* Executed by the host's own instruction. */
static const char host_features[] =
	"pclmulqdq ssse3 fma sse4.1 sse4.2 aes xsave avx f16c rdrand avx2 rdseed sha-ni gfni vaes "
	"vpclmulqdq xsaveopt xsavec xgetbv1 xsaves popcnt movbe abm bmi1 bmi2 adx clflushopt clwb "
	"avx-vnni";

static void names_add(struct cpu_features *f, const char *names, const struct cpu_features *mask)
{
	g_auto(GStrv) list = g_strsplit(names, " ", -1);

	for (char **n = list; *n; n++) {
		enum cpu_feature_word word;
		uint32_t bits;
		bool known = cpu_feature_find(*n, &word, &bits);
		g_assert(known);
		f->word[word] |= mask ? bits & mask->word[word] : bits;
	}
}

void soft_features(struct cpu_features *features)
{
	struct cpu_features host;

	memset(features, 0, sizeof(*features));
	cpu_features_host(&host);
	names_add(features, own_features, NULL);
	names_add(features, immunities, NULL);
	names_add(features, host_features, &host);
}

bool soft_has_feature(const struct soft_vcpu *c, enum cpu_feature_word word, uint32_t mask)
{
	return (c->sys->features.word[word] & mask) == mask;
}

/* --- the local APIC --------------------------------------------------------------------------- */

static void apic_notify(void *opaque, enum lapic_event event, uint8_t vector)
{
	struct soft_vcpu *c = opaque;

	switch (event) {
	case LAPIC_EVENT_INTERRUPT:
		soft_post(c, SOFT_PENDING_INTERRUPT);
		break;
	case LAPIC_EVENT_NMI:
		soft_post(c, SOFT_PENDING_NMI);
		break;
	case LAPIC_EVENT_INIT:
		/*
		 * A SIPI from before, not looked at yet, is void: taken for one that follows the INIT
		 * it would start the processor on what the last one left behind.
		 */
		atomic_fetch_and(&c->pending, ~(uint32_t)SOFT_PENDING_SIPI);
		soft_post(c, SOFT_PENDING_INIT);
		break;
	case LAPIC_EVENT_SIPI:
		atomic_store(&c->sys->sipi_vector, vector);
		soft_post(c, SOFT_PENDING_SIPI);
		break;
	}
}

static void apic_eoi(void *opaque, uint8_t vector)
{
	struct soft_vcpu *c = opaque;
	if (c->vm->irq_hooks.ioapic_eoi)
		c->vm->irq_hooks.ioapic_eoi(c->vm->irq_hooks.opaque, vector);
}

static void apic_timer_changed(void *opaque)
{
	struct soft_vcpu *c = opaque;
	int64_t deadline = lapic_timer_deadline(c->lapic);

	/* Not soft_timer_arm(): the timer is in the middle of a change, which a poll would see. */
	if (deadline != LAPIC_NEVER && deadline < atomic_load(&c->sys->timer_armed) &&
	    c->sys->timer.loop) {
		atomic_store(&c->sys->timer_armed, deadline);
		aio_timer_arm(&c->sys->timer, deadline);
	}
}

static struct lapic *apic_peer(void *opaque, unsigned index)
{
	struct soft_vcpu *c = opaque;
	if (index >= c->vm->vcpu_count)
		return NULL;
	struct soft_vcpu *peer = soft_of(&c->vm->vcpus[index]);
	return peer ? peer->lapic : NULL;
}

static int64_t apic_now(void *opaque)
{
	return aio_now_ns();
}

static int64_t apic_tsc_moment(void *opaque, uint64_t tsc)
{
	return soft_tsc_moment(opaque, tsc);
}

const struct lapic_ops soft_lapic_ops = {
	.notify = apic_notify,
	.eoi = apic_eoi,
	.timer_changed = apic_timer_changed,
	.peer = apic_peer,
	.now = apic_now,
	.tsc_moment = apic_tsc_moment,
};

void soft_msi_send(struct vm *vm, uint64_t address, uint32_t data)
{
	struct soft_vcpu *first = vm->vcpu_count ? soft_of(&vm->vcpus[0]) : NULL;
	if (first && first->lapic)
		lapic_send_msi(first->lapic, address, data);
}

void soft_extint_set(struct vm *vm, bool level)
{
	struct soft_vcpu *c = vm->vcpu_count ? soft_of(&vm->vcpus[0]) : NULL;

	if (!c)
		return;
	atomic_store_explicit(&c->sys->extint, level, memory_order_release);
	if (level)
		soft_post(c, SOFT_PENDING_INTERRUPT);
}

/* --- life ------------------------------------------------------------------------------------- */

static GArray *build_cpuid(const struct soft_vcpu *c, uint32_t tsc_khz)
{
	const struct vm_config *config = &c->vm->config;
	struct cpu_topology topology = {
		.sockets = config->sockets ? config->sockets : 1,
		.dies = config->dies ? config->dies : 1,
		.cores = config->cores ? config->cores : 1,
		.threads = config->threads ? config->threads : 1,
		.phys_bits = c->sys->phys_bits,
		.tsc_khz = tsc_khz,
	};
	return cpuid_build(config->cpu_model, &topology, c->vcpu->apic_id);
}

void soft_cpuid_add_clock(struct soft_vcpu *c)
{
	g_array_unref(c->sys->cpuid);
	c->sys->cpuid = build_cpuid(c, soft_tsc_khz(c));
	c->sys->cpuid_has_clock = true;
}

static void init_cpuid(struct soft_vcpu *c)
{
	const struct cpu_model *model = c->vm->config.cpu_model;
	uint32_t leaf1[4];

	c->sys->cpuid = build_cpuid(c, 0);
	c->sys->features = model->features;
	c->sys->amd = !strcmp(model->vendor, "AuthenticAMD") ||
		      !strcmp(model->vendor, "HygonGenuine");
	cpuid_lookup(c->sys->cpuid, 1, 0, leaf1);
	c->sys->signature = leaf1[0];
}

bool soft_system_create(struct soft_vcpu *c, GError **error)
{
	const struct vm_config *config = &c->vm->config;

	if (!config->cpu_model)
		return error_set(error, BERTH_ERR_INVALID, "the software engine has no CPU model");
	if (config->phys_bits && (config->phys_bits < 32 || config->phys_bits > 46))
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "the software engine has 32 to 46 physical address bits, not %u",
				 config->phys_bits);
	c->sys = g_new0(struct soft_system, 1);
	c->sys->phys_bits = config->phys_bits ? config->phys_bits : 40;
	c->mmu = soft_mmu_new();
	soft_tlb_init(c);
	soft_clock_init(c);
	init_cpuid(c);
	c->lapic = c->sys->lapic =
		lapic_new(&soft_lapic_ops, c, c->vcpu->apic_id, c->vcpu->index == 0);
	soft_system_reset(c);
	return true;
}

void soft_system_destroy(struct soft_vcpu *c)
{
	if (!c->sys)
		return;
	soft_clock_destroy(c);
	lapic_free(c->lapic);
	soft_mmu_free(c->mmu);
	g_array_unref(c->sys->cpuid);
	g_free(c->sys);
	c->lapic = NULL;
	c->mmu = NULL;
	c->sys = NULL;
}

void soft_system_reset(struct soft_vcpu *c)
{
	soft_processor_init(c, true);
}

/* --- the whole state -------------------------------------------------------------------------- */

void soft_state_get(struct soft_vcpu *c, struct x86_state *state)
{
	*state = c->s;
	state->rflags = soft_rflags_get(c);
	state->cr8 = lapic_cr8_get(c->lapic);
	state->tsc = soft_tsc_settled(c);
	state->msr.apic_base = lapic_base_get(c->lapic);
	state->msr.tsc_deadline = lapic_tsc_deadline_get(c->lapic);
	lapic_save(c->lapic, state->lapic);

	uint32_t pending = atomic_load(&c->pending);
	state->events = (struct x86_events){
		.nmi_pending = pending & SOFT_PENDING_NMI || c->sys->nmi_waiting,
		.nmi_blocked = c->nmi_blocked,
		.interrupt_shadow = c->interrupt_shadow,
		.init_pending = pending & SOFT_PENDING_INIT,
		.sipi_pending = pending & SOFT_PENDING_SIPI,
		.sipi_vector = atomic_load(&c->sys->sipi_vector),
	};
}

static void move_other_tscs(struct soft_vcpu *first, int64_t change)
{
	for (unsigned n = 1; n < first->vm->vcpu_count; n++) {
		struct soft_vcpu *c = soft_of(&first->vm->vcpus[n]);
		if (!c || !c->sys)
			continue;
		c->tsc_offset += change;
		soft_pvclock_update(c);
	}
}

/*
 * Processors whose states were taken one after the other had one TSC: if the new offset is within a
 * second of the first processor's, it is meant to be the same. And what is set of the first alone (its
 * registers for a kernel, some time after they were read) moves the others along.
 */
static void set_tsc(struct soft_vcpu *c, uint64_t tsc)
{
	struct soft_vcpu *first = soft_of(&c->vm->vcpus[0]);
	int64_t second = (int64_t)soft_tsc_khz(c) * 1000;

	int64_t change = (int64_t)(tsc - soft_tsc_settled(c));
	c->tsc_offset += change;
	if (c == first) {
		move_other_tscs(c, change);
		return;
	}
	int64_t expected = first->tsc_offset +
			   (int64_t)(c->s.msr.tsc_adjust - first->s.msr.tsc_adjust);
	int64_t away = c->tsc_offset - expected;
	if (away > -second && away < second)
		c->tsc_offset = expected;
}

void soft_state_set(struct soft_vcpu *c, const struct x86_state *state)
{
	const struct x86_events *e = &state->events;
	uint32_t pending = SOFT_PENDING_INTERRUPT;

	c->s = *state;
	soft_native_import(c);
	c->flags = state->rflags & X86_FLAGS_ARITH;
	set_tsc(c, state->tsc);
	lapic_load(c->lapic, state->lapic, state->msr.apic_base, state->msr.tsc_deadline);
	lapic_cr8_set(c->lapic, state->cr8);
	c->nmi_blocked = e->nmi_blocked;
	c->interrupt_shadow = e->interrupt_shadow;
	c->sys->step_armed = c->sys->rf_armed = c->sys->ss_shadow = false;
	c->irq_blocked = c->sys->nmi_waiting = false;
	c->sys->debug_hits = 0;
	atomic_store(&c->halted, state->activity == X86_HALTED);
	atomic_store(&c->sys->sipi_vector, e->sipi_vector);
	if (e->nmi_pending)
		pending |= SOFT_PENDING_NMI;
	if (e->init_pending)
		pending |= SOFT_PENDING_INIT;
	if (e->sipi_pending)
		pending |= SOFT_PENDING_SIPI;
	if (soft_debug_stepping(c))
		pending |= SOFT_PENDING_TRAP;
	soft_memory_changed(c);
	soft_pdptes_forget(c);
	soft_tlb_flush_all(c);
	soft_mode_changed(c);
	soft_dr7_changed(c);
	soft_pvclock_update(c);
	soft_post(c, pending);
}
