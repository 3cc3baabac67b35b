#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""berth starts its user's own berthd and drives it; virsh sees the same there."""
import json
import os
import pty
import re
import select
import signal
import socket
import ssl
import subprocess
import tempfile
import termios
import threading
import time

from oracle import LIMIT

BERTH = os.path.join(os.environ["BERTH_BUILD"], "bin", "berth")
XML = """<domain type='qemu'><name>life</name><uuid>4dea22b3-1d52-d8f3-2516-782e98ab3fa0</uuid>
<memory unit='MiB'>32</memory><vcpu>2</vcpu><os><type arch='x86_64' machine='q35'>hvm</type></os>
<devices><serial type='pty'/><console type='pty'/></devices></domain>"""
# Each line by both programs, one after the other, with the same result.
SAME = ["list --all", "dominfo life", "domstate life --reason", "domid life", "domuuid life",
        "dumpxml life", "dumpxml life --xpath //memory", "domblklist life", "domiflist life",
        "ttyconsole life", "vcpucount life", "domcontrol life", "version --daemon", "nodeinfo",
        "capabilities", "cpu-models x86_64", "list --name", "start life", "domstate nosuch",
        "snapshot-list life", "vncdisplay life", "setmem life 32M", "domstats nosuch",
        "qemu-monitor-command life --hmp info", "desc life", "autostart life",
        "autostart life --disable", "suspend life", "domstate life", "resume life"]

# On a connection that may only read, where libvirt's client library refuses what virsh would do.
READONLY = ["list --all", "snapshot-current life", "domifaddr life", "domifaddr life --source agent",
            "dumpxml life", "dumpxml life --security-info", "start life", "destroy life", "reset life",
            "setmem life 32M", "setvcpus life 1", "undefine life", "create {top}/life.xml",
            "define {top}/life.xml", "domrename life death", "domfsfreeze life", "domfsinfo life",
            "domhostname life", "domtime life", "inject-nmi life", "send-key life KEY_A",
            "snapshot-create-as life s", "checkpoint-create-as life c", "blockpull life vda",
            "qemu-monitor-command life --hmp info", "qemu-agent-command life {}", "iothreadadd life 1",
            "net-create {top}/life.xml", "net-event --event lifecycle --timeout 1",
            "event --event lifecycle --timeout 1", "pool-create {top}/life.xml",
            "nwfilter-define {top}/life.xml", "secret-define {top}/life.xml", "nodesuspend mem 60",
            "node-memory-tune --shm-merge-across-nodes 1", "domxml-to-native qemu-argv --domain life"]


class Session:
    def __init__(self, top):
        self.top = top
        self.environment = dict(os.environ, HOME=top, XDG_RUNTIME_DIR=f"{top}/run",
                                XDG_STATE_HOME=f"{top}/state", XDG_CACHE_HOME=f"{top}/cache",
                                LC_ALL="C.UTF-8")
        for name in ("BERTH_URI", "LIBVIRT_DEFAULT_URI"):
            self.environment.pop(name, None)
        os.mkdir(f"{top}/run")

    def run(self, program, *args, **options):
        return subprocess.run([program, *args], capture_output=True, text=True, timeout=LIMIT,
                              env=self.environment, stdin=subprocess.DEVNULL, **options)

    def berth(self, *args):
        result = self.run(BERTH, "-c", "qemu:///session", *args)
        assert result.returncode == 0, f"berth {args}: {result.stdout}{result.stderr}"
        return result.stdout

    def both(self, line, *options):
        ours = self.run(BERTH, *options, "-c", "qemu:///session", line)
        theirs = self.run("virsh", *options, "-c",
                          f"qemu+unix:///session?socket={self.top}/run/berth/libvirt-sock", line)
        # What changes by itself between two looks.
        mask = re.compile(r"(CPU time:|<(?:allocation|available) unit='bytes'>).*|[\d.]+ [KMGT]iB")
        results = [(mask.sub(lambda m: m[1] or "", r.stdout), r.stderr, r.returncode) for r in (theirs, ours)]
        assert results[0] == results[1], f"{line}:\nvirsh: {results[0]}\nberth: {results[1]}"

    def processes(self):
        """The daemon and its machines, found by the folder in their environment: pid, command line."""
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/environ", "rb") as file:
                    ours = f"HOME={self.top}".encode() in file.read().split(b"\0")
                with open(f"/proc/{pid}/comm") as file:
                    ours = ours and file.read().startswith("berth")
                with open(f"/proc/{pid}/cmdline") as file:
                    command = file.read().split("\0")
            except OSError:
                continue
            if ours and int(pid) != os.getpid():
                yield int(pid), command

    def end(self):
        for pid, _ in self.processes():
            os.kill(pid, signal.SIGKILL)


