/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QMP: the guest's memory and registers as a core dump. The guest stands still meanwhile; a thread writes
 * if the dump is detached, or the client waits.
 */
#include "vmm.h"

#include "base/error.h"
#include "base/fd.h"
#include "machine/dump/dump.h"
#include "qmp_args.h"
#include "vm/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

/* The names are QMP's; those after the first two are refused. */
static const char *const formats[] = {"elf", "kdump-zlib", "kdump-lzo", "kdump-snappy", "win-dmp", NULL};

/* Between looks whether a dump that was cancelled has ended. */
#define CANCEL_WAIT_NS (INT64_C(20) * 1000000)

/* The dump under way, or the last one. */
struct vmm_dump {
	struct vmm *vmm;
	struct dump *dump;   /* while it is under way */
	uint64_t total, done; /* when it has ended */
	bool was_running, good;
	GError *error;
	pthread_t thread;
};

void dump_clear(struct vmm *vmm)
{
	struct vmm_dump *d = vmm->dump;
	if (!d)
		return;
	if (d->dump)
		dump_cancel(d->dump);
	while (d->dump)
		aio_loop_iterate(vmm->loop, CANCEL_WAIT_NS);
	vmm->dump = NULL;
	g_clear_error(&d->error);
	g_free(d);
}

bool dump_is_active(const struct vmm *vmm)
{
	return vmm->dump && vmm->dump->dump;
}

static json_t *describe(const struct vmm_dump *d)
{
	bool active = d && d->dump;
	const char *status = !d ? "none" : active ? "active" : d->good ? "completed" : "failed";
	uint64_t total = active ? dump_total(d->dump) : d ? d->total : 0;
	uint64_t done = active ? dump_done(d->dump) : d ? d->done : 0;
	return json_pack("{s:s, s:I, s:I}", "status", status, "completed", (json_int_t)done, "total",
			 (json_int_t)total);
}

static void finish(struct vmm_dump *d)
{
	struct vmm *vmm = d->vmm;
	d->total = dump_total(d->dump);
	d->done = dump_done(d->dump);
	dump_free(g_steal_pointer(&d->dump));
	if (d->was_running && vmm->vm->state == VM_STATE_SAVE_VM && !vmm->quitting)
		vm_resume(vmm->vm);
	if (!vmm->monitor)
		return;
	json_t *data = json_pack("{s:o}", "result", describe(d));
	if (!d->good)
		json_object_set_new(data, "error", json_string(d->error->message));
	monitor_emit(vmm->monitor, "DUMP_COMPLETED", data);
}

static void on_written(void *opaque)
{
	struct vmm_dump *d = opaque;
	pthread_join(d->thread, NULL);
	finish(d);
}

static void *write_thread(void *opaque)
{
	struct vmm_dump *d = opaque;
	d->good = dump_write(d->dump, &d->error);
	aio_loop_post(d->vmm->loop, on_written, d);
	return NULL;
}

static bool add_cpus(struct vmm *vmm, struct dump *dump, GError **error)
{
	for (unsigned i = 0; i < vmm->vm->vcpu_count; i++) {
		if (!vmm->vm->vcpus[i].present)
			continue;
		struct x86_state *state = memory_take_state(vmm, i, error);
		if (!state)
			return false;
		dump_add_cpu(dump, i, state);
		free(state);
	}
	return true;
}

/* `protocol` is "fd:NAME" or "file:PATH". */
static int open_target(struct vmm *vmm, const char *protocol, GError **error)
{
	int fd = -1;
	if (g_str_has_prefix(protocol, "fd:")) {
		const char *name = protocol + strlen("fd:");
		fd = fds_take(vmm, name);
		if (fd < 0)
			error_set(error, BERTH_ERR_NOT_FOUND,
				  "File descriptor named '%s' not found: pass it with getfd", name);
	} else if (g_str_has_prefix(protocol, "file:")) {
		const char *path = protocol + strlen("file:");
		fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		if (fd < 0)
			error_set_errno(error, errno, "cannot create '%s'", path);
	} else {
		error_set(error, BERTH_ERR_INVALID,
			  "Invalid parameter 'protocol': it is file:PATH, or fd:NAME of a descriptor that "
			  "getfd has passed");
	}
	return fd;
}

static bool check(struct vmm *vmm, const json_t *args, int format, GError **error)
{
	bool part = json_object_get(args, "begin") || json_object_get(args, "length");
	if (dump_is_active(vmm))
		return error_set(error, BERTH_ERR_BUSY, "There is a dump in process, please wait.");
	if (format > DUMP_KDUMP_ZLIB)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "format %s is not supported: use elf or kdump-zlib", formats[format]);
	if (arg_flag(args, "paging", false))
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "paging=true is not supported: addresses in a dump are physical");
	if (!json_object_get(args, "begin") != !json_object_get(args, "length"))
		return error_set(error, BERTH_ERR_INVALID, "Parameters 'begin' and 'length' go together");
	if (part && format != DUMP_ELF)
		return error_set(error, BERTH_ERR_INVALID,
				 "a dump of a part of the memory (begin, length) must be of format elf");
	return true;
}

