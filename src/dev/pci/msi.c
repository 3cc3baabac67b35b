/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Message-signalled interrupts: MSI with per-vector masks and MSI-X. A vector that fires while it is
 * masked becomes pending and is sent when the guest unmasks it. All state is under irq_lock; messages
 * and vector_changed() go out after it is released. Spec: PCI 3.0, 6.8.
 */
#include "dev/pci/pci_int.h"

/* MSI capability: 64-bit address, per-vector masking. */
enum { MSI_CONTROL = 2, MSI_ADDRESS = 4, MSI_DATA = 0xc, MSI_MASK = 0x10, MSI_PENDING = 0x14,
       MSI_SIZE = 0x18 };
enum { MSI_ENABLE = 1 << 0 };

enum { MSIX_CONTROL = 2, MSIX_TABLE = 4, MSIX_PBA = 8, MSIX_SIZE = 0xc };
enum { MSIX_FUNCTION_MASK = 1 << 14, MSIX_ENABLE = 1 << 15 };
enum { MSIX_ENTRY = 16, MSIX_ENTRY_CONTROL = 12 };

static uint16_t msi_control(const struct pci_device *pci)
{
	return pci->msi_cap ? le16_load(pci->config + pci->msi_cap + MSI_CONTROL) : 0;
}

static uint16_t msix_control(const struct pci_device *pci)
{
	return pci->msix.cap ? le16_load(pci->config + pci->msix.cap + MSIX_CONTROL) : 0;
}

bool pci_msix_enabled(const struct pci_device *pci)
{
	return msix_control(pci) & MSIX_ENABLE;
}

bool pci_msi_enabled(const struct pci_device *pci)
{
	return msi_control(pci) & MSI_ENABLE;
}

void pci_add_msi(struct pci_device *pci, unsigned vectors)
{
	g_assert(vectors >= 1 && vectors <= 32 && !(vectors & (vectors - 1)));
	uint8_t offset = pci_add_capability(pci, 0x05, MSI_SIZE);
	uint8_t *c = pci->config + offset, *w = pci->writable + offset;
	pci->msi_cap = offset;
	unsigned log2 = __builtin_ctz(vectors);
	le16_store(c + MSI_CONTROL, log2 << 1 | 1 << 7 | 1 << 8);
	le16_store(w + MSI_CONTROL, MSI_ENABLE | 7 << 4);
	le64_store(w + MSI_ADDRESS, ~UINT64_C(3));
	le16_store(w + MSI_DATA, 0xffff);
	le32_store(w + MSI_MASK, size_mask(4) >> (32 - vectors));
}

/* Vectors that the guest has allowed: at most those that the function offers. */
static unsigned msi_vectors(const struct pci_device *pci)
{
	unsigned offered = msi_control(pci) >> 1 & 7, allowed = msi_control(pci) >> 4 & 7;
	return 1u << MIN(offered, allowed);
}

static uint8_t *msix_entry(const struct pci_device *pci, unsigned vector)
{
	return pci->msix.table + vector * MSIX_ENTRY;
}

static bool msix_masked(const struct pci_device *pci, unsigned vector)
{
	return (msix_control(pci) & MSIX_FUNCTION_MASK) ||
	       (msix_entry(pci, vector)[MSIX_ENTRY_CONTROL] & 1);
}

/* irq_lock held: the message of an enabled vector and whether it is masked. False: none. */
static bool message_locked(struct pci_device *pci, unsigned *vector, uint64_t *address,
			   uint32_t *data, bool *masked)
{
	if (pci_msix_enabled(pci)) {
		if (*vector >= pci->msix.vectors)
			return false;
		const uint8_t *entry = msix_entry(pci, *vector);
		*address = le64_load(entry);
		*data = le32_load(entry + 8);
		*masked = msix_masked(pci, *vector);
		return true;
	}
	if (!pci_msi_enabled(pci))
		return false;
	unsigned count = msi_vectors(pci);
	/* PCI 3.0, 6.8.3.4: with fewer messages than events the function shares them. */
	*vector &= count - 1;
	const uint8_t *c = pci->config + pci->msi_cap;
	*address = le64_load(c + MSI_ADDRESS);
	*data = (le16_load(c + MSI_DATA) & ~(count - 1)) | *vector;
	*masked = le32_load(c + MSI_MASK) >> *vector & 1;
	return true;
}

