#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's virsh and python3-libvirt ask a private berthd about the host."""
import os
import re
import xml.etree.ElementTree as tree

import libvirt
from private import Daemon

COVERS = """
AUTH_LIST CONNECT_OPEN CONNECT_CLOSE CONNECT_SUPPORTS_FEATURE CONNECT_REGISTER_CLOSE_CALLBACK
CONNECT_UNREGISTER_CLOSE_CALLBACK CONNECT_GET_TYPE CONNECT_GET_VERSION CONNECT_GET_LIB_VERSION
CONNECT_GET_HOSTNAME CONNECT_GET_CAPABILITIES CONNECT_GET_DOMAIN_CAPABILITIES
CONNECT_GET_MAX_VCPUS CONNECT_GET_CPU_MODEL_NAMES CONNECT_IS_SECURE NODE_GET_INFO NODE_GET_CPU_MAP
NODE_GET_CPU_STATS NODE_GET_MEMORY_STATS NODE_GET_FREE_MEMORY NODE_GET_CELLS_FREE_MEMORY
NODE_GET_SECURITY_MODEL NODE_GET_FREE_PAGES NODE_GET_MEMORY_PARAMETERS
CONNECT_COMPARE_CPU CONNECT_BASELINE_CPU CONNECT_COMPARE_HYPERVISOR_CPU
CONNECT_BASELINE_HYPERVISOR_CPU
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
    refused = daemon.virsh("save-image-dumpxml", "/none", check=False).stdout
    assert "not supported by the connection driver: virDomainSaveImageGetXMLDesc" in refused, refused


def check_memory(daemon):
    """Wrong cells and sizes, in libvirt's words; nothing of the host is changed."""
    assert re.search(r"^4KiB: [1-9]\d*$", daemon.said("freepages", "--cellno", "0", "--pagesize", "4"), re.M)
    assert "4KiB:" in daemon.said("freepages", "--all")
    assert "shm_pages_to_scan" in daemon.said("node-memory-tune") or not os.path.exists("/sys/kernel/mm/ksm")
    for command, words in (
            ("freepages --cellno 0 --pagesize 5", "operation failed: page size 5 is not available on node 0"),
            ("freepages --cellno 77 --pagesize 4", "internal error: start cell 77 out of range (0-"),
            ("freecell 77", "start cell 77 out of range"),
            ("allocpages 4 10 --cellno 0", "Operation not supported: system pages pool can't be modified"),
            ("allocpages 5 1 --cellno 0", "operation failed: page size 5 is not available on node 0"),
            ("nodememstats --cell 77", "must be less than or equal to"),
            ("maxvcpus --type toaster", "invalid argument: unknown type 'toaster'"),
            ("nodesuspend mem 60", "argument unsupported: Suspend-to-RAM")):
        result = daemon.virsh(*command.split(), check=False)
        assert result.returncode and words in result.stdout, (command, result.stdout)
    conn = libvirt.open(daemon.uri())
    now = conn.getMemoryParameters()
    if now:
        conn.setMemoryParameters({"shm_pages_to_scan": now["shm_pages_to_scan"]})
        assert conn.getMemoryParameters()["shm_pages_to_scan"] == now["shm_pages_to_scan"]
    conn.close()


def check_cpus(daemon):
    capabilities = tree.fromstring(daemon.said("capabilities"))
    assert capabilities.find("host/cpu/model") is not None
    assert len(capabilities.findall("host/topology/cells/cell/cpus/cpu")) == os.cpu_count()
    path = os.path.join(daemon.top, "cpu.xml")

    def compare(text, command, *options):
        with open(path, "w") as file:
            file.write(text)
        return daemon.virsh(command, path, *options, check=False).stdout

    own = tree.tostring(capabilities.find("host/cpu"), encoding="unicode")
    assert "identical" in compare(own, "cpu-compare")
    domain = tree.fromstring(daemon.said("domcapabilities", "--virttype", "qemu"))
    mode = domain.find("cpu/mode[@name='host-model']")
    assert mode.get("supported") == "yes" and mode.find("model") is not None
    assert domain.find("cpu/mode[@name='custom']/model[.='qemu64']").get("usable") == "yes"
    bare = "<cpu><arch>x86_64</arch><model>qemu64</model></cpu>"
    assert "superset" in compare(bare, "cpu-compare")
    assert "superset" in compare(bare, "hypervisor-cpu-compare", "--virttype", "qemu")
    wish = "<cpu match='exact'><model>qemu64</model><feature name='vmx'/></cpu>"
    assert "CPU is incompatible with host CPU: Host CPU does not provide required features: vmx" in \
        compare(wish, "cpu-compare", "--error")
    wanted = "<cpu mode='custom' match='exact'>\n  <model fallback='forbid'>Nehalem</model>\n" \
             "  <feature policy='require' name='aes'/>\n</cpu>"
    both = "<cpu><model>Nehalem</model><feature name='aes'/></cpu>" \
           "<cpu><model>Haswell</model></cpu>"
    assert compare(both, "cpu-baseline").strip() == wanted
    assert compare(both, "hypervisor-cpu-baseline", "--virttype", "qemu").strip() == wanted


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
        conn.nodeDeviceCreateXML("<device/>")
        raise AssertionError("devices of the host can be made")
    except libvirt.libvirtError as error:
        assert error.get_error_code() == libvirt.VIR_ERR_NO_SUPPORT
        assert error.get_error_level() == libvirt.VIR_ERR_ERROR
    conn.close()


def main():
    with Daemon() as daemon:
        check_virsh(daemon)
        check_memory(daemon)
        check_cpus(daemon)
        check_readonly(daemon)
        check_python(daemon)
        missing = set(COVERS.split()) - daemon.called()
        assert not missing, f"not called: {missing}"


main()
