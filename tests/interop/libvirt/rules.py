#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Access rules: what each kind of caller sees and may do, asked by Debian's libvirt; and that every
procedure that berthd serves obeys them.
"""
import os
import re
import signal
import socket
import struct
import subprocess
import threading

import libvirt
import wire
from private import BUILD, Daemon

XML = """<domain type='qemu'><name>{name}</name><memory unit='MiB'>16</memory>
<os><type arch='x86_64' machine='q35'>hvm</type></os></domain>"""
POOL = "<pool type='dir'><name>{name}</name><target><path>{path}</path></target></pool>"
ME = os.getuid()


def denied(function, *args, code=libvirt.VIR_ERR_ACCESS_DENIED):
    try:
        function(*args)
    except libvirt.libvirtError as error:
        assert error.get_error_code() == code, error
        return str(error)
    raise AssertionError(f"{function} {args} is allowed")


def write_rules(daemon, text):
    with open(f"{daemon.top}/rules", "w") as file:
        file.write(text)


def reload(daemon, text):
    with open(daemon.log) as log:
        before = log.read().count("rules are read again")
    write_rules(daemon, text)
    daemon.process.send_signal(signal.SIGHUP)

    def again():
        with open(daemon.log) as log:
            return log.read().count("rules are read again") > before
    daemon.wait(again, "the rules are read again")


def check_everyone(daemon, conn):
    """A user who may read what is called web-*, change web-1, and nothing else."""
    for name in ("web-1", "web-2", "db"):
        conn.defineXML(XML.format(name=name))
        os.mkdir(f"{daemon.top}/{name}")
        conn.storagePoolCreateXML(POOL.format(name=name, path=f"{daemon.top}/{name}"), 0)
        conn.networkDefineXML(f"<network><name>{name}</name></network>")
    db = conn.lookupByName("db")
    pool = conn.storagePoolLookupByName("db")
    volume = pool.createXML("<volume><name>v</name><capacity>4096</capacity></volume>", 0)
    reload(daemon, f"""
        # comment
        deny * write domain web-2
        allow user:{daemon.user} write '*' web-1   # both kinds
        allow group:{daemon.group} read * "web-*"
        allow x509:* read * *
    """)
    assert sorted(dom.name() for dom in conn.listAllDomains()) == ["web-1", "web-2"]
    assert sorted(conn.listDefinedDomains()) == ["web-1", "web-2"]
    assert sorted(pool.name() for pool in conn.listAllStoragePools()) == ["web-1", "web-2"]
    assert sorted(conn.listStoragePools()) == ["web-1", "web-2"]
    assert conn.numOfDefinedDomains() == 2 and conn.numOfDomains() == 0
    assert sorted(dom.name() for dom, _ in conn.getAllDomainStats()) == ["web-1", "web-2"]
    assert re.search(r"web-1.*\n.*web-2", daemon.said("list", "--all"))
    one, two = conn.lookupByName("web-1"), conn.lookupByName("web-2")
    one.setAutostart(1)
    two.XMLDesc()
    denied(two.setAutostart, 1)
    denied(two.undefine)
    # A name that the client makes up for the UUID of another changes nothing.
    assert "'db'" in denied(db.XMLDesc)
    for call in (db.undefine, db.create, db.info, pool.info, pool.destroy, pool.listAllVolumes, volume.info,
                 volume.delete, conn.getCapabilities, conn.getHostname):
        denied(call)
    net = conn.networkLookupByName("web-2")
    assert sorted(net.name() for net in conn.listAllNetworks()) == ["web-1", "web-2"]
    assert sorted(conn.listDefinedNetworks()) == ["web-1", "web-2"]
    conn.networkLookupByName("web-1").setAutostart(1)
    net.XMLDesc()
    for call in (net.undefine, net.create):
        denied(call)
    denied(conn.networkDefineXML, "<network><name>db</name></network>")
    denied(conn.lookupByName, "db")
    denied(conn.storageVolLookupByPath, f"{daemon.top}/db/v", code=libvirt.VIR_ERR_NO_STORAGE_VOL)
    denied(conn.defineXML, XML.format(name="other"))
    denied(conn.defineXML, XML.format(name="db"))
    denied(one.rename, "web-3")
    denied(conn.storagePoolCreateXML, POOL.format(name="new", path=daemon.top), 0)
    check_events(daemon, conn)
    write_rules(daemon, "allow everybody write * *")
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_log("not changed: ")
    denied(db.info)
    reload(daemon, "allow * write * *")
    db.info()


def check_events(daemon, conn):
    """Of what may not be read nothing is heard."""
    seen = []
    stop = threading.Event()

    def run():
        while not stop.is_set():
            libvirt.virEventRunDefaultImpl()
    runner = threading.Thread(target=run, daemon=True)
    runner.start()
    conn.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE,
                                lambda c, dom, event, detail, _: seen.append(dom.name()), None)
    # What autostart, or anybody else, starts: another daemon's client may do everything.
    text = open(f"{daemon.top}/rules").read()
    reload(daemon, f"allow user:{daemon.user} write * web-*\nallow sasl:nobody write * *")
    conn.lookupByName("web-1").createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    daemon.wait(lambda: "web-1" in seen, "an event of web-1")
    reload(daemon, f"deny * read domain web-1\nallow user:{daemon.user} write * *")
    seen.clear()
    pid = next(os.path.join(folder, "pid") for folder, _, names in os.walk(f"{daemon.top}/state/run")
               if "pid" in names)
    with open(pid) as file:
        os.kill(int(file.read()), signal.SIGKILL)
    daemon.wait(lambda: not os.path.exists(pid), "web-1 has ended")
    dom = conn.lookupByName("web-2")
    dom.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    dom.destroy()
    daemon.wait(lambda: "web-2" in seen, "events of web-2")
    assert "web-1" not in seen, seen
    reload(daemon, text)
    stop.set()
    runner.join()


def zeros(fields, schema):
    """The shortest arguments that decode: names are empty, the domain and pool are those that exist."""
    data = b""
    for field in filter(None, (field.strip() for field in fields.split(","))):
        kind, _ = field.split()
        base = re.match(r"\w+", kind).group()
        if "?" in kind or "<" in kind:
            data += bytes(4)
        elif base in ("i32", "u32"):
            data += bytes(4)
        elif base in ("i64", "u64", "f64"):
            data += bytes(8)
        elif base == "uuid":
            data += schema["uuid"]
        elif base == "string":
            data += wire.string(schema["name"])
        else:
            data += zeros(schema[base], schema)
    return data


def check_all_procedures(daemon):
    """With `deny * read * *` no procedure that is served does or tells anything."""
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../schema/remote.rpc")) as file:
        text = file.read()
    schema = dict(re.findall(r"^type (\w+) = (.*)$", text, re.M))
    with open(f"{daemon.top}/web.uuid", "rb") as file:
        schema["uuid"] = file.read()
    schema["name"] = "web-1"
    tried = 0
    for line in re.findall(r"^ *(\d+) (\w+) +(read|write) +(\w+) *(?:\(([^)]*)\))?(.*)$", text, re.M):
        number, name, right, _, args, ret = line
        if name in ("CONNECT_REGISTER_CLOSE_CALLBACK", "CONNECT_UNREGISTER_CLOSE_CALLBACK"):
            continue
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(60)
            sock.connect(daemon.socket)
            sock.sendall(wire.message(1, 0, bytes(8)))
            assert wire.receive(sock)[0][6] == 0
            sock.sendall(wire.message(int(number), 1, zeros(args, schema)))
            words, body = wire.receive(sock)
            tried += 1
            if words[6] == 1:
                continue
            # Lists are empty; who registers for events hears none.
            assert "EVENT" in name or "deregister" in name.lower() or not body.strip(b"\0"), (name, body)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(daemon.socket)
        dom = wire.domain("web-1", schema["uuid"])
        for program, number, payload in ((wire.REMOTE, 1, bytes(8)),
                                         (wire.QEMU, 1, dom + wire.string("{}") + bytes(4))):
            sock.sendall(wire.message(number, 2, payload, program=program))
            words, body = wire.receive(sock)
        assert words[6] == 1 and struct.unpack(">I", body[:4]) == (88,), body
    assert tried > 120, tried


def main():
    import grp
    import pwd
    libvirt.registerErrorHandler(lambda *args: None, None)
    libvirt.virEventRegisterDefaultImpl()
    libvirt.virEventAddTimeout(100, lambda *a: None, None)

    def prepare(daemon):
        daemon.user, daemon.group = pwd.getpwuid(ME).pw_name, grp.getgrgid(os.getgid()).gr_name
        write_rules(daemon, "allow * write * *")
        with open(f"{daemon.top}/conf", "w") as file:
            file.write(f'access_rules = "{daemon.top}/rules"\n')
        daemon.arguments = ("--config", f"{daemon.top}/conf")

    with Daemon(prepare=prepare) as daemon:
        conn = libvirt.open(daemon.uri())
        check_everyone(daemon, conn)
        with open(f"{daemon.top}/web.uuid", "wb") as file:
            file.write(conn.lookupByName("web-1").UUID())
        reload(daemon, "deny * read * *")
        check_all_procedures(daemon)
        reload(daemon, "allow * write * *")
        assert len(conn.listAllDomains()) == 3 and len(conn.listAllStoragePools()) == 3
        for text, cause in (("allow * write * ", "a rule is"), ("permit * read * *", "'permit' should be"),
                            ("allow user:no_such_user read * *", "no user 'no_such_user'"),
                            ("\nallow * read domains x", "line 2: there is no kind of object 'domains'; "
                             "did you mean domain"), ("allow root read * *", "should be user:NAME"),
                            ("allow * read * 'x", "line 1: ")):
            write_rules(daemon, text)
            result = subprocess.run([os.path.join(BUILD, "bin", "berthd"), "--check-config", "--config",
                                     f"{daemon.top}/conf"], capture_output=True, text=True)
            assert result.returncode == 1 and cause in result.stderr, (text, result.stderr)
        conn.close()


main()
