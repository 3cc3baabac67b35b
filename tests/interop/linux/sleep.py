#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""ACPI sleep of a Linux guest without firmware: S3 and what wakes it, and S4."""
import os
import time

from vmm import *


def command(folder, *more):
    disk = os.path.join(folder, "disk")
    with open(disk, "wb") as file:
        file.truncate(1 << 20)
    return direct("generic", 2, "256", append="quiet no_console_suspend", extra=[
        "-qmp", f"unix:{folder}/qmp,server=on,wait=off", "-drive", f"if=none,id=d,format=raw,file={disk}",
        "-device", "virtio-blk-pci,drive=d", *more])


def sleep(guest, qmp, before=""):
    guest.send(f"{before}echo mem >/sys/power/state; echo back''again\n")
    qmp.wait_event("SUSPEND")
    check(qmp.call("query-status")["status"] == "suspended", "it does not say that it sleeps")


def woken(guest, qmp):
    qmp.wait_event("WAKEUP")
    guest.expect("backagain", 60)
    check(qmp.call("query-status")["status"] == "running", "it does not say that it runs")


def s3():
    """Memory, disk and CPUs are there again, whatever has woken the guest."""
    with temporary_folder() as folder, Guest(command(folder)) as guest:
        guest.expect("guest# ", 120)
        qmp = Qmp(f"{folder}/qmp", 60)
        check(qmp.call("query-current-machine")["wakeup-suspend-support"], "S3 is not offered")
        guest.run("echo kept >/tmp/file; echo kept | dd of=/dev/vda conv=fsync 2>/dev/null", 60)
        refused(qmp, "guest is not in suspended state", "system_wakeup")
        sleep(guest, qmp)
        refused(qmp, "the guest sleeps: wake it with system_wakeup", "cont")
        qmp.call("stop")
        check(qmp.call("query-status")["status"] == "suspended", "a pause has woken it, or what it was")
        qmp.call("system_wakeup")
        woken(guest, qmp)
        guest.run("echo 3 >/proc/sys/vm/drop_caches; grep -q kept /tmp/file && grep -q kept /dev/vda && "
                  "[ $(nproc) = 2 ]", 60)
        sleep(guest, qmp, "echo +2 >/sys/class/rtc/rtc0/wakealarm; ")
        woken(guest, qmp)
        sleep(guest, qmp)
        qmp.call("system_powerdown")
        woken(guest, qmp)
        sleep(guest, qmp)
        qmp.call("send-key", keys=[{"type": "qcode", "data": "a"}])
        woken(guest, qmp)
        names = [event["event"] for event in qmp.events]
        check(not {"STOP", "RESUME", "RESET", "SHUTDOWN"} & set(names), f"other events: {names}")
        sleep(guest, qmp)
        # With -no-reboot this is the end, also of one that sleeps.
        qmp.call("system_reset")
        check(guest.wait(60) == 0, "the VMM failed")


def s4():
    """What Linux wakes up from is on its swap; the VMM only sees it go."""
    with temporary_folder() as folder, Guest(command(folder, "-no-shutdown")) as guest:
        guest.expect("guest# ", 120)
        qmp = Qmp(f"{folder}/qmp", 60)
        # SLP_TYP 2 and SLP_EN, the second byte of PM1_CNT.
        guest.send("printf '\\050' | dd of=/dev/port bs=1 seek=$((0x605)) conv=notrunc\n")
        qmp.wait_event("SUSPEND_DISK")
        check(qmp.wait_event("SHUTDOWN")["data"]["guest"], "it was not the guest that ended it")


def not_offered():
    options = ["-global", "ICH9-LPC.disable_s3=1", "-global", "ICH9-LPC.disable_s4=on"]
    with temporary_folder() as folder, Guest(command(folder, *options)) as guest:
        guest.expect("guest# ", 120)
        qmp = Qmp(f"{folder}/qmp", 60)
        check(not qmp.call("query-current-machine")["wakeup-suspend-support"], "S3 is offered")
        check("[deep]" not in guest.run("cat /sys/power/mem_sleep /sys/power/disk", 60), "Linux finds S3")
        refused(qmp, "not supported by this guest", "system_wakeup")


main(s3, s4, not_offered)
