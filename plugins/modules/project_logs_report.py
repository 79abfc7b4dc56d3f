#!/usr/bin/python
# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Over 400 lines, because Ansible keeps the documentation of all options and results in the module's file.

from __future__ import annotations

DOCUMENTATION = r"""
module: project_logs_report
short_description: Report who did what in cloudscale.ch projects
version_added: 1.0.0
description:
  - Writes a report that shows who did what, when and from where, and what needs attention.
  - The module reads the API (the last 90 days), archives (years), or both. Up to the end of an archive's coverage,
    entries are from the archive; later entries are from the API. No entry appears twice. If an archive begins later
    than the range, or was pruned, earlier entries that the API still has are from the API.
  - Each format contains the time range, the time zone and the time of making. If O(start) and O(end) are in the past,
    the same entries and options give the same report, and the files are changed only if more than the time of making
    is new.
  - With O(form=access_review), the report is an access review for decisions and a signature.
author:
  - auditops.cloudscale contributors (@auditops)
options:
  form:
    description:
      - Kind of report.
      - V(activity) reports all changes.
      - V(access_review) lists every person and every token with changes in the range or in the period of the same
        length before it. It shows first and last activity, number and kinds of changes, sensitive changes and networks,
        and has fields for a decision, a name, a date and a signature. It needs all entries of a period, so O(limit)
        and O(cursor) are not allowed.
      - An access review compares the range with the period before, and does not use O(baseline). An account is new only
        if the sources cover the complete period before, and dormant only if they cover the complete range as well.
        Otherwise the review shows "no data" and the reason.
      - The log has no list of members. An access review does not show people who have access but made no changes, nor
        tokens that only read.
    type: str
    choices: [activity, access_review]
    default: activity
  dest:
    description:
      - Path to the report. The suffix selects the format.
      - V(.html) is one page with charts and a table of the newest 100000 entries. It needs no network.
      - V(.md) is a short text for tickets and chat, with the newest 100 entries.
      - V(.csv) is a table for spreadsheets. No text in it is treated as a formula.
      - V(.jsonl) is the evidence, with each entry as it was received, one JSON object per line.
      - V(.parquet) is a table for analysis. The metadata key C(audit_report) has the time range, the time zone and the
        time of making as JSON.
      - With V(.csv) and V(.jsonl), the module writes a companion file with the suffix V(.meta.json). It contains the
        time range, the time zone, the time of making, the projects, the number of entries, and the SHA-256 of both
        files.
      - For O(form=access_review), V(.html) is the page to sign, V(.md) lists up to 100 people and 100 tokens, and
        V(.csv) has a row for each person and token in each project. V(.jsonl) and V(.parquet) have the entries of the
        range.
      - The directory must exist. A relative path starts at the directory that the module runs in.
    type: path
    required: true
  extra_formats:
    description:
      - Additional formats of the same report, written next to O(dest) with the same name and these suffixes.
      - The sources are read once for all formats.
    type: list
    elements: str
    choices: [html, md, csv, jsonl, parquet]
    default: []
  api_token:
    description:
      - API token of a project. Read access is sufficient. Required here or in the environment, unless O(archives) or
        O(projects) is set.
      - Ansible masks the text of the token wherever it appears in a result.
    type: str
  archives:
    description:
      - Archives made by M(auditops.cloudscale.project_logs_archive), each of one project, as directories or
        V(s3://BUCKET/PREFIX). The module temporarily copies the files of the range from a bucket.
      - Without a token, the module reads only archives.
    type: list
    elements: path
  projects:
    description:
      - Projects to read from the API, instead of the one project of O(api_token).
      - The module finds the archive of a project among O(archives).
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the project in the report; by default the name in its archive or in the API.
        type: str
      api_token:
        description: API token of the project.
        type: str
        required: true
      api_url:
        description: URL of the project's API; by default O(api_url).
        type: str
  ask_api:
    description: If V(false), the module reads only O(archives), even if a token is available.
    type: bool
    default: true
  engine:
    description:
      - Engine that reads and queries the entries. Both make the same report.
      - V(duckdb) runs in the module's process with up to 2 GB of memory, and uses the disk for more data.
      - V(spark) is Apache Spark as configured in C(spark-defaults.conf) in E(SPARK_CONF_DIR). All of its machines must
        have O(archives) and the directory for temporary files under the same paths.
    type: str
    choices: [duckdb, spark]
    default: duckdb
  title:
    description: Heading of the report; by default "Audit report" or "Access review".
    type: str
  language:
    description: Language of the report.
    type: str
    choices: [en, de]
    default: en
  time_zone:
    description:
      - Time zone of the report, such as V(Europe/Zurich). Times are shown in it, and days begin in it.
      - Dates and named times in O(start) and O(end) are in this time zone.
    type: str
    default: UTC
  detections:
    description:
      - Detections of your own, in addition to the built-in ones, as in M(auditops.cloudscale.project_logs_detect).
      - Alerts are the first part of the report. An access review has no alerts.
    type: list
    elements: dict
  own_actors:
    description:
      - Your own automation. It fires no detection, and the report counts its entries separately from those of people.
      - Users by e-mail address, tokens by description or uuid. V(*) matches any characters, V(?) one character.
    type: list
    elements: str
  working_hours:
    description:
      - Working hours of your site, such as V(Mon-Thu 07:00-19:00, Fri 07:00-16:00). Detections that need them are off
        by default.
      - They are in O(time_zone), unless a time zone follows.
    type: str
  compare:
    description:
      - If V(true), the report compares the totals and the alerts with the period before. This period has the same
        length, or as many months if the range is complete months.
      - The module reads this period as well. If the sources do not cover it, the report shows "no data". With O(limit)
        or O(cursor), nothing is compared.
      - An access review always compares.
    type: bool
    default: true
  baseline:
    description:
      - Length of the baseline period before O(start). Actors, tokens and networks that do not occur in it are new, and
        detections take it as normal activity.
      - With V(0d), there is no baseline.
      - O(form=access_review) reads the period of the same length before O(start) instead.
    type: str
    default: 30d
extends_documentation_fragment:
  - auditops.cloudscale.connection
  - auditops.cloudscale.range
  - auditops.cloudscale.selection
  - auditops.cloudscale.detections
  - auditops.cloudscale.concurrency
  - auditops.cloudscale.attributes
  - files
attributes:
  check_mode:
    details: The sources are read as usual, but nothing is written. C(changed) is true if a file would be written.
  diff_mode:
    support: none
requirements:
  - requests, unless O(ask_api=false)
  - ibis-framework[duckdb], or ibis-framework[pyspark] for O(engine=spark)
  - jinja2, vl-convert-python and itables for pages (.html); only jinja2 for pages of O(form=access_review)
notes:
  - Run the module on the controller; managed hosts do not need these libraries.
  - A report contains personal data. Set O(mode) to protect it.
seealso:
  - module: auditops.cloudscale.project_logs_info
  - module: auditops.cloudscale.project_logs_archive
"""

