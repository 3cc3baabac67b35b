# SPDX-License-Identifier: GPL-2.0-or-later
"""A private berthd for a test: its own sockets, state and log, ended with the `with` block."""
import glob
import json
import os
import re
import signal
import subprocess
import tempfile
import time

BUILD = os.environ["BERTH_BUILD"]
# A berthd of another build, with sanitizers, runs the usual build's berth-vmm.
BERTHD = os.environ.get("BERTHD", os.path.join(BUILD, "bin", "berthd"))
# What people type commands to: the same scenarios go through stock virsh and through berth, or through
# another program that BERTH_CLIENT names.
CLIENTS = {"virsh": "virsh", "berth": os.path.join(BUILD, "bin", "berth")}
CLIENT = os.environ.get("BERTH_CLIENT", "virsh")
CLIENT = CLIENTS.get(CLIENT, CLIENT)
# berth sees a lost connection without asking for that.
SPARED = {f"CONNECT_{word}_CLOSE_CALLBACK" for word in ("REGISTER", "UNREGISTER") if CLIENT != "virsh"}
TRANSCRIPT = os.environ.get("BERTH_TRANSCRIPT")
VMM = ["--vmm", os.path.join(BUILD, "bin", "berth-vmm")] if "BERTHD" in os.environ else []
LIMIT = 60  # seconds for one command of a client


def note(args, result):
    """One more line of the transcript that by_berth.py compares, if there is one."""
    if TRANSCRIPT:
        with open(TRANSCRIPT, "a") as file:
            file.write(json.dumps([args, result.returncode, result.stdout]) + "\n")


class Daemon:
    """`arguments` are more options of berthd; `prefix` is a command that becomes berthd at its end, as
    `unshare -n`; a function of the folder may make what they name."""

    def __init__(self, *arguments, prefix=(), prepare=None, environment=None, quiet=False):
        self.debug = [] if quiet else ["--debug"]
        self.arguments, self.prefix, self.prepare = arguments, prefix, prepare
        self.environment = environment or {}
        self.folder = tempfile.TemporaryDirectory(prefix="berthd-")
        self.top = self.folder.name
        self.process = None

    def __enter__(self):
        try:
            if self.prepare:
                self.prepare(self)
            self.start()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *reason):
        if reason[0]:
            self.print_log()
        try:
            self.stop()
        finally:
            self.end()

    def end(self):
        """Whatever has become of the daemon: nothing of it stays."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.end_children()
        self.folder.cleanup()

    @property
    def log(self):
        return os.path.join(self.top, "log")

    @property
    def socket(self):
        return os.path.join(self.top, "s", "libvirt-sock")

    def uri(self, readonly=False):
        return f"qemu+unix:///system?socket={self.socket}{'-ro' if readonly else ''}"

    def start(self):
        with open(self.log, "a") as log:
            self.process = subprocess.Popen(
                [*self.prefix, BERTHD, *VMM, *self.debug,
                 "--socket-dir", os.path.join(self.top, "s"), "--state-dir", os.path.join(self.top, "state"),
                 *self.arguments], env=dict(os.environ, **self.environment), stdout=log, stderr=subprocess.STDOUT,
                start_new_session=True)
        self.wait(lambda: self.virsh("hostname", check=False).returncode == 0, "berthd is ready")

    def stop(self, sign=signal.SIGTERM):
        self.process.send_signal(sign)
        status = self.process.wait(timeout=LIMIT)
        if status > 0:
            self.print_log()
        assert status == (0 if sign == signal.SIGTERM else -sign), f"berthd ended with {status}"

    def print_log(self):
        with open(self.log) as log:
            print("".join(log.readlines()[-40:]))

    def end_children(self):
        """VMs and the dnsmasq of networks outlive the daemon; none may outlive the test."""
        for pattern in ("run/*/pid", "networks-run/*.pid"):
            for path in glob.glob(os.path.join(self.top, "state", pattern)):
                try:
                    with open(path) as file:
                        pid = int(file.read())
                    with open(f"/proc/{pid}/cmdline") as file:
                        if self.top in file.read():
                            os.kill(pid, signal.SIGKILL)
                except (OSError, ValueError):
                    pass  # it has ended by itself

    def wait(self, condition, what):
        deadline = time.monotonic() + LIMIT
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain: {what}"
            time.sleep(0.05)

    def wait_log(self, words):
        def has_words():
            with open(self.log) as log:
                return words in log.read()
        self.wait(has_words, f"'{words}' in the log")

    def virsh(self, *args, check=True, readonly=False, data=None, uri=None, client=CLIENT, noted=True):
        """A command whose end is a matter of chance is not `noted` for by_berth.py."""
        environment = dict(os.environ, **self.environment, LC_ALL="C")
        result = subprocess.run([client, *(["-r"] if readonly else []), "-c",
                                 uri or self.uri(readonly),
                                 *args], text=True, input=data, timeout=LIMIT, env=environment,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if noted:
            note(args, result)
        assert not check or result.returncode == 0, f"{client} {' '.join(args)}:\n{result.stdout}"
        return result

    def compare(self, *commands):
        """Both clients say the same, and succeed or fail alike."""
        for command in commands:
            answers = {}
            for name, client in CLIENTS.items():
                result = self.virsh(*command, check=False, client=client)
                answers[name] = (result.returncode, re.sub(r"[ \t]+\n", "\n", result.stdout).strip())
            assert answers["virsh"] == answers["berth"], f"{command}: {answers}"

    @staticmethod
    def run(*command):
        subprocess.run(command, check=True, timeout=LIMIT)

    def said(self, *args, **options):
        return self.virsh(*args, **options).stdout.strip()

    def called(self):
        """Names of the procedures that clients have called, or that this client need not call."""
        with open(self.log) as log:
            return SPARED | set(re.findall(r"debug: ([A-Z0-9_]+) serial \d+: done", log.read()))
