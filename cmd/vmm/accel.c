/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The list of engines, and which one a machine gets. */
#include "vmm.h"

#include "base/error.h"
#include "base/log.h"
#include "cpu/kvm/engine.h"
#include "cpu/soft/engine.h"

#include <string.h>

/* In the order in which auto tries them. */
static const struct engine_ops *const engines[] = {&kvm_engine, &soft_engine, NULL};

const struct engine_ops *const *accel_engines(void)
{
	return engines;
}

static const struct engine_ops *find_engine(const char *name)
{
	for (unsigned i = 0; engines[i]; i++) {
		if (strcmp(engines[i]->name, name) == 0)
			return engines[i];
	}
	return NULL;
}

struct choice {
	const struct engine_ops *engine;
	int irqchip; /* enum conf_irqchip */
	bool from_auto;
};

static void add_choice(GArray *choices, const char *name, int irqchip)
{
	bool is_auto = strcmp(name, "auto") == 0;
	for (unsigned i = 0; engines[i]; i++) {
		if (is_auto || engines[i] == find_engine(name)) {
			struct choice choice = {engines[i], irqchip, is_auto};
			g_array_append_val(choices, choice);
		}
	}
}

static bool list_choices(const struct conf_vm *conf, GArray *choices, GError **error)
{
	for (unsigned i = 0; i < conf->accels->len; i++) {
		const struct conf_accel *accel = conf->accels->pdata[i];
		add_choice(choices, conf_accel_canonical(accel->name, NULL),
			   accel->irqchip ? accel->irqchip : conf->machine.irqchip);
	}
	if (conf->accels->len == 0 && conf->machine.accel) {
		g_auto(GStrv) names = g_strsplit(conf->machine.accel, ":", -1);
		for (char **name = names; *name; name++) {
			const char *canonical = conf_accel_canonical(*name, error);
			if (!canonical)
				return false;
			add_choice(choices, canonical, conf->machine.irqchip);
		}
	}
	if (choices->len == 0)
		add_choice(choices, "auto", conf->machine.irqchip);
	return true;
}

/* The first -accel of the soft engine, or NULL. */
static const struct conf_accel *soft_options(const struct conf_vm *conf)
{
	for (unsigned i = 0; i < conf->accels->len; i++) {
		const struct conf_accel *accel = conf->accels->pdata[i];
		if (strcmp(conf_accel_canonical(accel->name, NULL), "soft") == 0)
			return accel;
	}
	return NULL;
}

bool accel_translates(const struct conf_vm *conf)
{
	const struct conf_accel *soft = soft_options(conf);
	if (!soft || soft->jit == CONF_JIT_DEFAULT)
		return soft_can_translate();
	return soft->jit == CONF_JIT_ON;
}

uint64_t accel_translate_memory(const struct conf_vm *conf)
{
	const struct conf_accel *soft = soft_options(conf);
	return soft ? (uint64_t)soft->tb_size << 20 : 0;
}

bool accel_maps_for_perf(const struct conf_vm *conf)
{
	const struct conf_accel *soft = soft_options(conf);
	return soft && soft->perf_map;
}

unsigned accel_trace(const struct conf_vm *conf)
{
	unsigned in = conf->trace;
	return (in & CONF_TRACE_IN_ASM ? VM_TRACE_IN_ASM : 0) |
	       (in & CONF_TRACE_OUT_ASM ? VM_TRACE_OUT_ASM : 0) |
	       (in & CONF_TRACE_INT ? VM_TRACE_INT : 0) | (in & CONF_TRACE_EXEC ? VM_TRACE_EXEC : 0);
}

bool accel_choose(const struct conf_vm *conf, const struct engine_ops **engine, bool *split,
		  GError **error)
{
	g_autoptr(GArray) choices = g_array_new(false, false, sizeof(struct choice));
	if (!list_choices(conf, choices, error))
		return false;
	const struct choice *choice = NULL;
	for (unsigned i = 0; i < choices->len; i++) {
		g_autoptr(GError) why = NULL;
		choice = &g_array_index(choices, struct choice, i);
		/*
		 * One that was asked for by name, with no other to fall back to, gets no trial run:
		 * what is wrong with it shows when the VM is made.
		 */
		if (i + 1 == choices->len || choice->engine->probe(&why))
			break;
		const struct choice *next = &g_array_index(choices, struct choice, i + 1);
		log_info("%s; using the %s engine", why->message, next->engine->name);
	}
	if (choice->irqchip == CONF_IRQCHIP_OFF && strcmp(choice->engine->name, "kvm") == 0)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "kernel-irqchip=off is not supported: use on or split");
	*engine = choice->engine;
	*split = choice->irqchip == CONF_IRQCHIP_SPLIT;
	return true;
}
