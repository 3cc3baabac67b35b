#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a Linux guest says: several clients watch it, and its logs are rotated without losing a byte."""
import glob
import os
import re
import signal
import subprocess
import sys

import libvirt
from private import CLIENTS, LIMIT, Daemon

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../lib"))
import guest as testlib  # noqa: E402

COVERS = """DOMAIN_OPEN_CONSOLE"""
SIZE, LINES = 65536, 4000
WATCH = 1 << 16
XML = """<domain type='qemu'><name>talks</name><memory unit='MiB'>256</memory>
<os><type arch='x86_64' machine='q35'>hvm</type><kernel>{kernel}</kernel><initrd>{initrd}</initrd>
<cmdline>console=ttyS0 quiet panic=-1 berth.modules=virtio_pci,virtio_console berth.run=while,true;do,setsid,cttyhack,sh;done</cmdline></os>
<features><acpi/></features><on_crash>destroy</on_crash>
<devices><serial type='pty'/><console type='pty'/>
<console type='pty'><log file='{top}/second.log' append='on'/><target type='virtio'/></console></devices></domain>"""


def write(daemon, name, text):
    path = os.path.join(daemon.top, name)
    with open(path, "w") as file:
        file.write(text)
    return path


def configure(daemon):
    daemon.arguments = ("--config", write(
        daemon, "berthd.conf", f"vm_log_size = {SIZE}\nvm_log_backups = 40\n"))


def parts(path):
    """The files of a log, the oldest first."""
    older = sorted(glob.glob(glob.escape(path) + ".[0-9]*"), key=lambda p: int(p.rsplit(".", 1)[1]), reverse=True)
    return older + [path]


def whole(path):
    """All of a log at one moment: once more if it is rotated meanwhile."""
    while True:
        before, text = [(part, os.stat(part).st_ino) for part in parts(path) if os.path.exists(part)], b""
        try:
            for part, _ in before:
                with open(part, "rb") as file:
                    text += file.read()
            if before == [(part, os.stat(part).st_ino) for part in parts(path)]:
                return text
        except FileNotFoundError:
            pass


def numbers(text):
    return [int(n) for n in re.findall(rb"^line (\d+) [x]{40}\r?$", text, re.M)]


def console_log(daemon):
    return glob.glob(f"{daemon.top}/state/log/*.serial0.log")[0]


def has_all(path, last):
    """All lines up to the last one, each once and in order."""
    found = numbers(whole(path))
    if not found or found[-1] < last:
        return False
    assert found == list(range(1, last + 1)), f"{path}: lines are missing, or twice: {found[:3]}...{found[-3:]}"
    return True


def say(guest, first, last, where):
    """Numbered lines; the words that make them do not look like them when they are echoed."""
    guest.send(f"i={first}; x=$(printf '%40s' | tr ' ' x); "
               f"(while [ $i -le {last} ]; do echo line $i $x; i=$((i+1)); done) > {where}\n")


def check_shape(path):
    """Rotated from the size on; what is written until the daemon sees it may be more."""
    older = parts(path)[:-1]
    assert older, "it was never rotated"
    for part in older:
        assert SIZE <= os.path.getsize(part), (part, os.path.getsize(part))


