# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The address of an archive in a bucket."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any, Dict, NamedTuple, Optional
from urllib.parse import parse_qsl

from ...errors import InvalidInput
from ...times import utc_now

SCHEME = "s3://"


_PLACE = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/([^?#]*))?", re.ASCII)


_LOCK_MODES = ("governance", "compliance")


class BucketAccess(NamedTuple):
    """How to reach the server of a bucket: its URL, and where its credentials are, in the form of boto3.

    ``ca_path`` names the certificate authorities to trust; ``profile`` is a section of ``credentials_file``. What is
    None comes from the environment.
    """

    endpoint: Optional[str] = None
    region: Optional[str] = None
    ca_path: Optional[str] = None
    credentials_file: Optional[str] = None
    profile: Optional[str] = None


FROM_ENVIRONMENT = BucketAccess()


class BucketLocation(NamedTuple):
    """A bucket and what the names of an archive's files are prefixed with in it."""

    bucket: str
    prefix: str

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.prefix}".rstrip("/")

    @classmethod
    def parse(cls, text: str) -> BucketLocation:
        found = _PLACE.fullmatch(text)
        if found is None:
            raise InvalidInput(f"{text!r} is no place in a bucket; it looks like s3://BUCKET/PREFIX.")
        prefix = (found.group(2) or "").strip("/")
        return cls(found.group(1), f"{prefix}/" if prefix else "")

    def child(self, name: str) -> BucketLocation:
        return BucketLocation(self.bucket, f"{self.prefix}{name}/")


class ObjectLock(NamedTuple):
    """How long, in days, each commit and data file is locked when it is written, and how strictly."""

    days: int
    mode: str

    def parameters(self) -> Dict[str, Any]:
        until = utc_now() + timedelta(days=self.days)
        return {"ObjectLockMode": self.mode.upper(), "ObjectLockRetainUntilDate": until}


class ArchiveAddress(NamedTuple):
    """Where an archive lies, where its commits are decided if not there, and how long its objects are locked."""

    place: BucketLocation
    commit_bucket: Optional[BucketLocation] = None
    lock: Optional[ObjectLock] = None

    @classmethod
    def parse(cls, url: str) -> ArchiveAddress:
        """Read ``s3://BUCKET/PREFIX?claims=s3://BUCKET/PREFIX&lock_days=DAYS&lock_mode=governance``.

        :raises InvalidInput: it is something else.
        """
        where, _mark, query = url.partition("?")
        place = BucketLocation.parse(where)
        given = dict(parse_qsl(query, keep_blank_values=True))
        commit_bucket = BucketLocation.parse(given.pop("claims")) if "claims" in given else None
        if commit_bucket == place:
            raise InvalidInput(f"The claims of {place} must lie in another place.")
        lock = _parse_lock(given.pop("lock_days", None), given.pop("lock_mode", None))
        if given:
            raise InvalidInput(f"{min(given)!r} is no option of {place}; there are claims, lock_days and lock_mode.")
        return cls(place, commit_bucket, lock)

    def child(self, name: str) -> ArchiveAddress:
        """The same in a folder of its own beside the archive's, without locks."""
        return ArchiveAddress(self.place.child(name), self.commit_bucket.child(name) if self.commit_bucket else None)


def _parse_lock(days: Optional[str], mode: Optional[str]) -> Optional[ObjectLock]:
    if days is None and mode is None:
        return None
    if days is None or not re.fullmatch(r"[1-9]\d{0,4}", days, re.ASCII):
        raise InvalidInput(f"lock_days must be a number of days from 1 to 99999, not {days!r}.")
    if mode not in (None, *_LOCK_MODES):
        raise InvalidInput(f"lock_mode must be governance or compliance, not {mode!r}.")
    return ObjectLock(int(days), mode or "governance")
