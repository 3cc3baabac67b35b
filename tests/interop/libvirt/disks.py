#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Disks that are no files: of QEMU's NBD server, a web server, a storage pool; images that QEMU encrypted."""
import base64
import contextlib
import glob
import hashlib
import os
import re
import signal
import socket
import subprocess
import sys

from private import Daemon

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path += [os.path.join(HERE, "..", "remote"), os.path.join(HERE, "..", "qemu-img"), os.path.join(HERE, "..", "..", "lib")]
import guest as testlib  # noqa: E402
from peer import THEIRS, run  # noqa: E402
import web  # noqa: E402

COVERS = "DOMAIN_GET_DISK_ERRORS"
SIZE = 1 << 20
PASSWORDS = {"luks": "sesame, open\x01", "web": "guest pass", "hot": "hot and secret"}
UUIDS = {name: f"0a81f5b2-8403-7b23-c8d6-21ccc2f80e0{n}" for n, name in enumerate(PASSWORDS)}
XML = """<domain type='qemu'>
  <name>disks</name><memory unit='MiB'>256</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type><kernel>{kernel}</kernel><initrd>{initrd}</initrd>
    <cmdline>console=ttyS0 quiet panic=-1 berth.modules=virtio_pci,virtio_blk,ahci,sd_mod,sr_mod,button</cmdline></os>
  <features><acpi/><apic/></features>
  <devices>{disks}<serial type='pty'/><console type='pty'/></devices>
</domain>"""


def disk(source, target, kind="network", image="raw", device="disk", rest=""):
    bus = "sata" if target.startswith("sd") else "virtio"
    return (f"<disk type='{kind}' device='{device}'><driver name='qemu' type='{image}'/>{source}"
            f"<target dev='{target}' bus='{bus}'/>{rest}</disk>")


def encryption(secret):
    return f"<encryption format='luks'><secret type='passphrase' {secret}/></encryption>"


def write(daemon, name, text):
    path = os.path.join(daemon.top, name)
    with open(path, "w") as file:
        file.write(text)
    return path


def data_of(name):
    return hashlib.shake_128(name.encode()).digest(SIZE)


def make_image(folder, name, image, password):
    """An image that QEMU has encrypted, with the data of its name."""
    raw, path, key = (os.path.join(folder, name + end) for end in (".raw", "." + image, ".key"))
    with open(raw, "wb") as file:
        file.write(data_of(name))
    with open(key, "w") as file:
        file.write(password)
    secret, prefix = ["--object", f"secret,id=s,file={key}"], "encrypt." if image == "qcow2" else ""
    options = f"{prefix}key-secret=s,{prefix}iter-time=10" + (",encrypt.format=luks" if prefix else "")
    run(THEIRS, "create", "-q", *secret, "-f", image, "-o", options, path, SIZE)
    run(THEIRS, "convert", "-n", *secret, "--image-opts", "--target-image-opts",
        f"driver=raw,file.driver=file,file.filename={raw}",
        f"driver={image},{prefix}key-secret=s,file.driver=file,file.filename={path}")
    os.unlink(key)
    os.unlink(raw)
    return path


@contextlib.contextmanager
def nbd_server(name, *arguments, folder, below=""):
    """An image with the data of its name, served by qemu-nbd, which has it by the protocol `below`."""
    path = os.path.join(folder, name + ".nbd-raw")
    with open(path, "wb") as file:
        file.write(data_of(name))
    pid = path + ".pid"
    Daemon.run("qemu-nbd", "--fork", "--pid-file", pid, "--persistent", "--shared=0", "-f", "raw", "-x", name,
               *arguments, below + path)
    try:
        yield
    finally:
        with open(pid) as file:
            os.kill(int(file.read()), signal.SIGKILL)


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def make_certificates(folder):
    os.mkdir(folder)
    path = lambda name: os.path.join(folder, name)
    for name, text in (("ca", "cn = test\nca\ncert_signing_key\n"),
                       ("server", "cn = localhost\ndns_name = localhost\ntls_www_server\n"),
                       ("client", "cn = client\ntls_www_client\n")):
        with open(path(name + ".info"), "w") as info:
            info.write(text)
        kind = ["--generate-self-signed"] if name == "ca" else \
            ["--generate-certificate", "--load-ca-certificate", path("ca-cert.pem"), "--load-ca-privkey",
             path("ca-key.pem")]
        for words in (["--generate-privkey", "--key-type=ecdsa", "--outfile", path(name + "-key.pem")],
                      [*kind, "--load-privkey", path(name + "-key.pem"), "--template", path(name + ".info"),
                       "--outfile", path(name + "-cert.pem")]):
            subprocess.run(["certtool", *words], check=True, capture_output=True)
    return folder


