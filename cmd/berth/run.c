/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * berth run: one machine in the foreground. The model is written as a berth-vmm command line and
 * this process becomes it: no daemon, no root, and what the guest ends with is our exit status.
 */
#include "berth.h"

#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

/* berth-vmm beside this program, or wherever PATH has it. */
static char *find_vmm(void)
{
	g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
	if (self) {
		g_autofree char *folder = g_path_get_dirname(self);
		char *path = g_build_filename(folder, "berth-vmm", NULL);
		if (access(path, X_OK) == 0)
			return path;
		g_free(path);
	}
	return g_find_program_in_path("berth-vmm");
}

static bool needs_quotes(const char *word)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "-_=./:,+@%";
	return !word[0] || word[strspn(word, plain)];
}

static void print_command(const GPtrArray *args)
{
	for (unsigned i = 0; i < args->len; i++) {
		const char *word = args->pdata[i];
		g_autofree char *quoted = needs_quotes(word) ? g_shell_quote(word) : g_strdup(word);
		printf("%s%s", i ? " " : "", quoted);
	}
	printf("\n");
}

static int start(const struct wishes *wishes, GError **error)
{
	struct sysinfo host;
	sysinfo(&host);
	struct conf_vm *conf = wishes_to_conf(wishes, (uint64_t)host.totalram * host.mem_unit,
					      get_nprocs(), error);
	if (!conf)
		return EXIT_FAILURE;
	g_autoptr(GPtrArray) args = conf_vm_format(conf);
	conf_vm_free(conf);
	g_autofree char *program = find_vmm();
	g_ptr_array_insert(args, 0, g_strdup(program ? program : "berth-vmm"));
	for (char **word = wishes->rest; word && *word; word++)
		g_ptr_array_add(args, g_strdup(*word));
	if (wishes->dry_run) {
		print_command(args);
		return EXIT_SUCCESS;
	}
	if (program)
		execv(program, (char **)args->pdata);
	error_set_errno(error, program ? errno : ENOENT,
			"run: cannot start berth-vmm (it belongs beside berth, or in PATH)");
	return EXIT_FAILURE;
}

static int run(int argc, char **argv)
{
	struct wishes wishes;
	g_autoptr(GError) error = NULL;
	int status = EXIT_FAILURE;
	wishes_init(&wishes);
	if (wishes_parse(&wishes, argc, argv, &error))
		status = start(&wishes, &error);
	if (error)
		berth_fail(error);
	wishes_clear(&wishes);
	return status;
}

const struct subcommand run_command = {
	.name = "run",
	.usage = "[IMAGE] [options] [-- berth-vmm options]",
	.summary = "Run a virtual machine on this terminal",
	.text =
		"IMAGE is a raw disk image, a CD-ROM image (.iso) or a Linux kernel; which one is seen "
		"from\nits content. The guest's serial console is on this terminal:\n\n"
		"  Ctrl-a x   end the machine at once (power off inside the guest is better)\n"
		"  Ctrl-a c   switch to the monitor and back\n"
		"  Ctrl-a h   help\n\n"
		"When the guest powers off, berth ends with status 0.\n\n"
		"Examples:\n"
		"  berth run debian.img\n"
		"  berth run debian.img --memory 4G --cpus 4 --forward tcp:2222:22\n"
		"  berth run --kernel vmlinuz --initrd initrd.gz --append 'console=ttyS0 quiet'\n"
		"  berth run grub-rescue.iso --net none\n"
		"  berth run debian.img --snapshot --share ~/src\n"
		"  berth run debian.img --dry-run\n",
	.options = wishes_help,
	.run = run,
};
