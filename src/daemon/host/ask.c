/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the VMM says that it can do: a VMM without disks or guest is started, asked by QMP on its
 * standard streams, and ended. This is done before the daemon serves anybody, so it may block.
 */
#include "daemon/host/host.h"

#include "base/error.h"
#include "base/fd.h"
#include "codec/json.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

enum { ANSWER_TIMEOUT_MS = 10000, MAX_MODELS = 256 };

/* --- The conversation ----------------------------------------------------------------------- */

struct dialogue {
	const char *vmm;
	GPid pid;
	int in, out; /* the VMM's standard input and output */
	struct json_stream stream;
	char data[4096];
	const char *at; /* in `data`: not yet looked at */
	size_t length;
};

static void dialogue_close(struct dialogue *d)
{
	kill(d->pid, SIGKILL);
	waitpid(d->pid, NULL, 0);
	g_spawn_close_pid(d->pid);
	fd_clear(&d->in);
	fd_clear(&d->out);
	json_stream_clear(&d->stream);
}

static bool dialogue_open(struct dialogue *d, const char *vmm, const char *accel, GError **error)
{
	const char *argv[] = {vmm, "-accel", accel, "-machine", "q35", "-nodefaults", "-display", "none",
			      "-S", "-m", "16", "-qmp", "stdio", NULL};
	*d = (struct dialogue){.vmm = vmm, .in = -1, .out = -1};
	if (!g_spawn_async_with_pipes(NULL, (char **)argv, NULL,
				      G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_STDERR_TO_DEV_NULL, NULL, NULL,
				      &d->pid, &d->in, &d->out, NULL, error))
		return false;
	json_stream_init(&d->stream);
	return true;
}

static bool wait_for_data(struct dialogue *d)
{
	struct pollfd wanted = {.fd = d->out, .events = POLLIN};
	if (poll(&wanted, 1, ANSWER_TIMEOUT_MS) != 1)
		return false;
	ssize_t n = read(d->out, d->data, sizeof(d->data));
	d->at = d->data;
	d->length = MAX(n, 0);
	return n > 0;
}

/* The next answer, whose "return" is taken out; NULL: it is an error, or the VMM says nothing. */
static json_t *next_answer(struct dialogue *d)
{
	for (;;) {
		json_t *value = NULL;
		while (d->length && json_stream_next(&d->stream, &d->at, &d->length, &value, NULL)) {
			if (!value)
				continue;
			/* Neither the greeting nor an event is one. */
			json_t *result = json_incref(json_object_get(value, "return"));
			bool is_answer = result || json_object_get(value, "error");
			json_decref(value);
			value = NULL;
			if (is_answer)
				return result;
		}
		if (!wait_for_data(d))
			return NULL;
	}
}

/* The answer to a command with arguments (taken; NULL: none), or NULL with an error. */
static json_t *ask(struct dialogue *d, const char *command, json_t *args, GError **error)
{
	json_t *question = json_pack("{s:s}", "execute", command);
	if (args)
		json_object_set_new(question, "arguments", args);
	char *text = json_dumps(question, JSON_COMPACT);
	bool sent = write(d->in, text, strlen(text)) == (ssize_t)strlen(text);
	free(text);
	json_decref(question);
	json_t *result = sent ? next_answer(d) : NULL;
	if (!result)
		error_set(error, BERTH_ERR_IO,
			  "'%s' does not answer to %s: run it by hand to see why, or name another one "
			  "with --vmm", d->vmm, command);
	return result;
}

/* --- CPU models ----------------------------------------------------------------------------- */

/* Set what the VMM says that the model has. */
static bool expand(struct dialogue *d, struct host *host, const char *model,
		   struct host_features *features, GError **error)
{
	json_t *args = json_pack("{s:s, s:{s:s}}", "type", "full", "model", "name", model);
	json_t *answer = ask(d, "query-cpu-model-expansion", args, error), *value;
	const char *name;
	if (!answer)
		return false;
	json_object_foreach(json_object_get(json_object_get(answer, "model"), "props"), name, value)
		host_feature_learn(host, features, name, json_is_true(value));
	json_decref(answer);
	return true;
}

/* The VMM leaves out of an expansion what this host lacks, and says that beside the definition. */
static bool take_model(struct dialogue *d, struct host *host, const json_t *definition, GError **error)
{
	const char *name = json_string_value(json_object_get(definition, "name"));
	size_t i;
	json_t *missing;
	if (!name || strcmp(name, "host") == 0 || strcmp(name, "max") == 0)
		return true;
	struct host_model *model = g_new0(struct host_model, 1);
	model->name = g_strdup(name);
	g_ptr_array_add(host->models, model);
	json_array_foreach(json_object_get(definition, "unavailable-features"), i, missing) {
		if (json_is_string(missing))
			host_feature_learn(host, &model->features, json_string_value(missing), true);
	}
	return expand(d, host, name, &model->features, error);
}

static bool take_models(struct dialogue *d, struct host *host, GError **error)
{
	json_t *definitions = ask(d, "query-cpu-definitions", NULL, error), *definition;
	bool good = definitions;
	size_t i;
	json_array_foreach(definitions, i, definition)
		good = good && i < MAX_MODELS && take_model(d, host, definition, error);
	json_decref(definitions);
	return good;
}

static bool take_all(struct dialogue *d, struct host *host, GError **error)
{
	json_t *greeting = ask(d, "qmp_capabilities", NULL, error);
	json_t *kvm = greeting ? ask(d, "query-kvm", NULL, error) : NULL;
	host->has_kvm = json_is_true(json_object_get(kvm, "enabled"));
	bool good = kvm && take_models(d, host, error) &&
		    expand(d, host, "max", host->has_kvm ? &host->kvm_features : &host->soft_features,
			   error);
	json_decref(greeting);
	json_decref(kvm);
	return good;
}

/* Where KVM works, the software engine's features are still to be asked for. */
static bool take_soft(struct dialogue *d, struct host *host, GError **error)
{
	json_t *greeting = ask(d, "qmp_capabilities", NULL, error);
	bool good = greeting && expand(d, host, "max", &host->soft_features, error);
	json_decref(greeting);
	return good;
}

bool host_ask_vmm(struct host *host, const char *vmm, GError **error)
{
	struct dialogue d;
	if (!dialogue_open(&d, vmm, "auto", error))
		return false;
	bool good = take_all(&d, host, error);
	dialogue_close(&d);
	if (!good || !host->has_kvm)
		return good;
	if (!dialogue_open(&d, vmm, "soft", error))
		return false;
	good = take_soft(&d, host, error);
	dialogue_close(&d);
	return good;
}
