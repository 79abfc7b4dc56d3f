# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An archive in an S3 bucket, of any provider.

**Who decides.** A commit is created by a PUT that the server refuses when there is one of this name
(``If-None-Match: *``). Not every server honours that everywhere, so each run proves it before its first commit. Where
it is ignored, commits are decided in another place, ``claims``, and then copied to the archive. Anyone who may write
there can have made a claim: one that this run did not make itself is copied only after its caller has checked it.

**What a lost run leaves behind.** A request may still take effect after the run that sent it was killed, or gave up
waiting for an answer. So a record in ``pending/`` outlives what it names until nothing of it can appear any more:

- A record is stored before the first of its data files is sent.
- A data file is only sent when its request was signed at most an hour after the server stored the record, by the
  server's clock. The server refuses a request a quarter of an hour after it was signed, so none of them can begin to
  take effect later than that, however long a host was suspended.
- Whoever sees a record of a decided sequence removes the files that it names, and it stays for the next one to look
  again. It goes when the server says that it is a day old, or when the run that wrote it knows that each of its
  requests was answered the first time.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import time
from base64 import b64encode
from contextlib import closing, contextmanager
from datetime import datetime, timedelta, timezone
from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Set, Tuple, Union
from urllib.parse import urlsplit

from ...errors import ArchiveDamaged, MissingDependency, StorageError, StorageUnreachable
from ...times import format_time, parse_http_date
from ...tls import is_certificate_error
from ..format.commit import commit_name, parse_commit_name, pending_record
from .s3_address import FROM_ENVIRONMENT, SCHEME, ArchiveAddress, BucketAccess, BucketLocation, ObjectLock
from .store import TOP_LEVEL_NAMES, Claim, ObjectNotFound, UnexpectedItem

_CHUNK = 1 << 16
_ATTEMPTS = 5
_SIGNED_WITHIN = timedelta(hours=1)
_SETTLED_AFTER = timedelta(days=1)
_COMMIT_KEY = re.compile(r"/commits/\d{12}\.json$", re.ASCII)

