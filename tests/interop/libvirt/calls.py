#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's virsh and python3-libvirt ask a private berthd about the host."""
import libvirt
from private import Daemon

COVERS = """
AUTH_LIST CONNECT_OPEN CONNECT_CLOSE CONNECT_SUPPORTS_FEATURE CONNECT_REGISTER_CLOSE_CALLBACK
CONNECT_UNREGISTER_CLOSE_CALLBACK CONNECT_GET_TYPE CONNECT_GET_VERSION CONNECT_GET_LIB_VERSION
CONNECT_GET_HOSTNAME CONNECT_GET_CAPABILITIES CONNECT_GET_DOMAIN_CAPABILITIES
CONNECT_GET_MAX_VCPUS CONNECT_GET_CPU_MODEL_NAMES CONNECT_IS_SECURE NODE_GET_INFO NODE_GET_CPU_MAP
NODE_GET_CPU_STATS NODE_GET_MEMORY_STATS NODE_GET_FREE_MEMORY NODE_GET_CELLS_FREE_MEMORY
NODE_GET_SECURITY_MODEL
"""


def check_virsh(daemon):
    version = daemon.said("version", "--daemon")
    assert "Using API: QEMU 9.0.0" in version and "Running hypervisor: QEMU 7.2." in version
    assert "CPU model:           x86_64" in daemon.said("nodeinfo")
    assert "<domain type='qemu'/>" in daemon.said("capabilities")
    assert "<domain>qemu</domain>" in daemon.said("domcapabilities", "--virttype", "qemu")
    assert "qemu64" in daemon.said("cpu-models", "x86_64").split()
    assert daemon.said("nodecpumap").startswith("CPUs present:")
    for command in ("nodecpustats", "nodememstats", "freecell --all", "hostname", "maxvcpus"):
        daemon.virsh(*command.split())
    unknown = daemon.virsh("domcapabilities", "--machine", "toaster", check=False)
    assert unknown.returncode == 1 and "there is no machine 'toaster'" in unknown.stdout
    refused = daemon.virsh("domxml-from-native", "qemu-argv", "/etc/hostname", check=False).stdout
    assert "this function is not supported by the connection driver: virConnect" in refused


def check_readonly(daemon):
    assert daemon.said("hostname", readonly=True) == daemon.said("hostname")
    # The client library refuses by itself; libvirt's own limit must hold in the daemon as well.
    conn = libvirt.openReadOnly(daemon.uri(readonly=True))
    try:
        conn.suspendForDuration(0, 60, 0)
        raise AssertionError("a read-only connection may suspend the host")
    except libvirt.libvirtError as error:
        assert error.get_error_code() == libvirt.VIR_ERR_OPERATION_DENIED
    conn.close()


def check_python(daemon):
    conn = libvirt.open(daemon.uri())
    assert conn.getType() == "QEMU" and conn.getLibVersion() == 9000000
    assert conn.getVersion() // 1000 == 7002 and conn.isSecure() == 1
    assert conn.getURI() and conn.getFreeMemory() > 0
    assert conn.getSecurityModel() == ["none", "0"]
    assert conn.getMaxVcpus(None) >= 1
    try:
        conn.domainXMLFromNative("qemu-argv", "qemu")
        raise AssertionError("command lines are understood")
    except libvirt.libvirtError as error:
        assert error.get_error_code() == libvirt.VIR_ERR_NO_SUPPORT
        assert error.get_error_level() == libvirt.VIR_ERR_ERROR
    conn.close()


def main():
    with Daemon() as daemon:
        check_virsh(daemon)
        check_readonly(daemon)
        check_python(daemon)
        missing = set(COVERS.split()) - daemon.called()
        assert not missing, f"not called: {missing}"


main()
