/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Moving a domain to another host. Unless the daemons talk to each other (--p2p), the client leads
 * the five steps of libvirt's third migration protocol: begin at the source, prepare at the
 * destination, perform at the source, finish at the destination, confirm at the source. What each
 * step returns in its cookie is for the next one on the other side.
 */
#include "table.h"

#include "job.h"
#include "shell.h"

#include <inttypes.h>
#include <string.h>

enum {
	MIGRATE_P2P = 1 << 1, MIGRATE_PAUSED = 1 << 5, MIGRATE_COPY = 1 << 6 | 1 << 7,
	MIGRATE_PROTECT = 1 << 8, MIGRATE_OFFLINE = 1 << 10, MIGRATE_ABORT_ON_ERROR = 1 << 12,
	MIGRATE_AUTO_CONVERGE = 1 << 13, MIGRATE_RESUME = 1 << 19,
	FEATURE_PROTECT = 7, STATE_PAUSED = 3, SPEED_POSTCOPY = 1,
};
#define MIGRATE_SYNC_WRITES (1 << 18)

static const struct option_flag migrate_flags[] = {
	{"live", 1 << 0}, {"p2p", MIGRATE_P2P}, {"tunnelled", 1 << 2}, {"persistent", 1 << 3},
	{"undefinesource", 1 << 4}, {"suspend", MIGRATE_PAUSED}, {"copy-storage-all", 1 << 6},
	{"copy-storage-inc", 1 << 7}, {"change-protection", MIGRATE_PROTECT}, {"unsafe", 1 << 9},
	{"offline", MIGRATE_OFFLINE}, {"compressed", 1 << 11}, {"abort-on-error", MIGRATE_ABORT_ON_ERROR},
	{"auto-converge", MIGRATE_AUTO_CONVERGE}, {"rdma-pin-all", 1 << 14}, {"postcopy", 1 << 15},
	{"tls", 1 << 16}, {"parallel", 1 << 17}, {"copy-storage-synchronous-writes", MIGRATE_SYNC_WRITES},
	{"postcopy-resume", MIGRATE_RESUME}, {"zerocopy", 1 << 20}, {NULL},
};

/* --- Parameters ------------------------------------------------------------------------------- */

enum kind { TEXT, LIST, FILE_TEXT, INT, ULONG };
static const struct {
	const char *option, *name;
	enum kind kind;
} parameters[] = {
	{"migrateuri", "migrate_uri", TEXT},
	{"graphicsuri", "graphics_uri", TEXT},
	{"listen-address", "listen_address", TEXT},
	{"disks-port", "disks_port", INT},
	{"disks-uri", "disks_uri", TEXT},
	{"dname", "destination_name", TEXT},
	{"migrate-disks", "migrate_disks", LIST},
	{"comp-methods", "compression", LIST},
	{"comp-mt-level", "compression.mt.level", INT},
	{"comp-mt-threads", "compression.mt.threads", INT},
	{"comp-mt-dthreads", "compression.mt.dthreads", INT},
	{"comp-xbzrle-cache", "compression.xbzrle.cache", ULONG},
	{"xml", "destination_xml", FILE_TEXT},
	{"persistent-xml", "persistent_xml", FILE_TEXT},
	{"auto-converge-initial", "auto_converge.initial", INT},
	{"auto-converge-increment", "auto_converge.increment", INT},
	{"postcopy-bandwidth", "bandwidth.postcopy", ULONG},
	{"parallel-connections", "parallel.connections", INT},
	{"bandwidth", "bandwidth", ULONG},
	{"tls-destination", "tls.destination", TEXT},
};

static bool add_text(struct shell *sh, const struct cmd *cmd, unsigned i, struct params *params)
{
	const char *text;
	if (!opt_string(sh, cmd, parameters[i].option, &text) || !text)
		return !text;
	if (parameters[i].kind == TEXT) {
		params_string(params, parameters[i].name, text);
	} else if (parameters[i].kind == LIST) {
		g_auto(GStrv) words = g_strsplit(text, ",", 0);
		for (char **word = words; *word; word++)
			params_string(params, parameters[i].name, *word);
	} else {
		g_autofree char *file = shell_read_file(sh, text);
		if (!file)
			return shell_fail(sh, "cannot read file '%s'", text);
		params_string(params, parameters[i].name, file);
	}
	return true;
}

