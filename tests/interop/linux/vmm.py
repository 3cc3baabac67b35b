# SPDX-License-Identifier: GPL-2.0-or-later
"""What the Linux tests share: command lines of stock guests on the software engine."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../lib"))
from guest import *  # noqa: E402,F401,F403  (the path must be set first)
import guest as testlib  # noqa: E402

# The engine under test; the lab runs the same scripts with kvm.
ACCEL = os.environ.get("BERTH_TEST_ACCEL", "soft")


def base(cpus=1, memory="512", machine="q35"):
    """A VMM without default devices, with the console on standard input and output."""
    return [testlib.program("berth-vmm"), "-accel", ACCEL, "-machine", machine, "-m", memory,
            "-smp", str(cpus), "-nodefaults", "-nographic", "-no-reboot", "-serial", "mon:stdio"]


def direct(name, cpus=1, memory="512", machine="q35", append="", extra=()):
    """A stock kernel with its test initramfs, loaded without firmware."""
    vmlinuz, initrd = testlib.kernel(name)
    return base(cpus, memory, machine) + [
        "-kernel", vmlinuz, "-initrd", initrd, "-append", f"console=ttyS0 panic=-1 {append}",
        *extra]


def toolbox_image():
    """The image of test programs that tests/lib/toolbox makes."""
    return subprocess.run([os.path.join(testlib.TOP, "tests/lib/toolbox")], check=True,
                          stdout=subprocess.PIPE, text=True).stdout.strip()


def debian(cpus=1, memory="1G", extra=(), snapshot=True, disk=None, kernel=None):
    """The Debian guest on a virtio disk, with its own kernel or a stock one, loaded directly."""
    folder = testlib.debian_image()
    vmlinuz, initrd, root = f"{folder}/vmlinuz", f"{folder}/initrd.img", "root=LABEL=root"
    if kernel:
        (vmlinuz, initrd), root = testlib.kernel(kernel), "berth.root=root"
    drive = f"file={disk or folder + '/debian-12.img'},if=virtio,format=raw"
    return base(cpus, memory) + [
        "-kernel", vmlinuz, "-initrd", initrd,
        "-append", f"{root} rw console=ttyS0 quiet panic=-1",
        "-drive", drive + (",snapshot=on" if snapshot else ""), *extra]
