/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A domain's document as a command line, that as a document again, and that as a command line again: both
 * lines are the same. And: what a command line has that no document can say is refused by its name.
 */
#include "native.h"

#include "conf/domain_native.h"
#include "daemon/domain/domain.h"

#include <string.h>

#define VMM "/usr/bin/berth-vmm"

static const struct daemon daemon_now = {.vmm = VMM, .nbd_tls_dir = "/pki", .read_command = native_read};

static GPtrArray *arguments_of(const char *xml)
{
	g_autoptr(GError) error = NULL;
	struct conf_domain *conf = conf_domain_parse(xml, true, &error);
	g_assert_no_error(error);
	GPtrArray *words = vmm_arguments(&daemon_now, conf, "/run/berth", NULL, &error);
	g_assert_no_error(error);
	conf_domain_free(conf);
	return words;
}

static char *document_of(const char *const *words)
{
	g_autoptr(GError) error = NULL;
	struct conf_vm *vm = native_read(words, &error);
	g_assert_no_error(error);
	char *xml = conf_domain_from_vm(vm, &error);
	g_assert_no_error(error);
	conf_vm_free(vm);
	return xml;
}

static void assert_same(const GPtrArray *a, const GPtrArray *b)
{
	for (unsigned i = 0; i + 1 < MAX(a->len, b->len); i++)
		g_assert_cmpstr(i < a->len ? a->pdata[i] : NULL, ==, i < b->len ? b->pdata[i] : NULL);
}

static void check(const char *xml)
{
	/* Places are chosen when a domain is defined: that is what a command line is made of. */
	g_autoptr(GError) error = NULL;
	struct conf_domain *conf = conf_domain_parse(xml, false, &error);
	g_assert_no_error(error);
	g_autofree char *defined = conf_domain_format(conf, -1);
	conf_domain_free(conf);
	g_autoptr(GPtrArray) words = arguments_of(defined);
	g_autofree char *back = document_of((const char *const *)words->pdata);
	g_autoptr(GPtrArray) again = arguments_of(back);
	assert_same(words, again);
}

#define BEGIN(type, machine)                                                                       \
	"<domain type='" type "'><name>a,b</name><uuid>6c1f5d1c-7d0b-4a7e-9f8e-0d6d5a0e8a02</uuid>"   \
	"<memory unit='MiB'>512</memory><vcpu current='2'>4</vcpu><os><type arch='x86_64' "           \
	"machine='" machine "'>hvm</type>"

