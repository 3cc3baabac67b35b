#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""virsh's blkdeviotune, blockcopy, blockpull, blockcommit and blockjob, as qemu-img sees what is left."""
import contextlib
import json
import os
import re
import signal
import subprocess

import event_loop
import libvirt

from private import Daemon

XML = """<domain type='qemu'><name>jobs</name>
<uuid>5dea22b3-1d52-d8f3-2516-782e98ab3fa0</uuid><memory unit='MiB'>64</memory>
<iothreads>2</iothreads><os><type arch='x86_64' machine='q35'>hvm</type></os>
<devices><disk type='file'><driver name='qemu' type='qcow2' iothread='2'/><source file='{top}/top.qcow2'/>
<target dev='vda' bus='virtio'/></disk>
<disk type='file'><driver name='qemu' type='raw'/><source file='{top}/sata.raw'/>
<target dev='sda' bus='sata'/></disk>
<disk type='network'><driver name='qemu' type='raw'/><source protocol='nbd' name='far'>
<host transport='unix' socket='{top}/far.sock'/></source><target dev='vdb' bus='virtio'/></disk>
</devices></domain>"""
COVERS = """DOMAIN_BLOCK_PULL DOMAIN_BLOCK_REBASE DOMAIN_BLOCK_COMMIT DOMAIN_BLOCK_COPY
DOMAIN_BLOCK_JOB_ABORT DOMAIN_GET_BLOCK_JOB_INFO DOMAIN_BLOCK_JOB_SET_SPEED DOMAIN_BLOCK_RESIZE
DOMAIN_SET_BLOCK_IO_TUNE DOMAIN_GET_BLOCK_IO_TUNE"""
SIZE = 64 << 20


class Events:
    """Block jobs' events, by the disk's target."""

    def __init__(self, daemon):
        event_loop.begin()
        self.seen = []
        self.conn = libvirt.open(daemon.uri())
        self.conn.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2,
                                         lambda c, dom, *what: self.seen.append(what[:3]), None)

def image_info(path):
    return subprocess.run(["qemu-img", "info", "-U", path], check=True, text=True,
                          stdout=subprocess.PIPE).stdout


def fails(daemon, text, *args):
    result = daemon.virsh(*args, check=False)
    assert result.returncode != 0 and text in result.stdout, f"{args}: {result.stdout}"


def make_chain(daemon):
    """base.raw <- mid.qcow2 <- top.qcow2, each with something of its own; want.raw is what is seen."""
    for name, backing, at in (("base.raw", None, 0), ("mid.qcow2", "base.raw", 8), ("top.qcow2", "mid.qcow2", 16)):
        path = os.path.join(daemon.top, name)
        form = name.rsplit(".", 1)[1]
        chain = ["-b", os.path.join(daemon.top, backing), "-F", backing.rsplit(".", 1)[1]] if backing else []
        daemon.run("qemu-img", "create", "-q", "-f", form, *chain, path, str(SIZE))
        daemon.run("qemu-io", "-f", form, "-c", f"write -q -P {at + 1} {at}M {2 if at else 48}M", path)
    daemon.run("qemu-img", "convert", "-O", "raw", os.path.join(daemon.top, "top.qcow2"),
               os.path.join(daemon.top, "want.raw"))
    daemon.run("qemu-img", "create", "-q", "-f", "raw", os.path.join(daemon.top, "sata.raw"), "1M")


