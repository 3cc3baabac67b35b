#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Interfaces of the host, defined, brought up and down, and taken back, by virsh and by berth: a veth
pair leads to a neighbour, who must reach the host whatever the interface is."""
import glob
import os
import re
import signal
import socket
import subprocess
import sys

import libvirt
import netspace
from private import BUILD, Daemon

COVERS = """
INTERFACE_DEFINE_XML INTERFACE_UNDEFINE INTERFACE_CREATE INTERFACE_DESTROY INTERFACE_CHANGE_BEGIN
INTERFACE_CHANGE_COMMIT INTERFACE_CHANGE_ROLLBACK
"""
ADDRESSES = {"10.9.0.1/24", "10.9.0.7/24", "fd00:9::1/64"}
ROUTES = {"default via 10.9.0.2", "10.20.0.0/16 via 10.9.0.3"}
PLAIN = """<interface type='ethernet' name='{name}'><start mode='{mode}'/>
  <protocol family='ipv4'><ip address='10.8.0.1' prefix='24'/></protocol></interface>"""
BRIDGE = """<interface type='bridge' name='{name}'><start mode='{mode}'/>{parts}<bridge stp='off' delay='0'>{ports}</bridge></interface>"""
PORT = "<interface type='ethernet' name='{}'/>"


def state(device):
    """Addresses and routes of a device, as ip(8) says."""
    addresses = set(re.findall(r"inet6? (\S+) ", netspace.run("ip", "addr", "show", "dev", device)))
    routes = {line.strip().split(" dev ")[0] for line in netspace.run("ip", "route", "show", "dev",
              device).splitlines() if " via " in line}
    return {a for a in addresses if not a.startswith("fe80")}, {" ".join(r.split()[:3]) for r in routes}


def master(device):
    found = re.search(r"master (\S+)", netspace.run("ip", "-o", "link", "show", "dev", device))
    return found and found.group(1)


def links():
    return re.findall(r"^\d+: ([^:@]+)", netspace.run("ip", "-o", "link"), re.M)


def reaches():
    """A connection to the neighbour and back, by both families."""
    for address, port, source in (("10.9.0.2", 7000, "10.9.0."), ("[fd00:9::2]", 7006, "fd00:9::1")):
        said = netspace.run("timeout", "40", "socat", "-t", "20", f"tcp:{address}:{port},connect-timeout=20",
                            "stdio", check=False, data="GET / HTTP/1.0\r\n\r\n")
        assert f"from {source}" in said, said


class Tool:
    """virsh or berth on the same daemon."""

    def __init__(self, daemon, name):
        self.daemon, self.name = daemon, name
        self.program = ["virsh"] if name == "virsh" else [os.path.join(BUILD, "bin", "berth")]

    def run(self, *args):
        result = subprocess.run([*self.program, "-c", self.daemon.uri(), *args], text=True, timeout=60,
                                env=dict(os.environ, LC_ALL="C"), stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT)
        return result.returncode, result.stdout

    def said(self, *args):
        code, text = self.run(*args)
        # Debian 12's virsh ends with 1 also when it has taken an interface down.
        if args[0] == "iface-destroy" and text.strip() == f"Interface {args[1]} destroyed":
            return text.strip()
        assert code == 0, f"{self.name} {args}: {code}: {text}"
        return text.strip()

    def refuses(self, words, *args):
        code, text = self.run(*args)
        assert code == 1 and words in text, f"{self.name} {args}: {text}"

    def define(self, document, refused=None):
        path = os.path.join(self.daemon.top, "interface.xml")
        with open(path, "w") as file:
            file.write(document)
        if refused:
            self.refuses(refused, "iface-define", path)
        else:
            self.said("iface-define", path)


def make_host(neighbour):
    neighbour.cable("eth7", "eth0", "10.9.0.2/24")
    neighbour.run("ip", "address", "add", "fd00:9::2/64", "dev", "eth0", "nodad")
    for address in sorted(ADDRESSES):
        netspace.run("ip", "address", "add", address, "dev", "eth7", *(["nodad"] if ":" in address else []))
    for route in ROUTES:
        netspace.run("ip", "route", "add", *route.split())
    neighbour.answer(7000)
    neighbour.answer(7006, socket.AF_INET6)
    netspace.run("ip", "link", "add", "spare", "type", "veth", "peer", "name", "spare-end")


def check_bridge(tool):
    """iface-bridge takes addresses and routes along, iface-unbridge brings them back."""
    assert "Created bridge br7 with attached device eth7" in tool.said("iface-bridge", "eth7", "br7", "--no-stp")
    assert master("eth7") == "br7" and state("br7") == (ADDRESSES, ROUTES), state("br7")
    assert state("eth7") == (set(), set()), state("eth7")
    reaches()
    assert re.search(r"br7 +active", tool.said("iface-list", "--all"))
    assert "eth7" not in re.findall(r"^ (\S+)", tool.said("iface-list", "--all"), re.M)
    assert "<interface type='ethernet' name='eth7'>" in tool.said("iface-dumpxml", "br7")
    tool.refuses("interface is already running", "iface-start", "br7")
    tool.refuses("is a port of the bridge 'br7'", "iface-destroy", "eth7")
    said = tool.said("iface-unbridge", "br7")
    assert "Device eth7 un-attached from bridge br7" in said and "Interface eth7 started" in said
    assert "br7" not in links() and master("eth7") is None and state("eth7") == (ADDRESSES, ROUTES)
    reaches()
    tool.said("iface-undefine", "eth7")
    # With STP as virsh has it by itself, for later.
    assert "started" not in tool.said("iface-bridge", "eth7", "br8", "--no-start", "--delay", "3")
    assert "br8" not in links() and re.search(r"br8 +inactive", tool.said("iface-list", "--inactive"))
    assert "<bridge stp='on' delay='3'>" in tool.said("iface-dumpxml", "br8")
    tool.said("iface-undefine", "br8")


def check_life(tool):
    tool.define(BRIDGE.format(name="empty", mode="none", parts="<mac address='52:54:00:00:77:01'/><mtu size='1400'/>",
                              ports=PORT.format("spare")))
    assert tool.said("iface-mac", "empty") == "52:54:00:00:77:01"
    tool.refuses("interface is not running", "iface-destroy", "empty")
    tool.said("iface-start", "empty")
    shown = netspace.run("ip", "-d", "link", "show", "empty")
    assert "mtu 1400" in shown and "52:54:00:00:77:01" in shown and master("spare") == "empty", shown
    assert re.search(r"empty +active +52:54:00:00:77:01", tool.said("iface-list"))
    netspace.run("ip", "tuntap", "add", "guest0", "mode", "tap")
    netspace.run("ip", "link", "set", "guest0", "master", "empty")
    tool.refuses("a guest is plugged into 'empty' by 'guest0'", "iface-destroy", "empty")
    netspace.run("ip", "link", "delete", "guest0")
    tool.said("iface-destroy", "empty")
    assert "empty" not in links() and master("spare") is None
    tool.said("iface-undefine", "empty")
    tool.refuses("Interface not found", "iface-dumpxml", "empty")
    # Half-way it cannot go on, and everything is as it was.
    tool.define(BRIDGE.format(name="half", mode="none", parts="", ports=PORT.format("eth7") + PORT.format("none")))
    tool.refuses("there is no interface 'none' to be a port of 'half'", "iface-start", "half")
    assert "half" not in links() and state("eth7") == (ADDRESSES, ROUTES)
    tool.said("iface-undefine", "half")


def check_refusals(tool):
    tool.define(PLAIN.format(name="lo", mode="none"), "belongs to the kernel")
    bond = "<interface type='bond' name='bond0'><bond mode='{}'>{}" + PORT.format("spare") + "</bond></interface>"
    vlan = "<interface type='vlan' name='eth7.5'><vlan tag='{}'><interface name='{}'/></vlan></interface>"
    tool.define("<interface type='bond' name='bond0'><bond/></interface>", "bond has no interfaces")
    tool.define(bond.format("fast", ""), "unknown mode 'fast'")
    tool.define(bond.format("802.3ad", "<arpmon interval='10' target='10.9.0.2'/>"), "needs <miimon>")
    tool.define(bond.format("active-backup", "<arpmon interval='10' target='::1'/>"), "target")
    tool.define(vlan.format("0", "eth7"), "tag")
    tool.define(vlan.format("4095", "eth7"), "tag")
    tool.define(vlan.format("5", "eth7.5"), "a VLAN cannot be its own")
    for document, part in ((vlan.format("5", "eth7"), "<vlan tag='5'>"),
                           (bond.format("active-backup", "<arpmon interval='10' target='10.9.0.2' validate='all'/>"),
                            "<arpmon interval='10' target='10.9.0.2' validate='all'/>"),
                           (bond.format("balance-alb", "<miimon freq='100' updelay='200' carrier='ioctl'/>"),
                            "<miimon freq='100' updelay='200' carrier='ioctl'/>")):
        name = document.split("name='")[1].split("'")[0]
        tool.define(document)
        said = tool.said("iface-dumpxml", name)
        assert part in said and f"name='{name}'" in said, said
        tool.said("iface-undefine", name)
    tool.define("<interface type='ethernet' name='eth7'><protocol family='ipv6'><dhcp/></protocol></interface>",
                "for which Berth has no client")
    tool.define("<interface type='bridge' name='br7'/>", "bridge interface misses the bridge element")
    tool.define("<interface type='bridge' name='eth7'><bridge/></interface>", "is no bridge")
    tool.define("<interface type='ethernet' name='a/b'/>", "no name of a network device")
    tool.define("<interface", "Couldn't find end of Start Tag")
    tool.refuses("is not defined here", "iface-destroy", "eth7")
    # Whom it belongs to is read from files, of a folder of the test's own.
    for path, text, words in (
            ("/etc/network/interfaces", "auto lo\nsource interfaces.d/*\n", None),
            ("/etc/network/interfaces.d/mine", "iface eth7 inet dhcp\n", "belongs to ifupdown"),
            ("/etc/network/interfaces.d/mine", "iface br3 inet static\n  bridge_ports  spare eth7\n",
             "interfaces.d/mine"),
            ("/etc/network/interfaces.d/mine", "\n", None),
            ("/run/NetworkManager/devices/INDEX", "[device]\nmanaged=true\n", "nmcli device set eth7 managed no"),
            ("/run/NetworkManager/devices/INDEX", "[device]\nmanaged=false\n", None),
            ("/run/systemd/netif/links/INDEX", "OPER_STATE=up\nADMIN_STATE=configured\n", "systemd-networkd"),
            ("/run/systemd/netif/links/INDEX", "ADMIN_STATE=unmanaged\n", None)):
        path = path.replace("INDEX", str(socket.if_nametoindex("eth7")))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)
        if words:
            tool.define(PLAIN.format(name="eth7", mode="none"), words)
            tool.refuses(words, "iface-bridge", "eth7", "br7")
    assert state("eth7") == (ADDRESSES, ROUTES)


def check_half_defined(tool, daemon):
    """A port's document that cannot be removed: the bridge is not defined, and every file is what it was."""
    folder = os.path.join(daemon.top, "state", "interfaces")
    for name in ("first", "second"):
        tool.define(PLAIN.format(name=name, mode="none"))
    path = os.path.join(folder, "second.xml")
    os.rename(path, path + ".away")
    os.mkdir(path)
    bridge = BRIDGE.format(name="both", mode="none", parts="", ports=PORT.format("first") + PORT.format("second"))
    tool.define(bridge, "second.xml")
    os.rmdir(path)
    os.rename(path + ".away", path)
    assert {"first.xml", "second.xml"} <= set(os.listdir(folder)) and "both.xml" not in os.listdir(folder)
    daemon.stop()
    daemon.start()
    assert {"first", "second"} <= set(re.findall(r"^ (\S+)", tool.said("iface-list", "--all"), re.M))
    tool.define(bridge)
    assert not {"first.xml", "second.xml"} & set(os.listdir(folder))
    tool.said("iface-undefine", "both")


