#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Images on real servers, on the loopback: web and FTP, OpenSSH, tgt (iSCSI), NFS-Ganesha, Ceph.

A server that can be written to gets the same writes, through berth-img serve, as a local image does
through qemu-nbd; afterwards the bytes that the server has are compared with that by qemu-img.
"""
import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../qemu-img"))
from peer import THEIRS, Failed, ours, run  # noqa: E402
from guest import Qmp, free_port, main, program, temporary_folder  # noqa: E402
from domain import check_domain  # noqa: E402
from web import Ftp, Web, encrypt, running  # noqa: E402

MIB = 1 << 20
SIZE = 24 * MIB


def refused(pattern, *args, env=None):
    """berth-img fails, and says that."""
    done = subprocess.run([ours(), *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          stdin=subprocess.DEVNULL, timeout=120, env=env)
    if done.returncode == 0 or not re.search(pattern, done.stdout):
        raise Failed(f"{' '.join(args)}: '{pattern}' is not in: {done.stdout}")


def until(ready, what):
    deadline = time.monotonic() + 60
    while not ready():
        if time.monotonic() > deadline:
            raise Failed(f"{what} does not come up")
        time.sleep(0.05)


@contextlib.contextmanager
def started(*command, **more):
    """A server's process."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               start_new_session=True, **more)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def listens(port):
    def look():
        with open("/proc/net/tcp") as v4, open("/proc/net/tcp6") as v6:
            return any(f":{port:04X} " in line and " 0A " in line for line in [*v4, *v6])
    return look


# --- writable servers -------------------------------------------------------------------------------

def random_writes(seed):
    """Commands of qemu-io: writes of every alignment, zeroes, discards and flushes."""
    rng = random.Random(seed)
    for turn in range(60):
        offset, length = rng.randrange(SIZE - MIB), rng.choice([700, 4096, 65536, 300000])
        what = rng.choice(["write -P %d" % (turn + 1)] * 4 + ["write -z", "write -z -u", "flush"])
        yield what if what == "flush" else f"{what} {offset} {length}"
    yield "flush"


def write_by(server, image, folder, seed):
    """Run the commands on a server of NBD that is started for it."""
    socket = os.path.join(folder, "nbd")
    with started(*server, "-t", "-f", "qcow2", "-k", socket, image) as process:
        until(lambda: os.path.exists(socket), server[0])
        commands = [word for command in random_writes(seed) for word in ("-c", command)]
        done = run("qemu-io", "-f", "raw", *commands, f"nbd+unix:///?socket={socket}")
        if "error" in done.out + done.err:
            raise Failed(f"{image}: {done.out}{done.err}")
        process.terminate()  # who is killed leaves a lock in a Ceph cluster for half a minute
        process.wait(60)
    if os.path.exists(socket):
        os.unlink(socket)


def check_creation(url, behind, folder, fetch=lambda: None, remove=None):
    """`url` does not exist. At the end it is a raw file of 32 MiB."""
    raw = os.path.join(folder, "odd")
    with open(raw, "wb") as file:
        file.write(random.Random(4).randbytes(3 * MIB + 512))
        file.truncate(5 * MIB)
    run(ours(), "convert", "-f", "raw", "-O", "raw", raw, url)
    fetch()
    run("cmp", raw, behind)
    if remove:
        refused("convert -n.*File exists", "create", "-f", "raw", url, "1M")
        remove()
    run(ours(), "convert", "-f", "raw", "-O", "qcow2", "-o", "cluster_size=16k", raw, url)
    fetch()
    run(THEIRS, "check", "-q", "-f", "qcow2", behind)
    run(THEIRS, "compare", "-q", "-f", "raw", "-F", "qcow2", raw, behind)
    if remove:
        remove()
    refused("has no option 'preallocation'", "create", "-f", "raw", "-o", "preallocation=full", url, "1M")
    run(ours(), "create", "-q", "-f", "raw", url, 32 * MIB)
    fetch()
    with open(behind, "rb") as file:
        if file.read() != bytes(32 * MIB):
            raise Failed(f"{url}: what was made is no 32 MiB of zeroes")


