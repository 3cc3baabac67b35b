#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""virsh's checkpoints, as qemu-img sees their bitmaps, while the disk is written to over NBD."""
import json
import os
import signal
import subprocess
import xml.etree.ElementTree as ElementTree

from private import Daemon

XML = """<domain type='qemu'><name>back</name>
<uuid>7dea22b3-1d52-d8f3-2516-782e98ab3fa0</uuid><memory unit='MiB'>64</memory>
<os><type arch='x86_64' machine='q35'>hvm</type></os>
<devices><disk type='file'><driver name='qemu' type='qcow2'/><source file='{top}/one.qcow2'/>
<target dev='vda' bus='virtio'/></disk>
<disk type='file'><driver name='qemu' type='qcow2'/><source file='{top}/two.qcow2'/>
<target dev='sda' bus='sata'/></disk>
<disk type='file' device='cdrom'><target dev='sdb' bus='sata'/><readonly/></disk></devices></domain>"""
COVERS = """DOMAIN_CHECKPOINT_CREATE_XML DOMAIN_CHECKPOINT_GET_XML_DESC DOMAIN_LIST_ALL_CHECKPOINTS
DOMAIN_CHECKPOINT_LIST_ALL_CHILDREN DOMAIN_CHECKPOINT_LOOKUP_BY_NAME DOMAIN_CHECKPOINT_GET_PARENT
DOMAIN_CHECKPOINT_DELETE"""
NODES = {"one": "drive-virtio-disk0", "two": "drive-sata0-0-0"}


class Domain:
    """The domain 'back', and a way to write to its disks as a guest would: through its VMM."""

    def __init__(self, daemon):
        self.daemon = daemon

    def path(self, name):
        return os.path.join(self.daemon.top, name)

    def virsh(self, command, *args):
        return self.daemon.said(command, "back", *args)

    def fails(self, text, command, *args):
        result = self.daemon.virsh(command, "back", *args, check=False)
        assert result.returncode != 0 and text in result.stdout, f"{command} {args}: {result.stdout}"

    def qmp(self, command, **arguments):
        message = json.dumps({"execute": command, "arguments": arguments})
        answer = json.loads(self.virsh("qemu-monitor-command", message))
        assert "return" in answer, answer
        return answer["return"]

    def write(self, pattern, where, disk="one"):
        """64 KiB of the pattern at the 64-KiB block `where`."""
        socket = self.path("write.sock")
        self.qmp("nbd-server-start", addr={"type": "unix", "data": {"path": socket}})
        self.export(disk)
        self.io(f"nbd+unix:///w?socket={socket}", f"write -q -P {pattern} {where * 64}k 64k")
        self.qmp("nbd-server-stop")

    def export(self, disk="one"):
        node = next(entry["inserted"]["node-name"] for entry in self.qmp("query-block")
                    if entry.get("qdev", "") == NODES[disk].removeprefix("drive-"))
        self.qmp("block-export-add", **{"type": "nbd", "id": "w", "name": "w", "node-name": node,
                                        "writable": True})

    @staticmethod
    def io(image, command):
        subprocess.run(["qemu-io", "-f", "raw", "-c", command, image], check=True)

    def size(self, checkpoint):
        xml = self.virsh("checkpoint-dumpxml", checkpoint, "--size", "--no-domain")
        return ElementTree.fromstring(xml).find("disks/disk[@name='vda']").get("size")


def bitmaps(path):
    info = json.loads(subprocess.run(["qemu-img", "info", "-U", "--output=json", path], check=True,
                                     stdout=subprocess.PIPE).stdout)
    found = info["format-specific"]["data"].get("bitmaps", [])
    return {bitmap["name"]: bitmap["flags"] for bitmap in found}


def check_checkpoints(dom):
    dom.fails("cannot create checkpoint for inactive domain", "checkpoint-create-as", "c1")
    dom.virsh("start")
    dom.fails("no disk named 'vdz'", "checkpoint-create-as", "c1", "--diskspec", "vdz")
    dom.fails("disk 'sdb' is empty or readonly", "checkpoint-create-as", "c1", "--diskspec", "sdb")
    dom.fails("must match checkpoint name", "checkpoint-create-as", "c1", "--diskspec", "vda,bitmap=other")
    dom.fails("QEMU guest agent is not configured", "checkpoint-create-as", "c1", "--quiesce")
    dom.virsh("checkpoint-create-as", "c1", "the first one")
    dom.fails("already exists", "checkpoint-create-as", "c1")
    dom.write(1, 0)
    dom.virsh("checkpoint-create-as", "c2", "--diskspec", "vda")
    dom.write(2, 3)
    assert (dom.size("c1"), dom.size("c2")) == ("131072", "65536")
    assert dom.virsh("checkpoint-list", "--name").split() == ["c1", "c2"]
    assert dom.virsh("checkpoint-list", "--tree").split() == ["c1", "|", "+-", "c2"]
    assert dom.virsh("checkpoint-list", "--leaves", "--name").split() == ["c2"]
    assert dom.virsh("checkpoint-list", "--roots", "--name").split() == ["c1"]
    assert dom.virsh("checkpoint-list", "--from", "c1", "--name").split() == ["c2"]
    assert dom.virsh("checkpoint-parent", "c2") == "c1"
    dom.fails("'c1' has no parent", "checkpoint-parent", "c1")
    dom.fails("no domain checkpoint with matching name 'x'", "checkpoint-info", "x")
    assert "the first one" in dom.virsh("checkpoint-dumpxml", "c1")
    assert dom.daemon.said("list", "--all", "--with-checkpoint", "--name") == "back"
    assert dom.daemon.said("list", "--all", "--without-checkpoint", "--name") == ""


