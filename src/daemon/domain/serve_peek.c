/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A look at a guest's memory, which the VMM writes into a file, and at its disks. */
#include "daemon/domain/vmm.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "daemon/rpc/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

enum { PEEK_MAX = 4 << 20 };

struct peek {
	struct domain_job *job; /* NULL: of a disk */
	struct rpc_call *call;  /* NULL: of memory */
	char *path;
	uint64_t offset;        /* in the file */
	uint64_t address;
	uint32_t size;
	int open_flags;         /* beside the usual ones */
	bool physical;
	uint8_t *buffer;
	GError *error;
	struct aio_job work;
};

static void peek_free(void *opaque)
{
	struct peek *p = opaque;
	g_clear_error(&p->error);
	g_free(p->buffer);
	g_free(p->path);
	g_free(p);
}

/* On a thread. */
static void read_file(void *opaque)
{
	struct peek *p = opaque;
	auto_fd fd = open(p->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | p->open_flags);
	p->buffer = g_malloc(p->size);
	ssize_t length = fd < 0 ? -1 : pread(fd, p->buffer, p->size, p->offset);
	if (length < 0)
		virt_error(&p->error, VIRT_FROM_QEMU, VIRT_SYSTEM_ERROR, "cannot read '%s': %s", p->path,
			   g_strerror(errno));
	else if (length != p->size)
		virt_error(&p->error, VIRT_FROM_QEMU, VIRT_SYSTEM_ERROR,
			   "cannot read %u bytes of '%s': it ends after %zd", p->size, p->path, length);
}

/* --- Memory --------------------------------------------------------------------------------- */

static void on_memory_read(void *opaque)
{
	struct peek *p = opaque;
	struct domain_job *job = p->job;
	if (unlink(p->path) < 0)
		log_warning("domain '%s': cannot remove '%s'", job->dom->name, p->path);
	if (p->error)
		job_fail(job, g_steal_pointer(&p->error));
	else
		job_reply(job, &(struct remote_domain_memory_peek_ret){.buffer = {p->size, p->buffer}});
}

static void on_saved(void *opaque, json_t *result, const GError *error)
{
	struct domain_job *job = opaque;
	struct peek *p = job->data;
	if (error) {
		/* It may have begun to write. */
		unlink(p->path);
		job_fail(job, g_error_copy(error));
		return;
	}
	p->work = (struct aio_job){.work = read_file, .done = on_memory_read, .opaque = p,
				   .loop = job->dom->all->daemon->loop};
	aio_pool_submit(job->dom->all->daemon->pool, &p->work);
}

static void run_memory(struct domain_job *job)
{
	struct peek *p = job->data;
	if (!job_needs_running(job))
		return;
	g_autofree char *folder = vmm_user_folder(vmm_run_dir(job->dom));
	p->path = g_build_filename(folder, "peek", NULL);
	/* The folder is the VMM's, which could lead us astray. */
	p->open_flags = O_NOFOLLOW;
	vmm_execute(job->dom, p->physical ? "pmemsave" : "memsave",
		    json_pack("{s:I, s:I, s:s}", "val", (json_int_t)p->address, "size", (json_int_t)p->size,
			      "filename", p->path), on_saved, job);
}

void serve_domain_memory_peek(struct rpc_call *call, const struct remote_domain_memory_peek_args *args)
{
	enum { VIRTUAL = 1, PHYSICAL = 2 };
	struct domain *dom = domain_find(call, &args->dom);
	GError *error = NULL;
	if (!dom || !domain_runs(call, dom))
		return;
	if (args->flags != VIRTUAL && args->flags != PHYSICAL)
		virt_error(&error, VIRT_FROM_QEMU, VIRT_INVALID_ARG,
			   "flags parameter must be VIR_MEMORY_VIRTUAL or VIR_MEMORY_PHYSICAL");
	else if (!args->size || args->size > PEEK_MAX)
		virt_error(&error, VIRT_FROM_QEMU, VIRT_INVALID_ARG, "size must be from 1 to %d bytes",
			   PEEK_MAX);
	if (error) {
		rpc_call_fail(call, error);
		return;
	}
	struct domain_job *job = domain_submit(dom, call, run_memory);
	struct peek *p = g_new0(struct peek, 1);
	*p = (struct peek){.job = job, .address = args->offset, .size = args->size,
			   .physical = args->flags == PHYSICAL};
	job->data = p;
	job->free_data = peek_free;
	domain_run_jobs(dom);
}

/* --- Disks ---------------------------------------------------------------------------------- */

static void on_disk_read(void *opaque)
{
	struct peek *p = opaque;
	if (p->error)
		rpc_call_fail(p->call, g_steal_pointer(&p->error));
	else
		rpc_call_reply(p->call, &(struct remote_domain_block_peek_ret){
						.buffer = {p->size, p->buffer}});
	peek_free(p);
}

/* As libvirt: of images without a format, whether the domain runs or not. */
void serve_domain_block_peek(struct rpc_call *call, const struct remote_domain_block_peek_args *args)
{
	struct domain *dom = domain_find(call, &args->dom);
	GError *error = NULL;
	if (!dom || !rpc_call_check_flags(call, args->flags, 0))
		return;
	const struct conf_domain_disk *disk = conf_domain_find_disk(domain_conf(dom), args->path);
	if (!disk)
		virt_error(&error, VIRT_FROM_QEMU, VIRT_INVALID_ARG, "invalid disk or path '%s'", args->path);
	else if (!disk->file)
		virt_error(&error, VIRT_FROM_QEMU, VIRT_OPERATION_UNSUPPORTED,
			   "disk '%s' is no file of this host", args->path);
	else if (strcmp(disk->format, "raw") != 0)
		virt_error(&error, VIRT_FROM_QEMU, VIRT_ARGUMENT_UNSUPPORTED,
			   "peeking is only supported for disk with 'raw' format not '%s'", disk->format);
	else if (!args->size || args->size > PEEK_MAX || args->offset > INT64_MAX)
		virt_error(&error, VIRT_FROM_QEMU, VIRT_INVALID_ARG, "size must be from 1 to %d bytes",
			   PEEK_MAX);
	if (error) {
		rpc_call_fail(call, error);
		return;
	}
	struct peek *p = g_new0(struct peek, 1);
	*p = (struct peek){.call = call, .path = g_strdup(disk->file), .offset = args->offset,
			   .size = args->size};
	p->work = (struct aio_job){.work = read_file, .done = on_disk_read, .opaque = p,
				   .loop = dom->all->daemon->loop};
	aio_pool_submit(dom->all->daemon->pool, &p->work);
}
