/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keys typed by a monitor: send-key and sendkey. Names are QEMU's QKeyCode; codes are scan codes of
 * set 1, with 0x80 added to those that have the prefix e0 (dev/chips/ps2.h).
 */
#include "vmm.h"

#include "base/error.h"
#include "base/units.h"

#include <string.h>

#define HOLD_MS     100
#define HOLD_MS_MAX 10000
#define KEYS_MAX    16

static const struct {
	const char *name;
	uint8_t code;
} keys[] = {
	{"esc", 0x01}, {"1", 0x02}, {"2", 0x03}, {"3", 0x04}, {"4", 0x05}, {"5", 0x06},
	{"6", 0x07}, {"7", 0x08}, {"8", 0x09}, {"9", 0x0a}, {"0", 0x0b}, {"minus", 0x0c},
	{"equal", 0x0d}, {"backspace", 0x0e}, {"tab", 0x0f}, {"q", 0x10}, {"w", 0x11},
	{"e", 0x12}, {"r", 0x13}, {"t", 0x14}, {"y", 0x15}, {"u", 0x16}, {"i", 0x17},
	{"o", 0x18}, {"p", 0x19}, {"bracket_left", 0x1a}, {"bracket_right", 0x1b}, {"ret", 0x1c},
	{"ctrl", 0x1d}, {"a", 0x1e}, {"s", 0x1f}, {"d", 0x20}, {"f", 0x21}, {"g", 0x22},
	{"h", 0x23}, {"j", 0x24}, {"k", 0x25}, {"l", 0x26}, {"semicolon", 0x27},
	{"apostrophe", 0x28}, {"grave_accent", 0x29}, {"shift", 0x2a}, {"backslash", 0x2b},
	{"z", 0x2c}, {"x", 0x2d}, {"c", 0x2e}, {"v", 0x2f}, {"b", 0x30}, {"n", 0x31},
	{"m", 0x32}, {"comma", 0x33}, {"dot", 0x34}, {"slash", 0x35}, {"shift_r", 0x36},
	{"kp_multiply", 0x37}, {"alt", 0x38}, {"spc", 0x39}, {"caps_lock", 0x3a}, {"f1", 0x3b},
	{"f2", 0x3c}, {"f3", 0x3d}, {"f4", 0x3e}, {"f5", 0x3f}, {"f6", 0x40}, {"f7", 0x41},
	{"f8", 0x42}, {"f9", 0x43}, {"f10", 0x44}, {"num_lock", 0x45}, {"scroll_lock", 0x46},
	{"kp_7", 0x47}, {"kp_8", 0x48}, {"kp_9", 0x49}, {"kp_subtract", 0x4a}, {"kp_4", 0x4b},
	{"kp_5", 0x4c}, {"kp_6", 0x4d}, {"kp_add", 0x4e}, {"kp_1", 0x4f}, {"kp_2", 0x50},
	{"kp_3", 0x51}, {"kp_0", 0x52}, {"kp_decimal", 0x53}, {"sysrq", 0x54}, {"less", 0x56},
	{"f11", 0x57}, {"f12", 0x58}, {"kp_enter", 0x9c}, {"ctrl_r", 0x9d}, {"kp_divide", 0xb5},
	{"print", 0xb7}, {"alt_r", 0xb8}, {"home", 0xc7}, {"up", 0xc8}, {"pgup", 0xc9},
	{"left", 0xcb}, {"right", 0xcd}, {"end", 0xcf}, {"down", 0xd0}, {"pgdn", 0xd1},
	{"insert", 0xd2}, {"delete", 0xd3}, {"meta_l", 0xdb}, {"meta_r", 0xdc}, {"menu", 0xdd},
};

