/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Registers of Intel's gigabit cards by offset, with the names of the "82574 GbE Controller Family
 * Datasheet" (3.4), chapter 10, and descriptors, chapter 7. The 82540EM has a subset.
 */
#pragma once

enum e1000_reg {
	CTRL = 0x0000, STATUS = 0x0008, EECD = 0x0010, EERD = 0x0014, CTRL_EXT = 0x0018, MDIC = 0x0020,
	VET = 0x0038, ICR = 0x00c0, ITR = 0x00c4, ICS = 0x00c8, IMS = 0x00d0, IMC = 0x00d8,
	EIAC = 0x00dc, IAM = 0x00e0, IVAR = 0x00e4, EITR0 = 0x00e8, RCTL = 0x0100, TCTL = 0x0400,
	LEDCTL = 0x0e00, EXTCNF_CTRL = 0x0f00, PBA = 0x1000, EEMNGCTL = 0x1010, PSRCTL = 0x2170,
	RX_RING = 0x2800, TX_RING = 0x3800, RING_STRIDE = 0x100,
	RING_BAL = 0x00, RING_BAH = 0x04, RING_LEN = 0x08, RING_HEAD = 0x10, RING_TAIL = 0x18,
	STATS = 0x4000, CRCERRS = 0x4000, MPC = 0x4010, PRC64 = 0x405c, GPRC = 0x4074, BPRC = 0x4078,
	MPRC = 0x407c, GPTC = 0x4080, GORCL = 0x4088, GORCH = 0x408c, GOTCL = 0x4090, GOTCH = 0x4094,
	ROC = 0x40ac, TORL = 0x40c0, TORH = 0x40c4, TOTL = 0x40c8, TOTH = 0x40cc, TPR = 0x40d0,
	TPT = 0x40d4, PTC64 = 0x40d8, MPTC = 0x40f0, BPTC = 0x40f4, TSCTC = 0x40f8, STATS_END = 0x4128,
	RXCSUM = 0x5000, RFCTL = 0x5008, MTA = 0x5200, RAL0 = 0x5400, RAH0 = 0x5404, VFTA = 0x5600,
	MRQC = 0x5818, SWSM = 0x5b50, FWSM = 0x5b54, RETA = 0x5c00, RSSRK = 0x5c80,
	SYSTIML = 0xb600, SYSTIMH = 0xb604, TIMINCA = 0xb608, TSYNCTXCTL = 0xb614, TSYNCRXCTL = 0xb620,
	E1000_REGS_END = 0xc000,
};

enum { CTRL_FD = 1u << 0, CTRL_GIO_DISABLE = 1u << 2, CTRL_SLU = 1u << 6, CTRL_RST = 1u << 26,
       CTRL_VME = 1u << 30, CTRL_PHY_RST = 1u << 31 };
enum { STATUS_FD = 1u << 0, STATUS_LU = 1u << 1, STATUS_SPEED_1000 = 2u << 6, STATUS_GIO = 1u << 19 };
enum { CTRL_EXT_ASDCHK = 1u << 12, CTRL_EXT_EE_RST = 1u << 13, CTRL_EXT_EIAME = 1u << 24,
       CTRL_EXT_IAME = 1u << 27, CTRL_EXT_PBA_CLR = 1u << 31 };

/* Causes of interrupts: ICR, ICS, IMS, IMC. */
enum e1000_cause {
	INT_TXDW = 1u << 0, INT_TXQE = 1u << 1, INT_LSC = 1u << 2, INT_RXDMT0 = 1u << 4, INT_RXO = 1u << 6,
	INT_RXT0 = 1u << 7, INT_MDAC = 1u << 9, INT_SRPD = 1u << 16, INT_ACK = 1u << 17,
	INT_MNG = 1u << 18, INT_RXQ0 = 1u << 20, INT_TXQ0 = 1u << 22, INT_OTHER = 1u << 24,
	INT_ASSERTED = 1u << 31,
	INT_OTHER_CAUSES = INT_LSC | INT_RXO | INT_MDAC | INT_SRPD | INT_ACK | INT_MNG,
};

enum { RCTL_EN = 1u << 1, RCTL_UPE = 1u << 3, RCTL_MPE = 1u << 4, RCTL_LPE = 1u << 5,
       RCTL_RDMTS_SHIFT = 8, RCTL_DTYP_PS = 1u << 10, RCTL_DTYP_MASK = 3u << 10, RCTL_MO_SHIFT = 12,
       RCTL_BAM = 1u << 15, RCTL_BSIZE_SHIFT = 16, RCTL_VFE = 1u << 18, RCTL_BSEX = 1u << 25,
       RCTL_SECRC = 1u << 26 };
enum { TCTL_EN = 1u << 1 };
enum { RFCTL_EXTENDED = 1u << 15, RXCSUM_IPOFL = 1u << 8, RXCSUM_TUOFL = 1u << 9,
       RXCSUM_PCSD = 1u << 13 };
enum { MRQC_MODE = 3, MRQC_RSS = 1, MRQC_TCP_IPV4 = 1u << 16, MRQC_IPV4 = 1u << 17,
       MRQC_TCP_IPV6 = 1u << 18, MRQC_IPV6_EX = 1u << 19, MRQC_IPV6 = 1u << 20 };
enum { RAH_AV = 1u << 31 };

/* Of received packets: status and errors, as the legacy descriptor's bytes have them. */
enum { RXD_DD = 1 << 0, RXD_EOP = 1 << 1, RXD_IXSM = 1 << 2, RXD_VP = 1 << 3, RXD_UDPCS = 1 << 4,
       RXD_TCPCS = 1 << 5, RXD_IPCS = 1 << 6, RXD_PIF = 1 << 7 };
enum { RXD_ERROR_TCP = 1 << 5, RXD_ERROR_IP = 1 << 6 };

/* Of packets to send: the command byte, the type and the options of extended descriptors. */
enum { TXD_EOP = 1 << 0, TXD_IC = 1 << 2 /* legacy */, TXD_TSE = 1 << 2 /* extended */, TXD_RS = 1 << 3,
       TXD_DEXT = 1 << 5, TXD_VLE = 1 << 6 };
enum { TXD_TYPE_CONTEXT = 0, TXD_TYPE_DATA = 1 };
enum { TXD_IXSM = 1 << 0, TXD_TXSM = 1 << 1 };
enum { TUCMD_TCP = 1 << 0, TUCMD_IPV4 = 1 << 1, TUCMD_TSE = 1 << 2 };

enum { EERD_START = 1u << 0 };
enum { MDIC_WRITE = 1, MDIC_READ = 2, MDIC_READY = 1u << 28, MDIC_INT = 1u << 29, MDIC_ERROR = 1u << 30 };
