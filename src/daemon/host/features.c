/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sets of CPU features, and which model describes one best. */
#include "daemon/host/host.h"

#include "base/error.h"
#include "daemon/rpc/error.h"

#include <string.h>

/* --- Sets ----------------------------------------------------------------------------------- */

/* libvirt's spelling where it is not the VMM's. */
static char *libvirt_name(const char *name)
{
	static const char *const special[][2] = {
		{"pclmulqdq", "pclmuldq"}, {"lahf-lm", "lahf_lm"}, {"cmp-legacy", "cmp_legacy"},
		{"fxsr-opt", "fxsr_opt"}, {"tsc-adjust", "tsc_adjust"}, {"ds-cpl", "ds_cpl"},
		{"nodeid-msr", "nodeid_msr"}, {"perfctr-core", "perfctr_core"},
		{"perfctr-nb", "perfctr_nb"},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(special); i++) {
		if (strcmp(special[i][0], name) == 0)
			return g_strdup(special[i][1]);
	}
	return g_strdup(name);
}

static int find(const struct host *host, const char *name)
{
	for (unsigned i = 0; i < host->feature_names->len; i++) {
		if (strcmp(host->feature_names->pdata[i], name) == 0)
			return i;
	}
	return -1;
}

void host_feature_learn(struct host *host, struct host_features *features, const char *name, bool is_set)
{
	/* What KVM tells its guests is no feature of a processor. */
	if (g_str_has_prefix(name, "kvm"))
		return;
	g_autofree char *known = libvirt_name(name);
	int number = find(host, known);
	if (number < 0) {
		number = host->feature_names->len;
		/* More than CPUID has. */
		if (number >= HOST_MAX_FEATURES)
			return;
		g_ptr_array_add(host->feature_names, g_steal_pointer(&known));
	}
	if (is_set)
		features->word[number / 64] |= UINT64_C(1) << number % 64;
}

static bool has(const struct host_features *features, unsigned number)
{
	return features->word[number / 64] >> number % 64 & 1;
}

static bool contains(const struct host_features *all, const struct host_features *some)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(all->word); i++) {
		if (some->word[i] & ~all->word[i])
			return false;
	}
	return true;
}

static unsigned count(const struct host_features *features)
{
	unsigned bits = 0;
	for (unsigned i = 0; i < G_N_ELEMENTS(features->word); i++)
		bits += __builtin_popcountll(features->word[i]);
	return bits;
}

const struct host_features *host_features_of(const struct host *host, bool kvm)
{
	return kvm ? &host->kvm_features : &host->soft_features;
}

bool host_model_usable(const struct host *host, const struct host_model *model, bool kvm)
{
	return contains(host_features_of(host, kvm), &model->features);
}

/* --- What a <cpu> asks for -------------------------------------------------------------------- */

static const struct host_model *find_model(const struct host *host, const char *name)
{
	for (unsigned i = 0; i < host->models->len; i++) {
		const struct host_model *model = host->models->pdata[i];
		if (strcmp(model->name, name) == 0)
			return model;
	}
	return NULL;
}

/* `forbidden` may be NULL. */
static bool read_features(const struct host *host, const struct conf_cpu *cpu,
			  struct host_features *wanted, struct host_features *forbidden, GError **error)
{
	const struct host_model *model = find_model(host, cpu->model);
	if (!model)
		return virt_error(error, VIRT_FROM_CPU, VIRT_INTERNAL, "Unknown CPU model %s", cpu->model);
	*wanted = model->features;
	for (unsigned i = 0; i < cpu->features->len; i++) {
		const struct conf_cpu_feature *feature =
			&g_array_index(cpu->features, struct conf_cpu_feature, i);
		g_autofree char *name = libvirt_name(feature->name);
		int number = find(host, name);
		if (number < 0)
			return virt_error(error, VIRT_FROM_CPU, VIRT_INTERNAL, "Unknown CPU feature %s",
					  feature->name);
		uint64_t bit = UINT64_C(1) << number % 64;
		if (feature->policy == CONF_CPU_REQUIRE)
			wanted->word[number / 64] |= bit;
		else
			wanted->word[number / 64] &= ~bit;
		if (feature->policy == CONF_CPU_FORBID && forbidden)
			forbidden->word[number / 64] |= bit;
	}
	return true;
}

/* --- Comparing ------------------------------------------------------------------------------ */

/* The names of what `some` has and `all` has not. */
static char *missing_names(const struct host *host, const struct host_features *all,
			   const struct host_features *some)
{
	GString *text = g_string_new(NULL);
	for (unsigned i = 0; i < host->feature_names->len; i++) {
		if (has(some, i) && !has(all, i))
			g_string_append_printf(text, "%s%s", text->len ? ", " : "",
					       (char *)host->feature_names->pdata[i]);
	}
	return g_string_free(text, FALSE);
}

static bool is_x86(const char *arch)
{
	return !arch || strcmp(arch, "x86_64") == 0 || strcmp(arch, "i686") == 0;
}

