/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory slots from the memory space's flat view, doorbells as ioeventfds, and the dirty log.
 *
 * A slot cannot be split or moved: it is deleted and others are added. Between the two its guest
 * memory is missing, and a vCPU that touched it would see MMIO. So while slots with RAM that stays
 * are replaced, the gate keeps all vCPUs out of the guest.
 *
 * Slots hold whole pages. Where an I/O region shares a page with RAM, that page is no part of any
 * slot and every access to it comes to us.
 */
#include "base/bytes.h"
#include "base/error.h"
#include "base/log.h"
#include "cpu/kvm/kvm_int.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static bool same_slot(const struct kvm_slot *a, const struct kvm_slot *b)
{
	return a->base == b->base && a->size == b->size && a->host == b->host && a->flags == b->flags;
}

static int set_slot(struct kvm_vm *kvm, const struct kvm_slot *s, bool present)
{
	struct kvm_userspace_memory_region region = {
		.slot = s->id,
		.flags = present ? s->flags : 0,
		.guest_phys_addr = s->base,
		.memory_size = present ? s->size : 0,
		.userspace_addr = (uintptr_t)s->host,
	};
	return kvm_ioctl(kvm->vm_fd, KVM_SET_USER_MEMORY_REGION, &region);
}

static uint32_t flags_of(const struct kvm_vm *kvm, const struct space_range *r)
{
	if (!r->ram)
		return 0;
	return (r->readonly ? KVM_MEM_READONLY : 0) |
	       (kvm->dirty_log && !r->readonly ? KVM_MEM_LOG_DIRTY_PAGES : 0);
}

/* Where the host has the range's first byte; NULL: every access to it must come to us. */
static uint8_t *host_of(const struct space_range *r)
{
	if (r->ram)
		return r->ram->host + r->ram_offset;
	return r->region->direct ? r->region->direct + r->region_offset : NULL;
}

/* The slots that the view asks for, by base. */
static GArray *wanted_slots(struct kvm_vm *kvm, const struct space_range *ranges, unsigned count)
{
	GArray *wanted = g_array_new(FALSE, FALSE, sizeof(struct kvm_slot));
	for (unsigned i = 0; i < count; i++) {
		const struct space_range *r = &ranges[i];
		uint64_t start = align_up(r->base, PAGE_SIZE);
		uint64_t end = align_down(r->base + r->size, PAGE_SIZE);
		uint8_t *host = host_of(r);
		/* A host page must back a guest page: not so if the offsets within it differ. */
		if (!host || start >= end || ((r->base ^ (uintptr_t)host) & PAGE_MASK))
			continue;
		struct kvm_slot slot = {
			.base = start,
			.size = end - start,
			.ram = r->ram,
			.ram_offset = r->ram_offset + (start - r->base),
			.host = host + (start - r->base),
			.flags = flags_of(kvm, r),
		};
		g_array_append_val(wanted, slot);
	}
	return wanted;
}

static bool overlaps(const struct kvm_slot *a, const struct kvm_slot *b)
{
	return a->base < b->base + b->size && b->base < a->base + a->size;
}

/* Drop from `wanted` the slots that exist as they are; from kvm->slots move the others to `gone`. */
static void sort_out(struct kvm_vm *kvm, GArray *wanted, GArray *kept, GArray *gone)
{
	for (unsigned i = 0; i < kvm->slots->len; i++) {
		struct kvm_slot *have = &g_array_index(kvm->slots, struct kvm_slot, i);
		unsigned j = 0;
		while (j < wanted->len && !same_slot(have, &g_array_index(wanted, struct kvm_slot, j)))
			j++;
		if (j < wanted->len) {
			g_array_remove_index(wanted, j);
			g_array_append_val(kept, *have);
		} else {
			g_array_append_val(gone, *have);
		}
	}
}

