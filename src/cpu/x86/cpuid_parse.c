/* SPDX-License-Identifier: GPL-2.0-or-later */
/* "-cpu NAME,+x,-y,z=on": names to feature words, and the models' expansion. */
#include "cpu/x86/cpuid_private.h"

#include "base/error.h"
#include "base/log.h"

#include <string.h>

static const struct cpuid_model_definition *definition_find(const char *name)
{
	for (const struct cpuid_model_definition *d = cpuid_model_definitions; d->name; d++)
		if (!g_ascii_strcasecmp(d->name, name))
			return d;
	return NULL;
}

/* "Haswell-v4": QEMU numbers the revisions of its models; ours have one. */
static const struct cpuid_model_definition *definition_find_versioned(const char *name)
{
	const struct cpuid_model_definition *d = definition_find(name);
	const char *version = strrchr(name, '-');

	if (d || !version || version[1] != 'v' || !g_ascii_isdigit(version[2]) || version[3])
		return d;
	g_autofree char *base = g_strndup(name, version - name);
	return definition_find(base);
}

/* The table is ours: an unknown name in it is a bug. */
static void features_apply(struct cpu_features *features, const struct cpuid_model_definition *d)
{
	if (d->based_on) {
		const struct cpuid_model_definition *base = definition_find(d->based_on);
		g_assert(base);
		features_apply(features, base);
	}
	g_auto(GStrv) names = g_strsplit(d->features, " ", -1);
	for (char **n = names; *n; n++) {
		enum cpu_feature_word word;
		uint32_t mask;
		if (!**n)
			continue;
		bool known = cpu_feature_find(*n, &word, &mask);
		g_assert(known);
		features->word[word] |= mask;
	}
}

static void names_append(GString *text, enum cpu_feature_word word, uint32_t mask)
{
	for (unsigned bit = 0; bit < 32; bit++)
		if (mask >> bit & 1 && cpuid_feature_table[word][bit])
			g_string_append_printf(text, "%s%s", text->len ? ", " : "",
					       cpuid_feature_table[word][bit]);
}

static const char *nearest_model(const char *name)
{
	const char *names[64];
	unsigned count = 0;
	for (const struct cpuid_model_definition *d = cpuid_model_definitions;
	     d->name && count < G_N_ELEMENTS(names) - 1; d++)
		names[count++] = d->name;
	names[count] = NULL;
	return nearest_name(name, names);
}

/* Options of the model itself, beside its feature bits. */
struct model_options {
	bool enforce, check;
	struct cpu_features plus, minus;
	bool hypervisor_off, kvm_off;
};

static bool parse_onoff(const char *value, bool *on)
{
	if (!g_ascii_strcasecmp(value, "on") || !g_ascii_strcasecmp(value, "yes") ||
	    !g_ascii_strcasecmp(value, "true"))
		*on = true;
	else if (!g_ascii_strcasecmp(value, "off") || !g_ascii_strcasecmp(value, "no") ||
		 !g_ascii_strcasecmp(value, "false"))
		*on = false;
	else
		return false;
	return true;
}

static bool parse_number(const char *key, const char *value, unsigned limit, unsigned *out,
			 GError **error)
{
	guint64 number;
	if (!g_ascii_string_to_unsigned(value, 10, 0, limit, &number, NULL))
		return error_set(error, BERTH_ERR_INVALID,
				 "-cpu: %s=%s is not a number from 0 to %u", key, value, limit);
	*out = number;
	return true;
}

