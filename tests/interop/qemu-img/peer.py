# SPDX-License-Identifier: GPL-2.0-or-later
"""Run berth-img and Debian's qemu-img with the same arguments, and compare what they say."""
import json
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../lib"))
from guest import Failed, program  # noqa: E402

THEIRS = "qemu-img"


def ours():
    return program("berth-img")


class Result:
    def __init__(self, command, done):
        self.command = " ".join(command)
        self.status = done.returncode
        # Program names differ; everything else should not.
        self.out = done.stdout
        self.err = re.sub(r"^(berth-img|qemu-img): ", "", done.stderr, flags=re.M)
        self.err = self.err.replace("berth-img", "qemu-img")


def run_once(command, cwd):
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=120, cwd=cwd)


def run(tool, *args, cwd=None, status=0):
    """Run a tool to its end. A status other than `status` fails (None: any)."""
    command = [tool, *map(str, args)]
    done = run_once(command, cwd)
    # qemu-img measures how fast it derives keys, and gives up where the host counts a thread's
    # time in ticks and the measurement lies between two of them.
    for _ in range(50):
        if "Unable to get accurate CPU usage" not in done.stderr:
            break
        done = run_once(command, cwd)
    if status is not None and done.returncode != status:
        raise Failed(f"{' '.join(command)}: status {done.returncode}, not {status}: "
                     f"{done.stdout}{done.stderr}")
    return Result(command, done)


def as_json(tool, *args, cwd=None):
    return json.loads(run(tool, *args, cwd=cwd).out)


def differences(mine, yours, path=""):
    """What differs between two JSON values, as lines."""
    if isinstance(mine, dict) and isinstance(yours, dict):
        for key in sorted(mine.keys() | yours.keys()):
            yield from differences(mine.get(key), yours.get(key), f"{path}/{key}")
    elif isinstance(mine, list) and isinstance(yours, list) and len(mine) == len(yours):
        for i, (a, b) in enumerate(zip(mine, yours)):
            yield from differences(a, b, f"{path}[{i}]")
    elif mine != yours:
        yield f"{path}: berth-img {mine!r}, qemu-img {yours!r}"


def same_json(*args, cwd=None):
    found = list(differences(as_json(ours(), *args, cwd=cwd), as_json(THEIRS, *args, cwd=cwd)))
    if found:
        raise Failed(f"{' '.join(map(str, args))}: " + "; ".join(found[:8]))


def same_text(*args, cwd=None, errors=True):
    """Both print the same and end alike; with errors=False stderr may differ."""
    mine, yours = (run(tool, *args, cwd=cwd, status=None) for tool in (ours(), THEIRS))
    for what in ("status", "out") + (("err",) if errors else ()):
        a, b = getattr(mine, what), getattr(yours, what)
        if a != b:
            raise Failed(f"{' '.join(map(str, args))}: {what} differs\nberth-img: {a}\n"
                         f"qemu-img:  {b}")
