#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Who may come in, asked by Debian's virsh: TCP, TLS with client certificates, SASL, limits."""
import os
import socket
import ssl
import struct
import subprocess
import time

from private import BUILD, Daemon
from wire import message, receive

COVERS = "AUTH_LIST AUTH_SASL_INIT AUTH_SASL_START AUTH_SASL_STEP"
BERTHD = os.path.join(BUILD, "bin", "berthd")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def openssl(*args):
    subprocess.run(["openssl", *args], check=True, capture_output=True)


def make_pki(folder):
    """An authority, a server named localhost, the clients alice and mallory, and a stranger."""
    os.mkdir(folder)
    for name in ("cacert", "other-ca"):
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}",
                "-keyout", f"{folder}/{name}-key.pem", "-out", f"{folder}/{name}.pem")
    for name, subject, ca in (("server", "/CN=localhost", "cacert"),
                              ("alice", "/C=GB/O=Berth/CN=alice", "cacert"),
                              ("mallory", "/C=GB/O=Berth/CN=mallory", "cacert"),
                              ("stranger", "/C=GB/O=Berth/CN=alice", "other-ca")):
        own = folder if name == "server" else f"{folder}/{name}"
        os.makedirs(own, exist_ok=True)
        side = "server" if name == "server" else "client"
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", subject, "-keyout",
                f"{own}/{side}key.pem", "-out", f"{own}/request.pem")
        with open(f"{own}/extensions", "w") as file:
            file.write("subjectAltName=DNS:localhost\n")
        openssl("x509", "-req", "-in", f"{own}/request.pem", "-CA", f"{folder}/{ca}.pem", "-CAkey",
                f"{folder}/{ca}-key.pem", "-CAcreateserial", "-days", "2", "-extfile",
                f"{own}/extensions", "-out", f"{own}/{side}cert.pem")
        if own != folder:
            os.symlink(f"{folder}/cacert.pem", f"{own}/cacert.pem")


def make_sasl(folder):
    """The users fred and bob for SCRAM, and DIGEST-MD5, which can encrypt by itself."""
    os.mkdir(folder)
    with open(f"{folder}/libvirt.conf", "w") as file:
        file.write("mech_list: scram-sha-256 digest-md5\npwcheck_method: auxprop\n"
                   f"auxprop_plugin: sasldb\nsasldb_path: {folder}/passwd.db\n")
    for user, word in (("fred", "secret"), ("bob", "other")):
        subprocess.run(["saslpasswd2", "-p", "-c", "-f", f"{folder}/passwd.db", "-a", "libvirt", user],
                       input=word, text=True, check=True)
        with open(f"{folder}/{user}", "w") as file:
            file.write(f"[credentials-c]\nauthname={user}\nusername={user}\npassword={word}\n"
                       "[auth-libvirt-localhost]\ncredentials=c\n"
                       "[auth-libvirt-default]\ncredentials=c\n")
    with open(f"{folder}/wrong", "w") as file:
        file.write("[credentials-c]\nauthname=fred\nusername=fred\npassword=guess\n"
                   "[auth-libvirt-localhost]\ncredentials=c\n")


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def check_tls():
    port = free_port()

    def prepare(daemon):
        make_pki(f"{daemon.top}/pki")
        write(f"{daemon.top}/conf", f"""# as in libvirtd.conf
listen_tls = 1
listen_addr = "127.0.0.1"
tls_port = "{port}"
ca_file = "{daemon.top}/pki/cacert.pem"
cert_file = "{daemon.top}/pki/servercert.pem"
key_file = "{daemon.top}/pki/serverkey.pem"
tls_allowed_dn_list = [ "*CN=nobody*",
                        "C=GB,O=Berth,CN=a*" ]
""")
        daemon.arguments = ("--config", f"{daemon.top}/conf")

    with Daemon(prepare=prepare) as daemon:
        def uri(who):
            return f"qemu+tls://localhost:{port}/system?pkipath={daemon.top}/pki/{who}"
        assert daemon.said("hostname", uri=uri("alice")) == daemon.said("hostname")
        # An answer of many TLS records, and a stream.
        assert daemon.said("capabilities", uri=uri("alice")) == daemon.said("capabilities")
        write(f"{daemon.top}/data", "x" * 3000000)
        daemon.virsh("pool-create-as", "p", "dir", "--target", f"{daemon.top}/p", "--build",
                     uri=uri("alice"))
        for command in ("vol-create-as p v 3000000 --format raw",
                        f"vol-upload v {daemon.top}/data p", f"vol-download v {daemon.top}/back p"):
            daemon.virsh(*command.split(), uri=uri("alice"))
        subprocess.run(["cmp", f"{daemon.top}/data", f"{daemon.top}/back"], check=True)
        for who, cause in (("mallory", "tls_allowed_dn_list has not C=GB,O=Berth,CN=mallory"),
                           (".", "the client shows no certificate")):
            refused = daemon.virsh("hostname", check=False, uri=uri(who))
            assert refused.returncode == 1, who
            daemon.wait_log(cause)
        # virsh does not even show what another authority has signed.
        context = ssl.create_default_context(cafile=f"{daemon.top}/pki/cacert.pem")
        context.load_cert_chain(*(f"{daemon.top}/pki/stranger/client{part}.pem"
                                  for part in ("cert", "key")))
        with socket.create_connection(("127.0.0.1", port)) as plain, \
                context.wrap_socket(plain, server_hostname="localhost") as stranger:
            assert stranger.recv(1) == b""
        daemon.wait_log("is NOT trusted")
        # A client that never shakes hands holds up nobody.
        with socket.create_connection(("127.0.0.1", port)) as silent:
            daemon.virsh("hostname", uri=uri("alice"))
            silent.sendall(b"GET / HTTP/1.0\r\n\r\n")
            daemon.virsh("hostname", uri=uri("alice"))


