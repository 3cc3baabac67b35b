# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's libvirtd, private to a test: with libvirt's test driver, and others that are asked for."""
import os
import signal
import subprocess
import tempfile
import time

LIMIT = 60  # seconds for one command
DRIVERS = "/usr/lib/x86_64-linux-gnu/libvirt/connection-driver"
# What the drivers write of the machine is seen by this libvirtd alone.
HIDE = 'mkdir -p /run/libvirt && for d in /run/libvirt /etc/libvirt; do ' \
       'mount -t tmpfs none "$d" || exit 1; done; exec "$0" "$@"'


class Libvirtd:
    """test:///default forgets everything when its last connection closes: the tests keep none."""

    def __init__(self, *drivers):
        self.drivers = drivers
        self.folder = tempfile.TemporaryDirectory(prefix="libvirtd-")
        self.top = self.folder.name

    def __enter__(self):
        for name in ("s", "none", "run", "home"):
            os.mkdir(os.path.join(self.top, name))
        with open(os.path.join(self.top, "conf"), "w") as file:
            file.write(f'unix_sock_dir = "{self.top}/s"\nauth_unix_rw = "none"\nauth_unix_ro = "none"\n'
                       f'log_outputs = "1:file:{self.top}/log"\nlog_filters = "3:*"\n')
        for name in self.drivers:
            library = f"libvirt_driver_{name}.so"
            os.symlink(os.path.join(DRIVERS, library), os.path.join(self.top, "none", library))
        # Without drivers in the folder it serves those that are part of the library: the test driver.
        environment = dict(os.environ, LIBVIRT_DRIVER_DIR=f"{self.top}/none", LC_ALL="C",
                           XDG_RUNTIME_DIR=f"{self.top}/run", HOME=f"{self.top}/home")
        with open(f"{self.top}/output", "w") as output:
            self.process = subprocess.Popen(
                [*(["unshare", "-m", "sh", "-c", HIDE] if self.drivers else []), "/usr/sbin/libvirtd", "-f", f"{self.top}/conf", "-p", f"{self.top}/pid"],
                env=environment, stdout=output, stderr=output, start_new_session=True)
        deadline = time.monotonic() + LIMIT
        while subprocess.run(["virsh", "-c", self.uri, "hostname"], capture_output=True).returncode:
            assert time.monotonic() < deadline, "libvirtd does not answer"
            time.sleep(0.1)
        return self

    def __exit__(self, *reason):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=LIMIT)
        self.folder.cleanup()

    @property
    def uri(self):
        return f"test+unix:///default?socket={self.top}/s/libvirt-sock"

    def driver_uri(self, driver):
        return f"{driver}+unix:///system?socket={self.top}/s/libvirt-sock"
