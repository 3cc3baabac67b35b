#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A Debian kernel that stock virsh starts, talks to and changes while it runs."""
import glob
import os
import re
import signal
import sys
import time

import event_loop
import libvirt
from private import Daemon

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "lib"))
import guest as testlib  # noqa: E402

COVERS = """
DOMAIN_ATTACH_DEVICE_FLAGS DOMAIN_DETACH_DEVICE_FLAGS DOMAIN_UPDATE_DEVICE_FLAGS
DOMAIN_DETACH_DEVICE_ALIAS DOMAIN_ATTACH_DEVICE DOMAIN_DETACH_DEVICE DOMAIN_REBOOT
DOMAIN_GET_VCPUS DOMAIN_SET_VCPUS_FLAGS DOMAIN_SET_VCPUS DOMAIN_PIN_VCPU DOMAIN_PIN_VCPU_FLAGS DOMAIN_GET_VCPU_PIN_INFO DOMAIN_PIN_EMULATOR
DOMAIN_GET_EMULATOR_PIN_INFO DOMAIN_GET_CPU_STATS DOMAIN_BLOCK_STATS DOMAIN_BLOCK_STATS_FLAGS
DOMAIN_GET_BLOCK_INFO DOMAIN_MEMORY_STATS DOMAIN_SET_MEMORY_FLAGS
DOMAIN_SET_MEMORY DOMAIN_SET_MEMORY_STATS_PERIOD DOMAIN_BLOCK_RESIZE DOMAIN_GET_JOB_INFO
DOMAIN_GET_JOB_STATS DOMAIN_INTERFACE_ADDRESSES DOMAIN_SET_BLOCK_THRESHOLD
DOMAIN_SET_LIFECYCLE_ACTION
"""

XML = """<domain type='qemu'>
  <name>live</name>
  <maxMemory slots='4' unit='GiB'>2</maxMemory>
  <memory unit='MiB'>256</memory><currentMemory unit='MiB'>240</currentMemory><vcpu current='2'>4</vcpu>
  <iothreads>2</iothreads><iothreadids><iothread id='4'/></iothreadids>
  <sysinfo type='smbios'>
    <system><entry name='serial'>ds=nocloud;s=a,b</entry></system>
    <oemStrings><entry>first</entry><entry>second</entry></oemStrings>
  </sysinfo>
  <os><type arch='x86_64' machine='q35'>hvm</type><smbios mode='sysinfo'/>
    <kernel>{kernel}</kernel><initrd>{initrd}</initrd>
    <cmdline>console=ttyS0 quiet panic=-1 berth.modules=virtio_pci,virtio_blk,virtio_net,virtio_balloon,virtio_mem,virtio_console,ahci,sd_mod,sr_mod,button,af_packet</cmdline></os>
  <cpu><numa><cell cpus='0,2-3' memory='128' unit='MiB'/><cell id='1' cpus='1' memory='131072'/></numa></cpu>
  <features><acpi/><apic/></features>
  <devices>
    <disk type='file' device='cdrom'><target dev='sda' bus='sata'/></disk>
    <interface type='user'><model type='virtio'/></interface>
    <interface type='user'><mac address='52:54:00:00:00:99'/><model type='virtio'/><link state='down'/></interface>
    <filesystem type='mount' accessmode='squash'>
      <source dir='{share}'/><target dir='share'/><readonly/>
    </filesystem>
    <filesystem type='mount' accessmode='mapped'><source dir='{share}'/><target dir='own'/></filesystem>
    <panic/>
    <memballoon model='virtio'><stats period='1'/></memballoon>
    <serial type='pty'/><console type='pty'/>
  </devices>
</domain>"""


