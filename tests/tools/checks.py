# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All that is checked: what runs in which environment, and in which stage."""

from __future__ import annotations

from dataclasses import dataclass

from tests.tools.environments import ENVIRONMENTS, NAME, PYTHONS, ROOT, WORK, minor, pythons


@dataclass(frozen=True)
class Check:
    """One command of a stage, run in the repository's root with an environment on PATH.

    ``needs`` are abilities of the machine and commands of the system without which it cannot run. ``figures`` is a
    pattern: what it finds in the output is shown also of a check that passed.
    """

    name: str
    command: list[str]
    environment: str = "main"
    python: str | None = None
    needs: tuple[str, ...] = ()
    figures: str = ""


# Of all that is installed for development or at run time; what is under several needs one of them.
LICENCES = "MIT;0BSD;BSD;Apache;ISC;PSF;Python Software Foundation;Mozilla;MPL-2.0;GPL-3.0;GPL-2.0-or-later;GPLv3"
TRACED = ("root", "strace")
RUNS = r"\d+ runs of collectors: .+"
DISKS = ("root", "private mounts", "mkfs.ext4", "loop devices")
HOSTS = ["pytest", "--quiet", "tests/e2e/managed_hosts"]
CONTAINERS = ("root", "mmdebstrap", "systemd-nspawn", "ip", "ssh", "ssh-keygen", "scp", "git")


def faults(name: str, file: str, *options: str, needs: tuple[str, ...] = TRACED) -> Check:
    """Collectors as processes under faults; the number of runs is shown."""
    return Check(name, ["pytest", "--quiet", *options, f"tests/e2e/{file}"], needs=needs, figures=RUNS)


def files(word: str) -> list[str]:
    """The integration tests with this word in their files' names."""
    return [str(path.relative_to(ROOT)) for path in sorted(ROOT.glob(f"tests/integration/test_*{word}*.py"))]


def without(paths: list[str]) -> list[str]:
    """The options that leave these tests out."""
    return [f"--ignore={path}" for path in paths]


def core_tests(*names: str) -> list[str]:
    """The files of these unit tests of the core; each must exist."""
    paths = [f"{CORE_TESTS}/{name}.py" for name in names]
    missing = [path for path in paths if not (ROOT / path).exists()]
    if missing:
        raise FileNotFoundError(", ".join(missing))
    return paths


def edge() -> list[str]:
    """The unit tests outside of those of the core."""
    found = (str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("tests/unit/**/test_*.py")))
    return [path for path in found if not path.startswith(CORE_TESTS)]


