# SPDX-License-Identifier: GPL-2.0-or-later
"""The software engines side by side: the same static program, and the host's own gzip, compiler and
openssl, in a guest of berth-vmm, in one of QEMU's TCG, and natively.

Both guests boot the same kernel and initramfs and wait at their shells; rows are then run in turn in
each and natively, so that what else the machine does meets all three. The best of ROUNDS counts.
What a row computes must be the same in all three, or the benchmark fails.

BERTH_BENCH_ACCEL names Berth's engine (default: soft, or for example soft,jit=off).
"""
import math
import os
import re
import shutil
import subprocess

import guest as testlib
from guest import Failed, Guest

QEMU = "qemu-system-x86_64"
ACCEL = os.environ.get("BERTH_BENCH_ACCEL", "soft")
ROUNDS = int(os.environ.get("BERTH_BENCH_ROUNDS", "2"))

# Whole programs: name -> command, with {tree} for where bench's files are.
COMMANDS = {
    "gzip": "{tree}/busybox gzip -c {tree}/data",
    "compile": "{cc1} -fpreprocessed -O1 -quiet {tree}/source.i -o /dev/null",
    "shell": "{tree}/busybox sh {tree}/loop.sh",
    "shell-fork": "{tree}/busybox sh {tree}/fork.sh",
}
OPENSSL = {"openssl-sha256": "-evp sha256", "openssl-aes": "-evp aes-128-gcm",
           "openssl-rsa": "rsa2048"}

LOOP = "i=0; while [ $i -lt 30000 ]; do i=$((i+1)); case $i in *7) a=x$i;; esac; done\n"
FORK = "i=0; while [ $i -lt 100 ]; do i=$((i+1)); (exit 0); done\n"


def host_path(name):
    if name == "cc1":
        return subprocess.run(["gcc", "-print-prog-name=cc1"], check=True, text=True,
                              stdout=subprocess.PIPE).stdout.strip()
    return shutil.which(name)


def libraries(path):
    text = subprocess.run(["ldd", path], check=True, text=True, stdout=subprocess.PIPE).stdout
    return re.findall(r"(/\S+) \(0x", text)


def make_tree(folder):
    """What both guests get at /, bench's own files at /bench."""
    tree = os.path.join(folder, "bench")
    os.makedirs(tree)
    program = os.path.join(testlib.BUILD, "tests/bench/bench-guest")
    if not os.path.exists(program):
        raise Failed(f"{program} is not built: run make")
    shutil.copy(program, os.path.join(tree, "bench"))
    shutil.copy(os.path.join(testlib.CACHE, "busybox/amd64/bin/busybox"), tree)
    with open(os.path.join(tree, "data"), "wb") as data, open(program, "rb") as text:
        data.write((text.read() * 4)[:3 << 20])
    source = os.path.join(testlib.TOP, "tests/bench/guest/integer.c")
    subprocess.run(["gcc", "-std=gnu17", "-E", source, "-o", os.path.join(tree, "source.i")],
                   check=True)
    for name, text in (("loop.sh", LOOP), ("fork.sh", FORK)):
        with open(os.path.join(tree, name), "w", encoding="ascii") as script:
            script.write(text)
    for path in map(host_path, ("cc1", "openssl")):
        for needed in [path] + libraries(path):
            to = folder + needed
            os.makedirs(os.path.dirname(to), exist_ok=True)
            shutil.copy(needed, to)


def make_initramfs(folder, base):
    """The tree, and behind it the test guests' initramfs: the kernel unpacks one after the other."""
    tree, out = os.path.join(folder, "tree"), os.path.join(folder, "initramfs")
    make_tree(tree)
    with open(out, "wb") as image:
        subprocess.run("find . | cpio --quiet -o -H newc -R 0:0", shell=True, check=True, cwd=tree,
                       stdout=image)
        with open(base, "rb") as rest:
            shutil.copyfileobj(rest, image)
    return out


