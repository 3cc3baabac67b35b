/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The KVM engine: creation and the table of operations. */
#include "cpu/kvm/engine.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "cpu/kvm/kvm_int.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/mman.h>

/*
 * Intel without "unrestricted guest" runs real mode as virtual-8086 and needs three pages for a TSS
 * and one for an identity page table; they lie where boards reserve memory for the firmware.
 */
#define IDENTITY_MAP UINT64_C(0xfeffc000)
#define TSS_ADDRESS  (IDENTITY_MAP + 0x1000)

int kvm_ioctl(int fd, unsigned long request, void *argument)
{
	int r;
	do
		r = ioctl(fd, request, argument);
	while (r < 0 && errno == EINTR);
	return r;
}

int kvm_capability(int fd, int capability)
{
	int r = ioctl(fd, KVM_CHECK_EXTENSION, capability);
	return r < 0 ? 0 : r;
}

static void kick_handler(int signal)
{
	/* Its arrival ends KVM_RUN with EINTR; there is nothing else to do. */
}

static bool install_kick_signal(GError **error)
{
	struct sigaction action = {.sa_handler = kick_handler};
	sigemptyset(&action.sa_mask);
	if (sigaction(KVM_KICK_SIGNAL, &action, NULL) < 0)
		return error_set_errno(error, errno, "cannot install the signal that kicks vCPUs");
	return true;
}

static bool create(struct kvm_vm *kvm, GError **error)
{
	uint64_t identity = IDENTITY_MAP;
	kvm->kvm_fd = kvm_open(error);
	if (kvm->kvm_fd < 0 || !install_kick_signal(error))
		return false;
	kvm->vm_fd = kvm_ioctl(kvm->kvm_fd, KVM_CREATE_VM, NULL);
	if (kvm->vm_fd < 0)
		return error_set_errno(error, errno, "KVM cannot create a VM");
	kvm->has_xcrs = kvm_capability(kvm->kvm_fd, KVM_CAP_XCRS);
	kvm->run_size = kvm_ioctl(kvm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, NULL);
	if (kvm_ioctl(kvm->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity) < 0 ||
	    ioctl(kvm->vm_fd, KVM_SET_TSS_ADDR, TSS_ADDRESS) < 0)
		return error_set_errno(error, errno, "KVM refuses the place of its own pages");
	if (!kvm_irq_create(kvm, error))
		return false;
	kvm_memory_listen(kvm);
	return true;
}

static void destroy(struct kvm_vm *kvm)
{
	if (kvm->vm_fd >= 0) {
		kvm_memory_unlisten(kvm);
		kvm_irq_destroy(kvm);
	}
	fd_clear(&kvm->vm_fd);
	fd_clear(&kvm->kvm_fd);
	pthread_mutex_destroy(&kvm->gate_lock);
	pthread_cond_destroy(&kvm->gate_changed);
	pthread_mutex_destroy(&kvm->route_lock);
	g_array_unref(kvm->slots);
	g_array_unref(kvm->free_slot_ids);
	g_array_unref(kvm->irqfds);
	g_free(kvm->routes);
	g_free(kvm);
}

static bool kvm_vm_create(struct vm *vm, GError **error)
{
	struct kvm_vm *kvm = g_new0(struct kvm_vm, 1);
	kvm->vm = vm;
	kvm->kvm_fd = kvm->vm_fd = -1;
	kvm->full_irqchip = !vm->config.kernel_irqchip_split;
	kvm->slots = g_array_new(FALSE, FALSE, sizeof(struct kvm_slot));
	kvm->free_slot_ids = g_array_new(FALSE, FALSE, sizeof(uint32_t));
	kvm->irqfds = g_array_new(FALSE, FALSE, sizeof(struct kvm_irqfd_entry));
	pthread_mutex_init(&kvm->gate_lock, NULL);
	pthread_cond_init(&kvm->gate_changed, NULL);
	pthread_mutex_init(&kvm->route_lock, NULL);
	if (!create(kvm, error)) {
		destroy(kvm);
		return false;
	}
	vm->engine_data = kvm;
	return true;
}