CORE_TESTS = "tests/unit/plugins/module_utils"
ARCHIVE_TESTS = f"{CORE_TESTS}/archive"
# What asks an engine needs libraries that the core does not: it runs with the edge to Ansible.
QUERIES = f"{CORE_TESTS}/report/query"
CORE = ["pytest", "--quiet", CORE_TESTS, f"--ignore={QUERIES}", "tests/simulator"]
EXCHANGES = core_tests(
    "archive/storage/test_contract", "archive/storage/test_s3", "notify/test_channels", "project_log/test_client"
)
LIBRARIES = ["pytest", "--quiet", *EXCHANGES]
# The oldest libraries are older than Python 3.10 and 3.11, which warn of what they use.
OLDEST = [
    *LIBRARIES,
    *("-W", "ignore:_SixMetaPathImporter:ImportWarning"),
    *("-W", "ignore:'cgi' is deprecated:DeprecationWarning"),
    *("-W", "ignore:ssl.:DeprecationWarning"),
]
# The urllib3 of some distributions leaves the connections of S3 clients to the garbage collector.
OF_DISTRIBUTION = [*LIBRARIES, "-W", "ignore:unclosed <socket:ResourceWarning"]
RANDOM = core_tests("archive/test_edits", "archive/test_life", "archive/test_foreign")
# Tests of minutes, on paths that other tests take, too: on the oldest Python they run in the matrix alone.
THOROUGH = [
    *RANDOM,
    *core_tests(
        *(f"archive/test_{name}" for name in ("claims", "corpus", "guarantees", "maintenance", "maintenance_faults")),
        *(f"archive/test_{name}" for name in ("package", "package_attacks", "package_files", "package_page")),
        *("archive/test_second_verifier", "cli/test_several", "events/test_watcher", "project_log/test_windows"),
    ),
    *EXCHANGES,
]
# Tests that the stage "unit" leaves to the stage "versions".
SLOW = [*THOROUGH, *core_tests("archive/test_root_attacker", "archive/test_timestamps")]
COMMAND_TESTS = [f"{CORE_TESTS}/{name}" for name in ("cli", "detections", "events", "notify", "reviews")]
BENCHMARKS = ["python", "tests/benchmarks/suite.py"]
# Figures of so little mean nothing: this shows that the benchmarks still run.
SMALL = """
python tests/benchmarks/archive.py --entries 1000 --rounds 1 --memory
python tests/benchmarks/events.py --entries 200 --polls 3
python tests/benchmarks/fleet.py --projects 100 --hosts 1
python tests/benchmarks/heads.py --commits 50 --heads 5 --rounds 1
python tests/benchmarks/history.py --entries 500 --archives 2 --rounds 1
python tests/benchmarks/projects.py --projects 4 --entries 5 --rounds 1
python tests/benchmarks/s3.py --commits 30 --latency 1
"""
VENDOR = files("vendor")
OF_COMMAND = sorted({*files("guide"), *files("bucket")} - {*VENDOR})
RELEASES = [name for name in ENVIRONMENTS if name.startswith("ansible-") or name in ("oldest", "recent")]
# The edge to Ansible runs on each Python that a release of ansible-core supports. What takes minutes runs once on each
# release, on the first Python of its environment: these are 3.10 to 3.13.
EDGE = ["pytest", "--quiet", *edge(), QUERIES]
ON_EACH_RELEASE = {
    "integration": ["pytest", "--quiet", "tests/integration", *without(VENDOR + OF_COMMAND)],
    "sanity": ["python", "tests/tools/sanity.py"],
}
GUIDES = ["pytest", "--quiet", *OF_COMMAND]
# What modules do by themselves is the same under each release; playbooks, roles and templates are not. The examples
# call each module under the oldest release as well, and the matrix runs all.
OF_MODULES = [f"tests/integration/test_{name}.py" for name in ("archive", "queries", "assert", "detect")]
REPORTS = [
    "pytest",
    "--quiet",
    f"{CORE_TESTS}/archive/test_export.py",
    f"{CORE_TESTS}/report",
    f"--ignore={CORE_TESTS}/report/query/test_bucket.py",
]


