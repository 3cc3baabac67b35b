#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Links that programs in user space serve: passt gives a guest the host's network, and a server in the guest
is reached by a forwarded port; DPDK's testpmd serves the rings of a vhostuser card. And several queues."""
import atexit
import glob
import http.server
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading

import netspace
from private import CLIENT, Daemon

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "lib"))
import guest as testlib  # noqa: E402
from testpmd import Testpmd  # noqa: E402

SHARED = "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>"
VHOSTUSER = """<interface type='vhostuser'><mac address='52:54:00:00:00:03'/>
<source type='unix' path='{top}/server' mode='client'><reconnect enabled='yes' timeout='1'/></source>
<model type='virtio'/></interface>"""
QUEUES = """<interface type='ethernet'><mac address='52:54:00:00:00:04'/><target dev='many0'/>
<model type='virtio'/><driver {name}queues='2'/></interface>"""
PASST = """<interface type='user'><mac address='52:54:00:00:00:0{n}'/><source dev='up0'/>
<backend type='passt' logFile='{top}/passt{n}.log'/><model type='virtio'/>
<portForward proto='tcp' address='127.0.0.1'><range start='{port}' to='22'/><range start='4000' end='4010'/>
<range start='4005' exclude='yes'/></portForward>{more}</interface>"""
GUEST = """<domain type='qemu'><name>vm</name>
  <uuid>12ac8b8c-4f23-4248-ae42-fdcd50c40003</uuid><memory unit='MiB'>160</memory>{backing}<vcpu>2</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type><kernel>{kernel}</kernel><initrd>{initrd}</initrd>
    <cmdline>console=ttyS0 quiet panic=-1 berth.modules=virtio_pci,virtio_net,af_packet berth.run=while,true;do,setsid,cttyhack,sh;done</cmdline></os>
  <features><acpi/><apic/></features><devices>{cards}<memballoon model='none'/>
    <serial type='pty'/><console type='pty'/></devices></domain>"""


def document(cards, kernel="/k", initrd="/i", backing=""):
    return GUEST.format(cards=cards, kernel=kernel, initrd=initrd, backing=backing)


def with_xml(daemon, xml, *command, check=True):
    path = os.path.join(daemon.top, "x.xml")
    with open(path, "w") as file:
        file.write(xml)
    return daemon.virsh(*command, path, check=check)


def card_of(daemon, number, port, more):
    return PASST.format(n=number, top=daemon.top, port=port, more=more)


def passts():
    """The passt processes in our network namespace."""
    own, found = os.readlink("/proc/self/ns/net"), []
    for folder in glob.glob("/proc/[0-9]*"):
        try:
            with open(folder + "/comm") as comm:
                if comm.read().startswith("passt") and os.readlink(folder + "/ns/net") == own:
                    found.append(folder)
        except OSError:
            continue
    return found


class Hello(http.server.BaseHTTPRequestHandler):
    """A server of the host."""

    def do_GET(self):  # pylint: disable=invalid-name
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello of the host\n")

    def log_message(self, *_):  # pylint: disable=arguments-differ
        pass


