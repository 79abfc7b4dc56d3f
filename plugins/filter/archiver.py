# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the role archiver derives from its variables: the content of a host's files, and the keys that it accepts."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone

from ansible.errors import AnsibleFilterError
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.heads import parse_heads
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.ledger import extend
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
NAMESPACE = "cloudscale-audit-head"

_LOCAL_PATH = re.compile(r"/[A-Za-z0-9._/-]+")
_BUCKET_PATH = re.compile(r"s3://[a-z0-9][a-z0-9.-]+(/[A-Za-z0-9._/-]*)?([?][A-Za-z0-9._/:=&-]+)?")
# The services do not see these directories of the host.
_INACCESSIBLE = re.compile(r"/+(home|root|run/user|tmp|var/tmp)(/|$)")
_WORD = re.compile(r"[!-~]+")
# What goes into unit files must mean itself there.
_UNSAFE = re.compile(r"""["'\\$%\n\r]""")
_UNIT_SETTINGS = ("random_delay", "timeout", "user", "python", "memory_max", "cpu_quota", "metrics_group", "jobs")
_COPIED_KEYS = ("api_url", "ca_path", "start", "every", "s3_endpoint", "s3_region", "s3_ca_path")
_TIMESTAMP_KEYS = ("timestamp_url", "timestamp_every", "timestamp_ca")
_POLICY_KEYS = ("retention", "compact_older_than", "reconcile_start")
# A run that began with the key that was replaced has ended by then.
_GRACE_PERIOD = timedelta(days=2)


def archiver_plan(projects, settings):
    """What a host gets for these projects, and what is wrong with them. ``settings`` are the role's variables."""
    if not isinstance(projects, (list, tuple)) or not all(isinstance(project, dict) for project in projects):
        raise AnsibleFilterError("archiver_plan takes archiver_projects, a list of dictionaries.")
    return _Plan(settings, projects if settings["state"] == "present" else []).result()


