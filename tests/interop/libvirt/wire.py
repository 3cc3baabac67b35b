# SPDX-License-Identifier: GPL-2.0-or-later
"""libvirt's remote protocol without libvirt: messages as a client of our own would send them."""
import os
import re
import socket
import struct

REMOTE, QEMU, KEEPALIVE = 0x20008086, 0x20008087, 0x6b656570
CALL, REPLY, EVENT = range(3)
HEADER = struct.Struct(">7I")  # length, program, version, procedure, type, serial, status


def procedures():
    """Numbers by name, from the schema."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../schema/remote.rpc")
    with open(path) as file:
        return {name: int(number) for number, name in re.findall(r"^ *(\d+) ([A-Z]\w+)", file.read(),
                                                                 re.M)}


def message(procedure, serial, payload=b"", program=REMOTE, kind=CALL):
    return HEADER.pack(28 + len(payload), program, 1, procedure, kind, serial, 0) + payload


def string(text):
    data = text.encode()
    return struct.pack(">I", len(data)) + data + bytes(-len(data) % 4)


def domain(name, uuid, number=-1):
    return string(name) + uuid + struct.pack(">i", number)


def exactly(sock, count):
    data = b""
    while len(data) < count:
        part = sock.recv(count - len(data))
        if not part:
            return None
        data += part
    return data


def receive(sock):
    """The words of the header and the payload, or None at the end."""
    head = exactly(sock, HEADER.size)
    if head is None:
        return None
    words = HEADER.unpack(head)
    return words, exactly(sock, words[0] - HEADER.size)


def old_listener(path, *events):
    """A client of long ago, which registers for events by their numbers: the socket that they come from."""
    numbers = procedures()
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(60)
    sock.connect(path)
    register = numbers["CONNECT_DOMAIN_EVENT_REGISTER_ANY"]
    for procedure, payload in ((numbers["CONNECT_OPEN"], bytes(8)),
                               *((register, struct.pack(">i", event)) for event in events)):
        sock.sendall(message(procedure, 0, payload))
        assert receive(sock)[0][6] == 0
    return sock