static bool any_overlap(const GArray *a, const GArray *b)
{
	for (unsigned i = 0; i < a->len; i++)
		for (unsigned j = 0; j < b->len; j++)
			if (overlaps(&g_array_index(a, struct kvm_slot, i),
				     &g_array_index(b, struct kvm_slot, j)))
				return true;
	return false;
}

static uint32_t take_slot_id(struct kvm_vm *kvm)
{
	if (!kvm->free_slot_ids->len)
		return kvm->next_slot_id++;
	uint32_t id = g_array_index(kvm->free_slot_ids, uint32_t, kvm->free_slot_ids->len - 1);
	g_array_set_size(kvm->free_slot_ids, kvm->free_slot_ids->len - 1);
	return id;
}

static void fetch_dirty(struct kvm_vm *kvm, const struct kvm_slot *slot);

static void apply(struct kvm_vm *kvm, GArray *gone, GArray *added, GArray *kept)
{
	for (unsigned i = 0; i < gone->len; i++) {
		struct kvm_slot *s = &g_array_index(gone, struct kvm_slot, i);
		/* What was written since the last sync would go with the slot. */
		if (s->flags & KVM_MEM_LOG_DIRTY_PAGES)
			fetch_dirty(kvm, s);
		if (set_slot(kvm, s, false) < 0)
			log_error("KVM cannot remove memory at %#" PRIx64 ": %s", s->base,
				  g_strerror(errno));
		g_array_append_val(kvm->free_slot_ids, s->id);
	}
	for (unsigned i = 0; i < added->len; i++) {
		struct kvm_slot *s = &g_array_index(added, struct kvm_slot, i);
		s->id = take_slot_id(kvm);
		if (set_slot(kvm, s, true) < 0) {
			/* Every access will exit and be done by us: slow, but right. */
			log_error("KVM cannot map %" PRIu64 " KiB of memory at %#" PRIx64 ": %s",
				  s->size / 1024, s->base, g_strerror(errno));
			g_array_append_val(kvm->free_slot_ids, s->id);
			continue;
		}
		g_array_append_val(kept, *s);
	}
}

static void memory_changed(void *opaque, const struct space_range *ranges, unsigned count)
{
	struct kvm_vm *kvm = opaque;
	g_autoptr(GArray) wanted = wanted_slots(kvm, ranges, count);
	g_autoptr(GArray) gone = g_array_new(FALSE, FALSE, sizeof(struct kvm_slot));
	GArray *kept = g_array_new(FALSE, FALSE, sizeof(struct kvm_slot));
	sort_out(kvm, wanted, kept, gone);
	bool gate = any_overlap(gone, wanted);
	if (gate)
		kvm_gate_close(kvm);
	apply(kvm, gone, wanted, kept);
	if (gate)
		kvm_gate_open(kvm);
	g_array_unref(kvm->slots);
	kvm->slots = kept;
}

static void set_doorbell(struct kvm_vm *kvm, const struct space_doorbell *b, bool on, uint32_t flags)
{
	struct kvm_ioeventfd io = {
		.datamatch = b->match ? b->value : 0,
		.addr = b->addr,
		.len = b->size,
		.fd = b->fd,
		.flags = flags | (b->match ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0) |
			 (on ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN),
	};
	/* Without it the write comes to space_write(), which rings the same eventfd. */
	if (kvm_ioctl(kvm->vm_fd, KVM_IOEVENTFD, &io) < 0 && on)
		log_debug("KVM does not take the doorbell at %#" PRIx64 ": %s", b->addr,
			  g_strerror(errno));
}

static void memory_doorbell(void *opaque, const struct space_doorbell *b, bool on)
{
	set_doorbell(opaque, b, on, 0);
}

static void port_doorbell(void *opaque, const struct space_doorbell *b, bool on)
{
	set_doorbell(opaque, b, on, KVM_IOEVENTFD_FLAG_PIO);
}

void kvm_memory_listen(struct kvm_vm *kvm)
{
	struct vm *vm = kvm->vm;
	space_set_listener(vm->memory, &(struct space_listener){.changed = memory_changed,
								 .doorbell = memory_doorbell,
								 .opaque = kvm});
	space_set_listener(vm->ports,
			   &(struct space_listener){.doorbell = port_doorbell, .opaque = kvm});
}

