/* SPDX-License-Identifier: GPL-2.0-or-later */
/* berth validate: what this host can do for virtual machines, and how to get what is missing. */
#include "berth.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/units.h"
#include "cpu/kvm/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum verdict { PASS, WARN, FAIL };

struct report {
	unsigned count[3];
	bool colour;
};

static void tell(struct report *report, enum verdict verdict, const char *what, const char *format,
		 ...) G_GNUC_PRINTF(4, 5);

static void tell(struct report *report, enum verdict verdict, const char *what, const char *format,
		 ...)
{
	static const char *const names[] = {"PASS", "WARN", "FAIL"};
	static const char *const colours[] = {"\033[32m", "\033[33m", "\033[31m"};
	va_list args;
	va_start(args, format);
	g_autofree char *text = g_strdup_vprintf(format, args);
	va_end(args);
	report->count[verdict]++;
	printf("%s%s%s  %-26s %s\n", report->colour ? colours[verdict] : "", names[verdict],
	       report->colour ? "\033[0m" : "", what, text);
}

/* The file's text without the last newline, or NULL. Free with g_free(). */
static char *read_text(const char *path)
{
	char *text = NULL;
	if (!g_file_get_contents(path, &text, NULL, NULL))
		return NULL;
	return g_strchomp(text);
}

static bool cpu_has(const char *cpuinfo, const char *flag)
{
	g_autofree char *pattern = g_strdup_printf(" %s ", flag);
	return cpuinfo && strstr(cpuinfo, pattern);
}

/* --- engines -------------------------------------------------------------------------------------- */

static void check_kvm(struct report *report)
{
	g_autofree char *cpuinfo = read_text("/proc/cpuinfo");
	bool vmx = cpu_has(cpuinfo, "vmx"), svm = cpu_has(cpuinfo, "svm");
	if (vmx || svm)
		tell(report, PASS, "hardware virtualization", "%s", vmx ? "Intel VT-x" : "AMD-V");
	else
		tell(report, FAIL, "hardware virtualization",
		     "the CPU shows neither VT-x nor AMD-V: turn it on in the firmware's set-up, or, "
		     "inside a virtual machine, turn on nested virtualization in its host");

	g_autoptr(GError) error = NULL;
	if (access("/dev/kvm", F_OK) < 0)
		tell(report, FAIL, "/dev/kvm", "it does not exist: modprobe %s",
		     svm ? "kvm-amd" : "kvm-intel");
	else if (access("/dev/kvm", R_OK | W_OK) < 0)
		tell(report, FAIL, "/dev/kvm",
		     "this user may not open it: adduser %s kvm, and log in again",
		     g_get_user_name());
	else if (!kvm_engine.probe(&error))
		tell(report, FAIL, "/dev/kvm", "%s", error->message);
	else
		tell(report, PASS, "/dev/kvm", "runs a test guest at full speed");

	bool soft = cpu_has(cpuinfo, "avx2");
	tell(report, soft ? PASS : WARN, "software engine", "%s",
	     soft ? "works without KVM; guests get AVX2" :
		    "works without KVM; guests get no AVX2, because this CPU has none");
}

static void check_nested(struct report *report)
{
	g_autofree char *intel = read_text("/sys/module/kvm_intel/parameters/nested");
	g_autofree char *amd = read_text("/sys/module/kvm_amd/parameters/nested");
	const char *value = intel ? intel : amd;
	if (!value)
		tell(report, WARN, "nested virtualization", "not known: no KVM module is loaded");
	else if (value[0] == 'Y' || value[0] == '1')
		tell(report, PASS, "nested virtualization", "guests can run guests of their own");
	else
		tell(report, WARN, "nested virtualization",
		     "off: modprobe -r %s && modprobe %s nested=1",
		     intel ? "kvm-intel" : "kvm-amd", intel ? "kvm-intel" : "kvm-amd");
}

/* --- devices ---------------------------------------------------------------------------------------- */

