# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Buckets of each kind at a running S3 server, and empty locations in them."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, NamedTuple

if TYPE_CHECKING:
    import pytest

KINDS = ("plain", "versioned", "locked")
_numbers = itertools.count()


class Keys(NamedTuple):
    """The credentials of a user."""

    access: str
    secret: str


class Buckets:
    """A server, by its endpoint, and the credentials of an administrator."""

    def __init__(self, url: str, keys: Keys) -> None:
        self.url = url
        self.keys = keys

    def create(self) -> None:
        """Create a bucket of each kind."""
        client = self.client()
        for kind in KINDS:
            client.create_bucket(Bucket=kind, ObjectLockEnabledForBucket=kind == "locked")
        client.put_bucket_versioning(Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})

    def new_location(self, kind: str = "plain") -> str:
        """The address of an unused prefix."""
        return f"s3://{kind}/test-{os.getpid()}-{next(_numbers)}"

    def client(self) -> Any:
        """A plain client, to inspect and damage objects."""
        import boto3
        from botocore.config import Config

        return boto3.session.Session(*self.keys, region_name="us-east-1").client(
            "s3",
            endpoint_url=self.url,
            config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, retries={"max_attempts": 0}),
        )

    def upload(self, folder: Path) -> str:
        """Upload all files of a directory; return the address."""
        location, client = self.new_location(), self.client()
        bucket, prefix = location[len("s3://") :].split("/")
        for path in folder.rglob("*"):
            if path.is_file():
                client.put_object(Bucket=bucket, Key=f"{prefix}/{path.relative_to(folder)}", Body=path.read_bytes())
        return location

    def objects(self, location: str) -> Dict[str, bytes]:
        """The contents of all objects at a location, by name."""
        bucket, _slash, prefix = location.split("?")[0][len("s3://") :].partition("/")
        client = self.client()
        found = client.list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/").get("Contents", [])
        keys = [item["Key"] for item in found]
        return {key[len(prefix) + 1 :]: client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}


def environment(buckets: Buckets) -> Dict[str, str]:
    """The environment variables for a store that uses this server and no other configuration of the machine."""
    return {
        "AWS_ACCESS_KEY_ID": buckets.keys.access,
        "AWS_SECRET_ACCESS_KEY": buckets.keys.secret,
        "AWS_ENDPOINT_URL": buckets.url,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def set_credentials(monkeypatch: pytest.MonkeyPatch, buckets: Buckets) -> None:
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    for name, value in environment(buckets).items():
        monkeypatch.setenv(name, value)
