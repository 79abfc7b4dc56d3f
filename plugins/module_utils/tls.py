# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a TLS error means: a certificate that cannot be verified, or a connection that broke."""

from __future__ import annotations

from typing import Iterator, Optional


def causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what it came of, one behind the other; the innermost is the last."""
    inner: Optional[BaseException] = error
    while inner is not None:
        yield inner
        inner = inner.__cause__ or inner.__context__


def is_certificate_error(error: BaseException) -> bool:
    """Whether a TLS error came of a certificate or a file of them, not of a connection that broke or spoke no TLS."""
    return any(
        # By name: where Python has no class for it any more, urllib3 1.26 has one of its own.
        type(cause).__name__ in ("SSLCertVerificationError", "CertificateError")
        # OpenSSL's part for connections is SSL; X509 and others read files.
        or getattr(cause, "library", None) not in (None, "SSL")
        for cause in causes(error)
    )
