#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Kerberos: Debian's virsh with a ticket over TCP, sealed by GSSAPI, against a KDC of our own."""
import os
import subprocess
import time

from access import free_port, write
from private import Daemon

COVERS = "AUTH_LIST AUTH_SASL_INIT AUTH_SASL_START AUTH_SASL_STEP"
REALM = "BERTH.TEST"


class Kdc:
    """The users fred and bob, and the service libvirt on localhost."""

    def __init__(self, folder):
        os.mkdir(folder)
        self.folder, self.port = folder, free_port()
        self.environment = {"KRB5_CONFIG": f"{folder}/krb5.conf", "KRB5_KDC_PROFILE": f"{folder}/kdc.conf",
                            "KRB5_KTNAME": f"{folder}/keytab"}
        write(f"{folder}/krb5.conf", f"""[libdefaults]
default_realm = {REALM}
dns_lookup_kdc = false
dns_canonicalize_hostname = false
rdns = false
ignore_acceptor_hostname = true
udp_preference_limit = 1
[realms]
{REALM} = {{
 kdc = 127.0.0.1:{self.port}
}}
[domain_realm]
localhost = {REALM}
""")
        write(f"{folder}/kdc.conf", f"""[realms]
{REALM} = {{
 database_name = {folder}/principal
 key_stash_file = {folder}/stash
 kdc_listen = 127.0.0.1:{self.port}
 kdc_tcp_listen = 127.0.0.1:{self.port}
}}
""")
        self.run("kdb5_util", "create", "-s", "-P", "master", "-r", REALM)
        for line in ("addprinc -pw secret fred", "addprinc -pw other bob",
                     "addprinc -randkey libvirt/localhost", f"ktadd -k {folder}/keytab libvirt/localhost"):
            self.run("kadmin.local", "-r", REALM, "-q", line)
        self.process = subprocess.Popen(["krb5kdc", "-n", "-r", REALM], stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, env={**os.environ, **self.environment})

    def run(self, *command, **options):
        subprocess.run(command, check=True, capture_output=True, text=True,
                       env={**os.environ, **self.environment}, **options)

    def ticket(self, user, word):
        """The KDC listens when it gives one."""
        for last in (False,) * 100 + (True,):
            try:
                return self.run("kinit", "-c", f"{self.folder}/{user}", user, input=word + "\n")
            except subprocess.CalledProcessError:
                if last:
                    raise
                time.sleep(0.1)

    def end(self):
        self.process.kill()
        self.process.wait()


def main():
    tcp = free_port()
    kdcs = []

    def prepare(daemon):
        os.mkdir(f"{daemon.top}/sasl")
        write(f"{daemon.top}/sasl/libvirt.conf", f"mech_list: gssapi\nkeytab: {daemon.top}/kdc/keytab\n")
        kdcs.append(Kdc(f"{daemon.top}/kdc"))
        daemon.environment.update(kdcs[0].environment, SASL_CONF_PATH=f"{daemon.top}/sasl")
        write(f"{daemon.top}/conf", f"""listen_tcp = 1
listen_addr = "127.0.0.1"
tcp_port = "{tcp}"
sasl_allowed_username_list = ["fred"]
""")
        daemon.arguments = ("--config", f"{daemon.top}/conf")

    try:
        with Daemon(prepare=prepare) as daemon:
            def ask(user):
                daemon.environment["KRB5CCNAME"] = f"{daemon.top}/kdc/{user}"
                return daemon.virsh("capabilities", uri=f"qemu+tcp://localhost:{tcp}/system", check=False)
            refused = ask("fred")
            assert refused.returncode == 1, "without a ticket"
            kdcs[0].ticket("fred", "secret")
            kdcs[0].ticket("bob", "other")
            good = ask("fred")
            assert good.returncode == 0 and good.stdout.strip() == daemon.said("capabilities"), good.stdout
            daemon.wait_log("is fred")
            refused = ask("bob")
            assert refused.returncode == 1 and "authentication failed" in refused.stdout, refused.stdout
            daemon.wait_log("sasl_allowed_username_list has not 'bob'")
    finally:
        for kdc in kdcs:
            kdc.end()


if __name__ == "__main__":
    main()
