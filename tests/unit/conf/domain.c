/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/domain.h"

#include "base/error.h"

#include <string.h>

/* A domain around what a test is about. */
static struct conf_domain *parse(const char *extra, const char *devices, GError **error)
{
	g_autofree char *xml = g_strdup_printf(
		"<domain type='qemu' id='5'><name>t</name><memory unit='MiB'>64</memory>"
		"<os><type machine='q35'>hvm</type></os>%s<devices>%s</devices></domain>",
		extra, devices);
	return conf_domain_parse(xml, false, error);
}

static void test_defaults(void)
{
	struct conf_domain *conf = parse("", "<interface type='user'/><console/>", NULL);
	g_assert_nonnull(conf);
	g_assert_cmpuint(conf->memory_kib, ==, 65536);
	g_assert_cmpuint(conf->vcpus, ==, 1);
	g_assert_cmpstr(conf->machine, ==, "pc-q35-7.2");
	g_assert_false(conf->kvm);
	const struct conf_domain_char *chr = conf->chars->pdata[0];
	g_assert_cmpuint(conf->chars->len, ==, 1);
	g_assert_cmpstr(chr->dev.alias, ==, "serial0");
	g_autofree char *xml = conf_domain_format(conf, -1), *live = conf_domain_format(conf, 9);
	g_assert_nonnull(strstr(xml, "<domain type='qemu'>\n  <name>t</name>\n  <uuid>"));
	g_assert_nonnull(strstr(xml, "<memory unit='KiB'>65536</memory>"));
	g_assert_nonnull(strstr(xml, "<mac address='52:54:00:"));
	g_assert_nonnull(strstr(live, "<domain type='qemu' id='9'>"));
	/* UUID and MAC address are chosen once. */
	struct conf_domain *again = conf_domain_parse(xml, false, NULL);
	g_autofree char *same = conf_domain_format(again, -1);
	g_assert_cmpstr(xml, ==, same);
	conf_domain_free(again);
	conf_domain_free(conf);
}

static void test_foreign_metadata(void)
{
	static const char metadata[] = "<metadata><l:os xmlns:l='http://l/1.0' id='a&amp;b'><l:x/></l:os>"
				       "</metadata>";
	struct conf_domain *conf = parse(metadata, "", NULL);
	g_autofree char *xml = conf_domain_format(conf, -1);
	g_assert_nonnull(strstr(xml, "<l:os xmlns:l='http://l/1.0' id='a&amp;b'>\n      <l:x/>\n"));
	conf_domain_free(conf);
}

static void test_sysinfo(void)
{
	static const char unused[] = "<sysinfo type='smbios'><bios><entry name='vendor'>a,b</entry></bios>"
				     "<oemStrings><entry>x</entry></oemStrings></sysinfo>";
	struct conf_domain *conf = parse(unused, "", NULL);
	g_assert_cmpuint(conf->smbios->len, ==, 0);
	g_autofree char *xml = conf_domain_format(conf, -1);
	g_auto(GStrv) parts = g_strsplit(xml, "</type>", 2);
	g_autofree char *used = g_strjoin("</type><smbios mode='sysinfo'/>", parts[0], parts[1], NULL);
	conf_domain_free(conf);
	conf = conf_domain_parse(used, false, NULL);
	g_assert_cmpuint(conf->smbios->len, ==, 2);
	g_assert_cmpstr(conf->smbios->pdata[0], ==, "type=0,vendor=a,,b");
	g_assert_cmpstr(conf->smbios->pdata[1], ==, "type=11,value=x");
	conf_domain_free(conf);
}

static void test_shares(void)
{
	struct conf_domain *conf = parse(
		"", "<filesystem type='mount'><source dir='/a'/><target dir='x'/></filesystem>"
		    "<filesystem accessmode='mapped'><source dir='/a'/><target dir='y'/><readonly/>"
		    "</filesystem><panic/>", NULL);
	const struct conf_domain_filesystem *first = conf->filesystems->pdata[0];
	const struct conf_domain_filesystem *second = conf->filesystems->pdata[1];
	g_assert_cmpstr(first->security_model, ==, "passthrough");
	g_assert_cmpstr(second->security_model, ==, "mapped-xattr");
	g_assert_true(!first->readonly && second->readonly && conf->panic);
	g_assert_cmpstr(second->dev.alias, ==, "fs1");
	g_assert_true(second->dev.placed && second->dev.bus);
	conf_domain_free(conf);
}

