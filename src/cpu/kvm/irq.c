/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Interrupts: the in-kernel controllers, GSI routing, messages and irqfds.
 *
 * FULL: PIC, IOAPIC and PIT are the kernel's; GSIs 0 to 23 are routed to their pins as on a PC, with
 * the timer's IRQ 0 on IOAPIC pin 2.
 *
 * SPLIT: the board's IOAPIC sends messages. The kernel reports the EOI of a level-triggered vector
 * only if a route of one of the first 24 GSIs names it (api, KVM_CAP_SPLIT_IRQCHIP). So the first
 * time a level-triggered message is sent, it gets one of these routes.
 */
#include "base/error.h"
#include "base/lock.h"
#include "base/log.h"
#include "cpu/kvm/kvm_int.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

enum { MSI_DATA_LEVEL = 1 << 15, PIC_PINS = 16, FIXED_MAX = PIC_PINS + KVM_IOAPIC_ROUTES };

static void add_pin(struct kvm_vm *kvm, unsigned gsi, unsigned chip, unsigned pin)
{
	kvm->routes->entries[kvm->routes->nr++] = (struct kvm_irq_routing_entry){
		.gsi = gsi,
		.type = KVM_IRQ_ROUTING_IRQCHIP,
		.u.irqchip = {.irqchip = chip, .pin = pin},
	};
}

/* The table as it is in kvm->routes, to the kernel. Under route_lock (or before threads). */
static bool commit_routes(struct kvm_vm *kvm, GError **error)
{
	if (kvm_ioctl(kvm->vm_fd, KVM_SET_GSI_ROUTING, kvm->routes) < 0)
		return error_set_errno(error, errno, "KVM refuses the interrupt routes");
	return true;
}

static bool create_full(struct kvm_vm *kvm, GError **error)
{
	struct kvm_pit_config pit = {.flags = KVM_PIT_SPEAKER_DUMMY};
	if (kvm_ioctl(kvm->vm_fd, KVM_CREATE_IRQCHIP, NULL) < 0)
		return error_set_errno(error, errno, "KVM cannot create the interrupt controllers");
	if (kvm_ioctl(kvm->vm_fd, KVM_CREATE_PIT2, &pit) < 0)
		return error_set_errno(error, errno, "KVM cannot create the interval timer");
	for (unsigned i = 0; i < PIC_PINS; i++)
		add_pin(kvm, i, i < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE, i % 8);
	for (unsigned i = 0; i < KVM_IOAPIC_ROUTES; i++)
		if (i != 2)
			add_pin(kvm, i, KVM_IRQCHIP_IOAPIC, i ? i : 2);
	kvm->fixed_routes = kvm->routes->nr;
	return commit_routes(kvm, error);
}

static bool create_split(struct kvm_vm *kvm, GError **error)
{
	struct kvm_enable_cap cap = {.cap = KVM_CAP_SPLIT_IRQCHIP, .args = {KVM_IOAPIC_ROUTES}};
	if (kvm_ioctl(kvm->vm_fd, KVM_ENABLE_CAP, &cap) < 0)
		return error_set_errno(error, errno,
				       "KVM cannot split the interrupt controllers "
				       "(needs Linux 4.5; try kernel-irqchip=on)");
	return true;
}

bool kvm_irq_create(struct kvm_vm *kvm, GError **error)
{
	kvm->routes = g_malloc0(sizeof(*kvm->routes) + (KVM_GSI_COUNT + FIXED_MAX) *
							       sizeof(kvm->routes->entries[0]));
	kvm->gsi_used[0] = (UINT64_C(1) << KVM_IOAPIC_ROUTES) - 1;
	return kvm->full_irqchip ? create_full(kvm, error) : create_split(kvm, error);
}

static void deassign(struct kvm_vm *kvm, const struct kvm_irqfd_entry *e)
{
	struct kvm_irqfd irqfd = {.fd = e->fd, .gsi = e->gsi, .flags = KVM_IRQFD_FLAG_DEASSIGN};
	kvm_ioctl(kvm->vm_fd, KVM_IRQFD, &irqfd);
}