static bool add_parameters(struct shell *sh, const struct cmd *cmd, struct params *params)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(parameters); i++) {
		const char *option = parameters[i].option;
		uint64_t wide = 0;
		int32_t number = 0;
		int given;
		switch (parameters[i].kind) {
		case INT:
			given = opt_int(sh, cmd, option, &number);
			if (given > 0)
				params_int(params, parameters[i].name, number);
			break;
		case ULONG:
			given = opt_ulong(sh, cmd, option, &wide);
			if (given > 0)
				params_ulong(params, parameters[i].name, wide);
			break;
		default:
			given = add_text(sh, cmd, i, params) ? 0 : -1;
		}
		if (given < 0)
			return false;
	}
	return true;
}

/* Put `value` in the place of what the parameter was. */
static void replace(struct params *params, const char *name, const char *value)
{
	for (unsigned i = 0; i < params->array->len; i++) {
		if (strcmp(g_array_index(params->array, struct xdr_param, i).name, name) == 0)
			g_array_remove_index(params->array, i--);
	}
	params_string(params, name, value);
}

/* --- The five steps --------------------------------------------------------------------------- */

struct migration {
	struct job job;
	struct client *dest; /* NULL: peer to peer */
	struct params params;
	uint32_t flags, dest_flags, protect;
	uint32_t cookie_size;
	uint8_t *cookie;     /* for the next step */
	GError *first;       /* the error that counts */
};

static void keep_cookie(struct migration *m, const uint8_t *bytes, uint32_t size)
{
	g_free(m->cookie);
	m->cookie = g_memdup2(bytes, size);
	m->cookie_size = size;
}

/* The first error is what went wrong; later ones only follow from it. */
static void keep_error(struct migration *m)
{
	struct shell *sh = m->job.sh;
	if (!m->first)
		m->first = g_steal_pointer(&sh->error);
	shell_forget_error(sh);
}

#define COOKIE(m) {(m)->cookie_size, (m)->cookie}

static bool begin(struct migration *m)
{
	struct shell *sh = m->job.sh;
	struct remote_domain_migrate_begin3_params_ret ret;
	m->protect = client_has(sh->client, FEATURE_PROTECT) ? MIGRATE_PROTECT : 0;
	if (!GET(sh, domain_migrate_begin3_params, &ret, m->job.dom, PARAMS(m->params), m->flags | m->protect))
		return false;
	keep_cookie(m, ret.cookie_out.items, ret.cookie_out.count);
	replace(&m->params, "destination_xml", ret.xml);
	if (shell_domain_state(sh, m->job.dom, NULL) == STATE_PAUSED && !(m->flags & MIGRATE_RESUME))
		m->flags |= MIGRATE_PAUSED;
	shell_forget_error(sh);
	m->dest_flags = m->flags & ~(MIGRATE_ABORT_ON_ERROR | MIGRATE_AUTO_CONVERGE);
	return true;
}

static bool prepare(struct migration *m)
{
	struct remote_domain_migrate_prepare3_params_ret ret;
	const struct remote_domain_migrate_prepare3_params_args args = {PARAMS(m->params), COOKIE(m),
									m->dest_flags};
	if (!call_domain_migrate_prepare3_params(m->dest, &args, &ret, shell_error(m->job.sh)))
		return false;
	keep_cookie(m, ret.cookie_out.items, ret.cookie_out.count);
	if (ret.uri_out)
		replace(&m->params, "migrate_uri", ret.uri_out);
	return true;
}

