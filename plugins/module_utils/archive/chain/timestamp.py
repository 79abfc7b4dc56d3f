# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Time stamps of commits by RFC 3161, requested and checked by ``openssl ts``, which is all that anyone needs to check.

A time stamp is issued for the SHA-256 of a commit's bytes. It shows that the commit, and through the chain of hashes
all earlier commits, existed at that time. It does not show that no other history existed.
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
"""Bytes. A response with a chain of four certificates has about 8,000."""

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
# Messages of openssl, and what they mean for a time stamp.
_REASONS = {
    "imprint mismatch": "it is for other data",
    "nonce mismatch": "it belongs to another request",
    "nonce not returned": "it belongs to no request of this run",
    "no time stamp token": "the authority refused the request",
}


class TimestampFile(NamedTuple):
    """The parts of a time stamp's name: the sequence, the first digits of the SHA-256, and the name itself."""

    sequence: int
    digits: str
    name: str

    def is_of(self, head: Head) -> bool:
        return self == timestamp_file(head)


class TimestampToken(NamedTuple):
    """The content of a time stamp: the SHA-256 and the time of the authority."""

    sha256: str
    time: datetime


class InvalidTimestamp(Exception):
    """A file is not a valid time stamp; the message is a phrase with the reason."""


def timestamp_file(head: Head) -> TimestampFile:
    """The name of a commit's time stamp, in parts."""
    digits = head.sha256[:_DIGITS]
    return TimestampFile(head.sequence, digits, f"timestamps/{head.sequence:012d}-{digits}.tsr")


def parse_timestamp_name(name: str) -> Optional[TimestampFile]:
    """The parts of a time stamp's name; None for any other name."""
    match = _NAME.fullmatch(name)
    return TimestampFile(int(match[1]), match[2], name) if match else None


def timestamp_names(store: Store) -> List[str]:
    """The names of all files in ``timestamps``."""
    try:
        return list(store.list_files("timestamps"))
    except InvalidObject:
        return []  # verify reports it


def read_timestamp_file(store: Store, name: str) -> bytes:
    """The content of a time stamp; raises as :meth:`Store.read`, and InvalidObject if the file is too large."""
    return join_chunks(store.read(name), f"{name} in {store}", MAX_TIMESTAMP)


def make_query(sha256: str) -> bytes:
    """A request for a time stamp of a SHA-256, with a new nonce, and for the certificates of the authority.

    :raises InvalidInput: openssl is missing or fails.
    """
    result = _ts(["-query", "-digest", sha256, "-sha256", "-cert"])
    if result.returncode != 0:
        raise InvalidInput(f"openssl cannot create a request for a time stamp: {OPENSSL.error_text(result)}.")
    return result.stdout


def read_token(response: bytes) -> TimestampToken:
    """The content of a time stamp, by any authority.

    :raises InvalidTimestamp: the file is not a time stamp of a SHA-256.
    """
    token = _token_in(response)
    with temporary_file(token) as file:
        result = _ts(["-reply", "-in", file, "-token_in", "-text"])
    # Print only the token: the text of a response begins with parts that no signature covers.
    found = _TEXT.search(result.stdout.decode("utf-8", "replace"))
    if result.returncode != 0 or found is None:
        raise InvalidTimestamp("it is not a time stamp of a SHA-256")
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
    """Why this is not a time stamp for a request, with a certificate that is valid now; None if it is one.

    Without ``authorities``, any certificate is accepted: the check then shows that the time stamp is complete and
    belongs to the request, but not who issued it.
    """
    if authorities is not None:
        return authorities.response_problem(response, query)
    try:
        token = _token_in(response)
    except InvalidTimestamp as exc:
        return str(exc)
    embedded = OPENSSL.run(["pkcs7", "-inform", "DER", "-print_certs"], token).stdout
    with temporary_file(embedded) as certificates, temporary_file(query) as file:
        return _verify(response, ["-queryfile", file, "-CAfile", certificates, "-partial_chain"])


class Authorities:
    """The authorities whose time stamps are accepted: a file with PEM certificates from outside the archive."""

    def __init__(self, path: str) -> None:
        """:raises InvalidInput: the file cannot be read, or openssl is missing."""
        self.path = path
        try:
            with open(path, "rb") as file:
                has_certificate = b"-----BEGIN" in file.read(MAX_TIMESTAMP)
        except OSError as exc:
            raise InvalidInput(
                f"The certificates of time stamping authorities in {path} cannot be read: {exc.strerror or exc}; check "
                "the path."
            ) from exc
        if not has_certificate:
            raise InvalidInput(
                f"{path} contains no PEM certificate; name a file with the certificates of time stamping authorities."
            )
        OPENSSL.path()

    def find_problem(self, response: bytes, token: TimestampToken) -> Optional[str]:
        """Why this is not a time stamp by an accepted authority, valid at its own time; None if it is one."""
        at_its_time = ["-attime", str(int(token.time.timestamp()))]
        return _verify(response, ["-digest", token.sha256, "-CAfile", self.path, *at_its_time])

    def response_problem(self, response: bytes, query: bytes) -> Optional[str]:
        """Why this is not a time stamp for a request by an accepted authority, valid now; None if it is one."""
        with temporary_file(query) as file:
            return _verify(response, ["-queryfile", file, "-CAfile", self.path])


def _token_in(response: bytes) -> bytes:
    with temporary_file(response) as file:
        result = _ts(["-reply", "-in", file, "-token_out"])
    if result.returncode != 0 or not result.stdout:
        raise InvalidTimestamp("it is not a time stamp, or the authority refused the request")
    return result.stdout


def _verify(response: bytes, arguments: Sequence[str]) -> Optional[str]:
    with temporary_file(response) as file:
        result = _ts(["-verify", "-in", file, *arguments])
    return None if result.returncode == 0 else _reason(result)


def _reason(result: CompletedProgram) -> str:
    printed = (result.stdout + result.stderr).decode("utf-8", "replace")
    certificate = _CERTIFICATE.search(printed)
    if certificate:
        return f"its certificate is not accepted: {certificate[1].strip().rstrip('.')}"
    return next(
        (meaning for message, meaning in _REASONS.items() if message in printed), "it is not a valid time stamp"
    )


def _ts(arguments: Sequence[str]) -> CompletedProgram:
    return OPENSSL.run(["ts", *arguments])