def check_sasl():
    """SCRAM on the Unix socket and under TLS; over TCP alone only a mechanism that encrypts."""
    tcp = free_port()

    def prepare(daemon):
        make_sasl(f"{daemon.top}/sasl")
        daemon.environment["SASL_CONF_PATH"] = f"{daemon.top}/sasl"
        write(f"{daemon.top}/conf", f"""auth_unix_rw = "sasl"
listen_tcp = 1
listen_addr = "127.0.0.1"
tcp_port = "{tcp}"
sasl_allowed_username_list = ["fred*"]
""")
        daemon.arguments = ("--config", f"{daemon.top}/conf")
        # The daemon is ready when somebody may ask it: read-only, here.
        plain = daemon.virsh
        daemon.virsh = lambda *args, **options: plain(*args, **{"readonly": True, **options})

    with Daemon(prepare=prepare) as daemon:
        def ask(uri, who):
            return daemon.virsh("capabilities", uri=f"{uri}authfile={daemon.top}/sasl/{who}",
                                check=False, readonly=False)
        unix = daemon.uri() + "&"
        wanted = daemon.said("capabilities")
        good = ask(unix, "fred")
        assert good.returncode == 0 and good.stdout.strip() == wanted, good.stdout
        for who in ("wrong", "bob"):
            refused = ask(unix, who)
            assert refused.returncode == 1 and "authentication failed" in refused.stdout, refused.stdout
        over_tcp = ask(f"qemu+tcp://localhost:{tcp}/system?", "fred")
        assert over_tcp.returncode == 0 and over_tcp.stdout.strip() == wanted, over_tcp.stdout
        daemon.wait_log("sasl_allowed_username_list has not 'bob")
        daemon.wait_log("is fred")
        check_unauthenticated(daemon, tcp)


def check_unauthenticated(daemon, port):
    """Without authentication every other call is refused, and no large message is taken."""
    with socket.create_connection(("127.0.0.1", port)) as sock:
        for procedure in (1, 7, 60, 110):  # open, capabilities, feature, no such thing in the table
            sock.sendall(message(procedure, procedure))
            words, body = receive(sock)
            assert words[6] == 1 and struct.unpack(">I", body[:4]) == (39,), (procedure, body)
        sock.sendall(struct.pack(">7I", 1 << 20, 0x20008086, 1, 66, 0, 1, 0))
        assert receive(sock) is None


def check_limits():
    """A client over its rate waits, more than the most are turned away, bad settings are named."""
    def prepare(daemon):
        write(f"{daemon.top}/conf", "max_clients = 3\nmax_client_rate = 50\nunix_sock_ro_perms = '0750'\n")
        daemon.arguments = ("--config", f"{daemon.top}/conf")

    with Daemon(prepare=prepare) as daemon:
        assert os.stat(daemon.socket + "-ro").st_mode & 0o777 == 0o750
        assert os.stat(daemon.socket).st_mode & 0o777 == 0o770
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(daemon.socket)
            begin = time.monotonic()
            sock.sendall(b"".join(message(66, serial) for serial in range(150)))
            serials = [receive(sock)[0][5] for _ in range(150)]
            assert serials == list(range(150))
            taken = time.monotonic() - begin
            assert 1.5 < taken < 30, f"150 calls at 50 a second, the first 50 at once: {taken:.1f} s"
            others = [socket.socket(socket.AF_UNIX) for _ in range(3)]
            for other in others:
                other.connect(daemon.socket)
            assert others[2].recv(1) == b"", "a fourth client"
            for other in others:
                other.close()
        path = f"{daemon.top}/bad"
        for text, cause in (("listen_tcpp = 1", "did you mean 'listen_tcp'"),
                            ("\nmin_workers = 5", ":2: berthd has no key 'min_workers'"),
                            ('auth_unix_rw = "polkit"', "has no polkit"),
                            ('max_clients = "5"', "must be a number"),
                            ('tls_allowed_dn_list = "x"', "must be a list"),
                            ('tcp_port = 5', "must be a text"), ('tcp_port "5"', "'=' should follow"),
                            ('unix_sock_rw_perms = "rwx"', "in octal"),
                            ('log_output = "syslog"', "whole path"), ("listen_tls = 1", "TLS needs the certificate"),
                            ('listen_tls = 1\nca_file = "x"', "must be a whole path")):
            write(path, text + "\n")
            result = subprocess.run([BERTHD, "--check-config", "--config", path], capture_output=True,
                                    text=True)
            assert result.returncode == 1 and cause in result.stderr, (text, result.stderr)
        write(path, 'max_clients = 5 # few\n')
        result = subprocess.run([BERTHD, "--check-config", "--config", path], capture_output=True,
                                text=True)
        assert result.returncode == 0 and "are good" in result.stdout, result.stderr


def main():
    check_limits()
    check_tls()
    check_sasl()


if __name__ == "__main__":
    main()
