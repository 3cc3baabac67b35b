/* SPDX-License-Identifier: GPL-2.0-or-later */
/* I/O threads, and which disks are with them at the moment: see vmm.h. */
#include "vmm.h"

#include "base/error.h"
#include "base/log.h"
#include "block/core/move.h"
#include "block/job/job.h"
#include "dev/virtio/devices.h"

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

/* A disk that is to leave takes no new requests, and is asked again after so long. */
#define IDLE_LOOK_NS 200000

struct iothread {
	char *id;
	struct aio_loop *loop;
	pthread_t thread;
	pid_t tid;
	sem_t ready; /* while it starts */
	bool started; /* when first needed: not before the sandbox, which holds for later threads */
};

/* --- threads --------------------------------------------------------------------------------------- */

static void iothread_free(void *opaque)
{
	struct iothread *t = opaque;
	if (t->started) {
		aio_loop_quit(t->loop);
		pthread_join(t->thread, NULL);
	}
	aio_loop_free(t->loop);
	g_free(t->id);
	g_free(t);
}

void iothreads_init(struct backends *b)
{
	b->iothreads = g_ptr_array_new_with_free_func(iothread_free);
}

static struct iothread *find(const struct backends *b, const char *id)
{
	for (unsigned i = 0; i < b->iothreads->len; i++) {
		struct iothread *t = b->iothreads->pdata[i];
		if (strcmp(t->id, id) == 0)
			return t;
	}
	return NULL;
}

/* The loop sleeps in the kernel and never polls, and its images choose how many requests go together. */
static bool check_property(const char *key, const char *value, GError **error)
{
	static const char *const zero[] = {"poll-max-ns", "poll-grow", "poll-shrink", "aio-max-batch", NULL};
	if (!g_strv_contains(zero, key))
		return error_set(error, BERTH_ERR_NOT_SUPPORTED, "-object iothread has no property '%s': leave it out",
				 key);
	return strcmp(value, "0") == 0 ||
	       error_set(error, BERTH_ERR_NOT_SUPPORTED,
			 "-object iothread: %s=%s is not supported, an I/O thread does not poll: use 0, or leave it "
			 "out", key, value);
}

bool iothreads_add(struct backends *b, const struct conf_item *item, GError **error)
{
	for (unsigned i = 0; i < keyval_count(item->props); i++) {
		if (!check_property(item->props->keys->pdata[i], item->props->values->pdata[i], error))
			return false;
	}
	struct aio_loop *loop = aio_loop_new(error);
	if (!loop)
		return false;
	struct iothread *t = g_new0(struct iothread, 1);
	t->id = g_strdup(item->id);
	t->loop = loop;
	g_ptr_array_add(b->iothreads, t);
	return true;
}

void iothreads_remove(struct backends *b, const char *id)
{
	struct iothread *t = find(b, id);
	if (t)
		g_ptr_array_remove(b->iothreads, t);
}

static void *run(void *opaque)
{
	struct iothread *t = opaque;
	char name[16]; /* the kernel's limit */
	g_snprintf(name, sizeof(name), "IO %s", t->id);
	pthread_setname_np(pthread_self(), name);
	aio_loop_run(t->loop);
	return NULL;
}

static void on_thread(void *opaque)
{
	struct iothread *t = opaque;
	t->tid = gettid();
	sem_post(&t->ready);
}

static bool start(struct iothread *t, GError **error)
{
	if (t->started)
		return true;
	sigset_t all, old;
	sigfillset(&all); /* signals are the main thread's */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int r = pthread_create(&t->thread, NULL, run, t);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r)
		return error_set_errno(error, r, "cannot start the I/O thread '%s'", t->id);
	t->started = true;
	/* Until its thread has it, a loop is its maker's, who may not call into it. */
	sem_init(&t->ready, 0, 0);
	aio_loop_post(t->loop, on_thread, t);
	while (sem_wait(&t->ready) < 0)
		;
	sem_destroy(&t->ready);
	return true;
}

json_t *iothreads_list(struct vmm *vmm, GError **error)
{
	json_t *list = json_array();
	for (unsigned i = 0; i < vmm->backends.iothreads->len; i++) {
		struct iothread *t = vmm->backends.iothreads->pdata[i];
		if (!start(t, error)) {
			json_decref(list);
			return NULL;
		}
		json_array_append_new(list, json_pack("{s:s, s:i, s:i, s:i, s:i, s:i}", "id", t->id, "thread-id",
						      (int)t->tid, "poll-max-ns", 0, "poll-grow", 0, "poll-shrink",
						      0, "aio-max-batch", 0));
	}
	return list;
}

