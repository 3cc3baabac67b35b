#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Cables to another VMM: a Linux guest of ours gets addresses from QEMU's user network at the other end
of each kind that QEMU's -netdev socket and dgram know."""
import socket
import subprocess
import time

from vmm import *

QEMU = "qemu-system-x86_64"


def free_udp_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def inet(which, port):
    return f"{which}.type=inet,{which}.host=127.0.0.1,{which}.port={port}"


def cables(folder):
    """(ours, QEMU's) options of each."""
    ports = [free_udp_port() for _ in range(8)]
    stream, other = free_port(), free_port()
    group = "239.193.4.5"
    return [
        (f"socket,udp=127.0.0.1:{ports[0]},localaddr=127.0.0.1:{ports[1]}",
         f"socket,udp=127.0.0.1:{ports[1]},localaddr=127.0.0.1:{ports[0]}"),
        (f"dgram,{inet('local', ports[2])},{inet('remote', ports[3])}",
         f"dgram,{inet('local', ports[3])},{inet('remote', ports[2])}"),
        (f"dgram,local.type=unix,local.path={folder}/a,remote.type=unix,remote.path={folder}/b",
         f"dgram,local.type=unix,local.path={folder}/b,remote.type=unix,remote.path={folder}/a"),
        (f"dgram,remote.type=inet,remote.host={group},remote.port={ports[4]},local.type=inet,"
         "local.host=127.0.0.1,local.port=0", f"socket,mcast={group}:{ports[4]},localaddr=127.0.0.1"),
        (f"socket,mcast={group}:{ports[5]},localaddr=127.0.0.1",
         f"dgram,remote.type=inet,remote.host={group},remote.port={ports[5]},local.type=inet,"
         "local.host=127.0.0.1,local.port=0"),
        (f"socket,connect=127.0.0.1:{stream}", f"socket,listen=127.0.0.1:{stream}"),
        (f"socket,connect=127.0.0.1:{other}", f"stream,server=on,addr.type=inet,addr.host=127.0.0.1,"
         f"addr.port={other}"),
    ]


def qemu(pairs):
    """No machine, but a hub for each cable, at whose other end is a network with DHCP."""
    command = [QEMU, "-M", "none", "-nodefaults", "-display", "none", "-monitor", "none"]
    for number, (_, theirs) in enumerate(pairs):
        command += ["-netdev", f"{theirs},id=c{number}",
                    "-netdev", f"user,id=u{number},net=10.{number + 20}.0.0/24",
                    "-netdev", f"hubport,hubid={number},id=hc{number},netdev=c{number}",
                    "-netdev", f"hubport,hubid={number},id=hu{number},netdev=u{number}"]
    return subprocess.Popen(command)


def wait_for_server(port):
    """A connection would be the only one that it takes: the kernel is asked."""
    deadline = time.monotonic() + 30
    while f":{port:04X} " not in open("/proc/net/tcp").read():
        check(time.monotonic() < deadline, f"QEMU does not listen on port {port}")
        time.sleep(0.05)


def all_cables():
    with temporary_folder() as folder:
        pairs = cables(folder)
        other = qemu(pairs)
        try:
            for _, theirs in pairs:
                if "listen=" in theirs or "server=on" in theirs:
                    wait_for_server(int(theirs.rsplit("=" if "server" in theirs else ":", 1)[1]))
            cards = []
            for number, (ours, _) in enumerate(pairs):
                cards += ["-netdev", f"{ours},id=n{number}",
                          "-device", f"virtio-net-pci,netdev=n{number},mac=52:54:00:00:07:0{number}"]
            with Guest(direct("cloud", 1, "256", append="quiet", extra=cards)) as guest:
                guest.expect("guest# ", 120)
                guest.run("printf '%s\\n' '#!/bin/sh' '[ \"$1\" = bound ] && echo $ip >/tmp/$interface' "
                          ">/tmp/dhcp; chmod +x /tmp/dhcp", 60)
                for number in range(len(pairs)):
                    guest.run(f"ip link set eth{number} up; udhcpc -q -n -t 20 -T 1 -i eth{number} "
                              f"-s /tmp/dhcp >/dev/null 2>&1; cat /tmp/eth{number}", 120)
                    said = guest.run(f"cat /tmp/eth{number}", 60)
                    check(f"10.{number + 20}.0." in said, f"{pairs[number][0]}: {said}")
        finally:
            other.kill()
            other.wait()


main(all_cables)
