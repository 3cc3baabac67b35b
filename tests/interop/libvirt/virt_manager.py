#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's virt-manager, on a screen in memory, shows a private berthd's machine and makes another.

The test runs itself inside Xvfb and a D-Bus session; there it is virt-manager, with steps that click
through its windows as a person would. The last pictures are in the build's folder `artefacts`.
"""
import glob
import os
import subprocess
import sys
import time
import traceback

BUILD = os.environ["BERTH_BUILD"]
LIMIT = 120  # seconds for all of it
PICTURES = os.path.join(BUILD, "artefacts")

XML = """<domain type='qemu'>
  <name>shown</name><memory unit='MiB'>64</memory>
  <os><type machine='q35'>hvm</type></os><features><acpi/></features>
  <devices><disk type='file' device='cdrom'><target dev='sda' bus='sata'/></disk></devices>
</domain>"""


# --- Inside: virt-manager and a person's hand ------------------------------------------------------

class Hand:
    """Runs a generator in GTK's main loop: whenever it yields a condition, it waits for that."""

    def __init__(self, steps):
        from gi.repository import GLib
        self.steps, self.condition, self.error = steps, None, None
        self.deadline = time.monotonic() + LIMIT
        GLib.timeout_add(30, self.turn)

    def turn(self):
        try:
            if time.monotonic() > self.deadline:
                raise AssertionError("a window or a button has not come")
            if self.condition is None or self.condition():
                self.condition = next(self.steps)
            return True
        except StopIteration:
            self.end(0)
        except Exception:
            traceback.print_exc()
            picture("failure")
            self.end(1)
        return False

    @staticmethod
    def end(status):
        sys.stdout.flush()
        sys.stderr.flush()
        # virt-manager has threads that wait for ever.
        os._exit(status)


def picture(name):
    """Of the whole screen."""
    from gi.repository import Gdk
    root = Gdk.get_default_root_window()
    image = Gdk.pixbuf_get_from_window(root, 0, 0, root.get_width(), root.get_height())
    image.savev(os.path.join(PICTURES, f"virt-manager-{name}.png"), "png", [], [])


def settle(seconds=0.3):
    """Let what was drawn reach the screen."""
    until = time.monotonic() + seconds
    return lambda: time.monotonic() > until


def drop_what_berth_lacks(guest):
    """As a person does in the window before the installation: screen, sound and USB go, and the
    network is the user's own, as the test's daemon leaves the host's bridges alone."""
    devices = guest.devices
    for kind in ("graphics", "video", "sound", "redirdev"):
        for device in list(getattr(devices, kind)):
            guest.remove_device(device)
    for device in list(devices.input):
        if device.bus == "usb":
            guest.remove_device(device)
    devices.interface[0].type, devices.interface[0].source = "user", None
    for device in list(devices.channel):
        if device.type == "spicevmc":
            guest.remove_device(device)


def make_machine(conn, disk):
    """The wizard: import an image, choose the memory, customize, begin."""
    from virtManager.createvm import vmmCreateVM
    from virtManager.manager import vmmManager
    from virtinst import OSDB
    vmmCreateVM.show_instance(vmmManager.get_instance(None), conn.get_uri())
    wizard = vmmCreateVM._instance
    yield lambda: wizard.is_visible() and wizard.widget("create-forward").get_sensitive()
    wizard.widget("method-import").set_active(True)
    forward = wizard.widget("create-forward")
    forward.clicked()
    yield settle()
    wizard.widget("install-import-entry").set_text(disk)
    wizard._os_list.select_os(OSDB.lookup_os("debian11"))
    picture("wizard")
    forward.clicked()
    yield settle()
    wizard.widget("mem").set_value(64)
    wizard.widget("cpus").set_value(1)
    forward.clicked()
    yield lambda: wizard.widget("create-finish").get_visible()
    wizard.widget("create-vm-name").set_text("made")
    wizard.widget("summary-customize").set_active(True)
    yield settle()
    picture("wizard-end")
    wizard.widget("create-finish").clicked()
    yield lambda: wizard._customize_window and wizard._customize_window.is_visible()
    window = wizard._customize_window
    drop_what_berth_lacks(window.vm.get_backend())
    yield settle()
    picture("customize")
    window.customize_finish(None)
    yield lambda: not wizard.is_visible()


def steps(uri, disk):
    from virtManager.connmanager import vmmConnectionManager
    from virtManager.vmwindow import vmmVMWindow
    from virtManager.manager import vmmManager
    from virtManager.host import vmmHost
    yield lambda: uri in vmmConnectionManager.get_instance().conns
    conn = vmmConnectionManager.get_instance().conns[uri]
    yield lambda: conn.is_active() and [vm.get_name() for vm in conn.list_vms()] == ["shown"]
    manager = vmmManager.get_instance(None)
    yield manager.is_visible
    # Host details: overview, networks, storage.
    vmmHost.show_instance(manager, conn)
    yield settle(1)
    picture("host")
    shown = conn.list_vms()[0]
    window = vmmVMWindow.get_instance(manager, shown)
    window.show()
    yield window.is_visible
    window.activate_config_page()
    yield settle()
    picture("overview")
    window.close()
    yield from make_machine(conn, disk)
    yield settle(1)
    picture("made")
    made = [vm for vm in conn.list_vms() if vm.get_name() == "made"][0]
    assert made.is_active()
    made.destroy()
    yield lambda: not made.is_active()


def inside(uri, disk):
    sys.path.insert(0, "/usr/share/virt-manager")
    sys.argv = ["virt-manager", "--no-fork", "--connect", uri]
    from virtManager import virtmanager
    import gi
    gi.require_version("Gtk", "3.0")
    hand = Hand(steps(uri, disk))
    virtmanager.main()
    raise AssertionError(f"virt-manager ended by itself: {hand.error}")


# --- Outside --------------------------------------------------------------------------------------

def main():
    from private import Daemon
    os.makedirs(PICTURES, exist_ok=True)
    for old in glob.glob(os.path.join(PICTURES, "virt-manager-*.png")):
        os.unlink(old)
    with Daemon() as daemon:
        path, disk = os.path.join(daemon.top, "shown.xml"), os.path.join(daemon.top, "disk.raw")
        with open(path, "w") as file:
            file.write(XML)
        daemon.virsh("define", path)
        daemon.run("truncate", "-s", "16M", disk)
        environment = dict(os.environ, LC_ALL="C.UTF-8", HOME=daemon.top, XDG_CACHE_HOME=daemon.top,
                           XDG_CONFIG_HOME=daemon.top, XDG_RUNTIME_DIR=daemon.top, NO_AT_BRIDGE="1",
                           GSETTINGS_BACKEND="memory", GDK_BACKEND="x11")
        result = subprocess.run(
            ["xvfb-run", "-a", "-s", "-screen 0 1280x1024x24", "dbus-run-session", "--",
             "/usr/bin/python3", os.path.abspath(__file__), daemon.uri(), disk],
            env=environment, timeout=LIMIT + 30, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT)
        assert result.returncode == 0, result.stdout
        assert "made" in daemon.said("list", "--all", "--name").split()
        assert f"<source file='{disk}'/>" in daemon.said("dumpxml", "made")
        for name in ("host", "overview", "wizard", "customize", "made"):
            picture_path = os.path.join(PICTURES, f"virt-manager-{name}.png")
            # An empty screen is smaller.
            assert os.path.getsize(picture_path) > 2000, picture_path


if len(sys.argv) > 2:
    inside(*sys.argv[1:])
else:
    main()
