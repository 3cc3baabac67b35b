#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""-accel soft,tb-size=N bounds the memory for translated code, and what does not fit in it still runs:
a kernel's boot and a busybox script, in far too little of it."""
import hashlib
import os
import re

import vmm
from vmm import Failed, Guest, Qmp

CPUS = 2
SUM = "i=0; while [ $i -lt 300 ]; do echo $((i * i)); i=$((i+1)); done | gzip -c | gunzip -c | md5sum"


def expected():
    return hashlib.md5("".join(f"{i * i}\n" for i in range(300)).encode()).hexdigest()


def runs_in_little():
    with vmm.temporary_folder() as folder:
        path = os.path.join(folder, "qmp")
        command = vmm.direct("cloud", CPUS, extra=["-qmp", f"unix:{path},server=on,wait=off"])
        command[command.index("-accel") + 1] = "soft,tb-size=1"
        with Guest(command) as guest:
            guest.expect("guest# ", 300)
            guest.send("stty -echo\n")
            if expected() not in guest.run(SUM, 120):
                raise Failed("a script computes something else")
            qmp = Qmp(path)
            text = qmp.call("human-monitor-command", command_line="info engine")
            qmp.close()
    memory = re.findall(r"code memory: (\d+) of (\d+) KiB", text)
    drops = [int(n) for n in re.findall(r"(\d+) resets", text)]
    if len(memory) != CPUS or sum(int(size) for _, size in memory) > 1024:
        raise Failed("tb-size=1 is not 1 MiB:\n" + text)
    if any(int(used) > int(size) for used, size in memory) or not any(drops):
        raise Failed("the code memory is never full:\n" + text)
    print("# emptied so often:", drops)


vmm.main(runs_in_little)
