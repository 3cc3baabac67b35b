/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line as a whole: parsing, defaults, error texts, and the way back to text. */
#include "options.h"

#include "base/error.h"
#include "base/units.h"

#include <string.h>

static const struct conf_board q35 = {
	.default_nic = "virtio-net-pci",
	.default_disk = "ide-hd",
	.default_cdrom = "ide-cd",
	.virtio_suffix = "pci",
	.has_cdrom = true,
};

static bool parse(struct options *o, const char *line, GError **error)
{
	g_auto(GStrv) args = NULL;
	options_init(o);
	if (!line[0])
		args = g_new0(char *, 1);
	else
		g_assert_true(g_shell_parse_argv(line, NULL, &args, NULL));
	return options_parse(o, (const char *const *)args, error);
}

/* The completed model as one line. */
static char *complete(const char *line)
{
	g_autoptr(GError) error = NULL;
	struct options o;
	parse(&o, line, &error);
	g_assert_no_error(error);
	conf_vm_complete(o.conf, &q35, &error);
	g_assert_no_error(error);
	g_autoptr(GPtrArray) args = conf_vm_format(o.conf);
	options_clear(&o);
	return g_strjoinv(" ", (char **)args->pdata);
}

static void test_defaults(void)
{
	static const struct {
		const char *line, *full;
	} cases[] = {
		{"-nographic -kernel k -initrd i -append 'console=ttyS0 x' -m 512",
		 "-smp 1,maxcpus=1,sockets=1,dies=1,clusters=1,cores=1,threads=1 -m 512M -kernel k "
		 "-initrd i -append console=ttyS0 x "
		 "-drive if=none,id=ide2-cd0,media=cdrom,readonly=on "
		 "-netdev user,id=nic-net0 -device ide-cd,id=ide2-cd0,bus=ide.2,drive=ide2-cd0 "
		 "-device virtio-net-pci,netdev=nic-net0,mac=52:54:00:12:34:56 "
		 "-serial mon:stdio -nographic"},
		{"-nodefaults -hda a -drive file=b,if=virtio -drive file=c,if=none,id=d0",
		 "-nodefaults -smp 1,maxcpus=1,sockets=1,dies=1,clusters=1,cores=1,threads=1 "
		 "-m 128M -drive file=a,if=none,id=ide0-hd0 -drive file=b,if=none,id=virtio0 "
		 "-drive file=c,if=none,id=d0 -device ide-hd,bus=ide.0,drive=ide0-hd0 "
		 "-device virtio-blk-pci,drive=virtio0"},
		{"-nodefaults disk.img -snapshot -nic user,model=virtio,hostfwd=tcp::1-:2",
		 "-nodefaults -smp 1,maxcpus=1,sockets=1,dies=1,clusters=1,cores=1,threads=1 "
		 "-m 128M -drive file=disk.img,if=none,id=ide0-hd0,snapshot=on "
		 "-netdev user,id=nic-net0,hostfwd=tcp::1-:2 -device ide-hd,bus=ide.0,drive=ide0-hd0 "
		 "-device virtio-net-pci,netdev=nic-net0,mac=52:54:00:12:34:56 -snapshot"},
		{"-nodefaults -net nic,model=virtio,macaddr=52:54:00:00:00:09 -net user -monitor none "
		 "-virtfs local,path=/srv,mount_tag=share,security_model=none",
		 "-nodefaults -smp 1,maxcpus=1,sockets=1,dies=1,clusters=1,cores=1,threads=1 "
		 "-m 128M -fsdev local,id=share,path=/srv,security_model=none "
		 "-netdev user,id=nic-net0 -device virtio-9p-pci,fsdev=share,mount_tag=share "
		 "-device virtio-net-pci,netdev=nic-net0,mac=52:54:00:00:00:09 -monitor none"},
		{"-nodefaults -device x,id=a.b,p=1 -set device.a.b.p=2,3 -set device.a.b.q=4",
		 "-nodefaults -smp 1,maxcpus=1,sockets=1,dies=1,clusters=1,cores=1,threads=1 "
		 "-m 128M -device x,id=a.b,p=2,,3,q=4"},
		/* -nic's card comes first, and an address that is taken is not given again. */
		{"-nodefaults -netdev user,id=a -device virtio-net-pci,netdev=a -netdev user,id=b "
		 "-device virtio-net-pci,netdev=b,mac=52:54:00:12:34:57 -nic user,id=c -device x",
		 "-nodefaults -smp 1,maxcpus=1,sockets=1,dies=1,clusters=1,cores=1,threads=1 "
		 "-m 128M -netdev user,id=a -netdev user,id=b -netdev user,id=c "
		 "-device virtio-net-pci,netdev=a,mac=52:54:00:12:34:58 "
		 "-device virtio-net-pci,netdev=b,mac=52:54:00:12:34:57 -device x "
		 "-device virtio-net-pci,netdev=c,mac=52:54:00:12:34:56"},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *full = complete(cases[i].line);
		g_assert_cmpstr(full, ==, cases[i].full);
	}
}

