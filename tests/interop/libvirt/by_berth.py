#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Scenarios that were written for virsh run once more with berth: by_berth.py SCENARIO...

Each must hold, and every command in it must print and return what it does with virsh. What time,
chance and the kernel change is masked; what is meant to differ stands in MEANT with its reason.
"""
import difflib
import json
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
LIMIT = 600  # seconds for one scenario
MASKS = [(re.compile(pattern, re.M), word) for pattern, word in (
    (r"/tmp/[\w,/]*berthd-\w+(/a,b/berthd-\w+)?", "TOP"),
    (r"/dev/pts/\d+", "PTY"),
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID"),
    (r"\b([0-9a-f]{2}:){5}[0-9a-f]{2}\b", "MAC"),
    (r"\d{4}-\d\d-\d\d[ -]\d\d:\d\d:\d\d(\.\d+)?( [+-]\d{4})?", "DATE"),
    (r"\b1\d{9}(\.\d+)?\b", "EPOCH"),
    (r"(127\.0\.0\.1[:' ]+port=?[ ']?|127\.0\.0\.1:)\d+", r"\1PORT"),
    (r"(copy-virtio-disk0|overlay-vd[a-z])-[0-9a-f]{13,16}", "NODE"),
    (r"^((?:m\w+_fault|unused|available|usable|disk_caches|last_update|rss) )\d+$", r"\1N"),
    (r"^(Time elapsed: +)\d+ +", r"\1N "),
    # The VMM's own words, which are not the client's.
    (r'\A\{"return":.*\s*\Z', "ANSWER"),
    # Which of the client's steps hears of a disk that has become full.
    (r"cannot (?:send data to|close) volume stream", "cannot fill the stream"),
    (r"\bafter \d+ ms\b", "after N ms"),
    # Counters, where a thread runs, and what of the host is free at the moment.
    (r"^(CPU: +)\d+$", r"\1N"),
    (r"((?:times?|user|system|idle|iowait|rss|CPU time|total_times)[:= ]+)[\d.]+", r"\1N"),
    (r"^((?:free|buffers|cached|Total| *\d+|\d+KiB) *: +|(?:Allocation|Available): +)[\d.]+", r"\1N"))]
MEANT = (
    (r"error: Unable to register disconnect callback\n",
     "virsh asks to be told when the connection ends; berth sees that at the next command"),
    (r"error: Disconnected from qemu\S* due to end of file\n", "virsh's disconnect callback"),
)


def mask(text):
    for pattern, word in MASKS:
        text = pattern.sub(word, text)
    for pattern, _ in MEANT:
        text = re.sub(pattern, "", text)
    return text


def transcript(scenario, client, folder):
    """Command, status, output of each command; of one that was repeated until it said something: the last."""
    path = os.path.join(folder, client)
    result = subprocess.run(["/usr/bin/python3", os.path.join(HERE, scenario + ".py")], timeout=LIMIT,
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            env=dict(os.environ, BERTH_CLIENT=client, BERTH_TRANSCRIPT=path))
    assert result.returncode == 0, f"{scenario} with {client}:\n{result.stdout}"
    said = []
    with open(path) as file:
        for args, status, output in map(json.loads, file):
            command = mask(" ".join(args))
            if said and said[-1][0] == command:
                said.pop()
            said.append((command, status, mask(output)))
    # What runs at the same time ends in any order; the same command's order among its own is kept.
    return sorted(said, key=lambda entry: entry[0])


def compare(scenario, folder):
    theirs, ours = (transcript(scenario, client, folder) for client in ("virsh", "berth"))
    commands = [command for command, _, _ in theirs]
    assert commands == [command for command, _, _ in ours], "\n".join(
        difflib.unified_diff(commands, [command for command, _, _ in ours], "virsh", "berth", lineterm=""))
    wrong = ["\n".join([f"{scenario}: {wanted[0]}: {wanted[1]} and {got[1]}", *difflib.unified_diff(
                 wanted[2].splitlines(), got[2].splitlines(), "virsh", "berth", lineterm="")])
             for wanted, got in zip(theirs, ours) if wanted != got]
    assert not wrong, "\n".join(wrong)
    print(f"{scenario}: {len(theirs)} commands are the same")


def main():
    for scenario in sys.argv[1:]:
        with tempfile.TemporaryDirectory(prefix="by-berth-") as folder:
            compare(scenario, folder)


main()
