#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
virsh's checkpoints and backups, as qemu-img and nbdinfo see them, while the disks are written to over NBD.
"""
import contextlib
import glob
import json
import os
import select
import signal
import socket
import struct
import subprocess
import tempfile
import uuid
import xml.etree.ElementTree as ElementTree

import event_loop
import libvirt
import wire

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
DOMAIN_CHECKPOINT_DELETE DOMAIN_BACKUP_BEGIN DOMAIN_BACKUP_GET_XML_DESC DOMAIN_GET_JOB_STATS DOMAIN_ABORT_JOB"""
UUID = "7dea22b3-1d52-d8f3-2516-782e98ab3fa0"
PUSH_BOTH = "<domainbackup><disks><disk name='vda'><target file='{}'/></disk><disk name='sda'><target file='{}'/>" \
            "</disk></disks></domainbackup>"
SIZE, BLOCK = 8 << 20, 64 << 10
NODES = {"one": "drive-virtio-disk0", "two": "drive-sata0-0-0"}


class Domain:
    """The domain 'back', and a way to write to its disks as a guest would: through its VMM."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.holds = {disk: bytearray(SIZE) for disk in NODES}  # what has been written
        self.ended = []  # how backups ended: libvirt's parameters

    def listen(self):
        event_loop.begin()
        self.conn = libvirt.open(self.daemon.uri())
        self.conn.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_JOB_COMPLETED,
                                         lambda c, dom, params, o: self.ended.append(params), None)

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
        self.holds[disk][where * BLOCK:(where + 1) * BLOCK] = bytes([pattern]) * BLOCK

    def node(self, disk="one"):
        return next(entry["inserted"]["node-name"] for entry in self.qmp("query-block")
                    if entry.get("qdev", "") == NODES[disk].removeprefix("drive-"))

    def export(self, disk="one"):
        self.qmp("block-export-add", **{"type": "nbd", "id": "w", "name": "w", "node-name": self.node(disk),
                                        "writable": True})

    def begin(self, backup, checkpoint=None, words=None, *flags):
        """backup-begin with these documents; it fails with `words` if there are any."""
        files = []
        for name, text in (("backup.xml", backup), ("checkpoint.xml", checkpoint)):
            if text:
                files.append(self.path(name))
                with open(files[-1], "w") as file:
                    file.write(text)
        if words:
            self.fails(words, "backup-begin", *files, *flags)
        else:
            self.virsh("backup-begin", *files, *flags)

    def wait_end(self):
        self.daemon.wait(lambda: self.ended, "the event of the backup's end")
        return self.ended.pop(0)

    @staticmethod
    def io(image, command):
        subprocess.run(["qemu-io", "-f", "raw", "-c", command, image], check=True)

    def size(self, checkpoint):
        xml = self.virsh("checkpoint-dumpxml", checkpoint, "--size", "--no-domain")
        return ElementTree.fromstring(xml).find("disks/disk[@name='vda']").get("size")


def write_file(path, text):
    with open(path, "w") as file:
        file.write(text)
    return path


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
    for kind in ((), ("--disk-only",)):
        dom.fails("while checkpoint exists", "snapshot-create-as", "s0", *kind)
    dom.virsh("start")
    assert (dom.size("c1"), dom.size("c2")) == ("131072", "65536")
    dom.virsh("snapshot-create-as", "s", "--disk-only", "--no-metadata")
    dom.write(3, 7)
    assert (dom.size("c1"), dom.size("c2")) == ("196608", "131072")
    dom.virsh("blockcommit", "vda", "--active", "--pivot", "--wait")
    dom.virsh("blockcommit", "sda", "--active", "--pivot", "--wait")
    assert (dom.size("c1"), dom.size("c2")) == ("196608", "131072")


def check_replaced_image(dom):
    """What jobs put in an image's place goes on with its bitmaps."""
    before = dom.size("c1"), dom.size("c2")
    dom.virsh("blockcopy", "vda", dom.path("raw.img"), "--format", "raw", "--wait")
    dom.fails("disk 'vda' already in active block job", "detach-disk", "vda", "--live")
    dom.fails("bitmaps cannot go on in the new image", "blockjob", "vda", "--pivot")
    dom.virsh("blockjob", "vda", "--abort")
    for copy in ("copy1.qcow2", "copy2.qcow2"):
        dom.virsh("blockcopy", "vda", dom.path(copy), "--format", "qcow2", "--wait", "--pivot")
        assert (dom.size("c1"), dom.size("c2")) == before, copy
    # One that was made over a snapshot is in the image below after that is gone.
    dom.virsh("snapshot-create-as", "over", "--disk-only", "--no-metadata")
    dom.virsh("checkpoint-create-as", "late", "--diskspec", "vda")
    dom.write(3, 8)
    for disk in "vda", "sda":
        dom.virsh("blockcommit", disk, "--active", "--pivot", "--wait")
    assert (dom.size("c1"), dom.size("c2"), dom.size("late")) == ("262144", "196608", "65536")
    dom.write(3, 9)
    assert (dom.size("c1"), dom.size("c2"), dom.size("late")) == ("327680", "262144", "131072")
    # Where a bitmap is missing, there is nothing to delete of it.
    dom.qmp("block-dirty-bitmap-remove", node=dom.node(), name="late")
    dom.fails("missing or broken bitmap 'late'", "backup-begin", write_file(
        dom.path("late.xml"), "<domainbackup><incremental>late</incremental></domainbackup>"))
    dom.virsh("checkpoint-delete", "late")
    dom.virsh("blockcopy", "vda", dom.path("one.qcow2"), "--reuse-external", "--wait", "--pivot")


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


