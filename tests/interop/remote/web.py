# SPDX-License-Identifier: GPL-2.0-or-later
"""Web and FTP servers for tests, on the loopback: what they do is what the test asks for."""
import base64
import contextlib
import http.server
import os
import re
import socketserver
import ssl
import subprocess
import threading


class Web(http.server.ThreadingHTTPServer):
    """Serves `data` as /image. Members say how: ranges, user ("NAME:PASSWORD"), cookie; /moved redirects
    there, and /lies says that it knows ranges, but sends all. `asked` has the ranges that were asked for."""
    daemon_threads = True

    def __init__(self, data):
        super().__init__(("127.0.0.1", 0), Handler)
        self.data = data
        self.ranges = True
        self.user = self.cookie = None
        self.asked = []

    def handle_error(self, request, client_address):
        """A client that hangs up is no error: a probe of the certificate does."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def refuse(self, status):
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        server = self.server
        if server.user and self.headers.get("Authorization") != \
                "Basic " + base64.b64encode(server.user.encode()).decode():
            return self.refuse(401)
        if server.cookie and self.headers.get("Cookie") != server.cookie:
            return self.refuse(403)
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/image")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        if self.path not in ("/image", "/lies"):
            return self.refuse(404)
        data = server.data
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if wanted and server.ranges and self.path != "/lies":
            start, end = int(wanted[1]), min(int(wanted[2]), len(data) - 1)
            server.asked.append((start, end + 1 - start))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{end}/{len(data)}")
            data = data[start:end + 1]
        else:
            self.send_response(200)
        if server.ranges:
            self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)


class Ftp(socketserver.ThreadingTCPServer):
    """As much of RFC 959, 2428 and 3659 as a download with ranges needs. One file: /image."""
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, data):
        super().__init__(("127.0.0.1", 0), FtpSession)
        self.data = data


class FtpSession(socketserver.StreamRequestHandler):
    def say(self, text):
        self.wfile.write((text + "\r\n").encode())

    def handle(self):
        start, passive = 0, None
        self.say("220 ready")
        for line in self.rfile:
            command, _, argument = line.decode().strip().partition(" ")
            if command == "USER":
                self.say("331 password?")
            elif command == "EPSV":
                passive = socketserver.socket.create_server(("127.0.0.1", 0))
                self.say(f"229 go (|||{passive.getsockname()[1]}|)")
            elif command == "SIZE":
                self.say(f"213 {len(self.server.data)}" if argument.endswith("image") else "550 no")
            elif command == "REST":
                start = int(argument)
                self.say("350 from there")
            elif command == "RETR":
                self.say("150 coming")
                with passive.accept()[0] as data, contextlib.suppress(OSError):
                    data.sendall(self.server.data[start:])
                passive.close()
                start = 0
                self.say("226 done")
            elif command == "QUIT":
                return self.say("221 bye")
            else:
                self.say({"PASS": "230 in", "PWD": '257 "/"'}.get(command, "200 fine"))


@contextlib.contextmanager
def running(server):
    """The server's port, while it serves."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def encrypt(server, folder):
    """Speak TLS, with a certificate that nobody has signed."""
    key, certificate = os.path.join(folder, "key.pem"), os.path.join(folder, "certificate.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                    "-nodes", "-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=test",
                    "-addext", "subjectAltName=IP:127.0.0.1"], check=True, stderr=subprocess.DEVNULL)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    return certificate
