# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Signatures of commits, made and checked by OpenSSH's ``ssh-keygen -Y``, so that it alone suffices to check them.

What is signed is one line, ``head ARCHIVE_ID SEQUENCE SHA256`` and a newline. So a signature can be checked without its
commit, and by the chain of hashes it vouches for all commits before. Keys are judged at a commit's ``server_date``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
from datetime import datetime, timezone
from typing import List, NamedTuple, Optional, Sequence, Tuple

from ...errors import ArchiveDamaged, InvalidInput, StorageError
from ...files import temporary_file
from ...programs import CompletedProgram, Program
from ..format.commit import Head
from ..storage.store import ObjectNotFound, Store, join_chunks
from .chain import StoredCommit, find_head

NAMESPACE = "cloudscale-audit-head"
"""What ssh-keygen ties a signature to, so that one made for another purpose is none of an archive."""

# A key with a passphrase must fail, not wait for somebody to type.
SSH_KEYGEN = Program("ssh-keygen", "install openssh-client", SSH_ASKPASS_REQUIRE="never")

_NAME = re.compile(r"signatures/(\d{12})-([0-9a-f]{64})-([0-9a-f]{8})\.sig", re.ASCII)
_PUBLIC = re.compile(rb"((?:ssh|ecdsa|sk)-[a-z0-9@.-]+) +([A-Za-z0-9+/]+=*)")
_GOOD = re.compile(r'Good "[^"]*" signature with \S+ key (SHA256:\S+)')
_MAX_SIGNATURE = 1 << 16


class Signature(NamedTuple):
    """A signature in the archive: the head that it says it is of, the beginning of its key's hash, and its name."""

    head: Head
    key8: str
    name: str


def signed_text(archive_id: str, head: Head) -> bytes:
    """The line that is signed."""
    return f"head {archive_id} {head.sequence} {head.sha256}\n".encode()


def signature_name(head: Head, fingerprint: str) -> str:
    """Where the signature of a commit by the key with this fingerprint is stored."""
    return f"signatures/{head.sequence:012d}-{head.sha256}-{_key8(fingerprint)}.sig"


def parse_signature_name(name: str) -> Optional[Signature]:
    """The parts of a signature's name; None for any other name."""
    match = _NAME.fullmatch(name)
    return Signature(Head(int(match[1]), match[2]), match[3], name) if match else None


def signatures(store: Store) -> List[Signature]:
    """All signatures, in the order of the commits they are of."""
    return sorted(filter(None, map(parse_signature_name, store.names("signatures"))))


class SigningKey:
    """A key that signs commits: a private key without a passphrase, or a public key whose private one an agent has.

    ``fingerprint`` is that of the public key, as ``ssh-keygen -l`` prints it.
    """

    def __init__(self, path: str) -> None:
        """:raises InvalidInput: the file is no such key, it needs a touch, or there is no ssh-keygen."""
        self._path = path
        kind, blob = _public_half(path)
        if kind.startswith("sk-"):
            raise InvalidInput(f"The key {path} needs a touch for each signature; use one that does not.")
        digest = hashlib.sha256(blob).digest()
        self.fingerprint = "SHA256:" + base64.b64encode(digest).decode().rstrip("=")

    def sign(self, archive_id: str, head: Head) -> bytes:
        """The signature of a commit.

        :raises InvalidInput: the key cannot sign.
        """
        done = _keygen("sign", ["-f", self._path, "-n", NAMESPACE], signed_text(archive_id, head))
        if done.returncode != 0:
            raise InvalidInput(f"The key {self._path} cannot sign: {SSH_KEYGEN.error_text(done)}.")
        return done.stdout


