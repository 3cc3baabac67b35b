#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""-d in_asm,out_asm,int,exec: what the log shows of a kernel's first seconds, and that objdump can read
the code in it."""
import os
import re
import subprocess

import vmm
from vmm import Failed, Guest

ITEMS = {"in_asm": r"IN: vCPU 0, (16|32|64)-bit code", "out_asm": r"OUT: \[size=\d+\]",
         "int": r" 0: v=0e e=[0-9a-f]{4} i=0 cpl=[03] IP=0010:", "exec": r"Trace 0: pc=[0-9a-f]{16}"}
PIECES = 50


def assembly(folder, piece):
    """One OUT piece of the log, disassembled."""
    path = os.path.join(folder, "code")
    with open(path, "wb") as code:
        code.write(bytes.fromhex("".join(re.findall(r"OBJD-T: ([0-9a-f]+)", piece))))
    return subprocess.run(["objdump", "-D", "-b", "binary", "-m", "i386:x86-64", path], check=True,
                          stdout=subprocess.PIPE, text=True).stdout


def shows_what_runs():
    with vmm.temporary_folder() as folder:
        log = os.path.join(folder, "log")
        command = vmm.direct("cloud", append="earlyprintk=ttyS0",
                             extra=["-d", ",".join(ITEMS), "-D", log])
        with Guest(command) as guest:
            guest.expect("Linux version", 120)
            guest.expect("Memory: ", 120)
            guest.kill()
        with open(log, encoding="ascii") as lines:
            text = lines.read()
        for item, pattern in ITEMS.items():
            if not re.search(pattern, text):
                raise Failed(f"-d {item} shows nothing of it: {text[:2000]}")
        pieces = re.findall(r"OUT: [^\n]*\n((?:0x[^\n]*\n)+)", text)
        for piece in pieces[:PIECES]:
            # The jumps' tables of addresses behind the code are no code.
            listed = assembly(folder, piece).split("\n")
            if len(listed) < 10 or "(bad)" in "".join(listed[:12]):
                raise Failed("this is no code:\n" + "\n".join(listed))


vmm.main(shows_what_runs)
