#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""virsh's snapshots: internal ones of a stopped domain, external ones of its disks; by qemu-img's eyes."""
import contextlib
import json
import os
import signal
import subprocess

import libvirt

from private import Daemon

XML = """<domain type='qemu'><name>snap</name>
<uuid>6dea22b3-1d52-d8f3-2516-782e98ab3fa0</uuid><memory unit='MiB'>64</memory>
<os><type arch='x86_64' machine='q35'>hvm</type></os>
<devices><disk type='file'><driver name='qemu' type='qcow2'/><source file='{top}/one.qcow2'/>
<target dev='vda' bus='virtio'/></disk>
<disk type='file'><driver name='qemu' type='qcow2'/><source file='{top}/two.qcow2'/>
<target dev='sda' bus='sata'/></disk>
<disk type='file' device='cdrom'><target dev='sdb' bus='sata'/><readonly/></disk><console type='pty'/>
</devices></domain>"""
COVERS = """DOMAIN_SNAPSHOT_CREATE_XML DOMAIN_SNAPSHOT_GET_XML_DESC DOMAIN_SNAPSHOT_NUM
DOMAIN_SNAPSHOT_LOOKUP_BY_NAME DOMAIN_SNAPSHOT_CURRENT DOMAIN_REVERT_TO_SNAPSHOT DOMAIN_SNAPSHOT_DELETE
DOMAIN_SNAPSHOT_GET_PARENT DOMAIN_SNAPSHOT_NUM_CHILDREN DOMAIN_SNAPSHOT_IS_CURRENT
DOMAIN_SNAPSHOT_HAS_METADATA DOMAIN_LIST_ALL_SNAPSHOTS DOMAIN_SNAPSHOT_LIST_ALL_CHILDREN"""


def fails(daemon, text, *args):
    result = daemon.virsh(*args, check=False)
    assert result.returncode != 0 and text in result.stdout, f"{args}: {result.stdout}"


def write(path, pattern):
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", f"write -q -P {pattern} 0 64k", path], check=True)


