# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ledger of reviews: which person reviewed a change, and when. Each review is one JSON file."""

from __future__ import annotations

import fcntl
import json
import os
import re
from base64 import b64decode
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime, timedelta
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from ..detections.detection import SEVERITIES
from ..detections.detector import Alert, assign_reviewer, is_actor, is_same_person
from ..errors import InvalidInput, StorageError
from ..files import replace_file
from ..project_log.entry import Entry, subject, timestamp, to_printable
from ..times import format_time, parse_timestamp, utc_now

_ID = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ALERT_KEYS = ("id", "detection", "severity", "title", "check", "reviewer")


@dataclass(frozen=True)
class ReviewRequest:
    """A request to review an entry, with its alerts. ``id`` is that of the most severe alert."""

    id: str
    entry: Entry
    alerts: Tuple[Dict[str, Any], ...]
    reviewer: Optional[str] = None

    @classmethod
    def from_event(cls, text: str) -> ReviewRequest:
        """Read the key ``review`` of an event.

        :raises InvalidInput: the text is not the review of an event.
        """
        value = _decode(text, "event.review")
        try:
            alerts = [{key: alert[key] for key in _ALERT_KEYS} for alert in value["detections"]]
            first = max(alerts, key=lambda alert: SEVERITIES.index(alert["severity"]))
            return cls(_validate_id(first["id"]), _entry(value["entry"]), tuple(alerts), first["reviewer"])
        except (KeyError, TypeError, ValueError) as exc:
            raise InvalidInput("The text is not the review of an event; pass event.review.") from exc

    @classmethod
    def from_entry(cls, identifier: str, text: str, reason: str) -> ReviewRequest:
        """Request a review without a detection, of an entry in Base64; the text can be empty.

        :raises InvalidInput: a value is not valid.
        """
        entry = _entry(_decode(text, "event.entry_base64")) if text else {}
        title = reason.strip() or "A review was requested"
        alert = {
            "id": _validate_id(identifier),
            "detection": "requested",
            "severity": "medium",
            "title": title,
            "check": "",
        }
        return cls(alert["id"], entry, ({**alert, "reviewer": None},))


@dataclass(frozen=True)
class Review:
    """One record of the ledger. ``deputies`` can acknowledge instead of the reviewer; ``sent`` counts messages."""

    id: str
    reviewer: str
    opened: str
    alerts: List[Dict[str, Any]]
    entry: Entry
    deputies: List[str] = field(default_factory=list)
    state: str = "open"
    sent: int = 0
    sent_at: Optional[str] = None
    acknowledged: Optional[str] = None
    acknowledged_by: Optional[str] = None
    note: str = ""

    def to_json(self) -> Dict[str, Any]:
        """Plain values for programs."""
        return asdict(self)

    @property
    def is_open(self) -> bool:
        return self.state == "open"

    def to_alerts(self) -> List[Alert]:
        """The alerts of the entry."""
        label = subject(self.entry)
        project = label.name if label.kind == "project" else ""
        return [
            Alert(
                str(alert["id"]),
                str(alert["detection"]),
                str(alert["severity"]),
                str(alert["title"]),
                timestamp(self.entry),
                project,
                self.entry,
                self.reviewer,
            )
            for alert in self.alerts
        ]


