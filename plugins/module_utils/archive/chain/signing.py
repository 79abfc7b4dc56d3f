# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Signatures of commits, created and checked by OpenSSH's ``ssh-keygen -Y``, which is all that anyone needs to check.

The signed text is one line, ``head ARCHIVE_ID SEQUENCE SHA256`` and a newline. So a signature can be checked without
its commit, and covers all earlier commits through the chain of hashes. A key must be valid at the commit's
``server_date``.
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
"""The namespace of ``ssh-keygen -n``; signatures for other purposes are rejected."""

# A key with a passphrase must fail, not wait for input.
SSH_KEYGEN = Program("ssh-keygen", "install openssh-client", SSH_ASKPASS_REQUIRE="never")

_NAME = re.compile(r"signatures/(\d{12})-([0-9a-f]{64})-([0-9a-f]{8})\.sig", re.ASCII)
_PUBLIC = re.compile(rb"((?:ssh|ecdsa|sk)-[a-z0-9@.-]+) +([A-Za-z0-9+/]+=*)")
_GOOD = re.compile(r'Good "[^"]*" signature with \S+ key (SHA256:\S+)')
_MAX_SIGNATURE_SIZE = 1 << 16


class Signature(NamedTuple):
    """The parts of a signature's name: the head, the first digits of the SHA-256 of the key, and the name itself."""

    head: Head
    key8: str
    name: str


def signed_text(archive_id: str, head: Head) -> bytes:
    """The line that is signed."""
    return f"head {archive_id} {head.sequence} {head.sha256}\n".encode()


def signature_name(head: Head, fingerprint: str) -> str:
    """The name of a commit's signature by the key with this fingerprint."""
    return f"signatures/{head.sequence:012d}-{head.sha256}-{_key8(fingerprint)}.sig"


def parse_signature_name(name: str) -> Optional[Signature]:
    """The parts of a signature's name; None for any other name."""
    match = _NAME.fullmatch(name)
    return Signature(Head(int(match[1]), match[2]), match[3], name) if match else None


def signatures(store: Store) -> List[Signature]:
    """The parts of the names of all signatures, in the order of their commits."""
    return sorted(filter(None, map(parse_signature_name, store.list_files("signatures"))))


class SigningKey:
    """A key that signs commits: a private key without a passphrase, or a public key whose private key an agent holds.

    ``fingerprint`` is the fingerprint that ``ssh-keygen -l`` prints.
    """

    def __init__(self, path: str) -> None:
        """:raises InvalidInput: the file is not a usable key, the key needs a touch, or ssh-keygen is missing."""
        self._path = path
        kind, blob = _public_key(path)
        if kind.startswith("sk-"):
            raise InvalidInput(f"The key {path} needs a touch for each signature; use a key without this requirement.")
        digest = hashlib.sha256(blob).digest()
        self.fingerprint = "SHA256:" + base64.b64encode(digest).decode().rstrip("=")

    def sign(self, archive_id: str, head: Head) -> bytes:
        """The signature of a commit.

        :raises InvalidInput: the key cannot sign.
        """
        result = _keygen("sign", ["-f", self._path, "-n", NAMESPACE], signed_text(archive_id, head))
        if result.returncode != 0:
            raise InvalidInput(f"The key {self._path} cannot sign: {SSH_KEYGEN.error_text(result)}.")
        return result.stdout