static void start(struct vmm *vmm, struct dump *dump, bool detach, bool was_running, GError **error)
{
	struct vmm_dump *d = g_new0(struct vmm_dump, 1);
	dump_clear(vmm);
	*d = (struct vmm_dump){.vmm = vmm, .dump = dump, .was_running = was_running};
	vmm->dump = d;
	if (!detach) {
		d->good = dump_write(dump, &d->error);
		finish(d);
		if (!d->good)
			g_propagate_error(error, g_error_copy(d->error));
		return;
	}
	int r = pthread_create(&d->thread, NULL, write_thread, d);
	if (r == 0)
		return;
	error_set_errno(&d->error, r, "cannot start the dump's thread");
	g_propagate_error(error, g_error_copy(d->error));
	finish(d);
}

static json_t *run_dump(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	int format = arg_enum(args, "format", formats, DUMP_ELF);
	if (!check(vmm, args, format, error))
		return NULL;
	auto_fd fd = open_target(vmm, arg_text(args, "protocol"), error);
	if (fd < 0)
		return NULL;
	bool was_running = vm_is_running(vmm->vm);
	if (was_running)
		vm_pause(vmm->vm, VM_STATE_SAVE_VM);
	struct dump *dump = dump_new(vmm->vm->memory, fd_steal(&fd), format, arg_int(args, "begin", 0),
				     arg_int(args, "length", 0), error);
	if (dump && add_cpus(vmm, dump, error)) {
		start(vmm, dump, arg_flag(args, "detach", false), was_running, error);
		return NULL;
	}
	dump_free(dump);
	if (was_running)
		vm_resume(vmm->vm);
	return NULL;
}

static json_t *run_query(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	return describe(vmm->dump);
}

static json_t *run_capability(void *opaque, const json_t *args, GError **error)
{
	return json_pack("{s:[s, s]}", "formats", formats[DUMP_ELF], formats[DUMP_KDUMP_ZLIB]);
}

static const struct qmp_command commands[] = {
	{"dump-guest-memory", "paging:bool protocol:str detach?:bool begin?:size length?:size "
			      "format?:DumpGuestMemoryFormat", NULL, run_dump},
	{"query-dump", NULL, "DumpQueryResult", run_query},
	{"query-dump-guest-memory-capability", NULL, "DumpGuestMemoryCapability", run_capability},
	{NULL},
};

static const struct qmp_type types[] = {
	{"DumpGuestMemoryFormat", "=elf kdump-zlib kdump-lzo kdump-snappy win-dmp"},
	{"DumpGuestMemoryCapability", "formats:[DumpGuestMemoryFormat]"},
	{"DumpStatus", "=none active completed failed"},
	{"DumpQueryResult", "status:DumpStatus completed:int total:int"},
	{NULL},
};

static const struct qmp_event events[] = {
	{"DUMP_COMPLETED", "result:DumpQueryResult error?:str"},
	{NULL},
};

const struct qmp_table qmp_dump_table = {commands, types, events, NULL};

/* --- The human monitor ------------------------------------------------------------------------ */

static void hmp_dump(void *opaque, struct hmp_call *call)
{
	bool detach = false;
	int format = DUMP_ELF;
	unsigned i = 0;
	for (; i + 1 < call->count && call->words[i][0] == '-'; i++) {
		if (strcmp(call->words[i], "-d") == 0)
			detach = true;
		else if (strcmp(call->words[i], "-z") == 0)
			format = DUMP_KDUMP_ZLIB;
		else
			break;
	}
	if (i + 1 != call->count) {
		hmp_printf(call, "Error: usage: dump-guest-memory [-d] [-z] FILE\n");
		return;
	}
	g_autofree char *protocol = g_strconcat("file:", call->words[i], NULL);
	json_decref(hmp_qmp(call, "dump-guest-memory",
			    json_pack("{s:b, s:s, s:b, s:s}", "paging", 0, "protocol", protocol, "detach",
				      (int)detach, "format", formats[format])));
}

static void info_dump(void *opaque, struct hmp_call *call)
{
	json_t *result = hmp_qmp(call, "query-dump", NULL);
	json_int_t total = arg_int(result, "total", 0), done = arg_int(result, "completed", 0);
	hmp_printf(call, "Status: %s\n", arg_text(result, "status"));
	if (total)
		hmp_printf(call, "Finished: %.2f %%\n", 100.0 * done / total);
	json_decref(result);
}

const struct hmp_command hmp_dump_commands[] = {
	{"dump-guest-memory", NULL, "[-d] [-z] file",
	 "write memory and registers as an ELF core; -z: compressed, as kdump does; -d: do not wait", 1, 3,
	 hmp_dump},
	{"info dump", NULL, NULL, "how far a dump is", 0, 0, info_dump},
	{NULL},
};