MODULE = """<memory model='dimm'><target><size unit='MiB'>128</size><node>1</node></target></memory>"""
GROWS = """<memory model='virtio-mem'><target><size unit='MiB'>256</size><node>0</node>
<block unit='MiB'>2</block><requested unit='MiB'>128</requested></target></memory>"""
NIC = ("<interface type='user'><mac address='52:54:00:11:22:33'/><model type='virtio'/>"
       "<alias name='ua-second'/></interface>")


def console(daemon, name):
    """virsh's console, on a terminal of its own."""
    return testlib.Guest(["script", "-qfec", f"virsh -c '{daemon.uri()}' console {name} --force",
                          "/dev/null"])


def write(daemon, name, text):
    path = os.path.join(daemon.top, name)
    with open(path, "w") as file:
        file.write(text)
    return path


def appears(guest, path):
    """Linux makes a disk's node a moment before the disk can be opened."""
    there = f"head -c 1 {path} >/dev/null 2>&1" if path.startswith("/dev/") else f"[ -e {path} ]"
    guest.run(f"n=0; until {there} || [ $n = 300 ]; do n=$((n + 1)); usleep 100000; done; {there}", 120)


class Events:
    """All that a python3-libvirt client hears."""

    def __init__(self, daemon):
        event_loop.begin()
        self.seen = []
        self.conn = libvirt.open(daemon.uri())
        for number, name in ((libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_ADDED, "added"),
                             (libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, "removed"),
                             (libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED, "kept"),
                             (libvirt.VIR_DOMAIN_EVENT_ID_DISK_CHANGE, "medium"),
                             (libvirt.VIR_DOMAIN_EVENT_ID_MEMORY_DEVICE_SIZE_CHANGE, "resized"),
                             (libvirt.VIR_DOMAIN_EVENT_ID_BLOCK_THRESHOLD, "grown")):
            self.conn.domainEventRegisterAny(
                None, number, lambda c, dom, *rest: self.seen.append((rest[-1], *rest[:-1])), name)

def check_settings(daemon, guest):
    """What no argument of the VMM's says: a link that is down, the balloon and its statistics."""
    name = guest.run("grep -l 52:54:00:00:00:99 /sys/class/net/*/address", 60).split("/")[-2]
    guest.run(f"ip link set {name} up; sleep 1; [ $(cat /sys/class/net/{name}/carrier) = 0 ]", 60)
    daemon.wait(lambda: "actual 245760" in daemon.said("dommemstat", "live"), "the balloon is blown up")
    daemon.wait(lambda: re.search("unused [1-9]", daemon.said("dommemstat", "live")),
                "the guest tells of its memory")


def check_shares(daemon, guest, share):
    """Folders by 9p, one of them read-only, the words of the firmware, and the port for panics."""
    guest.run("modprobe 9pnet_virtio && modprobe 9p && mkdir /r /w && "
              "for f in 'share /r' 'own /w'; do mount -t 9p -o trans=virtio,version=9p2000.L $f; done", 60)
    assert "from the host" in guest.run("cat /r/note", 60)
    guest.run("! touch /r/x 2>/dev/null && echo from the guest >/w/answer && sync", 60)
    with open(os.path.join(share, "answer")) as file:
        assert file.read() == "from the guest\n"
    assert "ds=nocloud;s=a,b" in guest.run("cat /sys/class/dmi/id/product_serial", 60)
    guest.run("grep -q second /sys/firmware/dmi/tables/DMI && grep -q first /sys/firmware/dmi/tables/DMI", 60)
    assert "QEMU0001" in guest.run("cat /sys/bus/acpi/devices/QEMU0001:00/hid", 60)
    refused = daemon.virsh("attach-device", "live", write(
        daemon, "fs.xml", f"<filesystem type='mount'><source dir='{share}'/><target dir='new'/>"
                          "</filesystem>"), "--live", check=False).stdout
    assert "live attach of device 'filesystem' is not supported" in refused, refused


