#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""200 clients at a time, each with calls in flight that are answered out of order: load.py SECONDS [RATE]

Every call is answered once and without an error, at RATE calls a second or more (10,000, unless told
otherwise); what the daemon holds afterwards is what it held after the first round.
"""
import os
import selectors
import socket
import struct
import sys
import time

import libvirt
import wire
from private import Daemon

CLIENTS, IN_FLIGHT = 200, 16
XML = """<domain type='qemu'><name>{name}</name><memory unit='MiB'>16</memory>
<os><type arch='x86_64' machine='q35'>hvm</type></os>
<devices><memballoon model='virtio'/></devices></domain>"""
NUMBERS = wire.procedures()
LIMIT = 60


def mixture(running, pool):
    """Calls and how many of a hundred: most are quick; some ask a VMM, some a thread."""
    dom = wire.domain(running.name(), running.UUID(), running.ID())
    volumes = wire.string(pool.name()) + pool.UUID() + struct.pack(">II", 1, 0)
    calls = [("DOMAIN_GET_INFO", dom, 30), ("DOMAIN_LOOKUP_BY_NAME", wire.string("idle"), 28),
             ("CONNECT_LIST_ALL_DOMAINS", struct.pack(">iI", 1, 0), 20),
             ("DOMAIN_GET_XML_DESC", dom + struct.pack(">I", 0), 10),
             ("DOMAIN_MEMORY_STATS", dom + struct.pack(">II", 16, 0), 6),
             ("STORAGE_POOL_LIST_ALL_VOLUMES", volumes, 5),
             ("STORAGE_POOL_REFRESH", wire.string(pool.name()) + pool.UUID() + bytes(4), 1)]
    weighted = [(NUMBERS[name], payload) for name, payload, weight in calls for _ in range(weight)]
    assert len(weighted) == 100
    # Neighbours differ.
    return [weighted[i * 37 % 100] for i in range(100)]


class Client:
    def __init__(self, path, calls, number):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(LIMIT)
        self.sock.connect(path)
        self.calls, self.serial, self.open, self.input = calls, number * 7, {}, b""
        self.answered = self.overtaken = 0
        for procedure, payload in ((NUMBERS["AUTH_LIST"], b""),
                                   (NUMBERS["CONNECT_OPEN"], bytes(8))):
            self.sock.sendall(wire.message(procedure, 0, payload))
            assert wire.receive(self.sock)[0][6] == 0

    def ask(self, count):
        batch = b""
        for _ in range(count):
            self.serial += 1
            procedure, payload = self.calls[self.serial % len(self.calls)]
            self.open[self.serial] = procedure
            batch += wire.message(procedure, self.serial, payload)
        self.sock.sendall(batch)

    def take(self):
        """Answers that have come; returns their number."""
        data, at, count = self.input + self.sock.recv(1 << 18), 0, 0
        while len(data) - at >= 28:
            length, _, _, procedure, kind, serial, status = wire.HEADER.unpack_from(data, at)
            if len(data) - at < length:
                break
            assert kind == wire.REPLY and status == 0, (procedure, data[at + 28:at + length])
            self.overtaken += next(iter(self.open)) != serial
            assert self.open.pop(serial) == procedure
            at += length
            count += 1
        self.input = data[at:]
        self.answered += count
        return count


def run_round(path, calls, seconds):
    """Returns calls a second, and how many answers came before that of an earlier call."""
    clients = [Client(path, calls, number) for number in range(CLIENTS)]
    selector = selectors.DefaultSelector()
    begin = time.monotonic()
    for client in clients:
        selector.register(client.sock, selectors.EVENT_READ, client)
        client.ask(IN_FLIGHT)
    while time.monotonic() < begin + seconds:
        ready = selector.select(LIMIT)
        assert ready, "nobody is answered"
        for key, _ in ready:
            key.data.ask(key.data.take())
    taken = time.monotonic() - begin
    rate = sum(client.answered for client in clients) / taken
    for client in clients:
        while client.open:
            client.take()
        client.sock.close()
    return rate, sum(client.overtaken for client in clients)


def held(pid):
    """Resident KiB and descriptors."""
    with open(f"/proc/{pid}/status") as file:
        rss = next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))
    return rss, len(os.listdir(f"/proc/{pid}/fd"))


def main():
    seconds, wanted = float(sys.argv[1]), float((sys.argv[2:] or [10000])[0])
    with Daemon(quiet=True) as daemon:
        conn = libvirt.open(daemon.uri())
        conn.defineXML(XML.format(name="idle"))
        running = conn.createXML(XML.format(name="busy"), libvirt.VIR_DOMAIN_START_PAUSED)
        os.mkdir(f"{daemon.top}/pool")
        pool = conn.storagePoolCreateXML("<pool type='dir'><name>p</name><target>"
                                         f"<path>{daemon.top}/pool</path></target></pool>", 0)
        for number in range(5):
            pool.createXML(f"<volume><name>v{number}</name><capacity>1048576</capacity></volume>", 0)
        calls = mixture(running, pool)
        run_round(daemon.socket, calls, seconds / 2)
        rss, fds = held(daemon.process.pid)
        rate, overtaken = run_round(daemon.socket, calls, seconds)
        daemon.wait(lambda: held(daemon.process.pid)[1] <= fds, "the clients' sockets are closed")
        after = held(daemon.process.pid)[0]
        print(f"{rate:.0f} calls a second by {CLIENTS} clients, {overtaken} answers overtook others; "
              f"{rss} KiB before, {after} KiB after")
        assert rate >= wanted, f"{rate:.0f} calls a second"
        assert overtaken > 100
        # Sanitizers keep books of their own, and find leaks by themselves.
        slack = 2 if "BERTHD" in os.environ else 1.1
        assert after < rss * slack + 4096, "the daemon holds more after each round"
        running.destroy()
        conn.close()


main()
