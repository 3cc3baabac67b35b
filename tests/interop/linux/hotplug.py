#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Devices come and go in a running stock guest: a disk and a network card in PCIe slots, by QMP."""
import os

import vmm
from vmm import Guest, Qmp, check, refused


def plug(guest, qmp, driver, slot, device, appears, **properties):
    qmp.call("device_add", driver=driver, id=device, bus=slot, **properties)
    guest.run(f"n=0; until [ -e {appears} ] || [ $n = 300 ]; do n=$((n + 1)); usleep 100000; done; "
              f"[ -e {appears} ]", 120)


def take_out(qmp, device):
    qmp.call("device_del", id=device)
    event = qmp.wait_event("DEVICE_DELETED")
    check(event["data"]["device"] == device, f"DEVICE_DELETED was for {event['data']}")


def unplug(guest, qmp, device, gone):
    take_out(qmp, device)
    guest.run(f"[ ! -e {gone} ]", 60)


def comes_and_goes():
    with vmm.temporary_folder() as folder:
        disk = os.path.join(folder, "disk.raw")
        data = os.urandom(1 << 20)
        with open(disk, "wb") as file:
            file.write(data)
        ports = []
        for n in (1, 2):
            ports += ["-device", f"pcie-root-port,id=slot{n},chassis={n},slot={n},addr={n + 3}"]
        command = vmm.direct("cloud", 2, "512", append="quiet", extra=[
            *ports, "-drive", f"file={disk},if=none,id=d,format=raw", "-netdev", "user,id=n",
            "-device", "virtio-rng-pci,bus=slot2,id=cold",
            "-qmp", f"unix:{folder}/qmp,server=on,wait=off"])
        with Guest(command) as guest:
            qmp = Qmp(f"{folder}/qmp", 60)
            guest.expect("guest# ", 300)
            guest.send("stty -echo\n")
            guest.run("[ -e /dev/hwrng ]", 60)  # a device behind a root port at power-on
            for _ in range(3):
                plug(guest, qmp, "virtio-blk-pci", "slot1", "hot", "/dev/vda", drive="d")
                check("1048576" in guest.run("cat /dev/vda | wc -c", 60), "the disk's size is wrong")
                guest.run("dd if=/dev/zero of=/dev/vda bs=4k count=1 seek=3 oflag=direct", 60)
                unplug(guest, qmp, "hot", "/dev/vda")
            # A card that comes back at once, while the guest is still busy with its leaving.
            for again in (False, True):
                if again:
                    take_out(qmp, "hot")
                plug(guest, qmp, "virtio-net-pci", "slot1", "hot", "/sys/class/net/eth0", netdev="n")
                guest.run("ip link set eth0 up && udhcpc -n -q -i eth0 -s /bin/true", 60)
            refused(qmp, "taken", "device_add", driver="virtio-rng-pci", bus="slot1")
            refused(qmp, "does not support hotplugging", "device_add", driver="virtio-rng-pci", id="x")
            refused(qmp, "not found", "device_del", id="y")
            unplug(guest, qmp, "hot", "/sys/class/net/eth0")
            unplug(guest, qmp, "cold", "/sys/bus/pci/drivers/virtio-pci/0000:02:00.0")
            # The guest may give something back unasked.
            plug(guest, qmp, "virtio-rng-pci", "slot2", "own", "/sys/bus/pci/slots/2/power")
            guest.run("echo 0 > /sys/bus/pci/slots/2/power", 60)
            check(qmp.wait_event("DEVICE_DELETED")["data"]["device"] == "own", "another device went")
            guest.send("poweroff -f\n")
            check(guest.wait(60) == 0, "a guest's poweroff did not end the VMM with 0")
        with open(disk, "rb") as file:
            check(file.read() == data[:12288] + bytes(4096) + data[16384:], "the disk's bytes are wrong")


vmm.main(comes_and_goes)