static void kvm_vm_destroy(struct vm *vm)
{
	destroy(g_steal_pointer(&vm->engine_data));
}

static enum engine_irqchip kvm_irqchip(struct vm *vm)
{
	return kvm_of(vm)->full_irqchip ? ENGINE_IRQCHIP_FULL : ENGINE_IRQCHIP_SPLIT;
}

static void kvm_vcpu_destroy(struct vcpu *vcpu)
{
	struct kvm_vcpu *v = g_steal_pointer(&vcpu->engine_data);
	if (v->run)
		munmap(v->run, v->kvm->run_size);
	fd_clear(&v->fd);
	g_free(v);
}

static bool create_vcpu(struct kvm_vcpu *v, GError **error)
{
	struct kvm_vm *kvm = v->kvm;
	/* The vCPU's number is its APIC id (api 4.7). */
	v->fd = ioctl(kvm->vm_fd, KVM_CREATE_VCPU, (unsigned long)v->vcpu->apic_id);
	if (v->fd < 0)
		return error_set_errno(error, errno, "KVM cannot create vCPU %u (APIC id %u)",
				       v->vcpu->index, v->vcpu->apic_id);
	void *run = mmap(NULL, kvm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	if (run == MAP_FAILED)
		return error_set_errno(error, errno, "cannot map vCPU %u", v->vcpu->index);
	v->run = run;
	int khz = ioctl(v->fd, KVM_GET_TSC_KHZ, 0);
	kvm->tsc_khz = khz > 0 ? khz : 0;
	return kvm_vcpu_set_cpuid(v, error);
}

static bool kvm_vcpu_create(struct vcpu *vcpu, GError **error)
{
	struct kvm_vcpu *v = g_new0(struct kvm_vcpu, 1);
	v->vcpu = vcpu;
	v->kvm = kvm_of(vcpu->vm);
	v->fd = -1;
	vcpu->engine_data = v;
	if (create_vcpu(v, error))
		return true;
	kvm_vcpu_destroy(vcpu);
	return false;
}

static char *kvm_describe(struct vm *vm)
{
	struct kvm_vm *kvm = kvm_of(vm);
	GString *text = g_string_new("kvm: hardware virtualization by the host's kernel\n");
	g_string_append_printf(text, "interrupt controllers: %s\n",
			       kvm->full_irqchip ? "all in the kernel"
						 : "local APICs in the kernel, PIC and IOAPIC here");
	g_string_append_printf(text, "memory slots: %u\nTSC: %u kHz\n", kvm->slots->len,
			       kvm->tsc_khz);
	for (unsigned i = 0; i < vm->vcpu_count; i++)
		g_string_append_printf(text, "vCPU %u: %" PRIu64 " exits\n", i,
				       kvm_vcpu_of(&vm->vcpus[i])->exits);
	return g_string_free(text, FALSE);
}

const struct engine_ops kvm_engine = {
	.name = "kvm",
	.description = "hardware virtualization (VT-x, AMD-V) by the host's kernel",
	.probe = kvm_probe,
	.features = kvm_features,
	.vm_create = kvm_vm_create,
	.vm_destroy = kvm_vm_destroy,
	.irqchip = kvm_irqchip,
	.vcpu_create = kvm_vcpu_create,
	.vcpu_destroy = kvm_vcpu_destroy,
	.vcpu_reset = kvm_vcpu_reset,
	.vcpu_run = kvm_vcpu_run,
	.vcpu_kick = kvm_vcpu_kick,
	.run_changed = kvm_run_changed,
	.vcpu_get_state = kvm_get_state,
	.vcpu_set_state = kvm_set_state,
	.gsi_set = kvm_gsi_set,
	.msi_send = kvm_msi_send,
	.extint_set = kvm_extint_set,
	.nmi = kvm_nmi,
	.irqfd_attach = kvm_irqfd_attach,
	.irqfd_detach = kvm_irqfd_detach,
	.dirty_log_start = kvm_dirty_log_start,
	.dirty_log_sync = kvm_dirty_log_sync,
	.dirty_log_stop = kvm_dirty_log_stop,
	.describe = kvm_describe,
};
