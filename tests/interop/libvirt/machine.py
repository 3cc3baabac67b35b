#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A running guest whose memory is dumped and looked at, that gets keys, and sleeps."""
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time

import event_loop
import libvirt
import wire
from private import CLIENT, Daemon

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "lib"))
import guest as testlib  # noqa: E402

COVERS = """
DOMAIN_CORE_DUMP DOMAIN_CORE_DUMP_WITH_FORMAT DOMAIN_GET_JOB_INFO DOMAIN_GET_JOB_STATS
DOMAIN_SEND_KEY DOMAIN_INJECT_NMI DOMAIN_PM_WAKEUP
DOMAIN_MEMORY_PEEK DOMAIN_BLOCK_PEEK DOMAIN_START_DIRTY_RATE_CALC
"""

XML = """<domain type='qemu'>
  <name>live</name>
  <memory unit='MiB'>256</memory><vcpu>2</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type>
    <kernel>{kernel}</kernel><initrd>{initrd}</initrd>
    <cmdline>console=ttyS0 quiet panic=-1 no_console_suspend berth.modules=virtio_pci,virtio_blk,button</cmdline></os>
  <features><acpi/><apic/></features>
  <on_crash>destroy</on_crash>
  <devices><disk type='file'><driver name='qemu' type='raw'/><source file='{disk}'/>
    <target dev='vda' bus='virtio'/></disk>
    <memballoon model='none'/><serial type='pty'/><console type='pty'/></devices>
</domain>"""


def console(daemon, name):
    """virsh's console, on a terminal of its own."""
    return testlib.Guest(["script", "-qfec", f"virsh -c '{daemon.uri()}' console {name} --force",
                          "/dev/null"])


class Events:
    """What a python3-libvirt client hears of the domain's life."""

    def __init__(self, daemon):
        self.seen = []
        self.conn = libvirt.open(daemon.uri())
        self.conn.domainEventRegisterAny(
            None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE,
            lambda c, dom, event, detail, _: self.seen.append((event, detail)), None)
        for number, name in ((libvirt.VIR_DOMAIN_EVENT_ID_PMSUSPEND, "pmsuspend"),
                             (libvirt.VIR_DOMAIN_EVENT_ID_PMWAKEUP, "pmwakeup")):
            self.conn.domainEventRegisterAny(
                None, number, lambda c, dom, reason, name: self.seen.append(name), name)

    def take(self, daemon, *wanted):
        """Exactly those come, in this order."""
        daemon.wait(lambda: len(self.seen) >= len(wanted), f"events {wanted}; there are {self.seen}")
        assert self.seen[:len(wanted)] == list(wanted), self.seen
        del self.seen[:len(wanted)]


PAUSED = (libvirt.VIR_DOMAIN_EVENT_SUSPENDED, libvirt.VIR_DOMAIN_EVENT_SUSPENDED_PAUSED)
RESUMED = (libvirt.VIR_DOMAIN_EVENT_RESUMED, libvirt.VIR_DOMAIN_EVENT_RESUMED_UNPAUSED)


def check_job(dom, path):
    """Another client sees the job, which takes as long as the reader of a pipe wants."""
    os.mkfifo(path)
    # The daemon does not wait for a reader.
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    worker = threading.Thread(target=dom.coreDump, args=(path, libvirt.VIR_DUMP_MEMORY_ONLY))
    worker.start()
    with open(reader, "rb") as pipe:
        select.select([pipe], [], [], 60)
        os.set_blocking(reader, True)
        head = pipe.read(1 << 20)
        stats = dom.jobStats()
        info = dom.jobInfo()
        assert stats["type"] == libvirt.VIR_DOMAIN_JOB_UNBOUNDED, stats
        assert stats["operation"] == libvirt.VIR_DOMAIN_JOB_OPERATION_DUMP, stats
        assert info[0] == libvirt.VIR_DOMAIN_JOB_UNBOUNDED and info[6] >= info[7], info
        try:
            dom.abortJob()
            raise AssertionError("a dump was aborted")
        except libvirt.libvirtError as error:
            assert "cannot abort memory-only dump" in str(error), error
        assert dom.state() == [libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_DUMP], dom.state()
        length = len(head)
        while piece := pipe.read(1 << 20):
            length += len(piece)
    worker.join()
    assert head[:4] == b"\x7fELF" and length > 250 << 20, length
    assert dom.jobInfo()[0] == libvirt.VIR_DOMAIN_JOB_NONE
    os.unlink(path)


