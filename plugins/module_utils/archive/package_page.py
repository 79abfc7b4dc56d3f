# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes the page of an evidence package: what the package shows, and how to check it without this collection."""

from __future__ import annotations

from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Sequence

from ..counts import pluralize
from ..project_log.entry import to_printable


class PageSection(NamedTuple):
    """Facts about one archive for its section of the page."""

    directory: str
    facts: Dict[str, Any]
    head_line: bytes
    is_signed: bool
    is_timestamped: bool


def page(archives: Sequence[PageSection]) -> bytes:
    """Return the page in UTF-8."""
    parts = [_ABOUT, *map(_archive, archives), _FILES, _CLAIMS, _CHECK]
    if any(one.is_signed for one in archives):
        parts.append(_SIGNATURES)
    if any(one.is_timestamped for one in archives):
        parts.append(_TIMESTAMPS)
    parts.append(_TOOL)
    return "\n".join(parts).encode("utf-8", "backslashreplace")


def _archive(one: PageSection) -> str:
    facts = one.facts
    archive, time_range = facts["archive"], facts["range"]
    rows = [
        ("Project", to_printable(archive["project"]["name"] or archive["project"]["uuid"]) or "unnamed"),
        ("Range", _range(time_range)),
        ("Entries", str(facts["entries"])),
        ("Complete", "yes" if facts["complete"] else "NO, the archive lacks parts of the range:"),
        *(("", line) for line in _missing(facts["missing"])),
        ("Archive", f"{archive['archive_id']}, as of {facts['as_of']}"),
        ("Covers", f"{archive['covered_from']} to {archive['covered_until']}"),
        ("Newest commit", str(archive["head"]["sequence"])),
        ("Its SHA-256", archive["head"]["sha256"]),
        ("Signed", "yes" if one.is_signed else "no"),
        ("Time stamps", "yes" if one.is_timestamped else "no"),
        ("Day files", f"{facts['day_files']['packed']} of {facts['day_files']['live']} are packed"),
    ]
    return "\n".join([f"{one.directory}/", *(f"  {name:<14} {value}".rstrip() for name, value in rows), ""])


def _range(time_range: Dict[str, Any]) -> str:
    end = f"{time_range['end']} (exclusive)" if time_range["end"] else "the end of the archive"
    return f"from {time_range['start'] or 'the beginning of the archive'} to {end}"


def _missing(parts: Iterable[Dict[str, Any]]) -> Iterator[str]:
    for part in parts:
        bounds: List[str] = [f"{word} {part[word]}" for word in ("from", "to") if part[word]]
        yield f"{' '.join(bounds)}: {to_printable(part['why'])}"


def describe_missing(parts: Sequence[Dict[str, Any]]) -> str:
    """Describe the missing parts of a range in one sentence."""
    return f"{pluralize(len(parts), 'part', 'parts')} of the range missing: {'; '.join(_missing(parts))}."


_ABOUT = """\
EVIDENCE PACKAGE OF AUDIT LOGS
==============================

This package contains entries of the audit logs of cloudscale.ch projects. They
were read from archives that are collected with cloudscale-audit. All times are
in UTC. Each archive has a directory:
"""

_FILES = """\
FILES
-----

MANIFEST.sha256           the SHA-256 of every other file
heads.jsonl               the newest commit of each archive
*/extract.jsonl           the entries of the range, as the API returned them
*/extract.csv             the same entries as a table; the last column is the
                          SHA-256 of the entry's line in extract.jsonl
*/extract.json            the range, the parts of it that are missing, and the
                          state of the archive
*/commits/                all commits of the archive; each one contains the
                          SHA-256 of the commit before it and of its data files
*/entries/                the complete data files that have entries of the range
*/signatures/             signatures of commits, if there are any
*/timestamps/             time stamps of RFC 3161, if there are any
*/allowed-signers         the keys that the maker of this package trusts, if
                          they were given
*/verification.json       result of "verify" on the complete archive, when this
                          package was made
"""

_CLAIMS = """\
WHAT THE PACKAGE SHOWS
----------------------

- The extract has exactly the entries of the range that the archive has.
- These entries are part of the archive: its commits name the data files by
  their SHA-256. No entry was changed, added or removed without changing the
  SHA-256 of the newest commit.
- If you know the SHA-256 of this or an earlier commit from another source, such
  as a ledger or a log server, nothing up to that commit was changed since it
  was noted there.
- If commits are signed, the holder of the key confirmed all commits up to the
  newest one.
- If there are time stamps, each stamped commit and all before it existed by the
  time in the stamp. They do not show that no other history existed.

WHAT THE PACKAGE DOES NOT SHOW
------------------------------

- That the provider's log is true or complete. The archive keeps what the API
  returned.
- Anything about the parts of the range that are listed as missing.
- That the archive itself is genuine, if its newest commit is neither signed nor
  known from another source. Anyone can make a consistent archive.
- Who signed. Use a list of allowed signers that you received from somebody you
  trust. The file allowed-signers in this package proves nothing by itself.
- That data files of other days are intact. They are not in this package. The
  file verification.json contains what the maker found.
- When the package was made. This page, extract.json and verification.json are
  statements of its maker.
"""

