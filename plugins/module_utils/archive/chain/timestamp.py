# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Time stamps of commits by RFC 3161, requested and checked by ``openssl ts``, so that it alone suffices to check them.

What is stamped is the SHA-256 of a commit's bytes. So a time stamp shows that the commit, and by the chain of hashes
all commits before it, existed at that time. It does not show that no other history existed.
"""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import List, NamedTuple, Optional, Sequence

from ...errors import InvalidInput
from ...files import temporary_file
from ...programs import CompletedProgram, Program
from ..format.commit import Head
from ..storage.store import InvalidObject, Store, join_chunks

MAX_TIMESTAMP = 1 << 16
"""Bytes. A response with a chain of four certificates has some 8,000."""

OPENSSL = Program("openssl", "install it")

_NAME = re.compile(r"timestamps/(\d{12})-([0-9a-f]{12})\.tsr", re.ASCII)
_DIGITS = 12
_TEXT = re.compile(
    r"^Hash Algorithm: sha256\nMessage data:\n((?:    [0-9a-f]{4} - .*\n){2})Serial number: .*\n"
    r"Time stamp: ([A-Z][a-z]{2}) ( \d|\d\d) (\d\d):(\d\d):(\d\d)(?:\.(\d{1,6})\d*)? (\d{4}) GMT$",
    re.MULTILINE | re.ASCII,
)
_DUMPED = re.compile(r"^    [0-9a-f]{4} - ((?:[0-9a-f]{2}[ -]){16})", re.MULTILINE)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_CERTIFICATE = re.compile(r"Verify error:\s*([^\n]+)")
# What openssl says, and what it means for a time stamp.
_REASONS = {
    "imprint mismatch": "it is of something else",
    "nonce mismatch": "it answers another request",
    "nonce not returned": "it answers no request of this run",
    "no time stamp token": "the authority refused the request",
}


class TimestampFile(NamedTuple):
    """A time stamp in the archive: the sequence and the first digits of the SHA-256 that it says it is of, its name."""

    sequence: int
    digits: str
    name: str

    def is_of(self, head: Head) -> bool:
        return self == timestamp_file(head)


class TimestampToken(NamedTuple):
    """What a time stamp says: the SHA-256 that it is of, and the time of the authority."""

    sha256: str
    time: datetime


class InvalidTimestamp(Exception):
    """A file is no time stamp; the text says why, as a phrase."""


def timestamp_file(head: Head) -> TimestampFile:
    """Where the time stamp of a commit is stored."""
    digits = head.sha256[:_DIGITS]
    return TimestampFile(head.sequence, digits, f"timestamps/{head.sequence:012d}-{digits}.tsr")


def parse_timestamp_name(name: str) -> Optional[TimestampFile]:
    """The parts of a time stamp's name; None for any other name."""
    match = _NAME.fullmatch(name)
    return TimestampFile(int(match[1]), match[2], name) if match else None


def timestamp_names(store: Store) -> List[str]:
    """The names of all files that are stored with the time stamps."""
    try:
        return list(store.names("timestamps"))
    except InvalidObject:
        return []  # verify reports it as what it is


def read_timestamp_file(store: Store, name: str) -> bytes:
    """A time stamp's file; errors as of :meth:`Store.chunks`, InvalidObject if it is larger than any time stamp."""
    return join_chunks(store.chunks(name), f"{name} in {store}", MAX_TIMESTAMP)


def make_query(sha256: str) -> bytes:
    """A request for the time stamp of a SHA-256, with a new nonce, that asks for the authority's certificates.

    :raises InvalidInput: there is no openssl.
    """
    done = _ts(["-query", "-digest", sha256, "-sha256", "-cert"])
    if done.returncode != 0:
        raise InvalidInput(f"openssl makes no request for a time stamp: {OPENSSL.error_text(done)}.")
    return done.stdout