def check_interrupt(url, is_there, folder):
    """Who is interrupted leaves nothing on the server, and dies of the signal."""
    raw = os.path.join(folder, "odd")
    for sign in (signal.SIGINT, signal.SIGTERM):
        with subprocess.Popen([ours(), "convert", "-r", "200k", "-f", "raw", "-O", "raw", raw, url],
                              stderr=subprocess.PIPE, text=True) as copy:
            until(lambda: is_there() or copy.poll() is not None, url)
            copy.send_signal(sign)
            said = copy.communicate(timeout=60)[1]
        if copy.returncode != -sign or is_there() or "interrupted" not in said:
            raise Failed(f"{url}: interrupted, status {copy.returncode}, is there: {is_there()}: {said}")


def check_writable(url, behind, folder, fetch=lambda: None, remove=lambda: None):
    """`url` is a raw file of 32 MiB, whose bytes are in `behind`, perhaps only after fetch()."""
    raw = os.path.join(folder, "random")
    with open(raw, "wb") as file:
        file.write(random.Random(1).randbytes(3 * MIB + 512))
    run(ours(), "convert", "-n", "-f", "raw", "-O", "raw", raw, url)
    fetch()
    run("cmp", "-n", 3 * MIB + 512, raw, behind)
    twin = os.path.join(folder, "twin.qcow2")
    remove()
    run(ours(), "create", "-q", "-f", "qcow2", url, SIZE)
    run(THEIRS, "create", "-q", "-f", "qcow2", twin, SIZE)
    write_by([ours(), "serve", "--discard=unmap"], url, folder, 2)
    write_by(["qemu-nbd", "--discard=unmap"], twin, folder, 2)
    fetch()
    run(THEIRS, "check", "-q", "-f", "qcow2", behind)
    run(THEIRS, "compare", "-q", "-f", "qcow2", "-F", "qcow2", behind, twin)
    run(ours(), "check", "-q", "-f", "qcow2", url)
    run(ours(), "compare", "-q", "-f", "qcow2", "-F", "qcow2", url, twin)


def create_by_monitor(location, behind, folder):
    """A machine makes a file on an SSH server, and an image in it."""
    socket = os.path.join(folder, "qmp")
    with started(program("berth-vmm"), "-accel", "soft", "-display", "none", "-S", "-nodefaults", "-qmp",
                 f"unix:{socket},server=on,wait=off"):
        qmp = Qmp(socket, 60)

        def create(error, **options):
            qmp.call("blockdev-create", job_id="j", options=options)
            until(lambda: qmp.call("query-jobs")[0]["status"] == "concluded", "the job's end")
            if not re.search(error or "^$", qmp.call("query-jobs")[0].get("error", "")):
                raise Failed(f"blockdev-create {options}: {qmp.call('query-jobs')}")
            qmp.call("job-dismiss", id="j")
        create("ssh has no option 'nocow'", driver="ssh", location=location, size=0, nocow=True)
        create(None, driver="ssh", location=location, size=0)
        qmp.call("blockdev-add", exact={"driver": "ssh", "node-name": "f", **location})
        create(None, driver="qcow2", file="f", size=SIZE)
        qmp.call("quit")
        qmp.close()
    if json.loads(run(THEIRS, "info", "--output=json", behind).out)["virtual-size"] != SIZE:
        raise Failed("blockdev-create has made something else")