def check_networks(tool, daemon):
    path = os.path.join(daemon.top, "net.xml")
    with open(path, "w") as file:
        file.write("<network><name>mine</name><bridge name='minebr'/></network>")
    daemon.virsh("net-create", path)
    tool.define(BRIDGE.format(name="minebr", mode="none", parts="", ports=""), "the virtual network 'mine'")
    daemon.virsh("net-destroy", "mine")


def check_rollback(tool, daemon):
    before = {name: state(name) for name in ("eth7", "spare")}
    for command, words in (("iface-commit", "nothing to be committed"), ("iface-rollback", "nothing to rollback")):
        tool.refuses(words, command)
    for killed in (False, True):
        tool.define(PLAIN.format(name="spare", mode="none"))
        tool.said("iface-begin")
        tool.refuses("there is another transaction running", "iface-begin")
        tool.said("iface-bridge", "eth7", "br7", "--no-stp")
        tool.said("iface-start", "spare")
        tool.said("iface-undefine", "spare")
        tool.define(BRIDGE.format(name="other", mode="none", parts="", ports=""))
        tool.said("iface-start", "other")
        # What is not defined any more is undone all the same.
        tool.said("iface-undefine", "other")
        assert state("br7") == (ADDRESSES, ROUTES) and "10.8.0.1/24" in state("spare")[0]
        if killed:
            daemon.stop(signal.SIGKILL)
            daemon.start()
        tool.said("iface-rollback")
        assert {name: state(name) for name in before} == before
        assert not {"br7", "other"} & set(links()) and master("eth7") is None
        reaches()
        listed = tool.said("iface-list", "--all")
        assert "br7" not in listed and "<ip address='10.8.0.1'" in tool.said("iface-dumpxml", "spare", "--inactive")
        tool.said("iface-undefine", "spare")
    tool.said("iface-begin")
    tool.define("<interface type='ethernet' name='spare'><mtu size='1400'/></interface>")
    tool.said("iface-start", "spare")
    assert "mtu 1400" in netspace.run("ip", "link", "show", "spare")
    tool.said("iface-rollback")
    assert "mtu 1500" in netspace.run("ip", "link", "show", "spare")
    tool.said("iface-begin")
    tool.said("iface-bridge", "eth7", "br7", "--no-stp")
    tool.said("iface-commit")
    tool.refuses("nothing to rollback", "iface-rollback")
    assert master("eth7") == "br7"