static void check_device(struct report *report, const char *path, const char *what, const char *module,
			 const char *use)
{
	auto_fd fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd >= 0)
		tell(report, PASS, what, "%s", use);
	else if (errno == ENOENT || errno == ENODEV || errno == ENXIO)
		tell(report, WARN, what, "%s is not there: modprobe %s (%s)", path, module, use);
	else
		tell(report, WARN, what, "cannot open %s: %s; chmod or chown it, or run as root (%s)",
		     path, g_strerror(errno), use);
}

static bool folder_has_entries(const char *path)
{
	g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
	return dir && g_dir_read_name(dir);
}

static void check_iommu(struct report *report)
{
	if (folder_has_entries("/sys/kernel/iommu_groups"))
		tell(report, PASS, "IOMMU", "host devices can be given to guests");
	else
		tell(report, WARN, "IOMMU",
		     "none is on: needed only to give host devices to guests; turn on VT-d or AMD-Vi "
		     "in the firmware and boot with intel_iommu=on or amd_iommu=on");
}

/* --- kernel features ---------------------------------------------------------------------------------- */

static void check_cgroup_controllers(struct report *report, const char *version,
				     const char *present, const char *const *wanted)
{
	g_auto(GStrv) have = g_strsplit_set(present, " ,\n", -1);
	GString *missing = g_string_new(NULL);
	for (; *wanted; wanted++) {
		if (!g_strv_contains((const char *const *)have, *wanted))
			g_string_append_printf(missing, " %s", *wanted);
	}
	if (missing->len == 0)
		tell(report, PASS, "cgroup controllers", "%s: all that limit a machine are there",
		     version);
	else
		tell(report, WARN, "cgroup controllers",
		     "%s lacks%s: limits of that kind cannot be set", version, missing->str);
	g_string_free(missing, TRUE);
}

static void check_cgroups(struct report *report)
{
	static const char *const v2[] = {"cpu", "cpuset", "memory", "io", "pids", NULL};
	static const char *const v1[] = {"cpu", "cpuset", "memory", "blkio", "pids", "devices", NULL};
	g_autofree char *unified = read_text("/sys/fs/cgroup/cgroup.controllers");
	if (unified && unified[0]) {
		check_cgroup_controllers(report, "version 2", unified, v2);
		return;
	}
	g_autofree char *mounts = read_text("/proc/mounts");
	g_auto(GStrv) lines = g_strsplit(mounts ? mounts : "", "\n", -1);
	GString *found = g_string_new(NULL);
	for (char **line = lines; *line; line++) {
		g_auto(GStrv) fields = g_strsplit(*line, " ", -1);
		if (g_strv_length(fields) >= 4 && strcmp(fields[2], "cgroup") == 0)
			g_string_append_printf(found, "%s,", fields[3]);
	}
	if (found->len == 0)
		tell(report, WARN, "cgroup controllers",
		     "none is mounted: machines run without limits");
	else
		check_cgroup_controllers(report, "version 1", found->str, v1);
	g_string_free(found, TRUE);
}

static void check_huge_pages(struct report *report)
{
	g_autofree char *total = read_text("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages");
	if (!total)
		tell(report, WARN, "huge pages", "this kernel has none");
	else if (strcmp(total, "0") == 0)
		tell(report, WARN, "huge pages",
		     "none is reserved (an option): echo 1024 > /proc/sys/vm/nr_hugepages gives 2 GiB");
	else
		tell(report, PASS, "huge pages", "%s of 2 MiB are reserved", total);

	g_autofree char *thp = read_text("/sys/kernel/mm/transparent_hugepage/enabled");
	g_autofree char *shmem = read_text("/sys/kernel/mm/transparent_hugepage/shmem_enabled");
	if (!thp || strstr(thp, "[never]"))
		tell(report, WARN, "transparent huge pages",
		     "off: echo madvise > /sys/kernel/mm/transparent_hugepage/enabled");
	else if (!shmem || strstr(shmem, "[never]") || strstr(shmem, "[deny]"))
		tell(report, WARN, "transparent huge pages",
		     "on, but not for shared memory, where guest RAM is: echo advise > "
		     "/sys/kernel/mm/transparent_hugepage/shmem_enabled");
	else
		tell(report, PASS, "transparent huge pages", "on for guest RAM");
}