static void test_streams(void)
{
	g_autofree char *a = complete("-nographic -serial mon:stdio -nic none -cdrom x");
	g_assert_nonnull(strstr(a, "-serial mon:stdio"));
	g_assert_null(strstr(a, "-monitor"));
	g_autofree char *b = complete("-nographic -serial null -nic none");
	g_assert_nonnull(strstr(b, "-serial null -monitor stdio"));
	g_autofree char *c = complete("-display none -nic none");
	g_assert_nonnull(strstr(c, "-serial null -display none"));
	g_autofree char *d = complete("-nographic -qmp unix:q,server=on,wait=off -nic none");
	g_assert_nonnull(strstr(d, "-serial stdio -qmp unix:q,server=on,wait=off"));
}

/* Formatting and parsing again changes nothing. */
static void test_round_trip(void)
{
	static const char *const lines[] = {
		"-name vm1 -uuid 00112233-4455-6677-8899-aabbccddeeff -M q35,accel=kvm:soft,hpet=off "
		"-cpu max,-avx2 -smp 4 -m 2G -boot order=cd,menu=on -rtc base=localtime "
		"-no-reboot -action panic=pause -drive file=a,,b,if=virtio,cache=none,aio=native "
		"-object rng-random,id=r0,filename=/dev/urandom -device virtio-rng-pci,rng=r0 "
		"-chardev socket,id=c0,path=/tmp/x,server=on,wait=off -mon c0,mode=control,pretty=on "
		"-qmp-pretty stdio -global virtio-blk-pci.queues=2 -smbios type=1,serial=x "
		"-fw_cfg opt/a,string=b -daemonize -pidfile p -runas nobody -D log -msg timestamp=on "
		"-overcommit mem-lock=on -sandbox on,spawn=allow -accel kvm -accel tcg,thread=multi "
		"-blockdev driver=raw,node-name=n0,file=n1 -blockdev "
		"file,node-name=n1,filename=/dev/null -nic tap,ifname=t0,script=no -debugcon null",
		"-machine microvm,pit=off,rtc=on -kernel k -nodefaults -no-user-config -S "
		"-sandbox off -display none -snapshot -mem-path /dev/hugepages -mem-prealloc "
		"-numa node,cpus=0,cpus=2-3,mem=64M -numa node,memdev=r0 -numa dist,src=0,dst=1,val=21 "
		"-numa cpu,node-id=1,socket-id=0,thread-id=1",
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(lines); i++) {
		g_autoptr(GError) error = NULL;
		struct options first, second;
		parse(&first, lines[i], &error);
		g_assert_no_error(error);
		g_autoptr(GPtrArray) args = conf_vm_format(first.conf);
		options_init(&second);
		options_parse(&second, (const char *const *)args->pdata, &error);
		g_assert_no_error(error);
		g_autoptr(GPtrArray) again = conf_vm_format(second.conf);
		g_autofree char *a = g_strjoinv(" ", (char **)args->pdata);
		g_autofree char *b = g_strjoinv(" ", (char **)again->pdata);
		g_assert_cmpstr(a, ==, b);
		options_clear(&first);
		options_clear(&second);
	}
}

static void test_errors(void)
{
	static const struct {
		const char *line, *message;
	} cases[] = {
		{"-kernal x", "there is no option -kernal: did you mean -kernel?"},
		{"-qqqqqqqqqqqq", "there is no option -qqqqqqqqqqqq: see berth-vmm -help"},
		{"-kernel", "-kernel needs an argument: -kernel FILE"},
		{"-vnc :1", "-vnc is not supported yet: there is no display yet; use -nographic or a "
			    "serial console"},
		{"-m lots", "-m: size: 'lots' is not a size: write a number and a unit, as in 512M or "
			    "20G"},
		{"-m 512,slots=2", "-m: slots= needs a maxmem= above the size: what may be plugged in"},
		{"-m 512,maxmem=256", "-m: maxmem= is less than the size"},
		{"-machine q35,acip=off", "-machine has no property 'acip': did you mean 'acpi'?"},
		{"-machine usb=on",
		 "-machine: usb: it is not supported: there are no USB controllers yet"},
		{"-accel hvf",
		 "-accel: there is no accelerator 'hvf': did you mean 'kvm'?"},
		{"-drive fiel=x", "-drive has no property 'fiel': did you mean 'file'?"},
		{"-uuid 5", "-uuid: '5' is not a UUID like 8a0f6a0e-3ec2-4d39-b6d8-6f4e0c2a1b7d"},
		{"-set device.p=1", "-set 'device.p=1' is not of the form GROUP.ID.NAME=VALUE"},
		{"-set device.a.id=b", "-set: 'id' cannot be set: write it into the option itself"},
		{"-set device.a.p=1", "-set: there is no -device with id 'a' before it"},
		{"-net user,model=e1000", "-net: model: it is not supported: write it after -net nic, or use "
					  "-nic"},
		{"-boot z", "-boot: 'z' is not a boot device: use c (disk), d (CD-ROM), n (network)"},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		struct options o;
		g_assert_false(parse(&o, cases[i].line, &error));
		g_assert_cmpstr(error->message, ==, cases[i].message);
		options_clear(&o);
	}
}

