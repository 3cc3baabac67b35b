/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The PHY behind MDIC (Marvell's 88E1149 family in the 82574, 88E1011 with the 82540EM; IEEE 802.3
 * clause 22) and the NVM, which holds the address. Negotiation with the other end of the virtual cable
 * takes no time: 1000 Mbit/s, full duplex.
 */
#include "dev/net/e1000_int.h"

enum { BMCR = 0, BMSR = 1, PHY_ID1 = 2, PHY_ID2 = 3, ANAR = 4, ANLPAR = 5, ANER = 6, GB_CTRL = 9,
       GB_STATUS = 10, EXT_STATUS = 15, M88_CTRL = 16, M88_STATUS = 17, M88_PAGE = 22 };
enum { BMCR_RESET = 1 << 15, BMCR_AN = 1 << 12, BMCR_RESTART_AN = 1 << 9, BMCR_DEFAULT = 0x1140 };
enum { BMSR_DEFAULT = 0x7949, BMSR_LINK = 1 << 2, BMSR_AN_DONE = 1 << 5 };
enum { M88_STATUS_UP = 0xac00 /* 1000 Mbit/s, full duplex, resolved, link */ };

/* NVM words: 6.1. */
enum { NVM_COMPAT = 3, NVM_VERSION = 5, NVM_PBA = 8, NVM_SUBSYSTEM = 0x0b, NVM_SUBVENDOR = 0x0c,
       NVM_DEVICE = 0x0d, NVM_VENDOR = 0x0e, NVM_ALT_MAC = 0x37, NVM_CHECKSUM = 0x3f,
       NVM_SUM = 0xbaba };

/* EECD: 10.2.2.2. */
enum { EECD_SK = 1 << 0, EECD_CS = 1 << 1, EECD_DI = 1 << 2, EECD_DO = 1 << 3, EECD_FWE_OFF = 1 << 4,
       EECD_REQ = 1 << 6, EECD_GNT = 1 << 7, EECD_PRES = 1 << 8, EECD_AUTO_RD = 1 << 9 };

/* --- PHY ------------------------------------------------------------------------------------------- */

void e1000_phy_link(struct e1000 *e)
{
	bool up = e->card.link_up;
	uint32_t status = e1000_get(e, STATUS) & ~STATUS_LU;
	e1000_set(e, STATUS, status | (up ? STATUS_LU : 0));
	e->phy[BMSR] = BMSR_DEFAULT | (up ? BMSR_LINK | BMSR_AN_DONE : 0);
	e->phy[M88_STATUS] = up ? M88_STATUS_UP : 0;
	e->phy[ANLPAR] = up ? 0xc5e1 : 0;    /* all speeds, symmetric pause, acknowledged */
	e->phy[GB_STATUS] = up ? 0x3c00 : 0; /* partner does 1000 Mbit/s, receivers are well */
}

void e1000_phy_reset(struct e1000 *e)
{
	memset(e->phy, 0, sizeof(e->phy));
	e->phy[BMCR] = BMCR_DEFAULT;
	e->phy[PHY_ID1] = 0x0141;
	e->phy[PHY_ID2] = e->model->phy_id;
	e->phy[ANAR] = 0x0de1;
	e->phy[ANER] = 1;
	e->phy[GB_CTRL] = 0x0e00;
	e->phy[EXT_STATUS] = 0x3000;
	e->phy[M88_CTRL] = 0x0360;
	e1000_phy_link(e);
}

static void phy_write(struct e1000 *e, unsigned reg, uint16_t value)
{
	switch (reg) {
	case BMSR:
	case PHY_ID1:
	case PHY_ID2:
	case ANLPAR:
	case ANER:
	case GB_STATUS:
	case EXT_STATUS:
	case M88_STATUS:
		break;
	case BMCR:
		if (value & BMCR_RESET) {
			uint16_t page = e->phy[M88_PAGE];
			e1000_phy_reset(e);
			e->phy[M88_PAGE] = page;
			value &= ~BMCR_RESET;
		}
		e->phy[BMCR] = value & ~BMCR_RESTART_AN;
		if (value & BMCR_AN && value & BMCR_RESTART_AN && e->card.link_up)
			e1000_raise(e, INT_LSC);
		break;
	default:
		e->phy[reg] = value;
		break;
	}
}