def check_disk(daemon, guest, events):
    image = os.path.join(daemon.top, "hot.raw")
    with open(image, "wb") as file:
        file.write(b"hot" + bytes((1 << 20) - 3))
    daemon.virsh("attach-disk", "live", image, "vdc", "--live", "--config")
    appears(guest, "/dev/vda")
    assert "hot" in guest.run("head -c 3 /dev/vda", 60)
    assert "vdc" in daemon.said("domblklist", "live")
    assert "vdc" in daemon.said("domblklist", "live", "--inactive")
    again = daemon.virsh("attach-disk", "live", image, "vdc", "--live", check=False).stdout
    assert "target vdc already exists" in again, again
    daemon.virsh("detach-disk", "live", "vdc", "--live")
    guest.run("[ ! -e /dev/vda ]", 60)
    assert "vdc" not in daemon.said("domblklist", "live")
    daemon.virsh("detach-disk", "live", "vdc", "--config")
    assert "vdc" not in daemon.said("domblklist", "live", "--inactive")
    missing = daemon.virsh("attach-disk", "live", "/nowhere.raw", "vdd", "--live", check=False).stdout
    assert "blockdev-add" in missing and "/nowhere.raw" in missing, missing
    assert "vdd" not in daemon.said("domblklist", "live")
    daemon.wait(lambda: ("removed", "virtio-disk2") in events.seen, f"events: {events.seen}")
    assert ("added", "virtio-disk2") in events.seen


def check_interface(daemon, guest, events):
    events.conn.lookupByName("live").attachDevice(NIC)
    appears(guest, "/sys/class/net/eth2")
    assert "52:54:00:11:22:33" in guest.run("cat /sys/class/net/eth2/address", 60)
    guest.run("ip link set eth2 up; sleep 1; [ $(cat /sys/class/net/eth2/carrier) = 1 ]", 60)
    daemon.virsh("domif-setlink", "live", "52:54:00:11:22:33", "down")
    guest.run("sleep 1; [ $(cat /sys/class/net/eth2/carrier) = 0 ]", 60)
    events.conn.lookupByName("live").detachDevice(NIC)
    guest.run("[ ! -e /sys/class/net/eth2 ]", 60)
    daemon.virsh("attach-device", "live", write(daemon, "nic.xml", NIC))
    appears(guest, "/sys/class/net/eth2")
    daemon.virsh("detach-device-alias", "live", "ua-second")
    guest.run("[ ! -e /sys/class/net/eth2 ]", 60)
    assert "52:54:00:11:22:33" not in daemon.said("domiflist", "live")


def check_medium(daemon, guest, events):
    image = os.path.join(daemon.top, "cd.iso")
    with open(image, "wb") as file:
        file.write(b"compact disc" + bytes((1 << 20) - 12))
    daemon.virsh("change-media", "live", "sda", image, "--insert")
    assert "compact disc" in guest.run("n=0; until head -c 12 /dev/sr0 2>/dev/null || [ $n = 60 ]; do "
                                       "n=$((n + 1)); sleep 1; done", 120)
    assert image in daemon.said("domblklist", "live")
    daemon.virsh("change-media", "live", "sda", "--eject", "--force")
    assert image not in daemon.said("domblklist", "live")
    daemon.wait(lambda: ("medium", image, None, "sata0-0-0", 0) in events.seen,
                f"events: {events.seen}")


def check_iothreads(daemon, dom):
    """One that is counted and one with a number: as libvirt numbers, shows and counts them."""
    assert [thread[0] for thread in dom.ioThreadInfo()] == [4, 1], dom.ioThreadInfo()
    assert re.search(r"^ 4 +0-?", daemon.said("iothreadinfo", "live"), re.M), daemon.said("iothreadinfo", "live")
    assert len(dom.ioThreadInfo(libvirt.VIR_DOMAIN_AFFECT_CONFIG)) == 2
    stats = daemon.said("domstats", "live", "--iothread")
    assert "iothread.count=2" in stats and "iothread.4.poll-max-ns=0" in stats, stats
    assert re.search("<driver [^>]*iothread='4'", daemon.said("dumpxml", "live"))
    with open(os.path.join(daemon.top, "none.xml"), "w") as file:
        file.write("<disk type='file'><driver iothread='9'/><source file='/nowhere'/><target dev='vdc'/></disk>")
    refused = daemon.virsh("attach-device", "live", file.name, check=False)
    assert refused.returncode != 0 and "Disk iothread '9' not defined in iothreadid" in refused.stdout, refused.stdout