def fails(daemon, words, *args):
    result = daemon.virsh(*args, check=False)
    assert result.returncode != 0 and words in result.stdout, f"{args}: {result.stdout}"


def define_secrets(daemon):
    for name, use in (("luks", "<usage type='volume'><volume>/luks</volume></usage>"),
                      ("web", "<usage type='iscsi'><target>web</target></usage>"), ("hot", "")):
        xml = f"<secret ephemeral='yes' private='yes'><uuid>{UUIDS[name]}</uuid>{use}</secret>"
        daemon.virsh("secret-define", write(daemon, "secret.xml", xml))


def set_secret(daemon, name, value=None):
    path = write(daemon, "value", value or PASSWORDS[name])
    daemon.virsh("secret-set-value", UUIDS[name], "--plain", "--file", path)
    os.unlink(path)


def read_in(guest, device, name):
    guest.run(f"n=0; until head -c 1 {device} >/dev/null 2>&1 || [ $n = 300 ]; do "
              "n=$((n + 1)); usleep 100000; done", 120)
    said = guest.run(f"sha256sum {device}", 60)
    assert hashlib.sha256(data_of(name)).hexdigest() in said, f"{device} is not {name}: {said}"


def sata_disk(guest, port):
    """The guest looks at all ports at the same time: the names of disks say nothing."""
    pattern = f"/sys/devices/pci*/*/ata{port + 1}/host*/target*/*/block/*"
    guest.run(f"n=0; until ls -d {pattern} || [ $n = 300 ]; do n=$((n + 1)); usleep 100000; done", 120)
    return "/dev/" + re.search(r"block/(sd[a-z])", guest.run(f"ls -d {pattern}", 60))[1]


def check_nothing_leaks(daemon):
    """Neither a command line nor a file of the daemon's has a secret in it, in clear text or base64."""
    words = [form for text in PASSWORDS.values() for form in (text.encode(), base64.b64encode(text.encode()))]
    with open(glob.glob(os.path.join(daemon.top, "state", "run", "*", "pid"))[0]) as file:
        pid = file.read().strip()
    paths = [f"/proc/{pid}/cmdline", f"/proc/{pid}/environ"]
    for folder, _, names in os.walk(daemon.top):
        paths += [os.path.join(folder, name) for name in names]
    for path in paths:
        if os.path.isfile(path):
            with open(path, "rb") as file:
                text = file.read()
            assert not any(word in text for word in words), path


def check_refusals(daemon, luks):
    def refused(words, *args, **more):
        fails(daemon, words, "attach-device", "disks", write(daemon, "x.xml", disk(*args, **more)), "--config")
    host = "<host name='localhost'/>"
    nbd = f"<source protocol='nbd'>{host}</source>"
    refused("protocol 'gluster'", f"<source protocol='gluster' name='a'>{host}</source>", "vdx")
    refused("no <auth>", nbd, "vdx", rest="<auth username='a'><secret type='iscsi' usage='b'/></auth>")
    refused("has no query", f"<source protocol='nbd' query='a'>{host}</source>", "vdx")
    refused("has no tls", f"<source protocol='http' name='a' tls='yes'>{host}</source>", "vdx")
    refused("transport 'tcp' needs a name", "<source protocol='nbd'><host/></source>", "vdx")
    refused("TARGET/LUN", f"<source protocol='iscsi' name='iqn.a/256'>{host}</source>", "vdx")
    refused("POOL/IMAGE", f"<source protocol='rbd' name='a'>{host}</source>", "vdx")
    refused("secret type 'iscsi': there is ceph", f"<source protocol='rbd' name='a/b'>{host}</source>", "vdx",
            rest="<auth username='a'><secret type='iscsi' usage='b'/></auth>")
    refused("has no file=", "<source file='/a' pool='b' volume='c'/>", "vdx", kind="volume")
    refused("encryption format 'qcow'", f"<source file='{luks}'/>", "vdx", kind="file",
            rest="<encryption format='qcow'><secret type='passphrase' usage='a'/></encryption>")
    refused("there is raw, qcow2", f"<source file='{luks}'/>", "vdx", kind="file", image="vmdk",
            rest=encryption("usage='a'"))
    fails(daemon, "cannot be hotplugged", "attach-device", "disks",
          write(daemon, "x.xml", disk(nbd, "sdx")), "--live")
    fails(daemon, "on a server", "snapshot-create-as", "disks", "s", "--disk-only")
    fails(daemon, "it is encrypted", "blockcopy", "disks", "sdb", os.path.join(daemon.top, "copy"), "--wait")
    fails(daemon, "stands on no command line", "domxml-to-native", "qemu-argv", "--domain", "disks")