def stages() -> dict[str, list[Check]]:
    """All checks by stage, in the order they run."""
    packages = [
        f"--package={NAME}.{name}"
        for name in ("plugins.module_utils", "tests.simulator", "tests.second_verifier", "tests.package_reader")
    ]
    return {
        "lint": [
            Check("format", ["ruff", "format", "--check", "."]),
            Check("ruff", ["ruff", "check", "--output-format", "concise", "."]),
            Check("types", ["mypy", *packages]),
            Check("types of dev.py", ["mypy", "--cache-dir", str(WORK / "mypy-dev"), "dev.py", "tests/tools"]),
            Check("shell", ["shellcheck", *shell_files()]),
            Check("ansible-lint", ["ansible-lint", "--profile", "production", "--offline", "--strict"]),
            Check("changelog", ["antsibull-changelog", "lint"]),
            # Of what is in git alone: other checks make and remove files meanwhile.
            Check("licences of files", ["sh", "-c", "git ls-files -z | xargs -0 reuse lint-file"]),
            Check("licences of libraries", ["pip-licenses", "--partial-match", "--allow-only", LICENCES]),
            Check("phrases of texts for people", ["python", "tests/tools/phrases.py"]),
            Check("code blocks of pages", ["python", "tests/tools/examples.py"], figures=r"\d+ code blocks: .+"),
            Check("reading ease", ["python", "tests/tools/reading.py"], figures=r" *\d+ +[\d.]+ +\d+  \S+"),
            Check("reference of the command", ["python", "tests/tools/reference.py", "--check"]),
            Check("site of the documentation", ["python", "tests/tools/docs.py"]),
            Check("documentation", ["antsibull-docs", "lint-collection-docs", "--plugin-docs", "."]),
            Check("links", links(), "habits"),
            Check("contributors' habits", ["python", "tests/tools/habits.py"], "habits"),
        ],
        "unit": [
            Check("the archive", ["pytest", "--quiet", ARCHIVE_TESTS, *without(SLOW)]),
            Check("the command and alerts", ["pytest", "--quiet", *COMMAND_TESTS, *without(SLOW)]),
            Check(
                "the log, modules and plugins",
                ["pytest", "--quiet", "tests/unit", *without([ARCHIVE_TESTS, *COMMAND_TESTS, QUERIES, *SLOW])],
            ),
        ],
        "versions": [
            Check("slow tests, this Python", ["pytest", "--quiet", *SLOW]),
            Check("simulator, this Python", ["pytest", "--quiet", "tests/simulator"]),
            Check("core, oldest Python", [*CORE, *without([*THOROUGH, "tests/simulator"])], "core", PYTHONS[0]),
            Check("newest ansible-core, the edge", EDGE, "recent"),
            Check("oldest ansible-core, the edge", EDGE, "oldest"),
            Check("oldest HTTP and S3 libraries", OLDEST, "boto-oldest"),
            Check("oldest libraries of reports", REPORTS, "report-oldest"),
        ],
        "integration": [
            Check("newest ansible-core", ON_EACH_RELEASE["integration"], "recent"),
            Check("newest ansible-core, guides and buckets", GUIDES, "recent", needs=("curl",)),
            Check("oldest ansible-core", [*ON_EACH_RELEASE["integration"], *without(OF_MODULES)], "oldest"),
            Check("provider's collection", ["pytest", "--quiet", *VENDOR], "demo"),
            Check("ansible-rulebook", ["pytest", "--quiet", "tests/e2e/test_rulebook.py"], "eda"),
            Check("jobs of AWX", ["pytest", "--quiet", "tests/e2e/test_awx.py"], "eda"),
            Check("metrics and alerts", ["pytest", "--quiet", "tests/e2e/test_watching.py"], needs=("promtool",)),
            Check("dashboard", ["pytest", "--quiet", "tests/e2e/test_dashboard.py"], needs=("prometheus",)),
        ],
        "browser": [
            Check(
                "reports in Chromium",
                ["pytest", "--quiet", "tests/e2e/test_report_page.py"],
                "browser",
                needs=("chromium",),
            ),
        ],
        "faults": [
            faults("system calls", "test_archive_faults.py"),
            faults("system calls of compaction and pruning", "test_retention_faults.py"),
            faults("kills", "test_archive_kills.py", "-m", "not long"),
            faults("disks", "test_archive_disks.py", needs=DISKS),
            faults("clocks", "test_archive_clock.py", needs=("faketime",)),
        ],
        "sanity": [
            Check("newest ansible-core", ON_EACH_RELEASE["sanity"], "recent"),
            # pylint takes three quarters of the time, and the newest release's finds more: here in the matrix alone.
            Check("oldest ansible-core", [*ON_EACH_RELEASE["sanity"], "--skip-test", "pylint"], "oldest"),
        ],
        "package": [
            Check("build, install, import", ["python", "tests/tools/package.py"]),
            Check("benchmarks of queries, small", [*BENCHMARKS, "--small"]),
            Check("other benchmarks, small", ["sh", "-euc", SMALL]),
            Check("CPU of detections", ["python", "tests/benchmarks/detections.py"], figures=r"(?m)^ *\d+ entries .*$"),
            Check(
                "queries of a report",
                ["python", "tests/benchmarks/report.py", "--entries", "3000"],
                figures=r"(?m)^year: \d+ entries .*$",
            ),
        ],
    }


