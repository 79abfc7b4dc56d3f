# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""List the code blocks of READMEs and guides that no test runs, with the reason.

Runs in the repository's root. TESTS declares the tests that run a page's other blocks, or compare them with real
output; this check counts the blocks and does not trace the tests. A new block must be added there or to NOT_RUN.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ansible_collections.auditops.cloudscale.tests.tools.phrases import EXEMPT

PATTERNS = ("README.md", "roles/*/README.md", "docs/docsite/rst/*.rst")
BLOCKS = {
    ".md": re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL),
    ".rst": re.compile(r"^\.\. code-block:: (\w+)\n\n((?:    .*\n|\n)+)", re.MULTILINE),
}
GUIDES = "tests/integration/test_"
HOSTS = "tests/e2e/managed_hosts/test_"
# For each page: how many blocks of a language run, and the tests that run them.
TESTS: dict[str, dict[str, tuple[int, str]]] = {
    "README.md": {
        "yaml": (4, f"{GUIDES}examples.py"),
        "shell": (4, f"{GUIDES}start_guides.py {HOSTS}operations.py"),
    },
    "roles/archiver/README.md": {
        "yaml": (2, "tests/unit/test_role_archiver.py"),
        "shell": (1, f"{GUIDES}archive_guides.py"),
    },
    "access_review_guide.rst": {"yaml": (2, f"{GUIDES}report_guide.py"), "console": (1, f"{GUIDES}report_guide.py")},
    "actions_reference.rst": {"shell": (2, f"{GUIDES}actions_reference.py")},
    "archive_auditors_guide.rst": {
        "shell": (13, f"{GUIDES}archive_guides.py"),
        "console": (1, f"{GUIDES}archive_guides.py"),
    },
    "archive_bucket_guide.rst": {
        "yaml": (1, f"{GUIDES}archive_bucket.py"),
        "shell": (1, f"{GUIDES}archive_bucket.py"),
        "text": (2, f"{GUIDES}archive_bucket.py"),
        "json": (2, "tests/e2e/object_storage/test_ceph.py"),
    },
    "archive_format_guide.rst": {
        "json": (1, f"{GUIDES}archive_guides.py"),
        "python": (1, f"{GUIDES}archive_guides.py"),
        "text": (1, f"{GUIDES}archive_guides.py"),
    },
    "archive_guide.rst": {
        "yaml": (1, f"{GUIDES}archive_guides.py"),
        "shell": (7, f"{GUIDES}archive_guides.py {GUIDES}start_guides.py"),
        "json": (1, f"{GUIDES}archive_guides.py"),
        "console": (4, f"{GUIDES}archive_guides.py {GUIDES}check_archivers.py"),
        "python": (1, f"{GUIDES}archive_guides.py"),
        "sql": (1, f"{GUIDES}archive_guides.py"),
    },
    "archiver_operations_guide.rst": {
        "yaml": (5, "tests/unit/test_role_archiver.py"),
        "console": (1, f"{GUIDES}start_guides.py"),
        "shell": (12, f"{HOSTS}operations.py {HOSTS}bucket.py"),
    },
    "archiver_watching_guide.rst": {
        "yaml": (2, "tests/unit/test_role_archiver.py"),
        "ini": (1, "tests/unit/test_role_archiver.py"),
        "shell": (
            4,
            f"{GUIDES}archive_guides.py tests/e2e/test_archive_clock.py {HOSTS}bucket.py {HOSTS}log_server.py",
        ),
        "console": (1, f"{GUIDES}check_archivers.py"),
        "text": (4, f"{HOSTS}log_server.py {HOSTS}syslog_ng.py"),
    },
    "authentication_guide.rst": {"yaml": (1, f"{GUIDES}start_guides.py"), "shell": (1, f"{GUIDES}start_guides.py")},
    "awx_guide.rst": {"yaml": (5, "tests/e2e/test_awx.py")},
    "change_verification_guide.rst": {
        "yaml": (7, f"{GUIDES}vendor_guides.py"),
        "text": (2, f"{GUIDES}vendor_guides.py"),
        "shell": (1, f"{GUIDES}vendor_guides.py"),
        "ini": (1, f"{GUIDES}trail.py"),
    },
    "choosing_guide.rst": {"shell": (1, f"{GUIDES}choosing_guide.py")},
    "cookbook_guide.rst": {
        "yaml": (2, f"{GUIDES}cookbook_guide.py"),
        "text": (1, f"{GUIDES}cookbook_guide.py"),
        "json": (1, f"{GUIDES}cookbook_guide.py"),
        "shell": (5, f"{GUIDES}cookbook_guide.py"),
    },
    "detections_guide.rst": {
        "console": (3, f"{GUIDES}archive_guides.py"),
        "json": (2, f"{GUIDES}archive_guides.py"),
        "yaml": (1, f"{GUIDES}archive_guides.py"),
        "shell": (1, f"{GUIDES}archive_guides.py"),
    },
    "eda_guide.rst": {"yaml": (3, "tests/e2e/test_rulebook.py"), "console": (3, "tests/e2e/test_rulebook.py")},
    "faq_guide.rst": {"yaml": (4, f"{GUIDES}start_guides.py"), "shell": (2, f"{GUIDES}start_guides.py")},
    "lookup_or_module_guide.rst": {"yaml": (5, f"{GUIDES}vendor_guides.py")},
    "quick_start_guide.rst": {"yaml": (2, f"{GUIDES}start_guides.py"), "shell": (3, f"{GUIDES}start_guides.py")},
    "reports_guide.rst": {
        "yaml": (5, f"{GUIDES}report_guide.py"),
        "text": (2, f"{GUIDES}report_guide.py"),
        "json": (1, f"{GUIDES}report_guide.py"),
    },
    "rulebook_host_guide.rst": {
        "yaml": (1, f"{HOSTS}rulebook_host.py"),
        "ini": (5, f"{HOSTS}rulebook_host.py"),
        "shell": (4, f"{HOSTS}rulebook_host.py"),
        "console": (1, f"{HOSTS}rulebook_host.py"),
    },
    "scale_out_guide.rst": {"console": (2, f"{GUIDES}scale_out_guide.py")},
    "troubleshooting_guide.rst": {"shell": (2, f"{GUIDES}archive_guides.py")},
    "upgrade_policy_guide.rst": {"shell": (1, f"{GUIDES}start_guides.py"), "console": (1, f"{HOSTS}operations.py")},
}
MAX_NOT_RUN = 14
PACKAGES = "installs packages from the internet"
# By page and the beginning of the block.
NOT_RUN = {
    ("README.md", "git clone"): "needs the public repository",
    ("README.md", "python3 -m venv"): f"{PACKAGES}; tests/tools/package.py installs the same from this repository",
    ("README.md", "python3 dev.py test"): "runs all tests",
    ("roles/archiver/README.md", "systemctl"): "needs an installed host; the tests on hosts run each command",
    ("archive_format_guide.rst", "YYYY-MM-DD"): "is a form of times, no command",
    ("archive_guide.rst", "When    "): "is the output of the command before it, which runs",
    ("archiver_watching_guide.rst", "sources:"): "needs Vector, which no package index has; the guide says so",
    ("awx_guide.rst", "cd ~/.ansible"): "builds an image with a container engine; the first command runs",
    ("change_verification_guide.rst", "ansible-galaxy"): f"{PACKAGES}; the tests have the provider's collection",
    ("detections_guide.rst", "account default"): "needs msmtp and a mail server",
    ("quick_start_guide.rst", "python3 -m venv"): f"{PACKAGES}; the test compares it with README.md",
    ("reports_guide.rst", 'python3 -m pip install "ibis-framework[duckdb]"'): PACKAGES,
    ("reports_guide.rst", 'python3 -m pip install "ibis-framework[pyspark]"'): f"{PACKAGES}; a test runs the report",
}