class _Plan:
    """The plan of one host while its projects are added."""

    def __init__(self, settings, projects):
        self.settings = settings
        self.is_present = settings["state"] == "present"
        self.problems = []
        self.entries = []
        self.tokens = {}
        self.pings = {}
        self.s3_profiles = []
        self.files_of_others = {}
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
        kinds = self._wanted_units()
        signs = any("sign_key_file" in entry for entry in self.entries)
        secrets = self._secrets()
        return {
            "problems": self.problems,
            "projects_file": json.dumps({"version": 1, "projects": self.entries}, indent=1) + "\n",
            "secrets": secrets,
            "credentials": self._credentials(secrets, signs),
            "files_of_others": sorted(set(self.files_of_others.values())),
            "directories": sorted(set(self.directories)),
            "buckets": [entry["path"] for entry in self.entries if entry["path"].startswith("s3://")],
            "signs": signs,
            "stamps": bool(self.timestamps),
            "schedules": kinds,
            "timers": [f"cloudscale-audit-{kind}.timer" for kind in kinds],
            "services": [f"cloudscale-audit-{kind}.service" for kind in kinds],
            "environment": [f"{name}={value}" for name, value in self.settings["environment"].items()],
            "metrics": self._metrics(kinds),
        }

    def _check(self, projects):
        if not projects:
            self.problems.append("archiver_projects is empty; list the projects, or set archiver_state to absent")
        for key in ("name", "path"):
            values = [entry[key] for entry in self.entries]
            if len(set(values)) < len(values):
                doubled = sorted({value for value in values if values.count(value) > 1})
                self.problems += [f"two projects have the {key} {value}; each needs its own" for value in doubled]
        metrics = str(self.settings["metrics_dir"])
        if metrics and (not _LOCAL_PATH.fullmatch(metrics) or _INACCESSIBLE.match(metrics)):
            self.problems.append(
                f"archiver_metrics_dir is {metrics}; it must be absolute, of letters, digits, dots, - and _, and not "
                "below /home, /root, /run/user, /tmp or /var/tmp, which no service sees"
            )
        for name in _UNIT_SETTINGS:
            self._check_word(f"archiver_{name}", self.settings[name])
        for name, value in self.settings["environment"].items():
            self._check_word(f"archiver_environment: {name}", f"{name}={value}")
        for kind, schedule in self._wanted_units().items():
            self._check_word(f"the schedule of {kind}", schedule)

    def _check_word(self, name, value):
        if _UNSAFE.search(str(value)):
            self.problems.append(f"{name} must not hold quotes, backslashes, $, % or line breaks")

    def _wanted_units(self):
        """The kinds of units that are wanted, with the schedule of each."""
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
        """The settings about time stamps, which are those of all projects."""
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
                "archiver_timestamp_ca must be an absolute path of letters, digits, dots, - and _, and not below "
                "/home, /root, /run/user, /tmp or /var/tmp, which no service sees"
            )
        is_required = _is_true(self.settings["timestamp_required"])
        return {
            "timestamp_url": url,
            "timestamp_every": every,
            **({"timestamp_ca": ca_path} if ca_path else {}),
            **({"timestamp_required": True} if is_required else {}),
        }

    def _notify_file(self):
        """The file of detections and receivers, which are secret: the URL of a chat suffices to write there."""
        detections, receivers = _to_builtin(self.settings["detections"]), _to_builtin(self.settings["notify"])
        if not receivers:
            if detections:
                self.problems.append("archiver_detections needs archiver_notify, which says who gets the alerts")
            return ""
        for number, receiver in enumerate(receivers, 1):
            self._add_notify_token(f"notify-token-{number}", receiver)
        content = {**detections, "version": 1, "notify": receivers}
        text = json.dumps(content, indent=1) + "\n"
        try:
            # As the service will read it: there, the variable is set.
            read = json.loads(text.replace(CREDENTIALS, "/run/credentials"))
            parse_receivers(parse_config(read, "archiver_detections").notify)
        except InvalidInput as error:
            self.problems.append(f"archiver_notify or archiver_detections: {error.message.rstrip('.')}")
        return text

    def _add_notify_token(self, credential, receiver):
        """Let a webhook have its token as a credential of the service."""
        webhook = receiver.get("webhook") if isinstance(receiver, dict) else None
        if not isinstance(webhook, dict) or not {"token", "token_file"} & webhook.keys():
            return
        if "token" in webhook and "token_file" in webhook:
            self.problems.append("archiver_notify: give one of token and token_file, not both")
        if "token" in webhook:
            self.notify_tokens[credential] = str(webhook.pop("token")).strip() + "\n"
        elif _LOCAL_PATH.fullmatch(str(webhook["token_file"])):
            self.files_of_others[credential] = webhook["token_file"]
        else:
            self.problems.append(
                "archiver_notify: token_file must be an absolute path of letters, digits, dots, - and _"
            )
        webhook["token_file"] = f"{CREDENTIALS}/{credential}"

    def _secrets(self):
        """The content of each file with secrets, by its name, which is that of the credential as well."""
        found = {
            "tokens.json": json.dumps(self.tokens, indent=1, sort_keys=True) + "\n" if self.tokens else "",
            "s3": "".join(self.s3_profiles),
            "pings.json": json.dumps(self.pings, indent=1, sort_keys=True) + "\n" if self.pings else "",
            "notify.json": self.notify_file,
            **self.notify_tokens,
        }
        return {name: content for name, content in found.items() if content}

    def _credentials(self, secrets, signs):
        """Lines of the services that give them their secrets, by what the secrets are for."""
        is_encrypted = _is_true(self.settings["encrypted_credentials"])
        option, suffix = ("LoadCredentialEncrypted", ".encrypted") if is_encrypted else ("LoadCredential", "")
        lines = {name: [f"{option}={name}:{CONFIG}/{name}{suffix}"] for name in secrets}
        for name, path in sorted(self.files_of_others.items()):
            # Without the first line, the service would not start at all while the file is missing.
            kind = {"token": "tokens.json", "s3": "s3", "notify": "notify.json"}[name.split("-")[0]]
            lines.setdefault(kind, []).extend([f"SetCredential={name}:\\n", f"LoadCredential={name}:{path}"])
        return {
            "api": lines.get("tokens.json", []),
            "buckets": lines.get("s3", []),
            "pings": lines.get("pings.json", []),
            "notify": [line for name in ("notify.json", *self.notify_tokens) for line in lines.get(name, [])],
            "signing": [f"LoadCredential=sign_key:{CONFIG}/sign_key"] if signs else [],
        }

    def _metrics(self, kinds):
        """The files with metrics that runs write."""
        directory = self.settings["metrics_dir"]
        commands = {
            "collect": "collect" in kinds,
            "journal": _is_true(self.settings["journal"]),
            "notify": bool(self.notify_file),
            "verify": "verify" in kinds,
            "reconcile": "reconcile" in kinds or "reconcile-full" in kinds,
        }
        if not directory:
            return []
        return [
            f"{directory}/cloudscale-audit-{command}-{entry['name']}.prom"
            for command, is_wanted in commands.items()
            if is_wanted
            for entry in self.entries
        ]


