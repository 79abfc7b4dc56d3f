# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can go wrong, as one tree: every error is a sentence for people and a ``failure`` for programs."""

from __future__ import annotations

from typing import Any, Dict, Optional


class AuditError(Exception):
    """The root of all errors of this collection.

    ``message`` says in one sentence what happened, to what, and what to do; it never holds a token.
    ``code`` is stable, for programs. ``status`` is the HTTP status if an answer caused the error.
    ``retryable`` tells whether the same call may succeed later without any change.
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
    """A value that the user gave cannot be used."""

    code = "invalid_input"


class MissingDependency(AuditError):
    """A Python library is missing where the code runs. ``library`` names it."""

    code = "missing_dependency"

    def __init__(self, library: str) -> None:
        super().__init__(f"The Python library {library} is missing; install it for the Python that runs this.")
        self.library = library


class Unauthorized(AuditError):
    """The API does not accept the token (401)."""

    code = "unauthorized"


class Forbidden(AuditError):
    """The token may not read the log (403)."""

    code = "forbidden"


class RequestRejected(AuditError):
    """The API understood the request and refuses it (other 4xx)."""

    code = "request_rejected"


class CursorRejected(AuditError):
    """The API refuses a cursor: it expired or never was one (400, 404, 410 on a cursor's URL)."""

    code = "cursor_rejected"


class Unreachable(AuditError):
    """No answer arrived: no connection, no such host, a time-out, a broken connection."""

    code = "unreachable"
    retryable = True


class CertificateRejected(AuditError):
    """The server's TLS certificate cannot be verified."""

    code = "certificate"


class InvalidResponse(AuditError):
    """An answer arrived that is no page of the log: truncated, HTML, or without the documented keys."""

    code = "invalid_response"
    retryable = True


class ServiceUnavailable(AuditError):
    """The API asks to come back later (429) or is out of order (5xx)."""

    code = "service_unavailable"
    retryable = True


class UntrustedURL(AuditError):
    """A URL leads away from the API; the token was not sent there."""

    code = "untrusted_url"


class PaginationLoop(AuditError):
    """The API returned a ``next`` that was already asked for in this read."""

    code = "pagination_loop"


class StorageError(AuditError):
    """A file or object cannot be read or written."""

    code = "storage"


class StorageUnreachable(StorageError):
    """A storage on the network does not answer, or asks to come back later."""

    retryable = True


class Cancelled(AuditError):
    """The read was asked to stop while it waited."""

    code = "cancelled"
    retryable = True


class NotAsExpected(AuditError):
    """The log was read, and it does not tell what was expected of it."""

    code = "not_as_expected"


class UnexpectedChanges(NotAsExpected):
    """The log holds changes that are forbidden, too many, or expected by no rule."""

    code = "unexpected_changes"


class MissingChanges(NotAsExpected):
    """The log does not hold all the changes expected; they may still come."""

    code = "missing_changes"
    retryable = True


class AlertsFound(NotAsExpected):
    """Detections fired on entries, with a severity that is not accepted."""

    code = "alerts_found"


class RangeIncomplete(NotAsExpected):
    """Parts of the range could not be looked at, so that nothing can be said about the whole of it."""

    code = "range_incomplete"


class ArchiveDamaged(AuditError):
    """An archive is not what its commits, or a head kept elsewhere, say it is; nothing is built on it."""

    code = "archive_damaged"


class ClockSkew(AuditError):
    """The clocks of the server and the host differ too much to record what was read.

    ``seconds`` tells by how much the host's clock is ahead; negative: behind.
    """

    code = "clock"
    retryable = True

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class NotDelivered(AuditError):
    """A receiver did not take an alert; the next run sends it again."""

    code = "not_delivered"
    retryable = True


class NotStamped(AuditError):
    """A time stamping authority did not stamp a head; the commits are made, and the next run asks again."""

    code = "not_stamped"
    retryable = True


class ProjectMismatch(AuditError):
    """What the API returns is not, or cannot be shown to be, the log that the archive holds."""

    code = "project_mismatch"


class EngineFailed(AuditError):
    """The engine of a report cannot be started, or cannot do what it was asked."""

    code = "engine_failed"