def check_refusals(daemon, kernel, initrd):
    card = "<interface type='user'>{}</interface>"
    for inner, words in (("<portForward proto='tcp'/>", "is for <interface type='user'> with"),
                         ("<backend type='slirp'/>", "there is default, passt"),
                         ("<backend type='passt'/><portForward/>", "its proto is missing"),
                         ("<backend type='passt'/><portForward proto='tcp'><range start='9' end='8'/>"
                          "</portForward>", "ends before it starts"),
                         ("<backend type='passt'/><ip address='::1' family='ipv4'/>", "is not that of"),
                         ("<backend type='passt' logFile='x'/>", "absolute path")):
        result = with_xml(daemon, document(card.format(inner)), "define",
                          check=False)
        assert result.returncode and words in result.stdout, result.stdout
    # What only passt can see is in its own words, and no VMM is left.
    bad = card_of(daemon, 1, 2222, "").replace("up0", "none0")
    with_xml(daemon, document(bad, kernel, initrd), "define")
    result = daemon.virsh("start", "vm", check=False)
    assert result.returncode and "passt did not start" in result.stdout, result.stdout
    assert "none0" in result.stdout, result.stdout
    assert not passts()
    vhostuser = VHOSTUSER.format(top=daemon.top)
    for card, words in ((vhostuser, "type='vhostuser' needs <memoryBacking>"),
                        (QUEUES.format(name="name='vhost' "), "vhost-net was requested")):
        if "vhost-net" in words and os.path.exists("/dev/vhost-net"):
            continue
        with_xml(daemon, document(card), "define")
        result = daemon.virsh("start", "vm", check=False)
        assert result.returncode and words in result.stdout, result.stdout
    for card, words in ((vhostuser.replace("'client'", "'server'"), "is for mode='client'"),
                        (vhostuser.replace("<model", "<mtu size='9000'/><model"), "<mtu> with"),
                        (QUEUES.format(name="").replace("ethernet", "user"), "not for type='user'"),
                        (QUEUES.format(name="name='dpdk' "), "there is vhost, qemu")):
        result = with_xml(daemon, document(card, backing=SHARED), "define", check=False)
        assert result.returncode and words in result.stdout, result.stdout


def echoed(port):
    """What a server answers. (Where the guest speaks first, Debian 12's passt is late to acknowledge it.)"""
    with socket.create_connection(("127.0.0.1", port), netspace.LIMIT) as connection:
        try:
            connection.sendall(b"to the guest\n")
            return connection.makefile().readline()
        except ConnectionError:
            return ""  # nobody listens yet


def slow_passt():
    """A passt that is not ready before the file `hold` beside it is gone."""
    folder = tempfile.mkdtemp(prefix="berth-passt-")
    atexit.register(shutil.rmtree, folder)
    with open(os.path.join(folder, "passt"), "w") as script:
        script.write(f"#!/bin/sh\nwhile [ -e {folder}/hold ]; do sleep 0.1; done\n"
                     f"exec {shutil.which('passt')} \"$@\"\n")
    os.chmod(script.name, 0o755)
    os.environ["PATH"] = folder + ":" + os.environ["PATH"]
    return os.path.join(folder, "hold")


def check_slow_passt(daemon, kernel, initrd, hold):
    """Others are served while a domain waits for its passt."""
    with_xml(daemon, document(card_of(daemon, 1, 2222, ""), kernel, initrd), "define")
    with open(hold, "w"):
        pass
    start = subprocess.Popen([CLIENT, "-c", daemon.uri(), "start", "vm"])
    daemon.wait(passts, "passt is started")
    daemon.virsh("hostname")
    os.unlink(hold)
    assert start.wait(60) == 0
    # One that hangs holds up nobody, and ends when it can.
    for folder in passts():
        os.kill(int(os.path.basename(folder)), signal.SIGSTOP)
    try:
        daemon.virsh("destroy", "vm")
        assert passts()
    finally:
        for folder in passts():
            os.kill(int(os.path.basename(folder)), signal.SIGCONT)
    daemon.wait(lambda: not passts(), "passt ends with its guest")
    # A domain that is destroyed meanwhile leaves none behind.
    with open(hold, "w"):
        pass
    start = subprocess.Popen([CLIENT, "-c", daemon.uri(), "start", "vm"], stderr=subprocess.DEVNULL)
    daemon.wait(passts, "passt is started")
    daemon.wait(lambda: daemon.virsh("destroy", "vm", check=False).returncode == 0, "the domain is destroyed")
    assert start.wait(60) != 0 and not passts()
    os.unlink(hold)