_ABSENT = ("NoSuchKey", "NotFound", "404")
_REFUSED = ("PreconditionFailed", "412")
_CONFLICT = ("ConditionalRequestConflict", "OperationAborted", "409")
_BUSY = ("SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "Throttling", "RequestLimitExceeded")
_EXPIRED = ("ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired", "RequestExpired")


class S3Store:
    """An archive in a bucket, by its address; see :meth:`Address.parse`.

    What ``access`` leaves open comes from the environment: the endpoint from ``AWS_ENDPOINT_URL_S3`` or
    ``AWS_ENDPOINT_URL``, credentials from boto3's usual chain. No request is sent before it is needed.
    """

    # Less than the ten connections that boto3 keeps.
    max_concurrent_reads = 8

    def __init__(self, address: Union[str, ArchiveAddress], access: BucketAccess = FROM_ENVIRONMENT) -> None:
        self._address = ArchiveAddress.parse(address) if isinstance(address, str) else address
        self._access = access
        server = _Server(access)
        place, commit_bucket, lock = self._address
        self._main = _Objects(server, place, lock)
        self._commit_bucket = _Objects(server, commit_bucket) if commit_bucket else None
        self._settled: Set[str] = set()

    def __str__(self) -> str:
        return str(self._address.place)

    @contextmanager
    def scratch(self) -> Iterator[S3Store]:
        """A store that decides where and how this one does, in a folder of its own; removed with all in it at the end.

        Its requests may come from several threads at once.
        """
        made = S3Store(self._address.child(f"probe-{secrets.token_hex(8)}"), self._access)
        try:
            yield made
        finally:
            made._clear()

    def _clear(self) -> None:
        for objects in filter(None, (self._main, self._commit_bucket)):
            for name in list(objects.names("")):
                objects.delete(name)

    def chunks(self, name: str) -> Iterator[bytes]:
        return self._main.chunks(name)

    def names(self, folder: str, after: str = "") -> Iterator[str]:
        return self._main.names(f"{folder}/", after)

    def list_unexpected(self) -> Iterator[UnexpectedItem]:
        """Only at the top: below it, a bucket has nothing but objects, which :meth:`names` returns."""
        place, commit_bucket, _lock = self._address
        inside = commit_bucket.prefix if commit_bucket and commit_bucket.bucket == place.bucket else ""
        for name in self._main.top():
            if name.rstrip("/") not in {*TOP_LEVEL_NAMES, ""} and not inside.startswith(place.prefix + name):
                yield UnexpectedItem(name.rstrip("/"), "objects of this prefix" if name.endswith("/") else "an object")

    def commits(self, after: int = 0) -> List[int]:
        names = self._main.names("commits/", commit_name(after) if after else "")
        return [sequence for sequence in map(parse_commit_name, names) if sequence is not None]

    def list_deleted_commits(self, after: int = 0) -> List[int]:
        names = self._main.deleted("commits/", commit_name(after) if after else "")
        return [sequence for sequence in map(parse_commit_name, names) if sequence is not None]

    def prepare(self, head: Optional[Tuple[str, bytes]]) -> None:
        sequence = (parse_commit_name(head[0]) if head else None) or 0
        for deleted in self.list_deleted_commits(after=sequence):
            raise ArchiveDamaged(
                f"Commit {deleted} in {self} was deleted, the bucket has a delete marker for it; verify the archive "
                "and restore it."
            )

    def check_put_if_absent(self, head: Optional[Tuple[str, bytes]], record: str) -> None:
        deciding = self._commit_bucket or self._main
        # A record of nothing: if it cannot be deleted again, it is one that any later run removes.
        name, body = head or (record, pending_record(()))
        try:
            # The first one may be new: before the first commit, and in a new place of claims.
            if deciding.put_new(name, body) and deciding.put_new(name, body):
                raise self._undecidable()
        finally:
            if head is None:
                deciding.delete(name)
        if head is not None and self._commit_bucket is not None and self._commit_bucket.find(name) != body:
            raise self._differing(name)

    def put(self, files: Mapping[str, bytes]) -> None:
        records = sorted(name for name in files if name.startswith("pending/"))
        answers = [self._main.put(name, files[name]) for name in records]
        last_signature = min((answer.date for answer in answers), default=None)
        for name in sorted(files.keys() - set(records)):
            answers.append(self._main.put(name, files[name], last_signature and last_signature + _SIGNED_WITHIN))
        if all(answer.at_once for answer in answers):
            self._settled.update(records)

    def is_settled(self, record: str) -> bool:
        return record in self._settled or self._main.is_older(record, _SETTLED_AFTER)

    def put_if_absent(self, name: str, body: bytes) -> bool:
        if self._commit_bucket is None:
            return self._main.create(name, body)
        won = self._commit_bucket.create(name, body)
        if won:
            # Whoever wins may be killed before this: the next run then finds the claim.
            self.copy_claim(name, body)
        return won

    def claim(self, name: str) -> Optional[Claim]:
        claimed = self._commit_bucket.find(name) if self._commit_bucket else None
        if self._commit_bucket is None or claimed is None:
            return None
        present = self._main.find(name)
        if present is None:
            return Claim(claimed, f"{self._commit_bucket}/{name}")
        if present != claimed:
            raise self._differing(name)
        return None

    def copy_claim(self, name: str, body: bytes) -> None:
        present = self._main.find(name)
        if present is None and self._main.create(name, body):
            return
        if present != body:
            raise self._differing(name)

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            self._main.delete(name)

    def check_not_locked(self, names: Iterable[str]) -> None:
        for name in names:
            lock = self._main.lock_of(name)
            if lock is not None:
                raise StorageError(f"{self}/{name} is locked {lock} and stays; wait, or ask for older days only.")

    def purge(self, names: Iterable[str]) -> None:
        for name in names:
            self._main.purge(name)

    def _differing(self, name: str) -> ArchiveDamaged:
        return ArchiveDamaged(f"{name} in {self} is not the one decided in {self._commit_bucket}; verify the archive.")

    def _undecidable(self) -> StorageError:
        return StorageError(
            f"{self._commit_bucket or self} cannot decide commits: the server ignores If-None-Match there, so that one "
            "collector could overwrite another's commit (Ceph before release 20 does so in versioned and locked "
            "buckets); name a plain bucket to decide them in, as in ?claims=s3://BUCKET/PREFIX."
        )


class _Answer(NamedTuple):
    """When the server answered, by its own clock, and whether the first attempt was the only one."""

    date: datetime
    at_once: bool


class _Server:
    """The client of a server, made when it is first needed."""

    def __init__(self, access: BucketAccess) -> None:
        self._access = access
        self._endpoint = access.endpoint or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        self._client: Any = None
        self.last_signature: Optional[datetime] = None
        self.exclusive: Optional[str] = None

    def __str__(self) -> str:
        parts = urlsplit(self._endpoint or "")
        return parts.netloc.rpartition("@")[2] or "the S3 server"

    @property
    def client(self) -> Any:
        if self._client is None:
            self._client = self._make()
        return self._client

    def _make(self) -> Any:
        boto3 = _import_boto3()
        session = boto3.session.Session(botocore_session=self._session())
        region = self._access.region or session.region_name or os.environ.get("AWS_REGION") or "us-east-1"
        client = session.client(
            "s3",
            endpoint_url=self._endpoint,
            region_name=region,
            verify=self._access.ca_path,
            config=self._config(),
        )
        client.meta.events.register("before-call.s3.PutObject", self._never_overwrite)
        client.meta.events.register("before-send.s3.PutObject", self._refuse_late)
        return client

    def _session(self) -> Any:
        """A session with its own credentials: environment variables would be those of all archives of a process."""
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
            retries["max_attempts"] = _ATTEMPTS
        options: Dict[str, Any] = {
            "signature_version": "s3v4",
            "connect_timeout": 10,
            "read_timeout": 60,
            "retries": retries,
            # The signature covers the body, so that the server refuses one that was damaged on its way.
            "s3": {"payload_signing_enabled": True, "addressing_style": "path" if self._endpoint else "auto"},
        }
        try:
            # Checksums of the newest protocol are not understood by all servers; signature and MD5 are.
            newest = {"request_checksum_calculation": "when_required", "response_checksum_validation": "when_required"}
            return Config(**options, **newest)
        except TypeError:
            return Config(**options)

    def _never_overwrite(self, params: Dict[str, Any], **_context: Any) -> None:
        """The condition as a header: the botocore of distributions knows no parameter for it."""
        path = params["url_path"]
        if _COMMIT_KEY.search(path) or (self.exclusive and path.endswith(self.exclusive)):
            params["headers"]["If-None-Match"] = "*"

    def _refuse_late(self, request: Any, **_context: Any) -> None:
        """Called when a PUT is signed and about to be sent."""
        if self.last_signature is None:
            return
        signed = request.headers["X-Amz-Date"]
        text = signed.decode() if isinstance(signed, bytes) else signed
        if datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc) > self.last_signature:
            raise StorageError("Writing took more than an hour, or the host was suspended; nothing was committed.")