def check_copy(daemon, events, path):
    fails(daemon, "does not have an active block job", "blockjob", "jobs", "vda", "--abort")
    fails(daemon, "must be an absolute path", "blockcopy", "jobs", "vda", "copy.raw")
    # One that is too slow to end is seen, sped up, and given up.
    daemon.virsh("blockcopy", "jobs", "vda", path("slow.raw"), "--format", "raw", "--bandwidth", "1")
    assert "Block Copy" in daemon.said("blockjob", "jobs", "vda")
    assert daemon.said("blockjob", "jobs", "vda", "--raw").count("type=Block Copy") == 1
    fails(daemon, "disk 'vda' not ready for pivot yet", "blockjob", "jobs", "vda", "--pivot")
    fails(daemon, "unable to execute QEMU command", "blockcommit", "jobs", "vda", "--active")
    daemon.virsh("blockjob", "jobs", "vda", "--bandwidth", "2")
    assert "bandwidth=2097152" in daemon.said("blockjob", "jobs", "vda", "--raw", "--bytes")
    daemon.virsh("blockjob", "jobs", "vda", "--abort")
    assert daemon.said("blockjob", "jobs", "vda").startswith("No current block job")
    assert "top.qcow2" in daemon.said("domblklist", "jobs")
    fails(daemon, "already exists", "blockcopy", "jobs", "vda", path("slow.raw"))
    # The later daemon finds the job by its name.
    daemon.virsh("blockcopy", "jobs", "vda", path("copy.qcow2"), "--format", "qcow2", "--wait")
    daemon.virsh("blockjob", "jobs", "vda", "--pivot")
    for source in ((), ("--inactive",)):
        assert path("copy.qcow2") in daemon.said("dumpxml", "jobs", *source), source
    assert (("vda", libvirt.VIR_DOMAIN_BLOCK_JOB_TYPE_COPY, libvirt.VIR_DOMAIN_BLOCK_JOB_READY)
            in events.seen), events.seen
    daemon.virsh("blockcopy", "jobs", "sda", path("sata.qcow2"), "--format", "qcow2", "--wait", "--pivot")
    assert path("sata.qcow2") in daemon.said("domblklist", "jobs")


def far_disk(daemon, path):
    """An NBD server's process; it listens."""
    subprocess.run(["qemu-img", "create", "-q", "-f", "raw", path("far.raw"), "2M"], check=True)
    subprocess.run(["qemu-io", "-f", "raw", "-c", "write -q -P 9 64k 1M", path("far.raw")], check=True)
    server = subprocess.Popen(["qemu-nbd", "--persistent", "--shared=0", "-f", "raw", "-x", "far", "-k",
                               path("far.sock"), path("far.raw")])
    daemon.wait(lambda: os.path.exists(path("far.sock")), "the NBD server listens")
    return server


def throttle(daemon, device):
    """What the VMM says of the limits of the disk."""
    answer = json.loads(daemon.said("qemu-monitor-command", "jobs", '{"execute": "query-block"}'))
    return next(entry["inserted"] for entry in answer["return"] if entry["qdev"] == device)


def check_limits(daemon):
    daemon.virsh("blkdeviotune", "jobs", "vda", "--total-bytes-sec", "8388608", "--read-iops-sec", "100",
                 "--live", "--config")
    assert throttle(daemon, "virtio-disk0")["bps"] == 8388608
    assert throttle(daemon, "virtio-disk0")["iops_rd"] == 100
    assert re.search(r"total_bytes_sec *: 8388608", daemon.said("blkdeviotune", "jobs", "vda"))
    fails(daemon, "total and read/write of bytes_sec cannot be set at the same time", "blkdeviotune", "jobs",
          "vda", "--total-bytes-sec", "1", "--read-bytes-sec", "1")
    # A limit of reads takes the place of one of everything; other kinds stay as they are.
    daemon.virsh("blkdeviotune", "jobs", "vda", "--read-bytes-sec", "4096", "--live")
    now = throttle(daemon, "virtio-disk0")
    assert (now["bps"], now["bps_rd"], now["iops_rd"]) == (0, 4096, 100), now
    daemon.virsh("destroy", "jobs")
    daemon.virsh("start", "jobs")
    assert throttle(daemon, "virtio-disk0")["bps"] == 8388608
    assert "<total_bytes_sec>8388608</total_bytes_sec>" in daemon.said("dumpxml", "jobs")
    daemon.virsh("blkdeviotune", "jobs", "sda", "--write-iops-sec", "7", "--group-name", "slow")
    assert throttle(daemon, "sata0-0-0")["iops_wr"] == 7
    assert re.search(r"group_name *: slow", daemon.said("blkdeviotune", "jobs", "sda"))
    daemon.virsh("blkdeviotune", "jobs", "vda", "--total-bytes-sec", "0", "--read-iops-sec", "0", "--live",
                 "--config")
    assert "iotune" not in daemon.said("dumpxml", "jobs", "--inactive")


