/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A domain as libvirt's XML describes it. The document is kept as the truth, so that whatever a
 * client wrote comes back; what the daemon acts on is read out of it into the typed fields. The
 * table in domain_grammar.c lists every element and attribute that is understood; others are refused
 * by name.
 */
#pragma once

#include "codec/xml.h"

#include <stdint.h>

enum conf_domain_action { CONF_DOMAIN_DESTROY, CONF_DOMAIN_RESTART, CONF_DOMAIN_PRESERVE };

struct conf_domain_disk {
	char *file;   /* path, or NULL: an empty CD-ROM drive */
	char *format; /* raw, qcow2... */
	char *target; /* vda */
	char *cache, *discard, *io, *serial; /* or NULL */
	bool cdrom, block, virtio, readonly;
	unsigned boot_order; /* 0: none */
};

struct conf_domain_nic {
	char *type;  /* user, bridge, ethernet */
	char *mac, *model;
	char *source; /* the bridge */
	char *target; /* the tap device, or NULL */
	unsigned boot_order;
};

/* A serial port, a virtio console, or a channel. */
enum conf_domain_char_kind { CONF_DOMAIN_SERIAL, CONF_DOMAIN_VIRTIO_CONSOLE, CONF_DOMAIN_CHANNEL };
struct conf_domain_char {
	enum conf_domain_char_kind kind;
	char *alias;  /* serial0, console0, channel0 */
	char *type;   /* pty, unix, file, null, tcp is not there */
	char *path;   /* unix: socket (NULL: we choose); file */
	char *name;   /* channel: what the guest sees */
	bool listens; /* unix: mode='bind' */
};

struct conf_domain {
	xmlDoc *doc;
	char *name, *title;
	uint8_t uuid[16];
	bool kvm;
	uint64_t memory_kib, current_kib;
	unsigned vcpus, max_vcpus;
	char *machine;             /* canonical */
	char *emulator;            /* or NULL: ours */
	char *kernel, *initrd, *cmdline, *loader;
	char *boot;                /* letters of -boot order=, or "" */
	char *cpu;                 /* of -cpu, or NULL */
	bool acpi, localtime, no_hpet;
	enum conf_domain_action on_poweroff, on_reboot, on_crash;
	GPtrArray *disks, *nics, *chars; /* struct conf_domain_disk ... */
	bool rng, balloon;
	char *rng_file;
};

/*
 * Read, check and complete: uuid, MAC addresses, the canonical machine are put into the document if
 * missing. Errors name element and line. Free with conf_domain_free().
 */
struct conf_domain *conf_domain_parse(const char *text, GError **error);
void conf_domain_free(struct conf_domain *conf);

/* As libvirt indents it. `id` < 0: not running. Free with g_free(). */
char *conf_domain_format(const struct conf_domain *conf, int id);
/* A running domain's terminal: put its path where clients look for it. */
void conf_domain_set_tty(struct conf_domain *conf, const struct conf_domain_char *chr,
			 const char *path);
/* 36 characters and a NUL. */
void conf_uuid_format(const uint8_t uuid[16], char text[37]);

/* domain_grammar.c: fails on the first element or attribute that is not in the table. */
bool conf_domain_check_names(const xmlNode *root, GError **error);
/* domain_devices.c */
bool conf_domain_read_devices(struct conf_domain *conf, xmlNode *devices, GError **error);
/* Fails with the element's name and line before the text. Returns false always. */
bool conf_domain_error(GError **error, int code, const xmlNode *node, const char *format, ...)
	G_GNUC_PRINTF(4, 5);