/* The set of controllers that installers write for USB 2 becomes one that says that there is none. */
#define PLUGGABLE "<features><acpi/></features><maxMemory slots='2' unit='MiB'>512</maxMemory>"
#define MODULE(more) "<memory model='dimm'><target><size unit='MiB'>16</size></target>" more "</memory>"

/* The domain's memory is all that it has; modules get free slots. */
static void test_memory(void)
{
	struct conf_domain *conf = parse(PLUGGABLE, MODULE("") MODULE("<address type='dimm' slot='0'/>"), NULL);
	g_assert_nonnull(conf);
	const struct conf_domain_memory *first = conf->memories->pdata[0];
	g_assert_cmpuint(conf->memory_kib, ==, 65536);
	g_assert_cmpuint(conf->boot_kib, ==, 32768);
	g_assert_cmpuint(conf_domain_ram_kib(conf), ==, 65536);
	g_assert_cmpuint(first->slot, ==, 1);
	g_assert_cmpstr(first->dev.alias, ==, "dimm0");
	conf_domain_free(conf);
	/* With cells, they and the devices say what the domain has. */
	conf = parse(PLUGGABLE "<cpu><numa><cell memory='96' unit='MiB'/></numa></cpu>",
		     "<memory model='dimm'><target><size unit='MiB'>16</size><node>0</node></target></memory>", NULL);
	g_assert_cmpuint(conf->memory_kib, ==, 112 * 1024);
	g_autofree char *xml = conf_domain_format(conf, -1);
	g_assert_nonnull(strstr(xml, "<memory unit='KiB'>114688</memory>"));
	g_assert_nonnull(strstr(xml, "<cell memory='98304' unit='KiB' id='0'/>"));
	conf_domain_free(conf);
}

static void test_memory_refusals(void)
{
	static const struct {
		const char *extra, *devices, *words;
	} cases[] = {
		{"", MODULE(""), "<maxMemory> is not defined"},
		{"<maxMemory slots='1' unit='MiB'>512</maxMemory>", "", "<acpi/>"},
		{PLUGGABLE, MODULE("") MODULE("") MODULE(""), "exceeds slots count 2"},
		{PLUGGABLE, MODULE("<address type='dimm' slot='2'/>"), "slot 2"},
		{PLUGGABLE, MODULE("<address type='pci'/>"), "there is dimm"},
		{PLUGGABLE, MODULE("") MODULE("") "<memory model='virtio-mem'><target><size unit='MiB'>32</size>"
		 "<block unit='MiB'>2</block><requested>0</requested></target></memory>", "have all of it"},
		{PLUGGABLE, "<memory model='virtio-mem'><target><size unit='MiB'>32</size>"
		 "<block unit='MiB'>3</block><requested>0</requested></target></memory>", "power of two"},
		{PLUGGABLE, "<memory model='virtio-mem'><target><size unit='MiB'>32</size>"
		 "<block unit='MiB'>2</block><requested unit='MiB'>34</requested></target></memory>", "more than"},
		{PLUGGABLE, "<memory model='nvdimm'><target/></memory>", "there is dimm, virtio-mem"},
		{PLUGGABLE, "<memory model='dimm'><target><size unit='KiB'>100</size></target></memory>", "1 MiB"},
		{PLUGGABLE "<cpu><numa><cell memory='65536'/></numa></cpu>", MODULE(""), "<node> is missing"},
		{"<cpu><numa><cell memory='65536' cpus='1'/></numa></cpu>", "", "beyond the maximum"},
		{"<cpu><numa><cell id='1' memory='65536'/></numa></cpu>", "", "without gaps"},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		g_assert_null(parse(cases[i].extra, cases[i].devices, &error));
		if (!strstr(error->message, cases[i].words))
			g_error("'%s' is not in '%s'", cases[i].words, error->message);
	}
}

static void test_usb(void)
{
	struct conf_domain *conf = parse(
		"", "<controller type='usb' index='0' model='ich9-ehci1'><address type='pci' slot='29' "
		    "function='7'/></controller><controller type='usb' index='0' model='ich9-uhci1'>"
		    "<master startport='0'/></controller><controller type='sata' index='0'/>", NULL);
	g_autofree char *xml = conf_domain_format(conf, -1);
	const char *usb = strstr(xml, "type='usb'");
	g_assert_nonnull(strstr(xml, "<controller type='usb' index='0' model='none'/>\n"));
	g_assert_null(strstr(usb + 1, "type='usb'"));
	conf_domain_free(conf);
}