def check_passt(daemon, kernel, initrd):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 8000), Hello)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    card = card_of(daemon, 1, 2222, "<ip family='ipv4' address='192.0.2.77' prefix='24'/>")
    with_xml(daemon, document(card, kernel, initrd), "define")
    assert "<portForward proto='tcp' address='127.0.0.1'>" in daemon.said("dumpxml", "vm")
    daemon.virsh("start", "vm")
    assert len(passts()) == 1
    console = ["script", "-qfec", f"virsh -c '{daemon.uri()}' console vm --force", "/dev/null"]
    with testlib.Guest(console) as guest:
        guest.wake(300)
        guest.send("stty -echo\n")
        leased = guest.run("ip link set eth0 up; udhcpc -n -q -i eth0 -s /bin/true 2>&1", 120)
        assert "lease of 192.0.2.77 obtained" in leased, leased
        guest.run("ip addr add 192.0.2.77/24 dev eth0; ip route add default via 192.0.2.1", 60)
        # What goes to the gateway arrives at the host's loopback.
        page = guest.run("wget -q -O - http://192.0.2.1:8000/", 120)
        assert "hello of the host" in page, page
        guest.run("(nc -ll -p 22 -e cat >/dev/null 2>&1 &)", 60)
        daemon.wait(lambda: echoed(2222) == "to the guest\n", "the guest's server answers")
        # Another one comes and goes.
        second = re.sub(r"'40(\d\d)'", r"'41\1'", card_of(daemon, 2, 2223, ""))
        with_xml(daemon, second, "attach-device", "vm", "--live")
        assert len(passts()) == 2
        guest.run("n=0; until [ -e /sys/class/net/eth1 ] || [ $n = 300 ]; do n=$((n + 1)); "
                  "usleep 100000; done; ip link set eth1 up && udhcpc -n -q -i eth1 -s /bin/true", 120)
        daemon.virsh("detach-interface", "vm", "user", "--mac", "52:54:00:00:00:02", "--live")
        daemon.wait(lambda: len(passts()) == 1, "passt ends with its card")
    # The link outlives the daemon.
    daemon.stop(signal.SIGKILL)
    daemon.start()
    daemon.wait(lambda: echoed(2222) == "to the guest\n", "the guest's server still answers")
    daemon.virsh("destroy", "vm")
    daemon.wait(lambda: not passts(), "passt ends with its guest")
    with open(f"{daemon.top}/passt1.log") as log:
        assert re.search("DHCP: ack", log.read())
    server.shutdown()


CABLES = {
    "udp": ("<source address='127.0.0.1' port='7101'><local address='127.0.0.1' port='7102'/></source>",
            "<source address='127.0.0.1' port='7102'><local address='127.0.0.1' port='7101'/></source>"),
    "mcast": ("<source address='239.193.8.8' port='7103'/>",) * 2,
    "server": ("<source address='127.0.0.1' port='7104'/>",) * 2,
}


def check_cables(daemon, kernel, initrd):
    """Two guests with a cable of each kind between them, the last of which one of them gets while it runs."""
    def card(guest, number, kind, source):
        return (f"<interface type='{kind}'><mac address='52:54:00:00:0{guest}:0{number}'/>{source}"
                "<model type='virtio'/></interface>")
    netspace.run("ip", "route", "add", "239.0.0.0/8", "dev", "lo")
    guests = []
    for guest in (0, 1):
        cards = "".join(card(guest, number, kind, ends[guest]) for number, (kind, ends) in
                        enumerate(CABLES.items()) if not (guest and kind == "server"))
        xml = document(cards, kernel, initrd).replace("<name>vm", f"<name>c{guest}").replace("40003", f"4001{guest}")
        with_xml(daemon, xml, "define")
        assert "<source address='239.193.8.8' port='7103'/>" in daemon.said("dumpxml", f"c{guest}")
        daemon.virsh("start", f"c{guest}")
    client = card(1, 2, "client", CABLES["server"][1])
    with_xml(daemon, client, "attach-device", "c1", "--live")
    try:
        for guest in (0, 1):
            console = ["script", "-qfec", f"virsh -c '{daemon.uri()}' console c{guest} --force", "/dev/null"]
            guests.append(testlib.Guest(console))
            guests[guest].wake(300)
            guests[guest].send("stty -echo\n")
            guests[guest].run("n=0; until [ -e /sys/class/net/eth2 ] || [ $n = 300 ]; do n=$((n + 1)); "
                              "usleep 100000; done; for i in 0 1 2; do ip link set eth$i up; "
                              f"ip addr add 10.7.$i.{guest + 1}/24 dev eth$i; done", 120)
        for number in range(3):
            guests[1].run(f"ping -c 2 -W 10 10.7.{number}.1", 60)
        with_xml(daemon, client, "detach-device", "c1", "--live")
        guests[1].run("n=0; while [ -e /sys/class/net/eth2 ] && [ $n != 300 ]; do n=$((n + 1)); usleep 100000; "
                      "done; [ ! -e /sys/class/net/eth2 ]", 60)
    finally:
        for guest in guests:
            guest.kill()
    for guest in (0, 1):
        daemon.virsh("destroy", f"c{guest}")
    for card_xml, words in ((card(0, 0, "client", "<source port='5'/>"), "No <source> 'address'"),
                            (card(0, 0, "server", "<source address='127.0.0.1'/>"), "No <source> 'port'"),
                            (card(0, 0, "udp", CABLES["mcast"][0]), "No <local> 'address'"),
                            (card(0, 0, "mcast", CABLES["udp"][0]), "type='udp'"),
                            (card(0, 0, "user", CABLES["mcast"][0]), "are for type='client'"),
                            (card(0, 0, "mcast", CABLES["mcast"][0] + "<mtu size='900'/>"), "<mtu> with")):
        refused = with_xml(daemon, document(card_xml), "define", check=False)
        assert refused.returncode == 1 and words in refused.stdout, refused.stdout


