/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP: how quickly the guest writes to its memory. */
#include "vmm.h"

#include "base/error.h"
#include "qmp_args.h"
#include "vm/dirty_rate.h"

#include <stdlib.h>

/* The names are QMP's; KVM's dirty ring is not used. */
static const char *const modes[] = {"page-sampling", "dirty-bitmap", "dirty-ring", NULL};

/* The measurement under way, or the last one. */
struct vmm_dirty_rate {
	struct dirty_rate *rate;
	enum dirty_rate_mode mode;
	int64_t start_s; /* since 1970 */
	unsigned seconds, samples;
	bool measured;
	uint64_t mib_per_second;
};

void dirty_rate_clear(struct vmm *vmm)
{
	if (vmm->dirty_rate)
		dirty_rate_free(vmm->dirty_rate->rate);
	g_clear_pointer(&vmm->dirty_rate, g_free);
}

static bool is_measuring(const struct vmm_dirty_rate *d)
{
	return d && !d->measured;
}

static void on_measured(void *opaque, uint64_t mib_per_second)
{
	struct vmm_dirty_rate *d = opaque;
	d->measured = true;
	d->mib_per_second = mib_per_second;
}

static json_t *run_calc(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	json_int_t seconds = arg_int(args, "calc-time", 0);
	json_int_t samples = arg_int(args, "sample-pages", DIRTY_RATE_SAMPLES_DEFAULT);
	int mode = arg_enum(args, "mode", modes, DIRTY_RATE_SAMPLING);
	if (is_measuring(vmm->dirty_rate)) {
		error_set(error, BERTH_ERR_BUSY,
			  "the dirty rate is being measured: query-dirty-rate tells when it is there");
	} else if (seconds < DIRTY_RATE_SECONDS_MIN || seconds > DIRTY_RATE_SECONDS_MAX) {
		error_set(error, BERTH_ERR_INVALID, "calc-time is out of range [%d, %d] seconds",
			  DIRTY_RATE_SECONDS_MIN, DIRTY_RATE_SECONDS_MAX);
	} else if (samples < DIRTY_RATE_SAMPLES_MIN || samples > DIRTY_RATE_SAMPLES_MAX) {
		error_set(error, BERTH_ERR_INVALID, "sample-pages is out of range [%d, %d] per GiB",
			  DIRTY_RATE_SAMPLES_MIN, DIRTY_RATE_SAMPLES_MAX);
	} else if (mode != DIRTY_RATE_SAMPLING && json_object_get(args, "sample-pages")) {
		error_set(error, BERTH_ERR_INVALID, "sample-pages is used with mode page-sampling only");
	} else if (mode > DIRTY_RATE_BITMAP) {
		error_set(error, BERTH_ERR_NOT_SUPPORTED,
			  "mode dirty-ring is not supported: use dirty-bitmap or page-sampling");
	} else {
		dirty_rate_clear(vmm);
		struct vmm_dirty_rate *d = g_new0(struct vmm_dirty_rate, 1);
		*d = (struct vmm_dirty_rate){.mode = mode, .seconds = seconds, .samples = samples,
					     .start_s = g_get_real_time() / G_USEC_PER_SEC};
		d->rate = dirty_rate_start(vmm->vm, mode, seconds, samples, on_measured, d, error);
		if (d->rate)
			vmm->dirty_rate = d;
		else
			g_free(d);
	}
	return NULL;
}

static json_t *run_query(void *opaque, const json_t *args, GError **error)
{
	const struct vmm_dirty_rate *d = ((struct vmm *)opaque)->dirty_rate;
	const char *status = !d ? "unstarted" : d->measured ? "measured" : "measuring";
	json_t *result = json_pack("{s:s, s:I, s:I, s:I, s:s}", "status", status, "start-time",
				   (json_int_t)(d ? d->start_s : 0), "calc-time",
				   (json_int_t)(d ? d->seconds : 0), "sample-pages",
				   (json_int_t)(d && d->mode == DIRTY_RATE_SAMPLING ? d->samples : 0), "mode",
				   modes[d ? d->mode : DIRTY_RATE_SAMPLING]);
	if (d && d->measured)
		json_object_set_new(result, "dirty-rate", json_integer(d->mib_per_second));
	return result;
}

static const struct qmp_command commands[] = {
	{"calc-dirty-rate", "calc-time:int sample-pages?:int mode?:DirtyRateMeasureMode", NULL, run_calc},
	{"query-dirty-rate", NULL, "DirtyRateInfo", run_query},
	{NULL},
};

static const struct qmp_type types[] = {
	{"DirtyRateMeasureMode", "=page-sampling dirty-ring dirty-bitmap"},
	{"DirtyRateStatus", "=unstarted measuring measured"},
	{"DirtyRateInfo", "dirty-rate?:int status:DirtyRateStatus start-time:int calc-time:int "
			  "sample-pages:int mode:DirtyRateMeasureMode"},
	{NULL},
};

const struct qmp_table qmp_dirty_rate_table = {commands, types, NULL, NULL};

/* --- The human monitor ------------------------------------------------------------------------ */

static void hmp_calc(void *opaque, struct hmp_call *call)
{
	const char *mode = modes[DIRTY_RATE_SAMPLING];
	unsigned i = 0;
	for (; i < call->count && call->words[i][0] == '-'; i++) {
		if (strcmp(call->words[i], "-b") == 0)
			mode = modes[DIRTY_RATE_BITMAP];
		else if (strcmp(call->words[i], "-r") == 0)
			mode = modes[DIRTY_RATE_BITMAP + 1];
		else
			break;
	}
	char *end = NULL, *samples_end = NULL;
	long seconds = i < call->count ? strtol(call->words[i], &end, 10) : 0;
	long samples = i + 1 < call->count ? strtol(call->words[i + 1], &samples_end, 10) : 0;
	if (!end || end == call->words[i] || *end || (samples_end && *samples_end) || i + 2 < call->count) {
		hmp_printf(call, "Error: usage: calc_dirty_rate [-b] SECONDS [PAGES-PER-GIB]\n");
		return;
	}
	json_t *args = json_pack("{s:I, s:s}", "calc-time", (json_int_t)seconds, "mode", mode);
	if (samples_end)
		json_object_set_new(args, "sample-pages", json_integer(samples));
	json_t *result = hmp_qmp(call, "calc-dirty-rate", args);
	if (result)
		hmp_printf(call, "Measuring for %ld seconds; 'info dirty_rate' tells the result\n", seconds);
	json_decref(result);
}

static void info_dirty_rate(void *opaque, struct hmp_call *call)
{
	json_t *result = hmp_qmp(call, "query-dirty-rate", NULL);
	hmp_printf(call, "Status: %s\nStart Time: %lld (s)\nPeriod: %lld (sec)\nMode: %s\n",
		   arg_text(result, "status"), (long long)arg_int(result, "start-time", 0),
		   (long long)arg_int(result, "calc-time", 0), arg_text(result, "mode"));
	if (json_object_get(result, "dirty-rate"))
		hmp_printf(call, "Dirty rate: %lld (MB/s)\n", (long long)arg_int(result, "dirty-rate", 0));
	else
		hmp_printf(call, "Dirty rate: (not ready)\n");
	json_decref(result);
}

const struct hmp_command hmp_dirty_rate_commands[] = {
	{"calc_dirty_rate", NULL, "[-b] seconds [pages]",
	 "measure how quickly the guest writes to its memory; -b: by the engine's dirty log", 1, 3, hmp_calc},
	{"info dirty_rate", NULL, NULL, "how quickly the guest writes to its memory", 0, 0, info_dirty_rate},
	{NULL},
};