def check_lasting(dom):
    """A later daemon knows them, and a later VMM the bitmaps; those of an overlay go on."""
    dom.daemon.stop(signal.SIGKILL)
    dom.daemon.start()
    dom.virsh("destroy")
    assert bitmaps(dom.path("one.qcow2")) == {"c1": ["auto"], "c2": ["auto"]}
    assert bitmaps(dom.path("two.qcow2")) == {"c1": ["auto"]}
    dom.fails("cannot delete checkpoint for inactive domain", "checkpoint-delete", "c2")
    dom.fails("cannot delete inactive domain with 2 checkpoints", "undefine")
    dom.virsh("start")
    assert (dom.size("c1"), dom.size("c2")) == ("131072", "65536")
    dom.virsh("snapshot-create-as", "s", "--disk-only", "--no-metadata")
    dom.write(3, 7)
    assert (dom.size("c1"), dom.size("c2")) == ("196608", "131072")
    dom.virsh("blockcommit", "vda", "--active", "--pivot", "--wait")
    dom.virsh("blockcommit", "sda", "--active", "--pivot", "--wait")
    assert (dom.size("c1"), dom.size("c2")) == ("196608", "131072")


def check_redefine(dom):
    xml = dom.virsh("checkpoint-dumpxml", "c2")
    file = dom.path("c2.xml")

    def redefine(old="", new="", words=None, *flags):
        with open(file, "w") as out:
            out.write(xml.replace(old, new, 1))
        command = ("checkpoint-create", file, "--redefine", *flags)
        if words:
            dom.fails(words, *command)
        else:
            dom.virsh(*command)

    dom.virsh("checkpoint-delete", "c2", "--metadata")
    assert dom.virsh("checkpoint-list", "--name").split() == ["c1"]
    redefine("<name>c1", "<name>c2", "parent c2 would create cycle to c2")
    redefine("<name>c1", "<name>c9", "parent c9 for checkpoint c2 not found")
    redefine("7dea22b3", "8dea22b3", "must use uuid")
    redefine("checkpoint='bitmap'", "checkpoint='some'", "there are no and bitmap")
    redefine("<name>c2", "<name>c3")
    dom.virsh("checkpoint-delete", "c3", "--metadata")
    redefine("bitmap='c2'", "bitmap='c4'", "missing or broken bitmap 'c4' for disk 'vda'", "--redefine-validate")
    redefine("", "", None, "--redefine-validate")
    assert dom.virsh("checkpoint-parent", "c2") == "c1"


def check_delete(dom):
    dom.virsh("checkpoint-create-as", "c5")
    dom.virsh("checkpoint-delete", "c2")
    assert dom.virsh("checkpoint-parent", "c5") == "c1"
    dom.virsh("checkpoint-delete", "c1", "--children-only")
    assert dom.virsh("checkpoint-list", "--name").split() == ["c1"]
    dom.virsh("destroy")
    assert bitmaps(dom.path("one.qcow2")) == {"c1": ["auto"]}
    dom.daemon.run("qemu-img", "check", "-q", dom.path("one.qcow2"))


def main():
    with Daemon() as daemon:
        dom = Domain(daemon)
        for name in ("one.qcow2", "two.qcow2"):
            daemon.run("qemu-img", "create", "-q", "-f", "qcow2", dom.path(name), "8M")
        with open(dom.path("back.xml"), "w") as file:
            file.write(XML.format(top=daemon.top))
        daemon.virsh("define", dom.path("back.xml"))
        check_checkpoints(dom)
        check_lasting(dom)
        check_redefine(dom)
        check_delete(dom)
        dom.virsh("undefine", "--checkpoints-metadata")
        missing = set(COVERS.split()) - daemon.called()
        assert not missing, f"not called: {missing}"


main()
