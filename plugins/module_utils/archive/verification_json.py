# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Converts the result of a verification to the plain values that ``verify --json`` prints."""

from __future__ import annotations

from typing import Any, Dict, Optional

from .chain.status import Status
from .finding import errors
from .heads import HeadsCheck
from .verifier import VerificationResult


def verification_to_json(
    found: VerificationResult,
    status: Optional[Status],
    heads: Optional[HeadsCheck] = None,
    with_signers: bool = False,
    every_signature: bool = False,
    current: Optional[bool] = None,
) -> Dict[str, Any]:
    """Return the result of a verification as plain values.

    ``with_signers`` is True if allowed signers were given. ``current`` is whether the archive is recent enough, or None
    if that was not checked.
    """
    findings = [*found.findings, *(heads.findings if heads else ())]
    is_signed = bool(found.signed_up_to)
    return {
        "intact": not errors(findings),
        "findings": [finding.to_json() for finding in findings],
        "signed_from": found.signed_from,
        "signed_up_to": found.signed_up_to,
        "heads": heads.to_json() if heads else None,
        "signer_allowed": with_signers if is_signed else None,
        "every_signature": every_signature if is_signed else None,
        "timestamps": found.timestamps.to_json() if found.timestamps else None,
        "current": current,
        "status": status.to_json() if status else None,
    }