static const char *const documents[] = {
	BEGIN("qemu", "q35") "</os></domain>",
	BEGIN("kvm", "microvm") "<kernel>/k</kernel><initrd>/i</initrd><cmdline>console=ttyS0 a='b'</cmdline></os>"
	"<devices><serial type='pty'/><disk type='file' device='disk'><driver name='qemu' type='raw'/>"
	"<source file='/a,b'/><target dev='vda' bus='virtio'/></disk></devices></domain>",
	BEGIN("kvm", "q35") "</os><memoryBacking><hugepages><page size='2048' unit='KiB'/></hugepages><nosharepages/>"
	"<locked/><access mode='shared'/><allocation mode='immediate' threads='2'/><discard/></memoryBacking></domain>",
	BEGIN("kvm", "q35") "</os><memoryBacking><source type='memfd'/><allocation mode='immediate'/></memoryBacking>"
	"</domain>",
	BEGIN("kvm", "q35") "</os><devices><interface type='user'><model type='e1000'/><rom enabled='no'/></interface>"
	"<interface type='user'><model type='e1000e'/><rom bar='on' file='/r,om'/></interface>"
	"<interface type='client'><source address='::1' port='7000'/><model type='rtl8139'/></interface>"
	"<interface type='server'><source port='7001'/><model type='virtio'/></interface>"
	"<interface type='mcast'><source address='230.0.0.1' port='7002'/></interface>"
	"<interface type='udp'><source address='127.0.0.1' port='7003'><local address='127.0.0.1' port='7004'/></source>"
	"<rom bar='off'/></interface></devices></domain>",
	BEGIN("kvm", "q35") "<boot dev='cdrom'/><boot dev='hd'/><boot dev='network'/><smbios mode='sysinfo'/></os>"
	"<sysinfo type='smbios'><bios><entry name='vendor'>Me, too</entry></bios><system>"
	"<entry name='serial'>ds=nocloud;x</entry></system><oemStrings><entry>one</entry><entry>two</entry>"
	"</oemStrings></sysinfo><features><acpi/><apic/></features>"
	"<cpu mode='custom' match='exact' check='full'><model fallback='forbid'>Nehalem</model>"
	"<topology sockets='1' dies='1' cores='2' threads='2'/><feature policy='disable' name='avx'/>"
	"<feature policy='require' name='pcid'/></cpu>"
	"<clock offset='localtime'><timer name='rtc' tickpolicy='catchup'/><timer name='hpet' present='no'/>"
	"<timer name='kvmclock' present='no'/></clock><on_reboot>destroy</on_reboot><on_crash>preserve</on_crash>"
	"<pm><suspend-to-mem enabled='no'/><suspend-to-disk enabled='no'/></pm><devices>"
	"<watchdog model='i6300esb' action='inject-nmi'/><panic model='isa'/><memballoon model='none'/></devices></domain>",
	BEGIN("kvm", "q35") "<loader readonly='yes' type='pflash'>/code,1.fd</loader><nvram>/vars.fd</nvram></os>"
	"<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>"
	"<cpu mode='host-passthrough' migratable='on'/><devices>"
	"<rng model='virtio'><backend model='random'>/dev/random</backend></rng>"
	"<filesystem type='mount' accessmode='mapped'><source dir='/s'/><target dir='t'/><readonly/></filesystem>"
	"<filesystem type='mount' accessmode='squash'><source dir='/s,2'/><target dir='t2'/></filesystem>"
	"<interface type='user'><mac address='52:54:00:11:22:33'/><model type='virtio'/>"
	"<boot order='2'/></interface>"
	"<interface type='user'><mac address='52:54:00:11:22:30'/><model type='virtio'/><backend type='passt'/>"
	"</interface>"
	"<interface type='bridge'><mac address='52:54:00:11:22:34'/><source bridge='br1'/><model type='virtio'/>"
	"</interface><interface type='network'><mac address='52:54:00:11:22:35'/><source network='default'/>"
	"<model type='virtio'/><mtu size='1400'/></interface>"
	"<interface type='vhostuser'><mac address='52:54:00:11:22:36'/><source type='unix' path='/v,1' "
	"mode='client'><reconnect enabled='yes' timeout='3'/></source><driver queues='2'/><model type='virtio'/>"
	"</interface><channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"
	"<channel type='unix'><source mode='connect' path='/c'/><target type='virtio' name='x'/>"
	"<address type='virtio-serial' controller='0' bus='0' port='9'/></channel>"
	"<console type='pty'><target type='virtio'/></console><serial type='file'><source path='/l,1'/></serial>"
	"<serial type='null'/><serial type='unix'><source mode='bind' path='/u'/></serial>"
	"<disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='none' io='native' discard='unmap'/>"
	"<source file='/a'/><target dev='vdc' bus='virtio'/><boot order='1'/><serial>s1</serial>"
	"<alias name='ua-mine'/></disk>"
	"<disk type='block' device='disk'><driver name='qemu' type='raw' cache='writethrough'/><shareable/>"
	"<source dev='/dev/x'/><target dev='vdab' bus='virtio'/></disk>"
	"<disk type='file' device='disk'><driver name='qemu' type='raw' cache='directsync'/><readonly/>"
	"<source file='/y'/><target dev='vda' bus='virtio'/></disk>"
	"<disk type='file' device='disk'><driver name='qemu' type='raw' cache='unsafe'/><source file='/z,z'/>"
	"<target dev='sdb' bus='sata'/></disk><disk type='file' device='cdrom'><target dev='sda' bus='sata'/></disk>"
	"<disk type='network' device='cdrom'><driver name='qemu' type='raw'/><source protocol='https' "
	"name='d/x.iso' query='a=b'><host name='h' port='8443'/><ssl verify='no'/></source>"
	"<target dev='sdf' bus='sata'/></disk></devices></domain>",
	BEGIN("qemu", "q35") "</os><features><acpi/></features><maxMemory slots='4' unit='GiB'>8</maxMemory><cpu><numa>"
	"<cell id='0' cpus='0-1' memory='256' unit='MiB'><distances><sibling id='0' value='10'/>"
	"<sibling id='1' value='21'/></distances></cell><cell id='1' cpus='2-3' memory='256' unit='MiB'><distances>"
	"<sibling id='0' value='21'/><sibling id='1' value='10'/></distances></cell></numa></cpu><devices>"
	"<memory model='dimm' access='shared' discard='yes'><source><pagesize unit='MiB'>2</pagesize>"
	"<nodemask>0-1</nodemask></source><target><size unit='MiB'>128</size><node>1</node></target></memory>"
	"<memory model='virtio-mem'><target><size unit='MiB'>256</size><node>0</node><block unit='MiB'>2</block>"
	"<requested unit='MiB'>64</requested></target></memory></devices></domain>",
	BEGIN("qemu", "q35") "</os><devices>"
	"<disk type='network' device='disk'><driver name='qemu' type='raw'/><source protocol='nbd' name='e' tls='yes' "
	"tlsHostname='n'><host name='h' port='99'/></source><target dev='vda' bus='virtio'/></disk>"
	"<disk type='network' device='disk'><driver name='qemu' type='qcow2'/><source protocol='nbd'>"
	"<host transport='unix' socket='/s'/></source><target dev='vdb' bus='virtio'/></disk>"
	"<disk type='network' device='disk'><driver name='qemu' type='raw'/><source protocol='iscsi' "
	"name='iqn.x:y/3'><host name='::1' port='3260'/><initiator><iqn name='iqn.me'/></initiator></source>"
	"<target dev='vdc' bus='virtio'/></disk>"
	"<disk type='network' device='disk'><driver name='qemu' type='raw'/><source protocol='rbd' name='p/n/i'>"
	"<host name='m1'/><host name='m2' port='7'/><snapshot name='s'/><config file='/c'/></source>"
	"<target dev='vdd' bus='virtio'/></disk>"
	"<disk type='network' device='disk'><driver name='qemu' type='raw'/><source protocol='nfs' name='/e/f'>"
	"<host name='h'/><identity user='+1' group='2'/></source><target dev='vde' bus='virtio'/></disk>"
	"<disk type='network' device='disk'><driver name='qemu' type='raw'/><source protocol='ssh' name='/e/f'>"
	"<host name='h'/></source><target dev='vdf' bus='virtio'/></disk>"
	"<disk type='network' device='disk'><driver name='qemu' type='raw'/><source protocol='http' name='x'>"
	"<host name='h'/></source><target dev='vdg' bus='virtio'/></disk></devices></domain>",
};

