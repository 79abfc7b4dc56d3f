# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a command reaches the API: the token and where it comes from, and the progress of a read."""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
from typing import Any, Callable, Dict, Optional, TypeVar

from ..errors import InvalidInput, Unauthorized
from ..project_log.client import Api, Page
from ..settings import Connection
from .output import is_captured

_Result = TypeVar("_Result")


class WatchedApi(Api):
    """An API whose pages are counted on the terminal, if there is one to watch."""

    _entries = 0

    def page(self, url: str) -> Page:
        page = super().page(url)
        self._entries += len(page.entries)
        if sys.stderr.isatty() and not is_captured():
            end = "\r" if page.next else "\n"
            sys.stderr.write(f"{self._entries} entries read{end}")
        return page


def with_token(options: argparse.Namespace, stop: threading.Event, ask: Callable[[Api], _Result]) -> _Result:
    """Ask the API with the current token; once more if it was refused and its file holds another one by then."""

    def ask_with(token: Optional[str]) -> _Result:
        with WatchedApi(_connection(options, token), stop=stop) as api:
            return ask(api)

    token = _token(options)
    try:
        return ask_with(token)
    except Unauthorized:
        renewed = _token(options)
        # A pipe, unlike a file, can be read only once.
        if renewed in (token, ""):
            raise
        return ask_with(renewed)


def add_connection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--token-file",
        metavar="FILE",
        help="holds the API token; else systemd's credential api_token, or the "
        "environment variable CLOUDSCALE_API_TOKEN",
    )
    parser.add_argument("--api-url", metavar="URL", help="default: CLOUDSCALE_API_URL, or the provider's")
    parser.add_argument("--api-timeout", metavar="SECONDS", help="for one answer (default: 45)")
    parser.add_argument("--api-retry-budget", metavar="SECONDS", help="for the retries of a page (default: 600)")
    parser.add_argument("--ca-path", metavar="FILE", help="certificate authorities to trust instead of the system's")


def _token(options: argparse.Namespace) -> Optional[str]:
    path = options.token_file
    if path is None and options.token_name:
        return _token_of_project(options.token_name)
    path = path or _credential("api_token")
    if path is None:
        return os.environ.get("CLOUDSCALE_API_TOKEN")
    try:
        with open(os.path.expanduser(path), encoding="ascii") as file:
            return file.read()
    except (OSError, ValueError) as exc:
        raise InvalidInput(f"The token file {path} cannot be read: {getattr(exc, 'strerror', None) or exc}.") from exc


def _token_of_project(name: str) -> str:
    """The entry of a project in the credential tokens.json, an object of names and tokens."""
    path = _credential("tokens.json")
    if path is None:
        raise InvalidInput(
            f"No token for {name}: give the project a token_file, or the service the credential tokens.json."
        )
    try:
        with open(path, encoding="utf-8") as file:
            token = json.load(file).get(name)
    except (OSError, ValueError, AttributeError) as exc:
        raise InvalidInput(f"The credential tokens.json cannot be read: {type(exc).__name__}.") from exc
    if not isinstance(token, str):
        raise InvalidInput(f"No token for {name}: the credential tokens.json has no such entry.")
    return token


def _credential(name: str) -> Optional[str]:
    """The file that systemd's LoadCredential= made of a secret, if this is such a service."""
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    path = os.path.join(directory, name) if directory else ""
    return path if os.path.exists(path) else None


def _connection(options: argparse.Namespace, token: Optional[str]) -> Connection:
    given: Dict[str, Any] = {
        "api_token": token,
        "api_url": options.api_url or os.environ.get("CLOUDSCALE_API_URL"),
        "api_timeout": options.api_timeout or os.environ.get("CLOUDSCALE_API_TIMEOUT"),
        "api_retry_budget": options.api_retry_budget,
        "ca_path": options.ca_path,
    }
    return Connection.from_mapping(given)