def read_until(fd, words):
    text, deadline = b"", time.monotonic() + LIMIT
    while words not in text:
        ready, _, _ = select.select([fd], [], [], max(0, deadline - time.monotonic()))
        assert ready, f"no {words} in {text}"
        text += os.read(fd, 4096)
    return text


def open_terminal(session, *words):
    pid, fd = pty.fork()
    if pid == 0:
        os.execve(BERTH, [BERTH, *words], session.environment)
    return pid, fd


def end_terminal(pid, fd):
    while True:
        try:
            if not os.read(fd, 4096):
                break
        except OSError:
            break
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(fd)


def check_console(session):
    pid, fd = open_terminal(session, "-c", "qemu:///session", "console", "life")
    text = read_until(fd, b"Escape character is ^] (Ctrl + ])")
    assert b"Connected to domain 'life'" in text
    # The terminal is raw from when the console is open on.
    deadline = time.monotonic() + LIMIT
    while os.waitpid(pid, os.WNOHANG)[0] == 0:
        assert time.monotonic() < deadline, "Ctrl-] does not end the console"
        os.write(fd, b"\x1d")
        time.sleep(0.05)
    os.close(fd)


def check_daemon(session):
    """It was started by berth, and leaves by itself when nobody needs it."""
    daemons = [command for _, command in session.processes() if command[0].endswith("berthd")]
    assert len(daemons) == 1 and "--timeout" in daemons[0], daemons


def check_json(session):
    machines = json.loads(session.berth("-q", "--output", "json", "list", "--all"))
    assert machines == [{"id": "1", "name": "life", "state": "running"}], machines
    stats = json.loads(session.berth("-q", "-o", "json", "domstats"))
    assert stats[0]["domain"] == "life" and stats[0]["state.state"] == 1


def check_events(session):
    waiting = subprocess.Popen([BERTH, "-c", "qemu:///session", "event", "--all", "--timeout", "60"],
                               stdout=subprocess.PIPE, text=True, env=session.environment)
    while waiting.poll() is None:
        session.berth("suspend", "life")
        session.berth("resume", "life")
        time.sleep(0.1)
    output = waiting.stdout.read()
    waiting.stdout.close()
    assert "event 'lifecycle' for domain 'life': " in output and "events received: 1" in output, output
    assert waiting.returncode == 0


def check_transports(session):
    """A command's pipes are a transport like any; --timing and the log work there too."""
    command = f"{session.top}/connect"
    with open(command, "w") as file:
        file.write(f"#!/bin/sh\nexec socat - UNIX-CONNECT:{session.top}/run/berth/libvirt-sock\n")
    os.chmod(command, 0o755)
    uri = f"qemu+ext:///session?command={command}"
    result = session.run(BERTH, "-c", uri, "-l", f"{session.top}/log", "-t", "domid life; domid nosuch")
    assert result.stdout.startswith("1\n") and "(Time: " in result.stdout and result.returncode == 1
    with open(f"{session.top}/log") as file:
        assert "error: failed to get domain 'nosuch'" in file.read()
    # The name "ssh" is looked up in PATH: here it runs what it is told on this machine.
    with open(f"{session.top}/ssh", "w") as file:
        file.write('#!/bin/sh\nfor last; do :; done\nexec sh -c "$last"\n')
    os.chmod(f"{session.top}/ssh", 0o755)
    socket = f"{session.top}/run/berth/libvirt-sock"
    with open(f"{session.top}/nc", "w") as file:
        file.write('#!/bin/sh\nexec socat - "UNIX-CONNECT:$2"\n')
    os.chmod(f"{session.top}/nc", 0o755)
    uri = (f"qemu+ssh://host/session?command={session.top}/ssh&netcat={session.top}/nc"
           f"&socket={socket}")
    assert session.berth("-c", uri, "hostname") == session.berth("hostname")
    refused = session.run(BERTH, "-c", "qemu+foo:///session", "list")
    assert refused.returncode == 1 and "transport in URL not recognised" in refused.stderr
    missing = session.run(BERTH, "-c", f"qemu:///system?socket={session.top}/none", "list")
    assert "Failed to connect socket to" in missing.stderr