void kvm_irq_destroy(struct kvm_vm *kvm)
{
	for (unsigned i = 0; i < kvm->irqfds->len; i++)
		deassign(kvm, &g_array_index(kvm->irqfds, struct kvm_irqfd_entry, i));
}

/* The in-kernel chips to their power-on state. */
void kvm_irq_reset(struct kvm_vm *kvm)
{
	if (!kvm->full_irqchip)
		return;
	struct kvm_irqchip chip;
	for (unsigned i = KVM_IRQCHIP_PIC_MASTER; i <= KVM_IRQCHIP_PIC_SLAVE; i++) {
		memset(&chip, 0, sizeof(chip));
		chip.chip_id = i;
		/* ELCR's writable bits are wiring, not state. */
		chip.chip.pic.elcr_mask = i == KVM_IRQCHIP_PIC_MASTER ? 0xf8 : 0xde;
		kvm_ioctl(kvm->vm_fd, KVM_SET_IRQCHIP, &chip);
	}
	memset(&chip, 0, sizeof(chip));
	chip.chip_id = KVM_IRQCHIP_IOAPIC;
	chip.chip.ioapic.base_address = 0xfec00000;
	for (unsigned i = 0; i < KVM_IOAPIC_NUM_PINS; i++)
		chip.chip.ioapic.redirtbl[i].fields.mask = 1;
	kvm_ioctl(kvm->vm_fd, KVM_SET_IRQCHIP, &chip);

	struct kvm_pit_state2 pit = {0};
	for (unsigned i = 0; i < 3; i++) {
		pit.channels[i].mode = 3;
		pit.channels[i].gate = i != 2;
		pit.channels[i].count = 0x10000;
	}
	/* Channel 0 starts only when it is programmed. */
	pit.channels[0].mode = 0xff;
	kvm_ioctl(kvm->vm_fd, KVM_SET_PIT2, &pit);
}

void kvm_gsi_set(struct vm *vm, unsigned gsi, bool level)
{
	struct kvm_irq_level line = {.irq = gsi, .level = level};
	if (kvm_ioctl(kvm_of(vm)->vm_fd, KVM_IRQ_LINE, &line) < 0)
		log_guest_fault("interrupt line %u: %s", gsi, g_strerror(errno));
}

/* --- Routes ----------------------------------------------------------------------------------- */

static struct kvm_irq_routing_entry msi_route(uint32_t gsi, uint64_t address, uint32_t data)
{
	return (struct kvm_irq_routing_entry){
		.gsi = gsi,
		.type = KVM_IRQ_ROUTING_MSI,
		.u.msi = {.address_lo = address, .address_hi = address >> 32, .data = data},
	};
}

/* Put `entry` into the table, in place of an older one of its GSI. Under route_lock. */
static void put_route(struct kvm_vm *kvm, struct kvm_irq_routing_entry entry)
{
	struct kvm_irq_routing *t = kvm->routes;
	unsigned i = kvm->fixed_routes;
	while (i < t->nr && t->entries[i].gsi != entry.gsi)
		i++;
	t->entries[i] = entry;
	if (i == t->nr)
		t->nr++;
}

static void drop_route(struct kvm_vm *kvm, uint32_t gsi)
{
	struct kvm_irq_routing *t = kvm->routes;
	for (unsigned i = kvm->fixed_routes; i < t->nr; i++) {
		if (t->entries[i].gsi == gsi) {
			t->entries[i] = t->entries[--t->nr];
			return;
		}
	}
}

static bool is_level_route(const struct kvm_vm *kvm, unsigned i, uint64_t address, uint32_t data)
{
	return kvm->level_routes[i].address == address && kvm->level_routes[i].data == data;
}