class Block(NamedTuple):
    page: str
    language: str
    text: str


def blocks() -> Iterator[Block]:
    """The code blocks of all pages for people, except generated ones."""
    for path in sorted(path for pattern in PATTERNS for path in Path().glob(pattern)):
        if str(path) not in EXEMPT:
            page = path.name if path.suffix == ".rst" else str(path)
            for language, text in BLOCKS[path.suffix].findall(path.read_text(encoding="utf-8")):
                yield Block(page, language, text.strip())


def reason(block: Block) -> str:
    """Why a block is not run; empty if it is."""
    return next(
        (why for (page, start), why in NOT_RUN.items() if block.page == page and block.text.startswith(start)), ""
    )


def problems() -> list[str]:
    """What does not fit: blocks that nobody counts, tests that do not exist, and reasons without a block."""
    found = list(blocks())
    run = Counter((block.page, block.language) for block in found if not reason(block))
    wanted = {(page, language): count for page, tests in TESTS.items() for language, (count, _files) in tests.items()}
    files = {file for tests in TESTS.values() for _count, names in tests.values() for file in names.split()}
    used = {key for block in found for key in NOT_RUN if block.page == key[0] and block.text.startswith(key[1])}
    return [
        *(
            f"{page}: {run[page, language]} blocks of {language}, but {wanted.get((page, language), 0)} are tested"
            for page, language in sorted(run.keys() | wanted.keys())
            if run[page, language] != wanted.get((page, language), 0)
        ),
        *(f"{file} does not exist" for file in sorted(files) if not Path(file).exists()),
        *(f"{page}: no block begins with {start!r}" for page, start in NOT_RUN.keys() - used),
        *([f"More than {MAX_NOT_RUN} blocks do not run"] if len(NOT_RUN) > MAX_NOT_RUN else []),
    ]


def main() -> int:
    found = list(blocks())
    left = [block for block in found if reason(block)]
    print(f"{len(found)} code blocks: {len(found) - len(left)} declared as run or compared, {len(left)} are not run:")
    for block in left:
        print(f"  {block.page}: {block.text.splitlines()[0][:60]}: {reason(block)}")
    wrong = problems()
    print(*wrong, sep="\n", end="\n" if wrong else "")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