static void test_disks(void)
{
	struct conf_domain *conf = parse(
		"", "<disk type='file'><driver name='qemu' type='qcow2' cache='none'/>"
		    "<source file='/x/a.qcow2'/><target dev='vda'/><boot order='2'/></disk>"
		    "<disk type='file' device='cdrom'><target dev='sda' bus='sata'/></disk>", NULL);
	const struct conf_domain_disk *disk = conf->disks->pdata[0], *cd = conf->disks->pdata[1];
	g_assert_true(disk->virtio && !disk->readonly && disk->boot_order == 2);
	g_assert_cmpstr(disk->format, ==, "qcow2");
	g_assert_cmpstr(disk->cache, ==, "none");
	g_assert_true(cd->cdrom && cd->readonly && !cd->file && !cd->virtio);
	conf_domain_free(conf);
}

/* A SATA disk's port is its target's letter, and the first free one if there is no such port. */
static void test_sata(void)
{
	struct conf_domain *conf = parse(
		"", "<disk type='file'><source file='/a'/><target dev='sdc'/></disk>"
		    "<disk type='file'><source file='/b'/><target dev='sdz'/></disk>"
		    "<disk type='file'><source file='/c'/><target dev='sda'/></disk>"
		    "<disk type='file'><source file='/d'/><target dev='sdb'/>"
		    "<address type='drive' unit='3'/></disk>", NULL);
	static const unsigned ports[] = {2, 0, 1, 3};
	for (unsigned i = 0; i < G_N_ELEMENTS(ports); i++)
		g_assert_cmpuint(((struct conf_domain_disk *)conf->disks->pdata[i])->unit, ==, ports[i]);
	conf_domain_free(conf);
}

/* A server's default is that its certificate is checked; a secret may stand on either side of <source>. */
static void test_servers(void)
{
	struct conf_domain *conf = parse(
		"", "<disk type='network' device='cdrom'><source protocol='https' name='a' query='b'>"
		    "<host name='h' port='1'/><ssl/></source><target dev='sda'/></disk>"
		    "<disk type='volume'><source pool='p' volume='v'/><target dev='vda'/>"
		    "<encryption format='luks'><secret type='passphrase' usage='u'/></encryption></disk>", NULL);
	const struct conf_domain_disk *web = conf->disks->pdata[0], *volume = conf->disks->pdata[1];
	const struct conf_source_host *host = web->source.hosts->pdata[0];
	g_assert_false(web->file || web->source.unverified || web->source.auth.given);
	g_assert_true(conf_domain_disk_has_medium(web) && conf_domain_disk_has_medium(volume));
	g_assert_cmpstr(host->port, ==, "1");
	g_assert_cmpstr(volume->source.encryption.usage_id, ==, "u");
	g_assert_cmpstr(volume->source.key, ==, "pool=p\nvolume=v\n");
	conf_domain_free(conf);
}

