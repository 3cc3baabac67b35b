#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest on a tap interface: iperf3 with the host in both directions and large packets, inside a
network namespace of the test's own, so that the machine's network is not touched."""
import os
import re
import shutil
import subprocess
import sys

import vmm
from vmm import Failed, Guest

INSIDE = "BERTH_TEST_NAMESPACE"


def enter_namespace():
    """Run this script again in a network namespace of its own."""
    if os.environ.get(INSIDE):
        return
    os.environ[INSIDE] = "1"
    flags = "-n" if os.geteuid() == 0 else "-rn"
    os.execvp("unshare", ["unshare", flags, sys.executable] + sys.argv)


def ip(*words):
    subprocess.run([shutil.which("ip") or "/sbin/ip", *words], check=True)


def throughput(guest, flag):
    text = guest.run(f"iperf3 -c 10.9.0.1 -t 3 -f m {flag}", 120)
    match = re.search(r"([\d.]+) Mbits/sec\s+receiver", text)
    if not match or float(match.group(1)) == 0:
        raise Failed("iperf3 gave no result:\n" + text)
    return match.group(1)


def tap_carries_traffic_both_ways():
    vmm.debian_image()  # needs the network that the namespace has not
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "/dev/net/tun cannot be opened here"
    enter_namespace()
    ip("link", "set", "lo", "up")
    ip("tuntap", "add", "tap0", "mode", "tap")
    ip("addr", "add", "10.9.0.1/24", "dev", "tap0")
    ip("link", "set", "tap0", "up")
    server = subprocess.Popen(["iperf3", "-s", "-B", "10.9.0.1"], stdout=subprocess.DEVNULL)
    try:
        command = vmm.debian(2, extra=[
            "-netdev", "tap,id=n,ifname=tap0,script=no,downscript=no",
            "-device", "virtio-net-pci,netdev=n"])
        with Guest(command) as guest:
            guest.login(600)
            guest.run("systemctl stop systemd-networkd.socket systemd-networkd; "
                      "dev=$(ls /sys/class/net | grep -v lo); ip addr add 10.9.0.2/24 dev $dev; "
                      "ip link set $dev up", 60)
            guest.run("ping -c 3 -i 0.3 -s 1400 10.9.0.1", 60)
            out, back = throughput(guest, ""), throughput(guest, "-R")
            print(f"# tap: {out} Mbit/s to the host, {back} Mbit/s to the guest")
            guest.send("poweroff\n")
            guest.wait(180)
    finally:
        server.kill()
        server.wait()


vmm.main(tap_carries_traffic_both_ways)
