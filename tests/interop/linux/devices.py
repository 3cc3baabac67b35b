#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The stock generic kernel's drivers with our devices, in one guest started by `berth run --share`:
9p, balloon, entropy, console ports, sockets. devices.py PEER: the guest's half of the socket test."""
import hashlib
import os
import shutil
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import vmm
from vmm import Guest, Qmp, check

PEER = sys.argv[1]
sys.argv[1:] = []
MIB = 1 << 20
MEMORY = 512 * MIB


def until(condition, what, timeout=60):
    """Wait until `condition()` is true."""
    deadline = time.monotonic() + timeout
    while not condition():
        check(time.monotonic() < deadline, what)
        time.sleep(0.05)


def read_all(stream):
    """All bytes to the end of a socket."""
    data = b""
    while block := stream.recv(65536):
        data += block
    return data


def digest(data):
    return hashlib.sha256(data).hexdigest()


def share(guest, folder):
    """Files go both ways, with their names, sizes, links and modes."""
    data = os.urandom(3 * MIB + 5)
    with open(os.path.join(folder, "from-host"), "wb") as file:
        file.write(data)
    guest.run("modprobe 9p && modprobe 9pnet_virtio && mkdir /m", 60)
    guest.run("mount -t 9p -o trans=virtio,version=9p2000.L share /m", 60)
    check(digest(data) in guest.run("sha256sum /m/from-host", 120), "the guest reads other bytes")
    guest.run("cp /m/from-host /m/from-guest && mkdir -p /m/a/b && echo text > /m/a/b/file && "
              "mv /m/a/b/file /m/a/renamed && ln -s renamed /m/a/link && chmod 640 /m/a/renamed && "
              "echo more >> /m/a/renamed && rmdir /m/a/b && rm /m/from-host && sync", 120)
    with open(os.path.join(folder, "from-guest"), "rb") as file:
        check(file.read() == data, "the guest wrote other bytes")
    with open(os.path.join(folder, "a/renamed")) as file:
        check(file.read() == "text\nmore\n", "a/renamed")
    check(sorted(os.listdir(os.path.join(folder, "a"))) == ["link", "renamed"] and
          sorted(os.listdir(folder)) == ["a", "from-guest"], f"the folder has {os.listdir(folder)}")
    check(os.readlink(os.path.join(folder, "a/link")) == "renamed", "a/link")
    check(os.stat(os.path.join(folder, "a/renamed")).st_mode & 0o777 == 0o640, "a/renamed's mode")
    for number in range(300):
        open(os.path.join(folder, "a", f"file-{number}"), "w").close()
    check("302" in guest.run("ls /m/a | wc -l", 60), "the guest sees another number of files")
    guest.run("! cat /m/../etc/no-such 2>/dev/null && ! ls /m/no-such 2>/dev/null", 60)


def entropy(guest, folder):
    check("virtio" in guest.run("cat /sys/class/misc/hw_random/rng_current", 60), "no virtio-rng")
    guest.run("dd if=/dev/hwrng of=/m/random bs=4096 count=4 iflag=fullblock 2>/dev/null", 60)
    with open(os.path.join(folder, "random"), "rb") as file:
        data = file.read()
    check(len(data) == 16384 and len(set(data)) == 256, "what came is not random")
    check(len({data[i:i + 64] for i in range(0, len(data), 64)}) == 256, "random data repeats")


def balloon(guest, qmp):
    def actual():
        return qmp.call("query-balloon")["actual"]

    def free():
        return int(guest.run("sed -n 's/^MemFree: *//p' /proc/meminfo", 60).split()[0]) * 1024

    check(actual() == MEMORY, f"at first the balloon holds {MEMORY - actual()} bytes")
    before = free()
    qmp.call("balloon", value=MEMORY - 200 * MIB)
    until(lambda: actual() == MEMORY - 200 * MIB, "the balloon does not inflate")
    check(before - free() > 150 * MIB, "the guest has not given memory up")
    qmp.call("qom-set", path="/machine/peripheral/b0", property="guest-stats-polling-interval",
             value=1)
    stats = {}

    def total():
        stats.update(qmp.call("qom-get", path="/machine/peripheral/b0", property="guest-stats"))
        return stats["last-update"] and stats["stats"]["stat-total-memory"] > 0
    until(total, "the guest tells no statistics")
    check(100 * MIB < stats["stats"]["stat-total-memory"] < MEMORY and
          stats["stats"]["stat-free-memory"] < MEMORY, f"odd statistics: {stats}")
    qmp.call("balloon", value=MEMORY)
    until(lambda: actual() == MEMORY, "the balloon does not deflate")
    check(before - free() < 100 * MIB, "the guest has not got its memory back")


