#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The same commands by virsh and by berth: output, errors and exit status must be the same.

Each line of commands.txt is one invocation on a fresh test:///default, several commands with ; between
them. `{dir}` is a folder with the XML files of the test. What time changes is masked.
"""
import os
import re
import subprocess
import time

from oracle import LIMIT, Libvirtd

HERE = os.path.dirname(os.path.abspath(__file__))
BERTH = os.path.join(os.environ["BERTH_BUILD"], "bin", "berth")
MASKS = [
    (re.compile(r"\d{4}-\d\d-\d\d[ -]\d\d:\d\d:\d\d( [+-]\d{4})?"), "DATE"),
    (re.compile(r"(CPU time: +|cpu_time=|cpu\.(?:time|user|system)=|(?:rd|wr)_\w+ |[rt]x_\w+ |"
                r"\w+\.(?:rd|wr|rx|tx|time|user|system)[.\w]*=|creationTime>|cpu_time +|Time: +)[\d.]+"), r"\1N"),
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "UUID"),
    (re.compile(r"(user|system|idle|iowait|free|cached|buffers|Total) *: +\d+"), r"\1 N"),
    (re.compile(r"\(Time: [\d.]+ ms\)"), "(Time)"),
    (re.compile(r"\b1\d{9}\b"), "EPOCH"),
    (re.compile(r"^ *(\d+): +\d+ KiB$", re.M), r"\1: N"),
]
FILES = {
    "dom.xml": """<domain type='test'><name>fresh</name>
<uuid>4dea22b3-1d52-d8f3-2516-782e98ab3fa0</uuid><memory>65536</memory><vcpu>2</vcpu>
<os><type>hvm</type></os><devices>
<disk type='file' device='disk'><source file='/guest/disk.img'/><target dev='vda' bus='virtio'/></disk>
<interface type='network'><mac address='52:54:00:aa:bb:cc'/><source network='default'/></interface>
</devices></domain>""",
    "bad.xml": "<domain><name",
    "net.xml": "<network><name>fresh-net</name><uuid>004b96e1-2d78-c30f-5aa5-f03c87d21e69</uuid>"
               "<bridge name='virbr9'/><ip address='192.168.150.1' netmask='255.255.255.0'/></network>",
    "pool.xml": "<pool type='dir'><name>fresh-pool</name><uuid>0dbbaf53-5d1b-5b7c-a8e8-1c2d6e1c8c8a</uuid>"
                "<target><path>/fresh</path></target></pool>",
    "vol.xml": "<volume><name>fresh-vol</name><capacity>1048576</capacity></volume>",
    "iface.xml": "<interface type='ethernet' name='eth7'><start mode='onboot'/>"
                 "<mac address='aa:bb:cc:dd:ee:f7'/></interface>",
    "disk.xml": "<disk type='file' device='disk'><source file='/guest/two.img'/>"
                "<target dev='vdb' bus='virtio'/></disk>",
    "cpu.xml": "<cpu><model>qemu64</model></cpu>",
    "snap.xml": "<domainsnapshot><name>by-xml</name><description>words</description></domainsnapshot>",
}


def run(program, uri, line, folder):
    environment = dict(os.environ, LC_ALL="C.UTF-8", TZ="UTC", HOME=folder, EDITOR="true")
    options, line = [], line.replace("{dir}", folder)
    while match := re.match(r"(-\S+) ", line):
        options.append(match[1])
        line = line[match.end():]
    result = subprocess.run([program, "-c", uri, *options, line], capture_output=True, text=True,
                            timeout=LIMIT, env=environment, stdin=subprocess.DEVNULL, cwd=folder)
    texts = [result.stdout, result.stderr]
    for mask, word in MASKS:
        texts = [mask.sub(word, text) for text in texts]
    return texts[0], texts[1], result.returncode


def read_lines():
    with open(os.path.join(HERE, "commands.txt")) as file:
        return [line.strip() for line in file if line.strip() and not line.startswith("#")]


def run_both(uri, line, folder):
    """A pair that differs is run again: the test driver keeps its domains and their ids for as long as
    the last command's connection is not yet closed."""
    for pause in (0, 0.2, 0.5):
        time.sleep(pause)
        wanted, got = (run(program, uri, line, folder) for program in ("virsh", BERTH))
        if wanted == got:
            break
    return wanted, got


def compare(uri, folder):
    wrong = 0
    for line in read_lines():
        wanted, got = run_both(uri, line, folder)
        if wanted == got:
            continue
        wrong += 1
        print(f"--- {line}")
        for what, theirs, ours in zip(("output", "errors", "status"), wanted, got):
            if theirs != ours:
                print(f"{what} of virsh:\n{theirs}\n{what} of berth:\n{ours}")
    return wrong


def main():
    with Libvirtd() as daemon:
        for name, text in FILES.items():
            with open(os.path.join(daemon.top, name), "w") as file:
                file.write(text)
        wrong = compare(daemon.uri, daemon.top)
    assert not wrong, f"{wrong} lines differ"
    print(f"{len(read_lines())} lines are the same")


main()