def check_numbers(daemon, guest, events):
    """What the guest did is counted; a disk that grows is seen to."""
    image = os.path.join(daemon.top, "grow.qcow2")
    daemon.run("qemu-img", "create", "-q", "-f", "qcow2", image, "8M")
    daemon.virsh("attach-disk", "live", image, "vdb", "--subdriver", "qcow2", "--iothread", "4", "--live")
    appears(guest, "/dev/vda")
    check_iothreads(daemon, events.conn.lookupByName("live"))
    daemon.virsh("domblkthreshold", "live", "vdb", "1M")
    guest.run("dd if=/dev/zero of=/dev/vda bs=1M count=4 oflag=direct", 60)
    daemon.wait(lambda: [e for e in events.seen if e[:4] == ("grown", "vdb", image, 1 << 20) and e[4] > 0],
                f"events: {events.seen}")
    dom = events.conn.lookupByName("live")
    assert dom.blockStats("vdb")[3] == 4 << 20, dom.blockStats("vdb")
    assert "wr_bytes 4194304" in daemon.said("domblkstat", "live", "vdb")
    assert "block.1.wr.bytes=4194304" in daemon.said("domstats", "live", "--block")
    assert "Capacity:       8388608" in daemon.said("domblkinfo", "live", "vdb")
    daemon.virsh("blockresize", "live", "vdb", "16M")
    guest.run("n=0; until [ $(cat /sys/block/vda/size) = 32768 ] || [ $n = 60 ]; do n=$((n + 1)); sleep 1; "
              "done; [ $(cat /sys/block/vda/size) = 32768 ]", 120)
    assert "Capacity:       16777216" in daemon.said("domblkinfo", "live", "vdb")
    daemon.virsh("detach-disk", "live", "vdb")
    unknown = daemon.virsh("domifstat", "live", "vnet77", check=False).stdout
    assert "'vnet77' is not a known interface" in unknown, unknown
    daemon.virsh("domifaddr", "live", "--source", "arp")
    daemon.virsh("domjobinfo", "live")
    assert dom.jobInfo()[0] == libvirt.VIR_DOMAIN_JOB_NONE
    assert "no job is active" in daemon.virsh("domjobabort", "live", check=False).stdout
    assert '"status":"running"' in daemon.said("qemu-monitor-command", "live",
                                               '{"execute": "query-status"}').replace(" ", "")
    assert "VM status: running" in daemon.said("qemu-monitor-command", "live", "--hmp", "info status")
    assert "CommandNotFound" in daemon.said("qemu-monitor-command", "live", '{"execute": "fly"}') or \
        "has not been found" in daemon.said("qemu-monitor-command", "live", '{"execute": "fly"}')


def check_ends(daemon):
    """What on_reboot and on_crash lead to can be changed while it runs."""
    daemon.virsh("set-lifecycle-action", "live", "reboot", "destroy", "--live", "--config")
    for source in ((), ("--inactive",)):
        assert "<on_reboot>destroy</on_reboot>" in daemon.said("dumpxml", "live", *source)
    daemon.virsh("set-lifecycle-action", "live", "reboot", "restart", "--live", "--config")
    refused = daemon.virsh("set-lifecycle-action", "live", "crash", "coredump-destroy", check=False)
    assert refused.returncode != 0, refused.stdout


