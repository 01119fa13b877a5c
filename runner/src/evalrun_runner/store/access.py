"""Translation of the contract's storage settings into the store's. Secrets stay in files, as in a mounted Secret."""

from __future__ import annotations

from pathlib import Path

from evalrun_api import Checksums, Reason, RunLocation, StorageAccess
from evalrun_runner.errors import InputError
from evalrun_runner.store.credentials import ACCESS_KEY, SECRET_KEY
from evalrun_runner.store.open import StoreSpec
from evalrun_runner.store.s3 import S3Settings


def s3_settings(access: StorageAccess) -> S3Settings:
    """Return the settings of an S3 client.

    Raises:
        InputError: The folder of credentials lacks half of a pair.
    """
    key, secret = secret_file(access, ACCESS_KEY), secret_file(access, SECRET_KEY)
    if (key is None) != (secret is None):
        raise InputError(
            f"the credentials in {access.credentials_dir} are half: expected both {ACCESS_KEY} and {SECRET_KEY} in "
            "the Secret",
            reason=Reason.STORAGE_DENIED,
        )
    return S3Settings(
        endpoint_url=access.endpoint_url,
        region=access.region,
        addressing_style=access.addressing_style.value,
        ca_bundle=access.ca_bundle_file,
        credentials_dir=access.credentials_dir if key is not None else None,
        checksums="when_supported" if access.checksums is Checksums.WHEN_SUPPORTED else "when_required",
    )


def secret_file(access: StorageAccess, name: str) -> str | None:
    """Return the path of the file with one of the credentials, None if there is no such file."""
    if access.credentials_dir is None:
        return None
    file = Path(access.credentials_dir, name)
    return str(file) if file.is_file() else None


def store_spec(location: RunLocation) -> StoreSpec:
    """Return the store of a run's results.

    Raises:
        InputError: The location is not valid, or the folder of credentials lacks half of a pair.
    """
    return StoreSpec(location.uri, s3_settings(location.storage) if location.uri.startswith("s3://") else None)
