# SPDX-License-Identifier: GPL-2.0-or-later
"""Run a VMM from a test and talk to the guest's serial console.

    with Guest(["berth-vmm", ...]) as guest:
        guest.expect("login:", 60)
        guest.send("root\\n")
        status = guest.wait(30)

A guest that misses its deadline raises Failed with what the console said last. Whatever happens,
the VMM is ended when the `with` block is left.
"""
import json
import os
import re
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("BERTH_BUILD", os.path.join(TOP, "build"))
CACHE = os.environ.get("BERTH_CACHE") or os.path.join(
    os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "berth")
SKIPPED = 77


class Failed(Exception):
    """A test's expectation did not hold; the text says which."""


def check(condition, what):
    if not condition:
        raise Failed(what)


def refused(qmp, words, command, **arguments):
    """The QMP command fails, with `words` in its error."""
    try:
        qmp.call(command, **arguments)
    except Failed as failure:
        check(words in str(failure), f"{command} was refused with: {failure}")
        return
    raise Failed(f"{command} {arguments} was not refused")


def program(name):
    """The path of one of our programs."""
    path = os.path.join(BUILD, "bin", name)
    if not os.path.exists(path):
        raise Failed(f"{path} is not built: run make")
    return path


def kernel(name):
    """Paths of (vmlinuz, initramfs) of a stock Debian kernel, fetched when needed."""
    subprocess.run([os.path.join(TOP, "tests/lib/assets"), name], check=True)
    folder = os.path.join(CACHE, "kernels", name)
    return os.path.join(folder, "vmlinuz"), os.path.join(folder, "initramfs.cpio.gz")


def guest_agent():
    """A tar archive of QEMU's guest agent, to be unpacked in the root of the Debian guest."""
    subprocess.run([os.path.join(TOP, "tests/lib/assets"), "guest-agent"], check=True)
    return os.path.join(CACHE, "guest-agent.tar")


def debian_image():
    """The folder of the Debian guest: debian-12.img, vmlinuz, initrd.img, ssh-key."""
    path = subprocess.run([os.path.join(TOP, "tools/guest-image")], check=True,
                          stdout=subprocess.PIPE, text=True).stdout.strip()
    return os.path.dirname(path)


