#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""QMP of images: the same commands to berth-vmm and to QEMU, and what they answer, field by field; and
what needs a writer: mirrors that block writes, jobs of a transaction that end together."""
import json
import os
import subprocess
import time

from block_machine import MIB, SIZE, Machine, good, same
from guest import Failed, Qmp, check, main, program, refused, temporary_folder


class Bare:
    """A VMM without a machine's disks; `ours` or QEMU."""

    def __init__(self, ours, folder):
        self.folder = os.path.join(folder, "ours" if ours else "theirs")
        os.mkdir(self.folder)
        path = self.path("qmp")
        command = [program("berth-vmm"), "-accel", "soft", "-m", "16"] if ours else \
            ["qemu-system-x86_64", "-accel", "tcg", "-m", "16"]
        self.process = subprocess.Popen([*command, "-nodefaults", "-display", "none", "-S", "-object",
                                         "secret,id=s,data=word", "-object", "secret,id=t,data=other",
                                         "-qmp", f"unix:{path},server=on,wait=off"])
        self.qmp = Qmp(path, 60)

    def path(self, name):
        return os.path.join(self.folder, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.qmp.close()
        self.process.kill()
        self.process.wait()

    def job(self, command, **arguments):
        """Run a job to its end; its states, and what query-jobs says last."""
        before = len(self.qmp.events)
        self.qmp.call(command, job_id="j", **arguments)
        deadline = time.monotonic() + 60
        while True:
            info = self.qmp.call("query-jobs")[0]
            if info["status"] == "concluded":
                break
            check(time.monotonic() < deadline, f"{command}: it stays {info['status']}")
            time.sleep(0.01)
        check(self.qmp.call("query-block-jobs") == [], "it is no block job")
        self.qmp.call("job-dismiss", id="j")
        states = [event["data"]["status"] for event in self.qmp.events[before:]
                  if event["event"] == "JOB_STATUS_CHANGE"]
        return states, info

    def timed_job(self, command, **arguments):
        """One that derives keys: QEMU measures how fast it is, and gives up where the host counts a
        thread's time in ticks and the measurement lies between two of them."""
        for _ in range(50):
            states, info = self.job(command, **arguments)
            if "accurate CPU usage" not in info.get("error", ""):
                break
        return states, info


def both(folder):
    return Bare(True, folder), Bare(False, folder)


def difference(mine, yours, path=""):
    """Lines that say where two JSON values differ."""
    if isinstance(mine, dict) and isinstance(yours, dict):
        for key in sorted(mine.keys() | yours.keys()):
            yield from difference(mine.get(key), yours.get(key), f"{path}/{key}")
    elif isinstance(mine, (list, tuple)) and isinstance(yours, (list, tuple)) and len(mine) == len(yours):
        for i, (a, b) in enumerate(zip(mine, yours)):
            yield from difference(a, b, f"{path}[{i}]")
    elif mine != yours:
        yield f"{path}: {mine!r}, QEMU {yours!r}"


def alike(mine, yours, what):
    found = list(difference(mine, yours))
    check(not found, f"{what}: " + "; ".join(found[:6]))


IMAGES = [
    {"driver": "qcow2"},
    {"driver": "qcow2", "version": "v2", "cluster-size": 4096},
    {"driver": "qcow2", "lazy-refcounts": True, "refcount-bits": 8, "extended-l2": True,
     "compression-type": "zstd"},
    {"driver": "qcow2", "preallocation": "metadata"},
    {"driver": "qcow2", "backing-file": "/nowhere", "backing-fmt": "raw"},
    {"driver": "luks", "key-secret": "s", "iter-time": 10, "cipher-alg": "aes-128"},
    {"driver": "vmdk"},
    {"driver": "vmdk", "subformat": "streamOptimized", "adapter-type": "lsilogic"},
    {"driver": "vdi"},
    {"driver": "vdi", "preallocation": "metadata"},
    {"driver": "vhdx", "log-size": MIB, "block-size": 2 * MIB},
    {"driver": "vhdx", "subformat": "fixed"},
    {"driver": "vpc", "subformat": "dynamic", "force-size": True},
    {"driver": "vpc", "subformat": "fixed", "force-size": True},
    {"driver": "qed", "cluster-size": 65536, "table-size": 2},
]
# Of each image another, or its place.
PRIVATE = {"filename", "full-backing-filename", "actual-size", "cid", "parent-cid", "uuid", "master-key-iters",
           "iters", "stripes", "key-offset", "children"}


def facts(value):
    """What two images that were made alike have in common."""
    if isinstance(value, dict):
        return {key: facts(inner) for key, inner in value.items() if key not in PRIVATE}
    return [facts(inner) for inner in value] if isinstance(value, list) else value


def create(vmm, index, options):
    path = vmm.path(f"i{index}")
    results = [vmm.job("blockdev-create", options={"driver": "file", "filename": path, "size": 0})]
    vmm.qmp.call("blockdev-add", driver="file", node_name="f", filename=path)
    results.append(vmm.timed_job("blockdev-create", options={**options, "file": "f", "size": SIZE}))
    vmm.qmp.call("blockdev-del", node_name="f")
    told = subprocess.run(["qemu-img", "info", "--output=json", "-f", options["driver"], path], text=True,
                          stdout=subprocess.PIPE, check=True).stdout
    return results, facts(json.loads(told))


def test_create():
    with temporary_folder() as folder:
        mine, yours = both(folder)
        with mine, yours:
            for index, options in enumerate(IMAGES):
                alike(create(mine, index, options), create(yours, index, options), str(options))
            for wrong in ({"driver": "qcow2", "size": MIB}, {"driver": "nothing", "size": MIB},
                          {"driver": "file", "filename": mine.path("x")}):
                for vmm in (mine, yours):
                    refused(vmm.qmp, "", "blockdev-create", job_id="j", options=wrong)
            # QEMU begins a job that fails.
            refused(mine.qmp, "none", "blockdev-create", job_id="j",
                    options={"driver": "qcow2", "file": "none", "size": MIB})
            for vmm in (mine, yours):
                vmm.qmp.call("blockdev-add", driver="file", node_name="f", filename=vmm.path("i0"))
            wrong = {"driver": "qcow2", "file": "f", "size": MIB, "cluster-size": 5}
            (states, info), (their_states, their_info) = (vmm.job("blockdev-create", options=wrong)
                                                          for vmm in (mine, yours))
            check("luster" in info.pop("error") and "luster" in their_info.pop("error"), "the error")
            alike((states, info), (their_states, their_info), "a job that fails")


def test_amend():
    with temporary_folder() as folder, Bare(True, folder) as vmm:
        create(vmm, 0, {"driver": "qcow2"})
        vmm.qmp.call("blockdev-add", driver="qcow2", node_name="q",
                     file={"driver": "file", "filename": vmm.path("i0")})
        _, info = vmm.job("x-blockdev-amend", node_name="q",
                          options={"driver": "qcow2", "lazy-refcounts": True})
        check("error" not in info, str(info))
        _, info = vmm.job("x-blockdev-amend", node_name="q", options={"driver": "qcow2", "colour": "red"})
        check("colour" in info["error"], str(info))
        refused(vmm.qmp, "changing the block driver", "x-blockdev-amend", job_id="j", node_name="q",
                options={"driver": "raw"})
        vmm.qmp.call("blockdev-del", node_name="q")
        told = subprocess.run(["qemu-img", "info", vmm.path("i0")], stdout=subprocess.PIPE, text=True,
                              check=True).stdout
        check("lazy refcounts: true" in told, told)


# Changes to the passwords of a LUKS volume, one after the other; the first has "word" (secret s) in slot 0.
KEYS = [
    ({"state": "active", "new-secret": "t", "iter-time": 10}, False),
    ({"state": "active", "new-secret": "t", "keyslot": 1}, False),
    ({"state": "active", "new-secret": "t", "keyslot": 9}, False),
    ({"state": "active", "new-secret": "none"}, False),
    ({"state": "active"}, False),
    ({"state": "active", "new-secret": "t", "old-secret": "s"}, False),
    ({"state": "active", "new-secret": "t", "keyslot": 5, "iter-time": 10}, False),
    ({"state": "inactive", "old-secret": "s", "keyslot": 5}, False),
    ({"state": "inactive", "old-secret": "s"}, False),
    ({"state": "inactive", "keyslot": 5}, False),
    ({"state": "inactive", "keyslot": 5}, False),
    ({"state": "inactive", "keyslot": 1}, False),
    ({"state": "inactive", "old-secret": "t"}, False),
    ({"state": "inactive"}, False),
    ({"state": "active", "new-secret": "s", "secret": "s"}, False),
    ({"state": "active", "new-secret": "s", "secret": "none"}, False),
    ({"state": "active", "new-secret": "s", "secret": "t", "keyslot": 1, "iter-time": 10}, True),
    ({"state": "active", "new-secret": "t", "iter-time": 10}, False),
    ({"state": "inactive", "old-secret": "s"}, True),
]


def change_keys(vmm):
    """What each of KEYS comes to, and what the volume is afterwards."""
    create(vmm, 0, {"driver": "luks", "key-secret": "s", "iter-time": 10})
    vmm.qmp.call("blockdev-add", driver="luks", node_name="q", key_secret="s",
                 file={"driver": "file", "filename": vmm.path("i0")})
    results = [vmm.timed_job("x-blockdev-amend", node_name="q", options={"driver": "luks", **options},
                             force=force) for options, force in KEYS]
    vmm.qmp.call("blockdev-del", node_name="q")
    image = f"driver=luks,key-secret=k,file.filename={vmm.path('i0')}"
    opens = [subprocess.run(["qemu-io", "--object", f"secret,id=k,data={word}", "--image-opts", image,
                             "-c", "read 0 512"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
             for word in ("word", "other")]
    told = subprocess.run(["qemu-img", "info", "--output=json", "-f", "luks", vmm.path("i0")], text=True,
                          stdout=subprocess.PIPE, check=True).stdout
    return [*zip(KEYS, results), opens, facts(json.loads(told))]


def test_amend_keys():
    """x-blockdev-amend of a LUKS volume does what QEMU's does, word for word."""
    with temporary_folder() as folder:
        mine, yours = both(folder)
        with mine, yours:
            alike(change_keys(mine), change_keys(yours), "keys")


def internal_snapshots(vmm):
    """What each command comes to; then what qemu-img lists."""
    path, said = vmm.path("snap.qcow2"), []
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, "4M"], check=True)
    vmm.qmp.call("blockdev-add", exact={"node-name": "d", "driver": "qcow2",
                                        "file": {"driver": "file", "filename": path}})

    def attempt(command, **arguments):
        try:
            answer = vmm.qmp.call(command, **arguments)
            said.append({k: v for k, v in answer.items() if not k.startswith(("date", "vm-clock"))})
        except Failed as failure:
            said.append(str(failure))
    make, delete = "blockdev-snapshot-internal-sync", "blockdev-snapshot-delete-internal-sync"
    for name in ("one", "two", "one", ""):
        attempt(make, device="d", name=name)
    attempt(make, device="none", name="x")
    attempt("transaction", actions=[{"type": make, "data": {"device": "d", "name": "three"}},
                                    {"type": "abort", "data": {}}])
    attempt("transaction", actions=[{"type": make, "data": {"device": "d", "name": "four"}}])
    attempt(delete, device="d")
    attempt(delete, device="d", name="nine")
    attempt(delete, device="d", name="one", id="2")
    attempt(delete, device="d", name="one")
    vmm.qmp.call("blockdev-del", node_name="d")
    listed = json.loads(subprocess.run(["qemu-img", "info", "--output=json", path], check=True,
                                       stdout=subprocess.PIPE).stdout)["snapshots"]
    good(path)
    return said, [(one["id"], one["name"]) for one in listed]


def test_internal_snapshots():
    with temporary_folder() as folder:
        mine, yours = both(folder)
        with mine, yours:
            ours, theirs = internal_snapshots(mine), internal_snapshots(yours)
            alike(ours, theirs, "internal snapshots")
            check(ours[1] == [("2", "two"), ("3", "four")], f"snapshots: {ours}")


def test_nodes_alike():
    """query-named-block-nodes and query-block of the same images."""
    with temporary_folder() as folder:
        base, top = os.path.join(folder, "base"), os.path.join(folder, "top")
        subprocess.run(["qemu-img", "create", "-q", "-f", "raw", base, str(SIZE)], check=True)
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", top], check=True)
        mine, yours = both(folder)
        with mine, yours:
            answers = []
            for vmm in (mine, yours):
                vmm.qmp.call("blockdev-add", driver="file", node_name="f", filename=top, read_only=True,
                             cache={"direct": False, "no-flush": True})
                vmm.qmp.call("blockdev-add", driver="raw", node_name="b", read_only=True,
                             file={"driver": "file", "filename": base})
                vmm.qmp.call("blockdev-add", driver="qcow2", node_name="t", file="f", backing="b",
                             read_only=True, detect_zeroes="on")
                nodes = {node["node-name"]: node for node in vmm.qmp.call("query-named-block-nodes")}
                answers.append({name: nodes[name] for name in ("f", "b", "t")})
            alike(*answers, "query-named-block-nodes")
            flat = [sorted(node["node-name"] for node in vmm.qmp.call("query-named-block-nodes", flat=True)
                           if node["node-name"] in "fbt" and "backing-image" not in node["image"])
                    for vmm in (mine, yours)]
            alike(*flat, "query-named-block-nodes flat")


def test_write_blocking():
    """A mirror whose target has each write when it ends: nothing is left to copy at the end."""
    with temporary_folder() as folder, Machine(folder, 11) as m:
        m.writer.run()
        m.writer.wrote(60)
        m.qmp.call("drive-mirror", device="d0", job_id="j", target=m.path("copy"), sync="full",
                   format="qcow2", copy_mode="write-blocking", granularity=262144)
        m.qmp.wait_event("BLOCK_JOB_READY")
        m.writer.wrote(60)
        model = m.writer.rest()
        m.qmp.call("block-job-cancel", device="j")
        m.completed("j")
        same(m.path("copy"), model, folder, "the cancelled mirror")
        m.writer.run()
        m.qmp.call("drive-mirror", device="d0", job_id="k", target=m.path("copy2"), sync="full",
                   format="raw", copy_mode="write-blocking")
        m.writer.wrote(30)
        m.qmp.wait_event("BLOCK_JOB_READY")
        m.writer.wrote(30)
        m.qmp.call("job-complete", id="k")
        m.completed("k")
        m.writer.wrote(30)
        check(m.image() == m.path("copy2"), f"the disk is on {m.image()}")
        refused(m.qmp, "Invalid parameter", "drive-mirror", device="d0", target="x", sync="full",
                copy_mode="fast")
        same(m.path("copy2"), m.end(), folder, "the mirror", "raw")


def begin_grouped(m, second, **more):
    """Two backups that end together; the second with further arguments."""
    m.qmp.call("transaction", properties={"completion-mode": "grouped"}, actions=[
        {"type": "drive-backup", "data": {"device": "d0", "job-id": "one", "sync": "incremental",
                                          "bitmap": "b", "target": m.path("one"), "format": "qcow2"}},
        {"type": "drive-backup", "data": {"device": "e", "job-id": "two", "sync": "full",
                                          "target": second, "format": "raw", **more}}])


def test_grouped():
    with temporary_folder() as folder, Machine(folder, 12) as m:
        m.writer.run()
        m.writer.wrote(30)
        m.writer.rest()
        other = m.path("other")
        subprocess.run(["qemu-img", "create", "-q", "-f", "raw", other, "8M"], check=True)
        m.qmp.call("blockdev-add", driver="raw", node_name="e", file={"driver": "file", "filename": other})
        m.qmp.call("block-dirty-bitmap-add", node="d0", name="b")
        m.writer.run()
        m.writer.wrote(20)
        # One is given up: so is the other, and the bitmap still has what it would have copied.
        begin_grouped(m, m.path("two"), **{"speed": 65536})
        for _ in range(200):
            states = {job["id"]: job["status"] for job in m.qmp.call("query-jobs")}
            if states.get("one") == "waiting":
                break
            time.sleep(0.02)
        check(states == {"one": "waiting", "two": "running"}, f"they do not wait: {states}")
        m.qmp.call("job-cancel", id="two")
        for _ in range(2):
            m.qmp.wait_event("BLOCK_JOB_CANCELLED")
        check(m.qmp.call("query-jobs") == [], "a job is left")
        # Both go well; one wants to be finalized, and so both wait.
        moment = m.writer.rest()
        subprocess.run(["qemu-img", "create", "-q", "-f", "raw", m.path("one"), str(SIZE)], check=True)
        begin_grouped(m, m.path("two"), **{"auto-finalize": False})
        m.writer.run()
        m.qmp.wait_event("BLOCK_JOB_PENDING")
        check({job["status"] for job in m.qmp.call("query-jobs")} == {"pending"}, "one did not wait")
        m.qmp.call("job-finalize", id="two")
        names = {m.qmp.wait_event("BLOCK_JOB_COMPLETED")["data"]["device"] for _ in range(2)}
        check(names == {"one", "two"}, f"{names} ended")
        good(m.path("one"))
        refused(m.qmp, "Invalid parameter", "transaction", actions=[],
                properties={"completion-mode": "none"})
        m.qmp.call("blockdev-del", node_name="e")
        check(len(moment) == SIZE, "the model")
        same(m.disk, m.end(), folder, "the disk")


main(test_create, test_amend, test_amend_keys, test_internal_snapshots, test_nodes_alike, test_write_blocking,
     test_grouped)