def relative_chain(daemon, names):
    """Images in two folders that name those below relatively; the lowest one is raw."""
    os.makedirs(os.path.join(daemon.top, "rel", "low"))
    for index, name in enumerate(names):
        full = os.path.join(daemon.top, "rel", name)
        if not index:
            daemon.run("qemu-img", "create", "-q", "-f", "raw", full, "8M")
            continue
        below = os.path.relpath(os.path.join(daemon.top, "rel", names[index - 1]), os.path.dirname(full))
        daemon.run("qemu-img", "create", "-q", "-f", "qcow2", "-b", below, "-F", "qcow2" if index > 1 else "raw", full)
        daemon.run("qemu-io", "-f", "qcow2", "-c", f"write -q -P {index} {index}M 64k", full)


def backing(image):
    return json.loads(subprocess.run(["qemu-img", "info", "-U", "--output=json", image], check=True,
                                     stdout=subprocess.PIPE).stdout).get("backing-filename")


def check_relative(daemon, path):
    """Names stay relative, and what is committed is removed: at once, by a later daemon, never if it is in use."""
    names = ("low/a.raw", "low/b.qcow2", "low/c.qcow2", "d.qcow2", "e.qcow2")
    relative_chain(daemon, names)
    a, b, c, d, e = (path("rel/" + name) for name in names)
    daemon.run("qemu-img", "convert", "-O", "raw", e, path("rel-want.raw"))
    with open(path("rel.xml"), "w") as file:
        file.write(XML.format(top=daemon.top).replace(">jobs<", ">rel<").replace("5dea22b3", "5dea22b4")
                   .replace(path("top.qcow2"), e).replace(path("sata.raw"), path("rel-want.raw"))
                   .split("<disk type='network'>")[0] + "</devices></domain>")
    daemon.virsh("define", path("rel.xml"))
    daemon.virsh("start", "rel")
    daemon.virsh("blockcommit", "rel", "vda", "--top", c, "--base", b, "--keep-relative", "--delete", "--wait")
    assert backing(d) == "low/b.qcow2", backing(d)
    daemon.wait(lambda: not os.path.exists(c), "what was committed is removed")
    daemon.virsh("blockpull", "rel", "vda", "--base", b, "--keep-relative", "--wait")
    assert backing(e) == "low/b.qcow2", backing(e)
    os.unlink(d)
    fails(daemon, "is not an image file below", "blockcommit", "rel", "vda", "--base", d, "--active", "--delete")
    # Given up: the image stays. Then a daemon is killed between the job's beginning and its end.
    daemon.virsh("blockcommit", "rel", "vda", "--active", "--shallow", "--delete", "--wait")
    daemon.virsh("blockjob", "rel", "vda", "--abort")
    assert os.path.exists(e) and e in daemon.said("domblklist", "rel")
    daemon.virsh("blockcommit", "rel", "vda", "--active", "--shallow", "--delete", "--wait")
    daemon.stop(signal.SIGKILL)
    daemon.start()
    daemon.virsh("blockjob", "rel", "vda", "--pivot")
    daemon.wait(lambda: not os.path.exists(e), "what was committed is removed by the next daemon")
    assert b in daemon.said("domblklist", "rel") and os.path.exists(a)
    daemon.virsh("destroy", "rel")
    daemon.run("qemu-img", "compare", "-q", path("rel-want.raw"), b)
    daemon.virsh("undefine", "rel")


