# SPDX-License-Identifier: GPL-2.0-or-later
"""Hosts on one machine: network namespaces that a test makes, joined by veth pairs. They end with the
processes that hold them, and what is in them with them."""
import os
import socket
import subprocess
import sys

LIMIT = 60
SKIPPED = 77

# A server that tells each client its address, when it has read the client's request to its end.
SERVER = """
import socket, sys
server = socket.create_server(("", int(sys.argv[1])), family=int(sys.argv[2]))
print("ready", flush=True)
while True:
    client, address = server.accept()
    client.settimeout(30)
    request = b""
    try:
        while b"\\r\\n\\r\\n" not in request and (data := client.recv(4096)):
            request += data
        client.sendall(f"from {address[0]}\\n".encode())
        client.shutdown(socket.SHUT_WR)
        while client.recv(4096):
            pass
    except OSError:
        pass
    client.close()
"""


def enter():
    """Go on in a network namespace of our own, as this test's host."""
    if os.geteuid() != 0:
        print("only root may make bridges, rules and namespaces")
        sys.exit(SKIPPED)
    if "BERTH_NETSPACE" not in os.environ:
        environment = dict(os.environ, BERTH_NETSPACE="1")
        os.execvpe("unshare", ["unshare", "--net", sys.executable, *sys.argv], environment)
    run("ip", "link", "set", "lo", "up")


def run(*command, check=True, data=None):
    result = subprocess.run(command, text=True, input=data, timeout=LIMIT, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT)
    assert not check or result.returncode == 0, f"{' '.join(command)}:\n{result.stdout}"
    return result.stdout


# A DHCPv6 client (RFC 8415): solicit, request; prints the address that it is given.
DHCPV6 = """
import socket, struct, sys, time
def option(code, data): return struct.pack("!HH", code, len(data)) + data
def options(data):
    found = {}
    while len(data) >= 4:
        code, length = struct.unpack("!HH", data[:4])
        found[code], data = data[4:4 + length], data[4 + length:]
    return found
name = sys.argv[1]
mac = bytes.fromhex(sys.argv[2].replace(":", ""))
me = option(1, struct.pack("!HH", 3, 1) + mac) + option(8, b"\\0\\0")
wish = option(3, struct.pack("!III", 7, 0, 0))
client = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
client.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name.encode())
client.bind(("::", 546))
client.settimeout(2)
def ask(kind, body):
    for attempt in range(20):
        try:
            client.sendto(bytes([kind]) + b"abc" + body,
                          ("ff02::1:2", 547, 0, socket.if_nametoindex(name)))
            return options(client.recv(2048)[4:])
        except OSError as error:
            last = error
            time.sleep(0.3)
    raise last
offer = ask(1, me + wish)
reply = ask(3, me + option(2, offer[2]) + option(3, offer[3]))
address = options(reply[3][12:])[5][:16]
print(socket.inet_ntop(socket.AF_INET6, address))
"""


class Host:
    """Another host: a namespace, held by a process that sleeps."""

    def __init__(self):
        self.holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo ready; exec sleep 3600"],
                                       stdout=subprocess.PIPE, text=True)
        assert self.holder.stdout.readline() == "ready\n"
        self.servers = []
        self.run("ip", "link", "set", "lo", "up")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in [*self.servers, self.holder]:
            process.kill()
            process.wait()
            process.stdout.close()

    def command(self, *command):
        return ["nsenter", "-t", str(self.holder.pid), "--net", *command]

    def run(self, *command, check=True, data=None):
        return run(*self.command(*command), check=check, data=data)

    def cable(self, here, there, address, mac=None):
        """A veth pair: `here` in our namespace, `there` in the other one, which has `address`."""
        run("ip", "link", "add", here, "type", "veth", "peer", "name", there,
            *(["address", mac] if mac else []), "netns", str(self.holder.pid))
        run("ip", "link", "set", here, "up")
        self.run("ip", "address", "add", address, "dev", there)
        self.run("ip", "link", "set", there, "up")

    def answer(self, port, family=socket.AF_INET):
        """Start the server."""
        server = subprocess.Popen(self.command(sys.executable, "-c", SERVER, str(port), str(int(family))),
                                  stdout=subprocess.PIPE, text=True)
        self.servers.append(server)
        assert server.stdout.readline() == "ready\n"

    def lease_ipv6(self, device, mac):
        """An address by DHCPv6 on the device, whose MAC address is `mac`."""
        return self.run(sys.executable, "-c", DHCPV6, device, mac).strip()

    def get(self, address, port, path="/"):
        """What a TCP server says to a client on this host, or "" if it cannot be reached."""
        return self.run("timeout", "40", "socat", "-t", "20", f"tcp:{address}:{port},connect-timeout=20",
                        "stdio", check=False, data=f"GET {path} HTTP/1.0\r\n\r\n")
