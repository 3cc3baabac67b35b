# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's libvirtd, private to a test, with nothing but libvirt's test driver in it."""
import os
import signal
import subprocess
import tempfile
import time

LIMIT = 60  # seconds for one command


class Libvirtd:
    """test:///default forgets everything when its last connection closes: the tests keep none."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="libvirtd-")
        self.top = self.folder.name

    def __enter__(self):
        for name in ("s", "none", "run", "home"):
            os.mkdir(os.path.join(self.top, name))
        with open(os.path.join(self.top, "conf"), "w") as file:
            file.write(f'unix_sock_dir = "{self.top}/s"\nauth_unix_rw = "none"\nauth_unix_ro = "none"\n'
                       f'log_outputs = "1:file:{self.top}/log"\nlog_filters = "3:*"\n')
        # Without a folder of drivers it serves those that are part of the library: the test driver.
        environment = dict(os.environ, LIBVIRT_DRIVER_DIR=f"{self.top}/none", LC_ALL="C",
                           XDG_RUNTIME_DIR=f"{self.top}/run", HOME=f"{self.top}/home")
        with open(f"{self.top}/output", "w") as output:
            self.process = subprocess.Popen(
                ["/usr/sbin/libvirtd", "-f", f"{self.top}/conf", "-p", f"{self.top}/pid"],
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