/* --- who has one ----------------------------------------------------------------------------------- */

bool iothreads_in_use(const struct vmm *vmm, const char *id)
{
	for (unsigned i = 0; i < vmm->machine->devices->len; i++) {
		const char *name = virtio_blk_iothread(vmm->machine->devices->pdata[i]);
		if (name && strcmp(name, id) == 0)
			return true;
	}
	return false;
}

/* Of each disk there is a root, for a device: does none have it? */
static bool is_unused(void *opaque, const struct block_node *root)
{
	struct vmm *vmm = opaque;
	for (unsigned i = 0; i < vmm->backends.disks->len; i++) {
		const struct backend_disk *disk = vmm->backends.disks->pdata[i];
		if (disk->node == root)
			return !vmm->machine || !backends_user(vmm->machine->devices, root);
	}
	return false;
}

bool iothreads_check(struct vmm *vmm, const struct keyval *props, GError **error)
{
	const char *id = keyval_get(props, "iothread"), *drive = keyval_get(props, "drive");
	if (!id)
		return true;
	if (!find(&vmm->backends, id))
		return error_set(error, BERTH_ERR_NOT_FOUND, "there is no -object iothread with id '%s'", id);
	const struct backend_disk *disk = drive ? backends_find_disk(&vmm->backends, drive) : NULL;
	if (!disk || !disk->node || block_can_move(disk->node, is_unused, vmm, error))
		return true; /* what is wrong with the drive the device says itself */
	g_prefix_error(error, "iothread=%s: ", id);
	return false;
}

/* --- home and away --------------------------------------------------------------------------------- */

static void bring_all_home(struct vmm *vmm)
{
	for (unsigned i = 0; i < vmm->machine->devices->len; i++)
		virtio_blk_bring_home(vmm->machine->devices->pdata[i]);
}

static bool images_are_busy(struct vmm *vmm)
{
	const struct backends *b = &vmm->backends;
	return b->nbd || (b->jobs && block_jobs_list(b->jobs)->len);
}

/* False: it is to go, and has requests under way. */
static bool send(struct vmm *vmm, struct device *dev)
{
	const char *id = virtio_blk_iothread(dev);
	if (!id || virtio_blk_is_away(dev))
		return true;
	struct iothread *t = find(&vmm->backends, id);
	g_autoptr(GError) error = NULL;
	if (!block_can_move(virtio_blk_node(dev), is_unused, vmm, &error) || !start(t, &error)) {
		log_debug("%s stays with the main loop: %s", dev->id ? dev->id : dev->class->name, error->message);
		virtio_blk_hold_back(dev, false);
		return true;
	}
	if (virtio_blk_send_away(dev, t->loop))
		return true;
	virtio_blk_hold_back(dev, true);
	return false;
}

static void send_all(void *opaque)
{
	struct vmm *vmm = opaque;
	if (vmm->commands || vmm->quitting || !vm_is_running(vmm->vm) || images_are_busy(vmm))
		return;
	bool all = true;
	for (unsigned i = 0; i < vmm->machine->devices->len; i++)
		all &= send(vmm, vmm->machine->devices->pdata[i]);
	if (!all)
		aio_timer_arm(&vmm->iothread_timer, aio_now_ns() + IDLE_LOOK_NS);
}

void iothreads_reconsider(struct vmm *vmm)
{
	if (vmm->backends.iothreads->len && vmm->iothread_timer.loop)
		aio_timer_arm(&vmm->iothread_timer, aio_now_ns());
}

static void before_command(void *opaque)
{
	struct vmm *vmm = opaque;
	if (vmm->commands++ == 0 && vmm->backends.iothreads->len)
		bring_all_home(vmm);
}

static void after_command(void *opaque)
{
	struct vmm *vmm = opaque;
	if (--vmm->commands == 0)
		iothreads_reconsider(vmm);
}

void iothreads_connect(struct vmm *vmm)
{
	const struct monitor_guard guard = {before_command, after_command, vmm};
	monitor_set_guard(vmm->monitor, &guard);
	aio_timer_init(&vmm->iothread_timer, vmm->loop, send_all, vmm);
}

void iothreads_disconnect(struct vmm *vmm)
{
	if (vmm->iothread_timer.loop)
		aio_timer_cancel(&vmm->iothread_timer);
	vmm->iothread_timer.loop = NULL;
}