static void test_complete_errors(void)
{
	static const struct {
		const char *line, *message;
	} cases[] = {
		{"-append x", "-append is for a kernel: add -kernel FILE or leave it out"},
		{"-smp 3,sockets=2", "-smp: sockets (2) * dies (1) * cores (1) * threads (1) must "
				     "equal the number of CPUs (3)"},
		{"-hda a -drive file=b,if=ide,index=0",
		 "-drive: there are two drives at index 0: give one of them another index"},
		{"-drive file=a,if=none,id=x -drive file=b,if=none,id=x",
		 "there are two drives with id 'x': rename one"},
		{"-netdev user,id=a -netdev user,id=a",
		 "-netdev: there are two with id 'a': rename one"},
		{"-net user", "-net user is connected to nothing: write -nic user instead"},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		struct options o;
		parse(&o, cases[i].line, &error);
		g_assert_no_error(error);
		g_assert_false(conf_vm_complete(o.conf, &q35, &error));
		g_assert_cmpstr(error->message, ==, cases[i].message);
		options_clear(&o);
	}
}

static void test_help(void)
{
	static const struct {
		const char *line;
		enum options_show show;
		const char *name;
	} cases[] = {
		{"-help", SHOW_HELP, NULL},
		{"--version", SHOW_VERSION, NULL},
		{"-device help", SHOW_DEVICES, NULL},
		{"-device virtio-blk-pci,help", SHOW_DEVICES, "virtio-blk-pci"},
		{"-M ?", SHOW_MACHINES, NULL},
		{"-machine q35,help", SHOW_MACHINE_PROPERTIES, "q35"},
		{"-cpu help -nonsense", SHOW_CPUS, NULL},
		{"-accel help", SHOW_ACCELS, NULL},
		{"-netdev help", SHOW_NETDEVS, NULL},
		{"-chardev help", SHOW_CHARDEVS, NULL},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		struct options o;
		g_assert_true(parse(&o, cases[i].line, &error));
		g_assert_no_error(error);
		g_assert_cmpint(o.show, ==, cases[i].show);
		g_assert_cmpstr(o.show_name, ==, cases[i].name);
		options_clear(&o);
	}
	/* Every row is complete, and the text names every option. */
	g_autofree char *help = options_help("berth-vmm");
	for (const struct option_topic *topic = option_topics; topic->title; topic++) {
		for (const struct option *option = topic->options; option->name; option++) {
			g_autofree char *dashed = g_strdup_printf("-%s", option->name);
			g_assert_nonnull(strstr(help, dashed));
			g_assert_true(!option->missing == (option->apply && option->help));
		}
	}
}

static void test_readconfig(void)
{
	g_autoptr(GError) error = NULL;
	struct options o;
	options_init(&o);
	options_read_config(&o,
			    "# a machine\n[machine]\n  type = \"q35\"\n\n[memory]\n  size = \"1G\"\n"
			    "[device \"d0\"]\n  driver = \"virtio-rng-pci\"\n  bus = \"pcie.0\"\n",
			    "vm.cfg", &error);
	g_assert_no_error(error);
	g_autoptr(GPtrArray) args = conf_vm_format(o.conf);
	g_autofree char *line = g_strjoinv(" ", (char **)args->pdata);
	g_assert_cmpstr(line, ==, "-machine q35 -m 1024M -device virtio-rng-pci,id=d0,bus=pcie.0");
	static const struct {
		const char *text, *message;
	} bad[] = {
		{"[machine]\ntype = q35\n", "vm.cfg, line 2: the value of type is not in quotes"},
		{"type = \"q35\"", "vm.cfg, line 1: 'type = \"q35\"' is neither [group] nor key = "
				   "\"value\" in a group"},
		{"[zoo]\n", "vm.cfg, line 1: there is no group [zoo]"},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_assert_false(options_read_config(&o, bad[i].text, "vm.cfg", &error));
		g_assert_cmpstr(error->message, ==, bad[i].message);
		g_clear_error(&error);
	}
	options_clear(&o);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/options/defaults", test_defaults);
	g_test_add_func("/options/streams", test_streams);
	g_test_add_func("/options/round-trip", test_round_trip);
	g_test_add_func("/options/errors", test_errors);
	g_test_add_func("/options/complete-errors", test_complete_errors);
	g_test_add_func("/options/help", test_help);
	g_test_add_func("/options/readconfig", test_readconfig);
	return g_test_run();
}