# --- DHCP ------------------------------------------------------------------------------------------

DHCP = "<protocol family='ipv4'><dhcp/></protocol>"


def serve_dhcp(neighbour, top):
    """dnsmasq at the other end of dh7; returns the file that it logs to."""
    neighbour.cable("dh7", "server", "10.30.0.1/24")
    log = os.path.join(top, "dnsmasq.log")
    neighbour.servers.append(subprocess.Popen(neighbour.command(
        "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--interface=server",
        "--bind-interfaces", "--dhcp-range=10.30.0.50,10.30.0.99,1h", "--dhcp-authoritative",
        f"--dhcp-leasefile={top}/leases", "--pid-file=", f"--log-facility={log}", "--user=root"),
        stdout=subprocess.PIPE, text=True))
    return log


def leased(device):
    """The address by DHCP, which has an end, or None; and the default route that came with it."""
    address = re.search(r"inet (10\.30\.0\.\d+)/24 .* dynamic [^\n]*\n *valid_lft \d+sec",
                        netspace.run("ip", "addr", "show", "dev", device))
    route = "default via 10.30.0.1" in netspace.run("ip", "route", "show", "proto", "dhcp", "dev", device)
    return address and route and address.group(1)


def client(daemon, name):
    with open(os.path.join(daemon.top, "state", "dhcp", f"{name}.pid")) as file:
        return int(file.read())


