/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/apparmor.h"

#include "base/error.h"
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Linux, Documentation/admin-guide/LSM/apparmor.rst; the files are those that apparmor_parser uses. */
#define KERNEL "/sys/kernel/security/apparmor/"

/* --- The host ----------------------------------------------------------------------------------- */

char *apparmor_find_parser(GError **error)
{
	static const char *const parsers[] = {"/usr/sbin/apparmor_parser", "/sbin/apparmor_parser"};
	g_autofree char *enabled = NULL;
	if (!g_file_get_contents("/sys/module/apparmor/parameters/enabled", &enabled, NULL, NULL) ||
	    *enabled != 'Y') {
		error_set(error, BERTH_ERR_NOT_SUPPORTED,
			  "the kernel has no AppArmor: start it with apparmor=1 security=apparmor");
		return NULL;
	}
	if (geteuid() != 0 || access(KERNEL ".replace", W_OK) < 0) {
		error_set(error, BERTH_ERR_NOT_SUPPORTED, "this process may not load profiles of AppArmor: '" KERNEL
			  ".replace' cannot be written (only root may, with securityfs on /sys/kernel/security)");
		return NULL;
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(parsers); i++) {
		if (access(parsers[i], X_OK) == 0)
			return g_strdup(parsers[i]);
	}
	char *found = g_find_program_in_path("apparmor_parser");
	if (found)
		return found;
	error_set(error, BERTH_ERR_NOT_FOUND, "apparmor_parser is missing: install the package apparmor");
	return NULL;
}

bool apparmor_is_loaded(const char *name)
{
	g_autofree char *text = NULL, *line = g_strdup_printf("\n%s (", name);
	if (!g_file_get_contents(KERNEL "profiles", &text, NULL, NULL))
		return false;
	return g_str_has_prefix(text, line + 1) || strstr(text, line);
}

bool apparmor_unload(const char *name, GError **error)
{
	auto_fd fd = open(KERNEL ".remove", O_WRONLY | O_CLOEXEC);
	if (fd >= 0 && (write(fd, name, strlen(name)) >= 0 || errno == ENOENT))
		return true;
	return error_set_errno(error, errno, "cannot unload the AppArmor profile '%s'", name);
}

/* --- Text --------------------------------------------------------------------------------------- */

char *apparmor_quote(const char *path)
{
	GString *text = g_string_new("\"");
	/* By number it is a character and no pattern, also where apparmor_parser would not see that by a backslash. */
	for (; *path; path++) {
		unsigned char c = *path;
		if (g_ascii_isalnum(c) || c >= 0x80 || strchr("/._-+:= ", c))
			g_string_append_c(text, c);
		else
			g_string_append_printf(text, "\\%03o", c);
	}
	return g_string_free(g_string_append_c(text, '"'), FALSE);
}

/* Where it leads to, also if it is not there yet. Free with g_free(). */
static char *resolve(const char *path)
{
	char *real = realpath(path, NULL);
	if (!real) {
		g_autofree char *folder = g_path_get_dirname(path), *name = g_path_get_basename(path);
		g_autofree char *parent = realpath(folder, NULL);
		return parent ? g_build_filename(parent, name, NULL) : g_strdup(path);
	}
	char *copy = g_strdup(real);
	free(real);
	return copy;
}

/* `below`: "" or what follows the path, which may be a pattern. */
static void add_rule(GString *text, const char *path, const char *below, const char *allow)
{
	g_autofree char *real = resolve(path);
	/* The rule of "/" is that of "". */
	g_autofree char *quoted = apparmor_quote(*below && !strcmp(real, "/") ? "" : real);
	g_string_append_len(text, "\t", 1);
	g_string_append_len(text, quoted, strlen(quoted) - 1);
	g_string_append_printf(text, "%s\" %s,\n", below, allow);
}

static void add_tree(GString *text, const char *path, const char *allow)
{
	add_rule(text, path, "/", "r");
	add_rule(text, path, "/**", allow);
}

