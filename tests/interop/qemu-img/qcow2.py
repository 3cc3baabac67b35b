#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""qcow2 against Debian's qemu-img, both directions, over a matrix of creation options.

For each case a random sequence of operations runs on our driver and on a model in memory; then
qemu-img must find no error, read the same bytes, and say the same in `info` and `map`. Images that
qemu-img made must read the same here. Usage: qcow2.py [CASE...]
"""
import json
import os
import random
import subprocess
import sys
import tempfile

BUILD = os.environ.get("BERTH_BUILD", "build")
TOOL = os.path.join(BUILD, "tests/lib/block-tool")
MIB = 1 << 20

CASES = {
    "default": {},
    "v2": {"compat": "0.10"},
    "cluster-512": {"cluster_size": "512"},
    "cluster-4k": {"cluster_size": "4k"},
    "cluster-2m": {"cluster_size": "2M"},
    "refcount-1": {"refcount_bits": "1"},
    "refcount-2": {"refcount_bits": "2", "cluster_size": "4k"},
    "refcount-8": {"refcount_bits": "8"},
    "refcount-32": {"refcount_bits": "32", "cluster_size": "1k"},
    "refcount-64": {"refcount_bits": "64", "cluster_size": "512"},
    "lazy": {"lazy_refcounts": "on"},
    "extended": {"extended_l2": "on"},
    "extended-16k": {"extended_l2": "on", "cluster_size": "16k"},
    "zstd": {"compression_type": "zstd"},
    "data-file": {"data_file": "DATA"},
    "data-file-raw": {"data_file": "DATA", "data_file_raw": "on"},
    "metadata": {"preallocation": "metadata"},
    "backing": {"backing_file": "base.qcow2", "backing_fmt": "qcow2"},
    "backing-extended": {"backing_file": "base.qcow2", "backing_fmt": "qcow2",
                         "extended_l2": "on"},
    "backing-v2": {"backing_file": "base.qcow2", "backing_fmt": "qcow2", "compat": "0.10"},
}


def run(*command, check=True):
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if check and result.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: {result.stdout}{result.stderr}")
    return result


def fill(length, seed):
    state = (seed * 2654435761 + 12345) & 0xffffffff
    out = bytearray(length)
    for i in range(0, length, 16):
        state = (state * 1664525 + 1013904223) & 0xffffffff
        out[i:i + 16] = bytes([state >> 24]) * len(out[i:i + 16])
    return bytes(out)


class Tool:
    """A block-tool with an open image."""

    def __init__(self, path, *flags, form="qcow2"):
        self.process = subprocess.Popen([TOOL, "open", form, path, *flags], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __call__(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        assert answer and not answer.startswith("error"), f"{line}: {answer}"
        return answer

    def map(self):
        rows = []
        self.process.stdin.write("map\n")
        self.process.stdin.flush()
        while (line := self.process.stdout.readline().strip()) != "ok":
            assert line and not line.startswith("error"), line
            rows.append(tuple(int(x) for x in line.split()))
        return rows

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(60) == 0
        self.process.stdout.close()


def operate(tool, model, rng, steps, snapshots, backed, version2):
    """Random operations on both; the model is what a guest must read."""
    for _ in range(steps):
        size = len(model)
        kind = rng.choice(["write"] * 6 + ["zero", "unmap", "discard", "flush", "snapshot", "apply",
                                           "delete", "writec", "grow"])
        align = rng.choice([512, 512, 4096, 65536])
        offset = rng.randrange(size // align) * align
        length = min(align * rng.randint(1, max(1, 300000 // align)), size - offset)
        seed = rng.randrange(1 << 30)
        if kind == "write":
            tool(f"write {offset} {length} {seed}")
            model[offset:offset + length] = fill(length, seed)
        elif kind in ("zero", "unmap"):
            tool(f"{kind} {offset} {length}")
            model[offset:offset + length] = bytes(length)
        elif kind == "discard" and not backed:
            # Whole clusters read as zeroes afterwards, the rest may stay: make both the same.
            tool(f"discard {offset} {length}")
            tool(f"zero {offset} {length}")
            model[offset:offset + length] = bytes(length)
        elif kind == "flush":
            tool("flush")
        elif kind == "writec" and snapshots is not None:
            offset = rng.randrange(size // (2 * MIB)) * 2 * MIB
            tool(f"writec {offset} {2 * MIB} {seed}")
            model[offset:offset + 2 * MIB] = fill(2 * MIB, seed)
        elif kind == "snapshot" and snapshots is not None and len(snapshots) < 3:
            name = f"s{rng.randrange(1 << 20)}"
            tool(f"snapshot create {name}")
            snapshots[name] = bytes(model)
        elif kind == "apply" and snapshots:
            name = rng.choice(sorted(snapshots))
            tool(f"snapshot apply {name}")
            model[:] = snapshots[name]
        elif kind == "delete" and snapshots:
            name = rng.choice(sorted(snapshots))
            tool(f"snapshot delete {name}")
            del snapshots[name]
        elif kind == "grow" and not version2 and size < 24 * MIB:
            tool(f"resize {size + 2 * MIB}")
            model.extend(bytes(2 * MIB))


def theirs_info(path):
    info = json.loads(run("qemu-img", "info", "--output=json", path).stdout)
    # Where it is and how the host stores it is no property of the image.
    for key in ("filename", "actual-size", "full-backing-filename", "children"):
        info.pop(key, None)
    return info


def compare_info(path):
    tool = Tool(path, "ro")
    ours = json.loads(tool("info"))
    tool.close()
    for key in ("filename", "actual-size", "full-backing-filename"):
        ours.pop(key, None)
    theirs = theirs_info(path)
    assert ours == theirs, f"info differs:\n  ours   {ours}\n  theirs {theirs}"


def compare_map(path):
    """Where data is. (What of it is holes of the host's file, QEMU guesses by a rule of thumb.)"""
    def merge(rows):
        out = []
        for start, length, data in rows:
            if out and out[-1][2] == data:
                out[-1] = (out[-1][0], out[-1][1] + length, data)
            else:
                out.append((start, length, data))
        return out
    tool = Tool(path, "ro")
    ours = merge((start, length, bool(flags & 1)) for start, length, _, flags in tool.map())
    tool.close()
    theirs = merge((e["start"], e["length"], e["data"]) for e in
                   json.loads(run("qemu-img", "map", "--output=json", path).stdout))
    assert ours == theirs, f"map differs:\n  ours   {ours}\n  theirs {theirs}"


def read_theirs(path, out):
    run("qemu-img", "convert", "-O", "raw", path, out)
    with open(out, "rb") as file:
        return file.read()


def same(found, model, what):
    found = found[:len(model)] if len(found) > len(model) else found
    if found != bytes(model):
        at = next(i for i in range(len(model)) if i >= len(found) or found[i] != model[i])
        raise AssertionError(f"{what}: first difference at {at:#x} of {len(model):#x} "
                             f"(length {len(found):#x})")


def has_direct(folder):
    path = os.path.join(folder, "direct")
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_DIRECT))
        return True
    except OSError:
        return False


