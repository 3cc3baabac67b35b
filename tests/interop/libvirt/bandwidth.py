#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Limits of bandwidth: what the kernel is told, as tc and nft show it, and what gets through."""
import os
import re
import signal
import subprocess
import time

import ether
from private import Daemon
from ether import ethernet, ipv4, udp

COVERS = "DOMAIN_SET_INTERFACE_PARAMETERS DOMAIN_GET_INTERFACE_PARAMETERS"
MAC, HOST = "52:54:00:00:00:02", "52:54:00:00:00:09"
DOMAIN = """<domain type='qemu'><name>vm</name><memory>65536</memory><os><type machine='q35'>hvm</type></os>
<devices>{}</devices></domain>"""
CARD = """<interface type='bridge'><mac address='{}'/><source bridge='br0'/><model type='virtio'/>{}
</interface>"""
LIMITS = """<bandwidth><inbound average='1000' peak='5000' burst='128'/><outbound average='500' burst='64'/>
</bandwidth>"""


def output(*command):
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout


def shaped(device):
    """What tc says of the one class of the device; "": there is none."""
    return output("tc", "-d", "-s", "class", "show", "dev", device)


def sent(device):
    return int(re.search(r"Sent (\d+) bytes", shaped(device)).group(1))


def policed():
    return [line.strip() for line in output("nft", "list", "ruleset").splitlines() if "limit rate" in line]


def tune(daemon, *args):
    return daemon.said("domiftune", "vm", MAC, *args)


def check_settings(daemon, device):
    text = shaped(device)
    # Kilobytes of 1,024 bytes: 8,192,000 and 40,960,000 bits a second.
    assert "rate 8192Kbit" in text and "ceil 40960Kbit" in text and "burst 128Kb" in text, text
    assert policed() and "500 kbytes/second burst 64 kbytes" in policed()[0], policed()
    said = {line.split(":")[0].strip(): line.split(":")[1].strip() for line in tune(daemon).splitlines()}
    assert said["inbound.average"] == "1000" and said["outbound.burst"] == "64", said


def check_changes(daemon, device):
    tune(daemon, "--inbound", "2000", "--live")
    assert "rate 16384Kbit" in shaped(device), shaped(device)
    tune(daemon, "--outbound", "800,900,70", "--live", "--config")
    assert "800 kbytes/second burst 70 kbytes" in policed()[0], policed()
    assert "average='800'" in daemon.said("dumpxml", "vm", "--inactive")
    subprocess.run(["nft", "flush", "ruleset"], check=True)
    daemon.wait(lambda: policed() and "800 kbytes" in policed()[0], "the limit is back")
    subprocess.run(["nft", "flush", "chain", "netdev", f"berth-rate-{device}", "out"], check=True)
    daemon.wait(lambda: policed() and "800 kbytes" in policed()[0], "the rule is back")
    daemon.stop(signal.SIGKILL)
    assert policed() and shaped(device)
    daemon.start()
    assert "rate 16384Kbit" in shaped(device) and "800 kbytes" in policed()[0]
    tune(daemon, "--inbound", "0", "--outbound", "0", "--live")
    assert not policed() and not shaped(device)
    assert "bandwidth" not in daemon.said("dumpxml", "vm")
    tune(daemon, "--inbound", "100", "--outbound", "10,10,10", "--live")
    for words, error in ((("--inbound", "5,4"), "peak"), (("--inbound", "5,6,7,8", "--live"), "floor")):
        result = daemon.virsh("domiftune", "vm", MAC, *words, check=False)
        assert result.returncode and error in result.stdout, result.stdout
    assert "none" in daemon.virsh("domiftune", "vm", "none", check=False).stdout


def check_failed_update(daemon, device):
    """A change of limits and filter of which the filter is wrong changes nothing."""
    before, limits = (shaped(device).split(" Sent")[0], policed()), "<bandwidth><inbound average='7777'/></bandwidth>"
    path = os.path.join(daemon.top, "card.xml")
    with open(path, "w") as file:
        file.write(CARD.format(MAC, limits + "<filterref filter='none'/>"))
    result = daemon.virsh("update-device", "vm", path, "--live", check=False)
    assert "'none' is missing" in result.stdout, result.stdout
    assert (shaped(device).split(" Sent")[0], policed()) == before, shaped(device)


def check_effect(device):
    """What is queued for the guest at 100 KiB a second leaves the queue at that rate, or not at all."""
    host = ether.End("v9")
    frame = ethernet(HOST, "ff:ff:ff:ff:ff:ff", 0x800, ipv4("10.9.0.9", "10.9.0.255", 17,
                                                            udp(1, 2, b"x" * 1400)))
    host.send(frame, 400)  # 577 KB at once, of which 64 KiB are the burst
    time.sleep(0.5)
    begin, at = sent(device), time.monotonic()
    time.sleep(2)
    rate = (sent(device) - begin) / (time.monotonic() - at)
    assert 80 * 1024 < rate < 115 * 1024, f"{rate} bytes a second"


def check_numbers(daemon, device):
    """The card's name and its MAC address mean the same counters."""
    for name in (device, MAC):
        assert re.search(r"rx_bytes \d+", daemon.said("domifstat", "vm", name)), name


def main():
    ether.own_network()
    ether.ip("link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
    ether.ip("link", "add", "v8", "type", "veth", "peer", "name", "v9")
    ether.ip("link", "set", "v8", "master", "br0")
    for name in ("br0", "v8", "v9"):
        ether.ip("link", "set", name, "up")
    # Counters are in the sysfs of the network namespace.
    mount = 'mount -t sysfs none /sys && exec "$@"'
    with Daemon(prefix=("unshare", "-m", "sh", "-c", mount, "sh")) as daemon:
        path = os.path.join(daemon.top, "vm.xml")
        with open(path, "w") as file:
            file.write(DOMAIN.format(CARD.format(MAC, LIMITS)))
        daemon.virsh("define", path)
        daemon.virsh("start", "vm", "--paused")
        device = daemon.said("domiflist", "vm").splitlines()[2].split()[0]
        check_settings(daemon, device)
        check_changes(daemon, device)
        check_failed_update(daemon, device)
        check_effect(device)
        check_numbers(daemon, device)
        daemon.virsh("destroy", "vm")
        assert not policed() and device not in ether.ip("link")
        missing = set(COVERS.split()) - daemon.called()
        assert not missing, missing


main()