def check_cpus(daemon, conn):
    info = daemon.said("vcpuinfo", "live")
    assert info.count("State:          running") == 2, info
    assert "cpu_time" in daemon.said("cpu-stats", "live", "--total")
    daemon.virsh("vcpupin", "live", "1", "0", "--live", "--config")
    daemon.virsh("emulatorpin", "live", "0", "--live")
    assert re.search(r"1 +0$", daemon.said("vcpupin", "live"), re.M), daemon.said("vcpupin", "live")
    assert daemon.said("vcpuinfo", "live").count("CPU Affinity:   y-") == 1
    assert re.search(r"\*: +0", daemon.said("emulatorpin", "live"))
    assert "<vcpupin vcpu='1' cpuset='0'/>" in daemon.said("dumpxml", "live", "--inactive")
    conn.lookupByName("live").pinVcpu(1, (True, True))


def online(guest, count):
    guest.run("n=0; until [ $(ls -d /sys/devices/system/cpu/cpu[0-9]* | wc -l) = %d ] || "
              "[ $n = 300 ]; do n=$((n + 1)); usleep 100000; done; "
              "for f in /sys/devices/system/cpu/cpu[1-9]/online; do "
              "[ $(cat $f) = 1 ] || echo 1 >$f; done; [ $(nproc) = %d ]" % (count, count), 120)


def check_count(daemon, guest, events_conn):
    more = daemon.virsh("setvcpus", "live", "5", "--live", check=False).stdout
    assert "max allowable vcpus for the live domain: 5 > 4" in more, more
    daemon.virsh("setvcpus", "live", "4", "--live")
    online(guest, 4)
    assert daemon.said("vcpuinfo", "live").count("State:          running") == 4
    assert daemon.said("vcpucount", "live", "--live", "--current") == "4"
    assert daemon.said("vcpucount", "live", "--config", "--current") == "2"
    assert "<vcpu placement='static' current='2'>4</vcpu>" in daemon.said("dumpxml", "live", "--inactive")
    daemon.virsh("setvcpus", "live", "3", "--live", "--config")
    online(guest, 3)
    assert "<vcpu placement='static' current='3'>4</vcpu>" in daemon.said("dumpxml", "live")
    events_conn.lookupByName("live").setVcpus(2)
    online(guest, 2)
    daemon.virsh("setvcpu", "live", "2", "--enable", "--live")
    online(guest, 3)
    daemon.virsh("setvcpu", "live", "2", "--disable", "--live")
    online(guest, 2)
    first = daemon.virsh("setvcpus", "live", "1", check=False).stdout
    assert "failed to find appropriate hotpluggable vcpus" in first, first


def check_memory(daemon, guest, conn):
    daemon.virsh("setmem", "live", "200M", "--live")
    daemon.wait(lambda: "actual 204800" in daemon.said("dommemstat", "live"), "the balloon is blown up")
    assert "Used memory:    204800 KiB" in daemon.said("dominfo", "live")
    higher = daemon.virsh("setmem", "live", "2G", check=False).stdout
    assert "cannot set memory higher than max memory" in higher
    conn.lookupByName("live").setMemory(256 << 10)
    daemon.wait(lambda: "actual 262144" in daemon.said("dommemstat", "live"), "the balloon is empty")
    daemon.virsh("dommemstat", "live", "--period", "1", "--live")
    daemon.wait(lambda: re.search("unused [1-9]", daemon.said("dommemstat", "live")),
                "the guest tells of its memory")


def wait_total(guest, low, high):
    """Wait until the guest's memory is between two figures in MiB, with all blocks in use."""
    guest.run("n=0; while :; do "
              "for f in /sys/devices/system/memory/memory*/state; do "
              "[ $(cat $f) = online ] || echo online_movable >$f; done 2>/dev/null; "
              "m=$(($(sed -n 's/MemTotal: *\\([0-9]*\\).*/\\1/p' /proc/meminfo) / 1024)); "
              "[ $m -ge %d ] && [ $m -le %d ] && break; "
              "n=$((n + 1)); [ $n = 300 ] && exit 1; usleep 100000; done" % (low, high), 180)