def ssh():
    with temporary_folder() as folder, contextlib.ExitStack() as stack:
        place = lambda name: os.path.join(folder, name)  # noqa: E731
        for key in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", place(key)], check=True)
        port = free_port()
        with open(place("config"), "w") as config:
            config.write(f"Port {port}\nListenAddress 127.0.0.1\nHostKey {place('host')}\n"
                         f"AuthorizedKeysFile {place('user.pub')}\nStrictModes no\nUsePAM no\n"
                         f"PidFile none\nPermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\n")
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", exist_ok=True)
        stack.enter_context(started("/usr/sbin/sshd", "-D", "-f", place("config")))
        until(listens(port), "sshd")
        stack.enter_context(started("ssh-agent", "-D", "-a", place("agent")))
        until(lambda: os.path.exists(place("agent")), "ssh-agent")
        os.environ["SSH_AUTH_SOCK"] = place("agent")
        base = f"ssh://127.0.0.1:{port}{place('disk')}"
        refused("takes none of your keys", "create", "-f", "raw", base + "?host_key_check=no", "1M")
        refused("takes none of your keys", "info", base + "?host_key_check=no")
        subprocess.run(["ssh-add", "-q", place("user")], check=True)
        check_creation(f"{base}?host_key_check=no", place("disk"), folder)
        check_interrupt(f"{base}-2?host_key_check=no", lambda: os.path.exists(place("disk-2")), folder)
        refused("Could not create 'ssh:.*No such file", "create", "-f", "raw",
                base.replace("disk", "none/disk") + "?host_key_check=no", "1M")
        refused("known_hosts", "info", base)
        refused("has the hash [0-9a-f]{64}, not 00", "info", base + "?host_key_check=sha256:00")
        refused("no parameter 'color'", "info", base + "?host_key_check=no&color=red")
        refused("No such file", "info", base + "x?host_key_check=no")
        refused("no option 'speed'", "info", "--image-opts", "driver=raw,file.driver=ssh,file.speed=9,"
                f"file.server.host=127.0.0.1,file.server.port={port},file.path={place('disk')},"
                "file.host-key-check.mode=none")
        md5 = subprocess.run(["ssh-keygen", "-E", "md5", "-lf", place("host")], check=True, text=True,
                             stdout=subprocess.PIPE).stdout.split()[1].removeprefix("MD5:")
        check_writable(f"{base}?host_key_check=md5:{md5}", place("disk"), folder)
        create_by_monitor({"server": {"host": "127.0.0.1", "port": str(port)}, "path": place("made"),
                           "host-key-check": {"mode": "none"}}, place("made"), folder)
        del os.environ["SSH_AUTH_SOCK"]


def iscsi():
    with temporary_folder() as folder, contextlib.ExitStack() as stack:
        port, control = free_port(), str(os.getpid() % 30000)
        target, lun = "iqn.2026-01.test:disk", os.path.join(folder, "lun")
        with open(lun, "wb") as disk:
            disk.truncate(32 * MIB)

        def admin(*args):
            return subprocess.run(["tgtadm", "-C", control, "--lld", "iscsi", *args], text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT).returncode == 0
        stack.enter_context(started("tgtd", "-f", "-C", control, "--iscsi", f"portal=127.0.0.1:{port}"))
        until(lambda: admin("--op", "new", "--mode", "target", "--tid", "1", "-T", target), "tgtd")
        for step in (["new", "--mode", "logicalunit", "--lun", "1", "-b", lun],
                     ["update", "--mode", "logicalunit", "--lun", "1", "--params", "thin_provisioning=1"],
                     ["bind", "--mode", "target", "-I", "127.0.0.1"]):
            if not admin("--op", *step, "--tid", "1"):
                raise Failed(f"tgtadm: {step}")
        url = f"iscsi://127.0.0.1:{port}/{target}/1"
        refused("has 33554432 bytes, and 34603008 are needed", "create", "-f", "raw", url, "33M")
        check_writable(url, lun, folder)
        check_domain(f"<source protocol='iscsi' name='{target}/1'>"
                     f"<host name='127.0.0.1' port='{port}'/></source>", lun)
        refused("LUN|LOGICAL", "info", f"iscsi://127.0.0.1:{port}/{target}/7")
        if not admin("--op", "new", "--mode", "account", "--user", "ann", "--password", "secretsecret12") or \
                not admin("--op", "bind", "--mode", "account", "--tid", "1", "--user", "ann"):
            raise Failed("tgtadm: account")
        refused("cannot open 'iscsi:", "info", url)
        options = f"driver=iscsi,transport=tcp,portal=127.0.0.1:{port},target={target},lun=1,user=ann"
        options += ",password-secret=s,initiator-name=iqn.2026-01.test:berth,header-digest=crc32c"
        for secret, good in (("secretsecret12", True), ("wrong-secret-x", False)):
            args = ["info", "--object", f"secret,id=s,data={secret}", "--image-opts", options]
            if good:
                run(ours(), *args)
            else:
                refused("cannot open 'iscsi:", *args)


