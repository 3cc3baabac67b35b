#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Every listing is JSON with --output json, and has the objects that virsh's table has.

A command whose name ends in -list, and each other that prints a table, must be in LINES.
"""
import json
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "libvirt"))
from private import BUILD, Daemon  # noqa: E402

BERTH = os.path.join(BUILD, "bin", "berth")
DOMAIN = """<domain type='qemu'><name>vm</name><memory unit='MiB'>32</memory><vcpu>2</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type></os><devices>
<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{disk}'/>
<target dev='vda' bus='virtio'/></disk>
<interface type='user'><mac address='52:54:00:aa:bb:cc'/><model type='virtio'/></interface>
</devices></domain>"""
SECRET = "<secret private='yes'><usage type='volume'><volume>/v</volume></usage></secret>"
FILTER = "<filter name='mine'><rule action='accept' direction='in'/></filter>"
# Each with what its first object must have, or None where there may be no object.
LINES = {
    "list --all": {"name": "vm", "state": "running"}, "list --all --title": {"name": "vm", "title": ""},
    "list --all --name": {"name": "vm"}, "list --all --uuid --id --name": {"name": "vm", "id": "1"},
    "domblklist vm": {"target": "vda"}, "domblklist vm --details": {"target": "vda", "type": "file"},
    "domblkinfo vm --all": {"target": "vda"}, "domiflist vm": {"mac": "52:54:00:aa:bb:cc"},
    "domifaddr vm": None, "vcpupin vm": {"vcpu": "0"}, "domstats": {"domain": "vm"},
    "snapshot-list vm": {"name": "before"}, "snapshot-list vm --name": {"name": "before"},
    "snapshot-list vm --parent": {"name": "before"}, "checkpoint-list vm": {"name": "mark"},
    "checkpoint-list vm --name": {"name": "mark"}, "checkpoint-list vm --parent": {"name": "mark"},
    "net-list --all": {"name": "lan", "state": "inactive"}, "net-list --all --name": {"name": "lan"},
    "net-list --all --uuid": {}, "net-port-list lan": None, "net-port-list lan --uuid": None,
    "pool-list --all": {"name": "images", "state": "active"},
    "pool-list --all --details": {"name": "images", "persistent": "yes"},
    "pool-list --uuid --name": {"name": "images"},
    "vol-list images": {"name": "disk.qcow2"},
    "vol-list images --details": {"name": "disk.qcow2", "type": "file"},
    "iface-list --all": {"name": "lo"}, "nodedev-list": {}, "nodedev-list --cap net": {},
    "nwfilter-list": {}, "nwfilter-binding-list": None, "secret-list": {"usage": "volume /v"},
}
# Tables that are not tried here, and why.
ELSEWHERE = {"domfsinfo": "needs the guest's agent: agent.py has one", "iothreadinfo": "the domain has none",
             "net-dhcp-leases": "needs a running network: networks.py has one"}


def json_of(daemon, line):
    said = subprocess.run([BERTH, "-c", daemon.uri(), "--output", "json", line], text=True, check=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=60).stdout
    return json.loads(said)


def check_complete():
    """What the sources print as a table is tried here."""
    said = subprocess.run([BERTH, "help"], text=True, check=True, stdout=subprocess.PIPE).stdout
    lists = set(re.findall(r"^    ([a-z-]+-list|list) ", said, re.M))
    missing = lists - {line.split()[0] for line in LINES} - set(ELSEWHERE)
    assert not missing, f"no line tries {missing}"


def check(daemon, line, wanted):
    objects = json_of(daemon, line)
    assert isinstance(objects, list) and all(isinstance(item, dict) for item in objects), line
    if wanted is None:
        return
    assert objects and any(wanted.items() <= item.items() for item in objects), f"{line}: {objects}"
    if line != "domstats":
        rows = daemon.said("-q", *line.split()).splitlines()
        assert len(rows) == len(objects), f"{line}: {rows}, {objects}"


def main():
    check_complete()
    with Daemon(quiet=True) as daemon:
        images = os.path.join(daemon.top, "images")
        os.mkdir(images)
        disk = os.path.join(images, "disk.qcow2")
        daemon.run("qemu-img", "create", "-q", "-f", "qcow2", disk, "1M")
        for command, text in (("define", DOMAIN.format(disk=disk)), ("secret-define", SECRET),
                              ("nwfilter-define", FILTER),
                              ("net-define", "<network><name>lan</name></network>")):
            daemon.virsh(command, "/dev/stdin", data=text)
        daemon.virsh("pool-define-as", "images", "dir", "--target", images)
        daemon.virsh("pool-start", "images")
        daemon.virsh("start", "vm")
        daemon.virsh("checkpoint-create-as", "vm", "mark")
        daemon.virsh("snapshot-create-as", "vm", "before", "--disk-only")
        for line, wanted in LINES.items():
            check(daemon, line, wanted)
    print(f"{len(LINES)} listings")


main()