static void test_refusals(void)
{
	static const struct {
		const char *extra, *devices, *words;
	} cases[] = {
		{"<pm><suspend-to-mem enabled='on'/></pm>", "", "must be 'yes' or 'no'"},
		{"<iothreads>many</iothreads>", "", "'many' must be a number from 0 to 16384"},
		{"<iothreadids><iothread id='0'/></iothreadids>", "", "must be from 1 on, not '0'"},
		{"<iothreadids><iothread id='3'/><iothread id='3'/></iothreadids>", "", "duplicate iothread id '3'"},
		{"<iothreadids><iothread id='3' thread_pool_min='1'/></iothreadids>", "",
		 "does not support the attribute 'thread_pool_min': an image has its own pool"},
		{"<iothreadids><iothread id='3'><poll max='1'/></iothread></iothreadids>", "", "does not poll"},
		{"<defaultiothread/>", "", "leave it out"},
		{"<cputune><iothreadpin iothread='1' cpuset='0'/></cputune>", "",
		 "does not support <iothreadpin> in <cputune>: I/O threads run where the emulator does"},
		{"<cputune><iothreadsched iothreads='1'/></cputune>", "", "does not support <iothreadsched>"},
		{"<iothreads>1</iothreads>", "<disk type='file'><driver iothread='2'/><source file='/a'/>"
		 "<target dev='vda'/></disk>", "Disk iothread '2' not defined in iothreadid"},
		{"<iothreads>1</iothreads>", "<disk type='file'><driver iothread='1'/><source file='/a'/>"
		 "<target dev='sda' bus='sata'/></disk>", "only a virtio disk can have an I/O thread"},
		{"<cputune><cachetune/></cputune>", "", "does not support <cachetune> in <cputune>"},
		{"<cputune><vcpupin vcpu='1' cpuset='0'/></cputune>", "", "from 0 to 0"},
		{"<cputune><vcpupin vcpu='0' cpuset='3-1'/></cputune>", "", "'3-1' is no list of CPUs"},
		{"<cputune><emulatorpin/></cputune>", "", "its cpuset is missing"},
		{"", "<tpm/>", "does not support <tpm> in <devices>: use virt-install --tpm none"},
		{"", "<graphics type='vnc'/>", "virt-install --graphics none"},
		{"", "<filesystem><source dir='a'/></filesystem>", "must be an absolute path"},
		{"", "<filesystem><source dir='/a'/></filesystem>", "a name of 1 to 31 characters"},
		{"", "<filesystem><source dir='/a'/><target dir='x'/></filesystem>"
		     "<filesystem><source dir='/b'/><target dir='x'/></filesystem>", "'x' duplicated"},
		{"", "<filesystem><driver type='virtiofs'/></filesystem>", "there is path (9p)"},
		{"", "<panic/><panic/>", "one is enough"},
		{"<sysinfo type='fwcfg'/>", "", "sysinfo type 'fwcfg'"},
		{"<sysinfo><bios><entry name='colour'/></bios></sysinfo>", "", "no entry 'colour'"},
		{"<sysinfo><system><entry name='uuid'>x</entry></system></sysinfo>", "", "UUID mismatch"},
		{"", "<disk type='dir'/>", "disk type 'dir': there is file, block, volume, network"},
		{"", "<disk type='network'/>", "<source> is missing"},
		{"", "<disk type='network'><source protocol='nbd'/></disk>", "<host> is missing"},
		{"", "<disk type='network'><source protocol='sheepdog'/></disk>", "protocol 'sheepdog': there is"},
		{"", "<disk type='volume'><source pool='p'/></disk>", "<source pool=... volume=...> is missing"},
		{"", "<disk type='file'><source file='/x'><host name='a'/></source></disk>", "type='network'"},
		{"", "<disk type='network'><source protocol='ssh' name='a'><host name='a/b'/></source></disk>",
		 "'a/b' is no name of a host"},
		{"", "<disk type='file'><source file='/x'><encryption format='luks'/></source></disk>",
		 "one <secret type='passphrase'>"},
		{"", "<disk type='file'><target dev='vda'/></disk>", "<source> is missing"},
		{"", "<disk type='file'><driver cache='none,readonly=on'/></disk>", "cache 'none,readonly=on'"},
		{"", "<disk type='file'><driver io='fast'/></disk>", "io 'fast': there is threads"},
		{"", "<disk type='file'><driver discard='x'/></disk>", "discard 'x'"},
		{"", "<disk type='file'><source file='nbd://h/x'/><target dev='sda'/></disk>",
		 "'nbd://h/x' must be an absolute path"},
		{"", "<serial type='file'><source path='log'/></serial>", "'log' must be an absolute path"},
		{"<cpu><model>qemu64,x=on</model></cpu>", "", "'qemu64,x=on' is no <model>"},
		{"<cpu mode='host-passthrough' migratable='x'/>", "", "migratable 'x'"},
		{"", "<disk type='file'><source file='/x'/></disk>", "<target dev=...> is missing"},
		{"", "<disk type='file' device='cdrom'><target dev='vda' bus='virtio'/></disk>", "sata"},
		{"", "<interface type='user'><mac address='01:00:00:00:00:00'/></interface>",
		 "no MAC address"},
		{"", "<interface type='bridge'/>", "<source bridge=...> is missing"},
		{"<vcpu>0</vcpu>", "", "must be a number from 1"},
		{"<vcpu current='3'>2</vcpu>", "", "current='3' must be from 1 to 2"},
		{"<currentMemory>999999999</currentMemory>", "", "more than <memory>"},
		{"<on_poweroff>restart</on_poweroff>", "", "only destroy"},
		{"<cpu mode='toaster'/>", "", "mode 'toaster'"},
		{"<cpu check='sometimes'/>", "", "check 'sometimes'"},
		{"<seclabel type='dynamic' model='dac'/>", "", "type 'dynamic'"},
		{"<seclabel type='static' model='selinux'/>", "", "model 'selinux'"},
		{"<seclabel type='static' model='dac'><label>a</label></seclabel>", "", "must be USER:GROUP"},
		{"<seclabel type='static' model='dac'><label>a:b</label></seclabel><seclabel/>", "", "model ''"},
		{"<seclabel type='none'/><seclabel model='apparmor'/>", "", "there can be one only"},
		{"<seclabel type='static' model='apparmor'/>", "", "must be the name of an AppArmor profile"},
		{"<seclabel type='static' model='apparmor'><label>a b</label></seclabel>", "", "the name of an AppArmor"},
		{"<seclabel type='dynamic' model='apparmor' relabel='no'/>", "", "relabel='no'"},
		{"<seclabel type='dynamic' model='apparmor'><baselabel>a</baselabel></seclabel>", "", "baselabel"},
		{"<cpu match='minimum'><model>qemu64</model></cpu>", "", "match 'minimum'"},
		{"<cpu><topology sockets='2' cores='2' threads='1'/></cpu>", "", "topology doesn't match"},
		{"<clock><timer name='pit' tickpolicy='catchup'/></clock>", "", "tickpolicy 'catchup'"},
		{"<clock><timer name='rtc' present='no'/></clock>", "", "present 'no'"},
		{"", "<audio type='alsa'/>", "only 'none'"},
		{"", "<input type='tablet' bus='usb'/>", "input type 'tablet'"},
		{"", "<controller type='pci' index='1' model='pci-bridge'/>", "model 'pci-bridge'"},
		{"", "<interface type='user'><address type='pci' bus='0x09'/></interface>",
		 "no PCI bus 0x09"},
		{"", "<interface type='user'><address type='pci' bus='0' slot='3'/></interface>"
		     "<interface type='user'><address type='pci' bus='0' slot='3'/></interface>",
		 "double use of PCI Address 0000:00:03.0"},
		{"", "<interface type='user'><address type='pci' slot='0x1f'/></interface>", "double use"},
		{"", "<interface type='user'><address type='pci' slot='32'/></interface>", "out of range"},
		{"", "<interface type='user'><alias name='ua-x'/></interface><interface type='user'>"
		     "<alias name='ua-x'/></interface>", "non unique alias"},
		{"", "<disk type='file'><source file='/a'/><target dev='sda'/><address type='drive' unit='1'/>"
		     "</disk><disk type='file'><source file='/b'/><target dev='sdb'/><address type='drive' "
		     "unit='1'/></disk>", "SATA port 1"},
		{"", "<disk type='file'><source file='/a'/><target dev='vda'/></disk>"
		     "<disk type='file'><source file='/b'/><target dev='vda'/></disk>", "'vda' duplicated"},
		{"<clock offset='variable'/>", "", "offset 'variable'"},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		g_assert_null(parse(cases[i].extra, cases[i].devices, &error));
		if (!strstr(error->message, cases[i].words))
			g_error("'%s' is not in '%s'", cases[i].words, error->message);
	}
}