static bool perform(struct migration *m, char *desturi)
{
	struct remote_domain_migrate_perform3_params_ret ret;
	const struct remote_domain_migrate_perform3_params_args args = {
		m->job.dom, desturi, PARAMS(m->params), COOKIE(m), m->flags | m->protect};
	if (!job_run(&m->job, REMOTE_DOMAIN_MIGRATE_PERFORM3_PARAMS, &args, &ret))
		return false;
	keep_cookie(m, ret.cookie_out.items, ret.cookie_out.count);
	return true;
}

static bool finish(struct migration *m, bool cancelled)
{
	struct remote_domain_migrate_finish3_params_ret ret;
	if (!param_find((struct xdr_param *)m->params.array->data, m->params.array->len, "destination_name"))
		params_string(&m->params, "destination_name", m->job.dom.name);
	const struct remote_domain_migrate_finish3_params_args args = {PARAMS(m->params), COOKIE(m),
								       m->dest_flags, cancelled};
	if (!call_domain_migrate_finish3_params(m->dest, &args, &ret, shell_error(m->job.sh)))
		return false;
	keep_cookie(m, ret.cookie_out.items, ret.cookie_out.count);
	return true;
}

static void confirm(struct migration *m, bool cancelled)
{
	struct shell *sh = m->job.sh;
	if (!CALL(sh, domain_migrate_confirm3_params, m->job.dom, PARAMS(m->params), COOKIE(m),
		  m->flags | m->protect, cancelled))
		keep_error(m);
}

static bool lead(struct migration *m)
{
	bool performed = true, moved = false, tell_source = true;
	if (!begin(m))
		return false;
	if (!prepare(m)) {
		keep_error(m);
		/* With protection the source has a job since the beginning. */
		if (m->protect)
			confirm(m, true);
		return false;
	}
	if (m->flags & MIGRATE_OFFLINE) {
		keep_cookie(m, NULL, 0);
	} else if (!perform(m, NULL)) {
		keep_error(m);
		performed = tell_source = false;
	}
	moved = finish(m, !performed) && performed;
	if (!moved)
		keep_error(m);
	if (tell_source)
		confirm(m, !moved);
	return moved;
}

/* --- migrate ---------------------------------------------------------------------------------- */

static void on_timeout(struct job *job, void *opaque)
{
	const struct cmd *cmd = opaque;
	struct shell *sh = job->sh;
	bool good = opt_bool(cmd, "timeout-postcopy") ? CALL(sh, domain_migrate_start_post_copy, job->dom, 0) :
							CALL(sh, domain_suspend, job->dom);
	if (!good)
		shell_forget_error(sh);
}

static bool check_options(struct shell *sh, const struct cmd *cmd)
{
	static const char *const needs[][2] = {
		{"postcopy-after-precopy", "postcopy"}, {"postcopy-resume", "postcopy"},
		{"timeout-postcopy", "postcopy"}, {"persistent-xml", "persistent"}, {"tls-destination", "tls"}};
	if (!opt_exclusive(sh, cmd, "live", "offline") ||
	    !opt_exclusive(sh, cmd, "timeout-suspend", "timeout-postcopy"))
		return false;
	for (unsigned i = 0; i < G_N_ELEMENTS(needs); i++) {
		if (!opt_require(sh, cmd, needs[i][0], needs[i][1]))
			return false;
	}
	if (opt_bool(cmd, "postcopy-after-precopy"))
		return shell_fail(sh, "--postcopy-after-precopy is not supported: use --timeout-postcopy");
	if (opt_bool(cmd, "direct"))
		return shell_fail(sh, "--direct is not supported: no hypervisor of this protocol does it");
	return true;
}

static bool opt_job(struct shell *sh, const struct cmd *cmd, struct job *job)
{
	*job = (struct job){.sh = sh, .label = "Migration", .verbose = opt_bool(cmd, "verbose"),
			    .on_timeout = on_timeout, .opaque = (void *)cmd};
	if (!shell_domain(sh, cmd, NULL, &job->dom))
		return false;
	int given = opt_uint(sh, cmd, "timeout", &job->timeout);
	if (given < 0)
		return false;
	if (given && !opt_bool(cmd, "live"))
		return shell_fail(sh, "migrate: Unexpected timeout for offline migration");
	if (!job->timeout && (opt_bool(cmd, "timeout-suspend") || opt_bool(cmd, "timeout-postcopy")))
		return shell_fail(sh, "migrate: Unexpected --timeout-* option without --timeout");
	return true;
}

