#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""SeaBIOS' banner on a bochs-display: our screendump and that of QEMU are equal, pixel by pixel."""
import os
import shutil
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../lib"))
from guest import SKIPPED, Failed, Guest, Qmp, check, program, refused  # noqa: E402

QEMU = "qemu-system-x86_64"
SLOW = int(os.environ.get("BERTH_TEST_SLOW", "1"))
SIZE, WIDTH = b"P6\n1024 768\n255\n", 1024
LINE = 16 * WIDTH * 3  # bytes of a line of text


def command(path, accel, socket, more=""):
    return [path, "-M", "q35", "-accel", accel, "-nodefaults", "-display", "none", "-m", "64", "-vga", "none",
            "-device", "bochs-display,id=screen" + more, "-qmp", f"unix:{socket},server=on,wait=off"]


def dump(qmp, path, **arguments):
    """The screen's picture, or nothing if the guest has set no mode yet."""
    try:
        qmp.call("screendump", filename=path, **arguments)
    except Failed as failure:
        check("the guest has set no mode" in str(failure), f"screendump failed: {failure}")
        return b""
    # QEMU answers before it has written.
    with open(path, "rb") as file:
        return file.read()


def banner(qmp, path):
    """The pixels of the screen's first line of text, when there is text below: then the line is complete."""
    deadline = time.monotonic() + 60 * SLOW
    while time.monotonic() < deadline:
        time.sleep(0.5)
        picture = dump(qmp, path)
        pixels = picture[len(SIZE):]
        if picture.startswith(SIZE) and len(pixels) == WIDTH * 768 * 3 and any(pixels[LINE:]):
            return pixels[:LINE]
    raise Failed("SeaBIOS wrote nothing on the screen")


def of_qemu(folder):
    socket = os.path.join(folder, "qemu")
    # We have no EDID, by which SeaBIOS would choose a mode.
    with Guest(command(QEMU, "tcg", socket, ",edid=off")):
        pixels = banner(Qmp(socket), os.path.join(folder, "qemu.ppm"))
    check(len(pixels) - pixels.count(0) > 1000, "QEMU shows no text in the first line")
    return pixels


def refusals(qmp, folder):
    path = os.path.join(folder, "none.ppm")
    refused(qmp, "no display with the id 'other'", "screendump", filename=path, device="other")
    refused(qmp, "png is not supported", "screendump", filename=path, format="png")
    refused(qmp, "one head", "screendump", filename=path, device="screen", head=1)
    refused(qmp, "cannot create", "screendump", filename=os.path.join(folder, "no/folder"))
    check(not os.path.exists(path), "a refused screendump made a file")


def compare(folder):
    wanted = of_qemu(folder)
    socket = os.path.join(folder, "berth")
    with Guest(command(program("berth-vmm"), "soft", socket)):
        qmp, path = Qmp(socket), os.path.join(folder, "berth.ppm")
        check(banner(qmp, path) == wanted, "the first line of text is not the one that QEMU shows")
        check(dump(qmp, path, device="screen")[len(SIZE):][:LINE] == wanted, "the id gives another picture")
        refusals(qmp, folder)


def main():
    if not shutil.which(QEMU):
        print(f"{QEMU} is missing")
        sys.exit(SKIPPED)
    with tempfile.TemporaryDirectory() as folder:
        try:
            compare(folder)
        except Failed as failure:
            sys.exit(str(failure))


main()