def check_memory_devices(daemon, guest, events):
    """A module and a virtio-mem come to the guest's two nodes, change and go."""
    module, grows = write(daemon, "dimm.xml", MODULE), write(daemon, "grows.xml", GROWS)
    guest.run("[ $(ls -d /sys/devices/system/node/node* | wc -l) = 2 ]", 60)
    daemon.virsh("attach-device", "live", module, "--live", "--config")
    wait_total(guest, 260, 384)
    xml = daemon.said("dumpxml", "live")
    assert "<memory unit='KiB'>393216</memory>" in xml and "<address type='dimm' slot='0'/>" in xml, xml
    assert "<alias name='dimm0'/>" in xml and "<currentMemory unit='KiB'>393216<" in xml, xml
    daemon.wait(lambda: "Used memory:    393216 KiB" in daemon.said("dominfo", "live"), "the module counts")
    assert "<memory model='dimm'>" in daemon.said("dumpxml", "live", "--inactive")

    daemon.virsh("attach-device", "live", grows, "--live")
    wait_total(guest, 384, 512)
    daemon.wait(lambda: "<current unit='KiB'>131072</current>" in daemon.said("dumpxml", "live"),
                "the guest has what it was offered")
    daemon.virsh("update-memory-device", "live", "--alias", "virtiomem0", "--requested-size", "64M")
    daemon.wait(lambda: "<current unit='KiB'>65536</current>" in daemon.said("dumpxml", "live"),
                "the guest gives some back")
    daemon.wait(lambda: ("resized", "virtiomem0", 65536) in events.seen, "a client hears of the size")
    kept = daemon.virsh("detach-device-alias", "live", "virtiomem0", check=False).stdout
    assert "still plugged" in kept, kept
    large = daemon.virsh("attach-device", "live", write(
        daemon, "large.xml", MODULE.replace(">128<", ">2048<")), "--live", check=False).stdout
    assert "maxMemory" in large, large

    daemon.virsh("update-memory-device", "live", "--alias", "virtiomem0", "--requested-size", "0")
    daemon.wait(lambda: "<current unit='KiB'>0</current>" in daemon.said("dumpxml", "live"),
                "the guest gives all of it back")
    daemon.virsh("detach-device-alias", "live", "virtiomem0", "--live")
    enabled = "/sys/firmware/acpi/hotplug/memory/enabled"
    guest.run(f"echo 0 >{enabled}", 60)
    kept = daemon.virsh("detach-device", "live", module, "--live", check=False).stdout
    assert "device 'dimm0': unplug was rejected by the guest" in kept, kept
    daemon.wait(lambda: ("kept", "dimm0") in events.seen, f"a client hears of it: {events.seen}")
    guest.run(f"echo 1 >{enabled}", 60)
    daemon.virsh("detach-device", "live", module, "--live", "--config")
    daemon.wait(lambda: "<memory model" not in daemon.said("dumpxml", "live"), "both have left")
    wait_total(guest, 128, 256)
    assert "<memory unit='KiB'>262144</memory>" in daemon.said("dumpxml", "live")
    assert "<memory model" not in daemon.said("dumpxml", "live", "--inactive")


def begin_reboot(daemon, guest):
    pressed = "/sys/firmware/acpi/interrupts/ff_pwr_btn"
    guest.run(f"(while grep -q ' 0 ' {pressed}; do sleep 1; done; sleep 2; poweroff -f) & true", 60)
    daemon.virsh("reboot", "live")


