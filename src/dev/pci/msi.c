/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Message-signalled interrupts: MSI and MSI-X. A vector that fires while it is
 * masked becomes pending and is sent when the guest unmasks it. All state is under irq_lock; messages
 * and vector_changed() go out after it is released. Spec: PCI 3.0, 6.8.
 */
#include "dev/pci/pci_int.h"

/*
 * MSI capability: the data follows an address of 32 or 64 bits, and after it, at the next multiple of 4,
 * there may be mask and pending bits.
 */
enum { MSI_CONTROL = 2, MSI_ADDRESS = 4, MSI_DATA_32 = 8, MSI_DATA_64 = 0xc, MSI_DATA_MASK = 4,
       MSI_DATA_PENDING = 8, MSI_SIZE_MAX = 0x18 };
enum { MSI_ENABLE = 1 << 0, MSI_WIDE = 1 << 7, MSI_MASKABLE = 1 << 8 };

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

static uint8_t *msi_data(struct pci_device *pci)
{
	return pci->config + pci->msi_cap + (msi_control(pci) & MSI_WIDE ? MSI_DATA_64 : MSI_DATA_32);
}

static uint32_t msi_mask(struct pci_device *pci)
{
	return msi_control(pci) & MSI_MASKABLE ? le32_load(msi_data(pci) + MSI_DATA_MASK) : 0;
}

unsigned pci_place_msi(struct pci_device *pci, uint8_t offset, unsigned vectors, bool wide, bool maskable)
{
	g_assert(vectors >= 1 && vectors <= 32 && !(vectors & (vectors - 1)));
	uint8_t *c = pci->config + offset, *w = pci->writable + offset;
	pci->msi_cap = offset;
	unsigned log2 = __builtin_ctz(vectors), data = wide ? MSI_DATA_64 : MSI_DATA_32;
	le16_store(c + MSI_CONTROL, log2 << 1 | (wide ? MSI_WIDE : 0) | (maskable ? MSI_MASKABLE : 0));
	le16_store(w + MSI_CONTROL, MSI_ENABLE | 7 << 4);
	le32_store(w + MSI_ADDRESS, ~UINT32_C(3));
	if (wide)
		le32_store(w + MSI_ADDRESS + 4, UINT32_MAX);
	le16_store(w + data, 0xffff);
	if (!maskable)
		return data + 2;
	le32_store(w + data + MSI_DATA_MASK, size_mask(4) >> (32 - vectors));
	return data + MSI_DATA_PENDING + 4;
}

void pci_add_msi(struct pci_device *pci, unsigned vectors)
{
	pci_place_msi(pci, pci_add_capability(pci, 0x05, MSI_SIZE_MAX), vectors, true, true);
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
	*address = msi_control(pci) & MSI_WIDE ? le64_load(c + MSI_ADDRESS) : le32_load(c + MSI_ADDRESS);
	*data = (le16_load(msi_data(pci)) & ~(count - 1)) | *vector;
	*masked = msi_mask(pci) >> *vector & 1;
	return true;
}

/* Of MSI-X, if that is enabled, else of MSI; NULL: there are none. */
static uint8_t *pending_bits(struct pci_device *pci)
{
	if (pci_msix_enabled(pci))
		return pci->msix.pba;
	return msi_control(pci) & MSI_MASKABLE ? msi_data(pci) + MSI_DATA_PENDING : NULL;
}