class _Project:
    """One of archiver_projects on its way into the plan."""

    def __init__(self, project, plan):
        # A value out of a vault is a text only when it is asked for one.
        self._values = {key: value for key, value in project.items() if value is not None and str(value) != ""}
        self._plan = plan
        self._label = str(project.get("name", "a project without name"))

    def add(self):
        name = self._values.get("name")
        if isinstance(name, (int, float)) or not NAME.fullmatch(str(name or "")):
            self._add_problem("the name must be lower-case letters, digits, - and _; quote one of digits alone")
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
                self._add_problem("a path in a bucket looks like s3://BUCKET/PREFIX")
        elif not _LOCAL_PATH.fullmatch(path):
            self._add_problem("the path must be absolute, of letters, digits, dots, - and _")
        elif not path.startswith(f"{STATE}/"):
            self._plan.directories.append(path)
        return path

    def _policies(self):
        found = {key: str(self._values.get(key) or self._plan.settings[key]) for key in _POLICY_KEYS}
        policies = {key: value for key, value in found.items() if value}
        if "retention" in policies or "compact_older_than" in policies:
            self._plan.has_policy = True
        return policies

    def _add_token(self, entry):
        name = entry["name"]
        if ("token" in self._values) == ("token_file" in self._values):
            self._add_problem("give exactly one of token and token_file")
        elif "token" in self._values:
            self._plan.tokens[name] = str(self._values["token"]).strip()
        else:
            entry["token_file"] = self._file_of_others("token_file", f"token-{name}")
        if "ping_url" in self._values:
            self._plan.pings[name] = str(self._values["ping_url"]).strip()

    def _add_bucket_keys(self, entry):
        keys = [key for key in ("s3_access_key", "s3_secret_key", "s3_credentials_file") if key in self._values]
        is_bucket = entry["path"].startswith("s3://")
        if is_bucket and keys == ["s3_access_key", "s3_secret_key"]:
            access, secret = (str(self._values[key]).strip() for key in keys)
            if not _WORD.fullmatch(access) or not _WORD.fullmatch(secret):
                self._add_problem("s3_access_key and s3_secret_key must be words without spaces")
            profile = f"[{entry['name']}]\naws_access_key_id = {access}\naws_secret_access_key = {secret}\n"
            self._plan.s3_profiles.append(profile)
            entry.update(s3_credentials_file=f"{CREDENTIALS}/s3", s3_profile=entry["name"])
        elif is_bucket and keys == ["s3_credentials_file"]:
            file = self._file_of_others("s3_credentials_file", f"s3-{entry['name']}")
            entry.update(s3_credentials_file=file, s3_profile=str(self._values.get("s3_profile", "default")))
        elif is_bucket or keys:
            self._add_problem(
                "s3_access_key and s3_secret_key, or s3_credentials_file, belong to a project with its path in a "
                "bucket, and to no other"
            )

    def _file_of_others(self, key, credential):
        path = str(self._values[key])
        if not _LOCAL_PATH.fullmatch(path):
            self._add_problem(f"{key} must be an absolute path of letters, digits, dots, - and _")
        self._plan.files_of_others[credential] = path
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
                self._add_problem(f"{key} is below /home, /root, /run/user, /tmp or /var/tmp, which no service sees")


