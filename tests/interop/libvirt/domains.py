#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's virsh and python3-libvirt drive domains of a private berthd from birth to death."""
import json
import os
import re
import signal
import tempfile
import threading
import time
import uuid

import event_loop
import libvirt
from private import Daemon

COVERS = """
DOMAIN_DEFINE_XML DOMAIN_DEFINE_XML_FLAGS DOMAIN_CREATE DOMAIN_CREATE_XML DOMAIN_CREATE_WITH_FLAGS
DOMAIN_DESTROY DOMAIN_UNDEFINE DOMAIN_UNDEFINE_FLAGS DOMAIN_SUSPEND DOMAIN_RESUME DOMAIN_RESET
DOMAIN_SHUTDOWN DOMAIN_INJECT_NMI DOMAIN_SET_AUTOSTART DOMAIN_GET_AUTOSTART DOMAIN_GET_STATE
DOMAIN_GET_INFO DOMAIN_GET_XML_DESC DOMAIN_GET_OS_TYPE DOMAIN_LOOKUP_BY_NAME DOMAIN_LOOKUP_BY_UUID
DOMAIN_LOOKUP_BY_ID DOMAIN_IS_ACTIVE DOMAIN_IS_PERSISTENT DOMAIN_OPEN_CONSOLE
DOMAIN_GET_CONTROL_INFO DOMAIN_GET_MAX_VCPUS DOMAIN_GET_MAX_MEMORY DOMAIN_GET_VCPUS_FLAGS
DOMAIN_HAS_MANAGED_SAVE_IMAGE DOMAIN_SNAPSHOT_NUM DOMAIN_GET_SECURITY_LABEL DOMAIN_GET_MESSAGES
CONNECT_LIST_ALL_DOMAINS CONNECT_NUM_OF_DOMAINS CONNECT_NUM_OF_DEFINED_DOMAINS
CONNECT_LIST_DOMAINS CONNECT_LIST_DEFINED_DOMAINS CONNECT_GET_ALL_DOMAIN_STATS
CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY CONNECT_DOMAIN_EVENT_CALLBACK_DEREGISTER_ANY
DOMAIN_GET_IOTHREAD_INFO
"""

XML = """<domain type='qemu'>
  <name>{name}</name>
  <metadata><app:note xmlns:app='http://example.org/app'>kept &amp; safe</app:note></metadata>
  <memory unit='MiB'>32</memory><vcpu>2</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <features><acpi/><apic/></features>
  <devices>{devices}<serial type='pty'/><console type='pty'/></devices>
</domain>"""


def define(daemon, name, devices=""):
    path = os.path.join(daemon.top, name + ".xml")
    with open(path, "w") as file:
        file.write(XML.format(name=name, devices=devices))
    daemon.virsh("define", path)
    return path


def state(daemon, name):
    return daemon.said("domstate", name)


def check_iothreads(daemon):
    """A domain that has none says so; they are not added to a definition or to a domain that runs."""
    for flags in ([], ["--live"], ["--config"]):
        assert daemon.said("iothreadinfo", "life", *flags) == "No IOThreads found for the domain"
    threads = json.loads(daemon.said("qemu-monitor-command", "life", '{"execute": "query-iothreads"}'))
    assert threads["return"] == []
    assert daemon.said("domstats", "life", "--iothread", "--enforce") == "Domain: 'life'"
    for command in (["iothreadadd", "life", "1"], ["iothreaddel", "life", "1"], ["iothreadpin", "life", "1", "0"],
                    ["iothreadset", "life", "1", "--poll-max-ns", "1"]):
        refused = daemon.virsh(*command, check=False)
        assert refused.returncode == 1 and "not supported" in refused.stdout, refused.stdout
    bad = daemon.virsh("iothreadinfo", "nosuch", check=False)
    assert bad.returncode == 1 and "failed to get domain 'nosuch'" in bad.stdout