EXAMPLES = r"""
- name: Write a page about the last 30 days
  auditops.cloudscale.project_logs_report:
    start: -30d
    dest: report.html
    time_zone: Europe/Zurich
    mode: "0640"
  delegate_to: localhost
  run_once: true

- name: Write the report of last month for a ticket
  auditops.cloudscale.project_logs_report:
    start: last-month
    end: this-month
    dest: last-month.md
    time_zone: Europe/Zurich
    mode: "0640"
  delegate_to: localhost
  run_once: true

- name: Write last quarter's deletions as evidence, from the archive
  auditops.cloudscale.project_logs_report:
    archives: [/var/lib/audit/shop]
    ask_api: false
    start: 2026-07-01
    end: 2026-10-01
    actions: ["*_delete"]
    dest: deletions.jsonl
    mode: "0640"
  delegate_to: localhost
  run_once: true

- name: Write one page about the year in German, from the archive, and from the API for the last days
  auditops.cloudscale.project_logs_report:
    archives: [/var/lib/audit/shop]
    start: 2026-01-01
    dest: year.html
    title: Audit 2026
    language: de
    time_zone: Europe/Zurich
    mode: "0640"
  delegate_to: localhost
  run_once: true

- name: Write the access review of last quarter, to print and sign
  auditops.cloudscale.project_logs_report:
    form: access_review
    archives: [/var/lib/audit/shop]
    start: 2026-07-01
    end: 2026-10-01
    dest: access-review.html
    extra_formats: [csv]
    time_zone: Europe/Zurich
    mode: "0640"
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
dest:
  description: Absolute path to the report.
  returned: success
  type: str
files:
  description: Absolute paths to all files of the report, O(dest) first.
  returned: success
  type: list
  elements: str
entries:
  description: Number of entries in the report.
  returned: success
  type: int
summary:
  description:
    - Figures of the report. Times are in O(time_zone).
    - An access review has C(entries), C(first), C(last), C(people), C(tokens), C(new), C(dormant), C(no_data),
      C(sensitive), C(compared) and C(complete). Other reports have all except C(people), C(tokens), C(new), C(dormant),
      C(no_data), C(sensitive) and C(compared).
  returned: success
  type: dict
  contains:
    entries:
      description: Number of entries.
      type: int
    first:
      description: Time of the oldest entry, with offset; empty without entries.
      type: str
    last:
      description: Time of the newest entry, with offset; empty without entries.
      type: str
    actors:
      description: Number of entries by actor, most frequent first.
      type: dict
    actions:
      description: Number of entries by action, most frequent first.
      type: dict
    networks:
      description: Number of entries by network (V(/24) of IPv4, V(/48) of IPv6), most frequent first.
      type: dict
    alerts:
      description: Number of alerts of each severity, most severe first.
      type: dict
      sample: {critical: 0, high: 1, medium: 12, low: 3, info: 0}
    detections:
      description: Number of alerts of each detection that fired, most severe first.
      type: dict
      sample: {provider_staff: 1, deletion: 12}
    projects:
      description: Number of entries by project, most frequent first.
      type: dict
    own:
      description: Number of entries of O(own_actors).
      type: int
    before:
      description: >-
        Figures of the period before - C(entries), entries by C(own) automation (only with O(own_actors)), C(people),
        C(tokens), C(staff) and C(system), number of C(actors) and C(networks). Null without a comparison, or if the
        sources do not cover the period.
      type: dict
    first_seen:
      description: >-
        Names of C(actors), C(tokens) and C(networks) that do not occur in the O(baseline). Empty if the baseline has no
        entries.
      type: dict
    sensitive:
      description: Number of changes that delete something or change who has access, in an access review.
      type: int
    staff:
      description: Number of changes by the provider's staff.
      type: int
    system:
      description: Number of changes by the provider's automated tasks.
      type: int
    people:
      description: Number of distinct people with changes in the range.
      type: int
    tokens:
      description: Number of distinct tokens with changes in the range.
      type: int
    new:
      description: >-
        Number of people and tokens, in each project, with changes in the range and none in the period before. Null if
        data of the period before is missing.
      type: int
    dormant:
      description: >-
        Number of people and tokens, in each project, with changes in the period before and none in the range. Null if
        data of either is missing.
      type: int
    no_data:
      description: Number of people and tokens, in each project, that cannot be compared because data is missing.
      type: int
    compared:
      description: Whether the sources cover the complete period before.
      type: bool
    complete:
      description: >-
        Whether the sources cover the complete range, as far as known. False for a range that ends in the future.
      type: bool
failure:
  description: Machine-readable cause of the failure.
  returned: failure
  type: dict
  contains:
    code:
      description: >-
        Stable name of the failure, one of V(invalid_input), V(missing_dependency), V(unauthorized), V(forbidden),
        V(request_rejected), V(cursor_rejected), V(unreachable), V(certificate), V(invalid_response),
        V(service_unavailable), V(untrusted_url), V(pagination_loop), V(storage), V(archive_damaged), V(engine_failed),
        V(cancelled).
      type: str
    http_status:
      description: HTTP status of the rejected response; null without one.
      type: int
    retryable:
      description: Whether the same call can succeed later.
      type: bool
"""

