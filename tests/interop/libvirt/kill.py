#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""kill -9 of berthd at random moments of define, start, redefine, destroy, undefine: kill.py COUNT [SEED]

What a call has answered holds after the next start; what it had not yet answered has happened wholly
or not at all. No VM is killed with the daemon, and none runs that the daemon does not know.
"""
import glob
import os
import random
import signal
import sys
import threading
import time

import libvirt
from private import Daemon

XML = """<domain type='qemu'><name>{name}</name><uuid>{uuid}</uuid><memory unit='MiB'>16</memory>
<description>{text}</description>
<os><type arch='x86_64' machine='q35'>hvm</type></os></domain>"""
UUID = "4dea22b3-1d52-d8f3-2516-782e98ab{:04x}"


def define(conn, number, text):
    conn.defineXML(XML.format(name=f"vm{number}", uuid=UUID.format(number), text=text))


def lookup(conn, number):
    return conn.lookupByUUIDString(UUID.format(number))


# What a step does, and what is defined and running after it.
STEPS = [
    (lambda conn, n: define(conn, n, "first" * 2000), ("first" * 2000, False)),
    (lambda conn, n: lookup(conn, n).createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED),
     ("first" * 2000, True)),
    (lambda conn, n: define(conn, n, "second"), ("second", True)),
    (lambda conn, n: lookup(conn, n).destroy(), ("second", False)),
    (lambda conn, n: lookup(conn, n).undefine(), (None, False)),
]


class Sequence:
    def __init__(self, uri, number):
        self.conn, self.number = libvirt.open(uri), number
        self.allowed = [(None, False)]

    def run(self):
        before = self.allowed[0]
        for step, after in STEPS:
            self.allowed = [before, after]
            step(self.conn, self.number)
            self.allowed = [after]
            before = after


def run_killed(daemon, number, delay):
    """Returns the states that vm`number` may be in."""
    sequence = Sequence(daemon.uri(), number)
    killer = threading.Timer(delay, daemon.stop, (signal.SIGKILL,))
    killer.start()
    try:
        sequence.run()
    except libvirt.libvirtError as error:
        gone = ("closed", "EOF", "End of file", "reset", "Broken pipe")
        if daemon.process.poll() is None and not any(word in str(error) for word in gone):
            raise
    killer.join()
    return sequence.allowed


def seen(conn, number):
    try:
        dom = lookup(conn, number)
    except libvirt.libvirtError as error:
        assert error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN, error
        return None, False
    assert dom.isPersistent()
    xml = dom.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    return xml.split("<description>")[1].split("</description>")[0], bool(dom.isActive())


def processes(daemon):
    """The VMMs of this test that are alive."""
    found = set()
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path, "rb") as file:
                words = file.read().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"berth-vmm") and any(daemon.top.encode() in word for word in words):
            found.add(int(path.split("/")[2]))
    return found


def known(daemon, conn):
    pids = set()
    for dom in conn.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE):
        with open(f"{daemon.top}/state/run/{dom.UUIDString()}/pid") as file:
            pids.add(int(file.read()))
    return pids


def check(daemon, number, allowed, stay):
    conn = libvirt.open(daemon.uri())
    daemon.wait(lambda: seen(conn, number) in allowed,
                f"vm{number} is {seen(conn, number)}, not one of {allowed}")
    daemon.wait(lambda: processes(daemon) == known(daemon, conn),
                f"VMMs: {processes(daemon)}, known: {known(daemon, conn)}")
    assert stay <= processes(daemon), "a VM was killed with the daemon"
    for other in (0, 1):
        assert seen(conn, other) == ("stays", other == 0)
    text, running = seen(conn, number)
    if running:
        lookup(conn, number).destroy()
    if text is not None:
        lookup(conn, number).undefine()
    left = glob.glob(f"{daemon.top}/state/*/*.new")
    assert not left, left
    assert os.listdir(f"{daemon.top}/state/run") == [UUID.format(0)]
    conn.close()


def main():
    count, seed = int(sys.argv[1]), int((sys.argv[2:] or [time.time_ns() % 100000])[0])
    print(f"seed {seed}")
    chance = random.Random(seed)
    libvirt.registerErrorHandler(lambda *args: None, None)
    with Daemon(quiet=True) as daemon:
        conn = libvirt.open(daemon.uri())
        for number in (0, 1):
            define(conn, number, "stays")
        lookup(conn, 0).createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
        stay = known(daemon, conn)
        started = time.monotonic()
        Sequence(daemon.uri(), 2).run()
        usual = time.monotonic() - started
        conn.close()
        cut = 0
        for number in range(3, 3 + count):
            allowed = run_killed(daemon, number, chance.uniform(0, usual))
            cut += len(allowed) > 1
            daemon.start()
            check(daemon, number, allowed, stay)
        print(f"{count} sequences of {usual * 1000:.0f} ms, {cut} cut off within a call")


main()