class Relay(threading.Thread):
    """One connection from a TCP port, plain or by TLS, on to the daemon's socket."""

    def __init__(self, session, context=None):
        super().__init__(daemon=True)
        self.path, self.context = f"{session.top}/run/berth/libvirt-sock", context
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.start()

    def run(self):
        client, _ = self.listener.accept()
        self.listener.close()
        server = socket.socket(socket.AF_UNIX)
        server.connect(self.path)
        try:
            if self.context:
                client = self.context.wrap_socket(client, server_side=True)
                client.sendall(b"\1")  # libvirt's servers say so that they accept the client
            self.forward(client, server)
        except OSError:
            pass  # a client that refuses our certificate
        client.close()
        server.close()

    @staticmethod
    def forward(client, server):
        while True:
            ready, _, _ = select.select([client, server], [], [], LIMIT)
            for source, target in ((client, server), (server, client)):
                if source in ready:
                    data = source.recv(65536)
                    while source is client and hasattr(source, "pending") and source.pending():
                        data += source.recv(65536)
                    if not data:
                        return
                    target.sendall(data)
            if not ready:
                return


def check_network(session):
    """qemu+tcp:// and qemu+tls://, whose certificate is checked unless the URI says not to."""
    pki = f"{session.top}/pki"
    os.mkdir(pki)
    made = session.run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                       "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
                       "-keyout", f"{pki}/key.pem", "-out", f"{pki}/cacert.pem")
    assert made.returncode == 0, made.stderr
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{pki}/cacert.pem", f"{pki}/key.pem")
    name = session.berth("hostname")
    uri = f"qemu+tcp://localhost:{Relay(session).port}/session"
    assert session.run(BERTH, "-c", uri, "hostname").stdout == name
    uri = f"qemu+tls://localhost:{Relay(session, context).port}/session?pkipath={pki}"
    result = session.run(BERTH, "-c", uri, "hostname; dumpxml life")
    assert result.stdout.startswith(name) and result.returncode == 0, result.stderr
    port = Relay(session, context).port
    result = session.run(BERTH, "-c", f"qemu+tls://127.0.0.1:{port}/session?pkipath={pki}", "list")
    assert result.returncode == 1 and "authentication failed" in result.stderr, result.stderr
    port = Relay(session, context).port
    uri = f"qemu+tls://127.0.0.1:{port}/session?pkipath={pki}&no_verify=1"
    assert session.run(BERTH, "-c", uri, "hostname").stdout == name


def check_streams(session):
    """A volume up and down, with holes and without, is what it was."""
    top = session.top
    data = os.urandom(300000) + bytes(1 << 20) + os.urandom(4096)
    with open(f"{top}/data", "wb") as file:
        file.write(data[:300000])
        file.seek(300000 + (1 << 20))
        file.write(data[-4096:])
    session.berth("pool-create-as", "streams", "dir", "--target", f"{top}/streams", "--build")
    for sparse in ("", " --sparse"):
        session.berth(f"vol-create-as streams v {len(data)} --format raw; "
                      f"vol-upload v {top}/data streams{sparse}; "
                      f"vol-download v {top}/back streams{sparse}")
        with open(f"{top}/back", "rb") as file:
            assert file.read() == data, f"vol-download{sparse}"
        for line in ("vol-list streams --details", "vol-info v streams", "vol-dumpxml v streams"):
            session.both(line)
        session.berth("vol-delete v streams")
        os.unlink(f"{top}/back")
    session.both("vol-download nosuch x streams")
    session.both("pool-list --details")
    session.both("pool-dumpxml streams")
    session.berth("pool-destroy streams")


def check_completion(session):
    script = os.path.join(os.environ["BERTH_BUILD"], "cmd", "berth", "shell", "berth.bash")
    for words, wanted in {("berth", "domst"): ["domstate", "domstats"],
                          ("berth", "domstate", "--re"): ["--reason"]}.items():
        line = (f"source {script}; COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; "
                'COMPREPLY=(); _berth; echo "${COMPREPLY[@]}"')
        assert session.run("bash", "-c", line).stdout.split() == wanted, words