def check_life(daemon):
    path = define(daemon, "life")
    xml = daemon.said("dumpxml", "life")
    assert "kept &amp; safe</app:note>" in xml and "machine='pc-q35-7.2'" in xml
    assert "<currentMemory unit='KiB'>32768</currentMemory>" in xml
    assert state(daemon, "life") == "shut off"
    same = daemon.virsh("define", path, check=False).stdout
    assert "domain 'life' already exists with uuid" in same
    with open(path, "w") as file:
        file.write(xml)
    daemon.virsh("define", path, "--validate")
    daemon.virsh("start", "life")
    assert state(daemon, "life") == "running"
    again = daemon.virsh("start", "life", check=False)
    assert again.returncode == 1 and "already active" in again.stdout
    assert re.search(r"1 +life +running", daemon.said("list"))
    info = daemon.said("dominfo", "life")
    assert "CPU(s):         2" in info and "Max memory:     32768 KiB" in info
    assert daemon.said("ttyconsole", "life").startswith("/dev/pts/")
    daemon.virsh("suspend", "life")
    assert daemon.said("domstate", "life", "--reason") == "paused (user)"
    daemon.virsh("resume", "life")
    for command in ("reset", "shutdown", "inject-nmi", "domcontrol", "domid", "domstats"):
        daemon.virsh(command, "life")
    assert "vcpu.current=2" in daemon.said("domstats", "life")
    check_iothreads(daemon)
    daemon.virsh("destroy", "life")
    assert daemon.said("domstate", "life", "--reason") == "shut off (destroyed)"
    refused = daemon.virsh("destroy", "life", check=False).stdout
    assert "Requested operation is not valid: domain is not running" in refused
    daemon.virsh("autostart", "life")
    assert "Autostart:      enable" in daemon.said("dominfo", "life")
    daemon.virsh("autostart", "--disable", "life")
    daemon.virsh("undefine", "life")
    assert "life" not in daemon.said("list", "--all")


def check_refusals(daemon):
    cases = {
        "<tpm model='tpm-crb'/>": "Berth does not support <tpm> in <devices>",
        "<disk type='file' colour='red'/>": "does not support the attribute 'colour'",
        "<interface type='network'/>": "<source network=...> is missing",
        "<interface type='vdpa'/>": "interface type 'vdpa'",
    }
    for devices, words in cases.items():
        path = os.path.join(daemon.top, "bad.xml")
        with open(path, "w") as file:
            file.write(XML.format(name="bad", devices=devices))
        output = daemon.virsh("define", path, check=False).stdout
        assert words in output, output
    with open(path, "w") as file:
        file.write("<domain>\n<name")
    assert "(domain_definition):2:" in daemon.virsh("define", path, check=False).stdout
    missing = define(daemon, "nodisk", "<disk type='file'><source file='/nowhere/x.img'/>"
                     "<target dev='vda' bus='virtio'/></disk>")
    output = daemon.virsh("start", "nodisk", check=False).stdout
    assert "/nowhere/x.img" in output, output
    assert state(daemon, "nodisk") == "shut off" and os.path.exists(missing)
    daemon.virsh("undefine", "nodisk")


def check_python(daemon):
    """The old pairs of calls, a transient domain, and events in order."""
    event_loop.begin()
    conn = libvirt.open(daemon.uri())
    seen = []
    number = conn.domainEventRegisterAny(
        None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE,
        lambda c, dom, event, detail, _: seen.append((dom.name(), event, detail)), None)
    dom = conn.createXML(XML.format(name="brief", devices=""), 0)
    assert conn.numOfDomains() == 1 and conn.listDomainsID() == [dom.ID()]
    assert conn.lookupByID(dom.ID()).name() == "brief" and dom.isActive() and not dom.isPersistent()
    assert conn.lookupByUUIDString(str(uuid.UUID(dom.UUIDString()))).name() == "brief"
    assert dom.maxVcpus() == 2 and dom.vcpusFlags() == 2 and dom.maxMemory() == 32768
    assert dom.OSType() == "hvm" and not dom.hasManagedSaveImage() and dom.snapshotNum() == 0
    dom.suspend()
    dom.resume()
    dom.destroy()
    assert conn.listAllDomains() == []
    conn.defineXML(XML.format(name="second", devices=""))
    assert conn.numOfDefinedDomains() == 1 and conn.listDefinedDomains() == ["second"]
    dom = conn.lookupByName("second")
    dom.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    assert dom.state()[0] == libvirt.VIR_DOMAIN_PAUSED
    dom.undefine()
    assert not dom.isPersistent()
    dom.destroy()
    wanted = [("brief", 4), ("brief", 2), ("brief", 3), ("brief", 4), ("brief", 5), ("second", 0),
              ("second", 2), ("second", 1), ("second", 5)]
    daemon.wait(lambda: len(seen) >= len(wanted), f"events: {seen}")
    assert [event[:2] for event in seen] == wanted, seen
    conn.domainEventDeregisterAny(number)
    check_console(daemon, conn)
    conn.close()


def check_console(daemon, conn):
    """SeaBIOS writes to the serial port nothing, but a stream opens, takes bytes and ends."""
    dom = conn.createXML(XML.format(name="talk", devices=""), 0)
    stream = conn.newStream(libvirt.VIR_STREAM_NONBLOCK)
    dom.openConsole(None, stream, 0)
    assert stream.send(b"hello") == 5
    second = conn.newStream(libvirt.VIR_STREAM_NONBLOCK)
    try:
        dom.openConsole(None, second, 0)
        raise AssertionError("two clients read one console")
    except libvirt.libvirtError as error:
        assert "Active console session exists for this domain" in str(error), error
    dom.openConsole(None, second, libvirt.VIR_DOMAIN_CONSOLE_FORCE)
    try:
        daemon.wait(lambda: stream.send(b"hello") < 0, "the first client hears of it")
        raise AssertionError("the first client is still there")
    except libvirt.libvirtError as error:
        assert "was opened by another client" in str(error), error
    assert second.send(b"hello") == 5
    second.abort()
    dom.destroy()