static void set_pending(struct pci_device *pci, unsigned vector, bool on)
{
	uint8_t *bits = pci_msix_enabled(pci) ? pci->msix.pba :
						pci->config + pci->msi_cap + MSI_PENDING;
	if (on)
		bits[vector / 8] |= 1u << vector % 8;
	else
		bits[vector / 8] &= ~(1u << vector % 8);
}

/* A message is a memory write by the function: without bus mastering it goes nowhere. */
static void send(struct pci_device *pci, uint64_t address, uint32_t data)
{
	if (pci->bus && pci_dma_enabled(pci))
		vm_msi_send(pci->bus->vm, address, data);
}

bool pci_msi_notify(struct pci_device *pci, unsigned vector)
{
	uint64_t address;
	uint32_t data;
	bool masked;
	pthread_mutex_lock(&pci->irq_lock);
	bool enabled = pci_msix_enabled(pci) || pci_msi_enabled(pci);
	bool valid = enabled && message_locked(pci, &vector, &address, &data, &masked);
	if (valid && masked)
		set_pending(pci, vector, true);
	pthread_mutex_unlock(&pci->irq_lock);
	if (valid && !masked)
		send(pci, address, data);
	return enabled;
}

bool pci_msi_message(struct pci_device *pci, unsigned vector, uint64_t *address, uint32_t *data)
{
	bool masked;
	LOCK_SCOPE(&pci->irq_lock);
	return message_locked(pci, &vector, address, data, &masked) && !masked;
}

/* Send a vector that is pending and no longer masked. */
static void deliver_pending(struct pci_device *pci, unsigned vector)
{
	uint64_t address;
	uint32_t data;
	bool masked, fire = false;
	pthread_mutex_lock(&pci->irq_lock);
	const uint8_t *bits = pci_msix_enabled(pci) ? pci->msix.pba :
			      pci_msi_enabled(pci) ? pci->config + pci->msi_cap + MSI_PENDING : NULL;
	unsigned asked = vector;
	if (bits && (bits[vector / 8] >> vector % 8 & 1) &&
	    message_locked(pci, &vector, &address, &data, &masked) && !masked && vector == asked) {
		set_pending(pci, vector, false);
		fire = true;
	}
	pthread_mutex_unlock(&pci->irq_lock);
	if (fire)
		send(pci, address, data);
}

static void vector_maybe_changed(struct pci_device *pci, unsigned vector)
{
	deliver_pending(pci, vector);
	if (pci->vector_changed)
		pci->vector_changed(pci, vector);
}

/* --- the MSI-X table's BAR ---------------------------------------------------------------------- */

static unsigned pba_offset(const struct pci_device *pci)
{
	return align_up(pci->msix.vectors * MSIX_ENTRY, 64);
}

static unsigned pba_bytes(const struct pci_device *pci)
{
	return align_up(pci->msix.vectors, 64) / 8;
}

static uint64_t table_read(void *opaque, uint64_t offset, unsigned size)
{
	struct pci_device *pci = opaque;
	LOCK_SCOPE(&pci->irq_lock);
	if (range_fits(offset, size, pci->msix.vectors * MSIX_ENTRY))
		return le_load(pci->msix.table + offset, size);
	if (offset >= pba_offset(pci) &&
	    range_fits(offset - pba_offset(pci), size, pba_bytes(pci)))
		return le_load(pci->msix.pba + (offset - pba_offset(pci)), size);
	return 0;
}

