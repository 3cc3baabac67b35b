#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Dumps of a Linux guest's memory, read by gdb, makedumpfile and libkdumpfile."""
import os
import re
import subprocess

from vmm import *
import kdumpfile

MEMORY = 256 << 20
PIECE = 1 << 20


def dump(qmp, path, **arguments):
    qmp.call("dump-guest-memory", paging=False, protocol=f"file:{path}", detach=True, **arguments)
    result = qmp.wait_event("DUMP_COMPLETED")["data"]["result"]
    check(result["status"] == "completed" and result["completed"] == result["total"], f"{result}")
    check(qmp.call("query-dump") == result, f"query-dump says {qmp.call('query-dump')}")


def segments(path):
    """(address, size) of the pieces of memory in an ELF core, as readelf sees them."""
    text = subprocess.run(["readelf", "-lW", path], check=True, stdout=subprocess.PIPE, text=True).stdout
    rows = [line.split() for line in text.splitlines() if line.split()[:1] == ["LOAD"]]
    return [(int(row[3], 16), int(row[4], 16)) for row in rows]


def reader(path, kind):
    """Reads physical memory out of a dump."""
    context = kdumpfile.kdumpfile(path)
    check(context.attr["file.format"] == kind, f"libkdumpfile takes it for {context.attr['file.format']}")
    return context


def read(context, address, size):
    return bytes(context.read(kdumpfile.KDUMP_MACHPHYSADDR, address, size))


def registers(qmp):
    """RIP and RSP of each vCPU, by the human monitor."""
    text = qmp.call("human-monitor-command", command_line="info registers -a")
    return [(int(a, 16), int(b, 16)) for b, a in re.findall(r"RSP=(\w+).*?RIP=(\w+)", text, re.DOTALL)]


def check_registers(qmp, path):
    """gdb has the vCPUs as threads, the last one first."""
    text = subprocess.run(["gdb", "-q", "-batch", "-ex", "thread apply all -q info registers rip rsp",
                           "-core", path], check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True).stdout
    found = re.findall(r"rip +0x(\w+).*?rsp +0x(\w+)", text, re.DOTALL)
    check([(int(a, 16), int(b, 16)) for a, b in found][::-1] == registers(qmp), f"gdb says {text}")


def same_memory(qmp, folder, elf, packed):
    """All of both dumps is the same, and is what pmemsave reads."""
    pieces = segments(elf)
    check(sum(size for _, size in pieces) + 0x20000 == MEMORY, f"pieces: {pieces}")
    raw = os.path.join(folder, "raw")
    plain = os.path.join(folder, "plain")
    with open(packed, "rb") as file:
        subprocess.run(["makedumpfile", "-R", plain], check=True, stdin=file, stdout=subprocess.DEVNULL)
    one, two = reader(elf, "elf"), reader(plain, "diskdump")
    for base, size in pieces:
        qmp.call("pmemsave", val=base, size=size, filename=raw)
        with open(raw, "rb") as file:
            for at in range(base, base + size, PIECE):
                length = min(PIECE, base + size - at)
                wanted = file.read(length)
                check(read(one, at, length) == wanted, f"the ELF dump is different at {at:#x}")
                check(read(two, at, length) == wanted, f"the kdump is different at {at:#x}")


def refusals(qmp, folder):
    path = f"file:{folder}/x"
    for words, more in (("paging=true is not supported", {"paging": True, "protocol": path}),
                        ("format kdump-lzo is not supported", {"protocol": path, "format": "kdump-lzo"}),
                        ("format win-dmp is not supported", {"protocol": path, "format": "win-dmp"}),
                        ("'begin' and 'length' go together", {"protocol": path, "begin": 0}),
                        ("must be of format elf", {"protocol": path, "begin": 0, "length": 4096,
                                                   "format": "kdump-zlib"}),
                        ("Invalid parameter 'protocol'", {"protocol": path[5:]}),
                        ("there is no memory at", {"protocol": path, "begin": 1 << 45, "length": 4096}),
                        ("'none' not found", {"protocol": "fd:none"})):
        refused(qmp, words, "dump-guest-memory", **({"paging": False} | more))
    qmp.call("dump-guest-memory", paging=False, protocol="file:/dev/full", detach=True)
    event = qmp.wait_event("DUMP_COMPLETED")["data"]
    check(event["result"]["status"] == "failed" and "No space left" in event["error"], f"{event}")


def check_part(qmp, folder, whole):
    part = os.path.join(folder, "part")
    qmp.call("dump-guest-memory", paging=False, protocol=f"file:{part}", begin=0x9f000, length=0x30000)
    qmp.wait_event("DUMP_COMPLETED")
    check(segments(part) == [(0x9f000, 0x1000), (0xc0000, 0xf000)], f"pieces: {segments(part)}")
    check(read(reader(part, "elf"), 0x9f000, 0x1000) == read(reader(whole, "elf"), 0x9f000, 0x1000),
          "a part differs from the whole")


def dumps():
    with temporary_folder() as folder:
        command = direct("generic", 2, "256", append="quiet",
                         extra=["-qmp", f"unix:{folder}/qmp,server=on,wait=off"])
        with Guest(command) as guest:
            guest.expect("guest# ", 120)
            qmp = Qmp(f"{folder}/qmp", 60)
            # Nothing of the guest's runs meanwhile, and it goes on afterwards.
            guest.run("word=rare; echo $word-marker-$word >/tmp/marker", 60)
            live, elf, packed = (os.path.join(folder, name) for name in ("live", "elf", "packed"))
            dump(qmp, live, format="kdump-zlib")
            check([e["event"] for e in qmp.events] == ["STOP", "RESUME"], f"events: {qmp.events}")
            guest.run("true", 60)
            qmp.call("stop")
            dump(qmp, elf)
            dump(qmp, packed, format="kdump-zlib")
            check_registers(qmp, elf)
            same_memory(qmp, folder, elf, packed)
            check_part(qmp, folder, elf)
            with open(elf, "rb") as file:
                check(b"rare-marker-rare" in file.read(), "the guest's file is not in its memory")
            refusals(qmp, folder)
            qmp.call("cont")
            guest.run("true", 60)


main(dumps)