@contextlib.contextmanager
def no_file_of_checkpoints(dom):
    """Where the daemon writes which checkpoint is the current one, the last of its files, is a folder."""
    name, = glob.glob(os.path.join(dom.daemon.top, "**", "checkpoints", "*", ".current"), recursive=True)
    os.rename(name, name + ".aside")
    os.mkdir(name)
    yield os.path.dirname(name)
    os.rmdir(name)
    os.rename(name + ".aside", name)


def check_unwritten(dom):
    """A checkpoint whose files cannot be written is not made, nor a backup that wants it."""
    target = dom.path("unwritten.qcow2")
    document = f"<domainbackup><disks><disk name='vda'><target file='{target}'/></disk></disks></domainbackup>"
    before = dom.virsh("checkpoint-list", "--name")
    with no_file_of_checkpoints(dom) as folder:
        dom.fails("cannot ", "checkpoint-create-as", "u1")
        dom.begin(document, "<domaincheckpoint><name>u2</name></domaincheckpoint>", "cannot ")
        dom.wait_end()
        assert not any(name.startswith("u") for name in os.listdir(folder)), os.listdir(folder)
    assert dom.virsh("checkpoint-list", "--name") == before
    names = {entry["name"] for block in dom.qmp("query-block")
             for entry in block.get("inserted", {}).get("dirty-bitmaps", [])}
    assert "c1" in names and not names & {"u1", "u2"}, names
    if os.path.exists(target):  # the job may have ended before it was given up
        os.unlink(target)
    dom.virsh("checkpoint-create-as", "u1")
    dom.virsh("checkpoint-delete", "u1")


def raw(image, *options):
    """The bytes of an image."""
    with tempfile.NamedTemporaryFile() as file:
        subprocess.run(["qemu-img", "convert", *options, "-O", "raw", image, file.name], check=True)
        return file.read()


