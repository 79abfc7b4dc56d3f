# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Refuse phrases in texts for people for which plain English has a better one.

Runs in the repository's root, on guides, comments, docstrings and strings. Code and literals are not checked. With
--doubtful, also list phrases that are often, but not always, unclear; they do not fail the check.
"""

from __future__ import annotations

import argparse
import io
import itertools
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

# The phrases themselves, and pages that repeat texts of the code.
EXEMPT = (
    "tests/tools/phrases.py",
    "tests/unit/test_phrases.py",
    "changelogs/changelog.yaml",
    "docs/docsite/rst/command_reference.rst",
    "docs/docsite/rst/detections_reference.rst",
    "docs/docsite/rst/event_source_reference.rst",
    "docs/docsite/rst/playbooks_reference.rst",
)


class Phrase(NamedTuple):
    """A regular expression, in which a space matches any white space, and the words to use instead."""

    pattern: str
    replacement: str
    reason: str


class Hit(NamedTuple):
    line: int
    found: str
    phrase: Phrase


ORDER = "subject, verb, object"
PEOPLE = "only people tell"
POINTER = "pointers read 'See X for ...'"
THINGS = "things do not lie, stand, go on, come or let go"
NOUN = "a noun is shorter than a clause"
MODAL = "must is a requirement, can an ability, might a possibility"
USUAL = "the usual word"

# These cannot tell anything.
THING = (
    r"(?:guide|page|section|command|module|playbook|lookup|callback|report|metric|status|log|API|result|table|message)"
)
# "is no longer", "no more than" and "no older than" compare; "there is no" denies that something exists.
COMPARISON = r"(?:longer|more|less|fewer|later|earlier|older|newer|other)\b"

REFUSED = (
    Phrase(
        r"\b(?:(?:not )?(?:proved|shown)|compared|missing) (?:is|are) what\b|\bnot (?:proved|shown) (?:is|are)\b",
        "'X does not ...'",
        ORDER,
    ),
    Phrase(rf"\b{THING} tells\b", "prints, returns, shows, explains", PEOPLE),
    Phrase(r"\b(?:is|are) told\b(?! to\b)", "is reported, is printed; See X for ...", PEOPLE),
    Phrase(r"\b(?:is|are) told in\b|\bis another guide\b|\bis the subject of\b", "See X for ...", POINTER),
    Phrase(r"\b(?:goes|go|went|going) on\b", "continues", THINGS),
    Phrase(r"\b(?:lets?|letting) (?:\w+ ){0,3}go\b(?! to)", "delete, release", THINGS),
    Phrase(r"\b(?:files?|rules|commands?|archives?|entries|data|copy|copies) lies?\b", "is stored, is", THINGS),
    Phrase(r"\bwhat (?:came|comes|was added) since\b", "entries added since", NOUN),
    Phrase(r"\b(?:has|have) to (?=[a-z])", "must", MODAL),
    Phrase(
        rf"(?<!there)(?<!\s) (?:is|are|was|were) no (?!{COMPARISON})(?=[a-z])",
        "is not a valid ...",
        "say what is wrong",
    ),
    Phrase(r"\banew\b", "again", USUAL),
    Phrase(r"\bat hand\b", "available", USUAL),
    Phrase(r"\bbeside\b", "next to", USUAL),
    Phrase(r"\b(?:but for|all but)\b", "except, all except", USUAL),
    Phrase(r"\bin place of\b", "instead of", USUAL),
    Phrase(r"\bfor good\b(?! \w)", "permanently", USUAL),
    Phrase(r"\bwho(?:m)?ever\b", "anyone who, no matter who", USUAL),
    Phrase(r"\bas ever\b", "as before", USUAL),
    Phrase(r"\bmends?\b|\bmended\b", "fix", USUAL),
    Phrase(r"\bfolders?\b", "directory", USUAL),
    Phrase(r"\bout of order\b", "unavailable", USUAL),
    Phrase(r"\bpassing faults?\b", "transient error", USUAL),
    Phrase(r"\bspans? of time\b", "time range", USUAL),
    Phrase(r"\bworth a look\b", "alert, detection", USUAL),
    Phrase(r"\b(?:left|leaves?) away\b", "omit, remove", USUAL),
)
DOUBTFUL = (
    Phrase(r"\btells?\b", "prints, returns, shows", PEOPLE),
    Phrase(r"\b(?:stands?|lies|lie)\b", "is stored, appears, is", THINGS),
    Phrase(r"\bcomes?\b", "arrives, appears", THINGS),
    Phrase(r"\bwhat (?:is|are|was|were|it|they)\b", "a noun", NOUN),
    Phrase(r"\bmay\b", "can, might", MODAL),
    Phrase(r"\bwhole\b", "complete, intact", USUAL),
    Phrase(r"\b(?:asks?|asked|asking)\b", "query, request", USUAL),
    Phrase(r"\banswers?\b|\banswered\b", "response, responds", USUAL),
    Phrase(r"\bfaults?\b", "error, bug", USUAL),
    Phrase(r"\bmeanwhile\b", "in the meantime, during this time", USUAL),
    Phrase(r"\bthings?\b", "its name", NOUN),
)

# A directive, a label or a comment ends before the next line that is indented no deeper.
INDENTED = r"(?:\n(?=\n|\1 +\S).*)*"
NOT_PROSE = {
    ".rst": (
        rf"^( *)\.\.(?: code-block::.*| _.*:| Copyright.*|){INDENTED}$",
        r"``[^`]+``",
        r":ansplugin:`[^`]+`|(?<= )<[^<>`]+>(?=`)",
    ),
    ".md": (r"^ *```(?:.|\n)*?^ *```$", r"`[^`\n]+(?:\n[^`\n]+)?`", r"(?<=\])\([^()]+\)", r"https?://\S+"),
    ".yml": (r"\{\{(?:.|\n)*?\}\}|\{%(?:.|\n)*?%\}", r"\b(?:[BCEILMOPUV]|RV)\([^()]*\)", r"``[^`]+``", r"https?://\S+"),
    ".sh": (r"^(?!\s*#).*$",),
}
NOT_PROSE[".yaml"] = NOT_PROSE[".j2"] = NOT_PROSE[".json"] = NOT_PROSE[".yml"]
# Separates texts, so that no phrase spans code.
CODE = "\0"
# The replacement field of an f-string; a pair of braces is a brace.
FIELD = r"(?<!\{)(?:\{\{)*\{(?!\{)(?:[^{}]|\{[^{}]*\})*\}"


def blank(match: re.Match[str]) -> str:
    """Keep the lines, so that the numbers of later lines stay right."""
    return re.sub(r"[^\n]", CODE, match[0])


def prose(text: str, suffix: str) -> str:
    """The text with code, literals and addresses replaced by separators."""
    if suffix == ".py":
        text, suffix = python_texts(text), ".yml"
    for pattern in NOT_PROSE[suffix]:
        text = re.sub(pattern, blank, text, flags=re.MULTILINE)
    return text


def python_texts(source: str) -> str:
    """The comments, strings and names of tests of Python code at their places; separators replace everything else.

    A string without spaces is a key or a name, not a text for people.
    """
    lines = source.splitlines(keepends=True)
    starts = [0, *itertools.accumulate(map(len, lines))]
    masked = list(re.sub(r"\S", CODE, source))
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        first, last = (starts[line - 1] + column for line, column in (token.start, token.end))
        masked[first:last] = token_text(token, source[first:last])
    return "".join(masked)


def token_text(token: tokenize.TokenInfo, source: str) -> str:
    """What people read of a token, of the same length."""
    kind = tokenize.tok_name[token.type]
    if kind == "NAME" and source.startswith("test_"):
        return source.replace("_", " ")
    if kind == "COMMENT":
        return re.sub(r"^#+!?", lambda match: " " * len(match[0]), source)
    if kind in ("FSTRING_START", "FSTRING_END"):
        return " " * len(source)
    if kind not in ("STRING", "FSTRING_MIDDLE") or not re.search(r"\w\s", source):
        return re.sub(r"\S", CODE, source)
    if kind == "STRING":
        prefix, quotes = re.match(r"""(\w*)("{3}|'{3}|"|')""", source).groups()  # type: ignore[union-attr]
        inner = source[len(prefix + quotes) : -len(quotes)]
        if "f" in prefix.lower():
            inner = re.sub(FIELD, blank, inner)
        source = " " * len(prefix + quotes) + inner + " " * len(quotes)
    return re.sub(r"\\[nrt]", "  ", source)


def hits(text: str, phrases: tuple[Phrase, ...]) -> Iterator[Hit]:
    for phrase in phrases:
        for match in re.finditer(phrase.pattern.replace(" ", r"\s+"), text, re.IGNORECASE):
            found = match[0].lstrip()
            line = text.count("\n", 0, match.end() - len(found)) + 1
            yield Hit(line, " ".join(found.split()), phrase)


def kind_of(path: Path) -> str:
    """The suffix by which a file is read; scripts without a suffix are Python. Empty if its texts are not checked."""
    if path.suffix in (*NOT_PROSE, ".py"):
        return path.suffix
    return ".py" if not path.suffix and path.read_bytes().startswith((b"#!/usr/bin/env python", b"# Copyright")) else ""


def tracked_files() -> list[Path]:
    done = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True)
    return [Path(name) for name in done.stdout.splitlines() if name not in EXEMPT]


def report(paths: Iterable[Path], doubtful: bool) -> int:
    """Print the phrases in these files, and return the number of those that are refused."""
    refused = 0
    for path in paths:
        kind = kind_of(path)
        text = prose(path.read_text(encoding="utf-8"), kind) if kind else ""
        for line, words, phrase in sorted(hits(text, REFUSED)):
            refused += 1
            print(f"{path}:{line}: '{words}': write {phrase.replacement} ({phrase.reason})")
        for line, words, phrase in sorted(hits(text, DOUBTFUL)) if doubtful else ():
            print(f"{path}:{line}: doubtful: '{words}': perhaps {phrase.replacement} ({phrase.reason})")
    return refused


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--doubtful", action="store_true", help="also list doubtful phrases, without failing")
    return 1 if report(tracked_files(), parser.parse_args().doubtful) else 0


if __name__ == "__main__":
    sys.exit(main())