def nfs():
    """In namespaces of its own: the server must find the port of a portmapper."""
    if os.geteuid() != 0:
        return "rpcbind and NFS-Ganesha need root"
    if not os.environ.get("BERTH_NFS_INSIDE"):
        done = subprocess.run(["unshare", "-nm", sys.executable, os.path.abspath(__file__), "nfs"], text=True,
                              env=os.environ | {"BERTH_NFS_INSIDE": "1"}, stdout=subprocess.PIPE)
        if done.returncode:
            raise Failed(done.stdout)
        return None
    run("mount", "-t", "tmpfs", "none", "/run")
    run("ip", "link", "set", "lo", "up")
    with temporary_folder() as folder, contextlib.ExitStack() as stack:
        export = os.path.join(folder, "export")
        os.mkdir(export)
        disk = os.path.join(export, "disk")
        with open(os.path.join(folder, "config"), "w") as config:
            config.write(
                "NFS_CORE_PARAM { MNT_Port = 2050; Enable_NLM = false; Enable_RQUOTA = false;"
                " Protocols = 3, 4; }\n"
                f"NFSV4 {{ Graceless = true; RecoveryRoot = {folder}; }}\n"
                "NFS_KRB5 { Active_krb5 = false; }\n"
                f"EXPORT {{ Export_Id = 1; Path = {export}; Pseudo = /export; Access_Type = RW; Squash ="
                " No_Root_Squash; SecType = sys; Transports = TCP; Protocols = 3, 4; FSAL { Name = VFS; } }\n")
        stack.enter_context(started("rpcbind", "-f"))
        until(listens(111), "rpcbind")
        stack.enter_context(started("ganesha.nfsd", "-F", "-f", os.path.join(folder, "config"), "-L",
                                    os.path.join(folder, "log"), "-p", os.path.join(folder, "pid")))
        until(listens(2050), "ganesha.nfsd")
        url = f"nfs://127.0.0.1{export}/disk"
        until(lambda: run(ours(), "create", "-f", "raw", url + "-first", MIB, status=None).status == 0,
              "the export")
        check_creation(url, disk, folder)
        check_interrupt(url + "-2", lambda: os.path.exists(disk + "-2"), folder)
        refused("Could not create 'nfs:.*(NOENT|ACCES)", "create", "-f", "raw",
                f"nfs://127.0.0.1{export}/none/x", "1M")
        check_writable(url, disk, folder)
        version4 = "nfs://127.0.0.1/export/disk-4?version=4&nfsport=2049"
        check_creation(version4, disk + "-4", folder)
        check_interrupt(version4.replace("disk-4", "disk-5"), lambda: os.path.exists(disk + "-5"), folder)
        check_writable(version4, disk + "-4", folder)
        check_domain(f"<source protocol='nfs' name='{export}/disk'><host name='127.0.0.1'/></source>", disk)
        # Out of order and at the same time: each connection has files open of its own.
        raw = os.path.join(folder, "random")
        run(ours(), "convert", "-n", "-W", "-m", "8", "-f", "raw", "-O", "raw", raw, version4)
        run("cmp", "-n", os.path.getsize(raw), raw, disk + "-4")
        run(ours(), "resize", "-q", "-f", "raw", "--shrink", url, MIB)
        if os.path.getsize(disk) != MIB:
            raise Failed("the file on the server has another size")
        refused("NOENT", "info", f"nfs://127.0.0.1{export}/none")
        refused("user is at most", "info", url + "?uid=99999999999")
    return None