def check_reboot(daemon, guest):
    """The guest is asked by its button, and the machine starts anew without ending."""
    number = daemon.said("domid", "live")
    pressed = "/sys/firmware/acpi/interrupts/ff_pwr_btn"
    guest.run(f"(while grep -q ' 0 ' {pressed}; do sleep 1; done; poweroff -f) & true", 60)
    daemon.virsh("reboot", "live")
    guest.expect("berth-guest: up", 300)
    guest.expect("guest# ", 120)
    assert daemon.said("domid", "live") == number
    guest.send("stty -echo\n")
    guest.run("true", 60)


def check_console_again(daemon):
    """The console of a VM that a former daemon started: what is typed arrives, and the answer comes back."""
    with console(daemon, "live") as guest:
        guest.expect("Escape character is .*\n", 60)
        guest.wake(60)
        guest.send("echo $((6 * 7))\n")
        guest.expect("42", 60)
        check_shutdown(daemon, guest)


def check_shutdown(daemon, guest):
    """A reboot that the guest ignored does not start it again when it is shut down later."""
    daemon.virsh("reboot", "live")
    guest.run("true", 60)
    pressed = "/sys/firmware/acpi/interrupts/ff_pwr_btn"
    guest.run(f"n=$(cat {pressed}); (while [ \"$n\" = \"$(cat {pressed})\" ]; do sleep 1; done; poweroff -f) & true",
              60)
    daemon.virsh("shutdown", "live")
    daemon.wait(lambda: daemon.said("domstate", "live", "--reason") == "shut off (shutdown)", "it is off")


def main():
    kernel, initrd = testlib.kernel("generic")
    with Daemon() as daemon:
        events = Events(daemon)
        share = os.path.join(daemon.top, "share")
        os.mkdir(share)
        write(daemon, "share/note", "from the host")
        daemon.virsh("define", write(daemon, "live.xml",
                                     XML.format(kernel=kernel, initrd=initrd, share=share)))
        daemon.virsh("start", "live")
        with console(daemon, "live") as guest:
            guest.expect("guest# ", 300)
            guest.send("stty -echo\n")
            guest.run("true", 60)
            check_settings(daemon, guest)
            check_shares(daemon, guest, share)
            check_disk(daemon, guest, events)
            check_interface(daemon, guest, events)
            check_medium(daemon, guest, events)
            check_numbers(daemon, guest, events)
            check_ends(daemon)
            check_cpus(daemon, events.conn)
            check_count(daemon, guest, events.conn)
            check_memory(daemon, guest, events.conn)
            check_memory_devices(daemon, guest, events)
            check_reboot(daemon, guest)
            begin_reboot(daemon, guest)
        # What a daemon had begun that was killed, the next one ends.
        daemon.stop(signal.SIGKILL)
        daemon.start()
        with console(daemon, "live") as guest:
            guest.expect("Escape character is .*\n", 60)
            guest.expect("berth-guest: up", 300)
            guest.expect("guest# ", 120)
            guest.send("stty -echo\n")
            guest.run("true", 60)
        # A daemon that was killed finds the vCPU that came.
        daemon.virsh("setvcpus", "live", "3", "--live")
        daemon.stop(signal.SIGKILL)
        daemon.start()
        assert daemon.said("vcpucount", "live", "--live", "--current") == "3"
        assert daemon.said("vcpuinfo", "live").count("State:          running") == 3
        # Or what the guest made of its memory while there was none.
        daemon.virsh("attach-device", "live", os.path.join(daemon.top, "grows.xml"), "--live")
        daemon.stop(signal.SIGKILL)
        qmp = testlib.Qmp(glob.glob(f"{daemon.top}/state/run/**/qmp.sock", recursive=True)[0], 60)
        while qmp.call("query-memory-devices")[0]["data"]["size"] != 128 << 20:
            time.sleep(0.1)
        qmp.close()
        daemon.start()
        daemon.wait(lambda: "<current unit='KiB'>131072</current>" in daemon.said("dumpxml", "live"),
                    "the daemon hears of it")
        check_console_again(daemon)
        missing = set(COVERS.split()) - daemon.called()
        assert not missing, f"not called: {missing}"


main()
