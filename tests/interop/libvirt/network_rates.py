#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Limits of whole networks, and what guests are sure of in them: the kernel's classes as tc shows them, and
what gets through; a libvirtd's errors."""
import os
import re
import signal
import subprocess
import time

import ether
from netspace import run
from private import Daemon

NETWORK = """<network><name>{name}</name><bridge name='{name}br' stp='off'/><bandwidth>{limits}</bandwidth>
<ip address='10.{number}.0.1' prefix='24'/></network>"""
BOTH = "<inbound average='1000' peak='2000' burst='128'/><outbound average='500' burst='64'/>"
DOMAIN = """<domain type='qemu'><name>{name}</name><memory>65536</memory>
<os><type machine='q35'>hvm</type></os><devices>{cards}</devices></domain>"""
CARD = """<interface type='network'><mac address='52:54:00:00:00:{number}'/><source network='{network}'/>
<bandwidth>{limits}</bandwidth><model type='virtio'/></interface>"""


def put(daemon, xml, *command, check=True):
    path = os.path.join(daemon.top, "x.xml")
    with open(path, "w") as file:
        file.write(xml)
    return daemon.virsh(*command, path, check=check)


def classes(device):
    """Of each class: its parent, its rate and its ceiling."""
    return {found[0]: found[1:] for found in
            re.findall(r"class htb 1:(\w+) (root|parent 1:\w+) .*?rate (\w+) ceil (\w+)",
                       run("tc", "-d", "class", "show", "dev", device))}


def table(device):
    return run("nft", "list", "table", "netdev", f"berth-rate-{device}", check=False)


def check_network(daemon):
    put(daemon, NETWORK.format(name="lim", limits=BOTH, number=7), "net-define")
    daemon.virsh("net-start", "lim")
    assert classes("limbr") == {"1": ("root", "8192Kbit", "16384Kbit"),
                                "2": ("parent 1:1", "8192Kbit", "16384Kbit")}, classes("limbr")
    assert "500 kbytes/second burst 64 kbytes" in table("limbr"), table("limbr")


def check_shares(daemon):
    """A class for each card with a floor, and none after it; the next daemon knows them."""
    cards = CARD.format(number="01", network="lim", limits="<inbound average='300' floor='200'/>") + \
        CARD.format(number="02", network="lim", limits="<inbound floor='100'/>")
    put(daemon, DOMAIN.format(name="vm", cards=cards), "define")
    daemon.virsh("start", "vm", "--paused")
    wanted = {"1": ("root", "8192Kbit", "16384Kbit"), "2": ("parent 1:1", "5734Kbit", "16384Kbit"),
              "3": ("parent 1:1", "1638Kbit", "16384Kbit"), "4": ("parent 1:1", "819200bit", "16384Kbit")}
    assert classes("limbr") == wanted, classes("limbr")
    assert "52:54:00:00:00:01 : 1:3" in table("limbr") and "52:54:00:00:00:02 : 1:4" in table("limbr")
    daemon.stop(signal.SIGKILL)
    subprocess.run(["nft", "flush", "ruleset"], check=True)
    daemon.start()
    assert classes("limbr") == wanted and "52:54:00:00:00:02 : 1:4" in table("limbr"), table("limbr")
    uuids = re.findall(r"[0-9a-f]{8}-[0-9a-f-]{27}", daemon.said("net-port-list", "lim"))
    ports = "".join(daemon.said("net-port-dumpxml", "lim", "--port", uuid) for uuid in uuids)
    assert "<bandwidth classID='3'>" in ports and "<plug type='network' bridge='limbr'/>" in ports, ports
    daemon.virsh("domiftune", "vm", "52:54:00:00:00:01", "--inbound", "300,400,50,700", "--live")
    assert classes("limbr")["3"][1] == "5734Kbit" and classes("limbr")["2"][1] == "1638Kbit"
    result = daemon.virsh("domiftune", "vm", "52:54:00:00:00:01", "--inbound", "300,400,50,1950", "--live",
                          check=False)
    assert "would overcommit 'peak' on network 'lim'" in result.stdout, result.stdout
    assert classes("limbr")["3"][1] == "5734Kbit", classes("limbr")