def check_push(dom):
    dom.begin("<domainbackup/>", None, "cannot perform disk backup for inactive domain")
    dom.fails("no domain backup job present", "backup-dumpxml")
    dom.virsh("start")
    dom.listen()
    full, part = dom.path("full.qcow2"), dom.path("part.qcow2")
    dom.write(4, 10)
    dom.write(5, 11, "two")
    two = f"<disk name='sda'><target file='{dom.path('two.raw')}'/><driver type='raw'/></disk>"
    dom.begin(f"<domainbackup><disks><disk name='vda'><target file='{full}'/></disk>{two}</disks></domainbackup>",
              "<domaincheckpoint><name>p1</name></domaincheckpoint>")
    end = dom.wait_end()
    assert end["success"] and end["operation"] == libvirt.VIR_DOMAIN_JOB_OPERATION_BACKUP, end
    assert end["disk_total"] == end["disk_processed"] == 2 * SIZE, end
    info = " ".join(dom.virsh("domjobinfo", "--completed", "--keep-completed").split())
    assert "Job type: Completed Operation: Backup" in info, info
    assert raw(full) == dom.holds["one"] and raw(dom.path("two.raw"), "-f", "raw") == dom.holds["two"]
    assert dom.virsh("checkpoint-list", "--name").split() == ["c1", "p1"]
    dom.begin("<domainbackup><incremental>p0</incremental></domainbackup>", None,
              "Checkpoint 'p0' for incremental backup of disk 'vda' not found")
    dom.begin(f"<domainbackup><disks><disk name='vda'><target file='{full}'/></disk></disks></domainbackup>", None,
              "exists")
    dom.begin("<domainbackup><server port='1'/></domainbackup>", None, "requires pull mode")
    dom.begin("<domainbackup><disks><disk name='sdb'/></disks></domainbackup>", None, "has no media")
    check_unwritten(dom)
    # What is written after the checkpoint is in the next backup, and nothing else.
    dom.write(6, 20)
    dom.begin(f"""<domainbackup><incremental>p1</incremental><disks><disk name='vda'><target file='{part}'/>
              </disk></disks></domainbackup>""", "<domaincheckpoint><name>p2</name></domaincheckpoint>")
    assert dom.wait_end()["disk_total"] == BLOCK
    dom.daemon.run("qemu-img", "rebase", "-u", "-f", "qcow2", "-b", full, "-F", "qcow2", part)
    assert raw(part) == dom.holds["one"]
    extents = json.loads(subprocess.run(["qemu-img", "map", "--output=json", part], check=True,
                                        stdout=subprocess.PIPE).stdout)
    assert sum(extent["length"] for extent in extents if extent["depth"] == 0) == BLOCK, extents
    assert (dom.size("p1"), dom.size("p2")) == (str(BLOCK), "0")


def dirty(uri, bitmap):
    """Where the bitmap says that something has changed: (offset, length)."""
    said = json.loads(subprocess.run(["nbdinfo", "--json", f"--map=qemu:dirty-bitmap:{bitmap}", uri], check=True,
                                     stdout=subprocess.PIPE).stdout)
    return [(extent["offset"], extent["length"]) for extent in said if extent["type"] == 1]


def check_pull(dom):
    socket = dom.path("pull.sock")
    scratch = dom.path("scratch.qcow2")
    document = f"""<domainbackup mode='pull'><incremental>p1</incremental>
        <server transport='unix' socket='{socket}'/><disks><disk name='vda' exportname='now'>
        <scratch file='{scratch}'/></disk></disks></domainbackup>"""
    # That it stays what it was while the guest writes is for the test of disks, which has a guest.
    dom.begin(document, "<domaincheckpoint><name>p3</name></domaincheckpoint>")
    then = dom.holds["one"]
    dom.begin(document, None, "another backup job is already running")
    uri = f"nbd+unix:///now?socket={socket}"
    assert raw(uri, "-f", "raw") == then
    dom.daemon.run("nbdcopy", uri, dom.path("pulled"))
    with open(dom.path("pulled"), "rb") as file:
        assert file.read() == then
    assert dirty(uri, "backup-vda") == [(20 * BLOCK, BLOCK)]
    info = " ".join(dom.virsh("domjobinfo").split())
    assert "Job type: Unbounded Operation: Backup" in info, info
    assert "Temporary disk space use: 0.000 B Temporary disk space total: 8.000 MiB" in info, info
    # A later daemon goes on with it.
    dom.daemon.stop(signal.SIGKILL)
    dom.daemon.start()
    dom.listen()
    disk = ElementTree.fromstring(dom.virsh("backup-dumpxml")).find("disks/disk[@name='vda']")
    assert (disk.get("exportname"), disk.get("exportbitmap"), disk.get("backupmode"), disk.get("incremental")) == (
        "now", "backup-vda", "incremental", "p1"), disk.attrib
    assert raw(uri, "-f", "raw") == then
    dom.virsh("domjobabort")
    assert dom.wait_end()["success"]
    assert not os.path.exists(scratch)
    assert dom.size("p3") == "0"
    # It ends with the domain, too.
    dom.begin("<domainbackup mode='pull'/>", None, "must specify TCP port")
    dom.begin(f"<domainbackup mode='pull'><server transport='unix' socket='{socket}'/></domainbackup>")
    made = [name for name in os.listdir(dom.daemon.top) if name.startswith(("one.qcow2.", "two.qcow2."))]
    assert len(made) == 2, made
    dom.virsh("destroy")
    assert not dom.wait_end()["success"]
    assert not any(os.path.exists(dom.path(name)) for name in made)