/* Properties that are not feature bits. *known is false if `key` is none of them. */
static bool parse_property(struct cpu_model *model, struct model_options *options, const char *key,
			   const char *value, bool *known, GError **error)
{
	bool on;

	*known = true;
	if (!strcmp(key, "family"))
		return parse_number(key, value, 0xff + 0xf, &model->family, error);
	if (!strcmp(key, "model"))
		return parse_number(key, value, 0xff, &model->model, error);
	if (!strcmp(key, "stepping"))
		return parse_number(key, value, 0xf, &model->stepping, error);
	if (!strcmp(key, "vendor")) {
		if (strlen(value) != 12)
			return error_set(error, BERTH_ERR_INVALID,
					 "-cpu: vendor=%s must have 12 characters", value);
		g_strlcpy(model->vendor, value, sizeof(model->vendor));
		return true;
	}
	if (!strcmp(key, "model-id") || !strcmp(key, "model_id")) {
		g_strlcpy(model->model_id, value, sizeof(model->model_id));
		return true;
	}
	bool *flag = !strcmp(key, "enforce") ? &options->enforce :
		     !strcmp(key, "check")   ? &options->check :
					       NULL;
	bool is_kvm = !strcmp(key, "kvm");
	/* Accepted because scripts write them; each is how Berth behaves anyway. */
	bool is_default = !strcmp(key, "migratable") || !strcmp(key, "host-phys-bits") ||
			  !strcmp(key, "pmu") || !strcmp(key, "l3-cache") ||
			  !strcmp(key, "topoext");
	if (!flag && !is_kvm && !is_default) {
		*known = false;
		return true;
	}
	if (!parse_onoff(value, &on))
		return error_set(error, BERTH_ERR_INVALID, "-cpu: %s=%s: expected on or off", key,
				 value);
	if (flag)
		*flag = on;
	else if (is_kvm)
		options->kvm_off = !on;
	return true;
}

static bool parse_item(struct cpu_model *model, struct model_options *options, const char *item,
		       GError **error)
{
	const char *equals = strchr(item, '=');
	g_autofree char *key = equals ? g_strndup(item, equals - item) : g_strdup(item);
	const char *value = equals ? equals + 1 : "on";
	const char *name = key;
	enum cpu_feature_word word;
	uint32_t mask;
	bool on;

	if (!equals && (*key == '+' || *key == '-')) {
		name = key + 1;
		value = *key == '+' ? "on" : "off";
	} else {
		bool known;
		if (!parse_property(model, options, key, value, &known, error))
			return false;
		if (known)
			return true;
	}
	if (!cpu_feature_find(name, &word, &mask)) {
		const char *near = nearest_name(name, cpu_feature_names());
		return error_set(error, BERTH_ERR_INVALID, "-cpu: no CPU feature '%s'%s%s%s", name,
				 near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
	}
	if (!parse_onoff(value, &on))
		return error_set(error, BERTH_ERR_INVALID, "-cpu: %s=%s: expected on or off", name,
				 value);
	/* As in QEMU, the last word about a feature wins. */
	options->plus.word[word] &= ~mask;
	options->minus.word[word] &= ~mask;
	(on ? &options->plus : &options->minus)->word[word] |= mask;
	return true;
}

/* Bits that every guest gets if the engine has them, whatever the model. */
static void features_add_virtual(struct cpu_features *f, const struct cpu_features *allowed,
				 const struct model_options *options)
{
	f->word[CPU_WORD_1_ECX] |= allowed->word[CPU_WORD_1_ECX] &
				   (1u << 31 /* hypervisor */ | 1 << 21 /* x2apic */ |
				    1 << 24 /* tsc-deadline */);
	f->word[CPU_WORD_7_0_EBX] |= allowed->word[CPU_WORD_7_0_EBX] & 1 << 1 /* tsc-adjust */;
	f->word[CPU_WORD_6_EAX] |= allowed->word[CPU_WORD_6_EAX];
	f->word[CPU_WORD_80000007_EDX] |= allowed->word[CPU_WORD_80000007_EDX];
	if (!options->kvm_off)
		f->word[CPU_WORD_KVM] |= allowed->word[CPU_WORD_KVM];
}

/* Bits that mean nothing without another one. */
static void features_make_consistent(struct cpu_features *f)
{
	uint32_t *ecx1 = &f->word[CPU_WORD_1_ECX], *ebx7 = &f->word[CPU_WORD_7_0_EBX];

	if (!(*ecx1 & 1 << 26)) { /* xsave */
		*ecx1 &= ~(1u << 28);
		f->word[CPU_WORD_D_1_EAX] = 0;
	}
	if (!(*ecx1 & 1 << 28)) { /* avx */
		*ecx1 &= ~(1u << 12 | 1u << 29);
		*ebx7 &= ~(1u << 5 | 1u << 16);
		f->word[CPU_WORD_7_0_ECX] &= ~(1u << 9 | 1u << 10);
		f->word[CPU_WORD_7_1_EAX] &= ~(1u << 4 | 1u << 23);
	}
	if (!(*ebx7 & 1 << 5)) /* avx2 */
		f->word[CPU_WORD_7_1_EAX] &= ~(1u << 4 | 1u << 23);
	if (!(*ebx7 & 1 << 16)) { /* avx512f */
		*ebx7 &= ~(1u << 17 | 1u << 21 | 3u << 26 | 1u << 28 | 3u << 30);
		f->word[CPU_WORD_7_0_ECX] &= ~(1u << 1 | 1u << 6 | 1u << 11 | 1u << 12 | 1u << 14);
		f->word[CPU_WORD_7_0_EDX] &= ~(3u << 2 | 1u << 8 | 1u << 23);
		f->word[CPU_WORD_7_1_EAX] &= ~(1u << 5);
	}
	if (!(f->word[CPU_WORD_7_0_EDX] & 1 << 24)) { /* amx-tile */
		f->word[CPU_WORD_7_0_EDX] &= ~(1u << 22 | 1u << 25);
		f->word[CPU_WORD_D_1_EAX] &= ~(1u << 4);
	}
}

static bool features_resolve(struct cpu_model *model, const struct model_options *options,
			     const struct cpu_features *allowed, GError **error)
{
	g_autoptr(GString) missing = g_string_new(NULL);

	features_add_virtual(&model->features, allowed, options);
	for (unsigned w = 0; w < CPU_WORD_COUNT; w++) {
		uint32_t *bits = &model->features.word[w];
		*bits = (*bits | options->plus.word[w]) & ~options->minus.word[w];
		names_append(missing, w, *bits & ~allowed->word[w]);
		*bits &= allowed->word[w];
	}
	if (missing->len && options->enforce)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "-cpu %s: this engine on this host has not: %s; leave out "
				 "'enforce' to start without", model->name, missing->str);
	if (missing->len)
		log_warning("-cpu %s: starting without features that this engine on this host has "
			    "not: %s", model->name, missing->str);
	features_make_consistent(&model->features);
	return true;
}