def check_protocols(daemon):
    """The VMM understands what it is told of each kind of server: only that nobody answers there."""
    port = free_port()
    host = f"<host name='127.0.0.1' port='{port}'/>"
    login = f"<auth username='u'><secret type='iscsi' uuid='{UUIDS['hot']}'/></auth>"
    for protocol, name, more, words in (
            ("iscsi", "iqn.2020-01.org.example:a/3",
             "<initiator><iqn name='iqn.2020-01.org.example:b'/></initiator>" + login, "iscsi_service failed"),
            ("nfs", "/a/b", "<identity user='+1' group='2'/>", "nfs_service failed"),
            ("ssh", "/a", "", "Connection refused"), ("ftp", "a", "", "onnect"),
            ("https", "a", "<ssl verify='no'/>" + login, "onnect")):
        source = f"<source protocol='{protocol}' name='{name}'>{host}{more}</source>"
        xml = write(daemon, "x.xml", disk(source, "vdy", rest="<readonly/>"))
        said = daemon.virsh("attach-device", "disks", xml, "--live", check=False).stdout
        assert re.search(f"cannot open '{protocol}://127.0.0.1.*{words}", said), said


def check_sizes(daemon):
    for target in ("vda", "sdb", "vdd", "sdc"):
        assert f"Capacity:       {SIZE}" in daemon.said("domblkinfo", "disks", target), target
    assert int(re.search(r"vda rd_bytes (\d+)", daemon.said("domblkstat", "disks", "vda"))[1]) >= SIZE
    stats = daemon.said("domstats", "disks", "--block")
    assert "block.count=6" in stats and "block.0.rd.bytes" in stats and "block.3.path" in stats, stats


def check_hot_plug(daemon, guest, folder, socket_path):
    hot = make_image(folder, "hot", "luks", PASSWORDS["hot"])
    key = encryption(f"uuid='{UUIDS['hot']}'")
    xml = write(daemon, "hot.xml", disk(f"<source file='{hot}'>{key}</source>", "vdh", kind="file"))
    fails(daemon, "does not have a value", "attach-device", "disks", xml, "--live")
    set_secret(daemon, "hot", "wrong")
    fails(daemon, "blockdev-add", "attach-device", "disks", xml, "--live")
    set_secret(daemon, "hot")
    check_protocols(daemon)
    for _ in range(2):
        daemon.virsh("attach-device", "disks", xml, "--live")
        read_in(guest, "/dev/vdd", "hot")
        check_nothing_leaks(daemon)
        daemon.virsh("detach-device", "disks", xml, "--live")
        guest.run("[ ! -e /dev/vdd ]", 60)
    daemon.virsh("attach-disk", "disks", "unix", "vdh", "--sourcetype", "network", "--source-protocol", "nbd",
                 "--source-host-transport", "unix", "--source-host-socket", socket_path, "--live")
    read_in(guest, "/dev/vdd", "unix")
    assert re.search("network +disk +vdh +unix", daemon.said("domblklist", "disks", "--details"))
    daemon.virsh("detach-disk", "disks", "vdh", "--live")