static bool find_key(const char *name, uint8_t *code, GError **error)
{
	const char *names[G_N_ELEMENTS(keys) + 1] = {NULL};
	for (unsigned i = 0; i < G_N_ELEMENTS(keys); i++) {
		names[i] = keys[i].name;
		if (strcmp(keys[i].name, name) == 0) {
			*code = keys[i].code;
			return true;
		}
	}
	const char *near = nearest_name(name, names);
	return error_set(error, BERTH_ERR_INVALID, "there is no key '%s'%s%s%s", name,
			 near ? ": did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static void release_all(void *opaque)
{
	struct vmm *vmm = opaque;
	while (vmm->held_keys->len > 0) {
		unsigned last = vmm->held_keys->len - 1;
		machine_key(vmm->machine, vmm->held_keys->data[last], false);
		g_byte_array_set_size(vmm->held_keys, last);
	}
}

void keys_clear(struct vmm *vmm)
{
	if (!vmm->held_keys)
		return;
	aio_timer_cancel(&vmm->key_timer);
	g_byte_array_unref(vmm->held_keys);
	vmm->held_keys = NULL;
}

static bool press(struct vmm *vmm, const uint8_t *codes, unsigned count, unsigned hold_ms,
		  GError **error)
{
	if (!vmm->machine->ops->key)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED, "the board %s has no keyboard",
				 vmm->board->name);
	if (!vmm->held_keys) {
		vmm->held_keys = g_byte_array_new();
		aio_timer_init(&vmm->key_timer, vmm->loop, release_all, vmm);
	}
	release_all(vmm);
	for (unsigned i = 0; i < count; i++) {
		machine_key(vmm->machine, codes[i], true);
		g_byte_array_append(vmm->held_keys, &codes[i], 1);
	}
	aio_timer_arm(&vmm->key_timer, aio_now_ns() + hold_ms * INT64_C(1000000));
	return true;
}

static bool read_key(const json_t *value, uint8_t *code, GError **error)
{
	const char *type = json_string_value(json_object_get(value, "type"));
	const json_t *data = json_object_get(value, "data");
	if (strcmp(type, "qcode") == 0 && json_is_string(data))
		return find_key(json_string_value(data), code, error);
	if (strcmp(type, "number") == 0 && json_is_integer(data) && json_integer_value(data) > 0 &&
	    json_integer_value(data) < 0x100) {
		*code = json_integer_value(data);
		return true;
	}
	return error_set(error, BERTH_ERR_INVALID, "a key is a qcode or a number from 1 to 255");
}

static json_t *run_send_key(void *opaque, const json_t *args, GError **error)
{
	const json_t *list = json_object_get(args, "keys"), *hold = json_object_get(args, "hold-time");
	uint8_t codes[KEYS_MAX];
	size_t i;
	json_t *value;
	json_int_t hold_ms = hold ? json_integer_value(hold) : HOLD_MS;
	if (json_array_size(list) > KEYS_MAX || hold_ms < 0 || hold_ms > HOLD_MS_MAX)
		return qmp_error(error, QMP_ERROR_GENERIC,
				 "at most %d keys can be held, for at most %d ms", KEYS_MAX, HOLD_MS_MAX);
	json_array_foreach(list, i, value) {
		if (!read_key(value, &codes[i], error))
			return NULL;
	}
	press(opaque, codes, json_array_size(list), hold_ms, error);
	return NULL;
}

/* ctrl-alt-delete */
static void run_sendkey(void *opaque, struct hmp_call *call)
{
	g_auto(GStrv) names = g_strsplit(call->words[0], "-", -1);
	uint8_t codes[KEYS_MAX];
	unsigned count = 0;
	uint64_t hold_ms = HOLD_MS;
	g_autoptr(GError) error = NULL;
	bool good = call->count < 2 ||
		    units_parse_number(call->words[1], 0, HOLD_MS_MAX, &hold_ms, &error);
	for (char **name = names; good && *name && count < KEYS_MAX; name++)
		good = find_key(*name, &codes[count++], &error);
	if (good)
		press(opaque, codes, count, hold_ms, &error);
	if (error)
		hmp_printf(call, "Error: %s\n", error->message);
}

static const struct qmp_command commands[] = {
	{"send-key", "keys:[KeyValue] hold-time?:int", NULL, run_send_key},
	{NULL},
};

static const struct qmp_type types[] = {
	{"KeyValue", "type:KeyValueKind data:any"},
	{"KeyValueKind", "=number qcode"},
	{NULL},
};

const struct qmp_table qmp_key_table = {commands, types, NULL, NULL};

const struct hmp_command hmp_key_commands[] = {
	{"sendkey", NULL, "keys [hold_ms]", "press keys together, as in ctrl-alt-delete", 1, 2,
	 run_sendkey},
	{NULL},
};
