#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""kill -9 of berthd or of a VMM at random moments of block jobs, snapshots and backups: kill_images.py [SEED]

Whatever had happened by then, the daemon knows the image that the VMM has, qemu-img finds no error in it, what it
holds is what the guest's disk held, no job is left that nobody knows of, and the domain starts again.
"""
import json
import os
import random
import signal
import subprocess
import sys
import time

from private import Daemon

XML = """<domain type='qemu'><name>hit</name><memory unit='MiB'>16</memory>
<os><type arch='x86_64' machine='q35'>hvm</type></os><devices><disk type='file'><driver name='qemu' type='qcow2'/>
<source file='{image}'/><target dev='vda' bus='virtio'/></disk></devices></domain>"""
PUSH = "<domainbackup><disks><disk name='vda'><target file='{}'/></disk></disks></domainbackup>"
LIMIT = 60


class Victim:
    """A domain with 32 MiB of data in a disk, anew for each blow."""

    def __init__(self, daemon, number):
        self.daemon, self.folder = daemon, os.path.join(daemon.top, f"round{number}")
        os.mkdir(self.folder)
        self.original, self.image = self.path("original.raw"), self.path("disk.qcow2")
        with open(self.original, "wb") as file:
            file.write(os.urandom(1 << 20) * 32)
        daemon.run("qemu-img", "convert", "-O", "qcow2", self.original, self.image)
        definition = self.path("hit.xml")
        with open(definition, "w") as file:
            file.write(XML.format(image=self.image))
        daemon.virsh("define", definition)
        daemon.virsh("start", "hit", "--paused")

    def path(self, name):
        return os.path.join(self.folder, name)

    def pid(self):
        uuid = self.daemon.said("domuuid", "hit")
        with open(os.path.join(self.daemon.top, "state", "run", uuid, "pid")) as file:
            return int(file.read())

    def known(self, *flags):
        """The image of the disk that the daemon tells of."""
        return self.daemon.said("domblklist", "hit", *flags).splitlines()[2].split()[1]

    def qmp(self, command):
        return json.loads(self.daemon.said("qemu-monitor-command", "hit", json.dumps({"execute": command})))["return"]

    def opened(self):
        """The image that the VMM has."""
        return next(entry["inserted"]["file"] for entry in self.qmp("query-block") if "inserted" in entry)

    def settled(self):
        """Backups and what is left of other jobs have ended, and daemon and VMM agree on the image."""
        jobs = [job for job in self.qmp("query-jobs") if job["type"] == "backup" or job["status"] == "concluded"]
        return not jobs and self.known() == self.opened()

    def prepare(self, action):
        if action in ("blockcommit", "snapshot-delete"):
            self.daemon.virsh("snapshot-create-as", "hit", "before", "--disk-only")

    def begin(self, action):
        """A virsh that does it; it may be told that the daemon or the VMM is gone."""
        document = self.path("push.xml")
        with open(document, "w") as file:
            file.write(PUSH.format(self.path("pushed.qcow2")))
        words = {"blockcopy": ["vda", self.path("copy.qcow2"), "--wait", "--pivot"],
                 "blockcommit": ["vda", "--active", "--wait", "--pivot"],
                 "snapshot-create-as": ["now", "--disk-only"],
                 "snapshot-delete": ["before", "--metadata"],
                 "backup-begin": [document]}[action]
        return subprocess.Popen(["virsh", "-c", self.daemon.uri(), action, "hit", *words], stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def check_image(self, image):
        checked = subprocess.run(["qemu-img", "check", "-q", image], stdout=subprocess.PIPE, text=True,
                                 stderr=subprocess.STDOUT)
        # 3: clusters that nothing refers to, which a VMM that is killed may leave.
        assert checked.returncode in (0, 3), checked.stdout
        self.daemon.run("qemu-img", "compare", "-q", self.original, image)

    def check_pushed(self, ended):
        """A backup is whole or, with a VMM that has `ended`, gone."""
        pushed = self.path("pushed.qcow2")
        whole = "Completed" in self.daemon.virsh("domjobinfo", "hit", "--completed", check=False).stdout
        if whole or (ended and os.path.exists(pushed)):
            self.check_image(pushed)

    def end(self):
        if self.daemon.said("domstate", "hit") != "shut off":
            self.daemon.virsh("destroy", "hit")
        self.check_image(self.known("--inactive"))
        self.daemon.virsh("start", "hit", "--paused")
        assert self.known() == self.opened()
        assert self.qmp("query-jobs") == []
        self.daemon.virsh("destroy", "hit")
        self.daemon.virsh("undefine", "hit", "--snapshots-metadata")


def hit_daemon(victim):
    pid = victim.pid()

    def blow():
        victim.daemon.stop(signal.SIGKILL)

    def after():
        victim.daemon.start()
        victim.daemon.wait(victim.settled, "what the daemon knows is not what the VMM has")
        assert victim.pid() == pid and victim.daemon.said("domstate", "hit") == "paused"
    return blow, after


def hit_vmm(victim):
    pid = victim.pid()

    def blow():
        os.kill(pid, signal.SIGKILL)

    def after():
        victim.daemon.wait(lambda: victim.daemon.said("domstate", "hit") == "shut off", "the VMM's end is not seen")
    return blow, after


def main():
    seed = int((sys.argv[1:] or [time.time_ns() % 100000])[0])
    print(f"seed {seed}", flush=True)
    chance = random.Random(seed)
    actions = ("blockcopy", "blockcommit", "snapshot-create-as", "snapshot-delete", "backup-begin")
    with Daemon(quiet=True) as daemon:
        for number, (action, hit) in enumerate((a, h) for a in actions for h in (hit_daemon, hit_vmm)):
            victim = Victim(daemon, number)
            victim.prepare(action)
            blow, after = hit(victim)
            delay = chance.uniform(0, 0.3)
            print(f"{action}: {hit.__name__} after {delay:.3f} s", flush=True)
            client = victim.begin(action)
            time.sleep(delay)
            blow()
            after()
            client.wait(LIMIT)
            victim.check_pushed(hit is hit_vmm)
            victim.end()


main()
