/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/steps.h"

#include "base/fd.h"
#include "base/log.h"
#include "daemon/domain/vmm.h"

struct step {
	const char *command, *undo;
	json_t *args, *undo_args;
	int fd; /* goes with the command; or -1 */
	steps_check_fn *check; /* of the answer; or NULL */
	const void *check_opaque;
};

struct steps {
	GPtrArray *list; /* struct step */
	unsigned done;
	bool lenient;
	struct domain *dom;
	GError *error;
	steps_done_fn *finished;
	void *opaque;
};

static void step_free(void *opaque)
{
	struct step *step = opaque;
	json_decref(step->args);
	json_decref(step->undo_args);
	fd_clear(&step->fd);
	g_free(step);
}

struct steps *steps_new(void)
{
	struct steps *steps = g_new0(struct steps, 1);
	steps->list = g_ptr_array_new_with_free_func(step_free);
	return steps;
}

struct steps *steps_new_lenient(void)
{
	struct steps *steps = steps_new();
	steps->lenient = true;
	return steps;
}

void steps_free(struct steps *steps)
{
	if (!steps)
		return;
	g_ptr_array_unref(steps->list);
	g_clear_error(&steps->error);
	g_free(steps);
}

void steps_add(struct steps *steps, const char *command, json_t *args, const char *undo, json_t *undo_args)
{
	struct step *step = g_new(struct step, 1);
	*step = (struct step){command, undo, args, undo_args, -1};
	g_ptr_array_add(steps->list, step);
}

void steps_add_query(struct steps *steps, const char *command, steps_check_fn *check, const void *opaque)
{
	steps_add(steps, command, NULL, NULL, NULL);
	struct step *step = steps->list->pdata[steps->list->len - 1];
	step->check = check;
	step->check_opaque = opaque;
}

void steps_add_fd(struct steps *steps, const char *name, int fd)
{
	steps_add(steps, "getfd", json_pack("{s:s}", "fdname", name), NULL, NULL);
	((struct step *)steps->list->pdata[steps->list->len - 1])->fd = fd;
}

static void on_undone(void *opaque, json_t *result, const GError *error);

/* Backwards over what has been done. */
static void undo(struct steps *steps)
{
	while (steps->done) {
		const struct step *step = steps->list->pdata[--steps->done];
		if (!step->undo)
			continue;
		vmm_execute(steps->dom, step->undo, json_incref(step->undo_args), on_undone, steps);
		return;
	}
	steps->finished(steps->opaque, steps->error);
}

static void on_undone(void *opaque, json_t *result, const GError *error)
{
	struct steps *steps = opaque;
	if (error)
		log_warning("domain '%s': a change cannot be taken back: %s", steps->dom->name,
			    error->message);
	undo(steps);
}

static void run_next(struct steps *steps);

static void on_step(void *opaque, json_t *result, const GError *error)
{
	struct steps *steps = opaque;
	const struct step *step = steps->list->pdata[steps->done];
	if (error && steps->lenient)
		log_warning("domain '%s': %s: %s", steps->dom->name, step->command, error->message);
	else if (error)
		virt_error(&steps->error, VIRT_FROM_QEMU, VIRT_INTERNAL,
			   "unable to execute QEMU command '%s': %s", step->command, error->message);
	else if (step->check)
		step->check(step->check_opaque, result, &steps->error);
	if (steps->error) {
		undo(steps);
		return;
	}
	steps->done++;
	run_next(steps);
}

static void run_next(struct steps *steps)
{
	if (steps->done == steps->list->len) {
		steps->finished(steps->opaque, NULL);
		return;
	}
	const struct step *step = steps->list->pdata[steps->done];
	vmm_execute_fd(steps->dom, step->command, json_incref(step->args), step->fd, on_step, steps);
}

void steps_run(struct steps *steps, struct domain *dom, steps_done_fn *done, void *opaque)
{
	steps->dom = dom;
	steps->finished = done;
	steps->opaque = opaque;
	run_next(steps);
}
