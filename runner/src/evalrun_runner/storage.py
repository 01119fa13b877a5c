"""From the contract's storage settings to the store's: credentials come from files, as a mounted Secret has them."""

from __future__ import annotations

from pathlib import Path

from evalrun_api import Checksums
from evalrun_api.runconfig import RunLocation, StorageAccess
from evalrun_runner.errors import InputError
from evalrun_runner.store.open import StoreSpec
from evalrun_runner.store.s3 import S3Settings


def s3_settings(access: StorageAccess) -> S3Settings:
    """Settings of an S3 client. Raises ``InputError`` for a folder of credentials that lacks half of a pair."""
    key, secret = secret_value(access, "AWS_ACCESS_KEY_ID"), secret_value(access, "AWS_SECRET_ACCESS_KEY")
    if (key is None) != (secret is None):
        raise InputError(
            f"the credentials in {access.credentials_dir} are half: expected both AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY in the Secret"
        )
    return S3Settings(
        endpoint_url=access.endpoint_url,
        region=access.region,
        addressing_style=access.addressing_style.value,
        ca_bundle=access.ca_bundle_file,
        access_key_id=key,
        secret_access_key=secret,
        session_token=secret_value(access, "AWS_SESSION_TOKEN"),
        checksums="when_supported" if access.checksums is Checksums.WHEN_SUPPORTED else "when_required",
    )


def secret_value(access: StorageAccess, name: str) -> str | None:
    """One value of the credentials, None where there is none."""
    if access.credentials_dir is None:
        return None
    file = Path(access.credentials_dir) / name
    return file.read_text().strip() if file.is_file() else None


def store_spec(location: RunLocation) -> StoreSpec:
    """The store of a run's results."""
    return StoreSpec(location.uri, s3_settings(location.storage) if location.uri.startswith("s3://") else None)
