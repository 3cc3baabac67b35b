#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""berthd as the system's daemon, in a mount namespace with a /run and a /var/lib of its own.

`virsh` with no option finds it; it goes to the background; it takes systemd's sockets; it ends by
itself when nobody needs it.
"""
import os
import re
import signal
import socket
import subprocess
import sys
import time

from private import BUILD, LIMIT

BERTHD = os.path.join(BUILD, "bin", "berthd")
CONF, NETWORK, DATA = sys.argv[1:4]
UUID = "4dea22b3-1d52-d8f3-2516-782e98ab3fa0"
XML = """<domain type='qemu'><name>idle</name><uuid>4dea22b3-1d52-d8f3-2516-782e98ab3fa0</uuid><memory unit='MiB'>16</memory>
<os><type arch='x86_64' machine='q35'>hvm</type></os></domain>"""


def enter_namespace():
    """This script again, where /run and /var/lib are empty."""
    if os.environ.get("BERTH_IN_NAMESPACE"):
        return
    command = ["unshare", "--mount", *([] if os.getuid() == 0 else ["--map-root-user"]), "sh", "-ec",
               'mount -t tmpfs none /run; mount -t tmpfs none /var/lib; '
               'folder=$1; while [ ! -d "$folder" ]; do folder=$(dirname "$folder"); done; '
               'mount -t tmpfs none "$folder"; mkdir -p "$1/networks"; cp "$2" "$1/networks"; shift 2; '
               'exec "$@"', "sh", DATA, NETWORK,
               sys.executable, *sys.argv]
    os.execvpe(command[0], command, dict(os.environ, BERTH_IN_NAMESPACE="1"))


def run(*command, **options):
    environment = {name: value for name, value in os.environ.items()
                   if name not in ("LIBVIRT_DEFAULT_URI", "VIRSH_DEFAULT_CONNECT_URI")}
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, env=environment,
                          **options)


def good(*command, **options):
    result = run(*command, **options)
    assert result.returncode == 0, f"{command}: {result.stdout}{result.stderr}"
    return result.stdout


def is_gone(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().split(")")[1].split()[0] == "Z"
    except OSError:
        return True


def wait_gone(pid, what):
    deadline = time.monotonic() + LIMIT
    while not is_gone(pid):
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def check_default_network():
    """The one of the installation is there from the first start on, until it is undefined."""
    assert "default   inactive" in good("virsh", "net-list", "--all"), "the default network"
    xml = good("virsh", "net-dumpxml", "default")
    assert "<bridge name='virbr0' stp='on' delay='0'/>" in xml and "192.168.122.254" in xml, xml
    good("virsh", "net-undefine", "default")


def check_background():
    """When the command ends the sockets are there, and every libvirt client finds them."""
    good(BERTHD, "--libvirt-sockets", "--daemon", "--pidfile", "/run/berthd.pid")
    with open("/run/berthd.pid") as file:
        pid = int(file.read())
    try:
        assert good("virsh", "uri").strip() == "qemu:///system"
        good("virsh", "-r", "list", "--all")
        assert os.getsid(pid) == pid and os.readlink(f"/proc/{pid}/fd/2") != "/dev/tty"
        assert os.stat("/var/lib/berth").st_mode & 0o777 == 0o700
        check_log(pid)
        check_default_network()
        second = run(BERTHD, "--system", "--daemon", "--pidfile", "/run/second.pid")
        assert second.returncode == 1 and "another berthd uses" in second.stderr, second.stderr
        assert not os.path.exists("/run/second.pid")
    finally:
        os.kill(pid, signal.SIGTERM)
    wait_gone(pid, "berthd does not end")
    assert not os.path.exists("/run/berthd.pid")


def check_log(pid):
    """In the background it has a file, with the time; moved away, SIGHUP makes a new one."""
    log = "/var/lib/berth/log/berthd.log"
    with open(log) as file:
        assert re.search(r"^20\d\d-\d\d-\d\dT[\d:.]+Z berthd: ready at /run/libvirt", file.read(), re.M)
    assert os.stat(log).st_mode & 0o777 == 0o600
    os.rename(log, log + ".old")
    os.kill(pid, signal.SIGHUP)
    deadline = time.monotonic() + LIMIT
    while not os.path.exists(log):
        assert time.monotonic() < deadline, "no new log"
        time.sleep(0.05)
    good("virsh", "list")
    machine = f"/var/lib/berth/log/{UUID}.log"
    with open(machine, "w") as file:
        file.write("x" * (2 << 20))
    with open("/run/idle.xml", "w") as file:
        file.write(XML)
    good("virsh", "create", "--paused", "/run/idle.xml")
    good("virsh", "destroy", "idle")
    assert os.path.getsize(machine + ".0") == 2 << 20 and os.path.getsize(machine) < 1 << 20
    with open(machine) as file:
        assert "berth-vmm -name" in file.read().splitlines()[0]


def check_activation():
    """As systemd starts it: sockets from 3 on, their names beside them."""
    os.makedirs("/run/given", exist_ok=True)
    paths = ["/run/given/rw", "/run/given/ro"]
    listeners = []
    for path in paths:
        listeners.append(socket.socket(socket.AF_UNIX))
        listeners[-1].bind(path)
        listeners[-1].listen()
    tcp = socket.create_server(("127.0.0.1", 0))
    listeners.append(tcp)

    def place():
        for number, listener in enumerate(listeners):
            os.dup2(listener.fileno(), 60 + number, inheritable=False)
        for number in range(len(listeners)):
            os.dup2(60 + number, 3 + number)

    with open("/run/given/conf", "w") as file:
        file.write('auth_tcp = "none"\n')
    command = (f"LISTEN_PID=$$ LISTEN_FDS=3 LISTEN_FDNAMES=berthd.socket:berthd-ro.socket:$1 "
               f"exec {BERTHD} --system --config /run/given/conf --timeout 1")
    process = subprocess.Popen(["sh", "-c", command, "sh", "berthd-tcp.socket"], preexec_fn=place,
                               close_fds=False, stderr=subprocess.PIPE, text=True)
    uri = "qemu+unix:///system?socket=/run/given/rw"
    good("virsh", "-c", uri, "list")
    assert run("virsh", "-c", "qemu+unix:///system?socket=/run/given/ro", "define", "/dev/null").returncode
    good("virsh", "-c", f"qemu+tcp://127.0.0.1:{tcp.getsockname()[1]}/system", "list")
    assert not os.path.exists("/run/berth/libvirt-sock"), "it has the sockets that it was given"
    check_timeout(process, uri)
    unknown = subprocess.run(["sh", "-c", command, "sh", "other.socket"], preexec_fn=place,
                             close_fds=False, stderr=subprocess.PIPE, text=True, timeout=LIMIT)
    assert unknown.returncode == 1 and "named 'other.socket'" in unknown.stderr, unknown.stderr
    for listener in listeners:
        listener.close()


def check_timeout(process, uri):
    """A VM that runs is a reason to stay; when it is gone, and no client there, berthd ends."""
    good("virsh", "-c", uri, "create", "--paused", "/run/idle.xml")
    time.sleep(2.5)
    assert process.poll() is None, "berthd left a VM alone"
    good("virsh", "-c", uri, "destroy", "idle")
    assert process.wait(timeout=LIMIT) == 0, process.stderr.read()
    assert "no client for 1 s" in process.stderr.read()


def check_file():
    """Each key of the installed berthd.conf is one that is known, and has the default's form."""
    with open(CONF) as file:
        text = re.sub(r"^#(\w+ = )", r"\1", file.read(), flags=re.M)
    assert text.count(" = ") > 25
    # What a host need not have.
    text = text.replace("/etc/berth/access.rules", "/dev/null").replace('"apparmor"', '"none"')
    with open("/run/all.conf", "w") as file:
        file.write(text)
    good(BERTHD, "--check-config", "--config", "/run/all.conf")
    for line, cause in ((["--libvirt-sockets", "--socket-dir", "/x"], "leave one out"),
                        (["--session", "--system"], "choose one"), ([], "say where to live"),
                        (["--system", "--config", "/none"], "/none"),
                        (["--system", "--pidfile", "x"], "whole path")):
        refused = run(BERTHD, *line)
        assert refused.returncode == 1 and cause in refused.stderr, (line, refused.stderr)


def main():
    enter_namespace()
    check_file()
    check_background()
    check_activation()


main()
