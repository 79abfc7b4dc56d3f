# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the collection's verifier and the second verifier on the same archive."""

from __future__ import annotations

from datetime import datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple, Optional, Set

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive import signature_check
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.signing import AllowedSigners
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.format.commit import Head
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.local_store import LocalStore
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.verifier import verify_archive
from ansible_collections.auditops.cloudscale.tests.second_verifier import verifier as second


class Verdicts(NamedTuple):
    """The types of errors found by each verifier."""

    ours: Set[str]
    second: Set[str]

    @property
    def agree(self) -> bool:
        return bool(self.ours) == bool(self.second)

    @property
    def both_found(self) -> bool:
        return bool(self.ours) and bool(self.second)


def verdicts(path: Path, now: datetime, head: Optional[Head] = None, allowed: Optional[str] = None) -> Verdicts:
    """Verify the archive in a directory with both verifiers; both check every signature."""
    signers = AllowedSigners(allowed) if allowed else None
    ours = verify_archive(LocalStore(str(path)), head, signers, every_signature=True, now=now).findings
    noted = f"{head.sequence}:{head.sha256}" if head else None
    others = second.verify(path, Path(allowed) if allowed else None, noted, now)
    return Verdicts(
        {finding.type for finding in ours if not finding.is_warning},
        {finding.type for finding in others if finding.is_error},
    )


def cache_signature_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the collection's verifier call ssh-keygen only once for the same signature, as the second verifier does."""
    judge = AllowedSigners.find_problem

    @cache
    def judged(path: str, _allowed: bytes, signature: bytes, text: bytes, moment: datetime) -> Optional[str]:
        return judge(AllowedSigners(path), signature, text, moment)

    def find_problem(self: AllowedSigners, signature: bytes, text: bytes, moment: datetime) -> Optional[str]:
        return judged(self._path, Path(self._path).read_bytes(), signature, text, moment)

    monkeypatch.setattr(
        signature_check, "signer_fingerprint", lru_cache(maxsize=None)(signature_check.signer_fingerprint)
    )
    monkeypatch.setattr(AllowedSigners, "find_problem", find_problem)