def holds(path, pattern):
    done = subprocess.run(["qemu-io", "-U", "-r", "-f", "qcow2", "-c", f"read -P {pattern} 0 64k", path],
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.returncode == 0 and "verification failed" not in done.stdout


def backing(path):
    info = json.loads(subprocess.run(["qemu-img", "info", "-U", "--output=json", path], check=True,
                                     stdout=subprocess.PIPE).stdout)
    return info["full-backing-filename"]


def inside(path):
    return subprocess.run(["qemu-img", "snapshot", "-l", path], check=True, text=True,
                          stdout=subprocess.PIPE).stdout


def check_redefine(daemon):
    """What a client says of a snapshot is checked like what the daemon says itself."""
    xml = daemon.said("snapshot-dumpxml", "snap", "second")
    file = os.path.join(daemon.top, "second.xml")

    def redefine(old, new, words=None):
        with open(file, "w") as out:
            out.write(xml.replace(old, new, 1))
        command = ("snapshot-create", "snap", file, "--redefine")
        if words:
            fails(daemon, words, *command)
        else:
            daemon.virsh(*command)

    daemon.virsh("snapshot-delete", "snap", "second", "--metadata")
    redefine("<name>first", "<name>second", "parent second would create cycle to second")
    redefine("<name>first", "<name>third", "parent third for snapshot second not found")
    redefine("<state>shutoff</state>", "", "missing state")
    redefine("<disk name='vda'", "<disk name='vdz'", "no disk named 'vdz'")
    redefine(daemon.said("domuuid", "snap"), "8a0f6a0e-3ec2-4d39-b6d8-6f4e0c2a1b7d", "must use uuid")
    redefine("<name>second", "<name>ghost")
    fails(daemon, "has no snapshot 'ghost'", "snapshot-revert", "snap", "ghost")
    assert daemon.said("snapshot-current", "snap", "--name") == "first"
    daemon.virsh("snapshot-delete", "snap", "ghost", "--metadata")
    redefine("", "")
    xml = daemon.said("snapshot-dumpxml", "snap", "first")
    redefine("<creationTime>", "<parent><name>second</name></parent><creationTime>",
             "parent second would create cycle to first")
    assert daemon.said("snapshot-list", "snap", "--tree").split() == ["first", "|", "+-", "second"]


def check_internal(daemon, path):
    fails(daemon, "has no current snapshot", "snapshot-current", "snap")
    fails(daemon, "no domain snapshot with matching name 'x'", "snapshot-info", "snap", "x")
    daemon.virsh("snapshot-create-as", "snap", "first", "the first one")
    for name in ("one.qcow2", "two.qcow2"):
        assert " first " in inside(path(name)), inside(path(name))
        write(path(name), 2)
    fails(daemon, "already exists", "snapshot-create-as", "snap", "first")
    daemon.virsh("snapshot-create-as", "snap", "second")
    assert daemon.said("snapshot-list", "snap", "--name").split() == ["first", "second"]
    assert daemon.said("list", "--all", "--with-snapshot", "--name") == "snap"
    assert daemon.said("list", "--all", "--without-snapshot", "--name") == ""
    assert daemon.said("snapshot-list", "snap", "--tree").split() == ["first", "|", "+-", "second"]
    assert daemon.said("snapshot-parent", "snap", "second") == "first"
    info = " ".join(daemon.said("snapshot-info", "snap", "first").split())
    for text in ("State: shutoff", "Location: internal", "Current: no", "Children: 1", "Metadata: yes"):
        assert text in info, info
    assert "the first one" in daemon.said("snapshot-dumpxml", "snap", "first")
    assert daemon.said("snapshot-current", "snap", "--name") == "second"
    check_redefine(daemon)
    fails(daemon, "cannot delete inactive domain with 2 snapshots", "undefine", "snap")
    # A daemon that comes later knows them; the definition goes back with the disks.
    daemon.virsh("setmem", "snap", "32M", "--config")
    daemon.stop(signal.SIGKILL)
    daemon.start()
    daemon.virsh("snapshot-revert", "snap", "first")
    assert holds(path("one.qcow2"), 1) and holds(path("two.qcow2"), 1)
    assert "65536</currentMemory>" in daemon.said("dumpxml", "snap")
    assert daemon.said("snapshot-current", "snap", "--name") == "first"
    daemon.virsh("snapshot-revert", "snap", "second", "--paused")
    assert holds(path("one.qcow2"), 2) and daemon.said("domstate", "snap") == "paused"
    fails(daemon, "shut it down first", "snapshot-revert", "snap", "first")
    fails(daemon, "use --disk-only", "snapshot-create-as", "snap", "live")
    daemon.virsh("destroy", "snap")
    daemon.virsh("snapshot-delete", "snap", "first")
    assert " first " not in inside(path("one.qcow2")) and " second " in inside(path("two.qcow2"))
    assert daemon.virsh("snapshot-parent", "snap", "second", check=False).returncode != 0


def check_external(daemon, path):
    fails(daemon, "no disk named 'vdz'", "snapshot-create-as", "snap", "x", "--disk-only", "--diskspec",
          "vdz,snapshot=external")
    daemon.virsh("snapshot-create-as", "snap", "off", "--disk-only", "--diskspec", "sda,snapshot=no")
    assert path("one.off") in daemon.said("domblklist", "snap")
    assert path("two.qcow2") in daemon.said("domblklist", "snap")
    daemon.virsh("start", "snap")
    daemon.virsh("snapshot-create-as", "snap", "on", "--disk-only", "--atomic", "--diskspec",
                 f"sda,file={path('other.qcow2')}")
    for source in ((), ("--inactive",)):
        listed = daemon.said("domblklist", "snap", *source)
        assert path("one.on") in listed and path("other.qcow2") in listed, listed
    fails(daemon, "already exists", "snapshot-create-as", "snap", "again", "--disk-only", "--diskspec",
          f"vda,file={path('one.on')}")
    fails(daemon, "QEMU guest agent is not configured", "snapshot-create-as", "snap", "still", "--disk-only",
          "--quiesce")
    assert daemon.said("snapshot-list", "snap", "--external", "--name").split() == ["off", "on"]
    assert daemon.said("snapshot-list", "snap", "--disk-only", "--name").split() == ["on"]
    assert daemon.said("snapshot-list", "snap", "--from", "second", "--descendants",
                       "--name").split() == ["off", "on"]
    # The overlay is committed away again, and the snapshot forgotten.
    daemon.virsh("blockcommit", "snap", "vda", "--active", "--base", path("one.off"), "--pivot", "--wait")
    assert path("one.off") in daemon.said("domblklist", "snap")
    daemon.virsh("snapshot-delete", "snap", "on", "--metadata")
    daemon.virsh("destroy", "snap")
    write(path("one.off"), 3)
    assert holds(path("one.off"), 3) and holds(path("one.qcow2"), 2)
    daemon.virsh("snapshot-revert", "snap", "off")
    assert holds(path("one.off"), 2) and path("one.off") in daemon.said("domblklist", "snap")
    assert path("two.qcow2") in daemon.said("domblklist", "snap")


def check_merge(daemon, path):
    """External snapshots are deleted: what their overlays hold goes into the images below."""
    write(path("one.off"), 4)
    for name in ("e1", "e2", "e3"):
        daemon.virsh("snapshot-create-as", "snap", name, "--disk-only", "--diskspec", "sda,snapshot=no")
        write(path(f"one.{name}"), 5 + int(name[1]))
    fails(daemon, "while there are snapshots after it", "snapshot-revert", "snap", "e1")
    # The one in the middle and then the last one, of a domain that does not run.
    daemon.virsh("snapshot-delete", "snap", "e2")
    assert backing(path("one.e3")) == path("one.e1") and holds(path("one.e1"), 7)
    assert not os.path.exists(path("one.e2")) and daemon.said("snapshot-parent", "snap", "e3") == "e1"
    assert f"'{path('one.e1')}'" in daemon.said("snapshot-dumpxml", "snap", "e3").split("<domain ")[1]
    daemon.virsh("snapshot-delete", "snap", "e3")
    assert holds(path("one.e1"), 8) and path("one.e1") in daemon.said("domblklist", "snap")
    assert not os.path.exists(path("one.e3")) and daemon.said("snapshot-current", "snap", "--name") == "e1"
    # The same of one that runs.
    daemon.virsh("snapshot-create-as", "snap", "e4", "--disk-only", "--diskspec", "sda,snapshot=no")
    write(path("one.e4"), 9)
    daemon.virsh("start", "snap")
    daemon.virsh("snapshot-delete", "snap", "e1")
    assert backing(path("one.e4")) == path("one.off")
    daemon.virsh("snapshot-delete", "snap", "e4")
    for source in ((), ("--inactive",)):
        assert path("one.off") in daemon.said("domblklist", "snap", *source)
    with contextlib.closing(libvirt.open(daemon.uri())) as conn:
        conn.lookupByName("snap").openConsole(None, conn.newStream(), libvirt.VIR_DOMAIN_CONSOLE_FORCE)
    daemon.virsh("destroy", "snap")
    assert holds(path("one.off"), 9) and holds(path("one.qcow2"), 2)
    assert not os.path.exists(path("one.e1")) and not os.path.exists(path("one.e4"))
    daemon.virsh("snapshot-delete", "snap", "off")
    assert holds(path("one.qcow2"), 9) and path("one.qcow2") in daemon.said("domblklist", "snap")
    for name in ("one.qcow2", "two.qcow2"):
        daemon.run("qemu-img", "check", "-q", path(name))


def check_children(daemon, path):
    for name in ("i1", "i2", "i3"):
        daemon.virsh("snapshot-create-as", "snap", name)
    daemon.virsh("snapshot-delete", "snap", "i1", "--children-only")
    assert daemon.said("snapshot-current", "snap", "--name") == "i1"
    assert " i1 " in inside(path("one.qcow2")) and " i2 " not in inside(path("one.qcow2"))
    daemon.virsh("snapshot-create-as", "snap", "e5", "--disk-only")
    fails(daemon, "with children not supported", "snapshot-delete", "snap", "i1", "--children")
    daemon.virsh("snapshot-delete", "snap", "i1", "--children", "--metadata")
    assert "i1" not in daemon.said("snapshot-list", "snap", "--name").split()


def main():
    with Daemon() as daemon:
        def path(name):
            return os.path.join(daemon.top, name)
        for name in ("one.qcow2", "two.qcow2"):
            daemon.run("qemu-img", "create", "-q", "-f", "qcow2", path(name), "8M")
            write(path(name), 1)
        with open(path("snap.xml"), "w") as file:
            file.write(XML.format(top=daemon.top))
        daemon.virsh("define", path("snap.xml"))
        check_internal(daemon, path)
        check_external(daemon, path)
        check_merge(daemon, path)
        check_children(daemon, path)
        daemon.virsh("undefine", "snap", "--snapshots-metadata")
        assert not os.path.exists(path("state/snapshots/6dea22b3-1d52-d8f3-2516-782e98ab3fa0"))
        missing = set(COVERS.split()) - daemon.called()
        assert not missing, f"not called: {missing}"


main()
