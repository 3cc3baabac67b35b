#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine's life seen from outside: start, pause, monitors, signals, background, exit status."""
import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import tinybios  # noqa: E402
from guest import Failed, Guest, Qmp, check, main, program, temporary_folder  # noqa: E402


def vmm(bios, *args):
    return [program("berth-vmm"), "-nodefaults", "-display", "none", "-accel", "soft", "-m", "16",
            "-bios", bios, *args]


def test_exit_status():
    with temporary_folder() as folder:
        bios = tinybios.write(os.path.join(folder, "bios"),
                              tinybios.out(tinybios.DEBUG_EXIT, 5) + tinybios.HALT)
        status = subprocess.run(vmm(bios, "-device", "isa-debug-exit,iobase=0x501"),
                                timeout=20).returncode
        check(status == 11, f"isa-debug-exit of 5 gave status {status}, not 11")
        bios = tinybios.write(bios, tinybios.out(tinybios.RESET, 6) + tinybios.HALT)
        status = subprocess.run(vmm(bios, "-no-reboot"), timeout=20).returncode
        check(status == 0, f"a reset with -no-reboot gave status {status}")


def test_paused_start():
    with temporary_folder() as folder:
        bios = tinybios.write(os.path.join(folder, "bios"), tinybios.text("alive") + tinybios.HALT)
        qmp_path, serial = os.path.join(folder, "qmp"), os.path.join(folder, "serial")
        with Guest(vmm(bios, "-S", "-qmp", f"unix:{qmp_path},server=on,wait=off", "-serial",
                       f"file:{serial}")) as guest:
            qmp = Qmp(qmp_path)
            check(qmp.call("query-status")["status"] == "prelaunch", "it did not start paused")
            time.sleep(0.2)
            check(os.path.getsize(serial) == 0, "the guest ran before cont")
            qmp.call("cont")
            qmp.wait_event("RESUME")
            deadline = time.monotonic() + 10
            while open(serial).read() != "alive" and time.monotonic() < deadline:
                time.sleep(0.02)
            check(open(serial).read() == "alive", "the guest did not run after cont")
            qmp.call("stop")
            qmp.wait_event("STOP")
            check(qmp.call("query-status")["status"] == "paused", "stop did not pause")
            qmp.call("cont")
            qmp.call("system_reset")
            qmp.wait_event("RESET")
            qmp.call("quit")
            check(qmp.wait_event("SHUTDOWN")["data"]["reason"] == "host-qmp-quit", "SHUTDOWN's reason")
            check(guest.wait(10) == 0, "quit did not end with 0")


def test_bad_requests():
    """A running guest never notices them."""
    with temporary_folder() as folder:
        bios = tinybios.write(os.path.join(folder, "bios"), tinybios.SPIN)
        path = os.path.join(folder, "qmp")
        with Guest(vmm(bios, "-qmp", f"unix:{path},server=on,wait=off")) as guest:
            qmp = Qmp(path)
            qmp.out.write('{"execute": nonsense}\n{"execute":"no-such"}\n[[[[[\x00\n'
                            + "[" * 5000 + "\n" + "}" * 100 + "\n")
            qmp.out.flush()
            errors = 0
            while errors < 3:
                errors += "error" in json.loads(qmp.lines.readline())
            qmp.close()
            qmp = Qmp(path)
            for command, arguments in [("pmemsave", {"val": 1 << 62, "size": 10, "filename": "/dev/null"}),
                                       ("device_add", {"driver": "no-such"}),
                                       ("device_del", {"id": "no-such"}),
                                       ("blockdev-add", {"driver": "raw", "node_name": "x"}),
                                       ("netdev_add", {"type": "user", "id": "0"}),
                                       ("balloon", {"value": 1}),
                                       ("qom-get", {"path": "/x", "property": "y"})]:
                try:
                    qmp.call(command, **arguments)
                except Failed:
                    continue
                raise Failed(f"{command} {arguments} was not refused")
            check(qmp.call("query-status")["status"] == "running", "the guest does not run any more")
            qmp.call("quit")
            check(guest.wait(10) == 0, "quit did not end with 0")


