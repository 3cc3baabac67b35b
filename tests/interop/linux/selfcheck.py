#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs that nobody wrote for us and that check themselves, in a guest: selfcheck.py CPUS [PART...]

gcc builds zlib, whose tests then run; openssl must get the known answers of its standards, and what the host's
CPU gets, with and without the CPU's special instructions; Python runs tests of its own; stress-ng verifies. They come from the image
that tests/lib/toolbox makes. The short form here takes seconds on a CPU; soak.py runs the long one.
"""
import subprocess
import sys

import openssl_vectors
import vmm
from vmm import Failed, Guest

# Arithmetic, strings, hashes, compression, generators, exceptions, threads.
PYTHON_SHORT = "test_struct test_binascii test_bisect test_float test_complex"
PYTHON_LONG = ("test_math test_array test_zlib test_generators test_exceptions test_long test_cmath "
               "test_decimal test_hashlib test_hmac test_random test_re test_json test_pickle "
               "test_threading test_subprocess test_mmap test_set test_dict test_bytes "
               "test_statistics test_fractions test_heapq test_itertools")

DIGESTS = ("md5", "sha1", "sha256", "sha512", "sha3-256", "blake2b512", "sm3", "ripemd160")
CIPHERS = ("aes-128-cbc", "aes-256-ctr", "aes-192-ofb", "aria-128-cbc", "camellia-256-cbc",
           "chacha20", "des-ede3-cbc")


def openssl_script():
    """A shell script that prints a digest of all that openssl computes; no part of it is random."""
    lines = ["data() { i=0; while [ $i -lt 3000 ]; do echo line $i of the input; i=$((i+1)); done; }",
             "data >/tmp/in"]
    lines += [f"openssl dgst -provider legacy -provider default -{name} </tmp/in"
              for name in DIGESTS]
    lines += [f"openssl enc -{name} -e -K {'0123456789abcdef' * 4} -iv {'fedcba98' * 4} "
              "</tmp/in 2>/dev/null | openssl dgst -sha256" for name in CIPHERS]
    lines += ["openssl mac -digest SHA256 -macopt hexkey:00112233 -in /tmp/in HMAC",
              "openssl mac -cipher AES-128-GCM -macopt hexiv:000102030405060708090a0b -macopt "
              "hexkey:000102030405060708090a0b0c0d0e0f -in /tmp/in GMAC",
              "openssl mac -macopt hexkey:" + "0f" * 32 + " -in /tmp/in Poly1305",
              "openssl kdf -keylen 32 -kdfopt digest:SHA512 -kdfopt pass:secret -kdfopt salt:salt "
              "-kdfopt iter:500 PBKDF2",
              "openssl prime -checks 20 170141183460469231731687303715884105727",
              "openssl prime 340282366920938463463374607431768211297"]
    return "\n".join(lines) + "\n"


# Signing is random: what must hold is that one side's signature verifies on the other.
SIGN = ("for k in 'RSA -pkeyopt rsa_keygen_bits:1024' 'EC -pkeyopt ec_paramgen_curve:P-256' ED25519; "
        "do openssl genpkey -quiet -algorithm $k -out /tmp/k; openssl pkey -in /tmp/k -pubout -out "
        "/tmp/p; openssl pkeyutl -sign -rawin -inkey /tmp/k -in /tmp/s -out /tmp/sig; openssl "
        "pkeyutl -verify -rawin -pubin -inkey /tmp/p -in /tmp/s -sigfile /tmp/sig || exit 1; done")


def boot(cpus, memory="1G"):
    return Guest(vmm.direct("cloud", cpus, memory, extra=[
        "-drive", f"file={vmm.toolbox_image()},if=virtio,format=raw,snapshot=on"]))


def enter(guest):
    """From the shell of the test guest's initramfs into the toolbox."""
    guest.expect("guest# ", 300)
    guest.send("stty -echo; PS1=\n")
    guest.run("true", 60)
    guest.run("modprobe ext4; mount -t ext4 /dev/vda /mnt && mount -t proc proc /mnt/proc && "
              "mount -t sysfs sys /mnt/sys && mount --bind /dev /mnt/dev && "
              "mount -t tmpfs tmp /mnt/tmp && mkdir -p /dev/shm && mount -t tmpfs shm /dev/shm && "
              "ip link set lo up", 120)


