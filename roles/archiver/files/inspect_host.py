# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prints the state of a host as JSON. Changes nothing, and runs on any Python 3.

The only argument is a JSON object with the keys schedules, files and metrics_dir.
"""

from __future__ import annotations

import glob
import json
import os
import re
import shutil
import subprocess
import sys

UNITS = "/etc/systemd/system"
CONFIG = "/etc/cloudscale-audit"
PROGRAMS = "/usr/local/lib/cloudscale-audit"
COMMAND = "/usr/local/bin/cloudscale-audit"
SECRETS = ("tokens.json", "s3", "pings.json", "notify.json", "notify-token-*[0-9]")


def find_files(directory, *patterns):
    return sorted(path for pattern in patterns for path in glob.glob(os.path.join(glob.escape(directory), pattern)))


def output(*command):
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    except OSError:
        return ""
    return done.stdout


def succeeds(*command):
    return subprocess.call(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0


def units_in_state(state, units):
    """The units that systemctl reports as active, or as enabled."""
    states = output("systemctl", f"is-{state}", *units).split() if units else []
    return [unit for unit, found in zip(units, states) if found == state]


def metrics_directories(units):
    found = set()
    for unit in units:
        if unit.endswith(".service") and os.path.isfile(unit):
            with open(unit, encoding="utf-8") as file:
                found.update(re.findall(r"--metrics[= ](/[A-Za-z0-9._/-]+)", file.read()))
    return found


def inspect_host(request):
    units = [path for path in find_files(UNITS, "cloudscale-audit-*") if os.path.isfile(path)]
    timers = [os.path.basename(path) for path in units if path.endswith(".timer")]
    version = re.search(r"[0-9]+", output("systemctl", "--version"))
    directories = metrics_directories(units) | set(filter(None, [request["metrics_dir"]]))
    return {
        "python": list(sys.version_info[:2]),
        "systemd": int(version.group()) if version else 0,
        "booted": os.path.exists("/run/systemd/system"),
        "has_ssh_keygen": shutil.which("ssh-keygen") is not None,
        "has_openssl": shutil.which("openssl") is not None,
        "invalid_schedules": [
            text for text in request["schedules"] if not succeeds("systemd-analyze", "calendar", text)
        ],
        "missing_files": [path for path in request["files"] if not os.path.isfile(path)],
        "secrets": [
            os.path.basename(path) for name in SECRETS for path in find_files(CONFIG, name, name + ".encrypted")
        ],
        "active_timers": units_in_state("active", timers),
        "enabled_timers": units_in_state("enabled", timers),
        "units": [os.path.basename(path) for path in units],
        "metrics": [path for directory in directories for path in find_files(directory, "cloudscale-audit-*.prom")],
        "program": os.path.realpath(COMMAND) if os.path.islink(COMMAND) else "",
        "programs": find_files(PROGRAMS, "cloudscale-audit-*.pyz"),
    }


sys.stdout.write(json.dumps(inspect_host(json.loads(sys.argv[1]))))
