# SPDX-License-Identifier: GPL-2.0-or-later
"""Bootable disk images for the firmware tests, made without root and without loop devices.

One MBR disk serves BIOS and UEFI: GRUB for i386-pc in the gap before the first partition, and that
partition is FAT with GRUB for x86_64-efi at \\EFI\\BOOT\\BOOTX64.EFI, a kernel and its initramfs.
"""
import hashlib
import os
import struct
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../lib"))
from guest import CACHE, Failed, kernel  # noqa: E402

SECTOR = 512
START = 2048            # of the partition, in sectors: 1 MiB
SIZE = 96 * 2048        # 96 MiB
MODULES = ["normal", "configfile", "echo", "fat", "halt", "linux", "multiboot", "multiboot2",
           "part_msdos", "reboot", "search", "search_fs_file", "serial", "sleep", "terminal", "test"]
EARLY = """search --no-floppy --file --set=root /boot/grub/berth.cfg
set prefix=($root)/boot/grub
configfile /boot/grub/berth.cfg
"""
CONSOLE = """serial --unit=0 --speed=115200
terminal_input serial
terminal_output serial
echo "berth-grub: started by $grub_platform"
"""
# The guest sleeps until its clock wakes it: firmware must find the way back.
SLEEP = "echo,+2,>/sys/class/rtc/rtc0/wakealarm;echo,mem,>/sys/power/state&&echo,woken,up"
PRODUCT = "echo,machine,$(cat,/sys/class/dmi/id/product_name)"
LINUX = f"""linux /vmlinuz console=ttyS0 panic=-1 'berth.run={SLEEP};{PRODUCT}'
initrd /initramfs
boot
"""


def run(*command):
    """Run a tool; its output is shown only if it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise Failed(f"{' '.join(command)}: {done.stdout}")


def grub(folder, platform, output, modules):
    early = os.path.join(folder, "early.cfg")
    with open(early, "w") as file:
        file.write(EARLY)
    run("grub-mkimage", "-O", platform, "-o", output, "-c", early, "-p", "/boot/grub",
        *MODULES, *modules)


def write_mbr(disk, core):
    """boot.img, whose default is to load LBA 1, with a partition table, and core.img behind it."""
    with open("/usr/lib/grub/i386-pc/boot.img", "rb") as file:
        boot = bytearray(file.read(SECTOR))
    # Type 0xef: an EFI system partition, which a BIOS boots as well as any other.
    boot[446:512] = struct.pack("<B3sB3sII", 0x80, b"\xfe\xff\xff", 0xef, b"\xfe\xff\xff",
                                START, SIZE) + bytes(48) + b"\x55\xaa"
    if len(core) > (START - 1) * SECTOR:
        raise Failed(f"GRUB's core image has {len(core)} bytes and does not fit before 1 MiB")
    disk.write(boot + core)


def make_disk(path, config_text, files):
    """`files`: (path on the host, name on the disk), beside GRUB's own."""
    folder = path + ".parts"
    os.makedirs(folder, exist_ok=True)
    core, efi = os.path.join(folder, "core.img"), os.path.join(folder, "bootx64.efi")
    config = os.path.join(folder, "berth.cfg")
    grub(folder, "i386-pc", core, ["biosdisk"])
    grub(folder, "x86_64-efi", efi, [])
    with open(config, "w") as file:
        file.write(config_text)
    temporary = path + ".new"
    with open(temporary, "wb") as disk, open(core, "rb") as file:
        write_mbr(disk, file.read())
        disk.truncate((START + SIZE) * SECTOR)
    fat = f"{temporary}@@{START * SECTOR}"
    run("mformat", "-i", fat, "-T", str(SIZE), "-h", "255", "-s", "63", "-H", str(START), "-F", "::")
    for name in ("EFI", "EFI/BOOT", "boot", "boot/grub"):
        run("mmd", "-i", fat, "::" + name)
    for source, target in ((efi, "EFI/BOOT/BOOTX64.EFI"), (config, "boot/grub/berth.cfg"),
                           *files):
        run("mcopy", "-i", fat, source, "::" + target)
    os.rename(temporary, path)


def grub_disk(kernel_name="cloud"):
    """The path of a disk whose GRUB boots that kernel; without one GRUB says that it runs and powers
    off. Made again when this file or the kernel changes."""
    files = []
    if kernel_name:
        vmlinuz, initramfs = kernel(kernel_name)
        files = [(vmlinuz, "vmlinuz"), (initramfs, "initramfs")]
    digest = hashlib.sha256()
    for name in [__file__, *(source for source, _ in files)]:
        with open(name, "rb") as file:
            digest.update(file.read())
    folder = os.path.join(CACHE, "firmware")
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, f"grub-{kernel_name or 'halt'}-{digest.hexdigest()[:12]}.img")
    if not os.path.exists(path):
        make_disk(path, CONSOLE + (LINUX if kernel_name else "halt\n"), files)
    return path