def test_answers_fit_schema():
    """Every query without arguments answers with what query-qmp-schema says."""
    with temporary_folder() as folder:
        bios = tinybios.write(os.path.join(folder, "bios"), tinybios.HALT)
        path = os.path.join(folder, "qmp")
        with Guest(vmm(bios, "-qmp", f"unix:{path},server=on,wait=off", "-device",
                       "virtio-balloon-pci,id=b0", "-netdev", "user,id=n0", "-device",
                       "virtio-net-pci,netdev=n0", "-drive", "if=none,id=cd,media=cdrom")):
            qmp = Qmp(path)
            schema = {entity["name"]: entity for entity in qmp.call("query-qmp-schema")}

            def fits(value, name, where):
                kind = schema[name]
                if kind["meta-type"] == "builtin":
                    expected = {"string": str, "int": int, "boolean": bool, "number": (int, float),
                                "value": object}[kind["json-type"]]
                    check(isinstance(value, expected), f"{where}: {value!r} is no {name}")
                elif kind["meta-type"] == "array":
                    for element in value:
                        fits(element, kind["element-type"], where + "[]")
                elif kind["meta-type"] == "enum":
                    check(value in kind["values"], f"{where}: {value!r} is not in {name}")
                else:
                    members = {member["name"]: member for member in kind["members"]}
                    for key, inner in value.items():
                        check(key in members, f"{where}: '{key}' is not in {name}")
                        fits(inner, members[key]["type"], f"{where}.{key}")
                    for key, member in members.items():
                        check(key in value or "default" in member, f"{where}: no '{key}'")

            commands = {entry["name"] for entry in qmp.call("query-commands")}
            check(commands == {e["name"] for e in schema.values() if e["meta-type"] == "command"},
                  "query-commands and the schema differ")
            for name in sorted(commands):
                required = [member for member in schema[schema[name]["arg-type"]]["members"]
                            if "default" not in member]
                if name.startswith("query-") and not required:
                    fits(qmp.call(name), schema[name]["ret-type"], name)
            qmp.call("set_link", name="n0", up=False)
            qmp.call("set_link", name="n0", up=True)
            qmp.call("send-key", keys=[{"type": "qcode", "data": "ctrl"}], hold_time=10)
            for line in ["info pci", "info qtree", "info mtree", "info registers -a", "info block",
                         "info network", "info chardev", "info engine", "xp /4xw 0xf0000", "help"]:
                output = qmp.call("human-monitor-command", command_line=line)
                check(output and "Error" not in output, f"{line} says: {output!r}")


def test_end_reasons():
    """SHUTDOWN says who ended the machine and how."""
    with temporary_folder() as folder:
        path = os.path.join(folder, "qmp")
        reset = tinybios.write(os.path.join(folder, "reset"),
                               tinybios.out(tinybios.RESET, 6) + tinybios.HALT)
        spin = tinybios.write(os.path.join(folder, "spin"), tinybios.SPIN)
        for bios, request, wanted in [
                (reset, lambda qmp, guest: qmp.call("cont"), ("guest-reset", True)),
                (spin, lambda qmp, guest: qmp.call("system_reset"), ("host-qmp-system-reset", False)),
                (spin, lambda qmp, guest: guest.process.terminate(), ("host-signal", False)),
                (spin, lambda qmp, guest: qmp.call("quit"), ("host-qmp-quit", False))]:
            with Guest(vmm(bios, "-S", "-no-reboot", "-qmp",
                           f"unix:{path},server=on,wait=off")) as guest:
                qmp = Qmp(path)
                request(qmp, guest)
                data = qmp.wait_event("SHUTDOWN")["data"]
                check((data["reason"], data["guest"]) == wanted, f"{wanted[0]} is told as {data}")
                check(guest.wait(10) == 0, f"{wanted[0]} did not end with 0")
                qmp.close()


