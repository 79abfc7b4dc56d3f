# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Connects a command to the API: flags, token lookup, and the progress of reading."""

from __future__ import annotations

import argparse
import json
import os
import threading
from typing import Any, Callable, Dict, Optional, TypeVar

from ..errors import InvalidInput, Unauthorized
from ..project_log.client import Api
from ..settings import Connection, credential_file, read_token
from .flags import flag
from .progress import Progress

_Result = TypeVar("_Result")


def with_token(options: argparse.Namespace, stop: threading.Event, call: Callable[[Api], _Result]) -> _Result:
    """Call the function with a connection; retry once if the token was rejected and its file has a new token."""

    def call_with(token: Optional[str]) -> _Result:
        progress = Progress()
        try:
            with Api(_connection(options, token), stop, on_page=lambda page: progress.add(page.entries)) as api:
                return call(api)
        finally:
            progress.end()

    token = _token(options)
    try:
        return call_with(token)
    except Unauthorized:
        renewed = _token(options)
        # A pipe can be read only once, so reading it again gives an empty token.
        if renewed in (token, ""):
            raise
        return call_with(renewed)


def add_connection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--token-file",
        metavar="FILE",
        help="path to a file with the API token (default: systemd's credential api_token, or the environment variable "
        "CLOUDSCALE_API_TOKEN)",
    )
    parser.add_argument(
        "--api-url",
        metavar="URL",
        help="URL of the API (default: the environment variable CLOUDSCALE_API_URL, or the provider's API)",
    )
    parser.add_argument(
        "--api-timeout",
        metavar="SECONDS",
        help="maximum number of seconds to wait for one response, at least 1 (default: 45)",
    )
    parser.add_argument(
        "--api-retry-budget",
        metavar="SECONDS",
        help="maximum number of seconds for all retries of one page (default: 600)",
    )
    parser.add_argument(
        "--ca-path",
        metavar="PATH",
        help="path to a file or directory of CA certificates to trust instead of the system's",
    )


def _token(options: argparse.Namespace) -> Optional[str]:
    path = options.token_file
    if path is None and options.token_name:
        return _token_of_project(options.token_name)
    path = path or credential_file("api_token")
    if path is None:
        return os.environ.get("CLOUDSCALE_API_TOKEN")
    return read_token(path)


def _token_of_project(name: str) -> str:
    """The token of a project in the credential tokens.json, an object with a token for each name."""
    path = credential_file("tokens.json")
    if path is None:
        raise InvalidInput(
            f"No API token for {name}: set token_file of the project, or give the service the credential tokens.json."
        )
    try:
        with open(path, encoding="utf-8") as file:
            token = json.load(file).get(name)
    except (OSError, ValueError, AttributeError) as exc:
        raise InvalidInput(f"The credential tokens.json cannot be read: {type(exc).__name__}.") from exc
    if not isinstance(token, str):
        raise InvalidInput(f"No API token for {name}: add the project to the credential tokens.json.")
    return token


def _connection(options: argparse.Namespace, token: Optional[str]) -> Connection:
    if not (token or "").strip():
        raise InvalidInput("No API token. Pass --token-file FILE or set CLOUDSCALE_API_TOKEN.")
    values: Dict[str, Any] = {
        "api_token": token,
        "api_url": options.api_url or os.environ.get("CLOUDSCALE_API_URL"),
        "api_timeout": options.api_timeout or os.environ.get("CLOUDSCALE_API_TIMEOUT"),
        "api_retry_budget": options.api_retry_budget,
        "ca_path": options.ca_path,
    }
    return Connection.from_mapping(values, lambda option: _source(options, option))


def _source(options: argparse.Namespace, option: str) -> str:
    """The source of an option for errors: a flag, a key of the projects file, a credential, or a variable."""
    if options.token_name:
        token = "token_file" if options.token_file else f"the entry {options.token_name} of tokens.json"
        return token if option == "api_token" else option
    if option == "api_token" and not options.token_file and credential_file("api_token"):
        return "the credential api_token"
    variable = f"CLOUDSCALE_{option.upper()}"
    is_passed = options.token_file if option == "api_token" else getattr(options, option, None)
    return variable if not is_passed and os.environ.get(variable) else flag(option)