class AllowedSigners:
    """Whose signatures count: a file as ``ssh-keygen`` describes it under ALLOWED SIGNERS, from outside the archive."""

    def __init__(self, path: str) -> None:
        """:raises InvalidInput: the file cannot be read, or there is no ssh-keygen."""
        SSH_KEYGEN.path()
        if not os.path.isfile(path) or not os.access(path, os.R_OK):
            raise InvalidInput(f"The file of allowed signers {path} cannot be read; check its path.")
        self._path = path

    def damage(self, signature: bytes, text: bytes, moment: datetime) -> Optional[str]:
        """Why this is no signature of a text by a key that was allowed at this moment; None if it is one."""
        with temporary_file(signature) as file:
            given = ["-f", self._path, "-s", file, f"-Overify-time={moment.astimezone(timezone.utc):%Y%m%d%H%M%S}"]
            found = _keygen("find-principals", given, b"")
            names = found.stdout.decode("utf-8", "replace").splitlines()
            if found.returncode != 0 or not names:
                return "its key is not allowed, or was not at that time"
            # A key may be in several lines, for other times or purposes.
            for name in names:
                if _keygen("verify", [*given, "-I", name, "-n", NAMESPACE], text).returncode == 0:
                    return None
        return "it is no signature of this commit"


def signer_fingerprint(signature: bytes, text: bytes) -> Optional[str]:
    """The fingerprint of the key that made this signature of a text; None if it is none.

    It shows that somebody has that key, not whose it is.
    """
    with temporary_file(signature) as file:
        done = _keygen("check-novalidate", ["-n", NAMESPACE, "-s", file], text)
    found = _GOOD.search(done.stdout.decode("utf-8", "replace"))
    return found[1] if found and done.returncode == 0 else None


def read_signature(store: Store, name: str) -> bytes:
    """A signature's file.

    :raises ObjectNotFound: there is none.
    :raises StorageError: it cannot be read, or is larger than any signature.
    """
    return join_chunks(store.chunks(name), f"{name} in {store}", _MAX_SIGNATURE)


def signature_problem(store: Store, link: StoredCommit, signers: Optional[AllowedSigners]) -> Optional[str]:
    """Why the commit's signature is not that of its signer, who must be allowed if ``signers`` are given; else None."""
    commit, signer = link.commit, link.commit.signer
    if signer is None:
        return "it has no signer"
    try:
        body = read_signature(store, signature_name(link.head, signer))
    except ObjectNotFound:
        return "its signature is missing"
    except StorageError as exc:
        return exc.message
    text = signed_text(commit.archive_id, link.head)
    if signer_fingerprint(body, text) != signer:
        return "its signature is not by its signer"
    return signers.damage(body, text, commit.server_date) if signers else None


def checked_head(store: Store, pin: Optional[Head] = None) -> Optional[StoredCommit]:
    """The head for those who only read; where it names a signer, its signature must be good.

    :raises ArchiveDamaged: it is not, or errors as of :func:`find_head`.
    """
    head = find_head(store, pin)
    if head is not None and head.commit.signer is not None:
        damage = signature_problem(store, head, None)
        if damage:
            raise ArchiveDamaged(f"{head.commit.name} in {store} cannot be believed: {damage}; verify the archive.")
    return head


def _key8(fingerprint: str) -> str:
    digest = base64.b64decode(fingerprint.partition(":")[2] + "=")
    return digest.hex()[:8]


def _public_half(path: str) -> Tuple[str, bytes]:
    try:
        with open(path, "rb") as file:
            match = _PUBLIC.match(file.read(_MAX_SIGNATURE))
    except OSError as exc:
        raise InvalidInput(f"The key {path} cannot be read; check its path and its owner.") from exc
    if match is None:
        done = SSH_KEYGEN.run(["-y", "-P", "", "-f", path])
        match = _PUBLIC.match(done.stdout)
        if match is None:
            raise InvalidInput(f"The key {path} cannot sign: {SSH_KEYGEN.error_text(done)}.")
    try:
        return match[1].decode(), base64.b64decode(match[2], validate=True)
    except (ValueError, binascii.Error) as exc:
        raise InvalidInput(f"The key {path} is not a valid OpenSSH key.") from exc


def _keygen(what: str, arguments: Sequence[str], text: bytes) -> CompletedProgram:
    return SSH_KEYGEN.run(["-Y", what, *arguments], text)
