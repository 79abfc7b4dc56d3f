# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Distinguishes TLS errors of certificates from TLS errors of connections."""

from __future__ import annotations

from typing import Iterator, Optional


def causes(error: BaseException) -> Iterator[BaseException]:
    """An error and its causes; the last is the innermost."""
    cause: Optional[BaseException] = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def is_certificate_error(error: BaseException) -> bool:
    """True if the cause of a TLS error is a certificate, not a broken connection or a server without TLS."""
    return any(
        # By name, because urllib3 1.26 has its own class where Python has removed one.
        type(cause).__name__ in ("SSLCertVerificationError", "CertificateError")
        # OpenSSL's library for connections is SSL; X509 and others read certificates.
        or getattr(cause, "library", None) not in (None, "SSL")
        for cause in causes(error)
    )
