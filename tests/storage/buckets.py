# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Buckets of each kind at a running S3 server, whoever made it, and places in them that nobody used before."""

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
    """Credentials."""

    access: str
    secret: str


class Buckets:
    """A server by its endpoint, and the keys of one who may do anything there."""

    def __init__(self, url: str, keys: Keys) -> None:
        self.url = url
        self.keys = keys

    def make(self) -> None:
        """Make a bucket of each kind."""
        client = self.client()
        for kind in KINDS:
            client.create_bucket(Bucket=kind, ObjectLockEnabledForBucket=kind == "locked")
        client.put_bucket_versioning(Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})

    def new_location(self, kind: str = "plain") -> str:
        """The address of a place that is empty."""
        return f"s3://{kind}/place-{os.getpid()}-{next(_numbers)}"

    def client(self) -> Any:
        """A plain client, for looking and for damaging."""
        import boto3
        from botocore.config import Config

        return boto3.session.Session(*self.keys, region_name="us-east-1").client(
            "s3",
            endpoint_url=self.url,
            config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, retries={"max_attempts": 0}),
        )

    def upload(self, folder: Path) -> str:
        """The address of a place that has all files of a folder, byte by byte."""
        place, client = self.new_location(), self.client()
        bucket, prefix = place[len("s3://") :].split("/")
        for path in folder.rglob("*"):
            if path.is_file():
                client.put_object(Bucket=bucket, Key=f"{prefix}/{path.relative_to(folder)}", Body=path.read_bytes())
        return place

    def objects(self, place: str) -> Dict[str, bytes]:
        """All that lies in a place, by its name there."""
        bucket, _slash, prefix = place.split("?")[0][len("s3://") :].partition("/")
        client = self.client()
        found = client.list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/").get("Contents", [])
        keys = [item["Key"] for item in found]
        return {key[len(prefix) + 1 :]: client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}


def environment(buckets: Buckets) -> Dict[str, str]:
    """The variables by which a store finds a server, and nothing else on the machine."""
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