def watcher(daemon, path, *options):
    """berth, which writes what it sees to a file."""
    with open(path, "wb") as file:
        return subprocess.Popen([CLIENTS["berth"], "-c", daemon.uri(), "console", "talks", "--watch", *options],
                                stdin=subprocess.DEVNULL, stdout=file)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def check_watchers(daemon, guest, conn):
    """Three watch beside the one who types, one of whom does not read for long: all see the same."""
    seen = [f"{daemon.top}/seen{i}" for i in range(3)]
    watchers = [watcher(daemon, path) for path in seen]
    for path in seen:
        daemon.wait(lambda p=path: b"guest# " in read(p), "the last screen, with the prompt, is shown at once")
    watchers[2].send_signal(signal.SIGSTOP)
    say(guest, 1, LINES, "/dev/ttyS0")
    guest.expect(f"line {LINES} x", 120)
    daemon.wait(lambda: has_all(console_log(daemon), LINES), "all lines are in the log")
    for path in seen[:2]:
        daemon.wait(lambda p=path: has_all(p, LINES), "who reads sees them")
    watchers[2].send_signal(signal.SIGCONT)
    daemon.wait(lambda: has_all(seen[2], LINES), "who sleeps sees them later")
    late = f"{daemon.top}/late"
    watchers.append(watcher(daemon, late))
    daemon.wait(lambda: numbers(read(late)), "who comes late sees the last ones")
    first = numbers(read(late))[0]
    assert LINES - 4096 // 40 <= first < LINES, "a screen, not the whole log"
    for child in watchers:
        child.terminate()
        child.wait(LIMIT)
    stream = conn.newStream(libvirt.VIR_STREAM_NONBLOCK)
    conn.lookupByName("talks").openConsole(None, stream, WATCH)
    stream.send(b"reboot\n")
    try:
        daemon.wait(lambda: stream.send(b"reboot\n") < 0, "who types where he may only watch is thrown out")
    except libvirt.libvirtError as error:
        assert "who watches a console cannot type" in str(error), error
    try:
        conn.lookupByName("talks").openConsole(None, conn.newStream(0), WATCH | 1)
        raise AssertionError("watching by force is refused")
    except libvirt.libvirtError as error:
        assert "unsupported flags (0x1)" in str(error), error


def check_options(daemon):
    """Who asks for a console that another one has is told so, as by virsh; --watch goes beside it."""
    for options, words in ((["--safe", "--watch"], "mutually exclusive"),
                           (["--watch", "--devname", "serial7"], "cannot find console device 'serial7'")):
        output = daemon.virsh("console", "talks", *options, check=False, client=CLIENTS["berth"]).stdout
        assert words in output, output
    output = daemon.virsh("console", "talks", "--watch", check=False, readonly=True, client=CLIENTS["berth"]).stdout
    assert "read only access prevents virDomainOpenConsole" in output, output


def check_killed_daemon(daemon, guest):
    """The guest goes on while there is no daemon, and the next one rotates what has grown."""
    path = console_log(daemon)
    say(guest, LINES + 1, 2 * LINES, "/dev/ttyS0")
    guest.expect(f"line {LINES + 200} x", 120)
    daemon.stop(signal.SIGKILL)
    daemon.wait(lambda: has_all(path, 2 * LINES), "the guest went on without a daemon")
    daemon.start()
    daemon.wait(lambda: os.path.getsize(path) < SIZE, "the next daemon rotates")


def check_second(daemon, guest):
    """A <log> of the document, on a virtio console: kept from before, and rotated."""
    path = f"{daemon.top}/second.log"
    say(guest, 1, LINES, "/dev/hvc0")
    daemon.wait(lambda: has_all(path, LINES), "all lines are in the document's log")
    assert whole(path).startswith(b"from before\n")
    check_shape(path)
    seen = f"{daemon.top}/other"
    child = watcher(daemon, seen, "--devname", "console0")
    daemon.wait(lambda: numbers(read(seen))[-1:] == [LINES], "it can be watched by its name")
    return child


def main():
    kernel, initrd = testlib.kernel("generic")
    with Daemon(prepare=configure) as daemon:
        write(daemon, "second.log", "from before\n")
        daemon.virsh("define", write(daemon, "talks.xml",
                                     XML.format(kernel=kernel, initrd=initrd, top=daemon.top)))
        xml = daemon.said("dumpxml", "talks")
        assert f"<log file='{daemon.top}/second.log' append='on'/>" in xml, xml
        daemon.virsh("start", "talks")
        conn = libvirt.open(daemon.uri())
        script = ["script", "-qfec", f"virsh -c '{daemon.uri()}' console talks --force", "/dev/null"]
        with testlib.Guest(script) as guest:
            guest.expect("guest# ", 300)
            check_watchers(daemon, guest, conn)
            check_options(daemon)
            conn.close()
            check_killed_daemon(daemon, guest)
        with testlib.Guest(script) as guest:
            guest.expect("Escape character is .*\n", 60)
            guest.wake(60)
            check_shape(console_log(daemon))
            child = check_second(daemon, guest)
        # The watcher's stream ends with the machine, and berth says that all is well.
        daemon.virsh("destroy", "talks")
        assert child.wait(LIMIT) == 0
        missing = set(COVERS.split()) - daemon.called()
        assert not missing, f"not called: {missing}"


main()
