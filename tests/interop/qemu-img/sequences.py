#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Random operations on two qcow2 chains, on one by berth-img and on the other by qemu-img, give the
same contents: writes, zeroes, discards, snapshots, resize, commit, rebase. Each tool then also goes on
with the other's chain: sequences.py [SEED]"""
import json
import os
import random
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from peer import THEIRS, Failed, ours, run  # noqa: E402
from guest import temporary_folder  # noqa: E402

MIB = 1 << 20
LAYOUTS = ["cluster_size=65536", "cluster_size=4096,refcount_bits=8", "extended_l2=on",
           "lazy_refcounts=on,compression_type=zstd",
           "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=1,cluster_size=4096"]
SECRET = ["--object", "secret,id=s,data=swordfish"]


def io_directly(folder, image, commands):
    args = [part for command in commands for part in ("-c", command)]
    run("qemu-io", "-d", "unmap", *args, *image, cwd=folder)


def io_by_us(folder, image, commands):
    """The same requests, through our driver: qemu-io only carries them to our server."""
    sock = os.path.join(folder, "sock")
    server = subprocess.Popen([ours(), "serve", "--discard=unmap", "-k", sock, *image], cwd=folder)
    try:
        deadline = time.monotonic() + 20
        while not os.path.exists(sock) and time.monotonic() < deadline:
            time.sleep(0.005)
        args = [part for command in commands for part in ("-c", command)]
        run("qemu-io", "-f", "raw", "-d", "unmap", *args, f"nbd+unix://?socket={sock}")
        if server.wait(20) != 0:
            raise Failed("the server failed")
    finally:
        server.kill()
        server.wait()


class Chains:
    """Two folders with a chain each; `tools` says who works on which."""

    def __init__(self, folder, layout):
        self.folders = [os.path.join(folder, name) for name in ("mine", "yours")]
        self.tools = [(ours(), io_by_us), (THEIRS, io_directly)]
        self.secret = SECRET if "key-secret" in layout else []
        for path in self.folders:
            os.mkdir(path)
        self.both("create", "-q", "-f", "qcow2", "-o", layout, "base", "12M", image=None)
        self.both("create", "-q", "-f", "qcow2", "-o", layout, "-b", self.base, "-F", "qcow2", "top",
                  image=None)

    def base(self, path):
        """The backing file as `top` is to name it."""
        if not self.secret:
            return "base"
        return json.dumps({"driver": "qcow2", "encrypt.key-secret": "s",
                           "file": {"driver": "file", "filename": os.path.join(path, "base")}},
                          separators=(",", ":")).join(["json:", ""])

    def image(self, path):
        """How to say which image: the last arguments of a command."""
        if not self.secret:
            return ["-f", "qcow2", path]
        return [*self.secret, "--image-opts", f"driver=qcow2,encrypt.key-secret=s,file.filename={path}"]

    def both(self, *args, image="top"):
        for path, (tool, _) in zip(self.folders, self.tools):
            values = [arg(path) if callable(arg) else arg for arg in args]
            where = self.image(image) if image else []
            if values[0] == "snapshot" and not self.secret:
                where = where[2:]  # it has no -f
            run(tool, values[0], *(self.secret if not image else []), *values[1:], *where, cwd=path)

    def grow(self):
        for path, (tool, _) in zip(self.folders, self.tools):
            run(tool, "resize", "-q", *self.image("top"), "+1M", cwd=path)

    def io(self, commands):
        for path, (_, io) in zip(self.folders, self.tools):
            io(path, self.image("top"), commands)

    def same(self, what):
        for tool in (ours(), THEIRS):
            tops = [self.image(os.path.join(path, "top")) for path in self.folders]
            formats = [] if self.secret else ["-F", "qcow2"]
            compared = run(tool, "compare", *formats, *tops[0], tops[1][-1], status=None)
            if compared.status != 0:
                raise Failed(f"{what}: {compared.out}{compared.err}")
        for path in self.folders:
            for image in ("base", "top"):
                run(THEIRS, "check", "-q", *self.image(image), cwd=path)

    def names(self):
        info = json.loads(run(THEIRS, "info", "--output=json", "top", cwd=self.folders[0]).out)
        return [s["name"] for s in info.get("snapshots", [])], info["virtual-size"]


def requests(rng, size):
    commands = []
    for _ in range(rng.randint(1, 6)):
        unit = rng.choice([512, 4096, 65536])
        offset = rng.randrange(size // unit) * unit
        length = min(unit * rng.randint(1, 40), size - offset)
        commands.append(rng.choice([f"write -P {rng.randrange(1, 256)} {offset} {length}"] * 4 +
                                   [f"write -z {offset} {length}", f"write -z -u {offset} {length}"]))
    return commands


def step(chains, rng, turn):
    names, size = chains.names()
    kind = rng.choice(["io"] * 6 + ["create", "apply", "delete", "grow", "commit", "rebase"])
    if kind == "create" and len(names) < 4:
        chains.both("snapshot", "-c", f"s{turn}")
    elif kind in ("apply", "delete") and names:
        chains.both("snapshot", "-a" if kind == "apply" else "-d", rng.choice(names))
    elif kind == "grow" and size < 24 * MIB:
        chains.grow()
    elif kind == "commit" and not names:
        chains.both("commit", "-q")
    elif kind == "rebase" and not names:
        chains.both("rebase", "-b", "")
        chains.both("rebase", "-u", "-b", chains.base, "-F", "qcow2")
    else:
        kind = "io"
        chains.io(requests(rng, size))
    return kind


def sequence(layout, seed):
    rng = random.Random(seed)
    with temporary_folder() as folder:
        chains = Chains(folder, layout)
        turns = 16 if chains.secret else 40
        for turn in range(turns):
            kind = step(chains, rng, turn)
            chains.same(f"{layout}, seed {seed}, turn {turn} ({kind})")
            if turn == turns // 2:
                chains.tools.reverse()


def main():
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else random.SystemRandom().randrange(1 << 30)
    failed = False
    for layout in LAYOUTS:
        try:
            sequence(layout, seed)
            print(f"ok - {layout} (seed {seed})", flush=True)
        except Failed as failure:
            failed = True
            print(f"not ok - {layout}: {failure}", flush=True)
    sys.exit(failed)


main()