class AllowedSigners:
    """The keys whose signatures are accepted: a file from outside the archive, see ALLOWED SIGNERS in ssh-keygen(1)."""

    def __init__(self, path: str) -> None:
        """:raises InvalidInput: the file cannot be read, or ssh-keygen is missing."""
        SSH_KEYGEN.path()
        if not os.path.isfile(path) or not os.access(path, os.R_OK):
            raise InvalidInput(f"The file of allowed signers {path} cannot be read; check its path.")
        self._path = path

    def find_problem(self, signature: bytes, text: bytes, moment: datetime) -> Optional[str]:
        """Why this is not a signature of a text by a key that was allowed at this time; None if it is one."""
        with temporary_file(signature) as file:
            arguments = ["-f", self._path, "-s", file, f"-Overify-time={moment.astimezone(timezone.utc):%Y%m%d%H%M%S}"]
            found = _keygen("find-principals", arguments, b"")
            names = found.stdout.decode("utf-8", "replace").splitlines()
            if found.returncode != 0 or not names:
                return "its key is not allowed, or was not allowed at that time"
            # A key can have several lines with different times or purposes.
            for name in names:
                if _keygen("verify", [*arguments, "-I", name, "-n", NAMESPACE], text).returncode == 0:
                    return None
        return "it is not a signature of this commit"


def signer_fingerprint(signature: bytes, text: bytes) -> Optional[str]:
    """The fingerprint of the key that created this signature of a text; None if the signature is invalid.

    The fingerprint does not show who owns the key.
    """
    with temporary_file(signature) as file:
        result = _keygen("check-novalidate", ["-n", NAMESPACE, "-s", file], text)
    match = _GOOD.search(result.stdout.decode("utf-8", "replace"))
    return match[1] if match and result.returncode == 0 else None


def read_signature(store: Store, name: str) -> bytes:
    """The content of a signature.

    :raises ObjectNotFound: the signature does not exist.
    :raises StorageError: the file cannot be read, or is larger than any signature.
    """
    return join_chunks(store.read(name), f"{name} in {store}", _MAX_SIGNATURE_SIZE)


def signature_problem(store: Store, stored: StoredCommit, signers: Optional[AllowedSigners]) -> Optional[str]:
    """Why the signature of a commit is missing or invalid, or its signer not in ``signers``; None if it is valid."""
    commit, signer = stored.commit, stored.commit.signer
    if signer is None:
        return "it has no signer"
    try:
        body = read_signature(store, signature_name(stored.head, signer))
    except ObjectNotFound:
        return "its signature is missing"
    except StorageError as exc:
        return exc.message
    text = signed_text(commit.archive_id, stored.head)
    if signer_fingerprint(body, text) != signer:
        return "its signature is not by its signer"
    return signers.find_problem(body, text, commit.server_date) if signers else None


def checked_head(store: Store, pin: Optional[Head] = None) -> Optional[StoredCommit]:
    """Find the head for reading; if the head has a signer, check its signature.

    :raises ArchiveDamaged: the signature is missing or invalid, or as :func:`find_head`.
    """
    head = find_head(store, pin)
    if head is not None and head.commit.signer is not None:
        problem = signature_problem(store, head, None)
        if problem:
            raise ArchiveDamaged(f"{head.commit.name} in {store} cannot be trusted: {problem}; verify the archive.")
    return head


def _key8(fingerprint: str) -> str:
    digest = base64.b64decode(fingerprint.partition(":")[2] + "=")
    return digest.hex()[:8]


def _public_key(path: str) -> Tuple[str, bytes]:
    try:
        with open(path, "rb") as file:
            match = _PUBLIC.match(file.read(_MAX_SIGNATURE_SIZE))
    except OSError as exc:
        raise InvalidInput(f"The key {path} cannot be read; check its path and owner.") from exc
    if match is None:
        result = SSH_KEYGEN.run(["-y", "-P", "", "-f", path])
        match = _PUBLIC.match(result.stdout)
        if match is None:
            raise InvalidInput(f"The key {path} cannot sign: {SSH_KEYGEN.error_text(result)}.")
    try:
        return match[1].decode(), base64.b64decode(match[2], validate=True)
    except (ValueError, binascii.Error) as exc:
        raise InvalidInput(f"The key {path} is not a valid OpenSSH key.") from exc


def _keygen(action: str, arguments: Sequence[str], text: bytes) -> CompletedProgram:
    return SSH_KEYGEN.run(["-Y", action, *arguments], text)
