# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Refuse phrases in guides and READMEs for which plain English has a better one.

Runs in the repository's root. Code blocks and literals are not checked. With --doubtful, also list phrases that are
often, but not always, unclear; they do not fail the check.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PATTERNS = ("docs/docsite/rst/*.rst", "README.md", "roles/*/README.md", "CONTRIBUTING.md")
# These pages repeat texts of the code.
GENERATED = ("command_reference.rst", "detections_reference.rst")


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
}


def blank(match: re.Match[str]) -> str:
    """Keep the lines, so that the numbers of later lines stay right."""
    return re.sub(r"[^\n]", " ", match[0])


def prose(text: str, suffix: str) -> str:
    """The text with code, literals and addresses replaced by spaces."""
    for pattern in NOT_PROSE[suffix]:
        text = re.sub(pattern, blank, text, flags=re.MULTILINE)
    return text


def hits(text: str, phrases: tuple[Phrase, ...]) -> Iterator[Hit]:
    for phrase in phrases:
        for match in re.finditer(phrase.pattern.replace(" ", r"\s+"), text, re.IGNORECASE):
            found = match[0].lstrip()
            line = text.count("\n", 0, match.end() - len(found)) + 1
            yield Hit(line, " ".join(found.split()), phrase)


def pages() -> list[Path]:
    return sorted(path for pattern in PATTERNS for path in Path().glob(pattern) if path.name not in GENERATED)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--doubtful", action="store_true", help="also list doubtful phrases, without failing")
    options = parser.parse_args()
    refused = 0
    for path in pages():
        text = prose(path.read_text(encoding="utf-8"), path.suffix)
        wrong = sorted(hits(text, REFUSED))
        refused += len(wrong)
        for line, words, phrase in wrong:
            print(f"{path}:{line}: '{words}': write {phrase.replacement} ({phrase.reason})")
        for line, words, phrase in sorted(hits(text, DOUBTFUL)) if options.doubtful else ():
            print(f"{path}:{line}: doubtful: '{words}': perhaps {phrase.replacement} ({phrase.reason})")
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