def long_stages() -> dict[str, list[Check]]:
    """Runs of many minutes, by name: not part of `test`."""
    return {
        "matrix": [
            *(Check("core alone", CORE, "core", version) for version in sorted({*PYTHONS, *pythons()}, key=minor)),
            *(Check(f"{name}, unit", EDGE, name, version) for name in RELEASES for version in ENVIRONMENTS[name]),
            *(
                Check(f"{name}, {kind}", command, name)
                for name in RELEASES
                for kind, command in ON_EACH_RELEASE.items()
            ),
            *(Check(f"{name}, guides and buckets", GUIDES, name) for name in ("oldest", "recent")),
            *(
                Check(f"HTTP and S3 libraries of {name}", OF_DISTRIBUTION, f"boto-{name.lower().replace(' ', '-')}")
                for name in ("Debian 12", "Debian 13", "EL 9", "Ubuntu 22.04", "Ubuntu 24.04")
            ),
            Check(
                "core alone, Python and libraries of Debian sid",
                ["python", "tests/tools/sid.py", *CORE[1:]],
                needs=("root", "mmdebstrap", "private mounts", "tar", "chroot"),
                figures=r"(?m)^Python 3.*",
            ),
            *(
                Check("oldest libraries of reports", REPORTS, "report-oldest", version)
                for version in ENVIRONMENTS["report-oldest"]
            ),
        ],
        "kills": [faults("10,000 kills", "test_archive_kills.py")],
        "spark": [
            Check(
                "reports by Spark", ["pytest", "--quiet", "tests/e2e/test_report_engines.py"], "spark", needs=("java",)
            ),
        ],
        "fuzz": [
            # Lives of honest archives and edits of signed ones, as random as in no other run.
            Check("lives and edits", ["env", "ARCHIVE_EXAMPLES=500", "pytest", "--quiet", *RANDOM]),
            *(
                Check(
                    name, ["python", "tests/fuzz/hostile.py", name, "-max_total_time=300"], "fuzz", figures=r"Done .+"
                )
                for name in ("archives", "foreign", "pages", "commits", "streams")
            ),
        ],
        "object-storage": [
            Check(
                "buckets of Ceph",
                ["pytest", "--quiet", "tests/e2e/object_storage"],
                needs=("root", "mmdebstrap", "private mounts", "tar", "chroot"),
            ),
        ],
        "managed-hosts": [
            *(
                Check(
                    f"archiver and rulebooks on Debian {number}",
                    [*HOSTS, "-m", "not long", "-k", suite],
                    needs=CONTAINERS,
                )
                for number, suite in ((12, "bookworm"), (13, "trixie"))
            ),
            Check(
                "200 projects on one host",
                [*HOSTS, "-s", "-m", "long", "-k", "bookworm"],
                needs=CONTAINERS,
                figures=r"(?m)^[a-z0-9, ]+: \d.*$",
            ),
        ],
        "benchmarks": [
            Check(
                "queries, compared with other ways",
                [*BENCHMARKS, "--into", str(WORK / "benchmarks")],
                "benchmark",
                figures=r"(?m)^(?:\d+ entries.*|\|.*)$",
            )
        ],
    }


def shell_files() -> list[str]:
    return [".ci/run", *(str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("[!.]*/**/*.sh")))]


def links() -> list[str]:
    """Checks offline that links lead to existing files and headings, on GitHub too, and that the others are URLs."""
    github = "https://(github.com|raw.githubusercontent.com)/auditops/auditops.cloudscale/((blob|tree)/)?main/"
    options = ("--offline", "--no-progress", "--include-fragments", "--remap", f"{github} {ROOT.as_uri()}/")
    paths = sorted([*ROOT.glob("[!.]*/**/*.md"), *ROOT.glob("*.md"), *ROOT.glob("docs/docsite/rst/*.rst")])
    return ["lychee", *options, *(str(path.relative_to(ROOT)) for path in paths)]