def check_dump(daemon, guest, events):
    dom = events.conn.lookupByName("live")
    path = os.path.join(daemon.top, "core")
    guest.run("word=rare; echo $word-marker-$word >/tmp/marker", 60)
    check_job(dom, os.path.join(daemon.top, "pipe"))
    events.take(daemon, PAUSED, RESUMED)
    # The guest goes on, and stands still again while it is dumped by the VMM alone.
    guest.run("true", 60)
    assert "dumped to" in daemon.said("dump", "live", path, "--memory-only", "--live", "--verbose")
    events.take(daemon, PAUSED, RESUMED)
    with open(path, "rb") as file:
        assert b"rare-marker-rare" in file.read()
    text = subprocess.run(["readelf", "-hn", path], check=True, stdout=subprocess.PIPE, text=True).stdout
    assert "CORE (Core file)" in text and text.count("NT_PRSTATUS") == 2, text
    daemon.virsh("dump", "live", path, "--memory-only", "--format", "kdump-zlib")
    with open(path, "rb") as file:
        subprocess.run(["makedumpfile", "-R", path + ".plain"], check=True, stdin=file,
                       stdout=subprocess.DEVNULL)
    events.take(daemon, PAUSED, RESUMED)
    daemon.virsh("suspend", "live")
    daemon.virsh("dump", "live", path, "--memory-only", "--bypass-cache")
    assert daemon.said("domstate", "live", "--reason") == "paused (user)"
    daemon.virsh("resume", "live")
    events.take(daemon, PAUSED, RESUMED)
    guest.run("true", 60)
    for words, more in (("whole machine's state", ()),
                        ("unsupported dumpformat 'kdump-lzo'", ("--memory-only", "--format", "kdump-lzo")),
                        ("mutually exclusive", ("--memory-only", "--crash", "--live"))):
        said = daemon.virsh("dump", "live", path, *more, check=False)
        assert said.returncode != 0 and words in said.stdout, said
    said = daemon.virsh("dump", "live", "/dev/full", "--memory-only", check=False)
    assert said.returncode != 0 and "could not write '/dev/full'" in said.stdout, said.stdout
    assert os.path.exists("/dev/full")
    events.take(daemon, PAUSED, RESUMED)


def check_keys(daemon, guest, dom):
    """What is typed comes to the guest's text console, in whatever codes it is given."""
    guest.send("exec 3</dev/tty1; echo wait''s; head -n 1 <&3\n")
    guest.expect("waits", 60)
    typed = ((libvirt.VIR_KEYCODE_SET_LINUX, 48, "b"), (libvirt.VIR_KEYCODE_SET_USB, 0x08, "e"),
             (libvirt.VIR_KEYCODE_SET_WIN32, 0x52, "r"), (libvirt.VIR_KEYCODE_SET_OSX, 17, "t"),
             (libvirt.VIR_KEYCODE_SET_ATSET2, 0x33, "h"), (libvirt.VIR_KEYCODE_SET_XT_KBD, 0x135, "/"),
             (libvirt.VIR_KEYCODE_SET_ATSET3, 0x16, "1"), (libvirt.VIR_KEYCODE_SET_QNUM, 0x03, "2"))
    for codeset, code, _ in typed:
        dom.sendKey(codeset, 1, [code], 1, 0)
    daemon.virsh("send-key", "live", "--holdtime", "20", "KEY_LEFTSHIFT", "KEY_X")
    daemon.virsh("send-key", "live", "--codeset", "atset1", "0xe01c")
    guest.expect("".join(letter for _, _, letter in typed) + "X", 60)
    guest.expect("guest# ", 60)
    for words, arguments in (("cannot translate keycode 999 of usb codeset", ("--codeset", "usb", "999")),
                             ("at most", ("--holdtime", "70000", "KEY_A"))):
        said = daemon.virsh("send-key", "live", *arguments, check=False)
        assert said.returncode != 0 and words in said.stdout, said.stdout
    said = daemon.virsh("screenshot", "live", os.path.join(daemon.top, "shot"), check=False)
    assert "no screens to take screenshot from" in said.stdout, said.stdout
    daemon.virsh("inject-nmi", "live")
    guest.run("n=0; until dmesg | grep -q NMI || [ $n = 30 ]; do n=$((n + 1)); sleep 1; done; "
              "dmesg | grep -q 'NMI received'", 60)


