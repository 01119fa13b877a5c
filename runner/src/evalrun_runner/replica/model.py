"""The model on this replica's machine."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from evalrun_api.status.conditions import Reason
from evalrun_runner.errors import RunFailed, StoreError, blaming
from evalrun_runner.models.cache import default_cache
from evalrun_runner.models.fetch import fetch_model
from evalrun_runner.models.hub import stay_offline
from evalrun_runner.models.types import FetchProgress, LocalModel, ModelSource, Stage

_log = logging.getLogger(__name__)


def bring_model(source: ModelSource, cache_dir: str | None) -> LocalModel:
    """Bring the model here, whole and verified; from then on this process asks no hub.

    Raises ``InputError`` for what is wrong with the model itself, ``RunFailed`` for trouble on its way, which another
    replica, later or on another machine, may not have.
    """
    cache = Path(cache_dir) if cache_dir else default_cache()
    try:
        with blaming(Reason.MODEL_INVALID):
            model = fetch_model(source, cache, progress=_shown())
    except StoreError as error:
        raise RunFailed(f"the model could not be brought here: {error}", reason=error.reason) from error
    stay_offline()
    return model


def _shown() -> Callable[[FetchProgress], None]:
    """Says in the log how far the download is, every tenth part of it."""
    said = -1

    def show(progress: FetchProgress) -> None:
        nonlocal said
        if progress.stage is Stage.WAITING:
            _log.info("waiting for another process, which brings the same model")
        elif progress.stage is Stage.DOWNLOADING and (part := 10 * progress.done // max(1, progress.total)) > said:
            said = part
            _log.info("model: %.0f of %.0f MB brought", progress.done / 1e6, progress.total / 1e6)

    return show