bool host_cpu_compare(const struct host *host, const struct conf_cpu *cpu, bool kvm,
		      enum host_comparison *result, char **why, GError **error)
{
	const struct host_features *ours = host_features_of(host, kvm);
	struct host_features wanted, forbidden = {{0}};
	*result = HOST_CPU_SUPERSET;
	if (cpu->is_host)
		return true;
	if (!cpu->model)
		return virt_error(error, VIRT_FROM_CPU, VIRT_XML_ERROR, "Missing CPU model name");
	if (!read_features(host, cpu, &wanted, &forbidden, error))
		return false;
	struct host_features refused = forbidden;
	for (unsigned i = 0; i < G_N_ELEMENTS(refused.word); i++)
		refused.word[i] &= ours->word[i];
	if (!is_x86(cpu->arch))
		*why = g_strdup_printf("CPU arch %s does not match host arch", cpu->arch);
	else if (cpu->vendor && strcmp(cpu->vendor, host->cpu_vendor) != 0)
		*why = g_strdup_printf("host CPU vendor does not match required CPU vendor %s",
				       cpu->vendor);
	else if (!contains(ours, &wanted)) {
		g_autofree char *names = missing_names(host, ours, &wanted);
		*why = g_strdup_printf("Host CPU does not provide required features: %s", names);
	} else if (count(&refused)) {
		g_autofree char *names = missing_names(host, &(struct host_features){{0}}, &refused);
		*why = g_strdup_printf("Host CPU provides forbidden features: %s", names);
	} else if (contains(&wanted, ours))
		*result = HOST_CPU_IDENTICAL;
	if (*why)
		*result = HOST_CPU_INCOMPATIBLE;
	return true;
}

/* --- A common CPU --------------------------------------------------------------------------- */

const struct host_model *host_best_model(const struct host *host, const struct host_features *features,
					 const char *preferred)
{
	const struct host_model *best = NULL;
	unsigned most = 0;
	for (unsigned i = 0; i < host->models->len; i++) {
		const struct host_model *model = host->models->pdata[i];
		unsigned bits = count(&model->features);
		bool better = !best || bits > most ||
			      (bits == most && preferred && strcmp(model->name, preferred) == 0);
		if (contains(features, &model->features) && better) {
			best = model;
			most = bits;
		}
	}
	return best;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Those of `features` that are not in `model`, by name; all of them if it is NULL. */
static GPtrArray *other_names(const struct host *host, const struct host_features *features,
			      const struct host_model *model)
{
	GPtrArray *names = g_ptr_array_new();
	for (unsigned i = 0; i < host->feature_names->len; i++) {
		if (has(features, i) && !(model && has(&model->features, i)))
			g_ptr_array_add(names, host->feature_names->pdata[i]);
	}
	g_ptr_array_sort(names, compare_names);
	return names;
}

void host_features_write(struct xml_writer *w, const struct host *host,
			 const struct host_features *features, const struct host_model *without,
			 const char *policy)
{
	g_autoptr(GPtrArray) names = other_names(host, features, without);
	for (unsigned i = 0; i < names->len; i++)
		xml_empty(w, "feature", "policy", policy, "name", names->pdata[i], NULL);
}

/* All of the same vendor, or none is said. */
static const char *common_vendor(const GPtrArray *cpus)
{
	const struct conf_cpu *first = cpus->pdata[0];
	for (unsigned i = 1; i < cpus->len; i++) {
		if (g_strcmp0(((struct conf_cpu *)cpus->pdata[i])->vendor, first->vendor) != 0)
			return NULL;
	}
	return first->vendor;
}

char *host_cpu_baseline(const struct host *host, const GPtrArray *cpus,
			const struct host_features *limit, bool expand, GError **error)
{
	struct host_features common;
	memset(&common, 0xff, sizeof(common));
	if (limit)
		common = *limit;
	for (unsigned i = 0; i < cpus->len; i++) {
		const struct conf_cpu *cpu = cpus->pdata[i];
		struct host_features features;
		if (!cpu->model || cpu->is_host) {
			virt_error(error, VIRT_FROM_CPU, VIRT_INVALID_ARG,
				   "no CPU model specified at index %u", i);
			return NULL;
		}
		if (!read_features(host, cpu, &features, NULL, error))
			return NULL;
		for (unsigned word = 0; word < G_N_ELEMENTS(common.word); word++)
			common.word[word] &= features.word[word];
	}
	const struct conf_cpu *first = cpus->pdata[0];
	const struct host_model *model = host_best_model(host, &common, first->model);
	if (!model) {
		virt_error(error, VIRT_FROM_CPU, VIRT_OPERATION_FAILED, "CPUs are incompatible");
		return NULL;
	}
	struct xml_writer w = xml_writer_new();
	const char *vendor = common_vendor(cpus);
	xml_open(&w, "cpu", "mode", "custom", "match", "exact", NULL);
	xml_leaf(&w, "model", model->name, "fallback", "forbid", NULL);
	if (vendor)
		xml_leaf(&w, "vendor", vendor, NULL);
	host_features_write(&w, host, &common, expand ? NULL : model, "require");
	xml_close(&w, "cpu");
	return xml_writer_take(&w);
}