def _import_boto3() -> Any:
    try:
        import boto3
    except ImportError as exc:
        raise MissingDependency("boto3") from exc
    return boto3


class _Objects:
    """The objects of one place; every failure is one sentence, without anything of the credentials."""

    def __init__(self, server: _Server, place: BucketLocation, lock: Optional[ObjectLock] = None) -> None:
        self._server = server
        self._place = place
        self._lock = lock

    def __str__(self) -> str:
        return str(self._place)

    def child(self, name: str) -> _Objects:
        return _Objects(self._server, self._place.child(name))

    def chunks(self, name: str) -> Iterator[bytes]:
        """The bytes of an object; after a broken connection, the rest of them.

        :raises ObjectNotFound: there is no such object; raised before any of its bytes.
        """
        done, length = 0, -1
        for attempt in range(_ATTEMPTS):
            try:
                answer = self._get(name, done)
                length = done + answer["ContentLength"]
                with closing(answer["Body"]) as body:
                    while done < length:
                        with self._told("read", name):
                            chunk = body.read(_CHUNK)
                        if not chunk:
                            break
                        done += len(chunk)
                        yield chunk
            except ObjectNotFound as exc:
                if not done:
                    raise
                # What was handed on of it counts: nobody may take it for a file that he has read nothing of.
                raise StorageUnreachable(f"{self._place}/{name} vanished while it was read; try again.") from exc
            except StorageUnreachable:
                if attempt == _ATTEMPTS - 1:
                    raise
            if done == length:
                return
        raise StorageUnreachable(f"{self._server} does not send all of {self._place}/{name}; try again later.")

    def _get(self, name: str, offset: int) -> Any:
        part = {"Range": f"bytes={offset}-"} if offset else {}
        answer = self._call("read", name, lambda client, key: client.get_object(**key, **part))
        if offset and "ContentRange" not in answer:
            raise StorageError(
                f"{self._server} cannot send the rest of {self._place}/{name} after a broken connection."
            )
        return answer

    def find(self, name: str) -> Optional[bytes]:
        try:
            return b"".join(self.chunks(name))
        except ObjectNotFound:
            return None

    def names(self, folder: str, after: str = "") -> Iterator[str]:
        start = {"StartAfter": self._place.prefix + after} if after else {}
        while True:
            page = self._list("list_objects_v2", folder, start)
            yield from self._names_of(page.get("Contents", ()))
            if not page.get("IsTruncated"):
                return
            start = {"ContinuationToken": page["NextContinuationToken"]}

    def top(self) -> Iterator[str]:
        """The first part of the name of each object, with a slash where more follows."""
        start: Dict[str, str] = {}
        while True:
            page = self._list("list_objects_v2", "", {"Delimiter": "/", **start})
            for prefix in page.get("CommonPrefixes", ()):
                yield str(prefix["Prefix"])[len(self._place.prefix) :]
            yield from self._names_of(page.get("Contents", ()))
            if not page.get("IsTruncated"):
                return
            start = {"ContinuationToken": page["NextContinuationToken"]}

    def deleted(self, folder: str, after: str) -> Iterator[str]:
        """The names of objects that a versioned bucket hides behind delete markers."""
        for page in self._versions(folder, after):
            yield from self._names_of(mark for mark in page.get("DeleteMarkers", ()) if mark["IsLatest"])

    def purge(self, name: str) -> None:
        """Delete each version of an object by its id, and then the marks that hide them."""
        pages = list(self._versions(name))
        for kind in ("Versions", "DeleteMarkers"):
            for version in self._ids(pages, kind, name):
                self._delete("erase", name, VersionId=version)

    def lock_of(self, name: str) -> Optional[str]:
        """What keeps the server for now from deleting a version of an object; None if nothing does."""
        for version in self._ids(self._versions(name), "Versions", name):
            facts = self._facts(name, VersionId=version) or {}
            until = facts.get("ObjectLockRetainUntilDate")
            if facts.get("ObjectLockLegalHoldStatus") == "ON":
                return "by a legal hold"
            if until is not None and until > self._date(facts["ResponseMetadata"]):
                return f"until {format_time(until)}"
        return None

    def _ids(self, pages: Iterable[Any], kind: str, name: str) -> Iterator[str]:
        key = self._place.prefix + name
        return (item["VersionId"] for page in pages for item in page.get(kind, ()) if item["Key"] == key)

    def _versions(self, prefix: str, after: str = "") -> Iterator[Any]:
        start = {"KeyMarker": self._place.prefix + after} if after else {}
        while True:
            page = self._list("list_object_versions", prefix, start)
            yield page
            if not page.get("IsTruncated"):
                return
            start = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}

    def _list(self, operation: str, folder: str, start: Dict[str, str]) -> Any:
        where = {"Bucket": self._place.bucket, "Prefix": self._place.prefix + folder, **start}
        return self._call("list", folder, lambda client, _key: getattr(client, operation)(**where))

    def _names_of(self, items: Iterable[Mapping[str, Any]]) -> Iterator[str]:
        return (str(item["Key"])[len(self._place.prefix) :] for item in items)

    def put(self, name: str, body: bytes, last_signature: Optional[datetime] = None) -> _Answer:
        self._server.last_signature = last_signature
        try:
            answer = self._call("write", name, lambda client, key: self._put(client, key, name, body))
        finally:
            self._server.last_signature = None
        facts = answer["ResponseMetadata"]
        return _Answer(self._date(facts), not facts.get("RetryAttempts"))

    def _put(self, client: Any, key: Dict[str, str], name: str, body: bytes) -> Any:
        digest = b64encode(hashlib.new("md5", body, usedforsecurity=False).digest()).decode()
        lock = self._lock.parameters() if self._lock and not name.startswith("pending/") else {}
        return client.put_object(**key, Body=body, ContentMD5=digest, **lock)

    def put_new(self, name: str, body: bytes) -> bool:
        """Create an object; False when the server says that there is one, or that one is just being made."""
        self._server.exclusive = None if parse_commit_name(name) else f"/{name}"
        try:
            self.put(name, body)
        except _Condition:
            return False
        finally:
            self._server.exclusive = None
        return True

    def create(self, name: str, body: bytes) -> bool:
        """Create a commit unless there is one, and tell whether these bytes are there now, whatever was answered."""
        for attempt in range(_ATTEMPTS):
            time.sleep(attempt * 0.1)
            failure: Optional[StorageError] = None
            try:
                if self.put_new(name, body):
                    return True
            except StorageError as exc:
                failure = exc
            found = self.find(name)
            if found is not None:
                return found == body
            if failure is not None:
                raise failure
        raise StorageUnreachable(f"{self._server} does not decide about {self._place}/{name}; try again later.")

    def delete(self, name: str) -> None:
        # In a versioned bucket, deleting what is not there would leave a mark each time.
        if name.startswith("pending/") or self._facts(name):
            self._delete("remove", name)

    def _delete(self, what: str, name: str, **version: str) -> None:
        self._call(what, name, lambda client, key: client.delete_object(**key, **version))

    def is_older(self, name: str, age: timedelta) -> bool:
        """Whether the server stored an object longer ago than this, by its own clock; also when there is none."""
        facts = self._facts(name)
        return facts is None or self._date(facts["ResponseMetadata"]) - facts["LastModified"] > age

    def _date(self, facts: Mapping[str, Any]) -> datetime:
        """The server's date of an answer."""
        date = parse_http_date(facts.get("HTTPHeaders", {}).get("date", ""))
        if date is None:
            raise StorageError(f"{self._server} tells no time in its answers; keep the archive elsewhere.")
        return date

    def _facts(self, name: str, **version: str) -> Any:
        try:
            return self._call("ask for", name, lambda client, key: client.head_object(**key, **version))
        except ObjectNotFound:
            return None

    def _call(self, what: str, name: str, ask: Callable[[Any, Dict[str, str]], Any]) -> Any:
        with self._told(what, name):
            return ask(self._server.client, {"Bucket": self._place.bucket, "Key": self._place.prefix + name})

    @contextmanager
    def _told(self, what: str, name: str) -> Iterator[None]:
        _import_boto3()
        from botocore.exceptions import BotoCoreError, ClientError
        from urllib3.exceptions import HTTPError

        try:
            yield
        except ClientError as exc:
            raise self._refusal(exc.response, what, f"{SCHEME}{self._place.bucket}/{self._place.prefix}{name}") from exc
        except (BotoCoreError, HTTPError, OSError, ValueError) as exc:
            raise _failure(exc, str(self._server), self._place.bucket) from exc

    def _refusal(self, response: Mapping[str, Any], what: str, where: str) -> StorageError:
        """What a server's error means. Its own words are left out: they are long, and may quote the request."""
        code = str(response.get("Error", {}).get("Code", ""))
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        server = self._server
        if code in _ABSENT:
            return ObjectNotFound(f"There is no {where}.")
        if code in (*_REFUSED, *_CONFLICT):
            return _Condition(f"{server} does not {what} {where}: {code}.")
        if code not in _SENTENCES and (code in _BUSY or (status or 0) >= 500):
            return StorageUnreachable(
                f"{server} is overloaded or out of order and did not {what} {where} ({status} {_plain(code)}); "
                "try again later.",
                status,
            )
        told = _SENTENCES.get(code) or _SENTENCES["ExpiredToken" if code in _EXPIRED else ""]
        words = {"server": server, "what": what, "where": where, "bucket": self._place.bucket}
        return StorageError(told.format(**words, code=_plain(code), status=status), status)