def check_chain(daemon, path):
    """Back to the chain that was; it is made shorter from both ends."""
    daemon.virsh("destroy", "jobs")
    daemon.run("qemu-img", "compare", "-q", path("want.raw"), path("copy.qcow2"))
    daemon.virsh("define", path("jobs.xml"))
    daemon.virsh("start", "jobs")
    fails(daemon, "active layer requires active flag", "blockcommit", "jobs", "vda")
    # Its images name each other by absolute paths.
    fails(daemon, "can't keep relative backing relationship", "blockpull", "jobs", "vda", "--base",
          path("mid.qcow2"), "--keep-relative")
    fails(daemon, "valid only with non-null base", "blockpull", "jobs", "vda", "--keep-relative")
    fails(daemon, "has no backing file", "blockcommit", "jobs", "vda", "--top", path("base.raw"), "--shallow")
    daemon.virsh("blockcommit", "jobs", "vda", "--top", path("mid.qcow2"), "--shallow", "--wait")
    assert "backing file: " + path("base.raw") in image_info(path("top.qcow2"))
    daemon.virsh("blockcommit", "jobs", "vda", "--active", "--keep-relative", "--pivot", "--wait")
    assert 'type="raw"' in daemon.said("dumpxml", "jobs", "--xpath", "//disk[1]/driver")
    assert path("base.raw") in daemon.said("domblklist", "jobs", "--inactive")
    daemon.virsh("blockresize", "jobs", "vda", "65M")
    daemon.virsh("destroy", "jobs")
    daemon.run("qemu-img", "compare", "-q", "-f", "raw", "-F", "raw", path("want.raw"), path("base.raw"))
    assert os.path.getsize(path("base.raw")) == 65 << 20


def check_server(daemon, path):
    """A disk that a server has comes home."""
    fails(daemon, "unable to execute QEMU command", "blockcommit", "jobs", "vdb", "--active")
    daemon.virsh("blockcopy", "jobs", "vdb", path("home.qcow2"), "--format", "qcow2", "--wait", "--pivot")
    for source in ((), ("--inactive",)):
        assert path("home.qcow2") in daemon.said("domblklist", "jobs", *source)
    assert "network" not in daemon.said("dumpxml", "jobs", "--xpath", "//disk[3]")
    daemon.run("qemu-img", "compare", "-U", "-q", "-f", "raw", path("far.raw"), path("home.qcow2"))


def check_pull(daemon, events, path):
    for name in ("base.raw", "mid.qcow2", "top.qcow2"):
        os.unlink(path(name))
    make_chain(daemon)
    daemon.virsh("define", path("jobs.xml"))
    daemon.virsh("start", "jobs")
    daemon.virsh("blockpull", "jobs", "vda", "--base", path("base.raw"), "--wait")
    assert "backing file: " + path("base.raw") in image_info(path("top.qcow2"))
    daemon.virsh("blockpull", "jobs", "vda", "--wait")
    assert "backing file" not in image_info(path("top.qcow2"))
    daemon.wait(lambda: ("vda", libvirt.VIR_DOMAIN_BLOCK_JOB_TYPE_PULL,
                         libvirt.VIR_DOMAIN_BLOCK_JOB_COMPLETED) in events.seen, f"{events.seen}")
    daemon.virsh("destroy", "jobs")
    daemon.run("qemu-img", "compare", "-q", path("want.raw"), path("top.qcow2"))


def main():
    with Daemon() as daemon, contextlib.ExitStack() as stack:
        def path(name):
            return os.path.join(daemon.top, name)
        make_chain(daemon)
        stack.callback(far_disk(daemon, path).kill)
        events = Events(daemon)
        with open(path("jobs.xml"), "w") as file:
            file.write(XML.format(top=daemon.top))
        daemon.virsh("define", path("jobs.xml"))
        daemon.virsh("start", "jobs")
        check_limits(daemon)
        check_copy(daemon, events, path)
        check_server(daemon, path)
        check_chain(daemon, path)
        check_pull(daemon, events, path)
        events.conn.close()
        check_relative(daemon, path)
        missing = set(COVERS.split()) - daemon.called()
        assert not missing, f"not called: {missing}"


main()
