/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fake_engine.h"

#include "base/error.h"
#include "base/lock.h"

#include <unistd.h>

struct fake_vcpu {
	pthread_mutex_t lock;
	pthread_cond_t kicked_changed;
	bool kicked;
};

static bool fake_probe(GError **error)
{
	return true;
}

static bool fake_vm_create(struct vm *vm, GError **error)
{
	vm->engine_data = g_new0(struct fake_vm, 1);
	return true;
}

static void fake_vm_destroy(struct vm *vm)
{
	g_free(vm->engine_data);
}

static enum engine_irqchip fake_irqchip(struct vm *vm)
{
	return ENGINE_IRQCHIP_SPLIT;
}

static bool fake_vcpu_create(struct vcpu *vcpu, GError **error)
{
	struct fake_vcpu *f = g_new0(struct fake_vcpu, 1);
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->kicked_changed, NULL);
	vcpu->engine_data = f;
	return true;
}

static void fake_vcpu_destroy(struct vcpu *vcpu)
{
	g_free(vcpu->engine_data);
}

static void fake_vcpu_reset(struct vcpu *vcpu)
{
	fake_of(vcpu->vm)->resets++;
}

static bool take_kick(struct fake_vcpu *f, bool wait)
{
	LOCK_SCOPE(&f->lock);
	while (wait && !f->kicked)
		pthread_cond_wait(&f->kicked_changed, &f->lock);
	bool kicked = f->kicked;
	f->kicked = false;
	return kicked;
}

static enum vcpu_exit fake_vcpu_run(struct vcpu *vcpu, GError **error)
{
	struct fake_vm *vm = fake_of(vcpu->vm);
	enum vcpu_exit exit = FAKE_STEP_ON;
	vm->runs++;
	vm->in_guest++;
	while (exit == FAKE_STEP_ON) {
		if (take_kick(vcpu->engine_data, !vm->step))
			exit = VCPU_EXIT_KICKED;
		else if (vm->step)
			exit = vm->step(vcpu, vm->opaque);
	}
	vm->in_guest--;
	return exit;
}

static void fake_vcpu_kick(struct vcpu *vcpu)
{
	struct fake_vcpu *f = vcpu->engine_data;
	LOCK_SCOPE(&f->lock);
	f->kicked = true;
	pthread_cond_signal(&f->kicked_changed);
}

static void fake_run_changed(struct vm *vm, bool running)
{
	fake_of(vm)->running = running;
}

static void fake_msi_send(struct vm *vm, uint64_t address, uint32_t data)
{
	struct fake_vm *f = fake_of(vm);
	f->last_msi_address = address;
	f->last_msi_data = data;
	f->msis++;
}

static void fake_extint_set(struct vm *vm, bool level)
{
}

static void fake_nmi(struct vcpu *vcpu)
{
}

static bool fake_irqfd_attach(struct vm *vm, int fd, uint64_t address, uint32_t data, GError **error)
{
	struct fake_vm *f = fake_of(vm);
	if (f->irqfd_refuse || f->irqfd_count == FAKE_IRQFDS)
		return error_set(error, BERTH_ERR_BUSY, "no route is left");
	f->irqfds[f->irqfd_count++] = (struct fake_irqfd){fd, address, data};
	return true;
}

static void fake_irqfd_detach(struct vm *vm, int fd)
{
	struct fake_vm *f = fake_of(vm);
	unsigned i = 0;
	while (i < f->irqfd_count && f->irqfds[i].fd != fd)
		i++;
	g_assert_cmpuint(i, <, f->irqfd_count);
	f->irqfds[i] = f->irqfds[--f->irqfd_count];
}

unsigned fake_irqfds_deliver(struct vm *vm)
{
	struct fake_vm *f = fake_of(vm);
	unsigned delivered = 0;
	for (unsigned i = 0; i < f->irqfd_count; i++) {
		uint64_t count;
		if (read(f->irqfds[i].fd, &count, sizeof(count)) != sizeof(count))
			continue;
		fake_msi_send(vm, f->irqfds[i].address, f->irqfds[i].data);
		delivered++;
	}
	return delivered;
}

/* clang-format off */
#define FAKE_OPERATIONS \
	.name = "fake", \
	.description = "executes nothing", \
	.probe = fake_probe, \
	.vm_create = fake_vm_create, \
	.vm_destroy = fake_vm_destroy, \
	.irqchip = fake_irqchip, \
	.vcpu_create = fake_vcpu_create, \
	.vcpu_destroy = fake_vcpu_destroy, \
	.vcpu_reset = fake_vcpu_reset, \
	.vcpu_run = fake_vcpu_run, \
	.vcpu_kick = fake_vcpu_kick, \
	.run_changed = fake_run_changed, \
	.msi_send = fake_msi_send, \
	.extint_set = fake_extint_set, \
	.nmi = fake_nmi,
/* clang-format on */

const struct engine_ops fake_engine = {
	FAKE_OPERATIONS
};

const struct engine_ops fake_irqfd_engine = {
	FAKE_OPERATIONS
	.irqfd_attach = fake_irqfd_attach,
	.irqfd_detach = fake_irqfd_detach,
};