def ours_written(name, options, rng):
    """We write, they check and read; then they change it and we read."""
    size = 16 * MIB
    base = None
    if "backing_file" in options:
        run("qemu-img", "create", "-f", "qcow2", "base.qcow2", "9M")
        base = fill(9 * MIB, 77)
        with open("base.raw", "wb") as file:
            file.write(base)
        run("qemu-img", "convert", "-c", "-O", "qcow2", "base.raw", "base.qcow2")
    run(TOOL, "create", "qcow2", "a.qcow2", f"size={size}",
        *(f"{k}={v}" for k, v in options.items()))
    run("qemu-img", "check", "a.qcow2")
    compare_info("a.qcow2")
    model = bytearray(size)
    if base:
        model[:len(base)] = base
    external = "data_file" in options
    snapshots = None if external or options.get("refcount_bits") in ("1", "2") else {}
    for round_ in range(2):
        # The second time past the page cache, where that can be had.
        tool = Tool("a.qcow2", *(["direct"] if round_ and has_direct(".") else []))
        operate(tool, model, rng, 25, snapshots, base is not None, options.get("compat") == "0.10")
        tool.close()
        result = run("qemu-img", "check", "a.qcow2", check=False)
        assert result.returncode == 0, result.stdout + result.stderr
        same(read_theirs("a.qcow2", "out.raw"), model, f"what qemu-img reads, round {round_}")
        tool = Tool("a.qcow2", "ro")
        tool("export out2.raw")
        answer = tool("check")
        tool.close()
        assert "corruptions=0 leaks=0" in answer, answer
        with open("out2.raw", "rb") as file:
            same(file.read(), model, "what we read")
        compare_info("a.qcow2")
        if snapshots is not None:
            for snapshot, content in snapshots.items():
                run("qemu-img", "convert", "-l", f"snapshot.name={snapshot}", "-O", "raw", "a.qcow2",
                    "s.raw")
                with open("s.raw", "rb") as file:
                    same(file.read(), content, f"snapshot {snapshot}")
    compare_map("a.qcow2")