static void test_terminal(void)
{
	struct conf_domain *conf = parse("", "<serial type='pty'/><console type='pty'/>", NULL);
	conf_domain_set_tty(conf, conf->chars->pdata[0], "/dev/pts/7");
	g_autofree char *xml = conf_domain_format(conf, 1);
	g_assert_nonnull(strstr(xml, "<serial type='pty'>\n      <source path='/dev/pts/7'/>"));
	g_assert_nonnull(strstr(xml, "<console type='pty' tty='/dev/pts/7'>"));
	conf_domain_free(conf);
}

/* firmware='efi' becomes the names of Debian's files. */
static void test_firmware(void)
{
	g_autofree char *xml = g_strdup(
		"<domain type='qemu'><name>t</name><memory>65536</memory><os firmware='efi'><type>hvm</type>"
		"<firmware><feature enabled='no' name='secure-boot'/></firmware></os></domain>");
	struct conf_domain *conf = conf_domain_parse(xml, false, NULL);
	g_assert_true(conf->flash && !conf->loader_writable);
	g_assert_cmpstr(conf->loader, ==, "/usr/share/OVMF/OVMF_CODE_4M.fd");
	g_assert_cmpstr(conf->nvram_template, ==, "/usr/share/OVMF/OVMF_VARS_4M.fd");
	g_assert_null(conf->nvram);
	conf_domain_free(conf);
}

