# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A time stamping authority: ``openssl ts -reply`` behind a server, with a certificate of its own root.

It can be unavailable, slow, or dishonest. Time stamps of other times are made with ``openssl cms``.
"""

from __future__ import annotations

import itertools
import subprocess
import threading
from collections.abc import Callable
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Optional

_CONFIG = """
[ca]
default_ca = root
[root]
database = index
new_certs_dir = .
serial = root.serial
private_key = root.key
certificate = root.pem
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
[of_root]
basicConstraints = critical,CA:true
keyUsage = critical,keyCertSign
subjectKeyIdentifier = hash
[of_authority]
extendedKeyUsage = critical,timeStamping
keyUsage = critical,digitalSignature
[tsa]
default_tsa = one
[one]
serial = serial
crypto_device = builtin
signer_cert = tsa.pem
signer_key = tsa.key
certs = chain.pem
signer_digest = sha256
default_policy = 1.2.3
digests = sha256
"""
_CONTENT_TYPE = "1.2.840.113549.1.9.16.1.4"
_numbers = itertools.count(1)

Reply = Callable[[bytes], tuple[int, bytes]]


class TimeAuthority:
    """An authority with its own directory; a server listens within the context.

    ``root`` is the file of the trusted certificate. ``reply`` creates the response to a request, and can be replaced.
    ``host`` is the address on which it listens.
    """

    def __init__(
        self, directory: Path, name: str = "authority", end: str = "20990101000000Z", host: str = "127.0.0.1"
    ) -> None:
        self.host = host
        self.directory = directory / name
        self.directory.mkdir()
        (self.directory / "config").write_text(_CONFIG)
        (self.directory / "index").touch()
        (self.directory / "root.serial").write_text("01\n")
        dates = ["-startdate", "20200101000000Z", "-batch", "-notext", "-config", "config"]
        for key in ("root", "tsa"):
            self.openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{key}.key")
            subject = f"/CN={name} {key}"
            self.openssl("req", "-new", "-key", f"{key}.key", "-subj", subject, "-out", f"{key}.csr")
        given = ["-selfsign", "-in", "root.csr", "-out", "root.pem", "-extensions", "of_root"]
        self.openssl("ca", *dates, "-enddate", "20990101000000Z", *given)
        given = ["-in", "tsa.csr", "-out", "tsa.pem", "-extensions", "of_authority"]
        self.openssl("ca", *dates, "-enddate", end, *given)
        (self.directory / "chain.pem").write_text((self.directory / "root.pem").read_text())
        self.root = str(self.directory / "root.pem")
        self.requests: list[bytes] = []
        self.reply: Reply = self.stamp
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self._server.server_address[1]}/customer-4711"

    def __enter__(self) -> TimeAuthority:
        self._server = ThreadingHTTPServer((self.host, 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, _kind: Optional[type[BaseException]], _error: Optional[BaseException], _where: Optional[TracebackType]
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def openssl(self, *arguments: str) -> bytes:
        done = subprocess.run(["openssl", *arguments], cwd=self.directory, check=False, capture_output=True, timeout=60)
        if done.returncode:
            raise RuntimeError(done.stderr.decode())
        return done.stdout

    def stamp(self, query: bytes) -> tuple[int, bytes]:
        """The honest answer."""
        with self._lock:
            (self.directory / "query").write_bytes(query)
            self.openssl("ts", "-reply", "-config", "config", "-queryfile", "query", "-out", "response")
            return 200, (self.directory / "response").read_bytes()

    def of(self, sha256: str, *options: str) -> bytes:
        """Return a time stamp of a SHA-256 without a request of a run."""
        (self.directory / "own").write_bytes(
            self.openssl("ts", "-query", "-digest", sha256, "-sha256", "-cert", *options)
        )
        return self.stamp((self.directory / "own").read_bytes())[1]

    def at(self, moment: datetime, sha256: str, status: bytes = b"", nonce: bytes = b"") -> bytes:
        """A time stamp of another time, as this authority made it then; ``status`` is text that nobody signed."""
        algorithm = sequence(bytes.fromhex("0609608648016503040201"), b"\x05\x00")
        imprint = sequence(algorithm, value(0x04, bytes.fromhex(sha256)))
        time = value(0x18, f"{moment:%Y%m%d%H%M%SZ}".encode())
        info = sequence(
            b"\x02\x01\x01", b"\x06\x02\x2a\x03", imprint, value(2, bytes([next(_numbers) % 128])), time, nonce
        )
        (self.directory / "info").write_bytes(info)
        keys = ["-signer", "tsa.pem", "-inkey", "tsa.key", "-certfile", "chain.pem", "-md", "sha256", "-cades"]
        form = ["-binary", "-nodetach", "-outform", "DER", "-econtent_type", _CONTENT_TYPE, "-in", "info"]
        token = self.openssl("cms", "-sign", *keys, *form)
        words = sequence(value(0x0C, status)) if status else b""
        return sequence(sequence(b"\x02\x01\x00", words), token)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        authority = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                authority.requests.append(body)
                status, answer = authority.reply(body)
                self.send_response(status)
                self.send_header("Content-Type", "application/timestamp-reply")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_arguments: Any) -> None:
                pass

        return Handler


def value(tag: int, content: bytes) -> bytes:
    """A value in DER."""
    size = len(content)
    if size < 128:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 128 + len(length)]) + length + content


def sequence(*parts: bytes) -> bytes:
    return value(0x30, b"".join(parts))
