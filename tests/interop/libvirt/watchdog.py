#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A Linux guest lets its watchdog starve: clients hear of it, and what its <watchdog> says happens."""
import os
import sys
import time

import libvirt
from private import LIMIT, Daemon

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../lib"))
import guest  # noqa: E402

COVERS = """DOMAIN_CREATE DOMAIN_GET_STATE CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY"""
XML = """<domain type='qemu'><name>{action}</name><memory unit='MiB'>256</memory>
<os><type arch='x86_64' machine='q35'>hvm</type><kernel>{kernel}</kernel><initrd>{initrd}</initrd>
<cmdline>console=ttyS0 quiet panic=-1 berth.run={run}</cmdline></os><features><acpi/></features>
<on_reboot>destroy</on_reboot><devices><serial type='file'><source path='{log}'/></serial>
<watchdog model='i6300esb' action='{action}'/></devices></domain>"""
STARVE = "modprobe i6300esb heartbeat=4; exec 3>/dev/watchdog0; echo x >&3; sleep 300"
# libvirt's numbers: the event's action; then the lifecycle's event and detail.
EXPECTED = {"pause": (1, (3, 3)), "poweroff": (3, (5, 0)), "reset": (2, (5, 0))}


def define(daemon, action):
    kernel, initrd = guest.kernel("generic")
    path = os.path.join(daemon.top, "watched.xml")
    with open(path, "w") as file:
        file.write(XML.format(action=action, kernel=kernel, initrd=initrd, log=f"{daemon.top}/{action}.log",
                              run=STARVE.replace(" ", ",").replace(">", "&gt;").replace("&gt;&3", "&gt;&amp;3")))
    daemon.virsh("define", path)


def check_refused(daemon):
    path = os.path.join(daemon.top, "bad.xml")
    for attributes, words in (("model='itco'", "watchdog model 'itco': there is i6300esb"),
                              ("model='i6300esb' action='dump'", "action 'dump': there is reset")):
        with open(path, "w") as file:
            file.write(daemon.said("dumpxml", "pause").replace("model='i6300esb' action='pause'", attributes))
        refused = daemon.virsh("define", path, check=False)
        assert refused.returncode and words in refused.stdout, refused.stdout


def check(daemon, conn, action):
    number, ending = EXPECTED[action]
    heard = []
    dom = conn.lookupByName(action)
    ids = [conn.domainEventRegisterAny(dom, libvirt.VIR_DOMAIN_EVENT_ID_WATCHDOG,
                                       lambda c, d, happened, _: heard.append(happened), None),
           conn.domainEventRegisterAny(dom, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE,
                                       lambda c, d, event, detail, _: heard.append((event, detail)), None)]
    daemon.virsh("start", action)
    xml = daemon.said("dumpxml", action)
    assert f"<watchdog model='i6300esb' action='{action}'>" in xml and "<alias name='watchdog0'/>" in xml, xml
    deadline = time.monotonic() + 4 * LIMIT
    while ending not in heard:
        assert time.monotonic() < deadline, f"{action}: {heard}"
        libvirt.virEventRunDefaultImpl()
    assert number in heard and heard.index(number) < heard.index(ending), heard
    if action == "pause":
        assert daemon.said("domstate", action, "--reason") == "paused (watchdog)"
        daemon.virsh("destroy", action)
    for event in ids:
        conn.domainEventDeregisterAny(event)


def main():
    libvirt.virEventRegisterDefaultImpl()
    libvirt.virEventAddTimeout(50, lambda *a: None, None)
    with Daemon() as daemon:
        conn = libvirt.open(daemon.uri())
        for action in EXPECTED:
            define(daemon, action)
        check_refused(daemon)
        for action in EXPECTED:
            check(daemon, conn, action)
        conn.close()
        missing = set(COVERS.split()) - daemon.called()
        assert not missing, f"not called: {missing}"


main()
