#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Stock firmware and boot loaders on our machine: boot.py CASE [CPUS [ENGINE]].

Debian's SeaBIOS and OVMF, GRUB from a disk and from Debian's rescue CD, and memtest86+, all unmodified
and all talking on the serial console.
"""
import os
import shutil
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from images import grub_disk  # noqa: E402
from guest import SKIPPED, Failed, Guest, kernel, program  # noqa: E402

RESCUE_CD = "/usr/lib/grub-rescue/grub-rescue-cdrom.iso"
OVMF = "/usr/share/ovmf/OVMF.fd"
OVMF_CODE, OVMF_VARS = "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"
MEMTEST = "/boot/memtest86+x64.bin"
CPUS = sys.argv[2] if len(sys.argv) > 2 else "1"


class Skip(Exception):
    """What this host lacks."""


def need(path, package):
    if not os.path.exists(path):
        raise Skip(f"{path} is missing: apt-get install {package}")
    return path


def vmm(engine, *arguments):
    return Guest([program("berth-vmm"), "-accel", engine, "-smp", CPUS, "-nographic", "-no-reboot",
                  *arguments])


def finish(guest, timeout=30):
    status = guest.wait(timeout)
    if status:
        raise Failed(f"the VMM ended with status {status}; last lines:\n" + guest.tail())


def type_slowly(guest, text):
    """A BIOS keeps 15 keys and loses the others."""
    for key in text:
        guest.send(key)
        time.sleep(0.1)


def linux_from_grub(guest, platform, slow):
    guest.expect(f"berth-grub: started by {platform}", 60 * slow)
    guest.expect(r"Linux version \d", 90 * slow)
    guest.expect("woken up", 120 * slow)
    guest.expect(r"machine Standard PC", 30 * slow)
    guest.expect("berth-guest: exit 0", 30)
    finish(guest)


def seabios_disk(engine, slow):
    """SeaBIOS, GRUB from the MBR of a SATA disk, Linux by its 16- and 32-bit entry."""
    need("/usr/share/seabios/bios-256k.bin", "seabios")
    with vmm(engine, "-m", "512", "-net", "none", "-snapshot", "-hda", grub_disk()) as guest:
        guest.expect("SeaBIOS", 30 * slow)
        linux_from_grub(guest, "pc", slow)


def seabios_virtio(engine, slow):
    """The same from a virtio disk."""
    with vmm(engine, "-m", "512", "-net", "none", "-snapshot", "-drive",
             f"file={grub_disk()},if=virtio,format=raw") as guest:
        linux_from_grub(guest, "pc", slow)


def seabios_cd(engine, slow):
    """SeaBIOS boots Debian's GRUB rescue CD by El Torito, and GRUB's shell reads the CD."""
    cd = need(RESCUE_CD, "grub-rescue-pc")
    with vmm(engine, "-m", "256", "-net", "none", "-cdrom", cd) as guest:
        guest.expect("Booting from DVD/CD", 30 * slow)
        guest.expect("executed automatically in", 60 * slow)
        guest.send("c")
        guest.expect("grub> ", 30 * slow)
        type_slowly(guest, "ls /boot/grub/\r")
        guest.expect("i386-pc", 30 * slow)
        type_slowly(guest, "halt\r")
        finish(guest, 30 * slow)


def ovmf_disk(engine, slow):
    """OVMF in one file, GRUB from the EFI system partition of a SATA disk, Linux by its EFI stub."""
    with vmm(engine, "-m", "512", "-net", "none", "-snapshot", "-bios", need(OVMF, "ovmf"),
             "-hda", grub_disk()) as guest:
        linux_from_grub(guest, "efi", slow)


def ovmf_flash(engine, slow):
    """OVMF in flash with a variable store, from a virtio disk."""
    code = need(OVMF_CODE, "ovmf")
    with tempfile.TemporaryDirectory() as folder:
        variables = shutil.copy(OVMF_VARS, os.path.join(folder, "vars.fd"))
        with vmm(engine, "-m", "512", "-net", "none",
                 "-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={code}",
                 "-drive", f"if=pflash,format=raw,unit=1,file={variables}",
                 "-drive", f"file={grub_disk()},if=virtio,format=raw,snapshot=on") as guest:
            linux_from_grub(guest, "efi", slow)


def ovmf_kernel(engine, slow):
    """OVMF loads -kernel and -initrd itself, from fw_cfg."""
    vmlinuz, initramfs = kernel("cloud")
    with vmm(engine, "-m", "512", "-net", "none", "-bios", need(OVMF, "ovmf"), "-kernel", vmlinuz,
             "-initrd", initramfs, "-append", "console=ttyS0 panic=-1 berth.run=true") as guest:
        guest.expect(r"Linux version \d", 120 * slow)
        guest.expect("berth-guest: exit 0", 120 * slow)
        finish(guest)


def tftp_folder(folder):
    """What a network boots: an iPXE script that loads Linux."""
    vmlinuz, initramfs = kernel("cloud")
    os.symlink(vmlinuz, os.path.join(folder, "vmlinuz"))
    os.symlink(initramfs, os.path.join(folder, "initramfs"))
    with open(os.path.join(folder, "boot.ipxe"), "w") as script:
        script.write("#!ipxe\necho berth-pxe: ${net0/mac} from ${next-server}\n"
                     "kernel vmlinuz initrd=initramfs console=ttyS0 panic=-1 berth.run=true\n"
                     "initrd initramfs\nboot\n")


def pxe(engine, slow, *arguments):
    """Debian's iPXE, out of a card's expansion ROM, has DHCP and TFTP and starts Linux."""
    need("/usr/lib/ipxe/qemu/efi-virtio.rom", "ipxe-qemu")
    with tempfile.TemporaryDirectory() as folder:
        tftp_folder(folder)
        with vmm(engine, "-m", "512", "-netdev", f"user,id=n,tftp={folder},bootfile=boot.ipxe",
                 *arguments) as guest:
            guest.expect("berth-pxe: 52:54:00:12:34:56 from 10.0.2.2", 120 * slow)
            guest.expect(r"Linux version \d", 120 * slow)
            guest.expect("berth-guest: exit 0", 120 * slow)
            finish(guest)


def seabios_pxe(engine, slow):
    """SeaBIOS boots from the network because -boot says so."""
    pxe(engine, slow, "-boot", "n", "-device", "virtio-net-pci,netdev=n")


def seabios_pxe_cards(engine, slow):
    """iPXE's own drivers with the emulated cards."""
    for card in ("e1000", "e1000e", "rtl8139"):
        pxe(engine, slow, "-device", f"{card},netdev=n,bootindex=1")


