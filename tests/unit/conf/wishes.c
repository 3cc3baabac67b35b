/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What `berth run` makes of a person's wishes. */
#include "berth.h"

#include "base/units.h"

#include <stdio.h>
#include <string.h>

/* The command line that comes of `line`, or the error's text. */
static char *wish(const char *line)
{
	g_auto(GStrv) args = NULL;
	int count;
	struct wishes wishes;
	g_autoptr(GError) error = NULL;
	char *result = NULL;
	g_assert_true(g_shell_parse_argv(line, &count, &args, NULL));
	wishes_init(&wishes);
	if (wishes_parse(&wishes, count, args, &error)) {
		struct conf_vm *conf = wishes_to_conf(&wishes, 8 * GIB, 4, &error);
		if (conf) {
			g_autoptr(GPtrArray) words = conf_vm_format(conf);
			result = g_strjoinv(" ", (char **)words->pdata);
		}
		conf_vm_free(conf);
	}
	wishes_clear(&wishes);
	return result ? result : g_strdup(error->message);
}

static char *make_file(const char *folder, const char *name, const char *bytes, size_t length,
		       size_t offset, size_t size)
{
	char *path = g_build_filename(folder, name, NULL);
	g_autofree char *content = g_malloc0(size);
	if (length)
		memcpy(content + offset, bytes, length);
	g_assert_true(g_file_set_contents(path, content, size, NULL));
	return path;
}

static void test_images(void)
{
	g_autofree char *folder = g_dir_make_tmp("berth-wishes-XXXXXX", NULL);
	const struct {
		const char *name, *bytes;
		size_t length, offset, size;
		const char *expected;
	} cases[] = {
		{"raw", "\xeb\x63", 2, 0, 65536, "-device virtio-blk-pci,drive=disk0,bootindex=0"},
		{"cd", "CD001", 5, 0x8001, 65536, "-device ide-cd,drive=disk0,bootindex=0"},
		{"linux", "HdrS", 4, 0x202, 4096, " -append console=ttyS0 "},
		{"vmlinux", "\x7f" "ELF", 4, 0, 4096, " -append console=ttyS0 "},
		{"a.qcow2", "QFI\xfb", 4, 0, 4096, "format=qcow2"},
		{"a.vmdk", "KDMV", 4, 0, 4096, "format=vmdk"},
		{"a.gz", "\x1f\x8b", 2, 0, 4096, "is compressed with gzip: unpack it first"},
		{"empty", "", 0, 0, 0, "is empty"},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *path =
			make_file(folder, cases[i].name, cases[i].bytes, cases[i].length,
				  cases[i].offset, cases[i].size);
		g_autofree char *line = g_strdup_printf("run %s --net none", path);
		g_autofree char *result = wish(line);
		if (!strstr(result, cases[i].expected))
			g_error("%s: '%s' is not in '%s'", cases[i].name, cases[i].expected, result);
		remove(path);
	}
	g_autofree char *line = g_strdup_printf("run %s", folder);
	g_autofree char *result = wish(line);
	g_assert_nonnull(strstr(result, "is a folder"));
	remove(folder);
}

static void test_defaults(void)
{
	g_autofree char *result = wish("run --kernel k --net none");
	g_assert_cmpstr(result, ==,
			"-nodefaults -machine q35 -smp 2 -m 2048M -kernel k -append console=ttyS0 "
			"-device virtio-rng-pci -serial mon:stdio -display none");
	g_autofree char *micro = wish("run --kernel k --machine microvm --memory 64M --cpus 1 "
				      "--append x --accel tcg --net user --forward 8080:80");
	g_assert_nonnull(strstr(micro, "virtio-net-device,netdev=net0"));
	g_assert_nonnull(strstr(micro, "hostfwd=tcp:127.0.0.1:8080-:80"));
	g_assert_nonnull(strstr(micro, "-accel tcg"));
	g_autofree char *tap = wish("run --kernel k --net=tap:t0");
	g_assert_nonnull(strstr(tap, "-netdev tap,id=net0,ifname=t0,script=no,downscript=no"));
	g_autofree char *udp = wish("run --kernel k --forward udp:0.0.0.0:53:5353");
	g_assert_nonnull(strstr(udp, "hostfwd=udp:0.0.0.0:53-:5353"));
	/* The same wishes get the same hardware address. */
	g_autofree char *again = wish("run --kernel k --net=tap:t0");
	g_assert_cmpstr(tap, ==, again);
}

static void test_errors(void)
{
	static const struct {
		const char *line, *message;
	} cases[] = {
		{"run", "run: there is nothing to start"},
		{"run a b", "run: there are two images, 'a' and 'b'"},
		{"run -m 512", "run: options begin with two dashes"},
		{"run --memory", "run: --memory needs a value"},
		{"run --snapshot=1", "run: --snapshot takes no value"},
		{"run --kernel k --memory much", "run: --memory: 'much' is not a size"},
		{"run --kernel k --memory 5", NULL},
		{"run --kernel k --memory 64G", "run: --memory 64G is more than the host has (8192 MiB)"},
		{"run --kernel k --cpus 0", "run: --cpus: 0 is out of range"},
		{"run --kernel k --net wifi", "run: --net 'wifi' is not one of user, none"},
		{"run --kernel k --net none --forward 1:2", "run: --forward is for --net user"},
		{"run --kernel k --forward 1:99999", "run: --forward '1:99999' is not [tcp:|udp:]"},
		{"run --kernel k --share /no/folder", "run: --share '/no/folder' is not a folder"},
		{"run --kernel k --firmware efi", "run: --firmware 'efi' is not one of bios, uefi, none"},
		{"run --kernel k --display vnc", "run: --display vnc is not supported yet"},
		{"run --initrd i", "run: --initrd needs --kernel"},
		{"run --kernel k --accel hax", "-accel: there is no accelerator 'hax'"},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *result = wish(cases[i].line);
		if (cases[i].message && !g_str_has_prefix(result, cases[i].message))
			g_error("'%s' gave '%s'", cases[i].line, result);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/wishes/images", test_images);
	g_test_add_func("/wishes/defaults", test_defaults);
	g_test_add_func("/wishes/errors", test_errors);
	return g_test_run();
}
