/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A local APIC (SDM vol. 3, chapter 11), xAPIC and x2APIC, for engines that have none of their own.
 *
 * Threads: the owner is the vCPU's thread (or anyone while the VM is paused). Other threads send it
 * messages; those only set bits in atomics and then call ops->notify, so there is no lock at all and
 * callbacks may do as they like. Registers that others read for routing are atomics too.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct lapic;

#define LAPIC_PAGE_SIZE 0x1000
#define LAPIC_DEFAULT_BASE UINT64_C(0xfee00000)
#define LAPIC_NEVER INT64_MAX
/* The timer's input clock: one tick per nanosecond, as CPUID 0x15 says too. */

enum lapic_event { LAPIC_EVENT_INTERRUPT, LAPIC_EVENT_NMI, LAPIC_EVENT_INIT, LAPIC_EVENT_SIPI };

struct lapic_ops {
	/* Something arrived; `vector` is SIPI's. Any thread. */
	void (*notify)(void *opaque, enum lapic_event event, uint8_t vector);
	/* EOI of a level-triggered vector, to the I/O APICs. Owner's thread. */
	void (*eoi)(void *opaque, uint8_t vector);
	/* lapic_timer_deadline() has changed. Owner's thread. May be NULL. */
	void (*timer_changed)(void *opaque);
	/* The VM's local APICs in any fixed order; NULL past the last. Any thread. */
	struct lapic *(*peer)(void *opaque, unsigned index);
	/* CLOCK_MONOTONIC in ns, and the moment when the guest's TSC will be `tsc`. */
	int64_t (*now)(void *opaque);
	int64_t (*tsc_moment)(void *opaque, uint64_t tsc);
};

enum lapic_delivery {
	LAPIC_FIXED = 0, LAPIC_LOWEST = 1, LAPIC_SMI = 2, LAPIC_NMI = 4, LAPIC_INIT = 5,
	LAPIC_STARTUP = 6, LAPIC_EXTINT = 7,
};

struct lapic_message {
	uint32_t destination; /* 32 bits from x2APIC, else 8 */
	bool logical, level, x2apic /* the destination is in x2APIC's format */;
	uint8_t delivery; /* enum lapic_delivery */
	uint8_t vector;
};

struct lapic *lapic_new(const struct lapic_ops *ops, void *opaque, uint32_t apic_id,
			bool boot_processor);
void lapic_free(struct lapic *lapic);
/* RESET, or with `init` what INIT does: mode and base stay. Owner. */
void lapic_reset(struct lapic *lapic, bool init);

/* Any 32-bit aligned access to the page; others have no effect. Owner. */
uint32_t lapic_mmio_read(struct lapic *lapic, uint32_t offset);
void lapic_mmio_write(struct lapic *lapic, uint32_t offset, uint32_t value);
/* MSRs 0x800 to 0x8ff. False: #GP. Owner. */
bool lapic_msr_read(struct lapic *lapic, uint32_t msr, uint64_t *value);
bool lapic_msr_write(struct lapic *lapic, uint32_t msr, uint64_t value);
/* IA32_APIC_BASE. False: #GP (reserved bits or a forbidden change of mode). */
uint64_t lapic_base_get(const struct lapic *lapic);
bool lapic_base_set(struct lapic *lapic, uint64_t value, unsigned phys_bits, bool has_x2apic);
/* Does the register page answer at `phys`, which is somewhere in a page? */
bool lapic_page_matches(const struct lapic *lapic, uint64_t phys);

/* CR8, which is TPR >> 4. Owner. */
void lapic_cr8_set(struct lapic *lapic, uint8_t cr8);
uint8_t lapic_cr8_get(const struct lapic *lapic);

/* Is there a vector that priority lets through now (-1: none)? Owner. */
int lapic_pending_vector(struct lapic *lapic);
/* Take it: IRR to ISR. -1 if it has gone; 0 to 255 otherwise. Owner. */
int lapic_acknowledge(struct lapic *lapic);
/* Does LINT0 (or an APIC that is off) pass the PIC's INTR on? Owner. */
bool lapic_accepts_extint(const struct lapic *lapic);

/* Route a message to whoever it names among via's peers. Any thread. */
void lapic_send(struct lapic *via, const struct lapic_message *message);
/* An MSI as devices and IOAPICs write it. Any thread. */
void lapic_send_msi(struct lapic *via, uint64_t address, uint32_t data);
/* The NMI button, wired to LINT1 of every processor. Any thread. */
void lapic_lint1_nmi(struct lapic *lapic);

/* When lapic_timer_poll() must be called (ops->now's clock), or LAPIC_NEVER. Owner. */
int64_t lapic_timer_deadline(const struct lapic *lapic);
/* Fires the timer if its moment has come. Owner. */
void lapic_timer_poll(struct lapic *lapic);
/* The guest did not run for `ns`: the timer expires that much later. Owner. */
void lapic_timer_put_off(struct lapic *lapic, int64_t ns);
/* IA32_TSC_DEADLINE. Owner. */
uint64_t lapic_tsc_deadline_get(struct lapic *lapic);
void lapic_tsc_deadline_set(struct lapic *lapic, uint64_t tsc);

/* The register page in KVM_GET_LAPIC's layout (x2APIC: the 32-bit id at 0x20). Owner. */
void lapic_save(const struct lapic *lapic, uint8_t page[0x400]);
void lapic_load(struct lapic *lapic, const uint8_t page[0x400], uint64_t apic_base,
		uint64_t tsc_deadline);
