#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A stock Debian kernel boots to userspace, sees its CPUs and powers off: boot.py KERNEL CPUS [BOARD]"""
import sys

import vmm
from vmm import Failed, Guest

NAME, CPUS = sys.argv[1], int(sys.argv[2])
BOARD = sys.argv[3] if len(sys.argv) > 3 else "q35"
sys.argv[1:] = []

# What a kernel says when the platform is wrong, and the guest would go on regardless.
COMPLAINTS = ["BUG:", "WARNING: CPU", "Oops", "soft lockup", "rcu_sched self-detected", "ACPI Error",
              "ACPI BIOS Error", "Firmware Bug", "tsc: Marking TSC unstable", "invalid opcode"]


def boots_to_shell():
    command = vmm.direct(NAME, CPUS, machine=BOARD)
    with Guest(command) as guest:
        match = guest.expect(r"berth-guest: up ([\d.]+) cpus (\d+) (\S+)", 300)
        print(f"# {match.group(3)}: init {guest.elapsed():.1f} s after exec")
        if int(match.group(2)) != CPUS:
            raise Failed(f"the guest sees {match.group(2)} CPUs, not {CPUS}")
        guest.expect("guest# ", 60)
        guest.send("stty -echo\n")
        guest.run("grep -q ttyS0 /proc/cmdline", 60)
        dmesg = guest.run("dmesg", 120)
        found = [line for line in dmesg.splitlines() if any(word in line for word in COMPLAINTS)]
        if found:
            raise Failed("the kernel complains:\n" + "\n".join(found[:10]))
        guest.send("poweroff -f\n")
        status = guest.wait(60)
        if status != 0:
            raise Failed(f"a guest's poweroff ended the VMM with status {status}, not 0")


vmm.main(boots_to_shell)
