#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Linux's driver of the i6300ESB feeds Berth's; when it stops, what -action watchdog= says happens."""
from vmm import *

OPEN = "exec 3>/dev/watchdog0; echo one >&3; "
FEED = "for i in 1 2 3 4 5; do sleep 1; echo fed >&3; done; "


def command(folder, action):
    return direct("generic", 1, "256", append="quiet", extra=[
        "-qmp", f"unix:{folder}/qmp,server=on,wait=off", "-device", "i6300esb,id=dog",
        "-action", f"watchdog={action}"])


def is_quiet(qmp, otherwise):
    # An answer comes after the events before it.
    qmp.call("query-status")
    check(not [e for e in qmp.events if e["event"] == "WATCHDOG"], otherwise)


def hangs(folder, guest, action):
    """The guest feeds its watchdog for a while, and then no more; returns its monitor."""
    guest.expect("guest# ", 120)
    qmp = Qmp(f"{folder}/qmp", 60)
    guest.run("modprobe i6300esb heartbeat=4", 60)
    guest.run("[ $(cat /sys/class/watchdog/watchdog0/identity | tr -d ' ') = i6300ESBtimer ]", 60)
    guest.run(OPEN + FEED + "true", 60)
    is_quiet(qmp, "it fired though it was fed")
    event = qmp.wait_event("WATCHDOG")
    check(event["data"] == {"action": action}, f"the event says {event}")
    return qmp


def pause():
    """The guest stands still, and goes on when it is let."""
    with temporary_folder() as folder, Guest(command(folder, "pause")) as guest:
        qmp = hangs(folder, guest, "pause")
        qmp.wait_event("STOP")
        check(qmp.call("query-status")["status"] == "watchdog", "it does not say why it stands")
        qmp.call("cont")
        guest.run("true", 60)


def reset():
    """With -no-reboot that is the end."""
    with temporary_folder() as folder, Guest(command(folder, "reset")) as guest:
        qmp = hangs(folder, guest, "reset")
        check(qmp.wait_event("SHUTDOWN")["data"]["reason"] == "guest-reset", "another end")
        check(guest.wait(60) == 0, "the VMM failed")


def nothing():
    """The guest goes on; a new set-action counts for the next time, and a stopped watchdog never fires."""
    with temporary_folder() as folder, Guest(command(folder, "none")) as guest:
        qmp = hangs(folder, guest, "none")
        guest.run("true", 60)
        qmp.call("set-action", watchdog="poweroff")
        guest.run("printf V >&3; exec 3>&-; sleep 6", 60)
        is_quiet(qmp, "it fired though it was stopped")
        guest.send(OPEN + "\n")
        check(qmp.wait_event("WATCHDOG")["data"] == {"action": "poweroff"}, "the old action")
        check(guest.wait(60) == 0, "the VMM failed")


main(pause, reset, nothing)
