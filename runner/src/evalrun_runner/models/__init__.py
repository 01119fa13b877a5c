"""Models: fetched to a local directory, complete and verified (``fetch_model``), or inspected first."""

from evalrun_runner.models.digest import model_digest
from evalrun_runner.models.fetch import fetch_model
from evalrun_runner.models.inspect import inspect_model
from evalrun_runner.models.types import FetchProgress, InspectedModel, LocalModel, ModelSource, Stage

__all__ = [
    "FetchProgress",
    "InspectedModel",
    "LocalModel",
    "ModelSource",
    "Stage",
    "fetch_model",
    "inspect_model",
    "model_digest",
]