_CHECK = """\
HOW TO CHECK IT
---------------

You need a shell and standard tools: sha256sum, cmp, comm, awk, grep, sed, zcat.
Unpack the package into an empty directory. Save each block as check.sh in there
and run "sh check.sh": in a terminal, the first difference would close the
shell. A block that finds a difference prints it and ends with an error.

No file was damaged since the package was made:

    sha256sum --check --quiet MANIFEST.sha256

The commits follow each other, the data files are those that the commits name,
and the extract has the entries of the data files. The block prints the SHA-256
of each newest commit. Compare it with the one that you know.

    set -eu
    export LC_ALL=C
    differs() {
      echo "DIFFERENCE in $archive: $1" >&2
      exit 1
    }
    work=$(mktemp -d)
    file='"path":"[^"]*","sha256":"[^"]*","bytes":[0-9]*,"content_sha256":"[^"]*"'
    file=$file',"content_bytes":[0-9]*,"entries":[0-9]*,"first":[^,]*,"last":[^,}]*'
    for archive in */; do
      cd "$archive"
      mkdir -p entries
      start=$(sed -n 's/^    "start": "\\(.*\\)Z".*/\\1/p' extract.json)
      end=$(sed -n 's/^    "end": "\\(.*\\)Z".*/\\1/p' extract.json)
      # Each commit names the SHA-256 of the commit before it.
      ls commits | sed 's|^|commits/|' > "$work/commits"
      xargs sha256sum < "$work/commits" | cut -d ' ' -f 1 > "$work/digests"
      xargs grep -ho '"previous":"[0-9a-f]*"' < "$work/commits" |
        cut -d '"' -f 4 > "$work/previous"
      sed '$d' "$work/digests" | cmp -s - "$work/previous" ||
        differs "a commit is changed or missing"
      # Each data file is one that a commit names.
      xargs grep -ho "$file" < "$work/commits" > "$work/files" || true
      awk -F '"' '{ print $8 "  " $4 }' "$work/files" | sort > "$work/named"
      find entries -type f -exec sha256sum {} + | sort > "$work/packed"
      comm -23 "$work/packed" "$work/named" | cmp -s - /dev/null ||
        differs "a data file is not as a commit names it"
      # None is missing that can have entries of the range and was not removed.
      xargs grep -ho '"removed":\\[[^]]*' < "$work/commits" |
        grep -o 'entries/[^"]*' > "$work/removed" || true
      grep -vFf "$work/removed" "$work/files" |
        awk -F '"' -v start="$start" -v end="${end:-9999}" '{
          first = $22 == "last" ? "" : $22
          last = $22 == "last" ? "9999" : $26
          sub("Z$", "", first)
          sub("Z$", "", last)
          if (first < end && last >= start) print $8 "  " $4 }' |
        sort | comm -23 - "$work/packed" | cmp -s - /dev/null ||
        differs "a data file of the range is missing"
      # Each entry of the extract is in a data file.
      find entries -type f -exec zcat {} + | sort > "$work/held"
      sort extract.jsonl > "$work/extract"
      comm -23 "$work/extract" "$work/held" | cmp -s - /dev/null ||
        differs "the extract has an entry that is in no data file"
      # The entries that the extract leaves out are of another time.
      comm -13 "$work/extract" "$work/held" |
        sed 's/.*"timestamp":"\\([^"]*\\)Z".*/\\1/' |
        awk -v start="$start" -v end="${end:-9999}" '$0 >= start && $0 < end' |
        cmp -s - /dev/null ||
        differs "the extract lacks an entry of the range"
      cd ..
      echo "$archive $(wc -l < "$work/extract") entries, newest commit:"
      tail -n 1 "$work/digests"
    done
    rm -r "$work"
"""

_SIGNATURES = """\
The newest commit of each archive is signed by a key that you trust. You need
ssh-keygen of OpenSSH 8.9 or later. Store your own list of allowed signers as
allowed-signers next to the directory with the unpacked files:

    set -eu
    export TZ=UTC
    signers=$PWD/../allowed-signers
    for archive in */; do
      commit=${archive}commits/$(ls "${archive}commits" | tail -n 1)
      number=$(basename "$commit" .json)
      digest=$(sha256sum < "$commit" | cut -d ' ' -f 1)
      id=$(grep -o '^{"format":1,"archive_id":"[^"]*' "$commit" | cut -d '"' -f 6)
      date=$(grep -o '"server_date":"[^.Z]*' "$commit" | tr -cd 0-9)
      signature=$(ls "$archive"signatures/"$number-$digest"-*.sig)
      name=$(ssh-keygen -Y find-principals -f "$signers" -s "$signature" \\
        -Overify-time="$date" | head -n 1)
      echo "head $id $(expr "$number" + 0) $digest" |
        ssh-keygen -Y verify -f "$signers" -I "$name" -n cloudscale-audit-head \\
          -s "$signature" -Overify-time="$date"
    done

The block ends with an error at an archive that is not signed.
"""

_TIMESTAMPS = """\
Each time stamp shows by when a commit, and all commits before it, existed,
according to a time stamping authority. You need openssl. Store certificates of
authorities that you trust as authority.pem next to the directory with the
unpacked files:

    set -eu
    export LC_ALL=C
    authority=$PWD/../authority.pem
    for archive in */; do
      for file in "$archive"timestamps/*.tsr; do
        [ -e "$file" ] || continue
        commit=${archive}commits/$(basename "$file" | cut -d - -f 1).json
        time=$(openssl ts -reply -in "$file" -text 2> /dev/null |
          sed -n 's/^Time stamp: //p' | tail -n 1)
        openssl ts -verify -in "$file" -data "$commit" -CAfile "$authority" \\
          -attime "$(date -d "$time" +%s)"
        echo "$commit existed by $time"
      done
    done

The block ends with an error at a time stamp that is not good. If a time stamp
is much later than the dates in its commit, the commit might have been
rewritten.
"""

_TOOL = """\
With the collection auditops.cloudscale, one command checks all of this, and that
extract.csv has the entries of extract.jsonl, which the blocks above do not check:

    cloudscale-audit verify PACKAGE.zip --allowed-signers FILE --heads FILE \\
      --timestamp-ca FILE
"""