def check_install(session):
    """An image is made, a machine boots from it; clone and top."""
    top = session.top
    with open(f"{top}/key", "w") as file:
        file.write("ssh-ed25519 AAAA somebody\n")
    first = ["install", "-c", "qemu:///session", "--name", "web", "--memory", "64", "--import",
             "--virt-type", "qemu"]
    refused = session.run(BERTH, *first, "--disk", "size=1,colour=red")
    assert refused.returncode == 1 and "--disk has no 'colour'" in refused.stderr, refused.stderr
    refused = session.run(BERTH, "install", "--name", "web", "--disk", "none")
    assert "An install method must be specified" in refused.stderr
    arguments = [*first, "--vcpus", "1", "--disk", f"{top}/web.qcow2,size=1", "--network", "none",
                 "--cloud-init", f"ssh-key={top}/key", "--noautoconsole"]
    shown = session.run(BERTH, *arguments, "--print-xml")
    assert "<name>web</name>" in shown.stdout and "web-seed.iso" in shown.stdout, shown.stderr
    made = session.run(BERTH, *arguments)
    assert made.returncode == 0 and "Domain 'web' created" in made.stdout, made.stdout + made.stderr
    assert session.berth("domstate", "web").strip() == "running"
    xml = session.berth("dumpxml", "--inactive", "web")
    assert f"{top}/web.qcow2" in xml and "seed.iso" not in xml
    info = session.run("qemu-img", "info", "-U", "--output", "json", f"{top}/web.qcow2")
    assert json.loads(info.stdout)["virtual-size"] == 1 << 30
    assert os.listdir(f"{top}/cache/berth") == [], "the seed has passwords: the machine alone has it still"
    again = session.run(BERTH, *arguments)
    assert "Guest name 'web' is already in use." in again.stderr
    looks = session.run(BERTH, "top", "-c", "qemu:///session", "-b", "-n", "2", "-d", "0.2").stdout
    assert looks.count(" web ") == 2 and "%CPU" in looks, looks
    busy = session.run(BERTH, "clone", "-c", "qemu:///session", "-o", "web", "--auto-clone")
    assert busy.returncode == 1 and "must be paused or shutoff" in busy.stderr
    session.berth("destroy", "web")
    cloned = session.run(BERTH, "clone", "-c", "qemu:///session", "-o", "web", "-n", "web2",
                         "--auto-clone")
    assert cloned.returncode == 0, cloned.stdout + cloned.stderr
    assert f"{top}/web2.qcow2" in session.berth("dumpxml", "web2")
    info = session.run("qemu-img", "info", "--output", "json", f"{top}/web2.qcow2")
    assert json.loads(info.stdout)["format"] == "qcow2"
    session.berth("undefine web; undefine web2 --remove-all-storage")
    assert not os.path.exists(f"{top}/web2.qcow2")


def check_shell(session):
    """Commands from a terminal, with what was typed completed, and there again in the next shell."""
    pid, fd = open_terminal(session, "-c", "qemu:///session")
    read_until(fd, b"berth # ")
    os.write(fd, b"domstate l\t\n")
    read_until(fd, b"running")
    os.write(fd, b"domst\t\t")
    read_until(fd, b"domstats")
    os.write(fd, b"\x15echo one; echo two\n")
    read_until(fd, b"two\r\n")
    os.write(fd, b"quit\n")
    end_terminal(pid, fd)
    pid, fd = open_terminal(session, "-c", "qemu:///session")
    read_until(fd, b"berth # ")
    os.write(fd, b"\x10\x10\n")  # Ctrl-P twice: what was typed before "quit"
    read_until(fd, b"\none\r\n")
    os.write(fd, b"\x04")  # Ctrl-D
    end_terminal(pid, fd)


def check_top(session):
    """Looks follow each other until q is typed, which needs no Enter."""
    pid, fd = open_terminal(session, "top", "-c", "qemu:///session", "-d", "0.2")
    for _ in range(2):
        text = read_until(fd, b"Sent/s")
        assert b"domains run; q ends" in text, text
    assert not termios.tcgetattr(fd)[3] & termios.ICANON
    os.write(fd, b"q")
    end_terminal(pid, fd)


def main():
    with tempfile.TemporaryDirectory(prefix="berth-session-") as top:
        session = Session(top)
        try:
            assert session.berth("list", "--all").startswith(" Id   Name   State\n")
            with open(f"{top}/life.xml", "w") as file:
                file.write(XML)
            session.berth("define", f"{top}/life.xml")
            session.both("list --all")
            session.berth("start", "life")
            for line in SAME:
                session.both(line)
            for line in READONLY:
                session.both(line.replace("{top}", top), "-r")
            for check in (check_daemon, check_json, check_console, check_events, check_transports,
                          check_network,
                          check_streams, check_completion, check_install, check_shell, check_top):
                check(session)
            session.berth("destroy life; undefine life")
            assert session.berth("-q", "list", "--all") == ""
        finally:
            session.end()


main()
