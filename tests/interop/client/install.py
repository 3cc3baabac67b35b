#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""berth install makes of virt-install's options the domain that Debian's virt-install makes of them.

Both print the XML for the same berthd. Order, UUIDs and hardware addresses do not count; what is meant
to differ is in MEANT and APART, with its reason. Words as arguments choose the lines that have them.
"""
import concurrent.futures
import os
import subprocess
import sys
import xml.etree.ElementTree as tree

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "libvirt"))
from private import BUILD, Daemon  # noqa: E402

BERTH = os.path.join(BUILD, "bin", "berth")
LIMIT = 120
# What a line does not say for itself.
USUAL = {"--name": "vm", "--memory": "1024", "--vcpus": "1", "--osinfo": "linux2020", "--graphics": "none",
         "--network": "user", "--disk": "none"}
METHODS = ("--import", "--cdrom", "--pxe", "--location", "--boot")
MEANT = [
    ("metadata", "the system's id comes from libosinfo's database, which berth does not need"),
    ("devices/emulator", "berthd puts in its own"),
    ("uuid", "chance"),
    ("devices/interface/mac", "chance, unless it is given"),
]
LINES = """
--import
--import --disk {disk}
--import --disk path={disk},bus=sata,cache=none
--import --disk {disk},driver.cache=none,driver.io=native,driver.discard=unmap,serial=x1
--import --disk {disk},cache=writeback,discard=unmap,shareable=on
--import --disk {disk},boot.order=1 --network user,boot.order=2
--import --disk {disk},readonly=on --disk {raw},format=raw,bus=virtio
--import --disk {disk},iotune.read_bytes_sec=1000000,iotune.write_iops_sec=100
--import --disk {disk},device=cdrom
--import --disk {disk},startup_policy=optional,wwn=0123456789abcdef
--cdrom {iso}
--cdrom {iso} --disk {disk}
--pxe
--boot hd
--boot cdrom,hd,menu=on --import
--boot network,hd --import
--boot uefi --import
--boot uefi,bootmenu.enable=yes,bootmenu.timeout=3000 --import
--boot loader=/x.fd,loader.readonly=yes,loader.type=pflash,nvram=/y.fd --import
--boot loader=/x.fd,loader_ro=yes,loader_type=pflash,nvram_template=/t.fd --import
--boot kernel=/k,initrd=/i,kernel_args=console=ttyS0 --import
--boot firmware=efi,firmware.feature0.name=secure-boot,firmware.feature0.enabled=no --import
--boot hd,useserial=on,bios.rebootTimeout=100 --import
--boot smbios_mode=host --import
--machine q35 --import
--virt-type qemu --hvm --import
--vcpus 4 --import
--vcpus 2,maxvcpus=4 --import
--vcpus 2,cpuset=0-1 --import
--vcpus sockets=2,cores=2,threads=1 --import
--vcpus 8,sockets=2,cores=4 --import
--memory 2048,currentMemory=1024 --import
--memory 2048,maxMemory=4096,maxMemory.slots=4 --import
--memory 1024,hugepages=on --import
--cpu host-passthrough --import
--cpu host-model --import
--cpu maximum --import
--cpu EPYC,-sse4a,+x2apic,disable=svm,check=partial --import
--cpu EPYC,match=exact,model.fallback=forbid --import
--cpu host-passthrough,migratable=on,cache.mode=passthrough --import
--cpu numa.cell0.id=0,numa.cell0.cpus=0,numa.cell0.memory=524288,numa.cell1.cpus=1 --vcpus 2 --import
--numatune 0 --import
--numatune 0-1,mode=strict --import
--numatune memory.mode=preferred,memory.nodeset=1,memory.placement=static --import
--memtune hard_limit=4000000,soft_limit=3000000 --import
--blkiotune weight=200 --import
--cputune vcpupin0.vcpu=0,vcpupin0.cpuset=0-1,emulatorpin.cpuset=0,shares=5 --import
--memorybacking hugepages=on,nosharepages=yes,locked=on --import
--memorybacking source.type=memfd,access.mode=shared --import
--iothreads 2 --import
--iothreads iothreads=2,iothreadids.iothread0.id=1,iothreadids.iothread1.id=2 --import
--network none --import
--network user,model=e1000e,mac=52:54:00:11:22:33 --import
--network network=lan,model=virtio --import
--network bridge=br0,filterref.filter=clean-traffic,virtualport.type=openvswitch --import
--network type=direct,source=eth0,source.mode=bridge --import
--network user,link.state=down,mtu.size=1400,driver.queues=2,target.dev=tap7 --import
--network user --network network=lan,portgroup=blue --import
--controller usb,model=nec-xhci --import
--controller scsi,model=virtio-scsi --import
--controller type=scsi,model=virtio-scsi,driver.queues=2,index=0 --import
--controller virtio-serial,vectors=4 --import
--serial pty --import
--serial file,path=/tmp/a.log --import
--serial unix,path=/tmp/a,mode=bind --import
--serial tcp,host=127.0.0.1:4555,mode=bind,protocol.type=telnet --import
--serial pty,log.file=/tmp/a.log,log.append=on,target.type=isa-serial --import
--parallel file,path=/tmp/a --import
--console pty --import
--console pty,target.type=virtio --import
--channel unix,target.type=virtio,target.name=org.example.0 --import
--channel unix,path=/tmp/a,mode=bind,target.type=virtio,name=org.example.0 --import
--channel none --import
--rng /dev/random --import
--rng none --import
--rng /dev/urandom,rate.bytes=1024,rate.period=2000 --import
--tpm emulator --import
--tpm emulator,model=tpm-crb,version=2.0 --import
--tpm backend.type=emulator,backend.version=2.0,model=tpm-tis --import
--tpm default --import
--watchdog default --import
--watchdog i6300esb,action=poweroff --import
--sound ich9 --import
--sound model=ich6,codec0.type=micro --import
--sound none --import
--input tablet,bus=usb --import
--input keyboard,bus=virtio --import
--video virtio --import
--video model.type=vga,model.vgamem=16384 --import
--memballoon virtio,autodeflate=on,stats.period=5 --import
--memballoon none --import
--memballoon model=virtio,freePageReporting=on --import
--vsock cid.auto=yes --import
--vsock cid.address=7,cid.auto=no --import
--panic default --import
--panic isa --import
--filesystem /srv,share --import
--filesystem source.dir=/srv,target.dir=share,accessmode=passthrough,readonly=on --import
--filesystem /srv,share,driver.type=virtiofs,accessmode=passthrough --import
--memdev dimm,target.size=64,target.node=0 --memory 1024,maxMemory=2048,maxMemory.slots=2 --import
--memdev model=virtio-mem,target.size=64,target.block=2,target.requested=32,target.node=0 --import
--shmem name=s0,role=peer,model.type=ivshmem-plain,size=4,size.unit=M --import
--iommu model=intel,driver.aw_bits=48,driver.intremap=on --import
--features acpi=off --import
--features apic.eoi=on,pae=on,kvm.hidden.state=on,smm.state=on,vmport.state=off --import
--features pmu.state=off,ioapic.driver=kvm,vmcoreinfo.state=on --import
--clock offset=localtime --import
--clock offset=utc,rtc_tickpolicy=catchup,hpet_present=yes --import
--clock timer0.name=rtc,timer0.tickpolicy=catchup,timer1.name=pit,timer1.present=no --import
--pm suspend_to_mem.enabled=on,suspend_to_disk.enabled=off --import
--events on_crash=restart,on_poweroff=preserve,on_reboot=destroy --import
--sysinfo host --import
--sysinfo bios.vendor=Acme,system.manufacturer=Acme,system.product=X1,chassis.asset=7,baseBoard.serial=9 --import
--sysinfo oemStrings.entry0=one,oemStrings.entry1=two --import
--metadata title=Words,description=More --import
--description Words --metadata title=T --import
--security type=dynamic,model=dac,relabel=yes --import
--seclabel type=static,model=dac,label=+0:+0 --seclabel type=none,model=apparmor --import
--resource /machine/x --import
--graphics none --import --autoconsole none
--graphics vnc --import --video vga
--graphics vnc,port=5901,listen=0.0.0.0,password=secret --import --video virtio
--video none --graphics vnc --import
--xml ./on_crash=restart --import
--xml ./os/bootmenu/@enable=yes --xml xpath.delete=./pm --import
--xml xpath.delete=./clock|./clock/timer|./cpu/@mode --import
--name other --uuid 4dea22b3-1d52-d8f3-2516-782e98ab3fa0 --import
--osinfo win10 --import --disk {disk} --network default --features hyperv.relaxed.state=on
""".strip().splitlines()
# Lines whose difference is meant: paths that do not count in either.
APART = {
    "--cpu maximum": (["cpu"], "virt-install 4.1 takes it for the name of a model"),
    "--cpu EPYC": (["cpu/feature[@policy='require']"],
                   "virt-install adds the host's mitigations to a model by itself; +NAME does that here"),
    "--osinfo win10": (["features/hyperv", "clock/timer"],
                       "berthd has no Hyper-V enlightenments: Windows runs without"),
    "--video none": (["devices/video"], "virt-install adds a card even then"),
}
REFUSED = {
    "--idmap uid.start=0": "containers", "--unattended": "--extra-args",
    "--launchSecurity type=sev": "encrypted memory", "--qemu-commandline=-foo": "--xml",
    "--hostdev pci_0000_00_01_0": "attach-device", "--paravirt": "--hvm", "--arch i686": "x86-64",
    "--rng /dev/random,colour=red": "--rng has no 'colour'", "--boot menue=on": "did you mean menu",
    "--tpm emulator,verison=2.0": "did you mean version", "--network user,modle=e1000": "did you mean model",
    "--xml xpath.delete=[": "'[' is no XPath", "--xml xpath.delete=//*": "names more than",
    "--memory 12q": "--memory", "--features acpi=maybe": "neither yes nor no", "--sing": "Unknown option",
}


def words(line, files):
    given = line.format(**files).split()
    for option, value in USUAL.items():
        if option not in given:
            given += [option, value]
    return given + ([] if any(method in given for method in METHODS) else ["--import"])


def first_domain(text):
    assert "<domain" in text, text
    return tree.fromstring(text[text.index("<domain"):text.index("</domain>") + len("</domain>")])


def run(daemon, program, arguments):
    command = [*program, "--connect", daemon.uri(), "--print-xml", "--dry-run", *arguments]
    return subprocess.run(command, text=True, timeout=LIMIT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, env=dict(os.environ, LC_ALL="C", HOME=daemon.top,
                                                                  XDG_CACHE_HOME=daemon.top)).stdout


def normal(domain, given, apart):
    """Nested tuples that are equal if the domains mean the same."""
    for path in [path for path, _ in MEANT] + apart:
        mac_given = path.endswith("mac") and any("mac=" in word for word in given)
        if (path == "uuid" and "--uuid" in given) or mac_given:
            continue
        parent, _, name = path.rpartition("/")
        for node in domain.findall(parent or "."):
            for child in node.findall(name):
                node.remove(child)

    def shape(node):
        return (node.tag, (node.text or "").strip(), tuple(sorted(node.attrib.items())),
                tuple(sorted(map(shape, node))))
    return shape(domain)


def lines_of(shape, depth=0):
    tag, text, attributes, children = shape
    yield "  " * depth + " ".join([tag, text, *(f"{name}={value}" for name, value in attributes)])
    for child in children:
        yield from lines_of(child, depth + 1)


def compare(daemon, line, files):
    given = words(line, files)
    apart = next((paths for start, (paths, _) in APART.items() if line.startswith(start)), [])
    shapes = [normal(first_domain(run(daemon, program, given)), given, apart)
              for program in (["virt-install", "--check", "all=off"], [BERTH, "install"])]
    if shapes[0] == shapes[1]:
        return True
    theirs, ours = (set(lines_of(shape)) for shape in shapes)
    print(f"{line}\n  virt-install: {sorted(theirs - ours)}\n  berth: {sorted(ours - theirs)}")
    return False


def check_refused(daemon, files):
    for line, wanted in REFUSED.items():
        said = run(daemon, [BERTH, "install"], words(line, files))
        assert wanted in said and "<domain" not in said, f"{line}: {said}"


CLONED = """<domain type='qemu'><name>src</name><memory unit='MiB'>32</memory>
<os><type machine='q35'>hvm</type></os><devices>{disks}<interface type='user'/><serial type='pty'/></devices></domain>"""
DISK = """<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{path}'/>
<target dev='{target}' bus='virtio'/>{more}</disk>"""


def check_clone(daemon):
    """berth clone prints what virt-clone prints: names of the copies, what is shared, what is new."""
    folder = os.path.join(daemon.top, "media")
    disks = ""
    for number, (name, more) in enumerate((("src.raw", ""), ("src-data.img", ""), ("other", ""),
                                           ("fixed.raw", "<readonly/>"), ("both.raw", "<shareable/>"))):
        with open(os.path.join(folder, name), "wb") as file:
            file.truncate(1 << 20)
        disks += DISK.format(path=os.path.join(folder, name), target="vd" + "abcde"[number], more=more)
    daemon.virsh("define", "/dev/stdin", data=CLONED.format(disks=disks))
    for names in ([], ["--name", "new"]):
        arguments = ["--original", "src", "--auto-clone", *names]
        shapes = []
        for program in (["virt-clone"], [BERTH, "clone"]):
            said = subprocess.run([*program, "--connect", daemon.uri(), "--print-xml", *arguments], text=True,
                                  timeout=LIMIT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True,
                                  env=dict(os.environ, LC_ALL="C", HOME=daemon.top)).stdout
            shapes.append(normal(first_domain(said), arguments, []))
        assert shapes[0] == shapes[1], "\n".join("\n".join(lines_of(shape)) for shape in shapes)


def main():
    with Daemon(quiet=True) as daemon:
        files = {name: os.path.join(daemon.top, f"media/{name}.{end}")
                 for name, end in (("disk", "qcow2"), ("raw", "raw"), ("iso", "iso"))}
        os.mkdir(os.path.join(daemon.top, "media"))
        daemon.run("qemu-img", "create", "-q", "-f", "qcow2", files["disk"], "10M")
        for name in ("raw", "iso"):
            with open(files[name], "wb") as file:
                file.truncate(1 << 20)
        daemon.virsh("net-define", "/dev/stdin", data="<network><name>lan</name></network>")
        chosen = [line for line in LINES if all(word in line for word in sys.argv[1:])]
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            same = pool.map(lambda line: compare(daemon, line, files), chosen)
            wrong = [line for line, equal in zip(chosen, same, strict=True) if not equal]
        assert not wrong, f"{len(wrong)} of {len(chosen)} differ"
        check_refused(daemon, files)
        check_clone(daemon)
        print(f"{len(chosen)} lines make the same domain, {len(REFUSED)} are refused with a reason")


main()
