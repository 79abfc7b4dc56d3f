# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which entries a user means. Selecting happens on our side and never changes what is read."""

from __future__ import annotations

import ipaddress
import re
from collections import deque
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Iterable, Iterator, Mapping, Optional, Pattern, Tuple, Union

from ..errors import InvalidInput
from .entry import Entry, actor

Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]


@dataclass(frozen=True)
class Selection:
    """Conditions that must all hold; within one of them, any of its values suffices. Empty selects everything.

    ``limit`` keeps the newest matches only: the last ones in the API's order.
    """

    actions: Tuple[str, ...] = ()
    actors: Tuple[str, ...] = ()
    ip_networks: Tuple[Network, ...] = ()
    message_pattern: Optional[Pattern[str]] = None
    limit: Optional[int] = None

    @classmethod
    def from_mapping(cls, options: Mapping[str, Any]) -> Selection:
        """Build it from the options ``actions``, ``actors``, ``ip_networks``, ``message`` and ``limit``.

        :raises InvalidInput: a list is none, or a network, the regular expression or the limit is malformed.
        """
        return cls(
            actions=_texts(options.get("actions"), "actions"),
            actors=_texts(options.get("actors"), "actors"),
            ip_networks=networks(options.get("ip_networks"), "ip_networks"),
            message_pattern=_message_pattern(options.get("message_pattern")),
            limit=_limit(options.get("limit")),
        )

    def matches(self, entry: Entry) -> bool:
        return (
            (not self.actions or action_matches(entry, self.actions))
            and (not self.actors or actor_matches(entry, self.actors))
            and (not self.ip_networks or address_matches(entry, self.ip_networks))
            and (self.message_pattern is None or message_matches(entry, self.message_pattern))
        )


def newest(matches: Iterator[Entry], limit: Optional[int]) -> Iterator[Entry]:
    """The last ``limit`` of a stream, or all of it; no more than these are held."""
    return matches if limit is None else iter(deque(matches, maxlen=limit))


def action_matches(entry: Entry, globs: Iterable[str]) -> bool:
    action = entry.get("action")
    return isinstance(action, str) and any(fnmatchcase(action, glob) for glob in globs)


def actor_matches(entry: Entry, names: Iterable[str]) -> bool:
    """Whether the actor is one of those named: by e-mail, token description or uuid, ``system`` or ``admin``.

    A description may say anything, ``system`` too: a token never passes for the system, nor for the staff.
    """
    label = actor(entry)
    if label.kind in ("system", "admin"):
        return label.kind in names
    return any(name and name in (label.name, label.uuid) and name not in ("system", "admin") for name in names)


def address_matches(entry: Entry, networks: Iterable[Network]) -> bool:
    """Whether the entry came from one of the networks; one without an address came from none."""
    text = entry.get("ip_address")
    try:
        address = ipaddress.ip_address(text if isinstance(text, str) else "")
    except ValueError:
        return False
    return any(address in network for network in networks)


def message_matches(entry: Entry, pattern: Pattern[str]) -> bool:
    message = entry.get("message")
    return isinstance(message, str) and pattern.search(message) is not None


def network(text: str, option: str) -> Network:
    """A network or a single address that a user wrote.

    :raises InvalidInput: it is none; the sentence names the option.
    """
    try:
        return ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        raise InvalidInput(f"{option}: {text!r} is no network; write 192.0.2.0/24 or 2001:db8::/32.") from None


def networks(value: Any, option: str) -> Tuple[Network, ...]:
    """Networks that a user wrote as a list, or one alone; errors as of :func:`network`."""
    return tuple(network(text, option) for text in _texts(value, option))


def pattern(text: str, option: str) -> Pattern[str]:
    """A regular expression that a user wrote.

    :raises InvalidInput: it is none; the sentence names the option.
    """
    try:
        return re.compile(text)
    except re.error as exc:
        raise InvalidInput(f"{option}: {text!r} is no regular expression: {exc}.") from None


def _texts(value: Any, option: str) -> Tuple[str, ...]:
    # Of an empty text, as of a variable that is not set, Ansible makes a list of it.
    if value is None or value in ("", [""]):
        return ()
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(","))  # as Ansible does with a text for a list
    if isinstance(value, (list, tuple)):
        return tuple(map(str, value))
    raise InvalidInput(f"{option}: give a list of texts, not {value!r}.")


def _message_pattern(text: Any) -> Optional[Pattern[str]]:
    return None if text is None or text == "" else pattern(str(text), "message_pattern")


def _limit(value: Any) -> Optional[int]:
    if value is None:
        return None
    try:
        limit = int(value)
    except (TypeError, ValueError, OverflowError):
        limit = 0
    if limit < 1:
        raise InvalidInput(f"limit must be a whole number of at least 1, not {value}.")
    return limit