static void check_memory(struct report *report)
{
	g_autofree char *meminfo = read_text("/proc/meminfo");
	const char *line = meminfo ? strstr(meminfo, "MemAvailable:") : NULL;
	uint64_t available = line ? g_ascii_strtoull(line + 13, NULL, 10) * KIB : 0;
	g_autofree char *text = units_format_size(available);
	if (available >= GIB)
		tell(report, PASS, "free memory", "%s", text);
	else
		tell(report, WARN, "free memory", "%s is little: give guests less, or end programs",
		     text);
}

static void check_io_uring(struct report *report)
{
	struct io_uring ring;
	int result = io_uring_queue_init(4, &ring, 0);
	if (result == 0) {
		io_uring_queue_exit(&ring);
		tell(report, PASS, "io_uring", "fast disks");
	} else {
		tell(report, WARN, "io_uring",
		     "%s: disks use threads; sysctl kernel.io_uring_disabled=0 may turn it on",
		     g_strerror(-result));
	}
}

static void check_user_namespaces(struct report *report)
{
	pid_t child = fork();
	if (child == 0)
		_exit(unshare(CLONE_NEWUSER) == 0 ? 0 : 1);
	int status = 1;
	if (child > 0)
		waitpid(child, &status, 0);
	if (status == 0)
		tell(report, PASS, "user namespaces", "machines can be confined without root");
	else
		tell(report, WARN, "user namespaces",
		     "not for this user: sysctl kernel.unprivileged_userns_clone=1");
}

static void check_firmware(struct report *report)
{
	bool seabios = access("/usr/share/seabios/bios-256k.bin", R_OK) == 0;
	bool ovmf = access("/usr/share/OVMF/OVMF_CODE_4M.fd", R_OK) == 0 ||
		    access("/usr/share/OVMF/OVMF_CODE.fd", R_OK) == 0;
	tell(report, seabios ? PASS : WARN, "BIOS firmware", "%s",
	     seabios ? "SeaBIOS is installed" : "apt install seabios (not needed for --kernel)");
	tell(report, ovmf ? PASS : WARN, "UEFI firmware", "%s",
	     ovmf ? "OVMF is installed" : "apt install ovmf (for --firmware uefi)");
}

static int validate(int argc, char **argv)
{
	struct report report = {.colour = isatty(1)};
	if (argc > 1) {
		fprintf(stderr, "berth: validate takes no arguments\n");
		return EXIT_FAILURE;
	}
	check_kvm(&report);
	check_nested(&report);
	check_device(&report, "/dev/net/tun", "TUN", "tun", "networks through tap devices");
	check_device(&report, "/dev/vhost-net", "vhost-net", "vhost_net", "faster tap networks");
	check_device(&report, "/dev/vhost-vsock", "vhost-vsock", "vhost_vsock",
		     "sockets between host and guests in the kernel");
	check_iommu(&report);
	check_cgroups(&report);
	check_huge_pages(&report);
	check_memory(&report);
	check_io_uring(&report);
	check_user_namespaces(&report);
	check_firmware(&report);
	printf("\n%u passed, %u warnings, %u failed%s\n", report.count[PASS], report.count[WARN],
	       report.count[FAIL],
	       report.count[FAIL] ? ": machines run on the software engine, slower than with KVM" :
				    "");
	return report.count[FAIL] ? EXIT_FAILURE : EXIT_SUCCESS;
}

const struct subcommand validate_command = {
	.name = "validate",
	.usage = "",
	.summary = "Tell what this host can do for virtual machines",
	.text = "One line for each thing: PASS, WARN (works without it) or FAIL (no hardware\n"
		"virtualization), and what to do about it. The exit status is 1 if there is a FAIL;\n"
		"even then machines run, on Berth's software engine.\n",
	.run = validate,
};
