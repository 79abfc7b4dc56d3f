# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Selection of entries by conditions. It is applied to the entries read, and never changes which are read."""

from __future__ import annotations

import ipaddress
import re
from collections import deque
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Iterable, Iterator, Mapping, Optional, Pattern, Tuple, TypeVar, Union

from ..errors import InvalidInput
from ..settings import OptionNamer
from .entry import Entry, actor
from .resource import needles, resources

Match = TypeVar("Match")
Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]

NAMELESS_KINDS = ("system", "admin")
"""Kinds of actors that have no name; the kind serves as the name."""


@dataclass(frozen=True)
class Selection:
    """Conditions that must all be met; a condition is met by any of its values. An empty selection matches everything.

    ``limit`` is the maximum number of matches; the last ones in the API's order are kept.
    """

    actions: Tuple[str, ...] = ()
    actors: Tuple[str, ...] = ()
    ip_networks: Tuple[Network, ...] = ()
    message_pattern: Optional[Pattern[str]] = None
    resources: Tuple[str, ...] = ()
    limit: Optional[int] = None

    @classmethod
    def from_mapping(cls, options: Mapping[str, Any], option_name: OptionNamer = str) -> Selection:
        """Read the options ``actions``, ``actors``, ``ip_networks``, ``message_pattern``, ``resources`` and ``limit``.

        :raises InvalidInput: a list is not a list or has an empty item, or another value is not valid.
        """
        return cls(
            actions=parse_list(options.get("actions"), option_name("actions")),
            actors=parse_list(options.get("actors"), option_name("actors")),
            ip_networks=parse_networks(options.get("ip_networks"), option_name("ip_networks")),
            message_pattern=_message_pattern(options.get("message_pattern"), option_name("message_pattern")),
            resources=parse_list(options.get("resources"), option_name("resources")),
            limit=_limit(options.get("limit"), option_name("limit")),
        )

    def matches(self, entry: Entry) -> bool:
        return (
            (not self.actions or action_matches(entry, self.actions))
            and (not self.actors or actor_matches(entry, self.actors))
            and (not self.ip_networks or address_matches(entry, self.ip_networks))
            and (self.message_pattern is None or message_matches(entry, self.message_pattern))
            and (not self.resources or resource_matches(entry, self.resources))
        )

    @property
    def needles(self) -> Tuple[bytes, ...]:
        """See :func:`needles`. If there are any, a canonical line that contains none of them never matches."""
        return needles(self.resources)


def keep_newest(matches: Iterator[Match], limit: Optional[int]) -> Iterator[Match]:
    """The last ``limit`` matches of a stream, or all; no more than these are kept in memory."""
    return matches if limit is None else iter(deque(matches, maxlen=limit))


def action_matches(entry: Entry, globs: Iterable[str]) -> bool:
    """True if the action equals one of the globs or matches it (``*`` and ``?`` only)."""
    action = entry.get("action")
    return isinstance(action, str) and any(glob_matches(action, glob) for glob in globs)


def actor_matches(entry: Entry, names: Iterable[str]) -> bool:
    """True if one of the names is the actor's: e-mail address, token description or uuid, ``system`` or ``admin``.

    A name is exact text or a glob (``*`` and ``?`` only); e-mail addresses are compared without case. A token whose
    description is ``system`` or ``admin`` does not match these names.
    """
    # Descriptions are free text, so a token must not be able to pass as automation or provider staff.
    label = actor(entry)
    if label.kind in NAMELESS_KINDS:
        return any(glob_matches(label.kind, name) for name in names)
    if label.kind == "user":
        email = label.name.casefold()
        return any(name not in NAMELESS_KINDS and glob_matches(email, name.casefold()) for name in names)
    return any(
        name not in NAMELESS_KINDS and (glob_matches(label.name, name) or glob_matches(label.uuid or "", name))
        for name in names
    )


