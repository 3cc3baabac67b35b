#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""virsh's perf and domstats --perf: the document as libvirtd has it, and counts that /proc agrees with."""
import os
import re

import ether
from private import Daemon
from real_libvirtd import Libvirtd

XML = """<domain type='qemu'><name>perf</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/></features>{perf}</domain>"""
PERF = "<perf><event enabled='no' name='page_faults'/><event name='cmt' enabled='no'/>" \
       "<event name='task_clock' enabled='yes'/></perf>"
COVERS = """DOMAIN_GET_PERF_EVENTS DOMAIN_SET_PERF_EVENTS"""


def element(server, *args):
    found = re.search("<perf>.*</perf>", server.said("dumpxml", "perf", *args), re.DOTALL)
    return found and found.group()


def fails(daemon, text, *args):
    result = daemon.virsh(*args, check=False)
    assert result.returncode != 0 and text in result.stdout, f"{args}: {result.stdout}"


def check_documents(servers):
    for step in ((), ("--enable", "cpu_cycles,instructions"), ("--disable", "cmt,task_clock"),
                 ("--enable", "context_switches", "--disable", "cpu_cycles")):
        said = []
        for server in servers:
            if step:
                server.virsh("perf", "perf", *step, "--config")
            said.append((element(server, "--inactive"), server.said("perf", "perf")))
        assert said[0] == said[1], f"{step}\nlibvirtd: {said[0]}\nberthd: {said[1]}"


def counts(daemon):
    found = re.findall(r"perf\.(\w+)=(\d+)", daemon.said("domstats", "perf", "--perf"))
    return {name: int(value) for name, value in found}


def context_switches(pid):
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/status") as file:
            total += sum(int(number) for number in re.findall(r"ctxt_switches:\s+(\d+)", file.read()))
    return total


def check_running(daemon):
    with open(os.path.join(daemon.top, "state", "run", daemon.said("domuuid", "perf"), "pid")) as file:
        pid = int(file.read())
    # At the start: what the host cannot count is not enabled in the document that runs.
    hardware = "cpu_cycles" in counts(daemon)
    assert ("<event name='instructions' enabled='yes'/>" in element(daemon)) == hardware, element(daemon)
    assert "<event name='context_switches' enabled='yes'/>" in element(daemon)
    before = context_switches(pid)
    daemon.virsh("perf", "perf", "--disable", "context_switches", "--live")
    assert "context_switches" not in counts(daemon)
    daemon.virsh("perf", "perf", "--enable", "context_switches,task_clock,page_faults", "--live")
    start = context_switches(pid)
    daemon.wait(lambda: counts(daemon)["task_clock"] > 50_000_000, "the firmware has run for 50 ms")
    first = counts(daemon)
    assert first["context_switches"] <= context_switches(pid) - before
    # As many as the kernel has counted by itself, between two looks that are not at one time.
    daemon.virsh("suspend", "perf")
    told, known = counts(daemon)["context_switches"], context_switches(pid) - start
    assert abs(told - known) <= 200 + known // 5, (told, known)
    daemon.virsh("resume", "perf")
    fails(daemon, "resctrl", "perf", "perf", "--enable", "cmt", "--live")
    if not hardware:
        fails(daemon, "no counter for the event 'cache_misses'", "perf", "perf", "--enable",
              "cpu_clock,cache_misses", "--live")
        assert "cpu_clock" not in counts(daemon) and "context_switches" in counts(daemon)
    daemon.stop()
    daemon.start()
    daemon.wait(lambda: counts(daemon).get("task_clock"), "the later daemon counts on")


def main():
    ether.own_network()
    with Daemon() as daemon, Libvirtd() as libvirtd:
        path = os.path.join(daemon.top, "perf.xml")
        with open(path, "w") as file:
            file.write(XML.format(perf=PERF))
        for server in (libvirtd, daemon):
            server.virsh("define", path)
        check_documents((libvirtd, daemon))
        daemon.virsh("start", "perf")
        check_running(daemon)
        missing = set(COVERS.split()) - daemon.called()
        assert not missing, f"not called: {missing}"


main()