class Ledger:
    """A directory of reviews. Each change of a record is atomic and durable, and made under a lock.

    :raises InvalidInput: the path is not absolute.
    """

    def __init__(self, path: str, now: Callable[[], datetime] = utc_now) -> None:
        self.path = os.path.expanduser(path)
        if not os.path.isabs(self.path):
            raise InvalidInput(f"ledger: {path} must be an absolute path.")
        self._now = now

    def open(
        self, request: ReviewRequest, reviewers: Sequence[str] = (), deputies: Sequence[str] = (), dry_run: bool = False
    ) -> Tuple[Review, bool]:
        """Open a review, and return it and True, or return the existing review of the same request and False.

        :raises InvalidInput: no reviewer is left.
        :raises StorageError: the ledger cannot be read or written.
        """
        existing = self._read(request.id)
        if existing is not None:
            return existing, False
        reviewer = request.reviewer or assign_reviewer(request.id, request.entry, reviewers)
        if reviewer is None:
            raise InvalidInput("No reviewer is left for a change; add reviewers other than its actor.")
        review = Review(
            request.id, reviewer, format_time(self._now()), list(request.alerts), request.entry, list(deputies)
        )
        if dry_run:
            return review, True
        self._create()
        with self._locked():
            existing = self._read(request.id)
            if existing is not None:
                return existing, False
            self._write(review)
        return review, True

    def acknowledge(self, identifier: str, by: str, note: str = "", dry_run: bool = False) -> Tuple[Review, bool]:
        """Close a review, and return it and True if it was open.

        :raises InvalidInput: the review does not exist, or this person is not allowed to close it.
        :raises StorageError: the ledger cannot be read or written.
        """
        with self._locked():
            review = self._read(_validate_id(identifier))
            if review is None:
                raise InvalidInput(f"Review {identifier} is not in {self.path}; copy the id from the message.")
            _check_acknowledger(review, by)
            if not review.is_open:
                return review, False
            now = format_time(self._now())
            closed = replace(review, state="acknowledged", acknowledged=now, acknowledged_by=by.strip(), note=note)
            if not dry_run:
                self._write(closed)
            return closed, True

    def overdue(self, age: timedelta) -> List[Review]:
        """Open reviews whose last message, or opening, is at least this long ago, oldest first.

        :raises StorageError: the ledger cannot be read.
        """
        latest = self._now() - age
        reviews = [self._read(name[: -len(".json")]) for name in self._names()]
        open_reviews = [review for review in reviews if review is not None and review.is_open]
        return sorted(
            (review for review in open_reviews if _parse_time(review.sent_at or review.opened) <= latest),
            key=lambda review: (review.opened, review.id),
        )

    def record_sent(self, review: Review) -> Review:
        """Record that a message about a review was sent.

        :raises StorageError: the ledger cannot be read or written.
        """
        with self._locked():
            current = self._read(review.id) or review
            updated = replace(current, sent=current.sent + 1, sent_at=format_time(self._now()))
            self._write(updated)
        return updated

    def _names(self) -> List[str]:
        try:
            return [name for name in os.listdir(self.path) if _ID.fullmatch(name[: -len(".json")])]
        except FileNotFoundError:
            return []
        except OSError as exc:
            raise self._storage_error(exc) from exc

    def _file(self, identifier: str) -> str:
        return os.path.join(self.path, f"{identifier}.json")

    def _read(self, identifier: str) -> Optional[Review]:
        path = self._file(identifier)
        try:
            with open(path, "rb") as file:
                value = json.load(file)
            known = {one.name for one in fields(Review)}
            review = Review(**{key: item for key, item in value.items() if key in known})
            _parse_time(review.sent_at or review.opened)
            review.to_alerts()
            return review
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise self._storage_error(exc) from exc
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as exc:
            raise StorageError(f"{path} is not a valid review; restore or remove it.") from exc

    def _write(self, review: Review) -> None:
        text = json.dumps(review.to_json(), indent=4, sort_keys=True)
        try:
            replace_file(self._file(review.id), [text.encode()], "ledger")
        except InvalidInput as exc:
            raise StorageError(exc.message) from exc

    def _create(self) -> None:
        try:
            os.makedirs(self.path, mode=0o700, exist_ok=True)
        except OSError as exc:
            raise self._storage_error(exc) from exc

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            directory = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as exc:
            raise self._storage_error(exc) from exc
        try:
            fcntl.flock(directory, fcntl.LOCK_EX)
            yield
        finally:
            os.close(directory)

    def _storage_error(self, exc: OSError) -> StorageError:
        return StorageError(f"The ledger {self.path} cannot be used: {exc.strerror or exc}.")


def _check_acknowledger(review: Review, by: str) -> None:
    if not by.strip():
        raise InvalidInput("by is empty; name the person who acknowledges the review.")
    if is_actor(by, review.entry):
        raise InvalidInput(f"The actor of a change cannot acknowledge its review; {to_printable(review.reviewer)} can.")
    if not any(is_same_person(by, name) for name in (review.reviewer, *review.deputies)):
        names = " or ".join(to_printable(name) for name in (review.reviewer, *review.deputies))
        raise InvalidInput(f"Only {names} can acknowledge review {review.id}, not {to_printable(by)}.")


def _decode(text: str, name: str) -> Mapping[str, Any]:
    try:
        value = json.loads(b64decode(text, validate=True))
    except (ValueError, RecursionError) as exc:
        raise InvalidInput(f"The text of a review is not JSON in Base64; pass {name}.") from exc
    return _entry(value)


def _entry(value: Any) -> Entry:
    if not isinstance(value, dict):
        raise InvalidInput("The text of a review is not a JSON object; pass it as it is in the event.")
    return value


def _validate_id(value: Any) -> str:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise InvalidInput(
            f"{to_printable(value)!r} is not the id of a review, which is 32 hexadecimal digits or a uuid."
        )
    return value


def _parse_time(text: Any) -> datetime:
    moment = parse_timestamp(text)
    if moment is None:
        raise ValueError("not a timestamp")
    return moment
