#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""LUKS 2 volumes that cryptsetup makes: it encrypts (without device mapper, by re-encryption of a
file) what we read, and decrypts and encrypts again what we wrote."""
import os
import random
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from peer import THEIRS, Failed, ours, run  # noqa: E402
from guest import main, temporary_folder  # noqa: E402

SECRET = ["--object", "secret,id=s,data=swordfish"]
QUICK = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]
MIB = 1 << 20
RESERVED = 16 * MIB  # cryptsetup takes half of it for the header
KINDS = [QUICK,
         ["--sector-size", "4096", "--pbkdf", "argon2id", "--pbkdf-memory", "32768",
          "--pbkdf-force-iterations", "4", "--pbkdf-parallel", "2"],
         ["--sector-size", "1024", "--cipher", "aes-cbc-essiv:sha256", "--key-size", "256", "--hash",
          "sha512", "--pbkdf", "argon2i", "--pbkdf-memory", "64", "--pbkdf-force-iterations", "4"]]


def cryptsetup(*args, cwd, given="swordfish"):
    done = subprocess.run(["cryptsetup", "-q", *args], input=given, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=120, cwd=cwd)
    if done.returncode:
        raise Failed(f"cryptsetup {' '.join(args)}: {done.stdout}")


def volume(path):
    return f"driver=luks,key-secret=s,file.filename={path}"


def make(folder, kind):
    """A plain disk, and the volume that cryptsetup made of a copy."""
    generator = random.Random(6)
    plain, path = os.path.join(folder, "plain"), os.path.join(folder, "volume")
    with open(plain, "wb") as disk:
        disk.write(generator.randbytes(3 * MIB))
        disk.truncate(4 * MIB)
    with open(path, "wb") as disk, open(plain, "rb") as source:
        disk.write(source.read())
        disk.truncate(4 * MIB + RESERVED)
    cryptsetup("reencrypt", "--encrypt", "--type", "luks2", "--reduce-device-size", str(RESERVED),
               "--key-file", "-", *kind, "volume", cwd=folder)


def same(folder):
    run(ours(), "convert", *SECRET, "--image-opts", "-O", "raw", volume("volume"), "back", cwd=folder)
    # What was reserved and not taken is at the volume's end, and was never encrypted.
    with open(os.path.join(folder, "back"), "r+b") as disk:
        disk.truncate(4 * MIB)
    run(THEIRS, "compare", "-f", "raw", "-F", "raw", "back", "plain", cwd=folder)


def write_both(folder):
    for name, extra in ((volume("volume"), [*SECRET, "--image-opts"]), ("plain", ["-f", "raw"])):
        for size, step, pattern in (("777", "100001", "9"), ("70000", "150000", "8")):
            run(ours(), "bench", *extra, "-w", "-c", "20", "-s", size, "-S", step, "--pattern", pattern,
                name, cwd=folder)


def test_read_and_written():
    for kind in KINDS:
        with temporary_folder() as folder:
            make(folder, kind)
            same(folder)
            write_both(folder)
            same(folder)
            # A new key: cryptsetup decrypts all that we wrote, and encrypts it anew.
            cryptsetup("reencrypt", "--force-offline-reencrypt", "--key-file", "-",
                       *kind[kind.index("--pbkdf"):], "volume", cwd=folder)
            same(folder)


def test_headers():
    """Either copy of the header will do; the newer one counts; several slots are tried."""
    with temporary_folder() as folder:
        path = os.path.join(folder, "volume")
        make(folder, QUICK)
        with open(os.path.join(folder, "new"), "w") as file:
            file.write("sturgeon")
        cryptsetup("luksAddKey", *QUICK, "--key-file", "-", "volume", "new", cwd=folder)
        cryptsetup("luksKillSlot", "--key-file", "new", "volume", "0", cwd=folder)
        if "Invalid password" not in run(ours(), "map", "--output=json", *SECRET, "--image-opts", volume("volume"),
                                         cwd=folder, status=1).err:
            raise Failed("a password that was removed opens the volume")
        new = ["--object", "secret,id=s,data=sturgeon"]
        with open(path, "rb") as disk:
            size = int.from_bytes(disk.read(16)[8:], "big")
        for broken in ([0], [size]):
            with open(path, "r+b") as disk:
                copy = disk.read(2 * size)
                for at in broken:
                    disk.seek(at + 4500)
                    disk.write(b"xxxx")
            run(ours(), "map", "--output=json", *new, "--image-opts", volume("volume"), cwd=folder)
            with open(path, "r+b") as disk:
                disk.write(copy)
        with open(path, "r+b") as disk:
            for at in (0, size):
                disk.seek(at + 4500)
                disk.write(b"xxxx")
        if "checksum" not in run(ours(), "info", "volume", cwd=folder, status=1).err:
            raise Failed("a header with a wrong checksum was taken")


def test_refused():
    with temporary_folder() as folder:
        path = os.path.join(folder, "volume")
        with open(path, "wb") as disk:
            disk.truncate(20 * MIB)
        cryptsetup("luksFormat", "--type", "luks2", "--key-file", "-", *QUICK, "volume", cwd=folder)
        cryptsetup("reencrypt", "--init-only", "--key-file", "-", *QUICK, "volume", cwd=folder)
        if "reencrypt" not in run(ours(), "info", "volume", cwd=folder, status=1).err:
            raise Failed("a volume that is being re-encrypted was taken")


main(test_read_and_written, test_headers, test_refused)
