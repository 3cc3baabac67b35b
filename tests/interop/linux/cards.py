#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Stock drivers on our emulated network cards: cards.py CARD MODULE

DHCP and ping by the user-mode network, a file each way whose checksum must be right (with and without
large packets), VLAN tags, the cable pulled and put back, and the card taken out of a PCIe slot and put
into it again while the guest runs.
"""
import hashlib
import http.server
import os
import socket
import sys
import threading

import vmm
from vmm import Guest, Qmp, check

SIZE = 8 << 20


def serve_file(data):
    """A web server on the loopback that has `data` at any path."""
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


class Sink:
    """Takes a connection at a time and says what came in by it."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(120)
        self.port = self.listener.getsockname()[1]

    def take(self):
        connection, _ = self.listener.accept()
        digest, size = hashlib.sha256(), 0
        with connection:
            connection.settimeout(120)
            while data := connection.recv(1 << 16):
                digest.update(data)
                size += len(data)
        return digest.hexdigest(), size


def transfers(guest, data, server, sink):
    """The file comes, and goes back."""
    want = hashlib.sha256(data).hexdigest()
    guest.run(f"wget -q -O /tmp/file http://10.0.2.2:{server.server_port}/", 300)
    check(want in guest.run("sha256sum /tmp/file", 60), "what the guest received is not what was sent")
    result = []
    thread = threading.Thread(target=lambda: result.append(sink.take()))
    thread.start()
    guest.run(f"nc 10.0.2.2 {sink.port} </tmp/file", 300)
    thread.join(120)
    check(result == [(want, len(data))], f"what the guest sent came as {result}")


def counters(guest):
    text = guest.run("cat /sys/class/net/eth0/statistics/[rt]x_errors "
                     "/sys/class/net/eth0/statistics/[rt]x_dropped", 30)
    return [int(line) for line in text.split() if line.isdigit()]


def bring_up(guest):
    text = guest.run("ip link set eth0 up && udhcpc -n -q -i eth0 -s /bin/true 2>&1 && "
                     "ip addr replace 10.0.2.15/24 dev eth0", 120)
    check("10.0.2.15" in text, "DHCP gave another address:\n" + text)
    check("3 packets received" in guest.run("ping -c 3 -s 1400 10.0.2.2", 60), "ping is lossy")


def await_carrier(guest, value):
    guest.run(f"n=0; until [ $(cat /sys/class/net/eth0/carrier) = {value} ] || [ $n = 100 ]; do "
              f"n=$((n + 1)); usleep 100000; done; [ $(cat /sys/class/net/eth0/carrier) = {value} ]", 60)


def cable(guest, qmp):
    """set_link tells the driver."""
    qmp.call("set_link", name="n", up=False)
    await_carrier(guest, 0)
    guest.run("! ping -c 1 -W 1 10.0.2.2", 30)
    qmp.call("set_link", name="n", up=True)
    await_carrier(guest, 1)
    guest.run("ping -c 1 10.0.2.2", 30)


def card_works(card, module):
    data = os.urandom(SIZE)
    server, sink = serve_file(data), Sink()
    with vmm.temporary_folder() as folder:
        command = vmm.direct("generic", 2, "512",
                             append=f"quiet berth.modules={module},8021q,af_packet,button", extra=[
            "-device", "pcie-root-port,id=slot,chassis=1,slot=1,addr=4", "-netdev", "user,id=n",
            "-device", f"{card},netdev=n,id=nic,bus=slot,mac=52:54:00:01:02:03",
            "-qmp", f"unix:{folder}/qmp,server=on,wait=off"])
        with Guest(command) as guest:
            qmp = Qmp(f"{folder}/qmp", 60)
            guest.expect("guest# ", 300)
            guest.send("stty -echo\n")
            check("52:54:00:01:02:03" in guest.run("cat /sys/class/net/eth0/address", 30),
                  "the address is another one")
            check(module in guest.run("readlink /sys/class/net/eth0/device/driver", 30),
                  "another driver took the card")
            bring_up(guest)
            transfers(guest, data, server, sink)
            cable(guest, qmp)
            qmp.call("device_del", id="nic")
            qmp.wait_event("DEVICE_DELETED")
            qmp.call("device_add", driver=card, id="nic", bus="slot", netdev="n",
                     mac="52:54:00:01:02:03")
            guest.run("n=0; until [ -e /sys/class/net/eth0 ] || [ $n = 300 ]; do n=$((n + 1)); "
                      "usleep 100000; done; [ -e /sys/class/net/eth0 ]", 120)
            bring_up(guest)
            transfers(guest, data, server, sink)
            check(not any(counters(guest)), f"errors or drops: {counters(guest)}")
            guest.send("poweroff -f\n")
            check(guest.wait(60) == 0, "a guest's poweroff did not end the VMM with 0")
    server.shutdown()


CARD, MODULE = sys.argv[1:]
sys.argv[1:] = []


def card_with_a_stock_driver():
    card_works(CARD, MODULE)


vmm.main(card_with_a_stock_driver)