def check_broken(dom):
    """A VMM that is killed leaves bitmaps that do not know all: no backup believes them, and they can go."""
    dom.virsh("start")
    dom.virsh("checkpoint-create-as", "k1", "--diskspec", "vda")
    # A later VMM than the one that made it: only then is it in the image.
    dom.virsh("destroy")
    dom.virsh("start")
    path, = glob.glob(os.path.join(dom.daemon.top, "**", "run", UUID, "pid"), recursive=True)
    with open(path) as file:
        os.kill(int(file.read()), signal.SIGKILL)
    dom.daemon.wait(lambda: dom.virsh("domstate") == "shut off", "the VMM's end")
    dom.virsh("start")
    assert "in-use" in bitmaps(dom.path("one.qcow2"))["k1"]
    try:
        dom.conn.lookupByName("back").backupBegin(
            "<domainbackup><incremental>k1</incremental><disks><disk name='vda'/></disks></domainbackup>", None)
        raise AssertionError("a broken bitmap was believed")
    except libvirt.libvirtError as error:
        assert error.get_error_code() == libvirt.VIR_ERR_CHECKPOINT_INCONSISTENT, error
        assert "missing or broken bitmap 'k1' for disk 'vda'" in str(error), error
    dom.virsh("checkpoint-delete", "k1")
    dom.virsh("destroy")
    assert "k1" not in bitmaps(dom.path("one.qcow2"))


def check_reuse(dom):
    """--reuse-external writes into images that are there, and leaves them there when it is given up."""
    dom.virsh("start")
    target = dom.path("mine.qcow2")
    document = f"<domainbackup><disks><disk name='vda'><target file='{target}'/></disk></disks></domainbackup>"
    dom.begin(document, None, "is not there", "--reuse-external")
    dom.daemon.run("qemu-img", "create", "-q", "-f", "qcow2", "-o", "compat=0.10", target, str(SIZE))
    dom.begin(document, None, "exists")
    dom.begin(document, None, None, "--reuse-external")
    assert dom.wait_end()["success"]
    assert raw(target) == dom.holds["one"]
    info = json.loads(subprocess.run(["qemu-img", "info", "--output=json", target], check=True,
                                     stdout=subprocess.PIPE).stdout)
    assert info["format-specific"]["data"]["compat"] == "0.10", info
    socket = dom.path("reuse.sock")
    dom.daemon.run("qemu-img", "create", "-q", "-f", "qcow2", "-b", dom.path("one.qcow2"), "-F", "qcow2",
                   dom.path("my-scratch.qcow2"))
    dom.begin(f"""<domainbackup mode='pull'><server transport='unix' socket='{socket}'/><disks><disk name='vda'>
              <scratch file='{dom.path("my-scratch.qcow2")}'/></disk></disks></domainbackup>""", None, None,
              "--reuse-external")
    assert raw(f"nbd+unix:///vda?socket={socket}", "-f", "raw") == dom.holds["one"]
    dom.virsh("domjobabort")
    assert dom.wait_end()["success"] and os.path.exists(dom.path("my-scratch.qcow2"))
    dom.virsh("destroy")


def check_abort(dom):
    """A push that is given up, as a whole or by one of its disks, leaves nothing."""
    for name in ("one.qcow2", "two.qcow2"):
        dom.daemon.run("qemu-img", "create", "-q", "-f", "qcow2", dom.path(name), "300M")
        dom.daemon.run("qemu-io", "-f", "qcow2", "-c", "write -q -P 7 0 256M", dom.path(name))
    dom.virsh("start")
    images = [dom.path("given-up.1"), dom.path("given-up.2")]
    for command in (["domjobabort"], ["blockjob", "sda", "--abort"]):
        # It may have been faster than we are.
        for _ in range(10):
            dom.begin(PUSH_BOTH.format(*images))
            dom.daemon.virsh(command[0], "back", *command[1:], check=False)
            end = dom.wait_end()
            if not end["success"]:
                break
            for image in images:
                os.unlink(image)
        assert not end["success"] and end["errmsg"] == "Operation canceled", end
        assert not any(os.path.exists(image) for image in images)
        assert dom.qmp("query-jobs") == [] and len(dom.qmp("query-named-block-nodes")) == 2
    check_abort_early(dom)
    dom.virsh("destroy")