import os
import tempfile
from contextlib import ExitStack

from ansible_collections.auditops.cloudscale.plugins.module_utils.ansible_module import (
    CloudscaleModule,
    concurrency_spec,
    connection_spec,
    detections_spec,
    range_spec,
    selection_spec,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.files import (
    check_destination,
    draft_file,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.report.query.engine import ENGINES
from ansible_collections.auditops.cloudscale.plugins.module_utils.report.report import (
    Report,
    destinations,
    is_same_report,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.report.translations import (
    BASELINE,
    FORMS,
    LANGUAGES,
    REPORTS,
)


def argument_spec():
    project = {
        "name": {"type": "str"},
        "api_token": {"type": "str", "required": True, "no_log": True},
        "api_url": {"type": "str"},
    }
    return {
        **connection_spec(),
        **range_spec(),
        **selection_spec(),
        **concurrency_spec(),
        **detections_spec(),
        "form": {"type": "str", "choices": list(REPORTS), "default": REPORTS[0]},
        "dest": {"type": "path", "required": True},
        "extra_formats": {"type": "list", "elements": "str", "choices": list(FORMS), "default": []},
        "archives": {"type": "list", "elements": "path"},
        "projects": {"type": "list", "elements": "dict", "options": project},
        "ask_api": {"type": "bool", "default": True},
        "engine": {"type": "str", "choices": list(ENGINES), "default": ENGINES[0]},
        "title": {"type": "str"},
        "language": {"type": "str", "choices": list(LANGUAGES), "default": LANGUAGES[0]},
        "time_zone": {"type": "str", "default": "UTC"},
        "compare": {"type": "bool", "default": True},
        "baseline": {"type": "str", "default": BASELINE},
    }


def written(module, report, paths):
    """Write the report; return its content, and whether a file changed."""
    with ExitStack() as stack:
        if module.check_mode:
            directory = stack.enter_context(tempfile.TemporaryDirectory())
            for path in paths.values():
                check_destination(path)
            drafts = {form: os.path.join(directory, form) for form in paths}
        else:
            drafts = {form: stack.enter_context(draft_file(path)) for form, path in paths.items()}
        content = report.write(drafts)
        changed = [form for form in paths if not is_same_report(form, drafts[form], paths[form])]
        for form in () if module.check_mode else changed:
            module.atomic_move(drafts[form], paths[form])
    return content, bool(changed)


def run(module):
    report = Report(module.params)
    dest = os.path.abspath(module.params["dest"])
    paths = destinations(dest, module.params["extra_formats"])
    content, changed = written(module, report, paths)
    for warning in content.warnings:
        module.warn(warning)
    for path in paths.values():
        arguments = module.load_file_common_arguments(module.params, path=path)
        changed = module.set_fs_attributes_if_different(arguments, changed)
    files = list(paths.values())
    return {"changed": changed, "dest": dest, "files": files, "entries": content.entries, "summary": content.summary}


def main():
    module = CloudscaleModule(argument_spec=argument_spec(), supports_check_mode=True, add_file_common_args=True)
    with module.report_errors():
        result = run(module)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
