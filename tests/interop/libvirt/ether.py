# SPDX-License-Identifier: GPL-2.0-or-later
"""Network namespaces of a test's own, raw Ethernet frames in them, and a count of what arrives."""
import ctypes
import os
import select
import socket
import struct
import subprocess
import time

CLONE_NEWNET, CLONE_NEWNS = 0x40000000, 0x20000
LIBC = ctypes.CDLL(None, use_errno=True)
SETTLE = 0.3  # seconds without a frame: no more will come


def own_network():
    """This process, and all that it starts from now on, in a network namespace that ends with them."""
    assert LIBC.unshare(CLONE_NEWNET) == 0, "unshare(CLONE_NEWNET): run the tests as root"
    ip("link", "set", "lo", "up")


def own_sysfs():
    """/sys shows that network namespace, to this process and all that it starts."""
    assert LIBC.unshare(CLONE_NEWNS) == 0, "unshare(CLONE_NEWNS): run the tests as root"
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "-t", "sysfs", "none", "/sys"], check=True)


def ip(*args, check=True):
    return subprocess.run(["ip", *args], check=check, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT).stdout


def mac(text):
    return bytes.fromhex(text.replace(":", ""))


def v4(text):
    return socket.inet_aton(text)


def checksum(data):
    """RFC 1071."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


# Where the checksum is: of TCP, UDP, ICMP and ICMPv6.
CHECKSUM_AT = {6: 16, 17: 6, 1: 2, 58: 2}


def with_checksum(protocol, payload, pseudo_header):
    """Connection tracking looks only at packets whose checksum is right."""
    at = CHECKSUM_AT.get(protocol)
    if at is None or len(payload) < at + 2:
        return payload
    total = checksum((b"" if protocol == 1 else pseudo_header) + payload)
    return payload[:at] + struct.pack(">H", total) + payload[at + 2:]


def ethernet(source, destination, ethertype, payload):
    return mac(destination) + mac(source) + struct.pack(">H", ethertype) + payload


def arp(sender_mac, sender_ip, target_ip, operation=1, target_mac="00:00:00:00:00:00", ethertype=0x806,
        source=None):
    body = struct.pack(">HHBBH", 1, 0x800, 6, 4, operation) + mac(sender_mac) + v4(sender_ip) + \
        mac(target_mac) + v4(target_ip)
    return ethernet(source or sender_mac, "ff:ff:ff:ff:ff:ff", ethertype, body)


def ipv4(source, destination, protocol, payload, dscp=0, fragment=0):
    payload = with_checksum(protocol, payload, v4(source) + v4(destination) +
                            struct.pack(">BBH", 0, protocol, len(payload)))
    header = struct.pack(">BBHHHBBH4s4s", 0x45, dscp << 2, 20 + len(payload), 1, fragment, 64, protocol,
                         0, v4(source), v4(destination))
    return header[:10] + struct.pack(">H", checksum(header)) + header[12:] + payload


def v6(text):
    return socket.inet_pton(socket.AF_INET6, text)


def ipv6(source, destination, protocol, payload):
    payload = with_checksum(protocol, payload, v6(source) + v6(destination) +
                            struct.pack(">II", len(payload), protocol))
    return struct.pack(">IHBB", 6 << 28, len(payload), protocol, 64) + \
        v6(source) + v6(destination) + payload


def udp(source, destination, payload=b"x"):
    return struct.pack(">HHHH", source, destination, 8 + len(payload), 0) + payload


def tcp(source, destination, flags=0x02):
    return struct.pack(">HHIIBBHHH", source, destination, 1, 0, 0x50, flags, 1000, 0, 0)


class End:
    """An end of a link: frames go out and come in by a packet socket."""

    def __init__(self, device):
        self.device = device
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.socket.bind((device, 0))
        self.socket.setsockopt(263, 8, 1)  # SOL_PACKET, PACKET_AUXDATA

    def send(self, frame, count=1):
        for _ in range(count):
            self.socket.send(frame)

    def read(self, seconds=SETTLE):
        """What has come in, until nothing does any more."""
        frames = []
        while select.select([self.socket], [], [], seconds)[0]:
            frame, address = self.socket.recvfrom(65536)
            if address[2] != socket.PACKET_OUTGOING:
                frames.append(frame)
        return frames


def untagged(frame):
    """As a packet socket shows it: the kernel puts a VLAN tag aside."""
    return frame[:12] + frame[16:] if frame[12:14] == b"\x81\0" else frame


def passed(sender, receiver, frames, count):
    """Send each of the named frames `count` times: how many of each came through, and nothing else."""
    receiver.read(0)
    for frame in frames.values():
        sender.send(frame, count)
    got = [bytes(frame) for frame in receiver.read()]
    result = {name: got.count(untagged(frame)) for name, frame in frames.items()}
    assert sum(result.values()) == len(got), f"frames that nobody sent: {[g.hex() for g in got]}"
    return result
