# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Objects below one prefix of a bucket, and the client that accesses them."""

from __future__ import annotations

import hashlib
import os
import re
import time
from base64 import b64encode
from contextlib import AbstractContextManager, closing
from datetime import datetime, timedelta, timezone
from typing import Any, Callable, Dict, Iterable, Iterator, Mapping, NamedTuple, Optional
from urllib.parse import urlsplit

from ...errors import StorageError, StorageUnreachable
from ...times import format_time, parse_http_date
from ..format.commit import parse_commit_name
from .s3_address import SCHEME, BucketAccess, BucketLocation, ObjectLock
from .s3_errors import ConditionFailed, import_boto3, translate_errors
from .store import ObjectNotFound

_CHUNK_SIZE = 1 << 16
_MAX_ATTEMPTS = 5
_COMMIT_KEY = re.compile(r"/commits/\d{12}\.json$", re.ASCII)


class PutResult(NamedTuple):
    """The server's date of the response to a PUT, and whether the first attempt got it."""

    date: datetime
    first_attempt: bool


class S3Client:
    """A boto3 client that is created on first use.

    ``signing_deadline`` is the latest time at which a PUT can be signed. ``exclusive`` is the end of the one key,
    besides those of commits, that a PUT must not overwrite.
    """

    def __init__(self, access: BucketAccess) -> None:
        self._access = access
        self._endpoint = access.endpoint or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        self._client: Any = None
        self.signing_deadline: Optional[datetime] = None
        self.exclusive: Optional[str] = None

    def __str__(self) -> str:
        parts = urlsplit(self._endpoint or "")
        return parts.netloc.rpartition("@")[2] or "the S3 server"

    @property
    def client(self) -> Any:
        if self._client is None:
            self._client = self._create()
        return self._client

    def _create(self) -> Any:
        boto3 = import_boto3()
        session = boto3.session.Session(botocore_session=self._session())
        region = self._access.region or session.region_name or os.environ.get("AWS_REGION") or "us-east-1"
        client = session.client(
            "s3",
            endpoint_url=self._endpoint,
            region_name=region,
            verify=self._access.ca_path,
            config=self._config(),
        )
        client.meta.events.register("before-call.s3.PutObject", self._add_condition)
        client.meta.events.register("before-send.s3.PutObject", self._check_signature_time)
        return client

    def _session(self) -> Any:
        """A session with the credentials of this archive; environment variables hold for all archives of a process."""
        from botocore.session import Session

        session = Session()
        if self._access.credentials_file:
            session.set_config_variable("credentials_file", self._access.credentials_file)
        if self._access.profile:
            session.set_config_variable("profile", self._access.profile)
        return session

    def _config(self) -> Any:
        from botocore.config import Config

        retries: Dict[str, Any] = {"mode": "standard"}
        if "AWS_MAX_ATTEMPTS" not in os.environ:
            retries["max_attempts"] = _MAX_ATTEMPTS
        options: Dict[str, Any] = {
            "signature_version": "s3v4",
            "connect_timeout": 10,
            "read_timeout": 60,
            "retries": retries,
            # The signature covers the body, so that the server rejects a body that was damaged in transit.
            "s3": {"payload_signing_enabled": True, "addressing_style": "path" if self._endpoint else "auto"},
        }
        try:
            # Some servers do not support the checksums of newer protocol versions; the signature and MD5 suffice.
            checksums = {
                "request_checksum_calculation": "when_required",
                "response_checksum_validation": "when_required",
            }
            return Config(**options, **checksums)
        except TypeError:
            return Config(**options)

    def _add_condition(self, params: Dict[str, Any], **_context: Any) -> None:
        """Set If-None-Match as a header: the botocore of some distributions has no parameter for it."""
        path = params["url_path"]
        if _COMMIT_KEY.search(path) or (self.exclusive and path.endswith(self.exclusive)):
            params["headers"]["If-None-Match"] = "*"

    def _check_signature_time(self, request: Any, **_context: Any) -> None:
        """Called after a PUT was signed and before it is sent."""
        if self.signing_deadline is None:
            return
        signed = request.headers["X-Amz-Date"]
        text = signed.decode() if isinstance(signed, bytes) else signed
        if datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc) > self.signing_deadline:
            raise StorageError("Writing took too long, or the host was suspended. Nothing was committed; run it again.")