def theirs_written(name, options, rng):
    size = 16 * MIB
    if "preallocation" in options or "backing_file" in options:
        return
    opts = ",".join(f"{k}={v}" for k, v in options.items())
    run("qemu-img", "create", "-f", "qcow2", *(["-o", opts] if opts else []), "b.qcow2", str(size))
    model = bytearray(size)
    commands = []
    if "data_file" not in options:
        commands += ["-c", f"write -c -P 9 {4 * MIB} {2 * MIB}"]
        model[4 * MIB:6 * MIB] = bytes([9]) * (2 * MIB)
    for _ in range(40):
        offset = rng.randrange(size // 4096) * 4096
        length = min(rng.randint(1, 64) * 4096, size - offset)
        value = rng.randrange(1, 256)
        kind = rng.choice(["write", "write", "zero", "unmap"])
        if kind == "write":
            commands += ["-c", f"write -P {value} {offset} {length}"]
            model[offset:offset + length] = bytes([value]) * length
        else:
            commands += ["-c", f"write -z {'-u ' if kind == 'unmap' else ''}{offset} {length}"]
            model[offset:offset + length] = bytes(length)
    run("qemu-io", "-f", "qcow2", *commands, "b.qcow2")
    tool = Tool("b.qcow2", "ro")
    tool("export out.raw")
    answer = tool("check")
    tool.close()
    with open("out.raw", "rb") as file:
        same(file.read(), model, "what they wrote")
    theirs = json.loads(run("qemu-img", "check", "--output=json", "b.qcow2").stdout)
    for ours_key, key in (("allocated", "allocated-clusters"), ("compressed", "compressed-clusters"),
                          ("fragmented", "fragmented-clusters"), ("end", "image-end-offset")):
        ours = int(answer.split(f" {ours_key}=")[1].split()[0])
        assert ours == theirs.get(key, 0), f"check: {key}: {ours} here, {theirs.get(key)} there"
    assert "corruptions=0 leaks=0" in answer, answer
    compare_map("b.qcow2")
    compare_info("b.qcow2")
    # And on: we write into theirs.
    tool = Tool("b.qcow2")
    operate(tool, model, rng, 15, None, False, options.get("compat") == "0.10")
    tool.close()
    run("qemu-img", "check", "b.qcow2")
    same(read_theirs("b.qcow2", "out.raw"), model, "theirs, changed by us")


def main():
    seed = int(os.environ.get("SEED", "1"))
    failed = 0
    global TOOL
    TOOL = os.path.abspath(TOOL)
    for name in sys.argv[1:] or CASES:
        for direction in (ours_written, theirs_written):
            with tempfile.TemporaryDirectory(prefix="berth-qcow2-") as folder:
                os.chdir(folder)
                options = dict(CASES[name])
                try:
                    direction(name, options, random.Random(f"{seed}-{name}"))
                    print(f"ok {name} {direction.__name__}", flush=True)
                except (AssertionError, subprocess.TimeoutExpired) as error:
                    failed += 1
                    print(f"not ok {name} {direction.__name__}: {error}", flush=True)
                os.chdir("/")
    sys.exit(1 if failed else 0)


main()
