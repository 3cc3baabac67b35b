/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The flow: check, make the images, start the first boot from one definition, keep the other; show
 * the console or wait, and start the domain again when the installer has ended.
 */
#include "install.h"

#include "../berth.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STATE_SHUTOFF = 5, POLL_US = 500000 };

static bool choose_type(struct shell *sh, struct install *install)
{
	struct remote_connect_get_capabilities_ret caps;
	if (install->virt_type) {
		install->domain_type = g_strdup(install->virt_type);
		return true;
	}
	if (!call_connect_get_capabilities(sh->client, &caps, shell_error(sh)))
		return shell_fail(sh, "failed to get capabilities");
	g_autoptr(xmlDoc) doc = xml_parse(caps.xml, "capabilities", NULL);
	g_autofree char *kvm = doc ? xpath_text(doc, NULL, "/capabilities/guest/arch[@name='x86_64']/"
						"domain[@type='kvm']/@type") : NULL;
	install->domain_type = g_strdup(kvm ? "kvm" : "qemu");
	return true;
}

static bool prepare(struct shell *sh, struct install *install)
{
	struct remote_domain_lookup_by_name_ret existing;
	if (!install->uuid)
		install->uuid = g_uuid_string_random();
	if (GET(sh, domain_lookup_by_name, &existing, install->name))
		return shell_fail(sh, "Guest name '%s' is already in use.", install->name);
	shell_forget_error(sh);
	return choose_type(sh, install) && install_find_kernel(sh, install) &&
	       install_make_seed(sh, install) && install_read_disks(sh, install);
}

/* Wait until the domain has ended; false when the time is over or after an error. */
static bool wait_end(struct shell *sh, struct remote_domain dom, int64_t minutes)
{
	gint64 end = g_get_monotonic_time() + minutes * 60 * G_USEC_PER_SEC;
	for (;;) {
		int state = shell_domain_state(sh, dom, NULL);
		if (state < 0)
			return false;
		if (state == STATE_SHUTOFF)
			return true;
		if (minutes >= 0 && g_get_monotonic_time() >= end)
			return shell_fail(sh, "the domain still runs after %d minutes", (int)minutes);
		g_usleep(POLL_US);
	}
}

/* The installer has ended: the domain starts with its own definition. */
static bool finish(struct shell *sh, const struct install *install, struct remote_domain dom)
{
	if (install->no_reboot || install->transient || !install_has_installer(install))
		return true;
	if (!CALL(sh, domain_create, dom))
		return shell_fail(sh, "Failed to start domain '%s'", dom.name);
	shell_extra(sh, "Domain '%s' started\n", dom.name);
	return true;
}

static bool follow(struct shell *sh, const struct install *install, struct remote_domain dom)
{
	int64_t minutes = 0;
	bool waits = install->wait != NULL;
	if (waits && !parse_int64(install->wait, &minutes))
		return shell_fail(sh, "--wait '%s' is no number of minutes", install->wait);
	if (!install->no_console && isatty(STDIN_FILENO) && !run_console(sh, dom, NULL, 0))
		return false;
	if (!waits)
		return true;
	shell_extra(sh, "Waiting for the installation to complete\n");
	return wait_end(sh, dom, minutes) && finish(sh, install, dom);
}

static bool make(struct shell *sh, const struct install *install, char *first, char *final)
{
	struct remote_domain_create_xml_ret created;
	struct remote_domain_define_xml_ret defined;
	if (!install_make_disks(sh, install))
		return false;
	shell_extra(sh, "Starting install...\n");
	if (!GET(sh, domain_create_xml, &created, first, 0))
		return shell_fail(sh, "Failed to start domain '%s'", install->name);
	if (!install->transient && !GET(sh, domain_define_xml, &defined, final))
		return shell_fail(sh, "Failed to define domain '%s'", install->name);
	if (install->autostart && !CALL(sh, domain_set_autostart, created.dom, 1))
		return shell_fail(sh, "Failed to mark domain '%s' as autostarted", install->name);
	install_remove_scratch(install);
	shell_extra(sh, "Domain '%s' created\n", install->name);
	return follow(sh, install, created.dom);
}

static bool run_with(struct shell *sh, struct install *install)
{
	if (!shell_connect(sh, install->connect, false, true) || !prepare(sh, install))
		return false;
	g_autofree char *first = install_xml(sh, install, true);
	g_autofree char *final = first ? install_xml(sh, install, false) : NULL;
	if (!final)
		return false;
	if (install->print_xml) {
		shell_print("%s%s", first, strcmp(first, final) ? final : "");
		return true;
	}
	if (install->dry_run) {
		shell_print("Dry run completed successfully\n");
		return true;
	}
	return make(sh, install, first, final);
}

static int run(int argc, char **argv)
{
	struct shell sh = {.escape = "^]"};
	struct install install = {NULL};
	bool good = install_parse(&sh, &install, argc, argv) && run_with(&sh, &install);
	install_remove_scratch(&install);
	shell_report(&sh);
	client_close(sh.client);
	g_free(sh.uri);
	install_clear(&install);
	return good ? EXIT_SUCCESS : EXIT_FAILURE;
}

const struct subcommand install_command = {
	.name = "install",
	.usage = "--name NAME --disk DISK [--cdrom ISO | --location TREE | --import] [options]",
	.summary = "Make a domain and install a system in it, by virt-install's options",
	.text =
		"\nA disk with a size that does not exist yet is made. The first boot is from the CD-ROM image\n"
		"or the installer's kernel; the definition that is kept boots from the disk. The console is\n"
		"on this terminal: Ctrl-] leaves it, the domain goes on.\n\n"
		"Examples:\n"
		"  berth install --name web --disk size=20 --cdrom debian.iso\n"
		"  berth install --name web --disk size=20 --location debian.iso --extra-args console=ttyS0\n"
		"  berth install --name web --import --disk debian.qcow2 --cloud-init ssh-key=key.pub\n",
	.options = install_options_help,
	.run = run,
};
