#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The KVM lab: true KVM on a machine without virtualization.

QEMU's software emulation of AMD SVM runs a stock Debian kernel with kvm-amd; in there our programs
find a real /dev/kvm. All tests run in one such machine, one after the other, and their results come
out by its serial line. Time in there means nothing; each test has a limit all the same, and so has
the whole. A test that fails is not tried again: what fails here sometimes is a fault to find. But
the lab's own kernel says every few seconds that it is alive; when that ends, QEMU's emulation has
failed and not a test, for no program can stop the kernel that it runs on. Then a new machine begins
with the test that had no answer, once.

There are two machines for that, for QEMU's SVM has gaps, and one with an IOMMU; MACHINES tells which.
Each test names its own.

    tests/lab/lab.py [--build DIR] [--list] [--keep] [--machine NAME] [TEST]...      default: all

Prints TAP. What a failed test said is printed as comments, and lines of any that begin with "lab: figure".
"""
import argparse
import glob
import gzip
import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "lib"),
                os.path.join(os.path.dirname(HERE), "interop/firmware")]
import guest  # noqa: E402
import images  # noqa: E402
from tests import TESTS  # noqa: E402

# Limits are for what hangs, not for what a loaded host makes slow.
BOOT_LIMIT = 300  # seconds until the outer machine's tests begin
BETWEEN_LIMIT = 120  # seconds between two tests
SILENT_LIMIT = 120  # seconds without a sign of life, where one is due every SIGN_INTERVAL
STUCK = 137  # the result of a test that the lab could not end
SIGN_INTERVAL = 5  # seconds of the lab's clock
TOTAL_LIMIT = 1500  # seconds for all of it; that is about 180 of one processor
MACHINE = ["qemu-system-x86_64", "-machine", "q35", "-m", "3000", "-nographic", "-nodefaults",
           "-no-reboot", "-serial", "stdio"]
MACHINES = {
    # One processor: with two that run at once the lab's own kernel sometimes stops ("soft lockup" on
    # both, in the scheduler) when the host is loaded, which no program can do to its
    # kernel: QEMU's fault. So a guest's two vCPUs take turns. QEMU 7.2 executes a guest's XSETBV
    # without asking whether the host intercepts it (target/i386/tcg/translate.c), so a guest that sets XCR0 sets the host's
    # behind KVM's back: no XSAVE here, and no AVX.
    "fast": ["-accel", "tcg,thread=multi", "-cpu", "max,-xsave", "-smp", "1"],
    # One processor, a nanosecond per instruction: a load of the real host does not show, and nothing
    # in there is late. For guests that write CR8 in interrupt handlers, as OVMF does: QEMU 7.2
    # aborts ("tcg_handle_interrupt: assertion failed: (qemu_mutex_iothread_locked())") if KVM waits
    # for the end of that handler with the next interrupt, which here does not come before its time.
    # With XSAVE, for guests that leave XCR0 alone. Stock Linux guests hang in it; why is not known.
    "steady": ["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off", "-cpu", "max",
               "-smp", "1"],
    # With an IOMMU and a card that a guest may get, and that has an echo at 10.0.2.100. XSAVE: see "fast".
    "iommu": ["-accel", "tcg,thread=multi", "-cpu", "max,-xsave", "-smp", "1", "-device", "intel-iommu",
              "-netdev", "user,id=echo,restrict=on,guestfwd=tcp:10.0.2.100:7-cmd:cat",
              "-device", "e1000e,addr=5,netdev=echo"],
}
# lib.sh ends a guest at the limit; this ends a script that hangs elsewhere a little later.
RUNNER = """
export LAB=/lab PATH=/lab/bin:$PATH
ip link set lo up
while sleep %d; do echo "lab: alive"; done &
for name in $(cat /lab/order); do
	echo "lab: begin $name"
	rm -rf /tmp/*
	export LIMIT=$(cat /lab/limits/$name)
	timeout -s KILL $((LIMIT + 10)) sh -e /lab/tests/$name </dev/null
	echo "lab: end $name $?"
done
echo "lab: done"
""" % SIGN_INTERVAL


class Archive:
    """A cpio archive in the kernel's "newc" format, written as it grows."""

    def __init__(self, path):
        self.file = open(path, "wb")
        self.inode = 0
        self.folders = {"."}

    def _entry(self, name, mode, data):
        self.inode += 1
        fields = [self.inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
        header = b"070701" + b"".join(b"%08x" % f for f in fields) + name.encode() + b"\0"
        self.file.write(header + b"\0" * (-len(header) % 4))
        self.file.write(data + b"\0" * (-len(data) % 4))

    def folder(self, path):
        if path in self.folders or not path:
            return
        self.folder(os.path.dirname(path))
        self.folders.add(path)
        self._entry(path, 0o40755, b"")

    def add(self, path, data, mode=0o100644):
        self.folder(os.path.dirname(path))
        self._entry(path, mode, data if isinstance(data, bytes) else data.encode())

    def copy(self, path, source, mode=0o100644):
        with open(source, "rb") as f:
            self.add(path, f.read(), mode)

    def close(self):
        self._entry("TRAILER!!!", 0, b"")
        self.file.close()


def libraries(program):
    """The shared libraries that a program loads, with the dynamic linker."""
    result = subprocess.run(["ldd", program], check=False, capture_output=True, text=True)
    if "not a dynamic executable" in result.stderr:
        return []
    result.check_returncode()
    return re.findall(r"(?:=> )?(/\S+) \(0x", result.stdout)


def add_program(archive, name, path, seen):
    archive.copy("lab/bin/" + name, path, 0o100755)
    for library in libraries(path):
        if library in seen:
            continue
        seen.add(library)
        # Under its own name, as the linker looks for it. /lib is a link to usr/lib on the host, but
        # a folder in the initramfs.
        archive.copy(library.lstrip("/"), os.path.realpath(library), 0o100755)


def module(name):
    """A module of the lab's kernel that its initramfs does not have."""
    folder = os.path.join(os.path.dirname(guest.kernel("generic")[0]), "modules")
    (path,) = glob.glob(os.path.join(folder, "**", name + ".ko"), recursive=True)
    return path


def build_archive(path, build, tests):
    archive = Archive(path)
    needs = {need for test in tests for need in test.needs}
    seen = set()
    for name in sorted(needs):
        kind, _, rest = name.partition(":")
        if kind == "program":
            add_program(archive, os.path.basename(rest), os.path.join(build, rest), seen)
        elif kind == "kernel":
            vmlinuz, initramfs = guest.kernel(rest)
            archive.copy(f"lab/kernels/{rest}/vmlinuz", vmlinuz)
            archive.copy(f"lab/kernels/{rest}/initramfs.cpio.gz", initramfs)
        elif kind == "file":
            archive.copy(rest.lstrip("/"), rest)
        elif kind == "module":
            archive.copy(f"lab/modules/{rest}.ko", module(rest))
        elif name == "grub-disk":
            with open(images.grub_disk(None), "rb") as f:
                archive.add("lab/grub-disk.gz", gzip.compress(f.read(), 1))
        else:
            raise SystemExit(f"lab: unknown need '{name}'")
    archive.add("lab/order", "\n".join(test.name for test in tests) + "\n")
    archive.copy("lab/lib.sh", os.path.join(HERE, "lib.sh"))
    for test in tests:
        archive.add(f"lab/limits/{test.name}", str(test.limit))
        archive.add(f"lab/tests/{test.name}", ". /lab/lib.sh\n" + test.script)
    archive.add("lab/run", RUNNER)
    archive.close()


def missing(build, test):
    """What of the host this test cannot do without, or None."""
    for need in test.needs:
        kind, _, rest = need.partition(":")
        if kind == "program" and not os.path.exists(os.path.join(build, rest)):
            return f"{rest} is not built"
        if kind == "file" and not os.path.exists(rest):
            return f"{rest} is not installed"
    return None


class Machine:
    """The outer machine, as a source of console lines."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, start_new_session=True)
        os.set_blocking(self.process.stdout.fileno(), False)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.process.stdout, selectors.EVENT_READ)
        self.rest = b""

    def line(self, deadline):
        """The next line, or None when the machine has ended or the deadline has passed."""
        while b"\n" not in self.rest:
            left = deadline - time.monotonic()
            if left <= 0 or not self.selector.select(left):
                return None
            data = self.process.stdout.read()
            if not data:
                return None
            self.rest += data
        line, self.rest = self.rest.split(b"\n", 1)
        return line.decode(errors="replace").rstrip("\r")

    def end(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def comment(lines):
    for line in lines[-60:]:
        print("#   " + re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line))


def follow(machine, tests, before, end, verbose):
    """Follow the console and print a TAP line per test, numbered after the `before` that are done.
    Returns the tests' results by name, without those that the machine did not answer, and what it
    said last."""
    results = {}
    said = []
    current = None
    deadline = time.monotonic() + BOOT_LIMIT
    silent = deadline
    while len(results) < len(tests):
        line = machine.line(min(deadline, silent, end))
        if line is None:
            if current and deadline <= time.monotonic() < end:
                results[current] = STUCK
                print(f"not ok {before + len(results)} {current} # could not be ended")
                comment(said)
            break
        silent = time.monotonic() + SILENT_LIMIT
        if verbose:
            print("# " + line, flush=True)
        words = line.split()
        if words[:2] == ["lab:", "begin"]:
            current, said = words[2], []
            limit = next(t.limit for t in tests if t.name == current)
            started = time.monotonic()
            deadline = started + limit + BETWEEN_LIMIT
        elif words[:2] == ["lab:", "end"] and words[2] == current:
            results[current] = status = int(words[3])
            number = before + len(results)
            print(f"{'ok' if status == 0 else 'not ok'} {number} {current} "
                  f"# {time.monotonic() - started:.1f} s", flush=True)
            if status:
                comment(said)
                print(f"#   status {status}" + (" (its limit)" if status == 137 else ""))
            current, said = None, []
            deadline = time.monotonic() + BETWEEN_LIMIT
        elif words[:2] == ["lab:", "figure"]:
            print("#   " + " ".join(words[2:]), flush=True)
        elif words != ["lab:", "alive"]:
            said.append(line)
    return results, said


def run(name, tests, before, end, options):
    """Run `tests` in machines of that name, one after the other; returns how many did not pass."""
    failed = 0
    left = tests
    for retry in (True, False):
        results, said = run_once(name, left, before, end, options)
        before += len(results)
        failed += sum(status != 0 for status in results.values())
        left = [test for test in left if test.name not in results]
        if not left:
            return failed
        if retry and time.monotonic() < end:
            print(f"# in {left[0].name} the lab's own kernel stopped; a new machine goes on")
            comment(said)
    for number, test in enumerate(left, before + 1):
        why = "no time was left" if time.monotonic() >= end else "the machine ended or hung"
        print(f"not ok {number} {test.name} # {why}")
        comment(said)
        said = []
    return failed + len(left)


def run_once(name, tests, before, end, options):
    """Run `tests` in one machine; returns what follow() does."""
    folder = tempfile.mkdtemp(prefix="berth-lab-")
    machine = None
    try:
        vmlinuz, initramfs = guest.kernel("generic")
        build_archive(os.path.join(folder, "lab.cpio"), options.build, tests)
        # The kernel unpacks archives that follow each other one over the other.
        with open(os.path.join(folder, "initrd"), "wb") as out:
            for part in (initramfs, os.path.join(folder, "lab.cpio")):
                with open(part, "rb") as f:
                    shutil.copyfileobj(f, out)
                out.write(b"\0" * (-out.tell() % 4))
        machine = Machine(MACHINE + MACHINES[name] + [
            "-kernel", vmlinuz, "-initrd", os.path.join(folder, "initrd"), "-append",
            "console=ttyS0 quiet panic=-1 mitigations=off intel_iommu=on berth.modules=kvm-amd "
            "berth.run=sh,/lab/run"])
        return follow(machine, tests, before, end, options.verbose)
    finally:
        if machine:
            machine.end()
        if options.keep:
            print("# kept in " + folder)
        else:
            shutil.rmtree(folder)


def main():
    # Ended by a test runner's limit, the machine must end too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    parser = argparse.ArgumentParser(description="Run tests on true KVM inside QEMU's emulation.")
    parser.add_argument("--build", default=guest.BUILD, help="the build folder")
    parser.add_argument("--list", action="store_true", help="print the names of the tests")
    parser.add_argument("--keep", action="store_true", help="keep the initramfs")
    parser.add_argument("--machine", choices=MACHINES, help="only the tests of that machine")
    parser.add_argument("--verbose", action="store_true", help="print the whole console")
    parser.add_argument("tests", nargs="*", metavar="TEST")
    options = parser.parse_args()
    names = [test.name for test in TESTS]
    for name in options.tests:
        if name not in names:
            raise SystemExit(f"lab: there is no test '{name}'; --list names them")
    if options.list:
        print("\n".join(names))
        return 0
    wanted = [t for t in TESTS if (not options.tests or t.name in options.tests) and
              (not options.machine or t.machine == options.machine)]
    if not shutil.which(MACHINE[0]):
        print(f"1..0 # SKIP {MACHINE[0]} is not installed")
        return 0
    tests = [t for t in wanted if not missing(options.build, t)]
    print(f"1..{len(wanted)}")
    end = time.monotonic() + TOTAL_LIMIT
    done = failed = 0
    for name in MACHINES:
        chosen = [t for t in tests if t.machine == name]
        if chosen:
            failed += run(name, chosen, done, end, options)
            done += len(chosen)
    for number, test in enumerate((t for t in wanted if t not in tests), len(tests) + 1):
        print(f"ok {number} {test.name} # SKIP {missing(options.build, test)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