static void table_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct pci_device *pci = opaque;
	if (!range_fits(offset, size, pci->msix.vectors * MSIX_ENTRY))
		return; /* pending bits are read-only */
	pthread_mutex_lock(&pci->irq_lock);
	for (unsigned i = 0; i < size; i++) {
		unsigned at = (offset + i) % MSIX_ENTRY;
		uint8_t mask = at < MSIX_ENTRY_CONTROL ? 0xff : at == MSIX_ENTRY_CONTROL ? 1 : 0;
		pci->msix.table[offset + i] = value >> (i * 8) & mask;
	}
	pthread_mutex_unlock(&pci->irq_lock);
	unsigned first = offset / MSIX_ENTRY, last = (offset + size - 1) / MSIX_ENTRY;
	for (unsigned v = first; v <= last; v++)
		vector_maybe_changed(pci, v);
}

static const struct io_ops table_ops = {.read = table_read, .write = table_write,
					.min_size = 1, .max_size = 8};

void pci_add_msix(struct pci_device *pci, unsigned vectors, unsigned bar)
{
	g_assert(vectors >= 1 && vectors <= PCI_MSIX_MAX);
	uint8_t offset = pci_add_capability(pci, 0x11, MSIX_SIZE);
	uint8_t *c = pci->config + offset;
	struct pci_msix *x = &pci->msix;
	x->cap = offset;
	x->vectors = vectors;
	x->table = g_malloc0(vectors * MSIX_ENTRY);
	x->pba = g_malloc0(pba_bytes(pci));
	for (unsigned v = 0; v < vectors; v++)
		msix_entry(pci, v)[MSIX_ENTRY_CONTROL] = 1;
	le16_store(c + MSIX_CONTROL, vectors - 1);
	le16_store(pci->writable + offset + MSIX_CONTROL, MSIX_FUNCTION_MASK | MSIX_ENABLE);
	le32_store(c + MSIX_TABLE, bar);
	le32_store(c + MSIX_PBA, pba_offset(pci) | bar);
	uint64_t size = 4096;
	while (size < pba_offset(pci) + pba_bytes(pci))
		size <<= 1;
	x->table_region = (struct io_region){.name = "msix", .ops = &table_ops, .opaque = pci,
					     .size = size};
	pci_add_bar(pci, bar, &x->table_region, false, false, false);
}

void pci_irq_config_before(struct pci_device *pci, struct pci_irq_before *before)
{
	before->msi_control = msi_control(pci);
	before->msix_control = msix_control(pci);
	before->msi_mask = pci->msi_cap ? le32_load(pci->config + pci->msi_cap + MSI_MASK) : 0;
}

void pci_irq_config_written(struct pci_device *pci, const struct pci_irq_before *before)
{
	struct pci_irq_before now;
	pci_irq_config_before(pci, &now);
	if (now.msi_control != before->msi_control || now.msi_mask != before->msi_mask)
		for (unsigned v = 0; pci->msi_cap && v < 32; v++)
			vector_maybe_changed(pci, v);
	if (now.msix_control != before->msix_control)
		for (unsigned v = 0; v < pci->msix.vectors; v++)
			vector_maybe_changed(pci, v);
}

void pci_irq_reset(struct pci_device *pci)
{
	pthread_mutex_lock(&pci->irq_lock);
	if (pci->msi_cap)
		le32_store(pci->config + pci->msi_cap + MSI_PENDING, 0);
	if (pci->msix.cap) {
		memset(pci->msix.table, 0, pci->msix.vectors * MSIX_ENTRY);
		memset(pci->msix.pba, 0, pba_bytes(pci));
		for (unsigned v = 0; v < pci->msix.vectors; v++)
			msix_entry(pci, v)[MSIX_ENTRY_CONTROL] = 1;
	}
	pthread_mutex_unlock(&pci->irq_lock);
	for (unsigned v = 0; pci->vector_changed && v < pci->msix.vectors; v++)
		pci->vector_changed(pci, v);
}