def read_token(response: bytes) -> TimestampToken:
    """What a time stamp says, whoever made it.

    :raises Unreadable: it is none.
    """
    token = _token_in(response)
    with temporary_file(token) as file:
        done = _ts(["-reply", "-in", file, "-token_in", "-text"])
    # Of a token alone: the text of a response would begin with words that no signature covers.
    found = _TEXT.search(done.stdout.decode("utf-8", "replace"))
    if done.returncode != 0 or found is None:
        raise InvalidTimestamp("it is no time stamp of a SHA-256")
    dump, month, day, hour, minute, second, fraction, year = found.groups()
    digest = "".join(re.findall("[0-9a-f]{2}", "".join(_DUMPED.findall(dump))))
    try:
        moment = datetime(
            *(int(year), _MONTHS.index(month) + 1, int(day), int(hour), int(minute), int(second)),
            int((fraction or "").ljust(6, "0")),
            timezone.utc,
        )
    except ValueError as exc:
        raise InvalidTimestamp("its time is not valid") from exc
    return TimestampToken(digest, moment)


def response_problem(response: bytes, query: bytes, authorities: Optional[Authorities]) -> Optional[str]:
    """Why this is no answer to a request, by an authority whose certificate is valid now; None if it is one.

    Without ``authorities``, anybody's certificate will do: this shows that the time stamp is complete and answers the
    request, not whose it is.
    """
    if authorities is not None:
        return authorities.response_problem(response, query)
    try:
        token = _token_in(response)
    except InvalidTimestamp as exc:
        return str(exc)
    inside = OPENSSL.run(["pkcs7", "-inform", "DER", "-print_certs"], token).stdout
    with temporary_file(inside) as certificates, temporary_file(query) as file:
        return _damage(response, ["-queryfile", file, "-CAfile", certificates, "-partial_chain"])


class Authorities:
    """Whose time stamps count: a file with certificates in PEM, from outside the archive."""

    def __init__(self, path: str) -> None:
        """:raises InvalidInput: the file cannot be read, or there is no openssl."""
        self.path = path
        try:
            with open(path, "rb") as file:
                has_one = b"-----BEGIN" in file.read(MAX_TIMESTAMP)
        except OSError as exc:
            raise InvalidInput(
                f"The certificates of time stamping authorities in {path} cannot be read: {exc.strerror or exc}."
            ) from exc
        if not has_one:
            raise InvalidInput(f"{path} has no certificate of a time stamping authority in PEM.")
        OPENSSL.path()

    def damage(self, response: bytes, token: TimestampToken) -> Optional[str]:
        """Why this is no time stamp by such an authority with a certificate that was valid then; None if it is one."""
        then = ["-attime", str(int(token.time.timestamp()))]
        return _damage(response, ["-digest", token.sha256, "-CAfile", self.path, *then])

    def response_problem(self, response: bytes, query: bytes) -> Optional[str]:
        """Why this is no answer to a request by such an authority, with a certificate that is valid now."""
        with temporary_file(query) as file:
            return _damage(response, ["-queryfile", file, "-CAfile", self.path])


def _token_in(response: bytes) -> bytes:
    with temporary_file(response) as file:
        done = _ts(["-reply", "-in", file, "-token_out"])
    if done.returncode != 0 or not done.stdout:
        raise InvalidTimestamp("it is no time stamp, or the authority refused the request")
    return done.stdout


def _damage(response: bytes, arguments: Sequence[str]) -> Optional[str]:
    with temporary_file(response) as file:
        done = _ts(["-verify", "-in", file, *arguments])
    return None if done.returncode == 0 else _reason(done)


def _reason(done: CompletedProgram) -> str:
    printed = (done.stdout + done.stderr).decode("utf-8", "replace")
    certificate = _CERTIFICATE.search(printed)
    if certificate:
        return f"its certificate is not accepted: {certificate[1].strip().rstrip('.')}"
    return next((meaning for words, meaning in _REASONS.items() if words in printed), "it is no valid time stamp")


def _ts(arguments: Sequence[str]) -> CompletedProgram:
    return OPENSSL.run(["ts", *arguments])