static void set_pending(struct pci_device *pci, unsigned vector, bool on)
{
	uint8_t *bits = pending_bits(pci);
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
	bool enabled = pci_msix_enabled(pci) || pci_msi_enabled(pci);
	const uint8_t *bits = enabled ? pending_bits(pci) : NULL;
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

/* --- the MSI-X table ---------------------------------------------------------------------- */

unsigned pci_msix_table_size(const struct pci_device *pci)
{
	return pci->msix.vectors * MSIX_ENTRY;
}

unsigned pci_msix_pba_size(const struct pci_device *pci)
{
	return align_up(pci->msix.vectors, 64) / 8;
}

uint64_t pci_msix_table_read(struct pci_device *pci, uint64_t offset, unsigned size)
{
	LOCK_SCOPE(&pci->irq_lock);
	return le_load(pci->msix.table + offset, size);
}

uint64_t pci_msix_pba_read(struct pci_device *pci, uint64_t offset, unsigned size)
{
	LOCK_SCOPE(&pci->irq_lock);
	return le_load(pci->msix.pba + offset, size);
}

void pci_msix_table_write(struct pci_device *pci, uint64_t offset, uint64_t value, unsigned size)
{
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

/* Of an own BAR: the pending bits follow the table. */
static unsigned own_pba(const struct pci_device *pci)
{
	return align_up(pci_msix_table_size(pci), 64);
}

static uint64_t table_read(void *opaque, uint64_t offset, unsigned size)
{
	struct pci_device *pci = opaque;
	if (range_fits(offset, size, pci_msix_table_size(pci)))
		return pci_msix_table_read(pci, offset, size);
	if (offset >= own_pba(pci) && range_fits(offset - own_pba(pci), size, pci_msix_pba_size(pci)))
		return pci_msix_pba_read(pci, offset - own_pba(pci), size);
	return 0;
}

static void table_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct pci_device *pci = opaque;
	/* Pending bits are read-only. */
	if (range_fits(offset, size, pci_msix_table_size(pci)))
		pci_msix_table_write(pci, offset, value, size);
}

static const struct io_ops table_ops = {.read = table_read, .write = table_write,
					.min_size = 1, .max_size = 8};

void pci_place_msix(struct pci_device *pci, uint8_t offset, unsigned vectors, uint32_t table, uint32_t pba)
{
	g_assert(vectors >= 1 && vectors <= PCI_MSIX_MAX);
	uint8_t *c = pci->config + offset;
	struct pci_msix *x = &pci->msix;
	x->cap = offset;
	x->vectors = vectors;
	x->table = g_malloc0(pci_msix_table_size(pci));
	x->pba = g_malloc0(pci_msix_pba_size(pci));
	for (unsigned v = 0; v < vectors; v++)
		msix_entry(pci, v)[MSIX_ENTRY_CONTROL] = 1;
	le16_store(c + MSIX_CONTROL, vectors - 1);
	le16_store(pci->writable + offset + MSIX_CONTROL, MSIX_FUNCTION_MASK | MSIX_ENABLE);
	le32_store(c + MSIX_TABLE, table);
	le32_store(c + MSIX_PBA, pba);
}

void pci_add_msix(struct pci_device *pci, unsigned vectors, unsigned bar)
{
	struct pci_msix *x = &pci->msix;
	pci_place_msix(pci, pci_add_capability(pci, 0x11, MSIX_SIZE), vectors, bar,
		       align_up(vectors * MSIX_ENTRY, 64) | bar);
	uint64_t size = 4096;
	while (size < own_pba(pci) + pci_msix_pba_size(pci))
		size <<= 1;
	x->table_region = (struct io_region){.name = "msix", .ops = &table_ops, .opaque = pci,
					     .size = size};
	pci_add_bar(pci, bar, &x->table_region, false, false, false);
}

void pci_irq_config_before(struct pci_device *pci, struct pci_irq_before *before)
{
	before->msi_control = msi_control(pci);
	before->msix_control = msix_control(pci);
	before->msi_mask = pci->msi_cap ? msi_mask(pci) : 0;
	before->msi_address = before->msi_data = 0;
	if (!pci->msi_cap)
		return;
	before->msi_address = le64_load(pci->config + pci->msi_cap + MSI_ADDRESS);
	before->msi_data = le16_load(msi_data(pci));
}

void pci_irq_config_written(struct pci_device *pci, const struct pci_irq_before *before)
{
	struct pci_irq_before now;
	pci_irq_config_before(pci, &now);
	if (now.msi_control != before->msi_control || now.msi_mask != before->msi_mask ||
	    now.msi_address != before->msi_address || now.msi_data != before->msi_data)
		for (unsigned v = 0; pci->msi_cap && v < 32; v++)
			vector_maybe_changed(pci, v);
	if (now.msix_control != before->msix_control)
		for (unsigned v = 0; v < pci->msix.vectors; v++)
			vector_maybe_changed(pci, v);
}

void pci_irq_reset(struct pci_device *pci)
{
	pthread_mutex_lock(&pci->irq_lock);
	if (msi_control(pci) & MSI_MASKABLE)
		le32_store(msi_data(pci) + MSI_DATA_PENDING, 0);
	if (pci->msix.cap) {
		memset(pci->msix.table, 0, pci_msix_table_size(pci));
		memset(pci->msix.pba, 0, pci_msix_pba_size(pci));
		for (unsigned v = 0; v < pci->msix.vectors; v++)
			msix_entry(pci, v)[MSIX_ENTRY_CONTROL] = 1;
	}
	pthread_mutex_unlock(&pci->irq_lock);
	for (unsigned v = 0; pci->vector_changed && v < pci->msix.vectors; v++)
		pci->vector_changed(pci, v);
}
