"""The model on this replica's machine."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from evalrun_api import Reason
from evalrun_runner.errors import RunFailed, StoreError, default_reason
from evalrun_runner.models.adapter import LocalAdapter
from evalrun_runner.models.cache import default_cache
from evalrun_runner.models.fetch import fetch_model
from evalrun_runner.models.hub import stay_offline
from evalrun_runner.models.types import FetchProgress, FetchStage, LocalModel, ModelSource, ProgressCallback

_log = logging.getLogger(__name__)


class Fetch(Protocol):
    """Function that fetches a model to this machine, as ``models.fetch_model``."""

    def __call__(self, source: ModelSource, cache: Path, *, progress: ProgressCallback) -> LocalModel:
        """Fetch the model, complete and verified."""


class FetchAdapter(Protocol):
    """Function that fetches an adapter to this machine, as ``models.adapter.bring_adapter``."""

    def __call__(self, name: str, source: ModelSource, cache: Path) -> LocalAdapter:
        """Fetch the adapter, complete and verified."""


def bring_an_adapter(name: str, source: ModelSource, cache_dir: str | None, fetch: FetchAdapter) -> LocalAdapter:
    """Fetch an adapter, complete and verified.

    Raises:
        InputError: The adapter itself is wrong, or not the one that the driver checked.
        RunFailed: There was trouble on its way.
    """
    try:
        with default_reason(Reason.MODEL_INVALID):
            return fetch(name, source, Path(cache_dir) if cache_dir else default_cache())
    except StoreError as error:
        raise RunFailed(f"adapter {name} could not be brought here: {error}", reason=error.reason) from error


def bring_model(source: ModelSource, cache_dir: str | None, fetch: Fetch = fetch_model) -> LocalModel:
    """Fetch the model, complete and verified, and never contact the hub from this process afterwards.

    Raises:
        InputError: The model itself is wrong.
        RunFailed: There was trouble on its way, which another replica, later or elsewhere, may not have.
    """
    cache = Path(cache_dir) if cache_dir else default_cache()
    try:
        with default_reason(Reason.MODEL_INVALID):
            model = fetch(source, cache, progress=_shown())
    except StoreError as error:
        raise RunFailed(f"the model could not be brought here: {error}", reason=error.reason) from error
    stay_offline()
    return model


def _shown() -> Callable[[FetchProgress], None]:
    """Make a callback that logs every tenth part of the download."""
    said = -1

    def show(progress: FetchProgress) -> None:
        nonlocal said
        if progress.stage is FetchStage.WAITING:
            _log.info("waiting for another process, which brings the same model")
        elif progress.stage is FetchStage.DOWNLOADING and (part := 10 * progress.done // max(1, progress.total)) > said:
            said = part
            _log.info("model: %.0f of %.0f MB brought", progress.done / 1e6, progress.total / 1e6)

    return show
