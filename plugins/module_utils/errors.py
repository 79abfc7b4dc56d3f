# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The errors of this collection: each has a sentence for people and a ``failure`` for programs."""

from __future__ import annotations

from typing import Any, Dict, Optional


class AuditError(Exception):
    """Base class of all errors raised by this collection.

    ``message`` says in one sentence what happened, to what, and what to do; it never contains a token.
    ``code`` is stable, for programs. ``status`` is the HTTP status if a response caused the error.
    ``retryable``: the same call can succeed later without any change.
    """

    code = "error"
    retryable = False

    def __init__(self, message: str, status: Optional[int] = None) -> None:
        super().__init__(message)
        self.message = message
        self.status = status

    @property
    def failure(self) -> Dict[str, Any]:
        return {"code": self.code, "http_status": self.status, "retryable": self.retryable}


class InvalidInput(AuditError):
    """A value that the user set is not valid."""

    code = "invalid_input"


class MissingDependency(AuditError):
    """The Python library ``library`` is missing where the code runs."""

    code = "missing_dependency"

    def __init__(self, library: str) -> None:
        super().__init__(f"The Python library {library} is missing; install it for the Python that runs this.")
        self.library = library


class Unauthorized(AuditError):
    """The API does not accept the token (401)."""

    code = "unauthorized"


class Forbidden(AuditError):
    """The token is not allowed to read the log (403)."""

    code = "forbidden"


class RequestRejected(AuditError):
    """The API rejects the request (other 4xx)."""

    code = "request_rejected"


class CursorRejected(AuditError):
    """The API rejects a cursor, which has expired or is not valid (400, 404, 410 for a cursor's URL)."""

    code = "cursor_rejected"


class Unreachable(AuditError):
    """No response arrived: no connection, unknown host, timeout, or broken connection."""

    code = "unreachable"
    retryable = True


class CertificateRejected(AuditError):
    """The server's TLS certificate cannot be verified."""

    code = "certificate"


class InvalidResponse(AuditError):
    """A response is not a page of the log: truncated, HTML, or without the documented keys."""

    code = "invalid_response"
    retryable = True


class ServiceUnavailable(AuditError):
    """The API asks for fewer requests (429) or is unavailable (5xx)."""

    code = "service_unavailable"
    retryable = True


class UntrustedURL(AuditError):
    """A URL does not belong to the API; the token was not sent there."""

    code = "untrusted_url"


class PaginationLoop(AuditError):
    """The API returned a ``next`` that was already fetched in this read."""

    code = "pagination_loop"


class StorageError(AuditError):
    """A file or object cannot be read or written."""

    code = "storage"


class StorageUnreachable(StorageError):
    """A storage on the network does not respond, or asks to retry later."""

    retryable = True


class Cancelled(AuditError):
    """The operation was stopped before its end."""

    code = "cancelled"
    retryable = True


class NotAsExpected(AuditError):
    """The log was read, and it is not as expected."""

    code = "not_as_expected"


class UnexpectedChanges(NotAsExpected):
    """The log has changes that are forbidden, too many, or unexpected."""

    code = "unexpected_changes"


class MissingChanges(NotAsExpected):
    """The log does not have all expected changes; they can still appear."""

    code = "missing_changes"
    retryable = True


class AlertsFound(NotAsExpected):
    """Detections fired with a severity that is not accepted."""

    code = "alerts_found"


class RangeIncomplete(NotAsExpected):
    """Parts of the range could not be read, so there is no result for the complete range."""

    code = "range_incomplete"


class ArchiveDamaged(AuditError):
    """An archive differs from its commits, or from a head kept elsewhere; nothing is added to it."""

    code = "archive_damaged"


class ClockSkew(AuditError):
    """The clocks of the server and the host differ too much to archive what was read.

    The host's clock is ``seconds`` ahead; negative: behind.
    """

    code = "clock"
    retryable = True

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class NotDelivered(AuditError):
    """A receiver did not accept an alert; the next run sends it again."""

    code = "not_delivered"
    retryable = True


class NotStamped(AuditError):
    """A time stamping authority did not stamp a head; the commits are written, and the next run retries."""

    code = "not_stamped"
    retryable = True


class ProjectMismatch(AuditError):
    """The log that the API returns is not the archived one, or cannot be shown to be."""

    code = "project_mismatch"


class EngineFailed(AuditError):
    """The engine of a report cannot be started, or a query failed."""

    code = "engine_failed"