# --- servers that are only read -----------------------------------------------------------------------

def image_of(folder):
    """A qcow2 image's bytes, and its path."""
    raw, image = os.path.join(folder, "raw"), os.path.join(folder, "image.qcow2")
    with open(raw, "wb") as file:
        file.write(random.Random(3).randbytes(3 * MIB))
        file.truncate(SIZE)
    run(THEIRS, "convert", "-f", "raw", "-O", "qcow2", raw, image)
    with open(image, "rb") as file:
        return file.read(), image


def http():
    with temporary_folder() as folder:
        data, image = image_of(folder)
        server = Web(data)
        with running(server) as port:
            base = f"http://127.0.0.1:{port}"
            for url in (f"{base}/image", f"{base}/moved",
                        json.dumps({"driver": "qcow2", "file.driver": "http", "file.url": f"{base}/image",
                                    "file.readahead": 65536, "file.timeout": 20}).join(["json:", ""])):
                run(ours(), "compare", "-q", "-U", url, image)
            server.asked.clear()
            run(ours(), "convert", "-O", "raw", f"{base}/image", os.path.join(folder, "out"))
            if len(server.asked) > 40:
                raise Failed(f"{len(server.asked)} requests for 3 MiB: no bytes are read ahead")
            overlay = os.path.join(folder, "over.qcow2")
            run(ours(), "create", "-q", "-f", "qcow2", "-b", f"{base}/image", "-F", "qcow2", overlay)
            run(ours(), "compare", "-q", overlay, image)
            refused("404", "info", f"{base}/nothing")
            refused("driver 'http' does not support image creation", "create", "-f", "raw",
                    f"{base}/new", "1M")
            refused("can only be read", "resize", "-f", "raw", f"{base}/image", "+1M")
            refused("something else|[Cc]annot|failed", "convert", "-O", "raw", f"{base}/lies", overlay + "x")
            refused("no option 'colour'", "info", "--image-opts",
                    f"driver=http,url={base}/image,colour=red")
            refused("multiple of 512", "info", "--image-opts", f"driver=http,url={base}/image,readahead=5")
            server.cookie = "a=b"
            refused("403", "info", f"{base}/image")
            run(ours(), "info", "--image-opts", f"driver=qcow2,file.driver=http,file.url={base}/image,"
                "file.cookie=a=b")
            server.cookie, server.user = None, "ann:secret"
            login = f"driver=qcow2,file.driver=http,file.url={base}/image,file.username=ann," \
                "file.password-secret=s"
            run(ours(), "info", "--object", "secret,id=s,data=secret", "--image-opts", login)
            refused("401", "info", "--object", "secret,id=s,data=wrong", "--image-opts", login)
            server.user, server.ranges = None, False
            refused("does not support 'range'", "info", f"{base}/image")


def https():
    with temporary_folder() as folder:
        data, image = image_of(folder)
        server = Web(data)
        encrypt(server, folder)
        with running(server) as port:
            url = f"https://127.0.0.1:{port}/image"
            refused("certificate", "info", url)
            run(ours(), "convert", "--image-opts", "-O", "qcow2",
                f"driver=qcow2,file.driver=https,file.url={url},file.sslverify=off",
                os.path.join(folder, "copy"))
            run(THEIRS, "compare", "-q", os.path.join(folder, "copy"), image)


def ftp():
    with temporary_folder() as folder:
        data, image = image_of(folder)
        with running(Ftp(data)) as port:
            run(ours(), "compare", "-q", f"ftp://127.0.0.1:{port}/image", image)
            refused("cannot open 'ftp", "info", f"ftp://127.0.0.1:{port}/nothing")
            check_domain(f"<source protocol='ftp' name='image'>"
                         f"<host name='127.0.0.1' port='{port}'/></source>", image, "qcow2", readonly=True)