def test_boot_once():
    """The firmware finds -boot once= in the CMOS, and after a reset order=."""
    with temporary_folder() as folder:
        # CMOS 3dh has the first two devices, the first in the low half; byte 40h survives a reset.
        code = tinybios.out(0x70, 0x3D) + bytes([
            0xE4, 0x71,              # in al, 71h
            0xBA, 0xF8, 0x03, 0xEE,  # to the serial port
        ]) + tinybios.out(0x70, 0x40) + bytes([
            0xE4, 0x71, 0x84, 0xC0,  # in al, 71h; test al, al
            0x75, 10,                # jnz: the second time
            0xB0, 0x01, 0xE6, 0x71,  # mov al, 1; out 71h, al
        ]) + tinybios.out(tinybios.RESET, 6) + tinybios.out(tinybios.DEBUG_EXIT, 0) + tinybios.HALT
        bios = tinybios.write(os.path.join(folder, "bios"), code)
        serial = os.path.join(folder, "serial")
        subprocess.run(vmm(bios, "-device", "isa-debug-exit,iobase=0x501", "-boot", "order=cn,once=d",
                           "-serial", f"file:{serial}"), timeout=20)
        with open(serial, "rb") as file:
            orders = file.read()
        check(orders == bytes([0x03, 0x42]), f"the boot orders were {orders.hex()}, not 0342")


def test_notices():
    """Events of devices, and memory in files."""
    with temporary_folder() as folder:
        # Set the clock's year to 99: 1900 or 2000 by the century register, in any case another time.
        code = tinybios.out(0x70, 0x09) + tinybios.out(0x71, 0x99) + tinybios.HALT
        bios = tinybios.write(os.path.join(folder, "bios"), code)
        path, dump = os.path.join(folder, "qmp"), os.path.join(folder, "dump")
        disc = os.path.join(folder, "disc.iso")
        with open(disc, "wb") as file:
            file.truncate(1 << 20)
        with Guest(vmm(bios, "-S", "-qmp", f"unix:{path},server=on,wait=off", "-drive",
                       f"if=none,id=d0,media=cdrom,format=raw,file={disc}", "-device",
                       "ide-cd,id=cd0,drive=d0")) as guest:
            qmp = Qmp(path)
            qmp.call("cont")
            offset = qmp.wait_event("RTC_CHANGE")["data"]["offset"]
            check(abs(offset) > 365 * 86400, f"the clock moved by {offset} s")
            qmp.call("eject", id="cd0")
            moves = [qmp.wait_event("DEVICE_TRAY_MOVED")["data"]["tray-open"] for _ in range(2)]
            check(moves == [True, False], f"the tray moved {moves}")
            qmp.call("stop")
            for command in ("pmemsave", "memsave"):
                qmp.call(command, val=0xF0000, size=4099, filename=dump)
                with open(bios, "rb") as expected, open(dump, "rb") as saved:
                    check(saved.read() == expected.read(4099), f"{command} wrote other bytes")
            try:
                qmp.call("memsave", val=0, size=1, filename=dump, cpu_index=7)
                raise OSError("memsave of CPU 7 was not refused")
            except Failed as refusal:
                check("cpu-index" in str(refusal), f"memsave of CPU 7: {refusal}")
            line = f"pmemsave 0xf0000 16 {dump}"
            check(not qmp.call("human-monitor-command", command_line=line), line)
            check(os.path.getsize(dump) == 16, "the human pmemsave")
            qmp.call("quit")
            check(guest.wait(10) == 0, "quit did not end with 0")


