#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Bad input ends with status 1 and one line that names the thing and the remedy; help lists what
there is."""
import os
import socket
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from guest import Failed, main, program, temporary_folder  # noqa: E402


def run(name, *args, status=0):
    """Run a program to its end; returns (stdout, stderr)."""
    process = subprocess.run([program(name), *args], stdin=subprocess.DEVNULL, text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    if process.returncode != status:
        raise Failed(f"{name} {' '.join(args)}: status {process.returncode}, not {status}; it said "
                     f"{process.stdout}{process.stderr}")
    return process.stdout, process.stderr


def refuse(name, *args, says):
    """Status 1 and exactly one line on standard error that holds all of `says`.

    `berth run` becomes berth-vmm, so that may be who speaks.
    """
    _, errors = run(name, *args, status=1)
    lines = errors.splitlines()
    if len(lines) != 1 or not lines[0].startswith((name + ": ", "berth-vmm: ")):
        raise Failed(f"{name} {' '.join(args)}: not one line: {errors!r}")
    for part in says:
        if part not in lines[0]:
            raise Failed(f"{name} {' '.join(args)}: '{part}' is not in: {lines[0]}")


VMM = ("-nodefaults", "-display", "none", "-accel", "soft", "-S")


def test_unknown():
    refuse("berth-vmm", "-kernal", "x", says=["-kernal", "-kernel"])
    refuse("berth-vmm", "-device", "virtio-blk-pic", says=["virtio-blk-pic", "virtio-blk-pci"])
    refuse("berth-vmm", *VMM, "-device", "virtio-rng-pci,max-byte=1", says=["max-byte", "max-bytes"])
    refuse("berth-vmm", "-M", "q53", says=["q53", "q35"])
    refuse("berth-vmm", "-d", "int,in_asn", says=["in_asn", "in_asm"])
    refuse("berth-vmm", *VMM, "-netdev", "user,id=n,hostfdw=x", says=["hostfdw", "hostfwd"])
    refuse("berth-vmm", *VMM, "-cpu", "qemu46", says=["qemu46", "qemu64"])
    refuse("berth-vmm", "-vnc", ":1", says=["-vnc is not supported yet"])
    refuse("berth-vmm", "-incoming", "tcp:0:1", says=["-incoming is not supported yet"])
    refuse("berth-vmm", "-numa", "nod", says=["-numa 'nod'", "node, dist or cpu"])
    refuse("berth-vmm", "-numa", "node", "-numa", "node,nodeid=2", says=["no node 1"])
    refuse("berth-vmm", "-numa", "node,cpus=1", says=["cpus=1-1", "1 CPUs"])
    refuse("berth-vmm", *VMM, "-numa", "node,mem=64M", says=["64 MiB", "128"])
    refuse("berth-vmm", *VMM, "-numa", "node,memdev=m", says=["memdev=m", "-object memory-backend-"])
    refuse("berth-vmm", *VMM, "-m", "64M", "-object", "memory-backend-ram,id=m,size=64M,policy=bind",
           "-machine", "memory-backend=m", says=["policy=bind", "host-nodes"])
    for option, words in (("reserve=on", "huge pages"), ("prealloc-threads=2", "add prealloc=on")):
        refuse("berth-vmm", *VMM, "-m", "64M", "-object", f"memory-backend-ram,id=m,size=64M,{option}",
               "-machine", "memory-backend=m", says=[option, words])
    refuse("berth-vmm", *VMM, "-machine", "q35", "-netdev", "user,id=n", "-device",
           "virtio-net-pci,netdev=n,romfile=/dev/zero", says=["romfile=/dev/zero", "no regular file"])
    refuse("berth-vmm", *VMM, "-object", "memory-backend-ram,id=m,size=64M,host-nodes=0,host-nodes=0",
           "-machine", "memory-backend=m", says=["policy=default", "host-nodes"])
    refuse("berth", "rnu", says=["rnu", "'run'"])
    refuse("berth", "run", "--memroy", "1G", says=["--memroy", "--memory"])


def test_machine_switches():
    """What a board cannot be made without, or with, is refused and not ignored."""
    for board, switches in {
            "q35": ["pic=off", "pit=off", "rtc=off", "pcie=off", "auto-kernel-cmdline=on", "usb=on",
                    "smm=on", "vmport=on", "graphics=on", "nvdimm=on"],
            "microvm": ["pic=on", "pit=on", "hpet=on", "sata=on", "smbus=on", "usb=on"]}.items():
        for switch in switches:
            refuse("berth-vmm", *VMM, "-machine", f"{board},{switch}",
                   says=["-machine", switch.split("=")[0], "not supported"])
    refuse("berth-vmm", *VMM, "-machine", "q35,kernel-irqchip=maybe", says=["maybe", "split"])
    refuse("berth-vmm", *VMM, "-machine", "q35,hpet=perhaps", says=["perhaps"])
    refuse("berth-vmm", *VMM, "-device", "ide-hd,discard_granularity=4096", says=["discard_granularity"])


def test_missing_files():
    refuse("berth-vmm", *VMM, "-kernel", "/no/kernel", says=["/no/kernel", "No such file"])
    refuse("berth-vmm", *VMM, "-drive", "file=/no/disk,if=virtio", says=["/no/disk", "No such file"])
    refuse("berth-vmm", *VMM, "-bios", "/no/bios", says=["/no/bios"])
    refuse("berth-vmm", *VMM, "-device", "virtio-blk-pci,drive=d0", says=["d0", "-drive"])
    refuse("berth-vmm", *VMM, "-pidfile", "/no/folder/pid", says=["/no/folder/pid"])
    refuse("berth", "run", "/no/disk", says=["/no/disk", "No such file"])


def test_bad_images():
    with temporary_folder() as folder:
        kernel = os.path.join(folder, "kernel")
        with open(kernel, "wb") as file:  # a bzImage's magic, and then nothing
            file.write(bytes(0x1FE) + b"\x55\xAA" + b"\xEB\x66HdrS" + b"\x0f\x02" + bytes(64))
        refuse("berth-vmm", *VMM, "-kernel", kernel, says=[kernel])
        text = os.path.join(folder, "text")
        with open(text, "w") as file:
            file.write("not a kernel\n" * 100)
        refuse("berth-vmm", *VMM, "-kernel", text, says=[text])
        qcow2 = os.path.join(folder, "disk.qcow2")
        with open(qcow2, "wb") as file:
            file.write(b"QFI\xfb\0\0\0\3" + bytes(4096))
        refuse("berth-vmm", *VMM, "-drive", f"file={qcow2},if=virtio", says=[qcow2, "qcow2"])
        refuse("berth", "run", qcow2, says=[qcow2, "qcow2", "cluster size"])
        refuse("berth-vmm", *VMM, "-drive", f"file={folder},if=virtio", says=[folder])
        empty = os.path.join(folder, "empty")
        open(empty, "w").close()
        refuse("berth", "run", empty, says=[empty, "empty"])


def test_unreadable_image():
    if os.geteuid() == 0:
        # Root may read everything: become someone else for the test.
        runner = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    else:
        runner = []
    with temporary_folder() as folder:
        os.chmod(folder, 0o755)
        image = os.path.join(folder, "secret.img")
        with open(image, "wb") as file:
            file.truncate(1 << 20)
        os.chmod(image, 0)
        process = subprocess.run([*runner, program("berth-vmm"), *VMM, "-drive",
                                  f"file={image},if=virtio,format=raw"], stderr=subprocess.PIPE,
                                 text=True, timeout=60)
        if "berth-vmm" not in process.stderr:
            return "another user cannot start the program here"
        if process.returncode != 1 or image not in process.stderr or \
                "Permission denied" not in process.stderr:
            raise Failed(f"status {process.returncode}: {process.stderr}")
    return None


def test_resources():
    refuse("berth-vmm", *VMM, "-serial", "stdio", "-monitor", "stdio", says=["stdio", "mon:stdio"])
    refuse("berth-vmm", *VMM, "-m", "4000T", says=["memory"])
    refuse("berth-vmm", *VMM, "-m", "lots", says=["lots", "512M"])
    refuse("berth-vmm", *VMM, "-smp", "300", says=["q35"])
    refuse("berth-vmm", *VMM, "-m", "512,slots=2", says=["slots=", "maxmem="])
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refuse("berth-vmm", *VMM, "-netdev", f"user,id=n,hostfwd=tcp:127.0.0.1:{port}-:22",
               "-device", "virtio-net-pci,netdev=n", says=[str(port)])
        refuse("berth-vmm", *VMM, "-qmp", f"tcp:127.0.0.1:{port},server=on,wait=off",
               says=[str(port)])


def test_lists():
    for args, words in {
            ("-version",): ["QEMU emulator version 7.2.", "Berth"],
            ("-help",): ["-kernel FILE", "Ctrl-a x", "-drive file=FILE"],
            ("--help",): ["-kernel FILE"],
            ("-machine", "help"): ["q35", "microvm", "pc "],
            ("-machine", "q35,help"): ["hpet", "acpi"],
            ("-accel", "help"): ["kvm", "soft", "auto"],
            ("-cpu", "help"): ["qemu64", "host", "x86-64-v3", "avx2"],
            ("-device", "help"): ["virtio-blk-pci", "ide-cd", "isa-debug-exit"],
            ("-device", "virtio-blk-pci,help"): ["num-queues", "drive"],
            ("-netdev", "help"): ["user", "tap", "bridge"],
            ("-chardev", "help"): ["socket", "pty", "null"],
            ("-object", "help"): ["rng-random", "memory-backend-memfd"]}.items():
        output, errors = run("berth-vmm", *args)
        for word in words:
            if word not in output:
                raise Failed(f"berth-vmm {' '.join(args)} does not say '{word}': {output}{errors}")
    for args, words in {("help",): ["    run ", "validate", "snapshot-list"], ("help", "run"): ["--memory", "Ctrl-a"],
                        ("--version",): ["berth 0."], ("run", "--help"): ["--share"]}.items():
        output, _ = run("berth", *args)
        for word in words:
            if word not in output:
                raise Failed(f"berth {' '.join(args)} does not say '{word}': {output}")


def test_dry_run():
    with temporary_folder() as folder:
        image = os.path.join(folder, "my disk.img")
        with open(image, "wb") as file:
            file.write(bytes(1024))
            file.truncate(1 << 20)
        output, _ = run("berth", "run", image, "--memory", "1G", "--cpus", "3", "--forward",
                        "tcp:2222:22", "--share", folder, "--dry-run", "--", "-uuid",
                        "00112233-4455-6677-8899-aabbccddeeff")
        for word in ["berth-vmm ", "-m 1024M", "-smp 3", "hostfwd=tcp:127.0.0.1:2222-:22",
                     "mount_tag=share", f"'file={image},", "virtio-blk-pci", "-serial mon:stdio",
                     "-uuid 00112233"]:
            if word not in output:
                raise Failed(f"'{word}' is not in: {output}")
        # What it prints is what a shell can run.
        if subprocess.run(["sh", "-nc", output]).returncode != 0:
            raise Failed(f"no shell takes: {output}")


def test_validate():
    process = subprocess.run([program("berth"), "validate"], stdout=subprocess.PIPE, text=True,
                             timeout=60)
    lines = process.stdout.splitlines()
    failures = [line for line in lines if line.startswith("FAIL")]
    if process.returncode != (1 if failures else 0) or len(lines) < 10:
        raise Failed(f"status {process.returncode}: {process.stdout}")
    for what in ["/dev/kvm", "TUN", "IOMMU", "cgroup", "huge pages", "free memory"]:
        if what not in process.stdout:
            raise Failed(f"validate says nothing of {what}")


main(test_unknown, test_machine_switches, test_missing_files, test_bad_images,
     test_unreadable_image, test_resources, test_lists, test_dry_run, test_validate)