bool cmd_migrate(struct shell *sh, const struct cmd *cmd)
{
	struct migration m = {.flags = opt_flags(cmd, migrate_flags)};
	const char *desturi;
	if (!check_options(sh, cmd) || !opt_job(sh, cmd, &m.job) || !opt_string(sh, cmd, "desturi", &desturi))
		return false;
	if (m.flags & MIGRATE_SYNC_WRITES && !(m.flags & MIGRATE_COPY))
		return shell_fail(sh, "'--copy-storage-synchronous-writes' requires one of '--copy-storage-all', "
				  "'copy-storage-inc'");
	if (!(m.flags & MIGRATE_P2P)) {
		const struct client_options options = {.uri = desturi};
		m.dest = client_open(&options, shell_error(sh));
		if (!m.dest)
			return false;
	}
	m.params = params_new();
	bool good = add_parameters(sh, cmd, &m.params);
	if (good)
		good = m.dest ? lead(&m) : perform(&m, (char *)desturi);
	client_close(m.dest);
	params_clear(&m.params);
	g_free(m.cookie);
	if (m.first) {
		shell_forget_error(sh);
		sh->error = m.first;
	}
	return good;
}

/* --- Its settings ----------------------------------------------------------------------------- */

bool cmd_migrate_setmaxdowntime(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	uint64_t downtime = 0;
	if (!shell_domain(sh, cmd, NULL, &dom) || opt_ulong(sh, cmd, "downtime", &downtime) < 0)
		return false;
	if (downtime < 1)
		return shell_fail(sh, "migrate: Invalid downtime");
	return CALL(sh, domain_migrate_set_max_downtime, dom, downtime, 0);
}

bool cmd_migrate_getmaxdowntime(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	struct remote_domain_migrate_get_max_downtime_ret ret;
	if (!shell_domain(sh, cmd, NULL, &dom) || !GET(sh, domain_migrate_get_max_downtime, &ret, dom, 0))
		return false;
	shell_print("%" PRIu64 "\n", ret.downtime);
	return true;
}

bool cmd_migrate_compcache(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	struct remote_domain_migrate_get_compression_cache_ret ret;
	uint64_t size;
	const char *unit;
	if (!shell_domain(sh, cmd, NULL, &dom))
		return false;
	int given = opt_ulong(sh, cmd, "size", &size);
	if (given < 0 || (given && !CALL(sh, domain_migrate_set_compression_cache, dom, size, 0)) ||
	    !GET(sh, domain_migrate_get_compression_cache, &ret, dom, 0))
		return false;
	double value = scaled_size(ret.cache_size, &unit);
	shell_print("Compression cache: %.3lf %s", value, unit);
	return true;
}

bool cmd_migrate_setspeed(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	uint64_t bandwidth = 0;
	return shell_domain(sh, cmd, NULL, &dom) && opt_wrap(sh, cmd, "bandwidth", &bandwidth) >= 0 &&
	       CALL(sh, domain_migrate_set_max_speed, dom, bandwidth,
		    opt_bool(cmd, "postcopy") ? SPEED_POSTCOPY : 0);
}

bool cmd_migrate_getspeed(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	struct remote_domain_migrate_get_max_speed_ret ret;
	if (!shell_domain(sh, cmd, NULL, &dom) ||
	    !GET(sh, domain_migrate_get_max_speed, &ret, dom, opt_bool(cmd, "postcopy") ? SPEED_POSTCOPY : 0))
		return false;
	shell_print("%" PRIu64 "\n", ret.bandwidth);
	return true;
}

bool cmd_migrate_postcopy(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	return shell_domain(sh, cmd, NULL, &dom) && CALL(sh, domain_migrate_start_post_copy, dom, 0);
}
