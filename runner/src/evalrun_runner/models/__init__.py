"""Bringing a model to a local directory, whole and verified: ``fetch_model``."""

from evalrun_runner.models.digest import model_digest
from evalrun_runner.models.fetch import fetch_model
from evalrun_runner.models.types import FetchProgress, LocalModel, ModelSource, Stage

__all__ = ["FetchProgress", "LocalModel", "ModelSource", "Stage", "fetch_model", "model_digest"]
