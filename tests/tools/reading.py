# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Print words, words a sentence and reading ease (Flesch: 60 is plain English, 30 is hard) of each page for people.

Runs in the repository's root. Code blocks and literals are not counted. The figures fail no check.
"""

from __future__ import annotations

import re
from pathlib import Path

from ansible_collections.auditops.cloudscale.tests.tools.examples import PATTERNS
from ansible_collections.auditops.cloudscale.tests.tools.phrases import EXEMPT, prose

# A heading, an item of a list and a paragraph end a sentence, too.
SENTENCE = re.compile(r"[.!?:](?=\s|$)|\n\s*\n|\n *[-*] ")
WORD = re.compile(r"[A-Za-z][A-Za-z'-]*")


def syllables(word: str) -> int:
    """A vowel group is a syllable; a silent e at the end is not."""
    groups = len(re.findall(r"[aeiouy]+", word.lower()))
    return max(1, groups - (word.lower().endswith("e") and not word.lower().endswith("le")))


def figures(text: str) -> tuple[int, float, float]:
    """Words, words a sentence, and reading ease."""
    sentences = [words for part in SENTENCE.split(text) if (words := WORD.findall(part))]
    words = [word for sentence in sentences for word in sentence]
    length = len(words) / len(sentences)
    return len(words), length, 206.835 - 1.015 * length - 84.6 * sum(map(syllables, words)) / len(words)


def main() -> None:
    print(f"{'words':>6} {'a sentence':>11} {'ease':>5}  page")
    for path in sorted(path for pattern in PATTERNS for path in Path().glob(pattern) if str(path) not in EXEMPT):
        words, length, ease = figures(prose(path.read_text(encoding="utf-8"), path.suffix))
        print(f"{words:6} {length:11.1f} {ease:5.0f}  {path}")


if __name__ == "__main__":
    main()
