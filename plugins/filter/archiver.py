# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter of the role archiver that derives the files and units of a host from the variables of the role."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping

from ansible.errors import AnsibleFilterError
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.timestamper import Authority
from ansible_collections.auditops.cloudscale.plugins.module_utils.detections.config import parse_config
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import InvalidInput
from ansible_collections.auditops.cloudscale.plugins.module_utils.notify.receivers import parse_receivers
from ansible_collections.auditops.cloudscale.plugins.module_utils.projects import (
    HOST_PROJECTS_FILE,
    HOST_STATE_DIRECTORY,
    NAME,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.times import parse_age, parse_duration, utc_now

CONFIG = os.path.dirname(HOST_PROJECTS_FILE)
STATE = HOST_STATE_DIRECTORY
CREDENTIALS = "$CREDENTIALS_DIRECTORY"

_LOCAL_PATH = re.compile(r"/[A-Za-z0-9._/-]+")
_BUCKET_PATH = re.compile(r"s3://[a-z0-9][a-z0-9.-]+(/[A-Za-z0-9._/-]*)?([?][A-Za-z0-9._/:=&-]+)?")
# Directories that the services cannot access.
_INACCESSIBLE = re.compile(r"/+(home|root|run/user|tmp|var/tmp)(/|$)")
_PRINTABLE = re.compile(r"[!-~]+")
# Characters with a special meaning in unit files.
_UNSAFE = re.compile(r"""["'\\$%\n\r]""")
# Settings whose values are written into unit files.
_UNIT_SETTINGS = ("random_delay", "timeout", "user", "python", "memory_max", "cpu_quota", "metrics_group", "jobs")
# Keys of a project that are copied to the projects file.
_COPIED_KEYS = ("api_url", "ca_path", "start", "every", "s3_endpoint", "s3_region", "s3_ca_path")
_TIMESTAMP_KEYS = ("timestamp_url", "timestamp_every", "timestamp_ca")
_POLICY_KEYS = ("retention", "compact_older_than", "reconcile_start")


def archiver_plan(projects, settings):
    """The files and units of a host, and the problems of the variables. ``settings`` are the variables of the role."""
    if not isinstance(projects, (list, tuple)) or not all(isinstance(project, dict) for project in projects):
        raise AnsibleFilterError("archiver_projects is not a list of dictionaries; correct the variable.")
    return _Plan(settings, projects if settings["state"] == "present" else []).result()


class _Plan:
    """The plan of one host, to which its projects are added."""

    def __init__(self, settings, projects):
        self.settings = settings
        self.is_present = settings["state"] == "present"
        self.problems = []
        self.entries = []
        self.tokens = {}
        self.pings = {}
        self.s3_profiles = []
        self.external_files = {}
        self.directories = []
        self.has_policy = False
        self.notify_tokens = {}
        self.timestamps = self._timestamps() if self.is_present else {}
        self.notify_file = self._notify_file() if self.is_present else ""
        for project in projects:
            _Project(project, self).add()
        if self.is_present:
            self._check(projects)

    def result(self):
        schedules = self._schedules()
        signs = any("sign_key_file" in entry for entry in self.entries)
        secrets = self._secrets()
        return {
            "problems": self.problems,
            "projects_file": json.dumps({"version": 1, "projects": self.entries}, indent=1) + "\n",
            "secrets": secrets,
            "credentials": self._credentials(secrets, signs),
            "external_files": sorted(set(self.external_files.values())),
            "directories": sorted(set(self.directories)),
            "buckets": [entry["path"] for entry in self.entries if entry["path"].startswith("s3://")],
            "signs_commits": signs,
            "requests_timestamps": bool(self.timestamps),
            "schedules": schedules,
            "timers": [f"cloudscale-audit-{kind}.timer" for kind in schedules],
            "services": [f"cloudscale-audit-{kind}.service" for kind in schedules],
            "environment": [f"{name}={value}" for name, value in self.settings["environment"].items()],
            "metrics": self._metrics(schedules),
        }

    def _check(self, projects):
        if not projects:
            self.problems.append("archiver_projects is empty; add projects, or set archiver_state to absent")
        for key in ("name", "path"):
            values = [entry[key] for entry in self.entries]
            if len(set(values)) < len(values):
                duplicates = sorted({value for value in values if values.count(value) > 1})
                self.problems += [
                    f"two projects have the {key} {value}; give each project its own {key}" for value in duplicates
                ]
        metrics = str(self.settings["metrics_dir"])
        if metrics and (not _LOCAL_PATH.fullmatch(metrics) or _INACCESSIBLE.match(metrics)):
            self.problems.append(
                f"archiver_metrics_dir is {metrics}; it must be an absolute path with only letters, digits, dots, - "
                "and _, outside /home, /root, /run/user, /tmp and /var/tmp, which the services cannot access"
            )
        for name in _UNIT_SETTINGS:
            self._check_unit_text(f"archiver_{name}", self.settings[name])
        for name, value in self.settings["environment"].items():
            self._check_unit_text(f"archiver_environment: {name}", f"{name}={value}")
        for kind, schedule in self._schedules().items():
            self._check_unit_text(f"the schedule of {kind}", schedule)

    def _check_unit_text(self, name, value):
        if _UNSAFE.search(str(value)):
            self.problems.append(f"{name} must not contain quotes, backslashes, $, % or line breaks")

    def _schedules(self):
        """The kinds of units to install, each with its schedule."""
        if not self.is_present:
            return {}
        schedules = {
            "collect": self.settings["schedule"],
            "verify": self.settings["verify_schedule"],
            "reconcile": self.settings["reconcile_schedule"],
            "reconcile-full": self.settings["reconcile_full_schedule"],
            "maintenance": self.settings["maintenance_schedule"] if self.has_policy else "",
        }
        return {kind: str(schedule) for kind, schedule in schedules.items() if schedule}

    def _timestamps(self):
        """The settings of time stamps, which are the same for all projects."""
        url, every, ca_path = (str(self.settings[key]) for key in _TIMESTAMP_KEYS)
        if not url:
            return {}
        try:
            Authority(url).check_url("archiver_timestamp_url")
            parse_duration(every, "archiver_timestamp_every")
        except InvalidInput as error:
            self.problems.append(error.message.rstrip("."))
        if ca_path and (not _LOCAL_PATH.fullmatch(ca_path) or _INACCESSIBLE.match(ca_path)):
            self.problems.append(
                "archiver_timestamp_ca must be an absolute path with only letters, digits, dots, - and _, outside "
                "/home, /root, /run/user, /tmp and /var/tmp, which the services cannot access"
            )
        is_required = _is_true(self.settings["timestamp_required"])
        return {
            "timestamp_url": url,
            "timestamp_every": every,
            **({"timestamp_ca": ca_path} if ca_path else {}),
            **({"timestamp_required": True} if is_required else {}),
        }

    def _notify_file(self):
        """The file of detections and receivers. It is secret: the URL of a chat is enough to write to the chat."""
        detections, receivers = _to_builtin(self.settings["detections"]), _to_builtin(self.settings["notify"])
        if not receivers:
            if detections:
                self.problems.append("archiver_detections requires archiver_notify, the receivers of the alerts")
            return ""
        for number, receiver in enumerate(receivers, 1):
            self._add_notify_token(f"notify-token-{number}", receiver)
        text = json.dumps({**detections, "version": 1, "notify": receivers}, indent=1) + "\n"
        try:
            # The service reads the file with this variable set.
            content = json.loads(text.replace(CREDENTIALS, "/run/credentials"))
            parse_receivers(parse_config(content, "archiver_detections").notify)
        except InvalidInput as error:
            self.problems.append(f"archiver_notify or archiver_detections: {error.message.rstrip('.')}")
        return text

    def _add_notify_token(self, credential, receiver):
        """Turn the token of a webhook into a credential of the service."""
        webhook = receiver.get("webhook") if isinstance(receiver, dict) else None
        if not isinstance(webhook, dict) or not {"token", "token_file"} & webhook.keys():
            return
        if "token" in webhook and "token_file" in webhook:
            self.problems.append("archiver_notify: token and token_file are mutually exclusive; remove one of them")
        if "token" in webhook:
            self.notify_tokens[credential] = str(webhook.pop("token")).strip() + "\n"
        elif _LOCAL_PATH.fullmatch(str(webhook["token_file"])):
            self.external_files[credential] = webhook["token_file"]
        else:
            self.problems.append(
                "archiver_notify: token_file must be an absolute path with only letters, digits, dots, - and _"
            )
        webhook["token_file"] = f"{CREDENTIALS}/{credential}"

    def _secrets(self):
        """The content of the files with secrets, by file name. The credential of a file has the same name."""
        contents = {
            "tokens.json": json.dumps(self.tokens, indent=1, sort_keys=True) + "\n" if self.tokens else "",
            "s3": "".join(self.s3_profiles),
            "pings.json": json.dumps(self.pings, indent=1, sort_keys=True) + "\n" if self.pings else "",
            "notify.json": self.notify_file,
            **self.notify_tokens,
        }
        return {name: content for name, content in contents.items() if content}

    def _credentials(self, secrets, signs):
        """Lines of the services that load their secrets, by purpose of the secrets."""
        is_encrypted = _is_true(self.settings["encrypted_credentials"])
        option, suffix = ("LoadCredentialEncrypted", ".encrypted") if is_encrypted else ("LoadCredential", "")
        lines = {name: [f"{option}={name}:{CONFIG}/{name}{suffix}"] for name in secrets}
        for name, path in sorted(self.external_files.items()):
            # SetCredential is the default, so that the service starts even if the file is missing.
            kind = {"token": "tokens.json", "s3": "s3", "notify": "notify.json"}[name.split("-")[0]]
            lines.setdefault(kind, []).extend([f"SetCredential={name}:\\n", f"LoadCredential={name}:{path}"])
        return {
            "api": lines.get("tokens.json", []),
            "buckets": lines.get("s3", []),
            "pings": lines.get("pings.json", []),
            "notify": [line for name in ("notify.json", *self.notify_tokens) for line in lines.get(name, [])],
            "signing": [f"LoadCredential=sign_key:{CONFIG}/sign_key"] if signs else [],
        }

    def _metrics(self, schedules):
        """The metrics files that runs write."""
        directory = self.settings["metrics_dir"]
        if not directory:
            return []
        commands = {
            "collect": "collect" in schedules,
            "journal": _is_true(self.settings["journal"]),
            "notify": bool(self.notify_file),
            "verify": "verify" in schedules,
            "reconcile": "reconcile" in schedules or "reconcile-full" in schedules,
        }
        return [
            f"{directory}/cloudscale-audit-{command}-{entry['name']}.prom"
            for command, is_wanted in commands.items()
            if is_wanted
            for entry in self.entries
        ]


class _Project:
    """Adds one item of archiver_projects to a plan."""

    def __init__(self, project, plan):
        # str() also decrypts a value from a vault.
        self._values = {key: value for key, value in project.items() if value is not None and str(value) != ""}
        self._plan = plan
        self._label = str(project.get("name", "project without a name"))

    def add(self):
        name = self._values.get("name")
        if isinstance(name, (int, float)) or not NAME.fullmatch(str(name or "")):
            self._add_problem(
                "the name must have only lower-case letters, digits, - and _; quote a name that is a number"
            )
            return
        entry = {"name": str(name), "path": self._path()}
        entry.update({key: str(self._values[key]) for key in _COPIED_KEYS if key in self._values})
        entry.update(self._policies())
        entry.update(self._plan.timestamps)
        entry.update({key: False for key in ("pin", "enabled") if not _is_true(self._values.get(key, True))})
        self._add_token(entry)
        self._add_bucket_keys(entry)
        if _is_true(self._values.get("sign", self._plan.settings["sign"])):
            entry["sign_key_file"] = f"{CREDENTIALS}/sign_key"
            entry["allowed_signers"] = f"{CONFIG}/allowed_signers"
        self._check_times(entry)
        self._check_paths(entry)
        self._plan.entries.append(entry)

    def _add_problem(self, sentence):
        self._plan.problems.append(f"{self._label}: {sentence}")

    def _path(self):
        path = str(self._values.get("path", f"{STATE}/{self._label}/archive"))
        if path.startswith("s3://"):
            if not _BUCKET_PATH.fullmatch(path):
                self._add_problem("the path is not a valid address in a bucket; use s3://BUCKET/PREFIX")
        elif not _LOCAL_PATH.fullmatch(path):
            self._add_problem("the path must be absolute, with only letters, digits, dots, - and _")
        elif not path.startswith(f"{STATE}/"):
            self._plan.directories.append(path)
        return path

    def _policies(self):
        values = {key: str(self._values.get(key) or self._plan.settings[key]) for key in _POLICY_KEYS}
        policies = {key: value for key, value in values.items() if value}
        if "retention" in policies or "compact_older_than" in policies:
            self._plan.has_policy = True
        return policies

    def _add_token(self, entry):
        name = entry["name"]
        if ("token" in self._values) == ("token_file" in self._values):
            self._add_problem("set exactly one of token and token_file")
        elif "token" in self._values:
            self._plan.tokens[name] = str(self._values["token"]).strip()
        else:
            entry["token_file"] = self._external_file("token_file", f"token-{name}")
        if "ping_url" in self._values:
            self._plan.pings[name] = str(self._values["ping_url"]).strip()

    def _add_bucket_keys(self, entry):
        keys = [key for key in ("s3_access_key", "s3_secret_key", "s3_credentials_file") if key in self._values]
        is_bucket = entry["path"].startswith("s3://")
        if is_bucket and keys == ["s3_access_key", "s3_secret_key"]:
            access, secret = (str(self._values[key]).strip() for key in keys)
            if not _PRINTABLE.fullmatch(access) or not _PRINTABLE.fullmatch(secret):
                self._add_problem("s3_access_key and s3_secret_key must have only printable characters without spaces")
            profile = f"[{entry['name']}]\naws_access_key_id = {access}\naws_secret_access_key = {secret}\n"
            self._plan.s3_profiles.append(profile)
            entry.update(s3_credentials_file=f"{CREDENTIALS}/s3", s3_profile=entry["name"])
        elif is_bucket and keys == ["s3_credentials_file"]:
            file = self._external_file("s3_credentials_file", f"s3-{entry['name']}")
            entry.update(s3_credentials_file=file, s3_profile=str(self._values.get("s3_profile", "default")))
        elif is_bucket or keys:
            self._add_problem(
                "a project with its path in a bucket requires s3_access_key and s3_secret_key, or "
                "s3_credentials_file; no other project can have them"
            )

    def _external_file(self, key, credential):
        path = str(self._values[key])
        if not _LOCAL_PATH.fullmatch(path):
            self._add_problem(f"{key} must be an absolute path with only letters, digits, dots, - and _")
        self._plan.external_files[credential] = path
        return f"{CREDENTIALS}/{credential}"

    def _check_times(self, entry):
        try:
            if "every" in entry:
                parse_duration(entry["every"], "every")
            for key in ("retention", "compact_older_than"):
                if key in entry:
                    parse_age(entry[key], utc_now(), key)
        except InvalidInput as error:
            self._add_problem(error.message.rstrip("."))

    def _check_paths(self, entry):
        for key in ("path", "ca_path", "s3_ca_path"):
            if _INACCESSIBLE.match(entry.get(key, "")):
                self._add_problem(
                    f"{key} is below /home, /root, /run/user, /tmp or /var/tmp, which the services cannot access"
                )


def _to_builtin(value):
    """Convert a value of Ansible to built-in types. str() also decrypts a value from a vault."""
    if isinstance(value, Mapping):
        return {str(key): _to_builtin(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_to_builtin(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)


def _is_true(value):
    return str(value).lower() in ("true", "yes", "on", "1")


class FilterModule:
    def filters(self):
        return {"archiver_plan": archiver_plan}
