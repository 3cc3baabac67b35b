#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Networks side by side: tests/bench/network.py BUILD [ROW]... (or tests/bench/run BUILD network=ROW,...)

Two guests of berth-vmm's software engine and two of QEMU's TCG, all with the same kernel, initramfs and
program (guest/net.c), boot in a network namespace of their own and stay up; rows are then run in turn in
each, ROUNDS times, and the best counts. A first guest has a tap in a bridge, a user-mode network
(libslirp), passt where it is installed, and a tap with vhost=on where this kernel has vhost; a second one
has a tap in the same bridge. Rows, with /s being round trips of one byte in a second:

    NET to host, NET from host    MB/s of one TCP stream;    NET: tap, user, passt, vhost, guest
    NET tcp, NET udp              round trips with the other end
"""
import os
import re
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import guest as testlib  # noqa: E402  (the path must be set first)
from guest import Failed, Guest, check  # noqa: E402

INSIDE = "BERTH_BENCH_NAMESPACE"
PORT = 5201
SECONDS = float(os.environ.get("BERTH_BENCH_SECONDS", "2"))
ROUNDS = int(os.environ.get("BERTH_BENCH_ROUNDS", "2"))
HOST = "10.9.0.1"
# A guest's address, where it finds the host, and its MTU (passt's is what its DHCP server says).
NETWORKS = {"tap": ("10.9.0.{}", HOST, 1500), "user": ("10.0.2.15", "10.0.2.2", 1500),
            "passt": ("10.9.1.2", "10.9.1.1", 65520), "vhost": ("10.9.{}.2", "10.9.{}.1", 1500)}
MODES = {"to host": ("send", "MB/s", 1e6), "from host": ("receive", "MB/s", 1e6),
         "tcp": ("tcp", "/s", 1), "udp": ("udp", "/s", 1)}
PROGRAMS = {"berth": lambda: [testlib.program("berth-vmm"), "-accel",
                              os.environ.get("BERTH_BENCH_ACCEL", "soft"), "-cpu", "max"],
            "qemu": lambda: ["qemu-system-x86_64", "-no-user-config", "-accel", "tcg,thread=multi",
                             "-cpu", "max"]}


def networks():
    """Those that this machine has."""
    have = {"passt": bool(shutil.which("passt")), "vhost": os.path.exists("/dev/vhost-net")}
    return [name for name in NETWORKS if have.get(name, True)]


def ip(*words):
    subprocess.run(["ip", *words], check=True)


def make_bridge():
    ip("link", "set", "lo", "up")
    ip("link", "add", "br0", "type", "bridge")
    ip("addr", "add", f"{HOST}/24", "dev", "br0")
    ip("link", "set", "br0", "up")


def start_passt(path):
    """A passt whose guest finds the host under its gateway's address; returns the process."""
    address, gateway, _ = NETWORKS["passt"]
    process = subprocess.Popen(["passt", "--foreground", "--socket", path, "--address", address, "--netmask",
                                "24", "--gateway", gateway, "--interface", "br0", "--ipv4-only",
                                "--no-dhcp", "--runas", "0"],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 10
    while not os.path.exists(path):
        check(process.poll() is None and time.monotonic() < deadline, "passt did not start")
        time.sleep(0.02)
    return process


def card(name, number, host, backend):
    """Card `number` of the guest whose number in the bridge is `host`."""
    return ["-netdev", backend + f",id={name}", "-device",
            f"virtio-net-pci,netdev={name},addr={number + 4},mac=52:54:00:00:{host}:0{number}"]


class Place:
    """A guest, with its cards. `host` is its number: distinct addresses come of it."""

    def __init__(self, program, host, names, folder, stack):
        self.host, self.names, cards = host, names, []
        for number, name in enumerate(names):
            cards += card(name, number, host, self.backend(name, folder, stack))
        vmlinuz, _ = testlib.kernel("cloud")
        self.guest = Guest(PROGRAMS[program]() + [
            "-nodefaults", "-display", "none", "-m", "256", "-serial", "stdio", "-no-reboot", *cards,
            "-kernel", vmlinuz, "-initrd", f"{folder}/initramfs", "-append", "console=ttyS0 quiet"])
        stack.append(self.guest)

    def addresses(self, name):
        """(the guest's, the host's) in a network."""
        return [address.format(self.host) for address in NETWORKS[name][:2]]

    def backend(self, name, folder, stack):
        """Make what a network needs on the host; returns -netdev's type and options."""
        if name == "user":
            return "user"
        if name == "passt":
            path = f"{folder}/{self.host}.passt"
            stack.append(start_passt(path))
            return f"stream,addr.type=unix,addr.path={path}"
        tap = f"{name}{self.host}"
        ip("tuntap", "add", tap, "mode", "tap")
        if name == "tap":
            ip("link", "set", tap, "master", "br0")
        else:
            ip("addr", "add", self.addresses(name)[1] + "/24", "dev", tap)
        ip("link", "set", tap, "up")
        return f"tap,ifname={tap},script=no,downscript=no" + ",vhost=on" * (name == "vhost")

    def settle(self):
        self.guest.expect("guest# ", 300)
        self.guest.send("stty -echo\n")
        self.guest.run("true", 60)
        for number, name in enumerate(self.names):
            self.guest.run(f"ip addr add {self.addresses(name)[0]}/24 dev eth{number} && "
                           f"ip link set eth{number} mtu {NETWORKS[name][2]} up", 60)
        self.guest.run(f"/bench-net serve {PORT} >/dev/null 2>&1 & sleep 0.5", 60)

    def measure(self, mode, address):
        """Bytes or round trips in a second, by the guest's clock, which must agree with ours."""
        started = time.monotonic()
        text = self.guest.run(f"/bench-net {mode} {address} {PORT} {SECONDS}", 30 + SECONDS)
        elapsed = time.monotonic() - started
        match = re.search(r"net \w+ (\d+) (\d+)", text)
        check(match, f"bench-net {mode} gave no result:\n{text}")
        seconds = int(match.group(2)) / 1e9
        check(abs(elapsed - seconds) < 0.1 * elapsed + 0.5, f"{seconds} s in the guest were {elapsed} s")
        return int(match.group(1)) / seconds


def make_initramfs(folder):
    """The test guests' initramfs, and in front of it the program: the kernel unpacks one after the other."""
    tree = f"{folder}/tree"
    os.makedirs(tree)
    shutil.copy(os.path.join(testlib.BUILD, "tests/bench/bench-net"), tree)
    with open(f"{folder}/initramfs", "wb") as image:
        subprocess.run("find . | cpio --quiet -o -H newc -R 0:0", shell=True, check=True, cwd=tree,
                       stdout=image)
        with open(testlib.kernel("cloud")[1], "rb") as rest:
            shutil.copyfileobj(rest, image)


def row_names():
    names = [f"{network} {mode}" for network in networks() for mode in MODES]
    return names + ["guest to guest", "guest tcp", "guest udp"]


def run_row(name, places):
    """{program: best} and the unit."""
    network, _, what = name.partition(" ")
    mode, unit, scale = MODES["to host" if what == "to guest" else what]
    best = {}
    for _ in range(ROUNDS):
        for program, (first, second) in places.items():
            address = second.addresses("tap")[0] if network == "guest" else first.addresses(network)[1]
            best[program] = max(best.get(program, 0), first.measure(mode, address) / scale)
    return best, unit


def bench(names):
    unknown = [name for name in names if name not in row_names()]
    if unknown:
        sys.exit(f"bench: there is no row 'network={unknown[0]}'; rows: {', '.join(row_names())}")
    stack = []
    with testlib.temporary_folder() as folder:
        try:
            make_initramfs(folder)
            make_bridge()
            stack.append(subprocess.Popen([os.path.join(testlib.BUILD, "tests/bench/bench-net"), "serve",
                                           str(PORT)], start_new_session=True))
            places = {program: [Place(program, 10 * number, networks(), folder, stack),
                                Place(program, 10 * number + 1, ["tap"], folder, stack)]
                      for number, program in enumerate(PROGRAMS, 1)}
            for pair in places.values():
                for place in pair:
                    place.settle()
            for name in names or row_names():
                best, unit = run_row(name, places)
                print(f"{'network, ' + name:34} {best['berth']:10.1f} {best['qemu']:10.1f} {unit:8} "
                      f"{best['berth'] / best['qemu']:6.2f}x", flush=True)
        finally:
            for thing in reversed(stack):
                end(thing)


def end(thing):
    if isinstance(thing, Guest):
        thing.kill()
        return
    if os.getpgid(thing.pid) == thing.pid:
        os.killpg(thing.pid, 15)
    else:
        thing.terminate()
    thing.wait()


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    testlib.BUILD = os.path.abspath(sys.argv[1])
    if not os.environ.get(INSIDE):
        testlib.kernel("cloud")  # needs the network that the namespace has not
        os.environ[INSIDE] = "1"
        flags = ["-n"] if os.geteuid() == 0 else ["-rn"]
        os.execvp("unshare", ["unshare", *flags, sys.executable, *sys.argv])
    try:
        bench(sys.argv[2:])
    except Failed as problem:
        sys.exit(f"bench: network: {problem}")


if __name__ == "__main__":
    main()