class Native:
    """This machine, with a guest's run()."""
    def __init__(self, tree):
        self.tree = tree

    def run(self, command, timeout):
        return subprocess.run(["sh", "-c", command], check=True, text=True, timeout=timeout,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout


def start(command, vmlinuz, initrd):
    guest = Guest(command + ["-nodefaults", "-display", "none", "-m", "768", "-serial", "stdio",
                             "-no-reboot", "-kernel", vmlinuz, "-initrd", initrd,
                             "-append", "console=ttyS0 quiet berth.modules=none"])
    guest.tree = "/bench"
    return guest


def settle(guest):
    guest.expect("guest# ", 300)
    guest.send("stty -echo\n")
    guest.run("true", 60)


# --- rows: each gives (group, nanoseconds, check) for one place -------------------------------------

def program_row(place, name):
    text = place.run(f"{place.tree}/bench {name}", 300)
    match = re.search(r"row \S+ (\S+) ([\d.]+) (\w+)", text)
    return (match.group(1), float(match.group(2)), match.group(3)) if match else None


def command_row(place, name):
    command = COMMANDS[name].format(tree=place.tree, cc1=host_path("cc1"))
    match = re.search(r"time (\d+) (\d+)", place.run(f"{place.tree}/bench --time {command}", 600))
    return "programs", float(match.group(1)), match.group(2)


def openssl_row(place, name):
    text = place.run(f"{host_path('openssl')} speed -mr -seconds 1 -bytes 8192 {OPENSSL[name]} "
                     "2>/dev/null", 120)
    # Bytes per second, or signatures and verifications per second.
    rate = re.search(r"\+F2?:\d+:[^:]+:([\d.]+)", text)
    if not rate:
        raise Failed("openssl speed gave no result:\n" + text)
    return "programs", 1e9 / float(rate.group(1)), ""


def row_names():
    text = subprocess.run([os.path.join(testlib.BUILD, "tests/bench/bench-guest"), "--list"],
                          check=True, text=True, stdout=subprocess.PIPE).stdout
    return text.split() + list(COMMANDS) + list(OPENSSL)


def measure(places, name):
    """{place: best nanoseconds} of one row and its group, or None if a CPU lacks it."""
    row = command_row if name in COMMANDS else openssl_row if name in OPENSSL else program_row
    best, checks, group = {}, {}, None
    for _ in range(ROUNDS):
        for where, place in places.items():
            result = row(place, name)
            if not result:
                return None
            group, value, check = result
            best[where] = min(value, best.get(where, value))
            checks[where] = check
    if len(set(checks.values())) != 1:
        raise Failed(f"{name} computed different things: {checks}")
    return group, best


def geometric_mean(values):
    return math.exp(sum(map(math.log, values)) / len(values))


def show(name, best):
    ratios = best["qemu"] / best["berth"], best["berth"] / best["native"]
    print(f"{name:16} {best['native']:14.2f} {best['berth']:14.2f} {best['qemu']:14.2f} "
          f"{ratios[0]:8.2f}x {ratios[1]:8.2f}x", flush=True)
    return ratios


def show_means(groups):
    print(f"\n{'geometric mean of':16} {'rows':>14} {'':29} {'vs QEMU':>9} {'vs native':>9}")
    everything = [pair for ratios in groups.values() for pair in ratios]
    for group, ratios in list(groups.items()) + [("all", everything)]:
        print(f"{group:16} {len(ratios):14} {'':29} "
              f"{geometric_mean([r[0] for r in ratios]):8.2f}x "
              f"{geometric_mean([r[1] for r in ratios]):8.2f}x")


def run(names=()):
    """Measure and print; `names`: these rows only."""
    vmlinuz, base = testlib.kernel("cloud")
    with testlib.temporary_folder() as folder:
        initrd = make_initramfs(folder, base)
        berth = [testlib.program("berth-vmm"), "-accel", ACCEL, "-cpu", "max"]
        qemu = [QEMU, "-no-user-config", "-accel", "tcg", "-cpu", "max"]
        with start(berth, vmlinuz, initrd) as ours, start(qemu, vmlinuz, initrd) as theirs:
            settle(ours)
            settle(theirs)
            places = {"native": Native(os.path.join(folder, "tree/bench")), "berth": ours,
                      "qemu": theirs}
            print(f"\n{'ns per operation':16} {'native':>14} {'Berth ' + ACCEL:>14} {'QEMU TCG':>14} "
                  f"{'vs QEMU':>9} {'vs native':>9}")
            groups = {}
            for name in names or row_names():
                result = measure(places, name)
                if result:
                    groups.setdefault(result[0], []).append(show(name, result[1]))
            show_means(groups)
