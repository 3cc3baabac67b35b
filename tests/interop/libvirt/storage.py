#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's virsh and python3-libvirt drive storage pools and volumes of a private berthd; qemu-img
makes images for it and judges what it makes."""
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
import xml.etree.ElementTree as tree

import libvirt
from private import Daemon

COVERS = """
CONNECT_NUM_OF_STORAGE_POOLS CONNECT_LIST_STORAGE_POOLS CONNECT_NUM_OF_DEFINED_STORAGE_POOLS
CONNECT_LIST_DEFINED_STORAGE_POOLS CONNECT_LIST_ALL_STORAGE_POOLS STORAGE_POOL_CREATE_XML
STORAGE_POOL_DEFINE_XML STORAGE_POOL_CREATE STORAGE_POOL_BUILD STORAGE_POOL_DESTROY
STORAGE_POOL_DELETE STORAGE_POOL_UNDEFINE STORAGE_POOL_REFRESH STORAGE_POOL_LOOKUP_BY_NAME
STORAGE_POOL_LOOKUP_BY_UUID STORAGE_POOL_LOOKUP_BY_VOLUME STORAGE_POOL_LOOKUP_BY_TARGET_PATH
STORAGE_POOL_GET_INFO STORAGE_POOL_GET_XML_DESC STORAGE_POOL_GET_AUTOSTART
STORAGE_POOL_SET_AUTOSTART STORAGE_POOL_NUM_OF_VOLUMES STORAGE_POOL_LIST_VOLUMES
STORAGE_POOL_LIST_ALL_VOLUMES STORAGE_POOL_IS_ACTIVE STORAGE_POOL_IS_PERSISTENT
STORAGE_VOL_CREATE_XML STORAGE_VOL_CREATE_XML_FROM STORAGE_VOL_DELETE STORAGE_VOL_LOOKUP_BY_NAME
STORAGE_VOL_LOOKUP_BY_KEY STORAGE_VOL_LOOKUP_BY_PATH STORAGE_VOL_GET_INFO
STORAGE_VOL_GET_INFO_FLAGS STORAGE_VOL_GET_XML_DESC STORAGE_VOL_GET_PATH STORAGE_VOL_WIPE
STORAGE_VOL_WIPE_PATTERN STORAGE_VOL_UPLOAD STORAGE_VOL_DOWNLOAD STORAGE_VOL_RESIZE
CONNECT_STORAGE_POOL_EVENT_REGISTER_ANY CONNECT_STORAGE_POOL_EVENT_DEREGISTER_ANY
CONNECT_GET_STORAGE_POOL_CAPABILITIES
"""

POOL = "<pool type='dir'><name>{}</name><target><path>{}</path></target></pool>"


def img(*args):
    return subprocess.run(["qemu-img", *args], check=True, text=True, stdout=subprocess.PIPE).stdout


def info(path):
    return json.loads(img("info", "-U", "--output=json", path))


def write(path, text):
    with open(path, "w") as file:
        file.write(text)
    return path


def refused(daemon, text, *args):
    result = daemon.virsh(*args, check=False)
    assert result.returncode != 0 and text in result.stdout, f"{args}: {result.stdout}"


def fails(code, function, *args):
    try:
        function(*args)
    except libvirt.libvirtError as error:
        assert error.get_error_code() == code, error
        return
    raise AssertionError(f"{function} does not fail")


# --- pools ---------------------------------------------------------------------------------------


def check_pool_life(daemon, top):
    path = os.path.join(top, "life")
    daemon.virsh("pool-define-as", "life", "dir", "--target", path + "//")
    assert tree.fromstring(daemon.said("pool-dumpxml", "life")).findtext("target/path") == path
    assert "State:          inactive" in daemon.said("pool-info", "life")
    refused(daemon, f"cannot open directory '{path}': No such file", "pool-start", "life")
    daemon.virsh("pool-build", "life")
    assert os.stat(path).st_mode & 0o7777 == 0o711
    refused(daemon, "No source device specified when formatting pool 'life'", "pool-build", "life",
            "--overwrite")
    daemon.virsh("pool-start", "life")
    refused(daemon, "storage pool 'life' is already active", "pool-start", "life")
    refused(daemon, "storage pool 'life' is still active", "pool-undefine", "life")
    refused(daemon, "storage pool 'life' is still active", "pool-delete", "life")
    daemon.virsh("pool-autostart", "life")
    said = daemon.said("pool-info", "life", "--bytes")
    assert "State:          running" in said and "Autostart:      yes" in said
    fs = os.statvfs(path)
    assert f"Capacity:       {fs.f_blocks * fs.f_frsize}" in said
    daemon.virsh("pool-destroy", "life")
    refused(daemon, "storage pool 'life' is not active", "pool-destroy", "life")
    refused(daemon, "storage pool 'life' is not active", "vol-list", "life")
    daemon.virsh("pool-delete", "life")
    assert not os.path.exists(path)
    daemon.virsh("pool-undefine", "life")
    refused(daemon, "no storage pool with matching name 'life'", "pool-info", "life")


def check_pool_refusals(daemon, top):
    file = os.path.join(top, "pool.xml")
    daemon.virsh("pool-define-as", "one", "dir", "--target", os.path.join(top, "one"))
    for text, said in (
            (POOL.format("one", "/other"), "pool 'one' already exists with uuid"),
            (POOL.format("two", os.path.join(top, "one")), "Storage source conflict with pool: 'one'"),
            ("<pool type='dir'><name>x</name></pool>", "missing storage pool target path"),
            ("<pool type='dir'><target/></pool>", "missing pool source name element"),
            (POOL.format("a/b", "/x"), "name a/b cannot contain '/'"),
            (POOL.format("x", "y"), "storage pool target path 'y' must be absolute"),
            ("<pool type='q'/>", "Invalid value for attribute 'type' in element 'pool': 'q'."),
            ("<pool/>", "Missing required attribute 'type' in element 'pool'"),
            ("<foo/>", "expecting root element of 'pool', not 'foo'"),
            ("<pool", "(storage_pool_definition):1"),
            (POOL.format("x", "/x</path><bogus/><path>"), "Berth does not support <bogus> in <target>"),
            ("<pool type='logical'><name>l</name></pool>", "missing backend for pool type 3 (logical)")):
        refused(daemon, said, "pool-define", write(file, text))
    for kind in ("fs", "netfs", "disk", "iscsi", "rbd", "zfs"):
        refused(daemon, f"({kind}): Berth has dir", "pool-define-as", "x", kind)
    refused(daemon, "does not support source discovery", "find-storage-pool-sources", "dir")
    refused(daemon, "unknown storage pool type q", "find-storage-pool-sources", "q")
    assert "<pool type='dir' supported='yes'>" in daemon.said("pool-capabilities")
    daemon.virsh("pool-define", write(file, daemon.said("pool-dumpxml", "one")), "--validate")
    daemon.virsh("pool-undefine", "one")


def check_transient(daemon, top):
    path = os.path.join(top, "transient")
    file = write(os.path.join(top, "pool.xml"), POOL.format("brief", path))
    refused(daemon, f"cannot open directory '{path}'", "pool-create", file)
    refused(daemon, "no storage pool with matching name 'brief'", "pool-uuid", "brief")
    daemon.virsh("pool-create", file, "--build")
    assert "brief" in daemon.said("pool-list", "--transient")
    refused(daemon, "pool has no config file", "pool-autostart", "brief")
    os.rmdir(path)
    # As libvirt: it cannot be read any more, so it is not active; and a transient one is gone.
    refused(daemon, f"cannot open directory '{path}'", "pool-refresh", "brief")
    refused(daemon, "no storage pool with matching name", "pool-info", "brief")


# --- what is in a folder ------------------------------------------------------------------------


def check_formats(daemon, folder):
    """All that a pool says of an image is what qemu-img says."""
    base = os.path.join(folder, "base.qcow2")
    img("create", "-q", "-f", "qcow2", base, "10M")
    for name, options in (("top", ["-b", "base.qcow2", "-F", "qcow2"]), ("old", ["-o", "compat=0.10"]),
                          ("lazy", ["-o", "lazy_refcounts=on,extended_l2=on,cluster_size=128k"]),
                          ("orphan", ["-u", "-b", "/nowhere/x.img", "-F", "raw"]),
                          ("remote", ["-u", "-b", "nbd://localhost:1/x", "-F", "raw"]),
                          ("data", ["-o", "data_file=" + os.path.join(folder, "data.raw")])):
        img("create", "-q", "-f", "qcow2", *options, os.path.join(folder, name + ".qcow2"), "10M")
    for kind in ("raw", "vmdk", "vdi", "qed", "vpc", "vhdx"):
        img("create", "-q", "-f", kind, os.path.join(folder, "image." + kind), "3M")
    daemon.virsh("pool-refresh", "images")
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        volume = tree.fromstring(daemon.said("vol-dumpxml", name, "images"))
        truth = info(path)
        assert volume.findtext("key") == volume.findtext("target/path") == path
        assert volume.find("target/format").get("type") == truth["format"], name
        assert int(volume.findtext("capacity")) == truth["virtual-size"], name
        assert int(volume.findtext("allocation")) == os.stat(path).st_blocks * 512
        assert int(volume.findtext("physical")) == os.stat(path).st_size
        assert volume.findtext("backingStore/path") == truth.get("full-backing-filename")
        if truth["format"] == "qcow2":
            data = truth["format-specific"]["data"]
            features = volume.find("target/features")
            assert volume.findtext("target/compat", "0.10") == data["compat"]
            assert int(volume.findtext("target/clusterSize")) == truth["cluster-size"]
            for feature in ("lazy_refcounts", "extended_l2"):
                has = features is not None and features.find(feature) is not None
                assert has == data.get(feature.replace("_", "-"), False), (name, feature)
    assert tree.fromstring(daemon.said("vol-dumpxml", "top.qcow2", "images")).find(
        "backingStore/format").get("type") == "qcow2"


def check_odd_files(daemon, folder):
    """Nothing that lies in a folder breaks the pool."""
    with open(os.path.join(folder, "base.qcow2"), "rb") as file:
        head = file.read(100)
    for name, content in (("broken.qcow2", head), ("cut.qcow2", head[:40]), ("empty", b""),
                          (".hidden", b"x"), ("luks", b"LUKS\xba\xbe\0\1"), ("text.vmdk",
                          b"# Disk DescriptorFile\nRW 1 FLAT \"/dev/zero\" 0\n")):
        with open(os.path.join(folder, name), "wb") as file:
            file.write(content)
    os.mkfifo(os.path.join(folder, "fifo"))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.join(folder, "socket"))
    os.symlink("nowhere", os.path.join(folder, "dangling"))
    os.symlink("loop", os.path.join(folder, "loop"))
    os.symlink("empty", os.path.join(folder, "link"))
    os.mkdir(os.path.join(folder, "folder"))
    with open(os.path.join(folder.encode(), b"\xff\xfe"), "wb"):
        pass
    daemon.virsh("pool-refresh", "images")
    names = {line.split()[0] for line in daemon.said("vol-list", "images").splitlines()[2:]}
    assert {"broken.qcow2", "cut.qcow2", "empty", ".hidden", "luks", "text.vmdk", "link",
            "folder"} <= names
    assert not {"fifo", "socket", "dangling", "loop"} & names
    assert "<capacity unit='bytes'>10485760<" in daemon.said("vol-dumpxml", "broken.qcow2", "images")
    assert "<encryption format='luks'>" in daemon.said("vol-dumpxml", "luks", "images")
    assert "Type:           dir" in daemon.said("vol-info", "folder", "images")


def check_watch(daemon, folder):
    """Files that come, change and go are noticed without pool-refresh."""
    path = os.path.join(folder, "late")
    said = lambda: daemon.said("vol-list", "images", "--details")
    img("create", "-q", "-f", "qcow2", path, "7M")
    daemon.wait(lambda: re.search(r" late .*7.00 MiB", said()), "the new file is a volume")
    img("create", "-q", "-f", "raw", path + ".tmp", "8M")
    os.rename(path + ".tmp", path)
    daemon.wait(lambda: re.search(r" late .*8.00 MiB", said()), "the other file is the volume")
    os.unlink(path)
    daemon.wait(lambda: " late" not in said(), "the volume is gone")


# --- making volumes -----------------------------------------------------------------------------


def check_create(daemon, top, folder):
    make = ["vol-create-as", "work"]
    daemon.virsh(*make, "full", "2M")
    daemon.virsh(*make, "thin", "2M", "--allocation", "0")
    daemon.virsh(*make, "part", "2M", "--allocation", "1M")
    sizes = {name: os.stat(os.path.join(folder, name)) for name in ("full", "thin", "part")}
    assert {stat.st_size for stat in sizes.values()} == {2 << 20}
    assert sizes["full"].st_mode & 0o777 == 0o600
    assert [sizes[name].st_blocks // 2048 for name in ("thin", "part", "full")] == [0, 1, 2]
    refused(daemon, "storage volume 'full' exists already", *make, "full", "1M")
    for kind in ("qcow2", "vmdk", "vdi", "qed", "vpc"):
        daemon.virsh(*make, kind, "5M", "--format", kind)
        assert info(os.path.join(folder, kind))["format"] == kind
    daemon.virsh(*make, "meta", "20M", "--allocation", "0", "--format", "qcow2",
                 "--prealloc-metadata")
    assert os.stat(os.path.join(folder, "meta")).st_blocks < 4096
    assert "100.00% allocated" in img("check", os.path.join(folder, "meta"))
    daemon.virsh(*make, "over", "9M", "--format", "qcow2", "--backing-vol", "qcow2",
                 "--backing-vol-format", "qcow2")
    truth = info(os.path.join(folder, "over"))
    assert truth["full-backing-filename"] == os.path.join(folder, "qcow2")
    assert truth["virtual-size"] == 9 << 20 and truth["backing-filename-format"] == "qcow2"
    file = write(os.path.join(top, "volume.xml"), """<volume><name>all</name>
        <capacity unit='M'>6</capacity><target><format type='qcow2'/><compat>1.1</compat>
        <clusterSize unit='KiB'>128</clusterSize><features><lazy_refcounts/></features>
        <permissions><mode>0640</mode><owner>0</owner><group>0</group></permissions>
        </target></volume>""")
    daemon.virsh("vol-create", "work", file)
    truth = info(os.path.join(folder, "all"))
    assert truth["cluster-size"] == 131072
    assert truth["format-specific"]["data"]["lazy-refcounts"]
    assert os.stat(os.path.join(folder, "all")).st_mode & 0o777 == 0o640
    before = sorted(os.listdir(folder))
    for text, said in (
            ("<volume><name>v</name></volume>", "missing capacity element"),
            ("<volume><capacity>1</capacity></volume>", "missing volume name element"),
            ("<volume><name>v</name><capacity unit='ell'>1</capacity></volume>", "unknown suffix 'ell'"),
            ("<volume><name>v</name><capacity>-1</capacity></volume>", "malformed capacity element"),
            ("<volume><name>a/b</name><capacity>1</capacity></volume>", "cannot contain '/'"),
            ("<volume><name>..</name><capacity>1</capacity></volume>", "already exists"),
            ("<volume><name>v</name><capacity>1</capacity><target><format type='q'/></target></volume>",
             "unknown volume format type q"),
            ("<volume><name>v</name><capacity>1</capacity><target><encryption/></target></volume>",
             "Berth does not support <encryption> in <target>"),
            ("<volume><name>v</name><capacity>1</capacity><target><format type='vdi'/>"
             "<nocow/><clusterSize>4</clusterSize></target></volume>", "cluster_size"),
            ("<volume><name>v</name><capacity>1</capacity><backingStore><path>/x</path></backingStore>"
             "</volume>", "backing storage not supported for raw volumes")):
        refused(daemon, said, "vol-create", "work", write(file, text))
    assert sorted(os.listdir(folder)) == before


def check_clone(daemon, top, folder):
    source = os.path.join(folder, "qcow2")
    subprocess.run(["qemu-io", "-c", "write -P 7 1M 300k", "-c", "write -z 2M 64k", source],
                   check=True, stdout=subprocess.PIPE)
    daemon.virsh("vol-clone", "qcow2", "copy", "work")
    assert img("compare", source, os.path.join(folder, "copy")) == "Images are identical.\n"
    refused(daemon, "storage volume name 'copy' already in use", "vol-clone", "qcow2", "copy", "work")
    over = os.path.join(folder, "over")
    subprocess.run(["qemu-io", "-c", "write -P 9 4M 100k", over], check=True, stdout=subprocess.PIPE)
    daemon.virsh("vol-clone", "over", "over2", "work")
    assert info(os.path.join(folder, "over2"))["full-backing-filename"] == source
    assert img("compare", over, os.path.join(folder, "over2")) == "Images are identical.\n"
    # Of an overlay only what is its own is copied.
    assert os.stat(os.path.join(folder, "over2")).st_blocks * 512 < 600 << 10
    for kind, size in (("raw", "6M"), ("qcow2", "30M"), ("vmdk", "9M")):
        file = write(os.path.join(top, "volume.xml"), f"""<volume><name>to.{kind}</name>
            <capacity unit='{size[-1]}'>{size[:-1]}</capacity>
            <target><format type='{kind}'/></target></volume>""")
        daemon.virsh("vol-create-from", "work", file, "over", "--inputpool", "work")
        made = os.path.join(folder, "to." + kind)
        assert info(made)["format"] == kind
        assert info(made)["virtual-size"] == max(9 << 20, int(size[:-1]) << 20)
        assert "Images are identical." in img("compare", over, made)
    daemon.virsh("vol-delete", "to.vmdk", "work")
    # An image that somebody writes to is neither copied nor changed from below.
    with subprocess.Popen(["qemu-io", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as user:
        user.stdin.write(b"read 0 512\n")
        user.stdin.flush()
        user.stdout.readline()
        for command in (["vol-clone", "qcow2", "copy2", "work"], ["vol-resize", "qcow2", "6M", "work"],
                        ["vol-wipe", "qcow2", "work"],
                        ["vol-upload", "qcow2", "/proc/self/exe", "work"]):
            refused(daemon, "is in use by another", *command)
    assert not os.path.exists(os.path.join(folder, "copy2"))
    # Blocks of another backing file must not shine through.
    img("convert", "-O", "raw", over, os.path.join(folder, "noise"))
    file = write(os.path.join(top, "volume.xml"), f"""<volume><name>veiled</name>
        <capacity unit='M'>9</capacity><target><format type='qcow2'/></target>
        <backingStore><path>{folder}/noise</path><format type='raw'/></backingStore></volume>""")
    daemon.virsh("vol-create-from", "work", file, "thin", "--inputpool", "work")
    img("create", "-q", "-f", "raw", os.path.join(folder, "zero"), "9M")
    assert "Images are identical." in img("compare", os.path.join(folder, "veiled"),
                                          os.path.join(folder, "zero"))


def check_change(daemon, folder):
    daemon.virsh("vol-resize", "thin", "4M", "work")
    daemon.virsh("vol-resize", "thin", "1M", "work", "--delta")
    assert os.stat(os.path.join(folder, "thin")).st_size == 5 << 20
    refused(daemon, "Can't shrink capacity below current capacity unless shrink flag", "vol-resize",
            "thin", "3M", "work")
    refused(daemon, "can't shrink capacity below existing allocation", "vol-resize", "full", "1M",
            "work", "--shrink")
    daemon.virsh("vol-resize", "thin", "3M", "work", "--shrink")
    daemon.virsh("vol-resize", "thin", "4M", "work", "--allocate")
    assert os.stat(os.path.join(folder, "thin")).st_blocks == 8192
    daemon.virsh("vol-resize", "copy", "8M", "work")
    assert info(os.path.join(folder, "copy"))["virtual-size"] == 8 << 20
    refused(daemon, "preallocate is only supported for raw", "vol-resize", "copy", "9M", "work",
            "--allocate")
    refused(daemon, "Not enough space left in storage pool", "vol-resize", "copy", "7E", "work")
    with open(os.path.join(folder, "full"), "r+b") as file:
        file.write(b"secret")
    daemon.virsh("vol-wipe", "full", "work")
    with open(os.path.join(folder, "full"), "rb") as file:
        assert file.read() == bytes(2 << 20)
    daemon.virsh("vol-wipe", "full", "work", "--algorithm", "zero")
    refused(daemon, "'dod' algorithm not supported", "vol-wipe", "full", "work", "--algorithm", "dod")
    daemon.virsh("vol-delete", "full", "work")
    refused(daemon, "no storage vol with matching path 'full'", "vol-info", "full", "work")
    os.unlink(os.path.join(folder, "part"))
    refused(daemon, "no storage vol with matching path", "vol-dumpxml", "part", "work")


# --- streams ------------------------------------------------------------------------------------


def check_streams(daemon, top, folder):
    up, down = os.path.join(top, "up"), os.path.join(top, "down")
    content = os.urandom(1 << 20) * 3 + b"the end"
    with open(up, "wb") as file:
        file.write(content)
    daemon.virsh("vol-create-as", "work", "stream", "40M", "--allocation", "0")
    stream = os.path.join(folder, "stream")
    daemon.virsh("vol-upload", "stream", up, "work", "--offset", "4096")
    with open(stream, "rb") as file:
        assert file.read(4096) == bytes(4096) and file.read(len(content)) == content
    for options in ([], ["--sparse"]):
        daemon.virsh("vol-download", "stream", down, "work", *options)
        assert subprocess.run(["cmp", stream, down], check=False).returncode == 0
    assert os.stat(down).st_blocks < 8192
    daemon.virsh("vol-download", "stream", down, "work", "--offset", "4099", "--length", "100000")
    with open(down, "rb") as file:
        assert file.read() == content[3:100003]
    # A hole clears what was there.
    with open(up, "r+b") as file:
        file.truncate(0)
        file.truncate(20 << 20)
    daemon.virsh("vol-upload", "stream", up, "work", "--sparse")
    with open(stream, "rb") as file:
        assert file.read() == bytes(40 << 20)
    with open(up, "wb") as file:
        file.write(content)
    refused(daemon, "No space left on device", "vol-upload", "stream", up, "work", "--length", "10")
    daemon.virsh("vol-create", "work", write(os.path.join(top, "volume.xml"),
                 "<volume><name>folder</name><capacity>0</capacity>"
                 "<target><format type='dir'/></target></volume>"))
    refused(daemon, "Unable to open stream for", "vol-upload", "folder", up, "work")
    daemon.virsh("vol-delete", "folder", "work")


def check_stream_ends(daemon):
    """A stream that is left in the middle leaves nothing behind."""
    conn = libvirt.open(daemon.uri())
    volume = conn.storagePoolLookupByName("work").storageVolLookupByName("stream")
    stream = conn.newStream()
    volume.upload(stream, 0, 0)
    fails(libvirt.VIR_ERR_OPERATION_INVALID, volume.delete)
    fails(libvirt.VIR_ERR_INTERNAL_ERROR, conn.storagePoolLookupByName("work").destroy)
    block = bytes(1 << 20)
    for _ in range(32):
        stream.send(block[:200000])
    stream.abort()
    stream = conn.newStream()
    volume.download(stream, 0, 0)
    stream.recv(1000)
    # The connection is closed when nothing refers to it any more.
    del stream, volume
    conn.close()
    conn = libvirt.open(daemon.uri())
    volume = conn.storagePoolLookupByName("work").storageVolLookupByName("stream")

    def deleted():
        try:
            volume.delete()
        except libvirt.libvirtError as error:
            assert error.get_error_code() == libvirt.VIR_ERR_OPERATION_INVALID, error
            return False
        return True

    daemon.wait(deleted, "the stream lets go of the volume")
    conn.close()


# --- python -------------------------------------------------------------------------------------


def check_python(daemon, folder):
    conn = libvirt.open(daemon.uri())
    pool = conn.storagePoolLookupByName("work")
    pool.refresh()
    assert conn.numOfStoragePools() == len(conn.listStoragePools()) == 2
    idle = conn.storagePoolDefineXML(POOL.format("idle", os.path.join(folder, "idle")))
    assert conn.numOfDefinedStoragePools() == 1 and conn.listDefinedStoragePools() == ["idle"]
    idle.undefine()
    assert {one.name() for one in conn.listAllStoragePools()} == {"images", "work"}
    assert conn.listAllStoragePools(libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_LOGICAL) == []
    assert conn.storagePoolLookupByUUID(pool.UUID()).name() == "work"
    assert conn.storagePoolLookupByTargetPath(folder).name() == "work"
    assert pool.isActive() and pool.isPersistent() and not pool.autostart()
    assert pool.numOfVolumes() == len(pool.listVolumes()) == len(pool.listAllVolumes())
    path = os.path.join(folder, "copy")
    volume = conn.storageVolLookupByPath(path)
    assert volume.name() == conn.storageVolLookupByKey(path).name() == "copy"
    assert volume.storagePoolLookupByVolume().name() == "work" and volume.path() == path
    assert volume.infoFlags(libvirt.VIR_STORAGE_VOL_GET_PHYSICAL)[2] == os.stat(path).st_size
    conn.storageVolLookupByPath(os.path.join(folder, "noise")).wipe()
    with open(os.path.join(folder, "noise"), "rb") as file:
        assert not any(file.read())
    fails(libvirt.VIR_ERR_NO_STORAGE_POOL, conn.storagePoolLookupByUUID, bytes(16))
    fails(libvirt.VIR_ERR_NO_STORAGE_POOL, conn.storagePoolLookupByTargetPath, "/nowhere")
    fails(libvirt.VIR_ERR_NO_STORAGE_VOL, conn.storageVolLookupByPath, "/nowhere")
    fails(libvirt.VIR_ERR_NO_STORAGE_VOL, pool.storageVolLookupByName, "nothing")
    fails(libvirt.VIR_ERR_STORAGE_VOL_EXIST, pool.createXML, volume.XMLDesc())
    conn.close()
    reader = libvirt.openReadOnly(daemon.uri(readonly=True))
    assert reader.storagePoolLookupByName("work").numOfVolumes() > 0
    fails(libvirt.VIR_ERR_OPERATION_DENIED, reader.storagePoolLookupByName("work").refresh)
    reader.close()


def check_events(daemon, top):
    seen = []
    libvirt.virEventRegisterDefaultImpl()
    conn = libvirt.open(daemon.uri())

    def hear(conn, pool, event, *rest):
        # A refresh comes without a number, and may come of what happens in other pools, too.
        if pool.name() == "heard":
            seen.append(event if rest else "refresh")

    ids = [conn.storagePoolEventRegisterAny(None, event, hear, None) for event in
           (libvirt.VIR_STORAGE_POOL_EVENT_ID_LIFECYCLE, libvirt.VIR_STORAGE_POOL_EVENT_ID_REFRESH)]
    stop = threading.Event()

    def run():
        # Wakes by itself now and then, as a stopped loop is not woken.
        timer = libvirt.virEventAddTimeout(100, lambda *_: None, None)
        while not stop.is_set():
            libvirt.virEventRunDefaultImpl()
        libvirt.virEventRemoveTimeout(timer)

    thread = threading.Thread(target=run)
    thread.start()
    pool = conn.storagePoolDefineXML(POOL.format("heard", os.path.join(top, "heard")))
    pool.build()
    pool.create()
    pool.refresh()
    pool.destroy()
    pool.delete()
    pool.undefine()
    daemon.wait(lambda: len(seen) == 7, "seven events")
    assert seen == [libvirt.VIR_STORAGE_POOL_EVENT_DEFINED, libvirt.VIR_STORAGE_POOL_EVENT_CREATED,
                    libvirt.VIR_STORAGE_POOL_EVENT_STARTED, "refresh",
                    libvirt.VIR_STORAGE_POOL_EVENT_STOPPED, libvirt.VIR_STORAGE_POOL_EVENT_DELETED,
                    libvirt.VIR_STORAGE_POOL_EVENT_UNDEFINED], seen
    for one in ids:
        conn.storagePoolEventDeregisterAny(one)
    stop.set()
    thread.join()
    conn.close()


# --- the daemon's end ---------------------------------------------------------------------------


def check_restart(daemon, top):
    """Pools are as they were for the next daemon, even if this one was killed."""
    auto, brief = os.path.join(top, "auto"), os.path.join(top, "brief")
    daemon.virsh("pool-define-as", "auto", "dir", "--target", auto)
    daemon.virsh("pool-build", "auto")
    daemon.virsh("pool-autostart", "auto")
    daemon.virsh("pool-define-as", "idle", "dir", "--target", os.path.join(top, "idle"))
    daemon.virsh("pool-create", write(os.path.join(top, "pool.xml"), POOL.format("brief", brief)),
                 "--build")
    daemon.virsh("pool-refresh", "work")
    volumes = daemon.said("vol-list", "work", "--details")
    uuid = daemon.said("pool-uuid", "idle")
    daemon.stop(signal.SIGKILL)
    daemon.start()
    states = dict(re.findall(r"^ (\w+) +(active|inactive) ", daemon.said("pool-list", "--all"), re.M))
    assert states == {"auto": "active", "brief": "active", "idle": "inactive", "images": "active",
                      "work": "active"}, states
    assert daemon.said("vol-list", "work", "--details") == volumes
    assert daemon.said("pool-uuid", "idle") == uuid
    assert "brief" in daemon.said("pool-list", "--transient")
    for name in ("brief", "work"):
        daemon.virsh("pool-destroy", name)
    daemon.stop()
    daemon.start()
    assert "brief" not in daemon.said("pool-list", "--all")
    assert "State:          inactive" in daemon.said("pool-info", "work")


def check_ends_while_busy(daemon, top):
    """A copy under way does not hold up the daemon's end, and leaves nothing behind."""
    folder = os.path.join(top, "auto")
    with open(os.path.join(folder, "big"), "wb") as file:
        for _ in range(16):
            file.write(os.urandom(1 << 20) * 8)
    daemon.virsh("pool-refresh", "auto")
    clone = threading.Thread(target=daemon.virsh, args=("vol-clone", "big", "copy", "auto"),
                             kwargs={"check": False, "noted": False})
    clone.start()
    daemon.wait(lambda: os.path.exists(os.path.join(folder, "copy")), "the copy has begun")
    time.sleep(0.05)
    daemon.stop()
    clone.join()
    copied = os.path.exists(os.path.join(folder, "copy"))
    assert not copied or os.stat(os.path.join(folder, "copy")).st_blocks * 512 >= 128 << 20
    daemon.start()


def main():
    with Daemon() as daemon:
        top = os.path.join(daemon.top, "pools")
        images, work = os.path.join(top, "images"), os.path.join(top, "work")
        os.makedirs(top)
        check_pool_life(daemon, top)
        check_pool_refusals(daemon, top)
        check_transient(daemon, top)
        for name, path in (("images", images), ("work", work)):
            daemon.virsh("pool-define-as", name, "dir", "--target", path)
            daemon.virsh("pool-build", name)
            daemon.virsh("pool-start", name)
        check_formats(daemon, images)
        check_odd_files(daemon, images)
        check_watch(daemon, images)
        check_create(daemon, top, work)
        check_clone(daemon, top, work)
        check_change(daemon, work)
        check_streams(daemon, top, work)
        check_stream_ends(daemon)
        check_python(daemon, work)
        check_events(daemon, top)
        check_restart(daemon, top)
        check_ends_while_busy(daemon, top)
        missing = set(COVERS.split()) - daemon.called()
        assert not missing, f"not called: {missing}"


main()