def ovmf_pxe(engine, slow):
    """OVMF boots from the network because a card behind a PCIe port comes first."""
    pxe(engine, slow, "-bios", need(OVMF, "ovmf"), "-device", "pcie-root-port,id=port,addr=3",
        "-device", "virtio-net-pci,netdev=n,bootindex=1,bus=port")


def memtest(engine, slow):
    """memtest86+ runs its tests without an error: all up to the last, which only waits for bits to fade."""
    with vmm(engine, "-m", "16", "-net", "none", "-kernel", need(MEMTEST, "memtest86+"),
             "-append", "console=ttyS0,115200") as guest:
        guest.expect(r"Memtest86\+ v", 30 * slow)
        # A test that is over before memtest86+ looks at its screen again is not shown.
        guest.expect(r"#10 .*fade[\s\S]*?Errors: *\d+ ", 210 * slow)
        errors = [line for line in guest.output.split("Errors:")[1:]]
        if any(part.split()[0] != "0" for part in errors if part.split()):
            raise Failed("memtest86+ found errors:\n" + guest.tail())


CASES = {case.__name__: case for case in (seabios_disk, seabios_virtio, seabios_cd, ovmf_disk,
                                          ovmf_flash, ovmf_kernel, seabios_pxe,
                                          seabios_pxe_cards, ovmf_pxe, memtest)}


def main():
    if len(sys.argv) < 2 or sys.argv[1] not in CASES:
        sys.exit(f"{__doc__}\nCases: {' '.join(CASES)}")
    engine = sys.argv[3] if len(sys.argv) > 3 else "soft"
    slow = int(os.environ.get("BERTH_TEST_SLOW", "1"))
    try:
        CASES[sys.argv[1]](engine, slow)
    except Skip as reason:
        print(reason)
        sys.exit(SKIPPED)
    except Failed as failure:
        sys.exit(str(failure))


main()
