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

_LOCATION = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/([^?#]*))?", re.ASCII)
_LOCK_MODES = ("governance", "compliance")


class BucketAccess(NamedTuple):
    """The URL of an S3 server, and where its credentials are; None means: from the environment.

    ``ca_path`` is a file of trusted certificate authorities; ``profile`` is a section of ``credentials_file``.
    """

    endpoint: Optional[str] = None
    region: Optional[str] = None
    ca_path: Optional[str] = None
    credentials_file: Optional[str] = None
    profile: Optional[str] = None


FROM_ENVIRONMENT = BucketAccess()


class BucketLocation(NamedTuple):
    """A bucket and a prefix of keys, empty or with a slash at its end."""

    bucket: str
    prefix: str

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.prefix}".rstrip("/")

    @classmethod
    def parse(cls, text: str) -> BucketLocation:
        match = _LOCATION.fullmatch(text)
        if match is None:
            raise InvalidInput(f"{text!r} is not a valid bucket address; use s3://BUCKET/PREFIX.")
        prefix = (match.group(2) or "").strip("/")
        return cls(match.group(1), f"{prefix}/" if prefix else "")

    def child(self, name: str) -> BucketLocation:
        return BucketLocation(self.bucket, f"{self.prefix}{name}/")


class ObjectLock(NamedTuple):
    """The retention of each new commit and data file: a number of days, and the mode of S3 Object Lock."""

    days: int
    mode: str

    def parameters(self) -> Dict[str, Any]:
        until = utc_now() + timedelta(days=self.days)
        return {"ObjectLockMode": self.mode.upper(), "ObjectLockRetainUntilDate": until}


class ArchiveAddress(NamedTuple):
    """The location of an archive, the location of its commit bucket, if any, and its lock."""

    location: BucketLocation
    commit_bucket: Optional[BucketLocation] = None
    lock: Optional[ObjectLock] = None

    @classmethod
    def parse(cls, url: str) -> ArchiveAddress:
        """Parse ``s3://BUCKET/PREFIX?claims=s3://BUCKET/PREFIX&lock_days=DAYS&lock_mode=governance``.

        :raises InvalidInput: the URL has another form.
        """
        base, _mark, query = url.partition("?")
        location = BucketLocation.parse(base)
        options = dict(parse_qsl(query, keep_blank_values=True))
        commit_bucket = BucketLocation.parse(options.pop("claims")) if "claims" in options else None
        if commit_bucket == location:
            raise InvalidInput(f"claims must be a different location than the archive {location}.")
        lock = _parse_lock(options.pop("lock_days", None), options.pop("lock_mode", None))
        if options:
            raise InvalidInput(
                f"{min(options)!r} is not a valid option of {location}; use claims, lock_days or lock_mode."
            )
        return cls(location, commit_bucket, lock)

    def child(self, name: str) -> ArchiveAddress:
        """The address of a subdirectory in the same buckets, without locks."""
        return ArchiveAddress(self.location.child(name), self.commit_bucket.child(name) if self.commit_bucket else None)


def _parse_lock(days: Optional[str], mode: Optional[str]) -> Optional[ObjectLock]:
    if days is None and mode is None:
        return None
    if days is None or not re.fullmatch(r"[1-9]\d{0,4}", days, re.ASCII):
        raise InvalidInput(f"lock_days must be a number of days from 1 to 99999, not {days!r}.")
    if mode not in (None, *_LOCK_MODES):
        raise InvalidInput(f"lock_mode must be governance or compliance, not {mode!r}.")
    return ObjectLock(int(days), mode or "governance")