def check_again(daemon):
    """A network that stops and starts has its guests again, with what they are sure of."""
    before, devices = classes("limbr"), re.findall(r"vnet\d+", daemon.said("domiflist", "vm"))
    daemon.virsh("net-destroy", "lim")
    assert "limbr" not in ether.ip("link") and len(devices) == 2
    for state in ("down", "up"):
        daemon.virsh("domif-setlink", "vm", devices[0], state)
    daemon.virsh("net-start", "lim")
    for device in devices:
        assert "master limbr" in ether.ip("link", "show", device)
    assert classes("limbr") == before, classes("limbr")
    assert daemon.said("net-port-list", "lim").count("-") > 8


def check_refusals(daemon):
    put(daemon, NETWORK.format(name="free", limits="<outbound average='9'/>", number=8), "net-define")
    daemon.virsh("net-start", "free")
    for network, limits, words in (
            ("lim", "<inbound floor='9000'/>", "would overcommit 'peak' on network 'lim'"),
            ("free", "<inbound floor='1'/>", "network 'free' has no inbound QoS set")):
        card = CARD.format(number="07", network=network, limits=limits)
        put(daemon, DOMAIN.format(name="no", cards=card), "define")
        result = daemon.virsh("start", "no", "--paused", check=False)
        assert result.returncode and words in result.stdout, result.stdout
        daemon.virsh("undefine", "no")
    result = put(daemon, NETWORK.format(name="odd", limits="<inbound average='9' floor='1'/>", number=9),
                 "net-define", check=False)
    assert "floor" in result.stdout, result.stdout
    assert len(classes("limbr")) == 4


def sent(device, number):
    found = re.search(rf"class htb 1:{number} .*?Sent (\d+) bytes",
                      run("tc", "-s", "class", "show", "dev", device), re.DOTALL)
    return int(found.group(1))


def check_effect():
    """A guest's frames go through its class, others through the default one; and guests are not heard
    more than the network may say."""
    host = ether.End("limbr")
    for mac, number in (("52:54:00:00:00:01", "3"), ("52:54:00:00:00:02", "4"), ("52:54:00:00:00:09", "2")):
        before = {name: sent("limbr", name) for name in ("2", "3", "4")}
        host.send(ether.ethernet("02:00:00:00:00:01", mac, 0x88b5, b"x" * 1000), 5)
        time.sleep(0.3)
        grown = [name for name in before if sent("limbr", name) >= before[name] + 5000]
        assert grown == [number], (mac, grown)
    guest = ether.End("guest1")  # its second's worth and the burst may come at once
    guest.send(ether.ethernet("52:54:00:00:00:08", "ff:ff:ff:ff:ff:ff", 0x88b5, b"x" * 1400), 1200)
    time.sleep(0.3)
    assert re.search(r"counter packets [1-9]\d* bytes", table("limbr")), table("limbr")


def main():
    ether.own_network()
    with Daemon() as daemon:
        check_network(daemon)
        check_shares(daemon)
        check_again(daemon)
        check_refusals(daemon)
        ether.ip("link", "add", "guest0", "type", "veth", "peer", "name", "guest1")
        ether.ip("link", "set", "guest0", "master", "limbr")
        for name in ("guest0", "guest1"):
            ether.ip("link", "set", name, "up")
        daemon.wait(lambda: "state UP" in ether.ip("link", "show", "limbr"), "the bridge has a carrier")
        check_effect()
        daemon.virsh("destroy", "vm")
        assert sorted(classes("limbr")) == ["1", "2"] and "ether daddr" not in table("limbr")
        daemon.virsh("net-destroy", "lim")
        assert "No such file" in table("limbr"), table("limbr")
        daemon.virsh("net-destroy", "free")
        assert not run("nft", "list", "ruleset").strip()


main()
