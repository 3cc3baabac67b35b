/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * berth-vmm: one virtual machine in one process, with QEMU's options. See vmm.h for the order in
 * which it comes to life.
 */
#include "vmm.h"

#include "base/error.h"
#include "base/log.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

static bool uses_stdio(const struct conf_vm *conf)
{
	for (unsigned i = 0; i < conf->serials->len; i++) {
		if (strstr(conf->serials->pdata[i], "stdio"))
			return true;
	}
	for (unsigned i = 0; i < conf->monitors->len; i++) {
		const struct conf_monitor *monitor = conf->monitors->pdata[i];
		if (monitor->spec && strstr(monitor->spec, "stdio"))
			return true;
	}
	return false;
}

static bool set_up_log(const struct conf_vm *conf, GError **error)
{
	FILE *stream = stderr;
	if (conf->log_file) {
		stream = fopen(conf->log_file, "ae");
		if (!stream)
			return error_set_errno(error, errno, "-D: cannot open '%s'", conf->log_file);
		setvbuf(stream, NULL, _IOLBF, 0);
	}
	log_setup("berth-vmm", conf->debug_log ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO, stream);
	log_timestamps(conf->log_timestamps);
	return true;
}

static bool prepare_process(struct vmm *vmm, GError **error)
{
	const struct conf_vm *conf = vmm->conf;
	if (!set_up_log(conf, error))
		return false;
	if (conf->name.process)
		prctl(PR_SET_NAME, conf->name.process);
	if (conf->daemonize && (conf->nographic || uses_stdio(conf)))
		return error_set(error, BERTH_ERR_INVALID,
				 "-daemonize leaves no terminal for %s: use -display none and "
				 "-serial, -monitor on a socket or file",
				 conf->nographic ? "-nographic" : "stdio");
	if (conf->daemonize && !process_daemonize(&vmm->ready_fd, error))
		return false;
	return !conf->pidfile || process_write_pidfile(conf->pidfile, error);
}

static bool run(struct vmm *vmm, GError **error)
{
	if (!prepare_process(vmm, error) || !vmm_build(vmm, error) || !process_drop_rights(vmm->conf, error) ||
	    !process_ready(vmm, error))
		return false;
	if (!vmm->conf->paused)
		vm_resume(vmm->vm);
	aio_loop_run(vmm->loop);
	return true;
}

int main(int argc, char **argv)
{
	struct options options;
	struct vmm vmm = {.ready_fd = -1};
	g_autoptr(GError) error = NULL;
	signal(SIGPIPE, SIG_IGN);
	log_setup("berth-vmm", LOG_LEVEL_INFO, stderr);
	options_init(&options);
	vmm.conf = options.conf;

	bool good = options_parse(&options, (const char *const *)argv + 1, &error);
	if (good && options.show != SHOW_NOTHING) {
		good = show(&options, &error);
	} else if (good) {
		good = run(&vmm, &error);
		vmm_destroy(&vmm);
	}
	if (!good)
		log_line(LOG_LEVEL_INFO, "%s", error->message);
	options_clear(&options);
	return good ? vmm.exit_code : EXIT_FAILURE;
}
