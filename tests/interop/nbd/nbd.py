#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""NBD both ways: our client on qemu-nbd, and libnbd's tools, qemu-img and qemu-io on our server."""
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../qemu-img"))
from peer import THEIRS, Failed, ours, run  # noqa: E402
from guest import main, temporary_folder  # noqa: E402

MIB = 1 << 20
SIZE = 40 * MIB


def make_image(folder):
    """A qcow2 image with data, zeroes and holes, and the same bytes as a raw file."""
    image, raw = os.path.join(folder, "a.qcow2"), os.path.join(folder, "a.raw")
    generator = random.Random(11)
    with open(raw, "wb") as disk:
        disk.truncate(SIZE)
        for _ in range(9):
            disk.seek(generator.randrange(SIZE // 512 - 4000) * 512)
            disk.write(generator.randbytes(generator.randrange(1, 4000) * 512))
    run(THEIRS, "convert", "-f", "raw", "-O", "qcow2", raw, image)
    return image, raw


def wait_for(path):
    deadline = time.monotonic() + 20
    while not os.path.exists(path):
        if time.monotonic() > deadline:
            raise Failed(f"{path} did not appear")
        time.sleep(0.02)


@contextlib.contextmanager
def served(command, folder, name="exp"):
    """A server in the foreground; yields the URI of its export."""
    socket = os.path.join(folder, "nbd.sock")
    process = subprocess.Popen([*command, "-k", socket, "-x", name])
    try:
        wait_for(socket)
        yield f"nbd+unix:///{name}?socket={socket}"
    finally:
        process.send_signal(signal.SIGTERM)
        if process.wait(20) != 0:
            raise Failed(f"{command[0]} ended with status {process.returncode}")


def our_server(*args):
    return [ours(), "serve", "-t", "-e", "0", *args]


def their_server(*args):
    return ["qemu-nbd", "-t", "-e", "8", *args]


def test_client_on_qemu_nbd():
    with temporary_folder() as folder:
        image, raw = make_image(folder)
        copy = os.path.join(folder, "copy")
        with served(their_server("-f", "qcow2", image), folder) as uri:
            run(ours(), "compare", "-f", "raw", "-F", "raw", uri, raw)
            mine, yours = (json.loads(run(tool, "map", "--output=json", uri).out)
                           for tool in (ours(), THEIRS))
            if mine != yours:
                raise Failed(f"map of {uri}: {mine}, not {yours}")
            run(ours(), "convert", "-f", "raw", "-O", "raw", uri, copy)
            run(THEIRS, "compare", copy, raw)
            many = "json:" + json.dumps({
                "driver": "nbd", "export": "exp", "multi-conn": 4,
                "server": {"type": "unix", "path": os.path.join(folder, "nbd.sock")}})
            run(ours(), "convert", "-n", "-f", "raw", "-O", "raw", many, copy)
            run(THEIRS, "compare", copy, raw)


def test_client_writes():
    """A qcow2 image and a raw one on a server's export; bench writes past buffers and pieces."""
    with temporary_folder() as folder:
        _, raw = make_image(folder)
        target = os.path.join(folder, "target")
        run(THEIRS, "create", "-q", "-f", "raw", target, "80M")
        with served(their_server("-f", "raw", target), folder) as uri:
            run(ours(), "convert", "-f", "raw", "-O", "qcow2", raw, uri)
            run(THEIRS, "compare", "-f", "qcow2", "-F", "raw", uri, raw)
            run(THEIRS, "check", "-f", "qcow2", uri)
            run(ours(), "convert", "-n", "-f", "raw", "-O", "raw", raw, uri)
            run("qemu-io", "-f", "raw", "-c", "read 0 70M", uri)
            run(ours(), "bench", "-f", "raw", "-w", "-c", "300", "-s", "70k", "-S", "100k",
                "--pattern", "7", "-o", "1536", uri)
            for at in (1536, 1536 + 299 * 100 * 1024):
                run("qemu-io", "-f", "raw", "-c", f"read -P 7 {at} 70k", uri)


def test_client_errors():
    with temporary_folder() as folder:
        image, _ = make_image(folder)
        with served(their_server("-r", "-f", "qcow2", image), folder) as uri:
            wrong = run(ours(), "info", uri.replace("/exp?", "/nope?"), status=1)
            if "no such export" not in wrong.err:
                raise Failed(f"an unknown export: {wrong.err}")
            refused = run(ours(), "bench", "-w", "-c", "1", "-f", "raw", uri, status=1)
            if "read-only" not in refused.err:
                raise Failed(f"writing to a read-only export: {refused.err}")
        for name in ("nbd:nowhere", "nbd://h/x?y", "nbd+unix:///x", "nbd+unix://h/x?socket=/s"):
            run(ours(), "info", name, status=1)


def test_server_for_libnbd():
    with temporary_folder() as folder:
        image, raw = make_image(folder)
        copy = os.path.join(folder, "copy")
        with served(our_server("-A", "-D", "words", image), folder) as uri:
            info = json.loads(run("nbdinfo", "--json", uri).out)["exports"][0]
            wanted = {"export-name": "exp", "description": "words", "export-size": SIZE,
                      "contexts": ["base:allocation", "qemu:allocation-depth"], "can_fua": True,
                      "can_multi_conn": True, "can_zero": True, "can_trim": True,
                      "is_read_only": False}
            for key, value in wanted.items():
                if info.get(key) != value:
                    raise Failed(f"nbdinfo: {key} is {info.get(key)!r}, not {value!r}")
            listed = json.loads(run("nbdinfo", "--json", "--list", uri).out)["exports"]
            if [export["export-name"] for export in listed] != ["exp"]:
                raise Failed(f"nbdinfo --list: {listed}")
            run("nbdcopy", uri, copy)
            run(THEIRS, "compare", "-f", "raw", "-F", "raw", copy, raw)
            run("nbdcopy", raw, uri)
        run(THEIRS, "check", image)
        run(THEIRS, "compare", image, raw)


def holes(*command):
    """Where there is data, as [start, end, data]. How fine allocated zeroes are seen may differ."""
    rows = []
    for extent in json.loads(run(*command).out):
        start, end = extent["start"], extent["start"] + extent["length"]
        if rows and rows[-1][2] == extent["data"]:
            rows[-1][1] = end
        else:
            rows.append([start, end, extent["data"]])
    return rows


def same_map(image, uri):
    local = holes(THEIRS, "map", "-U", "--output=json", image)
    remote = holes(THEIRS, "map", "--output=json", uri)
    if local != remote:
        raise Failed(f"map through our server: {remote}, not {local}")


def test_server_for_qemu():
    with temporary_folder() as folder:
        image, raw = make_image(folder)
        with served(our_server("-f", "qcow2", "--discard=unmap", image), folder) as uri:
            same_map(image, uri)
            run(THEIRS, "compare", "-f", "raw", "-F", "raw", uri, raw)
            for disk in (uri, raw):
                run("qemu-io", "-f", "raw", "-c", "write -P 3 5M 2500k", "-c", "write -z 9M 1M",
                    "-c", "write -f -P 4 12345 777", "-c", "discard 30M 1M", "-c", "write -z 30M 1M",
                    "-c", "flush", disk)
            run("qemu-io", "-f", "raw", "-c", "read -P 3 5M 2500k", "-c", "read -P 4 12345 777", uri)
            bad = run("qemu-io", "-f", "raw", "-c", f"write {SIZE} 512", uri, status=None)
            if "failed" not in bad.out + bad.err and bad.status == 0:
                raise Failed("a write behind the end did not fail")
        run(THEIRS, "check", image)
        run(THEIRS, "compare", image, raw)


def test_server_options():
    """--offset, read-only, TCP on the loopback, --fork with a pid file, ending with the last client."""
    with temporary_folder() as folder:
        image, raw = make_image(folder)
        with served(our_server("-r", "-f", "qcow2", "--offset", "1M", image), folder) as uri:
            info = json.loads(run("nbdinfo", "--json", uri).out)["exports"][0]
            if info["export-size"] != SIZE - MIB or not info["is_read_only"]:
                raise Failed(f"--offset and -r: {info}")
        socket, pid_file = os.path.join(folder, "s"), os.path.join(folder, "pid")
        run(ours(), "serve", "--fork", "--pid-file", pid_file, "-k", socket, image)
        with open(pid_file) as text:
            pid = int(text.read())
        run(THEIRS, "compare", "-f", "raw", "-F", "raw", f"nbd:unix:{socket}", raw)
        deadline = time.monotonic() + 20
        while os.path.exists(f"/proc/{pid}") and time.monotonic() < deadline:
            time.sleep(0.05)
        if os.path.exists(socket) or os.path.exists(pid_file):
            raise Failed("the server did not end with its last client")
        missing = run(ours(), "serve", "--fork", "-k", socket, image + ".none", status=1)
        if "No such file" not in missing.err:
            raise Failed(f"--fork of an image that is not there: {missing.err}")


def test_reconnect():
    """The server goes and comes back while a client has requests."""
    with temporary_folder() as folder:
        target, socket = os.path.join(folder, "target"), os.path.join(folder, "nbd.sock")
        run(THEIRS, "create", "-q", "-f", "raw", target, "64M")
        name = "json:" + json.dumps({"driver": "nbd", "reconnect-delay": 30,
                                     "server": {"type": "unix", "path": socket}})

        def start():
            server = subprocess.Popen([*our_server("-f", "raw", target), "-k", socket])
            wait_for(socket)
            return server

        server = start()
        client = subprocess.Popen([ours(), "bench", "-f", "raw", "-w", "-c", "150000", "-d", "8",
                                   "--pattern", "9", "-S", "4096", name],
                                  stdout=subprocess.DEVNULL)
        for _ in range(3):
            time.sleep(0.3)
            server.kill()
            server.wait()
            server = start()
        status = client.wait(120)
        server.terminate()
        server.wait(20)
        if status:
            raise Failed(f"bench over a server that restarts ended with status {status}")
        run("qemu-io", "-f", "raw", "-c", "read -P 9 0 64M", target)


def tls_folders(folder):
    """x509 credentials with a CA of their own, for `localhost`, and a pre-shared key."""
    x509, psk = os.path.join(folder, "x509"), os.path.join(folder, "psk")
    os.mkdir(x509)
    os.mkdir(psk)
    with open(os.path.join(psk, "keys.psk"), "w") as keys:
        keys.write("alice:0123456789abcdef0123456789abcdef\n")
    path = lambda name: os.path.join(x509, name)
    for name, text in (("ca", "cn = test\nca\ncert_signing_key\n"),
                       ("server", "cn = localhost\ndns_name = localhost\ntls_www_server\n"
                                  "encryption_key\nsigning_key\n"),
                       ("client", "cn = client\ntls_www_client\nencryption_key\nsigning_key\n")):
        with open(path(name + ".info"), "w") as info:
            info.write(text)
        run("certtool", "--generate-privkey", "--key-type=ecdsa", "--outfile", path(name + "-key.pem"))
        kind = ["--generate-self-signed"] if name == "ca" else \
            ["--generate-certificate", "--load-ca-certificate", path("ca-cert.pem"),
             "--load-ca-privkey", path("ca-key.pem")]
        run("certtool", *kind, "--load-privkey", path(name + "-key.pem"), "--template",
            path(name + ".info"), "--outfile", path(name + "-cert.pem"))
    return {"x509": f"tls-creds-x509,id=t,dir={x509}",
            "psk": f"tls-creds-psk,id=t,dir={psk}"}


def test_tls():
    """Each side with each other, with certificates and with a pre-shared key; and what is refused."""
    with temporary_folder() as folder:
        image, raw = make_image(folder)
        for kind, creds in tls_folders(folder).items():
            server, client = creds + ",endpoint=server", creds + ",endpoint=client"
            client += ",username=alice" if kind == "psk" else ""
            address = f"driver=nbd,server.type=unix,server.path={folder}/nbd.sock,export=exp"
            safe = address + ",tls-creds=t,tls-hostname=localhost"
            for serve, clients in (
                    (our_server("-r", "--object", server, "--tls-creds", "t", "-f", "qcow2", image),
                     (THEIRS, ours())),
                    (their_server("-r", "--object", server, "--tls-creds", "t", "-f", "qcow2", image),
                     (ours(),))):
                with served(serve, folder):
                    for tool in clients:
                        out = os.path.join(folder, "out")
                        run(tool, "convert", "--object", client, "--image-opts", "-O", "raw", safe, out)
                        run(THEIRS, "compare", "-f", "raw", "-F", "raw", out, raw)
                    refused = run(ours(), "info", "--image-opts", address, status=1)
                    if "TLS" not in refused.err:
                        raise Failed(f"a client in the clear: {refused.err}")
                    if kind == "x509":
                        wrong = run(ours(), "info", "--object", client, "--image-opts",
                                    safe.replace("localhost", "example.org"), status=1)
                        if "handshake" not in wrong.err:
                            raise Failed(f"another host's certificate: {wrong.err}")
        with served(our_server("-f", "qcow2", image), folder):
            refused = run(ours(), "info", "--object", client, "--image-opts", safe, status=1)
            if "no TLS" not in refused.err:
                raise Failed(f"TLS with a server that has none: {refused.err}")


main(test_client_on_qemu_nbd, test_client_writes, test_client_errors, test_server_for_libnbd,
     test_server_for_qemu, test_server_options, test_reconnect, test_tls)