def check_vhostuser(daemon, kernel, initrd):
    card, server = VHOSTUSER.format(top=daemon.top), Testpmd(daemon.top)
    ping = "n=0; until ping -c 1 -W 1 {0} || [ $n = 60 ]; do n=$((n + 1)); done; ping -c 2 {0}"
    try:
        with_xml(daemon, document(QUEUES.format(name=""), kernel, initrd, SHARED), "define")
        assert "<access mode='shared'/>" in daemon.said("dumpxml", "vm")
        daemon.virsh("start", "vm")
        netspace.run("ip", "addr", "add", "10.8.0.1/24", "dev", "many0")
        console = ["script", "-qfec", f"virsh -c '{daemon.uri()}' console vm --force", "/dev/null"]
        with testlib.Guest(console) as guest:
            guest.wake(300)
            guest.send("stty -echo\n")
            # Both CPUs have a queue, and what is sent to any is answered.
            guest.run("[ -e /sys/class/net/eth0/queues/rx-1 ] && ip link set eth0 up && "
                      "ip addr add 10.8.0.2/24 dev eth0", 60)
            guest.run(ping.format("10.8.0.1"), 120)
            with_xml(daemon, card, "attach-device", "vm", "--live")
            guest.run("n=0; until [ -e /sys/class/net/eth1 ] || [ $n = 300 ]; do n=$((n + 1)); "
                      "usleep 100000; done; ip link set eth1 up; ip addr add 10.9.0.2/24 dev eth1", 120)
            guest.run(ping.format("10.9.0.1"), 120)
            daemon.virsh("detach-interface", "vm", "vhostuser", "--live")
            guest.run("[ ! -e /sys/class/net/eth1 ]", 60)
        daemon.virsh("destroy", "vm")
        # As it stands in the definition.
        with_xml(daemon, document(card, kernel, initrd, SHARED), "define")
        daemon.virsh("start", "vm")
        daemon.virsh("destroy", "vm")
    finally:
        server.end()


def main():
    for program in ("passt", "dpdk-testpmd"):
        if not shutil.which(program):
            print(f"{program} is not installed")
            sys.exit(netspace.SKIPPED)
    kernel, initrd = testlib.kernel("cloud")
    netspace.enter()
    for command in ("link add up0 type veth peer name up1", "addr add 192.0.2.2/24 dev up0",
                    "link set up0 up", "link set up1 up", "route add default via 192.0.2.1"):
        netspace.run("ip", *command.split())
    shim = slow_passt()
    with Daemon() as daemon:
        check_refusals(daemon, kernel, initrd)
        check_slow_passt(daemon, kernel, initrd, shim)
        check_passt(daemon, kernel, initrd)
        check_vhostuser(daemon, kernel, initrd)
        check_cables(daemon, kernel, initrd)


main()