class _Condition(StorageError):
    """There is a commit of this name, or one is just being made."""


_DENIED = "{server} does not allow to {what} {where} ({code}); check the bucket's policy, and its locks."
_CREDENTIALS = "{server} does not accept the credentials ({code}); check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
_ELSEWHERE = "The bucket {bucket} lies in another region or at another server ({code}); check AWS_DEFAULT_REGION."
_SENTENCES = {
    "": "{server} refuses to {what} {where}: {code} ({status}).",
    "NoSuchBucket": "There is no bucket {bucket} at {server}; check the path and AWS_ENDPOINT_URL.",
    "AccessDenied": _DENIED,
    "403": _DENIED,
    "InvalidAccessKeyId": _CREDENTIALS,
    "SignatureDoesNotMatch": _CREDENTIALS,
    "ExpiredToken": "The credentials for {server} have expired ({code}); renew them.",
    "RequestTimeTooSkewed": "{server} refuses this host's clock ({code}); correct it.",
    "NotImplemented": "{server} does not know how to {what} {where} ({code}); an archive needs conditional writes "
    "(If-None-Match) and lists of versions, so keep it elsewhere.",
    "PermanentRedirect": _ELSEWHERE,
    "AuthorizationHeaderMalformed": _ELSEWHERE,
    "301": _ELSEWHERE,
    "InvalidRequest": "{server} refuses to {what} {where} ({code}); with lock_days the bucket must have Object Lock.",
}
_WITHOUT_CREDENTIALS = (
    "NoCredentialsError",
    "PartialCredentialsError",
    "CredentialRetrievalError",
    "ProfileNotFound",
    "ConfigParseError",
    "TokenRetrievalError",
    "SSOError",
    "UnauthorizedSSOTokenError",
    "SSOTokenLoadError",
)


def _failure(exc: Exception, server: str, bucket: str) -> StorageError:
    """What it means that no answer came, or that nothing could even be asked."""
    names = {cls.__name__ for cls in type(exc).__mro__}
    if names & set(_WITHOUT_CREDENTIALS):
        return StorageError(
            f"There are no usable credentials for {server}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a "
            "profile of the AWS configuration."
        )
    if "SSLError" in names and is_certificate_error(exc):
        return StorageError(f"The certificate of {server} cannot be verified; set AWS_CA_BUNDLE if it is your own.")
    if names & {"ParamValidationError", "InvalidEndpointConfigurationError", "ValueError"}:
        return StorageError(
            f"The bucket {bucket} at {server} cannot be asked for; check the path and AWS_ENDPOINT_URL."
        )
    if names & {"HTTPClientError", "ConnectionError", "HTTPError", "IncompleteReadError", "OSError"}:
        return StorageUnreachable(f"No answer from {server}; check the network, and try again later.")
    return StorageError(f"{server} cannot be used: {type(exc).__name__}.")


def _plain(code: str) -> str:
    return code if re.fullmatch(r"[A-Za-z0-9.]{1,60}", code) else "unknown"
