# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's libvirtd with all its drivers, private to a test: what filters mean to libvirt itself.

It runs in the network namespace of its caller, and in a mount namespace of its own, so that nothing of
the machine's libvirt is touched.
"""
import os
import signal
import subprocess
import tempfile
import time

LIMIT = 60
# Guests without a log daemon, and as who runs the test.
QEMU_CONF = """stdio_handler = "file"
security_driver = "none"
user = "root"
group = "root"
cgroup_controllers = []
"""
SETUP = """
mount --make-rprivate /
for folder in /run /var/lib/libvirt /var/cache/libvirt /var/log/libvirt; do mount -t tmpfs none $folder; done
mkdir -p /run/libvirt
mount -t sysfs none /sys
mount --bind {top}/filters /etc/libvirt/nwfilter
mount -t tmpfs none /etc/libvirt/qemu
mount --bind {top}/qemu.conf /etc/libvirt/qemu.conf
exec /usr/sbin/libvirtd -f {top}/conf -p {top}/pid
"""


class Libvirtd:
    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="libvirtd-")
        self.top = self.folder.name
        os.mkdir(f"{self.top}/s")
        subprocess.run(["cp", "-r", "/usr/share/libvirt/nwfilter", f"{self.top}/filters"], check=True)
        with open(f"{self.top}/conf", "w") as file:
            file.write(f'unix_sock_dir = "{self.top}/s"\nauth_unix_rw = "none"\n')
        with open(f"{self.top}/qemu.conf", "w") as file:
            file.write(QEMU_CONF)
        with open(f"{self.top}/log", "w") as log:
            self.process = subprocess.Popen(
                ["unshare", "-m", "sh", "-ec", SETUP.format(top=self.top)], stdout=log, stderr=log,
                start_new_session=True)
        try:
            self.wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def wait(self):
        deadline = time.monotonic() + LIMIT
        while self.virsh("hostname", check=False).returncode:
            assert time.monotonic() < deadline, "libvirtd does not answer"
            time.sleep(0.1)

    def __exit__(self, *reason):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            self.folder.cleanup()

    @property
    def uri(self):
        return f"qemu+unix:///system?socket={self.top}/s/libvirt-sock"

    def virsh(self, *args, check=True):
        result = subprocess.run(["virsh", "-c", self.uri, *args], text=True, timeout=LIMIT,
                                env=dict(os.environ, LC_ALL="C"), stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT)
        assert not check or result.returncode == 0, f"virsh {' '.join(args)}:\n{result.stdout}"
        return result

    def said(self, *args, **options):
        return self.virsh(*args, **options).stdout.strip()
