# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The edge to Ansible: argument specifications, and core errors as failures of a module."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import Any, Dict, Iterator, Optional

from ansible.module_utils.basic import AnsibleModule, env_fallback, missing_required_lib

from .errors import AuditError, InvalidInput, MissingLibrary, Stopped
from .expectation import CONDITIONS, COUNTS, RULES
from .query.engine import ENGINES
from .report.words import BASELINE, FORMS, LANGUAGES, WORKING_HOURS
from .settings import DEFAULT_CONCURRENCY, DEFAULT_URL
from .verification import Patience


def connection_spec() -> Dict[str, Any]:
    """CONNECTION: every module takes these, so that ``module_defaults`` of the action group fits all."""
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
    """RANGE: which part of the log is read."""
    return {
        "start": {"type": "str"},
        "end": {"type": "str"},
        "cursor": {"type": "str", "aliases": ["poll_more"]},
    }


def selection_spec() -> Dict[str, Any]:
    """SELECTION: which entries of it are meant."""
    return {
        "actions": {"type": "list", "elements": "str"},
        "actors": {"type": "list", "elements": "str"},
        "ip_networks": {"type": "list", "elements": "str"},
        "message_pattern": {"type": "str"},
        "limit": {"type": "int"},
    }


def expectation_spec() -> Dict[str, Any]:
    """EXPECTATION: what the log should tell, what it must not, and how long to wait for it."""
    conditions: Dict[str, Any] = {name: {"type": "str"} for name in CONDITIONS if name != "message"}
    conditions["message_pattern"] = {"type": "str"}
    counts = {name: {"type": "int"} for name in COUNTS}
    return {
        **{name: {"type": "list", "elements": "dict", "options": conditions} for name in RULES},
        "expect": {"type": "list", "elements": "dict", "options": {**conditions, **counts}},
        "exclusive": {"type": "bool", "default": False},
        "own_actors": {"type": "list", "elements": "str"},
        "timeout": {"type": "float", "default": Patience.timeout},
        "interval": {"type": "float", "default": Patience.interval},
        "settle": {"type": "float", "default": Patience.settle},
    }


def concurrency_spec() -> Dict[str, Any]:
    return {"concurrency": {"type": "int", "default": DEFAULT_CONCURRENCY}}


def report_spec() -> Dict[str, Any]:
    """REPORT: where it comes from, what it is about, and where it goes."""
    project = {
        "name": {"type": "str"},
        "api_token": {"type": "str", "required": True, "no_log": True},
        "api_url": {"type": "str"},
    }
    return {
        "dest": {"type": "path", "required": True},
        "also": {"type": "list", "elements": "str", "choices": list(FORMS), "default": []},
        "archives": {"type": "list", "elements": "path"},
        "projects": {"type": "list", "elements": "dict", "options": project},
        "ask_api": {"type": "bool", "default": True},
        "engine": {"type": "str", "choices": list(ENGINES), "default": ENGINES[0]},
        "title": {"type": "str"},
        "language": {"type": "str", "choices": list(LANGUAGES), "default": LANGUAGES[0]},
        "time_zone": {"type": "str", "default": "UTC"},
        "working_hours": {"type": "str", "default": WORKING_HOURS},
        "sensitive_actions": {"type": "list", "elements": "str"},
        "baseline": {"type": "str", "default": BASELINE},
    }


class CloudscaleModule(AnsibleModule):
    """A module whose every failure carries ``failure`` beside ``msg``: one that Ansible finds in the options, too."""

    def _load_params(self) -> None:
        """Take ``message`` for ``message_pattern``: ansible-test lets no argument have that name, nor as an alias."""
        super()._load_params()
        lists = (self.params.get(option) for option in RULES)
        rules = (rule for found in lists if isinstance(found, list) for rule in found if isinstance(rule, dict))
        for options in (self.params, *rules):
            if "message" in options:
                options["message_pattern"] = options.pop("message")

    def fail_json(self, msg: str, **kwargs: Any) -> Any:
        kwargs.setdefault("failure", InvalidInput(msg).failure)
        super().fail_json(msg, **kwargs)

    @contextmanager
    def errors_told(self) -> Iterator[None]:
        """Turns a core error that leaves the block into a failure of the module, and so an interruption."""
        # Ansible ends its modules with SIGTERM where it does not pass on the SIGINT of a terminal.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            yield
        except AuditError as error:
            self.fail_json(sentence(error), failure=error.failure)
        except KeyboardInterrupt:
            self.fail_json("Interrupted.", failure=Stopped("").failure)


def sentence(error: AuditError) -> str:
    """What to tell the user: Ansible's own words where they say more, as for a missing library."""
    if isinstance(error, MissingLibrary):
        told: Optional[str] = missing_required_lib(error.library)
        return str(told)
    return error.message