def check_errors(daemon, guest, folder):
    """A disk that is full for one write: the domain pauses, and which disk it was is told until it goes on."""
    config = write(daemon, "blkdebug", '[inject-error]\nevent = "none"\niotype = "write"\nerrno = "28"\nonce = "on"\n')
    path = os.path.join(folder, "full.sock")
    assert "No errors found" in daemon.said("domblkerror", "disks")
    with nbd_server("full", "-k", path, folder=folder, below=f"blkdebug:{config}:"):
        daemon.virsh("attach-disk", "disks", "full", "vdh", "--sourcetype", "network", "--source-protocol", "nbd",
                     "--source-host-transport", "unix", "--source-host-socket", path, "--live")
        read_in(guest, "/dev/vdd", "full")
        guest.send("dd if=/dev/zero of=/dev/vdd bs=4096 count=1 oflag=direct 2>/dev/null; echo written ''$?\n")
        daemon.wait(lambda: daemon.said("domstate", "disks", "--reason") == "paused (I/O error)", "it pauses")
        assert daemon.said("domblkerror", "disks") == "vdh: no space", daemon.said("domblkerror", "disks")
        daemon.virsh("resume", "disks")
        guest.expect("written 0", 60)
        assert "No errors found" in daemon.said("domblkerror", "disks")
        daemon.virsh("detach-disk", "disks", "vdh", "--live")


def check_backup(daemon, guest, certificates):
    """What a backup of pull mode shows, over TLS, is the disk of the moment when it began, whatever the guest does."""
    image, port = os.path.join(daemon.top, "fleece.qcow2"), free_port()
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, str(SIZE)], check=True)
    daemon.virsh("attach-disk", "disks", image, "vdi", "--subdriver", "qcow2", "--live")
    guest.run("n=0; until head -c 1 /dev/vdd >/dev/null 2>&1 || [ $n = 300 ]; do n=$((n + 1)); usleep 100000; done", 120)
    guest.run("head -c 1048576 /dev/vda > /dev/vdd; sync", 120)
    daemon.virsh("backup-begin", "disks", write(daemon, "pull.xml", f"""<domainbackup mode='pull'>
        <server transport='tcp' tls='yes' name='localhost' port='{port}'/>
        <disks><disk name='vdi'/></disks></domainbackup>"""))
    guest.run("head -c 1048576 /dev/vdc > /dev/vdd; sync", 120)
    copy = os.path.join(daemon.top, "fleece.raw")
    subprocess.run(["nbdcopy", f"nbds://localhost:{port}/vdi?tls-certificates={certificates}", copy], check=True)
    with open(copy, "rb") as file:
        assert file.read() == data_of("unix")
    daemon.virsh("domjobabort", "disks")
    daemon.wait(lambda: daemon.virsh("backup-dumpxml", "disks", check=False).returncode, "the backup's end")
    read_in(guest, "/dev/vdd", "volume")
    daemon.virsh("detach-disk", "disks", "vdi", "--live")


def check_restart(daemon):
    """What runs is as it was; what starts with the daemon finds its volume in a pool that starts too."""
    xml = XML.format(kernel="/nowhere", initrd="/nowhere", disks=disk("<source pool='pool' volume='plain'/>", "vda",
                                                                     kind="volume"))
    xml = re.sub("<kernel>.*?</cmdline>", "", xml.replace("<name>disks", "<name>auto"), flags=re.S)
    daemon.virsh("define", write(daemon, "auto.xml", xml))
    daemon.virsh("autostart", "auto")
    for command in ("start", "domblkinfo"):
        fails(daemon, "no storage vol with matching name 'plain'", command, "auto", *["vda"][:command != "start"])
    daemon.virsh("vol-create-as", "pool", "plain", "1M")
    assert f"Capacity:       {SIZE}" in daemon.said("domblkinfo", "auto", "vda")
    before = daemon.said("dumpxml", "disks")
    daemon.stop()
    daemon.start()
    daemon.wait(lambda: daemon.said("domstate", "auto") == "running", "the domain starts by itself")
    daemon.virsh("destroy", "auto")
    assert daemon.said("dumpxml", "disks") == before
    daemon.wait(lambda: f"Capacity:       {SIZE}" in daemon.virsh("domblkinfo", "disks", "vdd",
                                                                check=False).stdout, "the volume is known")


