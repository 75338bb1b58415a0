"""A small proxy of the kind that teams put before the app: https outside, plain http on loopback inside.

It ends TLS with a certificate of its own, passes `Host` as it came and names the caller and the scheme. One request a connection.
"""

from __future__ import annotations

import re
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

CALLER = "203.0.113.7"


def certificate(name: str, folder: Path) -> Path:
    """A certificate that its own key signed, for a day, with that key in one file."""
    key, moment = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    made = x509.CertificateBuilder(who, who, key.public_key(), x509.random_serial_number(), moment, moment + timedelta(days=1))
    kind, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    secret = key.private_bytes(kind, form, serialization.NoEncryption())
    path = folder / "proxy.pem"
    path.write_bytes(secret + made.sign(key, hashes.SHA256()).public_bytes(kind))
    return path


class Carrier(socketserver.StreamRequestHandler):
    """Takes one request to the app and its answer back, as it comes."""

    server: TlsProxy

    def handle(self) -> None:
        """One connection."""
        head = b""
        while (line := self.rfile.readline()) not in (b"\r\n", b""):
            head += line
        if not line:
            return  # the browser had connected ahead, for nothing
        length = re.search(rb"(?im)^content-length: *(\d+)", head)
        told = f"X-Forwarded-For: {CALLER}\r\nX-Forwarded-Proto: https\r\nConnection: close\r\n\r\n"
        with socket.create_connection(("127.0.0.1", self.server.inside)) as app:
            app.sendall(re.sub(rb"(?im)^(connection|x-forwarded-\w+):.*\r\n", b"", head) + told.encode())
            app.sendall(self.rfile.read(int(length[1]) if length else 0))
            while data := app.recv(65_536):
                self.wfile.write(data)


class TlsProxy(socketserver.ThreadingTCPServer):
    """Listens. outside, inside: its port and the app's."""

    def __init__(self, outside: int, inside: int, certificate: Path) -> None:
        super().__init__(("127.0.0.1", outside), Carrier)
        self.inside = inside
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """In the connection's own thread, where a slow greeting keeps nobody waiting."""
        with suppress(OSError), self._context.wrap_socket(request, server_side=True) as encrypted:
            self.RequestHandlerClass(encrypted, client_address, self)


@contextmanager
def proxied(name: str, outside: int, inside: int, folder: Path) -> Iterator[None]:
    """The proxy for https://name:outside, until the end of the block; what the app still sends is waited for."""
    with TlsProxy(outside, inside, certificate(name, folder)) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        yield
        proxy.shutdown()
