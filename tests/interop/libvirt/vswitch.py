# SPDX-License-Identifier: GPL-2.0-or-later
"""Open vSwitch for a test: its own database and daemon in the test's network namespace, with bridges
that the daemon itself forwards for (datapath type netdev): no module of the kernel is needed."""
import json
import os
import subprocess
import tempfile
import time

LIMIT = 60
SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"


class Switch:
    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="ovs-")
        self.top = self.folder.name
        self.environment = {"OVS_RUNDIR": self.top, "OVS_LOGDIR": self.top, "OVS_DBDIR": self.top}
        self.processes = []
        try:
            database = os.path.join(self.top, "conf.db")
            self.run("ovsdb-tool", "create", database, SCHEMA)
            self.start("ovsdb-server", database, f"--remote=punix:{self.socket}")
            self.wait(lambda: os.path.exists(self.socket))
            self.vsctl("--no-wait", "init")
            self.start("ovs-vswitchd", f"unix:{self.socket}", "--disable-system")
            self.vsctl("show")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.terminate()
            process.wait(timeout=LIMIT)
        self.folder.cleanup()

    @property
    def socket(self):
        return os.path.join(self.top, "db.sock")

    def start(self, program, *arguments):
        with open(os.path.join(self.top, program + ".out"), "w") as log:
            self.processes.append(subprocess.Popen(
                [program, *arguments], env=dict(os.environ, **self.environment), stdout=log, stderr=log,
                start_new_session=True))

    def wait(self, condition):
        deadline = time.monotonic() + LIMIT
        while not condition():
            assert time.monotonic() < deadline, "Open vSwitch does not start"
            time.sleep(0.05)

    def run(self, *command):
        result = subprocess.run(command, env=dict(os.environ, **self.environment), text=True, timeout=LIMIT,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert result.returncode == 0, f"{' '.join(command)}:\n{result.stdout}"
        return result.stdout

    def vsctl(self, *arguments):
        return self.run("ovs-vsctl", "--timeout=30", *arguments)

    def bridge(self, name):
        self.vsctl("add-br", name, "--", "set", "bridge", name, "datapath_type=netdev")

    def ports(self, bridge):
        return self.vsctl("list-ports", bridge).split()

    def row(self, table, name, *columns):
        """The columns of a port or an interface, in OVSDB's JSON (RFC 7047, 5.1)."""
        text = self.vsctl("--format=json", "--columns=" + ",".join(columns), "list", table, name)
        table = json.loads(text)
        return dict(zip(table["headings"], table["data"][0]))
