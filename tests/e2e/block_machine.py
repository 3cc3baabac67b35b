# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine whose disk is being written: by a qemu-io on the machine's own NBD server, which goes the
way that a device's requests go; a model in memory knows what must be there."""
import os
import random
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import tinybios  # noqa: E402
from guest import Failed, Guest, Qmp, check, program  # noqa: E402

MIB = 1 << 20
SIZE = 48 * MIB


class Writer:
    """Writes at random places of an NBD export until it is told to rest."""

    def __init__(self, uri, seed):
        self.model = bytearray(SIZE)
        self.random = random.Random(seed)
        self.process = subprocess.Popen(["qemu-io", "-f", "raw", "-d", "unmap", uri], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT)
        self.go = threading.Event()
        self.resting = threading.Event()
        self.end = False
        self.problem = None
        self.count = 0
        self.thread = threading.Thread(target=self._work)
        self.thread.start()

    def _one(self):
        length = self.random.choice([512, 4096, 65536, 300000 // 512 * 512])
        offset = self.random.randrange((SIZE - length) // 512) * 512
        byte = self.random.randrange(1, 256)
        kind = self.random.choice(["write", "write", "write", "zero"])
        command = f"write -P {byte} {offset} {length}" if kind == "write" \
            else f"write -z -u {offset} {length}"
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        while line and "wrote" not in line and "failed" not in line and "rror" not in line:
            line = self.process.stdout.readline()
        if "wrote" not in line:
            self.problem = f"{command}: {line}"
        self.process.stdout.readline()
        self.model[offset:offset + length] = bytes([byte if kind == "write" else 0]) * length
        self.count += 1

    def _work(self):
        while not self.end:
            if not self.go.is_set() or self.problem:
                self.resting.set()
                self.go.wait(0.02)
                continue
            self._one()

    def run(self):
        self.resting.clear()
        self.go.set()

    def rest(self):
        """No write is under way; the model as it is then."""
        self.go.clear()
        self.resting.clear()
        check(self.resting.wait(30), "the writer does not come to rest")
        check(not self.problem, f"a guest's write failed: {self.problem}")
        return bytes(self.model)

    def wrote(self, count):
        """Wait until so many more writes have been made."""
        goal = self.count + count
        for _ in range(6000):
            if self.count >= goal or self.problem:
                break
            threading.Event().wait(0.01)
        check(self.count >= goal, f"the writer is stuck: {self.problem}")

    def close(self):
        self.end = True
        self.go.set()
        self.thread.join(30)
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class Machine:
    """A paused machine with one disk, an NBD server, and a writer on it."""

    def __init__(self, folder, seed=1, fmt="qcow2", drive="if=virtio"):
        self.folder = folder
        bios = tinybios.write(os.path.join(folder, "bios"), tinybios.HALT)
        self.disk = self.path("disk." + fmt)
        subprocess.run(["qemu-img", "create", "-q", "-f", fmt, self.disk, str(SIZE)], check=True)
        qmp = self.path("qmp")
        self.guest = Guest([program("berth-vmm"), "-nodefaults", "-display", "none", "-accel", "soft",
                            "-m", "16", "-bios", bios, "-S", "-drive",
                            f"file={self.disk},format={fmt},id=d0,{drive}",
                            "-qmp", f"unix:{qmp},server=on,wait=off"])
        self.qmp = Qmp(qmp, 20)
        self.qmp.call("nbd-server-start", addr={"type": "unix", "data": {"path": self.path("nbd")}})
        self.qmp.call("nbd-server-add", device="d0", name="w", writable=True)
        self.writer = Writer(f"nbd+unix:///w?socket={self.path('nbd')}", seed)

    def path(self, name):
        return os.path.join(self.folder, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.writer.close()
        self.guest.kill()

    def end(self):
        """Quit in good order; the writer first."""
        model = self.writer.rest()
        self.writer.close()
        self.qmp.call("quit")
        check(self.guest.wait(30) == 0, "the VMM's exit status is not 0")
        return model

    def completed(self, job="d0"):
        event = self.qmp.wait_event("BLOCK_JOB_COMPLETED")
        check(event["data"]["device"] == job, f"job {event['data']['device']} ended, not {job}")
        check("error" not in event["data"], f"{job}: {event['data'].get('error')}")
        return event["data"]

    def image(self):
        """The file that the disk is on now."""
        return self.qmp.call("query-block")[0]["inserted"]["file"]


def same(path, model, folder, what, fmt=None):
    raw = os.path.join(folder, "compare.raw")
    command = ["qemu-img", "convert", "-U", "-O", "raw"] + (["-f", fmt] if fmt else [])
    subprocess.run([*command, path, raw], check=True)
    with open(raw, "rb") as file:
        there = file.read()
    if there != model:
        first = next(i for i in range(len(model)) if there[i] != model[i])
        raise Failed(f"{what}: differs from byte {first} on")


def good(path, status=0):
    done = subprocess.run(["qemu-img", "check", "-q", path], capture_output=True, text=True)
    check(done.returncode == status, f"qemu-img check {path}: {done.stdout}{done.stderr}")