class Guest:
    """A VMM process whose standard input and output are the guest's console."""

    def __init__(self, command, echo=bool(os.environ.get("BERTH_TEST_ECHO"))):
        self.command = command
        self.started = time.monotonic()
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, start_new_session=True)
        os.set_blocking(self.process.stdout.fileno(), False)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.process.stdout, selectors.EVENT_READ)
        self.output = ""  # all that the console has said
        self.seen = 0     # up to where expect() has looked
        self.echo = echo

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def kill(self):
        """End the VMM at once, if it still runs."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def elapsed(self):
        """Seconds since the start."""
        return time.monotonic() - self.started

    def _read(self, timeout):
        """Collect output for at most `timeout` seconds. False at the end of the stream."""
        if not self.selector.select(max(0, timeout)):
            return True
        data = self.process.stdout.read()
        if data is None:
            return True
        text = data.decode(errors="replace")
        if self.echo:
            sys.stderr.write(text)
        self.output += text
        return bool(data)

    def tail(self, lines=25):
        """The console's last lines, for messages."""
        return "\n".join(self.output.replace("\r", "").splitlines()[-lines:])

    def expect(self, pattern, timeout):
        """Wait for a regular expression in what follows the last match; returns the match."""
        deadline = time.monotonic() + timeout
        alive = True
        while True:
            match = re.search(pattern, self.output[self.seen:])
            if match:
                self.seen += match.end()
                return match
            left = deadline - time.monotonic()
            if left <= 0 or not alive:
                why = f"within {timeout} s" if alive else "before the VMM ended"
                raise Failed(f"'{pattern}' did not come {why}; the console's last lines:\n"
                             + self.tail())
            alive = self._read(min(left, 1))

    def send(self, text):
        """Type `text`."""
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def wake(self, timeout):
        """Type until the shell that waits answers: a client that connects throws away what was typed before
        it has set its terminal."""
        deadline = time.monotonic() + timeout
        while "awake" not in self.output[self.seen:]:
            if time.monotonic() > deadline:
                raise Failed(f"no shell answers within {timeout} s; the console's last lines:\n" + self.tail())
            self.send("echo awa''ke\n")
            self._read(1)
        self.seen = len(self.output)

    def run(self, command, timeout):
        """Run a shell command at a root prompt; returns its output. Fails if its status is not 0."""
        marker = f"done-{time.monotonic_ns()}"
        # The marker is split, so that the terminal's echo of the command does not match it.
        self.send(f"{command}; echo {marker[:6]}''{marker[6:]} $?\n")
        start = self.seen
        match = self.expect(marker + r" (\d+)", timeout)
        text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.output[start:self.seen]).replace("\r", "")
        body = text.split("\n", 1)[1] if "\n" in text else ""
        if match.group(1) != "0":
            raise Failed(f"'{command}' gave status {match.group(1)} in the guest:\n{body}")
        return body[:body.rfind(marker)]

    def wait(self, timeout):
        """Wait for the VMM to end by itself; returns its exit status."""
        deadline = time.monotonic() + timeout
        while self._read(min(1, max(0, deadline - time.monotonic()))):
            if time.monotonic() >= deadline:
                raise Failed(f"the VMM did not end within {timeout} s; last lines:\n" + self.tail())
        try:
            return self.process.wait(max(1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise Failed("the VMM closed its output but did not end") from None

    def login(self, timeout):
        """From the login prompt of the Debian guest to a root shell with a quiet prompt."""
        self.expect("login: ", timeout)
        self.send("root\n")
        self.expect("Password: ", 60)
        self.send("berth\n")
        self.expect(r"root@berth:~# ", 120)
        self.send("stty -echo; PS1=; bind 'set enable-bracketed-paste off' 2>/dev/null\n")
        time.sleep(0.5)
        self.run("true", 60)


class Qmp:
    """A client of a QMP unix socket."""

    def __init__(self, path, timeout=10):
        deadline = time.monotonic() + timeout
        while True:
            self.socket = socket.socket(socket.AF_UNIX)
            try:
                self.socket.connect(path)
                break
            except OSError:
                self.socket.close()
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
        self.socket.settimeout(timeout)
        # Two files: one for both throws away what it has read ahead when something is written.
        self.lines, self.out = self.socket.makefile("r"), self.socket.makefile("w")
        self.events = []
        self.greeting = json.loads(self.lines.readline())
        self.call("qmp_capabilities")

    def call(self, command, exact=None, **arguments):
        """Execute a command; returns its result. Events that come meanwhile are kept. Names have "-"
        for "_", except in `exact`."""
        message = {"execute": command}
        if arguments or exact:
            message["arguments"] = {key.replace("_", "-"): value
                                    for key, value in arguments.items()} | (exact or {})
        self.out.write(json.dumps(message) + "\n")
        self.out.flush()
        while True:
            answer = json.loads(self.lines.readline())
            if "event" in answer:
                self.events.append(answer)
            elif "error" in answer:
                raise Failed(f"{command}: {answer['error']['desc']}")
            else:
                return answer["return"]

    def wait_event(self, name):
        """The next event of that name."""
        while True:
            for event in self.events:
                if event["event"] == name:
                    self.events.remove(event)
                    return event
            answer = json.loads(self.lines.readline())
            if "event" in answer:
                self.events.append(answer)

    def close(self):
        """Hang up."""
        self.lines.close()  # they hold the socket open too
        self.out.close()
        self.socket.close()


def free_port():
    """A TCP port of the loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def temporary_folder():
    """A folder that is removed at the end of a `with` block."""
    return tempfile.TemporaryDirectory(prefix="berth-test-")


def main(*tests):
    """Run test functions, print TAP-like lines, exit 0, 1 or 77 (all skipped)."""
    failed = skipped = 0
    wanted = sys.argv[1:]
    for test in tests:
        if wanted and test.__name__ not in wanted:
            continue
        started = time.monotonic()
        try:
            reason = test()
            if isinstance(reason, str):
                skipped += 1
                print(f"ok - {test.__name__} # SKIP {reason}")
            else:
                print(f"ok - {test.__name__} ({time.monotonic() - started:.1f} s)")
        except (Failed, OSError, subprocess.CalledProcessError) as problem:
            failed += 1
            print(f"not ok - {test.__name__}: {problem}")
        sys.stdout.flush()
    if failed:
        sys.exit(1)
    sys.exit(SKIPPED if skipped and skipped == len(tests) else 0)