/* Devices get ports of their own, ports that a client wrote are used, and all of it stays. */
static void test_addresses(void)
{
	struct conf_domain *conf = parse(
		"", "<disk type='file'><source file='/a'/><target dev='vdb'/></disk>"
		    "<controller type='usb' model='qemu-xhci' ports='15'/>"
		    "<interface type='user'><address type='pci' domain='0' bus='1' slot='0'/></interface>"
		    "<controller type='pci' index='1' model='pcie-root-port'/>"
		    "<channel type='unix'><target type='virtio' name='agent'/></channel>", NULL);
	const struct conf_domain_disk *disk = conf->disks->pdata[0];
	const struct conf_domain_nic *nic = conf->nics->pdata[0];
	const struct conf_domain_char *chr = conf->chars->pdata[0];
	g_assert_cmpuint(nic->dev.bus, ==, 1);
	g_assert_cmpuint(disk->dev.bus, >, 1);
	g_assert_cmpuint(chr->port, ==, 1);
	g_assert_cmpstr(disk->dev.alias, ==, "virtio-disk1");
	g_assert_true(conf_domain_find_alias(conf, "net0") == &nic->dev);
	g_assert_nonnull(conf_domain_find_alias(conf, "virtio-serial0"));
	g_autofree char *xml = conf_domain_format(conf, -1);
	g_assert_nonnull(strstr(xml, "<controller type='usb' index='0' model='none'/>"));
	g_assert_nonnull(strstr(xml, "<target chassis='1' port='0x10'/>"));
	g_assert_nonnull(strstr(xml, "<memballoon model='virtio'>"));
	g_assert_null(strstr(xml, "alias"));
	struct conf_domain *again = conf_domain_parse(xml, false, NULL);
	g_autofree char *same = conf_domain_format(again, -1);
	g_assert_cmpstr(xml, ==, same);
	struct conf_domain *live = conf_domain_parse(xml, true, NULL);
	g_autofree char *named = conf_domain_format(live, 1);
	g_assert_nonnull(strstr(named, "<alias name='virtio-disk1'/>"));
	conf_domain_free(live);
	conf_domain_free(again);
	conf_domain_free(conf);
}

static void test_port_numbers(void)
{
	static const char devices[] = "<controller type='pci' model='pcie-root-port'/>"
				      "<controller type='pci' index='1' model='pcie-root-port'/>"
				      "<controller type='pci' model='pcie-root-port'/>";
	struct conf_domain *conf = parse("", devices, NULL);
	g_assert_nonnull(conf);
	g_autofree char *xml = conf_domain_format(conf, -1);
	for (unsigned index = 1; index <= 3; index++) {
		g_autofree char *text = g_strdup_printf("index='%u'", index);
		g_assert_nonnull(strstr(xml, text));
	}
	conf_domain_free(conf);
	GError *error = NULL;
	g_assert_null(parse("", "<controller type='pci' index='0' model='pcie-root-port'/>", &error));
	g_assert_error(error, BERTH_ERROR, BERTH_ERR_INVALID);
	g_error_free(error);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/domain/defaults", test_defaults);
	g_test_add_func("/domain/foreign-metadata", test_foreign_metadata);
	g_test_add_func("/domain/disks", test_disks);
	g_test_add_func("/domain/servers", test_servers);
	g_test_add_func("/domain/sata", test_sata);
	g_test_add_func("/domain/sysinfo", test_sysinfo);
	g_test_add_func("/domain/shares", test_shares);
	g_test_add_func("/domain/usb", test_usb);
	g_test_add_func("/domain/refusals", test_refusals);
	g_test_add_func("/domain/memory", test_memory);
	g_test_add_func("/domain/memory/refusals", test_memory_refusals);
	g_test_add_func("/domain/terminal", test_terminal);
	g_test_add_func("/domain/addresses", test_addresses);
	g_test_add_func("/domain/firmware", test_firmware);
	g_test_add_func("/domain/port-numbers", test_port_numbers);
	return g_test_run();
}