/* There is one PHY, at 1, and page 0 of its registers; others are empty. */
void e1000_write_mdic(struct e1000 *e, uint32_t value)
{
	unsigned reg = value >> 16 & 31, phy = value >> 21 & 31, op = value >> 26 & 3;
	uint32_t result = (value & ~(uint32_t)MDIC_ERROR) | MDIC_READY;
	bool here = !e->phy[M88_PAGE] || reg == M88_PAGE;
	if (phy != 1) {
		result |= MDIC_ERROR;
	} else if (op == MDIC_READ) {
		result = (result & 0xffff0000) | (here ? e->phy[reg] : 0);
	} else if (op == MDIC_WRITE) {
		if (here)
			phy_write(e, reg, (uint16_t)value);
	} else {
		result |= MDIC_ERROR;
	}
	e1000_set(e, MDIC, result);
	if (value & MDIC_INT)
		e1000_raise(e, INT_MDAC);
}

/* --- NVM ------------------------------------------------------------------------------------------- */

void e1000_nvm_init(struct e1000 *e)
{
	uint16_t *w = e->eeprom.words, sum = 0;
	const uint8_t *mac = e->card.mac;
	for (unsigned i = 0; i < 3; i++)
		w[i] = le16_load(mac + 2 * i);
	w[NVM_COMPAT] = 0x0420;
	w[NVM_VERSION] = 0x2010;
	w[NVM_PBA] = w[NVM_PBA + 1] = 0xffff;
	w[NVM_SUBSYSTEM] = e->model->subsystem;
	w[NVM_SUBVENDOR] = e->model->subsystem_vendor;
	w[NVM_DEVICE] = e->model->device;
	w[NVM_VENDOR] = 0x8086;
	w[NVM_ALT_MAC] = 0xffff;
	for (unsigned i = 0; i < NVM_CHECKSUM; i++)
		sum += w[i];
	w[NVM_CHECKSUM] = NVM_SUM - sum;
}

/* 10.2.2.3; the 82540EM has address and "done" elsewhere. */
void e1000_write_eerd(struct e1000 *e, uint32_t value)
{
	bool express = e->model->express;
	unsigned address = express ? value >> 2 & 0x3fff : value >> 8 & 0xff;
	uint32_t result = value & (express ? 0xfffcu : 0xff00u);
	if (value & EERD_START) {
		uint16_t word = address < EEPROM93_WORDS ? e->eeprom.words[address] : 0xffff;
		result |= (uint32_t)word << 16 | (express ? 1 << 1 : 1 << 4);
	}
	e1000_set(e, EERD, result);
}

uint32_t e1000_read_eecd(const struct e1000 *e)
{
	uint32_t value = e1000_get(e, EECD) & ~(uint32_t)EECD_DO;
	return value | (e->eeprom.out ? EECD_DO : 0) | EECD_PRES | (value & EECD_REQ ? EECD_GNT : 0) |
	       (e->model->express ? EECD_AUTO_RD : 0 /* the bit is the size there: 64 words */);
}

/* The 82574's part is another one, of which drivers need only what EERD reads. */
void e1000_write_eecd(struct e1000 *e, uint32_t value)
{
	enum { KEPT = EECD_SK | EECD_CS | EECD_DI | EECD_FWE_OFF | EECD_REQ };
	e1000_set(e, EECD, value & KEPT);
	if (!e->model->express)
		eeprom93_drive(&e->eeprom, value & EECD_CS, value & EECD_SK, value & EECD_DI);
}
