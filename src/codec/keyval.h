/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QEMU's key=value lists: "driver,id=disk0,path=a,,b": items are separated by commas, a doubled
 * comma in a value is one comma, the first item may be a value whose key is implied, and a key
 * without a value means on ("noKEY": off). The JSON form of the same thing is an object; nested
 * objects and arrays become dotted keys ("addr.type", "list.0").
 *
 * keyval_bind() turns a list into a typed struct by a table of fields, and keyval_unbind() goes the
 * other way, so that an element of the configuration is described once.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* No list that a person or a tool writes is longer; it bounds what a hostile one can cost. */
#define KEYVAL_MAX_LENGTH (UINT64_C(1) << 20)

/* Keys and values in the order given; `keys->pdata` and `values->pdata` are NULL-terminated. */
struct keyval {
	GPtrArray *keys, *values;
	GByteArray *bare; /* 1 where the key came without "=value" */
};

struct keyval *keyval_new(void);
void keyval_free(struct keyval *kv);

static inline void keyval_cleanup(struct keyval **kv)
{
	keyval_free(*kv);
}

/* `auto_keyval kv = ...`: freed when the scope ends. */
#define auto_keyval __attribute__((cleanup(keyval_cleanup))) struct keyval *

/* `implied` is the key of a first item without "=", or NULL if there is none. */
struct keyval *keyval_parse(const char *text, const char *implied, GError **error);
/* As keyval_parse(), or the JSON form if `text` begins with "{". */
struct keyval *keyval_parse_any(const char *text, const char *implied, GError **error);
/* One list item per entry, with commas doubled; the first key is left out if it is `implied`. */
char *keyval_format(const struct keyval *kv, const char *implied);
struct keyval *keyval_copy(const struct keyval *kv);

unsigned keyval_count(const struct keyval *kv);
/* The last value of `key`, or NULL. Borrowed. */
const char *keyval_get(const struct keyval *kv, const char *key);
void keyval_add(struct keyval *kv, const char *key, const char *value);
/* Replace every `key` by one. */
void keyval_set(struct keyval *kv, const char *key, const char *value);
/* Take every `key` out; returns the last value (free with g_free()) or NULL. */
char *keyval_take(struct keyval *kv, const char *key);

/* Three-valued switches: what the person did not say is for the machine to decide. */
enum conf_switch { CONF_SWITCH_AUTO, CONF_SWITCH_ON, CONF_SWITCH_OFF };

enum keyval_type {
	KEYVAL_STRING, /* char *, owned; NULL: not given */
	KEYVAL_BOOL,   /* bool, false: not given or off */
	KEYVAL_SWITCH, /* enum conf_switch */
	KEYVAL_UINT,   /* unsigned, 0: not given; in [min, max] */
	KEYVAL_SIZE,   /* uint64_t bytes, 0: not given; `min` is the unit without suffix */
	KEYVAL_ENUM,   /* int, index into `names`; 0: not given */
	KEYVAL_OFF,    /* a switch that cannot be on; nothing is stored. `help` says why */
	KEYVAL_REFUSED,/* understood, but not there: `help` says what to do instead */
};

struct keyval_field {
	const char *name;
	enum keyval_type type;
	size_t offset;
	uint64_t min, max;
	const char *const *names; /* KEYVAL_ENUM, NULL-terminated */
	const char *help;
};

/*
 * Write the values into the struct at `target` by `fields` (ended by name == NULL). `what` names the
 * list in errors ("-smp"). Keys that no field has go to `rest` if it is not NULL, else they are an
 * error with the nearest valid name. `target` may be partly written on failure.
 */
bool keyval_bind(const struct keyval *kv, const struct keyval_field *fields, void *target,
		 const char *what, struct keyval *rest, GError **error);
/* Append to `kv` what `target` holds, in the order of `fields`. */
void keyval_unbind(struct keyval *kv, const struct keyval_field *fields, const void *target);
/* Free the strings of `target`. */
void keyval_clear(const struct keyval_field *fields, void *target);
