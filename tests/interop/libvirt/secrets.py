#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's virsh and python3-libvirt keep secrets in a private berthd."""
import os
import stat
import subprocess
import sys

import libvirt
from private import LIMIT, Daemon

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "client"))
from oracle import Libvirtd  # noqa: E402

COVERS = """
CONNECT_NUM_OF_SECRETS CONNECT_LIST_SECRETS CONNECT_LIST_ALL_SECRETS SECRET_LOOKUP_BY_UUID
SECRET_LOOKUP_BY_USAGE SECRET_DEFINE_XML SECRET_GET_XML_DESC SECRET_SET_VALUE SECRET_GET_VALUE
SECRET_UNDEFINE CONNECT_SECRET_EVENT_REGISTER_ANY CONNECT_SECRET_EVENT_DEREGISTER_ANY
"""

UUIDS = [f"0a81f5b2-8403-7b23-c8d6-21ccc2f80d6{n}" for n in range(4)]
DISK = f"""<secret ephemeral='no' private='no'>
  <uuid>{UUIDS[0]}</uuid>
  <description>of &lt;a&gt; disk</description>
  <usage type='volume'>
    <volume>/images/a.luks</volume>
  </usage>
</secret>"""
HIDDEN = f"""<secret ephemeral='no' private='yes'>
  <uuid>{UUIDS[1]}</uuid>
  <usage type='ceph'>
    <name>client.admin secret</name>
  </usage>
</secret>"""
FLEETING = f"<secret ephemeral='yes'><uuid>{UUIDS[2]}</uuid></secret>"
VALUE = b"sesame\0open \xff"


def fails(words, call, *args):
    try:
        call(*args)
    except libvirt.libvirtError as error:
        assert words in str(error), error
        return
    raise AssertionError(f"no error: {words}")