def machine():
    """A running machine with a CD on a web server: what the monitor says of it."""
    with temporary_folder() as folder:
        data, _ = image_of(folder)
        with running(Web(data)) as port:
            url, socket = f"http://127.0.0.1:{port}/image", os.path.join(folder, "qmp")
            with started(program("berth-vmm"), "-accel", "soft", "-display", "none", "-S", "-nodefaults",
                         "-drive", f"file={url},if=virtio,readonly=on,id=d", "-qmp",
                         f"unix:{socket},server=on,wait=off"):
                qmp = Qmp(socket, 60)
                inserted = qmp.call("query-block")[0]["inserted"]
                if inserted["drv"] != "qcow2" or not inserted["ro"] or inserted["file"] != url:
                    raise Failed(f"query-block: {inserted}")
                qmp.call("blockdev-add", exact={"driver": "qcow2", "node-name": "n", "read-only": True,
                                                "file": {"driver": "http", "url": url}})
                qmp.call("blockdev-del", exact={"node-name": "n"})
                qmp.call("quit")
                qmp.close()


def ceph_configuration(folder, fsid, ports):
    """One monitor and one OSD that keeps its objects in memory; nobody logs in."""
    return (f"[global]\nfsid = {fsid}\nmon host = [v2:127.0.0.1:{ports[0]},v1:127.0.0.1:{ports[1]}]\n"
            "auth cluster required = none\nauth service required = none\nauth client required = none\n"
            "osd pool default size = 1\nosd pool default min size = 1\nosd crush chooseleaf type = 0\n"
            f"run dir = {folder}\nlog file = {folder}/$name.log\npid file = {folder}/$name.pid\n"
            f"admin socket = {folder}/$name.asok\nmon allow pool size one = true\n"
            "mon data avail crit = 0\npublic addr = 127.0.0.1\n"
            f"[mon.a]\nmon data = {folder}/mon\n[osd.0]\nosd data = {folder}/osd\n"
            "osd objectstore = memstore\nmemstore device bytes = 536870912\n")


def rbd_cluster():
    with temporary_folder() as folder, contextlib.ExitStack() as stack:
        conf, fsid, ports = os.path.join(folder, "conf"), str(uuid.uuid4()), [free_port(), free_port()]
        with open(conf, "w") as file:
            file.write(ceph_configuration(folder, fsid, ports))
        os.mkdir(os.path.join(folder, "osd"))

        def ceph(*args, status=0):
            return run("timeout", "60", "ceph", "-c", conf, *args, status=status)
        run("monmaptool", "--create", "--addv", "a", f"[v2:127.0.0.1:{ports[0]},v1:127.0.0.1:{ports[1]}]",
            "--fsid", fsid, os.path.join(folder, "monmap"))
        run("ceph-mon", "--mkfs", "-i", "a", "--monmap", os.path.join(folder, "monmap"), "-c", conf)
        stack.enter_context(started("ceph-mon", "-i", "a", "-f", "-c", conf))
        until(lambda: ceph("-s", status=None).status == 0, "ceph-mon")
        osd = str(uuid.uuid4())
        ceph("osd", "new", osd)
        run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd, "-c", conf)
        stack.enter_context(started("ceph-osd", "-i", "0", "-f", "-c", conf))
        until(lambda: "1 up" in ceph("osd", "stat").out, "ceph-osd")
        ceph("osd", "pool", "create", "p", "8")
        ceph("osd", "pool", "application", "enable", "p", "rbd")
        url, behind = f"rbd:p/disk:conf={conf}", os.path.join(folder, "export")

        def fetch():
            if os.path.exists(behind):
                os.unlink(behind)
            run("timeout", "60", "rbd", "-c", conf, "--no-progress", "export", "p/disk", behind)

        def remove():
            run("timeout", "60", "rbd", "-c", conf, "--no-progress", "rm", "p/disk")
        check_creation(url, behind, folder, fetch, remove)
        check_interrupt(f"rbd:p/other:conf={conf}", lambda: "other" in run(
            "timeout", "60", "rbd", "-c", conf, "ls", "p").out.split(), folder)
        check_writable(url, behind, folder, fetch, remove)
        check_domain(f"<source protocol='rbd' name='p/disk'><host name='127.0.0.1' port='{ports[1]}'/>"
                     f"<config file='{conf}'/></source>", behind)
        run(ours(), "create", "-q", "-f", "rbd", "-o", "cluster_size=1M", f"rbd:p/small:conf={conf}", MIB)
        if "order 20" not in run("timeout", "60", "rbd", "-c", conf, "info", "p/small").out:
            raise Failed("cluster_size is not the size of the image's objects")
        refused("power of two", "create", "-f", "rbd", "-o", "cluster_size=5M",
                f"rbd:p/odd:conf={conf}", "1M")
        was = os.path.getsize(behind)
        run("timeout", "60", "rbd", "-c", conf, "snap", "create", "p/disk@then")
        run(ours(), "resize", "-q", "-f", "raw", url, 40 * MIB)
        size = json.loads(run(ours(), "info", "--output=json", "-f", "raw", url).out)["virtual-size"]
        then = run(ours(), "info", "--output=json", "-f", "raw", f"rbd:p/disk@then:conf={conf}").out
        if size != 40 * MIB or json.loads(then)["virtual-size"] != was:
            raise Failed(f"sizes: {size}, {then}")
        refused("cannot open 'rbd:.*No such file", "info", f"rbd:p/none:conf={conf}")
        refused("pool 'q'", "info", f"rbd:q/disk:conf={conf}")