static void test_documents(void)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(documents); i++) {
		g_test_message("document %u", i);
		check(documents[i]);
	}
}

/* What people type themselves. */
static void test_lines(void)
{
	static const struct {
		const char *line, *parts[8];
	} lines[] = {
		{"qemu-system-x86_64 -enable-kvm -m 1G -smp 2 -hda /d.img -cdrom /x.iso -nographic",
		 {"<domain type='kvm'", "<memory unit='KiB'>1048576<", "<vcpu placement='static'>2<", "<source file='/d.img'/>",
		  "device='cdrom'", "<interface type='user'>", "<serial type='pty'>"}},
		{"LC_ALL=C PATH=/bin qemu -nodefaults -M q35 -drive file=/a.qcow2,format=qcow2,if=virtio "
		 "-nic bridge,br=br3,mac=52:54:00:00:00:09 -name guest=vm7,debug-threads=on",
		 {"<name>vm7<", "type='qcow2'", "<target dev='vda' bus='virtio'/>", "<source bridge='br3'/>",
		  "<mac address='52:54:00:00:00:09'/>", "<memballoon model='none'/>"}},
		{"qemu -nodefaults -blockdev driver=file,filename=/b,node-name=n0,aio=native -blockdev "
		 "'{\"driver\":\"qcow2\",\"node-name\":\"n1\",\"file\":\"n0\",\"read-only\":true}' "
		 "-device virtio-blk-pci,drive=n1 -cpu host,-avx,+pcid -chardev socket,id=q,path=/q,server=on,wait=off "
		 "-mon chardev=q,mode=control",
		 {"<source file='/b'/>", "io='native'", "<readonly/>", "mode='host-passthrough'",
		  "<feature policy='disable' name='avx'/>", "<feature policy='require' name='pcid'/>"}},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(lines); i++) {
		g_auto(GStrv) words = NULL;
		g_assert_true(g_shell_parse_argv(lines[i].line, NULL, &words, NULL));
		g_autofree char *xml = document_of((const char *const *)words);
		for (unsigned p = 0; lines[i].parts[p]; p++) {
			if (!strstr(xml, lines[i].parts[p]))
				g_error("'%s' is not in\n%s", lines[i].parts[p], xml);
		}
		g_autoptr(GPtrArray) args = arguments_of(xml);
		g_autofree char *again = document_of((const char *const *)args->pdata);
		g_autoptr(GPtrArray) args_again = arguments_of(again);
		assert_same(args, args_again);
	}
}