def check_same():
    """What virsh prints with Debian's libvirtd is what it prints with ours."""
    files = {"disk": DISK, "hidden": HIDDEN, "fleeting": FLEETING, "used": DISK.replace(UUIDS[0], UUIDS[3]),
             "moved": DISK.replace("/a.luks", "/b.luks"), "shown": HIDDEN.replace("'yes'", "'no'"),
             "odd": "<secret><usage type='x'/></secret>", "bare": "<secret><usage type='tls'/></secret>",
             **{kind: f"<secret><usage type='{kind}'/></secret>" for kind in ("volume", "ceph", "iscsi")},
             "uuid": "<secret><uuid>1</uuid></secret>", "flag": "<secret private='x'/>",
             "pool": "<pool/>", "plain": "words"}
    lines = [*(f"secret-define {{dir}}/{name}" for name in list(files)[:-1]), "secret-list",
             *(f"secret-dumpxml {uuid}" for uuid in UUIDS), f"secret-get-value {UUIDS[0]}",
             *(f"secret-set-value {uuid} --plain --file {{dir}}/plain" for uuid in UUIDS),
             *(f"secret-get-value {uuid}" for uuid in UUIDS), "secret-list --private",
             "secret-list --no-ephemeral", *(f"secret-undefine {uuid}" for uuid in UUIDS), "secret-list"]
    with Libvirtd("secret") as peer, Daemon() as ours:
        for name, text in files.items():
            with open(os.path.join(ours.top, name), "w") as file:
                file.write(text)
        for line in (line.format(dir=ours.top) for line in lines):
            wanted, got = (subprocess.run(["virsh", "-c", uri, line], text=True, timeout=LIMIT,
                                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout
                           for uri in (peer.driver_uri("secret"), ours.uri()))
            assert wanted == got, f"{line}\nlibvirtd:\n{wanted}\nberthd:\n{got}"


def check_define(daemon, conn):
    for text in (DISK, HIDDEN, FLEETING):
        conn.secretDefineXML(text)
    assert daemon.said("secret-dumpxml", UUIDS[0]) == DISK
    assert daemon.said("secret-dumpxml", UUIDS[1]) == HIDDEN
    table = daemon.said("secret-list").splitlines()[2:]
    assert [line.split()[0] for line in table] == UUIDS[:3], table
    assert table[0].split()[1:] == ["volume", "/images/a.luks"]
    for option, wanted in (("--ephemeral", UUIDS[2:3]), ("--no-ephemeral", UUIDS[:2]),
                           ("--private", UUIDS[1:2]), ("--no-private", [UUIDS[0], UUIDS[2]])):
        lines = daemon.said("secret-list", option).splitlines()[2:]
        assert [line.split()[0] for line in lines] == wanted, (option, lines)
    assert conn.numOfSecrets() == 3 and conn.listSecrets() == UUIDS[:3]
    assert conn.secretLookupByUsage(1, "/images/a.luks").UUIDString() == UUIDS[0]
    fails("no secret with matching usage 'x'", conn.secretLookupByUsage, 1, "x")
    fails("no secret with matching uuid", conn.secretLookupByUUIDString, UUIDS[3])
    fails("already defined for use with /images/a.luks", conn.secretDefineXML,
          DISK.replace(UUIDS[0], UUIDS[3]))
    fails("already defined for use with /images/a.luks", conn.secretDefineXML,
          DISK.replace("/a.luks", "/b.luks"))
    fails("cannot change private flag", conn.secretDefineXML, HIDDEN.replace("'yes'", "'no'"))
    fails("Berth does not support the attribute 'colour'", conn.secretDefineXML,
          "<secret colour='red'/>")
    fails("unknown secret usage type", conn.secretDefineXML, "<secret><usage type='x'/></secret>")


def check_values(daemon, conn):
    disk, hidden, fleeting = (conn.secretLookupByUUIDString(uuid) for uuid in UUIDS[:3])
    fails("does not have a value", disk.value)
    for secret in (disk, hidden, fleeting):
        secret.setValue(VALUE)
    assert disk.value() == fleeting.value() == VALUE
    fails("secret is private", hidden.value)
    plain = os.path.join(daemon.top, "value")
    with open(plain, "w") as file:
        file.write("from a file")
    daemon.virsh("secret-set-value", UUIDS[0], "--file", plain, "--plain")
    assert daemon.said("secret-get-value", UUIDS[0], "--plain") == "from a file"
    refused = daemon.virsh("secret-get-value", UUIDS[0], readonly=True, check=False).stdout
    assert "read only access prevents" in refused or "operation forbidden" in refused, refused
    folder = os.path.join(daemon.top, "state", "secrets")
    files = sorted(os.listdir(folder))
    assert files == sorted(uuid + end for uuid in UUIDS[:2] for end in (".xml", ".base64")), files
    assert all(stat.S_IMODE(os.stat(os.path.join(folder, name)).st_mode) == 0o600 for name in files)


def check_events(daemon, conn):
    events = []
    ids = [conn.secretEventRegisterAny(None, libvirt.VIR_SECRET_EVENT_ID_LIFECYCLE,
                                       lambda c, s, event, detail, _: events.append(event), None),
           conn.secretEventRegisterAny(None, libvirt.VIR_SECRET_EVENT_ID_VALUE_CHANGED,
                                       lambda c, s, _: events.append("value"), None)]
    daemon.virsh("secret-undefine", UUIDS[2])
    conn.secretDefineXML(FLEETING).setValue(b"x")
    daemon.wait(lambda: libvirt.virEventRunDefaultImpl() is not None and len(events) == 3,
                f"events: {events}")
    assert events == [1, 0, "value"], events
    for number in ids:
        conn.secretEventDeregisterAny(number)


def check_restart(daemon):
    daemon.stop()
    daemon.start()
    conn = libvirt.open(daemon.uri())
    assert conn.listSecrets() == UUIDS[:2]
    assert conn.secretLookupByUUIDString(UUIDS[0]).value() == b"from a file"
    for uuid in UUIDS[:2]:
        daemon.virsh("secret-undefine", uuid)
    assert not os.listdir(os.path.join(daemon.top, "state", "secrets"))
    conn.close()


def main():
    check_same()
    libvirt.virEventRegisterDefaultImpl()
    libvirt.virEventAddTimeout(50, lambda *a: None, None)
    with Daemon() as daemon:
        conn = libvirt.open(daemon.uri())
        check_define(daemon, conn)
        check_values(daemon, conn)
        check_events(daemon, conn)
        conn.close()
        check_restart(daemon)
        missing = set(COVERS.split()) - daemon.called()
        assert not missing, f"not called: {missing}"


main()