def rbd():
    """Without a cluster: names are taken apart, and what does not answer is an error."""
    refused("image.*timed out|cannot connect to the cluster", "info",
            "rbd:pool/image:mon_host=127.0.0.1\\:1:client_mount_timeout=1:auth_client_required=none")
    refused("write rbd:POOL", "info", "rbd:pool")
    refused("is no KEY=VALUE", "info", "rbd:pool/image:id")
    refused("No secret with id", "info", "--image-opts", "driver=rbd,pool=p,image=i,key-secret=none")
    with temporary_folder() as folder:
        conf = os.path.join(folder, "conf")
        with open(conf, "w") as file:
            file.write("[global]\nclient mount timeout = 1\nauth client required = cephx\n")
        # A key that Ceph could not read would be an invalid argument before it looks for the cluster.
        refused("timed out", "info", "--object",
                "secret,id=key,format=base64,data=AQB5hFJn2k1dLhAAp1FUUS5cD1u0JmU0cVqCNg==", "--image-opts",
                f"driver=rbd,pool=p,image=i,conf={conf},server.0.host=127.0.0.1,server.0.port=1,key-secret=key")


def missing_library():
    """Without the library, the error names the package. It is hidden in a mount namespace."""
    for library, package, url in (("libiscsi.so.7", "libiscsi7", "iscsi://127.0.0.1/t/1"),
                                  ("libnfs.so.13", "libnfs13", "nfs://127.0.0.1/a/b"),
                                  ("libssh(-gcrypt)?.so.4", "libssh-4", "ssh://127.0.0.1/a"),
                                  ("librbd.so.1", "librbd1", "rbd:a/b")):
        path = subprocess.run(["ldconfig", "-p"], stdout=subprocess.PIPE, text=True, check=True).stdout
        found = [match[0] for match in re.finditer(rf"(?<==> )\S+/{library}$", path, re.M)]
        if not found:
            raise Failed(f"{library} is not installed")
        hide = 'for f in "$@"; do mount --bind /dev/null "$f"; done; exec "$0" info "$url"'
        done = subprocess.run(["unshare", "-rm", "sh", "-c", hide, ours(), *map(os.path.realpath, found)],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              env=os.environ | {"url": url})
        if done.returncode == 0 or f"install the package {package}" not in done.stdout:
            raise Failed(f"{url}: {done.stdout}")


main(http, https, ftp, machine, ssh, iscsi, nfs, rbd, rbd_cluster, missing_library)