def check_readonly(daemon):
    """On the read-only socket, whatever a client claims to be, nobody speaks with a guest's agent."""
    define(daemon, "read")
    conn = libvirt.open(daemon.uri(readonly=True))
    dom = conn.lookupByName("read")
    asks = (dom.hostname, dom.getTime, dom.fsInfo, dom.guestInfo,
            lambda: dom.authorizedSSHKeysGet("root"))
    for ask in asks:
        try:
            ask()
            raise AssertionError(f"{ask} may be asked")
        except libvirt.libvirtError as error:
            assert error.get_error_code() == libvirt.VIR_ERR_OPERATION_DENIED, error
    conn.close()
    daemon.virsh("undefine", "read")


def check_hung(daemon):
    """A VMM that hangs delays nobody and dies within a second."""
    define(daemon, "hung")
    daemon.virsh("start", "hung")
    with open(os.path.join(daemon.top, "state", "run", daemon.said("domuuid", "hung"), "pid")) as f:
        pid = int(f.read())
    os.kill(pid, signal.SIGSTOP)
    waiting = threading.Thread(target=daemon.virsh, args=("suspend", "hung"),
                               kwargs={"check": False})
    waiting.start()
    daemon.wait(lambda: "occupied" in daemon.said("domcontrol", "hung"), "the job is under way")
    started = time.monotonic()
    assert "hung" in daemon.said("domstats") and state(daemon, "hung") == "running"
    daemon.virsh("destroy", "hung")
    # One second is the aim; three virsh processes start meanwhile on a loaded machine.
    assert time.monotonic() - started < 10
    waiting.join()
    daemon.virsh("undefine", "hung")


def check_restart(daemon):
    """VMs and definitions outlive a daemon that is killed."""
    define(daemon, "stays")
    define(daemon, "sleeps")
    daemon.virsh("start", "stays")
    before = daemon.said("dumpxml", "stays")
    daemon.virsh("suspend", "stays")
    daemon.stop(signal.SIGKILL)
    daemon.start()
    daemon.wait(lambda: state(daemon, "stays") == "paused", "the VM is known again")
    assert daemon.said("dumpxml", "stays") == before
    assert state(daemon, "sleeps") == "shut off"
    daemon.virsh("resume", "stays")
    daemon.stop()
    daemon.start()
    daemon.wait(lambda: state(daemon, "stays") == "running", "the VM is known again")
    daemon.virsh("destroy", "stays")
    for name in ("stays", "sleeps"):
        daemon.virsh("undefine", name)


def check_many(daemon):
    """Threads share the files at a start: each is there as before, or the log says why it is left alone."""
    def documents():
        conn = libvirt.open(daemon.uri())
        texts = {dom.name(): dom.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE) for dom in conn.listAllDomains()}
        conn.close()
        return texts

    conn = libvirt.open(daemon.uri())
    for number in range(200):
        conn.defineXML(XML.format(name=f"many{number}", devices=""))
    conn.close()
    before = documents()
    daemon.stop()
    folder = os.path.join(daemon.top, "state", "domains")
    strangers = {"0-broken.xml": "<domain>\n<name", "1-strange.xml": XML.format(name="strange", devices="<tpm/>"),
                 "zzz-twin.xml": re.sub("<uuid>..", "<uuid>00", before["many7"])}
    for name, text in strangers.items():
        with open(os.path.join(folder, name), "w") as file:
            file.write(text)
    daemon.start()
    assert documents() == before
    for name, why in zip(strangers, (":2: ", "does not support <tpm>", "there is a domain 'many7' already")):
        with open(daemon.log) as log:
            assert re.search(f"/{name}' is left alone: .*{why}", log.read()), name
        os.unlink(os.path.join(folder, name))
    conn = libvirt.open(daemon.uri())
    for dom in conn.listAllDomains():
        dom.undefine()
    conn.close()


def check_comma(daemon):
    """A comma in the path of the state folder, which the VMM's options double, loses no VM."""
    tempfile.tempdir = os.path.join(daemon.top, "a,b")
    os.mkdir(tempfile.tempdir)
    with Daemon() as other:
        check_restart(other)


def main():
    with Daemon() as daemon:
        check_life(daemon)
        check_refusals(daemon)
        check_python(daemon)
        check_readonly(daemon)
        check_hung(daemon)
        check_restart(daemon)
        check_many(daemon)
        check_comma(daemon)
        missing = set(COVERS.split()) - daemon.called()
        assert not missing, f"not called: {missing}"


main()
