/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A writer of AML, the byte code of ACPI's DSDT (ACPI 6.4, chapter 20).
 *
 * AML is prefix notation, and so is this interface: an operator call is followed by calls that write
 * its operands. What carries a package length (Scope, Device, Method, If, Package, Buffer, Field) is
 * opened with aml_begin_*() and closed with aml_end(), which goes back and inserts the length.
 * Nothing here is driven by a guest; misuse is an assertion.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

enum { AML_DEPTH_MAX = 16 };

struct aml {
	GByteArray *bytes; /* owned by the caller */
	unsigned depth;
	struct {
		guint length_at; /* where the package length goes */
		bool resources;  /* a resource template: also ends with a tag and knows its size */
	} open[AML_DEPTH_MAX];
};

/* Opcodes that are written as they are, followed by their operands (ACPI 6.4, table 20.4). */
enum aml_op {
	AML_STORE = 0x70, /* source, target */
	AML_ADD = 0x72,   /* operand, operand, target; so are the next ones */
	AML_SUBTRACT = 0x74,
	AML_SHIFT_LEFT = 0x79,
	AML_SHIFT_RIGHT = 0x7a,
	AML_AND = 0x7b,
	AML_OR = 0x7d,
	AML_INCREMENT = 0x75, /* target */
	AML_NOTIFY = 0x86, /* object, value */
	AML_CREATE_DWORD_FIELD = 0x8a, /* buffer, byte index, name */
	AML_CREATE_QWORD_FIELD = 0x8f, /* the same */
	AML_LAND = 0x90,
	AML_LOR = 0x91,
	AML_LNOT = 0x92,
	AML_LEQUAL = 0x93,
	AML_LGREATER = 0x94,
	AML_LLESS = 0x95,
	AML_RETURN = 0xa4,
	AML_NO_TARGET = 0x00,
};

enum aml_space { AML_SYSTEM_MEMORY = 0, AML_SYSTEM_IO = 1, AML_PCI_CONFIG = 2 };
enum aml_access { AML_ANY_ACC, AML_BYTE_ACC, AML_WORD_ACC, AML_DWORD_ACC };

void aml_op(struct aml *a, enum aml_op op);
/* A path as in ASL: "\\_SB.PCI0.ISA", "^LNKA", "_STA". Segments have up to 4 characters. */
void aml_path(struct aml *a, const char *path);
void aml_arg(struct aml *a, unsigned n);   /* Arg0 to Arg6 */
void aml_local(struct aml *a, unsigned n); /* Local0 to Local7 */
void aml_int(struct aml *a, uint64_t value);
void aml_string(struct aml *a, const char *text);
void aml_eisa_id(struct aml *a, const char *id); /* "PNP0A08" */
void aml_buffer(struct aml *a, const void *data, unsigned length);
void aml_uuid(struct aml *a, const char *uuid); /* the buffer that ToUUID() makes */

/* Name (path, the object written next). */
void aml_name(struct aml *a, const char *path);
void aml_name_int(struct aml *a, const char *path, uint64_t value);
void aml_name_string(struct aml *a, const char *path, const char *text);
void aml_name_eisa_id(struct aml *a, const char *path, const char *id);

void aml_begin_scope(struct aml *a, const char *path);
void aml_begin_device(struct aml *a, const char *name);
void aml_begin_method(struct aml *a, const char *name, unsigned args, bool serialized);
void aml_begin_if(struct aml *a);   /* followed by the condition, then the body */
void aml_begin_while(struct aml *a); /* the same */
void aml_begin_else(struct aml *a); /* directly after the aml_end() of an If */
void aml_begin_package(struct aml *a, unsigned elements);
/* A buffer that holds resource descriptors; aml_end() writes its end tag. */
void aml_begin_resources(struct aml *a);
void aml_end(struct aml *a);

void aml_mutex(struct aml *a, const char *name);
void aml_acquire(struct aml *a, const char *mutex); /* waits without a limit */
void aml_release(struct aml *a, const char *mutex);

void aml_region(struct aml *a, const char *name, enum aml_space space, uint64_t base,
		uint64_t length);
void aml_begin_field(struct aml *a, const char *region, enum aml_access access);
/* A unit of `bits`; NULL as name leaves a gap. */
void aml_field(struct aml *a, const char *name, unsigned bits);
/* CreateDWordField of the buffer in argument `arg`. */
void aml_create_dword_field(struct aml *a, unsigned arg, unsigned index, const char *name);

/* --- resource descriptors (ACPI 6.4, 6.4.2 and 6.4.3) ------------------------------------------ */
enum aml_irq_flags {
	AML_IRQ_LEVEL_HIGH_SHARED = 0x09, /* bit 0: consumer, bit 1: edge, bit 2: low, bit 3: shared */
	AML_IRQ_EDGE_HIGH = 0x03,
	AML_IRQ_LEVEL_HIGH = 0x01,
};
void aml_res_io(struct aml *a, uint16_t base, uint8_t align, uint8_t length);
void aml_res_irq(struct aml *a, unsigned irq); /* ISA: edge, high, exclusive */
void aml_res_interrupt(struct aml *a, enum aml_irq_flags flags, const uint32_t *gsis,
		       unsigned count);
void aml_res_memory32(struct aml *a, uint32_t base, uint32_t length);
/* What a bridge passes on, first to last inclusive. */
void aml_res_bus_window(struct aml *a, uint16_t first, uint16_t last);
void aml_res_io_window(struct aml *a, uint16_t first, uint16_t last);
void aml_res_memory32_window(struct aml *a, uint32_t first, uint32_t last, bool cacheable);
void aml_res_memory64_window(struct aml *a, uint64_t first, uint64_t last, bool cacheable);
