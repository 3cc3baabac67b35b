#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""cpu_check.c in a guest meets what it meets on the host: cpu_check.py PROGRAM CPUS"""
import os
import shutil
import subprocess
import sys

import vmm
from vmm import Failed, Guest

PROGRAM, CPUS = sys.argv[1], int(sys.argv[2])
sys.argv[1:] = []


def initramfs(folder, base):
    """The program, and behind it the test guests' initramfs: the kernel unpacks one after the other."""
    tree, out = os.path.join(folder, "tree"), os.path.join(folder, "initramfs")
    os.makedirs(tree)
    shutil.copy(PROGRAM, os.path.join(tree, "cpu-check"))
    with open(out, "wb") as image:
        subprocess.run("find . | cpio --quiet -o -H newc -R 0:0", shell=True, check=True, cwd=tree,
                       stdout=image)
        with open(base, "rb") as rest:
            shutil.copyfileobj(rest, image)
    return out


def guest_agrees_with_host():
    native = subprocess.run([PROGRAM], check=True, stdout=subprocess.PIPE, text=True,
                            timeout=120).stdout
    command = vmm.direct("cloud", CPUS)
    with vmm.temporary_folder() as folder:
        at = command.index("-initrd") + 1
        command[at] = initramfs(folder, command[at])
        with Guest(command) as guest:
            guest.expect("guest# ", 300)
            for _ in range(3):
                text = guest.run("/cpu-check", 120)
                # In front there may be a prompt, and the command's echo.
                if not ("\n" + text.replace("guest# ", "\n")).endswith("\n" + native):
                    raise Failed(f"in the guest:\n{text}\nnatively:\n{native}")
            guest.send("poweroff -f\n")
            guest.wait(60)


vmm.main(guest_agrees_with_host)
