#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Processors come and go in a running stock guest, by QMP; a reboot keeps them."""
import os
import sys

import vmm
from vmm import Guest, Qmp, check, refused

sys.path.append(os.path.join(vmm.testlib.TOP, "tests/interop/firmware"))
import images  # noqa: E402

TYPE = "max-x86_64-cpu"


def present(qmp):
    """The indexes of the vCPUs that query-cpus-fast lists, and of the places with one."""
    cpus = {cpu["cpu-index"] for cpu in qmp.call("query-cpus-fast")}
    places = {slot["props"]["socket-id"] for slot in qmp.call("query-hotpluggable-cpus")
              if "qom-path" in slot}
    check(cpus == places, f"{cpus} run and {places} have a CPU")
    return cpus


def plug(guest, qmp, socket, name):
    qmp.call("device_add", **{"driver": TYPE, "id": name, "socket-id": socket, "core-id": 0,
                              "thread-id": 0})


def online(guest, count):
    """Wait for that many CPUs, of which all are told to run."""
    guest.run("n=0; until [ $(ls -d /sys/devices/system/cpu/cpu[0-9]* | wc -l) = %d ] || "
              "[ $n = 300 ]; do n=$((n + 1)); usleep 100000; done; "
              "for f in /sys/devices/system/cpu/cpu[1-9]/online; do "
              "[ $(cat $f) = 1 ] || echo 1 >$f; done; [ $(nproc) = %d ]" % (count, count), 120)


def shell(guest):
    guest.expect("guest# ", 300)
    guest.send("stty -echo\n")


def unplug(qmp, name):
    qmp.call("device_del", id=name)
    event = qmp.wait_event("DEVICE_DELETED")["data"]
    check(event == {"device": name, "path": f"/machine/peripheral/{name}"},
          f"DEVICE_DELETED was for {event}")


def comes_and_goes():
    with vmm.temporary_folder() as folder:
        command = vmm.direct("cloud", "1,maxcpus=4,sockets=4", append="quiet", extra=[
            "-device", f"{TYPE},id=second,socket-id=1,core-id=0,thread-id=0",
            "-qmp", f"unix:{folder}/qmp,server=on,wait=off"])
        with Guest(command) as guest:
            qmp = Qmp(f"{folder}/qmp", 60)
            shell(guest)
            guest.run("[ $(nproc) = 2 ]", 60)
            check(present(qmp) == {0, 1}, "two vCPUs run")
            plug(guest, qmp, 3, "fourth")
            online(guest, 3)
            # It computes, and takes interrupts of its own.
            guest.run("taskset 4 sh -c 'i=0; while [ $i -lt 20000 ]; do i=$((i + 1)); done'", 120)
            guest.run("grep -q '^processor.*: 2' /proc/cpuinfo", 60)
            refused(qmp, "exists already", "device_add", driver=TYPE, **{
                "socket-id": 3, "core-id": 0, "thread-id": 0})
            refused(qmp, "Duplicate", "device_add", driver=TYPE, id="fourth", **{
                "socket-id": 2, "core-id": 0, "thread-id": 0})
            refused(qmp, "Duplicate", "device_add", driver="virtio-rng-pci", id="fourth")
            refused(qmp, "socket-id", "device_add", driver=TYPE, **{
                "socket-id": 4, "core-id": 0, "thread-id": 0})
            refused(qmp, "not set", "device_add", driver=TYPE, id="x")
            refused(qmp, "expected cpu type", "device_add", driver="qemu64-x86_64-cpu", id="x")
            for _ in range(2):
                unplug(qmp, "fourth")
                online(guest, 2)
                check(present(qmp) == {0, 1}, "the fourth has left")
                plug(guest, qmp, 3, "fourth")
                online(guest, 3)
            unplug(qmp, "second")
            online(guest, 2)
            check(present(qmp) == {0, 3}, "the first and the fourth are there")
            guest.send("poweroff -f\n")
            check(guest.wait(60) == 0, "a guest's poweroff did not end the VMM with 0")


def reboots():
    """After a reset the tables tell of what is plugged in then."""
    with vmm.temporary_folder() as folder:
        command = [part for part in vmm.direct("cloud", "1,maxcpus=3,sockets=3", append="quiet")
                   if part != "-no-reboot"] + [
                       "-qmp", f"unix:{folder}/qmp,server=on,wait=off"]
        with Guest(command) as guest:
            qmp = Qmp(f"{folder}/qmp", 60)
            shell(guest)
            plug(guest, qmp, 1, "second")
            online(guest, 2)
            guest.send("reboot -f\n")
            guest.expect("berth-guest: up .* cpus 2", 300)
            shell(guest)
            guest.run("[ $(nproc) = 2 ]", 60)
            unplug(qmp, "second")
            online(guest, 1)
            guest.send("poweroff -f\n")
            check(guest.wait(60) == 0, "a guest's poweroff did not end the VMM with 0")


def firmware():
    """SeaBIOS waits for as many processors as it is told of, whenever they came."""
    with vmm.temporary_folder() as folder:
        command = vmm.base("1,maxcpus=3,sockets=3") + [
            "-snapshot", "-hda", images.grub_disk(None), "-S",
            "-qmp", f"unix:{folder}/qmp,server=on,wait=off"]
        with Guest(command) as guest:
            qmp = Qmp(f"{folder}/qmp", 60)
            plug(guest, qmp, 2, "third")
            qmp.call("cont")
            guest.expect("berth-grub: started by", 300)
            check(guest.wait(60) == 0, "GRUB's halt did not end the VMM with 0")


vmm.main(comes_and_goes, reboots, firmware)