/* Make the kernel report this message's EOI. */
static void want_eoi(struct kvm_vm *kvm, uint64_t address, uint32_t data)
{
	g_autoptr(GError) error = NULL;
	LOCK_SCOPE(&kvm->route_lock);
	unsigned count = kvm->level_route_count;
	for (unsigned i = 0; i < count; i++)
		if (is_level_route(kvm, i, address, data))
			return;
	unsigned gsi = count < KVM_IOAPIC_ROUTES ? count : kvm->level_route_next;
	if (count == KVM_IOAPIC_ROUTES)
		kvm->level_route_next = (gsi + 1) % KVM_IOAPIC_ROUTES;
	kvm->level_routes[gsi] = (struct kvm_msi_key){address, data};
	put_route(kvm, msi_route(gsi, address, data));
	if (!commit_routes(kvm, &error))
		log_error("%s", error->message);
	if (count < KVM_IOAPIC_ROUTES)
		kvm->level_route_count = count + 1;
}

void kvm_msi_send(struct vm *vm, uint64_t address, uint32_t data)
{
	struct kvm_vm *kvm = kvm_of(vm);
	if (data & MSI_DATA_LEVEL && !kvm->full_irqchip)
		want_eoi(kvm, address, data);
	struct kvm_msi msi = {.address_lo = address, .address_hi = address >> 32, .data = data};
	/* 0: the guest has no such destination or blocked it (api 4.70). Both are its affair. */
	if (kvm_ioctl(kvm->vm_fd, KVM_SIGNAL_MSI, &msi) < 0)
		log_guest_fault("message interrupt %#" PRIx64 ", %#x: %s", address, data,
				g_strerror(errno));
}

void kvm_extint_set(struct vm *vm, bool level)
{
	if (!vm->vcpu_count)
		return;
	struct kvm_vcpu *v = kvm_vcpu_of(&vm->vcpus[0]);
	if (atomic_exchange(&v->extint, level) != level && level)
		kvm_poke(v);
}

/* --- irqfd ------------------------------------------------------------------------------------ */

static int take_gsi(struct kvm_vm *kvm)
{
	for (unsigned i = 0; i < KVM_GSI_COUNT; i++) {
		if (!(kvm->gsi_used[i / 64] >> (i % 64) & 1)) {
			kvm->gsi_used[i / 64] |= UINT64_C(1) << (i % 64);
			return i;
		}
	}
	return -1;
}

static void release_gsi(struct kvm_vm *kvm, uint32_t gsi)
{
	kvm->gsi_used[gsi / 64] &= ~(UINT64_C(1) << (gsi % 64));
	drop_route(kvm, gsi);
}

bool kvm_irqfd_attach(struct vm *vm, int fd, uint64_t address, uint32_t data, GError **error)
{
	struct kvm_vm *kvm = kvm_of(vm);
	LOCK_SCOPE(&kvm->route_lock);
	int gsi = take_gsi(kvm);
	if (gsi < 0)
		return error_set(error, BERTH_ERR_BUSY, "all %u interrupt routes are in use",
				 KVM_GSI_COUNT);
	struct kvm_irqfd irqfd = {.fd = fd, .gsi = gsi};
	put_route(kvm, msi_route(gsi, address, data));
	if (!commit_routes(kvm, error)) {
		release_gsi(kvm, gsi);
		return false;
	}
	if (kvm_ioctl(kvm->vm_fd, KVM_IRQFD, &irqfd) < 0) {
		error_set_errno(error, errno, "KVM cannot connect an interrupt to an eventfd");
		release_gsi(kvm, gsi);
		return false;
	}
	struct kvm_irqfd_entry entry = {fd, gsi};
	g_array_append_val(kvm->irqfds, entry);
	return true;
}

void kvm_irqfd_detach(struct vm *vm, int fd)
{
	struct kvm_vm *kvm = kvm_of(vm);
	g_autoptr(GError) error = NULL;
	LOCK_SCOPE(&kvm->route_lock);
	for (unsigned i = 0; i < kvm->irqfds->len; i++) {
		struct kvm_irqfd_entry e = g_array_index(kvm->irqfds, struct kvm_irqfd_entry, i);
		if (e.fd != fd)
			continue;
		deassign(kvm, &e);
		release_gsi(kvm, e.gsi);
		g_array_remove_index(kvm->irqfds, i);
		if (!commit_routes(kvm, &error))
			log_error("%s", error->message);
		return;
	}
}