def runs(pid):
    """One that has ended and that nobody has asked for has no command line."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read() != b""
    except FileNotFoundError:
        return False


def released(log, address):
    with open(log) as file:
        return f"DHCPRELEASE(server) {address} " in file.read()


def check_dhcp(tool, daemon, log):
    tool.define(f"<interface type='ethernet' name='dh7'><start mode='onboot'/>{DHCP}</interface>")
    assert "<dhcp/>" in tool.said("iface-dumpxml", "dh7", "--inactive")
    netspace.run("ip", "link", "set", "dh7", "down")
    tool.said("iface-start", "dh7")
    daemon.wait(lambda: leased("dh7"), "dh7 has a lease")
    address, pid = leased("dh7"), client(daemon, "dh7")
    # The client outlives the daemon, and one that does not is started again.
    daemon.stop(signal.SIGKILL)
    daemon.start()
    assert client(daemon, "dh7") == pid and leased("dh7") == address
    daemon.stop(signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    daemon.start()
    assert client(daemon, "dh7") != pid
    # There and back.
    tool.said("iface-begin")
    daemon.wait(lambda: leased("dh7"), "the lease is renewed")
    tool.said("iface-destroy", "dh7")
    assert not leased("dh7") and released(log, address), "the lease is given back"
    tool.said("iface-rollback")
    daemon.wait(lambda: leased("dh7"), "dh7 has a lease again")
    # The port of a bridge has none, the bridge has.
    pid = client(daemon, "dh7")
    tool.define(BRIDGE.format(name="br9", mode="none", parts=DHCP, ports=PORT.format("dh7")))
    tool.said("iface-start", "br9")
    daemon.wait(lambda: leased("br9"), "the bridge has a lease")
    assert not leased("dh7") and not runs(pid)
    pid = client(daemon, "br9")
    tool.said("iface-destroy", "br9")
    assert "br9" not in links() and not runs(pid)
    tool.said("iface-undefine", "br9")
    netspace.run("ip", "link", "set", "dh7", "up")


def end_clients(daemon):
    """Of a test that has failed half-way."""
    for path in glob.glob(os.path.join(daemon.top, "state", "dhcp", "*.pid")):
        pid = client(daemon, os.path.basename(path)[:-len(".pid")])
        if runs(pid):
            os.kill(pid, signal.SIGKILL)


def check_no_client(folder):
    """Without the program the error names its package."""
    programs = os.path.join(folder, "programs")
    os.mkdir(programs)
    for name, package in ((None, "iproute2"), ("ip", "udhcpc")):
        if name:
            os.symlink(f"/usr/sbin/{name}", os.path.join(programs, name))
        with Daemon(prefix=("env", f"PATH={programs}")) as daemon:
            tool = Tool(daemon, "virsh")
            tool.define(f"<interface type='ethernet' name='spare'>{DHCP}</interface>")
            netspace.run("ip", "link", "set", "spare", "down")
            tool.refuses(f"install the package {package}", "iface-start", "spare")


def start_anew(daemon):
    """What the start of the machine is for a daemon: another boot id, and none of the devices."""
    daemon.stop(signal.SIGKILL)
    folder = os.path.join(daemon.top, "state")
    for name in ("interfaces-boot", "interfaces-restore-point.xml"):
        path = os.path.join(folder, name)
        if os.path.exists(path):
            with open(path) as file:
                text = re.sub("in boot [0-9a-f-]*", "in boot 00000000-0000-0000-0000-000000000000", file.read())
            with open(path, "w") as file:
                file.write(text)
    for name in {"br7", "later"} & set(links()):
        netspace.run("ip", "link", "delete", name)
    netspace.run("ip", "link", "set", "eth7", "down")
    daemon.start()


def check_boot(tool, daemon):
    """br7 is defined with mode onboot; a change that is not committed is not there after a start."""
    tool.define(BRIDGE.format(name="later", mode="none", parts="", ports=""))
    tool.said("iface-begin")
    tool.said("iface-undefine", "later")
    tool.define(BRIDGE.format(name="never", mode="onboot", parts="", ports=""))
    start_anew(daemon)
    assert state("br7") == (ADDRESSES, ROUTES) and master("eth7") == "br7"
    reaches()
    assert not {"never", "later"} & set(links())
    listed = tool.said("iface-list", "--all")
    assert "later" in listed and "never" not in listed, listed
    tool.refuses("nothing to rollback", "iface-rollback")
    # What is up already, with all of its routes, is so afterwards.
    daemon.stop(signal.SIGKILL)
    os.remove(os.path.join(daemon.top, "state", "interfaces-boot"))
    daemon.start()
    with open(daemon.log) as log:
        assert "interface 'br7' is not brought up" not in log.read()
    assert state("br7") == (ADDRESSES, ROUTES)
    # A daemon that comes back meanwhile brings nothing up.
    tool.said("iface-destroy", "br7")
    daemon.stop(signal.SIGKILL)
    daemon.start()
    assert "br7" not in links()
    tool.said("iface-start", "br7")
    tool.said("iface-undefine", "later")
    tool.said("iface-unbridge", "br7")
    tool.said("iface-undefine", "eth7")


def own_files():
    """Folders in which the host's tools say what is theirs, empty, for this test alone."""
    if os.environ.get("BERTH_NETSPACE") != "2":
        os.execvpe("unshare", ["unshare", "--mount", sys.executable, *sys.argv],
                   dict(os.environ, BERTH_NETSPACE="2"))
    for folder in ("/etc/network", "/run/NetworkManager", "/run/systemd/netif"):
        os.makedirs(folder, exist_ok=True)
        netspace.run("mount", "-t", "tmpfs", "none", folder)