/*
 * What every VMM needs: its libraries and what these read, firmware, and the devices that serve it. The
 * capabilities are those of a VMM that runs as root, of which seccomp leaves little.
 */
static const char common[] =
	"\tcapability dac_override,\n\tcapability dac_read_search,\n\tcapability ipc_lock,\n"
	"\tcapability sys_resource,\n"
	"\tnetwork inet,\n\tnetwork inet6,\n\tnetwork unix,\n\tnetwork netlink raw,\n\tnetwork vsock,\n"
	"\tunix,\n"
	"\tsignal (receive) peer=unconfined,\n\tsignal peer=@{profile_name},\n"
	"\tptrace (readby, tracedby) peer=unconfined,\n"
	"\t/{,usr/,usr/local/}lib{,32,64}/** mr,\n"
	"\t/etc/ld.so.{cache,preload} r,\n\t/etc/ld.so.conf{,.d/**} r,\n"
	"\t/usr/{,local/}share/** rk,\n"
	"\t/etc/{nsswitch.conf,host.conf,hosts,resolv.conf,gai.conf,services,protocols} r,\n"
	"\t/etc/{passwd,group,localtime,timezone} r,\n"
	"\t/run/{resolvconf,systemd/resolve,NetworkManager}/*resolv.conf r,\n"
	"\t/etc/ssl/{openssl.cnf,certs/{,**}} r,\n\t/etc/{gnutls,crypto-policies,ca-certificates}/** r,\n"
	"\t/etc/ceph/*.conf r,\n"
	"\t/etc/pki/{qemu,libvirt-vnc,libvirt-spice}/{,**} r,\n"
	"\t/proc/[0-9]*/{stat,statm,status,cgroup} r,\n"
	"\t/proc/[0-9]*/fd/{,*} r,\n\t/proc/[0-9]*/task/{,[0-9]*/{stat,status,comm}} r,\n"
	"\t/proc/[0-9]*/task/[0-9]*/comm w,\n"
	"\t/proc/{cpuinfo,meminfo,stat,mounts,version,filesystems,uptime,loadavg} r,\n"
	"\t/proc/sys/{kernel,vm,fs}/** r,\n"
	"\t/sys/devices/** r,\n\t/sys/{bus,class,dev,fs/cgroup,firmware,module}/** r,\n\t/sys/kernel/{mm,iommu_groups}/** r,\n"
	"\t/dev/{null,zero,full} rw,\n\t/dev/{random,urandom} r,\n"
	"\t/dev/{kvm,ptmx,vhost-net,vhost-vsock,userfaultfd,net/tun} rw,\n\t/dev/tap[0-9]* rw,\n"
	/* The files of groups are the domain's, each for itself. */
	"\t/dev/pts/[0-9]* rw,\n\t/dev/vfio/vfio rw,\n";

char *apparmor_profile_text(const struct apparmor_profile *profile)
{
	GString *text = g_string_new("# Of a virtual machine of berthd, which makes it anew whenever that changes.\n");
	g_autofree char *name = apparmor_quote(profile->name);
	size_t i;
	json_t *file;
	g_string_append_printf(text, "profile %s flags=(attach_disconnected) {\n%s", name, common);
	add_rule(text, profile->program, "", "mr");
	add_rule(text, profile->logs, ".*", "w");
	add_tree(text, profile->folder, "rwk");
	if (profile->certificates)
		add_tree(text, profile->certificates, "r");
	json_array_foreach(profile->files, i, file) {
		const char *path = json_string_value(json_object_get(file, "path"));
		const char *allow = json_string_value(json_object_get(file, "allow"));
		if (!path || !allow)
			continue;
		if (json_is_true(json_object_get(file, "tree")))
			add_tree(text, path, allow);
		else
			add_rule(text, path, "", allow);
	}
	/* What this host's administrator adds for all of them. */
	g_string_append(text, "\tinclude if exists \"/etc/apparmor.d/local/berth-vmm\"\n}\n");
	return g_string_free(text, FALSE);
}
