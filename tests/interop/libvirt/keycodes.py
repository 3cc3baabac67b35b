#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Codes of keys, compared with the tables that libvirt's manual pages print."""
import gzip
import re
import subprocess
import sys

PAGES = "/usr/share/man/man7/virkeycode-{}.7.gz"
SETS = {"linux": "linux", "xt": "atset1", "atset1": "atset1", "atset2": "atset2", "atset3": "atset3",
        "os_x": "osx", "xt_kbd": "xtkbd", "usb": "usb", "win32": "win32", "qnum": "qnum"}
# In set 3 those are the typewriter's keys (IBM), but libvirt gives them to the keypad.
OURS = {("atset3", 0x4e), ("atset3", 0x4a)}


def page(name):
    """{code: name of the key}"""
    with gzip.open(PAGES.format(name), "rt") as file:
        return {int(code): key for code, key in
                re.findall(r"\n(\d+) \(0x[0-9a-f]+\)\n\.sp\n(?:Key name )?(\w+)", file.read())}


def linux_name(key):
    """Of a key of Mac OS or Windows, whose pages have their own names, if it is a letter, digit or F key."""
    match = re.fullmatch(r"(?:ANSI_|VK_)?([A-Z0-9]|F\d+)", key)
    return "KEY_" + match.group(1) if match else None


def main(printer):
    known = {name: {} for name in SETS}
    for line in subprocess.run([printer], check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines():
        name, code, qnum = line.split()
        known[name][int(code)] = int(qnum)
    wanted = {}
    for qnum, key in page("qnum").items():
        wanted.setdefault(key, []).append(qnum)
    ours = {key for code, key in page("linux").items() if code in known["linux"]}
    assert len(ours) > 100, ours
    for name, theirs in SETS.items():
        compared = 0
        for code, key in page(theirs).items():
            key = key if key.startswith("KEY_") else linux_name(key)
            if (name, code) in OURS or key not in ours:
                continue
            compared += 1
            assert known[name].get(code) in wanted[key], (name, hex(code), key, known[name].get(code))
        print(f"{name}: {compared} keys are the same, {len(known[name])} known")
        assert compared > 40, name


main(sys.argv[1])