def main():
    netspace.enter()
    own_files()
    with netspace.Host() as neighbour, Daemon() as daemon:
        make_host(neighbour)
        reaches()
        log = serve_dhcp(neighbour, daemon.top)
        check_no_client(daemon.top)
        outputs = []
        try:
            for name in ("virsh", "berth"):
                tool = Tool(daemon, name)
                check_bridge(tool)
                check_life(tool)
                check_refusals(tool)
                check_half_defined(tool, daemon)
                check_networks(tool, daemon)
                check_rollback(tool, daemon)
                check_boot(tool, daemon)
                check_dhcp(tool, daemon, log)
                daemon.wait(lambda: re.search("eth7 +active", tool.said("iface-list")), "eth7 has its carrier")
                outputs.append(tool.said("iface-list", "--all") + tool.said("iface-dumpxml", "--inactive", "eth7"))
        finally:
            end_clients(daemon)
        assert outputs[0] == outputs[1], outputs
        connection = libvirt.open(daemon.uri())
        try:
            connection.changeBegin(5)
            raise AssertionError("unknown flags are taken")
        except libvirt.libvirtError as error:
            assert "unsupported flags" in str(error), error
        connection.close()
        missing = set(COVERS.split()) - daemon.called()
        assert not missing, f"not called: {missing}"


main()