def prepare(daemon):
    """Certificates where the configuration says that they are, and the pool's folder."""
    os.mkdir(os.path.join(daemon.top, "pool"))
    tls = make_certificates(os.path.join(daemon.top, "tls"))
    write(daemon, "berthd.conf", f'nbd_tls_x509_cert_dir = "{tls}"\n')
    daemon.arguments += ("--config", os.path.join(daemon.top, "berthd.conf"))


def main():
    kernel, initrd = testlib.kernel("generic")
    with Daemon(prepare=prepare) as daemon, contextlib.ExitStack() as stack:
        pool, sockets = os.path.join(daemon.top, "pool"), os.path.join(daemon.top, "nbd.sock")
        usage = "usage='/luks'"
        luks = make_image(daemon.top, "luks", "luks", PASSWORDS["luks"])
        make_image(pool, "volume", "qcow2", PASSWORDS["luks"])
        port = free_port()
        creds = ["--object", f"tls-creds-x509,id=t,dir={daemon.top}/tls,endpoint=server", "--tls-creds", "t"]
        stack.enter_context(nbd_server("unix", "-k", sockets, folder=daemon.top))
        stack.enter_context(nbd_server("tls", "-b", "127.0.0.1", "-p", str(port), *creds, folder=daemon.top))
        server = web.Web(data_of("web"))
        server.user = "fred:" + PASSWORDS["web"]
        stack.enter_context(web.running(server))
        define_secrets(daemon)
        daemon.virsh("pool-define-as", "pool", "dir", "--target", pool)
        daemon.virsh("pool-start", "pool")
        daemon.virsh("pool-autostart", "pool")
        nbd = f"<source protocol='nbd' name='tls' tls='yes' tlsHostname='localhost'>"\
              f"<host name='127.0.0.1' port='{port}'/></source>"
        disks = [disk(f"<source protocol='nbd' name='unix'><host transport='unix' socket='{sockets}'/></source>", "vda"),
                 disk(nbd, "vdb"),
                 disk(f"<source file='{luks}'>{encryption(usage)}</source>", "sdb", kind="file"),
                 disk("<source pool='pool' volume='volume.qcow2'/>", "vdd", kind="volume", image="qcow2",
                      rest=encryption(usage)),
                 disk(nbd, "sda"),
                 disk(f"<source protocol='http' name='image'><host name='127.0.0.1' port='{server.server_port}'/>"
                      f"<auth username='fred'><secret type='iscsi' usage='web'/></auth></source>", "sdc",
                      device="cdrom")]
        daemon.virsh("define", write(daemon, "disks.xml",
                                     XML.format(kernel=kernel, initrd=initrd, disks="".join(disks))))
        fails(daemon, "does not have a value", "start", "disks")
        set_secret(daemon, "luks")
        set_secret(daemon, "web")
        daemon.virsh("start", "disks")
        with testlib.Guest(["script", "-qfec", f"virsh -c '{daemon.uri()}' console disks --force",
                            "/dev/null"]) as guest:
            guest.expect("guest# ", 300)
            guest.send("stty -echo\n")
            for device, name in (("/dev/vda", "unix"), ("/dev/vdb", "tls"), (sata_disk(guest, 1), "luks"),
                                 ("/dev/vdc", "volume"), (sata_disk(guest, 0), "tls"), ("/dev/sr0", "web")):
                read_in(guest, device, name)
            check_nothing_leaks(daemon)
            check_sizes(daemon)
            check_refusals(daemon, luks)
            check_hot_plug(daemon, guest, daemon.top, sockets)
            check_errors(daemon, guest, daemon.top)
            check_backup(daemon, guest, os.path.join(daemon.top, "tls"))
        check_restart(daemon)
        daemon.virsh("destroy", "disks")
        fails(daemon, "domain is not running", "domblkerror", "disks")
        missing = set(COVERS.split()) - daemon.called()
        assert not missing, f"not called: {missing}"


main()
