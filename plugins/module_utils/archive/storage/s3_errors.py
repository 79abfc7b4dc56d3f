# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Translates errors of boto3 into one sentence each, without anything secret."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import Any, Iterator, Mapping

from ...errors import MissingDependency, StorageError, StorageUnreachable
from ...tls import is_certificate_error
from .store import ObjectNotFound

_NOT_FOUND = ("NoSuchKey", "NotFound", "404")
_EXISTS = ("PreconditionFailed", "412")
_CONFLICT = ("ConditionalRequestConflict", "OperationAborted", "409")
_BUSY = ("SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "Throttling", "RequestLimitExceeded")
_EXPIRED = ("ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired", "RequestExpired")

_ACCESS_DENIED = "{server} denied access: cannot {action} {address} ({code}); check the bucket's policy and its locks."
_CREDENTIALS = "{server} does not accept the credentials ({code}); check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
_ELSEWHERE = "The bucket {bucket} is in another region or at another server ({code}); check AWS_DEFAULT_REGION."
_MESSAGES = {
    "": "{server} refuses to {action} {address}: {code} ({status}).",
    "NoSuchBucket": "There is no bucket {bucket} at {server}; check the path and AWS_ENDPOINT_URL.",
    "AccessDenied": _ACCESS_DENIED,
    "403": _ACCESS_DENIED,
    "InvalidAccessKeyId": _CREDENTIALS,
    "SignatureDoesNotMatch": _CREDENTIALS,
    "ExpiredToken": "The credentials for {server} have expired ({code}); renew them.",
    "RequestTimeTooSkewed": "{server} rejects the clock of this host ({code}); correct the clock.",
    "NotImplemented": "{server} cannot {action} {address} ({code}); an archive needs conditional writes "
    "(If-None-Match) and lists of versions, so use another server.",
    "PermanentRedirect": _ELSEWHERE,
    "AuthorizationHeaderMalformed": _ELSEWHERE,
    "301": _ELSEWHERE,
    "InvalidRequest": "{server} refuses to {action} {address} ({code}); lock_days requires a bucket with Object Lock.",
}
_CREDENTIAL_ERRORS = (
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


class ConditionFailed(StorageError):
    """An object of this name exists, or another request is creating it."""


def import_boto3() -> Any:
    try:
        import boto3
    except ImportError as exc:
        raise MissingDependency("boto3") from exc
    return boto3


@contextmanager
def translate_errors(server: object, bucket: str, action: str, address: str) -> Iterator[None]:
    """Raise errors of boto3 as StorageError; ``action`` is the verb for what was done to ``address``."""
    import_boto3()
    from botocore.exceptions import BotoCoreError, ClientError
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ClientError as exc:
        raise _rejection(exc.response, server=server, bucket=bucket, action=action, address=address) from exc
    except (BotoCoreError, HTTPError, OSError, ValueError) as exc:
        raise _failure(exc, server, bucket) from exc


def _rejection(response: Mapping[str, Any], **words: object) -> StorageError:
    """The error for a server's error response. Its own message is left out: it can quote the request."""
    code = str(response.get("Error", {}).get("Code", ""))
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    if code in _NOT_FOUND:
        return ObjectNotFound("There is no {address}.".format(**words))
    if code in (*_EXISTS, *_CONFLICT):
        return ConditionFailed("{server} does not {action} {address}: {code}.".format(**words, code=code))
    if code not in _MESSAGES and (code in _BUSY or (status or 0) >= 500):
        message = (
            "{server} is overloaded or unavailable and did not {action} {address} ({status} {code}); try again later."
        )
        return StorageUnreachable(message.format(**words, code=_printable(code), status=status), status)
    message = _MESSAGES.get(code) or _MESSAGES["ExpiredToken" if code in _EXPIRED else ""]
    return StorageError(message.format(**words, code=_printable(code), status=status), status)


def _failure(exc: Exception, server: object, bucket: str) -> StorageError:
    """The error for a request that was not sent or got no response."""
    names = {cls.__name__ for cls in type(exc).__mro__}
    if names & set(_CREDENTIAL_ERRORS):
        return StorageError(
            f"There are no usable credentials for {server}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a "
            "profile of the AWS configuration."
        )
    if "SSLError" in names and is_certificate_error(exc):
        return StorageError(f"The certificate of {server} cannot be verified; set AWS_CA_BUNDLE if it is your own.")
    if names & {"ParamValidationError", "InvalidEndpointConfigurationError", "ValueError"}:
        return StorageError(
            f"The bucket {bucket} at {server} has an invalid name or URL; check the path and AWS_ENDPOINT_URL."
        )
    if names & {"HTTPClientError", "ConnectionError", "HTTPError", "IncompleteReadError", "OSError"}:
        return StorageUnreachable(f"No response from {server}; check the network and try again later.")
    return StorageError(f"{server} cannot be used: {type(exc).__name__}.")


def _printable(code: str) -> str:
    return code if re.fullmatch(r"[A-Za-z0-9.]{1,60}", code) else "unknown"
