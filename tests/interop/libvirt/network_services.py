#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What documents of networks lead to on the host: those of the corpus are started by berthd and by Debian's
libvirtd, and dnsmasq's configuration, the bridge's addresses and MTU, and the routes are compared."""
import glob
import json
import os
import re
import sys
import tempfile

import ether
from netspace import run
from private import Daemon
from real_libvirtd import Libvirtd

HERE = os.path.dirname(os.path.abspath(__file__))
CORPUS = os.path.join(HERE, "..", "..", "fuzz", "corpus", "network_xml")
# Between them all that dnsmasq and the kernel are told of.
DOCUMENTS = ("dns", "hosts", "isolated", "nat-ranges", "pxe", "routed")
# Files of each daemon's own, and numbers of leases, which libvirt counts with the addresses of IPv6.
OWN = "(pid-file|addn-hosts|dhcp-hostsfile|dhcp-leasefile|dhcp-lease-max)="


def host_line(line):
    """A line of libvirt's file of hosts for DHCP, with its parts in no order."""
    return "dhcp-host " + " ".join(sorted(line.split("=")[-1].split(",")))


def settle(line):
    """The same meaning in the same words."""
    line = re.sub("^dhcp-option=(option:router|3)$", "dhcp-option=3", line)
    line = re.sub(r"^(dhcp-range=.*::)1?,ra-only$", r"\1,ra-only", line)
    if line.startswith("txt-record="):
        line = line.replace('"', "")
    if line.startswith("dhcp-host="):
        return host_line(line)
    if line.startswith("host-record="):
        return "record " + " ".join(sorted(line.split("=")[1].split(",")))
    reverse = re.match(r"local=/(\d+)\.(\d+)\.(\d+)\.in-addr\.arpa/", line)
    if reverse:
        return f"rev-server={reverse[3]}.{reverse[2]}.{reverse[1]}.0/24"
    return line


def read(path):
    if not os.path.exists(path):
        return []
    with open(path) as file:
        return [line for line in file.read().splitlines() if line and not line.startswith("#")]


def theirs(real, name):
    top = f"/proc/{real.process.pid}/root/var/lib/libvirt/dnsmasq/{name}."
    return read(top + "conf") + ["dhcp-host=" + line for line in read(top + "hostsfile")] + \
        ["host-record=" + ",".join(line.split()) for line in read(top + "addnhosts")]


def ours(daemon):
    return [line for path in glob.glob(os.path.join(daemon.top, "state", "networks-run", "*.conf"))
            for line in read(path)]


def links():
    """Of each bridge: MTU, STP and addresses; and all routes."""
    result = []
    for link in json.loads(run("ip", "-j", "-d", "address")):
        if link.get("linkinfo", {}).get("info_kind") == "bridge":
            addresses = sorted(f"{a['local']}/{a['prefixlen']}" for a in link["addr_info"]
                               if not a["local"].startswith("fe80"))
            result.append((link["ifname"], link["mtu"], link["linkinfo"]["info_data"]["stp_state"], addresses))
    routes = [re.sub(" (proto|metric) .*|linkdown", "", line).strip() for family in ("-4", "-6")
              for line in run("ip", family, "route").splitlines() if not line.startswith("fe80")]
    return result, sorted(routes)


def moot(line, text):
    """Of no effect: options of DHCP without DHCP, and of router advertisements without IPv6."""
    return (line.startswith("dhcp-option=") and "<dhcp" not in text) or \
        (line.startswith("ra-param=") and "family='ipv6'" not in text)


def outcome(daemon, path, name, lines):
    daemon.virsh("net-create", path)
    config = sorted({settle(line) for line in lines() if not re.match(OWN, line)})
    result = config, links()
    daemon.virsh("net-destroy", name)
    return result


def main():
    ether.own_network()
    with Libvirtd() as real, Daemon() as daemon, tempfile.TemporaryDirectory(prefix="tftp-") as tftp:
        os.chmod(tftp, 0o755)
        path = os.path.join(daemon.top, "net.xml")
        for document in DOCUMENTS:
            with open(os.path.join(CORPUS, document + ".xml")) as file:
                text = file.read().replace("/var/lib/tftp", tftp)
            with open(path, "w") as file:
                file.write(text)
            name = re.search("<name>(.*?)</name>", text).group(1)
            wanted = outcome(real, path, name, lambda name=name: theirs(real, name))
            got = outcome(daemon, path, name, lambda: ours(daemon))
            missing = [line for line in wanted[0] if line not in got[0] and not moot(line, text)]
            assert not missing, f"{name}: {missing}\n{got[0]}"
            assert got[1] == wanted[1], f"{name}: {got[1]}\nlibvirt: {wanted[1]}"


if __name__ == "__main__":
    sys.exit(main())