def check_sleep(daemon, guest, events):
    """The guest sends itself to sleep; a daemon that comes meanwhile knows it; a key or virsh wakes it."""
    old = wire.old_listener(daemon.socket, libvirt.VIR_DOMAIN_EVENT_ID_PMSUSPEND,
                            libvirt.VIR_DOMAIN_EVENT_ID_PMWAKEUP)
    guest.send("echo mem >/sys/power/state; echo back''again\n")
    events.take(daemon, (libvirt.VIR_DOMAIN_EVENT_PMSUSPENDED, libvirt.VIR_DOMAIN_EVENT_PMSUSPENDED_MEMORY),
                "pmsuspend")
    assert daemon.said("domstate", "live") == "pmsuspended"
    for command in ("suspend", "resume"):
        said = daemon.virsh(command, "live", check=False).stdout
        assert "domain is pmsuspended" in said, said
    daemon.virsh("dompmwakeup", "live")
    guest.expect("backagain", 60)
    woken = (libvirt.VIR_DOMAIN_EVENT_STARTED, libvirt.VIR_DOMAIN_EVENT_STARTED_WAKEUP), "pmwakeup"
    events.take(daemon, *woken)
    assert daemon.said("domstate", "live", "--reason") == "running (event wakeup)"
    dom, numbers = events.conn.lookupByName("live"), wire.procedures()
    for name in ("DOMAIN_EVENT_PMSUSPEND", "DOMAIN_EVENT_PMWAKEUP"):
        words, body = wire.receive(old)
        assert (words[3], body) == (numbers[name], wire.domain("live", dom.UUID(), dom.ID())), (name, words, body)
    old.close()
    said = daemon.virsh("dompmwakeup", "live", check=False).stdout
    assert "guest is not in suspended state" in said, said
    guest.send("echo mem >/sys/power/state; echo back''again\n")
    daemon.wait(lambda: daemon.said("domstate", "live") == "pmsuspended", "it sleeps again")
    daemon.virsh("send-key", "live", "KEY_A")
    guest.expect("backagain", 60)
    events.take(daemon, (libvirt.VIR_DOMAIN_EVENT_PMSUSPENDED, libvirt.VIR_DOMAIN_EVENT_PMSUSPENDED_MEMORY),
                "pmsuspend", *woken)


def fails(words, call, *arguments):
    try:
        call(*arguments)
    except libvirt.libvirtError as error:
        assert words in str(error), error
        return
    raise AssertionError(f"it did not fail with {words}")


def check_peeks(dom):
    """The ACPI tables' anchor is where a guest without firmware looks for it."""
    assert dom.memoryPeek(0xf0000, 8, libvirt.VIR_MEMORY_PHYSICAL) == b"RSD PTR "
    assert len(dom.memoryPeek(0x100000, 1 << 20, libvirt.VIR_MEMORY_PHYSICAL)) == 1 << 20
    fails("nothing is mapped there", dom.memoryPeek, 0, 8, libvirt.VIR_MEMORY_VIRTUAL)
    fails("there is no memory at", dom.memoryPeek, 1 << 45, 8, libvirt.VIR_MEMORY_PHYSICAL)
    assert dom.blockPeek("vda", 5, 4, 0) == b"here"
    fails("it ends after 96", dom.blockPeek, "vda", 4000, 4096, 0)
    fails("invalid disk or path 'vdb'", dom.blockPeek, "vdb", 0, 1, 0)