def _to_builtin(value):
    """A value of Ansible's in built-in types; one out of a vault is a text only when it is asked for one."""
    if isinstance(value, Mapping):
        return {str(key): _to_builtin(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_to_builtin(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)


def _is_true(value):
    return str(value).lower() in ("true", "yes", "on", "1")


def archiver_signers(printed, hosts, hostvars, given=(), now=None):
    """The lines of a host's allowed_signers: those that it has, the keys of the hosts, and lines that are given.

    ``printed`` are the lines that files/keys.sh printed on this host; those of the others are in ``hostvars``. A key is
    never removed: when its host signs with another one, it is closed. Of two lines for one key, the given one wins.
    """
    kept = [line.removeprefix("signer ") for line in printed if line.startswith("signer ") and _public_key(line)]
    found = {_public_key(line): line.strip() for line in kept}
    signing, replaced = {}, set()
    for host in sorted(hosts):
        keys = _signing_keys(_key_output(host, hostvars))
        for key in keys.values():
            found.setdefault(key, f'{host} namespaces="{NAMESPACE}" {key}')
        if keys:
            signing[host] = keys.get("next", keys.get("public"))
        if "next" in keys:
            replaced.add(keys["public"])
    closing = (_read_time(now) + _GRACE_PERIOD).strftime("%Y%m%d")
    for key, line in found.items():
        host = line.split(" ", 1)[0]
        is_old = key in replaced or signing.get(host, key) != key
        if is_old and "valid-before=" not in line:
            found[key] = line.replace(" namespaces=", f' valid-before="{closing}",namespaces=', 1)
    found.update({_public_key(line): line.strip() for line in given if _public_key(line)})
    return [line for key, line in sorted(found.items(), key=lambda item: (item[1].split(" ", 1)[0], item[0]))]


def archiver_strangers(printed, buckets, hosts, hostvars):
    """Those of the hosts that keep one of these archives, too, while this host has a key that is not accepted yet."""
    known = {_public_key(line) for line in printed if line.startswith("signer ")}
    if set(_signing_keys(printed).values()) <= known:
        return []
    return [
        host for host in hosts if {str(project.get("path")) for project in _projects_of(host, hostvars)} & set(buckets)
    ]


def archiver_failures(diagnosis):
    """One sentence for each project that the doctor found something wrong with; the result of the task that ran it."""
    if not diagnosis.get("rc"):
        return []
    try:
        archives = json.loads(diagnosis["stdout"])["archives"]
    except (ValueError, LookupError, TypeError):
        said = str(diagnosis.get("stderr") or "").strip()
        return [
            said or f"The doctor ended with status {diagnosis['rc']} and printed nothing; see the journal of the host."
        ]
    sentences = []
    for archive in archives:
        failed = [f"{check['name']}: {check['detail']}" for check in archive.get("checks", []) if check["failed"]]
        if archive.get("exit_status"):
            sentences.append(f"{archive['name']} cannot be collected: {'; '.join(failed) or archive.get('msg')}")
    return sentences


def archiver_ledger(text, answers, noted_at, superseded=None):
    """The ledger after a check of the archivers: its whole text, the lines that are new, and what is refused."""
    reasons = {str(key): str(value) for key, value in (superseded or {}).items()}
    try:
        noted = parse_heads(str(text).encode().split(b"\n"), "the ledger")
    except InvalidInput as error:
        raise AnsibleFilterError(error.message) from error
    found = {str(host): _archives_in(printed) for host, printed in answers.items()}
    sent = {host: [one["continuation"] for one in values if one.get("continuation")] for host, values in found.items()}
    # What was not said about one archive can be about any that was noted.
    is_complete = all(
        one.get("continuation") or one.get("state") == "new" for values in found.values() for one in values
    )
    extension = extend(noted, sent, noted_at, reasons, is_complete and all(found.values()))
    lines = [line for line in str(text).split("\n") if line.strip()] + extension.lines
    return {
        "text": "".join(f"{line}\n" for line in lines),
        "lines": extension.lines,
        "refused": extension.refused,
    }


def _archives_in(printed):
    """What a host answers about its archives; nothing where that cannot be read."""
    try:
        archives = json.loads(str(printed))["archives"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return []
    return [one for one in archives if isinstance(one, dict)] if isinstance(archives, list) else []


def _signing_keys(printed):
    """The keys with which a host signs: public, the present one, and next, the one that replaces it now."""
    return {line.split(" ", 1)[0]: _public_key(line) for line in printed if line.startswith(("public ", "next "))}


def _key_output(host, hostvars):
    result = hostvars[host].get("archiver_keys") if host in hostvars else None
    return (result or {}).get("stdout_lines") or []


def _projects_of(host, hostvars):
    return (hostvars[host].get("archiver_projects") if host in hostvars else None) or []


def _read_time(text):
    return datetime.fromisoformat(text) if text else datetime.now(timezone.utc)


def _public_key(line):
    """The type and the blob of the public key in a line; empty if there is none."""
    found = re.search(r"(?:^|\s)((?:sk-)?(?:ssh|ecdsa)-[a-z0-9@.-]+)\s+([A-Za-z0-9+/=]{20,})", str(line))
    return " ".join(found.groups()) if found and not str(line).lstrip().startswith("#") else ""


class FilterModule:
    def filters(self):
        return {
            "archiver_failures": archiver_failures,
            "archiver_ledger": archiver_ledger,
            "archiver_plan": archiver_plan,
            "archiver_signers": archiver_signers,
            "archiver_strangers": archiver_strangers,
        }