static void test_refused(void)
{
	static const char *const lines[][2] = {
		{"qemu -nodefaults -bogus", "-bogus"},
		{"qemu -nodefaults -smb 2", "-smp"},
		{"qemu -nodefaults -device e1000e", "-netdev"},
		{"qemu -nodefaults -device pcnet", "pcnet"},
		{"qemu -nodefaults -netdev socket,id=n,fd=3 -device e1000,netdev=n", "-netdev socket"},
		{"qemu -nodefaults -device virtio-rng-pci,rng=x", "'x'"},
		{"qemu -nodefaults -device virtio-balloon-pci,deflate-on-oom=on", "deflate-on-oom"},
		{"qemu -nodefaults -netdev user,id=n,hostfwd=tcp::22-:22 -device virtio-net-pci,netdev=n", "hostfwd"},
		{"qemu -nodefaults -netdev user,id=n", "-netdev user,id=n"},
		{"qemu -nodefaults -fw_cfg opt/x,string=y", "-fw_cfg"},
		{"qemu -nodefaults -snapshot", "-snapshot"},
		{"qemu -nodefaults -cpu host,phys-bits=39", "phys-bits"},
		{"qemu -nodefaults -global mc146818rtc.base_year=3", "mc146818rtc.base_year"},
		{"qemu -nodefaults -smbios type=4,sock_pfx=x", "type=4"},
		{"qemu -nodefaults -machine pit=off", "pit"},
		{"qemu -nodefaults -drive file=rel.img,if=virtio", "absolute"},
		{"qemu -nodefaults -blockdev driver=raw,node-name=d,file.driver=https,file.url=https://me:pw@host/d.img "
		 "-device virtio-blk-pci,drive=d", "user in a URL"},
		{"qemu -nodefaults -rtc base=2020-01-01", "2020-01-01"},
		{"qemu -readconfig /etc/passwd", "-readconfig"},
		{"qemu -version", "help"},
		{"-m 512", "program"},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(lines); i++) {
		g_autoptr(GError) error = NULL;
		g_auto(GStrv) words = NULL;
		g_assert_true(g_shell_parse_argv(lines[i][0], NULL, &words, NULL));
		struct conf_vm *vm = native_read((const char *const *)words, &error);
		char *xml = vm ? conf_domain_from_vm(vm, &error) : NULL;
		conf_vm_free(vm);
		if (xml || !strstr(error->message, lines[i][1]))
			g_error("%s: %s", lines[i][0], xml ? xml : error->message);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/daemon/native/documents", test_documents);
	g_test_add_func("/daemon/native/lines", test_lines);
	g_test_add_func("/daemon/native/refused", test_refused);
	return g_test_run();
}
