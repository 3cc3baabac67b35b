#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Networks when something goes wrong: what fails leaves things as they were, on the host, in memory and on
the disk."""
import os
import signal
import socket
import struct

import ether
from private import Daemon

HOSTS = "".join(f"<host mac='52:54:00:00:01:0{n}' ip='10.3.0.{n}'/>" for n in (2, 3))
NETWORK = f"""<network><name>net</name><uuid>12ac8b8c-4f23-4248-ae42-fdcd50c40004</uuid>
<forward mode='nat'/><bridge name='faulty' stp='off'/><dns><txt name='path' value='C:\\new\\'/></dns>
<ip address='10.3.0.1' prefix='24'><dhcp>
<range start='10.3.0.10' end='10.3.0.20'/>{HOSTS}</dhcp></ip></network>"""


class Net:
    def __init__(self, daemon):
        self.daemon = daemon
        path = os.path.join(daemon.top, "net.xml")
        with open(path, "w") as file:
            file.write(NETWORK)
        daemon.virsh("net-define", path)
        daemon.virsh("net-start", "net")

    def state(self, *names):
        return os.path.join(self.daemon.top, "state", *names)

    def server(self):
        """The number of dnsmasq's process; 0: there is none."""
        try:
            with open(self.state("networks-run", "faulty.pid")) as file:
                pid = int(file.read())
            with open(f"/proc/{pid}/cmdline") as file:
                return pid if "faulty.conf" in file.read() else 0
        except (OSError, ValueError):
            return 0

    def documents(self):
        """As it is known, and as the next daemon will read it."""
        texts = [self.daemon.said("net-dumpxml", "net", *flag) for flag in ([], ["--inactive"])]
        for folder in ("networks", "networks-active"):
            with open(self.state(folder, "12ac8b8c-4f23-4248-ae42-fdcd50c40004.xml")) as file:
                texts.append(file.read())
        return texts

    def update(self, *args, check=True):
        return self.daemon.virsh("net-update", "net", *args, "--live", "--config", check=check)


def check_text(net):
    """A value with backslashes is what it is, also at its end (RFC 1035, 4.1: a question for TXT)."""
    question = struct.pack(">6H", 7, 0x100, 1, 0, 0, 0) + b"\4path\0" + struct.pack(">2H", 16, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(30)
        client.sendto(question, ("10.3.0.1", 53))
        answer = client.recv(512)
    assert rb"C:\new" + b"\\" in answer, answer


def check_update_fails(net):
    """dnsmasq refuses two hosts with one address: it goes on with what it had."""
    before, old = net.documents(), net.server()
    result = net.update("modify", "ip-dhcp-host", "<host mac='52:54:00:00:01:03' ip='10.3.0.2'/>", check=False)
    assert result.returncode and "dnsmasq did not start" in result.stdout, result.stdout
    net.daemon.wait(lambda: net.server() not in (0, old), "dnsmasq is back")
    assert net.documents() == before, net.documents()
    net.update("modify", "ip-dhcp-host", "<host mac='52:54:00:00:01:03' ip='10.3.0.4'/>")
    assert all("10.3.0.4" in text for text in net.documents())


def check_update_after_end(net):
    """A change that is not dnsmasq's, in the moment when that has ended."""
    os.kill(net.server(), signal.SIGKILL)
    net.update("add", "portgroup", "<portgroup name='p'/>")
    net.daemon.wait(net.server, "dnsmasq is back")


def check_restart_without_dnsmasq(net):
    """dnsmasq has ended and does not start with the next daemon: the guests' bridge is still a network's."""
    path, daemon = os.path.join(net.daemon.top, "dnsmasq"), net.daemon
    with open(path, "w") as file:
        file.write("#!/bin/sh\necho no >&2\nexit 2\n")
    os.chmod(path, 0o755)
    daemon.environment["PATH"] = f"{daemon.top}:{os.environ['PATH']}"
    daemon.stop(signal.SIGKILL)
    os.kill(net.server(), signal.SIGKILL)
    daemon.start()
    assert "Active:         yes" in daemon.said("net-info", "net")
    daemon.wait_log("network 'net': dnsmasq did not start: no")
    os.unlink(path)
    daemon.wait(net.server, "dnsmasq is back")
    net.documents()


def check_other_configuration(net):
    """dnsmasq runs with what is not the network's: the next daemon starts it anew."""
    path, daemon, old = net.state("networks-run", "faulty.conf"), net.daemon, net.server()
    daemon.stop(signal.SIGKILL)
    with open(path, "a") as file:
        file.write("cache-size=7\n")
    daemon.start()
    daemon.wait(lambda: net.server() not in (0, old), "dnsmasq is another")
    with open(path) as file:
        assert "cache-size" not in file.read()
    old = net.server()
    daemon.stop(signal.SIGKILL)
    daemon.start()
    assert net.server() == old, "dnsmasq was started anew without need"


def check_destroy_fails(net):
    """The mark of an active network cannot be removed, as it is a folder."""
    mark, old = net.state("networks-active", "12ac8b8c-4f23-4248-ae42-fdcd50c40004.xml"), net.server()
    os.rename(mark, mark + ".away")
    os.mkdir(mark)
    result = net.daemon.virsh("net-destroy", "net", check=False)
    assert result.returncode and "cannot remove" in result.stdout, result.stdout
    net.daemon.wait(lambda: net.server() not in (0, old), "dnsmasq is back")
    assert "10.3.0.1/24" in ether.ip("address", "show", "faulty")
    os.rmdir(mark)


def main():
    ether.own_network()
    with Daemon() as daemon:
        net = Net(daemon)
        check_text(net)
        check_update_fails(net)
        check_update_after_end(net)
        check_restart_without_dnsmasq(net)
        check_other_configuration(net)
        check_destroy_fails(net)
        daemon.virsh("net-destroy", "net")
        assert not net.server() and "faulty" not in ether.ip("link")


main()