def measured(daemon, mode):
    """MiB a second, from a measurement of one second that is done by the time that this returns."""
    daemon.virsh("domdirtyrate-calc", "live", "--seconds", "1", "--mode", mode)
    stats = {}

    def done():
        stats.update(re.findall(r"dirtyrate\.(\w+)=(.*)", daemon.said("domstats", "live", "--dirtyrate", noted=False)))
        return stats["calc_status"] == "2"
    daemon.wait(done, f"a figure by {mode}")
    assert stats["calc_mode"] == mode and stats["calc_period"] == "1", stats
    assert abs(int(stats["calc_start_time"]) - time.time()) < 600, stats
    return int(stats["megabytes_per_second"])


def check_dirty_rate(daemon, guest):
    """At rest the guest writes little. Then it writes to the same tens of MiB again and again; how much of them it
    gets through in a second depends on the host's load. The samples are one in 512 pages, by chance. (One process,
    that the shell waits for: it is init, and does not stand orphans that end.)"""
    assert measured(daemon, "dirty-bitmap") < 8
    assert measured(daemon, "page-sampling") < 16
    guest.run("awk 'BEGIN { while (1) for (i = 0; i < 400000; i++) a[i] = n++ }' & pid=$!; "
              "until [ $(sed -n 's/VmRSS:[^0-9]*\\([0-9]*\\).*/\\1/p' /proc/$pid/status) -gt 20000 ]; do usleep 100000; done",
              120)
    exact, sampled = measured(daemon, "dirty-bitmap"), measured(daemon, "page-sampling")
    assert 4 <= exact <= 128 and 2 <= sampled <= 200, (exact, sampled)
    print(f"# written: {exact} MiB/s by the log, {sampled} MiB/s by samples")
    guest.run("kill $pid; wait $pid; true", 60)
    for words, arguments in (("seconds=61 is invalid", ("--seconds", "61")),
                             ("dirty-ring calculation mode requires dirty-ring feature", ("--mode", "dirty-ring"))):
        said = daemon.virsh("domdirtyrate-calc", "live", *arguments, check=False)
        assert said.returncode != 0 and words in said.stdout, said.stdout


def check_killed(daemon, guest, path):
    """A daemon stops the guest for a dump and is killed: with the next one the guest goes on."""
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    client = subprocess.Popen([CLIENT, "-c", daemon.uri(), "dump", "live", path, "--memory-only"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    select.select([reader], [], [], 60)
    daemon.stop(signal.SIGKILL)
    client.wait(60)
    daemon.start()
    daemon.wait(lambda: daemon.said("domstate", "live") == "paused", "the next daemon finds it paused")
    os.close(reader)
    daemon.wait(lambda: daemon.said("domstate", "live") == "running", "it goes on")


def check_crash(daemon, events):
    path = os.path.join(daemon.top, "crash")
    daemon.virsh("dump", "live", path, "--memory-only", "--crash")
    assert daemon.said("domstate", "live", "--reason") == "shut off (crashed)"
    assert os.path.getsize(path) > 250 << 20
    events.take(daemon, PAUSED, (libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_CRASHED))


def main():
    kernel, initrd = testlib.kernel("generic")
    with Daemon() as daemon:
        path, disk = os.path.join(daemon.top, "live.xml"), os.path.join(daemon.top, "disk.raw")
        with open(disk, "wb") as file:
            file.write(b"look here".ljust(4096))
        with open(path, "w") as file:
            file.write(XML.format(kernel=kernel, initrd=initrd, disk=disk))
        daemon.virsh("define", path)
        daemon.virsh("start", "live")
        event_loop.begin()
        events = Events(daemon)
        with console(daemon, "live") as guest:
            guest.expect("guest# ", 300)
            guest.send("stty -echo\n")
            guest.run("true", 60)
            check_dump(daemon, guest, events)
            check_sleep(daemon, guest, events)
            check_dirty_rate(daemon, guest)
            check_peeks(events.conn.lookupByName("live"))
            check_keys(daemon, guest, events.conn.lookupByName("live"))
        events.conn.close()
        check_killed(daemon, guest, os.path.join(daemon.top, "unread"))
        events = Events(daemon)
        check_crash(daemon, events)
        missing = set(COVERS.split()) - daemon.called()
        assert not missing, f"not called: {missing}"


main()