struct cpu_model *cpu_model_parse(const char *text, const struct cpu_features *allowed,
				  GError **error)
{
	g_auto(GStrv) items = g_strsplit(text, ",", -1);
	const char *name = items[0] ? items[0] : "";
	const struct cpuid_model_definition *d = definition_find_versioned(name);
	struct model_options options = { .check = true };

	if (!d) {
		const char *near = nearest_model(name);
		error_set(error, BERTH_ERR_NOT_FOUND,
			  "no CPU model '%s'%s%s%s; '-cpu help' lists them", name,
			  near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
		return NULL;
	}

	struct cpu_model *model = g_new0(struct cpu_model, 1);
	model->name = g_strdup(d->name);
	model->host = d->host;
	if (d->host) {
		cpuid_host_identity(model);
		cpuid_age_identity(model, allowed);
		model->features = *allowed;
	} else {
		g_strlcpy(model->vendor, d->vendor, sizeof(model->vendor));
		g_strlcpy(model->model_id, d->model_id, sizeof(model->model_id));
		model->family = d->family;
		model->model = d->model;
		model->stepping = d->stepping;
		features_apply(&model->features, d);
	}
	for (char **item = items + 1; *item; item++) {
		if (**item && !parse_item(model, &options, *item, error)) {
			cpu_model_free(model);
			return NULL;
		}
	}
	if (!features_resolve(model, &options, allowed, error)) {
		cpu_model_free(model);
		return NULL;
	}
	return model;
}

void cpu_model_free(struct cpu_model *model)
{
	if (!model)
		return;
	g_free(model->name);
	g_free(model);
}

static struct cpu_model_entry *model_list_make(void)
{
	unsigned count = 0;
	while (cpuid_model_definitions[count].name)
		count++;
	struct cpu_model_entry *list = g_new0(struct cpu_model_entry, count + 1);
	for (unsigned i = 0; i < count; i++) {
		list[i].name = cpuid_model_definitions[i].name;
		list[i].description = cpuid_model_definitions[i].description;
	}
	return list;
}

const struct cpu_model_entry *cpu_model_list(void)
{
	static gsize list;
	if (g_once_init_enter(&list))
		g_once_init_leave(&list, (gsize)model_list_make());
	return (const struct cpu_model_entry *)list;
}
