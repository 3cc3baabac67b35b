/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The SMBus host controller. There is no slave on the bus: every transaction ends at once with
 * DEV_ERR, as when no device acknowledges its address. Spec: ICH9 chapter 18.
 */
#include "base/bytes.h"
#include "base/lock.h"
#include "dev/chips/ich9.h"

enum { HST_STS = 0x00, HST_CNT = 0x02, HST_CMD = 0x03, XMIT_SLVA = 0x04, HST_D0 = 0x05,
       HST_D1 = 0x06, BLOCK_DB = 0x07, PEC = 0x08, AUX_STS = 0x0c, AUX_CTL = 0x0d, REGS = 0x20 };
enum { STS_INTR = 1 << 1, STS_DEV_ERR = 1 << 2, STS_INUSE = 1 << 6, STS_CLEARABLE = 0xfe };
enum { CNT_INTREN = 1 << 0, CNT_KILL = 1 << 1, CNT_START = 1 << 6 };
enum { CONFIG_HOSTC = 0x40 };

struct ich9_smbus {
	struct pci_device pci;
	pthread_mutex_t lock;
	struct io_region region;
	uint8_t regs[REGS];
};

static void update_irq(struct ich9_smbus *s)
{
	bool level = (s->regs[HST_CNT] & CNT_INTREN) &&
		     (s->regs[HST_STS] & (STS_INTR | STS_DEV_ERR));
	pci_intx_set(&s->pci, level);
}

static uint64_t smbus_read(void *opaque, uint64_t offset, unsigned size)
{
	struct ich9_smbus *s = opaque;
	uint8_t value = s->regs[offset];
	if (offset == HST_STS)
		s->regs[HST_STS] |= STS_INUSE; /* a semaphore: reading takes it */
	return value;
}

static void smbus_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct ich9_smbus *s = opaque;
	switch (offset) {
	case HST_STS:
		s->regs[HST_STS] &= ~(value & STS_CLEARABLE);
		break;
	case HST_CNT:
		s->regs[HST_CNT] = value & ~(CNT_START | CNT_KILL);
		if ((value & CNT_START) && !(value & CNT_KILL))
			s->regs[HST_STS] |= STS_DEV_ERR;
		break;
	case HST_CMD:
	case XMIT_SLVA:
	case HST_D0:
	case HST_D1:
	case BLOCK_DB:
	case PEC:
		s->regs[offset] = value;
		break;
	case AUX_CTL:
		s->regs[offset] = value & 3;
		break;
	}
	update_irq(s);
}

static const struct io_ops smbus_ops = {smbus_read, smbus_write, .min_size = 1, .max_size = 1};

static bool smbus_create(struct device *dev, GError **error)
{
	struct ich9_smbus *s = (struct ich9_smbus *)dev;
	pthread_mutex_init(&s->lock, NULL);
	pci_set_identity(&s->pci, 0x8086, 0x2930, 0x0c0500, 2);
	pci_set_pin(&s->pci, 0);
	s->pci.writable[CONFIG_HOSTC] = 0x05;
	s->region = (struct io_region){.name = "smbus", .ops = &smbus_ops, .opaque = s,
				       .size = REGS, .lock = &s->lock};
	pci_add_bar(&s->pci, 4, &s->region, true, false, false);
	return true;
}

static void smbus_reset(struct device *dev)
{
	struct ich9_smbus *s = (struct ich9_smbus *)dev;
	pci_device_reset(&s->pci);
	s->pci.config[CONFIG_HOSTC] = 1; /* the host controller is enabled */
	LOCK_SCOPE(&s->lock);
	memset(s->regs, 0, sizeof(s->regs));
	update_irq(s);
}

static void smbus_destroy(struct device *dev)
{
	struct ich9_smbus *s = (struct ich9_smbus *)dev;
	pci_device_cleanup(&s->pci);
	pthread_mutex_destroy(&s->lock);
}

const struct device_class ich9_smbus_class = {
	.name = "ICH9-SMB",
	.description = "ICH9 SMBus host controller",
	.bus = "PCI",
	.category = "bridge",
	.size = sizeof(struct ich9_smbus),
	.create = smbus_create,
	.reset = smbus_reset,
	.destroy = smbus_destroy,
};