class Objects:
    """The objects of one location. Names are keys without the prefix."""

    def __init__(self, server: S3Client, location: BucketLocation, lock: Optional[ObjectLock] = None) -> None:
        self._server = server
        self._location = location
        self._lock = lock

    def __str__(self) -> str:
        return str(self._location)

    def read(self, name: str) -> Iterator[bytes]:
        """Yield the content of an object; after a broken connection, request the remaining bytes.

        :raises ObjectNotFound: no object has this name; raised before the first chunk only.
        """
        done, length = 0, -1
        for attempt in range(_MAX_ATTEMPTS):
            try:
                response = self._get(name, done)
                length = done + response["ContentLength"]
                with closing(response["Body"]) as body:
                    while done < length:
                        with self._translate_errors("read", name):
                            chunk = body.read(_CHUNK_SIZE)
                        if not chunk:
                            break
                        done += len(chunk)
                        yield chunk
            except ObjectNotFound as exc:
                if not done:
                    raise
                # Not ObjectNotFound: callers have already processed a part of the object.
                raise StorageUnreachable(f"{self._location}/{name} was deleted while it was read; try again.") from exc
            except StorageUnreachable:
                if attempt == _MAX_ATTEMPTS - 1:
                    raise
            if done == length:
                return
        raise StorageUnreachable(f"{self._server} sends {self._location}/{name} incompletely; try again later.")

    def _get(self, name: str, offset: int) -> Any:
        part = {"Range": f"bytes={offset}-"} if offset else {}
        response = self._call("read", name, lambda client, key: client.get_object(**key, **part))
        if offset and "ContentRange" not in response:
            raise StorageError(
                f"{self._server} cannot resume reading {self._location}/{name} after a broken connection; try again."
            )
        return response

    def find(self, name: str) -> Optional[bytes]:
        """The content of an object; None if no object has this name."""
        try:
            return b"".join(self.read(name))
        except ObjectNotFound:
            return None

    def list_names(self, prefix: str, after: str = "") -> Iterator[str]:
        start = {"StartAfter": self._location.prefix + after} if after else {}
        for page in self._pages(prefix, start):
            yield from self._names_in(page.get("Contents", ()))

    def list_top_level(self) -> Iterator[str]:
        """The first component of each name, with a slash if more components follow."""
        for page in self._pages("", {}, {"Delimiter": "/"}):
            for prefix in page.get("CommonPrefixes", ()):
                yield str(prefix["Prefix"])[len(self._location.prefix) :]
            yield from self._names_in(page.get("Contents", ()))

    def _pages(self, prefix: str, start: Dict[str, str], options: Optional[Dict[str, str]] = None) -> Iterator[Any]:
        while True:
            page = self._list("list_objects_v2", prefix, {**(options or {}), **start})
            yield page
            if not page.get("IsTruncated"):
                return
            start = {"ContinuationToken": page["NextContinuationToken"]}

    def list_deleted(self, prefix: str, after: str) -> Iterator[str]:
        """The names of objects that a versioned bucket hides behind delete markers."""
        for page in self._version_pages(prefix, after):
            yield from self._names_in(marker for marker in page.get("DeleteMarkers", ()) if marker["IsLatest"])

    def purge(self, name: str) -> None:
        """Delete each version of an object, then its delete markers."""
        pages = list(self._version_pages(name))
        for kind in ("Versions", "DeleteMarkers"):
            for version in self._version_ids(pages, kind, name):
                self._delete("delete", name, VersionId=version)

    def describe_lock(self, name: str) -> Optional[str]:
        """The lock that protects a version of an object now, as a phrase; None without one."""
        for version in self._version_ids(self._version_pages(name), "Versions", name):
            metadata = self._metadata(name, VersionId=version) or {}
            until = metadata.get("ObjectLockRetainUntilDate")
            if metadata.get("ObjectLockLegalHoldStatus") == "ON":
                return "by a legal hold"
            if until is not None and until > self._date(metadata["ResponseMetadata"]):
                return f"until {format_time(until)}"
        return None

    def _version_ids(self, pages: Iterable[Any], kind: str, name: str) -> Iterator[str]:
        key = self._location.prefix + name
        return (item["VersionId"] for page in pages for item in page.get(kind, ()) if item["Key"] == key)

    def _version_pages(self, prefix: str, after: str = "") -> Iterator[Any]:
        start = {"KeyMarker": self._location.prefix + after} if after else {}
        while True:
            page = self._list("list_object_versions", prefix, start)
            yield page
            if not page.get("IsTruncated"):
                return
            start = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}

    def _list(self, operation: str, prefix: str, options: Dict[str, str]) -> Any:
        parameters = {"Bucket": self._location.bucket, "Prefix": self._location.prefix + prefix, **options}
        return self._call("list", prefix, lambda client, _key: getattr(client, operation)(**parameters))

    def _names_in(self, items: Iterable[Mapping[str, Any]]) -> Iterator[str]:
        return (str(item["Key"])[len(self._location.prefix) :] for item in items)

    def put(self, name: str, body: bytes, signing_deadline: Optional[datetime] = None) -> PutResult:
        """Store an object; ``signing_deadline`` is the latest time at which the request can be signed."""
        self._server.signing_deadline = signing_deadline
        try:
            response = self._call("write", name, lambda client, key: self._put(client, key, name, body))
        finally:
            self._server.signing_deadline = None
        metadata = response["ResponseMetadata"]
        return PutResult(self._date(metadata), not metadata.get("RetryAttempts"))

    def _put(self, client: Any, key: Dict[str, str], name: str, body: bytes) -> Any:
        digest = b64encode(hashlib.new("md5", body, usedforsecurity=False).digest()).decode()
        lock = self._lock.parameters() if self._lock and not name.startswith("pending/") else {}
        return client.put_object(**key, Body=body, ContentMD5=digest, **lock)

    def put_new(self, name: str, body: bytes) -> bool:
        """Send one conditional PUT; False if an object of this name exists or another request is creating it."""
        self._server.exclusive = None if parse_commit_name(name) else f"/{name}"
        try:
            self.put(name, body)
        except ConditionFailed:
            return False
        finally:
            self._server.exclusive = None
        return True

    def put_if_absent(self, name: str, body: bytes) -> bool:
        """Create a commit unless one exists; return whether these bytes are stored now, even if a response was lost."""
        for attempt in range(_MAX_ATTEMPTS):
            time.sleep(attempt * 0.1)
            failure: Optional[StorageError] = None
            try:
                if self.put_new(name, body):
                    return True
            except StorageError as exc:
                failure = exc
            stored = self.find(name)
            if stored is not None:
                return stored == body
            if failure is not None:
                raise failure
        raise StorageUnreachable(
            f"{self._server} reports conflicting writes of {self._location}/{name}; try again later."
        )

    def delete(self, name: str) -> None:
        # A versioned bucket would add a delete marker even for a missing object.
        if name.startswith("pending/") or self._metadata(name):
            self._delete("delete", name)

    def _delete(self, action: str, name: str, **version: str) -> None:
        self._call(action, name, lambda client, key: client.delete_object(**key, **version))

    def is_older(self, name: str, age: timedelta) -> bool:
        """Whether the server stored an object longer ago than ``age``, by its clock; True for a missing object."""
        metadata = self._metadata(name)
        return metadata is None or self._date(metadata["ResponseMetadata"]) - metadata["LastModified"] > age

    def _date(self, metadata: Mapping[str, Any]) -> datetime:
        """The server's date of a response."""
        date = parse_http_date(metadata.get("HTTPHeaders", {}).get("date", ""))
        if date is None:
            raise StorageError(f"The responses of {self._server} have no valid Date header; use another server.")
        return date

    def _metadata(self, name: str, **version: str) -> Any:
        try:
            return self._call("read", name, lambda client, key: client.head_object(**key, **version))
        except ObjectNotFound:
            return None

    def _call(self, action: str, name: str, send: Callable[[Any, Dict[str, str]], Any]) -> Any:
        with self._translate_errors(action, name):
            return send(self._server.client, {"Bucket": self._location.bucket, "Key": self._location.prefix + name})

    def _translate_errors(self, action: str, name: str) -> AbstractContextManager[None]:
        address = f"{SCHEME}{self._location.bucket}/{self._location.prefix}{name}"
        return translate_errors(self._server, self._location.bucket, action, address)
