#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Block jobs and chains of a machine whose disk is being written: mirror, commit, stream, backup,
snapshots, transactions."""
import os
import subprocess

from block_machine import MIB, SIZE, Machine, good, same
from guest import check, main, refused, temporary_folder


def test_mirror():
    with temporary_folder() as folder, Machine(folder) as m:
        m.writer.run()
        m.writer.wrote(60)
        m.qmp.call("drive-mirror", device="d0", target=m.path("copy"), sync="full", format="qcow2")
        refused(m.qmp, "busy", "drive-mirror", device="d0", job_id="x", target=m.path("no"),
                sync="full")
        m.qmp.wait_event("BLOCK_JOB_READY")
        m.writer.wrote(40)
        m.qmp.call("block-job-complete", device="d0")
        m.completed()
        m.writer.wrote(40)
        check(m.image() == m.path("copy"), f"the disk is on {m.image()} after the mirror")
        check(m.qmp.call("query-block-jobs") == [], "a job is left")
        model = m.end()
        same(m.path("copy"), model, folder, "the mirror")
        good(m.path("copy"))


def test_mirror_cancel():
    """A mirror that is ready and then cancelled is a copy of that moment; one that is not is gone."""
    with temporary_folder() as folder, Machine(folder, 2) as m:
        m.writer.run()
        m.writer.wrote(60)
        m.qmp.call("drive-mirror", device="d0", job_id="j", target=m.path("copy"), sync="full",
                   format="raw")
        m.qmp.wait_event("BLOCK_JOB_READY")
        model = m.writer.rest()
        m.qmp.call("block-job-cancel", device="j")
        m.completed("j")
        same(m.path("copy"), model, folder, "the cancelled mirror", "raw")
        m.writer.run()
        m.qmp.call("drive-mirror", device="d0", job_id="k", target=m.path("copy2"), sync="full",
                   format="qcow2", speed=1000000)
        m.qmp.call("job-pause", id="k")
        check(m.qmp.call("query-jobs")[0]["status"] in ("paused", "running"), "it does not pause")
        refused(m.qmp, "already paused", "job-pause", id="k")
        m.qmp.call("job-resume", id="k")
        m.qmp.call("block-job-set-speed", device="k", speed=2000000)
        m.qmp.call("job-cancel", id="k")
        m.qmp.wait_event("BLOCK_JOB_CANCELLED")
        refused(m.qmp, "not found", "job-cancel", id="k")
        same(m.disk, m.end(), folder, "the disk")
        good(m.disk)


def test_snapshots_and_commit():
    """Two overlays; the middle goes down into the base, then the active one, while writes go on."""
    with temporary_folder() as folder, Machine(folder, 3) as m:
        m.writer.run()
        for name in ("one", "two"):
            m.writer.wrote(50)
            m.qmp.call("blockdev-snapshot-sync", device="d0", snapshot_file=m.path(name),
                       format="qcow2", snapshot_node_name=name)
        m.writer.wrote(50)
        check(m.image() == m.path("two"), f"the disk is on {m.image()} after two snapshots")
        m.qmp.call("block-commit", device="d0", job_id="middle", top_node="one", base=m.disk)
        m.completed("middle")
        m.writer.wrote(30)
        info = m.qmp.call("query-block")[0]["inserted"]
        check(info["backing_file_depth"] == 1 and info["backing_file"] == m.disk,
              f"after the commit of the middle: {info}")
        m.qmp.call("block-commit", device="d0", job_id="active")
        m.qmp.wait_event("BLOCK_JOB_READY")
        m.writer.wrote(30)
        m.qmp.call("block-job-complete", device="active")
        m.completed("active")
        m.writer.wrote(30)
        check(m.image() == m.disk, f"the disk is on {m.image()} after the commit")
        same(m.disk, m.end(), folder, "the base")
        good(m.disk)


def test_stream():
    with temporary_folder() as folder, Machine(folder, 4) as m:
        m.writer.run()
        for name in ("one", "two"):
            m.writer.wrote(50)
            m.qmp.call("blockdev-snapshot-sync", device="d0", snapshot_file=m.path(name),
                       snapshot_node_name=name)
        m.writer.wrote(50)
        m.qmp.call("block-stream", device="d0", job_id="s", base=m.disk)
        m.completed("s")
        check(m.qmp.call("query-block")[0]["inserted"]["backing_file"] == m.disk, "stream to a base")
        m.writer.wrote(30)
        m.qmp.call("block-stream", device="d0", job_id="s", auto_dismiss=False, auto_finalize=False)
        m.qmp.wait_event("BLOCK_JOB_PENDING")
        check(m.qmp.call("query-jobs")[0]["status"] == "pending", "it does not wait for finalize")
        m.qmp.call("job-finalize", id="s")
        m.completed("s")
        check(m.qmp.call("query-jobs")[0]["status"] == "concluded", "it does not stay")
        m.qmp.call("job-dismiss", id="s")
        check("backing_file" not in m.qmp.call("query-block")[0]["inserted"], "a backing file is left")
        m.writer.wrote(30)
        model = m.end()
        os.unlink(m.disk)
        os.unlink(m.path("one"))
        same(m.path("two"), model, folder, "the streamed image")
        good(m.path("two"))


def test_backup():
    """Full and incremental backups are the disk at the moment they began."""
    with temporary_folder() as folder, Machine(folder, 5) as m:
        m.writer.run()
        m.writer.wrote(80)
        moment = m.writer.rest()
        m.qmp.call("transaction", actions=[
            {"type": "block-dirty-bitmap-add", "data": {"node": "d0", "name": "b"}},
            {"type": "drive-backup", "data": {"device": "d0", "job-id": "full", "sync": "full",
                                              "target": m.path("full"), "format": "qcow2"}}])
        m.writer.run()
        m.completed("full")
        same(m.path("full"), moment, folder, "the full backup")
        below = m.path("full")
        for step in range(2):
            m.writer.wrote(30)
            moment = m.writer.rest()
            path = m.path(f"inc{step}")
            subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", below, "-F", "qcow2", path],
                           check=True)
            m.qmp.call("drive-backup", device="d0", job_id="inc", sync="incremental", bitmap="b",
                       target=path, format="qcow2", mode="existing")
            m.writer.run()
            m.completed("inc")
            same(path, moment, folder, f"incremental backup {step}")
            below = path
        good(below)
        refused(m.qmp, "valid bitmap", "drive-backup", device="d0", job_id="inc", sync="incremental",
                target=below, mode="existing")
        m.qmp.call("block-dirty-bitmap-remove", node="d0", name="b")
        same(m.disk, m.end(), folder, "the disk")


def test_fleecing():
    """sync=none: the target, shown over NBD, stays as it was while the disk goes on."""
    with temporary_folder() as folder, Machine(folder, 6) as m:
        m.writer.run()
        m.writer.wrote(60)
        moment = m.writer.rest()
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", m.path("temp"), str(SIZE)], check=True)
        m.qmp.call("blockdev-add", driver="qcow2", node_name="temp", backing="d0",
                   file={"driver": "file", "filename": m.path("temp")})
        m.qmp.call("blockdev-backup", device="d0", target="temp", job_id="f", sync="none")
        m.qmp.call("block-export-add", type="nbd", id="t", node_name="temp", name="then")
        m.writer.run()
        m.writer.wrote(60)
        same(f"nbd+unix:///then?socket={m.path('nbd')}", moment, folder, "the moment", "raw")
        m.qmp.call("block-export-del", id="t")
        m.qmp.call("block-job-cancel", device="f")
        m.qmp.wait_event("BLOCK_JOB_CANCELLED")
        m.qmp.call("blockdev-del", node_name="temp")
        same(m.disk, m.end(), folder, "the disk")


def test_transaction_undone():
    with temporary_folder() as folder, Machine(folder, 7) as m:
        m.writer.run()
        m.writer.wrote(20)
        refused(m.qmp, "Abort", "transaction", actions=[
            {"type": "blockdev-snapshot-sync", "data": {"device": "d0", "snapshot-file": m.path("o")}},
            {"type": "block-dirty-bitmap-add", "data": {"node": "d0", "name": "b"}},
            {"type": "drive-backup", "data": {"device": "d0", "job-id": "x", "sync": "full",
                                              "target": m.path("t"), "format": "raw"}},
            {"type": "abort"}])
        check(m.image() == m.disk, f"the disk is on {m.image()} after a transaction that failed")
        m.writer.wrote(20)
        refused(m.qmp, "unexpected", "transaction", actions=[
            {"type": "block-dirty-bitmap-clear", "data": {"node": "d0", "name": "b", "x": 1}}])
        refused(m.qmp, "Invalid parameter", "transaction", actions=[
            {"type": "drive-backup", "data": {"device": "d0", "sync": "most", "target": "x"}}])
        same(m.disk, m.end(), folder, "the disk")
        good(m.disk)


def test_nodes():
    """blockdev-add of separate nodes, snapshot by nodes, reopen, threshold, resize, blockdev-del."""
    with temporary_folder() as folder, Machine(folder, 8) as m:
        m.writer.run()
        m.writer.wrote(10)
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", m.path("o"), str(SIZE)], check=True)
        m.qmp.call("blockdev-add", driver="file", node_name="of", filename=m.path("o"))
        m.qmp.call("blockdev-add", driver="qcow2", node_name="o", file="of", backing=None)
        refused(m.qmp, "in use", "blockdev-del", node_name="of")
        m.qmp.call("blockdev-snapshot", node="d0", overlay="o")
        m.writer.wrote(20)
        refused(m.qmp, "in use", "blockdev-del", node_name="o")
        m.qmp.call("block-set-write-threshold", node_name="of", write_threshold=1)
        m.writer.wrote(5)
        event = m.qmp.wait_event("BLOCK_WRITE_THRESHOLD")
        check(event["data"]["node-name"] == "of", f"threshold: {event}")
        m.qmp.call("block-commit", device="d0", job_id="c")
        m.qmp.wait_event("BLOCK_JOB_READY")
        m.qmp.call("job-complete", id="c")
        m.completed("c")
        m.writer.wrote(10)
        m.qmp.call("blockdev-del", node_name="o")
        m.qmp.call("blockdev-del", node_name="of")
        m.writer.rest()
        m.qmp.call("block_resize", device="d0", size=SIZE + MIB)
        check(m.qmp.call("query-block")[0]["inserted"]["image"]["virtual-size"] == SIZE + MIB, "resize")
        m.qmp.call("blockdev-add", driver="raw", node_name="r", read_only=True,
                   file={"driver": "file", "filename": m.path("o")})
        m.qmp.call("blockdev-reopen", options=[{"driver": "raw", "node-name": "r", "read-only": False}])
        nodes = {n["node-name"]: n for n in m.qmp.call("query-named-block-nodes")}
        check(nodes["r"]["ro"] is False, "reopen did not make it writable")
        m.qmp.call("blockdev-del", node_name="r")
        model = m.end() + bytes(MIB)
        same(m.disk, model, folder, "the disk")


main(test_mirror, test_mirror_cancel, test_snapshots_and_commit, test_stream, test_backup,
     test_fleecing, test_transaction_undone, test_nodes)