void kvm_memory_unlisten(struct kvm_vm *kvm)
{
	space_set_listener(kvm->vm->memory, NULL);
	space_set_listener(kvm->vm->ports, NULL);
}

/* --- Dirty log ------------------------------------------------------------------------------ */

static void fetch_dirty(struct kvm_vm *kvm, const struct kvm_slot *slot)
{
	uint64_t pages = slot->size >> PAGE_BITS;
	/* api 4.8: a bit a page, rounded up to 64. */
	g_autofree uint64_t *bitmap = g_new0(uint64_t, (pages + 63) / 64);
	struct kvm_dirty_log log = {.slot = slot->id, .dirty_bitmap = bitmap};
	if (kvm_ioctl(kvm->vm_fd, KVM_GET_DIRTY_LOG, &log) < 0) {
		/* Unknown means written. */
		memset(bitmap, 0xff, (pages + 63) / 64 * 8);
		log_error("KVM gives no dirty log: %s; all pages count as written", g_strerror(errno));
	}
	uint64_t first = slot->ram_offset >> PAGE_BITS;
	for (uint64_t word = 0; word * 64 < pages; word++) {
		for (uint64_t bits = bitmap[word]; bits; bits &= bits - 1) {
			uint64_t page = word * 64 + __builtin_ctzll(bits);
			if (page < pages)
				atomic_fetch_and(&slot->ram->page_state[first + page],
						 (uint8_t)~RAM_PAGE_CLEAN);
		}
	}
}

/* KVM lets a slot's flags change in place. */
static bool set_logging(struct kvm_vm *kvm, bool on, GError **error)
{
	kvm->dirty_log = on;
	for (unsigned i = 0; i < kvm->slots->len; i++) {
		struct kvm_slot *s = &g_array_index(kvm->slots, struct kvm_slot, i);
		if (!s->ram || s->flags & KVM_MEM_READONLY)
			continue;
		s->flags = on ? KVM_MEM_LOG_DIRTY_PAGES : 0;
		if (set_slot(kvm, s, true) < 0)
			return error_set_errno(error, errno, "KVM cannot log writes to '%s'",
					       s->ram->name);
	}
	return true;
}

static void each_ram(struct kvm_vm *kvm, void (*fn)(struct ram_block *ram))
{
	g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
	for (unsigned i = 0; i < kvm->slots->len; i++) {
		struct kvm_slot *s = &g_array_index(kvm->slots, struct kvm_slot, i);
		if (s->ram && !(s->flags & KVM_MEM_READONLY) && g_hash_table_add(seen, s->ram))
			fn(s->ram);
	}
}

bool kvm_dirty_log_start(struct vm *vm, GError **error)
{
	struct kvm_vm *kvm = kvm_of(vm);
	space_begin(vm->memory);
	each_ram(kvm, ram_dirty_start);
	bool ok = set_logging(kvm, true, error);
	space_commit(vm->memory);
	return ok;
}

bool kvm_dirty_log_sync(struct vm *vm, GError **error)
{
	struct kvm_vm *kvm = kvm_of(vm);
	space_begin(vm->memory);
	for (unsigned i = 0; i < kvm->slots->len; i++) {
		struct kvm_slot *s = &g_array_index(kvm->slots, struct kvm_slot, i);
		if (s->flags & KVM_MEM_LOG_DIRTY_PAGES)
			fetch_dirty(kvm, s);
	}
	space_commit(vm->memory);
	return true;
}

void kvm_dirty_log_stop(struct vm *vm)
{
	struct kvm_vm *kvm = kvm_of(vm);
	g_autoptr(GError) error = NULL;
	space_begin(vm->memory);
	if (!set_logging(kvm, false, &error))
		log_warning("%s", error->message);
	each_ram(kvm, ram_dirty_stop);
	space_commit(vm->memory);
}