def test_interrupted_wait():
    """Ctrl-C while a socket waits for its client gives the terminal back as it was."""
    with temporary_folder() as folder:
        bios = tinybios.write(os.path.join(folder, "bios"), tinybios.SPIN)
        pidfile = os.path.join(folder, "pid")
        main_side, other_side = pty.openpty()
        before = termios.tcgetattr(other_side)
        process = subprocess.Popen(
            vmm(bios, "-serial", "mon:stdio", "-pidfile", pidfile, "-qmp",
                f"unix:{folder}/qmp,server=on"), stdin=other_side, stdout=other_side,
            stderr=subprocess.PIPE, text=True, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        try:
            line = process.stderr.readline()
            check("waiting for a connection" in line, f"it does not wait: {line}")
            check(termios.tcgetattr(other_side) != before, "the terminal is not raw")
            deadline = time.monotonic() + 20
            while process.poll() is None and time.monotonic() < deadline:
                os.write(main_side, b"\x03")
                time.sleep(0.05)
            check(process.wait(1) == 1, f"Ctrl-C ended it with {process.returncode}")
            check("interrupted" in process.stderr.read(), "it does not say why it ended")
            check(termios.tcgetattr(other_side) == before, "the terminal is left raw")
            check(not os.path.exists(pidfile), "the pid file is left behind")
        finally:
            process.kill()
            process.wait()
            process.stderr.close()
            os.close(main_side)
            os.close(other_side)


def test_signals():
    with temporary_folder() as folder:
        bios = tinybios.write(os.path.join(folder, "bios"), tinybios.text("up") + tinybios.SPIN)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            with Guest(vmm(bios, "-serial", "stdio")) as guest:
                guest.expect("up", 10)
                os.kill(guest.process.pid, number)
                check(guest.wait(10) == 0, f"signal {number} did not end it with 0")


def test_terminal():
    """The console and the monitor share standard input and output."""
    with temporary_folder() as folder:
        bios = tinybios.write(os.path.join(folder, "bios"), tinybios.text("console") + tinybios.SPIN)
        with Guest(vmm(bios, "-serial", "mon:stdio")) as guest:
            guest.expect("console", 10)
            guest.send("\x01h")
            guest.expect("Ctrl-a x", 5)
            guest.send("\x01c")
            guest.expect(r"\(qemu\) ", 5)
            guest.send("info status\n")
            guest.expect("VM status: running", 5)
            guest.send("info rgisters\n")
            guest.expect("did you mean 'info registers'", 5)
            guest.send("\x01c\x01x")
            check(guest.wait(10) == 0, "Ctrl-a x did not end it with 0")
        with Guest(vmm(bios, "-monitor", "stdio")) as guest:
            guest.expect(r"\(qemu\) ", 10)
            guest.send("quit\n")
            check(guest.wait(10) == 0, "quit did not end it with 0")


def test_background():
    with temporary_folder() as folder:
        bios = tinybios.write(os.path.join(folder, "bios"), tinybios.SPIN)
        path, pidfile = os.path.join(folder, "qmp"), os.path.join(folder, "pid")
        command = vmm(bios, "-daemonize", "-pidfile", pidfile, "-qmp",
                      f"unix:{path},server=on,wait=off")
        subprocess.run(command, check=True, timeout=20)
        pid = int(open(pidfile).read())
        try:
            second = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=20)
            check(second.returncode == 1 and pidfile in second.stderr,
                  f"a second machine took the pid file: {second.stderr}")
            qmp = Qmp(path)
            check(qmp.call("query-status")["running"], "it does not run in the background")
            filters = [line for line in open(f"/proc/{pid}/status") if line.startswith("Seccomp:")]
            check(filters[0].split()[1] == "2", "there is no system call filter")
            qmp.call("quit")
        finally:
            deadline = time.monotonic() + 10
            while os.path.exists(f"/proc/{pid}") and time.monotonic() < deadline:
                time.sleep(0.02)
            if os.path.exists(f"/proc/{pid}"):
                os.kill(pid, signal.SIGKILL)
        check(not os.path.exists(pidfile), "the pid file is left behind")
        refused = subprocess.run(command[:-2] + ["-nographic"], stderr=subprocess.PIPE, text=True,
                                 timeout=20)
        check(refused.returncode == 1 and "-daemonize" in refused.stderr, "-nographic -daemonize")


def test_start_is_fast():
    """From exec to the guest's first instructions and out again."""
    with temporary_folder() as folder:
        bios = tinybios.write(os.path.join(folder, "bios"),
                              tinybios.out(tinybios.DEBUG_EXIT, 0) + tinybios.HALT)
        best = None
        for _ in range(10):
            started = time.monotonic()
            subprocess.run(vmm(bios, "-device", "isa-debug-exit,iobase=0x501"), timeout=20)
            taken = time.monotonic() - started
            best = taken if best is None else min(best, taken)
        print(f"# {best * 1000:.1f} ms from exec to exit, the best of 10")
        check(best < 0.2, f"a start takes {best * 1000:.0f} ms")


main(test_exit_status, test_paused_start, test_bad_requests, test_answers_fit_schema,
     test_end_reasons, test_boot_once, test_notices, test_interrupted_wait, test_signals, test_terminal,
     test_background, test_start_is_fast)