def port(guest, qmp, path):
    found = guest.run("grep -lx org.berth.0 /sys/class/virtio-ports/*/name", 60)
    device = "/dev/" + found.split("/")[4]
    with socket.socket(socket.AF_UNIX) as host:
        host.settimeout(60)
        host.connect(path)
        guest.run(f"exec 5<>{device}; echo to-host >&5", 60)
        event = qmp.wait_event("VSERPORT_CHANGE")["data"]
        check(event == {"id": "p0", "open": True}, f"VSERPORT_CHANGE: {event}")
        check(host.recv(100) == b"to-host\n", "what the guest wrote did not come")
        host.sendall(b"to-guest\n")
        check("to-guest" in guest.run("read word <&5 && echo $word", 60), "the guest read nothing")
        guest.run("exec 5>&-", 60)
        check(qmp.wait_event("VSERPORT_CHANGE")["data"]["open"] is False, "the port is still open")


def echoed_by_guest(path, data):
    """What a listener in the guest sends back; tried until it listens."""
    deadline = time.monotonic() + 60
    while True:
        with socket.socket(socket.AF_UNIX) as host:
            host.settimeout(120)
            host.connect(path)
            host.sendall(b"CONNECT 1234\n")
            if host.recv(3) == b"OK ":
                while host.recv(1) != b"\n":
                    pass
                writer = threading.Thread(target=lambda: (host.sendall(data),
                                                          host.shutdown(socket.SHUT_WR)))
                writer.start()
                echo = read_all(host)
                writer.join()
                return echo
        check(time.monotonic() < deadline, "the guest's listener was not reached")
        time.sleep(0.1)


def echo_to_guest(server):
    """Take one connection from the guest and send all of it back; returns it."""
    connection, _ = server.accept()
    with connection:
        connection.settimeout(120)
        said = read_all(connection)
        connection.sendall(said)
    return said


def sockets(guest, folder, path):
    # In the guest everything is in the foreground: busybox's shell takes the end of a background
    # job, while it reads a line, for the end of its input.
    data = os.urandom(2 * MIB)
    shutil.copy(PEER, os.path.join(folder, "peer"))
    guest.run("modprobe vmw_vsock_virtio_transport", 60)
    with ThreadPoolExecutor(1) as pool:
        echo = pool.submit(echoed_by_guest, path, data)
        guest.run("/m/peer listen 1234", 120)
        echo = echo.result()
        check(echo == data, f"{len(echo)} of {len(data)} bytes came back from the guest, as "
                            f"{'sent' if data.startswith(echo) else 'others'}")
        with socket.socket(socket.AF_UNIX) as server:
            server.settimeout(120)
            server.bind(path + "_4321")
            server.listen()
            said = pool.submit(echo_to_guest, server)
            guest.run("head -c 300000 /m/from-guest > /tmp/said && "
                      "/m/peer connect 4321 < /tmp/said > /tmp/heard && cmp /tmp/said /tmp/heard", 120)
            with open(os.path.join(folder, "from-guest"), "rb") as file:
                check(said.result() == file.read(300000), "the guest said something else")
    guest.run("! /m/peer connect 99 </dev/null 2>/dev/null", 60)


def drivers_work():
    vmlinuz, initrd = vmm.kernel("generic")
    with vmm.temporary_folder() as folder:
        shared = os.path.join(folder, "shared")
        os.mkdir(shared)
        command = [
            vmm.program("berth"), "run", "--kernel", vmlinuz, "--initrd", initrd, "--append",
            "console=ttyS0 panic=-1", "--share", shared, "--memory", "512M", "--cpus", "1", "--net",
            "none", "--accel", vmm.ACCEL, "--", "-no-reboot", "-qmp", f"unix:{folder}/qmp,server=on,wait=off",
            "-device", "virtio-balloon-pci,id=b0", "-device", "virtio-serial-pci",
            "-chardev", f"socket,id=c0,path={folder}/port,server=on,wait=off",
            "-device", "virtserialport,chardev=c0,name=org.berth.0,id=p0",
            "-device", f"virtio-vsock-pci,uds-path={folder}/vsock"]
        with Guest(command) as guest:
            qmp = Qmp(f"{folder}/qmp", 60)
            guest.expect("guest# ", 300)
            guest.send("stty -echo; PS1=\n")
            guest.run("true", 60)
            for part, arguments in [(share, (shared,)), (entropy, (shared,)), (balloon, (qmp,)),
                                    (port, (qmp, f"{folder}/port")),
                                    (sockets, (shared, f"{folder}/vsock"))]:
                started = time.monotonic()
                part(guest, *arguments)
                print(f"# {part.__name__}: {time.monotonic() - started:.1f} s")
            guest.send("umount /m; poweroff -f\n")
            check(guest.wait(60) == 0, "a guest's poweroff did not end berth with 0")


vmm.main(drivers_work)