def glob_matches(text: str, glob: str) -> bool:
    """True if a text equals the glob or matches it with ``*`` (any characters) and ``?`` (one character).

    All other characters, brackets too, match themselves. An empty glob matches nothing.
    """
    if not glob:
        return False
    compiled = _compiled(glob)
    return text == glob or (compiled is not None and compiled.fullmatch(text) is not None)


@lru_cache(maxsize=10_000)
def _compiled(glob: str) -> Optional[Pattern[str]]:
    """The glob as a regular expression; None if it has no special characters."""
    if "*" not in glob and "?" not in glob:
        return None
    parts = re.split(r"(\*+|\?)", glob)
    expressions = (".*" if part.startswith("*") else "." if part == "?" else re.escape(part) for part in parts)
    return re.compile("".join(expressions), re.DOTALL)


def address_matches(entry: Entry, networks: Iterable[Network]) -> bool:
    """True if the entry has an address in one of the networks."""
    text = entry.get("ip_address")
    address = _address(text) if isinstance(text, str) else None
    return address is not None and any(address in network for network in networks)


@lru_cache(maxsize=10_000)
def _address(text: str) -> Optional[Union[ipaddress.IPv4Address, ipaddress.IPv6Address]]:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def message_matches(entry: Entry, pattern: Pattern[str]) -> bool:
    message = entry.get("message")
    return isinstance(message, str) and pattern.search(message) is not None


def resource_matches(entry: Entry, globs: Iterable[str]) -> bool:
    """True if the message names a resource that equals one of the globs or matches it (``*`` and ``?`` only).

    Both names of a rename match. This is best effort, because the wording of messages is not a stable part of the API.
    """
    names = [named.name for named in resources(entry)]
    return any(glob_matches(name, glob) for glob in globs for name in names)


def parse_network(text: str, option: str) -> Network:
    """Parse a network or a single address.

    :raises InvalidInput: the text is neither; the message names the option.
    """
    try:
        return ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        raise InvalidInput(
            f"{option}: {text!r} is not a valid network; use a form such as 192.0.2.0/24 or 2001:db8::/32."
        ) from None


def parse_networks(value: Any, option: str) -> Tuple[Network, ...]:
    """Parse a list of networks, or a single one; errors as of :func:`parse_network`."""
    return tuple(parse_network(text, option) for text in parse_list(value, option))


def parse_pattern(text: str, option: str) -> Pattern[str]:
    """Compile a regular expression.

    :raises InvalidInput: the text is not valid; the message names the option.
    """
    try:
        return re.compile(text)
    except re.error as exc:
        raise InvalidInput(f"{option}: {text!r} is not a valid regular expression: {exc}.") from None


def parse_list(value: Any, option: str) -> Tuple[str, ...]:
    """Read a list of texts, or one text with commas. A single empty text counts as not set.

    :raises InvalidInput: the value is not a list, or one of several texts is empty; the message names the option.
    """
    items = _items(value, option)
    if len(items) == 1 and not items[0].strip():
        return ()
    for position, text in enumerate(items, 1):
        if not text.strip():
            raise InvalidInput(f"{option}: item {position} of {len(items)} is empty; remove it or set a value.")
    return items


def _items(value: Any, option: str) -> Tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(","))  # as Ansible does with a text for a list
    if isinstance(value, (list, tuple)):
        return tuple("" if item is None else str(item) for item in value)
    raise InvalidInput(f"{option}: {value!r} is not a list of texts.")


def _message_pattern(text: Any, option: str) -> Optional[Pattern[str]]:
    return None if text is None or text == "" else parse_pattern(str(text), option)


def _limit(value: Any, option: str) -> Optional[int]:
    if value in (None, ""):
        return None
    try:
        limit = int(value)
    except (TypeError, ValueError, OverflowError):
        limit = 0
    if limit < 1:
        raise InvalidInput(f"{option} must be a whole number of at least 1, not {value}.")
    return limit
