# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The only file of the core that imports Ansible: common options of modules, and core errors as module failures."""

from __future__ import annotations

import signal
import sys
from contextlib import contextmanager
from typing import Any, Dict, Iterator, NoReturn, Optional

from ansible.module_utils.basic import AnsibleModule, env_fallback, missing_required_lib

from .errors import AuditError, Cancelled, InvalidInput, MissingDependency
from .settings import DEFAULT_CONCURRENCY, DEFAULT_URL


def connection_spec() -> Dict[str, Any]:
    """CONNECTION: options of every module, so that ``module_defaults`` can set them for the action group."""
    return {
        "api_token": {"type": "str", "no_log": True, "fallback": (env_fallback, ["CLOUDSCALE_API_TOKEN"])},
        "api_url": {"type": "str", "default": DEFAULT_URL, "fallback": (env_fallback, ["CLOUDSCALE_API_URL"])},
        "api_timeout": {"type": "int", "default": 45, "fallback": (env_fallback, ["CLOUDSCALE_API_TIMEOUT"])},
        "api_retries": {"type": "int", "default": 8},
        "api_retry_budget": {"type": "int", "default": 600},
        "validate_certs": {"type": "bool", "default": True},
        "ca_path": {"type": "path"},
    }


def range_spec() -> Dict[str, Any]:
    """RANGE: the part of the log to read."""
    return {
        "start": {"type": "str"},
        "end": {"type": "str"},
        "cursor": {"type": "str", "aliases": ["poll_more"]},
    }


def selection_spec() -> Dict[str, Any]:
    """SELECTION: conditions for entries."""
    return {
        "actions": {"type": "list", "elements": "str"},
        "actors": {"type": "list", "elements": "str"},
        "ip_networks": {"type": "list", "elements": "str"},
        "message_pattern": {"type": "str"},
        "resources": {"type": "list", "elements": "str"},
        "limit": {"type": "int"},
    }


def detections_spec() -> Dict[str, Any]:
    """DETECTIONS: the detections to run, and the facts of a site that they need."""
    names = ("enable", "disable", "own_actors", "holidays", "known_networks")
    return {
        "detections": {"type": "list", "elements": "dict"},
        **{name: {"type": "list", "elements": "str"} for name in names},
        "working_hours": {"type": "str"},
    }


def concurrency_spec() -> Dict[str, Any]:
    return {"concurrency": {"type": "int", "default": DEFAULT_CONCURRENCY}}


class CloudscaleModule(AnsibleModule):
    """A module that returns ``failure`` with every ``msg``, even if Ansible rejects the options."""

    def fail_json(self, msg: str, **kwargs: Any) -> Any:
        kwargs.setdefault("failure", InvalidInput(msg).failure)
        super().fail_json(msg, **kwargs)

    def add_path_info(self, kwargs: Dict[str, Any]) -> Any:
        """Keep a result's ``state``, which Ansible would replace by the state of the file at ``path``."""
        return kwargs if "state" in kwargs else super().add_path_info(kwargs)

    @contextmanager
    def report_errors(self) -> Iterator[None]:
        """Convert core errors and interruptions in the block into module failures."""
        # Ansible ends its modules with SIGTERM if it does not forward the SIGINT of a terminal.
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, _interrupt)
        try:
            yield
        except AuditError as error:
            self.fail_json(failure_message(error), failure=error.failure)
        except KeyboardInterrupt:
            self.fail_json("Interrupted.", failure=Cancelled("").failure)


def _interrupt(*_signal: Any) -> NoReturn:
    # Silence objects that are half constructed, such as a response, which would print errors.
    sys.unraisablehook = lambda _unraisable: None
    raise KeyboardInterrupt


def failure_message(error: AuditError) -> str:
    """The error's message; for a missing library, Ansible's own message, which names the host and the interpreter."""
    if isinstance(error, MissingDependency):
        message: Optional[str] = missing_required_lib(error.library)
        return str(message)
    return error.message