def inside(guest, command, timeout):
    """Run it in the toolbox; returns what it says."""
    quoted = command.replace("'", "'\\''")
    return guest.run(f"chroot /mnt /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root "
                     f"TMPDIR=/tmp LC_ALL=C sh -c '{quoted}'", timeout)


def gcc_builds_zlib(guest, cpus, long):
    # Its configure script starts the compiler fifty times.
    build = f"./configure --static && make -j{cpus} teststatic"
    if not long:
        build = f"make -f Makefile.in -j{cpus} CFLAGS=-O1\\ -DHAVE_UNISTD_H teststatic"
    inside(guest, "rm -rf /tmp/z && cp -r /root/zlib /tmp/z && cd /tmp/z && "
           f"({build}) >/tmp/make.log 2>&1 && "
           "grep -q 'zlib test OK' /tmp/make.log || { tail -n 20 /tmp/make.log; exit 1; }", 900)


def write(guest, path, script):
    for start in range(0, len(script), 2000):  # a terminal's line has its limits
        piece = script[start:start + 2000].replace("\\", "\\\\").replace("'", "'\\''").replace("\n", "\\n")
        guest.run(f"printf '%b' '{piece}' >>/mnt{path}", 60)


def openssl_agrees(guest, cpus, long):
    script = openssl_script()
    known = list(openssl_vectors.vectors())
    wanted = {"openssl": subprocess.run(["sh", "-c", script], check=True, text=True,
                                        stdout=subprocess.PIPE).stdout.split(),
              "vectors": [answer for _, answer in known]}
    write(guest, "/tmp/openssl.sh", script)
    write(guest, "/tmp/vectors.sh", "".join(f'echo "$({command})"\n' for command, _ in known))
    masks = ["", "OPENSSL_ia32cap=~0x200000200000000 ", "OPENSSL_ia32cap=0:0 "]
    for mask in masks if long else masks[:2]:
        for name, answers in wanted.items():
            got = inside(guest, f"{mask}sh /tmp/{name}.sh", 300).split()
            if got != answers:
                wrong = [f"{a} for {b}" for a, b in zip(got, answers) if a != b]
                raise Failed(f"openssl computes {wrong[:3] or 'too little'} in the guest ({mask}{name})")
    inside(guest, "head -c 1000 /tmp/in >/tmp/s; " + SIGN, 300)


def python_passes(guest, cpus, long):
    tests = f"-j{cpus} {PYTHON_SHORT} {PYTHON_LONG}" if long else PYTHON_SHORT
    inside(guest, f"cd /tmp && python3 -m test --timeout 3000 {tests} >/tmp/python.log 2>&1 "
           "|| { tail -n 30 /tmp/python.log; exit 1; }", 3600)


def stress_verifies(guest, cpus, long):
    n, seconds = cpus, 40 if long else 4
    inside(guest, f"cd /tmp && stress-ng --verify --timeout {seconds} --metrics-brief --cpu {n} "
           f"--matrix {n} --vm {n} --vm-bytes 8M --atomic {n} --memcpy 1 --memfd 1 --fork 1 "
           "--futex 1 --sigsegv 1 --mutex 1 --switch 1 --mprotect 1 --qsort 1 --str 1 --vecmath 1 --fp 1 "
           ">/tmp/stress.log 2>&1 || { tail -n 30 /tmp/stress.log; exit 1; }", 900)
    inside(guest, "! grep -iE 'fail|error' /tmp/stress.log", 60)


PARTS = {"gcc": gcc_builds_zlib, "openssl": openssl_agrees, "python": python_passes,
         "stress": stress_verifies}


def check(cpus, parts=PARTS, long=False):
    """Boot and run the parts; raises Failed."""
    with boot(cpus) as guest:
        enter(guest)
        for name in parts:
            started = guest.elapsed()
            PARTS[name](guest, cpus, long)
            print(f"# {name}, {cpus} vCPUs: {guest.elapsed() - started:.1f} s", flush=True)
        complaints = guest.run("dmesg | grep -E 'BUG:|WARNING:|Oops|segfault|traps:|soft lockup' | "
                               "grep -v stress-ng || true", 60).strip()
        if complaints:
            raise Failed("the kernel complains:\n" + complaints)
        guest.send("poweroff -f\n")
        guest.wait(60)


if __name__ == "__main__":
    CPUS, WANTED = int(sys.argv[1]), sys.argv[2:] or list(PARTS)
    sys.argv[1:] = []

    def programs_check_themselves():
        check(CPUS, WANTED)

    vmm.main(programs_check_themselves)
