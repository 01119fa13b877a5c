"""Translation of the contract's model into a ``ModelSource``."""

from __future__ import annotations

from evalrun_api import ModelLocation
from evalrun_api.wire.runconfig import AdapterLocation
from evalrun_runner.models.types import ModelSource
from evalrun_runner.store.access import s3_settings, secret_file

HUB_TOKEN = "HF_TOKEN"  # noqa: S105  # the name of a file


def model_source(model: ModelLocation | AdapterLocation) -> ModelSource:
    """Return where to fetch the model, or an adapter of it, from.

    Raises:
        InputError: The folder of credentials lacks half of a pair.
    """
    is_s3 = model.uri.startswith("s3://")
    return ModelSource(
        uri=model.uri,
        revision=model.revision,
        digest=model.digest,
        storage=s3_settings(model.storage) if is_s3 else None,
        token_file=secret_file(model.storage, HUB_TOKEN),
        endpoint=None if is_s3 or model.storage.endpoint_url is None else model.storage.endpoint_url.rstrip("/"),
        ca_bundle=None if is_s3 else model.storage.ca_bundle_file,
    )
