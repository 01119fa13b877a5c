"""Models: fetched to a local directory, complete and verified (``fetch_model``), or inspected first."""

from evalrun_runner.models.digest import model_digest
from evalrun_runner.models.fetch import fetch_model
from evalrun_runner.models.inspect import inspect_model
from evalrun_runner.models.types import FetchProgress, FetchStage, InspectedModel, LocalModel, ModelSource

__all__ = [
    "FetchProgress",
    "FetchStage",
    "InspectedModel",
    "LocalModel",
    "ModelSource",
    "fetch_model",
    "inspect_model",
    "model_digest",
]