def check_abort_early(dom):
    """A push that is given up before its jobs are there is not forgotten to have been."""
    numbers, images = wire.procedures(), [dom.path("early.1"), dom.path("early.2")]
    document = PUSH_BOTH.format(*images)
    known, = glob.glob(os.path.join(dom.daemon.top, "**", "run", UUID), recursive=True)
    it = wire.domain("back", uuid.UUID(UUID).bytes)
    early = 0
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(dom.daemon.socket)
        client.sendall(wire.message(numbers["CONNECT_OPEN"], 0, bytes(8)))
        assert wire.receive(client)[0][6] == 0
        for _ in range(20):
            begin = it + wire.string(document) + struct.pack(">II", 0, 0)
            client.sendall(wire.message(numbers["DOMAIN_BACKUP_BEGIN"], 1, begin))
            while not os.path.exists(os.path.join(known, "backup.xml")) and not select.select([client], [], [], 0)[0]:
                pass
            client.sendall(wire.message(numbers["DOMAIN_ABORT_JOB"], 2, it))
            answers = [(words[5], words[6]) for words, _ in (wire.receive(client), wire.receive(client))]
            assert (1, 0) in answers, answers
            end = dom.wait_end()
            if answers[0] == (2, 0):  # it was heard before the backup had begun
                early += 1
                assert not end["success"] and end["errmsg"] == "Operation canceled", end
                assert not any(os.path.exists(image) for image in images)
            for image in filter(os.path.exists, images):
                os.unlink(image)
            if early == 2:
                break
    assert early, "no backup was given up before it had begun"
    assert dom.qmp("query-jobs") == [] and len(dom.qmp("query-named-block-nodes")) == 2


def check_media(dom):
    """Clients of today and of long ago hear of media and trays."""
    numbers, disk_change, tray_change = wire.procedures(), 9, 10
    heard = []
    for event in (libvirt.VIR_DOMAIN_EVENT_ID_DISK_CHANGE, libvirt.VIR_DOMAIN_EVENT_ID_TRAY_CHANGE):
        dom.conn.domainEventRegisterAny(None, event, lambda c, d, *what: heard.append(what[:-1]), None)
    with open(dom.path("medium.iso"), "wb") as file:
        file.write(bytes(SIZE))
    dom.virsh("start")
    with wire.old_listener(dom.daemon.socket, disk_change, tray_change) as old:
        dom.virsh("change-media", "sdb", dom.path("medium.iso"), "--insert")
        dom.virsh("change-media", "sdb", "--eject")
        dom.daemon.wait(lambda: (dom.path("medium.iso"), None, "sata0-0-1", 0) in heard, f"events of media: {heard}")
        old_ones = [wire.receive(old) for _ in range(len(heard))]
    assert (None, dom.path("medium.iso"), "sata0-0-1", 0) in heard and ("sata0-0-1", 0) in heard, heard
    said = [(words[3], payload) for words, payload in old_ones]
    assert {procedure for procedure, _ in said} == {numbers["DOMAIN_EVENT_DISK_CHANGE"],
                                                    numbers["DOMAIN_EVENT_TRAY_CHANGE"]}, said
    assert all(payload.startswith(wire.string("back")) and wire.string("sata0-0-1") in payload
               for _, payload in said), said
    dom.virsh("destroy")


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
        check_replaced_image(dom)
        check_redefine(dom)
        check_delete(dom)
        check_push(dom)
        check_pull(dom)
        check_broken(dom)
        check_reuse(dom)
        check_abort(dom)
        check_media(dom)
        dom.virsh("undefine", "--checkpoints-metadata")
        missing = set(COVERS.split()) - daemon.called()
        assert not missing, f"not called: {missing}"


main()
