#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory comes and goes in a running stock guest, by QMP: modules and a virtio-mem device."""
import vmm
from vmm import Guest, Qmp, check, refused

MIB = 1 << 20
GIB = 1 << 30


def shell(guest):
    guest.expect("guest# ", 300)
    guest.send("stty -echo\n")


def wait_total(guest, low, high):
    """Wait until the guest's memory is between two figures in MiB, with all blocks in use."""
    guest.run("n=0; while :; do "
              "for f in /sys/devices/system/memory/memory*/state; do "
              "[ $(cat $f) = online ] || echo online_movable >$f; done 2>/dev/null; "
              "m=$(($(sed -n 's/MemTotal: *\\([0-9]*\\).*/\\1/p' /proc/meminfo) / 1024)); "
              "[ $m -ge %d ] && [ $m -le %d ] && break; "
              "n=$((n + 1)); [ $n = 300 ] && exit 1; usleep 100000; done" % (low, high), 180)


def add_module(qmp, name, size, **extra):
    qmp.call("object-add", **{"qom-type": "memory-backend-ram", "id": f"mem-{name}", "size": size})
    qmp.call("device_add", driver="pc-dimm", id=name, memdev=f"mem-{name}", **extra)


def devices(qmp):
    return {d["data"]["id"]: d["data"] for d in qmp.call("query-memory-devices")}


def plugged(qmp):
    return qmp.call("query-memory-size-summary")["plugged-memory"] // MIB


def modules(guest, qmp):
    add_module(qmp, "first", 256 * MIB)
    add_module(qmp, "second", 128 * MIB, slot=3, node=1)
    wait_total(guest, 720, 896)
    check(plugged(qmp) == 384, f"{plugged(qmp)} MiB are plugged in")
    found = devices(qmp)
    check(found["first"]["slot"] == 0 and found["second"]["slot"] == 3, f"the slots are {found}")
    # The guest finds the module where it is, in the node that it belongs to.
    block = found["second"]["addr"] // (128 * MIB)
    guest.run(f"[ -e /sys/devices/system/node/node1/memory{block} ]", 60)
    # It is memory: what is written there is read again.
    guest.run("mkdir -p /tmp/m && mount -t tmpfs -o size=300M none /tmp/m && "
              "dd if=/dev/urandom of=/tmp/m/a bs=1M count=100 2>/dev/null && "
              "cp /tmp/m/a /tmp/m/b && cmp /tmp/m/a /tmp/m/b && umount /tmp/m", 180)

    refused(qmp, "busy", "device_add", driver="pc-dimm", id="x", memdev="mem-first")
    refused(qmp, "in use", "object-del", id="mem-first")
    refused(qmp, "slot 3", "device_add", driver="pc-dimm", id="x", memdev="mem-vm", slot=3)
    refused(qmp, "node", "device_add", driver="pc-dimm", id="x", memdev="mem-vm", node=2)
    refused(qmp, "not enough space", "device_add", driver="pc-dimm", id="x", memdev="mem-large")
    refused(qmp, "already", "device_add", driver="pc-dimm", id="first", memdev="mem-vm")

    for name in ("second", "first"):
        qmp.call("device_del", id=name)
        event = qmp.wait_event("DEVICE_DELETED")["data"]
        check(event["device"] == name, f"DEVICE_DELETED was for {event}")
        qmp.call("object-del", id=f"mem-{name}")
    wait_total(guest, 350, 512)
    check(plugged(qmp) == 0 and not devices(qmp), "all modules have left")
    # And once more in the same place.
    add_module(qmp, "first", 256 * MIB)
    wait_total(guest, 600, 768)


def resize(qmp, size):
    """Ask for a size and wait until the guest has come to it."""
    qmp.call("qom-set", path="/machine/peripheral/vm", property="requested-size", value=size * MIB)
    while devices(qmp)["vm"]["size"] != size * MIB:
        event = qmp.wait_event("MEMORY_DEVICE_SIZE_CHANGE")["data"]
        check(event["id"] == "vm", f"MEMORY_DEVICE_SIZE_CHANGE was for {event}")


def virtio_mem(guest, qmp):
    qmp.call("device_add", driver="virtio-mem-pci", id="vm", bus="port", memdev="mem-vm",
             **{"requested-size": 256 * MIB, "block-size": 4 * MIB})
    guest.run("modprobe virtio_mem", 60)
    resize(qmp, 256)
    wait_total(guest, 850, 1024)
    resize(qmp, 384)
    wait_total(guest, 970, 1152)
    refused(qmp, "multiple", "qom-set", path="/machine/peripheral/vm", property="requested-size",
            value=MIB)
    refused(qmp, "multiple", "qom-set", path="/machine/peripheral/vm", property="requested-size",
            value=GIB)
    refused(qmp, "still plugged", "device_del", id="vm")
    resize(qmp, 64)
    wait_total(guest, 660, 832)


def comes_and_goes():
    with vmm.temporary_folder() as folder:
        command = vmm.direct("cloud", 2, "512,slots=4,maxmem=2G", append="quiet", extra=[
            "-numa", "node,mem=256M", "-numa", "node,mem=256M",
            "-device", "pcie-root-port,id=port",
            "-object", "memory-backend-ram,id=mem-vm,size=512M",
            "-object", "memory-backend-ram,id=mem-large,size=2G",
            "-qmp", f"unix:{folder}/qmp,server=on,wait=off"])
        with Guest([part for part in command if part != "-no-reboot"]) as guest:
            qmp = Qmp(f"{folder}/qmp", 120)
            shell(guest)
            modules(guest, qmp)
            virtio_mem(guest, qmp)
            # After a reset the module is there from the start, and of the other nothing.
            guest.send("reboot -f\n")
            guest.expect("berth-guest: up", 300)
            shell(guest)
            check(plugged(qmp) == 256, f"{plugged(qmp)} MiB are plugged in after a reset")
            wait_total(guest, 600, 768)
            guest.send("poweroff -f\n")
            check(guest.wait(60) == 0, "a guest's poweroff did not end the VMM with 0")


vmm.main(comes_and_goes)
